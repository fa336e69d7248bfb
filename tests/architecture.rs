//! The import rule of `src/lib.rs`, kept by looking at the sources.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A source file: its path below `src`, and its code without comments.
struct Source {
    path: String,
    code: Vec<(usize, String)>,
}

impl Source {
    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }

    /// Whether it is nothing but tests.
    fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.ends_with("fake.rs")
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&root, &mut found);
    found.sort();
    let sources: Vec<Source> = found.iter().map(|path| read(&root, path)).collect();
    assert!(sources.len() > 100, "the sources are somewhere else");
    sources
}

fn read(root: &Path, path: &Path) -> Source {
    let text = fs::read_to_string(path).unwrap();
    let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    Source {
        path: path.strip_prefix(root).unwrap().display().to_string(),
        code: code.map(|(index, line)| (index + 1, line.to_owned())).collect(),
    }
}

/// The code before the tests of a file: those stand at its end.
fn production(source: &Source) -> impl Iterator<Item = &(usize, String)> {
    let end = source.code.iter().position(|(_, line)| line.trim() == "#[cfg(test)]").unwrap_or(source.code.len());
    source.code[..if source.is_test() { 0 } else { end }].iter()
}

/// The modules of `root` that a file names: `crate::{core::x, host::y}` and `crate::core` both name them.
fn named(source: &Source, root: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    let text: String = production(source).map(|(number, line)| format!("{number}\0{line}\n")).collect();
    let prefix = format!("{root}::");
    for (index, _) in text.match_indices(&prefix) {
        // `other_crate::` is another root.
        if text[..index].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let before = &text[..index];
        let line = before.rfind('\n').map_or(0, |at| at + 1);
        let number: usize = before[line..].split('\0').next().unwrap().parse().unwrap();
        let rest = &text[index + prefix.len()..];
        named.extend(first_words(rest).into_iter().map(|word| (number, word)));
    }
    named
}

/// The first word of a path, or of each branch of a group.
fn first_words(rest: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = rest.strip_prefix('{') else {
        return vec![word(rest)];
    };
    let (mut words, mut depth, mut fresh) = (Vec::new(), 0, true);
    let mut characters = group.char_indices();
    while let Some((index, c)) = characters.next() {
        match c {
            // A line's number, which `named` has put in front of it.
            '\n' => while characters.next().is_some_and(|(_, c)| c != '\0') {},
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && (c.is_alphanumeric() || c == '_') => {
                words.push(word(&group[index..]));
                fresh = false;
            }
            _ => {}
        }
    }
    words
}

#[test]
fn groups_are_taken_apart() {
    let source = |text: &str| Source {
        path: "x.rs".to_owned(),
        code: text.lines().enumerate().map(|(index, line)| (index + 1, line.to_owned())).collect(),
    };
    let table: [(&str, &[(usize, &str)]); 5] = [
        ("use crate::core::names;", &[(1, "core")]),
        ("use crate::{\n    core::{a, b},\n    host::x,\n};\nfn f(x: &crate::ui::X) {}", &[(1, "core"), (1, "host"), (5, "ui")]),
        ("use crate::{cmd, seal};", &[(1, "cmd"), (1, "seal")]),
        ("use my_crate::cmd;", &[]),
        ("fn f() {}\n#[cfg(test)]\nuse crate::cmd;", &[]),
    ];
    for (text, expected) in table {
        let found = named(&source(text), "crate");
        let expected: Vec<_> = expected.iter().map(|(line, word)| (*line, (*word).to_owned())).collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn modules_import_only_what_they_may() {
    // Each part of the program, and the parts that it may name.
    let rule: [(&str, &[&str]); 8] = [
        ("core/", &["core"]),
        ("host/", &["host", "core"]),
        ("seal/", &["seal", "core", "host"]),
        ("offline/", &["offline", "core", "seal", "host"]),
        ("ui/", &["core", "ui"]),
        ("cli/", &["core", "cli"]),
        ("lib.rs", &[]),
        ("main.rs", &[]),
    ];
    let mut broken = Vec::new();
    for source in sources() {
        for (_, allowed) in rule.iter().filter(|(place, _)| source.path.starts_with(place)) {
            let bad = named(&source, "crate").into_iter().filter(|(_, module)| !allowed.contains(&module.as_str()));
            broken.extend(bad.map(|(line, module)| format!("src/{}:{line}: names crate::{module}", source.path)));
        }
    }
    assert_eq!(broken, [""; 0]);
}

/// Lines of production code that hold one of these words, in files that are not in one of the places.
fn lines_with(words: &[&str], places: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !source.is_in(places)) {
        let bad = production(source).filter(|(_, line)| words.iter().any(|word| line.contains(word)));
        found.extend(bad.map(|(number, line)| format!("src/{}:{number}: {}", source.path, line.trim())));
    }
    found
}

#[test]
fn work_inside_guests_knows_the_outside_by_the_guest_alone() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.is_in(&["seal/", "offline/"])) {
        let bad = production(source).filter(|(_, line)| {
            let host = line.contains("host::") && !line.contains("host::guest");
            // How a guest is opened and mounted, and no more of sealing.
            host || source.is_in(&["offline/"]) && line.contains("seal::") && !line.contains("seal::Layout")
        });
        broken.extend(bad.map(|(number, _)| format!("src/{}:{number}", source.path)));
    }
    assert_eq!(broken, [""; 0]);
}

#[test]
fn decisions_are_pure() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.is_in(&["core/"])) {
        let bad = |module: &str| ["fs", "net", "process", "env", "thread", "os"].contains(&module);
        let std = named(source, "std").into_iter().filter(|(_, module)| bad(module) && !is_address(source, module));
        broken.extend(std.map(|(line, module)| format!("src/{}:{line}: std::{module}", source.path)));
        for outside in
            ["reqwest", "virt", "guestfs", "tempfile", "rustix", "libc", "indicatif", "tokio", "hyper", "netlink_sys", "tracing"]
        {
            broken.extend(named(source, outside).iter().map(|(line, _)| format!("src/{}:{line}: {outside}", source.path)));
        }
        let clock = production(source).filter(|(_, line)| line.contains("Timestamp::now") || line.contains("Uuid::new_v4"));
        broken.extend(clock.map(|(line, text)| format!("src/{}:{line}: {}", source.path, text.trim())));
    }
    assert_eq!(broken, [""; 0]);
}

/// Whether all that a file takes from `std::net` are addresses, which are plain values.
fn is_address(source: &Source, module: &str) -> bool {
    let types = |line: &str| ["TcpStream", "TcpListener", "UdpSocket", "ToSocketAddrs"].iter().any(|word| line.contains(word));
    module == "net" && !production(source).any(|(_, line)| types(line))
}

#[test]
fn unsafe_code_is_in_the_two_adapters_alone() {
    let files = ["leases", "live", "node", "stats", "stream"].map(|file| format!("host/libvirt/{file}.rs"));
    let places: Vec<&str> = std::iter::once("host/guest/").chain(files.iter().map(String::as_str)).collect();
    assert_eq!(lines_with(&["unsafe ", "unsafe_code"], &places), [""; 0]);
}

#[test]
fn processes_start_in_one_place() {
    assert_eq!(lines_with(&["Command::new", "process::Command"], &["host/process.rs"]), [""; 0]);
}

#[test]
fn files_stay_small() {
    let large: Vec<String> =
        sources().iter().filter(|s| s.code.len() > 400).map(|s| format!("src/{}: {} lines", s.path, s.code.len())).collect();
    assert_eq!(large, [""; 0]);
}
