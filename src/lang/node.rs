//! Node: `package.json`, the files that Node would look for, and what npm, pnpm and Yarn install and say.

use std::{borrow::Cow, collections::BTreeMap, path::Path};

use serde_json::Value;

use super::{
    Component, Dependencies, Explanation, Facts, Installed, LARGEST, Language, LanguageError, Source, Start, Versions,
    WantedRuntime, explain, json,
};
use crate::{
    app_folder::AppFolder,
    listing::{AppFile, FileKind},
    values,
};

/// Node, with its package managers.
#[derive(Debug)]
pub(super) struct Node;

impl Language for Node {
    fn name(&self) -> &'static str {
        "node"
    }

    /// How it starts: see [`App::entry`].
    fn read(&self, source: &Source<'_>) -> Result<Facts, LanguageError> {
        let manifest = source.place(MANIFEST);
        let package = source.read(MANIFEST)?.map(|text| Package::parse(&text, &manifest)).transpose()?;
        let package = package.unwrap_or_default();
        let entry = if source.starts { Some(App { source, package: &package }.entry()?) } else { None };
        let Entry { start, env, warnings } = entry.unwrap_or_default();
        let runtime = package.engines(&manifest)?;
        let dependencies = if source.installs { package.dependencies(source)? } else { package.named() };
        Ok(Facts {
            name: package.name,
            version: package.version,
            runtime,
            start: source.starts.then_some(start),
            env,
            dependencies: Some(dependencies),
            warnings,
        })
    }

    fn components(&self, folder: &AppFolder, files: &[AppFile]) -> Vec<Component> {
        let mut components: Vec<_> = packages(files).filter_map(|(_, path)| component(folder, path)).collect();
        components.sort();
        components.dedup();
        components
    }

    /// Neither is there a script that does something else, nor have they brought a binary along (`prebuilds/linux-arm64`).
    fn uncompiled(&self, folder: &AppFolder, files: &[AppFile], os: &str, cpu: &str) -> Vec<String> {
        uncompiled(folder, files, os, cpu)
    }

    fn explain(&self, line: &str) -> Option<Explanation> {
        explain::find(line, SAYINGS)
    }

    fn installed(&self) -> Option<Installed> {
        Some(Installed { folder: MODULES, command: "npm ci --omit=dev" })
    }

    fn is_manager(&self, command: &str) -> bool {
        MANAGERS.contains(&command)
    }
}

const SAYINGS: &[(&str, Explanation)] = &[
    ("gyp ERR!", Explanation::NeedsCompiler),
    ("ENOTCACHED", Explanation::NotCached),
    (
        "npm error code EUSAGE",
        Explanation::LockOutOfDate(Cow::Borrowed(
            "bring the lock file up to date with package.json: `microbuild dev node APP -- npm install --package-lock-only`",
        )),
    ),
    (
        "npm error command sh -c",
        Explanation::Hint(Cow::Borrowed(
            "a package's own script failed: development dependencies are not installed here; --ignore-scripts runs none",
        )),
    ),
];

/// What npm calls the file that describes a package.
const MANIFEST: &str = "package.json";

/// The folder of installed dependencies.
const MODULES: &str = "node_modules";

/// Package managers that start what `package.json` says; runtime images have none of them.
const MANAGERS: [&str; 5] = ["npm", "npx", "pnpm", "yarn", "bun"];

/// What is run when `package.json` does not say.
const DEFAULTS: [&str; 9] =
    ["index.js", "index.mjs", "index.cjs", "server.js", "server.mjs", "server.cjs", "app.js", "app.mjs", "app.cjs"];

/// Options of node that take the next word along (node(1)); others stand alone or have their value behind a `=`.
const WITH_VALUE: [&str; 17] = [
    "-r",
    "--require",
    "--import",
    "--loader",
    "--experimental-loader",
    "-C",
    "--conditions",
    "--env-file",
    "--env-file-if-exists",
    "--title",
    "--icu-data-dir",
    "--openssl-config",
    "--disable-warning",
    "--input-type",
    "--max-http-header-size",
    "--unhandled-rejections",
    "--dns-result-order",
];

