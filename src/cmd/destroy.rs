//! `tpl destroy`: removes VMs that tpl made.

mod fleet;

use std::collections::BTreeSet;

use anyhow::{Error, Result};
use serde::Serialize;

use crate::{
    cli::{DestroyArgs, Output},
    cmd::{clone::sites::Sites, remove, world::World},
    core::{
        capacity::Policy,
        error::{Invalid, Refusal},
        inventory::{Clone, Inventory},
        manifest::elsewhere,
        names::VmName,
    },
    ui,
};

#[derive(Debug, Serialize)]
struct Report<'a> {
    destroyed: Vec<&'a str>,
    /// Where each of them was, if the call had several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hypervisors: Vec<&'a str>,
    dry_run: bool,
}

/// Runs `tpl destroy`.
///
/// # Errors
/// A VM that is not there, or is not tpl's: then none is removed.
pub fn run(world: World<'_>, args: &DestroyArgs, output: Output) -> Result<()> {
    if let Some(file) = &args.fleet {
        return fleet::run(world, args, file, output);
    }
    run_on(&Sites::one(world, Policy::default()), args, output)
}

/// The same over several hypervisors: each VM is on one of them.
///
/// # Errors
/// As for [`run`]; a fleet, or a VM that is on two of them.
pub fn run_on(sites: &Sites<'_>, args: &DestroyArgs, output: Output) -> Result<()> {
    if args.fleet.is_some() {
        return Err(Invalid::argument("--fleet: a fleet is on one hypervisor\nname one with --on").into());
    }
    let inventories = sites.inventories()?;
    let mut destroyed = Vec::new();
    for (site, clone) in chosen(sites, &inventories, &args.vms)? {
        if !args.dry_run {
            let removed = sites.of_one(site, remove::clone(sites.world(site), clone));
            removed.map_err(|error| behind(&destroyed, error))?;
        }
        destroyed.push((clone.record.name.as_str(), sites.name(site)));
    }
    let several = sites.are_several();
    match output {
        Output::Json => ui::json(&Report {
            destroyed: destroyed.iter().map(|(name, _)| *name).collect(),
            hypervisors: destroyed.iter().filter(|_| several).map(|(_, hypervisor)| *hypervisor).collect(),
            dry_run: args.dry_run,
        }),
        Output::Text => {
            let verb = if args.dry_run { "would be destroyed" } else { "destroyed" };
            let line = |(name, hypervisor): &(&str, &str)| match several {
                true => format!("{name} {verb} on {hypervisor}\n"),
                false => format!("{name} {verb}\n"),
            };
            ui::data(&destroyed.iter().map(line).collect::<String>())
        }
    }
}

/// A failure behind others that went well.
fn behind(destroyed: &[(&str, &str)], error: Error) -> Error {
    let gone: Vec<&str> = destroyed.iter().map(|(name, _)| *name).collect();
    if gone.is_empty() { error } else { error.context(format!("behind {}, which is destroyed", gone.join(", "))) }
}

/// The VMs that are meant, each with its hypervisor; all that cannot be destroyed are said at once.
fn chosen<'a>(sites: &Sites<'_>, inventories: &'a [Inventory], names: &[VmName]) -> Result<Vec<(usize, &'a Clone)>, Refusal> {
    let (mut clones, mut reasons): (Vec<(usize, &Clone)>, Vec<String>) = Default::default();
    let mut seen = BTreeSet::new();
    // Named twice is meant once.
    for name in names.iter().filter(|name| seen.insert(name.as_str())) {
        let of_name = |inventory: &'a Inventory| inventory.clones.iter().find(|clone| clone.record.name == *name);
        let found: Vec<_> =
            inventories.iter().enumerate().filter_map(|(site, inventory)| Some((site, of_name(inventory)?))).collect();
        let foreign = inventories.iter().position(|inventory| inventory.names.contains(name.as_str()));
        match (found.as_slice(), foreign) {
            ([(site, clone)], _) => match elsewhere(name, &clone.record.pool, sites.world(*site).storage.pool()) {
                None => clones.push((*site, *clone)),
                Some(reason) => reasons.push(format!("{reason}: name it with --pool {}", clone.record.pool)),
            },
            ([], None) if sites.are_several() => reasons.push(format!("there is no VM {name} on {}", sites.names(", "))),
            ([], None) => reasons.push(format!("there is no VM {name}")),
            ([], Some(site)) => {
                let place = sites.label(site).map_or(String::new(), |label| format!(" on {label}"));
                reasons.push(format!("{name}{place} does not carry tpl's metadata: tpl has not made it, and leaves it alone"));
            }
            (several, _) => {
                let places: Vec<&str> = several.iter().map(|(site, _)| sites.name(*site)).collect();
                reasons.push(format!("{name} is on {}: name the one that is meant with --on", places.join(" and on ")));
            }
        }
    }
    if reasons.is_empty() {
        return Ok(clones);
    }
    Err(Refusal { reasons, advice: Some("nothing has been destroyed; `tpl vms` lists what could be".to_owned()) })
}
