//! Sessions over TLS, by `rustls`: to a daemon's own TLS listener, or to something that ends TLS before a daemon.

use crate::credentials::others_may_use;
use crate::dial::dial;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{Endpoint, Options, TlsOptions};
use crate::session::Session;
use crate::transport::{Transport, Wait};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, RootCertStore};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FILE_BYTES_MAX: u64 = 16 << 20;
/// What a daemon's listener is asked for (ALPN).
const APPLICATION_PROTOCOL: &[u8] = b"pageserver/1";

impl Session {
    /// As [`connect`](Session::connect), over TLS that the program has set up: `config` says which certificates are
    /// believed, which one is shown, and which crate does the cryptography. What answers must have a certificate for
    /// `server_name`, or where that is `None` for the options' `tls_name`, or for their host. For a daemon's own TLS
    /// listener [`connect`](Session::connect) is enough: this one is for what else there is, such as a load balancer,
    /// a key that lies in no file, or another crate for the cryptography. A peer that is not believed is a
    /// `connection_lost`, whose text says why.
    pub fn connect_tls(options: Options, server_name: Option<&str>, config: Arc<ClientConfig>) -> Result<Session> {
        let mut options = options;
        if let Some(name) = server_name {
            options.tls.name = name.to_owned();
        }
        // They are this way's own.
        let tls = std::mem::take(&mut options.tls);
        let options = options.checked()?;
        let context = options.endpoint.uri("");
        if tls != (TlsOptions { name: tls.name.clone(), ..TlsOptions::default() }) {
            let text = "tls_ca, tls_certificate and tls_key are what connect() reads; here the configuration has them";
            return fail(&context, ErrorKind::InvalidArgument, text);
        }
        let began = Instant::now();
        let deadline = began + options.connect_timeout;
        let connection = connection_of(&context, config, &name_of(&options.endpoint, &tls))?;
        let stream = dial(&options.endpoint, deadline)?;
        Session::begin(Box::new(Tls::over(stream, connection, &context, deadline)?), options, began)
    }
}

fn fail<T>(context: &str, kind: ErrorKind, text: impl AsRef<str>) -> Result<T> {
    Err(Error::new(kind, format!("{}: TLS: {}", context, text.as_ref())))
}

/// Connects to a daemon's TLS listener. What is wrong with the files is said before anybody is asked.
pub(crate) fn connect(endpoint: &Endpoint, tls: &TlsOptions, deadline: Instant) -> Result<Box<dyn Transport>> {
    let context = endpoint.uri("");
    let config = Arc::new(config_of(&context, tls)?);
    let connection = connection_of(&context, config, &name_of(endpoint, tls))?;
    let stream = dial(endpoint, deadline)?;
    Ok(Box::new(Tls::over(stream, connection, &context, deadline)?))
}

/// What the certificate has to be for; empty for a Unix socket, which names nobody.
fn name_of(endpoint: &Endpoint, tls: &TlsOptions) -> String {
    match endpoint {
        _ if !tls.name.is_empty() => tls.name.clone(),
        // Without the zone, which is this machine's own word for one of its cables.
        Endpoint::Tcp { host, .. } | Endpoint::Tls { host, .. } => host.split('%').next().unwrap_or("").to_owned(),
        Endpoint::Unix { .. } => String::new(),
    }
}

fn connection_of(context: &str, config: Arc<ClientConfig>, name: &str) -> Result<ClientConnection> {
    if name.is_empty() {
        return fail(context, ErrorKind::InvalidArgument, "a Unix socket names no server; give server_name");
    }
    let server_name = match ServerName::try_from(name.to_owned()) {
        Ok(server_name) => server_name,
        Err(error) => return fail(context, ErrorKind::InvalidArgument, format!("\"{}\": {}", name, error)),
    };
    ClientConnection::new(config, server_name)
        .or_else(|error| fail(context, ErrorKind::InvalidArgument, error.to_string()))
}

