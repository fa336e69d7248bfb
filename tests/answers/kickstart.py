"""Kickstart files, read by pykickstart, which is what Anaconda reads them with."""

import warnings

from common import decoded, identity, run, same, users
from pykickstart.constants import KS_SCRIPT_POST, KS_SCRIPT_PRE, KS_SHUTDOWN, SELINUX_ENFORCING
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

HANDLERS = {version: makeVersion(version) for version in ("RHEL7", "RHEL8", "RHEL9", "RHEL10", "F44")}
MARK = "printf '\\ntpl: installation complete\\n' >/dev/ttyS1"


def storage(handler, variables):
    lvm, uefi, seven = variables["layout"] == "lvm", variables["firmware"] == "uefi", variables["release"] == "7"
    parts = [(part.mountpoint, part.fstype, part.size, part.grow) for part in handler.partition.partitions]
    first = [("/boot/efi", "efi", 128, False)] if uefi else [] if seven else [("biosboot", "biosboot", 1, False)]
    if lvm:
        expected = first + [("/boot", "ext4", variables["boot_mib"], False), ("pv.01", "", 1024, True)]
    else:
        expected = first + [("/", variables["filesystem"], 1024, True)]
    same(parts, expected, "partitions")
    same({part.disk for part in handler.partition.partitions}, {"vda"}, "disks")
    groups = [(group.vgname, group.physvols) for group in handler.volgroup.vgList]
    same(groups, [(variables["volume_group"], ["pv.01"])] if lvm else [], "volume groups")
    volumes = [(volume.name, volume.mountpoint, volume.fstype, volume.size, volume.grow) for volume in handler.logvol.lvList]
    swap = [("swap", "swap", "swap", variables["swap_mib"], False)] if variables["swap_mib"] else []
    same(volumes, swap + [("root", "/", variables["filesystem"], 1024, True)] if lvm else [], "logical volumes")
    same((handler.clearpart.drives, handler.zerombr.zerombr), (["vda"], True), "what is wiped")


def sources(handler, variables):
    mirror, proxy = variables["mirror"], variables["proxy"] or None
    same(handler.method.method, "url" if mirror else "cdrom", "method")
    urls = ([handler.url.url] if mirror else []) + [repo.baseurl for repo in handler.repo.repoList]
    same([url.startswith(mirror["url"] + "/") for url in urls] if mirror else urls, [True] * len(urls), "mirror")
    proxies = ([handler.url.proxy] if mirror else []) + [repo.proxy for repo in handler.repo.repoList]
    same({text or None for text in proxies}, {proxy} if mirror else set(), "proxies")


def check(case, file):
    warnings.simplefilter("error")
    variables = case["variables"]
    handler = HANDLERS[case["reader"]]
    KickstartParser(handler).readKickstart(str(file))
    storage(handler, variables)
    sources(handler, variables)
    same((handler.rootpw.password, handler.rootpw.isCrypted), (variables["root_password_hash"], True), "root's password")
    same((handler.lang.lang, handler.timezone.timezone), (variables["locale"], variables["timezone"]), "locale and time zone")
    same(handler.keyboard.vc_keymap, variables["keyboard"], "keyboard")
    same((handler.selinux.selinux, handler.reboot.action), (SELINUX_ENFORCING, KS_SHUTDOWN), "SELinux and the end")
    own = ["cloud-init", "cloud-utils-growpart"] if variables["cloud_init"] else []
    own += ["chrony", "openssh-server", "qemu-guest-agent", "sudo"]
    same(sorted(handler.packages.packageList), sorted(own + variables["packages"]), "packages")
    same([group.name for group in handler.packages.groupList], ["core"], "groups of packages")
    pre, post = ([s for s in handler.scripts if s.type == kind] for kind in (KS_SCRIPT_PRE, KS_SCRIPT_POST))
    same(["/dev/ttyS1" in script.script for script in pre], [True], "log")
    same([(script.inChroot, script.errorOnFail) for script in post], [(True, True), (False, False)], "scripts")
    same(post[1].script.strip(), MARK, "mark")
    script = post[0].script
    users(script, variables["users"])
    identity(script, variables)
    same(decoded(script, 'sh -c "$(decoded WORD)"'), variables["late_commands"], "late commands")
    return [script.script for script in handler.scripts]


run(check)
