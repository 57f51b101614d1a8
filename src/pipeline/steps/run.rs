//! Running a step's command: the files in its work folder, and the files that are kept afterwards.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Made, Output, StepError, Steps, is_foreign};
use crate::{
    app_folder::AppFolder,
    digest::Hashing,
    lang::Diagnosis,
    layer::LayerRecord,
    pipeline::{
        BuildError, MaybeCached,
        caches::Caches,
        dev::{DevJob, DevVariant},
    },
    plan::host_platform,
    project::{AppFile, FileKind, Project, ProjectError, ProjectStep},
    recipe::OUT,
    sandbox::{self, Mount, Runtime},
    secret::{Needles, SecretError, Watch},
    store::{Key, Workspace},
    ui,
};

/// A command that failed.
struct Failure {
    /// Its exit status.
    status: u8,
    /// Its output, which is not shown yet.
    output: ui::StepOutput,
    /// The diagnosis of its output.
    diagnosis: Diagnosis,
}

impl<'a> Steps<'a> {
    /// Runs the step, and lists the kept files of its result. A step that fails for lack of a compiler runs once more
    /// with the recipe's compilers.
    pub(super) fn make(&self, output: &Output<'a>) -> Result<Made, BuildError> {
        let Output { job, variant, .. } = output;
        let mut failure = match self.attempt(output, variant)? {
            Ok(made) => return self.checked(output, made),
            Err(failure) => failure,
        };
        let compilers = self.recipe.packages(&self.request.base.dev())?.compile.join(" ");
        let may_compile = !compilers.is_empty() && !variant.compiles && !is_foreign(job.platform);
        if failure.diagnosis.needs_compiler() && may_compile {
            self.ui.say(&format!("step {} needs a compiler: it runs again with {compilers}", job.step.name));
            failure = match self.attempt(output, &*self.variant_with_compilers()?)? {
                Ok(made) => return self.checked(output, Made { compiled: true, ..made }),
                Err(failure) => failure,
            };
        }
        failure.output.show();
        let hint = failure.diagnosis.hint(job.of_project.lock.is_some(), self.request.step.offline);
        let command = shown(&job.invocation.words);
        Err(StepError::Failed { step: job.step.name.clone(), command, status: failure.status, hint }.into())
    }

    /// Refuses a result that is empty although the app needs it, or that does not work on its platform.
    fn checked(&self, output: &Output<'a>, made: Made) -> Result<Made, BuildError> {
        let step = output.job.step;
        if made.is_empty() && (output.job.of_project.required || step.leaves_out()) {
            let command = shown(&output.job.invocation.words);
            let result = match step.results().next() {
                _ if step.leaves_out() => format!("file in {OUT}"),
                Some(pattern) => pattern.to_string().trim_start_matches("**/").to_owned(),
                None => "result".to_owned(),
            };
            return Err(StepError::Nothing { step: step.name.clone(), command, result }.into());
        }
        if is_foreign(output.job.platform) {
            self.check_foreign(output, &made)?;
        }
        Ok(made)
    }

    /// Runs the command once. Returns its result, or its output when it failed.
    fn attempt(&self, output: &Output<'a>, variant: &DevVariant) -> Result<Result<Made, Failure>, BuildError> {
        let store = self.fetcher.store();
        let work = Workspace::new(store)?;
        let out = output.job.step.leaves_out().then(|| Workspace::new(store)).transpose()?;
        self.fill(output, work.path())?;
        let out_mount =
            out.as_ref().map(|out| Mount::Bind { source: out.path().to_owned(), target: OUT.into(), writable: true });
        if let Some(failure) = self.command(output, variant, work.path(), out_mount)? {
            return Ok(Err(failure));
        }
        let step = output.job.step;
        let strip: Vec<_> = step.strip.iter().chain(&self.request.exclude).cloned().collect();
        let in_out = out.as_ref().map(|out| Project::made(out.path(), &step.strip)).transpose()?;
        let mut in_out = in_out.unwrap_or_default();
        let needs_work = step.keep.iter().any(|keep| !keep.place.is_out());
        let mut in_work = if needs_work { Project::made(work.path(), &strip)? } else { Vec::new() };
        let mut kept = Vec::new();
        for keep in &step.keep {
            let from = if keep.place.is_out() { &mut in_out } else { &mut in_work };
            let (taken, left) = std::mem::take(from).into_iter().partition(|file| keep.place.takes(&file.path));
            *from = left;
            kept.push(taken);
        }
        Ok(Ok(Made { work, out, kept, compiled: false }))
    }

