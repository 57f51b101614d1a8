//! The layers of an app: its files as they are, or what is made of them.

use std::{collections::BTreeMap, io, sync::Arc};

use super::{BuildError, StepError, steps::Steps, system::Folders};
use crate::{
    app_folder::AppFolder,
    fetch::Fetcher,
    layer::{Layer, LayerRecord, Remade, app::AppLayer, archive::Meta, compress::Compression},
    project::AppFile,
    secret::{SecretError, Secrets},
    store::{Bucket, Key, Memo},
};

/// Where the app's files lie in an image: all that their layers have in common.
pub(super) struct App {
    /// The folder that they lie in, below the root.
    pub(super) workdir: String,
    /// The folders down to it, as the system layers have them.
    pub(super) parents: Folders,
    /// Links to folders that the system layers have, and where they lead.
    pub(super) links: BTreeMap<String, String>,
    /// Time of every member.
    pub(super) epoch: u64,
}

impl App {
    /// At the root of nothing: how results of steps are kept for later steps.
    pub(super) fn nowhere() -> Self {
        Self { workdir: String::new(), parents: Vec::new(), links: BTreeMap::new(), epoch: 0 }
    }

    /// All that a layer depends on because of where the app lies.
    pub(super) fn key(&self) -> Key {
        let owner = |meta: &Meta| format!("{:o} {} {}", meta.mode, meta.uid, meta.gid);
        let parents = self.parents.iter().map(|(path, meta)| (path, owner(meta)));
        Key::new()
            .text("work folder", &self.workdir)
            .pairs("parents", parents)
            .pairs("links", &self.links)
            .text("epoch", self.epoch)
    }

    /// The layer of `files`, which lie in the folder `root`.
    pub(super) fn layer(&self, title: &str, root: &AppFolder, files: Vec<AppFile>) -> AppLayer {
        AppLayer {
            title: title.to_owned(),
            root: root.clone(),
            files: Arc::new(files),
            workdir: self.workdir.clone(),
            parents: self.parents.clone(),
            links: self.links.clone(),
            epoch: self.epoch,
        }
    }
}

impl Steps<'_> {
    /// The layers of the app's own files, unless the image holds what steps make of them instead.
    pub(super) fn own_layers(&self, app: &App) -> Result<Vec<MaybeCached>, BuildError> {
        let Steps { request, project, fetcher, secrets, .. } = self;
        let mut layers = Vec::new();
        if self.recipe.app.is_made {
            return Ok(layers);
        }
        let root = project.folder()?;
        for (title, files) in [("dependencies", &project.dependencies), ("app", &project.files)] {
            if title == "app" || !files.is_empty() {
                let layer = app.layer(title, &root, files.clone());
                check_secrets(&layer, secrets)?;
                layers.push(app_layer(&layer, request.compression, fetcher)?);
            }
        }
        Ok(layers)
    }
}

/// A layer, and whether it was remembered.
pub(super) type MaybeCached = (Layer, bool);

/// Refuses a layer with a secret's bytes in it, before anything of it is written.
pub(super) fn check_secrets(layer: &AppLayer, secrets: &Secrets) -> Result<(), BuildError> {
    if secrets.needles.is_empty() {
        return Ok(());
    }
    match layer.leak(&secrets.needles)? {
        Some(id) => Err(StepError::from(SecretError::Leaked { id, place: layer.title.clone() }).into()),
        None => Ok(()),
    }
}

/// The layer of an app's files: remembered under the digest of its tar, which costs reading them but not compressing them.
fn app_layer(layer: &AppLayer, compression: Compression, fetcher: &Fetcher) -> Result<MaybeCached, BuildError> {
    let store = fetcher.store();
    let diff_id = layer.diff_id()?;
    let key = Key::new().text("diff_id", diff_id).text("title", &layer.title).text("compression", compression.id());
    // A file that was changed while it was read makes another layer than the one that the key names.
    let is_same = |record: &LayerRecord| record.diff_id == diff_id;
    let write = || layer.write(store.blobs(), compression);
    let Memo { value: record, cached } = store.memo(Bucket::Apps, &key, is_same, write)?;
    let path = store.blobs().path(&record.digest);
    let (layer, blobs) = (layer.clone(), store.blobs().clone());
    let make = move || layer.write(&blobs, compression).map(drop).map_err(io::Error::other);
    Ok((record.with(Arc::new(Remade::new(path, make))), cached))
}
