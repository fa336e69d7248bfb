//! Disk images: moving the bytes of a build disk into a template's volume, and digesting a volume.

use std::{
    fs::File,
    io::{Seek as _, SeekFrom},
    os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    core::{
        digest::{CHUNK, ChunkList, Digest, chunk_count, chunk_digest},
        facts::VolumeFormat,
        progress::Progress,
    },
    host::{
        images::{DiskImage, Layer},
        process::{self, QEMU_IMG},
    },
};

/// Longer than any copy of a template takes; it only ends one that hangs.
const COPY_DEADLINE: Duration = Duration::from_secs(6 * 3600);

/// Copies the first `size` bytes of a disk into an existing raw file or block device, leaving holes where it can. A block device
/// must have been made for it: that it reads as zeros cannot be seen, and is not made sure of here.
///
/// # Errors
/// The target is smaller than `size`, or not readable, or the copy fails.
pub fn copy(source: &Path, format: VolumeFormat, target: &Path, size: u64) -> Result<()> {
    let what = || format!("copying {} to {}", source.display(), target.display());
    let meta = target.metadata().with_context(what)?;
    let mut room = meta.len();
    if meta.file_type().is_block_device() {
        // A device's length is not in its metadata.
        room = File::open(target).and_then(|mut file| file.seek(SeekFrom::End(0))).with_context(what)?;
    }
    ensure!(room >= size, "{}: it holds {room} bytes, and {size} are needed", what());
    let image = image_options(source, format, size).with_context(what)?;
    let target_text = target.to_str().with_context(what)?;
    let mut args = vec!["convert", "-n", "--image-opts", "--target-image-opts"];
    if meta.file_type().is_block_device() || meta.blocks() == 0 {
        // Nothing is in it yet: zeros need not be written. In a thin pool they would take room.
        args.push("--target-is-zero");
    }
    let target_image = format!("driver=raw,file.driver={},file.filename={}", protocol(&meta), comma(target_text));
    args.extend([image.as_str(), target_image.as_str()]);
    process::run(QEMU_IMG, &args, COPY_DEADLINE).with_context(what)?;
    Ok(())
}

fn protocol(meta: &std::fs::Metadata) -> &'static str {
    if meta.file_type().is_block_device() { "host_device" } else { "file" }
}

/// The options that make qemu-img see the first `size` bytes of an image. The raw driver goes on top of the image's own:
/// it alone can cut, and so a qcow2 that is larger than the target needs no resizing, which it would refuse to undo.
fn image_options(source: &Path, format: VolumeFormat, size: u64) -> Result<String> {
    let path = comma(source.to_str().context("the path is no UTF-8")?);
    let protocol = protocol(&source.metadata()?);
    Ok(match format {
        VolumeFormat::Raw => format!("driver=raw,size={size},file.driver={protocol},file.filename={path}"),
        VolumeFormat::Qcow2 => {
            format!("driver=raw,size={size},file.driver=qcow2,file.file.driver={protocol},file.file.filename={path}")
        }
    })
}

/// Copies a disk into an existing, empty qcow2, a file or a block device, of at least its size. Nothing is locked: whoever owns the disk may use it.
///
/// # Errors
/// The copy fails, or somebody has written to the disk meanwhile.
pub fn take(disk: &DiskImage, target: &Path) -> Result<()> {
    let what = || match disk.layers.first() {
        Some(layer) => format!("copying {} to {}", layer.path.display(), target.display()),
        None => "copying a disk without layers".to_owned(),
    };
    let source = layer_options(&disk.layers).with_context(what)?;
    let target_path = target.to_str().with_context(what)?;
    let protocol = protocol(&target.metadata().with_context(what)?);
    let target_image = format!("driver=qcow2,file.driver={protocol},file.filename={}", comma(target_path));
    // Unsafe for the target alone: it is thrown away if this machine stops now.
    let args = [
        "convert",
        "-n",
        "-U",
        "-t",
        "unsafe",
        "--image-opts",
        "--target-image-opts",
        "--target-is-zero",
        &source,
        &target_image,
    ];
    process::run(QEMU_IMG, &args, COPY_DEADLINE).with_context(what)?;
    disk.ensure_unchanged().with_context(what)
}

