"""The system that is being installed: unpacking it, and all that is set in it."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import machine

SOURCE = "/run/rofs"


class Target:
    """A tree at `root`; `note` gets the output of what runs in it."""

    def __init__(self, root, note):
        self.root, self.note = Path(root), note

    def __truediv__(self, path):
        return self.root / path.lstrip("/")

    def write(self, path, text, mode=0o644):
        machine.write(self / path, text, mode)

    def run(self, *argv, stdin=None):
        env = {**os.environ, "PATH": machine.SYSTEM_PATH}
        return machine.run(["chroot", str(self.root), *argv], self.note, stdin, env)

    def unpack(self, progress=lambda done: None):
        """Copies the medium's system. `progress` gets the share that is done, from 0 to 1."""
        if machine.fault("full"):
            # As much as a disk that is too small would lack: what follows is what really happens then.
            free = shutil.disk_usage(self.root).free
            machine.run(["fallocate", "-l", str(max(free - 40 * 1024 * 1024, 4096)), str(self / "filler")], self.note)
        total, before = shutil.disk_usage(SOURCE).used * 2.4, shutil.disk_usage(self.root).used
        argv = ["cp", "-a", "--one-file-system", f"{SOURCE}/.", str(self.root)]
        with open("/tmp/unpack.log", "w+") as output, subprocess.Popen(argv, stdout=output, stderr=output) as process:
            while process.poll() is None:
                time.sleep(0.5)
                done = min((shutil.disk_usage(self.root).used - before) / total, 0.99)
                progress(done)
                if done > 0.2:
                    self.fail_half_way()
                # It would go on to the next file, and say the same of each.
                if os.fstat(output.fileno()).st_size > 0:
                    process.terminate()
            output.seek(0)
            tail = output.read().splitlines()[:10]
        for line in tail:
            self.note(line)
        if process.returncode != 0:
            raise machine.CommandFailed(argv, process.returncode, tail)
        progress(1)

    @staticmethod
    def fail_half_way():
        if machine.fault("off"):
            machine.end("poweroff")
        if machine.fault("hang"):
            machine.wait_for_ever()

    def bind(self):
        for name in ("proc", "sys", "dev", "dev/pts", "run"):
            machine.run(["mount", "--bind", f"/{name}", str(self / name)])
        if machine.uefi():
            machine.run(["mount", "--bind", "/sys/firmware/efi/efivars", str(self / "sys/firmware/efi/efivars")])

    def release(self):
        """Unmounts all of it, so that what is on the disk is whole."""
        os.sync()
        try:
            machine.run(["umount", "--recursive", str(self.root)], self.note)
            machine.run(["vgchange", "-an"], self.note)
        except machine.CommandFailed as error:
            # Something that the answer file left running in it. All is written; the file systems have journals.
            self.note(str(error))

    def installed(self):
        """The names of the packages that are there."""
        return set(machine.run(["chroot", str(self.root), "dpkg-query", "-W", "-f", "${Package}\n"], keep_all=True))

    def purge(self, *names):
        self.run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "purge", *names)

    def bootloader(self, disk, name, arguments, timeout=None, terminal=""):
        """GRUB with these kernel arguments: in the disk's boot sector, or on the EFI system partition under both its paths."""
        self.write(
            "/etc/default/grub",
            f'GRUB_DEFAULT=0\nGRUB_TIMEOUT={5 if timeout is None else timeout}\nGRUB_DISTRIBUTOR={name}\n'
            f'GRUB_CMDLINE_LINUX_DEFAULT=""\nGRUB_CMDLINE_LINUX="{arguments}"\n{terminal}',
        )
        if machine.uefi():
            self.run("grub-install", "--target=x86_64-efi", "--efi-directory=/boot/efi", f"--bootloader-id={name}", "--no-nvram",
                     "--force-extra-removable")
        else:
            self.run("grub-install", "--target=i386-pc", disk)

    def grub_config(self):
        self.run("update-grub")

    def locale(self, value):
        self.write("/etc/default/locale", f"LANG={value}\n")
        known = machine.run(["chroot", str(self.root), "locale", "-a"])
        if value.replace("UTF-8", "utf8") not in known:
            self.write("/etc/locale.gen", f"en_US.UTF-8 UTF-8\n{value} UTF-8\n")
            self.run("locale-gen")

    def timezone(self, value):
        if not (self / f"usr/share/zoneinfo/{value}").exists():
            raise ValueError(f"Invalid timezone {value}")
        link = self / "etc/localtime"
        link.unlink(missing_ok=True)
        link.symlink_to(f"/usr/share/zoneinfo/{value}")
        self.write("/etc/timezone", f"{value}\n")

    def keyboard(self, layout, variant=""):
        settings = f'XKBLAYOUT="{layout}"\nXKBVARIANT="{variant}"\n'
        self.write("/etc/default/keyboard", f'XKBMODEL="pc105"\n{settings}XKBOPTIONS=""\nBACKSPACE="guess"\n')

    def hostname(self, name):
        self.write("/etc/hostname", f"{name}\n")
        self.write("/etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {name}\n\n::1 ip6-localhost ip6-loopback\n")

    def password(self, user, crypted):
        self.run("chpasswd", "-e", stdin=f"{user}:{crypted}\n")

    def authorize(self, user, home, keys):
        folder = self / f"{home}/.ssh"
        folder.mkdir(mode=0o700, exist_ok=True)
        self.write(f"{home}/.ssh/authorized_keys", "".join(f"{key}\n" for key in keys), 0o600)
        self.run("chown", "-R", f"{user}:", f"{home}/.ssh")
