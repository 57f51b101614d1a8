//! Languages: what this program knows of an app's language that a recipe cannot say as data.
//!
//! A recipe names its language (`language = "node"`), which is one [`Language`], in a file of its own here, and one line in
//! [`ALL`]. A recipe without one is read by nothing: its own keys say everything.
//!
//! Reading a project is pure: a language opens files of the project's folder, through the [`AppFolder`] that it is given. It
//! starts no process and looks neither at the network nor at the environment, so that its tests are folders.

mod explain;
mod go;
mod java;
mod lua;
mod node;
mod php;
mod program;
pub mod python;
mod ruby;
mod rust;
#[cfg(test)]
mod testing;
mod versions;

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize as _, Deserializer, de::Error as _};

pub use explain::{Diagnosis, Explanation};

use crate::{
    app_folder::{AppFolder, AppFolderError},
    error::{Explain, Kind},
    listing::{AppFile, Listing},
};

/// Every language, each once.
pub const ALL: &[&dyn Language] = &[
    &go::Go,
    &java::Java,
    &lua::Lua,
    &node::Node,
    &php::Php,
    &program::Program,
    &python::Python,
    &ruby::Ruby,
    &rust::Rust,
];

/// The most bytes that a file of a project may have which is read whole: lock files are the largest.
pub const LARGEST: u64 = 64 << 20;

/// What this program knows of a language's projects and tools.
pub trait Language: fmt::Debug + Sync {
    /// What recipes call it.
    fn name(&self) -> &'static str;

    /// Whether `folder`, in which a recipe has detected files of this language, has an app in it, and not just tools that an app
    /// of another language is made with. It decides where files of several languages lie together.
    fn is_app(&self, _folder: &AppFolder) -> bool {
        true
    }

    /// Reads the project `source`.
    ///
    /// # Errors
    /// When a file of it cannot be read as what it should be, or nothing says how the app starts and [`Source::starts`].
    fn read(&self, source: &Source<'_>) -> Result<Facts, LanguageError>;

    /// The app as a single file, where the file at `path` can be one. `None` when only folders can.
    ///
    /// # Errors
    /// When it is not that kind of file, or cannot be read.
    fn single_file(&self, _path: &Path) -> Result<Option<AppFile>, LanguageError> {
        Ok(None)
    }

    /// Files that a step which installs or builds wants besides the project's own, made of these. They are written into the
    /// folder that the step runs in, over a file of the project in their place.
    ///
    /// # Errors
    /// When a file of the project cannot be read as what it should be, or asks for what cannot be done.
    fn prepare(&self, _source: &Source<'_>) -> Result<Vec<GeneratedFile>, LanguageError> {
        Ok(Vec::new())
    }

    /// What a step has installed in `folder`, which has `files`: sorted by name and version, each once. What cannot be read is
    /// left out: the tool that wrote it knows better.
    fn components(&self, _folder: &AppFolder, _files: &[AppFile]) -> Vec<Component> {
        Vec::new()
    }

    /// Of the packages installed in `folder`, which has `files`, those that do not work before something is compiled for `os`
    /// and `cpu` (the tool's words for them): their scripts were not run. Sorted by place.
    fn uncompiled(&self, _folder: &AppFolder, _files: &[AppFile], _os: &str, _cpu: &str) -> Vec<String> {
        Vec::new()
    }

    /// What a line means that a failing tool of this language wrote. What compilers write is the same in every language:
    /// [`Diagnosis`] knows that.
    fn explain(&self, _line: &str) -> Option<Explanation> {
        None
    }

    /// How the dependencies lie that the user has installed in the app's folder, where that is not among the app's own files.
    fn installed(&self) -> Option<Installed> {
        None
    }

    /// Whether `command`, the first word of a process in a `Procfile`, leaves it to the project's own files what is started. No
    /// image has such a command.
    fn is_manager(&self, _command: &str) -> bool {
        false
    }

    /// Whether the app's files may be programs, which take along the libraries that they are linked with, and may be files that
    /// nothing starts.
    fn is_finished(&self) -> bool {
        false
    }
}

/// The project that a language reads.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The app's folder.
    pub folder: &'a AppFolder,
    /// Its absolute path, without links.
    pub root: &'a Path,
    /// What of it goes into the image.
    pub files: &'a Listing,
    /// Whether [`Facts::start`] is wanted; not where the user says what is started.
    pub starts: bool,
    /// Whether dependencies are to be installed; lock files are not read otherwise.
    pub installs: bool,
}

impl Source<'_> {
    /// The text of a file of the project, whether it goes into the image or not. `None` when there is none.
    ///
    /// # Errors
    /// When it is no text, too large, or cannot be read.
    pub fn read(&self, path: &str) -> Result<Option<String>, LanguageError> {
        Ok(self.folder.read(path, LARGEST)?)
    }

    /// The path of a file of the project for messages.
    pub fn place(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }
}

