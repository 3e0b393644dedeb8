//! A suite of 100 database tests, each on its own image of 100 MiB: a fork of one store against a copy of the file.
//!
//!     PAGESERVERD=build/dev/bin/pageserverd cargo run --release --example suite [TESTS] [MIB]

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use pageserver::testing::Server;
    use pageserver::{Provider, PAGE_SIZE};
    use std::time::Instant;

    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let tests = arguments.next().unwrap_or(Ok(100))?;
    let pages = arguments.next().unwrap_or(Ok(100))? * 16;
    let server = Server::start()?;
    server.build("golden", |session| {
        session.grow(pages)?;
        (0..pages).try_for_each(|page| session.write(page * PAGE_SIZE, &[page as u8; PAGE_SIZE as usize]))
    })?;

    // What a test does to its database: here and there a few bytes, and then a look at them.
    let test = |memory: &mut Provider, number: u64| -> pageserver::Result<()> {
        for step in 0..50 {
            let offset = (number * 7919 + step * 104_729) % (pages * PAGE_SIZE - 64);
            let mut bytes = [0; 64];
            memory.read(offset, &mut bytes)?;
            memory.write(offset, &[step as u8; 64])?;
            memory.read(offset, &mut bytes)?;
            assert_eq!(bytes, [step as u8; 64]);
        }
        Ok(())
    };

    let began = Instant::now();
    for number in 0..tests {
        let uri = format!("{}&access=fork&cache_bytes=4MiB", server.uri("golden"));
        test(&mut Provider::open(&uri)?, number)?;
    }
    let forks = began.elapsed();

    // What a suite without a daemon would have: the image as a file. The daemon's own may lag behind its log.
    let folder = std::env::temp_dir().join(format!("pageserver-suite-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let (image, copy) = (folder.join("golden.img"), folder.join("copy.img"));
    let mut bytes = vec![0; (pages * PAGE_SIZE) as usize];
    server.fork("golden")?.read(0, &mut bytes)?;
    std::fs::write(&image, &bytes)?;

    let began = Instant::now();
    for number in 0..tests {
        std::fs::copy(&image, &copy)?;
        test(&mut Provider::open(&format!("file:{}", copy.display()))?, number)?;
        std::fs::remove_file(&copy)?;
    }
    let copies = began.elapsed();
    std::fs::remove_dir_all(&folder)?;
    let ratio = copies.as_secs_f64() / forks.as_secs_f64();
    println!("{} tests, each on its own {} MiB:", tests, pages / 16);
    println!("  forks  {:>10.1} ms", forks.as_secs_f64() * 1e3);
    println!("  copies {:>10.1} ms, {:.1} times as long", copies.as_secs_f64() * 1e3, ratio);
    Ok(())
}

#[cfg(not(unix))]
fn main() {}
