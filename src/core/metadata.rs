//! The XML element that carries [`Metadata`] in a domain: one element in tpl's namespace, with JSON as its text.

pub mod ready;

use roxmltree::Document;
use serde::Serialize;

use super::manifest::Metadata;

/// tpl's namespace in domain metadata.
pub const NAMESPACE: &str = "urn:tpl:metadata:1";
/// The namespace prefix, and the name of the element.
pub const PREFIX: &str = "tpl";

/// The element for a domain's `<metadata>`.
///
/// # Panics
/// Never: the types hold nothing that JSON cannot.
pub fn element(metadata: &Metadata) -> String {
    format!("<{PREFIX}:{PREFIX} xmlns:{PREFIX}=\"{NAMESPACE}\">{}</{PREFIX}:{PREFIX}>", escaped(metadata))
}

/// The element as `virDomainSetMetadata` wants it: libvirt adds prefix and namespace by itself.
pub fn bare_element(metadata: &Metadata) -> String {
    format!("<{PREFIX}>{}</{PREFIX}>", escaped(metadata))
}

#[expect(clippy::expect_used, reason = "string keys and plain values always serialise")]
fn escaped(content: &impl Serialize) -> String {
    let json = serde_json::to_string(content).expect("metadata serialises");
    quick_xml::escape::partial_escape(&json).into_owned()
}

/// tpl's metadata in a domain's XML.
///
/// None where there is none. What is there and cannot be read is an error: the domain may be of a later tpl, and must not be
/// taken for somebody else's.
///
/// # Errors
/// XML or JSON that cannot be read.
pub fn read(domain_xml: &str) -> Result<Option<Metadata>, String> {
    let document = Document::parse(domain_xml).map_err(|error| format!("reading domain XML: {error}"))?;
    let Some(text) = text_of(&document, NAMESPACE) else { return Ok(None) };
    serde_json::from_str(text).map(Some).map_err(|error| format!("reading tpl's metadata: {error}"))
}

/// The text of the element that a domain's `<metadata>` has of a namespace.
fn text_of<'d>(document: &'d Document<'_>, namespace: &str) -> Option<&'d str> {
    let metadata = document.root_element().children().find(|node| node.has_tag_name("metadata"))?;
    let own = metadata.children().find(|child| child.tag_name().namespace() == Some(namespace))?;
    Some(own.text().unwrap_or_default())
}
