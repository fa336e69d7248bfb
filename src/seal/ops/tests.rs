//! Each operation on the files that it is for, and on files that it must leave alone.

use crate::seal::{
    Sealed, Selection,
    fake::{FakeFiles, Node},
    seal,
    table::{Family, Outcome, table},
};

/// Name of the operation; files before; files after; none where the operation must change nothing.
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static [(&'static str, &'static str)]);

const CASES: &[Case] = &[
    (
        "ssh-hostkeys",
        &[("/etc/ssh/ssh_host_rsa_key", "k"), ("/etc/ssh/ssh_host_rsa_key.pub", "p"), ("/etc/ssh/sshd_config", "c")],
        &[("/etc/ssh/sshd_config", "c")],
    ),
    ("machine-id", &[("/etc/machine-id", "0123\n"), ("/var/lib/dbus/machine-id", "0123\n")], &[("/etc/machine-id", "")]),
    (
        "passwords",
        &[
            ("/etc/shadow", "root:$6$a$b:1::::::\nd:*:1::::::\n"),
            ("/etc/shadow-", "root:$6$c$d:1:\n"),
            ("/etc/security/opasswd", "x:$1$"),
        ],
        &[("/etc/security/opasswd", ""), ("/etc/shadow", "root:!*:1::::::\nd:*:1::::::\n"), ("/etc/shadow-", "root:!*:1:\n")],
    ),
    ("passwd-backups", &[("/etc/shadow-", "h"), ("/etc/passwd", "p"), ("/var/backups/shadow.bak", "h")], &[("/etc/passwd", "p")]),
    (
        "random-seed",
        &[("/var/lib/systemd/random-seed", "s"), ("/var/lib/systemd/credential.secret", "s"), ("/var/lib/systemd/x", "x")],
        &[("/var/lib/systemd/x", "x")],
    ),
    (
        "cloud-init",
        &[
            ("/var/lib/cloud/instances/i-1/user-data.txt", "u"),
            ("/var/lib/cloud/data/instance-id", "i-1"),
            ("/var/log/cloud-init.log", "l"),
            ("/etc/netplan/50-cloud-init.yaml", "n"),
            ("/etc/netplan/01-own.yaml", "o"),
            ("/etc/cloud/cloud.cfg.d/90_datasource.cfg", "d"),
        ],
        &[("/etc/cloud/cloud.cfg.d/90_datasource.cfg", "d"), ("/etc/netplan/01-own.yaml", "o")],
    ),
    (
        "installer",
        &[
            ("/var/log/installer/cdebconf/questions.dat", "h"),
            ("/root/anaconda-ks.cfg", "h"),
            ("/root/notes", "n"),
            ("/etc/cloud/cloud.cfg.d/99-installer.cfg", "h"),
        ],
        &[("/root/notes", "n")],
    ),
    (
        "debconf",
        &[
            ("/var/cache/debconf/passwords.dat", "h"),
            ("/var/cache/debconf/config.dat", "c"),
            ("/var/cache/debconf/config.dat-old", "c"),
        ],
        &[("/var/cache/debconf/config.dat", "c"), ("/var/cache/debconf/passwords.dat", "")],
    ),
    (
        "dhcp",
        &[
            ("/var/lib/dhcp/dhclient.leases", "l"),
            ("/var/lib/dhcpcd/eth0.lease", "l"),
            ("/var/lib/NetworkManager/internal-x-eth0.lease", "l"),
            ("/var/lib/NetworkManager/secret_key", "k"),
            ("/var/lib/NetworkManager/NetworkManager.state", "s"),
            ("/var/lib/systemd/network/dhcp-duid", "d"),
        ],
        &[("/var/lib/NetworkManager/NetworkManager.state", "s")],
    ),
    (
        "hostname",
        &[
            ("/etc/hostname", "template\n"),
            ("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 template.example template\n10.0.0.1 template\n"),
            ("/etc/mailname", "template\n"),
        ],
        &[
            ("/etc/hostname", "localhost\n"),
            ("/etc/hosts", "127.0.0.1 localhost\n10.0.0.1 template\n"),
            ("/etc/mailname", "localhost\n"),
        ],
    ),
    (
        "network",
        &[
            ("/etc/sysconfig/network-scripts/ifcfg-eth0", "DEVICE=eth0\nHWADDR=52:54:00:00:00:01\n"),
            (
                "/etc/NetworkManager/system-connections/a.nmconnection",
                "[ethernet]\nmac-address=52:54:00:00:00:01\n[ipv4]\nmethod=manual\n",
            ),
        ],
        &[
            ("/etc/NetworkManager/system-connections/a.nmconnection", "[ethernet]\n[ipv4]\nmethod=manual\n"),
            ("/etc/sysconfig/network-scripts/ifcfg-eth0", "DEVICE=eth0\n"),
        ],
    ),
    (
        "udev",
        &[("/etc/udev/rules.d/70-persistent-net.rules", "r"), ("/etc/udev/rules.d/80-own.rules", "o")],
        &[("/etc/udev/rules.d/80-own.rules", "o")],
    ),
    (
        "storage-identity",
        &[("/etc/iscsi/initiatorname.iscsi", "InitiatorName=iqn.1993-08.org.debian:01:1\n"), ("/etc/nvme/hostnqn", "n")],
        &[("/etc/iscsi/initiatorname.iscsi", "GenerateName=yes\n")],
    ),
    ("journal", &[("/var/log/journal/0123/system.journal", "j")], &[]),
    (
        "login-records",
        &[("/var/log/wtmp", "w"), ("/var/log/lastlog", ""), ("/var/lib/wtmpdb/wtmp.db", "w")],
        &[("/var/log/lastlog", ""), ("/var/log/wtmp", "")],
    ),
    (
        "logs",
        &[("/var/log/syslog", "l"), ("/var/log/syslog.1", "l"), ("/var/log/apt/history.log", "l"), ("/var/log/empty", "")],
        &[("/var/log/apt/history.log", ""), ("/var/log/empty", ""), ("/var/log/syslog", "")],
    ),
    (
        "shell-history",
        &[
            ("/etc/passwd", "a:x:100:100::/srv/a:\nb:x:1:1::/:\nc:x:1:1::/var/{x,../..}:\n"),
            ("/root/.bash_history", "h"),
            ("/home/u/.python_history", "h"),
            ("/srv/a/.bash_history", "h"),
            ("/root/.bashrc", "r"),
        ],
        &[("/etc/passwd", "a:x:100:100::/srv/a:\nb:x:1:1::/:\nc:x:1:1::/var/{x,../..}:\n"), ("/root/.bashrc", "r")],
    ),
    (
        "ssh-user-keys",
        &[("/root/.ssh/id_ed25519", "k"), ("/home/u/.ssh/known_hosts", "h"), ("/root/.ssh/authorized_keys", "a")],
        &[("/root/.ssh/authorized_keys", "a")],
    ),
    ("tmp-files", &[("/tmp/a/b", "t"), ("/tmp/.X0-lock", "t"), ("/var/tmp/c", "t")], &[]),
    (
        "package-cache",
        &[
            ("/var/cache/apt/archives/a_1_amd64.deb", "d"),
            ("/var/cache/apt/archives/lock", ""),
            ("/var/lib/apt/lists/mirror.example_debian_dists_trixie_InRelease", "l"),
            ("/var/lib/apt/lists/lock", ""),
        ],
        &[("/var/cache/apt/archives/lock", ""), ("/var/lib/apt/lists/lock", "")],
    ),
    ("crash-data", &[("/var/crash/1/vmcore", "c")], &[]),
    ("mail-spool", &[("/var/mail/root", "m"), ("/var/spool/postfix/deferred/A/A1", "m")], &[]),
    ("backup-files", &[("/etc/ssh/sshd_config~", "o"), ("/etc/fstab.bak", "o"), ("/etc/fstab", "f")], &[("/etc/fstab", "f")]),
    (
        "subscription",
        &[("/etc/sysconfig/rhn/systemid", "i"), ("/etc/pki/consumer/key.pem", "k"), ("/etc/pki/own.pem", "o")],
        &[("/etc/pki/own.pem", "o")],
    ),
    ("agents", &[("/etc/salt/pki/minion/minion.pem", "k"), ("/etc/salt/minion", "c")], &[("/etc/salt/minion", "c")]),
    (
        "directory",
        &[("/etc/krb5.keytab", "k"), ("/var/lib/sss/db/cache_x.ldb", "c"), ("/etc/sssd/sssd.conf", "c")],
        &[("/etc/sssd/sssd.conf", "c")],
    ),
    ("ssh-authorized-keys", &[("/root/.ssh/authorized_keys", "a")], &[]),
    ("cron-spool", &[("/var/spool/cron/crontabs/root", "j")], &[]),
    ("kerberos-data", &[("/var/lib/krb5kdc/principal", "d")], &[]),
    (
        "service-keys",
        &[("/etc/ssl/private/ssl-cert-snakeoil.key", "k"), ("/etc/ssl/private/own.key", "o")],
        &[("/etc/ssl/private/own.key", "o")],
    ),
    ("ca-certificates", &[("/etc/pki/CA/private/ca.key", "k")], &[]),
    ("firewall-rules", &[("/etc/ufw/user.rules", "r"), ("/etc/ufw/ufw.conf", "c")], &[("/etc/ufw/ufw.conf", "c")]),
    (
        "user-accounts",
        &[
            ("/etc/passwd", "root:x:0:0::/root:\nu:x:1000:1000::/home/u:\nnobody:x:65534:65534::/:\n"),
            ("/etc/shadow", "root:*:1\nu:!*:1\n"),
            ("/etc/group", "root:x:0:\nsudo:x:27:u,root\nu:x:1000:\n"),
            ("/home/u/x", "x"),
        ],
        &[
            ("/etc/group", "root:x:0:\nsudo:x:27:root\n"),
            ("/etc/passwd", "root:x:0:0::/root:\nnobody:x:65534:65534::/:\n"),
            ("/etc/shadow", "root:*:1\n"),
        ],
    ),
];

