#!/bin/bash
# Installs the packages of the named sections of docker/packages.txt that are missing, and nothing when none is.
# Debian 12 and 13 only, where it needs root, or sudo: elsewhere it names what is missing, in the words of the machine's own
# package manager, and stops.
#   docker/install-packages.sh build test
#   OS_RELEASE  the file that says which system this is (/etc/os-release), for tests
set -euo pipefail
list=${BASH_SOURCE[0]%/*}/packages.txt
say() { printf 'packages: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

[ $# -gt 0 ] || die "usage: $0 SECTION... (sections: $(awk '/^[^#]/ { print $1 }' "$list" | sort -u | xargs))"
for section in "$@"; do
  grep -qE "^$section " "$list" || die "$list has no section $section"
done

# shellcheck source=/dev/null
release=$(. "${OS_RELEASE:-/etc/os-release}" 2>/dev/null && printf '%s %s' "${ID:-}" "${VERSION_ID:-}") || release=unknown

# The package's name on this Debian, nothing where it has no such package; elsewhere the newest name.
debian_name() {  # NAME | 12:NAME[|13:NAME]
  local part version=${release#debian } newest=
  IFS='|' read -ra parts <<<"$1"
  for part in "${parts[@]}"; do
    newest=${part#*:}
    [[ "$part" == *:* ]] || { printf '%s\n' "$part"; return; }
    [ "${part%%:*}" != "$version" ] || { printf '%s\n' "$newest"; return; }
  done
  [[ "$release" == debian\ * ]] || printf '%s\n' "$newest"
}

is_installed() {  # PACKAGE PROBE
  if command -v dpkg-query >/dev/null; then
    dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
  elif [ "$2" != - ]; then
    command -v "$2" >/dev/null || [ -e "/usr/include/$2" ] || [ -e "/usr/local/include/$2" ]
  fi
}

missing=() of_dnf=() of_apk=()
add_new() {  # ARRAY NAME: unless it is there, or none is needed
  local -n array=$1
  [ "$2" = - ] || [[ " ${array[*]} " == *" $2 "* ]] || array+=("$2")
}
while read -r section names probe dnf apk; do
  [[ " $* " == *" $section "* ]] || continue
  package=$(debian_name "$names")
  if [ -z "$package" ] || is_installed "$package" "$probe"; then continue; fi
  add_new missing "$package"
  add_new of_dnf "$dnf"
  add_new of_apk "$apk"
done < <(grep -E '^[a-z]' "$list")
[ ${#missing[@]} -gt 0 ] || exit 0

name_and_stop() {
  local commands=()
  command -v apt-get >/dev/null && commands+=("apt-get install ${missing[*]}")
  command -v dnf >/dev/null && commands+=("dnf install ${of_dnf[*]}")
  command -v apk >/dev/null && commands+=("apk add ${of_apk[*]}")
  [ ${#commands[@]} -gt 0 ] ||
    commands=("apt-get install ${missing[*]}" "dnf install ${of_dnf[*]}" "apk add ${of_apk[*]}")
  say "error: packages are missing, and this machine is neither Debian 12 nor 13 (it is '$release'). Install them, then try again:"
  printf '  %s\n' "${commands[@]}" >&2
  exit 1
}
case $release in
  "debian 12" | "debian 13") command -v apt-get >/dev/null || name_and_stop ;;
  *) name_and_stop ;;
esac
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
