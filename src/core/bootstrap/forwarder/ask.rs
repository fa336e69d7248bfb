//! What a machine is asked about its DNS.

use super::{DNSMASQ, HOOKS, RESOLV, RESOLVED, SAVED, UNIT};
use crate::core::bootstrap::Probe;

/// A shell's function `dns SERVER NAME`, which asks one server, past all configuration: prints `answer RCODE COUNT`, or `silent`. By the
/// part of Perl that every Debian has; programs that ask for DNS come in packages of their own.
macro_rules! dns {
    () => {
        r#"dns() {
  perl -MSocket -e '
    my ($server, $name) = @ARGV;
    socket(my $socket, PF_INET, SOCK_DGRAM, 0) or die "$!\n";
    connect($socket, pack_sockaddr_in(53, inet_aton($server))) or die "$server: $!\n";
    my $id = int(rand(65536));
    my $labels = join("", map { pack("C/a*", $_) } split(/\./, $name));
    for (1 .. 3) {
      send($socket, pack("n6", $id, 0x0100, 1, 0, 0, 0) . $labels . pack("C n2", 0, 1, 1), 0);
      my $ready = "";
      vec($ready, fileno($socket), 1) = 1;
      select($ready, undef, undef, 3) or next;
      defined recv($socket, my $answer, 4096, 0) or select(undef, undef, undef, 0.5), next;
      my ($same, $flags, undef, $count) = unpack("n4", $answer);
      next unless length($answer) >= 12 && $same == $id && $flags & 0x8000;
      print "answer ", $flags & 15, " $count\n";
      exit;
    }
    print "silent\n"' "$1" "$2"
}
"#
    };
}
pub(super) use dns;

/// What runs, and who else is at it. `$1` and `$3` are tpl's files for dnsmasq, `$2` the copy of the old resolv.conf.
const STATE: &str = r#"if [ -d /run/systemd/system ]; then
  echo systemd
  echo "dnsmasq $(systemctl is-enabled dnsmasq.service 2>/dev/null) $(systemctl is-active dnsmasq.service)"
  ! systemctl -q cat systemd-resolved.service >/dev/null 2>&1 || echo "resolved $(systemctl is-active systemd-resolved.service)"
else
  pid=$(cat /run/dnsmasq/dnsmasq.pid 2>/dev/null) && kill -0 "$pid" && echo "dnsmasq enabled active"
fi
[ "$(dpkg-query -W -f '${db:Status-Abbrev}' dnsmasq 2>/dev/null)" != "ii " ] || echo installed
[ ! -L /etc/resolv.conf ] || echo "link $(readlink /etc/resolv.conf)"
[ ! -e "$2" ] && [ ! -L "$2" ] || echo saved
[ ! "$1" -nt /run/dnsmasq/dnsmasq.pid ] && [ ! "$3" -nt /run/dnsmasq/dnsmasq.pid ] || echo stale
[ ! -d /etc/NetworkManager ] || echo manager
for file in /etc/dnsmasq.conf /etc/dnsmasq.d/*; do
  case $file in "$1" | */README | *.dpkg-*) continue ;; esac
  [ -f "$file" ] && grep -Eqv '^[[:space:]]*(#|$|bind-interfaces|except-interface=)' "$file" && echo "foreign $file"
done
ss -Hlnutp 'sport = :53' | awk '{print "listener", $5, $7}'
true"#;

/// Which way names go: the gateway, a name that the machine needs, whether it is resolved, what the gateway says to it.
const WAY: &str = concat!(
    dns!(),
    r#"gateway=$(ip -4 route show default | awk '{
  via = ""; metric = 0
  for (i = 1; i < NF; i++) { if ($i == "via") via = $(i + 1); if ($i == "metric") metric = $(i + 1) }
  if (via != "") print metric, via }' | sort -n | sed -n '1s/.* //p')
[ -z "$gateway" ] || echo "gateway $gateway"
name=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null | grep -v '^[[:space:]]*#' |
  sed -nE 's#.*https?://([^/ ]*@)?([A-Za-z0-9-]+\.[A-Za-z0-9.-]*[A-Za-z]).*#\2#p' | head -n 1)
[ -n "$name" ] || name=$(sed -n 's/^search[[:space:]]*\([A-Za-z0-9][A-Za-z0-9.-]*\).*/\1/p' /etc/resolv.conf 2>/dev/null | head -n 1)
if [ -n "$name" ]; then
  echo "name $name"
  ! timeout 30 getent ahosts "$name" >/dev/null || echo resolves
fi
[ -z "$gateway" ] || dns "$gateway" "$name""#
);

/// What the machine is asked, also where no forwarder is wanted: there may be one of tpl's.
pub fn probes() -> Vec<Probe> {
    let mut probes = vec![
        Probe::file("dns.file", DNSMASQ.path),
        Probe::file("dns.unit", UNIT.path),
        Probe::file("dns.resolved", RESOLVED.path),
        Probe::file("dns.resolv", RESOLV),
        Probe::with("dns.state", STATE, &[DNSMASQ.path, SAVED, UNIT.path]),
        Probe::new("dns.way", WAY),
    ];
    probes.extend(HOOKS.iter().map(|hook| Probe::file(hook.file.probe, hook.file.path)));
    probes
}
