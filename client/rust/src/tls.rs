//! Sessions over TLS, by `rustls`: for a daemon behind something that ends TLS, such as stunnel or a load balancer.

use crate::dial::dial;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{Endpoint, Options};
use crate::session::Session;
use crate::transport::{Transport, Wait};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Instant;

impl Session {
    /// As [`connect`](Session::connect), over TLS. What answers must have a certificate for `server_name`, or where that
    /// is `None` for the host that the options name. `config` says which certificates are believed, and which crate
    /// does the cryptography: this one brings none. A peer that is not believed is a `connection_lost`, whose text says
    /// why.
    pub fn connect_tls(options: Options, server_name: Option<&str>, config: Arc<ClientConfig>) -> Result<Session> {
        let options = options.checked()?;
        let began = Instant::now();
        let refuse = |text: String| Error::new(ErrorKind::InvalidArgument, format!("tls: {}", text));
        let name = match (server_name, &options.endpoint) {
            (Some(name), _) => name.to_owned(),
            (None, Endpoint::Tcp { host, .. }) => host.clone(),
            (None, Endpoint::Unix { .. }) => {
                return Err(refuse("a Unix socket names no server; give server_name".into()))
            }
        };
        let name = ServerName::try_from(name.clone()).map_err(|error| refuse(format!("\"{}\": {}", name, error)))?;
        let connection = ClientConnection::new(config, name).map_err(|error| refuse(error.to_string()))?;
        let stream = dial(&options.endpoint, began + options.connect_timeout)?;
        Session::begin(Box::new(Tls { stream, connection }), options, began)
    }
}

struct Tls {
    stream: Box<dyn Transport>,
    connection: ClientConnection,
}

fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl Tls {
    /// What was encrypted and could not leave yet.
    fn send(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.stream)?;
        }
        Ok(())
    }
}

impl Read for Tls {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            match self.send() {
                // The peer may be waiting for us to take what it sent.
                Err(error) if is_wait(&error) => {}
                result => result?,
            }
            self.connection.read_tls(&mut self.stream)?;
            if let Err(error) = self.connection.process_new_packets() {
                // The alert that says why, if it still leaves.
                let _ = self.send();
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }
}

impl Write for Tls {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.send()?;
        let taken = self.connection.writer().write(buf)?;
        match self.send() {
            Err(error) if !is_wait(&error) => Err(error),
            _ => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

impl Transport for Tls {
    fn set_wait(&mut self, wait: Wait) -> io::Result<bool> {
        self.stream.set_wait(wait)
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.connection.send_close_notify();
        // The peer may be gone.
        let _ = self.send();
    }
}
