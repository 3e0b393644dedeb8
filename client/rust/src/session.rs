//! A session on a store that a daemon serves.

use crate::batch::Batch;
use crate::connection::Connection;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Options;
use crate::page_cache::PageCache;
use crate::pipeline::Pipeline;
use crate::protocol::{
    Access, Answer, ByteRange, Fault, HolderStat, OpenAnswer, Operation, OrderedFault, Publish, Refreshed, Request,
    Size, Stat, Version, View, FAULT_ORDERS_BYTES_MAX, FEATURE_DATA_RANGES, FEATURE_FAULTS, FEATURE_ZERO, PAGE_SIZE,
};
use std::time::{Duration, Instant};

const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a session has cost so far, counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames sent, hello and open included.
    pub requests: u64,
    /// How often something waited for the daemon.
    pub round_trips: u64,
    /// Frames as a whole.
    pub bytes_sent: u64,
    /// Likewise.
    pub bytes_received: u64,
    /// Pages that a read found in the cache.
    pub cache_hits: u64,
    /// Pages fetched because a call needed them.
    pub cache_misses: u64,
    /// Pages fetched before anybody needed them.
    pub pages_read_ahead: u64,
    /// Memory that the cache's pages take now.
    pub cache_bytes: u64,
    /// The most that it was.
    pub cache_bytes_peak: u64,
}

/// One client's use of one store, over one connection, blocking.
///
/// Every call takes effect in the order made. Requests larger than the daemon's limit (at least 1 MiB) are split, each
/// part atomic by itself. But with [`resume`](Options::resume) a session never reconnects and never sends anything
/// twice: after `connection_lost`,
/// `timed_out` or `protocol_error` every call answers that error again, since what was not answered may or may not have
/// been applied. Dropping a session drops what is private, ends it, and waits at most a second for the daemon to
/// confirm that the lease is free; [`close`](Session::close) does the same and says how it went.
///
/// # Threads
///
/// A session is [`Send`] and used by one thread at a time, since every call takes `&mut self`. Several threads that
/// shall use one session put it into a `Mutex<Session>`, which is [`Sync`]: calls then run one after the other, each as
/// a whole. Threads that shall not wait for each other take a session each, which costs a connection.
///
/// # The cache
///
/// With [`cache_bytes`](Options::cache_bytes) pages are kept where nobody else can change what the session sees: for a
/// writer, a pinned reader and a fork; a live reader has none. Pages are read ahead when reads run forward. A writer
/// that publishes with each write sends each write before the call returns, from the first byte that differs to the
/// last, and nothing when none does. With `on_flush`, and in a fork, written bytes and grown pages stay here until
/// [`flush`](Session::flush) or until the cache needs room, and only what differs is sent, with the flush in one round
/// trip. An error that the daemon would have answered to the write (`no_space`, `limit_exceeded`, `snapshot_too_old`)
/// then comes from the flush, or from whatever call needed the room, and nothing is lost by it. `out_of_bounds` and
/// `read_only` are told at once. After the daemon's notice that the lease is lost no call is served from the cache: a
/// session looks for one at least every 2 ms that it is used.
pub struct Session {
    pub(crate) connection: Connection,
    pub(crate) options: Options,
    pub(crate) opened: OpenAnswer,
    /// Of the session's view, or the last that was heard of it; grown pages that were not sent included.
    pub(crate) pages: u64,
    /// `pages` is what the daemon has plus `unsent_pages`.
    pub(crate) pages_known: bool,
    pub(crate) unsent_pages: u64,
    /// The version that a pin or fork holds.
    pub(crate) held: Version,
    pub(crate) cache: Option<Box<PageCache>>,
    /// The first change that was refused since the last flush, commit or discard that went well.
    pub(crate) refused: Option<String>,
}

pub(crate) fn unexpected(operation: Operation) -> Fault {
    Fault(format!("{} was answered with something else", operation))
}

/// What no answer can say of an image: its bytes would have no number.
pub(crate) fn check_pages(what: &str, pages: u64) -> std::result::Result<(), Fault> {
    const PAGES_MAX: u64 = u64::MAX / PAGE_SIZE;
    if pages <= PAGES_MAX {
        return Ok(());
    }
    Err(Fault(format!("{} has pages={}, at most {}", what, pages, PAGES_MAX)))
}

