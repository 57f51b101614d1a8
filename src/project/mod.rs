//! The project: an app's folder, read once. It has the files for the image, the command that starts the app, and the
//! app's name and version.

mod checkout;
mod commit;
mod data;
mod dockerfile;
mod git;
mod ignore;
pub(crate) mod line;
mod procfile;
mod read;
mod steps;
mod walk;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

pub use checkout::Checkout;
pub use steps::ProjectStep;

pub use crate::listing::{AppFile, FileKind};
use crate::{
    app_folder::{AppFolder, AppFolderError},
    error::{Explain, Kind},
    glob::{Pattern, PatternError},
    lang::{Dependencies, GeneratedFile, Installed, LARGEST, Language, LanguageError, WantedRuntime, some},
    listing::Listing,
    recipe::{Recipe, Step, Template},
    values::{BuildWish, Deps, Port, Workdir},
};

/// The build options that concern the project.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where dependencies come from.
    pub deps: Deps,
    /// Files to include although the ignore file, or microbuild itself, excludes them.
    pub include: Vec<Pattern>,
    /// Additional files to exclude; wins over `include`.
    pub exclude: Vec<Pattern>,
    /// Files that a compiled app keeps in its image, in addition to the recipe's.
    pub keep: Vec<Pattern>,
    /// The app's folder in the image, instead of the recipe's.
    pub workdir: Option<Workdir>,
    /// Variables that the app's steps get, which may say how it is built.
    pub variables: BTreeMap<String, String>,
    /// Replaces the recipe's entrypoint and drops the recipe's cmd, as Docker does.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the recipe's cmd.
    pub cmd: Option<Vec<String>>,
    /// How the app is built.
    pub build: BuildWish,
    /// The port that the app is to listen on, where it can be told.
    pub port: Option<u16>,
    /// Whether all files get one time: then a server of files that tells versions apart by it is worth a warning.
    pub same_times: bool,
    /// The process of the `Procfile` that is started.
    pub process: Option<String>,
    /// Variables that the image gets anyway.
    pub env: BTreeMap<String, String>,
}

/// An app's folder, as a build sees it.
#[derive(Debug, Clone, Default)]
pub struct Project {
    /// The folder.
    pub root: PathBuf,
    /// The app's own files, sorted by path, each folder before its content.
    pub files: Vec<AppFile>,
    /// Additional files of the app, which the language has made from its own.
    pub generated: Vec<GeneratedFile>,
    /// The files of a compiled app that its program opens when it runs, and the folder that they are in, relative to
    /// [`Project::root`]. They are among `files`, perhaps below that folder.
    pub data: Vec<AppFile>,
    /// The folder that [`Project::data`] is relative to; empty for the app's own.
    pub data_folder: String,
    /// Installed dependencies (`node_modules` and everything below), sorted in the same way; empty unless copied.
    pub dependencies: Vec<AppFile>,
    /// Where dependencies come from: [`Deps::None`] when there are none, or none are wanted.
    pub deps: Deps,
    /// The recipe's steps that run for it, in order.
    pub steps: Vec<ProjectStep>,
    /// The file that is run, relative to the folder; `None` when options set the command.
    pub entry: Option<String>,
    /// `Config.Entrypoint`.
    pub entrypoint: Vec<String>,
    /// `Config.Cmd`.
    pub cmd: Vec<String>,
    /// Its roles; see [`crate::lang::Facts::roles`].
    pub roles: Vec<String>,
    /// What it asks of its runtime; see [`crate::lang::Facts::extensions`].
    pub extensions: Vec<String>,
    /// What needs a shell to start: a process of the `Procfile`, for messages.
    pub shell: Option<String>,
    /// The command of the recipe, where [`Project::cmd`] names a program that may be called otherwise in the image.
    pub made: Vec<String>,
    /// Ports that it listens on.
    pub ports: Vec<Port>,
    /// Variables that the project itself sets; they win over the recipe's.
    pub env: BTreeMap<String, String>,
    /// Variables for the commands of its steps.
    pub build_env: BTreeMap<String, String>,
    /// The project's name. Not the folder's name, which differs from one checkout to another.
    pub title: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The git commit that is checked out, in hexadecimal digits.
    pub revision: Option<String>,
    /// The web address of its source.
    pub source: Option<String>,
    /// What git knows of the commit, once it was looked for: [`Project::compare`].
    pub checkout: Checkout,
    /// The versions of the runtime that it asks for, if any; see [`Project::check_runtime`].
    pub runtime: Option<WantedRuntime>,
    /// What the user should know of the choices that were made, each a line.
    pub notes: Vec<String>,
    /// Warnings for the user, each a line.
    pub warnings: Vec<String>,
}

