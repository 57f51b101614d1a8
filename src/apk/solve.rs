//! Which packages does a list of wishes need? apk calls the list the world; this module answers as apk 3 would.
//!
//! It works in two steps. First [`policy`] chooses as apk does, greedily, and where apk finds a solution, so does it, and
//! the same one: a general solver would meet every demand too, but with other packages wherever several will do. Where
//! the greedy choice runs into a contradiction, apk gives up; [`search`] then hands the whole problem to the engine of
//! [`crate::solve`], which goes back and tries again, and which, if there is no solution at all, says why ([`explain`]).
//!
//! What the words of packages mean (apk-package(5), and experiments):
//! - A dependency on a name is met by any package that bears or provides the name in an accepted version. A name that is
//!   provided without a version counts as older than every version.
//! - A package owns the names that it bears or provides with a version: nothing else that has the name can be installed
//!   beside it. A package that provides one of its own names again excludes itself.
//! - A package is chosen for a name that it provides without a version only if it has a provider priority, or if some
//!   package in reach, or the world, asks for the package's own name.
//! - Of several providers, the one that is chosen already is best; then come pinned repositories, the higher version, the
//!   higher priority, the earlier repository and the earlier place in the index.
//! - A package with `install_if` comes along as soon as everything in that list is there, if it can.
//! - Packages of a tagged repository serve only names that the world pins to the tag, and what these depend on.
//!
//! `replaces` says who keeps a file that two packages have, and does not concern the choice.

mod explain;
mod policy;
mod search;
mod universe;

use std::collections::VecDeque;

pub use self::explain::Unsolvable;
use self::universe::{Edge, PackageId, Universe};
use crate::apk::{
    dependency::Dependency,
    index::{Index, Record},
};

/// A repository as the solver sees it.
#[derive(Debug, Clone)]
pub struct Repository {
    /// What it offers.
    pub index: Index,
    /// `@tag` of its line in `/etc/apk/repositories`, without the `@`.
    pub tag: Option<String>,
    /// The architecture to install for; packages for another one cannot be installed.
    pub arch: String,
}

/// The packages to install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solution<'a> {
    /// In the order in which apk would install them: what a package depends on comes before it, unless they depend on
    /// each other.
    pub packages: Vec<Selected<'a>>,
}

/// A chosen package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected<'a> {
    /// The place of the repository among those that were given.
    pub repository: usize,
    /// The package.
    pub record: &'a Record,
    /// Why it is there.
    pub because: Because,
}

/// Why a package is part of a solution: the shortest way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// The world wishes for it.
    Wish(Dependency),
    /// Another package depends on it.
    Needed {
        /// The other's place in [`Solution::packages`].
        by: usize,
        /// The dependency, such as `so:libc.musl-x86_64.so.1`.
        dependency: Dependency,
    },
    /// Everything in its `install_if` is there, of which the last is this.
    Along {
        /// The place in [`Solution::packages`].
        with: usize,
    },
}

impl<'a> Solution<'a> {
    /// The package of that name, or else the first that provides it.
    pub fn find(&self, name: &str) -> Option<usize> {
        let provides = |record: &Record| record.provides.iter().any(|provide| provide.name == name);
        let own = self.packages.iter().position(|package| package.record.name == name);
        own.or_else(|| self.packages.iter().position(|package| provides(package.record)))
    }

    /// The chain of packages from a wish down to the package of that name (or that provides it), each with the reason why
    /// it is there; `None` when it is not.
    pub fn why(&self, name: &str) -> Option<Vec<&Selected<'a>>> {
        let mut chain = vec![&self.packages[self.find(name)?]];
        while let Because::Needed { by: next, .. } | Because::Along { with: next } = chain[chain.len() - 1].because {
            chain.push(&self.packages[next]);
        }
        chain.reverse();
        Some(chain)
    }
}

/// Chooses the packages of `repositories` that the wishes in `world` need. Wishes for the same name must all be met.
/// Dependencies of packages on a name in `ignored` are taken as met.
///
/// # Errors
/// When there is no such choice: with the reasons, as a tree.
pub fn solve<'a>(
    repositories: &'a [Repository],
    world: &'a [Dependency],
    ignored: &[String],
) -> Result<Solution<'a>, Unsolvable> {
    let mut universe = Universe::new(repositories, ignored);
    let mut world: Vec<Edge<'a>> = world.iter().map(|dependency| universe.wish(dependency)).collect();
    // apk keeps the world sorted, and so the order of wishes does not matter.
    world.sort_by(|a, b| a.dependency.name.cmp(&b.dependency.name));
    let policy = policy::choose(&universe, &world);
    let selected = if policy.complete {
        policy.selected
    } else {
        let ranking = search::Ranking::new(&universe, &world, &policy.selected);
        let map = search::Map::new(&universe, &world, &ranking);
        search::search(&universe, &map).map_err(|conflict| explain::explain(&universe, &world, &map, &conflict))?
    };
    Ok(arrange(&universe, &world, &selected, &policy.chosen))
}

