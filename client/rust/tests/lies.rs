//! Daemons that lie, each with one lie: those of `tests/unit/client/lies.hpp`, which all clients hear, told by the program
//! `lying_daemon`.

mod support;

use pageserver::{Daemon, Error, Result, Session, PAGE_SIZE};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const PAGES: u64 = 4;

struct Lie {
    port: String,
    query: String,
    /// "-": it does no harm.
    kind: String,
    text: String,
    name: String,
}

struct Liars {
    child: Child,
    lies: Vec<Lie>,
}

impl Liars {
    fn start() -> Liars {
        let program = support::daemon_program().with_file_name("lying_daemon");
        let program = std::env::var_os("PAGESERVER_LYING_DAEMON").map_or(program, Into::into);
        let mut child = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {}; build lying_daemon first", program.display(), error));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
        let lies = lines
            .take_while(|line| !line.is_empty())
            .map(|line| {
                let mut fields = line.split('\t').map(str::to_owned);
                let mut next = || fields.next().expect("a field is missing");
                Lie { port: next(), query: next(), kind: next(), text: next(), name: next() }
            })
            .collect();
        Liars { child, lies }
    }
}

impl Drop for Liars {
    fn drop(&mut self) {
        // It ends with its standard input.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn byte_at(offset: u64) -> u8 {
    (offset % 251) as u8 + 1
}

fn expect(session: &mut Session, offset: u64, length: usize) -> Result<()> {
    let mut seen = vec![0; length];
    session.read(offset, &mut seen)?;
    for (at, byte) in seen.iter().enumerate() {
        assert_eq!(*byte, byte_at(offset + at as u64), "offset {}", offset + at as u64);
    }
    Ok(())
}

fn all_that_a_session_does(session: &mut Session, reader: bool) -> Result<()> {
    expect(session, 100, 8)?;
    expect(session, PAGE_SIZE - 150, 300)?;
    if !reader {
        session.write(2 * PAGE_SIZE, b"private")?;
        assert_eq!(session.grow(1)?, PAGES);
        let mut seen = [0; 8];
        session.read(2 * PAGE_SIZE - 4, &mut seen)?;
        assert_eq!((seen[3], &seen[4..]), (byte_at(2 * PAGE_SIZE - 1), &b"priv"[..]));
        session.zero(2 * PAGE_SIZE + 50, 20)?;
    }
    session.data_ranges(0, PAGE_SIZE)?;
    session.stat()?;
    if reader {
        session.refresh()?;
    } else {
        session.write(2 * PAGE_SIZE + 128, b"more")?;
    }
    session.flush()?;
    if !reader {
        session.discard()?;
    }
    expect(session, 0, 8)
}

/// What the first call that fails answers, and what every later one does then.
fn listen(lie: &Lie) -> Result<()> {
    let daemon = format!("pageserver://127.0.0.1:{}", lie.port);
    if lie.query == "list" {
        return Daemon::connect(&daemon)?.list().map(|_| ());
    }
    let mut session = Session::open(&format!("{}/demo?{}&poll_us=0", daemon, lie.query))?;
    let result = all_that_a_session_does(&mut session, lie.query.contains("access=read"));
    if let Err(error) = &result {
        if error.is_sticky() || lie.kind == "lease_lost" {
            for _ in 0..2 {
                let again = session.read(0, &mut [0]).unwrap_err();
                assert_eq!((again.kind(), again.message()), (error.kind(), error.message()), "{}", lie.name);
            }
        }
    }
    result
}

#[test]
fn each_lie_of_a_daemon_is_a_clear_error_and_never_a_wrong_byte() {
    let liars = Liars::start();
    let mut wrong = Vec::new();
    for lie in &liars.lies {
        let heard = listen(lie);
        let kind = heard.as_ref().map_or_else(|error: &Error| error.kind().to_string(), |()| "-".to_owned());
        let message = heard.err().map_or(String::new(), |error| error.message().to_owned());
        if kind != lie.kind || !message.contains(&lie.text) {
            wrong.push(format!(
                "{} ({}): {}: {}, expected {}: ...{}",
                lie.name, lie.query, kind, message, lie.kind, lie.text
            ));
        }
    }
    assert!(liars.lies.len() > 80, "only {} lies were told", liars.lies.len());
    assert!(wrong.is_empty(), "{} lies were taken in another way:\n{}", wrong.len(), wrong.join("\n"));
}
