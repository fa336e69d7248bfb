//! `tpl build`: install or take an image, seal + shrink, verify, boot test, publish.
//!
//! Each stage ends with a write of the next state into the domain's metadata; that write is the commit point, and `--resume`
//! goes on behind the last one. Nothing before `publish` touches the current version.

mod boot_test;
mod given;
mod image;
mod install;
mod publish;
pub mod resume;
pub mod seal;

pub(super) use image::{build_space, path_of, scratch};

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    cli::{BuildArgs, Output},
    cmd::{
        kvm,
        pipelines::{self, AnswerFile, Loaded},
        remote,
        undo::Undo,
        world::World,
    },
    core::{
        build_plan::{BuildPlan, Choices},
        check,
        clone_plan::check_names,
        config::Config,
        domain::Accelerator,
        error::{Advised, Refusal},
        manifest::{IdentityMethod, Inputs, Manifest, Metadata, SourceFile, StageTime, State},
        names::{TemplateId, Version},
        progress::Progress,
        signing::{KeyId, Signature},
        source::Arch,
        trust::Trust,
        vm_spec::Firmware,
    },
    host::{
        process,
        source::{Access, Resolved, Wanted, mirror},
    },
    ui::{self, StageLine},
};

/// A build under way.
pub struct Build<'a> {
    world: World<'a>,
    plan: BuildPlan,
    answers: Option<AnswerFile>,
    accelerator: Accelerator,
    manifest: Manifest,
    uuid: Uuid,
}

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    name: &'a str,
    version: &'a str,
    digest: Option<&'a str>,
    virtual_size: u64,
    changed: bool,
    signed_by: Option<KeyId>,
    stages: &'a [StageTime],
}

/// Runs `tpl build`.
///
/// # Errors
/// A refusal or a bad pipeline changes nothing. A failed installation is removed, unless it is to be kept; a failure behind it
/// leaves what `--resume` goes on with.
pub fn run(world: World<'_>, config: &Config, args: &BuildArgs, output: Output) -> Result<()> {
    begin(world, config, args, output)?.map_or(Ok(()), |build| build.report(output))
}

/// The same, for a command that needs the version: which it is.
///
/// # Errors
/// As for [`run`]; or nothing was to be built.
pub fn version(world: World<'_>, config: &Config, args: &BuildArgs) -> Result<TemplateId> {
    let built = begin(world, config, args, Output::Text)?;
    Ok(built.context("nothing was built")?.plan.id)
}

/// Builds, unless nothing is to be built: then that is printed.
fn begin<'a>(world: World<'a>, config: &Config, args: &BuildArgs, output: Output) -> Result<Option<Build<'a>>> {
    let loaded = pipelines::load(&args.pipeline, config)?;
    let choices = choices(args, &loaded, config);
    let id = TemplateId { name: loaded.name.clone(), version: Version::of(world.local.now()) };
    let plan = BuildPlan::new(id, loaded.pipeline.clone(), loaded.digest.clone(), config, &choices)?;
    // What an installer would not take, or would stop at, must be found before anything is touched.
    let answers_digest = answers_digest(&plan, loaded.answers.as_ref())?;
    if plan.arch != Arch::Amd64 {
        let reason = format!("templates for {} are not built here", plan.arch);
        return Err(Refusal::new(reason).advise("`tpl cache fetch --arch` fetches their sources").into());
    }
    // A build that is resumed has its files in the pool.
    if !args.resume {
        given::look(&plan)?;
    }
    if args.dry_run && !args.if_changed {
        return dry_run(world, &plan, output).map(|()| None);
    }
    let lock = world.local.lock(&format!("build {} {}", world.hypervisor.uri(), plan.id.name), Duration::ZERO)?;
    let _lock = lock.map_err(|holder| Refusal::new(format!("{} is being built already, by {holder}", plan.id.name)))?;
    preflight(world, &plan, args.resume)?;
    if args.resume {
        let mut build = resume::find(world, plan, loaded.answers, answers_digest)?;
        return build.go_on(args).map(|()| Some(build));
    }
    let resolved = resolve(world, &plan, access(args))?;
    let inputs = inputs(&plan, answers_digest, &resolved);
    if args.if_changed {
        let inventory = world.inventory()?;
        let current = inventory.current(&plan.id.name).map(|template| &template.manifest);
        if let Some(manifest) = current.filter(|manifest| manifest.inputs == inputs) {
            ui::note(&format!("unchanged: {} is of this pipeline, these answers and these sources", manifest.id()));
            return report(manifest, false, output).map(|()| None);
        }
    }
    if args.dry_run {
        return dry_run(world, &plan, output).map(|()| None);
    }
    let is_installed = plan.installation().is_none();
    let mut build = Build::new(world, plan, loaded.answers, inputs, resolved.trust.clone())?;
    if is_installed {
        build.bring_in(Some((&resolved, access(args))), args.keep_failed)?;
    } else {
        build.install(args, &resolved)?;
    }
    build.finish()?;
    Ok(Some(build))
}

