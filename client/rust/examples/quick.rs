//! The ten lines of every client: open, grow, write, flush, read.
//!
//!     cargo run --example quick -- pageserver://127.0.0.1/demo

use pageserver::{Options, Publish, Session};

fn main() -> Result<(), pageserver::Error> {
    let uri = std::env::args().nth(1).unwrap_or_else(|| "pageserver://127.0.0.1/demo".into());
    let mut session = Session::connect(Options::from_uri(&uri)?.publish(Publish::OnFlush))?;
    if session.pages()? == 0 {
        session.grow(1)?;
    }
    session.write(70, b"abc")?;
    session.flush()?; // others see it from here on
    let mut bytes = [0; 3];
    session.read(70, &mut bytes)?;
    println!("{} pages, {:?}", session.pages()?, std::str::from_utf8(&bytes));
    session.close()
}
