//! The header of 24 bytes, and where a frame ends.

use super::reader::Fault;
use crate::ErrorKind;
use std::fmt;

/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 24;
/// The first bytes of every frame.
pub const MAGIC: [u8; 4] = *b"PGS1";

/// The `flags` of an answer.
pub(crate) const FLAG_ANSWER: u16 = 1;
/// The `flags` of a notice.
pub(crate) const FLAG_NOTICE: u16 = 2;

/// An operation's number, also one that this crate does not know.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Operation(pub u16);

macro_rules! numbered {
    ($type:ident, $unknown:literal, $($(#[$doc:meta])* $constant:ident = $number:literal, $name:literal;)*) => {
        #[allow(missing_docs)] // the document has them, by the same names
        impl $type {
            $($(#[$doc])* pub const $constant: $type = $type($number);)*

            /// The name that the document uses, if it knows the number.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($name),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, concat!($unknown, "_{}"), self.0),
                }
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

numbered! { Operation, "operation",
    HELLO = 1, "hello";
    PING = 2, "ping";
    LIST = 3, "list";
    CREATE = 4, "create";
    REMOVE = 5, "remove";
    OPEN = 6, "open";
    SIZE = 7, "size";
    GROW = 8, "grow";
    READ = 9, "read";
    WRITE = 10, "write";
    ZERO = 11, "zero";
    DATA_RANGES = 12, "data_ranges";
    FLUSH = 13, "flush";
    DISCARD = 14, "discard";
    REFRESH = 15, "refresh";
    STAT = 16, "stat";
    BREAK_LEASE = 17, "break_lease";
    CLOSE = 18, "close";
    COMMIT = 19, "commit";
    SESSIONS = 20, "sessions";
    KICK = 21, "kick";
    WHOAMI = 22, "whoami";
    FAULTS = 23, "faults";
    RING = 24, "ring";
    TAKEOVER = 25, "takeover";
    LEASE_LOST = 128, "lease_lost";
    GOODBYE = 129, "goodbye";
    WAITING = 130, "waiting";
}

/// A status's number, also one that this crate does not know.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub u16);

numbered! { Status, "status",
    OK = 0, "ok";
    OUT_OF_BOUNDS = 1, "out_of_bounds";
    PROVIDER_ERROR = 2, "provider_error";
    BUSY = 3, "busy";
    LEASE_LOST = 4, "lease_lost";
    READ_ONLY = 5, "read_only";
    SNAPSHOT_TOO_OLD = 6, "snapshot_too_old";
    NO_SPACE = 7, "no_space";
    LIMIT_EXCEEDED = 8, "limit_exceeded";
    NOT_FOUND = 9, "not_found";
    ALREADY_EXISTS = 10, "already_exists";
    PROTOCOL_ERROR = 11, "protocol_error";
    STOPPING = 12, "stopping";
    TIMED_OUT = 13, "timed_out";
    UNSUPPORTED = 14, "unsupported";
    INVALID_ARGUMENT = 15, "invalid_argument";
    PERMISSION_DENIED = 16, "permission_denied";
    DAMAGED = 17, "damaged";
    KICKED = 18, "kicked";
    TOKEN_UNKNOWN = 19, "token_unknown";
    TOKEN_EXPIRED = 20, "token_expired";
    TOKEN_FOREIGN = 21, "token_foreign";
    IDENTITY_DIFFERS = 22, "identity_differs";
    REQUEST_DIFFERS = 23, "request_differs";
    OUTSIDE_WINDOW = 24, "outside_window";
    SERVED_ELSEWHERE = 25, "served_elsewhere";
}

impl Status {
    /// What the status means to a program. One that is not known is a provider error.
    pub fn kind(self) -> ErrorKind {
        match self {
            Status::OUT_OF_BOUNDS => ErrorKind::OutOfBounds,
            Status::BUSY | Status::SERVED_ELSEWHERE => ErrorKind::Busy,
            Status::LEASE_LOST => ErrorKind::LeaseLost,
            Status::READ_ONLY => ErrorKind::ReadOnly,
            Status::SNAPSHOT_TOO_OLD => ErrorKind::SnapshotTooOld,
            Status::NO_SPACE => ErrorKind::NoSpace,
            Status::LIMIT_EXCEEDED => ErrorKind::LimitExceeded,
            Status::NOT_FOUND => ErrorKind::NotFound,
            Status::ALREADY_EXISTS => ErrorKind::AlreadyExists,
            Status::PROTOCOL_ERROR => ErrorKind::ProtocolError,
            Status::STOPPING
            | Status::KICKED
            | Status::TOKEN_UNKNOWN
            | Status::TOKEN_EXPIRED
            | Status::TOKEN_FOREIGN
            | Status::IDENTITY_DIFFERS => ErrorKind::ConnectionLost,
            Status::REQUEST_DIFFERS | Status::OUTSIDE_WINDOW => ErrorKind::ProtocolError,
            Status::TIMED_OUT => ErrorKind::TimedOut,
            Status::UNSUPPORTED => ErrorKind::Unsupported,
            Status::INVALID_ARGUMENT => ErrorKind::InvalidArgument,
            Status::PERMISSION_DENIED => ErrorKind::PermissionDenied,
            Status::DAMAGED => ErrorKind::Damaged,
            _ => ErrorKind::ProviderError,
        }
    }
}

/// A frame's header, but for its magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What is asked or answered.
    pub operation: Operation,
    /// 0: a request. 1: an answer. 2: a notice.
    pub flags: u16,
    /// Of the request, or of the one that is answered; 0 in a notice.
    pub request_id: u64,
    /// Bytes of the payload that follows.
    pub payload_bytes: u32,
    /// 0 in a request.
    pub status: Status,
    /// 0.
    pub reserved: u16,
}

impl Header {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0..4].copy_from_slice(&MAGIC);
        out[4..6].copy_from_slice(&self.operation.0.to_le_bytes());
        out[6..8].copy_from_slice(&self.flags.to_le_bytes());
        out[8..16].copy_from_slice(&self.request_id.to_le_bytes());
        out[16..20].copy_from_slice(&self.payload_bytes.to_le_bytes());
        out[20..22].copy_from_slice(&self.status.0.to_le_bytes());
        out[22..24].copy_from_slice(&self.reserved.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8; HEADER_BYTES]) -> Header {
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let mut request_id = [0; 8];
        request_id.copy_from_slice(&bytes[8..16]);
        Header {
            operation: Operation(half(4)),
            flags: half(6),
            request_id: u64::from_le_bytes(request_id),
            payload_bytes: u32::from_le_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]),
            status: Status(half(20)),
            reserved: half(22),
        }
    }
}

/// What the first bytes of a stream are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scan {
    /// A header's begin, as far as it goes.
    Partial,
    /// A whole header; of the payload there may be anything from nothing to more than it.
    Header(Header),
}

