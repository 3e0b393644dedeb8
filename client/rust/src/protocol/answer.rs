//! Bytes of answers and notices to values.

use super::frame::Operation;
use super::reader::{Fault, Reader};
use super::*;

/// What the daemon announced in its hello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the document has them, by the same names
pub struct HelloAnswer {
    pub version: u16,
    pub payload_bytes_max: u32,
    pub features: u64,
    pub request_bytes_max: u32,
    pub requests_in_flight_max: u32,
    pub buffered_bytes_max: u32,
    pub connection_id: u64,
    pub server_name: String,
}

/// What an opening of a store found beside its image after a kill or a loss of power, and replayed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// When it was done: milliseconds since 1970-01-01 UTC.
    pub unix_ms: i64,
    /// Of the log that was found.
    pub log_bytes: u64,
    /// Of the log, that counted.
    pub log_files: u64,
    /// Publishes that were replayed.
    pub records: u64,
    /// Of the image after that.
    pub pages: u64,
    /// Files of the log behind the last publish that counted.
    pub dropped_files: u64,
    /// Whole publishes there, which could not be replayed.
    pub dropped_records: u64,
    /// Files of the log that were kept under another name.
    pub kept_count: u32,
    /// Their names, as many as fit an answer. Not in a list.
    pub kept_files: Vec<String>,
    /// Not empty: more than a torn end was dropped, why, and what a person can do. Not in a list.
    pub warning: String,
}

/// A store in the daemon's list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListEntry {
    /// Its name.
    pub store: String,
    /// Of the newest published version.
    pub pages: u64,
    /// No writer is admitted.
    pub read_only: bool,
    /// The daemon has it open.
    pub open: bool,
    /// The last one since the daemon began, without its texts.
    pub recovery: Option<Recovery>,
    /// That recovery has a warning, which a report on the store says.
    pub recovery_warned: bool,
}

/// What a session begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the document has them, by the same names
pub struct OpenAnswer {
    pub session_id: u64,
    pub epoch: u64,
    pub pages: u64,
    pub version: Version,
    pub size_bytes_max: u64,
    /// With the feature `resume`.
    pub resume: Option<ResumeTicket>,
}

/// What a session that outlives its connection is known by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ResumeTicket {
    /// A secret.
    pub token: [u8; 16],
    /// The highest request id that was carried out.
    pub executed: u64,
    /// How long the session is kept without a connection.
    pub linger_ms: u32,
    /// With the feature `restart` only: the daemon was started again since, and `executed` is the highest request whose
    /// change it has.
    pub rebuilt: bool,
}

// Without the token.
impl std::fmt::Debug for ResumeTicket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResumeTicket")
            .field("executed", &self.executed)
            .field("linger_ms", &self.linger_ms)
            .finish_non_exhaustive()
    }
}

/// Pages and version of a session's view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Of 65,536 bytes, the session's own private ones included.
    pub pages: u64,
    /// What the session sees.
    pub version: Version,
}

/// What a refresh found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Of the version that the session sees from now on.
    pub pages: u64,
    /// The version that the session sees from now on.
    pub version: Version,
    /// Every byte may have changed; `changed` is empty then.
    pub everything: bool,
    /// What may differ from the version seen before, in rising order, not overlapping.
    pub changed: Vec<ByteRange>,
}

/// Who holds the writer lease, or holds back an old version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderStat {
    /// What the session called itself, may be empty.
    pub name: String,
    /// Where it comes from, such as `127.0.0.1:40312` or `unix`.
    pub address: String,
    /// Milliseconds since 1970-01-01 UTC at which it became the holder.
    pub since_unix_ms: i64,
    /// Milliseconds since its last request.
    pub idle_ms: u64,
    /// Of the writer lease; 0 for others.
    pub epoch: u64,
    /// That it holds back; 0 for a writer.
    pub version_number: u64,
    /// What it may do.
    pub access: Access,
    /// What it sees.
    pub view: View,
    /// When its bytes become visible.
    pub publish: Publish,
}

