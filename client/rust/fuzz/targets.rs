//! What the fuzzers run: every input is decoded or refused, and nothing panics.

use pageserver::protocol::{decode_message, Answer, Operation, Scan, HEADER_BYTES};
use pageserver::{Access, Options, Publish, Session, View};
use std::io::{Read, Write};
use std::time::Duration;

/// Frames and the answers within them.
pub fn answers(data: &[u8]) {
    if let Ok(Scan::Header(header)) = Scan::of(data, 1 << 20) {
        let _ = Answer::decode(header.operation, &data[HEADER_BYTES..]);
    }
    if let [operation, payload @ ..] = data {
        let _ = Answer::decode(Operation(u16::from(*operation) % 24), payload);
        let _ = decode_message(payload);
    }
}

/// URIs.
pub fn uris(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Options::from_uri(text);
    }
}

/// A daemon whose answers are the input's: a session with or without a cache talks to it until it ends. How many calls
/// went well.
pub fn sessions(data: &[u8]) -> usize {
    let (kind, data) = match data {
        [kind, data @ ..] => (*kind, data.to_vec()),
        [] => return 0,
    };
    let liar = Liar { data, at: 0, requests: Vec::new(), answers: Vec::new(), sent: 0 };
    let mut options = Options::tcp("liar", 1, "demo").poll_us(Some(0)).request_timeout(Duration::from_millis(50));
    options = match kind & 3 {
        0 => options.access(Access::Fork),
        1 => options.publish(Publish::OnFlush),
        2 => options.access(Access::Read).view(View::Pinned),
        _ => options,
    };
    options = options.cache_bytes(if kind & 4 == 0 { 0 } else { 3 * 65_536 });
    let mut session = match Session::over(liar, options) {
        Ok(session) => session,
        Err(_) => return 0,
    };
    let mut bytes = [7; 300];
    // Whatever it answers: the numbers may not make sense, the session has to.
    let size = session.known_size();
    let mut well = 0;
    let mut count = |went: bool| well += usize::from(went);
    for round in 0..4u64 {
        count(session.read(round * 40_000, &mut bytes).is_ok());
        count(session.read(size.wrapping_sub(300), &mut bytes).is_ok());
        count(session.write(round * 70_000, &bytes[..100]).is_ok());
        count(session.grow(round).is_ok());
        count(session.zero(round, 200_000).is_ok());
        count(session.data_ranges(round, 100_000).is_ok());
        count(session.pages().is_ok());
        count(match round {
            0 => session.flush().is_ok(),
            1 => session.commit().is_ok(),
            2 => session.discard().is_ok(),
            _ => session.refresh().is_ok(),
        });
        count(session.stat().is_ok());
        count(session.break_lease(round).is_ok());
        count(session.ping().is_ok());
        count(session.version().is_ok());
    }
    if let Ok(mut pipeline) = session.pipeline() {
        count(pipeline.read(0, &mut bytes).is_ok());
        count(pipeline.commit().is_ok());
        count(pipeline.finish().is_ok());
    }
    count(session.close().is_ok());
    well
}

/// Answers each request with what stands in the input, most often in a frame that fits.
struct Liar {
    data: Vec<u8>,
    at: usize,
    requests: Vec<u8>,
    answers: Vec<u8>,
    sent: usize,
}

impl Liar {
    fn byte(&mut self) -> u8 {
        self.at += 1;
        self.data.get(self.at - 1).copied().unwrap_or(0)
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let from = self.at.min(self.data.len());
        let until = (from + count).min(self.data.len());
        self.at = until;
        self.data[from..until].to_vec()
    }

    fn answer(&mut self, operation: u16, id: u64, payload: &[u8]) {
        let how = self.byte();
        let mut body = match (operation, how & 3) {
            // As a daemon answers, so that the session begins.
            (1, 0..=2) => {
                let mut hello = vec![1, 0, 0, 0];
                hello.extend((1_052_672u32).to_le_bytes());
                hello.extend(u64::from(self.byte()).to_le_bytes());
                hello.extend((4096 + u32::from(self.byte())).to_le_bytes());
                hello.extend(u32::from(self.byte() % 8).to_le_bytes());
                hello.extend((1u64 << 20).to_le_bytes());
                hello.extend(7u64.to_le_bytes());
                hello
            }
            (6, 0..=2) => {
                let mut open = [0; 48];
                open[16] = self.byte() % 8;
                open[46] = 1;
                open.to_vec()
            }
            (9, 0..=2) if payload.len() == 16 => {
                let mut length = [0; 4];
                length.copy_from_slice(&payload[8..12]);
                vec![how; (u32::from_le_bytes(length) as usize).min(1 << 20)]
            }
            (2, 0..=2) => payload.to_vec(),
            _ => {
                let count = usize::from(self.byte());
                self.take(count)
            }
        };
        let mut status = 0;
        if how & 0xf0 == 0xf0 {
            status = u16::from(self.byte() % 24);
            body = b"no".to_vec();
        }
        let mut frame = b"PGS1".to_vec();
        frame.extend(operation.to_le_bytes());
        frame.extend(1u16.to_le_bytes());
        frame.extend(id.to_le_bytes());
        frame.extend((body.len() as u32).to_le_bytes());
        frame.extend(status.to_le_bytes());
        frame.extend([0, 0]);
        frame.extend(body);
        if how & 0x3c == 0x3c {
            let at = usize::from(self.byte()) % frame.len();
            frame[at] ^= self.byte();
        }
        self.answers.extend(frame);
    }
}

impl Write for Liar {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.requests.extend_from_slice(buf);
        while let Ok(Scan::Header(header)) = Scan::of(&self.requests, u32::MAX) {
            let end = HEADER_BYTES + header.payload_bytes as usize;
            if self.requests.len() < end {
                break;
            }
            let payload = self.requests[HEADER_BYTES..end].to_vec();
            self.requests.drain(..end);
            self.answer(header.operation.0, header.request_id, &payload);
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Read for Liar {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let count = buf.len().min(self.answers.len() - self.sent);
        buf[..count].copy_from_slice(&self.answers[self.sent..self.sent + count]);
        self.sent += count;
        Ok(count)
    }
}
