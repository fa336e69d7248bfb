//! The phase `hostname`: what a machine calls itself by, now and when it has started again.

use std::net::{IpAddr, Ipv4Addr};

use super::{Facts, Item, Probe, Step, Wish, record, text::plain};
use crate::core::error::Refusal;

const HOSTNAME: &str = "/etc/hostname";
const HOSTS: &str = "/etc/hosts";
const CLOUD: &str = "/etc/cloud/cloud.cfg.d/99-tpl.cfg";

/// Debian's own address for the machine's name: it is resolved also where DNS does not know it, or does not answer.
const OWN: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);

/// cloud-init would otherwise give the machine its old name at the next start, and the old lines to its hosts file.
const CLOUD_TEXT: &str = "# Written by tpl host bootstrap: the machine keeps the name that it was given.
preserve_hostname: true
manage_etc_hosts: false
";

/// A machine without a hosts file has these lines, and its own between them.
const NO_HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// What does not come whole is not rewritten.
const WHOLE: &str = r#"[ -e "$1" ] || { echo absent; exit 0; }
[ "$(wc -c <"$1")" -lt 900000 ] || { echo "it is longer than 900 kB" >&2; exit 1; }
echo there
cat -- "$1""#;

/// By systemd where it runs: hostnamed tells others of it. On a machine without D-Bus it does not answer.
const NAME: &str = r#"# name the machine
if [ -d /run/systemd/system ]; then timeout 60 hostnamectl set-hostname "$1" || true; fi
file=$(sed -n 's/[[:space:]]*$//; /^#/d; /./{p;q;}' /etc/hostname 2>/dev/null) || true
if [ "$file" != "$1" ]; then
  umask 022
  printf '%s\n' "$1" >/etc/hostname.tpl && mv -T /etc/hostname.tpl /etc/hostname || exit
fi
[ "$(uname -n)" = "$1" ] || hostname "$1""#;

/// What the machine is asked.
pub fn probes(_wish: &Wish) -> Vec<Probe> {
    vec![
        record::probe(),
        Probe::file("hostname.file", HOSTNAME),
        Probe::new("hostname.running", "uname -n"),
        Probe::with("hostname.hosts", WHOLE, &[HOSTS]),
        Probe::with("hostname.has-cloud", "[ ! -d \"$1\" ] || echo yes", &["/etc/cloud"]),
        Probe::file("hostname.cloud", CLOUD),
    ]
}

/// What is to be so.
///
/// # Errors
/// The hosts file is none that could be written again.
pub fn items(facts: &Facts, wish: &Wish) -> Result<Vec<Item>, Refusal> {
    let (name, full) = (wish.record.name.as_str(), wish.record.full_name());
    let mut items = vec![record::item(facts, wish)];
    if facts.is_yes("hostname.has-cloud") {
        items.push(Item::file(CLOUD, facts.whole("hostname.cloud"), 0o644, CLOUD_TEXT, Vec::new()));
    }
    // First: once the machine is called otherwise, nobody knows which of the names on that line was its own.
    items.push(hosts_item(facts, &full, name)?);
    let set = vec![Step::script(5, NAME, &[name])];
    let kept = facts.get("hostname.file").map(|text| plain(kept_name(text)));
    items.push(Item::compare(HOSTNAME, kept.as_deref(), name, set.clone()));
    let running = facts.get("hostname.running").map(plain);
    items.push(Item::compare("host name", running.as_deref(), name, set));
    Ok(items)
}

/// The line of a machine's own name in its hosts file. Nothing else of the file changes, and what else the line calls the machine stays
/// behind its own name, but for the name that it had until now.
fn hosts_item(facts: &Facts, full: &str, name: &str) -> Result<Item, Refusal> {
    let what = format!("{OWN} in {HOSTS}");
    let own = if full == name { name.to_owned() } else { format!("{full} {name}") };
    let hosts = match facts.whole("hostname.hosts") {
        Some(answer) => answer.strip_prefix("there\n").unwrap_or(NO_HOSTS),
        None => {
            let why = plain(facts.why_not("hostname.hosts"));
            return Err(Refusal::new(format!("{HOSTS} cannot be read as text: {why}"))
                .advise("whatever is in it is not written over: put it right, and run this again"));
        }
    };
    let is = own_names(hosts);
    let former = [facts.get("hostname.file").map(kept_name), facts.get("hostname.running").map(str::trim)];
    let former: Vec<&str> = former.into_iter().flatten().chain([name]).collect();
    let of_former =
        |word: &str| former.iter().any(|old| word == *old || word.strip_prefix(old).is_some_and(|rest| rest.starts_with('.')));
    let is_name = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    let others = is.iter().flat_map(|names| names.split(' ')).filter(|word| is_name(word) && !of_former(word));
    let names = std::iter::once(own.as_str()).chain(others).collect::<Vec<_>>().join(" ");
    let is = is.as_deref().map(plain);
    let write = Step::Write { path: HOSTS.to_owned(), mode: 0o644, content: with_own_names(hosts, &names) };
    Ok(Item::compare(what, is.as_deref(), &plain(&names), vec![write]))
}

