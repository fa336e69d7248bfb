//! The volumes of a pool, and their bytes, in memory.

use std::{fs, io::Read, path::Path};

use anyhow::{Context as _, Result, ensure};
use tpl::{
    core::{
        digest::ChunkList,
        error::LeftBehind,
        facts::{NewVolume, PoolKind, PoolSize, Room, Volume, VolumeFormat},
        portable::document_of,
        progress::Progress,
        sha256::Sha256Digest,
        source::{FilesRequest, Location, Request, Role},
        trust::Trust,
        units::ByteSize,
    },
    host::{
        hypervisor::Storage,
        images::{DiskImage, Images, Layer},
        portable::{Export, ensure_free},
        source::{Access, Fetched, Resolved, Source, Wanted},
    },
};

use super::{
    machine::{FakeVolume, GROUP, POOL, Pool, State, installed_system},
    run::{FakeRun, Step},
};

/// The size of every image, and of every VM's disk.
pub const IMAGE: u64 = 3 << 30;
/// What each volume takes of the pool.
const ALLOCATION: ByteSize = ByteSize::mib(1);

/// A volume group's extents. They are 4 MiB, mostly; fakes hold their bytes in memory.
const EXTENT: ByteSize = ByteSize(64 << 10);
/// What a thin pool notes down of each volume.
const NOTED: u64 = 16 << 10;

/// The name of the volume at a path.
pub fn name_of(path: &Path) -> Result<String> {
    let name = path.strip_prefix(POOL).or_else(|_| path.strip_prefix(GROUP));
    Ok(name.with_context(|| format!("{} is not in the pool", path.display()))?.display().to_string())
}

/// Whether an image can be unpacked there.
fn unpacks_in(kind: Pool, folder: &Path) -> bool {
    folder == Path::new(if kind == Pool::Directory { POOL } else { "/var/tmp" })
}

impl State {
    /// Where the pool says that its volumes are.
    fn folder(&self) -> &'static str {
        if self.kind == Pool::Directory { POOL } else { GROUP }
    }

    fn extent(&self) -> ByteSize {
        if self.kind == Pool::Directory { ByteSize(1) } else { EXTENT }
    }

    fn allocation(&self, volume: &FakeVolume) -> ByteSize {
        match self.kind {
            Pool::Directory | Pool::Thin => ALLOCATION,
            Pool::Thick => ByteSize(volume.room.unwrap_or(volume.capacity)),
        }
    }

    pub fn describe(&self, name: &str, volume: &FakeVolume) -> Volume {
        let lost = ByteSize(volume.used) >= ByteSize(volume.room.unwrap_or(u64::MAX));
        Volume {
            name: name.to_owned(),
            path: format!("{}/{name}", self.folder()),
            capacity: ByteSize(volume.capacity),
            allocation: self.allocation(volume),
            room: volume.room.map(|room| Room { size: ByteSize(room), used: ByteSize(volume.used), lost, own: true }),
        }
    }

    pub fn pool_size(&self) -> PoolSize {
        let used = self.volumes.values().fold(0, |sum, volume| sum + self.allocation(volume).0);
        let kind = match self.kind {
            Pool::Directory => PoolKind::Directory,
            Pool::Thick => PoolKind::Thick,
            Pool::Thin => PoolKind::Thin {
                metadata: ByteSize(self.pool_metadata),
                metadata_used: ByteSize(NOTED * self.volumes.len() as u64),
            },
        };
        PoolSize {
            capacity: ByteSize(self.pool),
            available: ByteSize(self.pool.saturating_sub(used)),
            path: self.folder().to_owned(),
            kind,
            extent: self.extent(),
            beside: self.beside.clone(),
        }
    }

    /// A new volume, as this kind of pool makes it.
    fn new_volume(&self, volume: &NewVolume<'_>) -> Result<FakeVolume> {
        let backing =
            volume.backing.map(|(path, format)| Ok::<_, anyhow::Error>((name_of(Path::new(path))?, format))).transpose()?;
        let capacity = volume.capacity.round_up(self.extent().0).0;
        let mut new =
            FakeVolume { capacity, protected: volume.protected, room: volume.room.map(|room| room.0), ..FakeVolume::default() };
        new.filesystem = capacity;
        let snapshot = self.kind != Pool::Directory && volume.format == VolumeFormat::Raw && backing.is_some();
        ensure!(volume.room.is_some() == (snapshot && self.kind == Pool::Thick), "{volume:?} in a pool that is {:?}", self.kind);
        if let Some((name, format)) = backing {
            let base = self.volumes.get(&name).with_context(|| format!("no volume {name}"))?;
            ensure!(base.capacity <= capacity, "{name} is larger than what stands on it");
            if snapshot {
                ensure!(format == VolumeFormat::Raw, "LVM knows no formats");
                ensure!(volume.room.is_none() || base.capacity == capacity, "a classic snapshot is as large as its origin");
            }
            new = FakeVolume { tree: base.tree.clone(), filesystem: base.filesystem, backing: Some(name), ..new };
        }
        Ok(new)
    }
}

