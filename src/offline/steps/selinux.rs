//! SELinux: files that were written from outside have no label.

use anyhow::Result;

use crate::offline::{Scene, Step};

pub(super) const STEP: Step = Step { name: "SELinux", run };

fn run(scene: &Scene<'_>) -> Result<()> {
    // The guest labels all its files at its first boot, and boots once more.
    if enforces(&scene.text("/etc/selinux/config")?) { scene.put("/.autorelabel", b"", 0o644) } else { Ok(()) }
}

fn enforces(config: &str) -> bool {
    config
        .lines()
        .filter_map(|line| line.trim().strip_prefix("SELINUX="))
        .next_back()
        .is_some_and(|mode| mode.trim() == "enforcing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_enforcing_guest_is_labelled_anew() {
        let table = [
            ("# SELINUX=enforcing\nSELINUX=enforcing\nSELINUXTYPE=targeted\n", true),
            ("SELINUX=permissive\n", false),
            ("SELINUX=enforcing\nSELINUX=disabled\n", false),
            ("", false),
        ];
        for (config, expected) in table {
            assert_eq!(enforces(config), expected, "{config}");
        }
    }
}
