//! What tpl reads of a hypervisor: plain values, gathered in one read and decided upon without going back.

use uuid::Uuid;

use super::units::ByteSize;

/// Whether a domain runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DomainState {
    /// Its virtual CPUs run.
    Running,
    /// It exists in memory, and its virtual CPUs stand still.
    Paused,
    /// Its emulator has stopped it: a disk that could not be written, mostly for want of room in its pool, or an instruction that
    /// KVM could not carry out.
    Halted,
    /// Its emulator ended by itself.
    Crashed,
    /// Not running.
    Shutoff,
}

impl DomainState {
    /// Whether an emulator process belongs to it.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Halted)
    }

    /// The state in libvirt's words, which calls [`Self::Halted`] paused.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::Crashed => "crashed",
            Self::Shutoff => "shutoff",
        }
    }
}

/// A domain, as libvirt has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// Whether it runs.
    pub state: DomainState,
    /// Its persistent definition.
    pub xml: String,
}

/// What a domain is promised, running or not: the most that its definition lets it have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pledge {
    /// The domain's name.
    pub name: String,
    /// Whether an emulator process belongs to it.
    pub active: bool,
    /// vCPUs.
    pub vcpus: u32,
    /// Memory.
    pub memory: ByteSize,
}

/// The hypervisor's own size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostSize {
    /// Physical memory.
    pub memory: ByteSize,
    /// Logical CPUs.
    pub cpus: u32,
}

/// The format of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeFormat {
    /// Bytes as the guest sees them.
    Raw,
    /// QEMU's copy-on-write format.
    Qcow2,
}

impl VolumeFormat {
    /// The format in the words of libvirt and qemu-img.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// A volume to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVolume<'a> {
    /// Its name in the pool.
    pub name: &'a str,
    /// Its virtual size.
    pub capacity: ByteSize,
    /// Its format.
    pub format: VolumeFormat,
    /// The volume that it stands on: its path and its format.
    pub backing: Option<(&'a str, VolumeFormat)>,
    /// The room for what comes to differ from what it stands on, where that is set aside from the start:
    /// in [`PoolKind::Thick`], and only there.
    pub room: Option<ByteSize>,
    /// Nobody but root may write to it, and root only by intent, as soon as it has been
    /// [protected](crate::host::hypervisor::Storage::protect).
    pub protected: bool,
}

/// A volume, as its pool has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name in the pool.
    pub name: String,
    /// Its path on the hypervisor.
    pub path: String,
    /// Its virtual size.
    pub capacity: ByteSize,
    /// What it takes of the pool.
    pub allocation: ByteSize,
    /// How full the room of a classic LVM snapshot is; none for anything else.
    pub room: Option<Room>,
}

/// The room that a classic LVM snapshot has for what differs from its origin. When it is full, the snapshot is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Room {
    /// All of it.
    pub size: ByteSize,
    /// What is taken.
    pub used: ByteSize,
    /// It was full, and the snapshot cannot be read any more.
    pub lost: bool,
    /// tpl has made it.
    #[serde(skip)]
    pub own: bool,
}

/// A pool's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSize {
    /// All of it.
    pub capacity: ByteSize,
    /// What is free.
    pub available: ByteSize,
    /// The folder of a directory pool, `/dev/GROUP` of a logical one.
    pub path: String,
    /// How it keeps its volumes.
    pub kind: PoolKind,
    /// What sizes are rounded up to: a volume group's extents; one byte for files.
    pub extent: ByteSize,
    /// What else is known of a volume group.
    pub beside: Beside,
}

/// What is in a volume group besides the volumes of the pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beside {
    /// The thin pool that volumes are made in.
    pub thin_pool: Option<String>,
    /// What that gives away anew shows what others have written there.
    pub shows_old_data: bool,
    /// The names that are taken in the group by what is no volume of the pool.
    pub names: Vec<String>,
}

impl PoolSize {
    /// Its volume group; none where its volumes are files.
    pub fn group(&self) -> Option<&str> {
        self.path.strip_prefix("/dev/").filter(|_| self.kind.is_logical())
    }

    /// Its thin pool, as lvm2's programs name it; none where it has none.
    pub fn thin_pool(&self) -> Option<String> {
        Some(format!("{}/{}", self.group()?, self.beside.thin_pool.as_ref()?))
    }

    /// The size that a volume has here that must hold so many bytes.
    pub fn rounded(&self, size: ByteSize) -> ByteSize {
        size.round_up(self.extent.0.max(1))
    }
}

/// How a pool keeps its volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolKind {
    /// Files in a folder.
    Directory,
    /// Logical volumes that have all of their extents from the start.
    Thick,
    /// Thin volumes in a thin pool: the pool's size and what is free are those of its data.
    Thin {
        /// The size of the thin pool's metadata.
        metadata: ByteSize,
        /// What is taken of that.
        metadata_used: ByteSize,
    },
}

impl PoolKind {
    /// Whether its volumes are block devices.
    pub fn is_logical(self) -> bool {
        self != Self::Directory
    }

    /// Whether its volumes are promised more than they take.
    pub fn is_thin(self) -> bool {
        matches!(self, Self::Thin { .. })
    }

    /// What a volume may come to take: all of its capacity where it grows as it is written to. In a volume group it never takes more
    /// than it has from the start, and a snapshot never more than its room.
    pub fn pledge_of(self, volume: &Volume) -> ByteSize {
        match self {
            Self::Directory | Self::Thin { .. } => volume.capacity,
            Self::Thick => volume.room.map_or(volume.allocation, |room| room.size),
        }
    }
}

/// Whether a connection's URI names this machine: no host stands between `://` and the path.
pub fn is_local(uri: &str) -> bool {
    uri.split_once("://").is_none_or(|(_, rest)| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_with_a_host_is_not_local() {
        for (uri, local) in [
            ("qemu:///system", true),
            ("qemu:///session?x=y", true),
            ("qemu+ssh://root@hv2/system", false),
            ("qemu://hv2/system", false),
        ] {
            assert_eq!(is_local(uri), local, "{uri}");
        }
    }
}
