//! The search for recipes: in the app's folder, in the user's configuration, among the built-in ones.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    BUILT_IN, Origin, Recipe, RecipeError,
    detect::{Detected, detect},
    is_name,
};
use crate::app_folder::AppFolder;

/// The folder of an app's own recipes.
const FOLDER: &str = "recipes";

/// Whether `recipe` is the path of a file (`./mine.toml`, `my/recipe`), not a name.
pub fn is_path(recipe: &str) -> bool {
    recipe.contains('/') || Path::new(recipe).extension().is_some_and(|extension| extension == "toml")
}

/// The largest size of an app's recipe, and of a file of any recipe, in bytes.
const LARGEST: u64 = 1 << 20;

/// Whether recipes from the app's own folder are used. The folder may be untrusted, and a recipe decides which commands
/// run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    /// A recipe that would be used is an error. The error names the ways to trust it.
    #[default]
    Ask,
    /// They are used.
    Yes,
    /// They are ignored.
    No,
}

/// The folders that are searched for recipes before the built-in ones.
#[derive(Debug, Clone, Default)]
pub struct RecipeSearch {
    /// The app's folder.
    app: Option<PathBuf>,
    /// The user's folder of recipes.
    user: Option<PathBuf>,
    trust: Trust,
}

impl RecipeSearch {
    /// Searches the folder `app` as `trust` allows, and the user's configuration in `config` (`$XDG_CONFIG_HOME`).
    pub fn new(app: &Path, config: Option<&Path>, trust: Trust) -> Self {
        let user = config.map(|config| config.join("microbuild/recipes"));
        Self { app: (trust != Trust::No).then(|| app.to_owned()), user, trust }
    }

    /// Finds the recipe that the user names: `recipe` is the path of a file, or a name. A name is looked up in the
    /// app's folder, in the user's configuration, and among the built-in recipes.
    ///
    /// # Errors
    /// When it does not exist or cannot be read; when it belongs to an app that is not trusted.
    pub fn find(&self, recipe: &str) -> Result<Recipe, RecipeError> {
        if is_path(recipe) {
            let path = PathBuf::from(recipe);
            if path.is_dir() {
                return Err(RecipeError::NotAFile { path, found: "a folder" });
            }
            // The user named the file. In the app's folder it is still a recipe of the app.
            let inside = self.app.as_ref().is_some_and(|app| lies_in(&path, app));
            let found = read(&path, inside)?;
            let found = found.ok_or_else(|| RecipeError::NotAFile { path: path.clone(), found: "nothing" })?;
            return Ok(if inside { found.of_app(path) } else { found });
        }
        // The file is not read: it may be no recipe.
        if self.trust != Trust::Yes
            && let Some(app) = &self.app
            && is_name(recipe)
            && self.app_has(recipe)
        {
            return Err(RecipeError::NotTrusted { path: app.join(file_of(recipe)), app: app.clone() });
        }
        self.look_up(recipe)
    }

    /// Finds the recipe that the app's own `microbuild.toml` names. Like [`RecipeSearch::find`], but a path needs a
    /// trusted app.
    ///
    /// # Errors
    /// As [`RecipeSearch::find`].
    pub fn find_for_app(&self, recipe: &str) -> Result<Recipe, RecipeError> {
        if is_path(recipe) && self.trust != Trust::Yes {
            let app = self.app.clone().unwrap_or_default();
            return Err(RecipeError::NotTrusted { path: recipe.into(), app });
        }
        self.find(recipe)
    }

