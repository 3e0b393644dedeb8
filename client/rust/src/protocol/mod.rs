//! Bytes and messages, as `proto/PROTOCOL.md` defines them: no I/O. [`Session`](crate::Session) is built on it; it is
//! public for tests, tools and stand-ins for a daemon.

mod answer;
mod frame;
mod reader;
mod request;
mod sessions;

pub use answer::{
    decode_message, Answer, HelloAnswer, HolderStat, Home, ListEntry, Load, OpenAnswer, OrderedFault, Recovery,
    Refreshed, ResumeTicket, Size, Stat, TakenOver, WhoAmI,
};
pub use frame::{Header, Operation, Scan, Status, HEADER_BYTES, MAGIC};
pub use reader::Fault;
pub use request::{encode_head, Request};
pub use sessions::{SessionReport, SessionState, WaitsFor};

pub(crate) use frame::{FLAG_ANSWER, FLAG_NOTICE};
pub(crate) use request::{is_session_name, is_store_name};

/// A page is 65,536 bytes.
pub const PAGE_SIZE: u64 = 65536;
/// The TCP port where a URI names none.
pub const DEFAULT_PORT: u16 = 6553;
/// The same for TLS.
pub const DEFAULT_TLS_PORT: u16 = 6554;
/// The version of the protocol that this crate speaks.
pub const PROTOCOL_VERSION: u16 = 1;
/// The most bytes that a frame's payload has before hello is answered.
pub const HELLO_PAYLOAD_BYTES_MAX: u32 = 4096;
/// What a payload needs at most beside the data that it carries.
pub const PAYLOAD_OVERHEAD_BYTES: u32 = 4096;
/// The most bytes of a ping.
pub const PING_BYTES_MAX: usize = 64;
/// The most bytes of a store's name.
pub const STORE_NAME_BYTES_MAX: usize = 64;
/// The most bytes of a client's or session's name, or a holder's address.
pub const NAME_BYTES_MAX: usize = 255;
/// The most bytes of an error's text.
pub const MESSAGE_BYTES_MAX: usize = 2048;
/// The most stores that one list answer names.
pub const LIST_ENTRIES_MAX: usize = 32;
/// The most connections in one answer.
pub const SESSIONS_ENTRIES_MAX: usize = 48;
/// Orders of faults of one session, and of one store.
pub const FAULT_ORDERS_MAX: usize = 32;
/// Text of one request `faults`.
pub const FAULT_ORDERS_BYTES_MAX: usize = 4096;
/// The most bytes of the credentials in hello.
pub const CREDENTIALS_BYTES_MAX: usize = 1024;
/// The most ranges in one answer.
pub const RANGES_MAX: usize = 4096;

/// The feature that allows the operation `zero`.
pub const FEATURE_ZERO: u64 = 1;
/// The feature that allows the operation `data_ranges`.
pub const FEATURE_DATA_RANGES: u64 = 2;
/// The feature that allows the operation `commit`.
pub const FEATURE_COMMIT: u64 = 4;
/// The feature that puts what was recovered into the answers of `stat` and `list`.
pub const FEATURE_RECOVERY: u64 = 8;
/// The feature that allows the operations `sessions` and `kick`.
pub const FEATURE_SESSIONS: u64 = 16;
/// The feature that has a `stat` answer say what waits and hangs.
pub const FEATURE_LOAD: u64 = 32;
/// The feature that allows credentials in hello, and the operation `whoami`.
pub const FEATURE_IDENTITY: u64 = 64;
/// The feature that allows the operation `faults`, of a daemon that was started with `--allow-faults`.
pub const FEATURE_FAULTS: u64 = 128;
/// The feature of sessions that outlive their connection; offered only where a client means to resume.
pub const FEATURE_RESUME: u64 = 256;
/// The feature of a writer's sessions that also outlive their daemon; together with [`FEATURE_RESUME`].
pub const FEATURE_RESTART: u64 = 1024;
/// The feature that allows the operation `takeover`.
pub const FEATURE_TAKEOVER: u64 = 2048;
/// The feature that has a `stat` answer say where the image lies.
pub const FEATURE_HOME: u64 = 4096;
/// The features that this crate can use in any session.
pub const FEATURES_ALL: u64 = FEATURE_ZERO
    | FEATURE_DATA_RANGES
    | FEATURE_COMMIT
    | FEATURE_RECOVERY
    | FEATURE_SESSIONS
    | FEATURE_LOAD
    | FEATURE_IDENTITY
    | FEATURE_FAULTS
    | FEATURE_TAKEOVER
    | FEATURE_HOME;

/// What a session may do. It never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Access {
    /// Reads what others publish.
    Read = 0,
    /// Holds the writer lease.
    Write = 1,
    /// A private copy-on-write image, gone at the end.
    Fork = 2,
}

/// What a reader sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum View {
    /// The newest published version, at each read.
    Live = 0,
    /// One version, until `refresh`.
    Pinned = 1,
}

/// When a writer's bytes become visible to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Publish {
    /// With each write.
    OnWrite = 0,
    /// All or none of them with `flush`.
    OnFlush = 1,
}

/// A published state of a store. Numbers grow within one incarnation; versions of different incarnations say nothing
/// about each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Version {
    /// Random at each opening of the store by the daemon.
    pub incarnation: u64,
    /// Grows with every publish.
    pub number: u64,
}

/// `length` bytes from byte `offset` of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ByteRange {
    /// In bytes, from the begin of the image.
    pub offset: u64,
    /// In bytes.
    pub length: u64,
}
