//! The layers of an app: its own files, and results of steps.

use std::{collections::BTreeMap, io, sync::Arc};

use super::{BuildError, StepError, steps::Steps, system::Folders};
use crate::{
    app_folder::AppFolder,
    fetch::Fetcher,
    layer::{
        Layer, LayerRecord, Remade,
        app::{AppLayer, Owned, Times},
        archive::Meta,
        compress::Compression,
    },
    project::{AppFile, Project, ProjectError},
    secret::{SecretError, Secrets},
    store::{Bucket, Key, Memo, Workspace},
    values::FIXED,
};

/// The place of the app's files in an image, which their layers have in common.
#[derive(Clone)]
pub(super) struct App {
    /// Their folder, below the root.
    pub(super) workdir: String,
    /// The folders above it, as in the system layers.
    pub(super) parents: Folders,
    /// Links to folders in the system layers, with their targets.
    pub(super) links: BTreeMap<String, String>,
    /// The times of the app's own files, and of what is built from them.
    pub(super) times: Times,
    /// The times of installed dependencies.
    pub(super) dependencies: Times,
    /// What belongs to the app's user.
    pub(super) owned: Owned,
}

impl App {
    /// The place for results that are kept for later steps: an empty root.
    pub(super) fn nowhere() -> Self {
        let times = Times::At(FIXED);
        Self {
            workdir: String::new(),
            parents: Vec::new(),
            links: BTreeMap::new(),
            times,
            dependencies: times,
            owned: Owned::default(),
        }
    }

    /// The same place for results of a step that installs dependencies.
    pub(super) fn of_dependencies(&self) -> Self {
        Self { times: self.dependencies, ..self.clone() }
    }

    /// Everything about the place that a layer depends on.
    pub(super) fn key(&self) -> Key {
        let owner = |meta: &Meta| format!("{:o} {} {}", meta.mode, meta.uid, meta.gid);
        let times = match self.times {
            Times::At(seconds) => seconds.to_string(),
            Times::Content => "content".to_owned(),
        };
        let Owned { paths, uid, gid } = &self.owned;
        let parents = self.parents.iter().map(|(path, meta)| (path, owner(meta)));
        Key::new()
            .text("work folder", &self.workdir)
            .pairs("parents", parents)
            .pairs("links", &self.links)
            .text("times", times)
            .list("owned", paths)
            .text("owner", format!("{uid}:{gid}"))
    }

    /// Makes the layer of `files`, which are in the folder `root`.
    pub(super) fn layer(&self, title: &str, root: &AppFolder, files: Vec<AppFile>) -> AppLayer {
        AppLayer {
            title: title.to_owned(),
            root: root.clone(),
            files: Arc::new(files),
            workdir: self.workdir.clone(),
            parents: self.parents.clone(),
            links: self.links.clone(),
            times: self.times,
            owned: self.owned.clone(),
        }
    }
}

impl Steps<'_> {
    /// Makes the layer of the files that a compiled app opens when it runs.
    pub(super) fn data_layer(&self, app: &App) -> Result<Option<MaybeCached>, BuildError> {
        let Steps { request, project, fetcher, secrets, .. } = self;
        if project.data.is_empty() {
            return Ok(None);
        }
        let layer = app.layer("data", &project.data_folder()?, project.data.clone());
        check_secrets(&layer, secrets)?;
        app_layer(&layer, request.compression, fetcher).map(Some)
    }

    /// Makes the layers of the app's own files, unless the image has only results of steps.
    pub(super) fn own_layers(&self, app: &App) -> Result<Vec<MaybeCached>, BuildError> {
        let Steps { request, project, fetcher, secrets, .. } = self;
        let mut layers = Vec::new();
        if self.recipe.app.is_made {
            return Ok(layers);
        }
        let root = project.folder()?;
        for (title, files) in [("dependencies", &project.dependencies), ("app", &project.files)] {
            if title == "app" || !files.is_empty() {
                let place = if title == "app" { app } else { &app.of_dependencies() };
                let layer = place.layer(title, &root, files.clone());
                check_secrets(&layer, secrets)?;
                layers.push(app_layer(&layer, request.compression, fetcher)?);
            }
        }
        layers.extend(self.generated_layer(app)?);
        Ok(layers)
    }

    /// Makes the layer of the files that the language has made for the image, when there are any.
    fn generated_layer(&self, app: &App) -> Result<Option<MaybeCached>, BuildError> {
        let generated = &self.project.generated;
        if generated.is_empty() {
            return Ok(None);
        }
        let folder = Workspace::new(self.fetcher.store())?;
        for file in generated {
            file.write(folder.path()).map_err(|source| StepError::Io { step: CONFIGURATION.to_owned(), source })?;
        }
        let files = Project::made(folder.path(), &[])?;
        let root = AppFolder::open(folder.path()).map_err(ProjectError::from)?;
        let record =
            app.layer(CONFIGURATION, &root, files).write(self.fetcher.store().blobs(), self.request.compression)?;
        Ok(Some((self.stored(record), false)))
    }
}

/// The title of the layer of files that a language makes for the image.
const CONFIGURATION: &str = "configuration";

/// A layer, and whether it was remembered.
pub(super) type MaybeCached = (Layer, bool);

/// Refuses a layer that contains a secret, before it is written.
pub(super) fn check_secrets(layer: &AppLayer, secrets: &Secrets) -> Result<(), BuildError> {
    if secrets.needles.is_empty() {
        return Ok(());
    }
    match layer.leak(&secrets.needles)? {
        Some(id) => Err(StepError::from(SecretError::Leaked { id, place: layer.title.clone() }).into()),
        None => Ok(()),
    }
}

/// Makes the layer of an app's files. It is remembered under the digest of its tar, so that unchanged files are read
/// but not compressed again.
fn app_layer(layer: &AppLayer, compression: Compression, fetcher: &Fetcher) -> Result<MaybeCached, BuildError> {
    let store = fetcher.store();
    let diff_id = layer.diff_id()?;
    let key = Key::new().text("diff_id", diff_id).text("title", &layer.title).text("compression", compression.id());
    // A file that changed while it was read makes another layer than the one of the key.
    let is_same = |record: &LayerRecord| record.diff_id == diff_id;
    let write = || layer.write(store.blobs(), compression);
    let Memo { value: record, cached } = store.memo(Bucket::Apps, &key, is_same, write)?;
    let path = store.blobs().path(&record.digest);
    let (layer, blobs) = (layer.clone(), store.blobs().clone());
    let make = move || layer.write(&blobs, compression).map(drop).map_err(io::Error::other);
    Ok((record.with(Arc::new(Remade::new(path, make))), cached))
}
