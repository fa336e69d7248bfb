//! `[hypervisors.NAME]` in the configuration: the hypervisors that are called by a short name.

use std::{fmt, path::PathBuf, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::core::{
    capacity::{CapPercent, Overcommit, PolicyFile},
    lvm::ThinChoice,
    names::{HOST_LABEL, is_host_label},
    pipeline::Word,
    quoted::quoted,
    transport::check_password,
};

/// What a hypervisor is called in the configuration: `hv1`. One label of DNS in lower case, RFC 1123, at most 63 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct HypervisorName(String);

/// A libvirt connection: `qemu+ssh://root@hv1/system`. A scheme, `://`, and printable ASCII without blanks and quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionUri(String);

/// A key's file. Calls are made from any folder: a path must mean the same in each.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
pub struct KeyFile(PathBuf);

/// One hypervisor. What it does not say is what the file says for all.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HypervisorFile {
    /// Its libvirt connection.
    pub uri: ConnectionUri,
    /// Its pool for templates and clones.
    pub pool: Option<Word>,
    /// Where in that pool volumes are made, if it is a logical one.
    pub thin_pool: Option<ThinChoice>,
    /// Its network for templates and clones.
    pub network: Option<Word>,
    /// The private key that SSH logs in with.
    pub ssh_key: Option<KeyFile>,
    /// Whether its own programs are run by sudo: where who logs in is not root.
    pub sudo: Option<bool>,
    /// How many vCPUs may be promised for each of its logical CPUs.
    pub cpu_overcommit: Option<Overcommit>,
    /// How much of each of its axes may be promised, in percent.
    pub cap: Option<CapPercent>,
}

impl HypervisorFile {
    /// What its keys cannot mean together: the key, and why.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if self.ssh_key.is_some() {
            if !self.uri.is_over_ssh() {
                faults.push(("ssh_key", format!("{} does not go over SSH: a key is for qemu+ssh://HOST/system", self.uri.0)));
            } else if self.uri.has_parameter("keyfile") {
                faults.push(("ssh_key", "the URI names a keyfile already: leave one of both out".to_owned()));
            }
        }
        if self.sudo == Some(true) && !self.uri.is_over_ssh() {
            faults.push(("sudo", format!("{} does not go over SSH: sudo is for qemu+ssh://USER@HOST/system", self.uri.0)));
        }
        faults
    }

    /// The URI to connect to, the key in it.
    pub fn connection(&self) -> String {
        let uri = &self.uri.0;
        let Some(KeyFile(key)) = &self.ssh_key else { return uri.clone() };
        // A fragment is nothing to libvirt, and a parameter behind it would be a part of it.
        let uri = uri.split('#').next().unwrap_or(uri);
        let joint = match uri.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some(_) => "&",
        };
        format!("{uri}{joint}keyfile={}", percent_encoded(&key.to_string_lossy()))
    }

    /// Its caps.
    pub fn admission(&self) -> PolicyFile {
        PolicyFile { cpu_overcommit: self.cpu_overcommit, cap: self.cap }
    }
}

impl ConnectionUri {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether libvirt's transport is one of those over SSH that take a key: <https://libvirt.org/uri.html>.
    fn is_over_ssh(&self) -> bool {
        let transport = self.0.split_once("://").and_then(|(scheme, _)| scheme.split_once('+'));
        transport.is_some_and(|(_, transport)| matches!(transport, "ssh" | "libssh" | "libssh2"))
    }

    pub(super) fn has_parameter(&self, name: &str) -> bool {
        let query = self.0.split('#').next().and_then(|uri| uri.split_once('?')).map_or("", |(_, query)| query);
        // libvirt takes both as separators.
        query.split(['&', ';']).any(|parameter| parameter.split('=').next() == Some(name))
    }
}

/// RFC 3986: all but unreserved characters are encoded, and the slash, which means nothing in a query.
fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

impl FromStr for HypervisorName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if is_host_label(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{} is no name of a hypervisor: {HOST_LABEL}", quoted(text)))
    }
}

impl FromStr for ConnectionUri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_graphic() && !b"\"'`<>\\^{|}".contains(&b);
        let scheme = text.split_once("://").is_some_and(|(scheme, _)| {
            let word = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
            scheme.bytes().next().is_some_and(|b| b.is_ascii_alphabetic()) && scheme.bytes().all(word)
        });
        check_password(text)?;
        if scheme && text.len() <= 1000 && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{} is no connection: write a URI of libvirt's, as in qemu+ssh://root@hv1/system", quoted(text)))
    }
}

