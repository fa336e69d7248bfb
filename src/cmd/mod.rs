//! One file a verb: read arguments, gather facts, plan, act, report.

pub mod adopt;
pub mod all;
pub mod apply;
pub mod build;
pub mod cache;
pub mod capacity;
pub mod clone;
pub mod create_vm;
pub mod destroy;
pub mod dns;
pub mod docs;
pub mod doctor;
pub mod export;
pub mod host;
pub mod import;
pub mod key;
pub mod kvm;
pub mod list;
pub mod metadata;
pub mod parallel;
pub mod pipelines;
pub mod promote;
pub mod prune;
pub mod push;
pub mod remote;
pub mod remove;
pub mod rm;
pub mod schema;
pub mod seal_ops;
pub mod seen;
pub mod settings;
pub mod show;
pub mod signature;
pub mod timings;
pub mod transfer;
pub mod undo;
pub mod validate;
pub mod verify;
pub mod vms;
pub mod world;

use anyhow::{Context as _, Result};

use crate::{
    cli::{Cli, Command},
    core::config::Config,
};
use clone::sites::{Site, Sites};

/// Runs the command that was given.
///
/// # Errors
/// The command's; `core::error::exit_code` has the exit code for it.
pub fn run(cli: &Cli) -> Result<()> {
    let output = cli.global.output;
    match &cli.command {
        Command::SealOps => return seal_ops::run(output),
        Command::Host(command) => return host::run(&cli.global, command, output),
        Command::Metadata(command) => return metadata::run(&cli.global, command, output),
        Command::CreateVm(args) => return create_vm::run(&cli.global, args, output),
        Command::Schema(args) => return schema::run(args),
        Command::Timings(args) => return timings::run(args, output),
        Command::Completions { shell } => return docs::completions(*shell),
        Command::Man { folder } => return docs::man(folder),
        Command::List(args) if args.all => return list::run_all(settings::load_each(&cli.global)?, args.timeout, output),
        Command::Vms(args) if args.all => return vms::run_all(settings::load_each(&cli.global)?, args.timeout, output),
        Command::Capacity(args) if args.all => {
            return capacity::run_all(settings::load_each(&cli.global)?, args.timeout, output);
        }
        _ => {}
    }
    if cli.global.on.len() > 1
        && let Command::Clone(_) | Command::Destroy(_) = &cli.command
    {
        return on_several(cli, &settings::load_named(&cli.global)?);
    }
    let config = settings::load(&cli.global)?;
    match &cli.command {
        Command::Doctor => return doctor::run(&config, output),
        Command::Validate(args) => return validate::run(&config, args, output),
        Command::Cache(command) => return cache::run(&config, command, output),
        Command::Key(command) => return key::run(&config, command, output),
        Command::Push(args) => return push::push(&config, &settings::load_others(&cli.global, &args.to)?, args, output),
        Command::Pull(args) => {
            let source = settings::load_others(&cli.global, std::slice::from_ref(&args.from))?;
            return push::pull(&source, &config, args, output);
        }
        _ => {}
    }
    world::Opened::new(&config)?.with(|world| match &cli.command {
        Command::Build(args) => build::run(world, &config, args, output),
        Command::Adopt(args) => adopt::run(world, &config, args, output),
        Command::Clone(args) => clone::run(world, &config, args, output),
        Command::Apply(args) => apply::run(world, &config, args, output),
        Command::List(_) => list::run(world, output),
        Command::Show(args) => show::run(world, args, output),
        Command::Vms(_) => vms::run(world, output),
        Command::Capacity(_) => capacity::run(world, config.policy, output),
        Command::Verify(args) => verify::run(world, &config, args, output),
        Command::Export(args) => export::run(world, args, output),
        Command::Import(args) => import::run(world, &config, args, output),
        Command::Promote(args) => promote::run(world, args, output),
        Command::Rm(args) => rm::run(world, args, output),
        Command::Destroy(args) => destroy::run(world, args, output),
        Command::Prune(args) => prune::run(world, args, output),
        Command::Cache(_)
        | Command::Key(_)
        | Command::Push(_)
        | Command::Pull(_)
        | Command::Doctor
        | Command::Host(_)
        | Command::CreateVm(_)
        | Command::Metadata(_)
        | Command::Validate(_)
        | Command::Schema(_)
        | Command::SealOps
        | Command::Timings(_)
        | Command::Completions { .. }
        | Command::Man { .. } => Ok(()),
    })
}

/// Runs a command that works on several hypervisors at once.
fn on_several(cli: &Cli, configs: &[Config]) -> Result<()> {
    let output = cli.global.output;
    world::Opened::all(configs)?.with_each(|worlds| {
        let mut all = worlds.iter().zip(configs).map(|(world, config)| Site { world: *world, policy: config.policy });
        let first = all.next().context("no hypervisor is named")?;
        let sites = Sites::of(first, all);
        match &cli.command {
            Command::Clone(args) => clone::run_on(&sites, &configs.iter().collect::<Vec<_>>(), args, output),
            Command::Destroy(args) => destroy::run_on(&sites, args, output),
            _ => Ok(()),
        }
    })
}
