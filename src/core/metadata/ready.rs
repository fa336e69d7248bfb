//! The mark of a VM that has phoned home: a second element in a domain's `<metadata>`, beside tpl's own.
//!
//! It is the metadata service's to write, while the call that makes the VM writes tpl's own element: libvirt keeps one element a
//! namespace, so that with a namespace each neither can overwrite what the other has written.

use jiff::Timestamp;
use roxmltree::Document;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The mark's namespace.
pub const NAMESPACE: &str = "urn:tpl:ready:1";
/// The namespace's prefix.
pub const PREFIX: &str = "tplr";
/// The name of the element.
const NAME: &str = "ready";

/// What a VM has said of itself at the end of its first boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// When.
    pub at: Timestamp,
    /// The instance that it is to its cloud-init: the UUID of its domain, unless it runs with another machine's disk.
    pub instance: Uuid,
    /// Its SSH host keys, the public halves, a line each. A guest has said so: they prove nothing by themselves.
    #[serde(default)]
    pub ssh_host_keys: Vec<String>,
}

/// The element for a domain's `<metadata>`.
///
/// # Panics
/// Never: the type holds nothing that JSON cannot.
pub fn element(ready: &Ready) -> String {
    format!("<{PREFIX}:{NAME} xmlns:{PREFIX}=\"{NAMESPACE}\">{}</{PREFIX}:{NAME}>", super::escaped(ready))
}

/// The element as `virDomainSetMetadata` wants it: libvirt adds prefix and namespace by itself.
pub fn bare_element(ready: &Ready) -> String {
    format!("<{NAME}>{}</{NAME}>", super::escaped(ready))
}

/// The mark in a domain's XML; none where it has not phoned home.
///
/// # Errors
/// XML or JSON that cannot be read.
pub fn read(domain_xml: &str) -> Result<Option<Ready>, String> {
    let document = Document::parse(domain_xml).map_err(|error| format!("reading domain XML: {error}"))?;
    let Some(text) = super::text_of(&document, NAMESPACE) else { return Ok(None) };
    serde_json::from_str(text).map(Some).map_err(|error| format!("reading the mark of readiness: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(metadata: &str) -> String {
        format!("<domain><metadata><tpl:tpl xmlns:tpl='urn:tpl:metadata:1'>{{}}</tpl:tpl>{metadata}</metadata></domain>")
    }

    #[test]
    fn the_mark_survives_the_round_trip() {
        let ready = Ready {
            at: "2026-11-21T03:10:00Z".parse().unwrap(),
            instance: Uuid::from_u128(7),
            // A guest may say anything.
            ssh_host_keys: vec!["ssh-ed25519 AAAA root@<&]]>\"'\u{e4}\n".to_owned()],
        };
        assert_eq!(read(&domain(&element(&ready))), Ok(Some(ready.clone())));
        let bare = bare_element(&ready).replacen("<ready>", "<x:ready xmlns:x='urn:tpl:ready:1'>", 1);
        assert_eq!(read(&domain(&bare.replace("</ready>", "</x:ready>"))), Ok(Some(ready)));
    }

    #[test]
    fn what_is_no_mark() {
        let mark = |text: &str| domain(&format!("<r:ready xmlns:r='urn:tpl:ready:1'>{text}</r:ready>"));
        let table = [
            ("<domain/>".to_owned(), Ok(None)),
            (domain(""), Ok(None)),
            // Elsewhere in the definition it would be somebody's description.
            (format!("<domain><x>{}</x></domain>", mark("{}")), Ok(None)),
            (mark(""), Err("reading the mark of readiness: EOF while parsing a value at line 1 column 0")),
            (
                mark("{\"at\":\"2026-11-21T03:10:00Z\"}"),
                Err("reading the mark of readiness: missing field `instance` at line 1 column 29"),
            ),
            ("<domain>".to_owned(), Err("reading domain XML: the root node was opened but never closed")),
        ];
        for (xml, expected) in table {
            assert_eq!(read(&xml), expected.map_err(str::to_owned), "{xml}");
        }
    }
}
