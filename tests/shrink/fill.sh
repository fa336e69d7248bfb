# Fills a root: what an installed system has, and what is easily lost in a copy. Arguments: where it is mounted,
# and what else it can have: `flags`, `random`.
set -e
cd "$1"
mkdir -p etc var/lib usr boot home/user/a/b/c/d/e/f/g/h dev run
printf 'ID=test\n' >etc/os-release
cp -a /usr/sbin usr/bin
tr '\0' x </dev/zero | head -c 60000000 >var/lib/blob
[ "$2" = random ] && from=urandom || from=zero
head -c 400000000 /dev/$from >usr/large
: >var/lib/empty
printf data >home/user/a/b/c/d/e/f/g/h/deep
ln home/user/a/b/c/d/e/f/g/h/deep home/user/second-name
ln -s ../etc/os-release var/lib/link
ln -s /nowhere/at/all var/lib/dangling
printf x >"var/lib/$(printf 'new\nline')"
printf x >"var/lib/$(printf 'not-utf8-\377\376')"
printf x >"var/lib/ -rf *"
printf x | dd of=var/lib/sparse bs=1 seek=1073741823 status=none
cp etc/os-release usr/bin/setuid
chown 1000:1001 usr/bin/setuid
chmod 6755 usr/bin/setuid
setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 usr/bin/setuid
setfattr -h -n security.selinux -v 'system_u:object_r:etc_t:s0' etc/os-release
setfattr -h -n security.selinux -v 'system_u:object_r:lnk_t:s0' var/lib/link
setfattr -n user.note -v 'a note' home/user
setfattr -n trusted.overlay.opaque -v y home/user/a
setfacl -m u:1005:rwx,g:1006:r var/lib/empty
setfacl -d -m u:1005:rx home/user
mknod dev/null2 c 1 3
mknod dev/block b 8 200
mkfifo run/fifo
setfattr -h -n security.selinux -v 'system_u:object_r:fifo_t:s0' run/fifo
chmod 1777 run
chown -h 1000:1000 var/lib/dangling home/user
printf 'nameserver 192.0.2.1\n' >etc/resolv.conf
touch -d '2001-02-03 04:05:06.123456789 UTC' etc/os-release
touch -h -d '2002-02-03 04:05:06.987654321 UTC' var/lib/link
touch -d '2003-02-03 04:05:06.111111111 UTC' home/user
[ "$2" = flags ] && chattr +i etc/resolv.conf
exit 0
