//! Image references: `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`, with Docker's normalisation (`app` is
//! `docker.io/library/app:latest`), as the grammar of distribution/reference has it.

use std::{fmt, str::FromStr};

use crate::{
    digest::Digest,
    error::{Explain, Kind},
    http::is_loopback,
};

/// The registry that a reference without one means.
pub const DOCKER_HUB: &str = "docker.io";

/// The longest repository name, registry included (distribution/reference, `NameTotalLengthMax`).
const MAX_NAME: usize = 255;

/// The longest tag (OCI distribution specification, "Pulling manifests").
const MAX_TAG: usize = 128;

/// Where an image lies, or is to lie. At least one of `tag` and `digest` is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{reference}` is not an image reference: {why}")]
pub struct ParseReferenceError {
    reference: String,
    why: String,
}

impl Explain for ParseReferenceError {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("write [REGISTRY[:PORT]/]REPOSITORY[:TAG], such as ghcr.io/me/app:1.2".into())
    }
}

impl Reference {
    /// The registry as references name it: `docker.io`, `localhost:5000`, `[::1]:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository within the registry: `library/app`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `latest` when the reference had neither tag nor digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, when the reference names one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same reference with this digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// The same repository with this tag and no digest.
    ///
    /// # Errors
    /// When `tag` is not a tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ParseReferenceError> {
        check_tag(tag)
            .map_err(|why| ParseReferenceError { reference: format!("{}:{tag}", self.familiar_name()), why })?;
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// Registry, repository, tag and digest in full: `docker.io/library/app:latest`.
    pub fn canonical(&self) -> String {
        format!("{}/{}{}", self.registry, self.repository, self.suffix())
    }

    /// The name as people write it, without tag and digest: `app` for `docker.io/library/app`.
    pub fn familiar_name(&self) -> String {
        if self.registry != DOCKER_HUB {
            return format!("{}/{}", self.registry, self.repository);
        }
        match self.repository.strip_prefix("library/") {
            // `docker.io/library/a/b` would become `a/b`, which is another repository.
            Some(name) if !name.contains('/') => name.to_owned(),
            _ => self.repository.clone(),
        }
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
        tag + &digest
    }
}

/// The host and port that speak the distribution API for `registry`: Docker Hub's is not its name.
pub fn api_host(registry: &str) -> &str {
    if registry == DOCKER_HUB { "registry-1.docker.io" } else { registry }
}

/// Whether `registry` is on this machine, hence spoken to over plain HTTP.
pub fn is_local(registry: &str) -> bool {
    is_loopback(split_port(registry).0)
}

/// Host and port. An IPv6 address stands in brackets, which stay.
fn split_port(registry: &str) -> (&str, Option<&str>) {
    match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    }
}

/// A registry's name as a user gives it to `login`: a host, with a port where needed. Schemes and paths that people
/// paste are taken off, and Docker Hub's other names become `docker.io`.
///
/// # Errors
/// When what is left is not a host.
pub fn parse_registry(name: &str) -> Result<String, ParseReferenceError> {
    let host = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    let host = host.split('/').next().unwrap_or_default();
    check_registry(host).map_err(|why| ParseReferenceError { reference: name.to_owned(), why })?;
    Ok(match host {
        "index.docker.io" | "registry-1.docker.io" | "hub.docker.com" => DOCKER_HUB.to_owned(),
        host => host.to_owned(),
    })
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        parse(s).map_err(|why| ParseReferenceError { reference: s.to_owned(), why })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.familiar_name(), self.suffix())
    }
}

