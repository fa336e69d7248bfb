//! The bytes of a seed volume: a small vfat file system labelled CIDATA. A clone's is a disk; that for an installer is in a CD-ROM
//! drive, which nothing takes for a disk to install on, and whose sectors are larger: Linux mounts no file system with smaller ones
//! than its drive has.

use std::io::{Cursor, Write as _};

use anyhow::{Context as _, Result, ensure};
use fatfs::{Date, DateTime, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider};

use uuid::Uuid;

use crate::core::secret::Secret;

/// cloud-init looks for this label, in capitals or not.
const LABEL: [u8; 11] = *b"CIDATA     ";
const SECTOR: u16 = 512;
/// A CD-ROM's.
const DISC_SECTOR: u16 = 2048;
/// Boot sector, two FATs, root directory: what is not there for files, generously.
const OVERHEAD: usize = 16 << 10;
/// What a guest may be told at most is less, in base64 and base64 once more; a larger one is somebody's mistake. FAT12 has
/// room for 2 MiB.
const MAX_DOCUMENT: usize = 3 << 19;

/// The first moment that FAT can write down.
#[derive(Debug)]
struct Epoch;

impl TimeProvider for Epoch {
    fn get_current_date(&self) -> Date {
        Date { year: 1980, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime { date: self.get_current_date(), time: Time { hour: 0, min: 0, sec: 0, millis: 0 } }
    }
}

/// Makes the volume. The bytes hold a private key: they go into a volume that only the hypervisor can read, and into no
/// other file. The same documents make the same bytes: no clock and no random serial number go in.
///
/// # Errors
/// Documents of more than 1.5 MiB.
pub fn seed_image(meta_data: &str, network_config: &str, user_data: &Secret<String>) -> Result<Secret<Vec<u8>>> {
    image(&[("meta-data", meta_data), ("network-config", network_config), ("user-data", user_data.expose())], SECTOR)
        .context("making a seed volume")
}

/// Makes the volume that an installer finds its answers on, for a CD-ROM drive. `instance` names the machine; the answers hold the
/// hash of a password.
///
/// # Errors
/// Answers of more than 1.5 MiB.
pub fn answers_image(instance: Uuid, answers: &str) -> Result<Secret<Vec<u8>>> {
    let meta_data = format!("instance-id: {instance}\n");
    image(&[("meta-data", meta_data.as_str()), ("user-data", answers)], DISC_SECTOR).context("making the volume of the answers")
}

fn image(documents: &[(&str, &str)], sector: u16) -> Result<Secret<Vec<u8>>> {
    let size: usize = documents.iter().map(|(_, text)| text.len()).sum();
    ensure!(size <= MAX_DOCUMENT, "{size} bytes of documents are more than the limit of {MAX_DOCUMENT}");
    // Each document wastes less than a cluster, and what is around them is counted in sectors.
    let overhead = OVERHEAD * usize::from(sector / SECTOR);
    let bytes = (size + overhead).next_multiple_of(usize::from(sector).max(4096));
    let mut disk = Cursor::new(vec![0; bytes]);
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat12)
        .bytes_per_sector(sector)
        .bytes_per_cluster(u32::from(sector))
        // As many as fill a sector.
        .max_root_dir_entries(sector / 32)
        .volume_id(0x7470_6c00)
        .volume_label(LABEL);
    fatfs::format_volume(&mut disk, options)?;
    let volume = FileSystem::new(&mut disk, FsOptions::new().time_provider(&Epoch))?;
    for (name, text) in documents {
        let mut file = volume.root_dir().create_file(name).with_context(|| format!("creating {name}"))?;
        file.truncate()?;
        file.write_all(text.as_bytes()).with_context(|| format!("writing {name}"))?;
        file.flush()?;
    }
    volume.unmount()?;
    Ok(Secret::new(disk.into_inner()))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn read(volume: &FileSystem<Cursor<Vec<u8>>>, name: &str) -> String {
        let mut text = String::new();
        volume.root_dir().open_file(name).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn what_was_written_can_be_read() {
        for length in [0, 1, 511, 512, 513, 2500, 40_000, MAX_DOCUMENT - 40] {
            let user_data = "x".repeat(length);
            let image = seed_image("instance-id: 1\n", "version: 1\n", &Secret::new(user_data.clone())).unwrap();
            assert_eq!(image.expose().len() % 4096, 0);
            let volume = FileSystem::new(Cursor::new(image.expose().clone()), FsOptions::new()).unwrap();
            assert_eq!(volume.volume_label(), "CIDATA");
            assert_eq!(volume.read_volume_label_from_root_dir().unwrap().as_deref(), Some("CIDATA"));
            let names: Vec<_> = volume.root_dir().iter().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, ["meta-data", "network-config", "user-data"]);
            assert!(volume.root_dir().iter().all(|entry| entry.unwrap().modified() == Epoch.get_current_date_time()));
            assert_eq!(read(&volume, "meta-data"), "instance-id: 1\n");
            assert_eq!(read(&volume, "network-config"), "version: 1\n");
            assert_eq!(read(&volume, "user-data"), user_data);
        }
    }

    #[test]
    fn answers_are_in_the_sectors_of_a_disc() {
        for length in [0, 5000, MAX_DOCUMENT - 60] {
            let answers = "x".repeat(length);
            let image = answers_image(Uuid::nil(), &answers).unwrap();
            let bytes = image.expose();
            assert_eq!((bytes.len() % 4096, &bytes[11..13]), (0, 2048u16.to_le_bytes().as_slice()));
            let volume = FileSystem::new(Cursor::new(bytes.clone()), FsOptions::new()).unwrap();
            assert_eq!(volume.read_volume_label_from_root_dir().unwrap().as_deref(), Some("CIDATA"));
            assert_eq!(read(&volume, "meta-data"), "instance-id: 00000000-0000-0000-0000-000000000000\n");
            assert_eq!(read(&volume, "user-data"), answers);
        }
    }

    #[test]
    fn a_usual_seed_is_small_and_the_same_each_time() {
        let make = || seed_image("instance-id: 1\n", "version: 1\n", &Secret::new("#cloud-config\n".repeat(100))).unwrap();
        assert_eq!(make().expose().len(), 20 << 10);
        assert_eq!(make(), make());
    }

    #[test]
    fn a_mistake_is_refused() {
        let error = seed_image("", "", &Secret::new("x".repeat(MAX_DOCUMENT + 1))).unwrap_err();
        assert_eq!(format!("{error:#}"), "making a seed volume: 1572865 bytes of documents are more than the limit of 1572864");
    }
}
