//! The table that C++ and Rust share, and texts that nobody thought of.

use super::*;
use std::collections::BTreeMap;

/// The lines of tests/fixtures/uri_cases.txt that begin with `kind`, in fields; its first lines say what they are.
fn uri_cases(kind: &str) -> Vec<Vec<String>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = "tests/fixtures/uri_cases.txt";
    let root = here.ancestors().find(|folder| folder.join(table).is_file()).expect(table);
    let text = std::fs::read_to_string(root.join(table)).unwrap();
    let lines = text.lines().filter(|line| line.starts_with(&format!("{}\t", kind)));
    let unescape = |field: &str| field.replace("\\\\", "\0").replace("\\n", "\n").replace('\0', "\\");
    lines.map(|line| line.split('\t').map(unescape).collect()).collect()
}

fn target_of(word: &str) -> Target {
    if word == "server" {
        Target::Server
    } else {
        Target::Image
    }
}

/// As the table writes them.
fn values_of(uri: &Uri) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let mut add = |name: &str, value: String| {
        if !value.is_empty() {
            values.insert(name.to_owned(), value);
        }
    };
    add("scheme", ["heap", "file", "store", "tcp", "unix", "tls"][uri.scheme as usize].into());
    add("access", ["read", "write", "fork"][uri.access as usize].into());
    add("view", ["live", "pinned"][uri.view as usize].into());
    add("publish", ["on_write", "on_flush"][uri.publish as usize].into());
    add("wait_ms", uri.wait_ms.to_string());
    add("connect_ms", uri.connect_timeout.as_millis().to_string());
    add("request_ms", uri.request_timeout.as_millis().to_string());
    add("poll_us", uri.poll_us.map_or("auto".into(), |us| us.to_string()));
    add("cache_bytes", uri.cache_bytes.to_string());
    add("resume", uri.resume_seconds.to_string());
    add("transport", if uri.shares_memory { "auto" } else { "socket" }.into());
    add("faults", uri.faults.clone());
    if matches!(uri.scheme, Scheme::Tcp | Scheme::Tls) {
        add("port", uri.port.to_string());
    }
    add("path", uri.path.to_str().unwrap().into());
    add("host", uri.host.clone());
    add("others", uri.others.iter().map(|(host, port)| format!("{}@{}", host, port)).collect::<Vec<_>>().join(","));
    add("socket", uri.socket.to_str().unwrap().into());
    add("store", uri.store.clone());
    add("name", uri.name.clone());
    add("tls_ca", uri.tls.ca.to_str().unwrap().into());
    add("tls_certificate", uri.tls.certificate.to_str().unwrap().into());
    add("tls_key", uri.tls.key.to_str().unwrap().into());
    add("tls_name", uri.tls.name.clone());
    values
}

#[test]
fn a_malformed_uri_is_refused_quoting_the_wrong_part_and_saying_what_is_expected() {
    let cases = uri_cases("refuse");
    for fields in &cases {
        let error = parse(&fields[2], Access::Write, target_of(&fields[1])).expect_err(&fields[2]);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        let text = error.message();
        assert!(text.contains(&fields[3]), "{} lacks {}", text, fields[3]);
        let expected = text.split("expected ").nth(1).expect(text);
        assert!(expected.contains(&fields[4]), "{} lacks {}", text, fields[4]);
    }
    assert!(cases.len() >= 80);
}

#[test]
fn each_uri_of_the_shared_table_has_the_values_that_stand_beside_it() {
    let cases = uri_cases("accept");
    for fields in &cases {
        let defaults = [
            ("access", "write"),
            ("view", "live"),
            ("publish", "on_write"),
            ("wait_ms", "0"),
            ("poll_us", "auto"),
            ("cache_bytes", "0"),
            ("resume", "0"),
            ("transport", "auto"),
            ("connect_ms", "10000"),
            ("request_ms", "60000"),
        ];
        let mut expected: BTreeMap<String, String> =
            defaults.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        for field in &fields[3..] {
            let (name, value) = field.split_once('=').unwrap();
            expected.insert(name.into(), value.into());
        }
        let uri = parse(&fields[2], Access::Write, target_of(&fields[1])).unwrap();
        assert_eq!(values_of(&uri), expected, "{}", fields[2]);
    }
    assert!(cases.len() >= 50);
}

#[test]
fn the_default_access_is_the_callers() {
    let access = |text: &str| parse(text, Access::Read, Target::Image).map(|uri| uri.access).ok();
    assert_eq!(access("pageserver://h/x"), Some(Access::Read));
    assert_eq!(access("pageserver://h/x?view=pinned"), Some(Access::Read));
    assert_eq!(access("pageserver://h/x?access=write"), Some(Access::Write));
    assert_eq!(access("pageserver://h/x?publish=on_flush"), None);
}

#[test]
fn no_text_makes_the_parser_do_anything_but_accept_or_refuse() {
    let pieces = [
        "pageserver",
        "+unix",
        ":",
        "/",
        "//",
        "[",
        "]",
        "::1",
        "?",
        "&",
        "=",
        "%",
        "%41",
        "access",
        "read",
        "view",
        "pinned",
        "socket",
        "wait_ms",
        "99",
        "#",
        "@",
        "x",
        "file",
        "heap",
        "store",
        "\u{80}",
        "\n",
        "%ff",
        "%ä",
        "€",
        "connect_timeout",
        "\0",
    ];
    let mut state = 99u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    for round in 0..20_000 {
        let mut text = String::from(if round % 2 == 0 { "pageserver://" } else { "" });
        for _ in 0..random(12) {
            text.push_str(pieces[random(pieces.len())]);
        }
        let target = if round % 3 == 0 { Target::Server } else { Target::Image };
        if let Err(error) = parse(&text, Access::Write, target) {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{}", text);
        }
    }
}
