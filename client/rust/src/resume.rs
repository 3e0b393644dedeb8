//! Sessions that outlive their connection: it is made again, and each request is carried out exactly once.
//!
//! Each request is kept as its frame until it is answered. When the stream is lost, whoever waits for an answer next
//! connects again, shows the token of the session, and hears up to which request all are carried out. What lies above
//! is sent again; the answers to the others come by themselves.
//!
//! A writer's session can also be there again after the daemon was started anew, with what it had published and nothing
//! else. So of a session that publishes on flush all that it changed since its last flush is kept here, and sent again;
//! and no change goes out while a request has no answer that would see it, since that one may have to be carried out
//! again, behind the change.

use crate::connection::{Connection, ConnectionOptions};
use crate::dial;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Options;
use crate::protocol::{
    decode_message, Access, Answer, Fault, Operation, Publish, Request, ResumeTicket, Scan, Status, FEATURE_RESUME,
    FLAG_ANSWER, FLAG_NOTICE, HEADER_BYTES,
};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The most requests behind the last one that is acknowledged.
pub(crate) const WINDOW_MAX: usize = 65_535;
/// Where a request's header says how many before it are not known to be answered.
const RESERVED_AT: usize = 22;
/// From one attempt to the next: longer each time, so that many clients don't keep a daemon from starting.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A daemon that takes a connection and says nothing is given up on, or there would be no other attempt.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);
/// Where there are others to be asked, each has less.
const ATTEMPT_OF_SEVERAL_MAX: Duration = Duration::from_secs(2);

/// Of what a session changed and did not flush: with more, it is over when the daemon is.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// What a request changes that is about to be sent.
pub(crate) enum Change {
    Nothing,
    /// Offset and length.
    Bytes(u64, u64),
    /// Its size, or everything.
    All,
    /// What is private becomes public.
    Commit,
}

impl Change {
    pub fn of(request: &Request<'_>) -> Change {
        match request {
            Request::Write { offset, data } => Change::Bytes(*offset, data.len() as u64),
            Request::Zero { offset, length } => Change::Bytes(*offset, *length),
            Request::Grow { .. } | Request::Discard => Change::All,
            Request::Commit => Change::Commit,
            _ => Change::Nothing,
        }
    }
}

fn number_at(frame: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&frame[HEADER_BYTES + at..HEADER_BYTES + at + 8]);
    u64::from_le_bytes(bytes)
}

fn operation_of(frame: &[u8]) -> Operation {
    Operation(u16::from_le_bytes([frame[4], frame[5]]))
}

fn is_change(operation: Operation) -> bool {
    matches!(operation, Operation::WRITE | Operation::ZERO | Operation::GROW)
}

/// Its answer does not depend on what the image holds.
fn sees_nothing(operation: Operation) -> bool {
    is_change(operation)
        || matches!(
            operation,
            Operation::FLUSH | Operation::COMMIT | Operation::DISCARD | Operation::PING | Operation::CLOSE
        )
}

/// In the middle of what a stream was lost, and how.
pub(crate) struct Lost {
    operation: String,
    text: String,
}

/// What a connection keeps of a session that can be resumed.
pub(crate) struct Resume {
    options: Options,
    token: [u8; 16],
    patience: Duration,
    /// The frames of those that are pending, in their order.
    frames: VecDeque<Vec<u8>>,
    answers: u64,
    answers_at_loss: u64,
    deadline: Option<Instant>,
    /// For this request the connection was given up once.
    timed_out_id: u64,
    executed: u64,

    // For a restart of the daemon:
    restarts: bool,
    /// Changes that are answered and not flushed, where a flush publishes them.
    kept: VecDeque<(u64, Vec<u8>)>,
    kept_bytes: usize,
    kept_too_many: bool,
    is_private: bool,
    /// Up to this request all was answered that the daemon must have published.
    published: u64,
    /// Since the last flush: the daemon would refuse a commit.
    change_failed: bool,
    /// And has forgotten it.
    commit_in_doubt: bool,
    /// Pending, and a change may change their answers.
    seeing: usize,
}

