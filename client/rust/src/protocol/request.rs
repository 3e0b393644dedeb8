//! Requests to bytes.

use super::frame::{Header, Operation, Status, HEADER_BYTES};
use super::{Access, Publish, View, NAME_BYTES_MAX, STORE_NAME_BYTES_MAX};
use crate::error::is_unsafe;

/// A request, with the fields of its table in the document.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // the document has them, by the same names
#[non_exhaustive]
pub enum Request<'a> {
    Hello {
        version_min: u16,
        version_max: u16,
        payload_bytes_max: u32,
        features: u64,
        client_name: &'a str,
        credentials: &'a str,
    },
    Ping {
        echo: &'a [u8],
    },
    List {
        after: &'a str,
    },
    Create {
        store: &'a str,
        pages: u64,
    },
    Remove {
        store: &'a str,
    },
    Open {
        access: Access,
        view: View,
        publish: Publish,
        wait_ms: u32,
        /// Of the session that goes on, with the feature `resume`; zeros: a new one.
        resume_token: [u8; 16],
        /// The acknowledged mark of that session, or 0.
        last_request_id: u64,
        store: &'a str,
        session_name: &'a str,
    },
    Size,
    Grow {
        new_pages: u64,
    },
    Read {
        offset: u64,
        length: u32,
    },
    Write {
        offset: u64,
        data: &'a [u8],
    },
    Zero {
        offset: u64,
        length: u64,
    },
    DataRanges {
        offset: u64,
        length: u64,
    },
    Flush,
    Discard,
    Refresh,
    Stat,
    BreakLease {
        epoch: u64,
    },
    Sessions {
        after: u64,
        store: &'a str,
    },
    Kick {
        id: u64,
        is_connection: bool,
        reason: &'a str,
    },
    Whoami {
        store: &'a str,
    },
    Faults {
        what: u8,
        scope: u8,
        orders: &'a str,
    },
    Ring {
        direction_bytes: u64,
    },
    Takeover {
        store: &'a str,
        holder_is_dead: bool,
    },
    Close,
    Commit,
}

/// Appends the header of a request and the number that its payload begins with: of a write all but its data, which
/// the caller sends behind it.
pub fn encode_head(operation: Operation, request_id: u64, payload_bytes: usize, first: u64, out: &mut Vec<u8>) {
    let mut head = [0; HEADER_BYTES + 8];
    head[..HEADER_BYTES].copy_from_slice(&header(operation, request_id, payload_bytes).encode());
    head[HEADER_BYTES..].copy_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&head);
}

fn header(operation: Operation, request_id: u64, payload_bytes: usize) -> Header {
    Header { operation, flags: 0, request_id, payload_bytes: payload_bytes as u32, status: Status::OK, reserved: 0 }
}

fn put_length(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u16).to_le_bytes());
}

