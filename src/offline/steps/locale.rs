//! The locale.

use anyhow::{Result, ensure};

use crate::offline::{Scene, Step};

pub(super) const STEP: Step = Step { name: "locale", run };

/// Debian's file, and everybody else's. Of a Debian where the one is a link to the other, that is written.
const DEBIAN: &str = "/etc/default/locale";
const SYSTEMD: &str = "/etc/locale.conf";

fn run(scene: &Scene<'_>) -> Result<()> {
    let Some(locale) = scene.identity.locale else {
        return Ok(());
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    ensure!(!locale.is_empty() && locale.bytes().all(plain), "{locale:?} is no locale: write it as in en_US.UTF-8");
    let path = if scene.exists("/etc/debian_version")? { DEBIAN } else { SYSTEMD };
    let text = with_lang(&scene.text(path)?, locale);
    scene.put(path, text.as_bytes(), 0o644)
}

/// The file with this language. What it says of single categories stays.
fn with_lang(old: &str, locale: &str) -> String {
    let kept = old.lines().filter(|line| !line.trim_start().starts_with("LANG=")).map(|line| format!("{line}\n"));
    std::iter::once(format!("LANG={locale}\n")).chain(kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_the_language() {
        let table =
            [("", "LANG=de_AT.UTF-8\n"), ("#  x\nLANG=C\nLC_TIME=en_DK.UTF-8", "LANG=de_AT.UTF-8\n#  x\nLC_TIME=en_DK.UTF-8\n")];
        for (old, new) in table {
            assert_eq!(with_lang(old, "de_AT.UTF-8"), new);
        }
    }
}
