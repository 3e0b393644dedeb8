#!/bin/bash
# Builds a fuzz target with the stable compiler, and runs it with a corpus of its own in build/rust-fuzz.
#   client/rust/fuzz/run.sh answers|uris|sessions [LIBFUZZER_ARGUMENT...]        -max_total_time=60 unless told
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
target=$1
shift
[ $# -gt 0 ] || set -- -max_total_time=60
export CARGO_TARGET_DIR=$PWD/build/rust-fuzz
# What cargo-fuzz asks for, as far as the stable compiler has it: coverage and comparisons, no sanitizer.
flags=(--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module)
for flag in level=4 inline-8bit-counters pc-table trace-compares; do flags+=("-Cllvm-args=-sanitizer-coverage-$flag"); done
host=$(rustc -vV | sed -n 's/^host: //p')
# A target of its own, so that build scripts are built without.
RUSTFLAGS="${flags[*]}" cargo build --manifest-path client/rust/fuzz/Cargo.toml --locked --release --target "$host" --bin "$target"
corpus=build/rust-fuzz/corpus/$target
mkdir -p "$corpus"
seeds=(tests/fuzz/corpus/fuzz_answers tests/fuzz/corpus/fuzz_framing)
"$CARGO_TARGET_DIR/$host/release/$target" "$@" "$corpus" "${seeds[@]}"
