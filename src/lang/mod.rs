//! Languages: the knowledge about an app's language that a recipe cannot have as data.
//!
//! A recipe names its language (`language = "node"`). Each is one [`Language`] in a file of its own here, and one line
//! in [`ALL`]. A recipe without a language has everything in its own keys.
//!
//! Reading a project is pure: a language opens files of the project's folder through the [`AppFolder`] that it gets. It
//! starts no process and uses neither the network nor the environment, so that its tests are folders.

mod bun;
mod deno;
mod explain;
mod facts;
mod go;
mod java;
mod lua;
mod node;
mod php;
mod program;
pub mod python;
mod ruby;
mod rust;
mod shell;
mod site;
#[cfg(test)]
mod testing;
pub(crate) mod validators;
mod versions;

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize as _, Deserializer, de::Error as _};

pub use explain::{Diagnosis, Explanation};
pub use facts::{Build, Dependencies, Facts, Output, Start};

use crate::{
    app_folder::{AppFolder, AppFolderError},
    error::{Explain, Kind},
    listing::{AppFile, Listing},
    values::BuildWish,
};

/// Every language, each once.
pub const ALL: &[&dyn Language] = &[
    &bun::Bun,
    &deno::Deno,
    &go::Go,
    &java::Java,
    &lua::Lua,
    &node::Node,
    &php::Php,
    &program::Program,
    &python::Python,
    &ruby::Ruby,
    &rust::Rust,
    &shell::Shell,
    &site::Site,
];

/// The largest size of a file that is read as a whole, in bytes. Lock files are the largest.
pub const LARGEST: u64 = 64 << 20;

/// The knowledge about a language's projects and tools.
pub trait Language: fmt::Debug + Sync {
    /// Its name in recipes.
    fn name(&self) -> &'static str;

    /// Whether `folder` has an app of this language, and not only tools for an app of another language. A recipe has
    /// recognized files of this language in it. The answer counts where files of several languages are in one folder.
    fn is_app(&self, _folder: &AppFolder) -> bool {
        true
    }

    /// The files of `folder` that are an app of this language by their content, where no recipe recognizes their names.
    fn recognizes(&self, _folder: &AppFolder) -> Vec<String> {
        Vec::new()
    }

    /// Reads the project `source`.
    ///
    /// # Errors
    /// When a file has not the form that it should have; when [`Source::starts`] is set and no file that starts the app
    /// is found.
    fn read(&self, source: &Source<'_>) -> Result<Facts, LanguageError>;

    /// Reads the app as the single file at `path`. `None` when an app of this language is always a folder.
    ///
    /// # Errors
    /// When it is another kind of file, or cannot be read.
    fn single_file(&self, _path: &Path) -> Result<Option<AppFile>, LanguageError> {
        Ok(None)
    }

    /// Makes additional files for steps that install or build, from the project's own. They are written into the step's
    /// folder and replace files of the project.
    ///
    /// # Errors
    /// When a file of the project has not the form that it should have, or asks for something that is not supported.
    fn prepare(&self, _source: &Source<'_>) -> Result<Vec<GeneratedFile>, LanguageError> {
        Ok(Vec::new())
    }

    /// Lists the packages that a step has installed in `folder`, which has `files`: sorted by name and version, each
    /// once. Files that cannot be read are skipped.
    fn components(&self, _folder: &AppFolder, _files: &[AppFile]) -> Vec<Component> {
        Vec::new()
    }

    /// Finds the packages installed in `folder`, which has `files`, that have to be compiled for `os` and `cpu` (the
    /// tool's names for them) and whose scripts did not run. Sorted by path.
    fn uncompiled(&self, _folder: &AppFolder, _files: &[AppFile], _os: &str, _cpu: &str) -> Vec<String> {
        Vec::new()
    }

    /// Explains a line of a failing tool of this language. [`Diagnosis`] itself explains the messages of compilers,
    /// which are the same in every language.
    fn explain(&self, _line: &str) -> Option<Explanation> {
        None
    }

    /// The layout of dependencies that the user has installed in the app's folder, for languages that keep them apart
    /// from the app's own files.
    fn installed(&self) -> Option<Installed> {
        None
    }

    /// Whether `command`, the first word of a process in a `Procfile`, is a tool that reads the start command from the
    /// project's own files. No image has such a tool.
    fn is_manager(&self, _command: &str) -> bool {
        false
    }

    /// The line that `words` run, whose first is a manager ([`is_manager`](Self::is_manager)): a script of the project in
    /// `folder`. `None` where the project has no such script.
    fn script(&self, _folder: &AppFolder, _words: &[String]) -> Option<Script> {
        None
    }

    /// Whether the app's files may be programs, whose libraries are added to the image, or files without any command.
    fn is_finished(&self) -> bool {
        false
    }
}

/// A script of a project, which a manager runs by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The line that a shell runs.
    pub line: String,
    /// Whether it is the script that starts the app, which [`Language::read`] reads.
    pub is_start: bool,
}

