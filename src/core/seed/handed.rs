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
/// - Of `ds=nocloud` alone 22.4 makes a local source whatever the URL, and `main.py` leaves a local source's documents alone once the
///   network is up; `ds=nocloud-net` is deprecated since 24.1. `ds=nocloud` that says `dsmode=net` is taken at its word by all. (Between
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
    use crate::core::{
        guest::{Guest, UserData},
        imds::{self, request::NOCLOUD},
        seed::{Seed, commands::INSTANCE},
        vm_spec::SeedWay,
    };

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const UUID: Uuid = Uuid::from_u128(0x0a1b_2c3d_4e5f_4071_8293_a4b5_c6d7_e8f9);

    fn seed() -> HandedSeed {
        HandedSeed {
            meta_data: "instance-id: x\n".to_owned(),
            network_config: String::new(),
            user_data: Secret::new("#cloud-config\npassword: \"\u{e4}\\\0\"\n".to_owned()),
            public_keys: vec!["ssh-ed25519 AAAA a@b".to_owned()],
        }
    }

    #[test]
    fn guests_are_sent_to_where_the_service_is() {
        let url = |path: &str| format!("http://{}{path}", imds::ADDRESS);
        assert_eq!((DOCUMENTS, READY, imds::PORT), (&*url(NOCLOUD), &*url(imds::request::READY), 80));
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
            ("{\"version\":1,\"meta-data\":[\"hunter2\"]}", "it cannot be read at line 1 column 25"),
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

    /// What a clone is told that has its seed from the metadata service.
    fn handed(guest: &Guest) -> HandedSeed {
        told(guest, SeedWay::Metadata)
    }

    fn told(guest: &Guest, way: SeedWay) -> HandedSeed {
        let (name, private, public) = ("web01".parse().unwrap(), Secret::new("x\n".to_owned()), format!("{KEY} root@web01"));
        let host_key = (&private, public.as_str());
        let seed = Seed { name: &name, domain: None, uuid: UUID, guest, cards: &[], disks: &[], host_key, way };
        seed.handed().unwrap()
    }

    #[test]
    fn who_is_told_by_the_metadata_service_tells_it_when_it_is_ready() {
        let guest =
            Guest { keys: vec![format!("{KEY} ops").parse().unwrap()], runcmd: vec!["true".to_owned()], ..Guest::default() };
        let seed = handed(&guest);
        assert_eq!(seed.meta_data, "instance-id: 0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9\nlocal-hostname: web01\n");
        assert_eq!((seed.network_config.as_str(), seed.public_keys), ("", vec![format!("{KEY} ops")]));
        let document: serde_json::Value = serde_saphyr::from_str(seed.user_data.expose()).unwrap();
        let expected = serde_json::json!({
            "url": "http://169.254.169.254/tpl/ready",
            "post": ["instance_id", "hostname", "fqdn", "pub_key_ed25519"],
            "tries": 10,
        });
        assert_eq!((&document["phone_home"], &document["runcmd"][0]), (&expected, &"true".into()));
        let once = [
            "cloud-init-per",
            "instance",
            "tpl-instance",
            "sh",
            "-c",
            INSTANCE,
            "sh",
            &UUID.to_string(),
            "/var/lib/cloud/seed/nocloud",
        ];
        assert_eq!(document["bootcmd"], serde_json::json!([once]));
        // With a volume there is neither.
        let plain = told(&guest, SeedWay::Volume).user_data.expose().clone();
        assert!(!plain.contains("phone_home") && !plain.contains("bootcmd"), "{plain}");
    }

    #[test]
    fn an_operators_own_phone_home_stays() {
        let of = |text: &str| {
            let user_data = UserData::parse("user-data", text.as_bytes()).unwrap();
            handed(&Guest { user_data: Some(user_data), ..Guest::default() }).user_data.expose().clone()
        };
        let last = |text: &str| text.rsplit("--==tpl-part-0==\n").next().unwrap().to_owned();
        // A script, and what may hide in a message: keys that are there stay.
        for text in
            ["#!/bin/sh\n", "Content-Type: text/cloud-config\nMIME-Version: 1.0\n\n#cloud-config\nphone_home: { url: x }\n"]
        {
            let part = last(&of(text));
            let head = "Content-Type: text/cloud-config; charset=\"utf-8\"\nContent-Transfer-Encoding: 7bit\n\
                        Content-Disposition: attachment; filename=\"tpl-ready\"\nMerge-Type: dict(no_replace)+list()+str()\n\n\
                        #cloud-config\nphone_home:\n";
            assert!(part.starts_with(head) && part.contains("/tpl/ready"), "{part}");
        }
        let own = of("#cloud-config\nphone_home: { url: 'http://seen.example/' }\n");
        assert!(last(&own).contains("filename=\"tpl-identity\"") && !own.contains("/tpl/ready"), "{own}");
    }
}
