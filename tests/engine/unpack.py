#!/usr/bin/env python3
"""Puts the engine's sources into FOLDER, with our memory in the place of the heap that their unit tests use.

    unpack.py FOLDER

The crates carry their unit tests in src. `HeapMemoryProvider` becomes `pageserver::testing::ForkMemory`, a fork of an
empty store for each test, with the trait as client/rust/src/engine.rs gives it.
"""

import json
import pathlib
import shutil
import subprocess
import sys

here = pathlib.Path(__file__).resolve().parent
crate = here.parent.parent / "client/rust"
target = pathlib.Path(sys.argv[1])


def between(text, begin, end):
    """From `begin` up to `end`, each of which has to be there."""
    first = text.index(begin)
    return text[first : text.index(end, first + len(begin))]


metadata = subprocess.run(
    ["cargo", "metadata", "--locked", "--format-version=1", f"--manifest-path={here / 'Cargo.toml'}"],
    check=True, stdout=subprocess.PIPE,
)
sources = {
    package["name"]: pathlib.Path(package["manifest_path"]).parent
    for package in json.loads(metadata.stdout)["packages"]
    if package["version"] == "0.11.0"
}

target.mkdir(parents=True, exist_ok=True)
for name in ("wasm-dbms", "wasm-dbms-memory"):
    shutil.rmtree(target / name, ignore_errors=True)
    shutil.copytree(sources[name], target / name)

engine = (crate / "src/engine.rs").read_text()
ours = between(engine, "/// What the traits need of a type.", "macro_rules! every_release")
ours += between(engine, "#[cfg(unix)]\nimpl EngineMemory for crate::testing::ForkMemory", "\nevery_release!")
ours = ours.replace("crate::", "pageserver::").replace("pub(crate) ", "")

provider = target / "wasm-dbms-memory/src/provider.rs"
text = provider.read_text()
heap = between(text, "/// An implementation of [`MemoryProvider`] that uses heap memory", "#[cfg(test)]\nmod tests")
replacement = (
    "/// What the tests get in the place of their heap.\n"
    "pub type HeapMemoryProvider = pageserver::testing::ForkMemory;\n\n"
    "mod ours {\n"
    "use crate::provider as this_memory;\n"
    "use pageserver::{Error, ErrorKind, Provider, Result, PAGE_SIZE};\n"
    "use wasm_dbms_api as this_api;\n\n"
    + ours
    + "wasm_dbms!(this_memory, this_api, PAGE_SIZE, super::HeapMemoryProvider,\n"
    "    fn flush(&mut self) -> this_api::prelude::MemoryResult<()> {\n"
    "        EngineMemory::flush(self).map_err(|error| engine_error!(this_api, error))\n"
    "    }\n);\n}\n\n"
)
text = text.replace(heap, replacement)
# Only the heap needed it outside of the tests.
text = text.replace(
    "use wasm_dbms_api::prelude::{MemoryError, MemoryResult};",
    "use wasm_dbms_api::prelude::MemoryResult;\n#[cfg(test)]\nuse wasm_dbms_api::prelude::MemoryError;",
)
provider.write_text(text)
with open(target / "wasm-dbms-memory/Cargo.toml", "a", encoding="utf-8") as manifest:
    manifest.write(f'\n[dependencies.pageserver]\npath = "{crate}"\n')

profile = between((here / "Cargo.toml").read_text() + "\n[end]", "[profile.dev]", "\n[end]")
(target / "Cargo.toml").write_text(
    '[workspace]\nmembers = ["wasm-dbms", "wasm-dbms-memory"]\nresolver = "2"\n\n'
    '[patch.crates-io]\nwasm-dbms-memory = { path = "wasm-dbms-memory" }\n\n' + profile + "\n"
)
shutil.copy(here / "own.lock", target / "Cargo.lock")
