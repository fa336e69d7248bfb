//! What a build would use, in files. Without secrets: the password's hash is a fixed text.

use std::{collections::BTreeMap, fs, io::Write as _, path::Path};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Checked;
use crate::core::{
    boot_args::{self, Rest},
    build_plan::{BuildPlan, InstallPlan, suffix},
    domain::{self, Accelerator, InstallMedia},
    manifest::{IdentityMethod, Inputs, Manifest, Run, State},
    pipeline::AnswersKind,
    source::{Request, Role},
    trust::Trust,
    xml::clone::DiskLocation,
};

/// Stands for the folder of the pool.
const POOL: &str = "/POOL";

/// Writes the files of a pipeline into a folder, each as a whole.
pub fn write(folder: &Path, checked: &Checked) -> Result<()> {
    let made = || format!("making {}", folder.display());
    fs::create_dir_all(folder).with_context(made)?;
    for (name, text) in files(checked)? {
        let path = folder.join(name);
        let writing = || format!("writing {}", path.display());
        let mut file = tempfile::Builder::new().permissions(readable()).tempfile_in(folder).with_context(writing)?;
        file.write_all(text.as_bytes()).with_context(writing)?;
        file.persist(&path).with_context(writing)?;
    }
    Ok(())
}

fn readable() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    fs::Permissions::from_mode(0o644)
}

fn files(checked: &Checked) -> Result<BTreeMap<&'static str, String>> {
    let plan = &checked.plan;
    let mut files = BTreeMap::from([("pipeline.toml", checked.text.clone())]);
    files.insert("source.json", serde_json::to_string_pretty(&source(plan)).context("writing JSON")? + "\n");
    if let (Some(install), Some(answers)) = (plan.installation(), &checked.answers) {
        match install.answers.kind {
            AnswersKind::Preseed => files.insert("preseed.cfg", answers.clone()),
            AnswersKind::Kickstart => files.insert("ks.cfg", answers.clone()),
            AnswersKind::Autoinstall => {
                files.insert("meta-data", format!("instance-id: {}\n", Uuid::nil()));
                files.insert("user-data", answers.clone())
            }
        };
        let cmdline = command_line(plan, install);
        files.insert("domain.xml", domain_xml(plan, install, &cmdline));
        files.insert("cmdline", cmdline + "\n");
    }
    Ok(files)
}

/// The kernel's arguments. A medium's label is known when the medium is: LABEL stands for it.
fn command_line(plan: &BuildPlan, install: &InstallPlan) -> String {
    let rest = match has_medium(plan) {
        true => Rest::Medium("LABEL".to_owned()),
        false => install.repository().map_or(Rest::None, Rest::Repository),
    };
    boot_args::command_line(install.answers.kind, &rest, &plan.machine.arguments)
}

fn has_medium(plan: &BuildPlan) -> bool {
    matches!(plan.request(), Some(Request::Files(request)) if request.files.iter().any(|(role, _)| *role == Role::Medium))
}

/// The VM that installs, with a manifest that has begun.
fn domain_xml(plan: &BuildPlan, install: &InstallPlan, cmdline: &str) -> String {
    let epoch = Timestamp::UNIX_EPOCH;
    let manifest = Manifest {
        name: plan.id.name.clone(),
        version: plan.id.version.clone(),
        state: State::Building,
        run: Run { id: Uuid::nil(), host: "HOST".to_owned(), since: epoch },
        created_at: epoch,
        promoted_at: None,
        inputs: Inputs { pipeline_digest: plan.pipeline_digest.clone(), answers_digest: String::new(), sources: Vec::new() },
        trust: Trust::Unsigned { reason: "nothing has been fetched".to_owned() },
        digest: None,
        virtual_size: plan.machine.disk,
        volumes: plan.volumes(),
        pool: plan.pool.clone(),
        os: None,
        packages: Vec::new(),
        identity: if install.answers.cloud_init { IdentityMethod::NoCloud } else { IdentityMethod::Offline },
        clone: plan.clone_defaults(),
        operations: Vec::new(),
        invariants: Vec::new(),
        stages: Vec::new(),
        tools: BTreeMap::new(),
        hardware: None,
        signature: None,
    };
    let path = |suffix: &str| format!("{POOL}/{}", plan.volume(suffix));
    let disk = |suffix: &str| DiskLocation::File(path(suffix));
    let media = InstallMedia {
        kernel: path(suffix::KERNEL),
        initrd: path(suffix::INITRD),
        cmdline: cmdline.to_owned(),
        disk: disk(suffix::BUILD),
        medium: has_medium(plan).then(|| disk(suffix::MEDIUM)),
        answers: (install.answers.kind == AnswersKind::Autoinstall).then(|| disk(suffix::ANSWERS)),
    };
    let machine = plan.installer_machine(Accelerator::Kvm, install.network.clone());
    domain::installing(&manifest, Uuid::nil(), &machine, &media)
}

/// The source for the architecture: each place as it would be asked.
fn source(plan: &BuildPlan) -> Value {
    let arch = plan.arch.debian();
    match plan.request() {
        None => json!({ "arch": arch }),
        Some(Request::Archive(archive)) => json!({
            "arch": arch,
            "mirror": archive.mirror,
            "suite": archive.suite,
            "keyring": archive.keyring,
        }),
        Some(Request::Files(request)) => {
            let role = |role: Role| role.as_str().trim_start_matches("the ").to_owned();
            let files: Vec<_> =
                request.files.iter().map(|(of, place)| json!({ "role": role(*of), "place": place.to_string() })).collect();
            let proof = &request.proof;
            json!({
                "arch": arch,
                "files": files,
                "sha256": proof.digest,
                "checksums": proof.checksums,
                "signature": proof.signature,
                "keyring": proof.keyring,
                "fingerprints": proof.fingerprints,
            })
        }
    }
}
