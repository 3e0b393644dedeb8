//! The same few lines on a daemon's store, on a file and in memory.
//!
//!     cargo run --example hello -- [URI]

use pageserver::Provider;

fn main() -> Result<(), pageserver::Error> {
    let uri = std::env::args().nth(1).unwrap_or_else(|| "pageserver://127.0.0.1/demo".into());
    let mut memory = Provider::open(&uri)?;
    if memory.pages() == 0 {
        memory.grow(16)?;
    }
    memory.write(70_000, b"hello")?;
    memory.flush()?; // on disk when this returns
    let mut greeting = [0; 5];
    memory.read(70_000, &mut greeting)?;
    println!("{} from {} pages", String::from_utf8_lossy(&greeting), memory.pages());
    Ok(())
}
