//! What is said nearer to a VM, laid over what is said farther away: the VM's own words over its group's, these over the fleet's.
//!
//! A single value replaces; a list is added to, except where two lists together would be another thing than either: disks, name
//! servers and search domains. The structs are taken apart by name, so that a new field cannot be forgotten here.

use super::{Addressing, GuestFile, GuestSpec, GuestUser, VmSpec};

impl VmSpec {
    /// This specification, with `base` where it says nothing.
    pub fn over(self, base: Self) -> Self {
        let Self {
            vcpus,
            topology,
            memory,
            disk,
            full,
            snapshot_size,
            disks,
            firmware,
            network,
            bridge,
            addressing,
            ip,
            prefix,
            gateway,
            nameservers,
            search,
            mac,
            autostart,
            description,
            snapshot,
            seed,
            guest,
        } = self;
        // Two ways to say one thing: who says either takes back the other.
        let says_cpus = vcpus.is_some() || topology.is_some();
        let says_plug = network.is_some() || bridge.is_some();
        // A VM that asks any DHCP server has no address of its group's.
        let says_dhcp = addressing == Some(Addressing::Dhcp);
        Self {
            vcpus: vcpus.or(base.vcpus.filter(|_| !says_cpus)),
            topology: topology.or(base.topology.filter(|_| !says_cpus)),
            memory: memory.or(base.memory),
            disk: disk.or(base.disk),
            full: full.or(base.full),
            snapshot_size: snapshot_size.or(base.snapshot_size),
            disks: nearer(disks, base.disks),
            firmware: firmware.or(base.firmware),
            network: network.or(base.network.filter(|_| !says_plug)),
            bridge: bridge.or(base.bridge.filter(|_| !says_plug)),
            addressing: addressing.or(base.addressing),
            ip: ip.or(base.ip.filter(|_| !says_dhcp)),
            prefix: prefix.or(base.prefix),
            gateway: gateway.or(base.gateway),
            nameservers: nearer(nameservers, base.nameservers),
            search: nearer(search, base.search),
            mac: mac.or(base.mac),
            autostart: autostart.or(base.autostart),
            description: description.or(base.description),
            snapshot: snapshot.or(base.snapshot),
            seed: seed.or(base.seed),
            guest: guest.over(base.guest),
        }
    }
}

impl GuestSpec {
    /// This specification, with `base` where it says nothing.
    pub fn over(self, base: Self) -> Self {
        let Self {
            user,
            ssh_keys,
            ssh_key_files,
            password_hash_file,
            users,
            packages,
            timezone,
            locale,
            apt_mirror,
            write_files,
            runcmd,
            user_data,
        } = self;
        Self {
            user: user.or(base.user),
            ssh_keys: added(base.ssh_keys, ssh_keys, |a, b| a == b),
            ssh_key_files: added(base.ssh_key_files, ssh_key_files, |a, b| a == b),
            password_hash_file: password_hash_file.or(base.password_hash_file),
            users: added(base.users, users, |a: &GuestUser, b| a.name == b.name),
            packages: added(base.packages, packages, |a, b| a == b),
            timezone: timezone.or(base.timezone),
            locale: locale.or(base.locale),
            apt_mirror: apt_mirror.or(base.apt_mirror),
            write_files: added(base.write_files, write_files, |a: &GuestFile, b| a.path == b.path),
            // Two equal commands may both be meant.
            runcmd: added(base.runcmd, runcmd, |_, _| false),
            user_data: user_data.or(base.user_data),
        }
    }
}

/// The nearer list, unless it says nothing.
fn nearer<T>(own: Vec<T>, base: Vec<T>) -> Vec<T> {
    if own.is_empty() { base } else { own }
}

/// Both lists, the farther one first, without what the nearer one says anew: of two users of one name cloud-init makes the first.
fn added<T>(mut base: Vec<T>, own: Vec<T>, same: impl Fn(&T, &T) -> bool) -> Vec<T> {
    base.retain(|old| !own.iter().any(|new| same(old, new)));
    base.extend(own);
    base
}

