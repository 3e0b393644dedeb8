#!/bin/bash
# Writes the coverage report, by file, of what ran in a tree of the `coverage` preset: DIR/report/index.html and
# DIR/report/summary.txt. Counts add up over runs until the tree's *.gcda files are removed.
#   scripts/coverage_report.sh build/coverage
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tree=$1
mkdir -p "$tree/report"
gcovr --root . --object-directory "$tree" --filter '(include|storage|proto|client|server)/' \
  --gcov-ignore-parse-errors --exclude-unreachable-branches --exclude-throw-branches -j "$(nproc)" \
  --html-details "$tree/report/index.html" --txt "$tree/report/summary.txt" "$tree"
grep -E '^TOTAL' "$tree/report/summary.txt"
echo "coverage: $tree/report/index.html"
