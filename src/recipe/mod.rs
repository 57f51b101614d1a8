//! Recipes: what an app written in some language needs, as a small TOML file.
//!
//! `recipes/README.md` documents every key by example. The built-in recipes are the files of `recipes/`; your own are
//! in the app's `recipes/` or in `$XDG_CONFIG_HOME/microbuild/recipes/`, and replace a built-in one of the same name.

mod advice;
mod detect;
mod error;
mod files;
mod lists;
mod paths;
mod search;
mod step;
mod template;
mod tools;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::Deserialize;

use crate::{
    digest::Digest,
    glob::{Pattern, PatternSet},
    host::Host,
    image::PATH,
    lang::{self, Language},
    listing::Placed,
    values::{self, Base, Command, Port, StopSignal, Timestamps, User, Workdir},
};

pub use detect::Detected;
pub use error::RecipeError;
use files::Beside;
pub use files::RUN;
pub use lists::LISTS;
pub use search::{RecipeSearch, Trust, is_path};
pub use step::{Conditions, Extra, Foreign, Invocation, Keep, OUT, Place, Step};
pub use template::Template;
use template::template;
pub use tools::{Tool, Tools};

/// The built-in recipes, by name.
const BUILT_IN: &[(&str, &str)] = &[
    ("base", include_str!("../../recipes/base.toml")),
    ("bun", include_str!("../../recipes/bun.toml")),
    ("clojure", include_str!("../../recipes/clojure.toml")),
    ("crystal", include_str!("../../recipes/crystal.toml")),
    ("deno", include_str!("../../recipes/deno.toml")),
    ("dotnet", include_str!("../../recipes/dotnet.toml")),
    ("elixir", include_str!("../../recipes/elixir.toml")),
    ("erlang", include_str!("../../recipes/erlang.toml")),
    ("gcc", include_str!("../../recipes/gcc.toml")),
    ("go", include_str!("../../recipes/go.toml")),
    ("haskell", include_str!("../../recipes/haskell.toml")),
    ("java", include_str!("../../recipes/java.toml")),
    ("kotlin", include_str!("../../recipes/kotlin.toml")),
    ("lua", include_str!("../../recipes/lua.toml")),
    ("mono", include_str!("../../recipes/mono.toml")),
    ("node", include_str!("../../recipes/node.toml")),
    ("perl", include_str!("../../recipes/perl.toml")),
    ("php", include_str!("../../recipes/php.toml")),
    ("python", include_str!("../../recipes/python.toml")),
    ("ruby", include_str!("../../recipes/ruby.toml")),
    ("rust", include_str!("../../recipes/rust.toml")),
    ("scala", include_str!("../../recipes/scala.toml")),
    ("shell", include_str!("../../recipes/shell.toml")),
    ("site", include_str!("../../recipes/site.toml")),
    ("static", include_str!("../../recipes/static.toml")),
    ("zig", include_str!("../../recipes/zig.toml")),
];

/// Where a recipe was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origin {
    /// It is part of the program.
    #[default]
    BuiltIn,
    /// It is the user's own: this file.
    User(PathBuf),
    /// It is in the app's folder, which may be untrusted: this file.
    App(PathBuf),
}

