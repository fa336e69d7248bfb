//! `tpl create-vm`: from a machine that answers SSH to a VM on it, in one command.
//!
//! ```text
//! bootstrap   the machine is a hypervisor, or becomes one                      tpl host bootstrap
//! template    it has the template, or gets it from the default hypervisor      tpl push
//! VM          one clone with a random name, /var on a disk of its own, DNS     tpl clone
//! ```
//!
//! Each part is that command's own, with its refusals, its undo and its report; what one has done stays when the next fails, and the
//! same command finds it done.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    cli::{BuildArgs, CloneArgs, CreateVmArgs, Global, GuestArgs, NameArgs, NetArgs, Output, SizeArgs, WorkArgs},
    cmd::{
        build, clone,
        host::{
            bootstrap, connect,
            reached::Reached,
            run::{Done, Outcome},
        },
        settings,
        transfer::{self, Side, Wish},
        world::{Opened, World},
    },
    core::{
        config::{Config, HypervisorName},
        dns::config::ProviderConfig,
        error::{Invalid, Refusal},
        facts::is_local,
        machine_target::MachineTarget,
        names::TemplateRef,
        ready::Until,
        units::ByteSize,
        vm_spec::{DomainName, ExtraDisk, FileSystem, Label},
    },
    ui,
};

/// The DNS provider that there is without any configuration.
const OWN_NETWORK: &str = "network";
/// What is moved to the data disk.
const DATA: &str = "/var";

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct Created {
    hypervisor: String,
    /// What was done to make it a hypervisor; nothing where it was left alone.
    phases: Vec<Done>,
    /// The version that was sent there; none where it had one.
    sent: Option<String>,
    /// The VM; in a dry run its plan.
    vm: serde_json::Value,
}

/// Runs `tpl create-vm`.
///
/// # Errors
/// As for each of its parts. A refusal of the first changes nothing.
pub fn run(global: &Global, args: &CreateVmArgs, output: Output) -> Result<()> {
    if !global.on.is_empty() && args.install.is_some() {
        return Err(Invalid::argument("--install installs on --hypervisor alone: leave --on and TPL_ON out").into());
    }
    foresee(global, args)?;
    let (name, phases) = hypervisor(global, args)?;
    let changes = phases.iter().any(|done| done.outcome == Outcome::WouldChange);
    if args.dry_run && (changes || configured(global, &name).is_err()) {
        return later(name.as_str(), phases, None, output);
    }
    let mut target = configured(global, &name)?;
    in_domain(&mut target, &args.domain)?;
    let (template, sent) = match &args.install {
        Some(pipeline) => (to_install(&target, pipeline, args.dry_run)?, None),
        None => brought(global, &target, args)?,
    };
    let Some(template) = template else {
        return later(name.as_str(), phases, sent, output);
    };
    let wishes = clone_args(args, template);
    Opened::new(&target)?.with(|world| match output {
        Output::Text => clone::run(world, &target, &wishes, output),
        Output::Json => {
            let vm = clone::document(world, &target, &wishes)?;
            ui::json(&Created { hypervisor: name.to_string(), phases, sent, vm })
        }
    })
}

/// What would be refused in the end is refused before a machine is made anything.
fn foresee(global: &Global, args: &CreateVmArgs) -> Result<()> {
    let (mut config, known) = match &args.hypervisor {
        MachineTarget::Named(name) => (configured(global, name)?, true),
        MachineTarget::Login(_) => {
            let reached = Reached::of(global, &args.hypervisor)?;
            if args.install.is_some() {
                return Err(elsewhere(&reached.name).into());
            }
            (reached.config, reached.known.is_some())
        }
    };
    if args.install.is_some() {
        ensure_local(&config)?;
    }
    in_domain(&mut config, &args.domain)?;
    if !known {
        let source = settings::load(global)?;
        Opened::new(&source)?.with(|world| Ok(wanted(world, &source, args)?))?;
    }
    Ok(())
}

