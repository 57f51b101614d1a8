//! Python: how an app starts, `pyproject.toml`, requirements and lock files, and what uv, pip and setuptools say.
//!
//! `uv` itself installs from `uv.lock`, `pylock.toml`, `requirements.txt` and `pyproject.toml`. The locks of Poetry, Pipenv and PDM are
//! made into a file of requirements that `uv` takes: [`LOCKED`].

mod choice;
mod django;
mod locks;
mod metadata;
mod packages;
mod poetry;
mod reader;
mod requirements;
mod sayings;
mod start;
mod syntax;

use toml::{Table, Value};

use super::{
    Component, Dependencies, Explanation, Facts, GeneratedFile, LARGEST, Language, LanguageError, Source,
    WantedRuntime, explain, read_toml, text_at, versions::Releases,
};
use crate::{app_folder::AppFolder, listing::AppFile};
use choice::Choice;
use packages::Packages;
use requirements::Requirements;

pub use locks::{pdm_lock, pipfile_lock};
pub use poetry::poetry_lock;

/// What the lock of Poetry, Pipenv or PDM becomes: requirements with hashes, one a line. A requirement whose marker does not hold is not
/// installed, which is for the installer to find out.
pub const LOCKED: &str = "locked-requirements.txt";

/// The installer of the project itself, in its metadata.
const INSTALLER: &str = "microbuild";

/// The step that collects static files.
const COLLECTS: &str = "static";

/// The file whose presence makes `ctypes.util.find_library` work in the image.
const FIND_LIBRARY: &str = "wants-find-library";

/// Python, with its package managers.
#[derive(Debug)]
pub(super) struct Python;

impl Language for Python {
    fn name(&self) -> &'static str {
        "python"
    }

    /// `pyproject.toml` may hold nothing but settings of tools, which are used on files of other languages too; and a file of Python
    /// alone may be a tool of another language's app.
    fn is_app(&self, folder: &AppFolder) -> bool {
        let has = |name: &&str| folder.is_file(name);
        let is_project = |table: Table| {
            let of_poetry = table.get("tool").and_then(|tool| tool.get("poetry"));
            table.contains_key("project") || table.contains_key("build-system") || of_poetry.is_some()
        };
        MANIFESTS.iter().filter(|name| **name != MANIFEST).any(has)
            || folder.read(MANIFEST, LARGEST).ok().flatten().is_some_and(|text| text.parse().map_or(true, is_project))
    }

    fn read(&self, source: &Source<'_>) -> Result<Facts, LanguageError> {
        let project = read_toml(source, MANIFEST)?.unwrap_or_default();
        let said = |key: &str| {
            let of_poetry = || text_at(&project, &["tool", "poetry", key]);
            text_at(&project, &["project", key]).or_else(of_poetry).map(str::to_owned)
        };
        let choice = Choice::read(source, &project)?;
        let requirements = Requirements::read(source);
        // What cannot be installed does not matter where nothing is.
        let requirements = if source.installs { requirements? } else { requirements.unwrap_or_default() };
        let packages = Packages::read(source, &project, requirements.as_ref(), &choice)?;
        let mut facts = Facts {
            name: said("name"),
            version: said("version"),
            runtime: runtime(source, &project)?,
            ..Facts::default()
        };
        if source.starts {
            let begin = start::Project { source, manifest: &project, packages: &packages }.begin()?;
            facts =
                Facts { start: begin.start, command: begin.command, env: begin.env, warnings: begin.warnings, ..facts };
        }
        let uses = Uses::read(source);
        facts.dependencies = Some(dependencies(source, &project, requirements.as_ref(), uses.find_library)?);
        facts.warnings.extend(uses.warning(&packages));
        let collects = source.installs && choice.collects && django::collects(source, &packages);
        facts.unneeded.extend((!collects).then(|| COLLECTS.to_owned()));
        Ok(facts)
    }

    /// The files for the installation that `uv` cannot read itself: requirements that others refer to, other tools' locks, the choice
    /// of extras and groups. And the project's own metadata and programs, which run it where it lies.
    fn prepare(&self, source: &Source<'_>) -> Result<Vec<GeneratedFile>, LanguageError> {
        let project = read_toml(source, MANIFEST)?.unwrap_or_default();
        let choice = Choice::read(source, &project)?;
        let requirements = Requirements::read(source)?;
        let has = |name: &str| source.folder.is_file(name);
        let mut files = Vec::new();
        if requirements.is_none() && !["uv.lock", "pylock.toml"].into_iter().any(has) {
            match locked(source, &project, &choice)? {
                Some(text) => files.push(GeneratedFile { path: LOCKED.to_owned(), text, executable: false }),
                None => check_unlocked(source, &project)?,
            }
        }
        let installs_itself = requirements.as_ref().is_some_and(|requirements| requirements.project);
        files.extend(requirements.into_iter().flat_map(|requirements| requirements.files));
        files.extend(choice.file());
        if !installs_itself {
            files.extend(metadata::files(source, &project)?);
        }
        if Uses::read(source).find_library {
            files.push(GeneratedFile { path: FIND_LIBRARY.to_owned(), text: String::new(), executable: false });
        }
        Ok(files)
    }

    fn components(&self, folder: &AppFolder, files: &[AppFile]) -> Vec<Component> {
        // The project itself is no package of an index.
        let is_own = |path: &str| {
            let installer = path.replace("/METADATA", "/INSTALLER");
            folder.read(&installer, LARGEST).ok().flatten().is_some_and(|text| text.trim() == INSTALLER)
        };
        super::components(
            folder,
            files,
            |path| path.ends_with(".dist-info/METADATA") && !is_own(path),
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
        explain::find(line, sayings::SAYINGS)
    }
}

