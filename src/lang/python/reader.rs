//! A reader of Python's source, line by line: app objects, servers that the file starts, and whether it does anything when it is
//! run. It knows no more of the language than that, runs nothing, and takes any text.

use std::collections::{BTreeMap, BTreeSet};

use super::syntax::{Line, arguments, assignment, callee, is_dotted, is_name, lines, literal};

/// The interface between an app object and its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interface {
    /// PEP 3333.
    Wsgi,
    /// <https://asgi.readthedocs.io>.
    Asgi,
    /// The framework has a server of its own.
    Own,
}

/// A framework whose app objects are known by the call that makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Framework {
    /// Its name for messages.
    pub(super) name: &'static str,
    /// The module that its objects come from.
    module: &'static str,
    /// The functions and classes that make an app object.
    makers: &'static [&'static str],
    /// How a server runs the object.
    pub(super) interface: Interface,
}

/// The frameworks.
const FRAMEWORKS: &[Framework] = &[
    framework("Flask", "flask", &["Flask"], Interface::Wsgi),
    framework("APIFlask", "apiflask", &["APIFlask"], Interface::Wsgi),
    framework("Flask", "flask_openapi3", &["OpenAPI"], Interface::Wsgi),
    framework("Bottle", "bottle", &["Bottle", "default_app", "app"], Interface::Wsgi),
    framework("Falcon", "falcon.asgi", &["App"], Interface::Asgi),
    framework("Falcon", "falcon", &["App", "API"], Interface::Wsgi),
    framework("Django", "django.core.wsgi", &["get_wsgi_application"], Interface::Wsgi),
    framework("Django", "django.core.asgi", &["get_asgi_application"], Interface::Asgi),
    framework("Channels", "channels.routing", &["ProtocolTypeRouter"], Interface::Asgi),
    framework("FastAPI", "fastapi", &["FastAPI"], Interface::Asgi),
    framework("Starlette", "starlette", &["Starlette"], Interface::Asgi),
    framework("Litestar", "litestar", &["Litestar"], Interface::Asgi),
    framework("BlackSheep", "blacksheep", &["Application"], Interface::Asgi),
    framework("Quart", "quart", &["Quart"], Interface::Asgi),
    framework("FastHTML", "fasthtml", &["FastHTML", "fast_app"], Interface::Asgi),
    framework("Responder", "responder", &["API"], Interface::Asgi),
    framework("Socket.IO", "socketio", &["ASGIApp"], Interface::Asgi),
    framework("Socket.IO", "socketio", &["WSGIApp"], Interface::Wsgi),
    framework("Pyramid", "pyramid", &["make_wsgi_app"], Interface::Wsgi),
    framework("Sanic", "sanic", &["Sanic"], Interface::Own),
    framework("aiohttp", "aiohttp", &["Application"], Interface::Own),
    framework("Dash", "dash", &["Dash"], Interface::Own),
    framework("Celery", "celery", &["Celery"], Interface::Own),
];

const fn framework(
    name: &'static str,
    module: &'static str,
    makers: &'static [&'static str],
    interface: Interface,
) -> Framework {
    Framework { name, module, makers, interface }
}

/// An app object, or a function that makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct App {
    /// Its name in the module.
    pub(super) name: String,
    /// Its framework, when the module itself tells.
    pub(super) framework: Option<Framework>,
    /// The module and the name that it is imported from, or that make it: relative ones begin with `.`.
    pub(super) from: Option<(String, String)>,
    /// Whether it is a function to be called without arguments.
    pub(super) factory: bool,
}

/// The address in a call that starts a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host {
    /// Every address of the machine.
    Open,
    /// The machine itself only.
    Loopback,
    /// An expression, whose value only the program knows.
    Unknown,
}

/// A call that starts a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Serving {
    /// The called function, as it is written: `uvicorn.run`.
    pub(super) call: String,
    /// The address.
    pub(super) host: Host,
    /// The port, when it is a number.
    pub(super) port: Option<u16>,
    /// Whether it runs when the module is imported, and not only when it is the program.
    pub(super) at_import: bool,
}

