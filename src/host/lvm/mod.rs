//! The volumes of a logical pool, through lvm2's own programs on the hypervisor: libvirt makes no thin volumes, and no snapshot
//! with a room that somebody has chosen.
//!
//! Every volume that tpl makes bears the tag `tpl`, and no other is ever removed or closed. Two runs of tpl that race are kept
//! apart by lvm2, which locks the volume group for each of its calls. libvirt sees what is made here when its pool is refreshed.

mod content;
#[cfg(test)]
mod tests;

use std::{
    io::Read,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};

use super::{
    hypervisor::Storage,
    shell::{self, Output, Shell, succeeded},
};
use crate::core::{
    error::{Advised, LeftBehind},
    facts::{Beside, NewVolume, PoolKind, PoolSize, Volume, VolumeFormat},
    lvm::{self, LogicalVolume, LvKind, TAG, ThinChoice, ThinPoolSize},
    units::ByteSize,
};

/// How long one of lvm2's programs may take: they wait for each other.
const LVM: Duration = Duration::from_secs(300);
/// How long a volume may be in use that is to be removed: a copy whose tpl was killed goes on over there, for a while.
const IN_USE: Duration = Duration::from_secs(60);
/// `lvs` and `vgs` say all in bytes, as JSON.
const REPORT: [&str; 5] = ["--reportformat", "json", "--units", "b", "--nosuffix"];

/// One logical pool of a hypervisor.
pub struct LvmPool<'a> {
    shell: &'a dyn Shell,
    pool: String,
    group: String,
    choice: Option<ThinChoice>,
    in_use: Duration,
}

/// A volume group as it is now, where it matters what volumes are made in.
struct Group {
    volumes: Vec<LogicalVolume>,
    /// The thin pool in use, its figures, its size.
    thin: Option<(String, ThinPoolSize, ByteSize)>,
}

impl<'a> LvmPool<'a> {
    /// The pool `pool` of libvirt's, which is the volume group `group`. `choice` says where in it volumes are made.
    pub fn new(shell: &'a dyn Shell, pool: &str, group: &str, choice: Option<ThinChoice>) -> Self {
        Self { shell, pool: pool.to_owned(), group: group.to_owned(), choice, in_use: IN_USE }
    }

    fn folder(&self) -> String {
        format!("/dev/{}", self.group)
    }

    fn path(&self, name: &str) -> String {
        format!("/dev/{}/{name}", self.group)
    }

    /// Runs one of lvm2's programs.
    fn lvm(&self, argv: &[&str]) -> Result<String> {
        ended(argv, self.shell.run(argv, LVM)?)
    }

    /// All volumes of the group, in one call. Which thin pool is meant is no matter here: what is removed or closed is found by its
    /// name, also when there is no such pool any more, or a second one.
    fn list(&self) -> Result<Vec<LogicalVolume>> {
        let argv: Vec<&str> = ["lvs"].into_iter().chain(REPORT).chain(["-o", lvm::VOLUME_COLUMNS, &self.group]).collect();
        let reading = || format!("listing pool {}", self.pool);
        lvm::volumes(&self.lvm(&argv).with_context(reading)?).map_err(|error| anyhow!(error)).with_context(reading)
    }

    /// The same, with the thin pool in use.
    fn read(&self) -> Result<Group> {
        let volumes = self.list()?;
        let thin = lvm::thin_pool(&volumes, self.choice.as_ref(), &self.group).map_err(|error| anyhow!(error))?;
        let thin = thin.map(|(name, figures, size)| (name.to_owned(), figures, size));
        Ok(Group { thin, volumes })
    }

    /// The same, where it matters how full it is: what is not active tells nothing, and would pass for empty.
    fn read_figures(&self) -> Result<Group> {
        let group = self.read()?;
        if let Some((thin, ThinPoolSize { active: false, .. }, _)) = &group.thin {
            let path = format!("{}/{thin}", self.group);
            bail!("thin pool {path} is not active: nobody knows how full it is\n`lvchange --activate y {path}` activates it");
        }
        Ok(group)
    }

    /// The group, where something is to be made in it.
    fn read_for_making(&self) -> Result<Group> {
        let group = self.read_figures()?;
        if let Some((thin, ThinPoolSize { zeroes: false, .. }, _)) = &group.thin {
            return Err(lvm::shows_old_data(&self.group, thin).into());
        }
        Ok(group)
    }

