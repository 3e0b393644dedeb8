#!/bin/bash
# What docker/install-packages.sh says on machines that are none of its own: it names what is missing in the words of the
# package manager that is there, and installs nothing. Systems are pretended, with a PATH of a few programs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
die() { echo "$*"; exit 1; }
mkdir "$work/bin"
for program in bash awk grep sort xargs env cat id mktemp rm; do ln -s "$(command -v $program)" "$work/bin/$program"; done

# says MANAGER ID VERSION: its words, on a system that has the programs above and that package manager.
says() {
  local manager=$1 output
  printf 'ID=%s\nVERSION_ID=%s\n' "$2" "$3" >"$work/os-release"
  [ "$manager" = none ] || printf '#!/bin/sh\necho "%s was run" >>%s\n' "$manager" "$work/run" >"$work/bin/$manager"
  [ "$manager" = none ] || chmod 755 "$work/bin/$manager"
  ! output=$(PATH=$work/bin OS_RELEASE=$work/os-release bash docker/install-packages.sh test bench 2>&1) ||
    die "on $2 $3 it does not stop: $output"
  [ "$manager" = none ] || rm "$work/bin/$manager"
  [ ! -e "$work/run" ] || die "on $2 $3: $(cat "$work/run")"
  printf '%s\n' "$output"
}
wants() {  # TEXT PATTERN...
  local text=$1 pattern
  shift
  for pattern in "$@"; do grep -qE -- "$pattern" <<<"$text" || die "no '$pattern' in: $text"; done
}

fedora=$(says dnf fedora 42)
wants "$fedora" "'fedora 42'" '^  dnf install .*ShellCheck .*qemu-img'
! grep -qE 'apt-get|apk add|12:| - ' <<<"$fedora" || die "on Fedora: $fedora"
alpine=$(says apk alpine 3.22)
wants "$alpine" "^  apk add .*iproute2 .*redis"
! grep -qE 'apt-get|dnf' <<<"$alpine" || die "on Alpine: $alpine"
ubuntu=$(says apt-get ubuntu 24.04)
wants "$ubuntu" "^  apt-get install .*shellcheck .*qemu-utils"
wants "$(says none arch rolling)" "^  apt-get install" "^  dnf install" "^  apk add"

# Each line has all its columns, and each name that belongs to a Debian says to which.
awk '/^[a-z]/ && (NF != 5 || $2 ~ /[|]/ && $2 !~ /^12:[^|]+[|]13:[^|]+$/) { print "docker/packages.txt:" NR ": " $0; bad = 1 } END { exit bad }' \
  docker/packages.txt || die "not a line of docker/packages.txt"
echo "packages: $(grep -cE '^[a-z]' docker/packages.txt) lines, four systems pretended"