impl Origin {
    /// Its file, when it has one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::BuiltIn => None,
            Self::User(path) | Self::App(path) => Some(path),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::User(path) | Self::App(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What an app in some language needs. The fields' TOML names are their own names.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Its name: lower-case letters, digits, `-`.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// The built-in recipe whose values apply where this recipe has none.
    pub like: Option<String>,
    /// A description of one line.
    pub description: String,
    /// Patterns for files at the top of a project, and paths below it. A project with any of these is recognized.
    #[serde(default, deserialize_with = "paths::patterns")]
    pub detect: Vec<Pattern>,
    /// The recipes that it wins over when both recognize a project.
    #[serde(default, deserialize_with = "values::list")]
    pub over: Vec<String>,
    /// Whether every other recipe that recognizes a project wins over it: what it recognizes may be tools for an app of
    /// another language.
    #[serde(default)]
    pub yields: bool,
    /// Patterns for source files at the top of a project, and paths below it. They recognize a project that no recipe's
    /// `detect` does. The only file of a project that they match is `{entry}`, where the project has no better one.
    #[serde(default, deserialize_with = "paths::patterns")]
    pub source: Vec<Pattern>,
    /// Words of which a source file must have one. A recipe whose words are found wins over those without any.
    #[serde(default, rename = "source-words", deserialize_with = "values::list")]
    pub source_words: Vec<String>,
    /// The language that reads its projects and fills in `{entry}`, `{options}` and `{args}`; see [`crate::lang`].
    #[serde(default, deserialize_with = "lang::named")]
    pub language: Option<&'static dyn Language>,
    /// The package whose version is the version of the language's runtime. `*` in its name stands for a part that
    /// changes.
    #[serde(default, deserialize_with = "values::optional")]
    pub version_from: Option<Pattern>,
    /// Packages, for each base that the recipe knows.
    pub base: Bases,
    /// Files of the recipe that are in the image.
    #[serde(default, rename = "place")]
    pub placed: Vec<PlacedFile>,
    /// Where the app is in the image, and how it starts.
    #[serde(default)]
    pub app: App,
    /// The steps that run in the dev variant, in order.
    #[serde(default, rename = "step")]
    pub steps: Vec<Step>,
    /// Variables of the image's environment.
    #[serde(default, deserialize_with = "values::texts")]
    pub env: BTreeMap<String, String>,
    /// The user that the app runs as.
    #[serde(default, deserialize_with = "values::value")]
    pub user: User,
    /// Ports that an app of this kind always listens on; mostly none.
    #[serde(default, deserialize_with = "values::list")]
    pub port: Vec<Port>,
    /// Paths of packages that are left out of the image, on every base.
    #[serde(default, deserialize_with = "lists::list")]
    pub strip: Vec<Pattern>,
    /// Built-in folders of files. A file that a command names below [`RUN`] is looked up in the folder beside the
    /// recipe's own file first, then in these.
    #[serde(default, deserialize_with = "files::folders")]
    pub files: Vec<String>,
    /// What its steps download in addition to packages, with checksums.
    #[serde(default)]
    pub tools: Tools,
    /// The files that its commands name below [`RUN`], and the files that these name, by name.
    #[serde(skip)]
    pub programs: BTreeMap<String, String>,
    /// The recipe's text.
    #[serde(skip)]
    pub text: String,
    /// Where it was found.
    #[serde(skip)]
    pub origin: Origin,
    /// Variables that a recipe of an app's own folder asks for with `pass` and does not get.
    #[serde(skip)]
    pub not_passed: Vec<String>,
}

/// `[base.NAME]`: packages, for each base that the recipe knows.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bases {
    /// The base that applies when the user names none; Alpine by default.
    #[serde(default, deserialize_with = "values::optional")]
    pub default: Option<Base>,
    /// `[base.scratch]`: Alpine's packages, with nothing below them.
    pub scratch: Option<BasePackages>,
    /// `[base.alpine]`.
    pub alpine: Option<BasePackages>,
    /// `[base.debian]`: Debian's packages, with nothing below them.
    pub debian: Option<BasePackages>,
}

/// The packages of one base.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasePackages {
    /// The requested packages, as `apk add` or `apt-get install` takes them. Their dependencies are installed, too.
    #[serde(deserialize_with = "packages")]
    pub packages: Vec<String>,
    /// Dependencies that are left out: the packages of this recipe work without them.
    #[serde(default, deserialize_with = "packages")]
    pub drop: Vec<String>,
    /// Paths of packages that are left out of the image, on this base.
    #[serde(default, deserialize_with = "lists::list")]
    pub strip: Vec<Pattern>,
    /// Words that replace the first word of the command that installs dependencies, by that word, when the image is for
    /// another processor than this machine's. For a base whose package manager is too old for that.
    #[serde(default, rename = "foreign-command")]
    pub foreign_command: BTreeMap<String, Vec<String>>,
    /// The package whose version is the version of the language's runtime, where this base has another name for it.
    #[serde(default, deserialize_with = "values::optional")]
    pub version_from: Option<Pattern>,
    /// Additional packages for apps that have a role, by the role's name; see [`crate::lang::Facts::roles`].
    #[serde(default)]
    pub roles: BTreeMap<String, RolePackages>,
    /// Packages for what a project asks of its runtime, by its name; see [`crate::lang::Facts::extensions`]. They keep all
    /// of their dependencies.
    #[serde(default)]
    pub extensions: BTreeMap<String, RolePackages>,
    /// Additional packages of the dev variant: the package manager, a shell.
    #[serde(default, deserialize_with = "packages")]
    pub dev: Vec<String>,
    /// Dependencies that are left out of the dev variant, whichever package needs them.
    #[serde(default, deserialize_with = "packages", rename = "dev-drop")]
    pub dev_drop: Vec<String>,
    /// Additional packages of the dev variant for a project whose dependencies may have to be compiled.
    #[serde(default, deserialize_with = "packages")]
    pub compile: Vec<String>,
}

/// Packages for a role or an extension.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct RolePackages(#[serde(deserialize_with = "packages")] pub Vec<String>);

