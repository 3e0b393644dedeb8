//! Many requests in flight, and commits behind changes that may be refused.

#![cfg(unix)]

mod support;

use pageserver::{Access, ErrorKind, Publish, Session, PAGE_SIZE};
use support::{server, writer};

#[test]
fn a_pipeline_keeps_many_requests_in_flight_and_tells_each_result() {
    let server = server();
    server.create("pipeline", 64).unwrap();
    let mut session = writer(&server, "pipeline");
    let mut buffers = vec![vec![0u8; 1000]; 300];
    let mut pipeline = session.pipeline().unwrap();
    for number in 0..300u64 {
        pipeline.write(number * 10_000, &[(number % 250) as u8 + 1; 1000]).unwrap();
    }
    for (number, buffer) in buffers.iter_mut().enumerate() {
        pipeline.read(number as u64 * 10_000, buffer).unwrap();
    }
    pipeline.read(64 * PAGE_SIZE, Box::leak(Box::new([0; 1]))).unwrap();
    let grow = pipeline.grow(2).unwrap();
    let mut results = Vec::new();
    while let Some(done) = pipeline.next().unwrap() {
        assert_eq!(done.ticket, results.len() as u64);
        if let Some(buffer) = &done.buffer {
            if buffer.len() == 1000 {
                assert_eq!(buffer[999], ((done.ticket - 300) % 250) as u8 + 1);
            }
        }
        if done.ticket == grow {
            assert_eq!(done.value, 64);
        }
        results.push(done.result);
    }
    assert_eq!(results.len(), 602);
    let failed: Vec<usize> = (0..602).filter(|at| results[*at].is_err()).collect();
    assert_eq!(failed, [600], "the read past the end, and no other");
    drop(pipeline);
    assert_eq!(session.known_pages(), 66);
    let too_long = vec![0; session.request_bytes_max() + 1];
    let mut pipeline = session.pipeline().unwrap();
    assert_eq!(pipeline.write(0, &too_long).unwrap_err().kind(), ErrorKind::LimitExceeded);
    pipeline.write(0, b"kept").unwrap();
    drop(pipeline); // waits
    let mut buffer = [0u8; 8];
    let mut pipeline = session.pipeline().unwrap();
    pipeline.read(0, &mut buffer).unwrap();
    pipeline.send().unwrap();
    std::mem::forget(pipeline); // its answer belongs to nobody now
    let mut four = [0; 4];
    session.read(0, &mut four).unwrap();
    assert_eq!(&four, b"kept");
}

#[test]
fn a_commit_behind_changes_publishes_nothing_when_one_of_them_was_refused() {
    let server = server();
    server.create("commit", 1).unwrap();
    let mut session = Session::connect(server.options("commit").publish(Publish::OnFlush)).unwrap();
    let mut pipeline = session.pipeline().unwrap();
    pipeline.write(0, b"half").unwrap();
    pipeline.write(PAGE_SIZE, b"outside").unwrap();
    let commit = pipeline.commit().unwrap();
    let mut kinds = Vec::new();
    while let Some(done) = pipeline.next().unwrap() {
        if done.ticket <= commit {
            kinds.push(done.result.err().map(|error| error.kind()));
        }
    }
    assert_eq!(kinds, [None, Some(ErrorKind::OutOfBounds), Some(ErrorKind::InvalidArgument)]);
    drop(pipeline);
    let mut live = Session::connect(server.options("commit").access(Access::Read)).unwrap();
    let mut four = [9; 4];
    live.read(0, &mut four).unwrap();
    assert_eq!(four, [0; 4]);
    session.flush().unwrap();
    live.read(0, &mut four).unwrap();
    assert_eq!(&four, b"half");
}

#[test]
fn a_commit_knows_of_changes_that_were_refused_before_they_were_sent() {
    let server = server();
    server.create("refused", 1).unwrap();
    let mut live = Session::connect(server.options("refused").access(Access::Read)).unwrap();
    for cache in [0, 1 << 20] {
        let options = server.options("refused").publish(Publish::OnFlush).cache_bytes(cache);
        let mut session = Session::connect(options).unwrap();
        let before = live.version().unwrap();
        session.write(0, b"half").unwrap();
        assert_eq!(session.write(PAGE_SIZE, b"outside").unwrap_err().kind(), ErrorKind::OutOfBounds);
        for _ in 0..2 {
            let refused = session.commit().unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
            assert!(refused.message().contains("a write was refused"), "{}", refused);
        }
        assert_eq!(live.version().unwrap(), before);
        session.discard().unwrap();
        session.commit().unwrap();
        session.zero(1, PAGE_SIZE).unwrap_err();
        session.commit().unwrap_err();
        // A flush publishes all the same.
        session.flush().unwrap();
        session.grow(u64::MAX).unwrap_err();
        session.commit().unwrap_err();
        session.close().unwrap();
    }
}
