//! What a daemon refuses, as the vectors say: each of them sent to a real one, beside the crate's own codec.

#![cfg(unix)]

mod support;

use pageserver::protocol::{decode_message, Operation, Request, Scan, Status, FEATURES_ALL, HEADER_BYTES};
use pageserver::{Access, Publish, View};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use support::vectors::read_vectors;

struct Raw(UnixStream);

impl Raw {
    /// The next frame: operation, flags, request id, status and payload; `None` at the end of the stream.
    fn frame(&mut self) -> Option<(pageserver::protocol::Header, Vec<u8>)> {
        let mut head = [0; HEADER_BYTES];
        self.0.read_exact(&mut head).ok()?;
        let header = match Scan::of(&head, 1 << 21) {
            Ok(Scan::Header(header)) => header,
            other => panic!("{:?}", other),
        };
        let mut payload = vec![0; header.payload_bytes as usize];
        self.0.read_exact(&mut payload).unwrap();
        Some((header, payload))
    }

    fn hello(&mut self) {
        let mut bytes = Vec::new();
        let hello = Request::Hello {
            credentials: "",
            version_min: 1,
            version_max: 1,
            payload_bytes_max: 1_052_672,
            features: FEATURES_ALL,
            client_name: "refusals",
        };
        hello.encode(1, &mut bytes);
        self.0.write_all(&bytes).unwrap();
        assert_eq!(self.frame().unwrap().0.status, Status::OK);
    }

    fn open(&mut self, store: &str) {
        let mut bytes = Vec::new();
        let open = Request::Open {
            access: Access::Fork,
            view: View::Live,
            publish: Publish::OnWrite,
            wait_ms: 0,
            resume_token: [0; 16],
            last_request_id: 0,
            store,
            session_name: "refusals",
        };
        open.encode(2, &mut bytes);
        self.0.write_all(&bytes).unwrap();
        assert_eq!(self.frame().unwrap().0.status, Status::OK);
    }
}

#[test]
fn a_daemon_answers_each_refused_request_with_the_status_that_its_vector_says() {
    let server = support::server();
    server.create("refusals", 1).unwrap();
    let mut sent = 0;
    for vector in
        read_vectors().iter().filter(|vector| vector.kind.starts_with("refused ") && !vector.status.is_empty())
    {
        let mut raw = Raw(UnixStream::connect(server.socket()).unwrap());
        if !vector.before_hello {
            raw.hello();
            // What is about stores, and a ring, must come without a session, all else within one.
            if !["list", "create", "remove", "open", "sessions", "kick", "whoami", "ring", "takeover"]
                .iter()
                .any(|word| vector.name.starts_with(word))
            {
                raw.open("refusals");
            }
        }
        raw.0.write_all(&vector.bytes).unwrap();
        let (header, payload) = raw.frame().expect(&vector.name);
        let text = decode_message(&payload).unwrap();
        assert_eq!(header.status.to_string(), vector.status, "{}: {}", vector.name, text);
        if vector.kind == "refused goodbye" {
            assert_eq!((header.flags, header.operation), (2, Operation::GOODBYE), "{}", vector.name);
            assert!(raw.frame().is_none(), "{}", vector.name);
        } else {
            assert_eq!(header.flags, 1, "{}", vector.name);
            let mut ping = Vec::new();
            Request::Ping { echo: b"alive" }.encode(99, &mut ping);
            raw.0.write_all(&ping).unwrap();
            assert_eq!(raw.frame().expect(&vector.name).1, b"alive");
        }
        sent += 1;
    }
    assert!(sent >= 60, "vectors are missing");
}
