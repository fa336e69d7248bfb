//! What a build will do, decided before anything is touched.

mod copy;
mod describe;
mod install;

use super::{
    config::Config,
    domain::{Accelerator, Machine, Network},
    error::Invalid,
    manifest::CloneDefaults,
    names::{TemplateId, TemplateName, Version},
    network::Plug,
    pipeline::{CloneSettings, Install, Origin, Pipeline, Seal},
    source::{Arch, FilesRequest, Location, Proof, Request, Role},
    units::{ByteSize, Span},
};

pub use copy::{CopyPlan, Wishes};
pub use install::InstallPlan;

/// The suffixes of the volumes of a build, behind `NAME.VERSION`.
pub mod suffix {
    /// The disk that the installer writes.
    pub const BUILD: &str = "-build";
    /// An overlay on it, in which sealing works: what breaks there costs no installation.
    pub const SEAL: &str = "-seal";
    /// The installer's kernel.
    pub const KERNEL: &str = "-kernel";
    /// The installer's initrd, with the answers in it where it looks for them there.
    pub const INITRD: &str = "-initrd";
    /// The installer's medium.
    pub const MEDIUM: &str = "-medium";
    /// The answers, where the installer looks for them on a volume.
    pub const ANSWERS: &str = "-answers";
    /// The chunk list of the template's volume.
    pub const CHUNKS: &str = "-chunks";
    /// The UEFI variables that clones begin with, where the template has some of its own.
    pub const NVRAM: &str = "-nvram";
}

/// The volumes that a finished template keeps, where it has them.
pub const LASTING: [&str; 3] = ["", suffix::CHUNKS, suffix::NVRAM];

/// The volumes that only an installation needs.
pub const MEDIA: [&str; 4] = [suffix::KERNEL, suffix::INITRD, suffix::MEDIUM, suffix::ANSWERS];

/// What the operator chose for this build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    /// The Debian mirror, wherever it was named.
    pub mirror: Option<String>,
    /// Whether an operator named it, rather than the machine's own configuration.
    pub mirror_named: bool,
    /// The mirror of the security archive.
    pub security_mirror: Option<String>,
    /// Whether to go on without valid signatures.
    pub allow_unsigned: bool,
    /// The architecture, where it is not the pipeline's.
    pub arch: Option<Arch>,
    /// A medium in the place of the pipeline's source.
    pub iso: Option<Location>,
    /// A disk image in the place of the pipeline's.
    pub image: Option<Location>,
}

/// A build, planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildPlan {
    /// The template and its new version.
    pub id: TemplateId,
    /// The pipeline's one line for people.
    pub description: String,
    /// SHA-256 of the pipeline's text.
    pub pipeline_digest: String,
    /// How the system comes onto the build disk.
    pub making: Making,
    /// The machine that installs.
    pub machine: Install,
    /// The guest's architecture.
    pub arch: Arch,
    /// What sealing does besides or instead of its defaults.
    pub seal: Seal,
    /// What clones get by default.
    pub clone: CloneSettings,
    /// How many published versions stay.
    pub keep: usize,
    /// The pool.
    pub pool: String,
    /// The network of the boot test and of clones.
    pub network: String,
}

/// How a system comes onto the build disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Making {
    /// An installer puts it there.
    Install(Box<InstallPlan>),
    /// It is in a disk image.
    Image(Request),
    /// It is on the disk of a VM, which is copied.
    Copy(Box<CopyPlan>),
}

impl BuildPlan {
    /// Plans a build that begins now.
    ///
    /// # Errors
    /// [`Invalid`] for mirrors that are no HTTP URLs, and for choices that do not go with the pipeline.
    pub fn new(
        id: TemplateId,
        pipeline: Pipeline,
        pipeline_digest: String,
        config: &Config,
        choices: &Choices,
    ) -> Result<Self, Invalid> {
        let arch = choices.arch.unwrap_or(pipeline.source.arch);
        let origin = pipeline.source.origin(arch).map_err(|(key, fault)| Invalid::argument(format!("source.{key}: {fault}")))?;
        let origin = chosen(origin, choices)?;
        let making = match (&pipeline.answers, origin) {
            (None, Origin::Image { image, proof }) => {
                let given = choices.image.is_some();
                Making::Image(files(vec![(Role::Image, image)], proof, given, choices))
            }
            (None, _) => return Err(Invalid::argument("the pipeline has no [answers] for an installer")),
            (Some(answers), origin) => {
                Making::Install(Box::new(InstallPlan::new(&pipeline.source, answers.clone(), origin, arch, config, choices)?))
            }
        };
        Ok(Self {
            id,
            description: pipeline.description.as_str().to_owned(),
            pipeline_digest,
            making,
            machine: pipeline.install,
            arch,
            seal: pipeline.seal,
            clone: pipeline.clone,
            keep: pipeline.keep,
            pool: config.pool.clone(),
            network: config.network.clone(),
        })
    }

