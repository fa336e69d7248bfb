//! What was swapped out into a file: pieces of the memory of the build, passwords among them. Swap partitions are made anew when
//! the template is made small.

use anyhow::Result;

use crate::{
    host::guest::{FileKind, Files},
    seal::{
        fstab,
        ops::{changed, text_of},
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation =
    Operation { name: "swap-files", summary: "overwrites what is in swap files", families: &[], default: true, run };

/// A page of any machine's size ends with this if it begins a swap area. Reference: mkswap of util-linux.
const SIGNATURE: &[u8] = b"SWAPSPACE2";
const PAGES: [usize; 3] = [4 << 10, 16 << 10, 64 << 10];

fn run(files: &dyn Files) -> Result<Outcome> {
    let mut done = Vec::new();
    for entry in fstab::parse(&text_of(files, "/etc/fstab")?).into_iter().filter(|entry| entry.kind == "swap") {
        let path = entry.spec;
        let is_file = path.starts_with('/') && files.lstat(&path)?.is_some_and(|stat| stat.kind == FileKind::Regular);
        let head = if is_file { files.head(&path, PAGES[2])?.unwrap_or_default() } else { Vec::new() };
        // The header stays: with it the UUID, and a file that swapon takes.
        let begins = |page: &&usize| head.get(..**page).is_some_and(|page| page.ends_with(SIGNATURE));
        if let Some(page) = PAGES.iter().find(begins)
            && files.zero_from(&path, *page as u64)?
        {
            done.push(path);
        }
    }
    Ok(changed(done))
}
