//! What the steps have in common that are made in the dev variant: installing dependencies ([`super::dependencies`]) and
//! compiling ([`super::compile`]).

use std::{collections::BTreeMap, fs, io, path::Path, sync::Arc};

use super::{
    BuildError, DependenciesError, MaybeCached,
    caches::{self, Caches, Owner},
    dev::{DevJob, DevVariant},
};
use crate::{
    app_folder::AppFolder,
    digest::Hashing,
    fetch::Fetcher,
    image::Platform,
    layer::{Layer, LayerRecord},
    project::{AppFile, FileKind, Project},
    recipe::Recipe,
    request::Request,
    sandbox::{Mount, Output, Runtime},
    secret::{Needles, Secret, SecretError, Secrets, StepName, Watch},
    ui::{self, Ui},
};

/// What is done for one project in its dev variant.
pub(super) struct Step<'a> {
    pub(super) request: &'a Request,
    pub(super) recipe: &'a Recipe,
    pub(super) project: &'a Project,
    pub(super) secrets: &'a Secrets,
    pub(super) fetcher: &'a Fetcher,
    pub(super) ui: &'a Ui,
}

/// A command in the dev variant, for the image of one platform.
pub(super) struct Errand<'a> {
    /// Which of the recipe's steps it is.
    pub(super) name: StepName,
    /// What it is for, as people are told.
    pub(super) purpose: &'static str,
    pub(super) platform: &'a Platform,
    pub(super) words: &'a [String],
    /// The project's files that it sees.
    pub(super) files: &'a [AppFile],
    /// Variables besides those of every command.
    pub(super) env: BTreeMap<String, String>,
    /// What is mounted besides.
    pub(super) mounts: Vec<Mount>,
}

impl Step<'_> {
    /// Runs the command in `work`, an empty folder, into which the files are copied; its exit status, and what it said, which
    /// has yet to be shown when it failed. `note` hears each line of it.
    pub(super) fn run_errand(
        &self,
        errand: Errand<'_>,
        variant: &DevVariant,
        work: &Path,
        note: &mut dyn FnMut(&str),
    ) -> Result<(u8, ui::Step), BuildError> {
        let runtime = Runtime::find(self.request.step.runtime.as_deref()).map_err(DependenciesError::from)?;
        copy(&self.project.folder()?, errand.files, work)?;
        let root = variant.unpack(self.fetcher.store(), self.ui).map_err(DependenciesError::from)?;
        let caches = Caches::new(self.recipe, &self.owner(), self.fetcher.store())?;
        let job = DevJob {
            args: errand.words.to_vec(),
            folder: work.to_owned(),
            env: errand.env,
            mounts: errand.mounts,
            name: errand.name,
            secrets: self.given(errand.name),
            step: &self.request.step,
        };
        let sandbox = variant.sandbox(self.recipe, &root, &caches, job)?;
        let line = shown(errand.words);
        let mut step = self.ui.step(&format!("{} for {}: {line}", errand.purpose, errand.platform));
        let mut show = |line: &str| {
            let line = self.secrets.needles.redact(line);
            note(&line);
            step.line(&line);
        };
        let status = sandbox.run(&runtime, Output::Lines(&mut show)).map_err(DependenciesError::from)?;
        if let Some(signal) = status.interrupted().filter(|_| !status.success()) {
            return Err(DependenciesError::Interrupted { command: line, signal }.into());
        }
        Ok((if status.success() { 0 } else { status.code() }, step))
    }

    /// Whose caches its commands use.
    fn owner(&self) -> Owner {
        Owner::of(&self.request.step, self.project)
    }

    /// What the step `name` may know.
    fn given(&self, name: StepName) -> Vec<Secret> {
        self.secrets.of(name, self.recipe)
    }

    /// All that the result of the step `name` depends on besides the command: the files that it sees, whose caches and, of secrets, only
    /// their names, so that nothing remembered says anything of them.
    pub(super) fn inputs(&self, name: StepName, files: &[AppFile]) -> Result<String, BuildError> {
        let mut text = caches::influence(self.recipe, &self.owner());
        let root = self.project.folder()?;
        for file in files {
            let digest = match &file.kind {
                FileKind::File { .. } => {
                    let mut content = Hashing::new(file.open(&root)?);
                    io::copy(&mut content, &mut io::sink()).map_err(DependenciesError::Io)?;
                    content.finish().0.to_string()
                }
                FileKind::Link { target } => target.clone(),
                FileKind::Folder => String::new(),
            };
            text += &format!("{:?} {:o} {digest}\n", file.path, file.kind.mode());
        }
        let ids: Vec<_> = self.given(name).into_iter().map(|secret| secret.id).collect();
        Ok(text + &ids.join(" "))
    }

    /// The layer whose bytes lie in the store.
    pub(super) fn stored(&self, record: LayerRecord) -> Layer {
        let path = self.fetcher.store().blobs().path(&record.digest);
        record.with(Arc::new(path))
    }

    /// The same of a layer that was made by an earlier build, which may have been given other secrets.
    pub(super) fn recalled(&self, record: LayerRecord) -> Result<MaybeCached, BuildError> {
        let layer = self.stored(record);
        check_layer(&layer, &self.secrets.needles)?;
        Ok((layer, true))
    }
}

/// A command as people are shown it: of a script that it holds, only that there is one.
pub(super) fn shown(words: &[String]) -> String {
    let word = |word: &String| if word.contains('\n') { "…".to_owned() } else { word.clone() };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Copies `files` of the folder `from` into the folder `to`.
fn copy(from: &AppFolder, files: &[AppFile], to: &Path) -> Result<(), BuildError> {
    for file in files {
        let target = to.join(&file.path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(DependenciesError::Io)?;
        }
        let copied = match &file.kind {
            FileKind::Folder => fs::create_dir_all(&target),
            FileKind::Link { target: link } => symlink(link, &target),
            FileKind::File { .. } => {
                let mut content = file.open(from)?;
                fs::File::create(&target).and_then(|mut out| io::copy(&mut content, &mut out)).map(drop)
            }
        };
        copied.and_then(|()| mode(&target, &file.kind)).map_err(DependenciesError::Io)?;
    }
    Ok(())
}

#[cfg(unix)]
fn symlink(target: &str, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(unix)]
fn mode(path: &Path, kind: &FileKind) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    match kind {
        FileKind::Link { .. } => Ok(()),
        kind => fs::set_permissions(path, fs::Permissions::from_mode(kind.mode())),
    }
}

/// Looks for secrets in a layer that was made before they were given.
fn check_layer(layer: &Layer, needles: &Needles) -> Result<(), BuildError> {
    if needles.is_empty() {
        return Ok(());
    }
    let mut watch = Watch::new(needles);
    let read = layer.uncompressed().and_then(|mut tar| io::copy(&mut tar, &mut watch));
    match (watch.found, read) {
        (Some(id), _) => Err(DependenciesError::from(SecretError::Leaked { id, place: layer.title.clone() }).into()),
        (None, Err(e)) => Err(DependenciesError::Io(e).into()),
        (None, Ok(_)) => Ok(()),
    }
}
