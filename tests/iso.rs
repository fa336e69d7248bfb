//! Images of another program, xorriso, which `scripts/setup` installs: with each kind of names, with folders that lie too deep for
//! the standard, cut off, and damaged.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(clippy::disallowed_methods, reason = "the tests make images with another program than tpl")]

use std::{fs, io::Read as _, path::Path, process::Command};

use proptest::prelude::{ProptestConfig, any, proptest};
use tempfile::TempDir;
use tpl::{
    core::{
        iso9660::{Bytes, Iso, Node},
        pipeline::AnswersKind,
        source::Arch,
    },
    host::medium::Medium,
};

const LONG: &str = "a name that is much longer than thirty-one characters, with blanks and an é in it.squashfs";
const DEEP: &str = "1/2/3/4/5/6/7/8/9/10/11/file.bin";

fn put(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn kernel() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..3 << 20).map(|index: u32| (index / 7) as u8).collect();
    bytes[0x1fe..0x206].copy_from_slice(&[0x55, 0xaa, 0, 0, b'H', b'd', b'r', b'S']);
    bytes
}

fn initrd() -> Vec<u8> {
    [b"070701".to_vec(), vec![5; 100_001]].concat()
}

/// An image of a tree like that of Ubuntu's media, made with these options.
fn image(folder: &Path, options: &[&str]) -> std::path::PathBuf {
    let tree = folder.join("tree");
    put(&tree, "casper/vmlinuz", &kernel());
    put(&tree, "casper/initrd", &initrd());
    put(&tree, &format!("casper/{LONG}"), b"squashed");
    put(&tree, DEEP, b"deep");
    for index in 0..300 {
        put(&tree, &format!("pool/package-{index}_1.0-1_amd64.deb"), b"");
    }
    let out = folder.join("out.iso");
    let made = Command::new("xorriso")
        .args(["-as", "mkisofs", "-quiet", "-V", "Ubuntu-Server 22.04.5 LTS amd64", "-o"])
        .arg(&out)
        .args(options)
        .arg(&tree)
        .output()
        .expect("xorriso starts: scripts/setup installs it");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    out
}

fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn is_file(iso: &Iso<'_>, path: &str) -> bool {
    matches!(iso.find(path).unwrap(), Some(Node::File(_)))
}

#[test]
fn kernel_and_initrd_come_out_as_they_went_in() {
    // The options, and whether long names and deep folders are kept by them.
    let table: [(&[&str], bool, bool); 5] = [
        (&["-r", "-J", "-joliet-long", "-iso-level", "3"], true, true),
        (&["-R"], true, true),
        (&["-R", "-rr_reloc_dir", "moved"], true, true),
        (&["-J", "-joliet-long", "-D"], true, true),
        (&["-iso-level", "1", "-D", "-r"], true, true),
    ];
    for (options, long, deep) in table {
        let folder = folder();
        let medium = Medium::open(&image(folder.path(), options)).unwrap();
        let installer = medium.installer("x", AnswersKind::Autoinstall, Arch::Amd64, (None, None)).unwrap();
        assert_eq!(installer.label, "Ubuntu-Server 22.04.5 LTS amd64", "{options:?}");
        assert_eq!((installer.kernel.path.as_str(), installer.initrd.path.as_str()), ("casper/vmlinuz", "casper/initrd"));
        let read = |file| {
            let mut bytes = Vec::new();
            medium.file(file).read_to_end(&mut bytes).unwrap();
            bytes
        };
        assert!(read(&installer.kernel) == kernel() && installer.kernel.length() == 3 << 20, "{options:?}");
        assert!(read(&installer.initrd) == initrd(), "{options:?}");
        let iso = Iso::open(&medium).unwrap();
        assert_eq!(is_file(&iso, &format!("casper/{LONG}")), long, "{options:?}");
        assert_eq!(is_file(&iso, DEEP), deep, "{options:?}");
        let Some(Node::Folder(pool)) = iso.find("pool").unwrap() else { panic!("pool is a folder") };
        assert_eq!(iso.entries(pool).unwrap().len(), 300, "{options:?}");
    }
}

/// An image in memory.
struct Memory(Vec<u8>);

impl Bytes for Memory {
    fn length(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        let part = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..)?.get(..buffer.len()));
        buffer.copy_from_slice(part.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

#[test]
fn what_is_cut_off_or_damaged_is_an_error_and_no_panic() {
    let folder = folder();
    let whole = fs::read(image(folder.path(), &["-r", "-J", "-joliet-long"])).unwrap();
    // Descriptors and folders lie in front of the files.
    let front = 100 * 2048;
    let find = |bytes: Vec<u8>| tpl::core::medium::find(&Memory(bytes), AnswersKind::Autoinstall, Arch::Amd64, (None, None));
    assert!(find(whole.clone()).is_ok());
    for length in (0..front).step_by(1024) {
        assert!(find(whole[..length].to_vec()).is_err(), "{length}");
    }
    proptest!(ProptestConfig::with_cases(200), |(damage in proptest::collection::vec((0x8000..front, any::<u8>()), 1..400))| {
        let mut bytes = whole.clone();
        for (at, byte) in damage {
            bytes[at] = byte;
        }
        let _ = find(bytes);
    });
}
