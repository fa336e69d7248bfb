//! What a guest reports when it is ready: the form that cloud-init's module `phone_home` sends.
//! <https://docs.cloud-init.io/en/latest/reference/modules.html#phone-home>

use uuid::Uuid;

use crate::core::ssh_key::PublicKey;

/// The longest report in bytes: three host keys and a few names.
pub const LONGEST: usize = 16 << 10;
/// The most fields of one.
const FIELDS: usize = 32;

/// A report, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its SSH host keys, the public halves: algorithm and key.
    pub host_keys: Vec<String>,
}

/// Reads a report of an instance that was made with these host keys, as [`Report::host_keys`] has them. Whatever reports
/// without having seen the seed must not end it before cloud-init has read it. One that was made with none needs to name none.
///
/// # Errors
/// What is wrong with it: it is no form, of another instance or of none, a key in it is none, or none of those.
pub fn read(body: &[u8], instance: Uuid, made_with: &[String]) -> Result<Report, String> {
    if body.len() > LONGEST {
        return Err(format!("a report has at most {LONGEST} bytes"));
    }
    let mut host_keys = Vec::new();
    let mut fields = 0;
    let mut is_its_own = false;
    for (name, value) in url::form_urlencoded::parse(body) {
        fields += 1;
        if fields > FIELDS {
            return Err(format!("a report has at most {FIELDS} fields"));
        }
        match name.as_ref() {
            "instance_id" if value != instance.to_string() => return Err("this is another instance's report".to_owned()),
            "instance_id" => is_its_own = true,
            // cloud-init writes what it does not know as N/A.
            key if key.starts_with("pub_key_") && value != "N/A" => {
                let key: PublicKey = value.trim().parse().map_err(|_| "a host key in it is none".to_owned())?;
                host_keys.push(key.key());
            }
            _ => {}
        }
    }
    if !is_its_own {
        return Err("a report names its instance_id".to_owned());
    }
    if !made_with.is_empty() && !host_keys.iter().any(|key| made_with.contains(key)) {
        return Err("a report names the SSH host key that this VM was made with, as pub_key_ed25519".to_owned());
    }
    host_keys.sort();
    host_keys.dedup();
    Ok(Report { host_keys })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: Uuid = Uuid::from_u128(0x1111_1111_2222_4333_8444_5555_5555_5555);
    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    #[test]
    fn reports() {
        let key = KEY.replace(' ', "+").replace("/cu", "%2Fcu");
        let id = "instance_id=11111111-2222-4333-8444-555555555555";
        let ok = |keys: &[&str]| Ok(Report { host_keys: keys.iter().map(|key| (*key).to_owned()).collect() });
        let table = [
            (id.to_owned(), ok(&[])),
            (String::new(), Err("a report names its instance_id".to_owned())),
            ("{\"instance_id\": 1}".to_owned(), Err("a report names its instance_id".to_owned())),
            (format!("{id}&pub_key_ed25519={key}+root%40x%0A&pub_key_rsa=N%2FA&hostname=x"), ok(&[KEY])),
            ("instance_id=other".to_owned(), Err("this is another instance's report".to_owned())),
            ("pub_key_rsa=%00".to_owned(), Err("a host key in it is none".to_owned())),
            ("a&".repeat(33), Err("a report has at most 32 fields".to_owned())),
            ("a".repeat(LONGEST + 1), Err("a report has at most 16384 bytes".to_owned())),
        ];
        for (body, expected) in table {
            assert_eq!(read(body.as_bytes(), ID, &[]), expected, "{}", &body[..body.len().min(60)]);
        }
        let own = format!("{id}&pub_key_ed25519={key}");
        let others = "a report names the SSH host key that this VM was made with, as pub_key_ed25519";
        for (body, made_with, expected) in [
            (own.as_str(), KEY, ok(&[KEY])),
            (own.as_str(), "ssh-ed25519 AAAA", Err(others.to_owned())),
            (id, KEY, Err(others.to_owned())),
        ] {
            assert_eq!(read(body.as_bytes(), ID, &[made_with.to_owned()]), expected, "{body} {made_with}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(report) = read(&body, ID, &[]) {
                prop_assert!(report.host_keys.iter().all(|key| key.parse::<PublicKey>().is_ok()));
            }
        }
    }
}
