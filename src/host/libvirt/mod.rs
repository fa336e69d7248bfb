//! The real hypervisor: libvirt through the `virt` crate. [`node`], [`stats`], [`leases`], [`live`] and [`stream`] call what that crate does not
//! wrap: one of the two places with FFI.

mod alive;
mod boot_files;
mod bytes;
mod domains;
mod leases;
mod listing;
pub mod live;
mod networks;
mod node;
mod seeds;
mod stats;
mod storage;
mod stream;

use anyhow::{Context as _, Result, anyhow};
use virt::{connect::Connect, error::Error};

use crate::core::{error::Advised, facts::is_local, units::Span};

pub use bytes::PoolStreams;
pub use storage::LibvirtPool;

/// A connection to libvirt.
pub struct Libvirt {
    connect: Connect,
    uri: String,
    name: Option<String>,
}

impl Libvirt {
    /// Connects. Another machine must answer within `deadline`, and must not fall silent later: then the connection ends.
    ///
    /// # Errors
    /// libvirt does not answer at this URI.
    pub fn open(uri: &str, deadline: Span) -> Result<Self> {
        // libvirt's own handler prints each error to stderr, handled ones too.
        virt::error::clear_error_callback();
        let failed = |cause: anyhow::Error, advice: &str| Advised::new(cause.context(format!("connecting to {uri}")), advice);
        let checks = "`tpl doctor` checks libvirt and says what to do";
        let connect = if is_local(uri) {
            Connect::open(Some(uri)).map_err(|error| failed(plain(error), checks))?
        } else {
            alive::prepare();
            let Some(opened) = alive::open_within(uri, deadline.0) else {
                let cause = anyhow!("no answer within {deadline}");
                return Err(failed(cause, "is it up and on the network? --connect-timeout TIME waits longer").into());
            };
            let connect = opened.map_err(|error| failed(plain(error), checks))?;
            alive::keep(&connect).with_context(|| format!("watching the connection to {uri}"))?;
            connect
        };
        Ok(Self { connect, uri: uri.to_owned(), name: None })
    }

    /// Whether the connection has ended: the other side has closed it, or has said nothing for half a minute.
    pub fn is_lost(&self) -> bool {
        self.connect.is_alive().is_ok_and(|alive| !alive)
    }

    /// The same under the name that operators call it by.
    #[must_use]
    pub fn called(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    /// One pool of this hypervisor.
    pub fn pool<'a>(&'a self, name: &str) -> LibvirtPool<'a> {
        LibvirtPool::new(&self.connect, name, self.readers())
    }

    /// The bytes of the volumes of a directory pool.
    pub fn streams<'a>(&'a self, pool: &str) -> PoolStreams<'a> {
        PoolStreams::new(&self.connect, self.pool(pool))
    }

    /// How many calls are on their way at once, where there are many alike.
    fn readers(&self) -> usize {
        if is_local(&self.uri) { listing::LOCAL_READERS } else { listing::REMOTE_READERS }
    }
}

/// libvirt's message alone: codes and domains mean nothing to an operator.
fn plain(error: Error) -> anyhow::Error {
    anyhow!("{}", error.message())
}

/// `Ok(None)` for what does not exist.
fn optional<T>(result: Result<T, Error>) -> Result<Option<T>> {
    use virt::error::ErrorNumber::{NoDomain, NoNetwork, NoStoragePool, NoStorageVolume};
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error)
            if error.code().is_known_and(|code| matches!(code, NoDomain | NoNetwork | NoStoragePool | NoStorageVolume)) =>
        {
            Ok(None)
        }
        Err(error) => Err(plain(error)),
    }
}

/// Whether the driver has no such call.
fn unsupported(error: &Error) -> bool {
    error.code().is_known_and(|code| matches!(code, virt::error::ErrorNumber::NoSupport))
}
