# Checks each device with its filesystem's own checker. Arguments: devices.
for device; do
  case $(blkid -p -s TYPE -o value "$device") in
    ext4) e2fsck -f -n "$device" || exit 1 ;;
    xfs) xfs_repair -n "$device" || exit 1 ;;
    btrfs) btrfs check --readonly "$device" || exit 1 ;;
    vfat) fsck.fat -n "$device" || exit 1 ;;
  esac
done >&2
