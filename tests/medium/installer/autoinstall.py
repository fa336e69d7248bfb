"""Reads an autoinstall file. It knows what tpl's answer files use, and refuses all else."""

import re

import yaml

import machine
from storage import MIB, Format, Group, Layout, Logical, Mount, Partition, Unusable

TEXT, WORDS, MAP, FLAG = str, "words", dict, bool
# The sections, with the type that subiquity's schema asks of each.
SECTIONS = {
    "version": int, "locale": TEXT, "timezone": TEXT, "keyboard": MAP, "refresh-installer": MAP, "interactive-sections": WORDS,
    "early-commands": "commands", "late-commands": "commands", "error-commands": "commands", "network": MAP,
    "proxy": (str, type(None)), "apt": MAP, "storage": MAP, "identity": MAP, "user-data": MAP, "ssh": MAP, "packages": WORDS,
    "updates": TEXT, "shutdown": TEXT, "source": MAP, "kernel": MAP, "drivers": MAP, "codecs": MAP, "debconf-selections": TEXT,
    "timesync": MAP, "oem": MAP,
}
INSIDE = {
    "keyboard": {"layout": TEXT, "variant": TEXT, "toggle": (str, type(None))},
    "refresh-installer": {"update": FLAG, "channel": TEXT},
    "identity": {"realname": TEXT, "username": TEXT, "hostname": TEXT, "password": TEXT},
    "ssh": {"install-server": FLAG, "allow-pw": FLAG, "authorized-keys": WORDS},
    "source": {"id": TEXT, "search_drivers": FLAG},
    "kernel": {"package": TEXT, "flavor": TEXT},
    "drivers": {"install": FLAG},
    "codecs": {"install": FLAG},
    "oem": {"install": (str, bool)},
    "apt": {
        "preserve_sources_list": FLAG, "primary": list, "mirror-selection": MAP, "geoip": FLAG, "sources": MAP, "fallback": TEXT,
        "disable_components": WORDS, "disable_suites": WORDS, "conf": TEXT, "security": list, "sources_list": TEXT, "preferences": list,
    },
    "storage": {"config": list, "layout": MAP, "swap": MAP, "version": int, "grub": MAP},
}
REQUIRED = {"keyboard": ["layout"], "identity": ["username", "hostname", "password"]}
ALLOWED = {
    "updates": ["security", "all"],
    "shutdown": ["reboot", "poweroff"],
}
SOURCES = ["ubuntu-server", "ubuntu-server-minimal"]
# curtin's actions, with what tpl uses of their keys.
ACTIONS = {
    "disk": {"path", "match", "ptable", "wipe", "preserve", "name", "grub_device"},
    "partition": {"device", "size", "flag", "number", "wipe", "preserve", "grub_device", "name", "partition_type"},
    "format": {"volume", "fstype", "label", "preserve"},
    "mount": {"device", "path", "options"},
    "lvm_volgroup": {"name", "devices", "preserve"},
    "lvm_partition": {"name", "volgroup", "size", "wipe", "preserve"},
}


class Malformed(Exception):
    """What subiquity calls a validation error; `section` is where."""

    def __init__(self, section, detail):
        super().__init__(f"Malformed autoinstall in '{section}' section")
        self.section, self.detail = section, detail


def fits(value, kind):
    if kind == WORDS:
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    if kind == "commands":
        return isinstance(value, list) and all(isinstance(one, str) or fits(one, WORDS) for one in value)
    if kind is int and isinstance(value, bool):
        return False
    return isinstance(value, kind)


def read(text):
    """The mapping under `autoinstall`, with the sections checked that the real one reads before all others."""
    if not text.startswith("#cloud-config\n"):
        raise Malformed("top-level keys", "the user-data does not begin with #cloud-config: cloud-init would not read it")
    try:
        whole = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Malformed("top-level keys", str(error)) from error
    if not isinstance(whole, dict) or list(whole) != ["autoinstall"] or not isinstance(whole["autoinstall"], dict):
        raise Malformed("top-level keys", "No other keys may be present alongside 'autoinstall' at the top level.")
    answers = whole["autoinstall"]
    if answers.get("version") != 1:
        raise Malformed("version or interactive-sections", "'version' is a required property, and 1")
    for name in ("error-commands", "early-commands"):
        if name in answers:
            section(name, answers[name])
    return answers


def check(answers):
    """All sections."""
    for name, value in answers.items():
        section(name, value)
    if "identity" not in answers and "user-data" not in answers:
        raise Malformed("identity", "neither identity nor user-data provided")


def section(name, value):
    if name not in SECTIONS:
        raise Malformed(name, f"Additional properties are not allowed ({name!r} was unexpected)")
    if not fits(value, SECTIONS[name]):
        raise Malformed(name, f"{value!r} is not of the type of this section")
    if name in ALLOWED and value not in ALLOWED[name]:
        raise Malformed(name, f"{value!r} is not one of {ALLOWED[name]}")
    for key, inner in value.items() if name in INSIDE else ():
        if key not in INSIDE[name]:
            raise Malformed(name, f"Additional properties are not allowed ({key!r} was unexpected)")
        if not fits(inner, INSIDE[name][key]):
            raise Malformed(name, f"{key}: {inner!r} is not of the type of this property")
    for key in REQUIRED.get(name, []):
        if key not in value:
            raise Malformed(name, f"{key!r} is a required property")
    if name == "source" and value.get("id") not in SOURCES:
        raise Malformed(name, f"{value.get('id')!r} is none of this medium's sources, {SOURCES}")


