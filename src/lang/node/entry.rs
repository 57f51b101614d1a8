//! How a Node app starts: from `package.json`, from its framework, and from the files that Node would look for.

use std::{collections::BTreeMap, path::Path};

use super::{
    super::{LARGEST, LanguageError, Source, Start},
    build::{Kind, Plan},
    manifest::Package,
    script::{Launch, Unclear},
};
use crate::listing::FileKind;

/// The files that are looked for when `package.json` names none.
pub(super) const DEFAULTS: [&str; 9] =
    ["index.js", "index.mjs", "index.cjs", "server.js", "server.mjs", "server.cjs", "app.js", "app.mjs", "app.cjs"];

/// The files that are looked for after these.
const FURTHER: [&str; 12] = [
    "main.js",
    "main.mjs",
    "bin/www",
    "bin/www.js",
    "src/index.js",
    "src/index.mjs",
    "src/server.js",
    "src/app.js",
    "src/main.js",
    "lib/index.js",
    "server/index.js",
    "bot.js",
];

/// Sources whose compiled form starts the app, without their ending.
const COMPILED: [&str; 8] = ["src/index", "src/main", "src/server", "src/app", "index", "main", "server", "app"];

/// Scripts that start the app in production, in this order.
const SCRIPTS: [&str; 7] = ["start", "start:prod", "start:production", "production", "prod", "serve", "server"];

/// The words for a file that exists and is left out of the image.
const LEFT_OUT: &str = "left out of the image";

/// How the app starts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) start: Start,
    pub(super) env: BTreeMap<String, String>,
    pub(super) warnings: Vec<String>,
    /// Packages of the development that the start needs.
    pub(super) development: Vec<String>,
}

/// The app, as Node reads it.
pub(super) struct App<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) package: &'a Package,
    /// How it is built.
    pub(super) plan: Option<&'a Plan>,
}

