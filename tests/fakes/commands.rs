//! The commands, as an operator would call them, on a fake machine.

use std::{fs, sync::OnceLock};

use anyhow::{Error, Result};
use clap::Parser as _;
use tpl::{
    cli::{Cli, Command},
    cmd::{
        self,
        clone::sites::{Site, Sites},
        world::World,
    },
    core::{
        capacity::Policy,
        config::{Config, Signing},
    },
    ui::{self, Captured},
};

use super::{
    machine::{Machine, Pool},
    run::FakeRun,
};

const PIPELINE: &str = r#"description = "a test"
keep = 3
[source]
kind = "netboot"
suite = "trixie"
arch = "amd64"
[answers]
kind = "preseed"
file = "preseed/debian.cfg"
[install]
disk = "4G"
deadline = "60m"
[clone]
user = "debian"
memory = "512M"
disk = "8G"
"#;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJDYnDuuh7rnNYFBEgcsHmOPVXo4pQ5bEeoHc+C+n3Ml operator@here\n";

/// The least that a build takes.
const ANSWERS: &str = "d-i passwd/root-password-crypted password {{ root_password_hash }}\n\
                       d-i debian-installer/exit/poweroff boolean true\n";

impl Machine {
    /// A machine with the pipeline `debian13`, its answers, and an operator's key on it.
    pub fn prepared() -> Self {
        let machine = Self::new();
        let folder = machine.folder.path();
        fs::create_dir_all(folder.join("pipelines")).unwrap();
        fs::create_dir_all(folder.join("preseed")).unwrap();
        fs::write(folder.join("preseed/debian.cfg"), ANSWERS).unwrap();
        for (file, text) in [("key.pub", KEY), ("linux", "kernel"), ("initrd.gz", "initrd")] {
            fs::write(folder.join(file), text).unwrap();
        }
        machine.write_pipeline(PIPELINE);
        machine
    }

    /// The same with the first version published. The pipeline is shared with all the others.
    pub fn with_template() -> Self {
        Self::template_in(Pool::Directory)
    }

    /// The same in a pool of this kind.
    pub fn template_in(pool: Pool) -> Self {
        static BUILT: [OnceLock<Machine>; 3] = [const { OnceLock::new() }; 3];
        BUILT[pool as usize].get_or_init(|| Self::built(pool, true)).copy()
    }

    fn built(pool: Pool, cloud_init: bool) -> Self {
        let machine = Self::prepared();
        {
            let mut state = machine.state();
            (state.kind, state.cloud_init) = (pool, cloud_init);
        }
        machine.tpl("build debian13").unwrap();
        machine
    }

    /// The same with a template that has no cloud-init: the identity of its clones is written into their disks.
    pub fn with_offline_template() -> Self {
        Self::offline_template_in(Pool::Directory)
    }

    /// The same in a pool of this kind.
    pub fn offline_template_in(pool: Pool) -> Self {
        static BUILT: [OnceLock<Machine>; 3] = [const { OnceLock::new() }; 3];
        BUILT[pool as usize].get_or_init(|| Self::built(pool, false)).copy()
    }

    /// The same machine with files of its own.
    pub fn apart(&self) -> Self {
        let own = Self::prepared();
        *own.state() = self.state().clone();
        own
    }

    /// Changes the pipeline.
    pub fn edit_pipeline(&self, from: &str, to: &str) {
        assert!(PIPELINE.contains(from));
        self.write_pipeline(&PIPELINE.replace(from, to));
    }

    /// Puts a medium into the place of the archive, with an installer that reads such answers.
    pub fn install_from_medium(&self, kind: &str, medium: &[u8]) {
        let source = "kind = \"netboot\"\nsuite = \"trixie\"";
        let text = PIPELINE.replace(source, "kind = \"iso\"\nurl = \"https://v.example/medium.iso\"");
        let text = text.replace("kind = \"preseed\"", &format!("kind = \"{kind}\""));
        // The least that each installer takes, with the same words in it.
        let answers = match kind {
            "autoinstall" => "#cloud-config\nautoinstall:\n  version: 1\n  user-data: {}\n  shutdown: poweroff\n",
            "kickstart" => "autopart\npoweroff\n",
            _ => "",
        };
        let answers = format!("{answers}# {}", ANSWERS.lines().next().unwrap());
        fs::write(self.folder.path().join("preseed/debian.cfg"), answers).unwrap();
        assert_ne!(text, PIPELINE);
        self.write_pipeline(&text);
        fs::write(self.folder.path().join("medium.iso"), medium).unwrap();
    }

    fn write_pipeline(&self, text: &str) {
        fs::write(self.folder.path().join("pipelines/debian13.toml"), text).unwrap();
    }

