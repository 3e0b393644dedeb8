//! The traits of engines, for each release that has them, on the types of this crate that can be an engine's memory.

#![allow(unused_macros, unused_imports)] // which of them are used depends on the features

use crate::error::{Error, ErrorKind};
use crate::protocol::PAGE_SIZE;
use crate::provider::Provider;

/// `$unit` is how many of what the release's own file provider returns from `grow` are in a page.
macro_rules! wasm_dbms {
    ($memory:ident, $api:ident, $unit:expr, $type:ty $(, $flush:item)?) => {
        impl $memory::MemoryProvider for $type {
            const PAGE_SIZE: u64 = PAGE_SIZE;

            fn size(&self) -> u64 {
                Provider::size(self.as_ref())
            }

            fn pages(&self) -> u64 {
                Provider::pages(self.as_ref())
            }

            fn grow(&mut self, new_pages: u64) -> $api::prelude::MemoryResult<u64> {
                match Provider::grow(self.as_mut(), new_pages) {
                    Ok(pages) => Ok(pages * $unit),
                    Err(error) => Err(engine_error!($api, error)),
                }
            }

            fn read(&mut self, offset: u64, buf: &mut [u8]) -> $api::prelude::MemoryResult<()> {
                Provider::read(self.as_mut(), offset, buf).map_err(|error| engine_error!($api, error))
            }

            fn write(&mut self, offset: u64, buf: &[u8]) -> $api::prelude::MemoryResult<()> {
                Provider::write(self.as_mut(), offset, buf).map_err(|error| engine_error!($api, error))
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

impl AsRef<Provider> for Provider {
    fn as_ref(&self) -> &Provider {
        self
    }
}

impl AsMut<Provider> for Provider {
    fn as_mut(&mut self) -> &mut Provider {
        self
    }
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
                Provider::flush(self.as_mut()).map_err(|error| engine_error!(wasm_dbms_api_0_11, error))
            }
        );
    };
}

every_release!(Provider);
#[cfg(unix)]
every_release!(crate::testing::ForkMemory);
