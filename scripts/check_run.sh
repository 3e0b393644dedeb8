#!/bin/bash
# Does with ./run.sh what its reader does: starts it, waits until it serves, types what README's first screen shows, and ends it
# with Ctrl-C. On a port that is free and in a folder of its own; the build tree is build/release, where run.sh builds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
started=
clean_up() {
  [ -z "$started" ] || kill -KILL "$started" 2>/dev/null || :
  rm -rf "$work"
}
trap clean_up EXIT
die() { echo "$*"; cat "$work/out" 2>/dev/null || :; exit 1; }

[ "$(./run.sh -- --version 2>"$work/out")" = "$(build/release/bin/pageserverd --version)" ] ||
  die "./run.sh -- FLAGS does not hand flags to the daemon"

# A background process of a script ignores SIGINT: job control gives it the terminal's way.
set -m
PORT=0 DEMO=$work/demo ./run.sh >"$work/out" 2>&1 </dev/null &
started=$!
set +m
for ((tries = 0; tries < 3000; tries++)); do
  ! grep -q 'until you press Ctrl-C' "$work/out" || break
  kill -0 "$started" 2>/dev/null || die "./run.sh ended before it served"
  sleep 0.1
done
grep -q '|.*hello.*|$' "$work/out" || die "./run.sh shows no bytes of the demo"
uri=pageserver://$(head -n 1 "$work/demo/port")/demo

# The block of README that uses pagectl, as it stands but for the address and the copy's place.
commands=$(awk '/^    / && /pagectl|PATH/ { sub(/^    /, ""); print; found = 1; next } found { exit }' README.md)
[ "$(wc -l <<<"$commands")" -ge 4 ] || die "README's first commands were not found"
commands=${commands//"pageserver://127.0.0.1/demo"/$uri}
commands=${commands//backup.img/$work/backup.img}
bash -ec "$commands" >"$work/commands" 2>&1 || { cat "$work/commands"; die "README's first commands failed"; }
grep -q 'hello' "$work/commands" || { cat "$work/commands"; die "README's commands did not read what they wrote"; }

kill -INT "$started"
status=0
wait "$started" || status=$?
started=
[ "$status" = 0 ] || die "./run.sh ended with status $status after Ctrl-C"
[ "$(echo "$work"/demo/demo.img*)" = "$work/demo/demo.img" ] || die "more than the image was left behind: $(ls "$work/demo")"
echo "run: ./run.sh, $(wc -l <<<"$commands") commands of README, Ctrl-C"
