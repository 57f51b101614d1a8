//! The project: an app's folder, read once. What of it goes into the image, how it starts, and what it says of itself.

mod git;
mod ignore;
mod procfile;
mod steps;
mod walk;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

pub use steps::ProjectStep;

pub use crate::listing::{AppFile, FileKind};
use crate::{
    app_folder::{AppFolder, AppFolderError},
    error::{Explain, Kind},
    glob::{Pattern, PatternError},
    lang::{Dependencies, Installed, LARGEST, Language, LanguageError, Source, Start, WantedRuntime, some},
    listing::Listing,
    recipe::{Recipe, Step, Template},
    values::Deps,
};

/// What a build's options say of the project.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What becomes of dependencies.
    pub deps: Deps,
    /// Files to take that the ignore file, or microbuild itself, leaves out.
    pub include: Vec<Pattern>,
    /// Files to leave out besides; wins over `include`.
    pub exclude: Vec<Pattern>,
    /// Stands for the recipe's entrypoint; the recipe's cmd then counts no more, as with Docker.
    pub entrypoint: Option<Vec<String>>,
    /// Stands for the recipe's cmd.
    pub cmd: Option<Vec<String>>,
}

/// An app's folder, as a build sees it.
#[derive(Debug, Clone, Default)]
pub struct Project {
    /// The folder.
    pub root: PathBuf,
    /// The app's own files, sorted by path, every folder before what it holds.
    pub files: Vec<AppFile>,
    /// Installed dependencies (`node_modules` and what lies below), sorted in the same way; empty unless copied.
    pub dependencies: Vec<AppFile>,
    /// What is done about dependencies: [`Deps::None`] when there are none, or none are wanted.
    pub deps: Deps,
    /// The recipe's steps that are run for it, in order.
    pub steps: Vec<ProjectStep>,
    /// The file that is run, relative to the folder; `None` when options say what is run.
    pub entry: Option<String>,
    /// `Config.Entrypoint`.
    pub entrypoint: Vec<String>,
    /// `Config.Cmd`.
    pub cmd: Vec<String>,
    /// Variables that the project itself sets; they win over the recipe's.
    pub env: BTreeMap<String, String>,
    /// What the project calls itself. Not the folder's name, which differs from one checkout to another.
    pub title: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The git commit that is checked out, in hexadecimal digits.
    pub revision: Option<String>,
    /// The web address of its source.
    pub source: Option<String>,
    /// The versions of the runtime that it runs on, when it says so; see [`Project::check_runtime`].
    pub runtime: Option<WantedRuntime>,
    /// What whoever builds should know, each a line.
    pub warnings: Vec<String>,
}