/// What waits at a daemon, and what hangs: of the daemon as a whole, and of one store. Work for a disk is stuck when it
/// has gone on for 100 milliseconds without an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Load {
    /// Of the daemon, whatever they do.
    pub connections: u64,
    /// Of the daemon: requests that wait for the directory of its stores.
    pub directory_requests: u64,
    /// Of the daemon: work for disks that waits for a thread.
    pub disk_calls_waiting: u64,
    /// Of the daemon: work for disks that has one.
    pub disk_calls_running: u64,
    /// Of the daemon: so many threads for that there may be.
    pub disk_threads_max: u64,
    /// Of the store: work for its disk that waits, for whatever reason.
    pub store_calls_waiting: u64,
    /// Of the store: work for its disk that is stuck.
    pub store_calls_stuck: u64,
    /// For how long the oldest of these has been; 0 without one.
    pub stuck_ms: u64,
}

pub(super) fn load(reader: &mut Reader<'_>) -> Result<Load, Fault> {
    Ok(Load {
        connections: reader.u64()?,
        directory_requests: reader.u64()?,
        disk_calls_waiting: reader.u64()?,
        disk_calls_running: reader.u64()?,
        disk_threads_max: reader.u64()?,
        store_calls_waiting: reader.u64()?,
        store_calls_stuck: reader.u64()?,
        stuck_ms: reader.u64()?,
    })
}

/// Where an image lies, and who may change it there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Home {
    /// `file`, or where other machines reach it, too: `ceph:POOL/NAME`.
    pub name: String,
    /// For people: who owns it there, and since when; empty for a file.
    pub holder: String,
    /// For people: what the home says of itself; empty for a file, or while that is not known.
    pub health: String,
    /// Of the owner, grows with each; 0: there is none, or the image is open for reading only.
    pub epoch: u64,
}

fn home(reader: &mut Reader<'_>) -> Result<Home, Fault> {
    let epoch = reader.u64()?;
    let lengths = (usize::from(reader.u16()?), usize::from(reader.u16()?), usize::from(reader.u16()?));
    reader.reserved(2)?;
    Ok(Home {
        name: reader.text(lengths.0, MESSAGE_BYTES_MAX, "home")?.to_owned(),
        holder: reader.text(lengths.1, MESSAGE_BYTES_MAX, "home's holder")?.to_owned(),
        health: reader.text(lengths.2, MESSAGE_BYTES_MAX, "home's health")?.to_owned(),
        epoch,
    })
}

/// A report on one store, for people and monitoring. Its numbers belong to nearly the same moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the document has them, by the same names
pub struct Stat {
    pub pages: u64,
    pub version: Version,
    pub writers_waiting: u64,
    pub sessions_live: u64,
    pub sessions_pinned: u64,
    pub sessions_write: u64,
    pub sessions_fork: u64,
    pub size_bytes_max: u64,
    pub log_bytes: u64,
    pub checkpoint_lag_bytes: u64,
    pub held_bytes: u64,
    pub fork_bytes: u64,
    pub read_only: bool,
    pub store: String,
    pub last_sync_error: String,
    pub image_warning: String,
    pub writer: Option<HolderStat>,
    pub oldest_holder: Option<HolderStat>,
    pub load: Option<Load>,
    pub recovery: Option<Recovery>,
    pub home: Option<Home>,
}

/// Whom a daemon takes a client for, and what that client may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WhoAmI {
    /// `token:NAME`, `uid:NUMBER` or `anyone`.
    pub identity: String,
    /// Bits: 1 read, 2 fork, 4 write, 8 create, 16 remove, 32 admin; others are of later versions.
    pub rights: u32,
    /// For people: which rules give them.
    pub why: String,
}

fn whoami(payload: &[u8]) -> Result<WhoAmI, Fault> {
    let mut reader = Reader::new("whoami answer", payload);
    let rights = reader.u32()?;
    let lengths = (usize::from(reader.u16()?), usize::from(reader.u16()?));
    let identity = reader.text(lengths.0, NAME_BYTES_MAX, "identity")?.to_owned();
    let why = reader.text(lengths.1, MESSAGE_BYTES_MAX, "why")?.to_owned();
    reader.end()?;
    Ok(WhoAmI { identity, rights, why })
}

