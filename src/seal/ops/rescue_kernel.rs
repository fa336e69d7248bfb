//! The Red Hat family's rescue kernel and its initramfs. They are named after the machine-id: a clone, which has another one, makes
//! a second pair of 100 MiB at its next kernel update, and a small `/boot` is full then. The entries of ordinary kernels keep the
//! old machine-id in their names: GRUB sorts them by version, and `saved_entry` names one of them.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::{remove, text_of},
        table::{Family, Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "rescue-kernel",
    summary: "removes the rescue kernel, of which the next kernel update makes a new one",
    families: &[Family::RedHat],
    default: true,
    run,
};

const FILES: [&str; 3] = ["/boot/vmlinuz-0-rescue-*", "/boot/initramfs-0-rescue-*.img", "/boot/loader/entries/*-0-rescue.conf"];

/// Where a rescue kernel is named that has no entry of its own, up to release 7, or is the default.
const NAMES: [&str; 4] = ["/boot/grub2/grub.cfg", "/boot/grub2/grubenv", "/boot/efi/EFI/*/grub.cfg", "/boot/efi/EFI/*/grubenv"];

fn run(files: &dyn Files) -> Result<Outcome> {
    for path in files.glob(&NAMES)? {
        if text_of(files, &path)?.contains("0-rescue") {
            return Ok(Outcome::Unchanged);
        }
    }
    remove(files, &FILES)
}
