//! The commit that is checked out, for build scripts that ask for it. The repository itself is not in a step's folder: every
//! commit, whatever it changes, would make the step run again.

use std::collections::BTreeMap;

use crate::{
    app_folder::AppFolder,
    lang::{GeneratedFile, LARGEST},
    listing::Listing,
};

/// Files whose commands ask git for the commit, wherever they are, or at the top of the project.
const ANYWHERE: &str = "build.rs";
const AT_THE_TOP: [&str; 6] = ["CMakeLists.txt", "GNUmakefile", "Makefile", "configure.ac", "makefile", "meson.build"];

/// The variables that a step gets with the commit.
const VARIABLES: [&str; 2] = ["GIT_COMMIT", "SOURCE_COMMIT"];

/// Whether a script of the app, or a variable of the user, asks for the commit.
pub(super) fn is_wanted(folder: &AppFolder, files: &Listing, variables: &BTreeMap<String, String>) -> bool {
    let named = |text: &str| VARIABLES.iter().any(|name| text.contains(name));
    let is_script = |path: &&str| AT_THE_TOP.contains(path) || path.rsplit('/').next() == Some(ANYWHERE);
    let mut scripts = files.paths().filter(is_script).filter_map(|path| folder.read(path, LARGEST).ok().flatten());
    variables.values().any(|value| named(value)) || scripts.any(|text| text.contains("rev-parse") || named(&text))
}

/// The variables for the commit `revision`.
pub(super) fn variables(revision: &str) -> impl Iterator<Item = (String, String)> {
    VARIABLES.iter().map(move |name| ((*name).to_owned(), revision.to_owned()))
}

/// A repository of which git knows only the commit `revision`, so that `git rev-parse HEAD` answers.
pub(super) fn repository(revision: &str) -> Vec<GeneratedFile> {
    let file = |path: &str, text: String| GeneratedFile { path: path.to_owned(), text, executable: false };
    vec![
        file(".git/HEAD", format!("{revision}\n")),
        file(".git/objects/info/packs", String::new()),
        file(".git/refs/heads/main", format!("{revision}\n")),
    ]
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::listing::{AppFile, FileKind};

    #[test]
    fn a_script_asks_for_the_commit_or_the_user_does() {
        let git = "fn main() { Command::new(\"git\").args([\"rev-parse\", \"HEAD\"]); }";
        for (path, text, variable, wanted) in [
            ("build.rs", git, "", true),
            ("crates/a/build.rs", git, "", true),
            ("build.rs", "fn main() { env(\"SOURCE_COMMIT\") }", "", true),
            ("build.rs", "fn main() {}", "", false),
            ("CMakeLists.txt", "execute_process(COMMAND git rev-parse HEAD)", "", true),
            ("src/main.rs", git, "", false),
            ("main.go", "", "-ldflags=-X=main.commit=$SOURCE_COMMIT", true),
            ("main.go", "", "-v", false),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let place = dir.path().join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, text).unwrap();
            let files: Listing =
                [AppFile { path: path.to_owned(), kind: FileKind::file(1, 0o644) }].into_iter().collect();
            let variables = BTreeMap::from([("GOFLAGS".to_owned(), variable.to_owned())]);
            let folder = AppFolder::open(dir.path()).unwrap();
            assert_eq!(is_wanted(&folder, &files, &variables), wanted, "{path} {text} {variable}");
        }
    }
}
