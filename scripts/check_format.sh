#!/bin/bash
# Fails, naming each place, unless every C++ and C file is as clang-format 14 and .clang-format want it.
# `scripts/check_format.sh --fix` rewrites the files instead.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mapfile -t files < <(scripts/sources.sh '*.cpp' '*.hpp' '*.c' '*.h')
[ ${#files[@]} -gt 0 ] || { echo "no C++ or C file found"; exit 1; }
if [ "${1:-}" = --fix ]; then
  clang-format-14 -i "${files[@]}"
else
  clang-format-14 --dry-run --Werror "${files[@]}"
fi
echo "format: ${#files[@]} files"
