#!/bin/bash
# Installs the packages of the named sections of docker/packages.txt that are missing, and nothing when none is.
# Debian 12 only: elsewhere it names what is missing and stops. Needs root, or sudo.
#   docker/install-packages.sh build test
set -euo pipefail
list=${BASH_SOURCE[0]%/*}/packages.txt
say() { printf 'packages: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

[ $# -gt 0 ] || die "usage: $0 SECTION... (sections: $(awk '/^[^#]/ { print $1 }' "$list" | sort -u | xargs))"
for section in "$@"; do
  grep -qE "^$section " "$list" || die "$list has no section $section"
done

is_installed() {  # PACKAGE PROBE
  if command -v dpkg-query >/dev/null; then
    dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
  elif [ "$2" != - ]; then
    command -v "$2" >/dev/null || [ -e "/usr/include/$2" ] || [ -e "/usr/local/include/$2" ]
  fi
}

missing=()
while read -r section package probe; do
  [[ " $* " != *" $section "* ]] || is_installed "$package" "$probe" || missing+=("$package")
done < <(grep -E '^[a-z]' "$list")
[ ${#missing[@]} -gt 0 ] || exit 0

# shellcheck source=/dev/null
release=$(. /etc/os-release 2>/dev/null && printf '%s %s' "${ID:-}" "${VERSION_ID:-}") || release=unknown
if [ "$release" != "debian 12" ] || ! command -v apt-get >/dev/null; then
  die "missing: ${missing[*]} (Debian's names). This machine is not Debian 12 (it is '$release'): install what they hold by its own means, then try again"
fi
as_root=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || die "missing: ${missing[*]}. Run as root: apt-get install ${missing[*]}"
  as_root=(sudo)
  [ -t 0 ] || as_root=(sudo -n)
fi
say "installing ${missing[*]}"
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"${apt[@]}" update >"$log" 2>&1 </dev/null ||
  { tail -n 20 "$log" >&2; die "apt-get update failed"; }
"${apt[@]}" install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1 </dev/null ||
  { tail -n 40 "$log" >&2; die "apt-get install ${missing[*]} failed"; }
