#!/bin/bash
# Finding: nbdcopy 1.14.2 reads holes although block status names them as holes.
#
# Expected: a server that advertises base:allocation and reports 64 KiB of data between holes is asked to read those 64 KiB.
# Seen: nbdcopy decides by its own request size (256 KiB). A request-sized block that holds any data is read whole, so lone
#       64 KiB pages cost four times their bytes. --request-size=65536 reads exactly the data.
# Versions: Debian 12: nbdkit 1.32.5-1, libnbd-bin 1.14.2-1. Exit status 0: still so. 1: the behaviour changed.
set -euo pipefail
nbdkit_version=1.32.5-1 libnbd_version=1.14.2-1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

apt-get download -q "nbdkit=$nbdkit_version" "libnbd-bin=$libnbd_version" "libnbd0=$libnbd_version" 2>/dev/null >&2
for package in ./*.deb; do dpkg -x "$package" root; done
lib=$work/root/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || gcc -print-multiarch)
export LD_LIBRARY_PATH=$lib PATH=$work/root/usr/bin:$work/root/usr/sbin:$PATH

# 64 pages of 64 KiB, each alone in 1 MiB: 4 MiB of data in a file of 64 MiB.
truncate -s 64M disk
for ((page = 0; page < 64; page++)); do
  head -c 65536 /dev/urandom | dd of=disk bs=64K seek=$((page * 16)) conv=notrunc status=none
done

# copied NBDCOPY_FLAG...: how many bytes nbdcopy reads from the server for one copy to null.
copied() {
  rm -f log
  nbdkit -U - -r --filter="$lib/nbdkit/filters/nbdkit-log-filter.so" "$lib/nbdkit/plugins/nbdkit-file-plugin.so" \
    file="$work/disk" logfile="$work/log" --run "nbdcopy $* \"\$uri\" null:"
  local sum=0 count
  while read -r count; do sum=$((sum + count)); done < <(sed -nE 's/.* Read .* count=(0x[0-9a-f]+).*/\1/p' log)
  echo "$sum"
}
data=$((64 * 65536))
by_default=$(copied)
by_page=$(copied --request-size=65536)
echo "data: $data bytes; read by default: $by_default; with --request-size=65536: $by_page"
[ "$by_default" -ge $((data * 4)) ] && [ "$by_page" = "$data" ]
