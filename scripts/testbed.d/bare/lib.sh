# shellcheck shell=bash disable=SC2154  # what scripts/testbed has set
# The machine that is no hypervisor yet: a Debian as it comes, for those who make one of it. Sourced by scripts/testbed.
bare=bare1
bare_user=admin
bare_memory=2048

bare_up() { [ -e "$run/$bare/whole" ] && pid_of "$bare" >/dev/null; }

# Once for a machine, whatever disks it gets: its host keys, and the user's password.
bare_identity() {
  local own=$run/$bare
  mkdir -p "$own/etc/ssh"
  ssh-keygen -q -A -f "$own" >/dev/null
  (umask 077 && openssl rand -hex 12 >"$own/password")
  cat >"$own/askpass" <<EOF
#!/bin/sh
exec cat $own/password
EOF
  chmod 0700 "$own/askpass"
}

# bare_mirror: the mirror, as the machine sees it.
bare_mirror() { debian_mirror | sed -E 's#^(https?://)(127\.[0-9.]+|localhost|\[::1\])([:/]|$)#\110.0.2.2\3#'; }

# install_file FROM TO MODE: the line that makes debugfs put a file into the disk, root's.
install_file() { printf 'rm %s\nwrite %s %s\nsif %s mode 0100%s\n' "$2" "$1" "$2" "$2" "$3"; }

# What tells this machine from another is written into its disk while that belongs to nobody: nothing inside has to fetch it, and
# nothing of it is left there that a Debian would not have.
bare_system_disk() {
  local own=$run/$bare hash trust="" key
  [ -z "${TPL_ALLOW_UNSIGNED:-}" ] || trust="[trusted=yes] "
  printf 'deb %s%s %s main\n' "$trust" "$(bare_mirror)" "$(cat "$image/suite")" >"$own/sources.list"
  cp --sparse=always "$image/root.raw" "$own/root.raw"
  hash=$(openssl passwd -6 -stdin <"$own/password")
  (umask 077 && debugfs -R 'cat /etc/shadow' "$own/root.raw" 2>/dev/null |
    awk -F: -v OFS=: -v user="$bare_user" -v hash="$hash" '$1 == user {$2 = hash} {print}' >"$own/shadow")
  { install_file "$own/sources.list" /etc/apt/sources.list 644
    install_file "$own/shadow" /etc/shadow 640
    # The group shadow.
    printf 'sif /etc/shadow gid 42\n'
    for key in "$own"/etc/ssh/ssh_host_*_key; do
      install_file "$key" "/etc/ssh/${key##*/}" 600
      install_file "$key.pub" "/etc/ssh/${key##*/}.pub" 644
    done; } >"$own/commands"
  debugfs -w -f "$own/commands" "$own/root.raw" >"$own/debugfs.log" 2>&1
  # It says what goes wrong, and ends well. What is to be removed mostly is not there.
  ! grep -v -e '^$' -e '^debugfs' -e '^rm: File not found' -e '^Allocated inode' "$own/debugfs.log" >&2 || die "the disk of $bare cannot be written to, see above"
  rm "$own/shadow" "$own/commands"
}

# Fresh ones: the system's, an empty one, and one that carries something.
bare_disks() {
  local own=$run/$bare
  rm -f "$own"/*.raw
  bare_system_disk
  truncate -s 10G "$own/spare.raw"
  truncate -s 1G "$own/full.raw"
  mke2fs -q -t ext4 -L somebodys "$own/full.raw"
}

# It starts again when it is told to.
bare_boot() {
  local own=$run/$bare name drives=()
  for name in root spare full; do drives+=(-drive "if=virtio,file=$own/$name.raw,format=raw,cache=unsafe,discard=unmap"); done
  rm -f "$own/console.log"
  emulate "$bare" "$bare_memory" -append "root=/dev/vda ro $kernel_arguments" "${drives[@]}"
}

# bare_login COMMAND…: there, by the password.
bare_login() {
  SSH_ASKPASS=$run/$bare/askpass SSH_ASKPASS_REQUIRE=force ssh -F none -p "$(port_of "$bare")" -o ConnectTimeout=10 -o LogLevel=ERROR \
    -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o GlobalKnownHostsFile=/dev/null \
    -o PreferredAuthentications=password -o NumberOfPasswordPrompts=1 "$bare_user@127.0.0.1" "$@" </dev/null
}

# Waits for it. Its console says when users may log in: sshd slows down who tries before, and fails.
bare_prepare() {
  local began=$SECONDS
  until_true "$bare" "its login" grep -q ' login:' "$run/$bare/console.log"
  until_true "$bare" "its SSH" bare_login true
  touch "$run/$bare/whole"
  say "$bare: SSH with the password after $((SECONDS - began)) s"
}

bare_start() {
  system bare
  mkdir "$run/$bare"
  bare_identity
  bare_disks
  say "starting $bare under $(accelerator), $bare_memory MiB"
  bare_boot
  bare_prepare
}

bare_variables() {
  printf 'export TPL_TESTBED_BARE1_USER=%s\nexport TPL_TESTBED_BARE1_PASSWORD_FILE=%s\nexport TPL_TESTBED_BARE1_FINGERPRINT=%s\n' \
    "$bare_user" "$run/$bare/password" "$(ssh-keygen -l -f "$run/$bare/etc/ssh/ssh_host_ed25519_key.pub" | cut -d' ' -f2)"
}

# reset: the same machine, as it was in the beginning, at the same port unless somebody has taken that.
reset() {
  lock
  [ -e "$run/$bare/password" ] || die "there is no $bare: scripts/testbed up --bare"
  guard "$bare"
  rm -f "$run/$bare/whole"
  end "$bare"
  system bare
  bare_disks
  bare_boot
  bare_prepare
  publish
  trap - EXIT INT TERM
}
