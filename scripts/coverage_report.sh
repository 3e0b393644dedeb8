#!/bin/bash
# Writes the coverage report, by file, of what ran in a tree of the `coverage` preset: DIR/report/index.html, summary.txt and
# missed.txt. Counts add up over runs until the tree's *.gcda files are removed.
#   scripts/coverage_report.sh build/coverage
# Engine, log, codec and recovery must reach 95 % of lines each. What they miss is in tests/coverage_missed.txt with a reason;
# one entry is for one line. A missed line without one fails, and so does an entry whose text is no longer in its file.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tree=$1 reasons=tests/coverage_missed.txt percent_min=95
report=$tree/report
mkdir -p "$report"
gcovr --root . --object-directory "$tree" --filter '(include|base|storage|proto|client|server)/' \
  --gcov-ignore-parse-errors --exclude-unreachable-branches --exclude-throw-branches -j "$(nproc)" \
  --html-details "$report/index.html" --txt "$report/summary.txt" --csv "$report/summary.csv" --json "$report/lines.json" "$tree"
grep -E '^TOTAL' "$report/summary.txt"

part_of() {
  case $1 in
    storage/engine/recovery.* | storage/image/image_open.*) echo recovery ;;
    storage/log/*) echo log ;;
    storage/engine/* | storage/embedded/*) echo engine ;;
    proto/*) echo codec ;;
  esac
}

status=0
declare -A all covered
while IFS=, read -r file lines hit _; do
  part=$(part_of "$file")
  [ -n "$part" ] || continue
  all[$part]=$((${all[$part]:-0} + lines)) covered[$part]=$((${covered[$part]:-0} + hit))
done < <(tail -n +2 "$report/summary.csv")
for part in engine log codec recovery; do
  lines=${all[$part]:-0} hit=${covered[$part]:-0}
  printf '%-9s %5d of %5d lines, %d.%d %%\n' "$part" "$hit" "$lines" $((lines ? hit * 100 / lines : 0)) \
    $((lines ? hit * 1000 / lines % 10 : 0))
  if [ "$lines" = 0 ] || [ $((hit * 100)) -lt $((lines * percent_min)) ]; then
    echo "FAILED: $part is below $percent_min % of lines"
    status=1
  fi
done

# "FILE<tab>LINE<tab>TEXT" of each line that never ran.
python3 - "$report/lines.json" >"$report/missed.txt" <<'PYTHON'
import json, sys
for entry in json.load(open(sys.argv[1]))["files"]:
    text = open(entry["file"]).read().split("\n")
    for line in entry["lines"]:
        if line["count"] == 0 and not line.get("gcovr/noncode", False):
            print(entry["file"], line["line_number"], text[line["line_number"] - 1].strip(), sep="\t")
PYTHON

mapfile -t entries < <(grep -vE '^(#|$)' "$reasons")
unexplained=0 explains=()
while IFS=$'\t' read -r file line text; do
  [ -n "$(part_of "$file")" ] || continue
  explained=
  for i in "${!entries[@]}"; do
    IFS='|' read -r listed_file listed_text _ <<<"${entries[i]}"
    if [ "$listed_file" = "$file" ] && [[ "$text" = *"$listed_text"* ]] && [ -z "${explains[i]:-}" ]; then
      explained=1 explains[i]=1
      break
    fi
  done
  [ -n "$explained" ] || { echo "no reason: $file:$line: $text"; unexplained=$((unexplained + 1)); }
done <"$report/missed.txt"
[ "$unexplained" = 0 ] || { echo "FAILED: $unexplained missed lines are not in $reasons"; status=1; }
while IFS='|' read -r file text reason; do
  grep -qF -- "$text" "$file" 2>/dev/null && [ -n "$reason" ] && continue
  echo "FAILED: $reasons says '$file|$text|$reason', but there is no such line"
  status=1
done < <(printf '%s\n' "${entries[@]}")
echo "coverage: $report/index.html, $unexplained missed lines of these parts without a reason"
exit "$status"
