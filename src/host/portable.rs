//! Templates as files: written beside their place under other names, and put there when they are whole and on the disk.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{Read as _, Write},
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::image;
use crate::core::{
    error::Refusal,
    portable::{MAX_DOCUMENT, Packing, document_of},
    progress::Progress,
};

/// How much is read at once.
const BLOCK: usize = 1 << 20;
/// How often the progress is told, in blocks.
const STEP: u64 = 64;

/// A template's volume, and what goes with it into files.
#[derive(Debug, Clone, Copy)]
pub struct Export<'a> {
    /// The path of the raw volume.
    pub volume: &'a Path,
    /// Its virtual size in bytes.
    pub size: u64,
    /// The file that gets its bytes; the document goes beside it.
    pub file: &'a Path,
    /// How they are put there.
    pub packing: Packing,
    /// The document.
    pub document: &'a str,
    /// Whether to write over files that are there.
    pub replace: bool,
}

/// Makes sure that there is a folder for an export.
///
/// # Errors
/// [`Refusal`]: there is none.
pub fn ensure_folder(file: &Path) -> Result<(), Refusal> {
    let folder = super::folder_of(file);
    if folder.is_dir() {
        return Ok(());
    }
    Err(Refusal::new(format!("{} is no folder", folder.display())).advise(format!("`mkdir -p {}` makes it", folder.display())))
}

/// Makes sure that an export would take nobody's place.
///
/// # Errors
/// [`Refusal`]: there is a file already.
pub fn ensure_free(file: &Path) -> Result<(), Refusal> {
    let there = [file.to_owned(), document_of(file)].into_iter().filter(|path| path.symlink_metadata().is_ok());
    let reasons: Vec<String> = there.map(|path| format!("{} is there already", path.display())).collect();
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Refusal { reasons, advice: Some("--force writes over it".to_owned()) })
}

/// Writes both files; the length of the one with the volume, in bytes.
///
/// # Errors
/// [`Refusal`]: there is a file already, or another export is writing there. Else it fails, and neither of the two is there.
pub fn export(export: &Export<'_>, progress: &dyn Progress) -> Result<u64> {
    if !export.replace {
        ensure_free(export.file)?;
    }
    let what = || format!("exporting to {}", export.file.display());
    // A path from the root: qemu-img takes a colon in a name for the end of a protocol's.
    let file = std::path::absolute(export.file).with_context(what)?;
    let volume = Partial::begin(&file)?;
    let document = Partial::begin(&document_of(&file))?;
    match export.packing {
        Packing::Qcow2 => {
            progress.update("converting", None);
            image::to_qcow2(export.volume, export.size, &volume.path)
        }
        Packing::RawZst => pack(export, &volume.file, progress),
    }
    .with_context(what)?;
    (&document.file).write_all(export.document.as_bytes()).with_context(what)?;
    volume.file.sync_all().and_then(|()| document.file.sync_all()).with_context(what)?;
    let length = volume.file.metadata().with_context(what)?.len();
    volume.finish(&file).with_context(what)?;
    if let Err(error) = document.finish(&document_of(&file)) {
        // A volume that nothing is known of is worth nothing.
        fs::remove_file(&file).with_context(what)?;
        return Err(error).with_context(what);
    }
    let folder = file.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(what)?;
    Ok(length)
}

/// A file that is being written, under its name with `.partial` behind it. It goes when it is dropped; what a kill leaves, the
/// next export writes over.
struct Partial {
    path: PathBuf,
    file: File,
    finished: bool,
}

