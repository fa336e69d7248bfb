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
        error::Refusal,
        facts::{PoolSize, VolumeFormat, is_local},
        fill::fills,
        progress::Silent,
    },
    host::{guest::Access, process, shell, source::debian_keyring},
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
    let pool = world.storage.size();
    let (pool, result) = (pool.as_ref().ok().cloned(), pool);
    let remedy = format!(
        "make one with `virsh pool-define-as {0} dir --target /var/lib/libvirt/images; virsh pool-build {0}; virsh pool-start {0}`",
        config.pool
    );
    checks.push(Check::of("pool", result, |size| format!("{}: {} free in {}", config.pool, size.available, size.path), &remedy));
    checks.extend(pool.as_ref().map_or_else(Vec::new, |pool| fill(world, pool)));
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
    checks.push(if is_local(&config.uri) {
        appliance(world, accelerator.unwrap_or(Accelerator::Tcg))
    } else {
        programs(world, pool)
    });
    checks
}

/// What runs another machine's own programs. A logical pool is nothing without; a directory's volumes are read back more slowly.
fn programs(world: World<'_>, pool: Option<PoolSize>) -> Check {
    let deadline = Duration::from_secs(60);
    let needed = pool.is_some_and(|pool| pool.kind.is_logical());
    match shell::run(world.shell, &["uname", "-n"], deadline) {
        Ok(name) => Check::new("programs", Health::Ok, format!("run over SSH, on {}", name.trim())),
        Err(error) => {
            let health = if needed { Health::Broken } else { Health::Warning };
            let why = if needed { "lvm2 is called there" } else { "what is sent there is read back over the line" };
            Check::new("programs", health, format!("{error:#}; {why}").replace('\n', "; "))
        }
    }
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
