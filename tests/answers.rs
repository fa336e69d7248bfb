//! The answer files, in every variation that a pipeline can ask for, read by what their installers read them with: kickstart by
//! pykickstart, autoinstall by a YAML reader and the installer's own schema, preseed by debconf. What goes in must come out.
//!
//! `scripts/setup` installs pykickstart into `target/pykickstart`. The schema is no part of this project: it is looked for beside
//! it, or where `TPL_AUTOINSTALL_SCHEMA` says.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(clippy::disallowed_methods, reason = "the tests look at the world with other tools than tpl")]

#[path = "answers/cases.rs"]
mod cases;

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;
use tpl::core::pipeline;

use cases::{Family, Variation};

/// Renders the cases of some families into a folder, with a list of them.
fn rendered(families: &[Family]) -> (TempDir, usize) {
    let folder = TempDir::new().unwrap();
    let mut list = Vec::new();
    for family in families {
        for variation in family.variations() {
            let (text, variables) = family.render(&variation);
            let file = format!("{}-{}", family.name, variation.name());
            fs::write(folder.path().join(&file), text).unwrap();
            list.push(serde_json::json!({ "file": file, "reader": family.reader, "variables": variables }));
        }
    }
    fs::write(folder.path().join("cases.json"), serde_json::to_vec(&list).unwrap()).unwrap();
    (folder, list.len())
}

/// Lets a script of `tests/answers` check a folder's cases: all of them, without a fault.
fn checked(python: &Path, script: &str, folder: &TempDir, count: usize) {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/answers");
    let schema = std::env::var_os("TPL_AUTOINSTALL_SCHEMA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/schemas/autoinstall-schema.json"), PathBuf::from);
    let mut command = Command::new(python);
    command.arg(scripts.join(script)).arg(folder.path()).stdin(Stdio::null()).env("TPL_AUTOINSTALL_SCHEMA", schema);
    command.env_remove("PYTHONHOME").env_remove("PYTHONPATH").env("PYTHONDONTWRITEBYTECODE", "1").env("LC_ALL", "C.UTF-8");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // Past the test harness, which would keep it to itself: that the schema was not there, say.
    std::io::stderr().write_all(said.as_bytes()).unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let faults = found["faults"].as_array().unwrap();
    let first: Vec<_> = faults.iter().take(5).map(|fault| fault.as_str().unwrap()).collect();
    assert!(faults.is_empty(), "{} faults in {count} files, among them:\n{}", faults.len(), first.join("\n"));
    assert_eq!(found["count"], count);
}

/// pykickstart's Python.
fn pykickstart() -> PathBuf {
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("pykickstart").join("bin/python");
    assert!(python.exists(), "{} is not there: scripts/setup installs pykickstart", python.display());
    python
}

#[test]
fn anaconda_reads_every_kickstart_as_it_was_meant() {
    let (folder, count) = rendered(&Family::KICKSTART);
    checked(&pykickstart(), "kickstart.py", &folder, count);
}

#[test]
fn subiquity_and_debconf_read_every_answer_as_it_was_meant() {
    let (folder, count) = rendered(&Family::OTHERS);
    checked(Path::new("/usr/bin/python3"), "others.py", &folder, count);
    let preseeds: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("debian"))
        .collect();
    assert_eq!(preseeds.len(), 256);
    let output = Command::new("debconf-set-selections").arg("--checkonly").args(&preseeds).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn late_commands_run_as_they_were_written() {
    let commands = cases::HOSTILE;
    let folder = TempDir::new().unwrap();
    for family in [Family::KICKSTART[0], Family::KICKSTART[4], Family::OTHERS[1]] {
        let (text, _) = family.render(&Variation::full());
        // What the commands are called by, in a shell that has what their script gives them.
        let calls: Vec<_> = text.lines().map(|line| line.trim_start_matches("#+ ")).collect();
        let calls: Vec<_> =
            calls.iter().filter(|line| line.starts_with("sh -c \"$(decoded ") || line.starts_with("decoded()")).collect();
        assert_eq!(calls.len(), commands.len() + 1, "{}", family.name);
        let script = calls.into_iter().map(|line| format!("{line}\n")).collect::<String>();
        let output = Command::new("sh").args(["-euc", &script]).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{}: {output:?}", family.name);
        assert_eq!(String::from_utf8(output.stdout).unwrap(), cases::HOSTILE_SAYS, "{}", family.name);
    }
}

#[test]
fn each_pipeline_is_right_and_its_answers_render() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(root.join("pipelines")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let pipeline = pipeline::parse(&name, &text).unwrap_or_else(|invalid| panic!("{invalid}"));
        // Whoever vouches by a keyring is named, and where the keyring comes from.
        let signed = pipeline.source.keyring.is_some();
        assert_eq!(pipeline.source.keyring_from.is_some(), signed, "{name}");
        assert!(signed || text.contains("HTTPS alone"), "{name} does not say that nobody signed the list");
        if let Some(answers) = &pipeline.answers {
            let rendered = cases::of_pipeline(&pipeline, answers);
            assert!(rendered.len() > 1000, "{name}");
        }
        files.insert(name);
    }
    let expected = "centos7 debian12 debian12-cloud debian13 debian13-cloud fedora fedora-cloud rocky10 rocky8 rocky9 rocky9-cloud \
                    stream10 stream9 ubuntu22 ubuntu22-cloud ubuntu24 ubuntu24-cloud ubuntu26";
    assert_eq!(files.iter().map(String::as_str).collect::<Vec<_>>().join(" "), expected);
}
