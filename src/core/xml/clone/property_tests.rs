//! Whatever else stands in a template's XML, a clone keeps it byte for byte: comments, elements that nobody knows, and the
//! space between them.

use std::ops::Range;

use proptest::{collection::vec, prelude::*, sample::Index};
use roxmltree::{Document, Node};

use super::{tests::identity, *};
use crate::core::xml::attribute_node;
use crate::core::{
    vm_spec::Topology,
    xml::{
        is,
        read::{DomainFacts, domain_facts},
    },
};

const FIXTURES: [&str; 9] = [
    include_str!("../../../../tests/fixtures/xml/plain.xml"),
    include_str!("../../../../tests/fixtures/xml/rich.xml"),
    include_str!("../../../../tests/fixtures/xml/virt-clone/uefi.xml"),
    include_str!("../../../../tests/fixtures/xml/virt-clone/efi.xml"),
    include_str!("../../../../tests/fixtures/xml/virt-clone/disks.xml"),
    include_str!("../../../../tests/fixtures/xml/virt-clone/nics.xml"),
    include_str!("../../../../tests/fixtures/xml/virt-clone/streams.xml"),
    include_str!("../../../../tests/fixtures/xml/virt-clone/host.xml"),
    include_str!("../../../../tests/fixtures/xml/virt-clone/tuning.xml"),
];

/// Something that tpl has nothing to do with.
#[derive(Debug, Clone)]
enum Noise {
    /// Anywhere between two tags, inside of a text too.
    Aside(String),
    /// Between two elements.
    Element(String),
}

fn noise() -> impl Strategy<Value = Noise> {
    let names = prop::sample::select(vec!["disk", "name", "alias", "source", "mac", "topology", "nvram", "unknown"]);
    prop_oneof![
        "[a-z<>&'\" \n\u{e4}]{0,12}".prop_map(|text| Noise::Aside(format!("<!--{text}-->"))),
        "[a-z<>&'\" ]{0,9}".prop_map(|text| Noise::Aside(format!("<?noise {text}?>"))),
        "[ \t\n]{1,9}".prop_map(Noise::Element),
        names.clone().prop_map(|name| Noise::Element(format!("<n:{name}  xmlns:n='urn:n' n:type = \"x\" dev='vda' />"))),
        (names, "[a-z'\" \t\n]{0,9}").prop_map(|(name, text)| {
            Noise::Element(format!("<n:{name} xmlns:n='urn:n'>{text}<n:alias/><![CDATA[</{name}>]]>&#xe4;</n:{name}>"))
        }),
        "[a-z'/>]{0,9}".prop_map(|text| Noise::Element(format!("<unknown-{}\n a=\"{text}\" />", text.len()))),
    ]
}

/// Puts noise into a document: each piece at one of the places where it may stand, space into start tags, and in front of one
/// attribute another one of that name, in a namespace that needs no declaration.
fn noisy(xml: &str, noise: &[(Index, Noise)], spaces: &[(Index, String)], twin: Index) -> String {
    let document = parse_domain(xml).unwrap();
    let inner: Vec<_> = document.root_element().descendants().skip(1).collect();
    let ends = |node: &Node<'_, '_>| [node.range().start, node.range().end];
    let elements: Vec<usize> = inner.iter().filter(|node| node.is_element()).flat_map(ends).collect();
    let texts: Vec<usize> = inner.iter().filter(|node| node.is_text()).flat_map(ends).collect();
    let all = [elements.clone(), texts].concat();
    let attributes = || inner.iter().flat_map(Node::attributes);
    let tags: Vec<usize> = attributes().flat_map(|a| [a.range().start, a.range_qname().end, a.range_value().start - 1]).collect();
    let mut pieces: Vec<(usize, &str)> = Vec::new();
    for (index, piece) in noise {
        pieces.push(match piece {
            Noise::Aside(text) => (*index.get(&all), text),
            Noise::Element(text) => (*index.get(&elements), text),
        });
    }
    pieces.extend(spaces.iter().map(|(index, text)| (*index.get(&tags), text.as_str())));
    let twins: Vec<_> = attributes().map(|a| (a.range().start, format!("xml:{}='twin' ", a.name()))).collect();
    let (place, text) = twin.get(&twins);
    pieces.push((*place, text));
    pieces.sort_by_key(|(place, _)| *place);
    let mut result = String::new();
    let mut done = 0;
    for (place, text) in pieces {
        result.push_str(&xml[done..place]);
        result.push_str(text);
        done = place;
    }
    result + &xml[done..]
}

