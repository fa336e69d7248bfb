//! The operator's key in the user's `authorized_keys`.

use super::{Facts, Item, Probe, Refusal, Step, Wish};
use crate::core::{bootstrap::text::plain, quoted::quoted};

/// Who logs in, as `getent passwd` tells: `$1`, or who has.
const USER: &str = r#"getent passwd -- "${1:-${SUDO_USER:-$(id -un)}}""#;

/// What the user's file of keys holds, `$1` being the user; nothing where there is none. What a link leads to is read as it is by sshd.
const AUTHORIZED: &str = r#"entry=$(getent passwd -- "${1:-${SUDO_USER:-$(id -un)}}") || exit
home=$(printf '%s' "$entry" | cut -d: -f6)
file=$home/.ssh/authorized_keys
if [ -L "$file" ] && [ ! -e "$file" ]; then echo 'it is a link to nowhere' >&2; exit 2; fi
[ -e "$file" ] || exit 0
[ -f "$file" ] || { echo 'it is no file' >&2; exit 2; }
[ "$(wc -c <"$file")" -le 900000 ] || { echo 'it is larger than any such file' >&2; exit 2; }
cat -- "$file""#;

/// Mode and owner of the user's home, `.ssh` and file of keys, where they are: `700 admin home`. What a link leads to may be others', too.
const MODES: &str = r#"entry=$(getent passwd -- "${1:-${SUDO_USER:-$(id -un)}}") || exit
home=$(printf '%s' "$entry" | cut -d: -f6)
for name in home .ssh authorized_keys; do
  case $name in home) path=$home ;; .ssh) path=$home/.ssh ;; *) path=$home/.ssh/authorized_keys ;; esac
  if [ -L "$path" ]; then name=linked; fi
  if [ -e "$path" ]; then printf '%s %s %s\n' "$(stat -Lc '%a %U' -- "$path")" "$name" "$path"; fi
done"#;

/// Adds the line `$2` to the user's file, whose home is `$1`, unless a line has its key `$3`. Run by the user, who owns all of it: so no
/// link leads root anywhere. What is in the file stays, byte for byte.
const ADD: &str = r#"# add the key, unless it is there
set -eu
umask 077
mkdir -p -- "$1/.ssh"
file=$1/.ssh/authorized_keys
if [ -L "$file" ]; then file=$(readlink -f -- "$file"); fi
if [ -e "$file" ] && grep -vE "^[[:space:]]*#" -- "$file" | grep -qF -- "$3"; then exit; fi
temp=$(mktemp "$(dirname -- "$file")/.tpl.XXXXXXXXXX")
trap "rm -f -- \"\$temp\"" EXIT
if [ -e "$file" ]; then
  cat -- "$file" >"$temp"
  if [ -n "$(tail -c 1 -- "$temp")" ]; then echo >>"$temp"; fi
fi
printf "%s\n" "$2" >>"$temp"
sync -- "$temp"
mv -fT -- "$temp" "$file""#;

/// Makes the user `$1` with the home `$2` the owner of `.ssh` and the file in it, where they are no links.
const OWN: &str = r#"# give the user their own files of keys
set -e
for path in "$2/.ssh" "$2/.ssh/authorized_keys"; do
  if [ ! -L "$path" ] && [ "$(stat -c %U -- "$path")" != "$1" ]; then chown -h -- "$1:" "$path"; fi
done"#;

/// The modes that sshd wants around a file of keys, by the user with the home `$1`.
const CLOSE: &str = r#"# close the files of keys to others
set -e
chmod go-w -- "$1"
[ -L "$1/.ssh" ] || chmod 700 -- "$1/.ssh"
[ -L "$1/.ssh/authorized_keys" ] || chmod 600 -- "$1/.ssh/authorized_keys""#;

/// What is asked of the user's files. None of a user is as good as who has logged in.
pub fn probes(user: &str) -> [Probe; 3] {
    [
        Probe::with("ssh.user", USER, &[user]),
        Probe::with("ssh.keys", AUTHORIZED, &[user]),
        Probe::with("ssh.key-modes", MODES, &[user]),
    ]
}

/// The user's name and home.
fn user_and_home(facts: &Facts) -> Option<(&str, &str)> {
    let mut fields = facts.get("ssh.user")?.split(':');
    Some((fields.next()?, fields.nth(4)?)).filter(|(user, home)| !user.is_empty() && home.starts_with('/'))
}

/// That it is not root who logs in, and would be locked out.
///
/// # Errors
/// [`Refusal`].
pub fn check_user(facts: &Facts, wish: &Wish) -> Result<(), Refusal> {
    let root = match (&wish.user, user_and_home(facts)) {
        (Some(user), _) => user.as_str() == "root",
        (None, Some((user, _))) => user == "root",
        (None, None) => false,
    };
    if root {
        let reason = "root logs in, and would be locked out: the phase ssh lets root log in no more";
        return Err(Refusal::new(reason).advise("log in as a user who may use sudo, or say --skip ssh"));
    }
    Ok(())
}

