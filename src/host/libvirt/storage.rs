//! Volumes of a pool, through libvirt: what works here works over a remote connection too.

use std::{io::Read, sync::OnceLock, thread, time::Duration};

use anyhow::{Context, Result, anyhow, bail, ensure};
use roxmltree::Document;
use virt::{
    connect::Connect,
    error::{Error, ErrorNumber},
    storage_pool::StoragePool,
    storage_vol::StorageVol,
    stream::Stream,
    sys,
};

use super::{listing, optional, plain};
use crate::{
    core::{
        error::{NoPool, Refusal},
        facts::{NewVolume, PoolKind, PoolSize, Volume, VolumeFormat},
        units::ByteSize,
    },
    host::{gate::Gate, hypervisor::Storage},
};

/// How much goes into one message of a stream: libvirt's own limit is 256 KiB, less its header.
pub(super) const CHUNK: usize = 256 * 1024 - 64;

/// What must be free besides the bytes of an upload: for what others write in the meantime.
const SPARE: ByteSize = ByteSize(64 << 20);

/// How many copies libvirtd makes at once: while it works on five calls of a connection (max_client_requests), it answers no
/// keepalive on that, and a copy may take longer than a connection without one is held.
const COPIES: usize = 4;

/// One pool of a hypervisor.
pub struct LibvirtPool<'a> {
    connect: &'a Connect,
    name: String,
    /// How many calls are on their way at once.
    readers: usize,
    copies: Gate,
    /// The pool, once it has been looked for, and its definition.
    found: OnceLock<(StoragePool, String)>,
}

impl<'a> LibvirtPool<'a> {
    pub(super) fn new(connect: &'a Connect, name: &str, readers: usize) -> Self {
        Self { connect, name: name.to_owned(), readers, copies: Gate::new(COPIES), found: OnceLock::new() }
    }

    /// The pool. It is looked for once, for each time is three round trips.
    fn found(&self) -> Result<&(StoragePool, String)> {
        if let Some(found) = self.found.get() {
            return Ok(found);
        }
        let pool = self.look()?;
        let xml = pool.xml_desc(0).map_err(plain).with_context(|| format!("reading pool {}", self.name))?;
        Ok(self.found.get_or_init(|| (pool, xml)))
    }

    fn open(&self) -> Result<&StoragePool> {
        self.found().map(|(pool, _)| pool)
    }

    fn look(&self) -> Result<StoragePool> {
        let found = optional(self.connect.lookup_storage_pool_by_name(&self.name))
            .with_context(|| format!("looking for pool {}", self.name))?;
        let Some(pool) = found else { return Err(NoPool(self.name.clone()).into()) };
        if !pool.is_active().map_err(plain)? {
            bail!("pool {0} is not running\n`virsh pool-start {0}` starts it", self.name);
        }
        Ok(pool)
    }

    /// Its definition, as XML.
    ///
    /// # Errors
    /// The pool is not there, or not running; the last line says what to do.
    pub fn definition(&self) -> Result<&str> {
        self.found().map(|(_, xml)| xml.as_str())
    }

    pub(super) fn find(&self, name: &str) -> Result<Option<StorageVol>> {
        let pool = self.open()?;
        let lookup = || optional(pool.lookup_storage_vol_by_name(name));
        match lookup()? {
            Some(volume) => Ok(Some(volume)),
            // The pool may not know yet what another process has put there.
            None => {
                refresh(pool)?;
                lookup()
            }
        }
    }

