//! The files in which Docker and Podman keep credentials, as values: `config.json` and `auth.json`
//! (containers-auth.json(5)).

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::Credentials;
use crate::registry::reference::DOCKER_HUB;

/// What `auths` and helpers call Docker Hub.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// One entry of `auths`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl Entry {
    /// `None` for the empty entries that Docker writes beside a helper.
    pub(super) fn credentials(&self) -> Result<Option<Credentials>, String> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credentials::IdentityToken(self.identitytoken.clone())));
        }
        if !self.registrytoken.is_empty() {
            return Ok(Some(Credentials::RegistryToken(self.registrytoken.clone())));
        }
        if self.auth.is_empty() {
            let there = !self.username.is_empty();
            return Ok(there.then(|| Credentials::password(&self.username, &self.password)));
        }
        let bytes = STANDARD.decode(self.auth.trim()).map_err(|_| "`auth` is not base64".to_owned())?;
        let text = String::from_utf8(bytes).map_err(|_| "`auth` is not text".to_owned())?;
        // Docker pads with NUL what was stored by old versions.
        let (username, password) = text.trim_end_matches('\0').split_once(':').ok_or("`auth` is not USER:PASSWORD")?;
        Ok(Some(Credentials::password(username, password)))
    }
}

/// A configuration of Docker or Podman, as far as it concerns credentials.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Config {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

impl Config {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        // An empty file is what `touch` and some CI systems leave.
        if bytes.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(bytes).map_err(|e| json_error(&e))
    }

    /// The entry for `place`: the key itself, else one that means the same.
    pub(super) fn entry(&self, place: &str) -> Option<&Entry> {
        let same = || self.auths.iter().find(|(key, _)| place_of(key) == place).map(|(_, entry)| entry);
        self.auths.get(place).or_else(same)
    }

    /// The helper for `place`, and whether it is named for it alone; the one that is meant for all counts for whole
    /// registries.
    pub(super) fn helper(&self, place: &str) -> Option<(&str, bool)> {
        let own = self.cred_helpers.iter().find(|(key, _)| place_of(key) == place);
        let all = (!place.contains('/')).then_some((self.creds_store.as_str(), false));
        own.map(|(_, helper)| (helper.as_str(), true)).or(all).filter(|(helper, _)| !helper.is_empty())
    }
}

/// The places whose credentials count for `repository` of `registry`, the narrowest first: the repository, each
/// namespace above it, the registry (containers-auth.json(5), "FORMAT").
pub(super) fn places(registry: &str, repository: Option<&str>) -> Vec<String> {
    let Some(repository) = repository else { return vec![registry.to_owned()] };
    let whole = format!("{registry}/{repository}");
    let ends = whole.match_indices('/').map(|(at, _)| at).filter(|at| *at >= registry.len());
    let mut places: Vec<String> = ends.chain([whole.len()]).map(|end| whole[..end].to_owned()).collect();
    places.reverse();
    places
}

/// The place that a key of `auths` or `credHelpers` means: a registry, or a namespace or repository of one. Keys that
/// are URLs mean registries, whatever their path: `https://index.docker.io/v1/` is `docker.io`.
pub(super) fn place_of(key: &str) -> String {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let (host, path) = bare.unwrap_or(key).split_once('/').unwrap_or((bare.unwrap_or(key), ""));
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        host => host,
    };
    match path.trim_matches('/') {
        "" | "v1" | "v2" => host.to_owned(),
        _ if bare.is_some() => host.to_owned(),
        path => format!("{host}/{path}"),
    }
}

/// The key under which `place` is stored.
pub(super) fn key(place: &str) -> &str {
    if place == DOCKER_HUB { DOCKER_HUB_KEY } else { place }
}

/// Only where the error is: serde's own words quote what they found, which may be a secret.
pub(super) fn json_error(error: &serde_json::Error) -> String {
    format!("unexpected JSON at line {}, column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_registries_and_parts_of_them() {
        for (key, place) in [
            ("r.io", "r.io"),
            ("r.io/", "r.io"),
            ("r.io:5000/v2/", "r.io:5000"),
            ("https://r.io/v1/", "r.io"),
            ("https://r.io/some/path", "r.io"),
            ("http://localhost:5000", "localhost:5000"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
            ("index.docker.io/me", "docker.io/me"),
            ("r.io/team", "r.io/team"),
            ("r.io/team/v2", "r.io/team/v2"),
            ("r.io/team/app/", "r.io/team/app"),
            ("", ""),
        ] {
            assert_eq!(place_of(key), place, "{key}");
        }
    }

    #[test]
    fn the_narrowest_place_comes_first() {
        assert_eq!(
            places("r.io:5000", Some("a/b/c")),
            ["r.io:5000/a/b/c", "r.io:5000/a/b", "r.io:5000/a", "r.io:5000"]
        );
        assert_eq!(
            places("docker.io", Some("library/app")),
            ["docker.io/library/app", "docker.io/library", "docker.io"]
        );
        assert_eq!(places("r.io", Some("app")), ["r.io/app", "r.io"]);
        assert_eq!(places("r.io", None), ["r.io"]);
    }

    #[test]
    fn the_helper_for_all_is_for_whole_registries() {
        let config = br#"{"credsStore": "all", "credHelpers": {"r.io/team": "own", "https://other.io": "theirs"}}"#;
        let config = Config::parse(config).expect("JSON");
        for (place, helper) in [
            ("r.io/team", Some(("own", true))),
            ("r.io/team/app", None),
            ("r.io", Some(("all", false))),
            ("other.io", Some(("theirs", true))),
        ] {
            assert_eq!(config.helper(place), helper, "{place}");
        }
    }
}