/// What of a template is not a clone's, as ranges of its text.
struct Edited<'d, 'i> {
    document: &'d Document<'i>,
    /// Whether the operator asked for more than a copy.
    reshaped: bool,
    ranges: Vec<Range<usize>>,
}

impl<'d, 'i> Edited<'d, 'i> {
    fn of(document: &'d Document<'i>, identity: &CloneIdentity) -> Vec<Range<usize>> {
        let mut edited = Self { document, reshaped: identity.vcpus.is_some(), ranges: Vec::new() };
        for node in document.root_element().descendants().filter(Node::is_element) {
            edited.look_at(node, identity);
        }
        edited.ranges.sort_by_key(|range| range.start);
        edited.ranges
    }

    fn look_at(&mut self, node: Node<'d, 'i>, identity: &CloneIdentity) {
        let path: Vec<&str> = node.ancestors().filter(Node::is_element).map(|node| own_name(node)).collect();
        let path: Vec<&str> = path.into_iter().rev().skip(1).collect();
        self.place(node, &path);
        match path.as_slice() {
            [] => self.gone(node, &["id"]),
            ["title"] => self.element(node),
            ["name" | "uuid" | "genid" | "description"] => self.content(node),
            ["metadata", _] if node.tag_name().namespace() == Some("https://example.org/tpl/1") => self.element(node),
            ["sysinfo", "system", "entry"] if matches!(attribute(node, "name"), Some("uuid" | "serial")) => self.content(node),
            ["os", "smbios"] if self.reshaped => self.values(node, &["mode"]),
            ["os", "nvram"] if child(node, "source").is_none() => self.content(node),
            ["os", "nvram"] => self.values(node, &["type"]),
            ["os", "nvram", "source"] => self.values(node, &["file"]),
            ["seclabel", "label" | "imagelabel"] if node.parent().and_then(|n| attribute(n, "type")) == Some("dynamic") => {
                self.element(node);
            }
            ["devices", _, "alias"] if !attribute(node, "name").is_some_and(|name| name.starts_with("ua-")) => self.element(node),
            ["devices", "disk", ..] => self.disk(node, &path[2..], identity),
            ["devices", "interface", ..] => self.interface(node, &path[2..]),
            ["devices", "graphics"] => self.values(node, &["port", "tlsPort", "websocket", "autoport"]),
            ["devices", "vsock", "cid"] => (self.values(node, &["auto"]), self.gone(node, &["address"])).0,
            ["devices", "tpm", "backend", "source"] => self.values(node, &["path"]),
            ["devices", "serial" | "console" | "parallel" | "channel", rest @ ..] => self.stream(node, rest),
            _ if self.reshaped => self.shape(node, &path),
            _ => {}
        }
    }

    /// Where something may be put in.
    fn place(&mut self, node: Node<'d, 'i>, path: &[&str]) {
        match path {
            ["os"] if self.reshaped => (self.at(node.range().end), self.inside(node)).0,
            ["uuid" | "os" | "features"] | ["devices", "interface", "mac"] => self.at(node.range().end),
            // Behind it if it is the last, and a driver as its first child.
            ["devices", "disk"] => (self.at(node.range().end), self.inside(node)).0,
            ["sysinfo"] | ["sysinfo", "system"] if self.reshaped => self.inside(node),
            // As its first child, or its last.
            ["metadata" | "devices" | "cpu"] | ["devices", "interface"] => self.inside(node),
            // As its last attribute.
            ["devices", "graphics"] | ["devices", "vsock", "cid"] | ["memory" | "currentMemory"] => {
                self.at(node
                    .attributes()
                    .next_back()
                    .map_or(node.range().start + node.tag_name().name().len() + 1, |last| last.range().end));
            }
            _ => {}
        }
    }

