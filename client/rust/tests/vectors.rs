//! Every vector of proto/test_vectors.txt against the codec.

mod support;

use pageserver::protocol::{decode_message, Answer, Operation, Request, Scan, HEADER_BYTES};
use pageserver::{Access, HolderStat, Load, Publish, Recovery, SessionReport, Version, View};
use support::vectors::{hex, read_vectors, Vector};

fn operation_of(name: &str) -> Operation {
    let number = (0..=u16::MAX).find(|number| Operation(*number).to_string() == name);
    Operation(number.unwrap_or_else(|| panic!("no operation {}", name)))
}

struct Values<'a>(&'a Vector);

impl<'a> Values<'a> {
    fn get(&self, field: &str) -> &'a str {
        let found = self.0.values.iter().find(|(name, _)| name == field);
        &found.unwrap_or_else(|| panic!("{}: no value {}", self.0.name, field)).1
    }

    fn number<T: std::str::FromStr>(&self, field: &str) -> T {
        self.get(field).parse().unwrap_or_else(|_| panic!("{}: {}", self.0.name, field))
    }

    fn text(&self, field: &str) -> &'a str {
        let quoted = self.get(field);
        &quoted[1..quoted.len() - 1]
    }

    fn bytes(&self, field: &str) -> Vec<u8> {
        match self.get(field) {
            "empty" => Vec::new(),
            text => hex(text),
        }
    }
}

fn encode_from_values(vector: &Vector, operation: Operation) -> Vec<u8> {
    let values = Values(vector);
    let (echo, data);
    let request = match operation {
        Operation::HELLO => Request::Hello {
            version_min: values.number("version_min"),
            version_max: values.number("version_max"),
            payload_bytes_max: values.number("payload_bytes_max"),
            features: values.number("features"),
            client_name: values.text("client_name"),
            credentials: values.text("credentials"),
        },
        Operation::PING => {
            echo = values.bytes("echo");
            Request::Ping { echo: &echo }
        }
        Operation::LIST => Request::List { after: values.text("after") },
        Operation::CREATE => Request::Create { store: values.text("store"), pages: values.number("pages") },
        Operation::REMOVE => Request::Remove { store: values.text("store") },
        Operation::OPEN => Request::Open {
            access: [Access::Read, Access::Write, Access::Fork][values.number::<usize>("access")],
            view: [View::Live, View::Pinned][values.number::<usize>("view")],
            publish: [Publish::OnWrite, Publish::OnFlush][values.number::<usize>("publish")],
            wait_ms: values.number("wait_ms"),
            resume_token: values.bytes("resume_token").try_into().unwrap(),
            last_request_id: values.number("last_request_id"),
            store: values.text("store"),
            session_name: values.text("session_name"),
        },
        Operation::SIZE => Request::Size,
        Operation::GROW => Request::Grow { new_pages: values.number("new_pages") },
        Operation::READ => Request::Read { offset: values.number("offset"), length: values.number("length") },
        Operation::WRITE => {
            data = values.bytes("data");
            Request::Write { offset: values.number("offset"), data: &data }
        }
        Operation::ZERO => Request::Zero { offset: values.number("offset"), length: values.number("length") },
        Operation::DATA_RANGES => {
            Request::DataRanges { offset: values.number("offset"), length: values.number("length") }
        }
        Operation::FLUSH => Request::Flush,
        Operation::DISCARD => Request::Discard,
        Operation::REFRESH => Request::Refresh,
        Operation::STAT => Request::Stat,
        Operation::BREAK_LEASE => Request::BreakLease { epoch: values.number("epoch") },
        Operation::SESSIONS => Request::Sessions { after: values.number("after"), store: values.text("store") },
        Operation::KICK => Request::Kick {
            id: values.number("id"),
            is_connection: values.number::<u8>("what") == 1,
            reason: values.text("reason"),
        },
        Operation::WHOAMI => Request::Whoami { store: values.text("store") },
        Operation::TAKEOVER => {
            Request::Takeover { store: values.text("store"), holder_is_dead: values.number("holder_is_dead") }
        }
        Operation::RING => Request::Ring { direction_bytes: values.number("direction_bytes") },
        Operation::FAULTS => Request::Faults {
            what: values.number("what"),
            scope: values.number("scope"),
            orders: values.text("orders"),
        },
        Operation::CLOSE => Request::Close,
        Operation::COMMIT => Request::Commit,
        other => panic!("{}: no request {}", vector.name, other),
    };
    let mut out = Vec::new();
    request.encode(values.number("request_id"), &mut out);
    out
}

