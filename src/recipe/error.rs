//! Errors of recipes, and of the search for them.

use std::{io, path::PathBuf};

use crate::{
    app_folder::AppFolderError,
    error::{Explain, Kind},
    lang::some,
    near::nearest,
    values::DocumentError,
};

/// An error of a recipe, or of the search for one.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The text is not a valid recipe.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The recipe contradicts itself.
    #[error("{file}: {message}")]
    Meaning {
        /// The file.
        file: String,
        /// What was expected and what was found.
        message: String,
    },
    /// No recipe has that name.
    #[error("expected the name of a recipe ({}), found `{name}`", known.join(", "))]
    Unknown {
        /// The requested name.
        name: String,
        /// The known names, sorted.
        known: Vec<String>,
    },
    /// No recipe recognizes the files of an app.
    #[error("no recipe recognizes the files in {}{}", app.display(), seen(files))]
    NotRecognized {
        /// The app's folder.
        app: PathBuf,
        /// The files at its top, or else the folders.
        files: Vec<String>,
        /// What to do with them, where that is known.
        advice: Option<String>,
    },
    /// Several recipes recognize the files of an app.
    #[error("several recipes recognize the files in {}: {}", app.display(), each(found))]
    Detected {
        /// The app's folder.
        app: PathBuf,
        /// The recipes, each with a file that it recognizes.
        found: Vec<(String, String)>,
    },
    /// There is no recipe file at that path.
    #[error("expected a recipe file, found {found} at {}", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What the path leads to instead.
        found: &'static str,
    },
    /// The recipe has no packages for the base.
    #[error("recipe {recipe}: expected packages for base {base}, found packages for {} only", known.join(", "))]
    NoBase {
        /// The recipe's name.
        recipe: String,
        /// The requested base.
        base: &'static str,
        /// The bases that it has packages for.
        known: Vec<&'static str>,
    },
    /// The recipe is in the app's folder, which the user does not trust.
    #[error("the app has its own recipe {}, which decides what runs on this machine and in the image; you have not trusted it", path.display())]
    NotTrusted {
        /// The recipe.
        path: PathBuf,
        /// The app's folder.
        app: PathBuf,
    },
    /// A file of the app cannot be read.
    #[error(transparent)]
    App(#[from] AppFolderError),
    /// A file or folder cannot be read.
    #[error("cannot read the recipe {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl Explain for RecipeError {
    fn kind(&self) -> Kind {
        match self {
            Self::Document(_)
            | Self::Meaning { .. }
            | Self::Unknown { .. }
            | Self::NotRecognized { .. }
            | Self::Detected { .. }
            | Self::NotAFile { .. }
            | Self::NoBase { .. }
            | Self::NotTrusted { .. }
            | Self::App(_)
            | Self::Io { .. } => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Document(error) => error.hint.clone(),
            Self::Unknown { name, known } => Some(match nearest(name, known.iter().map(String::as_str)).filter(|_| !name.is_empty()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "list them with `microbuild recipes`; put your own into ~/.config/microbuild/recipes/NAME.toml".to_owned(),
            }),
            Self::NoBase { known, recipe, .. } => known.first().map(|base| {
                format!("--base {base}, or a recipe of your own: `microbuild recipes {recipe} > mine.toml`, then `microbuild ./mine.toml`")
            }),
            Self::NotRecognized { advice: Some(advice), .. } => Some(advice.clone()),
            Self::NotRecognized { app, advice: None, .. } => Some(format!(
                "name the recipe of the app's language, as in `microbuild python {app}`; `microbuild recipes` lists them. The recipe base \
                 takes files as they are: `microbuild build {app} --recipe base --cmd 'COMMAND'`",
                app = app.display()
            )),
            Self::Detected { app, found } => {
                let name = found.first().map_or("RECIPE", |(name, _)| name);
                Some(format!(
                    "choose one: --recipe {name}, or `microbuild {name} {}`, or recipe = \"{name}\" in its microbuild.toml",
                    app.display()
                ))
            }
            Self::NotAFile { path, found: "a folder" } => {
                Some(format!("put the recipe before the app: `microbuild node {}`", path.display()))
            }
            Self::NotAFile { .. } => Some("a recipe's name has neither a / nor .toml in it".into()),
            Self::NotTrusted { path, app } => Some(format!(
                "read it, then `microbuild {} {}`, or --trust, or trust = [\"{}\"] in your own config.toml; --trust=no ignores it",
                path.display(),
                app.display(),
                std::path::absolute(app).as_deref().unwrap_or(app).display()
            )),
            Self::App(error) => error.hint(),
            Self::Meaning { .. } | Self::Io { .. } => None,
        }
    }
}

/// The files that were seen, behind a colon.
fn seen(files: &[String]) -> String {
    if files.is_empty() { String::new() } else { format!(": {}", some(files)) }
}

fn each(found: &[(String, String)]) -> String {
    let found: Vec<_> = found.iter().map(|(recipe, file)| format!("{recipe} ({file})")).collect();
    found.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_a_matter_of_usage() {
        for error in [
            RecipeError::Meaning { file: "own.toml".into(), message: "expected a name".into() },
            RecipeError::NoBase { recipe: "own".into(), base: "alpine", known: vec!["debian"] },
            RecipeError::App(AppFolderError::NotText { path: "app/own.toml".into() }),
        ] {
            assert_eq!(error.kind(), Kind::Usage, "{error}");
        }
    }
}