/// What is wrong with a project.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The app is not a folder.
    #[error("expected the app's folder, found {} at {}", found, path.display())]
    NotAFolder {
        /// What was given.
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
        /// What a name must be.
        expected: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Something that is neither file, folder nor link.
    #[error("expected a file, a folder or a symbolic link, found a socket, pipe or device: {}", path.display())]
    Special {
        /// The thing.
        path: PathBuf,
    },
    /// A symbolic link to something outside the app's folder.
    #[error("expected a link to something within the app, found {} -> {target}", path.display())]
    Link {
        /// The link.
        path: PathBuf,
        /// What it holds.
        target: String,
    },
    /// The language cannot read it.
    #[error(transparent)]
    Language(#[from] LanguageError),
    /// The runtime's version is not one that the project runs on.
    #[error("expected a version of {} that fits {} (`{}`), found {version}", wanted.runtime, wanted.place(), wanted.range)]
    Runtime {
        /// What the project says.
        wanted: Box<WantedRuntime>,
        /// The version chosen.
        version: String,
    },
    /// The project has dependencies that nothing installs.
    #[error("recipe {recipe} has no step that installs what the project depends on ({})", some(names))]
    NotInstalled {
        /// The recipe.
        recipe: String,
        /// Their names.
        names: Vec<String>,
    },
    /// Nothing says what is run: none of the files that a recipe knows is there.
    #[error("expected {} in {}, found none of them", some(names), folder.display())]
    NoFile {
        /// What was looked for.
        names: Vec<String>,
        /// The app's folder.
        folder: PathBuf,
    },
    /// A line of a Procfile cannot be run.
    #[error("{}: expected a plain command for {process}, found {found}", file.display())]
    Procfile {
        /// The file.
        file: PathBuf,
        /// The process's name.
        process: String,
        /// What stands there.
        found: String,
    },
    /// Dependencies were to be copied and do not lie there.
    #[error("expected installed dependencies in {}, found none of {}", folder.display(), some(names))]
    Missing {
        /// Where they should be.
        folder: PathBuf,
        /// The names of those that are missing.
        names: Vec<String>,
        /// What installs them there.
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
            Self::NotAFolder { .. } | Self::Ignore { .. } => Kind::Usage,
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
            Self::NotAFolder { .. } => Some("give the folder that the app lies in; --cmd says what is run".into()),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("make it readable, or leave it out: a line in .dockerignore, or --exclude".into())
            }
            Self::Name { .. } | Self::Special { .. } => leave_out(),
            Self::File(error) => error.hint(),
            Self::Link { .. } => Some(
                "what it points to would not be in the image: put that into the app, or leave the link out with a line \
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
            Self::NoFile { .. } => Some("--cmd says what is run: --cmd 'python3 tool.py'; so does a Procfile: `web: python3 tool.py`".into()),
            Self::Procfile { .. } => Some("what a shell would do with it, --cmd \"sh -c '…'\" does where the base has a shell (alpine)".into()),
            Self::Changed { .. } => Some("build again when nothing writes to the app's folder".into()),
            Self::Io { .. } | Self::Ignore { .. } => None,
        }
    }
}

impl Project {
    /// Reads the app in the folder `app` for an image after `recipe`. No file but the ignore file, the `Procfile`, git's own and
    /// those that the recipe's language reads is opened, each through an [`AppFolder`].
    ///
    /// # Errors
    /// When something in the folder cannot go into an image, or nothing says what is to be run; see [`ProjectError`].
    pub fn read(app: &Path, recipe: &Recipe, options: &Options) -> Result<Self, ProjectError> {
        // A single file is the user's choice: where its name is a link, what that leads to is meant.
        let unreadable = |source| ProjectError::Io { path: app.to_owned(), source };
        let real = if app.is_file() { Some(fs::canonicalize(app).map_err(unreadable)?) } else { None };
        let alone = match (recipe.language, &real) {
            (Some(language), Some(path)) => language.single_file(path)?,
            _ => None,
        };
        let app = match real.as_deref().filter(|_| alone.is_some()) {
            Some(file) => file.parent().unwrap_or(Path::new("/")),
            None => app,
        };
        let root = folder(app)?;
        let door = &AppFolder::open(app)?;
        let names = walk::names(door)?;
        let walk::Found { files, dependencies, mut warnings } = match alone {
            Some(file) => walk::Found::of(file),
            None => list(door, &root, &names, recipe, options)?,
        };
        let given = options.entrypoint.is_some() || options.cmd.is_some();
        let procfile = if given || recipe.app.is_made { None } else { procfile::read(door, recipe)? };
        let by_file = recipe.app.start.iter().find(|start| start.when.iter().any(|path| files.get(path).is_some()));
        let by_file = by_file.filter(|_| !given).map(|start| start.cmd.0.clone());
        let (entrypoint, cmd) = match procfile.or(by_file) {
            Some(words) => (Words::Given(Vec::new()), Words::Given(words)),
            None => Words::of(recipe, options),
        };
        let starts = entrypoint.has_places() || cmd.has_places();
        let source = Source { folder: door, root: &root, files: &files, starts, installs: options.deps == Deps::Auto };
        let facts = recipe.language.map(|language| language.read(&source)).transpose()?.unwrap_or_default();
        if options.deps == Deps::Copy {
            check_copied(recipe, app, facts.dependencies.as_ref(), &dependencies)?;
        }
        let chosen = steps::of_project(&names, recipe, facts.dependencies.as_ref());
        let chosen = steps::to_run(&chosen, recipe, facts.dependencies.as_ref(), options.deps)?;
        let is_finished = recipe.language.is_some_and(Language::is_finished);
        let start = match facts.start {
            Some(start) => start,
            None if !starts || is_finished => Start::default(),
            None => {
                let entry = recipe.app.entry.iter().find(|name| files.get(name).is_some());
                let none = || ProjectError::NoFile { names: recipe.app.entry.clone(), folder: app.to_owned() };
                Start { entry: entry.ok_or_else(none)?.clone(), ..Start::default() }
            }
        };
        warnings.extend(facts.warnings);
        let installs = chosen.iter().any(|at| recipe.steps.get(*at).is_some_and(|step| step.installs));
        let generated = match recipe.language {
            Some(language) if installs => language.prepare(&source)?,
            _ => Vec::new(),
        };
        let files = files.into_files();
        let seen = steps::Seen {
            folder: door,
            files: &files,
            dependencies: &facts.dependencies.unwrap_or_default(),
            generated: &generated,
            exclude: &options.exclude,
        };
        let steps = chosen.into_iter().filter_map(|at| Some((at, recipe.steps.get(at)?)));
        let steps = steps.map(|(at, step)| seen.by(at, step, &mut warnings)).collect::<Result<Vec<_>, _>>()?;
        let git::Commit { revision, source } = git::commit(&root);
        Ok(Self {
            root: app.to_owned(),
            files,
            deps: if dependencies.is_empty() && !installs { Deps::None } else { options.deps },
            steps,
            dependencies: dependencies.into_files(),
            entrypoint: entrypoint.fill(&start),
            // A folder of files without a program starts nothing.
            cmd: if start.entry.is_empty() && cmd.has_places() { Vec::new() } else { cmd.fill(&start) },
            entry: Some(start.entry).filter(|entry| !entry.is_empty()),
            env: facts.env,
            title: facts.name,
            version: facts.version,
            revision,
            source,
            runtime: facts.runtime,
            warnings,
        })
    }

