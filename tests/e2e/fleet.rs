//! A declared fleet with VMs of two templates: made, started, left alone, and destroyed with its disks and without.

use std::fs;

use serde_json::Value;

use super::{
    build::template_id,
    derived::Derived,
    lab::{folder, left, login_key, ssh, tpl},
};

/// `NAME ACTION STATE` of each VM, in the fleet's order.
fn rows(report: &Value) -> Vec<String> {
    let word = |vm: &Value, key: &str| vm[key].as_str().unwrap().to_owned();
    let vms = report["vms"].as_array().unwrap().iter();
    vms.map(|vm| [word(vm, "name"), word(vm, "action"), word(vm, "state")].join(" ")).collect()
}

#[test]
fn a_fleet_of_two_templates_comes_and_goes() {
    let template = Derived::new("tpl-e2e-second", |_| {}, |xml| xml);
    let second = template.id();
    let key = format!("{}.pub", login_key().display());
    let text = format!(
        "template = '{}'\n[defaults.guest]\nssh_key_files = ['{key}']\n\
         [groups.a]\ncount = 1\nname = 'tpl-e2e-fleet-a{{}}'\n\
         [groups.b]\nnumbers = '7'\nname = 'tpl-e2e-fleet-b{{}}'\ntemplate = '{second}'\n\
         [[vms]]\nname = 'tpl-e2e-fleet-db'\nmemory = '640M'\ndisks = [{{ size = '64M' }}]\n",
        template_id()
    );
    let file = folder().join("fleet.toml");
    fs::write(&file, &text).unwrap();
    let file = file.to_str().unwrap();
    let json = ["--output", "json"];

    tpl(&["apply", file, "--stage", "preflight"]).ok();
    assert_eq!(left("tpl-e2e-fleet"), Vec::<String>::new(), "a preflight changes nothing");
    let created = tpl(&[&["apply", file, "--stage", "create"][..], &json].concat()).json();
    let expected = ["tpl-e2e-fleet-a1 created shutoff", "tpl-e2e-fleet-b7 created shutoff", "tpl-e2e-fleet-db created shutoff"];
    assert_eq!(rows(&created), expected);
    let again = tpl(&["apply", file, "--stage", "create"]).ok();
    assert_eq!(again.stdout, format!("nothing to do: all 3 VMs of {file} are there\n"));
    assert_eq!(tpl(&["rm", &second]).code, 3, "a linked clone stands on the second template");

    // One goes again, so that two are started: one that is there and one that is new.
    tpl(&["destroy", "tpl-e2e-fleet-db"]).ok();
    starts_and_changes_nothing_more(file, &text);
    destroys(file);
    tpl(&["rm", &second]).ok();
    assert_eq!(left("tpl-e2e-second"), Vec::<String>::new());
}

fn starts_and_changes_nothing_more(file: &str, text: &str) {
    let small = folder().join("fleet-small.toml");
    let (known_hosts, timings) = (folder().join("fleet.known_hosts"), folder().join("fleet.csv"));
    fs::write(&small, text.replace("[groups.a]\ncount = 1\nname = 'tpl-e2e-fleet-a{}'\n", "")).unwrap();
    let call = [
        "apply",
        small.to_str().unwrap(),
        "--timeout",
        "20m",
        "--known-hosts",
        known_hosts.to_str().unwrap(),
        "--timings",
        timings.to_str().unwrap(),
        "--output",
        "json",
    ];
    let report = tpl(&call).json();
    assert_eq!(rows(&report), ["tpl-e2e-fleet-b7 started running", "tpl-e2e-fleet-db created running"]);
    for vm in report["vms"].as_array().unwrap() {
        let address = vm["addresses"][0].as_str().unwrap();
        assert_eq!(ssh(&known_hosts, address, "hostname").trim(), vm["name"].as_str().unwrap());
        assert!(vm["seconds"]["wait"].as_f64().unwrap() > 0.0, "{vm}");
    }
    let slowest = tpl(&["timings", timings.to_str().unwrap(), "--output", "json"]).json();
    assert_eq!(slowest["slowest"].as_array().unwrap().len(), 2);
    let again = tpl(&["apply", small.to_str().unwrap()]).ok();
    assert_eq!(again.stdout, format!("nothing to do: all 2 VMs of {} are there and running\n", small.display()));
    // What cannot be changed in place is said, and left.
    let other = text.replace("'640M'", "'1G'").replace("'64M'", "'128M'");
    fs::write(file, other).unwrap();
    let differing = tpl(&["apply", file, "--dry-run", "--output", "json"]).json();
    let differences = differing["vms"][2]["differences"].as_array().unwrap();
    let differences: Vec<&str> = differences.iter().map(|difference| difference["what"].as_str().unwrap()).collect();
    assert_eq!(differences, ["memory", "disks"]);
}

fn destroys(file: &str) {
    let gone = tpl(&["destroy", "--fleet", file, "--output", "json"]).json();
    assert_eq!(gone["destroyed"].as_array().unwrap().len(), 3);
    let mut disks = left("tpl-e2e-fleet");
    disks.sort();
    assert_eq!(disks, ["tpl-e2e-fleet-a1", "tpl-e2e-fleet-b7", "tpl-e2e-fleet-db", "tpl-e2e-fleet-db-disk1"], "disks, no seeds");
    let refused = tpl(&["apply", file]);
    assert_eq!(refused.code, 3, "{refused:#?}");
    let advice = format!("`tpl destroy --fleet {file} --disks` removes disks that VMs of these names have left");
    assert!(refused.stderr.contains(&advice), "{refused:#?}");
    tpl(&["destroy", "--fleet", file, "--disks"]).ok();
    assert_eq!(left("tpl-e2e-fleet"), Vec::<String>::new());
    let again = tpl(&["destroy", "--fleet", file, "--disks"]).ok();
    assert_eq!(again.stdout, format!("nothing to destroy of {file}\n"));
}
