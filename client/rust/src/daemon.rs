//! A daemon, without a session on one of its stores.

use crate::connection::{Connection, ConnectionOptions};
use crate::dial;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Endpoint;
use crate::protocol::{
    is_session_name, is_store_name, Access, Answer, Fault, ListEntry, Load, Request, SessionReport, TakenOver, WhoAmI,
    FEATURE_IDENTITY, FEATURE_SESSIONS, FEATURE_TAKEOVER,
};
use crate::session::ping;
use crate::uri::{self, Scheme, Target};
use std::time::{Duration, Instant};

/// Lists, makes and removes a daemon's stores, shows who uses them, and ends sessions. A connection that has a session can't do that, so this is another one.
pub struct Daemon {
    connection: Connection,
}

impl Daemon {
    /// Connects to `pageserver://HOST[:PORT]`, `pageservers://HOST[:PORT]` (TLS, with the feature `rustls`) or
    /// `pageserver+unix:///?socket=PATH`. Fails as [`Session::connect`](crate::Session::connect) does.
    pub fn connect(uri: &str) -> Result<Daemon> {
        let parsed = uri::parse(uri, Access::Read, Target::Server)?;
        let endpoint = match parsed.scheme {
            _ if !parsed.others.is_empty() => {
                let text = format!("connect \"{}\": a daemon is one host; name one alone", uri);
                return Err(Error::new(ErrorKind::InvalidArgument, text));
            }
            Scheme::Unix => Endpoint::Unix { path: parsed.socket },
            Scheme::Tls => Endpoint::Tls { host: parsed.host, port: parsed.port },
            _ => Endpoint::Tcp { host: parsed.host, port: parsed.port },
        };
        let deadline = Instant::now() + parsed.connect_timeout;
        let stream = dial::connect(&endpoint, &parsed.tls, deadline)?;
        let connection = Connection::new(
            stream,
            &ConnectionOptions {
                deadline,
                request_timeout: parsed.request_timeout,
                poll_us: parsed.poll_us,
                client_name: "",
                token: "",
                token_file: &parsed.token_file,
                context: endpoint.uri(""),
                resumes: false,
            },
        )?;
        Ok(Daemon { connection })
    }

    /// What the daemon called itself in its hello.
    pub fn server_name(&self) -> &str {
        &self.connection.server().server_name
    }

    /// Asks the daemon to answer, and returns how long that took.
    pub fn ping(&mut self) -> Result<Duration> {
        let began = Instant::now();
        ping(&mut self.connection)?;
        Ok(began.elapsed())
    }

    /// All stores, in rising order of their names. One that comes or goes meanwhile may or may not be there.
    pub fn list(&mut self) -> Result<Vec<ListEntry>> {
        let mut all: Vec<ListEntry> = Vec::new();
        loop {
            let after = all.last().map_or(String::new(), |entry| entry.store.clone());
            let request = Request::List { after: &after };
            let (more, entries) = self.connection.call(&request, |answer| match answer {
                Answer::List { more, entries } => {
                    let names = std::iter::once(after.as_str()).chain(entries.iter().map(|e| e.store.as_str()));
                    let rising = names.clone().zip(names.skip(1)).all(|(a, b)| a < b);
                    if rising && !(more && entries.is_empty()) {
                        Ok((more, entries))
                    } else {
                        Err(Fault("list answer is not in rising order".into()))
                    }
                }
                _ => Err(Fault("list was answered with something else".into())),
            })?;
            all.extend(entries);
            if !more {
                return Ok(all);
            }
        }
    }

    fn check_name(&self, operation: &str, store: &str) -> Result<()> {
        if is_store_name(store) {
            return Ok(());
        }
        let text = format!(
            "\"{}\" is no store's name: expected a letter or digit, then at most 63 letters, digits, dots, \
             underscores and hyphens",
            store
        );
        Err(self.connection.error(ErrorKind::InvalidArgument, operation, &text))
    }

    /// Makes a store of `pages` pages of zeros. `already_exists`, `permission_denied`, `unsupported`,
    /// `limit_exceeded`, `no_space`.
    pub fn create(&mut self, store: &str, pages: u64) -> Result<()> {
        self.check_name("create", store)?;
        self.connection.call(&Request::Create { store, pages }, |_| Ok(()))
    }

    /// Removes a store and its bytes for good. `busy` while sessions are on it, `not_found`, `permission_denied`,
    /// `unsupported`.
    pub fn remove(&mut self, store: &str) -> Result<()> {
        self.check_name("remove", store)?;
        self.connection.call(&Request::Remove { store }, |_| Ok(()))
    }

    fn check_administration(&self, operation: &str) -> Result<()> {
        if self.connection.server().features & FEATURE_SESSIONS != 0 {
            return Ok(());
        }
        Err(self.connection.error(ErrorKind::Unsupported, operation, "the daemon is too old to say who uses it"))
    }

