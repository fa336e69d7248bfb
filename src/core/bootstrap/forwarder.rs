//! The phase `dns`: dnsmasq on the machine's own address 127.0.0.1, which hands every question to the default gateway.
//!
//! dnsmasq comes up beside whatever resolves names now; only once it has answered is `/etc/resolv.conf` changed, and what was there is
//! kept. Whoever else would write that file is told not to.

mod ask;
mod back;

use std::net::Ipv4Addr;

use super::{
    Facts, Item, Probe, Step, Wish, apt, record,
    text::{plain, some_of, value, values},
};
use crate::core::error::Refusal;
pub use back::undo;

const RESOLV: &str = "/etc/resolv.conf";
/// What was there before: a file, or a link.
const SAVED: &str = "/etc/tpl/resolv.conf.before";
const HEAD: &str = "# Written by tpl host bootstrap";
const HERE: &str = "127.0.0.1";

/// A file of tpl's, whose content is told once, but for the gateway.
struct Own {
    probe: &'static str,
    path: &'static str,
    content: &'static str,
}

/// libvirt's own dnsmasqs have the addresses of its networks: this one is on no other than its own.
const DNSMASQ: Own = Own {
    probe: "dns.file",
    path: "/etc/dnsmasq.d/10-tpl.conf",
    content: ": what this machine resolves goes to its default gateway.
listen-address=127.0.0.1
bind-interfaces
no-resolv
no-poll
cache-size=1000
server=",
};

/// The package's unit would tell resolvconf of it, which systemd-resolved takes for an error.
const UNIT: Own = Own {
    probe: "dns.unit",
    path: "/etc/systemd/system/dnsmasq.service.d/10-tpl.conf",
    content: ": /etc/resolv.conf is a file, and nobody else's.
[Service]
ExecStartPost=
ExecStop=
Restart=on-failure
",
};

const RESOLVED: Own = Own {
    probe: "dns.resolved",
    path: "/etc/systemd/resolved.conf.d/10-tpl.conf",
    content: ": dnsmasq answers this machine's questions.
[Resolve]
DNSStubListener=no
",
};

/// Who asks DHCP, and how it is told to leave `/etc/resolv.conf` alone.
struct Hook {
    /// The answer that says that it is there. None where that does not matter: libguestfs brings one of the two, whichever the release
    /// has, and a machine with a forwarder would have drifted by becoming a hypervisor.
    only_with: Option<&'static str>,
    file: Own,
    /// What makes it read that.
    reload: Option<&'static str>,
}

/// dhcpcd has no folder for such files.
const SHARED: &str = "/etc/dhcpcd.enter-hook";

const HOOKS: [Hook; 3] = [
    Hook {
        only_with: None,
        file: Own {
            probe: "dns.dhclient",
            path: "/etc/dhcp/dhclient-enter-hooks.d/tpl-forwarder",
            content: ": /etc/resolv.conf stays as it is.\nmake_resolv_conf() { :; }\n",
        },
        reload: None,
    },
    Hook {
        only_with: None,
        file: Own {
            probe: "dns.dhcpcd",
            path: SHARED,
            content: ": /etc/resolv.conf stays as it is.\nskip_hooks=\"$skip_hooks resolv.conf\"\n",
        },
        reload: None,
    },
    Hook {
        only_with: Some("manager"),
        file: Own {
            probe: "dns.manager",
            path: "/etc/NetworkManager/conf.d/10-tpl.conf",
            content: ": /etc/resolv.conf stays as it is.\n[main]\ndns=none\n",
        },
        reload: Some("# reload NetworkManager\n! systemctl -q is-active NetworkManager || systemctl reload NetworkManager"),
    },
];

impl Own {
    fn text(&self) -> String {
        format!("{HEAD}{}", self.content)
    }
}

/// dnsmasq has started, is started from now on, and answers to the name `$1`.
const START: &str = concat!(
    "# start dnsmasq, and ask it for a name\n",
    ask::dns!(),
    r#"if [ -d /run/systemd/system ]; then
  systemctl daemon-reload && systemctl -q enable dnsmasq.service && systemctl restart dnsmasq.service || exit
else
  service dnsmasq restart || exit
fi
for try in 1 2 3; do
  said=$(dns 127.0.0.1 "$1")
  case $said in "answer 0 "*) exit 0 ;; "answer "*) [ -n "$1" ] || exit 0 ;; esac
  sleep 2
done
echo "dnsmasq does not resolve ${1:-anything}: ${said:-no answer}" >&2
exit 1"#
);

/// `$1` becomes resolv.conf, and what was there is kept in `$2`: once, for a second time it would be tpl's own. Then the name `$3`
/// must be resolved.
const SWITCH: &str = r#"# write /etc/resolv.conf anew, and resolve a name
file=/etc/resolv.conf
umask 022
mkdir -p "${2%/*}" || exit
if ! head -n 1 "$file" 2>/dev/null | grep -q '^# Written by tpl'; then
  if [ -e "$file" ] || [ -L "$file" ]; then
    rm -f "$2.new" && cp -P -p "$file" "$2.new" && mv -T "$2.new" "$2" || exit
  fi
