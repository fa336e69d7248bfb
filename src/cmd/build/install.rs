//! The stages `source` and `install`: the installer is fetched, and runs in a VM until it powers itself off.

use std::{
    fs::File,
    io::{Cursor, Read},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::{Build, given};
use crate::{
    cmd::undo::Undo,
    core::{
        answers,
        boot_args::{self, Rest},
        build_plan::{InstallPlan, MEDIA, suffix},
        cpio,
        domain::{self, InstallMedia, may_be_boot_file},
        facts::{DomainState, NewVolume, VolumeFormat},
        installer::{Fault, GRACE, PATIENCE, Watch},
        medium::Installer,
        pipeline::AnswersKind,
        progress::Progress,
        source::Role,
        units::Span,
        xml::clone::DiskLocation,
    },
    host::{identity::random_password_hash, medium::Medium, seed_image::answers_image, source::Fetched},
};

/// How long between two looks at the installer's logs.
const PAUSE: Duration = Duration::from_secs(1);
/// How many parts of a log are read in one look, of 1 MiB at most each.
const MOST_PARTS: usize = 16;
/// Silence of less than this is no sign of anything: an installer unpacks for longer without a word.
const SILENCE: Duration = Duration::from_secs(60);

/// What an installer boots with: its files, and where their bytes come from.
enum Files<'f> {
    /// Its kernel and initrd, each in a file.
    Netboot(&'f Fetched),
    /// A medium, and what was found on it.
    Medium(&'f Medium, &'f Installer),
}

impl Files<'_> {
    fn kernel(&self) -> Result<(Box<dyn Read + '_>, u64)> {
        match self {
            Self::Netboot(files) => open(files.path(Role::Kernel)?),
            Self::Medium(medium, found) => Ok((Box::new(medium.file(&found.kernel)), found.kernel.length())),
        }
    }

    fn initrd(&self) -> Result<(Box<dyn Read + '_>, u64)> {
        match self {
            Self::Netboot(files) => open(files.path(Role::Initrd)?),
            Self::Medium(medium, found) => Ok((Box::new(medium.file(&found.initrd)), found.initrd.length())),
        }
    }
}

impl<'a> Build<'a> {
    /// Defines the VM, gives it its volumes, and starts it.
    pub(super) fn begin_install(&mut self, files: &Fetched, undo: &mut Undo<'a>, progress: &dyn Progress) -> Result<()> {
        // Whatever is wrong with a medium is found before anything is made.
        let opened = files.path(Role::Medium).ok().map(|path| given::open_medium(&self.plan, path)).transpose()?;
        let files = match &opened {
            Some((medium, installer)) => Files::Medium(medium, installer),
            None => Files::Netboot(files),
        };
        let world = self.world;
        let name = self.plan.id.domain();
        let install = self.plan.installation().context("nothing is to be installed")?;
        let machine = self.plan.installer_machine(self.accelerator, install.network.clone());
        let xml = domain::installing(&self.manifest, self.uuid, &machine, &self.media(install, &files)?);
        world.hypervisor.define(&xml).with_context(|| format!("defining domain {name}"))?;
        let removed = name.clone();
        undo.push_domain(&name, move || world.hypervisor.undefine(&removed));
        self.store_media(&files, undo, progress)?;
        world.hypervisor.start(&name)?;
        let stopped = name.clone();
        undo.push(&name, format!("stopping domain {name}"), move || world.hypervisor.power_off(&stopped));
        Ok(())
    }

    /// Where the installer's files will be, and what its kernel is told.
    fn media(&self, install: &InstallPlan, files: &Files<'_>) -> Result<InstallMedia> {
        let kind = self.world.storage.size()?.kind;
        let path = |suffix| self.world.storage.path_of(&self.plan.volume(suffix));
        let disk = |suffix| Ok::<_, anyhow::Error>(DiskLocation::in_pool(kind, path(suffix)?));
        let boot = |suffix| if kind.is_logical() { Ok(domain::boot_file(&self.plan.volume(suffix))) } else { path(suffix) };
        let answers = install.answers.kind;
        let (rest, medium) = match files {
            Files::Medium(_, installer) => (Rest::Medium(installer.label.clone()), Some(disk(suffix::MEDIUM)?)),
            Files::Netboot(_) => (install.repository().map_or(Rest::None, Rest::Repository), None),
        };
        Ok(InstallMedia {
            kernel: boot(suffix::KERNEL)?,
            initrd: boot(suffix::INITRD)?,
            cmdline: boot_args::command_line(answers, &rest, &self.plan.machine.arguments),
            disk: disk(suffix::BUILD)?,
            medium,
            answers: (answers == AnswersKind::Autoinstall).then(|| disk(suffix::ANSWERS)).transpose()?,
        })
    }

