#!/usr/bin/env python3
"""Measures what it costs to look at a daemon: a scrape and the status page with many stores, and a map of many pages; and
what requests lose where metrics are on and scraped each second, against a daemon without.

    scripts/measure_metrics.py [BIN] [ROUNDS] [OTHER]   a folder with pageserverd and pagectl (build/release/bin); rounds of the
                                                        comparison, some 6 s each (40; 0: none; at least 2). Nothing else should
                                                        run meanwhile.

Requests are counted with --metrics and without it. What the counting costs shows where OTHER is the folder of a pageserverd
that counts none: RequestRow::close(), RequestFigures::add() and add_sum() in server/metrics/request_figures.hpp without
their work. Without OTHER both daemons are the same program.

Each ratio is the median of all rounds, with the quartiles; above 1 is better with metrics."""
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

STORES = 1000
PAGES = 16 << 20


def get(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read()


class Daemon:
    def __init__(self, folder, bin_dir, config, metrics=True):
        told = {"metrics": {"listen": "127.0.0.1:0"}} if metrics else {}
        with open(f"{folder}/c.json", "w") as file:
            json.dump({"listen": [], "unix": [{"path": f"{folder}/s.sock"}], **told, **config}, file)
        with open(f"{folder}/log", "w") as log:
            self.process = subprocess.Popen([f"{bin_dir}/pageserverd", "--config", f"{folder}/c.json"], stderr=log)
        deadline = time.monotonic() + 300
        while not (line := re.search(r" INFO start .*", open(f"{folder}/log").read())):
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(open(f"{folder}/log").read()[-2000:])
            time.sleep(0.05)
        if metrics:
            self.url = "http://" + re.search(r" INFO metrics listener=(\S+)", open(f"{folder}/log").read())[1]

    def cpu(self):
        """Seconds, as the kernel counts them in nanoseconds, of all threads, also of those that have ended."""
        return time.clock_gettime(~self.process.pid << 3 | 2)  # the process's own clock: clock_getcpuclockid()

    def cost(self, what, *paths, rounds=20):
        size = sum(len(get(self.url + path)) for path in paths)
        before, began = self.cpu(), time.monotonic()
        for _ in range(rounds):
            for path in paths:
                get(self.url + path)
        cpu = (self.cpu() - before) / rounds * 1e3
        print(f"{what}: {cpu:.1f} ms of CPU, {(time.monotonic() - began) / rounds * 1e3:.1f} ms, {size} bytes", flush=True)

    def end(self):
        self.process.terminate()
        self.process.wait(120)


SLICE_SECONDS = 0.25


class Row:
    """One kind of request: rate and the daemon's processor time for each, without and with metrics."""

    def __init__(self, size, depth, write):
        self.name = f"{'write' if write else 'read'} {size}, depth {depth}"
        self.flags = ["--size", size, "--depth", str(depth), "--write", "100" if write else "0"]
        self.rates, self.costs = {False: [], True: []}, {False: [], True: []}

    def measure(self, bin_dir, daemon, folder, on):
        cpu = daemon.cpu()
        said = subprocess.run([f"{bin_dir}/pagectl", "bench", f"pageserver+unix:///b?socket={folder}/s.sock", "--json", "--quiet",
                               "--seconds", str(SLICE_SECONDS), *self.flags],
                              check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        run = json.loads(said)["runs"][0]
        self.rates[on].append(run["requests_per_second"])
        self.costs[on].append((daemon.cpu() - cpu) / run["requests"] * 1e6)

    def tell(self):
        def ratio(one, other):
            low, middle, high = statistics.quantiles([a / b for a, b in zip(one, other)], n=4)
            return f"{middle:.3f} ({low:.3f} to {high:.3f})"

        print(f"{self.name}: {statistics.median(self.rates[False]):.0f} a second without, {statistics.median(self.rates[True]):.0f} "
              f"with, ratio {ratio(self.rates[True], self.rates[False])}; daemon's CPU {statistics.median(self.costs[False]):.2f} us "
              f"without, {statistics.median(self.costs[True]):.2f} with, ratio {ratio(self.costs[False], self.costs[True])}", flush=True)


def compare_rows(bin_dir, other, rounds):
    rows = [Row(size, depth, write) for write in (False, True) for size in ("8", "64KiB") for depth in (1, 16)]
    with tempfile.TemporaryDirectory(prefix="pageserver-measure-") as off, tempfile.TemporaryDirectory(prefix="pageserver-measure-") as on:
        daemons = {}
        for folder in (off, on):
            daemons[folder] = Daemon(folder, bin_dir if folder == on else other, {"stores": [{"name": "b", "path": f"{folder}/b.img"}]},
                                     metrics=folder == on)
            subprocess.run([f"{bin_dir}/pagectl", "grow", f"pageserver+unix:///b?socket={folder}/s.sock", "1024"], check=True,
                           stdout=subprocess.DEVNULL)
        slices = 0
        for number in range(rounds):
            for row in rows:
                # Side by side, so that what else the machine does meets both; who begins changes.
                for folder in (off, on) if number % 2 else (on, off):
                    scraper = None
                    if folder == on:
                        slices += 1
                        # Once a second of what is measured.
                        if slices % round(1 / SLICE_SECONDS) == 0:
                            scraper = threading.Thread(target=get, args=(daemons[on].url + "/metrics",))
                            scraper.start()
                    row.measure(bin_dir, daemons[folder], folder, folder == on)
                    if scraper:
                        scraper.join()
        for row in rows:
            row.tell()
        for daemon in daemons.values():
            daemon.end()


def main():
    bin_dir = sys.argv[1] if len(sys.argv) > 1 else "build/release/bin"
    with tempfile.TemporaryDirectory(prefix="pageserver-measure-") as folder:
        stores = [{"name": f"store-{i:04}", "path": f"{folder}/{i}.img"} for i in range(STORES)]
        daemon = Daemon(folder, bin_dir, {"stores": stores, "limits": {"stores": STORES + 10, "log_bytes": "4MiB"}})
        daemon.cost(f"scrape of {STORES} stores", "/metrics")
        daemon.cost(f"status page of {STORES} stores", "/")
        daemon.end()
    with tempfile.TemporaryDirectory(prefix="pageserver-measure-") as folder:
        daemon = Daemon(folder, bin_dir, {"stores": [{"name": "large", "path": f"{folder}/large.img"}]})
        uri = f"pageserver+unix:///large?socket={folder}/s.sock"
        subprocess.run([f"{bin_dir}/pagectl", "grow", uri, str(PAGES)], check=True, stdout=subprocess.DEVNULL)
        for page in range(0, PAGES, PAGES // 64):
            subprocess.run([f"{bin_dir}/pagectl", "write", uri, str(page << 16)], input=b"data", check=True, stdout=subprocess.DEVNULL)
        # A map comes in parts, each as large as one turn on the store's threads.
        paths, first, data = [], 0, 0
        while first < PAGES:
            paths.append(f"/pages?store=large&tile={PAGES // 4096}&from={first}")
            part = json.loads(get(daemon.url + paths[-1]))
            first, data = part["next"], data + part["data"]["pages"]
        if data != 64:
            sys.exit(f"the map is wrong: {data} pages with data instead of 64")
        daemon.cost(f"map of {PAGES} pages in 4096 tiles, {len(paths)} parts", *paths, rounds=5)
        daemon.end()
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 40
    if rounds > 1:
        compare_rows(bin_dir, sys.argv[3] if len(sys.argv) > 3 else bin_dir, rounds)


if __name__ == "__main__":
    main()
