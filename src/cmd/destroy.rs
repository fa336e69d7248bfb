//! `tpl destroy`: removes VMs that tpl made.

mod fleet;

use anyhow::Result;
use serde::Serialize;

use crate::{
    cli::{DestroyArgs, Output},
    cmd::{remove, world::World},
    core::{
        error::Refusal,
        inventory::{Clone, Inventory},
        names::VmName,
    },
    ui,
};

#[derive(Debug, Serialize)]
struct Report<'a> {
    destroyed: Vec<&'a str>,
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
    let inventory = world.inventory()?;
    let clones = chosen(&inventory, &args.vms)?;
    let mut destroyed = Vec::new();
    for clone in clones {
        if !args.dry_run {
            remove::clone(world, clone)?;
        }
        destroyed.push(clone.record.name.as_str());
    }
    match output {
        Output::Json => ui::json(&Report { destroyed, dry_run: args.dry_run }),
        Output::Text => {
            let verb = if args.dry_run { "would be destroyed" } else { "destroyed" };
            ui::data(&destroyed.iter().map(|name| format!("{name} {verb}\n")).collect::<String>())
        }
    }
}

/// The VMs that are meant; all that cannot be destroyed are said at once.
fn chosen<'a>(inventory: &'a Inventory, names: &[VmName]) -> Result<Vec<&'a Clone>, Refusal> {
    let (mut clones, mut reasons): (Vec<&Clone>, Vec<String>) = Default::default();
    for name in names {
        match inventory.clones.iter().find(|clone| clone.record.name == *name) {
            // Named twice is meant once.
            Some(clone) if !clones.iter().any(|chosen| chosen.record.name == *name) => clones.push(clone),
            Some(_) => {}
            None if inventory.names.contains(name.as_str()) => {
                reasons.push(format!("{name} does not carry tpl's metadata: tpl has not made it, and leaves it alone"));
            }
            None => reasons.push(format!("there is no VM {name}")),
        }
    }
    if reasons.is_empty() {
        return Ok(clones);
    }
    Err(Refusal { reasons, advice: Some("nothing has been destroyed; `tpl vms` lists what could be".to_owned()) })
}