impl FakeRun {
    fn add(&self, name: &str, volume: FakeVolume) -> Result<String> {
        let mut state = self.machine.state();
        ensure!(!state.volumes.contains_key(name), "volume {name} exists already");
        let (needed, free) = (state.allocation(&volume), state.pool_size().available);
        ensure!(state.kind != Pool::Thick || needed <= free, "volume {name}: {needed} are needed, and {free} are free");
        state.volumes.insert(name.to_owned(), volume);
        if std::mem::take(&mut state.cut) {
            return Err(anyhow::anyhow!("the connection broke").context(LeftBehind::perhaps(name)));
        }
        Ok(format!("{}/{name}", state.folder()))
    }
}

impl Storage for FakeRun {
    fn pool(&self) -> &str {
        "default"
    }

    fn size(&self) -> Result<PoolSize> {
        self.step(Step::ReadPool, "size")?;
        Ok(self.machine.state().pool_size())
    }

    fn volumes(&self) -> Result<Vec<Volume>> {
        self.step(Step::ReadPool, "volumes")?;
        let state = self.machine.state();
        Ok(state.volumes.iter().map(|(name, volume)| state.describe(name, volume)).collect())
    }

    fn volume(&self, name: &str) -> Result<Option<Volume>> {
        self.step(Step::ReadPool, name)?;
        let state = self.machine.state();
        Ok(state.volumes.get(name).map(|volume| state.describe(name, volume)))
    }

    fn is_logical(&self) -> Result<bool> {
        self.step(Step::ReadPool, "definition")?;
        Ok(self.machine.state().kind != Pool::Directory)
    }

    fn path_of(&self, name: &str) -> Result<String> {
        self.step(Step::ReadPool, name)?;
        Ok(format!("{}/{name}", self.machine.state().folder()))
    }

    fn create(&self, volume: &NewVolume<'_>) -> Result<String> {
        self.step(Step::CreateVolume, volume.name)?;
        let new = self.machine.state().new_volume(volume)?;
        self.add(volume.name, new)
    }

    fn copy(&self, source: &str, volume: &NewVolume<'_>) -> Result<String> {
        self.step(Step::CopyVolume, volume.name)?;
        let (base, new) = {
            let state = self.machine.state();
            let base = state.volumes.get(source).cloned().with_context(|| format!("no volume {source}"))?;
            (base, state.new_volume(volume)?)
        };
        ensure!(volume.backing.is_none(), "a copy stands on nothing");
        self.add(volume.name, FakeVolume { capacity: new.capacity, protected: volume.protected, closed: false, ..base })
    }

    fn store(&self, name: &str, length: u64, bytes: &mut dyn Read) -> Result<String> {
        self.step(Step::StoreVolume, name)?;
        let mut content = Vec::new();
        bytes.read_to_end(&mut content)?;
        ensure!(content.len() as u64 == length, "volume {name}: {length} bytes were announced, {} came", content.len());
        let capacity = ByteSize(length).round_up(self.machine.state().extent().0).0;
        // What is behind the bytes of a logical volume is there, and zero.
        content.resize(usize::try_from(capacity)?, 0);
        self.add(name, FakeVolume { capacity, bytes: content, ..FakeVolume::default() })
    }

    fn settle(&self, name: &str) -> Result<()> {
        self.step(Step::SettleVolume, name)
    }

    fn protect(&self, name: &str) -> Result<()> {
        self.step(Step::ProtectVolume, name)?;
        let mut state = self.machine.state();
        let volume = state.volumes.get_mut(name).with_context(|| format!("no volume {name}"))?;
        ensure!(volume.protected, "volume {name} was not made to be protected");
        volume.closed = true;
        Ok(())
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.step(Step::DeleteVolume, name)?;
        let mut state = self.machine.state();
        let stands = |volume: &FakeVolume| volume.backing.as_deref() == Some(name) && volume.room.is_some();
        ensure!(!state.volumes.values().any(stands), "snapshots stand on volume {name}");
        state.volumes.remove(name);
        Ok(())
    }
}

impl Images for FakeRun {
    fn read_small(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        if let Ok(name) = name_of(path) {
            return Ok(self.machine.state().volumes.get(&name).map(|volume| volume.bytes.clone()));
        }
        Ok(path.ends_with("vars.fd").then(|| b"variables".to_vec()))
    }