fn parse(s: &str) -> Result<Reference, String> {
    if s.is_empty() {
        return Err("it is empty".into());
    }
    if let Some((scheme, rest)) = s.split_once("://") {
        return Err(format!("leave `{scheme}://` out: `{rest}`"));
    }
    let (rest, digest) = match s.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse::<Digest>().map_err(|e| e.to_string())?)),
        None => (s, None),
    };
    // A colon before the last slash belongs to a port.
    let name_end = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[name_end..].find(':') {
        Some(colon) => (&rest[..name_end + colon], Some(&rest[name_end + colon + 1..])),
        None => (rest, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    let (registry, repository) = split_registry(name)?;
    check_repository(&repository)?;
    if registry.len() + 1 + repository.len() > MAX_NAME {
        return Err(format!("its name has more than {MAX_NAME} characters"));
    }
    if tag.is_none() && digest.is_none() && name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("a bare image id cannot be told from a name; write NAME@sha256:ID".into());
    }
    let tag = tag.map(str::to_owned).or_else(|| digest.is_none().then(|| "latest".to_owned()));
    Ok(Reference { registry, repository, tag, digest })
}

/// The first part of a name is a registry when it looks like a host: it has a dot, a colon or a capital, or is
/// `localhost`.
fn split_registry(name: &str) -> Result<(String, String), String> {
    let is_host = |part: &str| {
        part.contains(['.', ':', '[']) || part == "localhost" || part.bytes().any(|b| b.is_ascii_uppercase())
    };
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest)) if is_host(first) => (first, rest),
        _ => (DOCKER_HUB, name),
    };
    check_registry(registry)?;
    let registry = if registry == "index.docker.io" { DOCKER_HUB } else { registry };
    let repository = if registry == DOCKER_HUB && !repository.contains('/') {
        format!("library/{repository}")
    } else {
        repository.to_owned()
    };
    Ok((registry.to_owned(), repository))
}

fn check_registry(registry: &str) -> Result<(), String> {
    let (host, port) = split_port(registry);
    if let Some(port) = port
        && (port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) || port.parse::<u16>().is_err())
    {
        return Err(format!("expected a port between 0 and 65535 after `{host}:`, found `{port}`"));
    }
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').unwrap_or_default();
        return match address.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("expected an IPv6 address in brackets, found `{host}`")),
        };
    }
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if host.split('.').all(label) {
        return Ok(());
    }
    Err(format!("`{host}` is not a host name"))
}

fn check_repository(repository: &str) -> Result<(), String> {
    for part in repository.split('/') {
        if part.is_empty() {
            return Err("a part of its name is empty".into());
        }
        if part.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(format!("`{part}` must be lower case: `{}`", part.to_ascii_lowercase()));
        }
        if let Some(bad) = part.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-')) {
            return Err(format!("`{part}` holds `{bad}`; letters, digits, `.`, `_` and `-` may stand there"));
        }
        check_separators(part)?;
    }
    Ok(())
}

/// Between letters and digits may stand one dot, one or two underscores, or any number of dashes.
fn check_separators(part: &str) -> Result<(), String> {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    if !edge(part.bytes().next()) || !edge(part.bytes().last()) {
        return Err(format!("`{part}` must begin and end with a letter or digit"));
    }
    for run in part.split(|c: char| c.is_ascii_alphanumeric()) {
        let dashes = run.bytes().all(|b| b == b'-');
        if !dashes && !matches!(run, "." | "_" | "__") {
            return Err(format!("`{part}` holds `{run}`; use one of `.`, `_`, `__`, `-` between letters and digits"));
        }
    }
    Ok(())
}

