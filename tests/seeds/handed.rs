//! Seeds from the metadata service: what cloud-init's own data source makes of the machine's serial number, and what it knows later.

use std::{fs, process::Command};

use serde_json::{Value, json};
use tpl::core::seed::{commands::INSTANCE, handed::serial};

use crate::{
    clone::{KEY, Wishes},
    config, python,
};

/// Calls a function of the data source, with this as its argument.
fn ask(call: &str, argument: &str) -> Value {
    let program =
        format!("import json, sys\nfrom cloudinit.sources import DataSourceNoCloud as ds\nargument = sys.argv[1]\n{call}");
    let output = python(&["-c", &program, argument]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_serial_number_is_a_source_on_the_network() {
    let call = "fill = {}\nfound = ds.load_cmdline_data(fill, argument)\nprint(json.dumps([found, fill]))";
    let expected = json!([true, { "dsmode": "net", "seedfrom": "http://169.254.169.254/nocloud/" }]);
    assert_eq!(ask(call, &serial()), expected);
}

#[test]
fn a_later_boot_knows_its_instance_without_a_network() {
    let folder = tempfile::tempdir().unwrap();
    let seed = folder.path().join("seed/nocloud");
    let run = Command::new("/bin/sh").args(["-c", INSTANCE, "sh", "0a1b"]).arg(&seed).output().unwrap();
    assert!(run.status.success() && run.stderr.is_empty(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(fs::read_dir(&seed).unwrap().count(), 1);
    let path = seed.display().to_string();
    assert_eq!(ask("print(json.dumps(ds._quick_read_instance_id(dirs=[argument])))", &path), json!("0a1b"));
    // And takes the folder for no seed.
    let call = "from cloudinit import util\ntry:\n  util.pathprefix2dict(argument, required=['user-data', 'meta-data'])\n  \
                print('true')\nexcept ValueError:\n  print('false')";
    assert_eq!(ask(call, &path), json!(false));
}

#[test]
fn who_phones_home_to_whom() {
    let spec = format!("user = 'admin'\nssh_keys = ['{KEY}']\nuser_data = 'own'");
    let of = |own: &str| config(&Wishes::beside(&spec, &[("own", own)]).handed().user_data())["phone_home"].clone();
    let post = json!(["instance_id", "hostname", "fqdn", "pub_key_ed25519"]);
    let ours = json!({ "url": "http://169.254.169.254/tpl/ready", "post": post, "tries": 10 });
    let plain = Wishes::new(&format!("user = 'admin'\nssh_keys = ['{KEY}']")).handed().user_data();
    assert_eq!(config(&plain)["phone_home"], ours);
    assert_eq!(of("#!/bin/sh\n"), ours);
    assert_eq!(of("#cloud-config\npackages: [vim]\n"), ours);
    let theirs = json!({ "url": "http://seen.example/", "tries": 3, "post": "all" });
    let text = format!("#cloud-config\nphone_home: {theirs}\n");
    assert_eq!(of(&text), theirs);
    // Where tpl does not look for it.
    let hidden = format!("Content-Type: text/cloud-config\nMIME-Version: 1.0\n\n{text}");
    assert_eq!(of(&hidden), theirs);
}