    /// The app's folder, opened.
    ///
    /// # Errors
    /// When it is not there any more.
    pub fn folder(&self) -> Result<AppFolder, ProjectError> {
        Ok(AppFolder::open(&self.root)?)
    }

    /// No app at all, of a language's base image: it starts with what the recipe's command begins with, as far as that says nothing
    /// of an app.
    pub fn without_app(recipe: &Recipe) -> Self {
        let words = |template: &Template| template.fixed();
        let cmd = if recipe.app.is_made { Vec::new() } else { words(&recipe.app.cmd) };
        Self { cmd, entrypoint: words(&recipe.app.entrypoint), title: Some(recipe.name.clone()), ..Self::default() }
    }

    /// Whether the project runs on `version` of the language's runtime, a package's version (`24.11.1-r0`). A warning for the
    /// user where it may not.
    ///
    /// # Errors
    /// When it says that it does not, in a way that is meant to be binding.
    pub fn check_runtime(&self, version: &str) -> Result<Option<String>, ProjectError> {
        let Some(wanted) = self.runtime.as_ref().filter(|wanted| !wanted.fits(version)) else { return Ok(None) };
        let error = ProjectError::Runtime { wanted: Box::new(wanted.clone()), version: version.to_owned() };
        if wanted.strict { Err(error) } else { Ok(Some(error.to_string())) }
    }

    /// Everything below `root`, where a compiler has put it, but for `strip`; sorted as [`Project::files`] are.
    ///
    /// # Errors
    /// When something there cannot go into an image.
    pub fn made(root: &Path, strip: &[Pattern]) -> Result<Vec<AppFile>, ProjectError> {
        Ok(walk::walk(&AppFolder::open(root)?, &ignore::Rules::without(strip), None)?.files.into_files())
    }
}