/// The project that a language reads.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The app's folder.
    pub folder: &'a AppFolder,
    /// Its absolute path, without links.
    pub root: &'a Path,
    /// Its files that go into the image.
    pub files: &'a Listing,
    /// Whether [`Facts::start`] is needed: not where the user sets the command.
    pub starts: bool,
    /// Whether dependencies are to be installed; lock files are not read otherwise.
    pub installs: bool,
    /// Whether the app is to be built, where it has to be.
    pub builds: bool,
    /// How the user wants it built.
    pub build: &'a BuildWish,
    /// The port that the user declares, where an app can be told which one to listen on.
    pub port: Option<u16>,
    /// Variables that the project's steps get from the user, which may say how it is built.
    pub variables: &'a BTreeMap<String, String>,
}

impl Source<'_> {
    /// The text of a file of the project, whether it goes into the image or not. `None` when there is none.
    ///
    /// # Errors
    /// When it is not text, too large, or cannot be read.
    pub fn read(&self, path: &str) -> Result<Option<String>, LanguageError> {
        Ok(self.folder.read(path, LARGEST)?)
    }

    /// The path of a file of the project for messages.
    pub fn place(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }
}

/// The versions of a language's runtime that a project asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct WantedRuntime {
    /// The runtime's name: `Node`.
    pub runtime: &'static str,
    /// The versions, as they are written.
    pub range: String,
    /// The key with the versions, when the file has keys: `engines.node`.
    pub key: Option<&'static str>,
    /// The file with the versions, relative to the app's folder.
    pub file: String,
    /// Whether another version is an error. Otherwise it is a warning.
    pub strict: bool,
    versions: Versions,
}

/// A set of versions, in the form of its language.
#[derive(Debug, Clone, PartialEq)]
enum Versions {
    /// npm's ranges.
    Npm(nodejs_semver::Range),
    /// Ranges that compare release numbers only.
    Releases(versions::Releases),
}

impl WantedRuntime {
    /// The versions `releases`, written as `range`, that `key` of `file` asks for. Another version is a warning. `None`
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
        // Debian's epoch precedes it. After the first `-`, `_`, `~` or `+` are the package's own revision and
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

/// The layout of dependencies that the user has installed in the app's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installed {
    /// The name of the folders with packages, each below its own name.
    pub folder: &'static str,
    /// The command that installs them there.
    pub command: &'static str,
}

/// An additional file for a step or for the image, made from the project's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedFile {
    /// Relative to the app's folder.
    pub path: String,
    /// Its content.
    pub text: String,
    /// Whether it is executable.
    pub executable: bool,
}

impl GeneratedFile {
    /// Writes it below the folder `root`. No link is in its way.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, root: &Path) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = root.join(&self.path);
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(&path, &self.text)?;
        let mode = if self.executable { 0o755 } else { 0o644 };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))
    }
}

/// An installed package, for the lists of an image's contents.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its package URL (<https://github.com/package-url/purl-spec>).
    pub purl: String,
}

/// The error of a project that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LanguageError {
    /// A file does not have the form that it should have.
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
    /// A file, or its content, cannot be used.
    #[error("{message}")]
    Unusable {
        /// What was expected and what was found, with the file's path.
        message: String,
        /// The hint.
        hint: Option<String>,
    },
    /// No file that starts the app was found.
    #[error("expected a file that starts the app, found none; looked at: {}", looked.join(", "))]
    NoEntry {
        /// The places that were searched.
        looked: Vec<String>,
        /// The hint.
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
        /// The cause.
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

/// The text at `path` in a document, key by key, unless it is empty.
fn text_at<'t>(table: &'t toml::Table, path: &[&str]) -> Option<&'t str> {
    let (last, tables) = path.split_last()?;
    let table = tables.iter().try_fold(table, |table, key| table.get(*key)?.as_table())?;
    table.get(*last)?.as_str().filter(|text| !text.trim().is_empty())
}

/// Reads the installed packages in `folder` from the `files` that are `meant`.
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

/// The package URL of a package of the type `kind`. The part of `name` before the last `/` is its namespace
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
        // In serde's form for an unknown variant, which the reader of documents turns into a hint.
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
