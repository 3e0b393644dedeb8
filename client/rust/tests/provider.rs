//! What an engine relies on: sizes at once and for ever, errors that stay, one version for a reader.

#![cfg(unix)]

mod support;

use pageserver::provider::{RemoteMemory, ENGINE_PAGES_MAX};
use pageserver::stable::StableMemory;
use pageserver::testing::Server;
use pageserver::{Access, ErrorKind, Provider, Publish, Session, View, PAGE_SIZE};
use support::server;

fn temp(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("pageserver-provider-{}-{}", std::process::id(), name))
}

#[test]
fn what_a_program_keeps_goes_to_other_threads_and_borrows_nothing() {
    fn goes<T: Send + 'static>() {}
    goes::<Session>();
    goes::<Provider>();
    goes::<RemoteMemory>();
    goes::<pageserver::Daemon>();
    goes::<pageserver::testing::ForkMemory>();
    goes::<std::sync::Arc<pageserver::testing::Server>>();
}

#[test]
fn heap_file_and_store_behave_the_same() {
    let server = server();
    server.create("same", 0).unwrap();
    server.create("same-fork", 0).unwrap();
    let path = temp("same.img");
    let uris = [
        "heap:".to_owned(),
        path.to_str().unwrap().to_owned(),
        server.uri("same"),
        format!("{}&access=fork&cache_bytes=1MiB", server.uri("same-fork")),
    ];
    for uri in &uris {
        let mut memory = Provider::open(uri).unwrap();
        assert_eq!((memory.pages(), memory.size()), (0, 0), "{}", uri);
        assert_eq!(memory.grow(2).unwrap(), 0);
        assert_eq!(memory.pages(), 2, "at once: the engine asks for the number of its new page");
        assert_eq!(memory.grow(0).unwrap(), 2);
        assert_eq!(memory.grow(1).unwrap(), 2);
        memory.write(PAGE_SIZE - 1, b"ab").unwrap();
        let mut bytes = [9; 4];
        memory.read(PAGE_SIZE - 2, &mut bytes).unwrap();
        assert_eq!(&bytes, b"\0ab\0");
        memory.read(3 * PAGE_SIZE, &mut []).unwrap();
        for offset in [3 * PAGE_SIZE, 3 * PAGE_SIZE - 1, u64::MAX, u64::MAX - 1] {
            assert_eq!(memory.read(offset, &mut [0; 2]).unwrap_err().kind(), ErrorKind::OutOfBounds);
            assert_eq!(memory.write(offset, &[0; 2]).unwrap_err().kind(), ErrorKind::OutOfBounds);
        }
        let error = memory.grow(ENGINE_PAGES_MAX - 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        assert!(error.message().contains("page numbers"), "{}", error);
        assert_eq!(memory.grow(u64::MAX).unwrap_err().kind(), ErrorKind::LimitExceeded);
        memory.read(0, &mut bytes).unwrap();
        memory.flush().unwrap();
        memory.refresh().unwrap_or_else(|error| assert_eq!(error.kind(), ErrorKind::InvalidArgument));
    }
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 3 * PAGE_SIZE);
    std::fs::write(&path, b"not a page").unwrap();
    let error = Provider::open(path.to_str().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.message().contains("size=10"), "{}", error);
    std::fs::remove_file(&path).unwrap();
    let error = Provider::open(&format!("file:{}?access=read", path.display())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_writer_is_private_until_its_flush_unless_it_asks_for_more() {
    let server = server();
    server.create("default", 1).unwrap();
    let mut live = Session::connect(server.options("default").access(Access::Read)).unwrap();
    let mut byte = [0];
    let mut memory = Provider::open(&server.uri("default")).unwrap();
    memory.write(0, b"1").unwrap();
    live.read(0, &mut byte).unwrap();
    assert_eq!(byte, [0]);
    memory.flush().unwrap();
    live.read(0, &mut byte).unwrap();
    assert_eq!(byte, *b"1");
    drop(memory);
    let mut memory = Provider::open(&format!("{}&publish=on_write", server.uri("default"))).unwrap();
    memory.write(0, b"2").unwrap();
    live.read(0, &mut byte).unwrap();
    assert_eq!(byte, *b"2");
}

#[test]
fn a_reader_sees_one_version_until_it_refreshes_and_is_told_what_to_open_instead() {
    let server = server();
    server.create("reader", 1).unwrap();
    let mut writer = Session::connect(server.options("reader")).unwrap();
    let mut reader = Provider::open(&format!("{}&access=read&cache_bytes=1MiB", server.uri("reader"))).unwrap();
    let mut byte = [0];
    reader.read(0, &mut byte).unwrap();
    writer.write(0, b"n").unwrap();
    writer.grow(1).unwrap();
    reader.read(0, &mut byte).unwrap();
    assert_eq!((byte, reader.pages()), ([0], 1));
    reader.refresh().unwrap();
    reader.read(0, &mut byte).unwrap();
    assert_eq!((byte, reader.pages()), (*b"n", 2));
    let error = reader.write(0, b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
    assert!(error.message().contains("access=write or access=fork"), "{}", error);
    reader.read(0, &mut byte).unwrap();
    let live = format!("{}&access=read&view=live", server.uri("reader"));
    let error = Provider::open(&live).unwrap_err();
    assert!(error.message().contains("view=pinned"), "{}", error);
}

#[test]
fn once_the_state_is_unknown_every_later_call_fails_and_sizes_stay() {
    for cache in ["off", "1MiB"] {
        let server = Server::builder().daemon(support::daemon_program()).start().unwrap();
        server.create("gone", 3).unwrap();
        let mut memory = Provider::open(&format!("{}&cache_bytes={}", server.uri("gone"), cache)).unwrap();
        memory.read(0, &mut [0; 8]).unwrap();
        memory.grow(1).unwrap();
        drop(server);
        support::wait_until(|| memory.read(0, &mut [0; 8]).is_err());
        let first = memory.read(0, &mut [0; 8]).unwrap_err();
        assert_eq!(first.kind(), ErrorKind::ConnectionLost);
        assert_eq!(
            (memory.pages(), memory.size()),
            (4, 4 * PAGE_SIZE),
            "never 0: it would look like an empty database"
        );
        for error in [
            memory.read(0, &mut [0; 8]).unwrap_err(),
            memory.read(9 * PAGE_SIZE, &mut [0; 8]).unwrap_err(),
            memory.write(0, b"x").unwrap_err(),
            memory.grow(1).unwrap_err(),
            memory.flush().unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.message()), (first.kind(), first.message()));
        }
    }
}

#[test]
fn a_lost_lease_stays_an_error_and_nothing_private_was_published() {
    let server = server();
    server.create("lost", 1).unwrap();
    let mut memory = Provider::open(&format!("{}&cache_bytes=1MiB", server.uri("lost"))).unwrap();
    memory.write(0, b"half a commit").unwrap();
    let mut other = Session::connect(server.options("lost").access(Access::Read)).unwrap();
    other.break_lease(0).unwrap().unwrap();
    support::wait_until(|| memory.read(0, &mut [0]).is_err());
    for result in [memory.read(0, &mut [0]), memory.write(0, b"x"), memory.flush()] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::LeaseLost);
    }
    let mut byte = [9];
    other.read(0, &mut byte).unwrap();
    assert_eq!(byte, [0]);
    match memory {
        Provider::Remote(remote) => assert!(remote.failed().is_some()),
        other => panic!("{:?}", other),
    }
}

