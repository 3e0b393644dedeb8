//! What carries a session: any stream, none, one that is slow, and one whose other end refuses a request.

#![cfg(unix)]

mod support;

use pageserver::protocol::{Operation, HEADER_BYTES};
use pageserver::testing::Server;
use pageserver::{Access, Daemon, ErrorKind, Options, Publish, Session, View};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;
use support::{server, writer};

#[test]
fn any_stream_will_do() {
    let server = server();
    server.create("stream", 1).unwrap();
    let stream = std::os::unix::net::UnixStream::connect(server.socket()).unwrap();
    for cache in [0, 1 << 20] {
        let stream = stream.try_clone().map(|_| std::os::unix::net::UnixStream::connect(server.socket()).unwrap());
        let options = server.options("stream").cache_bytes(cache);
        let mut session = Session::over(stream.unwrap(), options).unwrap();
        let data = vec![7; 50_000];
        session.write(0, &data).unwrap();
        let mut back = vec![0; 50_000];
        session.read(0, &mut back).unwrap();
        assert_eq!(back, data);
        session.close().unwrap();
    }
}

#[test]
fn who_does_not_listen_or_does_not_speak_the_protocol_is_told_apart() {
    let error = Session::open("pageserver+unix:///x?socket=/nonexistent/socket").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    assert!(error.message().contains("is pageserverd running there?"), "{}", error);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let uri = format!("pageserver://{}/x?connect_timeout=200ms", address);
    let error = Session::open(&uri).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let peer = std::thread::spawn(move || {
        // The first one was the one above.
        let _ = listener.accept().unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    });
    let error = Session::open(&format!("pageserver://{}/x", address)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ProtocolError);
    assert!(error.message().contains("is it a pageserverd"), "{}", error);
    peer.join().unwrap();
    let error = Daemon::connect(&format!("pageserver://{}", address)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
}

#[test]
fn a_request_that_is_not_answered_times_out_for_good() {
    let server = server();
    server.create("slow", 1).unwrap();
    let proxy = support::proxy::Proxy::start(&server);
    let options = proxy.options("slow").request_timeout(Duration::from_millis(50));
    let mut session = Session::connect(options).unwrap();
    let mut byte = [0];
    session.read(0, &mut byte).unwrap();
    proxy.stall();
    let error = session.read(0, &mut byte).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.message().contains("no answer within 50ms"), "{}", error);
    assert_eq!(session.read(0, &mut byte).unwrap_err().message(), error.message());
}

#[test]
fn each_request_leaves_in_one_write() {
    let server = server();
    server.create("one-write", 4).unwrap();
    let (stream, writes) = support::counting(&server);
    let mut session = Session::over(stream, server.options("one-write")).unwrap();
    let count = || writes.swap(0, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(count(), 2, "hello and open");
    let mut buffer = vec![0; 100_000];
    session.write(3, &buffer).unwrap();
    assert_eq!(count(), 1);
    session.write(3, b"x").unwrap();
    assert_eq!(count(), 1);
    session.read(3, &mut buffer).unwrap();
    assert_eq!(count(), 1);
    session.flush().unwrap();
    assert_eq!(count(), 1);
    session.grow(1).unwrap();
    assert_eq!(count(), 1);
}

/// A stream whose other end answers the requests of one operation with `limit_exceeded`, and hands on the others.
struct Refusing {
    stream: std::os::unix::net::UnixStream,
    operation: Operation,
    refuses: Arc<AtomicBool>,
    answer: Vec<u8>,
}

impl Read for Refusing {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.answer.is_empty() {
            return self.stream.read(buffer);
        }
        let count = buffer.len().min(self.answer.len());
        buffer[..count].copy_from_slice(&self.answer[..count]);
        self.answer.drain(..count);
        Ok(count)
    }
}

impl Write for Refusing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // A request without a payload, alone in its write.
        let is_asked = bytes.len() == HEADER_BYTES && bytes[4..6] == self.operation.0.to_le_bytes();
        if !is_asked || !self.refuses.load(Ordering::SeqCst) {
            return self.stream.write(bytes);
        }
        let text = b"not now";
        self.answer.extend_from_slice(bytes);
        self.answer[6..8].copy_from_slice(&1u16.to_le_bytes()); // flags: an answer
        self.answer[16..20].copy_from_slice(&(text.len() as u32).to_le_bytes());
        self.answer[20..22].copy_from_slice(&8u16.to_le_bytes()); // status: limit_exceeded
        self.answer.extend_from_slice(text);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

