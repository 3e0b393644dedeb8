//! A [`Provider`] that is shared by its clones and asked through `&self`, as `ic-stable-structures` wants its memory.
//!
//! An engine keeps the memory that it is given, and has no way to reach it. So `wasm-dbms` before 0.11, which has no
//! flush, and a reader of any release, which has to [`refresh`](StableMemory::refresh), get a clone.

use crate::error::{Error, Result};
use crate::provider::Provider;
use std::cell::RefCell;
use std::rc::Rc;

/// Clones share one memory: give one to the engine or the memory manager, and keep one to flush or refresh. It has the
/// traits of `wasm-dbms` as [`Provider`] has them.
///
/// `ic_stable_structures::Memory` has no errors: a read or write that fails **panics** with the error's text, and a
/// `grow` that fails answers -1 and leaves the text to [`last_error`](StableMemory::last_error). A memory manager writes
/// its header over the first bytes of whatever does not begin with its magic: never open another tool's image with one.
#[derive(Clone, Debug)]
pub struct StableMemory {
    shared: Rc<Shared>,
}

#[derive(Debug)]
struct Shared {
    provider: RefCell<Provider>,
    last_error: RefCell<Option<Error>>,
}

impl StableMemory {
    /// Takes over a provider.
    pub fn new(provider: Provider) -> Self {
        let shared = Shared { provider: RefCell::new(provider), last_error: RefCell::new(None) };
        StableMemory { shared: Rc::new(shared) }
    }

    fn run<T>(&self, call: impl FnOnce(&mut Provider) -> Result<T>) -> Result<T> {
        let result = call(&mut self.shared.provider.borrow_mut());
        if let Err(error) = &result {
            *self.shared.last_error.borrow_mut() = Some(error.clone());
        }
        result
    }

    /// Pages; what is known here, at once and without fail.
    pub fn pages(&self) -> u64 {
        self.shared.provider.borrow().pages()
    }

    /// Bytes; what is known here, at once and without fail.
    pub fn size_bytes(&self) -> u64 {
        self.shared.provider.borrow().size()
    }

    /// As [`Provider::grow`].
    pub fn grow_pages(&self, new_pages: u64) -> Result<u64> {
        self.run(|provider| provider.grow(new_pages))
    }

    /// As [`Provider::read`].
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.run(|provider| provider.read(offset, buffer))
    }

    /// As [`Provider::write`].
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.run(|provider| provider.write(offset, data))
    }

    /// As [`Provider::flush`]: publishes and makes durable.
    pub fn flush(&self) -> Result<()> {
        self.run(Provider::flush)
    }

    /// As [`Provider::refresh`].
    pub fn refresh(&self) -> Result<()> {
        self.run(Provider::refresh)
    }

    /// The last error of any clone, if there was one.
    pub fn last_error(&self) -> Option<Error> {
        self.shared.last_error.borrow().clone()
    }
}

#[cfg(feature = "ic-stable-structures-0-7")]
impl ic_stable_structures_0_7::Memory for StableMemory {
    fn size(&self) -> u64 {
        self.pages()
    }

    fn grow(&self, pages: u64) -> i64 {
        match self.grow_pages(pages) {
            Ok(previous) => i64::try_from(previous).unwrap_or(-1),
            Err(_) => -1,
        }
    }

    fn read(&self, offset: u64, dst: &mut [u8]) {
        if let Err(error) = self.read_at(offset, dst) {
            panic!("{}: {}", error.kind(), error);
        }
    }

    fn write(&self, offset: u64, src: &[u8]) {
        if let Err(error) = self.write_at(offset, src) {
            panic!("{}: {}", error.kind(), error);
        }
    }
}
