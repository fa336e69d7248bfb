//! Looking at templates, and choosing between them.

use super::{
    build::{template, template_id},
    lab::{TEMPLATE, tpl},
};

#[test]
fn list_and_show_say_what_was_built() {
    let report = template();
    let list = tpl(&["list", "--output", "json"]).json();
    let row = list.as_array().unwrap().iter().find(|row| row["name"] == TEMPLATE).unwrap();
    assert_eq!(
        (&row["version"], &row["digest"], &row["virtual_size"]),
        (&report["version"], &report["digest"], &report["virtual_size"])
    );
    assert_eq!((row["state"].as_str().unwrap(), row["current"].as_bool().unwrap()), ("published", true));
    assert!(row["allocation"].as_u64().unwrap() > 100 << 20);
    let manifest = tpl(&["show", TEMPLATE, "--output", "json"]).json();
    assert_eq!(manifest["os"]["id"], "debian");
    assert_eq!(manifest["os"]["version"], "13");
    let packages: Vec<_> =
        manifest["packages"].as_array().unwrap().iter().map(|package| package["name"].as_str().unwrap()).collect();
    for package in ["openssh-server", "qemu-guest-agent", "cloud-init", "cloud-guest-utils", "linux-image-cloud-amd64"] {
        assert!(packages.contains(&package), "{package}");
    }
    assert!(manifest["invariants"].as_array().unwrap().len() >= 8);
    let kind = if std::env::var_os("TPL_ALLOW_UNSIGNED").is_some() { "unsigned" } else { "signed" };
    assert_eq!(manifest["trust"]["kind"], kind);
}

#[test]
fn promoting_the_current_version_changes_nothing() {
    let id = template_id();
    let promoted = tpl(&["promote", &id]).ok();
    assert_eq!(promoted.stdout, format!("unchanged: {id} is the current version\n"));
}
