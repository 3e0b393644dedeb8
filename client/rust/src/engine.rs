//! The traits of engines, for each release that has them, on the types of this crate that can be an engine's memory.

#![allow(dead_code, unused_macros, unused_imports)] // which of them are used depends on the features

use crate::error::{Error, ErrorKind, Result};
use crate::protocol::PAGE_SIZE;
use crate::provider::Provider;
use crate::stable::StableMemory;

/// What the traits need of a type.
pub(crate) trait EngineMemory {
    fn size(&self) -> u64;
    fn grow(&mut self, new_pages: u64) -> Result<u64>;
    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()>;
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<()>;
    fn flush(&mut self) -> Result<()>;
}

/// `$unit` is how many of what the release's own file provider returns from `grow` are in a page.
macro_rules! wasm_dbms {
    ($memory:ident, $api:ident, $unit:expr, $type:ty $(, $flush:item)?) => {
        impl $memory::MemoryProvider for $type {
            const PAGE_SIZE: u64 = PAGE_SIZE;

            fn size(&self) -> u64 {
                EngineMemory::size(self)
            }

            fn pages(&self) -> u64 {
                EngineMemory::size(self) / PAGE_SIZE
            }

            fn grow(&mut self, new_pages: u64) -> $api::prelude::MemoryResult<u64> {
                match EngineMemory::grow(self, new_pages) {
                    Ok(pages) => Ok(pages * $unit),
                    Err(error) => Err(engine_error!($api, error)),
                }
            }

            fn read(&mut self, offset: u64, buf: &mut [u8]) -> $api::prelude::MemoryResult<()> {
                EngineMemory::read(self, offset, buf).map_err(|error| engine_error!($api, error))
            }

            fn write(&mut self, offset: u64, buf: &[u8]) -> $api::prelude::MemoryResult<()> {
                EngineMemory::write(self, offset, buf).map_err(|error| engine_error!($api, error))
            }

            $($flush)?
        }
    };
}

macro_rules! engine_error {
    ($api:ident, $error:expr) => {{
        let error: Error = $error;
        match error.kind() {
            ErrorKind::OutOfBounds => $api::prelude::MemoryError::OutOfBounds,
            kind => $api::prelude::MemoryError::ProviderError(format!("{}: {}", kind, error)),
        }
    }};
}

macro_rules! every_release {
    ($type:ty) => {
        #[cfg(feature = "wasm-dbms-0-9")]
        wasm_dbms!(wasm_dbms_memory_0_9, wasm_dbms_api_0_9, 1, $type);
        #[cfg(feature = "wasm-dbms-0-10")]
        wasm_dbms!(wasm_dbms_memory_0_10, wasm_dbms_api_0_10, PAGE_SIZE, $type);
        #[cfg(feature = "wasm-dbms-0-11")]
        wasm_dbms!(
            wasm_dbms_memory_0_11,
            wasm_dbms_api_0_11,
            PAGE_SIZE,
            $type,
            fn flush(&mut self) -> wasm_dbms_api_0_11::prelude::MemoryResult<()> {
                EngineMemory::flush(self).map_err(|error| engine_error!(wasm_dbms_api_0_11, error))
            }
        );
    };
}

/// For a type that has these methods under these names.
macro_rules! engine_memory {
    ($type:ty, $size:ident, $grow:ident, $read:ident, $write:ident) => {
        impl EngineMemory for $type {
            fn size(&self) -> u64 {
                <$type>::$size(self)
            }

            fn grow(&mut self, new_pages: u64) -> Result<u64> {
                <$type>::$grow(self, new_pages)
            }

            fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
                <$type>::$read(self, offset, buffer)
            }

            fn write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
                <$type>::$write(self, offset, data)
            }

            fn flush(&mut self) -> Result<()> {
                <$type>::flush(self)
            }
        }
    };
}

engine_memory!(Provider, size, grow, read, write);
engine_memory!(StableMemory, size_bytes, grow_pages, read_at, write_at);

#[cfg(unix)]
impl EngineMemory for crate::testing::ForkMemory {
    fn size(&self) -> u64 {
        Provider::size(self.as_ref())
    }

    fn grow(&mut self, new_pages: u64) -> Result<u64> {
        Provider::grow(self.as_mut(), new_pages)
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        Provider::read(self.as_mut(), offset, buffer)
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        Provider::write(self.as_mut(), offset, data)
    }

    fn flush(&mut self) -> Result<()> {
        Provider::flush(self.as_mut())
    }
}

every_release!(Provider);
every_release!(StableMemory);
#[cfg(unix)]
every_release!(crate::testing::ForkMemory);
