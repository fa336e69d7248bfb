use super::*;
use crate::core::bootstrap::samples::{facts, lines, wish};

const DIRECTORY: &str = "name = 'hv1'";
const LOGICAL: &str = "name = 'hv1'\nvg = 'vg0'";
const SUBNETS: &str = "subnet lo 127.0.0.1/8\nsubnet eth0 10.0.2.15/24\nsubnet eth0 10.0.2.0/24\n";

/// A wish of the user admin's.
fn admins(record: &str) -> Wish {
    Wish { user: Some("admin".parse().unwrap()), ..wish(record) }
}

/// A machine on which nothing of it is there.
fn vanilla() -> Facts {
    facts(&[
        ("kvm.packages", "known qemu-system-x86 1:10\nknown guestfs-tools 1.52\ninstalled openssl\n"),
        ("kvm.libvirt", "systemd\n"),
        ("kvm.groups", "group kvm\nin admin\nin sudo\n"),
        ("kvm.network", ""),
        ("kvm.network-xml", ""),
        ("kvm.subnets", SUBNETS),
        ("kvm.pool", ""),
        ("kvm.pool-xml", ""),
        ("kvm.works", "untried\n"),
    ])
}

/// Everything is there.
fn done() -> Facts {
    let packages: String =
        packages::probe().arguments[0].split(' ').map(|name| format!("installed {name}\nknown {name} 1\n")).collect();
    vanilla()
        .with("kvm.packages", Ok(&packages))
        .with("kvm.libvirt", Ok("systemd\nenabled libvirtd.socket\nthere\nanswers\n"))
        .with("kvm.groups", Ok("group libvirt\ngroup kvm\nin admin\nin libvirt\nin kvm\n"))
        .with("kvm.network", Ok("defined\nActive yes\nAutostart yes\n"))
        .with("kvm.pool", Ok("defined\nState running\nAutostart yes\n"))
        .with("kvm.works", Ok("works\n"))
}

const RUNNING: &str = "running, and started with the machine";

#[test]
fn from_vanilla_to_done() {
    let told = |facts: &Facts| lines(&items(facts, &admins(DIRECTORY)).unwrap())[1..].to_vec();
    assert_eq!(
        told(&vanilla()),
        [
            "packages: without qemu-system-x86, qemu-utils, libvirt-daemon-system, libvirt-clients, dnsmasq-base and 9 more -> all installed",
            "libvirt at the machine's start: not started -> started",
            "libvirt: absent -> answers",
            "group libvirt of admin: not a member -> a member",
            "group kvm of admin: not a member -> a member",
            &format!("network default: absent -> {RUNNING}"),
            &format!("pool default: absent -> {RUNNING}"),
        ]
    );
    assert_eq!(
        told(&done()),
        [
            "packages: ok",
            "libvirt at the machine's start: ok",
            "libvirt: ok",
            "group libvirt of admin: ok",
            "group kvm of admin: ok",
            "network default: ok",
            "pool default: ok",
            "/dev/kvm: ok",
        ]
    );
    let half = done()
        .with("kvm.libvirt", Ok("there\nsays error: \u{1b}[31mFailed to connect\n"))
        .with("kvm.groups", Ok("group libvirt\nin admin\n"))
        .with("kvm.network", Ok("defined\nActive no\nAutostart no\n"))
        .with("kvm.pool", Ok("defined\nState running\nAutostart no\n"));
    assert_eq!(
        told(&half),
        [
            "packages: ok",
            "libvirt: error: ?[31mFailed to connect -> answers",
            "group libvirt of admin: not a member -> a member",
            &format!("network default: not running, and not started with the machine -> {RUNNING}"),
            &format!("pool default: running, and not started with the machine -> {RUNNING}"),
            "/dev/kvm: ok",
        ]
    );
}

#[test]
fn root_needs_no_group() {
    for user in [None, Some("root".parse().unwrap())] {
        let wish = Wish { user, ..wish(DIRECTORY) };
        assert!(!libvirt::probes(&wish).iter().any(|probe| probe.name == "kvm.groups"));
        assert!(!lines(&items(&vanilla(), &wish).unwrap()).iter().any(|line| line.starts_with("group ")));
    }
}

