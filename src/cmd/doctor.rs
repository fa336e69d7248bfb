//! `tpl doctor`: each thing that tpl needs, ok, or what to do.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::{
    cli::Output,
    cmd::{kvm, world::Opened, world::World},
    core::{
        config::Config,
        domain::Accelerator,
        error::{NoPool, Refusal},
        facts::{PoolSize, VolumeFormat, is_local},
        fill::fills,
        progress::Silent,
    },
    host::{
        guest::Access,
        process,
        shell::{self, Shell},
        source::debian_keyring,
    },
    ui,
};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    Ok,
    /// It works, with a drawback.
    Warning,
    /// tpl does not work until it is mended.
    Broken,
}

/// One line of the report.
#[derive(Debug, Serialize)]
struct Check {
    name: String,
    health: Health,
    /// What was found; and what to do.
    detail: String,
}

impl Check {
    fn new(name: &str, health: Health, detail: impl Into<String>) -> Self {
        Self { name: name.to_owned(), health, detail: detail.into() }
    }

    fn of<T>(name: &str, result: Result<T>, found: impl FnOnce(T) -> String, remedy: &str) -> Self {
        match result {
            Ok(value) => Self::new(name, Health::Ok, found(value)),
            Err(error) => Self::new(name, Health::Broken, format!("{error:#}: {remedy}").replace('\n', "; ")),
        }
    }
}

/// Runs `tpl doctor`.
///
/// # Errors
/// [`Refusal`] if anything is broken.
pub fn run(config: &Config, output: Output) -> Result<()> {
    let mut checks = tools();
    match Opened::new(config) {
        Ok(opened) => opened.with(|world| {
            checks.extend(hypervisor(world, config));
            Ok(())
        })?,
        Err(error) => checks.push(Check::new(
            "libvirt",
            Health::Broken,
            format!("{error:#}: start it with `systemctl start libvirtd`, or without systemd with `virtlogd -d; libvirtd -d`")
                .replace('\n', "; "),
        )),
    }
    match output {
        Output::Json => ui::json(&checks)?,
        Output::Text => ui::data(&table(&checks))?,
    }
    let broken: Vec<&str> =
        checks.iter().filter(|check| check.health == Health::Broken).map(|check| check.name.as_str()).collect();
    if broken.is_empty() {
        return Ok(());
    }
    Err(Refusal::new(format!("not ready: {}", broken.join(", "))).into())
}

fn tools() -> Vec<Check> {
    let mut checks: Vec<Check> = process::ALL
        .iter()
        .map(|program| match program.path() {
            Some(path) => Check::new(program.name(), Health::Ok, path.display().to_string()),
            None => Check::new(
                program.name(),
                Health::Broken,
                format!("not installed: install the package that has {}", program.name()),
            ),
        })
        .collect();
    checks.push(match debian_keyring() {
        Some(path) => Check::new("keyring", Health::Ok, path.display().to_string()),
        None => Check::new("keyring", Health::Warning, "Debian's archive keyring is not here: install debian-archive-keyring"),
    });
    checks
}

fn hypervisor(world: World<'_>, config: &Config) -> Vec<Check> {
    let versions = |found: std::collections::BTreeMap<String, String>| {
        found.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join(", ")
    };
    let called = match &config.name {
        Some(name) => format!("{name}, {}", config.uri),
        None => config.uri.clone(),
    };
    let mut checks = vec![Check::of(
        "libvirt",
        world.hypervisor.versions(),
        |found| format!("{called}: {}", versions(found)),
        "is its QEMU driver installed?",
    )];
    let size = world.storage.size();
    checks.push(pool_check(&config.pool, &size));
    let pool = size.ok();
    checks.extend(pool.as_ref().map_or_else(Vec::new, |pool| fill(world, pool)));
    checks.extend(unread_rooms(world));
    checks.push(network(world, &config.network));
    // Both of these need the pool: the probe boots from a volume in it.
    let accelerator = if pool.is_some() { kvm::accelerator(world) } else { Ok(Accelerator::Tcg) };
    checks.push(match &accelerator {
        Ok(Accelerator::Kvm) => Check::new("kvm", Health::Ok, "a guest ran on it"),
        Ok(Accelerator::Tcg) => Check::new(
            "kvm",
            Health::Warning,
            "no guest runs on it, so VMs are emulated, which is slow: is virtualisation on in the firmware (or nested, in the \
             hypervisor below), and the kvm module loaded?",
        ),
        Err(error) => Check::new("kvm", Health::Broken, format!("{error:#}")),
    });
    // Guests' disks are opened where their files are.
    let local = is_local(&config.uri);
    // Not by its size: where no program runs, that cannot be had either.
    let logical = world.storage.is_logical().unwrap_or(false);
    if local {
        checks.push(appliance(world, accelerator.unwrap_or(Accelerator::Tcg)));
    }
    if logical || !local {
        checks.push(programs(world.shell, local, logical));
    }
    checks
}

