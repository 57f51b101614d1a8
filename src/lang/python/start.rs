//! How an app in Python starts: the server of its framework, or the file that is run.

use std::collections::BTreeMap;

use toml::Table;

use super::{
    django, metadata,
    packages::Packages,
    reader::{App, Framework, Host, Interface, Module, Serving},
    syntax::is_name,
};
use crate::{
    lang::{LARGEST, LanguageError, Source, Start, some},
    listing::FileKind,
};

/// The port of servers that microbuild starts, where the app names none.
pub(super) const PORT: u16 = 8000;

/// The names of files that usually start an app, or have its app object.
const NAMES: [&str; 13] = [
    "main",
    "app",
    "server",
    "application",
    "api",
    "run",
    "web",
    "wsgi",
    "asgi",
    "index",
    "service",
    "__main__",
    "__init__",
];

/// Files that start an app that is no web app, in their order.
const SCRIPTS: [&str; 9] = [
    "main.py",
    "app.py",
    "server.py",
    "run.py",
    "__main__.py",
    "src/main.py",
    "src/app.py",
    "src/server.py",
    "src/__main__.py",
];

/// Files at the top that start no app.
const NO_SCRIPTS: [&str; 12] = [
    "setup.py",
    "conftest.py",
    "noxfile.py",
    "fabfile.py",
    "tasks.py",
    "dodo.py",
    "manage.py",
    "wsgi.py",
    "asgi.py",
    "locustfile.py",
    "gunicorn.conf.py",
    "settings.py",
];

/// Files beside which a single file at the top is no app.
const NOT_BESIDE: [&str; 4] = ["manage.py", "wsgi.py", "asgi.py", "locustfile.py"];

/// Folders that have no app.
const NO_PACKAGES: [&str; 12] = [
    "tests",
    "test",
    "docs",
    "doc",
    "examples",
    "scripts",
    "migrations",
    "alembic",
    "site-packages",
    "node_modules",
    "static",
    "templates",
];

/// How an app starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Begin {
    /// The file that `python3` runs.
    pub(super) start: Option<Start>,
    /// Or the whole command.
    pub(super) command: Option<Vec<String>>,
    /// Variables of the server.
    pub(super) env: BTreeMap<String, String>,
    pub(super) warnings: Vec<String>,
}

impl Begin {
    pub(super) fn command(words: &[&str]) -> Self {
        Self { command: Some(words.iter().map(|word| (*word).to_owned()).collect()), ..Self::default() }
    }

    pub(super) fn script(path: &str) -> Self {
        Self { start: Some(Start { entry: path.to_owned(), ..Start::default() }), ..Self::default() }
    }

    pub(super) fn env(mut self, name: &str, value: &(impl ToString + ?Sized)) -> Self {
        self.env.insert(name.to_owned(), value.to_string());
        self
    }

    pub(super) fn warn(mut self, warning: String) -> Self {
        self.warnings.push(warning);
        self
    }
}

/// The app that starts.
pub(super) struct Project<'a> {
    pub(super) source: &'a Source<'a>,
    /// `pyproject.toml`.
    pub(super) manifest: &'a Table,
    pub(super) packages: &'a Packages,
}

/// A file of the project.
struct File {
    path: String,
    module: Module,
}

/// An app object in a file.
struct Found<'f> {
    file: &'f File,
    app: &'f App,
    framework: Framework,
}

