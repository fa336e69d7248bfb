use super::*;
use crate::core::imds::{document, ec2::tests::instance};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

fn read(path: &Path, _: bool) -> Result<Vec<u8>, String> {
    match path.to_str().unwrap() {
        "hash" => Ok(format!("$6$salt${}\n", "x".repeat(86)).into_bytes()),
        "all.yaml" => Ok(b"#cloud-config\npackages: [git]\n".to_vec()),
        "web.yaml" => Ok(b"#!/bin/sh\ntrue\n".to_vec()),
        "wrong" => Ok(b"password\n".to_vec()),
        _ => Err("there is no such file".to_owned()),
    }
}

fn other() -> Instance {
    Instance { kind: Kind::Other, search: None, content: Content::default(), ..instance() }
}

#[test]
fn the_last_rule_that_says_something_counts() {
    let text = format!(
        "[defaults]\nssh_keys = [\"{KEY}\"]\nuser_data = \"all.yaml\"\nsearch = \"lab.example\"\n\
         [[rule]]\nname = \"web*\"\nuser_data = \"web.yaml\"\none_shot = true\n\
         [[rule]]\nhost = \"hv2\"\nssh_keys = []\n\
         [[rule]]\nnetwork = \"br?\"\nvendor_data = \"all.yaml\"\n"
    );
    let defaults = Defaults::parse("metadata.toml", &text, &read).unwrap();
    let told = |host: &str, name: &str| {
        let mut instance = Instance { domain: name.to_owned(), ..other() };
        defaults.apply(host, &mut instance);
        let content = instance.content;
        (content.keys.len(), content.user_data.unwrap().lines().next().unwrap().to_owned(), content.once.len(), instance.search)
    };
    let lab = Some("lab.example".to_owned());
    assert_eq!(told("hv1", "db"), (1, "#cloud-config".to_owned(), 0, lab.clone()));
    assert_eq!(told("hv1", "web01"), (1, "#!/bin/sh".to_owned(), 2, lab.clone()));
    assert_eq!(told("hv2", "web01"), (0, "#!/bin/sh".to_owned(), 2, lab));
    let mut instance = other();
    defaults.apply("hv1", &mut instance);
    assert!(instance.content.vendor_data.is_some());
}

#[test]
fn what_is_tpls_own_is_told_no_defaults() {
    let defaults =
        Defaults::parse("x", &format!("[defaults]\nssh_keys = [\"{KEY}\"]\npassword_hash_file = \"hash\""), &read).unwrap();
    for kind in [Kind::Clone, Kind::Passing] {
        let mut instance = Instance { kind, ..other() };
        defaults.apply("hv1", &mut instance);
        assert_eq!(instance.content, Content::default());
    }
    let mut instance = other();
    defaults.apply("hv1", &mut instance);
    let hash = String::from_utf8(read(Path::new("hash"), true).unwrap()).unwrap().trim().parse().unwrap();
    assert_eq!(instance.content.user_data, document::with_password(None, Some(&hash)));
    assert!(!format!("{instance:?}{defaults:?}").contains("xxxx"));
}

#[test]
fn a_file_is_refused_whole_with_every_fault() {
    let text = "[defaults]\nname = \"a\"\nssh_keys = [\"x\"]\n[[rule]]\nnmae = \"web*\"\nsearch = \"-\"\n";
    let wrong = Defaults::parse("metadata.toml", text, &read).unwrap_err().to_string();
    let lines: Vec<&str> = wrong.lines().collect();
    assert_eq!(lines.len(), 4, "{wrong}");
    for (line, begin) in lines.iter().zip(["metadata.toml:2:1:", "metadata.toml:3:", "metadata.toml:5:1:", "metadata.toml:6:"]) {
        assert!(line.trim().starts_with(begin), "{line} does not begin with {begin}");
    }
    let text = "[defaults]\nuser_data = \"gone\"\npassword_hash_file = \"wrong\"\n[[rule]]\nvendor_data = \"wrong\"\n";
    let wrong = Defaults::parse("metadata.toml", text, &read).unwrap_err().to_string();
    assert_eq!(wrong.lines().count(), 3, "{wrong}");
    assert!(wrong.contains("gone: there is no such file") && !wrong.contains("password\n"), "{wrong}");
}

#[test]
fn patterns() {
    let table = [
        ("web*", "web01", true),
        ("web*", "web", true),
        ("web*", "aweb", false),
        ("*", "", true),
        ("?", "", false),
        ("w?b", "wüb", true),
        ("*a*a*b", "aaaaaaaaaaaaaaaaaaaac", false),
        ("*a*b", "xaxxb", true),
        ("web", "web1", false),
        ("[a]", "a", false),
    ];
    for (pattern, name, expected) in table {
        assert_eq!(Pattern(pattern.parse().unwrap()).fits(name), expected, "{pattern} {name}");
    }
}
