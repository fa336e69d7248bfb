//! Disk images that somebody else has made: told by their content, unpacked within a limit, and judged before anything opens
//! them as a disk.
//!
//! What is unpacked goes into a file without a name: nothing of it stays, whatever ends this process.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt as _,
    path::Path,
};

use anyhow::{Context as _, Error, Result, bail};

use super::images::{DiskImage, Layer};
use crate::core::{
    disk_image::{self, Content, HEAD, Packing, TAIL, qcow2::Header},
    error::Refusal,
    facts::VolumeFormat,
    progress::Progress,
    units::ByteSize,
};

/// As much memory as `xz -9` asks for, some times over; an image that asks for more is a trap.
const MEMORY: u64 = 512 << 20;
/// What is zero in units of this size becomes a hole.
const BLOCK: usize = 64 << 10;
/// What an unpacked image leaves free where it is unpacked.
const SPARE: u64 = 256 << 20;
/// How often the progress is told, in bytes.
const STEP: u64 = 4 << 20;
/// More images than that do not stand on each other on purpose.
const DEEPEST: usize = 32;

/// Opens an image. `folder` has room for what it holds unpacked, and nobody wants a disk larger than `largest`.
///
/// # Errors
/// [`Refusal`]: it is nothing that is taken, too large, or damaged. Else it cannot be read.
pub fn open(image: &Path, folder: &Path, largest: ByteSize, progress: &dyn Progress) -> Result<DiskImage> {
    let what = || format!("opening {}", image.display());
    let refused = |fault: String| refusal(image, &fault);
    let file = File::open(image).with_context(what)?;
    if !file.metadata().with_context(what)?.is_file() {
        return Err(Refusal::new(format!("{} is no file", image.display())).into());
    }
    let (file, found) = match content(&file).with_context(what)?.map_err(refused)? {
        Content::Packed(packing) => {
            let unpacked = free_in(folder)
                .and_then(|free| unpack(file, packing, folder, (largest, free), progress))
                .with_context(|| format!("unpacking {} ({})", image.display(), packing.as_str()))?;
            let found = content(&unpacked).with_context(what)?.map_err(refused)?;
            (unpacked, found)
        }
        disk @ Content::Disk { .. } => (file, disk),
    };
    let Content::Disk { format, size } = found else {
        return Err(refused("packed twice".to_owned()).into());
    };
    if size > largest.0 {
        return Err(refused(format!("a disk of {}, and there is room for {largest}", ByteSize(size))).into());
    }
    DiskImage::held(file, format, size).with_context(what)
}

/// Looks at an image without unpacking it: what it holds is found then.
///
/// # Errors
/// As for [`open`].
pub fn look(image: &Path) -> Result<()> {
    let what = || format!("opening {}", image.display());
    let found = File::open(image).map_err(Into::into).and_then(|file| content(&file)).with_context(what)?;
    found.map(drop).map_err(|fault| refusal(image, &fault).into())
}

fn refusal(image: &Path, fault: &str) -> Refusal {
    Refusal::new(format!("{} is not taken: this is {fault}", image.display()))
}

fn content(file: &File) -> Result<Result<Content, String>> {
    let length = file.metadata()?.len();
    let read = |offset: u64, wanted: usize| {
        let mut bytes = vec![0; usize::try_from(length.saturating_sub(offset).min(wanted as u64))?];
        file.read_exact_at(&mut bytes, offset)?;
        Ok::<_, anyhow::Error>(bytes)
    };
    let (head, tail) = (read(0, HEAD)?, read(length.saturating_sub(TAIL as u64), TAIL)?);
    Ok(disk_image::content(&head, &tail, length))
}

/// What can be written in a folder, with something left to others: it need not be where the disk comes to in the end.
fn free_in(folder: &Path) -> Result<ByteSize> {
    let found = rustix::fs::statvfs(folder).with_context(|| format!("reading what is free in {}", folder.display()))?;
    Ok(ByteSize(found.f_bavail.saturating_mul(found.f_frsize).saturating_sub(SPARE)))
}

