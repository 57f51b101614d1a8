//! The project itself among its installed packages: its metadata, for `importlib.metadata`, and its programs. Its files stay where
//! they are.

use std::fmt::Write as _;

use toml::{Table, Value};

use super::{
    MANIFEST,
    locks::{is_name as is_package, is_version},
    packages::normal,
    syntax::{assignment, is_name, literal},
};
use crate::lang::{GeneratedFile, LanguageError, Source, text_at};

/// The folder in which the project's files for `site-packages` lie while dependencies are installed.
const OWN: &str = "own-metadata";

/// Where programs of packages are, in the folder that a step installs into.
const BIN: &str = "site-packages/bin";

/// The version of a project whose version only its build tells.
const UNKNOWN: &str = "0+unknown";

/// The programs of the project: `[project.scripts]` and Poetry's, in their order. What they run is `module:function`.
pub(super) fn scripts(project: &Table) -> Vec<(String, String)> {
    let at = |path: &[&str]| path.iter().try_fold(project, |table, key| table.get(*key)?.as_table());
    let tables = [at(&["project", "scripts"]), at(&["tool", "poetry", "scripts"])];
    let mut scripts: Vec<(String, String)> = Vec::new();
    for (name, place) in tables.into_iter().flatten().flatten() {
        let is_file = place.get("type").and_then(Value::as_str) == Some("file");
        let place = match place {
            Value::Table(table) => table.get("callable").or(table.get("reference")).and_then(Value::as_str),
            other => other.as_str(),
        };
        if !is_file && scripts.iter().all(|(known, _)| known != name) {
            scripts.push((name.clone(), place.unwrap_or_default().to_owned()));
        }
    }
    scripts
}

/// The files for the project's programs and its metadata.
///
/// # Errors
/// When a program is not written as it should be.
pub(super) fn files(source: &Source<'_>, project: &Table) -> Result<Vec<GeneratedFile>, LanguageError> {
    let scripts = scripts(project);
    let mut files = scripts.iter().map(|(name, place)| script(source, name, place)).collect::<Result<Vec<_>, _>>()?;
    let said = |key: &str| {
        text_at(project, &["project", key]).or_else(|| text_at(project, &["tool", "poetry", key])).map(str::to_owned)
    };
    let Some(name) = said("name").filter(|name| is_package(name)) else { return Ok(files) };
    let version = said("version").or_else(|| dynamic_version(source, project));
    let version =
        version.filter(|version| is_version(version) && !version.contains("..")).unwrap_or_else(|| UNKNOWN.to_owned());
    let folder = format!("{OWN}/{}-{version}.dist-info", normal(&name).replace('-', "_"));
    let add = |file: &str, text: String| GeneratedFile { path: format!("{folder}/{file}"), text, executable: false };
    // PyPA, "Recording installed projects". Scanners read METADATA.
    files.push(add("METADATA", metadata(&name, &version, project)));
    files.push(add("INSTALLER", format!("{}\n", super::INSTALLER)));
    let points = entry_points(project, &scripts);
    if !points.is_empty() {
        files.push(add("entry_points.txt", points));
    }
    Ok(files)
}

fn metadata(name: &str, version: &str, project: &Table) -> String {
    let mut text = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n");
    let required = project.get("project").and_then(|table| table.get("dependencies")).and_then(Value::as_array);
    for requirement in required.into_iter().flatten().filter_map(Value::as_str) {
        if !requirement.contains(['\n', '\r']) {
            // Memory takes all.
            let _ = writeln!(text, "Requires-Dist: {}", requirement.trim());
        }
    }
    text
}

/// `entry_points.txt` (PyPA, "Entry points specification").
fn entry_points(project: &Table, scripts: &[(String, String)]) -> String {
    let mut text = String::new();
    let mut section = |title: &str, rows: &mut dyn Iterator<Item = (&str, &str)>| {
        let plain = |text: &str| !text.contains(['\n', '\r', '[', ']', '=']) && !text.is_empty();
        let rows: String = rows
            .filter(|(name, place)| plain(name) && !place.contains(['\n', '\r']))
            .map(|(name, place)| format!("{name} = {place}\n"))
            .collect();
        if !rows.is_empty() && plain(title) {
            let _ = write!(text, "[{title}]\n{rows}\n");
        }
    };
    section("console_scripts", &mut scripts.iter().map(|(name, place)| (name.as_str(), place.as_str())));
    let groups = project.get("project").and_then(|table| table.get("entry-points")).and_then(Value::as_table);
    let groups = groups.into_iter().flatten().chain(
        project.get("tool").and_then(|tool| tool.get("poetry")?.get("plugins")?.as_table()).into_iter().flatten(),
    );
    for (title, rows) in groups {
        let rows = rows.as_table().into_iter().flatten();
        section(title, &mut rows.filter_map(|(name, place)| Some((name.as_str(), place.as_str()?))));
    }
    text
}

