//! Why there is no solution, in words.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{
    search::{Map, Rule},
    universe::{Edge, NameId, Package, PackageId, Universe},
};
use crate::{
    near::nearest,
    solve::{
        Candidate, Conflict, Reason, Requirement,
        explain::{DEEPEST, Node, Unsolvable, merge, some},
    },
};

/// Says why the conflict leaves no solution.
pub(super) fn explain(universe: &Universe<'_>, world: &[Edge<'_>], map: &Map<'_>, conflict: &Conflict) -> Unsolvable {
    let mut explainer = Explainer { universe, map, conflict, explained: BTreeSet::new(), depth: 0, hints: Vec::new() };
    let mut roots = Vec::new();
    for reason in &conflict.reasons {
        match *reason {
            Reason::Requires { by: None, requirement } => roots.push(explainer.requirement("", requirement)),
            Reason::Bans { by: None, ban, banned } => roots.push(explainer.ban(None, ban.index(), banned)),
            _ => {}
        }
    }
    Unsolvable::new(roots, world.iter().map(|edge| edge.dependency), explainer.hints)
}

/// Says which requests have a tag that no repository has; `None` when there is no such request.
pub(super) fn unknown_tag(universe: &Universe<'_>, world: &[Edge<'_>]) -> Option<Unsolvable> {
    let tag = |edge: &Edge<'_>| edge.dependency.tag.clone().filter(|tag| !universe.tags().contains(&tag.as_str()));
    let unknown: Vec<(Edge<'_>, String)> = world.iter().filter_map(|edge| Some((*edge, tag(edge)?))).collect();
    let (_, first) = unknown.first()?;
    let hint = match nearest(first, universe.tags().iter().copied()) {
        Some(near) => format!("did you mean @{near}?"),
        None => format!(
            "--repository '@{first} URL' adds a repository with that tag; without a tag, all repositories serve"
        ),
    };
    let node = |(edge, tag): &(Edge<'_>, String)| {
        Node::leaf(format!("{} is wanted, but no repository has the tag @{tag}", edge.dependency))
    };
    let roots = unknown.iter().map(node).collect();
    Some(Unsolvable::new(roots, world.iter().map(|edge| edge.dependency), vec![hint]))
}

struct Explainer<'t, 'a> {
    universe: &'t Universe<'a>,
    map: &'t Map<'a>,
    conflict: &'t Conflict,
    /// The packages whose reasons stand above already.
    explained: BTreeSet<Candidate>,
    depth: usize,
    hints: Vec<String>,
}

impl<'t, 'a> Explainer<'t, 'a> {
    fn package(&self, candidate: Candidate) -> &'t Package<'a> {
        &self.universe.packages[self.map.packages[candidate.index()]]
    }

    /// A requirement, and what became of each package that would meet it.
    fn requirement(&mut self, verb: &str, requirement: Requirement) -> Node {
        let edge = self.map.requirements[requirement.index()];
        let candidates = self.map.problem.candidates(requirement);
        let request = if verb.is_empty() {
            format!("{} is wanted", edge.dependency)
        } else {
            format!("{verb} {}", edge.dependency)
        };
        if candidates.is_empty() {
            let why = self.nothing(edge, verb.is_empty());
            return Node::leaf(format!("{request}, {why}"));
        }
        if self.depth == DEEPEST {
            return Node::leaf(format!("{request}, and so on"));
        }
        self.depth += 1;
        let below = candidates.iter().map(|&candidate| self.candidate(candidate, edge.name)).collect();
        self.depth -= 1;
        Node { text: request, below: merge(below) }
    }

    /// A package, and what stands against it.
    fn candidate(&mut self, candidate: Candidate, name: NameId) -> Node {
        let package = self.package(candidate);
        let mut text = label(package);
        if package.name != name {
            let _ = write!(text, " (provides {})", self.universe.names[name].text);
        }
        if !self.explained.insert(candidate) {
            let more = self
                .conflict
                .reasons
                .iter()
                .any(|reason| matches!(reason, Reason::Requires { by, .. } if *by == Some(candidate)));
            if more {
                text += ", as above";
            }
            return Node { text, below: self.clashes(candidate) };
        }
        let mut below = Vec::new();
        for reason in &self.conflict.reasons {
            if let Reason::Requires { by, requirement } = *reason
                && by == Some(candidate)
            {
                below.push(self.requirement("needs", requirement));
            }
        }
        below.extend(self.clashes(candidate));
        Node { text, below }
    }

    /// Whom a package cannot stand beside.
    fn clashes(&self, candidate: Candidate) -> Vec<Node> {
        let mut below = Vec::new();
        for reason in &self.conflict.reasons {
            match *reason {
                Reason::Bans { by, ban, banned } if by == Some(candidate) || banned == candidate => {
                    below.push(self.ban(
                        Some(candidate),
                        ban.index(),
                        if banned == candidate { by.unwrap_or(banned) } else { banned },
                    ));
                }
                // The reasons name only some of the pairs that exclude each other.
                Reason::OneSlot { one, other } if one == candidate || other == candidate => {
                    let name = &self.package(candidate).record.name;
                    below.push(Node::leaf(format!("only one version of {name} can be installed")));
                }
                _ => {}
            }
        }
        below.dedup_by(|a, b| a.text == b.text);
        below
    }

    /// A ban, explained from the side of `candidate`, or as a request of the world.
    fn ban(&self, candidate: Option<Candidate>, ban: usize, other: Candidate) -> Node {
        let rival = label(self.package(other));
        let text = match (self.map.bans[ban], candidate) {
            (Rule::Conflict(dependency), None) => format!("{dependency} is wanted, which excludes {rival}"),
            (Rule::Conflict(dependency), Some(candidate)) if candidate == other => {
                format!("excluded by the request {dependency}")
            }
            (Rule::Conflict(dependency), Some(_)) => format!("cannot stand beside {rival} ({dependency})"),
            (Rule::Owned(name), _) => {
                format!("cannot stand beside {rival}: both provide {}", self.universe.names[name].text)
            }
        };
        Node::leaf(text)
    }

    /// Why no package meets the dependency at all, which may be a request.
    fn nothing(&mut self, edge: Edge<'_>, is_request: bool) -> String {
        const MIXED: &str = "the repositories do not fit together: use those of one release";
        let name = &self.universe.names[edge.name];
        let providers: Vec<PackageId> = name.providers.iter().map(|p| p.package).collect();
        if providers.is_empty() {
            let near = self.near(name.text);
            self.hints.push(match near {
                _ if !is_request => MIXED.to_owned(),
                Some(near) => format!("did you mean {near}?"),
                None => "check the spelling, or add the repository that has it".to_owned(),
            });
            return match near {
                Some(near) => format!("which no package provides; similar: {near}"),
                None => "which no package provides".to_owned(),
            };
        }
        let broken = |&p: &PackageId| {
            let package = &self.universe.packages[p];
            package.broken.as_ref().map(|why| format!("{} cannot be installed: {why}", label(package)))
        };
        let accepted: Vec<_> = name.providers.iter().filter(|p| self.universe.agrees(edge, **p)).collect();
        if accepted.is_empty() {
            let found = name.providers.iter().map(|p| match p.version {
                Some(version) if self.universe.packages[p.package].name != edge.name => {
                    format!("{version} by {}", label(&self.universe.packages[p.package]))
                }
                Some(version) => version.to_string(),
                None => format!("without a version by {}", label(&self.universe.packages[p.package])),
            });
            let hint = || format!("ask for a version of {} that there is", name.text);
            self.hints.push(if is_request { hint() } else { MIXED.to_owned() });
            return format!("but found only {}", some(found.collect()));
        }
        if let Some(why) = accepted.iter().map(|p| p.package).find_map(|p| broken(&p)) {
            self.hints.push("leave it out, or use another repository".to_owned());
            return format!("but {why}");
        }
        let packages: Vec<_> = accepted.iter().map(|p| &self.universe.packages[p.package]).collect();
        let names: BTreeSet<&str> = packages.iter().map(|package| package.record.name.as_str()).collect();
        let names: Vec<_> = names.into_iter().map(str::to_owned).collect();
        if accepted.iter().all(|p| p.version.is_none()) {
            self.hints.push(format!("add one of them to the packages (-p {})", names[0]));
            return format!("which several packages may stand for, so one has to be named: {}", some(names));
        }
        let tag = packages.iter().find_map(|package| self.universe.tag_of(package)).unwrap_or("TAG");
        self.hints.push(format!("pin it to its repository: {}@{tag}", name.text));
        format!("but {} lies in a repository with the tag @{tag}", some(names))
    }

    /// A name that looks like `wanted` and that some package has: another version of the same library, or what may have
    /// been meant.
    fn near(&self, wanted: &str) -> Option<&'t str> {
        let library = |name: &'t str| name.rsplit_once(".so.").map(|(library, _)| library);
        let names = || self.universe.names.iter().filter(|name| !name.providers.is_empty()).map(|name| name.text);
        let other_version =
            wanted.rsplit_once(".so.").and_then(|(stem, _)| names().find(|name| library(name) == Some(stem)));
        other_version.or_else(|| nearest(wanted, names()))
    }
}

