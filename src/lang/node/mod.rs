//! Node: `package.json`, the files that Node would look for, and the results and messages of npm, pnpm and Yarn.

mod build;
mod entry;
mod frameworks;
mod manifest;
mod modules;
mod script;
mod scripts;

use std::path::Path;

use build::Kind;
use entry::{App, DEFAULTS, Entry};
use manifest::Package;
use script::Launch;

use super::{
    Build, Component, Explanation, Facts, Installed, LARGEST, Language, LanguageError, Script, Source, explain, some,
};
use crate::{app_folder::AppFolder, listing::AppFile, values::BuildWish};

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
        let Ok(package) = Package::parse(&text.unwrap_or_default(), Path::new(MANIFEST)) else { return true };
        let launch = Launch::of(&package, "start").and_then(Result::ok);
        match build::plan(folder, &package, launch.as_ref(), &BuildWish::default()).map(|plan| plan.kind) {
            Some(Kind::Site { .. }) => false,
            Some(Kind::Server) if launch.is_some() => true,
            _ => {
                package.main.is_some() || package.start().is_some() || DEFAULTS.iter().any(|file| folder.is_file(file))
            }
        }
    }

    /// How it is built: see [`build::plan`]. How it starts: see [`App::entry`].
    fn read(&self, source: &Source<'_>) -> Result<Facts, LanguageError> {
        let manifest = source.place(MANIFEST);
        let package = source.read(MANIFEST)?.map(|text| Package::parse(&text, &manifest)).transpose()?;
        let package = package.unwrap_or_default();
        let launch = Launch::of(&package, "start").and_then(Result::ok);
        let plan = build::plan(source.folder, &package, launch.as_ref(), source.build).filter(|_| source.builds);
        let app = App { source, package: &package, plan: plan.as_ref() };
        let Entry { start, env, mut warnings, development } =
            if source.starts { app.entry()? } else { Entry::default() };
        let runtime = package.engines(&manifest)?;
        let mut dependencies = if source.installs { package.dependencies(source)? } else { package.named() };
        if !dependencies.not_here.is_empty() {
            warnings.push(format!(
                "the lock file has {} and nothing of that kind for Linux, which npm leaves out where node_modules of another system was \
                 there (npm/cli#4828): remove node_modules and the lock file, and `npm install` again",
                some(&dependencies.not_here)
            ));
        }
        if !development.is_empty() {
            dependencies.required.extend(development.iter().cloned());
            dependencies.env.insert(DEVELOPMENT.to_owned(), "1".to_owned());
            warnings.push(format!(
                "the start needs {}, which is among the devDependencies: all of them are installed; among the dependencies it \
                 makes the image smaller",
                some(&development)
            ));
        }
        Ok(Facts {
            build: plan.as_ref().map(|plan| plan.build(&package)),
            without: plan.map(|plan| plan.without()).unwrap_or_default(),
            files: Vec::new(),
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

    fn script(&self, folder: &AppFolder, words: &[String]) -> Option<Script> {
        let text = folder.read(MANIFEST, LARGEST).ok()?.unwrap_or_default();
        scripts::find(&text, words)
    }
}

/// A site that npm's tools build.
pub(super) struct SiteBuild {
    /// The folder that the build makes.
    pub(super) folder: String,
    /// Whether one page answers for every address.
    pub(super) single_page: bool,
    /// How it is built.
    pub(super) build: Build,
}

/// The site that the project in `folder` builds. `None` when it builds none, or has a program for Node.
pub(super) fn site(folder: &AppFolder, wish: &BuildWish) -> Option<SiteBuild> {
    let package = read(folder)?;
    let launch = Launch::of(&package, "start").and_then(Result::ok);
    let plan = build::plan(folder, &package, launch.as_ref(), wish)?;
    let build = plan.build(&package);
    match (plan.kind, wish.output.first()) {
        (Kind::Site { folder, single_page }, _) => Some(SiteBuild { folder, single_page, build }),
        // The user says what is built, and into which folder.
        (Kind::Server, Some(output)) => Some(SiteBuild {
            folder: output.as_str().to_owned(),
            single_page: false,
            build: Build { bundled: true, ..build },
        }),
        (Kind::Server, None) => None,
    }
}

/// Whether the project in `folder` has a program that Node can start.
pub(super) fn starts(folder: &AppFolder) -> bool {
    read(folder).is_some_and(|package| package.main.is_some() || package.start().is_some())
        || DEFAULTS.iter().any(|file| folder.is_file(file))
}

/// The name and the version of the project.
pub(super) fn named(source: &Source<'_>) -> Result<(Option<String>, Option<String>), LanguageError> {
    let manifest = source.place(MANIFEST);
    let package = source.read(MANIFEST)?.map(|text| Package::parse(&text, &manifest)).transpose()?.unwrap_or_default();
    Ok((package.name, package.version))
}

/// The project's `package.json`, where there is one that can be read.
fn read(folder: &AppFolder) -> Option<Package> {
    let text = folder.read(MANIFEST, LARGEST).ok()??;
    Package::parse(&text, Path::new(MANIFEST)).ok()
}

const SAYINGS: &[(&str, Explanation)] = &[
    ("gyp ERR!", Explanation::NeedsCompiler),
    ("ENOTCACHED", Explanation::NotCached),
    // npm 9 and earlier write `npm ERR!`.
    ("npm error code EUSAGE", Explanation::lock(LOCK)),
    ("npm ERR! code EUSAGE", Explanation::lock(LOCK)),
    ("npm error command sh -c", Explanation::hint(SCRIPT)),
    ("npm ERR! command sh -c", Explanation::hint(SCRIPT)),
    ("spawn git", Explanation::lacks(GIT)),
    ("git: not found", Explanation::lacks(GIT)),
];

const LOCK: &str =
    "bring the lock file up to date with package.json: `microbuild dev node APP -- npm install --package-lock-only`";

const SCRIPT: &str = "a package's own script failed, and its output is above; --ignore-scripts runs none";

const GIT: &str = "a package comes from a Git repository: --dev-package git brings what fetches it";

/// The file that describes a package to npm.
const MANIFEST: &str = "package.json";

/// The folder of installed dependencies.
const MODULES: &str = "node_modules";

/// The variable of steps that install: packages for development are needed at the start.
const DEVELOPMENT: &str = "DEVELOPMENT";

/// The variable of steps that install: the project has scripts of its own that npm runs then, and packages for development that
/// they may call.
const OWN_SCRIPTS: &str = "OWN_SCRIPTS";

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
