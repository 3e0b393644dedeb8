#!/usr/bin/env python3
"""Fails, naming each place, unless the documents are in order:

- lines end at column 120, but for tables, code and what can't be broken (`--fix` wraps paragraphs that are too long);
- links to files of this project, and to headings in them, lead somewhere;
- a block behind `<!-- quote: FILE -->` stands in FILE, line for line, whatever its indentation there;
- docs/operations.md explains each warning and error that the daemon logs;
- the files and the functions that docs/architecture.md and CONTRIBUTING.md name are there;
- the curves and tables of docs/tuning.md are those of what was measured.
"""
import pathlib
import re
import subprocess
import sys
import textwrap

COLUMN = 120
ROOT = pathlib.Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
ITEM = re.compile(r"^(\s*)([-*]|\d+\.) ")
EVENT = re.compile(r"\b(?:log_?(?:\.|->)|LogLevel::)(warn|error)(?:\(|,)\s*\"([^\"]+)\"")


def sources(*patterns):
    out = subprocess.run([ROOT / "scripts/sources.sh", *patterns], check=True, capture_output=True, text=True).stdout
    return [ROOT / line for line in out.splitlines()]


def parts(lines):
    """Yields (kind, first line, lines): kind is text, item, code, table, blank or other."""
    at = 0
    after_blank = True
    in_item = False
    while at < len(lines):
        line = lines[at]
        start = at
        if line.lstrip().startswith("```"):
            at += 1
            while at < len(lines) and not lines[at].lstrip().startswith("```"):
                at += 1
            at += 1
            yield "code", start, lines[start:at]
        elif not line.strip():
            at += 1
            yield "blank", start, lines[start:at]
            after_blank = True
            continue
        elif line.lstrip().startswith("|"):
            at += 1
            yield "table", start, lines[start:at]
        elif line.startswith("    ") and after_blank and not in_item:
            while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
                at += 1
            while not lines[at - 1].strip():
                at -= 1
            yield "code", start, lines[start:at]
        elif line.lstrip().startswith(("#", "<", ">")):
            at += 1
            yield "other", start, lines[start:at]
            in_item = False
        else:
            item = ITEM.match(line)
            in_item = bool(item) or (in_item and line.startswith("  "))
            at += 1
            while at < len(lines) and lines[at].strip() and not ITEM.match(lines[at]) and \
                    not lines[at].lstrip().startswith(("|", "#", "<", "```")):
                at += 1
            yield "item" if item else "text", start, lines[start:at]
        after_blank = False


def wrapped(block):
    item = ITEM.match(block[0])
    first = item.group(0) if item else re.match(r"\s*", block[0]).group(0)
    text = " ".join(line.strip() for line in [block[0][len(first):], *block[1:]])
    # A space within `code` is no place to break at.
    text = re.sub(r"`[^`]+`", lambda code: code.group(0).replace(" ", "\0"), text)
    text = re.sub(r"\[[^\]]*\]\(", lambda link: link.group(0).replace(" ", "\0"), text)
    out = textwrap.wrap(text, COLUMN, initial_indent=first, subsequent_indent=" " * len(first), break_long_words=False,
                        break_on_hyphens=False)
    return [line.replace("\0", " ") for line in out]


def is_too_long(line):
    # One word is as long as it is: a link, a name.
    return len(line) > COLUMN and " " in re.sub(r"`[^`]+`|\[[^\]]*\]\([^)]*\)", "x", line.strip())[2:]


def check_wrap(path, fix):
    lines = path.read_text().split("\n")
    faults, result = [], []
    for kind, start, block in parts(lines):
        long = [n for n, line in enumerate(block) if is_too_long(line)] if kind in ("text", "item") else []
        if long and fix:
            block = wrapped(block)
            long = []
        faults += [f"{path.relative_to(ROOT)}:{start + n + 1}: {len(block[n])} columns, at most {COLUMN}; "
                   "scripts/check_docs.py --fix wraps it" for n in long]
        result += block
    if fix and result != lines:
        path.write_text("\n".join(result))
    return faults


