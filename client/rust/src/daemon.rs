//! A daemon, without a session on one of its stores.

use crate::connection::{Connection, ConnectionOptions};
use crate::dial::dial;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Endpoint;
use crate::protocol::{is_store_name, Access, Answer, Fault, ListEntry, Request};
use crate::session::ping;
use crate::uri::{self, Scheme, Target};
use std::time::{Duration, Instant};

/// Lists, makes and removes a daemon's stores. A connection that has a session can't do that, so this is another one.
pub struct Daemon {
    connection: Connection,
}

impl Daemon {
    /// Connects to `pageserver://HOST[:PORT]` or `pageserver+unix:///?socket=PATH`. Fails as
    /// [`Session::connect`](crate::Session::connect) does.
    pub fn connect(uri: &str) -> Result<Daemon> {
        let parsed = uri::parse(uri, Access::Read, Target::Server)?;
        let endpoint = if parsed.scheme == Scheme::Unix {
            Endpoint::Unix { path: parsed.socket }
        } else {
            Endpoint::Tcp { host: parsed.host, port: parsed.port }
        };
        let deadline = Instant::now() + parsed.connect_timeout;
        let stream = dial(&endpoint, deadline)?;
        let connection = Connection::new(
            stream,
            &ConnectionOptions {
                deadline,
                request_timeout: parsed.request_timeout,
                poll_us: parsed.poll_us,
                client_name: "",
                context: endpoint.uri(""),
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
