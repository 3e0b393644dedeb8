#!/bin/bash
# Says whether systemd takes the unit and the files beside it, and how much the unit leaves open: at most 2.0 of 10.
#   scripts/check_unit.sh        in a folder of its own; touches nothing of this machine
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# What the daemon asks the scheduler for is among the calls that the unit would take away.
for call in sched_setattr setpriority; do
  grep -qE "(SYS_|::)$call" server/runtime/*.cpp || { echo "$call: nothing in server/runtime calls it any more"; exit 1; }
  grep -qE "^SystemCallFilter=[^~]*\b$call\b" systemd/pageserver.service ||
    { echo "systemd/pageserver.service: its SystemCallFilter refuses $call, which server/runtime calls"; exit 1; }
done
for tool in systemd-analyze systemd-sysusers systemd-tmpfiles; do
  command -v "$tool" >/dev/null || { echo "SKIPPED: $tool is not here"; exit 0; }
done
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
systemd-analyze security --offline=true --threshold=20 "$PWD/systemd/pageserver.service" >"$root/security" 2>&1 ||
  { cat "$root/security"; exit 1; }
grep -o 'exposure level.*' "$root/security"
mkdir -p "$root/etc"
systemd-sysusers --root="$root" "$PWD/systemd/pageserver.sysusers.conf"
grep '^pageserver:' "$root/etc/passwd"
systemd-tmpfiles --root="$root" --create "$PWD/systemd/pageserver.tmpfiles.conf"
[ "$(stat -c %a "$root/var/lib/pageserver")" = 750 ]
# With a program that is there.
sed 's|^ExecStart=.*|ExecStart=/bin/true|' systemd/pageserver.service >"$root/pageserver.service"
cp systemd/pageserver.socket "$root/"
found=$(systemd-analyze verify --man=no "$root/pageserver.service" "$root/pageserver.socket" 2>&1 |
  grep 'pageserver\.service\|pageserver\.socket' || true)
[ -z "$found" ] || { echo "$found"; exit 1; }
echo "unit: systemd takes it"