def anchors(path):
    found = set()
    in_code = False
    for line in path.read_text().split("\n"):
        in_code ^= line.startswith("```")
        heading = re.match(r"#+ (.*)", line)
        if heading and not in_code:
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.group(1)).lower()
            found.add(re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-"))
    return found


def check_links(path):
    faults = []
    for kind, start, block in parts(path.read_text().split("\n")):
        if kind == "code":
            continue
        for n, line in enumerate(block):
            for target in LINK.findall(re.sub(r"`[^`]*`", "", line)):
                if re.match(r"[a-z]+:", target):
                    continue
                name, _, anchor = target.partition("#")
                there = (path.parent / name).resolve() if name else path
                where = f"{path.relative_to(ROOT)}:{start + n + 1}: "
                if not there.exists():
                    faults.append(f"{where}{target}: no such file")
                elif anchor and there.suffix == ".md" and anchor not in anchors(there):
                    faults.append(f"{where}{target}: no such heading")
    return faults


def dedented(lines):
    return textwrap.dedent("\n".join(lines)).strip("\n").split("\n")


def stands_in(block, lines):
    wanted = dedented(block)
    return any(dedented(lines[at:at + len(wanted)]) == wanted for at in range(len(lines) - len(wanted) + 1))


def check_quotes(path):
    faults = []
    lines = path.read_text().split("\n")
    for at, line in enumerate(lines):
        quote = re.match(r"<!-- quote: (\S+) -->", line)
        if not quote:
            continue
        where = f"{path.relative_to(ROOT)}:{at + 1}: "
        source = ROOT / quote.group(1)
        end = next((n for n in range(at + 2, len(lines)) if lines[n].startswith("```")), None)
        if not source.is_file():
            faults.append(f"{where}{quote.group(1)}: no such file")
        elif end is None or not lines[at + 1].startswith("```"):
            faults.append(f"{where}no block of code follows")
        elif not stands_in(lines[at + 2:end], source.read_text().split("\n")):
            faults.append(f"{where}the block does not stand so in {quote.group(1)}: copy it again")
    return faults


def check_events():
    page = (ROOT / "docs/operations.md").read_text()
    events = set()
    for path in sources("server/*.cpp"):
        for level, event in EVENT.findall(path.read_text()):
            events.add((level.upper(), event))
    if len(events) < 5:
        return ["scripts/check_docs.py finds no warnings in server/: has the way to log changed?"]
    return [f"docs/operations.md does not explain {level} `{event}`, which the daemon logs"
            for level, event in sorted(events) if f"{level} `{event}`" not in page]


def check_names(path):
    """`folder/file.cpp` and `folder/` in backticks, and function() anywhere. A lone `folder/` may be anywhere, too.
    A function of a test's own is none that these pages are about, but for those that tests share, and of the simulation."""
    where = f"{path.relative_to(ROOT)}:"
    code = "\n".join(source.read_text() for source in sources("*.hpp", "*.cpp", "*.rs", "*.py")
                     if not re.search(r"\btests/(?!support/|crash/)", str(source.relative_to(ROOT))))
    folders = "/\n".join(f"/{source.parent.relative_to(ROOT)}" for source in sources("*.hpp", "*.cpp")) + "/"
    functions = set(re.findall(r"\b(\w+)\(", code))
    faults = []
    for n, line in enumerate(path.read_text().split("\n"), 1):
        for name in re.findall(r"`([\w.-]+/[\w./-]*)`", line):
            anywhere = name.count("/") == 1 and name.endswith("/") and f"/{name}" in folders
            if not (name.startswith("build/") or re.search("[A-Z]{4}$", name) or anywhere or (ROOT / name).exists()):
                faults.append(f"{where}{n}: {name}: no such file or folder")
        for name in re.findall(r"\b(\w+)\(\)", line):
            if name not in functions:
                faults.append(f"{where}{n}: {name}(): no such function")
    return faults


def check_curves():
    done = subprocess.run([sys.executable, ROOT / "scripts/plot_tuning.py", "draw", "--check"], capture_output=True,
                          text=True)
    return (done.stdout + done.stderr).splitlines() if done.returncode != 0 else []


def main():
    fix = sys.argv[1:] == ["--fix"]
    documents = sources("*.md")
    faults = check_events() + check_curves()
    for path in documents:
        faults += check_wrap(path, fix) + check_links(path) + check_quotes(path)
    for name in ("docs/architecture.md", "CONTRIBUTING.md"):
        faults += check_names(ROOT / name)
    print("\n".join(faults) if faults else f"docs: {len(documents)} files")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
