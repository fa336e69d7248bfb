//! The pool: a folder, or a volume group.

use super::device::{self, carries};
use crate::core::{
    bootstrap::{
        Facts, Item, Probe, Step, Wish,
        record::{GroupName, RECORD},
        text::{plain, value, values},
    },
    error::Refusal,
    lvm::group_of,
};

const FOLDER: &str = "/var/lib/libvirt/images";

/// How the pool `$1` is, as libvirt tells it.
const STATE: &str = r#"command -v virsh >/dev/null || exit 0
virsh() { timeout -k 5 60 virsh -q -c qemu:///system "$@" </dev/null; }
! virsh pool-list --all --name | sed 's/ *$//' | grep -Fqx -- "$1" || { echo defined; virsh pool-info "$1" | sed -n 's/^\(State\|Autostart\): */\1 /p'; }"#;

/// Its definition, or nothing.
const DEFINITION: &str = r#"command -v virsh >/dev/null || exit 0
timeout -k 5 60 virsh -q -c qemu:///system pool-dumpxml --inactive "$1" </dev/null 2>/dev/null || true"#;

/// Whether there is the volume group `$1`. Without lvm2 nobody knows, if there are devices of some group.
const GROUP: &str = r#"if command -v vgs >/dev/null; then
  echo lvm
  groups=$(vgs --noheadings -o vg_name) || exit
  ! printf '%s\n' "$groups" | sed 's/ //g' | grep -Fqx -- "$1" || echo there
else
  blkid -t TYPE=LVM2_member -o device | sed 's/^/member /'
fi"#;

const DEVICE: &str = concat!(carries!(), r#"carries "$1""#);

/// The device `$1` becomes the volume group `$2`, if it is as empty as it was. By one program: between two of them it would be a device
/// that carries something. It asks before it wipes anything, and there is nobody to answer.
const MAKE_GROUP: &str = concat!(
    "# make a volume group of the device, which must be empty\n",
    carries!(),
    r#"vgs "$2" >/dev/null 2>&1 && exit 0
device=$(readlink -f -- "$1") && found=$(carries "$device") || exit
left=$(printf '%s\n' "$found" | grep -v -e '^size [1-9]' -e '^path ')
[ -z "$left" ] && [ -n "$found" ] || { printf '%s carries something: %s\n' "$1" "$left" >&2; exit 1; }
vgcreate "$2" "$device" </dev/null"#
);

/// The pool `$1` is that volume group, runs, now and when the machine starts.
const LOGICAL: &str = r#"# make the volume group a pool
virsh() { timeout -k 5 120 virsh -q -c qemu:///system "$@" </dev/null; }
vgs "$1" >/dev/null || exit
virsh pool-info "$1" >/dev/null 2>&1 || virsh pool-define-as "$1" logical --source-name "$1" --target "/dev/$1" || exit
virsh pool-info "$1" | grep -q '^State: *running' || virsh pool-start "$1" || exit
virsh pool-autostart "$1""#;

/// The pool `$1` is the folder `$2`.
const DIRECTORY: &str = r#"# make the folder a pool
virsh() { timeout -k 5 120 virsh -q -c qemu:///system "$@" </dev/null; }
virsh pool-info "$1" >/dev/null 2>&1 || virsh pool-define-as "$1" dir --target "$2" || exit
if ! virsh pool-info "$1" | grep -q '^State: *running'; then
  [ -d "$2" ] || virsh pool-build "$1" || exit
  virsh pool-start "$1" || exit
fi
virsh pool-autostart "$1""#;

/// What the machine is asked.
pub fn probes(wish: &Wish) -> Vec<Probe> {
    let pool = wish.record.pool();
    let mut probes = vec![Probe::with("kvm.pool", STATE, &[pool]), Probe::with("kvm.pool-xml", DEFINITION, &[pool])];
    if let Some(group) = &wish.record.vg {
        probes.push(Probe::with("kvm.group", GROUP, &[group.as_str()]));
        probes.extend(wish.device.as_ref().map(|device| Probe::with("kvm.device", DEVICE, &[device.as_str()])));
    }
    probes
}

/// It runs, and is started with the machine. Of a volume group, that there is one.
///
/// # Errors
/// Its device carries something, there is neither a group nor a device, or the pool is another.
pub fn items(facts: &Facts, wish: &Wish) -> Result<Vec<Item>, Refusal> {
    let Some(group) = &wish.record.vg else {
        return Ok(vec![pool(facts, wish, Step::script(10, DIRECTORY, &[wish.record.pool(), FOLDER]))]);
    };
    is_of(facts, group)?;
    let mut items = vec![group_item(facts, wish, group)?];
    items.push(pool(facts, wish, Step::script(10, LOGICAL, &[group.as_str()])));
    Ok(items)
}

fn pool(facts: &Facts, wish: &Wish, mend: Step) -> Item {
    const SHOULD: &str = "running, and started with the machine";
    let state = facts.get("kvm.pool").unwrap_or_default();
    let is = match (value(state, "State") == Some("running"), value(state, "Autostart") == Some("yes")) {
        _ if value(state, "defined").is_none() => "absent",
        (true, true) => SHOULD,
        (true, false) => "running, and not started with the machine",
        (false, true) => "not running",
        (false, false) => "not running, and not started with the machine",
    };
    Item::compare(format!("pool {}", wish.record.pool()), Some(is), SHOULD, vec![mend])
}

/// A pool of the group's name that is something else is somebody's.
fn is_of(facts: &Facts, group: &GroupName) -> Result<(), Refusal> {
    let Some(xml) = facts.get("kvm.pool-xml").filter(|xml| !xml.trim().is_empty()) else { return Ok(()) };
    let is = match group_of(xml) {
        Ok(Some(found)) if found == group.as_str() => return Ok(()),
        Ok(Some(found)) => format!("the volume group {found}"),
        Ok(None) => "no volume group".to_owned(),
        Err(why) => plain(&why),
    };
    let name = group.as_str();
    Err(Refusal::new(format!("libvirt has a pool {name} already, and it is another: {is}")).advise(format!(
        "take another group by --vg, or remove that pool: virsh pool-destroy {name}; virsh pool-undefine {name}"
    )))
}

fn group_item(facts: &Facts, wish: &Wish, group: &GroupName) -> Result<Item, Refusal> {
    let (what, name) = (format!("volume group {}", group.as_str()), group.as_str());
    let answer = facts.get("kvm.group").unwrap_or_default();
    if value(answer, "there").is_some() {
        return Ok(Item::holds(what, true, "", "there", Vec::new()));
    }
    let absent = |mend| Item::compare(&what, None, "there", mend);
    let Some(device) = &wish.device else {
        let members: Vec<&str> = values(answer, "member").collect();
        // Perhaps it is there: once lvm2 is, it tells.
        if value(answer, "lvm").is_none() && !members.is_empty() {
            return Ok(absent(Vec::new()));
        }
        let why = match facts.get("kvm.group") {
            Some(_) => format!("{what} is not there"),
            None => format!("LVM does not tell whether {what} is there: {}", plain(facts.why_not("kvm.group"))),
        };
        return Err(Refusal::new(why).advise(format!(
            "name an empty device that becomes it: --vg {name} --pv DEVICE; or make it by vgcreate; or leave --vg out, and out of {RECORD} there, for a pool in a folder"
        )));
    };
    if facts.get("kvm.group").is_none() {
        let why = plain(facts.why_not("kvm.group"));
        return Err(Refusal::new(format!("LVM does not tell whether {what} is there: {why}")));
    }
    let reasons = device::reasons(facts, device.as_str());
    if !reasons.is_empty() {
        let mut advice = "a device that carries anything is not touched: name an empty one by --pv".to_owned();
        // Of one that is in use nobody is told how to empty it.
        if reasons.iter().all(|reason| reason.contains(" carries ")) {
            let path = device.as_str();
            advice.push_str(&format!(". Where nothing on it is needed, `wipefs -a {path}` and `blkdiscard -z {path}` empty it"));
        }
        return Err(Refusal { reasons, advice: Some(advice) });
    }
    Ok(absent(vec![Step::script(10, MAKE_GROUP, &[device.as_str(), name])]))
}