/// What a dry run says where the rest can be planned only once this is done.
fn later(name: &str, phases: Vec<Done>, sent: Option<String>, output: Output) -> Result<()> {
    match output {
        Output::Json => ui::json(&Created { hypervisor: name.to_owned(), phases, sent, vm: serde_json::Value::Null }),
        Output::Text => {
            let lines = phases.iter().flat_map(|done| &done.changes).map(|change| format!("{}\n", change.trim_end()));
            let sent = sent.iter().map(|id| format!("{id} would be sent to {name}\n"));
            let end = format!("the VM can be planned once {name} has come so far\n");
            ui::data(&lines.chain(sent).chain([end]).collect::<String>())
        }
    }
}

/// Makes the machine a hypervisor, or finds that it is one: what it is called, and what was done.
fn hypervisor(global: &Global, args: &CreateVmArgs) -> Result<(HypervisorName, Vec<Done>)> {
    if let MachineTarget::Named(name) = &args.hypervisor {
        let config = configured(global, name)?;
        if args.no_bootstrap || is_local(&config.uri) {
            return Ok((name.clone(), Vec::new()));
        }
    } else if args.no_bootstrap {
        let reached = Reached::of(global, &args.hypervisor)?;
        let refused = || {
            let refusal = Refusal::new(format!("{} is no hypervisor of the configuration", reached.name));
            refusal.advise("leave --no-bootstrap out: it becomes one")
        };
        return Ok((reached.known.clone().ok_or_else(refused)?, Vec::new()));
    }
    // Whoever has no key of their own has named the VM's.
    let key = args.ssh_keys.first().filter(|_| connect::own_key(None).is_err());
    let done = bootstrap::quick(global, args, key.map(PathBuf::as_path))?;
    let name = done.host.parse().map_err(anyhow::Error::msg)?;
    Ok((name, done.phases))
}

fn configured(global: &Global, name: &HypervisorName) -> Result<Config> {
    let configs = settings::load_others(global, std::slice::from_ref(name))?;
    configs.into_iter().next().with_context(|| format!("{name} is not in the configuration"))
}

/// Puts the VM's name into the domain, with every provider that leaves that open.
///
/// # Errors
/// [`Refusal`]: one is for another domain.
fn in_domain(config: &mut Config, domain: &DomainName) -> Result<()> {
    if config.dns.is_empty() {
        let own: Label = OWN_NETWORK.parse().map_err(anyhow::Error::msg)?;
        config.dns.insert(own, ProviderConfig::Libvirt(Default::default()));
    }
    let mut reasons = Vec::new();
    for (name, provider) in &mut config.dns {
        let said = match provider {
            ProviderConfig::Libvirt(dns) => Some(&*dns.domain.get_or_insert_with(|| domain.clone())),
            ProviderConfig::HostsFile(hosts) => Some(&*hosts.domain.get_or_insert_with(|| domain.clone())),
            ProviderConfig::Rfc2136(server) => Some(&server.zone),
        };
        if let Some(other) = said.filter(|said| *said != domain) {
            reasons.push(format!("DNS provider {name} is for the domain {other}, and the VM is to be in {domain}"));
        }
    }
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Refusal { reasons, advice: Some("name that domain by --domain, or another provider in the configuration".to_owned()) }
        .into())
}

/// The template at the hypervisor, sent there from the default one where it is missing; none in a dry run that would send it. And what
/// was sent.
fn brought(global: &Global, target: &Config, args: &CreateVmArgs) -> Result<(Option<TemplateRef>, Option<String>)> {
    let there = Opened::new(target)?;
    let found = there.with(|world| Ok(wanted(world, target, args)))?;
    let lacking = match found {
        Ok(template) => return Ok((Some(template), None)),
        Err(lacking) => lacking,
    };
    let source = settings::load(global)?;
    if source.uri == target.uri {
        return Err(lacking.into());
    }
    let here = Opened::new(&source)?;
    here.with(|from| {
        let template = wanted(from, &source, args)?;
        let wish = Wish { template: &template, allow_unsigned: args.allow_unsigned, dry_run: args.dry_run };
        let from = Side { world: from, config: &source };
        let done = there.with(|world| transfer::one(from, Side { world, config: target }, wish))?;
        let id = done.id.to_string();
        ui::note(&format!("{}: {id} {}", target.hypervisor(), if args.dry_run { "would be sent there" } else { "is there" }));
        Ok((Some(template).filter(|_| !args.dry_run), Some(id)))
    })
}

