//! A fleet's file, read, with what its VMs' guests are told; and from it the plan of what is to be made.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::Result;
use uuid::Uuid;

use crate::{
    cmd::{
        clone::{check_guest, has_login, with_own_keys},
        pipelines, remote, signature,
    },
    core::{
        clone_plan::{self, ClonePlan, Facts, VmRequest, holder_of},
        config::Config,
        error::{Finding, Invalid, Refusal},
        fleet::{self, Declared},
        guest::Guest,
        inventory::Template,
        manifest::Purpose,
        names::VmName,
        ready::Until,
        signing::PublicKey,
        vm_spec::{GuestSpec, Label, VmSpec},
    },
    host::guest_files,
    ui,
};

/// A fleet, with the contents of all files that it names.
pub struct Fleet {
    /// The file, as the operator names it.
    pub file: String,
    /// The VMs.
    pub vms: Vec<Declared>,
    guests: BTreeMap<VmName, Rc<Guest>>,
}

/// Reads what a file declares.
///
/// # Errors
/// [`Invalid`]: every fault of the file at once, each with its place.
pub fn read(path: &Path) -> Result<fleet::Fleet> {
    let file = path.display().to_string();
    let text = pipelines::read(path)?.ok_or_else(|| Invalid::file(&file, "there is no such file"))?;
    Ok(fleet::parse(&file, &text)?)
}

impl Fleet {
    /// Reads what a file declares, and all files that it names: relative ones are relative to its folder.
    ///
    /// # Errors
    /// As for [`read`], and every fault of the files that it names at once.
    pub fn read(path: &Path) -> Result<Self> {
        let (vms, file) = (read(path)?.vms, path.display().to_string());
        let folder: PathBuf = path.parent().unwrap_or(Path::new("")).to_owned();
        let (mut known, mut findings): (Vec<(&GuestSpec, Rc<Guest>)>, Vec<Finding>) = Default::default();
        let mut guests = BTreeMap::new();
        for vm in &vms {
            let spec = &vm.spec.guest;
            // Most VMs of a group are told the same: read it once, and say its faults once.
            let index = known.iter().position(|(told, _)| *told == spec);
            let index = index.map_or_else(
                || {
                    known.push((spec, guest(spec, &folder, &file, &vm.name, &mut findings)?));
                    anyhow::Ok(known.len() - 1)
                },
                Ok,
            )?;
            guests.insert(vm.name.clone(), Rc::clone(&known[index].1));
        }
        if !findings.is_empty() {
            return Err(Invalid { findings }.into());
        }
        Ok(Self { file, guests, vms })
    }

    /// What the guest of a VM is told.
    pub fn guest(&self, vm: &VmName) -> Option<&Guest> {
        self.guests.get(vm).map(Rc::as_ref)
    }

    fn invalid(&self, faults: Vec<String>) -> Invalid {
        let finding = |message| Finding { file: Some(self.file.clone()), at: None, message };
        Invalid { findings: faults.into_iter().map(finding).collect() }
    }
}

fn guest(spec: &GuestSpec, folder: &Path, file: &str, vm: &VmName, findings: &mut Vec<Finding>) -> Result<Rc<Guest>> {
    let read = guest_files::resolve(spec, folder).and_then(with_own_keys);
    match read.map_err(|error| error.downcast::<Invalid>()) {
        Ok(guest) => Ok(Rc::new(guest)),
        Err(Err(error)) => Err(error),
        Err(Ok(invalid)) => {
            findings.extend(invalid.findings.into_iter().map(|finding| match finding.file {
                Some(_) => finding,
                None => Finding { file: Some(file.to_owned()), message: format!("{vm}: {}", finding.message), ..finding },
            }));
            Ok(Rc::default())
        }
    }
}

/// What is to be made of a fleet.
pub struct Missing<'a> {
    /// The fleet.
    pub fleet: &'a Fleet,
    /// Those of its VMs that are missing, in its order.
    pub vms: Vec<&'a Declared>,
    /// What the operator has configured.
    pub config: &'a Config,
    /// What they are waited for.
    pub until: Until,
    /// Why there need be no room.
    pub forced: Option<&'a str>,
    /// The keys by one of which a template must be signed, where that is asked for.
    pub signers: Option<&'a [PublicKey]>,
}

