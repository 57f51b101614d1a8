//! What a project has installed for it: from which of its files, and what these say of it.

use std::collections::BTreeSet;

use super::{AppFile, Options, ProjectError, ignore::Rules, walk};
use crate::{
    app_folder::AppFolder,
    glob::PatternSet,
    lang,
    recipe::{Dependencies, Recipe},
};

/// What has to be installed for a project to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Install {
    /// Which of the recipe's ways of installing is meant.
    pub way: usize,
    /// The lock file that says exactly what; `None` when there is none.
    pub lock: Option<String>,
    /// The project's files that are read for it, sorted by path.
    pub files: Vec<AppFile>,
    /// Whether the project cannot do without some of it.
    pub required: bool,
    /// The packages that run scripts of their own when they are installed, as the lock file says.
    pub scripts: Vec<String>,
}

/// What `recipe` has installed for the app in the folder `root`, which `needs` that. `own` are the files that go into the image.
pub(super) fn read(
    root: &AppFolder,
    (way, recipe): (usize, &Dependencies),
    needs: lang::Dependencies,
    own: &[AppFile],
    options: &Options,
    warnings: &mut Vec<String>,
) -> Result<Install, ProjectError> {
    let lang::Dependencies { required, whole, scripts, locks, .. } = needs;
    let lock = recipe.lock.iter().find(|name| root.is_file(name)).cloned();
    if lock.is_none() && !recipe.lock.is_empty() {
        let other = locks.first().map_or_else(String::new, |name| format!(" ({name} is not read)"));
        let locks = recipe.lock.join(" or ");
        warnings.push(format!(
            "expected {locks}, found none{other}: what is installed may differ from one build to the next"
        ));
    }
    let mut install = Install { way, lock, required: !required.is_empty(), scripts, files: Vec::new() };
    // An ignore file that keeps them out of the image does not keep them from the package manager.
    let rules = Rules::for_app(Vec::new(), &recipe.files, &options.exclude, None, None);
    let wanted = PatternSet::new(recipe.files.clone());
    let top = walk::top(root, &rules, &|name| wanted.matches(name))?.into_files();
    let mut seen = BTreeSet::new();
    install.files =
        top.into_iter().chain(own.iter().filter(|_| whole).cloned()).filter(|f| seen.insert(f.path.clone())).collect();
    install.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(install)
}

/// What is to be installed, when something is, and this program is to do it. Of several ways the first counts that a file speaks
/// for: one of its `when`, or, without any, its lock file. Where none does and the language has found that the project `needs`
/// something, the first without `when` counts.
pub(super) fn wanted<'a>(
    root: &AppFolder,
    recipe: &'a Recipe,
    needs: Option<&lang::Dependencies>,
) -> Result<Option<(usize, &'a Dependencies)>, ProjectError> {
    if needs.is_some_and(lang::Dependencies::is_empty) {
        return Ok(None);
    }
    let files: Vec<String> = walk::names(root)?;
    let speaks = |(_, way): &(usize, &Dependencies)| {
        let patterns = PatternSet::new(way.when.clone());
        files.iter().any(|file| patterns.matches(file) || (way.when.is_empty() && way.lock.contains(file)))
    };
    let mut ways = recipe.dependencies.iter().enumerate();
    let way = ways.clone().find(speaks);
    let Some(needs) = needs.filter(|_| way.is_none()) else { return Ok(way) };
    match ways.find(|(_, way)| way.when.is_empty()) {
        Some(way) => Ok(Some(way)),
        None => Err(ProjectError::NotInstalled {
            recipe: recipe.name.clone(),
            names: [&needs.required[..], &needs.optional].concat(),
        }),
    }
}
