# After the first start with the folder on its disk: what it held before goes, and all that moved it.
set -eu
own=$1
read -r folder <"$own/disk"
below=/run/tpl-moved-${folder#/}
[ "$(findmnt -n -o UUID "$folder")" = "$(cat "$own/uuid")" ] || exit 1
mkdir -p "$below"
# The root file system alone, without what is mounted on it.
mountpoint -q "$below" || mount --bind / "$below"
echo "tpl: moving $folder: removing the old files" >/dev/console || :
find "$below$folder" -xdev -mindepth 1 -delete
umount "$below"
# It has to be known for good that they are gone before it is forgotten that they were there.
sync
systemctl disable --quiet "tpl-move-${folder#/}.service" "tpl-moved-${folder#/}.service"
rm -f "/etc/systemd/system/tpl-move-${folder#/}.service" "/etc/systemd/system/tpl-moved-${folder#/}.service"
rm -rf "$own"
rmdir --ignore-fail-on-non-empty /etc/tpl-move
echo "tpl: moving $folder: the old files are gone" >/dev/console || :
