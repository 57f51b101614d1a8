//! `poetry.lock` as requirements. Poetry 2 writes the groups of each package, and when it is needed. Poetry 1 does not: what is
//! needed then follows from `pyproject.toml` and the dependencies of each package.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use toml::{Table, Value};

use super::{
    choice::Choice,
    locks::Locked,
    packages::{Wish, normal},
};
use crate::lang::{LanguageError, toml_document};

/// A marker that holds.
const TRUE: &str = "python_version >= '3'";

/// The most alternatives of a package that are written down; with more of them it is always installed.
const ALTERNATIVES: usize = 8;

/// The requirements that a `poetry.lock` has for its group `main`; `file` is its name in messages.
///
/// # Errors
/// When it is no such file, or has a package from a place that is not supported.
pub fn poetry_lock(text: &str, file: &Path) -> Result<String, LanguageError> {
    requirements(text, file, &Table::new(), &Choice::default())
}

/// As [`poetry_lock`], for the `project` in `pyproject.toml` and the extras and groups of `choice`.
pub(super) fn requirements(text: &str, file: &Path, project: &Table, choice: &Choice) -> Result<String, LanguageError> {
    let lock = toml_document(text, file)?;
    let packages: Vec<&Value> = lock.get("package").and_then(Value::as_array).into_iter().flatten().collect();
    let mut locked = Locked::new(file);
    let has_groups = packages.iter().all(|package| package.get("groups").is_some());
    let found = if has_groups { Vec::new() } else { Needed::find(&packages, project, choice) };
    for package in packages {
        let marker = if has_groups { marker_of(package, choice) } else { marker_in(&found, package) };
        if let Some(marker) = marker {
            add(&mut locked, package, &marker)?;
        }
    }
    Ok(locked.text)
}

fn field<'p>(package: &'p Value, key: &str) -> &'p str {
    package.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn add(locked: &mut Locked<'_>, package: &Value, marker: &str) -> Result<(), LanguageError> {
    let name = field(package, "name");
    let source = package.get("source");
    let of_source = |key: &str| source.and_then(|source| source.get(key)).and_then(Value::as_str);
    let url = of_source("url").unwrap_or_default();
    match of_source("type") {
        None | Some("pypi" | "legacy") => {
            // An index that has a name of its own.
            locked.index(url);
            let files = package.get("files").and_then(Value::as_array).into_iter().flatten();
            let hashes = files.filter_map(|file| file.get("hash").and_then(Value::as_str));
            locked.add(name, &[], field(package, "version"), marker, hashes)
        }
        Some("git") => {
            let rev = of_source("resolved_reference").or_else(|| of_source("reference")).unwrap_or_default();
            locked.git(name, url, rev, of_source("subdirectory"), marker)
        }
        Some("directory" | "file" | "url") => locked.place(name, url, marker),
        Some(kind) => Err(locked.unknown(name, &format!("a source of the kind {kind}"))),
    }
}

/// When a package of Poetry 2 is installed; `None` when its groups are not wanted.
fn marker_of(package: &Value, choice: &Choice) -> Option<String> {
    let groups = package.get("groups").and_then(Value::as_array)?.iter().filter_map(Value::as_str);
    let is_wanted = |group: &&str| *group == "main" || choice.groups.iter().any(|chosen| chosen == group);
    let groups: Vec<&str> = groups.filter(is_wanted).collect();
    let marker = |group: &&str| match package.get("markers") {
        Some(Value::String(marker)) => marker.as_str(),
        Some(by_group) => field(by_group, group),
        None => "",
    };
    let mut markers: Vec<&str> = groups.iter().map(marker).collect();
    markers.dedup();
    let marker = match &markers[..] {
        [] => return None,
        [marker] => (*marker).to_owned(),
        several if several.iter().any(|marker| marker.is_empty()) => String::new(),
        several => several.iter().map(|marker| format!("({marker})")).collect::<Vec<_>>().join(" or "),
    };
    Some(with_extras(&marker, &choice.extras))
}

