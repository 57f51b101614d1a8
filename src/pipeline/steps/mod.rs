//! The steps of a build: commands that run in the dev variant, each in a temporary folder with copies of the files that
//! it sees. Their results become layers.
//!
//! A step has two results, and the image needs them at different times. First come the *libraries*: which files of the dev
//! variant's packages its programs are linked with. They belong to the root filesystem, so that they are known before it is
//! made. Then come the *layers*, which depend on where the app lies in that root filesystem.
//!
//! Both are remembered under the digest of all inputs: the dev variant, the command with its variables, the files and
//! earlier results that it sees, the caches, the names of secrets.

mod error;
mod libraries;
mod run;

use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeSet,
    rc::Rc,
};

use serde::{Deserialize, Serialize};

pub use error::StepError;

use super::{App, BuildError, MaybeCached, caches, caches::Owner, check_secrets, dev::DevVariant};
use crate::{
    app_folder::AppFolder,
    fetch::Fetcher,
    image::Platform,
    layer::{Layer, LayerRecord, compress::Compression},
    lock::{Lock, Needs, Packages},
    plan::{Plan, host_platform},
    project::{AppFile, Project, ProjectError, ProjectStep},
    recipe::{Conditions, Invocation, Keep, Recipe, Step},
    request::Request,
    secret::Secrets,
    store::{Bucket, Key, KeyLock, Workspace},
    ui::Ui,
};

/// The inputs of a project's steps.
pub(super) struct Steps<'a> {
    pub(super) request: &'a Request,
    pub(super) recipe: &'a Recipe,
    pub(super) project: &'a Project,
    pub(super) secrets: &'a Secrets,
    pub(super) fetcher: &'a Fetcher,
    pub(super) ui: &'a Ui,
    /// The dev variant, and the one with the recipe's compilers, each once it is known.
    variants: [OnceCell<Rc<DevVariant>>; 2],
    /// Warnings that were shown: what holds for several platforms is said once.
    warned: RefCell<BTreeSet<String>>,
}

/// The result of a step for one platform, new or remembered.
pub(super) struct Output<'a> {
    job: Job<'a>,
    /// The digest of everything that it depends on.
    key: Key,
    variant: Rc<DevVariant>,
    /// The parts of earlier results that it sees.
    sees: Vec<LayerRecord>,
    result: StepResult,
    /// The result on disk, when the step has just run.
    made: Option<Made>,
    /// A lock: of two builds that need the same result, one makes it and the other waits.
    _only: KeyLock,
}

/// A step for a platform.
pub(super) struct Job<'a> {
    step: &'a Step,
    of_project: &'a ProjectStep,
    platform: &'a Platform,
    invocation: Invocation,
}

/// The remembered parts of a step's result.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct StepResult {
    /// The packages of the dev variant from which it has libraries or other parts.
    pub(super) needs: Needs,
    /// The kept files, for later steps that see them.
    pub(super) seen: Vec<LayerRecord>,
    /// Whether it was made with the recipe's compilers: then the packages are those of that dev variant.
    pub(super) compiled: bool,
}

/// A result on disk.
struct Made {
    /// The folder that the command was run in.
    work: Workspace,
    /// [`OUT`](crate::recipe::OUT), when the command has a result there.
    out: Option<Workspace>,
    /// The kept files, for each entry of [`Step::keep`].
    kept: Vec<Vec<AppFile>>,
    /// Whether it was made with the recipe's compilers, after the command failed for the lack of one.
    compiled: bool,
}

impl Made {
    /// The folder of this entry's files.
    fn folder(&self, keep: &Keep) -> Result<AppFolder, ProjectError> {
        let out = self.out.as_ref().filter(|_| keep.place.is_out());
        Ok(AppFolder::open(out.unwrap_or(&self.work).path())?)
    }

    fn is_empty(&self) -> bool {
        self.kept.iter().all(Vec::is_empty)
    }
}

impl<'a> Steps<'a> {
    pub(super) fn new(
        request: &'a Request,
        recipe: &'a Recipe,
        project: &'a Project,
        secrets: &'a Secrets,
        fetcher: &'a Fetcher,
        ui: &'a Ui,
    ) -> Self {
        Self {
            request,
            recipe,
            project,
            secrets,
            fetcher,
            ui,
            variants: Default::default(),
            warned: RefCell::default(),
        }
    }

