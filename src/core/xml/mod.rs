//! Domain XML: reading facts from it, and changing it without touching what tpl does not know. Network XML: reading alone.
//!
//! XML from libvirt is untrusted: whoever may define a domain wrote it. Its size and its number of nodes are limited, a
//! DTD is refused, and nothing in here panics on it.

pub mod adopt;
pub mod clone;
pub mod edit;
pub mod network;
mod paths;
pub mod read;
pub mod snapshot;

use anyhow::{Context as _, Result, ensure};
use roxmltree::{Attribute, Document, Node, ParsingOptions};

/// libvirt's own limit on a string in its protocol.
const MAX_BYTES: usize = 4 << 20;
const MAX_NODES: u32 = 200_000;

/// Parses XML within the limits.
///
/// # Errors
/// It is too large, malformed, or has a DTD.
pub fn parse(xml: &str) -> Result<Document<'_>> {
    ensure!(xml.len() <= MAX_BYTES, "parsing XML: {} bytes are more than the limit of {MAX_BYTES}", xml.len());
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    Document::parse_with_options(xml, options).context("parsing XML")
}

/// Parses domain XML.
///
/// # Errors
/// As for [`parse`], and a root that is no `<domain>`.
pub fn parse_domain(xml: &str) -> Result<Document<'_>> {
    let document = parse(xml).context("reading domain XML")?;
    let root = document.root_element();
    ensure!(is(root, "domain"), "reading domain XML: the root is <{}>, not <domain>", root.tag_name().name());
    Ok(document)
}

/// Whether the node is libvirt's element of that name: other namespaces are other applications' own.
pub(crate) fn is(node: Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().namespace().is_none() && node.tag_name().name() == name
}

/// The first child element of that name.
pub(crate) fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| is(*child, name))
}

/// All child elements of that name.
pub(crate) fn children<'a, 'i, 'n>(node: Node<'a, 'i>, name: &'n str) -> impl Iterator<Item = Node<'a, 'i>> + use<'a, 'i, 'n> {
    node.children().filter(move |child| is(*child, name))
}

/// An attribute of that name and of no namespace. roxmltree's own look-up by a bare name takes one of any namespace.
pub(crate) fn attribute_node<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Attribute<'a, 'i>> {
    node.attributes().find(|attribute| attribute.namespace().is_none() && attribute.name() == name)
}

/// The value of [`attribute_node`].
pub(crate) fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    attribute_node(node, name).map(|attribute| attribute.value())
}

/// All the text directly in a node, comments and CDATA borders left out.
pub(crate) fn text(node: Node<'_, '_>) -> String {
    node.children().filter(Node::is_text).filter_map(|part| part.text()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_xml_is_an_error() {
        let deep = "<a>".repeat(100_000);
        let closed = format!("{deep}{}", "</a>".repeat(100_000));
        let many = format!("<domain>{}</domain>", "<a/>".repeat(200_001));
        let long = format!("<domain>{}</domain>", " ".repeat(MAX_BYTES));
        let laughs = "<!DOCTYPE domain [<!ENTITY a 'aaaa'>]><domain>&a;</domain>";
        for bad in ["", "<", "<domain>", "<domain/><domain/>", "<pool/>", "<x:domain xmlns:x='y'/>", "\0", laughs] {
            assert!(parse_domain(bad).is_err(), "{bad}");
        }
        for bad in [&deep, &closed, &many, &long] {
            assert!(parse_domain(bad).is_err());
        }
        assert_eq!(format!("{:#}", parse_domain("<pool/>").unwrap_err()), "reading domain XML: the root is <pool>, not <domain>");
    }
}
