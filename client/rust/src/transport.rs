//! What a session needs of a stream of bytes.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::time::Duration;

/// How long a read or write of a [`Transport`] may take before it answers [`io::ErrorKind::WouldBlock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    Never,
    /// About so long.
    AtMost(Duration),
}

/// A connected stream, as TCP and Unix sockets are. What is only `Read + Write` becomes one by
/// [`Session::over`](crate::Session::over), without timeouts of its own.
pub trait Transport: Read + Write + Send {
    /// Chooses how long reads and writes wait. `false`: this stream waits as long as it likes, which costs its session
    /// timeouts, polling, and a round trip where others can look for a notice without waiting.
    fn set_wait(&mut self, wait: Wait) -> io::Result<bool> {
        let _ = wait;
        Ok(false)
    }

    /// True: nobody but the two ends can read along, so that a token may be sent: a Unix socket, an address of this
    /// machine's loopback, TLS that verified its peer.
    fn is_private(&self) -> bool {
        false
    }

    /// True: `write_vectored` sends several buffers in one call, so that large writes need no copy.
    fn sends_vectored(&self) -> bool {
        false
    }
}

/// Any stream, as it is.
pub(crate) struct Plain<T>(pub T);

impl<T: Read> Read for Plain<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read_vectored(bufs)
    }
}

impl<T: Write> Write for Plain<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let sent = self.0.write(buf)?;
        // A stream that collects, as TLS does, must let go of a request before its answer is waited for.
        if sent == buf.len() {
            self.0.flush()?;
        }
        Ok(sent)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<T: Read + Write + Send> Transport for Plain<T> {}

/// A socket of the system, and whether it is non-blocking now.
pub(crate) struct Socket<T> {
    stream: T,
    nonblocking: bool,
    timeout: Option<Duration>,
}

impl<T> Socket<T> {
    pub fn new(stream: T) -> Self {
        Socket { stream, nonblocking: false, timeout: None }
    }
}

impl<T: Read> Read for Socket<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.stream.read_vectored(bufs)
    }
}

impl<T: Write> Write for Socket<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream.write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

macro_rules! socket {
    ($stream:ty, $is_private:expr) => {
        impl Transport for Socket<$stream> {
            fn is_private(&self) -> bool {
                $is_private(&self.stream)
            }

            fn set_wait(&mut self, wait: Wait) -> io::Result<bool> {
                if let Wait::AtMost(timeout) = wait {
                    if self.timeout != Some(timeout) {
                        self.stream.set_read_timeout(Some(timeout))?;
                        self.stream.set_write_timeout(Some(timeout))?;
                        self.timeout = Some(timeout);
                    }
                }
                let nonblocking = wait == Wait::Never;
                if nonblocking != self.nonblocking {
                    self.stream.set_nonblocking(nonblocking)?;
                    self.nonblocking = nonblocking;
                }
                Ok(true)
            }

            // WASI runtimes pass on the first buffer alone, and a request that leaves in two writes waits for the
            // other side's delayed acknowledgement.
            fn sends_vectored(&self) -> bool {
                !cfg!(target_family = "wasm")
            }
        }
    };
}

fn is_loopback(stream: &std::net::TcpStream) -> bool {
    stream.peer_addr().map_or(false, |peer| match peer.ip() {
        std::net::IpAddr::V4(address) => address.is_loopback(),
        std::net::IpAddr::V6(address) => address.is_loopback(),
    })
}

socket!(std::net::TcpStream, is_loopback);
#[cfg(unix)]
socket!(std::os::unix::net::UnixStream, |_: &std::os::unix::net::UnixStream| true);
