# Run by cloud-init at every boot, before all else that it does: a folder whose files belong on another disk is moved there at the
# next start, early, when nothing has any of its files open. cloud-init's own state may be among them: it goes on after that.
#
# $1 folder, $2 device, $3 file system, $4 mount options, $5 label or nothing; $6 and $7 the scripts of both services.
set -eu
folder=$1 device=$2
own=/etc/tpl-move/${folder#/}
units=/etc/systemd/system
move=tpl-move-${folder#/}.service moved=tpl-moved-${folder#/}.service
say() { echo "tpl: $*" >/dev/console || :; }

if mountpoint -q "$folder"; then exit 0; fi
tries=$(cat "$own/tries" 2>/dev/null || echo 0)
if [ "$tries" -ge 3 ]; then
  say "$folder is not on its disk: $(cat "$own/why" 2>/dev/null || echo "$move did not run")"
  # The VM works, with its old files; nobody is to take it for what was asked for. Until the next start, which tries again.
  for unit in ssh.socket ssh.service sshd.socket sshd.service qemu-guest-agent.service cloud-config.service cloud-final.service; do
    systemctl mask --quiet --runtime "$unit" || :
    systemctl stop --no-block "$unit" 2>/dev/null || :
  done
  exit 1
fi

mkdir -p "$own"
printf '%s' "$6" >"$own/move"
printf '%s' "$7" >"$own/moved"
printf '%s\n' "$1" "$2" "$3" "$4" "$5" >"$own/disk"
disk=$(systemd-escape --path --suffix=device "$device")
cat >"$units/$move" <<UNIT
[Unit]
Description=Move $folder to its disk
DefaultDependencies=no
Wants=$disk local-fs-pre.target
After=$disk systemd-remount-fs.service
# Whoever opens files of $folder comes later.
Before=local-fs-pre.target local-fs.target sysinit.target systemd-tmpfiles-setup.service systemd-journal-flush.service
Before=systemd-random-seed.service systemd-update-utmp.service systemd-rfkill.service systemd-pstore.service
Before=cloud-init-main.service cloud-init-local.service
[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=infinity
ExecStart=/bin/sh $own/move $own
[Install]
WantedBy=sysinit.target
UNIT
cat >"$units/$moved" <<UNIT
[Unit]
Description=Remove what $folder held before it was moved
RequiresMountsFor=$folder
After=multi-user.target
ConditionPathExists=$own/uuid
[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/bin/sh $own/moved $own
[Install]
WantedBy=multi-user.target
UNIT
systemctl enable --quiet "$move" "$moved"
echo $((tries + 1)) >"$own/tries"
sync
say "restarting, to move $folder to its disk"
systemctl --no-block reboot
# What cloud-init has to do, it does after that.
sleep 600
exit 1
