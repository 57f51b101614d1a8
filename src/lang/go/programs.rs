//! The programs of a project: its modules, the packages `main` in them, and the one that the image is made of.

use std::collections::BTreeMap;

use super::{super::some, LanguageError, Source, directive, short, source};
use crate::listing::FileKind;

/// The choice among a project's programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// The folder of the module that the program is built in; empty for the project's own. It may have no `go.mod` yet.
    pub(super) module: String,
    /// The folder of the program, relative to the module's; empty for its own. `None` where no program is known.
    pub(super) main: Option<String>,
    /// All programs that could be meant, as folders of the project.
    pub(super) programs: Vec<String>,
    /// The files and folders that become part of programs, as patterns of paths of the project.
    pub(super) embedded: Vec<String>,
    /// Whether the project has no `go.mod`, so that the build makes one.
    pub(super) without_module: bool,
}

/// Folders whose programs are seldom the app.
const ASIDE: &[&str] =
    &["_examples", "docs", "example", "examples", "hack", "internal", "misc", "scripts", "test", "tests", "tools"];

/// What the program of a server is often called, where there are several.
const USUAL: &[&str] = &["server", "web", "api", "app", "main"];

/// Finds the program that the image is made of.
///
/// # Errors
/// Where the app is to be started: when there is no program, or several of which none stands out.
pub(super) fn choose(source: &Source<'_>) -> Result<Choice, LanguageError> {
    let asked = source.variables.get("GO_MAIN").map(|path| path.trim_start_matches("./").trim_matches('/'));
    let packages = packages(source);
    let modules = modules(source);
    let home = |folder: &str| {
        let above = |module: &&String| module.is_empty() || folder == *module || below(folder, module).is_some();
        modules.iter().filter(above).max_by_key(|module| module.len())
    };
    let programs = packages.iter().filter(|(_, package)| package.is_program).map(|(folder, _)| folder);
    let is_of_top = modules.iter().any(String::is_empty);
    let has_workspace = source.files.get("go.work").is_some();
    let candidates: Vec<&String> =
        programs.filter(|folder| !is_of_top || has_workspace || home(folder).is_some_and(String::is_empty)).collect();
    let embedded = packages.iter().flat_map(|(folder, package)| {
        package.embeds.iter().map(move |pattern| joined(folder, pattern.trim_start_matches("./")))
    });
    let mut choice = Choice {
        embedded: embedded.collect(),
        without_module: modules.is_empty() && !has_workspace,
        programs: candidates.iter().map(|folder| (*folder).clone()).collect(),
        ..Choice::default()
    };
    let name = source.read("go.mod")?.and_then(|text| directive(&text, "module").map(|path| short(path).to_owned()));
    let main = match asked.filter(|path| !path.is_empty()) {
        Some(path) => Some(path.to_owned()),
        None => main(&candidates, &|folder| home(folder).map_or("", String::as_str), name.as_deref()),
    };
    // In a workspace, and below the module at the top, everything is built from the top.
    let module = match &main {
        Some(folder) if !has_workspace => home(folder).cloned().unwrap_or_default(),
        _ if modules.len() == 1 => modules.first().cloned().unwrap_or_default(),
        _ => String::new(),
    };
    choice.main = main.map(|folder| match &*module {
        "" => folder,
        module => below(&folder, module).unwrap_or_default().to_owned(),
    });
    choice.module = module;
    if choice.main.is_none() && source.starts {
        return Err(unclear(source, &choice.programs));
    }
    Ok(choice)
}

