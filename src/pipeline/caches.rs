//! Caches: the folders that steps keep from one build to the next, with downloads of a package manager and results of a
//! compiler.
//!
//! Install scripts write into caches, and later builds run what they find there: `~/.npm/_npx/…/pnpm.cjs`, a module in
//! `~/go/pkg/mod`. So each project has its own caches for each recipe: a script can only change what builds of its own
//! project run. Everything that projects share is read-only to scripts (unpacked packages), or found by its digest and
//! checked.
//!
//! A project is identified by the path of its folder, links resolved, and by the address of the remote `origin` when it
//! is in a git work tree. The path counts because the user chooses it: nothing in an untrusted folder can make it
//! another project. The address counts because CI systems check out one project after the other at the same path; a
//! cache folder for each project is better there. A copy or a second work tree is another project, and begins with
//! empty caches. With `--shared-cache` all projects share one set of caches for each recipe; it is for users who trust
//! everything that they build.
//!
//! The result of a step with caches is remembered for their owner only: it may depend on their content.

use std::{collections::BTreeSet, fs};

use crate::{
    digest::Digest,
    project::Project,
    recipe::Recipe,
    request::StepOptions,
    sandbox::Mount,
    store::{Folder, Key, Store, StoreError},
};

/// The length of the readable part of a cache folder's name.
const SHOWN: usize = 60;

/// The owner of caches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// All projects.
    Everyone,
    /// One project.
    Project(Digest),
}

impl Owner {
    /// Returns the owner of the caches for `project`, according to `step`.
    pub fn of(step: &StepOptions, project: &Project) -> Self {
        if step.shared_cache {
            return Self::Everyone;
        }
        let path = fs::canonicalize(&project.root).unwrap_or_else(|_| project.root.clone());
        let mut identity = path.into_os_string().into_encoded_bytes();
        // No path contains this byte.
        identity.push(0);
        identity.extend(project.source.as_deref().unwrap_or_default().bytes());
        Self::Project(Digest::of(identity))
    }
}

/// The cache folders of `recipe`, by their paths in the container.
fn paths(recipe: &Recipe) -> BTreeSet<&String> {
    recipe.steps.iter().flat_map(|step| &step.cache).collect()
}

/// The owner of the caches that the result of a step of `recipe` depends on; `None` without caches.
pub(super) fn influence(recipe: &Recipe, owner: &Owner) -> Option<String> {
    if paths(recipe).is_empty() {
        return None;
    }
    Some(match owner {
        Owner::Everyone => "all projects".to_owned(),
        Owner::Project(project) => project.to_string(),
    })
}

/// The folders that are kept between builds, and the home folder for them.
#[derive(Default)]
pub struct Caches {
    /// Their mounts.
    pub(super) mounts: Vec<Mount>,
    folders: Vec<Folder>,
}

impl Caches {
    /// Opens the caches of `recipe` for `owner` in `store`. They are not removed while this value lives.
    ///
    /// # Errors
    /// When they cannot be created.
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

/// The name of a cache folder: the recipe, the path, and a digest of these and the owner.
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