/// A module, as far as it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Module {
    /// App objects and functions that make them; objects first.
    pub(super) apps: Vec<App>,
    /// The calls that start a server.
    pub(super) serving: Vec<Serving>,
    /// Whether it has `if __name__ == "__main__"`.
    pub(super) has_main: bool,
    /// The number of statements below that, as far as they are no server's start.
    pub(super) more_in_main: usize,
    /// Whether it does something at its top: a call, a loop.
    pub(super) acts: bool,
    /// The modules that it imports, by their full names.
    pub(super) imports: BTreeSet<String>,
    /// Whether it imports from its own package (`from .x import y`).
    pub(super) relative: bool,
}

/// The place of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Top,
    /// Below `if __name__ == "__main__"`.
    Main,
    /// In a function or a class.
    Inside,
}

impl Module {
    /// Reads a module's text.
    pub(super) fn parse(text: &str) -> Self {
        let mut reader = Reader::default();
        for line in lines(text) {
            reader.line(&line);
        }
        reader.finish()
    }

    /// Whether it imports `module` or something below it.
    pub(super) fn imports(&self, module: &str) -> bool {
        self.imports.iter().any(|name| is_below(name, module))
    }

    /// Whether it does something when it is run as a program.
    pub(super) fn runs(&self) -> bool {
        self.has_main || self.acts
    }
}

