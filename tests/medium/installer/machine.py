"""The machine that the installer runs on: kernel arguments, commands, files, and how it ends."""

import os
import subprocess
import time
from collections import deque
from pathlib import Path

# For what runs in the installed system: its own commands, and none of the live system's stand-ins, which /run shows there too.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class CommandFailed(Exception):
    """A command that ended with an error; its last output lines are kept."""

    def __init__(self, argv, status, tail):
        super().__init__(f"Command {argv!r} returned non-zero exit status {status}.")
        self.argv, self.status, self.tail = argv, status, tail


def words():
    """The kernel arguments."""
    return Path("/proc/cmdline").read_text().split()


def argument(name):
    """The last value of a kernel argument, or None."""
    values = [word.partition("=")[2] for word in words() if word.startswith(name + "=")]
    return values[-1] if values else None


def fault(name):
    """Whether the test asked for this failure, by `tpl.fail=NAME`."""
    return argument("tpl.fail") == name


def uefi():
    return Path("/sys/firmware/efi").exists()


def say(text=""):
    """On the console: what a person in front of the machine sees."""
    print(text, flush=True)


def run(argv, note=lambda line: None, stdin=None, env=None, cwd=None, keep_all=False):
    """Runs a command, each line of its output going to `note`. Gives the last lines, or all where asked."""
    tail = deque(maxlen=None if keep_all else 40)
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        cwd=cwd,
        text=True,
        errors="replace",
    ) as process:
        if stdin is not None:
            process.stdin.write(stdin)
            process.stdin.close()
        for line in process.stdout:
            tail.append(line.rstrip("\n"))
            note(line.rstrip("\n"))
    if process.returncode != 0:
        raise CommandFailed(argv, process.returncode, list(tail))
    return list(tail)


def write(path, text, mode=0o644):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def wait_for_ever():
    """As an installer at a question that nobody answers, or one that hangs."""
    while True:
        time.sleep(3600)


def end(how):
    """Ends the machine: `poweroff` or `reboot`."""
    os.sync()
    subprocess.run(["/usr/bin/busybox", how, "-f"], check=True)
    wait_for_ever()
