#!/usr/bin/env python3
"""Writes what the programs and libraries of a build tree are made of, as CycloneDX 1.5 JSON: the Debian packages whose headers
were compiled into them, the C++ runtime that they carry, and the libraries that they link or load when they run. All of it is
found out: from Ninja's record of headers, from the programs, and from dpkg.

    scripts/sbom.py build/release > sbom.json

The same tree on the same system gives the same bytes; the time is SOURCE_DATE_EPOCH, else that of the last entry of
packaging/debian/changelog."""
import datetime
import json
import os
import re
import subprocess
import sys
import uuid

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAMS = ["bin/pageserverd", "bin/pagectl"]


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def owners(paths):
    """The packages that own these files, by name without the architecture."""
    found = {}
    paths = sorted(paths)
    for first in range(0, len(paths), 500):
        said = subprocess.run(["dpkg-query", "-S", *paths[first:first + 500]], capture_output=True, text=True).stdout
        for line in said.splitlines():
            names, _, path = line.partition(": ")
            if not line.startswith("diversion by"):
                found[path] = names.split(",")[0].split(":")[0]
    return found


def headers(tree):
    said = output("ninja", "-C", tree, "-t", "deps")
    return {os.path.normpath(path) for path in re.findall(r"^    (/usr/.*)$", said, re.M)}


def linked(program):
    """Where the loader finds what a program needs."""
    said = output("ldd", program)
    return {os.path.realpath(path) for path in re.findall(r"=> (/\S+)", said)}


def loaded():
    """What base/ loads by name when it is needed."""
    names = set()
    for folder, _, files in os.walk(os.path.join(ROOT, "base")):
        for name in files:
            if name.endswith(".cpp"):
                with open(os.path.join(folder, name)) as file:
                    names.update(re.findall(r'dlopen\("([^"]+)"', file.read()))
    known = dict(re.findall(r"^\s*(\S+) \(.*\) => (\S+)$", output("/sbin/ldconfig", "-p"), re.M))
    missing = sorted(names - known.keys())
    if missing:
        sys.exit(f"sbom: {', '.join(missing)} is loaded by base/ and is not on this machine: docker/install-packages.sh runtime")
    return {os.path.realpath(known[name]) for name in names}


def describe(package, how, distribution):
    fields = "${Version}\t${source:Package}\t${source:Version}\t${Architecture}\t${Homepage}\n"
    version, source, source_version, architecture, homepage = \
        output("dpkg-query", "-W", "-f", fields, package).splitlines()[0].split("\t")
    purl = f"pkg:deb/debian/{package}@{version}?arch={architecture}&distro={distribution}".replace("+", "%2B")
    component = {
        "type": "library",
        "bom-ref": purl,
        "name": package,
        "version": version,
        "purl": purl,
        "properties": [{"name": "pageserver:used", "value": how},
                       {"name": "debian:source", "value": f"{source} {source_version}"}],
    }
    if homepage:
        component["externalReferences"] = [{"type": "website", "url": homepage}]
    return component


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    tree = sys.argv[1]
    programs = [os.path.join(tree, name) for name in PROGRAMS]
    how = {}
    for package in owners(headers(tree)).values():
        how[package] = "compiled in"
    # Libraries lie in /usr/lib, which dpkg may know as /lib.
    for text, paths in (("linked", set().union(*map(linked, programs))), ("loaded when it is needed", loaded())):
        either = paths | {path.removeprefix("/usr") for path in paths}
        for package in owners(either).values():
            how[package] = text
    with open("/etc/os-release") as file:
        system = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', file.read(), re.M))
    distribution = f"{system['ID']}-{system.get('VERSION_ID', 'unknown')}"
    components = [describe(package, text, distribution) for package, text in sorted(how.items())]

    with open(os.path.join(ROOT, "CMakeLists.txt")) as file:
        version = re.search(r"^project\(pageserver VERSION ([0-9.]+)", file.read(), re.M)[1]
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or output(
        "dpkg-parsechangelog", "-l", os.path.join(ROOT, "packaging/debian/changelog"), "-S", "Timestamp")
    moment = datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    ref = f"pkg:generic/pageserver@{version}"
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": "urn:uuid:" + str(uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([ref, components, moment]))),
        "version": 1,
        "metadata": {
            "timestamp": moment,
            "component": {"type": "application", "bom-ref": ref, "name": "pageserver", "version": version, "purl": ref,
                          "licenses": [{"license": {"id": "Apache-2.0"}}]},
        },
        "components": components,
        "dependencies": [{"ref": ref, "dependsOn": [component["bom-ref"] for component in components]}],
    }
    json.dump(bom, sys.stdout, indent=1)
    print()


main()