fn is_below(name: &str, module: &str) -> bool {
    name.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[derive(Default)]
struct Reader {
    module: Module,
    /// Local names, and what they mean: `Flask` is `flask.Flask`.
    names: BTreeMap<String, String>,
    /// Modules of which all names are imported.
    stars: Vec<String>,
    /// Blocks around the current line: their indentation, and what they are.
    blocks: Vec<(usize, Scope)>,
    /// The function at the top that is being read, when it may make an app.
    factory: Option<App>,
    factories: Vec<App>,
}

impl Reader {
    fn line(&mut self, line: &Line) {
        while self.blocks.last().is_some_and(|(indent, _)| line.indent <= *indent) {
            self.blocks.pop();
        }
        let scope = self.blocks.iter().map(|(_, scope)| *scope).find(|scope| *scope != Scope::Top);
        let scope = scope.unwrap_or(Scope::Top);
        let text = line.text.as_str();
        if line.indent == 0 {
            self.factories.extend(self.factory.take().filter(|app| app.framework.is_some() || app.from.is_some()));
        }
        match self.block(text, line.indent, scope) {
            Some(block) => {
                self.blocks.push((line.indent, block));
                // `if __name__ == "__main__": main()`.
                let rest = text.split_once("__main__").and_then(|(_, rest)| rest.split_once(':'));
                if let (Scope::Main, Some((_, rest))) = (block, rest) {
                    self.statement(rest.trim(), Scope::Main);
                }
            }
            None => self.statement(text, scope),
        }
    }

    /// Takes note of a statement that is no block.
    fn statement(&mut self, text: &str, scope: Scope) {
        self.import(text, scope);
        let serving = self.serving(text, scope);
        let bound = assignment(text);
        match scope {
            Scope::Top => {
                if let Some((name, value)) = bound {
                    self.bind(name, value);
                } else if is_action(text) || serving.is_some() {
                    self.module.acts = true;
                }
            }
            Scope::Main if serving.is_none() && bound.is_none() && is_action(text) => self.module.more_in_main += 1,
            Scope::Main => {}
            Scope::Inside => {
                // What a function makes, or hands on, is what it returns in all that is seen.
                let value = bound.map(|(_, value)| value).or_else(|| text.strip_prefix("return "));
                let made = value.and_then(|value| self.framework(value));
                if let (Some(factory), Some(framework)) = (&mut self.factory, made) {
                    factory.framework.get_or_insert(framework);
                }
            }
        }
        self.module.serving.extend(serving);
    }

    /// Takes note of a line that begins a block; what the block is.
    fn block(&mut self, text: &str, indent: usize, scope: Scope) -> Option<Scope> {
        let word = text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        let text = if word == "async" { text["async".len()..].trim_start() } else { text };
        match word {
            "def" | "class" | "async" if text.starts_with("def ") || text.starts_with("class ") => {
                if let (0, Some(name)) = (indent, factory_name(text)) {
                    self.factory = Some(App { name: name.to_owned(), framework: None, from: None, factory: true });
                }
                Some(Scope::Inside)
            }
            "if" if scope == Scope::Top && text.contains("__name__") && text.contains("__main__") => {
                self.module.has_main = true;
                Some(Scope::Main)
            }
            "for" | "while" | "with" | "match" if scope == Scope::Top => {
                self.module.acts = true;
                Some(Scope::Top)
            }
            "if" | "elif" | "else" | "try" | "except" | "finally" | "for" | "while" | "with" | "match" | "case"
                if text.ends_with(':') =>
            {
                Some(scope)
            }
            _ => None,
        }
    }

    fn import(&mut self, text: &str, scope: Scope) {
        if let Some(rest) = text.strip_prefix("import ") {
            for part in rest.split(',').map(str::trim) {
                let (name, alias) = part.split_once(" as ").map_or((part, None), |(name, alias)| (name, Some(alias)));
                let name = name.trim();
                if !is_dotted(name) {
                    continue;
                }
                self.module.imports.insert(name.to_owned());
                match alias.map(str::trim) {
                    Some(alias) => drop(self.names.insert(alias.to_owned(), name.to_owned())),
                    None => {
                        let first = name.split('.').next().unwrap_or(name);
                        self.names.insert(first.to_owned(), first.to_owned());
                    }
                }
            }
        } else if let Some(rest) = text.strip_prefix("from ")
            && let Some((from, names)) = rest.split_once(" import ")
        {
            let from = from.trim();
            if from.starts_with('.') {
                self.module.relative = true;
            } else if is_dotted(from) {
                self.module.imports.insert(from.to_owned());
            } else {
                return;
            }
            for part in names.trim_matches(|c: char| c == '(' || c == ')' || c.is_whitespace()).split(',') {
                let part = part.trim();
                if part == "*" {
                    self.stars.push(from.to_owned());
                    continue;
                }
                let (name, alias) = part.split_once(" as ").map_or((part, part), |(a, b)| (a.trim(), b.trim()));
                if !is_name(name) || !is_name(alias) {
                    continue;
                }
                let separator = if from.ends_with('.') { "" } else { "." };
                self.names.insert(alias.to_owned(), format!("{from}{separator}{name}"));
                if !from.starts_with('.') {
                    self.module.imports.insert(format!("{from}.{name}"));
                }
                if scope == Scope::Top && is_app_name(alias) && !is_third_party(from) {
                    self.add(App {
                        name: alias.to_owned(),
                        framework: None,
                        from: Some((from.to_owned(), name.to_owned())),
                        factory: is_factory_name(name),
                    });
                }
            }
        }
    }

    /// Takes note of `name = value` at the top.
    fn bind(&mut self, name: &str, value: &str) {
        let called = callee(value);
        let framework = self.framework(value);
        if let Some(framework) = framework {
            // `app, rt = fast_app()`.
            let name = name.split(',').next().unwrap_or(name).trim();
            self.add(App { name: name.to_owned(), framework: Some(framework), from: None, factory: false });
        } else if value.strip_suffix(".server").is_some_and(|owner| self.framework_of(owner).is_some())
            || (is_name(value) && self.framework_of(value).is_some())
        {
            // Dash's own Flask; or another name for the same object.
            let known = self.framework_of(value.trim_end_matches(".server"));
            let of_dash = known.filter(|framework| framework.name == "Dash" && value.ends_with(".server"));
            let framework = of_dash.and(FRAMEWORKS.first().copied()).or(known);
            self.add(App { name: name.to_owned(), framework, from: None, factory: false });
        } else if is_app_name(name) && self.module.apps.iter().all(|app| app.name != name) {
            let Some(called) = called else { return };
            let factory = self.factories.iter().find(|factory| factory.name == called);
            let from =
                self.names.get(called).filter(|full| !is_third_party(full)).and_then(|full| full.rsplit_once('.'));
            let from = from.map(|(module, name)| {
                (
                    if module.is_empty() || module.ends_with('.') { format!("{module}.") } else { module.to_owned() },
                    name.to_owned(),
                )
            });
            if factory.is_some() || from.is_some() {
                let framework = factory.and_then(|factory| factory.framework);
                self.add(App { name: name.to_owned(), framework, from, factory: false });
            }
        }
    }

    fn add(&mut self, app: App) {
        match self.module.apps.iter_mut().find(|known| known.name == app.name) {
            Some(known) => *known = app,
            None => self.module.apps.push(app),
        }
    }

    fn framework_of(&self, name: &str) -> Option<Framework> {
        self.module.apps.iter().find(|app| app.name == name).and_then(|app| app.framework)
    }

    /// The framework whose object `value` makes.
    fn framework(&self, value: &str) -> Option<Framework> {
        let called = callee(value)?;
        let (first, rest) = called.split_at(called.find('.').unwrap_or(called.len()));
        let made = |full: &str| {
            let maker = full.rsplit('.').next().unwrap_or(full);
            FRAMEWORKS.iter().find(|framework| is_below(full, framework.module) && framework.makers.contains(&maker))
        };
        match self.names.get(first) {
            Some(full) => made(&format!("{full}{rest}")),
            None => self.stars.iter().find_map(|module| made(&format!("{module}.{called}"))),
        }
        // Pyramid's is a method of an object that its own module makes.
        .or_else(|| FRAMEWORKS.iter().find(|f| called.ends_with(".make_wsgi_app") && is_below("pyramid", f.module)))
        .copied()
    }

    /// The call in `text` that starts a server.
    fn serving(&self, text: &str, scope: Scope) -> Option<Serving> {
        let text = text.strip_prefix("await ").unwrap_or(text);
        let text = text.strip_prefix("asyncio.run(").unwrap_or(text);
        let called = callee(text)?;
        let (owner, function) = called.rsplit_once('.').map_or(("", called), |(owner, function)| (owner, function));
        let full = |name: &str| self.names.get(name).cloned().unwrap_or_default();
        let of = full(if owner.is_empty() { function } else { owner });
        let is_from = |module: &str| {
            is_below(&of, module) || (owner.is_empty() && self.stars.iter().any(|star| is_below(star, module)))
        };
        let own = self.framework_of(owner).map(|framework| framework.name);
        let arguments = arguments(text);
        let default = match function {
            "run" if is_from("uvicorn") || is_from("bottle") => Host::Loopback,
            "run" if matches!(own, Some("Dash")) => Host::Unknown,
            "run" if own.is_some() || matches!(owner, "app" | "application" | "server" | "socketio" | "api") => {
                Host::Loopback
            }
            "run_server" => Host::Unknown,
            "run_app" if is_from("aiohttp") => Host::Open,
            "run_simple" => Host::Unknown,
            "serve" if is_from("waitress") || is_from("fasthtml") => Host::Open,
            "serve" if is_from("hypercorn") => Host::Unknown,
            "serve_forever" | "run_forever" | "launch" | "run_polling" => Host::Unknown,
            "run" if is_from("nicegui") => Host::Open,
            _ => return None,
        };
        // Flask's, Quart's, Sanic's and Bottle's own `run` take the address first.
        let positional = (function == "run" && !is_from("uvicorn") && !is_from("bottle"))
            .then(|| arguments.iter().find(|(name, _)| name.is_none()).map(|(_, value)| value.as_str()))
            .flatten()
            .filter(|_| own.is_some() || matches!(owner, "app" | "application"));
        let given = |key: &str| {
            arguments.iter().find(|(name, _)| name.as_deref() == Some(key)).map(|(_, value)| value.as_str())
        };
        let spread = arguments.iter().any(|(name, value)| name.is_none() && value.starts_with('*'));
        let host = match given("host").or(positional) {
            Some(value) => host(value),
            None if spread => Host::Unknown,
            None => default,
        };
        let port = given("port").and_then(|port| port.parse().ok());
        Some(Serving { call: called.to_owned(), host, port, at_import: scope == Scope::Top })
    }

    fn finish(mut self) -> Module {
        self.factories.extend(self.factory.take().filter(|app| app.framework.is_some() || app.from.is_some()));
        self.module.apps.retain(|app| !app.factory);
        self.module.apps.extend(self.factories);
        self.module
    }
}

/// The address that an argument gives.
fn host(value: &str) -> Host {
    match literal(value) {
        Some("127.0.0.1" | "localhost" | "::1") => Host::Loopback,
        Some("" | "0.0.0.0" | "::") => Host::Open,
        _ => Host::Unknown,
    }
}

/// Whether the statement does something: it is no definition, import or text.
fn is_action(text: &str) -> bool {
    let is_passive = ["import ", "from ", "@", "pass", "...", "global ", "del ", "\"", "'", "r\"", "type "];
    let is_setting = ["sys.path.", "load_dotenv(", "dotenv.load_dotenv(", "logging.", "warnings."];
    let starts = |words: &[&str]| words.iter().any(|word| text.starts_with(word));
    // `app.add_middleware(…)`, `app.include_router(…)` and the like set an app up.
    let setters = [
        "add",
        "include",
        "register",
        "mount",
        "config",
        "use",
        "route",
        "init",
        "on_",
        "blueprint",
        "middleware",
        "logger",
        "url_",
    ];
    let owners = ["app.", "application.", "api.", "router."];
    let sets_up = owners
        .iter()
        .any(|owner| text.strip_prefix(owner).is_some_and(|rest| setters.iter().any(|verb| rest.starts_with(verb))));
    !starts(&is_passive) && !starts(&is_setting) && !sets_up && text.contains('(')
}

/// The name of a function that may make an app, when it needs no arguments.
fn factory_name(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("def ")?;
    let (name, _) = rest.split_once('(')?;
    let needs = |(name, value): &(Option<String>, String)| {
        name.is_none() && !value.starts_with('*') && value != "/" && !value.contains('=')
    };
    (is_factory_name(name) && !arguments(rest).iter().any(needs)).then_some(name)
}

fn is_factory_name(name: &str) -> bool {
    matches!(
        name,
        "create_app" | "make_app" | "get_app" | "build_app" | "app_factory" | "create_application" | "get_application"
    )
}

/// Whether an app object is mostly called so.
fn is_app_name(name: &str) -> bool {
    matches!(name, "app" | "application" | "api" | "server" | "wsgi" | "asgi") || is_factory_name(name)
}

/// Whether the module is of a framework, and not of the project.
fn is_third_party(module: &str) -> bool {
    FRAMEWORKS.iter().any(|framework| is_below(module, framework.module.split('.').next().unwrap_or_default()))
        || ["streamlit", "gradio", "absl", "connexion", "http", "os"].iter().any(|name| is_below(module, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The app objects: name, framework, where it comes from, `()` for a function.
    fn apps(text: &str) -> String {
        let one = |app: &App| {
            let framework = app.framework.map_or("?", |framework| framework.name);
            let from = app.from.as_ref().map(|(module, name)| format!("<{module}:{name}")).unwrap_or_default();
            format!("{}{}={framework}{from}", app.name, if app.factory { "()" } else { "" })
        };
        Module::parse(text).apps.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn app_objects_are_found() {
        for (text, expected) in [
            ("from flask import Flask\napp = Flask(__name__)", "app=Flask"),
            ("import flask\napp = flask.Flask('x')", "app=Flask"),
            ("import flask as f\nx = f.Flask('x')", "x=Flask"),
            ("from flask import Flask as F\nx: F = F('x')", "x=Flask"),
            ("from fasthtml.common import *\napp, rt = fast_app()", "app=FastHTML"),
            ("from falcon.asgi import App\napi = App()", "api=Falcon"),
            (
                "from fastapi import FastAPI\nif True:\n  app = FastAPI()\nelse:\n  app = FastAPI(debug=True)",
                "app=FastAPI",
            ),
            (
                "from fastapi import (\n  APIRouter,  # not this\n  FastAPI,\n)\napp = FastAPI(\n  title='(',\n)\n",
                "app=FastAPI",
            ),
            ("from fastapi import FastAPI\n'''\napp = FastAPI()\n'''\n", ""),
            ("from fastapi import FastAPI\n# app = FastAPI()\n", ""),
            ("from fastapi import APIRouter\nrouter = APIRouter()\n", ""),
            ("from fastapi import FastAPI\ndef helper():\n  app = FastAPI()\n", ""),
            (
                "from fastapi import FastAPI\ndef create_app():\n  app = FastAPI()\n  return app\n",
                "create_app()=FastAPI",
            ),
            (
                "from fastapi import FastAPI\ndef create_app(*, debug=False, **more) -> FastAPI:\n  return FastAPI()\n",
                "create_app()=FastAPI",
            ),
            ("from fastapi import FastAPI\ndef create_app(settings):\n  return FastAPI()\n", ""),
            (
                "from flask import Flask\ndef create_app():\n  return Flask('x')\napp = create_app()\n",
                "app=Flask create_app()=Flask",
            ),
            ("from shop import app", "app=?<shop:app"),
            ("from .web import create_app\napplication = create_app()", "application=?<.web:create_app"),
            ("from . import create_app\napp = create_app()", "app=?<.:create_app"),
            ("from shop import app as application", "application=?<shop:app"),
            ("from flask import Flask\nweb = Flask('x')\napplication = web", "web=Flask application=Flask"),
            ("from flask import Flask\napp = Flask('x')\napp = ProxyFix(app)", "app=Flask"),
            ("from dash import Dash\napp = Dash('x')\nserver = app.server", "app=Dash server=Flask"),
            ("app = Flask('x')", ""),
            ("class Flask: pass\napp = Flask('x')", ""),
            ("from celery import Celery\nqueue = Celery('x')", "queue=Celery"),
            ("from django.core.wsgi import get_wsgi_application as g\napplication = g()", "application=Django"),
        ] {
            assert_eq!(apps(text), expected, "{text}");
        }
    }

    #[test]
    fn servers_and_programs_are_found() {
        let read = |text: &str| {
            let module = Module::parse(text);
            let serving = module.serving.iter().map(|serving| {
                let port = serving.port.map(|port| format!(":{port}")).unwrap_or_default();
                format!(
                    "{} {:?}{port}{}",
                    serving.call,
                    serving.host,
                    if serving.at_import { " at import" } else { "" }
                )
            });
            format!("{} {}", if module.runs() { "runs" } else { "rests" }, serving.collect::<Vec<_>>().join(", "))
        };
        let flask = "from flask import Flask\napp = Flask('x')\n";
        let main = "if __name__ == '__main__':\n  ";
        for (text, expected) in [
            (format!("{flask}app.run()"), "runs app.run Loopback at import"),
            (format!("{flask}{main}app.run()"), "runs app.run Loopback"),
            (format!("{flask}{main}app.run(debug=True, host='0.0.0.0', port=80)"), "runs app.run Open:80"),
            (format!("{flask}{main}app.run(\"localhost\", 80)"), "runs app.run Loopback"),
            (format!("{flask}{main}app.run(host=os.getenv('H', '0.0.0.0'), port=int(P))"), "runs app.run Unknown"),
            (format!("{flask}def start():\n  app.run()\n"), "rests app.run Loopback"),
            (format!("{flask}app.config.from_object('x')\n@app.get('/')\ndef f(): pass\n"), "rests "),
            ("import uvicorn\nuvicorn.run('main:app', host='::', port=9)".into(), "runs uvicorn.run Open:9 at import"),
            ("from waitress import serve\nserve(app, port=8080)".into(), "runs serve Open:8080 at import"),
            ("from http.server import HTTPServer\nHTTPServer(a, b).serve_forever()".into(), "runs "),
            ("import sys, os\nX = 1\ndef f(): pass\nclass C: pass\n\"\"\"text\"\"\"\n".into(), "rests "),
            ("import os\nsys.path.append('x')\nload_dotenv()\n".into(), "rests "),
            ("while True:\n  pass\n".into(), "runs "),
            ("import subprocess\nsubprocess.run(['x'])\n".into(), "runs "),
        ] {
            assert_eq!(read(&text), expected, "{text}");
        }
    }
}
