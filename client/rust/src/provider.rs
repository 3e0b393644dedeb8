//! Memory for an engine: a heap, a file or a daemon's store, chosen at run time.
//!
//! What an engine such as `wasm-dbms` expects of its memory is harder than what a [`Session`] promises: it asks for the
//! size without being able to hear of an error, and it takes one failed read at its begin for an empty database, which
//! it then overwrites. So [`RemoteMemory`] answers sizes from what it knows, without asking anybody; and once the state
//! of its session is unknown, every later call fails with the error that made it so.
//!
//! # When to flush
//!
//! The engine does not call `flush` at a commit: release 0.11 only in its context's own `flush`, earlier ones never.
//! Call it after each commit. [`Provider::open`] opens a writer with `publish=on_flush` unless the URI says otherwise: what the
//! engine writes is private until the flush, which publishes all of it or nothing, whatever happens to this process,
//! the network or the daemon meanwhile. Before 0.11 keep the memory where you can reach it, or use a
//! [`StableMemory`](crate::stable::StableMemory), whose clones share it.
//!
//! **With `publish=on_write` a connection that is lost inside a commit leaves half of that commit in the store**, the
//! engine's undo fails for the same reason, and the program sees it panic. The plain file is no better there: of 117
//! processes that were killed inside a commit, 116 left half of it in the file.
//!
//! # Readers
//!
//! A reader opens pinned, which is what [`Provider::open`] does with `access=read`, and moves on with
//! [`refresh`](Provider::refresh) between two operations of the engine, on a clone of the
//! [`StableMemory`](crate::stable::StableMemory) that the engine was given. A live view would show it half of a commit, and
//! is refused. The engine panics when it is asked to write there; the text of our error says what to open instead.

use crate::error::{Error, ErrorKind, Result};
use crate::options::Options;
use crate::protocol::{Access, Publish, View, PAGE_SIZE};
use crate::session::Session;
use crate::uri::{self, Scheme, Target};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The engine's page numbers are 32 bits wide: with one page more its next growth would zero its directory.
pub const ENGINE_PAGES_MAX: u64 = u32::MAX as u64;

fn out_of_bounds(operation: &str, offset: u64, length: usize, size: u64) -> Error {
    let text = format!("{} offset={} length={} exceeds size={}", operation, offset, length, size);
    Error::new(ErrorKind::OutOfBounds, text)
}

/// The pages after a growth, or why there can't be so many.
fn grown(pages: u64, new_pages: u64) -> Result<u64> {
    match pages.checked_add(new_pages) {
        Some(after) if after <= ENGINE_PAGES_MAX => Ok(after),
        _ => {
            let text = format!(
                "grow new_pages={} to pages={} exceeds {} pages, which is all that an engine's page numbers reach",
                new_pages, pages, ENGINE_PAGES_MAX
            );
            Err(Error::new(ErrorKind::LimitExceeded, text))
        }
    }
}

/// An image in this process.
#[derive(Debug, Default)]
pub struct HeapMemory {
    bytes: Vec<u8>,
}

impl HeapMemory {
    fn range(&self, operation: &str, offset: u64, length: usize) -> Result<std::ops::Range<usize>> {
        let size = self.bytes.len() as u64;
        if length as u64 > size || offset > size - length as u64 {
            return Err(out_of_bounds(operation, offset, length, size));
        }
        Ok(offset as usize..offset as usize + length)
    }

    fn grow(&mut self, new_pages: u64) -> Result<u64> {
        let pages = self.bytes.len() as u64 / PAGE_SIZE;
        let after = usize::try_from(grown(pages, new_pages)? * PAGE_SIZE).ok();
        let more = after.map(|after| after - self.bytes.len());
        match (after, more.map(|more| self.bytes.try_reserve_exact(more))) {
            (Some(after), Some(Ok(()))) => self.bytes.resize(after, 0),
            _ => {
                let text = format!("grow new_pages={} exceeds what this process can have", new_pages);
                return Err(Error::new(ErrorKind::NoSpace, text));
            }
        }
        Ok(pages)
    }
}

/// A local file, byte for byte the image, as the engine's own file provider keeps it. Nothing locks it: to have one
/// writer only is the caller's responsibility.
#[derive(Debug)]
pub struct FileMemory {
    file: File,
    path: PathBuf,
    size: u64,
}

