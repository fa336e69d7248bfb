//! From what a call asks for to its plan, on one hypervisor or over several.

use std::path::Path;

use anyhow::Result;
use uuid::Uuid;

use super::{check_guest, sites::Sites, wishes, work::only};
use crate::{
    cli::CloneArgs,
    cmd::{remote, signature},
    core::{
        clone_plan::{self, Facts, VmRequest, holder_of},
        config::Config,
        error::Refusal,
        guest::Guest,
        manifest::Purpose,
        names::VmName,
        placement::{self, Candidate, Placed, Strategy},
        ready::Until,
        signing::PublicKey,
        vm_spec::VmSpec,
    },
    host::guest_files,
};

/// What a call asks for, read from its flags and the files that they name.
pub(super) struct Call<'a> {
    args: &'a CloneArgs,
    /// Of each hypervisor, in the order in which they were named.
    hypervisors: Vec<(&'a Config, VmSpec)>,
    guest: Guest,
    /// The keys by one of which a template must be signed, where that is asked for.
    signers: Option<Vec<PublicKey>>,
}

impl<'a> Call<'a> {
    pub(super) fn read(configs: &[&'a Config], args: &'a CloneArgs) -> Result<Self> {
        let specs = configs.iter().map(|config| Ok((*config, wishes::spec(args, config)?)));
        let hypervisors: Vec<(&Config, VmSpec)> = specs.collect::<Result<_>>()?;
        // What guests are told is the same on all.
        let told = hypervisors.first().map(|(_, spec)| spec.guest.clone()).unwrap_or_default();
        let guest = wishes::with_keys(guest_files::resolve(&told, Path::new("."))?)?;
        Ok(Self { args, hypervisors, guest, signers: None })
    }

    /// Looks whether templates must be signed, and by whom.
    ///
    /// # Errors
    /// The trusted keys cannot be read.
    pub(super) fn ask_for_signatures(&mut self, sites: &Sites<'_>) -> Result<()> {
        // Who is trusted is said for all hypervisors alike.
        let first = self.hypervisors.first().zip(sites.iter().next());
        if let Some(((config, _), (_, site))) = first {
            self.signers = signature::required_keys(site.world, config)?;
        }
        Ok(())
    }

    /// Plans the call by the facts of each of its hypervisors.
    ///
    /// # Errors
    /// As for [`clone_plan::plan`] and [`placement::plan`].
    pub(super) fn plan(&self, facts: &[Facts]) -> Result<Placed> {
        match self.hypervisors.as_slice() {
            [(config, spec)] => self.plan_one(config, spec, only(facts)?),
            _ => self.plan_several(facts),
        }
    }

    fn plan_one(&self, config: &Config, spec: &VmSpec, facts: &Facts) -> Result<Placed> {
        let template = match &self.args.template {
            Some(reference) => facts.inventory.find(reference)?,
            None => facts.inventory.default_template(config.template.as_ref())?,
        };
        signature::ensure_cloneable(self.signers.as_deref(), &template.manifest)?;
        check_guest(template, spec, &self.guest, self.args.work.wait)?;
        template.manifest.ensure_pool(&config.pool)?;
        remote::check_clones(config, template, self.until())?;
        let naming = wishes::naming(self.args, &template.manifest.name)?;
        let names = naming.choose(&|name| holder_of(name, facts), &mut Uuid::new_v4)?;
        let specs = wishes::deal(spec, names.len());
        let requests = self.requests(&names, template, &specs);
        clone_plan::plan(&requests, Purpose::Clone, self.forced(), facts, &mut Uuid::new_v4).map(Placed::from)
    }

    fn plan_several(&self, facts: &[Facts]) -> Result<Placed> {
        let named: Vec<(&str, &Facts)> =
            self.hypervisors.iter().zip(facts).map(|((config, _), facts)| (config.hypervisor(), facts)).collect();
        let configured = self.hypervisors.first().and_then(|(config, _)| config.template.as_ref());
        let (candidates, mut notes) = placement::candidates(self.args.template.as_ref(), configured, &named)?;
        let (candidates, refused) = self.reachable(candidates);
        notes.extend(refused);
        let Some(first) = candidates.first() else {
            let advice = "run tpl on one of the hypervisors, or name others".to_owned();
            return Err(Refusal { reasons: notes, advice: Some(advice) }.into());
        };
        let naming = wishes::naming(self.args, &first.template.manifest.name)?;
        // A name is free where no hypervisor of the call has it, whether it can have VMs or not.
        let holder = |name: &str| {
            named.iter().find_map(|(hypervisor, facts)| Some(format!("{} on {hypervisor}", holder_of(name, facts)?)))
        };
        let names = naming.choose(&holder, &mut Uuid::new_v4)?;
        let specs: Vec<Vec<VmSpec>> =
            candidates.iter().map(|one| wishes::deal_macs(wishes::deal(self.spec(one), names.len()))).collect();
        for candidate in &candidates {
            signature::ensure_cloneable(self.signers.as_deref(), &candidate.template.manifest)?;
            check_guest(candidate.template, self.spec(candidate), &self.guest, self.args.work.wait)?;
        }
        let requests: Vec<Vec<VmRequest<'_>>> =
            candidates.iter().zip(&specs).map(|(one, specs)| self.requests(&names, one.template, specs)).collect();
        let strategy = if self.args.pack { Strategy::Pack } else { Strategy::Spread };
        placement::plan(strategy, &candidates, &requests, self.forced(), facts.len(), notes, &mut Uuid::new_v4)
    }

    /// Those on which clones can be made from here, and why not on the others.
    fn reachable<'f>(&self, candidates: Vec<Candidate<'f>>) -> (Vec<Candidate<'f>>, Vec<String>) {
        let mut reasons = Vec::new();
        let mut reachable = candidates;
        reachable.retain(|one| {
            let Some((config, _)) = self.hypervisors.get(one.site) else { return false };
            let elsewhere = one.template.manifest.ensure_pool(&config.pool).err();
            let mut against = elsewhere.map_or_else(Vec::new, |refusal| refusal.reasons);
            against.extend(remote::against_clones(config, one.template, self.until()));
            reasons.extend(against.iter().map(|reason| format!("{} gets no VM: {reason}", one.name)));
            against.is_empty()
        });
        (reachable, reasons)
    }

    fn requests<'r>(
        &'r self,
        names: &[VmName],
        template: &'r crate::core::inventory::Template,
        specs: &'r [VmSpec],
    ) -> Vec<VmRequest<'r>> {
        let each = names.iter().zip(specs);
        each.map(|(name, spec)| VmRequest { name: name.clone(), template, spec, guest: &self.guest }).collect()
    }

    fn spec(&self, candidate: &Candidate<'_>) -> &VmSpec {
        &self.hypervisors[candidate.site].1
    }

    fn forced(&self) -> Option<&str> {
        self.args.size.force.as_ref().map(|reason| reason.as_str())
    }

    /// VMs that are not started are not waited for.
    fn until(&self) -> Until {
        if self.args.no_start { Until::None } else { self.args.work.wait }
    }
}
