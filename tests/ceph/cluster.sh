#!/bin/bash
# A Ceph cluster for tests: a monitor and one OSD in memory, on loopback, with cephx.
#
#   cluster.sh start FOLDER      begins it; FOLDER is made, and has its configuration, keys and logs
#   cluster.sh stop FOLDER       ends it, by the process ids that FOLDER has
#   cluster.sh with COMMAND...   begins one in a temporary folder, runs COMMAND, and ends it
#
# FOLDER/ceph.conf is what clients need. The client `pages` has the capabilities that docs/homes.md names, and no more,
# for the pool `pages`. OSD_BYTES is how much the OSD takes (1 GiB), FULL_RATIO at which part of that it is full.
set -euo pipefail

osd_bytes=${OSD_BYTES:-1073741824}
full_ratio=${FULL_RATIO:-0.95}

ended() {
  local pid=$1
  for _ in $(seq 100); do
    kill -0 "$pid" 2>/dev/null || return 0
    read -rt 0.05 <> <(:) || true
  done
  return 1
}

stop() {
  local folder=$1 file pid
  for file in "$folder"/osd.pid "$folder"/mon.pid; do
    [ -f "$file" ] || continue
    pid=$(cat "$file")
    # A stopped process ends only once it goes on.
    kill "$pid" 2>/dev/null || true
    kill -CONT "$pid" 2>/dev/null || true
    ended "$pid" || kill -9 "$pid" 2>/dev/null || true
    rm -f "$file"
  done
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

start() {
  local folder=$1 fsid uuid port
  mkdir -p "$folder/mon" "$folder/osd" "$folder/run"
  folder=$(cd "$folder" && pwd)
  fsid=$(cat /proc/sys/kernel/random/uuid)
  uuid=$(cat /proc/sys/kernel/random/uuid)
  port=$(free_port)
  local monitor="[v2:127.0.0.1:$port]"
  export CEPH_CONF=$folder/ceph.conf
  cat >"$CEPH_CONF" <<C
[global]
fsid = $fsid
mon_host = $monitor
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = false
keyring = $folder/\$name.keyring
osd_pool_default_size = 1
osd_pool_default_min_size = 1
mon_allow_pool_size_one = true
osd_crush_chooseleaf_type = 0
osd_pool_default_pg_autoscale_mode = off
run_dir = $folder/run
admin_socket = $folder/run/\$name.\$pid.asok
log_file = $folder/\$name.log
log_to_stderr = false
mon_cluster_log_file = $folder/cluster.log
[mon]
mon_data = $folder/mon
keyring = $folder/mon.keyring
paxos_propose_interval = 0.05
[osd]
osd_data = $folder/osd
keyring = $folder/osd/keyring
osd_objectstore = memstore
memstore_device_bytes = $osd_bytes
C
  local quiet=$folder/start.log
  {
    ceph-authtool --create-keyring "$folder/mon.keyring" --gen-key -n mon. --cap mon 'allow *'
    ceph-authtool --create-keyring "$folder/client.admin.keyring" --gen-key -n client.admin \
      --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
    ceph-authtool "$folder/mon.keyring" --import-keyring "$folder/client.admin.keyring"
    monmaptool --create --fsid "$fsid" --addv a "$monitor" "$folder/monmap"
    ceph-mon --mkfs -i a --monmap "$folder/monmap" --keyring "$folder/mon.keyring"
  } >"$quiet" 2>&1
  setsid ceph-mon -f -i a >"$folder/mon.out" 2>&1 </dev/null &
  echo $! >"$folder/mon.pid"
  {
    timeout 60 ceph --connect-timeout 30 mon stat
    timeout 30 ceph osd new "$uuid" 0
    ceph-authtool --create-keyring "$folder/osd/keyring" --gen-key -n osd.0
    timeout 30 ceph auth add osd.0 mon 'allow profile osd' osd 'allow *' -i "$folder/osd/keyring"
    ceph-osd -i 0 --mkfs --osd-uuid "$uuid"
  } >>"$quiet" 2>&1
  setsid ceph-osd -f -i 0 >"$folder/osd.out" 2>&1 </dev/null &
  echo $! >"$folder/osd.pid"
  for _ in $(seq 60); do
    timeout 10 ceph osd stat 2>>"$quiet" | grep -q '1 up' && break
    read -rt 0.2 <> <(:) || true
  done
  {
    timeout 30 ceph osd set-full-ratio "$full_ratio"
    timeout 30 ceph osd pool create pages 8 8 replicated
    timeout 30 ceph osd pool application enable pages pageserver
    timeout 30 ceph auth get-or-create client.pages mon 'allow r' osd 'allow rwx pool=pages' \
      -o "$folder/client.pages.keyring"
  } >>"$quiet" 2>&1
  chmod 0644 "$folder/client.pages.keyring"
}

case ${1:-} in
  start)
    start "$2" || { tail -n 20 "$2/start.log" "$2"/*.out >&2; stop "$2"; exit 1; }
    ;;
  stop) stop "$2" ;;
  with)
    shift
    folder=$(mktemp -d)
    trap 'stop "$folder"; rm -rf "$folder"' EXIT
    start "$folder" || { tail -n 20 "$folder/start.log" "$folder"/*.out >&2; exit 1; }
    export PAGESERVER_CEPH_CLUSTER=$folder
    "$@"
    ;;
  *) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
