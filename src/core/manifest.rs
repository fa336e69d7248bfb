//! What tpl writes into a domain's `<metadata>`: a template's manifest, a clone's record. There is no other database.
//!
//! ```text
//! building → installed → sealed → tested → published → retired
//! ```
//! A stage that ends writes the next state; that one write is the commit point.
//!
//! # What never changes
//!
//! What a published version *is* never changes, and is what its signature is over (`core::signing`): name, version, time of the
//! build, inputs, trust, content digest, virtual size, system, packages, identity method, defaults of clones, operations,
//! invariants, tools, hardware. What happens to it does, and is not signed: state, `promoted_at`, the run that is at work on it.
//! Nor is where it lies (pool, volumes), which differs between hypervisors, nor how long its stages took.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    dns::Registration,
    error::Refusal,
    hardware::Hardware,
    names::{TemplateId, TemplateName, UserName, Version, VmName},
    network::Reservation,
    signing::Signature,
    source::Digest,
    trust::Trust,
    units::ByteSize,
    vm_spec::SeedWay,
};

/// How far a template's version has come. Ordered: a later state includes the earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The installer runs, or ran and did not end well.
    Building,
    /// The guest powered itself off after a complete installation; the build disk holds it.
    Installed,
    /// The template's volume is written, read-only, verified.
    Sealed,
    /// A clone of it booted and was ready.
    Tested,
    /// Offered to clones.
    Published,
    /// Past its retention, kept for the linked clones that stand on it.
    Retired,
}

impl State {
    /// The state as the manifest writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Installed => "installed",
            Self::Sealed => "sealed",
            Self::Tested => "tested",
            Self::Published => "published",
            Self::Retired => "retired",
        }
    }
}

/// How a clone learns who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentityMethod {
    /// The template has cloud-init, and reads a NoCloud seed.
    NoCloud,
    /// It has not: everything is written into the clone's disk before it boots.
    Offline,
}

impl IdentityMethod {
    /// The method as the manifest writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoCloud => "nocloud",
            Self::Offline => "offline",
        }
    }
}

/// One invocation of tpl that changes something. While it lives it holds the lock file named after `id` on `host`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Random, made for this invocation.
    pub id: Uuid,
    /// The machine on which tpl runs.
    pub host: String,
    /// When it began.
    pub since: Timestamp,
}

/// A source file of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Where it came from: a URL, or a path.
    pub url: String,
    /// Its digest, under the name of its kind: `sha256` or `sha512`.
    #[serde(flatten)]
    pub digest: Digest,
}

/// A package in the template.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The operating system, as the guest's os-release has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatingSystem {
    /// `ID`: `debian`.
    pub id: String,
    /// `VERSION_ID`: `13`.
    pub version: String,
    /// `PRETTY_NAME`.
    pub name: String,
}

/// How a stage went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    /// The stage.
    pub name: String,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// What a clone gets unless its call says otherwise; and how its identity is handed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloneDefaults {
    /// The user that the clones' operators log in as.
    pub user: UserName,
    /// vCPUs.
    pub vcpus: u32,
    /// Memory.
    pub memory: ByteSize,
    /// The system disk's virtual size, at least the template's own.
    pub disk: ByteSize,
}

/// The three digests that decide whether a build would make the same again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// SHA-256 of the pipeline file.
    pub pipeline_digest: String,
    /// SHA-256 of the rendered answer file, with a fixed text in the place of what is random in each build.
    pub answers_digest: String,
    /// The source files.
    pub sources: Vec<SourceFile>,
}

/// Everything about one version of a template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The template.
    pub name: TemplateName,
    /// The version.
    pub version: Version,
    /// How far it has come.
    pub state: State,
    /// The invocation that builds it, or built it.
    pub run: Run,
    /// When the build began.
    pub created_at: Timestamp,
    /// When it was last made the current version.
    #[serde(default)]
    pub promoted_at: Option<Timestamp>,
    /// What it was made of.
    #[serde(flatten)]
    pub inputs: Inputs,
    /// How the sources were checked.
    pub trust: Trust,
    /// The digest of the guest-visible bytes: see `core::digest`. Set when sealed.
    #[serde(default)]
    pub digest: Option<String>,
    /// The volume's virtual size. Set when sealed; the build disk's before.
    pub virtual_size: ByteSize,
    /// Every volume in the pool that belongs to this version or may come to: what `rm` and `prune` remove.
    pub volumes: Vec<String>,
    /// The pool of its volumes.
    pub pool: String,
    /// The operating system inside. Set when sealed.
    #[serde(default)]
    pub os: Option<OperatingSystem>,
    /// The packages inside. Set when sealed.
    #[serde(default)]
    pub packages: Vec<Package>,
    /// How a clone gets its identity. Set when sealed.
    pub identity: IdentityMethod,
    /// What clones get by default.
    pub clone: CloneDefaults,
    /// The seal operations that ran.
    #[serde(default)]
    pub operations: Vec<String>,
    /// The invariants that were asserted on the sealed volume, and held.
    #[serde(default)]
    pub invariants: Vec<String>,
    /// How long each stage took.
    #[serde(default)]
    pub stages: Vec<StageTime>,
    /// The versions of the tools that made it.
    pub tools: BTreeMap<String, String>,
    /// The machine that its system depends on. Set when published, where it can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<Hardware>,
    /// Who vouches for it. Set when published, where there is a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// Why the volumes of something are not within reach: they are in its own pool, and the command works on another one.
pub fn elsewhere(what: &dyn fmt::Display, own: &str, pool: &str) -> Option<String> {
    (own != pool).then(|| format!("{what} has its volumes in pool {own}, and this command works on pool {pool}"))
}

