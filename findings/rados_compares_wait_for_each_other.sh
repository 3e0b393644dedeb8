#!/bin/bash
# Finding: writes of RADOS that compare something first wait for each other, wherever in the object they write.
#
# Expected: a compare in a write operation (omap_cmp) is a condition for that operation, and
#           operations to different places of an object go on together with it as they do without it.
# Seen: of 16 writes of 64 KiB to different places that are under way together, all but the first are put off with "waiting
#       for rw locks" once each compares a key that none of them changes; without the compare not one is. So a log that
#       is fenced by a compare in each append has one append under way, however many its writer sends.
# Versions: Debian 12: Ceph 16.2.15 (ceph-mon, ceph-osd, librados2), one OSD with memstore, on loopback.
# Exit status 0: still so. 1: the behaviour changed. Nothing is installed; packages are unpacked into a temporary folder.
set -euo pipefail
version=16.2.15+ds-0+deb12u2
work=$(mktemp -d)
pids=()
clean_up() {
  for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || :; wait "$pid" 2>/dev/null || :; done
  rm -rf "$work"
}
trap clean_up EXIT
cd "$work"
mkdir -p debs/partial mon osd
# Also what is installed already.
apt-get install -q -y --download-only --reinstall --no-install-recommends -o DPkg::Lock::Timeout=120 \
  -o Dir::Cache::archives="$work/debs" "ceph-mon=$version" "ceph-osd=$version" "ceph-common=$version" "ceph-base=$version" \
  "librados2=$version" >apt.log 2>&1 || { tail -n 3 apt.log; exit 1; }
for package in debs/*.deb; do dpkg -x "$package" root; done
multiarch=$(gcc -print-multiarch)
lib=$work/root/usr/lib/$multiarch
export LD_LIBRARY_PATH=$lib:$lib/ceph:$work/root/lib/$multiarch CEPH_CONF=$work/ceph.conf
export PATH=$work/root/usr/bin:$work/root/sbin:$PATH PYTHONPATH=$work/root/usr/lib/python3/dist-packages
uuid() { cat /proc/sys/kernel/random/uuid; }
fsid=$(uuid) address='[v2:127.0.0.1:23311,v1:127.0.0.1:26800]'
cat >ceph.conf <<CONF
[global]
fsid = $fsid
mon_host = $address
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
osd_pool_default_size = 1
mon_allow_pool_size_one = true
osd_crush_chooseleaf_type = 0
osd_pool_default_pg_autoscale_mode = off
run_dir = $work
log_file = $work/\$name.log
mon_cluster_log_file = $work/cluster.log
mon_data = $work/mon
osd_data = $work/osd
osd_objectstore = memstore
osd_op_history_size = 1000
osd_op_history_duration = 3600
osd_class_dir = $lib/rados-classes
erasure_code_dir = $lib/ceph/erasure-code
plugin_dir = $lib/ceph
client_mount_timeout = 20
CONF
monmaptool --create --fsid "$fsid" --addv a "$address" monmap >/dev/null
ceph-mon --mkfs -i a --monmap monmap >mkfs.log 2>&1
ceph-mon -f -i a >mon.log 2>&1 &
pids+=($!)
cat >admin.py <<'PY'
import ctypes, json, socket, sys, time
rados = ctypes.CDLL("librados.so.2")
rados.rados_create_write_op.restype = ctypes.c_void_p
size = ctypes.c_size_t
def check(code):
    if code < 0:
        sys.exit(f"librados says {code}")
cluster, io = ctypes.c_void_p(), ctypes.c_void_p()
check(rados.rados_create(ctypes.byref(cluster), b"admin"))
check(rados.rados_conf_read_file(cluster, None))
check(rados.rados_connect(cluster))
def command(**words):
    text = ctypes.c_char_p(json.dumps(words).encode())
    out, out_length, status, status_length = ctypes.c_void_p(), size(), ctypes.c_void_p(), size()
    check(rados.rados_mon_command(cluster, (ctypes.c_char_p * 1)(text), size(1), None, size(0), ctypes.byref(out),
                                  ctypes.byref(out_length), ctypes.byref(status), ctypes.byref(status_length)))
if sys.argv[1] == "new-osd":
    command(prefix="osd new", uuid=sys.argv[2])
    sys.exit()
command(prefix="osd pool create", pool="p", pg_num=8)
check(rados.rados_ioctx_create(cluster, b"p", ctypes.byref(io)))
key, value, one = (ctypes.c_char_p * 1)(b"e"), (ctypes.c_char_p * 1)(b"7"), (size * 1)(1)
def history():
    asked = socket.socket(socket.AF_UNIX)
    asked.connect("osd.asok")
    asked.sendall(b'{"prefix": "dump_historic_ops"}\0')
    length = int.from_bytes(asked.recv(4, socket.MSG_WAITALL), "big")
    return json.loads(asked.recv(length, socket.MSG_WAITALL))["ops"]
def put_off(name, compares):
    """16 writes of 64 KiB under way together; how many of them the OSD put off."""
    op = ctypes.c_void_p(rados.rados_create_write_op())
    rados.rados_write_op_omap_set2(op, key, value, one, one, size(1))
    check(rados.rados_write_op_operate(op, io, name, None, 0))
    data, completions = b"x" * 65536, []
    for number in range(16):
        op = ctypes.c_void_p(rados.rados_create_write_op())
        if compares:
            rados.rados_write_op_omap_cmp2(op, b"e", ctypes.c_uint8(1), b"7", size(1), size(1), None)
        rados.rados_write_op_write(op, data, size(len(data)), ctypes.c_uint64(number * len(data)))
        completion = ctypes.c_void_p()
        check(rados.rados_aio_create_completion2(None, None, ctypes.byref(completion)))
        check(rados.rados_aio_write_op_operate(op, io, completion, name, None, 0))
        completions.append(completion)
    for completion in completions:
        check(rados.rados_aio_wait_for_complete(completion))
        check(rados.rados_aio_get_return_value(completion))
    for _ in range(100):  # the OSD enters them a moment later
        mine = [op for op in history() if f":{name.decode()}:" in op["description"] and "write " in op["description"]]
        if len(mine) == 16:
            break
        time.sleep(0.1)
    else:
        sys.exit(f"{len(mine)} of 16 writes are in the OSD's history")
    return sum(any("waiting for rw locks" in event["event"] for event in op["type_data"]["events"]) for op in mine)
plain, compared = put_off(b"plain", False), put_off(b"compared", True)
print(f"of 16 writes were put off: {plain} without a compare, {compared} with one")
sys.exit(0 if plain == 0 and compared >= 8 else "the behaviour changed")
PY
osd=$(uuid)
timeout 60 python3 admin.py new-osd "$osd"
ceph-osd -i 0 --mkfs --osd-uuid "$osd" >osd-mkfs.log 2>&1
ceph-osd -f -i 0 --admin-socket "$work/osd.asok" >osd.log 2>&1 &
pids+=($!)
timeout 90 python3 admin.py writes