impl HypervisorName {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HypervisorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for HypervisorName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for ConnectionUri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for KeyFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = String::deserialize(deserializer)?;
        if path.starts_with('/') && !path.chars().any(char::is_control) {
            return Ok(Self(path.into()));
        }
        Err(D::Error::custom(format!("{} is no absolute path", quoted(&path))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::toml_text;

    #[test]
    fn names_are_labels_of_dns() {
        let long = "a".repeat(63);
        for name in ["hv1", "1", "a-b", long.as_str()] {
            assert_eq!(name.parse::<HypervisorName>().unwrap().as_str(), name);
        }
        let longer = "a".repeat(64);
        for name in ["", "-a", "a-", "HV1", "a.b", "a_b", "a,b", "a b", "ä", "a\n", longer.as_str()] {
            assert!(name.parse::<HypervisorName>().is_err(), "{name}");
        }
    }

    #[test]
    fn connections_are_uris() {
        let good = ["qemu:///system", "test:///a/b.xml", "qemu+ssh://root@[2001:db8::1]:22/system?a=b&c=%20d#e"];
        let bad = ["", "qemu", "qemu:/system", "://x", "1q://x", "qemu+ssh://a b/", "qemu://ä", "qemu://a\n", "qemu://a\"b"];
        assert!(good.iter().all(|uri| uri.parse::<ConnectionUri>().is_ok()));
        assert!(bad.iter().all(|uri| uri.parse::<ConnectionUri>().is_err()));
        let secret = "qemu+ssh://root:secret@hv1/system".parse::<ConnectionUri>().unwrap_err();
        assert!(secret.contains("a password") && !secret.contains("secret"), "{secret}");
    }

    #[test]
    fn a_key_becomes_a_parameter_of_the_uri() {
        let table = [
            ("qemu+ssh://hv1/system", "/root/.ssh/id", Ok("qemu+ssh://hv1/system?keyfile=/root/.ssh/id")),
            ("qemu+ssh://hv1/system?", "/k", Ok("qemu+ssh://hv1/system?keyfile=/k")),
            ("qemu+ssh://hv1/system?no_verify=1", "/k", Ok("qemu+ssh://hv1/system?no_verify=1&keyfile=/k")),
            ("qemu+ssh://hv1/system#x", "/k", Ok("qemu+ssh://hv1/system?keyfile=/k")),
            (
                "qemu+libssh2://hv1/system",
                "/a b&c=d#e+ä%",
                Ok("qemu+libssh2://hv1/system?keyfile=/a%20b%26c%3Dd%23e%2B%C3%A4%25"),
            ),
            ("qemu:///system", "/k", Err("qemu:///system does not go over SSH: a key is for qemu+ssh://HOST/system")),
            (
                "qemu+tls://hv1/x+ssh://",
                "/k",
                Err("qemu+tls://hv1/x+ssh:// does not go over SSH: a key is for qemu+ssh://HOST/system"),
            ),
            ("qemu+ssh://hv1/system?a=b&keyfile=/x", "/k", Err("the URI names a keyfile already: leave one of both out")),
        ];
        for (uri, key, expected) in table {
            let hypervisor: HypervisorFile = toml_text::parse("c", &format!("uri = '{uri}'\nssh_key = '{key}'")).unwrap();
            let result = match hypervisor.faults().as_slice() {
                [] => Ok(hypervisor.connection()),
                [("ssh_key", fault)] => Err(fault.clone()),
                more => panic!("{more:?}"),
            };
            assert_eq!(result, expected.map(str::to_owned).map_err(str::to_owned), "{uri}");
        }
        let sudo = |uri: &str| toml_text::parse::<HypervisorFile>("c", &format!("uri = '{uri}'\nsudo = true")).unwrap().faults();
        assert_eq!(sudo("qemu+ssh://admin@hv1/system"), []);
        let expected = "qemu:///system does not go over SSH: sudo is for qemu+ssh://USER@HOST/system";
        assert_eq!(sudo("qemu:///system"), [("sudo", expected.to_owned())]);
        let relative = toml_text::parse::<HypervisorFile>("c", "uri = 'qemu+ssh://a/system'\nssh_key = '.ssh/id'").unwrap_err();
        assert_eq!(relative.to_string(), "c:2:11: \".ssh/id\" is no absolute path");
    }
}
