//! The traits of each release, beside that release's own providers, and what an engine makes of our errors.

use pageserver::provider::ENGINE_PAGES_MAX;
use pageserver::stable::StableMemory;
use pageserver::testing::{ForkMemory, Server};
use pageserver::{Access, Provider, Session, PAGE_SIZE};
use pageserver_engine_tests::daemon::{Daemon, Folder};
use pageserver_engine_tests::memory::Shared;
use pageserver_engine_tests::program::{account, by_id, new_balance, rows, Account, Bank, Random};
use std::panic::{catch_unwind, AssertUnwindSafe};
use wasm_dbms::prelude::*;
use wasm_dbms_api::prelude::*;

/// The same calls to a memory of ours and to the release's own file provider: the same answers, in the same units.
macro_rules! agrees_with_its_own_file {
    ($test:ident, $memory:ident, $file:ident) => {
        #[test]
        fn $test() {
            use $memory::MemoryProvider;
            fn calls(mut memory: impl MemoryProvider) -> Vec<String> {
                let mut random = Random::new(11);
                let mut said = vec![format!("{} {}", memory.size(), memory.pages())];
                for step in 0..400u32 {
                    let offset = random.below(memory.size() + 100);
                    let mut bytes = vec![step as u8; random.below(300) as usize];
                    said.push(match random.below(10) {
                        0 => format!("{:?} {} {}", memory.grow(random.below(3)), memory.size(), memory.pages()),
                        1..=4 => format!("{:?}", memory.write(offset, &bytes)),
                        _ => format!("{:?} {:?}", memory.read(offset, &mut bytes), &bytes),
                    });
                    if said.last().unwrap().starts_with("Err") {
                        // What a buffer holds after an error is left open.
                        said.last_mut().unwrap().truncate(20);
                    }
                }
                said
            }
            let folder = Folder::new(stringify!($memory));
            let theirs = calls($file::WasiMemoryProvider::new(folder.join("theirs")).unwrap());
            assert!(theirs.iter().any(|said| said.contains("OutOfBounds")));
            let server = Server::start().unwrap();
            server.create("ours", 0).unwrap();
            server.create("stable", 0).unwrap();
            let ours = folder.join("ours");
            assert_eq!(calls(Provider::open(&server.uri("ours")).unwrap()), theirs);
            assert_eq!(calls(StableMemory::new(Provider::open(&server.uri("stable")).unwrap())), theirs);
            assert_eq!(calls(ForkMemory::default()), theirs);
            assert_eq!(calls(Provider::open("heap:").unwrap()), theirs);
            assert_eq!(calls(Provider::open(ours.to_str().unwrap()).unwrap()), theirs);
            assert_eq!(std::fs::read(ours).unwrap(), std::fs::read(folder.join("theirs")).unwrap());
        }
    };
}

agrees_with_its_own_file!(release_0_9_grows_in_pages, wasm_dbms_memory_0_9, wasi_dbms_memory_0_9);
agrees_with_its_own_file!(release_0_10_grows_in_bytes, wasm_dbms_memory_0_10, wasi_dbms_memory_0_10);
agrees_with_its_own_file!(release_0_11_grows_in_bytes, wasm_dbms_memory, wasi_dbms_memory);