/// How a daemon came to a store that another one had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TakenOver {
    /// It had the store already.
    pub was_here: bool,
    /// From the request until the store was open, in milliseconds.
    pub took_ms: u64,
    /// For people: who had it before, and since when; empty: nobody had.
    pub holder: String,
}

fn takeover(payload: &[u8]) -> Result<TakenOver, Fault> {
    let mut reader = Reader::new("takeover answer", payload);
    let took_ms = reader.u64()?;
    let holder_bytes = usize::from(reader.u16()?);
    let was_here = reader.flags(1)? == 1;
    reader.reserved(5)?;
    let holder = reader.text(holder_bytes, MESSAGE_BYTES_MAX, "holder")?.to_owned();
    reader.end()?;
    Ok(TakenOver { was_here, took_ms, holder })
}

/// A fault on order, and what has come of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OrderedFault {
    /// As it was ordered: `write:3:no_space`.
    pub order: String,
    /// Requests that matched.
    pub seen: u64,
    /// Of these, so many were struck.
    pub struck: u64,
}

fn faults(payload: &[u8]) -> Result<Vec<OrderedFault>, Fault> {
    let mut reader = Reader::new("faults answer", payload);
    let count = usize::from(reader.u16()?);
    reader.reserved(6)?;
    if count > FAULT_ORDERS_MAX {
        return reader.fault(format!("announces {} entries, at most {}", count, FAULT_ORDERS_MAX));
    }
    let mut entries = Vec::with_capacity(count);
    let mut lengths = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push(OrderedFault { order: String::new(), seen: reader.u64()?, struck: reader.u64()? });
        lengths.push(usize::from(reader.u16()?));
        reader.reserved(6)?;
    }
    for (entry, length) in entries.iter_mut().zip(lengths) {
        entry.order = reader.text(length, NAME_BYTES_MAX, "order")?.to_owned();
    }
    reader.end()?;
    Ok(entries)
}

