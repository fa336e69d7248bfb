"""The miniature of Anaconda in text mode: the kickstart that stage 1 found, scripts, logs and questions as the real one's."""

import os
import subprocess
import time
from datetime import datetime
from pathlib import Path

from pykickstart.constants import DISPLAY_MODE_CMDLINE, KS_SCRIPT_ONERROR, KS_SCRIPT_POST

import kickstart
import machine
import storage
from machine import say
from packages import REDHAT, unknown
from target import Target

KICKSTART = Path("/run/install/ks.cfg")
ROOT = "/mnt/sysroot"
RULE = "=" * 80


class Fatal(Exception):
    """An error that ends the installation: a heading of the real one's, and the detail."""


class Logs:
    """The logs under /tmp, in the real ones' form."""

    def __init__(self):
        self.files = {name: open(f"/tmp/{name}.log", "a", buffering=1) for name in ("anaconda", "program", "packaging", "storage")}

    def line(self, file, module, text, level="INF"):
        now = datetime.now().strftime("%H:%M:%S,%f")[:-3]
        for one in text.splitlines() or [""]:
            self.files[file].write(f"{now} {level} {module}: {one}\n")

    def program(self, line):
        self.line("program", "program", line)

    def stage(self, text):
        """A step: on the console with the dot that stands before each, and in the log."""
        say(".")
        say(text)
        self.line("anaconda", "installation", f"Task started: {text}")


def hub():
    """The summary that waits for somebody: the section that lacks its answer has an exclamation mark."""
    say(RULE)
    say(RULE)
    say("Installation\n")
    say("1) [x] Language settings                 2) [x] Time settings")
    say("       (English (United States))                (Etc/UTC timezone)")
    say("3) [x] Installation source               4) [x] Software selection")
    say("       (Local media)                            (Custom software selected)")
    say("5) [!] Installation Destination          6) [x] Network configuration")
    say("       (No disks selected)                      (Connected: enp1s0)")
    say("7) [x] Root password                     8) [ ] User creation")
    say("       (Root password is set.)                  (No user will be created)\n")
    say("Please make a selection from the above ['b' to begin installation, 'q' to quit,")
    print("'r' to refresh]: ", end="", flush=True)
    machine.wait_for_ever()


def ask(question, interactive):
    """A yes-or-no question; nobody answers. Where there may be no questions, one is an error."""
    if not interactive:
        raise Fatal(question)
    say(RULE)
    say(RULE)
    say("Question\n")
    say(question + "\n")
    print("Please respond 'yes' or 'no': ", end="", flush=True)
    machine.wait_for_ever()


def give_up(logs, text, answers=None):
    """The end after an error: a box that waits for a key, or, without interaction, the words of that mode and the end."""
    logs.line("anaconda", "errors", text, "ERR")
    if answers is not None:
        run_scripts(logs, [script for script in answers.scripts if script.type == KS_SCRIPT_ONERROR])
    if answers is None or interactive(answers):
        say(f"{RULE}\n{RULE}\nError\n\n{text}\n")
        print("Press ENTER to exit: ", end="", flush=True)
        machine.wait_for_ever()
    say("\nThe installation was stopped due to an error which occurred while running in non-interactive cmdline mode. Since there cannot")
    say("be any questions in cmdline mode, edit your kickstart file and retry installation.")
    say(f"The exact error message is:\n\n{text}.\n\nThe installer will now terminate.")
    # The real one leaves three minutes to read it.
    time.sleep(10)
    ask_for_the_end(answers)


def interactive(answers):
    mode = answers.displaymode
    return not (getattr(mode, "nonInteractive", False) or mode.displayMode == DISPLAY_MODE_CMDLINE)


def run_scripts(logs, scripts, target=None):
    for script in scripts:
        path = Path("/tmp/ks-script-miniature") if not script.inChroot else target / "tmp/ks-script-miniature"
        machine.write(path, script.script, 0o700)
        inside = "/tmp/ks-script-miniature"
        argv = [script.interp, inside]
        log = Path(script.logfile or "/tmp/ks-script-miniature.log")
        if script.inChroot:
            argv = ["chroot", str(target.root), *argv]
            log = target / str(script.logfile or "/tmp/ks-script-miniature.log")
        log.parent.mkdir(parents=True, exist_ok=True)
        logs.line("program", "program", f"Running... {' '.join(argv)}")
        environment = {**os.environ, "ANA_INSTALL_PATH": ROOT}
        if script.inChroot:
            environment["PATH"] = machine.SYSTEM_PATH
        with open(log, "a") as output:
            status = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment).returncode
        logs.line("program", "program", f"Return code: {status}", "DBG")
        path.unlink()
        if status != 0:
            logs.line("anaconda", "kickstart", f"Error code {status} running the kickstart script at line {script.lineno}", "ERR")
            if script.errorOnFail:
                said = log.read_text(errors="replace")[-2000:]
                raise Fatal(
                    f"There was an error running the kickstart script at line {script.lineno}.  This is a fatal error and "
                    f"installation will be aborted.  The details of this error are:\n\n{said}"
                )


