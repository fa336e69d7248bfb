//! The part of a build's plan that concerns an installer.

use super::{Choices, files};
use crate::core::{
    answers::{DIGEST_PASSWORD, Url, Variables},
    boot_args::repository_of,
    config::Config,
    domain::Network,
    error::Invalid,
    mirror::{self, GuestMirror},
    pipeline::{Answers, AnswersKind, MediumPath, Origin, Source},
    source::{Arch, ArchiveRequest, Request, Role},
    vm_spec::Firmware,
};

/// What an installer is and what it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallPlan {
    /// Its files.
    pub request: Request,
    /// Where its kernel and initrd are inside its medium, where they are not found by themselves.
    pub medium_paths: (Option<MediumPath>, Option<MediumPath>),
    /// What it is told.
    pub answers: Answers,
    /// The release's code name; empty where it has none.
    pub suite: String,
    /// The vendor's word for the release; empty where the pipeline names none.
    pub release: String,
    /// The mirror, as the guest reaches it.
    pub guest_mirror: Option<Url>,
    /// The security mirror, as the guest reaches it.
    pub guest_security: Option<Url>,
    /// The proxy, as the guest reaches it; may be empty.
    pub guest_proxy: String,
    /// The archive's further services that the installed system uses.
    pub services: &'static str,
    /// Whether to go on without valid signatures.
    pub allow_unsigned: bool,
    /// The installer's network.
    pub network: Network,
}

impl InstallPlan {
    /// Plans it.
    ///
    /// # Errors
    /// [`Invalid`] for mirrors that are no HTTP URLs, and for a Debian without a mirror.
    pub(super) fn new(
        source: &Source,
        answers: Answers,
        origin: Origin,
        arch: Arch,
        config: &Config,
        choices: &Choices,
    ) -> Result<Self, Invalid> {
        let guest = |text: &str| mirror::checked(text).map(|url| mirror::guest_view(&url)).map_err(Invalid::argument);
        let given = (!answers.mirror.as_str().is_empty()).then(|| answers.mirror.as_str());
        let (mirror, security) = match answers.kind {
            AnswersKind::Preseed => {
                let named = given.or(choices.mirror.as_deref()).ok_or_else(no_mirror)?;
                (Some(guest(named)?), choices.security_mirror.as_deref().map(guest).transpose()?)
            }
            AnswersKind::Autoinstall | AnswersKind::Kickstart => (given.map(guest).transpose()?, None),
        };
        let proxy = (!answers.proxy.as_str().is_empty()).then(|| guest(answers.proxy.as_str())).transpose()?;
        let services = match (choices.mirror_named || given.is_some(), &security) {
            // The installer knows the archive's own security mirror.
            (false, _) | (true, Some(_)) => "security, updates",
            // A mirror that an operator named may be all there is: the guest may reach nothing else.
            (true, None) => "",
        };
        let request = request(origin, arch, choices)?;
        let repository = request.place(Role::Kernel).and_then(repository_of).map(mirror::guest_view);
        // Only with user-mode networking does a guest reach the host's loopback.
        let loopback = [&mirror, &security, &proxy, &repository].into_iter().flatten().any(|mirror| mirror.loopback);
        Ok(Self {
            request,
            medium_paths: source.medium_paths(),
            suite: source.suite.as_ref().map(|suite| suite.as_str().to_owned()).unwrap_or_default(),
            release: source.release.as_str().to_owned(),
            guest_mirror: mirror.map(Url::from),
            guest_security: security.map(Url::from),
            guest_proxy: proxy.map(|proxy: GuestMirror| Url::from(proxy).url).unwrap_or_default(),
            services,
            allow_unsigned: choices.allow_unsigned,
            network: if loopback { Network::User } else { Network::Named(config.network.clone()) },
            answers,
        })
    }

    /// Where an installer without a medium finds the rest of itself: the repository that its kernel is of, as the guest reaches it,
    /// or else the mirror.
    pub fn repository(&self) -> Option<String> {
        let kernel = self.request.place(Role::Kernel).and_then(repository_of);
        let of_kernel = kernel.map(|url| Url::from(mirror::guest_view(url)).url);
        of_kernel.or_else(|| self.guest_mirror.as_ref().map(|mirror| mirror.url.clone()))
    }

    /// The variables of the answer file, with a fixed text for the password's hash.
    pub fn variables(&self, arch: Arch, firmware: Firmware) -> Variables<'_> {
        let answers = &self.answers;
        Variables {
            locale: answers.locale.as_str(),
            keyboard: answers.keyboard.as_str(),
            timezone: answers.timezone.as_str(),
            packages: &answers.packages,
            proxy: self.guest_proxy.clone(),
            mirror: self.guest_mirror.clone(),
            security: self.guest_security.clone(),
            services: self.services,
            suite: &self.suite,
            release: &self.release,
            arch: arch.debian(),
            cpu: arch.cpu(),
            unsigned: self.allow_unsigned,
            root_password_hash: DIGEST_PASSWORD,
            disk: "/dev/vda",
            layout: answers.layout,
            filesystem: answers.filesystem,
            volume_group: answers.volume_group.as_str(),
            boot_mib: answers.boot.0 >> 20,
            swap_mib: answers.swap.0 >> 20,
            firmware: firmware.as_str(),
            cloud_init: answers.cloud_init,
            users: &answers.users,
            late_commands: &answers.late_commands,
            hostname: "template",
        }
    }
}

fn request(origin: Origin, arch: Arch, choices: &Choices) -> Result<Request, Invalid> {
    Ok(match origin {
        Origin::Archive { suite, keyring, mirror } => {
            let mirror = choices.mirror.clone().or(mirror).ok_or_else(no_mirror)?;
            let mirror = mirror::checked(&mirror).map_err(Invalid::argument)?;
            let arch = arch.debian().to_owned();
            Request::Archive(ArchiveRequest { mirror, suite, arch, keyring, allow_unsigned: choices.allow_unsigned })
        }
        Origin::Netboot { kernel, initrd, proof } => {
            files(vec![(Role::Kernel, kernel), (Role::Initrd, initrd)], proof, false, choices)
        }
        Origin::Iso { medium, proof } => files(vec![(Role::Medium, medium)], proof, choices.iso.is_some(), choices),
        Origin::Image { .. } => return Err(Invalid::argument("a disk image is not installed: [answers] means nothing for it")),
    })
}

fn no_mirror() -> Invalid {
    Invalid::argument(
        "no Debian mirror is known: this machine's APT configuration names none\nname one with --mirror URL or TPL_DEBIAN_MIRROR",
    )
}
