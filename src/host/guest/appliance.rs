//! The real appliance: libguestfs.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use guestfs::{AddDriveOptArgs, Error, Handle};

use super::{
    Access, Appliance, DISK, Disks as _, Guest, Mount,
    ffi::{Log, last_error, with_progress},
};
use crate::core::{domain::EMULATED_CPU, facts::VolumeFormat, progress::Progress};

/// libguestfs, with QEMU started directly: its libvirt backend needs a session daemon and gains nothing here.
#[derive(Debug, Clone, Copy)]
pub struct Libguestfs {
    /// Whether QEMU is to emulate the processor, where KVM does not work.
    pub tcg: bool,
}

impl Appliance for Libguestfs {
    fn open(&self, disk: &Path, format: VolumeFormat, access: Access, progress: &dyn Progress) -> Result<Box<dyn Guest>> {
        let session = Session::launch(*self, &[(disk.to_owned(), format)], access, progress)?;
        Ok(Box::new(session))
    }

    fn each(
        &self,
        disks: &[(PathBuf, VolumeFormat)],
        access: Access,
        progress: &dyn Progress,
        work: &mut dyn FnMut(usize, &dyn Guest) -> Result<()>,
    ) -> Result<()> {
        let mut index = 0;
        for chunk in disks.chunks(AT_ONCE) {
            let session = Session::launch(*self, chunk, access, progress)?;
            for device in session.devices(chunk.len())? {
                session.focus(device, chunk.len() > 1);
                work(index, &session)?;
                session.leave()?;
                index += 1;
            }
            session.end()?;
        }
        Ok(())
    }

    fn version(&self) -> Result<String> {
        let version = Session::new()?.call("asking for its version", |g| g.version())?;
        Ok(format!("{}.{}.{}", version.major, version.minor, version.release))
    }
}

/// So many disks go into one appliance. libguestfs takes 255; the kernel's search for each of them takes its time, too.
const AT_ONCE: usize = 100;

/// The label of a disk: `tpl` and what libguestfs puts behind `/dev/sd` for it.
fn label(index: usize) -> String {
    let letter = |index: usize| char::from(b'a' + (index % 26) as u8);
    let more = (index >= 26).then(|| letter(index / 26 - 1));
    ["tpl".chars().collect(), more.map(String::from).unwrap_or_default(), letter(index).to_string()].concat()
}

/// The appliance's own name of a device. libguestfs's `/dev/sda` is its first disk, and the kernel, which finds disks in any
/// order, may call it otherwise; only libguestfs's calls translate that.
pub(super) fn own_name(device: &str) -> String {
    // A volume group's name may begin like that, too.
    let disk = |rest: &&str| {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_lowercase());
        number.len() < rest.len() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    let rest = device.strip_prefix("/dev/sd").filter(disk);
    rest.map_or_else(|| device.to_owned(), |rest| format!("/dev/disk/guestfs/tpl{rest}"))
}

/// A launched appliance.
pub(super) struct Session {
    // Before the log: fields go in this order, and the handle writes to the log until it is gone.
    handle: Handle,
    log: Box<Log>,
    /// What is mounted, for inspection, which unmounts it all.
    pub(super) mounts: RefCell<Vec<Mount>>,
    /// The disk that is worked on, by its name in the appliance; callers call it [`DISK`].
    disk: RefCell<String>,
    /// Whether there are others besides it.
    pub(super) crowded: Cell<bool>,
    /// Whether LVM sees that disk and no other.
    filtered: Cell<bool>,
}

impl Session {
    fn new() -> Result<Self> {
        let handle = Handle::create().map_err(|_| anyhow!("making a libguestfs handle"))?;
        let log = Log::attach(&handle);
        let disk = RefCell::new(DISK.to_owned());
        Ok(Self { handle, log, mounts: RefCell::default(), disk, crowded: Cell::default(), filtered: Cell::default() })
    }

    fn launch(appliance: Libguestfs, disks: &[(PathBuf, VolumeFormat)], access: Access, progress: &dyn Progress) -> Result<Self> {
        let session = Self::new()?;
        session.configure(appliance)?;
        disks.iter().enumerate().try_for_each(|(index, (disk, format))| session.add(index, disk, *format, access))?;
        let launched = with_progress(&session.handle, "launch", progress, || session.call("launching", |g| g.launch()));
        if let Err(error) = launched {
            let log = session.log.tail();
            let names: Vec<_> = disks.iter().map(|(disk, _)| disk.display().to_string()).collect();
            return Err(if log.is_empty() { error } else { error.context(format!("the appliance said: {log}")) })
                .with_context(|| format!("opening {} in the appliance", names.join(", ")));
        }
        Ok(session)
    }

    /// The disks in the order in which they were added.
    fn devices(&self, count: usize) -> Result<Vec<String>> {
        let devices = self.call("listing disks", |g| g.list_devices())?;
        ensure!(devices.len() == count, "the appliance has {} disks, not {count}", devices.len());
        Ok(devices)
    }

    /// Makes a disk the one that is worked on.
    fn focus(&self, device: String, crowded: bool) {
        self.disk.replace(device);
        self.crowded.set(crowded);
    }

    /// Hides every other disk from LVM: copies of a guest have volume groups of one name and one UUID, and of these LVM would
    /// take any.
    pub(super) fn filter(&self) -> Result<()> {
        if !self.crowded.get() || self.filtered.get() {
            return Ok(());
        }
        let disk = self.disk.borrow();
        // Takes all groups out of use first, and this disk's into use at the end.
        self.call(&format!("showing LVM {disk} alone"), |g| g.lvm_set_filter(&[disk.as_str()]))?;
        self.filtered.set(true);
        Ok(())
    }

