//! What can go wrong between this program and a registry.

use std::time::Duration;

use serde::Deserialize;

use super::credentials::CredentialsError;
use crate::{
    digest::Digest,
    error::{Explain, Kind},
    http::{HttpError, Insecure, Retry, Transient, retry_status},
    store::StoreError,
};

/// Which credentials a registry was offered, for the hint of its refusal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Tried {
    /// It did not ask for any.
    #[default]
    Unasked,
    /// Those that the user just gave.
    Given,
    /// Those that were found here: in a file, or in a helper.
    Found(String),
    /// None were found; what stood in the way, if anything.
    Missing(Vec<String>),
}

/// One error of a registry's error document (OCI distribution specification, "Error Codes").
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ApiError {
    /// `DENIED`, `NAME_UNKNOWN`, …
    pub code: String,
    /// In words; may be empty.
    #[serde(default)]
    pub message: String,
}

/// Reads the error document of an answer; what is none gives no errors. Control characters, which a terminal would obey, are
/// left out.
pub(super) fn parse_errors(body: &[u8]) -> Vec<ApiError> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(default)]
        errors: Vec<ApiError>,
    }
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).take(500).collect::<String>();
    let document = serde_json::from_slice::<Document>(body).unwrap_or(Document { errors: Vec::new() });
    document.errors.iter().map(|e| ApiError { code: clean(&e.code), message: clean(&e.message) }).collect()
}

/// What can go wrong between this program and a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Credentials cannot be looked up or stored.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The store cannot take what was fetched.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The registry, or its token server, refused.
    #[error("cannot {what}: {registry} answered with HTTP status {status}{}", listed(errors))]
    Refused {
        /// What was asked for: `push the manifest me/app:1`.
        what: String,
        /// Who refused.
        registry: String,
        /// The status code.
        status: u16,
        /// The errors that it named.
        errors: Vec<ApiError>,
        /// The wait that it asks for.
        retry_after: Option<Duration>,
        /// What is known about the credentials that it was given.
        credentials: Box<Tried>,
    },
    /// The registry names, or holds, another digest than the one it should.
    #[error("{what}: expected {expected}, but {registry} has {found}")]
    Digest {
        /// What it should be the digest of.
        what: String,
        /// Who sent it.
        registry: String,
        /// What was expected.
        expected: Digest,
        /// What was found.
        found: String,
    },
    /// The registry's answer is not what the specification asks for.
    #[error("cannot {what}: {registry} does not follow the distribution specification: {why}")]
    Protocol {
        /// What was asked for.
        what: String,
        /// Who answered.
        registry: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// Credentials or layers would go where they must not go.
    #[error("{registry} {why}")]
    Unsafe {
        /// Who asked for it.
        registry: String,
        /// What it asked for.
        why: String,
        /// The host that they would go to.
        to: Insecure,
    },
}

fn listed(errors: &[ApiError]) -> String {
    errors
        .iter()
        .map(|e| if e.message.is_empty() { format!(", {}", e.code) } else { format!(", {}: {}", e.code, e.message) })
        .collect()
}

impl Transient for RegistryError {
    fn should_retry(&self) -> Retry {
        match self {
            Self::Http(error) => error.should_retry(),
            Self::Refused { status, retry_after, .. } => retry_status(*status, *retry_after),
            _ => Retry::Never,
        }
    }
}

impl Explain for RegistryError {
    fn kind(&self) -> Kind {
        match self {
            Self::Http(error) => error.kind(),
            Self::Credentials(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Refused { errors, .. } if is_digest_invalid(errors) => Kind::Unverified,
            Self::Refused { .. } | Self::Protocol { .. } => Kind::Network,
            Self::Digest { .. } | Self::Unsafe { .. } => Kind::Unverified,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Http(error) => error.hint(),
            Self::Credentials(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Refused { errors, .. } if is_digest_invalid(errors) => {
                Some("the bytes were altered since they were hashed: on this machine's disk, or on their way".into())
            }
            Self::Refused { registry, status, retry_after, credentials, .. } => {
                refusal_hint(registry, *status, *retry_after, credentials)
            }
            Self::Unsafe { to, .. } => Some(format!("--insecure={to} allows it, on a network that you trust")),
            Self::Digest { .. } => {
                Some("the registry, or something between here and there, alters what it holds".into())
            }
            Self::Protocol { .. } => Some("check that this host is a registry, and not a web page before it".into()),
        }
    }
}

fn is_digest_invalid(errors: &[ApiError]) -> bool {
    errors.iter().any(|e| e.code == "DIGEST_INVALID")
}

fn refusal_hint(registry: &str, status: u16, wait: Option<Duration>, tried: &Tried) -> Option<String> {
    Some(match (status, tried) {
        (401 | 403, Tried::Unasked) => format!("`microbuild login {registry}` stores credentials"),
        (401, Tried::Given) => {
            "check the user name and the password (many registries want an access token in its place)".into()
        }
        (401, Tried::Found(place)) => {
            format!("the credentials are those of {place}; `microbuild login {registry}` stores new ones")
        }
        (401 | 403, Tried::Missing(notes)) => {
            let notes: String = notes.iter().map(|note| format!("; {note}")).collect();
            format!("no credentials for {registry} were found{notes}; `microbuild login {registry}` stores some")
        }
        (403, Tried::Given) => "check what these credentials may do there, and the repository's name".into(),
        (403, Tried::Found(place)) => {
            format!("check what the credentials of {place} may do there, and the repository's name")
        }
        (404, _) => {
            "check the repository's name; some registries want it to be created first, or credentials to see it".into()
        }
        (413, _) => "the registry, or a proxy before it, limits the size of what it takes".into(),
        (429, _) => match wait {
            Some(wait) => format!("the registry asks to wait {} seconds", wait.as_secs()),
            None => "the registry limits how often it is asked: log in, or try again later".into(),
        },
        (500..=599, _) => "the registry has a problem of its own: try again later".into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_documents_are_read_as_far_as_they_go() {
        let one = |code: &str, message: &str| vec![ApiError { code: code.into(), message: message.into() }];
        for (body, expected) in [
            (r#"{"errors":[{"code":"DENIED","message":"no\u001b[2J","detail":{}}]}"#, one("DENIED", "no[2J")),
            (r#"{"errors":[{"code":"UNKNOWN"}]}"#, one("UNKNOWN", "")),
            (r#"{"errors":[]}"#, vec![]),
            (r#"{"errors":null}"#, vec![]),
            ("<html>", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(parse_errors(body.as_bytes()), expected, "{body}");
        }
    }
}
