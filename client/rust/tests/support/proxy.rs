//! Stands between a client and a daemon: cuts the connection after so many bytes, changes what passes, or stops.

use pageserver::testing::Server;
use pageserver::Options;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What happens to the bytes of the connections accepted from now on.
#[derive(Clone, Copy, Debug)]
pub enum Plan {
    Pass,
    /// After so many bytes from the client to the daemon, or back, the connection is cut.
    Cut {
        to_daemon: u64,
        to_client: u64,
    },
    /// The same of one connection, and what comes after it passes.
    CutOnce {
        to_daemon: u64,
        to_client: u64,
    },
    /// Answers after the first so many bytes are changed, at random places that this seed chooses.
    Lie {
        after: u64,
        seed: u64,
    },
}

struct Shared {
    plan: Mutex<Plan>,
    target: Mutex<PathBuf>,
    /// Of connections with a number below it nothing goes through any more.
    stalled_below: AtomicU64,
    connections: AtomicU64,
    streams: Mutex<Vec<UnixStream>>,
    to_daemon: AtomicU64,
    to_client: AtomicU64,
}

pub struct Proxy {
    path: PathBuf,
    shared: Arc<Shared>,
}

impl Proxy {
    pub fn start(server: &Server) -> Proxy {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("pageserver-proxy-{}-{}", std::process::id(), number));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let shared = Arc::new(Shared {
            plan: Mutex::new(Plan::Pass),
            target: Mutex::new(server.socket().to_path_buf()),
            stalled_below: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            streams: Mutex::new(Vec::new()),
            to_daemon: AtomicU64::new(0),
            to_client: AtomicU64::new(0),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let target = accepting.target.lock().unwrap().clone();
                let (client, daemon) = (client.unwrap(), UnixStream::connect(&target).unwrap());
                let number = accepting.connections.fetch_add(1, Ordering::SeqCst);
                accepting.streams.lock().unwrap().push(client.try_clone().unwrap());
                let plan = {
                    let mut next = accepting.plan.lock().unwrap();
                    let plan = *next;
                    if let Plan::CutOnce { .. } = plan {
                        *next = Plan::Pass;
                    }
                    plan
                };
                let (c, d) = (client.try_clone().unwrap(), daemon.try_clone().unwrap());
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || pass(c, d, plan, number, true, &shared));
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || pass(daemon, client, plan, number, false, &shared));
            }
        });
        Proxy { path, shared }
    }

    pub fn plan(&self, plan: Plan) {
        *self.shared.plan.lock().unwrap() = plan;
        self.shared.to_daemon.store(0, Ordering::SeqCst);
        self.shared.to_client.store(0, Ordering::SeqCst);
    }

    /// Bytes that went through since the last plan: to the daemon, and to the client.
    pub fn passed(&self) -> (u64, u64) {
        (self.shared.to_daemon.load(Ordering::SeqCst), self.shared.to_client.load(Ordering::SeqCst))
    }

    /// From now on nothing goes through any more.
    pub fn stall(&self) {
        self.shared.stalled_below.store(u64::MAX, Ordering::SeqCst);
    }

    /// The same of the connections that are there now.
    pub fn stall_those_here(&self) {
        self.shared.stalled_below.store(self.shared.connections.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Ends the connections that are there now.
    pub fn cut(&self) {
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Where the next connections go.
    pub fn lead_to(&self, server: &Server) {
        *self.shared.target.lock().unwrap() = server.socket().to_path_buf();
    }

    /// Nobody can connect any more.
    pub fn close(&self) {
        std::fs::remove_file(&self.path).unwrap();
    }

    pub fn options(&self, store: &str) -> Options {
        Options::unix(self.path.clone(), store)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn pass(mut from: UnixStream, mut to: UnixStream, plan: Plan, number: u64, to_daemon: bool, shared: &Shared) {
    let counter = if to_daemon { &shared.to_daemon } else { &shared.to_client };
    let mut passed = 0;
    let mut buffer = vec![0; 65_536];
    loop {
        let mut count = match from.read(&mut buffer) {
            Ok(count) if count > 0 => count,
            _ => break,
        };
        if number < shared.stalled_below.load(Ordering::SeqCst) {
            continue;
        }
        let mut cut = false;
        match plan {
            Plan::Pass => {}
            Plan::Cut { to_daemon: out, to_client: back } | Plan::CutOnce { to_daemon: out, to_client: back } => {
                let left = if to_daemon { out } else { back } - passed;
                cut = count as u64 >= left;
                count = count.min(left as usize);
            }
            Plan::Lie { after, seed } if !to_daemon => {
                let mut random = super::Random::new(seed ^ passed);
                for (at, byte) in buffer[..count].iter_mut().enumerate() {
                    if passed + at as u64 >= after && random.below(40) == 0 {
                        *byte = if random.below(2) == 0 { random.next() as u8 } else { *byte ^ (1 << random.below(8)) };
                    }
                }
            }
            Plan::Lie { .. } => {}
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
        passed += count as u64;
        counter.fetch_add(count as u64, Ordering::SeqCst);
        if cut {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
