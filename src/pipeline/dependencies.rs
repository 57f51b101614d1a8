//! The step that installs what a project depends on: in the dev variant, in a throw-away copy of the files that say what,
//! remembered under everything that it depends on.

use std::{collections::BTreeMap, io, path::Path};

use super::{
    App, BuildError, MaybeCached, check_secrets,
    dev::DevVariant,
    step::{Errand, Step, shown},
};
use crate::{
    app_folder::AppFolder,
    digest::Digest,
    error::{Explain, Kind},
    image::Platform,
    layer::LayerRecord,
    plan::host_platform,
    project::{AppFile, Install, Project, ProjectError, must_compile},
    recipe::{Dependencies, Wishes},
    sandbox::SandboxError,
    secret::{SecretError, StepName},
    store::Workspace,
    ui,
};

/// The bucket of remembered results. Its version is that of how the step is run and what of it is kept.
const DEPENDENCIES: &str = "dependencies-v2";

/// Why dependencies are not installed.
#[derive(Debug, thiserror::Error)]
pub enum DependenciesError {
    /// The command failed.
    #[error(
        "expected `{command}` to succeed in the dev variant, found exit status {status}; what it said stands above"
    )]
    Failed {
        /// The command.
        command: String,
        /// Its exit status, 128 and the signal's number when a signal ended it.
        status: u8,
        /// What may help.
        hint: Option<String>,
    },
    /// Whoever builds has ended it.
    #[error("`{command}` was interrupted")]
    Interrupted {
        /// The command.
        command: String,
        /// The signal's number.
        signal: i32,
    },
    /// The command did not do what it is for.
    #[error("expected `{command}` to make {result}, found none")]
    Nothing {
        /// The command.
        command: String,
        /// The folder that it should make.
        result: String,
    },
    /// A file of certificates cannot be read.
    #[error("cannot read certificates: {0}")]
    Certificates(io::Error),
    /// Packages of another processor cannot be made here.
    #[error("expected packages that need no compiler for {platform} on this machine ({host}), found {}", packages.join(", "))]
    Foreign {
        /// What the image is for.
        platform: String,
        /// What this machine is.
        host: String,
        /// The packages that have to be compiled, or all when the package manager cannot install for another processor.
        packages: Vec<String>,
    },
    /// A secret cannot be had, or is where it must not be.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The sandbox failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Files cannot be copied or read.
    #[error("cannot prepare the installation of dependencies: {0}")]
    Io(#[from] io::Error),
}

impl Explain for DependenciesError {
    fn kind(&self) -> Kind {
        match self {
            Self::Secret(e) => e.kind(),
            Self::Sandbox(e) => e.kind(),
            Self::Certificates(_) => Kind::Usage,
            Self::Failed { .. }
            | Self::Interrupted { .. }
            | Self::Nothing { .. }
            | Self::Foreign { .. }
            | Self::Io(_) => Kind::Build,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Failed { hint, .. } => hint.clone(),
            Self::Foreign { platform, .. } => Some(format!(
                "build on a machine that is {platform}, use packages that come compiled, or give --ignore-scripts if they run \
                 without"
            )),
            Self::Secret(e) => e.hint(),
            Self::Sandbox(e) => e.hint(),
            Self::Certificates(_) => {
                Some("--ca, SSL_CERT_FILE and NODE_EXTRA_CA_CERTS name files of certificates".into())
            }
            Self::Interrupted { .. } | Self::Nothing { .. } | Self::Io(_) => None,
        }
    }
}

/// What is run, and all that its result depends on.
struct Command<'a> {
    recipe: &'a Dependencies,
    install: &'a Install,
    platform: &'a Platform,
    words: Vec<String>,
    foreign: bool,
}