/// The program among `candidates` that is the app. `home` gives the module of a folder, `name` is that of the project's own.
fn main<'m>(candidates: &[&String], home: &dyn Fn(&str) -> &'m str, name: Option<&str>) -> Option<String> {
    let only = |folders: &[&String]| match folders {
        [one] => Some((*one).clone()),
        _ => None,
    };
    let inside = |folder: &str| match home(folder) {
        "" => folder.to_owned(),
        module => below(folder, module).unwrap_or_default().to_owned(),
    };
    let of = |is_meant: &dyn Fn(&str) -> bool| -> Vec<&String> {
        candidates.iter().copied().filter(|folder| is_meant(&inside(folder))).collect()
    };
    let last = |folder: &str| folder.rsplit('/').next().unwrap_or_default().to_owned();
    let is_aside = |folder: &str| folder.split('/').any(|part| ASIDE.contains(&part));
    let commands = of(&|folder| folder.starts_with("cmd/") && !is_aside(folder));
    let others = of(&|folder| !is_aside(folder));
    let places = [of(&str::is_empty), commands, others, candidates.to_vec()];
    let place = places.into_iter().find(|place| !place.is_empty())?;
    only(&place)
        .or_else(|| only(&place.iter().copied().filter(|folder| Some(&*last(folder)) == name).collect::<Vec<_>>()))
        .or_else(|| only(&place.iter().copied().filter(|folder| USUAL.contains(&&*last(folder))).collect::<Vec<_>>()))
}

/// The error of a project whose program is not known.
fn unclear(source: &Source<'_>, programs: &[String]) -> LanguageError {
    let place = source.folder.path().display();
    let Some(first) = programs.first() else {
        return LanguageError::Unusable {
            message: format!("expected a package main with a function main in {place}, found none"),
            hint: Some("a library has no image of its own; an ignore file may leave the program out".into()),
        };
    };
    let names: Vec<String> = programs.iter().map(|folder| shown(folder)).collect();
    LanguageError::Unusable {
        message: format!("expected one program in {place}, found {}", some(&names)),
        hint: Some(format!("choose one: GO_MAIN={} in the environment of microbuild", shown(first))),
    }
}

/// A folder of the project as Go's command takes it.
pub(super) fn shown(folder: &str) -> String {
    if folder.is_empty() { ".".to_owned() } else { format!("./{folder}") }
}

/// What of `path` is below `folder`.
fn below<'p>(path: &'p str, folder: &str) -> Option<&'p str> {
    path.strip_prefix(folder)?.strip_prefix('/')
}

/// A path below `folder`; of an empty one the folder itself.
pub(super) fn joined(folder: &str, path: &str) -> String {
    match (folder, path) {
        ("", path) | (path, "") => path.to_owned(),
        (folder, path) => format!("{folder}/{path}"),
    }
}

/// A folder with source files.
#[derive(Debug, Default)]
struct Package {
    is_program: bool,
    embeds: Vec<String>,
}

/// Whether Go looks into the folder `path` for packages, and the programs there are not only for tests.
fn is_looked_into(path: &str) -> bool {
    path.split('/').all(|part| {
        !(part.starts_with('.') || part == "testdata" || part == "vendor" || part == "node_modules")
            && (!part.starts_with('_') || part == "_examples")
    })
}

/// The packages of the project, by folder.
fn packages(source: &Source<'_>) -> BTreeMap<String, Package> {
    let tags = tags(source);
    let mut packages: BTreeMap<String, Package> = BTreeMap::new();
    for path in source.files.paths() {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let is_file = matches!(source.files.get(path), Some(FileKind::File { .. }));
        if !is_file || !source::is_built(name) || (!folder.is_empty() && !is_looked_into(folder)) {
            continue;
        }
        // Go itself reports a file that is no text.
        let text = source.read(path).ok().flatten();
        let Some(file) = text.and_then(|text| source::read(&text, &tags)) else { continue };
        let package = packages.entry(folder.to_owned()).or_default();
        package.is_program |= file.package == "main" && file.has_main;
        package.embeds.extend(file.embeds);
    }
    packages
}

/// The folders with a `go.mod`.
fn modules(source: &Source<'_>) -> Vec<String> {
    let found = source.files.paths().filter_map(|path| match path.rsplit_once('/') {
        None => (path == "go.mod").then(String::new),
        Some((folder, name)) => (name == "go.mod" && is_looked_into(folder)).then(|| folder.to_owned()),
    });
    found.collect()
}

