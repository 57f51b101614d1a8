//! What can go wrong between this program and a registry.

use std::{fmt, time::Duration};

use super::credentials::CredentialsError;
use crate::{
    digest::Digest,
    error::{Explain, Kind},
    http::{HttpError, Insecure, Retry, Transient, Url, retry_status},
    image::FormatError,
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

/// One error that an answer names (OCI distribution specification, "Error Codes"), in short and without control
/// characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// `DENIED`, `NAME_UNKNOWN`, …; empty where a proxy or a page speaks.
    pub code: String,
    /// In words; may be empty.
    pub message: String,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.code.is_empty() || self.message.is_empty() { "" } else { ": " };
        write!(f, "{}{separator}{}", self.code, self.message)
    }
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
        /// What was requested: `push the manifest me/app:1`.
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
        /// What was requested.
        what: String,
        /// Who answered.
        registry: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// The registry wants what is sent to be sent elsewhere.
    #[error("cannot {what}: {registry} sends it on to {to}, with HTTP status {status}")]
    Elsewhere {
        /// What was requested.
        what: String,
        /// Who answered.
        registry: String,
        /// Where it was sent on to, without credentials.
        to: String,
        /// The status code.
        status: u16,
    },
    /// The registry takes nothing, or says nothing, for too long.
    #[error("cannot {what}: {registry} is stuck: {why}")]
    Stuck {
        /// What was requested.
        what: String,
        /// Who does not answer.
        registry: String,
        /// How that showed.
        why: String,
    },
    /// The image cannot be pushed in the form that was requested.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Credentials or layers would go where they must not go.
    #[error("{registry} {why}")]
    Unsafe {
        /// Who requests it.
        registry: String,
        /// What it requests.
        why: String,
        /// The host that they would go to.
        to: Insecure,
    },
}

fn listed(errors: &[ApiError]) -> String {
    errors.iter().map(|error| format!(", {error}")).collect()
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
            Self::Format(error) => error.kind(),
            Self::Refused { .. } if self.says("DIGEST_INVALID") => Kind::Unverified,
            Self::Refused { .. } | Self::Protocol { .. } | Self::Elsewhere { .. } | Self::Stuck { .. } => Kind::Network,
            Self::Digest { .. } | Self::Unsafe { .. } => Kind::Unverified,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Http(error) => error.hint(),
            Self::Credentials(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Format(error) => error.hint(),
            Self::Refused { .. } if self.says("DIGEST_INVALID") => {
                Some("the bytes were altered since they were hashed: on this machine's disk, or on their way".into())
            }
            Self::Refused { .. } if self.lacks_parts() => Some(LOST.into()),
            Self::Refused { registry, status, retry_after, credentials, .. } => {
                refusal_hint(registry, *status, *retry_after, credentials)
            }
            Self::Unsafe { to, .. } => Some(format!("--insecure={to} allows it, on a network that you trust")),
            Self::Digest { .. } => {
                Some("the registry, or something between here and there, alters what it holds".into())
            }
            Self::Protocol { .. } => Some("check that this host is a registry, and not a web page before it".into()),
            Self::Elsewhere { registry, to, .. } => {
                Some(match Url::parse(to).ok().and_then(|url| own_name(&url, registry)) {
                    Some(name) => format!("if you trust it, name {name} in the reference, in the place of {registry}"),
                    None => "check that this host is a registry, and not a web page before it".into(),
                })
            }
            Self::Stuck { .. } => {
                Some("the registry, or a proxy before it, has a problem of its own: try again later".into())
            }
        }
    }
}

/// What helps when a registry does not have what it should have.
const LOST: &str =
    "the registry has lost a part of the image: `microbuild push --force IMAGE REF` sends all of it again";

impl RegistryError {
    /// Whether the registry refused with this error code.
    pub fn says(&self, code: &str) -> bool {
        matches!(self, Self::Refused { errors, .. } if errors.iter().any(|error| error.code == code))
    }

    /// Whether the registry says that it does not have what an image is made of.
    pub fn lacks_parts(&self) -> bool {
        let codes = ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"];
        codes.iter().any(|code| self.says(code))
    }

    /// Whether the registry does not take a manifest because of its media type.
    pub fn refuses_media_type(&self) -> bool {
        let Self::Refused { status, errors, .. } = self else { return false };
        let of_type = |error: &ApiError| {
            let message = error.message.to_ascii_lowercase().replace(['_', '-', ' '], "");
            ["mediatype", "contenttype", "schemaversion", "unsupportedmanifest"]
                .iter()
                .any(|word| message.contains(word))
        };
        *status == 415 || (matches!(status, 400 | 404 | 405 | 406 | 422 | 501) && errors.iter().any(of_type))
    }

    /// The status with which the registry refused.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// What references call the host of `url`, when that is another one than `registry`.
fn own_name(url: &Url, registry: &str) -> Option<String> {
    let host = url.host_str()?;
    let name = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    (name != registry).then_some(name)
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
        (407, _) => "the proxy wants credentials: put them into HTTPS_PROXY".into(),
        (413, _) => "the registry, or a proxy before it, limits the size of what it takes".into(),
        (507, _) => "the registry has no room left for it: remove what is not needed there".into(),
        (429, _) => match wait {
            Some(wait) => format!("the registry asks to wait {} seconds", wait.as_secs()),
            None => "the registry limits the rate of requests: log in, or try again later".into(),
        },
        (500..=599, _) => "the registry has a problem of its own: try again later".into(),
        _ => return None,
    })
}