impl App<'_> {
    /// Finds how the app starts: as its framework says; else with its start script, when that is plain; else with `main` of
    /// `package.json`; else with the first of the usual files that exists.
    ///
    /// A file that the build makes does not exist yet. It is looked up once the image is made.
    pub(super) fn entry(&self) -> Result<Entry, LanguageError> {
        if let Some(Plan { start: Some(start), env, .. }) = self.plan {
            return Ok(Entry { start: start.clone(), env: env.clone(), ..Entry::default() });
        }
        let mut looked = Vec::new();
        for name in SCRIPTS {
            match self.script(name) {
                None => {}
                Some(Ok(entry)) => return Ok(entry),
                Some(Err(Problem::Other(runtime))) if name == "start" => return Err(self.other_runtime(&runtime)),
                Some(Err(Problem::Why(why))) if name == "start" => {
                    looked.push(why);
                    break;
                }
                Some(Err(_)) => {}
            }
        }
        if let Some(named) = &self.package.main {
            match self.main(self.package, "").or_else(|| self.made(named)) {
                Some(main) => return Ok(Entry { warnings: instead(&looked, &main), ..Entry::of(main) }),
                None => looked.push(format!("main in package.json ({named}: {})", self.absence(named))),
            }
        }
        self.default_entry(looked)
    }

    /// The entry of the script `name`; `None` when there is no such script.
    fn script(&self, name: &str) -> Option<Result<Entry, Problem>> {
        let script = self.package.script(name)?;
        let launch = match Launch::of(self.package, name)? {
            Ok(launch) => launch,
            Err(Unclear::OtherRuntime(runtime)) => return Some(Err(Problem::Other(runtime))),
            Err(Unclear::ForDevelopers) => return Some(Err(Problem::ForDevelopers)),
            Err(Unclear::NotPlain) => {
                return Some(Err(Problem::Why(format!("its {name} script (`{script}` is not a plain `node FILE`)"))));
            }
        };
        let Launch { env, mut start, program, mut development, .. } = launch;
        if program.is_some() && !self.source.installs && self.source.folder.kind(&start.entry).is_none() {
            return Some(Err(Problem::Why(format!("its {name} script (`{script}`: not installed)"))));
        }
        if program.is_none() {
            let named = start.entry.clone();
            match self.script_file(&named).or_else(|| self.made(&named)) {
                Some(file) => start.entry = file,
                None => {
                    let why = format!("its {name} script (node {named}: {})", self.absence(&named));
                    return Some(Err(Problem::Why(why)));
                }
            }
        }
        // What is built needs no compiler at the start.
        development.retain(|package| !self.package.ships(package));
        Some(Ok(Entry { start, env, warnings: Vec::new(), development }))
    }

    /// The path of the file that `node FILE` runs, when the build makes it.
    fn made(&self, file: &str) -> Option<String> {
        self.plan?;
        let path = normal(file).filter(|path| !path.is_empty() && !self.is_left_out(path))?;
        let name = path.rsplit('/').next().unwrap_or(&path);
        let folder = file.ends_with('/') || path == "dist" || path == "build" || path == "lib";
        match name.contains('.') {
            true if !folder && !name.starts_with('.') => Some(path),
            _ if folder => Some(format!("{path}/index.js")),
            _ => Some(format!("{path}.js")),
        }
    }

    fn default_entry(&self, mut looked: Vec<String>) -> Result<Entry, LanguageError> {
        let usual = || DEFAULTS.into_iter().chain(FURTHER).find(|file| self.is_file(file)).map(str::to_owned);
        let found = self.compiled().or_else(usual).or_else(|| self.exported()).or_else(|| self.only_file());
        if let Some(file) = found {
            return Ok(Entry { warnings: instead(&looked, &file), ..Entry::of(file) });
        }
        if let Some(entry) = self.typescript() {
            return Ok(entry);
        }
        let left_out = |file: &&str| self.is_left_out(file);
        looked.extend(DEFAULTS.into_iter().filter(left_out).map(|file| format!("{file} ({LEFT_OUT})")));
        looked.push("index.js, server.js, app.js (or .mjs, .cjs), also in src/".to_owned());
        let script = Launch::of(self.package, "start").and_then(Result::ok).map(|launch| launch.start.entry);
        let named = [self.package.main.clone(), script].into_iter().flatten().filter_map(|file| normal(&file));
        let left_out = named.chain(DEFAULTS.map(str::to_owned)).find(|file| self.is_left_out(file));
        let hint = match (left_out, self.plan.map(|plan| &plan.kind)) {
            (Some(file), _) => format!("--include {file} wins over .dockerignore"),
            (None, Some(Kind::Site { folder, .. })) => {
                format!("its build makes a site in {folder}, which recipe site serves: microbuild site APP")
            }
            (None, _) => {
                "add a start script to package.json (\"start\": \"node FILE\"), or give --cmd \"node FILE\"".to_owned()
            }
        };
        Err(LanguageError::NoEntry { looked, hint })
    }

    /// The compiled form of the first of the usual sources, when TypeScript's compiler makes it.
    fn compiled(&self) -> Option<String> {
        self.plan.filter(|plan| plan.kind == Kind::Server)?;
        let text = self.source.folder.read("tsconfig.json", LARGEST).ok().flatten()?;
        let text = without_comments(&text);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let options = &json["compilerOptions"];
        let out = normal(options["outDir"].as_str().unwrap_or("dist"))?;
        let root = options["rootDir"].as_str().and_then(normal);
        let source = COMPILED.into_iter().find(|base| self.is_file(&format!("{base}.ts")))?;
        // Without rootDir, it is the folder that all sources have in common.
        let below = match root.as_deref() {
            Some("") => source,
            _ => source.strip_prefix("src/").unwrap_or(source),
        };
        Some(if out.is_empty() { format!("{below}.js") } else { format!("{out}/{below}.js") })
    }

    /// A source in TypeScript, where the project has a program that runs it.
    fn typescript(&self) -> Option<Entry> {
        let source = COMPILED.into_iter().map(|base| format!("{base}.ts")).find(|file| self.is_file(file))?;
        let program = ["tsx", "ts-node"].into_iter().find(|program| self.package.has(program))?;
        let start = Start { entry: format!("node_modules/.bin/{program}"), args: vec![source], ..Start::default() };
        let development = if self.package.ships(program) { Vec::new() } else { vec![program.to_owned()] };
        Some(Entry { start, development, ..Entry::default() })
    }

    /// The file that others import, or the only program of the package.
    fn exported(&self) -> Option<String> {
        let program = self.package.bin.values().next().filter(|_| self.package.bin.len() == 1);
        self.package
            .exported
            .iter()
            .chain(program)
            .find_map(|named| self.script_file(named).or_else(|| self.made(named)))
    }

    /// The only script at the top of the project that is no configuration and no test.
    fn only_file(&self) -> Option<String> {
        let is_script = |path: &&str| {
            let ends = [".js", ".mjs", ".cjs"].iter().any(|end| path.ends_with(end));
            ends && self.is_file(path)
                && !path.contains('/')
                && !["config", "test", "spec", "gulpfile", "Gruntfile"].iter().any(|word| path.contains(word))
        };
        let mut scripts = self.source.files.paths().filter(is_script);
        scripts.next().filter(|_| scripts.next().is_none()).map(str::to_owned)
    }

    fn other_runtime(&self, runtime: &str) -> LanguageError {
        let script = self.package.start().unwrap_or_default();
        LanguageError::NoEntry {
            looked: vec![format!("its start script (`{script}`, which {runtime} runs)")],
            hint: format!("recipe {} has it: --recipe {}", runtime.to_lowercase(), runtime.to_lowercase()),
        }
    }

    /// Whether `path`, relative to the app's folder, is a file there that is left out of the image.
    fn is_left_out(&self, path: &str) -> bool {
        self.kind(path).is_none() && self.source.folder.is_file(path)
    }

    /// The reason why `path` is not among the app's files.
    fn absence(&self, path: &str) -> &'static str {
        match normal(path) {
            None => "outside the app's folder",
            Some(path) if self.is_left_out(&path) => LEFT_OUT,
            Some(_) => "no such file",
        }
    }

    /// The file that `main` of the package in `folder` leads to: Node's `LOAD_AS_DIRECTORY`
    /// (<https://nodejs.org/api/modules.html#all-together>).
    fn main(&self, package: &Package, folder: &str) -> Option<String> {
        let main = package.main.as_ref().filter(|main| !main.starts_with('/'))?;
        let path = normal(&if folder.is_empty() { main.clone() } else { format!("{folder}/{main}") })?;
        self.as_file(&path).or_else(|| self.index(&path))
    }

    /// The file that `node FILE` runs.
    fn script_file(&self, file: &str) -> Option<String> {
        let path = normal(file)?;
        if !file.ends_with('/')
            && let Some(found) = self.as_file(&path)
        {
            return Some(found);
        }
        let package = if path.is_empty() { None } else { self.package_of(&path) };
        self.main(package.as_ref().unwrap_or(self.package), &path).or_else(|| self.index(&path))
    }

    /// The `package.json` of a folder below the app's own.
    fn package_of(&self, folder: &str) -> Option<Package> {
        let path = format!("{folder}/package.json");
        self.is_file(&path)
            .then(|| self.source.folder.read(&path, LARGEST).ok().flatten())?
            .map(|text| Package::parse(&text, Path::new(&path)).unwrap_or_default())
    }

    fn as_file(&self, path: &str) -> Option<String> {
        [path.to_owned(), format!("{path}.js")].into_iter().find(|path| self.is_file(path))
    }

    fn index(&self, folder: &str) -> Option<String> {
        Some(format!("{folder}/index.js").trim_start_matches('/').to_owned()).filter(|path| self.is_file(path))
    }

    fn is_file(&self, path: &str) -> bool {
        matches!(self.kind(path), Some(FileKind::File { .. }))
    }

    fn kind(&self, path: &str) -> Option<&FileKind> {
        self.source.files.follow(path)
    }
}

