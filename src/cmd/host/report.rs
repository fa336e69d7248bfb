//! What a bootstrap prints.

use anyhow::Result;
use serde::Serialize;

use super::{bootstrap::Bootstrapped, run::Done};
use crate::{cli::Output, ui};

#[derive(Serialize)]
struct Report<'a> {
    host: &'a str,
    dry_run: bool,
    phases: &'a [Done],
}

/// Prints the phases that were run.
///
/// # Errors
/// stdout cannot be written to.
pub fn print(done: &Bootstrapped, dry_run: bool, output: Output) -> Result<()> {
    match output {
        Output::Json => ui::json(&Report { host: &done.host, dry_run, phases: &done.phases }),
        Output::Text => ui::data(&text(done)),
    }
}

fn text(done: &Bootstrapped) -> String {
    let mut text = format!("{}\n", done.host);
    for phase in &done.phases {
        text.push_str(&format!("  {:10}{:13}{:6.1} s\n", phase.name.as_str(), phase.outcome.as_str(), phase.seconds));
        for change in &phase.changes {
            text.push_str(&format!("    {}\n", change.trim_end()));
        }
        for note in &phase.notes {
            text.push_str(&format!("    ! {note}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cmd::host::run::Outcome, core::bootstrap::Phase};

    #[test]
    fn each_phase_has_its_lines() {
        let done = |name, outcome, changes: &[&str], notes: &[&str]| Done {
            name,
            outcome,
            seconds: 1.25,
            changes: changes.iter().map(ToString::to_string).collect(),
            notes: notes.iter().map(ToString::to_string).collect(),
        };
        let phases = vec![
            done(Phase::Ssh, Outcome::Unchanged, &[], &[]),
            done(Phase::Kvm, Outcome::Changed, &["ran apt-get install", "wrote /etc/a"], &["/dev/kvm: not working"]),
        ];
        let done = Bootstrapped { host: "hv1".to_owned(), phases };
        let expected = "hv1\n  ssh       unchanged       1.2 s\n  kvm       changed         1.2 s\n    ran apt-get install\n    wrote /etc/a\n    ! \
                        /dev/kvm: not working\n";
        assert_eq!(text(&done), expected);
        let json = serde_json::to_value(Report { host: "hv1", dry_run: false, phases: &done.phases[..1] }).unwrap();
        let expected = serde_json::json!({"host": "hv1", "dry_run": false, "phases":
            [{"name": "ssh", "outcome": "unchanged", "seconds": 1.25, "changes": [], "notes": []}]});
        assert_eq!(json, expected);
    }
}
