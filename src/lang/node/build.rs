//! How an app is built: by its framework, or by a script of its own.

use std::collections::BTreeMap;

use super::{
    super::{Build, Output, Start},
    frameworks::{self, Look},
    manifest::Package,
    script::Launch,
};
use crate::{
    app_folder::AppFolder,
    glob::Pattern,
    values::{BuildCommand, BuildWish},
};

/// Scripts that build an app for production. The first that exists counts.
const SCRIPTS: [&str; 6] = ["build", "build:prod", "build:production", "heroku-postbuild", "gcp-build", "compile"];

/// Files that a build reads, and that an app which is built does not need.
const SOURCES: [&str; 24] = [
    "**/*.ts",
    "**/*.tsx",
    "**/*.mts",
    "**/*.cts",
    "**/*.jsx",
    "**/*.vue",
    "**/*.svelte",
    "**/*.astro",
    "**/tsconfig*.json",
    "**/*.tsbuildinfo",
    "jsconfig.json",
    "nest-cli.json",
    "angular.json",
    ".swcrc",
    ".babelrc*",
    "babel.config.*",
    "webpack.config.*",
    "rollup.config.*",
    "vite.config.*",
    "vitest.config.*",
    "jest.config.*",
    "tailwind.config.*",
    "postcss.config.*",
    "**/__tests__",
];

/// Files that no app reads, whether it is built or not, where a build made the app.
const OF_DEVELOPERS: [&str; 14] = [
    ".editorconfig",
    ".eslintrc*",
    "eslint.config.*",
    ".gitattributes",
    ".github",
    ".gitignore",
    ".nvmrc",
    ".prettier*",
    ".vscode",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "pnpm-workspace.yaml",
    "yarn.lock",
];

/// What a build makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A program for Node.
    Server,
    /// Files for browsers.
    Site {
        /// Their folder.
        folder: String,
        /// Whether one page answers for every address.
        single_page: bool,
    },
}

/// The app's own files that the image needs besides the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    /// None of them.
    Nothing,
    /// Those that no build reads.
    WithoutSources,
    /// All.
    Everything,
}

/// How an app is built, and how the result starts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) kind: Kind,
    /// The command line.
    pub(super) run: String,
    pub(super) output: Vec<Output>,
    /// Whether the result needs no installed packages.
    pub(super) bundled: bool,
    pub(super) own: Own,
    /// How the result starts, where the framework knows it.
    pub(super) start: Option<Start>,
    /// Variables for the app.
    pub(super) env: BTreeMap<String, String>,
    /// Variables for the build.
    pub(super) build_env: BTreeMap<String, String>,
}

impl Plan {
    /// The plan of a program that `run` builds. Everything that it writes is needed.
    pub(super) fn server(run: String) -> Self {
        Self {
            kind: Kind::Server,
            run,
            output: vec![Output::New],
            bundled: false,
            own: Own::WithoutSources,
            start: None,
            env: BTreeMap::new(),
            build_env: BTreeMap::new(),
        }
    }

    /// The same as a language tells it.
    pub(super) fn build(&self, package: &Package) -> Build {
        Build {
            run: self.run.clone(),
            output: self.output(),
            env: self.build_env.clone(),
            installs: !package.versions.is_empty(),
            bundled: self.bundled || self.kind != Kind::Server,
        }
    }

    /// The app's own files that the image does not need.
    pub(super) fn without(&self) -> Vec<Pattern> {
        let patterns = |texts: &[&str]| texts.iter().filter_map(|text| text.parse().ok()).collect::<Vec<Pattern>>();
        // What the build makes anew.
        let made = self.output().into_iter().filter_map(|output| match output {
            Output::Path { to, .. } if to != "." => to.parse().ok(),
            _ => None,
        });
        match self.own {
            Own::Nothing => patterns(&["**", "!package.json"]),
            Own::WithoutSources => [patterns(&SOURCES), patterns(&OF_DEVELOPERS), made.collect()].concat(),
            Own::Everything => made.collect(),
        }
    }

