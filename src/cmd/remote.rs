//! What cannot be done from another machine: all that opens a hypervisor's files by their paths. A local file of the same name
//! would be somebody else's.

use anyhow::Result;

use crate::core::{
    build_plan::suffix, config::Config, error::Refusal, facts::is_local, inventory::Template, manifest::IdentityMethod,
    ready::Until,
};

/// Refuses what opens files of the hypervisor, if that is another machine. `why` is the rest of a sentence, `advice` says what can be
/// done instead.
///
/// # Errors
/// [`Refusal`].
pub fn refuse(name: &str, uri: &str, why: &str, advice: &str) -> Result<(), Refusal> {
    reason(name, uri, why).map_or(Ok(()), |reason| Err(Refusal::new(reason).advise(advice)))
}

/// The same as the reason of a refusal that has others besides; none where the hypervisor is this machine.
pub fn reason(name: &str, uri: &str, why: &str) -> Option<String> {
    (!is_local(uri)).then(|| format!("{name} is another machine, and {why}"))
}

/// That clones of a template can be made on the hypervisor from here.
///
/// # Errors
/// [`Refusal`] with every reason.
pub fn check_clones(config: &Config, template: &Template, until: Until) -> Result<()> {
    refusal(against_clones(config, template, until))
}

/// Why clones of a template cannot be made on the hypervisor from here; nothing where they can.
pub fn against_clones(config: &Config, template: &Template, until: Until) -> Vec<String> {
    if is_local(&config.uri) {
        return Vec::new();
    }
    let id = template.manifest.id();
    let mut reasons = Vec::new();
    if template.manifest.identity != IdentityMethod::NoCloud {
        reasons.push(format!(
            "{id} has no cloud-init: the identity of its clones is written into their disks, on the hypervisor itself"
        ));
    }
    if template.manifest.volumes.iter().any(|volume| volume.ends_with(suffix::NVRAM)) {
        reasons.push(format!("{id} keeps UEFI variables: their file is read on the hypervisor itself"));
    }
    reasons.extend(waiting(until));
    named(config, reasons)
}

/// That it can be seen from here when VMs are ready.
///
/// # Errors
/// [`Refusal`].
pub fn check_waiting(config: &Config, until: Until) -> Result<()> {
    if is_local(&config.uri) { Ok(()) } else { refusal(named(config, waiting(until))) }
}

fn waiting(until: Until) -> Option<String> {
    let why = "--wait cloud-init: cloud-init tells of itself on the console, whose log is on the hypervisor itself";
    (until == Until::CloudInit).then(|| why.to_owned())
}

fn named(config: &Config, reasons: impl IntoIterator<Item = String>) -> Vec<String> {
    reasons.into_iter().map(|reason| format!("{} is another machine: {reason}", config.hypervisor())).collect()
}

fn refusal(reasons: Vec<String>) -> Result<()> {
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Refusal { reasons, advice: Some("run tpl there".to_owned()) }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::config::{Given, Target, parse};

    #[test]
    fn only_another_machine_is_refused() {
        assert_eq!(refuse("qemu:///system", "qemu:///system", "x", "y"), Ok(()));
        let refused = refuse("hv1", "qemu+ssh://hv1/system", "files are opened", "run tpl there").unwrap_err().to_string();
        assert_eq!(refused, "hv1 is another machine, and files are opened\nrun tpl there");
    }

    #[test]
    fn a_console_is_not_seen_from_another_machine() {
        let on = |uri: &str, until| {
            let given = Given { target: Some(Target::Connection(uri.to_owned())), ..Given::default() };
            let config = parse("c", "").unwrap().complete(&given).unwrap();
            check_waiting(&config, until).map_err(|error| error.to_string())
        };
        assert_eq!(on("qemu:///system", Until::CloudInit), Ok(()));
        assert_eq!(on("qemu+ssh://hv1/system", Until::Ssh), Ok(()));
        let refused = "qemu+ssh://hv1/system is another machine: --wait cloud-init: cloud-init tells of itself on the console, \
                       whose log is on the hypervisor itself\nrun tpl there";
        assert_eq!(on("qemu+ssh://hv1/system", Until::CloudInit), Err(refused.to_owned()));
    }
}