fn read_file(context: &str, key: &str, path: &Path, is_secret: bool) -> Result<Vec<u8>> {
    let named = format!("{} \"{}\"", key, path.display());
    let failed = |error: &io::Error| {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
            _ => ErrorKind::ProviderError,
        };
        fail(context, kind, format!("{}: {}", named, error))
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return failed(&error),
    };
    if is_secret && others_may_use(&file) {
        let text = format!("{}: others can read or change it; chmod 600 {}", named, path.display());
        return fail(context, ErrorKind::PermissionDenied, text);
    }
    let mut bytes = Vec::new();
    if let Err(error) = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes) {
        return failed(&error);
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let text = format!("{}: it has more than {} bytes", named, FILE_BYTES_MAX);
        return fail(context, ErrorKind::InvalidArgument, text);
    }
    Ok(bytes)
}

/// All of one kind that a PEM file has; others in it are passed over.
fn all_of<T: PemObject>(context: &str, key: &str, path: &Path, bytes: &[u8]) -> Result<Vec<T>> {
    let found: std::result::Result<Vec<T>, PemError> = T::pem_slice_iter(bytes).collect();
    found.or_else(|error| {
        fail(context, ErrorKind::InvalidArgument, format!("{} \"{}\": {}", key, path.display(), error))
    })
}

fn config_of(context: &str, tls: &TlsOptions) -> Result<ClientConfig> {
    let refuse = |text: String| fail(context, ErrorKind::InvalidArgument, text);
    let installed = CryptoProvider::get_default().map(Arc::clone);
    let provider = installed.unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()));
    let (roots, lists) = authorities_of(context, &tls.ca)?;
    let mut verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    if !lists.is_empty() {
        verifier = verifier.with_crls(lists).only_check_end_entity_revocation().enforce_revocation_expiration();
    }
    let verifier = match verifier.build() {
        Ok(verifier) => verifier,
        Err(error) => return refuse(format!("tls_ca \"{}\": {}", tls.ca.display(), error)),
    };
    let builder = match ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])
    {
        Ok(builder) => builder.with_webpki_verifier(verifier),
        Err(error) => return refuse(error.to_string()),
    };
    let mut config = if tls.certificate.as_os_str().is_empty() {
        builder.with_no_client_auth()
    } else {
        let bytes = read_file(context, "tls_certificate", &tls.certificate, false)?;
        let chain: Vec<CertificateDer<'static>> = all_of(context, "tls_certificate", &tls.certificate, &bytes)?;
        if chain.is_empty() {
            let path = tls.certificate.display();
            return refuse(format!("tls_certificate \"{}\": there is none in PEM form", path));
        }
        let key = key_of(context, &tls.key)?;
        match builder.with_client_auth_cert(chain, key) {
            Ok(config) => config,
            Err(error) => {
                let text = format!("tls_key \"{}\" does not go with tls_certificate: {}", tls.key.display(), error);
                return refuse(text);
            }
        }
    };
    config.alpn_protocols = vec![APPLICATION_PROTOCOL.to_vec()];
    Ok(config)
}

fn authorities_of(context: &str, path: &Path) -> Result<(RootCertStore, Vec<CertificateRevocationListDer<'static>>)> {
    let mut roots = RootCertStore::empty();
    if path.as_os_str().is_empty() {
        let found = rustls_native_certs::load_native_certs();
        // Those that this crate can't read are of no use; others may be.
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added > 0 {
            return Ok((roots, Vec::new()));
        }
        let why = found.errors.first().map_or("there are none".to_owned(), ToString::to_string);
        let text = format!("the system's authorities can't be read: {}; name those to believe with tls_ca=", why);
        return fail(context, ErrorKind::InvalidArgument, text);
    }
    let bytes = read_file(context, "tls_ca", path, false)?;
    let named = |text: String| format!("tls_ca \"{}\": {}", path.display(), text);
    for certificate in all_of(context, "tls_ca", path, &bytes)? {
        if let Err(error) = roots.add(certificate) {
            return fail(context, ErrorKind::InvalidArgument, named(error.to_string()));
        }
    }
    if roots.is_empty() {
        let text = named("there is no certificate in PEM form".into());
        return fail(context, ErrorKind::InvalidArgument, text);
    }
    Ok((roots, all_of(context, "tls_ca", path, &bytes)?))
}

