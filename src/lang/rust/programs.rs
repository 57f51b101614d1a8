//! The programs of a Cargo package or workspace, and the one that the image is made of
//! (<https://doc.rust-lang.org/cargo/reference/cargo-targets.html>).

use std::collections::BTreeSet;

use toml::Table;

use super::{super::some, LanguageError, MANIFEST, Source, read_toml, text_at};
use crate::{glob::Pattern, listing::FileKind};

/// The choice among a project's programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// The program, and its package where that is not the one at the top. `None` where no program is known.
    pub(super) program: Option<Program>,
    /// All programs that could be meant.
    pub(super) programs: Vec<Program>,
    /// The folders of all packages; empty for the project's own.
    pub(super) packages: Vec<String>,
}

/// A program of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) name: String,
    /// The package's name; `None` for the package at the top.
    pub(super) package: Option<String>,
    /// Whether it stands for its package: `default-run`, or `src/main.rs`.
    is_main: bool,
}

/// What the program of a server is often called, where there are several.
const USUAL: &[&str] = &["server", "web", "api", "app", "main"];

/// Finds the program that the image is made of.
///
/// # Errors
/// When a manifest is no TOML; where the app is to be started: when there is no program, or several of which none stands out.
pub(super) fn choose(source: &Source<'_>, manifest: &Table) -> Result<Choice, LanguageError> {
    let mut choice = Choice::default();
    let folders = members(source, manifest);
    for folder in folders {
        let path = if folder.is_empty() { MANIFEST.to_owned() } else { format!("{folder}/{MANIFEST}") };
        let read = if folder.is_empty() { Some(manifest.clone()) } else { read_toml(source, &path)? };
        let Some(table) = read else { continue };
        choice.programs.extend(of_package(source, &folder, &table));
        choice.packages.push(folder);
    }
    let asked = source.variables.get("CARGO_BIN").filter(|name| !name.is_empty());
    let flags = source.variables.get("CARGO_FLAGS").map(String::as_str).unwrap_or_default();
    choice.program = match asked {
        Some(name) => {
            let known = choice.programs.iter().find(|program| program.name == *name).cloned();
            known.or_else(|| Some(Program { name: name.clone(), package: None, is_main: true }))
        }
        None => main(&choice.programs),
    };
    let says_itself = flags.split_whitespace().any(|flag| flag.starts_with("--bin") || flag.starts_with("-p"));
    if choice.program.is_none() && source.starts && !says_itself {
        return Err(unclear(source, &choice.programs));
    }
    Ok(choice)
}

/// The program that is the app: the only one, or the one that stands for the only package, or the one that is called as servers
/// are.
fn main(programs: &[Program]) -> Option<Program> {
    let only = |programs: Vec<&Program>| match programs[..] {
        [one] => Some(one.clone()),
        _ => None,
    };
    let of_top: Vec<&Program> = programs.iter().filter(|program| program.package.is_none()).collect();
    let all = if of_top.is_empty() { programs.iter().collect() } else { of_top };
    let mains: Vec<&Program> = all.iter().copied().filter(|program| program.is_main).collect();
    let usual =
        |programs: &[&Program]| only(programs.iter().copied().filter(|one| USUAL.contains(&&*one.name)).collect());
    only(all.clone()).or_else(|| only(mains.clone())).or_else(|| usual(&mains)).or_else(|| usual(&all))
}

fn unclear(source: &Source<'_>, programs: &[Program]) -> LanguageError {
    let place = source.folder.path().display();
    let Some(first) = programs.first() else {
        return LanguageError::Unusable {
            message: format!(
                "expected a program in {place} (src/main.rs, src/bin/NAME.rs or [[bin]] of {MANIFEST}), found none"
            ),
            hint: Some("a library has no image of its own; an ignore file may leave the program out".into()),
        };
    };
    let names: Vec<String> = programs.iter().map(|program| program.name.clone()).collect();
    LanguageError::Unusable {
        message: format!("expected one program in {place}, found {}", some(&names)),
        hint: Some(format!(
            "choose one: CARGO_BIN={} in the environment of microbuild, or default-run in {MANIFEST}",
            first.name
        )),
    }
}

