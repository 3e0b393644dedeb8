#!/bin/bash
# Finding: abidiff 2.2 does not call it incompatible when fields of a public struct change places or go.
#
# Expected: the exit status has the bit 8, "incompatible", whenever a program that was compiled against the old header reads
#       other bytes with the new library. Scripts that refuse a release by this bit let only harmless changes pass.
# Seen: with two fields exchanged, with the last field taken away, and with a return type that became longer, it is 4, "changed",
#       as for any other difference. Only a function that is gone sets the bit (12). Who guards a library by the exit status has
#       to take each 4 for a break until a person has read the report.
# Version: Debian 12: abigail-tools and libabigail0 2.2-2. Exit status 0: still so. 1: the behaviour changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -q abigail-tools=2.2-2 libabigail0=2.2-2 >/dev/null 2>&1
for package in ./*.deb; do dpkg -x "$package" unpacked; done
abidiff=$work/unpacked/usr/bin/abidiff
LD_LIBRARY_PATH=$(echo "$work"/unpacked/usr/lib/*)
export LD_LIBRARY_PATH

library() {  # NAME FIELDS RESULT FUNCTION
  cat >"$1.h" <<C
struct options { $2 };
$3 $4(const struct options *options);
C
  printf '#include "%s.h"\n%s %s(const struct options *options) { return options->first - options->second; }\n' "$1" "$3" "$4" >"$1.c"
  gcc -g -shared -fPIC -o "$1.so" "$1.c"
}
library old 'int first; int second; int third;' int apply
library exchanged 'int second; int first; int third;' int apply
library shorter 'int first; int second;' int apply
library longer_result 'int first; int second; int third;' long apply
library renamed 'int first; int second; int third;' int use

status=0
expect() {  # NAME STATUS
  local seen=0
  "$abidiff" old.so "$1.so" >report 2>&1 || seen=$?
  grep -q 'Functions changes summary' report || { cat report; exit 1; }
  printf '%-14s abidiff ends with %s\n' "$1" "$seen"
  [ "$seen" = "$2" ] || status=1
}
expect exchanged 4
expect shorter 4
expect longer_result 4
expect renamed 12
[ "$status" = 0 ] || echo "the behaviour changed"
exit "$status"