/// The version that is meant on a hypervisor.
fn wanted(world: World<'_>, config: &Config, args: &CreateVmArgs) -> Result<TemplateRef, Refusal> {
    let unread = |error: anyhow::Error| Refusal::new(format!("{error:#}"));
    let inventory = world.inventory().map_err(unread)?;
    let found = match &args.template {
        Some(reference) => inventory.find(reference)?,
        None => inventory.default_template(config.template.as_ref())?,
    };
    let id = found.manifest.id();
    Ok(TemplateRef { name: id.name, version: Some(id.version) })
}

/// The version that is installed for this VM; none in a dry run.
fn to_install(target: &Config, pipeline: &str, dry_run: bool) -> Result<Option<TemplateRef>> {
    if !dry_run {
        return installed(target, pipeline).map(Some);
    }
    ui::note(&format!(
        "`tpl build {pipeline}` would install a version for this VM alone: `tpl build {pipeline} --dry-run` shows how"
    ));
    ensure_local(target).map(|()| None)
}

/// Installs the system once more: a version that nobody else has a clone of yet.
///
/// # Errors
/// [`Refusal`]: the hypervisor is another machine. Or as for `tpl build`.
fn installed(target: &Config, pipeline: &str) -> Result<TemplateRef> {
    ensure_local(target)?;
    let id = Opened::new(target)?.with(|world| build::version(world, target, &build_args(pipeline)))?;
    Ok(TemplateRef { name: id.name, version: Some(id.version) })
}

fn ensure_local(target: &Config) -> Result<()> {
    if is_local(&target.uri) {
        return Ok(());
    }
    Err(elsewhere(target.hypervisor()).into())
}

fn elsewhere(name: &str) -> Refusal {
    let reason = format!("{name} is another machine, and an installation needs files of the hypervisor's own");
    Refusal::new(reason).advise("run tpl on it; or take a template, which is sent there: --template")
}

fn build_args(pipeline: &str) -> BuildArgs {
    BuildArgs {
        pipeline: pipeline.to_owned(),
        resume: false,
        if_changed: false,
        dry_run: false,
        keep_failed: false,
        iso: None,
        image: None,
        arch: None,
        mirror: std::env::var("TPL_DEBIAN_MIRROR").ok(),
        offline: false,
        security_mirror: std::env::var("TPL_DEBIAN_SECURITY_MIRROR").ok(),
        allow_unsigned: false,
    }
}

/// One clone with a random name, all that was asked for, and `/var` on a disk of its own.
fn clone_args(args: &CreateVmArgs, template: TemplateRef) -> CloneArgs {
    let data = ExtraDisk {
        size: gib(args.datadisk),
        fs: Some(FileSystem::Ext4),
        label: None,
        mount: DATA.parse().ok(),
        options: None,
        force: false,
        moved: true,
    };
    CloneArgs {
        template: Some(template),
        names: NameArgs { count: 1, name: None, numbers: None, list: Vec::new(), random: true },
        linked: false,
        // One that was installed for this VM stands on nothing that others use.
        full: args.install.is_some(),
        snapshot_size: None,
        size: SizeArgs {
            vcpus: Some(args.cpu),
            topology: None,
            memory: Some(ByteSize::mib(u64::from(args.ram))),
            disk: Some(gib(args.osdisk)),
            add_disks: vec![data],
            firmware: None,
            force: None,
        },
        net: NetArgs {
            bridge: None,
            ip: None,
            addressing: None,
            prefix: None,
            gateway: None,
            nameservers: Vec::new(),
            search: vec![args.domain.clone()],
            mac: None,
        },
        guest: GuestArgs {
            user: Some(args.username.clone()),
            ssh_keys: args.ssh_keys.clone(),
            password_hash_file: None,
            users: Vec::new(),
            packages: Vec::new(),
            timezone: None,
            locale: None,
            apt_mirror: None,
            write_files: Vec::new(),
            runcmd: Vec::new(),
            user_data: None,
        },
        autostart: false,
        description: None,
        snapshot: None,
        seed: None,
        no_start: false,
        spread: false,
        pack: false,
        // SSH answers with the VM's own key only once /var is on its disk.
        work: WorkArgs { wait: Until::Ssh, timeout: args.timeout, jobs: 1, keep_going: false, timings: None },
        keep_failed: false,
        known_hosts: None,
        dry_run: args.dry_run,
    }
}

