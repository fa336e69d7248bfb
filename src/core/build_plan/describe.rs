//! A build's plan, for people.

use super::{BuildPlan, CopyPlan, InstallPlan, Making};
use crate::core::{
    domain::Network,
    network::Plug,
    source::{FilesRequest, Request},
};

impl BuildPlan {
    /// The plan for people.
    pub fn describe(&self) -> String {
        let mut lines = vec![format!("build {}: {}", self.id, self.description)];
        if let Some(request) = self.request() {
            lines.push(format!("  source     {}", source(request, self.arch.debian())));
        }
        match &self.making {
            Making::Install(install) => lines.extend(self.installation_lines(install)),
            Making::Image(_) => {
                lines.push(format!("  image      into a build disk of its own size in pool {}", self.pool));
            }
            Making::Copy(copy) => lines.extend(self.copy_lines(copy)),
        }
        let (keep, s) = (self.keep, if self.keep == 1 { "" } else { "s" });
        let shrink = if self.seal.shrink { "then shrink, " } else { "" };
        lines.extend([
            format!("  seal       in an overlay on the build disk, {shrink}into the read-only volume {}", self.id.domain()),
            "  verify     the volume opened again, read-only".to_owned(),
            format!("  boot test  a linked clone on {}, at most {}", self.place(), self.machine.boot_deadline),
            format!("  publish    as the current version; {keep} version{s} stay"),
        ]);
        lines.join("\n") + "\n"
    }

    fn copy_lines(&self, copy: &CopyPlan) -> Vec<String> {
        let mut lines = vec![
            format!("  source     disk {} of VM {} ({}), which is only read", copy.target, copy.domain, copy.uuid),
            format!("  copy       into a build disk of {} in pool {}", self.machine.disk, self.pool),
        ];
        lines.extend(copy.left_out.iter().map(|what| format!("  left out   {what}")));
        let user = if copy.find_user { "the guest's own first user".to_owned() } else { format!("user {}", self.clone.user) };
        let clone = &self.clone;
        lines.push(format!("  clones get {} vCPUs, {} memory, {} disk, {user}", clone.vcpus, clone.memory, clone.disk));
        lines
    }

    /// Where the boot test's clone is plugged in.
    fn place(&self) -> String {
        match self.copy().map(|copy| &copy.plug) {
            None => format!("network {}", self.network),
            Some(Some(Plug::Network(name))) => format!("network {name}"),
            Some(Some(Plug::Bridge(name))) => format!("bridge {name}"),
            Some(None) => "the VM's own network".to_owned(),
        }
    }

    fn installation_lines(&self, install: &InstallPlan) -> [String; 2] {
        let machine = &self.machine;
        let network = match &install.network {
            Network::Named(name) => format!("network {name}"),
            Network::User => "user-mode network, for a mirror on this host's loopback".to_owned(),
        };
        [
            format!("  answers    {}", install.answers.file.as_path().display()),
            format!(
                "  install    {} vCPUs, {}, disk {} in pool {}, {network}, at most {}",
                machine.vcpus, machine.memory, machine.disk, self.pool, machine.deadline
            ),
        ]
    }
}

fn source(request: &Request, arch: &str) -> String {
    match request {
        Request::Archive(archive) => {
            let signed = match (archive.allow_unsigned, &archive.keyring) {
                (true, _) => "unsigned sources allowed".to_owned(),
                (false, Some(keyring)) => format!("signed, by {}", keyring.display()),
                (false, None) => "no keyring".to_owned(),
            };
            format!("{} {} {arch}, {signed}", archive.mirror, archive.suite)
        }
        Request::Files(request) => {
            let places: Vec<_> = request.files.iter().map(|(_, place)| place.to_string()).collect();
            format!("{}, {}", places.join(", "), proof(request))
        }
    }
}

fn proof(request: &FilesRequest) -> String {
    let proof = &request.proof;
    if request.given {
        return "given in this call".to_owned();
    }
    match (&proof.digest, &proof.checksums, &proof.keyring) {
        _ if request.allow_unsigned => "unsigned sources allowed".to_owned(),
        (Some(_), ..) => "by its digest".to_owned(),
        (None, Some(list), Some(keyring)) => format!("listed in {list}, signed, by {}", keyring.display()),
        (None, Some(list), None) => format!("listed in {list}, unsigned"),
        (None, None, _) => "checked by nobody".to_owned(),
    }
}
