//! Sessions that outlive their connection: whatever is cut, each request is carried out once, and answered.

#![cfg(unix)]

mod support;

use pageserver::testing::Server;
use pageserver::{Access, ErrorKind, Options, Publish, Result, Session, View};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use support::proxy::{Plan, Proxy};
use support::{daemon_program, server};

const PATIENCE: Duration = Duration::from_secs(20);

fn options(proxy: &Proxy, store: &str) -> Options {
    proxy.options(store).resume(PATIENCE).poll_us(Some(0)).wait_ms(20_000)
}

/// Grows, so that what is done twice, or not at all, shows in the numbers: `pages` is how many there are before.
fn workload(mut session: Session, pages: &mut u64) -> Result<()> {
    let mut next = || {
        *pages += 1;
        *pages - 1
    };
    assert_eq!(session.grow(1)?, next());
    let expected = [next(), next(), next()];
    let mut seen = [0; 8];
    {
        let mut pipeline = session.pipeline()?;
        pipeline.grow(1)?;
        pipeline.write(0, b"one more")?;
        pipeline.read(0, &mut seen)?;
        pipeline.grow(1)?;
        pipeline.write(0, b"too late")?;
        pipeline.grow(1)?;
        let mut grown = Vec::new();
        while let Some(done) = pipeline.next()? {
            done.result?;
            if [0, 3, 5].contains(&done.ticket) {
                grown.push(done.value);
            }
        }
        assert_eq!(grown, expected);
    }
    assert_eq!(&seen, b"one more");
    session.write(8, &[7; 5000])?;
    session.flush()?;
    let mut back = [0; 5008];
    session.read(0, &mut back)?;
    assert_eq!(&back[..8], b"too late");
    assert!(back[8..].iter().all(|byte| *byte == 7));
    session.close()
}

#[test]
fn a_session_that_resumes_does_all_of_it_once_wherever_its_connection_is_cut() {
    let proxy = Proxy::start(&server());
    let store = "cut-anywhere";
    server().build(store, |session| session.grow(1).map(|_| ())).unwrap();
    for (publish, cache_bytes) in [(Publish::OnWrite, 0), (Publish::OnFlush, 0), (Publish::OnFlush, 1 << 20)] {
        let options = options(&proxy, store).publish(publish).cache_bytes(cache_bytes);
        let mut pages = Session::connect(options.clone()).unwrap().known_pages();
        proxy.plan(Plan::Pass);
        workload(Session::connect(options.clone()).unwrap(), &mut pages).unwrap();
        let (out, back) = proxy.passed();
        assert!(out > 400 && back > 400, "{} {}", out, back);
        // Frames have lengths that are multiples of 8, so that these fall anywhere.
        let step = if (publish, cache_bytes) == (Publish::OnWrite, 0) { 11 } else { 47 };
        let cuts = (0..out).step_by(step).map(|at| (at, u64::MAX));
        for (to_daemon, to_client) in cuts.chain((0..back).step_by(step).map(|at| (u64::MAX, at))) {
            proxy.plan(Plan::CutOnce { to_daemon, to_client });
            let session = Session::connect(options.clone());
            let done = session.and_then(|session| workload(session, &mut pages));
            assert!(done.is_ok(), "cut at {} {}: {}", to_daemon, to_client, done.unwrap_err());
        }
        assert_eq!(Session::connect(options).unwrap().known_pages(), pages);
    }
}

#[test]
fn private_bytes_leases_and_pins_are_there_after_the_connection_was_lost_many_times() {
    let proxy = Proxy::start(&server());
    let store = "private";
    server().build(store, |session| session.grow(1).and_then(|_| session.write(0, b"old"))).unwrap();
    let mut pinned = Session::connect(options(&proxy, store).access(Access::Read).view(View::Pinned)).unwrap();
    let mut fork = Session::connect(options(&proxy, store).access(Access::Fork)).unwrap();
    let mut writer = Session::connect(options(&proxy, store).publish(Publish::OnFlush)).unwrap();
    writer.write(0, b"new").unwrap();
    fork.write(0, b"own").unwrap();
    let mut seen = [0; 3];
    for _ in 0..5 {
        proxy.cut();
        for (session, bytes) in [(&mut pinned, b"old"), (&mut fork, b"own"), (&mut writer, b"new")] {
            assert!(session.lost().is_none());
            session.read(0, &mut seen).unwrap();
            assert_eq!(&seen, bytes);
        }
    }
    proxy.cut();
    writer.flush().unwrap();
    proxy.cut();
    pinned.refresh().unwrap();
    pinned.read(0, &mut seen).unwrap();
    assert_eq!(&seen, b"new");
    assert!(writer.epoch() != 0);
}

#[test]
fn a_daemon_that_says_nothing_is_given_up_once_and_the_answer_comes_over_the_next_connection() {
    let proxy = Proxy::start(&server());
    server().build("silent", |session| session.grow(1).map(|_| ())).unwrap();
    let mut session = Session::connect(options(&proxy, "silent").request_timeout(Duration::from_millis(300))).unwrap();
    proxy.stall_those_here();
    assert_eq!(session.grow(1).unwrap(), 1);
    assert_eq!(session.pages().unwrap(), 2);
}

#[test]
fn what_is_over_is_said_with_what_is_known_to_be_done() {
    let proxy = Proxy::start(&server());
    server().build("gone", |session| session.grow(1).map(|_| ())).unwrap();
    let connect = |seconds| {
        Session::connect(options(&proxy, "gone").access(Access::Fork).resume(Duration::from_secs(seconds))).unwrap()
    };
    // Ended by an operator.
    let mut kicked = connect(20);
    server().daemon().unwrap().kick(kicked.id(), "the test says so").unwrap();
    let error = kicked.write(0, b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    assert!(error.message().contains("the test says so"), "{}", error);
    // Another daemon in its place knows nothing of it.
    let mut forgotten = connect(20);
    let other = Server::builder().daemon(daemon_program()).start().unwrap();
    other.create("gone", 1).unwrap();
    proxy.lead_to(&other);
    proxy.cut();
    let error = forgotten.write(0, b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    assert!(error.message().contains("resume=20s did not help"), "{}", error);
    assert!(error.message().contains("none is known to be done"), "{}", error);
    assert_eq!(forgotten.write(0, b"x").unwrap_err().message(), error.message());
    // A close wants no more than that.
    let closed = connect(20);
    proxy.lead_to(&server());
    proxy.cut();
    closed.close().unwrap();
    // Nobody is there any more.
    let mut alone = connect(1);
    proxy.close();
    proxy.cut();
    let error = alone.write(0, b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    assert!(error.message().contains("resume=1s did not help"), "{}", error);
    drop(alone);
}

#[test]
fn resume_needs_an_address_and_at_most_a_day() {
    let options = Options::unix(server().socket(), "base").resume(Duration::from_secs(1));
    let stream = UnixStream::connect(server().socket()).unwrap();
    let error = Session::over(stream, options.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("resume needs an address"), "{}", error);
    let error = Session::connect(options.resume(Duration::from_secs(86_401))).unwrap_err();
    assert!(error.message().contains("resume=86401s exceeds 86400s"), "{}", error);
}