fn refusing(server: &Server, operation: Operation, options: Options) -> (Session, Arc<AtomicBool>) {
    let stream = std::os::unix::net::UnixStream::connect(server.socket()).unwrap();
    let refuses = Arc::new(AtomicBool::new(true));
    let stream = Refusing { stream, operation, refuses: Arc::clone(&refuses), answer: Vec::new() };
    (Session::over(stream, options).unwrap(), refuses)
}

fn byte_at(session: &mut Session, offset: u64) -> u8 {
    let mut byte = [0];
    session.read(offset, &mut byte).unwrap();
    byte[0]
}

#[test]
fn a_discard_that_is_refused_has_dropped_nothing() {
    let server = server();
    for (store, cache) in [("refused-discard", 0), ("refused-discard-cached", 1 << 20)] {
        server.create(store, 2).unwrap();
        writer(&server, store).write(0, &[1; 100]).unwrap();
        for access in [Access::Write, Access::Fork] {
            let mut options = server.options(store).access(access).cache_bytes(cache);
            if access == Access::Write {
                options = options.publish(Publish::OnFlush);
            }
            let (mut session, refuses) = refusing(&server, Operation::DISCARD, options);
            session.write(10, &[2; 10]).unwrap();
            assert_eq!(session.grow(1).unwrap(), 2);
            let error = session.discard().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{}", error);
            assert_eq!((byte_at(&mut session, 9), byte_at(&mut session, 10)), (1, 2));
            assert_eq!(session.pages().unwrap(), 3);
            refuses.store(false, Ordering::SeqCst);
            session.discard().unwrap();
            assert_eq!(byte_at(&mut session, 10), 1);
            assert_eq!(session.pages().unwrap(), 2);
        }
    }
}

#[test]
fn a_refresh_that_is_refused_leaves_the_view_and_the_cache_as_they_were() {
    let server = server();
    server.create("refused-refresh", 2).unwrap();
    let mut writer = writer(&server, "refused-refresh");
    writer.write(0, &[1; 100]).unwrap();
    for cache in [0, 1 << 20] {
        let pinned = server.options("refused-refresh").access(Access::Read).view(View::Pinned).cache_bytes(cache);
        let (mut reader, refuses) = refusing(&server, Operation::REFRESH, pinned);
        let before = byte_at(&mut reader, 0);
        writer.write(0, &[before + 1; 100]).unwrap();
        assert_eq!(reader.refresh().unwrap_err().kind(), ErrorKind::LimitExceeded);
        assert_eq!((byte_at(&mut reader, 0), byte_at(&mut reader, 50)), (before, before));
        refuses.store(false, Ordering::SeqCst);
        reader.refresh().unwrap();
        assert_eq!((byte_at(&mut reader, 0), byte_at(&mut reader, 50)), (before + 1, before + 1));
        // A fork with private bytes is refused by the daemon itself, and keeps them.
        let mut fork =
            Session::connect(server.options("refused-refresh").access(Access::Fork).cache_bytes(cache)).unwrap();
        fork.write(0, &[9]).unwrap();
        assert_eq!(fork.refresh().unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert_eq!((byte_at(&mut fork, 0), byte_at(&mut fork, 1)), (9, before + 1));
        fork.discard().unwrap();
        fork.refresh().unwrap();
        assert_eq!(byte_at(&mut fork, 0), before + 1);
    }
}

#[test]
fn timeouts_of_nothing_and_of_for_ever_are_no_limits() {
    let server = server();
    server.create("for-ever", 1).unwrap();
    for timeout in [Duration::ZERO, Duration::MAX, Duration::from_secs(u64::MAX / 2)] {
        let tcp = Options::from_uri(&format!("pageserver://{}/for-ever", server.address())).unwrap();
        for options in [server.options("for-ever"), tcp] {
            let options = options.connect_timeout(timeout).request_timeout(timeout);
            let mut session = Session::connect(options).unwrap();
            session.write(0, &[7; 100]).unwrap();
            assert_eq!(byte_at(&mut session, 99), 7);
            session.flush().unwrap();
            session.close().unwrap();
        }
    }
}
