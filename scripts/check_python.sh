#!/bin/bash
# Tests the Python package in client/python against the library and the daemon of the development build, with each Python
# from 3.9 on that is here. The last line is `N passed, N failed, N skipped`.
#   scripts/check_python.sh [PYTEST_ARGUMENT...]
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
export PAGESERVERD=${PAGESERVERD:-$PWD/build/dev/bin/pageserverd}
export PAGECTL=${PAGECTL:-$PWD/build/dev/bin/pagectl}
export PAGESERVER_LIBRARY=${PAGESERVER_LIBRARY:-$PWD/build/dev/client/libpageserver.so.1}
package=$PWD/client/python
venvs=$PWD/build/python
passed=0 failed=0 skipped=0
mkdir -p "$venvs" build/logs

fail() {
  echo "FAILED: python $1 (all of it: $2)"
  failed=$((failed + 1))
}

# Each minor version once: the system's first, then those of pyenv.
pythons=() seen=" "
for python in /usr/bin/python3 python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python /usr/bin/python3.[0-9]*; do
  version=$("$python" -c 'import sys, ssl, venv, ctypes; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
  if [[ ! "$version" =~ ^3\.(9|[1-9][0-9])$ ]] || [[ "$seen" == *" $version "* ]]; then continue; fi
  seen+="$version "
  pythons+=("$version $python")
done
[ ${#pythons[@]} -gt 0 ] || { echo "no Python from 3.9 on is here"; echo "0 passed, 1 failed, 0 skipped"; exit 1; }

typed=
for each in "${pythons[@]}"; do
  version=${each%% *} python=${each#* }
  venv=$venvs/$version log=$PWD/build/logs/python-$version.log
  printf -- '-- python %s (%s)\n' "$version" "$python"
  if [ ! -x "$venv/bin/pytest" ] || ! cmp -s "$package/requirements-test.txt" "$venv/requirements"; then
    rm -rf "$venv"
    if ! { "$python" -m venv "$venv" && "$venv/bin/pip" install --disable-pip-version-check -q -r "$package/requirements-test.txt"; } \
      >"$log" 2>&1; then
      tail -n 20 "$log"
      fail "$version: no place to test in" "$log"
      continue
    fi
    cp "$package/requirements-test.txt" "$venv/requirements"
  fi
  # As a user installs it, from a copy: the build leaves its own files beside the sources.
  rm -rf "$venv/source"
  mkdir "$venv/source"
  cp -r "$package/pyproject.toml" "$package/README.md" "$package/src" "$venv/source/"
  if ! "$venv/bin/pip" install --disable-pip-version-check -q --force-reinstall --no-deps "$venv/source" >"$log" 2>&1; then
    tail -n 20 "$log"
    fail "$version: pip install" "$log"
    continue
  fi
  passed=$((passed + 1))
  # From a folder in which no source of the package lies.
  (cd "$package/tests" && "$venv/bin/pytest" -q -p no:cacheprovider -c ../pyproject.toml --rootdir . \
    --junitxml "$venv/report.xml" "$@" .) >"$log" 2>&1
  status=$?
  read -r tests errors failures skips < <(sed -nE \
    's/.*<testsuite [^>]*errors="([0-9]+)" failures="([0-9]+)" skipped="([0-9]+)" tests="([0-9]+)".*/\4 \1 \2 \3/p' "$venv/report.xml"; echo)
  tests=${tests:-0}
  bad=$((${errors:-0} + ${failures:-0}))
  if [ "$status" != 0 ]; then
    tail -n 80 "$log"
    [ "$bad" != 0 ] || bad=1
    echo "FAILED: python $version (all of it: $log)"
  fi
  printf '   %s passed, %s failed\n' $((tests - bad - ${skips:-0})) "$bad"
  passed=$((passed + tests - bad - ${skips:-0})) failed=$((failed + bad)) skipped=$((skipped + ${skips:-0}))
  if [ -z "$typed" ]; then
    typed=1
    if (cd "$package" && "$venv/bin/mypy" --cache-dir "$venv/mypy") >"$log.mypy" 2>&1; then
      passed=$((passed + 1))
    else
      cat "$log.mypy"
      fail "mypy" "$log.mypy"
    fi
  fi
done

# As a user who has installed the library: the system's own loader finds it, and no variable says where it is.
installed_works() {
  local place=$venvs/installed library
  rm -rf "$place"
  cmake --install build/dev --component library --prefix "$place/usr" >/dev/null || return
  library=$(dirname "$(find "$place/usr" -name libpageserver.so.1)")
  echo "$library" >"$place/ld.so.conf"
  ldconfig -f "$place/ld.so.conf" -C "$place/ld.so.cache" || return
  mkdir "$place/source"
  cp -r "$package/pyproject.toml" "$package/README.md" "$package/src" "$place/source/"
  python3 -m venv "$place/venv" &&
    "$place/venv/bin/pip" install --disable-pip-version-check -q -r "$package/requirements-test.txt" "$place/source" || return
  # shellcheck disable=SC2016 # for the inner shell
  env -u PAGESERVER_LIBRARY -u LD_LIBRARY_PATH unshare --mount sh -c \
    'mount --bind "$1/ld.so.cache" /etc/ld.so.cache && cd "$2" && exec "$1/venv/bin/pytest" -q -p no:cacheprovider \
      -c ../pyproject.toml --rootdir . test_plugin.py test_examples.py test_session.py' _ "$place" "$package/tests"
}
log=$PWD/build/logs/python-installed.log
echo "-- python installed"
if ! unshare --mount true 2>/dev/null || ! command -v ldconfig >/dev/null; then
  echo "   skipped: no mounts of its own for a process here, or no ldconfig"
  skipped=$((skipped + 1))
elif installed_works >"$log" 2>&1; then
  passed=$((passed + 1))
else
  tail -n 40 "$log"
  fail installed "$log"
fi

# The wheel that carries the library: where no other is to be found, it is enough.
log=$PWD/build/logs/python-wheel.log
echo "-- python wheel"
wheel_works() {
  scripts/build_wheel.sh build/python/wheel && rm -rf "$venvs/of-wheel" && python3 -m venv "$venvs/of-wheel" &&
    "$venvs/of-wheel/bin/pip" install --disable-pip-version-check -q -r "$package/requirements-test.txt" build/python/wheel/*.whl &&
    (cd "$package/tests" && env -u PAGESERVER_LIBRARY "$venvs/of-wheel/bin/pytest" -q -p no:cacheprovider \
      -c ../pyproject.toml --rootdir . test_plugin.py test_examples.py)
}
if wheel_works >"$log" 2>&1; then
  grep -oE 'consistent with the following platform tag: "[^"]+"' "$log"
  passed=$((passed + 1))
else
  tail -n 40 "$log"
  fail wheel "$log"
fi

# A guest of a real WASI runtime, which PyPI has, writes an image through `pagectl mount`.
log=$PWD/build/logs/python-wasi.log
echo "-- python wasi guest"
wasi_guest() {
  local venv=$venvs/wasi
  [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || return
  "$venv/bin/pip" install --disable-pip-version-check -q wasmtime==50.0.1 || return
  "$venv/bin/python" tests/pagectl/wasi_guest.py "$PAGESERVERD" "$PAGECTL"
}
wasi_guest >"$log" 2>&1
case $? in
  0) passed=$((passed + 1)) ;;
  77)
    cat "$log"
    skipped=$((skipped + 1)) ;;
  *)
    tail -n 40 "$log"
    fail wasi "$log" ;;
esac
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
