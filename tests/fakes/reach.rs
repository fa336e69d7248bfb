//! Guests, from outside: a clone that runs answers with the host key that stands in its metadata.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use tpl::{
    core::{inventory::Inventory, seed::machine_id},
    host::reach::{Knock, Login, Reach},
};

use super::run::{FakeRun, Step};

impl Reach for FakeRun {
    fn port(&self, address: IpAddr, port: u16) -> Result<Option<String>> {
        self.step(Step::Knock, &format!("{address} {port}"))?;
        let state = self.machine.state();
        let answers = state.ready && state.domains.keys().any(|name| state.address(name) == Some(address));
        Ok((!answers).then(|| format!("no answer at {address} port {port}")))
    }

    fn knock(&self, address: IpAddr, host_key: &str) -> Result<Knock> {
        self.step(Step::Knock, "")?;
        let state = self.machine.state();
        if !state.ready {
            return Ok(Knock::NotYet(format!("no answer at {address} port 22")));
        }
        let inventory = Inventory::of(state.all_domains());
        let clone = inventory.clones.iter().find(|clone| state.address(&clone.domain.name) == Some(address));
        let Some(clone) = clone else { return Ok(Knock::NotYet(format!("no answer at {address} port 22"))) };
        let its_own = clone.record.ssh_host_keys[0].starts_with(host_key);
        Ok(if its_own { Knock::Ready } else { Knock::WrongKey })
    }

    fn command(&self, address: IpAddr, _: &str, _: &Login<'_>, _: &str) -> Result<Result<String, String>> {
        self.step(Step::LogIn, "")?;
        let state = self.machine.state();
        let domains = state.all_domains();
        let domain = domains.iter().find(|domain| state.address(&domain.name) == Some(address)).context("nobody is there")?;
        Ok(Ok(format!("{}\n{}\n", domain.name, machine_id(domain.uuid))))
    }
}