    /// Runs a command in which nothing goes wrong outside.
    pub fn tpl(&self, line: &str) -> Result<Captured> {
        self.run().tpl(line)
    }
}

impl FakeRun {
    /// Runs `tpl` with these arguments; what it printed.
    pub fn tpl(&self, line: &str) -> Result<Captured> {
        let (result, printed) = self.attempt(line);
        result.map(|()| printed)
    }

    /// The same, with what it printed although it failed.
    pub fn attempt(&self, line: &str) -> (Result<()>, Captured) {
        ui::captured(|| self.with(|world| dispatch(self, world, line)))
    }
}

/// Runs a command over several hypervisors, as one process; what it printed.
pub fn tpl_on(runs: &[&FakeRun], line: &str) -> (Result<()>, Captured) {
    ui::captured(|| FakeRun::with_each(runs, |worlds| dispatch_on(runs, worlds, line)))
}

fn dispatch_on(runs: &[&FakeRun], worlds: &[World<'_>], line: &str) -> Result<()> {
    let configs: Vec<Config> = runs.iter().map(|run| config_of(&run.machine)).collect();
    let cli = parse(runs[0], line)?;
    let mut sites = worlds.iter().zip(&configs).map(|(world, config)| Site { world: *world, policy: config.policy });
    let sites = Sites::of(sites.next().unwrap(), sites);
    match cli.command {
        Command::Clone(args) => cmd::clone::run_on(&sites, &configs.iter().collect::<Vec<_>>(), &args, cli.global.output),
        Command::Destroy(args) => cmd::destroy::run_on(&sites, &args, cli.global.output),
        other => Err(Error::msg(format!("no command over several hypervisors: {other:?}"))),
    }
}

fn parse(run: &FakeRun, line: &str) -> Result<Cli> {
    let folder = run.machine.folder.path();
    let words: Vec<String> = line
        .split_whitespace()
        .map(|word| if word == "KEY" { folder.join("key.pub").display().to_string() } else { word.to_owned() })
        .collect();
    Ok(Cli::try_parse_from(std::iter::once("tpl".to_owned()).chain(words))?)
}

/// The configuration on a machine.
pub fn config_of(machine: &Machine) -> Config {
    let required = machine.state().require_signatures;
    Config {
        name: None,
        sudo: false,
        uri: machine.state().uri.to_owned(),
        pool: "default".to_owned(),
        thin_pool: None,
        network: "default".to_owned(),
        named_network: None,
        connect_timeout: "15s".parse().unwrap(),
        template: None,
        debian_mirror: Some("http://mirror.example/debian".to_owned()),
        debian_security_mirror: None,
        policy: Policy { cpu_overcommit: "8".parse().unwrap(), ..Policy::default() },
        cache: machine.folder.path().join("cache"),
        pipelines: None,
        dns: std::collections::BTreeMap::new(),
        signing: Signing { required, ..Signing::default() },
    }
}

fn dispatch(run: &FakeRun, world: World<'_>, line: &str) -> Result<()> {
    let folder = run.machine.folder.path();
    let (config, cli) = (config_of(&run.machine), parse(run, line)?);
    let output = cli.global.output;
    match cli.command {
        Command::Build(mut args) => {
            args.pipeline = folder.join(format!("pipelines/{}.toml", args.pipeline)).display().to_string();
            cmd::build::run(world, &config, &args, output)
        }
        Command::Adopt(args) => cmd::adopt::run(world, &config, &args, output),
        Command::Clone(args) => cmd::clone::run(world, &config, &args, output),
        Command::Vms(_) => cmd::vms::run(world, output),
        Command::Capacity(_) => cmd::capacity::run(world, config.policy, output),
        Command::Apply(mut args) => {
            args.file = folder.join(args.file);
            cmd::apply::run(world, &config, &args, output)
        }
        Command::Prune(args) => cmd::prune::run(world, &args, output),
        Command::Rm(args) => cmd::rm::run(world, &args, output),
        Command::Destroy(mut args) => {
            args.fleet = args.fleet.map(|file| folder.join(file));
            cmd::destroy::run(world, &args, output)
        }
        Command::Promote(args) => cmd::promote::run(world, &args, output),
        Command::Show(args) => cmd::show::run(world, &args, output),
        Command::Export(mut args) => {
            args.file = folder.join(args.file);
            cmd::export::run(world, &args, output)
        }
        Command::Import(mut args) => {
            args.file = folder.join(args.file);
            cmd::import::run(world, &config, &args, output)
        }
        Command::Verify(args) => cmd::verify::run(world, &config, &args, output),
        other => Err(Error::msg(format!("the fakes have no {other:?}"))),
    }
}