/// `[[place]]`: a file of the recipe that is in the image.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlacedFile {
    /// The role that an app must have for it; every app unless given.
    pub role: Option<String>,
    /// Its absolute path in the image.
    #[serde(deserialize_with = "values::value")]
    pub path: Workdir,
    /// Its path below [`RUN`], unless it is a link.
    pub file: Option<String>,
    /// The target of the link that it is.
    pub link: Option<String>,
}

/// `[app]`: where the app is in the image, and how it starts.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct App {
    /// The folder of the app, and its work directory.
    #[serde(deserialize_with = "values::value")]
    pub workdir: Workdir,
    /// `Config.Entrypoint`.
    #[serde(deserialize_with = "template")]
    pub entrypoint: Template,
    /// `Config.Cmd`.
    #[serde(deserialize_with = "template")]
    pub cmd: Template,
    /// Whether the image holds only the results of steps, and none of the app's own files.
    #[serde(rename = "made")]
    pub is_made: bool,
    /// Patterns for files of a project that its program opens when it runs, where the image has only results of steps. The
    /// last one that matches decides, as in an ignore file.
    #[serde(deserialize_with = "lists::list")]
    pub data: Vec<Pattern>,
    /// Whether each app brings its own runtime, so that the language has no base image.
    #[serde(rename = "own-runtime")]
    pub own_runtime: bool,
    /// Files of a project that stay out of the image, unless its ignore file takes them back in with `!`.
    #[serde(deserialize_with = "values::list")]
    pub ignore: Vec<Pattern>,
    /// Commands that replace `cmd` for projects with certain files. The first that fits counts.
    pub start: Vec<StartBy>,
    /// Files of a project. The first that exists is `{entry}`.
    #[serde(deserialize_with = "paths::files")]
    pub entry: Vec<String>,
    /// `Config.StopSignal`.
    #[serde(rename = "stop-signal", deserialize_with = "values::optional")]
    pub stop_signal: Option<StopSignal>,
    /// Whether tini starts the app.
    pub init: bool,
    /// The times of files, unless the user says others.
    #[serde(deserialize_with = "values::optional")]
    pub timestamps: Option<Timestamps>,
    /// The command that asks `{url}` for a health check, where the base has none.
    #[serde(deserialize_with = "values::command")]
    pub probe: Command,
}

/// `[[app.start]]`: the command for projects that have a certain file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartBy {
    /// Paths in the project. Any of them is enough.
    #[serde(deserialize_with = "paths::files")]
    pub when: Vec<String>,
    /// `Config.Cmd`.
    #[serde(deserialize_with = "values::command")]
    pub cmd: Command,
}

impl Recipe {
    /// Reads the text of a recipe without files beside it. `file` is its name in messages.
    ///
    /// # Errors
    /// When it is not TOML, when a key is unknown or missing, or when a value does not fit its key (with line and
    /// column). When it has no base, a `{place}` without a language or an entry, or a command that names a missing
    /// file.
    pub fn parse(text: &str, file: &str) -> Result<Self, RecipeError> {
        Self::parse_beside(text, file, &|_| Ok(None))
    }

    /// Reads the text of a recipe that may have files `beside` it.
    fn parse_beside(text: &str, file: &str, beside: Beside<'_>) -> Result<Self, RecipeError> {
        let (mut recipe, texts): (Self, _) = values::parse_like(text, file, &|name| built_in(name))?;
        let meaning = |message: &str| RecipeError::Meaning { file: file.to_owned(), message: message.to_owned() };
        if recipe.bases().next().is_none() {
            return Err(meaning("expected [base.scratch], [base.alpine] or [base.debian], found none"));
        }
        let filled = recipe.language.is_some() || !recipe.app.entry.is_empty();
        if !filled && (recipe.app.cmd.has_places() || recipe.app.entrypoint.has_places()) {
            return Err(meaning("expected a language, or an entry in [app], to fill into the command, found neither"));
        }
        let mut earlier: Vec<&str> = Vec::new();
        for step in &recipe.steps {
            if let Some(mistake) = step.mistake(&earlier) {
                return Err(meaning(&mistake));
            }
            earlier.push(&step.name);
        }
        if let Some(name) = recipe.tools.unreadable() {
            return Err(meaning(&format!("expected the name of a tool without spaces, found `{name}`")));
        }
        let find = |name: &str| match recipe.tools.text().filter(|_| name == tools::FILE) {
            Some(table) => Ok(Some(table)),
            None => beside(name),
        };
        let variables = recipe.steps.iter_mut().map(|step| &mut step.env).chain([&mut recipe.env]);
        for value in variables.flat_map(BTreeMap::values_mut) {
            *value = value.replace("{PATH}", PATH);
        }
        recipe.programs = files::named(text, file, &texts, &recipe.files, &find)?;
        if let Some(placed) = recipe.placed.iter().find(|placed| recipe.content(placed).is_none()) {
            let place = placed.path.as_str();
            return Err(meaning(&format!("expected a file below {RUN}, or a link, for {place} in [[place]]")));
        }
        recipe.text = text.to_owned();
        Ok(recipe)
    }

