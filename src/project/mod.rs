//! The project: an app's folder, read once. What of it goes into the image, how it starts, and what it says of itself.

mod git;
mod ignore;
mod install;
mod node;
mod procfile;
mod program;
mod walk;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

pub use install::Install;
pub use node::must_compile;

use crate::{
    app_folder::{AppFolder, AppFolderError},
    error::{Explain, Kind},
    glob::{Pattern, PatternError},
    recipe::{Hook, Recipe, Start, Template},
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

/// A file, folder or symbolic link of the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppFile {
    /// Relative to the app's folder, its separator `/`.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
}

/// What kind of thing a path names. Owner, times and all of the mode but one bit are left behind, so that an image does
/// not depend on who builds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileKind {
    /// A folder, 0755.
    Folder,
    /// A regular file, 0644, or 0755 when its owner may execute it.
    File {
        /// Its length in bytes.
        size: u64,
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A symbolic link.
    Link {
        /// What it holds: relative and within the app, or absolute.
        target: String,
    },
}

/// The most bytes that a file of a project may have which is read whole: lock files are the largest.
const LARGEST: u64 = 64 << 20;

impl FileKind {
    /// A regular file of `size` bytes whose permission bits are among `mode`.
    fn file(size: u64, mode: u32) -> Self {
        Self::File { size, executable: mode & 0o100 != 0 }
    }

    /// The permission bits in the image.
    pub fn mode(&self) -> u32 {
        match self {
            Self::Folder | Self::File { executable: true, .. } => 0o755,
            Self::File { executable: false, .. } => 0o644,
            Self::Link { .. } => 0o777,
        }
    }
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
    /// What has to be installed ([`Deps::Auto`]).
    pub install: Option<Install>,
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
    /// The versions of the runtime that it runs on, when it says so; see [`Project::check_engines`].
    pub engines: Option<Engines>,
    /// What whoever builds should know, each a line.
    pub warnings: Vec<String>,
}

/// A range of versions, as npm has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engines {
    /// As it is written.
    pub range: String,
    parsed: nodejs_semver::Range,
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
    /// A `package.json` that is not JSON.
    #[error("{}:{line}:{column}: {message}", file.display())]
    PackageJson {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What was expected and what was found.
        message: String,
    },
    /// Nothing says what is to be run.
    #[error("expected a file that starts the app, found none; looked at: {}", looked.join(", "))]
    NoEntry {
        /// The places looked at.
        looked: Vec<String>,
        /// One that is there, and left out of the image.
        left_out: Option<String>,
        /// Whether the project has a build script, whose result may be what is missing.
        builds: bool,
    },
    /// `engines.node` is not a range.
    #[error("{}: expected engines.node to be a range of versions such as >=20, found `{range}`", file.display())]
    EnginesRange {
        /// The file.
        file: PathBuf,
        /// What it says.
        range: String,
    },
    /// The runtime's version is not one that the project runs on.
    #[error("expected a version of Node that fits engines.node in package.json (`{range}`), found {version}")]
    Engines {
        /// What the project says.
        range: String,
        /// The version chosen.
        version: String,
    },
    /// The project has dependencies that nothing installs.
    #[error("the project has dependencies ({}), and recipe {recipe} does not say how they are installed", some(names))]
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
    /// What was to be run is no program of Linux.
    #[error("expected a program of Linux (ELF), found {found}: {}", path.display())]
    NotAProgram {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// Which of several programs is meant, nothing says.
    #[error("expected one program in {}, found {}", folder.display(), some(names))]
    Programs {
        /// The folder.
        folder: PathBuf,
        /// Their paths below it.
        names: Vec<String>,
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

/// The first few of `names`.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}

impl Explain for ProjectError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotAFolder { .. } | Self::Ignore { .. } => Kind::Usage,
            _ => Kind::Build,
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
            Self::NoEntry { left_out: Some(file), .. } => {
                Some(format!("--include {file} takes it in, whatever .dockerignore says"))
            }
            Self::NoEntry { builds: true, .. } => {
                Some("`npm run build` first, if that makes it; or --cmd \"node FILE\"".into())
            }
            Self::NoEntry { .. } => Some("name it as main in package.json, or give --cmd \"node FILE\"".into()),
            Self::EnginesRange { .. } => Some("npm's ranges: https://docs.npmjs.com/cli/configuring-npm/package-json#engines".into()),
            Self::Engines { .. } => Some(
                "another release has another version (--base alpine:edge, alpine:3.22, debian:trixie, …), or widen engines.node if \
                 the app runs on this one too"
                    .into(),
            ),
            Self::NotInstalled { .. } => Some(
                "[dependencies] of the recipe says it (`microbuild recipes node` has one); --deps copy takes what is \
                 installed in the app's folder; --deps none builds without them"
                    .into(),
            ),
            Self::Missing { folder, .. } => Some(format!(
                "`microbuild dev node {} -- npm ci --omit=dev` puts them there; without --deps copy the build installs them itself",
                folder.parent().unwrap_or(folder).display()
            )),
            Self::NoFile { .. } => Some("--cmd says what is run: --cmd 'python3 tool.py'; so does a Procfile: `web: python3 tool.py`".into()),
            Self::NotAProgram { path, found } if found.starts_with("a script") => {
                let name = path.file_name().unwrap_or_default().display();
                Some(format!("what has an interpreter is another recipe's: `microbuild recipes`; a shell's: `microbuild build --recipe base --base alpine --cmd 'sh {name}' FOLDER`"))
            }
            Self::NotAProgram { .. } => Some("`microbuild recipes` lists what builds programs out of their source".into()),
            Self::Programs { names, .. } => {
                let name = names.first().map_or("PROGRAM", String::as_str);
                Some(format!("--cmd './{name}' says which is started"))
            }
            Self::Procfile { .. } => Some("what a shell would do with it, --cmd \"sh -c '…'\" does where the base has a shell (alpine)".into()),
            Self::Changed { .. } => Some("build again when nothing writes to the app's folder".into()),
            Self::Io { .. } | Self::Ignore { .. } | Self::PackageJson { .. } => None,
        }
    }
}

