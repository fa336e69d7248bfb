//! Whether a build disk has room for what is laid out on it.
//!
//! The figures are floors, not recommendations: below them an installation fails, and above them it may still need more.

use crate::core::{
    pipeline::{Answers, AnswersKind, Layout},
    units::ByteSize,
    vm_spec::Firmware,
};

/// What the partition tables at both ends and the alignment of partitions to MiB take.
const TABLES: ByteSize = ByteSize::mib(2);
/// GRUB's own partition on a GPT without UEFI.
const BIOS_BOOT: ByteSize = ByteSize::mib(1);
/// The EFI system partition of tpl's own answer files.
const ESP: ByteSize = ByteSize::mib(128);
/// The metadata of a volume group, and what is lost to whole extents of 4 MiB.
const LVM: ByteSize = ByteSize::mib(8);

/// The least that a root needs while the installer fills it.
fn smallest_root(kind: AnswersKind) -> (ByteSize, &'static str) {
    match kind {
        // debian-installer's minimal system with a kernel and its initrd; the packages' archives lie beside it until the end.
        AnswersKind::Preseed => (ByteSize::mib(900), "a minimal Debian"),
        // The minimal image that subiquity copies has more than 1 GiB unpacked; kernel, its modules and snapd's seed come on top.
        AnswersKind::Autoinstall => (ByteSize::mib(2048), "a minimal Ubuntu Server"),
        // @core with a kernel has more than 1 GiB, and dnf keeps what it has fetched beside it. Anaconda refuses less itself.
        AnswersKind::Kickstart => (ByteSize::mib(1536), "the group @core"),
    }
}

/// The least that a build disk must have for a layout, and what that is the sum of.
pub fn smallest_disk(answers: &Answers, firmware: Firmware) -> (ByteSize, String) {
    let (root, what) = smallest_root(answers.kind);
    let mut parts = vec![(root, format!("root with {what}"))];
    match firmware {
        Firmware::Uefi => parts.push((ESP, "the EFI system partition".to_owned())),
        Firmware::Bios => parts.push((BIOS_BOOT, "the boot loader".to_owned())),
    }
    if answers.layout == Layout::Lvm {
        parts.push((answers.boot, "/boot".to_owned()));
        parts.push((answers.swap, "swap".to_owned()));
        parts.push((LVM, "the volume group".to_owned()));
    }
    parts.push((TABLES, "partition tables".to_owned()));
    let sum = parts.iter().fold(0u64, |sum, (size, _)| sum.saturating_add(size.0));
    let shown = parts.iter().filter(|(size, _)| size.0 > 0).map(|(size, what)| format!("{size} for {what}"));
    (ByteSize(sum), shown.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_the_layout() {
        let answers = |kind: &str, rest: &str| {
            let text = format!("kind = \"{kind}\"\nfile = \"x\"\n{rest}");
            toml::from_str::<Answers>(&text).unwrap()
        };
        let table = [
            ("preseed", "", Firmware::Bios, 900 + 1 + 2),
            ("preseed", "boot = \"1G\"", Firmware::Uefi, 900 + 128 + 2),
            ("kickstart", "layout = \"lvm\"", Firmware::Uefi, 1536 + 128 + 512 + 512 + 8 + 2),
            ("autoinstall", "layout = \"lvm\"\nswap = 0\nboot = \"1G\"", Firmware::Bios, 2048 + 1 + 1024 + 8 + 2),
        ];
        for (kind, rest, firmware, mib) in table {
            assert_eq!(smallest_disk(&answers(kind, rest), firmware).0, ByteSize::mib(mib), "{kind} {rest}");
        }
        let (_, parts) = smallest_disk(&answers("kickstart", "layout = \"lvm\"\nswap = 0"), Firmware::Bios);
        let expected = "1.5 GiB for root with the group @core, 1 MiB for the boot loader, 512 MiB for /boot, 8 MiB for the volume \
                        group, 2 MiB for partition tables";
        assert_eq!(parts, expected);
    }
}
