//! The step that makes an app of its source: in the dev variant, in a throw-away copy of the app's folder, remembered under
//! everything that it depends on. What it leaves in a folder of its own is the app; the source is not in the image.
//!
//! What was made may be linked with libraries of the dev variant's packages. They are found first, and become part of the root
//! filesystem; then what was made becomes layers.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    App, BuildError, DependenciesError, LinkError, MaybeCached, check_secrets,
    dev::DevVariant,
    programs,
    step::{Errand, Step, shown},
};
use crate::{
    app_folder::AppFolder,
    digest::Digest,
    glob::{Pattern, PatternSet},
    image::Platform,
    lang::Diagnosis,
    layer::LayerRecord,
    lock::{Needs, Packages},
    plan::{Plan, host_platform},
    project::{AppFile, Project, ProjectError},
    recipe::{Compile, OUT},
    sandbox::Mount,
    secret::StepName,
    store::{Lock, Workspace},
};

/// The bucket of what was compiled: what it needs. Its version is that of how the step is run and what of it is kept.
const COMPILED: &str = "compiled-v4";
/// The bucket of layers that were made of it.
const LAYERS: &str = "compiled-layers-v1";

/// What was compiled, now or by an earlier build.
pub(super) struct Compiled<'a> {
    compile: &'a Compile,
    platform: &'a Platform,
    variant: DevVariant,
    /// Names all that it depends on.
    key: Digest,
    env: BTreeMap<String, String>,
    needs: Needs,
    /// Where it is, and what of that is the app, when it was made now.
    out: Option<(Workspace, Vec<AppFile>)>,
    /// Of two builds that want the same, one works and the other waits for it.
    _only: Lock,
}

/// What is remembered of it.
#[derive(Serialize, Deserialize)]
struct Remembered {
    needs: Needs,
}