    /// Makes a volume, then fills it. One that cannot be filled is removed: the caller takes it for none, unless [`LeftBehind`] is in
    /// the error's chain.
    fn make(&self, group: &Group, volume: &NewVolume<'_>, fill: impl FnOnce(&lvm::Making) -> Result<()>) -> Result<String> {
        let what = || format!("creating volume {} in pool {}", volume.name, self.pool);
        let thin = group.thin.as_ref().map(|thin| thin.0.as_str());
        let making = lvm::making(&self.group, thin, &group.volumes, volume).map_err(|error| anyhow!(error)).with_context(what)?;
        let argv: Vec<&str> = making.lvcreate.iter().map(String::as_str).collect();
        // One whose end nobody has seen may have made it.
        let output = self.shell.run(&argv, LVM).map_err(|error| error.context(LeftBehind::perhaps(volume.name)));
        ended(&argv, output.with_context(what)?).with_context(what)?;
        if let Err(error) = fill(&making).with_context(what) {
            return Err(match self.remove(volume.name) {
                Ok(()) => error,
                Err(left) => error.context(LeftBehind::surely(volume.name, format!("{left:#}"))),
            });
        }
        Ok(self.path(volume.name))
    }

    /// Removes a volume of tpl's that is no origin of a classic snapshot: lvm2 looks at both with the group locked. Waits for who
    /// still has it open.
    fn remove(&self, name: &str) -> Result<()> {
        let select = format!("lv_name=\"{name}\" && lv_tags={TAG} && lv_attr!~\"^[oO]\"");
        let argv = ["lvremove", "--yes", "--select", &select, &self.group];
        let end = Instant::now() + self.in_use;
        loop {
            let output = self.shell.run(&argv, LVM)?;
            let in_use = output.code != Some(0) && (output.stderr.contains("in use") || output.stderr.contains("is used by"));
            if in_use && Instant::now() < end {
                thread::sleep(Duration::from_secs(1));
                continue;
            }
            succeeded(&argv, output)?;
            // A selection that matches nothing is no failure to lvm2.
            if self.list()?.iter().any(|volume| volume.name == name) {
                bail!("lvremove has left it: it became somebody else's, or a snapshot was made on it meanwhile");
            }
            return Ok(());
        }
    }

    /// One of tpl's own volumes; none if there is none of this name.
    fn own<'v>(&self, volumes: &'v [LogicalVolume], name: &str) -> Result<Option<&'v LogicalVolume>> {
        let found = volumes.iter().find(|volume| volume.name == name);
        if found.is_some_and(|volume| !volume.own) {
            bail!(
                "{}/{name} is not tpl's: it does not bear the tag {TAG}\n`lvchange --addtag {TAG} {0}/{name}` makes it so",
                self.group
            );
        }
        Ok(found)
    }
}

impl Group {
    /// What is a volume of the storage pool: what stands in the thin pool in use, or what stands in none.
    fn has(&self, volume: &LogicalVolume) -> bool {
        match (&volume.kind, &self.thin) {
            (LvKind::Thin { pool, .. }, Some((thin, ..))) => pool == thin,
            (LvKind::Thick | LvKind::Snapshot { .. }, None) => true,
            _ => false,
        }
    }
}