    fn export(&self, export: &Export<'_>, _: &dyn Progress) -> Result<u64> {
        self.step(Step::Export, "")?;
        if !export.replace {
            ensure_free(export.file)?;
        }
        let name = name_of(export.volume)?;
        let mut state = self.machine.state();
        let volume = state.volumes.get(&name).cloned().with_context(|| format!("no volume {name}"))?;
        fs::write(export.file, "packed")?;
        fs::write(document_of(export.file), export.document)?;
        state.files.insert(export.file.to_owned(), volume);
        Ok(6)
    }

    fn open(&self, image: &Path, folder: &Path, largest: ByteSize, _: &dyn Progress) -> Result<DiskImage> {
        self.step(Step::OpenImage, "image")?;
        let kind = self.machine.state().kind;
        if let Some(volume) = self.machine.state().files.get(image) {
            ensure!(unpacks_in(kind, folder) && largest.0 >= volume.capacity, "there is no room");
            return Ok(DiskImage::of(vec![Layer::open(image, VolumeFormat::Raw)?.0], volume.capacity));
        }
        ensure!(unpacks_in(kind, folder) && largest > ByteSize(IMAGE), "there is no room");
        self.layers(image, VolumeFormat::Raw)
    }

    fn layers(&self, disk: &Path, format: VolumeFormat) -> Result<DiskImage> {
        Ok(DiskImage::of(vec![Layer::open(disk, format)?.0], IMAGE))
    }

    fn take(&self, disk: &DiskImage, target: &Path) -> Result<()> {
        let target = name_of(target)?;
        self.step(Step::TakeDisk, &target)?;
        let mut state = self.machine.state();
        let tree = installed_system(state.cloud_init);
        let volume = state.volumes.get_mut(&target).with_context(|| format!("no volume {target}"))?;
        ensure!(!volume.closed, "{target} is closed to writers");
        ensure!(volume.capacity >= disk.size, "the disk is cut off");
        (volume.tree, volume.filesystem) = (tree, disk.size);
        Ok(())
    }

    fn copy(&self, source: &Path, _: VolumeFormat, target: &Path, size: u64) -> Result<()> {
        let target = name_of(target)?;
        self.step(Step::CopyBytes, &target)?;
        let mut state = self.machine.state();
        let source = match state.files.get(source) {
            Some(file) => file.clone(),
            None => {
                let source = name_of(source)?;
                state.volumes.get(&source).cloned().with_context(|| format!("no volume {source}"))?
            }
        };
        let target = state.volumes.get_mut(&target).with_context(|| format!("no volume {target}"))?;
        ensure!(!target.closed, "it is closed to writers");
        ensure!(target.capacity >= size && source.filesystem <= size, "the content is cut off");
        (target.tree, target.filesystem) = (source.tree, source.filesystem);
        Ok(())
    }

    fn digest(&self, path: &Path, size: u64, _: &dyn Progress) -> Result<ChunkList> {
        let name = name_of(path)?;
        self.step(Step::Digest, &name)?;
        let state = self.machine.state();
        state.volumes.get(&name).with_context(|| format!("no volume {name}"))?.list(size)
    }
}

impl FakeRun {
    fn resolve_files(&self, request: &FilesRequest) -> Result<Resolved> {
        self.step(Step::Resolve, "files")?;
        let wanted = |(role, place): &(Role, Location)| {
            (*role, Wanted::Download { url: place.to_string(), digest: Sha256Digest([7; 32]).into() })
        };
        Ok(Resolved {
            files: request.files.iter().map(wanted).collect(),
            trust: Trust::Signed { fingerprint: "A1B2".to_owned() },
        })
    }
}

impl Source for FakeRun {
    fn resolve(&self, request: &Request, _: Access, _: &dyn Progress) -> Result<Resolved> {
        let request = match request {
            Request::Archive(request) => request,
            Request::Files(request) => return self.resolve_files(request),
        };
        self.step(Step::Resolve, &request.mirror)?;
        let wanted = |role, name: &str| {
            let url = format!("{}/{name}", request.mirror);
            (role, Wanted::Download { url, digest: Sha256Digest([7; 32]).into() })
        };
        Ok(Resolved {
            files: vec![wanted(Role::Kernel, "linux"), wanted(Role::Initrd, "initrd.gz")],
            trust: Trust::Signed { fingerprint: "A1B2".to_owned() },
        })
    }

    fn fetch(&self, resolved: &Resolved, _: Access, _: &dyn Progress) -> Result<Fetched> {
        self.step(Step::Fetch, "")?;
        let folder = self.machine.folder.path();
        let path = |(role, _): &(Role, Wanted)| match role {
            Role::Kernel => (*role, folder.join("linux")),
            Role::Initrd => (*role, folder.join("initrd.gz")),
            Role::Medium => (*role, folder.join("medium.iso")),
            Role::Image => (*role, folder.join("linux")),
        };
        Ok(Fetched::new(resolved.files.iter().map(path).collect()))
    }
}
