#!/usr/bin/env python3
"""Measures what it costs to look at a daemon: a scrape and the status page with many stores, and a map of many pages; and
what requests lose where metrics are on and scraped each second, against a daemon without.

    scripts/measure_metrics.py [BIN] [ROUNDS]       a folder with pageserverd and pagectl (build/release/bin); rounds of the
                                                    comparison, some 20 s each (7; 0: none). Nothing else should run meanwhile.

A ratio above 1 is better with metrics; what it differs from 1 between two runs is noise."""
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
        """Seconds, from the scheduler's own account in nanoseconds, of all threads."""
        total = 0
        for thread in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{thread}/schedstat") as file:
                total += int(file.read().split()[0])
        return total / 1e9

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


def rows_of(bin_dir, folder):
    """Requests a second, by the row's name."""
    rows = {}
    for write in (0, 100):
        said = subprocess.run([f"{bin_dir}/pagectl", "bench", f"pageserver+unix:///b?socket={folder}/s.sock", "--json", "--quiet",
                               "--size", "8,64KiB", "--depth", "1,16", "--seconds", "1", "--write", str(write)],
                              check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        for run in json.loads(said)["runs"]:
            rows[f"{'write' if write else 'read'} {run['request_bytes']} B, depth {run['depth']}"] = run["requests_per_second"]
    return rows


def compare_rows(bin_dir, rounds):
    found = {}
    with tempfile.TemporaryDirectory(prefix="pageserver-measure-") as off, tempfile.TemporaryDirectory(prefix="pageserver-measure-") as on:
        daemons = {}
        for folder in (off, on):
            daemons[folder] = Daemon(folder, bin_dir, {"stores": [{"name": "b", "path": f"{folder}/b.img"}]}, metrics=folder == on)
            subprocess.run([f"{bin_dir}/pagectl", "grow", f"pageserver+unix:///b?socket={folder}/s.sock", "1024"], check=True,
                           stdout=subprocess.DEVNULL)
        for number in range(rounds):
            for folder in (off, on) if number % 2 else (on, off):
                over = threading.Event()

                def scrape():
                    while not over.wait(1):
                        get(daemons[on].url + "/metrics")

                scraper = threading.Thread(target=scrape)
                if folder == on:
                    scraper.start()
                rows = rows_of(bin_dir, folder)
                over.set()
                if folder == on:
                    scraper.join()
                for name, rate in rows.items():
                    found.setdefault(name, {off: [], on: []})[folder].append(rate)
        for name, rates in found.items():
            ratios = [with_metrics / without for with_metrics, without in zip(rates[on], rates[off])]
            print(f"{name}: {statistics.median(rates[off]):.0f} a second without, {statistics.median(rates[on]):.0f} with metrics, "
                  f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})", flush=True)
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
    compare_rows(bin_dir, int(sys.argv[2]) if len(sys.argv) > 2 else 7)


main()
