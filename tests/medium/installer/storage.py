"""What an answer file wants of the disk, in one form for both families, and the doing of it."""

from dataclasses import dataclass, field
from pathlib import Path

import machine

MIB = 1024 * 1024
GPT = {"linux": "L", "swap": "S", "lvm": "V", "esp": "U", "bios": "21686148-6449-6E6F-744E-656564454649"}
MSDOS = {"linux": "83", "swap": "82", "lvm": "8e", "esp": "ef"}


class Unusable(Exception):
    """A layout that the real installer would not accept, or could not boot."""


@dataclass
class Partition:
    """One partition. `size` in bytes; None takes the rest of the disk."""

    key: str
    disk: str
    number: int
    size: int | None
    kind: str = "linux"
    boot: bool = False

    @property
    def path(self):
        return f"{self.disk}{'p' if self.disk[-1].isdigit() else ''}{self.number}"


@dataclass
class Group:
    key: str
    name: str
    members: list


@dataclass
class Logical:
    """One logical volume. `size` in bytes; None takes what is left, `percent` a share of what is left."""

    key: str
    group: str
    name: str
    size: int | None
    percent: int | None = None

    @property
    def path(self):
        return f"/dev/{self.group}/{self.name}"


@dataclass
class Format:
    device: str
    fstype: str
    label: str = ""


@dataclass
class Mount:
    device: str
    path: str
    options: str = "defaults"


@dataclass
class Layout:
    """All of it. Devices are named by the keys of partitions and logical volumes."""

    tables: dict = field(default_factory=dict)
    partitions: list = field(default_factory=list)
    groups: list = field(default_factory=list)
    logicals: list = field(default_factory=list)
    formats: list = field(default_factory=list)
    mounts: list = field(default_factory=list)
    boot_disk: str = ""

    def path(self, key):
        for volume in self.partitions + self.logicals:
            if volume.key == key:
                return volume.path
        raise Unusable(f"no device {key}")

    def kind(self, key):
        return next((one.fstype for one in self.formats if one.device == key), None)

    def filesystems(self):
        """The mounts that have a folder, outermost first."""
        return sorted((mount for mount in self.mounts if mount.path.startswith("/")), key=lambda mount: mount.path.rstrip("/").count("/"))


def partition(layout, note):
    for disk, table in layout.tables.items():
        if not Path(disk).is_block_device():
            raise Unusable(f"there is no disk {disk}")
        types = GPT if table == "gpt" else MSDOS
        lines = [f"label: {'gpt' if table == 'gpt' else 'dos'}"]
        for part in layout.partitions:
            if part.disk != disk:
                continue
            fields = [f"type={types[part.kind]}"]
            if part.size is not None:
                fields.append(f"size={part.size // MIB}MiB")
            if part.boot and table != "gpt":
                fields.append("bootable")
            lines.append(", ".join(fields))
        machine.run(["sfdisk", "--wipe", "always", "--wipe-partitions", "always", disk], note, stdin="\n".join(lines) + "\n")
    machine.run(["udevadm", "settle"], note)


def volumes(layout, note):
    for group in layout.groups:
        members = [layout.path(member) for member in group.members]
        machine.run(["vgcreate", "-y", "-ff", group.name, *members], note)
    for volume in layout.logicals:
        if volume.size is not None:
            size = ["-L", f"{volume.size}b"]
        else:
            size = ["-l", f"{volume.percent or 100}%FREE"]
        machine.run(["lvcreate", "-y", "-W", "y", *size, "-n", volume.name, volume.group], note)
    machine.run(["udevadm", "settle"], note)


def make_filesystem(layout, one, note):
    path = layout.path(one.device)
    label = ["-n" if one.fstype == "vfat" else "-L", one.label] if one.label else []
    commands = {
        "ext4": ["mkfs.ext4", "-q", "-F"],
        "xfs": ["mkfs.xfs", "-q", "-f"],
        "vfat": ["mkfs.vfat", "-F", "32"],
        "swap": ["mkswap"],
    }
    machine.run([*commands[one.fstype], *label, path], note)


def mount(layout, target, note):
    for one in layout.filesystems():
        folder = Path(target) / one.path.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        machine.run(["mount", "-t", layout.kind(one.device), layout.path(one.device), str(folder)], note)


def fstab(layout):
    """Lines by UUID for partitions, by name for logical volumes, as both families' installers write them."""
    lines = []
    for one in layout.filesystems() + [mount for mount in layout.mounts if not mount.path.startswith("/")]:
        path, kind = layout.path(one.device), layout.kind(one.device)
        if any(volume.key == one.device for volume in layout.logicals):
            source = path
        else:
            source = "UUID=" + machine.run(["blkid", "-s", "UUID", "-o", "value", path])[0]
        order = {"/": 1}.get(one.path, 0 if kind in ("swap", "vfat", "xfs") else 2)
        where = "none" if kind == "swap" else one.path
        options = "sw" if kind == "swap" else one.options
        lines.append(f"{source} {where} {kind} {options} 0 {order}\n")
    return "".join(lines)


def check(layout):
    """What the real ones find out before they touch the disk: a root to install to, and something to boot from."""
    if not any(mount.path == "/" for mount in layout.mounts):
        raise Unusable("no file system is mounted at /")
    if not layout.boot_disk:
        raise Unusable("no disk gets a boot loader")
    kinds = {part.kind for part in layout.partitions if part.disk == layout.boot_disk}
    if machine.uefi():
        if "esp" not in kinds or not any(mount.path == "/boot/efi" for mount in layout.mounts):
            raise Unusable("no EFI system partition is mounted at /boot/efi")
    elif layout.tables[layout.boot_disk] == "gpt" and "bios" not in kinds:
        raise Unusable("a GPT disk needs a BIOS boot partition here")
