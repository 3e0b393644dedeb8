#!/bin/bash
# Builds the daemon and serves: two commands to try it, see README.md.
#   ./run.sh             a store `demo` on 127.0.0.1:6553, a few commands against it, then serves until Ctrl-C
#   ./run.sh -- FLAGS    the daemon with your flags instead
# PORT=N chooses another port; DEMO=DIR another place for the demo's image than build/demo.
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
  --store "demo=$demo/demo.img" --port-file "$demo/port" </dev/null &
daemon=$!
set +m
trap 'kill -TERM "$daemon" 2>/dev/null || :' INT TERM HUP

# Waits for the daemon to end, through every signal that this script passes on, and ends as it did.
wait_for_daemon() {
  local status=0
  while kill -0 "$daemon" 2>/dev/null; do
    status=0
    wait "$daemon" || status=$?
  done
  exit "$status"
}

for ((tries = 0; tries < 600; tries++)); do
  [ ! -s "$demo/port" ] || break
  if ! kill -0 "$daemon" 2>/dev/null; then
    status=0
    wait "$daemon" || status=$?
    say "the daemon did not start, see above. Port $port taken? Choose another: PORT=$((port + 1000)) ./run.sh"
    exit "$((status == 0 ? 1 : status))"
  fi
  sleep 0.1
done

server=pageserver://127.0.0.1:$port uri=pageserver://127.0.0.1:$port/demo
show() {
  printf '\n$ %s\n' "$*"
  "$@"
}
tour() {
  [[ "$("$bin/pagectl" info --json "$uri")" != *'"pages":0,'* ]] || show "$bin/pagectl" grow "$uri" 16
  printf '\n$ echo "hello, page server" | %s write %s 65530\n' "$bin/pagectl" "$uri"
  echo "hello, page server" | "$bin/pagectl" write "$uri" 65530
  show "$bin/pagectl" read "$uri" 65520 48 --hex
  show "$bin/pagectl" info "$uri"
  show "$bin/pagectl" hash "$uri"
  show "$bin/pagectl" list "$server"
}
tour || { kill -TERM "$daemon" 2>/dev/null; say "a command against the daemon failed, see above"; wait "$daemon" || :; exit 1; }

cat <<X2

The store \`demo\` is the file $demo/demo.img, served at $uri until you press Ctrl-C.
From another terminal, for example:
  $bin/pagectl copy $uri /tmp/backup.img          # one consistent version, while others write
  $bin/pagectl bench $uri                         # what a request costs
  $bin/pagectl lease $uri                         # who may write
  $bin/pagectl info "pageserver+unix:///demo?socket=$PWD/$demo/pageserver.sock"
  $bin/pagectl --help
X2
wait_for_daemon
