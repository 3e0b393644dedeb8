#!/usr/bin/env python3
"""Runs clang-tidy 14 (.clang-tidy) over the sources of the product that are compiled in the tree build/dev.

Sources of one part are looked at several together, as one source that includes them: most of the time goes into the
headers. A tree that compiles them so by itself (CMAKE_UNITY_BUILD) has sources of CMake's own, which name them. What passed
is not looked at again until one of them, something that they include, or .clang-tidy changes.
"""
import collections
import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREE = ROOT / "build/dev"
OUT = ROOT / "build/tidy"
PARTS = ("base", "storage", "proto", "client", "server")
AT_ONCE = 20
NO_MATTER = ("-fPIC", "-fPIE", "-fvisibility=hidden", "-fvisibility-inlines-hidden")  # to what is looked for


def dependencies():
    """Of each object what it was compiled from, in absolute paths."""
    listed = subprocess.run(["ninja", "-C", TREE, "-t", "deps"], check=True, capture_output=True, text=True).stdout
    found, paths = {}, None
    for line in listed.splitlines():
        if line and not line.startswith(" "):
            paths = found.setdefault(line.split(":")[0], [])
        elif line.strip():
            paths.append(os.path.normpath(TREE / line.strip()))
    return found


def named_by(source):
    """The sources that CMake's source of several includes; another one itself."""
    if source.parent.name != "Unity":
        return [source]
    return [Path(line.split('"')[1]) for line in source.read_text().splitlines() if line.startswith('#include "')]


def groups():
    """(name, sources, flags, everything that they are compiled from), of sources that are compiled alike."""
    deps = dependencies()
    alike, seen = collections.defaultdict(list), set()
    for entry in json.loads((TREE / "compile_commands.json").read_text()):
        listed = Path(entry["file"])
        sources = [source for source in named_by(listed) if source.is_relative_to(ROOT) and
                   source.relative_to(ROOT).parts[0] in PARTS and source not in seen]
        if not sources:
            continue
        words = shlex.split(entry["command"])
        words = words[next(i for i, word in enumerate(words) if word.endswith("c++") or word.endswith("g++")) + 1:]
        output = words[words.index("-o") + 1]
        if output not in deps:
            continue  # listed, but not compiled
        seen.update(sources)
        flags, skip = [], False
        for word in words:
            if skip or word in ("-o", "-MF", "-MT"):
                skip = not skip
            elif word not in ("-c", "-MD", str(listed), *NO_MATTER):
                flags.append(word)
        for source in sources:
            alike[source.relative_to(ROOT).parts[0], tuple(flags)].append((source, deps[output]))
    for number, ((part, flags), members) in enumerate(sorted(alike.items())):
        members.sort()
        for at in range(0, len(members), AT_ONCE):
            some = members[at:at + AT_ONCE]
            name = f"{part}_{number}_{at // AT_ONCE}"
            yield name, [source for source, _ in some], list(flags), {path for _, paths in some for path in paths}


def changed_since(stamp, paths):
    if not stamp.exists():
        return True
    newest = stamp.stat().st_mtime_ns
    return any(not os.path.exists(path) or os.stat(path).st_mtime_ns > newest for path in paths)


def look(name, sources, flags):
    together = OUT / f"{name}.cpp"
    together.write_text("".join(f'#include "{source}"  // NOLINT\n' for source in sources))
    done = subprocess.run(["clang-tidy-14", f"--config-file={ROOT / '.clang-tidy'}", "--quiet", str(together), "--", *flags,
                           "-Wno-unknown-warning-option", "-Wthread-safety"], cwd=TREE, capture_output=True, text=True)
    if done.returncode == 0:
        (OUT / f"{name}.stamp").write_text("\n".join(map(str, sources)))
        return None
    return done.stdout + "\n".join(line for line in done.stderr.splitlines() if "warnings generated" not in line)


def main():
    if not (TREE / "compile_commands.json").exists():
        sys.exit("no build/dev: run ./test.sh dev first")
    OUT.mkdir(parents=True, exist_ok=True)
    every, todo = 0, []
    for name, sources, flags, paths in groups():
        every += len(sources)
        stamp = OUT / f"{name}.stamp"
        same = stamp.exists() and stamp.read_text() == "\n".join(map(str, sources))
        if not same or changed_since(stamp, {*paths, ROOT / ".clang-tidy"}):
            todo.append((name, sources, flags))
    if every == 0:
        sys.exit("no source found to look at")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [text for text in pool.map(lambda one: look(*one), todo) if text]
    print("\n".join(found), end="")
    if found:
        sys.exit(1)
    print(f"tidy: {every} files, {sum(len(sources) for _, sources, _ in todo)} of them looked at")


if __name__ == "__main__":
    main()
