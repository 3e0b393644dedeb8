#!/bin/bash
# Runs every libFuzzer target of a tree of the `fuzz` preset: its corpus first, then new inputs for a while. What it finds
# interesting goes into TREE/found, what breaks it into TREE/crashes; neither is copied into the corpus by itself.
#   scripts/run_fuzzers.sh build/fuzz [SECONDS]      for each target, 20 unless told
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tree=$1 seconds=${2:-20}
targets=("$tree"/bin/fuzz_*)
[ -x "${targets[0]}" ] || { echo "no fuzzer in $tree/bin"; exit 1; }

fuzz_one() {
  local target=$1 name=${1##*/}
  mkdir -p "$tree/found/$name" "$tree/crashes/$name"
  "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
    -artifact_prefix="$tree/crashes/$name/" "$tree/found/$name" "tests/fuzz/corpus/$name" >"$tree/$name.log" 2>&1 ||
    { tail -n 60 "$tree/$name.log"; echo "$name failed: the input is in $tree/crashes/$name"; return 1; }
  echo "$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$tree/$name.log") inputs"
}
export -f fuzz_one
export tree seconds
# shellcheck disable=SC2016 # for the inner shell
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -c 'fuzz_one "$1"' _ {}
echo "fuzz: ${#targets[@]} targets, $seconds s each"
