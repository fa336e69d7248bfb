//! Password hashes. The installer's password was made for the build; a clone's users get theirs from its seed.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::{TEXT_LIMIT, blank, changed, merge},
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "passwords",
    summary: "locks every account that has a password hash, or needs none",
    families: &[],
    default: true,
    run,
};

/// Everything that has hashes in its second field.
pub(in crate::seal) const FILES: [&str; 12] = [
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/passwd",
    "/etc/group",
    "/etc/shadow-",
    "/etc/gshadow-",
    "/etc/passwd-",
    "/etc/group-",
    "/var/backups/shadow.bak",
    "/var/backups/gshadow.bak",
    "/var/backups/passwd.bak",
    "/var/backups/group.bak",
];

fn run(files: &dyn Files) -> Result<Outcome> {
    let mut done = Vec::new();
    for path in files.glob(&FILES)? {
        let Some(text) = files.read(&path, TEXT_LIMIT)? else {
            continue;
        };
        if let Some(locked) = lock(&text, may_be_open(&path)) {
            files.write(&path, &locked)?;
            done.push(path);
        }
    }
    // Old hashes, kept against their being used again.
    Ok(merge([changed(done), blank(files, &["/etc/security/opasswd"])?]))
}

/// The users in a shadow file that have a hash, locked or not.
pub(in crate::seal) fn users_with_hash(text: &[u8]) -> Vec<String> {
    let user = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b':');
        let (name, hash) = (fields.next()?, fields.next()?);
        is_hash(hash).then(|| String::from_utf8_lossy(name).into_owned())
    };
    text.split(|byte| *byte == b'\n').filter_map(user).collect()
}

/// The file with `!*` for every hash, which no password matches, and with `open` for no password at all; none if there is
/// nothing of that in it.
fn lock(text: &[u8], open: bool) -> Option<Vec<u8>> {
    let lock_line = |line: &[u8]| {
        let mut fields: Vec<_> = line.split(|byte| *byte == b':').collect();
        let user = fields[0];
        if fields.get(1).is_some_and(|hash| is_hash(hash) || open && is_open(user, hash)) {
            fields[1] = b"!*";
        }
        fields.join(&b':')
    };
    let lines: Vec<_> = text.split(|byte| *byte == b'\n').map(lock_line).collect();
    let locked = lines.join(&b'\n');
    (locked != text).then_some(locked)
}

/// Whether an empty second field of this file lets everybody in; in a group's it lets nobody.
pub(in crate::seal) fn may_be_open(path: &str) -> bool {
    path.contains("shadow") && !path.contains("gshadow") || path.contains("passwd")
}

/// Whether an account needs no password; lines that begin with `+` or `-` are NIS's, and no accounts.
fn is_open(user: &[u8], hash: &[u8]) -> bool {
    hash.is_empty() && user.first().is_some_and(|byte| !b"+-".contains(byte))
}

/// The users in such a file who need no password.
pub(in crate::seal) fn open_users(text: &[u8]) -> Vec<String> {
    let user = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b':');
        let (name, hash) = (fields.next()?, fields.next()?);
        is_open(name, hash).then(|| String::from_utf8_lossy(name).into_owned())
    };
    text.split(|byte| *byte == b'\n').filter_map(user).collect()
}

/// Whether a field holds a hash, behind the `!` of a locked account too: `$6$…`, or one of DES, which has 13 characters.
fn is_hash(field: &[u8]) -> bool {
    let start = field.iter().position(|byte| *byte != b'!').unwrap_or(field.len());
    let hash = &field[start..];
    hash.starts_with(b"$") || hash.starts_with(b"_") || hash.len() >= 13
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_replaced_and_everything_else_stays() {
        let table: [(&str, Option<&str>); 10] = [
            ("root:$6$salt$hash:20778:0:99999:7:::\n", Some("root:!*:20778:0:99999:7:::\n")),
            ("u:$y$j9T$x$y:1:::::", Some("u:!*:1:::::")),
            ("u:!$6$salt$hash:1:::::", Some("u:!*:1:::::")),
            ("u:abJnggxhB/yWI:1:::::", Some("u:!*:1:::::")),
            ("a:*:1:\nb:!:1:\nc:!!:1:\nd:!*:1:\ne:x:1:\n", None),
            ("u::1:::::", None),
            ("group:x:0:a,b\n", None),
            ("group:$6$a$b::a,b\n", Some("group:!*::a,b\n")),
            ("broken\n", None),
            ("", None),
        ];
        for (text, locked) in table {
            assert_eq!(lock(text.as_bytes(), false), locked.map(|text| text.as_bytes().to_vec()), "{text:?}");
        }
    }

    #[test]
    fn who_needs_no_password_is_locked_too() {
        let locked = lock(b"u::1:::::\n+::::::\nd:*:1:\n", true).unwrap();
        assert_eq!(String::from_utf8(locked).unwrap(), "u:!*:1:::::\n+::::::\nd:*:1:\n");
        assert_eq!(open_users(b"u::1:::::\n+::::::\nd:*:1:\n"), ["u"]);
        let files = FILES.iter().filter(|path| may_be_open(path)).copied().collect::<Vec<_>>();
        assert_eq!(
            files,
            ["/etc/shadow", "/etc/passwd", "/etc/shadow-", "/etc/passwd-", "/var/backups/shadow.bak", "/var/backups/passwd.bak"]
        );
    }

    #[test]
    fn users_with_a_hash_are_named() {
        assert_eq!(users_with_hash(b"root:$6$a$b:1:\nu:*:1:\nv:!$1$c$d:1:\n"), ["root", "v"]);
    }
}
