//! The data of a compiled app: files of its folder that the program opens when it runs, such as templates. Everything else in
//! the image of such an app is the result of steps.

use std::collections::BTreeSet;

use super::{AppFile, FileKind};
use crate::{
    glob::{Pattern, PatternSet},
    listing::Listing,
    ui,
};

/// The name of the compiled program in the image, unless a folder of the app's data has it.
const PROGRAM: &str = "app";

/// The name of the program where [`PROGRAM`] is a folder.
const OTHER_PROGRAM: &str = "app.run";

/// What decides which files are data.
pub(super) struct Rule<'a> {
    /// The recipe's patterns: the last that matches a file, or a folder above it, decides.
    pub(super) recipe: &'a [Pattern],
    /// What the user takes although an ignore file leaves it out: data too, unless the recipe says that it is source.
    pub(super) include: &'a [Pattern],
    /// What the user keeps, whatever it is.
    pub(super) keep: &'a [Pattern],
    /// The folder that the program starts from, of which paths in the image are relative. Empty for the app's own.
    pub(super) base: &'a str,
    /// Files and folders that are compiled into the program.
    pub(super) embedded: &'a [Pattern],
}

impl Rule<'_> {
    /// The data among `files`, with paths relative to [`Rule::base`].
    pub(super) fn data(&self, files: &Listing) -> Vec<AppFile> {
        let wanted: Vec<Pattern> = self.include.iter().chain(self.recipe).cloned().collect();
        let wanted = PatternSet::new(wanted);
        let embedded = PatternSet::new(self.embedded.to_vec());
        let kept = |path: &str| self.keep.iter().rfind(|pattern| pattern.matches_tree(path));
        let mut found = Listing::default();
        for path in files.paths() {
            let relative = match self.base {
                "" => path,
                base => match path.strip_prefix(base).and_then(|rest| rest.strip_prefix('/')) {
                    Some(rest) => rest,
                    None => continue,
                },
            };
            let taken = match kept(relative) {
                Some(pattern) => !pattern.is_negated(),
                None => wanted.matches(relative) && !embedded.matches(path),
            };
            if let (Some(kind), true) = (files.get(path), taken)
                && *kind != FileKind::Folder
            {
                found.insert(relative.to_owned(), kind.clone());
            }
        }
        found.complete();
        found.into_files()
    }
}

/// The name that the program of an app with this data has.
pub(super) fn program(data: &[AppFile]) -> &'static str {
    if data.iter().any(|file| file.path == PROGRAM) { OTHER_PROGRAM } else { PROGRAM }
}

/// What tells the user which files come along, in a line. `None` when there are none.
pub(super) fn told(data: &[AppFile]) -> Option<String> {
    /// As many names as fit into a line.
    const SHOWN: usize = 8;
    let is_file = |file: &&AppFile| file.kind != FileKind::Folder;
    let size = |file: &AppFile| if let FileKind::File { size, .. } = file.kind { size } else { 0 };
    let tops: BTreeSet<String> = data.iter().filter(is_file).map(|file| shown(&file.path)).collect();
    let count = data.iter().filter(is_file).count();
    if count == 0 {
        return None;
    }
    let names: Vec<&str> = tops.iter().take(SHOWN).map(String::as_str).collect();
    let more = tops.len().checked_sub(SHOWN).filter(|more| *more > 0).map(|more| format!(" and {more} more"));
    let files = if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
    let size = ui::size(data.iter().map(size).sum());
    Some(format!("data beside the program: {files}, {size}: {}{}", names.join(", "), more.unwrap_or_default()))
}

