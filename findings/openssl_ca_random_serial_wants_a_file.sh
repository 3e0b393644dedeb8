#!/bin/bash
# Finding: `openssl ca -rand_serial` fails unless the configuration names a file of serial numbers, which it then writes.
#
# Expected: the manual says that the flag "overrides any option or configuration to use a serial number file": with it no such
#       file has to be named.
# Seen: the flag alone ends with "variable lookup failed for own::serial". With `serial` naming a file that does not exist the
#       same command succeeds, with a random number, and makes that file. The line `rand_serial = yes` in the configuration, which
#       the manual calls the same, works without `serial`.
# Version: Debian 12: openssl and libssl3 3.0.20-1~deb12u2. Exit status 0: still so. 1: the behaviour changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -q openssl=3.0.20-1~deb12u2 libssl3=3.0.20-1~deb12u2 >/dev/null 2>&1
for package in ./*.deb; do dpkg -x "$package" unpacked; done
openssl=$work/unpacked/usr/bin/openssl
LD_LIBRARY_PATH=$(echo "$work"/unpacked/usr/lib/*)
export LD_LIBRARY_PATH

configuration() {  # NAME LINE
  mkdir "$1"
  : >"$1/index.txt"
  cat >"$1/ca.cnf" <<C
[ca]
default_ca = own
[own]
database = $1/index.txt
new_certs_dir = $1
default_md = sha256
policy = any
$2
[any]
commonName = supplied
[req]
distinguished_name = none
prompt = no
[none]
C
}
sign() {  # NAME FLAG...
  local name=$1
  shift
  "$openssl" ca -batch -notext -config "$name/ca.cnf" -in request.pem -out "$name/ca.pem" -days 30 -selfsign -keyfile key.pem \
    "$@" >"$name/said" 2>&1
}
configuration flag_alone ''
configuration flag_and_name "serial = flag_and_name/made"
configuration line_alone 'rand_serial = yes'
"$openssl" req -new -config flag_alone/ca.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj /CN=authority \
  -keyout key.pem -out request.pem 2>/dev/null

status=0
if sign flag_alone -rand_serial; then status=1; fi
echo "-rand_serial alone: $(grep -m 1 'lookup failed' flag_alone/said || echo 'it succeeded')"
grep -q 'variable lookup failed for own::serial' flag_alone/said || status=1
sign flag_and_name -rand_serial || status=1
echo "-rand_serial, and a name: $("$openssl" x509 -in flag_and_name/ca.pem -noout -serial | sed -E 's/=.{30,}/=(random)/')"
[ -s flag_and_name/made ] || status=1
sign line_alone || status=1
echo "the line alone: $("$openssl" x509 -in line_alone/ca.pem -noout -serial | sed -E 's/=.{30,}/=(random)/')"
[ "$status" = 0 ] || echo "the behaviour changed"
exit "$status"
