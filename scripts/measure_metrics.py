#!/usr/bin/env python3
"""Measures what it costs to look at a daemon: a scrape and the status page with many stores, and a map of many pages.

    scripts/measure_metrics.py [BIN]       a folder with pageserverd and pagectl (build/release/bin)"""
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

STORES = 1000
PAGES = 16 << 20


def get(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read()


class Daemon:
    def __init__(self, folder, bin_dir, config):
        with open(f"{folder}/c.json", "w") as file:
            json.dump({"listen": [], "unix": [{"path": f"{folder}/s.sock"}], "metrics": {"listen": "127.0.0.1:0"}, **config}, file)
        with open(f"{folder}/log", "w") as log:
            self.process = subprocess.Popen([f"{bin_dir}/pageserverd", "--config", f"{folder}/c.json"], stderr=log)
        deadline = time.monotonic() + 300
        while not (line := re.search(r" INFO start .*", open(f"{folder}/log").read())):
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(open(f"{folder}/log").read()[-2000:])
            time.sleep(0.05)
        self.url = "http://" + re.search(r" INFO metrics listener=(\S+)", open(f"{folder}/log").read())[1]

    def cpu(self):
        """Seconds, from the scheduler's own account in nanoseconds, of all threads."""
        total = 0
        for thread in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{thread}/schedstat") as file:
                total += int(file.read().split()[0])
        return total / 1e9

    def cost(self, what, path, rounds=20):
        body = get(self.url + path)
        before, began = self.cpu(), time.monotonic()
        for _ in range(rounds):
            get(self.url + path)
        cpu = (self.cpu() - before) / rounds * 1e3
        print(f"{what}: {cpu:.1f} ms of CPU, {(time.monotonic() - began) / rounds * 1e3:.1f} ms, {len(body)} bytes", flush=True)

    def end(self):
        self.process.terminate()
        self.process.wait(120)


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
        part = json.loads(get(f"{daemon.url}/pages?store=large&tile={PAGES // 4096}"))
        if part["next"] != PAGES or part["data"]["pages"] != 64:
            sys.exit(f"the map is wrong: {str(part)[:300]}")
        daemon.cost(f"map of {PAGES} pages in 4096 tiles", f"/pages?store=large&tile={PAGES // 4096}", rounds=5)
        daemon.end()


main()
