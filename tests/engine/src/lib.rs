//! The engine `wasm-dbms` 0.11.0 as a program of ours: its tables, a seeded workload, and memories that count or share.

#![forbid(unsafe_code)]

pub mod daemon;
pub mod memory;
pub mod mount;
pub mod program;
