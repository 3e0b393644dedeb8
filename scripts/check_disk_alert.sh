#!/bin/bash
# Whether the alert on a disk that fills fires: a real daemon on a small disk, a Prometheus from Debian that scrapes it with the
# shipped rules, and a writer that fills the disk. Takes as long as the rule waits (10 minutes).
#   scripts/check_disk_alert.sh [BIN]   a folder with pageserverd and pagectl (build/release/bin)
#   ALERT_FOR=20s                       what the rules wait for, instead of what they say
# Needs root's rights, for the disk. Skips where something is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=$(realpath "${1:-build/release/bin}")
for tool in prometheus curl unshare; do
  command -v "$tool" >/dev/null || { echo "SKIPPED: $tool is not here"; exit 0; }
done
if [ -z "${INSIDE:-}" ]; then
  unshare --mount true 2>/dev/null || { echo "SKIPPED: only root can have a disk of its own here"; exit 0; }
  exec env INSIDE=1 unshare --mount "$0" "$bin"
fi

work=$(mktemp -d)
pids=()
# shellcheck disable=SC2317 # the trap calls it
clean_up() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || :; done
  wait
  umount "$work/disk" 2>/dev/null || :
  rm -rf "$work"
}
trap clean_up EXIT
mkdir "$work/disk"
mount -t tmpfs -o size=1g tmpfs "$work/disk"

"$bin/pageserverd" --unix "$work/s.sock" --store "demo=$work/disk/demo.img" --metrics 0 2>"$work/daemon.log" &
daemon=$!
pids+=("$daemon")
uri="pageserver+unix:///demo?socket=$work/s.sock"
"$bin/pagectl" ping --wait 20000 "pageserver+unix:///?socket=$work/s.sock" >"$work/ping.log"
target=$(sed -nE 's/.* INFO metrics listener=(\S+)$/\1/p' "$work/daemon.log")

cp monitoring/pageserver.rules.yaml "$work/rules.yaml"
[ -z "${ALERT_FOR:-}" ] || sed -i -E "s/^( *for:) .*/\1 $ALERT_FOR/" "$work/rules.yaml"
cat >"$work/prometheus.yaml" <<YAML
global: {scrape_interval: 2s, evaluation_interval: 2s}
rule_files: [$work/rules.yaml]
scrape_configs: [{job_name: pageserver, static_configs: [{targets: ["$target"]}]}]
YAML
# A port that is free now.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
prometheus --config.file="$work/prometheus.yaml" --storage.tsdb.path="$work/data" --web.listen-address="127.0.0.1:$port" \
  >"$work/prometheus.log" 2>&1 &
pids+=($!)

began=$SECONDS
state() {
  { curl -fsS "http://127.0.0.1:$port/api/v1/alerts" 2>/dev/null || :; } | python3 -c '
import json, sys
try: alerts = json.load(sys.stdin)["data"]["alerts"]
except ValueError: alerts = []
print(" ".join(sorted(a["labels"]["alertname"] + "=" + a["state"] for a in alerts)))'
}
# 512 KiB at a time, of 1 GiB: it is not full when the alert comes, and would be within the hour.
written=0 pending=''
"$bin/pagectl" grow "$uri" 12000 >/dev/null
while ((SECONDS - began < ${PATIENCE_S:-900})); do
  now=$(state)
  [[ -n "$pending" || "$now" != *PageserverDiskFull=pending* ]] || pending=$((SECONDS - began))
  if [[ "$now" == *PageserverDiskFull=firing* ]]; then
    left=$(curl -fsS "http://$target/metrics" | sed -nE 's/^pageserver_store_disk_available_bytes\{store="demo"\} //p')
    echo "disk alert: pending after ${pending:-?} s, fires after $((SECONDS - began)) s, with $written pages written and $left bytes left; alerts: $now"
    exit 0
  fi
  head -c 524288 /dev/urandom | "$bin/pagectl" write "$uri" $((written % 12000 * 65536)) >/dev/null
  written=$((written + 8))
  sleep 1
done
echo "disk alert: PageserverDiskFull did not fire within $((SECONDS - began)) s; alerts: $(state)"
tail -n 5 "$work"/*.log
exit 1
