# shellcheck shell=bash
# What the benches share. Sourced, not run.

# measured FILE COMMAND…: appends "SECONDS PEAK_KIB" to FILE; what the command prints goes to FILE.log.
# The peak is the program's own, looked up in /proc while it runs: getrusage(2) would count the appliance's QEMU, which the
# program waits for.
measured() {
  python3 - "$@" <<'PYTHON'
import os, subprocess, sys, threading, time
file, command = sys.argv[1], sys.argv[2:]
with open(file + ".log", "ab") as log:
    began = time.monotonic()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    peak = 0
    def watch():
        global peak
        while child.returncode is None:
            try:
                with open(f"/proc/{child.pid}/status") as status:
                    for line in status:
                        if line.startswith("VmHWM:"):
                            peak = max(peak, int(line.split()[1]))
            except OSError:
                return
            time.sleep(0.02)
    thread = threading.Thread(target=watch)
    thread.start()
    child.wait()
    seconds = time.monotonic() - began
    thread.join()
if child.returncode:
    sys.exit(f"{' '.join(command)}: exit code {child.returncode}, see {file}.log:\n" + open(file + ".log", errors="replace").read()[-2000:])
with open(file, "a") as out:
    out.write(f"{seconds:.3f} {peak}\n")
PYTHON
}

# median FILE [COLUMN]: the median of a column, the first by default.
median() {
  python3 - "$1" "${2:-1}" <<'PYTHON'
import statistics, sys
print(f"{statistics.median(float(line.split()[int(sys.argv[2]) - 1]) for line in open(sys.argv[1])):.3f}")
PYTHON
}

# ratio NAME OURS PEERS TARGET: a line of the result; fails if the target is missed.
ratio() {
  python3 - "$@" <<'PYTHON'
import sys
name, ours, peers, target = sys.argv[1], *map(float, sys.argv[2:])
value = ours / peers
shown = f"{value:.2f}" if value >= 0.2 else f"1/{1 / value:.0f}"
wanted = f"{target:.2f}" if target >= 0.2 else f"1/{1 / target:.0f}"
print(f"{name:32} tpl {ours:8.2f} s   peers {peers:8.2f} s   ratio {shown:>6}   wanted {wanted:>5} or less   {'ok' if value <= target else 'MISSED'}")
sys.exit(value > target)
PYTHON
}

# memory KIB: the same for the peak.
memory() {
  python3 - "$1" <<'PYTHON'
import sys
mb = float(sys.argv[1]) * 1024 / 1e6
print(f"{'peak memory of tpl':32} {mb:12.1f} MB   wanted 50 MB or less   {'ok' if mb <= 50 else 'MISSED'}")
sys.exit(mb > 50)
PYTHON
}

# accelerated: whether KVM works, as tpl has found out.
accelerated() { "$1" doctor --output json | python3 -c 'import json, sys; sys.exit(all(c["health"] != "ok" for c in json.load(sys.stdin) if c["name"] == "kvm"))'; }

# peers_environment TPL: libguestfs for the peers, as tpl has it for itself.
peers_environment() {
  export LIBGUESTFS_BACKEND=direct LC_ALL=C
  if accelerated "$1"; then say "KVM works here"; else
    say "KVM does not work here: everything is emulated"
    export LIBGUESTFS_BACKEND_SETTINGS=force_tcg
  fi
}

# runs ARGUMENT…: reads --runs N (3 by default) into `runs`, and what is left into `rest`.
runs=3
rest=()
read_runs() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --runs) runs=${2:-}; shift ;;
      --runs=*) runs=${1#--runs=} ;;
      -*) die "unknown option $1" ;;
      *) rest+=("$1") ;;
    esac
    shift
  done
  [[ $runs =~ ^[1-9][0-9]*$ ]] || die "--runs wants a number from 1"
  [ "$runs" -ge 3 ] || say "note: medians are of $runs run(s); 3 or more are meant"
}
