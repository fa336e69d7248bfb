//! Disk images on a real disk: told by their content, unpacked within limits, copied with their backing files.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(clippy::disallowed_methods, reason = "the tests make devices with another tool than tpl")]

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;
use tpl::{
    core::{digest::chunk_digest, error::exit_code, facts::VolumeFormat, progress::Silent, units::ByteSize},
    host::{
        images::DiskImage,
        process::{self, QEMU_IMG},
        unpack,
    },
};

const MIB: u64 = 1 << 20;
/// The size of the disk.
const SIZE: u64 = 8 * MIB;
const ROOM: ByteSize = ByteSize(16 * MIB);

fn qemu_img(args: &[&str]) {
    process::run(QEMU_IMG, args, Duration::from_secs(60)).unwrap();
}

/// A folder with `disk.raw` in it: 8 MiB with a partition table, and text at 5 MiB.
fn lab() -> (TempDir, PathBuf) {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let raw = folder.path().join("disk.raw");
    let file = File::create(&raw).unwrap();
    file.set_len(SIZE).unwrap();
    file.write_all_at(&[0x55, 0xaa], 510).unwrap();
    file.write_all_at(b"guest", 5 * MIB).unwrap();
    (folder, raw)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What a guest sees of a disk, taken into a volume of its size.
fn taken(disk: &DiskImage, folder: &Path) -> Vec<u8> {
    let (volume, raw) = (folder.join("volume,"), folder.join("seen.raw"));
    qemu_img(&["create", "-q", "-f", "qcow2", text(&volume), &disk.size.to_string()]);
    tpl::host::image::take(disk, &volume).unwrap();
    qemu_img(&["convert", "-f", "qcow2", "-O", "raw", text(&volume), text(&raw)]);
    fs::read(raw).unwrap()
}

fn packed(bytes: &[u8], how: &str) -> Vec<u8> {
    match how {
        "gzip" => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        "xz" => {
            let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 1);
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        _ => zstd::encode_all(bytes, 1).unwrap(),
    }
}

#[test]
fn each_kind_of_image_is_taken_whatever_its_name() {
    let (folder, raw) = lab();
    let bytes = fs::read(&raw).unwrap();
    let qcow2 = folder.path().join("disk.img");
    qemu_img(&["convert", "-c", "-f", "raw", "-O", "qcow2", text(&raw), text(&qcow2)]);
    let mut images = vec![(raw, VolumeFormat::Raw), (qcow2.clone(), VolumeFormat::Qcow2)];
    let whole = fs::read(&qcow2).unwrap();
    for how in ["gzip", "xz", "zstd"] {
        for (content, format) in [(&bytes, VolumeFormat::Raw), (&whole, VolumeFormat::Qcow2)] {
            let path = folder.path().join(format!("{how}, {}", format.as_str()));
            // In two parts behind each other, which all three formats allow.
            let (first, second) = content.split_at(1000);
            fs::write(&path, [packed(first, how), packed(second, how)].concat()).unwrap();
            images.push((path, format));
        }
    }
    for (path, format) in images {
        let before = fs::read_dir(folder.path()).unwrap().count();
        let disk = unpack::open(&path, folder.path(), ROOM, &Silent).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before, "what is unpacked has no name");
        assert_eq!((disk.size, disk.layers[0].format), (SIZE, format), "{}", path.display());
        assert!(taken(&disk, folder.path()) == bytes, "{}", path.display());
        for leftover in ["volume,", "seen.raw"] {
            fs::remove_file(folder.path().join(leftover)).unwrap();
        }
    }
}

#[test]
fn what_is_unpacked_keeps_its_holes() {
    let (folder, raw) = lab();
    let path = folder.path().join("packed");
    fs::write(&path, packed(&fs::read(&raw).unwrap(), "zstd")).unwrap();
    let disk = unpack::open(&path, folder.path(), ROOM, &Silent).unwrap();
    let data = fs::metadata(&disk.layers[0].path).unwrap();
    assert_eq!(data.len(), SIZE);
    assert!(data.blocks() * 512 <= MIB, "{} blocks", data.blocks());
}

#[test]
fn what_is_not_taken_is_refused_with_its_reason() {
    let (folder, raw) = lab();
    let bytes = fs::read(&raw).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let made = |name: &str, args: &[&str]| {
        let path = folder.path().join(name);
        qemu_img(&[args, &[text(&path)]].concat());
        path
    };
    let huge = made("huge", &["create", "-q", "-f", "qcow2", "-o", "size=1T"]);
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", text(&raw), "-F", "raw", text(&folder.path().join("overlay"))]);
    let vmdk = made("vmdk", &["convert", "-f", "raw", "-O", "vmdk", text(&raw)]);
    let vdi = made("vdi", &["convert", "-f", "raw", "-O", "vdi", text(&raw)]);
    let vhd = made("vhd", &["convert", "-f", "raw", "-O", "vpc", "-o", "subformat=fixed", text(&raw)]);
    let convert = ": `qemu-img convert -O qcow2` makes one that is taken";
    let overlay = format!(
        "this is a qcow2 image that is not taken: it stands on another file, {:?}: `qemu-img convert` makes one image of both",
        text(&raw).chars().take(80).collect::<String>()
    );
    let data = file("cut", &packed(&bytes, "xz")[..200]);
    let table = [
        (huge, 3, "this is a disk of 1 TiB, and there is room for 16 MiB".to_owned()),
        (folder.path().join("overlay"), 3, overlay),
        (vmdk, 3, format!("this is a VMDK image{convert}")),
        (vdi, 3, format!("this is a VDI image{convert}")),
        (vhd, 3, format!("this is a VHD image{convert}")),
        (file("text", b"hello"), 3, "this is no disk: it has neither a partition table nor a filesystem".to_owned()),
        (file("twice", &packed(&packed(&bytes, "xz"), "gzip")), 3, "this is packed twice".to_owned()),
        // A trap: 64 MiB of zeros in a few KiB.
        (file("bomb", &packed(&vec![0; 64 << 20], "zstd")), 3, "it holds more than 16 MiB, for which there is room".to_owned()),
        (data, 3, "it is damaged, or does not go on to its end".to_owned()),
        (folder.path().join("nothing"), 1, "No such file or directory".to_owned()),
        (folder.path().to_owned(), 3, "is no file".to_owned()),
    ];
    for (path, code, reason) in table {
        let error = unpack::open(&path, folder.path(), ROOM, &Silent).unwrap_err();
        let shown = format!("{error:#}");
        assert!(shown.contains(&reason), "{shown}\nnot: {reason}");
        assert_eq!(exit_code(&error), code, "{shown}");
    }
}

