"""Reads a kickstart file by pykickstart. It knows what tpl's answer files use, and refuses all else."""

from configparser import ConfigParser
from pathlib import Path

from pykickstart.constants import KS_SCRIPT_PRE
from pykickstart.errors import KickstartError, KickstartParseError
from pykickstart.parser import KickstartParser, Script
from pykickstart.sections import NullSection, PreScriptSection
from pykickstart.version import makeVersion

import machine
from storage import MIB, Format, Group, Layout, Logical, Mount, Partition, Unusable

# What this miniature honours, or what has nothing to act on in it.
COMMANDS = set(
    "text cmdline lang keyboard timezone timesource rootpw user sshkey network firewall selinux services bootloader zerombr clearpart"
    " ignoredisk reqpart part partition volgroup logvol cdrom url repo skipx firstboot eula poweroff shutdown halt reboot install"
    " auth authconfig authselect logging unsupported_hardware %include".split()
)
# Attributes of a volume that would change it, and that this miniature does not do.
NOT_DONE = "encrypted onPart onbiosdisk preexist resize thin_pool thin_volume cache_size hibernation fsprofile maxSizeMB".split()

__all__ = ["KickstartError", "Kickstart", "early", "read"]


class Kickstart:
    """What was read: pykickstart's handler, and the names of the commands that the file has."""

    def __init__(self, handler, used):
        self.handler, self.used = handler, used

    def __getattr__(self, name):
        return getattr(self.handler, name)


def medium(treeinfo):
    """The family's name and the release, of the medium with this .treeinfo."""
    read_file = ConfigParser(interpolation=None)
    read_file.read_string(treeinfo)
    return read_file["general"]["family"], read_file["general"]["version"]


def version(treeinfo):
    """The syntax of the medium's release."""
    family, release = medium(treeinfo)
    return makeVersion(f"{'F' if family == 'Fedora' else 'RHEL'}{release.partition('.')[0]}")


class EarlyParser(KickstartParser):
    """Sees the %pre scripts alone: what they write may be included by the rest."""

    def handleCommand(self, lineno, args):
        pass

    def setupSections(self):
        self._sections = {}
        self.registerSection(PreScriptSection(self.handler, dataObj=Script))
        for name in ("%pre-install", "%post", "%onerror", "%traceback", "%packages", "%addon", "%anaconda", "%certificate"):
            self.registerSection(NullSection(self.handler, sectionOpen=name))


def early(handler, path):
    EarlyParser(handler, missingIncludeIsFatal=False).readKickstart(str(path))
    return [script for script in handler.scripts if script.type == KS_SCRIPT_PRE]


def read(handler, path):
    used = []
    dispatch = handler.dispatcher

    def dispatcher(args, lineno):
        used.append(args[0])
        made = dispatch(args, lineno)
        if args[0] not in COMMANDS:
            raise KickstartParseError(f"{args[0]}: this miniature installer does not know that command", lineno=lineno)
        asked = [name for name in NOT_DONE if getattr(made, name, None)]
        if asked:
            raise KickstartParseError(f"{args[0]}: this miniature installer does not do {', '.join(asked)}", lineno=lineno)
        return made

    handler.dispatcher = dispatcher
    KickstartParser(handler).readKickstart(str(path))
    return Kickstart(handler, used)


