//! Where recipes are found: in the app's folder, in the user's configuration, in the program itself.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::{BUILT_IN, Origin, Recipe, RecipeError, is_name};
use crate::{app_folder::AppFolder, glob::PatternSet};

/// The folder of an app's own recipes.
const FOLDER: &str = "recipes";

/// Whether a recipe is asked for by the path of its file (`./mine.toml`, `my/recipe`), not by name.
pub fn is_path(recipe: &str) -> bool {
    recipe.contains('/') || Path::new(recipe).extension().is_some_and(|extension| extension == "toml")
}

/// The most bytes that a recipe of an app, or a file of any recipe, may have.
const LARGEST: u64 = 1 << 20;

/// Whether the recipes of an app's own folder are taken. The folder may be a stranger's, and a recipe says what is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    /// One that would be taken is an error, which says how to take it.
    #[default]
    Ask,
    /// They are taken.
    Yes,
    /// They are left alone, as if they were not there.
    No,
}

/// Where recipes are looked for, apart from the program itself.
#[derive(Debug, Clone, Default)]
pub struct RecipeSearch {
    /// The app's folder.
    app: Option<PathBuf>,
    /// The user's folder of recipes.
    user: Option<PathBuf>,
    trust: Trust,
}

impl RecipeSearch {
    /// The recipes of the app in the folder `app`, as far as `trust` goes, and of the user whose configuration lies in `config`
    /// (`$XDG_CONFIG_HOME`).
    pub fn new(app: &Path, config: Option<&Path>, trust: Trust) -> Self {
        let user = config.map(|config| config.join("microbuild/recipes"));
        Self { app: (trust != Trust::No).then(|| app.to_owned()), user, trust }
    }

    /// The recipe that the user means by `recipe`: the path of a file, or a name, which is looked up in the app's folder, in
    /// the user's configuration, and among the built-in recipes.
    ///
    /// # Errors
    /// When there is none, when it is the app's and that is not trusted, or it cannot be read as one.
    pub fn find(&self, recipe: &str) -> Result<Recipe, RecipeError> {
        if is_path(recipe) {
            let path = PathBuf::from(recipe);
            if path.is_dir() {
                return Err(RecipeError::NotAFile { path, found: "a folder" });
            }
            // The user named it. It is the app's all the same where it lies there.
            let inside = self.app.as_ref().is_some_and(|app| lies_in(&path, app));
            let found = read(&path, inside)?;
            let found = found.ok_or_else(|| RecipeError::NotAFile { path: path.clone(), found: "nothing" })?;
            return Ok(if inside { found.of_app(path) } else { found });
        }
        // Without reading it: it need not even be a recipe.
        if self.trust != Trust::Yes
            && let Some(app) = &self.app
            && is_name(recipe)
            && self.app_has(recipe)
        {
            return Err(RecipeError::NotTrusted { path: app.join(file_of(recipe)), app: app.clone() });
        }
        self.look_up(recipe)
    }

    /// The recipe that the app's own `microbuild.toml` means by `recipe`: as [`RecipeSearch::find`], but the path of a file counts
    /// only in an app that is trusted.
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

    /// The recipe of that name, trusted or not.
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

