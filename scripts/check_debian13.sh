#!/bin/bash
# Builds the two programs, the libraries and the quick tests on a bare Debian 13, and runs these tests and the Python package
# there. The last line is `N passed, N failed, N skipped`.
# The root of that Debian is made once, in build/debian13, with debootstrap and this machine's own mirror, and kept; the sources
# are read-only in it, and what is built lies beside it. Needs root's rights, and skips where it can't have what it needs.
#   JOBS=N       so many compilers at a time
#   UNITY=no     sources of a folder are compiled one by one, which takes twice as long
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=build/debian13
root=$work/root build=$work/build
skip() { echo "debian13: skipped: $*"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
die() { echo "debian13: $*"; echo "0 passed, 1 failed, 0 skipped"; exit 1; }

[ "$(id -u)" = 0 ] || skip "only root can make another system's root"
unshare --mount --pid --fork true 2>/dev/null || skip "no mounts of its own for a process here (a container without CAP_SYS_ADMIN?)"
command -v apt-get >/dev/null || skip "this machine knows no Debian mirror"
docker/install-packages.sh root || skip "debootstrap can't be installed"

# In the root, with the sources at /src and the build tree at /build.
inside() { docker/in-debian-root.sh "$root" "$build" "$@"; }

mkdir -p "$build"
began=$SECONDS
if [ ! -e "$root" ]; then
  BARE=yes docker/debian-root.sh trixie "$root" >"$work/root.log" 2>&1 || { cat "$work/root.log"; skip "no root of Debian 13"; }
fi
inside /src/docker/install-packages.sh build test || die "Debian 13 does not have all of docker/packages.txt"
echo "debian13: a root with all packages ($((SECONDS - began)) s)"

# Not for a debugger.
{
  inside cmake --preset dev -S /src -B /build -D CMAKE_CXX_FLAGS_DEBUG= -D PAGESERVER_CCACHE=OFF \
    -D CMAKE_UNITY_BUILD="$([ "${UNITY:-yes}" = yes ] && echo ON || echo OFF)" &&
    inside cmake --build /build -j "${JOBS:-$(nproc)}" --target pageserverd pagectl pageserver_c pageserver_static \
      pageserver_shared tests_quick
} >"$work/build.log" 2>&1 || {
  grep -E -A 12 'error|FAILED|Error' "$work/build.log" | head -n 60
  die "does not build (all of it: $work/build.log)"
}
echo "debian13: $(inside g++ --version | head -n 1), built ($((SECONDS - began)) s)"
rm -f "$build/tests.xml"
inside ctest --test-dir /build -j "${JOBS:-$(nproc)}" --output-on-failure --no-tests=error --output-junit /build/tests.xml \
  -L '^quick$' >"$work/tests.log" 2>&1 || tail -n 60 "$work/tests.log"
count() { grep -cE "$1" "$build/tests.xml" 2>/dev/null || :; }
run=$(count '<testcase .*status="run"') all=$(count '<testcase ') skipped=$(count '<skipped message="SKIP_')
[ "${run:-0}" -gt 0 ] || die "no test ran (all of it: $work/tests.log)"
failed=$((all - run - skipped))

# The Python package as a user has it: the library installed and found by the loader, and this Debian's Python. What it is
# tested with comes from PyPI, through this machine's pip.
python_works() {
  rm -rf "$work/venv" "$build/python"
  mkdir -p "$build/python"
  docker/install-packages.sh python && python3 -m venv "$work/venv" || return
  "$work/venv/bin/pip" download --disable-pip-version-check -q -d "$build/python/wheels" --only-binary=:all: \
    "$(grep '^pytest==' client/python/requirements-test.txt)" setuptools wheel || return
  cp -r client/python "$build/python/package"
  inside /src/docker/install-packages.sh python || return
  inside cmake --install /build --component library --prefix /usr/local && inside ldconfig || return
  inside bash -euc 'cd /build/python
    python3 -m venv venv
    venv/bin/pip install --disable-pip-version-check -q --no-index --find-links wheels pytest ./package
    cd package/tests
    PAGESERVERD=/build/bin/pageserverd ../../venv/bin/pytest -q -p no:cacheprovider -c ../pyproject.toml --rootdir . \
      test_plugin.py test_examples.py test_session.py test_aio.py test_cut.py'
}
if python_works >"$work/python.log" 2>&1; then
  run=$((run + 1))
  echo "debian13: $(inside python3 --version), $(tail -n 1 "$work/python.log")"
else
  tail -n 40 "$work/python.log"
  failed=$((failed + 1))
fi
echo "$run passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
