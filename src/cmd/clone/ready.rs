//! Waiting until VMs are ready, and telling how far those have come that are not.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use super::{sites::Sites, vm::Stage};
use crate::{
    cmd::{parallel, world::World},
    core::{
        domain::console_log,
        facts::DomainState,
        metadata,
        ready::{self, Progress, Until},
        ssh_key::PublicKey,
    },
    host::reach::Knock,
    ui::Lines,
};

/// What the waiting is called among the stages.
const STAGE: &str = "wait";
/// How long between two looks at the VMs that are not ready yet.
const PAUSE: Duration = Duration::from_secs(1);
/// A console's log that is longer than this in bytes is read from here before its end: enough for the last words.
const CONSOLE_TAIL: u64 = 256 << 10;

/// What VMs are waited for, and how long.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until what.
    pub until: Until,
    /// At most.
    pub timeout: Duration,
    /// So many are looked at at once.
    pub jobs: usize,
    /// A VM that has failed does not end the waiting for the others.
    pub keep_going: bool,
}

/// A VM that is waited for: what tells whether it is ready, and how the waiting went.
#[derive(Debug)]
pub struct Awaited {
    /// The number of its hypervisor among the call's.
    pub site: usize,
    /// Its name.
    pub name: String,
    /// Its SSH host key: the line of the public half.
    pub host_key: String,
    /// The address that was promised to it.
    pub promised: Option<IpAddr>,
    /// Whether it has cloud-init, which tells of itself on the console.
    pub has_cloud_init: bool,
    /// Its addresses, once it has some.
    pub addresses: Vec<IpAddr>,
    /// How long its stages took.
    pub stages: Vec<Stage>,
    /// Why it goes no further.
    pub failed: Option<anyhow::Error>,
    /// How far it has come, where it was waited for in vain.
    pub progress: Option<Progress>,
}

/// Waits until every VM is ready. Those that have failed, or are not ready at the end, say so themselves, with how far they
/// have come.
///
/// # Errors
/// An interrupt.
pub fn wait(sites: &Sites<'_>, vms: &mut [&mut Awaited], patience: &Patience, lines: &Lines, index: &[usize]) -> Result<()> {
    let local = sites.local();
    let (started, clock) = (local.now(), Instant::now());
    let end = local.now() + patience.timeout;
    let mut waiting: Vec<(usize, &mut Awaited, String)> =
        index.iter().copied().zip(vms.iter_mut()).map(|(index, vm)| (index, &mut **vm, String::new())).collect();
    while !waiting.is_empty() {
        let looks = parallel::each(patience.jobs, &mut waiting, |_, (_, vm, _)| look(sites.world(vm.site), vm, patience.until));
        let mut still = Vec::with_capacity(waiting.len());
        let mut failed = false;
        for ((index, vm, _), look) in waiting.into_iter().zip(looks) {
            match look {
                Ok(None) => {
                    lines.set(index, "ready");
                    vm.stages.push(Stage { name: STAGE, started, took: clock.elapsed(), good: true });
                }
                Ok(Some(missing)) => {
                    lines.set(index, &missing);
                    still.push((index, vm, missing));
                }
                Err(error) => {
                    failed = true;
                    vm.stages.push(Stage { name: STAGE, started, took: clock.elapsed(), good: false });
                    vm.failed = Some(error);
                }
            }
        }
        waiting = still;
        local.go_on()?;
        if waiting.is_empty() || failed && !patience.keep_going {
            return Ok(());
        }
        if local.now() >= end {
            for (_, vm, _) in &mut waiting {
                vm.stages.push(Stage { name: STAGE, started, took: clock.elapsed(), good: false });
            }
            give_up(sites, waiting, patience);
            return Ok(());
        }
        local.sleep(PAUSE);
    }
    Ok(())
}

fn give_up(sites: &Sites<'_>, mut waiting: Vec<(usize, &mut Awaited, String)>, patience: &Patience) {
    let stories = parallel::each(patience.jobs, &mut waiting, |_, (_, vm, missing)| {
        story(sites.world(vm.site), vm, missing.clone(), patience.until)
    });
    for ((_, vm, _), progress) in waiting.into_iter().zip(stories) {
        let log = console_log(&vm.name);
        let text = format!(
            "{}: not ready after {} s: {}\n    its console is logged in {log}",
            vm.name,
            patience.timeout.as_secs(),
            progress.describe()
        );
        vm.failed = Some(anyhow!(text));
        vm.progress = Some(progress);
    }
}

