//! Against a real daemon: what a user meets.

#![cfg(unix)]

mod support;

use pageserver::testing::Server;
use pageserver::{Access, Daemon, ErrorKind, Options, Publish, Session, SessionState, View, WaitsFor, PAGE_SIZE};
use std::sync::Arc;
use support::{server, writer};

#[test]
fn what_is_written_is_read_by_others_over_tcp_and_unix() {
    let server = server();
    server.create("both", 2).unwrap();
    let mut session = writer(&server, "both");
    assert_eq!(session.pages().unwrap(), 2);
    assert_eq!(session.grow(1).unwrap(), 2);
    assert_eq!(session.known_pages(), 3);
    session.write(PAGE_SIZE - 2, b"across").unwrap();
    let (host, port) = server.address().rsplit_once(':').unwrap();
    let options = Options::tcp(host, port.parse().unwrap(), "both").access(Access::Read);
    let mut reader = Session::connect(options).unwrap();
    let mut bytes = [0; 6];
    reader.read(PAGE_SIZE - 2, &mut bytes).unwrap();
    assert_eq!(&bytes, b"across");
    assert_eq!(reader.size().unwrap(), 3 * PAGE_SIZE);
    assert_eq!(reader.version().unwrap(), session.version().unwrap());
    let error = reader.write(0, b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
    assert!(error.message().contains("access=write"), "{}", error);
    session.close().unwrap();
    writer(&server, "both"); // the lease is free as soon as close answers
}

#[test]
fn of_several_hosts_the_one_that_serves_the_store_is_found_and_all_are_named_where_none_does() {
    let own = || Server::builder().daemon(support::daemon_program()).start().unwrap();
    let (one, two) = (own(), own());
    one.create("other", 1).unwrap();
    two.create("here", 3).unwrap();
    let dead = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    for hosts in [
        vec![two.address(), one.address()],
        vec![one.address(), two.address()],
        vec![dead.as_str(), one.address(), two.address()],
    ] {
        let uri = format!("pageserver://{}/here?access=read", hosts.join(","));
        let mut session = Session::open(&uri).unwrap();
        assert_eq!(session.pages().unwrap(), 3);
        let error = session.grow(1).unwrap_err();
        assert!(error.message().contains(two.address()), "{}", error);
    }
    let error = Session::open(&format!("pageserver://{},{}/here", dead, one.address())).unwrap_err();
    for part in ["none of the hosts", dead.as_str(), one.address()] {
        assert!(error.message().contains(part), "{}", error);
    }
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn bounds_are_told_with_the_callers_numbers_and_change_nothing() {
    let server = server();
    server.create("bounds", 1).unwrap();
    for options in [
        server.options("bounds"),
        server.options("bounds").cache_bytes(1 << 20),
        server.options("bounds").access(Access::Fork).cache_bytes(1 << 20),
        server.options("bounds").publish(Publish::OnFlush).cache_bytes(1 << 20),
        server.options("bounds").access(Access::Read),
    ] {
        let mut session = Session::connect(options).unwrap();
        session.read(PAGE_SIZE, &mut []).unwrap();
        for (offset, length) in [(PAGE_SIZE, 1), (PAGE_SIZE - 1, 2), (70_000, 9), (u64::MAX, 2), (u64::MAX - 1, 1)] {
            let error = session.read(offset, &mut vec![0; length]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OutOfBounds, "{}", error);
            let numbers = format!("offset={} length={} exceeds size=65536", offset, length);
            assert!(error.message().contains(&numbers), "{}", error);
            if session.access() != Access::Read {
                let error = session.write(offset, &vec![1; length]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::OutOfBounds);
                assert_eq!(session.zero(offset, length as u64).unwrap_err().kind(), ErrorKind::OutOfBounds);
            }
        }
        let mut page = vec![1; PAGE_SIZE as usize];
        session.read(0, &mut page).unwrap();
        assert!(page.iter().all(|byte| *byte == 0));
    }
}

#[test]
fn calls_larger_than_a_request_are_split() {
    let server = server();
    server.create("large", 80).unwrap();
    for cache in [0, 1 << 20] {
        for publish in [Publish::OnWrite, Publish::OnFlush] {
            let options = server.options("large").publish(publish).cache_bytes(cache);
            let mut session = Session::connect(options).unwrap();
            let length = 3 * session.request_bytes_max() + 12_345;
            let data: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            session.write(77, &data).unwrap();
            session.flush().unwrap();
            let mut back = vec![0; length];
            session.read(77, &mut back).unwrap();
            assert!(back == data);
            let mut live = Session::connect(server.options("large").access(Access::Read)).unwrap();
            back.fill(0);
            live.read(77, &mut back).unwrap();
            assert!(back == data);
            let error = live.read(4 * PAGE_SIZE, &mut vec![0; 77 * PAGE_SIZE as usize]).unwrap_err();
            assert!(error.message().contains("length=5046272 exceeds size=5242880"), "{}", error);
            session.zero(0, 80 * PAGE_SIZE).unwrap();
        }
    }
}

#[test]
fn a_transaction_is_private_until_it_is_flushed_and_gone_when_discarded() {
    let server = server();
    for (store, cache) in [("transaction", 0), ("transaction-cached", 1 << 20)] {
        server.create(store, 1).unwrap();
        let options = server.options(store).publish(Publish::OnFlush).cache_bytes(cache);
        let mut session = Session::connect(options).unwrap();
        let mut live = Session::connect(server.options(store).access(Access::Read)).unwrap();
        let mut byte = [0];
        session.write(5, b"a").unwrap();
        session.grow(1).unwrap();
        session.write(PAGE_SIZE, b"b").unwrap();
        live.read(5, &mut byte).unwrap();
        assert_eq!((byte, live.pages().unwrap()), ([0], 1));
        session.discard().unwrap();
        assert_eq!(session.pages().unwrap(), 1);
        session.read(5, &mut byte).unwrap();
        assert_eq!(byte, [0]);
        session.write(5, b"c").unwrap();
        session.grow(2).unwrap();
        session.write(2 * PAGE_SIZE + 1, b"d").unwrap();
        session.flush().unwrap();
        live.read(2 * PAGE_SIZE + 1, &mut byte).unwrap();
        assert_eq!((byte, live.pages().unwrap()), (*b"d", 3));
        session.commit().unwrap();
    }
}

#[test]
fn a_pinned_reader_moves_when_it_asks_and_drops_what_changed() {
    let server = server();
    server.create("pinned", 4).unwrap();
    let mut session = writer(&server, "pinned");
    for cache in [0, 1 << 20] {
        session.write(0, b"old").unwrap();
        session.write(2 * PAGE_SIZE, b"same").unwrap();
        let options = server.options("pinned").access(Access::Read).view(View::Pinned).cache_bytes(cache);
        let mut pinned = Session::connect(options).unwrap();
        let (mut three, mut four) = ([0; 3], [0; 4]);
        pinned.read(0, &mut three).unwrap();
        pinned.read(2 * PAGE_SIZE, &mut four).unwrap();
        let before = pinned.version().unwrap();
        session.write(0, b"new").unwrap();
        pinned.read(0, &mut three).unwrap();
        assert_eq!(&three, b"old");
        let refreshed = pinned.refresh().unwrap();
        assert!(refreshed.everything || refreshed.changed.iter().any(|range| range.offset == 0));
        assert!(refreshed.version.number > before.number);
        pinned.read(0, &mut three).unwrap();
        pinned.read(2 * PAGE_SIZE, &mut four).unwrap();
        assert_eq!((&three, &four), (b"new", b"same"));
    }
    assert_eq!(session.refresh().unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn forks_are_private_and_move_their_base_only_when_nothing_is_private() {
    let server = server();
    for (store, cache) in [("fork", 0), ("fork-cached", 1 << 20)] {
        server.create(store, 1).unwrap();
        let options = server.options(store).access(Access::Fork).cache_bytes(cache);
        let mut one = Session::connect(options.clone()).unwrap();
        let mut two = Session::connect(options).unwrap();
        one.write(9, b"1").unwrap();
        one.grow(1).unwrap();
        let mut byte = [0];
        two.read(9, &mut byte).unwrap();
        assert_eq!((byte, two.pages().unwrap()), ([0], 1));
        let mut session = writer(&server, store);
        session.write(0, b"x").unwrap();
        assert_eq!(one.refresh().unwrap_err().kind(), ErrorKind::InvalidArgument);
        two.refresh().unwrap();
        two.read(0, &mut byte).unwrap();
        assert_eq!(byte, *b"x");
        one.read(9, &mut byte).unwrap();
        assert_eq!(byte, *b"1", "a refresh that was refused left what is private");
        one.discard().unwrap();
        one.read(9, &mut byte).unwrap();
        assert_eq!((byte, one.pages().unwrap()), ([0], 1));
        one.flush().unwrap();
    }
}

#[test]
fn a_second_writer_is_told_by_whom_it_is_kept_out_and_may_wait_in_line() {
    let server = server();
    server.create("lease", 1).unwrap();
    let first = Session::connect(server.options("lease").name("the importer")).unwrap();
    let error = Session::connect(server.options("lease")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.message().contains("the importer"), "{}", error);
    let waiting = {
        let server = Arc::clone(&server);
        std::thread::spawn(move || Session::connect(server.options("lease").wait_ms(30_000)))
    };
    let mut observer = Session::connect(server.options("lease").access(Access::Read)).unwrap();
    support::wait_until(|| observer.stat().unwrap().writers_waiting == 1);
    let holder = observer.lease().unwrap().unwrap();
    assert_eq!((holder.name.as_str(), holder.epoch), ("the importer", first.epoch()));
    first.close().unwrap();
    let second = waiting.join().unwrap().unwrap();
    assert!(second.epoch() != holder.epoch && second.epoch() != 0);
    assert_eq!(observer.break_lease(holder.epoch).unwrap(), None, "that lease is over");
}

#[test]
fn who_uses_a_daemon_is_shown_and_ended() {
    let server = server();
    server.create("seen", 1).unwrap();
    let mut session = Session::connect(server.options("seen").name("the importer")).unwrap();
    session.write(0, b"abc").unwrap();
    let mut daemon = Daemon::connect(&format!("pageserver://{}", server.address())).unwrap();
    let seen = daemon.sessions("seen").unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].session_name, "the importer");
    assert_eq!((seen[0].state, seen[0].waits_for), (SessionState::Session, WaitsFor::Nothing));
    assert!(seen[0].has_lease && seen[0].bytes_written == 3);
    assert!(daemon.sessions("").unwrap().len() >= 2);
    assert_eq!(daemon.sessions("../up").unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert!(daemon.load("seen").unwrap().connections >= 2);
    assert!(session.stat().unwrap().load.is_some());
    assert_eq!(daemon.kick(seen[0].session_id, "a\nb").unwrap_err().kind(), ErrorKind::InvalidArgument);
    let (kicked, released) = daemon.kick(seen[0].session_id, "enough of it").unwrap();
    assert!(released && kicked.session_id == seen[0].session_id);
    let error = session.write(0, b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    assert!(error.message().contains("enough of it"), "{}", error);
    assert_eq!(daemon.kick(seen[0].session_id, "").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(daemon.kick_connection(u64::MAX, "").unwrap_err().kind(), ErrorKind::NotFound);
    writer(&server, "seen"); // the lease is free
}

#[test]
fn a_session_that_does_nothing_hears_that_it_is_over() {
    let server = server();
    server.create("heard", 1).unwrap();
    for cache in [0, 1 << 20] {
        let mut idle = Session::connect(server.options("heard").cache_bytes(cache)).unwrap();
        assert!(idle.lost().is_none());
        let round_trips = idle.traffic().round_trips;
        let mut other = Session::connect(server.options("heard").access(Access::Read)).unwrap();
        other.break_lease(0).unwrap().unwrap();
        support::wait_until(|| idle.lost().is_some());
        assert_eq!(idle.lost().unwrap().kind(), ErrorKind::LeaseLost);
        assert_eq!(idle.traffic().round_trips, round_trips);
        let mut daemon = Daemon::connect(&format!("pageserver://{}", server.address())).unwrap();
        assert!(other.lost().is_none());
        for report in daemon.sessions("heard").unwrap() {
            daemon.kick(report.session_id, "").unwrap();
        }
        support::wait_until(|| other.lost().is_some());
        assert_eq!(other.lost().unwrap().kind(), ErrorKind::ConnectionLost);
    }
}

#[test]
fn nothing_is_served_after_the_lease_was_broken_not_even_from_the_cache() {
    let server = server();
    server.create("broken", 1).unwrap();
    for (cache, publish) in [(0, Publish::OnWrite), (1 << 20, Publish::OnWrite), (1 << 20, Publish::OnFlush)] {
        let options = server.options("broken").publish(publish).cache_bytes(cache).name("old");
        let mut old = Session::connect(options).unwrap();
        let mut byte = [0];
        old.write(0, b"a").unwrap();
        old.read(0, &mut byte).unwrap();
        let mut other = Session::connect(server.options("broken").access(Access::Read)).unwrap();
        let broken = other.break_lease(0).unwrap().unwrap();
        assert_eq!(broken.name, "old");
        let mut new = writer(&server, "broken");
        new.write(0, b"b").unwrap();
        support::wait_until(|| old.read(0, &mut byte).is_err());
        for result in [old.read(0, &mut byte), old.write(0, b"c"), old.flush(), old.grow(1).map(|_| ())] {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::LeaseLost);
        }
        old.ping().unwrap();
        new.read(0, &mut byte).unwrap();
        assert_eq!(byte, *b"b");
        new.close().unwrap();
    }
}

#[test]
fn after_a_stop_of_the_daemon_every_call_answers_the_same_error() {
    for cache in [0, 1 << 20] {
        let server = Server::builder().daemon(support::daemon_program()).start().unwrap();
        server.create("stop", 1).unwrap();
        let options = server.options("stop").publish(Publish::OnFlush).cache_bytes(cache);
        let mut session = Session::connect(options).unwrap();
        let mut byte = [0];
        session.read(0, &mut byte).unwrap();
        drop(server);
        support::wait_until(|| session.read(0, &mut byte).is_err());
        let first = session.read(0, &mut byte).unwrap_err();
        assert_eq!(first.kind(), ErrorKind::ConnectionLost);
        for error in [
            session.write(0, b"x").unwrap_err(),
            session.flush().unwrap_err(),
            session.discard().unwrap_err(),
            session.stat().unwrap_err(),
            session.ping().unwrap_err(),
            session.pages().unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.message()), (first.kind(), first.message()));
        }
        assert_eq!(session.known_pages(), 1, "what was known last, without asking");
    }
}

#[test]
fn stores_are_listed_made_and_removed() {
    let server = Server::builder().daemon(support::daemon_program()).start().unwrap();
    let mut daemon = server.daemon().unwrap();
    daemon.ping().unwrap();
    assert!(daemon.server_name().starts_with("pageserverd"));
    for number in 0..70 {
        daemon.create(&format!("s{:02}", number), number % 3).unwrap();
    }
    let listed = daemon.list().unwrap();
    assert_eq!(listed.len(), 70);
    assert!(listed.windows(2).all(|pair| pair[0].store < pair[1].store));
    assert_eq!(listed[5].pages, 2);
    assert_eq!(daemon.create("s01", 1).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(daemon.create("../x", 1).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(daemon.remove("nobody").unwrap_err().kind(), ErrorKind::NotFound);
    let session = writer(&server, "s01");
    assert_eq!(daemon.remove("s01").unwrap_err().kind(), ErrorKind::Busy);
    session.close().unwrap();
    daemon.remove("s01").unwrap();
    assert_eq!(daemon.list().unwrap().len(), 69);
    let error = Session::connect(server.options("s01")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn data_ranges_name_what_is_not_zero() {
    let server = server();
    server.create("ranges", 100).unwrap();
    for cache in [0, 1 << 20] {
        let options = server.options("ranges").access(Access::Fork).cache_bytes(cache);
        let mut session = Session::connect(options).unwrap();
        session.write(50 * PAGE_SIZE + 3, b"x").unwrap();
        let ranges = session.data_ranges(0, 100 * PAGE_SIZE).unwrap();
        let at = 50 * PAGE_SIZE + 3;
        assert!(ranges.iter().any(|range| range.offset <= at && at < range.offset + range.length));
        assert!(ranges.iter().map(|range| range.length).sum::<u64>() <= 2 * PAGE_SIZE);
        assert!(session.data_ranges(0, 0).unwrap().is_empty());
        assert_eq!(session.data_ranges(1, 100 * PAGE_SIZE).unwrap_err().kind(), ErrorKind::OutOfBounds);
    }
}

// In a process of its own, since its environment is changed.
#[test]
fn a_server_tells_no_service_manager() {
    if std::env::var_os("NOTIFY_SOCKET").is_some() {
        Server::builder().daemon(support::daemon_program()).start().unwrap();
        return;
    }
    let path = std::env::temp_dir().join(format!("pageserver-notify-{}", std::process::id()));
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_nonblocking(true).unwrap();
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_server_tells_no_service_manager"])
        .env("NOTIFY_SOCKET", &path)
        .status();
    std::fs::remove_file(&path).unwrap();
    assert!(status.unwrap().success());
    let said = manager.recv(&mut [0; 100]).unwrap_err();
    assert_eq!(said.kind(), std::io::ErrorKind::WouldBlock);
}