type Fields = Vec<(String, String)>;

fn put(fields: &mut Fields, name: &str, value: impl ToString) {
    fields.push((name.to_owned(), value.to_string()));
}

fn put_text(fields: &mut Fields, name: &str, value: &str) {
    put(fields, name, format!("\"{}\"", value));
}

fn put_bytes(fields: &mut Fields, name: &str, bytes: &[u8]) {
    let text: Vec<String> = bytes.iter().map(|b| format!("{:02x}", b)).collect();
    put(fields, name, if bytes.is_empty() { "empty".to_owned() } else { text.join(" ") });
}

fn put_version(fields: &mut Fields, version: Version) {
    put(fields, "incarnation", version.incarnation);
    put(fields, "number", version.number);
}

fn put_recovery(fields: &mut Fields, name: &str, recovery: &Option<Recovery>, texts: bool) {
    let recovery = match recovery {
        None => return put(fields, name, "absent"),
        Some(recovery) => recovery,
    };
    put(fields, &format!("{}.unix_ms", name), recovery.unix_ms);
    put(fields, &format!("{}.log_bytes", name), recovery.log_bytes);
    put(fields, &format!("{}.log_files", name), recovery.log_files);
    put(fields, &format!("{}.records", name), recovery.records);
    put(fields, &format!("{}.pages", name), recovery.pages);
    put(fields, &format!("{}.dropped_files", name), recovery.dropped_files);
    put(fields, &format!("{}.dropped_records", name), recovery.dropped_records);
    put(fields, &format!("{}.kept_count", name), recovery.kept_count);
    if !texts {
        return;
    }
    put_text(fields, &format!("{}.warning", name), &recovery.warning);
    for (i, file) in recovery.kept_files.iter().enumerate() {
        put_text(fields, &format!("{}.kept_files.{}", name, i), file);
    }
}

fn put_holder(fields: &mut Fields, name: &str, holder: &Option<HolderStat>) {
    let holder = match holder {
        None => return put(fields, name, "absent"),
        Some(holder) => holder,
    };
    let field = |part: &str| format!("{}.{}", name, part);
    put_text(fields, &field("name"), &holder.name);
    put_text(fields, &field("address"), &holder.address);
    put(fields, &field("since_unix_ms"), holder.since_unix_ms);
    put(fields, &field("idle_ms"), holder.idle_ms);
    put(fields, &field("epoch"), holder.epoch);
    put(fields, &field("version_number"), holder.version_number);
    put(fields, &field("access"), holder.access as u8);
    put(fields, &field("view"), holder.view as u8);
    put(fields, &field("publish"), holder.publish as u8);
}

fn put_load(fields: &mut Fields, prefix: &str, load: &Load) {
    let values = [
        ("connections", load.connections),
        ("directory_requests", load.directory_requests),
        ("disk_calls_waiting", load.disk_calls_waiting),
        ("disk_calls_running", load.disk_calls_running),
        ("disk_threads_max", load.disk_threads_max),
        ("store_calls_waiting", load.store_calls_waiting),
        ("store_calls_stuck", load.store_calls_stuck),
        ("stuck_ms", load.stuck_ms),
    ];
    for (name, value) in values {
        put(fields, &format!("{}{}", prefix, name), value);
    }
}

