//! Python: `pyproject.toml`, the lock files of Poetry and Pipenv, and what uv, pip and setuptools say.
//!
//! `uv` itself installs from `uv.lock`, `pylock.toml`, `requirements.txt` and `pyproject.toml`. Poetry's and Pipenv's locks are
//! made into a file of requirements that `uv` takes: [`LOCKED`].

mod locks;

use toml::Table;

use super::{
    Component, Explanation, Facts, GeneratedFile, LARGEST, Language, LanguageError, Source, WantedRuntime, explain,
    read_toml, text_at, versions::Releases,
};
use crate::{app_folder::AppFolder, listing::AppFile};

pub use locks::{pipfile_lock, poetry_lock};

/// What Poetry's or Pipenv's lock becomes: requirements with hashes, one a line. A requirement whose marker does not hold is not
/// installed, which is for the installer to find out.
pub const LOCKED: &str = "locked-requirements.txt";

/// Where programs of packages are, in the folder that a step installs into.
const BIN: &str = "site-packages/bin";

/// Python, with its package managers.
#[derive(Debug)]
pub(super) struct Python;

impl Language for Python {
    fn name(&self) -> &'static str {
        "python"
    }

    /// `pyproject.toml` may hold nothing but settings of tools, which are used on files of other languages too.
    fn is_app(&self, folder: &AppFolder) -> bool {
        let has = |name: &&str| folder.is_file(name);
        let text = folder.read(MANIFEST, LARGEST).ok().flatten().unwrap_or_default();
        let is_project = |table: Table| {
            let of_poetry = table.get("tool").and_then(|tool| tool.get("poetry"));
            table.contains_key("project") || table.contains_key("build-system") || of_poetry.is_some()
        };
        ["requirements.txt", "setup.py", "Pipfile", "manage.py"].iter().any(has)
            || text.parse().map_or(true, is_project)
    }

    fn read(&self, source: &Source<'_>) -> Result<Facts, LanguageError> {
        let project = read_toml(source, MANIFEST)?.unwrap_or_default();
        let said = |key: &str| {
            let of_poetry = || text_at(&project, &["tool", "poetry", key]);
            text_at(&project, &["project", key]).or_else(of_poetry).map(str::to_owned)
        };
        Ok(Facts {
            name: said("name"),
            version: said("version"),
            runtime: runtime(source, &project)?,
            ..Facts::default()
        })
    }

    /// A lock of Poetry's or Pipenv's as requirements, where nothing that `uv` reads comes before it; and the programs that
    /// `[project.scripts]` names, which run the project where it lies.
    fn prepare(&self, source: &Source<'_>) -> Result<Vec<GeneratedFile>, LanguageError> {
        let has = |name: &str| source.folder.is_file(name);
        let project = read_toml(source, MANIFEST)?.unwrap_or_default();
        let mut files = Vec::new();
        if !["requirements.txt", "uv.lock", "pylock.toml"].into_iter().any(has) {
            let locked = match (source.read("poetry.lock")?, source.read("Pipfile.lock")?) {
                (Some(text), _) => Some(poetry_lock(&text, &source.place("poetry.lock"))?),
                (None, Some(text)) => Some(pipfile_lock(&text, &source.place("Pipfile.lock"))?),
                (None, None) => None,
            };
            match locked {
                Some(text) => files.push(GeneratedFile { path: LOCKED.to_owned(), text, executable: false }),
                None => check_unlocked(source, &project)?,
            }
        }
        let scripts = project.get("project").and_then(|project| project.get("scripts")).and_then(toml::Value::as_table);
        for (name, place) in scripts.into_iter().flatten() {
            files.push(script(source, name, place.as_str().unwrap_or_default())?);
        }
        Ok(files)
    }

    fn components(&self, folder: &AppFolder, files: &[AppFile]) -> Vec<Component> {
        super::components(
            folder,
            files,
            |path| path.ends_with(".dist-info/METADATA"),
            |text| {
                // A mail's headers, which an empty line ends (PyPA, "Core metadata specifications").
                let header = |name: &str| {
                    let mut lines = text.lines().take_while(|line| !line.is_empty());
                    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::trim)
                };
                let (name, version) = (header("Name")?, header("Version")?);
                let purl = super::purl("pypi", &name.to_ascii_lowercase().replace('_', "-"), version);
                Some(vec![Component { name: name.to_owned(), version: version.to_owned(), purl }])
            },
        )
    }

    fn explain(&self, line: &str) -> Option<Explanation> {
        explain::find(line, SAYINGS)
    }
}