impl Project {
    /// Reads the app in the folder `app` for an image after `recipe`. No file but the ignore file, `package.json` and
    /// git's own is opened, each through an [`AppFolder`].
    ///
    /// # Errors
    /// When something in the folder cannot go into an image, or nothing says what is to be run; see [`ProjectError`].
    pub fn read(app: &Path, recipe: &Recipe, options: &Options) -> Result<Self, ProjectError> {
        let is_alone = recipe.app.hook == Some(Hook::Static) && app.is_file();
        let unreadable = |source| ProjectError::Io { path: app.to_owned(), source };
        // A single file is the user's choice: where its name is a link, what that leads to is meant.
        let real = if is_alone { fs::canonicalize(app).map_err(unreadable)? } else { app.to_owned() };
        let app = real.as_path();
        let alone = is_alone.then(|| program::alone(app)).transpose()?;
        let app = match &alone {
            Some(_) => app.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")),
            None => app,
        };
        let root = folder(app)?;
        let manifest = app.join("package.json");
        let door = &AppFolder::open(app)?;
        let package = match recipe.app.hook {
            Some(Hook::Node) => door
                .read("package.json", LARGEST)?
                .map_or(Ok(node::Package::default()), |text| node::Package::parse(&text, &manifest))?,
            Some(Hook::Static) | None => node::Package::default(),
        };
        let package = node::Package { local: package.local || door.is_file(node::PNPM_WORKSPACE), ..package };
        let wanted = if options.deps == Deps::Auto { install::wanted(door, recipe, &package)? } else { None };
        let walk::Found { files, dependencies, mut warnings } = match alone {
            Some(file) => walk::Found::of(file),
            None => list(door, &root, recipe, options)?,
        };
        if options.deps == Deps::Copy {
            let there = |name: &String| dependencies.get(&format!("{}/{name}", node::MODULES)).is_some();
            let missing: Vec<String> = package.dependencies.iter().filter(|name| !there(name)).cloned().collect();
            if !missing.is_empty() {
                return Err(ProjectError::Missing { folder: app.join(node::MODULES), names: missing });
            }
        }
        let given = options.entrypoint.is_some() || options.cmd.is_some();
        let procfile = if given || recipe.compile.is_some() { None } else { procfile::read(door, recipe)? };
        let by_file = recipe.app.start.iter().find(|start| start.when.iter().any(|path| files.get(path).is_some()));
        let by_file = by_file.filter(|_| !given).map(|start| start.cmd.0.clone());
        let (entrypoint, cmd) = match procfile.or(by_file) {
            Some(words) => (Words::Given(Vec::new()), Words::Given(words)),
            None => Words::of(recipe, options),
        };
        let node::Entry { start, env, warnings: of_entry } = match recipe.app.hook {
            _ if !entrypoint.has_places() && !cmd.has_places() => node::Entry::default(),
            Some(Hook::Node) => node::App { root: door, files: &files, package: &package }.entry()?,
            Some(Hook::Static) => {
                let entry = program::meant(door, &root, &files)?.unwrap_or_default();
                if entry.is_empty() {
                    warnings.push("there is no program to be started: the image holds files only".into());
                }
                node::Entry { start: Start { entry, ..Start::default() }, ..node::Entry::default() }
            }
            None => {
                let entry = recipe.app.entry.iter().find(|name| files.get(name).is_some());
                let none = || ProjectError::NoFile { names: recipe.app.entry.clone(), folder: app.to_owned() };
                let start = Start { entry: entry.ok_or_else(none)?.clone(), ..Start::default() };
                node::Entry { start, ..node::Entry::default() }
            }
        };
        warnings.extend(of_entry);
        let engines = package.engines(&manifest)?;
        let files = files.into_files();
        let install =
            wanted.map(|recipe| install::read(door, recipe, &package, &files, options, &mut warnings)).transpose()?;
        let git::Commit { revision, source } = git::commit(&root);
        Ok(Self {
            root: app.to_owned(),
            files,
            deps: if dependencies.is_empty() && install.is_none() { Deps::None } else { options.deps },
            install,
            dependencies: dependencies.into_files(),
            entrypoint: entrypoint.fill(&start),
            // A folder of files without a program starts nothing.
            cmd: if start.entry.is_empty() && cmd.has_places() { Vec::new() } else { cmd.fill(&start) },
            entry: Some(start.entry).filter(|entry| !entry.is_empty()),
            env,
            title: package.name,
            version: package.version,
            revision,
            source,
            engines,
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
        let cmd = if recipe.compile.is_some() { Vec::new() } else { words(&recipe.app.cmd) };
        Self { cmd, entrypoint: words(&recipe.app.entrypoint), title: Some(recipe.name.clone()), ..Self::default() }
    }

    /// Whether the project runs on `version` of the language's runtime, a package's version (`24.11.1-r0`).
    ///
    /// # Errors
    /// When it says that it does not.
    pub fn check_engines(&self, version: &str) -> Result<(), ProjectError> {
        let Some(engines) = &self.engines else { return Ok(()) };
        // Behind the first `-` or `_` stand the package's own revision and Alpine's suffixes, which npm would take for
        // pre-releases.
        let plain = version.split(['-', '_']).next().unwrap_or(version);
        match plain.parse::<nodejs_semver::Version>() {
            Ok(parsed) if engines.parsed.satisfies(&parsed) => Ok(()),
            _ => Err(ProjectError::Engines { range: engines.range.clone(), version: version.to_owned() }),
        }
    }

    /// Everything below `root`, where a compiler has put it, but for `strip`; sorted as [`Project::files`] are.
    ///
    /// # Errors
    /// When something there cannot go into an image.
    pub fn made(root: &Path, strip: &[Pattern]) -> Result<Vec<AppFile>, ProjectError> {
        Ok(walk::walk(&AppFolder::open(root)?, &ignore::Rules::without(strip), None)?.files.into_files())
    }

    /// The installed dependencies below `root`, another folder than the project's, as recipes call theirs `name`: sorted as
    /// [`Project::dependencies`] are.
    ///
    /// # Errors
    /// When something there cannot go into an image.
    pub fn installed(root: &Path, name: &str, strip: &[Pattern]) -> Result<Vec<AppFile>, ProjectError> {
        let rules = ignore::Rules::for_dependencies(name, strip);
        let found = walk::walk(&AppFolder::open(root)?, &ignore::Rules::default(), Some(&(name, rules)))?;
        Ok(found.dependencies.into_files())
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

/// What of the folder `app`, whose absolute path is `root`, goes into the image.
fn list(app: &AppFolder, root: &Path, recipe: &Recipe, options: &Options) -> Result<walk::Found, ProjectError> {
    let modules = (recipe.app.hook == Some(Hook::Node)).then_some(node::MODULES);
    let (copied, without) = if options.deps == Deps::Copy { (modules, None) } else { (None, modules) };
    let own = recipe.origin.file().and_then(|path| fs::canonicalize(path).ok());
    let own = own.as_deref().and_then(|path| path.strip_prefix(root).ok()?.to_str()).map(str::to_owned);
    let ignored = recipe.app.ignore.iter().cloned().chain(ignore_file(app)?).collect();
    let rules = ignore::Rules::for_app(ignored, &options.include, &options.exclude, without, own);
    let apart = copied.map(|folder| (folder, ignore::Rules::for_dependencies(folder, &options.exclude)));
    walk::walk(app, &rules, apart.as_ref())
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
