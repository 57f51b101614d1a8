//! Rules for the files of an app that stay out of its image: the ignore file, the built-in rules, `--include` and
//! `--exclude`.

use crate::{
    app_folder::CONFIG_FILE,
    glob::{Pattern, PatternError},
};

/// The names of ignore files. The first that exists counts.
pub(super) const FILES: [&str; 2] = [".microbuildignore", ".dockerignore"];

/// Files at the top of the app that describe the image and are not needed in it.
const DESCRIPTIONS: [&str; 5] = [".microbuildignore", ".dockerignore", "Dockerfile", CONFIG_FILE, "microbuild.lock"];

/// Reads the patterns of an ignore file. The error is the line (from 1) that is not a pattern, with the cause.
pub(super) fn parse(text: &str) -> Result<Vec<Pattern>, (usize, PatternError)> {
    // As Docker does: a byte order mark is dropped, and a comment's `#` is in the first column.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty());
    lines.map(|(at, line)| line.parse().map_err(|error| (at + 1, error))).collect()
}

/// A list of rules. The last one that matches a path, or a folder above it, decides.
#[derive(Debug, Default)]
pub(super) struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    fits: Fits,
    takes: bool,
}

#[derive(Debug)]
enum Fits {
    Pattern(Pattern),
    /// Exactly this path.
    Path(String),
    /// Anything of this name, in any folder.
    Name(&'static str),
    /// Files that hold secrets: `.env`, `.env.production`, …, `.npmrc` and the like. Not `.env.example`, which only
    /// names them.
    Secrets,
    /// The caches that build tools keep in a folder of dependencies of this name.
    CacheOf(String),
}

impl Fits {
    fn fits(&self, path: &str) -> bool {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        match self {
            Self::Pattern(pattern) => pattern.matches(path),
            Self::Path(this) => path == this,
            Self::Name(this) => name == *this,
            Self::Secrets => {
                [".env", ".netrc", ".npmrc", ".pypirc"].contains(&name)
                    || (name.starts_with(".env.") && name != ".env.example")
            }
            Self::CacheOf(this) => name == ".cache" && folder.rsplit('/').next() == Some(this.as_str()),
        }
    }
}

/// The rules that match a folder, or one above it; they apply to everything in the folder.
#[derive(Debug, Clone)]
pub(super) struct Scope(Vec<bool>);

impl Rules {
    /// The rules for an app: `file` (its ignore file), then the built-in rules, then `include`, then `exclude`.
    ///
    /// In Docker, an ignore file's `!src` takes back everything below `src`. Here it does not take back a `.env`; only
    /// `--include` does. `without` are the folders that steps make anew. `descriptions` are additional paths that
    /// describe the image.
    pub(super) fn for_app(
        file: Vec<Pattern>,
        include: &[Pattern],
        exclude: &[Pattern],
        without: &[Pattern],
        descriptions: impl IntoIterator<Item = String>,
    ) -> Self {
        let leave = |fits| Rule { fits, takes: false };
        let mut rules = Self::default();
        rules.patterns(file, false);
        rules.0.extend([leave(Fits::Name(".git")), leave(Fits::Secrets)]);
        rules.0.extend(without.iter().cloned().map(|pattern| leave(Fits::Pattern(pattern))));
        let usual = DESCRIPTIONS.into_iter().map(str::to_owned);
        rules.0.extend(usual.chain(descriptions).map(|path| leave(Fits::Path(path))));
        rules.patterns(include.iter().cloned(), true);
        rules.patterns(exclude.iter().cloned(), false);
        rules
    }

    /// The rules for installed dependencies in `folders`. All their files are taken, except caches of build tools and
    /// what `exclude` names.
    pub(super) fn for_dependencies(folders: &[Pattern], exclude: &[Pattern]) -> Self {
        let name = |pattern: &Pattern| pattern.to_string().rsplit('/').next().unwrap_or_default().to_owned();
        let caches = folders.iter().map(|folder| Rule { fits: Fits::CacheOf(name(folder)), takes: false });
        let mut rules = Self(caches.collect());
        rules.patterns(exclude.iter().cloned(), false);
        rules
    }

    /// The rules that only exclude what `exclude` names.
    pub(super) fn without(exclude: &[Pattern]) -> Self {
        let mut rules = Self::default();
        rules.patterns(exclude.iter().cloned(), false);
        rules
    }

    /// Adds patterns. With `inverted`, a plain pattern includes, and one with `!` excludes.
    fn patterns(&mut self, patterns: impl IntoIterator<Item = Pattern>, inverted: bool) {
        let rule = |pattern: Pattern| Rule { takes: pattern.is_negated() != inverted, fits: Fits::Pattern(pattern) };
        self.0.extend(patterns.into_iter().map(rule));
    }

    /// The scope of the app's own folder.
    pub(super) fn top(&self) -> Scope {
        Scope(vec![false; self.0.len()])
    }

    /// The scope of the folder `path`, in a folder of scope `above`.
    pub(super) fn enter(&self, above: &Scope, path: &str) -> Scope {
        Scope(self.0.iter().zip(&above.0).map(|(rule, fitted)| *fitted || rule.fits.fits(path)).collect())
    }