impl Resume {
    /// `restarts`: the daemon has the feature for that.
    pub fn new(options: &Options, token: [u8; 16], restarts: bool) -> Box<Resume> {
        Box::new(Resume {
            options: options.clone(),
            token,
            patience: options.resume,
            frames: VecDeque::new(),
            answers: 0,
            answers_at_loss: 0,
            deadline: None,
            timed_out_id: 0,
            executed: 0,
            restarts: restarts && options.access == Access::Write,
            kept: VecDeque::new(),
            kept_bytes: 0,
            kept_too_many: false,
            is_private: false,
            published: 0,
            change_failed: false,
            commit_in_doubt: false,
            seeing: 0,
        })
    }

    pub fn restarts(&self) -> bool {
        self.restarts
    }

    pub fn is_commit_in_doubt(&self) -> bool {
        self.commit_in_doubt
    }

    /// A request without an answer would see the change.
    pub fn is_seen(&self, change: &Change) -> bool {
        if self.seeing == 0 {
            return false;
        }
        let sees = |frame: &Vec<u8>| {
            let operation = operation_of(frame);
            if sees_nothing(operation) {
                return false;
            }
            match *change {
                Change::Nothing | Change::Commit => false,
                Change::All => true,
                Change::Bytes(..) if operation != Operation::READ => true,
                Change::Bytes(offset, length) => {
                    let read = number_at(frame, 0);
                    let mut bytes = [0; 4];
                    bytes.copy_from_slice(&frame[HEADER_BYTES + 8..HEADER_BYTES + 12]);
                    let read_length = u64::from(u32::from_le_bytes(bytes));
                    if read < offset {
                        offset - read < read_length
                    } else {
                        read - offset < length
                    }
                }
            }
        };
        self.frames.iter().any(sees)
    }

    fn forget_kept(&mut self) {
        self.kept.clear();
        self.kept_bytes = 0;
        self.kept_too_many = false;
        self.is_private = false;
        self.change_failed = false;
        self.commit_in_doubt = false;
    }

    fn note_answered(&mut self, id: u64, frame: Vec<u8>, ok: bool) {
        let operation = operation_of(&frame);
        if !sees_nothing(operation) {
            self.seeing -= 1;
        }
        if is_change(operation) {
            let length = match operation {
                Operation::WRITE => (frame.len() - HEADER_BYTES - 8) as u64,
                Operation::ZERO => number_at(&frame, 8),
                _ => number_at(&frame, 0),
            };
            if !ok {
                self.change_failed = true;
            } else if length == 0 {
            } else if self.options.publish == Publish::OnWrite {
                self.published = id;
            } else {
                self.is_private = true;
                if self.kept_too_many || self.kept_bytes + frame.len() > KEPT_BYTES_MAX {
                    self.kept.clear();
                    self.kept_bytes = 0;
                    self.kept_too_many = true;
                } else {
                    self.kept_bytes += frame.len();
                    self.kept.push_back((id, frame));
                }
            }
        } else if ok && matches!(operation, Operation::FLUSH | Operation::COMMIT) {
            if self.is_private {
                self.published = id;
            }
            self.forget_kept();
        } else if ok && operation == Operation::DISCARD {
            self.forget_kept();
        }
    }

    /// The daemon was started again, and has what requests up to `executed` changed. Or why it can't go on.
    fn begin_replay(&mut self, executed: u64) -> std::result::Result<(), String> {
        if executed < self.published {
            return Err(format!(
                "the daemon was started again and has what requests up to {} changed, although those up to {} were \
                 answered: it lost what was not flushed, as by a loss of power",
                executed, self.published
            ));
        }
        while self.kept.front().map_or(false, |(id, _)| *id <= executed) {
            if let Some((_, frame)) = self.kept.pop_front() {
                self.kept_bytes -= frame.len();
            }
        }
        if self.kept_too_many {
            return Err(format!(
                "the daemon was started again, and more than {} bytes were not flushed, of which no copy was kept; \
                 flush more often, or use publish=on_write",
                KEPT_BYTES_MAX
            ));
        }
        self.commit_in_doubt = self.change_failed;
        Ok(())
    }

    /// The oldest request.
    pub fn answered(&mut self, id: u64, ok: bool) {
        let frame = self.frames.pop_front();
        self.answers += 1;
        if let (true, Some(frame)) = (self.restarts, frame) {
            self.note_answered(id, frame, ok);
        }
    }

