//! Which packages does a list of requests need? This module answers as `apt-get install --no-install-recommends` would
//! on a machine on which nothing is installed, not even what Debian calls essential.
//!
//! It works in two steps. First [`policy`] chooses as apt does, greedily, and where apt finds a solution at its first
//! attempt, so does it, and the same one: a general solver would meet every dependency too, but with other packages
//! wherever several will do. Where that runs into a contradiction, apt begins to repair what it has; [`search`] instead
//! hands the whole problem to the engine of [`crate::solve`], which goes back and tries again, and which, if there is
//! no solution at all, says why ([`explain`]).
//!
//! What the words of packages mean (Debian policy chapter 7, deb-control(5), apt_preferences(5), and experiments):
//! - Of several versions of a package the candidate is that of the repository with the highest priority, then the newest.
//! - A dependency is met by a package of the name in an accepted version, or by one that provides the name; a name that is
//!   provided without a version meets only dependencies without a constraint. `name:any` wants a package that says
//!   `Multi-Arch: allowed`.
//! - Of alternatives the first that can be installed is taken, unless one of them is there anyhow. Of several packages for
//!   one name, the one that bears it is best; then come essential packages, the higher priority, and the one that the
//!   index mentions last.
//! - `Conflicts` and `Breaks` are the same here, as nothing is ever half installed. A package never excludes itself.
//!
//! `Recommends` and `Suggests` are not followed. `Replaces` says who keeps a file that two packages have.

mod explain;
mod policy;
mod search;
mod universe;

use std::{collections::VecDeque, fmt, str::FromStr};

use self::universe::{Universe, VersionId, Want};
use crate::deb::{
    dependency::{Alternatives, Dependency},
    index::Index,
    record::Record,
    version::Version,
};
pub use crate::solve::explain::Unsolvable;

/// A repository as the solver sees it: what one suite offers for one architecture.
#[derive(Debug, Clone)]
pub struct Repository {
    /// What it offers.
    pub index: Index,
    /// How apt ranks it (apt_preferences(5)): [`release::Release::priority`](super::release::Release::priority).
    pub priority: i32,
}

/// A package that the user or a recipe requests: `nodejs`, `nodejs=18.19.0+dfsg-6~deb12u2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageRequest {
    /// A package's name, or one that only one package provides.
    pub name: String,
    /// The one version that will do.
    pub version: Option<Version>,
}

impl fmt::Display for PackageRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, "={version}"))
    }
}

/// Not a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a Debian package (NAME or NAME=VERSION), found `{0}`")]
pub struct ParsePackageRequestError(String);

impl FromStr for PackageRequest {
    type Err = ParsePackageRequestError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || ParsePackageRequestError(s.to_owned());
        let (name, version) = match s.split_once('=') {
            Some((name, version)) => (name, Some(version.parse().map_err(|_| bad())?)),
            None => (s, None),
        };
        match name.parse::<Dependency>() {
            Ok(plain) if plain == Dependency::on(name) => Ok(Self { name: name.to_owned(), version }),
            _ => Err(bad()),
        }
    }
}

/// The packages to install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solution<'a> {
    /// What a package depends on comes before it, unless they depend on each other.
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
    /// The user or the recipe requests it.
    Request(PackageRequest),
    /// Another package depends on it.
    Needed {
        /// The other's place in [`Solution::packages`].
        by: usize,
        /// The dependency: `libc6 (>= 2.36)`, `debconf | debconf-2.0`.
        dependency: Alternatives,
    },
}

impl<'a> Solution<'a> {
    /// The package of that name, or else the first that provides it.
    pub fn find(&self, name: &str) -> Option<usize> {
        let provides = |record: &Record| record.provides().iter().any(|provide| provide.name == name);
        let own = self.packages.iter().position(|package| package.record.name() == name);
        own.or_else(|| self.packages.iter().position(|package| provides(package.record)))
    }

    /// The chain of packages from a request down to the package of that name (or that provides it), each with the
    /// reason why it is there; `None` when it is not.
    pub fn why(&self, name: &str) -> Option<Vec<&Selected<'a>>> {
        let mut chain = vec![&self.packages[self.find(name)?]];
        while let Because::Needed { by, .. } = chain[chain.len() - 1].because {
            chain.push(&self.packages[by]);
        }
        chain.reverse();
        Some(chain)
    }
}