impl FileMemory {
    /// Opens or makes the file; with `read_only` it must be there. `damaged` unless its size is a multiple of a page.
    pub fn open(path: &Path, read_only: bool) -> Result<FileMemory> {
        let mut options = OpenOptions::new();
        options.read(true).write(!read_only).create(!read_only);
        let file = options.open(path).map_err(|error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                std::io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
                _ => ErrorKind::ProviderError,
            };
            Error::new(kind, format!("open {}: {}", path.display(), error))
        })?;
        let mut memory = FileMemory { file, path: path.to_path_buf(), size: 0 };
        memory.size = memory.length("open")?;
        if memory.size % PAGE_SIZE != 0 {
            let text = format!(
                "open {}: size={} is not a multiple of {}: it is not an image, or not a whole one",
                path.display(),
                memory.size,
                PAGE_SIZE
            );
            return Err(Error::new(ErrorKind::Damaged, text));
        }
        Ok(memory)
    }

    fn error(&self, operation: &str, error: &std::io::Error) -> Error {
        Error::new(ErrorKind::ProviderError, format!("{} {}: {}", operation, self.path.display(), error))
    }

    fn length(&self, operation: &str) -> Result<u64> {
        let metadata = self.file.metadata().map_err(|error| self.error(operation, &error))?;
        Ok(metadata.len())
    }

    fn seek(&mut self, operation: &str, offset: u64, length: usize) -> Result<()> {
        if length as u64 > self.size || offset > self.size - length as u64 {
            return Err(out_of_bounds(operation, offset, length, self.size));
        }
        match self.file.seek(SeekFrom::Start(offset)) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.error(operation, &error)),
        }
    }

    fn grow(&mut self, new_pages: u64) -> Result<u64> {
        let pages = self.size / PAGE_SIZE;
        let after = grown(pages, new_pages)? * PAGE_SIZE;
        let length = self.length("grow")?;
        if length != self.size {
            // Setting the length from a number that is old would cut off what somebody else appended.
            let text = format!(
                "grow {}: the file has {} bytes, {} when last seen: somebody else writes to it",
                self.path.display(),
                length,
                self.size
            );
            return Err(Error::new(ErrorKind::Damaged, text));
        }
        self.file.set_len(after).map_err(|error| self.error("grow", &error))?;
        self.size = after;
        Ok(pages)
    }
}

/// A daemon's store, as an engine needs it: see the module's text.
#[derive(Debug)]
pub struct RemoteMemory {
    session: Session,
    failed: Option<Error>,
}

impl RemoteMemory {
    /// Takes over a session. `invalid_argument` for a live reader, whose engine would see half of a commit.
    pub fn new(session: Session) -> Result<RemoteMemory> {
        if session.is_live() {
            let text =
                "an engine that reads needs one version at a time: open it with view=pinned, and refresh between \
                        two operations";
            return Err(Error::new(ErrorKind::InvalidArgument, text));
        }
        Ok(RemoteMemory { session, failed: None })
    }

    /// The session, for what an engine has no call for. What is written past this memory is not seen by an engine that
    /// has it open.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// The session back.
    pub fn into_session(self) -> Session {
        self.session
    }

    /// What made the session's state unknown: every later call fails with it.
    pub fn failed(&self) -> Option<&Error> {
        self.failed.as_ref()
    }

    fn run<T>(&mut self, reads: bool, call: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let result = call(&mut self.session);
        if let Err(error) = &result {
            // A change that was refused has changed nothing, and an engine that undoes its commit must still be heard.
            let refused = match error.kind() {
                ErrorKind::OutOfBounds => true,
                ErrorKind::ReadOnly | ErrorKind::NoSpace | ErrorKind::LimitExceeded | ErrorKind::InvalidArgument => {
                    !reads
                }
                _ => false,
            };
            if !refused || !self.session.pages_known {
                self.failed = Some(error.clone());
            }
        }
        result
    }

    fn grow(&mut self, new_pages: u64) -> Result<u64> {
        let pages = self.session.known_pages();
        self.run(false, |session| {
            grown(pages, new_pages)?;
            session.grow(new_pages)
        })
    }
}

/// Memory for an engine: one type, whatever is behind it, since the engine's traits can't be used as objects.
#[derive(Debug)]
#[non_exhaustive]
pub enum Provider {
    /// In this process.
    Heap(HeapMemory),
    /// A local file.
    File(FileMemory),
    /// A daemon's store. Boxed: it is much larger than the others.
    Remote(Box<RemoteMemory>),
}

impl From<RemoteMemory> for Provider {
    fn from(memory: RemoteMemory) -> Self {
        Provider::Remote(Box::new(memory))
    }
}

