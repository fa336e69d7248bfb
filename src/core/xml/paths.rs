//! Paths on the host that belong to one VM.

/// The path with each occurrence of `old` replaced by `new`, where `old` stands as a word of its own: `web` is in
/// `/log/web-serial.log`, not in `/var/webmail`.
pub(super) fn renamed(path: &str, old: &str, new: &str) -> String {
    let mut result = String::with_capacity(path.len());
    let mut done = 0;
    if old.is_empty() {
        return path.to_owned();
    }
    for (start, _) in path.match_indices(old) {
        let end = start + old.len();
        let part_of_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        if part_of_word(path[..start].chars().next_back()) || part_of_word(path[end..].chars().next()) {
            continue;
        }
        result.push_str(&path[done..start]);
        result.push_str(new);
        done = end;
    }
    result.push_str(&path[done..]);
    result
}

/// A path that no other VM has: renamed, or else with the new name in front of the extension. Devices stay as they are.
pub(super) fn own(path: &str, old: &str, new: &str) -> String {
    let renamed = renamed(path, old, new);
    if renamed != path || path.starts_with("/dev/") {
        return renamed;
    }
    let file = path.rfind('/').map_or(0, |slash| slash + 1);
    // A dot that the file begins with makes it hidden and is no extension's.
    match path[file..].rfind('.').filter(|dot| *dot > 0) {
        Some(dot) => format!("{}-{new}{}", &path[..file + dot], &path[file + dot..]),
        None => format!("{path}-{new}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_gets_the_new_name() {
        let table = [
            ("/var/log/web.log", "/var/log/db1.log"),
            ("/run/domain-3-web/agent", "/run/domain-3-db1/agent"),
            ("/var/webmail/web_VARS.fd", "/var/webmail/db1_VARS.fd"),
            ("/web/web", "/db1/db1"),
            ("/log/webweb.log", "/log/webweb-db1.log"),
            ("/log/console.log", "/log/console-db1.log"),
            ("/log.d/console", "/log.d/console-db1"),
            ("/log/.hidden", "/log/.hidden-db1"),
            ("console", "console-db1"),
            ("/dev/null", "/dev/null"),
            ("/ä/webä", "/ä/webä-db1"),
        ];
        for (path, expected) in table {
            assert_eq!(own(path, "web", "db1"), expected, "{path}");
        }
        assert_eq!(renamed("/log/console.log", "web", "db1"), "/log/console.log");
        assert_eq!(renamed("/log", "", "db1"), "/log");
    }
}
