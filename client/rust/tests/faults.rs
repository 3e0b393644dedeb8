//! Against a real daemon: faults on order, in a URI and by a call.

#![cfg(unix)]

use pageserver::testing::Server;
use pageserver::{Daemon, ErrorKind, Result, Session};
use std::time::{Duration, Instant};

fn uri(server: &Server, query: &str) -> String {
    let mut daemon = Daemon::connect(&format!("pageserver://{}", server.address())).unwrap();
    let store = format!("s{}", daemon.list().unwrap().len());
    daemon.create(&store, 1).unwrap();
    format!("pageserver://{}/{}?{}", server.address(), store, query)
}

#[test]
fn a_session_is_struck_by_what_it_orders_and_hears_how_often() {
    let server = Server::builder().argument("--allow-faults").start().unwrap();
    for cache in ["", "&cache_bytes=1MiB"] {
        let mut session =
            Session::open(&uri(&server, &format!("faults=write:2:no_space,flush:cut=before{}", cache))).unwrap();
        session.write(0, b"one").unwrap();
        let error = session.write(0, b"two").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert!(error.to_string().contains("a fault on order (write:2:no_space)"), "{}", error);
        let found = session.faults().unwrap();
        assert_eq!((found[0].order.as_str(), found[0].seen, found[0].struck), ("write:2:no_space", 2, 1));
        assert_eq!(found[1].struck, 0);
        assert_eq!(session.clear_faults().unwrap().len(), 2);
        session.flush().unwrap();
        let error = session.order_faults("read:boom").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("at byte 5: \"boom\""), "{}", error);
        assert_eq!(session.order_faults("write:cut=after").unwrap().len(), 1);
        assert_eq!(session.write(0, b"xyz").unwrap_err().kind(), ErrorKind::ConnectionLost);
    }
}

#[test]
fn a_daemon_that_was_not_started_for_it_takes_no_orders() {
    let server = Server::builder().start().unwrap();
    let error = Session::open(&uri(&server, "faults=read:hang")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("--allow-faults"), "{}", error);
}

/// How a walk opens its session.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Form {
    query: &'static str,
    writes: bool,
    publishes_at_once: bool,
}

const FORMS: [Form; 6] = [
    Form { query: "", writes: true, publishes_at_once: true },
    Form { query: "&cache_bytes=1MiB", writes: true, publishes_at_once: true },
    Form { query: "&publish=on_flush", writes: true, publishes_at_once: false },
    Form { query: "&publish=on_flush&cache_bytes=1MiB", writes: true, publishes_at_once: false },
    Form { query: "&access=fork", writes: false, publishes_at_once: false },
    Form { query: "&access=fork&cache_bytes=1MiB", writes: false, publishes_at_once: false },
];

fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + seed * 7 + 1) as u8).collect()
}

/// One workload, and what its session and others must see.
struct Walk {
    session: Session,
    form: Form,
    seen: Vec<u8>,
    published: Vec<u8>,
    /// It may have been published before the connection was lost.
    doubtful: Option<Vec<u8>>,
    over: bool,
    failures: u32,
}

impl Walk {
    /// `after`: what the session sees once the call has taken effect.
    fn attempt(&mut self, after: Vec<u8>, publishes: bool, call: impl FnOnce(&mut Session) -> Result<()>) {
        if self.over {
            return;
        }
        let began = Instant::now();
        match call(&mut self.session) {
            Ok(()) => {
                self.seen = after;
                if publishes {
                    self.published = self.seen.clone();
                }
            }
            Err(error) => {
                assert!(error.message().len() > 10, "{}", error);
                self.failures += 1;
                self.over =
                    error.is_sticky() || matches!(error.kind(), ErrorKind::LeaseLost | ErrorKind::SnapshotTooOld);
                if error.is_sticky() {
                    if publishes {
                        self.doubtful = Some(after);
                    }
                    let again = self.session.write(0, b"x").unwrap_err();
                    assert_eq!(again.message(), error.message());
                }
            }
        }
        assert!(began.elapsed() < Duration::from_secs(15));
    }

    fn change(&mut self, offset: usize, data: &[u8], call: impl FnOnce(&mut Session) -> Result<()>) {
        if offset + data.len() <= self.seen.len() {
            let mut after = self.seen.clone();
            after[offset..offset + data.len()].copy_from_slice(data);
            self.attempt(after, self.form.publishes_at_once, call);
        }
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        self.change(offset, data, |session| session.write(offset as u64, data));
    }

    fn read(&mut self, offset: usize, length: usize) {
        let expected = self.seen[offset..offset + length].to_vec();
        self.attempt(self.seen.clone(), false, |session| {
            let mut found = vec![0; length];
            session.read(offset as u64, &mut found)?;
            assert!(found == expected, "offset {}", offset);
            Ok(())
        });
    }

    fn grow(&mut self) {
        let mut after = self.seen.clone();
        after.resize(after.len() + PAGE, 0);
        let pages = (self.seen.len() / PAGE) as u64;
        self.attempt(after, self.form.publishes_at_once, |session| {
            assert_eq!(session.grow(1)?, pages);
            Ok(())
        });
    }