/// An answer with status `ok`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the document has them, by the same names
#[non_exhaustive]
pub enum Answer<'a> {
    Hello(HelloAnswer),
    Ping(&'a [u8]),
    List {
        more: bool,
        entries: Vec<ListEntry>,
    },
    Open(OpenAnswer),
    Size(Size),
    Grow {
        previous_pages: u64,
    },
    Read(&'a [u8]),
    DataRanges {
        described_until: u64,
        ranges: Vec<ByteRange>,
    },
    Flush(Version),
    Commit(Version),
    Discard(Size),
    Refresh(Refreshed),
    Stat(Box<Stat>),
    BreakLease {
        broken: Option<HolderStat>,
    },
    Sessions {
        more: bool,
        described_until: u64,
        load: Load,
        entries: Vec<SessionReport>,
    },
    Kick {
        released: bool,
        kicked: Box<SessionReport>,
    },
    Whoami(WhoAmI),
    Takeover(TakenOver),
    Faults(Vec<OrderedFault>),
    /// Of `create`, `remove`, `write`, `zero` and `close`.
    Nothing,
}

impl<'a> Answer<'a> {
    /// Takes apart the payload of an answer to `operation`.
    pub fn decode(operation: Operation, payload: &'a [u8]) -> Result<Answer<'a>, Fault> {
        Ok(match operation {
            Operation::HELLO => Answer::Hello(hello(payload)?),
            Operation::PING => {
                if payload.len() > PING_BYTES_MAX {
                    return Err(Fault(format!("ping answer has {} bytes, at most {}", payload.len(), PING_BYTES_MAX)));
                }
                Answer::Ping(payload)
            }
            Operation::LIST => list(payload)?,
            Operation::OPEN => Answer::Open(open(payload)?),
            Operation::SIZE => Answer::Size(size("size answer", payload)?),
            Operation::GROW => {
                let mut reader = Reader::new("grow answer", payload);
                let previous_pages = reader.u64()?;
                reader.end()?;
                Answer::Grow { previous_pages }
            }
            Operation::READ => Answer::Read(payload),
            Operation::DATA_RANGES => data_ranges(payload)?,
            Operation::FLUSH => Answer::Flush(version("flush answer", payload)?),
            Operation::COMMIT => Answer::Commit(version("commit answer", payload)?),
            Operation::DISCARD => Answer::Discard(size("discard answer", payload)?),
            Operation::REFRESH => Answer::Refresh(refresh(payload)?),
            Operation::STAT => Answer::Stat(Box::new(stat(payload)?)),
            Operation::BREAK_LEASE => break_lease(payload)?,
            Operation::SESSIONS => sessions::sessions(payload)?,
            Operation::KICK => sessions::kick(payload)?,
            Operation::WHOAMI => Answer::Whoami(whoami(payload)?),
            Operation::TAKEOVER => Answer::Takeover(takeover(payload)?),
            Operation::FAULTS => Answer::Faults(faults(payload)?),
            Operation::CREATE => nothing("create answer", payload)?,
            Operation::REMOVE => nothing("remove answer", payload)?,
            Operation::WRITE => nothing("write answer", payload)?,
            Operation::ZERO => nothing("zero answer", payload)?,
            Operation::RING => nothing("ring answer", payload)?,
            Operation::CLOSE => nothing("close answer", payload)?,
            _ => return Err(Fault(format!("{} has no answer", operation))),
        })
    }
}

/// The text of an answer with a status other than `ok`, or of a notice.
pub fn decode_message(payload: &[u8]) -> Result<&str, Fault> {
    Reader::new("error", payload).text(payload.len(), MESSAGE_BYTES_MAX, "text")
}

fn nothing<'a>(what: &'static str, payload: &'a [u8]) -> Result<Answer<'a>, Fault> {
    Reader::new(what, payload).end()?;
    Ok(Answer::Nothing)
}

fn size(what: &'static str, payload: &[u8]) -> Result<Size, Fault> {
    let mut reader = Reader::new(what, payload);
    let size = Size { pages: reader.u64()?, version: reader.version()? };
    reader.end()?;
    Ok(size)
}

fn version(what: &'static str, payload: &[u8]) -> Result<Version, Fault> {
    let mut reader = Reader::new(what, payload);
    let version = reader.version()?;
    reader.end()?;
    Ok(version)
}

fn hello(payload: &[u8]) -> Result<HelloAnswer, Fault> {
    let mut reader = Reader::new("hello answer", payload);
    let version = reader.u16()?;
    let name_bytes = usize::from(reader.u16()?);
    let mut answer = HelloAnswer {
        version,
        payload_bytes_max: reader.u32()?,
        features: reader.u64()?,
        request_bytes_max: reader.u32()?,
        requests_in_flight_max: reader.u32()?,
        buffered_bytes_max: reader.u32()?,
        ..HelloAnswer::default()
    };
    reader.reserved(4)?;
    answer.connection_id = reader.u64()?;
    answer.server_name = reader.text(name_bytes, NAME_BYTES_MAX, "server name")?.to_owned();
    if !is_session_name(&answer.server_name) {
        return reader.fault("has a server name with control characters");
    }
    reader.end()?;
    Ok(answer)
}

fn list(payload: &[u8]) -> Result<Answer<'_>, Fault> {
    let mut reader = Reader::new("list answer", payload);
    let count = usize::from(reader.u16()?);
    let more = reader.flags(1)? != 0;
    reader.reserved(5)?;
    if count > LIST_ENTRIES_MAX {
        return reader.fault(format!("announces {} entries, at most {}", count, LIST_ENTRIES_MAX));
    }
    let mut entries = Vec::with_capacity(count);
    let mut name_bytes = [0; LIST_ENTRIES_MAX];
    let mut has_recovery = [false; LIST_ENTRIES_MAX];
    for (bytes, has_recovery) in name_bytes.iter_mut().zip(&mut has_recovery).take(count) {
        let pages = reader.u64()?;
        *bytes = usize::from(reader.u16()?);
        let flags = reader.flags(15)?;
        *has_recovery = flags & 4 != 0;
        reader.reserved(5)?;
        entries.push(ListEntry {
            pages,
            read_only: flags & 1 != 0,
            open: flags & 2 != 0,
            recovery_warned: flags & 8 != 0,
            ..ListEntry::default()
        });
    }
    for (entry, has_recovery) in entries.iter_mut().zip(has_recovery) {
        if !has_recovery {
            continue;
        }
        let record = recovery_record(&mut reader)?;
        if record.warning_bytes != 0 || record.kept_files_bytes != 0 {
            return reader.fault("announces texts of a recovery, which only a stat has");
        }
        entry.recovery = Some(record.recovery);
    }
    for (entry, bytes) in entries.iter_mut().zip(name_bytes) {
        entry.store = reader.text(bytes, STORE_NAME_BYTES_MAX, "store name")?.to_owned();
    }
    reader.end()?;
    Ok(Answer::List { more, entries })
}

fn open(payload: &[u8]) -> Result<OpenAnswer, Fault> {
    let mut reader = Reader::new("open answer", payload);
    let mut answer = OpenAnswer {
        session_id: reader.u64()?,
        epoch: reader.u64()?,
        pages: reader.u64()?,
        version: reader.version()?,
        size_bytes_max: reader.u64()?,
        resume: None,
    };
    if reader.remaining() > 0 {
        let token = reader.array()?;
        let (executed, linger_ms) = (reader.u64()?, reader.u32()?);
        let rebuilt = reader.u32()?;
        if rebuilt > 1 {
            return reader.fault(format!("has resume.rebuilt={}, known are 0 and 1", rebuilt));
        }
        answer.resume = Some(ResumeTicket { token, executed, linger_ms, rebuilt: rebuilt == 1 });
        if token == [0; 16] {
            return reader.fault("has a resume token of zeros");
        }
    }
    reader.end()?;
    Ok(answer)
}

fn data_ranges(payload: &[u8]) -> Result<Answer<'_>, Fault> {
    let mut reader = Reader::new("data_ranges answer", payload);
    let described_until = reader.u64()?;
    let count = reader.u32()?;
    reader.reserved(4)?;
    let ranges = reader.ranges(count)?;
    reader.end()?;
    Ok(Answer::DataRanges { described_until, ranges })
}