impl Scan {
    /// Looks at the first bytes of `bytes`. Fails as soon as they can't be a frame of this protocol, or announce a
    /// payload of more than `payload_bytes_max`.
    pub fn of(bytes: &[u8], payload_bytes_max: u32) -> Result<Scan, Fault> {
        let seen = bytes.len().min(MAGIC.len());
        if bytes[..seen] != MAGIC[..seen] {
            return Err(wrong_magic(&bytes[..seen]));
        }
        if bytes.len() < HEADER_BYTES {
            return Ok(Scan::Partial);
        }
        let mut head = [0; HEADER_BYTES];
        head.copy_from_slice(&bytes[..HEADER_BYTES]);
        let header = Header::decode(&head);
        if header.payload_bytes > payload_bytes_max {
            return Err(Fault(format!(
                "{} frame announces payload_bytes={}, at most payload_bytes_max={}",
                header.operation, header.payload_bytes, payload_bytes_max
            )));
        }
        Ok(Scan::Header(header))
    }
}

#[cold]
fn wrong_magic(bytes: &[u8]) -> Fault {
    let mut text = String::from("frame begins with bytes");
    for byte in bytes {
        text.push_str(&format!(" {:02x}", byte));
    }
    Fault(text + ", expected 50 47 53 31: not this protocol, or a wrong length before")
}