/// `had`: the pages that the daemon has for this session, where that is known.
pub(crate) fn check_previous_pages(previous: u64, had: Option<u64>) -> std::result::Result<(), Fault> {
    match had {
        Some(had) if had != previous => {
            Err(Fault(format!("grow answer has previous_pages={}, the session had pages={}", previous, had)))
        }
        _ => check_pages("grow answer", previous),
    }
}

impl Session {
    pub(crate) fn is_live(&self) -> bool {
        self.options.access == Access::Read && self.options.view == View::Live
    }

    /// What the session was opened for.
    pub fn access(&self) -> Access {
        self.options.access
    }

    /// When what it writes becomes visible.
    pub fn publish(&self) -> Publish {
        self.options.publish
    }

    /// The number by which the daemon's log names the session.
    pub fn id(&self) -> u64 {
        self.opened.session_id
    }

    /// The epoch of the writer lease; 0 without one.
    pub fn epoch(&self) -> u64 {
        self.opened.epoch
    }

    /// What the daemon called itself in its hello.
    pub fn server_name(&self) -> &str {
        &self.connection.server().server_name
    }

    /// The most bytes that one request carries, and so the most that is read in one piece; see
    /// [`atomic_write_bytes`](Session::atomic_write_bytes) for writes.
    pub fn request_bytes_max(&self) -> usize {
        self.connection.request_bytes_max()
    }

    /// The most bytes of a write that is applied whole or not at all, for everybody who reads meanwhile and when it
    /// fails. [`PAGE_SIZE`]: of a write that lies within one page, where the cache holds back what is written. It never
    /// changes.
    pub fn atomic_write_bytes(&self) -> u64 {
        if self.writes_back() {
            PAGE_SIZE
        } else {
            self.request_bytes_max() as u64
        }
    }

    /// The limit that [`grow`](Session::grow) meets, in bytes.
    pub fn size_bytes_max(&self) -> u64 {
        self.opened.size_bytes_max
    }

    /// The pages that the session knows of, at once and without fail: exact for a writer, a pinned reader and a fork,
    /// private grows included. For a live reader what it last heard.
    pub fn known_pages(&self) -> u64 {
        self.pages
    }

    /// As [`known_pages`](Session::known_pages), in bytes.
    pub fn known_size(&self) -> u64 {
        self.pages.saturating_mul(PAGE_SIZE)
    }

    /// The pages of the session's view. Costs a round trip for a live reader only.
    pub fn pages(&mut self) -> Result<u64> {
        self.look_if_due(Operation::SIZE)?;
        if !self.pages_known {
            self.ask_size()?;
        }
        Ok(self.pages)
    }

    /// As [`pages`](Session::pages), in bytes.
    pub fn size(&mut self) -> Result<u64> {
        Ok(self.pages()?.saturating_mul(PAGE_SIZE))
    }

    pub(crate) fn ask_size(&mut self) -> Result<Size> {
        let size = self.connection.call(&Request::Size, |answer| match answer {
            Answer::Size(size) => check_pages("size answer", size.pages).map(|()| size),
            _ => Err(unexpected(Operation::SIZE)),
        })?;
        self.pages = size.pages.saturating_add(self.unsent_pages);
        self.pages_known = !self.is_live();
        Ok(size)
    }

    /// The pages that the daemon has for this session, where that is known.
    pub(crate) fn told_pages(&self) -> Option<u64> {
        if self.pages_known {
            Some(self.pages - self.unsent_pages)
        } else {
            None
        }
    }

    /// An error about this session, as the daemon would word it.
    pub(crate) fn error(&self, kind: ErrorKind, operation: Operation, text: &str) -> Error {
        self.connection.error(kind, &operation.to_string(), text)
    }

    pub(crate) fn refuse_readers(&self, operation: Operation) -> Result<()> {
        if self.options.access != Access::Read {
            return Ok(());
        }
        Err(self.error(
            ErrorKind::ReadOnly,
            operation,
            "this session has access=read; open it with access=write or access=fork",
        ))
    }