impl Project<'_> {
    /// Finds how the app starts: Django's project; else the first app object in the usual files, with the server that is
    /// installed; else the file that is run.
    ///
    /// # Errors
    /// When there is an app object and no server for it, or nothing that starts.
    pub(super) fn begin(&self) -> Result<Begin, LanguageError> {
        if let Some(begin) = django::begin(self)? {
            return Ok(begin);
        }
        let files = self.files();
        if let Some(begin) = files.iter().find_map(|file| self.of_tool(file)) {
            return Ok(begin);
        }
        let object = files.iter().find_map(|file| self.found(file, false));
        match object.or_else(|| files.iter().find_map(|file| self.found(file, true))) {
            Some(found) => self.served(&found),
            None => self.program(&files),
        }
    }

    /// Whether the file is in the image.
    pub(super) fn has(&self, path: &str) -> bool {
        matches!(self.source.files.follow(path), Some(FileKind::File { .. }))
    }

    /// The text of a file of the image; empty where it cannot be read.
    pub(super) fn text(&self, path: &str) -> String {
        if !self.has(path) {
            return String::new();
        }
        self.source.folder.read(path, LARGEST).ok().flatten().unwrap_or_default()
    }

    /// The files that may start the app or have its app object: those at the top first, the usual names first.
    fn files(&self) -> Vec<File> {
        /// More files than this are not read.
        const MOST: usize = 400;
        let rank = |path: &str| {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let name = name.trim_end_matches(".py");
            let known = NAMES.iter().position(|known| *known == name).unwrap_or(NAMES.len());
            (folder.split('/').filter(|part| !part.is_empty() && *part != "src").count(), known, path.to_owned())
        };
        let counts = |path: &&str| {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let depth = folder.split('/').filter(|part| !part.is_empty() && *part != "src").count();
            let usual = NAMES.contains(&name.trim_end_matches(".py"));
            let is_test = name.starts_with("test_") || name.ends_with("_test.py");
            path.ends_with(".py")
                && depth <= 2
                && (folder.is_empty() || usual)
                && !is_test
                && (!NO_SCRIPTS.contains(&name) || NOT_BESIDE.contains(&name))
                && !folder.split('/').any(|part| NO_PACKAGES.contains(&part) || part.starts_with('.'))
        };
        let mut paths: Vec<&str> = self.source.files.paths().filter(counts).filter(|path| self.has(path)).collect();
        paths.sort_by_key(|path| rank(path));
        paths.truncate(MOST);
        paths.into_iter().map(|path| File { path: path.to_owned(), module: Module::parse(&self.text(path)) }).collect()
    }

    /// The app object of a file, or the function that makes one.
    fn found<'f>(&self, file: &'f File, factory: bool) -> Option<Found<'f>> {
        let is_web = |framework: &Framework| framework.name != "Celery" || factory;
        let of = |app: &'f App| {
            let framework = self.framework(&file.path, app, 4).filter(is_web)?;
            Some(Found { file, app, framework })
        };
        let serves = |found: &Found<'_>| found.app.factory == factory || (factory && found.framework.name == "Celery");
        let mut all: Vec<Found<'f>> = file.module.apps.iter().filter_map(of).filter(serves).collect();
        // Where there are several, such as Dash and its Flask, the usual name is meant.
        all.sort_by_key(|found| {
            let wraps = found.framework.name == "Dash" && self.packages.has("gunicorn");
            (wraps, !matches!(found.app.name.as_str(), "app" | "application" | "create_app"))
        });
        all.into_iter().next()
    }

    /// The framework of an app object in the file at `path`, which may come from another file of the project.
    fn framework(&self, path: &str, app: &App, depth: usize) -> Option<Framework> {
        if app.framework.is_some() {
            return app.framework;
        }
        let (module, name) = app.from.as_ref()?;
        let other = depth.checked_sub(1).and_then(|depth| Some((depth, self.file_of(path, module)?)));
        let (depth, other) = other?;
        let read = Module::parse(&self.text(&other));
        match read.apps.iter().find(|known| known.name == *name) {
            Some(known) => self.framework(&other, known, depth),
            None => read.apps.iter().find_map(|known| known.framework),
        }
    }

    /// The file of `module`, as the file at `path` imports it.
    fn file_of(&self, path: &str, module: &str) -> Option<String> {
        let dots = module.len() - module.trim_start_matches('.').len();
        let below = module.trim_start_matches('.').trim_end_matches('.').replace('.', "/");
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut places = vec![folder.to_owned(), String::new(), "src".to_owned()];
        if dots > 0 {
            let parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
            places = vec![parts.get(..parts.len().checked_sub(dots - 1)?)?.join("/")];
        }
        let names = places.iter().flat_map(|place| {
            let base = [place.as_str(), below.as_str()]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("/");
            [format!("{base}.py"), format!("{base}/__init__.py")]
        });
        names.into_iter().find(|name| name != path && self.has(name))
    }

    /// A file that a tool of its framework runs.
    fn of_tool(&self, file: &File) -> Option<Begin> {
        let File { path, module } = file;
        let uses = |name: &str| self.packages.has(name) && module.imports(&name.replace('-', "_"));
        if uses("streamlit") && module.serving.is_empty() && !path.ends_with("__init__.py") {
            let begin = Begin::command(&["streamlit", "run", path]);
            return Some(
                begin
                    .env("STREAMLIT_SERVER_ADDRESS", "0.0.0.0")
                    .env("STREAMLIT_SERVER_PORT", "8501")
                    .env("STREAMLIT_SERVER_HEADLESS", "true")
                    .env("STREAMLIT_BROWSER_GATHER_USAGE_STATS", "false"),
            );
        }
        if uses("chainlit") && module.serving.is_empty() && !path.contains('/') {
            return Some(
                Begin::command(&["chainlit", "run", path, "--headless"])
                    .env("CHAINLIT_HOST", "0.0.0.0")
                    .env("CHAINLIT_PORT", &PORT),
            );
        }
        let launches = module.runs() && module.serving.iter().any(|serving| serving.call.ends_with(".launch"));
        (uses("gradio") && launches)
            .then(|| Begin::script(path).env("GRADIO_SERVER_NAME", "0.0.0.0").env("GRADIO_ANALYTICS_ENABLED", "False"))
    }

    /// How an app object is served.
    fn served(&self, found: &Found<'_>) -> Result<Begin, LanguageError> {
        let Found { file, framework, .. } = found;
        let serving = file.module.serving.first();
        let starts = file.module.runs() && !file.module.relative && !file.path.ends_with("__init__.py");
        let own = serving.filter(|_| starts);
        let port = serving.and_then(|serving| serving.port).unwrap_or(PORT);
        let (target, folder) = self.target(found);
        let server = match framework.interface {
            Interface::Own => return Ok(self.own_server(found, own, &target)),
            Interface::Asgi => {
                if let Some(serving) = own.filter(|serving| serving.host != Host::Loopback) {
                    return Ok(Begin::script(&file.path).warn_of(&file.path, serving));
                }
                self.asgi(&target, found.app.factory, port)
            }
            Interface::Wsgi => {
                // A server's own function, in contrast to the framework's `run`.
                let is_server = |serving: &&Serving| !serving.call.ends_with("run");
                if own.filter(is_server).is_some() {
                    return Ok(Begin::script(&file.path));
                }
                let at_import = own.is_some_and(|serving| serving.at_import);
                self.wsgi(&target, found.app.factory, port).filter(|_| !at_import)
            }
        };
        let begin = match (server, own) {
            (Some(server), _) => server,
            (None, Some(serving)) if !self.is_development(found, serving) => {
                Begin::script(&file.path).warn_of(&file.path, serving)
            }
            (None, _) if framework.name == "Flask" || framework.name == "APIFlask" => self.flask(found, &target, port),
            (None, _) if !self.packages.is_known => {
                let warning = format!(
                    "{} defines the {} app `{}`, and nothing serves it",
                    file.path, framework.name, found.app.name
                );
                return Ok(Begin::script(&file.path).warn(warning));
            }
            (None, _) => return Err(self.no_server(found, &target)),
        };
        Ok(match folder {
            Some(folder) => begin.env("PYTHONPATH", &format!("/app/site-packages:/app/src:/app/{folder}:/app")),
            None => begin,
        })
    }

    /// Whether Flask's `run` would listen on the wrong address, and `flask run` does the same on the right one.
    fn is_development(&self, found: &Found<'_>, serving: &Serving) -> bool {
        let is_flask = found.framework.name == "Flask" && self.packages.has("flask");
        is_flask && serving.host == Host::Loopback && !serving.at_import && found.file.module.more_in_main == 0
    }

    /// Flask's own server.
    fn flask(&self, found: &Found<'_>, target: &str, port: u16) -> Begin {
        let warning = format!(
            "{} is served by Flask's development server: add gunicorn to {}, and the image runs `gunicorn {target}`",
            found.file.path,
            self.list_of_packages()
        );
        let begin = Begin::command(&["flask", "run"]).env("FLASK_APP", target.trim_end_matches("()"));
        begin.env("FLASK_RUN_HOST", "0.0.0.0").env("FLASK_RUN_PORT", &port).warn(warning)
    }

    /// A framework with a server of its own.
    fn own_server(&self, found: &Found<'_>, own: Option<&Serving>, target: &str) -> Begin {
        let path = &found.file.path;
        match (found.framework.name, own) {
            ("Dash", _) => Begin::script(path).env("HOST", "0.0.0.0"),
            ("Sanic", own)
                if own.is_none_or(|serving| serving.host == Host::Loopback) && self.packages.has("sanic") =>
            {
                let port = found.file.module.serving.first().and_then(|serving| serving.port).unwrap_or(PORT);
                Begin::command(&["sanic", target, "--host=0.0.0.0", &format!("--port={port}")])
            }
            ("Celery", _) if !found.file.module.runs() => {
                let module = target.split(':').next().unwrap_or(target);
                Begin::command(&["celery", "-A", module, "worker", "--loglevel=INFO"])
            }
            (_, Some(serving)) => Begin::script(path).warn_of(path, serving),
            (_, None) if found.file.module.runs() => Begin::script(path),
            (name, None) => Begin::script(path).warn(format!(
                "{path} defines the {name} app `{}` and does not start it: write `web.run_app({})` at its end",
                found.app.name, found.app.name
            )),
        }
    }

    /// The command of the ASGI server that is installed.
    pub(super) fn asgi(&self, target: &str, factory: bool, port: u16) -> Option<Begin> {
        let bind = format!("0.0.0.0:{port}");
        let factory: &[&str] = if factory { &["--factory"] } else { &[] };
        let words = |words: &[&str]| Begin::command(&[words, factory].concat());
        let target = target.trim_end_matches("()");
        if self.packages.has("uvicorn") {
            Some(words(&["uvicorn", target]).env("UVICORN_HOST", "0.0.0.0").env("UVICORN_PORT", &port))
        } else if self.packages.has("hypercorn") {
            let target = if factory.is_empty() { target.to_owned() } else { format!("{target}()") };
            Some(Begin::command(&["hypercorn", "--bind", &bind, &target]))
        } else if self.packages.has("granian") {
            let begin = words(&["granian", "--interface", "asgi", target]);
            Some(begin.env("GRANIAN_HOST", "0.0.0.0").env("GRANIAN_PORT", &port))
        } else if self.packages.has("daphne") && factory.is_empty() {
            Some(Begin::command(&["daphne", "-b", "0.0.0.0", "-p", &port.to_string(), target]))
        } else {
            None
        }
    }

    /// The command of the WSGI server that is installed.
    pub(super) fn wsgi(&self, target: &str, factory: bool, port: u16) -> Option<Begin> {
        let plain = target.trim_end_matches("()");
        if self.packages.has("gunicorn") {
            // It takes the port from PORT, and then listens on every address.
            Some(Begin::command(&["gunicorn", target]).env("PORT", &port))
        } else if self.packages.has("waitress") {
            let port = format!("--port={port}");
            let call: &[&str] = if factory { &["--call"] } else { &[] };
            Some(Begin::command(&[&["waitress-serve", "--host=0.0.0.0", &port], call, &[plain]].concat()))
        } else if self.packages.has("uwsgi") || self.packages.has("pyuwsgi") {
            let address = format!("0.0.0.0:{port}");
            Some(Begin::command(&["uwsgi", "--http", &address, "--master", "--die-on-term", "--module", target]))
        } else if self.packages.has("granian") {
            let call: &[&str] = if factory { &["--factory"] } else { &[] };
            let begin = Begin::command(&[&["granian", "--interface", "wsgi", plain], call].concat());
            Some(begin.env("GRANIAN_HOST", "0.0.0.0").env("GRANIAN_PORT", &port))
        } else {
            None
        }
    }

    fn no_server(&self, found: &Found<'_>, target: &str) -> LanguageError {
        let Found { file, app, framework } = found;
        let server = if framework.interface == Interface::Asgi { "uvicorn" } else { "gunicorn" };
        LanguageError::Unusable {
            message: format!(
                "{} defines the {} app `{}`, and no server for it is installed",
                self.source.place(&file.path).display(),
                framework.name,
                app.name
            ),
            hint: Some(format!(
                "add {server} to {}: the image then runs `{server} {}`; or set the command with --cmd",
                self.list_of_packages(),
                target.trim_end_matches("()")
            )),
        }
    }

    /// The file in which the user adds a package.
    pub(super) fn list_of_packages(&self) -> &'static str {
        let has = |name: &&str| self.source.folder.is_file(name);
        ["requirements.txt", "Pipfile", "pyproject.toml"].into_iter().find(has).unwrap_or("requirements.txt")
    }

    /// The object as servers take it, `module:object`; and the folder that imports are relative to, when that is none of the usual ones.
    fn target(&self, found: &Found<'_>) -> (String, Option<String>) {
        let (module, folder) = self.module(found.file);
        let call = if found.app.factory { "()" } else { "" };
        (format!("{module}:{}{call}", found.app.name), folder)
    }

    /// The name by which a file is imported, and the folder that it needs on the search path.
    fn module(&self, file: &File) -> (String, Option<String>) {
        let path = file.path.trim_end_matches(".py").trim_end_matches("/__init__");
        let is_package = self.has("src/__init__.py") || (file.module.relative && path.matches('/').count() == 1);
        let path = path.strip_prefix("src/").filter(|_| !is_package).unwrap_or(path);
        let Some((folder, name)) = path.split_once('/') else { return (path.to_owned(), None) };
        let is_there = |place: &str, name: &str| {
            let prefix = if place.is_empty() { String::new() } else { format!("{place}/") };
            self.has(&format!("{prefix}{name}.py")) || self.has(&format!("{prefix}{name}/__init__.py"))
        };
        // Modules beside it, imported as if its folder were the top.
        let beside = |name: &String| {
            let first = name.split('.').next().unwrap_or(name);
            is_there(folder, first) && !is_there("", first) && !is_there("src", first) && first != folder
        };
        let is_plain = folder.split('/').all(is_name);
        if !is_plain || (!file.module.relative && file.module.imports.iter().any(beside)) {
            return (name.replace('/', "."), Some(folder.to_owned()));
        }
        (path.replace('/', "."), None)
    }

    /// How an app starts that has no app object.
    fn program(&self, files: &[File]) -> Result<Begin, LanguageError> {
        let read = |path: &str| files.iter().find(|file| file.path == path);
        let runs = |path: &&&str| read(path).is_some_and(|file| file.module.runs());
        if let Some(path) = SCRIPTS.iter().find(runs) {
            return Ok(self.script(path, read(path)));
        }
        let scripts = metadata::scripts(self.manifest);
        let own = self.manifest.get("project").and_then(|project| project.get("name")).and_then(toml::Value::as_str);
        let named = scripts.iter().find(|(name, _)| Some(name.as_str()) == own);
        if let Some((name, _)) = named.or(scripts.first().filter(|_| scripts.len() == 1)) {
            return Ok(Begin::command(&[name]));
        }
        let packages: Vec<(String, Option<String>)> = files
            .iter()
            .filter(|file| file.path.ends_with("/__main__.py"))
            .map(|file| {
                let (module, folder) = self.module(file);
                (module.trim_end_matches(".__main__").to_owned(), folder)
            })
            .collect();
        if let [(package, None)] = &packages[..] {
            return Ok(Begin::command(&["python3", "-m", package]));
        }
        if let Some(only) = self.only_file() {
            let file = read(&only);
            return Ok(self.script(&only, file));
        }
        if let Some(path) = SCRIPTS.iter().find(|path| self.has(path)) {
            return Ok(self.script(path, read(path)));
        }
        Err(self.nothing(&scripts, &packages))
    }

    /// The command that runs a file, with a warning where nothing comes of that.
    fn script(&self, path: &str, file: Option<&File>) -> Begin {
        let begin = Begin::script(path);
        let Some(module) = file.map(|file| &file.module) else { return begin };
        if !module.runs() && !self.text(path).trim().is_empty() {
            return begin.warn(format!("{path} only defines things: it does nothing when it is run"));
        }
        match module.serving.first() {
            Some(serving) => begin.warn_of(path, serving),
            None => begin,
        }
    }

    /// The only file of Python at the top, or else in `src`, that may be the app.
    fn only_file(&self) -> Option<String> {
        if NOT_BESIDE.iter().any(|name| self.has(name)) {
            return None;
        }
        let is_source = |name: &str| {
            let is_test = name.starts_with("test_") || name.ends_with("_test.py") || name == "tests.py";
            name.ends_with(".py")
                && !name.contains('/')
                && !is_test
                && !NO_SCRIPTS.contains(&name)
                && name != "__init__.py"
        };
        let only = |found: Vec<&str>| if let [only] = found[..] { Some(only.to_owned()) } else { None };
        let paths = || self.source.files.paths().filter(|path| self.has(path));
        let top: Vec<&str> = paths().filter(|path| is_source(path)).collect();
        if top.is_empty() {
            return only(paths().filter(|path| path.strip_prefix("src/").is_some_and(is_source)).collect());
        }
        only(top)
    }

    fn nothing(&self, scripts: &[(String, String)], packages: &[(String, Option<String>)]) -> LanguageError {
        let names: Vec<String> = scripts.iter().map(|(name, _)| name.clone()).collect();
        let mut looked = vec!["main.py, app.py, server.py, run.py, also in src".to_owned()];
        let hint = if names.is_empty() {
            "name the file that starts main.py, or set the command: --cmd 'python3 tool.py'".to_owned()
        } else {
            looked.push(format!("[project.scripts], which has several: {}", some(&names)));
            format!("choose one: --cmd {}", names.first().map_or("", String::as_str))
        };
        let packages: Vec<String> = packages.iter().map(|(package, _)| format!("{package}/__main__.py")).collect();
        if packages.is_empty() {
            looked.push("PACKAGE/__main__.py, a single file, an app object of a web framework".to_owned());
        } else {
            looked.push(some(&packages));
        }
        LanguageError::NoEntry { looked, hint }
    }
}

impl Begin {
    /// Warns of a server that only the container itself reaches.
    fn warn_of(self, path: &str, serving: &Serving) -> Self {
        if serving.host != Host::Loopback {
            return self;
        }
        let call = &serving.call;
        self.warn(format!(
            "{path} serves on 127.0.0.1, which only the container itself reaches: give {call} the argument host=\"0.0.0.0\""
        ))
    }
}

#[cfg(test)]
#[path = "start_tests.rs"]
mod tests;
