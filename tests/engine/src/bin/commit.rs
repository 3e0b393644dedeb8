//! Opens an image, begins a transaction and commits it; on the way somebody is killed.
//!
//!     commit MEMORY POINT WHOM
//!
//! MEMORY: `file:PATH`, the engine's own file provider, or a URI of a store. POINT: before which change of the commit.
//! WHOM: `self`, or the process id of a daemon. Writes how many changes the commit made, if it came so far.

use pageserver::Provider;
use pageserver_engine_tests::memory::Interrupted;
use pageserver_engine_tests::program::{account, new_balance, Account, Bank};
use std::cell::Cell;
use std::process::Command;
use std::rc::Rc;
use wasi_dbms_memory::WasiMemoryProvider;
use wasm_dbms::prelude::*;
use wasm_dbms_api::prelude::*;
use wasm_dbms_memory::MemoryProvider;

fn whom() -> String {
    std::env::args().nth(3).unwrap()
}

fn kill() {
    let pid = match whom().as_str() {
        "self" => std::process::id().to_string(),
        pid => pid.to_owned(),
    };
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    // A daemon that is dead no longer has its listening socket; this process is gone before it comes here.
    while std::path::Path::new(&format!("/proc/{}/exe", pid)).read_link().is_ok() {
        std::thread::yield_now();
    }
}

fn commit(memory: impl MemoryProvider, point: u64) {
    let changes = Rc::new(Cell::new(0));
    let context = DbmsContext::new(Interrupted::new(memory, Rc::clone(&changes), point, kill));
    Bank::register_tables(&context).unwrap();
    let transaction = context.begin_transaction();
    let mut database = WasmDbmsDatabase::from_transaction(&context, Bank, transaction);
    for id in 0..13 {
        database.update::<Account>(new_balance(id, 1_000)).unwrap();
        database.insert::<Account>(account(100 + id, "new", id, 1)).unwrap();
    }
    // Before the commit nothing is changed.
    assert_eq!(changes.replace(0), 0);
    database.commit().unwrap();
    println!("{}", changes.get());
    context.flush().unwrap();
}

fn main() {
    let memory = std::env::args().nth(1).unwrap();
    let point = std::env::args().nth(2).unwrap().parse().unwrap();
    match memory.strip_prefix("file:") {
        Some(path) => commit(WasiMemoryProvider::new(path).unwrap(), point),
        None => commit(Provider::open(&memory).unwrap(), point),
    }
}
