//! The engine with its own file provider, on mounted stores: it does not know that its file is an image of a daemon.

use pageserver_engine_tests::daemon::{Daemon, Folder};
use pageserver_engine_tests::memory::{Shared, SyncedFile};
use pageserver_engine_tests::mount::{why_not, Mount};
use pageserver_engine_tests::program::{account, bank, in_order, library, new_balance, rows, Account, Bank};
use std::path::Path;
use std::process::{Command, Stdio};
use wasi_dbms_memory::WasiMemoryProvider;
use wasm_dbms::prelude::*;
use wasm_dbms_api::prelude::*;
use wasm_dbms_memory::MemoryProvider;

/// URI's keys and the mount's options.
const MODES: [(&str, &str); 5] = [
    ("&access=fork", "rw"),
    ("&access=fork", "writeback"),
    ("&publish=on_flush", "rw"),
    ("&publish=on_flush", "writeback"),
    ("&publish=on_write", "rw"),
];

fn can_mount() -> bool {
    let why = why_not();
    if let Some(why) = &why {
        println!("SKIPPED: nothing can be mounted here: {}", why);
    }
    why.is_none()
}

/// What was answered, and the image in the end.
fn run<M: MemoryProvider>(one_table: bool, seed: u64, memory: M) -> (Vec<String>, Vec<u8>) {
    let memory = Shared::new(memory);
    let context = DbmsContext::new(memory.clone());
    let flush = || context.flush().unwrap();
    let said = if one_table { bank(&context, seed, 150, flush) } else { library(&context, seed, 150, flush) };
    drop(context);
    let image = memory.image();
    (said, image)
}

fn everything(path: &Path) -> String {
    let context = DbmsContext::new(WasiMemoryProvider::new(path).unwrap());
    Bank::register_tables(&context).unwrap();
    let database = WasmDbmsDatabase::oneshot(&context, Bank);
    rows::<Account, _>(&database, None)
}

#[test]
fn on_mounted_forks_and_writers_the_engine_answers_and_leaves_what_it_does_on_a_file() {
    if !can_mount() {
        return;
    }
    let folder = Folder::new("mount");
    let daemon = Daemon::start(&folder.0);
    for (one_table, seed) in [(true, 0), (true, 1), (false, 0)] {
        // One table has the same bytes in every run, several have lists that stand in any order.
        let in_order = |image| if one_table { image } else { in_order(image) };
        let plain = folder.join(&format!("plain-{}-{}", one_table, seed));
        let (said, image) = run(one_table, seed, SyncedFile::open(&plain));
        assert_eq!(image, std::fs::read(&plain).unwrap());
        let image = in_order(image);
        for (number, (query, options)) in MODES.iter().enumerate() {
            let what = format!("{} -o {}, one_table={}, seed {}", query, options, one_table, seed);
            let store = format!("s{}-{}-{}", one_table, seed, number);
            daemon.create(&store);
            let mount = Mount::new(&format!("{}{}", daemon.uri(&store), query), &folder.join("mounted"), options);
            let mounted = run(one_table, seed, SyncedFile::open(mount.path()));
            assert!(mounted.0 == said, "{}: another answer", what);
            assert!(in_order(mounted.1) == image, "{}: another image for the engine", what);
            let as_file = std::fs::read(mount.path()).unwrap();
            assert!(in_order(as_file.clone()) == image, "{}: another image as a file", what);
            if one_table {
                // The engine opens it again, as any file.
                assert!(everything(mount.path()) == everything(&plain), "{}: another database", what);
            }
            let fork = query.contains("fork");
            if !fork {
                assert!(published(&daemon, &store) == as_file, "{}: another image for readers", what);
            }
            mount.unmount();
            assert!(daemon.image(&store) == if fork { Vec::new() } else { as_file }, "{}: after the mount", what);
        }
    }
    println!("live engine on a mount: {} modes × 3 programs, the same answers and bytes as on a file", MODES.len());
}

/// What readers see while the mount has the lease.
fn published(daemon: &Daemon, store: &str) -> Vec<u8> {
    let uri = format!("{}&access=read", daemon.uri(store));
    let mut memory = pageserver::Provider::open(&uri).unwrap();
    let mut image = vec![0; memory.size() as usize];
    memory.read(0, &mut image).unwrap();
    image
}

#[test]
fn an_engine_that_is_killed_inside_a_commit_on_a_mount_has_published_nothing_of_it() {
    if !can_mount() {
        return;
    }
    let folder = Folder::new("mount-kill");
    let plain = folder.join("plain");
    {
        let context = DbmsContext::new(WasiMemoryProvider::new(&plain).unwrap());
        bank(&context, 1, 0, || ());
        let database = WasmDbmsDatabase::oneshot(&context, Bank);
        (0..40).for_each(|id| database.insert::<Account>(account(id, "owner", id % 7, 100)).unwrap());
    }
    let before = std::fs::read(&plain).unwrap();
    {
        let context = DbmsContext::new(WasiMemoryProvider::new(&plain).unwrap());
        Bank::register_tables(&context).unwrap();
        let database = WasmDbmsDatabase::oneshot(&context, Bank);
        database.update::<Account>(new_balance(3, 7)).unwrap();
    }
    assert!(std::fs::read(&plain).unwrap() != before);
    let daemon = Daemon::start(&folder.0);
    daemon.create("accounts");
    daemon.fill("accounts", &before);
    let mut torn_for_programs = 0;
    let points = (1..=117).step_by(29);
    for options in ["rw", "writeback"] {
        for point in points.clone() {
            let uri = format!("{}&publish=on_flush&wait_ms=60000", daemon.uri("accounts"));
            let mount = Mount::new(&uri, &folder.join("mounted"), options);
            let memory = format!("file:{}", mount.path().display());
            let killed = Command::new(env!("CARGO_BIN_EXE_commit"))
                .args([&memory, &point.to_string(), "self"])
                .stdin(Stdio::null())
                .output()
                .unwrap();
            assert!(!killed.status.success());
            // For programs of the mount it is a file like any: half of the commit is in it.
            torn_for_programs += u32::from(std::fs::read(mount.path()).unwrap() != before);
            assert!(published(&daemon, "accounts") == before, "-o {}: torn at {}", options, point);
            // And is gone with the mount, where that does not end with a flush.
            mount.kill();
            assert!(daemon.image("accounts") == before, "-o {}: torn at {} after the mount", options, point);
        }
    }
    println!("engine killed inside a commit on a mount, on_flush: 0 of {} torn", 2 * points.count());
    assert!(torn_for_programs > 0, "no kill fell between two changes");
}
