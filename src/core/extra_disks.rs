//! Disks besides the system disk: what may be asked, how the guest finds them, what the template must have for them.

use std::collections::BTreeSet;

use anyhow::Result;
use uuid::Uuid;

use super::{
    error::{Finding, Invalid, Refusal},
    manifest::Package,
    seed::{SeedDisk, moving::MOVABLE},
    units::ByteSize,
    vm_spec::{ExtraDisk, FileSystem},
};

/// So many fit on the buses of a VM beside everything else.
const MOST: usize = 20;
/// Less holds no file system with a journal.
const SMALLEST: ByteSize = ByteSize::mib(16);
/// mkfs.xfs makes none below.
const SMALLEST_XFS: ByteSize = ByteSize::mib(300);

/// Where the system itself is: no disk is mounted there.
const SYSTEM: [&str; 18] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/sbin",
    "/usr/share",
    "/var/lib/cloud",
    "/var/lib/dpkg",
    "/var/lib/systemd",
];
/// Where nothing below can be mounted either: the kernel's, the boot loader's, and what lives in memory.
const SYSTEM_BELOW: [&str; 9] = ["/bin", "/boot", "/dev", "/lib", "/proc", "/run", "/sbin", "/sys", "/usr/lib"];
/// Where a template has files, which a disk would hide.
const FILLED: [&str; 14] = [
    "/home",
    "/media",
    "/opt",
    "/root",
    "/tmp",
    "/usr/local",
    "/usr/src",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/mail",
    "/var/spool",
    "/var/tmp",
];

/// The serial number of a VM's extra disk, from 0: at most 20 characters, as virtio-blk has room for. The guest finds the disk
/// under `/dev/disk/by-id/virtio-SERIAL`. No dot in it: cloud-init would take what follows for a partition.
pub fn disk_serial(vm: Uuid, index: usize) -> String {
    format!("{}-{index:02}", &vm.simple().to_string()[..16])
}

/// What a VM's guest is told about its extra disks.
pub fn seed_disks(vm: Uuid, disks: &[ExtraDisk]) -> Vec<SeedDisk> {
    let told = |(index, disk): (usize, &ExtraDisk)| SeedDisk {
        serial: disk_serial(vm, index),
        fs: disk.fs,
        label: disk.label.clone(),
        mount: disk.mount.clone(),
        options: disk.options.clone(),
        moved: disk.moved,
    };
    disks.iter().enumerate().map(told).collect()
}

/// Checks a VM's extra disks.
///
/// # Errors
/// [`Invalid`]: every fault. [`Refusal`]: every mount point that would hide files of the template, unless `force` is set.
pub fn check(disks: &[ExtraDisk]) -> Result<()> {
    let mut faults = Vec::new();
    if disks.len() > MOST {
        faults.push(format!("{} disks are more than the {MOST} that a VM has room for", disks.len()));
    }
    let (mut labels, mut mounts) = (BTreeSet::new(), BTreeSet::new());
    for (index, disk) in disks.iter().enumerate() {
        let mut fault = |message: String| faults.push(format!("disk {}: {message}", index + 1));
        of_one(disk).into_iter().for_each(&mut fault);
        if let Some(label) = disk.label.as_ref().filter(|label| !labels.insert(label.as_str())) {
            fault(format!("the label {label} is another disk's"));
        }
        if let Some(mount) = disk.mount.as_ref().filter(|mount| !mounts.insert(mount.as_str())) {
            fault(format!("{mount} is another disk's mount point"));
        }
    }
    if !faults.is_empty() {
        return Err(
            Invalid { findings: faults.into_iter().map(|message| Finding { file: None, at: None, message }).collect() }.into()
        );
    }
    let hides =
        |disk: &&ExtraDisk| !disk.force && !disk.moved && disk.mount.as_ref().is_some_and(|mount| hides_files(mount.as_str()));
    let reasons: Vec<String> = disks
        .iter()
        .filter(hides)
        .filter_map(|disk| Some(format!("a disk at {} would hide the template's files there", disk.mount.as_ref()?)))
        .collect();
    if reasons.is_empty() {
        return Ok(());
    }
    let refusal = Refusal { reasons, advice: None };
    Err(refusal
        .advise("mount it at a folder of its own, as in /srv/data; or set for that disk move, which takes them along, or force")
        .into())
}

