//! What the real engine asked of its memory, recorded, asked of a daemon again: see tests/fixtures/engine/README.md.

#![cfg(unix)]

mod support;

use pageserver::{Access, Publish, Session, View, PAGE_SIZE};
use std::io::{BufReader, Read};
use std::process::{Child, Command, Stdio};
use support::{project_root, server};

struct Trace {
    input: BufReader<std::process::ChildStdout>,
    zstd: Child,
}

impl Drop for Trace {
    fn drop(&mut self) {
        let mut rest = Vec::new();
        self.input.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty() && self.zstd.wait().unwrap().success());
    }
}

impl Trace {
    fn open(name: &str) -> Trace {
        let file = project_root().join("tests/fixtures/engine").join(name);
        let mut zstd = Command::new("zstd");
        zstd.arg("-dc").arg(file).stdout(Stdio::piped());
        let mut zstd = zstd.spawn().expect("zstd");
        let output = zstd.stdout.take().unwrap();
        Trace { input: BufReader::with_capacity(1 << 20, output), zstd }
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    fn u32(&mut self) -> usize {
        u32::from_le_bytes(self.bytes()) as usize
    }
}

fn image(name: &str) -> Vec<u8> {
    let mut image = Vec::new();
    Trace::open(name).input.read_to_end(&mut image).unwrap();
    image
}

/// Replays a trace, and compares each read with a heap that was told the same. Returns the final image's hash as the
/// recording has it.
fn replay(name: &str, session: &mut Session, mut heap: Vec<u8>) -> String {
    let mut trace = Trace::open(name);
    assert_eq!(&trace.bytes::<8>(), b"WDTRACE1");
    assert_eq!(trace.u64(), heap.len() as u64);
    let _initial_hash = trace.u64();
    let (records, final_bytes, final_hash) = (trace.u64(), trace.u64(), trace.u64());
    let mut buffer = Vec::new();
    for record in 0..records {
        let [operation] = trace.bytes::<1>();
        match operation {
            1 => {
                let (new_pages, previous_bytes) = (trace.u64(), trace.u64());
                assert_eq!(session.grow(new_pages).unwrap() * PAGE_SIZE, previous_bytes);
                heap.resize(heap.len() + (new_pages * PAGE_SIZE) as usize, 0);
                assert_eq!(session.known_size(), heap.len() as u64);
            }
            2 => {
                let (offset, length, _hash) = (trace.u64(), trace.u32(), trace.u64());
                buffer.resize(length, 0xee);
                session.read(offset, &mut buffer[..length]).unwrap();
                let expected = &heap[offset as usize..offset as usize + length];
                assert!(&buffer[..length] == expected, "{} record {} offset {}", name, record, offset);
            }
            3 | 4 => {
                let (offset, length) = (trace.u64(), trace.u32());
                buffer.clear();
                buffer.resize(length, 0);
                if operation == 3 {
                    trace.input.read_exact(&mut buffer).unwrap();
                }
                session.write(offset, &buffer).unwrap();
                heap[offset as usize..offset as usize + length].copy_from_slice(&buffer);
            }
            5 => session.flush().unwrap(),
            other => panic!("record {} is of kind {}", record, other),
        }
    }
    assert_eq!(heap.len() as u64, final_bytes);
    session.flush().unwrap();
    let mut whole = vec![0; heap.len()];
    session.read(0, &mut whole).unwrap();
    assert!(whole == heap, "{}: the final image differs", name);
    format!("{:016x}", final_hash)
}

fn hash_by_pagectl(uri: &str) -> String {
    let pagectl = support::daemon_program().with_file_name("pagectl");
    let output = Command::new(pagectl).args(["hash", uri]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
}

/// Each way to use a store: access, publish mode, cache.
fn modes() -> Vec<(&'static str, Access, Publish, u64)> {
    vec![
        ("write", Access::Write, Publish::OnWrite, 0),
        ("write-cached", Access::Write, Publish::OnWrite, 4 << 20),
        ("flush", Access::Write, Publish::OnFlush, 0),
        ("flush-cached", Access::Write, Publish::OnFlush, 4 << 20),
        ("flush-small-cache", Access::Write, Publish::OnFlush, 3 * PAGE_SIZE),
        ("fork", Access::Fork, Publish::OnWrite, 0),
        ("fork-small-cache", Access::Fork, Publish::OnWrite, 2 * PAGE_SIZE),
    ]
}

fn replay_in_every_mode(name: &str, initial: &[u8]) {
    let server = server();
    for (mode, access, publish, cache_bytes) in modes() {
        let store = format!("{}-{}", name, mode);
        server
            .build(&store, |session| {
                session.grow(initial.len() as u64 / PAGE_SIZE)?;
                session.write(0, initial)
            })
            .unwrap();
        let options = server.options(&store).access(access).publish(publish).cache_bytes(cache_bytes);
        let mut session = Session::connect(options).unwrap();
        let hash = replay(&format!("{}.wdtr.zst", name), &mut session, initial.to_vec());
        if access == Access::Write {
            session.close().unwrap();
            assert_eq!(hash_by_pagectl(&server.uri(&store)), hash, "{}", store);
        }
    }
}

#[test]
fn small_crud_is_replayed_in_every_mode() {
    replay_in_every_mode("small_crud", &[]);
}

#[test]
fn reopen_is_replayed_in_every_mode() {
    replay_in_every_mode("reopen", &image("small_crud.img.zst"));
}

#[test]
fn blob_is_replayed_through_the_cache() {
    let server = server();
    server.create("blob", 0).unwrap();
    let options = server.options("blob").publish(Publish::OnFlush).cache_bytes(1 << 20);
    let mut session = Session::connect(options).unwrap();
    let hash = replay("blob.wdtr.zst", &mut session, Vec::new());
    let traffic = session.traffic();
    assert!(traffic.bytes_sent < 62_273_984 / 4, "only what differs is sent: {:?}", traffic);
    session.close().unwrap();
    assert_eq!(hash_by_pagectl(&server.uri("blob")), hash);
}

#[test]
fn reads_that_run_forward_are_read_ahead() {
    let server = server();
    server.create("forward", 200).unwrap();
    let options = server.options("forward").access(Access::Read).view(View::Pinned).cache_bytes(16 << 20);
    let mut session = Session::connect(options).unwrap();
    let mut half = vec![0; PAGE_SIZE as usize / 2];
    let before = session.traffic().round_trips;
    for number in 0..400 {
        session.read(number * half.len() as u64, &mut half).unwrap();
    }
    let traffic = session.traffic();
    assert_eq!(traffic.cache_misses + traffic.pages_read_ahead, 200, "{:?}", traffic);
    assert!(traffic.cache_misses <= 20, "{:?}", traffic);
    assert!(traffic.round_trips - before <= 20, "{:?}", traffic);
}

#[test]
fn what_is_first_written_to_a_grown_page_is_compared_with_zeros() {
    let server = server();
    server.create("grown", 3).unwrap();
    let mut session = Session::connect(server.options("grown").cache_bytes(4 << 20)).unwrap();
    assert_eq!(session.grow(2).unwrap(), 3);
    let before = session.traffic();
    let mut page = vec![0; PAGE_SIZE as usize];
    session.write(3 * PAGE_SIZE, &page).unwrap(); // as an engine clears a page that it has just grown
    page[1000] = 7;
    session.write(4 * PAGE_SIZE, &page).unwrap();
    let mut seen = vec![1; 2 * PAGE_SIZE as usize];
    session.read(3 * PAGE_SIZE, &mut seen).unwrap();
    assert!(seen[..PAGE_SIZE as usize].iter().all(|byte| *byte == 0) && seen[PAGE_SIZE as usize..] == page[..]);
    let traffic = session.traffic();
    assert_eq!(traffic.requests - before.requests, 1, "{:?}", traffic);
    assert!(traffic.bytes_sent - before.bytes_sent < 200, "{:?}", traffic);
    session.close().unwrap();
    let mut reader = server.fork("grown").unwrap();
    reader.read(3 * PAGE_SIZE, &mut seen).unwrap();
    assert!(seen[PAGE_SIZE as usize..] == page[..]);
}

/// Random calls against a heap, with caches so small that pages come and go all the time.
#[test]
fn random_calls_agree_with_a_heap() {
    let server = server();
    for (number, (mode, access, publish, cache_bytes)) in modes().into_iter().enumerate() {
        let store = format!("random-{}", mode);
        server.create(&store, 6).unwrap();
        let options = server.options(&store).access(access).publish(publish).cache_bytes(cache_bytes);
        let mut session = Session::connect(options).unwrap();
        let mut random = support::Random::new(number as u64);
        let mut heap = vec![0u8; 6 * PAGE_SIZE as usize];
        let mut published = heap.clone();
        for step in 0..1_500 {
            let length = match random.below(8) {
                0 => random.below(4 * PAGE_SIZE),
                1 => PAGE_SIZE,
                _ => random.below(600),
            } as usize;
            let length = length.min(heap.len());
            let mut offset = random.below((heap.len() - length) as u64 + 1) as usize;
            if random.below(3) == 0 && offset + PAGE_SIZE as usize + length <= heap.len() {
                offset -= offset % PAGE_SIZE as usize;
            }
            match random.below(20) {
                0..=8 => {
                    let mut buffer = vec![0xee; length];
                    session.read(offset as u64, &mut buffer).unwrap();
                    assert!(buffer == heap[offset..offset + length], "{} step {}", mode, step);
                }
                9..=14 => {
                    let data = vec![random.below(4) as u8; length];
                    session.write(offset as u64, &data).unwrap();
                    heap[offset..offset + length].copy_from_slice(&data);
                }
                15 => {
                    session.zero(offset as u64, length as u64).unwrap();
                    heap[offset..offset + length].fill(0);
                }
                16 if heap.len() < 20 * PAGE_SIZE as usize => {
                    let pages = heap.len() as u64 / PAGE_SIZE;
                    assert_eq!(session.grow(random.below(3)).unwrap(), pages);
                    heap.resize(session.known_size() as usize, 0);
                }
                17 | 18 => {
                    session.flush().unwrap();
                    if access == Access::Write {
                        published = heap.clone();
                    }
                }
                19 if publish == Publish::OnFlush || access == Access::Fork => {
                    session.discard().unwrap();
                    heap = published.clone();
                    assert_eq!(session.known_size(), heap.len() as u64);
                }
                _ => {
                    let ranges = session.data_ranges(offset as u64, length as u64).unwrap();
                    let mut named = vec![false; length];
                    for range in ranges {
                        let from = range.offset as usize - offset;
                        named[from..from + range.length as usize].fill(true);
                    }
                    let data = &heap[offset..offset + length];
                    assert!(data.iter().zip(named).all(|(byte, named)| *byte == 0 || named), "{} step {}", mode, step);
                }
            }
        }
    }
}
