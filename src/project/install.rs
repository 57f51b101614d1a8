//! What a project has installed for it: from which of its files, and what these say of it.

use std::collections::BTreeSet;

use super::{AppFile, LARGEST, Options, ProjectError, ignore::Rules, node, walk};
use crate::{
    app_folder::AppFolder,
    glob::PatternSet,
    recipe::{Dependencies, Hook, Recipe},
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

/// What `recipe` has installed for the app in the folder `root`. `own` are the files that go into the image.
pub(super) fn read(
    root: &AppFolder,
    (way, recipe): (usize, &Dependencies),
    package: &node::Package,
    own: &[AppFile],
    options: &Options,
    warnings: &mut Vec<String>,
) -> Result<Install, ProjectError> {
    let mut install = Install { way, required: !package.dependencies.is_empty(), ..Install::default() };
    let mut whole = package.is_whole();
    let is_node = recipe.when.is_empty();
    for name in &recipe.lock {
        if !is_node && root.is_file(name) {
            install.lock = Some(name.clone());
            break;
        }
        if is_node && let Some(text) = root.read(name, LARGEST)? {
            let lock = node::Lock::parse(&text, &root.path().join(name))?;
            whole |= lock.local;
            install.scripts = lock.scripts;
            install.lock = Some(name.clone());
            break;
        }
    }
    if install.lock.is_none() && !recipe.lock.is_empty() {
        let other = node::OTHER_LOCKS.into_iter().find(|name| is_node && root.kind(name).is_some());
        let other = other.map_or_else(String::new, |name| format!(" ({name} is not read)"));
        let locks = recipe.lock.join(" or ");
        warnings.push(format!(
            "expected {locks}, found none{other}: what is installed may differ from one build to the next"
        ));
    }
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
/// for: one of its `when`, or of the hook's own, its lock file; without any, the hook's.
pub(super) fn wanted<'a>(
    root: &AppFolder,
    recipe: &'a Recipe,
    package: &node::Package,
) -> Result<Option<(usize, &'a Dependencies)>, ProjectError> {
    let is_node = recipe.app.hook == Some(Hook::Node);
    if is_node && !package.has_dependencies() {
        return Ok(None);
    }
    let files: Vec<String> = walk::names(root)?;
    let speaks = |(_, way): &(usize, &Dependencies)| {
        let patterns = PatternSet::new(way.when.clone());
        files.iter().any(|file| patterns.matches(file) || (way.when.is_empty() && way.lock.contains(file)))
    };
    let mut ways = recipe.dependencies.iter().enumerate();
    let way = ways.clone().find(speaks).or_else(|| ways.find(|(_, way)| is_node && way.when.is_empty()));
    if way.is_none() && package.has_dependencies() {
        return Err(ProjectError::NotInstalled {
            recipe: recipe.name.clone(),
            names: [package.dependencies.clone(), package.further.clone()].concat(),
        });
    }
    Ok(way)
}
