#!/bin/bash
# Builds the Debian packages twice, in two folders and once without a compiler cache, which must give the same bytes; lets lintian look at them, compiles against what is in the
# development package, and tries all of them in a bare Debian's root (tests/install/packages_in_root.sh).
#   scripts/check_debian.sh [SUITE]     of the root: bookworm unless told. Packages for another Debian than the one that runs
#                                       here are built, once, in a root of that (build/packages/SUITE-builder)
#   PACKAGES=DIR                        takes these packages instead of building some
#   JOBS=N UNITY=yes                    for scripts/build_packages.sh
# The root is made once, with debootstrap and this machine's mirror, in build/packages/SUITE, and kept; what a run does in it
# lies above it and goes. Needs root's rights, and skips that part without. The last line is `N passed, N failed, N skipped`.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
suite=${1:-bookworm}
work=$PWD/build/packages
passed=0 failed=0 skipped=0
mkdir -p "$work"

check() {  # NAME COMMAND...
  local name=$1 log=$work/$1.log began=$SECONDS
  shift
  if "$@" >"$log" 2>&1; then
    echo "packages: $name ($((SECONDS - began)) s): $(tail -n 1 "$log")"
    passed=$((passed + 1))
  else
    tail -n 60 "$log"
    echo "FAILED: packages: $name (all of it: $log)"
    failed=$((failed + 1))
    return 1
  fi
}
skip() { echo "packages: skipped: $*"; skipped=$((skipped + 1)); }
finish() { echo "$passed passed, $failed failed, $skipped skipped"; [ "$failed" = 0 ] && [ "$passed" -gt 0 ]; }

builds() { scripts/build_packages.sh "$work/debian"; }
# In a root of their own Debian, with its compiler and its lintian.
in_builder() {
  PASS="JOBS=${JOBS:-$(nproc)} UNITY=${UNITY:-}" docker/in-debian-root.sh "$builder" "$work/$suite-built" "$@"
}
builds_in_root() {
  [ -e "$builder" ] || docker/debian-root.sh "$suite" "$builder" || return
  mkdir -p "$work/$suite-built" && in_builder /src/scripts/build_packages.sh /build/debian
}
builds_the_same_bytes() {
  mkdir -p "$work/elsewhere" && TMPDIR=$work/elsewhere CCACHE_DISABLE=1 scripts/build_packages.sh "$work/again" && diff "$work/debian/SHA256SUMS" "$work/again/SHA256SUMS" && echo "$(wc -l <"$work/debian/SHA256SUMS") packages, the same bytes"
}
lintian_finds_no_error() {
  local tags
  if [ "$packages" = "$work/$suite-built/debian" ]; then
    tags=$(in_builder bash -c 'lintian --fail-on error --tag-display-limit 0 /build/debian/*.deb') || { echo "$tags"; return 1; }
  else
    tags=$(lintian --fail-on error --tag-display-limit 0 "$packages"/*.deb) || { echo "$tags"; return 1; }
  fi
  echo "$tags"
  echo "$(grep -c '^W:' <<<"$tags") warnings, no error"
}

# Each interface by what finds it: pkg-config and CMake, shared and static.
compiles_against() {
  local dev=$work/dev triplet
  triplet=$(dpkg-architecture -q DEB_HOST_MULTIARCH)
  rm -rf "$dev"
  mkdir -p "$dev/user" || return
  for each in "$packages"/libpageserver1_*.deb "$packages"/libpageserver++0.1_*.deb "$packages"/libpageserver-dev_*.deb; do
    dpkg-deb -x "$each" "$dev" || return
  done
  cat >"$dev/user/cpp.cpp" <<'CPP'
#include <pageserver/open.hpp>
int main() { auto heap = pageserver::open("heap:"); heap->grow(2); return heap->pages() == 2 ? 0 : 1; }
CPP
  cat >"$dev/user/c.c" <<'C'
#include <pageserver/pageserver.h>
#include <string.h>
int main(void) { return strlen(ps_version()) != 0 ? 0 : 1; }
C
  cat >"$dev/user/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(user C CXX)
find_package(pageserver 0.1 REQUIRED)
foreach(kind shared static)
  add_executable(${kind} cpp.cpp)
  target_link_libraries(${kind} pageserver::${kind})
endforeach()
add_executable(c c.c)
target_link_libraries(c pageserver::c)
CMAKE
  local flags
  flags=$(PKG_CONFIG_PATH=$dev/usr/lib/$triplet/pkgconfig pkg-config --cflags --libs pageserver) || return
  # shellcheck disable=SC2086 # several flags
  cc "$dev/user/c.c" -o "$dev/user/by-pkg-config" $flags || return
  cmake -G Ninja -S "$dev/user" -B "$dev/user/build" -D "CMAKE_PREFIX_PATH=$dev/usr" -D CMAKE_BUILD_TYPE=Release &&
    cmake --build "$dev/user/build" || return
  for each in "$dev/user/by-pkg-config" "$dev"/user/build/{shared,static,c}; do
    LD_LIBRARY_PATH=$dev/usr/lib/$triplet "$each" || { echo "$each fails"; return 1; }
  done
  echo "four programs"
}

# makes_older DIR: the same packages with the version 0.0.9, as if there had been one.
makes_older() {
  rm -rf "$1"
  mkdir -p "$1" || return
  local version each tree=$1/tree
  version=$(dpkg-deb -f "$packages"/pageserver_*.deb Version)
  for each in pageserver pagectl libpageserver1; do
    {
      dpkg-deb -R "$packages/$each"_*.deb "$tree" &&
        sed -i "s/^Version: .*/Version: 0.0.9/; s/(= $version)/(= 0.0.9)/g" "$tree/DEBIAN/control" &&
        dpkg-deb -Zgzip -z1 --root-owner-group -b "$tree" "$1/${each}_0.0.9.deb" && rm -rf "$tree"
    } || return
  done
}