    fn at(&mut self, place: usize) {
        self.ranges.push(place..place);
    }

    /// Behind the start tag, and before the end tag, in front of the space there or behind it; all of an end tag that there is none of yet.
    fn inside(&mut self, node: Node<'d, 'i>) {
        let (Some(first), Some(last)) = (node.first_child(), node.last_child()) else {
            let last = node.attributes().next_back().unwrap();
            return self.ranges.push(last.range().end..node.range().end);
        };
        self.at(first.range().start);
        self.at(self.document.input_text()[..last.range().end].trim_end().len());
        self.at(last.range().end);
    }

    fn disk(&mut self, node: Node<'d, 'i>, rest: &[&str], identity: &CloneIdentity) {
        let disk = node.ancestors().find(|node| is(*node, "disk")).unwrap();
        let target = child(disk, "target").and_then(|target| attribute(target, "dev"));
        if !identity.disks.iter().any(|change| Some(change.target.as_str()) == target) {
            return;
        }
        match rest {
            [] => self.values(node, &["type"]),
            ["driver"] => self.values(node, &["type"]),
            ["source"] => (self.values(node, &["file"]), self.gone(node, &["dev", "index"])).0,
            ["source", name] if *name != "seclabel" => self.element(node),
            ["backingStore" | "mirror" | "auth" | "readonly" | "shareable"] => self.element(node),
            ["serial" | "wwn"] => self.content(node),
            _ => {}
        }
    }

    fn interface(&mut self, node: Node<'d, 'i>, rest: &[&str]) {
        let interface = node.ancestors().find(|node| is(*node, "interface")).unwrap();
        let first = !interface.prev_siblings().skip(1).any(|node| is(node, "interface"));
        match rest {
            [] if self.reshaped && first => self.values(node, &["type"]),
            ["source"] if self.reshaped && first => self.element(node),
            ["mac"] => self.values(node, &["address"]),
            ["target"] => self.element(node),
            ["source"] => self.gone(node, &["portid"]),
            ["virtualport", "parameters"] => self.gone(node, &["interfaceid", "instanceid"]),
            _ => {}
        }
    }

    fn stream(&mut self, node: Node<'d, 'i>, rest: &[&str]) {
        let kind = node.parent().and_then(|parent| attribute(parent, "type"));
        match rest {
            ["source"] if kind == Some("pty") => self.element(node),
            // Of an agent's channel it goes, of the others its value changes.
            ["source"] => self.gone(node, &["path"]),
            ["log"] => self.values(node, &["file"]),
            _ => {}
        }
    }

    fn shape(&mut self, node: Node<'d, 'i>, path: &[&str]) {
        match path {
            ["vcpu"] => (self.content(node), self.gone(node, &["current"])).0,
            ["memory" | "currentMemory"] => (self.content(node), self.values(node, &["unit"])).0,
            ["vcpus"] | ["cputune", "vcpupin"] => self.element(node),
            ["cpu", "topology"] => self.values(node, &["sockets", "dies", "cores", "threads"]),
            _ => {}
        }
    }

    /// The element, with the space around it.
    fn element(&mut self, node: Node<'d, 'i>) {
        let (xml, range) = (self.document.input_text(), node.range());
        let end = xml.len() - xml[range.end..].trim_start().len();
        self.ranges.push(xml[..range.start].trim_end().len()..end);
    }

    /// All between its tags.
    fn content(&mut self, node: Node<'d, 'i>) {
        if let (Some(first), Some(last)) = (node.first_child(), node.last_child()) {
            self.ranges.push(first.range().start..last.range().end);
        }
    }