def check_packages(answers, target_packages):
    chosen = answers.packages
    names = [*chosen.packageList, *[f"@{group.name}" for group in chosen.groupList]]
    if chosen.environment:
        names.append(f"@^{chosen.environment}")
    return names, [name for name in names if unknown(name, REDHAT, target_packages)]


def partition(logs, answers, layout):
    logs.stage("Setting up the installation environment")
    for disk, table in layout.tables.items():
        logs.stage(f"Creating disklabel on {disk}")
        logs.line("storage", "blivet", f"executing action: create format disklabel ({table}) on {disk}")
    storage.partition(layout, logs.program)
    storage.volumes(layout, logs.program)
    for one in layout.formats:
        logs.stage(f"Creating {one.fstype} on {layout.path(one.device)}")
        storage.make_filesystem(layout, one, logs.program)
    Path(ROOT).mkdir(parents=True, exist_ok=True)
    storage.mount(layout, ROOT, logs.program)
    # The older releases' name for the same place.
    Path("/mnt/sysimage").symlink_to("sysroot")


def install_packages(logs, target):
    """Unpacks the system, telling of it package by package, as the real one does."""
    logs.stage("Starting package installation process")
    say("Preparing transaction from installation source")
    names = sorted(Path("/run/rofs/var/lib/dpkg/info").glob("*.list"))
    names = [path.stem.partition(":")[0] for path in names]
    told = 0

    def progress(done):
        nonlocal told
        while told < int(done * len(names)):
            told += 1
            text = f"Installing {names[told - 1]}.x86_64 ({told}/{len(names)})"
            say(text)
            logs.line("packaging", "packaging", text)

    try:
        target.unpack(progress)
    except machine.CommandFailed as error:
        detail = next((line for line in error.tail if "No space left on device" in line), error.tail[-1] if error.tail else str(error))
        file = "".join(detail.split("'")[1:2]).removeprefix(ROOT)
        text = f"unpacking of archive failed on file {file}: cpio: write failed - No space left on device"
        logs.line("packaging", "packaging", text, "ERR")
        raise Fatal(
            "The following error occurred while installing the payload. This is a fatal error and installation will be aborted.\n\n"
            f"DNF error: Error unpacking rpm package {names[max(told - 1, 0)]}\n{text}\n{detail}"
        ) from error
    logs.stage("Performing post-installation setup tasks")


def configure(logs, answers, layout, target):
    target.write("/etc/fstab", storage.fstab(layout))
    target.bind()
    logs.stage("Installing boot loader")
    if answers.bootloader.location != "none" or "bootloader" not in answers.used:
        consoles = [word for word in machine.words() if word.startswith("console=")]
        append = answers.bootloader.appendLine.split()
        arguments = " ".join(append + [word for word in consoles if word not in append])
        # As the real one does where it runs on a serial console: GRUB would wait for a screen.
        terminal = 'GRUB_TERMINAL="serial console"\nGRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"\n'
        target.bootloader(layout.boot_disk, "rocky", arguments, answers.bootloader.timeout, terminal)
    logs.stage("Performing post-installation setup tasks")
    logs.stage("Configuring installed system")
    language = answers.lang.lang or "en_US.UTF-8"
    target.locale(language)
    target.write("/etc/locale.conf", f"LANG={language}\n")
    if answers.timezone.timezone:
        target.timezone(answers.timezone.timezone)
    layouts = [*answers.keyboard.x_layouts, answers.keyboard.vc_keymap, answers.keyboard.keyboard, "us"]
    target.keyboard(next(name for name in layouts if name).split()[0])
    target.write("/etc/vconsole.conf", f'KEYMAP="{answers.keyboard.vc_keymap or answers.keyboard.keyboard or "us"}"\n')
    logs.stage("Writing network configuration")
    hosts = [one.hostname for one in answers.network.network if one.hostname]
    target.hostname(hosts[-1] if hosts else "localhost.localdomain")
    # In the place of NetworkManager's default, that every interface asks for an address. What cloud-init writes sorts before it.
    target.write("/etc/systemd/network/50-anaconda.network", "[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n")
    logs.stage("Creating users")
    users(answers, target)
    services(answers, target)


def users(answers, target):
    if answers.rootpw.password:
        if not answers.rootpw.isCrypted:
            raise Fatal("this miniature installer takes a root password only as a hash")
        target.password("root", answers.rootpw.password)
    if answers.rootpw.lock:
        target.run("passwd", "-l", "root")
    for user in answers.user.userList:
        # The group that may do all is called otherwise here.
        groups = ["sudo" if group == "wheel" else group for group in user.groups]
        argv = ["useradd", "-m", "-s", user.shell or "/bin/bash", "-c", user.gecos]
        for group in groups:
            target.run("groupadd", "-f", group)
        target.run(*argv, *(["-G", ",".join(groups)] if groups else []), user.name)
        if user.password and user.isCrypted:
            target.password(user.name, user.password)
        if user.lock:
            target.run("passwd", "-l", user.name)
    for key in answers.sshkey.sshUserList:
        target.authorize(key.username, "/root" if key.username == "root" else f"/home/{key.username}", [key.key])