/// An error of a project.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The app is not a folder.
    #[error("expected the app's folder, found {} at {}", found, path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// A file or folder of the app cannot be used.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the app cannot be opened, or not be read.
    #[error(transparent)]
    File(#[from] AppFolderError),
    /// A line of the ignore file is not a pattern.
    #[error("{}:{line}: {source}", file.display())]
    Ignore {
        /// The ignore file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Why not.
        source: PatternError,
    },
    /// A file whose name an image cannot have.
    #[error("expected a name that {expected}, found {}", path.display())]
    Name {
        /// What the name must be.
        expected: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A path that is neither a file, a folder nor a link.
    #[error("expected a file, a folder or a symbolic link, found a socket, pipe or device: {}", path.display())]
    Special {
        /// The path.
        path: PathBuf,
    },
    /// A symbolic link to something outside the app's folder.
    #[error("expected a link to something within the app, found {} -> {target}", path.display())]
    Link {
        /// The link.
        path: PathBuf,
        /// Its target.
        target: String,
    },
    /// The language cannot read the project.
    #[error(transparent)]
    Language(#[from] LanguageError),
    /// The runtime's version is not one that the project asks for.
    #[error("expected a version of {} that fits {} (`{}`), found {version}", wanted.runtime, wanted.place(), wanted.range)]
    Runtime {
        /// The versions that the project asks for.
        wanted: Box<WantedRuntime>,
        /// The version chosen.
        version: String,
    },
    /// The project has dependencies, and no step installs them.
    #[error("recipe {recipe} has no step that installs what the project depends on ({})", some(names))]
    NotInstalled {
        /// The recipe.
        recipe: String,
        /// Their names.
        names: Vec<String>,
    },
    /// No command is known: none of the files in the recipe's `entry` exists.
    #[error("expected {} in {}, found none of them", some(names), folder.display())]
    NoFile {
        /// The files that were looked for.
        names: Vec<String>,
        /// The app's folder.
        folder: PathBuf,
        /// A command that starts a file of the app, or one that may be there.
        command: String,
    },
    /// A line of a Procfile cannot be run.
    #[error("{}: expected a command for {process}, found {found}", file.display())]
    Procfile {
        /// The file.
        file: PathBuf,
        /// The process's name.
        process: String,
        /// The command.
        found: String,
    },
    /// The user says how the app is built, and its recipe builds nothing.
    #[error("recipe {0} has no step that --build (or [build] run) could replace")]
    NoBuild(String),
    /// The Procfile does not have the process that is to be started.
    #[error("the Procfile of {} has no process {process}", folder.display())]
    Process {
        /// The app's folder.
        folder: PathBuf,
        /// The process's name.
        process: String,
        /// The processes that it has.
        known: Vec<String>,
    },
    /// Dependencies are to be copied, and are not installed in the app's folder.
    #[error("expected installed dependencies in {}, found none of {}", folder.display(), some(names))]
    Missing {
        /// The folder for them.
        folder: PathBuf,
        /// The names of the missing ones.
        names: Vec<String>,
        /// The command that installs them.
        install: String,
    },
    /// A file was written to while the image was built.
    #[error("expected {} to have {expected} bytes, found {found}: it changed while the image was built", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// Its length when the folder was read.
        expected: u64,
        /// Its length now.
        found: u64,
    },
}

impl Explain for ProjectError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotAFolder { .. } | Self::Ignore { .. } | Self::NoBuild(_) | Self::Process { .. } => Kind::Usage,
            Self::File(e) => e.kind(),
            Self::Language(e) => e.kind(),
            Self::Io { .. }
            | Self::Name { .. }
            | Self::Special { .. }
            | Self::Link { .. }
            | Self::Runtime { .. }
            | Self::NotInstalled { .. }
            | Self::NoFile { .. }
            | Self::Procfile { .. }
            | Self::Missing { .. }
            | Self::Changed { .. } => Kind::Build,
        }
    }

    fn hint(&self) -> Option<String> {
        let leave_out = || Some("leave it out: a line in .dockerignore, or --exclude".to_owned());
        match self {
            Self::NotAFolder { .. } => Some("give the app's folder; --cmd sets the command".into()),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("make it readable, or leave it out: a line in .dockerignore, or --exclude".into())
            }
            Self::Name { .. } | Self::Special { .. } => leave_out(),
            Self::File(error) => error.hint(),
            Self::Link { .. } => Some(
                "what it points to would not be in the image: put it into the app, or leave the link out with a line \
                 in .dockerignore or --exclude"
                    .into(),
            ),
            Self::Language(error) => error.hint(),
            Self::Runtime { wanted, .. } => Some(format!(
                "another release has another version (--base alpine:edge, alpine:3.22, debian:trixie, …), or widen {} if the app \
                 runs on this one too",
                wanted.key.unwrap_or(&wanted.file)
            )),
            Self::NotInstalled { .. } => Some(
                "a [[step]] of the recipe installs them (`microbuild recipes node` has one); --deps copy takes what is \
                 installed in the app's folder; --deps none builds without them"
                    .into(),
            ),
            Self::Missing { install, .. } => {
                Some(format!("`{install}` puts them there; without --deps copy the build installs them itself"))
            }
            Self::NoBuild(_) => Some("leave it out; a recipe of your own can have any step (`microbuild recipes node` has one)".into()),
            Self::NoFile { command, .. } => {
                Some(format!("set the command: --cmd '{command}', or a Procfile with `web: {command}`"))
            }
            Self::Procfile { .. } => Some("correct the line, or set the command with --cmd".into()),
            Self::Process { process, known, .. } => Some(procfile::hint(process, known)),
            Self::Changed { .. } => Some("build again when nothing writes to the app's folder".into()),
            Self::Io { .. } | Self::Ignore { .. } => None,
        }
    }
}

