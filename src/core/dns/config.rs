//! `[dns.NAME]` in the configuration: whom clones' names are told to.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::core::vm_spec::{DomainName, Label};

/// One DNS provider.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ProviderTable")]
pub enum ProviderConfig {
    /// Hosts files that a dnsmasq reads.
    HostsFile(HostsFile),
    /// A server of DNS that takes updates, RFC 2136.
    Rfc2136(Rfc2136),
    /// The DNS of a libvirt network.
    Libvirt(LibvirtDns),
}

/// Hosts files that a dnsmasq reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostsFile {
    /// Where hosts are written to.
    pub place: HostsPlace,
    /// Where dnsmasq writes its process number; it is told to read its files again.
    pub pid_file: Option<PathBuf>,
    /// The domain that hosts are in.
    pub domain: Option<DomainName>,
}

/// Where hosts are written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostsPlace {
    /// One file for all, dnsmasq's `addn-hosts`.
    File(PathBuf),
    /// A file for each, in dnsmasq's `hostsdir`.
    Folder(PathBuf),
}

/// A server of DNS that takes updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rfc2136 {
    /// The zone's primary server.
    pub server: SocketAddr,
    /// The zone, which is the domain that hosts are in.
    pub zone: DomainName,
    /// The zones for PTR records; an address in none of them gets none.
    pub reverse: Vec<DomainName>,
    /// The file with the key, in BIND's format.
    pub key_file: PathBuf,
    /// How long others may remember an answer, in seconds.
    pub ttl: u32,
    /// Whether SSH host keys are told, as SSHFP records.
    pub sshfp: bool,
}

/// The DNS of a libvirt network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LibvirtDns {
    /// The network; none: the clone's own.
    pub network: Option<Label>,
    /// The domain that hosts are in; none: the network's own.
    pub domain: Option<DomainName>,
}

impl ProviderConfig {
    /// The domain that hosts are in, where the configuration says it.
    pub fn domain(&self) -> Option<&DomainName> {
        match self {
            Self::HostsFile(config) => config.domain.as_ref(),
            Self::Rfc2136(config) => Some(&config.zone),
            Self::Libvirt(config) => config.domain.as_ref(),
        }
    }
}

/// RFC 2181, 8: a time to live has 31 bits.
const LONGEST_TTL: u32 = i32::MAX as u32;
const DEFAULT_TTL: u32 = 300;

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    HostsFile,
    Rfc2136,
    Libvirt,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::HostsFile => "hosts-file",
            Self::Rfc2136 => "rfc2136",
            Self::Libvirt => "libvirt",
        }
    }

    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::HostsFile => &["file", "folder", "pid_file", "domain"],
            Self::Rfc2136 => &["server", "zone", "reverse", "key_file", "ttl", "sshfp"],
            Self::Libvirt => &["network", "domain"],
        }
    }
}

/// A provider as it is written: all keys of all kinds. An enum with a tag would read the same, and lose the places of its faults.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderTable {
    kind: Kind,
    file: Option<AbsolutePath>,
    folder: Option<AbsolutePath>,
    pid_file: Option<AbsolutePath>,
    domain: Option<DomainName>,
    server: Option<Server>,
    zone: Option<DomainName>,
    reverse: Option<Vec<ReverseZone>>,
    key_file: Option<AbsolutePath>,
    ttl: Option<Ttl>,
    sshfp: Option<bool>,
    network: Option<Label>,
}

