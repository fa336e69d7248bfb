//! A device that may become a volume group: one that carries nothing whatever.

use crate::core::bootstrap::{
    Facts,
    text::{plain, value, values},
};

/// A shell's function `carries DEVICE`, which prints what a device is and carries, a line for each. Nothing is written.
///
/// Signatures are looked for by two programs that do not know the same, and in its first and last MiB for any byte at all: what no
/// program knows is somebody's all the same. Who has it open is looked for last: an emulator's disk is held by no lock.
macro_rules! carries {
    () => {
        r#"carries() {
  device=$(readlink -f -- "$1") && [ -e "$device" ] || { echo missing; return; }
  [ -b "$device" ] || { echo "other $(stat -c %F -- "$device")"; return; }
  name=${device##*/} size=$(blockdev --getsize64 "$device") || return
  echo "size $size"
  echo "path $device"
  [ "$(blockdev --getro "$device")" = 0 ] || echo readonly
  [ "$size" -gt 0 ] || return 0
  for part in "/sys/class/block/$name/"*/partition; do
    [ ! -e "$part" ] || { part=${part%/partition}; echo "partition ${part##*/}"; }
  done
  for holder in "/sys/class/block/$name/holders/"* "/sys/class/block/$name/"*/holders/*; do
    [ ! -e "$holder" ] || echo "holder ${holder##*/}"
  done
  number=$(cat "/sys/class/block/$name/dev")
  awk -v number="$number" '$3 == number {print "mounted", $5}' /proc/self/mountinfo
  awk 'NR > 1 {print $1}' /proc/swaps | while read -r swap; do
    [ "$(readlink -f -- "$swap")" != "$device" ] || echo swap
  done
  found=$(wipefs -n -p -- "$device") || { echo "unread wipefs"; return; }
  printf '%s\n' "$found" | awk -F, '!/^#/ && NF {print "signature", $NF}'
  found=$(blkid -p -o export -- "$device")
  case $? in
    0) printf '%s\n' "$found" | sed -n 's/^\(TYPE\|PTTYPE\)=/signature /p' ;;
    2) ;;
    *) echo "signature several" ;;
  esac
  edge=1048576
  [ "$size" -ge "$edge" ] || edge=$size
  for end in first last; do
    if [ "$end" = first ]; then head -c "$edge" -- "$device"; else tail -c "$edge" -- "$device"; fi | tr -d '\0' | head -c 1 | wc -c |
      grep -qx 0 || echo "data $end"
  done
  if command -v virsh >/dev/null; then
    timeout 60 virsh -q -c qemu:///system list --all --name </dev/null 2>/dev/null | while read -r guest; do
      [ -n "$guest" ] || continue
      timeout 60 virsh -q -c qemu:///system domblklist "$guest" </dev/null 2>/dev/null | while read -r target source; do
        [ "$(readlink -f -- "$source")" != "$device" ] || echo "guest $guest"
      done
    done
  fi
  find /proc/[0-9]*/fd -lname "$device" 2>/dev/null | while IFS=/ read -r _ _ pid _; do
    comm=$(cat "/proc/$pid/comm" 2>/dev/null) || continue
    case $comm in *udev*) ;; *) echo "open $comm" ;; esac
  done | sort -u
}
"#
    };
}
pub(super) use carries;

/// Why a device is not taken; nothing where it may be.
pub fn reasons(facts: &Facts, path: &str) -> Vec<String> {
    let Some(answer) = facts.get("kvm.device") else {
        return vec![format!("{path} could not be looked at: {}", plain(facts.why_not("kvm.device")))];
    };
    if value(answer, "missing").is_some() {
        return vec![format!("{path} is not there")];
    }
    if let Some(kind) = value(answer, "other") {
        return vec![format!("{path} is no block device: {}", plain(kind))];
    }
    let device = value(answer, "path").map(plain).unwrap_or_default();
    let shown = if device == path { device } else { format!("{path} ({device})") };
    let mut reasons: Vec<String> = answer.lines().filter_map(|line| what(line).map(|what| format!("{shown} {what}"))).collect();
    match value(answer, "size").map(str::parse::<u64>) {
        Some(Ok(0)) => reasons.insert(0, format!("{shown} has no room: its size is 0")),
        Some(Ok(_)) => {}
        _ => reasons.insert(0, format!("{shown} could not be looked at: {}", plain(answer))),
    }
    let mut told: Vec<String> = Vec::new();
    for reason in reasons {
        if !told.contains(&reason) {
            told.push(reason);
        }
    }
    told
}

