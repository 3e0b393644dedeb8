//! One connection to a daemon: requests out, answers in, many in flight, no thread of its own.

use crate::credentials::credentials;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Options;
use crate::poll::PollBudget;
use crate::protocol::{
    encode_head, Answer, Fault, HelloAnswer, Operation, Request, Status, FEATURES_ALL, FEATURE_RESTART, FEATURE_RESUME,
    HEADER_BYTES, NAME_BYTES_MAX, PAYLOAD_OVERHEAD_BYTES, PROTOCOL_VERSION,
};
use crate::resume::{Change, Lost, Resume, WINDOW_MAX};
use crate::transport::{Transport, Wait};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::path::Path;
use std::time::{Duration, Instant};

/// The largest read that this client asks for, whatever the daemon would allow.
const REQUEST_BYTES_MAX: u32 = 64 << 20;
/// Data up to this size is copied behind its header; more goes out from where it is, if the transport can.
const COPY_BYTES_MAX: usize = 4096;
/// Requests are collected up to so many bytes before they are sent without anybody waiting for an answer.
const COLLECT_BYTES_MAX: usize = 64 << 10;

/// Takes in what is answered to requests.
pub(crate) trait Sink {
    /// Where the data of this read goes: exactly as many bytes as it asked for. `None`: nobody wants it any more.
    fn target(&mut self, id: u64) -> Option<&mut [u8]>;
    /// The request ended. The payload of a read is empty, since its data is where it should be. A fault ends the
    /// connection.
    fn done(&mut self, id: u64, answer: std::result::Result<&[u8], &Error>) -> std::result::Result<(), Fault>;
}

/// For notices, while no answer is waited for.
pub(crate) struct Nobody;

impl Sink for Nobody {
    fn target(&mut self, _: u64) -> Option<&mut [u8]> {
        None
    }

    fn done(&mut self, _: u64, _: std::result::Result<&[u8], &Error>) -> std::result::Result<(), Fault> {
        Ok(())
    }
}

/// One request whose answer is used at once.
struct One<F, R> {
    id: u64,
    operation: Operation,
    use_answer: Option<F>,
    result: Option<Result<R>>,
}

impl<F, R> Sink for One<F, R>
where
    F: FnOnce(Answer<'_>) -> std::result::Result<R, Fault>,
{
    fn target(&mut self, _: u64) -> Option<&mut [u8]> {
        None
    }

    fn done(&mut self, id: u64, answer: std::result::Result<&[u8], &Error>) -> std::result::Result<(), Fault> {
        if id != self.id {
            return Ok(());
        }
        match answer {
            Err(error) => self.result = Some(Err(error.clone())),
            Ok(payload) => {
                if let Some(use_answer) = self.use_answer.take() {
                    self.result = Some(Ok(use_answer(Answer::decode(self.operation, payload)?)?));
                }
            }
        }
        Ok(())
    }
}

/// The sink of a single read or write: what most calls are.
struct Single<'b> {
    id: u64,
    buffer: Option<&'b mut [u8]>,
    result: Option<Result<()>>,
}

impl Sink for Single<'_> {
    fn target(&mut self, id: u64) -> Option<&mut [u8]> {
        if id == self.id {
            self.buffer.as_deref_mut()
        } else {
            None
        }
    }

    fn done(&mut self, id: u64, answer: std::result::Result<&[u8], &Error>) -> std::result::Result<(), Fault> {
        if id == self.id {
            match answer {
                Ok([]) => self.result = Some(Ok(())),
                Ok(payload) => {
                    return Err(Fault(format!("write answer has a payload of {} bytes, expected none", payload.len())))
                }
                Err(error) => self.result = Some(Err(error.clone())),
            }
        }
        Ok(())
    }
}

pub(crate) struct Pending {
    pub operation: Operation,
    pub length: usize,
    pub done: bool,
    cost: usize,
}

/// What a connection has cost so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub requests: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub waits: u64,
}

pub(crate) struct Connection {
    pub(super) stream: Box<dyn Transport>,
    pub(super) wait: Option<Wait>,
    pub(super) can_wait: bool,
    pub(super) quantum: Duration,
    pub(super) budget: PollBudget,
    pub(super) context: String,
    pub(super) server: HelloAnswer,
    pub(super) greeted: bool,