    /// Shows a warning, unless it was shown before.
    pub(super) fn warn(&self, warning: String) {
        if !self.warned.borrow().contains(&warning) {
            self.ui.warn(&warning);
            self.warned.borrow_mut().insert(warning);
        }
    }

    /// Checks that every step can run for each of `platforms`. Fetches nothing.
    pub(super) fn check(&self, platforms: &[Platform]) -> Result<(), BuildError> {
        platforms.iter().try_for_each(|platform| self.jobs(platform).map(drop))
    }

    /// The dev variant for the project's steps.
    pub(super) fn variant(&self) -> Result<Rc<DevVariant>, BuildError> {
        self.known(0, || DevVariant::new(self.request, self.recipe, self.project, self.fetcher))
    }

    /// The dev variant with the recipe's compilers.
    fn variant_with_compilers(&self) -> Result<Rc<DevVariant>, BuildError> {
        self.known(1, || DevVariant::with_compilers(self.request, self.recipe, self.project, self.fetcher))
    }

    /// The dev variant in which `result` was made.
    pub(super) fn variant_of(&self, result: &StepResult) -> Result<Rc<DevVariant>, BuildError> {
        if result.compiled { self.variant_with_compilers() } else { self.variant() }
    }

    fn known(
        &self,
        at: usize,
        make: impl FnOnce() -> Result<DevVariant, BuildError>,
    ) -> Result<Rc<DevVariant>, BuildError> {
        if let Some(variant) = self.variants[at].get() {
            return Ok(Rc::clone(variant));
        }
        let variant = Rc::new(make()?);
        Ok(Rc::clone(self.variants[at].get_or_init(|| variant)))
    }

    /// The owner of the caches of the project's steps.
    fn owner(&self) -> Owner {
        Owner::of(&self.request.step, self.project)
    }

    /// Whether the store has the bytes of all these layers.
    fn has_all(&self, records: &[LayerRecord]) -> bool {
        let blobs = self.fetcher.store().blobs();
        records.iter().all(|record| blobs.contains(&record.digest, record.size))
    }

