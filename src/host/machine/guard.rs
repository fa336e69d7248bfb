//! What keeps the operator from being locked out: a process on the machine itself that puts sshd's files back, unless somebody who has
//! logged in anew tells it not to.
//!
//! All it has is in a folder of `/run/tpl-host` with a name of its own for each run, so that what a killed run has left there means
//! nothing. It holds a lock as long as it lives: there is one at a time, and who comes next waits until it has ended. Whoever is first
//! to rename `armed` has decided: the guard, which puts back, or the new login, which releases it.

/// Arms a guard: `TOKEN SECONDS FILE…`, the input is [`WATCH`]. Returns when it watches.
pub const ARM: &str = r#"set -eu
umask 077
token=$1 seconds=$2
shift 2
base=/run/tpl-host
folder=$base/guard-$token
mkdir -p -m 0700 "$base"
flock -w 100 "$base/guard.lock" true || { echo 'another guard does not end' >&2; exit 1; }
mkdir "$folder"
watching=
trap '[ -n "$watching" ] || rm -rf "$folder"' EXIT
cat >"$folder/watch"
[ "$(tail -n 1 "$folder/watch")" = '# end' ] || { echo 'it was cut off' >&2; exit 1; }
number=0
keep() {
  number=$((number + 1))
  if [ -d "$1" ] && [ ! -L "$1" ]; then echo "$1 is a folder" >&2; exit 1; fi
  if [ -L "$1" ] || [ -e "$1" ]; then cp -a -- "$1" "$folder/$number.old"; fi
  printf '%s' "$1" >"$folder/$number.path"
}
for file; do
  if [ -L "$file" ]; then keep "$(readlink -m -- "$file")"; fi
  keep "$file"
done
: >"$folder/armed"
watch() { "$@" flock -n "$base/guard.lock" sh "$folder/watch" "$folder" "$seconds"; }
# Out of this session in any case: it may break at any time from now on.
if [ -d /run/systemd/system ] && command -v systemd-run >/dev/null; then
  watch systemd-run --quiet --collect --unit="tpl-guard-$token" --
else
  watch setsid </dev/null >/dev/null 2>&1 &
fi
tries=0
while [ ! -e "$folder/watching" ]; do
  tries=$((tries + 1))
  [ "$tries" -le 200 ] || { echo 'it does not start' >&2; exit 1; }
  sleep 0.1
done
watching=yes
"#;

/// The guard: `FOLDER SECONDS`.
pub const WATCH: &str = r#"folder=$1 seconds=$2
restore() {
  file=$(cat "$1")
  old=${1%.path}.old
  if [ -L "$old" ] || [ -e "$old" ]; then
    temp=$(dirname -- "$file")/.tpl-${folder##*-}
    rm -f -- "$temp"
    cp -a -- "$old" "$temp" && mv -fT -- "$temp" "$file"
  else
    rm -f -- "$file"
  fi
}
reload() {
  # A daemon that runs is not sent into a configuration that it cannot read.
  sshd=$(PATH=$PATH:/usr/sbin:/sbin command -v sshd) && "$sshd" -t || return
  if [ ! -d /run/systemd/system ]; then
    { [ -s /run/sshd.pid ] && kill -HUP "$(cat /run/sshd.pid)"; } || service ssh restart
    return
  fi
  for unit in ssh sshd; do
    systemctl cat "$unit.service" >/dev/null 2>&1 || continue
    # One that a socket starts reads its files when it starts.
    if ! systemctl is-active --quiet "$unit.service" && systemctl is-active --quiet "$unit.socket"; then return; fi
    systemctl reload "$unit.service" || systemctl restart "$unit.service"
    sleep 2
    systemctl is-active --quiet "$unit.service" || systemctl restart "$unit.service"
    return
  done
}
put_back() {
  mv -T "$folder/armed" "$folder/fired" 2>/dev/null || return
  for path in "$folder"/*.path; do
    [ ! -e "$path" ] || restore "$path"
  done
  sync
  reload
}
end() {
  put_back
  rm -rf "$folder"
  exit
}
# A machine that is shut down before the time is over must not come back with what nobody has tried.
trap end HUP INT TERM
: >"$folder/watching"
passed=0
while [ "$passed" -lt "$seconds" ] && [ -e "$folder/armed" ] && [ ! -e "$folder/now" ]; do
  sleep 1 &
  wait "$!"
  passed=$((passed + 1))
done
end
# end
"#;

/// Takes a guard away: `TOKEN`.
pub const RELEASE: &str = r#"folder=/run/tpl-host/guard-$1
mv -T "$folder/armed" "$folder/released" 2>/dev/null || { echo 'the time is over: everything is being put back' >&2; exit 1; }
"#;

/// Makes a guard put everything back now: `TOKEN`. Returns when it has.
pub const PUT_BACK: &str = r#"folder=/run/tpl-host/guard-$1
tries=0
while [ -d "$folder" ]; do
  : 2>/dev/null >"$folder/now" || true
  tries=$((tries + 1))
  [ "$tries" -le 600 ] || { echo 'the guard does not end' >&2; exit 1; }
  sleep 0.1
done
"#;

/// Keeps others away for as long as its input is open: `WHO`. Its first line is `locked`, or `held` and who holds it. A guard that a
/// killed run has left is waited for: what is put back meanwhile would be taken for what is.
pub const LOCK: &str = r#"umask 077
mkdir -p -m 0700 /run/tpl-host && exec 9>>/run/tpl-host/lock || exit
if ! flock -n 9; then
  printf 'held %s\n' "$(head -c 200 /run/tpl-host/lock | tr -d '\n')"
  exit
fi
flock -w 100 /run/tpl-host/guard.lock true || exit
printf '%s (process %s there)\n' "$1" "$$" >/run/tpl-host/lock
echo locked
exec cat >/dev/null
"#;