impl Provider {
    /// Opens `heap:`, `file:PATH[?access=read]`, a plain path, or a store (see [`Options::from_uri`]). A writer of a store
    /// has `publish=on_flush` unless the URI says otherwise, a reader `view=pinned`.
    pub fn open(text: &str) -> Result<Provider> {
        let mut parsed = uri::parse(text, Access::Write, Target::Image)?;
        match parsed.scheme {
            Scheme::Heap => return Ok(Provider::Heap(HeapMemory::default())),
            Scheme::File => {
                let memory = FileMemory::open(&parsed.path, parsed.access == Access::Read)?;
                return Ok(Provider::File(memory));
            }
            _ => {}
        }
        if parsed.access == Access::Write && !parsed.publish_given {
            parsed.publish = Publish::OnFlush;
        }
        if parsed.access == Access::Read && !parsed.view_given {
            parsed.view = View::Pinned;
        }
        let session = Session::connect(Options::from_parsed(parsed, text)?)?;
        Ok(RemoteMemory::new(session)?.into())
    }

    /// Bytes; what is known here, at once and without fail.
    pub fn size(&self) -> u64 {
        match self {
            Provider::Heap(heap) => heap.bytes.len() as u64,
            Provider::File(file) => file.size,
            Provider::Remote(remote) => remote.session.known_size(),
        }
    }

    /// Pages; what is known here, at once and without fail.
    pub fn pages(&self) -> u64 {
        self.size() / PAGE_SIZE
    }

    /// Appends pages of zeros and returns how many there were. `limit_exceeded` past [`ENGINE_PAGES_MAX`].
    pub fn grow(&mut self, new_pages: u64) -> Result<u64> {
        match self {
            Provider::Heap(heap) => heap.grow(new_pages),
            Provider::File(file) => file.grow(new_pages),
            Provider::Remote(remote) => remote.grow(new_pages),
        }
    }

    /// Fills `buffer` from byte `offset` on; `out_of_bounds` unless all of it is there.
    pub fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        match self {
            Provider::Heap(heap) => {
                let range = heap.range("read", offset, buffer.len())?;
                buffer.copy_from_slice(&heap.bytes[range]);
                Ok(())
            }
            Provider::File(file) => {
                file.seek("read", offset, buffer.len())?;
                file.file.read_exact(buffer).map_err(|error| file.error("read", &error))
            }
            Provider::Remote(remote) => remote.run(true, |session| session.read(offset, buffer)),
        }
    }

    /// Replaces bytes; never grows.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        match self {
            Provider::Heap(heap) => {
                let range = heap.range("write", offset, data.len())?;
                heap.bytes[range].copy_from_slice(data);
                Ok(())
            }
            Provider::File(file) => {
                file.seek("write", offset, data.len())?;
                file.file.write_all(data).map_err(|error| file.error("write", &error))
            }
            Provider::Remote(remote) => remote.run(false, |session| session.write(offset, data)),
        }
    }

    /// Makes durable what was written; of a store it is published, too. A heap has nothing to do.
    pub fn flush(&mut self) -> Result<()> {
        match self {
            Provider::Heap(_) => Ok(()),
            Provider::File(file) => file.file.sync_all().map_err(|error| file.error("flush", &error)),
            Provider::Remote(remote) => remote.run(false, Session::flush),
        }
    }

    /// The most bytes of a write that is applied whole or not at all, for everybody who reads meanwhile, when it fails,
    /// and when a process is killed in it: all of them in a heap, one (no promise) in a file, and
    /// [`Session::atomic_write_bytes`] for a store.
    pub fn atomic_write_bytes(&self) -> u64 {
        match self {
            Provider::Heap(_) => u64::MAX,
            Provider::File(_) => 1,
            Provider::Remote(remote) => remote.session.atomic_write_bytes(),
        }
    }

    /// Ends it, and says how that went: when it answers, the store's lease, or the file, is free for others. It flushes
    /// nothing: what a transaction of an `on_flush` session did not publish is dropped. Dropping a provider does the
    /// same and says nothing.
    pub fn close(self) -> Result<()> {
        match self {
            Provider::Heap(_) | Provider::File(_) => Ok(()),
            Provider::Remote(remote) => remote.into_session().close(),
        }
    }

    /// Moves a pinned reader, or a fork with nothing private, to the newest version; for others it does nothing. Between
    /// two operations of the engine only: what it holds in memory of page 0 is as old as its opening.
    pub fn refresh(&mut self) -> Result<()> {
        match self {
            Provider::Remote(remote) if remote.session.access() != Access::Write => {
                remote.run(false, |session| session.refresh().map(|_| ()))
            }
            _ => Ok(()),
        }
    }
}
