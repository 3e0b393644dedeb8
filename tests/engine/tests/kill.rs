//! The engine killed inside a commit, before each of its 117 changes: its own file, and a daemon in between.

use pageserver::Provider;
use pageserver_engine_tests::daemon::{Daemon, Folder};
use pageserver_engine_tests::program::{account, bank, new_balance, rows, Account, Bank};
use std::collections::HashSet;
use std::process::{Command, Stdio};
use wasi_dbms_memory::WasiMemoryProvider;
use wasm_dbms::prelude::*;
use wasm_dbms_api::prelude::*;
use wasm_dbms_memory::MemoryProvider;

/// The changes of the commit: 117, of which the first leaves nothing behind when it does not come about.
const POINTS: u64 = 117;

fn accounts(memory: impl MemoryProvider) -> String {
    let context = DbmsContext::new(memory);
    Bank::register_tables(&context).unwrap();
    let database = WasmDbmsDatabase::oneshot(&context, Bank);
    rows::<Account, _>(&database, None)
}

/// Runs the program that commits. True: it came to its end.
fn commit(memory: &str, point: u64, whom: &str) -> Option<u64> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_commit"));
    let child = command.args([memory, &point.to_string(), whom]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(child.stdout).unwrap();
    child.status.success().then(|| said.trim().parse().unwrap())
}

/// A file with some accounts, and what it is before and after the commit.
struct Case {
    folder: Folder,
    before: Vec<u8>,
    after: Vec<u8>,
}

fn case(name: &str) -> Case {
    let folder = Folder::new(name);
    let path = folder.join("accounts");
    {
        let context = DbmsContext::new(WasiMemoryProvider::new(&path).unwrap());
        bank(&context, 1, 0, || ());
        let database = WasmDbmsDatabase::oneshot(&context, Bank);
        for id in 0..40 {
            database.insert::<Account>(account(id, &format!("owner {}", id), id % 7, 100)).unwrap();
        }
    }
    let before = std::fs::read(&path).unwrap();
    let changes = commit(&format!("file:{}", path.display()), 0, "self");
    assert_eq!(changes, Some(POINTS), "the engine makes another number of changes than when this was written");
    let after = std::fs::read(&path).unwrap();
    assert!(before != after);
    Case { folder, before, after }
}

#[test]
fn the_engines_own_file_holds_half_a_commit_116_times_and_opens_without_a_word() {
    let case = case("file");
    let path = case.folder.join("accounts");
    let mut torn = 0;
    for point in 1..=POINTS {
        std::fs::write(&path, &case.before).unwrap();
        assert_eq!(commit(&format!("file:{}", path.display()), point, "self"), None);
        let image = std::fs::read(&path).unwrap();
        if image != case.before && image != case.after {
            torn += 1;
        }
        // It opens, and something is found in it: nobody hears of it.
        assert!(accounts(WasiMemoryProvider::new(&path).unwrap()).contains("owner"));
    }
    println!("engine killed inside a commit, its own file: {} of {} torn", torn, POINTS);
    assert_eq!(torn, 116);
}

/// The images that the statements of the commit leave when each is committed alone.
fn whole_images(case: &Case) -> HashSet<Vec<u8>> {
    let path = write(case, &case.before);
    let mut images = HashSet::from([case.before.clone()]);
    let context = DbmsContext::new(WasiMemoryProvider::new(&path).unwrap());
    Bank::register_tables(&context).unwrap();
    for id in 0..13 {
        WasmDbmsDatabase::oneshot(&context, Bank).update::<Account>(new_balance(id, 1_000)).unwrap();
        images.insert(std::fs::read(&path).unwrap());
        WasmDbmsDatabase::oneshot(&context, Bank).insert::<Account>(account(100 + id, "new", id, 1)).unwrap();
        images.insert(std::fs::read(&path).unwrap());
    }
    assert!(images.contains(&case.after));
    images
}

