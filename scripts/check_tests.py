#!/usr/bin/env python3
"""Holds the tests in C++ to the names that CONTRIBUTING.md describes, under "How tests read": of programs, files and cases;
and to what both versions of Catch2 have."""
import collections
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LENGTH_MAX = 110  # ctest puts the program before it, and a line of its report has room for both
CASE = re.compile(r'^TEST_CASE(?:_METHOD)?\(\s*(?:[\w:]+,\s*)?((?:"(?:[^"\\]|\\.)*"\s*)+)', re.M)
PART = re.compile(r"([A-Za-z][A-Za-z, ]*): ")


def cases(path):
    for found in CASE.finditer(path.read_text()):
        yield "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', found.group(1)))


def faults_of_name(name):
    if not (name[0].islower() or name[0].isdigit() or name.split()[0].rstrip(":,").isupper()
            or re.match(r"IPv\d", name)):
        yield "begins with a small letter, a number or an acronym"
    if ";" in name:
        yield "has no semicolon: CMake would cut it in two"
    if name != " ".join(name.split()) or name.endswith("."):
        yield "has single blanks, and no full stop at its end"
    if len(name.split()) < 3:
        yield "says a behaviour, which two words don't"
    if len(name) > LENGTH_MAX:
        yield f"is at most {LENGTH_MAX} characters long, not {len(name)}"


def main():
    faults, count = [], 0
    for path in sorted([*ROOT.glob("tests/**/*.cpp"), *ROOT.glob("tests/**/*.hpp")]):
        where, names = path.relative_to(ROOT), list(cases(path))
        count += len(names)
        if "Matchers::Contains(" in path.read_text() and path.name != "catch.hpp":
            faults.append(f"{where}: Catch::Matchers::Contains() is about lists in Catch2 3: pageserver::test::Contains()")
        if not names:
            continue
        if path.suffix == ".cpp" and not path.stem.endswith("_test"):
            faults.append(f"{where}: a file with tests is SUBJECT_test.cpp")
        faults += [f"{where}: \"{name}\": a test's name {fault}" for name in names for fault in faults_of_name(name)]
        # One colon may be part of a sentence; several of the same are parts.
        parts = [found.group(1) if (found := PART.match(name)) else None for name in names]
        if any(part and number > 1 for part, number in collections.Counter(parts).items()):
            faults += [f"{where}: \"{name}\": the others in this file begin with the part that they are about"
                       for name, part in zip(names, parts) if not part]
    for path in sorted([*ROOT.glob("tests/**/CMakeLists.txt"), *ROOT.glob("tests/**/*.cmake")]):
        for program in re.findall(r"^ *pageserver_test\((\S+)", path.read_text(), re.M):
            if not re.fullmatch(r"[a-z0-9_${}]+_test", program):
                faults.append(f"{path.relative_to(ROOT)}: {program}: a program of tests is SUBJECT_test")
    print("\n".join([*faults, f"tests: {count} names, {len(faults)} faults"]))
    return 1 if faults or not count else 0


if __name__ == "__main__":
    sys.exit(main())
