#!/bin/bash
# Builds the daemon and serves: two commands to try it, see README.md.
#   ./run.sh             a store `demo` on 127.0.0.1:6553, a few commands against it, then serves until Ctrl-C
#   ./run.sh -- FLAGS    the daemon with your flags instead
# PORT=N chooses another port (0: one that is free); DEMO=DIR another place for the demo's image than build/demo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
port=${PORT:-6553} demo=${DEMO:-build/demo}
bin=build/release/bin
say() { printf 'run.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

case "${1:-}" in
  '') ;;
  --) shift; own_flags=1 ;;
  *) sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; [ "$1" = --help ] || [ "$1" = -h ] || exit 2; exit 0 ;;
esac

docker/install-packages.sh build
mkdir -p build/logs
log=build/logs/run-build.log
say "building (the first time takes a few minutes)"
{ cmake --preset release && cmake --build --preset release --target pageserverd pagectl; } >"$log" 2>&1 ||
  { tail -n 40 "$log" >&2; die "the build failed; all of its output is in $log"; }

[ -z "${own_flags:-}" ] || exec "$bin/pageserverd" "$@"

mkdir -p "$demo"
rm -f "$demo/port"
# A process group of its own: Ctrl-C reaches this script, which then sends the daemon one signal and waits for it.
set -m
setpriv --pdeathsig TERM "$bin/pageserverd" --listen "127.0.0.1:$port" --unix "$demo/pageserver.sock" \
  --store "demo=$demo/demo.img" --port-file "$demo/port" </dev/null 2>"$demo/log" &
daemon=$!
set +m
signalled=
trap 'signalled=1; kill -TERM "$daemon" 2>/dev/null || :' INT TERM HUP

# Waits for the daemon to end and ends as it did. A signal only interrupts a wait.
wait_for_daemon() {
  local status
  while :; do
    signalled='' status=0
    wait "$daemon" || status=$?
    [ -n "$signalled" ] || exit "$status"
  done
}

for ((tries = 0; tries < 600; tries++)); do
  [ ! -s "$demo/port" ] || break
  if ! kill -0 "$daemon" 2>/dev/null; then
    status=0
    wait "$daemon" || status=$?
    cat "$demo/log" >&2
    say "the daemon did not start. If port $port is taken, choose another: PORT=$((port + 1000)) ./run.sh"
    exit "$((status == 0 ? 1 : status))"
  fi
  sleep 0.1
done

server=pageserver://$(head -n 1 "$demo/port")
uri=$server/demo
show() {
  printf '\n$ %s\n' "$*"
  "$@"
}
has_no_pages() { "$bin/pagectl" info --json "$uri" | grep -qE '"pages": ?0[,}]'; }
say_hello() {
  printf '\n$ echo "hello, page server" | %s write %s 65530\n' "$bin/pagectl" "$uri"
  echo "hello, page server" | "$bin/pagectl" write "$uri" 65530
}
tour() {
  { ! has_no_pages || show "$bin/pagectl" grow "$uri" 16; } &&
    say_hello &&
    show "$bin/pagectl" read "$uri" 65520 48 --hex &&
    show "$bin/pagectl" info "$uri" &&
    show "$bin/pagectl" hash "$uri" &&
    show "$bin/pagectl" list "$server"
}
if ! tour && kill -0 "$daemon" 2>/dev/null; then
  say "a command against the daemon failed; stopping it. Its log is $demo/log"
  kill -TERM "$daemon" 2>/dev/null || :
  wait "$daemon" || :
  exit 1
fi

cat <<X2

The store \`demo\` is the file $demo/demo.img, served at $uri until you press Ctrl-C; the daemon's log is $demo/log.
From another terminal, for example:
  $bin/pagectl copy $uri /tmp/backup.img          # one consistent version, while others write
  $bin/pagectl bench $uri                         # what a request costs
  $bin/pagectl lease $uri                         # who may write
  $bin/pagectl info "pageserver+unix:///demo?socket=$PWD/$demo/pageserver.sock"
  $bin/pagectl --help
X2
wait_for_daemon
