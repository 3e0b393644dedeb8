#!/bin/bash
# Finding: nbdkit 1.32.5 that is told to stop neither ends nor serves while a client stays connected.
#
# Expected: SIGTERM ends a server within a bounded time, or it goes on serving the clients that it has.
# Seen: without clients it ends in milliseconds. With a client that waits for an answer it stays, its file open, without a
#       limit of its own, and answers nothing any more: a request sent after the signal hangs and the connection is not
#       closed. Both end only when the client gives up. A supervisor has to follow with SIGKILL, a client needs a timeout,
#       and what a plugin holds (a lock, a pinned version, a lease) is held as long as a client likes.
# Version: Debian 12: nbdkit 1.32.5-1. Exit status 0: still so. 1: the behaviour changed.
set -euo pipefail
work=$(mktemp -d)
server='' client=''
clean_up() {
  [ -z "$client" ] || kill -KILL "$client" 2>/dev/null || :
  [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || :
  rm -rf "$work"
}
trap clean_up EXIT
cd "$work"
apt-get download -q nbdkit=1.32.5-1 >/dev/null 2>&1
for package in ./*.deb; do dpkg -x "$package" root; done
plugin=$(echo root/usr/lib/*/nbdkit/plugins/nbdkit-memory-plugin.so)

ends_within() {  # SECONDS
  for ((i = 0; i < $1 * 10; i++)); do
    kill -0 "$server" 2>/dev/null || { wait "$server" || :; server=; return 0; }
    sleep 0.1
  done
  return 1
}
start() {
  rm -f socket
  root/usr/bin/nbdkit -f -U "$work/socket" "$plugin" size=1M &
  server=$!
  for ((i = 0; i < 100; i++)); do [ ! -S socket ] || return 0; sleep 0.1; done
  return 1
}

start
kill -TERM "$server"
ends_within 5 || { echo "it does not end without clients either"; exit 1; }
echo "without a client: ended"

start
# A client that takes the greeting, enters transmission and then reads on and on.
cat >client.py <<'PY'
import socket, struct, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect("socket")
def take(n):
    data = b""
    while len(data) < n:
        part = s.recv(n - len(data))
        if not part:
            sys.exit("closed")
        data += part
    return data
take(18)
s.sendall(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 1, 0))
take(10)
for n in range(60):
    s.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, n, 0, 512))
    take(16 + 512)
    with open("served", "w") as f:
        f.write(str(n))
    time.sleep(0.2)
PY
python3 client.py &
client=$!
for ((i = 0; i < 100; i++)); do [ "$(cat served 2>/dev/null || echo 0)" -lt 5 ] || break; sleep 0.1; done
at_signal=$(cat served)
kill -TERM "$server"
if ends_within 5; then echo "with a client: ended, the behaviour changed"; exit 1; fi
now=$(cat served)
echo "with a client: still there 5 s after SIGTERM; requests answered: $at_signal at the signal, $now now"
[ "$now" -le $((at_signal + 1)) ] || { echo "it goes on serving: the behaviour changed"; exit 1; }
kill -KILL "$client"; wait "$client" 2>/dev/null || :; client=
ends_within 5 || { echo "it does not end after its client either"; exit 1; }
echo "after the client: ended"
