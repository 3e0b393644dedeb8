#!/bin/bash
# Tests the Rust crate in client/rust against the daemon of the development build, and lints it where the tools are.
# The last line is `N passed, N failed, N skipped`.
#   scripts/check_rust.sh [CARGO_TEST_ARGUMENT...]
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
export CARGO_TARGET_DIR=$PWD/build/rust CARGO_TERM_COLOR=never
export PAGESERVERD=${PAGESERVERD:-$PWD/build/dev/bin/pageserverd}
passed=0 failed=0 skipped=0
mkdir -p build/logs

# run NAME COMMAND...: each test that cargo counts counts; a command without any is one test.
run() {
  local name=$1 log=build/logs/rust-$1.log ok=0 bad=0 status
  shift
  printf -- '-- rust %s\n' "$name"
  "$@" >"$log" 2>&1
  status=$?
  read -r ok bad < <(awk '/^test result:/ { ok += $4; bad += $6 } END { print ok + 0, bad + 0 }' "$log")
  if [ "$status" != 0 ]; then
    tail -n 80 "$log"
    echo "FAILED: rust $name (all of it: $log)"
    [ "$bad" != 0 ] || bad=1
  elif [ "$ok" = 0 ]; then
    ok=1
  fi
  printf '   %s passed, %s failed\n' "$ok" "$bad"
  passed=$((passed + ok)) failed=$((failed + bad))
}

skip() {
  echo "-- rust $1: skipped, $2"
  skipped=$((skipped + 1))
}

# at_least MAJOR.MINOR: whether rustc is that new.
version=$(rustc --version | awk '{ print $2 }')
at_least() { printf '%s\n%s\n' "$1" "$version" | sort -C -V; }

# Without its optional dependencies, so that no registry is asked: an old cargo would ask for the whole of its index.
crate=build/rust-plain
rm -rf "$crate"
mkdir -p "$crate"
{
  sed '/^# What follows needs a registry/,$d' client/rust/Cargo.toml
  echo '[features]'
  sed -nE '/^\[features\]/,/^\[dep/s/^([a-z0-9-]+ = ).*/\1[]/p' client/rust/Cargo.toml
} >"$crate/Cargo.toml"
for part in client/rust/*; do
  case $part in */Cargo.toml | */Cargo.lock | */target) ;; *) ln -s "$PWD/$part" "$crate/" ;; esac
done
manifest=(--manifest-path "$crate/Cargo.toml" --offline)

echo "rustc $version, $PAGESERVERD"
run test cargo test "${manifest[@]}" "$@"
if cargo clippy --version >/dev/null 2>&1 && at_least 1.80; then
  run clippy cargo clippy "${manifest[@]}" --all-targets -- -D warnings
else
  skip clippy "there is none, or one of another year"
fi
if cargo fmt --version >/dev/null 2>&1 && at_least 1.80; then
  run fmt cargo fmt --manifest-path "$crate/Cargo.toml" --check
else
  skip fmt "there is none, or one of another year"
fi
if command -v rustdoc >/dev/null && at_least 1.80; then
  run doc env RUSTDOCFLAGS='-D warnings' cargo doc "${manifest[@]}" --no-deps
else
  skip doc "rustdoc is not there, or too old"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
