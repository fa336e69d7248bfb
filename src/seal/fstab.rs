//! fstab: parsed, and its first field resolved to a volume of the appliance.

use crate::seal::layout::Volume;

/// A line of fstab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FstabEntry {
    /// What is mounted, as written: `UUID=…`, a device, …
    pub spec: String,
    /// Where; `none` for swap.
    pub mount_point: String,
    /// The filesystem's type as written.
    pub kind: String,
    /// Whether the boot goes on without it.
    pub optional: bool,
    /// The btrfs subvolume.
    pub subvolume: Option<String>,
}

/// The entries of an fstab; lines that are none are left out, as `mount` does.
pub fn parse(text: &str) -> Vec<FstabEntry> {
    text.lines().filter_map(entry).collect()
}

fn entry(line: &str) -> Option<FstabEntry> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let mut fields = line.split_whitespace();
    let (spec, mount_point, kind) = (fields.next()?, fields.next()?, fields.next()?);
    let options: Vec<_> = fields.next().unwrap_or_default().split(',').collect();
    Some(FstabEntry {
        spec: spec.replace('"', ""),
        // The only escape that occurs in practice.
        mount_point: mount_point.replace("\\040", " "),
        kind: kind.to_owned(),
        optional: options.iter().any(|option| ["noauto", "nofail"].contains(option)),
        subvolume: options.iter().find_map(|option| option.strip_prefix("subvol=")).map(str::to_owned),
    })
}

/// The volume that `spec` names; none if there is no such volume.
pub fn resolve<'a>(spec: &str, volumes: &'a [Volume]) -> Option<&'a Volume> {
    let by = |wanted: &dyn Fn(&Volume) -> bool| volumes.iter().find(|volume| wanted(volume));
    let uuid =
        |value: &str| by(&|volume| volume.content.as_ref().is_some_and(|content| content.uuid.eq_ignore_ascii_case(value)));
    let label = |value: &str| by(&|volume| volume.content.as_ref().is_some_and(|content| content.label == value));
    let part = |value: &str| by(&|volume| volume.partition.is_some() && volume.partition_uuid.eq_ignore_ascii_case(value));
    // An empty value would match every volume that has none.
    if let Some(value) = tag(spec, "UUID=", "/dev/disk/by-uuid/") {
        return uuid(value).filter(|_| !value.is_empty());
    }
    if let Some(value) = tag(spec, "LABEL=", "/dev/disk/by-label/") {
        return label(value).filter(|_| !value.is_empty());
    }
    if let Some(value) = tag(spec, "PARTUUID=", "/dev/disk/by-partuuid/") {
        return part(value).filter(|_| !value.is_empty());
    }
    let device = device_name(spec);
    by(&|volume| volume.device == device)
}

/// The value behind either notation of a tag.
fn tag<'a>(spec: &'a str, name: &str, folder: &str) -> Option<&'a str> {
    spec.strip_prefix(name).or_else(|| spec.strip_prefix(folder))
}

/// A device's name in the appliance: the guest's first disk is called `vda` or `sda` there, and volumes have two names.
fn device_name(spec: &str) -> String {
    if let Some(rest) = ["/dev/vda", "/dev/xvda", "/dev/hda"].iter().find_map(|disk| spec.strip_prefix(disk)) {
        return format!("/dev/sda{rest}");
    }
    if let Some(mapped) = spec.strip_prefix("/dev/mapper/") {
        // Device-mapper doubles a dash within a name; a single one stands between group and volume.
        let marked = mapped.replace("--", "\0");
        if let Some((group, volume)) = marked.split_once('-') {
            return format!("/dev/{}/{}", group.replace('\0', "-"), volume.replace('\0', "-"));
        }
    }
    spec.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::probe::{Content, Kind};

    fn volume(device: &str, uuid: &str, label: &str, partition_uuid: &str) -> Volume {
        let content = Content { kind: Kind::Ext, uuid: uuid.to_owned(), label: label.to_owned() };
        let partition = (!partition_uuid.is_empty()).then_some(1);
        Volume { device: device.to_owned(), partition, partition_uuid: partition_uuid.to_owned(), content: Some(content) }
    }

    #[test]
    fn every_way_to_name_a_volume_leads_to_it() {
        let volumes = [
            volume("/dev/sda1", "e806fdc2-aa03", "root", "1f2e3d4c-01"),
            volume("/dev/debian-vg/swap_1", "b1", "", ""),
            volume("/dev/sda2", "", "", "x"),
        ];
        let table = [
            ("UUID=E806FDC2-aa03", Some(0)),
            ("UUID=", None),
            ("UUID=none", None),
            ("LABEL=root", Some(0)),
            ("LABEL=ROOT", None),
            ("PARTUUID=1F2E3D4C-01", Some(0)),
            ("/dev/disk/by-uuid/b1", Some(1)),
            ("/dev/vda1", Some(0)),
            ("/dev/sda2", Some(2)),
            ("/dev/sdb1", None),
            ("/dev/mapper/debian--vg-swap_1", Some(1)),
            ("/dev/debian-vg/swap_1", Some(1)),
            ("/dev/sr0", None),
        ];
        for (spec, index) in table {
            assert_eq!(resolve(spec, &volumes), index.map(|index: usize| &volumes[index]), "{spec}");
        }
    }

    #[test]
    fn a_line_is_an_entry_or_nothing() {
        let entry = |spec: &str, at: &str, kind: &str, optional, subvolume: Option<&str>| FstabEntry {
            spec: spec.to_owned(),
            mount_point: at.to_owned(),
            kind: kind.to_owned(),
            optional,
            subvolume: subvolume.map(str::to_owned),
        };
        let text = "# /etc/fstab\n\nUUID=\"a\" / ext4 errors=remount-ro 0 1\n/dev/sr0\t/media/a\\040b udf user,noauto 0 0\n\
                    UUID=b /home btrfs subvol=home,nofail 0 0\nbroken\nUUID=c none swap\n";
        assert_eq!(
            parse(text),
            [
                entry("UUID=a", "/", "ext4", false, None),
                entry("/dev/sr0", "/media/a b", "udf", true, None),
                entry("UUID=b", "/home", "btrfs", true, Some("home")),
                entry("UUID=c", "none", "swap", false, None),
            ]
        );
    }
}
