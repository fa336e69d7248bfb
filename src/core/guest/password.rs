//! Hashes of passwords, as crypt(3) writes them into `/etc/shadow`.

use std::str::FromStr;

use crate::core::secret::Secret;

/// The prefixes of crypt(5) that are safe today, and the characters of the hash at the end. MD5 (`$1$`), DES and what locks an
/// account (`!`, `*`) are none of them.
const METHODS: [(&str, usize); 8] = [("y", 43), ("gy", 43), ("7", 43), ("6", 86), ("5", 43), ("2b", 53), ("2a", 53), ("2y", 53)];
/// crypt(3)'s `CRYPT_OUTPUT_SIZE`.
const LONGEST: usize = 384;

/// A password's hash: `$y$j9T$SALT$HASH`, `$6$SALT$HASH`. Never the password, never a locked one. Its `Debug` shows nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordHash(Secret<String>);

impl PasswordHash {
    /// The hash, out of sight.
    pub fn secret(&self) -> &Secret<String> {
        &self.0
    }

    /// The hash, for the one place that hands it on.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl FromStr for PasswordHash {
    type Err = String;

    // Nothing of the text may be in the message: whoever mixed up the files has put the password itself here.
    fn from_str(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split('$').collect();
        let [empty, method, middle @ .., hash] = fields.as_slice() else {
            return Err(wrong());
        };
        let length = METHODS.iter().find(|(known, _)| known == method).map(|(_, length)| *length);
        // bcrypt writes salt and hash without a `$` between them, behind the cost.
        let named = empty.is_empty() && !middle.is_empty() && middle.iter().all(|field| !field.is_empty());
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/' | b'$' | b'=' | b',');
        if named && length == Some(hash.len()) && text.len() <= LONGEST && text.bytes().all(plain) {
            return Ok(Self(Secret::new(text.to_owned())));
        }
        Err(wrong())
    }
}

fn wrong() -> String {
    "this is no password hash of crypt(3): $y$…, $6$…, $5$… or $2b$…, as `mkpasswd` or `openssl passwd -6` prints it".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_crypt_makes_is_taken_and_nothing_else() {
        // Made by crypt(3) of libxcrypt from "password".
        let good = [
            "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$tnSYvahCwPBHKZUspmcxMfb0.WiB9W.zEaKlOBL35rC",
            "$6$.2U.1EE/4Q.07ck0$nhIO0nC1Sn27.1Ut/sRtkSTuY1cvT4DWVELyrwlaC1DUDlGWz3FaLHjV32NLxcA4Huz.4.GWUAzmqsugIpT4B.",
            "$6$rounds=5000$.2U.1EE/4Q.07ck0$nhIO0nC1Sn27.1Ut/sRtkSTuY1cvT4DWVELyrwlaC1DUDlGWz3FaLHjV32NLxcA4Huz.4.GWUAzmqsugIpT4B.",
            "$5$salt$Gcm6FsVtF/Qa77ZKD.iwsJlCVPY0XSMgLJL0Hnww/c1",
            "$2b$12$abcdefghijklmnopqrstuutwZ1IOTtu3SsEBT5lI/LFncP31tIybm",
            "$7$CU..../....abcd$ItK5fTOAOE6H4BrlrXdWb3hrdretnDevQ7VtzjqE8A3",
        ];
        for hash in good {
            assert_eq!(hash.parse::<PasswordHash>().as_ref().map(PasswordHash::expose), Ok(hash));
        }
        let locked = format!("!{}", good[0]);
        let account = format!("{}:19000:0", good[0]);
        let lines = format!("{0}\n{0}", good[3]);
        let quoted = good[3].replace("salt", "sa'lt");
        let bad = [
            "",
            "!",
            "*",
            "secret",
            "$",
            "$6$",
            "$6$salt",
            "$6$salt$short",
            "$1$salt$qJH7.N4xYta3aEG/dfqo/0",
            "$6$$",
            &good[1][1..],
        ];
        for hash in bad.into_iter().chain([locked.as_str(), &account, &lines, &quoted]) {
            assert_eq!(hash.parse::<PasswordHash>(), Err(wrong()), "{hash}");
        }
        assert_eq!(format!("{:?}", good[0].parse::<PasswordHash>().unwrap()), "PasswordHash([secret])");
    }
}