fn label(package: &Package<'_>) -> String {
    format!("{}-{}", package.record.name, package.record.version)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use crate::{
        apk::solve::{solve, tests::repository},
        error::{Explain as _, Kind},
    };

    /// The message for requests that cannot be met, and the hint.
    fn refusal(records: &[&str], world: &str) -> String {
        let repositories = [repository(records)];
        let world: Vec<_> = world.split_whitespace().map(|request| request.parse().expect("a request")).collect();
        let error = solve(&repositories, &world, &[]).expect_err("requests that cannot be met");
        assert_eq!(error.kind(), Kind::Build);
        format!("{error}\nhint: {}", error.hint().expect("a hint"))
    }

    #[test]
    fn a_package_that_is_not_there() {
        assert_snapshot!(refusal(&["nodejs 22.1-r0"], "nodesj"), @r"
        no choice of packages meets all requests:
          nodesj is wanted, which no package provides; similar: nodejs
        hint: did you mean nodejs?
        ");
        assert_snapshot!(refusal(&["nodejs 22.1-r0"], "php"), @r"
        no choice of packages meets all requests:
          php is wanted, which no package provides
        hint: check the spelling, or add the repository that has it
        ");
    }

    #[test]
    fn a_library_in_another_version() {
        let records = ["node 1 D:so:libuv.so.2", "libuv 1.4-r0 p:so:libuv.so.1=1.0.0"];
        assert_snapshot!(refusal(&records, "node"), @r"
        no choice of packages meets all requests:
          node is wanted
          └─ node-1
             └─ needs so:libuv.so.2, which no package provides; similar: so:libuv.so.1
        hint: the repositories do not fit together: use those of one release
        ");
    }

    #[test]
    fn a_version_that_is_not_there() {
        assert_snapshot!(refusal(&["python3 3.11-r0", "python3 3.12-r1"], "python3>4"), @r"
        no choice of packages meets all requests:
          python3>4 is wanted, but found only 3.11-r0, 3.12-r1
        hint: ask for a version of python3 that there is
        ");
    }

    #[test]
    fn a_virtual_package_that_needs_a_choice() {
        let records = ["nodejs 22-r0 D:/bin/sh", "busybox 1-r0 p:/bin/sh", "dash 1-r0 p:/bin/sh"];
        assert_snapshot!(refusal(&records, "nodejs"), @r"
        no choice of packages meets all requests:
          nodejs is wanted
          └─ nodejs-22-r0
             └─ needs /bin/sh, which several packages may stand for, so one has to be named: busybox, dash
        hint: add one of them to the packages (-p busybox)
        ");
    }

    #[test]
    fn two_requests_that_need_different_versions() {
        let records =
            ["app 1 D:lib", "lib 1 D:core<2", "tool 3 D:core>=2", "tool 2 D:core>=2", "core 1", "core 2", "core 3"];
        assert_snapshot!(refusal(&records, "app tool"), @r"
        no choice of packages meets all requests:
          app is wanted
          └─ app-1
             └─ needs lib
                └─ lib-1
                   └─ needs core<2
                      └─ core-1
                         └─ only one version of core can be installed
          tool is wanted
          └─ tool-3, tool-2
             └─ needs core>=2
                └─ core-3, core-2
                   └─ only one version of core can be installed
        hint: drop one of the requests, or ask for other versions
        ");
    }

    #[test]
    fn two_packages_that_own_one_name() {
        let records = ["openssl 3-r0 p:cmd:openssl=3-r0", "libressl 4-r0 p:cmd:openssl=4-r0", "app 1 D:libressl"];
        assert_snapshot!(refusal(&records, "app openssl"), @r"
        no choice of packages meets all requests:
          app is wanted
          └─ app-1
             └─ needs libressl
                └─ libressl-4-r0
                   └─ cannot stand beside openssl-3-r0: both provide cmd:openssl
          openssl is wanted
          └─ openssl-3-r0
             └─ cannot stand beside libressl-4-r0: both provide cmd:openssl
        hint: drop one of the requests, or ask for other versions
        ");
    }

    #[test]
    fn conflicts() {
        assert_snapshot!(refusal(&["a 1 D:!b", "b 1"], "a b"), @r"
        no choice of packages meets all requests:
          a is wanted
          └─ a-1
             └─ cannot stand beside b-1 (!b)
          b is wanted
          └─ b-1
             └─ cannot stand beside a-1 (!b)
        hint: drop one of the requests, or ask for other versions
        ");
        assert_snapshot!(refusal(&["a 1 D:b", "b 1"], "a !b"), @r"
        no choice of packages meets all requests:
          a is wanted
          └─ a-1
             └─ needs b
                └─ b-1
                   └─ excluded by the request !b
          !b is wanted, which excludes b-1
        hint: drop one of the requests, or ask for other versions
        ");
    }

    #[test]
    fn a_package_that_cannot_be_installed_at_all() {
        assert_snapshot!(refusal(&["a 1 p:a=2", "b 1 D:a"], "b"), @r"
        no choice of packages meets all requests:
          b is wanted
          └─ b-1
             └─ needs a, but a-1 cannot be installed: it provides a twice
        hint: leave it out, or use another repository
        ");
        assert_snapshot!(refusal(&["a 1 D:c=1_foo"], "a"), @r"
        no choice of packages meets all requests:
          a is wanted, but a-1 cannot be installed: its dependency `c=1_foo` is not one that apk understands
        hint: leave it out, or use another repository
        ");
        assert_snapshot!(refusal(&["a 1 A:s390x"], "a"), @r"
        no choice of packages meets all requests:
          a is wanted, but a-1 cannot be installed: it is for s390x, not for x86_64
        hint: leave it out, or use another repository
        ");
    }

    #[test]
    fn the_same_conflict_has_always_the_same_words() {
        let records =
            ["a 1 D:x !c", "b 1 D:x<2 c", "c 1 D:x", "x 1 p:y=1", "x 2 p:y=2", "z 1 p:y=3 x=3", "d 1 D:y>1 a"];
        let words = refusal(&records, "a b d");
        for _ in 0..50 {
            assert_eq!(refusal(&records, "a b d"), words);
        }
    }

    #[test]
    fn a_package_of_a_tagged_repository() {
        let mut tagged = repository(&["a 1"]);
        tagged.tag = Some("edge".to_owned());
        let world = ["a".parse().expect("a request")];
        let error = solve(std::slice::from_ref(&tagged), &world, &[]).expect_err("a is not for everybody");
        assert_snapshot!(format!("{error}\nhint: {}", error.hint().expect("a hint")), @r"
        no choice of packages meets all requests:
          a is wanted, but a lies in a repository with the tag @edge
        hint: pin it to its repository: a@edge
        ");
    }
}
