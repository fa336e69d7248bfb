//! What a build will do, decided before anything is touched.

use std::fmt::Write as _;

use super::{
    answers::{Url, Variables},
    config::Config,
    domain::{Accelerator, Machine, Network},
    error::Invalid,
    manifest::CloneDefaults,
    mirror,
    names::{TemplateId, TemplateName, Version},
    pipeline::Pipeline,
    units::{ByteSize, Span},
};

/// The suffixes of the volumes of a build, behind `NAME.VERSION`.
pub mod suffix {
    /// The disk that the installer writes.
    pub const BUILD: &str = "-build";
    /// An overlay on it, in which sealing works: what breaks there costs no installation.
    pub const SEAL: &str = "-seal";
    /// The installer's kernel.
    pub const KERNEL: &str = "-kernel";
    /// The installer's initrd, with the answers in it.
    pub const INITRD: &str = "-initrd";
    /// The chunk list of the template's volume.
    pub const CHUNKS: &str = "-chunks";
}

/// What the operator chose for this build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    /// The mirror, wherever it was named.
    pub mirror: String,
    /// Whether an operator named it, rather than the machine's own configuration.
    pub mirror_named: bool,
    /// The mirror of the security archive.
    pub security_mirror: Option<String>,
    /// Whether to go on without valid signatures.
    pub allow_unsigned: bool,
}

/// A build, planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildPlan {
    /// The template and its new version.
    pub id: TemplateId,
    /// The pipeline.
    pub pipeline: Pipeline,
    /// SHA-256 of its text.
    pub pipeline_digest: String,
    /// The mirror, as tpl reaches it.
    pub mirror: String,
    /// The mirror, as the guest reaches it.
    pub guest_mirror: Url,
    /// The security mirror, as the guest reaches it.
    pub guest_security: Option<Url>,
    /// The archive's further services that the installed system uses.
    pub services: &'static str,
    /// Whether to go on without valid signatures.
    pub allow_unsigned: bool,
    /// The pool.
    pub pool: String,
    /// The network of the installer.
    pub install_network: Network,
    /// The network of the boot test and of clones.
    pub network: String,
}

impl BuildPlan {
    /// Plans a build that begins now.
    ///
    /// # Errors
    /// [`Invalid`] for mirrors that are no HTTP URLs.
    pub fn new(
        id: TemplateId,
        pipeline: Pipeline,
        pipeline_digest: String,
        config: &Config,
        choices: &Choices,
    ) -> Result<Self, Invalid> {
        let url = |text: &str| mirror::checked(text).map_err(Invalid::argument);
        let mirror = url(&choices.mirror)?;
        let guest = mirror::guest_view(&mirror);
        let security = choices.security_mirror.as_deref().map(url).transpose()?.as_deref().map(mirror::guest_view);
        // Only with user-mode networking does a guest reach the host's loopback.
        let loopback = guest.loopback || security.as_ref().is_some_and(|security| security.loopback);
        let services = match (choices.mirror_named, &security) {
            // The installer knows the archive's own security mirror.
            (false, _) | (true, Some(_)) => "security, updates",
            // A mirror that an operator named may be all there is: the guest may reach nothing else.
            (true, None) => "",
        };
        let parts = |guest: mirror::GuestMirror| Url { protocol: guest.protocol, host: guest.host, path: guest.path };
        Ok(Self {
            id,
            pipeline,
            pipeline_digest,
            mirror,
            guest_mirror: parts(guest),
            guest_security: security.map(parts),
            services,
            allow_unsigned: choices.allow_unsigned,
            pool: config.pool.clone(),
            install_network: if loopback { Network::User } else { Network::Named(config.network.clone()) },
            network: config.network.clone(),
        })
    }

