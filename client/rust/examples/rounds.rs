//! What requests cost: scripts/bench_clients.py drives it beside the same program in C++ (tests/bench/client_rounds.cpp).
//!
//!     cargo run --release --example rounds -- URI
//!
//! Reads lines `read|write BYTES DEPTH COUNT` and answers each with the nanoseconds that a request took.

use pageserver::{Result, Session};
use std::io::BufRead;
use std::time::Instant;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn one_at_a_time(session: &mut Session, write: bool, bytes: u64, count: u64) -> Result<()> {
    let mut random = Random(1);
    let places = session.known_size() / bytes;
    let mut buffer = vec![0; bytes as usize];
    for _ in 0..count {
        let offset = random.next() % places * bytes;
        if write {
            session.write(offset, &buffer)?;
        } else {
            session.read(offset, &mut buffer)?;
        }
    }
    Ok(())
}

fn reads_in_flight(session: &mut Session, bytes: u64, depth: u64, count: u64) -> Result<()> {
    let mut random = Random(1);
    let places = session.known_size() / bytes;
    let mut buffers = vec![vec![0; bytes as usize]; depth as usize];
    let mut left = count;
    let mut pipeline = session.pipeline()?;
    for buffer in buffers.iter_mut().take(count as usize) {
        pipeline.read(random.next() % places * bytes, buffer)?;
        left -= 1;
    }
    while let Some(done) = pipeline.next()? {
        done.result?;
        if let (Some(buffer), true) = (done.buffer, left > 0) {
            pipeline.read(random.next() % places * bytes, buffer)?;
            left -= 1;
        }
    }
    Ok(())
}

fn writes_in_flight(session: &mut Session, bytes: u64, depth: u64, count: u64) -> Result<()> {
    let mut random = Random(1);
    let places = session.known_size() / bytes;
    let data = vec![0; bytes as usize];
    let mut pipeline = session.pipeline()?;
    for _ in 0..count {
        if pipeline.outstanding() as u64 >= depth {
            if let Some(done) = pipeline.next()? {
                done.result?;
            }
        }
        pipeline.write(random.next() % places * bytes, &data)?;
    }
    pipeline.finish()
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let uri = std::env::args().nth(1).ok_or("usage: rounds URI")?;
    let mut session = Session::open(&uri)?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split(' ');
        let write = words.next() == Some("write");
        let numbers: Vec<u64> = words.map(str::parse).collect::<std::result::Result<_, _>>()?;
        let (bytes, depth, count) = match numbers[..] {
            [bytes, depth, count] if bytes > 0 && count > 0 => (bytes, depth, count),
            _ => return Err(format!("no round: {}", line).into()),
        };
        let began = Instant::now();
        match (depth > 1, write) {
            (false, _) => one_at_a_time(&mut session, write, bytes, count)?,
            (true, false) => reads_in_flight(&mut session, bytes, depth, count)?,
            (true, true) => writes_in_flight(&mut session, bytes, depth, count)?,
        }
        println!("{}", began.elapsed().as_nanos() as f64 / count as f64);
    }
    Ok(())
}