#[cfg(test)]
mod tests {
    use crate::core::vm_spec::VmSpec;

    fn spec(text: &str) -> VmSpec {
        toml::from_str(text).unwrap()
    }

    /// A specification that says everything.
    const ALL: &str = r#"
vcpus = 2
memory = "1G"
disk = "8G"
full = true
disks = [{ size = "1G" }]
firmware = "uefi"
network = "lab"
addressing = "static"
ip = "192.0.2.1"
gateway = "192.0.2.254"
nameservers = ["192.0.2.53"]
search = ["lab.example"]
mac = "ip"
autostart = true
description = "one"
snapshot = "fresh"
seed = "metadata"
[guest]
user = "ops"
ssh_key_files = ["a.pub"]
password_hash_file = "hash"
users = [{ name = "ann" }]
packages = ["vim"]
timezone = "Europe/Vienna"
locale = "de_AT.UTF-8"
apt_mirror = "http://mirror.example/debian"
write_files = [{ path = "/etc/a", content = "a" }]
runcmd = ["true"]
user_data = "user-data"
"#;

    #[test]
    fn who_says_nothing_gets_everything_and_who_says_all_keeps_it() {
        assert_eq!(VmSpec::default().over(spec(ALL)), spec(ALL));
        assert_eq!(spec(ALL).over(VmSpec::default()), spec(ALL));
    }

    #[test]
    fn the_nearer_word_wins_and_lists_are_added_to() {
        // own, base, and what comes of them
        let table = [
            ("memory = '2G'", "memory = '1G'\nvcpus = 2", "memory = '2G'\nvcpus = 2"),
            ("vcpus = 8", "topology = '1:2:2'", "vcpus = 8"),
            ("topology = '1:2:2'", "vcpus = 8\nmemory = '1G'", "topology = '1:2:2'\nmemory = '1G'"),
            ("bridge = 'br0'", "network = 'lab'", "bridge = 'br0'"),
            ("network = 'lab'", "bridge = 'br0'", "network = 'lab'"),
            ("addressing = 'dhcp'", "ip = 'next'\naddressing = 'static'", "addressing = 'dhcp'"),
            ("addressing = 'static'", "ip = 'next'", "addressing = 'static'\nip = 'next'"),
            ("seed = 'volume'", "seed = 'metadata'", "seed = 'volume'"),
            ("autostart = false", "autostart = true", "autostart = false"),
            ("disks = [{ size = '2G' }]", "disks = [{ size = '1G' }, { size = '1G' }]", "disks = [{ size = '2G' }]"),
            ("nameservers = ['192.0.2.1']", "nameservers = ['192.0.2.2']", "nameservers = ['192.0.2.1']"),
            ("search = ['a']", "search = ['b']", "search = ['a']"),
            ("guest.packages = ['b', 'a']", "guest.packages = ['a', 'c']", "guest.packages = ['c', 'b', 'a']"),
            ("guest.runcmd = ['x']", "guest.runcmd = ['x', 'y']", "guest.runcmd = ['x', 'y', 'x']"),
            (
                "guest.users = [{ name = 'ann', sudo = true }]",
                "guest.users = [{ name = 'ann' }, { name = 'bob' }]",
                "guest.users = [{ name = 'bob' }, { name = 'ann', sudo = true }]",
            ),
            (
                "guest.write_files = [{ path = '/a', content = 'new' }]",
                "guest.write_files = [{ path = '/a', content = 'old' }, { path = '/b', content = 'b' }]",
                "guest.write_files = [{ path = '/b', content = 'b' }, { path = '/a', content = 'new' }]",
            ),
        ];
        for (own, base, merged) in table {
            assert_eq!(spec(own).over(spec(base)), spec(merged), "{own} over {base}");
        }
    }
}
