use super::{
    super::iso9660::tests::{Names, image},
    AnswersKind::{Autoinstall, Kickstart, Preseed},
    *,
};

/// The beginning of a kernel for amd64, in a file of `length` bytes.
fn kernel(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    bytes[0x1fe..0x206].copy_from_slice(&[0x55, 0xaa, 0, 0, b'H', b'd', b'r', b'S']);
    bytes
}

/// A path, and what is there.
type Put<'a> = (&'a str, &'a [u8]);

const GZIP: &[u8] = &[0x1f, 0x8b, 8, 0];
const CPIO: &[u8] = b"0707010000";

/// Where kernel and initrd were found, or why they were not.
fn found(kind: AnswersKind, files: &[Put<'_>], paths: (Option<&str>, Option<&str>)) -> String {
    let bytes = image("LABEL", Names::RockRidge, files);
    let path = |path: Option<&str>| path.map(|path| path.parse::<MediumPath>().unwrap());
    let (kernel, initrd) = (path(paths.0), path(paths.1));
    match find(&bytes, kind, Arch::Amd64, (kernel.as_ref(), initrd.as_ref())) {
        Ok(installer) => format!("{} {} {}", installer.label, installer.kernel.path, installer.initrd.path),
        Err(unfit) => unfit.to_string(),
    }
}

#[test]
fn kernel_and_initrd_are_where_the_family_has_them() {
    let kernel = &kernel(4096);
    let table: [(AnswersKind, &[Put<'_>], &str); 9] = [
        (
            Autoinstall,
            &[("casper/hwe-vmlinuz", kernel), ("casper/hwe-initrd", CPIO), ("casper/vmlinuz", kernel), ("casper/initrd", CPIO)],
            "LABEL casper/vmlinuz casper/initrd",
        ),
        (
            Autoinstall,
            &[("casper/hwe-vmlinuz", kernel), ("casper/hwe-initrd", CPIO), ("casper/vmlinuz", b"no"), ("casper/initrd", CPIO)],
            "LABEL casper/hwe-vmlinuz casper/hwe-initrd",
        ),
        (
            Kickstart,
            &[(".treeinfo", b""), ("isolinux/vmlinuz", kernel), ("isolinux/initrd.img", GZIP)],
            "LABEL isolinux/vmlinuz isolinux/initrd.img",
        ),
        (
            Kickstart,
            &[
                ("isolinux/vmlinuz", kernel),
                ("isolinux/initrd.img", GZIP),
                ("images/pxeboot/vmlinuz", kernel),
                ("images/pxeboot/initrd.img", GZIP),
            ],
            "LABEL images/pxeboot/vmlinuz images/pxeboot/initrd.img",
        ),
        (
            Preseed,
            &[
                ("install.amd/gtk/initrd.gz", GZIP),
                ("install.amd/gtk/vmlinuz", kernel),
                ("install.amd/initrd.gz", GZIP),
                ("install.amd/vmlinuz", kernel),
            ],
            "LABEL install.amd/vmlinuz install.amd/initrd.gz",
        ),
        (Preseed, &[("casper/vmlinuz", kernel), ("debian/x", b"")], "it is a medium of subiquity, Ubuntu's installer"),
        (Autoinstall, &[(".treeinfo", b"")], "it is a medium of Anaconda, the Red Hat family's installer"),
        (Kickstart, &[("install.amd/x", b"")], "it is a medium of debian-installer"),
        (Autoinstall, &[("casper/vmlinuz", kernel), ("casper/initrd", b"text")], "it holds no kernel with an initrd beside it"),
    ];
    for (kind, files, expected) in table {
        assert_eq!(found(kind, files, (None, None)), expected, "{:?}", files.iter().map(|file| file.0).collect::<Vec<_>>());
    }
}

#[test]
fn elsewhere_they_are_found_by_what_they_are() {
    let (small, large) = (kernel(4096), kernel(2 << 20));
    let files: [Put<'_>; 5] = [
        ("boot/loader", &small),
        ("boot/initrd", GZIP),
        ("live/deep/linux-6.1", &large),
        ("live/deep/initrd-6.1.img", CPIO),
        ("live/other", &large),
    ];
    assert_eq!(found(Preseed, &files, (None, None)), "LABEL live/deep/linux-6.1 live/deep/initrd-6.1.img");
    let table = [
        ((Some("live/other"), None), "LABEL live/other live/deep/initrd-6.1.img"),
        ((Some("boot/loader"), Some("boot/initrd")), "LABEL boot/loader boot/initrd"),
        ((Some("boot/initrd"), None), "its boot/initrd, which source.kernel names, is no kernel"),
        ((None, Some("live/other")), "its live/other, which source.initrd names, is no initrd"),
        ((None, Some("live/nothing")), "it has no live/nothing, which source.initrd names"),
        ((Some("live"), None), "it has no live, which source.kernel names"),
    ];
    for (paths, expected) in table {
        assert_eq!(found(Preseed, &files, paths), expected);
    }
}

#[test]
fn a_medium_that_was_not_fetched_whole_is_refused() {
    let large = kernel(2 << 20);
    let mut bytes = image("L", Names::Joliet, &[("casper/vmlinuz", &large), ("casper/initrd", GZIP)]);
    bytes.truncate(bytes.len() - 2048);
    let unfit = find(&bytes, Autoinstall, Arch::Amd64, (None, None)).unwrap_err();
    assert_eq!(unfit.to_string(), "it is cut off: it ends before what it says it holds");
}

#[test]
fn files_are_told_by_their_first_bytes() {
    let mut arm = vec![0; 64];
    arm[0x38..0x3c].copy_from_slice(b"ARM\x64");
    let zboot = b"MZ\0\0zimg".to_vec();
    let table = [
        (kernel(1024), [true, false, false]),
        (arm, [false, true, false]),
        (zboot, [false, true, false]),
        (GZIP.to_vec(), [false, true, true]),
        (CPIO.to_vec(), [false, false, true]),
        (vec![0x28, 0xb5, 0x2f, 0xfd], [false, false, true]),
        (b"#!/bin/sh".to_vec(), [false, false, false]),
        (Vec::new(), [false, false, false]),
    ];
    for (head, expected) in table {
        assert_eq!([is_kernel(&head, Arch::Amd64), is_kernel(&head, Arch::Arm64), is_initrd(&head)], expected, "{head:?}");
    }
}
