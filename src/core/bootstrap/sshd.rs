//! The phase `ssh`: the operator's key in, passwords and root out.
//!
//! What sshd is to say is a file of its own, before all others that the distribution includes: of two that say the same, sshd takes the
//! first. What counts is what sshd itself makes of all of its files for whoever logs in from where this login comes from (`sshd -T -C`).

mod directives;
mod keys;

use super::{Facts, Item, Probe, Step, Wish, text::plain};
use crate::core::error::Refusal;
use directives::{Overridden, Said};

/// The file with all that tpl says to sshd.
pub const DROP_IN: &str = "/etc/ssh/sshd_config.d/10-tpl-hardening.conf";
const MAIN: &str = "/etc/ssh/sshd_config";
const INCLUDE: &str = "Include /etc/ssh/sshd_config.d/*.conf";
/// The mode of sshd's files: the benchmark's 5.2.1 wants them to be root's alone.
const MODE: u32 = 0o600;

/// Lets sshd read its files, if it can: it is asked first.
const RELOAD: &str = r#"# let sshd read its files anew, if it can
set -e
sshd=$(command -v sshd)
"$sshd" -t
if [ ! -d /run/systemd/system ]; then
  if [ -s /run/sshd.pid ]; then kill -HUP "$(cat /run/sshd.pid)"; fi
  exit
fi
for unit in ssh sshd; do
  systemctl cat "$unit.service" >/dev/null 2>&1 || continue
  # One that a socket starts reads its files when it starts.
  if ! systemctl is-active --quiet "$unit.service" && systemctl is-active --quiet "$unit.socket"; then exit; fi
  exec systemctl reload-or-restart "$unit.service"
done
echo "there is no service of sshd" >&2
exit 1"#;

/// What sshd makes of its files for a user, and where this login comes from: `$1` is the user, or empty for who has logged in.
const EFFECTIVE: &str = r#"user=${1:-${SUDO_USER:-$(id -un)}}
pid=$$
from=
while [ -z "$from" ] && [ "$pid" -gt 1 ]; do
  from=$(tr '\0' '\n' <"/proc/$pid/environ" | sed -n 's/^SSH_CONNECTION=//p')
  pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status")
done
set -- ${from:-127.0.0.1 0 127.0.0.1 22}
exec "$(command -v sshd)" -T -C "user=$user,host=$1,addr=$1,laddr=$3,lport=$4""#;

/// What sshd says of a file with all directives, each on a line, `$1`.
const CANDIDATE: &str = r#"file=$(mktemp) || exit
trap 'rm -f "$file"' EXIT
printf '%s\n' "$1" >"$file"
"$(command -v sshd)" -t -f "$file" 2>&1
exit 0"#;

/// Every line of sshd's files that names one of our directives, or begins a block: `FILE:LINE`.
const LINES: &str = r#"cd /etc/ssh && grep -HinE "^[[:space:]]*(match|$1)([[:space:]=]|$)" sshd_config.d/*.conf sshd_config 2>/dev/null
exit 0"#;

/// What the machine is asked.
pub fn probes(wish: &Wish) -> Vec<Probe> {
    let user = wish.user.as_ref().map_or("", |user| user.as_str());
    let mut probes = vec![
        Probe::file("ssh.main", MAIN),
        Probe::file("ssh.drop-in", DROP_IN),
        Probe::new(
            "ssh.modes",
            "stat -Lc '%a %n' /etc/ssh/sshd_config /etc/ssh/sshd_config.d/10-tpl-hardening.conf 2>/dev/null; true",
        ),
        Probe::with("ssh.effective", EFFECTIVE, &[user]),
        Probe::with("ssh.root", EFFECTIVE, &["root"]),
        Probe::with("ssh.candidate", CANDIDATE, &[&directives::candidate()]),
        Probe::with("ssh.lines", LINES, &[&directives::names()]),
    ];
    probes.extend(keys::probes(user));
    probes
}