#[test]
fn verify_finds_each_torn_image_but_those_that_shorter_commits_leave() {
    let case = case("verify");
    let pagectl = std::env::var("PAGECTL").expect("PAGECTL is the path of the tool");
    let verify = |path: &std::path::Path| Command::new(&pagectl).arg("verify").arg(path).output().unwrap();
    let path = case.folder.join("accounts");
    let whole = whole_images(&case);
    let (mut found, mut shorter) = (0, 0);
    for point in 1..=POINTS {
        std::fs::write(&path, &case.before).unwrap();
        assert_eq!(commit(&format!("file:{}", path.display()), point, "self"), None);
        let image = std::fs::read(&path).unwrap();
        let report = verify(&path);
        let said = String::from_utf8_lossy(&report.stdout);
        if whole.contains(&image) {
            assert_eq!(report.status.code(), Some(0), "{}: {}", point, said);
            shorter += u64::from(image != case.before && image != case.after);
        } else {
            assert_eq!(report.status.code(), Some(1), "{}: {}", point, said);
            assert!(said.contains("table `accounts`"), "{}: {}", point, said);
            found += 1;
        }
    }
    println!(
        "verify of the engine's own file: {} of {} torn images found, {} are what a shorter commit leaves",
        found,
        found + shorter,
        shorter
    );
    assert_eq!(found + shorter, 116);
}

#[test]
fn through_a_daemon_no_commit_is_torn_by_a_killed_engine() {
    let case = case("client");
    let daemon = Daemon::start(&case.folder.0);
    for (store, mode) in [("plain", "off"), ("cached", "4MiB")] {
        daemon.create(store);
        daemon.fill(store, &case.before);
        let uri = format!("{}&cache_bytes={}&wait_ms=60000", daemon.uri(store), mode);
        for point in 1..=POINTS {
            assert_eq!(commit(&uri, point, "self"), None);
            assert!(daemon.image(store) == case.before, "{}: torn at {}", mode, point);
        }
        println!("engine killed inside a commit, on_flush, cache_bytes={}: 0 of {} torn", mode, POINTS);
        // Nobody is killed: the commit is there.
        assert_eq!(commit(&uri, 0, "self"), Some(POINTS));
        assert!(daemon.image(store) == case.after);
    }
}

#[test]
fn through_a_daemon_no_commit_is_torn_by_a_killed_daemon() {
    let case = case("daemon");
    let mut daemon = Daemon::start(&case.folder.0);
    daemon.create("accounts");
    daemon.fill("accounts", &case.before);
    let expected = accounts(WasiMemoryProvider::new(write(&case, &case.before)).unwrap());
    for point in 1..=POINTS {
        let cache = if point % 2 == 0 { "off" } else { "4MiB" };
        let uri = format!("{}&cache_bytes={}", daemon.uri("accounts"), cache);
        assert_eq!(commit(&uri, point, &daemon.pid().to_string()), None, "the engine has to notice");
        daemon.kill();
        daemon = Daemon::start(&case.folder.0);
        assert!(daemon.image("accounts") == case.before, "torn at {}", point);
    }
    println!("daemon killed inside a commit, on_flush: 0 of {} torn", POINTS);
    let found = accounts(Provider::open(&format!("{}&access=read", daemon.uri("accounts"))).unwrap());
    assert!(found == expected);
}

fn write(case: &Case, image: &[u8]) -> std::path::PathBuf {
    let path = case.folder.join("copy");
    std::fs::write(&path, image).unwrap();
    path
}

#[test]
fn on_write_an_engine_that_is_killed_inside_a_commit_leaves_half_of_it() {
    let case = case("on-write");
    let daemon = Daemon::start(&case.folder.0);
    let mut torn = 0;
    for point in 1..=POINTS {
        let store = format!("s{}", point);
        daemon.create(&store);
        daemon.fill(&store, &case.before);
        assert_eq!(commit(&format!("{}&publish=on_write", daemon.uri(&store)), point, "self"), None);
        let image = daemon.image(&store);
        torn += u64::from(image != case.before && image != case.after);
    }
    println!("engine killed inside a commit, on_write: {} of {} torn", torn, POINTS);
    assert_eq!(torn, 116, "no better than the file, as the documents say");
}
