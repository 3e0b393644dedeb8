#!/bin/bash
# A Ceph cluster for tests: a monitor and OSDs in memory, on loopback, with cephx.
#
#   cluster.sh start FOLDER         begins it; FOLDER is made, and has its configuration, keys and logs
#   cluster.sh start-osd FOLDER N   begins OSD N again, which was killed: of those in memory with nothing in it, so that
#                                   the others fill it
#   cluster.sh stop FOLDER          ends it, by the process ids that FOLDER has: mon.pid, osd.N.pid
#   cluster.sh with COMMAND...      begins one in a temporary folder, runs COMMAND, and ends it
#
# FOLDER/ceph.conf is what clients need. The client `pages` has the capabilities that docs/homes.md names, and no more,
# for the pool `pages`; the client `disks` those of RBD for the pool `disks`, which is there with DISKS=yes.
# OSDS is how many there are (1), and in how many of them each object is; OSD_BYTES how much each takes (1 GiB),
# FULL_RATIO at which part of that it is full, STORE=bluestore has them on files. With HOST=ADDRESS everything listens
# there instead of on 127.0.0.1.
set -euo pipefail

osds=${OSDS:-1}
osd_bytes=${OSD_BYTES:-1073741824}
full_ratio=${FULL_RATIO:-0.95}
object_store=${STORE:-memstore}
address=${HOST:-127.0.0.1}

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
  for file in "$folder"/osd.*.pid "$folder"/mon.pid; do
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
  python3 -c 'import socket, sys; s = socket.socket(); s.bind((sys.argv[1], 0)); print(s.getsockname()[1])' \
    "$address"
}

begin_osd() {
  local folder=$1 number=$2
  setsid ceph-osd -f -i "$number" >"$folder/osd.$number.out" 2>&1 </dev/null &
  echo $! >"$folder/osd.$number.pid"
}

start_osd() {
  local folder number=$2
  folder=$(cd "$1" && pwd)
  export CEPH_CONF=$folder/ceph.conf
  begin_osd "$folder" "$number"
}

start() {
  local folder=$1 fsid uuid port number
  mkdir -p "$folder/mon" "$folder/run"
  folder=$(cd "$folder" && pwd)
  fsid=$(cat /proc/sys/kernel/random/uuid)
  port=$(free_port)
  local monitor="[v2:$address:$port]"
  export CEPH_CONF=$folder/ceph.conf
  cat >"$CEPH_CONF" <<C
[global]
fsid = $fsid
mon_host = $monitor
public_addr = $address
cluster_addr = $address
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = false
keyring = $folder/\$name.keyring
osd_pool_default_size = $osds
osd_pool_default_min_size = $(((osds + 1) / 2))
# An OSD that stands still is found out in some seconds, by any other.
osd_heartbeat_interval = 1
osd_heartbeat_grace = 5
mon_osd_adjust_heartbeat_grace = false
mon_osd_min_down_reporters = 1
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
osd_data = $folder/osd.\$id
keyring = $folder/osd.\$id/keyring
osd_objectstore = $object_store
memstore_device_bytes = $osd_bytes
bluestore_block_size = $osd_bytes
osd_memory_target = 1073741824
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
    for number in $(seq 0 $((osds - 1))); do
      uuid=$(cat /proc/sys/kernel/random/uuid)
      mkdir -p "$folder/osd.$number"
      timeout 30 ceph osd new "$uuid" "$number"
      ceph-authtool --create-keyring "$folder/osd.$number/keyring" --gen-key -n "osd.$number"
      timeout 30 ceph auth add "osd.$number" mon 'allow profile osd' osd 'allow *' -i "$folder/osd.$number/keyring"
      ceph-osd -i "$number" --mkfs --osd-uuid "$uuid"
      begin_osd "$folder" "$number"
    done
  } >>"$quiet" 2>&1
  for _ in $(seq 100); do
    timeout 10 ceph osd stat 2>>"$quiet" | grep -q " $osds up" && break
    read -rt 0.2 <> <(:) || true
  done
  {
    timeout 30 ceph osd set-full-ratio "$full_ratio"
    timeout 30 ceph osd pool create pages 8 8 replicated
    timeout 30 ceph osd pool application enable pages pageserver
    timeout 30 ceph auth get-or-create client.pages mon 'allow r' osd 'allow rwx pool=pages' \
      -o "$folder/client.pages.keyring"
    if [ "${DISKS:-no}" = yes ]; then
      timeout 30 ceph osd pool create disks 8 8 replicated
      timeout 30 rbd pool init disks
      timeout 30 ceph auth get-or-create client.disks mon 'profile rbd' osd 'profile rbd pool=disks' \
        -o "$folder/client.disks.keyring"
    fi
  } >>"$quiet" 2>&1
  chmod 0644 "$folder"/client.*.keyring
}

case ${1:-} in
  start)
    start "$2" || { tail -n 20 "$2/start.log" "$2"/*.out >&2; stop "$2"; exit 1; }
    ;;
  start-osd) start_osd "$2" "$3" ;;
  stop) stop "$2" ;;
  with)
    shift
    folder=$(mktemp -d)
    trap 'stop "$folder"; rm -rf "$folder"' EXIT
    start "$folder" || { tail -n 20 "$folder/start.log" "$folder"/*.out >&2; exit 1; }
    export PAGESERVER_CEPH_CLUSTER=$folder
    "$@"
    ;;
  *) sed -n '2,16s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