/// Makes a template of a VM's copy, or goes on with one: what `tpl adopt` has planned.
///
/// # Errors
/// As for [`run`].
pub(super) fn adopt(
    world: World<'_>,
    plan: BuildPlan,
    inputs: Inputs,
    trust: Trust,
    (resume, keep_failed): (bool, bool),
    output: Output,
) -> Result<()> {
    let mut build = if resume {
        resume::find(world, plan, None, inputs.answers_digest)?
    } else {
        Build::new(world, plan, None, inputs, trust)?
    };
    if build.manifest.state == State::Building {
        build.bring_in(None, keep_failed)?;
    }
    build.finish()?;
    build.report(output)
}

/// SHA-256 of the rendered answer file, with a fixed text in the place of what is random in each build. Of nothing where there is
/// no answer file.
fn answers_digest(plan: &BuildPlan, file: Option<&AnswerFile>) -> Result<String> {
    let (Some(install), Some(file)) = (plan.installation(), file) else { return Ok(hex_digest("")) };
    let variables = install.variables(plan.arch, plan.machine.firmware);
    Ok(hex_digest(&check::answers::check(&file.path, &file.text, install.answers.kind, &variables)?))
}

/// Finds the source's files, and who vouches for them.
fn resolve(world: World<'_>, plan: &BuildPlan, access: Access) -> Result<Resolved> {
    let line = StageLine::begin("mirror");
    let request = plan.request().context("there is nothing to look for")?;
    let resolved = world.source.resolve(request, access, &line)?;
    line.done();
    Ok(resolved)
}

fn access(args: &BuildArgs) -> Access {
    if args.offline { Access::Offline } else { Access::Online }
}

fn choices(args: &BuildArgs, loaded: &Loaded, config: &Config) -> Choices {
    let (mirror, mirror_named) = debian_mirror(args.mirror.clone(), loaded, config);
    let security_mirror = args.security_mirror.clone().or_else(|| config.debian_security_mirror.clone());
    let (arch, iso, image) = (args.arch, args.iso.clone(), args.image.clone());
    Choices { mirror, mirror_named, security_mirror, allow_unsigned: args.allow_unsigned, arch, iso, image }
}

/// The Debian mirror for a pipeline, if one is known, and whether an operator has named it.
pub(super) fn debian_mirror(named: Option<String>, loaded: &Loaded, config: &Config) -> (Option<String>, bool) {
    let pipeline = loaded.pipeline.source.mirror.as_ref().map(|mirror| mirror.as_str().to_owned());
    let named = named.or(pipeline).or_else(|| config.debian_mirror.clone());
    let is_named = named.is_some();
    (named.or_else(|| mirror::of_machine(std::path::Path::new("/"))), is_named)
}

pub(super) fn dry_run(world: World<'_>, plan: &BuildPlan, output: Output) -> Result<()> {
    // Whether there is a pool is another matter: a plan needs none.
    if let Ok(pool) = world.storage.size() {
        check_names(&pool, plan.volumes().iter().map(String::as_str))?;
    }
    match output {
        Output::Text => ui::data(&plan.describe()),
        Output::Json => {
            let id = &plan.id;
            ui::json(&serde_json::json!({"dry_run": true, "name": id.name, "version": id.version, "plan": plan.describe()}))
        }
    }
}