#[test]
fn clones_share_one_memory_so_that_one_of_them_can_flush() {
    let server = server();
    server.create("shared", 0).unwrap();
    let session = Session::connect(server.options("shared").publish(Publish::OnFlush)).unwrap();
    let mine = StableMemory::new(RemoteMemory::new(session).unwrap().into());
    let engines = mine.clone();
    assert_eq!(engines.grow_pages(1).unwrap(), 0);
    engines.write_at(5, b"x").unwrap();
    mine.flush().unwrap();
    let mut byte = [0];
    let options = server.options("shared").access(Access::Read).view(View::Pinned);
    Session::connect(options).unwrap().read(5, &mut byte).unwrap();
    assert_eq!((byte, mine.pages()), (*b"x", 1));
    assert!(mine.last_error().is_none());
    engines.read_at(PAGE_SIZE, &mut byte).unwrap_err();
    assert_eq!(mine.last_error().unwrap().kind(), ErrorKind::OutOfBounds);
}

#[test]
fn a_close_says_that_the_store_is_free_or_why_that_is_not_known() {
    let server = server();
    server.create("closed", 1).unwrap();
    let path = temp("closed.img");
    for uri in ["heap:", path.to_str().unwrap(), &server.uri("closed")] {
        let mut memory = Provider::open(uri).unwrap();
        memory.grow(1).unwrap();
        memory.close().unwrap();
    }
    // The lease is free at once, and what was not flushed is dropped.
    let memory = Provider::open(&server.uri("closed")).unwrap();
    assert_eq!(memory.pages(), 1);
    let mut session = Session::open(&format!("{}&access=read", server.uri("closed"))).unwrap();
    let writer = session.stat().unwrap().writer.unwrap();
    pageserver::Daemon::connect(&format!("pageserver+unix:///?socket={}", server.socket().display()))
        .and_then(|mut daemon| {
            let all = daemon.sessions("closed")?;
            let id = all.iter().find(|each| each.epoch == writer.epoch).unwrap().session_id;
            daemon.kick(id, "a test")
        })
        .unwrap();
    assert_eq!(memory.close().unwrap_err().kind(), ErrorKind::ConnectionLost);
    let _ = std::fs::remove_file(path);
}

#[test]
fn how_long_an_atomic_write_may_be_depends_on_what_is_behind() {
    let server = server();
    server.create("atomic", 1).unwrap();
    let path = temp("atomic.img");
    let bytes = |uri: &str| Provider::open(uri).unwrap().atomic_write_bytes();
    assert_eq!(bytes("heap:"), u64::MAX);
    assert_eq!(bytes(path.to_str().unwrap()), 1);
    let plain = bytes(&server.uri("atomic"));
    assert!(plain >= 1 << 20, "{}", plain);
    assert_eq!(bytes(&format!("{}&cache_bytes=1MiB", server.uri("atomic"))), PAGE_SIZE);
    assert_eq!(bytes(&format!("{}&cache_bytes=1MiB&publish=on_write", server.uri("atomic"))), plain);
    assert_eq!(bytes(&format!("{}&cache_bytes=1MiB&access=fork", server.uri("atomic"))), PAGE_SIZE);
    let _ = std::fs::remove_file(path);
}
