//! The volumes of a pool, and their bytes, in memory.

use std::{fs, io::Read, path::Path};

use anyhow::{Context as _, Result, ensure};
use tpl::{
    core::{
        digest::ChunkList,
        facts::{NewVolume, PoolKind, PoolSize, Volume, VolumeFormat},
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
    machine::{FakeVolume, POOL, installed_system},
    run::{FakeRun, Step},
};

/// The size of every image, and of every VM's disk.
pub const IMAGE: u64 = 3 << 30;
/// What each volume takes of the pool.
const ALLOCATION: ByteSize = ByteSize::mib(1);

/// The name of the volume at a path.
pub fn name_of(path: &Path) -> Result<String> {
    let name = path.strip_prefix(POOL).with_context(|| format!("{} is not in the pool", path.display()))?;
    Ok(name.display().to_string())
}

fn path(name: &str) -> String {
    format!("{POOL}/{name}")
}

impl FakeRun {
    fn add(&self, name: &str, volume: FakeVolume) -> Result<String> {
        let mut state = self.machine.state();
        ensure!(!state.volumes.contains_key(name), "volume {name} exists already");
        state.volumes.insert(name.to_owned(), volume);
        Ok(path(name))
    }
}

fn describe(name: &str, volume: &FakeVolume) -> Volume {
    Volume { name: name.to_owned(), path: path(name), capacity: ByteSize(volume.capacity), allocation: ALLOCATION, room: None }
}

impl Storage for FakeRun {
    fn pool(&self) -> &str {
        "default"
    }

    fn size(&self) -> Result<PoolSize> {
        self.step(Step::ReadPool, "size")?;
        let state = self.machine.state();
        let used = ALLOCATION.0 * state.volumes.len() as u64;
        Ok(PoolSize {
            capacity: ByteSize(state.pool),
            available: ByteSize(state.pool - used),
            path: POOL.to_owned(),
            kind: PoolKind::Directory,
        })
    }

    fn volumes(&self) -> Result<Vec<Volume>> {
        self.step(Step::ReadPool, "volumes")?;
        Ok(self.machine.state().volumes.iter().map(|(name, volume)| describe(name, volume)).collect())
    }

    fn volume(&self, name: &str) -> Result<Option<Volume>> {
        self.step(Step::ReadPool, name)?;
        Ok(self.machine.state().volumes.get(name).map(|volume| describe(name, volume)))
    }

    fn path_of(&self, name: &str) -> Result<String> {
        self.step(Step::ReadPool, name)?;
        Ok(path(name))
    }

    fn create(&self, volume: &NewVolume<'_>) -> Result<String> {
        self.step(Step::CreateVolume, volume.name)?;
        let mut new = FakeVolume { capacity: volume.capacity.0, protected: volume.protected, ..FakeVolume::default() };
        new.filesystem = new.capacity;
        if let Some((backing, _)) = volume.backing {
            let name = name_of(Path::new(backing))?;
            let base = self.machine.state().volumes.get(&name).cloned().with_context(|| format!("no volume {name}"))?;
            new = FakeVolume { backing: Some(name), tree: base.tree, filesystem: base.filesystem, ..new };
        }
        self.add(volume.name, new)
    }

    fn copy(&self, source: &str, volume: &NewVolume<'_>) -> Result<String> {
        self.step(Step::CopyVolume, volume.name)?;
        let base = self.machine.state().volumes.get(source).cloned().with_context(|| format!("no volume {source}"))?;
        self.add(volume.name, FakeVolume { capacity: volume.capacity.0, protected: volume.protected, ..base })
    }

    fn store(&self, name: &str, length: u64, bytes: &mut dyn Read) -> Result<String> {
        self.step(Step::StoreVolume, name)?;
        let mut content = Vec::new();
        bytes.read_to_end(&mut content)?;
        ensure!(content.len() as u64 == length, "volume {name}: {length} bytes were announced, {} came", content.len());
        self.add(name, FakeVolume { capacity: length, bytes: content, ..FakeVolume::default() })
    }

    fn protect(&self, name: &str) -> Result<()> {
        self.step(Step::ProtectVolume, name)?;
        let mut state = self.machine.state();
        let volume = state.volumes.get_mut(name).with_context(|| format!("no volume {name}"))?;
        ensure!(volume.protected, "volume {name} was not made to be protected");
        Ok(())
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.step(Step::DeleteVolume, name)?;
        self.machine.state().volumes.remove(name);
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
        if let Some(volume) = self.machine.state().files.get(image) {
            ensure!(folder == Path::new(POOL) && largest.0 >= volume.capacity, "there is no room");
            return Ok(DiskImage::of(vec![Layer::open(image, VolumeFormat::Raw)?.0], volume.capacity));
        }
        ensure!(folder == Path::new(POOL) && largest > ByteSize(IMAGE), "there is no room");
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
