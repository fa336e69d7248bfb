//! The domain XML that tpl writes by itself: of a VM that installs, of the template that it becomes, of the KVM probe.
//! A clone's XML is not written but edited out of its template's.

mod kvm_probe;
pub mod rebuilt;

pub use kvm_probe::{kvm_probe, kvm_probe_disk};
use uuid::Uuid;

use super::{
    build_plan::suffix,
    hardware::Chipset,
    manifest::{Manifest, Metadata},
    metadata,
    names::{TemplateName, Version},
    units::ByteSize,
    vm_spec::Firmware,
    xml::clone::DiskLocation,
};

/// Where hypervisors keep the logs of their guests, and where their security policies let an emulator write.
pub const LOG_FOLDER: &str = "/var/log/libvirt/qemu";

/// Where a hypervisor's security policies let an emulator read kernels and initrds: virt-install has them there, too.
pub const BOOT_FOLDER: &str = "/var/lib/libvirt/boot";

/// The file with an installer's kernel or initrd, where its pool cannot hold it: QEMU maps an initrd into memory, and maps no block
/// device.
pub fn boot_file(volume: &str) -> String {
    format!("{BOOT_FOLDER}/{volume}")
}

/// Whether a volume may be such a file: that of a template's kernel or initrd. Nobody else's name has that shape.
pub fn may_be_boot_file(volume: &str) -> bool {
    boot_file_owner(volume).is_some()
}

/// The template's domain whose kernel or initrd a file in [`BOOT_FOLDER`] is; none for anything that no build has put there.
pub fn boot_file_owner(file: &str) -> Option<&str> {
    let owner = [suffix::KERNEL, suffix::INITRD].iter().find_map(|suffix| file.strip_suffix(suffix))?;
    let (name, version) = owner.split_once('.')?;
    (name.parse::<TemplateName>().is_ok() && version.parse::<Version>().is_ok()).then_some(owner)
}

/// How a domain's CPUs are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The host's CPUs, through KVM.
    Kvm,
    /// QEMU's own emulation.
    Tcg,
}

/// QEMU's own name of the processor that is emulated fastest. Page tables of five levels (la57), which kernels use where they can, cost
/// a guest a fifth of its time, and the string instructions that say that they are fast (erms, fsrm) move single bytes: without them
/// a guest copies by the word, in a third of the time.
pub const EMULATED_CPU: &str = "max,la57=off,erms=off,fsrm=off";

impl Accelerator {
    /// libvirt's domain type.
    pub fn domain_type(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "qemu",
        }
    }

    fn cpu(self) -> &'static str {
        match self {
            Self::Kvm => "<cpu mode='host-passthrough'/>",
            // The same as EMULATED_CPU, in libvirt's words.
            Self::Tcg => concat!(
                "<cpu mode='maximum'><feature policy='disable' name='la57'/><feature policy='disable' name='erms'/>",
                "<feature policy='disable' name='fsrm'/></cpu>"
            ),
        }
    }
}

/// What a VM's network card is plugged into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// A libvirt network.
    Named(String),
    /// QEMU's user-mode network: the guest sees the host's loopback at 10.0.2.2, and nobody sees the guest.
    User,
}

/// The size and surroundings of a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// How its CPUs are made.
    pub accelerator: Accelerator,
    /// vCPUs.
    pub vcpus: u32,
    /// Memory.
    pub memory: ByteSize,
    /// What starts it.
    pub firmware: Firmware,
    /// Its network.
    pub network: Network,
}

/// What an installer boots with: paths on the hypervisor, and where it logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallMedia {
    /// The kernel's path.
    pub kernel: String,
    /// The initrd's path.
    pub initrd: String,
    /// The kernel's command line.
    pub cmdline: String,
    /// The build disk; a qcow2.
    pub disk: DiskLocation,
    /// The installer's medium, where it has one.
    pub medium: Option<DiskLocation>,
    /// A volume with the answers, where the installer looks for one.
    pub answers: Option<DiskLocation>,
}

/// The file that a VM's console is logged to. Not `NAME.log`: that name is libvirt's own.
pub fn console_log(domain: &str) -> String {
    format!("{LOG_FOLDER}/{domain}-serial.log")
}

/// The file that the installer logs to.
pub fn installer_log(domain: &str) -> String {
    format!("{LOG_FOLDER}/{domain}-installer.log")
}