/// The file that describes a project.
const MANIFEST: &str = "pyproject.toml";

/// The files that make a folder an app in Python.
const MANIFESTS: [&str; 12] = [
    "requirements.txt",
    "setup.py",
    "Pipfile",
    "manage.py",
    MANIFEST,
    "Pipfile.lock",
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "pylock.toml",
    "environment.yml",
    "environment.yaml",
];

/// The files that tell what is installed, where there is no `requirements.txt`.
const INSTALLED: [&str; 8] =
    ["uv.lock", "pylock.toml", "poetry.lock", "pdm.lock", "Pipfile.lock", "Pipfile", MANIFEST, "setup.py"];

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

/// What the files of Python in the image use of the standard library that an image may lack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Uses {
    find_library: bool,
    distutils: bool,
    imp: bool,
}

impl Uses {
    fn read(source: &Source<'_>) -> Self {
        let mut uses = Self::default();
        let files = source.files.paths().filter(|path| path.ends_with(".py") && !path.starts_with("site-packages/"));
        for text in files.filter_map(|path| source.folder.read(path, LARGEST).ok().flatten()) {
            uses.find_library |= text.contains("find_library");
            for module in text.lines().filter_map(imported) {
                uses.distutils |= module == "distutils" || module.starts_with("distutils.");
                uses.imp |= module == "imp";
            }
        }
        uses
    }

    /// The warning for what Python no longer has.
    fn warning(self, packages: &Packages) -> Option<String> {
        let (module, cure) = match self {
            // setuptools has a copy.
            Self { distutils: true, .. } if !packages.has("setuptools") => {
                ("distutils", "-p python3-distutils brings it on Debian 12")
            }
            Self { imp: true, .. } => ("imp", "importlib replaces it"),
            _ => return None,
        };
        Some(format!("the app imports {module}, which Python 3.12 and later do not have: {cure}"))
    }
}

/// The module that a line imports.
fn imported(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let rest = line.strip_prefix("import ").or_else(|| line.strip_prefix("from "))?;
    rest.split(|c: char| c.is_whitespace() || c == ',' || c == ';').next()
}

