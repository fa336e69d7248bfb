//! MAC addresses of VMs.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::quoted::quoted;

/// The prefix that QEMU and libvirt use for VMs; locally administered.
const PREFIX: [u8; 3] = [0x52, 0x54, 0x00];
/// So many derived addresses can be taken before the search gives up. The space has 2^24 addresses.
const ATTEMPTS: u32 = 1000;

/// An Ethernet address. Prints as libvirt writes it: `52:54:00:ab:cd:ef`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address of interface `index` of the VM `name`: stable, so that a VM that is built again keeps its DHCP lease and
    /// its place in firewalls. `attempt` 0 is the address proper, the others are for when that one is taken.
    pub fn of_name(name: &str, index: usize, attempt: u32) -> Self {
        let mut hash = Sha256::new();
        hash.update(name.as_bytes());
        // A NUL is in no name, so no two triples read the same.
        hash.update(format!("\0{index}\0{attempt}"));
        let digest = hash.finalize();
        Self([PREFIX[0], PREFIX[1], PREFIX[2], digest[0], digest[1], digest[2]])
    }

    /// The address that follows from an IPv4 address: 52:54 and its four octets.
    pub fn of_address(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([PREFIX[0], PREFIX[1], a, b, c, d])
    }

    /// An address of chance: that of a random UUID.
    pub fn of_random(uuid: Uuid) -> Self {
        let bytes = uuid.into_bytes();
        Self([PREFIX[0], PREFIX[1], PREFIX[2], bytes[0], bytes[1], bytes[2]])
    }

    /// The first address derived from the name that is not taken.
    ///
    /// # Errors
    /// A thousand of them are taken.
    pub fn free_of_name(name: &str, index: usize, taken: &dyn Fn(Mac) -> bool) -> Result<Self, String> {
        (0..ATTEMPTS)
            .map(|attempt| Self::of_name(name, index, attempt))
            .find(|mac| !taken(*mac))
            .ok_or_else(|| format!("interface {index} of '{name}' has no free MAC address: {ATTEMPTS} derived ones are taken"))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{} is no MAC address: write it as in 52:54:00:ab:cd:ef", quoted(text));
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().ok_or_else(wrong)?;
            // from_str_radix alone would take "+1".
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(wrong());
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok(Self(octets))
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        let table = [
            ("52:54:00:ab:cd:ef", Some("52:54:00:ab:cd:ef")),
            ("52:54:00:AB:CD:EF", Some("52:54:00:ab:cd:ef")),
            ("", None),
            ("52:54:00:ab:cd", None),
            ("52:54:00:ab:cd:ef:01", None),
            ("52:54:00:ab:cd:+f", None),
            ("5:54:00:ab:cd:ef", None),
            ("52-54-00-ab-cd-ef", None),
            ("52:54:00:ab:cd:gg", None),
        ];
        for (text, printed) in table {
            assert_eq!(text.parse::<Mac>().ok().map(|m| m.to_string()).as_deref(), printed, "{text}");
        }
        assert_eq!("\n".parse::<Mac>().unwrap_err(), r#""\n" is no MAC address: write it as in 52:54:00:ab:cd:ef"#);
    }

    #[test]
    fn an_address_follows_from_the_name() {
        // Constants: if they change, every VM that is built again loses its lease.
        let table = [
            ("web01", 0, 0, "52:54:00:b2:5f:4d"),
            ("web01", 1, 0, "52:54:00:09:5d:d3"),
            ("web01", 0, 1, "52:54:00:19:30:97"),
            ("web02", 0, 0, "52:54:00:27:04:ce"),
        ];
        for (name, index, attempt, mac) in table {
            assert_eq!(Mac::of_name(name, index, attempt).to_string(), mac);
        }
    }

    #[test]
    fn an_address_follows_from_the_ip_or_from_chance() {
        assert_eq!(Mac::of_address("192.168.122.10".parse().unwrap()).to_string(), "52:54:c0:a8:7a:0a");
        assert_eq!(Mac::of_random(Uuid::from_u128(0x0102_0304 << 96)).to_string(), "52:54:00:01:02:03");
    }

    #[test]
    fn a_taken_address_is_passed_over() {
        let first = Mac::of_name("web01", 0, 0);
        assert_eq!(Mac::free_of_name("web01", 0, &|_| false), Ok(first));
        assert_eq!(Mac::free_of_name("web01", 0, &|mac| mac == first), Ok(Mac::of_name("web01", 0, 1)));
        assert_eq!(
            Mac::free_of_name("web01", 0, &|_| true).unwrap_err(),
            "interface 0 of 'web01' has no free MAC address: 1000 derived ones are taken"
        );
    }

    #[test]
    fn serialises_as_text() {
        let mac: Mac = serde_json::from_str("\"52:54:00:00:00:01\"").unwrap();
        assert_eq!(serde_json::to_string(&mac).unwrap(), "\"52:54:00:00:00:01\"");
    }
}
