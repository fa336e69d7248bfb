//! A seed that is handed out by the metadata service, instead of lying on a volume of its own: what the service reads, and where it
//! is kept.
//!
//! It is kept as a *secret* of libvirt's under the domain's UUID. Not in the domain's metadata: those are read by everybody who may
//! open the read-only socket, and a seed holds a private host key and the hashes of passwords.

use anyhow::{Context as _, Result, bail, ensure};
use roxmltree::Document;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::core::{secret::Secret, xml::edit::escape};

/// What libvirt takes of a secret's value at most, in bytes: `REMOTE_SECRET_VALUE_MAX` in its `remote_protocol.x`.
pub const MAX_SEED: usize = 64 << 10;
/// Where cloud-init asks for the documents: each is beside the others under its own name.
pub const DOCUMENTS: &str = "http://169.254.169.254/nocloud/";
/// Where it says that its first boot has ended.
pub const READY: &str = "http://169.254.169.254/tpl/ready";
/// What the description of each such secret begins with: by this alone tpl knows it as its own.
const DESCRIPTION: &str = "tpl: seed of ";
/// The only form there is so far.
const VERSION: u32 = 1;

/// The documents of a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedSeed {
    /// The document `meta-data`.
    pub meta_data: String,
    /// The document `network-config`. Empty as tpl makes it: to ask for it the guest has asked DHCP for an address on its first card,
    /// as cloud-init does where nobody says how. 22.4 to 24.2 never fetch it; later ones would rename a card that is in use.
    pub network_config: String,
    /// The document `user-data`: it holds what is secret.
    pub user_data: Secret<String>,
    /// The SSH keys that may log in as its first user, a line each: what other services than NoCloud's hand out by themselves.
    pub public_keys: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Written<'s> {
    version: u32,
    meta_data: std::borrow::Cow<'s, str>,
    network_config: std::borrow::Cow<'s, str>,
    user_data: std::borrow::Cow<'s, str>,
    public_keys: std::borrow::Cow<'s, [String]>,
}

/// Just as much as tells whether the rest can be read.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// The serial number of a machine, by which its cloud-init knows that there is a seed, and where.
///
/// By cloud-init's `DataSourceNoCloud.py`, `tools/ds-identify` and `sources/__init__.py`, from 22.4 to 25.x:
///
/// - `ds-identify` looks for `ds=nocloud` at the beginning of the SMBIOS serial number, and the data source reads it at both of its
///   stages. The local one leaves a URL alone, the one behind the network fetches it: `meta-data`, `user-data`, `vendor-data`.
/// - Of `ds=nocloud` alone old versions make a local source whatever the URL, whose user-data is not worked through once the network
///   is up, and `ds=nocloud-net` is deprecated since 24.1. `ds=nocloud` that says `dsmode=net` is taken at its word by all. (Between
///   23.1 and 24.1 the one behind the network overlooks the serial number, however it is spelled, where other sources are configured
///   beside NoCloud: their pull request 4949.)
/// - No `i=`: it would go before the service's own `instance-id`, and be wrong in a copy of the domain, which has the serial number
///   and another UUID. It would not help a later boot either: whether the cached instance is still the machine's is looked up on the
///   kernel's command line and in the seed folder, never in SMBIOS. Hence [`super::commands::INSTANCE`]. No `h=`: `meta-data` has it.
/// - `network-config` is fetched since 24.3, and comes too late: see [`HandedSeed::network_config`].
pub fn serial() -> String {
    format!("ds=nocloud;dsmode=net;s={DOCUMENTS}")
}

impl HandedSeed {
    /// The secret's value.
    ///
    /// # Errors
    /// None that is known: there is nothing in it that JSON cannot hold.
    pub fn to_bytes(&self) -> Result<Secret<Vec<u8>>> {
        let written = Written {
            version: VERSION,
            meta_data: self.meta_data.as_str().into(),
            network_config: self.network_config.as_str().into(),
            user_data: self.user_data.expose().as_str().into(),
            public_keys: self.public_keys.as_slice().into(),
        };
        serde_json::to_vec(&written).map(Secret::new).context("writing a seed for the metadata service")
    }

