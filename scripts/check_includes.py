#!/usr/bin/env python3
"""Fails, naming the include, when a folder of the sources includes one that (directly or not) includes it, or one that
CONTRIBUTING.md's table does not let it include."""
import collections
import os
import re
import subprocess
import sys

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
ROOTS = ["base", "proto", "storage", "client", "server", "include"]


def sources():
    out = subprocess.check_output(["scripts/sources.sh", "*.hpp", "*.cpp"], text=True)
    return [name for name in out.split("\n") if name.split("/")[0] in ROOTS]


def allowed_by_table():
    """folder -> the folders that its line names."""
    table = {}
    for line in open("CONTRIBUTING.md"):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 3 and re.match(r"`[a-z/]+/`$", cells[0]):
            table[cells[0].strip("`").rstrip("/")] = set(re.findall(r"`([a-z/]+)`", cells[2]))
    return table


def main():
    includes = collections.defaultdict(dict)
    for name in sources():
        folder = os.path.dirname(name)
        for number, line in enumerate(open(name), 1):
            match = re.match(r'#include ["<]((?:%s|pageserver)/[^">]+)[">]' % "|".join(ROOTS), line)
            if not match:
                continue
            target = os.path.dirname(match.group(1))
            target = "include" if target == "pageserver" else target
            if target != folder and folder != "include/pageserver":
                includes[folder].setdefault(target, f"{name}:{number}: {line.strip()}")
    if not includes:
        print("no include found")
        return 1

    def reachable(folder, seen):
        for target in includes[folder]:
            if target not in seen:
                seen.add(target)
                reachable(target, seen)
        return seen

    faults = []
    for folder in list(includes):
        for target, place in includes[folder].items():
            if folder in reachable(target, set()):
                faults.append(f"{place}: {target} includes {folder}, directly or not")

    table = allowed_by_table()
    table["include"] = set()

    def allowed(folder, seen):
        """What the folder's line names, and what that may include."""
        for named in table.get(folder, set()) - seen:
            seen.add(named)
            allowed(named, seen)
        return seen

    for folder in list(includes):
        owner = folder
        while owner not in table and "/" in owner:
            owner = os.path.dirname(owner)
        if owner not in table:
            faults.append(f"{folder}/ has no line in CONTRIBUTING.md")
            continue
        may = allowed(owner, set())
        for target, place in includes[folder].items():
            if target == owner or target.startswith(owner + "/") or owner.startswith(target + "/"):
                continue
            if not any(target == name or target.startswith(name + "/") for name in may):
                faults.append(f"{place}: CONTRIBUTING.md does not let {owner}/ include {target}/")
    print("\n".join(faults) if faults else f"includes: {len(includes)} folders, no arrow that runs back")
    return 1 if faults else 0


sys.exit(main())
