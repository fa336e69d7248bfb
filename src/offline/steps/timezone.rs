//! The time zone.

use anyhow::{Result, ensure};

use crate::offline::{Scene, Step};

pub(super) const STEP: Step = Step { name: "time zone", run };

fn run(scene: &Scene<'_>) -> Result<()> {
    let Some(zone) = scene.identity.timezone else {
        return Ok(());
    };
    ensure!(is_zone(zone), "{zone:?} is no time zone: write it as in Europe/Vienna");
    let file = format!("/usr/share/zoneinfo/{zone}");
    ensure!(scene.exists(&file)?, "the guest does not know the time zone {zone}: it has no {file}");
    scene.guest.make_link("/etc/localtime", &file)?;
    // Debian's own copy of the name, gone since Debian 13.
    if let Some(old) = scene.text_if_any("/etc/timezone")? {
        scene.edit("/etc/timezone", &old, &format!("{zone}\n"))?;
    }
    Ok(())
}

/// Whether it has the form of a time zone's name, which is a path.
fn is_zone(zone: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-_".contains(&byte);
    zone.len() <= 100 && zone.split('/').all(|part| !part.is_empty() && part.bytes().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_no_way_out_of_its_folder() {
        for good in ["UTC", "Europe/Vienna", "America/Argentina/Buenos_Aires", "Etc/GMT+5"] {
            assert!(is_zone(good), "{good}");
        }
        for bad in ["", "/etc/passwd", "../../etc/passwd", "Europe/", "Europe//Vienna", "a b", "a\n", "."] {
            assert!(!is_zone(bad), "{bad}");
        }
    }
}