impl Entry {
    fn of(file: String) -> Self {
        Self { start: Start { entry: file, ..Start::default() }, ..Self::default() }
    }
}

/// `path` without `.` and `..`, relative to the app's folder. The empty path is the folder itself; `None` is a path out
/// of it.
fn normal(path: &str) -> Option<String> {
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

/// The reason why a script does not start the app.
enum Problem {
    /// It starts a server for developers.
    ForDevelopers,
    /// Another runtime runs it.
    Other(String),
    /// For the message.
    Why(String),
}

/// The warnings that the image runs `file`, and not what was looked for before it.
fn instead(looked: &[String], file: &str) -> Vec<String> {
    looked.iter().map(|why| format!("the image runs {file}, not {why}")).collect()
}

/// JSON without the comments and last commas that TypeScript allows in its configuration.
fn without_comments(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let (mut chars, mut in_text) = (text.chars().peekable(), false);
    while let Some(c) = chars.next() {
        match (in_text, c, chars.peek()) {
            (true, '\\', Some(_)) => plain.extend([c].into_iter().chain(chars.next())),
            (_, '"', _) => {
                in_text = !in_text;
                plain.push(c);
            }
            (false, '/', Some('/')) => while chars.next_if(|c| *c != '\n').is_some() {},
            (false, '/', Some('*')) => {
                chars.next();
                let mut last = ' ';
                for c in chars.by_ref() {
                    if last == '*' && c == '/' {
                        break;
                    }
                    last = c;
                }
            }
            (false, '}' | ']', _) => {
                let end = plain.trim_end().strip_suffix(',').map(str::len);
                plain.truncate(end.unwrap_or(plain.len()));
                plain.push(c);
            }
            _ => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_paths() {
        for (path, clean) in [
            ("a", Some("a")),
            ("./a//b/", Some("a/b")),
            ("a/../b", Some("b")),
            (".", Some("")),
            ("", Some("")),
            ("..", None),
            ("a/../../b", None),
            ("/a", None),
        ] {
            assert_eq!(normal(path).as_deref(), clean, "{path}");
        }
    }
}
