//! `tpl build --resume`: the newest unfinished build of a template, taken up behind the last state that it reached.

use anyhow::{Result, bail};

use super::Build;
use crate::{
    cli::BuildArgs,
    cmd::{kvm, pipelines::AnswerFile, undo::Undo, world::World},
    core::{build_plan::BuildPlan, domain, error::Refusal, inventory::Template, manifest::State, names::TemplateId},
    ui,
};

/// Finds the build to go on with.
///
/// # Errors
/// [`Refusal`]: there is none, or it was begun with another pipeline or other answers.
pub fn find<'a>(world: World<'a>, mut plan: BuildPlan, answers: Option<AnswerFile>, answers_digest: String) -> Result<Build<'a>> {
    let inventory = world.inventory()?;
    let unfinished = |template: &&Template| template.manifest.name == plan.id.name && template.manifest.state < State::Published;
    let Some(template) = inventory.templates.iter().rfind(unfinished) else {
        return Err(Refusal::new(format!("no unfinished build of {} is there to resume", plan.id.name))
            .advise(format!("`{}` begins one", plan.command()))
            .into());
    };
    let mut manifest = template.manifest.clone();
    let id = manifest.id();
    let inputs = &manifest.inputs;
    if inputs.pipeline_digest != plan.pipeline_digest || inputs.answers_digest != answers_digest {
        return Err(Refusal::new(format!("{id} was begun with another pipeline or other answers than there are now"))
            .advise(format!("`{}` begins anew, `tpl prune` removes the old one", plan.command()))
            .into());
    }
    plan.id = TemplateId { name: id.name, version: id.version };
    // From now on this run is at work on it, and prune leaves it alone.
    manifest.run = world.local.run().clone();
    let build = Build {
        world,
        accelerator: kvm::accelerator_of(&template.domain.xml)?,
        uuid: template.domain.uuid,
        answers,
        manifest,
        plan,
    };
    build.write()?;
    ui::note(&format!("resuming {}, which is {}", build.plan.id, build.manifest.state.as_str()));
    Ok(build)
}

impl<'a> Build<'a> {
    /// Goes on to the end.
    ///
    /// # Errors
    /// As for a build from the beginning.
    pub fn go_on(&mut self, args: &BuildArgs) -> Result<()> {
        if self.manifest.state == State::Building {
            match self.plan.installation() {
                Some(_) => self.take_up_install(args)?,
                None => self.bring_in_again(args)?,
            }
        }
        self.finish()
    }

    /// The installer does not need tpl: it may still run, or have come to its end alone.
    fn take_up_install(&mut self, args: &BuildArgs) -> Result<()> {
        let undo = self.removal();
        let outcome = self.stage("install", |build, progress| {
            let name = build.plan.id.domain();
            let logs = [domain::installer_log(&name), domain::console_log(&name)];
            let hypervisor = build.world.hypervisor;
            let silent =
                logs.iter().try_fold(true, |silent, log| Ok::<_, anyhow::Error>(silent && hypervisor.log_length(log)? == 0));
            if silent? && !build.world.hypervisor.state(&name)?.is_some_and(crate::core::facts::DomainState::is_active) {
                bail!("its installer had not begun yet");
            }
            build.watch(progress)
        });
        self.end_install(outcome, undo, args.keep_failed)
    }

    /// What undoes all that has been made, by this run or by another one.
    pub(super) fn removal(&self) -> Undo<'a> {
        let world = self.world;
        let mut undo = Undo::default();
        let domain = self.plan.id.domain();
        let name = domain.clone();
        undo.push_domain(&domain, move || world.hypervisor.undefine(&name));
        for volume in self.plan.volumes() {
            undo.push(&domain, format!("removing volume {volume}"), move || world.remove_volume(&volume));
        }
        let name = domain.clone();
        undo.push(&domain, format!("stopping domain {domain}"), move || world.hypervisor.power_off(&name));
        undo
    }
}
