//! Lines of `known_hosts`, so that the first login to a clone asks nothing and trusts no stranger.

use super::{quoted::quoted, ssh_key::PublicKey};

/// The line for a host that is known by several names and addresses.
///
/// # Errors
/// No host, a host with a character that means something in `known_hosts`, or a `public` that is no public key.
pub fn known_hosts_line(hosts: &[&str], public: &str) -> Result<String, String> {
    if hosts.is_empty() {
        return Err("a known_hosts line needs a host".to_owned());
    }
    for host in hosts {
        // Wildcards, negation, hashes, markers and separators would all make it a line about other hosts.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']' | '%');
        if host.is_empty() || host.len() > 255 || !host.chars().all(plain) {
            return Err(format!("{} is no name or address of a host", quoted(host)));
        }
    }
    let key: PublicKey = public.parse()?;
    Ok(format!("{} {}", hosts.join(","), key.key()))
}

/// The file's text with those lines behind it that it does not hold yet; none where it holds them all.
pub fn with_lines(text: &str, lines: &[String]) -> Option<String> {
    let mut result = text.to_owned();
    for line in lines {
        if result.lines().any(|held| held.trim_end() == line) {
            continue;
        }
        if !result.is_empty() && !result.ends_with('\n') {
            result.push('\n');
        }
        result.push_str(line);
        result.push('\n');
    }
    (result != text).then_some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    #[test]
    fn lines() {
        let line = |hosts: &[&str]| known_hosts_line(hosts, &format!("{KEY} root@web01"));
        assert_eq!(line(&["web01", "192.168.122.7", "fe80::1%br0"]), Ok(format!("web01,192.168.122.7,fe80::1%br0 {KEY}")));
        assert_eq!(line(&["[web01]:2222"]), Ok(format!("[web01]:2222 {KEY}")));
        assert_eq!(line(&[]).unwrap_err(), "a known_hosts line needs a host");
        for bad in ["", "*", "!a", "a b", "a,b", "a\n", "@cert-authority", "#", "|1|x"] {
            assert_eq!(line(&["web01", bad]).unwrap_err(), format!("{bad:?} is no name or address of a host"));
        }
        assert!(known_hosts_line(&["web01"], "ssh-ed25519 A").is_err());
    }

    #[test]
    fn a_line_stands_there_once() {
        let table: [(&str, &[&str], Option<&str>); 5] = [
            ("", &["a k", "a k"], Some("a k\n")),
            ("b k", &["a k"], Some("b k\na k\n")),
            ("a k\n", &["a k"], None),
            ("a k \r\nc k\n", &["a k"], None),
            ("", &[], None),
        ];
        for (text, lines, expected) in table {
            let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
            assert_eq!(with_lines(text, &lines).as_deref(), expected, "{text:?}");
        }
    }
}
