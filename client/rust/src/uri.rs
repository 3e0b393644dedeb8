//! URIs as the README documents them, to values. Pure: no file, no socket, no name resolution.

use crate::error::{printable, Error, ErrorKind, Result};
use crate::options::TlsOptions;
use crate::poll::POLL_US_MAX;
use crate::protocol::{
    is_session_name, is_store_name, Access, Publish, View, DEFAULT_PORT, DEFAULT_TLS_PORT, FAULT_ORDERS_BYTES_MAX,
};
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most that the system takes as a socket's path.
const SOCKET_PATH_BYTES_MAX: usize = 107;
const HOSTS_MAX: usize = 16;
const REMOTE_FORMS: &str = "pageserver://HOST[:PORT]/STORE or pageserver+unix:///STORE?socket=PATH";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Heap,
    File,
    Store,
    Tcp,
    Unix,
    /// TCP with TLS.
    Tls,
}

/// What a URI has to name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// An image: a remote URI needs a store.
    Image,
    /// A daemon, without a store.
    Server,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Uri {
    pub scheme: Scheme,
    pub path: PathBuf,
    pub host: String,
    pub port: u16,
    /// Further hosts with their ports, behind `host`.
    pub others: Vec<(String, u16)>,
    pub socket: PathBuf,
    pub store: String,
    pub access: Access,
    pub view: View,
    pub publish: Publish,
    pub publish_given: bool,
    pub view_given: bool,
    pub wait_ms: u32,
    pub name: String,
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
    pub poll_us: Option<u32>,
    pub cache_bytes: u64,
    pub resume_seconds: u64,
    /// `transport=auto`. This crate uses the socket in any case: it has no unsafe code, and shared memory needs some.
    #[cfg_attr(not(test), allow(dead_code))]
    pub shares_memory: bool,
    pub faults: String,
    pub token_file: PathBuf,
    pub tls: TlsOptions,
}

pub(crate) const RESUME_SECONDS_MAX: u64 = 86_400;

/// Fails with `invalid_argument`, quoting the wrong part and saying what is expected there. `default_access` holds
/// where the text has no `access=`.
pub(crate) fn parse(text: &str, default_access: Access, target: Target) -> Result<Uri> {
    let mut parser = Parser {
        text,
        target,
        uri: Uri {
            scheme: Scheme::File,
            path: PathBuf::new(),
            host: String::new(),
            port: DEFAULT_PORT,
            others: Vec::new(),
            socket: PathBuf::new(),
            store: String::new(),
            access: default_access,
            view: View::Live,
            publish: Publish::OnWrite,
            publish_given: false,
            view_given: false,
            wait_ms: 0,
            name: String::new(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
            poll_us: None,
            cache_bytes: 0,
            resume_seconds: 0,
            shares_memory: true,
            faults: String::new(),
            token_file: PathBuf::new(),
            tls: TlsOptions::default(),
        },
        view_item: "",
        publish_item: "",
    };
    parser.parse()?;
    Ok(parser.uri)
}

struct Parser<'a> {
    text: &'a str,
    target: Target,
    uri: Uri,
    view_item: &'a str,
    publish_item: &'a str,
}