    /// Refuses a recipe of an app that is not trusted.
    fn check(&self, recipe: &Recipe) -> Result<(), RecipeError> {
        match (&recipe.origin, &self.app) {
            (Origin::App(path), Some(app)) if self.trust != Trust::Yes => {
                Err(RecipeError::NotTrusted { path: path.clone(), app: app.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Looks up a recipe by name, trusted or not.
    fn look_up(&self, recipe: &str) -> Result<Recipe, RecipeError> {
        if is_name(recipe) {
            if let Some(found) = self.of_app(recipe)? {
                return named(found, recipe);
            }
            if let Some(folder) = &self.user
                && let Some(found) = read(&folder.join(format!("{recipe}.toml")), false)?
            {
                return named(found, recipe);
            }
            if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == recipe) {
                return Recipe::parse(text, &format!("built-in recipe {name}"));
            }
        }
        Err(RecipeError::Unknown { name: recipe.to_owned(), known: self.names()?.into_iter().collect() })
    }

    /// Finds the recipe that recognizes the files of the folder `app`; see [`Detected`].
    ///
    /// # Errors
    /// When no recipe or several recognize the files, or only one of an app that is not trusted; and as
    /// [`RecipeSearch::all`].
    pub fn detect(&self, app: &Path) -> Result<Detected, RecipeError> {
        let door = if app.is_dir() { Some(AppFolder::open(app)?) } else { None };
        // In an app that is not trusted, a file that cannot be read as a recipe is ignored.
        let known = self.names()?.into_iter().map(|name| (self.look_up(&name), name));
        let all = known.filter(|(recipe, name)| self.trust == Trust::Yes || recipe.is_ok() || !self.app_has(name));
        let all = all.map(|(recipe, _)| recipe).collect::<Result<Vec<_>, _>>()?;
        detect(app, door.as_ref(), &all, &|recipe| self.check(recipe))
    }

    /// All recipes, sorted by name. Of several with the same name, only the one that [`RecipeSearch::find`] returns.
    ///
    /// # Errors
    /// When a recipe cannot be read.
    pub fn all(&self) -> Result<Vec<Recipe>, RecipeError> {
        self.names()?.iter().map(|name| self.look_up(name)).collect()
    }

    /// Reads the recipe `name` from the app's own folder.
    fn of_app(&self, name: &str) -> Result<Option<Recipe>, RecipeError> {
        let Some(app) = self.app_folder() else { return Ok(None) };
        let file = file_of(name);
        let door = AppFolder::open(app)?;
        let Some(text) = door.read(&file, LARGEST)? else { return Ok(None) };
        let path = app.join(file);
        let beside = |program: &str| Ok(door.read(&format!("{FOLDER}/{name}/{program}"), LARGEST)?);
        let recipe = Recipe::parse_beside(&text, &path.display().to_string(), &beside)?;
        Ok(Some(recipe.of_app(path)))
    }

    /// The app's folder; `None` for an app that is a single file.
    fn app_folder(&self) -> Option<&Path> {
        self.app.as_deref().filter(|app| app.is_dir())
    }

    /// Whether the app's folder of recipes has an entry for `name`.
    fn app_has(&self, name: &str) -> bool {
        let Some(app) = self.app_folder() else { return false };
        !matches!(AppFolder::open(app).and_then(|app| app.file(&file_of(name))), Ok(None))
    }

    /// The names of all recipes.
    fn names(&self) -> Result<BTreeSet<String>, RecipeError> {
        let mut names: BTreeSet<String> = BUILT_IN.iter().map(|(name, _)| (*name).to_owned()).collect();
        if let Some(app) = self.app_folder() {
            let listed = AppFolder::open(app)?.list(FOLDER)?.unwrap_or_default();
            names.extend(listed.iter().filter_map(|entry| name_of(Path::new(&entry.name))));
        }
        if let Some(folder) = &self.user {
            let error = |source| RecipeError::Io { path: folder.clone(), source };
            let entries = match fs::read_dir(folder) {
                Ok(entries) => entries,
                // A missing folder has no recipes.
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    return Ok(names);
                }
                Err(e) => return Err(error(e)),
            };
            for entry in entries {
                names.extend(name_of(&entry.map_err(error)?.path()));
            }
        }
        Ok(names)
    }
}

/// The path of the app's own recipe `name`.
fn file_of(name: &str) -> String {
    format!("{FOLDER}/{name}.toml")
}

/// The recipe's name, from the name of its file.
fn name_of(path: &Path) -> Option<String> {
    let name = path.file_stem()?.to_str()?;
    (path.extension()? == "toml" && is_name(name)).then(|| name.to_owned())
}

/// Whether the file `path` is in the folder `folder`, links followed.
fn lies_in(path: &Path, folder: &Path) -> bool {
    let real = fs::canonicalize(path).ok().zip(fs::canonicalize(folder).ok());
    real.is_some_and(|(path, folder)| path.starts_with(folder))
}

/// Reads the recipe in the file `path`; `None` when the file does not exist. The recipe's own files are in the folder
/// beside it that has its name. For a recipe `inside` an app, they are opened like the app's files.
fn read(path: &Path, inside: bool) -> Result<Option<Recipe>, RecipeError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(source) => return Err(RecipeError::Io { path: path.to_owned(), source }),
    };
    let beside = |program: &str| {
        let folder = path.with_extension("");
        if !inside {
            return read_program(&folder.join(program));
        }
        match (path.parent(), folder.file_name().and_then(|name| name.to_str())) {
            (Some(parent), Some(name)) => {
                let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
                Ok(AppFolder::open(parent)?.read(&format!("{name}/{program}"), LARGEST)?)
            }
            _ => Ok(None),
        }
    };
    let recipe = Recipe::parse_beside(&text, &path.display().to_string(), &beside)?;
    Ok(Some(Recipe { origin: Origin::User(path.to_owned()), ..recipe }))
}

/// Reads the file `path` of a user's own recipe; `None` when it does not exist.
fn read_program(path: &Path) -> Result<Option<String>, RecipeError> {
    let error = |source| RecipeError::Io { path: path.to_owned(), source };
    match fs::metadata(path) {
        Ok(about) if !about.is_file() => Err(error(io::Error::other("it is no file"))),
        Ok(about) if about.len() > LARGEST => Err(error(io::Error::other(format!("it has more than {LARGEST} bytes")))),
        Ok(_) => fs::read_to_string(path).map(Some).map_err(error),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(error(e)),
    }
}

/// Returns `recipe` when its name is the name of its file.
fn named(recipe: Recipe, name: &str) -> Result<Recipe, RecipeError> {
    if recipe.name == name {
        return Ok(recipe);
    }
    let message = format!("expected name = \"{name}\" the name of the file, found \"{}\"", recipe.name);
    Err(RecipeError::Meaning { file: recipe.origin.to_string(), message })
}
