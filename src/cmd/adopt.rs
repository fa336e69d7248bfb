//! `tpl adopt`: a template of a VM's copy. The VM is read, and nothing of it is changed: its definition, its disk and its UEFI
//! variables stay as they are.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::{
    cli::{AdoptArgs, Output},
    cmd::{build, remote, world::World},
    core::{
        build_plan::{BuildPlan, Wishes},
        config::Config,
        error::{Invalid, Refusal},
        manifest::{Inputs, SourceFile},
        names::{TemplateId, UserName, Version},
        pipeline::Seal,
        trust::Trust,
        units::ByteSize,
        vm_spec::Label,
        xml::adopt::Original,
    },
    seal::Selection,
};

/// Stands for the user who is found in the guest only.
const PLACEHOLDER: &str = "operator";

/// Runs `tpl adopt`.
///
/// # Errors
/// A refusal changes nothing. A copy that fails is removed; a failure behind it leaves what `--resume` goes on with.
pub fn run(world: World<'_>, config: &Config, args: &AdoptArgs, output: Output) -> Result<()> {
    let plan = plan(world, config, args)?;
    if args.dry_run {
        return build::dry_run(world, &plan, output);
    }
    let lock = world.local.lock(&format!("build {} {}", world.hypervisor.uri(), plan.id.name), Duration::ZERO)?;
    let _lock = lock.map_err(|holder| Refusal::new(format!("{} is being built already, by {holder}", plan.id.name)))?;
    build::preflight(world, &plan, args.resume)?;
    let inputs = inputs(&plan)?;
    build::adopt(world, plan, inputs, trust(&args.domain), (args.resume, args.keep_failed), output)
}

/// Looks at the VM, and decides.
fn plan(world: World<'_>, config: &Config, args: &AdoptArgs) -> Result<BuildPlan> {
    let why = "a VM's disk is copied on the hypervisor itself";
    remote::refuse(world.hypervisor.name(), world.hypervisor.uri(), why, "run tpl there")?;
    let seal = Seal { enable: args.enable.clone(), disable: args.disable.clone(), shrink: !args.no_shrink };
    Selection::new(&seal.enable, &seal.disable)?;
    let domain = world.hypervisor.domain(&args.domain)?.ok_or_else(|| Original::missing(&args.domain))?;
    let original = Original::of(&domain, args.disk.as_ref().map(Label::as_str))?;
    // Once it is copied it may run again; whoever copies looks for himself.
    if !args.resume {
        Original::ensure_off(&args.domain, Some(domain.state), world.hypervisor.has_saved_memory(&args.domain)?)?;
    }
    let path = build::path_of(world, &original.source)?;
    let disk = world.images.layers(&path, original.format)?;
    if args.memory.is_some_and(|memory| memory < ByteSize::mib(128)) {
        return Err(Invalid::argument("--memory: a clone needs at least 128 MiB of memory").into());
    }
    if args.disk_size.is_some_and(|size| size.0 < disk.size) {
        let message = format!("--disk-size: the VM's own disk has {}, and a clone's is at least as large", ByteSize(disk.size));
        return Err(Invalid::argument(message).into());
    }
    let wishes = Wishes {
        user: args.user.clone(),
        seal,
        keep: usize::from(args.keep),
        vcpus: args.vcpus,
        memory: args.memory,
        disk: args.disk_size,
    };
    let placeholder: UserName = PLACEHOLDER.parse().map_err(Invalid::argument)?;
    let id = TemplateId { name: args.name.clone(), version: Version::of(world.local.now()) };
    Ok(BuildPlan::adopting(id, original, disk.size, wishes, placeholder, config)?)
}

/// What it is made of: the VM, and its definition's digest.
fn inputs(plan: &BuildPlan) -> Result<Inputs> {
    let copy = plan.copy().context("there is no VM to adopt")?;
    let digest = build::hex_digest(&copy.xml).parse().map_err(anyhow::Error::msg)?;
    let source = SourceFile { url: format!("domain {} {}", copy.domain, copy.uuid), digest };
    let (pipeline_digest, answers_digest) = (plan.pipeline_digest.clone(), build::hex_digest(""));
    Ok(Inputs { pipeline_digest, answers_digest, sources: vec![source] })
}

fn trust(domain: &str) -> Trust {
    Trust::Unsigned { reason: format!("a copy of the VM {domain}") }
}