/// Options with which node does something else than run a file as it runs in production.
const NOT_PLAIN: [&str; 14] = [
    "-e",
    "--eval",
    "-p",
    "--print",
    "-pe",
    "-c",
    "--check",
    "-i",
    "--interactive",
    "--run",
    "--test",
    "-v",
    "--version",
    "-h",
];

/// Said of a file that is there and that the image does not get.
const LEFT_OUT: &str = "left out of the image";

/// npm's lock files; of two the first counts.
const NPM_LOCKS: [&str; 2] = ["npm-shrinkwrap.json", "package-lock.json"];
/// Lock files of other package managers.
const OTHER_LOCKS: [&str; 4] = ["yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb"];
/// Names the packages of a workspace of pnpm, which `package.json` does not.
const PNPM_WORKSPACE: &str = "pnpm-workspace.yaml";

/// Scripts of a project's own that npm runs when it installs (npm's documentation, "scripts", "Life Cycle Scripts").
const LIFE_CYCLE: [&str; 7] =
    ["preinstall", "install", "postinstall", "preprepare", "prepare", "postprepare", "prepublish"];

/// What a `package.json` says, as far as an image is concerned. Whatever has another type than npm gives it is as good
/// as absent, which is how npm and Node take it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Package {
    name: Option<String>,
    version: Option<String>,
    main: Option<String>,
    /// The start script.
    start: Option<String>,
    /// Whether there is a build script.
    builds: bool,
    /// Whether npm runs a script of its own when it installs.
    installs: bool,
    /// Whether packages to install lie in folders of its own.
    local: bool,
    /// The range of Node versions that it runs on, as it is written.
    engine: Option<String>,
    /// The names of the packages that it cannot do without.
    dependencies: Vec<String>,
    /// What there is to install besides those: optional packages, and what workspaces need.
    further: Vec<String>,
}

impl Package {
    /// Reads the text of a `package.json`; `file` is its name in messages.
    fn parse(text: &str, file: &Path) -> Result<Self, LanguageError> {
        let json = json(text, file)?;
        let text = |value: &Value| value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned);
        let names = |key: &str| json[key].as_object().into_iter().flat_map(serde_json::Map::keys).cloned();
        let optional: Vec<String> = names("optionalDependencies").collect();
        let sources = ["dependencies", "optionalDependencies"].into_iter().filter_map(|key| json[key].as_object());
        let is_local = |source: &Value| {
            let source = source.as_str().unwrap_or_default();
            ["file:", "link:", "./", "../", "~/", "/"].iter().any(|prefix| source.starts_with(prefix))
        };
        let local = sources.flat_map(serde_json::Map::values).any(is_local);
        let workspaces = match &json["workspaces"] {
            Value::Array(folders) => !folders.is_empty(),
            other => other["packages"].as_array().is_some_and(|folders| !folders.is_empty()),
        };
        Ok(Self {
            name: text(&json["name"]),
            version: text(&json["version"]),
            main: text(&json["main"]),
            start: text(&json["scripts"]["start"]),
            builds: json["scripts"]["build"].is_string(),
            installs: LIFE_CYCLE.iter().any(|name| json["scripts"][name].is_string()),
            local: local || workspaces,
            engine: text(&json["engines"]["node"]),
            // npm lets an entry among the optional ones win over the same one here.
            dependencies: names("dependencies").filter(|name| !optional.contains(name)).collect(),
            further: optional.into_iter().chain(workspaces.then(|| "those of its workspaces".to_owned())).collect(),
        })
    }

    /// What has to be installed for it to run, as far as it says so itself.
    fn named(&self) -> Dependencies {
        Dependencies {
            required: self.dependencies.clone(),
            optional: self.further.clone(),
            whole: self.local || self.installs,
            ..Dependencies::default()
        }
    }

    /// The same with what lock files say.
    fn dependencies(&self, source: &Source<'_>) -> Result<Dependencies, LanguageError> {
        let mut dependencies = self.named();
        dependencies.whole |= source.folder.is_file(PNPM_WORKSPACE);
        if dependencies.is_empty() {
            return Ok(dependencies);
        }
        for name in NPM_LOCKS {
            if let Some(text) = source.read(name)? {
                let lock = Lock::parse(&text, &source.place(name))?;
                dependencies.whole |= lock.local;
                dependencies.scripts = lock.scripts;
                dependencies.locks.push(name.to_owned());
                break;
            }
        }
        let others = OTHER_LOCKS.into_iter().filter(|name| source.folder.kind(name).is_some());
        dependencies.locks.extend(others.map(str::to_owned));
        Ok(dependencies)
    }

    fn engines(&self, file: &Path) -> Result<Option<WantedRuntime>, LanguageError> {
        let Some(range) = &self.engine else { return Ok(None) };
        let parsed = range.parse().map_err(|_| LanguageError::Unusable {
            message: format!(
                "{}: expected engines.node to be a range of versions such as >=20, found `{range}`",
                file.display()
            ),
            hint: Some("npm's ranges: https://docs.npmjs.com/cli/configuring-npm/package-json#engines".into()),
        })?;
        Ok(Some(WantedRuntime {
            runtime: "Node",
            range: range.clone(),
            key: Some("engines.node"),
            file: MANIFEST.to_owned(),
            strict: true,
            versions: Versions::Npm(parsed),
        }))
    }
}

