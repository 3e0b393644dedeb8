#!/usr/bin/env python3
"""Images for programs that only know files, side by side in one run: `pagectl mount` beside nbdfuse and libfuse's own
passthrough file system, nbdkit's plugin beside nbdkit's file plugin, `inspect` beside a plain read. Ratios are medians
of those of each round, in which each takes its turn.

    cmake --preset bench && cmake --build --preset bench --target pageserverd pagectl nbdkit_pageserver
    scripts/bench_files.py [--build build/bench] [--rounds 9] [--only PATTERN]

Needs root's rights or fusermount3, nbdkit, nbdfuse and nbdcopy (section `bench` of docker/packages.txt), and a compiler
for the passthrough. One request is under way at a time where nothing else is said; files are opened with O_DIRECT, so
that each request meets the server.
"""
import argparse
import contextlib
import fnmatch
import mmap
import os
import pathlib
import random
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
MIB = 1 << 20
IMAGE_BYTES = 64 * MIB
PASSTHROUGH = "/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c"


class Bench:
    def __init__(self, build, folder, rounds):
        self.bin = build / "bin"
        self.plugin = next(build.rglob("nbdkit-pageserver-plugin.so"), None)
        self.library = build / "client"
        self.folder = folder
        self.rounds = rounds
        self.socket = folder / "s"
        self.image = None

    def run(self, *command, **options):
        return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, **options)

    def uri(self, store, query=""):
        return f"pageserver+unix:///{store}?socket={self.socket}" + (f"&{query}" if query else "")

    @contextlib.contextmanager
    def daemon(self, *stores):
        words = [word for name in stores for word in ("--store", f"{name}={self.folder / name}.img")]
        process = subprocess.Popen([self.bin / "pageserverd", "--unix", self.socket, *words], stderr=subprocess.DEVNULL)
        try:
            ping = [self.bin / "pagectl", "ping", "--quiet", self.uri(stores[0])]
            wait(lambda: subprocess.run(ping, stderr=subprocess.DEVNULL).returncode == 0)
            yield process
        finally:
            process.terminate()
            process.wait(60)

    @contextlib.contextmanager
    def mounted(self, uri, name, *options):
        path = self.folder / name
        self.run(self.bin / "pagectl", "mount", "--quiet", uri, path, *options)
        try:
            yield path
        finally:
            self.run("fusermount3", "-u", path)
            wait(lambda: not os.path.ismount(path))

    def served(self, path, *command):
        """`path`, as long as the command serves it."""
        process = subprocess.Popen(command)
        try:
            wait(lambda: os.path.ismount(path))
            yield path
        finally:
            self.run("fusermount3", "-u", path)
            process.wait(30)

    @contextlib.contextmanager
    def nbdfuse(self, image, name):
        """nbdkit's file plugin as a file."""
        path = self.folder / name
        path.touch()
        yield from self.served(path, "nbdfuse", path, "[", "nbdkit", "file", image, "]")

    @contextlib.contextmanager
    def passthrough(self, folder, name):
        """libfuse's example: each request is a pread or pwrite of the same file beneath."""
        program = self.folder / "passthrough_ll"
        if not program.exists():
            flags = self.run("pkg-config", "--cflags", "--libs", "fuse3", text=True).stdout.split()
            helpers = pathlib.Path(PASSTHROUGH).with_name("passthrough_helpers.h")
            for source in (pathlib.Path(PASSTHROUGH), helpers):
                shutil.copy(source, self.folder)
            self.run("cc", "-O2", "-w", self.folder / "passthrough_ll.c", "-o", program, *flags)
        path = self.folder / name
        path.mkdir()
        yield from self.served(path, program, "-f", "-o", f"source={folder},cache=never", path)

    def row(self, text, ours, theirs, bar, higher_is_better=True):
        """`ours` and `theirs` return a figure: each a turn a round, after one to warm up."""
        figures = []
        for round_number in range(self.rounds + 1):
            first, second = (ours, theirs) if round_number % 2 else (theirs, ours)
            one, two = first(), second()
            if round_number:
                figures.append((one, two) if first is ours else (two, one))
        ratio = statistics.median(a / b for a, b in figures)
        quarter = statistics.quantiles([a / b for a, b in figures], n=4) if len(figures) > 1 else [ratio] * 3
        mine, other = (statistics.median(column) for column in zip(*figures))
        reached = "yes" if (ratio >= bar if higher_is_better else ratio <= bar) else "no"
        sign = "≥" if higher_is_better else "≤"
        print(f"| {text} | {mine:,.4g} | {other:,.4g} | {ratio:.2f} | {quarter[0]:.2f} - {quarter[2]:.2f} | {sign} {bar} | {reached} |",
              flush=True)