/// What a line says that a device carries.
fn what(line: &str) -> Option<String> {
    let one = |key: &str| values(line, key).next().map(plain);
    if let Some(part) = one("partition") {
        return Some(format!("has a partition: {part}"));
    }
    if let Some(holder) = one("holder") {
        return Some(format!("is a part of {holder}"));
    }
    if let Some(place) = one("mounted") {
        return Some(format!("is mounted on {place}"));
    }
    if let Some(signature) = one("signature") {
        return Some(if signature == "several" {
            "carries signatures that contradict each other".to_owned()
        } else {
            format!("carries a signature: {signature}")
        });
    }
    if let Some(end) = one("data") {
        return Some(format!("carries data: its {end} MiB is not all zeros"));
    }
    if let Some(guest) = one("guest") {
        return Some(format!("is a disk of the guest {guest}"));
    }
    if let Some(process) = one("open") {
        return Some(format!("is in use by {process}"));
    }
    match line {
        "readonly" => Some("can only be read".to_owned()),
        "swap" => Some("is swap space".to_owned()),
        "unread wipefs" => Some("could not be looked at: wipefs does not read it".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::bootstrap::samples::facts;

    #[test]
    fn what_a_device_carries() {
        let sdb = "/dev/sdb carries ";
        let table: [(&str, &[&str]); 12] = [
            ("size 100\npath /dev/sdb\n", &[]),
            ("missing\n", &["/dev/sdb is not there"]),
            ("other directory\n", &["/dev/sdb is no block device: directory"]),
            (
                "size 0\npath /dev/sr0\nreadonly\n",
                &["/dev/sdb (/dev/sr0) has no room: its size is 0", "/dev/sdb (/dev/sr0) can only be read"],
            ),
            ("", &["/dev/sdb () could not be looked at: "]),
            ("size x\u{1b}\npath /dev/sdb\n", &["/dev/sdb could not be looked at: size x? path /dev/sdb"]),
            (
                "size 9\npath /dev/sdb\nsignature ext4\nsignature ext4\ndata first\n",
                &[&format!("{sdb}a signature: ext4"), &format!("{sdb}data: its first MiB is not all zeros")],
            ),
            (
                "size 9\npath /dev/sdb\npartition sdb1\nsignature gpt\nsignature several\n",
                &[
                    "/dev/sdb has a partition: sdb1",
                    &format!("{sdb}a signature: gpt"),
                    &format!("{sdb}signatures that contradict each other"),
                ],
            ),
            (
                "size 9\npath /dev/sdb\nholder dm-0\nmounted /srv/\u{7}x\nswap\n",
                &["/dev/sdb is a part of dm-0", "/dev/sdb is mounted on /srv/?x", "/dev/sdb is swap space"],
            ),
            (
                "size 9\npath /dev/sdb\nguest web1\nopen qemu-system-x86\n",
                &["/dev/sdb is a disk of the guest web1", "/dev/sdb is in use by qemu-system-x86"],
            ),
            ("size 9\npath /dev/sdb\nunread wipefs\n", &["/dev/sdb could not be looked at: wipefs does not read it"]),
            ("size 9\npath /dev/sdb\ndata last\n", &[&format!("{sdb}data: its last MiB is not all zeros")]),
        ];
        for (answer, expected) in table {
            assert_eq!(reasons(&facts(&[("kvm.device", answer)]), "/dev/sdb"), expected, "{answer}");
        }
        let failed = Facts::default().with("kvm.device", Err("sh: blockdev: not found"));
        assert_eq!(reasons(&failed, "/dev/sdb"), ["/dev/sdb could not be looked at: sh: blockdev: not found"]);
    }
}