    pub(super) out: Vec<u8>,
    /// Requests in `out`.
    pub(super) unsent: usize,
    pub(super) write_failed: Option<String>,
    /// `begin..end` of it came in and was not taken yet.
    pub(super) received: Vec<u8>,
    pub(super) begin: usize,
    pub(super) end: usize,
    /// A read's data goes straight to where it belongs, and more of it has to come.
    pub(super) inside_data: bool,

    /// Requests sent or about to be, in their order; ids are consecutive.
    pub(super) pending: VecDeque<Pending>,
    pub(super) first_id: u64,
    pub(super) next_id: u64,
    pub(super) in_flight: usize,
    pub(super) in_flight_bytes: usize,
    pub(super) oldest_since: Instant,
    pub(super) request_timeout: Duration,

    pub(super) ended: Option<Error>,
    pub(super) lease_lost: Option<Error>,
    /// A session that outlives this connection is on it.
    pub(super) resume: Option<Box<Resume>>,
    /// The stream is gone, and the session is not: the next wait for an answer comes back for it.
    pub(super) lost: Option<Lost>,
    /// How the request that ended the connection was answered, if that is what ended it.
    pub(super) refused_with: Option<Status>,
    /// How the last open was refused, whatever became of the connection.
    pub(super) open_refusal: Option<Status>,
    /// The session is over, as its close wanted.
    pub(super) closed: bool,
    /// The frames behind one that ends a request are somebody else's.
    pub(super) keeps_rest: bool,
    pub(super) counters: Counters,
}

/// What a connection is opened with.
pub(crate) struct ConnectionOptions<'a> {
    pub deadline: Instant,
    pub request_timeout: Duration,
    pub poll_us: Option<u32>,
    pub client_name: &'a str,
    pub token: &'a str,
    pub token_file: &'a Path,
    pub context: String,
    /// A session that is opened over it may be resumed.
    pub resumes: bool,
}

impl<'a> ConnectionOptions<'a> {
    /// For a session that these options describe.
    pub fn of(options: &'a Options, deadline: Instant, context: String) -> Self {
        ConnectionOptions {
            deadline,
            request_timeout: options.request_timeout,
            poll_us: options.poll_us,
            client_name: &options.client_name,
            token: &options.token,
            token_file: &options.token_file,
            context,
            resumes: !options.resume.is_zero(),
        }
    }
}

impl Connection {
    /// Says hello on a connected stream.
    pub fn new(stream: Box<dyn Transport>, options: &ConnectionOptions<'_>) -> Result<Connection> {
        let left = options.deadline.saturating_duration_since(Instant::now());
        let credentials = credentials(stream.as_ref(), &options.context, options.token, options.token_file)?;
        let mut connection = Connection {
            stream,
            wait: None,
            can_wait: true,
            // A wait of the system ends late by as much as this.
            quantum: (options.request_timeout / 8).clamp(Duration::from_millis(1), Duration::from_millis(100)),
            budget: PollBudget::new(options.poll_us),
            context: options.context.clone(),
            server: HelloAnswer { requests_in_flight_max: 1, ..HelloAnswer::default() },
            greeted: false,
            out: Vec::with_capacity(1024),
            unsent: 0,
            write_failed: None,
            received: vec![0; 64 << 10],
            begin: 0,
            end: 0,
            inside_data: false,
            pending: VecDeque::new(),
            first_id: 1,
            next_id: 1,
            in_flight: 0,
            in_flight_bytes: 0,
            oldest_since: Instant::now(),
            request_timeout: left.max(Duration::from_millis(1)),
            ended: None,
            lease_lost: None,
            resume: None,
            lost: None,
            refused_with: None,
            open_refusal: None,
            closed: false,
            keeps_rest: false,
            counters: Counters::default(),
        };
        let features = if options.resumes { FEATURES_ALL | FEATURE_RESUME | FEATURE_RESTART } else { FEATURES_ALL };
        connection.hello(options.client_name, &credentials, features)?;
        connection.request_timeout = options.request_timeout;
        Ok(connection)
    }

