use std::str::FromStr;

use super::*;
use crate::core::{fleet, imds::defaults, pipeline};

/// Where a document is not what a schema says.
fn against(schema: &Value, text: &str) -> Vec<String> {
    let document: Value = toml::from_str(text).unwrap();
    let validator = jsonschema::draft202012::new(schema).unwrap();
    validator.iter_errors(&document).map(|error| error.to_string()).collect()
}

fn takes<T: JsonSchema>(value: &str) -> bool {
    jsonschema::draft202012::new(&of::<T>()).unwrap().is_valid(&json!(value))
}

/// Each text is taken by schema and parser alike.
fn agree<T: JsonSchema + FromStr>(good: &[&str], bad: &[&str]) {
    for (texts, expected) in [(good, true), (bad, false)] {
        for text in texts {
            assert_eq!(takes::<T>(text), expected, "the schema of {}, {text:?}", T::schema_name());
            assert_eq!(text.parse::<T>().is_ok(), expected, "the parser of {}, {text:?}", T::schema_name());
        }
    }
}

#[test]
fn the_schemas_of_texts_say_what_their_parsers_do() {
    agree::<Word>(&["", "a-b.c", "a[1]?", "http://a.example/x"], &["a b", "a\"b", "ä", "a\nb", "a\\b", &"x".repeat(501)]);
    agree::<PlainText>(&["", "it's plain"], &["a\nb", "a\tb", &"x".repeat(201)]);
    agree::<Script>(&["echo \"it's\" %end {{ x }}"], &["", " ", "a\nb", "\u{1}", &"x".repeat(4001)]);
    agree::<AnswerPath>(&["preseed/a.cfg", "a", "..a/b", "a/./b"], &["", "/a", "../a", "a/../b", "a/..", "./a", ".", "a\n"]);
    agree::<Place>(
        &["/srv/{arch}.iso", "http://a.example/", "https://a.example/x?y=1"],
        &["", "a", "ftp://x", "/a b", "http:/x"],
    );
    agree::<PackageName>(&["vim", "@core", "g++", "a=1:2~b"], &["", "-a", "%end", "a b", &"a".repeat(201)]);
    agree::<GroupName>(&["adm", "_x-1"], &["", "1a", "A", "-a", &"a".repeat(33)]);
    agree::<UserName>(&["adm", "_x-1"], &["", "1a", "Root;", &"a".repeat(33)]);
    agree::<VolumeGroup>(&["vg0", "VG_1"], &["", "0", "vg-0", &"a".repeat(33)]);
    agree::<ByteSize>(
        &["20G", "1536MiB", "1.5 g", "4096", "10GB", "7B", " 1K "],
        &["", "G", "-1G", "5X", "1.2.3G", "8 bananas", "1 iB"],
    );
    agree::<Span>(&["90s", "1h30m", "7", "5m3"], &["", "m", "1d", "1h x", "-1"]);
    agree::<TemplateRef>(&["debian13", "a_1@20261121-031000"], &["", "a@", "a@latest", "a b", "-a"]);
    agree::<TemplateName>(&["debian13", "a_1"], &["", "a@b", "a.b", "-a", &"a".repeat(49)]);
    agree::<HypervisorName>(&["1", "hv-1"], &["", "-a", "a-", "A", "a.b", "a_b", &"a".repeat(64)]);
    agree::<ConnectionUri>(&["qemu:///system", "qemu+ssh://root@hv1/system"], &["", "qemu", "1q://x", "://x"]);
    agree::<VmName>(&["a", "web-1"], &["", "-a", "a-", "A", "a.b", &"a".repeat(64)]);
    agree::<NamePattern>(&["web{}", "web{:02}", "{}x", "web"], &["", "web{", "web{x}", "We{}", "a b"]);
    agree::<Numbers>(&["3,7-9", "1", " 1 , 2 - 3 "], &["", "a", "1-", "1,,2"]);
    agree::<Label>(&["br0", "a.b_c-d"], &["", "-a", "a b", "a/b", &"a".repeat(33)]);
    agree::<GuestPath>(&["/", "/srv/a b", "/srv/..a"], &["", "srv", "/a//b", "/a/", "/a/../b", "/a'b", "/.", "/..", "/./a"]);
    agree::<DomainName>(&["lab.example", "Lab.Example.", "a"], &["", ".", "a..b", "-a.b", "a_b"]);
    agree::<FileMode>(&["644", "0755"], &["", "8", "00644", "999"]);
    agree::<Topology>(&["1:2:2"], &["", "1", "1:2", "1:2:x"]);
    agree::<IpChoice>(&["next", "192.0.2.10", "192.0.2.9-11, 192.0.2.20"], &["", "x", "fe80::1"]);
    agree::<MacChoice>(&["name", "ip", "52:54:00:00:00:01, 52:54:00:00:00:02"], &["x", "52-54"]);
    agree::<Firmware>(&["bios", "uefi"], &["", "BIOS"]);
    agree::<FileSystem>(&["ext4", "xfs"], &["", "btrfs"]);
    agree::<Addressing>(&["reserve", "static", "dhcp"], &["", "auto"]);
    agree::<SeedWay>(&["volume", "metadata"], &["", "disk"]);
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJDYnDuuh7rnNYFBEgcsHmOPVXo4pQ5bEeoHc+C+n3Ml";
    agree::<PublicKey>(&[key, &format!("{key} a b")], &["", "ssh-dss AAAA", &format!("no-pty {key}")]);
}

