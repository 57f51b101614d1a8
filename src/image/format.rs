//! The two forms of an image's documents: OCI's, and Docker's before it (Image Manifest Version 2, Schema 2), which
//! some registries take alone. Configuration and layers are the same bytes in both; a manifest calls them by other
//! media types, and hence has another digest.

use std::{fmt, str::FromStr};

use serde_json::Value;

use super::{Artifact, Document, Image, ImageError, canonical};
use crate::{
    error::{Explain, Kind},
    layer::Layer,
    media::{GZIP, ZSTD},
};

/// `application/vnd.docker.distribution.manifest.v2+json`.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// `application/vnd.docker.distribution.manifest.list.v2+json`.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// `application/vnd.docker.container.image.v1+json`.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// `application/vnd.docker.image.rootfs.diff.tar.gzip`.
pub const DOCKER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// OCI's uncompressed layers, and Docker's word for them.
const TAR: [&str; 2] = ["application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar"];

/// A form of an image's documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OCI image specification.
    Oci,
    /// Docker's Image Manifest Version 2, Schema 2.
    Docker,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Oci => "oci",
            Self::Docker => "docker",
        })
    }
}

/// Not a form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected oci or docker, found `{0}`")]
pub struct ParseFormatError(String);

impl FromStr for Format {
    type Err = ParseFormatError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "oci" => Ok(Self::Oci),
            // skopeo's and buildah's word for it.
            "docker" | "v2s2" => Ok(Self::Docker),
            _ => Err(ParseFormatError(s.to_owned())),
        }
    }
}

/// Why an image has no other form.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// Docker has no word for a layer.
    #[error("layer `{title}` cannot be pushed in Docker's form, which has no media type for {media_type}")]
    Layer {
        /// The layer's title.
        title: String,
        /// Its media type.
        media_type: String,
    },
    /// A document is not what it should be.
    #[error("cannot read the image's documents: {0}")]
    Document(#[from] serde_json::Error),
    /// A document cannot be made.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl Explain for FormatError {
    fn kind(&self) -> Kind {
        match self {
            Self::Layer { .. } => Kind::Usage,
            Self::Document(_) | Self::Image(_) => Kind::Build,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Layer { media_type, .. } if media_type == ZSTD => {
                Some("build with `--compression gzip`, or push with `--format oci`".into())
            }
            Self::Layer { .. } => Some("push with `--format oci`".into()),
            Self::Document(_) | Self::Image(_) => None,
        }
    }
}

impl Artifact {
    /// The same image in Docker's form: other media types, and no annotations, for which it has no place.
    ///
    /// # Errors
    /// When a layer is compressed in a way that Docker's form has no media type for (zstd).
    pub fn in_docker_format(&self) -> Result<Self, FormatError> {
        let images = self.images.iter().map(image).collect::<Result<Vec<_>, _>>()?;
        let index = self.index.as_ref().map(|index| list(index, &images)).transpose()?;
        Ok(Self { index, images })
    }
}

fn image(image: &Image) -> Result<Image, FormatError> {
    let layers = image.layers.iter().map(layer).collect::<Result<Vec<_>, _>>()?;
    let config = Document { media_type: DOCKER_CONFIG.to_owned(), ..image.config.clone() };
    let mut manifest: Value = serde_json::from_slice(&image.manifest.bytes)?;
    leave_out(&mut manifest, &["annotations", "artifactType", "subject"]);
    manifest["mediaType"] = DOCKER_MANIFEST.into();
    manifest["config"]["mediaType"] = DOCKER_CONFIG.into();
    leave_out(&mut manifest["config"], &["annotations"]);
    for (described, layer) in manifest["layers"].as_array_mut().into_iter().flatten().zip(&layers) {
        described["mediaType"] = layer.media_type.as_str().into();
        leave_out(described, &["annotations"]);
    }
    let manifest = Document::new(DOCKER_MANIFEST, canonical(&manifest)?);
    Ok(Image { platform: image.platform.clone(), manifest, config, layers })
}

