//! What comes in: bytes to frames, frames to the requests that they answer.

use crate::connection::{Connection, Nobody, Sink};
use crate::error::{ErrorKind, Result};
use crate::protocol::{
    decode_message, Header, Operation, Scan, Status, FLAG_ANSWER, FLAG_NOTICE, HEADER_BYTES, HELLO_PAYLOAD_BYTES_MAX,
    PAYLOAD_OVERHEAD_BYTES,
};
use crate::transport::Wait;
use std::io::{self, IoSliceMut};
use std::time::Instant;

/// Answers other than a read's are far smaller; a daemon that announces more is not taken at its word.
const SMALL_PAYLOAD_BYTES_MAX: u32 = 256 << 10;
/// A read from this size on is received straight into its buffer together with its header.
const AHEAD_BYTES_MIN: usize = 16 << 10;

impl Connection {
    /// Waits until at least one request has ended, and takes in what else has come with it.
    pub fn receive(&mut self, sink: &mut dyn Sink) -> Result<()> {
        loop {
            if let Some(ended) = &self.ended {
                return Err(ended.clone());
            }
            if self.lost.is_some() {
                match self.come_back() {
                    // Lost once more, before all was sent again.
                    Err(_) if self.lost.is_some() => continue,
                    result => result?,
                }
            }
            match self.receive_here(sink) {
                Err(_) if self.lost.is_some() => {}
                result => return result,
            }
        }
    }

    /// The same over this stream.
    fn receive_here(&mut self, sink: &mut dyn Sink) -> Result<()> {
        loop {
            if self.take_frames(sink)? > 0 {
                return Ok(());
            }
            if self.fill_ahead(sink)? {
                return Ok(());
            }
        }
    }

    /// Receives until nothing more is there, for notices.
    pub(super) fn take_what_is_there(&mut self) -> Result<()> {
        loop {
            self.reserve(HEADER_BYTES);
            let result = self.stream.read(&mut self.received[self.end..]);
            match result {
                Ok(0) => return Err(self.end_of_stream(None)),
                Ok(count) => {
                    self.end += count;
                    self.counters.bytes_received += count as u64;
                    self.take_frames(&mut Nobody)?;
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Ok(()),
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(self.end_of_stream(Some(error))),
                },
            }
        }
    }

    pub(super) fn frame_limit(&self) -> u32 {
        if self.greeted {
            self.server.request_bytes_max.saturating_add(PAYLOAD_OVERHEAD_BYTES)
        } else {
            HELLO_PAYLOAD_BYTES_MAX
        }
    }

    /// Makes room for `count` bytes behind those that are there.
    pub(super) fn reserve(&mut self, count: usize) {
        if self.begin == self.end {
            self.begin = 0;
            self.end = 0;
        }
        if self.received.len() - self.end >= count {
            return;
        }
        self.received.copy_within(self.begin..self.end, 0);
        self.end -= self.begin;
        self.begin = 0;
        if self.received.len() < self.end + count {
            self.received.resize(self.end + count, 0);
        }
    }

