//! Which packages does a list of requests need? apk calls the list the world; this module answers as apk 3 would.
//!
//! It works in two steps. First [`policy`] chooses as apk does, greedily, and where apk finds a solution, so does it,
//! and the same one: a general solver would meet every demand too, but with other packages wherever several will do.
//! Where the greedy choice runs into a contradiction, apk gives up; [`search`] then hands the whole problem to the
//! engine of [`crate::solve`], which goes back and tries again, and which, if there is no solution at all, says why
//! ([`explain`]).
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
//! - Packages of a tagged repository serve only names that the world pins to the tag, and what these depend on. A tag that no
//!   repository has is a mistake.
//!
//! `replaces` says who keeps a file that two packages have, and does not concern the choice.

mod explain;
mod policy;
mod search;
mod universe;

use std::collections::VecDeque;

use self::universe::{Edge, NameId, Package, PackageId, Universe};
use crate::apk::{
    dependency::Dependency,
    index::{Index, Record},
};
pub use crate::solve::explain::Unsolvable;

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
    /// The world requests for it.
    Request(Dependency),
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

    /// The chain of packages from a request down to the package of that name (or that provides it), each with the
    /// reason why it is there; `None` when it is not.
    pub fn why(&self, name: &str) -> Option<Vec<&Selected<'a>>> {
        let mut chain = vec![&self.packages[self.find(name)?]];
        while let Because::Needed { by: next, .. } | Because::Along { with: next } = chain[chain.len() - 1].because {
            chain.push(&self.packages[next]);
        }
        chain.reverse();
        Some(chain)
    }
}

/// Chooses the packages of `repositories` that the requests in `world` need. Requests for the same name must all be
/// met. Dependencies of packages on a name in `ignored` are taken as met.
///
/// # Errors
/// When there is no such choice, or a request has a tag that no repository has: with the reasons, as a tree.
pub fn solve<'a>(
    repositories: &'a [Repository],
    world: &'a [Dependency],
    ignored: &[String],
) -> Result<Solution<'a>, Unsolvable> {
    let mut universe = Universe::new(repositories, ignored);
    let mut world: Vec<Edge<'a>> = world.iter().map(|dependency| universe.request(dependency)).collect();
    if let Some(unknown) = explain::unknown_tag(&universe, &world) {
        return Err(unknown);
    }
    // apk keeps the world sorted, and so the order of requests does not matter.
    world.sort_by(|a, b| a.dependency.name.cmp(&b.dependency.name));
    let policy = policy::choose(&universe, &world);
    let selected = if policy.complete {
        policy.selected
    } else {
        let mut ranking = search::Ranking::new(&universe, &world, &policy.selected);
        loop {
            let map = search::Map::new(&universe, &world, &ranking);
            let selected = search::search(&universe, &map)
                .map_err(|conflict| explain::explain(&universe, &world, &map, &conflict))?;
            if !ranking.deny_unasked(&world, &selected) {
                break selected;
            }
        }
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
    let reasons = reasons(universe, world, selected, &target);
    let wanted: Vec<bool> = reasons.iter().map(Option::is_some).collect();
    let order = install_order(universe, world, &wanted, &target);
    let mut place = vec![0; universe.packages.len()];
    for (at, &package) in order.iter().enumerate() {
        place[package] = at;
    }
    let because = |package: PackageId| match reasons[package]? {
        Reason::Request(edge) => Some(Because::Request(edge.dependency.clone())),
        Reason::Needed(by, edge) => Some(Because::Needed { by: place[by], dependency: edge.dependency.clone() }),
        Reason::Along(with) => Some(Because::Along { with: place[with] }),
    };
    let packages = order.iter().filter_map(|&package| {
        let Package { record, repositories, .. } = &universe.packages[package];
        Some(Selected { repository: repositories[0], record, because: because(package)? })
    });
    Solution { packages: packages.collect() }
}

/// Dependencies first, in the order in which packages name them; what comes along through `install_if` as soon as the
/// walk has reached all that it waits for.
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
    // apk looks at the names of the packages that may come along, whichever version of them was chosen.
    let along = |package: PackageId| -> Vec<PackageId> {
        let triggers = universe.packages[package].names().flat_map(|(name, _)| &universe.names[name].triggers);
        let names = triggers.map(|&triggered| universe.packages[triggered].name);
        let version = |name: NameId| {
            let mut providers = universe.names[name].providers.iter().map(|provider| provider.package);
            providers.find(|&p| selected[p] && universe.packages[p].name == name)
        };
        let mut along: Vec<PackageId> = names.filter_map(version).collect();
        along.reverse();
        along
    };
    for root in world.iter().filter(|edge| !edge.dependency.conflict).filter_map(target) {
        if !std::mem::replace(&mut reached[root], true) {
            stack.push((root, depends(root), false));
        }
        while let Some((package, next, installed)) = stack.last_mut() {
            let package = *package;
            if let Some(next) = next.pop() {
                let waits = *installed && !universe.packages[next].install_if.is_empty();
                let ready = !waits || universe.triggered(next, &reached);
                if selected[next] && ready && !std::mem::replace(&mut reached[next], true) {
                    stack.push((next, depends(next), false));
                }
            } else if *installed {
                stack.pop();
            } else {
                order.push(package);
                *installed = true;
                *next = along(package);
            }
        }
    }
    order
}

