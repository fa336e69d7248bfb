//! The stages `source` and `install`: the installer is fetched, and runs in a VM until it powers itself off.

use std::{
    fs::File,
    io::{Cursor, Read},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::Build;
use crate::{
    cmd::undo::Undo,
    core::{
        answers,
        build_plan::{MEDIA, suffix},
        cpio,
        domain::{self, InstallMedia, Network},
        facts::{DomainState, NewVolume, VolumeFormat},
        installer::{PATIENCE, Watch},
        progress::Progress,
        source::Role,
        units::Span,
    },
    host::{identity::random_password_hash, source::Fetched},
};

/// How long between two looks at the installer's logs.
const PAUSE: Duration = Duration::from_secs(1);
/// `priority=critical` asks nothing that has a default; the text frontend makes a question readable in the console's log. What
/// stands behind `---` goes into the installed system's own command line.
const CMDLINE: &str = "priority=critical DEBIAN_FRONTEND=text console=ttyS0,115200 --- console=ttyS0,115200";

impl<'a> Build<'a> {
    /// Defines the VM, gives it its volumes, and starts it.
    pub(super) fn begin_install(&mut self, files: &Fetched, undo: &mut Undo<'a>) -> Result<()> {
        let world = self.world;
        let name = self.plan.id.domain();
        let path = |suffix| world.storage.path_of(&self.plan.volume(suffix));
        let media = InstallMedia {
            kernel: path(suffix::KERNEL)?,
            initrd: path(suffix::INITRD)?,
            cmdline: CMDLINE.to_owned(),
            disk: path(suffix::BUILD)?,
            medium: None,
            answers: None,
        };
        let network = self.plan.installation().map_or(Network::User, |install| install.network.clone());
        let machine = self.plan.installer_machine(self.accelerator, network);
        let xml = domain::installing(&self.manifest, self.uuid, &machine, &media);
        world.hypervisor.define(&xml).with_context(|| format!("defining domain {name}"))?;
        let removed = name.clone();
        undo.push_domain(&name, move || world.hypervisor.undefine(&removed));
        self.store_media(files, undo)?;
        world.hypervisor.start(&name)?;
        let stopped = name.clone();
        undo.push(&name, format!("stopping domain {name}"), move || world.hypervisor.power_off(&stopped));
        Ok(())
    }

    fn store_media(&self, files: &Fetched, undo: &mut Undo<'a>) -> Result<()> {
        let world = self.world;
        let domain = self.plan.id.domain();
        let mut remove_on_undo = |volume: String| {
            undo.push(&domain, format!("removing volume {volume}"), move || world.storage.delete(&volume));
        };
        let disk = self.plan.volume(suffix::BUILD);
        let capacity = self.plan.machine.disk;
        world.storage.create(&NewVolume {
            name: &disk,
            capacity,
            format: VolumeFormat::Qcow2,
            backing: None,
            protected: false,
        })?;
        remove_on_undo(disk);
        let (mut kernel, length) = open(files.path(Role::Kernel)?)?;
        let volume = self.plan.volume(suffix::KERNEL);
        world.storage.store(&volume, length, &mut kernel)?;
        remove_on_undo(volume);
        let hash = random_password_hash()?;
        let answers = self.render(hash.expose())?;
        let archive = cpio::single_file("preseed.cfg", answers.as_bytes());
        let (initrd, length) = open(files.path(Role::Initrd)?)?;
        let padding = cpio::padding(length);
        let whole = length + padding + archive.len() as u64;
        let mut bytes = initrd.chain(std::io::repeat(0).take(padding)).chain(Cursor::new(archive));
        let volume = self.plan.volume(suffix::INITRD);
        world.storage.store(&volume, whole, &mut bytes)?;
        remove_on_undo(volume);
        Ok(())
    }

    /// The answer file with this password's hash in it.
    pub(super) fn render(&self, root_password_hash: &str) -> Result<String> {
        let (install, file) = self.plan.installation().zip(self.answers.as_ref()).context("there is no answer file")?;
        let variables = install.variables(self.plan.arch, self.plan.machine.firmware);
        Ok(answers::render(&file.path, &file.text, &answers::Variables { root_password_hash, ..variables })?)
    }

    /// Watches the installer to its end.
    pub(super) fn watch(&self, progress: &dyn Progress) -> Result<()> {
        let name = self.plan.id.domain();
        let (console, installer) = (domain::console_log(&name), domain::installer_log(&name));
        let mut watch = Watch::default();
        let mut read = (0, 0);
        let mut asked: Option<(String, jiff::Timestamp)> = None;
        let end = self.world.local.now() + self.plan.deadline().0;
        loop {
            let state = self.world.hypervisor.state(&name)?;
            self.follow(&console, &mut read.0, |bytes| watch.console(bytes))?;
            self.follow(&installer, &mut read.1, |bytes| watch.installer(bytes))?;
            let (step, percent) = watch.progress();
            progress.update(step, Some(percent));
            let now = self.world.local.now();
            asked = watch.question().map(|question| match asked.take() {
                Some((same, since)) if same == question => (same, since),
                _ => (question, now),
            });
            let fault = match state {
                Some(DomainState::Shutoff) if watch.complete() => return Ok(()),
                Some(DomainState::Running | DomainState::Paused) => {
                    running_fault(&watch, asked.as_ref(), now, end, self.plan.deadline())
                }
                Some(DomainState::Shutoff) => Some("the VM went off before the installation was complete".to_owned()),
                Some(DomainState::Crashed) => Some("the emulator ended by itself".to_owned()),
                None => Some("the domain has been removed".to_owned()),
            };
            if let Some(fault) = fault {
                bail!("{}", report(&fault, &watch, &console, &installer));
            }
            self.world.local.sleep(PAUSE);
            self.world.local.go_on()?;
        }
    }

    /// Feeds what a log has gained since the last look.
    fn follow(&self, log: &str, read: &mut u64, mut feed: impl FnMut(&[u8])) -> Result<()> {
        loop {
            let bytes = self.world.hypervisor.read_log(log, *read)?;
            if bytes.is_empty() {
                return Ok(());
            }
            *read += bytes.len() as u64;
            feed(&bytes);
        }
    }

    /// Removes what only the installer needed.
    pub(super) fn discard_media(&self) -> Result<()> {
        for suffix in MEDIA {
            self.world.storage.delete(&self.plan.volume(suffix))?;
        }
        Ok(())
    }
}

fn open(path: &std::path::Path) -> Result<(File, u64)> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let length = file.metadata().with_context(|| format!("reading {}", path.display()))?.len();
    Ok((file, length))
}

/// What is wrong with an installer that still runs, if anything is.
fn running_fault(
    watch: &Watch,
    asked: Option<&(String, jiff::Timestamp)>,
    now: jiff::Timestamp,
    end: jiff::Timestamp,
    deadline: Span,
) -> Option<String> {
    if let Some(step) = watch.failed() {
        return Some(format!("the installer's step {step} failed"));
    }
    let waits = asked.filter(|(_, since)| now.duration_since(*since).unsigned_abs() >= PATIENCE);
    if let Some((question, _)) = waits {
        return Some(format!("the installer waits for an answer to this question:\n\n{}\n", indent(question)));
    }
    (now >= end).then(|| format!("the installer was not done after {deadline}, its deadline"))
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

fn report(fault: &str, watch: &Watch, console: &str, installer: &str) -> String {
    let (console_tail, installer_tail) = watch.tails();
    format!(
        "{fault}\n\nthe console's last lines:\n{}\nthe installer's log, last lines:\n{}\nlogs: {console} and {installer}\n\
         --keep-failed keeps the VM of a failed installation",
        indent(&console_tail.join("\n")),
        indent(&installer_tail.join("\n")),
    )
}