/// Everything that can be seen to be missing before anything is made. A build that is resumed has its disk already.
pub(super) fn preflight(world: World<'_>, plan: &BuildPlan, resumed: bool) -> Result<()> {
    // Its disks and logs are opened by their paths.
    let why = "a template is built on the hypervisor itself: `tpl push` brings it to others";
    let mut reasons: Vec<String> = remote::reason(world.hypervisor.name(), world.hypervisor.uri(), why).into_iter().collect();
    for name in plan.networks() {
        match world.hypervisor.network(name)? {
            Some(network) if network.active => {}
            Some(_) => reasons.push(format!("network {name} is not running: `virsh net-start {name}` starts it")),
            None => reasons.push(format!("network {name} does not exist")),
        }
    }
    if plan.machine.firmware == Firmware::Uefi && !world.hypervisor.has_uefi()? {
        let package = "Debian and Ubuntu have it in the package ovmf, the Red Hat family in edk2-ovmf";
        reasons.push(format!("install.firmware is uefi, and the emulator has no such firmware: {package}"));
    }
    // Found now rather than after an hour.
    world.keys.signer()?;
    let pool = world.storage.size()?;
    check_names(&pool, plan.volumes().iter().map(String::as_str))?;
    let (free, needed) = (pool.available, build_space(&pool, plan.space()));
    if !resumed && free < needed {
        reasons.push(format!("pool {} has {free} free, and the build may need {needed}", plan.pool));
    }
    if pool.kind.is_logical() && plan.copy().is_some_and(|copy| copy.nvram.is_some()) {
        reasons.push(format!(
            "the VM has UEFI variables, which are a file, and pool {} is logical: name another with --pool",
            plan.pool
        ));
    }
    let missing = process::ALL.iter().filter(|program| program.path().is_none());
    reasons.extend(missing.map(|program| format!("{} is not installed", program.name())));
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Refusal { reasons, advice: Some("`tpl doctor` checks this host and says what to do".to_owned()) }.into())
}

fn inputs(plan: &BuildPlan, answers_digest: String, resolved: &Resolved) -> Inputs {
    Inputs { pipeline_digest: plan.pipeline_digest.clone(), answers_digest, sources: source_files(resolved) }
}

fn source_files(resolved: &Resolved) -> Vec<SourceFile> {
    let file = |(_, wanted): &(_, Wanted)| SourceFile { url: wanted.location(), digest: wanted.digest() };
    resolved.files.iter().map(file).collect()
}

pub(super) fn hex_digest(text: &str) -> String {
    crate::core::digest::hex(&Sha256::digest(text))
}