fn put_report(fields: &mut Fields, prefix: &str, report: &SessionReport) {
    let field = |part: &str| format!("{}.{}", prefix, part);
    put(fields, &field("state"), report.state.number());
    put(fields, &field("waits_for"), report.waits_for.number());
    put(fields, &field("access"), report.access as u8);
    put(fields, &field("view"), report.view as u8);
    put(fields, &field("publish"), report.publish as u8);
    put(fields, &field("peer_known"), report.peer_known);
    put(fields, &field("has_lease"), report.has_lease);
    put(fields, &field("lost_lease"), report.lost_lease);
    put(fields, &field("kicked"), report.kicked);
    put(fields, &field("ring"), report.ring);
    let numbers = [
        ("connection_id", report.connection_id),
        ("session_id", report.session_id),
        ("connected_ms", report.connected_ms),
        ("opened_ms", report.opened_ms),
        ("idle_ms", report.idle_ms),
        ("epoch", report.epoch),
        ("place_in_line", report.place_in_line),
        ("held_version", report.held_version),
        ("requests", report.requests),
        ("bytes_read", report.bytes_read),
        ("bytes_written", report.bytes_written),
        ("private_bytes", report.private_bytes),
        ("unsent_bytes", report.unsent_bytes),
        ("requests_in_flight", report.requests_in_flight.into()),
        ("peer_uid", report.peer_uid.into()),
        ("peer_pid", report.peer_pid.into()),
        ("request_ms", report.request_ms.into()),
    ];
    for (name, value) in numbers {
        put(fields, &field(name), value);
    }
    put_text(fields, &field("store"), &report.store);
    put_text(fields, &field("session_name"), &report.session_name);
    put_text(fields, &field("client_name"), &report.client_name);
    put_text(fields, &field("address"), &report.address);
}

