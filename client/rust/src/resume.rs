//! Sessions that outlive their connection: it is made again, and each request is carried out exactly once.
//!
//! Each request is kept as its frame until it is answered. When the stream is lost, whoever waits for an answer next
//! connects again, shows the token of the session, and hears up to which request all are carried out. What lies above
//! is sent again; the answers to the others come by themselves.

use crate::connection::{Connection, ConnectionOptions};
use crate::dial;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Options;
use crate::protocol::{Answer, Fault, Operation, Request, Status, FEATURE_RESUME};
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
}

impl Resume {
    pub fn new(options: &Options, token: [u8; 16]) -> Box<Resume> {
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
        })
    }

    /// The oldest request.
    pub fn answered(&mut self) {
        self.frames.pop_front();
        self.answers += 1;
    }

    /// A connection with the session, and the highest request that was carried out. `again`: another attempt may do
    /// better; `over`: the daemon says that there is no such session any more.
    fn attempt(&self, mark: u64, deadline: Instant, context: &str) -> std::result::Result<(Connection, u64), Refused> {
        let options = &self.options;
        let left = deadline.saturating_duration_since(Instant::now());
        let deadline =
            Instant::now() + left.min(options.connect_timeout).min(ATTEMPT_MAX).max(Duration::from_millis(1));
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
                    Some(ticket) if ticket.token == self.token => Ok(ticket.executed),
                    _ => Err(Fault("open answer is about another session than was asked for".into())),
                },
                _ => Err(Fault("open was answered with something else".into())),
            },
        );
        connection.keeps_rest = false;
        connection.set_request_timeout(timeout);
        match opened {
            Ok(executed) => Ok((connection, executed)),
            Err(error) => {
                let refused = Refused::of(error);
                Err(match connection.refused_with {
                    None | Some(Status::STOPPING) | Some(Status::TIMED_OUT) => refused,
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
            let refused = match resume.attempt(self.first_id - 1, deadline, &self.context) {
                Ok((fresh, executed)) => {
                    self.resume = Some(resume);
                    return self.take_over(fresh, executed);
                }
                Err(refused) => refused,
            };
            if !refused.again || Instant::now() + pause >= deadline {
                return Err(self.end_resumable(&resume, &lost, &refused));
            }
            std::thread::sleep(pause);
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }

    fn take_over(&mut self, fresh: Connection, executed: u64) -> Result<()> {
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
        if executed + 1 < self.first_id || executed >= self.next_id {
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
            let known = (executed + 1 - self.first_id) as usize;
            for (index, frame) in resume.frames.iter().enumerate().skip(known) {
                let begin = self.out.len();
                self.out.extend_from_slice(frame);
                acknowledge(&mut self.out[begin..], index);
            }
        }
        self.send()
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