    /// The recipe that files of the folder `app` speak for, and these files: those at its top that a pattern matches, and those that
    /// a path names. Where several are spoken for, one that is over another, or like it, counts instead of that, and one with an
    /// app in its language instead of one without.
    ///
    /// # Errors
    /// When they speak for none, for several, or for one of an app that is not trusted; and as [`RecipeSearch::all`].
    pub fn detect(&self, app: &Path) -> Result<(Recipe, Vec<String>), RecipeError> {
        let door = if app.is_dir() { Some(AppFolder::open(app)?) } else { None };
        let entries = match &door {
            Some(door) => door.list("")?.unwrap_or_default(),
            None => Vec::new(),
        };
        let files: Vec<String> = entries.into_iter().filter_map(|entry| entry.name.into_string().ok()).collect();
        let speaks = |recipe: &Recipe| {
            let patterns = PatternSet::new(recipe.detect.clone());
            let mut files: Vec<String> = files.iter().filter(|file| patterns.matches(file)).cloned().collect();
            let paths = recipe.detect.iter().map(ToString::to_string).filter(|path| path.contains('/'));
            files.extend(paths.filter(|path| door.as_ref().is_some_and(|door| door.kind(path).is_some())));
            files.sort();
            files
        };
        // A recipe of an app that is not trusted may be anything: what is none is left alone.
        let known = self.names()?.into_iter().map(|name| (self.look_up(&name), name));
        let all = known.filter(|(recipe, name)| self.trust == Trust::Yes || recipe.is_ok() || !self.app_has(name));
        let all = all.map(|(recipe, _)| recipe).collect::<Result<Vec<_>, _>>()?;
        let all = all.into_iter().map(|recipe| (speaks(&recipe), recipe));
        let mut found: Vec<(Recipe, Vec<String>)> =
            all.filter(|(files, _)| !files.is_empty()).map(|(files, recipe)| (recipe, files)).collect();
        let mut beaten = BTreeSet::new();
        for (recipe, _) in &found {
            beaten.extend(recipe.over.iter().chain(&recipe.like).filter(|name| **name != recipe.name).cloned());
        }
        if found.iter().any(|(recipe, _)| !beaten.contains(&recipe.name)) {
            found.retain(|(recipe, _)| !beaten.contains(&recipe.name));
        }
        let is_app = |(recipe, _): &(Recipe, Vec<String>)| {
            door.as_ref().zip(recipe.language).is_none_or(|(door, language)| language.is_app(door))
        };
        if found.len() > 1 && found.iter().any(is_app) {
            found.retain(is_app);
        }
        for (recipe, _) in &found {
            self.check(recipe)?;
        }
        match (found.pop(), found.is_empty()) {
            (Some(found), true) => Ok(found),
            (last, _) => {
                let named = |(recipe, mut files): (Recipe, Vec<String>)| (recipe.name, files.swap_remove(0));
                let found = found.into_iter().chain(last).map(named).collect();
                Err(RecipeError::Detected { app: app.to_owned(), found })
            }
        }
    }

    /// All recipes that have a name here, sorted by it; of those with the same name the one that [`RecipeSearch::find`] takes.
    ///
    /// # Errors
    /// When one of them cannot be read as a recipe.
    pub fn all(&self) -> Result<Vec<Recipe>, RecipeError> {
        self.names()?.iter().map(|name| self.look_up(name)).collect()
    }

    /// The recipe in the app's own file for `name`.
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

    /// The app's folder, when it is one: an app may be a single file.
    fn app_folder(&self) -> Option<&Path> {
        self.app.as_deref().filter(|app| app.is_dir())
    }

    /// Whether the app has something for `name` where its recipes lie.
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
                // No such folder: there are none there.
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

/// The file of an app's own recipe `name`.
fn file_of(name: &str) -> String {
    format!("{FOLDER}/{name}.toml")
}

/// The name of the recipe in a file that is called so.
fn name_of(path: &Path) -> Option<String> {
    let name = path.file_stem()?.to_str()?;
    (path.extension()? == "toml" && is_name(name)).then(|| name.to_owned())
}

/// Whether the file `path` lies in the folder `folder`, links followed.
fn lies_in(path: &Path, folder: &Path) -> bool {
    let real = fs::canonicalize(path).ok().zip(fs::canonicalize(folder).ok());
    real.is_some_and(|(path, folder)| path.starts_with(folder))
}

/// The recipe in the file `path`, or `None` when there is no such file. Its own files lie in the folder beside it that is called as
/// it is. Of one that lies `inside` an app they are opened as the app's files are.
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

/// The file `path` of a user's own recipe, or `None` when there is none.
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

/// `recipe`, when it goes by the name of its file.
fn named(recipe: Recipe, name: &str) -> Result<Recipe, RecipeError> {
    if recipe.name == name {
        return Ok(recipe);
    }
    let message = format!("expected name = \"{name}\" as the file's name has it, found \"{}\"", recipe.name);
    Err(RecipeError::Meaning { file: recipe.origin.to_string(), message })
}
