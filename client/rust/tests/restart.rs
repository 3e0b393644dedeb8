//! Sessions that outlive their daemon: it is killed at each request, and started again; each is carried out once.

#![cfg(unix)]

mod support;

use pageserver::{ErrorKind, Options, Publish, Result, Session, PAGE_SIZE};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use support::daemon_program;

/// A daemon on one socket that is started again whenever it was killed.
struct Mortal {
    folder: PathBuf,
    ends: Arc<AtomicBool>,
    starts: Arc<AtomicU32>,
    watch: Option<JoinHandle<()>>,
}

fn start(folder: &Path) -> Child {
    let socket = folder.join("s");
    let child = Command::new(daemon_program())
        .arg("--allow-faults")
        .arg("--unix")
        .arg(&socket)
        .arg("--store")
        .arg(format!("demo={}", folder.join("demo.img").display()))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child
}

impl Mortal {
    fn new(name: &str) -> Mortal {
        let folder = std::env::temp_dir().join(format!("pageserver-rust-{}-{}", std::process::id(), name));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::File::create(folder.join("demo.img")).unwrap();
        let (ends, starts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(1)));
        let watch = {
            let (folder, ends, starts) = (folder.clone(), ends.clone(), starts.clone());
            std::thread::spawn(move || {
                let mut child = start(&folder);
                loop {
                    if ends.load(Ordering::SeqCst) {
                        child.kill().unwrap();
                        child.wait().unwrap();
                        return;
                    }
                    if child.try_wait().unwrap().is_some() {
                        starts.fetch_add(1, Ordering::SeqCst);
                        child = start(&folder);
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
            })
        };
        let daemon = Mortal { folder, ends, starts, watch: Some(watch) };
        daemon.connect(daemon.options()).close().unwrap();
        daemon
    }

    fn options(&self) -> Options {
        Options::unix(self.folder.join("s"), "demo").resume(Duration::from_secs(20)).poll_us(Some(0)).wait_ms(20_000)
    }

    /// It may just be starting.
    fn connect(&self, options: Options) -> Session {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            match Session::connect(options.clone()) {
                Err(error) if error.kind() == ErrorKind::ConnectionLost && Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(5))
                }
                session => return session.unwrap(),
            }
        }
    }

    fn starts(&self) -> u32 {
        self.starts.load(Ordering::SeqCst)
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        self.watch.take().unwrap().join().unwrap();
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// What is done twice, or not at all, shows in what the grows answer.
fn workload(mut session: Session) -> Result<()> {
    let pages = session.pages()?;
    let at = pages * PAGE_SIZE;
    assert_eq!(session.grow(1)?, pages);
    session.write(at, b"first")?;
    let mut seen = [0; 5];
    let mut later = [0; 5];
    {
        let mut pipeline = session.pipeline()?;
        pipeline.write(at + 1, b"xx")?;
        pipeline.read(at, &mut seen)?;
        pipeline.write(at, b"later")?;
        pipeline.grow(2)?;
        pipeline.read(at, &mut later)?;
        while let Some(done) = pipeline.next()? {
            done.result?;
            if done.ticket == 3 {
                assert_eq!(done.value, pages + 1);
            }
        }
    }
    assert_eq!((&seen, &later), (b"fxxst", b"later"));
    assert_eq!(session.write(at + 9 * PAGE_SIZE, b"x").unwrap_err().kind(), ErrorKind::OutOfBounds);
    session.flush()?;
    session.zero(at, 2)?;
    assert_eq!(session.grow(1)?, pages + 3);
    session.read(at, &mut seen)?;
    assert_eq!(&seen, b"\0\0ter");
    session.flush()?;
    assert_eq!(session.stat()?.pages, pages + 4);
    session.close()
}

#[test]
fn a_daemon_that_is_killed_at_each_request_changes_no_answer() {
    for publish in [Publish::OnWrite, Publish::OnFlush] {
        let daemon = Mortal::new(if publish == Publish::OnWrite { "write" } else { "flush" });
        for what in ["kill=before", "kill=after"] {
            for number in 1..13 {
                let before = daemon.starts();
                let options = daemon.options().publish(publish).faults(&format!("any:{}:{}", number, what));
                workload(daemon.connect(options)).unwrap_or_else(|error| panic!("{} {}: {}", what, number, error));
                assert_eq!(daemon.starts(), before + 1, "{} {}", what, number);
            }
        }
        for number in 1..4 {
            let request = if publish == Publish::OnWrite { "write" } else { "flush" };
            if publish == Publish::OnFlush && number == 3 {
                break;
            }
            let options = daemon.options().publish(publish).faults(&format!("{}:{}:kill=inside", request, number));
            workload(daemon.connect(options)).unwrap();
        }
    }
}
