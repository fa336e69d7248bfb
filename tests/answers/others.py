"""Autoinstall files, read as YAML and checked against the installer's schema, where that is there; preseed files, read by a small
reader of their format. debconf itself checks their syntax elsewhere."""

import os
import pathlib
import re
import sys

import jsonschema
import yaml
from common import decoded, identity, run, same, users

MIB = 1 << 20
MARK = "printf '\\ntpl: installation complete\\n' >/dev/ttyS1\n"
KEYS = {
    "apt": dict, "early-commands": list, "error-commands": list, "kernel": dict, "keyboard": dict, "late-commands": list,
    "locale": str, "packages": list, "proxy": str, "shutdown": str, "source": dict, "ssh": dict, "storage": dict, "timezone": str,
    "updates": str, "user-data": dict, "version": int,
}
SCHEMA = pathlib.Path(os.environ["TPL_AUTOINSTALL_SCHEMA"])
if SCHEMA.exists():
    schema = jsonschema.Draft7Validator(yaml.safe_load(SCHEMA.read_text()))
else:
    schema = None
    print(f"{SCHEMA} is not there: only the keys and types of autoinstall files were checked", file=sys.stderr)


def actions(config, variables):
    """A storage configuration: each action's references come before it, and the layout is the one that was asked for."""
    seen = {}
    for action in config:
        for key in ("device", "volume", "volgroup"):
            if key in action:
                seen[action[key]]
        for device in action.get("devices", []):
            seen[device]
        same(action["id"] in seen, False, action["id"] + " twice")
        seen[action["id"]] = action
    lvm, uefi = variables["layout"] == "lvm", variables["firmware"] == "uefi"
    disks = [(disk["path"], disk["ptable"], disk["grub_device"]) for disk in config if disk["type"] == "disk"]
    same(disks, [("/dev/vda", "gpt", not uefi)], "disks")
    parts = [(part["id"], part["size"], part.get("flag")) for part in config if part["type"] == "partition"]
    first = [("esp", 128 * MIB, "boot")] if uefi else [("grub", MIB, "bios_grub")]
    rest = [("boot", variables["boot_mib"] * MIB, None), ("pv", -1, None)] if lvm else [("root", -1, None)]
    same(parts, first + rest, "partitions")
    groups = [(group["name"], group["devices"]) for group in config if group["type"] == "lvm_volgroup"]
    same(groups, [(variables["volume_group"], ["pv"])] if lvm else [], "volume groups")
    volumes = [(volume["name"], volume["size"]) for volume in config if volume["type"] == "lvm_partition"]
    swap = [("swap", variables["swap_mib"] * MIB)] if variables["swap_mib"] else []
    same(volumes, swap + [("root", -1)] if lvm else [], "logical volumes")
    mounts = [(mount["path"], seen[mount["device"]]["fstype"]) for mount in config if mount["type"] == "mount"]
    expected = ([("", "swap")] if lvm and swap else []) + [("/", variables["filesystem"])]
    expected += ([("/boot", "ext4")] if lvm else []) + ([("/boot/efi", "fat32")] if uefi else [])
    same(mounts, expected, "mounts")


def autoinstall(variables, text):
    same(text.startswith("#cloud-config\n"), True, "first line")
    document = yaml.load(text, yaml.CSafeLoader)
    same(list(document), ["autoinstall"], "top level")
    install = document["autoinstall"]
    if schema:
        for fault in schema.iter_errors(install):
            raise ValueError(f"{fault.json_path}: {fault.message}")
    for key, value in install.items():
        same(type(value), KEYS[key], key)
    same(set(KEYS) - set(install), set() if variables["proxy"] else {"proxy"}, "missing keys")
    # Nothing that a seal would have to take away again.
    same("$6$" in text, False, "a hash")
    same((install["version"], install["shutdown"], install["locale"]), (1, "poweroff", variables["locale"]), "settings")
    same((install["keyboard"], install["timezone"]), ({"layout": variables["keyboard"]}, variables["timezone"]), "settings")
    same(install.get("proxy", ""), variables["proxy"], "proxy")
    mirrors = [variables["mirror"]["url"]] if variables["mirror"] else []
    same([mirror["uri"] for mirror in install["apt"].get("primary", [])], mirrors, "mirror")
    own = ["cloud-guest-utils", "cloud-init"] if variables["cloud_init"] else []
    own += ["locales", "qemu-guest-agent", "tzdata"]
    same(sorted(install["packages"]), sorted(own + variables["packages"]), "packages")
    actions(install["storage"]["config"], variables)
    first, *commands, last = install["late-commands"]
    same(last, MARK, "mark")
    chroot = ["curtin", "in-target", "--target=/target", "--", "sh"]
    same([command[:-1] for command in commands], [chroot + ["-c"]] * len(commands), "late commands' shells")
    same([command[-1] for command in commands], variables["late_commands"], "late commands")
    same(first[:-1], chroot + ["-euc"], "the script's shell")
    users(first[-1], variables["users"])
    identity(first[-1], variables)
    same("apt-get purge -q -y cloud-init" in first[-1], not variables["cloud_init"], "purging")
    return [first[-1], *install["early-commands"], *install["error-commands"], last]