    /// The attributes, with the space before them.
    fn gone(&mut self, node: Node<'d, 'i>, names: &[&str]) {
        for range in names.iter().filter_map(|name| attribute_node(node, name)).map(|attribute| attribute.range()) {
            self.ranges.push(self.document.input_text()[..range.start].trim_end().len()..range.end);
        }
    }

    /// What stands between the attributes' quotes.
    fn values(&mut self, node: Node<'d, 'i>, names: &[&str]) {
        self.ranges.extend(names.iter().filter_map(|name| attribute_node(node, name)).map(|attribute| attribute.range_value()));
    }
}

/// The name of libvirt's own element; another application's has none here.
fn own_name<'a>(node: Node<'a, '_>) -> &'a str {
    if node.tag_name().namespace().is_some() { "another's" } else { node.tag_name().name() }
}

/// The text between the ranges.
fn kept<'x>(xml: &'x str, edited: &[Range<usize>]) -> Vec<&'x str> {
    let mut kept = Vec::new();
    let mut done = 0;
    for range in edited {
        if range.start >= done {
            kept.push(&xml[done..range.start]);
        }
        done = done.max(range.end);
    }
    kept.push(&xml[done..]);
    kept
}

/// The first piece that is not in the text behind the pieces before it. The earliest place of each is the best one.
fn lost<'p>(pieces: &[&'p str], text: &str) -> Option<&'p str> {
    let mut rest = text.strip_prefix(pieces[0]).unwrap_or_default();
    for piece in &pieces[1..] {
        match rest.find(piece) {
            Some(place) => rest = &rest[place + piece.len()..],
            None => return Some(piece),
        }
    }
    None
}

/// An identity that fits the fixture; with another shape, plug and disks if `reshaped`.
fn fitting(facts: &DomainFacts, reshaped: bool) -> CloneIdentity {
    let disks =
        facts.disks.iter().filter(|disk| disk.device == "disk" && !disk.shareable && (!disk.readonly || disk.target == "vda"));
    let file = |name: &str| DiskLocation::File(format!("/images/web01-{name}"));
    let change = |target: &String| DiskChange { target: target.clone(), location: file(target), format: VolumeFormat::Qcow2 };
    let mut new = identity();
    new.macs = vec![Mac([0x52, 0x54, 0, 0xaa, 0, 1]); facts.interfaces];
    new.disks = disks.map(|disk| change(&disk.target)).collect();
    if reshaped {
        (new.vcpus, new.topology) = (Some(6), Some(Topology { sockets: 1, cores: 3, threads: 2 }));
        new.memory = Some(ByteSize::mib(512));
        new.asks_service = true;
        new.plug = Some(Plug::Bridge("br1".to_owned())).filter(|_| facts.interfaces > 0);
        new.extra_disks = vec![ExtraDiskXml { location: file("data"), format: VolumeFormat::Raw, serial: "data".to_owned() }];
    }
    new
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn a_clone_keeps_all_that_is_not_edited(
        fixture in prop::sample::select(&FIXTURES[..]),
        reshape: bool,
        noise in vec((any::<Index>(), noise()), 0..24),
        spaces in vec((any::<Index>(), "[ \t\n]{1,3}"), 0..12),
        twin: Index,
    ) {
        let plain = domain_facts(fixture).unwrap();
        let template = noisy(fixture, &noise, &spaces, twin);
        prop_assert_eq!(&domain_facts(&template).unwrap(), &plain);

        let identity = fitting(&plain, reshape && !fixture.contains("<numa>"));
        let clone = clone_domain(&template, &identity).unwrap();
        let document = parse_domain(&template).unwrap();
        let edited = Edited::of(&document, &identity);
        prop_assert_eq!(lost(&kept(&template, &edited), &clone), None, "of {}", template);

        // And the noise has moved no edit to another place.
        let quiet = clone_domain(fixture, &identity).unwrap();
        prop_assert_eq!(domain_facts(&clone).unwrap(), domain_facts(&quiet).unwrap());
    }
}
