//! A mirror, a key, a cache.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Mutex,
    time::SystemTime,
};

use sequoia_openpgp::{
    Cert,
    cert::CertBuilder,
    serialize::{
        Serialize as _,
        stream::{Message, Signer},
    },
    types::ReasonForRevocation,
};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tpl::{
    core::{
        progress::{Progress, Silent},
        sha256::Sha256Digest,
        source::{ArchiveRequest, Request, Role},
    },
    host::{
        local::Stop,
        source::{Access, Fetched, Resolved, Source as _, Sources, Wanted},
    },
};

use crate::server::Server;

pub const IN_RELEASE: &str = "/debian/dists/trixie/InRelease";
pub const IMAGES: &str = "/debian/dists/trixie/main/installer-amd64/current/images";
pub const SUMS: &str = "/debian/dists/trixie/main/installer-amd64/current/images/SHA256SUMS";
pub const KERNEL: &str = "/debian/dists/trixie/main/installer-amd64/current/images/netboot/debian-installer/amd64/linux";
pub const INITRD: &str = "/debian/dists/trixie/main/installer-amd64/current/images/netboot/debian-installer/amd64/initrd.gz";

pub fn digest(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest(Sha256::digest(bytes).into())
}

pub fn bytes(seed: u32, size: usize) -> Vec<u8> {
    (0..u32::try_from(size).unwrap()).map(|index| (index.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8).collect()
}

/// A mirror with an installer that a key of the keyring has signed, and an empty cache.
pub struct World {
    pub server: Server,
    pub folder: TempDir,
    pub key: Cert,
    pub kernel: Vec<u8>,
    pub initrd: Vec<u8>,
}

impl World {
    pub fn new() -> Self {
        let world = Self {
            server: Server::start(),
            folder: tempfile::tempdir().unwrap(),
            key: CertBuilder::new().add_userid("Archive").add_signing_subkey().generate().unwrap().0,
            kernel: bytes(1, 300_000),
            initrd: bytes(2, 200_000),
        };
        world.key.serialize(&mut fs::File::create(world.keyring()).unwrap()).unwrap();
        world.server.put(KERNEL, world.kernel.clone());
        world.server.put(INITRD, world.initrd.clone());
        let sums = world.sums();
        world.server.put(SUMS, sums.clone());
        world.release(&world.key, &format!("Suite: stable\nCodename: trixie\n{}", world.listing(&sums)));
        world
    }

    pub fn sums(&self) -> String {
        let path = "./netboot/debian-installer/amd64";
        format!("{}  {path}/linux\n{}  {path}/initrd.gz\n", digest(&self.kernel), digest(&self.initrd))
    }

    pub fn listing(&self, sums: &str) -> String {
        let path = "main/installer-amd64/current/images/SHA256SUMS";
        format!("SHA256:\n {} {} {path}\n", digest(sums.as_bytes()), sums.len())
    }

    pub fn release(&self, key: &Cert, text: &str) {
        let pair = key.keys().secret().last().unwrap().key().clone().into_keypair().unwrap();
        let mut message = Vec::new();
        let signer = Signer::new(Message::new(&mut message), pair).unwrap().cleartext();
        let mut signer = signer.creation_time(SystemTime::now()).build().unwrap();
        signer.write_all(text.as_bytes()).unwrap();
        signer.finalize().unwrap();
        self.server.put(IN_RELEASE, message);
    }

    pub fn keyring(&self) -> PathBuf {
        self.folder.path().join("keyring.pgp")
    }

    pub fn source(&self) -> Sources {
        Sources::new(self.folder.path().join("cache"), Stop::default()).unwrap()
    }

    pub fn resolve(&self, request: &ArchiveRequest, progress: &dyn Progress) -> anyhow::Result<Resolved> {
        self.source().resolve(&Request::Archive(request.clone()), Access::Online, progress)
    }

    pub fn fetch(&self, resolved: &Resolved, progress: &dyn Progress) -> anyhow::Result<Fetched> {
        self.source().fetch(resolved, Access::Online, progress)
    }

    pub fn request(&self) -> ArchiveRequest {
        ArchiveRequest {
            mirror: format!("http://{}/debian/", self.server.address),
            suite: "trixie".into(),
            arch: "amd64".into(),
            keyring: Some(self.keyring()),
            allow_unsigned: false,
        }
    }

    pub fn resolved(&self) -> Resolved {
        let resolved = self.resolve(&self.request(), &Silent).unwrap();
        self.server.seen();
        resolved
    }

    pub fn cached(&self, bytes: &[u8]) -> PathBuf {
        let name = digest(bytes).to_string();
        self.folder.path().join("cache/sha256").join(&name[..2]).join(name)
    }

    pub fn partial(&self, bytes: &[u8]) -> PathBuf {
        self.cached(bytes).with_extension("partial")
    }

    pub fn leave(&self, path: &Path, bytes: &[u8]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// The cache holds both files, and nothing else.
    pub fn assert_fetched(&self, files: &Fetched) {
        let expected = [(Role::Kernel, &self.kernel), (Role::Initrd, &self.initrd)];
        for (role, bytes) in expected {
            let path = files.path(role).unwrap();
            assert_eq!(path, self.cached(bytes));
            assert_eq!(digest(&fs::read(path).unwrap()), digest(bytes));
        }
        assert_eq!(self.names(), {
            let mut names = vec![digest(&self.kernel).to_string(), digest(&self.initrd).to_string()];
            names.sort();
            names
        });
    }

    pub fn names(&self) -> Vec<String> {
        let folders = fs::read_dir(self.folder.path().join("cache/sha256")).unwrap().map(|entry| entry.unwrap().path());
        let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()));
        let mut names: Vec<String> = files.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }
}

pub fn revoked(cert: &Cert, reason: ReasonForRevocation) -> Cert {
    let mut primary = cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let revocation = cert.revoke(&mut primary, reason, b"test").unwrap();
    cert.clone().insert_packets([revocation]).unwrap().0
}

/// The URL that will be fetched for a role.
pub fn url_of(resolved: &Resolved, role: Role) -> String {
    match resolved.wanted(role) {
        Some(Wanted::Download { url, .. }) => url.clone(),
        other => panic!("{role:?} is {other:?}"),
    }
}

/// Remembers what it heard; a note begins with `!`.
#[derive(Default)]
pub struct Recorded(pub Mutex<Vec<String>>);

impl Progress for Recorded {
    fn update(&self, step: &str, percent: Option<u8>) {
        self.0.lock().unwrap().push(percent.map_or(step.to_owned(), |percent| format!("{step} {percent}%")));
    }

    fn note(&self, line: &str) {
        self.0.lock().unwrap().push(format!("! {line}"));
    }
}