fn pool_check(name: &str, size: &Result<PoolSize>) -> Check {
    match size {
        Ok(size) => Check::new("pool", Health::Ok, format!("{name}: {} free in {}", size.available, size.path)),
        Err(error) if error.is::<NoPool>() => Check::new(
            "pool",
            Health::Broken,
            format!(
                "pool {name} does not exist: make one with `virsh pool-define-as {name} dir --target /var/lib/libvirt/images; \
                 virsh pool-build {name}; virsh pool-start {name}`"
            ),
        ),
        // There is one; what to do about it the error says itself.
        Err(error) => Check::new("pool", Health::Broken, format!("{error:#}").replace('\n', "; ")),
    }
}

/// What a logical pool's volumes are made, zeroed and filled with.
const FOR_LOGICAL: [&str; 4] = ["lvs", "qemu-img", "blkdiscard", "dd"];

/// What runs the hypervisor's own programs. A logical pool is nothing without; a directory's volumes on another machine are read back
/// more slowly.
fn programs(shell: &dyn Shell, local: bool, logical: bool) -> Check {
    let deadline = Duration::from_secs(60);
    let name = match shell::run(shell, &["uname", "-n"], deadline) {
        Ok(name) => name,
        Err(error) => {
            let health = if logical { Health::Broken } else { Health::Warning };
            let why = if logical { "lvm2 is called there" } else { "what is sent there is read back over the line" };
            return Check::new("programs", health, format!("{error:#}; {why}").replace('\n', "; "));
        }
    };
    let tried = FOR_LOGICAL.iter().filter(|_| logical);
    let missing: Vec<&str> =
        tried.filter(|program| shell::run(shell, &[program, "--version"], deadline).is_err()).copied().collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        let detail = format!("the logical pool needs {missing} there: install lvm2, qemu-utils, util-linux and coreutils");
        return Check::new("programs", Health::Broken, detail);
    }
    let way = if local { "run" } else { "run over SSH" };
    Check::new("programs", Health::Ok, format!("{way}, on {}", name.trim()))
}

/// What can become full in a logical pool.
fn fill(world: World<'_>, pool: &PoolSize) -> Vec<Check> {
    if !pool.kind.is_logical() {
        return Vec::new();
    }
    match world.storage.volumes() {
        Ok(volumes) => fills(pool, &volumes)
            .into_iter()
            .map(|fill| Check::new(&fill.what, if fill.is_full { Health::Warning } else { Health::Ok }, fill.detail))
            .collect(),
        Err(error) => vec![Check::new("volumes", Health::Broken, format!("{error:#}").replace('\n', "; "))],
    }
}

/// Classic snapshots that nobody sees fill up: those in other pools, and those that this one does not tell of.
fn unread_rooms(world: World<'_>) -> Vec<Check> {
    let Ok(inventory) = world.inventory() else { return Vec::new() };
    let clones: Vec<_> = inventory.clones.iter().collect();
    let unread = super::vms::rooms(world.seen(), &clones).unread;
    unread.into_iter().map(|why| Check::new("snapshots", Health::Warning, why)).collect()
}