#[test]
fn examples_are_taken() {
    fn look(schema: &Value, seen: &mut usize) {
        if let Some(Value::Array(examples)) = schema.get("examples") {
            let mut alone = schema.clone();
            alone["$schema"] = json!(DIALECT);
            for example in examples {
                assert!(jsonschema::draft202012::new(&alone).unwrap().is_valid(example), "{example}");
                *seen += 1;
            }
        }
        match schema {
            Value::Object(parts) => parts.values().for_each(|part| look(part, seen)),
            Value::Array(parts) => parts.iter().for_each(|part| look(part, seen)),
            _ => {}
        }
    }
    let mut seen = 0;
    look(&super::pipeline(), &mut seen);
    look(&fleet::schema(), &mut seen);
    look(&defaults::schema(), &mut seen);
    assert!(seen > 15, "{seen}");
}

#[test]
fn every_pipeline_and_the_fleet_fit_their_schemas() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in std::fs::read_dir(root.join("pipelines")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(against(&super::pipeline(), &std::fs::read_to_string(&path).unwrap()), [""; 0], "{}", path.display());
        count += 1;
    }
    assert!(count > 0);
    let text = std::fs::read_to_string(root.join("docs/examples/fleet.toml")).unwrap();
    assert_eq!(against(&fleet::schema(), &text), [""; 0]);
}

/// Whether schema and reader take what each row says: a good text, with one piece of it replaced by another.
fn agree_on(schema: &Value, good: &str, table: &[(&str, &str, bool)], is_read: impl Fn(&str) -> bool) {
    for (from, to, expected) in table {
        let text = good.replacen(from, to, 1);
        let against = against(schema, &text);
        assert_eq!(against.is_empty(), *expected, "the schema, {to}: {against:?}");
        assert_eq!(is_read(&text), *expected, "the reader, {to}");
    }
}

const PIPELINE: &str = "description = \"x\"\nkeep = 1\n[source]\nkind = \"netboot\"\nsuite = \"trixie\"\n[answers]\nkind = \"preseed\"\n\
                        file = \"a.cfg\"\nusers = [{ name = \"a\" }]\n[install]\ndisk = \"4G\"\n[clone]\nuser = \"debian\"\n\
                        memory = \"512M\"\ndisk = 8589934592\n";

