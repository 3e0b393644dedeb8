#!/bin/bash
# What docker/install-packages.sh does on a bare machine, and run.sh and test.sh with it: Debian 12 and 13 install what is
# missing under its names there; elsewhere it is named in the words of the package manager that is there, nothing is
# installed, and nothing is built. Systems are pretended, with a PATH of a few programs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
die() { echo "$*"; exit 1; }
mkdir "$work/bin"
for program in bash awk grep sort xargs env cat id mktemp rm dirname nproc sed tail; do ln -s "$(command -v $program)" "$work/bin/$program"; done

# says MANAGER ID VERSION COMMAND...: its words, on a system that has the programs above and that package manager.
says() {
  local manager=$1 output
  local command=("${@:4}")
  printf 'ID=%s\nVERSION_ID=%s\n' "$2" "$3" >"$work/os-release"
  [ "$manager" = none ] || printf '#!/bin/sh\necho "%s was run" >>%s\n' "$manager" "$work/run" >"$work/bin/$manager"
  [ "$manager" = none ] || chmod 755 "$work/bin/$manager"
  ! output=$(PATH=$work/bin OS_RELEASE=$work/os-release bash "${command[@]}" 2>&1) ||
    die "on $2 $3 ${command[*]} does not stop: $output"
  [ "$manager" = none ] || rm "$work/bin/$manager"
  [ ! -e "$work/run" ] || die "on $2 $3: $(cat "$work/run")"
  printf '%s\n' "$output"
}
wants() {  # TEXT PATTERN...
  local text=$1 pattern
  shift
  for pattern in "$@"; do grep -qE -- "$pattern" <<<"$text" || die "no '$pattern' in: $text"; done
}

install=(docker/install-packages.sh test check bench)
fedora=$(says dnf fedora 42 "${install[@]}")
wants "$fedora" "'fedora 42'" '^  dnf install .*qemu-img .*ShellCheck'
! grep -qE 'apt-get|apk add|12:| - ' <<<"$fedora" || die "on Fedora: $fedora"
alpine=$(says apk alpine 3.22 "${install[@]}")
wants "$alpine" "^  apk add .*iproute2 .*redis"
! grep -qE 'apt-get|dnf' <<<"$alpine" || die "on Alpine: $alpine"
ubuntu=$(says apt-get ubuntu 24.04 "${install[@]}")
wants "$ubuntu" "^  apt-get install .*qemu-utils .*shellcheck"
wants "$(says none arch rolling "${install[@]}")" "^  apt-get install" "^  dnf install" "^  apk add"
for command in "./run.sh" "./test.sh" "./test.sh quick"; do
  # shellcheck disable=SC2086 # a command and its argument
  for words in "$(says dnf fedora 42 $command)" "$(says apk alpine 3.22 $command)" "$(says apt-get ubuntu 24.04 $command)"; do
    wants "$words" "packages are missing" "^  (dnf install gcc-c\+\+|apk add g\+\+|apt-get install g\+\+) cmake"
    ! grep -qE 'building|== ' <<<"$words" || die "$command goes on without its packages: $words"
  done
done

# bare VERSION SECTION...: what a bare Debian asks apt for.
bare() {
  printf 'ID=debian\nVERSION_ID=%s\n' "$1" >"$work/os-release"
  shift
  rm -f "$work/asked"
  printf '#!/bin/sh\necho "$@" >>%s\n' "$work/asked" >"$work/bin/apt-get"
  printf '#!/bin/sh\nexit 1\n' >"$work/bin/dpkg-query"
  # shellcheck disable=SC2016 # for the program that is pretended
  printf '#!/bin/sh\n[ "$1" != -n ] || shift\nexec "$@"\n' >"$work/bin/sudo"
  chmod 755 "$work/bin/apt-get" "$work/bin/dpkg-query" "$work/bin/sudo"
  PATH=$work/bin OS_RELEASE=$work/os-release bash docker/install-packages.sh "$@" 2>"$work/said" || die "$(cat "$work/said")"
  rm "$work/bin/apt-get" "$work/bin/dpkg-query" "$work/bin/sudo"
  grep ' install ' "$work/asked"
}
twelve=$(bare 12 build test check) thirteen=$(bare 13 build test check)
wants "$twelve" ' g\+\+ ' ' catch2 ' ' clang-14 ' ' clang-format-14 ' ' clang-tidy-14 '
wants "$thirteen" ' g\+\+ ' ' libcatch2-dev ' ' clang-19 '
! grep -qE ' (catch2|clang-14|clang-format-14|clang-tidy-14) |1[23]:' <<<"$thirteen" || die "on Debian 13: $thirteen"

# Each line has all its columns, and each name that belongs to a Debian says to which.
awk '/^[a-z]/ && (NF != 5 || $2 ~ /[|]/ && $2 !~ /^12:[^|]+[|]13:[^|]+$/) { print "docker/packages.txt:" NR ": " $0; bad = 1 } END { exit bad }' \
  docker/packages.txt || die "not a line of docker/packages.txt"
echo "packages: $(grep -cE '^[a-z]' docker/packages.txt) lines, six systems pretended"