#[test]
fn a_disk_is_copied_with_all_that_it_stands_on() {
    let (folder, raw) = lab();
    let path = |name: &str| folder.path().join(name);
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", text(&raw), "-F", "raw", text(&path("base"))]);
    let top = path("top");
    let args = ["create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", text(&top)];
    qemu_img(&[&args[..], &["12M"]].concat());
    let before: Vec<_> = ["disk.raw", "base", "top"].iter().map(|name| fs::read(path(name)).unwrap()).collect();
    let disk = unpack::layers(&top, VolumeFormat::Qcow2).unwrap();
    let chain: Vec<_> = disk.layers.iter().map(|layer| (layer.path.clone(), layer.format)).collect();
    let (raw_format, qcow2) = (VolumeFormat::Raw, VolumeFormat::Qcow2);
    assert_eq!(chain, [(top.clone(), qcow2), (path("base"), qcow2), (raw.clone(), raw_format)]);
    assert_eq!(disk.size, 12 * MIB);
    let mut expected = fs::read(&raw).unwrap();
    expected.resize(12 << 20, 0);
    assert!(taken(&disk, folder.path()) == expected);
    let after: Vec<_> = ["disk.raw", "base", "top"].iter().map(|name| fs::read(path(name)).unwrap()).collect();
    assert!(before == after);
    // A guest that writes a qcow2 header into its raw disk reaches no file of the host.
    let overlay = fs::read(&top).unwrap();
    fs::write(&raw, &overlay).unwrap();
    assert_eq!(unpack::layers(&raw, VolumeFormat::Raw).unwrap().layers.len(), 1);
}

#[test]
fn a_disk_that_changes_meanwhile_is_no_copy() {
    let (folder, raw) = lab();
    let disk = unpack::layers(&raw, VolumeFormat::Raw).unwrap();
    disk.ensure_unchanged().unwrap();
    let volume = folder.path().join("volume");
    qemu_img(&["create", "-q", "-f", "qcow2", text(&volume), "8M"]);
    File::options().write(true).open(&raw).unwrap().write_all_at(b"host", MIB).unwrap();
    let error = tpl::host::image::take(&disk, &volume).unwrap_err();
    let expected = format!("copying {0} to {1}: {0} has been written to in the meantime", raw.display(), volume.display());
    assert_eq!(format!("{error:#}"), expected);
}

/// A file as a block device, as a logical volume is one.
struct Device(String);

impl Device {
    fn of(file: &Path, size: u64) -> Self {
        File::create(file).unwrap().set_len(size).unwrap();
        let made = Command::new("losetup").args(["--find", "--show"]).arg(file).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self(String::from_utf8(made.stdout).unwrap().trim().to_owned())
    }

    fn path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[test]
fn a_build_disk_in_a_device_becomes_a_template_in_one() {
    let (folder, raw) = lab();
    // The build disk is a qcow2 in a volume with room for all of it; the template is cut from it into whole extents.
    let build = Device::of(&folder.path().join("build"), 16 * MIB);
    qemu_img(&["create", "-q", "-f", "qcow2", &build.0, "8M"]);
    tpl::host::image::take(&unpack::layers(&raw, VolumeFormat::Raw).unwrap(), build.path()).unwrap();
    let size = 5 * MIB + 512;
    let template = Device::of(&folder.path().join("template"), 8 * MIB);
    tpl::host::image::copy(build.path(), VolumeFormat::Qcow2, template.path(), size).unwrap();
    let mut expected = fs::read(&raw).unwrap();
    expected.truncate(usize::try_from(size).unwrap());
    let digests: Vec<_> = expected.chunks(1 << 20).map(chunk_digest).collect();
    assert_eq!(tpl::host::image::digest(template.path(), size, &Silent).unwrap().chunks(), digests);
    expected.resize(8 << 20, 0);
    assert!(fs::read(template.path()).unwrap() == expected, "behind its end are zeros");
    let held = fs::metadata(folder.path().join("template")).unwrap().blocks() * 512;
    assert!(held <= MIB, "zeros take no room: {held}");
    let error = tpl::host::image::copy(build.path(), VolumeFormat::Qcow2, template.path(), 8 * MIB + 512).unwrap_err();
    assert!(error.to_string().ends_with("it holds 8388608 bytes, and 8389120 are needed"), "{error:#}");
}
