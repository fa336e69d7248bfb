//! What a file is, by its first bytes.

use crate::core::source::Arch;

/// What initrds begin with: an archive of the kernel's kind, plain or compressed as the kernel can undo it. A medium's often
/// begins with a plain one, the microcode of processors.
const INITRDS: [&[u8]; 9] = [
    b"070701",
    b"070702",
    // gzip, bzip2, xz, zstd, lz4, lzop, LZMA.
    &[0x1f, 0x8b],
    b"BZh",
    &[0xfd, b'7', b'z', b'X', b'Z', 0],
    &[0x28, 0xb5, 0x2f, 0xfd],
    &[0x02, 0x21, 0x4c, 0x18],
    &[0x89, b'L', b'Z', b'O'],
    &[0x5d, 0, 0],
];

/// Whether a file beginning like this can be an initrd.
pub fn is_initrd(head: &[u8]) -> bool {
    INITRDS.iter().any(|magic| head.starts_with(magic))
}

/// Whether a file beginning like this is a kernel for the architecture: Documentation/arch/x86/boot.rst and
/// Documentation/arch/arm64/booting.rst in the kernel's source. An arm64 kernel may be compressed too, with gzip or in a program
/// for the firmware that undoes it.
pub fn is_kernel(head: &[u8], arch: Arch) -> bool {
    let at = |offset: usize, magic: &[u8]| head.get(offset..offset + magic.len()) == Some(magic);
    match arch {
        Arch::Amd64 => at(0x1fe, &[0x55, 0xaa]) && at(0x202, b"HdrS"),
        Arch::Arm64 => at(0x38, b"ARM\x64") || at(0, &[0x1f, 0x8b]) || at(0, b"MZ") && at(4, b"zimg"),
    }
}