/// Unpacks a file into one that holds at most so many bytes, and takes at most so many.
fn unpack(
    file: File,
    packing: Packing,
    folder: &Path,
    (limit, free): (ByteSize, ByteSize),
    progress: &dyn Progress,
) -> Result<File> {
    let length = file.metadata()?.len().max(1);
    let counted = BufReader::with_capacity(1 << 20, Counted { file, read: 0, told: 0, length, progress });
    let mut reader: Box<dyn Read + '_> = match packing {
        Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(counted)),
        Packing::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(counted, stream))
        }
        // Its own limit on memory is 128 MiB, which is all that `zstd` uses without being told to.
        Packing::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(counted)?),
    };
    let target = tempfile::tempfile_in(folder).with_context(|| format!("making a file in {}", folder.display()))?;
    let mut block = vec![0; BLOCK];
    let (mut at, mut taken) = (0_u64, 0_u64);
    loop {
        let filled = fill(reader.as_mut(), &mut block).map_err(damaged)?;
        if at + filled as u64 > limit.0 {
            let reason = format!("it holds more than {limit}, for which there is room");
            return Err(Refusal::new(reason).into());
        }
        let part = &block[..filled];
        if part.iter().any(|byte| *byte != 0) {
            taken += filled as u64;
            if taken > free.0 {
                let reason = format!("it takes more than {free} unpacked, and {} has no more to spare", folder.display());
                return Err(Refusal::new(reason).advise("make room there, or unpack it elsewhere and name that file").into());
            }
            target.write_all_at(part, at)?;
        }
        at += filled as u64;
        if filled < block.len() {
            break;
        }
    }
    target.set_len(at)?;
    Ok(target)
}

/// What the unpacker does not like is the content's fault; what the operating system says is not.
fn damaged(error: io::Error) -> Error {
    if error.raw_os_error().is_some() {
        return error.into();
    }
    Refusal::new(format!("it is damaged, or does not go on to its end: {error}")).into()
}

