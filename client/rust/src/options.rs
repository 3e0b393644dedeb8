//! Where a store is and how to open it.

use crate::error::{Error, ErrorKind, Result};
use crate::poll::POLL_US_MAX;
use crate::protocol::{is_session_name, is_store_name, Access, Publish, View, PAGE_SIZE};
use crate::uri::{self, Scheme, Target};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

const RESUME_MAX: Duration = Duration::from_secs(uri::RESUME_SECONDS_MAX);

/// Where a daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Tcp { host: String, port: u16 },
    Tls { host: String, port: u16 },
    Unix { path: PathBuf },
}

/// What TLS needs beside host and port; each may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsOptions {
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub name: String,
}

impl Endpoint {
    /// As a URI, with a store or (an empty name) without.
    pub fn uri(&self, store: &str) -> String {
        match self {
            Endpoint::Tcp { host, port } | Endpoint::Tls { host, port } => {
                let secure = if matches!(self, Endpoint::Tls { .. }) { "s" } else { "" };
                let host = if host.contains(':') {
                    format!("[{}]", uri::encode(host.as_bytes(), b":"))
                } else {
                    uri::encode(host.as_bytes(), b"")
                };
                let slash = if store.is_empty() { "" } else { "/" };
                format!("pageserver{}://{}:{}{}{}", secure, host, port, slash, store)
            }
            Endpoint::Unix { path } => {
                format!("pageserver+unix:///{}?socket={}", store, uri::encode(&uri::path_bytes(path), b"/:@,"))
            }
        }
    }
}

/// How to open a session. The URI's query is another way to write the same; each method here has its key's name.
#[derive(Clone)]
pub struct Options {
    pub(crate) endpoint: Endpoint,
    pub(crate) others: Vec<Endpoint>,
    pub(crate) store: String,
    pub(crate) access: Access,
    pub(crate) view: View,
    pub(crate) publish: Publish,
    pub(crate) wait_ms: u32,
    pub(crate) name: String,
    pub(crate) client_name: String,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) poll_us: Option<u32>,
    pub(crate) cache_bytes: u64,
    pub(crate) resume: Duration,
    pub(crate) faults: String,
    pub(crate) token: String,
    pub(crate) token_file: PathBuf,
    pub(crate) tls: TlsOptions,
}

// Without the token.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("uri", &self.endpoint.uri(&self.store))
            .field("access", &self.access)
            .field("view", &self.view)
            .field("publish", &self.publish)
            .field("wait_ms", &self.wait_ms)
            .field("name", &self.name)
            .field("client_name", &self.client_name)
            .field("connect_timeout", &self.connect_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("poll_us", &self.poll_us)
            .field("cache_bytes", &self.cache_bytes)
            .field("resume", &self.resume)
            .field("faults", &self.faults)
            .field("token_file", &self.token_file)
            .field("tls", &self.tls)
            .finish()
    }
}

