//! Moving a folder of the system to a disk of its own, with all that the template has there: `/var`, in most cases.
//!
//! A running system has files of it open, its journal before all. So nothing is moved at the first boot: cloud-init asks for it and
//! restarts, before it has done anything else. At that start a service makes the file system, copies, compares and mounts, before
//! anybody opens a file there; and cloud-init goes on with its state on the new disk, which is still its first boot.
//!
//! ```text
//! first start    ask.sh     services are written; restart
//! second start   move.sh    file system, copy, comparison; mounted; a line in fstab   ← from here on the disk is what counts
//!                moved.sh   the old files go, once the system is up with the new ones
//! ```
//!
//! Cut off before that line, a start has the old folder and the next one begins anew; after it, fstab mounts the disk. SSH is not
//! there before the move: cloud-init writes the VM's host key later. A move that does not succeed three times leaves the VM as it
//! was, says why on its console, and keeps SSH, the guest agent and the end of cloud-init away: nobody takes that VM for ready.

use super::disks::SeedDisk;

/// The folders that can be moved: who has files there open before file systems are mounted is known.
pub const MOVABLE: [&str; 4] = ["/home", "/opt", "/srv", "/var"];

/// Asks for the move; see the file.
pub const ASK: &str = include_str!("moving/ask.sh");
/// Moves, early at a start.
pub const MOVE: &str = include_str!("moving/move.sh");
/// Removes the old files.
pub const MOVED: &str = include_str!("moving/moved.sh");

/// The command that cloud-init runs at every boot for a disk that a folder is moved to.
pub fn command(disk: &SeedDisk) -> Option<Vec<String>> {
    let (folder, fs) = (disk.mount.as_ref().filter(|_| disk.moved)?, disk.fs?);
    let options = disk.options.as_ref().map_or("defaults", |options| options.as_str());
    let label = disk.label.as_ref().map_or("", |label| label.as_str());
    let device = disk.device();
    let words = ["sh", "-c", ASK, "sh", folder.as_str(), &device, fs.as_str(), options, label, MOVE, MOVED];
    Some(words.map(str::to_owned).to_vec())
}