/// The key, where one is to be in, and what sshd wants of the files around it.
///
/// # Errors
/// [`Refusal`]: there is no such user, or the file is none that could be added to.
pub fn items(facts: &Facts, wish: &Wish) -> Result<Vec<Item>, Refusal> {
    let Some(key) = &wish.key else {
        return Ok(user_and_home(facts).map_or_else(Vec::new, |(user, home)| modes(facts, user, home, &[])));
    };
    let (user, home) = user_and_home(facts).ok_or_else(|| {
        Refusal::new("who logs in has no entry in passwd there, and no home for a key")
            .advise("log in as another user, or say --skip ssh")
    })?;
    let file = format!("{home}/.ssh/authorized_keys");
    let text = facts.whole("ssh.keys").ok_or_else(|| {
        let reason = format!("{file} is not added to: {}", facts.why_not("ssh.keys"));
        Refusal::new(reason).advise("mend it by hand, or say --skip ssh")
    })?;
    if let Some(list) = super::directives::value(facts.whole("ssh.effective").unwrap_or_default(), "AuthorizedKeysFile") {
        let usual = [".ssh/authorized_keys", "%h/.ssh/authorized_keys", &file];
        if !list.split_whitespace().any(|word| usual.contains(&word)) {
            let reason = format!("its sshd looks for keys in {} alone (AuthorizedKeysFile), not in {file}", quoted(list));
            return Err(Refusal::new(reason).advise("put the key there by hand and say --skip ssh, or take the directive out"));
        }
    }
    let (public, held) = (key.key(), lines_with(text, &key.key()));
    if let Some(line) = held.iter().find(|line| line.contains("command=")) {
        let reason = format!("{file} has the key already, for one command alone: {}", quoted(line));
        return Err(Refusal::new(reason).advise("name another key with --ssh-key, or take the line out"));
    }
    let by_user = |script, arguments: &[&str]| {
        let words = ["runuser", "-u", user, "--", "sh", "-c", script, "sh"];
        Step::run_for(1, &[&words, arguments].concat())
    };
    let add = by_user(ADD, &[home, &key.to_string(), &public]);
    let own = vec![Step::script(1, OWN, &[user, home]), by_user(CLOSE, &[home])];
    let mend = std::iter::once(add).chain(own.clone()).collect();
    let mut items = vec![Item::holds(format!("key in {file}"), !held.is_empty(), "absent", "present", mend)];
    items.extend(modes(facts, user, home, &own));
    Ok(items)
}

/// What sshd wants around the file of keys. A file that is not there yet is made with the modes that it needs.
fn modes(facts: &Facts, user: &str, home: &str, own: &[Step]) -> Vec<Item> {
    let mut items = Vec::new();
    for line in facts.get("ssh.key-modes").unwrap_or_default().lines() {
        let mut words = line.splitn(4, ' ');
        let (Some(mode), Some(owner), Some(name)) = (words.next(), words.next(), words.next()) else { continue };
        let told = format!("{}'s, mode {}", plain(owner), plain(mode));
        let (what, is, should) = match name {
            "home" => (home.to_owned(), closed(mode), CLOSED.to_owned()),
            // What others may use too is not made anybody's own.
            "linked" if (owner == user || owner == "root") && closed(mode) == CLOSED => continue,
            "linked" => {
                let should = format!("{user}'s or root's, {CLOSED}");
                items.push(Item::compare(
                    format!("what {} leads to", words.next().unwrap_or(home)),
                    Some(&told),
                    &should,
                    Vec::new(),
                ));
                continue;
            }
            ".ssh" => (format!("{home}/.ssh"), told, format!("{user}'s, mode 700")),
            _ => (format!("{home}/.ssh/authorized_keys"), told, format!("{user}'s, mode 600")),
        };
        items.push(Item::compare(format!("owner and mode of {what}"), Some(&is), &should, own.to_vec()));
    }
    items
}

const CLOSED: &str = "closed to the writing of others";

/// sshd believes no keys below a folder that others can write to.
fn closed(mode: &str) -> String {
    let closed = u32::from_str_radix(mode, 8).is_ok_and(|bits| bits & 0o022 == 0);
    if closed { CLOSED.to_owned() } else { format!("mode {mode}") }
}

/// The lines that have a key.
fn lines_with<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines
        .filter(|line| {
            line.split_once(key).is_some_and(|(before, after)| {
                let apart = |c: Option<char>| c.is_none_or(|c| c == ' ' || c == '\t');
                apart(before.chars().last()) && apart(after.chars().next())
            })
        })
        .collect()
}