impl Project {
    /// Reads the app in the folder `app` for an image of `recipe`. Only the ignore file, the `Procfile`, git's files
    /// and those that the recipe's language reads are opened, each through an [`AppFolder`].
    ///
    /// # Errors
    /// When a file in the folder cannot go into an image, or no command is known; see [`ProjectError`].
    pub fn read(app: &Path, recipe: &Recipe, options: &Options) -> Result<Self, ProjectError> {
        read::read(app, recipe, options)
    }

    /// Compares the app's own files with the commit that is checked out. Runs git, found on the search path `path`, and reads each
    /// file.
    pub fn compare(&mut self, path: &OsString) {
        if let (Some(revision), Ok(root)) = (&self.revision, folder(&self.root)) {
            self.checkout = checkout::compare(&root, &self.files, revision, path);
        }
    }

    /// The app's folder, opened.
    ///
    /// # Errors
    /// When it no longer exists.
    pub fn folder(&self) -> Result<AppFolder, ProjectError> {
        Ok(AppFolder::open(&self.root)?)
    }

    /// The folder of [`Project::data`], opened.
    ///
    /// # Errors
    /// When it no longer exists.
    pub fn data_folder(&self) -> Result<AppFolder, ProjectError> {
        Ok(AppFolder::open(&self.root.join(&self.data_folder))?)
    }

    /// The empty project of a language's base image. Its command is the recipe's, up to the first word that needs an
    /// app.
    pub fn without_app(recipe: &Recipe) -> Self {
        let words = |template: &Template| template.fixed();
        let of = |template: &Template| if recipe.app.is_made { Vec::new() } else { words(template) };
        let (cmd, entrypoint) = (of(&recipe.app.cmd), of(&recipe.app.entrypoint));
        Self { cmd, entrypoint, title: Some(recipe.name.clone()), ..Self::default() }
    }

    /// Checks that the project runs on `version` of the language's runtime, a package's version (`24.11.1-r0`). Returns
    /// a warning for the user where it may not.
    ///
    /// # Errors
    /// When the project rules this version out, and its language counts that as an error.
    pub fn check_runtime(&self, version: &str) -> Result<Option<String>, ProjectError> {
        let Some(wanted) = self.runtime.as_ref().filter(|wanted| !wanted.fits(version)) else { return Ok(None) };
        let error = ProjectError::Runtime { wanted: Box::new(wanted.clone()), version: version.to_owned() };
        if wanted.strict { Err(error) } else { Ok(Some(error.to_string())) }
    }

    /// Lists everything below `root`, where a step has written it, without `strip`. Sorted like [`Project::files`].
    ///
    /// # Errors
    /// When a file there cannot go into an image.
    pub fn made(root: &Path, strip: &[Pattern]) -> Result<Vec<AppFile>, ProjectError> {
        Ok(walk::walk(&AppFolder::open(root)?, &ignore::Rules::without(strip), None)?.files.into_files())
    }
}

impl AppFile {
    /// Opens this regular file in the folder `root`; a link in its place is not followed. Read at most `size` bytes of
    /// it: it may grow at any time.
    ///
    /// # Errors
    /// When it cannot be opened, or when its length has changed since the folder was read.
    pub fn open(&self, root: &AppFolder) -> Result<File, ProjectError> {
        let expected = match self.kind {
            FileKind::File { size, .. } => size,
            FileKind::Folder | FileKind::Link { .. } => 0,
        };
        let opened = root.open_listed(&self.path)?;
        let path = || root.path().join(&self.path);
        match opened.metadata() {
            Ok(about) if about.len() == expected => Ok(opened),
            Ok(about) => Err(ProjectError::Changed { path: path(), expected, found: about.len() }),
            Err(source) => Err(ProjectError::Io { path: path(), source }),
        }
    }
}

