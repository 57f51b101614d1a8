//! Django's projects: the module that a server takes, and whether static files are collected.

use super::{
    packages::Packages,
    start::{Begin, PORT, Project},
    syntax::{assignment, literal},
};
use crate::lang::{LanguageError, Source};

/// The program of every project.
const MANAGE: &str = "manage.py";

/// Reads `manage.py` at the top or in one folder; how it starts. `None` without one that is Django's.
pub(super) fn begin(project: &Project<'_>) -> Result<Option<Begin>, LanguageError> {
    let Some(folder) = folder(project) else { return Ok(None) };
    let site = Site { project, folder: &folder, settings: settings_module(&project.text(&join(&folder, MANAGE))) };
    let begin = site.begin();
    // `src` is on the search path anyway.
    Ok(Some(if folder.is_empty() || folder == "src" {
        begin
    } else {
        begin.env("PYTHONPATH", &format!("/app/site-packages:/app/{folder}:/app"))
    }))
}

/// The folder of the only `manage.py` that is Django's.
fn folder(project: &Project<'_>) -> Option<String> {
    let paths = project.source.files.paths().filter(|path| {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        name == MANAGE && !folder.contains('/')
    });
    let is_djangos = |path: &&str| project.text(path).contains("DJANGO_SETTINGS_MODULE");
    let mut folders = paths.filter(is_djangos).map(|path| path.rsplit_once('/').map_or("", |(folder, _)| folder));
    let first = folders.next()?;
    (first.is_empty() || folders.next().is_none()).then(|| first.to_owned())
}

fn join(folder: &str, path: &str) -> String {
    if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") }
}

/// The module of settings that `manage.py` names.
fn settings_module(manage: &str) -> Option<String> {
    let (_, rest) = manage.split_once("DJANGO_SETTINGS_MODULE")?;
    let rest = rest.trim_start_matches(['"', '\'']).trim_start().trim_start_matches([',', ']', '=', ' ']).trim_start();
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let name = rest[1..].split(quote).next()?;
    let is_module = name.split('.').all(super::syntax::is_name);
    is_module.then(|| name.to_owned())
}

struct Site<'a> {
    project: &'a Project<'a>,
    /// The folder of `manage.py`.
    folder: &'a str,
    /// The module of settings.
    settings: Option<String>,
}

impl Site<'_> {
    fn begin(&self) -> Begin {
        let packages = self.project.packages;
        let wsgi = self.application("WSGI_APPLICATION", "wsgi");
        let asgi = self.application("ASGI_APPLICATION", "asgi");
        let is_async = packages.has("channels") || packages.has("daphne");
        let by_wsgi = wsgi.as_deref().and_then(|target| self.project.wsgi(target, false, PORT));
        let by_asgi = asgi.as_deref().and_then(|target| self.project.asgi(target, false, PORT));
        let (first, second) = if is_async { (by_asgi, by_wsgi) } else { (by_wsgi, by_asgi) };
        first.or(second).unwrap_or_else(|| {
            let what = wsgi.map_or_else(String::new, |target| format!(", and the image runs `gunicorn {target}`"));
            let list = self.project.list_of_packages();
            let manage = join(self.folder, MANAGE);
            let address = format!("0.0.0.0:{PORT}");
            Begin::command(&["python3", &manage, "runserver", &address, "--noreload"])
                .warn(format!("{manage} is served by Django's development server: add gunicorn to {list}{what}"))
        })
    }

    /// The app object: what the settings call so, or else the module `name` beside the settings or above them.
    fn application(&self, key: &str, name: &str) -> Option<String> {
        let module = self.settings.as_deref()?;
        let said = settings_files(self.project, self.folder, module).iter().find_map(|path| {
            let text = self.project.text(path);
            let value = text.lines().filter_map(assignment).find(|(left, _)| *left == key)?.1;
            let (module, object) = literal(value)?.rsplit_once('.')?;
            Some((module.to_owned(), object.to_owned()))
        });
        let is_there = |module: &str| self.project.has(&join(self.folder, &format!("{}.py", module.replace('.', "/"))));
        if let Some((module, object)) = said.filter(|(module, _)| is_there(module)) {
            return Some(format!("{module}:{object}"));
        }
        let parts: Vec<&str> = module.split('.').collect();
        let above =
            (0..=parts.len()).rev().map(|len| parts[..len].iter().copied().chain([name]).collect::<Vec<_>>().join("."));
        above.into_iter().find(|module| is_there(module)).map(|module| format!("{module}:application"))
    }
}

/// The files of a module of settings: it and those beside it, where it is one of several.
fn settings_files(project: &Project<'_>, folder: &str, module: &str) -> Vec<String> {
    let base = join(folder, &module.replace('.', "/"));
    let mut files = vec![format!("{base}.py")];
    let package = if project.has(&format!("{base}/__init__.py")) {
        base.as_str()
    } else {
        base.rsplit_once('/').map_or("", |(above, _)| above)
    };
    // `config/settings/production.py` imports from `base.py` beside it; `shop/settings.py` has other files beside it.
    if package.ends_with("settings") || package == base {
        let below = format!("{package}/");
        let beside =
            project.source.files.paths().filter(|path| {
                path.strip_prefix(&below).is_some_and(|name| name.ends_with(".py") && !name.contains('/'))
            });
        files.extend(beside.map(str::to_owned));
    }
    files.retain(|path| project.has(path));
    files
}

/// Whether `collectstatic` has a folder to write to.
pub(super) fn collects(source: &Source<'_>, packages: &Packages) -> bool {
    let manifest = toml::Table::new();
    let project = Project { source, manifest: &manifest, packages };
    // The step runs where `manage.py` is at the top.
    if folder(&project).as_deref() != Some("") || !packages.has("django") {
        return false;
    }
    let Some(module) = settings_module(&project.text(MANAGE)) else { return false };
    settings_files(&project, "", &module).iter().any(|path| {
        let text = project.text(path);
        text.lines().any(|line| line.trim_start().starts_with("STATIC_ROOT"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manage_py_names_the_settings() {
        for (text, expected) in [
            ("os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')", Some("shop.settings")),
            (
                "os.environ.setdefault(\"DJANGO_SETTINGS_MODULE\", \"config.settings.local\")",
                Some("config.settings.local"),
            ),
            ("os.environ.setdefault(\n    \"DJANGO_SETTINGS_MODULE\",\n    \"shop.settings\")", Some("shop.settings")),
            ("os.environ['DJANGO_SETTINGS_MODULE'] = 'a.b'", Some("a.b")),
            ("os.environ.setdefault('DJANGO_SETTINGS_MODULE', name)", None),
            ("os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'a b')", None),
            ("print()", None),
        ] {
            assert_eq!(settings_module(text).as_deref(), expected, "{text}");
        }
    }
}