    /// The content of a file for the image; `None` when it has none, or two.
    fn content(&self, placed: &PlacedFile) -> Option<Placed> {
        match (&placed.file, &placed.link) {
            (Some(file), None) => {
                let text = self.programs.get(file.strip_prefix(RUN)?.strip_prefix('/')?)?;
                Some(Placed::Text(text.clone()))
            }
            (None, Some(target)) => Some(Placed::Link(target.clone())),
            _ => None,
        }
    }

    /// The files that are in the image of an app with these `roles`, by their paths below the root.
    pub fn placed(&self, roles: &[String]) -> Vec<(String, Placed)> {
        let is_meant = |placed: &&PlacedFile| placed.role.as_ref().is_none_or(|role| roles.contains(role));
        let path = |placed: &PlacedFile| placed.path.as_str().trim_matches('/').to_owned();
        let file = |placed: &PlacedFile| Some((path(placed), self.content(placed)?));
        self.placed.iter().filter(is_meant).filter_map(file).collect()
    }

    /// The digest of the recipe's files, on which results of steps depend. Empty when there are no files.
    pub fn files_digest(&self) -> String {
        if self.programs.is_empty() {
            return String::new();
        }
        let lines = self.programs.iter().map(|(name, content)| format!("{name} {}\n", Digest::of(content)));
        format!("files {}\n", Digest::of(lines.collect::<String>()))
    }

    /// The same recipe as one of an app, found at `path` in the app's folder. The app may be untrusted, so that its
    /// steps get no variable of the user's environment.
    fn of_app(mut self, path: PathBuf) -> Self {
        let mut names: Vec<String> = self.steps.iter_mut().flat_map(|step| std::mem::take(&mut step.pass)).collect();
        names.sort();
        names.dedup();
        Self { origin: Origin::App(path), not_passed: names, ..self }
    }

    /// The variables of the user's environment that its steps get (`pass`).
    pub fn passed(&self, host: &Host) -> BTreeMap<String, String> {
        let names = self.steps.iter().flat_map(|step| &step.pass);
        names.filter_map(|name| Some((name.clone(), host.variable(name)?))).collect()
    }

    /// Returns the packages for `base`.
    ///
    /// # Errors
    /// When the recipe has no packages for it.
    pub fn packages(&self, base: &Base) -> Result<&BasePackages, RecipeError> {
        self.bases().find(|(name, _)| *name == base.name()).map(|(_, packages)| packages).ok_or_else(|| {
            let known = self.bases().map(|(name, _)| name).collect();
            RecipeError::NoBase { recipe: self.name.clone(), base: base.name(), known }
        })
    }

    /// The paths of packages that are left out of an image on `base`: those for every base, then those for this one.
    pub fn strip(&self, base: &Base) -> PatternSet {
        let own = self.bases().filter(|(name, _)| *name == base.name()).flat_map(|(_, packages)| &packages.strip);
        PatternSet::new(self.strip.iter().chain(own).cloned().collect())
    }

    fn bases(&self) -> impl Iterator<Item = (&'static str, &BasePackages)> {
        [("scratch", &self.base.scratch), ("alpine", &self.base.alpine), ("debian", &self.base.debian)]
            .into_iter()
            .filter_map(|(name, packages)| packages.as_ref().map(|packages| (name, packages)))
    }
}

/// The text of the built-in recipe `name`.
fn built_in(name: &str) -> Result<&'static str, String> {
    let found = BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
    found.ok_or_else(|| {
        let known: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        format!("expected the name of a built-in recipe ({}), found `{name}`", known.join(", "))
    })
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('-') && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn name<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    if is_name(&name) {
        return Ok(name);
    }
    Err(serde::de::Error::custom(format_args!("expected lower-case letters, digits and -, found `{name}`")))
}

fn packages<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    struct Package(String);

    impl FromStr for Package {
        type Err = String;

        fn from_str(text: &str) -> Result<Self, String> {
            if text.is_empty() || text.contains(char::is_whitespace) {
                return Err(format!("expected the name of a package, found `{text}`"));
            }
            Ok(Self(text.to_owned()))
        }
    }

    lists::sorted::<Package, D>(deserializer).map(|list| list.into_iter().map(|package| package.0).collect())
}

#[cfg(test)]
mod tests;
