//! What tpl changes in a template's domain XML, beside what the real virt-clone changes in it: both get the same name, UUID,
//! addresses and files. Whatever virt-clone changes tpl must change too, and all that differs stands in a table here, with
//! its reason. Every result is valid by libvirt's schema.
//!
//! virt-clone only prints, over libvirt's test driver: no data, no domain and no volume is touched. Needs the package
//! virtinst and virt-xml-validate, which comes with libvirt's clients.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(clippy::disallowed_methods, reason = "the program that tpl is compared with is none that tpl itself may run")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use roxmltree::{Document, Node};
use tempfile::TempDir;
use tpl::core::{
    facts::VolumeFormat,
    mac::Mac,
    network::Plug,
    vm_spec::Firmware,
    xml::{
        clone::{CloneIdentity, DiskChange, DiskLocation, ExtraDiskXml, clone_domain},
        read::domain_facts,
    },
};

mod virt_clone {
    pub mod expected;
}
use virt_clone::expected::{ALL, ALWAYS, Row};

const UUID: &str = "0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9";
const METADATA: &str = "<tpl:tpl xmlns:tpl='urn:tpl:metadata:1'>{}</tpl:tpl>";

/// `<nvram>` with a `<source>` is of libvirt 8.5: an older schema refuses the template too.
const NEWER: [&str; 1] = ["virt-clone/efi.xml"];

/// What stands where: a path of elements and attributes, and its text or value.
type Entries = BTreeMap<String, String>;

/// Takes a document apart. The first of several elements of one name has no number.
fn entries(xml: &str) -> Entries {
    let document = Document::parse(xml).unwrap();
    let mut entries = Entries::new();
    flatten(document.root_element(), "", &mut entries);
    entries
}

fn flatten(element: Node<'_, '_>, path: &str, entries: &mut Entries) {
    let text: String = element.children().filter(Node::is_text).filter_map(|text| text.text()).collect();
    entries.insert(if path.is_empty() { "/".to_owned() } else { path.to_owned() }, text.trim().to_owned());
    for attribute in element.attributes() {
        let namespace = attribute.namespace().map(|namespace| format!("{{{namespace}}}")).unwrap_or_default();
        entries.insert(format!("{path}/@{namespace}{}", attribute.name()), attribute.value().to_owned());
    }
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    for node in element.children().filter(|node| node.is_element() || node.is_comment()) {
        let tag = node.tag_name();
        let namespace = tag.namespace().map(|namespace| format!("{{{namespace}}}")).unwrap_or_default();
        let name = if node.is_comment() { "comment()".to_owned() } else { format!("{namespace}{}", tag.name()) };
        let number = numbers.entry(name.clone()).or_default();
        *number += 1;
        let path = if *number == 1 { format!("{path}/{name}") } else { format!("{path}/{name}[{number}]") };
        if node.is_comment() {
            entries.insert(path, node.text().unwrap_or_default().to_owned());
        } else {
            flatten(node, &path, entries);
        }
    }
}

/// What is elsewhere than in `old`, by its path: there, or gone.
fn changes(old: &Entries, new: &Entries) -> BTreeMap<String, Option<String>> {
    let gone = old.keys().filter(|path| !new.contains_key(*path)).map(|path| (path.clone(), None));
    let set = new.iter().filter(|(path, value)| old.get(*path) != Some(value));
    gone.chain(set.map(|(path, value)| (path.clone(), Some(value.clone())))).collect()
}

/// One line for each change that either of them makes: `=` both alike, `+` tpl alone, `~` each in its own way, `-` virt-clone
/// alone.
fn compared(template: &str, tpl: &str, virt_clone: &str) -> Vec<String> {
    let old = entries(template);
    let (mut ours, theirs) = (changes(&old, &entries(tpl)), changes(&old, &entries(virt_clone)));
    let word = |value: &Option<String>| value.as_ref().map_or("gone".to_owned(), |value| format!("{value:?}"));
    let mut lines = Vec::new();
    for (path, their) in theirs {
        match ours.remove(&path) {
            Some(our) if our == their => lines.push(format!("= {path} {}", word(&our))),
            Some(our) => lines.push(format!("~ {path} {}, virt-clone: {}", word(&our), word(&their))),
            None => lines.push(format!("- {path} {}", word(&their))),
        }
    }
    lines.extend(ours.iter().map(|(path, our)| format!("+ {path} {}", word(our))));
    lines
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/xml").join(name)
}

/// Runs a program. Its home is the test's own: it may keep a log there.
fn run(home: &Path, program: &str, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(args).env("LC_ALL", "C").env("HOME", home).env("XDG_CACHE_HOME", home);
    command.output().unwrap_or_else(|error| panic!("starting {program} (of virtinst or libvirt-clients): {error}"))
}

/// The disks that a clone needs for itself, in files that exist: virt-clone wants that of those whose bytes it leaves alone.
fn disks(template: &str, folder: &Path) -> Vec<DiskChange> {
    let facts = domain_facts(template).unwrap();
    let own = facts.disks.into_iter().filter(|disk| disk.device == "disk" && !disk.readonly && !disk.shareable);
    own.map(|disk| {
        let path = folder.join(&disk.target);
        fs::write(&path, "").unwrap();
        let format = if disk.driver_type.as_deref() == Some("qcow2") { VolumeFormat::Qcow2 } else { VolumeFormat::Raw };
        DiskChange { target: disk.target, location: DiskLocation::File(path.to_str().unwrap().to_owned()), format }
    })
    .collect()
}

