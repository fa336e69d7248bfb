//! [`Blocks`] by libguestfs: the work below a guest's files for which libguestfs has no call of its own. It is done by small
//! scripts, which run in the appliance as its root, with the appliance's own programs; nothing of the guest is run.

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    Blocks, Checker, DISK, Rebuild, Stretch,
    appliance::{Session, own_name},
};

const SECTOR: u64 = 512;
/// What a script says when a filesystem was too small for what was to go into it.
const NO_ROOM: &str = "tpl: no room";
/// A description of a volume group goes through the appliance as an argument, and these have a limit of 128 KiB.
const ARGUMENT_LIMIT: usize = 120 << 10;
/// So many stretches go into one call: their numbers are arguments, too.
const AT_ONCE: usize = 500;

/// udev has a disk's table read again whenever a program that could write to the disk closes it, and all partitions are gone for
/// a moment then; the kernel's own ones for good. It is told not to watch.
const QUIET: &str = r#"
rules=/run/udev/rules.d/99-tpl.rules
if [ ! -e $rules ]; then
  mkdir -p ${rules%/*}
  echo 'SUBSYSTEM=="block", OPTIONS+="nowatch"' >$rules
  udevadm control --reload
  udevadm trigger --subsystem-match=block --action=change
fi
udevadm settle
"#;

/// Makes a filesystem in a part of the disk that no table names, and copies another one's files into it.
///
/// Arguments: the disk, the old device, the first sector and the number of sectors of the new one, then the program that makes
/// it. It is a partition that only the kernel knows; where the old one fills the disk itself the kernel mounts no partition
/// besides, and it is a loop device. A mounted XFS has its UUID for itself, hence `nouuid`. `cp` looks for holes itself; that it
/// copied every attribute is only an error with `--preserve=xattr` of its own. Attributes of lsattr (immutable files) come last, when
/// all is written.
const REBUILD: &str = r#"
export LC_ALL=C
disk=$(readlink -f "$1") old=$(readlink -f "$2") start=$3 count=$4
shift 4
new=${disk}200
log=/tmp/tpl-rebuild.log
mkdir -p /tmp/tpl-old /tmp/tpl-new
leave() {
  cd /
  umount /tmp/tpl-new 2>/dev/null
  umount /tmp/tpl-old 2>/dev/null
  udevadm settle
  drop
}
drop() {
  case $new in /dev/loop*) losetup -d "$new" ;; *) delpart "$disk" 200 ;; esac
}
fail() {
  tail -c 1500 "$log" >&2
  leave >/dev/null 2>&1
  exit 1
}
blkdiscard -f -z -o $((start * 512)) -l $((count * 512)) "$disk" >"$log" 2>&1 || fail
if [ "$disk" = "$old" ]; then
  new=$(losetup --find --show --offset $((start * 512)) --sizelimit $((count * 512)) "$disk" 2>"$log") || fail
else
  addpart "$disk" 200 "$start" "$count" >"$log" 2>&1 || fail
fi
udevadm settle
"$@" "$new" >"$log" 2>&1 || fail
mount -o ro,noatime,nodev,nosuid,noexec "$old" /tmp/tpl-old >"$log" 2>&1 || fail
mount -o nouuid,noatime,nodev,nosuid,noexec "$new" /tmp/tpl-new >"$log" 2>&1 || fail
if ! cp -a --preserve=xattr /tmp/tpl-old/. /tmp/tpl-new >"$log" 2>&1; then
  grep -q 'No space left on device' "$log" || fail
  leave >/dev/null 2>&1
  echo 'tpl: no room'
  exit 0
fi
cd /tmp/tpl-old
find . -xdev \( -type f -o -type d \) -print0 | xargs -0 lsattr -d 2>/dev/null |
  grep -E '^[-a-zA-Z]*[iaASd][-a-zA-Z]* \./' >/tmp/tpl-flags
while IFS= read -r line; do
  path=${line#* }
  case $path in */../*) continue ;; esac
  [ "$(lsattr -d "$path" 2>/dev/null)" = "$line" ] || continue
  flags=$(printf %s "${line%% *}" | tr -cd iaASd)
  chattr "+$flags" "/tmp/tpl-new/$path" >"$log" 2>&1 || fail
done </tmp/tpl-flags
cd /
umount /tmp/tpl-new >"$log" 2>&1 || fail
umount /tmp/tpl-old >"$log" 2>&1 || fail
sync
dd if="$new" bs=4096 count=1 iflag=direct status=none | od -An -v -tx1
udevadm settle
drop
exit 0
"#;

/// A piece of a file that is larger than a chunk's free room finds no new place, and a btrfs's pieces have up to 128 MiB: what is
/// written over in small parts is in small pieces. Not what is compressed, for that is in small pieces; nor what has a capability,
/// which would be lost; nor what is shared with a copy or a snapshot, for it would be there twice; holes stay. Read-only subvolumes and immutable files are as they were. Argument: the device.
const CUT_BTRFS: &str = r#"
export LC_ALL=C
mkdir -p /tmp/tpl-new
mount -o subvolid=5,noatime,nodev,nosuid,noexec "$1" /tmp/tpl-new || exit 1
cat >/tmp/tpl-cut <<'END'
part=8388608
for file; do
  filefrag -v "$file" | sed -n 's/^ *[0-9]*:.*[: ]\([a-z][a-z,_]*\)$/\1/p' | grep -qE 'encoded|shared' && continue
  getfattr -n security.capability "$file" >/dev/null 2>&1 && continue
  size=$(stat -c %s "$file") time=$(stat -c %.9Y "$file") at=0
  while [ $at -lt $size ]; do
    dd if="$file" of="$file" bs=64K iflag=skip_bytes,count_bytes oflag=seek_bytes conv=notrunc,sparse,fsync \
      skip=$at seek=$at count=$part status=none || break
    at=$((at + part))
  done
  touch -m -d "@$time" "$file"
done
END
find /tmp/tpl-new -type f -size +8M -exec sh /tmp/tpl-cut {} + >/dev/null 2>&1
sync
stat -f -c '%b %f %S' /tmp/tpl-new
umount /tmp/tpl-new
"#;

/// Chunks that are far from full are merged, or made anew in a fitting size, before the filesystem's end moves. Where a chunk finds
/// no new place the kernel says so, or gives up in the midst: what was on the disk before counts then, and nothing is lost.
/// Arguments: the device, the size in bytes.
const SHRINK_BTRFS: &str = r#"
export LC_ALL=C
mkdir -p /tmp/tpl-new
mount -o subvolid=5,noatime,nodev,nosuid,noexec "$1" /tmp/tpl-new || exit 1
btrfs balance start -dusage=75 -musage=50 /tmp/tpl-new >/dev/null 2>&1
out=$(btrfs filesystem resize "$2" /tmp/tpl-new 2>&1)
code=$?
[ $code = 0 ] && fstrim /tmp/tpl-new 2>/dev/null
umount /tmp/tpl-new || exit 1
[ $code = 0 ] && exit 0
case $out in *'No space left on device'* | *'Read-only file system'* | *'Input/output error'*) echo 'tpl: no room'; exit 0 ;; esac
printf '%s\n' "$out" >&2
exit 1
"#;

/// Arguments: the disk, then for each stretch: its source or `zero`, its place, its length. Always ascending, and a place never
/// lies behind its source. What is zeroed first takes no room on the host, and holes need not be written then. Where a source
/// is so near that this would take too many small steps, everything is written. What filesystems and volumes have written is
/// on the disk, and not in the cache that its device has: hence `direct`.
const RELOCATE: &str = r#"
set -e
disk=$(readlink -f "$1")
shift
blockdev --flushbufs "$disk"
copy() {
  dd if="$disk" of="$disk" bs=256K iflag=skip_bytes,count_bytes,direct oflag=seek_bytes,direct skip="$1" seek="$2" count="$3" \
    conv=notrunc$4 status=none
}
while [ $# -gt 0 ]; do
  from=$1 to=$2 left=$3
  shift 3
  if [ "$from" = zero ]; then
    blkdiscard -f -z -o "$to" -l "$left" "$disk"
    continue
  fi
  gap=$((from - to))
  if [ $gap -lt $left ] && [ $gap -lt 16777216 ]; then
    copy "$from" "$to" "$left" ''
    continue
  fi
  while [ $left -gt 0 ]; do
    n=$left
    if [ $n -gt $gap ]; then n=$gap; fi
    blkdiscard -f -z -o "$to" -l "$n" "$disk"
    copy "$from" "$to" "$n" ,sparse
    from=$((from + n)) to=$((to + n)) left=$((left - n))
  done
done
sync
blockdev --flushbufs "$disk"
"#;

/// Since 2.03.17 LVM looks at the filesystem before it cuts a volume, and refuses an XFS, `--force` or not: what is to stay of it has
/// been copied by then. Older ones do not know the option. Arguments: the volume, its size.
pub(super) const RESIZE_VOLUME: &str = r#"
lvm lvresize --help 2>&1 | grep -q -- '--fs ' && ignore='--fs ignore'
lvm lvresize --yes --force $ignore -L "$2" "$1" >/dev/null
"#;

/// Arguments: the group, its description.
const RESTORE: &str = r#"
set -e
printf '%s' "$2" >/tmp/tpl-group
lvm vgchange -an "$1" >/dev/null
lvm vgcfgrestore --yes -f /tmp/tpl-group "$1"
"#;

/// Arguments: a program and its arguments. Says the end of what it said if it found a fault.
const CHECK: &str = r#"
export LC_ALL=C
"$@" >/tmp/tpl-check.log 2>&1 || { echo "exit code $?"; tail -c 1500 /tmp/tpl-check.log; }
"#;

impl Session {
    /// Runs a script in the appliance; what it said on its standard output. The arguments are its positional parameters, and
    /// devices among them get the appliance's own names.
    pub(super) fn script(&self, what: &str, script: &str, args: &[&str]) -> Result<String> {
        // libguestfs makes one text of all its words, for a shell.
        let words: Vec<String> = args.iter().map(|arg| quoted(&own_name(arg))).collect();
        let text = format!("set -- {}\n{QUIET}{script}", words.join(" "));
        self.call(what, |g| g.debug("sh", &[&text]))
    }

    fn need(&self, feature: &str) -> Result<()> {
        if self.call(&format!("asking for {feature}"), |g| g.feature_available(&[feature]))? {
            return Ok(());
        }
        bail!(
            "the guest has a filesystem of the kind {feature}, and libguestfs's appliance no programs for it\n\
             Install them on this host (Debian and Ubuntu: libguestfs-{feature} or {feature}-progs; Fedora: libguestfs-{feature})"
        )
    }
}

/// A word that a shell takes for just these bytes.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

impl Blocks for Session {
    fn xfs_options(&self) -> Result<String> {
        self.need("xfs")?;
        self.script("asking what mkfs.xfs knows", "mkfs.xfs 2>&1; exit 0", &[])
    }

    fn rebuild(&self, name: &str, rebuild: &Rebuild) -> Result<Option<Vec<u8>>> {
        let (disk, old) = (self.device(DISK)?, self.device(name)?);
        ensure!(rebuild.start.is_multiple_of(SECTOR) && rebuild.size.is_multiple_of(SECTOR), "no whole sectors");
        let (start, count) = ((rebuild.start / SECTOR).to_string(), (rebuild.size / SECTOR).to_string());
        let mut args = vec![disk.as_str(), old.as_str(), &start, &count];
        args.extend(rebuild.program.iter().map(String::as_str));
        let what = format!("making the filesystem on {old} anew");
        let said = self.script(&what, REBUILD, &args)?;
        if said.contains(NO_ROOM) {
            return Ok(None);
        }
        let bytes = said.split_whitespace().map(|byte| u8::from_str_radix(byte, 16));
        Ok(Some(bytes.collect::<Result<_, _>>().with_context(|| what)?))
    }

    fn cut_btrfs(&self, name: &str) -> Result<u64> {
        self.need("btrfs")?;
        let what = format!("cutting large pieces of the filesystem on {name}");
        let said = self.script(&what, CUT_BTRFS, &[&self.device(name)?])?;
        let figures: Vec<u64> =
            said.split_whitespace().map(str::parse).collect::<Result<_, _>>().with_context(|| what.clone())?;
        let [blocks, free, size] = figures[..] else { bail!("{what}: no figures in {said:?}") };
        Ok(blocks.saturating_sub(free).saturating_mul(size))
    }

    fn shrink_btrfs(&self, name: &str, size: u64) -> Result<bool> {
        let name = self.device(name)?;
        let what = format!("resizing the filesystem on {name} to {size} bytes");
        Ok(!self.script(&what, SHRINK_BTRFS, &[&name, &size.to_string()])?.contains(NO_ROOM))
    }

    fn restore_group(&self, group: &str, metadata: &str) -> Result<()> {
        let what = format!("writing the metadata of volume group {group}");
        ensure!(metadata.len() < ARGUMENT_LIMIT, "{what}: it has {} bytes", metadata.len());
        self.script(&what, RESTORE, &[group, metadata]).map(|_| ())
    }

    fn relocate(&self, stretches: &[Stretch]) -> Result<()> {
        let disk = self.device(DISK)?;
        for stretches in stretches.chunks(AT_ONCE) {
            let words = stretches.iter().flat_map(|stretch| {
                let from = stretch.from.map_or_else(|| "zero".to_owned(), |from| from.to_string());
                [from, stretch.to.to_string(), stretch.length.to_string()]
            });
            let words: Vec<String> = std::iter::once(disk.clone()).chain(words).collect();
            let args: Vec<&str> = words.iter().map(String::as_str).collect();
            self.script(&format!("moving what is on {disk}"), RELOCATE, &args)?;
        }
        Ok(())
    }

    fn check(&self, name: &str, checker: Checker) -> Result<Option<String>> {
        let name = self.device(name)?;
        let program: &[&str] = match checker {
            Checker::Ext => &["e2fsck", "-f", "-n"],
            Checker::Xfs => &["xfs_repair", "-n"],
            Checker::Btrfs => &["btrfs", "check", "--readonly"],
            Checker::Fat => &["fsck.fat", "-n"],
            Checker::FatRepair => &["fsck.fat", "-a"],
        };
        match checker {
            Checker::Xfs => self.need("xfs")?,
            Checker::Btrfs => self.need("btrfs")?,
            Checker::Ext | Checker::Fat | Checker::FatRepair => {}
        }
        let args: Vec<&str> = program.iter().copied().chain([name.as_str()]).collect();
        let said = self.script(&format!("checking the filesystem on {name}"), CHECK, &args)?;
        let said = said.trim();
        Ok((!said.is_empty()).then(|| said.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_shell_takes_a_quoted_word_for_just_that() {
        for (word, expected) in [("", "''"), ("a b", "'a b'"), ("it's $x", r"'it'\''s $x'"), ("-L\n", "'-L\n'")] {
            assert_eq!(quoted(word), expected);
        }
    }
}
