#!/usr/bin/env python3
"""A store whose home is a Ceph pool, beside what Ceph itself takes for the same, in one run on a cluster of three OSDs in
memory on this machine. Ratios are medians of those of each round, in which each takes its turn.

    cmake --preset bench && cmake --build --preset bench --target pageserverd pagectl pageserver_c pageserver_ceph
    scripts/bench_ceph.py [--build build/bench] [--rounds 5] [--only PATTERN]

Needs ceph-mon, ceph-osd and rbd (section `ceph` of docker/packages.txt). STORE=bluestore has the OSDs on files.
"""
import argparse
import contextlib
import ctypes
import fnmatch
import json
import os
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
MIB = 1 << 20
PAGE = 65536
IMAGE_PAGES = 1024  # 64 MiB
LEASE_S = 3.0


class GuardedWrites:
    """The least that a durable write under a fence takes: one operation that compares a key and writes 4 KiB."""

    def __init__(self, configuration):
        self.rados = ctypes.CDLL("librados.so.2")
        self.rados.rados_create_write_op.restype = ctypes.c_void_p
        cluster, self.io = ctypes.c_void_p(), ctypes.c_void_p()
        self.check(self.rados.rados_create(ctypes.byref(cluster), b"pages"))
        self.check(self.rados.rados_conf_read_file(cluster, configuration.encode()))
        self.check(self.rados.rados_connect(cluster))
        self.check(self.rados.rados_ioctx_create(cluster, b"pages", ctypes.byref(self.io)))
        self.epoch = (7).to_bytes(8, "big")
        keys, values = (ctypes.c_char_p * 1)(b"e"), (ctypes.c_char_p * 1)(self.epoch)
        lengths, value_lengths = (ctypes.c_size_t * 1)(1), (ctypes.c_size_t * 1)(8)
        op = ctypes.c_void_p(self.rados.rados_create_write_op())
        self.rados.rados_write_op_create(op, 0, None)
        self.rados.rados_write_op_omap_set2(op, keys, values, lengths, value_lengths, ctypes.c_size_t(1))
        self.run(op)

    def check(self, result):
        if result < 0:
            raise SystemExit(f"librados says {result}: {os.strerror(-result)}")

    def run(self, op):
        self.check(self.rados.rados_write_op_operate(op, self.io, b"bench.guarded", None, 0))
        self.rados.rados_release_write_op(op)

    def guarded(self, data, offset, compares=True):
        op = ctypes.c_void_p(self.rados.rados_create_write_op())
        equal = ctypes.c_uint8(1)
        if compares:
            self.rados.rados_write_op_omap_cmp2(
                op, b"e", equal, self.epoch, ctypes.c_size_t(1), ctypes.c_size_t(8), None)
        self.rados.rados_write_op_write(op, data, ctypes.c_size_t(len(data)), ctypes.c_uint64(offset))
        return op

    def write(self, data, offset):
        self.run(self.guarded(data, offset))

    def begin(self, name, op):
        completion = ctypes.c_void_p()
        self.check(self.rados.rados_aio_create_completion2(None, None, ctypes.byref(completion)))
        self.check(self.rados.rados_aio_write_op_operate(op, self.io, completion, name, None, 0))
        self.rados.rados_release_write_op(op)
        return completion

    def end(self, completion):
        self.check(self.rados.rados_aio_wait_for_complete(completion))
        self.check(self.rados.rados_aio_get_return_value(completion))
        self.rados.rados_aio_release(completion)

    def make(self, name):
        op = ctypes.c_void_p(self.rados.rados_create_write_op())
        self.rados.rados_write_op_create(op, 0, None)
        keys, values = (ctypes.c_char_p * 1)(b"e"), (ctypes.c_char_p * 1)(self.epoch)
        lengths, value_lengths = (ctypes.c_size_t * 1)(1), (ctypes.c_size_t * 1)(8)
        self.rados.rados_write_op_omap_set2(op, keys, values, lengths, value_lengths, ctypes.c_size_t(1))
        return self.begin(name, op)

    def stream(self, data, count, in_turn=1, compares=True):
        """Into objects of 4 MiB, 16 writes under way, as a log: writes a second. Each object is filled before the next
        one, or `in_turn` of them together."""
        each = (4 << 20) // len(data)
        for completion in [self.make(b"bench.log.%d" % number) for number in range(count // each + in_turn)]:
            self.end(completion)
        under_way = []
        began = time.perf_counter()
        for number in range(count):
            if len(under_way) == 16:
                self.end(under_way.pop(0))
            row, turn = divmod(number, in_turn)
            under_way.append(self.begin(b"bench.log.%d" % (row // each * in_turn + turn),
                                        self.guarded(data, row % each * len(data), compares)))
        for completion in under_way:
            self.end(completion)
        return count / (time.perf_counter() - began)


class Bench:
    def __init__(self, build, folder, cluster, rounds):
        self.bin = build / "bin"
        self.folder = folder
        self.configuration = f"{cluster}/ceph.conf"
        self.rounds = rounds
        self.number = 0

    def home(self, name):
        return f"ceph:pages/{name}.img?conf={self.configuration}&id=pages"

    def tool(self, *words):
        return subprocess.run([self.bin / "pagectl", *words], check=True, stdout=subprocess.PIPE).stdout

    @contextlib.contextmanager
    def daemon(self, stores, *flags):
        """Its process, and what makes a store's URI; killed at the end where it still runs."""
        self.number += 1
        at = self.folder / f"s{self.number}"
        words = [word for name, path in stores.items() for word in ("--store", f"{name}={path}")]
        process = subprocess.Popen([self.bin / "pageserverd", "--unix", at, *words, *flags], stderr=subprocess.DEVNULL)
        uri = lambda store, query="": f"pageserver+unix:///{store}?socket={at}" + (f"&{query}" if query else "")
        try:
            ping = [self.bin / "pagectl", "ping", "--quiet", uri("")]
            wait(lambda: subprocess.run(ping, stderr=subprocess.DEVNULL).returncode == 0)
            yield process, uri
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(60)

    def row(self, text, ours, theirs, bar, higher_is_better=True):
        """`ours` and `theirs` return a figure: each a turn a round, after one to warm up."""
        figures = []
        for number in range(self.rounds + 1):
            first, second = (ours, theirs) if number % 2 else (theirs, ours)
            one, two = first(), second()
            if number:
                figures.append((one, two) if first is ours else (two, one))
        ratios = [mine / other for mine, other in figures]
        ratio = statistics.median(ratios)
        mine, other = (statistics.median(column) for column in zip(*figures))
        reached = ratio >= bar if higher_is_better else ratio <= bar
        tell(text, mine, other, f"{ratio:.2f}", f"{min(ratios):.2f} - {max(ratios):.2f}",
             f"{'≥' if higher_is_better else '≤'} {bar}", reached)

    def bound(self, text, unit, figure, most):
        """No more than so much."""
        figures = [figure() for _ in range(self.rounds)]
        tell(f"{text}, {unit}", statistics.median(figures), "", "", f"{min(figures):.3g} - {max(figures):.3g}",
             f"≤ {most}", statistics.median(figures) <= most)


def tell(text, mine, other, ratio, spread, wanted, reached):
    other = f"{other:,.4g}" if other != "" else ""
    print(f"| {text} | {mine:,.4g} | {other} | {ratio} | {spread} | {wanted} | {'yes' if reached else 'no'} |", flush=True)


def wait(holds, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"what was waited for did not come within {seconds} s")


def timed(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def fill(bench, uri):
    """Whole pages of bytes that are no zeros."""
    source = bench.folder / "random.img"
    if not source.exists():
        source.write_bytes(random.Random(1).randbytes(IMAGE_PAGES * PAGE))
    bench.tool("copy", "--force", "--quiet", source, uri)


def requests_a_second(bench, uri, *words):
    found = json.loads(bench.tool("bench", uri, "--size", "64KiB", "--depth", "16", "--seconds", "2", "--json", *words))
    return found["runs"][0]["requests_per_second"]


def make_disk(bench):
    """Of random.img, once."""
    rbd = ["rbd", "-c", bench.configuration, "--id", "disks"]
    if "bench" not in subprocess.run([*rbd, "ls", "disks"], check=True, stdout=subprocess.PIPE, text=True).stdout.split():
        subprocess.run([*rbd, "import", bench.folder / "random.img", "disks/bench", "--no-progress"], check=True)


def rbd_requests_a_second(bench, kind):
    """What librbd does by Ceph's own tool, with its defaults."""
    said = subprocess.run(
        ["rbd", "-c", bench.configuration, "--id", "disks", "bench", "--io-type", kind, "--io-size", "64K",
         "--io-threads", "16", "--io-total", "256M", "--io-pattern", "rand", "disks/bench"],
        check=True, stdout=subprocess.PIPE, text=True).stdout
    last = next(line for line in said.splitlines() if line.startswith("elapsed:"))
    return float(last.split("ops/sec:")[1].split()[0])


def commits(bench, package):
    guarded = GuardedWrites(bench.configuration)
    data, count = os.urandom(4096), 300
    with bench.daemon({"a": bench.home("commits")}) as (_, uri), package.open(uri("a"), publish="on_flush") as session:
        session.grow(64)
        session.flush()

        def ours():
            for number in range(count):
                session.write(number % 64 * PAGE, data)
                session.flush()

        def theirs():
            for number in range(count):
                guarded.write(data, number % 64 * 4096)

        bench.row("4 KiB transaction, `on_flush`, durable, ms × a guarded write of 4 KiB by librados",
                  lambda: timed(ours) / count * 1000, lambda: timed(theirs) / count * 1000, 1.15, False)


def reads(bench, _):
    with bench.daemon({"a": bench.home("reads"), "local": bench.folder / "local.img"}) as (_, uri):
        for store in ("a", "local"):
            fill(bench, uri(store))
        make_disk(bench)
        rbd = lambda: rbd_requests_a_second(bench, "read")
        warm = lambda: requests_a_second(bench, uri("a"))
        warm()
        bench.row("64 KiB reads, 16 under way, of a warm store, a second × librbd", warm, rbd, 1.2)
        bench.row("the same × a store in a file", warm, lambda: requests_a_second(bench, uri("local")), 0.9)

    def cold():
        with bench.daemon({"a": bench.home("reads")}) as (_, uri):
            return json.loads(bench.tool("bench", uri("a"), "--size", "64KiB", "--depth", "16", "--count",
                                         str(IMAGE_PAGES), "--sequential", "--json"))["runs"][0]["requests_per_second"]

    bench.row("the same in order, of a store that was just opened, × librbd at random places", cold, rbd, 1.2)


def writes(bench, _):
    guarded, data, count = GuardedWrites(bench.configuration), os.urandom(PAGE), 2048
    with bench.daemon({"a": bench.home("writes")}) as (_, uri):
        fill(bench, uri("a"))
        make_disk(bench)
        ours = lambda: requests_a_second(bench, uri("a"), "--write", "100")
        bench.row("64 KiB writes, 16 under way, `on_write`, a second × librbd", ours,
                  lambda: rbd_requests_a_second(bench, "write"), 1.0)
        # What the pool can do with such writes under a fence, whoever asks.
        bench.row("the same × guarded writes by librados, 16 under way, one object after the other", ours,
                  lambda: guarded.stream(data, count), 1.0)
        bench.row("the same × guarded writes by librados, 16 under way, 16 objects in turn", ours,
                  lambda: guarded.stream(data, count, in_turn=16), 1.0)
        bench.row("the same × writes without a compare, 16 under way, one object after the other", ours,
                  lambda: guarded.stream(data, count, compares=False), 1.0)


class Recording:
    """A recorded workload (tests/fixtures/engine/README.md), as a disk under the kernel's page cache meets it at best:
    no read, and at each flush the blocks of 4 KiB that changed since the last one, neighbours together."""

    def __init__(self, name):
        self.file = ROOT / f"tests/fixtures/engine/{name}.wdtr.zst"
        data = subprocess.run(["zstd", "-dcq", self.file], check=True, stdout=subprocess.PIPE).stdout
        number = lambda at, size: int.from_bytes(data[at:at + size], "little")
        image, changed, self.batches, at = bytearray(), set(), [], 48
        for _ in range(number(24, 8)):
            kind, at = data[at], at + 1
            if kind == 1:
                image.extend(bytes(number(at, 8) * PAGE))
                at += 16
            elif kind == 2:
                at += 20
            elif kind in (3, 4):
                offset, length = number(at, 8), number(at + 8, 4)
                at += 12
                image[offset:offset + length] = data[at:at + length] if kind == 3 else bytes(length)
                at += length if kind == 3 else 0
                changed.update(range(offset // 4096, (offset + length + 4095) // 4096))
            elif kind == 5:
                self.batches.append(self.ranges(image, sorted(changed)))
                changed.clear()
            else:
                at += 13
        self.bytes = len(image)

    @staticmethod
    def ranges(image, blocks):
        found = []
        for block in blocks:
            content = bytes(image[block * 4096:(block + 1) * 4096])
            if found and found[-1][0] + len(found[-1][1]) == block * 4096:
                found[-1] = (found[-1][0], found[-1][1] + content)
            else:
                found.append((block * 4096, content))
        return found


class Disk:
    """A disk of RBD by librbd, with its defaults."""

    def __init__(self, bench, name, size):
        subprocess.run(["rbd", "-c", bench.configuration, "--id", "disks", "create", "--size", f"{size}B",
                        f"disks/{name}"], check=True)
        self.rados, self.rbd = ctypes.CDLL("librados.so.2"), ctypes.CDLL("librbd.so.1")
        cluster, io, self.image = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
        for result in (self.rados.rados_create(ctypes.byref(cluster), b"disks"),
                       self.rados.rados_conf_read_file(cluster, bench.configuration.encode()),
                       self.rados.rados_connect(cluster),
                       self.rados.rados_ioctx_create(cluster, b"disks", ctypes.byref(io)),
                       self.rbd.rbd_open(io, name.encode(), ctypes.byref(self.image), None)):
            self.check(result)

    @staticmethod
    def check(result):
        if result < 0:
            raise SystemExit(f"librbd says {result}: {os.strerror(-result)}")

    def replay(self, batches):
        for batch in batches:
            under_way = []
            for offset, content in batch:
                completion = ctypes.c_void_p()
                self.check(self.rbd.rbd_aio_create_completion(None, None, ctypes.byref(completion)))
                self.check(self.rbd.rbd_aio_write(self.image, ctypes.c_uint64(offset), ctypes.c_size_t(len(content)),
                                                  content, completion))
                under_way.append(completion)
            for completion in under_way:
                self.check(self.rbd.rbd_aio_wait_for_complete(completion))
                self.check(self.rbd.rbd_aio_get_return_value(completion))
                self.rbd.rbd_aio_release(completion)
            self.check(self.rbd.rbd_flush(self.image))


def recordings(bench, _):
    for name in ("small_crud", "blob"):
        recording = Recording(name)
        disk = Disk(bench, name, recording.bytes)

        def ours():
            bench.number += 1
            with bench.daemon({"a": bench.home(f"{name}{bench.number}")}) as (_, uri):
                return json.loads(bench.tool("replay", recording.file, uri("a", "publish=on_flush&cache_bytes=64MiB"),
                                             "--json"))["seconds"]

        bench.row(f"recorded `{name}`, cached, `on_flush`, {len(recording.batches)} flushes, s × librbd under an ideal "
                  "page cache", ours, lambda: timed(lambda: disk.replay(recording.batches)), 0.5, False)


def takeovers(bench, package):
    def first_read(uri):
        while True:
            try:
                with package.open(uri, access="read") as session:
                    session.read(0, 8)
                    return
            except package.Error:
                pass

    def follow(end):
        home = bench.home(f"follow{bench.number}")
        # Whose daemon was killed can't be closed in order.
        with bench.daemon({"a": home}) as (first, uri), contextlib.suppress(package.Error):
            with package.open(uri("a")) as session:
                session.grow(513)
                for page in range(512):
                    session.write(page * PAGE, os.urandom(PAGE))
                session.flush()
                with bench.daemon({"a": home}, "--standby") as (_, next_uri):
                    end(first, session)
                    if first.poll() is None:
                        first.wait(60)
                    took = timed(lambda: first_read(next_uri("a")))
        return took

    def kill(first, _):
        first.send_signal(signal.SIGKILL)

    def stop(first, session):
        session.close()
        first.send_signal(signal.SIGTERM)

    bench.bound("from a kill to the first read, 32 MiB of log", "s", lambda: follow(kill), LEASE_S + 0.5)
    bench.bound("from the end of a stop in order to the first read", "ms", lambda: follow(stop) * 1000, 50)


def views(bench, package):
    with bench.daemon({"a": bench.home("views")}) as (_, uri):
        with package.open(uri("a")) as session:
            session.grow(10 * 1024 * MIB // PAGE)
            session.write(0, b"x")
            session.flush()

        def opened(**options):
            return timed(lambda: package.open(uri("a"), **options).close()) * 1000

        opened(access="read")
        bench.bound("a pin of an image of 10 GiB, opened and closed", "ms", lambda: opened(access="read", view="pinned"), 5)
        bench.bound("a fork of it", "ms", lambda: opened(access="fork"), 5)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/bench", help="the tree of the optimised build")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="*", help="only rows of these groups: commits, reads, writes, "
                        "recordings, takeovers, views")
    arguments = parser.parse_args()
    build = pathlib.Path(arguments.build).resolve()
    os.environ["PAGESERVER_LIBRARY"] = str(next(build.rglob("libpageserver.so.1")))
    sys.path.insert(0, str(ROOT / "client/python/src"))
    import pageserver

    script = ROOT / "tests/ceph/cluster.sh"
    with tempfile.TemporaryDirectory(dir=build, prefix="ceph-") as folder:
        cluster = pathlib.Path(folder) / "cluster"
        environment = dict(os.environ, OSDS="3", DISKS="yes", OSD_BYTES=str(4 << 30))
        subprocess.run([script, "start", cluster], check=True, env=environment)
        try:
            bench = Bench(build, pathlib.Path(folder), cluster, arguments.rounds)
            print("| work | ours | theirs | ratio | spread | wanted | reached |")
            print("|---|---|---|---|---|---|---|")
            for group in (commits, reads, writes, recordings, takeovers, views):
                if fnmatch.fnmatch(group.__name__, arguments.only):
                    group(bench, pageserver)
        finally:
            subprocess.run([script, "stop", cluster], check=True)


if __name__ == "__main__":
    main()
