#!/bin/bash
# Says whether what is in monitoring/ speaks of metrics that there are, and, where promtool is here (Debian's package
# prometheus), whether the alerts fire on made-up series when they should.
#   scripts/check_monitoring.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python3 - <<'PYTHON'
import json, re, sys
known = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", open("docs/metrics.md").read(), re.M))
faults = []
for name in ("monitoring/pageserver.rules.yaml", "monitoring/pageserver.rules.test.yaml", "monitoring/grafana-dashboard.json"):
    text = open(name).read()
    used = set(re.findall(r"\b((?:pageserver|process)_[a-z_]+)", text)) - {"process_"}
    if not used:
        faults.append(f"{name}: names no metric")
    for metric in sorted(used):
        base = re.sub(r"_(bucket|sum|count)$", "", metric)
        if metric not in known and known.get(base) != "histogram":
            faults.append(f"{name}: {metric} is not in docs/metrics.md")
dashboard = json.load(open("monitoring/grafana-dashboard.json"))
for panel in dashboard["panels"]:
    if panel["datasource"]["uid"] != "${datasource}":
        faults.append(f"monitoring/grafana-dashboard.json: panel {panel['title']} names a data source of its own")
print("\n".join(faults) or f"monitoring: {len(dashboard['panels'])} panels, all of known metrics")
sys.exit(bool(faults))
PYTHON
command -v promtool >/dev/null || { echo "SKIPPED: promtool is not here: the alerts were not tried"; exit 0; }
promtool check rules monitoring/pageserver.rules.yaml
promtool test rules monitoring/pageserver.rules.test.yaml
