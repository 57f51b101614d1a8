//! What a language reads in a project.

use std::collections::BTreeMap;

use super::{GeneratedFile, WantedRuntime};
use crate::glob::Pattern;

/// The facts that a project states.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The project's name. Not the folder's name, which differs from one checkout to another.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The versions of the runtime that it asks for.
    pub runtime: Option<WantedRuntime>,
    /// How the app starts. `None` leaves it to the recipe's `entry`.
    pub start: Option<Start>,
    /// The whole command that starts the app, instead of the recipe's with [`Facts::start`] filled in: a server that
    /// imports the app, for example.
    pub command: Option<Vec<String>>,
    /// The roles of the app, by which a recipe has packages and files for some apps only: `web` for an app that a web
    /// server runs.
    pub roles: Vec<String>,
    /// The names of what the project asks of its runtime, by which a recipe has packages: the extensions of PHP.
    pub extensions: Vec<String>,
    /// Variables for the app.
    pub env: BTreeMap<String, String>,
    /// How it is built. `None` when it runs as it is, and when [`Source::builds`] is not set.
    pub build: Option<Build>,
    /// The app's own files that the image does not need: what a build made something else of, for example. A later pattern
    /// with `!` takes files back.
    pub without: Vec<Pattern>,
    /// Additional files of the app, made from its own.
    pub files: Vec<GeneratedFile>,
    /// The dependencies. `None` when the language does not know them: then the recipe's `when` decides.
    pub dependencies: Option<Dependencies>,
    /// The names of the recipe's steps that this project does not need.
    pub unneeded: Vec<String>,
    /// Variables for the commands of steps, which tell them what was found here.
    pub build_env: BTreeMap<String, String>,
    /// Of a compiled app: the folder of the project that its program starts in, whose data it opens. Empty for the
    /// project's own.
    pub folder: String,
    /// Of a compiled app: the files and folders that become part of the program itself.
    pub embedded: Vec<Pattern>,
    /// What the user should know of the choices that were made, each a line.
    pub notes: Vec<String>,
    /// Warnings for the user, each a line.
    pub warnings: Vec<String>,
}

/// How an app is built, before it can run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Build {
    /// The command line, for a shell.
    pub run: String,
    /// The result: what the image needs of it.
    pub output: Vec<Output>,
    /// Variables for the build.
    pub env: BTreeMap<String, String>,
    /// Whether the build needs packages that have to be installed.
    pub installs: bool,
    /// Whether the result has all that it needs, so that no dependencies are installed for the image.
    pub bundled: bool,
}

/// A part of what a build makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Every file that the build wrote, but for installed packages and caches.
    New,
    /// A file or folder. `*` and `?` in `from` stand for parts of a name; such files keep their paths.
    Path {
        /// Its path, relative to the app's folder.
        from: String,
        /// Its path in the image, relative to the app's folder there.
        to: String,
        /// Whether the app also works without it.
        optional: bool,
    },
}

impl Output {
    /// A file or folder that has the same path in the image.
    pub fn at(path: &str) -> Self {
        Self::moved(path, path)
    }

    /// A file or folder that has another path in the image.
    pub fn moved(from: &str, to: &str) -> Self {
        Self::Path { from: from.to_owned(), to: to.to_owned(), optional: false }
    }

    /// The same, where the app works without it.
    #[must_use]
    pub fn optional(self) -> Self {
        match self {
            Self::New => self,
            Self::Path { from, to, .. } => Self::Path { from, to, optional: true },
        }
    }
}

/// How an app starts: the values for a recipe's command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// `{options}`: options of the runtime.
    pub options: Vec<String>,
    /// `{entry}`: the file that is run, relative to the app's folder.
    pub entry: String,
    /// `{args}`: arguments of the app.
    pub args: Vec<String>,
}

/// The dependencies of a project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// The names of those that it needs.
    pub required: Vec<String>,
    /// The names of the others.
    pub optional: Vec<String>,
    /// Whether the installation may read any file of the project, and not only those that describe dependencies.
    pub whole: bool,
    /// The packages with install scripts, according to the lock file; sorted.
    pub scripts: Vec<String>,
    /// The lock files of the project, of all of the language's tools.
    pub locks: Vec<String>,
    /// Packages that the lock file has for other systems than Linux only; sorted.
    pub not_here: Vec<String>,
    /// Variables for the steps that install for the image.
    pub env: BTreeMap<String, String>,
}

impl Dependencies {
    /// Whether there is nothing to install.
    pub fn is_empty(&self) -> bool {
        self.required.is_empty() && self.optional.is_empty()
    }
}