    /// That so many bytes can be written. libvirtd does not live through an upload that fills its file system: "double free or
    /// corruption", each time, with 11.3.0 and virsh itself. systemd starts it again, but whoever is connected loses it.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn ensure_room(&self, bytes: u64) -> Result<()> {
        let pool = self.open()?;
        // While somebody's copy is being made there libvirt does not look again: then what it knows must do.
        let _ = pool.refresh(0);
        let free = pool.info().map_err(plain).with_context(|| format!("reading pool {}", self.name))?.available;
        if free >= bytes.saturating_add(SPARE.0) {
            return Ok(());
        }
        let reason = format!(
            "pool {} has {} left, and {} are to be written, with {SPARE} to spare",
            self.name,
            ByteSize(free),
            ByteSize(bytes)
        );
        Err(Refusal::new(reason)
            .advise("`tpl list` and `tpl vms` say what is there, `tpl rm` and `tpl destroy` make room")
            .into())
    }

    fn create_from_xml(&self, volume: &NewVolume<'_>, source: Option<&StorageVol>) -> Result<StorageVol> {
        let pool = self.open()?;
        let xml = volume_xml(volume);
        let create = || match source {
            Some(source) => StorageVol::create_xml_from(pool, &xml, source, 0),
            None => StorageVol::create_xml(pool, &xml, 0),
        };
        create().map_err(plain).with_context(|| format!("creating volume {} in pool {}", volume.name, self.name))
    }
}

/// Reads the pool's contents anew.
fn refresh(pool: &StoragePool) -> Result<()> {
    patiently(50, || pool.refresh(0)).context("refreshing the pool")
}

/// Tries again each tenth of a second, `tries` times, while libvirt refuses because another job works in the pool.
fn patiently(tries: usize, mut action: impl FnMut() -> Result<(), Error>) -> Result<()> {
    for _ in 1..tries {
        match action() {
            Err(error) if is_busy(&error) => thread::sleep(Duration::from_millis(100)),
            other => return other.map_err(plain),
        }
    }
    action().map_err(plain)
}

/// libvirt has no code of its own for "asynchronous jobs running" and "still being allocated".
fn is_busy(error: &Error) -> bool {
    use ErrorNumber::{InternalError, OperationInvalid};
    error.code().is_known_and(|code| matches!(code, InternalError | OperationInvalid))
}

fn volume_xml(volume: &NewVolume<'_>) -> String {
    let escape = |text: &str| quick_xml::escape::escape(text).into_owned();
    let mode = if volume.protected { "0444" } else { "0600" };
    let backing = volume.backing.map_or(String::new(), |(path, format)| {
        format!("<backingStore><path>{}</path><format type='{}'/></backingStore>", escape(path), format.as_str())
    });
    format!(
        "<volume><name>{name}</name><capacity unit='bytes'>{capacity}</capacity><allocation unit='bytes'>0</allocation>\
         <target><format type='{format}'/><permissions><mode>{mode}</mode></permissions></target>{backing}</volume>",
        name = escape(volume.name),
        capacity = volume.capacity.0,
        format = volume.format.as_str(),
    )
}

fn describe(volume: &StorageVol) -> Result<Option<Volume>> {
    let Some(info) = optional(volume.info())? else { return Ok(None) };
    Ok(Some(Volume {
        name: volume.name().map_err(plain)?,
        path: volume.path().map_err(plain)?,
        capacity: ByteSize(info.capacity),
        allocation: ByteSize(info.allocation),
        room: None,
    }))
}

