//! The folders that steps keep from one build to the next: what a package manager fetched, what a compiler made.
//!
//! Install scripts write into them, and what they leave there is run by later builds: `~/.npm/_npx/…/pnpm.cjs`, a module in
//! `~/go/pkg/mod`. So each project has its own, for each recipe: a script changes nothing but what its own project's builds run. What
//! all projects have in common is read-only to scripts (unpacked packages), or found by its digest and checked.
//!
//! A project is the path of its folder, links resolved, together with the address of the repository `origin` when it lies in a git
//! work tree. The path, because the user chooses it: nothing in a stranger's folder makes that folder another project. The address,
//! because CI systems check out one project after the other at the same path; there, one cache folder for each project is better
//! still. A copy or a second work tree is another project, and begins with empty caches. With `--shared-cache` there is one set of
//! caches for each recipe, for users who trust all that they build.
//!
//! What a step made is remembered under its owner too, as far as it had caches: the result may come of what lay there.

use std::{collections::BTreeSet, fs};

use crate::{
    digest::Digest,
    project::Project,
    recipe::Recipe,
    request::StepOptions,
    sandbox::Mount,
    store::{Folder, Key, Store, StoreError},
};

/// As much of a cache's path as stands in its folder's name, for those who look.
const SHOWN: usize = 60;

/// Whose caches are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// All projects together.
    Everyone,
    /// One project.
    Project(Digest),
}

impl Owner {
    /// The owner of the caches for `project`, as `step` has it.
    pub fn of(step: &StepOptions, project: &Project) -> Self {
        if step.shared_cache {
            return Self::Everyone;
        }
        let path = fs::canonicalize(&project.root).unwrap_or_else(|_| project.root.clone());
        let mut identity = path.into_os_string().into_encoded_bytes();
        // No path has this byte in it.
        identity.push(0);
        identity.extend(project.source.as_deref().unwrap_or_default().bytes());
        Self::Project(Digest::of(identity))
    }
}

/// The folders of `recipe` that are kept, by their paths in the container.
fn paths(recipe: &Recipe) -> BTreeSet<&String> {
    recipe.steps.iter().flat_map(|step| &step.cache).collect()
}

/// Whose caches the result of a step of `recipe` depends on: nobody's when there are none.
pub(super) fn influence(recipe: &Recipe, owner: &Owner) -> Option<String> {
    if paths(recipe).is_empty() {
        return None;
    }
    Some(match owner {
        Owner::Everyone => "all projects".to_owned(),
        Owner::Project(project) => project.to_string(),
    })
}

/// The folders that are kept between builds, and the home that they lie in.
#[derive(Default)]
pub struct Caches {
    /// Where they are mounted.
    pub(super) mounts: Vec<Mount>,
    folders: Vec<Folder>,
}

impl Caches {
    /// Those that `recipe` names, of `store`, for `owner`. Nobody removes them while this value lives.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn new(recipe: &Recipe, owner: &Owner, store: &Store) -> Result<Self, StoreError> {
        let home = Mount::Tmpfs { target: "/root".into(), mode: 0o700 };
        let mut caches = Self { mounts: vec![home], folders: Vec::new() };
        for target in paths(recipe) {
            let folder = store.cache_folder(&name(&recipe.name, owner, target))?;
            let source = folder.path().to_owned();
            caches.mounts.push(Mount::Bind { source, target: target.clone(), writable: true });
            caches.folders.push(folder);
        }
        Ok(caches)
    }
}

/// What the folder is called: the recipe, the path, and a digest of these and the owner.
fn name(recipe: &str, owner: &Owner, target: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let shown: String = format!("{recipe}{target}").chars().map(plain).take(SHOWN).collect();
    let owner = match owner {
        Owner::Everyone => None,
        Owner::Project(project) => Some(project),
    };
    let key = Key::new().option("owner", owner).text("recipe", recipe).text("target", target);
    format!("{shown}-{}", &key.digest().hex()[..32])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn each_project_recipe_and_path_has_a_folder_of_its_own() {
        let project = |text: &str| Owner::Project(Digest::of(text));
        let names = [
            name("node", &project("a"), "/root/.npm"),
            name("node", &project("b"), "/root/.npm"),
            name("bun", &project("a"), "/root/.npm"),
            name("node", &project("a"), "/root/-npm"),
            name("node", &Owner::Everyone, "/root/.npm"),
        ];
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        assert!(names[0].starts_with("node-root-.npm-"), "{}", names[0]);
        assert_eq!(names[0], name("node", &project("a"), "/root/.npm"));
        let long = name("node", &Owner::Everyone, &format!("/{}", "é/".repeat(1000)));
        assert!(long.len() < 200 && !long.contains('/'), "{long}");
    }

    #[test]
    fn a_project_is_its_path_and_where_it_was_cloned_from() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let project = |root: &Path, source: Option<&str>| Project {
            root: root.to_owned(),
            source: source.map(str::to_owned),
            ..Project::default()
        };
        let (app, other, link) = (dir.path().join("app"), dir.path().join("other"), dir.path().join("link"));
        fs::create_dir(&app).expect("a folder");
        fs::create_dir(&other).expect("a folder");
        std::os::unix::fs::symlink(&app, &link).expect("a link");
        let own = StepOptions::default();
        let of = |root: &Path, source| Owner::of(&own, &project(root, source));
        assert_eq!(of(&app, None), of(&link, None));
        assert_ne!(of(&app, None), of(&other, None));
        assert_ne!(of(&app, None), of(&app, Some("https://example.org/a")));
        assert_ne!(of(&app, Some("https://example.org/a")), of(&other, Some("https://example.org/a")));
        let shared = StepOptions { shared_cache: true, ..StepOptions::default() };
        assert_eq!(Owner::of(&shared, &project(&app, None)), Owner::of(&shared, &project(&other, None)));
    }
}