/// The chosen packages in the order of their installation, each with its reason.
fn arrange<'a>(
    universe: &Universe<'a>,
    world: &[Edge<'a>],
    selected: &[bool],
    chosen: &[Option<PackageId>],
) -> Solution<'a> {
    // The package that stands for a name. A conflict's name may have one too, of another version: the order minds it.
    let target = |edge: &Edge<'_>| -> Option<PackageId> {
        let providers = &universe.names[edge.name].providers;
        let fits = |p: PackageId| selected[p] && providers.iter().any(|q| q.package == p && universe.agrees(*edge, *q));
        chosen[edge.name].filter(|&p| fits(p)).or_else(|| providers.iter().map(|p| p.package).find(|&p| fits(p)))
    };
    let order = install_order(universe, world, selected, &target);
    let because = reasons(universe, world, selected, &order, &target);
    let packages = order.iter().map(|&package| Selected {
        repository: universe.packages[package].repositories[0],
        record: universe.packages[package].record,
        because: because[package].clone().expect("what was chosen was wished for, needed, or came along"),
    });
    Solution { packages: packages.collect() }
}

/// Dependencies first, in the order in which packages name them; what comes along through `install_if` as soon as the walk
/// has reached all that it waits for.
fn install_order(
    universe: &Universe<'_>,
    world: &[Edge<'_>],
    selected: &[bool],
    target: &dyn Fn(&Edge<'_>) -> Option<PackageId>,
) -> Vec<PackageId> {
    let mut order = Vec::new();
    let mut reached = vec![false; universe.packages.len()];
    // A package and what is to be visited before it, the next one last; then what may come along after it.
    let mut stack: Vec<(PackageId, Vec<PackageId>, bool)> = Vec::new();
    let depends = |package: PackageId| -> Vec<PackageId> {
        universe.packages[package].depends.iter().rev().filter_map(target).collect()
    };
    for root in world.iter().filter(|edge| !edge.dependency.conflict).filter_map(target) {
        if !std::mem::replace(&mut reached[root], true) {
            stack.push((root, depends(root), false));
        }
        while let Some((package, next, installed)) = stack.last_mut() {
            let package = *package;
            if let Some(next) = next.pop() {
                let along = *installed;
                let ready = !along || universe.triggered(next, &reached);
                if selected[next] && ready && !std::mem::replace(&mut reached[next], true) {
                    stack.push((next, depends(next), false));
                }
            } else if *installed {
                stack.pop();
            } else {
                order.push(package);
                *installed = true;
                let names = universe.packages[package].names();
                *next = names.flat_map(|(name, _)| universe.names[name].triggers.iter().rev().copied()).collect();
            }
        }
    }
    order
}

/// Why each package is there, found by walking from the wishes level by level.
fn reasons(
    universe: &Universe<'_>,
    world: &[Edge<'_>],
    selected: &[bool],
    order: &[PackageId],
    target: &dyn Fn(&Edge<'_>) -> Option<PackageId>,
) -> Vec<Option<Because>> {
    let mut place = vec![0; universe.packages.len()];
    for (at, &package) in order.iter().enumerate() {
        place[package] = at;
    }
    let mut because: Vec<Option<Because>> = vec![None; universe.packages.len()];
    let mut known = vec![false; universe.packages.len()];
    let mut queue = VecDeque::new();
    for edge in world {
        if !edge.dependency.conflict
            && let Some(package) = target(edge)
            && !std::mem::replace(&mut known[package], true)
        {
            because[package] = Some(Because::Wish(edge.dependency.clone()));
            queue.push_back(package);
        }
    }
    while let Some(package) = queue.pop_front() {
        let mut found = Vec::new();
        for edge in &universe.packages[package].depends {
            if !edge.dependency.conflict
                && let Some(next) = target(edge)
            {
                found.push((next, Because::Needed { by: place[package], dependency: edge.dependency.clone() }));
            }
        }
        for (name, _) in universe.packages[package].names() {
            for &next in &universe.names[name].triggers {
                if selected[next] && universe.triggered(next, &known) {
                    found.push((next, Because::Along { with: place[package] }));
                }
            }
        }
        for (next, why) in found {
            if !std::mem::replace(&mut known[next], true) {
                because[next] = Some(why);
                queue.push_back(next);
            }
        }
    }
    because
}