impl Storage for LibvirtPool<'_> {
    fn pool(&self) -> &str {
        &self.name
    }

    fn size(&self) -> Result<PoolSize> {
        let (pool, xml) = self.found()?;
        let info = pool.info().map_err(plain).with_context(|| format!("reading pool {}", self.name))?;
        let document = Document::parse(xml).context("reading the pool's XML")?;
        let target = document.root_element().children().find(|node| node.has_tag_name("target"));
        let path = target.and_then(|node| node.children().find(|child| child.has_tag_name("path"))).and_then(|node| node.text());
        Ok(PoolSize {
            capacity: ByteSize(info.capacity),
            available: ByteSize(info.available),
            path: path.unwrap_or_default().to_owned(),
            kind: PoolKind::Directory,
            extent: ByteSize(1),
            beside: Default::default(),
        })
    }

    fn volumes(&self) -> Result<Vec<Volume>> {
        let pool = self.open()?;
        refresh(pool)?;
        let all = pool.list_all_volumes(0).map_err(plain).with_context(|| format!("listing pool {}", self.name))?;
        // libvirt has no call for the figures of all: each volume is asked for its own, all at once.
        let mut volumes = listing::each(&all, self.readers, describe)?;
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    fn volume(&self, name: &str) -> Result<Option<Volume>> {
        match self.find(name)? {
            Some(volume) => describe(&volume).with_context(|| format!("reading volume {name}")),
            None => Ok(None),
        }
    }

    fn path_of(&self, name: &str) -> Result<String> {
        Ok(format!("{}/{name}", self.size()?.path.trim_end_matches('/')))
    }

    fn create(&self, volume: &NewVolume<'_>) -> Result<String> {
        self.create_from_xml(volume, None)?.path().map_err(plain)
    }

    fn copy(&self, source: &str, volume: &NewVolume<'_>) -> Result<String> {
        let original = self.find(source)?.with_context(|| format!("volume {source} does not exist in pool {}", self.name))?;
        let size = original.info().map_err(plain)?.capacity;
        // libvirt copies into a volume of the original's size only; growing or cutting comes after.
        let same = NewVolume { capacity: ByteSize(size), backing: None, ..volume.clone() };
        let place = self.copies.enter();
        let copy = self.create_from_xml(&same, Some(&original))?;
        drop(place);
        if volume.capacity.0 != size {
            let flags = if volume.capacity.0 < size { sys::VIR_STORAGE_VOL_RESIZE_SHRINK } else { 0 };
            let what = || format!("resizing volume {}", volume.name);
            if let Err(error) = copy.resize(volume.capacity.0, flags).map_err(plain).with_context(what) {
                // The caller takes a failed copy for no copy.
                let _ = copy.delete(0);
                return Err(error);
            }
        }
        copy.path().map_err(plain)
    }

    fn store(&self, name: &str, length: u64, bytes: &mut dyn Read) -> Result<String> {
        let new = NewVolume {
            name,
            capacity: ByteSize(length),
            format: VolumeFormat::Raw,
            backing: None,
            room: None,
            protected: false,
        };
        self.ensure_room(length)?;
        let volume = self.create_from_xml(&new, None)?;
        let sent = send(self.connect, &volume, length, bytes).with_context(|| format!("writing volume {name}"));
        if let Err(error) = sent {
            // The caller takes a volume that could not be written for none.
            let _ = volume.delete(0);
            return Err(error);
        }
        volume.path().map_err(plain)
    }

    fn protect(&self, _name: &str) -> Result<()> {
        // A file's mode is set where it is made: root, who fills it, writes all the same.
        Ok(())
    }

    fn settle(&self, name: &str) -> Result<()> {
        let Some(volume) = self.find(name)? else { return Ok(()) };
        let capacity = volume.info().map_err(plain)?.capacity;
        // There is no call that asks; this one changes nothing, and is refused while the volume is being made.
        let asked = patiently(600, || match volume.resize(capacity, 0) {
            Err(error) if is_busy(&error) => Err(error),
            _ => Ok(()),
        });
        asked.with_context(|| format!("waiting for volume {name}, which an earlier run has begun there"))
    }

    fn delete(&self, name: &str) -> Result<()> {
        let Some(volume) = self.find(name)? else { return Ok(()) };
        // A copy whose maker was killed goes on in libvirt, and its volume cannot be removed before that has ended.
        let deleted = patiently(600, || match volume.delete(0) {
            // Somebody else has removed it in the meantime.
            Err(error) if error.code().is_known_and(|code| code == ErrorNumber::NoStorageVolume) => Ok(()),
            other => other,
        });
        deleted.with_context(|| format!("removing volume {name}"))
    }
}

fn send(connect: &Connect, volume: &StorageVol, length: u64, bytes: &mut dyn Read) -> Result<()> {
    let stream = Stream::new(connect, 0).map_err(plain)?;
    volume.upload(&stream, 0, length, 0).map_err(plain)?;
    let mut buffer = vec![0; CHUNK];
    let mut left = length;
    loop {
        let read = bytes.read(&mut buffer)?;
        left = left.checked_sub(read as u64).context("there is more of it than there was")?;
        if read == 0 {
            ensure!(left == 0, "{left} bytes of it are missing");
            return stream.finish().map_err(plain);
        }
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            let sent = stream.send(rest).map_err(plain)?;
            let sent = usize::try_from(sent).map_err(|_| anyhow!("the connection broke"))?;
            rest = &rest[sent..];
        }
    }
}
