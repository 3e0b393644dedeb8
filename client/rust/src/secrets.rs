//! Secrets in texts that people see: a token, a private key or a password that somebody has put where a name belongs.
//! What is hidden, and how, is what `base/secrets.hpp` of the C++ library hides.

use std::borrow::Cow;
use std::ops::Range;

const TOKEN: &str = "pgt_";
const TOKEN_BYTES_MIN: usize = 8;
const QUERY_KEYS: [&str; 8] = ["tok", "pass", "pw", "secret", "cred", "key", "auth", "access_tok"];

/// The text with `...` for each secret: of a token what follows its `pgt_`, of a private key in PEM form what follows
/// its first line, of a URI its user and password, and what a key such as `password=` has.
pub(crate) fn without_secrets(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut at = 0;
    while let Some(found) = next_secret(text, at) {
        out.push_str(&text[at..found.start]);
        out.push_str("...");
        at = found.end;
    }
    if at == 0 {
        return text.into();
    }
    out.push_str(&text[at..]);
    out.into()
}

fn next_secret(text: &str, from: usize) -> Option<Range<usize>> {
    text[from..]
        .char_indices()
        .filter(|(_, c)| matches!(c, 'p' | 'K' | ':' | '?' | '&'))
        .find_map(|(at, _)| place_at(text, from + at))
}

/// The least of `marks` at or behind `from`, or the end.
fn before(text: &str, from: usize, marks: &[char]) -> usize {
    text[from..].find(marks).map_or(text.len(), |at| from + at)
}

fn place_at(text: &str, at: usize) -> Option<Range<usize>> {
    let here = &text[at..];
    if here.starts_with(TOKEN) {
        let begin = at + TOKEN.len();
        let bytes = text[begin..].bytes().take_while(u8::is_ascii_alphanumeric).count();
        return if bytes >= TOKEN_BYTES_MIN { Some(begin..begin + bytes) } else { None };
    }
    if here.starts_with("KEY") {
        return key_at(text, at + 3);
    }
    if here.starts_with("://") {
        let begin = at + 3;
        let user = text[begin..before(text, begin, &['/', '?', '#', ' ', '"', '\n'])].rfind('@')?;
        return if user > 0 { Some(begin..begin + user) } else { None };
    }
    if here.starts_with('?') || here.starts_with('&') {
        let equals = before(text, at, &['=']);
        let name = &text[at + 1..equals];
        let is_secret = QUERY_KEYS.iter().any(|key| name.starts_with(key)) && !name.ends_with("_file");
        let end = before(text, equals, &['&', '#', '"', ' ', '\n']);
        if is_secret && !name.contains(&['?', '&', ' ', '"', '/'][..]) && end > equals + 1 {
            return Some(equals + 1..end);
        }
    }
    None
}

/// What follows the first line of a PEM file, whose last word ends at `word_end`.
fn key_at(text: &str, word_end: usize) -> Option<Range<usize>> {
    let begin = word_end + dashes_at_front(&text[word_end..])?;
    let first = text[..word_end].rfind("BEGIN")?;
    if text[..word_end].rfind("END").map_or(false, |last| last > first) {
        return None;
    }
    let ends = text[begin..].char_indices().find(|(at, _)| dashes_at_front(&text[begin + at..]).is_some());
    let end = ends.map_or(text.len(), |(at, _)| begin + at);
    if end > begin {
        Some(begin..end)
    } else {
        None
    }
}

/// How many bytes the five dashes of a PEM file at its front are, as they are or as a URI may have them.
fn dashes_at_front(text: &str) -> Option<usize> {
    let mut at = 0;
    for _ in 0..5 {
        let rest = &text[at..];
        at += match rest {
            _ if rest.starts_with('-') => 1,
            _ if rest.starts_with("%2D") || rest.starts_with("%2d") => 3,
            _ => return None,
        };
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_cpp_library_hides_is_hidden_and_nothing_else() {
        let token = format!("pgt_{}", "a".repeat(64));
        assert_eq!(without_secrets(&format!("open \"{}\": none", token)), "open \"pgt_...\": none");
        assert_eq!(
            without_secrets("-----BEGIN PRIVATE KEY-----\nMHcC\nAA==\n-----END PRIVATE KEY-----\nb"),
            "-----BEGIN PRIVATE KEY-----...-----END PRIVATE KEY-----\nb"
        );
        assert_eq!(without_secrets("k=%2D----BEGIN%20KEY%2d----%0AMHcC&x=\u{e4}"), "k=%2D----BEGIN%20KEY%2d----...");
        assert_eq!(without_secrets("pageserver://ci:pw@db/x?access=read"), "pageserver://...@db/x?access=read");
        assert_eq!(without_secrets("x?password=a&tokn=b#f &secret="), "x?password=...&tokn=...#f &secret=");
        for plain in [
            "",
            "pgt_wrong",
            "x?token_file=/t&tls_key=/k&name=a@b",
            "http://db/?to=a@b",
            "://",
            "?",
            "KEY-----x",
            "\u{e4}?\u{e4}:",
        ] {
            assert_eq!(without_secrets(plain), plain);
        }
    }
}
