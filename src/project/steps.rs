//! A recipe's steps that a project has, and the files that they see.

use std::collections::{BTreeMap, BTreeSet};

use super::{AppFile, ProjectError, ignore::Rules, walk};
use crate::{
    app_folder::AppFolder,
    glob::{Pattern, PatternSet},
    lang::{self, GeneratedFile},
    listing::Listing,
    recipe::{Recipe, Step},
    values::Deps,
};

/// A step of a recipe that a project has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectStep {
    /// Its index among the recipe's steps.
    pub at: usize,
    /// The lock file; `None` when there is none.
    pub lock: Option<String>,
    /// The project's files that the step sees, sorted by path.
    pub files: Vec<AppFile>,
    /// Additional files that the step sees, which the language makes from the project's.
    pub generated: Vec<GeneratedFile>,
    /// Whether the app needs the result.
    pub required: bool,
    /// The packages with install scripts, according to the lock file.
    pub scripts: Vec<String>,
    /// Variables for its command, from what the language read.
    pub env: BTreeMap<String, String>,
}

/// The indexes of the steps of `recipe` that a project has, in order. `names` are the files at the project's top.
/// `dependencies` are those that its language knows. Steps that install are left out where there is nothing to install, and
/// steps that build where the project has no `build`; `None` for what nobody has asked for yet.
///
/// Of several steps with one name, the first whose `when` or `lock` names a file counts; else the one without `when`.
pub(super) fn of_project(
    names: &[String],
    recipe: &Recipe,
    dependencies: Option<&lang::Dependencies>,
    build: Option<Option<&lang::Build>>,
) -> Vec<usize> {
    let nothing_to_install = dependencies.is_some_and(lang::Dependencies::is_empty);
    let is_needed = |step: &Step| match (step.builds, step.installs, build) {
        (_, _, None) => true,
        (true, installs, Some(build)) => build.is_some_and(|build| build.installs || !installs),
        (false, true, Some(build)) => !nothing_to_install && !build.is_some_and(|build| build.bundled),
        (false, false, Some(_)) => true,
    };
    let is_asked_for = |step: &Step| {
        let when = PatternSet::new(step.when.clone());
        names.iter().any(|name| when.matches(name) || (step.when.is_empty() && step.lock.contains(name)))
    };
    let mut chosen = Vec::new();
    let mut seen = BTreeSet::new();
    for step in recipe.steps.iter().filter(|step| is_needed(step)) {
        if !seen.insert(&step.name) {
            continue;
        }
        let ways = || recipe.steps.iter().enumerate().filter(|(_, way)| way.name == step.name);
        let way = ways().find(|(_, way)| is_asked_for(way)).or_else(|| ways().find(|(_, way)| way.when.is_empty()));
        chosen.extend(way.map(|(at, _)| at));
    }
    chosen
}

/// The steps at the indexes `chosen` that run with `deps`. Steps that install run with `auto` only.
///
/// # Errors
/// When the project has dependencies that none of them installs.
pub(super) fn to_run(
    chosen: &[usize],
    recipe: &Recipe,
    dependencies: Option<&lang::Dependencies>,
    deps: Deps,
) -> Result<Vec<usize>, ProjectError> {
    let installs = |at: &usize| recipe.steps.get(*at).is_some_and(|step| step.installs);
    if deps != Deps::Auto {
        return Ok(chosen.iter().copied().filter(|at| !installs(at)).collect());
    }
    match dependencies {
        Some(needs) if !needs.is_empty() && !chosen.iter().any(installs) => Err(ProjectError::NotInstalled {
            recipe: recipe.name.clone(),
            names: [&needs.required[..], &needs.optional].concat(),
        }),
        _ => Ok(chosen.to_vec()),
    }
}

