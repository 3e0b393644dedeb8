//! From an endpoint to a connected socket.

use crate::error::{Error, ErrorKind, Result};
use crate::options::{Endpoint, TlsOptions};
use crate::transport::{Socket, Transport};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::time::{Duration, Instant};

fn fail<T>(endpoint: &Endpoint, kind: ErrorKind, text: impl AsRef<str>) -> Result<T> {
    Err(Error::new(kind, format!("{}: connect: {}", endpoint.uri(""), text.as_ref())))
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// A stream for requests: where the endpoint says so, with TLS in it.
pub(crate) fn connect(endpoint: &Endpoint, tls: &TlsOptions, deadline: Instant) -> Result<Box<dyn Transport>> {
    match endpoint {
        Endpoint::Tls { .. } => connect_tls(endpoint, tls, deadline),
        _ => dial(endpoint, deadline),
    }
}

#[cfg(feature = "rustls")]
use crate::tls::connect as connect_tls;

#[cfg(not(feature = "rustls"))]
fn connect_tls(endpoint: &Endpoint, _: &TlsOptions, _: Instant) -> Result<Box<dyn Transport>> {
    fail(
        endpoint,
        ErrorKind::Unsupported,
        "TLS needs the feature rustls of the crate pageserver, with which this works",
    )
}

/// Connects to the first of the endpoint's addresses that answers.
pub(crate) fn dial(endpoint: &Endpoint, deadline: Instant) -> Result<Box<dyn Transport>> {
    match endpoint {
        Endpoint::Tcp { host, port } | Endpoint::Tls { host, port } => dial_tcp(endpoint, host, *port, deadline),
        Endpoint::Unix { path } => dial_unix(endpoint, path, deadline),
    }
}

/// A name server may take minutes and can't be interrupted: a thread of its own asks, and is left to itself when time
/// is up. A target without threads asks by itself.
fn resolve(endpoint: &Endpoint, host: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let name = host.to_owned();
    let ask = move || -> io::Result<Vec<SocketAddr>> { Ok((name.as_str(), port).to_socket_addrs()?.collect()) };
    let answer = if cfg!(target_family = "wasm") {
        Some(ask())
    } else {
        let (send, receive) = mpsc::channel();
        let asked = std::thread::Builder::new().name("resolve".into()).spawn(move || {
            // Nobody may be there any more to hear it.
            let _ = send.send(ask());
        });
        if let Err(error) = asked {
            return fail(endpoint, ErrorKind::ProviderError, format!("no thread to resolve the name with: {}", error));
        }
        receive.recv_timeout(left(deadline)).ok()
    };
    match answer {
        None => fail(endpoint, ErrorKind::TimedOut, format!("the name {} could not be resolved in time", host)),
        Some(Ok(addresses)) if !addresses.is_empty() => {
            let mut distinct: Vec<SocketAddr> = Vec::new();
            for address in addresses {
                if !distinct.contains(&address) {
                    distinct.push(address);
                }
            }
            Ok(distinct)
        }
        Some(Ok(_)) => fail(endpoint, ErrorKind::ConnectionLost, format!("the name {} has no address", host)),
        Some(Err(error)) => {
            fail(endpoint, ErrorKind::ConnectionLost, format!("the name {} could not be resolved: {}", host, error))
        }
    }
}

/// Some systems answer `connect` before the peer has: the socket's own error tells, and in the end the daemon's hello.
fn connect_tcp(address: &SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    if limit.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let stream = TcpStream::connect_timeout(address, limit)?;
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    stream.peer_addr()?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn dial_tcp(endpoint: &Endpoint, host: &str, port: u16, deadline: Instant) -> Result<Box<dyn Transport>> {
    let addresses = resolve(endpoint, host, port, deadline)?;
    let mut tried = Vec::new();
    let mut all_timed_out = true;
    for (index, address) in addresses.iter().enumerate() {
        let share = left(deadline) / (addresses.len() - index) as u32;
        match connect_tcp(address, share) {
            Ok(stream) => return Ok(Box::new(Socket::new(stream))),
            Err(error) => {
                all_timed_out &= error.kind() == io::ErrorKind::TimedOut;
                tried.push(format!("{} ({})", address, error));
            }
        }
    }
    let tried = tried.join(", ");
    if all_timed_out {
        return fail(
            endpoint,
            ErrorKind::TimedOut,
            format!("no answer from {}; see connect_timeout in the URI", tried),
        );
    }
    fail(endpoint, ErrorKind::ConnectionLost, format!("tried {}; is pageserverd running there?", tried))
}

#[cfg(unix)]
fn dial_unix(endpoint: &Endpoint, path: &std::path::Path, deadline: Instant) -> Result<Box<dyn Transport>> {
    use std::os::unix::net::UnixStream;
    match UnixStream::connect(path) {
        Ok(stream) => Ok(Box::new(Socket::new(stream))),
        Err(error) => match error.kind() {
            io::ErrorKind::PermissionDenied => fail(
                endpoint,
                ErrorKind::PermissionDenied,
                format!("{}; see the mode of the socket and of its folders", error),
            ),
            io::ErrorKind::Interrupted if !left(deadline).is_zero() => dial_unix(endpoint, path, deadline),
            io::ErrorKind::InvalidInput => fail(endpoint, ErrorKind::InvalidArgument, error.to_string()),
            _ => fail(endpoint, ErrorKind::ConnectionLost, format!("{}; is pageserverd running there?", error)),
        },
    }
}

#[cfg(not(unix))]
fn dial_unix(endpoint: &Endpoint, _: &std::path::Path, _: Instant) -> Result<Box<dyn Transport>> {
    fail(endpoint, ErrorKind::Unsupported, "this target has no Unix sockets; use TCP")
}