impl<'a> Build<'a> {
    fn new(world: World<'a>, plan: BuildPlan, answers: Option<AnswerFile>, inputs: Inputs, trust: Trust) -> Result<Self> {
        let accelerator = kvm::accelerator(world).context("looking whether KVM works")?;
        if accelerator == Accelerator::Tcg {
            ui::note("warning: KVM does not work here, so VMs are emulated, which is slow; `tpl doctor` says more");
        }
        let mut tools = world.hypervisor.versions()?;
        tools.insert("tpl".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        tools.insert("libguestfs".to_owned(), (world.appliance)(accelerator).version()?);
        let manifest = Manifest {
            name: plan.id.name.clone(),
            version: plan.id.version.clone(),
            state: State::Building,
            run: world.local.run().clone(),
            created_at: world.local.now(),
            promoted_at: None,
            inputs,
            trust,
            digest: None,
            virtual_size: plan.machine.disk,
            volumes: plan.volumes(),
            pool: plan.pool.clone(),
            os: None,
            packages: Vec::new(),
            identity: IdentityMethod::NoCloud,
            clone: plan.clone_defaults(),
            operations: Vec::new(),
            invariants: Vec::new(),
            stages: Vec::new(),
            tools,
            hardware: None,
            signature: None,
        };
        Ok(Self { world, plan, answers, accelerator, manifest, uuid: Uuid::new_v4() })
    }

    /// Runs one stage under a progress line, and notes how long it took.
    fn stage<T>(&mut self, name: &str, work: impl FnOnce(&mut Self, &dyn Progress) -> Result<T>) -> Result<T> {
        self.world.local.go_on()?;
        let line = StageLine::begin(name);
        let outcome = work(self, &line).with_context(|| format!("building {}: {name}", self.plan.id))?;
        let seconds = (line.done().as_secs_f64() * 1000.0).round() / 1000.0;
        self.manifest.stages.push(StageTime { name: name.to_owned(), seconds });
        Ok(outcome)
    }

    /// From nothing to `installed`, through an installer.
    fn install(&mut self, args: &BuildArgs, resolved: &Resolved) -> Result<()> {
        let files = self.stage("source", |build, progress| build.world.source.fetch(resolved, access(args), progress))?;
        let mut undo = Undo::default();
        let outcome = self.stage("install", |build, progress| {
            build.begin_install(&files, &mut undo, progress)?;
            build.watch(progress)
        });
        self.end_install(outcome, undo, args.keep_failed)
    }

    fn end_install(&mut self, outcome: Result<()>, undo: Undo<'_>, keep_failed: bool) -> Result<()> {
        match outcome.and_then(|()| self.advance(State::Installed)) {
            Ok(()) => {
                // What fails from here on costs no installation any more.
                undo.commit();
                Ok(())
            }
            Err(error) if keep_failed => {
                undo.commit();
                let advice = format!("the VM {} is kept, as you asked; `tpl prune` removes it", self.plan.id.domain());
                Err(Advised::new(error, advice).into())
            }
            Err(error) => Err(undo.roll_back(error)),
        }
    }

    /// From `installed`, or a later state, to `published`.
    fn finish(&mut self) -> Result<()> {
        let (id, command) = (self.plan.id.clone(), self.plan.command());
        self.stages_behind_install().map_err(|error| {
            let advice = match self.manifest.state {
                State::Published => format!("{id} is published all the same, and the current version"),
                state => {
                    format!("what is done is kept: `{command} --resume` goes on from {}, `tpl prune` removes it", state.as_str())
                }
            };
            Advised::new(error, advice).into()
        })
    }

    fn stages_behind_install(&mut self) -> Result<()> {
        if self.manifest.state == State::Installed {
            self.discard_media()?;
            self.stage("seal", Self::seal)?;
            self.stage("verify", Self::verify)?;
            self.sealed()?;
        }
        if self.manifest.state == State::Sealed {
            self.stage("boot test", Self::boot_test)?;
            self.advance(State::Tested)?;
        }
        if self.manifest.state == State::Tested {
            self.stage("publish", |build, _| build.publish())?;
        }
        self.stage("retention", |build, _| build.retain())
    }

    /// Writes the next state: the commit point of the stage before. Where the write fails, this build is not there yet either.
    fn advance(&mut self, state: State) -> Result<()> {
        let reached = std::mem::replace(&mut self.manifest.state, state);
        self.write().inspect_err(|_| self.manifest.state = reached)
    }

    /// Writes the manifest into the domain's metadata.
    fn write(&self) -> Result<()> {
        let metadata = Metadata::Template(Box::new(self.manifest.clone()));
        self.world.hypervisor.write_metadata(&self.plan.id.domain(), &metadata)
    }

    fn report(&self, output: Output) -> Result<()> {
        report(&self.manifest, true, output)
    }
}

fn report(manifest: &Manifest, changed: bool, output: Output) -> Result<()> {
    let id = manifest.id();
    let digest = manifest.digest.as_deref();
    match output {
        Output::Json => ui::json(&Report {
            name: id.name.as_str(),
            version: id.version.as_str(),
            digest,
            virtual_size: manifest.virtual_size.0,
            changed,
            signed_by: manifest.signature.as_ref().and_then(Signature::claimed),
            stages: &manifest.stages,
        }),
        Output::Text => {
            let kind = if changed { "published" } else { "current" };
            let total: f64 = manifest.stages.iter().map(|stage| stage.seconds).sum();
            ui::data(&format!(
                "{kind} {id}: {}, built in {:.0} s\ndigest {}\n`tpl clone {} --count 5` makes five VMs of it\n",
                manifest.virtual_size,
                total,
                digest.unwrap_or("none"),
                id.name
            ))
        }
    }
}