#[test]
fn stable_structures_keep_a_map_in_a_store() {
    use ic_stable_structures::memory_manager::{MemoryId, MemoryManager};
    use ic_stable_structures::{Memory, StableBTreeMap};
    let server = Server::start().unwrap();
    server.create("map", 0).unwrap();
    let uri = format!("{}&cache_bytes=1MiB", server.uri("map"));
    let memory = StableMemory::new(Provider::open(&uri).unwrap());
    {
        let manager = MemoryManager::init(memory.clone());
        let mut map: StableBTreeMap<u64, u64, _> = StableBTreeMap::init(manager.get(MemoryId::new(3)));
        for key in 0..5_000 {
            map.insert(key, key * key);
        }
        memory.flush().unwrap();
    }
    assert_eq!(Memory::size(&memory), memory.pages());
    assert_eq!(Memory::grow(&memory, 2), memory.pages() as i64 - 2);
    assert_eq!(Memory::grow(&memory, ENGINE_PAGES_MAX), -1);
    assert!(memory.last_error().unwrap().message().contains("page numbers"));
    drop(memory);
    let memory = StableMemory::new(Provider::open(&format!("{}&access=read", server.uri("map"))).unwrap());
    let manager = MemoryManager::init(memory.clone());
    let map: StableBTreeMap<u64, u64, _> = StableBTreeMap::init(manager.get(MemoryId::new(3)));
    assert_eq!((map.len(), map.get(&4_999)), (5_000, Some(4_999 * 4_999)));
}

fn open<M: wasm_dbms_memory::MemoryProvider>(memory: M) -> DbmsContext<M> {
    let context = DbmsContext::new(memory);
    Bank::register_tables(&context).unwrap();
    context
}

#[test]
fn sizes_ask_nobody() {
    use wasm_dbms_memory::MemoryProvider;
    let server = Server::start().unwrap();
    server.create("sizes", 3).unwrap();
    for mode in ["", "&access=read", "&access=fork", "&cache_bytes=1MiB"] {
        let mut memory = Provider::open(&format!("{}{}", server.uri("sizes"), mode)).unwrap();
        let requests = |memory: &mut Provider| match memory {
            Provider::Remote(remote) => remote.session().traffic().requests,
            _ => unreachable!(),
        };
        let before = requests(&mut memory);
        for _ in 0..1_000 {
            assert_eq!((MemoryProvider::pages(&memory), MemoryProvider::size(&memory)), (3, 3 * PAGE_SIZE));
        }
        assert_eq!(requests(&mut memory), before);
    }
}

#[test]
fn an_engine_whose_daemon_is_gone_hears_of_it_at_each_call_and_never_finds_an_empty_database() {
    let folder = Folder::new("gone");
    for cache in ["off", "4MiB"] {
        let daemon = Daemon::start(&folder.0);
        let store = format!("gone-{}", cache);
        daemon.create(&store);
        let memory = Shared::new(Provider::open(&format!("{}&cache_bytes={}", daemon.uri(&store), cache)).unwrap());
        let context = open(memory.clone());
        let database = WasmDbmsDatabase::oneshot(&context, Bank);
        database.insert::<Account>(account(1, "one", 1, 1)).unwrap();
        context.flush().unwrap();
        let before = daemon.uri(&store);
        daemon.kill();
        // Through the cache it may be noticed late, but then for good.
        let failed = (0..1_000).any(|_| database.select::<Account>(Query::builder().build()).is_err());
        assert!(failed || context.flush().is_err());
        for _ in 0..3 {
            let error = database.select::<Account>(Query::builder().build()).unwrap_err();
            assert!(format!("{:?}", error).contains("connection_lost"), "{:?}", error);
            assert!(context.flush().is_err());
        }
        // An engine that opens what is left of it registers nothing: it would lose what is there.
        let again = DbmsContext::new(memory.clone());
        let error = Bank::register_tables(&again).unwrap_err();
        assert!(format!("{:?}", error).contains("connection_lost"), "{:?}", error);
        drop(database);
        drop((context, again, memory));
        let daemon = Daemon::start(&folder.0);
        let context = open(Provider::open(&before).unwrap());
        let database = WasmDbmsDatabase::oneshot(&context, Bank);
        assert!(rows::<Account, _>(&database, Some(by_id(1))).contains("one"));
        drop(daemon);
    }
}

