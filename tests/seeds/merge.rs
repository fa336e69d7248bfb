//! The operator's user-data and tpl's, merged by cloud-init.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    clone::{KEY, PRIVATE, Wishes},
    config, read,
};

/// A clone with some wishes, and this user-data.
fn merged_with(user_data: &str) -> String {
    let spec = format!(
        r#"
user = "admin"
ssh_keys = ["{KEY}"]
packages = ["git"]
runcmd = ["echo tpl"]
timezone = "Europe/Vienna"
write_files = [{{ path = "/tpl", content = "x" }}]
user_data = "own"
"#
    );
    Wishes::beside(&spec, &[("own", user_data)]).user_data()
}

/// What must hold, whatever the operator says.
fn is_web01(config: &Value) {
    assert_eq!(config["hostname"], "web01");
    assert_eq!(config["fqdn"], "web01");
    assert_eq!(config["preserve_hostname"], false);
    assert_eq!(config["prefer_fqdn_over_hostname"], false);
    assert_eq!(config["ssh_deletekeys"], true);
    assert_eq!(config["ssh_keys"], json!({ "ed25519_private": PRIVATE, "ed25519_public": format!("{KEY} root@web01") }));
    assert_eq!(config["growpart"], json!({ "mode": "auto", "devices": ["/"] }));
    assert_eq!(config["users"][0]["name"], "admin");
    assert_eq!(config["packages"][0], "git");
    assert_eq!(config["runcmd"][0], "echo tpl");
    assert_eq!(config["write_files"][0]["path"], "/tpl");
}

const OWN: &str = "\
hostname: evil
fqdn: evil.example
preserve_hostname: true
prefer_fqdn_over_hostname: true
ssh_deletekeys: false
ssh_keys: {rsa_private: x, ed25519_private: y}
growpart: {mode: 'off'}
users: [default, {name: bob}]
packages: [vim]
runcmd: [[echo, ö], echo own]
write_files: [{path: /own, content: 'ö'}]
timezone: Etc/UTC
ntp: {enabled: true}
disable_root: false
";

#[test]
fn lists_are_joined_and_identity_is_tpls() {
    // By whatever rule the operator's part wants to be merged.
    for rule in [
        "",
        "merge_how: 'dict(replace)+list(replace)+str(append)'\n",
        "merge_type: [{name: dict, settings: [no_replace]}, {name: list, settings: [no_replace]}]\n",
    ] {
        let config = config(&merged_with(&format!("#cloud-config\n{OWN}{rule}")));
        is_web01(&config);
        let users = config["users"].as_array().unwrap();
        assert_eq!(users[1..], [json!("default"), json!({ "name": "bob" })], "{rule}");
        assert_eq!(config["packages"], json!(["git", "vim"]));
        assert_eq!(config["runcmd"], json!(["echo tpl", ["echo", "ö"], "echo own"]));
        assert_eq!(config["write_files"][1], json!({ "path": "/own", "content": "ö" }));
        assert_eq!(config["timezone"], "Europe/Vienna");
        assert_eq!(config["ntp"], json!({ "enabled": true }));
        // No identity: the operator may want root to log in.
        assert_eq!(config["disable_root"], false);
    }
}

#[test]
fn a_script_runs_beside_tpls_cloud_config() {
    let script = "#!/bin/sh\n--==tpl-part-0==--\n# MIME-Version: 1.0\r\necho 'ö'\n";
    let read = read("user-data", &merged_with(script));
    is_web01(&read["config"]);
    assert_eq!(read["scripts"], json!({ "user-data": STANDARD.encode(script) }));
}

#[test]
fn an_archive_of_the_operators_keeps_its_parts() {
    let archives = [
        // A boundary that is like ours, and one within.
        "Content-Type: multipart/mixed; boundary=\"==tpl-part-0==\"\nMIME-Version: 1.0\n\n\
         --==tpl-part-0==\nContent-Type: text/cloud-config\n\n#cloud-config\nhostname: evil\npackages: [vim]\n\n\
         --==tpl-part-0==\nContent-Type: text/x-shellscript\nContent-Disposition: attachment; filename=\"own\"\n\n#!/bin/sh\necho\n\
         --==tpl-part-0==--\n",
        "#cloud-config-archive\n- type: text/cloud-config\n  content: |\n    #cloud-config\n    hostname: evil\n    packages: [vim]\n\
         - type: text/x-shellscript\n  filename: own\n  content: \"#!/bin/sh\\necho\"\n",
    ];
    for archive in archives {
        let read = read("user-data", &merged_with(archive));
        is_web01(&read["config"]);
        assert_eq!(read["config"]["packages"], json!(["git", "vim"]));
        assert_eq!(read["scripts"], json!({ "own": STANDARD.encode("#!/bin/sh\necho") }), "{archive}");
    }
}
