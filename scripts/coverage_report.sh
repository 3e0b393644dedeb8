#!/bin/bash
# Writes the coverage report, by file, of what ran in a tree of the `coverage` preset: DIR/report/index.html, summary.txt and
# missed.txt. Counts add up over runs until the tree's *.gcda files are removed.
#   scripts/coverage_report.sh build/coverage
# Engine, log, codec and recovery must reach 95 % of lines each, and a line of theirs that no test reaches says beside it
# why: `// not reached: REASON`. One that says nothing fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tree=$1
report=$tree/report
mkdir -p "$report"
gcovr --root . --object-directory "$tree" --filter '(include|base|storage|proto|client|server)/' \
  --gcov-ignore-parse-errors --exclude-unreachable-branches --exclude-throw-branches -j "$(nproc)" \
  --html-details "$report/index.html" --txt "$report/summary.txt" --json "$report/lines.json" "$tree"
grep -E '^TOTAL' "$report/summary.txt"
python3 - "$report" <<'PYTHON'
import collections
import json
import pathlib
import re
import sys

PERCENT_MIN = 95
PARTS = [("recovery", r"storage/(engine/recovery|image/image_open)\."), ("log", r"storage/log/"),
         ("engine", r"storage/(engine|embedded)/"), ("codec", r"proto/")]
report = pathlib.Path(sys.argv[1])
lines, hit, excused = collections.Counter(), collections.Counter(), collections.Counter()
missed, silent = [], []
for entry in json.loads((report / "lines.json").read_text())["files"]:
    part = next((name for name, pattern in PARTS if re.match(pattern, entry["file"])), None)
    text = pathlib.Path(entry["file"]).read_text().split("\n")
    for line in entry["lines"]:
        if line.get("gcovr/noncode", False):
            continue
        words = text[line["line_number"] - 1].strip()
        lines[part] += 1
        if line["count"]:
            hit[part] += 1
            continue
        missed.append(f"{entry['file']}:{line['line_number']}: {words}")
        if re.search(r"// not reached: \S", words):
            excused[part] += 1
        elif part:
            silent.append(missed[-1])
(report / "missed.txt").write_text("\n".join(missed) + "\n")
failed = False
for part in ("engine", "log", "codec", "recovery"):
    percent = 100 * hit[part] / max(1, lines[part])
    print(f"{part:9} {hit[part]:5} of {lines[part]:5} lines, {percent:.1f} %, {excused[part]} with a reason")
    if percent < PERCENT_MIN:
        print(f"FAILED: {part} is below {PERCENT_MIN} % of lines")
        failed = True
for place in silent:
    print(f"no test, and no reason: {place}")
print(f"coverage: {report}/index.html, {len(silent)} missed lines of these parts say no reason")
sys.exit(1 if failed or silent else 0)
PYTHON
