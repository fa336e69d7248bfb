//! Whether a template can boot: nothing was cut off, and what the boot loader and fstab name is there.

use anyhow::Result;

use crate::{
    host::guest::{Checker, DISK, Files, Guest},
    seal::{Layout, geometry::Geometry, probe::Kind},
};

/// Larger than any boot loader's configuration.
const CONFIG_LIMIT: usize = 1 << 20;
/// Where boot loaders keep their configuration: GRUB, and the entries of the Boot Loader Specification.
const CONFIGS: [&str; 5] = [
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/boot/loader/entries/*.conf",
    "/boot/efi/loader/entries/*.conf",
    "/boot/extlinux/extlinux.conf",
];

pub(super) fn disk(guest: &dyn Guest, layout: &Layout) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    if let Some(table) = &layout.table {
        broken.extend(table.faults(layout.disk_size, &|offset, length| guest.read_device(DISK, offset, length))?);
    }
    for volume in layout.volumes.iter().filter(|volume| volume.holds(Kind::Ext)) {
        let Some(geometry) = Geometry::read(guest, &volume.device)? else {
            continue;
        };
        let size = guest.device_size(&volume.device)?;
        if geometry.size > size {
            broken.push(format!("the filesystem on {} has {} bytes, its device only {size}", volume.device, geometry.size));
        }
    }
    Ok(broken)
}

pub(super) fn filesystems(guest: &dyn Guest, layout: &Layout) -> Result<Vec<String>> {
    guest.unmount_all()?;
    let mut broken = Vec::new();
    for volume in &layout.volumes {
        let checker = match volume.content.as_ref().map(|content| content.kind) {
            Some(Kind::Ext) => Checker::Ext,
            Some(Kind::Xfs) => Checker::Xfs,
            Some(Kind::Btrfs) => Checker::Btrfs,
            Some(Kind::Fat) => Checker::Fat,
            Some(Kind::Swap | Kind::Physical | Kind::Luks) | None => continue,
        };
        if let Some(found) = guest.check(&volume.device, checker)? {
            broken.push(format!("the filesystem on {}: {}", volume.device, found.replace('\n', "; ")));
        }
    }
    Ok(broken)
}

pub(super) fn fstab(layout: &Layout) -> Vec<String> {
    let mut broken = Vec::new();
    for entry in layout.fstab.iter().filter(|entry| !entry.optional && is_disk(&entry.spec)) {
        match layout.resolve(&entry.spec) {
            None => broken.push(format!("{} is mounted on {}, and is not on the disk", entry.spec, entry.mount_point)),
            Some(volume) if entry.mount_point == "/" && volume.device != layout.root() => {
                broken.push(format!("{} is mounted on /, and the root is {}", entry.spec, layout.root()));
            }
            Some(_) => {}
        }
    }
    broken
}

/// Whether an fstab's first field names a disk's content; not `tmpfs`, a network share or an optical drive.
fn is_disk(spec: &str) -> bool {
    let drive = ["/dev/sr", "/dev/cdrom", "/dev/fd"].iter().any(|drive| spec.starts_with(drive));
    !drive && ["UUID=", "LABEL=", "PARTUUID=", "/dev/"].iter().any(|tag| spec.starts_with(tag))
}

pub(super) fn bootloader(guest: &dyn Files, layout: &Layout) -> Result<Vec<String>> {
    let configs = guest.glob(&CONFIGS)?;
    if configs.is_empty() {
        return Ok(vec!["there is no boot loader's configuration".to_owned()]);
    }
    let mut broken = Vec::new();
    for path in configs {
        let text = guest.read(&path, CONFIG_LIMIT)?.unwrap_or_default();
        let named = named(&String::from_utf8_lossy(&text));
        for spec in named.filesystems {
            if layout.resolve(&spec).is_none() {
                broken.push(format!("{path} names {spec}, which is not on the disk"));
            }
        }
        for file in named.files {
            if !is_there(guest, &file)? {
                broken.push(format!("{path} loads {file}, which is not there"));
            }
        }
    }
    Ok(broken)
}

/// What a boot loader's configuration names, each once.
#[derive(Debug, Default, PartialEq, Eq)]
struct Named {
    filesystems: Vec<String>,
    files: Vec<String>,
}

fn named(text: &str) -> Named {
    let mut named = Named::default();
    let mut add = |list: fn(&mut Named) -> &mut Vec<String>, value: String| {
        let list = list(&mut named);
        if !list.contains(&value) {
            list.push(value);
        }
    };
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let Some((verb, rest)) = words.split_first() else {
            continue;
        };
        // A variable's value is not known here.
        let mut plain = rest.iter().filter(|word| !word.contains('$'));
        match *verb {
            "search" if rest.contains(&"--fs-uuid") => {
                if let Some(uuid) = plain.next_back().filter(|word| !word.starts_with('-')) {
                    add(|named| &mut named.filesystems, format!("UUID={}", uuid.trim_matches(['"', '\''])));
                }
            }
            "linux" | "linux16" | "linuxefi" | "kernel" | "LINUX" | "KERNEL" => {
                if let Some(file) = plain.next().filter(|word| word.starts_with('/')) {
                    add(|named| &mut named.files, (*file).to_owned());
                }
            }
            "initrd" | "initrd16" | "initrdefi" | "INITRD" => {
                plain.filter(|word| word.starts_with('/')).for_each(|file| add(|named| &mut named.files, (*file).to_owned()));
            }
            _ => {}
        }
        let roots = rest.iter().filter_map(|word| word.strip_prefix("root=")).filter(|spec| !spec.contains('$'));
        let loads = matches!(*verb, "linux" | "linux16" | "linuxefi" | "options" | "append" | "APPEND");
        roots.filter(|_| loads).for_each(|spec| add(|named| &mut named.filesystems, spec.to_owned()));
    }
    named
}

/// Whether a file that a boot loader names is there: its root can be a boot partition of its own.
fn is_there(guest: &dyn Files, file: &str) -> Result<bool> {
    for folder in ["", "/boot", "/boot/efi"] {
        if guest.stat(&format!("{folder}{file}"))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        host::guest::Mount,
        seal::{
            fake::FakeFiles,
            fstab,
            layout::Volume,
            probe::{Content, Kind},
        },
    };

    /// A disk with one ext4 root whose UUID is `e806`.
    fn layout(text: &str) -> Layout {
        let content = Content { kind: Kind::Ext, uuid: "e806".to_owned(), label: String::new() };
        let volume = |device: &str, content| Volume {
            device: device.to_owned(),
            partition: Some(1),
            partition_uuid: String::new(),
            content,
        };
        let volumes = vec![volume("/dev/sda1", Some(content)), volume("/dev/sda2", None)];
        let root = Mount { device: "/dev/sda1".to_owned(), mount_point: "/".to_owned(), subvolume: None };
        Layout { disk_size: 1 << 30, table: None, volumes, fstab: fstab::parse(text), mounts: vec![root] }
    }

    #[test]
    fn an_fstab_that_names_what_is_not_there_is_broken() {
        let table: [(&str, &[&str]); 5] = [
            ("UUID=e806 / ext4 defaults 0 1\ntmpfs /tmp tmpfs defaults 0 0\n", &[]),
            ("UUID=beef / ext4 defaults 0 1\n", &["UUID=beef is mounted on /, and is not on the disk"]),
            ("/dev/vda2 / ext4 defaults 0 1\n", &["/dev/vda2 is mounted on /, and the root is /dev/sda1"]),
            ("UUID=beef /srv ext4 nofail 0 1\n/dev/sr0 /media/cdrom0 udf user,noauto 0 0\n", &[]),
            ("/dev/mapper/vg-swap none swap sw 0 0\n", &["/dev/mapper/vg-swap is mounted on none, and is not on the disk"]),
        ];
        for (text, broken) in table {
            assert_eq!(super::fstab(&layout(text)), broken, "{text}");
        }
    }

    #[test]
    fn a_boot_loader_that_names_what_is_not_there_is_broken() {
        let grub = "search --fs-uuid --set=root e806\nlinux /boot/vmlinuz root=UUID=e806\ninitrd /initrd.img\n";
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
        let table: [Case<'_>; 3] = [
            (&[("/boot/grub/grub.cfg", grub), ("/boot/vmlinuz", ""), ("/boot/initrd.img", "")], &[]),
            (
                &[("/boot/grub/grub.cfg", &grub.replace("e806", "beef")), ("/boot/vmlinuz", "")],
                &[
                    "/boot/grub/grub.cfg names UUID=beef, which is not on the disk",
                    "/boot/grub/grub.cfg loads /initrd.img, which is not there",
                ],
            ),
            (&[], &["there is no boot loader's configuration"]),
        ];
        for (files, broken) in table {
            assert_eq!(bootloader(&FakeFiles::new(files), &layout("")).unwrap(), broken, "{files:?}");
        }
    }

    #[test]
    fn names_are_found_in_every_kind_of_configuration() {
        let grub = "\tsearch --no-floppy --fs-uuid --set=root --hint-bios=hd0,msdos1  e806\n\
                    \tsearch --no-floppy --fs-uuid --set=root e806\n\
                    \tlinux\t/boot/vmlinuz-6.12 root=UUID=e806 ro  console=ttyS0\n\tinitrd\t/boot/initrd.img-6.12\n\
                    \tset root='hd0,msdos1'\n\tlinux $prefix/memtest root=$x\n";
        let entry = "title Rocky\nlinux /vmlinuz-5.14\ninitrd /initramfs-5.14.img $tuned_initrd\noptions root=/dev/mapper/rl-root ro $tuned\n";
        let table: [(&str, &[&str], &[&str]); 3] = [
            (grub, &["UUID=e806"], &["/boot/vmlinuz-6.12", "/boot/initrd.img-6.12"]),
            (entry, &["/dev/mapper/rl-root"], &["/vmlinuz-5.14", "/initramfs-5.14.img"]),
            ("", &[], &[]),
        ];
        for (text, filesystems, files) in table {
            let owned = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            assert_eq!(named(text), Named { filesystems: owned(filesystems), files: owned(files) });
        }
    }

    #[test]
    fn only_what_is_on_a_disk_must_be_there() {
        let table = [
            ("UUID=a", true),
            ("/dev/mapper/a-b", true),
            ("/dev/sr0", false),
            ("/dev/cdrom", false),
            ("tmpfs", false),
            ("nas:/export", false),
        ];
        for (spec, disk) in table {
            assert_eq!(is_disk(spec), disk, "{spec}");
        }
    }
}
