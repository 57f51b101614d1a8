//! Why a request failed, what to do about it, and whether it is worth another attempt.

use std::{error::Error, fmt, io, path::PathBuf, time::Duration};

use super::{Insecure, Url, pace::TooSlow};
use crate::error::{Explain, Kind};

/// Whether an attempt is worth repeating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It would fail again.
    Never,
    /// After the usual back-off.
    Soon,
    /// After this time, which the server requests.
    After(Duration),
}

/// Errors of attempts that [`Http::retrying`](super::Http::retrying) may repeat.
pub trait Transient: fmt::Display {
    /// Whether repeating the attempt may help.
    fn should_retry(&self) -> Retry;
}

/// Why no answer came, or not a whole one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The host's name is not known, or no name server answered.
    Dns {
        /// The name server asked to try again.
        passing: bool,
    },
    /// Nothing listens there.
    Refused,
    /// A time limit passed.
    TimedOut,
    /// The peer sends too slowly.
    Slow,
    /// The certificate's issuer is not trusted.
    UnknownIssuer,
    /// The certificate is not good for another reason: expired, of another name.
    Certificate,
    /// The peer does not speak TLS.
    NotTls,
    /// TLS failed otherwise.
    Tls,
    /// The connection broke, or carried something that is not HTTP.
    Broken,
}

/// What can go wrong in a request.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// `--offline` is set.
    #[error("{url} is needed, but --offline forbids the network")]
    Offline {
        /// What was requested, without credentials.
        url: String,
    },
    /// A file of `--ca` is of no use.
    #[error("cannot use the CA certificates in {}: {why}", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The client cannot be set up.
    #[error("cannot set up the HTTP client: {0}")]
    Setup(String),
    /// Not a URL that can be requested.
    #[error("expected an http:// or https:// URL, found `{url}`{why}")]
    Url {
        /// What was found, without credentials.
        url: String,
        /// Why, starting with a colon, or nothing.
        why: String,
    },
    /// No answer, or half of one.
    #[error("{url}: {what}")]
    Transport {
        /// What was requested, without credentials.
        url: String,
        /// The class of the failure.
        fault: Fault,
        /// The failure in words.
        what: String,
    },
    /// An answer that is not the wanted one.
    #[error("{url}: the server answered with HTTP status {status}")]
    Status {
        /// What was requested, without credentials.
        url: String,
        /// The status code.
        status: u16,
        /// The wait that the server asks for.
        retry_after: Option<Duration>,
    },
    /// An answer longer than it can be.
    #[error("{url}: expected at most {limit} bytes, found more")]
    TooLong {
        /// What was requested, without credentials.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// A redirect that must not be followed.
    #[error("{url}: {why}")]
    Redirect {
        /// Where the redirect came from, without credentials.
        url: String,
        /// Why it is not followed.
        why: String,
        /// Where it leads, when it would be followed if that were among the hosts of `--insecure`.
        to: Option<Insecure>,
    },
    /// What was to be sent cannot be read, or what came cannot be written, on this machine.
    #[error("cannot {what} the body of {url}: {source}")]
    Local {
        /// `read` or `write`.
        what: &'static str,
        /// The request, without credentials.
        url: String,
        /// Why.
        source: io::Error,
    },
}

impl Transient for HttpError {
    fn should_retry(&self) -> Retry {
        match self {
            Self::Transport { fault: Fault::TimedOut | Fault::Broken | Fault::Dns { passing: true }, .. } => {
                Retry::Soon
            }
            Self::Status { status, retry_after, .. } => retry_status(*status, *retry_after),
            _ => Retry::Never,
        }
    }
}

/// Whether an answer of this status is worth another attempt: 408, 429, and the 5xx that are not forever.
pub fn retry_status(status: u16, retry_after: Option<Duration>) -> Retry {
    match (status, retry_after) {
        (408 | 425 | 429 | 503, Some(wait)) => Retry::After(wait),
        // Not the server's mood: what it cannot do, has no room for, or wants a login for.
        (501 | 505..=511, _) => Retry::Never,
        (408 | 425 | 429 | 500..=599, _) => Retry::Soon,
        _ => Retry::Never,
    }
}