/// The file that describes a project.
const MANIFEST: &str = "pyproject.toml";

const SAYINGS: &[(&str, Explanation)] = &[
    (
        "pg_config executable not found",
        Explanation::lacks("psycopg2 is compiled with PostgreSQL's library: --dev-package libpq-dev brings it"),
    ),
    (
        "mysql_config: not found",
        Explanation::lacks(
            "mysqlclient is compiled with MariaDB's library: --dev-package mariadb-dev (Alpine) or default-libmysqlclient-dev (Debian) brings it",
        ),
    ),
    // Debian's is a program in Perl, which comes with the recipe's compilers.
    ("Unable to find 'pg_config' file", Explanation::NeedsCompiler),
    ("couldn't run 'pg_config'", Explanation::NeedsCompiler),
    ("Python.h: No such file", Explanation::NeedsCompiler),
    ("gcc' failed", Explanation::NeedsCompiler),
    ("g++' failed", Explanation::NeedsCompiler),
    ("cc' failed", Explanation::NeedsCompiler),
    ("execute 'gcc'", Explanation::NeedsCompiler),
    ("execute 'cc'", Explanation::NeedsCompiler),
    (
        "can't find Rust compiler",
        Explanation::lacks(
            "a package is compiled by Rust: --dev-package cargo brings that; or take a version of it that has a wheel for this Python",
        ),
    ),
    (
        "Git executable not found",
        Explanation::lacks("a package comes from a Git repository: --dev-package git brings what fetches it"),
    ),
    ("Network connectivity is disabled", Explanation::NotCached),
    ("network was disabled", Explanation::NotCached),
    ("does not match the lock file", Explanation::lock(UV_LOCK)),
    ("needs to be updated, but `--", Explanation::lock(UV_LOCK)),
    ("Hash mismatch for", Explanation::hint(HASHES)),
    ("mode, all requirements must have a hash", Explanation::hint(NO_INDEX)),
    ("Distribution not found at: file:", Explanation::hint(NO_INDEX)),
    (
        "No matching distribution found for uv==",
        Explanation::hint(
            "uv installs what the project depends on, and the index has no wheel of it for this machine: PIP_EXTRA_INDEX_URL names \
             another index",
        ),
    ),
    ("no usable wheels", Explanation::hint(WHEELS)),
    ("no wheels with a matching", Explanation::hint(WHEELS)),
    ("does not satisfy Python", Explanation::hint(OTHER_PYTHON)),
    ("'s Python requirement: `", Explanation::hint(OTHER_PYTHON)),
    (
        "was not found in the package registry",
        Explanation::hint("PIP_INDEX_URL names another index, PIP_EXTRA_INDEX_URL one that is asked first"),
    ),
    (
        "--index-strategy unsafe-best-match",
        Explanation::hint(
            "UV_INDEX_STRATEGY=unsafe-best-match in your environment takes a package from any of the indexes, as pip does",
        ),
    ),
];

const NO_INDEX: &str = "the lock file has a package that comes from no index: publish it to an index; or install by yourself, and \
                        build with --deps copy";

const OTHER_PYTHON: &str = "another --base has another Python: debian:trixie a newer one than debian:bookworm";

const WHEELS: &str = "a package has no wheel for this Python, processor and C library: another version of it may have one, another \
                      --base has another Python and C library; for another processor nothing is compiled, so build on a machine that \
                      has that processor";

const HASHES: &str =
    "the index has other files than the lock file knows: lock again, or use the index that it was locked with";

const UV_LOCK: &str = "bring uv.lock up to date with pyproject.toml: `uv lock` writes it";

