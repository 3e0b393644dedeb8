#!/bin/bash
# Runs a command in the root of another Debian (docker/debian-root.sh), with these sources at /src, read-only, and a folder of
# this machine at /build. Names and addresses are looked up as here. All mounts and processes end with it. Needs root's rights.
#   docker/in-debian-root.sh ROOT FOLDER COMMAND [ARGUMENT...]
#   PASS='A=1 B=2'      what COMMAND has in its environment besides
set -euo pipefail
root=$(realpath "$1") folder=$(realpath "$2")
shift 2
cd "$(dirname "${BASH_SOURCE[0]}")/.."
proxy=
eval "$(apt-config shell proxy Acquire::http::Proxy)"
[ -z "$proxy" ] || [ "$proxy" = DIRECT ] || export http_proxy=$proxy
mkdir -p "$root/src" "$root/build"
cp /etc/resolv.conf /etc/hosts "$root/etc/"
read -ra passed <<<"${PASS:-}"
# shellcheck disable=SC2016 # for the inner shell
exec unshare --mount --pid --fork --kill-child bash -euc '
  root=$1 folder=$2
  shift 2
  mount --bind . "$root/src"
  mount -o remount,bind,ro "$root/src"
  mount --bind "$folder" "$root/build"
  mount --rbind /dev "$root/dev"
  mount --rbind /sys "$root/sys"
  mount -t proc proc "$root/proc"
  exec chroot "$root" "$@"' _ "$root" "$folder" env -i HOME=/root LANG=C.UTF-8 \
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin ${http_proxy:+http_proxy="$http_proxy"} "${passed[@]}" "$@"
