//! Images as immutable values: a configuration, layers, and the manifest that names them; or an index of several.

mod config;
mod format;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    str::FromStr,
    time::Duration,
};

use oci_spec::image::{
    Arch, ConfigBuilder, DescriptorBuilder, HistoryBuilder, ImageConfiguration, ImageConfigurationBuilder,
    ImageIndexBuilder, ImageManifestBuilder, MediaType, Os, PlatformBuilder, RootFsBuilder,
};

use serde_json::Value;

use crate::{
    digest::Digest,
    error::{Explain, Kind},
    layer::Layer,
};

pub use config::ImageConfig;
pub use format::{DOCKER_CONFIG, DOCKER_GZIP, DOCKER_INDEX, DOCKER_MANIFEST, Format, FormatError, ParseFormatError};

/// `application/vnd.oci.image.manifest.v1+json`.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// `application/vnd.oci.image.index.v1+json`.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// `application/vnd.oci.image.config.v1+json`.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A JSON document of an image, as the bytes whose digest names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Media type.
    pub media_type: String,
    /// The bytes, exactly as they are stored and sent.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
}

impl Document {
    /// The document that consists of `bytes`.
    pub fn new(media_type: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { media_type: media_type.into(), digest: Digest::of(&bytes), bytes }
    }
}

/// The search path of an image that sets none, and of commands in a sandbox.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What an image runs on, in Go's words, as OCI has them: `linux/amd64`, `linux/arm64`, `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, where an architecture has variants.
    pub variant: Option<String>,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// Not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a platform such as linux/amd64 or linux/arm/v7, found `{0}`")]
pub struct ParsePlatformError(String);

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
        let parts: Vec<&str> = s.split('/').collect();
        match parts[..] {
            [os, architecture] if word(os) && word(architecture) => {
                Ok(Self { os: os.into(), architecture: architecture.into(), variant: None })
            }
            [os, architecture, variant] if word(os) && word(architecture) && word(variant) => {
                Ok(Self { os: os.into(), architecture: architecture.into(), variant: Some(variant.into()) })
            }
            _ => Err(ParsePlatformError(s.to_owned())),
        }
    }
}

/// One image for one platform.
#[derive(Debug, Clone)]
pub struct Image {
    /// What it runs on.
    pub platform: Platform,
    /// The manifest, canonical JSON.
    pub manifest: Document,
    /// The configuration, canonical JSON.
    pub config: Document,
    /// The layers, from the lowest to the uppermost; in the manifest's order.
    pub layers: Vec<Layer>,
}

/// What a build makes and a sink takes: one image, or an index over one image for each platform.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// The index; `None` when there is one image only, which then stands for itself.
    pub index: Option<Document>,
    /// The images, in the index's order; at least one.
    pub images: Vec<Image>,
}

impl Artifact {
    /// The document that a tag points to: the index, or the only image's manifest.
    pub fn root(&self) -> &Document {
        self.index.as_ref().unwrap_or(&self.images[0].manifest)
    }
}

/// What an image is to be started with, and what it says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configuration {
    /// `Entrypoint`; empty for none.
    pub entrypoint: Vec<String>,
    /// `Cmd`; empty for none.
    pub cmd: Vec<String>,
    /// `Env`, sorted by name.
    pub env: BTreeMap<String, String>,
    /// `WorkingDir`.
    pub workdir: String,
    /// `User`.
    pub user: String,
    /// `ExposedPorts`: `8080/tcp`.
    pub ports: Vec<String>,
    /// Folders that belong to the app's user, for `microbuild run`: absolute paths.
    pub writable: Vec<String>,
    /// `Volumes`: absolute paths.
    pub volumes: Vec<String>,
    /// `StopSignal`.
    pub stop_signal: Option<String>,
    /// `Healthcheck`.
    pub health: Option<Health>,
    /// `Labels` of the configuration.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the manifest (and of the index, when there is one).
    pub annotations: BTreeMap<String, String>,
    /// When the image was made, seconds since 1970.
    pub created: u64,
}