/// The files by which `recipe` recognizes the project, where an ignore file leaves out every one of them: then it describes
/// what goes into an image that is made in another way, and not what is compiled. `names` are the files at the project's
/// top, `files` those that are not left out.
pub(super) fn hidden(names: &[String], folder: &AppFolder, recipe: &Recipe, files: &Listing) -> Option<Vec<String>> {
    if !recipe.app.is_made {
        return None;
    }
    let patterns = PatternSet::new(recipe.detect.clone());
    let paths = recipe.detect.iter().map(ToString::to_string).filter(|path| path.contains('/') && !path.contains('*'));
    let paths = paths.filter(|path| folder.kind(path).is_some());
    let found: Vec<String> = names.iter().filter(|name| patterns.matches(name)).cloned().chain(paths).collect();
    let is_hidden = !found.is_empty() && found.iter().all(|path| files.get(path).is_none());
    is_hidden.then_some(found)
}

/// What tells the user that steps see more files than the ignore file says.
pub(super) fn told_hidden(hidden: &[String]) -> String {
    let names = lang::some(hidden);
    format!(
        "the ignore file leaves out {names}, so it is not for the compiler: steps see all files, the image only those left in"
    )
}

/// The files that a project's steps can see.
pub(super) struct Seen<'a> {
    /// The app's folder.
    pub(super) folder: &'a AppFolder,
    /// Its files that go into the image.
    pub(super) files: &'a [AppFile],
    /// The project's dependencies.
    pub(super) dependencies: &'a lang::Dependencies,
    /// Files that the language has made for steps that install.
    pub(super) generated: &'a [GeneratedFile],
    /// Files for steps that compile: a repository that knows the commit, where a script of the app asks for it.
    pub(super) repository: &'a [GeneratedFile],
    /// The files that the user excludes.
    pub(super) exclude: &'a [Pattern],
    /// How the app is built.
    pub(super) build: Option<&'a lang::Build>,
}

impl Seen<'_> {
    /// Makes `step`, at the index `at` of its recipe, a step of this project.
    pub(super) fn by(&self, at: usize, step: &Step, warnings: &mut Vec<String>) -> Result<ProjectStep, ProjectError> {
        let needs = self.dependencies;
        let lock = step.lock.iter().find(|name| self.folder.is_file(name)).cloned();
        if lock.is_none() && !step.lock.is_empty() && !(step.builds && step.installs) {
            let other = needs.locks.first().map_or_else(String::new, |name| format!(" ({name} is not read)"));
            let locks = step.lock.join(" or ");
            warnings.push(format!("expected {locks}, found none{other}: each build may install other versions"));
        }
        let mut files: Vec<AppFile> = Vec::new();
        if !step.files.is_empty() {
            // The package manager gets them even where an ignore file keeps them out of the image.
            let rules = Rules::for_app(Vec::new(), &step.files, self.exclude, &[], None);
            let wanted = PatternSet::new(step.files.clone());
            files = walk::top(self.folder, &rules, &|name| wanted.matches(name))?.into_files();
        }
        if step.files.is_empty() || (step.installs && needs.whole) {
            let mut seen: BTreeSet<String> = files.iter().map(|file| file.path.clone()).collect();
            files.extend(self.files.iter().filter(|file| seen.insert(file.path.clone())).cloned());
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let read = ProjectStep { at, lock, files, ..ProjectStep::default() };
        match (step.builds, self.build) {
            (true, Some(build)) => {
                let required = !step.installs;
                let generated = if step.installs { self.generated.to_vec() } else { Vec::new() };
                Ok(ProjectStep { env: variables(build), required, generated, ..read })
            }
            _ if step.installs => {
                let (generated, required) = (self.generated.to_vec(), !needs.required.is_empty());
                let (scripts, env) = (needs.scripts.clone(), needs.env.clone());
                Ok(ProjectStep { generated, required, scripts, env, ..read })
            }
            _ => Ok(ProjectStep { generated: self.repository.to_vec(), ..read }),
        }
    }
}

/// The variables for the steps of a build; see [`Step::builds`].
fn variables(build: &lang::Build) -> BTreeMap<String, String> {
    let line = |output: &lang::Output| match output {
        lang::Output::New => "+\n".to_owned(),
        lang::Output::Path { from, to, optional } => format!("{from}\t{to}{}\n", if *optional { "\t?" } else { "" }),
    };
    let told = [("BUILD", build.run.clone()), ("OUTPUT", build.output.iter().map(line).collect())];
    build.env.clone().into_iter().chain(told.map(|(name, value)| (name.to_owned(), value))).collect()
}