impl<'a> Parser<'a> {
    fn fail<T>(&self, part: &str, problem: &str, expected: &str) -> Result<T> {
        Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("open {}: {} {}: expected {}", quoted(self.text), quoted(part), problem, expected),
        ))
    }

    fn parse(&mut self) -> Result<()> {
        if self.text.is_empty() {
            return self.fail("", "is empty", &format!("a path, file:PATH, heap:, {}", REMOTE_FORMS));
        }
        if self.text.contains('\0') {
            return self.fail(self.text, "holds a zero byte", "a path or a URI without one");
        }
        match scheme_of(self.text) {
            None => self.uri.path = PathBuf::from(self.text),
            Some(scheme) => self.take_scheme(scheme)?,
        }
        self.check_target()
    }

    fn take_scheme(&mut self, scheme: &'a str) -> Result<()> {
        let mut rest = &self.text[scheme.len() + 1..];
        self.uri.scheme = match scheme.to_ascii_lowercase().as_str() {
            "heap" => Scheme::Heap,
            "file" => Scheme::File,
            "store" => Scheme::Store,
            "pageserver" => Scheme::Tcp,
            "pageservers" => {
                self.uri.port = DEFAULT_TLS_PORT;
                Scheme::Tls
            }
            "pageserver+unix" => Scheme::Unix,
            _ => {
                return self.fail(
                    scheme,
                    "is no scheme known here",
                    &format!(
                    "file, heap, store, pageserver, pageservers or pageserver+unix; for a file of that name write ./{}",
                    self.text
                ),
                )
            }
        };
        if self.uri.scheme == Scheme::Heap {
            if !rest.is_empty() {
                return self.fail(rest, "follows heap:", "nothing there, a heap image has no name and no options");
            }
            return Ok(());
        }
        if let Some(hash) = rest.find('#') {
            return self.fail(&rest[hash..], "is a fragment", "none; write %23 for a # in a name");
        }
        let mut query = "";
        if let Some(mark) = rest.find('?') {
            query = &rest[mark + 1..];
            rest = &rest[..mark];
        }
        if self.is_remote() {
            self.take_server(rest)?;
        } else {
            self.take_path(rest)?;
        }
        self.take_query(query)?;
        self.check_combination()
    }

    fn is_remote(&self) -> bool {
        matches!(self.uri.scheme, Scheme::Tcp | Scheme::Tls | Scheme::Unix)
    }

    fn decode(&self, part: &str) -> Result<Vec<u8>> {
        match percent_decode(part) {
            Ok(bytes) => Ok(bytes),
            Err(bad) => {
                self.fail(bad, "is a bad escape", "% and two hex digits, and not %00; write %25 for a percent sign")
            }
        }
    }

    fn take_path(&mut self, mut rest: &'a str) -> Result<()> {
        if rest.starts_with("//") {
            if !rest.starts_with("///") {
                let host = rest[2..].split('/').next().unwrap_or("");
                let scheme = &self.text[..self.text.find(':').map_or(0, |colon| colon + 1)];
                return self.fail(
                    host,
                    "stands where a host would",
                    &format!("a path after {}, such as /var/lib/db.img", scheme),
                );
            }
            rest = &rest[2..];
        }
        let path = self.decode(rest)?;
        if path.is_empty() {
            return self.fail(self.text, "names no file", "a path after the colon");
        }
        self.uri.path = path_of(path);
        Ok(())
    }

    fn take_server(&mut self, rest: &'a str) -> Result<()> {
        let rest = match rest.strip_prefix("//") {
            Some(rest) => rest,
            None => return self.fail(self.text, "has no // after its scheme", REMOTE_FORMS),
        };
        let (authority, path) = match rest.find('/') {
            Some(slash) => (&rest[..slash], &rest[slash + 1..]),
            None => (rest, ""),
        };
        if matches!(self.uri.scheme, Scheme::Tcp | Scheme::Tls) {
            self.take_authority(authority)?;
        } else if !authority.is_empty() {
            return self.fail(
                authority,
                "stands where a host would",
                "pageserver+unix:///STORE?socket=PATH, with three slashes",
            );
        }
        if path.is_empty() {
            return Ok(());
        }
        match String::from_utf8(self.decode(path)?) {
            Ok(store) if is_store_name(&store) => self.uri.store = store,
            _ => {
                return self.fail(
                    path,
                    "is no store's name",
                    "a letter or digit, then at most 63 letters, digits, dots, underscores and hyphens",
                )
            }
        }
        Ok(())
    }

    fn take_authority(&mut self, authority: &'a str) -> Result<()> {
        if let Some(at) = authority.rfind('@') {
            let user = match authority[..at].find(':') {
                Some(colon) => format!("{}...@", &authority[..colon + 1]),
                None => authority[..at + 1].to_owned(),
            };
            return self.fail(&user, "is a user", "a host; there are no users");
        }
        let default_port = self.uri.port;
        for (i, one) in authority.split(',').enumerate() {
            let (host, port) = self.host_and_port(one, default_port)?;
            if i == 0 {
                self.uri.host = host;
                self.uri.port = port;
            } else if i == HOSTS_MAX {
                return self.fail(one, "is one host too many", &format!("at most {} hosts", HOSTS_MAX));
            } else {
                self.uri.others.push((host, port));
            }
        }
        Ok(())
    }

    fn host_and_port(&self, authority: &str, default_port: u16) -> Result<(String, u16)> {
        let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
            let close = match bracketed.find(']') {
                Some(close) => close,
                None => return self.fail(authority, "has no closing bracket", "an address such as [::1]"),
            };
            let address = self.address_in(&bracketed[..close])?;
            let after = &bracketed[close + 1..];
            if !after.is_empty() && !after.starts_with(':') {
                return self.fail(after, "follows the address", "a colon and a port, or nothing");
            }
            (address, after.strip_prefix(':'))
        } else {
            let (host, port) = match authority.find(':') {
                Some(colon) => (&authority[..colon], Some(&authority[colon + 1..])),
                None => (authority, None),
            };
            if port.map_or(false, |port| port.contains(':')) {
                return self.fail(
                    authority,
                    "has too many colons",
                    "HOST:PORT, with an IPv6 address in brackets as in [::1]:6553",
                );
            }
            (self.host_in(host)?, port)
        };
        match port {
            None => Ok((host, default_port)),
            Some(port) => match parse_number(port, u64::from(u16::MAX)) {
                Some(number) if number > 0 => Ok((host, number as u16)),
                _ => self.fail(port, "is no port", "a number from 1 to 65535"),
            },
        }
    }

    fn host_in(&self, host: &str) -> Result<String> {
        let bytes = self.decode(host)?;
        if bytes.is_empty() {
            return self.fail(self.text, "names no host", "pageserver://HOST[:PORT]");
        }
        let odd = bytes.iter().any(|b| *b <= 0x20 || *b == 0x7f || b"/?#[]@:%,".contains(b));
        match String::from_utf8(bytes) {
            Ok(name) if !odd && name.len() <= 253 => Ok(name),
            _ => self.fail(host, "is no host", "a name or an address of at most 253 bytes"),
        }
    }

    /// An IPv6 address, with the zone as RFC 6874 writes it: `fe80::1%25eth0`.
    fn address_in(&self, address: &str) -> Result<String> {
        let decoded = String::from_utf8(self.decode(address)?).unwrap_or_default();
        let bare = decoded.split('%').next().unwrap_or("");
        if decoded.ends_with('%') || bare.parse::<Ipv6Addr>().is_err() {
            return self.fail(address, "is no IPv6 address", "one such as ::1 or fe80::1%25eth0");
        }
        Ok(decoded)
    }

    fn take_query(&mut self, mut query: &'a str) -> Result<()> {
        let mut seen: Vec<&str> = Vec::new();
        while !query.is_empty() {
            let item = query.split('&').next().unwrap_or("");
            query = query.get(item.len() + 1..).unwrap_or("");
            let equals = match item.find('=') {
                Some(equals) => equals,
                None => return self.fail(item, "has no value", "KEY=VALUE between ? and &"),
            };
            let key = &item[..equals];
            if seen.contains(&key) {
                return self.fail(item, "comes twice", "each key once");
            }
            seen.push(key);
            let value = self.decode(&item[equals + 1..])?;
            self.take_key(key, item, value)?;
        }
        Ok(())
    }

    fn known_keys(&self) -> &'static str {
        match (self.target, self.uri.scheme) {
            (Target::Server, Scheme::Unix) => "socket, connect_timeout, request_timeout, poll_us, token_file",
            (Target::Server, Scheme::Tls) => {
                "connect_timeout, request_timeout, poll_us, token_file, tls_ca, tls_certificate, tls_key, tls_name"
            }
            (Target::Server, _) => "connect_timeout, request_timeout, poll_us, token_file",
            (_, Scheme::File) => "access",
            (_, Scheme::Store) => "access, view, publish, wait_ms, name",
            (_, Scheme::Tls) => {
                "access, view, publish, wait_ms, name, connect_timeout, request_timeout, poll_us, token_file, \
                 cache_bytes, resume, transport, faults, tls_ca, tls_certificate, tls_key, tls_name"
            }
            (_, Scheme::Tcp) => {
                "access, view, publish, wait_ms, name, connect_timeout, request_timeout, poll_us, token_file, \
                 cache_bytes, resume, transport, faults"
            }
            _ => {
                "socket, access, view, publish, wait_ms, name, connect_timeout, request_timeout, poll_us, token_file, \
                 cache_bytes, resume, transport, faults"
            }
        }
    }

    fn take_key(&mut self, key: &'a str, item: &'a str, bytes: Vec<u8>) -> Result<()> {
        let keys = self.known_keys();
        if key == "token" && self.is_remote() {
            let expected = "token_file=PATH, or the environment's PAGESERVER_TOKEN: others see what a URI has";
            return self.fail(key, "is no key of this URI", expected);
        }
        if !keys.split(", ").any(|known| known == key) {
            return self.fail(key, "is no key of this URI", &format!("one of {}", keys));
        }
        if key == "socket" {
            return self.take_socket(item, bytes);
        }
        if key == "token_file" {
            if bytes.is_empty() {
                return self.fail(item, "names no file", "token_file=PATH");
            }
            self.uri.token_file = path_of(bytes);
            return Ok(());
        }
        if let "tls_ca" | "tls_certificate" | "tls_key" = key {
            if bytes.is_empty() {
                return self.fail(item, "names no file", &format!("{}=PATH", key));
            }
            match key {
                "tls_ca" => self.uri.tls.ca = path_of(bytes),
                "tls_certificate" => self.uri.tls.certificate = path_of(bytes),
                _ => self.uri.tls.key = path_of(bytes),
            }
            return Ok(());
        }
        let text = String::from_utf8(bytes);
        if key == "tls_name" {
            return match text {
                Ok(name) if !name.is_empty() && name.len() <= 253 => {
                    self.uri.tls.name = name;
                    Ok(())
                }
                _ => self.fail(item, "is no name", "that of a host, of at most 253 bytes"),
            };
        }
        if key == "name" {
            return match text {
                Ok(name) if is_session_name(&name) => {
                    self.uri.name = name;
                    Ok(())
                }
                _ => self.fail(item, "is no name", "at most 255 bytes of UTF-8 without control characters"),
            };
        }
        if key == "faults" {
            return match text {
                Ok(orders) if !orders.is_empty() && orders.len() <= FAULT_ORDERS_BYTES_MAX => {
                    self.uri.faults = orders;
                    Ok(())
                }
                other => {
                    let bytes = other.map_or_else(|error| error.as_bytes().len(), |orders| orders.len());
                    let expected = format!("1 to {} of UTF-8, such as faults=write:3:no_space", FAULT_ORDERS_BYTES_MAX);
                    self.fail(item, &format!("has {} bytes of orders", bytes), &expected)
                }
            };
        }
        let value = text.unwrap_or_else(|_| "\u{fffd}".into()); // no other key has a value beyond ASCII
        match key {
            "access" => {
                let choices = [("read", Access::Read), ("write", Access::Write), ("fork", Access::Fork)];
                self.uri.access = self.choose(&choices, item, &value)?;
            }
            "view" => {
                self.uri.view = self.choose(&[("live", View::Live), ("pinned", View::Pinned)], item, &value)?;
                self.uri.view_given = true;
                self.view_item = item;
            }
            "publish" => {
                let choices = [("on_write", Publish::OnWrite), ("on_flush", Publish::OnFlush)];
                self.uri.publish = self.choose(&choices, item, &value)?;
                self.uri.publish_given = true;
                self.publish_item = item;
            }
            "wait_ms" => match parse_number(&value, u64::from(u32::MAX)) {
                Some(number) => self.uri.wait_ms = number as u32,
                None => {
                    return self.fail(item, "is no time to wait", "milliseconds from 0 to 4294967295, a plain number")
                }
            },
            "poll_us" if value == "auto" => self.uri.poll_us = None,
            "poll_us" => match parse_number(&value, u64::from(POLL_US_MAX)) {
                Some(number) => self.uri.poll_us = Some(number as u32),
                None => {
                    let expected = format!("auto, or microseconds from 0 (off) to {}", POLL_US_MAX);
                    return self.fail(item, "is no time to poll", &expected);
                }
            },
            "transport" => {
                self.uri.shares_memory = self.choose(&[("auto", true), ("socket", false)], item, &value)?;
            }
            // As people write the other times, too.
            "resume" => match parse_number(value.strip_suffix('s').unwrap_or(&value), RESUME_SECONDS_MAX) {
                Some(seconds) => self.uri.resume_seconds = seconds,
                None => {
                    let expected =
                        format!("seconds from 0 (off) to {}, such as resume=30 or resume=30s", RESUME_SECONDS_MAX);
                    return self.fail(item, "is no time to resume in", &expected);
                }
            },
            "cache_bytes" if value == "off" => self.uri.cache_bytes = 0,
            "cache_bytes" => match parse_size(&value) {
                Some(bytes) => self.uri.cache_bytes = bytes,
                None => {
                    let expected = "off, or bytes, or a number with KiB, MiB, GiB or TiB, such as 64MiB";
                    return self.fail(item, "is no size", expected);
                }
            },
            _ => match parse_duration(&value) {
                Some(duration) if key == "connect_timeout" => self.uri.connect_timeout = duration,
                Some(duration) => self.uri.request_timeout = duration,
                None => {
                    let expected = "one such as 10s, 500ms, 2m or 1h, at most 366 days, or 0 for no limit";
                    return self.fail(item, "is no duration", expected);
                }
            },
        }
        Ok(())
    }

    fn take_socket(&mut self, item: &str, path: Vec<u8>) -> Result<()> {
        if path.is_empty() {
            return self.fail(item, "names no socket", "socket=PATH");
        }
        if path.len() > SOCKET_PATH_BYTES_MAX {
            return self.fail(
                item,
                &format!("has {} bytes", path.len()),
                &format!("a path of at most {}, which is all that the system takes", SOCKET_PATH_BYTES_MAX),
            );
        }
        self.uri.socket = path_of(path);
        Ok(())
    }

    fn choose<T: Copy>(&self, choices: &[(&str, T)], item: &str, value: &str) -> Result<T> {
        match choices.iter().find(|(word, _)| *word == value) {
            Some((_, choice)) => Ok(*choice),
            None => {
                let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
                self.fail(item, "has no such value", &format!("one of {}", words.join(", ")))
            }
        }
    }

    fn check_combination(&self) -> Result<()> {
        let without_certificate = self.uri.tls.certificate.as_os_str().is_empty();
        if without_certificate != self.uri.tls.key.as_os_str().is_empty() {
            let alone = if without_certificate { "tls_key" } else { "tls_certificate" };
            return self.fail(alone, "stands alone", "tls_certificate and tls_key, or neither");
        }
        if self.uri.scheme == Scheme::Unix && self.uri.socket.as_os_str().is_empty() {
            return self.fail(self.text, "names no socket", "?socket=PATH");
        }
        if self.target == Target::Server {
            return Ok(());
        }
        if self.uri.scheme == Scheme::File && self.uri.access == Access::Fork {
            return self.fail(
                "access=fork",
                "is not for a plain file",
                "access=read or access=write, or a served store",
            );
        }
        if !self.view_item.is_empty() && self.uri.access != Access::Read {
            return self.fail(self.view_item, "is for readers only", "access=read beside it");
        }
        if !self.publish_item.is_empty() && self.uri.access != Access::Write {
            return self.fail(self.publish_item, "is for writers only", "access=write beside it");
        }
        Ok(())
    }

    fn check_target(&self) -> Result<()> {
        if self.target == Target::Server {
            if !self.is_remote() {
                let expected = "pageserver://HOST[:PORT] or pageserver+unix:///?socket=PATH";
                return self.fail(self.text, "names no daemon", expected);
            }
            if !self.uri.store.is_empty() {
                return self.fail(&self.uri.store, "is a store", "the daemon alone, without a store");
            }
        } else if self.is_remote() && self.uri.store.is_empty() {
            return self.fail(self.text, "names no store", REMOTE_FORMS);
        }
        Ok(())
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", printable(text))
}

