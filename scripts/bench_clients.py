#!/usr/bin/env python3
"""What a request costs through the Rust crate, beside the C++ library: the same requests, in turns, to one daemon.

    cmake --preset bench && cmake --build --preset bench --target client_rounds pageserverd
    scripts/bench_clients.py [ROUNDS]

Needs cargo. Daemon and clients have a core each where there are several. A ratio is the median of those of each round;
above 1 Rust takes longer, or of rates it is slower.
"""

import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

root = pathlib.Path(__file__).resolve().parent.parent
programs = root / "build/bench/bin"
rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
cores = sorted(os.sched_getaffinity(0))

# name, what to do, requests of a round, what is wanted
ROWS = [
    ("8 B reads, one at a time", "read 8 1", 4000, 1.10),
    ("8 B writes, one at a time", "write 8 1", 3000, 1.10),
    ("64 KiB reads, one at a time", "read 65536 1", 2000, 1.10),
    ("64 KiB writes, one at a time", "write 65536 1", 1000, 1.10),
    ("8 B reads, 64 in flight", "read 8 64", 100000, 1 / 0.9),
    ("8 B writes, 64 in flight", "write 8 64", 50000, 1 / 0.9),
    ("64 KiB reads, 64 in flight", "read 65536 64", 4000, 1 / 0.9),
]


def pinned(core):
    """Runs in the child: a core of its own."""
    return (lambda: os.sched_setaffinity(0, {core})) if len(cores) > 1 else None


class Client:
    """One of the two programs."""

    def __init__(self, command, uri):
        self.process = subprocess.Popen(
            [*command, uri], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=pinned(cores[-1])
        )

    def round(self, what, count):
        self.process.stdin.write(f"{what} {count}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def measure(folder, polling):
    socket = folder / f"socket-{polling}"
    image = folder / "bench.img"
    with open(image, "wb") as file:
        for _ in range(64):
            file.write(os.urandom(1 << 20))
    stores = [f"--store={name}={folder / name}.img" for name in ("cpp", "rust")]
    for name in ("cpp", "rust"):
        shutil.copy(image, folder / f"{name}.img")
    daemon = subprocess.Popen(
        [programs / "pageserverd", "--unix", socket, "--listen", "127.0.0.1:0", "--poll-us", str(polling), *stores],
        preexec_fn=pinned(cores[0]), stderr=subprocess.DEVNULL,
    )
    while not socket.exists():
        time.sleep(0.01)
    uris = {name: f"pageserver+unix:///{name}?socket={socket}&poll_us={polling}" for name in ("cpp", "rust")}
    cpp = Client([programs / "client_rounds"], uris["cpp"])
    rust = Client([root / "build/rust/release/examples/rounds"], uris["rust"])
    for name, what, count, wanted in ROWS:
        ours, theirs, ratios = [], [], []
        for client in (cpp, rust):
            client.round(what, count // 4)
        for number in range(rounds):
            pair = {}
            for client in (cpp, rust) if number % 2 == 0 else (rust, cpp):
                pair[client] = client.round(what, count)
            ours.append(pair[rust])
            theirs.append(pair[cpp])
            ratios.append(pair[rust] / pair[cpp])
        ratios.sort()
        ratio = statistics.median(ratios)
        figures = " | ".join(
            f"{statistics.median(values) / 1000:.2f} µs" if " 1" == what[-2:] else f"{1e6 / statistics.median(values):.0f} k/s"
            for values in (ours, theirs)
        )
        spread = f"{ratios[len(ratios) // 4]:.2f} - {ratios[-1 - len(ratios) // 4]:.2f}"
        way = ", polling" if polling else ""
        reached = "yes" if ratio <= wanted else "no"
        print(f"| {name}{way} | {figures} | {ratio:.2f} | {spread} | ≤ {wanted:.2f} | {reached} |", flush=True)
    cpp.end()
    rust.end()
    daemon.terminate()
    daemon.wait()


environment = dict(os.environ, CARGO_TARGET_DIR=str(root / "build/rust"))
manifest = root / "build/rust-plain/Cargo.toml"
if not manifest.exists():
    manifest = root / "client/rust/Cargo.toml"
subprocess.run(
    ["cargo", "build", "--release", "--example", "rounds", "--manifest-path", manifest], check=True, env=environment
)
print("| work, Unix socket | Rust | C++ | Rust to C++, time | quartiles | wanted | reached |")
print("|---|---|---|---|---|---|---|")
for poll_us in (0, 100):
    with tempfile.TemporaryDirectory() as name:
        measure(pathlib.Path(name), poll_us)
