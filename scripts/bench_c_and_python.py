#!/usr/bin/env python3
"""What a read costs through C++, C and Python, side by side in one run: medians of rounds in which each takes its turn.

    cmake --preset bench && cmake --build --preset bench --target pageserverd pageserver_c c_reads
    scripts/bench_c_and_python.py [--build build/bench] [--rounds 41] [--query poll_us=1000]
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = 256
WAYS = ("cpp", "c", "python")
LENGTHS = {8: 2000, 65536: 500}  # bytes: reads in a turn


def main():
    parser = argparse.ArgumentParser(description="reads through C++, C and Python, side by side")
    parser.add_argument("--build", default="build/bench", help="the tree of the optimised build")
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--query", default="", help="more of the sessions' URI, such as poll_us=1000")
    arguments = parser.parse_args()
    build = pathlib.Path(arguments.build).resolve()
    os.environ["PAGESERVERD"] = str(build / "bin/pageserverd")
    os.environ["PAGESERVER_LIBRARY"] = str(build / "client/libpageserver.so.1")
    sys.path.insert(0, str(ROOT / "client/python/src"))
    import pageserver
    from pageserver.testing import Server

    with Server() as server:
        with server.build("bench") as image:
            image.grow(PAGES)
            for page in range(PAGES):
                image.write(page * 65536, bytes([page]) * 65536)
        uri = server.uri("bench") + "&access=read" + (f"&{arguments.query}" if arguments.query else "")
        driver = subprocess.Popen([str(build / "bin/c_reads"), uri], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  encoding="ascii", bufsize=1)
        session = pageserver.open(uri)

        def turn(way, length, count):
            if way != "python":
                driver.stdin.write(f"{way} {length} {count}\n")
                return float(driver.stdout.readline())
            buffer, read_into, end, offset = bytearray(length), session.read_into, (PAGES - 1) * 65536, 0
            began = time.perf_counter_ns()
            for _ in range(count):
                read_into(offset, buffer)
                offset = 0 if offset >= end else offset + 65536
            return (time.perf_counter_ns() - began) / count

        print(f"{arguments.rounds} rounds, Unix socket{', ' + arguments.query if arguments.query else ''}")
        for length, count in LENGTHS.items():
            took = {way: [] for way in WAYS}
            for round_number in range(arguments.rounds + 1):
                # Who goes first changes, and the first round is for warming up.
                for way in WAYS[round_number % 3:] + WAYS[:round_number % 3]:
                    each = turn(way, length, count)
                    if round_number > 0:
                        took[way].append(each)
            base = statistics.median(took["cpp"])
            for way in WAYS:
                median = statistics.median(took[way])
                print(f"read {length:6} B  {way:6}  {median / 1000:8.2f} us  {median / base:5.3f} x C++")
        driver.stdin.close()
        driver.wait()


if __name__ == "__main__":
    main()