    /// A volume of this build.
    pub fn volume(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.id.domain())
    }

    /// All volumes that this build may come to have.
    pub fn volumes(&self) -> Vec<String> {
        ["", suffix::CHUNKS, suffix::BUILD, suffix::SEAL, suffix::KERNEL, suffix::INITRD]
            .map(|suffix| self.volume(suffix))
            .to_vec()
    }

    /// The volumes that a finished template keeps.
    pub fn lasting_volumes(&self) -> Vec<String> {
        ["", suffix::CHUNKS].map(|suffix| self.volume(suffix)).to_vec()
    }

    /// The variables of the answer file, with a fixed text for the password's hash.
    pub fn variables(&self) -> Variables<'_> {
        Variables::new(&self.pipeline, self.guest_mirror.clone(), self.guest_security.clone(), self.allow_unsigned, self.services)
    }

    /// What clones get by default.
    pub fn clone_defaults(&self) -> CloneDefaults {
        let clone = &self.pipeline.clone;
        CloneDefaults { user: clone.user.clone(), vcpus: clone.vcpus, memory: clone.memory, disk: clone.disk }
    }

    /// The VM that installs.
    pub fn installer_machine(&self, accelerator: Accelerator) -> Machine {
        let install = &self.pipeline.install;
        Machine { accelerator, vcpus: install.vcpus, memory: install.memory, network: self.install_network.clone() }
    }

    /// The VM that the template describes, and its clones are.
    pub fn template_machine(&self, accelerator: Accelerator) -> Machine {
        let clone = &self.pipeline.clone;
        Machine { accelerator, vcpus: clone.vcpus, memory: clone.memory, network: Network::Named(self.network.clone()) }
    }

    /// How long the installation may take.
    pub fn deadline(&self) -> Span {
        self.pipeline.install.deadline
    }

    /// The space that the build may take of the pool: the size of the build disk. It is sparse, and so are the overlay in which
    /// sealing works and the template; together they stay below it.
    pub fn space(&self) -> ByteSize {
        self.pipeline.install.disk
    }

    /// The plan for people.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        let install = &self.pipeline.install;
        let network = match &self.install_network {
            Network::Named(name) => format!("network {name}"),
            Network::User => "user-mode network, for a mirror on this host's loopback".to_owned(),
        };
        let signed = match (self.allow_unsigned, &self.pipeline.source.keyring) {
            (true, _) => "unsigned sources allowed".to_owned(),
            (false, Some(keyring)) => format!("signed, by {}", keyring.display()),
            (false, None) => "no keyring".to_owned(),
        };
        let keep = self.pipeline.keep;
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "build {id}: {description}\n  source     {mirror} {suite} {arch}, {signed}\n  answers    {answers}\n  \
             install    {vcpus} vCPUs, {memory}, disk {disk} in pool {pool}, {network}, at most {deadline}\n  \
             seal       in an overlay on the build disk, then shrink, into the read-only volume {domain}\n  \
             verify     the volume opened again, read-only\n  boot test  a linked clone on network {lan}, at most {boot}\n  \
             publish    as the current version; {keep} version{s} stay\n",
            id = self.id,
            description = self.pipeline.description.as_str(),
            mirror = self.mirror,
            suite = self.pipeline.source.suite.as_str(),
            arch = self.pipeline.source.arch.as_str(),
            answers = self.pipeline.answers.file.as_path().display(),
            vcpus = install.vcpus,
            memory = install.memory,
            disk = install.disk,
            pool = self.pool,
            deadline = install.deadline,
            domain = self.id.domain(),
            lan = self.network,
            boot = install.boot_deadline,
            s = if keep == 1 { "" } else { "s" },
        );
        text
    }
}

/// The versions that retention lets go: published ones but the `keep` newest, never the current one. `published` is of one
/// template, oldest first.
pub fn beyond_retention<'a>(published: &[&'a Version], current: Option<&Version>, keep: usize) -> Vec<&'a Version> {
    let old = published.len().saturating_sub(keep);
    published[..old].iter().filter(|version| Some(**version) != current).copied().collect()
}

/// The name of a template, from the name or path of its pipeline's file.
///
/// # Errors
/// [`Invalid`] where the file's name is none for a template.
pub fn template_of(pipeline: &str) -> Result<TemplateName, Invalid> {
    let file = pipeline.rsplit('/').next().unwrap_or(pipeline);
    let stem = file.strip_suffix(".toml").unwrap_or(file);
    stem.parse().map_err(Invalid::argument)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_keeps_the_newest_and_the_current_one() {
        let versions: Vec<Version> = (1..=5).map(|day| format!("2026110{day}-000000").parse().unwrap()).collect();
        let published: Vec<&Version> = versions.iter().collect();
        let gone = |keep, current: usize| beyond_retention(&published, versions.get(current), keep).len();
        assert_eq!([gone(3, 4), gone(5, 4), gone(9, 4), gone(3, 0), gone(1, 4)], [2, 0, 0, 1, 4]);
    }

    #[test]
    fn the_file_names_the_template() {
        let table = [
            ("debian13", Some("debian13")),
            ("x/lab_1.toml", Some("lab_1")),
            ("../x", Some("x")),
            ("a b", None),
            ("..", None),
            ("x/", None),
        ];
        for (file, name) in table {
            assert_eq!(template_of(file).ok().as_ref().map(TemplateName::as_str), name, "{file}");
        }
    }
}
