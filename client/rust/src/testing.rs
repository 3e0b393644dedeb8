//! A daemon for tests: started once, and for each test a fork of its own, gone at the end.
//!
//! ```no_run
//! # fn main() -> Result<(), pageserver::Error> {
//! use pageserver::testing::Server;
//!
//! let server = Server::builder().store("golden", "tests/golden.img").start()?;
//! let mut database = server.fork("golden")?; // private to this test, in well under a millisecond
//! database.write(0, b"changed")?;            // golden.img is as it was
//! # Ok(()) }
//! ```
//!
//! Tests that run in threads share one daemon: keep it in a `static`, as [`Server::shared`] does. It ends with the
//! process, however that ends.

use crate::daemon::Daemon;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{Endpoint, Options};
use crate::protocol::{Access, Publish};
use crate::provider::{Provider, RemoteMemory};
use crate::session::Session;
use crate::uri;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_secs(60);
/// What a service manager has given this process: the daemon is none of its services.
const MANAGERS: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// Ends the daemon when its standard input ends, which it does when the process that holds it does, in whatever way.
const KEEPER: &str = r#"
folder=$1; shift
"$@" </dev/null & daemon=$!
read -r _
kill -TERM "$daemon"; wait "$daemon"
rm -rf -- "$folder"
"#;

fn fail<T>(kind: ErrorKind, text: impl AsRef<str>) -> Result<T> {
    Err(Error::new(kind, format!("testing: {}", text.as_ref())))
}

fn io<T>(what: &str, path: &Path, result: std::io::Result<T>) -> Result<T> {
    result.or_else(|error| fail(ErrorKind::ProviderError, format!("{} {}: {}", what, path.display(), error)))
}

/// The daemon to start: `PAGESERVERD`, else one in PATH, else one beside the running program or above it.
pub fn find_daemon() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("PAGESERVERD") {
        return Ok(path.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(program) = std::env::current_exe() {
        // target/debug/deps/test-hash: the daemon may stand in any of the folders above.
        folders.extend(program.ancestors().skip(1).take(4).map(Path::to_path_buf));
    }
    let found = folders.into_iter().map(|folder| folder.join("pageserverd")).find(|file| file.is_file());
    match found {
        Some(file) => Ok(file),
        None => fail(ErrorKind::NotFound, "no pageserverd in PATH or beside this program; set PAGESERVERD to its path"),
    }
}

/// How to start a [`Server`].
#[derive(Clone, Debug, Default)]
pub struct Builder {
    daemon: Option<PathBuf>,
    stores: Vec<(String, PathBuf)>,
    arguments: Vec<OsString>,
}

impl Builder {
    /// The program to start, instead of the one that [`find_daemon`] finds.
    pub fn daemon(mut self, program: impl Into<PathBuf>) -> Self {
        self.daemon = Some(program.into());
        self
    }

    /// Serves the image at `path` as store `name`. Forks leave the file as it is; it is locked while the server runs.
    pub fn store(mut self, name: &str, path: impl Into<PathBuf>) -> Self {
        self.stores.push((name.to_owned(), path.into()));
        self
    }

    /// A further argument for the daemon, such as `--poll-us`.
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Starts the daemon and waits until it serves, at most a minute.
    pub fn start(self) -> Result<Server> {
        Server::start_with(self)
    }
}

/// A daemon of this process, with a folder of its own. Ends when it is dropped.
pub struct Server {
    folder: PathBuf,
    socket: PathBuf,
    addresses: Vec<String>,
    keeper: Mutex<Child>,
    built: Mutex<HashMap<String, Arc<Mutex<bool>>>>,
}

/// A panic of a test while it held the lock says nothing about what the lock guards.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Server {
    /// A daemon that serves a folder of its own, in which stores are made and removed.
    pub fn start() -> Result<Server> {
        Server::builder().start()
    }

    /// A daemon that serves images of yours, too.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The one daemon that all tests of this process share: started by whoever comes first, ended with the process.
    pub fn shared() -> Result<Arc<Server>> {
        static SHARED: Mutex<Option<Arc<Server>>> = Mutex::new(None);
        let mut shared = lock(&SHARED);
        if let Some(server) = &*shared {
            return Ok(Arc::clone(server));
        }
        let server = Arc::new(Server::start()?);
        *shared = Some(Arc::clone(&server));
        Ok(server)
    }

    fn start_with(builder: Builder) -> Result<Server> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let daemon = match builder.daemon {
            Some(daemon) => daemon,
            None => find_daemon()?,
        };
        let folder = std::env::temp_dir().join(format!("pageserver-test-{}-{}", std::process::id(), count));
        // Of a process of the same number that was killed.
        let _ = fs::remove_dir_all(&folder);
        let stores = folder.join("stores");
        io("make", &stores, fs::create_dir_all(&stores))?;
        let (socket, port_file, log) = (folder.join("socket"), folder.join("port"), folder.join("log"));
        let log_file = io("make", &log, fs::File::create(&log))?;
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(KEEPER).arg("sh").arg(&folder).arg(&daemon);
        command.arg("--directory").arg(&stores).args(["--allow-create", "--allow-remove"]);
        command.args(["--listen", "127.0.0.1:0"]).arg("--unix").arg(&socket).arg("--port-file").arg(&port_file);
        for (name, path) in &builder.stores {
            let mut argument = OsString::from(format!("{}=", name));
            argument.push(path);
            command.arg("--store").arg(argument);
        }
        command.args(&builder.arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log_file);
        for name in MANAGERS {
            command.env_remove(name);
        }
        let keeper = io("start", &daemon, command.spawn())?;
        let mut server = Server {
            folder,
            socket,
            addresses: Vec::new(),
            keeper: Mutex::new(keeper),
            built: Mutex::new(HashMap::new()),
        };
        server.addresses = server.wait_until_it_serves(&port_file, &log, &daemon)?;
        Ok(server)
    }

    fn wait_until_it_serves(&self, port_file: &Path, log: &Path, daemon: &Path) -> Result<Vec<String>> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let addresses = fs::read_to_string(port_file).unwrap_or_default();
            if addresses.ends_with('\n') {
                return Ok(addresses.lines().map(str::to_owned).collect());
            }
            // The keeper stays; that its daemon is gone shows in the log's last line, which is not a greeting.
            let said = fs::read_to_string(log).unwrap_or_default();
            let gave_up = said.contains("pageserverd: ") || said.contains("not found") || said.contains("error");
            if gave_up || Instant::now() >= deadline {
                return fail(
                    ErrorKind::ConnectionLost,
                    format!("{} does not serve: {}", daemon.display(), said.trim()),
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// `pageserver+unix:///NAME?socket=...`, to which `&access=...` and other keys can be appended.
    pub fn uri(&self, store: &str) -> String {
        let endpoint = Endpoint::Unix { path: self.socket.clone() };
        endpoint.uri(store)
    }

    /// The TCP address that the daemon listens on, as `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// What the daemon listens on: that of [`address`](Server::address), then those that arguments of its own ask for,
    /// such as `--listen-tls 127.0.0.1:0`.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The Unix socket that the daemon listens on.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where the image of a store is that was made by [`create`](Server::create) or [`build`](Server::build). While it is
    /// served, what was published last may stand in the log beside it alone: to copy it, read it through a session.
    pub fn image(&self, store: &str) -> PathBuf {
        self.folder.join("stores").join(format!("{}.img", uri::encode(store.as_bytes(), b"")))
    }

    /// How to open a store of this daemon.
    pub fn options(&self, store: &str) -> Options {
        Options::unix(self.socket.clone(), store)
    }

    /// A connection without a session.
    pub fn daemon(&self) -> Result<Daemon> {
        Daemon::connect(&self.uri(""))
    }

    /// Makes a store of `pages` pages of zeros.
    pub fn create(&self, store: &str, pages: u64) -> Result<()> {
        self.daemon()?.create(store, pages)
    }

    /// Makes a store unless it is there, and has `fill` fill it: once, however many tests ask for it at the same time.
    /// What `fill` wrote is published when it returns `Ok`; after an error the store is as good as not made.
    pub fn build(&self, store: &str, fill: impl FnOnce(&mut Session) -> Result<()>) -> Result<()> {
        let built = Arc::clone(lock(&self.built).entry(store.to_owned()).or_default());
        let mut built = lock(&built);
        if *built {
            return Ok(());
        }
        match self.create(store, 0) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let options = self.options(store).publish(Publish::OnFlush).cache_bytes(16 << 20);
        let mut session = Session::connect(options)?;
        fill(&mut session)?;
        session.flush()?;
        session.close()?;
        *built = true;
        Ok(())
    }

    /// A private image on top of a store's newest version: written as one likes, never published, gone when dropped.
    pub fn fork(&self, store: &str) -> Result<Session> {
        Session::connect(self.options(store).access(Access::Fork))
    }

    /// What the daemon has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut keeper = lock(&self.keeper);
        drop(keeper.stdin.take());
        // It ends when the daemon has; there is nothing to do about an error.
        let _ = keeper.wait();
    }
}

