//! What commits of the engine cost: through a daemon, cached, and on a file, by the engine's own provider.
//!
//!     cargo run --release --bin commits [ROUNDS]
//!
//! The engine runs live; each workload begins with an empty image. `flush` after each commit: of the daemon's store it
//! publishes and makes durable, of the file it is `sync_all`, which the engine's own provider does not do. Without a
//! sync a store is opened on_write, and nobody calls flush.

use pageserver::testing::Server;
use pageserver::Provider;
use pageserver_engine_tests::daemon::Folder;
use pageserver_engine_tests::memory::SyncedFile;
use pageserver_engine_tests::program::*;
use std::time::Instant;
use wasm_dbms::prelude::*;
use wasm_dbms_api::prelude::*;
use wasm_dbms_memory::MemoryProvider;

#[derive(Clone, Copy)]
enum Work {
    Small,
    Transactions,
    Blobs,
}

/// Commits in a second.
fn run(work: Work, sync: bool, memory: impl MemoryProvider) -> f64 {
    let context = DbmsContext::new(memory);
    let mut commits = 0;
    let mut commit = || {
        commits += 1;
        if sync {
            context.flush().unwrap();
        }
    };
    let began = Instant::now();
    match work {
        Work::Small => {
            Bank::register_tables(&context).unwrap();
            let database = WasmDbmsDatabase::oneshot(&context, Bank);
            for id in 0..300 {
                database.insert::<Account>(account(id, "somebody", id % 7, 100)).unwrap();
                commit();
            }
            for id in 0..300 {
                database.update::<Account>(new_balance(id, 5)).unwrap();
                commit();
            }
        }
        Work::Transactions => {
            Bank::register_tables(&context).unwrap();
            let database = WasmDbmsDatabase::oneshot(&context, Bank);
            (0..500).for_each(|id| database.insert::<Account>(account(id, "somebody", id % 7, 100)).unwrap());
            commit();
            let mut random = Random::new(3);
            for step in 0..500 {
                let transaction = context.begin_transaction();
                let mut database = WasmDbmsDatabase::from_transaction(&context, Bank, transaction);
                for _ in 0..2 {
                    database.update::<Account>(new_balance(random.below(500) as u32, step)).unwrap();
                }
                database.insert::<Account>(account(1_000 + step as u32, "payment", 9, 1)).unwrap();
                database.commit().unwrap();
                commit();
            }
        }
        Work::Blobs => {
            library(&context, 5, 400, commit);
            commits = 400;
        }
    }
    f64::from(commits) / began.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let rounds = std::env::args().nth(1).map_or(9, |rounds| rounds.parse().unwrap());
    let server = Server::start().unwrap();
    let folder = Folder::new("commits");
    let mut names = 0;
    println!("| live engine, cached | daemon | file | ratio | wanted | reached |");
    println!("|---|---|---|---|---|---|");
    for (name, work) in [("small", Work::Small), ("transactions", Work::Transactions), ("blobs", Work::Blobs)] {
        for (sync, how, wanted) in [(true, "on_flush, sync_all at each commit", 1.2), (false, "on_write, no sync", 0.5)]
        {
            let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
            for round in 0..=rounds {
                names += 1;
                let store = format!("s{}", names);
                server.create(&store, 0).unwrap();
                let publish = if sync { "on_flush" } else { "on_write" };
                let uri = format!("{}&publish={}&cache_bytes=16MiB", server.uri(&store), publish);
                let path = folder.join(&store);
                let daemon = |ours: &mut Vec<f64>| ours.push(run(work, sync, Provider::open(&uri).unwrap()));
                let file = |theirs: &mut Vec<f64>| theirs.push(run(work, sync, SyncedFile::open(&path)));
                if round % 2 == 0 {
                    daemon(&mut ours);
                    file(&mut theirs);
                } else {
                    file(&mut theirs);
                    daemon(&mut ours);
                }
                if round == 0 {
                    ours.clear(); // both warm up
                    theirs.clear();
                } else {
                    ratios.push(ours[round - 1] / theirs[round - 1]);
                }
                std::fs::remove_file(&path).unwrap();
            }
            let (ours, theirs, ratio) = (median(ours), median(theirs), median(ratios));
            let reached = if ratio >= wanted { "yes" } else { "no" };
            println!("| {name}, {how} | {ours:.0}/s | {theirs:.0}/s | {ratio:.2} | ≥ {wanted:.2} | {reached} |");
        }
    }
}
