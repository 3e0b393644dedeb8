//! Against a real daemon: who a client is, and what TLS asks of its options.

#![cfg(unix)]

use pageserver::testing::Server;
use pageserver::{Daemon, ErrorKind, Options, Session};

#[test]
fn a_token_says_who_this_is_and_its_rights_are_what_the_daemon_answers() {
    use std::os::unix::fs::PermissionsExt;
    let folder = std::env::temp_dir().join(format!("pageserver-token-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    // The SHA-256 of "abc".
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let tokens = write("tokens", &format!("ci sha256:{}\n", hash));
    let token = write("ci.token", "abc\n");
    let rules = r#"[{"who": "token:ci", "stores": "mine", "may": ["write", "create"]}]"#;
    let config = write("config.json", &format!(r#"{{"tokens_file": "{}", "rules": {}}}"#, tokens.display(), rules));
    let server = Server::builder().argument("--config").argument(&config).start().unwrap();
    let mut daemon =
        Daemon::connect(&format!("pageserver://{}?token_file={}", server.address(), token.display())).unwrap();
    let found = daemon.whoami("mine").unwrap();
    assert_eq!((found.identity.as_str(), found.rights), ("token:ci", 4 | 8));
    assert!(found.why.contains("rules[0]"), "{}", found.why);
    assert_eq!(daemon.whoami("").unwrap().rights, 0);
    daemon.create("mine", 1).unwrap();
    assert_eq!(daemon.create("other", 1).unwrap_err().kind(), ErrorKind::PermissionDenied);
    Session::connect(server.options("mine").token_file(&token)).unwrap().write(0, b"x").unwrap();
    Session::connect(server.options("mine").token("abc")).unwrap().close().unwrap();
    assert!(!format!("{:?}", server.options("mine").token("abc")).contains("abc"));
    let refused = |options: Options| {
        let error = Session::connect(options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{}", error);
        error.message().to_owned()
    };
    assert!(refused(server.options("mine").token("abd")).contains("not accepted"));
    assert!(refused(server.options("mine")).contains("takes the right write"));
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused(server.options("mine").token_file(&token)).contains("chmod 600"));
    let missing = Session::connect(server.options("mine").token_file("/none")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
#[cfg(not(feature = "rustls"))]
fn without_its_feature_tls_is_refused_in_one_sentence() {
    for error in [
        Session::open("pageservers://127.0.0.1:1/x?tls_ca=/nowhere").unwrap_err(),
        Session::connect(Options::tls("127.0.0.1", 1, "x")).unwrap_err(),
        Daemon::connect("pageservers://127.0.0.1:1").map(|_| ()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let text =
            "pageservers://127.0.0.1:1: connect: TLS needs the feature rustls of the crate pageserver, with which \
                    this works";
        assert_eq!(error.message(), text);
    }
}

#[test]
fn what_tls_needs_is_refused_without_it() {
    for options in [
        Options::tcp("127.0.0.1", 1, "x").tls_ca("/nowhere"),
        Options::unix("/nowhere", "x").tls_name("there"),
        Options::tcp("127.0.0.1", 1, "x").tls_certificate("/a").tls_key("/b"),
    ] {
        let error = Session::connect(options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains("are for TLS: Options::tls"), "{}", error);
    }
    let error = Session::connect(Options::tls("127.0.0.1", 1, "x").tls_certificate("/a")).unwrap_err();
    assert!(error.message().contains("go together"), "{}", error);
}
