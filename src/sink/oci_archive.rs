//! `-o oci-archive:FILE`: an OCI image layout in a tar, as skopeo and podman read it (`oci-archive:FILE`), and `docker
//! load` of engines that keep their images in containerd.

use std::path::Path;

use serde_json::Value;

use super::{
    Report, SinkError,
    archive::{self, File, Files, blob_path},
    full_name, has_tag,
};
use crate::{
    image::Artifact,
    layout::{MARKER, REF_NAME, descriptor, documents, index_json},
    ui::Ui,
};

/// The annotation in which containerd and Docker look for a name in full.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// Writes `artifact` under `names` to the tar `file`, which is replaced.
///
/// # Errors
/// When a layer cannot be read or is not what its digest says, or the file cannot be written.
pub fn write(file: &Path, artifact: &Artifact, names: &[String], ui: &Ui) -> Result<Report, SinkError> {
    let files = layout_files(artifact, names);
    archive::replace(file, |out| archive::write_tar(out, file, &files, ui))?;
    let place = format!("oci-archive:{}", file.display());
    let mut reported: Vec<String> = names.iter().map(|name| format!("{place}:{name}")).collect();
    if reported.is_empty() {
        reported.push(place);
    }
    Ok(Report { sent: super::blobs(artifact), names: reported })
}

/// The files of a layout that holds `artifact` alone.
pub(super) fn layout_files<'a>(artifact: &'a Artifact, names: &[String]) -> Files<'a> {
    let mut files = Files::new();
    files.insert("oci-layout".into(), File::Bytes(MARKER.to_vec()));
    files.insert("index.json".into(), File::Bytes(index_json(&entries(artifact, names))));
    for document in documents(artifact) {
        files.insert(blob_path(&document.digest), File::Bytes(document.bytes.clone()));
    }
    for layer in artifact.images.iter().flat_map(|image| &image.layers) {
        files.insert(blob_path(&layer.digest), File::Blob(layer));
    }
    files
}

fn entries(artifact: &Artifact, names: &[String]) -> Vec<Value> {
    let named = |name: &String| {
        let full = full_name(name);
        let mut annotations = vec![(REF_NAME, name.as_str())];
        // A bare word may be meant as a tag, as umoci has it: no name in full follows from it.
        if let Some(full) = full.as_deref().filter(|_| has_tag(name) || name.contains('/')) {
            annotations.push((CONTAINERD_NAME, full));
        }
        descriptor(artifact, &annotations)
    };
    if names.is_empty() { vec![descriptor(artifact, &[])] } else { names.iter().map(named).collect() }
}
