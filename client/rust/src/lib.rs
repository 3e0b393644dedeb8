//! Client for `pageserverd`, a daemon that serves memory images: flat files of 64 KiB pages.
//!
//! ```no_run
//! # fn main() -> Result<(), pageserver::Error> {
//! use pageserver::Session;
//!
//! let mut session = Session::open("pageserver://127.0.0.1/demo?publish=on_flush")?;
//! if session.pages()? == 0 {
//!     session.grow(1)?;
//! }
//! session.write(70, b"abc")?;
//! session.flush()?; // others see it from here on, and a power cut does not take it
//! let mut bytes = [0; 3];
//! session.read(70, &mut bytes)?;
//! assert_eq!(&bytes, b"abc");
//! # Ok(()) }
//! ```
//!
//! - [`Session`]: one client's use of one store; [`Options`]: how to open it; [`Pipeline`]: many requests in flight.
//! - [`Daemon`]: lists, makes and removes stores, shows who uses them, and ends sessions.
//! - [`provider`]: memory for an engine (heap, file or store), with the traits of `wasm-dbms` behind the features
//!   `wasm-dbms-0-9`, `wasm-dbms-0-10`, `wasm-dbms-0-11`, and [`stable`] for `ic-stable-structures-0-7`.
//! - The feature `rustls`: `pageservers://`, which is TLS, and `Session::connect_tls` for TLS that the program sets up.
//! - [`Error`], [`ErrorKind`]: what went wrong, for people and for programs.
//!
//! The crate has no dependency, no build script and no unsafe code. It blocks, and needs of the system only a stream
//! of bytes: TCP, a Unix socket, or whatever is `Read + Write` ([`Session::over`]).

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod batch;
mod cached;
mod connection;
mod connection_frames;
mod credentials;
mod daemon;
mod dial;
mod engine;
mod error;
mod opening;
mod options;
mod page_cache;
mod pipeline;
mod poll;
pub mod protocol;
pub mod provider;
mod resume;
mod secrets;
mod session;
pub mod stable;
#[cfg(feature = "rustls")]
mod tls;
mod transport;
mod uri;

pub use daemon::Daemon;
pub use error::{printable, Error, ErrorKind, Result};
pub use options::Options;
pub use pipeline::{Done, Pipeline};
pub use protocol::{
    Access, ByteRange, HolderStat, Home, ListEntry, Load, Publish, Recovery, Refreshed, SessionReport, SessionState,
    Stat, TakenOver, Version, View, WaitsFor, WhoAmI, PAGE_SIZE,
};
pub use provider::Provider;
pub use session::{Session, Traffic};
pub use transport::{Transport, Wait};

#[cfg(unix)]
pub mod testing;