impl Explain for HttpError {
    fn kind(&self) -> Kind {
        match self {
            Self::Ca { .. } | Self::Url { .. } => Kind::Usage,
            Self::Local { .. } => Kind::Build,
            Self::Offline { .. }
            | Self::Setup(_)
            | Self::Transport { .. }
            | Self::Status { .. }
            | Self::TooLong { .. }
            | Self::Redirect { .. } => Kind::Network,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Offline { .. } => "leave --offline out, or build once without it so that the cache has it",
            Self::Ca { .. } => "--ca takes a file of certificates in PEM form (-----BEGIN CERTIFICATE-----)",
            Self::Transport { fault: Fault::Certificate, url, .. } => {
                return Some(format!(
                    "check this machine's clock and the host's name; --insecure={} skips the check",
                    insecure(url)
                ));
            }
            Self::Transport { fault: Fault::NotTls, url, .. } => {
                return Some(format!(
                    "the server speaks plain HTTP: --insecure={} allows that of a registry, http:// in its URL of a mirror",
                    insecure(url)
                ));
            }
            Self::Redirect { to: Some(to), .. } => {
                return Some(format!("--insecure={to} allows it, on a network that you trust"));
            }
            Self::Transport { fault, .. } => match fault {
                Fault::Dns { .. } => {
                    "check the host's name and this machine's name servers (HTTPS_PROXY names a proxy, when the network needs one)"
                }
                Fault::Refused => "check the host and the port, and that the server runs",
                Fault::TimedOut => {
                    "the host may be down or behind a firewall: check its name, and HTTPS_PROXY and NO_PROXY if there is a proxy"
                }
                Fault::Slow => SLOW,
                Fault::UnknownIssuer => {
                    "a private CA is trusted with --ca FILE (or SSL_CERT_FILE); the machine's own CAs come with its package ca-certificates"
                }
                Fault::Certificate | Fault::NotTls | Fault::Tls | Fault::Broken => return None,
            },
            Self::Status { status: 401 | 403, .. } => "the server wants credentials, or refuses the ones in the URL",
            Self::Status { status: 407, .. } => "the proxy wants credentials: put them into HTTPS_PROXY",
            Self::Status { status: 429, .. } => "the server limits the rate of requests: try again later",
            Self::Local { source, .. } if source.kind() == io::ErrorKind::StorageFull => "the disk is full",
            Self::Setup(_)
            | Self::Url { .. }
            | Self::Status { .. }
            | Self::TooLong { .. }
            | Self::Redirect { to: None, .. }
            | Self::Local { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

/// The word of `--insecure` for the host of `url`.
fn insecure(url: &str) -> String {
    Url::parse(url).map_or_else(|_| "HOST".to_owned(), |url| Insecure::of(&url).to_string())
}

/// What to do about a peer that is too slow.
pub const SLOW: &str = "the server, or the network to it, is as good as dead: try again later, or use another one";

/// Whether a body could not be read because the peer sends too slowly.
pub fn is_too_slow(error: &io::Error) -> bool {
    fault(error) == Fault::Slow
}

/// The links of an error's chain. `io::Error::source` skips the error that it wraps; this does not.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |link| {
        let link: &'a (dyn Error + 'static) = *link;
        match link.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &'a (dyn Error + 'static)),
            None => link.source(),
        }
    })
}

pub(super) fn transport(url: String, error: &(dyn Error + 'static)) -> HttpError {
    let fault = fault(error);
    let what = match fault {
        Fault::Dns { .. } => format!("the host's name cannot be resolved ({})", innermost(error)),
        Fault::Refused => "nothing listens there (connection refused)".to_owned(),
        Fault::TimedOut => "no answer within the time limit".to_owned(),
        Fault::Slow => innermost(error),
        Fault::UnknownIssuer => "its certificate is signed by a CA that is not trusted here".to_owned(),
        Fault::Certificate => format!("its certificate does not verify ({})", innermost(error)),
        Fault::NotTls => "expected TLS, found something else (plain HTTP?)".to_owned(),
        Fault::Tls => format!("no TLS connection ({})", innermost(error)),
        Fault::Broken => format!("the connection broke ({})", innermost(error)),
    };
    HttpError::Transport { url, fault, what }
}

fn fault(error: &(dyn Error + 'static)) -> Fault {
    use rustls::{CertificateError, Error as Tls};
    for link in chain(error) {
        if let Some(e) = link.downcast_ref::<reqwest::Error>() {
            if e.is_dns() {
                // EAI_AGAIN has no code of its own on its way through the standard library.
                let text = innermost(error).to_lowercase();
                return Fault::Dns { passing: text.contains("temporary") || text.contains("try again") };
            }
            if e.is_timeout() {
                return Fault::TimedOut;
            }
        }
        if link.is::<TooSlow>() {
            return Fault::Slow;
        }
        if let Some(e) = link.downcast_ref::<Tls>() {
            return match e {
                Tls::InvalidCertificate(CertificateError::UnknownIssuer) => Fault::UnknownIssuer,
                Tls::InvalidCertificate(_) => Fault::Certificate,
                Tls::InvalidMessage(_) => Fault::NotTls,
                _ => Fault::Tls,
            };
        }
        if let Some(e) = link.downcast_ref::<io::Error>() {
            match e.kind() {
                io::ErrorKind::ConnectionRefused => return Fault::Refused,
                io::ErrorKind::TimedOut => return Fault::TimedOut,
                // tokio-rustls' words for a peer that closes instead of answering.
                io::ErrorKind::UnexpectedEof if e.to_string().starts_with("tls handshake") => return Fault::Tls,
                _ => {}
            }
        }
    }
    Fault::Broken
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

/// A reqwest error and its causes in one line; URLs are left out, they may hold credentials.
pub(super) fn words(error: &reqwest::Error) -> String {
    let causes: Vec<String> = chain(error).skip(1).map(ToString::to_string).collect();
    if causes.is_empty() { "reqwest refused it".to_owned() } else { causes.join(": ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_statuses_are_worth_another_attempt() {
        let wait = Some(Duration::from_secs(3));
        for (status, retry_after, expected) in [
            (400, None, Retry::Never),
            (401, None, Retry::Never),
            (404, wait, Retry::Never),
            (408, None, Retry::Soon),
            (429, None, Retry::Soon),
            (429, wait, Retry::After(Duration::from_secs(3))),
            (500, wait, Retry::Soon),
            (501, None, Retry::Never),
            (507, None, Retry::Never),
            (511, None, Retry::Never),
            (503, wait, Retry::After(Duration::from_secs(3))),
            (504, None, Retry::Soon),
        ] {
            assert_eq!(retry_status(status, retry_after), expected, "{status} {retry_after:?}");
        }
    }
}
