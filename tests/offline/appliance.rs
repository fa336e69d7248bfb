//! libguestfs without tpl in between.

use std::path::Path;

use guestfs::{AddDriveOptArgs, Handle};
use tpl::core::facts::VolumeFormat;

/// Whether the appliance is emulated.
pub fn tcg() -> bool {
    std::env::var("TPL_TEST_ACCEL").map_or(true, |accel| accel != "kvm")
}

/// An appliance with these disks.
pub fn outside(disks: &[(&Path, VolumeFormat)], readonly: bool) -> Handle {
    let g = Handle::create().unwrap();
    g.set_backend("direct").unwrap();
    g.set_backend_settings(if tcg() { &["force_tcg"] } else { &[] }).unwrap();
    for (disk, format) in disks {
        let options = AddDriveOptArgs { readonly: Some(readonly), format: Some(format.as_str()), ..AddDriveOptArgs::default() };
        g.add_drive(disk.to_str().unwrap(), options).unwrap();
    }
    g.launch().unwrap();
    g
}

/// Removes cloud-init from a sealed Debian's disk, as its own dpkg does it: the template is one without from then on.
pub fn purge_cloud_init(disk: &Path) {
    let g = outside(&[(disk, VolumeFormat::Raw)], false);
    g.mount("/dev/sda1", "/").unwrap();
    g.command(&["dpkg", "--purge", "cloud-init"]).unwrap();
    assert!(!g.exists("/usr/bin/cloud-init").unwrap());
    // What dpkg and its hooks have left a line in would break the seal.
    g.glob_expand("/var/log/dpkg.log", guestfs::GlobExpandOptArgs { directoryslash: None })
        .unwrap()
        .iter()
        .for_each(|log| g.truncate(log).unwrap());
    g.umount_all().unwrap();
    g.shutdown().unwrap();
}
