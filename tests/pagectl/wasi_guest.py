#!/usr/bin/env python3
"""A guest of a real WASI runtime (wasmtime, from PyPI) writes an image through a mount and knows nothing of it:
wasi_guest.py PAGESERVERD PAGECTL. Prints one line for each mode; exit status 0 when all was right, 77 where nothing can
be mounted."""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import wasmtime

DAEMON, TOOL = sys.argv[1:]

# Grows its file by two pages, writes a page and some bytes, syncs, reads them again, and tries to shrink the file. Its
# exit status names the first call that went wrong; each call's errno is in the last digits.
GUEST = r"""
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $set_size (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite" (func $pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pread" (func $pread (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_sync" (func $sync (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 4)
  (data (i32.const 0) "mounted")
  (data (i32.const 64) "from a guest")
  ;; vectors: a page at 65536; twelve bytes at 64; the page again, read into 131072
  (data (i32.const 128) "\00\00\01\00\00\00\01\00")
  (data (i32.const 136) "\40\00\00\00\0c\00\00\00")
  (data (i32.const 144) "\00\00\02\00\00\00\01\00")
  (global $file (mut i32) (i32.const 0))
  (func $must (param $step i32) (param $errno i32)
    (if (local.get $errno)
      (then (call $exit (i32.add (i32.mul (local.get $step) (i32.const 10)) (i32.rem_u (local.get $errno) (i32.const 10)))))))
  (func (export "_start")
    (memory.fill (i32.const 65536) (i32.const 0x67) (i32.const 65536))
    (call $must (i32.const 1) (call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 7) (i32.const 0)
      (i64.const 0x1fffffff) (i64.const 0) (i32.const 0) (i32.const 32)))
    (global.set $file (i32.load (i32.const 32)))
    (call $must (i32.const 2) (call $set_size (global.get $file) (i64.const 262144)))
    (call $must (i32.const 3) (call $pwrite (global.get $file) (i32.const 128) (i32.const 1) (i64.const 131072) (i32.const 36)))
    (if (i32.ne (i32.load (i32.const 36)) (i32.const 65536)) (then (call $exit (i32.const 39))))
    (call $must (i32.const 4) (call $pwrite (global.get $file) (i32.const 136) (i32.const 1) (i64.const 65530) (i32.const 36)))
    (call $must (i32.const 5) (call $sync (global.get $file)))
    (call $must (i32.const 6) (call $pread (global.get $file) (i32.const 144) (i32.const 1) (i64.const 131072) (i32.const 36)))
    (if (i32.ne (i32.load (i32.const 196604)) (i32.const 0x67676767)) (then (call $exit (i32.const 69))))
    ;; 63 is EPERM: images do not shrink
    (if (i32.ne (call $set_size (global.get $file) (i64.const 65536)) (i32.const 63)) (then (call $exit (i32.const 79))))
    (call $must (i32.const 8) (call $close (global.get $file)))
    (call $exit (i32.const 0))))
"""


def run_guest(folder):
    engine = wasmtime.Engine()
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    store = wasmtime.Store(engine)
    config = wasmtime.WasiConfig()
    config.preopen_dir(str(folder), ".")
    store.set_wasi(config)
    instance = linker.instantiate(store, wasmtime.Module(engine, GUEST))
    try:
        instance.exports(store)["_start"](store)
    except wasmtime.ExitTrap as end:
        return end.code
    return 0


def wait(holds, what):
    deadline = time.monotonic() + 60
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited too long: {what}")
        time.sleep(0.01)


def tool(*words):
    return subprocess.run([TOOL, *map(str, words)], check=True, stdout=subprocess.PIPE).stdout


def main():
    with tempfile.TemporaryDirectory(prefix="wasi-") as name:
        folder = pathlib.Path(name)
        socket = folder / "s"
        before = os.urandom(2 * 65536)
        after = bytearray(before + bytes(2 * 65536))
        after[131072:196608] = b"g" * 65536
        after[65530:65542] = b"from a guest"
        stores = {}
        for number, (query, option) in enumerate((("access=fork", "rw"), ("access=fork", "writeback"), ("publish=on_flush", "rw"),
                                                  ("publish=on_flush", "writeback"), ("publish=on_write", "rw"))):
            (folder / f"s{number}.img").write_bytes(before)
            stores[f"s{number}"] = (query, option)
        words = [word for store in stores for word in ("--store", f"{store}={folder / store}.img")]
        daemon = subprocess.Popen([DAEMON, "--unix", socket, *words], stderr=subprocess.DEVNULL)
        try:
            wait(lambda: subprocess.run([TOOL, "ping", "--quiet", f"pageserver+unix:///s0?socket={socket}"],
                                        stderr=subprocess.DEVNULL, check=False).returncode == 0, "the daemon")
            for store, (query, option) in stores.items():
                uri = f"pageserver+unix:///{store}?socket={socket}"
                place = folder / f"at-{store}"
                place.mkdir()
                mounted = place / "mounted"
                made = subprocess.run([TOOL, "mount", "--quiet", "-o", option, f"{uri}&{query}", mounted],
                                      stderr=subprocess.PIPE, text=True, check=False)
                if made.returncode != 0:
                    print(made.stderr, end="")
                    return 77
                try:
                    status = run_guest(place)
                    assert status == 0, f"{query} -o {option}: the guest ended with {status}"
                    assert mounted.read_bytes() == after, f"{query} -o {option}: other bytes in the file"
                    seen = tool("read", uri, 0, 2 * 65536 if query == "access=fork" else len(after))
                    assert seen == (before if query == "access=fork" else after), f"{query} -o {option}: readers"
                finally:
                    subprocess.run(["fusermount3", "-u", mounted], check=True)
                    wait(lambda: not mounted.exists(), "the end of the mount")
                print(f"a guest of wasmtime grew, wrote and synced a mounted image: {query} -o {option}")
        finally:
            daemon.terminate()
            daemon.wait(60)
    return 0


if __name__ == "__main__":
    sys.exit(main())
