//! Whether `/dev/kvm` really works: only starting something tells.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::core::{
    bootstrap::{
        Facts, Item, Probe, State,
        text::{plain, value},
    },
    domain::kvm_probe_disk,
};

/// Starts the sector `$1`. A guest that works powers its machine off; one that fails begins anew for ever, or stands still. There are hosts
/// on which the emulator cannot even be killed: nobody waits for it then.
const TRY: &str = r#"[ -e /dev/kvm ] || { echo "absent $(grep -Eom1 '^flags.* (vmx|svm)( |$)' /proc/cpuinfo | grep -Eo '(vmx|svm)' | tail -n 1)"; exit 0; }
command -v qemu-system-x86_64 >/dev/null || { echo untried; exit 0; }
folder=$(mktemp -d) || exit
printf '%s' "$1" | base64 -d >"$folder/disk" && truncate -s 1M "$folder/disk" || exit
(
  timeout -k 2 15 qemu-system-x86_64 -accel kvm -machine pc -cpu host -m 64 -nodefaults -display none -drive "if=virtio,format=raw,file=$folder/disk" \
    </dev/null >"$folder/said" 2>&1
  echo "$?" >"$folder/code.new"
  mv "$folder/code.new" "$folder/code"
) &
tries=0
while [ ! -e "$folder/code" ] && [ "$tries" -lt 200 ]; do
  tries=$((tries + 1))
  sleep 0.1
done
case $(cat "$folder/code" 2>/dev/null) in
  0) echo works ;;
  '') echo hangs ;;
  124 | 137) echo "fails a guest does not come to its end" ;;
  *) echo "fails $(tail -n 1 "$folder/said")" ;;
esac
rm -rf "$folder""#;

const WHAT: &str = "/dev/kvm";
const SLOW: &str = "guests will be emulated, many times slower";
const ENABLE: &str = "enable VT-x or AMD-V in the firmware, or nested virtualisation where this machine is a guest itself";

/// What the machine is asked.
pub fn probe() -> Probe {
    let disk = kvm_probe_disk();
    Probe::with("kvm.works", TRY, &[&BASE64_STANDARD.encode(&disk[..512])])
}

/// It works, or how slow guests will be: no step of tpl's changes that. Nothing while there is nothing to try it with.
pub fn item(facts: &Facts) -> Option<Item> {
    let Some(answer) = facts.get("kvm.works") else {
        return Some(Item::unknown(WHAT, format!("it could not be tried: {}", plain(facts.why_not("kvm.works")))));
    };
    if answer == "works" {
        return Some(Item { what: WHAT.to_owned(), state: State::Ok, mend: Vec::new() });
    }
    let why = if let Some(flag) = value(answer, "absent") {
        let lacks = if flag.is_empty() { "this machine's processor offers no virtualisation" } else { "it is not there" };
        format!("{lacks}: {SLOW}\n{ENABLE}")
    } else if value(answer, "hangs").is_some() {
        format!("it hangs: {SLOW}\n{ENABLE}")
    } else if let Some(said) = value(answer, "fails") {
        format!("it does not run guests: {SLOW} ({})\n{ENABLE}", plain(said))
    } else if value(answer, "untried").is_some() {
        return None;
    } else {
        format!("it could not be tried: {}", plain(answer))
    };
    Some(Item::unknown(WHAT, why))
}
