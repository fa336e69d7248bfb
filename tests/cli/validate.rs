//! `tpl validate`: no hypervisor, no network.

use std::fs;

use super::program::{Home, failed, printed};

const PIPELINE: &str = "description = \"x\"\n[source]\nkind = \"netboot\"\nsuite = \"trixie\"\n[answers]\nkind = \"preseed\"\n\
                        file = \"preseed/a.cfg\"\n[clone]\nuser = \"debian\"\nmemory = \"512M\"\ndisk = \"8G\"\n";
const ANSWERS: &str = "d-i debian-installer/locale string {{ locale }}\nd-i debian-installer/exit/poweroff boolean true\n";
/// Nobody listens there.
const NOWHERE: &str = "test:///nowhere";

fn home(pipeline: &str, answers: &str) -> Home {
    let home = Home::new();
    home.write("pipelines/lab.toml", pipeline);
    home.write("preseed/a.cfg", answers);
    home
}

fn validate(home: &Home, args: &[&str]) -> super::program::Ran {
    home.tpl(&[&["--connect", NOWHERE, "validate"], args].concat())
}

#[test]
fn what_is_good_is_listed() {
    let home = home(PIPELINE, ANSWERS);
    assert_eq!(validate(&home, &["lab"]), printed("ok lab pipelines/lab.toml\n"));
    assert_eq!(validate(&home, &["./pipelines/lab.toml"]), printed("ok lab ./pipelines/lab.toml\n"));
}

