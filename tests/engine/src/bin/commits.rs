//! What commits of the engine cost: through a daemon, cached, and on a file, by the engine's own provider.
//!
//!     cargo run --release --bin commits [ROUNDS [small|transactions|blobs|poll_us=N]...]
//!
//! Client and daemon poll for 200 µs unless told, as where the same engine's recorded workloads are measured.
//!
//! The engine runs live; each workload begins with an empty image. `flush` after each commit: of the daemon's store it
//! publishes and makes durable, of the file it is `sync_all`, which the engine's own provider does not do. Without a
//! sync a store is opened on_write, and nobody calls flush. The column `heap` is the engine alone: nothing is faster.

use pageserver::testing::Server;
use pageserver::Provider;
use pageserver_engine_tests::daemon::Folder;
use pageserver_engine_tests::memory::{Shared, SyncedFile};
use pageserver_engine_tests::program::*;
use std::time::Instant;
use wasm_dbms::prelude::*;
use wasm_dbms_api::prelude::*;
use wasm_dbms_memory::MemoryProvider;

#[derive(Clone, Copy, PartialEq)]
enum Work {
    Small,
    Transactions,
    Blobs,
}

/// Commits in a second, and how many there were.
fn run(work: Work, sync: bool, memory: impl MemoryProvider) -> (f64, u32) {
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
    (f64::from(commits) / began.elapsed().as_secs_f64(), commits)
}

/// What one commit of the last round has asked of the daemon.
fn per_commit(provider: &mut Provider, commits: u32) -> String {
    let Provider::Remote(remote) = provider else { return String::new() };
    let traffic = remote.session().traffic();
    let each = |count: u64| count as f64 / f64::from(commits);
    format!(
        "{:.1} requests, {:.1} round trips, {:.0} B out, {:.2} pages in",
        each(traffic.requests),
        each(traffic.round_trips),
        each(traffic.bytes_sent),
        each(traffic.cache_misses + traffic.pages_read_ahead)
    )
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let rounds = std::env::args().nth(1).map_or(9, |rounds| rounds.parse().unwrap());
    let (polling, wanted_works): (Vec<_>, Vec<_>) = std::env::args().skip(2).partition(|word| word.contains('='));
    let poll_us = polling.first().and_then(|word| word.strip_prefix("poll_us=")).unwrap_or("200");
    let server = Server::builder().argument("--poll-us").argument(poll_us).start().unwrap();
    let folder = Folder::new("commits");
    let mut names = 0;
    println!("| live engine, cached, poll_us={poll_us} | daemon | file | heap | ratio | quartiles | wanted | reached | a commit, daemon |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for (name, work) in [("small", Work::Small), ("transactions", Work::Transactions), ("blobs", Work::Blobs)] {
        if !wanted_works.is_empty() && !wanted_works.iter().any(|wanted| wanted == name) {
            continue;
        }
        for (sync, how, wanted) in [(true, "on_flush, sync_all at each commit", 1.2), (false, "on_write, no sync", 0.5)]
        {
            let (mut ours, mut theirs, mut ratios, mut alone) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            let mut cost = String::new();
            for round in 0..=rounds {
                names += 1;
                let store = format!("s{}", names);
                server.create(&store, 0).unwrap();
                let publish = if sync { "on_flush" } else { "on_write" };
                let uri = format!("{}&publish={}&cache_bytes=16MiB&poll_us={}", server.uri(&store), publish, poll_us);
                let path = folder.join(&store);
                let mut daemon = |ours: &mut Vec<f64>| {
                    let memory = Shared::new(Provider::open(&uri).unwrap());
                    let (rate, commits) = run(work, sync, memory.clone());
                    ours.push(rate);
                    cost = memory.with(|provider| per_commit(provider, commits));
                };
                let file = |theirs: &mut Vec<f64>| theirs.push(run(work, sync, SyncedFile::open(&path)).0);
                if round % 2 == 0 {
                    daemon(&mut ours);
                    file(&mut theirs);
                } else {
                    file(&mut theirs);
                    daemon(&mut ours);
                }
                alone.push(run(work, false, Provider::open("heap:").unwrap()).0);
                if round == 0 {
                    ours.clear(); // both warm up
                    theirs.clear();
                } else {
                    ratios.push(ours[round - 1] / theirs[round - 1]);
                }
                std::fs::remove_file(&path).unwrap();
            }
            let (ours, theirs, alone) = (median(ours), median(theirs), median(alone));
            ratios.sort_by(f64::total_cmp);
            let ratio = ratios[ratios.len() / 2];
            let spread =
                format!("{:.2} - {:.2}", ratios[ratios.len() / 4], ratios[ratios.len() - 1 - ratios.len() / 4]);
            let reached = if ratio >= wanted { "yes" } else { "no" };
            println!(
                "| {name}, {how} | {ours:.0}/s | {theirs:.0}/s | {alone:.0}/s | {ratio:.2} | {spread} | ≥ {wanted:.2} | {reached} | {cost} |"
            );
        }
    }
}
