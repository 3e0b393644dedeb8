//! The same statements on a heap, on the engine's own file provider and through a daemon: the same answers, the same
//! bytes.

use pageserver::testing::Server;
use pageserver::{Access, Provider, Session};
use pageserver_engine_tests::daemon::Folder;
use pageserver_engine_tests::memory::{Shared, SyncedFile};
use pageserver_engine_tests::program::{bank, in_order, library};
use wasm_dbms::prelude::*;
use wasm_dbms_memory::prelude::HeapMemoryProvider;
use wasm_dbms_memory::MemoryProvider;

#[derive(Clone, Copy)]
enum Statements {
    Bank,
    Library,
}

const STEPS: u32 = 250;

/// What was answered, and the image in the end.
fn run<M: MemoryProvider>(statements: Statements, seed: u64, memory: M) -> (Vec<String>, Vec<u8>) {
    let memory = Shared::new(memory);
    let context = DbmsContext::new(memory.clone());
    let flush = || context.flush().unwrap();
    let said = match statements {
        Statements::Bank => bank(&context, seed, STEPS, flush),
        Statements::Library => library(&context, seed, STEPS, flush),
    };
    drop(context);
    let image = memory.image();
    (said, image)
}

fn compare(statements: Statements, seeds: std::ops::Range<u64>, name: &str) {
    let server = Server::start().unwrap();
    let folder = Folder::new(name);
    for seed in seeds {
        let (said, image) = run(statements, seed, HeapMemoryProvider::default());
        assert!(said.iter().any(|line| line.starts_with("Err")) && said.iter().any(|line| line.starts_with("Ok")));
        // One table has the same bytes in every run, several have lists that stand in any order.
        let in_order = |image| if let Statements::Bank = statements { image } else { in_order(image) };
        let image = in_order(image);
        let same = |other: (Vec<String>, Vec<u8>), what: &str| {
            assert!(other.0 == said, "{}, seed {}: another answer", what, seed);
            assert!(in_order(other.1) == image, "{}, seed {}: another image", what, seed);
        };
        let path = folder.join(&seed.to_string());
        same(run(statements, seed, SyncedFile::open(&path)), "file");
        assert!(in_order(std::fs::read(&path).unwrap()) == image);
        let mut modes = Vec::new();
        for publish in ["&publish=on_write", "&publish=on_flush", "&access=fork"] {
            for cache in ["off", "128KiB", "4MiB"] {
                modes.push(format!("{}&cache_bytes={}", publish, cache));
            }
        }
        for (number, mode) in modes.iter().enumerate() {
            let store = format!("s{}-{}", seed, number);
            server.create(&store, 0).unwrap();
            let uri = server.uri(&store);
            same(run(statements, seed, Provider::open(&format!("{}{}", uri, mode)).unwrap()), mode);
            let mut reader = Session::connect(server.options(&store).access(Access::Read)).unwrap();
            let mut published = vec![0; reader.size().unwrap() as usize];
            reader.read(0, &mut published).unwrap();
            if mode.contains("fork") {
                assert_eq!(published.len(), 0, "a fork publishes nothing");
            } else {
                assert!(in_order(published) == image, "{}, seed {}: another image for readers", mode, seed);
            }
        }
    }
}

#[test]
fn one_table_has_the_same_answers_and_bytes_wherever_it_is_kept() {
    compare(Statements::Bank, 0..3, "bank");
}

#[test]
fn several_tables_have_the_same_answers_and_bytes_wherever_they_are_kept() {
    compare(Statements::Library, 0..3, "library");
}
