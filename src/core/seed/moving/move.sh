# Moves a folder to its disk, early in a start, and mounts that. Whatever happens before the line in fstab stands: the old folder stays
# in use, with all that is in it, and the next start begins anew.
set -eu
export LC_ALL=C
own=$1
{ read -r folder; read -r device; read -r fs; read -r options; read -r label; } <"$own/disk"
new=/run/tpl-move-${folder#/}
say() { echo "tpl: $*" >/dev/console || :; }
fail() {
  say "$folder is not moved: $*"
  printf '%s\n' "$*" >"$own/why"
  exit 1
}

if [ -s "$own/uuid" ] && grep -q "^UUID=$(cat "$own/uuid") " /etc/fstab; then exit 0; fi
[ -b "$device" ] || fail "its disk is not there: $device"
! mountpoint -q "$folder" || fail "something is mounted there"
[ -z "$(awk -v folder="$folder" '$1 !~ /^#/ && $2 == folder' /etc/fstab)" ] || fail "fstab mounts something else there"
busy() { find /proc/[0-9]*/fd -lname "$folder/*" -printf '%p -> %l\n' 2>/dev/null | head -n 1; }
[ -z "$(busy)" ] || fail "a file is open: $(busy)"
# Blank, or with the file system that a move has begun with that was cut off: that is made again.
if [ ! -s "$own/begun" ]; then
  cat /proc/sys/kernel/random/uuid >"$own/begun"
  sync
fi
uuid=$(cat "$own/begun")
signatures=$(wipefs --no-act "$device") || fail "its disk cannot be read: $device"
[ -z "$signatures" ] || [ "$(blkid -p -s UUID -o value "$device")" = "$uuid" ] || fail "its disk is not blank: $device"

make() {
  case "$fs" in
    ext4) mkfs.ext4 -q -F -U "$uuid" ${label:+-L "$label"} "$device" ;;
    xfs) mkfs.xfs -q -f -m "uuid=$uuid" ${label:+-L "$label"} "$device" ;;
    *) fail "no file system $fs can be made" ;;
  esac
}

# All that there is under a folder, but sizes of folders, which are each file system's own business; and all contents.
list() {
  cd "$1"
  find . -xdev -path ./lost+found -prune -o -type d -printf 'd %m %U %G %T@ %p\n' -o -printf '%y %m %U %G %s %T@ %p %l\n' | sort
  find . -xdev -path ./lost+found -prune -o -type f -print0 | sort -z | xargs -0 -r sha256sum
}
digest() { (list "$1") | sha256sum; }

say "moving $folder: making a file system"
make >"$own/said" 2>&1 || fail "no file system on its disk: $(tail -n 1 "$own/said")"
mkdir -p "$new"
mount -t "$fs" "$device" "$new" || fail "its disk cannot be mounted"
say "moving $folder: copying"
if ! cp -ax --preserve=xattr --sparse=always "$folder/." "$new/" 2>"$own/said"; then
  umount "$new"
  fail "copying did not work: $(tail -n 1 "$own/said")"
fi
umount "$new"
say "moving $folder: comparing"
# From the disk, and not from memory.
mount -t "$fs" -o ro "$device" "$new" || fail "its disk cannot be mounted again"
there=$(digest "$new")
umount "$new"
[ "$(digest "$folder")" = "$there" ] || fail "the copy is not the same"
[ -z "$(busy)" ] || fail "a file was opened meanwhile: $(busy)"

say "moving $folder: mounting"
mount -t "$fs" -o "$options" "$device" "$folder" || fail "its disk cannot be mounted at $folder"
# Without nofail: a start without the files that it has always had would go on with none, and make new ones.
if ! { printf '%s\n' "$uuid" >"$own/uuid" && cp -a /etc/fstab /etc/fstab.tpl && sed -i -e '$a\' /etc/fstab.tpl &&
  printf 'UUID=%s %s %s %s 0 2\n' "$uuid" "$folder" "$fs" "$options" >>/etc/fstab.tpl && sync && mv /etc/fstab.tpl /etc/fstab; }; then
  umount "$folder"
  fail "fstab cannot be written"
fi
sync
rm -f "$own/why" "$own/said"
say "moving $folder: done"