    fn store_media(&self, files: &Files<'_>, undo: &mut Undo<'a>, progress: &dyn Progress) -> Result<()> {
        let world = self.world;
        let domain = self.plan.id.domain();
        let mut remove_on_undo = |volume: String| {
            undo.push(&domain, format!("removing volume {volume}"), move || world.remove_volume(&volume));
        };
        let disk = self.plan.volume(suffix::BUILD);
        let capacity = self.plan.machine.disk;
        world.storage.create(&NewVolume {
            name: &disk,
            capacity,
            format: VolumeFormat::Qcow2,
            backing: None,
            room: None,
            protected: false,
        })?;
        remove_on_undo(disk);
        let logical = world.storage.size()?.kind.is_logical();
        let mut store = |suffix: &str, length: u64, bytes: &mut dyn Read| -> Result<()> {
            let volume = self.plan.volume(suffix);
            if logical && may_be_boot_file(&volume) {
                world.hypervisor.store_boot_file(&volume, length, bytes)?;
            } else {
                world.storage.store(&volume, length, bytes)?;
            }
            remove_on_undo(volume);
            Ok(())
        };
        let (mut kernel, length) = files.kernel()?;
        store(suffix::KERNEL, length, &mut kernel)?;
        let hash = random_password_hash()?;
        let answers = self.render(hash.expose())?;
        let kind = self.plan.installation().context("nothing is to be installed")?.answers.kind;
        let (initrd, length) = files.initrd()?;
        match in_initrd(kind) {
            Some(name) => {
                let archive = cpio::single_file(name, answers.as_bytes());
                let padding = cpio::padding(length);
                let whole = length + padding + archive.len() as u64;
                let mut bytes = initrd.chain(std::io::repeat(0).take(padding)).chain(Cursor::new(archive));
                store(suffix::INITRD, whole, &mut bytes)?;
            }
            None => {
                store(suffix::INITRD, length, &mut { initrd })?;
                let volume = answers_image(self.uuid, &answers)?;
                store(suffix::ANSWERS, volume.expose().len() as u64, &mut volume.expose().as_slice())?;
            }
        }
        if let Files::Medium(medium, _) = files {
            progress.update("putting the medium into the pool", Some(0));
            store(suffix::MEDIUM, medium.length(), &mut medium.content())?;
        }
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
        let logs = (domain::console_log(&name), domain::installer_log(&name));
        let kind = self.plan.installation().context("nothing is to be installed")?.answers.kind;
        let mut watch = Watch::new(kind);
        let mut patience = Patience::new(self.world.local.now(), self.plan.deadline());
        let mut read = (0, 0);
        let mut off = false;
        loop {
            let state = self.world.hypervisor.state(&name)?;
            let before = read;
            self.follow(&logs.0, &mut read.0, |bytes| watch.console(bytes))?;
            self.follow(&logs.1, &mut read.1, |bytes| watch.installer(bytes))?;
            let (step, percent) = watch.progress();
            progress.update(step, Some(percent));
            let fault = match state {
                // Whoever keeps the logs may not have written the last words yet.
                Some(DomainState::Shutoff) if !off => {
                    off = true;
                    None
                }
                Some(DomainState::Shutoff) if watch.complete() => return Ok(()),
                Some(DomainState::Shutoff) => Some(watch.off_early()),
                Some(DomainState::Running | DomainState::Paused) => {
                    patience.fault(&watch, self.world.local.now(), before != read)
                }
                Some(DomainState::Halted) => Some(halted()),
                Some(DomainState::Crashed) => Some(fault("the emulator ended by itself")),
                None => Some(fault("the domain has been removed")),
            };
            if let Some(fault) = fault {
                bail!("{}", report(&fault, &watch, &logs));
            }
            self.world.local.sleep(PAUSE);
            self.world.local.go_on()?;
        }
    }

    /// Feeds what a log has gained since the last look.
    fn follow(&self, log: &str, read: &mut u64, mut feed: impl FnMut(&[u8])) -> Result<()> {
        let hypervisor = self.world.hypervisor;
        if hypervisor.log_length(log)? < *read {
            // Its keeper has begun a new one: what was not read yet is at the end of the one before.
            let [before, ..] = domain::put_aside(log);
            self.feed(&before, read, &mut feed)?;
            *read = 0;
        }
        self.feed(log, read, &mut feed)
    }