/// The part of a path that tells what it is: its first two folders, or the file itself.
fn shown(path: &str) -> String {
    match path.split('/').collect::<Vec<_>>()[..] {
        [] | [_] => path.to_owned(),
        [folder, _] => format!("{folder}/"),
        [folder, below, ..] => format!("{folder}/{below}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::RecipeSearch;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn listing(paths: &[&str]) -> Listing {
        let file = |path: &&str| AppFile { path: (*path).to_owned(), kind: FileKind::file(1, 0o644) };
        let mut listing: Listing = paths.iter().map(file).collect();
        listing.complete();
        listing
    }

    fn files(data: &[AppFile]) -> Vec<&str> {
        data.iter().filter(|file| file.kind != FileKind::Folder).map(|file| file.path.as_str()).collect()
    }

    /// What each recipe takes of an app that has all of this.
    #[test]
    fn what_a_program_opens_comes_along_and_what_it_is_made_of_does_not() {
        let data = [
            "templates/index.html",
            "templates/mail/welcome.txt",
            "web/templates/a.gohtml",
            "internal/web/views/a.tmpl",
            "ui/html/pages/home.tmpl",
            "static/app.js",
            "static/css/main.css",
            "static/img/a.png",
            "static/.well-known/security.txt",
            "public/index.html",
            "public/favicon.ico",
            "assets/logo.svg",
            "assets/config.json",
            "migrations/1_init.up.sql",
            "db/schema.sql",
            "db/migrations/2.sql",
            "locales/de.json",
            "i18n/en.toml",
            "translations/fr.ftl",
            "config/app.yaml",
            "config/production.toml",
            "configs/a.ini",
            "config.json",
            "config.yml",
            "settings.toml",
            "data/cities.csv",
            "resources/font.ttf",
            "index.html",
            "style.css",
            "products.json",
            "Rocket.toml",
            "frontend/dist/index.html",
        ];
        let other = [
            "main.go",
            "config/config.go",
            "templates/render.go",
            "static/static.go",
            "src/main.rs",
            "assets/build.rs",
            "config.h",
            "config/config.c",
            "views/Home.java",
            "go.mod",
            "go.sum",
            "vendor/x/templates/a.html",
            "testdata/a.html",
            "internal/web/testdata/views/a.html",
            "tests/fixtures/a.sql",
            "test/static/a.css",
            "README.md",
            "static/README.md",
            "LICENSE",
            "Makefile",
            "docs/index.html",
            "deploy/chart/templates/a.yaml",
            "charts/app/templates/a.yaml",
            "k8s/config/a.yaml",
            ".github/templates/a.html",
            ".vscode/settings.json",
            "docker-compose.yml",
            ".golangci.yml",
            "package.json",
            "package-lock.json",
            "tsconfig.json",
            "renovate.json",
            "vercel.json",
            "CMakePresets.json",
            "Cargo.toml",
            "Cargo.lock",
            "rustfmt.toml",
            "target/release/templates/a.html",
            "node_modules/x/index.html",
            "web/node_modules/x/dist/a.css",
            "frontend/src/App.css",
            "web/package.json",
            "terraform/config/a.json",
            "examples/a/index.html",
            "id_ed25519",
            "config/server.key",
            "config/cert.pem",
        ];
        let all: Vec<&str> = data.iter().chain(&other).copied().collect();
        let all = listing(&all);
        for name in ["go", "rust", "gcc", "haskell", "bun", "java", "kotlin"] {
            let recipe = RecipeSearch::default().find(name).expect("built in");
            let rule = Rule { recipe: &recipe.app.data, include: &[], keep: &[], base: "", embedded: &[] };
            let found = rule.data(&all);
            let found: BTreeSet<&str> = files(&found).into_iter().collect();
            let expected: BTreeSet<&str> = data.into_iter().collect();
            let missing: Vec<_> = expected.difference(&found).collect();
            let much: Vec<_> = found.difference(&expected).collect();
            assert!(missing.is_empty() && much.is_empty(), "{name}: missing {missing:?}, too much {much:?}");
        }
    }

    #[test]
    fn the_user_takes_more_and_less() {
        let recipe = patterns(&["**/templates", "!**/*.go"]);
        let all = listing(&["templates/a.html", "templates/b.go", "data.txt", "gen/x.go", "templates/big.bin"]);
        let take = |include: &[&str], keep: &[&str], embedded: &[&str]| {
            let (include, keep, embedded) = (patterns(include), patterns(keep), patterns(embedded));
            let rule = Rule { recipe: &recipe, include: &include, keep: &keep, base: "", embedded: &embedded };
            files(&rule.data(&all)).join(" ")
        };
        assert_eq!(take(&[], &[], &[]), "templates/a.html templates/big.bin");
        assert_eq!(take(&["data.txt", "gen"], &[], &[]), "data.txt templates/a.html templates/big.bin");
        assert_eq!(take(&[], &["gen", "*.txt"], &[]), "data.txt gen/x.go templates/a.html templates/big.bin");
        assert_eq!(take(&[], &["!**/*.bin"], &[]), "templates/a.html");
        assert_eq!(take(&[], &[], &["templates"]), "");
        assert_eq!(take(&[], &["templates/*.html"], &["templates"]), "templates/a.html");
    }

    #[test]
    fn paths_are_those_that_the_program_knows() {
        let recipe = patterns(&["**/templates"]);
        let all = listing(&["backend/templates/a.html", "templates/b.html", "backend2/templates/c.html"]);
        let rule = Rule { recipe: &recipe, include: &[], keep: &[], base: "backend", embedded: &[] };
        let data = rule.data(&all);
        assert_eq!(data.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["templates", "templates/a.html"]);
        assert_eq!(program(&data), "app");
        let rule = Rule { keep: &patterns(&["app/x"]), base: "", ..rule };
        assert_eq!(program(&rule.data(&listing(&["app/x"]))), "app.run");
    }

    #[test]
    fn a_line_tells_what_comes_along() {
        let recipe = patterns(&["*"]);
        let rule = Rule { recipe: &recipe, include: &[], keep: &[], base: "", embedded: &[] };
        let told = |paths: &[&str]| told(&rule.data(&listing(paths)));
        assert_eq!(told(&[]), None);
        assert_eq!(told(&["a.html"]).as_deref(), Some("data beside the program: 1 file, 1 B: a.html"));
        assert_eq!(
            told(&["t/a", "t/b", "web/t/c", "web/t/d/e", "x"]).as_deref(),
            Some("data beside the program: 5 files, 5 B: t/, web/t/, x")
        );
        let many: Vec<String> = (0..10).map(|at| format!("{at}.html")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(told(&many).unwrap().ends_with("7.html and 2 more"), "{:?}", told(&many));
    }
}
