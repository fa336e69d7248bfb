//! A vendor with a server of his own: a medium, a list of checksums, and his signature.

use std::{fs, io::Write as _, path::PathBuf, time::SystemTime};

use sequoia_openpgp::{
    Cert,
    cert::CertBuilder,
    serialize::{
        Serialize as _,
        stream::{Message, Signer},
    },
};
use tempfile::TempDir;
use tpl::{
    core::{
        error::Refusal,
        progress::Silent,
        source::{FilesRequest, Location, Proof, Request, Role},
        trust::Trust,
    },
    host::{
        local::Stop,
        source::{Access, Fetched, Resolved, Source as _, Sources},
    },
};

use crate::{
    server::Server,
    world::{bytes, digest},
};

pub const ISO: &str = "/22.04/jammy-live-server-amd64.iso";
pub const SUMS: &str = "/22.04/SHA256SUMS";
pub const SIGNATURE: &str = "/22.04/SHA256SUMS.gpg";

/// A vendor with a medium, a signed list, and an empty cache.
pub struct Vendor {
    pub server: Server,
    pub folder: TempDir,
    pub key: Cert,
    pub iso: Vec<u8>,
}

/// A key that can sign.
pub fn key() -> Cert {
    CertBuilder::new().add_userid("Vendor <cd@vendor.example>").add_signing_subkey().generate().unwrap().0
}

/// A signature of a text, or the text with one in it.
pub fn sign(key: &Cert, text: &[u8], detached: bool) -> Vec<u8> {
    let pair = key.keys().secret().last().unwrap().key().clone().into_keypair().unwrap();
    let mut bytes = Vec::new();
    let signer = Signer::new(Message::new(&mut bytes), pair).unwrap();
    let signer = if detached { signer.detached() } else { signer.cleartext() };
    let mut signer = signer.creation_time(SystemTime::now()).build().unwrap();
    signer.write_all(text).unwrap();
    signer.finalize().unwrap();
    bytes
}

impl Vendor {
    /// Its list is in the shape of Ubuntu's, with the signature beside it.
    pub fn new() -> Self {
        let vendor = Self { server: Server::start(), folder: tempfile::tempdir().unwrap(), key: key(), iso: bytes(3, 400_000) };
        vendor.trust(&vendor.key);
        vendor.server.put(ISO, vendor.iso.clone());
        vendor.list(&format!("{} *jammy-live-server-amd64.iso\n", digest(&vendor.iso)));
        vendor
    }

    pub fn list(&self, text: &str) {
        self.server.put(SUMS, text);
        self.server.put(SIGNATURE, sign(&self.key, text.as_bytes(), true));
    }

    /// Puts a certificate, and no other, into the keyring.
    pub fn trust(&self, key: &Cert) {
        key.serialize(&mut fs::File::create(self.keyring()).unwrap()).unwrap();
    }

    pub fn keyring(&self) -> PathBuf {
        self.folder.path().join("vendor.gpg")
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address)
    }

    pub fn source(&self) -> Sources {
        Sources::new(self.folder.path().join("cache"), Stop::default()).unwrap()
    }

    pub fn request(&self) -> FilesRequest {
        FilesRequest {
            files: vec![(Role::Medium, Location::Url(self.url(ISO)))],
            proof: Proof {
                checksums: Some(self.url(SUMS)),
                signature: Some(self.url(SIGNATURE)),
                keyring: Some(self.keyring()),
                keyring_from: Some("the package vendor-keyring".into()),
                ..Proof::default()
            },
            given: false,
            allow_unsigned: false,
        }
    }

    /// The same file, and nobody who vouches for it.
    pub fn unproven(&self) -> FilesRequest {
        FilesRequest { proof: Proof::default(), given: true, ..self.request() }
    }

    pub fn resolve(&self, request: &FilesRequest, access: Access) -> anyhow::Result<Resolved> {
        self.source().resolve(&Request::Files(request.clone()), access, &Silent)
    }

    pub fn fetch(&self, resolved: &Resolved, access: Access) -> anyhow::Result<Fetched> {
        self.source().fetch(resolved, access, &Silent)
    }

    pub fn signed(&self) -> Trust {
        Trust::Signed { fingerprint: self.key.fingerprint().to_hex() }
    }

    /// Resolves and fetches; the medium is the vendor's.
    pub fn assert_good(&self, request: &FilesRequest, trust: &Trust) {
        let resolved = self.resolve(request, Access::Online).unwrap();
        assert_eq!(resolved.trust, *trust);
        let fetched = self.fetch(&resolved, Access::Online).unwrap();
        assert_eq!(fs::read(fetched.path(Role::Medium).unwrap()).unwrap(), self.iso);
    }

    /// The medium as a file of this machine.
    pub fn local(&self) -> PathBuf {
        let path = self.folder.path().join("jammy-live-server-amd64.iso");
        fs::write(&path, &self.iso).unwrap();
        path
    }
}

/// The refusal that an error must be.
pub fn refusal(error: &anyhow::Error) -> &Refusal {
    error.downcast_ref().unwrap_or_else(|| panic!("no refusal: {error:#}"))
}
