//! A Debian mirror's URL: which are taken, how a guest sees one, and where this machine's own stands written.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The host as a guest on user-mode networking sees it: the gateway that QEMU's built-in network invents.
const HOST_SEEN_BY_GUEST: &str = "10.0.2.2";

/// A mirror in the pieces in which an answer file wants it, with the host that a guest can reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestMirror {
    /// `http` or `https`.
    pub protocol: String,
    /// The host, with its port where the URL names one.
    pub host: String,
    /// The archive's directory on the host: `/debian`.
    pub path: String,
    /// The mirror is on this host's loopback. Then `host` is what user-mode networking calls this host, and a guest on
    /// another network cannot reach the mirror.
    pub loopback: bool,
}

/// A mirror's URL as tpl uses it, without a slash at its end.
///
/// # Errors
/// It is no plain `http://HOST[:PORT]/PATH` or `https://…`. Credentials in it would end up in logs and in the guest.
pub fn checked(url: &str) -> Result<String, String> {
    let wrong = |what: &str| Err(format!("{:?} cannot be a mirror: {what}", url.chars().take(200).collect::<String>()));
    let Some((protocol, authority, path)) = split(url) else {
        return wrong("http://HOST/PATH is expected");
    };
    if !matches!(protocol, "http" | "https") {
        return wrong("only http and https are possible");
    }
    if authority.contains('@') {
        return Err("a mirror's URL must not hold a user name or a password".to_owned());
    }
    let (host, port) = host_and_port(authority);
    let plain_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let host_fits = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(plain_host),
    };
    if !host_fits || port.is_some_and(|port| !port.bytes().all(|b| b.is_ascii_digit()) || port.parse::<u16>().is_err()) {
        return wrong("its host or port is none");
    }
    let plain_path = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'-' | b'_' | b'~' | b'+' | b'%');
    if !path.bytes().all(plain_path) || path.split('/').any(|part| part == "..") {
        return wrong("its path holds something else than letters, digits and / . - _ ~ + %");
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// How a guest names the mirror. The URL is one that [`checked`] lets pass.
pub fn guest_view(mirror: &str) -> GuestMirror {
    let (protocol, authority, path) = split(mirror).unwrap_or(("http", mirror, ""));
    let (host, port) = host_and_port(authority);
    let loopback = is_loopback(host);
    let host = match (loopback, port) {
        (false, _) => authority.to_owned(),
        (true, None) => HOST_SEEN_BY_GUEST.to_owned(),
        (true, Some(port)) => format!("{HOST_SEEN_BY_GUEST}:{port}"),
    };
    GuestMirror { protocol: protocol.to_owned(), host, path: format!("/{}", path.trim_matches('/')), loopback }
}

/// The Debian archive in a text of APT sources, one-line or deb822. The first counts, but one whose path is just `/debian`
/// before others: vendors of packages for Debian like to end their URLs the same way.
pub fn from_apt_sources(text: &str) -> Option<String> {
    let archives: Vec<String> = one_line_entries(text).chain(deb822_entries(text)).filter_map(Entry::archive).collect();
    archives.iter().find(|url| is_plain_archive(url)).or(archives.first()).cloned()
}

/// Whether a mirror's path is `/debian`, as on nearly every mirror of Debian.
pub fn is_plain_archive(mirror: &str) -> bool {
    split(mirror).is_some_and(|(_, _, path)| path == "/debian")
}

/// The default mirror in a script of debootstrap: the one of the generic `*)` case, else the first that ends in `/debian`;
/// or the `DEF_MIRROR` of debootstrap itself.
pub fn from_debootstrap(script: &str) -> Option<String> {
    let mut generic = false;
    let (mut of_generic, mut first) = (None, None);
    for line in script.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some((pattern, _)) = line.split_once(')') {
            generic = pattern.trim_start_matches('(').trim() == "*";
        }
        if let Some(url) = default_mirror(line).and_then(archive_url) {
            if generic {
                of_generic = Some(url.clone());
            }
            first.get_or_insert(url);
        }
        // After the test: `*) default_mirror URL ;;` may stand on one line.
        if line.ends_with(";;") || line == "esac" {
            generic = false;
        }
    }
    of_generic.or(first)
}

fn default_mirror(line: &str) -> Option<&str> {
    let value = match line.strip_prefix("DEF_MIRROR=") {
        Some(value) => value,
        None => {
            let mut words = line.split_ascii_whitespace().skip_while(|word| *word != "default_mirror").skip(1);
            words.next()?
        }
    };
    Some(value.trim_end_matches(';').trim_matches(['"', '\'']))
}

/// One source: words of each kind.
#[derive(Default)]
struct Entry<'a> {
    binary: bool,
    urls: Vec<&'a str>,
    suites: Vec<&'a str>,
    components: Vec<&'a str>,
}

impl Entry<'_> {
    /// Its URL, if it is the Debian archive itself: not its security updates, and not a vendor's packages for Debian.
    fn archive(self) -> Option<String> {
        let security = |suite: &&str| suite.ends_with("-security") || suite.ends_with("/updates");
        let main = self.components.contains(&"main");
        if !self.binary || !main || self.suites.iter().all(security) {
            return None;
        }
        self.urls.into_iter().find_map(archive_url)
    }
}

/// `deb [OPTIONS] URL SUITE COMPONENT…`
fn one_line_entries(text: &str) -> impl Iterator<Item = Entry<'_>> {
    text.lines().filter_map(|line| {
        let line = line.split('#').next().unwrap_or_default().trim();
        let rest = line.strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t']))?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        let mut words = rest.split_ascii_whitespace();
        Some(Entry { binary: true, urls: vec![words.next()?], suites: vec![words.next()?], components: words.collect() })
    })
}

/// Paragraphs of `Types:`, `URIs:`, `Suites:` and `Components:`; a line that begins with a blank goes on with a field.
fn deb822_entries(text: &str) -> impl Iterator<Item = Entry<'_>> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let paragraphs = lines.split(|line| line.trim().is_empty()).map(|paragraph| {
        let mut entry = Entry::default();
        let (mut field, mut enabled) = (String::new(), true);
        for line in paragraph {
            let values = match line.split_once(':') {
                Some((name, values)) if !line.starts_with([' ', '\t']) => {
                    field = name.to_ascii_lowercase();
                    values
                }
                _ => line,
            };
            let words = values.split_ascii_whitespace();
            match field.as_str() {
                "types" => entry.binary |= words.into_iter().any(|word| word == "deb"),
                "uris" => entry.urls.extend(words),
                "suites" => entry.suites.extend(words),
                "components" => entry.components.extend(words),
                "enabled" => enabled = !matches!(values.trim(), "no" | "false" | "0"),
                _ => {}
            }
        }
        enabled.then_some(entry)
    });
    paragraphs.flatten().collect::<Vec<_>>().into_iter()
}

fn archive_url(url: &str) -> Option<String> {
    checked(url).ok().filter(|url| url.ends_with("/debian"))
}

/// Protocol, host with port, and path with its slash.
fn split(url: &str) -> Option<(&str, &str, &str)> {
    let (protocol, rest) = url.split_once("://")?;
    let slash = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(slash);
    Some((protocol, authority, path))
}

fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // The colons inside an IPv6 address are followed by its bracket.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let v6 = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || v6.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()))
}

#[cfg(test)]
#[path = "mirror_tests.rs"]
mod tests;