    /// Leaves a disk for the next one: nothing of it may be mounted or in use, for the next one's filesystems and groups have
    /// its UUIDs.
    fn leave(&self) -> Result<()> {
        self.unmount_all()?;
        if self.filtered.take() {
            self.deactivate_groups()?;
        }
        self.call("writing out", Handle::sync)
    }

    fn end(&self) -> Result<()> {
        self.call("ending the appliance", |g| g.shutdown())
    }

    /// A device of the disk that is worked on, by its name in the appliance. Checked: everything else of libguestfs's notation
    /// for devices is refused.
    pub(super) fn device(&self, name: &str) -> Result<String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+.-".contains(&byte);
        if !name.starts_with("/dev/") || !name.bytes().all(plain) {
            bail!("{name:?} is no device");
        }
        let partition = name.strip_prefix(DISK).filter(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
        match partition {
            Some(partition) => Ok(format!("{}{partition}", self.disk.borrow())),
            // Another disk's name, and not one that belongs to a volume group.
            None if self.crowded.get() && name.starts_with("/dev/sd") && name.matches('/').count() == 2 => {
                bail!("{name} is no device of this disk")
            }
            None => Ok(name.to_owned()),
        }
    }

    fn configure(&self, appliance: Libguestfs) -> Result<()> {
        let settings: &[&str] = if appliance.tcg { &["force_tcg"] } else { &[] };
        self.call("choosing the backend", |g| {
            g.set_backend("direct")?;
            g.set_backend_settings(settings)?;
            if appliance.tcg {
                // QEMU takes the last one that it is told; libguestfs's own is "max".
                g.config("-cpu", Some(EMULATED_CPU))?;
            }
            // An interrupt at the terminal is for tpl, which ends the appliance in its own way.
            g.set_pgroup(true)?;
            // Work in the appliance is one program at a time: a second processor that is emulated costs more than it does.
            g.set_smp(if appliance.tcg { 1 } else { 2 })
        })
    }

    fn add(&self, index: usize, disk: &Path, format: VolumeFormat, access: Access) -> Result<()> {
        let label = label(index);
        let path = disk.to_str().with_context(|| format!("{} is no UTF-8", disk.display()))?;
        let throw_away = access == Access::ThrowAway;
        let options = AddDriveOptArgs {
            readonly: Some(access == Access::ReadOnly),
            // Never left to be guessed: a guest that wrote a qcow2 header to its raw disk would choose its backing file.
            format: Some(format.as_str()),
            cachemode: throw_away.then_some("unsafe"),
            discard: throw_away.then_some("besteffort"),
            label: Some(&label),
            ..AddDriveOptArgs::default()
        };
        self.call(&format!("adding {path}"), |g| g.add_drive(path, options))
    }

    /// Does `work`; an error says what was done to what, and why it did not work.
    pub(super) fn call<T>(&self, what: &str, work: impl FnOnce(&Handle) -> Result<T, Error>) -> Result<T> {
        self.attempt(work).map_err(|(error, _)| error).with_context(|| what.to_owned())
    }

    /// Does `work`; no such file or directory is none.
    pub(super) fn find<T>(&self, what: &str, work: impl FnOnce(&Handle) -> Result<T, Error>) -> Result<Option<T>> {
        match self.attempt(work) {
            Ok(value) => Ok(Some(value)),
            Err((_, libc::ENOENT | libc::ENOTDIR | libc::ELOOP)) => Ok(None),
            Err((error, _)) => Err(error).with_context(|| what.to_owned()),
        }
    }

    fn attempt<T>(&self, work: impl FnOnce(&Handle) -> Result<T, Error>) -> Result<T, (anyhow::Error, i32)> {
        // The crate panics on an error text that is no UTF-8, and such a text can carry a name from the guest's disk.
        match catch_unwind(AssertUnwindSafe(|| work(&self.handle))) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Error::API(_))) | Err(_) => {
                let (text, errno) = last_error(&self.handle);
                Err((anyhow!(text), errno))
            }
            Ok(Err(Error::Utf8Error(_))) => Err((anyhow!("the guest has a name there that is no UTF-8"), 0)),
            Ok(Err(Error::IllegalString(_))) => Err((anyhow!("a name holds a zero byte"), 0)),
            Ok(Err(Error::Create)) => Err((anyhow!("libguestfs did not start"), 0)),
        }
    }
}

impl Guest for Session {
    fn close(self: Box<Self>) -> Result<()> {
        self.end()
    }
}

#[cfg(test)]
mod tests {
    use super::{label, own_name};

    #[test]
    fn a_disk_is_known_by_its_label() {
        for (index, expected) in [(0, "tpla"), (25, "tplz"), (26, "tplaa"), (51, "tplaz"), (52, "tplba"), (99, "tplcv")] {
            assert_eq!(label(index), expected);
        }
        for (device, own) in [("/dev/sda", "tpla"), ("/dev/sdb12", "tplb12"), ("/dev/sdaa1", "tplaa1")] {
            assert_eq!(own_name(device), format!("/dev/disk/guestfs/{own}"));
        }
        for other in ["/dev/vg/root", "/dev/sdvg/root", "/dev/sd", "/dev/sda1x", "/dev/sd1"] {
            assert_eq!(own_name(other), other);
        }
    }
}
