//! `-o docker-archive:FILE`: what `docker save` writes, for `docker load` and skopeo.
//!
//! As Docker 25 and newer write it, the tar is both: a Docker archive (`manifest.json`, Docker image specification
//! v1.2, "Combined Image JSON + Filesystem Changeset Format") for engines with a store of their own, and an OCI layout
//! for engines that keep images in containerd, where the image keeps its digest. Engines before 23 cannot read zstd: an
//! image with such layers gets them decompressed, and is a Docker archive only.

use std::{collections::BTreeSet, io::Write, path::Path};

use serde_json::json;

use super::{
    Report, SinkError,
    archive::{self, File, Files, blob_path, inflated_size},
    oci_archive::layout_files,
    tagged,
};
use crate::{
    image::{Artifact, Image},
    ui::Ui,
};

/// Writes `artifact` under `names` to the tar `file`, which is replaced.
///
/// # Errors
/// When the image is for several platforms (the format holds one), a layer cannot be read or is not what its digest
/// says, or the file cannot be written.
pub fn write(file: &Path, artifact: &Artifact, names: &[String], ui: &Ui) -> Result<Report, SinkError> {
    let [image] = &artifact.images[..] else {
        let platforms = artifact.images.iter().map(|image| image.platform.to_string()).collect();
        return Err(SinkError::ManyPlatforms { format: "a Docker archive", platforms });
    };
    archive::replace(file, |out| stream(out, file, image, names, ui))?;
    let mut reported: Vec<String> =
        tags(names).iter().map(|name| format!("docker-archive:{}:{name}", file.display())).collect();
    if reported.is_empty() {
        reported.push(format!("docker-archive:{}", file.display()));
    }
    Ok(Report { sent: super::blobs(artifact), names: reported })
}

/// Writes the Docker archive of `image` to `out`; `path` is for messages.
///
/// # Errors
/// When a layer cannot be read or is not what its digest says, or `out` fails.
pub(super) fn stream(out: impl Write, path: &Path, image: &Image, names: &[String], ui: &Ui) -> Result<(), SinkError> {
    let alone = Artifact { index: None, images: vec![image.clone()] };
    archive::write_tar(out, path, &files(&alone, names)?, ui)
}

/// The names that the engine gives the image: each once, each with a tag.
pub(super) fn tags(names: &[String]) -> BTreeSet<String> {
    names.iter().map(|name| tagged(name)).collect()
}

fn files<'a>(alone: &'a Artifact, names: &[String]) -> Result<Files<'a>, SinkError> {
    let image = &alone.images[0];
    let tags = tags(names);
    let plain = image.layers.iter().all(|layer| compression(&layer.media_type) == Some(Compression::Old));
    let mut files = if plain {
        layout_files(alone, &tags.iter().cloned().collect::<Vec<_>>())
    } else {
        // Only what the Docker archive needs: half an OCI layout is of no use.
        Files::from([(blob_path(&image.config.digest), File::Bytes(image.config.bytes.clone()))])
    };
    let mut layers = Vec::new();
    for layer in &image.layers {
        let (path, file) = match compression(&layer.media_type) {
            Some(Compression::Old) => (blob_path(&layer.digest), File::Blob(layer)),
            Some(Compression::Zstd) => {
                (format!("{}.tar", blob_path(&layer.diff_id)), File::Tar(layer, inflated_size(layer)?))
            }
            None => {
                let (title, media_type) = (layer.title.clone(), layer.media_type.clone());
                return Err(SinkError::MediaType { title, media_type });
            }
        };
        layers.push(path.clone());
        files.insert(path, file);
    }
    let manifest = json!([{ "Config": blob_path(&image.config.digest), "RepoTags": tags, "Layers": layers }]);
    files.insert("manifest.json".into(), File::Bytes(manifest.to_string().into_bytes()));
    Ok(files)
}

/// How a layer is compressed, as far as it matters to `docker load`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    /// Not, or by gzip: every engine reads it.
    Old,
    /// By zstd: engines from 23 on read it.
    Zstd,
}

fn compression(media_type: &str) -> Option<Compression> {
    let kind = media_type.rsplit(['.', '+']).next().unwrap_or(media_type);
    match kind {
        "tar" | "gzip" => Some(Compression::Old),
        "zstd" => Some(Compression::Zstd),
        _ => None,
    }
}