impl ProviderTable {
    fn present(&self) -> Vec<&'static str> {
        let all = [
            ("file", self.file.is_some()),
            ("folder", self.folder.is_some()),
            ("pid_file", self.pid_file.is_some()),
            ("domain", self.domain.is_some()),
            ("server", self.server.is_some()),
            ("zone", self.zone.is_some()),
            ("reverse", self.reverse.is_some()),
            ("key_file", self.key_file.is_some()),
            ("ttl", self.ttl.is_some()),
            ("sshfp", self.sshfp.is_some()),
            ("network", self.network.is_some()),
        ];
        all.into_iter().filter_map(|(key, present)| present.then_some(key)).collect()
    }

    fn hosts_file(self) -> Result<HostsFile, String> {
        let place = match (self.file, self.folder) {
            (Some(file), None) => HostsPlace::File(file.0),
            (None, Some(folder)) => HostsPlace::Folder(folder.0),
            _ => return Err("a provider of kind \"hosts-file\" needs either `file` or `folder`".to_owned()),
        };
        Ok(HostsFile { place, pid_file: self.pid_file.map(|path| path.0), domain: self.domain })
    }

    fn rfc2136(self) -> Result<Rfc2136, String> {
        let needs = |key: &str| format!("a provider of kind \"rfc2136\" needs `{key}`");
        Ok(Rfc2136 {
            server: self.server.ok_or_else(|| needs("server"))?.0,
            zone: self.zone.ok_or_else(|| needs("zone"))?,
            reverse: self.reverse.unwrap_or_default().into_iter().map(|zone| zone.0).collect(),
            key_file: self.key_file.ok_or_else(|| needs("key_file"))?.0,
            ttl: self.ttl.map_or(DEFAULT_TTL, |ttl| ttl.0),
            sshfp: self.sshfp.unwrap_or(true),
        })
    }
}

impl TryFrom<ProviderTable> for ProviderConfig {
    type Error = String;

    fn try_from(table: ProviderTable) -> Result<Self, String> {
        let kind = table.kind;
        if let Some(key) = table.present().into_iter().find(|key| !kind.keys().contains(key)) {
            let keys = kind.keys().join("`, `");
            return Err(format!("a provider of kind {:?} has no key `{key}`: there are `{keys}`", kind.word()));
        }
        Ok(match kind {
            Kind::HostsFile => Self::HostsFile(table.hosts_file()?),
            Kind::Rfc2136 => Self::Rfc2136(table.rfc2136()?),
            Kind::Libvirt => Self::Libvirt(LibvirtDns { network: table.network, domain: table.domain }),
        })
    }
}

/// Calls are made from any folder: a path must mean the same in each.
#[derive(Debug, Clone, JsonSchema)]
struct AbsolutePath(PathBuf);

impl<'de> Deserialize<'de> for AbsolutePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = PathBuf::deserialize(deserializer)?;
        if path.is_absolute() {
            return Ok(Self(path));
        }
        Err(D::Error::custom(format!("{path:?} is no absolute path")))
    }
}

/// `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1`, `[2001:db8::1]:5353`. No name: who would look it up?
#[derive(Debug, Clone, JsonSchema)]
struct Server(#[schemars(with = "String")] SocketAddr);

impl<'de> Deserialize<'de> for Server {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&text);
        let address = || bare.parse::<IpAddr>();
        let server = text.parse().or_else(|_| address().map(|address| SocketAddr::new(address, 53)));
        server.map(Self).map_err(|_| {
            D::Error::custom(format!("{text:?} is no server: write its address, 192.0.2.1, 192.0.2.1:53 or [2001:db8::1]:53"))
        })
    }
}

#[derive(Debug, Clone, JsonSchema)]
struct ReverseZone(DomainName);

impl<'de> Deserialize<'de> for ReverseZone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let zone = DomainName::deserialize(deserializer)?;
        if [".in-addr.arpa", ".ip6.arpa"].iter().any(|end| zone.as_str().ends_with(end)) {
            return Ok(Self(zone));
        }
        let text = zone.as_str();
        Err(D::Error::custom(format!(
            "{text:?} is no reverse zone: it ends in .in-addr.arpa or .ip6.arpa, as 2.0.192.in-addr.arpa"
        )))
    }
}