    /// All connections, in rising order of their ids, and what their sessions do; with `store` not empty only those
    /// that have a session on it, or wait for one. One that comes or goes meanwhile may or may not be there. Answered
    /// also while stores hang. `unsupported` of a daemon of before.
    pub fn sessions(&mut self, store: &str) -> Result<Vec<SessionReport>> {
        self.check_administration("sessions")?;
        if !store.is_empty() {
            self.check_name("sessions", store)?;
        }
        let mut all: Vec<SessionReport> = Vec::new();
        let mut after = 0;
        loop {
            let (more, until, entries) =
                self.connection.call(&Request::Sessions { after, store }, |answer| match answer {
                    Answer::Sessions { more, described_until, entries, .. } => {
                        let ids = std::iter::once(after).chain(entries.iter().map(|e| e.connection_id));
                        let rising = ids.clone().zip(ids.skip(1)).all(|(a, b)| a < b);
                        let last = entries.last().map_or(after, |e| e.connection_id);
                        if rising && last <= described_until && (!more || described_until > after) {
                            Ok((more, described_until, entries))
                        } else {
                            Err(Fault("sessions answer has ids that do not rise".into()))
                        }
                    }
                    _ => Err(Fault("sessions was answered with something else".into())),
                })?;
            all.extend(entries);
            if !more {
                return Ok(all);
            }
            after = until;
        }
    }

    /// What waits and hangs: of the daemon, and of `store`, or of all stores together where that is empty.
    pub fn load(&mut self, store: &str) -> Result<Load> {
        self.check_administration("sessions")?;
        if !store.is_empty() {
            self.check_name("sessions", store)?;
        }
        // Behind the last one: only the report is wanted.
        self.connection.call(&Request::Sessions { after: u64::MAX, store }, |answer| match answer {
            Answer::Sessions { load, .. } => Ok(load),
            _ => Err(Fault("sessions was answered with something else".into())),
        })
    }

    /// Whom the daemon takes this client for, and what it may do with `store`, or with every store where that is empty.
    pub fn whoami(&mut self, store: &str) -> Result<WhoAmI> {
        if !self.connection.has_feature(FEATURE_IDENTITY) {
            let text = "the daemon is too old to know who asks: whoever reaches it may do everything";
            return Err(self.connection.error(ErrorKind::Unsupported, "whoami", text));
        }
        if !store.is_empty() {
            self.check_name("whoami", store)?;
        }
        self.connection.call(&Request::Whoami { store }, |answer| match answer {
            Answer::Whoami(found) => Ok(found),
            _ => Err(Fault("whoami was answered with something else".into())),
        })
    }

    /// Has this daemon take a store over from another one, which is asked to give it up; with `holder_is_dead` it is
    /// neither asked nor waited for. Of a store whose home is a Ceph pool; takes the right admin. Fails with `busy` where
    /// the other one does not let go. Sessions there get `lease_lost`.
    pub fn take_over(&mut self, store: &str, holder_is_dead: bool) -> Result<TakenOver> {
        if !self.connection.has_feature(FEATURE_TAKEOVER) {
            let text = "the daemon is too old to be asked; stop the one that has the store";
            return Err(self.connection.error(ErrorKind::Unsupported, "takeover", text));
        }
        self.check_name("takeover", store)?;
        self.connection.call(&Request::Takeover { store, holder_is_dead }, |answer| match answer {
            Answer::Takeover(taken) => Ok(taken),
            _ => Err(Fault("takeover was answered with something else".into())),
        })
    }

    fn end(&mut self, id: u64, is_connection: bool, reason: &str) -> Result<(SessionReport, bool)> {
        self.check_administration("kick")?;
        if !is_session_name(reason) {
            let text = "the reason is not at most 255 bytes without control characters";
            return Err(self.connection.error(ErrorKind::InvalidArgument, "kick", text));
        }
        self.connection.call(&Request::Kick { id, is_connection, reason }, |answer| match answer {
            Answer::Kick { released, kicked } => Ok((*kicked, released)),
            _ => Err(Fault("kick was answered with something else".into())),
        })
    }

    /// Ends a session, whatever it does. Its client's calls fail with `connection_lost` from then on, with a text that
    /// names who asked for this, and `reason`. Returns what it was, and whether all that it held is free: it is not
    /// while a call to a disk does not come back; its lease and its pin are then all the same, but for a publish that
    /// is under way. `not_found`, `permission_denied`.
    pub fn kick(&mut self, session_id: u64, reason: &str) -> Result<(SessionReport, bool)> {
        self.end(session_id, false, reason)
    }

    /// The same with a connection, which may have no session.
    pub fn kick_connection(&mut self, connection_id: u64, reason: &str) -> Result<(SessionReport, bool)> {
        self.end(connection_id, true, reason)
    }

    /// The error that ended the connection; nothing while it lives.
    pub fn ended(&self) -> Option<&Error> {
        self.connection.ended()
    }
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon").field("server", &self.server_name()).finish()
    }
}