/// Writes the first `size` bytes of a raw volume into a qcow2 file, whatever that holds. Its path must begin at the root: else
/// qemu-img might take it for something else than a path.
///
/// # Errors
/// The conversion fails.
pub fn to_qcow2(volume: &Path, size: u64, target: &Path) -> Result<()> {
    let what = || format!("converting {} to {}", volume.display(), target.display());
    let source = image_options(volume, VolumeFormat::Raw, size).with_context(what)?;
    let target_path = target.to_str().filter(|path| path.starts_with('/')).with_context(what)?;
    // Written over the file that is there, which somebody holds open, and which is synced by whoever does.
    process::run(QEMU_IMG, &["convert", "-O", "qcow2", "--image-opts", &source, target_path], COPY_DEADLINE)
        .with_context(what)?;
    Ok(())
}

/// The options that make qemu-img see layers as one disk. Each layer's format is named: QEMU must guess none.
fn layer_options(layers: &[Layer]) -> Result<String> {
    let mut options = Vec::new();
    let mut prefix = String::new();
    for layer in layers {
        let path = comma(layer.path.to_str().context("the path is no UTF-8")?);
        let protocol = protocol(&layer.path.metadata()?);
        let format = layer.format.as_str();
        options.push(format!("{prefix}driver={format},{prefix}file.driver={protocol},{prefix}file.filename={path}"));
        prefix.push_str("backing.");
    }
    Ok(options.join(","))
}

/// A value in QEMU's option syntax, where a comma is doubled.
fn comma(value: &str) -> String {
    value.replace(',', ",,")
}

/// Digests the first `size` bytes of a raw file or block device, on all processors, without reading its holes.
///
/// # Errors
/// The file is shorter, or cannot be read.
pub fn digest(path: &Path, size: u64, progress: &dyn Progress) -> Result<ChunkList> {
    let count = chunk_count(size);
    let next = AtomicU64::new(0);
    // More threads than a few wait for the disk; each holds one chunk in memory.
    let threads = thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(2, 8);
    let parts = thread::scope(|scope| {
        let work = || scope.spawn(|| digest_some(path, size, &next, progress));
        let threads: Vec<_> = (0..threads).map(|_| work()).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread ended early")))).collect()
    });
    let parts: Result<Vec<_>> = parts;
    let mut chunks = vec![None; usize::try_from(count)?];
    for (index, digest) in parts.with_context(|| format!("digesting {}", path.display()))?.into_iter().flatten() {
        chunks[usize::try_from(index)?] = Some(digest);
    }
    ChunkList::new(size, chunks).context("counting chunks")
}

/// One thread's share: whichever chunk is next, until none is left.
fn digest_some(path: &Path, size: u64, next: &AtomicU64, progress: &dyn Progress) -> Result<Vec<(u64, Digest)>> {
    let file = File::open(path)?;
    let mut buffer = vec![0; usize::try_from(CHUNK)?];
    let mut digests = Vec::new();
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let start = index.saturating_mul(CHUNK);
        if start >= size {
            return Ok(digests);
        }
        let data = next_data(&file, start, size);
        if data >= start + CHUNK {
            // Everybody jumps over the hole.
            next.fetch_max(data / CHUNK, Ordering::Relaxed);
            continue;
        }
        let part = &mut buffer[..usize::try_from(CHUNK.min(size - start))?];
        file.read_exact_at(part, start).with_context(|| format!("reading at {start}"))?;
        digests.extend(chunk_digest(part).map(|digest| (index, digest)));
        if index.is_multiple_of(64) {
            progress.update("digest", u8::try_from(start * 100 / size).ok());
        }
    }
}

