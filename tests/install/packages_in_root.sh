#!/bin/bash
# In a bare Debian's root, as root: installs the packages as a new administrator would, starts the daemon by the unit's own
# command line, uses it, upgrades it from an older version, removes and purges it. No image is ever lost.
#   packages_in_root.sh NEW OLD     folders with the packages, and with the same ones of an older version
# The last line is `N passed, N failed`.
set -uo pipefail
new=$1 old=$2
passed=0 failed=0
work=$(mktemp -d)
export DEBIAN_FRONTEND=noninteractive
daemon=

run_case() {  # NAME FUNCTION: in this shell, since daemons outlive a case; the function's last command decides
  if "$2" >"$work/out" 2>&1; then
    echo "ok: $1"
    passed=$((passed + 1))
  else
    echo "FAILED: $1"
    sed 's/^/    /' "$work/out"
    [ ! -s "$work/daemon.log" ] || sed 's/^/    daemon: /' "$work/daemon.log"
    failed=$((failed + 1))
  fi
}
same() { [ "$2" = "$3" ] || { echo "$1: expected '$2', found '$3'"; return 1; }; }
apt_install() { apt-get -q -y --no-install-recommends -o Dpkg::Options::=--force-confold install "$@"; }

unit=/lib/systemd/system/pageserver.service
of_unit() { sed -nE "s/^$1=//p" "$unit"; }
# What systemd would do for the unit: its user, its folders, its command line.
start_daemon() {
  local user directory command
  user=$(of_unit User) && read -ra command <<<"$(of_unit ExecStart)" || return
  for directory in "/run/$(of_unit RuntimeDirectory)" "/var/lib/$(of_unit StateDirectory)"; do
    install -d -o "$user" -g "$user" "$directory" || return
  done
  : >"$work/daemon.log"
  setpriv --reuid "$user" --regid "$user" --init-groups "${command[@]}" </dev/null 2>"$work/daemon.log" &
  daemon=$!
  pagectl ping --wait 20000 127.0.0.1:6553
}
stop_daemon() { kill -TERM "$daemon" && wait "$daemon"; }

image=/var/lib/pageserver/demo.img
uri=pageserver://127.0.0.1/demo

installs_older() {
  apt_install "$old"/pageserver_*.deb "$old"/pagectl_*.deb "$old"/libpageserver1_*.deb &&
    same version 0.0.9 "$(dpkg-query -W -f '${Version}' pageserver)" &&
    getent passwd pageserver && pageserverd --check-config --config /etc/pageserver/pageserverd.json &&
    same "owner of the images' folder" "pageserver 750" "$(stat -c '%U %a' /var/lib/pageserver)"
}
serves() {
  start_daemon && pagectl create "$uri" && pagectl grow "$uri" 4 && echo hello | pagectl write "$uri" 65530 &&
    same "what was written" hello "$(pagectl read "$uri" 65530 5)" && hash=$(pagectl hash "$uri") && [ -n "$hash" ]
}
upgrades_while_it_serves() {
  sed -i 's|"listen"|"grace": "7s", "listen"|' /etc/pageserver/pageserverd.json
  apt_install "$new"/pageserver_*.deb "$new"/pagectl_*.deb "$new"/libpageserver1_*.deb &&
    same "what the daemon serves meanwhile" "$hash" "$(pagectl hash "$uri")" &&
    grep -q '"grace": "7s"' /etc/pageserver/pageserverd.json && stop_daemon && start_daemon &&
    same "what the new daemon serves" "$hash" "$(pagectl hash "$uri")" && pagectl --version | grep -q "$(dpkg-query -W -f '${Version}' pagectl)"
}
installs_all() {
  apt_install "$new"/*.deb && nbdkit --dump-plugin pageserver | grep -q '^name=pageserver' &&
    dpkg -L pageserver | grep -q man8/pageserverd.8
}
removes() {
  echo secret >/etc/pageserver/server.key
  stop_daemon && same "the image after a stop" "$hash" "$(pagectl hash "$image")" &&
    apt-get -q -y remove pageserver && same "the image after a removal" "$hash" "$(pagectl hash "$image")" &&
    [ -e /etc/pageserver/pageserverd.json ] && [ ! -e /usr/bin/pageserverd ]
}
purges() {
  apt-get -q -y purge pageserver && same "the image after a purge" "$hash" "$(pagectl hash "$image")" &&
    getent passwd pageserver && [ ! -e /etc/pageserver/pageserverd.json ] &&
    same "what the administrator put there" secret "$(cat /etc/pageserver/server.key)"
}
installs_again() {
  apt_install "$new"/pageserver_*.deb && start_daemon && same "the image of before" "$hash" "$(pagectl hash "$uri")" &&
    stop_daemon && apt-get -q -y purge '*pageserver*' pagectl && [ -e "$image" ]
}

apt-get -q update >"$work/update" 2>&1 || { cat "$work/update"; echo "0 passed, 1 failed"; exit 1; }
run_case "apt installs an older version, with user, folders and a configuration that holds" installs_older
run_case "the unit's command line serves a store" serves
run_case "an upgrade keeps configuration, image and the daemon that runs" upgrades_while_it_serves
run_case "all packages fit together" installs_all
run_case "a removal leaves image and configuration" removes
run_case "a purge leaves the image, and what the administrator put beside the configuration" purges
run_case "a new installation serves the image of before" installs_again
rm -rf "$work"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
