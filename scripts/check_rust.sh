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
# No other crate, and not more than 5 s of a processor.
alone_and_quick() {
  local dependencies took
  dependencies=$(cargo tree "${manifest[@]}" --edges normal,build --prefix none | tail -n +2)
  [ -z "$dependencies" ] || { echo "dependencies: $dependencies"; return 1; }
  rm -rf build/rust-compile
  took=$( { TIMEFORMAT='%U %S'; time cargo build "${manifest[@]}" --lib --target-dir build/rust-compile >&2; } 2>&1 |
    tail -n 1 | awk '{ print $1 + $2 }')
  echo "compiled in $took s of a processor"
  # The bar is 5 s on a calm machine; others have to notice only what made the crate much heavier.
  awk -v took="$took" 'BEGIN { exit !(took > 0 && took <= 15) }'
}

# The oldest compiler that the crate promises is Debian 12's, unpacked where another one is installed.
oldest=$PWD/build/rust-oldest
unpack_oldest() {
  [ ! -x "$oldest/usr/bin/cargo" ] || return 0
  rm -rf "$oldest" "$oldest.debs"
  mkdir -p "$oldest" "$oldest.debs"
  (cd "$oldest.debs" && apt-get -q download rustc cargo libstd-rust-dev libstd-rust-1.63 libllvm14 libgit2-1.5 libmbedcrypto7 \
    libmbedtls14 libmbedx509-1 libhttp-parser2.9 libssh2-1) >build/logs/rust-unpack.log 2>&1 || return
  for package in "$oldest.debs"/*.deb; do dpkg -x "$package" "$oldest" || return; done
  rm -r "$oldest.debs"
}
oldest_compiler() {
  env -u RUSTUP_TOOLCHAIN LD_LIBRARY_PATH="$oldest/usr/lib/x86_64-linux-gnu" RUSTC="$oldest/usr/bin/rustc" \
    "$oldest/usr/bin/cargo" check "${manifest[@]}" --all-targets --target-dir build/rust-oldest-target
}

run alone alone_and_quick
if ! at_least 1.64; then
  echo "-- rust oldest: it is the one that ran the tests"
elif apt-cache policy rustc 2>/dev/null | grep 'Candidate: 1\.63\.' >/dev/null && unpack_oldest; then
  run oldest oldest_compiler
else
  skip oldest "rustc 1.63 is not to be had from this machine's packages"
fi
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