    /// Whether `path`, in a folder of scope `above`, stays out.
    pub(super) fn leaves_out(&self, above: &Scope, path: &str) -> bool {
        let decides = self.0.iter().zip(&above.0).rev().find(|(rule, fitted)| **fitted || rule.fits.fits(path));
        decides.is_some_and(|(rule, _)| !rule.takes)
    }

    /// Whether files below the excluded folder `path` of this scope may still be included: when a rule after the one
    /// that excludes the folder could match there.
    pub(super) fn may_take_below(&self, scope: &Scope, path: &str) -> bool {
        let undecided = self.0.iter().zip(&scope.0).rev().take_while(|(_, fitted)| !**fitted).map(|(rule, _)| rule);
        undecided.filter(|rule| rule.takes).any(|rule| match &rule.fits {
            Fits::Pattern(pattern) => pattern.may_match_below(path),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_an_ignore_file() {
        let text = "\u{feff}# a comment\n\n  \na\n #b\n!c \r\n/d/\n";
        let patterns: Vec<String> = parse(text).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(patterns, ["a", "#b", "!c", "/d/"]);
        let (line, error) = parse("a\n\n[b\n").unwrap_err();
        assert_eq!(line, 3);
        assert_eq!(error.to_string(), "expected a pattern as .dockerignore has them, found `[b`: its `[` has no `]`");
    }

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// Whether `path` stays out, checked folder by folder as in a walk.
    fn leaves_out(rules: &Rules, path: &str) -> bool {
        let mut scope = rules.top();
        for (at, _) in path.match_indices('/') {
            scope = rules.enter(&scope, &path[..at]);
        }
        rules.leaves_out(&scope, path)
    }

    #[test]
    fn later_rules_win() {
        for (file, include, exclude, out, taken) in [
            (
                &[][..],
                &[][..],
                &[][..],
                &[
                    ".git",
                    ".git/config",
                    "sub/.git",
                    ".env",
                    ".env.local",
                    "src/.env",
                    ".env/bin/x",
                    "Dockerfile",
                    ".dockerignore",
                    ".microbuildignore",
                    "microbuild.toml",
                    "microbuild.lock",
                    "node_modules/a",
                    "a/node_modules/b",
                    "own.toml",
                ][..],
                &["a", ".gitignore", ".env.example", ".envrc", "docs/Dockerfile", "a/microbuild.toml", "x/own.toml"][..],
            ),
            (&["*.md", "!a.md"], &[], &[], &["b.md"], &["a.md"]),
            (&["*", "!src"], &[], &[], &["a", "src/.env", "src/.git/x", "src/node_modules/x"], &["src", "src/a"]),
            (&["!.env", "!Dockerfile"], &[], &[], &[".env", "Dockerfile"], &[]),
            (&["secret"], &[], &[], &["secret/.env.example"], &[]),
            (&["dist"], &["dist", ".env"], &[], &["a/.env"], &["dist/a", ".env"]),
            (&["dist"], &["dist"], &["**/*.map"], &["dist/a.map"], &["dist/a"]),
            (&["dist"], &["dist", "!dist/b"], &[], &["dist/b"], &["dist/a"]),
            (&[], &[], &["*", "!a"], &["b"], &["a"]),
        ] {
            let (file, include, exclude) = (patterns(file), patterns(include), patterns(exclude));
            let rules = Rules::for_app(
                file.clone(),
                &include,
                &exclude,
                &patterns(&["**/node_modules"]),
                ["own.toml".to_owned()],
            );
            for path in out {
                assert!(leaves_out(&rules, path), "{file:?} {include:?} {exclude:?} leave out {path}");
            }
            for path in taken {
                assert!(!leaves_out(&rules, path), "{file:?} {include:?} {exclude:?} take {path}");
            }
        }
    }

    #[test]
    fn dependencies_are_taken_as_they_are() {
        let rules = Rules::for_dependencies(&patterns(&["**/node_modules"]), &patterns(&["**/*.md"]));
        for (path, out) in [
            ("node_modules/a/.env", false),
            ("node_modules/a/.git/x", false),
            ("node_modules/a/node_modules/b", false),
            ("node_modules/a/.cache", false),
            ("node_modules/.cache", true),
            ("node_modules/.cache/x", true),
            ("node_modules/a/b.md", true),
        ] {
            assert_eq!(leaves_out(&rules, path), out, "{path}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// A walk that enters only the folders that `may_take_below` allows finds every included file.
        #[test]
        fn no_folder_is_passed_by_that_holds_something_taken(
            file in prop::collection::vec(r"!?(\*\*/|\*/|a/|b/){0,2}(a|b|\*|\*\*|a\*)", 0..5),
            include in prop::collection::vec(r"(\*\*/|\*/|a/|b/){0,2}(a|b|\*)", 0..2),
            path in "(a|b|ab)(/(a|b|ab)){1,3}",
        ) {
            let patterns = |texts: &[String]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Pattern>>();
            let rules = Rules::for_app(patterns(&file), &patterns(&include), &[], &[], []);
            if !leaves_out(&rules, &path) {
                let mut scope = rules.top();
                for (at, _) in path.match_indices('/') {
                    let folder = &path[..at];
                    let out = rules.leaves_out(&scope, folder);
                    scope = rules.enter(&scope, folder);
                    prop_assert!(!out || rules.may_take_below(&scope, folder), "{folder}");
                }
            }
        }
    }
}
