"""The miniature of subiquity: autoinstall from a CIDATA volume, steps, logs and questions as the real one's."""

import json
import os
import subprocess
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import autoinstall
import machine
import storage
from machine import say
from packages import UBUNTU, unknown
from target import Target

LOGS = Path("/var/log/installer")
TARGET = "/target"
INSTALL = "subiquity/Install/install"
CURTIN = f"{INSTALL}/curtin_install"


class Journal:
    """The files that the real one logs to, and the lines that it prints on a console."""

    def __init__(self):
        LOGS.mkdir(parents=True, exist_ok=True)
        self.debug_log = open(LOGS / "subiquity-server-debug.log", "a", buffering=1)
        self.curtin_log = open(LOGS / "curtin-install.log", "a", buffering=1)

    def debug(self, text):
        now = datetime.now().strftime("%Y-%m-%d %H:%M:%S,%f")[:-3]
        self.debug_log.write(f"{now} DEBUG root:39 {text}\n")

    def curtin(self, line):
        self.curtin_log.write(line + "\n")

    @contextmanager
    def step(self, name, about=""):
        """A step of subiquity's: in the debug log and on the console."""
        self.debug(f"start: {name}: {about}")
        say(f"start: {name}: {about}")
        try:
            yield
        except Exception as error:
            self.debug(f"finish: {name}: FAIL: {error}")
            say(f"finish: {name}: FAIL: {error}")
            raise
        self.debug(f"finish: {name}: SUCCESS: {about}")
        say(f"finish: {name}: SUCCESS: {about}")

    def configuring(self, kind, name):
        """One action of curtin's on the disk."""
        self.debug(f"start: {CURTIN}/run/cmd-install/stage-partitioning/builtin/cmd-block-meta: configuring {kind}: {name}")

    @contextmanager
    def curtin_step(self, stage, command):
        """A stage of curtin's: in its own log, and as one of subiquity's steps."""
        name, about = f"cmd-install/stage-{stage}/builtin/cmd-{command}", f"curtin command {command}"
        with self.step(f"{CURTIN}/run", f"executing curtin install {stage} step"), self.step(f"{CURTIN}/run/{name}", about):
            self.curtin(f"start: {name}: {about}")
            try:
                yield
            except Exception:
                self.curtin(f"finish: {name}: FAIL: {about}")
                raise
            self.curtin(f"finish: {name}: SUCCESS: {about}")


def question_for_ever():
    """What a person sees where nothing says how to install: on a serial console, this comes before the language."""
    say("=" * 80)
    say("  Serial" + " " * 60 + "[ Help ]")
    say("=" * 80)
    say("  As the installer is running on a serial console, it has started in basic")
    say("  mode, using only the ASCII character set and black and white colours.\n")
    say("                  [ Continue in rich mode  > ]")
    say("                  [ Continue in basic mode > ]")
    say("                  [ View SSH instructions    ]")
    machine.wait_for_ever()


def confirmation():
    say("Confirmation is required to continue.")
    say("Add 'autoinstall' to your kernel command line to avoid this\n")
    answer = ""
    while answer.strip() != "yes":
        say("\n\nContinue with autoinstall? (yes|no)")
        try:
            answer = input()
        except (EOFError, OSError):
            machine.wait_for_ever()


def give_up(journal, answers):
    journal.debug("ErrorReport: install_fail")
    say("An error occurred. Press enter to start a shell")
    for command in (answers or {}).get("error-commands", []):
        subprocess.run(command, shell=isinstance(command, str), check=False)
    machine.wait_for_ever()


def user_data():
    """The text of user-data on the volume CIDATA, or None."""
    found = subprocess.run(["blkid", "-L", "CIDATA"], capture_output=True, text=True, check=False)
    device = found.stdout.strip() or subprocess.run(["blkid", "-L", "cidata"], capture_output=True, text=True, check=False).stdout.strip()
    if not device:
        return None
    folder = Path("/run/cidata")
    folder.mkdir(exist_ok=True)
    machine.run(["mount", "-o", "ro", device, str(folder)])
    try:
        # cloud-init takes a volume for a data source only when both are there.
        if not (folder / "meta-data").exists() or not (folder / "user-data").exists():
            return None
        return (folder / "user-data").read_text()
    finally:
        machine.run(["umount", str(folder)])


def commands(journal, name, answers, env=None):
    """A section of commands; the first that fails ends the installation."""
    section = {"Early": "early-commands", "Late": "late-commands"}[name]
    if not answers.get(section):
        return
    with journal.step(f"subiquity/{name}/run"):
        for number, command in enumerate(answers[section]):
            shown = command if isinstance(command, str) else " ".join(command)
            with journal.step(f"subiquity/{name}/run/command_{number}", shown):
                argv = ["sh", "-c", command] if isinstance(command, str) else command
                # Like the real one, not waiting for what the command left running; its output goes to the journal.
                whole = {**os.environ, **(env or {})}
                with open(LOGS / "commands.log", "a+", buffering=1) as output:
                    before = output.tell()
                    status = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=whole).returncode
                    output.seek(before)
                    for line in output.read().splitlines():
                        journal.debug(f"{section}: {line}")
                if status != 0:
                    raise machine.CommandFailed(argv, status, [])