impl Missing<'_> {
    /// Plans them all as one call.
    ///
    /// # Errors
    /// [`Invalid`] and [`Refusal`], as [`clone_plan::plan`].
    pub fn plan(&self, facts: &Facts) -> Result<ClonePlan> {
        self.names_are_free(facts)?;
        let templates = self.templates(facts)?;
        templates.iter().try_for_each(|template| signature::ensure_cloneable(self.signers, &template.manifest))?;
        self.guests_are_possible(&templates)?;
        templates.iter().try_for_each(|template| template.manifest.ensure_pool(&self.config.pool))?;
        templates.iter().try_for_each(|template| remote::check_clones(self.config, template, self.until))?;
        let specs = self.vms.iter().map(|vm| self.spec(vm)).collect::<Result<Vec<VmSpec>>>()?;
        let nothing = Guest::default();
        let requests: Vec<VmRequest<'_>> = self
            .vms
            .iter()
            .zip(&specs)
            .zip(&templates)
            .map(|((vm, spec), template)| VmRequest {
                name: vm.name.clone(),
                template,
                spec,
                guest: self.fleet.guest(&vm.name).unwrap_or(&nothing),
            })
            .collect();
        clone_plan::plan(&requests, Purpose::Clone, self.forced, facts, &mut Uuid::new_v4)
    }

    /// Says which snapshots are not taken by a call that starts nothing: no later call knows that they are still missing.
    pub fn warn_of_snapshots(&self) {
        for vm in self.vms.iter().filter(|vm| vm.spec.snapshot.is_some()) {
            ui::note(&format!("{}: its snapshot is not taken, for that is done when a VM that is made is ready", vm.name));
        }
    }

    fn names_are_free(&self, facts: &Facts) -> Result<(), Refusal> {
        let taken = |vm: &&Declared| Some(format!("'{}' is taken: {}", vm.name, holder_of(vm.name.as_str(), facts)?));
        let reasons: Vec<String> = self.vms.iter().filter_map(taken).collect();
        if reasons.is_empty() {
            return Ok(());
        }
        let file = &self.fleet.file;
        let advice = format!(
            "nothing has been touched; `tpl destroy --fleet {file} --disks` removes disks that VMs of these names have left, \
             and their contents: else declare other names"
        );
        Err(Refusal { reasons, advice: Some(advice) })
    }

    fn templates<'f>(&self, facts: &'f Facts) -> Result<Vec<&'f Template>, Refusal> {
        let mut refusal = Refusal { reasons: Vec::new(), advice: None };
        let mut found = Vec::with_capacity(self.vms.len());
        for vm in &self.vms {
            let template = match &vm.template {
                Some(reference) => facts.inventory.find(reference),
                None => facts.inventory.default_template(self.config.template.as_ref()),
            };
            match template {
                Ok(template) => found.push(template),
                Err(Refusal { reasons, advice }) => {
                    let new = reasons.into_iter().filter(|reason| !refusal.reasons.contains(reason)).collect::<Vec<_>>();
                    refusal.reasons.extend(new);
                    refusal.advice = refusal.advice.or(advice);
                }
            }
        }
        if refusal.reasons.is_empty() { Ok(found) } else { Err(refusal) }
    }

    /// That somebody can log in to each, and that its template can do what its guest is told.
    fn guests_are_possible(&self, templates: &[&Template]) -> Result<(), Invalid> {
        let (mut faults, nothing): (Vec<String>, Guest) = Default::default();
        for (vm, template) in self.vms.iter().zip(templates) {
            if self.fleet.guest(&vm.name).is_some_and(|guest| !has_login(guest)) {
                faults.push(format!(
                    "{}: nobody could log in: there is no public key in ~/.ssh, and `guest.ssh_key_files` names none",
                    vm.name
                ));
            }
            let guest = self.fleet.guest(&vm.name).unwrap_or(&nothing);
            if let Err(invalid) = check_guest(template, &vm.spec, guest, self.until) {
                faults.extend(invalid.findings.iter().map(|finding| format!("{}: {}", vm.name, finding.message)));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(self.fleet.invalid(faults)) }
    }

    /// What is asked of a VM, on the network that the call names, if its file names none.
    fn spec(&self, vm: &Declared) -> Result<VmSpec> {
        let mut spec = vm.spec.clone();
        if spec.network.is_none() && spec.bridge.is_none() {
            let named = self.config.named_network.as_deref();
            spec.network = named.map(str::parse::<Label>).transpose().map_err(Invalid::argument)?;
        }
        Ok(spec)
    }
}