    fn hello(&mut self, client_name: &str, credentials: &str, features: u64) -> Result<()> {
        let mut name =
            if client_name.is_empty() { concat!("pageserver-rust ", env!("CARGO_PKG_VERSION")) } else { client_name };
        while name.len() > NAME_BYTES_MAX || !name.is_char_boundary(name.len()) {
            let mut end = name.len().min(NAME_BYTES_MAX + 1) - 1;
            while !name.is_char_boundary(end) {
                end -= 1;
            }
            name = &name[..end];
        }
        let answer = self.call(
            &Request::Hello {
                version_min: PROTOCOL_VERSION,
                version_max: PROTOCOL_VERSION,
                payload_bytes_max: REQUEST_BYTES_MAX + PAYLOAD_OVERHEAD_BYTES,
                features,
                client_name: name,
                credentials,
            },
            |answer| match answer {
                Answer::Hello(hello) => Ok(hello),
                _ => Err(Fault("hello was answered with something else".into())),
            },
        )?;
        if answer.version != PROTOCOL_VERSION {
            return Err(self.end_with(
                ErrorKind::Unsupported,
                "hello",
                &format!(
                    "the daemon chose version {} of the protocol, this library speaks {}",
                    answer.version, PROTOCOL_VERSION
                ),
            ));
        }
        if answer.request_bytes_max == 0 || answer.requests_in_flight_max == 0 {
            return Err(self.end_with(
                ErrorKind::ProtocolError,
                "hello",
                &format!(
                    "the daemon announced request_bytes_max={} requests_in_flight_max={}, expected at least 1 of each",
                    answer.request_bytes_max, answer.requests_in_flight_max
                ),
            ));
        }
        self.server = answer;
        self.server.features &= features;
        self.server.request_bytes_max = self.server.request_bytes_max.min(REQUEST_BYTES_MAX);
        self.greeted = true;
        Ok(())
    }

    pub fn name_store(&mut self, context: String) {
        self.context = context;
    }

    pub fn server(&self) -> &HelloAnswer {
        &self.server
    }

    pub fn has_feature(&self, feature: u64) -> bool {
        self.server.features & feature != 0
    }

    pub fn request_bytes_max(&self) -> usize {
        self.server.request_bytes_max as usize
    }

    pub fn ended(&self) -> Option<&Error> {
        self.ended.as_ref()
    }

