//! What clones are made from: a template, as far as they need it.

use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::Facts;
use crate::core::{
    build_plan::suffix,
    domain::Accelerator,
    error::Refusal,
    inventory::Template,
    manifest::{IdentityMethod, Purpose, State},
    names::TemplateId,
    network::Plug,
    units::ByteSize,
    vm_spec::{Firmware, VmSpec},
    xml::read::domain_facts,
};

/// A template, as far as its clones need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Name and version.
    pub id: TemplateId,
    /// Its content digest.
    pub digest: String,
    /// Its domain XML.
    pub xml: String,
    /// Its volume, by name.
    pub volume: String,
    /// Its volume's path.
    pub path: String,
    /// The `<target dev>` of its system disk.
    pub target: String,
    /// The virtual size of its volume.
    pub virtual_size: ByteSize,
    /// vCPUs of its clones, by default.
    pub vcpus: u32,
    /// Memory of its clones, by default.
    pub memory: ByteSize,
    /// The system disk of its clones, by default.
    pub disk: ByteSize,
    /// How its clones learn who they are.
    pub identity: IdentityMethod,
    /// What starts its boot loader.
    pub firmware: Firmware,
    /// The file with its UEFI variables, if it has one.
    pub nvram: Option<String>,
    /// What its first network card is plugged into; none, if that is neither a network nor a bridge.
    pub plug: Option<Plug>,
    /// How many network cards it has.
    pub cards: usize,
    /// How its CPUs are made: an appliance for its clones' disks is as fast as they are.
    pub accelerator: Accelerator,
}

/// The origin that a template is: the same one for all its clones.
pub(super) fn shared(known: &mut Vec<Arc<Origin>>, template: &Template, purpose: Purpose) -> Result<Arc<Origin>> {
    let id = template.manifest.id();
    if let Some(origin) = known.iter().find(|origin| origin.id == id) {
        return Ok(Arc::clone(origin));
    }
    let origin = Arc::new(of(template, purpose)?);
    known.push(Arc::clone(&origin));
    Ok(origin)
}

fn of(template: &Template, purpose: Purpose) -> Result<Origin> {
    let manifest = &template.manifest;
    let id = manifest.id();
    let digest = usable(template, purpose)?.to_owned();
    let domain = domain_facts(&template.domain.xml).with_context(|| format!("reading template {id}"))?;
    let system = domain.disks.iter().find(|disk| disk.device == "disk");
    let system = system.with_context(|| format!("template {id} has no disk"))?;
    let path = system.source.as_ref().and_then(|source| source.path());
    let path = path.with_context(|| format!("the disk of template {id} has no file"))?;
    Ok(Origin {
        digest,
        xml: template.domain.xml.clone(),
        volume: id.domain(),
        path: path.to_owned(),
        target: system.target.clone(),
        virtual_size: manifest.virtual_size,
        vcpus: domain.vcpus,
        memory: domain.memory,
        disk: manifest.clone.disk.max(manifest.virtual_size),
        identity: manifest.identity,
        firmware: domain.firmware,
        nvram: domain.nvram,
        plug: domain.plug,
        cards: domain.interfaces,
        accelerator: if domain.domain_type == "kvm" { Accelerator::Kvm } else { Accelerator::Tcg },
        id,
    })
}

/// The digest of a template that can be cloned.
fn usable(template: &Template, purpose: Purpose) -> Result<&str, Refusal> {
    let manifest = &template.manifest;
    let needed = if purpose == Purpose::BootTest { State::Sealed } else { State::Published };
    let usable = manifest.state >= needed;
    manifest.digest.as_deref().filter(|_| usable).ok_or_else(|| {
        Refusal::new(format!("template {} is not finished: it is {}", manifest.id(), manifest.state.as_str()))
            .advise(format!("`tpl build {} --resume` goes on with it", manifest.name))
    })
}

impl Origin {
    /// Whether its clones read a seed.
    pub fn has_cloud_init(&self) -> bool {
        self.identity == IdentityMethod::NoCloud
    }

    /// That its clones can have what its firmware needs. UEFI variables are a file, as large as the firmware wants it to be to the
    /// byte: a logical volume never is.
    pub(super) fn check_variables(&self, facts: &Facts) -> Result<(), Refusal> {
        let own = format!("{}{}", self.volume, suffix::NVRAM);
        if !facts.pool.kind.is_logical() || !facts.volumes.iter().any(|volume| volume.name == own) {
            return Ok(());
        }
        Err(Refusal::new(format!("template {} keeps UEFI variables, which are a file, and its clones' pool is logical", self.id))
            .advise("clone it in a directory pool"))
    }

    /// Whether it can make such a VM at all.
    pub(super) fn check(&self, spec: &VmSpec) -> Result<(), Refusal> {
        match spec.firmware {
            Some(wanted) if wanted != self.firmware => {
                let (wanted, have) = (wanted.as_str(), self.firmware.as_str());
                Err(Refusal::new(format!(
                    "template {} was built for {have}, and its boot loader does not start from {wanted}",
                    self.id
                ))
                .advise(format!("name a template that was built for {wanted}")))
            }
            _ => Ok(()),
        }
    }
}