#[test]
fn packages_are_taken_where_they_are_known() {
    let steps = |answer: &str| -> Vec<String> {
        let item = packages::item(&facts(&[("kvm.packages", answer)]));
        item.mend.iter().map(|step| step.describe()).collect()
    };
    // No lists: they come first, and only what every release has is asked for.
    let blind = steps("");
    assert_eq!(blind.len(), 2);
    assert!(blind[1].ends_with(
        "--no-install-recommends install qemu-system-x86 qemu-utils libvirt-daemon-system libvirt-clients dnsmasq-base lvm2 \
         thin-provisioning-tools libguestfs-tools netcat-openbsd openssl systemd-container iptables ovmf dmidecode\n"
    ));
    let all = packages::probe().arguments[0].clone();
    let known: String = all.split(' ').map(|name| format!("known {name} 1\n")).collect();
    let seen = steps(&known.replace("storage-logical 1\n", "storage-logical 2~bpo\n"));
    assert_eq!(seen.len(), 1);
    assert!(seen[0].ends_with(
        "dmidecode libvirt-daemon-config-network libvirt-daemon-driver-qemu guestfs-tools libguestfs-xfs ipxe-qemu\n"
    ));
}

#[test]
fn whether_the_processor_runs_guests() {
    const ENABLE: &str = "enable VT-x or AMD-V in the firmware, or nested virtualisation where this machine is a guest itself";
    let slow = |why: &str| Some(format!("/dev/kvm? {why}: guests will be emulated, many times slower\n{ENABLE}"));
    let table = [
        ("works\n", Some("/dev/kvm: ok".to_owned())),
        ("untried\n", None),
        ("absent \n", slow("this machine's processor offers no virtualisation")),
        ("absent vmx\n", slow("it is not there")),
        ("hangs\n", slow("it hangs")),
        (
            "fails a guest does not \u{1b}come to its end\n",
            Some(format!(
                "/dev/kvm? it does not run guests: guests will be emulated, many times slower (a guest does not ?come to its end)\n{ENABLE}"
            )),
        ),
        ("\u{7}\n", Some("/dev/kvm? it could not be tried: ?".to_owned())),
    ];
    for (answer, expected) in table {
        let item = works::item(&facts(&[("kvm.works", answer)]));
        assert_eq!(item.as_ref().map(crate::core::bootstrap::samples::line), expected, "{answer}");
    }
}

#[test]
fn a_network_takes_nobodys_addresses() {
    let advice = "\ndefine the network `default` with other addresses, and run this again: apt-get install libvirt-daemon-system; \
                  virsh net-undefine default; virsh net-define FILE";
    let subnets = |line: &str| vanilla().with("kvm.subnets", Ok(line));
    let table = [
        (subnets("subnet eth0 192.168.122.77/24\n"), Some("192.168.122.77/24 on eth0")),
        (subnets("subnet eth\u{1b} 192.168.0.0/16\n"), Some("192.168.0.0/16 on eth?")),
        (subnets("subnet virbr0 192.168.122.1/24\n"), None),
        (subnets("subnet eth0 192.168.121.1/24\nsubnet x\nsubnet eth0 999.1.1.1/99\n"), None),
        // It runs already, so it is in nobody's way.
        (subnets("subnet eth0 192.168.122.77/24\n").with("kvm.network", Ok("defined\nActive yes\nAutostart no\n")), None),
        (
            subnets("subnet eth0 192.168.122.77/24\n")
                .with("kvm.network-xml", Ok("<network><ip address='10.9.9.1' prefix='24'/></network>")),
            None,
        ),
    ];
    for (facts, expected) in table {
        let expected = expected
            .map(|what| format!("libvirt's network default would be 192.168.122.0/24, and {what} is in use already{advice}"));
        assert_eq!(items(&facts, &wish(DIRECTORY)).err().map(|refusal| refusal.to_string()), expected);
    }
}

#[test]
fn a_volume_group_is_used_or_made() {
    let with_device = Wish { device: Some("/dev/vdb".parse().unwrap()), ..wish(LOGICAL) };
    let pool = format!("pool vg0: absent -> {RUNNING}");
    let empty = vanilla().with("kvm.device", Ok("size 10737418240\npath /dev/vdb\n")).with("kvm.group", Ok(""));
    let table = [
        (empty.clone(), &with_device, "volume group vg0: absent -> there"),
        (empty.clone().with("kvm.group", Ok("lvm\n")), &with_device, "volume group vg0: absent -> there"),
        // It is there, whatever the device carries by now.
        (
            empty
                .clone()
                .with("kvm.group", Ok("lvm\nthere\n"))
                .with("kvm.device", Ok("size 9\npath /dev/vdb\nsignature LVM2_member\n")),
            &with_device,
            "volume group vg0: ok",
        ),
        (vanilla().with("kvm.group", Ok("lvm\nthere\n")), &wish(LOGICAL), "volume group vg0: ok"),
        // Perhaps it is there: lvm2 will tell.
        (vanilla().with("kvm.group", Ok("member /dev/vdb\n")), &wish(LOGICAL), "volume group vg0: absent -> there"),
    ];
    for (facts, wish, expected) in table {
        let told = lines(&items(&facts, wish).unwrap());
        assert_eq!(told[told.len() - 2..], [expected.to_owned(), pool.clone()], "{expected}");
    }
    let steps = super::super::steps(&items(&empty, &with_device).unwrap());
    let last: Vec<String> = steps[steps.len() - 2..].iter().map(|step| step.describe()).collect();
    assert!(last[0].ends_with("sh /dev/vdb vg0\n") && last[1].ends_with("sh vg0\n"), "{last:?}");
}