/// Fills a block as far as there is something.
fn fill(reader: &mut dyn Read, block: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match reader.read(&mut block[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A file that tells how far it has been read.
struct Counted<'p> {
    file: File,
    read: u64,
    told: u64,
    length: u64,
    progress: &'p dyn Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read += count as u64;
        if self.read >= self.told + STEP {
            self.told = self.read;
            self.progress.update("unpacking", u8::try_from(self.read.saturating_mul(100) / self.length).ok());
        }
        Ok(count)
    }
}

/// The layers of a disk of this hypervisor, and its size: the image, what it stands on, and so on. The formats are those that
/// the domain and the images say; none is guessed, for a guest may write what it likes into a raw disk.
///
/// # Errors
/// An image that cannot be read, or that tpl does not copy.
pub fn layers(disk: &Path, format: VolumeFormat) -> Result<DiskImage> {
    let mut layers: Vec<Layer> = Vec::new();
    let (mut path, mut format, mut size) = (disk.to_owned(), format, None);
    loop {
        let what = format!("reading {}", path.display());
        let (layer, length) = Layer::open(&path, format).context(what.clone())?;
        layers.push(layer);
        if layers.len() > DEEPEST {
            bail!("{what}: more than {DEEPEST} images stand on each other");
        }
        if format == VolumeFormat::Raw {
            return Ok(DiskImage::of(layers, size.unwrap_or(length)));
        }
        let file = File::open(&path).context(what.clone())?;
        let mut head = vec![0; usize::try_from(length.min(HEAD as u64))?];
        file.read_exact_at(&mut head, 0).context(what.clone())?;
        let fault = |fault: String| Refusal::new(format!("{} is not copied: {fault}", path.display()));
        let header = Header::parse(&head, length).map_err(fault)?;
        size.get_or_insert(header.size);
        if header.encrypted {
            return Err(fault("it is encrypted".to_owned()).into());
        }
        if header.data_file {
            return Err(fault("it keeps its data in another file".to_owned()).into());
        }
        let Some(backing) = header.backing else {
            return Ok(DiskImage::of(layers, size.unwrap_or(length)));
        };
        format = match backing.format.as_deref() {
            Some("raw") => VolumeFormat::Raw,
            Some("qcow2") => VolumeFormat::Qcow2,
            Some(other) => return Err(fault(format!("it stands on an image of the format {other:?}")).into()),
            None => {
                let advice = "`qemu-img rebase -u -F FORMAT -b FILE` writes it down";
                return Err(fault("it does not say which format the image has that it stands on".to_owned())
                    .advise(advice)
                    .into());
            }
        };
        let name = backing.name.strip_prefix("file:").unwrap_or(&backing.name);
        // As QEMU sees it: a colon before the first slash ends the name of a protocol.
        if name.split('/').next().is_some_and(|first| first.contains(':')) {
            return Err(fault(format!("it stands on {name:?}, which is no file")).into());
        }
        path = path.parent().unwrap_or(Path::new("/")).join(name);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;
    use crate::core::{error::exit_code, progress::Silent};

    #[test]
    fn what_is_unpacked_takes_no_more_than_there_is() {
        // 3 blocks of data, and 5 that become holes.
        let mut packed = flate2::write::GzEncoder::new(tempfile::tempfile().unwrap(), flate2::Compression::fast());
        packed.write_all(&[vec![1; 3 * BLOCK], vec![0; 5 * BLOCK]].concat()).unwrap();
        let mut packed = packed.finish().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut unpacked = |limit: usize, free: usize| {
            packed.rewind().unwrap();
            let limits = (ByteSize((limit * BLOCK) as u64), ByteSize((free * BLOCK) as u64));
            let file = unpack(packed.try_clone().unwrap(), Packing::Gzip, folder.path(), limits, &Silent);
            file.map(|file| file.metadata().unwrap().len()).map_err(|error| error.to_string())
        };
        assert_eq!(unpacked(8, 3), Ok(8 * BLOCK as u64));
        assert_eq!(unpacked(7, 3), Err("it holds more than 448 KiB, for which there is room".to_owned()));
        let full = format!(
            "it takes more than 128 KiB unpacked, and {} has no more to spare\nmake room there, or unpack it elsewhere and name that file",
            folder.path().display()
        );
        assert_eq!(unpacked(8, 2), Err(full));
        assert!(free_in(folder.path()).is_ok() && free_in(Path::new("/nowhere")).is_err());
    }

    #[test]
    fn what_is_cut_short_or_changed_is_refused() {
        // What does not compress, so that there is something in the middle.
        let mut number = 1_u32;
        let random = || {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            number.to_be_bytes()[0]
        };
        let bytes: Vec<u8> = std::iter::repeat_with(random).take(3 * BLOCK).collect();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&bytes).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&bytes).unwrap();
        let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        zstd.include_checksum(true).unwrap();
        zstd.write_all(&bytes).unwrap();
        let table = [
            (Packing::Gzip, gzip.finish().unwrap()),
            (Packing::Xz, xz.finish().unwrap()),
            (Packing::Zstd, zstd.finish().unwrap()),
        ];
        let folder = tempfile::tempdir().unwrap();
        for (packing, packed) in table {
            let unpacked = |bytes: &[u8]| {
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(bytes).unwrap();
                file.rewind().unwrap();
                unpack(file, packing, folder.path(), (ByteSize(1 << 30), ByteSize(1 << 30)), &Silent)
            };
            assert!(unpacked(&packed).is_ok(), "{packing:?}");
            let mut changed = packed.clone();
            changed[packed.len() / 2] ^= 0x55;
            for bytes in [&packed[..packed.len() / 2], &packed[..packed.len() - 1], &changed] {
                let error = unpacked(bytes).unwrap_err();
                assert!(error.to_string().starts_with("it is damaged, or does not go on to its end: "), "{packing:?}: {error:#}");
                assert_eq!(exit_code(&error), 3, "{packing:?}");
            }
        }
    }
}