    /// The files that the build is made from; none where it is made from a VM.
    pub fn request(&self) -> Option<&Request> {
        match &self.making {
            Making::Install(install) => Some(&install.request),
            Making::Image(request) => Some(request),
            Making::Copy(_) => None,
        }
    }

    /// What the installer is told; none where nothing is installed.
    pub fn installation(&self) -> Option<&InstallPlan> {
        match &self.making {
            Making::Install(install) => Some(install),
            Making::Image(_) | Making::Copy(_) => None,
        }
    }

    /// The VM that is copied; none where none is.
    pub fn copy(&self) -> Option<&CopyPlan> {
        match &self.making {
            Making::Copy(copy) => Some(copy),
            Making::Install(_) | Making::Image(_) => None,
        }
    }

    /// The call that makes it.
    pub fn command(&self) -> String {
        match self.copy() {
            Some(copy) => format!("tpl adopt {} --as {}", copy.domain, self.id.name),
            None => format!("tpl build {}", self.id.name),
        }
    }

    /// The libvirt networks that must be there.
    pub fn networks(&self) -> Vec<&str> {
        if let Some(copy) = self.copy() {
            return copy.plug.as_ref().and_then(Plug::network).into_iter().collect();
        }
        let mut networks = vec![self.network.as_str()];
        if let Some(Network::Named(name)) = self.installation().map(|install| &install.network) {
            networks.push(name);
        }
        networks.dedup();
        networks
    }

    /// A volume of this build.
    pub fn volume(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.id.domain())
    }

    /// All volumes that this build may come to have.
    pub fn volumes(&self) -> Vec<String> {
        let passing = [suffix::BUILD, suffix::SEAL];
        let passing = passing.iter().chain(&MEDIA).map(|suffix| self.volume(suffix));
        self.lasting_volumes().into_iter().chain(passing).collect()
    }

    /// The volumes that a finished template keeps.
    pub fn lasting_volumes(&self) -> Vec<String> {
        let has = |suffix: &&&str| **suffix != suffix::NVRAM || self.copy().is_some_and(|copy| copy.nvram.is_some());
        LASTING.iter().filter(has).map(|suffix| self.volume(suffix)).collect()
    }

    /// What clones get by default.
    pub fn clone_defaults(&self) -> CloneDefaults {
        let clone = &self.clone;
        CloneDefaults { user: clone.user.clone(), vcpus: clone.vcpus, memory: clone.memory, disk: clone.disk }
    }

    /// The VM that installs, on a network.
    pub fn installer_machine(&self, accelerator: Accelerator, network: Network) -> Machine {
        let install = &self.machine;
        Machine { accelerator, firmware: install.firmware, vcpus: install.vcpus, memory: install.memory, network }
    }

    /// The VM that the template describes, and its clones are.
    pub fn template_machine(&self, accelerator: Accelerator) -> Machine {
        let clone = &self.clone;
        let (firmware, network) = (self.machine.firmware, Network::Named(self.network.clone()));
        Machine { accelerator, firmware, vcpus: clone.vcpus, memory: clone.memory, network }
    }

    /// How long the installation may take.
    pub fn deadline(&self) -> Span {
        self.machine.deadline
    }

    /// The space that the build may take of the pool: the size of the build disk. It is sparse, and so are the overlay in which
    /// sealing works and the template; together they stay below it. An image's size is known once it is there.
    pub fn space(&self) -> ByteSize {
        match self.making {
            Making::Image(_) => ByteSize(0),
            Making::Install(_) | Making::Copy(_) => self.machine.disk,
        }
    }
}

/// What the operator named in the place of the pipeline's own.
fn chosen(origin: Origin, choices: &Choices) -> Result<Origin, Invalid> {
    let proof = Proof::default;
    match (&choices.iso, &choices.image, origin) {
        (Some(_), _, Origin::Image { .. }) => {
            Err(Invalid::argument("--iso is an installer's medium, and this pipeline takes a disk image: --image names one"))
        }
        (Some(iso), ..) => Ok(Origin::Iso { medium: iso.clone(), proof: proof() }),
        (None, Some(image), Origin::Image { .. }) => Ok(Origin::Image { image: image.clone(), proof: proof() }),
        (None, Some(_), _) => {
            Err(Invalid::argument("--image is an installed system, and this pipeline runs an installer: --iso names its medium"))
        }
        (None, None, origin) => Ok(origin),
    }
}

fn files(files: Vec<(Role, Location)>, proof: Proof, given: bool, choices: &Choices) -> Request {
    Request::Files(FilesRequest { files, proof, given, allow_unsigned: choices.allow_unsigned })
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
