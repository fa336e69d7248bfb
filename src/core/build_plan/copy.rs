//! The plan of a template that is made of a VM's copy: `tpl adopt`.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{BuildPlan, Making};
use crate::core::{
    config::Config,
    digest::hex,
    error::Refusal,
    facts::VolumeFormat,
    names::{TemplateId, UserName},
    network::Plug,
    pipeline::{CloneSettings, Install, Seal},
    units::ByteSize,
    xml::{adopt::Original, read::DiskSource},
};

/// What is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyPlan {
    /// The VM.
    pub domain: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// Its definition, with what the template leaves out left out.
    pub xml: String,
    /// The disk: its `<target dev>`.
    pub target: String,
    /// Where the disk is.
    pub source: DiskSource,
    /// Its format.
    pub format: VolumeFormat,
    /// The file with its UEFI variables.
    pub nvram: Option<String>,
    /// What the first card of the template is plugged into.
    pub plug: Option<Plug>,
    /// What of the VM the template does not have, for people.
    pub left_out: Vec<String>,
    /// Whether who logs in is still to be found, in the guest.
    pub find_user: bool,
}

/// What the operator wants of an adoption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wishes {
    /// Who logs in to clones.
    pub user: Option<UserName>,
    /// What sealing does besides or instead of its defaults.
    pub seal: Seal,
    /// How many published versions stay.
    pub keep: usize,
    /// vCPUs of clones.
    pub vcpus: Option<u32>,
    /// Memory of clones.
    pub memory: Option<ByteSize>,
    /// The system disk of clones.
    pub disk: Option<ByteSize>,
}

impl BuildPlan {
    /// Plans the adoption of a VM whose disk has `size` bytes. `placeholder` stands for the user who is still to be found.
    ///
    /// # Errors
    /// [`Refusal`]: a network that is named, and nothing that could be plugged into it.
    pub fn adopting(
        id: TemplateId,
        original: Original,
        size: u64,
        wishes: Wishes,
        placeholder: UserName,
        config: &Config,
    ) -> Result<Self, Refusal> {
        // What the manifest compares when an unfinished adoption is taken up again.
        let wanted = format!("{:?}", (original.uuid, &original.target, &wishes.seal));
        let size = ByteSize(size.next_multiple_of(512));
        let plug = match &config.named_network {
            Some(network) => Some(Plug::Network(network.clone())),
            None => original.plug.clone(),
        };
        if original.cards == 0 {
            return Err(Refusal::new(format!("{} has no network card that a clone could have, too", original.domain))
                .advise("without one nothing can be known of a clone: `virsh attach-interface` gives the VM one"));
        }
        // A card in neither a network nor a bridge can be reached by nobody.
        let plug = plug.or_else(|| Some(Plug::Network(config.network.clone())));
        let find_user = wishes.user.is_none() && original.user.is_none();
        let clone = CloneSettings {
            user: wishes.user.or(original.user).unwrap_or(placeholder),
            vcpus: wishes.vcpus.unwrap_or(original.vcpus),
            memory: wishes.memory.unwrap_or(original.memory),
            disk: wishes.disk.unwrap_or(size).max(size),
        };
        let machine =
            Install { disk: size, memory: clone.memory, vcpus: clone.vcpus, firmware: original.firmware, ..Install::default() };
        Ok(Self {
            description: format!("a copy of the VM {}", original.domain),
            pipeline_digest: hex(&Sha256::digest(wanted)),
            machine,
            arch: original.arch,
            seal: wishes.seal,
            clone,
            keep: wishes.keep,
            pool: config.pool.clone(),
            network: config.network.clone(),
            making: Making::Copy(Box::new(CopyPlan {
                domain: original.domain,
                uuid: original.uuid,
                xml: original.xml,
                target: original.target,
                source: original.source,
                format: original.format,
                nvram: original.nvram,
                plug,
                left_out: original.left_out,
                find_user,
            })),
            id,
        })
    }
}