/// What is installed, and whether any file of the project may be needed for that.
fn dependencies(
    source: &Source<'_>,
    project: &Table,
    requirements: Option<&Requirements>,
    finds: bool,
) -> Result<Dependencies, LanguageError> {
    let has = |name: &str| source.folder.is_file(name);
    let mut needs = Dependencies::default();
    if finds {
        needs.optional.push("ctypes".to_owned());
    }
    if let Some(requirements) = requirements {
        needs.optional.push(requirements::FILE.to_owned());
        needs.whole = requirements.local;
        return Ok(needs);
    }
    let found: Vec<String> = INSTALLED.into_iter().filter(|name| has(name)).map(str::to_owned).collect();
    let of_conda = ["environment.yml", "environment.yaml"].into_iter().find(|name| has(name));
    if let (Some(file), true, true) = (of_conda, found.is_empty(), source.installs) {
        return Err(conda(source, file));
    }
    needs.optional.extend(found);
    if needs.optional.is_empty() || !source.installs {
        return Ok(needs);
    }
    let locks = ["uv.lock", "poetry.lock", "pdm.lock", "pylock.toml"];
    let is_locked = locks.iter().any(|name| has(name)) || has("Pipfile.lock");
    for lock in locks {
        let document = read_toml(source, lock)?.unwrap_or_default();
        let packages = ["package", "packages"].into_iter().filter_map(|key| document.get(key)?.as_array());
        needs.whole |= packages.flatten().any(is_local);
    }
    let of_pipenv = source.read("Pipfile.lock")?.unwrap_or_default();
    needs.whole |= of_pipenv.contains("\"path\"") || of_pipenv.contains("\"file\"");
    if !is_locked {
        let sources = project.get("tool").and_then(|tool| tool.get("uv")?.get("sources")?.as_table());
        let is_near = |value: &Value| value.get("path").is_some() || value.get("workspace").is_some();
        needs.whole |= sources.into_iter().flatten().any(|(_, value)| is_near(value));
        // The build of the project tells its dependencies.
        let dynamic = project.get("project").and_then(|project| project.get("dynamic")?.as_array());
        needs.whole |= dynamic.into_iter().flatten().any(|key| key.as_str() == Some("dependencies"));
        needs.whole |= !project.contains_key("project") && has("setup.py");
    }
    Ok(needs)
}

/// Whether a package of a lock file lies in the project.
fn is_local(package: &Value) -> bool {
    let of_uv = |key: &str| package.get("source").and_then(|source| source.get(key)).and_then(Value::as_str);
    let of_pylock = |key: &str| package.get(key).is_some_and(|place| place.get("path").is_some());
    ["editable", "directory", "virtual", "path"].into_iter().filter_map(of_uv).any(|path| path != ".")
        || matches!(of_uv("type"), Some("directory" | "file"))
        || ["directory", "archive"].into_iter().any(of_pylock)
        || package.get("path").is_some()
}

fn conda(source: &Source<'_>, file: &str) -> LanguageError {
    LanguageError::Unusable {
        message: format!("{} is for conda, which is not used here", source.place(file).display()),
        hint: Some(
            "write what pip installs to requirements.txt, and add libraries of other languages with -p; --deps none installs nothing"
                .to_owned(),
        ),
    }
}

/// The requirements of a lock that `uv` cannot read. `None` where there is none.
fn locked(source: &Source<'_>, project: &Table, choice: &Choice) -> Result<Option<String>, LanguageError> {
    if let Some(text) = source.read("poetry.lock")? {
        return poetry::requirements(&text, &source.place("poetry.lock"), project, choice).map(Some);
    }
    if let Some(text) = source.read("pdm.lock")? {
        return locks::pdm(&text, &source.place("pdm.lock"), choice).map(Some);
    }
    source.read("Pipfile.lock")?.map(|text| pipfile_lock(&text, &source.place("Pipfile.lock"))).transpose()
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
    Ok(())
}