    /// A close was not answered, and the session that it was to end is over.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    pub fn set_request_timeout(&mut self, timeout: Duration) -> Duration {
        std::mem::replace(&mut self.request_timeout, timeout)
    }

    /// Fails as a request of `operation` would.
    pub fn check_usable(&self, operation: Operation) -> Result<()> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        match &self.lease_lost {
            // What is about the daemon and not about the store still works.
            Some(lost) if !matches!(operation, Operation::CLOSE | Operation::PING | Operation::LIST) => {
                Err(lost.clone())
            }
            _ => Ok(()),
        }
    }

    /// An error with the connection's name before it.
    pub fn error(&self, kind: ErrorKind, operation: &str, message: &str) -> Error {
        let named = message.starts_with(operation)
            && matches!(message.as_bytes().get(operation.len()), None | Some(b' ') | Some(b':'));
        if named {
            Error::new(kind, format!("{}: {}", self.context, message))
        } else {
            Error::new(kind, format!("{}: {}: {}", self.context, operation, message))
        }
    }

    /// Ends the connection with this error, unless it had ended before.
    pub(super) fn end_with(&mut self, kind: ErrorKind, operation: &str, message: &str) -> Error {
        if self.ended.is_none() {
            self.ended = Some(self.error(kind, operation, message));
            self.out = Vec::new();
            self.pending.clear();
            self.resume = None;
            self.lost = None;
            self.in_flight = 0;
            self.begin = self.end;
            // The socket itself closes with the session: nothing is read from it or sent any more.
        }
        match &self.ended {
            Some(error) => error.clone(),
            None => unreachable!("it was set above"),
        }
    }

    /// True: the daemon takes a request that costs so many bytes there without answering one before.
    fn fits(&self, cost: usize) -> bool {
        self.in_flight == 0
            || (self.in_flight < self.server.requests_in_flight_max as usize
                && (self.resume.is_none() || self.pending.len() < WINDOW_MAX)
                && self.in_flight_bytes.saturating_add(cost) <= self.server.buffered_bytes_max as usize)
    }

    /// The daemon never has to stop reading from a client that keeps to its limits, so that sending can't block for
    /// good; answers are taken in until there is room.
    fn admit(&mut self, operation: Operation, cost: usize, sink: &mut dyn Sink) -> Result<()> {
        self.check_usable(operation)?;
        while !self.fits(cost) {
            self.begin_wait()?;
            self.receive(sink)?;
            self.check_usable(operation)?;
        }
        Ok(())
    }

    /// A change waits until what it could alter is answered, in a session that may go on after its daemon.
    fn await_seeing(&mut self, change: Change, sink: &mut dyn Sink) -> Result<()> {
        while self.resume.as_ref().map_or(false, |resume| resume.is_seen(&change)) {
            self.begin_wait()?;
            self.receive(sink)?;
        }
        match (&change, &self.resume) {
            (Change::Commit, Some(resume)) if resume.is_commit_in_doubt() => {
                let text = "a change was refused before the daemon was started again, which knows nothing of it and \
                            would commit the others: nothing of this transaction is published";
                Err(self.end_with(ErrorKind::ConnectionLost, "commit", text))
            }
            _ => Ok(()),
        }
    }

    fn enlist(&mut self, operation: Operation, length: usize, cost: usize) -> u64 {
        if self.in_flight == 0 {
            self.oldest_since = Instant::now();
        }
        let id = self.next_id;
        self.next_id += 1;
        self.in_flight += 1;
        self.in_flight_bytes += cost;
        self.counters.requests += 1;
        self.unsent += 1;
        self.pending.push_back(Pending { operation, length, done: false, cost });
        id
    }

    pub(super) fn settle(&mut self, id: u64, ok: bool) {
        let index = (id - self.first_id) as usize;
        self.pending[index].done = true;
        self.in_flight -= 1;
        self.in_flight_bytes -= self.pending[index].cost;
        let first = self.first_id;
        while self.pending.front().map_or(false, |pending| pending.done) {
            self.pending.pop_front();
            self.first_id += 1;
            if let Some(resume) = &mut self.resume {
                resume.answered(self.first_id - 1, ok);
            }
        }
        // The next one's time begins when it is the oldest: before, the daemon was at work on what came earlier.
        if self.first_id != first && self.in_flight > 0 {
            self.oldest_since = Instant::now();
        }
    }

    /// Queues a request, and returns its id. Answers to earlier ones may be taken in meanwhile.
    pub fn submit(&mut self, request: &Request<'_>, sink: &mut dyn Sink) -> Result<u64> {
        let length = match request {
            Request::Read { length, .. } => *length as usize,
            _ => 0,
        };
        let cost = 2 * HEADER_BYTES + 64 + length;
        self.await_seeing(Change::of(request), sink)?;
        self.admit(request.operation(), cost, sink)?;
        if self.out.len() >= COLLECT_BYTES_MAX {
            self.send()?;
        }
        let id = self.enlist(request.operation(), length, cost);
        let begin = self.out.len();
        request.encode(id, &mut self.out);
        self.keep(begin, &[]);
        Ok(id)
    }

    /// As [`submit`](Self::submit), for a write. `data` is not needed any more when it returns.
    pub fn submit_write(&mut self, offset: u64, data: &[u8], sink: &mut dyn Sink) -> Result<u64> {
        let cost = 2 * HEADER_BYTES + 8 + data.len();
        self.await_seeing(Change::Bytes(offset, data.len() as u64), sink)?;
        self.admit(Operation::WRITE, cost, sink)?;
        if self.out.len() >= COLLECT_BYTES_MAX {
            self.send()?;
        }
        let id = self.enlist(Operation::WRITE, 0, cost);
        let begin = self.out.len();
        encode_head(Operation::WRITE, id, 8 + data.len(), offset, &mut self.out);
        self.keep(begin, data);
        if data.len() <= COPY_BYTES_MAX || !self.stream.sends_vectored() {
            self.out.extend_from_slice(data);
        } else {
            self.send_with(data)?;
        }
        Ok(id)
    }

    /// Sends what is queued. A failure is not told here: a daemon that closes says why first, and that is read next.
    pub fn send(&mut self) -> Result<()> {
        self.send_with(&[])
    }

    /// Sends what is queued, to wait for answers next.
    pub fn begin_wait(&mut self) -> Result<()> {
        self.counters.waits += 1;
        self.send()
    }

    /// As [`begin_wait`](Self::begin_wait), where the daemon has enough to do with what was sent before: then what is
    /// queued waits for more of it, and many requests leave in one write.
    pub fn begin_busy_wait(&mut self) -> Result<()> {
        if 4 * self.unsent < self.in_flight {
            self.counters.waits += 1;
            return Ok(());
        }
        self.begin_wait()
    }

    fn send_with(&mut self, data: &[u8]) -> Result<()> {
        self.unsent = 0;
        let out = std::mem::take(&mut self.out);
        let result = self.write_all(&out, data);
        self.out = out;
        self.out.clear();
        result
    }

    fn write_all(&mut self, out: &[u8], data: &[u8]) -> Result<()> {
        let total = out.len() + data.len();
        let mut sent = 0;
        while sent < total && self.write_failed.is_none() && self.lost.is_none() {
            let written = if sent >= out.len() {
                self.stream.write(&data[sent - out.len()..])
            } else if data.is_empty() {
                self.stream.write(&out[sent..])
            } else {
                self.stream.write_vectored(&[IoSlice::new(&out[sent..]), IoSlice::new(data)])
            };
            match written {
                Ok(0) => self.write_failed = Some("the stream takes no more bytes".into()),
                Ok(count) => {
                    sent += count;
                    self.counters.bytes_sent += count as u64;
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        if Instant::now() >= self.oldest_since + self.request_timeout {
                            let text = format!(
                                "the daemon did not take the request within {}ms; see request_timeout in the URI",
                                self.request_timeout.as_millis()
                            );
                            if self.lose("send", &text, true).is_some() {
                                break;
                            }
                            return Err(self.end_with(ErrorKind::TimedOut, "send", &text));
                        }
                        self.set_wait(Wait::AtMost(self.quantum))?;
                    }
                    _ => self.write_failed = Some(error.to_string()),
                },
            }
        }
        Ok(())
    }

    pub(super) fn set_wait(&mut self, wait: Wait) -> Result<()> {
        if self.wait == Some(wait) || !self.can_wait {
            return Ok(());
        }
        match self.stream.set_wait(wait) {
            Ok(can_wait) => {
                self.can_wait = can_wait;
                self.wait = Some(wait);
                Ok(())
            }
            Err(error) => match self.lose("wait", &error.to_string(), false) {
                Some(lost) => Err(lost),
                None => Err(self.end_with(ErrorKind::ConnectionLost, "wait", &error.to_string())),
            },
        }
    }

    /// One request and its answer.
    pub fn call<R>(
        &mut self,
        request: &Request<'_>,
        use_answer: impl FnOnce(Answer<'_>) -> std::result::Result<R, Fault>,
    ) -> Result<R> {
        let mut sink = One { id: 0, operation: request.operation(), use_answer: Some(use_answer), result: None };
        sink.id = self.submit(request, &mut Nobody)?;
        self.begin_wait()?;
        loop {
            self.receive(&mut sink)?;
            if let Some(result) = sink.result.take() {
                return result;
            }
        }
    }

    /// One read, at most `request_bytes_max()` bytes.
    pub fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let request = Request::Read { offset, length: buffer.len() as u32 };
        let id = self.submit(&request, &mut Nobody)?;
        self.single(id, Some(buffer))
    }

    /// One write, at most `request_bytes_max()` bytes.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        let id = self.submit_write(offset, data, &mut Nobody)?;
        self.single(id, None)
    }

    fn single(&mut self, id: u64, buffer: Option<&mut [u8]>) -> Result<()> {
        self.begin_wait()?;
        let mut sink = Single { id, buffer, result: None };
        loop {
            self.receive(&mut sink)?;
            if let Some(result) = sink.result.take() {
                return result;
            }
        }
    }

    /// Takes in what the daemon has said unasked, so that a lost lease or a closed connection is known, and fails as a
    /// request of `operation` would. Waits for nothing, but for a round trip where the transport can't but wait.
    pub fn look(&mut self, operation: Operation) -> Result<()> {
        self.check_usable(operation)?;
        if self.in_flight == 0 && self.lost.is_none() {
            if let Err(error) = self.set_wait(Wait::Never) {
                return if self.lost.is_some() { Ok(()) } else { Err(error) };
            }
            if self.can_wait {
                match self.take_what_is_there() {
                    Err(error) if self.lost.is_none() => return Err(error),
                    _ => {}
                }
            } else {
                self.call(&Request::Ping { echo: &[] }, |_| Ok(()))?;
            }
        }
        self.check_usable(operation)
    }
}
