//! Sessions over TLS, through a stand-in for what ends TLS before a daemon.

use pageserver::testing::Server;
use pageserver::{ErrorKind, Options, Publish, Session, PAGE_SIZE};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// Ends TLS for a daemon, with a certificate for `localhost`, until it is told to stall.
struct Terminator {
    port: u16,
    client: Arc<ClientConfig>,
    stalled: Arc<AtomicBool>,
}

fn terminator(server: &Server) -> Terminator {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let stalled = Arc::new(AtomicBool::new(false));
    let (config, socket, stop) = (Arc::new(config), server.socket().to_path_buf(), Arc::clone(&stalled));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let (daemon, stop) = (UnixStream::connect(&socket).unwrap(), Arc::clone(&stop));
            std::thread::spawn(move || pass(client.unwrap(), tls, daemon, &stop));
        }
    });
    Terminator { port, client: Arc::new(client), stalled }
}

/// What is there; `None` at the end of it.
fn take(stream: &mut impl Read, buffer: &mut [u8]) -> Option<usize> {
    match stream.read(buffer) {
        Ok(0) => None,
        Ok(count) => Some(count),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Some(0),
        Err(_) => None,
    }
}

fn pass(mut client: TcpStream, mut tls: ServerConnection, mut daemon: UnixStream, stop: &AtomicBool) -> Option<()> {
    client.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    daemon.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let mut buffer = vec![0; 1 << 16];
    while !stop.load(Ordering::SeqCst) {
        match tls.read_tls(&mut client) {
            Ok(0) => return None,
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return None,
            _ => {}
        }
        let done = tls.process_new_packets();
        let count = take(&mut tls.reader(), &mut buffer).or(done.is_ok().then_some(0))?;
        daemon.write_all(&buffer[..count]).ok()?;
        let count = take(&mut daemon, &mut buffer)?;
        tls.writer().write_all(&buffer[..count]).unwrap();
        while tls.wants_write() {
            tls.write_tls(&mut client).ok()?;
        }
        done.ok()?;
    }
    // Neither answers nor hangs up.
    loop {
        std::thread::park();
    }
}

#[test]
fn a_session_over_tls_does_what_others_do_and_times_out() {
    let server = Server::start().unwrap();
    for (store, cache) in [("plain", 0), ("cached", 1 << 20)] {
        server.create(store, 80).unwrap();
        let tls = terminator(&server);
        let options = Options::tcp("localhost", tls.port, store).publish(Publish::OnFlush).cache_bytes(cache);
        let options = options.request_timeout(Duration::from_secs(3));
        let mut session = Session::connect_tls(options, None, Arc::clone(&tls.client)).unwrap();
        let data: Vec<u8> = (0..3_000_000u32).map(|number| (number % 251) as u8).collect();
        session.write(77, &data).unwrap();
        session.grow(1).unwrap();
        session.flush().unwrap();
        let mut back = vec![0; data.len()];
        session.read(77, &mut back).unwrap();
        assert!(back == data);
        let mut buffers = vec![[0; 100]; 64];
        let mut pipeline = session.pipeline().unwrap();
        for (number, buffer) in buffers.iter_mut().enumerate() {
            pipeline.read(77 + number as u64 * 100, buffer).unwrap();
        }
        pipeline.finish().unwrap();
        assert!(buffers.concat() == data[..6_400]);
        let error = session.read(99 * PAGE_SIZE, &mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfBounds);
        tls.stalled.store(true, Ordering::SeqCst);
        // What was under way when it was told still passes.
        let error = (0..100).find_map(|_| session.ping().err()).unwrap();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{}", error);
    }
}

#[test]
fn who_has_no_certificate_for_that_name_is_not_believed() {
    let server = Server::start().unwrap();
    server.create("tls", 1).unwrap();
    let (tls, other) = (terminator(&server), terminator(&server));
    let options = || Options::tcp("127.0.0.1", tls.port, "tls").connect_timeout(Duration::from_secs(20));
    let refused = |name, config: &Arc<ClientConfig>| {
        let error = Session::connect_tls(options(), name, Arc::clone(config)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{}", error);
        assert!(error.message().contains("certificate"), "{}", error);
    };
    refused(None, &tls.client); // it is for localhost
    refused(Some("elsewhere"), &tls.client);
    refused(Some("localhost"), &other.client);
    Session::connect_tls(options(), Some("localhost"), Arc::clone(&tls.client)).unwrap().close().unwrap();
    let error = Session::connect_tls(Options::unix(server.socket(), "tls"), None, Arc::clone(&tls.client)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    // A daemon that speaks no TLS.
    let (host, port) = server.address().rsplit_once(':').unwrap();
    let plain = Options::tcp(host, port.parse().unwrap(), "tls");
    let error = Session::connect_tls(plain, Some("localhost"), Arc::clone(&tls.client)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{}", error);
}