impl Step<'_> {
    /// The layer of the project's dependencies for `platform`; `None` when nothing has to be installed, or nothing came of
    /// it.
    pub(super) fn layer(&self, platform: &Platform, app: &App) -> Result<Option<MaybeCached>, BuildError> {
        let Some(install) = &self.project.install else { return Ok(None) };
        let Some(recipe) = self.recipe.dependencies.get(install.way) else { return Ok(None) };
        let command = self.command(recipe, install, platform)?;
        let variant = DevVariant::new(self.request, self.recipe, self.project, self.fetcher)?;
        let key = self.key(&command, &variant, app)?;
        let store = self.fetcher.store();
        // Of two builds that want the same, one works and the other waits for it.
        let _only = store.lock_key(DEPENDENCIES, &key)?;
        let recalled: Option<Option<LayerRecord>> = store.recall(DEPENDENCIES, &key);
        match recalled {
            Some(None) => return Ok(None),
            Some(Some(record)) if store.blobs().contains(&record.digest, record.size) => {
                return self.recalled(record).map(Some);
            }
            _ => {}
        }
        let record = self.make(&command, &variant, app)?;
        store.remember(DEPENDENCIES, &key, &record)?;
        Ok(record.map(|record| (self.stored(record), false)))
    }

    /// Installs, and writes the layer of what came of it.
    fn make(&self, command: &Command<'_>, variant: &DevVariant, app: &App) -> Result<Option<LayerRecord>, BuildError> {
        let store = self.fetcher.store();
        let work = self.run(command, variant)?;
        let files = Project::installed(work.path(), &command.recipe.result, &command.recipe.strip)?;
        if command.foreign {
            self.check_foreign(command, work.path(), &files)?;
        }
        if files.is_empty() {
            let nothing =
                || DependenciesError::Nothing { command: shown(&command.words), result: command.recipe.result.clone() };
            return if command.install.required { Err(nothing().into()) } else { Ok(None) };
        }
        let root = AppFolder::open(work.path()).map_err(ProjectError::from)?;
        let layer = app.layer("dependencies", &root, files);
        check_secrets(&layer, self.secrets)?;
        Ok(Some(layer.write(store.blobs(), self.request.compression)?))
    }

    fn command<'a>(
        &self,
        recipe: &'a Dependencies,
        install: &'a Install,
        platform: &'a Platform,
    ) -> Result<Command<'a>, BuildError> {
        let host = host_platform();
        let foreign = (*platform != host).then(|| (platform, self.request.base.libc()));
        let wishes = Wishes {
            locked: install.lock.is_some(),
            offline: self.request.step.offline,
            ignore_scripts: self.request.step.ignore_scripts,
            foreign,
            foreign_command: &self.recipe.packages(&self.request.base.dev())?.foreign_command,
        };
        let words = recipe.command(wishes).ok_or_else(|| DependenciesError::Foreign {
            platform: platform.to_string(),
            host: host.to_string(),
            packages: vec![format!("all of recipe {}", self.recipe.name)],
        })?;
        Ok(Command { recipe, install, platform, words, foreign: foreign.is_some() })
    }

    /// All that the step's result depends on. Of secrets only their names, so that nothing remembered says anything of them.
    fn key(&self, command: &Command<'_>, variant: &DevVariant, app: &App) -> Result<Digest, BuildError> {
        let mut text = format!("{}\n{:?}\n{:?}\n", variant.digest(), command.words, command.recipe.variables());
        let compression = self.request.compression.id();
        text += &format!("{} {compression} {:?} {:?} {}\n", command.platform, app.parents, app.links, app.epoch);
        let compilers = &self.recipe.packages(&self.request.base.dev())?.compile;
        text += &format!("{compilers:?} {} {:?} {}\n", command.recipe.result, command.recipe.strip, app.workdir);
        Ok(Digest::of(text + &self.inputs(StepName::Install, &command.install.files)?))
    }

    /// Installs in a folder; once more, with the recipe's compilers, when it fails for the lack of one.
    fn run(&self, command: &Command<'_>, variant: &DevVariant) -> Result<Workspace, BuildError> {
        let (mut failed, mut said, mut noted) = match self.attempt(command, variant)? {
            Ok(work) => return Ok(work),
            Err(failed) => failed,
        };
        let base = self.request.base.dev();
        let compilers = self.recipe.packages(&base)?.compile.join(" ");
        if noted.compiler && !compilers.is_empty() && !variant.compiles && !command.foreign {
            self.ui.say(&format!("something has to be compiled: once more, with {compilers}"));
            let variant = DevVariant::compiling(self.request, self.recipe, self.project, self.fetcher)?;
            (failed, said, noted) = match self.attempt(command, &variant)? {
                Ok(work) => return Ok(work),
                Err(failed) => failed,
            };
        }
        said.show();
        let hint = noted.hint(command.install, self.request.step.offline);
        Err(DependenciesError::Failed { command: shown(&command.words), status: failed, hint }.into())
    }

    /// The folder in which the command was run; or, when it failed, its status and what it said.
    fn attempt(
        &self,
        command: &Command<'_>,
        variant: &DevVariant,
    ) -> Result<Result<Workspace, (u8, ui::Step, Said)>, BuildError> {
        let work = Workspace::new(self.fetcher.store())?;
        let errand = Errand {
            name: StepName::Install,
            purpose: "installing dependencies",
            platform: command.platform,
            words: &command.words,
            files: &command.install.files,
            env: BTreeMap::new(),
            mounts: Vec::new(),
        };
        let mut said = Said::default();
        let (status, step) = self.run_errand(errand, variant, work.path(), &mut |line| said.note(line))?;
        Ok(if status == 0 { Ok(work) } else { Err((status, step, said)) })
    }

    /// Packages that would have to be compiled are an error; other scripts that were not run deserve a warning.
    fn check_foreign(&self, command: &Command<'_>, work: &Path, files: &[AppFile]) -> Result<(), BuildError> {
        if self.request.step.ignore_scripts {
            return Ok(());
        }
        let Command { recipe, install, platform, .. } = command;
        let cpu = recipe.cpu.get(&platform.architecture).unwrap_or(&platform.architecture);
        let packages = must_compile(&AppFolder::open(work).map_err(ProjectError::from)?, files, &platform.os, cpu);
        if !packages.is_empty() {
            let (platform, host) = (platform.to_string(), host_platform().to_string());
            return Err(DependenciesError::Foreign { platform, host, packages }.into());
        }
        if !install.scripts.is_empty() {
            let names = install.scripts.join(", ");
            self.ui.warn(&format!("not run, because they would run on this machine: scripts of {names}"));
        }
        Ok(())
    }
}

