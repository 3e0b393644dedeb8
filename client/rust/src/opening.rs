//! How a session comes about: connected, greeted, opened.

use crate::connection::{Connection, ConnectionOptions};
use crate::dial;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Options;
use crate::page_cache::PageCache;
use crate::protocol::{Access, Answer, OpenAnswer, Operation, Request, Status, Version, FEATURE_RESTART};
use crate::resume::Resume;
use crate::session::{check_pages, ping, unexpected, Session};
use crate::transport::{Plain, Transport};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// From one attempt to open a session that is to be resumed to the next.
const PAUSE_BETWEEN_OPENS: Duration = Duration::from_millis(20);
/// From one round over several hosts to the next, at most.
const PAUSE_BETWEEN_HOSTS_MAX: Duration = Duration::from_millis(200);

impl Session {
    /// Opens what `uri` names: see [`Options::from_uri`].
    pub fn open(uri: &str) -> Result<Session> {
        Session::connect(Options::from_uri(uri)?)
    }

    /// Connects, says hello and opens the session. Fails with `busy` (someone else writes; the text names them),
    /// `not_found`, `timed_out`, `connection_lost` (nobody listens), `protocol_error`, `unsupported`, `limit_exceeded`
    /// or `invalid_argument`.
    pub fn connect(options: Options) -> Result<Session> {
        let options = options.checked()?;
        let began = Instant::now();
        if !options.others.is_empty() {
            return Session::connect_to_one(options, began);
        }
        let dial = |deadline| dial::connect(&options.endpoint, &options.tls, deadline);
        if options.resume.is_zero() {
            let stream = dial(began + options.connect_timeout)?;
            return Session::begin(stream, options, began);
        }
        // A connection that is lost before the session is there is made again: nothing was done over it.
        let last = began + options.resume.max(options.connect_timeout);
        let mut is_first = true;
        loop {
            let stream = dial(if is_first { began + options.connect_timeout } else { last })?;
            let error = match Session::begin(stream, options.clone(), Instant::now()) {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            let again = match error.kind() {
                ErrorKind::ConnectionLost => true,
                // The daemon may not know yet that the connection before is lost, which has the lease then.
                ErrorKind::Busy => !is_first,
                _ => false,
            };
            if !again || Instant::now() + PAUSE_BETWEEN_OPENS >= last {
                return Err(error);
            }
            is_first = false;
            std::thread::sleep(PAUSE_BETWEEN_OPENS);
        }
    }

    /// To the first of several hosts that serves the store.
    fn connect_to_one(options: Options, began: Instant) -> Result<Session> {
        let deadline = began + options.connect_timeout;
        let mut pause = PAUSE_BETWEEN_OPENS;
        loop {
            let mut tried = String::new();
            let mut kind = ErrorKind::ConnectionLost;
            let mut is_served = false; // by one of them, or will be
            for at in 0..=options.others.len() {
                let one = options.beginning_at(at);
                let left = deadline.saturating_duration_since(Instant::now());
                let share = left / (options.others.len() - at + 1) as u32;
                let mut refusal = None;
                let opened =
                    dial::connect(&one.endpoint, &one.tls, Instant::now() + share.max(Duration::from_millis(1)))
                        .and_then(|stream| Session::begin_noting(stream, one, Instant::now(), &mut refusal));
                let error = match opened {
                    Ok(session) => return Ok(session),
                    Err(error) => error,
                };
                let lost =
                    matches!(error.kind(), ErrorKind::ConnectionLost | ErrorKind::TimedOut | ErrorKind::LimitExceeded);
                let elsewhere = matches!(refusal, Some(Status::SERVED_ELSEWHERE) | Some(Status::STOPPING));
                if !lost && !elsewhere && refusal != Some(Status::NOT_FOUND) {
                    return Err(error);
                }
                // Of a host that answers.
                if !lost || elsewhere {
                    kind = error.kind();
                }
                is_served |= elsewhere;
                tried.push_str(if tried.is_empty() { "" } else { "; " });
                tried.push_str(error.message());
            }
            if !is_served || Instant::now() + pause >= deadline {
                return Err(Error::new(kind, format!("none of the hosts serves the store: {}", tried)));
            }
            std::thread::sleep(pause);
            pause = (2 * pause).min(PAUSE_BETWEEN_HOSTS_MAX);
        }
    }

    /// As [`connect`](Session::connect), over a stream that is connected already: a tunnel, TLS, a socket of another
    /// kind. What the options say about the daemon's address is for messages only. Such a stream is read and written
    /// as it is: its own timeouts are what ends a wait (see [`connect_over`](Session::connect_over)).
    pub fn over<T: Read + Write + Send + 'static>(stream: T, options: Options) -> Result<Session> {
        Session::connect_over(Box::new(Plain(stream)), options)
    }