impl Request<'_> {
    /// The operation's number.
    pub fn operation(&self) -> Operation {
        match self {
            Request::Hello { .. } => Operation::HELLO,
            Request::Ping { .. } => Operation::PING,
            Request::List { .. } => Operation::LIST,
            Request::Create { .. } => Operation::CREATE,
            Request::Remove { .. } => Operation::REMOVE,
            Request::Open { .. } => Operation::OPEN,
            Request::Size => Operation::SIZE,
            Request::Grow { .. } => Operation::GROW,
            Request::Read { .. } => Operation::READ,
            Request::Write { .. } => Operation::WRITE,
            Request::Zero { .. } => Operation::ZERO,
            Request::DataRanges { .. } => Operation::DATA_RANGES,
            Request::Flush => Operation::FLUSH,
            Request::Discard => Operation::DISCARD,
            Request::Refresh => Operation::REFRESH,
            Request::Stat => Operation::STAT,
            Request::BreakLease { .. } => Operation::BREAK_LEASE,
            Request::Sessions { .. } => Operation::SESSIONS,
            Request::Kick { .. } => Operation::KICK,
            Request::Whoami { .. } => Operation::WHOAMI,
            Request::Faults { .. } => Operation::FAULTS,
            Request::Ring { .. } => Operation::RING,
            Request::Takeover { .. } => Operation::TAKEOVER,
            Request::Close => Operation::CLOSE,
            Request::Commit => Operation::COMMIT,
        }
    }

    /// Appends the frame to `out`. Texts of more than 65,535 bytes and data of 4 GiB and more are the caller's fault:
    /// [`Session`](crate::Session) never makes them.
    pub fn encode(&self, request_id: u64, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        self.encode_payload(out);
        let payload_bytes = out.len() - begin - HEADER_BYTES;
        let header = header(self.operation(), request_id, payload_bytes).encode();
        out[begin..begin + HEADER_BYTES].copy_from_slice(&header);
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        match *self {
            Request::Hello { version_min, version_max, payload_bytes_max, features, client_name, credentials } => {
                out.extend_from_slice(&version_min.to_le_bytes());
                out.extend_from_slice(&version_max.to_le_bytes());
                out.extend_from_slice(&payload_bytes_max.to_le_bytes());
                out.extend_from_slice(&features.to_le_bytes());
                put_length(client_name, out);
                put_length(credentials, out);
                out.extend_from_slice(&[0; 4]); // reserved
                out.extend_from_slice(client_name.as_bytes());
                out.extend_from_slice(credentials.as_bytes());
            }
            Request::Ping { echo } => out.extend_from_slice(echo),
            Request::List { after: text } | Request::Remove { store: text } | Request::Whoami { store: text } => {
                put_length(text, out);
                out.extend_from_slice(&[0; 6]);
                out.extend_from_slice(text.as_bytes());
            }
            Request::Takeover { store, holder_is_dead } => {
                put_length(store, out);
                out.extend_from_slice(&[u8::from(holder_is_dead), 0, 0, 0, 0, 0]);
                out.extend_from_slice(store.as_bytes());
            }
            Request::Faults { what, scope, orders } => {
                out.extend_from_slice(&[what, scope]);
                put_length(orders, out);
                out.extend_from_slice(&[0; 4]);
                out.extend_from_slice(orders.as_bytes());
            }
            Request::Create { store, pages: number } | Request::Sessions { after: number, store } => {
                out.extend_from_slice(&number.to_le_bytes());
                put_length(store, out);
                out.extend_from_slice(&[0; 6]);
                out.extend_from_slice(store.as_bytes());
            }
            Request::Open { access, view, publish, wait_ms, resume_token, last_request_id, store, session_name } => {
                out.extend_from_slice(&[access as u8, view as u8, publish as u8, 0]);
                out.extend_from_slice(&wait_ms.to_le_bytes());
                out.extend_from_slice(&resume_token);
                out.extend_from_slice(&last_request_id.to_le_bytes());
                put_length(store, out);
                put_length(session_name, out);
                out.extend_from_slice(&[0; 4]);
                out.extend_from_slice(store.as_bytes());
                out.extend_from_slice(session_name.as_bytes());
            }
            Request::Kick { id, is_connection, reason } => {
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&[u8::from(is_connection), 0]);
                put_length(reason, out);
                out.extend_from_slice(&[0; 4]);
                out.extend_from_slice(reason.as_bytes());
            }
            Request::Grow { new_pages: number }
            | Request::BreakLease { epoch: number }
            | Request::Ring { direction_bytes: number } => {
                out.extend_from_slice(&number.to_le_bytes());
            }
            Request::Read { offset, length } => {
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(&[0; 4]);
            }
            Request::Write { offset, data } => {
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(data);
            }
            Request::Zero { offset, length } | Request::DataRanges { offset, length } => {
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(&length.to_le_bytes());
            }
            Request::Size
            | Request::Flush
            | Request::Discard
            | Request::Refresh
            | Request::Stat
            | Request::Close
            | Request::Commit => {}
        }
    }
}

/// `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
pub(crate) fn is_store_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let first_fits = bytes.first().map_or(false, u8::is_ascii_alphanumeric);
    first_fits
        && bytes.len() <= STORE_NAME_BYTES_MAX
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
}

/// At most 255 bytes without the characters that the protocol forbids in names.
pub(crate) fn is_session_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX && !text.chars().any(is_unsafe)
}
