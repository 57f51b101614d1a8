//! The packages that a project is run with, as far as its files tell.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::{choice::Choice, requirements::Requirements};
use crate::lang::{LanguageError, Source, json, read_toml};

/// The names of packages that are installed, normalized (<https://packaging.python.org/en/latest/specifications/name-normalization/>).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Packages {
    names: BTreeSet<String>,
    /// Whether a file of the project lists packages at all.
    pub(super) is_known: bool,
}

/// The name of a package, with the extras that are asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wish {
    pub(super) name: String,
    pub(super) extras: Vec<String>,
}

impl Wish {
    /// Reads the beginning of a requirement (PyPA, "Dependency specifiers"): `name[extra] >= 1 ; marker`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let end =
            text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let extras = rest.trim_start().strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let extras = extras.map(|(extras, _)| extras.split(',').map(normal).collect()).unwrap_or_default();
        (!name.is_empty()).then(|| Self { name: normal(name), extras })
    }
}

/// A name in its normal form: `Flask_Login` is `flask-login`.
pub(super) fn normal(name: &str) -> String {
    let lower = name.trim().to_ascii_lowercase();
    lower.split(['-', '_', '.']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

/// Packages that others bring along, where no lock file tells: the framework's server.
const BROUGHT: &[(&str, Option<&str>, &[&str])] = &[
    ("fastapi", Some("standard"), &["uvicorn"]),
    ("fastapi", Some("all"), &["uvicorn"]),
    ("fastapi-cli", None, &["uvicorn"]),
    ("litestar", Some("standard"), &["uvicorn"]),
    ("starlette", Some("full"), &[]),
    ("quart", None, &["hypercorn"]),
    ("python-fasthtml", None, &["uvicorn", "starlette"]),
    ("fastapi", None, &["starlette"]),
    ("gradio", None, &["uvicorn", "fastapi"]),
    ("nicegui", None, &["uvicorn", "fastapi"]),
    ("mlflow", None, &["flask", "gunicorn"]),
    ("apiflask", None, &["flask"]),
    ("dash", None, &["flask"]),
    ("flask-openapi3", None, &["flask"]),
    ("channels", Some("daphne"), &["daphne"]),
];

impl Packages {
    /// Reads them from the files that the installation reads.
    ///
    /// # Errors
    /// When one of these files has not the form that it should have.
    pub(super) fn read(
        source: &Source<'_>,
        project: &Table,
        requirements: Option<&Requirements>,
        choice: &Choice,
    ) -> Result<Self, LanguageError> {
        let mut packages = Self::default();
        if let Some(requirements) = requirements {
            packages.is_known = true;
            packages.add(requirements.wishes.iter().cloned(), &Graph::default());
            return Ok(packages);
        }
        let pipfile = read_toml(source, "Pipfile")?.unwrap_or_default();
        let mut wishes = of_project(project, choice);
        packages.is_known = !wishes.is_empty() || project.contains_key("project") || !pipfile.is_empty();
        wishes.extend(keys(pipfile.get("packages")));
        if let Some(text) = source.read("Pipfile.lock")? {
            let lock = json(&text, &source.place("Pipfile.lock"))?;
            let names = lock["default"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
            wishes.extend(names.filter_map(Wish::parse));
            packages.is_known = true;
        }
        let mut graph = Graph::default();
        for lock in ["uv.lock", "poetry.lock", "pdm.lock", "pylock.toml"] {
            if let Some(document) = read_toml(source, lock)? {
                packages.is_known = true;
                graph.read(&document);
                // A lock of uv has the project itself, with its dependencies.
                let own = project.get("project").and_then(|project| project.get("name")?.as_str()).map(normal);
                wishes.extend(
                    own.map(|name| Wish { name, extras: choice.extras.iter().map(|extra| normal(extra)).collect() }),
                );
                if lock == "pylock.toml" {
                    let listed = document.get("packages").and_then(Value::as_array).into_iter().flatten();
                    wishes.extend(listed.filter_map(|package| Wish::parse(package.get("name")?.as_str()?)));
                }
                break;
            }
        }
        packages.add(wishes, &graph);
        Ok(packages)
    }

    /// Adds packages, and what they bring.
    fn add(&mut self, wishes: impl IntoIterator<Item = Wish>, graph: &Graph) {
        let mut todo: Vec<Wish> = wishes.into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(wish) = todo.pop() {
            if !seen.insert(wish.clone()) {
                continue;
            }
            for (name, extra, brought) in BROUGHT {
                if *name == wish.name && extra.is_none_or(|extra| wish.extras.iter().any(|asked| asked == extra)) {
                    todo.extend(brought.iter().map(|name| Wish { name: (*name).to_owned(), extras: Vec::new() }));
                }
            }
            todo.extend(graph.of(&wish));
            self.names.insert(wish.name);
        }
    }

    /// Whether the package is installed.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

/// The packages that `pyproject.toml` asks for.
pub(super) fn of_project(project: &Table, choice: &Choice) -> Vec<Wish> {
    let texts = |value: Option<&Value>| {
        let list = value.and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).filter_map(Wish::parse).collect::<Vec<_>>()
    };
    let at = |path: &[&str]| path.iter().try_fold(project, |table, key| table.get(*key)?.as_table());
    let mut wishes = texts(at(&["project"]).and_then(|table| table.get("dependencies")));
    wishes.extend(keys(at(&["tool", "poetry"]).and_then(|table| table.get("dependencies"))));
    for extra in &choice.extras {
        wishes.extend(texts(at(&["project", "optional-dependencies"]).and_then(|table| table.get(extra))));
        wishes.extend(texts(at(&["tool", "poetry", "extras"]).and_then(|table| table.get(extra))));
    }
    for group in &choice.groups {
        wishes.extend(texts(at(&["dependency-groups"]).and_then(|table| table.get(group))));
        wishes.extend(keys(at(&["tool", "poetry", "group", group]).and_then(|table| table.get("dependencies"))));
    }
    wishes
}

/// The keys of a table of dependencies, as Poetry and Pipenv have them; `python` is no package. Optional ones are left out.
fn keys(table: Option<&Value>) -> Vec<Wish> {
    let is_optional = |value: &Value| value.get("optional").and_then(Value::as_bool).unwrap_or_default();
    let entries = table.and_then(Value::as_table).into_iter().flatten();
    let wish = |(name, value): (&String, &Value)| Wish {
        name: normal(name),
        extras: value
            .get("extras")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(normal)
            .collect(),
    };
    entries.filter(|(name, value)| *name != "python" && !is_optional(value)).map(wish).collect()
}

/// What each package of a lock file depends on.
#[derive(Default)]
struct Graph(BTreeMap<String, Vec<(Option<String>, Wish)>>);

impl Graph {
    /// Reads `[[package]]` of uv's, Poetry's or PDM's lock.
    fn read(&mut self, lock: &Table) {
        for package in lock.get("package").and_then(Value::as_array).into_iter().flatten() {
            let Some(name) = package.get("name").and_then(Value::as_str) else { continue };
            let edges = self.0.entry(normal(name)).or_default();
            match package.get("dependencies") {
                Some(Value::Array(list)) => edges.extend(list.iter().filter_map(edge).map(|wish| (None, wish))),
                table => edges.extend(keys(table).into_iter().map(|wish| (None, wish))),
            }
            let extras = ["optional-dependencies", "extras"].into_iter().filter_map(|key| package.get(key)?.as_table());
            for (extra, list) in extras.flatten() {
                let list = list.as_array().into_iter().flatten().filter_map(edge);
                edges.extend(list.map(|wish| (Some(normal(extra)), wish)));
            }
        }
    }

    fn of(&self, wish: &Wish) -> Vec<Wish> {
        let edges = self.0.get(&wish.name).into_iter().flatten();
        let counts = |extra: &Option<String>| extra.as_ref().is_none_or(|extra| wish.extras.contains(extra));
        edges.filter(|(extra, _)| counts(extra)).map(|(_, wish)| wish.clone()).collect()
    }
}

/// A dependency in a list: `{ name = "a", extra = ["b"] }` of uv, or a text.
fn edge(value: &Value) -> Option<Wish> {
    match value {
        Value::String(text) => Wish::parse(text),
        table => {
            let name = normal(table.get("name")?.as_str()?);
            let extras = table.get("extra").and_then(Value::as_array).into_iter().flatten();
            Some(Wish { name, extras: extras.filter_map(Value::as_str).map(normal).collect() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::testing::Draft;

    fn names(files: &[(&str, &str)]) -> String {
        let project = Draft::new(files);
        let source = project.source();
        let manifest = read_toml(&source, "pyproject.toml").expect("TOML").unwrap_or_default();
        let requirements = Requirements::read(&source).expect("requirements");
        let choice = Choice::read(&source, &manifest).expect("a choice");
        let packages = Packages::read(&source, &manifest, requirements.as_ref(), &choice).expect("packages");
        packages.names.into_iter().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn packages_are_those_that_are_installed() {
        let uv = "[[package]]\nname = 'shop'\nsource = { virtual = '.' }\ndependencies = [{ name = 'fastapi', extra = ['standard'] }]\n\
                  [[package]]\nname = 'fastapi'\ndependencies = [{ name = 'starlette' }]\n\
                  optional-dependencies = { standard = [{ name = 'uvicorn', extra = ['standard'] }], all = [{ name = 'no' }] }\n\
                  [[package]]\nname = 'uvicorn'\ndependencies = [{ name = 'h11' }]\n[[package]]\nname = 'pytest'\n";
        let poetry = "[[package]]\nname = 'flask'\n[package.dependencies]\nWerkzeug = '>=3'\n[package.extras]\nasync = ['asgiref (>=3.2)']\n";
        for (files, expected) in [
            (
                &[
                    ("requirements.txt", "Flask==3\nFlask_Login>=1 # x\n-r more/base.txt\n"),
                    ("more/base.txt", "gunicorn\n"),
                ][..],
                "flask flask-login gunicorn",
            ),
            (&[("requirements.txt", "fastapi[standard]\n")], "fastapi starlette uvicorn"),
            (&[("pyproject.toml", "[project]\nname = 'a'\ndependencies = ['quart>=0.19']\n")], "hypercorn quart"),
            (
                &[
                    ("pyproject.toml", "[project]\nname = 'shop'\ndependencies = ['fastapi[standard]']\n"),
                    ("uv.lock", uv),
                ],
                "fastapi h11 shop starlette uvicorn",
            ),
            (
                &[
                    (
                        "pyproject.toml",
                        "[tool.poetry.dependencies]\npython = '^3.9'\nflask = {version = '*', extras = ['async']}\nx = {version = '1', optional = true}\n",
                    ),
                    ("poetry.lock", poetry),
                ],
                "asgiref flask werkzeug",
            ),
            (&[("Pipfile", "[packages]\nflask = '*'\n[dev-packages]\npytest = '*'\n")], "flask"),
            (
                &[(
                    "pyproject.toml",
                    "[project]\ndependencies = ['a']\n[project.optional-dependencies]\nweb = ['gunicorn']\n[dependency-groups]\nprod = ['psycopg']\n[tool.microbuild]\nextras = ['web']\ngroups = ['prod']\n",
                )],
                "a gunicorn psycopg",
            ),
            (&[("app.py", "")], ""),
        ] {
            assert_eq!(names(files), expected, "{files:?}");
        }
    }
}