/// What a project says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// What the project calls itself. Not the folder's name, which differs from one checkout to another.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The versions of the runtime that it runs on.
    pub runtime: Option<WantedRuntime>,
    /// What is started. `None` when the project does not say: then the recipe's `entry` does.
    pub start: Option<Start>,
    /// Variables that the app is started with.
    pub env: BTreeMap<String, String>,
    /// What has to be installed for it. `None` when the language does not know: then the recipe's `when` does.
    pub dependencies: Option<Dependencies>,
    /// What the user should know, each a line.
    pub warnings: Vec<String>,
}

/// How an app starts, to fill in a recipe's command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// `{options}`: what the runtime itself is told.
    pub options: Vec<String>,
    /// `{entry}`: the file that is run, relative to the app's folder.
    pub entry: String,
    /// `{args}`: what the app is told.
    pub args: Vec<String>,
}

/// What a project says of its dependencies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// The names of those that it cannot do without.
    pub required: Vec<String>,
    /// The names of the others.
    pub optional: Vec<String>,
    /// Whether installing may read any file of the project, and not just those that say what is to be installed.
    pub whole: bool,
    /// The packages that run scripts of their own when they are installed, as the lock file says; sorted.
    pub scripts: Vec<String>,
    /// The lock files that are there, of all of the language's tools.
    pub locks: Vec<String>,
}

impl Dependencies {
    /// Whether there is nothing to install.
    pub fn is_empty(&self) -> bool {
        self.required.is_empty() && self.optional.is_empty()
    }
}

/// The versions of a language's runtime that a project runs on.
#[derive(Debug, Clone, PartialEq)]
pub struct WantedRuntime {
    /// What the runtime is called: `Node`.
    pub runtime: &'static str,
    /// The versions, as they are written.
    pub range: String,
    /// The key that says it, when the file has keys: `engines.node`.
    pub key: Option<&'static str>,
    /// The file that says it, relative to the app's folder.
    pub file: String,
    /// Whether another version is an error. Otherwise it is a warning.
    pub strict: bool,
    versions: Versions,
}

/// A set of versions, as its language writes it.
#[derive(Debug, Clone, PartialEq)]
enum Versions {
    /// npm's ranges.
    Npm(nodejs_semver::Range),
    /// Those that look at release numbers only.
    Releases(versions::Releases),
}

impl WantedRuntime {
    /// The versions `releases`, as `range` writes them, which `key` of `file` asks for: another version deserves a warning. `None`
    /// when `range` could not be read.
    fn advised(
        runtime: &'static str,
        range: &str,
        key: Option<&'static str>,
        file: &str,
        releases: Option<versions::Releases>,
    ) -> Option<Self> {
        let versions = Versions::Releases(releases?);
        Some(Self { runtime, range: range.to_owned(), key, file: file.to_owned(), strict: false, versions })
    }

    /// Whether `version`, a package's version (`24.11.1-r0`), is one of these.
    pub fn fits(&self, version: &str) -> bool {
        // Before it stands Debian's epoch; behind the first `-`, `_`, `~` or `+` stand the package's own revision and
        // distributions' suffixes, which npm would take for pre-releases.
        let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
        let plain = upstream.split(['-', '_', '~', '+']).next().unwrap_or(upstream);
        match &self.versions {
            Versions::Npm(range) => plain.parse().is_ok_and(|version| range.satisfies(&version)),
            Versions::Releases(releases) => releases.contain(plain),
        }
    }

    /// Where it is written: `engines.node in package.json`.
    pub fn place(&self) -> String {
        match self.key {
            Some(key) => format!("{key} in {}", self.file),
            None => self.file.clone(),
        }
    }
}

/// How dependencies lie that the user has installed in the app's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installed {
    /// The name of the folders with packages, each below its own name.
    pub folder: &'static str,
    /// The command that installs them there.
    pub command: &'static str,
}

/// A file that a step reads, made of a project's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedFile {
    /// Relative to the folder that the step runs in.
    pub path: String,
    /// What it holds.
    pub text: String,
    /// Whether it can be executed.
    pub executable: bool,
}

/// A package that was installed, for lists of what an image consists of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its package URL (<https://github.com/package-url/purl-spec>).
    pub purl: String,
}

