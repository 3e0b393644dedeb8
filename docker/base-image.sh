#!/bin/bash
# Makes sure that Docker has the image debian:bookworm-slim, which docker/Dockerfile starts from:
#   1. it is there already;  2. the registry has it;  3. it is made here, with debootstrap.
# The third way is for machines that reach a Debian mirror but no image registry. It needs root, the packages of the
# section `root` of docker/packages.txt, and bookworm among this machine's apt sources. The image made so carries
# those sources: good for building and testing on this machine, not for publishing.
#   PULL_TIMEOUT_S  how long the registry may take (60)
set -euo pipefail
image=debian:bookworm-slim
suite=bookworm
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { printf 'base-image: %s (%s s)\n' "$*" "$SECONDS" >&2; }
die() { say "error: $*"; exit 1; }

# This machine's own package sources for bookworm and its updates, a line each: "URI RELEASE COMPONENT".
apt_sources() {
  # shellcheck disable=SC2016 # apt's own variables
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
    awk -v s="$suite" '$1 ~ /^https?:/ && ($2 == s || $2 == s "-updates" || $2 == s "-security")' | sort -u
}

# What the published slim image leaves out and switches off: package caches, documentation, services that start themselves.
slim_down() {
  local root=$1
  rm -f "$root/etc/apt/sources.list"
  awk -v key="$keyring" '{ print "deb [signed-by=" key "] " $0 }' <<<"$sources" >"$root/etc/apt/sources.list.d/debian.list"
  apt-config dump Acquire | grep -E '^Acquire::(Check-Valid-Until|Check-Date) ' >"$root/etc/apt/apt.conf.d/90mirror" || :
  local clean='rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true'
  cat >"$root/etc/apt/apt.conf.d/docker-clean" <<CONF
DPkg::Post-Invoke { "$clean"; };
APT::Update::Post-Invoke { "$clean"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::Languages "none";
Acquire::GzipIndexes "true";
Apt::AutoRemove::SuggestsImportant "false";
CONF
  echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/docker-apt-speedup"
  printf 'path-exclude /usr/share/%s/*\n' doc info locale man >"$root/etc/dpkg/dpkg.cfg.d/docker"
  echo 'path-include /usr/share/doc/*/copyright' >>"$root/etc/dpkg/dpkg.cfg.d/docker"
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
  chmod 755 "$root/usr/sbin/policy-rc.d"
  find "$root/usr/share/doc" -type f ! -name copyright -delete
  rm -rf "$root"/usr/share/{info,locale,man}/* "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin \
    "$root"/var/cache/apt/archives/*.deb "$root"/var/log/*.log "$root"/var/log/apt/*
  : >"$root/etc/resolv.conf"
  echo localhost >"$root/etc/hostname"
}

clean_up() {
  for part in proc sys dev/pts dev; do
    ! mountpoint -q "$work/root/$part" || umount -l "$work/root/$part"
  done
  rm -rf --one-file-system "$work"
}

docker info >/dev/null 2>&1 || die "no Docker daemon answers: start one, or join its group"
if docker image inspect "$image" >/dev/null 2>&1; then
  say "$image is there"
  exit 0
fi
if timeout "${PULL_TIMEOUT_S:-60}" docker pull -q "$image" >/dev/null 2>&1; then
  say "$image pulled"
  exit 0
fi
say "$image can't be pulled; making it from this machine's Debian mirror"

[ "$(id -u)" = 0 ] || die "debootstrap needs root: run docker/base-image.sh once as root"
command -v debootstrap >/dev/null || die "debootstrap is missing: docker/install-packages.sh root"
[ -s "$keyring" ] || die "$keyring is missing: docker/install-packages.sh root"
sources=$(apt_sources)
mirror=$(awk -v s="$suite" '$2 == s && $3 == "main" { print $1; exit }' <<<"$sources")
[ -n "$mirror" ] || die "apt has no source for $suite main: add one and run apt-get update"
[[ "$sources" != *@* ]] || die "an apt source holds a password, which would end up in the image"
include=()
[[ "$sources" != *https:* ]] || include=(--include=ca-certificates)
proxy=
eval "$(apt-config shell proxy Acquire::http::Proxy)"
[ -z "$proxy" ] || [ "$proxy" = DIRECT ] || export http_proxy=$proxy

work=$(mktemp -d -p "${TMPDIR:-/var/tmp}" base-image.XXXXXX)
trap clean_up EXIT
trap 'exit 130' INT TERM
mkdir -m 755 "$work/root"
debootstrap --variant=minbase "${include[@]}" --keyring="$keyring" "$suite" "$work/root" "$mirror" >"$work/log" 2>&1 ||
  { tail -n 5 "$work/log" >&2; die "debootstrap failed"; }
slim_down "$work/root"
tar -C "$work/root" --numeric-owner --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' -cf - . |
  docker import -c 'CMD ["bash"]' -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - "$image" \
    >/dev/null
say "$image made, $(docker image inspect -f '{{.Size}}' "$image") bytes"
