# shellcheck shell=bash
# What the scripts share. Sourced, not run.
say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# wait_for WHAT SECONDS COMMAND…: until COMMAND succeeds.
wait_for() {
  local what=$1 seconds=$2; shift 2
  for _ in $(seq "$seconds"); do
    "$@" >/dev/null 2>&1 && return 0
    sleep 1
  done
  die "waited $seconds s for $what"
}

# part NAME COMMAND…: runs it under a heading, and says how long it took.
part() {
  local name=$1 began=$SECONDS; shift
  step "$name: $*"
  "$@" || { local status=$?; say "-- $name: FAILED with exit code $status after $((SECONDS - began)) s"; return "$status"; }
  say "-- $name: $((SECONDS - began)) s"
}

# end PID [SECONDS]: ends a background job that has a process group of its own, with its children, and waits for it: so long before
# it is killed.
end() {
  [ -n "$1" ] || return 0
  kill -- "-$1" || return 0
  for _ in $(seq "$((${2:-10} * 5))"); do kill -0 -- "-$1" || return 0; sleep 0.2; done
  kill -KILL -- "-$1"
}

# remove_domain DOMAIN: from this machine's libvirt, with what undefining it would stumble over. Its disks stay.
remove_domain() {
  virsh -q -c qemu:///system destroy "$1"
  virsh -q -c qemu:///system undefine --nvram --snapshots-metadata "$1"
}

# The toolchain that scripts/setup may just have installed is not in this shell's PATH yet.
use_cargo() {
  # shellcheck source=/dev/null
  [ ! -r "${CARGO_HOME:-${HOME:-/root}/.cargo}/env" ] || . "${CARGO_HOME:-${HOME:-/root}/.cargo}/env"
  command -v cargo >/dev/null || die "cargo is not here: ./scripts/setup installs it"
}

# tpl_binary PROFILE: where cargo puts the program.
tpl_binary() { printf '%s/%s/tpl' "${CARGO_TARGET_DIR:-target}" "$1"; }

# debian_mirror: TPL_DEBIAN_MIRROR, or the mirror of this machine's own packages, where they are Debian's.
debian_mirror() {
  local site origin
  if [ -n "${TPL_DEBIAN_MIRROR:-}" ]; then printf '%s\n' "$TPL_DEBIAN_MIRROR"; return; fi
  # shellcheck disable=SC2016  # APT's own variables
  while read -r site origin; do
    if [ "$origin" = Debian ]; then printf '%s\n' "$site"; return; fi
  done < <(apt-get indextargets --format '$(REPO_URI) $(LABEL)' 'Created-By: Packages')
  die "no Debian mirror is known: this machine's APT configuration names none; name one by TPL_DEBIAN_MIRROR"
}
