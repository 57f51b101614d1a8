//! `-o oci:DIR`: an OCI image layout of the user's.

use std::path::Path;

use super::{Report, SinkError};
use crate::{
    image::Artifact,
    layout::{Layout, Selector, Transfer},
    ui::Ui,
};

/// Adds `artifact` to the layout at `dir`, which is made where it is missing; other images in it stay.
///
/// # Errors
/// When `dir` holds something else, or a blob can be neither read nor written.
pub fn write(dir: &Path, artifact: &Artifact, names: &[String], ui: &Ui) -> Result<Report, SinkError> {
    let sent = Layout::create(dir)?.add(artifact, names, Transfer::Copy, ui)?;
    let place = format!("oci:{}", dir.display());
    let mut names: Vec<String> = names.iter().map(|name| format!("{place}:{name}")).collect();
    if names.is_empty() {
        names.push(place);
    }
    Ok(Report { sent, names })
}

/// The image `name` (or the only one) of the layout at `dir`; its layers are the layout's files.
///
/// # Errors
/// When there is no such image, or it cannot be read.
pub fn read(dir: &Path, name: Option<&str>) -> Result<Artifact, SinkError> {
    let layout = Layout::open(dir)?;
    let entry = layout.find(name.map_or(Selector::Only, Selector::Name))?;
    Ok(layout.read(&entry)?)
}