impl Manifest {
    /// Whether it is on its way, from elsewhere or out of the pool: what is being built has no digest before it is sealed.
    pub fn is_on_its_way(&self) -> bool {
        self.state == State::Building && self.digest.is_some()
    }

    /// That clones can be made of it.
    ///
    /// # Errors
    /// [`Refusal`]: it is not published yet.
    pub fn ensure_published(&self) -> Result<(), Refusal> {
        if self.state >= State::Published {
            return Ok(());
        }
        Err(Refusal::new(format!("{} is not published: it is {}", self.id(), self.state.as_str())))
    }

    /// That its volumes are in this pool.
    ///
    /// # Errors
    /// [`Refusal`]: they are in another one.
    pub fn ensure_pool(&self, pool: &str) -> Result<(), Refusal> {
        let Some(reason) = elsewhere(&self.id(), &self.pool, pool) else { return Ok(()) };
        let advice = format!("name it with --pool {}, or a hypervisor of the configuration that has this pool", self.pool);
        Err(Refusal::new(reason).advise(advice))
    }

    /// The template and version.
    pub fn id(&self) -> TemplateId {
        TemplateId { name: self.name.clone(), version: self.version.clone() }
    }
}

/// Why tpl made a domain that is no template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// An operator asked for it.
    Clone,
    /// It proves that a template boots, and is removed afterwards.
    BootTest,
}

/// How far the making of a clone has come, or its removal. A run that ended leaves it unfinished only when it was killed or could
/// not go on: then `tpl prune` removes the clone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Defined, so that others see its pledge; it may still have to give way to one that was there before it.
    Reserved,
    /// Admitted: its disks are being made, or it is being waited for.
    Creating,
    /// Made.
    Complete,
    /// Being removed. What is left of it is nobody's machine any more.
    Removing,
}

/// Everything about one clone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloneRecord {
    /// Why it was made.
    pub purpose: Purpose,
    /// Its name.
    pub name: VmName,
    /// The template it was made from.
    pub template: TemplateName,
    /// The template's version.
    pub version: Version,
    /// The template's content digest.
    pub digest: String,
    /// Whether its disk stands on the template's volume.
    pub linked: bool,
    /// How far its making has come.
    pub phase: Phase,
    /// The invocation that made it.
    pub run: Run,
    /// When it was made.
    pub created_at: Timestamp,
    /// The user that its operator logs in as.
    pub user: UserName,
    /// Its SSH host keys, the public halves, as in `known_hosts`.
    pub ssh_host_keys: Vec<String>,
    /// Its volumes, by name in `pool`.
    pub volumes: Vec<String>,
    /// The pool of its volumes.
    pub pool: String,
    /// What all its volumes may come to take of the pool: the sum of their capacities. Counted for those that do not exist yet.
    #[serde(default)]
    pub pool_pledge: ByteSize,
    /// What making it writes at once. Counted in a thin pool for those volumes that do not exist yet.
    #[serde(default)]
    pub pool_written: ByteSize,
    /// The room that was set aside for what comes to differ from the template, where its disk is a classic LVM snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<ByteSize>,
    /// The addresses that were promised to it: kept for it by a DHCP server, or written into its own configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// What libvirt's DHCP servers keep for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reservations: Vec<Reservation>,
    /// What DNS was told about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<Registration>,
    /// Why it was admitted although the hypervisor had no room for it, in its operator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced: Option<String>,
    /// SHA-256 of what its guest was told at the first boot, secrets left out: tells whether a fleet's file asks for another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_digest: Option<String>,
    /// Where its cloud-init, if it has one, reads its seed.
    #[serde(default, skip_serializing_if = "SeedWay::is_usual")]
    pub seed: SeedWay,
}

/// A VM that shows whether KVM works, and is removed afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Its name.
    pub name: String,
    /// The invocation that made it.
    pub run: Run,
    /// Its volumes, by name in `pool`.
    pub volumes: Vec<String>,
    /// The pool of its volumes.
    pub pool: String,
}

impl CloneRecord {
    /// Whether it is still being made, or was left so.
    pub fn is_unfinished(&self) -> bool {
        self.phase != Phase::Complete
    }
}

/// tpl's own part of a domain's metadata.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Metadata {
    /// The domain is a template.
    Template(Box<Manifest>),
    /// The domain is a clone.
    Clone(Box<CloneRecord>),
    /// The domain shows whether KVM works.
    Probe(Probe),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sources_digest_stands_under_its_name() {
        for (name, hex) in [("sha256", "07".repeat(32)), ("sha512", "ab".repeat(64))] {
            let file = SourceFile { url: "http://a.example/x".into(), digest: hex.parse().unwrap() };
            let json = format!("{{\"url\":\"http://a.example/x\",\"{name}\":\"{hex}\"}}");
            assert_eq!(serde_json::to_string(&file).unwrap(), json);
            assert_eq!(serde_json::from_str::<SourceFile>(&json).unwrap(), file);
        }
    }

    #[test]
    fn an_identity_method_is_one_word() {
        for (method, word) in [(IdentityMethod::NoCloud, "nocloud"), (IdentityMethod::Offline, "offline")] {
            assert_eq!(serde_json::to_value(method).unwrap(), word);
            assert_eq!(serde_json::from_value::<IdentityMethod>(word.into()).unwrap(), method);
            assert_eq!(method.as_str(), word);
        }
        assert!(serde_json::from_value::<IdentityMethod>("other".into()).is_err());
    }
}
