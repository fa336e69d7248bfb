//! The stage `boot test`: a throw-away linked clone must become ready, as the machine that it was made to be.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use uuid::Uuid;

use super::Build;
use crate::{
    cmd::clone::{
        Made, ready, roll_back,
        sites::Sites,
        vm::Vm,
        work::{Work, only},
    },
    core::{
        capacity::Policy,
        clone_plan::{self, ClonePlan, Facts, VmRequest},
        error::Refusal,
        guest::Guest,
        manifest::Purpose,
        names::{TemplateRef, VmName},
        placement::Placed,
        progress::Progress,
        ready::Until,
        seed::machine_id,
        ssh_key::parse_public_keys,
        vm_spec::VmSpec,
    },
    host::{identity::LoginKey, reach::Login},
};

/// How long between two attempts to log in.
const PAUSE: Duration = Duration::from_secs(2);
/// Waits for cloud-init, where there is one. Its exit code is 2 for a recoverable fault, such as a deprecated key: still done. As root, who can ask systemd also
/// where there is no D-Bus: without an answer cloud-init waits for ever. Units that
/// have failed come last: there must be none.
const CLOUD_INIT: &str = "sudo -n cloud-init status --wait >/dev/null; test $? -ne 1 && ";
const QUESTION: &str = "hostname && cat /etc/machine-id && sudo -n systemctl --failed --plain --no-legend";

impl<'a> Build<'a> {
    /// Boots a clone, logs in, compares, and removes it, whatever came out.
    pub(super) fn boot_test(&mut self, progress: &dyn Progress) -> Result<()> {
        let key = LoginKey::generate()?;
        let vms = self.boot_clone(&key, progress)?;
        progress.update("logging in", Some(90));
        let outcome = vms.iter().try_for_each(|vm| self.compare(&vm.made, &key, progress));
        // Removing the clone is the same whether it was good or not; what remains is reported either way.
        match outcome {
            Ok(()) => {
                let done = roll_back(vms, anyhow::anyhow!("the boot test was good, and its clone could not be removed"));
                match done.downcast::<crate::core::error::UndoIncomplete>() {
                    Ok(incomplete) => Err(incomplete.into()),
                    Err(_) => Ok(()),
                }
            }
            Err(error) => Err(roll_back(vms, error)),
        }
    }

    fn boot_clone(&self, key: &LoginKey, progress: &dyn Progress) -> Result<Vec<Vm<'a>>> {
        let keys = parse_public_keys(&key.public).map_err(|_| anyhow::anyhow!("making a login key"))?;
        let guest = Guest { keys, ..Guest::default() };
        let work = Work {
            title: "boot test",
            sites: Sites::one(self.world, Policy::default()),
            jobs: 1,
            keep_going: false,
            keep_failed: false,
            quiet: true,
            start: true,
            until: Until::Ssh,
            timeout: self.plan.machine.boot_deadline.0,
        };
        progress.update("booting", Some(5));
        let prepared = work.prepare(&|facts| self.test_plan(&guest, only(facts)?).map(Placed::from), &mut Vec::new());
        // What would be a refusal of a call is a failure here: an installation has been made.
        prepared.map_err(|error| if error.is::<Refusal>() { anyhow::anyhow!("{error:#}") } else { error })
    }

    fn test_plan(&self, guest: &Guest, facts: &Facts) -> Result<ClonePlan> {
        let reference = TemplateRef { name: self.plan.id.name.clone(), version: Some(self.plan.id.version.clone()) };
        let template = facts.inventory.find(&reference)?;
        // Random, for two templates may be tested at the same time.
        let name = format!("tpl-test-{}", &Uuid::new_v4().simple().to_string()[..8]).parse().map_err(anyhow::Error::msg)?;
        let request = VmRequest { name, template, spec: &VmSpec::default(), guest };
        // It lives for minutes: a full hypervisor must not cost an installation.
        clone_plan::plan(&[request], Purpose::BootTest, Some("a boot test"), facts, &mut Uuid::new_v4)
    }

    fn compare(&self, clone: &Made, key: &LoginKey, progress: &dyn Progress) -> Result<()> {
        let name: &VmName = &clone.planned.name;
        let file = key.file()?;
        let login = Login { user: &clone.record.user, key: file.path(), deadline: self.plan.machine.boot_deadline.0 };
        let address = clone.addresses.first().copied().context("the clone has lost its address")?;
        let host_key = ready::host_key(&clone.host_key.public);
        let wait = if clone.planned.origin.has_cloud_init() { CLOUD_INIT } else { "" };
        let question = format!("{wait}{QUESTION}");
        let end = self.world.local.now() + login.deadline;
        let answer = loop {
            match self.world.reach.command(address, &host_key, &login, &question)? {
                Ok(answer) => break answer,
                // cloud-init may restart the SSH server while it does its work.
                Err(_) if self.world.local.now() < end => self.world.local.sleep(PAUSE),
                Err(reason) => bail!("logging in to {address} as {}: {reason}", login.user),
            }
            self.world.local.go_on()?;
        };
        let expected = format!("{name}\n{}\n", machine_id(clone.planned.uuid));
        if let Some(failed) = answer.strip_prefix(&expected).filter(|failed| self.plan.copy().is_some() && !failed.is_empty()) {
            // Somebody else has set the guest up, and may know of it.
            let units: Vec<_> = failed.lines().filter_map(|line| line.split_whitespace().next()).collect();
            progress.note(&format!("units of the guest that have failed: {}", units.join(", ")));
            return Ok(());
        }
        ensure!(answer == expected, "the clone is not who it should be: it says {answer:?}, and should say {expected:?}");
        Ok(())
    }
}
