//! Clones of a template that has no cloud-init: who they are is written into their disks, of both in one appliance.

use std::path::Path;

use super::{
    derived::Derived,
    lab::{folder, left, login_key, ssh, tpl},
    names::each,
};
use crate::appliance::purge_cloud_init;

/// What the template is called.
const BARE: &str = "tpl-e2e-bare";

/// The shared template without cloud-init.
fn bare() -> Derived {
    let offline = |xml: String| {
        assert!(xml.contains(r#""identity":"nocloud""#), "{xml}");
        xml.replace(r#""identity":"nocloud""#, r#""identity":"offline""#)
    };
    Derived::new(BARE, |volume| purge_cloud_init(Path::new(volume)), offline)
}

#[test]
fn clones_without_cloud_init_are_machines_of_their_own() {
    let bare = bare();
    let (key, known_hosts) = (format!("{}.pub", login_key().display()), folder().join("known_hosts.offline"));
    let common = ["clone", &bare.id(), "--ssh-key", &key];
    let refused = tpl(&[&common[..], &["--name", "tpl-e2e-off", "--runcmd", "true", "--wait", "cloud-init"]].concat());
    assert_eq!(refused.code, 2, "{refused:#?}");
    assert!(refused.stderr.contains("--wait cloud-init: the template has no cloud-init"), "{refused:#?}");
    let wishes =
        ["--name", "tpl-e2e-off{}", "--count", "2", "--disk", "3G", "--search", "lab.example", "--timezone", "Europe/Vienna"];
    let work = ["--timeout", "20m", "--known-hosts", known_hosts.to_str().unwrap(), "--output", "json"];
    let report = tpl(&[&common[..], &wishes, &work].concat()).json();
    assert_eq!(each(&report, "name"), ["tpl-e2e-off1", "tpl-e2e-off2"]);
    for clone in report["clones"].as_array().unwrap() {
        let name = clone["name"].as_str().unwrap();
        let answer = ssh(
            &known_hosts,
            clone["addresses"][0].as_str().unwrap(),
            "hostname; hostname -f; cat /etc/machine-id; cat /sys/class/net/e*/address; cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub; \
             ls /etc/ssh/ssh_host_*_key | wc -l; sudo -n cat /sys/class/dmi/id/product_uuid; timedatectl show -P Timezone; \
             command -v cloud-init; systemctl is-system-running --wait; df -BM --output=size / | tail -1 | tr -dc 0-9 | awk '{print ($1 > 2700)}'",
        );
        let uuid = clone["uuid"].as_str().unwrap();
        assert_eq!(clone["machine_id"].as_str().unwrap(), uuid.replace('-', ""));
        let host_key = clone["ssh_host_keys"][0].as_str().unwrap().split(' ').take(2).collect::<Vec<_>>().join(" ");
        let (mac, id) = (clone["macs"][0].as_str().unwrap(), uuid.replace('-', ""));
        let expected = format!("{name}\n{name}.lab.example\n{id}\n{mac}\n{host_key}\n1\n{uuid}\nEurope/Vienna\nrunning\n1\n");
        assert_eq!(answer, expected, "{name}");
    }
    assert!(!left("tpl-e2e-off").iter().any(|name| name.ends_with("-seed")), "nothing would read a seed");
    tpl(&["destroy", "tpl-e2e-off1", "tpl-e2e-off2"]).ok();
    assert_eq!(left("tpl-e2e-off"), [""; 0]);
    tpl(&["rm", &bare.id()]).ok();
    assert_eq!(left(BARE), [""; 0]);
}