/// What is to be so.
///
/// # Errors
/// [`Refusal`]: root logs in, who would be locked out; or sshd's files, or the user's, are none that can be added to.
pub fn items(facts: &Facts, wish: &Wish) -> Result<Vec<Item>, Refusal> {
    keys::check_user(facts, wish)?;
    let main = facts.whole("ssh.main").ok_or_else(|| unreadable(MAIN, facts.why_not("ssh.main")))?;
    let said = Said::parse(facts.get("ssh.candidate").unwrap_or_default());
    if said.is_unknown("Include") {
        return Err(Refusal::new("its sshd is older than 8.2, and takes no configuration in several files")
            .advise("this is for Debian 12 and Ubuntu 22.04, and later"));
    }
    let effective = facts.whole("ssh.effective").ok_or_else(|| {
        let why = facts.why_not("ssh.effective");
        Refusal::new(format!("sshd does not read its own configuration: {why}")).advise("`sshd -t` there must find no fault")
    })?;
    if facts.whole("ssh.drop-in").is_none() && facts.why_not("ssh.drop-in") != "exit code 1" {
        return Err(unreadable(DROP_IN, facts.why_not("ssh.drop-in")));
    }
    let mut items = keys::items(facts, wish)?;
    items.extend(config_items(facts, main, effective, &said));
    Ok(items)
}

fn unreadable(file: &str, why: &str) -> Refusal {
    Refusal::new(format!("{file} cannot be read: {why}")).advise("it is not rewritten: mend it by hand, or say --skip ssh")
}

fn config_items(facts: &Facts, main: &str, effective: &str, said: &Said) -> Vec<Item> {
    let wanted = directives::wanted(effective, said);
    let content = directives::drop_in(&wanted);
    let write = |path: &str, content: &str| Step::Write { path: path.to_owned(), mode: MODE, content: content.to_owned() };
    let write_drop_in = write(DROP_IN, &content);
    let reload = Step::script(2, RELOAD, &[]);
    let write_main = write(MAIN, &format!("{INCLUDE}\n{main}"));
    let included = is_included(main);
    let include = Item::holds(
        format!("{MAIN}: Include"),
        included,
        "not before all else",
        INCLUDE,
        vec![write_main, write_drop_in.clone(), reload.clone()],
    );
    let is = facts.whole("ssh.drop-in");
    let mode = facts.get("ssh.modes").unwrap_or_default().lines().any(|line| line == format!("600 {DROP_IN}"));
    let mend = vec![write_drop_in, reload];
    let mut items = vec![include, Item::file(DROP_IN, is, MODE, &content, mend[1..].to_vec())];
    if is.is_some() {
        items.push(Item::holds(format!("mode of {DROP_IN}"), mode, "other than 0600", "0600", mend.clone()));
    }
    // Where all is said already, and sshd makes something else of it, saying it once more helps nobody.
    let mend = if included && is == Some(content.as_str()) { Vec::new() } else { mend };
    let overridden = Overridden::parse(facts.get("ssh.lines").unwrap_or_default());
    for directive in &wanted {
        let of = |text| directives::value(text, directive.name).unwrap_or("absent");
        let (user, root) = (of(effective), of(facts.whole("ssh.root").unwrap_or(effective)));
        let differs = |is: &str| !is.eq_ignore_ascii_case(directive.value);
        let is = if !differs(user) && differs(root) { format!("{root} for root") } else { user.to_owned() };
        let is = match overridden.by(directive, user) {
            Some(by) if is != directive.value && mend.is_empty() => format!("{is} ({by})"),
            _ => is,
        };
        let is = if differs(user) || differs(root) { is } else { directive.value.to_owned() };
        items.push(Item::compare(directive.name, Some(&plain(&is)), directive.value, mend.clone()));
    }
    // Nobody can be asked about every login that there could be.
    let others = overridden.in_blocks(&wanted);
    if !others.is_empty() {
        items.push(Item::unknown("logins in Match blocks", format!("some get something else: {}", others.join("; "))));
    }
    items
}

/// Whether the first thing that the main file says is to read the others.
fn is_included(main: &str) -> bool {
    let first = main.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let words: Vec<&str> = first.unwrap_or_default().split([' ', '\t', '=']).filter(|word| !word.is_empty()).collect();
    let patterns = ["/etc/ssh/sshd_config.d/*.conf", "sshd_config.d/*.conf"];
    words.first().is_some_and(|word| word.eq_ignore_ascii_case("include"))
        && words.iter().skip(1).any(|word| patterns.contains(&word.trim_matches('"')))
}

#[cfg(test)]
mod tests;