/// A marker in which the extras that are asked for hold.
fn with_extras(marker: &str, extras: &[String]) -> String {
    extras.iter().fold(marker.to_owned(), |marker, extra| {
        let marker = marker.replace(&format!("extra == \"{extra}\""), TRUE);
        marker.replace(&format!("extra == '{extra}'"), TRUE)
    })
}

/// Markers that hold together.
type All = BTreeSet<String>;

/// A package that is needed: with which extras, and when.
#[derive(Debug, Default)]
struct Needed {
    name: String,
    extras: BTreeSet<String>,
    /// Alternatives; an empty one always holds.
    when: Vec<All>,
}

/// A dependency.
struct Edge {
    to: Wish,
    marker: String,
    optional: bool,
}

impl Needed {
    /// Follows the dependencies of `project` through the packages of a lock.
    fn find(packages: &[&Value], project: &Table, choice: &Choice) -> Vec<Self> {
        let mut by_name: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
        for package in packages {
            by_name.entry(normal(field(package, "name"))).or_default().push(package);
        }
        let mut found: BTreeMap<String, Self> = BTreeMap::new();
        let mut todo: Vec<(Wish, All)> = Vec::new();
        let mut roots = edges_of_project(project, choice);
        if roots.is_empty() {
            // Until Poetry 1.5 each package has a category.
            let is_main = |package: &&&Value| field(package, "category") == "main" && !is_optional(package);
            let edge = |package: &&Value| Edge::plain(field(package, "name"));
            roots = packages.iter().filter(is_main).map(edge).collect();
        }
        todo.extend(roots.into_iter().map(|edge| (edge.to, conditions(&edge.marker))));
        while let Some((wish, when)) = todo.pop() {
            let known =
                found.entry(wish.name.clone()).or_insert_with(|| Self { name: wish.name.clone(), ..Self::default() });
            let more = known.extras.len();
            known.extras.extend(wish.extras.iter().cloned());
            let when = if known.when.len() >= ALTERNATIVES { All::new() } else { when };
            if known.when.iter().any(|known| known.is_subset(&when)) && known.extras.len() == more {
                continue;
            }
            known.when.retain(|known| !when.is_subset(known));
            known.when.push(when.clone());
            let extras: Vec<String> = known.extras.iter().cloned().collect();
            for package in by_name.get(&wish.name).into_iter().flatten() {
                for edge in edges_of_package(package, &extras) {
                    let together = when.iter().cloned().chain(conditions(&edge.marker)).collect();
                    todo.push((edge.to, together));
                }
            }
        }
        found.into_values().collect()
    }
}

fn conditions(marker: &str) -> All {
    Some(marker.to_owned()).filter(|marker| !marker.is_empty()).into_iter().collect()
}

/// When a package of Poetry 1 is installed; `None` when nothing needs it.
fn marker_in(found: &[Needed], package: &Value) -> Option<String> {
    let name = normal(field(package, "name"));
    let needed = found.iter().find(|needed| needed.name == name)?;
    if needed.when.iter().any(BTreeSet::is_empty) {
        return Some(String::new());
    }
    let all = |all: &All| all.iter().map(|marker| format!("({marker})")).collect::<Vec<_>>().join(" and ");
    Some(needed.when.iter().map(all).collect::<Vec<_>>().join(" or "))
}

impl Edge {
    fn plain(name: &str) -> Self {
        Self { to: Wish { name: normal(name), extras: Vec::new() }, marker: String::new(), optional: false }
    }

    /// The dependencies on `name`: a version, a table, or a list of tables.
    fn read(name: &str, value: &Value) -> Vec<Self> {
        match value {
            Value::Array(list) => list.iter().flat_map(|value| Self::read(name, value)).collect(),
            Value::Table(_) => {
                let extras = value.get("extras").and_then(Value::as_array).into_iter().flatten();
                let extras = extras.filter_map(Value::as_str).map(normal).collect();
                let to = Wish { name: normal(name), extras };
                vec![Self { to, marker: field(value, "markers").to_owned(), optional: is_optional(value) }]
            }
            _ => vec![Self::plain(name)],
        }
    }
}

