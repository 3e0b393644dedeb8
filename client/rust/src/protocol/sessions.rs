//! Answers to `sessions` and `kick`: who uses a daemon, and how.

use super::answer::load;
use super::reader::{Fault, Reader};
use super::*;
use std::fmt;

/// What a connection to a daemon does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionState {
    /// It has not said hello.
    #[default]
    Greeting,
    /// It has no session.
    Front,
    /// Its session is being opened.
    Opening,
    /// Its session waits for the writer lease.
    InLine,
    /// It has a session.
    Session,
    /// It has ended, but for what its peer has not read or a disk has not returned.
    Leaving,
    /// It has a session and no connection: its client may come back.
    Detached,
    /// What a later daemon says.
    Other(u8),
}

/// What the oldest request of a connection waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitsFor {
    /// Nothing that is known.
    #[default]
    Nothing,
    /// The directory of the daemon's stores.
    Directory,
    /// A store that is being opened.
    Store,
    /// The writer lease.
    Lease,
    /// A flush.
    Flush,
    /// Room in the log.
    Room,
    /// A call to a disk that does not come back.
    Disk,
    /// A turn: other sessions of its store are stuck in too many calls.
    Turn,
    /// What a later daemon says.
    Other(u8),
}

macro_rules! known {
    ($type:ident, $($number:literal $name:ident $text:literal),*) => {
        impl $type {
            fn of(number: u8) -> $type {
                match number {
                    $($number => $type::$name,)*
                    other => $type::Other(other),
                }
            }
            /// On the wire.
            pub fn number(self) -> u8 {
                match self {
                    $($type::$name => $number,)*
                    $type::Other(other) => other,
                }
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $($type::$name => f.write_str($text),)*
                    $type::Other(other) => write!(f, "{}", other),
                }
            }
        }
    };
}
known!(SessionState, 0 Greeting "greeting", 1 Front "front", 2 Opening "opening", 3 InLine "in_line",
    4 Session "session", 5 Leaving "leaving", 6 Detached "detached");
known!(WaitsFor, 0 Nothing "nothing", 1 Directory "directory", 2 Store "store", 3 Lease "lease", 4 Flush "flush",
    5 Room "room", 6 Disk "disk", 7 Turn "turn");

/// A connection to a daemon, and the session that it has or waits for. What is about a session is 0 or empty without
/// one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the document has them, by the same names
#[non_exhaustive]
pub struct SessionReport {
    pub state: SessionState,
    pub waits_for: WaitsFor,
    pub access: Access,
    pub view: View,
    pub publish: Publish,
    pub peer_known: bool,
    pub has_lease: bool,
    pub lost_lease: bool,
    pub kicked: bool,
    pub ring: bool,
    pub connection_id: u64,
    pub session_id: u64,
    pub connected_ms: u64,
    pub opened_ms: u64,
    pub idle_ms: u64,
    pub epoch: u64,
    pub place_in_line: u64,
    pub held_version: u64,
    pub requests: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub private_bytes: u64,
    pub unsent_bytes: u64,
    pub requests_in_flight: u32,
    pub peer_uid: u32,
    pub peer_pid: u32,
    pub request_ms: u32,
    pub store: String,
    pub session_name: String,
    pub client_name: String,
    pub address: String,
}

const ENTRY_FIXED_BYTES: usize = 136;

