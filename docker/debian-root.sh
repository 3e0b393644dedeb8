#!/bin/bash
# Makes the root of a bare Debian in a new folder, with debootstrap and the mirrors of this machine's own apt sources,
# whichever Debian these are for. It carries those sources: good for building and testing on this machine.
#   docker/debian-root.sh SUITE DIR
#   BARE=yes     without manuals, translations and documents of packages: a third less to unpack
# Needs root's rights and the section `root` of docker/packages.txt.
set -euo pipefail
suite=$1 root=$2
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
die() { printf 'debian-root: error: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "debootstrap needs root's rights"
command -v debootstrap >/dev/null || die "debootstrap is missing: docker/install-packages.sh root"
[ -s "$keyring" ] || die "$keyring is missing: docker/install-packages.sh root"
command -v apt-get >/dev/null || die "this machine has no apt, which would say where a Debian mirror is"
[ ! -e "$root" ] || die "$root is there already"

# sources_for RELEASE: this machine's, for a release and its updates, a line each: "URI RELEASE COMPONENT".
sources_for() {
  # shellcheck disable=SC2016 # apt's own variables
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
    awk -v s="$1" '$1 ~ /^https?:/ && $3 == "main" && ($2 == s || $2 == s "-updates" || $2 == s "-security")' | sort -u
}
mirror_of() { awk -v s="$suite" '$2 == s { print $1; exit }' <<<"$1"; }

# shellcheck source=/dev/null
here=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
sources=$(sources_for "$suite")
[ -n "$(mirror_of "$sources")" ] || sources=$(sources_for "$here" | sed "s/ $here/ $suite/")
mirror=$(mirror_of "$sources")
[ -n "$mirror" ] || die "apt has no source of Debian, $suite or $here: add one and run apt-get update"
[[ "$sources" != *@* ]] || die "an apt source holds a password, which would end up in $root"
include=()
[[ "$sources" != *https:* ]] || include=(--include=ca-certificates)
proxy=
eval "$(apt-config shell proxy Acquire::http::Proxy)"
[ -z "$proxy" ] || [ "$proxy" = DIRECT ] || export http_proxy=$proxy

# Half of a root looks like a whole one.
made=
log=$(mktemp)
clean_up() {
  rm -f "$log"
  [ -z "$made" ] || return 0
  for part in proc sys dev/pts dev; do
    ! mountpoint -q "$root/$part" || umount -l "$root/$part"
  done
  rm -rf --one-file-system "$root"
}
trap clean_up EXIT
trap 'exit 130' INT TERM
mkdir -m 755 "$root"
# Before anything is unpacked: no syncs in a root that can be made again.
dpkg=(force-unsafe-io)
[ -z "${BARE:-}" ] || dpkg+=('path-exclude=/usr/share/doc/*' 'path-include=/usr/share/doc/*/copyright'
  'path-exclude=/usr/share/man/*' 'path-exclude=/usr/share/info/*' 'path-exclude=/usr/share/locale/*')
{
  debootstrap --foreign --variant=minbase "${include[@]}" --keyring="$keyring" "$suite" "$root" "$mirror" &&
    mkdir -p "$root/etc/dpkg/dpkg.cfg.d" &&
    printf '%s\n' "${dpkg[@]}" >"$root/etc/dpkg/dpkg.cfg.d/quick" &&
    chroot "$root" /debootstrap/debootstrap --second-stage
} >"$log" 2>&1 || { tail -n 5 "$log" >&2; die "$mirror gives no $suite"; }
for part in proc sys dev/pts dev; do
  ! mountpoint -q "$root/$part" || umount -l "$root/$part"
done
rm -f "$root/etc/apt/sources.list"
awk -v key="$keyring" '{ print "deb [signed-by=" key "] " $0 }' <<<"$sources" >"$root/etc/apt/sources.list.d/debian.list"
apt-config dump Acquire | grep -E '^Acquire::(Check-Valid-Until|Check-Date) ' >"$root/etc/apt/apt.conf.d/90mirror" || :
printf '%s\n' 'APT::Install-Recommends "false";' 'Acquire::Languages "none";' >"$root/etc/apt/apt.conf.d/80quick"
# No service starts itself.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
made=1
