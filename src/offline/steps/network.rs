//! The network cards, in the words of whatever configures the network in this guest.

use anyhow::Result;

use crate::offline::{
    Scene, Step,
    network::{Change, Kind, kind},
};

pub(super) const STEP: Step = Step { name: "network", run };

fn run(scene: &Scene<'_>) -> Result<()> {
    if scene.identity.cards.is_empty() {
        return Ok(());
    }
    for change in kind(scene)?.changes(scene)? {
        let Change { path, text, mode } = change;
        scene.put(&path, text.as_bytes(), mode)?;
    }
    Ok(())
}

impl Kind {
    fn changes(self, scene: &Scene<'_>) -> Result<Vec<Change>> {
        let (uuid, cards) = (scene.identity.uuid, &scene.identity.cards);
        match self {
            Self::Netplan => Ok(crate::offline::network::netplan(cards)),
            Self::NetworkManager => Ok(crate::offline::network::keyfiles(uuid, cards)),
            Self::Networkd => Ok(crate::offline::network::networkd(cards)),
            Self::Ifupdown => crate::offline::network::ifupdown(scene, cards),
            Self::Scripts => crate::offline::network::scripts(scene, cards),
        }
    }
}