fn gib(count: u32) -> ByteSize {
    ByteSize::mib(u64::from(count) * 1024)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{
        cli::{Cli, Command},
        core::{config, error::exit_code, extra_disks},
    };

    const ASKED: [&str; 16] = [
        "tpl",
        "create-vm",
        "--hypervisor",
        "admin@hv1",
        "--username",
        "op",
        "--domain",
        "lab.example",
        "--cpu",
        "2",
        "--ram",
        "1024",
        "--osdisk",
        "20",
        "--datadisk",
        "5",
    ];

    fn parsed(further: &[&str]) -> Result<CreateVmArgs, clap::Error> {
        match Cli::try_parse_from(ASKED.iter().chain(further))?.command {
            Command::CreateVm(args) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_are_mebibytes_and_gibibytes() {
        let args = clone_args(&parsed(&[]).unwrap(), "debian13".parse().unwrap());
        assert_eq!(
            (args.size.vcpus, args.size.memory, args.size.disk),
            (Some(2), Some(ByteSize(1 << 30)), Some(ByteSize(20 << 30)))
        );
        let [disk] = args.size.add_disks.as_slice() else { panic!("{:?}", args.size.add_disks) };
        assert_eq!((disk.size, disk.moved, disk.mount.as_ref().unwrap().as_str()), (ByteSize(5 << 30), true, "/var"));
        extra_disks::check(&args.size.add_disks).unwrap();
        assert!(args.names.random && !args.full);
        assert!(clone_args(&parsed(&["--install", "debian13"]).unwrap(), "debian13".parse().unwrap()).full);
    }

    #[test]
    fn what_means_something_elsewhere_is_refused() {
        let swaps = [
            (3, "admin@hv1;x"),
            (3, "$(x)"),
            (5, "op x"),
            (5, "Op"),
            (7, "lab.example;x"),
            (9, "0"),
            (11, "1G"),
            (13, "-1"),
            (15, "5GB"),
        ];
        for (index, word) in swaps {
            let mut words = ASKED;
            words[index] = word;
            assert!(Cli::try_parse_from(words).is_err(), "{word}");
        }
        assert!(parsed(&["--install", "a", "--template", "b"]).is_err());
    }

    #[test]
    fn the_domain_is_that_of_all_who_are_told() {
        let named = |text: &str| {
            let mut config = config::parse("c", text).unwrap().complete(&Default::default()).unwrap();
            let done = in_domain(&mut config, &"lab.example".parse().unwrap());
            let domains = config.dns.iter().map(|(name, dns)| format!("{name}: {}", dns.domain().map_or("-", |d| d.as_str())));
            done.map(|()| domains.collect::<Vec<_>>().join(", "))
        };
        assert_eq!(named("").unwrap(), "network: lab.example");
        let file = "[dns.a]\nkind = 'hosts-file'\nfile = '/a'\npid_file = '/p'\n";
        assert_eq!(named(file).unwrap(), "a: lab.example");
        let two = format!("{file}[dns.b]\nkind = 'libvirt'\ndomain = 'other.example'\n");
        let error = named(&two).unwrap_err();
        let expected = "DNS provider b is for the domain other.example, and the VM is to be in lab.example\n\
                        name that domain by --domain, or another provider in the configuration";
        assert_eq!((error.to_string().as_str(), exit_code(&error)), (expected, 3));
    }

    #[test]
    fn only_this_machine_installs() {
        let at = |uri: &str| config::parse("c", &format!("uri = '{uri}'")).unwrap().complete(&Default::default()).unwrap();
        assert!(ensure_local(&at("qemu:///system")).is_ok());
        let error = ensure_local(&at("qemu+ssh://admin@hv1/system")).unwrap_err();
        assert_eq!(exit_code(&error), 3);
    }
}
