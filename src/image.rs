//! Images as immutable values: a configuration, layers, and the manifest that names them; or an index of several.

use std::{fmt, str::FromStr};

use crate::{digest::Digest, layer::Layer};

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