impl AppFile {
    /// Opens this regular file, which lies in the folder `root`; never what a link in its place leads to. No more than its `size`
    /// bytes are to be read: it may grow at any time.
    ///
    /// # Errors
    /// When it cannot be opened, or has another length than when the folder was read.
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

/// A part of the image's command: the recipe's, to be filled in, or what options say instead.
enum Words<'a> {
    Recipe(&'a Template),
    Given(Vec<String>),
}

impl<'a> Words<'a> {
    /// The entrypoint and the cmd.
    fn of(recipe: &'a Recipe, options: &Options) -> (Self, Self) {
        match (options.entrypoint.clone(), options.cmd.clone()) {
            (Some(entrypoint), cmd) => (Self::Given(entrypoint), Self::Given(cmd.unwrap_or_default())),
            (None, Some(cmd)) => (Self::Recipe(&recipe.app.entrypoint), Self::Given(cmd)),
            (None, None) => (Self::Recipe(&recipe.app.entrypoint), Self::Recipe(&recipe.app.cmd)),
        }
    }

    fn has_places(&self) -> bool {
        matches!(self, Self::Recipe(template) if template.has_places())
    }

    fn fill(self, start: &Start) -> Vec<String> {
        match self {
            Self::Recipe(template) => template.fill(start),
            Self::Given(words) => words,
        }
    }
}

/// The folder `app` by its absolute path, without links.
fn folder(app: &Path) -> Result<PathBuf, ProjectError> {
    let not_a_folder = |found| Err(ProjectError::NotAFolder { path: app.to_owned(), found });
    match fs::canonicalize(app) {
        Ok(root) if root.is_dir() => Ok(root),
        Ok(_) => not_a_folder("a file"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => not_a_folder("nothing"),
        Err(source) => Err(ProjectError::Io { path: app.to_owned(), source }),
    }
}

/// Checks that what `needs` cannot do without is among the `dependencies` in the folder `app`.
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

/// What of the folder `app`, whose absolute path is `root` and which has things of these `names`, goes into the image. What a
/// step would make anew stays out, unless it is to be copied.
fn list(
    app: &AppFolder,
    root: &Path,
    names: &[String],
    recipe: &Recipe,
    options: &Options,
) -> Result<walk::Found, ProjectError> {
    let steps = steps::of_project(names, recipe, None).into_iter().filter_map(|at| recipe.steps.get(at));
    let results: Vec<&Pattern> = steps.filter(|step| step.installs).flat_map(Step::results).collect();
    let results: Vec<Pattern> = results.into_iter().cloned().collect();
    let copies = options.deps == Deps::Copy;
    let without = if copies { &[][..] } else { &results };
    let own = recipe.origin.file().and_then(|path| fs::canonicalize(path).ok());
    let own = own.as_deref().and_then(|path| path.strip_prefix(root).ok()?.to_str()).map(str::to_owned);
    let ignored = recipe.app.ignore.iter().cloned().chain(ignore_file(app)?).collect();
    let rules = ignore::Rules::for_app(ignored, &options.include, &options.exclude, without, own);
    let apart = copies.then(|| (results.clone(), ignore::Rules::for_dependencies(&results, &options.exclude)));
    let mut found = walk::walk(app, &rules, apart.as_ref())?;
    let is_quiet = |name: &String| recipe.app.ignore.iter().any(|pattern| pattern.matches(name));
    let is_left_out = |name: &&String| without.iter().any(|pattern| pattern.matches(name)) && !is_quiet(name);
    found.warnings.extend(names.iter().filter(is_left_out).map(|name| {
        format!("{name} in the app's folder stays out of the image, which gets what the build installs; --deps copy takes it")
    }));
    Ok(found)
}

/// The patterns of the app's ignore file.
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
            (ProjectError::NoFile { names: vec!["a.js".into()], folder: path() }, Kind::Build),
            (ProjectError::Changed { path: path(), expected: 1, found: 2 }, Kind::Build),
        ] {
            assert_eq!(error.kind(), expected, "{error}");
        }
    }
}
