#!/bin/bash
# Prints the files of this project that match the given patterns: what git knows or would add, else what is there.
#   scripts/sources.sh '*.cpp' '*.hpp'
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
  git ls-files --cached --others --exclude-standard -- "$@" | while IFS= read -r file; do
    [ ! -f "$file" ] || printf '%s\n' "$file"
  done
else
  names=()
  for pattern in "$@"; do names+=(-o -name "$pattern"); done
  find . -name build -prune -o -type f \( "${names[@]:1}" \) -printf '%P\n'
fi