/// Returns the absolute path of the folder `app`, without links.
fn folder(app: &Path) -> Result<PathBuf, ProjectError> {
    let not_a_folder = |found| Err(ProjectError::NotAFolder { path: app.to_owned(), found });
    match fs::canonicalize(app) {
        Ok(root) if root.is_dir() => Ok(root),
        Ok(_) => not_a_folder("a file"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => not_a_folder("nothing"),
        Err(source) => Err(ProjectError::Io { path: app.to_owned(), source }),
    }
}

/// Checks that the required dependencies of `needs` are among the `dependencies` in the folder `app`.
fn check_copied(
    recipe: &Recipe,
    app: &Path,
    needs: Option<&Dependencies>,
    dependencies: &Listing,
) -> Result<(), ProjectError> {
    let Some(Installed { folder, command }) = recipe.language.and_then(Language::installed) else { return Ok(()) };
    let there = |name: &String| dependencies.get(&format!("{folder}/{name}")).is_some();
    let required = needs.map(|needs| needs.required.as_slice()).unwrap_or_default();
    let names: Vec<String> = required.iter().filter(|name| !there(name)).cloned().collect();
    if names.is_empty() {
        return Ok(());
    }
    let install = format!("microbuild dev {} {} -- {command}", recipe.name, app.display());
    Err(ProjectError::Missing { folder: app.join(folder), names, install })
}

/// Lists the files of the folder `app` that go into the image. `root` is its absolute path, `names` are the names at
/// its top, `ignored` are the patterns of its ignore file. Folders that a step makes anew stay out, unless they are to
/// be copied.
fn list(
    app: &AppFolder,
    root: &Path,
    names: &[String],
    recipe: &Recipe,
    options: &Options,
    ignored: Vec<Pattern>,
) -> Result<walk::Found, ProjectError> {
    let steps = steps::of_project(names, recipe, None, None).into_iter().filter_map(|at| recipe.steps.get(at));
    let (installing, other): (Vec<&Step>, Vec<&Step>) = steps.partition(|step| step.installs);
    let results = |steps: &[&Step]| steps.iter().flat_map(|step| step.results()).cloned().collect::<Vec<Pattern>>();
    let (installed, mut without) = (results(&installing), results(&other));
    let copies = options.deps == Deps::Copy;
    if !copies {
        without.extend(installed.iter().cloned());
    }
    let own = recipe.origin.file().and_then(|path| fs::canonicalize(path).ok());
    let own = own.as_deref().and_then(|path| path.strip_prefix(root).ok()?.to_str()).map(str::to_owned);
    let ignored = recipe.app.ignore.iter().cloned().chain(ignored).collect();
    let rules = ignore::Rules::for_app(ignored, &options.include, &options.exclude, &without, own);
    let apart = copies.then(|| (installed.clone(), ignore::Rules::for_dependencies(&installed, &options.exclude)));
    let mut found = walk::walk(app, &rules, apart.as_ref())?;
    let is_quiet = |name: &String| recipe.app.ignore.iter().any(|pattern| pattern.matches(name));
    let is_left_out = |name: &&String| without.iter().any(|pattern| pattern.matches(name)) && !is_quiet(name);
    found.warnings.extend(names.iter().filter(is_left_out).map(|name| {
        let copied = installed.iter().any(|pattern| pattern.matches(name));
        let hint = if copied { "; --deps copy takes it" } else { "" };
        format!("{name} in the app's folder stays out of the image, because the build makes it anew{hint}")
    }));
    Ok(found)
}

/// Reads the patterns of the app's ignore file.
fn ignore_file(app: &AppFolder) -> Result<Vec<Pattern>, ProjectError> {
    for name in ignore::FILES {
        if let Some(text) = app.read(name, LARGEST)? {
            let file = app.path().join(name);
            return ignore::parse(&text).map_err(|(line, source)| ProjectError::Ignore { file, line, source });
        }
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_gave_is_a_matter_of_usage_and_what_the_app_has_one_of_the_build() {
        let path = || PathBuf::from("app");
        for (error, expected) in [
            (ProjectError::NotAFolder { path: path(), found: "a file" }, Kind::Usage),
            (ProjectError::File(AppFolderError::NotText { path: path() }), Kind::Build),
            (ProjectError::Language(LanguageError::File(AppFolderError::LeadsOut { path: path() })), Kind::Build),
            (ProjectError::NoFile { names: vec!["a.js".into()], folder: path(), command: "a".into() }, Kind::Build),
            (ProjectError::Changed { path: path(), expected: 1, found: 2 }, Kind::Build),
        ] {
            assert_eq!(error.kind(), expected, "{error}");
        }
    }
}