/// The version that a file of the project has, where the build takes it from there: Hatch's `path`, PDM's, or setuptools' `attr` and
/// `file`.
fn dynamic_version(source: &Source<'_>, project: &Table) -> Option<String> {
    let read = |path: &str| source.folder.read(&super::within(path)?, crate::lang::LARGEST).ok().flatten();
    let assigned = |text: String, name: Option<&str>| {
        let is_version =
            |left: &str| name.map_or(matches!(left, "__version__" | "VERSION" | "version"), |name| left == name);
        let found = text.lines().filter_map(assignment).find(|(left, _)| is_version(left))?.1;
        let value = found.split(" #").next().unwrap_or(found);
        literal(value).map(str::to_owned)
    };
    for path in [&["tool", "hatch", "version", "path"][..], &["tool", "pdm", "version", "path"]] {
        if let Some(text) = text_at(project, path).and_then(read) {
            return assigned(text, None);
        }
    }
    let of_setuptools = ["tool", "setuptools", "dynamic", "version"];
    if let Some(text) = text_at(project, &[&of_setuptools[..], &["file"]].concat()).and_then(read) {
        return text.lines().next().map(|line| line.trim().to_owned());
    }
    let (module, name) = text_at(project, &[&of_setuptools[..], &["attr"]].concat())?.rsplit_once('.')?;
    let path = module.replace('.', "/");
    let places =
        ["", "src/"].into_iter().flat_map(|top| [format!("{top}{path}.py"), format!("{top}{path}/__init__.py")]);
    places.filter_map(|path| read(&path)).find_map(|text| assigned(text, Some(name)))
}

/// The program `name` of the project, which runs what is at `place`: `module:object`.
fn script(source: &Source<'_>, name: &str, place: &str) -> Result<GeneratedFile, LanguageError> {
    let is_file = !name.is_empty()
        && !name.starts_with('.')
        && !name.contains("..")
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    // An extra may stand behind it (PyPA, "Entry points specification"), and is for installers.
    let object = place.split('[').next().unwrap_or(place).trim();
    let is_dotted = |text: &str| text.split('.').all(is_name);
    let parts = object.split_once(':').map(|(module, function)| (module.trim(), function.trim()));
    match parts.filter(|(module, function)| is_file && is_dotted(module) && is_dotted(function)) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::testing::Draft;

    fn made(files: &[(&str, &str)]) -> Vec<(String, String)> {
        let project = Draft::new(files);
        let table = files.iter().find(|(path, _)| *path == MANIFEST).expect("a manifest").1.parse().expect("TOML");
        let files = super::files(&project.source(), &table).expect("files");
        files.into_iter().map(|file| (file.path, file.text)).collect()
    }

    #[test]
    fn the_project_is_installed_too() {
        let text = "[project]\nname = 'My.App'\nversion = '1.2'\ndependencies = ['six>=1']\n[project.scripts]\nmyapp = 'myapp.cli:main'\n\
                    [project.entry-points.'my.plugins']\na = 'myapp.a:A'\n";
        let files = made(&[("pyproject.toml", text)]);
        let at = |end: &str| files.iter().find(|(path, _)| path == end).map(|(_, text)| text.as_str());
        let folder = "own-metadata/my_app-1.2.dist-info";
        assert_eq!(
            at(&format!("{folder}/METADATA")),
            Some("Metadata-Version: 2.1\nName: My.App\nVersion: 1.2\nRequires-Dist: six>=1\n")
        );
        assert_eq!(
            at(&format!("{folder}/entry_points.txt")),
            Some("[console_scripts]\nmyapp = myapp.cli:main\n\n[my.plugins]\na = myapp.a:A\n\n")
        );
        assert!(at("site-packages/bin/myapp").is_some());
        assert_eq!(made(&[("pyproject.toml", "[tool.ruff]\n")]), []);
    }

    #[test]
    fn versions_that_files_have() {
        let project = "[project]\nname = 'a'\ndynamic = ['version']\n";
        for (more, files, version) in [
            (
                "[tool.hatch.version]\npath = 'src/a/__about__.py'\n",
                ("src/a/__about__.py", "# x\n__version__ = \"1.1\"  # y\n"),
                "1.1",
            ),
            (
                "[tool.setuptools.dynamic]\nversion = {attr = 'a.__version__'}\n",
                ("a/__init__.py", "__version__ = '2.0'\n"),
                "2.0",
            ),
            ("[tool.setuptools.dynamic]\nversion = {file = 'VERSION'}\n", ("VERSION", "3.0\n"), "3.0"),
            ("[tool.setuptools.dynamic]\nversion = {file = '../VERSION'}\n", ("VERSION", "3.0\n"), "0+unknown"),
            ("[tool.setuptools_scm]\n", ("a.py", ""), "0+unknown"),
            ("[tool.hatch.version]\npath = 'v.py'\n", ("v.py", "__version__ = '1/../..'\n"), "0+unknown"),
        ] {
            let text = format!("{project}{more}");
            let found = made(&[("pyproject.toml", &text), files]);
            assert_eq!(found[0].0, format!("own-metadata/a-{version}.dist-info/METADATA"), "{more}");
        }
    }

    #[test]
    fn programs_of_poetry_count() {
        let table =
            "[tool.poetry.scripts]\na = 'b:c'\nd = {callable = 'e:f'}\ng = {reference = 'x.sh', type = 'file'}\n"
                .parse()
                .expect("TOML");
        let names: Vec<_> = scripts(&table).into_iter().map(|(name, place)| format!("{name}={place}")).collect();
        assert_eq!(names, ["a=b:c", "d=e:f"]);
    }
}
