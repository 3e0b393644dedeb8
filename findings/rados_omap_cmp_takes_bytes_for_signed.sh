#!/bin/bash
# Finding: omap_cmp of RADOS takes the bytes that it compares for signed ones.
#
# Expected: "less" and "greater" of two values of equal length follow memcmp(3), as the order of omap keys does: a counter
#           that is stored with its highest byte first keeps its order.
# Seen: 0x7f is not less than 0x80, and 0x80 is less than 0x01. So a write that is guarded by "only if the stored epoch is
#       less" goes well 127 times and is refused from then on (on processors whose char is signed). As ASCII digits the same
#       numbers keep their order.
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
fsid=$(uuid) address='[v2:127.0.0.1:23310,v1:127.0.0.1:26799]'
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
import ctypes, json, sys
rados = ctypes.CDLL("librados.so.2")
def check(code):
    if code < 0:
        sys.exit(f"librados says {code}")
cluster = ctypes.c_void_p()
check(rados.rados_create(ctypes.byref(cluster), b"admin"))
check(rados.rados_conf_read_file(cluster, None))
check(rados.rados_connect(cluster))
def command(**words):
    text = ctypes.c_char_p(json.dumps(words).encode())
    out, out_length, status, status_length = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_void_p(), ctypes.c_size_t()
    check(rados.rados_mon_command(cluster, (ctypes.c_char_p * 1)(text), ctypes.c_size_t(1), None, ctypes.c_size_t(0),
                                  ctypes.byref(out), ctypes.byref(out_length), ctypes.byref(status),
                                  ctypes.byref(status_length)))
    return ctypes.string_at(out, out_length.value)
if sys.argv[1] == "new-osd":
    command(prefix="osd new", uuid=sys.argv[2])
    sys.exit()
command(prefix="osd pool create", pool="p", pg_num=8)
io = ctypes.c_void_p()
check(rados.rados_ioctx_create(cluster, b"p", ctypes.byref(io)))
less = 5  # LIBRADOS_CMPXATTR_OP_LT: passes when the stored value is less than the given one
rados.rados_create_write_op.restype = ctypes.c_void_p
def operate(*steps):
    op = ctypes.c_void_p(rados.rados_create_write_op())
    for step in steps:
        step(op)
    code = rados.rados_write_op_operate(op, io, b"object", None, 0)
    rados.rados_release_write_op(op)
    return code
size = ctypes.c_size_t
def keys(*words):
    return (ctypes.c_char_p * len(words))(*words)
seen = []
for stored, given in ((b"\0\1", b"\0\2"), (b"\0\x7f", b"\0\x80"), (b"\0\x80", b"\0\1"), (b"007f", b"0080")):
    check(operate(lambda op: rados.rados_write_op_omap_set2(op, keys(b"n"), keys(stored), (size * 1)(1),
                                                            (size * 1)(len(stored)), size(1))))
    result = ctypes.c_int()
    code = operate(lambda op: rados.rados_write_op_omap_cmp(op, b"n", ctypes.c_uint8(less), given, size(len(given)),
                                                            ctypes.byref(result)),
                   lambda op: rados.rados_write_op_setxattr(op, b"hit", b"1", size(1)))
    seen.append(code)
    print(f"stored {stored.hex()} < given {given.hex()}: {code}  (0: passes, -125: refused)")
sys.exit(0 if seen == [0, -125, 0, 0] else "the behaviour changed")
PY
osd=$(uuid)
timeout 60 python3 admin.py new-osd "$osd"
ceph-osd -i 0 --mkfs --osd-uuid "$osd" >osd-mkfs.log 2>&1
ceph-osd -f -i 0 >osd.log 2>&1 &
pids+=($!)
timeout 90 python3 admin.py compare