    fn output(&self) -> Vec<Output> {
        match &self.kind {
            Kind::Server => self.output.clone(),
            Kind::Site { folder, .. } => vec![Output::at(folder)],
        }
    }
}

/// The command that runs the project's own script that builds it.
pub(super) fn own_script(package: &Package) -> Option<String> {
    SCRIPTS.iter().find(|name| package.script(name).is_some()).map(|name| format!("npm run {name}"))
}

/// How the project `package` in `folder` is built. `None` when it runs as it is.
pub(super) fn plan(folder: &AppFolder, package: &Package, launch: Option<&Launch>, wish: &BuildWish) -> Option<Plan> {
    let look = Look { folder, package, launch };
    let plan = frameworks::plan(&look).or_else(|| of_scripts(&look));
    let plan = match (&wish.run, plan) {
        (Some(BuildCommand::None), _) => return None,
        (Some(BuildCommand::Run(line)), plan) => {
            Some(Plan { run: line.clone(), ..plan.unwrap_or_else(|| Plan::server(line.clone())) })
        }
        (None, plan) => plan,
    };
    let mut plan = with_prisma(&look, plan)?;
    if !wish.output.is_empty() {
        plan.output = wish.output.iter().map(|path| Output::at(path.as_str())).collect();
        if let (Kind::Site { folder, .. }, Some(path)) = (&mut plan.kind, wish.output.first()) {
            path.as_str().clone_into(folder);
        }
    }
    Some(plan)
}

/// The plan of a project without a framework: its own script, what its start script runs first, or TypeScript's compiler.
fn of_scripts(look: &Look<'_>) -> Option<Plan> {
    let first = || look.launch.filter(|launch| !launch.builds.is_empty()).map(|launch| launch.builds.join(" && "));
    let run = own_script(look.package).or_else(first).or_else(|| of_typescript(look))?;
    let runs_sources = look.launch.is_some_and(|launch| {
        let of_typescript = |word: &String| [".ts", ".tsx", ".mts", ".cts"].iter().any(|end| word.ends_with(end));
        !launch.is_file() || of_typescript(&launch.start.entry) || launch.start.args.iter().any(of_typescript)
    });
    let own = if runs_sources { Own::Everything } else { Own::WithoutSources };
    Some(Plan { own, ..Plan::server(run) })
}

/// TypeScript's compiler, where the app's start needs what it makes.
fn of_typescript(look: &Look<'_>) -> Option<String> {
    let is_project = look.package.has("typescript") && look.folder.is_file("tsconfig.json");
    let starts = look.launch.map(|launch| &*launch.start.entry).or(look.package.main.as_deref());
    let is_made = |file: &str| file.ends_with(".js") && !look.folder.is_file(file.trim_start_matches("./"));
    (is_project && starts.is_none_or(is_made)).then(|| "tsc".to_owned())
}

/// Prisma's client is generated from its schema, for this platform.
fn with_prisma(look: &Look<'_>, plan: Option<Plan>) -> Option<Plan> {
    const GENERATE: &str = "prisma generate";
    let is_used = look.package.has("prisma")
        && ["prisma/schema.prisma", "schema.prisma", "prisma.config.ts"].iter().any(|file| look.folder.is_file(file));
    if !is_used {
        return plan;
    }
    let generated = ["node_modules/.prisma", "node_modules/.pnpm/*/node_modules/.prisma"];
    let generated = generated.map(|path| Output::at(path).optional());
    let mut plan = match plan {
        None => Plan { own: Own::Everything, ..Plan::server(GENERATE.to_owned()) },
        Some(plan) => {
            let is_called = look.package.scripts.values().any(|script| script.contains(GENERATE));
            let run = if is_called { plan.run.clone() } else { format!("{GENERATE} && {}", plan.run) };
            Plan { run, ..plan }
        }
    };
    if !plan.bundled {
        plan.output.extend(generated);
    }
    Some(plan)
}
