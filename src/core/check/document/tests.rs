use proptest::prelude::{any, proptest};

use crate::core::pipeline::{Pipeline, parse};

const GOOD: &str = "description = \"x\"\n[source]\nkind = \"netboot\"\nsuite = \"trixie\"\n[answers]\nkind = \"preseed\"\nfile = \"a.cfg\"\n\
                    [clone]\nuser = \"debian\"\nmemory = \"512M\"\ndisk = \"8G\"\n";

fn said(text: &str) -> Vec<String> {
    match parse("p", text) {
        Ok(_) => Vec::new(),
        Err(invalid) => invalid.findings.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn every_fault_is_found_at_once() {
    let text = "descripton = \"x\"\nkeep = \"three\"\n[source]\nkind = \"netbot\"\nmirror = \"a b\"\n[answers]\nfile = \"/a\"\n\
                packages = [\"a\", \"b c\", 7]\nboot = \"1M\"\nusers = [{ name = \"a\", sudo = 1 }, { comment = \"x\", nmae = \"y\" }]\n\
                [install]\nvcpus = 0\ndisk = \"1M\"\n[install.x]\n[clone]\nmemory = \"1M\"\n";
    let words = "is not one plain word: letters, digits and + - . _ ~ : / @ , = % [ ] ? only";
    let fields = "expected one of `description`, `source`, `answers`, `install`, `seal`, `clone`, `keep`";
    let install = "expected one of `disk`, `memory`, `vcpus`, `deadline`, `boot_deadline`, `firmware`, `arguments`";
    let expected = [
        "p:1:1: missing field `description`".to_owned(),
        format!("p:1:1: unknown field `descripton`, {fields}"),
        "p:2:8: invalid type: string \"three\", expected usize".to_owned(),
        "p:4:8: unknown variant `netbot`, expected one of `netboot`, `iso`, `image`".to_owned(),
        format!("p:5:10: \"a b\" {words}"),
        "p:6:1: missing field `kind`".to_owned(),
        "p:7:8: \"/a\" leaves the folder that holds pipelines/: write a path below it, as in preseed/debian.cfg".to_owned(),
        "p:8:18: \"b c\" is no package: letters, digits and + - . _ ~ : / @ = ^, a letter, a digit or @ first".to_owned(),
        "p:8:25: invalid type: integer `7`, expected a string".to_owned(),
        "p:10:31: invalid type: integer `1`, expected a boolean".to_owned(),
        "p:10:36: missing field `name`".to_owned(),
        "p:10:53: unknown field `nmae`, expected one of `name`, `comment`, `groups`, `sudo`, `ssh_keys`".to_owned(),
        "p:12:1: vcpus must be 1 to 512".to_owned(),
        "p:13:1: a build disk needs at least 1 GiB, and cannot have more than 64 TiB".to_owned(),
        format!("p:14:10: unknown field `x`, {install}"),
        "p:15:1: missing field `disk`".to_owned(),
        "p:15:1: missing field `user`".to_owned(),
    ];
    assert_eq!(said(text), expected);
}

#[test]
fn tables_are_tables() {
    let table = [
        ("[clone]", "[keep]\nx = 1\n[clone]", "p:8:1: invalid type: map, expected usize"),
        ("[clone]", "[seal]\nenable = 1\n[clone]", "p:9:10: invalid type: integer `1`, expected a sequence"),
        ("[clone]", "[[install]]\n[clone]", "p:8:1: invalid type: sequence, expected a table"),
        (
            "description = \"x\"",
            "description = \"x\"\ninstall = [\"4G\", \"1G\"]",
            "p:2:11: invalid type: sequence, expected a table",
        ),
        ("description = \"x\"", "description = \"x\"\ninstall = 7", "p:2:11: invalid type: integer `7`, expected struct Install"),
        ("[clone]", "[seal]\n[install]\n[clone]", ""),
    ];
    for (from, to, expected) in table {
        assert_eq!(said(&GOOD.replacen(from, to, 1)).join("\n"), expected, "{to}");
    }
}

#[test]
fn what_belongs_together_is_checked_where_it_can_be() {
    let table = [
        (
            "netboot",
            "image",
            "p:3:1: an image is installed already: [answers] means nothing for it\np:3:1: image needs url, the file's place\np:4:1: suite means nothing for this source of kind image",
        ),
        (
            "suite = \"trixie\"",
            "kernel = \"/k\"\nurl = \"/x\"\nsha256 = \"00\"",
            "p:2:1: initrd is missing: netboot needs a kernel and an initrd\np:5:1: url means nothing for this source of kind netboot\np:6:1: a SHA-256 has 64 hexadecimal digits\np:6:1: sha256 means nothing for this source of kind netboot",
        ),
        (
            "[clone]",
            "swap = \"1M\"\nboot = 0\nusers = [{ name = \"a\" }, { comment = \"a:b\", name = \"a\" }]\n[clone]",
            "p:8:1: swap is 0, or 16 MiB to 1 TiB\np:9:1: /boot needs 256 MiB to 16 GiB\np:10:28: the comment of a holds a ':', which passwd cannot\np:10:45: the user a stands there twice",
        ),
        (
            "[clone]",
            "layout = \"lvm\"\nswap = \"8G\"\n[clone]",
            "p:8:1: 4 GiB are too small for the layout, which needs at least 9.4 GiB: 900 MiB for root with a minimal Debian, 1 MiB for the boot loader, 512 MiB for /boot, 8 GiB for swap, 8 MiB for the volume group, 2 MiB for partition tables",
        ),
        (
            "suite",
            "siute",
            "p:4:1: unknown field `siute`, expected one of `kind`, `arch`, `release`, `suite`, `mirror`, `url`, `kernel`, `initrd`, `sha256`, `checksums`, `signature`, `keyring`, `fingerprints`, `keyring_from`, `arm64`",
        ),
    ];
    for (from, to, expected) in table {
        assert_eq!(said(&GOOD.replacen(from, to, 1)).join("\n"), expected, "{to}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>(), lines in "(\\[(source|answers|clone|install)\\]\n|(kind|users|disk|keep|file) = (1|\"x\"|\\[\\]|\\[\\{ name = 1 \\}\\]|\\{\\})\n){0,12}") {
        let _ = (parse("p", &text), parse("p", &lines));
    }

    /// What is found faultless is what the type reads, and the other way round.
    #[test]
    fn the_type_has_the_last_word(lines in "(\\[(source|answers|clone|install)\\]\n|(kind|users|disk|keep|file) = (1|\"x\"|\\[\\]|\\[\\{ name = 1 \\}\\]|\\{\\})\n){0,12}") {
        if toml::from_str::<Pipeline>(&lines).is_err() {
            assert!(parse("p", &lines).is_err());
        }
    }
}
