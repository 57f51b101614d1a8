//! Where recipes are found: in the app's folder, in the user's configuration, in the program itself.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::{BUILT_IN, Origin, Recipe, RecipeError, is_name};
use crate::glob::PatternSet;

/// Whether a recipe is asked for by the path of its file (`./mine.toml`, `my/recipe`), not by name.
pub fn is_path(recipe: &str) -> bool {
    recipe.contains('/') || Path::new(recipe).extension().is_some_and(|extension| extension == "toml")
}

/// Where recipes are looked for besides the program itself.
#[derive(Debug, Clone, Default)]
pub struct Shelves {
    folders: Vec<PathBuf>,
}

impl Shelves {
    /// The recipes of the app in the folder `app`, and of the user whose configuration lies in `config`
    /// (`$XDG_CONFIG_HOME`).
    pub fn new(app: &Path, config: Option<&Path>) -> Self {
        let user = config.map(|config| config.join("microbuild/recipes"));
        Self { folders: std::iter::once(app.join("recipes")).chain(user).collect() }
    }

    /// The recipe that is meant by `recipe`: the path of a file, or a name, which is looked up in the app's folder, in
    /// the user's configuration, and among the built-in recipes.
    ///
    /// # Errors
    /// When there is none, or it cannot be read as one.
    pub fn find(&self, recipe: &str) -> Result<Recipe, RecipeError> {
        if is_path(recipe) {
            let path = PathBuf::from(recipe);
            if path.is_dir() {
                return Err(RecipeError::NotAFile { path, found: "a folder" });
            }
            return read(&path)?.ok_or(RecipeError::NotAFile { path, found: "nothing" });
        }
        if is_name(recipe) {
            for folder in &self.folders {
                if let Some(found) = read(&folder.join(format!("{recipe}.toml")))? {
                    return named(found, recipe);
                }
            }
            if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == recipe) {
                return Recipe::parse(text, &format!("built-in recipe {name}"));
            }
        }
        Err(RecipeError::Unknown { name: recipe.to_owned(), known: self.names()?.into_iter().collect() })
    }

    /// The recipe that files of the folder `app` speak for, and these files: those at its top that a pattern matches, and those that
    /// a path names. Where several are spoken for, one that is over another, or like it, counts instead of that.
    ///
    /// # Errors
    /// When they speak for none, or for several; and as [`Shelves::all`].
    pub fn detect(&self, app: &Path) -> Result<(Recipe, Vec<String>), RecipeError> {
        let files: Vec<String> = fs::read_dir(app)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| e.file_name().into_string().ok())
            .collect();
        let speaks = |recipe: &Recipe| {
            let patterns = PatternSet::new(recipe.detect.clone());
            let mut files: Vec<String> = files.iter().filter(|file| patterns.matches(file)).cloned().collect();
            let paths = recipe.detect.iter().map(ToString::to_string).filter(|path| path.contains('/'));
            files.extend(paths.filter(|path| app.join(path).exists()));
            files.sort();
            files
        };
        let all = self.all()?.into_iter().map(|recipe| (speaks(&recipe), recipe));
        let mut found: Vec<(Recipe, Vec<String>)> =
            all.filter(|(files, _)| !files.is_empty()).map(|(files, recipe)| (recipe, files)).collect();
        let mut beaten = BTreeSet::new();
        for (recipe, _) in &found {
            beaten.extend(recipe.over.iter().chain(&recipe.like).filter(|name| **name != recipe.name).cloned());
        }
        if found.iter().any(|(recipe, _)| !beaten.contains(&recipe.name)) {
            found.retain(|(recipe, _)| !beaten.contains(&recipe.name));
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

    /// All recipes that have a name here, sorted by it; of those with the same name the one that [`Shelves::find`] takes.
    ///
    /// # Errors
    /// When one of them cannot be read as a recipe.
    pub fn all(&self) -> Result<Vec<Recipe>, RecipeError> {
        self.names()?.iter().map(|name| self.find(name)).collect()
    }

    /// The names of all recipes.
    fn names(&self) -> Result<BTreeSet<String>, RecipeError> {
        let mut names: BTreeSet<String> = BUILT_IN.iter().map(|(name, _)| (*name).to_owned()).collect();
        for folder in &self.folders {
            let error = |source| RecipeError::Io { path: folder.clone(), source };
            let entries = match fs::read_dir(folder) {
                Ok(entries) => entries,
                // No such folder, or an app whose `recipes` is a file: there are none there.
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
                Err(e) => return Err(error(e)),
            };
            for entry in entries {
                let path = entry.map_err(error)?.path();
                let toml = path.extension().is_some_and(|extension| extension == "toml");
                if let Some(name) = path.file_stem().and_then(|stem| stem.to_str()).filter(|name| toml && is_name(name))
                {
                    names.insert(name.to_owned());
                }
            }
        }
        Ok(names)
    }
}

/// The folder of the user's configuration: `$XDG_CONFIG_HOME`, else `~/.config`.
pub fn config_home() -> Option<PathBuf> {
    // XDG Base Directory Specification 0.8: a relative path in the variable is invalid and to be ignored.
    let absolute = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))
}

/// The recipe in the file `path`, or `None` when there is no such file.
fn read(path: &Path) -> Result<Option<Recipe>, RecipeError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(source) => return Err(RecipeError::Io { path: path.to_owned(), source }),
    };
    let recipe = Recipe::parse(&text, &path.display().to_string())?;
    Ok(Some(Recipe { origin: Origin::File(path.to_owned()), ..recipe }))
}

/// `recipe`, when it goes by the name of its file.
fn named(recipe: Recipe, name: &str) -> Result<Recipe, RecipeError> {
    if recipe.name == name {
        return Ok(recipe);
    }
    let message = format!("expected name = \"{name}\" as the file's name has it, found \"{}\"", recipe.name);
    Err(RecipeError::Meaning { file: recipe.origin.to_string(), message })
}
