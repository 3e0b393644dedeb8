//! A store as a file, by `pagectl mount`.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

fn pagectl() -> String {
    std::env::var("PAGECTL").expect("PAGECTL is the path of the tool")
}

/// Why nothing can be mounted here; none: it can. Tried once, whatever number of tests ask.
pub fn why_not() -> Option<&'static str> {
    static TRIED: OnceLock<Option<String>> = OnceLock::new();
    TRIED.get_or_init(try_to_mount).as_deref()
}

fn try_to_mount() -> Option<String> {
    let path = std::env::temp_dir().join(format!("pageserver-engine-tried-{}", std::process::id()));
    let tried = Command::new(pagectl()).args(["mount", "--quiet", "heap:"]).arg(&path).output().unwrap();
    if !tried.status.success() {
        return Some(String::from_utf8_lossy(&tried.stderr).into_owned());
    }
    unmount(&path);
    None
}

fn unmount(path: &Path) {
    assert!(Command::new("fusermount3").arg("-u").arg(path).status().unwrap().success());
    wait_until(|| !path.exists(), "the mount's last flush");
}

pub fn wait_until(holds: impl Fn() -> bool, what: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "waited too long: {}", what);
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub struct Mount {
    path: PathBuf,
    process: Option<std::process::Child>,
}

impl Mount {
    /// `options` as behind `-o`. Returns once programs find the file.
    pub fn new(uri: &str, path: &Path, options: &str) -> Mount {
        let mut process = Command::new(pagectl())
            .args(["mount", "--foreground", "--json", "-o", options, uri])
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It says so once, when the file can be opened.
        let said = std::io::BufReader::new(process.stdout.take().unwrap()).lines().next();
        let mount = Mount { path: path.to_owned(), process: Some(process) };
        assert!(matches!(said, Some(Ok(_))), "{} is not mounted", uri);
        mount
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Flushes what nobody has flushed.
    pub fn unmount(mut self) {
        unmount(&self.path);
        assert!(self.process.take().unwrap().wait().unwrap().success());
    }

    /// SIGKILL: nothing is flushed. Returns once the dead mount has gone by itself.
    pub fn kill(mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
        let path = format!(" {} fuse.pageserver ", self.path.display());
        wait_until(|| !std::fs::read_to_string("/proc/self/mounts").unwrap().contains(&path), "a dead mount to go");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
