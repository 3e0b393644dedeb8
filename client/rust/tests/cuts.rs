//! A connection that is cut at each byte, and a daemon whose answers are changed on the way.

#![cfg(unix)]

mod support;

use pageserver::{Access, ErrorKind, Publish, Result, Session, PAGE_SIZE};
use support::proxy::{Plan, Proxy};
use support::server;

const PAGES: u64 = 3;

/// What a byte of the store `base` is; never 0.
fn byte_at(offset: u64) -> u8 {
    (offset % 251) as u8 + 1
}

fn expect(offset: u64, bytes: &[u8]) {
    for (at, byte) in bytes.iter().enumerate() {
        assert_eq!(*byte, byte_at(offset + at as u64), "offset {}", offset + at as u64);
    }
}

/// A bit of everything, with small answers so that there are few bytes to cut at. What it reads is checked.
fn workload(mut session: Session) -> Result<()> {
    let mut small = [0; 8];
    session.read(100, &mut small)?;
    expect(100, &small);
    let mut bytes = [0; 300];
    session.read(PAGE_SIZE - 150, &mut bytes)?;
    expect(PAGE_SIZE - 150, &bytes);
    session.write(2 * PAGE_SIZE, b"private")?;
    assert_eq!(session.grow(1)?, PAGES);
    session.zero(2 * PAGE_SIZE + 50, 20)?;
    session.read(2 * PAGE_SIZE - 4, &mut small)?;
    expect(2 * PAGE_SIZE - 4, &small[..4]);
    assert_eq!(&small[4..], b"priv");
    let mut first = [0; 20];
    let mut second = [0; 20];
    {
        let mut pipeline = session.pipeline()?;
        pipeline.read(0, &mut first)?;
        pipeline.write(3 * PAGE_SIZE, b"more")?;
        pipeline.read(500, &mut second)?;
        pipeline.finish()?;
    }
    expect(0, &first);
    expect(500, &second);
    session.data_ranges(0, PAGE_SIZE)?;
    session.stat()?;
    session.ping()?;
    session.flush()?;
    session.discard()?;
    assert_eq!(session.pages()?, PAGES);
    session.close()
}

fn base() -> Proxy {
    let server = server();
    server
        .build("base", |session| {
            session.grow(PAGES)?;
            let data: Vec<u8> = (0..PAGES * PAGE_SIZE).map(byte_at).collect();
            session.write(0, &data)
        })
        .unwrap();
    Proxy::start(&server)
}

/// Opens through the proxy and runs the workload, on a fork: whatever is cut, the store stays as it is.
fn run(proxy: &Proxy, cache_bytes: u64) -> Result<()> {
    let options = proxy.options("base").access(Access::Fork).cache_bytes(cache_bytes).poll_us(Some(0));
    workload(Session::connect(options)?)
}

#[test]
fn a_connection_cut_at_each_byte_ends_in_a_clear_error_and_never_in_a_wrong_byte() {
    let proxy = base();
    proxy.plan(Plan::Pass);
    run(&proxy, 0).unwrap();
    let (out, back) = proxy.passed();
    assert!(out > 400 && back > 900, "{} {}", out, back);
    let cuts = (0..out).map(|at| (at, u64::MAX)).chain((0..back).map(|at| (u64::MAX, at)));
    let mut lost = 0;
    for (to_daemon, to_client) in cuts {
        proxy.plan(Plan::Cut { to_daemon, to_client });
        match run(&proxy, 0) {
            // The answer to close is the last; whether it is cut shows, but what is cut behind it does not.
            Ok(()) => assert!(to_daemon == u64::MAX && to_client == back, "cut at {} {}", to_daemon, to_client),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionLost, "cut at {} {}: {}", to_daemon, to_client, error);
                assert!(error.message().contains("closed the connection"), "{}", error);
                lost += 1;
            }
        }
    }
    assert_eq!(lost, out + back);
}

#[test]
fn a_cached_session_cut_at_many_places_never_answers_a_wrong_byte() {
    let proxy = base();
    proxy.plan(Plan::Pass);
    run(&proxy, 1 << 20).unwrap();
    let (out, back) = proxy.passed();
    // Pages come whole: each byte of the frames around them, and some within.
    let cuts = (0..out).map(|at| (at, u64::MAX)).chain((0..back).step_by(431).map(|at| (u64::MAX, at)));
    for (to_daemon, to_client) in cuts {
        proxy.plan(Plan::Cut { to_daemon, to_client });
        let error = run(&proxy, 1 << 20).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionLost, "cut at {} {}: {}", to_daemon, to_client, error);
    }
}