fi
printf '%s' "$1" >"$file.tpl" && mv -T "$file.tpl" "$file" || exit
[ -n "$3" ] || exit 0
for try in 1 2 3 4 5; do
  timeout 20 getent ahosts "$3" >/dev/null && exit 0
  sleep 2
done
echo "$3 is not resolved any more" >&2
exit 1"#;

/// systemd-resolved reads its files at its start alone.
const RESTART_RESOLVED: &str =
    "# restart systemd-resolved\n! systemctl -q is-active systemd-resolved.service || systemctl restart systemd-resolved.service";

/// What the machine is asked.
pub fn probes(_wish: &Wish) -> Vec<Probe> {
    let mut probes = vec![record::probe()];
    probes.extend(ask::probes());
    probes
}

/// What is to be so.
///
/// # Errors
/// The gateway does not answer, or somebody else's DNS server is on this machine.
pub fn items(facts: &Facts, wish: &Wish) -> Result<Vec<Item>, Refusal> {
    let mut items = vec![record::item(facts, wish)];
    if !wish.record.dns_forwarder {
        items.extend(back::item(facts));
        return Ok(items);
    }
    let way = Way::of(facts);
    let gateway = way.may_be_taken(facts)?;
    items.extend(server(facts, gateway, way.name));
    items.extend(hooks(facts));
    items.extend(resolvers(facts, way.name));
    let resolves = way.resolves || way.name.is_empty();
    let is = format!("{} is not resolved", plain(way.name));
    items.push(Item::holds("names", resolves, &is, "resolved", vec![Step::script(5, START, &[way.name])]));
    Ok(items)
}

/// Which way names go.
struct Way<'a> {
    gateway: Option<Ipv4Addr>,
    /// A name that the machine needs; empty where it needs none.
    name: &'a str,
    resolves: bool,
    /// What the gateway has said to that name: a code of RFC 1035, and how many answers. None where it is silent.
    answer: Option<(&'a str, bool)>,
}

impl<'a> Way<'a> {
    fn of(facts: &'a Facts) -> Self {
        let way = facts.get("dns.way").unwrap_or_default();
        let plain_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
        Self {
            gateway: value(way, "gateway").and_then(|address| address.parse().ok()),
            name: value(way, "name").filter(plain_name).unwrap_or_default(),
            resolves: value(way, "resolves").is_some(),
            answer: value(way, "answer").and_then(|answer| answer.split_once(' ')).map(|(code, count)| (code, count != "0")),
        }
    }

    /// The gateway. Everything is looked at before anything changes, and only then: a forwarder that is there and fails has drifted.
    fn may_be_taken(&self, facts: &Facts) -> Result<Ipv4Addr, Refusal> {
        let begun = facts.get("dns.file").is_some_and(is_own);
        if facts.get("dns.way").is_none() {
            let why = plain(facts.why_not("dns.way"));
            return Err(Refusal::new(format!("the machine does not tell which way its DNS could go: {why}")));
        }
        let Some(gateway) = self.gateway else {
            return Err(Refusal::new("there is no default gateway of IPv4, to which DNS could be forwarded")
                .advise("say --no-dns-forwarder, or give the machine a default route"));
        };
        let others = others(facts);
        if !others.is_empty() {
            return Err(Refusal { reasons: others, advice: Some(OTHERS.to_owned()) });
        }
        if begun {
            return Ok(gateway);
        }
        if !self.resolves && !self.name.is_empty() {
            return Err(Refusal::new(format!("the machine does not resolve {} now: {}", self.name, present(facts)))
                .advise("put its DNS right first: behind a forwarder nobody would see whose fault it is"));
        }
        let why = match self.answer {
            Some((_, true)) => return Ok(gateway),
            Some(_) if self.name.is_empty() => return Ok(gateway),
            Some((code, _)) => format!("the default gateway {gateway} does not resolve {} (DNS code {})", self.name, plain(code)),
            None => format!("the default gateway {gateway} does not answer DNS"),
        };
        Err(Refusal::new(format!("{why}; {}", present(facts)))
            .advise("say --no-dns-forwarder: a forwarder towards the gateway would resolve nothing"))
    }
}

const OTHERS: &str = "tpl changes nobody else's DNS server: say --no-dns-forwarder, or remove it";

/// By whom a machine resolves now.
fn present(facts: &Facts) -> String {
    let servers: Vec<&str> = facts.get("dns.resolv").map(|text| values(text, "nameserver").collect()).unwrap_or_default();
    match servers.as_slice() {
        [] => format!("{RESOLV} names no server"),
        some => format!("{RESOLV} names {}", some_of(some)),
    }
}