    /// Copies into the folder `work` the files that the command sees: results of earlier steps, and files of the
    /// project.
    fn fill(&self, output: &Output<'a>, work: &Path) -> Result<(), BuildError> {
        let step = &output.job.step.name;
        let failed = |source| StepError::Io { step: step.clone(), source };
        if !output.sees.is_empty() {
            let layers: Vec<_> = output.sees.iter().map(|record| self.stored(record.clone())).collect();
            sandbox::roots::unpack_into(&layers, work, self.ui).map_err(StepError::from)?;
        }
        copy(&self.project.folder()?, &output.job.of_project.files, work, step)?;
        for generated in &output.job.of_project.generated {
            make_room(work, &generated.path).and_then(|_| generated.write(work)).map_err(failed)?;
        }
        Ok(())
    }

    /// Runs the command in the folder `work`. `None` when it succeeds.
    fn command(
        &self,
        output: &Output<'a>,
        variant: &DevVariant,
        work: &Path,
        out: Option<Mount>,
    ) -> Result<Option<Failure>, BuildError> {
        let job = &output.job;
        let runtime =
            Runtime::find(self.request.step.runtime.as_deref(), &self.request.host).map_err(StepError::from)?;
        let root = variant.unpack(self.fetcher.store(), self.ui)?;
        let caches = Caches::new(self.recipe, &self.owner(), self.fetcher.store())?;
        let dev_job = DevJob {
            args: job.invocation.words.clone(),
            folder: work.to_owned(),
            env: job.invocation.env.clone(),
            secret_files: job.step.secret.clone(),
            mounts: out.into_iter().collect(),
            secrets: self.secrets.of(&job.step.name, self.recipe),
            host: &self.request.host,
            step: &self.request.step,
        };
        let sandbox = variant.sandbox(self.recipe, &root, &caches, dev_job)?;
        let line = shown(&job.invocation.words);
        let mut output = self.ui.step(&format!("{} for {}: {line}", job.step.name, job.platform));
        let mut diagnosis = Diagnosis::new(self.recipe.language);
        let mut show = |line: &str| {
            let line = self.secrets.needles.redact(line);
            diagnosis.note(&line);
            output.line(&line);
        };
        let status = sandbox.run(&runtime, sandbox::Output::Lines(&mut show)).map_err(StepError::from)?;
        if let Some(signal) = status.interrupted().filter(|_| !status.success()) {
            return Err(StepError::Interrupted { step: job.step.name.clone(), command: line, signal }.into());
        }
        Ok((!status.success()).then(|| Failure { status: status.code(), output, diagnosis }))
    }

    /// The files that a step sees, and those that are generated for it. Its result can depend on no others.
    pub(super) fn inputs(&self, of_project: &ProjectStep) -> Result<Vec<Key>, BuildError> {
        let mut keys = Vec::new();
        let root = self.project.folder()?;
        for file in &of_project.files {
            let key = Key::new().text("path", &file.path).text("mode", file.kind.mode());
            keys.push(match &file.kind {
                FileKind::File { .. } => {
                    let mut content = Hashing::new(file.open(&root)?);
                    let hashed = io::copy(&mut content, &mut io::sink());
                    hashed.map_err(|source| ProjectError::Io { path: root.path().join(&file.path), source })?;
                    key.text("content", content.finish().0)
                }
                FileKind::Link { target } => key.text("target", target),
                FileKind::Folder => key,
            });
        }
        keys.extend(of_project.generated.iter().map(|file| {
            Key::new().text("path", &file.path).text("executable", file.executable).text("content", &file.text)
        }));
        Ok(keys)
    }

    /// Refuses packages that would have to be compiled. Other scripts that did not run are a warning.
    fn check_foreign(&self, output: &Output<'a>, made: &Made) -> Result<(), BuildError> {
        let (step, of_project) = (output.job.step, output.job.of_project);
        if !step.installs || self.request.step.ignore_scripts {
            return Ok(());
        }
        let platform = output.job.platform;
        let cpu = step.cpu.get(&platform.architecture).unwrap_or(&platform.architecture);
        let folder = AppFolder::open(made.work.path()).map_err(ProjectError::from)?;
        let files = made.kept.concat();
        let packages = self.recipe.language.map(|language| language.uncompiled(&folder, &files, &platform.os, cpu));
        let packages = packages.unwrap_or_default();
        if !packages.is_empty() {
            let (platform, host) = (platform.to_string(), host_platform().to_string());
            return Err(StepError::Foreign { platform, host, packages }.into());
        }
        if !of_project.scripts.is_empty() {
            let names = of_project.scripts.join(", ");
            self.ui.warn(&format!("not run, because they would run on this machine: scripts of {names}"));
        }
        Ok(())
    }