fn check_tag(tag: &str) -> Result<(), String> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if tag.is_empty() {
        return Err("the tag after `:` is empty".into());
    }
    if tag.len() > MAX_TAG {
        return Err(format!("its tag has more than {MAX_TAG} characters"));
    }
    if !word(tag.as_bytes()[0]) || !tag.bytes().all(|b| word(b) || b == b'.' || b == b'-') {
        return Err(format!(
            "the tag `{tag}` must begin with a letter, digit or `_`, and go on with those, `.` and `-`"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_normalised_as_docker_does() {
        let digest = format!("app@sha256:{HEX}");
        for (given, canonical, familiar) in [
            ("app", "docker.io/library/app:latest", "app:latest"),
            ("app:1.2", "docker.io/library/app:1.2", "app:1.2"),
            ("me/app", "docker.io/me/app:latest", "me/app:latest"),
            ("docker.io/app", "docker.io/library/app:latest", "app:latest"),
            ("index.docker.io/me/app:x", "docker.io/me/app:x", "me/app:x"),
            ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest"),
            ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
            ("[::1]:5000/x:y", "[::1]:5000/x:y", "[::1]:5000/x:y"),
            ("[::1]/x", "[::1]/x:latest", "[::1]/x:latest"),
            ("127.0.0.1:5000/a/b/c:d", "127.0.0.1:5000/a/b/c:d", "127.0.0.1:5000/a/b/c:d"),
            ("Host/x", "Host/x:latest", "Host/x:latest"),
            ("ghcr.io/a-b/c__d.e---f:_T.-", "ghcr.io/a-b/c__d.e---f:_T.-", "ghcr.io/a-b/c__d.e---f:_T.-"),
            (digest.as_str(), &format!("docker.io/library/app@sha256:{HEX}"), digest.as_str()),
        ] {
            let reference: Reference = given.parse().expect(given);
            assert_eq!(reference.canonical(), canonical);
            assert_eq!(reference.to_string(), familiar);
            assert_eq!(familiar.parse::<Reference>().as_ref(), Ok(&reference), "{familiar} reads back");
        }
    }

    #[test]
    fn tag_and_digest_may_stand_together() {
        let reference: Reference = format!("r.io/a:1@sha256:{HEX}").parse().expect("a reference");
        assert_eq!((reference.tag(), reference.digest().map(Digest::hex)), (Some("1"), Some(HEX.to_owned())));
        assert_eq!(reference.with_tag("2").map(|r| r.to_string()), Ok("r.io/a:2".to_owned()));
        assert!(reference.with_tag("a b").is_err());
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let long = "a/".repeat(130) + "b";
        let tag = format!("a:{}", "t".repeat(129));
        for (bad, why) in [
            ("", "empty"),
            ("App", "lower case: `app`"),
            ("ghcr.io/Me/app", "lower case: `me`"),
            ("https://ghcr.io/me/app", "leave `https://` out: `ghcr.io/me/app`"),
            ("a//b", "empty"),
            ("ghcr.io/", "empty"),
            ("/a", "empty"),
            ("a b", "holds ` `"),
            ("a:", "tag after `:` is empty"),
            ("a:-x", "must begin with"),
            ("a:b:c", "the tag `b:c`"),
            ("-a", "begin and end"),
            ("a.", "begin and end"),
            ("a..b", "holds `..`"),
            ("a___b", "holds `___`"),
            ("a@sha256:12", "expected a digest"),
            ("a@sha512:12", "expected a digest"),
            ("host.io:99999/a", "expected a port"),
            ("host.io:/a", "expected a port"),
            ("[::g]:1/a", "IPv6"),
            ("-host.io/a", "not a host name"),
            ("ä", "holds `ä`"),
            ("../../etc/passwd", "not a host name"),
            (HEX, "image id"),
            (&long, "more than 255"),
            (&tag, "more than 128"),
        ] {
            let error = bad.parse::<Reference>().expect_err(bad);
            assert!(error.to_string().contains(why), "{error}: expected `{why}`");
            assert_eq!(error.kind(), Kind::Usage);
        }
    }

    #[test]
    fn local_registries_are_known_by_their_address() {
        for local in ["localhost", "localhost:5000", "127.0.0.1:1", "127.1.2.3", "[::1]", "[::1]:5000"] {
            assert!(is_local(local), "{local}");
        }
        for other in ["docker.io", "localhost.io:5000", "[::2]:5000", "10.0.0.1:5000"] {
            assert!(!is_local(other), "{other}");
        }
    }

    #[test]
    fn registries_are_read_as_people_paste_them() {
        for (given, registry) in [
            ("ghcr.io", "ghcr.io"),
            ("https://ghcr.io/v2/", "ghcr.io"),
            ("http://localhost:5000", "localhost:5000"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
        ] {
            assert_eq!(parse_registry(given).as_deref(), Ok(registry));
        }
        for bad in ["", "https://", "a b", "host:port"] {
            assert!(parse_registry(bad).is_err(), "{bad}");
        }
        assert_eq!(api_host("docker.io"), "registry-1.docker.io");
        assert_eq!(api_host("ghcr.io"), "ghcr.io");
    }
}