/// `Healthcheck` of a configuration (Docker image specification 1.3): OCI's specification only keeps the name free. Docker reads it
/// in images of both forms, podman in those of Docker's form only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// `CMD` and the command.
    pub test: Vec<String>,
    /// The time between two checks.
    pub interval: Option<Duration>,
    /// The longest time that one may take.
    pub timeout: Option<Duration>,
    /// The time after the start in which no failure counts.
    pub start_period: Option<Duration>,
    /// How many failures in a row make the container unhealthy.
    pub retries: Option<u32>,
}

impl Health {
    fn json(&self) -> Value {
        // Docker counts nanoseconds.
        let time = |span: &Option<Duration>| span.map(|span| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
        let mut fields = serde_json::Map::from_iter([("Test".to_owned(), self.test.clone().into())]);
        let times = [("Interval", &self.interval), ("Timeout", &self.timeout), ("StartPeriod", &self.start_period)];
        fields.extend(times.into_iter().filter_map(|(name, span)| Some((name.to_owned(), time(span)?.into()))));
        fields.extend(self.retries.map(|retries| ("Retries".to_owned(), retries.into())));
        fields.into()
    }
}

/// The annotation of a manifest that lists the folders that belong to the app's user, as a JSON list. Engines have no word for them:
/// the owner in the layers says it. `microbuild run`, whose root filesystem is read-only, mounts something there.
pub const WRITABLE: &str = "dev.microbuild.writable";

/// The annotation of a layer's descriptor that holds its title.
pub const LAYER_TITLE: &str = "dev.microbuild.title";

/// A document that cannot be made: a layer is too large to be described, or the specification forbids a value.
#[derive(Debug, thiserror::Error)]
#[error("cannot describe the image: {0}")]
pub struct ImageError(#[from] oci_spec::OciSpecError);

impl Explain for ImageError {
    fn kind(&self) -> Kind {
        Kind::Build
    }
}

impl Image {
    /// The image for `platform` that consists of `layers`.
    ///
    /// # Errors
    /// When a document cannot be made.
    pub fn build(platform: Platform, settings: &Configuration, layers: Vec<Layer>) -> Result<Self, ImageError> {
        let mut config = value(&configuration(&platform, settings, &layers)?)?;
        if let Some(health) = &settings.health {
            config["config"]["Healthcheck"] = health.json();
        }
        let config = Document::new(CONFIG, canonical(&config)?);
        let mut annotations: HashMap<_, _> = settings.annotations.clone().into_iter().collect();
        if !settings.writable.is_empty() {
            annotations.insert(WRITABLE.to_owned(), Value::from(settings.writable.as_slice()).to_string());
        }
        let describe = |layer: &Layer| {
            DescriptorBuilder::default()
                .media_type(MediaType::from(layer.media_type.as_str()))
                .digest(oci_digest(&layer.digest)?)
                .size(layer.size)
                .annotations(HashMap::from([(LAYER_TITLE.to_owned(), layer.title.clone())]))
                .build()
        };
        let manifest = ImageManifestBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageManifest)
            .config(
                DescriptorBuilder::default()
                    .media_type(MediaType::ImageConfig)
                    .digest(oci_digest(&config.digest)?)
                    .size(config.bytes.len() as u64)
                    .build()?,
            )
            .layers(layers.iter().map(describe).collect::<Result<Vec<_>, _>>()?)
            .annotations(annotations)
            .build()?;
        let manifest = Document::new(MANIFEST, canonical(&manifest)?);
        Ok(Self { platform, manifest, config, layers })
    }

    /// Bytes of everything that a registry keeps of the image: layers, configuration, manifest.
    pub fn size(&self) -> u64 {
        let documents = self.config.bytes.len() + self.manifest.bytes.len();
        self.layers.iter().map(|layer| layer.size).sum::<u64>() + documents as u64
    }
}

impl Artifact {
    /// The artifact of these images: the only one, or an index over several.
    ///
    /// # Errors
    /// When the index cannot be made.
    pub fn new(images: Vec<Image>, annotations: &BTreeMap<String, String>) -> Result<Self, ImageError> {
        if images.len() == 1 {
            return Ok(Self { index: None, images });
        }
        let describe = |image: &Image| {
            let mut platform = PlatformBuilder::default()
                .os(Os::from(image.platform.os.as_str()))
                .architecture(Arch::from(image.platform.architecture.as_str()));
            if let Some(variant) = &image.platform.variant {
                platform = platform.variant(variant);
            }
            DescriptorBuilder::default()
                .media_type(MediaType::ImageManifest)
                .digest(oci_digest(&image.manifest.digest)?)
                .size(image.manifest.bytes.len() as u64)
                .platform(platform.build()?)
                .build()
        };
        let index = ImageIndexBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageIndex)
            .manifests(images.iter().map(describe).collect::<Result<Vec<_>, _>>()?)
            .annotations(annotations.clone().into_iter().collect::<HashMap<_, _>>())
            .build()?;
        Ok(Self { index: Some(Document::new(INDEX, canonical(&index)?)), images })
    }
}