fn network(world: World<'_>, name: &str) -> Check {
    match world.hypervisor.network(name) {
        Ok(Some(network)) if network.active => Check::new("network", Health::Ok, format!("{name} is active")),
        Ok(Some(_)) => Check::new("network", Health::Broken, format!("{name} is not active: `virsh net-start {name}` starts it")),
        Ok(None) => Check::new(
            "network",
            Health::Broken,
            format!("{name} does not exist: `virsh net-define /usr/share/libvirt/networks/default.xml` makes libvirt's default"),
        ),
        Err(error) => Check::new("network", Health::Broken, format!("{error:#}")),
    }
}

/// Launches the appliance on an empty disk: the only way to know.
fn appliance(world: World<'_>, accelerator: Accelerator) -> Check {
    let appliance = (world.appliance)(accelerator);
    let launch = || -> Result<String> {
        let disk = tempfile::NamedTempFile::new()?;
        disk.as_file().set_len(1 << 20)?;
        appliance.open(disk.path(), VolumeFormat::Raw, Access::ReadOnly, &Silent)?.close()?;
        appliance.version()
    };
    let remedy = "libguestfs needs a kernel in /boot that its user can read: install one, as linux-image-cloud-amd64";
    Check::of("appliance", launch(), |version| format!("libguestfs {version} launches"), remedy)
}

fn table(checks: &[Check]) -> String {
    let rows = checks.iter().map(|check| {
        let health = match check.health {
            Health::Ok => "ok",
            Health::Warning => "warning",
            Health::Broken => "BROKEN",
        };
        vec![check.name.clone(), health.to_owned(), check.detail.clone()]
    });
    ui::table(&[], rows)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use anyhow::{Context as _, anyhow, bail};

    use super::*;
    use crate::host::shell::Output as Printed;

    /// A machine that lacks some programs.
    struct Lacking(&'static [&'static str]);

    impl Shell for Lacking {
        fn run(&self, argv: &[&str], _: Duration) -> Result<Printed> {
            let code = if self.0.contains(&argv[0]) { 127 } else { 0 };
            Ok(Printed { code: Some(code), stdout: "hv1\n".to_owned(), stderr: format!("env: '{}' is not there", argv[0]) })
        }

        fn feed(&self, _: &[&str], _: &mut dyn Read) -> Result<Printed> {
            bail!("nothing is fed")
        }

        fn read(&self, _: &[&str], _: &mut dyn Write) -> Result<Printed> {
            bail!("nothing is read")
        }
    }

    #[test]
    fn a_logical_pool_needs_its_programs() {
        let no_way = "uname: env: 'uname' is not there; ";
        let table: [(&'static [&'static str], bool, bool, Health, String); 6] = [
            (&[], true, true, Health::Ok, "run, on hv1".to_owned()),
            (&[], false, true, Health::Ok, "run over SSH, on hv1".to_owned()),
            (&FOR_LOGICAL, false, false, Health::Ok, "run over SSH, on hv1".to_owned()),
            (&["uname"], false, false, Health::Warning, format!("{no_way}what is sent there is read back over the line")),
            (&["uname"], false, true, Health::Broken, format!("{no_way}lvm2 is called there")),
            (
                &["dd", "qemu-img"],
                false,
                true,
                Health::Broken,
                "the logical pool needs qemu-img, dd there: install lvm2, qemu-utils, util-linux and coreutils".to_owned(),
            ),
        ];
        for (lacking, local, logical, health, detail) in table {
            let check = programs(&Lacking(lacking), local, logical);
            assert_eq!((check.health, check.detail), (health, detail), "{lacking:?}");
        }
    }

    #[test]
    fn a_pool_is_to_be_made_only_where_there_is_none() {
        let none = Err(anyhow::Error::from(NoPool("p".to_owned())).context("looking"));
        let expected = "pool p does not exist: make one with `virsh pool-define-as p dir --target /var/lib/libvirt/images; \
                        virsh pool-build p; virsh pool-start p`";
        assert_eq!(pool_check("p", &none).detail, expected);
        let several =
            Err(anyhow!("volume group vg0 has several thin pools: a, b\n`thin_pool` says which")).context("reading pool p");
        let expected = "reading pool p: volume group vg0 has several thin pools: a, b; `thin_pool` says which";
        assert_eq!(pool_check("p", &several).detail, expected);
    }
}