/// The bytes of a flipped read can't be told from others, so this workload looks at none: it must end, in whatever way,
/// without a panic, and after an error of the connection every further call must fail.
#[test]
fn a_daemon_that_lies_is_answered_with_errors_and_never_a_panic() {
    let proxy = base();
    let server = server();
    server.create("lies", 2).unwrap();
    let (mut whole, mut refused) = (0, 0);
    for seed in 0..1_500 {
        proxy.plan(Plan::Lie { after: if seed % 2 == 0 { 0 } else { 130 }, seed });
        let cache = if seed % 3 == 0 { 1 << 20 } else { 0 };
        let options = proxy.options("lies").access(Access::Fork).cache_bytes(cache).poll_us(Some(0));
        // A length that was made larger is waited for in vain.
        let options = options.request_timeout(std::time::Duration::from_millis(30));
        let options = options.connect_timeout(std::time::Duration::from_millis(30));
        let result = Session::connect(options).and_then(|mut session| lied_to(&mut session).map(|()| session));
        match result {
            Ok(_) => whole += 1,
            Err(error) => {
                assert!(!error.message().is_empty());
                refused += 1;
            }
        }
    }
    assert!(refused > 1_000, "{} of the lies were found, {} not", refused, whole);
}

fn lied_to(session: &mut Session) -> Result<()> {
    let mut page = vec![0; 5_000];
    let check = |session: &mut Session, result: Result<()>| match result {
        Err(error) if error.is_sticky() => {
            let again = session.read(0, &mut [0]).unwrap_err();
            assert_eq!((again.kind(), again.message()), (error.kind(), error.message()));
            Err(error)
        }
        _ => Ok(()),
    };
    for round in 0..3u64 {
        let result = session.read(round * 100, &mut page);
        check(session, result)?;
        let result = session.write(round * 1_000, &page[..100]);
        check(session, result)?;
        let result = session.grow(round).map(|_| ());
        check(session, result)?;
        let result = session.stat().map(|_| ());
        check(session, result)?;
        let result = session.data_ranges(0, 2 * PAGE_SIZE).map(|_| ());
        check(session, result)?;
        let result = session.refresh().map(|_| ());
        check(session, result)?;
        let result = session.discard();
        check(session, result)?;
        let result = session.break_lease(7).map(|_| ());
        check(session, result)?;
        let result = session.ping().map(|_| ());
        check(session, result)?;
    }
    Ok(())
}

#[test]
fn a_writer_that_is_cut_inside_a_flush_has_published_all_or_nothing() {
    let server = server();
    let proxy = Proxy::start(&server);
    for (store, cache) in [("all-or-nothing", 0), ("all-or-nothing-cached", 1 << 20)] {
        server.create(store, 2).unwrap();
        let round = |round: u8| -> Result<()> {
            let options = proxy.options(store).publish(Publish::OnFlush).cache_bytes(cache).wait_ms(10_000);
            let mut session = Session::connect(options.poll_us(Some(0)))?;
            session.write(10, &[round; 4])?;
            session.write(PAGE_SIZE + 10, &[round; 4])?;
            session.flush()?;
            session.close()
        };
        proxy.plan(Plan::Pass);
        round(1).unwrap();
        let (out, back) = proxy.passed();
        let mut last = 1;
        let cuts = (0..out).map(|at| (at, u64::MAX)).chain((0..back).map(|at| (u64::MAX, at)));
        for (count, (to_daemon, to_client)) in cuts.enumerate() {
            let mark = (count % 200) as u8 + 2;
            proxy.plan(Plan::Cut { to_daemon, to_client });
            let _ = round(mark);
            // The lease is free once the daemon has done with what came.
            Session::connect(server.options(store).wait_ms(30_000)).unwrap().close().unwrap();
            let mut reader = Session::connect(server.options(store).access(Access::Read)).unwrap();
            let (mut first, mut second) = ([0; 4], [0; 4]);
            reader.read(10, &mut first).unwrap();
            reader.read(PAGE_SIZE + 10, &mut second).unwrap();
            assert_eq!(first, second, "cut at {} {}", to_daemon, to_client);
            assert!(first == [mark; 4] || first == [last; 4], "cut at {} {}", to_daemon, to_client);
            last = first[0];
        }
    }
}