/// The folders of the packages that `cargo build` builds at the top of the project.
fn members(source: &Source<'_>, manifest: &Table) -> Vec<String> {
    let workspace = manifest.get("workspace").and_then(toml::Value::as_table);
    let list = |key: &str| -> Option<Vec<Pattern>> {
        let list = workspace?.get(key)?.as_array()?;
        Some(list.iter().filter_map(|entry| entry.as_str()?.parse().ok()).collect())
    };
    let is_package = manifest.contains_key("package");
    let (included, excluded) = match (list("default-members"), is_package) {
        (Some(own), _) => (own, Vec::new()),
        (None, true) => return vec![String::new()],
        (None, false) => (list("members").unwrap_or_default(), list("exclude").unwrap_or_default()),
    };
    let found: BTreeSet<String> = source
        .files
        .paths()
        .filter_map(|path| path.strip_suffix(MANIFEST)?.strip_suffix('/'))
        .filter(|folder| included.iter().any(|pattern| pattern.matches(folder)))
        .filter(|folder| !excluded.iter().any(|pattern| pattern.matches(folder)))
        .map(str::to_owned)
        .collect();
    let top = is_package
        && workspace
            .and_then(|table| table.get("default-members")?.as_array())
            .is_some_and(|list| list.iter().any(|entry| matches!(entry.as_str(), Some("." | "./" | ""))));
    top.then(String::new).into_iter().chain(found).collect()
}

/// The programs of the package in `folder` with this manifest.
fn of_package(source: &Source<'_>, folder: &str, manifest: &Table) -> Vec<Program> {
    let Some(name) = text_at(manifest, &["package", "name"]) else { return Vec::new() };
    let is_file = |path: &str| {
        let path = if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") };
        matches!(source.files.follow(&path), Some(FileKind::File { .. }))
    };
    let package = (!folder.is_empty()).then(|| name.to_owned());
    let default = text_at(manifest, &["package", "default-run"]);
    let stated = manifest.get("bin").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let mut found: Vec<(String, bool)> = Vec::new();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for table in stated.iter().filter_map(toml::Value::as_table) {
        let Some(bin) = text_at(table, &["name"]) else { continue };
        let usual =
            if bin == name && is_file("src/main.rs") { "src/main.rs".to_owned() } else { format!("src/bin/{bin}.rs") };
        let path = text_at(table, &["path"]).map_or(usual, |path| path.trim_start_matches("./").to_owned());
        let is_main = path == "src/main.rs";
        taken.extend([path, format!("src/bin/{bin}/main.rs")]);
        if has_features(source, manifest, table) {
            found.push((bin.to_owned(), is_main));
        }
    }
    let finds = manifest.get("package").and_then(|package| package.get("autobins")?.as_bool()) != Some(false);
    if finds {
        if is_file("src/main.rs") && !taken.contains("src/main.rs") {
            found.push((name.to_owned(), true));
        }
        let prefix = if folder.is_empty() { "src/bin/".to_owned() } else { format!("{folder}/src/bin/") };
        for below in source.files.paths().filter_map(|path| path.strip_prefix(&prefix)) {
            let bin = match below.split('/').collect::<Vec<_>>()[..] {
                [file] => file.strip_suffix(".rs"),
                [folder, "main.rs"] => Some(folder),
                _ => None,
            };
            found.extend(
                bin.filter(|_| !taken.contains(&format!("src/bin/{below}"))).map(|bin| (bin.to_owned(), false)),
            );
        }
    }
    let has_default = found.iter().any(|(bin, _)| Some(bin.as_str()) == default);
    let program = |(bin, is_main): (String, bool)| {
        let is_main = if has_default { Some(bin.as_str()) == default } else { is_main };
        Program { name: bin, package: package.clone(), is_main }
    };
    found.into_iter().map(program).collect()
}