fn entry(reader: &mut Reader<'_>) -> Result<SessionReport, Fault> {
    let entry_bytes = usize::from(reader.u16()?);
    let (state, waits_for) = (SessionState::of(reader.u8()?), WaitsFor::of(reader.u8()?));
    let access = reader.choice("access", &[Access::Read, Access::Write, Access::Fork])?;
    let view = reader.choice("view", &[View::Live, View::Pinned])?;
    let publish = reader.choice("publish", &[Publish::OnWrite, Publish::OnFlush])?;
    let flags = reader.u8()?;
    let mut report = SessionReport {
        state,
        waits_for,
        access,
        view,
        publish,
        peer_known: flags & 1 != 0,
        has_lease: flags & 2 != 0,
        lost_lease: flags & 4 != 0,
        kicked: flags & 8 != 0,
        ring: flags & 16 != 0,
        connection_id: reader.u64()?,
        session_id: reader.u64()?,
        connected_ms: reader.u64()?,
        opened_ms: reader.u64()?,
        idle_ms: reader.u64()?,
        epoch: reader.u64()?,
        place_in_line: reader.u64()?,
        held_version: reader.u64()?,
        requests: reader.u64()?,
        bytes_read: reader.u64()?,
        bytes_written: reader.u64()?,
        private_bytes: reader.u64()?,
        unsent_bytes: reader.u64()?,
        requests_in_flight: reader.u32()?,
        peer_uid: reader.u32()?,
        peer_pid: reader.u32()?,
        request_ms: reader.u32()?,
        store: String::new(),
        session_name: String::new(),
        client_name: String::new(),
        address: String::new(),
    };
    let mut lengths = [0; 4];
    for length in &mut lengths {
        *length = usize::from(reader.u16()?);
    }
    let known = ENTRY_FIXED_BYTES + lengths.iter().sum::<usize>();
    if entry_bytes < known {
        return reader.fault(format!("has an entry of entry_bytes={}, expected at least {}", entry_bytes, known));
    }
    report.store = reader.text(lengths[0], STORE_NAME_BYTES_MAX, "store name")?.to_owned();
    report.session_name = reader.text(lengths[1], NAME_BYTES_MAX, "session name")?.to_owned();
    report.client_name = reader.text(lengths[2], NAME_BYTES_MAX, "client name")?.to_owned();
    report.address = reader.text(lengths[3], NAME_BYTES_MAX, "address")?.to_owned();
    reader.bytes(entry_bytes - known)?; // of a later version
    Ok(report)
}

pub(super) fn sessions(payload: &[u8]) -> Result<Answer<'_>, Fault> {
    let mut reader = Reader::new("sessions answer", payload);
    let count = usize::from(reader.u16()?);
    let more = reader.flags(1)? != 0;
    reader.reserved(5)?;
    let described_until = reader.u64()?;
    let load = load(&mut reader)?;
    if count > SESSIONS_ENTRIES_MAX {
        return reader.fault(format!("announces {} entries, at most {}", count, SESSIONS_ENTRIES_MAX));
    }
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push(entry(&mut reader)?);
    }
    reader.end()?;
    Ok(Answer::Sessions { more, described_until, load, entries })
}

pub(super) fn kick(payload: &[u8]) -> Result<Answer<'_>, Fault> {
    let mut reader = Reader::new("kick answer", payload);
    let released = reader.flags(1)? != 0;
    reader.reserved(7)?;
    let kicked = Box::new(entry(&mut reader)?);
    reader.end()?;
    Ok(Answer::Kick { released, kicked })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer_with(flags: u8, state: u8, more: &[u8]) -> Vec<u8> {
        let mut payload = vec![1, 0, 0, 0, 0, 0, 0, 0];
        payload.extend_from_slice(&7u64.to_le_bytes());
        payload.extend_from_slice(&[0; 64]);
        let mut entry = vec![0; ENTRY_FIXED_BYTES];
        entry[..2].copy_from_slice(&((ENTRY_FIXED_BYTES + more.len()) as u16).to_le_bytes());
        entry[2] = state;
        entry[7] = flags;
        entry.extend_from_slice(more);
        payload.extend_from_slice(&entry);
        payload
    }

    #[test]
    fn what_a_later_daemon_adds_to_an_entry_is_passed_over() {
        let payload = answer_with(0xf2, 99, b"something new");
        match Answer::decode(Operation::SESSIONS, &payload).unwrap() {
            Answer::Sessions { described_until, entries, .. } => {
                assert_eq!(described_until, 7);
                assert_eq!(entries.len(), 1);
                assert!(entries[0].has_lease && !entries[0].kicked);
                assert_eq!(entries[0].state, SessionState::Other(99));
                assert_eq!(entries[0].state.number(), 99);
            }
            other => panic!("{:?}", other),
        }
    }
}