const RELEASE: (&str, &str) = ("/etc/os-release", "ID=debian\n");

fn only(name: &str) -> Selection {
    let others: Vec<_> = table().iter().map(|operation| operation.name.to_owned()).filter(|other| other != name).collect();
    Selection::new(&[name.to_owned()], &others).unwrap()
}

fn run(files: &FakeFiles, selection: &Selection) -> Sealed {
    seal(files, selection, &crate::core::progress::Silent).unwrap()
}

#[test]
fn each_operation_changes_what_it_is_for_and_nothing_else() {
    for (name, before, after) in CASES {
        let files = FakeFiles::new(before);
        files.put(RELEASE.0, Node::File(RELEASE.1.into()));
        let first = run(&files, &only(name));
        assert!(matches!(&first.operations[..], [(_, Outcome::Changed(_))]), "{name}: {first:?}");
        let mut expected: Vec<_> =
            after.iter().chain([&RELEASE]).map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        expected.sort();
        assert_eq!(files.texts(), expected, "{name}");
        let second = run(&files, &only(name));
        assert_eq!(second.operations, [(first.operations[0].0, Outcome::Unchanged)], "{name} again");
    }
}

#[test]
fn every_operation_has_a_case_and_a_name_of_its_own() {
    let tested: Vec<_> = CASES.iter().map(|(name, _, _)| *name).collect();
    // Only for the Red Hat family and SUSE: it has a test of its own below.
    let names: Vec<_> = table().iter().map(|operation| operation.name).filter(|name| *name != "rpm-db").collect();
    assert_eq!(tested, names);
}