/// What is wrong with a disk by itself.
fn of_one(disk: &ExtraDisk) -> Vec<String> {
    let mut faults = Vec::new();
    let smallest = if disk.fs == Some(FileSystem::Xfs) { SMALLEST_XFS } else { SMALLEST };
    if disk.size < smallest {
        faults.push(format!("{} are less than the {smallest} that it needs", disk.size));
    }
    if disk.fs.is_none() && (disk.mount.is_some() || disk.label.is_some()) {
        faults.push("a label and a mount point need a file system: fs".to_owned());
    }
    if disk.mount.is_none() && disk.options.is_some() {
        faults.push("mount options need a mount point".to_owned());
    }
    // A comma at either end, or an empty word, would end the list in fstab early or make an option of nothing.
    if disk.options.as_ref().is_some_and(|options| options.as_str().split(',').any(str::is_empty)) {
        faults.push("its mount options are none: write them as in noatime,nofail".to_owned());
    }
    if disk.moved {
        let movable = disk.mount.as_ref().is_some_and(|mount| MOVABLE.contains(&mount.as_str()));
        if !movable || disk.fs.is_none() {
            faults.push(format!("files are moved to a file system mounted at {}: move needs fs and mount", MOVABLE.join(", ")));
        }
        if disk.force {
            faults.push("force hides what move takes along: set one of both".to_owned());
        }
    }
    let longest = if disk.fs == Some(FileSystem::Xfs) { 12 } else { 16 };
    if let (Some(fs), Some(label)) = (disk.fs, disk.label.as_ref().filter(|label| label.as_str().len() > longest)) {
        faults.push(format!("the label {label} is longer than the {longest} characters of {}", fs.as_str()));
    }
    if let Some(mount) = &disk.mount {
        let path = mount.as_str();
        if is_system(path) {
            faults.push(format!("{mount} is the system's own: nothing can be mounted there"));
        }
        // cloud-init writes fstab without escapes.
        if path.chars().any(char::is_whitespace) {
            faults.push(format!("{mount} has a blank in it, which fstab cannot have"));
        }
    }
    faults
}

/// `/lib64`, `/libx32` are like `/lib`.
fn is_system(path: &str) -> bool {
    let below = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    let lib = |folder: &str| {
        path.strip_prefix(folder).is_some_and(|rest| matches!(rest.split('/').next(), Some("" | "32" | "64" | "x32" | "exec")))
    };
    SYSTEM.contains(&path) || SYSTEM_BELOW.iter().any(|folder| below(folder)) || lib("/lib") || lib("/usr/lib")
}

fn hides_files(path: &str) -> bool {
    // Below /home: useradd leaves a folder that exists as it is, which is then root's.
    let home = path.strip_prefix("/home/").is_some_and(|rest| !rest.contains('/'));
    home || FILLED.contains(&path) || path.starts_with("/etc/") || (path.starts_with("/usr/") && !path.starts_with("/usr/local/"))
}