/// Chooses the packages of `repositories` for `architecture` that the requests in `world` need. Dependencies of
/// packages that a package named in `dropped` would meet are taken as met; a request for such a package counts
/// nevertheless. As in apt the order of the requests may matter, where several packages will do.
///
/// # Errors
/// When there is no such choice: with the reasons, as a tree.
pub fn solve<'a>(
    repositories: &'a [Repository],
    architecture: &'a str,
    world: &'a [PackageRequest],
    dropped: &[String],
) -> Result<Solution<'a>, Unsolvable> {
    let universe = Universe::new(repositories, architecture, dropped);
    let wants = universe.wants(world);
    let greedy = policy::choose(&universe, &wants);
    let selected = match greedy.complete {
        true => greedy.selected,
        false => search::search(&universe, &wants, &greedy.selected)
            .map_err(|(map, conflict)| explain::explain(&universe, &wants, &map, &conflict))?,
    };
    Ok(arrange(&universe, &wants, &selected))
}

/// The packages of a selection that the requests need, in the order of their installation, each with its reason.
fn arrange<'a>(universe: &Universe<'a>, wants: &[Want<'a>], selected: &[Option<VersionId>]) -> Solution<'a> {
    let reasons = reasons(universe, wants, selected);
    let order = install_order(universe, wants, selected);
    let mut place = vec![0; universe.versions.len()];
    for (at, &version) in order.iter().enumerate() {
        place[version] = at;
    }
    let packages = order.iter().filter_map(|&version| {
        let because = match reasons[version].as_ref()? {
            Reason::Request(request) => Because::Request((*request).clone()),
            Reason::Needed(by, dependency) => Because::Needed { by: place[*by], dependency: dependency.clone() },
        };
        let found = &universe.versions[version];
        Some(Selected { repository: found.repository, record: found.record, because })
    });
    Solution { packages: packages.collect() }
}

/// A [`Because`] before the order is known.
enum Reason<'a> {
    Request(&'a PackageRequest),
    Needed(VersionId, Alternatives),
}

/// Why each package is there, found by walking from the requested packages level by level; `None` for those that
/// nothing needs.
fn reasons<'a>(universe: &Universe<'a>, wants: &[Want<'a>], selected: &[Option<VersionId>]) -> Vec<Option<Reason<'a>>> {
    let mut reasons: Vec<Option<Reason<'a>>> = Vec::new();
    reasons.resize_with(universe.versions.len(), || None);
    let requested = wants.iter().flat_map(|want| {
        let there = want.versions.iter().filter(|&&v| selected[universe.versions[v].name] == Some(v));
        there.map(|&version| (version, Reason::Request(want.request)))
    });
    let mut found: VecDeque<(VersionId, Reason<'a>)> = requested.collect();
    while let Some((version, reason)) = found.pop_front() {
        if reasons[version].is_some() {
            continue;
        }
        reasons[version] = Some(reason);
        for group in universe.rules(version).depends.iter() {
            for next in universe.meeting(group, selected) {
                found.push_back((next, Reason::Needed(version, group.clone())));
            }
        }
    }
    reasons
}

/// Dependencies first, in the order in which packages name them.
fn install_order(universe: &Universe<'_>, wants: &[Want<'_>], selected: &[Option<VersionId>]) -> Vec<VersionId> {
    let mut order = Vec::new();
    let mut reached = vec![false; universe.versions.len()];
    let needs = |version: VersionId| -> Vec<VersionId> {
        let depends = universe.rules(version).depends.iter();
        let mut needs: Vec<_> = depends.flat_map(|group| universe.meeting(group, selected)).collect();
        needs.reverse();
        needs
    };
    let roots = wants.iter().flat_map(|want| want.versions.iter().copied());
    for root in roots.filter(|&v| selected[universe.versions[v].name] == Some(v)) {
        // A package, and what is to be visited before it, the next one last.
        let mut stack = Vec::new();
        if !std::mem::replace(&mut reached[root], true) {
            stack.push((root, needs(root)));
        }
        while let Some((version, next)) = stack.last_mut() {
            match next.pop() {
                Some(next) => {
                    if !std::mem::replace(&mut reached[next], true) {
                        stack.push((next, needs(next)));
                    }
                }
                None => {
                    order.push(*version);
                    stack.pop();
                }
            }
        }
    }
    order
}

#[cfg(test)]
mod tests;