/// The versions of Python that the project runs on: what its package manager enforces, then what developers use.
fn runtime(source: &Source<'_>, project: &Table) -> Result<Option<WantedRuntime>, LanguageError> {
    let wanted = |range: &str, key, file: &str, releases| WantedRuntime::advised("Python", range, key, file, releases);
    if let Some(range) = text_at(project, &["project", "requires-python"]) {
        return Ok(wanted(range, Some("requires-python"), MANIFEST, Releases::python(range)));
    }
    if let Some(range) = text_at(project, &["tool", "poetry", "dependencies", "python"]) {
        return Ok(wanted(range, Some("tool.poetry.dependencies.python"), MANIFEST, Releases::composer(range)));
    }
    if let Some(pipfile) = read_toml(source, "Pipfile")?
        && let Some(range) = text_at(&pipfile, &["requires", "python_version"])
    {
        return Ok(wanted(range, Some("requires.python_version"), "Pipfile", Releases::within(range, 2)));
    }
    // The first of them is what `python` means (pyenv, uv); the rest of a version is the developer's machine's.
    let file = ".python-version";
    let text = source.read(file)?.unwrap_or_default();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.next().and_then(|line| wanted(line, None, file, Releases::within(line, 2))))
}

/// Refuses what needs a lock file, and has none.
fn check_unlocked(source: &Source<'_>, project: &Table) -> Result<(), LanguageError> {
    let found = |message: String, hint: &str| Err(LanguageError::Unusable { message, hint: Some(hint.to_owned()) });
    let root = source.folder.path().display();
    if source.folder.is_file("Pipfile") {
        return found(format!("expected Pipfile.lock in {root}, found Pipfile alone"), "`pipenv lock` writes it");
    }
    let of_poetry =
        project.get("tool").and_then(|tool| tool.get("poetry")).and_then(|poetry| poetry.get("dependencies"));
    if of_poetry.is_some() {
        let message =
            format!("expected poetry.lock in {root}, found [tool.poetry.dependencies] of pyproject.toml alone");
        return found(message, "`poetry lock` writes it");
    }
    if source.folder.is_file("setup.py") && !source.folder.is_file(MANIFEST) {
        let message =
            format!("expected requirements.txt or pyproject.toml in {root}, found setup.py alone, which is not run");
        return found(message, "write its install_requires to requirements.txt; --deps none installs nothing");
    }
    Ok(())
}

/// The program `name` that `[project.scripts]` of `source` has, which runs what is at `place`: `module:object`.
fn script(source: &Source<'_>, name: &str, place: &str) -> Result<GeneratedFile, LanguageError> {
    let is_name = !name.is_empty()
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    // An extra may stand behind it (PyPA, "Entry points specification"), and is for installers.
    let object = place.split('[').next().unwrap_or(place).trim();
    let is_dotted = |text: &str| text.split('.').all(is_identifier);
    let parts = object.split_once(':').map(|(module, function)| (module.trim(), function.trim()));
    match parts.filter(|(module, function)| is_name && is_dotted(module) && is_dotted(function)) {
        Some((module, function)) => {
            let imported = function.split('.').next().unwrap_or(function);
            let text =
                format!("#!/usr/bin/python3\nimport sys\nfrom {module} import {imported}\nsys.exit({function}())\n");
            Ok(GeneratedFile { path: format!("{BIN}/{name}"), text, executable: true })
        }
        None => Err(LanguageError::Unusable {
            message: format!(
                "{}: expected a script such as `tool = \"package.module:function\"` in [project.scripts], found `{} = \"{}\"`",
                source.place(MANIFEST).display(),
                name.escape_debug(),
                place.escape_debug()
            ),
            hint: None,
        }),
    }
}

