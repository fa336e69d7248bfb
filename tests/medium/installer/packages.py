"""Names of packages in answer files, and what stands for them in the one system that is installed here, which is a Debian."""

# Of this name there, of that one here; None: nothing here has to stand for it.
UBUNTU = {
    "vim": "vim-tiny", "linux-image-virtual": "linux-image-cloud-amd64", "linux-generic": "linux-image-cloud-amd64",
    "linux-virtual": "linux-image-cloud-amd64", "ubuntu-server-minimal": None, "ubuntu-minimal": None, "cloud-init-base": "cloud-init",
    "grub-pc": "grub-pc-bin", "grub-efi-amd64": "grub-efi-amd64-bin", "grub-efi-amd64-signed": "grub-efi-amd64-bin",
    "shim-signed": "grub-efi-amd64-bin",
}
REDHAT = {
    "@core": None, "@^minimal-environment": None, "@minimal-environment": None, "NetworkManager": "systemd",
    "kernel": "linux-image-cloud-amd64", "kernel-core": "linux-image-cloud-amd64", "vim-enhanced": "vim-tiny",
    "vim-minimal": "vim-tiny", "vim": "vim-tiny", "cloud-utils-growpart": "cloud-guest-utils", "gdisk": "fdisk",
    "grub2": "grub2-common", "grub2-pc": "grub-pc-bin", "procps-ng": "procps", "grub2-efi-x64": "grub-efi-amd64-bin",
    "grub2-tools": "grub2-common", "shim-x64": "grub-efi-amd64-bin", "shim": "grub-efi-amd64-bin",
    "efibootmgr": "grub-efi-amd64-bin", "grubby": "grub2-common", "python3": "python3", "openssh-clients": "openssh-client",
    "NetworkManager-config-server": None, "chrony": None, "dracut-config-generic": "initramfs-tools",
    "dracut": "initramfs-tools", "e2fsprogs": "e2fsprogs", "iproute": "iproute2", "iputils": "iputils-ping", "less": "less",
    "tar": "tar", "yum": None, "yum-utils": None, "dnf": None, "authselect": None, "policycoreutils": None,
    "selinux-policy-targeted": None, "glibc-langpack-en": "locales", "langpacks-en": "locales",
    "glibc-all-langpacks": "locales", "firewalld": None, "initscripts": None, "redhat-release": None, "rocky-release": None,
    "epel-release": None, "net-tools": "iproute2", "hostname": "hostname", "cronie": None, "rsyslog": None, "passwd": "passwd",
    "acpid": None, "rng-tools": None, "network-scripts": None,
}


def unknown(name, mapping, installed):
    """Whether the family's package NAME is none that this medium could install."""
    stands_for = mapping.get(name, name)
    return stands_for is not None and stands_for not in installed