/// Where the next data is, at `offset` or behind; the end, `size`, if there is none. Where holes cannot be told (a block
/// device), everything is data.
pub(super) fn next_data(file: &File, offset: u64, size: u64) -> u64 {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(offset)) {
        Ok(data) => data,
        Err(rustix::io::Errno::NXIO) if file.metadata().is_ok_and(|meta| meta.is_file() && meta.len() >= size) => size,
        Err(_) => offset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::progress::Silent;

    const MIB: u64 = 1 << 20;

    /// 8 MiB: text at 0, a hole, text that crosses a chunk's border at 3 MiB, stored zeros at 5 MiB, text at 7 MiB.
    fn disk(folder: &Path) -> (std::path::PathBuf, Vec<u8>) {
        let mut bytes = vec![0; 8 << 20];
        for offset in [0, 3 * MIB - 2, 7 * MIB] {
            bytes[offset as usize..][..5].copy_from_slice(b"guest");
        }
        let path = folder.join("disk, raw");
        let file = File::create(&path).unwrap();
        file.set_len(8 * MIB).unwrap();
        for offset in [0, 2 * MIB, 3 * MIB, 5 * MIB, 7 * MIB] {
            file.write_all_at(&bytes[offset as usize..][..MIB as usize], offset).unwrap();
        }
        (path, bytes)
    }

    fn plain(bytes: &[u8]) -> ChunkList {
        ChunkList::new(bytes.len() as u64, bytes.chunks(CHUNK as usize).map(chunk_digest).collect()).unwrap()
    }

    #[test]
    fn a_digest_is_that_of_the_bytes_at_any_length() {
        let folder = tempfile::tempdir().unwrap();
        let (path, bytes) = disk(folder.path());
        for size in [8 * MIB, 7 * MIB + 3, 7 * MIB, 3 * MIB - 1, 1, 0] {
            assert_eq!(digest(&path, size, &Silent).unwrap(), plain(&bytes[..size as usize]), "{size}");
        }
        let error = digest(&path, 8 * MIB + 1, &Silent).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            format!("digesting {}: reading at 8388608: failed to fill whole buffer", path.display())
        );
    }

    #[test]
    fn a_copy_is_cut_and_sparse() {
        let folder = tempfile::tempdir().unwrap();
        let (raw, bytes) = disk(folder.path());
        let qcow2 = folder.path().join("disk, qcow2");
        let args = ["convert", "-f", "raw", "-O", "qcow2", raw.to_str().unwrap(), qcow2.to_str().unwrap()];
        process::run(QEMU_IMG, &args, Duration::from_secs(60)).unwrap();
        for (source, format) in [(&raw, VolumeFormat::Raw), (&qcow2, VolumeFormat::Qcow2)] {
            let target = folder.path().join(format!("target, {}", format.as_str()));
            File::create(&target).unwrap().set_len(4 * MIB).unwrap();
            copy(source, format, &target, 4 * MIB).unwrap();
            assert!(std::fs::read(&target).unwrap() == bytes[..4 << 20], "{format:?}");
            assert!(target.metadata().unwrap().blocks() * 512 < 3 * MIB, "{format:?} has holes");
        }
    }

    #[test]
    fn what_a_target_held_before_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (raw, bytes) = disk(folder.path());
        let target = folder.path().join("target");
        std::fs::write(&target, vec![0xff; 8 << 20]).unwrap();
        copy(&raw, VolumeFormat::Raw, &target, 8 * MIB).unwrap();
        assert!(std::fs::read(&target).unwrap() == bytes);
    }

    #[test]
    fn a_target_that_is_too_small_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (raw, _) = disk(folder.path());
        let target = folder.path().join("target");
        std::fs::write(&target, b"abc").unwrap();
        let error = copy(&raw, VolumeFormat::Raw, &target, 4).unwrap_err();
        let text = format!("copying {} to {}: it holds 3 bytes, and 4 are needed", raw.display(), target.display());
        assert_eq!(format!("{error:#}"), text);
        assert_eq!(std::fs::read(&target).unwrap(), b"abc");
    }
}