/// Why a project cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LanguageError {
    /// A file has not the form that it should have.
    #[error("{}:{line}:{column}: {message}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What was expected and what was found.
        message: String,
    },
    /// What a file says, or is, cannot be used.
    #[error("{message}")]
    Unusable {
        /// What was expected and what was found, with the file's path.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Nothing says what is to be run.
    #[error("expected a file that starts the app, found none; looked at: {}", looked.join(", "))]
    NoEntry {
        /// The places looked at.
        looked: Vec<String>,
        /// What to do.
        hint: String,
    },
    /// A file of the app cannot be opened, or not be read.
    #[error(transparent)]
    File(#[from] AppFolderError),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Explain for LanguageError {
    fn kind(&self) -> Kind {
        match self {
            Self::File(e) => e.kind(),
            Self::Syntax { .. } | Self::Unusable { .. } | Self::NoEntry { .. } | Self::Io { .. } => Kind::Build,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unusable { hint, .. } => hint.clone(),
            Self::NoEntry { hint, .. } => Some(hint.clone()),
            Self::File(error) => error.hint(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("make it readable, or leave it out: a line in .dockerignore, or --exclude".into())
            }
            Self::Syntax { .. } | Self::Io { .. } => None,
        }
    }
}

/// The first few of `names`, for messages.
pub(crate) fn some(names: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}

/// The JSON of a file that a language's tool wrote or reads; `file` is its name in messages.
fn json(text: &str, file: &Path) -> Result<serde_json::Value, LanguageError> {
    serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(text)).map_err(|error| {
        let message = error.to_string();
        LanguageError::Syntax {
            file: file.to_owned(),
            line: error.line(),
            column: error.column(),
            message: message.split(" at line ").next().unwrap_or(&message).to_owned(),
        }
    })
}

/// The TOML of a file that a language's tool wrote or reads; `file` is its name in messages.
fn toml_document(text: &str, file: &Path) -> Result<toml::Table, LanguageError> {
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
        let message = error.message().lines().collect::<Vec<_>>().join("; ");
        LanguageError::Syntax { file: file.to_owned(), line: before.matches('\n').count() + 1, column, message }
    })
}

/// The TOML of a file of the project, when it is there.
fn read_toml(source: &Source<'_>, path: &str) -> Result<Option<toml::Table>, LanguageError> {
    source.read(path)?.map(|text| toml_document(&text, &source.place(path))).transpose()
}

/// The text at `path` in a document, key by key, when it says anything.
fn text_at<'t>(table: &'t toml::Table, path: &[&str]) -> Option<&'t str> {
    let (last, tables) = path.split_last()?;
    let table = tables.iter().try_fold(table, |table, key| table.get(*key)?.as_table())?;
    table.get(*last)?.as_str().filter(|text| !text.trim().is_empty())
}

/// What the files among `files` that are `meant` say of what is installed in `folder`.
fn components(
    folder: &AppFolder,
    files: &[AppFile],
    meant: impl Fn(&str) -> bool,
    read: impl Fn(&str) -> Option<Vec<Component>>,
) -> Vec<Component> {
    let meant = files.iter().map(|file| file.path.as_str()).filter(|path| meant(path));
    let texts = meant.filter_map(|path| folder.read(path, LARGEST).ok().flatten());
    let mut components: Vec<_> = texts.filter_map(|text| read(&text)).flatten().collect();
    components.sort();
    components.dedup();
    components
}

/// The package URL of a package of the type `kind`; what stands before the last `/` of `name` is its namespace
/// (<https://github.com/package-url/purl-spec>, "Rules for each purl component").
fn purl(kind: &str, name: &str, version: &str) -> String {
    let encoded = |text: &str| {
        let byte = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        };
        text.bytes().map(byte).collect::<String>()
    };
    let name: Vec<String> = name.split('/').map(encoded).collect();
    format!("pkg:{kind}/{}@{}", name.join("/"), encoded(version))
}

impl PartialEq for dyn Language {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

/// The language that a recipe names.
pub(crate) fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'static dyn Language>, D::Error> {
    let name = String::deserialize(deserializer)?;
    let found = ALL.iter().find(|language| language.name() == name).copied();
    let known: Vec<&str> = ALL.iter().map(|language| language.name()).collect();
    found.map(Some).ok_or_else(|| {
        // In serde's words for a value of an enumeration, which the reader of documents makes a hint of.
        D::Error::custom(format_args!("unknown variant `{name}`, expected one of `{}`", known.join("`, `")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_have_names_of_their_own() {
        let mut names: Vec<_> = ALL.iter().map(|language| language.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn package_urls_are_encoded() {
        assert_eq!(purl("npm", "@a/b", "1.0.0+x"), "pkg:npm/%40a/b@1.0.0%2Bx");
        assert_eq!(purl("gem", "ruby-ä", "1~2:3"), "pkg:gem/ruby-%C3%A4@1~2:3");
    }

    #[test]
    fn an_app_that_cannot_be_read_fails_the_build() {
        for error in [
            LanguageError::Unusable { message: "expected a list".into(), hint: None },
            LanguageError::File(AppFolderError::NotText { path: "app/package.json".into() }),
        ] {
            assert_eq!(error.kind(), Kind::Build, "{error}");
        }
    }
}