fn configuration(
    platform: &Platform,
    settings: &Configuration,
    layers: &[Layer],
) -> Result<ImageConfiguration, ImageError> {
    let created = timestamp(settings.created);
    let mut config = ConfigBuilder::default()
        .env(settings.env.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>())
        .working_dir(settings.workdir.clone())
        .user(settings.user.clone());
    if !settings.entrypoint.is_empty() {
        config = config.entrypoint(settings.entrypoint.clone());
    }
    if !settings.cmd.is_empty() {
        config = config.cmd(settings.cmd.clone());
    }
    if !settings.ports.is_empty() {
        config = config.exposed_ports(settings.ports.clone());
    }
    if !settings.volumes.is_empty() {
        config = config.volumes(settings.volumes.clone());
    }
    if let Some(signal) = &settings.stop_signal {
        config = config.stop_signal(signal.clone());
    }
    if !settings.labels.is_empty() {
        config = config.labels(settings.labels.clone().into_iter().collect::<HashMap<_, _>>());
    }
    // One line for each layer: engines pair the two lists when they show where an image's bytes come from.
    let history = layers.iter().map(|layer| {
        HistoryBuilder::default().created(created.clone()).created_by("microbuild").comment(layer.title.clone()).build()
    });
    let mut image = ImageConfigurationBuilder::default()
        .created(created.clone())
        .os(Os::from(platform.os.as_str()))
        .architecture(Arch::from(platform.architecture.as_str()))
        .config(config.build()?)
        .rootfs(
            RootFsBuilder::default()
                .typ("layers")
                .diff_ids(layers.iter().map(|layer| layer.diff_id.to_string()).collect::<Vec<_>>())
                .build()?,
        )
        .history(history.collect::<Result<Vec<_>, _>>()?)
        .build()?;
    image.set_variant(platform.variant.clone());
    Ok(image)
}

/// JSON with sorted keys and no white space. Straight from `oci_spec` it would differ from run to run: labels and
/// annotations are hash maps there.
fn canonical(document: &impl serde::Serialize) -> Result<Vec<u8>, ImageError> {
    Ok(serde_json::to_vec(&value(document)?).map_err(oci_spec::OciSpecError::from)?)
}

fn value(document: &impl serde::Serialize) -> Result<Value, ImageError> {
    Ok(serde_json::to_value(document).map_err(oci_spec::OciSpecError::from)?)
}

fn oci_digest(digest: &Digest) -> Result<oci_spec::image::Digest, oci_spec::OciSpecError> {
    digest.to_string().parse()
}