    /// A connection with the session, and the highest request that was carried out. `again`: another attempt may do
    /// better; `over`: the daemon says that there is no such session any more.
    fn attempt(
        &self,
        options: &Options,
        mark: u64,
        deadline: Instant,
        context: &str,
    ) -> std::result::Result<(Connection, ResumeTicket), Refused> {
        let left = deadline.saturating_duration_since(Instant::now());
        let most = if options.others.is_empty() { ATTEMPT_MAX } else { ATTEMPT_OF_SEVERAL_MAX };
        let deadline = Instant::now() + left.min(options.connect_timeout).min(most).max(Duration::from_millis(1));
        let stream = dial::connect(&options.endpoint, &options.tls, deadline).map_err(Refused::of)?;
        let mut connection = Connection::new(stream, &ConnectionOptions::of(options, deadline, context.to_owned()))
            .map_err(Refused::of)?;
        if !connection.has_feature(FEATURE_RESUME) {
            let text = "the daemon keeps no sessions any more (resume_linger=0)";
            let error = connection.error(ErrorKind::ConnectionLost, "open", text);
            return Err(Refused { error, again: false, over: false });
        }
        connection.keeps_rest = true;
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = connection.set_request_timeout(left.max(Duration::from_millis(1)));
        let opened = connection.call(
            &Request::Open {
                access: options.access,
                view: options.view,
                publish: options.publish,
                wait_ms: 0,
                resume_token: self.token,
                last_request_id: mark,
                store: &options.store,
                session_name: "",
            },
            |answer| match answer {
                Answer::Open(opened) => match opened.resume {
                    Some(ticket) if ticket.token == self.token => Ok(ticket),
                    _ => Err(Fault("open answer is about another session than was asked for".into())),
                },
                _ => Err(Fault("open was answered with something else".into())),
            },
        );
        connection.keeps_rest = false;
        connection.set_request_timeout(timeout);
        match opened {
            Ok(ticket) => Ok((connection, ticket)),
            Err(error) => {
                let refused = Refused::of(error);
                Err(match connection.refused_with {
                    None
                    | Some(Status::STOPPING)
                    | Some(Status::TIMED_OUT)
                    | Some(Status::BUSY)
                    | Some(Status::SERVED_ELSEWHERE) => refused,
                    Some(status) => Refused {
                        again: false,
                        over: matches!(status, Status::TOKEN_UNKNOWN | Status::TOKEN_EXPIRED),
                        ..refused
                    },
                })
            }
        }
    }
}

struct Refused {
    error: Error,
    again: bool,
    over: bool,
}

impl Refused {
    /// Of two hosts.
    fn and(self, other: Refused) -> Refused {
        let text = format!("{}; {}", self.error.message(), other.error.message());
        Refused {
            error: Error::new(other.error.kind(), text),
            again: (self.again || other.again) && !other.over,
            over: other.over,
        }
    }

    fn of(error: Error) -> Refused {
        let again = matches!(
            error.kind(),
            ErrorKind::ConnectionLost | ErrorKind::TimedOut | ErrorKind::LimitExceeded | ErrorKind::Busy
        );
        Refused { error, again, over: false }
    }
}

impl Connection {
    /// From here on the session outlives this connection. Nothing is pending.
    pub fn begin_resumable(&mut self, resume: Box<Resume>) {
        self.resume = Some(resume);
    }

    /// Comes back for the session for so long at most.
    pub fn limit_resume(&mut self, patience: Duration) {
        if let Some(resume) = &mut self.resume {
            resume.patience = resume.patience.min(patience);
            resume.deadline = None;
        }
    }

    /// The frame from `begin` on in `out`, and the data behind it, until it is answered.
    pub(super) fn keep(&mut self, begin: usize, data: &[u8]) {
        if let Some(resume) = &mut self.resume {
            acknowledge(&mut self.out[begin..], self.pending.len() - 1);
            let mut frame = Vec::with_capacity(self.out.len() - begin + data.len());
            frame.extend_from_slice(&self.out[begin..]);
            frame.extend_from_slice(data);
            if resume.restarts && !sees_nothing(operation_of(&frame)) {
                resume.seeing += 1;
            }
            resume.frames.push_back(frame);
        }
    }

