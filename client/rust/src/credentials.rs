//! The secret that a client shows in its hello.

use crate::error::{Error, ErrorKind, Result};
use crate::protocol::CREDENTIALS_BYTES_MAX;
use crate::transport::Transport;
use std::fs::File;
use std::io::Read;
use std::path::Path;

const VARIABLE: &str = "PAGESERVER_TOKEN";
const WORD: &str = "token ";

fn refuse<T>(context: &str, kind: ErrorKind, text: String) -> Result<T> {
    Err(Error::new(kind, format!("{}: token: {}", context, text)))
}

#[cfg(unix)]
pub(crate) fn others_may_use(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    // A pipe has no others.
    file.metadata().map_or(true, |found| found.is_file() && found.mode() & 0o037 != 0)
}

#[cfg(not(unix))]
pub(crate) fn others_may_use(_: &File) -> bool {
    false
}

fn read_file(context: &str, path: &Path) -> Result<String> {
    let named = format!("token_file \"{}\"", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let kind = if missing { ErrorKind::NotFound } else { ErrorKind::PermissionDenied };
            return refuse(context, kind, format!("{}: {}", named, error));
        }
    };
    if others_may_use(&file) {
        let text = format!("{}: others can read or change it; chmod 600 {}", named, path.display());
        return refuse(context, ErrorKind::PermissionDenied, text);
    }
    let mut text = String::new();
    if let Err(error) = file.take(2 * CREDENTIALS_BYTES_MAX as u64).read_to_string(&mut text) {
        return refuse(context, ErrorKind::ProviderError, format!("{}: {}", named, error));
    }
    text.truncate(text.trim_end().len());
    if text.is_empty() {
        return refuse(context, ErrorKind::InvalidArgument, format!("{} is empty", named));
    }
    Ok(text)
}

/// What hello carries: "token SECRET" of `token`, else of the file, else of the environment, else nothing. Fails where
/// there is a secret and others could listen. No text has the secret.
pub(crate) fn credentials(stream: &dyn Transport, context: &str, token: &str, file: &Path) -> Result<String> {
    let (token, from) = if !token.is_empty() {
        (token.to_owned(), "the option token".to_owned())
    } else if !file.as_os_str().is_empty() {
        (read_file(context, file)?, format!("token_file \"{}\"", file.display()))
    } else {
        (std::env::var(VARIABLE).unwrap_or_default(), format!("the environment's {}", VARIABLE))
    };
    if token.is_empty() {
        return Ok(String::new());
    }
    let most = CREDENTIALS_BYTES_MAX - WORD.len();
    if token.len() > most || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let text = format!(
            "{} is no token: one line of at most {} letters and digits, as `pagectl token create` made it",
            from, most
        );
        return refuse(context, ErrorKind::InvalidArgument, text);
    }
    if !stream.is_private() {
        let text = format!(
            "{} is sent only over TLS, a Unix socket or to this machine's loopback, since on a network others can \
             listen; use pageservers://, or connect without it",
            from
        );
        return refuse(context, ErrorKind::PermissionDenied, text);
    }
    Ok(format!("{}{}", WORD, token))
}
