//! Names that lvm2 and device-mapper can hold: lvm(8), "VALID NAMES", and lvm2's `apply_lvname_restrictions`.

/// What a logical volume's name must not begin with.
const PREFIXES: [&str; 2] = ["snapshot", "pvmove"];
/// What must be nowhere in it: lvm2's own volumes below others are called so.
const INFIXES: [&str; 16] = [
    "_cdata", "_cmeta", "_corig", "_cvol", "_imeta", "_iorig", "_mimage", "_mlog", "_pmspare", "_rimage", "_rmeta", "_tdata",
    "_tmeta", "_vdata", "_vorigin", "_wcorig",
];
/// lvm2's own limit.
const LONGEST: usize = 127;
/// device-mapper's, without the byte that ends it.
const LONGEST_DEVICE: usize = 127;
/// A volume that snapshots stand on, and a snapshot's room, have one more device each, `GROUP-NAME-real` and `GROUP-NAME-cow`.
const LAYER: usize = "-real".len();

/// Whether a logical volume of this name can be in this volume group.
///
/// # Errors
/// Why not, as a sentence.
pub fn check(group: &str, name: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("a logical volume cannot be called '{}': {why}", shown(name)));
    if name.is_empty() || matches!(name, "." | "..") {
        return wrong("that is no name");
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'_' | b'.' | b'-')) {
        return wrong("letters, digits, '+', '_', '.' and '-' are possible");
    }
    if name.starts_with('-') {
        return wrong("it begins with '-'");
    }
    if let Some(prefix) = PREFIXES.iter().find(|prefix| name.starts_with(**prefix)) {
        return wrong(&format!("names that begin with '{prefix}' are lvm2's own"));
    }
    if let Some(infix) = INFIXES.iter().find(|infix| name.contains(**infix)) {
        return wrong(&format!("names with '{infix}' in them are lvm2's own"));
    }
    let device = doubled(group) + 1 + doubled(name) + LAYER;
    if name.len() > LONGEST || device > LONGEST_DEVICE {
        let why = format!(
            "it is too long for volume group {group}: device-mapper has {LONGEST_DEVICE} characters for both, with every '-' doubled"
        );
        return wrong(&why);
    }
    Ok(())
}

/// Its length as a part of a device's name, where a hyphen stands between group and volume, and every other one is doubled.
fn doubled(name: &str) -> usize {
    name.len() + name.bytes().filter(|byte| *byte == b'-').count()
}

/// The name as it can be printed.
fn shown(name: &str) -> String {
    name.chars().take(LONGEST + 1).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lvm_cannot_hold_has_a_reason() {
        let own = |what: &str| format!("names {what} are lvm2's own");
        let letters = "letters, digits, '+', '_', '.' and '-' are possible".to_owned();
        let table = [
            ("", "that is no name".to_owned()),
            (".", "that is no name".to_owned()),
            ("..", "that is no name".to_owned()),
            ("-web", "it begins with '-'".to_owned()),
            ("we b", letters.clone()),
            ("web/1", letters.clone()),
            ("wéb", letters),
            ("snapshot", own("that begin with 'snapshot'")),
            ("snapshot-1", own("that begin with 'snapshot'")),
            ("pvmove0", own("that begin with 'pvmove'")),
            ("web_tdata", own("with '_tdata' in them")),
            ("a_mlog-seed", own("with '_mlog' in them")),
        ];
        for (name, why) in table {
            assert_eq!(check("vg0", name), Err(format!("a logical volume cannot be called '{name}': {why}")));
        }
        for name in ["web", "web-1", "debian13.20261121-031000-build", "my-snapshot", "a+b_c.d", "tdata", "_web"] {
            assert_eq!(check("vg0", name), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_hyphen_counts_twice() {
        // "vg0", a hyphen, the name, "-real": 127.
        let longest = "w".repeat(118);
        assert_eq!(check("vg0", &longest), Ok(()));
        assert!(check("vg0", &format!("{longest}w")).unwrap_err().contains("too long for volume group vg0"));
        assert!(check("vg-0", &longest).is_err());
        let hyphens = format!("w{}", "-".repeat(58));
        assert_eq!(check("vg0", &hyphens), Ok(()));
        assert!(check("vg0", &format!("{hyphens}-")).is_err());
    }
}
