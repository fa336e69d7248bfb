//! A VM that is nobody's becomes a template, and stays as it is.

use std::fs;

use super::{
    build::template_id,
    lab::{folder, left, pool, run, seen_in_clone, tpl, virsh, volume_path},
};

const VM: &str = "tpl-e2e-vm";
const GOLD: &str = "tpl-e2e-gold";

/// A VM of somebody else's: the shared template's content on a disk of its own, an overlay on a base, in a machine that is
/// none of tpl's: its disk is on a SATA bus. Its card is virtio all the same, for a kernel for clouds has drivers for few others.
struct Vm;

impl Vm {
    fn define() -> Self {
        let from = volume_path(&template_id().replace('@', "."));
        let base = from.replace(&template_id().replace('@', "."), &format!("{VM}-base"));
        let top = base.replace("-base", "-disk");
        run("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", &from, &base]);
        run("qemu-img", &["create", "-q", "-f", "qcow2", "-b", &base, "-F", "qcow2", &top]);
        virsh(&["pool-refresh", &pool()]);
        // Where KVM does not work, a VM is emulated: as the shared template is.
        let template = virsh(&["dumpxml", "--inactive", &template_id().replace('@', ".")]);
        let (kind, cpu) =
            if template.starts_with("<domain type='kvm'") { ("kvm", "host-passthrough") } else { ("qemu", "maximum") };
        let xml = format!(
            "<domain type='{kind}'><name>{VM}</name><memory unit='MiB'>512</memory><vcpu>1</vcpu>\
             <os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features><cpu mode='{cpu}'/><devices>\
             <disk type='volume' device='disk'><driver name='qemu' type='qcow2'/><source pool='{}' volume='{VM}-disk'/>\
             <target dev='sda' bus='sata'/></disk><disk type='file' device='cdrom'><target dev='sdb' bus='sata'/></disk>\
             <interface type='network'><source network='default'/><model type='virtio'/></interface>\
             <serial type='pty'/><graphics type='vnc' autoport='yes'/></devices></domain>",
            pool()
        );
        let file = folder().join(format!("{VM}.xml"));
        fs::write(&file, xml).unwrap();
        virsh(&["define", file.to_str().unwrap()]);
        Self
    }

    /// Its definition, and the digest of what it has written.
    fn state(&self) -> (String, String) {
        let sums = ["-base", "-disk"].map(|suffix| run("sha256sum", &[&volume_path(&format!("{VM}{suffix}"))]));
        (virsh(&["dumpxml", "--inactive", VM]), sums.concat())
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let pool = pool();
        let volumes = ["-disk", "-base"].map(|suffix| format!("{VM}{suffix}"));
        // Whatever has happened, each is tried; a test that has failed already must not abort here.
        let remove = |args: &[&str]| {
            let _ = std::process::Command::new("virsh").args(["-q", "-c", "qemu:///system"]).args(args).output();
        };
        remove(&["destroy", VM]);
        remove(&["undefine", VM]);
        volumes.iter().for_each(|volume| remove(&["vol-delete", "--pool", &pool, volume]));
    }
}

#[test]
fn somebodys_vm_becomes_a_template_and_is_not_touched() {
    let vm = Vm::define();
    let before = vm.state();
    let call = ["adopt", VM, "--as", GOLD, "--user", "debian"];
    let plan = tpl(&[&call[..], &["--dry-run"]].concat()).ok().stdout;
    assert!(plan.contains(&format!("  source     disk sda of VM {VM} (")), "{plan}");
    let report = tpl(&[&call[..], &["--output", "json"]].concat()).json();
    assert_eq!(vm.state(), before);
    let id = format!("{GOLD}@{}", report["version"].as_str().unwrap());
    let again = tpl(&["adopt", &id.replace('@', "."), "--as", "tpl-e2e-again"]);
    assert_eq!(again.code, 3, "a template is not adopted: {again:#?}");

    let seen = seen_in_clone(GOLD, "tpl-e2e-golden", "hostname; ls /sys/block | grep -c ^sd");
    // The machine is the VM's own: its disk is on the bus that it was on.
    assert_eq!(seen.lines().next(), Some("tpl-e2e-golden"));
    assert_eq!(seen.lines().nth(1), Some("1"), "{seen}");
    tpl(&["rm", &id]).ok();
    assert_eq!(vm.state(), before);
    drop(vm);
    assert_eq!([left(VM), left(GOLD)].concat(), Vec::<String>::new());
}
