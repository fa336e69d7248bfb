//! Session tokens of IMDSv2: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-v2-how-it-works.html>.
//!
//! A token names its end and is signed, for one instance, with a key that the service makes up when it starts: nothing is kept for it,
//! so nobody can fill the memory with tokens; and one that another guest has got hold of is worth nothing.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use uuid::Uuid;

use crate::core::secret::Secret;

/// The longest life of a token in seconds, AWS's own.
pub const MAX_TTL: u64 = 21_600;
const END: usize = 8;
const SIGNATURE: usize = 32;

/// What tokens are signed with.
#[derive(Debug, Clone)]
pub struct Key(Secret<[u8; 32]>);

impl Key {
    /// A key of these bytes of chance.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// A token for an instance that ends at this second.
    pub fn token(&self, instance: Uuid, end: u64) -> String {
        let mut bytes = end.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.signer(instance, end).finalize().into_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Whether that is a token for this instance that has not ended.
    pub fn is_good(&self, token: &[u8], instance: Uuid, now: u64) -> bool {
        let Some(bytes) = URL_SAFE_NO_PAD.decode(token).ok().filter(|bytes| bytes.len() == END + SIGNATURE) else { return false };
        let (end, signature) = bytes.split_at(END);
        let end = u64::from_be_bytes(end.try_into().unwrap_or_default());
        // Compared in constant time.
        now < end && self.signer(instance, end).verify_slice(signature).is_ok()
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn signer(&self, instance: Uuid, end: u64) -> Hmac<Sha256> {
        let mut signer = Hmac::<Sha256>::new_from_slice(self.0.expose()).expect("a key of 32 bytes");
        signer.update(instance.as_bytes());
        signer.update(&end.to_be_bytes());
        signer
    }
}

/// The life that a guest asks for its token, in seconds.
pub fn ttl(header: Option<&[u8]>) -> Option<u64> {
    let text = std::str::from_utf8(header?).ok()?;
    // `parse` would take a plus sign.
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|seconds| digits && (1..=MAX_TTL).contains(seconds))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: Uuid = Uuid::from_u128(1);

    #[test]
    fn a_token_is_good_for_its_instance_until_it_ends() {
        let key = Key::new([7; 32]);
        let token = key.token(ONE, 100);
        assert!(key.is_good(token.as_bytes(), ONE, 99));
        assert!(!key.is_good(token.as_bytes(), ONE, 100));
        assert!(!key.is_good(token.as_bytes(), Uuid::from_u128(2), 99));
        assert!(!Key::new([8; 32]).is_good(token.as_bytes(), ONE, 99));
        let later = key.token(ONE, 200);
        assert_ne!(token, later);
        // The end of one with the signature of the other.
        let mixed = format!("{}{}", &later[..11], &token[11..]);
        assert!(!key.is_good(mixed.as_bytes(), ONE, 99));
    }

    #[test]
    fn lives() {
        let table: [(Option<&[u8]>, Option<u64>); 9] = [
            (None, None),
            (Some(b"1"), Some(1)),
            (Some(b"21600"), Some(21_600)),
            (Some(b"21601"), None),
            (Some(b"0"), None),
            (Some(b"+5"), None),
            (Some(b""), None),
            (Some(b"-1"), None),
            (Some(b"\xff"), None),
        ];
        for (header, expected) in table {
            assert_eq!(ttl(header), expected, "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_else_is_good(token in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(!Key::new([7; 32]).is_good(&token, ONE, 0));
        }
    }
}