/// Whether the features that a `[[bin]]` requires are on by default, or by what the user sets.
fn has_features(source: &Source<'_>, manifest: &Table, bin: &Table) -> bool {
    let names = |value: Option<&toml::Value>| -> Vec<String> {
        let list = value.and_then(toml::Value::as_array).cloned().unwrap_or_default();
        list.iter().filter_map(|entry| entry.as_str().map(str::to_owned)).collect()
    };
    let default = names(manifest.get("features").and_then(|features| features.get("default")));
    let set = ["CARGO_FEATURES", "CARGO_FLAGS"].map(|name| source.variables.get(name).cloned().unwrap_or_default());
    let is_on = |name: &String| {
        let asked = set
            .iter()
            .flat_map(|text| text.split([',', ' ', '=']))
            .any(|word| word == name || word == "--all-features");
        default.contains(name) || asked
    };
    names(bin.get("required-features")).iter().all(is_on)
}

#[cfg(test)]
mod tests {
    use crate::lang::{rust::Rust, testing::Draft};

    const MAIN: &str = "fn main() {}";

    /// Files of a project, what the user sets, and what the build is told.
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)], &'a str);

    /// The package and the program that the build is told of, or the error.
    fn told(files: &[(&str, &str)], variables: &[(&str, &str)]) -> String {
        let draft = variables.iter().fold(Draft::new(files), |draft, (name, value)| draft.with(name, value));
        match draft.read(&Rust) {
            Ok(facts) => {
                let of = |name: &str| facts.build_env.get(name).cloned().unwrap_or_default();
                format!("{}|{}", of("CARGO_PACKAGE"), of("CARGO_BIN"))
            }
            Err(error) => error,
        }
    }

    #[test]
    fn the_program_is_found_where_cargo_finds_it() {
        let shop = "[package]\nname = 'shop'\nversion = '1.0.0'\n";
        let package = |more: &str| format!("{shop}{more}");
        let member = |name: &str| format!("[package]\nname = '{name}'\nversion = '1.0.0'\n");
        let (api, web, lib) = (member("api"), member("web-ui"), member("lib"));
        let two = "expected one program in shop, found a, b\nhint: choose one: CARGO_BIN=a in the environment of microbuild, or default-run in Cargo.toml";
        let default_run = package("default-run = 'tool'\n");
        let explicit = package("[[bin]]\nname = 'server'\npath = 'src/main.rs'\n");
        let elsewhere = package("[[bin]]\nname = 'x'\npath = 'app/x.rs'\n");
        let optional =
            package("[features]\ngui = []\n[[bin]]\nname = 'gui'\npath = 'src/gui.rs'\nrequired-features = ['gui']\n");
        let no_auto = package("autobins = false\n[[bin]]\nname = 'b'\npath = 'src/bin/b.rs'\n");
        let rows: &[Row<'_>] = &[
            (&[("Cargo.toml", shop), ("src/main.rs", MAIN)], &[], "|shop"),
            (&[("Cargo.toml", shop), ("src/main.rs", MAIN), ("src/lib.rs", "")], &[], "|shop"),
            (&[("Cargo.toml", shop), ("src/bin/one.rs", MAIN)], &[], "|one"),
            (&[("Cargo.toml", shop), ("src/bin/one/main.rs", MAIN), ("src/bin/one/x.rs", "")], &[], "|one"),
            (&[("Cargo.toml", shop), ("src/main.rs", MAIN), ("src/bin/tool.rs", MAIN)], &[], "|shop"),
            (
                &[("Cargo.toml", shop), ("src/main.rs", MAIN), ("src/bin/tool.rs", MAIN)],
                &[("CARGO_BIN", "tool")],
                "|tool",
            ),
            (&[("Cargo.toml", &default_run), ("src/main.rs", MAIN), ("src/bin/tool.rs", MAIN)], &[], "|tool"),
            (&[("Cargo.toml", shop), ("src/bin/a.rs", MAIN), ("src/bin/b.rs", MAIN)], &[], two),
            (&[("Cargo.toml", shop), ("src/bin/a.rs", MAIN), ("src/bin/server.rs", MAIN)], &[], "|server"),
            (&[("Cargo.toml", &explicit), ("src/main.rs", MAIN)], &[], "|server"),
            (&[("Cargo.toml", &elsewhere), ("app/x.rs", MAIN)], &[], "|x"),
            (&[("Cargo.toml", &optional), ("src/main.rs", MAIN), ("src/gui.rs", MAIN)], &[], "|shop"),
            (&[("Cargo.toml", &optional), ("src/gui.rs", MAIN)], &[("CARGO_FEATURES", "gui")], "|gui"),
            (&[("Cargo.toml", &optional), ("src/gui.rs", MAIN)], &[("CARGO_FLAGS", "--features=gui")], "|gui"),
            (&[("Cargo.toml", &no_auto), ("src/bin/a.rs", MAIN), ("src/bin/b.rs", MAIN)], &[], "|b"),
            (
                &[
                    ("Cargo.toml", "[workspace]\nmembers = ['crates/*']\n"),
                    ("crates/api/Cargo.toml", &api),
                    ("crates/api/src/main.rs", MAIN),
                    ("crates/lib/Cargo.toml", &lib),
                    ("crates/lib/src/lib.rs", ""),
                ],
                &[],
                "api|api",
            ),
            (
                &[
                    ("Cargo.toml", "[workspace]\nmembers = ['api', 'web']\n"),
                    ("api/Cargo.toml", &api),
                    ("api/src/main.rs", MAIN),
                    ("web/Cargo.toml", &web),
                    ("web/src/main.rs", MAIN),
                ],
                &[],
                "api|api",
            ),
            (
                &[
                    ("Cargo.toml", "[workspace]\nmembers = ['api', 'web']\n"),
                    ("api/Cargo.toml", &api),
                    ("api/src/main.rs", MAIN),
                    ("web/Cargo.toml", &web),
                    ("web/src/main.rs", MAIN),
                ],
                &[("CARGO_BIN", "web-ui")],
                "web-ui|web-ui",
            ),
            (
                &[
                    ("Cargo.toml", "[workspace]\nmembers = ['*']\ndefault-members = ['web']\n"),
                    ("api/Cargo.toml", &api),
                    ("api/src/main.rs", MAIN),
                    ("web/Cargo.toml", &web),
                    ("web/src/main.rs", MAIN),
                ],
                &[],
                "web-ui|web-ui",
            ),
            (
                &[
                    ("Cargo.toml", &package("[workspace]\nmembers = ['api']\n")),
                    ("src/main.rs", MAIN),
                    ("api/Cargo.toml", &api),
                    ("api/src/main.rs", MAIN),
                ],
                &[],
                "|shop",
            ),
        ];
        for (files, variables, expected) in rows {
            assert_eq!(told(files, variables), *expected, "{files:?} {variables:?}");
        }
        let none = told(&[("Cargo.toml", shop), ("src/lib.rs", "")], &[]);
        assert!(none.starts_with("expected a program in shop (src/main.rs"), "{none}");
    }

    #[test]
    fn the_choice_is_told() {
        let shop = "[package]\nname = 'shop'\nversion = '1.0.0'\n";
        let files = [("Cargo.toml", shop), ("src/main.rs", MAIN), ("src/bin/tool.rs", MAIN)];
        let facts = Draft::new(&files).read(&Rust).unwrap();
        assert_eq!(facts.notes, ["the program is shop; another: CARGO_BIN=tool in the environment of microbuild"]);
    }
}
