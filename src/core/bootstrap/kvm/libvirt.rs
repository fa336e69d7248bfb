//! libvirt: running, and open to the operator.

use crate::core::bootstrap::{
    Facts, Item, Probe, Step, Wish,
    text::{plain, value, values},
};

/// The groups that may use libvirt's socket and the processor's virtualisation.
const GROUPS: [&str; 2] = ["libvirt", "kvm"];

/// What starts libvirt with the machine: one daemon, or one for each kind of thing, by itself or by its socket. And whether it answers:
/// it may hang.
const STATE: &str = r#"if [ -d /run/systemd/system ]; then
  echo systemd
  for unit in libvirtd.service libvirtd.socket virtqemud.service virtqemud.socket; do
    [ "$(systemctl is-enabled "$unit" 2>/dev/null)" != enabled ] || echo "enabled $unit"
  done
fi
command -v virsh >/dev/null || exit 0
echo there
said=$(timeout -k 5 60 virsh -q -c qemu:///system version 2>&1 </dev/null) && echo answers || echo "says $(printf '%s' "$said" | tail -n 1)""#;

/// Which of the groups `$2` there are, and which the user `$1` is in.
const IN_GROUPS: &str = r#"for group in $2; do ! getent group "$group" >/dev/null || echo "group $group"; done
groups=$(id -nG -- "$1") || exit
for group in $groups; do echo "in $group"; done"#;

/// One daemon, or one for each kind of thing: whichever this release has. Where there is no systemd, as its own script starts it, or by
/// itself.
const START: &str = r#"# start libvirt
if [ -d /run/systemd/system ]; then
  if systemctl -q cat libvirtd.service >/dev/null 2>&1; then
    systemctl -q enable --now libvirtd.socket virtlogd.socket libvirtd.service || exit
  else
    systemctl -q enable --now virtlogd.socket virtqemud.socket virtnetworkd.socket virtstoraged.socket virtsecretd.socket virtnodedevd.socket || exit
  fi
  systemctl -q is-active systemd-machined.service || systemctl start systemd-machined.service || exit
elif ! timeout 60 virsh -q -c qemu:///system version >/dev/null 2>&1; then
  # libvirt wants the machine to have an identity, which a container image leaves empty.
  [ -s /etc/machine-id ] || tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
  mkdir -p /run/libvirt
  for daemon in virtlogd libvirtd; do "$daemon" -d </dev/null >/dev/null 2>&1 || true; done
fi
tries=0
until said=$(timeout -k 5 60 virsh -q -c qemu:///system version 2>&1 </dev/null); do
  tries=$((tries + 1))
  [ "$tries" -lt 30 ] || { printf '%s\n' "$said" >&2; exit 1; }
  sleep 2
done"#;

/// What the machine is asked.
pub fn probes(wish: &Wish) -> Vec<Probe> {
    let mut probes = vec![Probe::new("kvm.libvirt", STATE)];
    if let Some(user) = user(wish) {
        probes.push(Probe::with("kvm.groups", IN_GROUPS, &[user, &GROUPS.join(" ")]));
    }
    probes
}

/// Root needs no group.
fn user(wish: &Wish) -> Option<&str> {
    wish.user.as_ref().map(crate::core::names::UserName::as_str).filter(|user| *user != "root")
}

/// libvirt runs, is started with the machine, and the user may use it.
pub fn items(facts: &Facts, wish: &Wish) -> Vec<Item> {
    let state = facts.get("kvm.libvirt").unwrap_or_default();
    let start = Step::script(30, START, &[]);
    let mut items = Vec::new();
    // Without systemd there is nothing that could be told to start it.
    if value(state, "systemd").is_some() {
        let enabled = value(state, "enabled").is_some();
        items.push(Item::holds("libvirt at the machine's start", enabled, "not started", "started", vec![start.clone()]));
    }
    let is = match value(state, "says") {
        _ if value(state, "there").is_none() => "absent".to_owned(),
        Some("") | None => "no answer".to_owned(),
        Some(said) => plain(said),
    };
    items.push(Item::holds("libvirt", value(state, "answers").is_some(), &is, "answers", vec![start]));
    items.extend(user(wish).into_iter().flat_map(|user| groups(facts, user)));
    items
}

/// The groups come with packages: before these are there, they are expected.
fn groups(facts: &Facts, user: &str) -> Vec<Item> {
    let answer = facts.get("kvm.groups").unwrap_or_default();
    let has = |key: &str, group: &str| values(answer, key).any(|found| found == group);
    let installed = facts.get("kvm.libvirt").is_some_and(|state| value(state, "there").is_some());
    let expected = |group: &&&str| !installed || has("group", group);
    let one = |group: &&str| {
        // By the one of two programs that takes users who are not in the machine's own files.
        let join = "# join the user to the group\n! getent group \"$2\" >/dev/null || gpasswd -a \"$1\" \"$2\"";
        let mend = vec![Step::script(5, join, &[user, group])];
        Item::holds(format!("group {group} of {user}"), has("in", group), "not a member", "a member", mend)
    };
    GROUPS.iter().filter(expected).map(one).collect()
}