fn fields_of(answer: &Answer<'_>) -> Fields {
    let mut fields = Fields::new();
    let f = &mut fields;
    match answer {
        Answer::Hello(a) => {
            put(f, "version", a.version);
            put(f, "payload_bytes_max", a.payload_bytes_max);
            put(f, "features", a.features);
            put(f, "request_bytes_max", a.request_bytes_max);
            put(f, "requests_in_flight_max", a.requests_in_flight_max);
            put(f, "buffered_bytes_max", a.buffered_bytes_max);
            put(f, "connection_id", a.connection_id);
            put_text(f, "server_name", &a.server_name);
        }
        Answer::Ping(echo) => put_bytes(f, "echo", echo),
        Answer::List { more, entries } => {
            put(f, "more", more);
            for (i, entry) in entries.iter().enumerate() {
                put_text(f, &format!("entries.{}.store", i), &entry.store);
                put(f, &format!("entries.{}.pages", i), entry.pages);
                put(f, &format!("entries.{}.read_only", i), entry.read_only);
                put(f, &format!("entries.{}.open", i), entry.open);
                put_recovery(f, &format!("entries.{}.recovery", i), &entry.recovery, false);
                put(f, &format!("entries.{}.recovery_warned", i), entry.recovery_warned);
            }
        }
        Answer::Open(a) => {
            put(f, "session_id", a.session_id);
            put(f, "epoch", a.epoch);
            put(f, "pages", a.pages);
            put_version(f, a.version);
            put(f, "size_bytes_max", a.size_bytes_max);
            match a.resume {
                None => put(f, "resume", "absent"),
                Some(ticket) => {
                    put_bytes(f, "resume.token", &ticket.token);
                    put(f, "resume.executed", ticket.executed);
                    put(f, "resume.linger_ms", ticket.linger_ms);
                    put(f, "resume.rebuilt", u8::from(ticket.rebuilt));
                }
            }
        }
        Answer::Size(a) | Answer::Discard(a) => {
            put(f, "pages", a.pages);
            put_version(f, a.version);
        }
        Answer::Grow { previous_pages } => put(f, "previous_pages", previous_pages),
        Answer::Read(data) => put_bytes(f, "data", data),
        Answer::DataRanges { described_until, ranges } => {
            put(f, "described_until", described_until);
            for (i, range) in ranges.iter().enumerate() {
                put(f, &format!("ranges.{}.offset", i), range.offset);
                put(f, &format!("ranges.{}.length", i), range.length);
            }
        }
        Answer::Flush(version) | Answer::Commit(version) => put_version(f, *version),
        Answer::Refresh(a) => {
            put(f, "pages", a.pages);
            put_version(f, a.version);
            put(f, "everything", a.everything);
            for (i, range) in a.changed.iter().enumerate() {
                put(f, &format!("changed.{}.offset", i), range.offset);
                put(f, &format!("changed.{}.length", i), range.length);
            }
        }
        Answer::Stat(a) => {
            put(f, "pages", a.pages);
            put_version(f, a.version);
            put(f, "writers_waiting", a.writers_waiting);
            put(f, "sessions_live", a.sessions_live);
            put(f, "sessions_pinned", a.sessions_pinned);
            put(f, "sessions_write", a.sessions_write);
            put(f, "sessions_fork", a.sessions_fork);
            put(f, "size_bytes_max", a.size_bytes_max);
            put(f, "log_bytes", a.log_bytes);
            put(f, "checkpoint_lag_bytes", a.checkpoint_lag_bytes);
            put(f, "held_bytes", a.held_bytes);
            put(f, "fork_bytes", a.fork_bytes);
            put(f, "read_only", a.read_only);
            put_text(f, "store", &a.store);
            put_text(f, "last_sync_error", &a.last_sync_error);
            put_text(f, "image_warning", &a.image_warning);
            put_holder(f, "writer", &a.writer);
            put_holder(f, "oldest_holder", &a.oldest_holder);
            put_recovery(f, "recovery", &a.recovery, true);
            match &a.load {
                None => put(f, "load", "absent"),
                Some(load) => put_load(f, "load.", load),
            }
            match &a.home {
                None => put(f, "home", "absent"),
                Some(home) => {
                    put(f, "home.epoch", home.epoch);
                    put_text(f, "home.name", &home.name);
                    put_text(f, "home.holder", &home.holder);
                    put_text(f, "home.health", &home.health);
                }
            }
        }
        Answer::Sessions { more, described_until, load, entries } => {
            put(f, "more", more);
            put(f, "described_until", described_until);
            put_load(f, "", load);
            for (i, entry) in entries.iter().enumerate() {
                put_report(f, &format!("entries.{}", i), entry);
            }
        }
        Answer::Kick { released, kicked } => {
            put(f, "released", released);
            put_report(f, "kicked", kicked);
        }
        Answer::Takeover(taken) => {
            put(f, "was_here", taken.was_here);
            put(f, "took_ms", taken.took_ms);
            put_text(f, "holder", &taken.holder);
        }
        Answer::Whoami(found) => {
            put(f, "rights", found.rights);
            put_text(f, "identity", &found.identity);
            put_text(f, "why", &found.why);
        }
        Answer::Faults(entries) => {
            for (i, entry) in entries.iter().enumerate() {
                put_text(f, &format!("entries.{}.order", i), &entry.order);
                put(f, &format!("entries.{}.seen", i), entry.seen);
                put(f, &format!("entries.{}.struck", i), entry.struck);
            }
        }
        Answer::BreakLease { broken } => put_holder(f, "broken", broken),
        Answer::Nothing => {}
        other => panic!("unknown answer {:?}", other),
    }
    fields
}

fn header_of(vector: &Vector) -> pageserver::protocol::Header {
    match Scan::of(&vector.bytes, u32::MAX) {
        Ok(Scan::Header(header)) => header,
        other => panic!("{}: {:?}", vector.name, other),
    }
}

/// What the answer or notice in the vector means, or what is wrong with it.
fn decode(vector: &Vector) -> Result<Fields, pageserver::protocol::Fault> {
    let header = header_of(vector);
    let payload = &vector.bytes[HEADER_BYTES..];
    assert_eq!(payload.len(), header.payload_bytes as usize, "{}", vector.name);
    let mut fields = Fields::new();
    put(&mut fields, "request_id", header.request_id);
    if header.flags == 1 && header.status.0 == 0 {
        fields.extend(fields_of(&Answer::decode(header.operation, payload)?));
    } else {
        put(&mut fields, "status", header.status);
        put_text(&mut fields, "message", decode_message(payload)?);
    }
    Ok(fields)
}