/// What a `package-lock.json` says of installing, as far as it matters before anything is installed
/// (npm's documentation, "package-lock.json").
#[derive(Debug, Default, PartialEq, Eq)]
struct Lock {
    /// The packages, but for development's, that run scripts when they are installed; sorted.
    scripts: Vec<String>,
    /// Whether some lie in folders of the project.
    local: bool,
}

impl Lock {
    /// Reads the text of a lock file; `file` is its name in messages.
    fn parse(text: &str, file: &Path) -> Result<Self, LanguageError> {
        let json = json(text, file)?;
        let mut lock = Self::default();
        // Version 1 (npm 5 and 6) knows `dependencies` only, and nothing of scripts.
        for (path, package) in json["packages"].as_object().into_iter().flatten().filter(|(path, _)| !path.is_empty()) {
            let is = |key: &str| package[key] == true;
            lock.local |= is("link") || !path.contains(MODULES);
            if is("hasInstallScript") && !is("dev") && !is("devOptional") {
                let name = path.rsplit_once("node_modules/").map_or(path.as_str(), |(_, name)| name);
                lock.scripts.push(name.to_owned());
            }
        }
        lock.scripts.sort();
        lock.scripts.dedup();
        Ok(lock)
    }
}

/// Programs that compile a package when it is installed, or fetch what was compiled for this very machine.
const COMPILERS: [&str; 5] = ["node-gyp", "node-gyp-build", "node-pre-gyp", "prebuild-install", "cmake-js"];

/// The installed packages among `files`, sorted by path: the name of the folder that each lies in, and the path of its
/// `package.json`. A package's own folder, and no other `package.json` within it.
fn packages(files: &[AppFile]) -> impl Iterator<Item = (&str, &str)> {
    files.iter().filter_map(|file| {
        let folder = file.path.strip_suffix("/package.json")?;
        let (modules, name) = folder.rsplit_once("node_modules/").unwrap_or(("", folder));
        let is_own = (modules.is_empty() || modules.ends_with('/'))
            && name.matches('/').count() == usize::from(name.starts_with('@'));
        is_own.then_some((name, file.path.as_str()))
    })
}

/// The package whose `package.json` lies at `path` in `folder`.
fn component(folder: &AppFolder, path: &str) -> Option<Component> {
    let text = folder.read(path, LARGEST).ok()??;
    let Package { name, version, .. } = Package::parse(&text, Path::new(path)).ok()?;
    let (name, version) = (name?, version?);
    let purl = super::purl("npm", &name, &version);
    Some(Component { name, version, purl })
}

