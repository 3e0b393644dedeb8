//! What a request costs: 8 bytes and 64 KiB, read and written, one at a time and with 64 in flight.
//!
//!     cargo run --release --example bench -- 'pageserver://127.0.0.1/demo?poll_us=auto' [COUNT]

use pageserver::{Access, Session, PAGE_SIZE};
use std::time::Instant;

/// The middle one of what each of `count` calls took, in nanoseconds.
fn median(count: usize, mut call: impl FnMut(usize) -> pageserver::Result<()>) -> pageserver::Result<u128> {
    let mut took = Vec::with_capacity(count);
    for number in 0..count {
        let began = Instant::now();
        call(number)?;
        took.push(began.elapsed().as_nanos());
    }
    took.sort_unstable();
    Ok(took[count / 2])
}

/// Reads of `length` bytes with 64 in flight; requests in a second.
fn in_flight(session: &mut Session, length: usize, count: u64) -> pageserver::Result<f64> {
    let places = session.known_size() / length as u64;
    let mut buffers = vec![vec![0; length]; 64];
    let began = Instant::now();
    let mut pipeline = session.pipeline()?;
    let mut next = 0;
    for buffer in &mut buffers {
        pipeline.read(next % places * length as u64, buffer)?;
        next += 1;
    }
    while let Some(done) = pipeline.next()? {
        done.result?;
        if let (Some(buffer), true) = (done.buffer, next < count) {
            pipeline.read(next % places * length as u64, buffer)?;
            next += 1;
        }
    }
    Ok(next as f64 / began.elapsed().as_secs_f64())
}

fn main() -> pageserver::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let uri = arguments.next().unwrap_or_else(|| "pageserver://127.0.0.1/demo".into());
    let count: usize = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(20_000).max(64);
    let mut session = Session::open(&uri)?;
    if session.access() == Access::Read || session.pages()? == 0 {
        eprintln!("give the URI of a store of at least one page that may be written: its bytes are written over");
        std::process::exit(2);
    }
    let places = session.known_size() / PAGE_SIZE;
    let mut page = vec![7; PAGE_SIZE as usize];
    let mut small = [0; 8];
    let at = |number: usize| number as u64 % places * PAGE_SIZE;
    println!("read    8 B   {:>8} ns", median(count, |n| session.read(at(n), &mut small))?);
    println!("write   8 B   {:>8} ns", median(count, |n| session.write(at(n), &[n as u8; 8]))?);
    println!("read  64 KiB  {:>8} ns", median(count / 4, |n| session.read(at(n), &mut page))?);
    println!("write 64 KiB  {:>8} ns", median(count / 4, |n| session.write(at(n), &page))?);
    println!("read    8 B, 64 in flight  {:>12.0}/s", in_flight(&mut session, 8, 10 * count as u64)?);
    println!("read  64 KiB, 64 in flight {:>12.0}/s", in_flight(&mut session, PAGE_SIZE as usize, count as u64)?);
    session.close()
}