fn layer(layer: &Layer) -> Result<Layer, FormatError> {
    let media_type = match layer.media_type.as_str() {
        GZIP => DOCKER_GZIP,
        found if found == TAR[0] => TAR[1],
        found if found.starts_with("application/vnd.docker.image.rootfs.") => found,
        found => {
            return Err(FormatError::Layer { title: layer.title.clone(), media_type: found.to_owned() });
        }
    };
    Ok(Layer { media_type: media_type.to_owned(), ..layer.clone() })
}

fn list(index: &Document, images: &[Image]) -> Result<Document, FormatError> {
    let mut list: Value = serde_json::from_slice(&index.bytes)?;
    leave_out(&mut list, &["annotations", "artifactType", "subject"]);
    list["mediaType"] = DOCKER_INDEX.into();
    for (described, image) in list["manifests"].as_array_mut().into_iter().flatten().zip(images) {
        described["mediaType"] = DOCKER_MANIFEST.into();
        described["digest"] = image.manifest.digest.to_string().into();
        described["size"] = image.manifest.bytes.len().into();
        leave_out(described, &["annotations", "artifactType"]);
    }
    Ok(Document::new(DOCKER_INDEX, canonical(&list)?))
}

fn leave_out(value: &mut Value, keys: &[&str]) {
    if let Some(object) = value.as_object_mut() {
        object.retain(|key, _| !keys.contains(&key.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{
        super::{Configuration, tests::layer},
        *,
    };

    fn artifact(layers: &[Layer], platforms: &[&str]) -> Artifact {
        let annotations = BTreeMap::from([("org.opencontainers.image.title".to_owned(), "app".to_owned())]);
        let settings = Configuration { annotations: annotations.clone(), ..Configuration::default() };
        let image = |platform: &&str| {
            Image::build(platform.parse().expect("a platform"), &settings, layers.to_vec()).expect("an image")
        };
        Artifact::new(platforms.iter().map(image).collect(), &annotations).expect("an artifact")
    }

    #[test]
    fn dockers_form_has_dockers_media_types_and_the_same_blobs() {
        let oci = artifact(&[layer("system"), layer("app")], &["linux/amd64", "linux/arm/v7"]);
        let docker = oci.in_docker_format().expect("gzip layers");
        let mut told = String::from_utf8_lossy(&docker.root().bytes).into_owned();
        for (before, image) in oci.images.iter().zip(&docker.images) {
            assert_eq!((before.config.digest, &before.config.bytes), (image.config.digest, &image.config.bytes));
            assert_ne!(before.manifest.digest, image.manifest.digest);
            told = format!("{told}\n{}", String::from_utf8_lossy(&image.manifest.bytes));
        }
        insta::assert_snapshot!(told);
        assert!(!told.contains("opencontainers") && !told.contains("vnd.oci"), "{told}");
        // It is a form, not a step: once more changes nothing.
        assert_eq!(docker.in_docker_format().expect("the same").root(), docker.root());
    }

    #[test]
    fn zstd_has_no_place_in_dockers_form() {
        let zstd = Layer { media_type: ZSTD.into(), ..layer("app") };
        let error = artifact(&[layer("system"), zstd], &["linux/amd64"]).in_docker_format().expect_err("zstd");
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().contains("`app`"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("--compression gzip")), "{error}");
    }

    #[test]
    fn forms_have_the_words_of_docker_and_skopeo() {
        for (word, format) in
            [("oci", Some(Format::Oci)), ("docker", Some(Format::Docker)), ("v2s2", Some(Format::Docker))]
        {
            assert_eq!(word.parse().ok(), format, "{word}");
        }
        assert!("v2s1".parse::<Format>().is_err());
        assert_eq!(Format::Docker.to_string(), "docker");
    }
}
