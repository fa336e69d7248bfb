# By what a volume is known, and what its filesystem can. Arguments: devices.
set -e
for device; do
  echo "# ${device#/dev/sd?}"
  blkid -p -o export "$device" |
    grep -vE '^(DEVNAME|FSSIZE|FSLASTBLOCK|FSBLOCKSIZE|PART_ENTRY_(OFFSET|SIZE|DISK)|MINIMUM_IO_SIZE|PHYSICAL_SECTOR_SIZE|LOGICAL_SECTOR_SIZE)='
  if [ "$(blkid -p -s TYPE -o value "$device")" = xfs ]; then
    xfs_db -r -c version "$device"
    xfs_db -r -c 'sb 0' -c 'p inodesize sectsize blocksize dirblklog' "$device"
  fi
done
