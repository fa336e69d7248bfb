//! The layouts: scripts that make them with the appliance's own programs, and what stands where.

/// The size of each disk in bytes.
pub const DISK_SIZE: u64 = 2 << 30;

/// A disk.
pub struct Disk {
    /// Its name; its file's, too.
    pub name: &'static str,
    /// The script that makes it. `DISK` is the device.
    pub make: &'static str,
    /// What is mounted where, root first: a partition's number or a volume, and options.
    pub mounts: &'static [(&'static str, &'static str)],
    /// What is looked at afterwards.
    pub volumes: &'static [&'static str],
    /// The guest's fstab.
    pub fstab: &'static [&'static str],
    /// The last partition, which grows with the disk; `disk` if there is no table, nothing if it is not to grow.
    pub grow: &'static str,
    /// What its root can have: `flags`, immutable files; `random`, a large file that compressing makes no smaller.
    pub fill: &'static str,
}

/// All of them.
pub fn disks() -> Vec<Disk> {
    vec![
        Disk {
            name: "uefi-plain-xfs-of-centos7",
            make: "udevadm settle; printf 'label: gpt\\nsize=64MiB, type=U, name=\"EFI System\"\\nname=root\\n' | sfdisk -q --lock=yes DISK
                udevadm settle
                mkfs.vfat -n EFI DISK1
                mkfs.xfs -q -L centos -m crc=1,finobt=0,reflink=0,bigtime=0,inobtcount=0 -i sparse=0,nrext64=0 DISK2",
            mounts: &[("2", ""), ("1 uid=0", "/boot/efi")],
            volumes: &["1", "2"],
            fstab: &["LABEL=centos / xfs defaults 0 0", "LABEL=EFI /boot/efi vfat umask=0077 0 2"],
            grow: "2",
            fill: "flags",
        },
        Disk {
            name: "bios-lvm-xfs-and-more",
            make: "udevadm settle; printf 'label: gpt\\nsize=1MiB, type=21686148-6449-6E6F-744E-656564454649\\nsize=400MiB\\ntype=L\\n' | sfdisk -q --lock=yes DISK
                udevadm settle
                printf 'the boot code' >DISK1
                mkfs.ext4 -q -L boot DISK2
                pvcreate -q DISK3; vgcreate -q vg-a DISK3
                lvcreate -q -y -Wn -L 256M -n var vg-a; lvcreate -q -y -Wn -L 64M -n swap vg-a
                lvcreate -q -y -Wn -L 900M -n root vg-a; lvcreate -q -y -Wn -L 200M -n home vg-a; lvcreate -q -y -Wn -L 64M -n last vg-a
                lvremove -q -y vg-a/home; lvcreate -q -y -Wn -L 260M -n home vg-a
                mkfs.xfs -q -L root /dev/vg-a/root; mkfs.ext4 -q /dev/vg-a/var; mkfs.ext4 -q -L home /dev/vg-a/home
                mkswap -L swap /dev/vg-a/swap; mkswap -L last /dev/vg-a/last",
            mounts: &[("vg-a/root", ""), ("2", "/boot"), ("vg-a/home", "/home"), ("vg-a/var", "/var")],
            volumes: &["1", "2", "vg-a/root", "vg-a/home", "vg-a/var", "vg-a/swap", "vg-a/last"],
            fstab: &[
                "/dev/mapper/vg--a-root / xfs defaults 0 0",
                "LABEL=boot /boot ext4 defaults 0 2",
                "LABEL=home /home ext4 defaults 0 2",
                "/dev/vg-a/var /var ext4 defaults 0 2",
                "LABEL=swap none swap sw 0 0",
            ],
            grow: "3",
            fill: "flags",
        },
        Disk {
            name: "bios-ext4-and-swap-behind",
            make: "udevadm settle; printf 'label: dos\\nsize=1700MiB, bootable\\ntype=82\\n' | sfdisk -q --lock=yes DISK
                udevadm settle
                mkfs.ext4 -q -L root DISK1
                mkswap -L swap -U 0a0b0c0d-1111-2222-3333-444455556666 DISK2",
            mounts: &[("1", "")],
            volumes: &["1", "2"],
            fstab: &["LABEL=root / ext4 errors=remount-ro 0 1", "UUID=0a0b0c0d-1111-2222-3333-444455556666 none swap sw 0 0"],
            grow: "",
            fill: "flags",
        },
        Disk {
            name: "uefi-btrfs-of-fedora",
            make: "udevadm settle; printf 'label: gpt\\nsize=64MiB, type=U\\nsize=300MiB\\ntype=L\\n' | sfdisk -q --lock=yes DISK
                udevadm settle
                mkfs.vfat DISK1; mkfs.ext4 -q -L boot DISK2; mkfs.btrfs -q -L fedora DISK3
                mkdir -p /tmp/root; mount DISK3 /tmp/root
                btrfs -q subvolume create /tmp/root/root; btrfs -q subvolume create /tmp/root/home; umount /tmp/root",
            mounts: &[("3 subvol=root", ""), ("2", "/boot"), ("3 subvol=home", "/home")],
            volumes: &["1", "2", "3"],
            fstab: &[
                "LABEL=fedora / btrfs subvol=root,compress=zstd:1 0 0",
                "LABEL=boot /boot ext4 defaults 1 2",
                "LABEL=fedora /home btrfs subvol=home 0 0",
            ],
            grow: "3",
            fill: "random",
        },
        Disk {
            name: "bios-lvm-and-boot-on-xfs",
            make: "udevadm settle; printf 'label: dos\\nsize=400MiB, bootable\\ntype=8e\\n' | sfdisk -q --lock=yes DISK
                udevadm settle
                mkfs.xfs -q -f -L boot DISK1
                pvcreate -q DISK2; vgcreate -q rl DISK2
                lvcreate -q -y -Wn -L 128M -n swap rl; lvcreate -q -y -Wn -l 100%FREE -n root rl
                mkswap -L swap /dev/rl/swap
                mkfs.xfs -q -f -L root /dev/rl/root",
            mounts: &[("rl/root", ""), ("1", "/boot")],
            volumes: &["1", "rl/root", "rl/swap"],
            fstab: &["/dev/mapper/rl-root / xfs defaults 0 0", "LABEL=boot /boot xfs defaults 0 0", "LABEL=swap none swap sw 0 0"],
            grow: "2",
            fill: "flags",
        },
        Disk {
            name: "whole-disk-xfs",
            make: "mkfs.xfs -q -f -L data -m bigtime=1,inobtcount=1,rmapbt=1 -i nrext64=1 DISK",
            mounts: &[("", "")],
            volumes: &[""],
            fstab: &["LABEL=data / xfs defaults 0 0"],
            grow: "disk",
            fill: "flags",
        },
    ]
}