fn refresh(payload: &[u8]) -> Result<Refreshed, Fault> {
    let mut reader = Reader::new("refresh answer", payload);
    let (pages, version) = (reader.u64()?, reader.version()?);
    let count = reader.u32()?;
    let everything = reader.flags(1)? != 0;
    reader.reserved(3)?;
    if everything && count != 0 {
        return reader.fault(format!("says that everything changed and lists {} ranges", count));
    }
    let changed = reader.ranges(count)?;
    reader.end()?;
    Ok(Refreshed { pages, version, everything, changed })
}

/// A holder's record, and how long the two texts are that follow all records.
struct Record {
    holder: HolderStat,
    name_bytes: usize,
    address_bytes: usize,
}

fn record(reader: &mut Reader<'_>) -> Result<Record, Fault> {
    let since_unix_ms = reader.i64()?;
    let (idle_ms, epoch, version_number) = (reader.u64()?, reader.u64()?, reader.u64()?);
    let (name_bytes, address_bytes) = (usize::from(reader.u16()?), usize::from(reader.u16()?));
    let holder = HolderStat {
        name: String::new(),
        address: String::new(),
        since_unix_ms,
        idle_ms,
        epoch,
        version_number,
        access: reader.choice("access", &[Access::Read, Access::Write, Access::Fork])?,
        view: reader.choice("view", &[View::Live, View::Pinned])?,
        publish: reader.choice("publish", &[Publish::OnWrite, Publish::OnFlush])?,
    };
    reader.reserved(1)?;
    Ok(Record { holder, name_bytes, address_bytes })
}

fn texts(reader: &mut Reader<'_>, record: Option<Record>) -> Result<Option<HolderStat>, Fault> {
    match record {
        None => Ok(None),
        Some(mut record) => {
            record.holder.name = reader.text(record.name_bytes, NAME_BYTES_MAX, "name")?.to_owned();
            record.holder.address = reader.text(record.address_bytes, NAME_BYTES_MAX, "address")?.to_owned();
            Ok(Some(record.holder))
        }
    }
}

/// A recovery's record, and how long the two texts are that come last.
struct RecoveryRecord {
    recovery: Recovery,
    warning_bytes: usize,
    kept_files_bytes: usize,
}

