use super::*;

/// A fleet in one line for each VM: name, template, group, and what is said of its size and addresses.
fn lines(text: &str) -> Result<Vec<String>, String> {
    let fleet = parse("f.toml", text).map_err(|invalid| invalid.to_string())?;
    let shown = |vm: &Declared| {
        let spec = &vm.spec;
        let mut words = vec![vm.name.to_string()];
        words.extend(vm.template.as_ref().map(ToString::to_string));
        words.extend(vm.group.as_ref().map(|group| format!("in {group}")));
        words.extend(spec.vcpus.map(|vcpus| format!("{vcpus} vCPUs")));
        words.extend(spec.memory.map(|memory| memory.to_string()));
        words.extend(spec.ip.as_ref().map(|ip| match ip.addresses().collect::<Vec<_>>().as_slice() {
            [] => "next".to_owned(),
            all => all.iter().map(ToString::to_string).collect::<Vec<_>>().join("+"),
        }));
        if let Some(crate::core::vm_spec::MacChoice::Explicit(macs)) = &spec.mac {
            words.push(macs.iter().map(ToString::to_string).collect::<Vec<_>>().join("+"));
        }
        words.extend(spec.guest.packages.iter().map(|package| package.as_str().to_owned()));
        words.join(" ")
    };
    Ok(fleet.vms.iter().map(shown).collect())
}

#[test]
fn the_example_is_a_fleet() {
    let expected = [
        "web1 debian13 in web 1 vCPUs 1 GiB 192.168.122.50 nginx",
        "web2 debian13 in web 1 vCPUs 1 GiB 192.168.122.51 nginx",
        "web3 debian13 in web 1 vCPUs 1 GiB 192.168.122.52 nginx",
        "worker3 debian13 in worker 2 vCPUs 1 GiB",
        "worker7 debian13 in worker 2 vCPUs 1 GiB",
        "worker8 debian13 in worker 2 vCPUs 1 GiB",
        "worker9 debian13 in worker 2 vCPUs 1 GiB",
        "db debian13 1 vCPUs 2 GiB",
        "canary debian13 in web 1 vCPUs 1 GiB 192.168.122.53 nginx stress-ng",
    ];
    assert_eq!(lines(include_str!("../../../docs/examples/fleet.toml")).unwrap(), expected);
}