#[test]
fn an_operation_only_runs_on_its_families() {
    let table = [("ID=debian\n", 0), ("ID=rocky\nID_LIKE=rhel\n", 1), ("ID=arch\n", 0)];
    for (release, count) in table {
        let files = FakeFiles::new(&[("/etc/os-release", release), ("/var/lib/rpm/__db.001", "d")]);
        assert_eq!(run(&files, &only("rpm-db")).operations.len(), count, "{release}");
    }
    assert_eq!(only("rpm-db").for_family(Family::Suse).len(), 1);
}

#[test]
fn secrets_are_overwritten_before_they_are_removed() {
    let files = FakeFiles::new(&[
        ("/etc/ssh/ssh_host_rsa_key", "k"),
        ("/var/log/installer/a/b", "h"),
        ("/var/lib/systemd/random-seed", "s"),
    ]);
    run(&files, &Selection::default());
    assert_eq!(files.erased.take(), ["/etc/ssh/ssh_host_rsa_key", "/var/lib/systemd/random-seed", "/var/log/installer/a/b"]);
}

#[test]
fn links_pipes_and_missing_files_do_no_harm() {
    let files = FakeFiles::new(&[("/etc/machine-id", "")]);
    files.put("/var/lib/dbus/machine-id", Node::Link("/etc/machine-id".to_owned()));
    files.put("/etc/shadow", Node::Pipe);
    files.put("/var/log/pipe", Node::Pipe);
    files.put("/etc/ssh/ssh_host_rsa_key", Node::Link("/etc/machine-id".to_owned()));
    let sealed = run(&files, &Selection::default());
    let changed: Vec<_> =
        sealed.operations.iter().filter(|(_, outcome)| *outcome != Outcome::Unchanged).map(|(name, _)| *name).collect();
    assert_eq!(changed, ["ssh-hostkeys"]);
    assert!(files.nodes.borrow().contains_key("/var/lib/dbus/machine-id"));
}

#[test]
fn a_broken_operation_is_named() {
    let mut files = FakeFiles::new(&[("/etc/machine-id", "0123")]);
    files.broken = Some("/etc/machine-id".to_owned());
    let error = seal(&files, &Selection::default(), &crate::core::progress::Silent).unwrap_err();
    assert_eq!(format!("{error:#}"), "sealing: machine-id: /etc/machine-id: Input/output error");
}

#[test]
fn a_selection_refuses_what_it_does_not_know() {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let defaults = Selection::default().for_family(Family::Debian).len();
    let count = |enable: &[&str], disable: &[&str]| {
        Selection::new(&list(enable), &list(disable)).map(|selection| selection.for_family(Family::Debian).len())
    };
    assert_eq!(count(&[], &[]), Ok(defaults));
    assert_eq!(count(&["cron-spool", "logs"], &["journal"]), Ok(defaults));
    let error = count(&["logs"], &["logs", "log"]).unwrap_err();
    let names: Vec<_> = table().iter().map(|operation| operation.name).collect();
    let unknown = format!("no seal operation 'log'; there are: {}", names.join(", "));
    assert_eq!(error.to_string(), format!("{unknown}\nseal operation 'logs' is both enabled and disabled"));
}
