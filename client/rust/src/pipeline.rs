//! Many requests of one session in flight at the same time.

use crate::batch::{Batch, Slot};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::{Operation, Request, FEATURE_ZERO};
use crate::session::Session;

/// Keeps the wire full: requests are sent without waiting for the answers to those before them.
///
/// They take effect in the order made. Beyond what the daemon takes at once a call waits for answers. Buffers are
/// borrowed until [`next`](Pipeline::next) or [`finish`](Pipeline::finish) gives them back, so a loop that reads with 64
/// requests in flight needs 64 buffers:
///
/// ```no_run
/// # fn main() -> Result<(), pageserver::Error> {
/// let mut session = pageserver::Session::open("pageserver://127.0.0.1/demo?access=read")?;
/// let mut buffers = vec![[0; 8]; 64];
/// let mut pipeline = session.pipeline()?;
/// let mut offset = 0;
/// for buffer in &mut buffers {
///     pipeline.read(offset, buffer)?;
///     offset += 8;
/// }
/// while let Some(done) = pipeline.next()? {
///     done.result?;
///     if let Some(buffer) = done.buffer {
///         // use it, and let it be filled again
///         if offset < 8192 {
///             pipeline.read(offset, buffer)?;
///             offset += 8;
///         }
///     }
/// }
/// # Ok(()) }
/// ```
///
/// Dropped before it is finished it waits for what is under way, whose results are lost. An error of the connection
/// ends the session, as ever.
pub struct Pipeline<'s, 'b> {
    session: &'s mut Session,
    batch: Batch<'b>,
    first_ticket: u64,
    next_ticket: u64,
}

/// How one request of a [`Pipeline`] ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Done<'b> {
    /// What the call that made it returned.
    pub ticket: u64,
    /// A read's buffer: filled, or after an error holding anything.
    pub buffer: Option<&'b mut [u8]>,
    /// Of a grow, the pages before it; else 0.
    pub value: u64,
    /// How it went.
    pub result: Result<()>,
}

impl<'s, 'b> Pipeline<'s, 'b> {
    pub(crate) fn new(session: &'s mut Session) -> Self {
        Pipeline { session, batch: Batch::new(), first_ticket: 0, next_ticket: 0 }
    }

    fn check_length(&self, operation: Operation, length: usize) -> Result<()> {
        let most = self.session.request_bytes_max();
        if length <= most {
            return Ok(());
        }
        let text = format!("length={} exceeds request_bytes_max={}; split it", length, most);
        Err(self.session.error(ErrorKind::LimitExceeded, operation, &text))
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket - 1
    }

    /// Fills `buffer` from `offset` on; at most [`Session::request_bytes_max`] bytes, else `limit_exceeded`. Returns
    /// the request's ticket; they count from 0.
    pub fn read(&mut self, offset: u64, buffer: &'b mut [u8]) -> Result<u64> {
        self.check_length(Operation::READ, buffer.len())?;
        self.batch.read(&mut self.session.connection, offset, buffer)?;
        Ok(self.ticket())
    }

    /// Replaces bytes; at most [`Session::request_bytes_max`], else `limit_exceeded`. `data` is not needed any more
    /// when it returns.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Result<u64> {
        self.session.refuse_readers(Operation::WRITE)?;
        self.check_length(Operation::WRITE, data.len())?;
        self.batch.write(&mut self.session.connection, offset, data)?;
        Ok(self.ticket())
    }

    /// Makes a range zero. `unsupported` by a daemon without that operation.
    pub fn zero(&mut self, offset: u64, length: u64) -> Result<u64> {
        self.session.refuse_readers(Operation::ZERO)?;
        if !self.session.connection.has_feature(FEATURE_ZERO) {
            let text = "the daemon has no zero; write zeros";
            return Err(self.session.error(ErrorKind::Unsupported, Operation::ZERO, text));
        }
        self.request(&Request::Zero { offset, length })
    }

    /// Appends pages of zeros.
    pub fn grow(&mut self, new_pages: u64) -> Result<u64> {
        self.session.refuse_readers(Operation::GROW)?;
        // Until the answer is here.
        self.session.pages_known = false;
        self.request(&Request::Grow { new_pages })
    }

    /// As [`Session::commit`]: publishes what is before it, unless one of it is refused.
    pub fn commit(&mut self) -> Result<u64> {
        self.request(&Request::Commit)
    }

    /// As [`Session::flush`]: publishes what is before it even where one of it is refused.
    pub fn flush(&mut self) -> Result<u64> {
        self.request(&Request::Flush)
    }

    fn request(&mut self, request: &Request<'_>) -> Result<u64> {
        self.batch.request(&mut self.session.connection, request)?;
        Ok(self.ticket())
    }

    /// Requests whose result [`next`](Pipeline::next) has not told.
    pub fn outstanding(&self) -> usize {
        self.batch.slots.len()
    }

    /// Sends what is queued without waiting for anything.
    pub fn send(&mut self) -> Result<()> {
        self.session.connection.send()
    }

    /// Waits for the oldest request and says how it ended; `None` when there is none. Fails when the connection has
    /// ended.
    #[allow(clippy::should_implement_trait)] // it borrows, and can fail
    pub fn next(&mut self) -> Result<Option<Done<'b>>> {
        if self.batch.slots.is_empty() {
            return Ok(None);
        }
        while self.batch.slots[0].result.is_none() {
            self.session.connection.begin_busy_wait()?;
            self.session.connection.receive(&mut self.batch)?;
        }
        Ok(self.pop())
    }

    fn pop(&mut self) -> Option<Done<'b>> {
        let slot: Slot<'b> = self.batch.slots.pop_front()?;
        let ticket = self.first_ticket;
        self.first_ticket += 1;
        Some(Done { ticket, buffer: slot.buffer, value: slot.value, result: slot.result.unwrap_or(Ok(())) })
    }

    /// Waits for all and returns the first error there was.
    pub fn finish(mut self) -> Result<()> {
        let mut first: Option<Error> = None;
        while let Some(done) = self.next()? {
            if let Err(error) = done.result {
                first.get_or_insert(error);
            }
        }
        match first {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl Drop for Pipeline<'_, '_> {
    fn drop(&mut self) {
        self.batch.drain(&mut self.session.connection);
        if !self.session.pages_known && !self.session.is_live() && self.session.connection.ended().is_none() {
            // After grows: should it fail, the next call asks again.
            let _ = self.session.ask_size();
        }
    }
}