def wait(holds):
    deadline = time.monotonic() + 30
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit("what was waited for did not come within 30 s")
        time.sleep(0.005)


def requests(path, size, count, write=False, sequential=False, sync=False):
    """So many requests a second."""
    chooser = random.Random(size + write)
    buffer = mmap.mmap(-1, size)
    buffer[:] = chooser.randbytes(size)
    file = os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_DIRECT)
    try:
        last = IMAGE_BYTES // size
        places = [(i % last if sequential else chooser.randrange(last)) * size for i in range(count)]
        call = os.pwritev if write else os.preadv
        began = time.perf_counter()
        for number, place in enumerate(places):
            if write:
                buffer[:8] = number.to_bytes(8, "little")
            call(file, [buffer], place)
        if sync:
            os.fdatasync(file)
        return count / (time.perf_counter() - began)
    finally:
        os.close(file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/bench", help="the tree of the optimised build")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="*", help="only rows of these groups: mount, pinned, fork, engine, nbd, inspect")
    parser.add_argument("--folder", help="where images lie; a file system with room for 2 GiB (default: build/)")
    arguments = parser.parse_args()
    build = pathlib.Path(arguments.build).resolve()
    with tempfile.TemporaryDirectory(dir=arguments.folder or build, prefix="files-") as folder:
        bench = Bench(build, pathlib.Path(folder), arguments.rounds)
        print("| work | ours | theirs | ratio | quartiles | wanted | reached |")
        print("|---|---|---|---|---|---|---|")
        for group in (mount, pinned, fork, engine, nbd, inspect):
            if fnmatch.fnmatch(group.__name__, arguments.only):
                group(bench)


def make_image(path, size=IMAGE_BYTES):
    with open(path, "wb") as file:
        chooser = random.Random(1)
        for _ in range(size // MIB):
            file.write(chooser.randbytes(MIB))


def mount(bench):
    image, plain = bench.folder / "m.img", bench.folder / "plain.img"
    make_image(image)
    make_image(plain)
    with bench.daemon("m"), bench.nbdfuse(plain, "theirs") as theirs:
        with bench.mounted(bench.uri("m", "publish=on_flush"), "ours") as ours:
            for size, count, name, sequential in ((4096, 4000, "4 KiB random", False), (65536, 1024, "64 KiB sequential", True)):
                for write in (False, True):
                    kind = "writes" if write else "reads"
                    bench.row(f"mounted writer, `on_flush`: {name} {kind}, a second × nbdfuse",
                              lambda: requests(ours, size, count, write, sequential),
                              lambda: requests(theirs, size, count, write, sequential), 2.0)


def pinned(bench):
    image, beneath = bench.folder / "p.img", bench.folder / "beneath"
    make_image(image)
    beneath.mkdir()
    shutil.copy(image, beneath / "p.img")
    if not os.path.exists(PASSTHROUGH):
        raise SystemExit(f"no {PASSTHROUGH}: it comes with libfuse3-dev")
    with bench.daemon("p"), bench.passthrough(beneath, "through") as through:
        with bench.mounted(bench.uri("p", "access=read&view=pinned"), "pinned", "-o", "direct_io") as ours:
            for size, count, name, sequential in ((4096, 4000, "4 KiB random", False), (65536, 1024, "64 KiB sequential", True)):
                bench.row(f"mounted `view=pinned`: {name} reads, a second × passthrough_ll",
                          lambda: requests(ours, size, count, False, sequential),
                          lambda: requests(through / "p.img", size, count, False, sequential), 0.8)


def fork(bench):
    image = bench.folder / "f.img"
    with open(image, "wb") as file:
        file.truncate(10 << 30)
    with bench.daemon("f"):
        def once():
            began = time.perf_counter()
            with bench.mounted(bench.uri("f", "access=fork"), "fork"):
                took = time.perf_counter() - began
            return 1000 * took

        bench.row("to mount a fork of 10 GiB, ms × 30 ms", once, lambda: 30.0, 1.0, higher_is_better=False)


def recorded(name):
    """The calls of a recorded workload (tests/fixtures/engine/README.md): (function of a descriptor, arguments)."""
    data = subprocess.run(["zstd", "-dcq", ROOT / f"tests/fixtures/engine/{name}.wdtr.zst"], stdout=subprocess.PIPE,
                          check=True).stdout
    calls, at, size = [], 48, struct.unpack_from("<Q", data, 8)[0]
    while at < len(data):
        kind, at = data[at], at + 1
        if kind == 1:
            pages, _ = struct.unpack_from("<QQ", data, at)
            size, at = size + 65536 * pages, at + 16
            calls.append((os.ftruncate, (size,)))
        elif kind == 2:
            offset, length = struct.unpack_from("<QI", data, at)
            at += 20
            calls.append((os.pread, (length, offset)))
        elif kind in (3, 4):
            offset, length = struct.unpack_from("<QI", data, at)
            at += 12
            calls.append((os.pwrite, (data[at:at + length] if kind == 3 else bytes(length), offset)))
            at += length if kind == 3 else 0
        elif kind == 5:
            calls.append((os.fdatasync, ()))
        else:
            at += 13
    return calls


def engine(bench):
    """The recorded workloads of the real engine, with its syncs, on a mounted writer and on a local file."""
    for name in ("small_crud", "blob", "reopen"):
        calls, numbers = recorded(name), iter(range(1000))
        initial = b""
        if name == "reopen":
            initial = bench.run("zstd", "-dcq", ROOT / "tests/fixtures/engine/small_crud.img.zst").stdout

        def commits(path):
            file = os.open(path, os.O_RDWR)
            began = time.perf_counter()
            for call, words in calls:
                call(file, *words)
            took = time.perf_counter() - began
            os.close(file)
            return sum(call is os.fdatasync for call, _ in calls) / took

        def mounted(option):
            store = f"{name}{next(numbers)}"
            (bench.folder / f"{store}.img").write_bytes(initial)
            with bench.daemon(store):
                with bench.mounted(bench.uri(store, "publish=on_flush"), "engine", "-o", option) as path:
                    rate = commits(path)
                    bench.image = path.read_bytes()
            return rate

        def local():
            path = bench.folder / "local.img"
            path.write_bytes(initial)
            rate = commits(path)
            if bench.image is not None and path.read_bytes() != bench.image:
                raise SystemExit(f"{name}: the mounted image and the local file differ")
            return rate

        for option, how in (("rw", "`on_flush`"), ("writeback", "`on_flush`, `-o writeback`")):
            bench.image = None
            bench.row(f"engine workload {name} on a mounted writer, {how}: commits a second × a local file",
                      lambda: mounted(option), local, 0.7)


def nbd(bench):
    image, plain = bench.folder / "n.img", bench.folder / "plain-n.img"
    make_image(image, 512 * MIB)
    shutil.copy(image, plain)
    with bench.daemon("n"):
        def copied(*plugin):
            began = time.perf_counter()
            bench.run("nbdcopy", "--request-size=65536", "--requests=16", "--connections=1", "--threads=1", "--allocated",
                      "--", "[", "nbdkit", *plugin, "]", "null:",
                      env={**os.environ, "LD_LIBRARY_PATH": str(bench.library)})
            return 512 / (time.perf_counter() - began)

        bench.row("NBD, 64 KiB × 16, pinned: MiB/s × nbdkit's file plugin",
                  lambda: copied(bench.plugin, f"uri={bench.uri('n', 'access=read&view=pinned')}"),
                  lambda: copied("file", plain), 0.9)


def inspect(bench):
    """An image of 1 GiB that holds a database of the real engine and, behind it, pages that belong to nothing."""
    image = bench.folder / "i.img"
    with open(image, "wb") as file:
        subprocess.run(["zstd", "-dcq", ROOT / "tests/fixtures/engine/small_crud.img.zst"], stdout=file, check=True)
    with open(image, "r+b") as file:
        file.seek(0, os.SEEK_END)
        chooser = random.Random(2)
        while file.tell() < 1 << 30:
            file.write(chooser.randbytes(min(MIB, (1 << 30) - file.tell())))
    peak = []

    def inspected():
        began = time.perf_counter()
        process = subprocess.Popen([bench.bin / "pagectl", "inspect", "--json", str(image)], stdout=subprocess.DEVNULL)
        status = f"/proc/{process.pid}/status"
        while process.poll() is None:
            # Not from wait4(2), whose figure counts what this process had when it forked.
            with open(status, encoding="ascii") as file:
                peak.extend(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))
            time.sleep(0.001)
        took = time.perf_counter() - began
        if process.returncode not in (0, 1):
            raise SystemExit(f"inspect ended with {process.returncode}")
        return took

    def read():
        buffer = bytearray(MIB)
        began = time.perf_counter()
        with open(image, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
        return time.perf_counter() - began

    bench.row("`pagectl inspect` of 1 GiB, s × reading it", inspected, read, 1.5, higher_is_better=False)
    print(f"| its memory, MiB × 64 MiB | {max(peak):.4g} | 64 | {max(peak) / 64:.2f} | | ≤ 1 | "
          f"{'yes' if max(peak) <= 64 else 'no'} |")


if __name__ == "__main__":
    sys.exit(main())