fn identity(template: &str, folder: &Path) -> CloneIdentity {
    let interfaces = domain_facts(template).unwrap().interfaces;
    CloneIdentity {
        name: "web01".parse().unwrap(),
        uuid: UUID.parse().unwrap(),
        macs: (1..=interfaces).map(|index| Mac([0x52, 0x54, 0, 0xaa, 0, index as u8])).collect(),
        vcpus: None,
        topology: None,
        memory: None,
        plug: None,
        disks: disks(template, folder),
        seed: None,
        asks_service: false,
        extra_disks: Vec::new(),
        description: Some("a clone".to_owned()),
        metadata: METADATA.to_owned(),
        nvram: None,
    }
}

/// What virt-clone makes of a template, told the same as tpl.
fn of_virt_clone(file: &Path, identity: &CloneIdentity, home: &Path) -> String {
    let macs: Vec<String> = identity.macs.iter().map(Mac::to_string).collect();
    let mut args = vec!["--connect", "test:///default", "--original-xml", file.to_str().unwrap(), "--name", "web01"];
    args.extend(["--uuid", UUID, "--check", "all=off", "--auto-clone", "--preserve-data", "--print-xml"]);
    args.extend(macs.iter().flat_map(|mac| ["--mac", mac.as_str()]));
    args.extend(identity.disks.iter().flat_map(|disk| ["--file", disk.location.path()]));
    let output = run(home, "virt-clone", &args);
    assert!(output.status.success(), "virt-clone {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What libvirt's schema has against a document.
fn faults(xml: &str, what: &str, home: &Path) -> Option<String> {
    let file = home.join(what.replace('/', "-"));
    fs::write(&file, xml).unwrap();
    let output = run(home, "virt-xml-validate", &[file.to_str().unwrap(), "domain"]);
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A clone of what is valid is valid.
fn assert_valid(clone: &str, template: &str, what: &str, home: &Path) {
    if NEWER.contains(&what) && faults(template, what, home).is_some() {
        return;
    }
    assert_eq!(faults(template, what, home), None, "{what}: {template}");
    assert_eq!(faults(clone, what, home), None, "{what}: {clone}");
}

#[test]
fn whatever_virt_clone_changes_tpl_changes() {
    let home = TempDir::new().unwrap();
    let (folder, here) = (home.path().to_str().unwrap(), std::env::current_dir().unwrap());
    let lines_of = |rows: &[Row]| rows.iter().flat_map(|(lines, _reason)| lines.iter()).map(ToString::to_string).collect();
    for (name, rows) in ALL {
        let file = fixture(name);
        let template = fs::read_to_string(&file).unwrap();
        let identity = identity(&template, home.path());
        let ours = clone_domain(&template, &identity).unwrap();
        let theirs = of_virt_clone(&file, &identity, home.path());
        let lines = compared(&template, &ours, &theirs).into_iter();
        let mut found: Vec<String> =
            lines.map(|line| line.replace(folder, "FOLDER").replace(here.to_str().unwrap(), "HERE")).collect();
        let mut expected: Vec<String> = lines_of(&[ALWAYS, rows].concat());
        for line in &mut found {
            // A later virt-clone does as tpl does.
            let alone = line.replacen("= ", "+ ", 1);
            if expected.contains(&alone) {
                *line = alone;
            }
        }
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{name}");
        assert_valid(&ours, &template, name, home.path());
    }
}

#[test]
fn what_virt_clone_cannot_do_is_valid_too() {
    let home = TempDir::new().unwrap();
    for (name, _) in ALL {
        let template = fs::read_to_string(fixture(name)).unwrap();
        let facts = domain_facts(&template).unwrap();
        let mut identity = identity(&template, home.path());
        identity.topology = Some(format!("1:{}:1", facts.vcpus).parse().unwrap());
        identity.seed = Some(DiskLocation::File("/images/web01-seed".to_owned()));
        identity.extra_disks = vec![ExtraDiskXml {
            location: DiskLocation::Block("/dev/vg0/web01-disk1".to_owned()),
            format: VolumeFormat::Qcow2,
            serial: "tpl-disk1".to_owned(),
        }];
        identity.nvram = Some("/images/web01-vars".to_owned());
        for plug in [Plug::Network("lab".to_owned()), Plug::Bridge("br1".to_owned())] {
            identity.plug = Some(plug).filter(|_| facts.interfaces > 0);
            let clone = clone_domain(&template, &identity).unwrap();
            assert_valid(&clone, &template, name, home.path());
            let made = domain_facts(&clone).unwrap();
            assert_eq!((made.firmware, made.disks.len()), (facts.firmware, facts.disks.len() + 2), "{name}");
            assert_eq!(made.nvram.is_some(), facts.firmware == Firmware::Uefi, "{name}");
        }
    }
}

#[test]
fn a_difference_is_seen() {
    let template = "<a b='1' c='1' d='1'><e/><e/></a>";
    let tpl = "<a b='2' c='2' d='1' f='1'><e>x</e></a>";
    let virt_clone = "<a b='2' c='3' d='2'><e/></a>";
    let expected =
        ["= //@b \"2\"", "~ //@c \"2\", virt-clone: \"3\"", "- //@d \"2\"", "= //e[2] gone", "+ //@f \"1\"", "+ //e \"x\""];
    let found = compared(template, tpl, virt_clone);
    assert_eq!(found, expected.map(|line| line.replace("//", "/")));
}