def recipe(text, variables):
    """A recipe of partman's: `NAME :: [MINIMUM PRIORITY MAXIMUM TYPE {SPECIFIER}… .]…`."""
    name, text = text.split(" :: ", 1)
    entries = [entry.strip() for entry in (text + " ").split(" . ") if entry.strip()]
    found = []
    for entry in entries:
        size, priority, most, kind, rest = entry.split(" ", 4)
        words = dict(re.findall(r"(\$?[a-z_]+)\{ (?:(\S+) )?\}", rest))
        same(re.sub(r"(\$?[a-z_]+)\{ (?:(\S+) )?\}", "", rest).strip(), "", "specifiers")
        fixed = int(size) if size == priority == most else None
        same(fixed is not None or (size, priority, most) == ("900", "10000", "-1"), True, f"sizes of {entry}")
        others = {"efi": "free", "lvm": "ext4", "swap": "linux-swap"}
        same(kind, words.get("filesystem") or others[words["method"]], f"kind of {entry}")
        where = words.get("mountpoint") or words.get("method")
        found.append((where, fixed, words.get("filesystem"), words.get("in_vg") or words.get("vg_name"), "$bootable" in words))
    lvm, uefi = variables["layout"] == "lvm", variables["firmware"] == "uefi"
    size = lambda mib: -(-mib * MIB // 1000000)
    expected = [("efi", 134, None, None, False)] if uefi else []
    group, kind = variables["volume_group"], variables["filesystem"]
    if lvm:
        expected += [("/boot", size(variables["boot_mib"]), "ext4", None, not uefi), ("lvm", None, None, group, False)]
        expected += [("swap", size(variables["swap_mib"]), None, group, False)] if variables["swap_mib"] else []
        expected += [("/", None, kind, group, False)]
    else:
        expected += [("/", None, kind, None, not uefi)]
    same((name, found), ("root", expected), "recipe")


def preseed(variables, text):
    questions, script = {}, []
    for line in text.splitlines():
        if line.startswith("#+ "):
            script.append(line[3:])
        elif line and not line.startswith("#"):
            owner, question, kind, *value = line.split(" ", 3)
            same((owner, kind in {"string", "boolean", "select", "multiselect", "password", "note"}), ("d-i", True), line)
            same(question in questions, False, question + " twice")
            questions[question] = value[0] if value else ""
    recipe(questions["partman-auto/expert_recipe"], variables)
    lvm, mirror = variables["layout"] == "lvm", variables["mirror"]
    same(questions["partman-auto/method"], "lvm" if lvm else "regular", "method")
    same(questions.get("partman-auto-lvm/new_vg_name"), variables["volume_group"] if lvm else None, "volume group")
    same(questions["passwd/root-password-crypted"], variables["root_password_hash"], "password")
    same(questions["mirror/http/directory"], mirror["path"], "mirror")
    same(questions["mirror/http/hostname"], mirror["host"], "mirror")
    same(questions["mirror/http/proxy"], variables["proxy"], "proxy")
    removable = questions.get("grub-installer/force-efi-extra-removable")
    same(removable, "true" if variables["firmware"] == "uefi" else None, "the removable path")
    own = ["cloud-init", "cloud-guest-utils"] if variables["cloud_init"] else []
    own += ["openssh-server", "qemu-guest-agent", "dbus", "systemd-timesyncd", "sudo"]
    same(sorted(questions["pkgsel/include"].split()), sorted(own + variables["packages"]), "packages")
    same("\\n" in questions["preseed/late_command"], False, "a backslash and an n")
    script = "\n".join(script) + "\n"
    users(script, variables["users"])
    identity(script, variables)
    same(decoded(script, 'sh -c "$(decoded WORD)"'), variables["late_commands"], "late commands")
    return [script, questions["preseed/late_command"], questions["preseed/early_command"]]


def check(case, file):
    return {"autoinstall": autoinstall, "preseed": preseed}[case["reader"]](case["variables"], file.read_text())


run(check)
