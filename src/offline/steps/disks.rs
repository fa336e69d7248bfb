//! Extra disks in fstab. Their file systems are made on their own volumes.

use anyhow::{Result, ensure};

use crate::offline::{ExtraDisk, Scene, Step};

pub(super) const STEP: Step = Step { name: "extra disks", run };

fn run(scene: &Scene<'_>) -> Result<()> {
    let mounted: Vec<_> = scene.identity.disks.iter().filter(|disk| disk.mount.is_some()).collect();
    if mounted.is_empty() {
        return Ok(());
    }
    for disk in &mounted {
        if let Some(path) = disk.mount.as_ref().map(|path| path.as_str()) {
            let empty = scene.guest.make_directory(path)? || scene.guest.walk(path)?.is_empty();
            ensure!(disk.force || empty, "{path} has files of the template, which disk {} would hide", disk.serial);
        }
    }
    let lines: Vec<_> = mounted.iter().filter_map(|disk| line(disk)).collect();
    let text = fstab(&scene.text("/etc/fstab")?, &lines);
    scene.put("/etc/fstab", text.as_bytes(), 0o644)
}

/// The three columns that say which disk, where and how.
struct Line {
    spec: String,
    text: String,
}

fn line(disk: &ExtraDisk) -> Option<Line> {
    let mount = disk.mount.as_ref()?.as_str().replace(' ', "\\040");
    let spec = match &disk.label {
        Some(label) => format!("LABEL={label}"),
        None => format!("/dev/disk/by-id/virtio-{}", disk.serial),
    };
    let kind = disk.filesystem.map_or("auto", |kind| kind.as_str());
    let mut options: Vec<_> = disk.options.as_deref().unwrap_or("defaults").split(',').collect();
    // Without it a disk that has been taken away keeps the whole guest from booting.
    if !options.contains(&"nofail") {
        options.push("nofail");
    }
    Some(Line { text: format!("{spec} {mount} {kind} {} 0 2", options.join(",")), spec })
}

/// The file with these lines, each once.
fn fstab(old: &str, lines: &[Line]) -> String {
    let is_ours = |line: &str| lines.iter().any(|own| line.split_whitespace().next() == Some(&own.spec));
    let kept = old.lines().filter(|line| !is_ours(line));
    kept.chain(lines.iter().map(|line| line.text.as_str())).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{facts::VolumeFormat, vm_spec::FileSystem};

    #[test]
    fn a_disk_is_named_by_its_label_or_its_serial_number() {
        let disk = |label: Option<&str>, filesystem, mount: &str, options: Option<&str>| ExtraDisk {
            path: "/x".into(),
            format: VolumeFormat::Raw,
            serial: "data1".parse().unwrap(),
            filesystem,
            label: label.map(|label| label.parse().unwrap()),
            mount: Some(mount.parse().unwrap()),
            options: options.map(str::to_owned),
            force: false,
        };
        let lines =
            [disk(Some("data"), Some(FileSystem::Ext4), "/srv/my data", None), disk(None, None, "/mnt", Some("noatime,nofail"))];
        let lines: Vec<_> = lines.iter().filter_map(line).collect();
        let expected = "UUID=a / ext4 defaults 0 1\nLABEL=data /srv/my\\040data ext4 defaults,nofail 0 2\n\
                        /dev/disk/by-id/virtio-data1 /mnt auto noatime,nofail 0 2\n";
        assert_eq!(fstab("UUID=a / ext4 defaults 0 1", &lines), expected);
        assert_eq!(fstab(expected, &lines), expected);
    }
}