    fn feed(&self, log: &str, read: &mut u64, feed: &mut impl FnMut(&[u8])) -> Result<()> {
        // A guest that writes without an end must not keep its deadline from being looked at.
        for _ in 0..MOST_PARTS {
            let bytes = self.world.hypervisor.read_log(log, *read)?;
            if bytes.is_empty() {
                break;
            }
            *read += bytes.len() as u64;
            feed(&bytes);
        }
        Ok(())
    }

    /// Removes what only the installer needed.
    pub(super) fn discard_media(&self) -> Result<()> {
        for suffix in MEDIA {
            self.world.remove_volume(&self.plan.volume(suffix))?;
        }
        Ok(())
    }
}

/// The file in the initrd that an installer reads its answers from; none where it reads them from a volume.
fn in_initrd(kind: AnswersKind) -> Option<&'static str> {
    match kind {
        AnswersKind::Preseed => Some("preseed.cfg"),
        AnswersKind::Kickstart => Some("ks.cfg"),
        AnswersKind::Autoinstall => None,
    }
}

fn open(path: &std::path::Path) -> Result<(Box<dyn Read>, u64)> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let length = file.metadata().with_context(|| format!("reading {}", path.display()))?.len();
    Ok((Box::new(file), length))
}

fn fault(says: &str) -> Fault {
    Fault { says: says.to_owned(), advice: "" }
}

fn halted() -> Fault {
    Fault {
        says: "the emulator has stopped the VM: its disk could not be written, or KVM could not carry out an instruction"
            .to_owned(),
        advice: "the VM's log in libvirt's folder and the free space of the pool tell which",
    }
}

/// How long a running installer has been at what.
struct Patience {
    deadline: Span,
    end: jiff::Timestamp,
    /// When its logs last grew.
    spoke: jiff::Timestamp,
    /// Since when it has been at this question.
    asked: Option<(String, jiff::Timestamp)>,
    /// Since when it has been known to have given up.
    failed: Option<jiff::Timestamp>,
}

impl Patience {
    fn new(now: jiff::Timestamp, deadline: Span) -> Self {
        Self { deadline, end: now + deadline.0, spoke: now, asked: None, failed: None }
    }

    /// What is wrong with an installer that still runs, if anything is.
    fn fault(&mut self, watch: &Watch, now: jiff::Timestamp, spoke: bool) -> Option<Fault> {
        if spoke {
            self.spoke = now;
        }
        let since = |then: jiff::Timestamp| now.duration_since(then).unsigned_abs();
        if let Some(fault) = watch.failed() {
            let failed = *self.failed.get_or_insert(now);
            if since(failed) >= GRACE {
                return Some(fault);
            }
        }
        self.asked = watch.question().map(|question| match self.asked.take() {
            Some((same, then)) if same == question => (same, then),
            _ => (question, now),
        });
        if let Some((question, _)) = self.asked.as_ref().filter(|(_, then)| since(*then) >= PATIENCE) {
            return Some(watch.waits(question));
        }
        (now >= self.end).then(|| watch.explained(self.late(since(self.spoke))))
    }

    fn late(&self, silence: Duration) -> Fault {
        let deadline = self.deadline;
        let (what, advice) = if silence < SILENCE {
            ("and it was still at work".to_owned(), "install.deadline in the pipeline gives it longer")
        } else {
            (format!("and its logs have said nothing for the last {}", Span(silence)), "")
        };
        Fault { says: format!("the installer was not done after {deadline}, its deadline, {what}"), advice }
    }
}

fn report(fault: &Fault, watch: &Watch, (console, installer): &(String, String)) -> String {
    let indent = |lines: Vec<String>| lines.iter().map(|line| format!("  {line}\n")).collect::<String>();
    let (console_tail, installer_tail) = watch.tails();
    let Fault { says, advice } = fault;
    let advice = if advice.is_empty() { String::new() } else { format!("{advice}\n") };
    format!(
        "{says}\n\nthe console's last lines:\n{}\nthe installer's log, last lines:\n{}\nlogs: {console} and {installer}\n\
         {advice}--keep-failed keeps the VM of a failed installation",
        indent(console_tail),
        indent(installer_tail),
    )
}
