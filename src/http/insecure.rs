//! `--insecure`: the hosts whose certificates are not checked, and to which what is secret may go in the clear.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use reqwest::Url;

/// A word of `--insecure`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Insecure {
    /// `false`: no host.
    None,
    /// `true`, or no word at all: every host.
    All,
    /// `registry.example`, `registry.example:5000`, `[::1]:5000`.
    Host {
        /// A name or an address, in lower case; an IPv6 address in brackets.
        host: String,
        /// The port; all of the host's where there is none.
        port: Option<u16>,
    },
}

impl Insecure {
    /// Whether the word stands for the server that `url` names.
    pub fn covers(&self, url: &Url) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Host { host, port } => {
                let same_port = port.is_none() || *port == url.port_or_known_default();
                same_port && url.host_str().is_some_and(|name| name.eq_ignore_ascii_case(host))
            }
        }
    }

    /// The word that stands for the server of `url` alone.
    pub fn of(url: &Url) -> Self {
        Self::Host { host: url.host_str().unwrap_or_default().to_ascii_lowercase(), port: url.port() }
    }
}

impl fmt::Display for Insecure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("false"),
            Self::All => f.write_str("true"),
            Self::Host { host, port: None } => f.write_str(host),
            Self::Host { host, port: Some(port) } => write!(f, "{host}:{port}"),
        }
    }
}

/// Not a word of `--insecure`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a host, with a port where needed (registry.example:5000), or true or false, found `{0}`")]
pub struct ParseInsecureError(String);

impl FromStr for Insecure {
    type Err = ParseInsecureError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let word = s.trim().to_ascii_lowercase();
        match word.as_str() {
            "1" | "true" | "yes" | "on" => return Ok(Self::All),
            "0" | "false" | "no" | "off" => return Ok(Self::None),
            _ => {}
        }
        let (host, port) = match word.rsplit_once(':') {
            // The colons in brackets are an IPv6 address's.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (word.as_str(), None),
        };
        let bad = || ParseInsecureError(s.to_owned());
        let port = port.map(str::parse).transpose().map_err(|_| bad())?;
        let host = host_name(host).ok_or_else(bad)?;
        Ok(Self::Host { host, port })
    }
}

/// A name or address as URLs have it.
fn host_name(host: &str) -> Option<String> {
    if let Some(address) = host.strip_prefix('[') {
        let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (!host.is_empty() && host.chars().all(fits)).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_covers_its_host() {
        for (word, url, covers) in [
            ("registry.example", "https://registry.example/v2/", true),
            ("Registry.Example", "http://registry.EXAMPLE:5000/v2/", true),
            ("registry.example:5000", "https://registry.example:5000/v2/", true),
            ("registry.example:443", "https://registry.example/v2/", true),
            ("registry.example:443", "http://registry.example/v2/", false),
            ("registry.example:80", "http://registry.example/v2/", true),
            ("registry.example:5000", "https://registry.example:5001/v2/", false),
            ("registry.example", "https://a.registry.example/v2/", false),
            ("example", "https://registry.example/v2/", false),
            ("[::2]:5000", "http://[0::2]:5000/", true),
            ("[0:0::2]", "http://[::2]:5000/", true),
            ("10.0.0.1", "http://10.0.0.1:5000/", true),
            ("true", "http://10.0.0.1:5000/", true),
            ("1", "http://10.0.0.1:5000/", true),
            ("0", "http://10.0.0.1:5000/", false),
        ] {
            let url = Url::parse(url).expect("a URL");
            let insecure: Insecure = word.parse().expect(word);
            assert_eq!(insecure.covers(&url), covers, "{word} {url}");
            assert!(
                Insecure::of(&url).covers(&url) && Insecure::of(&url).to_string().parse() == Ok(Insecure::of(&url))
            );
        }
    }

    #[test]
    fn other_words_are_refused() {
        for word in
            ["", "https://registry.example", "a/b", "a b", "a:", "a:b", "a:70000", "[::1", "::1", "a@b", ":5000"]
        {
            let error = word.parse::<Insecure>().expect_err(word);
            assert!(error.to_string().ends_with(&format!("found `{word}`")), "{error}");
        }
    }
}
