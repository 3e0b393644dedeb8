#!/bin/bash
# Finding: ic-stable-structures' MemoryManager::init overwrites a memory that belongs to somebody else.
#
# Expected: init over a memory that is not empty and does not begin with the manager's magic fails, as the file formats of
#           other stores do.
# Seen: it writes its own header over the first bytes without an error or a panic. Whatever had its directory in page 0
#       (any other layout of stable memory) is gone; the rest of the memory stays and can't be found any more.
# Version: crate ic-stable-structures 0.7.2. Exit status 0: still so. 1: the behaviour changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "foreign_memory"
version = "0.0.0"
edition = "2021"
[dependencies]
ic-stable-structures = "=0.7.2"
TOML
cat >src/main.rs <<'RUST'
use ic_stable_structures::{memory_manager::MemoryManager, Memory, VectorMemory};

fn main() {
    let memory = VectorMemory::default();
    memory.grow(2);
    memory.write(0, b"a directory of another layout, with much behind it");
    memory.write(65536, b"page 1");
    let manager = MemoryManager::init(memory.clone());
    drop(manager);
    let (mut head, mut tail) = ([0u8; 8], [0u8; 6]);
    memory.read(0, &mut head);
    memory.read(65536, &mut tail);
    println!("first bytes were \"a direct\", are {head:02x?}; page 1 still begins with {:?}", String::from_utf8_lossy(&tail));
    assert!(&head[..3] == b"MGR" && &tail == b"page 1", "the behaviour changed");
}
RUST
CARGO_BUILD_JOBS=${CARGO_BUILD_JOBS:-1} nice cargo run -q
