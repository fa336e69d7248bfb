# Everything about every file below a directory. Argument: the directory. But for the times of an ext4's directories: resize2fs
# gives another one to those in which it has renumbered a file.
set -e
cd "$1"
export LC_ALL=C
find . -name lost+found -prune -o -type f -printf '%p %y %m %U %G %n %s %T@\0' -o -type d -fstype ext4 -printf '%p %y %m %U %G\0' -o ! -type f -printf '%p %y %m %U %G %T@ %l\0' | sort -z | tr '\0' '\n'
find . -name lost+found -prune -o \( -type b -o -type c \) -exec stat -c '%n %t:%T' {} +
find . -name lost+found -prune -o -print0 | sort -z | xargs -0 getfattr -h -d -m - -e hex --absolute-names
find . -name lost+found -prune -o -type f ! -name sparse -print0 | sort -z | xargs -0 md5sum
tail -c 2 var/lib/sparse | od -c
find . -name lost+found -prune -o -type f -links +1 -printf '%i\n' | sort | uniq -c | sed 's/^ *\([0-9]*\) .*/\1 names/' | sort
lsattr -d etc/resolv.conf | cut -c5
if [ "$(du -k var/lib/sparse | cut -f1)" -lt 4096 ]; then echo sparse; else echo full; fi