fn is_optional(value: &Value) -> bool {
    value.get("optional").and_then(Value::as_bool).unwrap_or_default()
}

/// The names that a list of requirements has.
fn listed(list: Option<&Value>) -> Vec<Wish> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).filter_map(Wish::parse).collect()
}

/// The dependencies of the project itself.
fn edges_of_project(project: &Table, choice: &Choice) -> Vec<Edge> {
    let at = |path: &[&str]| path.iter().try_fold(project, |table, key| table.get(*key)?.as_table());
    let poetry = at(&["tool", "poetry"]);
    let tables = [poetry].into_iter().chain(choice.groups.iter().map(|group| at(&["tool", "poetry", "group", group])));
    let tables = tables.filter_map(|table| table?.get("dependencies")?.as_table());
    let mut edges: Vec<Edge> = tables
        .flat_map(|table| table.iter().filter(|(name, _)| *name != "python"))
        .flat_map(|(name, value)| Edge::read(name, value))
        .collect();
    let extras =
        choice.extras.iter().flat_map(|extra| listed(poetry.and_then(|table| table.get("extras")?.get(extra))));
    let extras: Vec<String> = extras.map(|wish| wish.name).collect();
    edges.retain(|edge| !edge.optional || extras.contains(&edge.to.name));
    let plain = at(&["project"]).and_then(|table| table.get("dependencies")).and_then(Value::as_array);
    edges.extend(plain.into_iter().flatten().filter_map(Value::as_str).filter_map(|text| {
        let marker = text.split_once(';').map(|(_, marker)| marker.trim().to_owned()).unwrap_or_default();
        Some(Edge { to: Wish::parse(text)?, marker, optional: false })
    }));
    edges
}

