#!/usr/bin/env python3
"""What programs compile against in the Rust crate, from its documentation: every public item, and which traits it has.

    rust_api.py DOC_FOLDER RECORDED             fails, with the difference, unless it is as recorded
    rust_api.py DOC_FOLDER RECORDED --record    records it

DOC_FOLDER is what `cargo doc` wrote for the crate; each rustdoc writes a little differently, so the first line of
RECORDED names the release whose words these are. A line that is gone or changed needs a new major version (before
1.0.0 a minor one), a line that is new a minor one (a patch).
"""

import difflib
import html
import pathlib
import re
import subprocess
import sys

# Of the compiler, and of no use to programs.
NOT_OURS = re.compile(r": impl !?(Freeze|UnsafeUnpin|RefUnwindSafe|UnwindSafe) for ")

folder, recorded = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])


def text(markup):
    """Without tags and comments, with single spaces."""
    markup = re.sub(r'<details class="toggle type-contents-toggle">.*?</summary>', "", markup, flags=re.S)
    markup = re.sub(r'<span class="comment">.*?</span>', "", markup, flags=re.S)
    plain = html.unescape(re.sub(r"<[^>]*>", "", markup)).replace("\u00a0", " ")
    return re.sub(r"\s+", " ", plain).strip()


def items_of(page):
    """The lines of one page."""
    markup = page.read_text()
    module = ".".join(page.relative_to(folder).parent.parts)
    if "<title>Redirection</title>" in markup:
        return  # from a private module to where it is public
    kind, name = page.stem.split(".", 1)
    label = f"{kind} {module + '.' if module else ''}{name}"
    declaration = re.search(r'<pre class="rust item-decl">(.*?)</pre>', markup, re.S)
    yield f"{label}: {text(declaration.group(1))}"
    sections = re.split(r'<h2 id="([a-z-]+)"', markup)
    for section, body in zip(sections[1::2], sections[2::2]):
        if section in ("blanket-implementations", "implementors", "foreign-impls"):
            continue
        for header in re.findall(r'<h([34]) class="code-header">(.*?)</h\1>', body, re.S):
            # Of traits that are implemented only the heads: what is in them is the trait's.
            if header[0] == "3" or section in ("implementations", "required-methods", "provided-methods"):
                yield f"{label}: {text(header[1])}"


pages = [page for page in folder.rglob("*.*.html") if page.name != "index.html"]
lines = sorted({line for page in pages for line in items_of(page)})
assert len(lines) > 200, "this is no documentation of the crate"
lines = [line + "\n" for line in lines if not NOT_OURS.search(line)]

release = subprocess.run(["rustdoc", "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[1]
lines.insert(0, "# rustdoc " + ".".join(release.split(".")[:2]) + "\n")
if "--record" in sys.argv:
    recorded.write_text("".join(lines))
difference = list(difflib.unified_diff(recorded.read_text().splitlines(True), lines, "recorded", "now", n=0))
sys.stdout.writelines(difference)
if difference:
    sys.exit(f"{recorded} is not what programs compile against now: see the top of {sys.argv[0]}, then use --record")
print(f"{len(lines)} lines, as recorded")