/// The name in a file of hostname(5): the first line that is neither empty nor a comment.
fn kept_name(file: &str) -> &str {
    file.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default()
}

/// The address of a line of hosts(5), and the names behind it.
fn entry(line: &str) -> Option<(IpAddr, Vec<&str>)> {
    let mut words = line.split('#').next()?.split_whitespace();
    Some((words.next()?.parse().ok()?, words.collect()))
}

fn is_of(line: &str, address: Ipv4Addr) -> bool {
    entry(line).is_some_and(|(found, _)| found == address)
}

/// What the first line of the machine's own address says.
fn own_names(hosts: &str) -> Option<String> {
    let mut lines = hosts.split('\n').filter_map(entry);
    lines.find(|(address, _)| *address == OWN).map(|(_, names)| names.join(" "))
}

/// A hosts file with these names on that line: it is replaced where it is, or comes behind that of `localhost`, or last.
fn with_own_names(hosts: &str, names: &str) -> String {
    let own = format!("{OWN}\t{names}");
    let mut lines: Vec<&str> = hosts.split('\n').collect();
    // What is behind the last newline is a line only if something is there.
    let ended = lines.last() == Some(&"");
    if ended {
        lines.pop();
    }
    let comment = |line: &str| line.find('#').map(|at| format!(" {}", &line[at..])).unwrap_or_default();
    let replaced = lines.iter().position(|line| is_of(line, OWN));
    let written = replaced.map_or_else(|| own.clone(), |at| format!("{own}{}", comment(lines[at])));
    match (replaced, lines.iter().position(|line| is_of(line, Ipv4Addr::LOCALHOST))) {
        (Some(at), _) => lines[at] = &written,
        (None, Some(at)) => lines.insert(at + 1, &written),
        (None, None) => lines.push(&written),
    }
    let mut text = lines.join("\n");
    if ended || replaced.is_none() {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::bootstrap::samples::{facts, lines, wish};

    const WISH: &str = "name = 'hv1'\ndomain = 'lab.example'";

    #[test]
    fn one_line_of_the_hosts_file_changes() {
        let table = [
            ("127.0.0.1\tlocalhost\n127.0.1.1\told\n::1 x\n", "127.0.0.1\tlocalhost\n127.0.1.1\thv1\n::1 x\n"),
            ("127.0.1.1 old\n127.0.0.1 localhost", "127.0.1.1\thv1\n127.0.0.1 localhost"),
            ("127.0.0.1 localhost\n127.0.1.1 old # mine", "127.0.0.1 localhost\n127.0.1.1\thv1 # mine"),
            ("127.0.0.1 localhost\n10.0.0.1 x", "127.0.0.1 localhost\n127.0.1.1\thv1\n10.0.0.1 x\n"),
            ("127.0.0.1 localhost", "127.0.0.1 localhost\n127.0.1.1\thv1\n"),
            ("#127.0.1.1 a\n\n127.0.1.10 b\n", "#127.0.1.1 a\n\n127.0.1.10 b\n127.0.1.1\thv1\n"),
            ("127.0.1.1 a\n127.0.1.1 b\n", "127.0.1.1\thv1\n127.0.1.1 b\n"),
            ("\r\n\u{1b}x ä\t\n127.0.0.1 localhost\r\n\n", "\r\n\u{1b}x ä\t\n127.0.0.1 localhost\r\n127.0.1.1\thv1\n\n"),
            ("", "127.0.1.1\thv1\n"),
        ];
        for (before, after) in table {
            assert_eq!(with_own_names(before, "hv1"), after, "{before:?}");
            assert_eq!(own_names(after).as_deref(), Some("hv1"), "{before:?}");
        }
    }

    /// Answers, and what is told of them.
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

    #[test]
    fn from_vanilla_to_done() {
        let record = wish(WISH).record.text();
        let table: [Case; 6] = [
            // Vanilla, by an image of a cloud.
            (
                &[
                    ("hostname.file", "debian\n"),
                    ("hostname.running", "debian\n"),
                    ("hostname.hosts", "there\n127.0.0.1 localhost\n127.0.1.1 debian\n"),
                    ("hostname.has-cloud", "yes\n"),
                ],
                &[
                    "/etc/tpl/host.toml: absent -> as written by tpl",
                    "/etc/cloud/cloud.cfg.d/99-tpl.cfg: absent -> as written by tpl",
                    "127.0.1.1 in /etc/hosts: debian -> hv1.lab.example hv1",
                    "/etc/hostname: debian -> hv1",
                    "host name: debian -> hv1",
                ],
            ),
            // What else it is called stays; what belonged to its former name does not.
            (
                &[
                    ("record", &record),
                    ("hostname.file", "old\n"),
                    ("hostname.running", "old\n"),
                    ("hostname.hosts", "there\n127.0.1.1 old.lan git.internal old oldest\n"),
                ],
                &[
                    "/etc/tpl/host.toml: ok",
                    "127.0.1.1 in /etc/hosts: old.lan git.internal old oldest -> hv1.lab.example hv1 git.internal oldest",
                    "/etc/hostname: old -> hv1",
                    "host name: old -> hv1",
                ],
            ),
            // Nothing at all.
            (
                &[("hostname.running", "localhost\n"), ("hostname.hosts", "absent\n")],
                &[
                    "/etc/tpl/host.toml: absent -> as written by tpl",
                    "127.0.1.1 in /etc/hosts: absent -> hv1.lab.example hv1",
                    "/etc/hostname: absent -> hv1",
                    "host name: localhost -> hv1",
                ],
            ),
            // Half done: the name is kept, and not yet in use.
            (
                &[
                    ("record", &record),
                    ("hostname.file", "# by hand\n hv1 \n"),
                    ("hostname.running", "debian\n"),
                    ("hostname.hosts", "there\n127.0.1.1\thv1\n"),
                ],
                &[
                    "/etc/tpl/host.toml: ok",
                    "127.0.1.1 in /etc/hosts: hv1 -> hv1.lab.example hv1",
                    "/etc/hostname: ok",
                    "host name: debian -> hv1",
                ],
            ),
            // Done, the hosts file with blanks of its own.
            (
                &[
                    ("record", &record),
                    ("hostname.file", "hv1"),
                    ("hostname.running", "hv1\n"),
                    ("hostname.hosts", "there\n127.0.1.1   hv1.lab.example\thv1 git # x\n"),
                ],
                &["/etc/tpl/host.toml: ok", "127.0.1.1 in /etc/hosts: ok", "/etc/hostname: ok", "host name: ok"],
            ),
            // Whatever it says stays on its line.
            (
                &[
                    ("record", &record),
                    ("hostname.file", "\u{1b}[2J\u{7}\n"),
                    ("hostname.running", "a\u{0}b"),
                    ("hostname.hosts", "there\n127.0.1.1 \u{1b}c\n"),
                ],
                &[
                    "/etc/tpl/host.toml: ok",
                    "127.0.1.1 in /etc/hosts: ?c -> hv1.lab.example hv1",
                    "/etc/hostname: ?[2J? -> hv1",
                    "host name: a?b -> hv1",
                ],
            ),
        ];
        for (answers, expected) in table {
            assert_eq!(lines(&items(&facts(answers), &wish(WISH)).unwrap()), expected);
        }
    }

    #[test]
    fn a_hosts_file_that_is_no_text_is_left_alone() {
        let facts = Facts::default().with("hostname.hosts", Err("it is no UTF-8"));
        assert_eq!(
            items(&facts, &wish(WISH)).unwrap_err().to_string(),
            "/etc/hosts cannot be read as text: it is no UTF-8\n\
             whatever is in it is not written over: put it right, and run this again"
        );
    }

    #[test]
    fn a_name_without_a_domain_stands_once() {
        let facts = facts(&[("hostname.hosts", "there\n127.0.1.1 hv1\n")]);
        let items = items(&facts, &wish("name = 'hv1'")).unwrap();
        assert_eq!(lines(&items[1..2]), ["127.0.1.1 in /etc/hosts: ok"]);
    }
}