    /// A layer from an earlier build, which may have had other secrets.
    pub(super) fn recalled(&self, record: LayerRecord) -> Result<MaybeCached, BuildError> {
        let layer = self.stored(record);
        check_layer(&layer, &self.secrets.needles)?;
        Ok((layer, true))
    }
}

/// A command for messages. A word of several lines, such as a script, is shown as `…`.
fn shown(words: &[String]) -> String {
    let word = |word: &String| if word.contains('\n') { "…".to_owned() } else { word.clone() };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Copies `files` of the folder `from` into the folder `to`.
fn copy(from: &AppFolder, files: &[AppFile], to: &Path, step: &str) -> Result<(), BuildError> {
    let failed = |source| StepError::Io { step: step.to_owned(), source };
    for file in files {
        let target = make_room(to, &file.path).map_err(failed)?;
        let copied = match &file.kind {
            FileKind::Folder => fs::create_dir_all(&target).and_then(|()| mode(&target, file.kind.mode())),
            FileKind::Link { target: link } => std::os::unix::fs::symlink(link, &target),
            FileKind::File { .. } => {
                let mut content = file.open(from)?;
                let copied = fs::File::create(&target).and_then(|mut out| io::copy(&mut content, &mut out));
                copied.and_then(|_| mode(&target, file.kind.mode()))
            }
        };
        copied.map_err(failed)?;
    }
    Ok(())
}

/// Makes the folders above `path` in the folder `work`; the place there, at which no link and no file is left. An earlier step may
/// have made a link of it, or of a folder above it, that leads anywhere on this machine: nothing is written through one.
fn make_room(work: &Path, path: &str) -> io::Result<PathBuf> {
    let mut place = work.to_owned();
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        place.push(part);
        let above = parts.peek().is_some();
        match place.symlink_metadata() {
            Ok(there) if there.is_dir() => {}
            Ok(_) => {
                fs::remove_file(&place)?;
                if above {
                    fs::create_dir(&place)?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && above => fs::create_dir(&place)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(place)
}

fn mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Looks for secrets in a layer from an earlier build.
fn check_layer(layer: &crate::layer::Layer, needles: &Needles) -> Result<(), BuildError> {
    if needles.is_empty() {
        return Ok(());
    }
    let mut watch = Watch::new(needles);
    let read = layer.uncompressed().and_then(|mut tar| io::copy(&mut tar, &mut watch));
    match (watch.found, read) {
        (Some(id), _) => Err(StepError::from(SecretError::Leaked { id, place: layer.title.clone() }).into()),
        (None, Err(source)) => Err(StepError::Io { step: layer.title.clone(), source }.into()),
        (None, Ok(_)) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_through_a_link_of_an_earlier_step() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let [app, work, outside] = ["app", "work", "outside"].map(|name| dir.path().join(name));
        for folder in [app.join("dist"), app.join("top"), work.clone(), outside.join("top")] {
            fs::create_dir_all(folder).expect("a folder");
        }
        for file in ["dist/key", "file", "top/file"] {
            fs::write(app.join(file), "of the app").expect("a file");
        }
        for (link, target) in [("dist", &outside), ("top", &outside.join("top")), ("file", &outside.join("file"))] {
            std::os::unix::fs::symlink(target, work.join(link)).expect("a link");
        }
        let files = Project::made(&app, &[]).expect("files");
        copy(&AppFolder::open(&app).expect("a folder"), &files, &work, "build").expect("a copy");
        assert_eq!(fs::read_dir(&outside).expect("a folder").count(), 1, "only the folder that was there");
        assert_eq!(fs::read_dir(outside.join("top")).expect("a folder").count(), 0);
        for file in ["dist/key", "file", "top/file"] {
            assert_eq!(fs::read_to_string(work.join(file)).expect("a file"), "of the app");
        }
    }
}
