//! A daemon that is killed and started again on the same folder.

use pageserver::{Access, Options, Publish, Session};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A folder of its own, gone at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("pageserver-engine-{}-{}", std::process::id(), name));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path.join("stores")).unwrap();
        Folder(path)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub struct Daemon {
    child: Child,
    socket: PathBuf,
}

impl Daemon {
    /// Serves `folder/stores`, and waits until it answers.
    pub fn start(folder: &Path) -> Daemon {
        let program = pageserver::testing::find_daemon().unwrap();
        let socket = folder.join("socket");
        let log = std::fs::File::options().append(true).create(true).open(folder.join("log")).unwrap();
        let child = Command::new(program)
            .arg("--directory")
            .arg(folder.join("stores"))
            .arg("--allow-create")
            .arg("--unix")
            .arg(&socket)
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let daemon = Daemon { child, socket };
        let end = Instant::now() + Duration::from_secs(60);
        let uri = format!("pageserver+unix:///?socket={}", daemon.socket.display());
        while pageserver::Daemon::connect(&uri).and_then(|mut daemon| daemon.ping()).is_err() {
            assert!(Instant::now() < end, "{}", std::fs::read_to_string(folder.join("log")).unwrap());
            std::thread::sleep(Duration::from_millis(1));
        }
        daemon
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn uri(&self, store: &str) -> String {
        format!("pageserver+unix:///{}?socket={}", store, self.socket.display())
    }

    pub fn create(&self, store: &str) {
        pageserver::Daemon::connect(&self.uri("")).unwrap().create(store, 0).unwrap();
    }

    /// All of the newest published version. Waits for the lease first: whoever had it has ended then.
    pub fn image(&self, store: &str) -> Vec<u8> {
        let options = || Options::unix(self.socket.clone(), store);
        Session::connect(options().wait_ms(60_000)).unwrap().close().unwrap();
        let mut session = Session::connect(options().access(Access::Read)).unwrap();
        let mut image = vec![0; session.size().unwrap() as usize];
        session.read(0, &mut image).unwrap();
        image
    }

    pub fn fill(&self, store: &str, image: &[u8]) {
        let options = Options::unix(self.socket.clone(), store).publish(Publish::OnFlush).wait_ms(60_000);
        let mut session = Session::connect(options).unwrap();
        let pages = session.pages().unwrap();
        session.grow(image.len() as u64 / pageserver::PAGE_SIZE - pages).unwrap();
        session.write(0, image).unwrap();
        session.flush().unwrap();
        session.close().unwrap();
    }

    /// SIGKILL, unless somebody else did that.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