# What is done in the root lies above it, and ends with this command's mounts and processes.
in_root() {
  # shellcheck disable=SC2016 # for the inner shell
  unshare --mount --pid --fork --kill-child bash -euc '
    base=$1 above=$2 packages=$3 older=$4
    mkdir -p "$above"
    mount -t tmpfs -o size=2g tmpfs "$above"
    mkdir "$above/upper" "$above/work" "$above/root"
    mount -t overlay overlay -o "lowerdir=$base,upperdir=$above/upper,workdir=$above/work" "$above/root"
    root=$above/root
    mkdir -p "$root/new" "$root/old"
    mount --bind "$packages" "$root/new"
    mount --bind "$older" "$root/old"
    cp tests/install/packages_in_root.sh "$root/"
    cp /etc/resolv.conf /etc/hosts "$root/etc/"
    mount --rbind /dev "$root/dev"
    mount --rbind /sys "$root/sys"
    mount -t proc proc "$root/proc"
    chmod 755 "$root/packages_in_root.sh"
    exec chroot "$root" env -i HOME=/root LANG=C.UTF-8 ${http_proxy:+http_proxy="$http_proxy"} \
      PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /packages_in_root.sh /new /old' \
    _ "$work/$suite" "$work/above" "$packages" "$work/older"
}
makes_root() {
  [ ! -e "$work/$suite" ] || { echo "it is there"; return; }
  docker/debian-root.sh "$suite" "$work/$suite"
}

can_use_roots() {
  if [ "$(id -u)" != 0 ] || ! unshare --mount --pid --fork true 2>/dev/null; then
    skip "only root, with mounts of its own, can use another system's root"
    return 1
  fi
  if ! { command -v apt-get >/dev/null && docker/install-packages.sh root; }; then
    skip "debootstrap can't be installed"
    return 1
  fi
}

docker/install-packages.sh build packages || { echo "0 passed, 1 failed, 0 skipped"; exit 1; }
# shellcheck source=/dev/null
here=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
builder=$work/$suite-builder packages=${PACKAGES:-$work/debian}
if [ -z "${PACKAGES:-}" ] && [ "$suite" = "$here" ]; then
  check build builds || { finish; exit; }
  check again builds_the_same_bytes
elif [ -z "${PACKAGES:-}" ]; then
  can_use_roots || { finish; exit; }
  packages=$work/$suite-built/debian
  check build builds_in_root || { finish; exit; }
fi
check lintian lintian_finds_no_error
[ "$suite" != "$here" ] || check development compiles_against

can_use_roots || { finish; exit; }
proxy=
eval "$(apt-config shell proxy Acquire::http::Proxy)"
[ -z "$proxy" ] || [ "$proxy" = DIRECT ] || export http_proxy=$proxy
check root makes_root || { finish; exit; }
check older makes_older "$work/older" || { finish; exit; }
in_root 2>&1 | tee "$work/in_root.log"
counts=$(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' "$work/in_root.log" | tail -n 1)
read -r more wrong <<<"${counts:-0 1}"
passed=$((passed + more)) failed=$((failed + wrong))
finish