def services(answers, target):
    """The family's names of services, as far as they are others here."""
    names = {"sshd": "ssh", "chronyd": None, "NetworkManager": "systemd-networkd", "firewalld": None, "rngd": None}
    for verb, wanted in (("enable", answers.services.enabled), ("disable", answers.services.disabled)):
        for name in wanted:
            unit = names.get(name.removesuffix(".service"), name)
            if unit and any(target.root.glob(f"*/lib/systemd/system/{unit.removesuffix('.service')}.service")):
                target.run("systemctl", verb, unit)


def remove_unwanted(target, names):
    """What the real system has only when it is asked for."""
    if "cloud-init" not in names:
        target.purge("cloud-init*")
    if "qemu-guest-agent" not in names:
        target.purge("qemu-guest-agent")


def install(logs, answers):
    logs.line("anaconda", "threading", "Running Thread: AnaInstallThread (140126315099904)")
    try:
        layout = kickstart.layout(answers)
        storage.check(layout)
    except storage.Unusable as error:
        logs.line("anaconda", "storage", f"storage configuration failed: {error}", "ERR")
        say(f"storage configuration failed: {error}")
        if interactive(answers):
            hub()
        raise Fatal(f"storage configuration failed: {error}") from error
    logs.line("packaging", "packaging", "checking software selection")
    source = Target("/run/rofs", lambda line: None)
    names, missing = check_packages(answers, source.installed())
    for name in missing:
        logs.line("packaging", "dnf", f"No match for argument: {name}", "ERR")
        say(f"No match for argument: {name}")
    if missing:
        say("Error in package selection")
        ask("The following packages, groups or modules are missing:\n\n" + "\n".join(missing)
            + "\n\nWould you like to ignore this and continue with installation?", interactive(answers))
    logs.line("packaging", "packaging", "checking dependencies: success")
    partition(logs, answers, layout)
    target = Target(ROOT, logs.program)
    install_packages(logs, target)
    configure(logs, answers, layout, target)
    remove_unwanted(target, names)
    logs.stage("Generating initramfs")
    target.grub_config()
    return target


def post(logs, answers, target):
    logs.stage("Storing configuration files and kickstarts")
    target.write("/root/anaconda-ks.cfg", KICKSTART.read_text(), 0o600)
    logs.stage("Running post-installation scripts")
    run_scripts(logs, [script for script in answers.scripts if script.type == KS_SCRIPT_POST], target)
    folder = target / "var/log/anaconda"
    folder.mkdir(parents=True, exist_ok=True)
    for log in logs.files:
        (folder / f"{log}.log").write_text(Path(f"/tmp/{log}.log").read_text())


def main():
    logs = Logs()
    treeinfo = Path("/run/install/repo/.treeinfo").read_text()
    name, release = kickstart.medium(treeinfo)
    say("Starting installer, one moment...")
    say(f"anaconda 34.25.5.17-1 for {name} {release} started.")
    logs.line("anaconda", "main", "/sbin/anaconda 34.25.5.17-1")
    if not KICKSTART.exists() or machine.fault("question"):
        hub()
    answers = read(logs, treeinfo)
    say("Starting automated install..")
    try:
        target = install(logs, answers)
        post(logs, answers, target)
        logs.line("anaconda", "installation", "All tasks in the installation queue are done. Installation successfully finished.")
        target.release()
        say("Installation complete")
    except Fatal as error:
        give_up(logs, str(error), answers)
    except (machine.CommandFailed, ValueError, OSError) as error:
        detail = "\n".join(getattr(error, "tail", []))
        heading = "The following error occurred while installing.  This is a fatal error and installation will be aborted."
        give_up(logs, f"{heading}\n\n{error}\n{detail}", answers)
    ask_for_the_end(answers)


def read(logs, treeinfo):
    """The scripts that come first, and then the whole file. What cannot be read ends the installer, with the machine left on."""
    try:
        scripts = kickstart.early(kickstart.version(treeinfo), KICKSTART)
        if scripts:
            say(f"{datetime.now():%H:%M:%S} Running pre-installation scripts")
            run_scripts(logs, scripts)
        return kickstart.read(kickstart.version(treeinfo), KICKSTART)
    except kickstart.KickstartError as error:
        logs.line("anaconda", "kickstart", str(error), "ERR")
        say(f"\nAn error occurred during reading the kickstart file:\n{str(error).strip()}\n\nThe installer will now terminate.")
        time.sleep(10)
        say("Pane is dead (status 1)")
        machine.wait_for_ever()
    except Fatal as error:
        give_up(logs, str(error))


def ask_for_the_end(answers):
    """poweroff, shutdown, halt or reboot; without any of them a kickstart installation waits for a key."""
    if machine.fault("reboot") or "reboot" in answers.used:
        machine.end("reboot")
    if {"poweroff", "shutdown"} & set(answers.used):
        machine.end("poweroff")
    print("Installation complete. Press ENTER to quit: ", end="", flush=True)
    machine.wait_for_ever()