/// A [`Because`] before the order is known.
#[derive(Clone, Copy)]
enum Reason<'a> {
    Request(Edge<'a>),
    Needed(PackageId, Edge<'a>),
    Along(PackageId),
}

/// Why each package is there, found by walking from the requested packages level by level; `None` for those that
/// nothing needs.
fn reasons<'a>(
    universe: &Universe<'a>,
    world: &[Edge<'a>],
    selected: &[bool],
    target: &dyn Fn(&Edge<'_>) -> Option<PackageId>,
) -> Vec<Option<Reason<'a>>> {
    let mut reasons: Vec<Option<Reason<'a>>> = vec![None; universe.packages.len()];
    let mut known = vec![false; universe.packages.len()];
    let requests = |edge: &&Edge<'_>| !edge.dependency.conflict;
    let mut found: VecDeque<(PackageId, Reason<'a>)> =
        world.iter().filter(requests).filter_map(|edge| Some((target(edge)?, Reason::Request(*edge)))).collect();
    while let Some((package, reason)) = found.pop_front() {
        if std::mem::replace(&mut known[package], true) {
            continue;
        }
        reasons[package] = Some(reason);
        for edge in universe.packages[package].depends.iter().filter(requests) {
            found.extend(target(edge).map(|next| (next, Reason::Needed(package, *edge))));
        }
        for (name, _) in universe.packages[package].names() {
            for &next in &universe.names[name].triggers {
                if selected[next] && universe.triggered(next, &known) {
                    found.push_back((next, Reason::Along(package)));
                }
            }
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apk::index;

    /// A repository for x86_64 of packages like `name version D:dependency p:provided`, in which a word without a
    /// field's letter belongs to the field before it.
    pub(super) fn repository(packages: &[&str]) -> Repository {
        let mut text = String::new();
        for (number, package) in packages.iter().enumerate() {
            let mut sha1 = [0; 20];
            sha1[0] = u8::try_from(number).expect("few packages");
            let mut words = package.split_whitespace();
            let (name, version) = (words.next().expect("a name"), words.next().expect("a version"));
            text += &format!("C:{}\nP:{name}\nV:{version}", crate::apk::checksum::Checksum::Sha1(sha1));
            for word in words {
                let field = word.as_bytes().get(1) == Some(&b':');
                text += &format!("{}{word}", if field { "\n" } else { " " });
            }
            text += "\n\n";
        }
        Repository { index: index::parse(&text).expect("an index"), tag: None, arch: "x86_64".to_owned() }
    }

    fn tagged(tag: &str, packages: &[&str]) -> Repository {
        Repository { tag: Some(tag.to_owned()), ..repository(packages) }
    }

    fn world(text: &str) -> Vec<Dependency> {
        text.split_whitespace().map(|request| request.parse().expect("a request")).collect()
    }

    fn names(solution: &Solution<'_>) -> String {
        let packages = solution.packages.iter();
        packages.map(|p| format!("{}-{}", p.record.name, p.record.version)).collect::<Vec<_>>().join(" ")
    }

    /// What is installed for the requests; `-` when they cannot be met.
    fn install(repositories: &[Repository], requests: &str) -> String {
        let world = world(requests);
        solve(repositories, &world, &[]).as_ref().map_or_else(|_| "-".to_owned(), names)
    }

    /// Each case was tried with apk 3.0.8, which answers the same.
    #[test]
    fn answers_as_apk_does() {
        let cases: &[(&[&str], &str, &str)] = &[
            // Versions and dependencies.
            (&["a 1 D:b", "b 2", "b 3"], "a", "b-3 a-1"),
            (&["b 1", "b 2"], "b<2", "b-1"),
            (&["a 1 D:!b<2", "b 1", "b 2"], "a b", "b-2 a-1"),
            (&["a 1 D:!b>=2", "b 1", "b 2"], "a b", "b-1 a-1"),
            (&["a 1 D:!b", "b 1"], "a b", "-"),
            (&["a 1 D:!a"], "a", "a-1"),
            (&["b 1"], "!nosuch b", "b-1"),
            (&["a foo", "a 1"], "a", "a-1"),
            (&["a 1 D:b c", "b 1", "b 2", "c 1 D:d", "d 1 D:e", "e 1 D:b<2"], "a", "b-1 e-1 d-1 c-1 a-1"),
            (&["a 1 D:b", "b 1 D:c", "c 1 D:a"], "b", "a-1 c-1 b-1"),
            // Virtual packages.
            (&["a 1 D:x", "p 1 p:x"], "a", "-"),
            (&["a 1 D:x", "p 1 p:x"], "a p", "p-1 a-1"),
            (&["a 1 D:x", "p 1 p:x", "q 1 p:x k:1"], "a", "q-1 a-1"),
            (&["a 1 D:x", "p 1 p:x k:5", "q 1 p:x k:1"], "a", "p-1 a-1"),
            (&["a 1 D:x", "p 1 p:x k:5", "q 1 p:x k:1"], "a q", "q-1 a-1"),
            (&["a 1 D:x c", "p 1 p:x k:5", "q 1 p:x", "c 1 D:d", "d 1 D:q"], "a", "q-1 d-1 c-1 a-1"),
            (&["a 1 D:x", "q 1 p:x k:4", "x 1"], "a", "x-1 a-1"),
            (&["p 2 p:x k:2", "p 1 p:x k:3", "a 1 D:x"], "a", "p-2 a-1"),
            (&["a 1 D:x>1", "p 1 p:x"], "a p", "-"),
            (&["a 1 D:x<1", "p 1 p:x k:1"], "a", "p-1 a-1"),
            // Names with versions have one owner.
            (&["a 1 D:x", "p 1 p:x=1 k:5", "q 1 p:x=2"], "a", "q-1 a-1"),
            (&["a 1 D:x", "p 1 p:x=1", "q 1 p:x=1 k:3"], "a", "q-1 a-1"),
            (&["a 1 D:x", "q 1 p:x=1", "p 1 p:x=1"], "a", "q-1 a-1"),
            (&["a 1 p:x=1", "b 1 p:x"], "a b", "-"),
            (&["a 1 p:x", "b 1 p:x"], "a b", "a-1 b-1"),
            (&["a 1 p:b=1", "b 1"], "a b", "a-1"),
            (&["a 1 p:a=5"], "a", "-"),
            (&["a 1 p:x=1 x=2"], "a", "-"),
            (&["a 1 D:y x", "p 1 p:x=1 y=3", "q 1 p:x=2", "r 1 p:y=2"], "a", "p-1 a-1"),
            // install_if.
            (&["a 1", "b 1 i:a c", "c 1 D:a"], "c", "a-1 b-1 c-1"),
            (&["a 1", "b 1 i:a=1 c", "b 2 i:a=2 c", "c 1 D:a"], "c", "a-1 b-1 c-1"),
            (&["a 1", "b 1 i:a c", "c 1 D:a !b"], "c", "a-1 c-1"),
            (&["d 1 D:f e", "e 1", "f 1", "g 1 i:d e"], "d", "f-1 e-1 g-1 d-1"),
            (&["d 1", "e 1 p:y=2", "b 1 i:d p:y=1"], "d e", "d-1 e-1"),
            // Other architectures and broken packages.
            (&["a 1 A:noarch"], "a", "a-1"),
            (&["a 1 A:s390x"], "a", "-"),
            (&["a 2 D:b=1_foo", "b 1"], "b", "b-1"),
        ];
        for (packages, requests, expected) in cases {
            assert_eq!(install(&[repository(packages)], requests), *expected, "{packages:?} {requests}");
        }
    }

    /// apk itself fails here.
    #[test]
    fn goes_back_where_apk_gives_up() {
        let cases: &[(&[&str], &str, &str)] = &[
            (&["a 1 D:b", "b 2 D:missing", "b 1"], "a", "b-1 a-1"),
            (&["a 1 D:b", "b 2 D:c", "c 1 D:d", "d 1 D:missing", "b 1"], "a", "b-1 a-1"),
            (&["a 1 D:b", "b 2 D:d", "b 1 D:c", "c 1", "c 2", "d 1 D:c>1"], "a c<2", "c-1 b-1 a-1"),
            (&["a 1", "b 1 i:a c D:d>1", "c 1 D:a d", "d 1"], "c", "a-1 d-1 c-1"),
        ];
        for (packages, requests, expected) in cases {
            assert_eq!(install(&[repository(packages)], requests), *expected, "{packages:?} {requests}");
        }
    }

    /// As in Alpine 3.16: busybox provides more than `/bin/sh`, but nothing requires that.
    #[test]
    fn nothing_is_chosen_for_an_unversioned_name_alone() {
        let packages = [
            "node 1 D:/bin/sh so:c",
            "busybox 1 D:so:c p:/bin/sh cmd:busybox=1",
            "ssl_client 1 D:busybox i:busybox",
            "c 1 p:so:c=1",
            "other 2 D:cmd:busybox missing",
            "other 1 D:so:c",
        ];
        let repository = [repository(&packages)];
        assert_eq!(install(&repository, "node"), "-");
        assert_eq!(install(&repository, "node other"), "-");
        assert_eq!(install(&repository, "node busybox"), "c-1 busybox-1 ssl_client-1 node-1");
        assert_eq!(install(&repository, "node cmd:busybox"), "c-1 busybox-1 ssl_client-1 node-1");
    }

    #[test]
    fn tagged_repositories_serve_who_is_pinned_to_them() {
        let repositories = [repository(&["a 1 D:b", "b 1"]), tagged("edge", &["a 2 D:b>=2", "b 2", "c 1 D:b"])];
        for (requests, expected) in [
            ("a", "b-1 a-1"),
            ("a@edge", "b-2 a-2"),
            ("a@edge<2", "b-1 a-1"),
            ("c", "-"),
            ("c@edge", "b-1 c-1"),
            ("a@nosuch", "-"),
        ] {
            assert_eq!(install(&repositories, requests), expected, "{requests}");
        }
    }

    #[test]
    fn the_first_repository_wins_a_draw() {
        let repositories = [repository(&["a 1", "b 1"]), repository(&["b 1", "a 1", "c 1"])];
        let world = world("a b c");
        let solution = solve(&repositories, &world, &[]).expect("a solution");
        let places: Vec<_> = solution.packages.iter().map(|package| package.repository).collect();
        assert_eq!(places, [0, 0, 1]);
    }

    #[test]
    fn all_requests_for_a_name_must_be_met() {
        let packages = repository(&["a 1", "a 2", "a 3"]);
        assert_eq!(install(std::slice::from_ref(&packages), "a a>1 a<3"), "a-2");
        assert_eq!(install(&[packages], "a>2 a<2"), "-");
    }

    #[test]
    fn ignored_names_are_taken_as_met() {
        let repositories = [repository(&["nodejs 1 D:/bin/sh so:c", "musl 1 p:so:c=1"])];
        let world = world("nodejs");
        let ignored = ["/bin/sh".to_owned()];
        assert_eq!(names(&solve(&repositories, &world, &ignored).expect("a solution")), "musl-1 nodejs-1");
        assert_eq!(install(&repositories, "nodejs"), "-");
    }

    #[test]
    fn tells_why_a_package_is_there() {
        let repositories = [repository(&[
            "app 1 D:cmd:sh so:z",
            "sh 1 D:so:c p:cmd:sh=1",
            "z 1 D:so:c p:so:z=1",
            "c 1 p:so:c=1",
            "doc 1 i:app z",
        ])];
        let world = world("app");
        let solution = solve(&repositories, &world, &[]).expect("a solution");
        let chain = |name| -> Option<Vec<String>> {
            let chain = solution.why(name)?;
            let reason = |because: &Because| match because {
                Because::Request(request) => format!("request {request}"),
                Because::Needed { by, dependency } => {
                    format!("{} needs {dependency}", solution.packages[*by].record.name)
                }
                Because::Along { with } => format!("along with {}", solution.packages[*with].record.name),
            };
            Some(chain.iter().map(|package| format!("{}: {}", package.record.name, reason(&package.because))).collect())
        };
        assert_eq!(chain("so:c").expect("c"), ["app: request app", "sh: app needs cmd:sh", "c: sh needs so:c"]);
        assert_eq!(chain("doc").expect("doc"), ["app: request app", "z: app needs so:z", "doc: along with z"]);
        assert_eq!(chain("nosuch"), None);
    }

    #[test]
    fn long_chains_do_not_exhaust_the_stack() {
        const LENGTH: usize = 20_000;
        let record = |name: usize, rest: &str| format!("C:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=\nP:p{name}\nV:1\n{rest}\n");
        let chain: String = (0..LENGTH).map(|i| record(i, &format!("D:p{}\n", i + 1))).collect();
        let world = world("p0");
        for (last, count) in [("", Some(LENGTH + 1)), ("D:missing\n", None)] {
            let index = index::parse(&format!("{chain}{}", record(LENGTH, last))).expect("an index");
            let repositories = [Repository { index, tag: None, arch: "x86_64".to_owned() }];
            let solution = solve(&repositories, &world, &[]);
            assert_eq!(solution.ok().map(|solution| solution.packages.len()), count);
        }
    }
}