impl Partial {
    fn begin(target: &Path) -> Result<Self> {
        let mut name: OsString = target.as_os_str().to_owned();
        name.push(".partial");
        let path = PathBuf::from(name);
        let what = || format!("making {}", path.display());
        // In a folder of everybody's, a link of this name could lead anywhere.
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(&path).with_context(what)?;
        let taken = match file.try_lock() {
            // The other export may have come to its end in between: then this is its file, under its lasting name.
            Ok(()) => !is_still_at(&file, &path).with_context(what)?,
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Error(error)) => return Err(error).with_context(what),
        };
        if taken {
            return Err(Refusal::new(format!("another export is writing {}", path.display())).into());
        }
        file.set_len(0).with_context(what)?;
        Ok(Self { path, file, finished: false })
    }

    fn finish(mut self, target: &Path) -> Result<()> {
        fs::rename(&self.path, target).with_context(|| format!("naming {}", target.display()))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.finished {
            // There is nobody to tell; its name says what it is.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether a path still leads to the file that was opened by it.
fn is_still_at(file: &File, path: &Path) -> std::io::Result<bool> {
    let (own, named) = (file.metadata()?, fs::symlink_metadata(path));
    Ok(named.is_ok_and(|named| (named.dev(), named.ino()) == (own.dev(), own.ino())))
}

/// Packs a volume's bytes. Its holes are not read.
fn pack(export: &Export<'_>, target: &File, progress: &dyn Progress) -> Result<()> {
    let volume = File::open(export.volume).with_context(|| format!("opening {}", export.volume.display()))?;
    let mut packer = zstd::stream::write::Encoder::new(target, zstd::DEFAULT_COMPRESSION_LEVEL)?;
    packer.include_checksum(true)?;
    packer.set_pledged_src_size(Some(export.size))?;
    packer.include_contentsize(true)?;
    let zeros = vec![0; BLOCK];
    let mut block = vec![0; BLOCK];
    let (mut at, mut count) = (0, 0_u64);
    while at < export.size {
        let data = image::next_data(&volume, at, export.size);
        let hole = data.saturating_sub(at).min(BLOCK as u64);
        let length = usize::try_from(if hole > 0 { hole } else { (BLOCK as u64).min(export.size - at) })?;
        if hole > 0 {
            packer.write_all(&zeros[..length])?;
        } else {
            volume.read_exact_at(&mut block[..length], at).with_context(|| format!("reading at {at}"))?;
            packer.write_all(&block[..length])?;
        }
        at += length as u64;
        count += 1;
        if count.is_multiple_of(STEP) {
            progress.update("packing", u8::try_from(u128::from(at) * 100 / u128::from(export.size)).ok());
        }
    }
    packer.finish()?;
    Ok(())
}

/// Reads the document beside a file.
///
/// # Errors
/// [`Refusal`]: it is not there. Else it cannot be read, or is larger than any.
pub fn read_document(file: &Path) -> Result<String> {
    let path = document_of(file);
    let what = || format!("reading {}", path.display());
    let document = match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let advice = "`tpl export` writes it beside the volume's file; both belong together";
            return Err(Refusal::new(format!("{} does not exist", path.display())).advise(advice).into());
        }
        opened => opened.with_context(what)?,
    };
    ensure!(document.metadata().with_context(what)?.is_file(), "{}: it is no file", what());
    let mut text = String::new();
    let length = document.take(MAX_DOCUMENT + 1).read_to_string(&mut text).with_context(what)?;
    ensure!(length as u64 <= MAX_DOCUMENT, "{}: it is larger than any manifest is", what());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        core::{progress::Silent, units::ByteSize},
        host::unpack,
    };

    const MIB: u64 = 1 << 20;

    /// A volume of 65 MiB and a sector with a partition table's mark, text at both ends, and a hole between.
    fn volume(folder: &Path) -> (PathBuf, u64) {
        let (path, size) = (folder.join("volume, raw"), 65 * MIB + 512);
        let file = File::create(&path).unwrap();
        file.set_len(size).unwrap();
        file.write_all_at(&[0x55, 0xaa], 510).unwrap();
        file.write_all_at(b"guest", 3 * MIB - 2).unwrap();
        file.write_all_at(b"guest", size - 5).unwrap();
        (path, size)
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_exported_holds_the_same_bytes() {
        for (name, packing) in [("a:b, c.qcow2", Packing::Qcow2), ("x.raw.zst", Packing::RawZst)] {
            let folder = tempfile::tempdir().unwrap();
            let (volume, size) = volume(folder.path());
            let file = folder.path().join(name);
            let one = Export { volume: &volume, size, file: &file, packing, document: "document", replace: false };
            let length = export(&one, &Silent).unwrap();
            assert_eq!(length, file.metadata().unwrap().len());
            assert!(length < 4 * MIB, "{name}: its holes are no bytes: {length}");
            assert_eq!(read_document(&file).unwrap(), "document");
            let disk = unpack::open(&file, folder.path(), ByteSize(size), &Silent).unwrap();
            assert_eq!(disk.size, size, "{name}");
            let target = folder.path().join("target");
            File::create(&target).unwrap().set_len(size).unwrap();
            image::copy(&disk.layers[0].path, disk.layers[0].format, &target, size).unwrap();
            assert!(fs::read(&target).unwrap() == fs::read(&volume).unwrap(), "{name}");
            // Again it is in the way.
            let error = export(&one, &Silent).unwrap_err().to_string();
            let there = |path: &Path| format!("{} is there already", path.display());
            assert_eq!(error, format!("{}\n{}\n--force writes over it", there(&file), there(&document_of(&file))));
            export(&Export { document: "other", replace: true, ..one }, &Silent).unwrap();
            assert_eq!(read_document(&file).unwrap(), "other");
            assert_eq!(names(folder.path()).len(), 4, "{:?}", names(folder.path()));
        }
    }

    #[test]
    fn an_export_has_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("none");
        assert_eq!(
            ensure_folder(&missing.join("x.qcow2")).unwrap_err().to_string(),
            format!("{0} is no folder\n`mkdir -p {0}` makes it", missing.display())
        );
        fs::write(&missing, "a file").unwrap();
        assert!(ensure_folder(&missing.join("x.qcow2")).is_err());
        assert!(ensure_folder(&folder.path().join("x.qcow2")).is_ok());
        assert!(ensure_folder(Path::new("x.qcow2")).is_ok());
    }

    #[test]
    fn a_failed_export_leaves_nothing() {
        for (name, packing) in [("x.qcow2", Packing::Qcow2), ("x.raw.zst", Packing::RawZst)] {
            let folder = tempfile::tempdir().unwrap();
            let (volume, size) = volume(folder.path());
            let file = folder.path().join(name);
            let one = Export { volume: &volume, size, file: &file, packing, document: "d", replace: false };
            // Of zstd the length is checked at the end, of qcow2 there is no such image.
            let short = Export { volume: Path::new("/nonexistent"), ..one };
            assert!(export(&short, &Silent).is_err());
            assert_eq!(names(folder.path()), ["volume, raw"]);
            // The document cannot get its name.
            fs::create_dir(document_of(&file)).unwrap();
            assert!(export(&Export { replace: true, ..one }, &Silent).is_err());
            assert_eq!(names(folder.path()), ["volume, raw".to_owned(), format!("{name}.manifest.json")]);
        }
    }

    #[test]
    fn two_exports_to_one_file_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        let (volume, size) = volume(folder.path());
        let file = folder.path().join("x.raw.zst");
        let first = Partial::begin(&file).unwrap();
        let one = Export { volume: &volume, size, file: &file, packing: Packing::RawZst, document: "d", replace: false };
        let error = export(&one, &Silent).unwrap_err();
        assert_eq!(error.to_string(), format!("another export is writing {}", first.path.display()));
        // It has come to its end after it was opened here.
        assert!(is_still_at(&first.file, &first.path).unwrap());
        fs::rename(&first.path, &file).unwrap();
        assert!(!is_still_at(&first.file, &first.path).unwrap());
        fs::remove_file(&file).unwrap();
        drop(first);
        let link = folder.path().join("x.raw.zst.partial");
        std::os::unix::fs::symlink(&volume, &link).unwrap();
        assert!(export(&one, &Silent).is_err());
        fs::remove_file(&link).unwrap();
        // What a kill leaves is no hindrance.
        fs::write(folder.path().join("x.raw.zst.partial"), vec![1; 100]).unwrap();
        export(&one, &Silent).unwrap();
        assert_eq!(names(folder.path()).len(), 3);
    }

    #[test]
    fn documents_are_files_of_a_few_mib() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.qcow2");
        let error = read_document(&file).unwrap_err();
        assert_eq!(crate::core::error::exit_code(&error), 3, "{error:#}");
        File::create(document_of(&file)).unwrap().set_len(MAX_DOCUMENT + 1).unwrap();
        assert!(format!("{:#}", read_document(&file).unwrap_err()).ends_with("it is larger than any manifest is"));
        fs::remove_file(document_of(&file)).unwrap();
        fs::create_dir(document_of(&file)).unwrap();
        assert!(format!("{:#}", read_document(&file).unwrap_err()).ends_with("it is no file"));
    }
}