#[test]
fn schema_and_reader_of_pipelines_agree() {
    let table = [
        ("", "", true),
        ("keep = 1", "", true),
        ("keep = 1", "keep = 0", false),
        ("keep = 1", "keep = \"1\"", false),
        ("keep = 1", "keep = 1\nkeeep = 1", false),
        ("description = \"x\"\n", "", false),
        ("description = \"x\"", "description = 7", false),
        ("netboot", "netbot", false),
        ("suite = ", "siute = ", false),
        ("\"trixie\"", "[\"trixie\"]", false),
        ("\"preseed\"", "\"presed\"", false),
        ("a.cfg", "../a.cfg", false),
        ("name = \"a\"", "name = \"A\"", false),
        ("name = \"a\"", "", false),
        ("[{ name = \"a\" }]", "{ name = \"a\" }", false),
        ("[install]", "[[install]]", false),
        ("\"4G\"", "\"4 bananas\"", false),
        ("\"4G\"", "-1", false),
        ("[clone]", "firmware = \"uefi\"\n[clone]\nvcpus = 512", true),
        ("[clone]", "firmware = \"coreboot\"\n[clone]", false),
        ("[clone]", "[clone]\nvcpus = 513", false),
        ("[clone]", "[clone]\nvcpus = 0", false),
        ("[clone]", "[install.x]\n[clone]", false),
        ("user = \"debian\"\n", "", false),
        ("[clone]", "[seal]\nenable = [\"a\"]\nshrink = false\n[clone]", true),
        ("[clone]", "[seal]\nenable = \"a\"\n[clone]", false),
    ];
    agree_on(&super::pipeline(), PIPELINE, &table, |text| pipeline::parse("p", text).is_ok());
}

#[test]
fn schema_and_reader_of_fleets_agree() {
    let good = "template = \"a\"\n[defaults]\nvcpus = 1\n[groups.web]\ncount = 2\nname = \"w{}\"\n[groups.web.guest]\nuser = \"ops\"\n\
                [[vms]]\nname = \"db\"\nmemory = \"2G\"\n";
    let table = [
        ("", "", true),
        ("template = \"a\"", "template = \"a b\"", false),
        ("template = \"a\"", "tmplate = \"a\"", false),
        ("count = 2", "count = 0", false),
        ("count = 2", "counnt = 2", false),
        ("count = 2", "numbers = \"3,7-9\"", true),
        ("count = 2", "names = [\"A\"]", false),
        ("w{}", "w{x}", false),
        ("groups.web]", "groups.\"w b\"]", false),
        ("name = \"db\"\n", "", false),
        ("\"2G\"", "\"2 bananas\"", false),
        ("\"2G\"", "2", true),
        ("vcpus = 1", "vcpu = 1", false),
        ("[[vms]]", "[vms]", false),
        ("\"ops\"", "\"Ops\"", false),
        ("memory = \"2G\"", "disks = [{ size = \"1G\", fs = \"ext4\", label = \"x\", mount = \"/x\" }]", true),
        ("memory = \"2G\"", "disks = [{ fs = \"ext4\" }]", false),
        ("memory = \"2G\"", "gateway = \"192.0.2.1\"\nprefix = 24", true),
    ];
    agree_on(&fleet::schema(), good, &table, |text| fleet::parse("f", text).is_ok());
}

#[test]
fn schema_and_reader_of_the_metadata_services_defaults_agree() {
    let good = "[defaults]\nsearch = \"lab.example\"\n[[rule]]\nname = \"web*\"\none_shot = true\n";
    let table = [
        ("", "", true),
        ("search = \"lab.example\"", "name = \"web*\"", false),
        ("search = \"lab.example\"", "network = \"default\"", false),
        ("lab.example", "lab..example", false),
        ("search", "serach", false),
        ("[[rule]]", "[rule]", false),
        ("[[rule]]", "[[rules]]", false),
        ("true", "\"yes\"", false),
        ("true", "true\none_shot_window = \"0s\"", true),
        ("true", "true\none_shot_window = \"2 bananas\"", false),
        ("true", "true\nssh_keys = [\"ssh-dss AAAA\"]", false),
        ("true", "true\nuser_data = \"web.yaml\"", true),
        ("true", "true\nuser_data = [\"web.yaml\"]", false),
    ];
    let named = |_: &std::path::Path, _| Ok(b"#cloud-config\npackage_update: true\n".to_vec());
    agree_on(&defaults::schema(), good, &table, |text| defaults::Defaults::parse("m", text, &named).is_ok());
}

#[test]
fn editors_get_words_for_keys() {
    let schema = super::pipeline();
    assert_eq!(schema["$schema"], DIALECT);
    assert_eq!(schema["title"], "a pipeline of tpl, pipelines/NAME.toml");
    assert_eq!(schema["properties"]["keep"]["description"], "How many published versions stay.");
    assert_eq!(schema["additionalProperties"], false);
    assert!(!schema.to_string().contains("null"), "TOML has none");
}