/// DNS servers of somebody else's, and what another has told dnsmasq.
fn others(facts: &Facts) -> Vec<String> {
    let state = facts.get("dns.state").unwrap_or_default();
    let mut others: Vec<String> =
        values(state, "foreign").map(|file| format!("dnsmasq is configured by another already: {}", plain(file))).collect();
    for listener in values(state, "listener") {
        let (place, process) = listener.split_once(' ').unwrap_or((listener, "an unknown process"));
        let address = place.rsplit_once(':').map_or(place, |(address, _)| address);
        let address = address.split('%').next().unwrap_or_default();
        let in_the_way = matches!(address, HERE | "0.0.0.0" | "*" | "[::]" | "::");
        if in_the_way && !process.contains("\"dnsmasq\"") && !process.contains("\"systemd-resolve\"") {
            let process = process.split('"').nth(1).unwrap_or(process);
            others.push(format!("{} answers DNS on {} already", plain(process), plain(place)));
        }
    }
    others.sort_unstable();
    others.dedup();
    others
}

fn is_own(text: &str) -> bool {
    text.starts_with(HEAD)
}

/// dnsmasq: its files come first, for its package starts it, and its start last, for it reads them.
fn server(facts: &Facts, gateway: Ipv4Addr, name: &str) -> Vec<Item> {
    let state = facts.get("dns.state").unwrap_or_default();
    let has = |key| value(state, key).is_some();
    let file = |own: &Own, text: &str| Item::file(own.path, facts.whole(own.probe), 0o644, text, Vec::new());
    let mut items = vec![file(&DNSMASQ, &format!("{}{gateway}\n", DNSMASQ.text()))];
    if has("systemd") {
        items.push(file(&UNIT, &UNIT.text()));
    }
    let old = has("stale") || items.iter().any(Item::has_drifted);
    let runs = match value(state, "dnsmasq").unwrap_or_default() {
        _ if !has("installed") => "not there",
        "enabled active" if old => "running without what its files say",
        "enabled active" => "running, and started with the machine",
        state if state.ends_with(" active") => "running, and not started with the machine",
        _ => "not running",
    };
    let start = vec![Step::script(5, START, &[name])];
    items.push(Item::holds("package dnsmasq", has("installed"), "absent", "installed", vec![apt::install(&["dnsmasq"])]));
    items.push(Item::compare("dnsmasq", Some(runs), "running, and started with the machine", start));
    items
}

/// Who would write over resolv.conf.
fn hooks(facts: &Facts) -> Vec<Item> {
    let state = facts.get("dns.state").unwrap_or_default();
    let there = |hook: &&Hook| hook.only_with.is_none_or(|key| value(state, key).is_some());
    let one = |hook: &Hook| {
        let (path, is) = (hook.file.path, facts.whole(hook.file.probe));
        if path == SHARED && is.is_some_and(|text| !is_own(text)) {
            let advice = "a line `nohook resolv.conf` in /etc/dhcpcd.conf keeps it from that";
            return Item::unknown(path, format!("it is somebody's own, and dhcpcd may write over {RESOLV}\n{advice}"));
        }
        let then = hook.reload.map(|script| Step::script(5, script, &[])).into_iter().collect();
        Item::file(path, is, 0o644, &hook.file.text(), then)
    };
    HOOKS.iter().filter(there).map(one).collect()
}

/// resolv.conf, and systemd-resolved where there is one.
fn resolvers(facts: &Facts, name: &str) -> Vec<Item> {
    let state = facts.get("dns.state").unwrap_or_default();
    let resolv = facts.whole("dns.resolv");
    let text = resolv_text(resolv.unwrap_or_default());
    let is = match (value(state, "link"), resolv) {
        (Some(target), _) => Some(format!("a link to {}", plain(target))),
        (None, Some(is)) if is == text => Some(HERE.to_owned()),
        (None, Some(_)) => Some(present(facts)),
        (None, None) => None,
    };
    let switch = Step::script(5, SWITCH, &[&text, SAVED, name]);
    let mut items = vec![Item::compare(RESOLV, is.as_deref(), HERE, vec![switch])];
    if value(state, "resolved").is_some() {
        let restart = vec![Step::script(5, RESTART_RESOLVED, &[])];
        items.push(Item::file(RESOLVED.path, facts.whole(RESOLVED.probe), 0o644, &RESOLVED.text(), restart.clone()));
        let stub =
            values(state, "listener").any(|listener| listener.starts_with("127.0.0.53") && listener.contains("systemd-resolve"));
        items.push(Item::holds("stub of systemd-resolved", !stub, "listening", "out of the way", restart));
    }
    items
}

/// The file that names dnsmasq, with the domains that are searched now.
fn resolv_text(is: &str) -> String {
    let label = |word: &&str| *word != "." && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let domains: Vec<&str> = is
        .lines()
        .filter_map(|line| line.strip_prefix("search").or_else(|| line.strip_prefix("domain")))
        .next_back()
        .map(|words| words.split_whitespace().filter(label).take(32).collect())
        .unwrap_or_default();
    let search = if domains.is_empty() { String::new() } else { format!("search {}\n", domains.join(" ")) };
    format!("{HEAD}: dnsmasq of this machine asks the default gateway. What was here is in {SAVED}.\nnameserver {HERE}\n{search}")
}

#[cfg(test)]
mod tests;