#[test]
fn what_a_file_says_of_its_vms() {
    let table: [(&str, &[&str]); 11] = [
        ("[[vms]]\nname = 'db'", &["db"]),
        (
            "template = 'a'\n[groups.web]\ncount = 2\ntemplate = 'b'\n[[vms]]\nname = 'x'\n[[vms]]\nname = 'y'\ngroup = 'web'\n\
          [[vms]]\nname = 'z'\ntemplate = 'c@20261121-031000'\ngroup = 'web'",
            &["web1 b in web", "web2 b in web", "x a", "y b in web", "z c@20261121-031000 in web"],
        ),
        // Groups in the order of the file, not of the alphabet.
        ("[groups.web]\ncount = 1\n[groups.app]\ncount = 1", &["web1 in web", "app1 in app"]),
        ("[groups.g]\nnames = ['b', 'a']", &["b in g", "a in g"]),
        ("[groups.g]\nnumbers = '3,7-8'\nname = 'vnode'", &["vnode3 in g", "vnode7 in g", "vnode8 in g"]),
        ("[groups.g]\nnumbers = '3,7-8'\nname = 'vnode{:02}-a'", &["vnode03-a in g", "vnode07-a in g", "vnode08-a in g"]),
        ("[groups.g]\ncount = 1\nname = 'only'", &["only in g"]),
        // A VM's own address takes none of its group's, nor does one that asks DHCP.
        (
            "[groups.g]\ncount = 1\nip = '192.0.2.1-9'\n[[vms]]\nname = 'a'\ngroup = 'g'\nip = '192.0.2.20'\n\
          [[vms]]\nname = 'b'\ngroup = 'g'\naddressing = 'dhcp'\n[[vms]]\nname = 'c'\ngroup = 'g'\n\
          [[vms]]\nname = 'd'\ngroup = 'g'\nip = 'next'",
            &["g1 in g 192.0.2.1", "a in g 192.0.2.20", "b in g", "c in g 192.0.2.2", "d in g next"],
        ),
        ("defaults.ip = 'next'\n[groups.g]\ncount = 1\nip = '192.0.2.1'\n[[vms]]\nname = 'a'", &["g1 in g 192.0.2.1", "a next"]),
        ("[groups.g]\ncount = 2\nip = 'next'", &["g1 in g next", "g2 in g next"]),
        (
            "[groups.g]\ncount = 2\nmac = '52:54:00:00:00:01, 52:54:00:00:00:02, 52:54:00:00:00:03, 52:54:00:00:00:04'",
            &["g1 in g 52:54:00:00:00:01+52:54:00:00:00:02", "g2 in g 52:54:00:00:00:03+52:54:00:00:00:04"],
        ),
    ];
    for (text, expected) in table {
        assert_eq!(lines(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn each_fault_has_its_place() {
    const SPEC: &str = "`vcpus`, `topology`, `memory`, `disk`, `full`, `snapshot_size`, `disks`, `firmware`, `network`, `bridge`, `addressing`, \
                        `ip`, `prefix`, `gateway`, `nameservers`, `search`, `mac`, `autostart`, `description`, `snapshot`, `seed`, `guest`";
    let table = [
        ("", "1:1: a fleet needs VMs: [groups.NAME] with `count`, or [[vms]] with `name`".to_owned()),
        (
            "vms = 1",
            "1:7: a list of tables belongs here: write [[vms]]"
                .to_owned(),
        ),
        ("vms = [1]\n[[x", "2:4: unclosed array table, expected `]]`".to_owned()),
        (
            "[[vm]]\nname = 'a'\n[[vms]]\nname = 'a'",
            "1:3: unknown field `vm`, expected one of `description`, `template`, `defaults`, `groups`, `vms`".to_owned(),
        ),
        (
            "[[vms]]\nname = 'a'\nmemroy = '1G'",
            format!("3:1: unknown field `memroy`, expected one of `name`, `template`, `group`, {SPEC}"),
        ),
        (
            "[groups.g]\ncount = 1\n\"a\\u001b\" = 1",
            format!("3:1: unknown field `a\\u{{1b}}`, expected one of `template`, `count`, `names`, `numbers`, `name`, {SPEC}"),
        ),
        (
            "[[vms]]\nname = 'a'\nguest.packges = []",
            "3:7: unknown field `packges`, expected one of `user`, `ssh_keys`, `ssh_key_files`, `password_hash_file`, `users`, \
          `packages`, `timezone`, `locale`, `apt_mirror`, `write_files`, `runcmd`, `user_data`"
                .to_owned(),
        ),
        (
            "[[vms]]\nname = 'A'",
            "2:8: \"A\" is no VM name: 1 to 63 lower-case letters, digits and '-', no '-' at either end".to_owned(),
        ),
        ("[[vms]]\nmemory = '1G'", "1:1: this VM has no `name`".to_owned()),
        (
            "[[vms]]\nname = 'a'\ntemplate = 'b.c'",
            "3:12: \"b.c\" is no template name: 1 to 48 letters, digits, '-' and '_', a letter or digit first".to_owned(),
        ),
        ("[groups.g]\ncount = 1\n[[vms]]\nname = 'a'\ngroup = 'h'", "5:9: there is no group h; there are: g".to_owned()),
        ("[[vms]]\nname = 'a'\ngroup = 'h'", "3:9: there is no group h; there are: none".to_owned()),
        (
            "[groups.g]\nmemory = '1G'",
            "1:9: group g has no VMs: give it `count`, `names` or `numbers`, or a VM with group = \"g\"".to_owned(),
        ),
        ("[groups.g]\ncount = 'x'\n[groups.h]\nnames = []\n[groups.i]\nnumbers = '1-'", "2:9: invalid type: string \"x\", expected i64\nf.toml:4:9: `names` is empty\nf.toml:6:11: \"1-\" are no numbers: write them as in 3,7-9, from 0 to 99999, ranges from low to high".to_owned()),
        ("[groups.g]\ncount = 0", "2:9: `count` must be 1 to 1000".to_owned()),
        ("[groups.g]\ncount = 1000\n[[vms]]\nname = 'a'", "4:8: 1001 VMs are too many for one fleet: at most 1000".to_owned()),
        (
            "[groups.g]\ncount = 1\nnames = ['a']",
            "3:9: `count`, `names` and `numbers` are three ways to say one thing: keep one".to_owned(),
        ),
        (
            "[groups.g]\nnames = ['a']\nname = 'b'",
            "3:8: `name` is a pattern for `count` or `numbers`, and neither stands here".to_owned(),
        ),
        (
            "[groups.g]\ncount = 2\nname = 'b'",
            "3:8: 2 VMs cannot all have one name: write {} where the number goes, as in web{}".to_owned(),
        ),
        (
            "[groups.G]\ncount = 1",
            "1:9: \"G99999\" is no VM name: 1 to 63 lower-case letters, digits and '-', no '-' at either end".to_owned(),
        ),
        ("[groups.g]\ncount = 2\n[[vms]]\nname = 'g2'", "4:8: the name g2 stands here twice".to_owned()),
        ("[groups.g]\ncount = 3\nip = '192.0.2.1-2'", "3:6: group g has 3 VMs and only 2 addresses for them".to_owned()),
        (
            "[groups.g]\ncount = 2\nmac = '52:54:00:00:00:01'",
            "3:7: group g has 2 VMs and 1 MAC addresses: write one for each network card of each".to_owned(),
        ),
        (
            "[groups.g]\ncount = 2\nip = '192.0.2.1-2'\n[[vms]]\nname = 'a'\nip = '192.0.2.2'",
            "6:6: 192.0.2.2 is given to both g2 and a".to_owned(),
        ),
        ("[[vms]]\nname = 'a'\nip = '192.0.2.1-2'", "3:6: a single VM has one address".to_owned()),
        (
            "[[vms]]\nname = 'a'\n[defaults]\nip = '192.0.2.1'\nmac = '52:54:00:00:00:01'",
            "4:6: addresses belong to a group or to a VM: here is only \"next\"\n\
          f.toml:5:7: MAC addresses belong to a group or to a VM: here are only \"name\", \"ip\" and \"random\""
                .to_owned(),
        ),
        (
            "defaults = 1\ngroups.g = 2\n[[vms]]\nname = 'a'",
            "1:12: a table belongs here\nf.toml:2:12: a table belongs here".to_owned(),
        ),
        // All at once, in the order of the text.
        (
            "[[vms]]\nname = 'a'\nmemory = 'much'\nvcpus = 'x'\nautostart = 1\n[[vms]]\nname = 'a'\ntemplate = ''",
            "3:10: 'much' is no size: write a number with a unit, as in 1536MiB or 20G\n\
          f.toml:4:9: invalid type: string \"x\", expected u32\n\
          f.toml:5:13: invalid type: integer `1`, expected a boolean\n\
          f.toml:7:8: the name a stands here twice\n\
          f.toml:8:12: \"\" is no template name: 1 to 48 letters, digits, '-' and '_', a letter or digit first"
                .to_owned(),
        ),
    ];
    for (text, expected) in table {
        assert_eq!(lines(text), Err(format!("f.toml:{expected}")), "{text}");
    }
}