/// Every log that a domain may have: its console's, its installer's, and libvirt's own about it.
pub fn logs(domain: &str) -> [String; 3] {
    [console_log(domain), installer_log(domain), format!("{LOG_FOLDER}/{domain}.log")]
}

/// Where a log's keeper, virtlogd, puts what has become too long, 2 MiB by default: the newest first. It keeps three of them by
/// default; a host may let it keep some more.
pub fn put_aside(log: &str) -> [String; 10] {
    std::array::from_fn(|age| format!("{log}.{age}"))
}

/// The build whose log a file is, if its name is one that only a build's log has: `NAME.VERSION-installer.log`.
pub fn log_owner(path: &str) -> Option<String> {
    let file = path.strip_prefix(LOG_FOLDER)?.strip_prefix('/')?;
    // What was put aside.
    let file = match file.rsplit_once('.') {
        Some((log, age)) if age.len() == 1 && age.bytes().all(|byte| byte.is_ascii_digit()) => log,
        _ => file,
    };
    let suffixes = ["-serial.log", "-installer.log", ".log"];
    let owner = suffixes.iter().find_map(|suffix| file.strip_suffix(suffix))?;
    let (name, version) = owner.split_once('.')?;
    let ours = name.parse::<TemplateName>().is_ok() && version.parse::<Version>().is_ok();
    ours.then(|| owner.to_owned())
}