/// What a VM still lacks; none if it is ready.
fn look(world: World<'_>, vm: &mut Awaited, until: Until) -> Result<Option<String>> {
    let name = vm.name.clone();
    let state = world.hypervisor.state(&name)?;
    if !matches!(state, Some(DomainState::Running | DomainState::Paused)) {
        let state = state.map_or("gone", DomainState::as_str);
        return Err(anyhow!("{name} does not run any more: it is {state}\nits console is logged in {}", console_log(&name)));
    }
    vm.addresses = addresses(world, vm)?;
    match until {
        Until::None => Ok(None),
        Until::Ssh => at_its_address(vm, |address| {
            Ok(match world.reach.knock(address, &host_key(&vm.host_key))? {
                Knock::Ready => None,
                Knock::NotYet(reason) => Some(reason),
                // An earlier machine's lease may still point here for a moment; and cloud-init may not have written the key yet.
                Knock::WrongKey => Some(format!("{address} answers with another host key")),
            })
        }),
        Until::Tcp(port) => at_its_address(vm, |address| world.reach.port(address, port)),
        Until::Agent => Ok(match world.hypervisor.agent_addresses(&name)? {
            Some(addresses) => {
                if vm.addresses.is_empty() {
                    vm.addresses = addresses;
                }
                None
            }
            None => Some("the guest agent does not answer yet".to_owned()),
        }),
        Until::PhoneHome => phoned_home(world, vm),
        Until::CloudInit => {
            let console = console(world, &name)?;
            Ok((!ready::cloud_init_has_finished(&console)).then(|| format!("cloud-init {}", ready::cloud_init_status(&console))))
        }
    }
}

fn phoned_home(world: World<'_>, vm: &Awaited) -> Result<Option<String>> {
    let Some(domain) = world.hypervisor.domain(&vm.name)? else { return Ok(Some("is gone".to_owned())) };
    let mark = metadata::ready::read(&domain.xml).map_err(|error| anyhow!("{}: {error}", vm.name))?;
    Ok(ready::not_phoned_home(mark.as_ref(), domain.uuid, &host_key(&vm.host_key)))
}

fn at_its_address(vm: &Awaited, look: impl FnOnce(IpAddr) -> Result<Option<String>>) -> Result<Option<String>> {
    match vm.addresses.iter().copied().min_by_key(IpAddr::is_ipv6) {
        Some(address) => look(address),
        None => Ok(Some("no address yet".to_owned())),
    }
}

/// Type and key of a public key line: what `known_hosts` holds.
pub fn host_key(line: &str) -> String {
    line.parse::<PublicKey>().map_or_else(|_| line.to_owned(), |key| key.key())
}

/// A VM's addresses: the one that was promised to it, else what DHCP gave it, else what the hypervisor has heard of it.
fn addresses(world: World<'_>, vm: &Awaited) -> Result<Vec<IpAddr>> {
    if let Some(promised) = vm.promised {
        return Ok(vec![promised]);
    }
    let leased = world.hypervisor.addresses(&vm.name)?;
    if leased.is_empty() { world.hypervisor.neighbours(&vm.name) } else { Ok(leased) }
}

fn console(world: World<'_>, name: &str) -> Result<String> {
    let path = console_log(name);
    let mut from = 0;
    let mut bytes = world.hypervisor.read_log(&path, from)?;
    // One read has a limit: go on to the end of a long log, and keep its tail.
    while bytes.len() as u64 > CONSOLE_TAIL {
        from += bytes.len() as u64 - CONSOLE_TAIL;
        bytes = world.hypervisor.read_log(&path, from)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// How far a VM has come. What cannot be read is told as such: nothing here fails.
fn story(world: World<'_>, vm: &Awaited, missing: String, until: Until) -> Progress {
    let name = vm.name.as_str();
    let console = console(world, name).unwrap_or_default();
    let port = if let Until::Tcp(port) = until { port } else { 22 };
    let answer = vm.addresses.first().map(|address| world.reach.port(*address, port));
    Progress {
        missing,
        state: world.hypervisor.state(name).ok().flatten(),
        leases: world.hypervisor.addresses(name).unwrap_or_default(),
        neighbours: world.hypervisor.neighbours(name).unwrap_or_default(),
        port: match answer {
            None => format!("{port} not asked, for there is no address"),
            Some(Ok(None)) => format!("{port} answers"),
            Some(Ok(Some(reason))) => reason,
            Some(Err(error)) => format!("{error:#}"),
        },
        cloud_init: if vm.has_cloud_init { ready::cloud_init_status(&console) } else { "not in the template".to_owned() },
        console: ready::last_lines(&console),
    }
}
