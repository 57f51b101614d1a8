//! Files of a recipe: scripts that its commands run, each in its own language.
//!
//! A command names such a file by its path in the sandbox, `/run/recipe/maven.sh`, and a file may name others in the
//! same way. The recipe has exactly the files that are named like this. They are looked up in the folder beside the
//! recipe's own file that has its name, then in the built-in folders that the key `files` lists.

use std::{collections::BTreeMap, str::FromStr};

use serde::Deserializer;

use super::RecipeError;
use crate::{
    near::nearest,
    values::{self, DocumentError},
};

/// The folder of a recipe's files while its steps run.
pub const RUN: &str = "/run/recipe";

/// Reads a file beside a recipe's own file, by its name. `None` when the file does not exist.
pub(super) type Beside<'a> = &'a dyn Fn(&str) -> Result<Option<String>, RecipeError>;

/// A folder of files, by their names.
type Folder = &'static [(&'static str, &'static str)];

macro_rules! folder {
    ($folder:literal: $($file:literal)*) => {
        ($folder, &[$(($file, include_str!(concat!("../../recipes/", $folder, "/", $file)))),*])
    };
}

/// The folders of `recipes/`, by name.
pub(super) const FOLDERS: &[(&str, Folder)] = &[
    folder!("bun": "build.sh" "bun.sh" "entry.js"),
    folder!("clojure": "build.sh"),
    folder!("crystal": "build.sh"),
    folder!("deno": "build.sh" "configure.js" "deno.sh"),
    folder!("dotnet": "build.sh"),
    folder!("elixir": "build.sh"),
    folder!("erlang": "build.sh"),
    folder!("gcc": "build.sh"),
    folder!("go": "build.sh" "cgo.sh" "flags.sh"),
    folder!("haskell": "build.sh" "ghc.sh"),
    folder!("java": "Trust.java" "build.sh" "finish.sh" "gradle.sh" "maven.sh" "microbuild.gradle" "modules.sh" "package.sh" "start.sh"
        "used.sh"),
    folder!("kotlin": "build.sh" "pom.xml"),
    folder!("mono": "Restamp.cs" "build.sh"),
    folder!("node": "build.sh" "bun-install.sh" "develop.sh" "manager.sh" "npm.sh" "pnpm.sh" "prune.js" "yarn.sh"),
    folder!("perl": "install.sh"),
    folder!("php": "apache.conf" "install.sh"),
    folder!("python": "collectstatic.py" "indexes.py" "install.sh" "sitecustomize.py"),
    folder!("ruby": "assets.sh" "install.sh"),
    folder!("rust": "build.sh" "link.sh"),
    folder!("scala": "build.sh"),
    folder!("shared": "asked.js" "one-program.sh" "output.sh" "tool.sh"),
    folder!("zig": "build.sh"),
];

/// The name of a folder of [`FOLDERS`].
struct FolderName(String);

impl FromStr for FolderName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if FOLDERS.iter().any(|(name, _)| *name == text) {
            return Ok(Self(text.to_owned()));
        }
        let known = FOLDERS.iter().map(|(name, _)| *name);
        Err(match nearest(text, known.clone()) {
            Some(near) => format!("microbuild has no folder of files `{text}`; did you mean `{near}`?"),
            None => {
                format!("microbuild has no folder of files `{text}`, only {}", known.collect::<Vec<_>>().join(", "))
            }
        })
    }
}

/// Built-in folders of files.
pub(super) fn folders<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    values::list::<FolderName, D>(deserializer).map(|list| list.into_iter().map(|folder| folder.0).collect())
}

/// Finds the files that `texts` name below [`RUN`], and the files that these name. `texts` are the texts of the recipe
/// `text` in `file`.
///
/// # Errors
/// When a file is neither `beside` the recipe nor in one of the `folders`; when it cannot be read.
pub(super) fn named(
    text: &str,
    file: &str,
    texts: &[String],
    folders: &[String],
    beside: Beside<'_>,
) -> Result<BTreeMap<String, String>, RecipeError> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    // The name of a file, and the text that names it for messages: the recipe, or another of its files.
    let wanted = |names: Vec<String>, by: &Option<String>| names.into_iter().map(|name| (name, by.clone())).collect();
    let mut todo: Vec<(String, Option<String>)> =
        texts.iter().flat_map(|text| wanted(names(text), &None)).collect::<Vec<_>>();
    while let Some((name, by)) = todo.pop() {
        if found.contains_key(&name) {
            continue;
        }
        let content = beside(&name)?.or_else(|| brought_along(&name, folders).map(str::to_owned));
        let Some(content) = content else {
            let (text, file) = match by.as_ref().and_then(|by| Some((found.get(by)?, by))) {
                Some((text, by)) => (text.as_str(), format!("file {by} of {file}")),
                None => (text, file.to_owned()),
            };
            return Err(missing(&name, text, &file));
        };
        todo.extend::<Vec<_>>(wanted(names(&content), &Some(name.clone())));
        found.insert(name, content);
    }
    Ok(found)
}