/// What stands before the first colon when it can be a scheme; nothing for a plain path.
fn scheme_of(text: &str) -> Option<&str> {
    let scheme = &text[..text.find(':')?];
    let fits = scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    (fits && scheme.starts_with(|c: char| c.is_ascii_alphabetic())).then_some(scheme)
}

/// The bytes, or the wrong escape.
fn percent_decode(text: &str) -> std::result::Result<Vec<u8>, &str> {
    let bytes = text.as_bytes();
    let hex = |at: usize| bytes.get(at).and_then(|b| (*b as char).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'%' {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        match (hex(at + 1), hex(at + 2)) {
            (Some(high), Some(low)) if high + low > 0 => out.push((high * 16 + low) as u8),
            _ => {
                let mut end = (at + 3).min(bytes.len());
                while !text.is_char_boundary(end) {
                    end += 1;
                }
                return Err(&text[at..end]);
            }
        }
        at += 3;
    }
    Ok(out)
}

/// Percent-encodes all but letters, digits, `-._~` and the bytes of `plain`.
pub(crate) fn encode(bytes: &[u8], plain: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || plain.contains(byte) {
            out.push(*byte as char);
        } else {
            out.push_str(&format!("%{:02X}", byte));
        }
    }
    out
}

fn parse_number(text: &str, max: u64) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse::<u64>().ok().filter(|number| *number <= max)
}