    pub(crate) fn check_bounds(&self, operation: Operation, offset: u64, length: u64, pages: u64) -> Result<()> {
        let size = pages.saturating_mul(PAGE_SIZE);
        if length <= size && offset <= size - length {
            return Ok(());
        }
        let text = format!("{} offset={} length={} exceeds size={}", operation, offset, length, size);
        Err(self.error(ErrorKind::OutOfBounds, operation, &text))
    }

    fn check_known_bounds(&self, operation: Operation, offset: u64, length: u64) -> Result<()> {
        if self.pages_known {
            self.check_bounds(operation, offset, length, self.pages)
        } else {
            Ok(())
        }
    }

    /// Appends pages of zeros, and returns how many there were before.
    pub fn grow(&mut self, new_pages: u64) -> Result<u64> {
        let result = self.change_grow(new_pages);
        self.noted(Operation::GROW, result)
    }

    /// Remembers a change that was refused, here or by the daemon, for a commit.
    fn noted<T>(&mut self, operation: Operation, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            // What ends a session is what its every call answers.
            if self.refused.is_none() && !error.is_sticky() && error.kind() != ErrorKind::LeaseLost {
                self.refused = Some(format!("a {} was refused: {}", operation, error.message()));
            }
        }
        result
    }

    fn change_grow(&mut self, new_pages: u64) -> Result<u64> {
        self.refuse_readers(Operation::GROW)?;
        if new_pages == 0 {
            return self.pages();
        }
        if self.writes_back() {
            return self.grow_cached(new_pages);
        }
        let previous = self.send_grow(new_pages)?;
        self.know_zeros(previous, new_pages);
        Ok(previous)
    }

    pub(crate) fn send_grow(&mut self, new_pages: u64) -> Result<u64> {
        let had = self.told_pages();
        let previous = self.connection.call(&Request::Grow { new_pages }, |answer| match answer {
            Answer::Grow { previous_pages } => check_previous_pages(previous_pages, had).map(|()| previous_pages),
            _ => Err(unexpected(Operation::GROW)),
        })?;
        self.pages = previous.saturating_add(new_pages);
        Ok(previous)
    }

    /// Fills `buffer` from byte `offset` on. `out_of_bounds` unless all of it is in the image; nothing at its very end
    /// is fine. After an error the buffer holds anything.
    pub fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        if self.cache.is_some() {
            return self.read_cached(offset, buffer);
        }
        self.connection.check_usable(Operation::READ)?;
        self.check_known_bounds(Operation::READ, offset, buffer.len() as u64)?;
        let most = self.connection.request_bytes_max();
        if buffer.len() <= most {
            return self.connection.read(offset, buffer);
        }
        if self.is_live() {
            // The parts alone would answer with their own numbers.
            let pages = self.ask_size()?.pages;
            self.check_bounds(Operation::READ, offset, buffer.len() as u64, pages)?;
        }
        let mut batch = Batch::new();
        let mut at = offset;
        for part in buffer.chunks_mut(most) {
            let length = part.len() as u64;
            if let Err(error) = batch.read(&mut self.connection, at, part) {
                batch.drain(&mut self.connection);
                return Err(error);
            }
            at += length;
        }
        batch.finish(&mut self.connection)
    }

    /// Replaces bytes from `offset` on. Never grows: `out_of_bounds` unless all of it is in the image.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        let result = self.change_write(offset, data);
        self.noted(Operation::WRITE, result)
    }

    fn change_write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        self.refuse_readers(Operation::WRITE)?;
        if self.cache.is_some() {
            return self.write_cached(offset, data);
        }
        self.connection.check_usable(Operation::WRITE)?;
        self.check_known_bounds(Operation::WRITE, offset, data.len() as u64)?;
        self.send_write(offset, data)
    }

    pub(crate) fn send_write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        let most = self.connection.request_bytes_max();
        if data.len() <= most {
            return self.connection.write(offset, data);
        }
        let mut batch = Batch::new();
        let mut at = offset;
        for part in data.chunks(most) {
            if let Err(error) = batch.write(&mut self.connection, at, part) {
                batch.drain(&mut self.connection);
                return Err(error);
            }
            at += part.len() as u64;
        }
        batch.finish(&mut self.connection)
    }

    /// Makes `length` bytes from `offset` zero, as one write does, without sending them. Bounds as for
    /// [`write`](Session::write); of any length.
    pub fn zero(&mut self, offset: u64, length: u64) -> Result<()> {
        let result = self.change_zero(offset, length);
        self.noted(Operation::ZERO, result)
    }

    fn change_zero(&mut self, offset: u64, length: u64) -> Result<()> {
        self.refuse_readers(Operation::ZERO)?;
        if self.cache.is_some() {
            return self.zero_cached(offset, length);
        }
        self.connection.check_usable(Operation::ZERO)?;
        self.check_known_bounds(Operation::ZERO, offset, length)?;
        self.send_zero(offset, length)
    }

    pub(crate) fn send_zero(&mut self, mut offset: u64, mut length: u64) -> Result<()> {
        if self.connection.has_feature(FEATURE_ZERO) {
            return self.connection.call(&Request::Zero { offset, length }, |_| Ok(()));
        }
        if self.pages_known {
            self.check_bounds(Operation::ZERO, offset, length, self.pages)?;
        }
        let zeros = vec![0; self.connection.request_bytes_max().min(1 << 20)];
        while length > 0 {
            let part = length.min(zeros.len() as u64);
            self.connection.write(offset, &zeros[..part as usize])?;
            offset += part;
            length -= part;
        }
        Ok(())
    }

    /// The parts of the range that may hold something other than zeros, in rising order, not overlapping; what lies
    /// between them is zero in the version that this session sees. Bounds as for [`read`](Session::read).
    pub fn data_ranges(&mut self, offset: u64, length: u64) -> Result<Vec<ByteRange>> {
        if self.writes_back() {
            self.send_all_dirty()?;
        }
        let pages = if self.pages_known { self.pages } else { self.ask_size()?.pages };
        self.check_bounds(Operation::DATA_RANGES, offset, length, pages)?;
        if length == 0 {
            return Ok(Vec::new());
        }
        if !self.connection.has_feature(FEATURE_DATA_RANGES) {
            return Ok(vec![ByteRange { offset, length }]);
        }
        let (mut at, end) = (offset, offset + length);
        let mut found: Vec<ByteRange> = Vec::new();
        while at < end {
            let request = Request::DataRanges { offset: at, length: end - at };
            let (described_until, ranges) = self.connection.call(&request, |answer| match answer {
                Answer::DataRanges { described_until, ranges } => {
                    let fits = described_until > at
                        && described_until <= end
                        && ranges.iter().all(|r| r.offset >= at && r.offset + r.length <= described_until);
                    if fits {
                        Ok((described_until, ranges))
                    } else {
                        Err(Fault(format!(
                            "data_ranges answer describes something else than offset={} length={}",
                            at,
                            end - at
                        )))
                    }
                }
                _ => Err(unexpected(Operation::DATA_RANGES)),
            })?;
            found.extend(ranges);
            at = described_until;
        }
        Ok(found)
    }

    /// A writer makes durable all that was published before, by whomever; with `on_flush` it publishes what is private
    /// as well, all of it or none. For a reader and a fork it does nothing. When it fails nothing is known to be durable
    /// that was not before.
    pub fn flush(&mut self) -> Result<()> {
        self.flush_all()?;
        self.refused = None;
        Ok(())
    }

    fn flush_all(&mut self) -> Result<()> {
        if self.options.access != Access::Write {
            return self.look_if_due(Operation::FLUSH);
        }
        if self.writes_back() {
            return self.flush_cached();
        }
        self.send_flush(&Request::Flush)
    }

    /// As [`flush`](Session::flush), unless a change of this session was refused since the last flush, commit or
    /// discard that went well: then `invalid_argument`, and nothing is published. What to use behind changes that were
    /// sent without waiting, as a [`Pipeline`] sends them. `unsupported` by a daemon that is too old.
    pub fn commit(&mut self) -> Result<()> {
        if let Some(refused) = &self.refused {
            self.connection.check_usable(Operation::COMMIT)?;
            let text =
                format!("nothing is published, since {}; do again what is missing and flush, or discard", refused);
            return Err(self.error(ErrorKind::InvalidArgument, Operation::COMMIT, &text));
        }
        if self.writes_back() && self.options.access == Access::Write {
            self.send_all_dirty()?;
        }
        self.send_flush(&Request::Commit)
    }

    pub(crate) fn send_flush(&mut self, request: &Request<'_>) -> Result<()> {
        let result = self.connection.call(request, |answer| match answer {
            Answer::Flush(_) | Answer::Commit(_) => Ok(()),
            _ => Err(unexpected(Operation::FLUSH)),
        });
        if result.is_err() && self.options.publish == Publish::OnFlush {
            // Private grows were published, or not: the daemon knows.
            self.pages_known = false;
        }
        result
    }

    /// A writer's private bytes and grows are dropped; a fork is as it was when it was opened or refreshed. Nothing to
    /// drop for a reader.
    pub fn discard(&mut self) -> Result<()> {
        if self.options.access == Access::Read {
            self.look_if_due(Operation::DISCARD)?;
            self.refused = None;
            return Ok(());
        }
        // Until the daemon has dropped its part, what was not sent belongs to the same transaction.
        let had = self.pages_known.then_some(self.pages);
        let size = self.connection.call(&Request::Discard, |answer| match answer {
            Answer::Discard(size) if had.map_or(false, |had| size.pages > had) => {
                Err(Fault(format!("discard answer has pages={}, the session had {}", size.pages, had.unwrap_or(0))))
            }
            Answer::Discard(size) => check_pages("discard answer", size.pages).map(|()| size),
            _ => Err(unexpected(Operation::DISCARD)),
        })?;
        if self.writes_back() {
            self.forget_private();
        }
        self.pages = size.pages;
        self.pages_known = true;
        self.held = size.version;
        self.refused = None;
        Ok(())
    }

    /// A pinned reader moves to the newest version and hears what changed; a fork moves its base, only when nothing is
    /// private (else `invalid_argument`); a live reader hears the newest version. `unsupported` for a writer.
    pub fn refresh(&mut self) -> Result<Refreshed> {
        if self.writes_back() {
            self.send_all_dirty()?;
        }
        let (had, held) = (if self.pages_known { self.pages } else { 0 }, self.held);
        let refreshed = self.connection.call(&Request::Refresh, |answer| match answer {
            // Images grow and never shrink, but for one that was restored, which is another incarnation.
            Answer::Refresh(new) if new.version.incarnation == held.incarnation && new.pages < had => {
                Err(Fault(format!("refresh answer has pages={}, the version before had {}", new.pages, had)))
            }
            Answer::Refresh(new) => check_pages("refresh answer", new.pages).map(|()| new),
            _ => Err(unexpected(Operation::REFRESH)),
        })?;
        self.pages = refreshed.pages;
        self.held = refreshed.version;
        self.forget_changed(&refreshed);
        Ok(refreshed)
    }

    /// The version that reads see now. Costs a round trip but for a pinned reader and a fork.
    pub fn version(&mut self) -> Result<Version> {
        if self.options.access == Access::Fork || self.options.view == View::Pinned {
            self.look_if_due(Operation::SIZE)?;
            return Ok(self.held);
        }
        Ok(self.ask_size()?.version)
    }

    /// A report on the store; one round trip.
    pub fn stat(&mut self) -> Result<Stat> {
        self.connection.call(&Request::Stat, |answer| match answer {
            Answer::Stat(stat) => Ok(*stat),
            _ => Err(unexpected(Operation::STAT)),
        })
    }

    /// Who holds the writer lease of this store, if anybody.
    pub fn lease(&mut self) -> Result<Option<HolderStat>> {
        Ok(self.stat()?.writer)
    }

    /// Takes the lease from the writer with this epoch (0: whichever), and returns who that was.
    pub fn break_lease(&mut self, epoch: u64) -> Result<Option<HolderStat>> {
        self.connection.call(&Request::BreakLease { epoch }, |answer| match answer {
            Answer::BreakLease { broken } => Ok(broken),
            _ => Err(unexpected(Operation::BREAK_LEASE)),
        })
    }

    /// Why this session can't go on: `lease_lost`, or what has ended its connection. Nothing while it can. Takes in what
    /// the daemon has said meanwhile, without waiting for it, so that a program which does nothing with its session
    /// hears that it is over. (Over a [`Transport`](crate::Transport) that can't but wait it costs a round trip.)
    pub fn lost(&mut self) -> Option<Error> {
        self.connection.look(Operation::READ).err()
    }

    /// Asks the daemon to answer, and returns how long that took. Works after the lease was lost, too.
    pub fn ping(&mut self) -> Result<Duration> {
        let began = Instant::now();
        ping(&mut self.connection)?;
        Ok(began.elapsed())
    }

    /// Many requests in flight from one thread: see [`Pipeline`]. A cache is sent and emptied first.
    pub fn pipeline<'b>(&mut self) -> Result<Pipeline<'_, 'b>> {
        self.leave_cache()?;
        Ok(Pipeline::new(self))
    }

    /// Orders faults for this session, such as `write:3:no_space`; returns all that are ordered. For tests: the daemon
    /// has to run with `--allow-faults`, else [`ErrorKind::Unsupported`]. The protocol's document has their form.
    pub fn order_faults(&mut self, orders: &str) -> Result<Vec<OrderedFault>> {
        self.ask_faults(1, orders)
    }

    /// What is ordered for this session, and how often each struck.
    pub fn faults(&mut self) -> Result<Vec<OrderedFault>> {
        self.ask_faults(0, "")
    }

    /// Nothing is ordered for this session any more; returns what was.
    pub fn clear_faults(&mut self) -> Result<Vec<OrderedFault>> {
        self.ask_faults(2, "")
    }

    fn ask_faults(&mut self, what: u8, orders: &str) -> Result<Vec<OrderedFault>> {
        if !self.connection.has_feature(FEATURE_FAULTS) {
            let text = "the daemon takes no orders of faults: start it with --allow-faults, for tests only, or leave \
                        them out";
            return Err(self.connection.error(ErrorKind::Unsupported, "faults", text));
        }
        if orders.len() > FAULT_ORDERS_BYTES_MAX {
            let text = format!(
                "the orders have {} bytes, at most {}; order them in parts",
                orders.len(),
                FAULT_ORDERS_BYTES_MAX
            );
            return Err(self.connection.error(ErrorKind::LimitExceeded, "faults", &text));
        }
        self.connection.call(&Request::Faults { what, scope: 0, orders }, |answer| match answer {
            Answer::Faults(entries) => Ok(entries),
            _ => Err(unexpected(Operation::FAULTS)),
        })
    }

    /// What the session has cost so far; no round trip.
    pub fn traffic(&self) -> Traffic {
        let counters = self.connection.counters();
        let mut traffic = Traffic {
            requests: counters.requests,
            round_trips: counters.waits,
            bytes_sent: counters.bytes_sent,
            bytes_received: counters.bytes_received,
            ..Traffic::default()
        };
        if let Some(cache) = &self.cache {
            cache.add_to(&mut traffic);
        }
        traffic
    }

    /// Ends the session; what is private is dropped. When it answers the lease is free.
    pub fn close(mut self) -> Result<()> {
        self.send_close()
    }

    fn send_close(&mut self) -> Result<()> {
        self.connection.check_usable(Operation::CLOSE)?;
        let limit = self.options.request_timeout.min(CLOSE_TIMEOUT);
        self.connection.set_request_timeout(limit);
        self.connection.limit_resume(CLOSE_TIMEOUT);
        let mut result = self.connection.call(&Request::Close, |_| Ok(()));
        if self.connection.is_closed() {
            result = Ok(());
        }
        self.connection.end_with(ErrorKind::InvalidArgument, "close", "the session was closed");
        result
    }
}

pub(crate) fn ping(connection: &mut Connection) -> Result<()> {
    let echo = Instant::now().elapsed().as_nanos() as u64;
    let echo = echo.to_le_bytes();
    connection.call(&Request::Ping { echo: &echo }, |answer| match answer {
        Answer::Ping(answered) if answered == echo => Ok(()),
        _ => Err(Fault("ping was answered with other bytes".into())),
    })
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.connection.ended().is_none() {
            // The daemon releases the session when the connection ends, which it does now in any case.
            let _ = self.send_close();
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("uri", &self.options.endpoint.uri(&self.options.store))
            .field("access", &self.options.access)
            .field("pages", &self.pages)
            .field("ended", &self.connection.ended())
            .finish()
    }
}