fn uncompiled(root: &AppFolder, files: &[AppFile], os: &str, cpu: &str) -> Vec<String> {
    let has = |path: &str| files.binary_search_by(|file| file.path.as_str().cmp(path)).is_ok();
    let mut found = Vec::new();
    for (name, path) in packages(files) {
        let folder = path.strip_suffix("/package.json").unwrap_or(path);
        let text = root.read(path, LARGEST).ok().flatten().unwrap_or_default();
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        let script = json["scripts"]["install"].as_str();
        let compiles = match script {
            Some(script) => script.split([' ', '|', '&', '(', ')', ';']).any(|word| COMPILERS.contains(&word)),
            // What npm does by itself (its documentation, "scripts", "install").
            None => has(&format!("{folder}/binding.gyp")) && json["gypfile"] != false,
        };
        if compiles && !has(&format!("{folder}/prebuilds/{os}-{cpu}")) {
            found.push(name.to_owned());
        }
    }
    found.dedup();
    found
}

/// `node [OPTION…] FILE [ARG…]`, and the variables that are set before it.
#[derive(Debug, Default, PartialEq, Eq)]
struct NodeCommand {
    env: BTreeMap<String, String>,
    start: Start,
}

impl NodeCommand {
    /// The start script, when it is a plain `node FILE`: no shell's business in it, nothing run before or after.
    fn parse(script: &str) -> Option<Self> {
        let mut words = values::split(script).ok()?.into_iter().peekable();
        let mut command = Self::default();
        loop {
            let word = words.next()?;
            match word.as_str() {
                "node" => break,
                // `cross-env A=1 node …` is `A=1 node …` for Windows' sake, and a development dependency.
                "exec" | "cross-env" => {}
                _ => {
                    let (name, value) = word.split_once('=').filter(|(name, _)| is_variable(name))?;
                    command.env.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        while let Some(option) = words.next_if(|word| word.starts_with('-')) {
            let name = option.split('=').next().unwrap_or(&option);
            if option == "--" {
                break;
            }
            if option == "-"
                || NOT_PLAIN.contains(&name)
                || name.starts_with("--watch")
                || name.starts_with("--inspect")
            {
                return None;
            }
            let value = if WITH_VALUE.contains(&option.as_str()) { Some(words.next()?) } else { None };
            command.start.options.push(option);
            command.start.options.extend(value);
        }
        command.start.entry = words.next().filter(|file| !file.is_empty())?;
        command.start.args = words.collect();
        Some(command)
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// How the app starts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Entry {
    start: Start,
    env: BTreeMap<String, String>,
    warnings: Vec<String>,
}

/// The app as Node sees it.
struct App<'a> {
    source: &'a Source<'a>,
    package: &'a Package,
}

impl App<'_> {
    /// How the app starts: with `main` of `package.json`; else as its start script says, when that is a plain `node
    /// FILE`; else with the first of the usual files that is there.
    ///
    /// When `main` and the start script run the same file, the script's options, arguments and variables count. When
    /// they run different files, `main` wins, as the documentation says it does, and a warning names the other: `npm
    /// start` would have run that one, so whoever meant it learns so at the build and not from an image that ends at once.
    fn entry(&self) -> Result<Entry, LanguageError> {
        let main = self.package.main.as_ref().map(|named| {
            self.main(self.package, "")
                .ok_or_else(|| format!("main in package.json ({named}: {})", self.absence(named)))
        });
        let command = self.package.start.as_ref().map(|script| self.start_script(script));
        match (main, command) {
            (Some(Ok(main)), Some(Ok(NodeCommand { start, .. }))) if main != start.entry => {
                let other = start.entry;
                let warning = format!(
                    "package.json names {main} as main, but its start script runs {other}: the image runs {main}; \
                     --cmd \"node {other}\" makes it run the other"
                );
                Ok(Entry { warnings: vec![warning], ..Entry::of(main) })
            }
            (_, Some(Ok(NodeCommand { env, start }))) => Ok(Entry { start, env, warnings: Vec::new() }),
            (Some(Ok(main)), _) => Ok(Entry::of(main)),
            (main, command) => self.default_entry(
                [main.and_then(Result::err), command.and_then(Result::err)].into_iter().flatten().collect(),
            ),
        }
    }

    /// The start script's command, its file resolved; or why it is not what starts the app.
    fn start_script(&self, script: &str) -> Result<NodeCommand, String> {
        let mut command = NodeCommand::parse(script)
            .ok_or_else(|| format!("its start script (`{script}` is not a plain `node FILE`)"))?;
        let named = &command.start.entry;
        command.start.entry = self
            .script_file(named)
            .ok_or_else(|| format!("its start script (node {named}: {})", self.absence(named)))?;
        Ok(command)
    }

    fn default_entry(&self, mut looked: Vec<String>) -> Result<Entry, LanguageError> {
        if let Some(file) = DEFAULTS.into_iter().find(|file| self.is_file(file)) {
            let warnings = looked.iter().map(|why| format!("the image runs {file}, not {why}")).collect();
            return Ok(Entry { warnings, ..Entry::of(file.to_owned()) });
        }
        let left_out = |file: &&str| self.is_left_out(file);
        looked.extend(DEFAULTS.into_iter().filter(left_out).map(|file| format!("{file} ({LEFT_OUT})")));
        looked.push("index.js, server.js, app.js (or .mjs, .cjs)".to_owned());
        let script = self.package.start.as_deref().and_then(NodeCommand::parse).map(|command| command.start.entry);
        let named = [self.package.main.clone(), script].into_iter().flatten().filter_map(|file| normal(&file));
        let left_out = named.chain(DEFAULTS.map(str::to_owned)).find(|file| self.is_left_out(file));
        let hint = match left_out {
            Some(file) => format!("--include {file} takes it in, whatever .dockerignore says"),
            None if self.package.builds => "`npm run build` first, if that makes it; or --cmd \"node FILE\"".to_owned(),
            None => "name it as main in package.json, or give --cmd \"node FILE\"".to_owned(),
        };
        Err(LanguageError::NoEntry { looked, hint })
    }

    /// Whether `path`, relative to the app's folder, is a file there and not one of the image's.
    fn is_left_out(&self, path: &str) -> bool {
        self.kind(path).is_none() && self.source.folder.is_file(path)
    }

    /// Why `path` is not among the app's files.
    fn absence(&self, path: &str) -> &'static str {
        match normal(path) {
            None => "outside the app's folder",
            Some(path) if self.is_left_out(&path) => LEFT_OUT,
            Some(_) => "no such file",
        }
    }

    /// What `main` of the package in `folder` leads to: Node's `LOAD_AS_DIRECTORY`
    /// (<https://nodejs.org/api/modules.html#all-together>).
    fn main(&self, package: &Package, folder: &str) -> Option<String> {
        let main = package.main.as_ref().filter(|main| !main.starts_with('/'))?;
        let path = normal(&if folder.is_empty() { main.clone() } else { format!("{folder}/{main}") })?;
        self.as_file(&path).or_else(|| self.index(&path))
    }

    /// What `node FILE` runs.
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

/// `path` without `.` and `..`, relative to the app's folder; the empty path is the folder itself. `None` when it leads
/// out of it.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::testing::Draft;

    #[test]
    fn knows_a_plain_start_script() {
        let command = |env: &[(&str, &str)], options: &[&str], entry: &str, args: &[&str]| {
            let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
            Some(NodeCommand {
                env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
                start: Start { options: words(options), entry: entry.to_owned(), args: words(args) },
            })
        };
        for (script, expected) in [
            ("node server.js", command(&[], &[], "server.js", &[])),
            ("  node   ./bin/www  ", command(&[], &[], "./bin/www", &[])),
            ("node .", command(&[], &[], ".", &[])),
            ("exec node a.js", command(&[], &[], "a.js", &[])),
            ("node a.js --port 80 -v", command(&[], &[], "a.js", &["--port", "80", "-v"])),
            ("node --enable-source-maps a.js", command(&[], &["--enable-source-maps"], "a.js", &[])),
            ("node -r dotenv/config a.js", command(&[], &["-r", "dotenv/config"], "a.js", &[])),
            ("node --import=x --import y a.js", command(&[], &["--import=x", "--import", "y"], "a.js", &[])),
            ("node --max-old-space-size=99 -- a.js b", command(&[], &["--max-old-space-size=99"], "a.js", &["b"])),
            (
                "NODE_ENV=production PORT= node a.js",
                command(&[("NODE_ENV", "production"), ("PORT", "")], &[], "a.js", &[]),
            ),
            ("cross-env A='b c' node a.js", command(&[("A", "b c")], &[], "a.js", &[])),
            ("node 'my app.js'", command(&[], &[], "my app.js", &[])),
            ("", None),
            ("node", None),
            ("node -", None),
            ("node --", None),
            ("node ''", None),
            ("node -e '1'", None),
            ("node -r", None),
            ("node --watch a.js", None),
            ("node --watch-path=src a.js", None),
            ("node --inspect=0.0.0.0 a.js", None),
            ("node --test", None),
            ("node a.js && echo", None),
            ("PORT=$PORT node a.js", None),
            ("1A=b node a.js", None),
            ("npm run serve", None),
            ("nodemon a.js", None),
            ("next start", None),
            ("node 'a.js", None),
        ] {
            assert_eq!(NodeCommand::parse(script), expected, "{script}");
        }
    }

    #[test]
    fn reads_package_json() {
        let parse = |text: &str| Package::parse(text, Path::new("package.json"));
        let package = parse(
            r#"{"name": "@a/b", "version": "1.2.3", "main": "x", "scripts": {"start": "node x", "build": "tsc"},
                "engines": {"node": ">=20"}, "dependencies": {"b": "1", "a": "1", "fsevents": "1"},
                "optionalDependencies": {"fsevents": "2"}, "devDependencies": {"c": "1"}}"#,
        );
        let expected = Package {
            name: Some("@a/b".into()),
            version: Some("1.2.3".into()),
            main: Some("x".into()),
            start: Some("node x".into()),
            builds: true,
            installs: false,
            local: false,
            engine: Some(">=20".into()),
            dependencies: vec!["a".into(), "b".into()],
            further: vec!["fsevents".into()],
        };
        assert_eq!(package.unwrap(), expected);
        // What npm and Node take no notice of: other types, old forms, a byte order mark.
        for text in [
            "{}",
            "[]",
            "null",
            "\u{feff}{}",
            r#"{"name": 1, "version": [], "main": "", "scripts": [], "engines": ["node >= 8"], "dependencies": null}"#,
            r#"{"main": {"x": 1}, "scripts": {"start": 1}, "dependencies": {}, "workspaces": [], "devDependencies": {"c": "1"}}"#,
        ] {
            let package = parse(text).unwrap();
            assert_eq!((package.named().is_empty(), package), (true, Package::default()), "{text}");
        }
        for text in [
            r#"{"workspaces": ["a"]}"#,
            r#"{"workspaces": {"packages": ["a"]}}"#,
            r#"{"optionalDependencies": {"a": ""}}"#,
        ] {
            assert!(!parse(text).unwrap().named().is_empty(), "{text}");
        }
        let error = parse("{\n  \"name\": x\n}").unwrap_err();
        assert_eq!(error.to_string(), "package.json:2:11: expected value");
    }