fn escape(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

fn interface(network: &Network) -> String {
    interface_of(network, "virtio")
}

/// A network card of a model that is a plain word.
fn interface_of(network: &Network, model: &str) -> String {
    match network {
        Network::Named(name) => {
            format!("<interface type='network'><source network='{}'/><model type='{model}'/></interface>", escape(name))
        }
        Network::User => format!("<interface type='user'><model type='{model}'/></interface>"),
    }
}

/// Everything before the devices.
fn head(name: &str, uuid: Uuid, metadata: &Metadata, machine: &Machine, boot: &str) -> String {
    head_on(Chipset::Q35, name, uuid, metadata, machine, boot)
}

fn head_on(chipset: Chipset, name: &str, uuid: Uuid, metadata: &Metadata, machine: &Machine, boot: &str) -> String {
    format!(
        "<domain type='{kind}'>\n  <name>{name}</name>\n  <uuid>{uuid}</uuid>\n  <metadata>{metadata}</metadata>\n  \
         <memory unit='KiB'>{memory}</memory>\n  <vcpu>{vcpus}</vcpu>\n  \
         <os{firmware}<type arch='x86_64' machine='{chipset}'>hvm</type>{boot}</os>\n  <features><acpi/><apic/></features>\n  {cpu}\n  \
         <clock offset='utc'><timer name='rtc' tickpolicy='catchup'/><timer name='hpet' present='no'/></clock>\n",
        kind = machine.accelerator.domain_type(),
        chipset = chipset.as_str(),
        name = escape(name),
        metadata = metadata::element(metadata),
        memory = machine.memory.kib_ceil(),
        vcpus = machine.vcpus,
        cpu = machine.accelerator.cpu(),
        // libvirt picks the firmware's files, and makes variables of the VM's own when it starts for the first time. Without
        // Secure Boot: a firmware that has a vendor's keys starts no boot loader that this vendor has not signed.
        firmware = match machine.firmware {
            Firmware::Bios => ">",
            Firmware::Uefi => {
                " firmware='efi'><firmware><feature enabled='no' name='enrolled-keys'/>\
                 <feature enabled='no' name='secure-boot'/></firmware>"
            }
        },
    )
}

/// The devices that each VM of tpl's own has.
const COMMON_DEVICES: &str = "    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>\n    \
     <controller type='usb' model='none'/>\n    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>\n    \
     <memballoon model='virtio'/>\n";

/// A disk with these attributes of its driver, up to its target.
fn disk(location: &DiskLocation, device: &str, driver: &str) -> String {
    let (kind, attribute) = location.kind();
    let path = escape(location.path());
    format!("<disk type='{kind}' device='{device}'><driver name='qemu' {driver}/><source {attribute}='{path}'/>")
}

/// A CD-ROM drive with a medium in it. A volume with answers is handed in the same way: what it holds is found by its label.
fn drive(location: &DiskLocation, target: &str) -> String {
    format!("{}<target dev='{target}' bus='sata'/><readonly/></disk>\n    ", disk(location, "cdrom", "type='raw'"))
}

/// The VM that an installer runs in. Each way to end it, a reboot too, leaves it shut off.
pub fn installing(manifest: &Manifest, uuid: Uuid, machine: &Machine, media: &InstallMedia) -> String {
    let name = manifest.id().domain();
    let boot = format!(
        "<kernel>{}</kernel><initrd>{}</initrd><cmdline>{}</cmdline>",
        escape(&media.kernel),
        escape(&media.initrd),
        escape(&media.cmdline)
    );
    format!(
        "{head}  <on_poweroff>destroy</on_poweroff>\n  <on_reboot>destroy</on_reboot>\n  <on_crash>destroy</on_crash>\n  <devices>\n    \
         {disk}<target dev='vda' bus='virtio'/></disk>\n    {medium}{answers}{interface}\n    \
         <serial type='file'><source path='{console}' append='off'/><target port='0'/></serial>\n    \
         <serial type='file'><source path='{installer}' append='off'/><target port='1'/></serial>\n{COMMON_DEVICES}  </devices>\n</domain>\n",
        head = head(&name, uuid, &Metadata::Template(Box::new(manifest.clone())), machine, &boot),
        disk = disk(&media.disk, "disk", "type='qcow2' cache='unsafe' discard='unmap'"),
        medium = media.medium.as_ref().map(|medium| drive(medium, "sda")).unwrap_or_default(),
        answers = media.answers.as_ref().map(|answers| drive(answers, "sdb")).unwrap_or_default(),
        interface = interface(&machine.network),
        console = escape(&console_log(&name)),
        installer = escape(&installer_log(&name)),
    )
}

/// The sealed template: what a clone's XML is edited out of. Never started: its disk is marked read-only.
pub fn template(manifest: &Manifest, uuid: Uuid, machine: &Machine, volume: &DiskLocation) -> String {
    let name = manifest.id().domain();
    format!(
        "{head}  <on_poweroff>destroy</on_poweroff>\n  <on_reboot>restart</on_reboot>\n  <on_crash>destroy</on_crash>\n  <devices>\n    \
         {disk}<target dev='vda' bus='virtio'/><readonly/></disk>\n    {interface}\n    \
         <serial type='pty'><log file='{console}' append='off'/><target port='0'/></serial>\n    \
         <console type='pty'><target type='serial' port='0'/></console>\n{COMMON_DEVICES}  </devices>\n</domain>\n",
        head = head(&name, uuid, &Metadata::Template(Box::new(manifest.clone())), machine, "<boot dev='hd'/>"),
        disk = disk(volume, "disk", "type='raw' discard='unmap'"),
        interface = interface(&machine.network),
        console = escape(&console_log(&name)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_builds_log_has_an_owner() {
        let table = [
            ("debian13.20261121-031000-installer.log", Some("debian13.20261121-031000")),
            ("debian13.20261121-031000-serial.log", Some("debian13.20261121-031000")),
            ("debian13.20261121-031000.log", Some("debian13.20261121-031000")),
            ("debian13.20261121-031000-serial.log.2", Some("debian13.20261121-031000")),
            ("debian13.20261121-031000-serial.log.22", None),
            ("debian13.20261121-031000.2", None),
            ("web01-serial.log", None),
            ("../x.20261121-031000-serial.log", None),
        ];
        for (file, owner) in table {
            assert_eq!(log_owner(&format!("{LOG_FOLDER}/{file}")).as_deref(), owner, "{file}");
        }
    }

    #[test]
    fn only_a_builds_kernel_and_initrd_are_boot_files() {
        let table = [
            ("debian13.20261121-031000-kernel", true),
            ("debian13.20261121-031000-initrd", true),
            ("debian13.20261121-031000-build", false),
            ("debian13.20261121-031000", false),
            ("web-kernel", false),
            ("../x.20261121-031000-kernel", false),
            ("debian13.../x-kernel", false),
        ];
        for (volume, expected) in table {
            assert_eq!(may_be_boot_file(volume), expected, "{volume}");
        }
        assert_eq!(boot_file_owner("debian13.20261121-031000-initrd"), Some("debian13.20261121-031000"));
        assert_eq!(boot_file("a.1-kernel"), "/var/lib/libvirt/boot/a.1-kernel");
    }
}