    fn run(&mut self) {
        for round in 0..2 {
            self.read(10, 100);
            self.write(PAGE + 50 + 100 * round, &pattern(64, 7 + round));
            self.write(2 * PAGE - 40, &pattern(40, 9 + round));
            self.read(PAGE, 1000);
            self.grow();
            self.write(self.seen.len() - 100, &pattern(100, 11 + round));
            self.change(20, &[0; 30], |session| session.zero(20, 30));
            self.attempt(self.seen.clone(), self.form.writes, |session| session.flush());
            self.write(5, &pattern(3, 13 + round));
            if round == 0 && self.form.query.contains("on_flush") {
                self.attempt(self.published.clone(), false, |session| session.discard());
            }
            self.read(0, self.seen.len());
        }
        self.attempt(self.seen.clone(), self.form.writes, |session| session.flush());
    }
}

const PAGE: usize = 65_536;

/// One fault at each request of the workload in turn, until it strikes none any more.
fn walk_all(server: &Server, fault: &str, form: Form, stores: &str) {
    let what = match fault {
        "lost" if form.writes => "lease_lost",
        "lost" => "snapshot_too_old",
        other => other,
    };
    let mut failed = 0;
    for number in 1.. {
        assert!(number < 200);
        let place = format!("{:?}, any:{}:{}", form, number, what);
        let store = format!("{}-{}", stores, number);
        let content = pattern(2 * PAGE, 1);
        server.build(&store, |session| session.grow(2).and_then(|_| session.write(0, &content))).unwrap();
        let timeout = if fault == "hang" { "80ms" } else { "20s" };
        let uri = format!("pageserver://{}/{}?wait_ms=10000&request_timeout={}", server.address(), store, timeout);
        let session = Session::open(&format!("{}&faults=any:{}:{}{}", uri, number, what, form.query)).unwrap();
        let mut walk =
            Walk { session, form, seen: content.clone(), published: content, doubtful: None, over: false, failures: 0 };
        walk.run();
        failed += u32::from(walk.failures > 0);
        let struck = walk.failures > 0 || walk.session.faults().map_or(true, |all| all[0].struck > 0);
        let (published, doubtful) = (walk.published.clone(), walk.doubtful.take());
        drop(walk);
        let mut reader = Session::open(&format!("{}&access=read", uri)).unwrap();
        let mut found = vec![0; reader.size().unwrap() as usize];
        reader.read(0, &mut found).unwrap();
        assert!(found == published || doubtful.map_or(false, |doubtful| found == doubtful), "{}", place);
        if struck {
            continue;
        }
        // Each request was struck once, and each fault that is one was noticed.
        assert!(number > if fault == "sync_failed" { 2 } else { 4 }, "{}", place);
        match fault {
            "delay=1ms" | "drip=16KiB" => assert_eq!(failed, 0, "{}", place),
            // A fork in a cache that has lost its version needs it no more, once all is there.
            "lost" => assert!(failed >= 1, "{}", place),
            _ => assert!(failed >= number / 2, "{} of {}: {}", failed, number, place),
        }
        break;
    }
}

#[test]
fn at_each_request_of_a_workload_each_fault_in_turn_and_never_a_wrong_byte_or_a_hang() {
    let server = &Server::builder().argument("--allow-faults").start().unwrap();
    let faults = [
        "delay=1ms",
        "no_space",
        "status=provider_error",
        "cut=before",
        "cut=after",
        "torn",
        "torn=7",
        "drip=16KiB",
        "lost",
        "sync_failed",
        "hang",
    ];
    // Most of the time they wait.
    std::thread::scope(|scope| {
        for (number, form) in FORMS.iter().enumerate() {
            scope.spawn(move || {
                for (kind, fault) in faults.iter().enumerate() {
                    // A fork has nothing to sync, and its client does not ask.
                    if *fault != "sync_failed" || form.writes {
                        walk_all(server, fault, *form, &format!("w{}-{}", number, kind));
                    }
                }
            });
        }
    });
}

#[test]
fn with_resume_a_connection_that_a_fault_cuts_is_made_again_and_each_request_is_carried_out_once() {
    let server = Server::builder().argument("--allow-faults").start().unwrap();
    for (index, order) in ["1:cut=before", "always:cut=after", "always:torn", "always:torn=7"].iter().enumerate() {
        let store = format!("r{}", index);
        server.create(&store, 1).unwrap();
        let uri = format!("pageserver://{}/{}?resume=20&faults=grow:{}", server.address(), store, order);
        let mut session = Session::open(&uri).unwrap();
        for pages in 1..5 {
            assert_eq!(session.grow(1).unwrap(), pages, "{}", order);
        }
        let found = &session.faults().unwrap()[0];
        assert_eq!(found.struck, if order.starts_with('1') { 1 } else { 4 }, "{}", order);
    }
}
