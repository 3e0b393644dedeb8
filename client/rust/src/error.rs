//! The one error type of this crate, and the codes that programs tell its errors apart by.

use crate::secrets::without_secrets;
use std::fmt;
use std::sync::Arc;

/// What went wrong. The numbers are those of the C++ and C libraries; they never change and are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Offset and length leave the image.
    OutOfBounds = 1,
    /// The medium failed, or the file is not an image.
    ProviderError = 2,
    /// Someone else holds the writer lease; the text says who.
    Busy = 3,
    /// This session was the writer and is no longer; nothing private was published.
    LeaseLost = 4,
    /// The session or the store may not be written.
    ReadOnly = 5,
    /// The version that this session holds was given up to keep within a bound.
    SnapshotTooOld = 6,
    /// The disk or a quota is full.
    NoSpace = 7,
    /// A configured limit; the text names it.
    LimitExceeded = 8,
    /// No such store or file.
    NotFound = 9,
    /// A store or file of that name is there.
    AlreadyExists = 10,
    /// The peer does not speak the protocol. Sticky.
    ProtocolError = 11,
    /// The connection ended. Sticky: requests not yet answered may or may not have been applied.
    ConnectionLost = 12,
    /// No answer in time. Sticky when a request timed out, since it may or may not have been applied.
    TimedOut = 13,
    /// The peer, the store or this crate can't do that.
    Unsupported = 14,
    /// A usage error, such as a malformed URI.
    InvalidArgument = 15,
    /// The system or the daemon's configuration forbids it.
    PermissionDenied = 16,
    /// A log or an image is not what it should be; nothing was changed.
    Damaged = 17,
}

impl ErrorKind {
    /// The stable number of this kind, 1 to 17.
    pub fn code(self) -> u32 {
        self as u32
    }

    /// The name that every document and every other library uses, such as `out_of_bounds`.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::OutOfBounds => "out_of_bounds",
            ErrorKind::ProviderError => "provider_error",
            ErrorKind::Busy => "busy",
            ErrorKind::LeaseLost => "lease_lost",
            ErrorKind::ReadOnly => "read_only",
            ErrorKind::SnapshotTooOld => "snapshot_too_old",
            ErrorKind::NoSpace => "no_space",
            ErrorKind::LimitExceeded => "limit_exceeded",
            ErrorKind::NotFound => "not_found",
            ErrorKind::AlreadyExists => "already_exists",
            ErrorKind::ProtocolError => "protocol_error",
            ErrorKind::ConnectionLost => "connection_lost",
            ErrorKind::TimedOut => "timed_out",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::InvalidArgument => "invalid_argument",
            ErrorKind::PermissionDenied => "permission_denied",
            ErrorKind::Damaged => "damaged",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An error of this crate: a kind for programs and a text for people, which names the action, the object, the numbers
/// and where there is one the remedy. Cheap to clone.
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    message: Arc<str>,
}

/// What every call of this crate that can fail returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with this text, without secrets that it may quote.
    pub fn new(kind: ErrorKind, message: impl AsRef<str>) -> Self {
        Error { kind, message: Arc::from(&*without_secrets(message.as_ref())) }
    }

    /// What programs tell errors apart by.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The text for people. It may hold what a daemon sent: see [`printable`] before showing it on a terminal.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// True for errors after which a session can't be used any more: every later call answers the same.
    pub fn is_sticky(&self) -> bool {
        matches!(self.kind, ErrorKind::ConnectionLost | ErrorKind::TimedOut | ErrorKind::ProtocolError)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.message))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, printable(&self.message))
    }
}

impl std::error::Error for Error {}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind {
            ErrorKind::OutOfBounds => Io::UnexpectedEof,
            ErrorKind::NotFound => Io::NotFound,
            ErrorKind::AlreadyExists => Io::AlreadyExists,
            ErrorKind::ConnectionLost => Io::ConnectionAborted,
            ErrorKind::TimedOut => Io::TimedOut,
            ErrorKind::InvalidArgument => Io::InvalidInput,
            ErrorKind::PermissionDenied | ErrorKind::ReadOnly => Io::PermissionDenied,
            ErrorKind::ProtocolError | ErrorKind::Damaged => Io::InvalidData,
            ErrorKind::Unsupported => Io::Unsupported,
            _ => Io::Other,
        };
        std::io::Error::new(kind, error)
    }
}

/// The text with what could rule a terminal or forge a line as `\xNN` or `\u{NNNN}`: control characters, line and
/// paragraph separators, and what turns the direction of a text.
pub fn printable(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c as u32 {
            _ if !is_unsafe(c) => out.push(c),
            code if code < 0x80 => out.push_str(&format!("\\x{:02x}", code)),
            code => out.push_str(&format!("\\u{{{:04x}}}", code)),
        }
    }
    out.into()
}

/// The characters that a name may not have.
pub(crate) fn is_unsafe(c: char) -> bool {
    matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_rule_a_terminal_or_forge_a_line_is_shown_as_the_cpp_library_shows_it() {
        for plain in ["", "demo", "J\u{fc}rgen & co", "a\\b", "\u{a0}\u{200b}\u{2027}\u{202f}\u{2065}\u{1f600}"] {
            assert_eq!(printable(plain), plain);
        }
        assert_eq!(printable("\x1b[31m\0\x7f"), "\\x1b[31m\\x00\\x7f");
        assert_eq!(printable("a\nb\u{85}\u{9b}"), "a\\x0ab\\u{0085}\\u{009b}");
        assert_eq!(printable("\u{61c}\u{200e}\u{200f}"), "\\u{061c}\\u{200e}\\u{200f}");
        assert_eq!(printable("\u{2028}\u{202e}"), "\\u{2028}\\u{202e}");
        assert_eq!(printable("\u{2066}\u{2069}"), "\\u{2066}\\u{2069}");
        // 65 control characters, 2 separators, 12 for the direction: U+061C, U+200E and F, U+202A to E, U+2066 to 9.
        assert_eq!(('\0'..=char::MAX).filter(|c| is_unsafe(*c)).count(), 65 + 2 + 12);
    }
}
