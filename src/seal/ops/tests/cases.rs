//! Each operation on the files that it is for, and on files that it must leave alone.

/// Name of the operation; files before; files after; none where the operation must change nothing.
pub(super) type Case = (&'static str, &'static [(&'static str, &'static str)], &'static [(&'static str, &'static str)]);

pub(super) const CASES: &[Case] = &[
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
        "installer-network",
        &[
            ("/etc/netplan/00-installer-config.yaml", "network:\n  ethernets:\n    ens3:\n      dhcp4: true\n  version: 2\n"),
            ("/etc/netplan/01-ours.yaml", "network:\n  ethernets:\n    ens4:\n      dhcp4: true\n  version: 2\n"),
        ],
        &[("/etc/netplan/01-ours.yaml", "network:\n  ethernets:\n    ens4:\n      dhcp4: true\n  version: 2\n")],
    ),
    (
        "installer-proxy",
        &[
            ("/etc/apt/apt.conf", "Acquire::http::Proxy \"http://192.0.2.1:3128\";\nAPT::Keep \"1\";\n"),
            ("/etc/apt/apt.conf.d/90curtin-aptproxy", "Acquire::http::Proxy \"http://192.0.2.1:3128\";\n"),
            ("/etc/apt/apt.conf.d/50ours", "Acquire::http::Proxy \"http://192.0.2.9:3128\";\n"),
        ],
        &[
            ("/etc/apt/apt.conf", "APT::Keep \"1\";\n"),
            ("/etc/apt/apt.conf.d/50ours", "Acquire::http::Proxy \"http://192.0.2.9:3128\";\n"),
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
    ("resolver", &[("/etc/resolv.conf", "nameserver 192.0.2.1\n")], &[("/etc/resolv.conf", "")]),
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
    (
        "kdump",
        &[("/boot/initramfs-5.14.0kdump.img", "i"), ("/boot/initramfs-5.14.0.img", "i")],
        &[("/boot/initramfs-5.14.0.img", "i")],
    ),
    (
        "rescue-kernel",
        &[
            ("/boot/vmlinuz-0-rescue-01ab", "k"),
            ("/boot/initramfs-0-rescue-01ab.img", "i"),
            ("/boot/loader/entries/01ab-0-rescue.conf", "e"),
            ("/boot/loader/entries/01ab-5.14.0.conf", "e"),
            ("/boot/grub2/grubenv", "saved_entry=01ab-5.14.0\n"),
        ],
        &[("/boot/grub2/grubenv", "saved_entry=01ab-5.14.0\n"), ("/boot/loader/entries/01ab-5.14.0.conf", "e")],
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
    ("rpm-db", &[("/var/lib/rpm/__db.001", "d"), ("/var/lib/rpm/rpmdb.sqlite", "d")], &[("/var/lib/rpm/rpmdb.sqlite", "d")]),
    ("crash-data", &[("/var/crash/1/vmcore", "c")], &[]),
    ("timers", &[("/var/lib/systemd/timers/stamp-apt-daily.timer", ""), ("/var/spool/anacron/cron.daily", "20261121\n")], &[]),
    ("mail-spool", &[("/var/mail/root", "m"), ("/var/spool/postfix/deferred/A/A1", "m")], &[]),
    ("backup-files", &[("/etc/ssh/sshd_config~", "o"), ("/etc/fstab.bak", "o"), ("/etc/fstab", "f")], &[("/etc/fstab", "f")]),
    (
        "subscription",
        &[("/etc/sysconfig/rhn/systemid", "i"), ("/etc/pki/consumer/key.pem", "k"), ("/etc/pki/own.pem", "o")],
        &[("/etc/pki/own.pem", "o")],
    ),
    (
        "snapd",
        &[
            ("/var/lib/snapd/device/private-keys-v1/k", "k"),
            ("/var/lib/snapd/state.json", r#"{"data":{"auth":{"device":{"brand":"generic","serial":"s"}}}}"#),
            ("/var/lib/snapd/seed/seed.yaml", "s"),
        ],
        &[
            ("/var/lib/snapd/seed/seed.yaml", "s"),
            ("/var/lib/snapd/state.json", r#"{"data":{"auth":{"device":{"brand":"generic"}}}}"#),
        ],
    ),
    ("agents", &[("/etc/salt/pki/minion/minion.pem", "k"), ("/etc/salt/minion", "c")], &[("/etc/salt/minion", "c")]),
    (
        "directory",
        &[("/etc/krb5.keytab", "k"), ("/var/lib/sss/db/cache_x.ldb", "c"), ("/etc/sssd/sssd.conf", "c")],
        &[("/etc/sssd/sssd.conf", "c")],
    ),
    (
        "service-certificates",
        &[("/etc/cockpit/ws-certs.d/0-self-signed.key", "k"), ("/etc/pki/tls/private/localhost.key", "k")],
        &[("/etc/pki/tls/private/localhost.key", "k")],
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
    (
        "selinux-relabel",
        &[("/etc/selinux/config", "SELINUX=enforcing\n")],
        &[("/.autorelabel", ""), ("/etc/selinux/config", "SELINUX=enforcing\n")],
    ),
];
