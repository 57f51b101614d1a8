//! Where files are fetched from: a URL, or a folder of this machine.

use std::{fmt, path::PathBuf};

use crate::http::{display_url, parse_url};

/// Where a mirror or repository is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Location {
    /// `http://` or `https://`, without a slash at the end.
    Url(String),
    /// A folder of this machine.
    Folder(PathBuf),
}

impl Location {
    /// The location that `text` names: a URL with `http`, `https` or `file`, or else a path.
    pub fn new(text: &str) -> Self {
        if text.starts_with("http://") || text.starts_with("https://") {
            return Self::Url(text.trim_end_matches('/').to_owned());
        }
        Self::Folder(PathBuf::from(text.strip_prefix("file://").unwrap_or(text)))
    }

    /// What lies at `path` below it.
    #[must_use]
    pub fn join(&self, path: &str) -> Self {
        match self {
            Self::Url(url) => Self::Url(format!("{url}/{path}")),
            Self::Folder(folder) => Self::Folder(folder.join(path)),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A URL may carry a password.
            Self::Url(url) => match parse_url(url) {
                Ok(url) => f.write_str(&display_url(&url)),
                Err(_) => f.write_str(url),
            },
            Self::Folder(folder) => folder.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        let url = Location::new("https://user:pass@mirror.example/alpine/");
        assert_eq!(url.join("v3.23/main"), Location::new("https://user:pass@mirror.example/alpine/v3.23/main"));
        assert!(!url.to_string().contains("pass"), "{url}");
        assert_eq!(Location::new("file:///srv/alpine"), Location::Folder("/srv/alpine".into()));
        assert_eq!(Location::new("alpine").join("x"), Location::Folder("alpine/x".into()));
    }
}
