//! The layers of an app: its files as they are, or what is made of them.

use std::{collections::BTreeMap, io, sync::Arc};

use super::{BuildError, DependenciesError, compile::Compiled, linked::Linked, step::Step, system::Folders};
use crate::{
    app_folder::AppFolder,
    fetch::Fetcher,
    image::Platform,
    layer::{Layer, LayerRecord, Remade, app::AppLayer, compress::Compression},
    lock::Packages,
    plan::Plan,
    project::AppFile,
    recipe::Hook,
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

/// What the app in an image is.
pub(super) enum Made<'a> {
    /// The project's files, and what their programs are linked with.
    Files(Linked),
    /// What is compiled of them.
    Compiled(Box<Compiled<'a>>),
}

impl<'a> Step<'a> {
    /// What the app is for `platform`: compiled, where the recipe says how.
    pub(super) fn made(&self, platform: &'a Platform, plan: &Plan) -> Result<Made<'a>, BuildError> {
        match &self.recipe.compile {
            Some(compile) => Ok(Made::Compiled(Box::new(self.compiled(compile, platform, plan)?))),
            None if self.recipe.app.hook == Some(Hook::Static) => Ok(Made::Files(self.linked(platform, plan)?)),
            None => Ok(Made::Files(Linked::default())),
        }
    }
}

impl Made<'_> {
    /// Adds what the app's programs are linked with to the `packages` of the image.
    pub(super) fn link(&self, packages: &mut Packages) {
        match self {
            Self::Files(linked) => linked.link(packages),
            Self::Compiled(compiled) => compiled.link(packages),
        }
    }

    /// The layer of libraries that no package has, when there are any.
    pub(super) fn libraries(&self, step: &Step<'_>, app: &App) -> Result<Option<MaybeCached>, BuildError> {
        match self {
            Self::Files(linked) => step.linked_layer(linked, app),
            Self::Compiled(_) => Ok(None),
        }
    }

    /// The app's own layers.
    pub(super) fn layers(self, step: &Step<'_>, app: &App) -> Result<Vec<MaybeCached>, BuildError> {
        let Step { request, project, fetcher, secrets, .. } = step;
        if let Self::Compiled(compiled) = self {
            return step.compiled_layers(*compiled, app);
        }
        let mut layers = Vec::new();
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
        Some(id) => Err(DependenciesError::from(SecretError::Leaked { id, place: layer.title.clone() }).into()),
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