    /// Receives once into the buffer, from `self.end` on, after waiting.
    pub(super) fn fill(&mut self) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.received);
        let end = self.end;
        let result = self.read_some(&mut buffer[end..], &mut []);
        self.received = buffer;
        self.end += result?;
        Ok(())
    }

    /// Receives once: with luck the header of the next answer and its data, each where it belongs. True: that answer is
    /// whole and was handed on.
    fn fill_ahead(&mut self, sink: &mut dyn Sink) -> Result<bool> {
        let next = match self.pending.front() {
            Some(next) if next.length >= AHEAD_BYTES_MIN && self.begin == self.end && self.greeted => next.length,
            _ => {
                self.reserve(HEADER_BYTES);
                return self.fill().map(|()| false);
            }
        };
        let id = self.first_id;
        let target = match sink.target(id) {
            Some(target) if target.len() == next => target,
            _ => {
                self.reserve(HEADER_BYTES);
                return self.fill().map(|()| false);
            }
        };
        self.begin = 0;
        self.end = 0;
        let mut head = [0; HEADER_BYTES];
        let count = self.read_some(&mut head, target)?;
        let in_head = count.min(HEADER_BYTES);
        self.received[..in_head].copy_from_slice(&head[..in_head]);
        self.end = in_head;
        if count <= HEADER_BYTES {
            return Ok(false);
        }
        let ahead = count - HEADER_BYTES;
        let expected = match Scan::of(&head, self.frame_limit()) {
            Ok(Scan::Header(header)) => {
                is_read_data(&header) && header.request_id == id && self.what_is_wrong(&header).is_none()
            }
            _ => false,
        };
        if !expected {
            // Something else came first: back to where all bytes go.
            let data = target[..ahead].to_vec();
            self.reserve(ahead);
            self.received[self.end..self.end + ahead].copy_from_slice(&data);
            self.end += ahead;
            return Ok(false);
        }
        self.begin = self.end;
        self.read_rest(&mut target[ahead..])?;
        self.finish(id, sink, &[])?;
        Ok(true)
    }

    /// Receives until `rest` is full.
    fn read_rest(&mut self, mut rest: &mut [u8]) -> Result<()> {
        self.inside_data = true;
        while !rest.is_empty() {
            let count = self.read_some(rest, &mut [])?;
            rest = &mut rest[count..];
        }
        self.inside_data = false;
        Ok(())
    }

    fn read_once(&mut self, first: &mut [u8], second: &mut [u8]) -> io::Result<usize> {
        if second.is_empty() {
            self.stream.read(first)
        } else {
            self.stream.read_vectored(&mut [IoSliceMut::new(first), IoSliceMut::new(second)])
        }
    }

    /// Receives at least one byte into `first`, and what else there is into `second`. Polls while that pays, then
    /// sleeps, until the oldest request times out.
    fn read_some(&mut self, first: &mut [u8], second: &mut [u8]) -> Result<usize> {
        let began = Instant::now();
        let deadline = self.oldest_since + self.request_timeout;
        let window = self.budget.window();
        let mut polling = !window.is_zero() && self.can_wait;
        self.set_wait(if polling { Wait::Never } else { Wait::AtMost(self.quantum) })?;
        polling &= self.can_wait;
        loop {
            match self.read_once(first, second) {
                Ok(0) => return Err(self.end_of_stream(None)),
                Ok(count) => {
                    if self.budget.is_on() {
                        self.budget.record(began.elapsed());
                    }
                    self.counters.bytes_received += count as u64;
                    return Ok(count);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        let now = Instant::now();
                        if polling && now >= began + window {
                            polling = false;
                            self.set_wait(Wait::AtMost(self.quantum))?;
                        } else if polling {
                            std::hint::spin_loop();
                        } else if now >= deadline {
                            return Err(self.time_out());
                        }
                    }
                    _ => return Err(self.end_of_stream(Some(error))),
                },
            }
        }
    }

    #[cold]
    fn time_out(&mut self) -> crate::Error {
        let operation = self.pending.front().map_or(Operation::HELLO, |pending| pending.operation);
        let remedy = if self.greeted {
            "the request may or may not have been applied; see request_timeout in the URI"
        } else {
            "is it a pageserverd that listens there? See connect_timeout in the URI"
        };
        let waited = format!("no answer within {}ms", self.request_timeout.as_millis());
        if let Some(lost) = self.lose(&operation.to_string(), &waited, true) {
            return lost;
        }
        let text = format!("{}: {}", waited, remedy);
        self.end_with(ErrorKind::TimedOut, &operation.to_string(), &text)
    }

    #[cold]
    fn end_of_stream(&mut self, error: Option<io::Error>) -> crate::Error {
        let mut text = String::from(if self.greeted {
            "the daemon closed the connection"
        } else {
            "the daemon closed the connection before its hello"
        });
        if let Some(error) = error.map(|error| error.to_string()).or_else(|| self.write_failed.clone()) {
            text.push_str(&format!(" ({})", error));
        }
        if self.begin != self.end || self.inside_data {
            text.push_str(" in the middle of a frame");
        }
        let operation = self.pending.front().map(|pending| pending.operation.to_string());
        let operation = operation.as_deref().unwrap_or("receive");
        if let Some(lost) = self.lose(operation, &text, false) {
            return lost;
        }
        if self.in_flight > 0 && self.greeted {
            text.push_str(&format!(": {} unanswered requests may or may not have been applied", self.in_flight));
        }
        self.end_with(ErrorKind::ConnectionLost, operation, &text)
    }

    #[cold]
    pub(super) fn end_protocol(&mut self, text: &str) -> crate::Error {
        let remedy = if self.greeted { "" } else { "; is it a pageserverd that listens there?" };
        self.end_with(ErrorKind::ProtocolError, "receive", &format!("{}{}", text, remedy))
    }

    /// Hands on all whole frames that are there; of a read's data the rest is received at once. Returns how many
    /// requests ended.
    fn take_frames(&mut self, sink: &mut dyn Sink) -> Result<usize> {
        let mut completed = 0;
        while self.begin < self.end && !(self.keeps_rest && completed > 0) {
            let header = match Scan::of(&self.received[self.begin..self.end], self.frame_limit()) {
                Ok(Scan::Header(header)) => header,
                Ok(Scan::Partial) => {
                    self.reserve(HEADER_BYTES);
                    break;
                }
                Err(fault) => return Err(self.end_protocol(&fault.0)),
            };
            if let Some(wrong) = self.what_is_wrong(&header) {
                return Err(self.end_protocol(&wrong));
            }
            let length = header.payload_bytes as usize;
            let there = self.end - self.begin - HEADER_BYTES;
            if is_read_data(&header) {
                self.take_read(&header, there.min(length), sink)?;
                completed += 1;
            } else if there < length {
                self.reserve(HEADER_BYTES + length - there);
                break;
            } else {
                let payload_begin = self.begin + HEADER_BYTES;
                self.begin = payload_begin + length;
                completed += self.take_frame(&header, payload_begin, sink)?;
            }
        }
        Ok(completed)
    }

    fn take_read(&mut self, header: &Header, there: usize, sink: &mut dyn Sink) -> Result<()> {
        let length = header.payload_bytes as usize;
        let from = self.begin + HEADER_BYTES;
        self.begin = from + there;
        match sink.target(header.request_id) {
            Some(target) if target.len() == length => {
                target[..there].copy_from_slice(&self.received[from..from + there]);
                self.read_rest(&mut target[there..])?;
            }
            _ => {
                let mut unwanted = vec![0; length - there];
                self.read_rest(&mut unwanted)?;
            }
        }
        self.finish(header.request_id, sink, &[])
    }

    /// A whole frame that is not a read's data.
    fn take_frame(&mut self, header: &Header, payload_begin: usize, sink: &mut dyn Sink) -> Result<usize> {
        let length = header.payload_bytes as usize;
        // Taken out, so that the sink may look at it; nothing is received meanwhile.
        let received = std::mem::take(&mut self.received);
        let payload = &received[payload_begin..payload_begin + length];
        let result = if header.flags == FLAG_NOTICE {
            self.take_notice(header, payload).map(|()| 0)
        } else if header.status == Status::OK {
            self.finish(header.request_id, sink, payload).map(|()| 1)
        } else {
            self.take_error(header, payload, sink).map(|()| 1)
        };
        self.received = received;
        result
    }

    fn finish(&mut self, id: u64, sink: &mut dyn Sink, payload: &[u8]) -> Result<()> {
        self.settle(id, true);
        match sink.done(id, Ok(payload)) {
            Ok(()) => Ok(()),
            Err(fault) => Err(self.end_protocol(&fault.0)),
        }
    }

    fn take_error(&mut self, header: &Header, payload: &[u8], sink: &mut dyn Sink) -> Result<()> {
        let message = match decode_message(payload) {
            Ok(message) => message,
            Err(fault) => return Err(self.end_protocol(&fault.0)),
        };
        let kind = header.status.kind();
        // A status of a later version: its name can't be told by the kind, so the text has to.
        let unknown = header.status.name().is_none();
        let text = match (message.is_empty(), unknown) {
            (true, _) => header.status.to_string(),
            (false, true) => format!("{} ({})", message, header.status),
            (false, false) => message.to_owned(),
        };
        let error = self.error(kind, &header.operation.to_string(), &text);
        if header.operation == Operation::OPEN {
            self.open_refusal = Some(header.status);
        }
        if error.is_sticky() {
            self.refused_with = Some(header.status);
            return Err(self.end_with(kind, &header.operation.to_string(), &text));
        }
        if kind == ErrorKind::LeaseLost && self.lease_lost.is_none() {
            self.lease_lost = Some(error.clone());
        }
        self.settle(header.request_id, false);
        match sink.done(header.request_id, Err(&error)) {
            Ok(()) => Ok(()),
            Err(fault) => Err(self.end_protocol(&fault.0)),
        }
    }

    pub(super) fn take_notice(&mut self, header: &Header, payload: &[u8]) -> Result<()> {
        let lease_lost = header.operation == Operation::LEASE_LOST;
        if !lease_lost && header.operation != Operation::GOODBYE {
            return Ok(()); // of a later version, for those who know it
        }
        let message = match decode_message(payload) {
            Ok(message) => message,
            Err(fault) => return Err(self.end_protocol(&fault.0)),
        };
        if lease_lost {
            if self.lease_lost.is_none() {
                self.lease_lost = Some(self.error(ErrorKind::LeaseLost, "lease_lost", message));
            }
            return Ok(());
        }
        // Of a session that outlives it this is no end: the end of the stream follows.
        if header.status == Status::STOPPING && self.resume.as_ref().map_or(false, |resume| resume.restarts()) {
            return Ok(());
        }
        // Before hello it is a refusal, of a kind of its own; later the session is over, whatever the reason is.
        let refused = !self.greeted || header.status == Status::PROTOCOL_ERROR;
        let kind = if refused { header.status.kind() } else { ErrorKind::ConnectionLost };
        Err(self.end_with(kind, "goodbye", message))
    }

    fn what_is_wrong(&self, header: &Header) -> Option<String> {
        let read_data = header.operation == Operation::READ && header.status == Status::OK;
        if !read_data && header.payload_bytes > SMALL_PAYLOAD_BYTES_MAX {
            return Some(format!(
                "{} frame announces payload_bytes={}, expected at most {}",
                header.operation, header.payload_bytes, SMALL_PAYLOAD_BYTES_MAX
            ));
        }
        if header.reserved != 0 {
            return Some(format!(
                "{} frame has reserved={} in its header, expected 0",
                header.operation, header.reserved
            ));
        }
        if header.flags == FLAG_NOTICE {
            return None;
        }
        if header.flags != FLAG_ANSWER {
            return Some(format!(
                "{} frame has flags={}, expected an answer or a notice",
                header.operation, header.flags
            ));
        }
        let request = header
            .request_id
            .checked_sub(self.first_id)
            .and_then(|index| self.pending.get(usize::try_from(index).ok()?))
            .filter(|request| !request.done);
        let request = match request {
            Some(request) => request,
            None => {
                return Some(format!(
                    "{} frame answers request id={}, which is not in flight",
                    header.operation, header.request_id
                ))
            }
        };
        if header.operation != request.operation {
            return Some(format!(
                "{} frame answers request id={}, which is a {}",
                header.operation, header.request_id, request.operation
            ));
        }
        if read_data && header.payload_bytes as usize != request.length {
            return Some(format!(
                "{} frame has length={}, asked for length={}",
                header.operation, header.payload_bytes, request.length
            ));
        }
        None
    }
}

fn is_read_data(header: &Header) -> bool {
    header.flags == FLAG_ANSWER && header.operation == Operation::READ && header.status == Status::OK
}
