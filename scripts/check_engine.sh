#!/bin/bash
# The engine wasm-dbms 0.11.0 itself, from crates.io, through the crate in client/rust and a daemon: see tests/engine.
# Its own unit tests run on our memory, a fork for each; then programs of ours. The last line is
# `N passed, N failed, N skipped`.
#   scripts/check_engine.sh [CARGO_TEST_ARGUMENT...]    arguments are for the programs of ours, such as `--test kill`
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
export CARGO_TARGET_DIR=$PWD/build/engine
export PAGESERVERD=${PAGESERVERD:-$PWD/build/dev/bin/pageserverd}
export PAGECTL=${PAGECTL:-$PWD/build/dev/bin/pagectl}
area=engine
# shellcheck source=scripts/cargo_tests.sh
. scripts/cargo_tests.sh

# The engine's crates declare 1.96; 1.95 builds them.
if ! at_least 1.95; then
  skip all "rustc is $version, the engine needs 1.95 or newer"
  tally
  exit
fi
manifest=(--manifest-path tests/engine/Cargo.toml --locked)
if ! cargo fetch "${manifest[@]}" >build/logs/engine-fetch.log 2>&1; then
  tail -n 20 build/logs/engine-fetch.log
  skip all "the engine's crates can't be fetched"
  tally
  exit
fi

echo "rustc $version, $PAGESERVERD"
run programs cargo test "${manifest[@]}" --ignore-rust-version --no-fail-fast "$@" -- --nocapture
grep -e ' torn$' -e ' torn images ' build/logs/engine-programs.log
if cargo clippy --version >/dev/null 2>&1; then
  # The crate with its features, too: scripts/check_rust.sh has it without.
  run clippy cargo clippy "${manifest[@]}" --ignore-rust-version -p pageserver -p pageserver-engine-tests --all-targets -- -D warnings
else
  skip clippy "there is none"
fi
if [ $# = 0 ]; then
  own=$PWD/build/engine-own
  run unpack tests/engine/unpack.py "$own"
  own=(cargo test --manifest-path "$own/Cargo.toml" --locked --ignore-rust-version --workspace --lib)
  run own-cached env PAGESERVER_TEST_CACHE_BYTES=1MiB "${own[@]}"
  # Without a cache each access is a request: PAGESERVER_ENGINE_BRIEF leaves the half that is about memory.
  [ -z "${PAGESERVER_ENGINE_BRIEF:-}" ] || own=("${own[@]/--workspace/--package=wasm-dbms-memory}")
  run own env PAGESERVER_TEST_CACHE_BYTES=off "${own[@]}"
fi
tally
