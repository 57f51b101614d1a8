//! Configurations of images as they are read (OCI image specification, "Image Configuration"), this program's and
//! others'.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Image, Platform, WRITABLE};
use crate::digest::Digest;

/// What an image's configuration says, as far as this program uses it. Other fields are ignored.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ImageConfig {
    architecture: String,
    os: String,
    #[serde(default)]
    variant: Option<String>,
    /// When the image was made, as RFC 3339 writes it.
    #[serde(default)]
    pub created: Option<String>,
    #[serde(default)]
    config: Option<Execution>,
    rootfs: RootFs,
}

/// Go writes an empty list as `null`, or leaves it out.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Execution {
    user: Option<String>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    volumes: Option<BTreeMap<String, serde_json::Value>>,
    stop_signal: Option<String>,
    exposed_ports: Option<BTreeMap<String, serde::de::IgnoredAny>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

impl ImageConfig {
    /// Reads a configuration.
    ///
    /// # Errors
    /// When the bytes are not JSON, or lack what every configuration has.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// What the image runs on.
    pub fn platform(&self) -> Platform {
        let variant = self.variant.clone().filter(|variant| !variant.is_empty());
        Platform { os: self.os.clone(), architecture: self.architecture.clone(), variant }
    }

    /// The digests of the layers' tars, from the lowest layer to the uppermost.
    pub fn diff_ids(&self) -> &[Digest] {
        &self.rootfs.diff_ids
    }

    /// The user that it runs as: a name or number, and a group after a colon. Empty for root.
    pub fn user(&self) -> &str {
        self.execution(|config| config.user.as_deref()).unwrap_or_default()
    }

    /// The folder in which the command starts; `/` unless the image says another.
    pub fn workdir(&self) -> &str {
        self.execution(|config| config.working_dir.as_deref()).filter(|dir| !dir.is_empty()).unwrap_or("/")
    }

    /// The first words of the command, which stay when the user gives others.
    pub fn entrypoint(&self) -> &[String] {
        self.execution(|config| config.entrypoint.as_deref()).unwrap_or_default()
    }

    /// The words after the entrypoint, unless the user gives others.
    pub fn cmd(&self) -> &[String] {
        self.execution(|config| config.cmd.as_deref()).unwrap_or_default()
    }

    /// The folders for which each container gets a volume.
    pub fn volumes(&self) -> Vec<String> {
        let volumes = self.execution(|config| config.volumes.as_ref());
        volumes.map(|volumes| volumes.keys().cloned().collect()).unwrap_or_default()
    }

    /// The signal that asks the app to end, unless it is SIGTERM.
    pub fn stop_signal(&self) -> Option<&str> {
        self.execution(|config| config.stop_signal.as_deref()).filter(|signal| !signal.is_empty())
    }

    /// The variables. Of a name that is there twice, the last value counts; an entry without `=` is ignored.
    pub fn env(&self) -> BTreeMap<String, String> {
        let entries = self.execution(|config| config.env.as_deref()).unwrap_or_default();
        let pairs = entries.iter().filter_map(|entry| entry.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The TCP ports that it declares.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        let ports = self.config.iter().filter_map(|config| config.exposed_ports.as_ref()).flat_map(BTreeMap::keys);
        ports.filter_map(|port| port.trim_end_matches("/tcp").parse().ok())
    }

    fn execution<'a, T>(&'a self, field: impl FnOnce(&'a Execution) -> Option<T>) -> Option<T> {
        self.config.as_ref().and_then(field)
    }
}

impl Image {
    /// The configuration, read.
    ///
    /// # Errors
    /// When it is not a configuration.
    pub fn configuration(&self) -> Result<ImageConfig, serde_json::Error> {
        ImageConfig::parse(&self.config.bytes)
    }

    /// The folders that belong to the app's user, as [`WRITABLE`] lists them; none where another program made the image.
    pub fn writable(&self) -> Vec<String> {
        #[derive(Deserialize)]
        struct Manifest {
            #[serde(default)]
            annotations: BTreeMap<String, String>,
        }
        let manifest: Option<Manifest> = serde_json::from_slice(&self.manifest.bytes).ok();
        let listed = manifest.and_then(|mut manifest| manifest.annotations.remove(WRITABLE));
        listed.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_docker_and_others_write() {
        let config = ImageConfig::parse(
            br#"{"architecture":"arm","os":"linux","variant":"v7","created":"2026-01-02T03:04:05Z","history":[],
                "config":{"User":"1:2","Env":["A=b=c","B","A=d"],"Entrypoint":["/app"],"Cmd":null,"Labels":null},
                "rootfs":{"type":"layers","diff_ids":[]}}"#,
        )
        .expect("a configuration");
        assert_eq!(config.platform().to_string(), "linux/arm/v7");
        assert_eq!((config.user(), config.workdir()), ("1:2", "/"));
        assert_eq!((config.entrypoint(), config.cmd()), (&["/app".to_owned()][..], &[][..]));
        assert_eq!(config.env(), BTreeMap::from([("A".to_owned(), "d".to_owned())]));
        assert_eq!(config.created.as_deref(), Some("2026-01-02T03:04:05Z"));
        let bare = br#"{"architecture":"amd64","os":"linux","variant":"","rootfs":{"diff_ids":[]}}"#;
        let bare = ImageConfig::parse(bare).expect("a configuration");
        assert_eq!((bare.platform().to_string(), bare.user(), bare.cmd().len()), ("linux/amd64".into(), "", 0));
        for bad in ["", "{}", r#"{"architecture":"amd64","os":"linux"}"#] {
            assert!(ImageConfig::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