/// The build tags that the user sets: `-tags` in GOFLAGS, and GO_TAGS.
fn tags(source: &Source<'_>) -> Vec<String> {
    let flags = source.variables.get("GOFLAGS").map(String::as_str).unwrap_or_default();
    let in_flags = flags.split_whitespace().filter_map(|flag| {
        flag.trim_matches(['"', '\''])
            .trim_start_matches('-')
            .strip_prefix("tags=")
            .map(|tags| tags.trim_matches(['"', '\'']))
    });
    let own = source.variables.get("GO_TAGS").map(String::as_str);
    in_flags.chain(own).flat_map(|tags| tags.split([',', ' '])).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use crate::lang::{go::Go, testing::Draft};

    const MAIN: &str = "package main\n\nfunc main() {}\n";
    const MODULE: &str = "module example.org/shop\n\ngo 1.22\n";

    /// Files of a project, what the user sets, and what the build is told.
    type Row<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>, &'a str);

    /// What the build is told of a project: the module's folder and the program, or the error.
    fn told(files: &[(&str, &str)], asked: Option<&str>) -> String {
        let draft = Draft::new(files);
        let draft = match asked {
            Some(asked) => draft.with("GO_MAIN", asked),
            None => draft,
        };
        match draft.read(&Go) {
            Ok(facts) => {
                let of = |name: &str| facts.build_env.get(name).cloned().unwrap_or_default();
                format!("{}|{}", of("GO_MODULE"), of("GO_MAIN"))
            }
            Err(error) => error,
        }
    }

    #[test]
    fn the_program_is_found_where_people_put_it() {
        let library = "package shop\n";
        let two = "expected one program in shop, found ./cmd/a, ./cmd/b\nhint: choose one: GO_MAIN=./cmd/a in the environment of microbuild";
        let rows: &[Row<'_>] = &[
            // A module at the top.
            (&[("go.mod", MODULE), ("main.go", MAIN)], None, "|."),
            (&[("go.mod", MODULE), ("app.go", MAIN), ("util.go", "package main\n")], None, "|."),
            (&[("go.mod", MODULE), ("main.go", MAIN), ("cmd/tool/main.go", MAIN)], None, "|."),
            (&[("go.mod", MODULE), ("lib.go", library), ("cmd/server/main.go", MAIN)], None, "|./cmd/server"),
            (&[("go.mod", MODULE), ("cmd/main.go", MAIN)], None, "|./cmd"),
            (&[("go.mod", MODULE), ("server/main.go", MAIN)], None, "|./server"),
            (&[("go.mod", MODULE), ("src/app/run.go", MAIN)], None, "|./src/app"),
            (&[("go.mod", MODULE), ("cmd/a/main.go", MAIN), ("cmd/b/main.go", MAIN)], None, two),
            (&[("go.mod", MODULE), ("cmd/a/main.go", MAIN), ("cmd/b/main.go", MAIN)], Some("./cmd/b"), "|./cmd/b"),
            (&[("go.mod", MODULE), ("cmd/a/main.go", MAIN), ("cmd/b/main.go", MAIN)], Some("cmd/b/"), "|./cmd/b"),
            (&[("go.mod", MODULE), ("cmd/shop/main.go", MAIN), ("cmd/b/main.go", MAIN)], None, "|./cmd/shop"),
            (&[("go.mod", MODULE), ("cmd/server/main.go", MAIN), ("cmd/migrate/main.go", MAIN)], None, "|./cmd/server"),
            (&[("go.mod", MODULE), ("cmd/api/main.go", MAIN), ("cmd/cli/main.go", MAIN)], None, "|./cmd/api"),
            (&[("go.mod", MODULE), ("cmd/a/main.go", MAIN), ("tools/gen/main.go", MAIN)], None, "|./cmd/a"),
            (&[("go.mod", MODULE), ("web/main.go", MAIN), ("examples/x/main.go", MAIN)], None, "|./web"),
            (&[("go.mod", MODULE), ("lib.go", library), ("examples/x/main.go", MAIN)], None, "|./examples/x"),
            // What is no program.
            (
                &[
                    ("go.mod", MODULE),
                    ("gen.go", "//go:build ignore\n\npackage main\nfunc main() {}\n"),
                    ("cmd/a/a.go", MAIN),
                ],
                None,
                "|./cmd/a",
            ),
            (&[("go.mod", MODULE), ("main_windows.go", MAIN), ("cmd/a/a.go", MAIN)], None, "|./cmd/a"),
            (&[("go.mod", MODULE), ("main_test.go", MAIN), ("cmd/a/a.go", MAIN)], None, "|./cmd/a"),
            (
                &[("go.mod", MODULE), ("vendor/x/main.go", MAIN), ("testdata/main.go", MAIN), ("a/a.go", MAIN)],
                None,
                "|./a",
            ),
            (&[("go.mod", MODULE), ("_old/main.go", MAIN), (".x/main.go", MAIN), ("a/a.go", MAIN)], None, "|./a"),
            // No module at the top.
            (&[("main.go", MAIN)], None, "|."),
            (&[("hello.go", MAIN)], None, "|."),
            (&[("src/main.go", MAIN)], None, "|./src"),
            (
                &[("backend/go.mod", MODULE), ("backend/main.go", MAIN), ("frontend/package.json", "{}")],
                None,
                "backend|.",
            ),
            (&[("backend/go.mod", MODULE), ("backend/cmd/x/main.go", MAIN)], None, "backend|./cmd/x"),
            (
                &[("a/go.mod", MODULE), ("a/main.go", MAIN), ("b/go.mod", MODULE), ("b/main.go", MAIN)],
                Some("./b"),
                "b|.",
            ),
            (
                &[("api/go.mod", MODULE), ("api/main.go", MAIN), ("lib/go.mod", MODULE), ("lib/x.go", library)],
                None,
                "api|.",
            ),
            // Modules below the module at the top are others.
            (
                &[("go.mod", MODULE), ("cmd/a/a.go", MAIN), ("tool/go.mod", MODULE), ("tool/main.go", MAIN)],
                None,
                "|./cmd/a",
            ),
            // A workspace is built from its top.
            (
                &[
                    ("go.work", "go 1.22\nuse ./a\nuse ./b\n"),
                    ("a/go.mod", MODULE),
                    ("a/main.go", MAIN),
                    ("b/go.mod", MODULE),
                    ("b/b.go", library),
                ],
                None,
                "|./a",
            ),
        ];
        for (files, asked, expected) in rows {
            assert_eq!(told(files, *asked), *expected, "{files:?} {asked:?}");
        }
        let none = told(&[("go.mod", MODULE), ("lib.go", library)], None);
        assert!(none.starts_with("expected a package main with a function main in shop, found none\nhint: "), "{none}");
    }

    #[test]
    fn the_choice_is_told() {
        let files = [("go.mod", MODULE), ("cmd/server/main.go", MAIN), ("cmd/migrate/main.go", MAIN)];
        let facts = Draft::new(&files).read(&Go).unwrap();
        assert_eq!(
            facts.notes,
            ["the program is ./cmd/server; another: GO_MAIN=./cmd/migrate in the environment of microbuild"]
        );
        assert_eq!(Draft::new(&files).with("GO_MAIN", "./cmd/migrate").read(&Go).unwrap().notes, Vec::<String>::new());
        let facts = Draft::new(&[("main.go", MAIN)]).read(&Go).unwrap();
        assert!(facts.notes[0].starts_with("there is no go.mod"), "{:?}", facts.notes);
        let files = [("backend/go.mod", MODULE), ("backend/main.go", MAIN)];
        let facts = Draft::new(&files).read(&Go).unwrap();
        assert_eq!((facts.folder.as_str(), facts.name.as_deref()), ("backend", Some("shop")));
    }

    #[test]
    fn files_that_are_compiled_in_are_no_data() {
        let text = "package web\n//go:embed static templates/*.html\n";
        let facts = Draft::new(&[("go.mod", MODULE), ("main.go", MAIN), ("web/web.go", text)]).read(&Go).unwrap();
        let patterns: Vec<String> = facts.embedded.iter().map(ToString::to_string).collect();
        assert_eq!(patterns, ["web/static", "web/templates/*.html"]);
    }

    #[test]
    fn tags_of_the_user_choose_files() {
        let dev = "//go:build dev\n\npackage main\nfunc main() {}\n";
        let draft = || Draft::new(&[("go.mod", MODULE), ("cmd/dev/a.go", dev), ("cmd/x/a.go", MAIN)]);
        assert_eq!(draft().read(&Go).unwrap().build_env["GO_MAIN"], "./cmd/x");
        let error = draft().with("GOFLAGS", "-v -tags=dev,b").read(&Go).unwrap_err();
        assert!(error.contains("found ./cmd/dev, ./cmd/x"), "{error}");
    }
}