    /// The jobs for `platform`, in order.
    pub(super) fn jobs(&self, platform: &'a Platform) -> Result<Vec<Job<'a>>, BuildError> {
        let steps = self.project.steps.iter().filter_map(|own| Some((own, self.recipe.steps.get(own.at)?)));
        steps.map(|(own, step)| self.job(step, own, platform)).collect()
    }

    fn job(&self, step: &'a Step, of_project: &'a ProjectStep, platform: &'a Platform) -> Result<Job<'a>, BuildError> {
        let conditions = Conditions {
            locked: of_project.lock.is_some(),
            offline: self.request.step.offline,
            ignore_scripts: self.request.step.ignore_scripts,
            foreign: is_foreign(platform).then(|| (platform, self.request.base.libc())),
            foreign_command: &self.recipe.packages(&self.request.base.dev())?.foreign_command,
        };
        let invocation = step.invocation(conditions, &|name| self.request.host.variable(name));
        let invocation = invocation.ok_or_else(|| StepError::ForeignProcessor {
            step: step.name.clone(),
            recipe: self.recipe.name.clone(),
            platform: platform.to_string(),
            host: host_platform().to_string(),
        })?;
        let Invocation { words, mut env } = invocation;
        env.extend(of_project.env.clone());
        // What is installed is the same, however the app is built.
        if !step.installs || step.builds {
            env.extend(self.project.build_env.clone());
            env.extend(self.request.build.env.clone());
        }
        Ok(Job { step, of_project, platform, invocation: Invocation { words, env } })
    }

    /// What `job` needs of packages for the image that `plan` and `lock` describe, when an earlier build has found that out. Runs
    /// nothing.
    pub(super) fn remembered(
        &self,
        job: &Job<'a>,
        plan: &Plan,
        lock: &Lock,
        earlier: &[(String, Vec<LayerRecord>)],
    ) -> Result<Option<StepResult>, BuildError> {
        if !job.step.after.iter().all(|name| earlier.iter().any(|(known, _)| known == name)) {
            return Ok(None);
        }
        let sees = job.sees(earlier.iter().map(|(name, seen)| (&**name, &**seen)));
        let key = self.key(job, &*self.variant()?, plan, lock, &sees)?;
        Ok(self.fetcher.store().recall(Bucket::Steps, &key))
    }

    /// Returns the result of `job`, for the image that `plan` and `lock` describe, after `earlier` results: remembered,
    /// or made now.
    pub(super) fn run(
        &self,
        job: Job<'a>,
        plan: &Plan,
        lock: &Lock,
        earlier: &[Output<'a>],
    ) -> Result<Output<'a>, BuildError> {
        let store = self.fetcher.store();
        let variant = self.variant()?;
        let sees = job.sees(earlier.iter().map(|output| (output.name(), &*output.result.seen)));
        let key = self.key(&job, &variant, plan, lock, &sees)?;
        let only = store.lock_key(Bucket::Steps, &key)?;
        let mut output =
            Output { job, key: key.clone(), variant, sees, result: StepResult::default(), made: None, _only: only };
        let remembered = store.recall(Bucket::Steps, &key);
        if let Some(result) = remembered.filter(|result: &StepResult| self.has_all(&result.seen)) {
            return Ok(Output { variant: self.variant_of(&result)?, result, ..output });
        }
        let made = self.make(&output)?;
        output.result.compiled = made.compiled;
        output.variant = self.variant_of(&output.result)?;
        output.result.needs = self.libraries(&output, &made, plan, lock)?;
        for name in shipped(output.job.step, &output.variant.lock.packages, &made.kept) {
            output.result.needs.entry(name).or_default();
        }
        if self.is_seen(output.job.step) {
            output.result.seen = self.records(&output.job, &made, &App::nowhere(), Compression::Gzip(1), true)?;
        }
        store.remember(Bucket::Steps, &key, &output.result)?;
        Ok(Output { made: Some(made), ..output })
    }

    /// Whether a later step of the project sees what `step` keeps.
    fn is_seen(&self, step: &Step) -> bool {
        let mut steps = self.project.steps.iter().filter_map(|own| self.recipe.steps.get(own.at));
        steps.any(|later| later.after.contains(&step.name))
    }

    /// The digest of everything that the result of `job` depends on. Secrets count by name only, so that no digest
    /// depends on their values.
    fn key(
        &self,
        job: &Job<'a>,
        variant: &DevVariant,
        plan: &Plan,
        lock: &Lock,
        sees: &[LayerRecord],
    ) -> Result<Key, BuildError> {
        let Job { step, of_project, platform, invocation } = job;
        let compilers = &self.recipe.packages(&self.request.base.dev())?.compile;
        let secrets = self.secrets.of(&step.name, self.recipe);
        // Of a result for another processor, the libraries are looked for among the image's own packages.
        let image = is_foreign(platform).then(|| lock.key().digest());
        let is_layer = |keep: &Keep| if keep.layer.is_some() { "layer" } else { "for later steps" };
        Ok(Key::new()
            .nested("dev variant", &variant.key())
            .list("compilers", compilers)
            .list("command", &invocation.words)
            .pairs("env", &invocation.env)
            .text("programs", self.recipe.files_digest())
            .text("platform", platform)
            .option("image", image)
            .pairs("keep", step.keep.iter().map(|keep| (&keep.place, is_layer(keep))))
            .text("seen by later steps", self.is_seen(step))
            .list("strip", step.strip.iter().chain(&self.request.exclude))
            .list("plugins", &step.plugins)
            .pairs("ships", step.ships.iter().map(|(name, path)| (name, path)))
            .text("work folder", &plan.configuration.workdir)
            .list("library path", plan.library_path())
            .option("caches", caches::influence(self.recipe, &self.owner()))
            .list("earlier results", sees.iter().map(|record| record.diff_id))
            .nested_list("files", self.inputs(of_project)?)
            .list("secrets", secrets.iter().map(|secret| &secret.id))
            .pairs("variables of secrets", &step.secret))
    }

    /// Returns the layers of a result, and whether they were remembered.
    pub(super) fn layers(&self, mut output: Output<'a>, app: &App) -> Result<Vec<MaybeCached>, BuildError> {
        // A result that only later steps see has no layer, and need not be on disk.
        if output.job.step.keep.iter().all(|keep| keep.layer.is_none()) {
            return Ok(Vec::new());
        }
        let app = &if output.job.step.installs { app.of_dependencies() } else { app.clone() };
        let store = self.fetcher.store();
        let compression = self.request.compression;
        let titles = output.job.step.keep.iter().map(|keep| Key::new().option("title", keep.layer.as_ref()));
        let key = Key::new().nested("result", &output.key).nested_list("layers", titles);
        let key = key.nested("app", &app.key()).text("compression", compression.id());
        let recalled: Option<Vec<LayerRecord>> = store.recall(Bucket::StepLayers, &key);
        if let (Some(records), None) = (recalled.filter(|records| self.has_all(records)), &output.made) {
            return records.into_iter().map(|record| self.recalled(record)).collect();
        }
        let made = match output.made.take() {
            Some(made) => made,
            None => self.make(&output)?,
        };
        let records = self.records(&output.job, &made, app, compression, false)?;
        store.remember(Bucket::StepLayers, &key, &records)?;
        Ok(records.into_iter().map(|record| (self.stored(record), false)).collect())
    }

    /// Makes the layers of the files that `made` keeps for the image; with `all`, also those for later steps only.
    fn records(
        &self,
        job: &Job<'_>,
        made: &Made,
        app: &App,
        compression: Compression,
        all: bool,
    ) -> Result<Vec<LayerRecord>, BuildError> {
        let mut records = Vec::new();
        for (keep, files) in job.step.keep.iter().zip(&made.kept).filter(|(_, files)| !files.is_empty()) {
            let Some(title) = keep.layer.as_deref().or(all.then_some(&*job.step.name)) else { continue };
            let layer = app.layer(title, &made.folder(keep)?, files.clone());
            check_secrets(&layer, self.secrets)?;
            records.push(layer.write(self.fetcher.store().blobs(), compression)?);
        }
        Ok(records)
    }

    /// The layer whose bytes are in the store.
    pub(super) fn stored(&self, record: LayerRecord) -> Layer {
        let path = self.fetcher.store().blobs().path(&record.digest);
        record.with(std::sync::Arc::new(path))
    }
}

/// The names of the dev variant's `packages` that `kept` holds parts of, according to the recipe's `ships`.
fn shipped(step: &Step, packages: &Packages, kept: &[Vec<AppFile>]) -> Vec<String> {
    let is_there = |path: &crate::glob::Pattern| kept.iter().flatten().any(|file| path.matches(&file.path));
    let names: Vec<_> = step.ships.iter().filter(|(_, path)| is_there(path)).map(|(name, _)| name).collect();
    let rows = packages.rows();
    let rows = rows.iter().filter(|row| names.iter().any(|name| name.matches(row.name)));
    rows.map(|row| row.name.to_owned()).collect()
}

/// Whether `platform` is another than this machine's.
fn is_foreign(platform: &Platform) -> bool {
    *platform != host_platform()
}

impl Job<'_> {
    /// The parts of `earlier` results, each with the name of its step, that it sees.
    fn sees<'o>(&self, earlier: impl Iterator<Item = (&'o str, &'o [LayerRecord])>) -> Vec<LayerRecord> {
        let after = |name: &str| self.step.after.iter().any(|known| known == name);
        earlier.filter(|(name, _)| after(name)).flat_map(|(_, seen)| seen.to_vec()).collect()
    }

    /// The name of its step.
    pub(super) fn name(&self) -> &str {
        &self.step.name
    }
}

impl Output<'_> {
    /// The name of its step.
    pub(super) fn name(&self) -> &str {
        &self.job.step.name
    }

    /// Adds to the `packages` of the image those that its programs are linked with.
    pub(super) fn link(&self, packages: &mut Packages) {
        packages.add(&self.variant.lock.packages, &self.result.needs);
    }
}
