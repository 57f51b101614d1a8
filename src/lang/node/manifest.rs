//! `package.json` and `package-lock.json`, as npm reads them.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use super::{
    super::{Dependencies, LanguageError, Source, Versions, WantedRuntime, json},
    MANIFEST, MODULES, OWN_SCRIPTS,
};

/// npm's lock files. The first one counts.
const NPM_LOCKS: [&str; 2] = ["npm-shrinkwrap.json", "package-lock.json"];
/// Lock files of other package managers.
const OTHER_LOCKS: [&str; 4] = ["yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb"];
/// The file that names the packages of a pnpm workspace, which `package.json` does not do.
const PNPM_WORKSPACE: &str = "pnpm-workspace.yaml";

/// What stands for the dependencies of workspaces, whose names are not read.
const OF_WORKSPACES: &str = "those of its workspaces";

/// A project's own scripts that npm runs during installation (npm's documentation, "scripts", "Life Cycle Scripts").
const LIFE_CYCLE: [&str; 7] =
    ["preinstall", "install", "postinstall", "preprepare", "prepare", "postprepare", "prepublish"];

/// The parts of a `package.json` that matter for an image. A value of another type than npm's counts as absent, as in
/// npm and Node.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) main: Option<String>,
    /// The scripts that are not empty, by name.
    pub(super) scripts: BTreeMap<String, String>,
    /// The files of the programs that it brings, by name.
    pub(super) bin: BTreeMap<String, String>,
    /// The file that others import: `exports`.
    pub(super) exported: Option<String>,
    /// The versions of the packages that it names, for whatever purpose.
    pub(super) versions: BTreeMap<String, String>,
    /// The names of the packages that only its development needs.
    pub(super) development: Vec<String>,
    /// The package manager that it names, with its version.
    pub(super) manager: Option<String>,
    /// Whether npm runs a script of the project during installation.
    pub(super) installs: bool,
    /// Whether packages to install are in folders of the project.
    pub(super) local: bool,
    /// The range of Node versions that it asks for, as it is written.
    pub(super) engine: Option<String>,
    /// The names of the packages that it needs.
    pub(super) dependencies: Vec<String>,
    /// The names of the other packages to install: optional ones, and those that workspaces need.
    pub(super) further: Vec<String>,
}

