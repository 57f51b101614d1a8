//! Node: `package.json`, the files that Node would look for, and the results and messages of npm, pnpm and Yarn.

mod entry;
mod manifest;
mod modules;

use std::path::Path;

use entry::{App, DEFAULTS, Entry};
use manifest::Package;

use super::{Component, Explanation, Facts, Installed, LARGEST, Language, LanguageError, Source, explain};
use crate::{app_folder::AppFolder, listing::AppFile};

/// Node, with its package managers.
#[derive(Debug)]
pub(super) struct Node;

impl Language for Node {
    fn name(&self) -> &'static str {
        "node"
    }

    /// Rails, Laravel and others make their styles and scripts with npm packages. Such a project has no file that Node
    /// could start.
    fn is_app(&self, folder: &AppFolder) -> bool {
        let Ok(text) = folder.read(MANIFEST, LARGEST) else { return true };
        let package = Package::parse(&text.unwrap_or_default(), Path::new(MANIFEST));
        let starts = |package: Package| package.main.is_some() || package.start.is_some();
        package.map_or(true, starts) || DEFAULTS.iter().any(|file| folder.is_file(file))
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
            ..Facts::default()
        })
    }

    fn components(&self, folder: &AppFolder, files: &[AppFile]) -> Vec<Component> {
        modules::components(folder, files)
    }

    fn uncompiled(&self, folder: &AppFolder, files: &[AppFile], os: &str, cpu: &str) -> Vec<String> {
        modules::uncompiled(folder, files, os, cpu)
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
        Explanation::lock(
            "bring the lock file up to date with package.json: `microbuild dev node APP -- npm install --package-lock-only`",
        ),
    ),
    (
        "npm error command sh -c",
        Explanation::hint(
            "a package's own script failed: development dependencies are not installed here; --ignore-scripts runs none",
        ),
    ),
];

/// The file that describes a package to npm.
const MANIFEST: &str = "package.json";

/// The folder of installed dependencies.
const MODULES: &str = "node_modules";

/// Package managers that run the start script of `package.json`. Images have none of them.
const MANAGERS: [&str; 5] = ["npm", "npx", "pnpm", "yarn", "bun"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::testing::Draft;

    #[test]
    fn what_only_makes_styles_is_no_app() {
        for (package, more, is_app) in [
            (
                r#"{"private": true, "scripts": {"build": "vite build"}, "devDependencies": {"vite": "7"}}"#,
                "app.php",
                false,
            ),
            (r#"{"dependencies": {"esbuild": "1"}}"#, "index.js", true),
            (r#"{"scripts": {"start": "node x"}}"#, "x", true),
            (r#"{"main": "x"}"#, "x", true),
            ("no JSON", "x", true),
        ] {
            assert_eq!(Node.is_app(Draft::new(&[("package.json", package), (more, "")]).folder()), is_app, "{package}");
        }
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
