//! Memories around the one that is tested.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::path::Path;
use std::rc::Rc;
use wasi_dbms_memory::WasiMemoryProvider;
use wasm_dbms_api::prelude::{MemoryError, MemoryResult};
use wasm_dbms_memory::MemoryProvider;

/// A memory that is kept in reach while an engine has it.
#[derive(Debug)]
pub struct Shared<M>(Rc<RefCell<M>>);

impl<M> Clone for Shared<M> {
    fn clone(&self) -> Self {
        Shared(Rc::clone(&self.0))
    }
}

impl<M: MemoryProvider> Shared<M> {
    pub fn new(memory: M) -> Self {
        Shared(Rc::new(RefCell::new(memory)))
    }

    pub fn with<T>(&self, call: impl FnOnce(&mut M) -> T) -> T {
        call(&mut self.0.borrow_mut())
    }

    /// All of it.
    pub fn image(&self) -> Vec<u8> {
        let mut memory = self.0.borrow_mut();
        let mut image = vec![0; memory.size() as usize];
        memory.read(0, &mut image).unwrap();
        image
    }
}

impl<M: MemoryProvider> MemoryProvider for Shared<M> {
    const PAGE_SIZE: u64 = M::PAGE_SIZE;

    fn size(&self) -> u64 {
        self.0.borrow().size()
    }

    fn pages(&self) -> u64 {
        self.0.borrow().pages()
    }

    fn grow(&mut self, new_pages: u64) -> MemoryResult<u64> {
        self.0.borrow_mut().grow(new_pages)
    }

    fn read(&mut self, offset: u64, buf: &mut [u8]) -> MemoryResult<()> {
        self.0.borrow_mut().read(offset, buf)
    }

    fn write(&mut self, offset: u64, buf: &[u8]) -> MemoryResult<()> {
        self.0.borrow_mut().write(offset, buf)
    }

    fn flush(&mut self) -> MemoryResult<()> {
        self.0.borrow_mut().flush()
    }
}

/// The engine's own file provider, and a flush that does what its users think it does.
pub struct SyncedFile {
    memory: WasiMemoryProvider,
    file: File,
}

impl SyncedFile {
    pub fn open(path: &Path) -> SyncedFile {
        let memory = WasiMemoryProvider::new(path).unwrap();
        SyncedFile { memory, file: File::options().read(true).write(true).open(path).unwrap() }
    }
}

impl MemoryProvider for SyncedFile {
    const PAGE_SIZE: u64 = WasiMemoryProvider::PAGE_SIZE;

    fn size(&self) -> u64 {
        self.memory.size()
    }

    fn pages(&self) -> u64 {
        self.memory.pages()
    }

    fn grow(&mut self, new_pages: u64) -> MemoryResult<u64> {
        self.memory.grow(new_pages)
    }

    fn read(&mut self, offset: u64, buf: &mut [u8]) -> MemoryResult<()> {
        self.memory.read(offset, buf)
    }

    fn write(&mut self, offset: u64, buf: &[u8]) -> MemoryResult<()> {
        self.memory.write(offset, buf)
    }

    fn flush(&mut self) -> MemoryResult<()> {
        self.file.sync_all().map_err(|error| MemoryError::ProviderError(error.to_string()))
    }
}

/// Counts the calls that change something, and does something before one of them.
pub struct Interrupted<M> {
    memory: M,
    changes: Rc<Cell<u64>>,
    at: u64,
    interrupt: fn(),
}

impl<M: MemoryProvider> Interrupted<M> {
    /// `interrupt` runs before the change number `at`, counted from 1 and from the last time that `changes` was 0.
    pub fn new(memory: M, changes: Rc<Cell<u64>>, at: u64, interrupt: fn()) -> Self {
        Interrupted { memory, changes, at, interrupt }
    }

    fn count(&mut self) {
        self.changes.set(self.changes.get() + 1);
        if self.changes.get() == self.at {
            (self.interrupt)();
        }
    }
}

impl<M: MemoryProvider> MemoryProvider for Interrupted<M> {
    const PAGE_SIZE: u64 = M::PAGE_SIZE;

    fn size(&self) -> u64 {
        self.memory.size()
    }

    fn pages(&self) -> u64 {
        self.memory.pages()
    }

    fn grow(&mut self, new_pages: u64) -> MemoryResult<u64> {
        self.count();
        self.memory.grow(new_pages)
    }

    fn read(&mut self, offset: u64, buf: &mut [u8]) -> MemoryResult<()> {
        self.memory.read(offset, buf)
    }

    fn write(&mut self, offset: u64, buf: &[u8]) -> MemoryResult<()> {
        self.count();
        self.memory.write(offset, buf)
    }

    fn flush(&mut self) -> MemoryResult<()> {
        self.memory.flush()
    }
}
