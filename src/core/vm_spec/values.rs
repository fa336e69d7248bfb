//! The values in a VM's specification, checked once at the border: none of them can leave a path, an XML attribute, a shell
//! word or a YAML scalar.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::core::{mac::Mac, names::is_host_label, quoted::quoted};

/// So many addresses a range may name: more than one hypervisor has VMs.
const LONGEST_RANGE: u32 = 65_536;

/// A short name that means something to libvirt, a file system or a kernel: a network, a bridge, a label, a snapshot.
/// 1 to 32 letters, digits, `-`, `_` and `.`, a letter or digit first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Label(String);

/// An absolute path inside a guest, without `.`, `..`, doubled slashes, control characters and quotes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct GuestPath(String);

/// A domain of DNS: `lab.example`. Lower case, without the dot at the end; RFC 1123's letters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct DomainName(String);

/// A file's permission bits. Reads octal digits: `0644`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(u32);

/// Sockets, cores and threads. Reads `1:2:2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topology {
    /// Sockets.
    pub sockets: u32,
    /// Cores of each socket.
    pub cores: u32,
    /// Threads of each core.
    pub threads: u32,
}

/// The file systems of extra disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
}

/// What starts a VM's boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Firmware {
    /// A PC's BIOS.
    #[default]
    Bios,
    /// UEFI, with variables of the VM's own.
    Uefi,
}

/// How a VM comes to its IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// From the libvirt network's DHCP server, which keeps one for it.
    Reserve,
    /// Written into the guest's own configuration.
    Static,
    /// From whatever DHCP server is there.
    Dhcp,
}

/// Where a guest's cloud-init reads its seed: the documents that tell it who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SeedWay {
    /// On a volume of its own.
    #[default]
    Volume,
    /// From the metadata service of its hypervisor.
    Metadata,
}

/// Which addresses VMs get. Reads `next`, `192.168.122.10`, `192.168.122.10-192.168.122.20`, `192.168.122.10-20`, and several
/// of these with commas between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IpChoice {
    /// The next free one.
    Next,
    /// One of these, in this order, both ends included.
    Ranges(Vec<(Ipv4Addr, Ipv4Addr)>),
}

/// Where the MAC addresses of VMs come from. Reads `name`, `ip`, `random`, or addresses with commas between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MacChoice {
    /// The VM's name: the same each time it is built.
    Name,
    /// The VM's IPv4 address: 52:54 and its four octets.
    Ip,
    /// Chance.
    Random,
    /// The operator: one for each network card of each VM, in their order.
    Explicit(Vec<Mac>),
}

impl SeedWay {
    /// Whether it is the usual way.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if first && text.len() <= 32 && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{} is no such name: 1 to 32 letters, digits, '-', '_' and '.', a letter or digit first", quoted(text)))
    }
}

impl FromStr for GuestPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: char| !c.is_control() && !"\"'\\`$".contains(c);
        let part = |part: &str| !matches!(part, "" | "." | "..");
        let whole = text.strip_prefix('/').is_some_and(|rest| rest.is_empty() || rest.split('/').all(part));
        if whole && text.len() <= 1024 && text.chars().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{} is no path in a guest: an absolute one without . and .., quotes and control characters", quoted(text)))
    }
}

impl FromStr for DomainName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        // 253 with a host's label of 63 in front of it is what RFC 1035 has room for.
        if name.len() <= 189 && name.split('.').all(is_host_label) {
            return Ok(Self(name));
        }
        Err(format!("{} is no domain: labels of letters, digits and '-' with dots between them, as in lab.example", quoted(text)))
    }
}

impl FromStr for FileMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        let bits = u32::from_str_radix(text, 8).ok().filter(|_| octal);
        bits.map(Self).ok_or_else(|| format!("{} is no file mode: write octal digits, as in 0644", quoted(text)))
    }
}

impl FromStr for Topology {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<u32> = text.split(':').filter_map(|part| part.parse().ok()).filter(|n| (1..=512).contains(n)).collect();
        match parts.as_slice() {
            [sockets, cores, threads] if text.split(':').count() == 3 && sockets * cores * threads <= 512 => {
                Ok(Self { sockets: *sockets, cores: *cores, threads: *threads })
            }
            _ => Err(format!("{} is no topology: write sockets:cores:threads, as in 1:2:2, at most 512 together", quoted(text))),
        }
    }
}

impl FromStr for IpChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "next" {
            return Ok(Self::Next);
        }
        text.split(',').map(|part| range(part.trim())).collect::<Result<_, _>>().map(Self::Ranges)
    }
}

fn range(text: &str) -> Result<(Ipv4Addr, Ipv4Addr), String> {
    let wrong = || format!("{} is no address: write next, 192.0.2.10, 192.0.2.10-192.0.2.20 or 192.0.2.10-20", quoted(text));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first: Ipv4Addr = first.parse().map_err(|_| wrong())?;
    let short = || Some(Ipv4Addr::from([first.octets()[0], first.octets()[1], first.octets()[2], last.parse().ok()?]));
    let last: Ipv4Addr = last.parse().ok().or_else(short).ok_or_else(wrong)?;
    let (from, to) = (u32::from(first), u32::from(last));
    if to < from || to - from >= LONGEST_RANGE {
        return Err(format!("{} is no range: its end lies before its beginning, or it is too long", quoted(text)));
    }
    Ok((first, last))
}