#[derive(Debug, Clone, JsonSchema)]
struct Ttl(u32);

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ttl = i64::deserialize(deserializer)?;
        let fits = u32::try_from(ttl).ok().filter(|ttl| *ttl <= LONGEST_TTL);
        fits.map(Self).ok_or_else(|| D::Error::custom(format!("ttl is a number of seconds, 0 to {LONGEST_TTL}")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::core::toml_text;

    fn read(text: &str) -> Result<ProviderConfig, String> {
        let parsed: Result<BTreeMap<String, ProviderConfig>, _> = toml_text::parse("c.toml", &format!("[lab]\n{text}"));
        parsed.map(|mut map| map.remove("lab").unwrap()).map_err(|error| error.to_string())
    }

    fn domain(text: &str) -> DomainName {
        text.parse().unwrap()
    }

    #[test]
    fn kinds() {
        let hosts = |place, pid_file: Option<&str>, of: Option<&str>| {
            ProviderConfig::HostsFile(HostsFile { place, pid_file: pid_file.map(PathBuf::from), domain: of.map(domain) })
        };
        let server = |address: &str, reverse: &[&str], ttl, sshfp| {
            ProviderConfig::Rfc2136(Rfc2136 {
                server: address.parse().unwrap(),
                zone: domain("lab.example"),
                reverse: reverse.iter().copied().map(domain).collect(),
                key_file: "/k".into(),
                ttl,
                sshfp,
            })
        };
        let zone = "zone = \"lab.example\"\nkey_file = \"/k\"";
        let table = [
            ("kind = \"hosts-file\"\nfile = \"/h\"".to_owned(), hosts(HostsPlace::File("/h".into()), None, None)),
            (
                "kind = \"hosts-file\"\nfolder = \"/h\"\npid_file = \"/p\"\ndomain = \"Lab.example.\"".to_owned(),
                hosts(HostsPlace::Folder("/h".into()), Some("/p"), Some("lab.example")),
            ),
            (format!("kind = \"rfc2136\"\nserver = \"192.0.2.1\"\n{zone}"), server("192.0.2.1:53", &[], 300, true)),
            (
                format!(
                    "kind = \"rfc2136\"\nserver = \"[2001:db8::1]:5353\"\n{zone}\nttl = 60\nsshfp = false\n\
                     reverse = [\"2.0.192.in-addr.arpa\"]"
                ),
                server("[2001:db8::1]:5353", &["2.0.192.in-addr.arpa"], 60, false),
            ),
            (format!("kind = \"rfc2136\"\nserver = \"2001:db8::1\"\n{zone}"), server("[2001:db8::1]:53", &[], 300, true)),
            (
                "kind = \"libvirt\"\nnetwork = \"lab\"".to_owned(),
                ProviderConfig::Libvirt(LibvirtDns { network: Some("lab".parse().unwrap()), domain: None }),
            ),
            ("kind = \"libvirt\"".to_owned(), ProviderConfig::Libvirt(LibvirtDns::default())),
        ];
        for (text, expected) in table {
            assert_eq!(read(&text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn faults_have_their_places() {
        let table = [
            ("kind = \"bind\"", "c.toml:2:8: unknown variant `bind`, expected one of `hosts-file`, `rfc2136`, `libvirt`"),
            ("file = \"/h\"", "c.toml:1:1: missing field `kind`"),
            ("kind = \"hosts-file\"\nfile = \"h\"", "c.toml:3:8: \"h\" is no absolute path"),
            ("kind = \"hosts-file\"", "c.toml:1:1: a provider of kind \"hosts-file\" needs either `file` or `folder`"),
            (
                "kind = \"hosts-file\"\nfile = \"/h\"\nzone = \"a\"",
                "c.toml:1:1: a provider of kind \"hosts-file\" has no key `zone`: there are `file`, `folder`, `pid_file`, `domain`",
            ),
            (
                "kind = \"rfc2136\"\nserver = \"ns1.example\"",
                "c.toml:3:10: \"ns1.example\" is no server: write its address, 192.0.2.1, 192.0.2.1:53 or [2001:db8::1]:53",
            ),
            ("kind = \"rfc2136\"\nserver = \"192.0.2.1\"", "c.toml:1:1: a provider of kind \"rfc2136\" needs `zone`"),
            (
                "kind = \"rfc2136\"\nreverse = [\"lab.example\"]",
                "c.toml:3:11: \"lab.example\" is no reverse zone: it ends in .in-addr.arpa or .ip6.arpa, as 2.0.192.in-addr.arpa",
            ),
            ("kind = \"rfc2136\"\nttl = -1", "c.toml:3:7: ttl is a number of seconds, 0 to 2147483647"),
        ];
        for (text, expected) in table {
            assert_eq!(read(text).unwrap_err(), expected, "{text}");
        }
        let unknown = read("kind = \"libvirt\"\nsecret = \"x\"").unwrap_err();
        assert!(unknown.starts_with("c.toml:3:1: unknown field `secret`, expected one of `kind`, "), "{unknown}");
    }
}