fn recovery_record(reader: &mut Reader<'_>) -> Result<RecoveryRecord, Fault> {
    let recovery = Recovery {
        unix_ms: reader.i64()?,
        log_bytes: reader.u64()?,
        log_files: reader.u64()?,
        records: reader.u64()?,
        pages: reader.u64()?,
        dropped_files: reader.u64()?,
        dropped_records: reader.u64()?,
        kept_count: reader.u32()?,
        ..Recovery::default()
    };
    let (warning_bytes, kept_files_bytes) = (usize::from(reader.u16()?), usize::from(reader.u16()?));
    Ok(RecoveryRecord { recovery, warning_bytes, kept_files_bytes })
}

/// The block of a stat answer: the record and its texts.
fn recovery(reader: &mut Reader<'_>) -> Result<Recovery, Fault> {
    let RecoveryRecord { mut recovery, warning_bytes, kept_files_bytes } = recovery_record(reader)?;
    recovery.warning = reader.text(warning_bytes, MESSAGE_BYTES_MAX, "recovery's warning")?.to_owned();
    let names = reader.text(kept_files_bytes, MESSAGE_BYTES_MAX, "list of kept files")?;
    if !names.is_empty() {
        recovery.kept_files = names.split('/').map(str::to_owned).collect();
    }
    let kept = &recovery.kept_files;
    if kept.iter().any(String::is_empty) || kept.len() as u64 > u64::from(recovery.kept_count) {
        return reader.fault("lists an empty name among the kept files, or more of them than it counts");
    }
    Ok(recovery)
}

fn stat(payload: &[u8]) -> Result<Stat, Fault> {
    let mut reader = Reader::new("stat answer", payload);
    let mut stat = Stat {
        pages: reader.u64()?,
        version: reader.version()?,
        writers_waiting: reader.u64()?,
        sessions_live: reader.u64()?,
        sessions_pinned: reader.u64()?,
        sessions_write: reader.u64()?,
        sessions_fork: reader.u64()?,
        size_bytes_max: reader.u64()?,
        log_bytes: reader.u64()?,
        checkpoint_lag_bytes: reader.u64()?,
        held_bytes: reader.u64()?,
        fork_bytes: reader.u64()?,
        ..Stat::default()
    };
    let store_bytes = usize::from(reader.u16()?);
    let sync_error_bytes = usize::from(reader.u16()?);
    let warning_bytes = usize::from(reader.u16()?);
    let flags = reader.flags16(7 | (FEATURE_RECOVERY | FEATURE_LOAD | FEATURE_HOME) as u16)?;
    stat.read_only = flags & 1 != 0;
    let writer = if flags & 2 != 0 { Some(record(&mut reader)?) } else { None };
    let oldest = if flags & 4 != 0 { Some(record(&mut reader)?) } else { None };
    stat.store = reader.text(store_bytes, STORE_NAME_BYTES_MAX, "store name")?.to_owned();
    stat.last_sync_error = reader.text(sync_error_bytes, MESSAGE_BYTES_MAX, "last sync error")?.to_owned();
    stat.image_warning = reader.text(warning_bytes, MESSAGE_BYTES_MAX, "image warning")?.to_owned();
    stat.writer = texts(&mut reader, writer)?;
    stat.oldest_holder = texts(&mut reader, oldest)?;
    if u64::from(flags) & FEATURE_RECOVERY != 0 {
        stat.recovery = Some(recovery(&mut reader)?);
    }
    if u64::from(flags) & FEATURE_LOAD != 0 {
        stat.load = Some(load(&mut reader)?);
    }
    if u64::from(flags) & FEATURE_HOME != 0 {
        stat.home = Some(home(&mut reader)?);
    }
    reader.end()?;
    Ok(stat)
}

fn break_lease(payload: &[u8]) -> Result<Answer<'_>, Fault> {
    let mut reader = Reader::new("break_lease answer", payload);
    let flags = reader.flags(1)?;
    reader.reserved(7)?;
    let record = if flags != 0 { Some(record(&mut reader)?) } else { None };
    let broken = texts(&mut reader, record)?;
    reader.end()?;
    Ok(Answer::BreakLease { broken })
}