impl Package {
    /// Reads the text of a `package.json`; `file` is its name in messages.
    pub(super) fn parse(text: &str, file: &Path) -> Result<Self, LanguageError> {
        let json = json(text, file)?;
        let text = |value: &Value| value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned);
        let names = |key: &str| json[key].as_object().into_iter().flat_map(serde_json::Map::keys).cloned();
        let optional: Vec<String> = names("optionalDependencies").collect();
        let sources = ["dependencies", "optionalDependencies"].into_iter().filter_map(|key| json[key].as_object());
        let is_local = |source: &Value| {
            let source = source.as_str().unwrap_or_default();
            ["file:", "link:", "./", "../", "~/", "/"].iter().any(|prefix| source.starts_with(prefix))
        };
        let local = sources.flat_map(serde_json::Map::values).any(is_local) || patches(&json);
        let texts = |value: &Value| {
            let entries = value.as_object().into_iter().flatten();
            entries.filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect::<BTreeMap<_, _>>()
        };
        let workspaces = match &json["workspaces"] {
            Value::Array(folders) => !folders.is_empty(),
            other => other["packages"].as_array().is_some_and(|folders| !folders.is_empty()),
        };
        Ok(Self {
            name: text(&json["name"]),
            version: text(&json["version"]),
            main: text(&json["main"]),
            scripts: texts(&json["scripts"]),
            bin: match text(&json["bin"]) {
                Some(file) => [(String::new(), file)].into(),
                None => texts(&json["bin"]),
            },
            exported: exported(&json["exports"]),
            versions: ["peerDependencies", "devDependencies", "optionalDependencies", "dependencies"]
                .into_iter()
                .flat_map(|key| texts(&json[key]))
                .collect(),
            development: names("devDependencies").collect(),
            manager: text(&json["packageManager"]),
            installs: LIFE_CYCLE.iter().any(|name| json["scripts"][name].is_string()),
            local: local || workspaces,
            engine: text(&json["engines"]["node"]),
            // As in npm, an optional entry wins over the same one here.
            dependencies: names("dependencies").filter(|name| !optional.contains(name)).collect(),
            further: optional.into_iter().chain(workspaces.then(|| OF_WORKSPACES.to_owned())).collect(),
        })
    }

    /// The start script.
    pub(super) fn start(&self) -> Option<&str> {
        self.script("start")
    }

    /// The script `name`.
    pub(super) fn script(&self, name: &str) -> Option<&str> {
        self.scripts.get(name).map(String::as_str)
    }

    /// Whether it names the package `name`, for whatever purpose.
    pub(super) fn has(&self, name: &str) -> bool {
        self.versions.contains_key(name)
    }

    /// Whether the image has the package `name`, as far as `package.json` says it.
    pub(super) fn ships(&self, name: &str) -> bool {
        self.dependencies.iter().chain(&self.further).any(|known| known == name)
    }

    /// The dependencies, as far as `package.json` names them.
    pub(super) fn named(&self) -> Dependencies {
        Dependencies {
            required: self.dependencies.clone(),
            optional: self.further.clone(),
            whole: self.local || self.installs,
            env: (self.installs && !self.development.is_empty())
                .then(|| (OWN_SCRIPTS.to_owned(), "1".to_owned()))
                .into_iter()
                .collect(),
            ..Dependencies::default()
        }
    }

    /// The dependencies, with the facts from lock files.
    pub(super) fn dependencies(&self, source: &Source<'_>) -> Result<Dependencies, LanguageError> {
        let mut dependencies = self.named();
        if let Some(text) = source.read(PNPM_WORKSPACE)? {
            dependencies.whole = true;
            // Newer versions of pnpm keep settings there, too.
            if text.lines().any(|line| line.starts_with("packages:")) {
                dependencies.optional.push(OF_WORKSPACES.to_owned());
            }
        }
        if dependencies.is_empty() {
            return Ok(dependencies);
        }
        for name in NPM_LOCKS {
            if let Some(text) = source.read(name)? {
                let lock = Lock::parse(&text, &source.place(name))?;
                dependencies.whole |= lock.local;
                dependencies.scripts = lock.scripts;
                dependencies.not_here = lock.not_here;
                dependencies.locks.push(name.to_owned());
                break;
            }
        }
        let others = OTHER_LOCKS.into_iter().filter(|name| source.folder.kind(name).is_some());
        dependencies.locks.extend(others.map(str::to_owned));
        Ok(dependencies)
    }

    pub(super) fn engines(&self, file: &Path) -> Result<Option<WantedRuntime>, LanguageError> {
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

/// Whether packages are patched with files of the project: by pnpm, or by Yarn's protocol `patch:`.
fn patches(json: &Value) -> bool {
    let is_patch = |value: &Value| value.as_str().is_some_and(|source| source.starts_with("patch:"));
    let has_patch = |value: &Value| value.as_object().is_some_and(|entries| entries.values().any(is_patch));
    let of_pnpm = json["pnpm"]["patchedDependencies"].as_object().is_some_and(|entries| !entries.is_empty());
    of_pnpm || ["dependencies", "devDependencies", "resolutions"].iter().any(|key| has_patch(&json[*key]))
}

/// The file of `exports` (Node's documentation, "Package entry points"): the main one, for `import` or `require`.
fn exported(value: &Value) -> Option<String> {
    match value {
        Value::String(file) => Some(file.clone()),
        Value::Object(entries) => {
            let wanted = [".", "node", "import", "module-sync", "require", "default"];
            wanted.iter().find_map(|key| exported(entries.get(*key)?))
        }
        _ => None,
    }
}

/// The parts of a `package-lock.json` that matter before installation (npm's documentation, "package-lock.json").
#[derive(Debug, Default, PartialEq, Eq)]
struct Lock {
    /// The packages with install scripts, without those for development; sorted.
    scripts: Vec<String>,
    /// Whether some packages are in folders of the project.
    local: bool,
    /// Packages with a binary for each system, of which the lock has those for other systems only; sorted.
    not_here: Vec<String>,
}

/// Words for systems and processors in the names of packages that hold a binary for one of them.
const PLATFORMS: [&str; 22] = [
    "aix",
    "android",
    "arm",
    "arm64",
    "armhf",
    "armv6",
    "armv7",
    "darwin",
    "freebsd",
    "gnu",
    "ia32",
    "linux",
    "linuxmusl",
    "msvc",
    "musl",
    "netbsd",
    "openbsd",
    "sunos",
    "universal",
    "win32",
    "x64",
    "x86_64",
];

/// The name of a package without words for systems and processors. `None` when it has none of a system.
fn without_platform(name: &str) -> Option<String> {
    let is_of_system = |word: &str| matches!(word, "darwin" | "win32" | "linux" | "linuxmusl" | "freebsd");
    let words: Vec<&str> = name.split('-').collect();
    // `@esbuild/darwin-arm64` begins with the scope.
    let plain = |word: &&str| !PLATFORMS.contains(&word.rsplit('/').next().unwrap_or(word));
    let has_system = words.iter().any(|word| is_of_system(word.rsplit('/').next().unwrap_or(word)));
    has_system.then(|| {
        let scope = name.split_once('/').map_or("", |(scope, _)| scope);
        format!("{scope} {}", words.into_iter().filter(plain).collect::<Vec<_>>().join("-"))
    })
}

impl Lock {
    /// Reads the text of a lock file; `file` is its name in messages.
    fn parse(text: &str, file: &Path) -> Result<Self, LanguageError> {
        let json = json(text, file)?;
        let mut lock = Self::default();
        let mut binaries: BTreeMap<String, (String, bool)> = BTreeMap::new();
        // Version 1 (npm 5 and 6) has `dependencies` only, and no facts about scripts.
        for (path, package) in json["packages"].as_object().into_iter().flatten().filter(|(path, _)| !path.is_empty()) {
            let is = |key: &str| package[key] == true;
            lock.local |= is("link") || !path.contains(MODULES);
            let name = path.rsplit_once("node_modules/").map_or(path.as_str(), |(_, name)| name);
            let systems = package["os"].as_array().filter(|systems| !systems.is_empty() && !is("dev"));
            if let (Some(systems), Some(base)) = (systems, without_platform(name)) {
                let is_linux = systems.iter().any(|system| system == "linux");
                binaries.entry(base).or_insert_with(|| (name.to_owned(), false)).1 |= is_linux;
            }
            if is("hasInstallScript") && !is("dev") && !is("devOptional") {
                lock.scripts.push(name.to_owned());
            }
        }
        lock.not_here = binaries.into_values().filter(|(_, is_linux)| !is_linux).map(|(name, _)| name).collect();
        lock.not_here.sort();
        lock.scripts.sort();
        lock.scripts.dedup();
        Ok(lock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            scripts: [("build", "tsc"), ("start", "node x")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            versions: [("a", "1"), ("b", "1"), ("c", "1"), ("fsevents", "1")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
            development: vec!["c".into()],
            bin: BTreeMap::new(),
            exported: None,
            manager: None,
            installs: false,
            local: false,
            engine: Some(">=20".into()),
            dependencies: vec!["a".into(), "b".into()],
            further: vec!["fsevents".into()],
        };
        assert_eq!(package.unwrap(), expected);
        // Forms that npm and Node ignore or accept: other types, old forms, a byte order mark.
        for text in [
            "{}",
            "[]",
            "null",
            "\u{feff}{}",
            r#"{"name": 1, "version": [], "main": "", "scripts": [], "engines": ["node >= 8"], "dependencies": null}"#,
            r#"{"main": {"x": 1}, "scripts": {"start": 1}, "dependencies": {}, "workspaces": [], "devDependencies": []}"#,
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
            (r#"{"dependencies": {"a": "1"}, "pnpm": {"patchedDependencies": {"a@1": "patches/a.patch"}}}"#, true),
            (r#"{"dependencies": {"a": "patch:a@npm%3A1#~/.yarn/patches/a.patch"}}"#, true),
            (r#"{"scripts": {"postinstall": "x"}}"#, true),
        ] {
            assert_eq!(Package::parse(text, Path::new("package.json")).unwrap().named().whole, whole, "{text}");
        }
    }

    #[test]
    fn knows_what_is_there_for_other_systems_only() {
        let of = |packages: &str| {
            Lock::parse(&format!(r#"{{"packages": {{{packages}}}}}"#), Path::new("package-lock.json")).unwrap().not_here
        };
        let mac = r#""node_modules/@img/sharp-darwin-arm64": {"os": ["darwin"], "cpu": ["arm64"], "optional": true}"#;
        let linux = r#""node_modules/@img/sharp-linux-x64": {"os": ["linux"], "cpu": ["x64"], "optional": true}"#;
        let musl = r#""node_modules/@img/sharp-linuxmusl-x64": {"os": ["linux"], "libc": ["musl"], "optional": true}"#;
        let fsevents = r#""node_modules/fsevents": {"os": ["darwin"], "optional": true}"#;
        let dev = r#""node_modules/@esbuild/darwin-arm64": {"os": ["darwin"], "dev": true, "optional": true}"#;
        assert_eq!(of(mac), ["@img/sharp-darwin-arm64"]);
        assert!(of(&[mac, linux].join(",")).is_empty());
        assert!(of(&[mac, musl].join(",")).is_empty());
        assert!(of(&[fsevents, dev].join(",")).is_empty());
    }

    #[test]
    fn reads_lock_files() {
        let text = r#"{"packages": {"": {"hasInstallScript": true}, "node_modules/b": {"hasInstallScript": true},
            "node_modules/c/node_modules/@s/a": {"hasInstallScript": true, "optional": true},
            "node_modules/d": {"hasInstallScript": true, "dev": true}, "node_modules/e": {}}}"#;
        let lock = Lock::parse(text, Path::new("package-lock.json")).unwrap();
        assert_eq!(lock, Lock { scripts: vec!["@s/a".into(), "b".into()], ..Lock::default() });
        for local in [r#"{"packages": {"packages/x": {}}}"#, r#"{"packages": {"node_modules/x": {"link": true}}}"#] {
            assert!(Lock::parse(local, Path::new("x")).unwrap().local, "{local}");
        }
        for nothing in ["{}", "[]", r#"{"dependencies": {"a": {}}}"#] {
            assert_eq!(Lock::parse(nothing, Path::new("x")).unwrap(), Lock::default());
        }
    }
}