#[test]
fn without_names_all_are_looked_at() {
    let home = home(PIPELINE, ANSWERS);
    let ran = validate(&home, &[]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let folder = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines")).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
    let mut lines: Vec<_> = folder.map(name).map(|name| format!("ok {name} pipelines/{name}.toml (built in)")).collect();
    lines.push("ok lab pipelines/lab.toml".to_owned());
    lines.sort();
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn every_fault_has_its_place() {
    let undefined = "docs/pipelines.md lists those that an answer file may use";
    let table = [
        (
            PIPELINE
                .replace("suite", "siute")
                .replace("\"512M\"", "\"1M\"")
                .replace("[clone]", "[seal]\nenable = [\"fnord\"]\n[clone]"),
            ANSWERS.to_owned(),
            vec![
                "lab.toml:4:1: unknown field `siute`, expected one of ",
                "lab.toml:9:11: no seal operation 'fnord'; there are: ",
                "lab.toml:12:1: a clone needs at least 128 MiB of memory",
            ],
        ),
        (
            PIPELINE.replace("a.cfg", "b.cfg"),
            ANSWERS.to_owned(),
            vec!["lab.toml:7:1: the answer file preseed/b.cfg does not exist"],
        ),
        (PIPELINE.replace("netboot\"", "netboot"), ANSWERS.to_owned(), vec!["lab.toml:3:"]),
        (
            PIPELINE.replace("suite = \"trixie\"", "kernel = \"/none/k\"\ninitrd = \"/none/i\""),
            ANSWERS.to_owned(),
            vec!["lab.toml:4:10: /none/k does not exist", "lab.toml:5:10: /none/i does not exist"],
        ),
        (
            "[[vms]]\nname = \"a\"\n".to_owned(),
            ANSWERS.to_owned(),
            vec!["lab.toml: this is a fleet, not a pipeline: `tpl apply FILE --dry-run` looks at it"],
        ),
    ];
    for (pipeline, answers, expected) in table {
        let ran = validate(&home(&pipeline, &answers), &["lab"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
        let lines: Vec<_> = ran.stderr.strip_prefix("tpl: ").unwrap().lines().collect();
        assert_eq!(lines.len(), expected.len(), "{}", ran.stderr);
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.strip_prefix("pipelines/").unwrap().starts_with(expected), "{line}");
        }
    }
    let answers = "d-i a/b string {{ fnord }} {{ other }}\nd-i debian-installer/exit/poweroff boolean true\n";
    let text = format!(
        "tpl: preseed/a.cfg:1:19: undefined variable fnord; {undefined}\npreseed/a.cfg:1:31: undefined variable other; {undefined}\n"
    );
    assert_eq!(validate(&home(PIPELINE, answers), &["lab"]), failed(2, &text));
}

#[test]
fn one_document_tells_all_of_them() {
    let home = home(PIPELINE, "d-i debian-installer/exit/poweroff boolean yes\n");
    home.write("pipelines/good.toml", &PIPELINE.replace("a.cfg", "good.cfg"));
    home.write("preseed/good.cfg", ANSWERS);
    let ran = validate(&home, &["good", "lab", "none", "--output", "json"]);
    assert_eq!(ran.code, 2);
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let rows = document["pipelines"].as_array().unwrap();
    assert_eq!(rows[0], serde_json::json!({"name": "good", "file": "pipelines/good.toml", "ok": true, "findings": []}));
    assert_eq!(rows[1]["ok"], false);
    let place =
        |line: u64, message: &str| serde_json::json!({"file": "preseed/a.cfg", "line": line, "column": 1, "message": message});
    let off = "the machine is not powered off at the end: `d-i debian-installer/exit/poweroff boolean true` does that";
    assert_eq!(
        rows[1]["findings"],
        serde_json::json!([place(1, "debian-installer/exit/poweroff is true or false"), place(1, off)])
    );
    assert_eq!((&rows[2]["name"], &rows[2]["file"]), (&"none".into(), &serde_json::Value::Null));
}

#[test]
fn what_would_be_used_is_written() {
    let home = home(PIPELINE, ANSWERS);
    let rendered = |file: &str| fs::read_to_string(home.path().join("out/lab").join(file)).unwrap();
    for _ in 0..2 {
        assert_eq!(validate(&home, &["lab", "--render", "out", "--arch", "arm64"]), printed("ok lab pipelines/lab.toml\n"));
        let mut files: Vec<_> =
            fs::read_dir(home.path().join("out/lab")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        files.sort();
        assert_eq!(files, ["cmdline", "domain.xml", "pipeline.toml", "preseed.cfg", "source.json"]);
    }
    assert_eq!(rendered("pipeline.toml"), PIPELINE);
    assert_eq!(rendered("preseed.cfg"), ANSWERS.replace("{{ locale }}", "en_US.UTF-8"));
    assert_eq!(rendered("cmdline"), "priority=critical DEBIAN_FRONTEND=text console=ttyS0,115200 --- console=ttyS0,115200\n");
    assert!(rendered("domain.xml").contains("<name>lab.00000000-000000</name>"));
    let source: serde_json::Value = serde_json::from_str(&rendered("source.json")).unwrap();
    assert_eq!((&source["arch"], &source["suite"]), (&"arm64".into(), &"trixie".into()));
}

#[test]
fn what_is_given_is_looked_at_before_anything_is_planned() {
    let home = Home::new();
    home.write("x.iso", "no medium");
    let medium = home.path().join("x.iso");
    let image = home.path().join("x.qcow2");
    let head = [b"QFI\xfb\0\0\0\x03".as_slice(), &[1; 600]].concat();
    fs::write(&image, head).unwrap();
    for (args, said) in [
        (["rocky9", "--iso", medium.to_str().unwrap()], "cannot be installed from: it is no ISO 9660 image\nanother medium"),
        (["rocky9-cloud", "--image", image.to_str().unwrap()], "is not taken: this is "),
    ] {
        let ran = home.tpl(&[&["--connect", "test:///default", "build", "--dry-run"], args.as_slice()].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{}", ran.stderr);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
}

#[test]
fn two_pipelines_of_one_name_are_not_rendered_over_each_other() {
    let home = home(PIPELINE, ANSWERS);
    home.write("other/pipelines/lab.toml", &PIPELINE.replace("trixie", "bookworm"));
    home.write("other/preseed/a.cfg", ANSWERS);
    let ran = validate(&home, &["lab", "other/pipelines/lab.toml", "--render", "out"]);
    let refused = "tpl: other/pipelines/lab.toml: pipelines/lab.toml has been rendered into out/lab just now\n";
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (2, "ok lab pipelines/lab.toml\n", refused));
    assert_eq!(fs::read_to_string(home.path().join("out/lab/pipeline.toml")).unwrap(), PIPELINE);
}

#[test]
fn an_answer_file_says_what_it_needs() {
    let home = Home::new();
    let built_in = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines/rocky9.toml")).unwrap();
    home.write("pipelines/lab.toml", &built_in.replace("release = \"9\"\n", ""));
    home.write("kickstart/redhat.ks", include_str!("../../kickstart/redhat.ks"));
    let ran = validate(&home, &["lab"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("kickstart/redhat.ks:1:") && ran.stderr.contains("source.release is missing"), "{}", ran.stderr);
}

#[test]
fn every_kind_of_installer_is_rendered() {
    let home = Home::new();
    let ran = validate(&home, &["ubuntu24", "rocky9", "rocky9-cloud", "--render", "out"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let files = |name: &str| {
        let entries = fs::read_dir(home.path().join("out").join(name)).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        files.join(" ")
    };
    assert_eq!(files("ubuntu24"), "cmdline domain.xml meta-data pipeline.toml source.json user-data");
    assert_eq!(files("rocky9"), "cmdline domain.xml ks.cfg pipeline.toml source.json");
    assert_eq!(files("rocky9-cloud"), "pipeline.toml source.json");
    let source = fs::read_to_string(home.path().join("out/ubuntu24/source.json")).unwrap();
    assert!(source.contains("amd64") && !source.contains("{arch}"), "{source}");
}