/// `path` without `.` and `..`, relative to the app's folder. The empty path is the folder itself; `None` is a path out of it.
fn within(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    if path.starts_with('/') {
        return None;
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::testing::Draft;

    /// The facts of a project with `files` and a program.
    fn facts(files: &[(&str, &str)]) -> Result<Facts, String> {
        Draft::new(&[files, &[("main.py", "")]].concat()).read(&Python)
    }

    /// The range that is read of `files`, with its place, and whether 3.12 fits.
    fn wanted(files: &[(&str, &str)]) -> Option<(String, bool)> {
        let facts = facts(files).expect("facts");
        facts.runtime.map(|wanted| (format!("{} in {}", wanted.range, wanted.place()), wanted.fits("3.12.12-r0")))
    }

    #[test]
    fn reads_what_a_project_says_of_itself() {
        let text = "[project]\nname = 'shop'\nversion = '1.2'\n[tool.poetry]\nname = 'x'\n";
        let found = facts(&[("pyproject.toml", text)]).unwrap();
        assert_eq!((found.name.as_deref(), found.version.as_deref()), (Some("shop"), Some("1.2")));
        let found = facts(&[("pyproject.toml", "[tool.poetry]\nname = 'x'\n")]).unwrap();
        assert_eq!((found.name.as_deref(), found.version), (Some("x"), None));
        let found = facts(&[]).unwrap();
        assert_eq!((found.name, found.dependencies), (None, Some(Dependencies::default())));
        let error = facts(&[("pyproject.toml", "[project]\nname = x\n")]).unwrap_err();
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
            ("[tool.ruff]\n", "main.py", false),
            ("[tool.ruff]\n", "environment.yml", true),
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
        ] {
            assert_eq!(prepare(files).unwrap_err(), message);
        }
        assert_eq!(prepare(&[("pyproject.toml", "[project]\ndependencies = ['six']\n")]), Ok(vec![]));
        assert_eq!(prepare(&[("setup.py", "")]), Ok(vec![]));
        let paths =
            |files: &[(&str, &str)]| prepare(files).unwrap().into_iter().map(|file| file.path).collect::<Vec<_>>();
        let named = "[project]\nname = 'a'\nversion = '1'\n[tool.microbuild]\nextras = ['x']\n";
        assert_eq!(
            paths(&[("pyproject.toml", named), ("main.py", "from ctypes.util import find_library\n")]),
            [
                "uv-options",
                "own-metadata/a-1.dist-info/METADATA",
                "own-metadata/a-1.dist-info/INSTALLER",
                "wants-find-library"
            ]
        );
        assert_eq!(
            paths(&[("pyproject.toml", named), ("requirements.txt", "-e .\n")]),
            ["requirements.txt", "uv-options"]
        );
    }

    #[test]
    fn an_installation_sees_what_it_needs() {
        let whole = |files: &[(&str, &str)]| {
            let needs = facts(files).unwrap().dependencies.unwrap();
            (!needs.is_empty()).then_some(needs.whole)
        };
        let uv = |source: &str| format!("[[package]]\nname = 'a'\nsource = {source}\n");
        let (plain, own, member) =
            (uv("{ registry = 'https://h' }"), uv("{ editable = '.' }"), uv("{ editable = 'packages/a' }"));
        let sources = "[project]\nname = 'a'\n[tool.uv.sources]\nb = { path = 'b' }\n";
        for (files, expected) in [
            (&[][..], None),
            (&[("requirements.txt", "six\n")], Some(false)),
            (&[("requirements.txt", "-e .\n")], Some(true)),
            (&[("requirements.txt", "./x.whl\n")], Some(true)),
            (&[("uv.lock", &plain)], Some(false)),
            (&[("uv.lock", &own)], Some(false)),
            (&[("uv.lock", &member)], Some(true)),
            (&[("pyproject.toml", sources)], Some(true)),
            (&[("pyproject.toml", sources), ("uv.lock", &own)], Some(false)),
            (&[("pyproject.toml", "[project]\nname = 'a'\ndynamic = ['dependencies']\n")], Some(true)),
            (&[("setup.py", "")], Some(true)),
            (&[("poetry.lock", "[[package]]\nname = 'a'\nsource = { type = 'directory', url = 'a' }\n")], Some(true)),
            (&[("pylock.toml", "[[packages]]\nname = 'a'\ndirectory = { path = 'a' }\n")], Some(true)),
            (&[("x.py", "ctypes.util.find_library('z')\n")], Some(false)),
        ] {
            assert_eq!(whole(files), expected, "{files:?}");
        }
        assert_eq!(
            facts(&[("environment.yml", "")]).unwrap_err(),
            "shop/environment.yml is for conda, which is not used here\nhint: write what pip installs to requirements.txt, and add \
             libraries of other languages with -p; --deps none installs nothing"
        );
        assert!(facts(&[("environment.yml", ""), ("requirements.txt", "")]).is_ok());
    }

    #[test]
    fn what_python_no_longer_has_is_told() {
        for (text, packages, expected) in [
            (
                "from distutils.core import setup\n",
                "six\n",
                "the app imports distutils, which Python 3.12 and later do not have: -p python3-distutils brings it on Debian 12",
            ),
            (
                "  import imp\n",
                "",
                "the app imports imp, which Python 3.12 and later do not have: importlib replaces it",
            ),
            ("import distutils\n", "setuptools\n", ""),
            ("import impala\n", "", ""),
            ("# import imp\n", "", ""),
        ] {
            let warnings = facts(&[("x.py", text), ("requirements.txt", packages)]).unwrap().warnings;
            assert_eq!(warnings.join(""), expected, "{text}");
        }
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
            ("collectstatic failed", "collectstatic = false"),
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
            "  cause: Git executable not found. Ensure that Git is installed and available.",
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