/// What a failing command said that tells what to do.
#[derive(Default)]
struct Said {
    compiler: bool,
    uncached: bool,
    scripts: bool,
    unlocked: bool,
}

impl Said {
    /// What package managers say when a package is to be compiled, and that fails.
    const COMPILING: [&str; 10] = [
        "gyp ERR!",
        "gcc' failed",
        "g++' failed",
        "execute 'gcc'",
        "gcc: not found",
        "g++: not found",
        "cc: not found",
        "make: not found",
        "C compiler",
        "Unknown compiler",
    ];

    fn note(&mut self, line: &str) {
        self.compiler |= Self::COMPILING.iter().any(|words| line.contains(words));
        self.uncached |= line.contains("ENOTCACHED");
        self.scripts |= line.contains("npm error command sh -c");
        self.unlocked |= line.contains("npm error code EUSAGE");
    }

    fn hint(&self, install: &Install, offline: bool) -> Option<String> {
        if offline && self.uncached {
            return Some("build once without --offline: the cache has what was installed before".into());
        }
        if self.compiler {
            return Some(
                "a package is compiled, and lacks what it is compiled with: --dev-package NAME brings that, such as --dev-package libpq-dev"
                    .into(),
            );
        }
        if self.unlocked && install.lock.is_some() {
            let update = "microbuild dev node APP -- npm install --package-lock-only";
            return Some(format!("bring the lock file up to date with package.json: `{update}`"));
        }
        self.scripts.then(|| {
            "a package's own script failed: development dependencies are not installed here; --ignore-scripts runs none".into()
        })
    }
}

impl From<DependenciesError> for BuildError {
    fn from(error: DependenciesError) -> Self {
        Self::Dependencies(Box::new(error))
    }
}