    #[test]
    fn knows_when_installing_reads_the_whole_project() {
        for (text, whole) in [
            (r#"{"dependencies": {"a": "^1"}, "devDependencies": {"b": "file:b"}, "scripts": {"test": "x"}}"#, false),
            (r#"{"dependencies": {"a": "file:../a"}}"#, true),
            (r#"{"optionalDependencies": {"a": "./a"}}"#, true),
            (r#"{"workspaces": ["a"]}"#, true),
            (r#"{"scripts": {"postinstall": "x"}}"#, true),
        ] {
            assert_eq!(Package::parse(text, Path::new("package.json")).unwrap().named().whole, whole, "{text}");
        }
    }

    #[test]
    fn reads_lock_files() {
        let text = r#"{"packages": {"": {"hasInstallScript": true}, "node_modules/b": {"hasInstallScript": true},
            "node_modules/c/node_modules/@s/a": {"hasInstallScript": true, "optional": true},
            "node_modules/d": {"hasInstallScript": true, "dev": true}, "node_modules/e": {}}}"#;
        let lock = Lock::parse(text, Path::new("package-lock.json")).unwrap();
        assert_eq!(lock, Lock { scripts: vec!["@s/a".into(), "b".into()], local: false });
        for local in [r#"{"packages": {"packages/x": {}}}"#, r#"{"packages": {"node_modules/x": {"link": true}}}"#] {
            assert!(Lock::parse(local, Path::new("x")).unwrap().local, "{local}");
        }
        for nothing in ["{}", "[]", r#"{"dependencies": {"a": {}}}"#] {
            assert_eq!(Lock::parse(nothing, Path::new("x")).unwrap(), Lock::default());
        }
    }

    #[test]
    fn finds_what_must_be_compiled() {
        let project = Draft::new(&[
            ("node_modules/a/package.json", r#"{"scripts": {"install": "node-gyp rebuild"}}"#),
            ("node_modules/a/test/package.json", r#"{"scripts": {"install": "node-gyp rebuild"}}"#),
            ("node_modules/b/node_modules/@s/c/binding.gyp", ""),
            ("node_modules/b/node_modules/@s/c/package.json", "{}"),
            ("node_modules/b/package.json", r#"{"scripts": {"install": "node check.js"}}"#),
            ("node_modules/d/package.json", r#"{"scripts": {"install": "node-gyp-build || true"}}"#),
            ("node_modules/d/prebuilds/linux-arm64", ""),
            ("node_modules/e/package.json", r#"{"scripts": {"install": "prebuild-install || node-gyp rebuild"}}"#),
            ("node_modules/f/package.json", "no JSON"),
        ]);
        let (app, files) = (project.folder(), project.files());
        assert_eq!(uncompiled(app, &files, "linux", "arm64"), ["a", "@s/c", "e"]);
        assert_eq!(uncompiled(app, &files, "linux", "x64"), ["a", "@s/c", "d", "e"]);
    }

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

    #[test]
    fn lists_what_is_installed() {
        let project = Draft::new(&[
            ("node_modules/a/package.json", r#"{"name": "a", "version": "1.0.0"}"#),
            ("node_modules/a/test/package.json", r#"{"name": "no", "version": "1.0.0"}"#),
            ("node_modules/b/node_modules/@s/c/package.json", r#"{"name": "@s/c", "version": "2.0.0-rc.1+x"}"#),
            ("node_modules/b/node_modules/a/package.json", r#"{"name": "a", "version": "1.0.0"}"#),
            ("node_modules/b/package.json", "no JSON"),
        ]);
        assert_eq!(project.purls(&Node), ["pkg:npm/%40s/c@2.0.0-rc.1%2Bx", "pkg:npm/a@1.0.0"]);
    }

    #[test]
    fn lock_files_are_read_where_something_is_installed() {
        let manifest = r#"{"dependencies": {"a": "1"}}"#;
        let project =
            Draft::new(&[("index.js", ""), ("package.json", manifest), ("package-lock.json", "{"), ("bun.lock", "")]);
        assert_eq!(project.read(&Node).unwrap_err(), "shop/package-lock.json:1:1: EOF while parsing an object");
        let source = Source { installs: false, ..project.source() };
        assert_eq!(Node.read(&source).unwrap().dependencies.unwrap().required, ["a"]);
        let project =
            Draft::new(&[("index.js", ""), ("package.json", manifest), ("pnpm-workspace.yaml", ""), ("bun.lock", "")]);
        let dependencies = project.read(&Node).unwrap().dependencies.unwrap();
        assert!(dependencies.whole);
        assert_eq!(dependencies.locks, ["bun.lock"]);
    }
}