#[test]
fn a_reader_that_refreshes_between_operations_sees_whole_commits_only() {
    let server = Server::start().unwrap();
    server.create("moving", 0).unwrap();
    let writer = open(Provider::open(&format!("{}&cache_bytes=4MiB", server.uri("moving"))).unwrap());
    let database = WasmDbmsDatabase::oneshot(&writer, Bank);
    for id in 0..50 {
        database.insert::<Account>(account(id, "owner", 0, 0)).unwrap();
    }
    writer.flush().unwrap();
    for cache in ["off", "4MiB"] {
        let uri = format!("{}&access=read&cache_bytes={}", server.uri("moving"), cache);
        let memory = StableMemory::new(Provider::open(&uri).unwrap());
        let reader = open(memory.clone());
        for round in 0..100u32 {
            // One row goes and comes back elsewhere; all balances move together.
            let transaction = writer.begin_transaction();
            let mut moving = WasmDbmsDatabase::from_transaction(&writer, Bank, transaction);
            moving.delete::<Account>(DeleteBehavior::Restrict, Some(by_id(round % 50))).unwrap();
            let owner = "o".repeat(1 + round as usize);
            moving.insert::<Account>(account(round % 50, &owner, 0, i64::from(round))).unwrap();
            for id in (0..50).filter(|id| *id != round % 50) {
                moving.update::<Account>(new_balance(id, i64::from(round))).unwrap();
            }
            moving.commit().unwrap();
            let database = WasmDbmsDatabase::oneshot(&reader, Bank);
            let balances = |database: &WasmDbmsDatabase<'_, StableMemory>| -> Vec<i64> {
                let found = database.select::<Account>(Query::builder().build()).unwrap();
                assert_eq!(found.len(), 50);
                found.iter().map(|row| row.balance.unwrap().0).collect()
            };
            let before = balances(&database);
            writer.flush().unwrap();
            assert_eq!(balances(&database), before, "a pin does not move by itself");
            memory.refresh().unwrap();
            assert_eq!(balances(&database), vec![i64::from(round); 50]);
            let row = database.select::<Account>(Query::builder().and_where(by_id(round % 50)).build()).unwrap();
            assert_eq!(row[0].owner.clone().unwrap().0, owner);
        }
    }
    let live = format!("{}&access=read&view=live", server.uri("moving"));
    assert!(Provider::open(&live).unwrap_err().message().contains("view=pinned"));
}

#[test]
fn the_engines_panic_over_a_write_of_a_reader_says_what_to_open_instead() {
    let server = Server::start().unwrap();
    server.create("read", 0).unwrap();
    let writer = open(Provider::open(&server.uri("read")).unwrap());
    writer.flush().unwrap();
    let reader = open(Provider::open(&format!("{}&access=read", server.uri("read"))).unwrap());
    let database = WasmDbmsDatabase::oneshot(&reader, Bank);
    let result = catch_unwind(AssertUnwindSafe(|| database.insert::<Account>(account(1, "one", 1, 1))));
    let text = match result {
        Ok(result) => format!("{:?}", result),
        Err(panic) => panic.downcast_ref::<String>().unwrap().clone(),
    };
    assert!(text.contains("access=write or access=fork"), "{}", text);
}

#[test]
fn each_of_release_0_9_and_later_flushes_through_a_clone() {
    let server = Server::start().unwrap();
    server.create("clone", 0).unwrap();
    let mine = StableMemory::new(Provider::open(&server.uri("clone")).unwrap());
    let mut engines = mine.clone();
    wasm_dbms_memory_0_9::MemoryProvider::grow(&mut engines, 1).unwrap();
    wasm_dbms_memory_0_9::MemoryProvider::write(&mut engines, 9, b"0.9").unwrap();
    wasm_dbms_memory_0_10::MemoryProvider::write(&mut engines, 19, b"0.10").unwrap();
    let mut live = Session::connect(server.options("clone").access(Access::Read)).unwrap();
    assert_eq!(live.pages().unwrap(), 0);
    mine.flush().unwrap();
    let mut bytes = [0; 14];
    live.read(9, &mut bytes).unwrap();
    assert_eq!(&bytes, b"0.9\0\0\0\0\0\0\x000.10");
}
