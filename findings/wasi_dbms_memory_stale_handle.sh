#!/bin/bash
# Finding: grow() of wasi-dbms-memory's file provider can shrink the file to less than what it holds.
#
# Expected: grow only ever adds pages, as its documentation says; grow(0) changes nothing.
# Seen: each WasiMemoryProvider remembers the size that the file had when it was opened and sets the file's length from that.
#       A second handle that was opened while the file was empty cuts ten pages down to one by grow(1) and to none by
#       grow(0). Both calls return Ok. Whoever opens one image twice, even in one thread, loses it.
# Versions: crates wasi-dbms-memory, wasm-dbms-memory 0.11.0 (they declare rustc 1.96; 1.95 builds them with
#           --ignore-rust-version). Exit status 0: still so. 1: the behaviour changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "stale_handle"
version = "0.0.0"
edition = "2021"
[dependencies]
wasi-dbms-memory = "=0.11.0"
wasm-dbms-memory = "=0.11.0"
TOML
cat >src/main.rs <<'RUST'
use wasi_dbms_memory::WasiMemoryProvider;
use wasm_dbms_memory::prelude::MemoryProvider;

fn main() {
    let path = std::env::temp_dir().join(format!("stale-{}.img", std::process::id()));
    let length = || std::fs::metadata(&path).unwrap().len() / 65536;
    let mut early = WasiMemoryProvider::new(&path).expect("create");
    let mut earliest = WasiMemoryProvider::new(&path).expect("open again");
    let mut late = WasiMemoryProvider::new(&path).expect("open a third time");
    late.grow(10).expect("grow by ten");
    late.write(65536 * 9, b"in the tenth page").expect("write");
    let before = length();
    let first = early.grow(1).map(|_| length());
    let second = earliest.grow(0).map(|_| length());
    println!("pages: {before}; after grow(1) of an older handle: {first:?}; after grow(0) of another: {second:?}");
    std::fs::remove_file(&path).unwrap();
    assert!(before == 10 && matches!(first, Ok(1)) && matches!(second, Ok(0)), "the behaviour changed");
}
RUST
CARGO_BUILD_JOBS=${CARGO_BUILD_JOBS:-1} nice cargo run -q --ignore-rust-version
