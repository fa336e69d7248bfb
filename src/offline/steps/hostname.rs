//! The hostname, and the name's own line in hosts.

use anyhow::Result;

use crate::{
    core::{names::VmName, vm_spec::DomainName},
    offline::{Scene, Step},
};

pub(super) const STEP: Step = Step { name: "hostname", run };

fn run(scene: &Scene<'_>) -> Result<()> {
    let identity = scene.identity;
    let names = names(identity.name, identity.domain);
    scene.put("/etc/hostname", format!("{}\n", identity.name).as_bytes(), 0o644)?;
    let old = scene.text("/etc/hosts")?;
    scene.put("/etc/hosts", hosts(&old, &names).as_bytes(), 0o644)?;
    // Debian's mail programs take their name from here.
    if scene.exists("/etc/mailname")? {
        let full = names.split(' ').next().unwrap_or_default();
        scene.edit("/etc/mailname", &scene.text("/etc/mailname")?, &format!("{full}\n"))?;
    }
    Ok(())
}

/// The names of a host as hosts(5) has them: the full one first.
fn names(name: &VmName, domain: Option<&DomainName>) -> String {
    domain.map_or_else(|| name.to_string(), |domain| format!("{name}.{domain} {name}"))
}

/// The file with one line for the host itself: `127.0.1.1`, as Debian's installer writes it.
fn hosts(old: &str, names: &str) -> String {
    let own = format!("127.0.1.1\t{names}");
    let address = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let mut lines: Vec<&str> = old.lines().filter(|line| address(line).as_deref() != Some("127.0.1.1")).collect();
    let localhost = lines.iter().position(|line| address(line).as_deref() == Some("127.0.0.1"));
    if localhost.is_none() {
        lines.insert(0, "127.0.0.1\tlocalhost");
    }
    lines.insert(localhost.unwrap_or(0) + 1, &own);
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_line_is_there_once() {
        let table = [
            ("", "127.0.0.1\tlocalhost\n127.0.1.1\tweb01\n"),
            ("127.0.0.1\tlocalhost\n127.0.1.1\told.lab old\n", "127.0.0.1\tlocalhost\n127.0.1.1\tweb01\n"),
            (
                "# mine\n127.0.0.1 localhost\n127.0.1.1 a\n::1 localhost\n127.0.1.1 b\n",
                "# mine\n127.0.0.1 localhost\n127.0.1.1\tweb01\n::1 localhost\n",
            ),
            ("192.0.2.7 nas", "127.0.0.1\tlocalhost\n127.0.1.1\tweb01\n192.0.2.7 nas\n"),
        ];
        for (old, new) in table {
            assert_eq!(hosts(old, "web01"), new, "{old:?}");
            assert_eq!(hosts(new, "web01"), new, "again: {old:?}");
        }
    }

    #[test]
    fn the_full_name_comes_first() {
        let name = "web01".parse().unwrap();
        assert_eq!(names(&name, Some(&"lab.example".parse().unwrap())), "web01.lab.example web01");
        assert_eq!(names(&name, None), "web01");
    }
}