/// The dependencies of a package with `extras`.
fn edges_of_package(package: &Value, extras: &[String]) -> Vec<Edge> {
    let names = extras.iter().flat_map(|extra| {
        let table = package.get("extras").and_then(Value::as_table).into_iter().flatten();
        table.filter(|(name, _)| normal(name) == *extra).flat_map(|(_, list)| listed(Some(list))).collect::<Vec<_>>()
    });
    let of_extras: Vec<String> = names.map(|wish| wish.name).collect();
    let table = package.get("dependencies").and_then(Value::as_table).into_iter().flatten();
    let edges = table.flat_map(|(name, value)| Edge::read(name, value));
    let wanted = edges.filter(|edge| !edge.optional || of_extras.contains(&edge.to.name));
    wanted.map(|edge| Edge { marker: with_extras(&edge.marker, extras), ..edge }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Explain as _;

    fn told(result: Result<String, LanguageError>) -> String {
        result.unwrap_or_else(|error| format!("{error}\nhint: {}", error.hint().unwrap_or_default()))
    }

    fn poetry(text: &str) -> String {
        told(poetry_lock(text, Path::new("poetry.lock")))
    }

    fn chosen(lock: &str, project: &str, extras: &[&str], groups: &[&str]) -> String {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let choice = Choice { extras: words(extras), groups: words(groups), ..Choice::default() };
        told(requirements(lock, Path::new("poetry.lock"), &project.parse().expect("TOML"), &choice))
    }

    #[test]
    fn a_lock_of_poetry() {
        let text = r#"
# This file is automatically @generated by Poetry 2.1.3 and should not be changed by hand.

[[package]]
name = "certifi"
version = "2024.8.30"
description = "Python package for providing Mozilla's CA Bundle."
optional = false
python-versions = ">=3.6"
groups = ["main", "dev"]
files = [
    {file = "certifi-2024.8.30-py3-none-any.whl", hash = "sha256:aa"},
    {file = "certifi-2024.8.30.tar.gz", hash = "sha256:bb"},
]

[[package]]
name = "colorama"
version = "0.4.6"
optional = false
python-versions = ">=2.7"
groups = ["main", "dev"]
markers = {main = "platform_system == \"Windows\"", dev = "sys_platform == \"win32\""}
files = [{file = "colorama-0.4.6-py2.py3-none-any.whl", hash = "sha256:cc"}]

[[package]]
name = "pysocks"
version = "1.7.1"
optional = true
python-versions = "*"
groups = ["main"]
markers = "extra == \"socks\""
files = [{file = "PySocks-1.7.1-py3-none-any.whl", hash = "sha256:dd"}]

[[package]]
name = "pytest"
version = "8.3.3"
optional = false
python-versions = ">=3.8"
groups = ["dev"]
files = [{file = "pytest-8.3.3-py3-none-any.whl", hash = "sha256:ee"}]

[package.dependencies]
colorama = {version = "*", markers = "sys_platform == \"win32\""}

[[package]]
name = "internal.tool"
version = "2!1.0+local"
optional = false
python-versions = "*"
groups = ["main"]
files = [{file = "x.whl", hash = "sha256:ff"}]

[package.source]
type = "legacy"
url = "https://packages.example/simple"
reference = "ours"

[extras]
socks = ["pysocks"]

[metadata]
lock-version = "2.1"
python-versions = ">=3.10"
content-hash = "00"
"#;
        assert_eq!(
            poetry(text),
            "--extra-index-url https://packages.example/simple\n\
             certifi==2024.8.30 --hash=sha256:aa --hash=sha256:bb\n\
             colorama==0.4.6 ; platform_system == \"Windows\" --hash=sha256:cc\n\
             pysocks==1.7.1 ; extra == \"socks\" --hash=sha256:dd\n\
             internal.tool==2!1.0+local --hash=sha256:ff\n"
        );
        assert_eq!(poetry("package = []\n[metadata]\nlock-version = '2.1'\n"), "");
    }

    #[test]
    fn locks_of_poetry_that_cannot_be_used() {
        let package = |more: &str| {
            poetry(&format!(
                "[[package]]\nname = 'a'\nversion = '1'\ngroups = ['main']\nfiles = [{{hash = 'sha256:0'}}]\n{more}\n"
            ))
        };
        assert_eq!(package(""), "a==1 --hash=sha256:0\n");
        let of = |source: &str| package(&format!("[package.source]\n{source}"));
        let git =
            "type = 'git'\nurl = 'https://h/x.git'\nreference = 'main'\nresolved_reference = '0a1'\nsubdirectory = 'y'";
        assert_eq!(of(git), "a @ git+https://h/x.git@0a1#subdirectory=y\n");
        assert_eq!(of("type = 'directory'\nurl = 'lib/a'"), "./lib/a\n");
        assert_eq!(of("type = 'url'\nurl = 'https://h/a.whl'"), "a @ https://h/a.whl\n");
        assert!(
            of("type = 'directory'\nurl = '../a'").contains("found it at ../a\nhint: build the folder that has both")
        );
        assert!(of("type = 'svn'\nurl = 'x'").contains("found a source of the kind svn"));
        assert!(of("type = 'legacy'\nurl = 'https://h/ --x'").starts_with("a==1 "), "no address, so it is ignored");
        assert!(poetry("[[package]\n").starts_with("poetry.lock:1:"), "{}", poetry("[[package]\n"));
        for marker in ["x\\n--index-url=http://evil", "a == 'b' --index-url", "a # b", "a \\\\"] {
            let found = package(&format!("markers = \"{marker}\""));
            assert!(found.starts_with("poetry.lock: expected a marker for `a`, found "), "{found}");
        }
        for (name, version) in [("a b", "1"), ("-r x", "1"), ("", "1"), ("a", ""), ("a", "1 --pre"), ("a", "1\\n")] {
            let text = format!(
                "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\ngroups = ['main']\nfiles = [{{hash = 'sha256:0'}}]\n"
            );
            assert!(poetry(&text).starts_with("poetry.lock: expected "), "{}", poetry(&text));
        }
        let text = "[[package]]\nname = 'a'\nversion = '1'\ngroups = ['main']\nfiles = []\n";
        assert_eq!(poetry(text), "a==1\n", "without hashes");
    }

    #[test]
    fn groups_and_extras_of_poetry_2() {
        let lock = "[[package]]\nname = 'a'\nversion = '1'\ngroups = ['main', 'dev']\nmarkers = {main = \"extra == 'web'\"}\n\
                    [[package]]\nname = 'b'\nversion = '1'\ngroups = ['prod']\n";
        assert_eq!(chosen(lock, "", &[], &[]), "a==1 ; extra == 'web'\n", "which does not hold");
        assert_eq!(chosen(lock, "", &["web"], &["prod"]), "a==1 ; python_version >= '3'\nb==1\n");
        assert_eq!(chosen(lock, "", &[], &["dev"]), "a==1\n");
    }

    /// A lock of Poetry 1: `name`, and the text of its tables.
    fn old(packages: &[(&str, &str)]) -> String {
        let package = |(name, more): &(&str, &str)| {
            format!("[[package]]\nname = '{name}'\nversion = '1'\noptional = false\nfiles = []\n{more}\n")
        };
        packages.iter().map(package).collect::<String>() + "[metadata]\nlock-version = '2.0'\n"
    }

    #[test]
    fn a_lock_of_poetry_1_is_followed_from_the_project() {
        let lock = old(&[
            ("click", "[package.dependencies]\ncolorama = {version = '*', markers = \"os_name == 'nt'\"}"),
            ("colorama", ""),
            ("cycle", "[package.dependencies]\nflask = '*'"),
            (
                "Flask",
                "[package.dependencies]\nclick = '>=8'\ncycle = '*'\nasgiref = {version = '*', optional = true}\n[package.extras]\nasync = ['asgiref (>=3.2)']",
            ),
            ("asgiref", ""),
            ("psycopg", ""),
            ("pytest", "[package.dependencies]\ncolorama = '*'"),
        ]);
        let project = |more: &str| format!("[tool.poetry.dependencies]\npython = '^3.9'\n{more}\n");
        assert_eq!(
            chosen(&lock, &project("flask = '^3'"), &[], &[]),
            "click==1\ncolorama==1 ; (os_name == 'nt')\ncycle==1\nFlask==1\n"
        );
        let with = project(
            "flask = {version = '^3', extras = ['async']}\npsycopg = {version = '1', optional = true}\n[tool.poetry.extras]\ndb = ['psycopg']\n[tool.poetry.group.dev.dependencies]\npytest = '*'",
        );
        assert_eq!(
            chosen(&lock, &with, &[], &[]),
            "click==1\ncolorama==1 ; (os_name == 'nt')\ncycle==1\nFlask==1\nasgiref==1\n"
        );
        let all = chosen(&lock, &with, &["db"], &["dev"]);
        assert_eq!(all, "click==1\ncolorama==1\ncycle==1\nFlask==1\nasgiref==1\npsycopg==1\npytest==1\n");
        assert_eq!(
            chosen(&lock, "[project]\ndependencies = [\"click>=8; os_name == 'x'\"]\n", &[], &[]),
            "click==1 ; (os_name == 'x')\ncolorama==1 ; (os_name == 'nt') and (os_name == 'x')\n"
        );
        let category = old(&[("a", "category = 'main'"), ("b", "category = 'dev'")]);
        assert_eq!(poetry(&category), "a==1\n");
    }

    #[test]
    fn a_lock_of_a_thousand_ways_ends() {
        let many = |n: usize| {
            (0..40)
                .filter(|m| *m != n)
                .map(|m| format!("p{m} = {{version = '*', markers = \"os_name == '{n}{m}'\"}}\n"))
                .collect::<String>()
        };
        let texts: Vec<(String, String)> =
            (0..40).map(|n| (format!("p{n}"), format!("[package.dependencies]\n{}", many(n)))).collect();
        let packages: Vec<_> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let found = chosen(&old(&packages), "[tool.poetry.dependencies]\np0 = '*'\n", &[], &[]);
        assert_eq!(found.lines().count(), 40);
    }
}