impl Options {
    fn new(endpoint: Endpoint, store: &str) -> Self {
        Options {
            endpoint,
            others: Vec::new(),
            store: store.to_owned(),
            access: Access::Write,
            view: View::Live,
            publish: Publish::OnWrite,
            wait_ms: 0,
            name: String::new(),
            client_name: String::new(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
            poll_us: None,
            cache_bytes: 0,
            resume: Duration::ZERO,
            faults: String::new(),
            token: String::new(),
            token_file: PathBuf::new(),
            tls: TlsOptions::default(),
        }
    }

    /// A store of the daemon at `host` (a name or an address, IPv6 without brackets) and `port`.
    pub fn tcp(host: &str, port: u16, store: &str) -> Self {
        Options::new(Endpoint::Tcp { host: host.to_owned(), port }, store)
    }

    /// The same over TLS 1.3, which the feature `rustls` has; without it a connection is refused as `unsupported`. A
    /// daemon's port for it is 6554 unless told. Its certificate is verified, chain and name.
    pub fn tls(host: &str, port: u16, store: &str) -> Self {
        Options::new(Endpoint::Tls { host: host.to_owned(), port }, store)
    }

    /// A store of the daemon that listens on the Unix socket at `path`.
    pub fn unix(path: impl Into<PathBuf>, store: &str) -> Self {
        Options::new(Endpoint::Unix { path: path.into() }, store)
    }

    /// One more host, behind the first: of several daemons one serves the store, and the others stand by. The first that
    /// serves it is taken, within `connect_timeout`; while one says that another has the store, they are asked again. With
    /// `resume` a lost connection is made again to whichever serves then. Not for a Unix socket.
    pub fn other_host(mut self, host: &str, port: u16) -> Self {
        self.others.push(match self.endpoint {
            Endpoint::Tls { .. } => Endpoint::Tls { host: host.to_owned(), port },
            _ => Endpoint::Tcp { host: host.to_owned(), port },
        });
        self
    }

    /// What `uri` says: `pageserver://HOST[:PORT][,HOST[:PORT]...]/STORE[?...]`, `pageservers://HOST[:PORT]/STORE[?...]` (TLS, with the
    /// feature `rustls`) or `pageserver+unix:///STORE?socket=PATH[&...]`. The default access is write, published with each write. Fails with `invalid_argument`, quoting the wrong part.
    pub fn from_uri(text: &str) -> Result<Self> {
        Options::from_parsed(uri::parse(text, Access::Write, Target::Image)?, text)
    }

    pub(crate) fn from_parsed(parsed: uri::Uri, text: &str) -> Result<Self> {
        let endpoint = match parsed.scheme {
            Scheme::Tcp => Endpoint::Tcp { host: parsed.host, port: parsed.port },
            Scheme::Unix => Endpoint::Unix { path: parsed.socket },
            Scheme::Tls => Endpoint::Tls { host: parsed.host, port: parsed.port },
            Scheme::Heap | Scheme::File | Scheme::Store => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!(
                        "open \"{}\": only the schemes pageserver, pageservers and pageserver+unix have sessions here",
                        text
                    ),
                ))
            }
        };
        let mut options = Options::new(endpoint, &parsed.store);
        for (host, port) in parsed.others {
            options = options.other_host(&host, port);
        }
        options.access = parsed.access;
        options.view = parsed.view;
        options.publish = parsed.publish;
        options.wait_ms = parsed.wait_ms;
        options.name = parsed.name;
        options.connect_timeout = parsed.connect_timeout;
        options.request_timeout = parsed.request_timeout;
        options.poll_us = parsed.poll_us;
        options.cache_bytes = parsed.cache_bytes;
        options.resume = Duration::from_secs(parsed.resume_seconds);
        options.faults = parsed.faults;
        options.token_file = parsed.token_file;
        options.tls = parsed.tls;
        Ok(options)
    }

    /// What the session may do; a writer unless said otherwise.
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// What a reader sees; live unless said otherwise.
    pub fn view(mut self, view: View) -> Self {
        self.view = view;
        self
    }

    /// When a writer's bytes become visible; with each write unless said otherwise.
    pub fn publish(mut self, publish: Publish) -> Self {
        self.publish = publish;
        self
    }

    /// How long to wait in line for the writer lease, in milliseconds; not at all unless said otherwise.
    pub fn wait_ms(mut self, wait_ms: u32) -> Self {
        self.wait_ms = wait_ms;
        self
    }

    /// What the session calls itself towards others; program name and process id unless said otherwise.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Program and version, for the daemon's log.
    pub fn client_name(mut self, name: &str) -> Self {
        self.client_name = name.to_owned();
        self
    }

    /// Name resolution, all addresses, hello and open together (`wait_ms` on top); 10 s unless said otherwise. Zero, as
    /// in a URI, and anything beyond a year, such as `Duration::MAX`, mean that there is no limit.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// One request, counted from when it is the oldest one without an answer; 60 s unless said otherwise. Zero and
    /// `Duration::MAX` as for [`connect_timeout`](Options::connect_timeout).
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// For how many microseconds at most, 0 to 1000, a call looks for its answer before it sleeps. `None`: the
    /// library's own choice, which is 0 where the process may use one processor only.
    pub fn poll_us(mut self, poll_us: Option<u32>) -> Self {
        self.poll_us = poll_us;
        self
    }

    /// Memory for a cache of pages, in bytes; less than two pages (131,072) is none. See [`Session`](crate::Session).
    pub fn cache_bytes(mut self, cache_bytes: u64) -> Self {
        self.cache_bytes = cache_bytes;
        self
    }

    /// For how long a lost connection is made again, each time; not at all unless said otherwise. The daemon keeps the
    /// session meanwhile, for its own `resume_linger`, and each request is carried out exactly once: a call takes
    /// longer, and answers what it would have answered. Past the time it fails with `connection_lost`, and says which
    /// requests are known to be done. Who comes back has to be who began. At most a day.
    pub fn resume(mut self, patience: Duration) -> Self {
        self.resume = patience;
        self
    }

    /// Faults that the daemon is to strike this session with, from its first request on, such as
    /// `write:3:no_space,flush:delay=50ms`: the protocol's document has their form. For tests: the daemon has to run
    /// with `--allow-faults`, else opening fails with [`ErrorKind::Unsupported`].
    pub fn faults(mut self, orders: &str) -> Self {
        self.faults = orders.to_owned();
        self
    }

    /// A file with the token that says who this client is, which others must not be able to read. Without one, and
    /// without [`token`](Options::token), the environment's `PAGESERVER_TOKEN` is taken. A token is sent only where
    /// nobody else can listen ([`Transport::is_private`](crate::Transport::is_private)); elsewhere it is an error.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token_file = path.into();
        self
    }

    /// The token itself; wins over the file.
    pub fn token(mut self, token: &str) -> Self {
        self.token = token.to_owned();
        self
    }

    /// A PEM file with the authorities that are believed over TLS, and lists of what they revoked, if there are some;
    /// those of the system unless said otherwise.
    pub fn tls_ca(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.ca = path.into();
        self
    }

    /// A PEM file with this client's certificate, for a daemon that wants one; needs [`tls_key`](Options::tls_key).
    pub fn tls_certificate(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.certificate = path.into();
        self
    }

    /// A PEM file with its private key, which others must not be able to read.
    pub fn tls_key(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.key = path.into();
        self
    }

    /// The name that the daemon's certificate must have; the host unless said otherwise.
    pub fn tls_name(mut self, name: &str) -> Self {
        self.tls.name = name.to_owned();
        self
    }

    pub(crate) fn has_cache(&self) -> bool {
        let live = self.access == Access::Read && self.view == View::Live;
        !live && self.cache_bytes / PAGE_SIZE >= 2
    }

    /// The options as they are used, or what is wrong with them.
    /// The same with another of its hosts as the first: the one at `at` in their order.
    pub(crate) fn beginning_at(&self, at: usize) -> Self {
        let mut options = self.clone();
        if at > 0 {
            options.endpoint = self.others[at - 1].clone();
            options.others = self.others[at..].to_vec();
            options.others.push(self.endpoint.clone());
            options.others.extend_from_slice(&self.others[..at - 1]);
        }
        options
    }

    pub(crate) fn checked(mut self) -> Result<Self> {
        let refuse = |text: &str| {
            let uri = self.endpoint.uri("");
            Err(Error::new(ErrorKind::InvalidArgument, format!("{}: open: {}", uri, text)))
        };
        if !is_store_name(&self.store) {
            return refuse(&format!(
                "\"{}\" is no store's name: expected a letter or digit, then at most 63 letters, digits, dots, \
                 underscores and hyphens",
                self.store
            ));
        }
        if !is_session_name(&self.name) {
            return refuse("the session's name is not at most 255 bytes without control characters");
        }
        if let Some(poll_us) = self.poll_us {
            if poll_us > POLL_US_MAX {
                return refuse(&format!("poll_us={} exceeds {}", poll_us, POLL_US_MAX));
            }
        }
        if matches!(self.endpoint, Endpoint::Unix { .. }) && !self.others.is_empty() {
            return refuse("other hosts go with a host, and not with a Unix socket");
        }
        if !matches!(self.endpoint, Endpoint::Tls { .. }) && self.tls != TlsOptions::default() {
            return refuse(
                "tls_ca, tls_certificate, tls_key and tls_name are for TLS: Options::tls, or pageservers://",
            );
        }
        if self.tls.certificate.as_os_str().is_empty() != self.tls.key.as_os_str().is_empty() {
            return refuse("tls_certificate and tls_key go together");
        }
        if self.view == View::Pinned && self.access != Access::Read {
            return refuse("view=pinned is for access=read only");
        }
        if self.publish == Publish::OnFlush && self.access != Access::Write {
            return refuse("publish=on_flush is for access=write only");
        }
        if self.resume > RESUME_MAX {
            return refuse(&format!("resume={}s exceeds {}s", self.resume.as_secs(), RESUME_MAX.as_secs()));
        }
        self.connect_timeout = uri::limited(self.connect_timeout);
        self.request_timeout = uri::limited(self.request_timeout);
        if self.name.is_empty() {
            self.name = own_name();
        }
        Ok(self)
    }
}

/// What the daemon shows to others where the program gave no name.
fn own_name() -> String {
    // A guest of WASI has no number, and asking for it ends the program.
    let pid = if cfg!(target_family = "wasm") { "guest".into() } else { format!("pid {}", std::process::id()) };
    let program = std::env::args_os().next().map(PathBuf::from);
    let program = program.as_deref().and_then(|path| path.file_name()).and_then(|name| name.to_str());
    match program {
        Some(program) if is_session_name(&format!("{} {}", program, pid)) => format!("{} {}", program, pid),
        _ => pid,
    }
}
