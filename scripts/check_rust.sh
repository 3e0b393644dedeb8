#!/bin/bash
# Tests the Rust crate in client/rust against the daemon of the development build, and lints it where the tools are.
# The last line is `N passed, N failed, N skipped`.
#   scripts/check_rust.sh [CARGO_TEST_ARGUMENT...]
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
export CARGO_TARGET_DIR=$PWD/build/rust
export PAGESERVERD=${PAGESERVERD:-$PWD/build/dev/bin/pageserverd}
area=rust
# shellcheck source=scripts/cargo_tests.sh
. scripts/cargo_tests.sh

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
run suite cargo run "${manifest[@]}" --example suite 20 8
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
  rm -rf build/rust/doc  # of items that are gone
  run doc env RUSTDOCFLAGS='-D warnings' cargo doc "${manifest[@]}" --no-deps
  recorded=$(sed -n '1s/^# rustdoc //p' client/rust/api.txt)
  case $version in
    "$recorded".*) run api scripts/rust_api.py build/rust/doc/pageserver client/rust/api.txt ;;
    *) skip api "client/rust/api.txt is in the words of rustdoc $recorded" ;;
  esac
else
  skip doc "rustdoc is not there, or too old"
fi
tally
