#!/bin/bash
# Fills a new folder with the files of the container image: the given programs, what they link and load, a small shell, the
# authorities that TLS believes, two users. On Debian, with the sections `runtime` and `image` of docker/packages.txt.
#   docker/image-root.sh DIR PROGRAM...
# Each package that a file is from is described in var/lib/dpkg/status.d, where scanners look, and its licence comes along.
set -euo pipefail
root=$1
programs=("${@:2}")
die() { printf 'image-root: error: %s\n' "$*" >&2; exit 1; }
[ ! -e "$root" ] || die "$root is there already"

# Loaded by name: OpenSSL by base/openssl.cpp, the unwinder by the C library when a thread is cancelled.
loaded=(libssl.so.3 libcrypto.so.3 libgcc_s.so.1)
# What compose files, probes and people in the container use; more is in `busybox`.
commands=(cat chmod chown cp date df du env grep head id ls mkdir mv ps rm sh sleep tail xargs)
declare -A owners=([ca-certificates]=1)

# Of the two names that a file has on a system whose /lib is /usr/lib, dpkg knows one.
owner_of() { dpkg-query -S "$1" "${1#/usr}" 2>/dev/null | sed -n '1s/[:,].*//p'; }
# adds FILE: where it lies, by the name that it has there, as the file that it leads to.
adds() {
  local place owner
  place=$(realpath "${1%/*}")/${1##*/}
  [ ! -e "$root$place" ] || return 0
  install -D "$1" "$root$place"
  owner=$(owner_of "$(realpath "$1")") || true
  [ -z "$owner" ] || owners[$owner]=1
}

mkdir -p "$root"/usr/{bin,lib,lib64,share/doc} "$root"/{proc,sys,dev}
for part in bin lib lib64; do ln -s "usr/$part" "$root/$part"; done
ln -s usr/bin "$root/sbin"
programs+=(/usr/bin/busybox)
libraries=()
for name in "${loaded[@]}"; do
  library=$(ldconfig -p | awk -v name="$name" '$1 == name { path = $NF } END { print path }')
  [ -n "$library" ] || die "$name is not here: docker/install-packages.sh runtime"
  libraries+=("$library")
done
for file in "${programs[@]}" "${libraries[@]}"; do
  adds "$file"
  needs=$(ldd "$file")
  ! grep -F 'not found' <<<"$needs" || die "$file can't be loaded"
  while read -r library; do adds "$library"; done < <(grep -oE '/[^ ]+\.so[^ ]*' <<<"$needs")
done
for command in "${commands[@]}"; do ln -s busybox "$root/usr/bin/$command"; done

install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
# Where OpenSSL of Debian looks for them.
mkdir "$root/usr/lib/ssl"
ln -s /etc/ssl/certs "$root/usr/lib/ssl/certs"
ln -s /etc/ssl/certs/ca-certificates.crt "$root/usr/lib/ssl/cert.pem"
printf '%s\n' root:x:0:0:root:/:/bin/sh pageserver:x:10001:10001:pageserver:/data:/bin/sh >"$root/etc/passwd"
printf '%s\n' root:x:0: pageserver:x:10001: >"$root/etc/group"
printf '%s\n' 'passwd: files' 'group: files' 'hosts: files dns' >"$root/etc/nsswitch.conf"
cp -L /etc/os-release "$root/etc/os-release"
install -d -m 1777 "$root/tmp"
# Before they are declared volumes, so that a new volume takes their owner.
install -d -o 10001 -g 10001 -m 0750 "$root/data"
install -d -o 10001 -g 10001 -m 0755 "$root/run/pageserver"

mkdir -p "$root/var/lib/dpkg/status.d"
for owner in "${!owners[@]}"; do
  dpkg-query -s "$owner" >"$root/var/lib/dpkg/status.d/$owner"
  install -D -m 644 "/usr/share/doc/$owner/copyright" "$root/usr/share/doc/$owner/copyright"
done
du -sh "$root"