/// The file `name` from the first of the `folders` that has it.
fn brought_along(name: &str, folders: &[String]) -> Option<&'static str> {
    let folders = folders.iter().filter_map(|folder| FOLDERS.iter().find(|(known, _)| known == folder));
    folders.flat_map(|(_, files)| files.iter()).find(|(known, _)| *known == name).map(|(_, content)| *content)
}

/// The names of the files whose paths below [`RUN`] are in `text`.
fn names(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let rest = text.split(RUN).skip(1).filter_map(|rest| rest.strip_prefix('/'));
    let names = rest.map(|rest| rest.split(|c| !is_part(c)).next().unwrap_or("").trim_end_matches('.'));
    names.filter(|name| !name.is_empty() && !name.starts_with('.')).map(str::to_owned).collect()
}

/// The error for a missing file that `text` names; `file` is the name of `text`.
fn missing(name: &str, text: &str, file: &str) -> RecipeError {
    let path = format!("{RUN}/{name}");
    let start = text.find(&path).unwrap_or(0);
    let span = start..text.len().min(start + if start == 0 { 0 } else { path.len() });
    let has = |files: &Folder| files.iter().any(|(known, _)| *known == name);
    let folders: Vec<&str> = FOLDERS.iter().filter(|(_, files)| has(files)).map(|(folder, _)| *folder).collect();
    let own = "the folder beside the recipe that has its name (mine/ for mine.toml)";
    let hint = match folders.first() {
        Some(folder) => format!(
            "put {name} into {own}; or use microbuild's with `files = [\"{folder}\"]` in the recipe; these folders have one: {}",
            folders.join(", ")
        ),
        None => format!("put {name} into {own}"),
    };
    DocumentError::at(text, file, span, format!("the recipe has no file {name}"), Some(hint)).into()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::{
        error::Explain as _,
        recipe::{Origin, Recipe, RecipeSearch, Trust},
    };

    const SMALL: &str = "name = 'x'\ndescription = 'x'\n[base.alpine]\npackages = ['x']\n";

    #[test]
    fn every_file_is_one_that_a_recipe_runs_and_is_brought_along() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
        let mut lying: Vec<String> = Vec::new();
        for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
            let files = fs::read_dir(entry).unwrap().map(|file| file.unwrap().path());
            lying.extend(files.map(|file| file.strip_prefix(&folder).unwrap().display().to_string()));
        }
        let mut known: Vec<_> = FOLDERS
            .iter()
            .flat_map(|(folder, files)| files.iter().map(move |(name, _)| format!("{folder}/{name}")))
            .collect();
        // Not a script: the lists for recipes (`super::lists`).
        lying.retain(|name| name != "shared/lists.toml");
        lying.sort();
        known.sort();
        assert_eq!(lying, known);
        let run: Vec<String> = RecipeSearch::default()
            .all()
            .unwrap()
            .into_iter()
            .flat_map(|recipe| recipe.programs.into_values())
            .collect();
        for (folder, files) in FOLDERS {
            for (name, content) in *files {
                assert!(run.iter().any(|program| program == content), "{folder}/{name} is run by no recipe");
            }
        }
    }

    #[test]
    fn what_a_command_names_is_found() {
        assert_eq!(names("sh /run/recipe/a.sh; . /run/recipe/b-c_d.sh"), ["a.sh", "b-c_d.sh"]);
        assert_eq!(names("see /run/recipe/a.sh. /run/recipe/$x /run/recipe /run/recipe/../x"), ["a.sh"]);
    }

    #[test]
    fn files_lie_beside_a_recipe_or_are_brought_along() {
        let dir = tempfile::tempdir().unwrap();
        let (app, config) = (dir.path().join("app"), dir.path().join("config"));
        let mine = format!(
            "{}\n[[step]]\nname = 'x'\nkeep = ['{{out}}']\nrun = 'sh /run/recipe/a.sh'\n",
            SMALL.replacen('x', "mine", 1)
        );
        let write = |path: &Path, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let user = config.join("microbuild/recipes");
        let search = RecipeSearch::new(&app, Some(&config), Trust::Yes);
        write(&user.join("mine.toml"), &mine);
        let error = search.find("mine").unwrap_err();
        assert!(error.to_string().contains("mine.toml:9:11: the recipe has no file a.sh"), "{error}");
        assert!(error.hint().unwrap().starts_with("put a.sh into the folder beside the recipe"));
        write(&user.join("mine/a.sh"), "user /run/recipe/b.sh");
        let error = search.find("mine").unwrap_err().to_string();
        assert!(
            error.contains("file a.sh of ") && error.contains("mine.toml:1:6: the recipe has no file b.sh"),
            "{error}"
        );
        write(&user.join("mine/b.sh"), "other");
        let found = search.find("mine").unwrap();
        assert_eq!(found.programs.keys().collect::<Vec<_>>(), ["a.sh", "b.sh"]);
        let digest = found.files_digest();
        write(&user.join("mine/b.sh"), "changed");
        assert_ne!(search.find("mine").unwrap().files_digest(), digest);

        // The app's own recipe has the app's files, whether it is named or given as a path. No link leads out of the
        // app.
        write(&app.join("recipes/mine.toml"), &mine);
        assert!(search.find("mine").is_err(), "the user's files are not the app's");
        write(&app.join("recipes/mine/a.sh"), "app");
        let path = app.join("recipes/mine.toml");
        for name in ["mine", path.to_str().unwrap()] {
            let found = search.find(name).unwrap();
            assert_eq!((found.programs["a.sh"].as_str(), found.origin), ("app", Origin::App(path.clone())));
        }
        fs::remove_file(app.join("recipes/mine/a.sh")).unwrap();
        std::os::unix::fs::symlink(user.join("mine/a.sh"), app.join("recipes/mine/a.sh")).unwrap();
        for name in ["mine", path.to_str().unwrap()] {
            let error = search.find(name).unwrap_err().to_string();
            assert!(error.contains("leads out"), "{error}");
        }
        write(&user.join("large.toml"), &mine.replacen("mine", "large", 1));
        write(&user.join("large/a.sh"), &"x".repeat(1 << 21));
        assert!(search.find("large").unwrap_err().to_string().contains("more than"));
    }

    #[test]
    fn a_copy_of_a_recipe_has_its_files_and_one_of_its_own_wins() {
        let dir = tempfile::tempdir().unwrap();
        let go = RecipeSearch::default().find("go").unwrap();
        let path = dir.path().join("mine.toml");
        let find = || RecipeSearch::default().find(path.to_str().unwrap());
        fs::write(&path, &go.text).unwrap();
        assert_eq!(find().unwrap().programs, go.programs);
        fs::write(&path, "name = 'mine'\nlike = 'go'\n").unwrap();
        assert_eq!(find().unwrap().programs, go.programs);
        fs::create_dir(dir.path().join("mine")).unwrap();
        fs::write(dir.path().join("mine/build.sh"), "mine").unwrap();
        assert_eq!(find().unwrap().programs["build.sh"], "mine");
    }

    #[test]
    fn a_missing_file_is_told_with_where_it_can_be_had() {
        let mistake = |text: &str| {
            let error = Recipe::parse(text, "mine.toml").unwrap_err();
            format!("{error}\nhint: {}\n", error.hint().unwrap_or_default())
        };
        let texts = [
            mistake(&format!(
                "{SMALL}[[step]]\nname = 'x'\nkeep = ['{{out}}']\nrun = ['sh', '/run/recipe/Restamp.cs']\n"
            )),
            mistake(&format!("{SMALL}[[step]]\nname = 'x'\nkeep = ['{{out}}']\nrun = ['sh', '/run/recipe/mine.sh']\n")),
            mistake(&format!("files = ['gp']\n{SMALL}")),
            mistake(&format!("files = ['../x']\n{SMALL}")),
        ];
        insta::assert_snapshot!(texts.join("\n"));
    }
}
