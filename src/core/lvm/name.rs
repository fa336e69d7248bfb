//! The names that lvm2 and the device-mapper can hold. Source: lvm(8), "VALID NAMES", and lvm2 2.03.31 itself.

use crate::core::quoted::quoted;

/// What lvm2 keeps for names of its own.
const RESERVED_BEGINNINGS: [&str; 2] = ["snapshot", "pvmove"];
const RESERVED_PARTS: [&str; 17] = [
    "_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_imeta", "_iorig", "_mimage", "_mlog", "_pmspare", "_rimage", "_rmeta",
    "_tdata", "_tmeta", "_vdata", "_vorigin", "_wcorig",
];
/// The device-mapper's names have room for 127 characters. A volume that becomes the origin of a classic snapshot gets `-real`
/// behind its own: lvm2 looks at that only when it makes the snapshot, and fails half-way.
const LONGEST_DEVICE: usize = 127 - "-real".len();

/// Whether lvm2 knows things by such names: no word of a shell, no option and no folder but one below another.
pub(super) fn is_plain_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+_.-".contains(&byte);
    !matches!(name, "" | "." | "..") && !name.starts_with('-') && name.bytes().all(plain)
}

/// Checks the name of a logical volume to be made in a volume group.
///
/// # Errors
/// Why lvm2 or the device-mapper cannot hold it.
pub fn check_volume_name(group: &str, name: &str) -> Result<(), String> {
    let no = |why: String| Err(format!("{} cannot be the name of a logical volume: {why}", quoted(name)));
    if !is_plain_name(name) {
        return no("letters, digits and + _ . - are possible, no - at the beginning".to_owned());
    }
    if let Some(word) = RESERVED_BEGINNINGS.iter().find(|word| name.starts_with(**word)) {
        return no(format!("lvm2 keeps names that begin with \"{word}\" for itself"));
    }
    if let Some(word) = RESERVED_PARTS.iter().find(|word| name.contains(**word)) {
        return no(format!("lvm2 keeps names with \"{word}\" for itself"));
    }
    let length = device_name(group, name).len();
    if length > LONGEST_DEVICE {
        let longer = length - LONGEST_DEVICE;
        return no(format!("with the volume group {group} it is {longer} characters too long, each - counted twice"));
    }
    Ok(())
}

/// Checks the name of a volume group that is there.
///
/// # Errors
/// lvm2 can have none of this name.
pub fn check_group_name(name: &str) -> Result<(), String> {
    if !is_plain_name(name) || name.len() > 127 {
        return Err(format!("{} is no name of a volume group", quoted(name)));
    }
    Ok(())
}

/// The device-mapper's name for a volume: a hyphen separates its parts, and is doubled within them.
fn device_name(group: &str, name: &str) -> String {
    format!("{}-{}", group.replace('-', "--"), name.replace('-', "--"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lvm2_takes_and_what_not() {
        let plain = "letters, digits and + _ . - are possible, no - at the beginning";
        let table = [
            ("web01", ""),
            ("debian13.20261121-031000-chunks", ""),
            ("A+b_c.d-", ""),
            ("my-snapshot", ""),
            ("", plain),
            (".", plain),
            ("..", plain),
            ("-web", plain),
            ("a/b", plain),
            ("a b", plain),
            ("a@b", plain),
            ("ä", plain),
            ("a\n", plain),
            ("snapshot1", "lvm2 keeps names that begin with \"snapshot\" for itself"),
            ("pvmove0", "lvm2 keeps names that begin with \"pvmove\" for itself"),
            ("web_tdata", "lvm2 keeps names with \"_tdata\" for itself"),
            ("a_rimage_0", "lvm2 keeps names with \"_rimage\" for itself"),
        ];
        for (name, why) in table {
            let expected = match why {
                "" => Ok(()),
                why => Err(format!("{name:?} cannot be the name of a logical volume: {why}")),
            };
            assert_eq!(check_volume_name("vg0", name), expected);
        }
    }

    #[test]
    fn the_whole_name_of_the_device_counts() {
        let fits = |group: &str, name: &str| check_volume_name(group, name).is_ok();
        assert!(fits("vg0", &"x".repeat(118)));
        assert!(!fits("vg0", &"x".repeat(119)));
        assert!(fits("vg0", &format!("{}x", "x-".repeat(39))));
        assert!(!fits("vg0", &format!("{}x", "x-".repeat(40))));
        assert!(fits("vg-0", &format!("{}x", "x-".repeat(38))));
        assert!(!fits("vg-0", &format!("{}x", "x-".repeat(39))));
        let error = check_volume_name("vg0", &"x".repeat(120)).unwrap_err();
        assert!(error.ends_with(": with the volume group vg0 it is 2 characters too long, each - counted twice"), "{error}");
    }

    #[test]
    fn groups() {
        for good in ["vg0", "a-b", "A+b_c.d"] {
            assert_eq!(check_group_name(good), Ok(()));
        }
        for bad in ["", ".", "..", "-a", "a/b", "a b", &"a".repeat(128)] {
            assert!(check_group_name(bad).is_err(), "{bad}");
        }
    }
}
