//! The bytes of a seed volume: a small vfat file system labelled CIDATA.

use std::io::{Cursor, Write as _};

use anyhow::{Context as _, Result, ensure};
use fatfs::{Date, DateTime, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider};

use crate::core::secret::Secret;

/// cloud-init looks for this label, in capitals or not.
const LABEL: [u8; 11] = *b"CIDATA     ";
const SECTOR: usize = 512;
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
    image(&[("meta-data", meta_data), ("network-config", network_config), ("user-data", user_data.expose())])
        .context("making a seed volume")
}

fn image(documents: &[(&str, &str)]) -> Result<Secret<Vec<u8>>> {
    let size: usize = documents.iter().map(|(_, text)| text.len()).sum();
    ensure!(size <= MAX_DOCUMENT, "{size} bytes of documents are more than the limit of {MAX_DOCUMENT}");
    // Each document wastes less than a cluster.
    let bytes = (size + OVERHEAD).next_multiple_of(SECTOR << 3);
    let mut disk = Cursor::new(vec![0; bytes]);
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat12)
        .bytes_per_sector(SECTOR as u16)
        .bytes_per_cluster(SECTOR as u32)
        .max_root_dir_entries(16)
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
