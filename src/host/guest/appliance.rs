//! The real appliance: libguestfs.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use anyhow::{Context as _, Result, anyhow, bail};
use guestfs::{AddDriveOptArgs, Error, Handle};

use super::{
    Access, Appliance, Guest, Mount,
    ffi::{Log, last_error, with_progress},
};
use crate::core::{facts::VolumeFormat, progress::Progress};

/// libguestfs, with QEMU started directly: its libvirt backend needs a session daemon and gains nothing here.
#[derive(Debug, Clone, Copy)]
pub struct Libguestfs {
    /// Whether QEMU is to emulate the processor, where KVM does not work.
    pub tcg: bool,
}

impl Appliance for Libguestfs {
    fn open(&self, disk: &Path, format: VolumeFormat, access: Access, progress: &dyn Progress) -> Result<Box<dyn Guest>> {
        let session = Session::new()?;
        session.configure(*self)?;
        session.add(disk, format, access)?;
        let launched = with_progress(&session.handle, "launch", progress, || session.call("launching", |g| g.launch()));
        if let Err(error) = launched {
            let log = session.log.tail();
            return Err(if log.is_empty() { error } else { error.context(format!("the appliance said: {log}")) })
                .with_context(|| format!("opening {} in the appliance", disk.display()));
        }
        Ok(Box::new(session))
    }

    fn version(&self) -> Result<String> {
        let version = Session::new()?.call("asking for its version", |g| g.version())?;
        Ok(format!("{}.{}.{}", version.major, version.minor, version.release))
    }
}

/// A launched appliance.
pub(super) struct Session {
    // Before the log: fields go in this order, and the handle writes to the log until it is gone.
    handle: Handle,
    log: Box<Log>,
    /// What is mounted, for inspection, which unmounts it all.
    pub(super) mounts: RefCell<Vec<Mount>>,
}

impl Session {
    fn new() -> Result<Self> {
        let handle = Handle::create().map_err(|_| anyhow!("making a libguestfs handle"))?;
        let log = Log::attach(&handle);
        Ok(Self { handle, log, mounts: RefCell::default() })
    }

    fn configure(&self, appliance: Libguestfs) -> Result<()> {
        let settings: &[&str] = if appliance.tcg { &["force_tcg"] } else { &[] };
        self.call("choosing the backend", |g| {
            g.set_backend("direct")?;
            g.set_backend_settings(settings)?;
            // An interrupt at the terminal is for tpl, which ends the appliance in its own way.
            g.set_pgroup(true)?;
            // Work in the appliance is one program at a time: a second processor that is emulated costs more than it does.
            g.set_smp(if appliance.tcg { 1 } else { 2 })
        })
    }

    fn add(&self, disk: &Path, format: VolumeFormat, access: Access) -> Result<()> {
        let path = disk.to_str().with_context(|| format!("{} is no UTF-8", disk.display()))?;
        let throw_away = access == Access::ThrowAway;
        let options = AddDriveOptArgs {
            readonly: Some(!throw_away),
            // Never left to be guessed: a guest that wrote a qcow2 header to its raw disk would choose its backing file.
            format: Some(format.as_str()),
            cachemode: throw_away.then_some("unsafe"),
            discard: throw_away.then_some("besteffort"),
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
        self.call("ending the appliance", |g| g.shutdown())
    }
}

/// A device's name, checked: everything else of libguestfs's notation for devices is refused.
pub(super) fn device(name: &str) -> Result<&str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+.-".contains(&byte);
    if !name.starts_with("/dev/") || !name.bytes().all(plain) {
        bail!("{name:?} is no device");
    }
    Ok(name)
}
