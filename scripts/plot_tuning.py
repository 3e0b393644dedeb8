#!/usr/bin/env python3
"""Measures what four settings do, with `pagectl bench`, and draws it.

    scripts/plot_tuning.py measure [--bin DIR] [--seconds N] [--rounds N] [SETTING...]
        starts daemons of its own (log_bytes, threads, poll_us, cache_bytes: all four unless some are named), writes
        docs/tuning/measured.json, and draws. Some seven minutes as it stands.
    scripts/plot_tuning.py draw [--check]
        makes docs/tuning/SETTING.svg and the tables of docs/tuning.md from that file; --check: only says what is stale

DIR has pageserverd and pagectl as they are shipped: build/bench/bin unless said otherwise. Each value is measured in
each round, in turns, so that what else the machine does falls on all of them alike; the median of the rounds counts.
"""
import argparse
import concurrent.futures
import contextlib
import datetime
import html
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs/tuning"
MEASURED = FOLDER / "measured.json"
PAGE = ROOT / "docs/tuning.md"
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
IMAGE_BYTES = 256 * MIB
CACHED_IMAGE_BYTES = 64 * MIB


def size_text(value):
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if value and value % unit == 0:
            return f"{value // unit} {name}"
    return str(value)


class Daemon:
    """A daemon on an image of its own, with pages that are not zeros."""

    def __init__(self, programs, folder, config, image_bytes):
        self.programs = programs
        self.socket = folder / "socket"
        config = {"listen": [], "unix": [{"path": str(self.socket)}], "log": {"level": "warn"},
                  "stores": [{"name": "tuning", "path": str(folder / "tuning.img")}], **config}
        (folder / "config.json").write_text(json.dumps(config))
        self.process = subprocess.Popen([programs / "pageserverd", "--config", folder / "config.json"])
        try:
            self.tool("ping", f"pageserver+unix:///?socket={self.socket}", "--wait", "30000")
            self.tool("grow", self.uri(), str(image_bytes // 65536))
            self.tool("bench", self.uri(), "--size", "65536", "--depth", "16", "--write", "100", "--sequential",
                      "--count", str(image_bytes // 65536))
        except BaseException:
            self.stop()
            raise

    def uri(self, **keys):
        return "&".join([f"pageserver+unix:///tuning?socket={self.socket}", *(f"{k}={v}" for k, v in keys.items())])

    def tool(self, *arguments):
        done = subprocess.run([self.programs / "pagectl", *arguments, "--json", "--quiet"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"pagectl {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def bench(self, uri, size, depth, seconds, *more):
        return self.tool("bench", uri, "--size", str(size), "--depth", str(depth), "--seconds", str(seconds),
                         *more)["runs"][0]

    def processor_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        if self.process.wait() != 0:
            sys.exit(f"pageserverd ended with status {self.process.returncode}")


@contextlib.contextmanager
def daemon(programs, config, image_bytes=IMAGE_BYTES):
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tuning-", dir=ROOT / "build") as folder:
        one = Daemon(programs, pathlib.Path(folder), config, image_bytes)
        try:
            yield one
        finally:
            one.stop()


# Each measures one value and returns its columns.


def measure_log_bytes(programs, value, seconds):
    with daemon(programs, {"limits": {"log_bytes": value}}) as one:
        run = one.bench(one.uri(), 65536, 16, seconds, "--write", "100")
    return {"writes_mb_s": run["bytes_per_second"] / 1e6, "p99_9_ms": run["latency_us"]["p99_9"] / 1000}


def measure_threads(programs, value, seconds):
    clients = 4
    with daemon(programs, {"threads": value}) as one:
        def together(size, depth):
            with concurrent.futures.ThreadPoolExecutor(clients) as pool:
                runs = list(pool.map(lambda _: one.bench(one.uri(access="read"), size, depth, seconds), range(clients)))
            return sum(run["requests_per_second"] for run in runs)
        return {"small_k_s": together(8, 16) / 1000, "large_k_s": together(65536, 4) / 1000}


def measure_poll_us(programs, value, seconds):
    with daemon(programs, {"poll_us": value}) as one:
        before = one.processor_seconds()
        run = one.bench(one.uri(access="read", poll_us=value), 8, 1, seconds)
        spent = one.processor_seconds() - before
    return {"median_us": run["latency_us"]["median"], "processor_us": spent * 1e6 / run["requests"]}


def measure_cache_bytes(programs, value, seconds):
    with daemon(programs, {}, CACHED_IMAGE_BYTES) as one:
        uri = one.uri(access="read", view="pinned", **({"cache_bytes": value} if value else {}))
        run = one.bench(uri, 4096, 1, seconds)
    return {"reads_k_s": run["requests_per_second"] / 1000, "p99_us": run["latency_us"]["p99"]}


class Setting:
    def __init__(self, measure, values, show, what, columns):
        self.measure, self.values, self.show, self.what, self.columns = measure, values, show, what, columns


SETTINGS = {
    "log_bytes": Setting(
        measure_log_bytes, [n * MIB for n in (1, 4, 16, 64, 256, 1024)], size_text,
        "random writes of 64 KiB to an image of 256 MiB, 16 in flight, publish=on_write",
        {"writes_mb_s": "MB/s", "p99_9_ms": "99.9th percentile, ms"}),
    "threads": Setting(
        measure_threads, [1, 2, 3, 4], str, "random reads by 4 clients at once, all of them together",
        {"small_k_s": "8 B, 16 in flight each: 1000/s", "large_k_s": "64 KiB, 4 in flight each: 1000/s"}),
    "poll_us": Setting(
        measure_poll_us, [0, 10, 25, 50, 100, 250, 1000], str,
        "random reads of 8 B, one at a time, both ends polling for so long",
        {"median_us": "median, µs", "processor_us": "the daemon's processor time for each, µs"}),
    "cache_bytes": Setting(
        measure_cache_bytes, [0, *(n * MIB for n in (4, 16, 32, 48, 60, 68))], size_text,
        "random reads of 4 KiB from a pinned image of 64 MiB, one at a time",
        {"reads_k_s": "1000/s", "p99_us": "99th percentile, µs"}),
}


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())
    kind = subprocess.run(["findmnt", "-n", "-o", "FSTYPE", "-T", ROOT], capture_output=True, text=True).stdout.strip()
    return {"processors": len(os.sched_getaffinity(0)), "model": model.group(1) if model else platform.machine(),
            "memory_gib": round(int(memory.group(1)) / (1 << 20)), "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
            "file_system": kind}


def busy_processors(seconds):
    """How many processors others use, over so long a look."""
    def used():
        fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        return sum(fields) - fields[3] - fields[4]
    before = used()
    time.sleep(seconds)
    return (used() - before) / os.sysconf("SC_CLK_TCK") / seconds


def measure(arguments):
    programs = pathlib.Path(arguments.bin).resolve()
    if not (programs / "pageserverd").is_file():
        sys.exit(f"{programs} has no pageserverd: cmake --preset bench && cmake --build --preset bench")
    document = json.loads(MEASURED.read_text()) if MEASURED.is_file() else {}
    for name in arguments.settings or SETTINGS:
        setting = SETTINGS[name]
        busy_before = busy_processors(2)
        started = time.monotonic()
        rounds = []
        for number in range(arguments.rounds):
            rounds.append([])
            for value in setting.values:
                rounds[-1].append(setting.measure(programs, value, arguments.seconds))
                print(f"{name}={setting.show(value)}, round {number + 1}: {rounds[-1][-1]}", flush=True)
        points = [{"value": value, **{column: statistics.median(one[at][column] for one in rounds)
                                      for column in setting.columns}} for at, value in enumerate(setting.values)]
        for at, point in enumerate(points):
            for column in setting.columns:
                all_of_them = [one[at][column] for one in rounds]
                point[column] = float(f"{point[column]:.4g}")
                point[column + "_spread"] = [float(f"{edge(all_of_them):.4g}") for edge in (min, max)]
        document[name] = {
            "date": datetime.date.today().isoformat(), "machine": machine(), "busy_before": round(busy_before, 2),
            "command": f"scripts/plot_tuning.py measure --seconds {arguments.seconds:g} --rounds {arguments.rounds} "
                       f"{name}", "took_s": round(time.monotonic() - started), "points": points}
        FOLDER.mkdir(exist_ok=True)
        MEASURED.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


# Drawing. A panel for each column, side by side: two scales in one panel would be read against the wrong one.

PANEL, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 430, 270, 62, 58, 52, 18
STYLE = "font-family='sans-serif' font-size='12' fill='#333'"


def ticks(most):
    step = 10.0 ** len(str(int(most)))
    while most / step < 3:
        step /= 2 if f"{step:e}"[0] in "21" else 2.5
    return [step * n for n in range(int(most / step) + 2)]


def text(x, y, words, anchor="middle", more=""):
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' {STYLE} {more}>{html.escape(words)}</text>"


def panel(left, setting, measured, column, title):
    points = measured["points"]
    scale = ticks(max(point[column + "_spread"][1] for point in points))
    width, height = PANEL - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(at):
        return left + LEFT + width * (at + 0.5) / len(points)

    def y(value):
        return TOP + height * (1 - value / scale[-1])

    out = [text(left + LEFT, TOP - 12, title, "start")]
    for tick in scale:
        out.append(f"<line x1='{left + LEFT}' x2='{left + LEFT + width}' y1='{y(tick):.1f}' y2='{y(tick):.1f}' "
                   "stroke='#ddd'/>")
        out.append(text(left + LEFT - 6, y(tick) + 4, f"{tick:g}", "end"))
    for at, point in enumerate(points):
        out.append(text(x(at), TOP + height + 18, setting.show(point["value"])))
        low, high = point[column + "_spread"]
        out.append(f"<line x1='{x(at):.1f}' x2='{x(at):.1f}' y1='{y(low):.1f}' y2='{y(high):.1f}' stroke='#9bc' "
                   "stroke-width='3'/>")
    line = " ".join(f"{x(at):.1f},{y(point[column]):.1f}" for at, point in enumerate(points))
    out.append(f"<polyline points='{line}' fill='none' stroke='#147' stroke-width='2'/>")
    out += [f"<circle cx='{x(at):.1f}' cy='{y(point[column]):.1f}' r='3.5' fill='#147'/>"
            for at, point in enumerate(points)]
    return out


def drawing(name, measured):
    setting = SETTINGS[name]
    width = PANEL * len(setting.columns)
    out = [f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{HEIGHT}' viewBox='0 0 {width} {HEIGHT}'>",
           f"<rect width='{width}' height='{HEIGHT}' fill='white'/>",
           text(LEFT, 22, f"{name}: {setting.what}", "start", "font-weight='bold'")]
    for at, (column, title) in enumerate(setting.columns.items()):
        out += panel(PANEL * at, setting, measured, column, title)
    out.append(text(LEFT, HEIGHT - 8, "line: median of the rounds; bars: from the lowest to the highest", "start"))
    return "\n".join([*out, "</svg>"]) + "\n"


def table(name, measured):
    setting = SETTINGS[name]
    here = measured["machine"]
    lines = [f"| `{name}` | {' | '.join(setting.columns.values())} |", "|---|" + "---|" * len(setting.columns)]
    for point in measured["points"]:
        cells = [f"{point[c]:g} ({point[c + '_spread'][0]:g} to {point[c + '_spread'][1]:g})" for c in setting.columns]
        lines.append(f"| {setting.show(point['value'])} | {' | '.join(cells)} |")
    busy = measured["busy_before"]
    note = "The machine had nothing else to do." if busy < 0.1 * here["processors"] else \
        f"**The machine was busy** ({busy:g} of its processors before the first run): what differs by less than the " \
        "bars says nothing."
    lines += ["", f"![{name}: {', '.join(setting.columns.values())}](tuning/{name}.svg)"]
    lines += ["", f"Measured {measured['date']} with `{measured['command']}`: {here['model']}, {here['processors']} "
              f"processors, {here['memory_gib']} GiB, {here['system']}, {here['file_system']}. {note}"]
    return lines


def wrapped(line):
    out, room = [""], 120
    for word in re.split(r" (?=(?:[^`]*`[^`]*`)*[^`]*$)", line):
        if len(out[-1]) + len(word) + 1 > room:
            out.append("")
        out[-1] += (" " if out[-1] else "") + word
    return out


def page_with(page, name, measured):
    lines = [part for line in table(name, measured) for part in (wrapped(line) if line[:1] != "|" else [line])]
    block = "\n".join([f"<!-- measured: {name} -->", *lines, "<!-- end -->"])
    found = re.compile(rf"<!-- measured: {name} -->.*?<!-- end -->", re.S)
    if not found.search(page):
        sys.exit(f"docs/tuning.md has no place for {name}: <!-- measured: {name} --> ... <!-- end -->")
    return found.sub(lambda _: block, page)


def draw(check):
    """Returns what is stale."""
    if not MEASURED.is_file():
        if not check:
            sys.exit(f"{MEASURED.relative_to(ROOT)} is not there: scripts/plot_tuning.py measure makes it")
        return []
    document = json.loads(MEASURED.read_text())
    page = PAGE.read_text()
    wanted = {}
    for name, measured in document.items():
        wanted[FOLDER / f"{name}.svg"] = drawing(name, measured)
        page = page_with(page, name, measured)
    wanted[PAGE] = page
    stale = [path for path, content in wanted.items() if not path.is_file() or path.read_text() != content]
    for path in [] if check else stale:
        path.write_text(wanted[path])
    return [f"{path.relative_to(ROOT)} is not what scripts/plot_tuning.py draw makes of {MEASURED.relative_to(ROOT)}"
            for path in stale] if check else []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    to_measure = commands.add_parser("measure")
    to_measure.add_argument("--bin", default=ROOT / "build/bench/bin")
    to_measure.add_argument("--seconds", type=float, default=2)
    to_measure.add_argument("--rounds", type=int, default=3)
    to_measure.add_argument("settings", nargs="*", choices=[*SETTINGS, []], metavar="SETTING")
    commands.add_parser("draw").add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if arguments.command == "measure":
        measure(arguments)
        draw(False)
        return 0
    stale = draw(arguments.check)
    print("\n".join(stale), end="\n" if stale else "")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