#[test]
fn every_message_has_its_bytes_and_every_refused_answer_is_refused() {
    let vectors = read_vectors();
    let (mut requests, mut answers, mut errors, mut notices, mut refused, mut for_daemons) = (0, 0, 0, 0, 0, 0);
    for vector in &vectors {
        match vector.kind.as_str() {
            "is request" => {
                let encoded = encode_from_values(vector, operation_of(&vector.operation));
                assert_eq!(encoded, vector.bytes, "{}", vector.name);
                requests += 1;
            }
            "is answer" | "is error" | "is notice" => {
                let header = header_of(vector);
                assert_eq!(header.operation.to_string(), vector.operation, "{}", vector.name);
                assert_eq!(header.flags, if vector.kind == "is notice" { 2 } else { 1 }, "{}", vector.name);
                assert_eq!(decode(vector).expect(&vector.name), vector.values, "{}", vector.name);
                match vector.kind.as_str() {
                    "is answer" => answers += 1,
                    "is error" => errors += 1,
                    _ => notices += 1,
                }
            }
            "refused client" => {
                assert!(decode(vector).is_err(), "{} was accepted", vector.name);
                refused += 1;
            }
            "refused goodbye" | "refused answer" => for_daemons += 1, // refusals.rs sends them to one
            other => panic!("{}: {}", vector.name, other),
        }
    }
    assert!(requests >= 24 && answers >= 26 && errors >= 7 && notices >= 2, "vectors are missing");
    assert!(refused >= 26 && for_daemons >= 60, "vectors are missing");
}

#[test]
fn a_header_is_refused_as_soon_as_it_can_be_told() {
    assert_eq!(Scan::of(b"", 0), Ok(Scan::Partial));
    assert_eq!(Scan::of(b"PGS1", 0), Ok(Scan::Partial));
    assert!(Scan::of(b"H", 4096).is_err());
    assert!(Scan::of(b"PGS2", 4096).is_err());
    for vector in read_vectors().iter().filter(|vector| vector.name.contains("over-long payload")) {
        assert!(Scan::of(&vector.bytes, 1_052_672).is_err(), "{}", vector.name);
    }
}

/// Deterministic mutations of every answer: whatever comes, the decoder answers or refuses.
#[test]
fn no_mutation_of_an_answer_makes_the_decoder_panic() {
    let seeds: Vec<Vector> = read_vectors()
        .into_iter()
        .filter(|vector| matches!(vector.kind.as_str(), "is answer" | "is error" | "is notice" | "refused client"))
        .collect();
    let mut random = support::Random::new(17);
    let mut decoded = 0;
    for vector in &seeds {
        for _ in 0..2_000 {
            let mut bytes = vector.bytes.clone();
            support::mutate(&mut bytes, &mut random);
            if let Ok(Scan::Header(header)) = Scan::of(&bytes, 1 << 20) {
                let payload = &bytes[HEADER_BYTES..];
                let _ = decode_message(payload);
                for operation in [header.operation, Operation(1 + random.below(19) as u16)] {
                    decoded += usize::from(Answer::decode(operation, payload).is_ok());
                }
            }
        }
    }
    assert!(decoded > 1_000, "mutations that still decode show that the others are near");
}

/// The corpus of the C++ fuzzers: what was found once stays found.
#[test]
fn the_fuzzers_corpus_is_decoded_or_refused() {
    let corpus = support::project_root().join("tests/fuzz/corpus");
    let mut files = 0;
    for folder in std::fs::read_dir(corpus).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            files += 1;
            let _ = Scan::of(&bytes, 1 << 20);
            let _ = decode_message(&bytes);
            for number in 0..=20 {
                let _ = Answer::decode(Operation(number), &bytes);
                let _ = Answer::decode(Operation(number), bytes.get(HEADER_BYTES..).unwrap_or(&[]));
            }
        }
    }
    assert!(files > 0, "the corpus is not there");
}