impl<'a> Step<'a> {
    /// What `compile` makes for `platform`.
    pub(super) fn compiled(
        &self,
        compile: &'a Compile,
        platform: &'a Platform,
        plan: &Plan,
    ) -> Result<Compiled<'a>, BuildError> {
        let variant = DevVariant::new(self.request, self.recipe, self.project, self.fetcher)?;
        let (env, words) = (self.environment(compile, platform)?, compile.words());
        let mut text = format!("{}\n{words:?}\n{env:?}\n{:?}\n{platform}\n", variant.digest(), compile.strip);
        text += &format!("{} {} {:?}\n", plan.configuration.workdir, compile.libraries, plan.library_path());
        text += &format!("{:?}\n", compile.ships);
        text += &self.inputs(StepName::Compile, &self.project.files)?;
        let (key, store) = (Digest::of(text), self.fetcher.store());
        let only = store.lock_key(COMPILED, &key)?;
        let mut compiled =
            Compiled { compile, platform, variant, key, env, needs: Needs::new(), out: None, _only: only };
        if let Some(Remembered { needs }) = store.recall(COMPILED, &key) {
            return Ok(Compiled { needs, ..compiled });
        }
        if let Some(version) = plan.version_from.as_ref().and_then(|from| compiled.variant.lock.version_of(from)) {
            self.project.check_runtime(&version)?.iter().for_each(|warning| self.ui.warn(warning));
        }
        let (out, files) = self.run_compiler(&compiled)?;
        let workdir = plan.configuration.workdir.trim_matches('/');
        let mut programs = programs::read(
            &AppFolder::open(out.path()).map_err(ProjectError::from)?,
            &files,
            workdir,
            plan.library_path(),
        );
        programs::keep(&mut programs, plan.arch(platform), None)
            .map_err(|file| LinkError::Processor { platform: platform.clone(), file })?;
        if compile.libraries {
            compiled.needs = compiled.variant.system.needs(&programs)?;
        }
        for name in shipped(compile, &compiled.variant.lock.packages, &files) {
            compiled.needs.entry(name).or_default();
        }
        store.remember(COMPILED, &key, &Remembered { needs: compiled.needs.clone() })?;
        Ok(Compiled { out: Some((out, files)), ..compiled })
    }

    /// All variables of the compilation.
    fn environment(&self, compile: &Compile, platform: &Platform) -> Result<BTreeMap<String, String>, BuildError> {
        let host = host_platform();
        let foreign = (*platform != host).then(|| (platform, self.request.base.libc()));
        let env = compile.environment(self.request.step.offline, foreign);
        env.ok_or_else(|| {
            DependenciesError::Foreign {
                platform: platform.to_string(),
                host: host.to_string(),
                packages: vec![format!("every app of recipe {}", self.recipe.name)],
            }
            .into()
        })
    }

    /// A folder with what the compiler leaves, and what of that is the app.
    fn run_compiler(&self, compiled: &Compiled<'_>) -> Result<(Workspace, Vec<AppFile>), BuildError> {
        let store = self.fetcher.store();
        let (work, out) = (Workspace::new(store)?, Workspace::new(store)?);
        let words = compiled.compile.words();
        let errand = Errand {
            name: StepName::Compile,
            purpose: "compiling",
            platform: compiled.platform,
            words: &words,
            files: &self.project.files,
            env: compiled.env.clone(),
            mounts: vec![Mount::Bind { source: out.path().to_owned(), target: OUT.into(), writable: true }],
        };
        let mut diagnosis = Diagnosis::new(self.recipe.language);
        let note = &mut |line: &str| diagnosis.note(line);
        let (status, mut said) = self.run_errand(errand, &compiled.variant, work.path(), note)?;
        if status != 0 {
            said.show();
            let hint = diagnosis.hint(true, self.request.step.offline);
            return Err(DependenciesError::Failed { command: shown(&words), status, hint }.into());
        }
        let files = Project::made(out.path(), &compiled.compile.strip)?;
        if files.is_empty() {
            let result = format!("anything in {OUT}");
            return Err(DependenciesError::Nothing { command: shown(&words), result }.into());
        }
        Ok((out, files))
    }

    /// The layers of what was compiled: those that the recipe wants apart, then all the rest.
    pub(super) fn compiled_layers(
        &self,
        mut compiled: Compiled<'_>,
        app: &App,
    ) -> Result<Vec<MaybeCached>, BuildError> {
        let store = self.fetcher.store();
        let apart = &compiled.compile.layers;
        let text = format!("{}\n{}\n{apart:?}\n", compiled.key, self.request.compression.id());
        let key = Digest::of(text + &format!("{} {:?} {:?} {}", app.workdir, app.parents, app.links, app.epoch));
        let recalled: Option<Vec<LayerRecord>> = store.recall(LAYERS, &key);
        let are_there = |records: &Vec<LayerRecord>| {
            records.iter().all(|record| store.blobs().contains(&record.digest, record.size))
        };
        if let (Some(records), None) = (recalled.filter(are_there), &compiled.out) {
            return records.into_iter().map(|record| self.recalled(record)).collect();
        }
        let (out, mut rest) = match compiled.out.take() {
            Some(made) => made,
            None => self.run_compiler(&compiled)?,
        };
        let mut records = Vec::new();
        for pattern in apart {
            let set = PatternSet::new(vec![pattern.clone()]);
            let (taken, left) = rest.into_iter().partition(|file| set.matches(&file.path));
            rest = left;
            records.extend(self.write(app, &pattern.to_string(), out.path(), taken)?);
        }
        records.extend(self.write(app, "app", out.path(), rest)?);
        store.remember(LAYERS, &key, &records)?;
        Ok(records.into_iter().map(|record| (self.stored(record), false)).collect())
    }

    /// The layer of `files`; `None` when there are none.
    fn write(
        &self,
        app: &App,
        title: &str,
        root: &Path,
        files: Vec<AppFile>,
    ) -> Result<Option<LayerRecord>, BuildError> {
        if files.is_empty() {
            return Ok(None);
        }
        let root = AppFolder::open(root).map_err(ProjectError::from)?;
        let layer = app.layer(title, &root, files);
        check_secrets(&layer, self.secrets)?;
        Ok(Some(layer.write(self.fetcher.store().blobs(), self.request.compression)?))
    }
}

/// The names of those of `packages`, the dev variant's, of which `files` hold parts, as the recipe tells.
fn shipped(compile: &Compile, packages: &Packages, files: &[AppFile]) -> Vec<String> {
    let there = |path: &Pattern| files.iter().any(|file| path.matches(&file.path));
    let names: Vec<&Pattern> = compile.ships.iter().filter(|(_, path)| there(path)).map(|(name, _)| name).collect();
    let rows = packages.rows();
    let rows = rows.iter().filter(|row| names.iter().any(|name| name.matches(row.name)));
    rows.map(|row| row.name.to_owned()).collect()
}

impl Compiled<'_> {
    /// Adds to the `packages` of the image what the programs are linked with.
    pub(super) fn link(&self, packages: &mut Packages) {
        packages.add(&self.variant.lock.packages, &self.needs);
    }
}