    /// Notes that the stream is gone where the session is not, and returns an error for those who are in the middle of
    /// something. For one request it may be given up once for want of an answer.
    #[cold]
    pub(super) fn lose(&mut self, operation: &str, text: &str, timed_out: bool) -> Option<Error> {
        let first_id = self.first_id;
        let resume = self.resume.as_mut()?;
        if timed_out && std::mem::replace(&mut resume.timed_out_id, first_id) == first_id {
            return None;
        }
        if self.lost.is_none() {
            self.lost = Some(Lost { operation: operation.to_owned(), text: text.to_owned() });
        }
        Some(self.error(ErrorKind::ConnectionLost, operation, text))
    }

    /// Makes the connection again, after it was lost. Fails where that does not come about in time; then it has ended.
    #[cold]
    pub(super) fn come_back(&mut self) -> Result<()> {
        let (mut resume, lost) = match (self.resume.take(), self.lost.take()) {
            (Some(resume), Some(lost)) => (resume, lost),
            (resume, _) => {
                self.resume = resume;
                return Ok(());
            }
        };
        // What brings no answer between two losses is no progress.
        let now = Instant::now();
        let progress = resume.answers != resume.answers_at_loss;
        resume.answers_at_loss = resume.answers;
        let deadline = match resume.deadline {
            Some(deadline) if !progress => deadline,
            _ => now + resume.patience,
        };
        resume.deadline = Some(deadline);
        let mut pause = PAUSE_MIN;
        loop {
            // Whoever serves the store knows the session, or that it is over; the others send there.
            let mut all: Option<Refused> = None;
            for at in 0..=resume.options.others.len() {
                let options = resume.options.beginning_at(at);
                let context = options.endpoint.uri(&options.store);
                match resume.attempt(&options, self.first_id - 1, deadline, &context) {
                    Ok((fresh, ticket)) => {
                        let rebuilt = ticket.rebuilt && resume.restarts;
                        resume.options = options;
                        self.resume = Some(resume);
                        self.name_store(context);
                        self.take_over(fresh, ticket.executed, rebuilt)?;
                        return if rebuilt { self.replay(ticket.executed, &lost) } else { Ok(()) };
                    }
                    Err(refused) => {
                        let over = refused.over;
                        all = Some(match all {
                            None => refused,
                            Some(before) => before.and(refused),
                        });
                        if over {
                            break;
                        }
                    }
                }
            }
            let refused = match all {
                Some(refused) => refused,
                None => return Ok(()), // there is at least one host
            };
            if !refused.again || Instant::now() + pause >= deadline {
                return Err(self.end_resumable(&resume, &lost, &refused));
            }
            std::thread::sleep(pause);
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }

    fn take_over(&mut self, fresh: Connection, executed: u64, rebuilt: bool) -> Result<()> {
        self.stream = fresh.stream;
        self.wait = None;
        self.can_wait = true;
        self.server = fresh.server;
        self.received = fresh.received;
        self.begin = fresh.begin;
        self.end = fresh.end;
        self.inside_data = false;
        self.write_failed = None;
        self.counters.bytes_sent += fresh.counters.bytes_sent;
        self.counters.bytes_received += fresh.counters.bytes_received;
        self.counters.requests += fresh.counters.requests;
        self.counters.waits += fresh.counters.waits;
        if (executed + 1 < self.first_id && !rebuilt) || executed >= self.next_id {
            let text = format!(
                "open answer of a resumed session has executed={}, expected one of {} to {}",
                executed,
                self.first_id - 1,
                self.next_id - 1
            );
            return Err(self.end_with(ErrorKind::ProtocolError, "receive", &text));
        }
        self.oldest_since = Instant::now();
        self.out.clear();
        if let Some(resume) = &mut self.resume {
            resume.executed = executed;
            if rebuilt {
                return Ok(());
            }
            let known = (executed + 1 - self.first_id) as usize;
            for (index, frame) in resume.frames.iter().enumerate().skip(known) {
                let begin = self.out.len();
                self.out.extend_from_slice(frame);
                acknowledge(&mut self.out[begin..], index);
            }
        }
        self.send()
    }

    /// Sends again what was private, and then all that is not answered.
    fn replay(&mut self, executed: u64, lost: &Lost) -> Result<()> {
        let begun = match &mut self.resume {
            Some(resume) => resume.begin_replay(executed),
            None => Ok(()),
        };
        if let Err(text) = begun {
            return Err(self.end_replay(&text, lost));
        }
        let requests_max = self.server.requests_in_flight_max.min(WINDOW_MAX as u32) as usize;
        let bytes_max = self.server.buffered_bytes_max as usize;
        let mut next = 0;
        loop {
            let mut ids = VecDeque::new();
            let mut bytes = 0;
            if let Some(resume) = &self.resume {
                while let Some((id, frame)) = resume.kept.get(next) {
                    if !ids.is_empty() && (ids.len() == requests_max || bytes + frame.len() > bytes_max) {
                        break;
                    }
                    bytes += frame.len();
                    let begin = self.out.len();
                    self.out.extend_from_slice(frame);
                    acknowledge(&mut self.out[begin..], 0);
                    ids.push_back(*id);
                    next += 1;
                }
            }
            if ids.is_empty() {
                break;
            }
            self.send()?;
            while let Some(id) = ids.pop_front() {
                self.take_replayed(id, lost)?;
            }
        }
        if let Some(resume) = &self.resume {
            for (index, frame) in resume.frames.iter().enumerate() {
                let begin = self.out.len();
                self.out.extend_from_slice(frame);
                acknowledge(&mut self.out[begin..], index);
            }
        }
        self.oldest_since = Instant::now();
        self.send()
    }

    /// The answer to a request that was answered before.
    fn take_replayed(&mut self, id: u64, lost: &Lost) -> Result<()> {
        loop {
            let header = match Scan::of(&self.received[self.begin..self.end], self.frame_limit()) {
                Ok(Scan::Header(header)) => Some(header),
                Ok(Scan::Partial) => None,
                Err(fault) => return Err(self.end_protocol(&fault.0)),
            };
            let length = header.as_ref().map_or(0, |header| header.payload_bytes as usize);
            if header.is_none() || self.end - self.begin < HEADER_BYTES + length {
                self.reserve(HEADER_BYTES + length);
                self.oldest_since = Instant::now();
                self.fill()?;
                continue;
            }
            let from = self.begin + HEADER_BYTES;
            let payload = self.received[from..from + length].to_vec();
            self.begin = from + length;
            let header = match header {
                Some(header) => header,
                None => continue,
            };
            if header.flags == FLAG_NOTICE {
                self.take_notice(&header, &payload)?;
                continue;
            }
            if header.flags != FLAG_ANSWER || header.request_id != id {
                let text = format!("{} frame answers no request that was sent again", header.operation);
                return Err(self.end_protocol(&text));
            }
            if header.status == Status::OK {
                return Ok(());
            }
            let text = format!(
                "the daemon was started again, and a {} that was not flushed could not be repeated: {}",
                header.operation,
                decode_message(&payload).unwrap_or("")
            );
            return Err(self.end_replay(&text, lost));
        }
    }

    fn end_replay(&mut self, text: &str, lost: &Lost) -> Error {
        self.end_with(ErrorKind::ConnectionLost, &lost.operation, &format!("{}; {}", lost.text, text))
    }

    fn end_resumable(&mut self, resume: &Resume, lost: &Lost, refused: &Refused) -> Error {
        let mut text = format!(
            "{}; resume={}s did not help: {}",
            lost.text,
            resume.options.resume.as_secs(),
            refused.error.message()
        );
        if self.in_flight > 0 {
            text.push_str(&format!(
                ". Without an answer are requests {} to {}: {}",
                self.first_id,
                self.next_id - 1,
                if resume.executed >= self.first_id {
                    format!("those up to {} are done, the others may be", resume.executed)
                } else {
                    "none is known to be done".to_owned()
                }
            ));
        }
        let closes = self.in_flight == 1 && self.pending.front().map_or(false, |one| one.operation == Operation::CLOSE);
        self.closed = refused.over && closes;
        self.end_with(ErrorKind::ConnectionLost, &lost.operation, &text)
    }
}

/// `reserved` of the header of a request that has so many before it without an answer.
fn acknowledge(frame: &mut [u8], before: usize) {
    // The window is no larger than what the field holds.
    let before = before.min(WINDOW_MAX) as u16;
    frame[RESERVED_AT..RESERVED_AT + 2].copy_from_slice(&before.to_le_bytes());
}