def size(value):
    """Bytes of a size as curtin writes them; None for the rest."""
    if value in (-1, "-1"):
        return None
    if isinstance(value, int):
        return value
    found = re.fullmatch(r"(\d+)([BKMGT]?)(i?B)?", str(value))
    if not found:
        raise Malformed("storage", f"{value!r} is no size")
    return int(found[1]) * 1024 ** "BKMGT".index(found[2] or "B")


def layout(asked):
    """The storage section as a layout."""
    if "config" not in asked:
        return guided(asked)
    made, ids = Layout(), {}
    for action in asked["config"]:
        kind = action.get("type")
        if kind not in ACTIONS:
            raise Malformed("storage", f"Unknown storage type: {kind}")
        unknown = set(action) - ACTIONS[kind] - {"id", "type"}
        if unknown or "id" not in action or action["id"] in ids:
            raise Malformed("storage", f"Additional properties are not allowed, or no id of its own: {sorted(unknown)} in {action}")
        if action.get("preserve"):
            raise Malformed("storage", f"this miniature preserves nothing: {action}")
        ids[action["id"]] = action
        ADD[kind](made, action, ids)
    return made


def known(ids, key, *kinds):
    if key not in ids or ids[key]["type"] not in kinds:
        raise Malformed("storage", f"there is no {' or '.join(kinds)} {key!r}")
    return ids[key]


def add_disk(made, action, ids):
    path = action.get("path") or "/dev/vda"
    if action.get("ptable") not in ("gpt", "msdos"):
        raise Malformed("storage", f"{action.get('ptable')!r} is not one of ['gpt', 'msdos']")
    action["path"] = path
    made.tables[path] = action["ptable"]
    if action.get("grub_device"):
        made.boot_disk = path


def add_partition(made, action, ids):
    disk = known(ids, action.get("device"), "disk")["path"]
    flag = action.get("flag", "")
    if flag not in ("", "boot", "bios_grub", "lvm", "swap", "linux"):
        raise Malformed("storage", f"{flag!r} is no flag that this miniature knows")
    kind = {"bios_grub": "bios", "lvm": "lvm", "swap": "swap"}.get(flag, "linux")
    # curtin makes an EFI system partition of a GPT partition with the flag boot.
    if flag == "boot" and made.tables[disk] == "gpt":
        kind = "esp"
        if action.get("grub_device"):
            made.boot_disk = disk
    number = action.get("number") or 1 + sum(part.disk == disk for part in made.partitions)
    made.partitions.append(Partition(action["id"], disk, number, size(action.get("size")), kind, flag == "boot"))


def add_format(made, action, ids):
    known(ids, action.get("volume"), "partition", "lvm_partition")
    fstype = {"fat32": "vfat", "fat": "vfat"}.get(action.get("fstype"), action.get("fstype"))
    if fstype not in ("ext4", "xfs", "vfat", "swap"):
        raise Malformed("storage", f"{fstype!r} is no file system that this miniature makes")
    made.formats.append(Format(action["volume"], fstype, action.get("label", "")))


def add_mount(made, action, ids):
    volume = known(ids, action.get("device"), "format")["volume"]
    made.mounts.append(Mount(volume, action.get("path") or "none", action.get("options", "defaults")))


def add_group(made, action, ids):
    for device in action.get("devices", []):
        known(ids, device, "partition")
    made.groups.append(Group(action["id"], action["name"], action["devices"]))


def add_logical(made, action, ids):
    group = known(ids, action.get("volgroup"), "lvm_volgroup")
    made.logicals.append(Logical(action["id"], group["name"], action["name"], size(action.get("size", -1))))


ADD = {
    "disk": add_disk, "partition": add_partition, "format": add_format, "mount": add_mount, "lvm_volgroup": add_group,
    "lvm_partition": add_logical,
}


def guided(asked):
    """subiquity's own layouts, `direct` and `lvm`, on the first disk."""
    name = asked.get("layout", {}).get("name")
    if name not in ("direct", "lvm"):
        raise Malformed("storage", f"unknown layout {name!r}")
    disk = "/dev/vda"
    made = Layout(tables={disk: "gpt"}, boot_disk=disk)
    first = ("esp", 512 * MIB) if machine.uefi() else ("bios", MIB)
    made.partitions.append(Partition("boot-loader", disk, 1, first[1], first[0]))
    if machine.uefi():
        made.formats.append(Format("boot-loader", "vfat"))
        made.mounts.append(Mount("boot-loader", "/boot/efi"))
    if name == "lvm":
        made.partitions += [Partition("boot", disk, 2, 1024 * MIB), Partition("pv", disk, 3, None, "lvm")]
        made.groups.append(Group("vg", "ubuntu-vg", ["pv"]))
        made.logicals.append(Logical("root", "ubuntu-vg", "ubuntu-lv", None))
        made.formats.append(Format("boot", "ext4"))
        made.mounts.append(Mount("boot", "/boot"))
    else:
        made.partitions.append(Partition("root", disk, 2, None))
    made.formats.append(Format("root", "ext4"))
    made.mounts.append(Mount("root", "/"))
    return made


def fail_unusable(error):
    """subiquity finds these while it applies the storage section."""
    return Unusable(f"autoinstall config did not create needed bootloader partition ({error})")