impl FromStr for MacChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "name" => Ok(Self::Name),
            "ip" => Ok(Self::Ip),
            "random" => Ok(Self::Random),
            _ => {
                let macs: Result<Vec<Mac>, String> = text.split(',').map(|part| part.trim().parse()).collect();
                macs.map(Self::Explicit).map_err(|error| format!("{error}; or write name, ip or random"))
            }
        }
    }
}

impl FileMode {
    /// The bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl IpChoice {
    /// The addresses, in order; none for `next`.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let ranges = match self {
            Self::Next => &[],
            Self::Ranges(ranges) => ranges.as_slice(),
        };
        ranges.iter().flat_map(|(first, last)| (u32::from(*first)..=u32::from(*last)).map(Ipv4Addr::from))
    }
}

impl Topology {
    /// How many vCPUs it makes.
    pub fn vcpus(self) -> u32 {
        self.sockets * self.cores * self.threads
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

macro_rules! words {
    ($($type:ident, $what:literal: $($word:literal = $variant:ident),*;)*) => {$(
        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(format!("{} is no {}: there are {}", quoted(text), $what, [$($word),*].join(", "))),
                }
            }
        }

        impl $type {
            /// The word for it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    )*};
}

words! {
    FileSystem, "file system for extra disks": "ext4" = Ext4, "xfs" = Xfs;
    Firmware, "firmware": "bios" = Bios, "uefi" = Uefi;
    Addressing, "way to an address": "reserve" = Reserve, "static" = Static, "dhcp" = Dhcp;
    SeedWay, "way to a seed": "volume" = Volume, "metadata" = Metadata;
}

macro_rules! text {
    ($($type:ident),*) => {$(
        impl $type {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    )*};
}

text!(Label, GuestPath, DomainName);

macro_rules! deserialised_from_text {
    ($($type:ident),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

deserialised_from_text!(
    Label, GuestPath, DomainName, FileMode, Topology, FileSystem, Firmware, Addressing, IpChoice, MacChoice, SeedWay
);

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: FromStr<Err = String>>(texts: &[&str]) -> Vec<bool> {
        texts.iter().map(|text| text.parse::<T>().is_ok()).collect()
    }

    #[test]
    fn what_means_something_elsewhere_is_refused() {
        assert_eq!(read::<Label>(&["br0", "a.b_c-d", "", "-a", "a b", "a'b", "a/b", "ä"])[..2], [true; 2]);
        assert!(!read::<Label>(&["", "-a", "a b", "a'b", "a/b", "ä", "a\n"]).contains(&true));
        assert_eq!(read::<GuestPath>(&["/", "/srv/a b", "/srv/ä"]), [true; 3]);
        assert!(!read::<GuestPath>(&["", "srv", "/a//b", "/a/", "/a/../b", "/a\n", "/a'b", "/$a", "/."]).contains(&true));
        assert_eq!(read::<DomainName>(&["lab.example", "Lab.Example.", "a"]), [true; 3]);
        assert!(!read::<DomainName>(&["", ".", "a..b", "-a.b", "a_b", "a b", "a\n"]).contains(&true));
        assert_eq!(read::<FileMode>(&["644", "0755"]), [true; 2]);
        assert!(!read::<FileMode>(&["", "8", "+77", "00644", "9999"]).contains(&true));
    }

    #[test]
    fn topologies() {
        let topology: Topology = "2:3:4".parse().unwrap();
        assert_eq!((topology.vcpus(), topology), (24, Topology { sockets: 2, cores: 3, threads: 4 }));
        assert!(!read::<Topology>(&["", "1", "1:2", "1:2:0", "1:2:x", "1:2:2:x", "512:2:1", "99999999999:1:1"]).contains(&true));
    }

    #[test]
    fn address_ranges() {
        let table = [
            ("192.0.2.10", Ok("192.0.2.10")),
            ("192.0.2.9-11, 192.0.2.20", Ok("192.0.2.9 192.0.2.10 192.0.2.11 192.0.2.20")),
            ("192.0.2.255-192.0.3.0", Ok("192.0.2.255 192.0.3.0")),
            ("next", Ok("")),
            ("192.0.2.11-10", Err("\"192.0.2.11-10\" is no range: its end lies before its beginning, or it is too long")),
            ("10.0.0.0-10.1.0.0", Err("\"10.0.0.0-10.1.0.0\" is no range: its end lies before its beginning, or it is too long")),
            ("x", Err("\"x\" is no address: write next, 192.0.2.10, 192.0.2.10-192.0.2.20 or 192.0.2.10-20")),
        ];
        for (text, expected) in table {
            let addresses =
                text.parse::<IpChoice>().map(|choice| choice.addresses().map(|ip| ip.to_string()).collect::<Vec<_>>().join(" "));
            assert_eq!(addresses, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn mac_choices() {
        assert_eq!("ip".parse(), Ok(MacChoice::Ip));
        let macs = vec!["52:54:00:00:00:01".parse().unwrap(), "52:54:00:00:00:02".parse().unwrap()];
        assert_eq!("52:54:00:00:00:01, 52:54:00:00:00:02".parse(), Ok(MacChoice::Explicit(macs)));
        assert_eq!(
            "x".parse::<MacChoice>().unwrap_err(),
            "\"x\" is no MAC address: write it as in 52:54:00:ab:cd:ef; or write name, ip or random"
        );
    }
}