/// Seconds since 1970 as RFC 3339 has them: `1970-01-01T00:00:00Z`.
pub fn timestamp(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    pub(super) fn layer(title: &str) -> Layer {
        let (digest, diff_id) = (Digest::of(title), Digest::of([title, "!"].concat()));
        let content = Arc::new(title.as_bytes().to_vec());
        Layer { digest, diff_id, size: 3, media_type: crate::media::GZIP.into(), title: title.into(), content }
    }

    fn settings() -> Configuration {
        let pairs = |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Configuration {
            cmd: vec!["node".into(), "server.js".into()],
            env: pairs(&[("PATH", "/bin"), ("NODE_ENV", "production")]),
            workdir: "/app".into(),
            user: "65532:65532".into(),
            ports: vec!["8080/tcp".into()],
            labels: pairs(&[("b", "2"), ("a", "1")]),
            annotations: pairs(&[("z", "26"), ("y", "25")]),
            created: 1_700_000_000,
            ..Configuration::default()
        }
    }

    #[test]
    fn documents_are_canonical() {
        let image = |platform: &str| {
            Image::build(platform.parse().expect("a platform"), &settings(), vec![layer("system"), layer("app")])
                .expect("an image")
        };
        let first = image("linux/arm/v7");
        for _ in 0..8 {
            assert_eq!(image("linux/arm/v7").manifest, first.manifest);
        }
        insta::assert_snapshot!(String::from_utf8_lossy(&first.config.bytes));
        insta::assert_snapshot!(String::from_utf8_lossy(&first.manifest.bytes));
        let artifact = Artifact::new(vec![first, image("linux/amd64")], &settings().annotations).expect("an index");
        insta::assert_snapshot!(String::from_utf8_lossy(&artifact.root().bytes));
    }

    #[test]
    fn a_configuration_says_how_it_wants_to_be_run() {
        let settings = Configuration {
            writable: vec!["/app/uploads".into()],
            volumes: vec!["/data".into(), "/app/db".into()],
            stop_signal: Some("SIGQUIT".into()),
            health: Some(Health {
                test: vec!["CMD".into(), "/app/check".into()],
                interval: Some(Duration::from_millis(1500)),
                timeout: None,
                start_period: Some(Duration::from_secs(2)),
                retries: Some(4),
            }),
            ..settings()
        };
        let image = Image::build("linux/amd64".parse().expect("a platform"), &settings, vec![]).expect("an image");
        let read = image.configuration().expect("a configuration");
        assert_eq!(
            (read.volumes(), read.stop_signal()),
            (vec!["/app/db".to_owned(), "/data".to_owned()], Some("SIGQUIT"))
        );
        assert_eq!(image.writable(), ["/app/uploads"]);
        let json: Value = serde_json::from_slice(&image.config.bytes).expect("JSON");
        let health = r#"{"Interval":1500000000,"Retries":4,"StartPeriod":2000000000,"Test":["CMD","/app/check"]}"#;
        assert_eq!(json["config"]["Healthcheck"].to_string(), health);
        let plain = Image::build("linux/amd64".parse().expect("a platform"), &super::tests::settings(), vec![]);
        let plain = plain.expect("an image");
        assert!(plain.writable().is_empty() && plain.configuration().expect("one").volumes().is_empty());
        assert!(!String::from_utf8_lossy(&plain.config.bytes).contains("Healthcheck"));
    }

    #[test]
    fn one_image_needs_no_index() {
        let image = Image::build("linux/amd64".parse().expect("a platform"), &settings(), vec![]).expect("an image");
        let artifact = Artifact::new(vec![image.clone()], &BTreeMap::new()).expect("an artifact");
        assert_eq!(artifact.root(), &image.manifest);
    }

    #[test]
    fn platforms() {
        for good in ["linux/amd64", "linux/arm/v7"] {
            assert_eq!(good.parse::<Platform>().expect("a platform").to_string(), good);
        }
        for bad in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/a b"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(u64::MAX), jiff::Timestamp::MAX.to_string());
    }
}