    /// As [`over`](Session::over), for a stream that can be told how long to wait.
    pub fn connect_over(stream: Box<dyn Transport>, options: Options) -> Result<Session> {
        let options = options.checked()?;
        if !options.resume.is_zero() {
            let text = "resume needs an address to connect to again: use Session::connect, or leave it out";
            let uri = options.endpoint.uri(&options.store);
            return Err(Error::new(ErrorKind::InvalidArgument, format!("{}: open: {}", uri, text)));
        }
        Session::begin(stream, options, Instant::now())
    }

    pub(crate) fn begin(stream: Box<dyn Transport>, options: Options, began: Instant) -> Result<Session> {
        Session::begin_noting(stream, options, began, &mut None)
    }

    /// `refusal`: how the daemon refused to open the session.
    fn begin_noting(
        stream: Box<dyn Transport>,
        options: Options,
        began: Instant,
        refusal: &mut Option<Status>,
    ) -> Result<Session> {
        let deadline = began + options.connect_timeout;
        let context = options.endpoint.uri("");
        let connection = Connection::new(stream, &ConnectionOptions::of(&options, deadline, context))?;
        let cache = options.has_cache().then(|| Box::new(PageCache::new(options.cache_bytes)));
        let mut session = Session {
            connection,
            options,
            opened: OpenAnswer::default(),
            pages: 0,
            pages_known: false,
            unsent_pages: 0,
            held: Version::default(),
            cache,
            refused: None,
        };
        session.connection.name_store(session.options.endpoint.uri(&session.options.store));
        match session.send_open(deadline) {
            Ok(()) => Ok(session),
            Err(error) => {
                *refusal = session.connection.open_refusal;
                Err(error)
            }
        }
    }

    fn send_open(&mut self, deadline: Instant) -> Result<()> {
        let options = &self.options;
        let wait_ms = if options.access == Access::Write { options.wait_ms } else { 0 };
        let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(u64::from(wait_ms));
        let timeout = self.connection.set_request_timeout(left.max(Duration::from_millis(1)));
        let opened = self.connection.call(
            &Request::Open {
                access: options.access,
                view: options.view,
                publish: options.publish,
                wait_ms,
                resume_token: [0; 16],
                last_request_id: 0,
                store: &options.store,
                session_name: &options.name,
            },
            |answer| match answer {
                Answer::Open(opened) => check_pages("open answer", opened.pages).map(|()| opened),
                _ => Err(unexpected(Operation::OPEN)),
            },
        )?;
        if !options.resume.is_zero() {
            match &opened.resume {
                Some(ticket) => {
                    let restarts = self.connection.has_feature(FEATURE_RESTART);
                    self.connection.begin_resumable(Resume::new(options, ticket.token, restarts))
                }
                None => {
                    let text = format!(
                        "the daemon keeps no session whose connection is lost: it is an older one, or has \
                         resume_linger=0; leave out resume={}",
                        options.resume.as_secs()
                    );
                    return Err(self.error(ErrorKind::Unsupported, Operation::OPEN, &text));
                }
            }
            // The daemon keeps nothing for a client that may not have the token.
            ping(&mut self.connection)?;
        }
        if !self.options.faults.is_empty() {
            let orders = std::mem::take(&mut self.options.faults);
            self.order_faults(&orders)?;
            self.options.faults = orders;
        }
        self.connection.set_request_timeout(timeout);
        self.pages = opened.pages;
        self.held = opened.version;
        self.pages_known = !self.is_live();
        self.opened = opened;
        Ok(())
    }
}