fn split_unit(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// What a timeout that is no limit stands for: a clock can be told of it, and nobody sees its end.
const WITHOUT_LIMIT: Duration = Duration::from_secs(366 * 24 * 3600);

/// A timeout as it is used: nothing, and more than anybody waits, mean that there is no limit.
pub(crate) fn limited(timeout: Duration) -> Duration {
    if timeout.is_zero() {
        WITHOUT_LIMIT
    } else {
        timeout.min(WITHOUT_LIMIT)
    }
}

/// `500ms`, `10s`, `2m`, `1h`, or a bare number of milliseconds; at most 366 days, which is what 0, no limit, stands for.
fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text);
    let factor = match unit {
        "" | "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let number = parse_number(number, WITHOUT_LIMIT.as_millis() as u64 / factor)?;
    Some(limited(Duration::from_millis(number * factor)))
}

/// Bytes: a number, alone or with B, KiB, MiB, GiB or TiB directly behind it.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text);
    let unit = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1u64 << 40,
        _ => return None,
    };
    Some(parse_number(number, u64::MAX / unit)? * unit)
}

#[cfg(unix)]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(not(unix))]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

#[cfg(unix)]
pub(crate) fn path_bytes(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().to_vec()
}

#[cfg(not(unix))]
pub(crate) fn path_bytes(path: &Path) -> Vec<u8> {
    path.to_string_lossy().into_owned().into_bytes()
}

#[cfg(test)]
#[path = "uri_tests.rs"]
mod tests;