impl Storage for LvmPool<'_> {
    fn pool(&self) -> &str {
        &self.pool
    }

    fn size(&self) -> Result<PoolSize> {
        let group = self.read_figures()?;
        let path = self.folder();
        let argv: Vec<&str> = ["vgs"].into_iter().chain(REPORT).chain(["-o", lvm::GROUP_COLUMNS, &self.group]).collect();
        let reading = || format!("reading pool {}", self.pool);
        let (capacity, available, extent) =
            lvm::group(&self.lvm(&argv).with_context(reading)?).map_err(|error| anyhow!(error)).with_context(reading)?;
        let names = group.volumes.iter().filter(|volume| !group.has(volume)).map(|volume| volume.name.clone()).collect();
        if let Some((thin, figures, size)) = group.thin {
            let ThinPoolSize { used, metadata, metadata_used, zeroes, .. } = figures;
            let (available, kind) = (ByteSize(size.0.saturating_sub(used.0)), PoolKind::Thin { metadata, metadata_used });
            let beside = Beside { thin_pool: Some(thin), shows_old_data: !zeroes, names };
            return Ok(PoolSize { capacity: size, available, path, kind, extent, beside });
        }
        let beside = Beside { thin_pool: None, shows_old_data: false, names };
        Ok(PoolSize { capacity, available, path, kind: PoolKind::Thick, extent, beside })
    }

    fn volumes(&self) -> Result<Vec<Volume>> {
        let group = self.read()?;
        let folder = self.folder();
        Ok(group.volumes.iter().filter(|volume| group.has(volume)).map(|volume| volume.volume(&folder)).collect())
    }

    fn volume(&self, name: &str) -> Result<Option<Volume>> {
        let found = self.volumes().with_context(|| format!("reading volume {name}"))?;
        Ok(found.into_iter().find(|volume| volume.name == name))
    }

    fn is_logical(&self) -> Result<bool> {
        Ok(true)
    }

    fn path_of(&self, name: &str) -> Result<String> {
        Ok(self.path(name))
    }

    fn create(&self, volume: &NewVolume<'_>) -> Result<String> {
        let group = self.read_for_making()?;
        let path = self.path(volume.name);
        self.make(&group, volume, |making| {
            if let Some(size) = making.grow {
                self.lvm(&["lvextend", "--size", &format!("{size}b"), &format!("{}/{}", self.group, volume.name)])?;
            }
            if volume.format == VolumeFormat::Qcow2 {
                return self.write_header(volume, &path);
            }
            if making.dirty { self.zero(&path, 0) } else { Ok(()) }
        })
    }

    fn copy(&self, source: &str, volume: &NewVolume<'_>) -> Result<String> {
        let group = self.read_for_making()?;
        let original = group.volumes.iter().find(|there| there.name == source);
        let original = original.with_context(|| format!("volume {source} does not exist in pool {}", self.pool))?;
        let size = original.volume(&self.folder()).capacity;
        if volume.format != VolumeFormat::Raw {
            bail!("volume {}: copies in a logical pool are raw", volume.name);
        }
        let new = NewVolume { backing: None, room: None, ..volume.clone() };
        // Whole sectors: both volumes have whole extents.
        let copied = size.min(volume.capacity.round_up(content::SECTOR));
        self.make(&group, &new, |making| {
            let target = self.path(new.name);
            if making.dirty {
                // The copy itself writes the zeros before that.
                self.zero(&target, copied.0)?;
            }
            self.copy_bytes(&self.path(source), copied, &target, !making.dirty)
        })
    }

    fn store(&self, name: &str, length: u64, bytes: &mut dyn Read) -> Result<String> {
        let group = self.read_for_making()?;
        let capacity = ByteSize(length);
        let new = NewVolume { name, capacity, format: VolumeFormat::Raw, backing: None, room: None, protected: false };
        let path = self.path(name);
        self.make(&group, &new, |making| {
            if making.dirty {
                self.zero(&path, length)?;
            }
            self.write(&path, length, bytes)
        })
    }

    fn protect(&self, name: &str) -> Result<()> {
        let volumes = self.list()?;
        let volume = self.own(&volumes, name)?.with_context(|| format!("volume {name} does not exist in pool {}", self.pool))?;
        if volume.read_only {
            return Ok(());
        }
        self.lvm(&["lvchange", "--permission", "r", &format!("{}/{name}", self.group)])
            .with_context(|| format!("closing volume {name} to writers"))?;
        Ok(())
    }

    fn settle(&self, name: &str) -> Result<()> {
        let select = format!("lv_name=\"{name}\" && lv_tags={TAG}");
        let argv = ["lvs", "--noheadings", "--binary", "-o", "lv_device_open", "--select", &select, &self.group];
        let end = Instant::now() + self.in_use;
        while self.lvm(&argv).with_context(|| format!("looking who has volume {name} open"))?.trim() == "1" {
            if Instant::now() >= end {
                bail!("volume {name} is still being written, by what an earlier run has begun there\ntry again later");
            }
            thread::sleep(Duration::from_secs(1));
        }
        Ok(())
    }

    fn delete(&self, name: &str) -> Result<()> {
        let removing = || format!("removing volume {name}");
        let volumes = self.list().with_context(removing)?;
        if self.own(&volumes, name).with_context(removing)?.is_none() {
            return Ok(());
        }
        let on_it = volumes.iter().filter(|volume| matches!(&volume.kind, LvKind::Snapshot { origin, .. } if origin == name));
        let on_it: Vec<&str> = on_it.map(|volume| volume.name.as_str()).collect();
        if !on_it.is_empty() {
            bail!("removing volume {name}: snapshots stand on it: {}", on_it.join(", "));
        }
        self.remove(name).with_context(removing)
    }
}

/// What one of lvm2's programs printed that has ended.
fn ended(argv: &[&str], output: Output) -> Result<String> {
    let rights = output.code != Some(0) && output.stderr.contains("Permission denied");
    succeeded(argv, output).map_err(|error| {
        if rights {
            let advice = "lvm2 needs root: name the hypervisor by qemu+ssh://root@HOST/system, or run tpl as root there";
            return Advised::new(error, advice).into();
        }
        error
    })
}

/// Runs a program that may take as long as a whole disk takes.
fn long(shell: &dyn Shell, argv: &[&str]) -> Result<()> {
    shell::run(shell, argv, Duration::from_secs(6 * 3600)).map(drop)
}
