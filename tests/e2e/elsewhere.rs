//! The sealed template on another hypervisor, one of the testbed's: sent into a volume group, and cloned there.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    sync::Once,
};

use super::{
    build::template_id,
    lab::{Ended, command, ended, folder, left, login_key, pool, run},
};

/// What runs the testbed.
fn testbed(word: &str) -> Command {
    let mut testbed = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/testbed"));
    testbed.arg(word).stdin(Stdio::null());
    testbed
}

/// The testbed. It is taken down again if it was not up before, and `TPL_TESTBED_KEEP` does not say that others need it next.
struct Bed {
    own: bool,
    variables: Vec<(String, String)>,
}

impl Bed {
    fn up() -> Self {
        let own = !testbed("status").output().unwrap().status.success() && env::var_os("TPL_TESTBED_KEEP").is_none();
        let up = testbed("up").output().unwrap();
        assert!(up.status.success(), "{}{}", String::from_utf8_lossy(&up.stdout), String::from_utf8_lossy(&up.stderr));
        let root = env!("CARGO_MANIFEST_DIR");
        let told = run("bash", &["-c", "cd \"$0\" && eval \"$(scripts/testbed env)\" && env -0", root]);
        let variables = told.split('\0').filter_map(|pair| pair.split_once('='));
        let variables: Vec<_> = variables
            .filter(|(name, _)| name.starts_with("TPL_TESTBED") || *name == "TPL_CONFIG")
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self { own, variables }
    }

    fn variable(&self, name: &str) -> &str {
        &self.variables.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name} is not told")).1
    }

    /// tpl with a configuration that knows both this machine and the testbed.
    fn tpl(&self, args: &[&str]) -> Ended {
        static WRITTEN: Once = Once::new();
        let config = folder().join("elsewhere.toml");
        WRITTEN.call_once(|| {
            let beds = fs::read_to_string(self.variable("TPL_CONFIG")).unwrap();
            let here = format!("{beds}\n[hypervisors.here]\nuri = \"qemu:///system\"\npool = \"{}\"\n", pool());
            fs::write(&config, here).unwrap();
        });
        // The pool of these tests is this machine's; and emulated hypervisors answer late beside an installation.
        ended(
            command(args)
                .envs([("TPL_CONFIG", config.as_path()), ("TPL_CONNECT_TIMEOUT", Path::new("5m"))])
                .env_remove("TPL_POOL"),
        )
    }

    /// What a line of shell prints on bed1.
    fn sh(&self, line: &str) -> String {
        run(self.variable("TPL_TESTBED_SSH"), &["-p", self.variable("TPL_TESTBED_BED1_PORT"), "root@127.0.0.1", line])
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if self.own {
            let _ = testbed("down").output();
        }
    }
}

#[test]
fn the_template_serves_in_a_volume_group_of_another_hypervisor() {
    let id = template_id();
    let bed = Bed::up();
    let sent = bed.tpl(&["--on", "here", "push", &id, "--to", "bed1", "--allow-unsigned", "--output", "json"]).json();
    let told = bed.tpl(&["--on", "here", "show", &id, "--output", "json"]).json();
    assert_eq!(sent[0]["digest"], told["digest"], "{sent}");
    let there = bed.tpl(&["--on", "bed1", "verify", &id, "--output", "json"]).json();
    assert_eq!(there["digest"], told["digest"], "{there}");

    let (vm, key) = ("tpl-e2e-far", format!("{}.pub", login_key().display()));
    let size = format!("{}", told["virtual_size"].as_u64().unwrap());
    let args =
        ["--on", "bed1", "clone", &id, "--name", vm, "--linked", "--snapshot-size", "64M", "--memory", "256M", "--no-start"];
    let made = bed.tpl(&[&args[..], &["--disk", &size, "--ssh-key", &key, "--output", "json"]].concat()).json();
    let clone = &made["clones"][0];
    let template = format!("/dev/vg0/{}", id.replace('@', "."));
    assert_eq!(bed.sh(&format!("cmp -n {size} {template} /dev/vg0/{vm}")), "");
    let begin = "at=$(mktemp -d); loop=$(losetup -f --show -r -P";
    let end = "umount $at; losetup -d $loop; rmdir $at";
    let system = bed.sh(&format!("{begin} /dev/vg0/{vm}); mount -o ro,noload ${{loop}}p1 $at && cat $at/etc/os-release; {end}"));
    assert!(system.contains("VERSION_CODENAME=trixie"), "{system}");
    let seed = bed.sh(&format!("{begin} /dev/vg0/{vm}-seed); mount -t vfat -o ro $loop $at && cat $at/*-data; {end}"));
    assert_eq!(bed.sh(&format!("virsh -q domuuid {vm}")).trim(), clone["uuid"].as_str().unwrap());
    let host_key = clone["ssh_host_keys"][0].as_str().unwrap().split(' ').nth(1).unwrap().to_owned();
    let login = fs::read_to_string(&key).unwrap().split(' ').nth(1).unwrap().to_owned();
    for part in [format!("instance-id: {}", clone["uuid"].as_str().unwrap()), format!("local-hostname: {vm}"), host_key, login] {
        assert!(seed.contains(&part), "{part} in {seed}");
    }
    bed.tpl(&["--on", "bed1", "destroy", vm]).ok();
    bed.tpl(&["--on", "bed1", "rm", &id]).ok();
    assert_eq!(bed.sh("lvs --noheadings -o lv_name vg0 | grep tpl-e2e || true"), "");
    assert!(!left(&id.replace('@', ".")).is_empty(), "what is here stays");
}