#[test]
fn each_refusal_of_a_pool() {
    let without = "\nname an empty device that becomes it: --vg vg0 --pv DEVICE; or make it by vgcreate; or leave --vg out, and out of /etc/tpl/host.toml there, for a pool in a folder";
    let with_device = Wish { device: Some("/dev/vdc".parse().unwrap()), ..wish(LOGICAL) };
    let there = vanilla().with("kvm.group", Ok("lvm\nthere\n"));
    let other = "\ntake another group by --vg, or remove that pool: virsh pool-destroy vg0; virsh pool-undefine vg0";
    let table = [
        (vanilla().with("kvm.group", Ok("lvm\n")), wish(LOGICAL), format!("volume group vg0 is not there{without}")),
        (vanilla().with("kvm.group", Ok("")), wish(LOGICAL), format!("volume group vg0 is not there{without}")),
        (
            vanilla().with("kvm.group", Err("exit code 5")),
            wish(LOGICAL),
            format!("LVM does not tell whether volume group vg0 is there: exit code 5{without}"),
        ),
        (
            vanilla().with("kvm.group", Err("exit code 5")),
            with_device.clone(),
            "LVM does not tell whether volume group vg0 is there: exit code 5".to_owned(),
        ),
        (
            vanilla().with("kvm.group", Ok("lvm\n")).with("kvm.device", Ok("size 9\npath /dev/vdc\nsignature ext4\n")),
            with_device,
            "/dev/vdc carries a signature: ext4\na device that carries anything is not touched: name an empty one by --pv. Where nothing \
             on it is needed, `wipefs -a /dev/vdc` and `blkdiscard -z /dev/vdc` empty it"
                .to_owned(),
        ),
        (
            there.clone().with("kvm.pool-xml", Ok("<pool type='dir'><name>vg0</name></pool>")),
            wish(LOGICAL),
            format!("libvirt has a pool vg0 already, and it is another: no volume group{other}"),
        ),
        (
            there.with("kvm.pool-xml", Ok("<pool type='logical'><name>vg0</name><source><name>vg9</name></source></pool>")),
            wish(LOGICAL),
            format!("libvirt has a pool vg0 already, and it is another: the volume group vg9{other}"),
        ),
    ];
    for (facts, wish, expected) in table {
        assert_eq!(items(&facts, &wish).unwrap_err().to_string(), expected);
    }
    let both = vanilla().with("kvm.group", Ok("lvm\n")).with("kvm.subnets", Ok("subnet eth0 192.168.122.7/24\n"));
    assert_eq!(items(&both, &wish(LOGICAL)).unwrap_err().reasons.len(), 2);
}

#[test]
fn the_programs_of_lvm_are_run_by_sudo_where_root_does_not_log_in() {
    let told = |wish: Wish, facts: &Facts| {
        let items = items(facts, &wish).unwrap();
        lines(&items).into_iter().filter(|line| line.starts_with("/etc/sudoers.d/")).collect::<Vec<_>>()
    };
    let there = done().with("kvm.group", Ok("lvm\nthere\n"));
    assert_eq!(told(admins(LOGICAL), &there), ["/etc/sudoers.d/zz-tpl-admin: absent -> as written by tpl"]);
    let text = "# tpl works on the volume group by sudo, with nobody there to type a password. Written by tpl host bootstrap.\n\
                admin ALL=(root) NOPASSWD: ALL\n";
    assert_eq!(told(admins(LOGICAL), &there.clone().with("kvm.sudoers", Ok(text))), ["/etc/sudoers.d/zz-tpl-admin: ok"]);
    let root = Wish { user: Some("root".parse().unwrap()), ..wish(LOGICAL) };
    assert_eq!((told(root, &there), told(admins(DIRECTORY), &there)), (vec![], vec![]));
}
