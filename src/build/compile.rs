//! The step that makes an app of its source: in the dev variant, in a throw-away copy of the app's folder, remembered under
//! everything that it depends on. What it leaves in a folder of its own is the app; the source is not in the image.

use super::{
    App, BuildError, DependenciesError, MaybeCached, check_secrets,
    dev::DevVariant,
    step::{Errand, Step, shown},
};
use crate::{
    digest::Digest,
    image::Platform,
    layer::LayerRecord,
    plan::host_platform,
    project::Project,
    recipe::{Compile, OUT},
    sandbox::Mount,
    store::Workspace,
};

/// The bucket of remembered results. Its version is that of how the step is run and what of it is kept.
const COMPILED: &str = "compiled-v1";

impl Step<'_> {
    /// The layer of the app that `compile` makes for `platform`.
    pub(super) fn compiled(
        &self,
        compile: &Compile,
        platform: &Platform,
        app: &App,
    ) -> Result<MaybeCached, BuildError> {
        let host = host_platform();
        let foreign = (*platform != host).then(|| (platform, self.request.base.libc()));
        let env =
            compile.environment(self.request.step.offline, foreign).ok_or_else(|| DependenciesError::Foreign {
                platform: platform.to_string(),
                host: host.to_string(),
                packages: vec![format!("every app of recipe {}", self.recipe.name)],
            })?;
        let variant = DevVariant::new(self.request, self.recipe, self.project, self.fetcher)?;
        let mut text = format!("{}\n{:?}\n{env:?}\n{:?}\n", variant.digest(), compile.words(), compile.strip);
        text += &format!("{platform} {} {:?} {}\n", self.request.compression.id(), app.parents, app.epoch);
        text += &format!("{}\n{}", app.workdir, self.inputs(&self.project.files)?);
        let (key, store) = (Digest::of(text), self.fetcher.store());
        // Of two builds that want the same, one works and the other waits for it.
        let _only = store.lock_key(COMPILED, &key)?;
        let recalled: Option<LayerRecord> = store.recall(COMPILED, &key);
        if let Some(record) = recalled.filter(|record| store.blobs().contains(&record.digest, record.size)) {
            return self.recalled(record);
        }
        let (work, out) = (Workspace::new(store)?, Workspace::new(store)?);
        let words = compile.words();
        let errand = Errand {
            purpose: "compiling",
            platform,
            words: &words,
            files: &self.project.files,
            env,
            mounts: vec![Mount::Bind { source: out.path().to_owned(), target: OUT.into(), writable: true }],
        };
        let status = self.run_errand(errand, &variant, work.path(), &mut |_| {})?;
        if status != 0 {
            return Err(DependenciesError::Failed { command: shown(&words), status, hint: None }.into());
        }
        let files = Project::made(out.path(), &compile.strip)?;
        if files.is_empty() {
            let result = format!("anything in {OUT}");
            return Err(DependenciesError::Nothing { command: shown(&words), result }.into());
        }
        let layer = app.layer("app", out.path(), files);
        check_secrets(&layer, self.secrets)?;
        let record = layer.write(store.blobs(), self.request.compression)?;
        store.remember(COMPILED, &key, &record)?;
        Ok((self.stored(record), false))
    }
}
