//! How a forwarder goes again: one that is not wanted any more, and one that has failed.

use super::{DNSMASQ, HOOKS, Own, RESOLV, RESOLVED, RESTART_RESOLVED, SAVED, UNIT, is_own};
use crate::core::bootstrap::{Facts, Item, Step, text::value};

/// What was kept in `$1` comes back. Without it systemd-resolved's own file does, where that runs, or else the server that dnsmasq asks
/// is asked directly: `$2`.
const RESTORE: &str = r#"# put /etc/resolv.conf back
file=/etc/resolv.conf
umask 022
head -n 1 "$file" 2>/dev/null | grep -q '^# Written by tpl' || exit 0
if [ -e "$1" ] || [ -L "$1" ]; then
  mv -T "$1" "$file.tpl"
elif systemctl -q is-active systemd-resolved.service 2>/dev/null; then
  ln -sfn ../run/systemd/resolve/stub-resolv.conf "$file.tpl"
else
  printf 'nameserver %s\n' "$2" >"$file.tpl"
fi && mv -T "$file.tpl" "$file""#;

/// resolv.conf becomes what it was: a link to `$2`, or a file of `$2`, by the word `$1`.
const PUT_BACK: &str = r#"# put /etc/resolv.conf back as it was
file=/etc/resolv.conf
umask 022
case $1 in
  link) ln -sfn "$2" "$file.tpl" ;;
  file) printf '%s' "$2" >"$file.tpl" ;;
esac && mv -T "$file.tpl" "$file""#;

/// dnsmasq becomes what it was: `$1` is enabled or something else, `$2` is active or something else.
const SERVICE: &str = r#"# leave dnsmasq as it was
if [ ! -d /run/systemd/system ]; then
  [ ! -x /etc/init.d/dnsmasq ] || service dnsmasq "$([ "$2" = active ] && echo restart || echo stop)"
  exit
fi
systemctl daemon-reload || exit
systemctl -q cat dnsmasq.service >/dev/null 2>&1 || exit 0
if [ "$1" = enabled ]; then systemctl -q enable dnsmasq.service; else systemctl -q disable dnsmasq.service; fi || exit
if [ "$2" = active ]; then systemctl restart dnsmasq.service; else systemctl stop dnsmasq.service; fi"#;

/// All files of tpl's, but resolv.conf and systemd-resolved's.
fn files() -> impl Iterator<Item = &'static Own> {
    [&DNSMASQ, &UNIT].into_iter().chain(HOOKS.iter().map(|hook| &hook.file))
}

fn restart_resolved() -> Step {
    Step::script(5, RESTART_RESOLVED, &[])
}

/// A forwarder of tpl's where none is wanted. systemd-resolved answers again before it is asked.
pub fn item(facts: &Facts) -> Option<Item> {
    let own = |own: &&Own| facts.get(own.probe).is_some_and(is_own);
    let left: Vec<&Own> = files().filter(own).collect();
    let resolved = own(&&RESOLVED);
    if left.is_empty() && !resolved && !facts.get("dns.resolv").is_some_and(is_own) {
        return None;
    }
    let server = facts.get(DNSMASQ.probe).and_then(|text| text.lines().find_map(|line| line.strip_prefix("server=")));
    let mut mend = Vec::new();
    if resolved {
        mend.extend([Step::Remove { path: RESOLVED.path.to_owned() }, restart_resolved()]);
    }
    mend.push(Step::script(5, RESTORE, &[SAVED, server.unwrap_or_default()]));
    mend.extend(left.iter().map(|own| Step::Remove { path: own.path.to_owned() }));
    mend.push(Step::script(5, SERVICE, &["disabled", "inactive"]));
    Some(Item::holds("DNS forwarder", false, "tpl's is there", "none", mend))
}

/// What takes the phase back, from the facts before its steps: every file, link and service is again what it was.
pub fn undo(facts: &Facts) -> Vec<Step> {
    let state = facts.get("dns.state").unwrap_or_default();
    let was = |own: &Own| match facts.whole(own.probe) {
        Some(content) => Step::Write { path: own.path.to_owned(), mode: 0o644, content: content.to_owned() },
        None => Step::Remove { path: own.path.to_owned() },
    };
    let mut steps = vec![was(&RESOLVED), restart_resolved()];
    steps.push(match (value(state, "link"), facts.whole("dns.resolv")) {
        (Some(target), _) => Step::script(5, PUT_BACK, &["link", target]),
        (None, Some(content)) => Step::script(5, PUT_BACK, &["file", content]),
        (None, None) => Step::Remove { path: RESOLV.to_owned() },
    });
    if value(state, "saved").is_none() {
        steps.push(Step::Remove { path: SAVED.to_owned() });
    }
    steps.extend(files().map(was));
    let (enabled, active) = value(state, "dnsmasq").and_then(|states| states.split_once(' ')).unwrap_or_default();
    steps.push(Step::script(5, SERVICE, &[enabled, active]));
    steps
}
