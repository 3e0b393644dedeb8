#!/bin/bash
# Finding: file calls of a wasip1 guest under wasmtime 50.0.1 do less than asked, and not the same less for each call.
#
# Expected: on a regular file with enough bytes, fd_pread and fd_read of 1 MiB give 1 MiB, as on the host; fd_pwrite of two
#           buffers writes both, as pwritev does.
# Seen: fd_read gives 1,048,576 bytes, fd_pread of the same file at most 65,536 a call. fd_pwrite of two buffers writes the
#       first one only and returns Ok with its length. (WASI allows short counts. Guests that were tested on releases up to
#       41, where fd_pread was not cut, break on it without an error.) So a reader of pages loops, and head and body of
#       anything that must be whole go into one buffer.
# Version: PyPI wasmtime 50.0.1. Exit status 0: still so. 1: the behaviour changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check wasmtime==50.0.1
cat >guest.wat <<'WAT'
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pread" (func $pread (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite" (func $pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (memory (export "memory") 64)
  (data (i32.const 0) "file")
  ;; 16: one buffer of 1 MiB at 65536; 32: two buffers of 4096 bytes
  (data (i32.const 16) "\00\00\01\00\00\00\10\00")
  (data (i32.const 32) "\00\00\01\00\00\10\00\00\00\20\01\00\00\10\00\00")
  (func (export "open") (result i32)  ;; the descriptor, or minus the error
    (local $e i32)
    (local.set $e (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 0)
      (i64.const 0x1fffffff) (i64.const 0x1fffffff) (i32.const 0) (i32.const 8)))
    (if (result i32) (local.get $e) (then (i32.sub (i32.const 0) (local.get $e))) (else (i32.load (i32.const 8)))))
  (func (export "read") (param $fd i32) (result i32)
    (if (call $read (local.get $fd) (i32.const 16) (i32.const 1) (i32.const 8)) (then unreachable))
    (i32.load (i32.const 8)))
  (func (export "pread") (param $fd i32) (result i32)
    (if (call $pread (local.get $fd) (i32.const 16) (i32.const 1) (i64.const 0) (i32.const 8)) (then unreachable))
    (i32.load (i32.const 8)))
  (func (export "pwrite_two") (param $fd i32) (result i32)
    (if (call $pwrite (local.get $fd) (i32.const 32) (i32.const 2) (i64.const 0) (i32.const 8)) (then unreachable))
    (i32.load (i32.const 8))))
WAT
cat >host.py <<'PY'
import os
import wasmtime as w

os.mkdir("dir")
with open("dir/file", "wb") as f:
    f.write(os.urandom(4 << 20))
engine = w.Engine()
store, linker = w.Store(engine), w.Linker(engine)
linker.define_wasi()
wasi = w.WasiConfig()
wasi.preopen_dir("dir", "/")
store.set_wasi(wasi)
guest = linker.instantiate(store, w.Module.from_file(engine, "guest.wat")).exports(store)
fd = guest["open"](store)
assert fd >= 0, f"path_open says {-fd}"
seen = {"fd_read": guest["read"](store, fd), "fd_pread": guest["pread"](store, fd),
        "fd_pwrite of 2 x 4096": guest["pwrite_two"](store, fd)}
print(seen)
assert list(seen.values()) == [1 << 20, 65536, 4096], "the behaviour changed"
PY
venv/bin/python host.py
