#!/bin/bash
# Compares the binary interface of libpageserver.so.1 with the recorded one, tests/fixtures/libpageserver.abi, by abidiff
# (libabigail). The library has to have debug information.
#   scripts/check_abi.sh LIBRARY             fails where anything differs
#   scripts/check_abi.sh LIBRARY --record    records it anew; says what changed, and refuses what surely breaks programs
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
library=$1
record=tests/fixtures/libpageserver.abi
if ! command -v abidiff >/dev/null || ! command -v abidw >/dev/null; then
  echo "SKIPPED: abidiff is not installed (Debian: abigail-tools)"
  exit 0
fi
[ -f "$library" ] || { echo "$library: no such file"; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
now=$work/now.abi
# The public part: no place in a file, no path of this machine, nothing of what a handle points to.
abidw --headers-dir "$PWD/include/pageserver" --exported-interfaces-only --drop-private-types --no-corpus-path \
  --no-comp-dir-path --no-show-locs --out-file "$now" "$library"
sed -i "s|path='$PWD/|path='|" "$now"
grep -q "<class-decl name='ps_options'" "$now" || { echo "$library has no debug information to compare types by"; exit 1; }

# Bits of the status: 1 and 2 are errors, 4 a change, 8 one that breaks programs.
status=0
if [ -f "$record" ]; then
  abidiff "$record" "$now" >"$work/said" || status=$?
else
  : >"$work/said"
fi
if [ "${2:-}" = --record ]; then
  if [ $((status & 11)) != 0 ]; then
    cat "$work/said"
    echo "programs that were linked to libpageserver.so.1 would break: give it back, or raise the soname"
    exit 1
  fi
  if [ "$status" != 0 ]; then
    cat "$work/said"
    echo "look at each of these: a struct may only have grown at its end, and a name may only have come"
  fi
  cp "$now" "$record"
  echo "abi: recorded $(grep -c '<elf-symbol ' "$record") functions"
  exit 0
fi
if [ "$status" != 0 ] || [ ! -f "$record" ]; then
  cat "$work/said"
  echo "$library differs from $record. What only adds to it is recorded by scripts/check_abi.sh LIBRARY --record, with a"
  echo "symbol version of its own in cmake/pageserver_c.exports; anything else breaks programs."
  exit 1
fi
echo "abi: $(grep -c '<elf-symbol ' "$record") functions, as recorded"