    /// Reads a secret's value.
    ///
    /// # Errors
    /// It is no such seed, or one of a later tpl. What stands in it is not said.
    pub fn parse(value: &Secret<Vec<u8>>) -> Result<Self> {
        // The parser's own words may quote what it has read.
        let plain = |error: serde_json::Error| {
            let place = format!("line {} column {}", error.line(), error.column());
            anyhow::anyhow!("reading a seed for the metadata service: it cannot be read at {place}")
        };
        let Versioned { version } = serde_json::from_slice(value.expose()).map_err(plain)?;
        ensure!(
            version == VERSION,
            "reading a seed for the metadata service: it has version {version}, and this tpl knows {VERSION} alone"
        );
        let written: Written<'_> = serde_json::from_slice(value.expose()).map_err(plain)?;
        Ok(Self {
            meta_data: written.meta_data.into_owned(),
            network_config: written.network_config.into_owned(),
            user_data: Secret::new(written.user_data.into_owned()),
            public_keys: written.public_keys.into_owned(),
        })
    }
}

/// The XML of the secret that keeps the seed of a domain. Not ephemeral: a VM whose first boot comes after the host's next one must
/// find it. Not private: those would be read by no client, the metadata service among them.
///
/// # Errors
/// A name that XML cannot hold.
pub fn secret_xml(uuid: Uuid, name: &str) -> Result<String> {
    let name = escape(name)?;
    Ok(format!(
        "<secret ephemeral='no' private='no'>\n  <uuid>{uuid}</uuid>\n  <description>{DESCRIPTION}{name}</description>\n</secret>\n"
    ))
}

/// How the domain was called whose seed a secret keeps; none for a secret that is not tpl's.
///
/// # Errors
/// It is no secret's XML.
pub fn owner(secret_xml: &str) -> Result<Option<String>> {
    let Ok(document) = Document::parse(secret_xml) else { bail!("reading the XML of a secret: it is not well-formed") };
    let root = document.root_element();
    let description = root.children().find(|node| node.has_tag_name("description"));
    let text = description.and_then(|node| node.text()).unwrap_or_default();
    Ok(text.strip_prefix(DESCRIPTION).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed() -> HandedSeed {
        HandedSeed {
            meta_data: "instance-id: x\n".to_owned(),
            network_config: String::new(),
            user_data: Secret::new("#cloud-config\npassword: \"\u{e4}\\\0\"\n".to_owned()),
            public_keys: vec!["ssh-ed25519 AAAA a@b".to_owned()],
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let value = seed().to_bytes().unwrap();
        let expected = "{\"version\":1,\"meta-data\":\"instance-id: x\\n\",\"network-config\":\"\",\
                        \"user-data\":\"#cloud-config\\npassword: \\\"\u{e4}\\\\\\u0000\\\"\\n\",\"public-keys\":[\"ssh-ed25519 AAAA a@b\"]}";
        assert_eq!(std::str::from_utf8(value.expose()).unwrap(), expected);
        assert_eq!(HandedSeed::parse(&value).unwrap(), seed());
        assert!(!format!("{:?} {value:?}", seed()).contains("password"));
    }

    #[test]
    fn what_cannot_be_read_is_not_shown() {
        let table = [
            ("", "it cannot be read at line 1 column 0"),
            ("hunter2", "it cannot be read at line 1 column 1"),
            ("{\"version\":2,\"x\":1}", "it has version 2, and this tpl knows 1 alone"),
            ("{\"version\":1,\"meta-data\":[\"hunter2\"]}", "it cannot be read at line 1 column 27"),
            ("{\"version\":\"hunter2\"}", "it cannot be read at line 1 column 20"),
        ];
        for (text, expected) in table {
            let error = HandedSeed::parse(&Secret::new(text.as_bytes().to_vec())).unwrap_err();
            assert_eq!(format!("{error:#}"), format!("reading a seed for the metadata service: {expected}"), "{text}");
        }
    }

    #[test]
    fn a_secret_is_tpls_by_its_description() {
        let uuid = Uuid::from_u128(7);
        let expected = "<secret ephemeral='no' private='no'>\n  <uuid>00000000-0000-0000-0000-000000000007</uuid>\n  \
                        <description>tpl: seed of a&amp;b</description>\n</secret>\n";
        assert_eq!(secret_xml(uuid, "a&b").unwrap(), expected);
        assert_eq!(owner(expected).unwrap(), Some("a&b".to_owned()));
        let other = |description: &str| format!("<secret><uuid>x</uuid>{description}<usage type='none'/></secret>");
        let table = [
            (other(""), None),
            (other("<description/>"), None),
            (other("<description>ceph</description>"), None),
            (other("<description>my tpl: seed of web</description>"), None),
            (other("<description>tpl: seed of web</description>"), Some("web")),
        ];
        for (xml, name) in table {
            assert_eq!(owner(&xml).unwrap().as_deref(), name, "{xml}");
        }
        assert_eq!(owner("<").unwrap_err().to_string(), "reading the XML of a secret: it is not well-formed");
    }
}
