#!/bin/bash
# Says whether the manual pages and the completion in docs/manuals are those that the program WRITE_MANUALS makes from
# the tables behind --help, and whether man and mandoc have something to say about the pages.
#   scripts/check_manuals.sh WRITE_MANUALS             fails where anything differs
#   scripts/check_manuals.sh WRITE_MANUALS --write     makes them anew
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
writer=$1
if [ "${2:-}" = --write ]; then
  rm -rf docs/manuals/man docs/manuals/completion
  "$writer" docs/manuals
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$writer" "$work"
failed=0
for kind in man completion; do
  if ! diff -ru "docs/manuals/$kind" "$work/$kind"; then
    echo "docs/manuals/$kind is stale: scripts/check_manuals.sh $writer --write"
    failed=1
  fi
done

# Each looks for something else.
said=$(
  for page in "$work"/man/*; do
    if command -v mandoc >/dev/null; then mandoc -T lint "$page" 2>&1 || true; fi
    if command -v man >/dev/null && man --help 2>&1 | grep -q -- --warnings; then
      # The formatter is not there in every container.
      if command -v groff >/dev/null; then LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -E UTF-8 -l "$page" 2>&1 >/dev/null || true; fi
    fi
  done
)
if [ -n "$said" ]; then
  printf '%s\n' "$said"
  failed=1
fi

for check in 'bash -n completion/pagectl.bash' 'zsh -n completion/_pagectl' 'fish --no-execute completion/pagectl.fish'; do
  command -v "${check%% *}" >/dev/null || continue
  (cd "$work" && $check) || failed=1
done
[ $failed != 0 ] || command -v mandoc >/dev/null || command -v man >/dev/null ||
  { echo "SKIPPED: neither mandoc nor man is here; else the pages and completion are as the tables say"; exit 0; }
pages=("$work"/man/*)
[ $failed = 0 ] && echo "manuals: ${#pages[@]} pages, and completion for three shells, as the tables say"
exit $failed
