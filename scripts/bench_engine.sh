#!/bin/bash
# The live engine wasm-dbms through the daemon, cached, beside its own file provider: see tests/engine/src/bin/commits.rs. Builds
# what it needs. Some minutes; only a calm machine tells anything. Engine and daemon have a core each where there are several, as
# where the same engine's recorded workloads are measured.
#   scripts/bench_engine.sh [ROUNDS [small|transactions|blobs|poll_us=N]...]      5 rounds unless told
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ -z "${PAGESERVERD:-}" ]; then
  { cmake --preset bench && cmake --build --preset bench --target pageserverd; } >/dev/null
  PAGESERVERD=$PWD/build/bench/bin/pageserverd
fi
export CARGO_TARGET_DIR=$PWD/build/engine PAGESERVERD
manifest=(--manifest-path tests/engine/Cargo.toml --locked --ignore-rust-version)
cargo build -q --release "${manifest[@]}" --bin commits
pinned=()
if [ "$(nproc)" -gt 1 ]; then
  mapfile -t cores < <(taskset -cp $$ | sed 's/.*: //; s/,/\n/g' | awk -F- '{ for (i = $1; i <= (NF > 1 ? $2 : $1); i++) print i }')
  alone=$CARGO_TARGET_DIR/pageserverd-on-a-core
  printf '#!/bin/sh\nexec taskset -c %s %q "$@"\n' "${cores[0]}" "$PAGESERVERD" >"$alone"
  chmod +x "$alone"
  PAGESERVERD=$alone pinned=(taskset -c "${cores[-1]}")
fi
exec "${pinned[@]}" "$CARGO_TARGET_DIR/release/commits" "${@:-5}"