/// The packages that a template lacks for the file systems of these disks.
pub fn missing_tools(disks: &[ExtraDisk], packages: &[Package]) -> Vec<String> {
    let tools = |fs: FileSystem| match fs {
        FileSystem::Ext4 => "e2fsprogs",
        FileSystem::Xfs => "xfsprogs",
    };
    let needed: BTreeSet<&str> = disks.iter().filter_map(|disk| disk.fs).map(tools).collect();
    let missing = |tool: &&str| !packages.iter().any(|package| package.name == *tool);
    needed.into_iter().filter(missing).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::error::exit_code;

    #[derive(serde::Deserialize)]
    struct Disks {
        disks: Vec<ExtraDisk>,
    }

    fn disks(text: &str) -> Vec<ExtraDisk> {
        toml::from_str::<Disks>(&format!("disks = [{text}]")).unwrap().disks
    }

    #[test]
    fn serials_fit_and_are_the_guests_own() {
        let vm = Uuid::from_u128(0x0a1b_2c3d_4e5f_4071_8293_a4b5_c6d7_e8f9);
        assert_eq!(disk_serial(vm, 0), "0a1b2c3d4e5f4071-00");
        assert_eq!(disk_serial(vm, MOST).len(), 19);
        let told = seed_disks(vm, &disks(r#"{ size = "1G" }, { size = "1G", fs = "xfs", label = "data", mount = "/srv" }"#));
        assert_eq!(told[1].serial, "0a1b2c3d4e5f4071-01");
        assert_eq!(told[1].mount.as_ref().unwrap().as_str(), "/srv");
    }

    #[test]
    fn what_cannot_work_is_invalid() {
        let at = |mount: &str| format!(r#"{{ size = "1G", fs = "ext4", mount = "{mount}" }}"#);
        let system = |mount: &str| format!("disk 1: {mount} is the system's own: nothing can be mounted there");
        let mut table = vec![
            (
                r#"{ size = "8M" }, { size = "100M", fs = "xfs" }"#.to_owned(),
                "disk 1: 8 MiB are less than the 16 MiB that it needs\ndisk 2: 100 MiB are less than the 300 MiB that it needs".to_owned(),
            ),
            (
                r#"{ size = "1G", mount = "/srv" }, { size = "1G", label = "a" }"#.to_owned(),
                "disk 1: a label and a mount point need a file system: fs\ndisk 2: a label and a mount point need a file system: fs"
                    .to_owned(),
            ),
            (r#"{ size = "1G", fs = "ext4", options = "noatime" }"#.to_owned(), "disk 1: mount options need a mount point".to_owned()),
            (
                r#"{ size = "1G", fs = "ext4", mount = "/srv", options = "" }"#.to_owned(),
                "disk 1: its mount options are none: write them as in noatime,nofail".to_owned(),
            ),
            (
                r#"{ size = "1G", fs = "xfs", label = "thirteen-char" }, { size = "1G", fs = "ext4", label = "seventeen-charact" }"#
                    .to_owned(),
                "disk 1: the label thirteen-char is longer than the 12 characters of xfs\n\
                 disk 2: the label seventeen-charact is longer than the 16 characters of ext4"
                    .to_owned(),
            ),
            (
                format!("{},{}", at("/srv"), at("/srv")),
                "disk 2: /srv is another disk's mount point".to_owned(),
            ),
            (
                r#"{ size = "1G", fs = "ext4", label = "a" }, { size = "1G", fs = "xfs", label = "a" }"#.to_owned(),
                "disk 2: the label a is another disk's".to_owned(),
            ),
            (at("/srv/a b"), "disk 1: /srv/a b has a blank in it, which fstab cannot have".to_owned()),
        ];
        let needs = "disk 1: files are moved to a file system mounted at /home, /opt, /srv, /var: move needs fs and mount";
        for text in [
            r#"{ size = "1G", fs = "ext4", mount = "/var/log", move = true }"#,
            r#"{ size = "1G", fs = "xfs", move = true }"#,
            r#"{ size = "1G", move = true }"#,
        ] {
            table.push((text.to_owned(), needs.to_owned()));
        }
        let both = r#"{ size = "1G", fs = "ext4", mount = "/var", move = true, force = true }"#;
        table.push((both.to_owned(), "disk 1: force hides what move takes along: set one of both".to_owned()));
        for mount in
            ["/", "/usr", "/etc", "/boot", "/boot/efi", "/lib64", "/lib/modules", "/usr/lib/x", "/dev/shm", "/proc", "/run/x"]
        {
            table.push((at(mount), system(mount)));
        }
        for (text, message) in table {
            let error = check(&disks(&text)).unwrap_err();
            assert_eq!((error.to_string(), exit_code(&error)), (message, 2), "{text}");
        }
        let many = vec![r#"{ size = "1G" }"#; 21].join(",");
        assert_eq!(check(&disks(&many)).unwrap_err().to_string(), "21 disks are more than the 20 that a VM has room for");
    }

    #[test]
    fn hiding_files_has_to_be_meant() {
        let disk = |mount: &str, force: bool| format!(r#"{{ size = "1G", fs = "ext4", mount = "{mount}", force = {force} }}"#);
        for mount in ["/var", "/var/log", "/home", "/home/bob", "/root", "/opt", "/tmp", "/usr/local", "/usr/games", "/etc/x"] {
            let error = check(&disks(&disk(mount, false))).unwrap_err();
            let message = format!(
                "a disk at {mount} would hide the template's files there\n\
                 mount it at a folder of its own, as in /srv/data; or set for that disk move, which takes them along, or force"
            );
            assert_eq!((error.to_string(), exit_code(&error)), (message, 3));
            check(&disks(&disk(mount, true))).unwrap();
        }
        check(&disks(r#"{ size = "1G", fs = "ext4", mount = "/var", move = true }"#)).unwrap();
        for mount in ["/srv", "/data", "/mnt/x", "/library", "/opt/app", "/var/lib/postgresql", "/home/bob/data", "/usr/local/x"]
        {
            check(&disks(&disk(mount, false))).unwrap();
        }
    }

    #[test]
    fn tools_come_from_the_templates_packages() {
        let package = |name: &str| Package { name: name.to_owned(), version: "1".to_owned() };
        let both = disks(r#"{ size = "1G", fs = "ext4" }, { size = "1G", fs = "xfs" }, { size = "1G" }"#);
        assert_eq!(missing_tools(&both, &[package("e2fsprogs")]), ["xfsprogs"]);
        assert_eq!(missing_tools(&both, &[package("e2fsprogs"), package("xfsprogs")]), [""; 0]);
        assert_eq!(missing_tools(&both[2..], &[]), [""; 0]);
    }
}