fn is_identifier(text: &str) -> bool {
    let first = text.chars().next();
    first.is_some_and(|c| c == '_' || c.is_alphabetic()) && text.chars().all(|c| c == '_' || c.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::testing::Draft;

    /// The range that is read of `files`, with its place, and whether 3.12 fits.
    fn wanted(files: &[(&str, &str)]) -> Option<(String, bool)> {
        let facts = Draft::new(files).read(&Python).expect("facts");
        facts.runtime.map(|wanted| (format!("{} in {}", wanted.range, wanted.place()), wanted.fits("3.12.12-r0")))
    }

    #[test]
    fn reads_what_a_project_says_of_itself() {
        let text = "[project]\nname = 'shop'\nversion = '1.2'\n[tool.poetry]\nname = 'x'\n";
        let facts = Draft::new(&[("pyproject.toml", text)]).read(&Python).unwrap();
        assert_eq!((facts.name.as_deref(), facts.version.as_deref()), (Some("shop"), Some("1.2")));
        let facts = Draft::new(&[("pyproject.toml", "[tool.poetry]\nname = 'x'\n")]).read(&Python).unwrap();
        assert_eq!((facts.name.as_deref(), facts.version), (Some("x"), None));
        assert_eq!(Draft::new(&[("app.py", "")]).read(&Python), Ok(Facts::default()));
        let error = Draft::new(&[("pyproject.toml", "[project]\nname = x\n")]).read(&Python).unwrap_err();
        assert!(error.starts_with("shop/pyproject.toml:2:8: "), "{error}");
    }

    #[test]
    fn settings_of_tools_are_no_app() {
        for (text, more, is_app) in [
            ("[tool.ruff]\nline-length = 100\n", "x.js", false),
            ("[tool.ruff]\nline-length = 100\n", "manage.py", true),
            ("[project]\nname = 'a'\n", "x", true),
            ("[tool.poetry]\n", "x", true),
            ("no TOML", "x", true),
        ] {
            assert_eq!(Python.is_app(Draft::new(&[("pyproject.toml", text), (more, "")]).folder()), is_app, "{text}");
        }
    }

    #[test]
    fn reads_the_python_that_is_wanted() {
        let some = |text: &str, fits| Some((text.to_owned(), fits));
        let project = |text: &'static str| [("pyproject.toml", text), (".python-version", "3.9\n")];
        assert_eq!(
            wanted(&project("[project]\nrequires-python = '>=3.13'\n")),
            some(">=3.13 in requires-python in pyproject.toml", false)
        );
        assert_eq!(
            wanted(&project("[tool.poetry.dependencies]\npython = '^3.9'\n")),
            some("^3.9 in tool.poetry.dependencies.python in pyproject.toml", true)
        );
        assert_eq!(wanted(&project("[project]\n")), some("3.9 in .python-version", false));
        assert_eq!(wanted(&[(".python-version", "# team\n3.12.1\n3.9\n")]), some("3.12.1 in .python-version", true));
        assert_eq!(wanted(&[(".python-version", "pypy\n")]), None);
        let pipfile = "[requires]\npython_version = '3.11'\n";
        assert_eq!(wanted(&[("Pipfile", pipfile)]), some("3.11 in requires.python_version in Pipfile", false));
        assert_eq!(wanted(&project("[project]\nrequires-python = 'soon'\n")), None, "uv will tell");
    }

    #[test]
    fn prepares_scripts_and_requirements() {
        let prepare = |files: &[(&str, &str)]| {
            let project = Draft::new(files);
            Python.prepare(&project.source()).map_err(|error| project.told(&error))
        };
        let scripts = "[project.scripts]\nserve = 'shop.cli:main'\nx-y = 'shop:App.run [extra]'\n";
        let files = prepare(&[("pyproject.toml", scripts), ("uv.lock", "")]).unwrap();
        assert!(files.iter().all(|file| file.executable));
        let texts: Vec<_> = files.into_iter().map(|file| (file.path, file.text)).collect();
        let text = |import: &str, call: &str| format!("#!/usr/bin/python3\nimport sys\n{import}\nsys.exit({call}())\n");
        assert_eq!(
            texts,
            [
                ("site-packages/bin/serve".into(), text("from shop.cli import main", "main")),
                ("site-packages/bin/x-y".into(), text("from shop import App", "App.run")),
            ]
        );
        for mistake in ["a = 'b'", "a = 'b:c; import os'", "'../a' = 'b:c'", "a = 'b:'", "a = 1"] {
            let error = prepare(&[("pyproject.toml", &format!("[project.scripts]\n{mistake}\n"))]).unwrap_err();
            assert!(error.starts_with("shop/pyproject.toml: expected a script such as"), "{error}");
        }
        let lock = r#"{"default": {"six": {"version": "==1.16.0", "hashes": ["sha256:00"]}}}"#;
        let files = prepare(&[("Pipfile", ""), ("Pipfile.lock", lock)]).unwrap();
        assert_eq!((files[0].path.as_str(), files[0].text.as_str()), (LOCKED, "six==1.16.0 --hash=sha256:00\n"));
        assert_eq!(prepare(&[("requirements.txt", ""), ("Pipfile.lock", lock)]), Ok(vec![]));
        for (files, message) in [
            (
                &[("Pipfile", "")][..],
                "expected Pipfile.lock in shop, found Pipfile alone\nhint: `pipenv lock` writes it",
            ),
            (
                &[("pyproject.toml", "[tool.poetry.dependencies]\n")],
                "expected poetry.lock in shop, found [tool.poetry.dependencies] of pyproject.toml alone\nhint: `poetry lock` writes it",
            ),
            (
                &[("setup.py", "")],
                "expected requirements.txt or pyproject.toml in shop, found setup.py alone, which is not run\nhint: write its \
                 install_requires to requirements.txt; --deps none installs nothing",
            ),
        ] {
            assert_eq!(prepare(files).unwrap_err(), message);
        }
        assert_eq!(prepare(&[("pyproject.toml", "[project]\ndependencies = ['six']\n")]), Ok(vec![]));
    }

    #[test]
    fn explains_pythons_tools() {
        for (line, expected) in [
            ("      Error: pg_config executable not found.", "--dev-package libpq-dev"),
            ("ERROR: No matching distribution found for uv==0.13.9", "PIP_EXTRA_INDEX_URL"),
            (
                "  cause: Because psycopg2==2.9.10 has no usable wheels and you require psycopg2==2.9.10",
                "has that processor",
            ),
            ("  cause: Because a was not found in the package registry and you require a==1", "PIP_INDEX_URL"),
            ("  cause: Because the current Python version (3.11.2) does not satisfy Python>=3.13", "debian:trixie"),
            ("  cause: Distribution not found at: file:///srv/lib", "--deps copy"),
            ("error: In `--require-hashes` mode, all requirements must have a hash", "--deps copy"),
            (
                "error: The lockfile at `uv.lock` needs to be updated, but `--locked` was provided.",
                "`uv lock` writes it",
            ),
            ("  cause: Hash mismatch for `six==1.16.0`", "lock again"),
        ] {
            let Some(Explanation::Lacks(text) | Explanation::Hint(text) | Explanation::LockOutOfDate(text)) =
                Python.explain(line)
            else {
                panic!("{line} is explained");
            };
            assert!(text.contains(expected), "{line}: {text}");
        }
        let line = "hint: Packages were unavailable because the network was disabled.";
        assert_eq!(Python.explain(line), Some(Explanation::NotCached));
        for line in [
            "x.c:1:10: fatal error: Python.h: No such file or directory",
            "         error: command 'gcc' failed: No such file or directory",
            "         error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory",
            "         Error: Unable to find 'pg_config' file in '/usr/bin/pg_config'",
        ] {
            assert_eq!(Python.explain(line), Some(Explanation::NeedsCompiler), "{line}");
        }
    }

    #[test]
    fn lists_what_is_installed() {
        let project = Draft::new(&[
            (
                "site-packages/six-1.16.0.dist-info/METADATA",
                "Metadata-Version: 2.1\nName: six\nVersion: 1.16.0\n\nName: no\n",
            ),
            ("site-packages/typing_extensions-4.dist-info/METADATA", "Name: Typing_Extensions\nVersion: 4+x\n"),
            ("site-packages/damaged.dist-info/METADATA", "Name: damaged\n\nVersion: 1\n"),
            ("site-packages/METADATA", "Name: no\nVersion: 1\n"),
        ]);
        assert_eq!(project.purls(&Python), ["pkg:pypi/typing-extensions@4%2Bx", "pkg:pypi/six@1.16.0"]);
    }
}