def install(journal, answers, layout):
    target = Target(TARGET, journal.curtin)
    with journal.step(INSTALL), journal.step(CURTIN, "installing system"):
        with journal.curtin_step("partitioning", "block-meta"):
            for disk in layout.tables:
                journal.configuring("disk", disk)
            storage.partition(layout, journal.curtin)
            storage.volumes(layout, journal.curtin)
            for one in layout.formats:
                journal.configuring("format", one.device)
                storage.make_filesystem(layout, one, journal.curtin)
            storage.mount(layout, TARGET, journal.curtin)
        with journal.curtin_step("extract", "extract"):
            journal.curtin("acquiring and extracting image from cp:///tmp/mount")
            target.unpack()
            target.write("/etc/fstab", storage.fstab(layout))
        with journal.curtin_step("curthooks", "curthooks"):
            target.bind()
            journal.curtin("start: cmd-install/stage-curthooks/builtin/cmd-curthooks/install-grub: installing grub to target devices")
            # What stands behind the three dashes is for the installed system too.
            behind = machine.words()
            behind = behind[behind.index("---") + 1 :] if "---" in behind else []
            target.bootloader(layout.boot_disk, "ubuntu", " ".join(behind))
            target.grub_config()
    return target


def post_install(journal, answers, target):
    with journal.step(f"{INSTALL}/postinstall", "final system configuration"):
        wanted = list(answers.get("packages", []))
        if answers.get("kernel", {}).get("package"):
            wanted.insert(0, answers["kernel"]["package"])
        with journal.step(f"{INSTALL}/postinstall/install_packages"):
            for package in wanted:
                with journal.step(f"{INSTALL}/postinstall/install_{package}", f"installing {package}"):
                    if unknown(package, UBUNTU, target.installed()):
                        journal.curtin(f"E: Unable to locate package {package}")
                        raise machine.CommandFailed(["apt-get", "--quiet", "--assume-yes", "install", package], 100, [])
        if not answers.get("ssh", {}).get("install-server") and "openssh-server" not in wanted:
            target.purge("openssh-server")
        if answers.get("locale"):
            target.locale(answers["locale"])
        if answers.get("timezone") not in (None, "", "geoip"):
            target.timezone(answers["timezone"])
        keyboard = answers.get("keyboard", {"layout": "us"})
        target.keyboard(keyboard["layout"], keyboard.get("variant", ""))
        with journal.step(f"{INSTALL}/postinstall/configure_cloud_init", "configuring cloud-init"):
            cloud_init(answers, target)
        network(answers, target)


def cloud_init(answers, target):
    """As the real one: what the first start does is seeded, and nothing else is asked for data."""
    data = dict(answers.get("user-data", {}))
    if "identity" in answers:
        identity = answers["identity"]
        data["preserve_hostname"] = True
        target.hostname(identity["hostname"])
        data["users"] = [{
            "name": identity["username"], "gecos": identity.get("realname", ""), "passwd": identity["password"], "lock_passwd": False,
            "shell": "/bin/bash", "groups": "adm,sudo", "ssh_authorized_keys": answers.get("ssh", {}).get("authorized-keys", []),
        }]
    else:
        target.hostname(data.get("hostname", "ubuntu-server"))
    seed = {"datasource_list": ["None"], "datasource": {"None": {
        "metadata": {"instance-id": "miniature"}, "userdata_raw": "#cloud-config\n" + json.dumps(data) + "\n"}}}
    target.write("/etc/cloud/cloud.cfg.d/99-installer.cfg", json.dumps(seed) + "\n", 0o600)
    target.write("/etc/cloud/ds-identify.cfg", "policy: enabled\n")


def network(answers, target):
    """The installer's own network becomes the system's, by the names that the cards have here; cloud-init keeps off."""
    asked = answers.get("network")
    if asked is None:
        cards = [card.name for card in Path("/sys/class/net").iterdir() if card.name != "lo"]
        asked = {"version": 2, "ethernets": {card: {"dhcp4": True} for card in cards}}
    asked = asked.get("network", asked)
    target.write("/etc/netplan/00-installer-config.yaml", json.dumps({"network": asked}) + "\n", 0o600)
    target.write("/etc/cloud/cloud.cfg.d/subiquity-disable-cloudinit-networking.cfg", "network: {config: disabled}\n")


def main():
    journal = Journal()
    answers = None
    try:
        text = user_data()
        if text is None:
            question_for_ever()
        with journal.step("subiquity/load_cloud_config"):
            pass
        with journal.step("subiquity/Early/load_autoinstall_data"):
            answers = autoinstall.read(text)
        commands(journal, "Early", answers)
        with journal.step("subiquity/load_autoinstall_config"):
            autoinstall.check(answers)
        if answers.get("interactive-sections"):
            question_for_ever()
        with journal.step("subiquity/Filesystem/apply_autoinstall_config"):
            layout = autoinstall.layout(answers.get("storage", {"layout": {"name": "lvm"}}))
            try:
                storage.check(layout)
            except storage.Unusable as error:
                raise autoinstall.fail_unusable(error) from error
        if "autoinstall" not in machine.words() or machine.fault("question"):
            confirmation()
        target = install(journal, answers, layout)
        post_install(journal, answers, target)
        commands(journal, "Late", answers, {"TARGET_MOUNT_POINT": TARGET})
        how = "reboot" if machine.fault("reboot") else answers.get("shutdown", "reboot")
        with journal.step("subiquity/Shutdown/shutdown", f"mode={how.upper()}"):
            copy_logs(target)
            target.release()
    except (autoinstall.Malformed, storage.Unusable, machine.CommandFailed, ValueError, OSError) as error:
        detail = getattr(error, "detail", None) or "\n".join(getattr(error, "tail", []))
        for line in detail.splitlines():
            journal.debug(line)
            say(line)
        give_up(journal, answers)
    machine.end(how)


def copy_logs(target):
    folder = target / "var/log/installer"
    folder.mkdir(parents=True, exist_ok=True)
    for log in LOGS.iterdir():
        (folder / log.name).write_bytes(log.read_bytes())