def layout(answers):
    """Partitions, groups and logical volumes as a layout on the one disk."""
    disk = find_disk(answers)
    label = answers.clearpart.disklabel or ("gpt" if machine.uefi() or "inst.gpt" in machine.words() else "msdos")
    made = Layout(tables={disk: {"msdos": "msdos", "gpt": "gpt"}[label]})
    if not answers.clearpart.initAll or answers.clearpart.type is None:
        raise Unusable("not enough free space on disks: clearpart --all --initlabel is missing")
    # Without a word about it, Anaconda installs the boot loader on the first disk.
    if answers.bootloader.location != "none" or "bootloader" not in answers.used:
        made.boot_disk = disk
    wanted = list(required(answers, made.tables[disk]))
    for part in answers.partition.partitions:
        if part.disk and f"/dev/{part.disk.removeprefix('/dev/')}" != disk:
            raise Unusable(f"Disk \"{part.disk}\" given in part command does not exist.")
        kind = {"biosboot": "bios", "efi": "esp", "swap": "swap"}.get(part.fstype, "linux")
        name = part.mountpoint
        if name.startswith("pv."):
            kind = "lvm"
        fstype = {"bios": None, "esp": "vfat", "lvm": None, "swap": "swap"}.get(kind, part.fstype or "xfs")
        if name == "swap":
            kind, fstype = "swap", "swap"
        if kind == "bios" and part.mountpoint not in ("", "biosboot"):
            raise Unusable(f"a biosboot partition is mounted nowhere, and not at {part.mountpoint}")
        wanted.append((name or kind, kind, part.size, part.grow, fstype, part.fsopts, part.label))
    place(made, disk, wanted)
    logical_volumes(made, answers)
    return made


def find_disk(answers):
    named = [*answers.ignoredisk.onlyuse, *answers.clearpart.drives, *[part.disk for part in answers.partition.partitions if part.disk]]
    disk = "/dev/" + (named[0].removeprefix("/dev/") if named else "vda")
    if not Path(disk).is_block_device():
        raise Unusable(f"Disk \"{disk.removeprefix('/dev/')}\" given in ignoredisk command does not exist.")
    return disk


def required(answers, table):
    """What `reqpart` makes for this firmware."""
    if not answers.reqpart.reqpart and "reqpart" not in answers.used:
        return
    if machine.uefi():
        yield ("/boot/efi", "esp", 600, False, "vfat", "umask=0077,shortname=winnt", "")
    elif table == "gpt":
        yield ("biosboot", "bios", 1, False, None, "", "")
    if answers.reqpart.addBoot:
        yield ("/boot", "linux", 1024, False, "xfs", "", "")


def place(made, disk, wanted):
    """Partitions in the order of the file, and the one that grows behind all."""
    if sum(bool(one[3]) for one in wanted) > 1:
        raise Unusable("this miniature lets one partition grow")
    for number, (name, kind, size, grow, fstype, options, label) in enumerate(sorted(wanted, key=lambda one: bool(one[3])), 1):
        if made.tables[disk] == "msdos" and number > 4:
            raise Unusable("this miniature makes no logical partitions")
        boot = name == "/boot" or (name == "/" and all(one[0] != "/boot" for one in wanted))
        made.partitions.append(Partition(name, disk, number, None if grow else int(size) * MIB, kind, boot))
        filesystem(made, name, fstype, name, options, label)


def filesystem(made, device, fstype, where, options, label):
    if fstype is None:
        return
    fstype = {"efi": "vfat"}.get(fstype, fstype)
    if fstype not in ("ext4", "xfs", "vfat", "swap"):
        raise Unusable(f"this miniature makes no {fstype}")
    made.formats.append(Format(device, fstype, label or ""))
    made.mounts.append(Mount(device, where if where.startswith("/") else "none", options or "defaults"))


def logical_volumes(made, answers):
    for group in answers.volgroup.vgList:
        missing = [name for name in group.physvols if all(part.key != name for part in made.partitions)]
        if missing:
            raise Unusable(f"Tried to use undefined partition \"{missing[0]}\" in Volume Group specification")
        made.groups.append(Group(group.vgname, group.vgname, group.physvols))
    # The one that grows takes what the others leave.
    for volume in sorted(answers.logvol.lvList, key=lambda one: bool(one.grow or one.percent)):
        if all(group.name != volume.vgname for group in made.groups):
            raise Unusable(f"No volume group exists with the name \"{volume.vgname}\". Specify volume groups before logical volumes.")
        key = f"{volume.vgname}-{volume.name}"
        size = None if volume.grow or volume.percent else int(volume.size) * MIB
        made.logicals.append(Logical(key, volume.vgname, volume.name, size, volume.percent or None))
        fstype = "swap" if volume.mountpoint == "swap" else volume.fstype or "xfs"
        filesystem(made, key, fstype, volume.mountpoint, volume.fsopts, volume.label)