/// An engine's memory that is empty when it is made by `default()`, and private: a fork of an empty store of
/// [`Server::shared`]. What an engine's own tests need in the place of its heap.
///
/// `PAGESERVER_TEST_CACHE_BYTES` is the memory for its cache, written as in a URI; `off` unless it is set.
#[derive(Debug)]
pub struct ForkMemory {
    provider: Provider,
    // Dropped after it: the daemon must be there to end the session.
    _server: Arc<Server>,
}

impl ForkMemory {
    /// A fork of a store of the shared server.
    pub fn of(store: &str) -> Result<ForkMemory> {
        let server = Server::shared()?;
        let cache = std::env::var("PAGESERVER_TEST_CACHE_BYTES").unwrap_or_default();
        let cache = uri::parse_size(&cache).unwrap_or(0);
        let session = Session::connect(server.options(store).access(Access::Fork).cache_bytes(cache))?;
        Ok(ForkMemory { provider: RemoteMemory::new(session)?.into(), _server: server })
    }
}

impl Default for ForkMemory {
    /// # Panics
    ///
    /// Without a daemon to start, with a text that says so: `Default` has no errors.
    fn default() -> Self {
        let made = Server::shared().and_then(|server| {
            server.build("empty", |_| Ok(()))?;
            ForkMemory::of("empty")
        });
        match made {
            Ok(memory) => memory,
            Err(error) => panic!("{}", error),
        }
    }
}

impl AsRef<Provider> for ForkMemory {
    fn as_ref(&self) -> &Provider {
        &self.provider
    }
}

impl AsMut<Provider> for ForkMemory {
    fn as_mut(&mut self) -> &mut Provider {
        &mut self.provider
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).field("socket", &self.socket).finish()
    }
}
