//! Sessions over TLS: to a daemon's own listener, and through a stand-in for what ends TLS before a daemon.

use pageserver::testing::Server;
use pageserver::{Daemon, ErrorKind, Options, Provider, Publish, Session, PAGE_SIZE};
use pageserver_engine_tests::daemon::Folder;
use rcgen::{
    date_time_ymd, BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
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

/// A folder with an authority, and by it a server's certificate for `localhost` and a client's, as PEM files.
struct Pki {
    folder: Folder,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    fn new(name: &str) -> Pki {
        let mut parameters = CertificateParams::new(Vec::<String>::new()).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, "ca");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let pki = Pki { folder: Folder::new(name), issuer: Issuer::new(parameters, key) };
        pki.write("ca.pem", &certificate.pem());
        let mut server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        server.serial_number = Some(4711u64.into());
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        pki.make("server", server);
        let mut client = CertificateParams::new(Vec::<String>::new()).unwrap();
        client.subject_alt_names = vec![SanType::URI("app:one".try_into().unwrap())];
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        pki.make("one", client);
        pki
    }

    fn make(&self, name: &str, mut parameters: CertificateParams) {
        parameters.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        self.write(&format!("{}.pem", name), &certificate.pem());
        self.write(&format!("{}.key", name), &key.serialize_pem());
    }

    /// Beside the authority a list of what it revoked.
    fn list(&self, name: &str, serials: &[u64]) {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: 1u64.into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let authority = std::fs::read_to_string(self.folder.join("ca.pem")).unwrap();
        self.write(name, &(authority + &list.signed_by(&self.issuer).unwrap().pem().unwrap()));
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).unwrap();
        self.mode(name, 0o600);
    }

    fn mode(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.folder.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }
}

/// With a TLS listener that asks for certificates of clients, whose names the rules know. Its URI, without a store.
fn secured(pki: &Pki) -> (Server, String) {
    pki.write("tokens", "ci sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n");
    let config = format!(
        r#"{{"tokens_file": "{}", "rules": [{{"who": "cert:app:one", "stores": "demo", "may": ["read", "create"]}},
            {{"who": "token:ci", "stores": "demo", "may": ["write"]}}]}}"#,
        pki.path("tokens")
    );
    pki.write("config.json", &config);
    let arguments = ["--config", &pki.path("config.json"), "--listen-tls", "localhost:0"].map(str::to_owned);
    let more = ["--tls-certificate", &pki.path("server.pem"), "--tls-key", &pki.path("server.key")].map(str::to_owned);
    let asks = ["--tls-client-ca", &pki.path("ca.pem")].map(str::to_owned);
    let all = arguments.into_iter().chain(more).chain(asks);
    let server = all.fold(Server::builder(), |builder, argument| builder.argument(&argument)).start().unwrap();
    let port = server.addresses().last().unwrap().rsplit_once(':').unwrap().1.to_owned();
    (server, format!("pageservers://localhost:{}", port))
}

#[test]
fn a_uri_alone_is_enough_for_the_daemon_s_own_tls() {
    let pki = Pki::new("tls-uri");
    let (server, uri) = secured(&pki);
    let ca = format!("?tls_ca={}", pki.path("ca.pem"));
    let shown = format!("{}&tls_certificate={}&tls_key={}", ca, pki.path("one.pem"), pki.path("one.key"));
    let mut daemon = Daemon::connect(&format!("{}{}", uri, shown)).unwrap();
    let found = daemon.whoami("demo").unwrap();
    assert_eq!(found.identity, "cert:app:one");
    daemon.create("demo", 4).unwrap();

    // A token says more than a certificate, and may be sent here.
    let port = uri.rsplit_once(':').unwrap().1.parse().unwrap();
    let options = Options::tls("localhost", port, "demo").tls_ca(pki.path("ca.pem"));
    let options = options.tls_certificate(pki.path("one.pem")).tls_key(pki.path("one.key"));
    let mut writer = Session::connect(options.clone().token("abc")).unwrap();
    let data: Vec<u8> = (0..200_000u32).map(|number| (number % 251) as u8).collect();
    writer.write(5, &data).unwrap();
    writer.close().unwrap();
    let error = Session::connect(options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{}", error);

    let reader = |more: &str| format!("{}/demo{}&access=read{}", uri, shown, more);
    let mut memory = Provider::open(&reader("&cache_bytes=1MiB")).unwrap();
    let mut back = vec![0; data.len()];
    memory.read(5, &mut back).unwrap();
    assert!(back == data);
    memory.close().unwrap();
    Session::open(&reader("&tls_name=localhost")).unwrap().close().unwrap();

    let refused = |uri: &str, kind: ErrorKind, part: &str| {
        let error = Session::open(uri).unwrap_err();
        assert_eq!(error.kind(), kind, "{}: {}", uri, error);
        assert!(error.message().contains(part), "{}: {}", uri, error);
    };
    refused(&reader("&tls_name=elsewhere.example"), ErrorKind::ConnectionLost, "tls_name=");
    let bare = format!("{}/demo{}&access=read", uri, ca);
    refused(&bare, ErrorKind::ConnectionLost, "wants a certificate of its clients");
    // Whether the system has authorities or none: this one is not among them.
    let error = Session::open(&format!("{}/demo?access=read", uri)).unwrap_err();
    assert!(error.message().contains("tls_ca="), "{}", error);
    pki.list("others.pem", &[1, 2]);
    Session::open(&reader("").replace("ca.pem", "others.pem")).unwrap().close().unwrap();
    pki.list("revoked.pem", &[1, 4711]);
    refused(&reader("").replace("ca.pem", "revoked.pem"), ErrorKind::ConnectionLost, "Revoked");
    let other = bare.replace("ca.pem", "server.pem");
    refused(&other, ErrorKind::ConnectionLost, "certificate");
    refused(&bare.replace("ca.pem", "nothing.pem"), ErrorKind::NotFound, "nothing.pem");
    refused(&bare.replace("ca.pem", "one.key"), ErrorKind::InvalidArgument, "there is no certificate in PEM form");
    let pair = format!("{}&tls_certificate={}&tls_key={}", bare, pki.path("one.pem"), pki.path("server.key"));
    refused(&pair, ErrorKind::InvalidArgument, "does not go with tls_certificate");
    refused(&reader("").replace("one.key", "one.pem"), ErrorKind::InvalidArgument, "no private key");
    pki.mode("one.key", 0o644);
    refused(&reader(""), ErrorKind::PermissionDenied, "chmod 600");
    // The port that does no TLS.
    let plain = format!("pageservers://{}/demo{}", server.address(), ca);
    refused(&plain, ErrorKind::ConnectionLost, "speaks no TLS");
}

#[test]
fn who_does_not_shake_hands_is_not_waited_for_beyond_the_time_given() {
    let pki = Pki::new("tls-silent");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!(
        "pageservers://{}/demo?tls_ca={}&connect_timeout=300ms",
        listener.local_addr().unwrap(),
        pki.path("ca.pem")
    );
    let error = Session::open(&uri).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{}", error);
}
