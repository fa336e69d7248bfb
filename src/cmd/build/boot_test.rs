//! The stage `boot test`: a throw-away linked clone must become ready, as the machine that it was made to be.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use uuid::Uuid;

use super::Build;
use crate::{
    cmd::{
        clone::make::{self, Made},
        undo::Undo,
    },
    core::{
        clone_plan::{self, ClonePlan, CloneRequest},
        manifest::Purpose,
        names::{TemplateRef, VmName},
        progress::Progress,
        seed::machine_id,
        ssh_key::parse_public_keys,
    },
    host::{identity::LoginKey, reach::Login},
};

/// How long between two attempts to log in.
const PAUSE: Duration = Duration::from_secs(2);
/// cloud-init's exit code is 2 for a recoverable fault, such as a deprecated key: still done. As root, who can ask systemd also
/// where there is no D-Bus: without an answer cloud-init waits for ever. Units that
/// have failed come last: there must be none.
const QUESTION: &str = "sudo -n cloud-init status --wait >/dev/null; test $? -ne 1 && hostname && cat /etc/machine-id && \
    sudo -n systemctl --failed --plain --no-legend";

impl<'a> Build<'a> {
    /// Boots a clone, logs in, compares, and removes it, whatever came out.
    pub(super) fn boot_test(&mut self, progress: &dyn Progress) -> Result<()> {
        let mut undo = Undo::default();
        let outcome = self.boot_clone(&mut undo, progress);
        // Removing the clone is the same whether it was good or not; what remains is reported either way.
        match outcome {
            Ok(()) => {
                let done = undo.roll_back(anyhow::anyhow!("the boot test was good, and its clone could not be removed"));
                if let Ok(incomplete) = done.downcast::<crate::core::error::UndoIncomplete>() {
                    return Err(incomplete.into());
                }
            }
            Err(error) => return Err(undo.roll_back(error)),
        }
        Ok(())
    }

    fn boot_clone(&self, undo: &mut Undo<'a>, progress: &dyn Progress) -> Result<()> {
        let world = self.world;
        // What would be a refusal of a call is a failure here: an installation has been made.
        let plan = self.test_plan().map_err(|error| anyhow::anyhow!("{error:#}"))?;
        let key = LoginKey::generate()?;
        let keys = parse_public_keys(&key.public).map_err(|_| anyhow::anyhow!("making a login key"))?;
        let mut made = make::define(world, &plan, undo)?;
        make::disks(world, &plan, &made, &keys, undo)?;
        progress.update("booting", Some(5));
        make::start(world, &made, undo)?;
        make::wait_ready(world, &mut made, self.plan.pipeline.install.boot_deadline.0, progress)?;
        progress.update("logging in", Some(90));
        made.iter().try_for_each(|clone| self.compare(clone, &key))
    }

    fn test_plan(&self) -> Result<ClonePlan> {
        let facts = self.world.facts()?;
        let reference = TemplateRef { name: self.plan.id.name.clone(), version: Some(self.plan.id.version.clone()) };
        let template = facts.inventory.find(&reference)?;
        // Random, for two templates may be tested at the same time.
        let name = format!("tpl-test-{}", make::short(Uuid::new_v4()));
        let request = CloneRequest {
            count: 1,
            names: Some(name.parse().map_err(anyhow::Error::msg)?),
            linked: true,
            vcpus: None,
            memory: None,
            disk: None,
            user: None,
            network: None,
            purpose: Purpose::BootTest,
        };
        clone_plan::plan(&request, template, &facts, &mut Uuid::new_v4)
    }

    fn compare(&self, clone: &Made, key: &LoginKey) -> Result<()> {
        let name: &VmName = &clone.planned.name;
        let file = key.file()?;
        let login = Login { user: &clone.record.user, key: file.path(), deadline: self.plan.pipeline.install.boot_deadline.0 };
        let address = clone.addresses.first().copied().context("the clone has lost its address")?;
        let host_key = make::host_key_without_comment(&clone.host_key.public);
        let end = self.world.local.now() + login.deadline;
        let answer = loop {
            match self.world.reach.command(address, &host_key, &login, QUESTION)? {
                Ok(answer) => break answer,
                // cloud-init may restart the SSH server while it does its work.
                Err(_) if self.world.local.now() < end => self.world.local.sleep(PAUSE),
                Err(reason) => bail!("logging in to {address} as {}: {reason}", login.user),
            }
            self.world.local.go_on()?;
        };
        let expected = format!("{name}\n{}\n", machine_id(clone.planned.uuid));
        ensure!(answer == expected, "the clone is not who it should be: it says {answer:?}, and should say {expected:?}");
        Ok(())
    }
}
