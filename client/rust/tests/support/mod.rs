//! What several test programs share. Each uses a part of it.
#![allow(dead_code)]

#[cfg(unix)]
pub mod proxy;
pub mod vectors;

use std::path::PathBuf;

/// The folder of the whole project: the one above this crate that has the vectors.
pub fn project_root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().find(|folder| folder.join("proto/test_vectors.txt").is_file());
    root.expect("these tests need the whole project").to_path_buf()
}

/// Random numbers that are the same in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Changes, removes or adds a few bytes.
pub fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(3) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        match random.below(6) {
            0 if !bytes.is_empty() => bytes.truncate(at),
            1 => bytes.insert(at, random.next() as u8),
            2 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            3 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5) as usize],
            4 if at < bytes.len() => {
                bytes.remove(at);
            }
            _ if at < bytes.len() => bytes[at] = random.next() as u8,
            _ => {}
        }
    }
}

/// The daemon that was built beside this crate, unless PAGESERVERD names another.
#[cfg(unix)]
pub fn daemon_program() -> PathBuf {
    if let Some(program) = std::env::var_os("PAGESERVERD") {
        return program.into();
    }
    let built = project_root().join("build/dev/bin/pageserverd");
    assert!(built.is_file(), "build pageserverd first (./test.sh rust does), or set PAGESERVERD");
    built
}

/// One daemon for all tests of a program. Ends with the process.
#[cfg(unix)]
pub fn server() -> std::sync::Arc<pageserver::testing::Server> {
    use std::sync::{Arc, Mutex};
    static SERVER: Mutex<Option<Arc<pageserver::testing::Server>>> = Mutex::new(None);
    let mut server = SERVER.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let start = || {
        let builder = pageserver::testing::Server::builder().daemon(daemon_program());
        Arc::new(builder.start().unwrap())
    };
    Arc::clone(server.get_or_insert_with(start))
}

pub fn writer(server: &pageserver::testing::Server, store: &str) -> pageserver::Session {
    pageserver::Session::connect(server.options(store)).unwrap()
}

/// Asks again and again, for at most a minute.
pub fn wait_until(mut condition: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !condition() {
        assert!(std::time::Instant::now() < end, "what was waited for did not happen within a minute");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// A stream to the daemon that counts its writes, and can do nothing but read and write.
#[cfg(unix)]
pub struct Counting {
    stream: std::os::unix::net::UnixStream,
    writes: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

#[cfg(unix)]
impl std::io::Read for Counting {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.stream.read(buf)
    }
}

#[cfg(unix)]
impl std::io::Write for Counting {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.writes.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.stream.write(buf)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(unix)]
pub fn counting(server: &pageserver::testing::Server) -> (Counting, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let writes = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let stream = std::os::unix::net::UnixStream::connect(server.socket()).unwrap();
    let counting = Counting { stream, writes: std::sync::Arc::clone(&writes) };
    (counting, writes)
}
