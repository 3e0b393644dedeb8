#!/bin/bash
# Builds the two programs, the library and the tests of some labels on a bare Debian 13, and runs these tests there. The last
# line is `N passed, N failed, N skipped`.
#   LABELS  of the tests (unit contract pagectl)
# The root of that Debian is made once, in build/debian13, with debootstrap and this machine's own mirror, and kept; the sources
# are read-only in it, and what is built lies beside it. Needs root's rights, and skips where it can't have what it needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
suite=trixie keyring=/usr/share/keyrings/debian-archive-keyring.gpg
work=build/debian13 labels=${LABELS:-unit contract pagectl}
root=$work/root build=$work/build
skip() { echo "debian13: skipped: $*"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
die() { echo "debian13: $*"; echo "0 passed, 1 failed, 0 skipped"; exit 1; }

[ "$(id -u)" = 0 ] || skip "only root can make another system's root"
unshare --mount --pid --fork true 2>/dev/null || skip "no mounts of its own for a process here (a container without CAP_SYS_ADMIN?)"
command -v apt-get >/dev/null || skip "this machine knows no Debian mirror"
docker/install-packages.sh root || skip "debootstrap can't be installed"

# inside COMMAND...: in the root, with the sources at /src and the build tree at /build. All mounts end with it.
inside() {
  # shellcheck disable=SC2016 # for the inner shell
  unshare --mount --pid --fork --kill-child bash -euc '
    root=$1 build=$2
    shift 2
    mkdir -p "$root/src" "$root/build" "$build"
    mount --bind . "$root/src"
    mount -o remount,bind,ro "$root/src"
    mount --bind "$build" "$root/build"
    mount --rbind /dev "$root/dev"
    mount --rbind /sys "$root/sys"
    mount -t proc proc "$root/proc"
    exec chroot "$root" "$@"' _ "$root" "$build" env -i HOME=/root LANG=C.UTF-8 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin ${http_proxy:+http_proxy="$http_proxy"} "$@"
}

# This machine's sources, as Debian 13 has them.
make_root() {
  local here sources mirror
  # shellcheck source=/dev/null
  here=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  # shellcheck disable=SC2016 # apt's own variables
  sources=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
    awk -v s="$here" '$1 ~ /^http:/ && $3 == "main" && ($2 == s || $2 == s "-updates" || $2 == s "-security")' | sort -u)
  mirror=$(awk -v s="$here" '$2 == s { print $1; exit }' <<<"$sources")
  [ -n "$mirror" ] || skip "apt has no source of Debian by http"
  rm -rf --one-file-system "$root"
  mkdir -p "$root"
  debootstrap --variant=minbase --keyring="$keyring" "$suite" "$root" "$mirror" >"$work/debootstrap.log" 2>&1 || {
    tail -n 5 "$work/debootstrap.log"
    rm -rf --one-file-system "$root"
    skip "$mirror gives no Debian 13"
  }
  sed "s/ $here/ $suite/; s/^/deb /" <<<"$sources" >"$root/etc/apt/sources.list"
  apt-config dump Acquire | grep -E '^Acquire::(Check-Valid-Until|Check-Date) ' >"$root/etc/apt/apt.conf.d/90mirror" || :
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
  chmod 755 "$root/usr/sbin/policy-rc.d"
  echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/quick"
}

mkdir -p "$work"
proxy=
eval "$(apt-config shell proxy Acquire::http::Proxy)"
[ -z "$proxy" ] || [ "$proxy" = DIRECT ] || export http_proxy=$proxy
began=$SECONDS
[ -e "$root/etc/apt/apt.conf.d/90mirror" ] || make_root
cp /etc/resolv.conf "$root/etc/resolv.conf"
inside /src/docker/install-packages.sh build test || die "Debian 13 does not have all of docker/packages.txt"
echo "debian13: a root with all packages ($((SECONDS - began)) s)"

targets=(pageserverd pagectl)
for label in $labels; do targets+=("tests_$label"); done
# Not for a debugger. Without the precompiled header, which hides what a test forgot to include.
{
  inside cmake --preset dev -S /src -B /build -D CMAKE_CXX_FLAGS_DEBUG= -D PAGESERVER_CCACHE=OFF \
    -D PAGESERVER_PRECOMPILE_TESTS=OFF &&
    inside cmake --build /build -j "${JOBS:-$(nproc)}" --target "${targets[@]}"
} >"$work/build.log" 2>&1 || {
  grep -E -A 12 'error|FAILED|Error' "$work/build.log" | head -n 60
  die "does not build (all of it: $work/build.log)"
}
echo "debian13: $(inside g++ --version | head -n 1), built ($((SECONDS - began)) s)"
rm -f "$build/tests.xml"
inside ctest --test-dir /build -j "${JOBS:-$(nproc)}" --output-on-failure --no-tests=error --output-junit /build/tests.xml \
  -L "^(${labels// /|})$" -LE '^(slow|modes)$' >"$work/tests.log" 2>&1 || tail -n 60 "$work/tests.log"
count() { grep -cE "$1" "$build/tests.xml" 2>/dev/null || :; }
run=$(count '<testcase .*status="run"') all=$(count '<testcase ') skipped=$(count '<skipped message="SKIP_')
[ "${run:-0}" -gt 0 ] || die "no test ran (all of it: $work/tests.log)"
echo "$run passed, $((all - run - skipped)) failed, $skipped skipped"
[ "$((run + skipped))" = "$all" ]