fn key_of(context: &str, path: &Path) -> Result<PrivateKeyDer<'static>> {
    let bytes = read_file(context, "tls_key", path, true)?;
    PrivateKeyDer::from_pem_slice(&bytes).or_else(|error| {
        let guarded = bytes.windows(9).any(|word| word == b"ENCRYPTED");
        let why = match error {
            PemError::NoItemsFound if guarded => {
                "a password guards it; store it without (openssl pkey -in KEY -out NEW)".to_owned()
            }
            PemError::NoItemsFound => "there is no private key in PEM form".to_owned(),
            error => error.to_string(),
        };
        fail(context, ErrorKind::InvalidArgument, format!("tls_key \"{}\": {}", path.display(), why))
    })
}

/// What is wrong between both sides, and what helps.
fn explained(error: &rustls::Error) -> String {
    let helps = match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "it is signed by an authority that is not known here, or one between them was not sent; name the authority \
             with tls_ca="
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "connect by a name of it, or name that with tls_name=",
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownRevocationStatus | CertificateError::ExpiredRevocationList { .. },
        ) => "renew the list beside the authority's certificate",
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the daemon wants a certificate of its clients; give one with tls_certificate= and tls_key="
        }
        rustls::Error::AlertReceived(AlertDescription::UnknownCA) => {
            "the daemon refused our certificate: it does not know its authority"
        }
        rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate,
        ) => "the daemon refused our certificate: its log says why",
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) | rustls::Error::PeerIncompatible(_) => {
            "the other side speaks no TLS 1.3"
        }
        rustls::Error::InvalidMessage(_) => {
            "what answers there speaks no TLS; use pageserver://, without the s, or the port that does TLS"
        }
        _ => return error.to_string(),
    };
    format!("{}; {}", error, helps)
}

struct Tls {
    stream: Box<dyn Transport>,
    connection: ClientConnection,
}

fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl Tls {
    /// Shakes hands.
    fn over(
        mut stream: Box<dyn Transport>,
        connection: ClientConnection,
        context: &str,
        deadline: Instant,
    ) -> Result<Tls> {
        let limit = Duration::from_millis(100);
        // A stream that can't be told waits as long as it likes.
        let told = stream.set_wait(Wait::AtMost(limit));
        let mut tls = Tls { stream, connection };
        let mut result = told.map(|_| ());
        while result.is_ok() && tls.connection.is_handshaking() {
            result = match tls.send().and_then(|()| tls.receive()) {
                Err(error) if is_wait(&error) || error.kind() == io::ErrorKind::Interrupted => {
                    if Instant::now() >= deadline {
                        let text = "the other side did not shake hands in time: is it a pageserverd with TLS that \
                                    listens there? See connect_timeout in the URI";
                        return fail(context, ErrorKind::TimedOut, text);
                    }
                    Ok(())
                }
                Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other side closed the connection")),
                other => other.map(|_| ()),
            };
        }
        match result {
            Ok(()) => Ok(tls),
            Err(error) => fail(context, ErrorKind::ConnectionLost, error.to_string()),
        }
    }

    /// What was encrypted and could not leave yet.
    fn send(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.stream)?;
        }
        Ok(())
    }

    /// Takes in what the peer has sent: how many bytes that was, 0 at its end.
    fn receive(&mut self) -> io::Result<usize> {
        let count = self.connection.read_tls(&mut self.stream)?;
        if let Err(error) = self.connection.process_new_packets() {
            // The alert that says why, if it still leaves.
            let _ = self.send();
            return Err(io::Error::new(io::ErrorKind::InvalidData, explained(&error)));
        }
        Ok(count)
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
            self.receive()?;
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
    fn is_private(&self) -> bool {
        true
    }

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
