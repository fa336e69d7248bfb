//! What an operator may write wrongly, and what needs no hypervisor.

use std::process::Stdio;

use super::program::{Home, failed};

const PIPELINE: &str = include_str!("../../pipelines/debian13.toml");
const ANSWERS: &str = include_str!("../../preseed/debian.cfg");
const TEST: &str = "test:///default";

#[test]
fn a_bad_pipeline_is_refused_at_its_place() {
    let words = "is not one plain word: letters, digits and + - . _ ~ : / @ , = % [ ] ? only";
    let fields = "expected one of `kind`, `arch`, `release`, `suite`, `mirror`, `url`, `kernel`, `initrd`, `sha256`, `checksums`, \
                  `signature`, `keyring`, `fingerprints`, `keyring_from`, `arm64`";
    let siute = format!("7:1: unknown field `siute`, {fields}");
    let table = [
        ("suite = ", "siute = ", siute.as_str()),
        ("keep = 3", "keep = \"three\"", "3:8: invalid type: string \"three\", expected usize"),
        ("keep = 3", "keep = 0", "3:1: keep must be at least 1: the version just built is one"),
        ("keep = 3", "keep = ", "3:8: string values must be quoted, expected literal string"),
        (
            "disk = \"4G\"",
            "disk = \"4 bananas\"",
            "21:8: '4 bananas' is no size: write a number with a unit, as in 1536MiB or 20G",
        ),
        ("\"trixie\"", "\"trixie\\nd-i x\"", &format!("7:9: \"trixie\\nd-i x\" {words}")),
        ("\"us\"", "\"us'\"", &format!("16:12: \"us'\" {words}")),
        (
            "preseed/debian.cfg",
            "../../etc/shadow",
            "14:8: \"../../etc/shadow\" leaves the folder that holds pipelines/: write a path below it, as in preseed/debian.cfg",
        ),
        ("preseed/debian.cfg", "preseed/none.cfg", "14:1: the answer file preseed/none.cfg does not exist"),
    ];
    for (from, to, message) in table {
        let home = Home::new();
        assert!(PIPELINE.contains(from), "{from}");
        home.write("pipelines/lab.toml", &PIPELINE.replace(from, to));
        home.write("preseed/debian.cfg", ANSWERS);
        let ran = home.tpl(&["--connect", TEST, "build", "lab", "--mirror", "http://mirror.example/debian"]);
        assert_eq!(ran, failed(2, &format!("tpl: pipelines/lab.toml:{message}\n")), "{to}");
        assert_eq!(home.files(), [".ssh", "pipelines", "preseed"]);
    }
}

#[test]
fn an_unknown_seal_operation_is_refused_with_what_there_is() {
    let home = Home::new();
    home.write("pipelines/lab.toml", &format!("{PIPELINE}\n[seal]\ndisable = [\"sssh\"]\n"));
    home.write("preseed/debian.cfg", ANSWERS);
    let ran = home.tpl(&["--connect", TEST, "build", "lab"]);
    let line = PIPELINE.lines().count() + 3;
    let names: Vec<_> = tpl::seal::table().iter().map(|operation| operation.name).collect();
    let text = format!("tpl: pipelines/lab.toml:{line}:12: no seal operation 'sssh'; there are: {}\n", names.join(", "));
    assert_eq!(ran, failed(2, &text));
}

#[test]
fn an_undefined_variable_is_refused_at_its_place() {
    let home = Home::new();
    home.write("pipelines/lab.toml", PIPELINE);
    home.write("preseed/debian.cfg", "d-i x string {{ locale }}\nd-i y string {{ loclae }}\n");
    let ran = home.tpl(&["--connect", TEST, "build", "lab", "--mirror", "http://mirror.example/debian"]);
    let text =
        "tpl: preseed/debian.cfg:2:17: undefined variable loclae; docs/pipelines.md lists those that an answer file may use\n";
    assert_eq!(ran, failed(2, text));
}

#[test]
fn names_that_mean_something_elsewhere_are_refused() {
    let template = "is no template name: 1 to 48 letters, digits, '-' and '_', a letter or digit first";
    let vm = "is no VM name: 1 to 63 lower-case letters, digits and '-', no '-' at either end";
    let table: [(&[&str], String); 9] = [
        (&["clone", "../x"], format!("'[TEMPLATE]': \"../x\" {template}")),
        (&["clone", "a\"b"], format!("'[TEMPLATE]': \"a\\\"b\" {template}")),
        (&["show", "a'b"], format!("'<NAME[@VERSION]>': \"a'b\" {template}")),
        (&["prune", "--template", "a\nb"], format!("'--template <NAME>': \"a\\nb\" {template}")),
        (&["destroy", "../x"], format!("'[VM]...': \"../x\" {vm}")),
        (&["destroy", "a\nb"], format!("'[VM]...': \"a\\nb\" {vm}")),
        (&["clone", "--name", "a'b"], format!("'--name <PATTERN>': \"a'b\" {vm}")),
        (
            &["rm", "debian13"],
            "'<NAME@VERSION>': name the version too, as in debian13@20261121-031000; `tpl list` shows them".to_owned(),
        ),
        (
            &["rm", "debian13@latest"],
            "'<NAME@VERSION>': \"latest\" is no version: a UTC time is expected, as in 20261121-031000".to_owned(),
        ),
    ];
    let home = Home::new();
    for (args, message) in table {
        let value = args.last().unwrap();
        let text = format!("error: invalid value '{value}' for {message}\n\nFor more information, try '--help'.\n");
        assert_eq!(home.tpl(&[&["--connect", TEST], args].concat()), failed(2, &text), "{args:?}");
    }
    let text = format!("tpl: \"a\\nb\" {template}\n");
    assert_eq!(home.tpl(&["--connect", TEST, "build", "a\nb"]), failed(2, &text));
}

#[test]
fn a_bad_configuration_is_refused_at_its_place() {
    let home = Home::new();
    home.write(".config/tpl/config.toml", "pool = \"default\"\nuri = 7\n");
    let file = home.path().join(".config/tpl/config.toml");
    let text = format!("tpl: {}:2:7: invalid type: integer `7`, expected a string\n", file.display());
    assert_eq!(home.tpl(&["list"]), failed(2, &text));
}

#[test]
fn every_command_has_help_and_a_page() {
    let home = Home::new();
    let commands = [
        "build",
        "clone",
        "list",
        "show",
        "vms",
        "verify",
        "promote",
        "rm",
        "destroy",
        "prune",
        "cache",
        "doctor",
        "seal-ops",
        "validate",
        "schema",
        "completions",
        "man",
    ];
    for command in commands {
        let ran = home.tpl(&[command, "--help"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{command}");
        assert!(ran.stdout.contains(&format!("Usage: tpl {command}")), "{command}: {}", ran.stdout);
    }
    assert_eq!(home.tpl(&["man", "pages"]), failed(0, "man pages written into pages\n"));
    for page in commands.iter().map(|command| format!("pages/tpl-{command}.1")).chain(["pages/tpl.1".to_owned()]) {
        let text = std::fs::read_to_string(home.path().join(&page)).unwrap_or_default();
        assert!(text.contains(".SH SYNOPSIS") || text.contains(".SH NAME"), "{page}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let ran = home.tpl(&["completions", shell]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{shell}");
        assert!(ran.stdout.contains("seal-ops"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let home = Home::new();
    for args in [&["seal-ops"][..], &["completions", "bash"], &["seal-ops", "--output", "json"]] {
        let mut child = home.command().args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{args:?}");
    }
}
