//! Why there is no solution, in words.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{
    search::{Demand, Map},
    universe::{Universe, VersionId, Want},
};
use crate::{
    deb::dependency::{Alternatives, Dependency},
    near::nearest,
    solve::{
        Candidate, Conflict, Reason, Requirement,
        explain::{DEEPEST, Node, Unsolvable, merge, some},
    },
};

/// Says why the conflict leaves no solution.
pub(super) fn explain<'t, 'a>(
    universe: &'t Universe<'a>,
    wants: &[Want<'a>],
    map: &'t Map<'t, 'a>,
    conflict: &'t Conflict,
) -> Unsolvable {
    let mut explainer = Explainer { universe, map, conflict, explained: BTreeSet::new(), depth: 0, hints: Vec::new() };
    let mut roots = Vec::new();
    for reason in &conflict.reasons {
        if let Reason::Requires { by: None, requirement } = *reason {
            roots.push(explainer.requirement(requirement));
        }
    }
    Unsolvable::new(roots, wants.iter().map(|want| want.request), explainer.hints)
}

struct Explainer<'t, 'a> {
    universe: &'t Universe<'a>,
    map: &'t Map<'t, 'a>,
    conflict: &'t Conflict,
    /// The packages whose reasons stand above already.
    explained: BTreeSet<Candidate>,
    depth: usize,
    hints: Vec<String>,
}

impl Explainer<'_, '_> {
    fn version(&self, candidate: Candidate) -> VersionId {
        self.map.versions[candidate.index()]
    }

    /// A requirement, and what became of each package that would meet it.
    fn requirement(&mut self, requirement: Requirement) -> Node {
        let demand = self.map.requirements[requirement.index()];
        let candidates = self.map.problem.candidates(requirement);
        let (line, names): (String, Vec<&str>) = match demand {
            Demand::Request(want) => (format!("{} is wanted", want.request), vec![&want.request.name]),
            Demand::Depends(group) => (format!("needs {group}"), group.iter().map(|d| d.name.as_str()).collect()),
        };
        if candidates.is_empty() {
            let why = match demand {
                Demand::Request(want) => self.no_package_for(want),
                Demand::Depends(group) => self.nothing(group),
            };
            return Node::leaf(format!("{line}, {why}"));
        }
        if self.depth == DEEPEST {
            return Node::leaf(format!("{line}, and so on"));
        }
        self.depth += 1;
        let below = candidates.iter().map(|&candidate| self.candidate(candidate, &names)).collect();
        self.depth -= 1;
        Node { text: line, below: merge(below) }
    }

    /// A package, and what stands against it.
    fn candidate(&mut self, candidate: Candidate, names: &[&str]) -> Node {
        let version = self.version(candidate);
        let mut text = self.label(version);
        let found = &self.universe.versions[version];
        if !names.contains(&found.record.name()) {
            let provides = found.record.provides();
            let provided = names.iter().find(|name| provides.iter().any(|provide| provide.name == **name));
            let _ = write!(text, " (provides {})", provided.unwrap_or(&names[0]));
        }
        let requirements: Vec<_> = (self.conflict.reasons.iter())
            .filter_map(|reason| match *reason {
                Reason::Requires { by, requirement } if by == Some(candidate) => Some(requirement),
                _ => None,
            })
            .collect();
        if !self.explained.insert(candidate) {
            if !requirements.is_empty() {
                text += ", as above";
            }
            return Node { text, below: self.clashes(candidate) };
        }
        let mut below: Vec<_> = requirements.into_iter().map(|requirement| self.requirement(requirement)).collect();
        below.extend(self.clashes(candidate));
        Node { text, below }
    }

    /// Whom a package cannot stand beside.
    fn clashes(&self, candidate: Candidate) -> Vec<Node> {
        let mut below = Vec::new();
        for reason in &self.conflict.reasons {
            match *reason {
                Reason::Bans { by: Some(by), ban, banned } if by == candidate || banned == candidate => {
                    let rival = self.label(self.version(if banned == candidate { by } else { banned }));
                    let whose = if banned == candidate { "which excludes" } else { "it excludes" };
                    let dependency = self.map.bans[ban.index()];
                    below.push(Node::leaf(format!("cannot stand beside {rival} ({whose} {dependency})")));
                }
                // The reasons name only some of the pairs that exclude each other.
                Reason::OneSlot { one, other } if one == candidate || other == candidate => {
                    let name = self.universe.versions[self.version(candidate)].record.name();
                    below.push(Node::leaf(format!("only one version of {name} can be installed")));
                }
                _ => {}
            }
        }
        below.dedup_by(|a, b| a.text == b.text);
        below
    }

    /// Why no package is what was requested.
    fn no_package_for(&mut self, want: &Want<'_>) -> String {
        let request = want.request;
        let known = self.universe.find(&request.name);
        let versions = known.map_or(&[][..], |name| &name.versions);
        if let Some(broken) = self.broken(&want.versions) {
            return broken;
        }
        if !versions.is_empty() {
            self.hints.push(format!("ask for a version of {} that there is", request.name));
            return format!("but found only {}", self.found(versions));
        }
        let name_of = |version: VersionId| self.universe.versions[version].record.name();
        let providers: BTreeSet<&str> =
            known.into_iter().flat_map(|name| self.universe.providers(name)).map(name_of).collect();
        if let Some(first) = providers.first() {
            if providers.len() == 1 {
                self.hints.push(format!("ask for {first}, which has versions"));
                return format!("but {first} only provides {}, without its versions", request.name);
            }
            self.hints.push(format!("ask for one of them (-p {first})"));
            let names = providers.into_iter().map(str::to_owned).collect();
            return format!("which several packages may stand for, so one has to be named: {}", some(names));
        }
        if let Some((version, _)) = known.and_then(|name| name.providers.first()) {
            let name = name_of(*version);
            self.hints.push(format!("ask for what took its place, or for {name} itself"));
            return format!("which {} provided, but the newest {name} does not", self.label(*version));
        }
        let near = self.near(&request.name);
        self.hints.push(match &near {
            Some(near) => format!("did you mean {near}?"),
            None => "check the spelling, or take another suite or component".to_owned(),
        });
        match near {
            Some(near) => format!("which no package provides; similar: {near}"),
            None => "which no package provides".to_owned(),
        }
    }

    /// Why no package meets the alternatives at all.
    fn nothing(&mut self, group: &Alternatives) -> String {
        const MIXED: &str = "the suites do not fit together: use those of one release, and all of its components";
        let versions: Vec<_> = group.iter().flat_map(|dependency| self.universe.matching(dependency)).collect();
        if let Some(broken) = self.broken(&versions) {
            return broken;
        }
        self.hints.push(MIXED.to_owned());
        let plain = |dependency: &Dependency| Dependency::on(&dependency.name);
        let found: Vec<_> = group.iter().flat_map(|d| self.universe.matching(&plain(d)).collect::<Vec<_>>()).collect();
        if found.is_empty() {
            return "which no package provides".to_owned();
        }
        let label = |version: VersionId| {
            let name = self.universe.versions[version].record.name();
            let is_named = group.iter().any(|dependency| dependency.name == name);
            // An older version's word for what it provides does not count.
            let older = if is_named || self.universe.is_candidate(version) { "" } else { ", not the newest" };
            self.label(version) + older
        };
        let mut labels: Vec<_> = found.into_iter().map(label).collect();
        labels.dedup();
        format!("but found only {}", some(labels))
    }

    /// That the packages that would do are broken, if they are.
    fn broken(&mut self, versions: &[VersionId]) -> Option<String> {
        let version = versions.iter().find(|version| self.universe.rules(**version).broken.is_some())?;
        let why = self.universe.rules(*version).broken.as_ref()?;
        self.hints.push("leave it out, or use another mirror".to_owned());
        Some(format!("but {} cannot be installed: {why}", self.label(*version)))
    }

    fn found(&self, versions: &[VersionId]) -> String {
        some(versions.iter().map(|&v| self.universe.versions[v].record.version().to_string()).collect())
    }

    /// A package whose name looks like `wanted`.
    fn near(&self, wanted: &str) -> Option<String> {
        let real = self.universe.names.iter().filter(|name| !name.versions.is_empty());
        nearest(wanted, real.map(|name| name.text)).map(str::to_owned)
    }

    fn label(&self, version: VersionId) -> String {
        let record = self.universe.versions[version].record;
        format!("{} {}", record.name(), record.version())
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use crate::{
        deb::solve::{
            solve,
            tests::{repository, world},
        },
        error::{Explain as _, Kind},
    };

    /// The message for requests that cannot be met, and the hint.
    fn refusal(records: &[&str], requests: &str) -> String {
        let repositories = [repository(records)];
        let world = world(requests);
        let error = solve(&repositories, "amd64", &world, &[]).expect_err("requests that cannot be met");
        assert_eq!(error.kind(), Kind::Build);
        format!("{error}\nhint: {}", error.hint().expect("a hint"))
    }

    #[test]
    fn a_package_that_is_not_there() {
        assert_snapshot!(refusal(&["nodejs 18.1-1"], "nodesj"), @r"
        no choice of packages meets all requests:
          nodesj is wanted, which no package provides; similar: nodejs
        hint: did you mean nodejs?
        ");
        assert_snapshot!(refusal(&["nodejs 18.1-1"], "php"), @r"
        no choice of packages meets all requests:
          php is wanted, which no package provides
        hint: check the spelling, or take another suite or component
        ");
    }

    #[test]
    fn a_version_that_is_not_there() {
        assert_snapshot!(refusal(&["python3 3.11-1", "python3 3.12-1"], "python3=4"), @r"
        no choice of packages meets all requests:
          python3=4 is wanted, but found only 3.12-1, 3.11-1
        hint: ask for a version of python3 that there is
        ");
    }

    #[test]
    fn a_virtual_package_that_needs_a_choice() {
        assert_snapshot!(refusal(&["mawk 1 Provides:awk", "gawk 1 Provides:awk"], "awk"), @r"
        no choice of packages meets all requests:
          awk is wanted, which several packages may stand for, so one has to be named: gawk, mawk
        hint: ask for one of them (-p gawk)
        ");
    }

    #[test]
    fn a_virtual_package_that_is_none_any_more() {
        assert_snapshot!(refusal(&["mawk 1 Provides:awk", "mawk 2"], "awk"), @r"
        no choice of packages meets all requests:
          awk is wanted, which mawk 1 provided, but the newest mawk does not
        hint: ask for what took its place, or for mawk itself
        ");
        assert_snapshot!(refusal(&["mawk 1 Provides:awk"], "awk=1"), @r"
        no choice of packages meets all requests:
          awk=1 is wanted, but mawk only provides awk, without its versions
        hint: ask for mawk, which has versions
        ");
        assert_snapshot!(refusal(&["a 1 Depends:awk", "mawk 1 Provides:awk", "mawk 2"], "a"), @r"
        no choice of packages meets all requests:
          a is wanted
          └─ a 1
             └─ needs awk, but found only mawk 1, not the newest
        hint: the suites do not fit together: use those of one release, and all of its components
        ");
    }

    #[test]
    fn a_dependency_that_nothing_meets() {
        assert_snapshot!(refusal(&["node 1 Depends:libuv2|libuv3(>=4)", "libuv3 3"], "node"), @r"
        no choice of packages meets all requests:
          node is wanted
          └─ node 1
             └─ needs libuv2 | libuv3 (>= 4), but found only libuv3 3
        hint: the suites do not fit together: use those of one release, and all of its components
        ");
        assert_snapshot!(refusal(&["node 1 Depends:libuv2", "libuv1 3"], "node"), @r"
        no choice of packages meets all requests:
          node is wanted
          └─ node 1
             └─ needs libuv2, which no package provides
        hint: the suites do not fit together: use those of one release, and all of its components
        ");
    }

    #[test]
    fn two_requests_that_need_different_versions() {
        let packages = [
            "app 1 Depends:lib",
            "lib 1 Depends:core(<<2)",
            "tool 3 Depends:core(>=2)",
            "tool 2 Depends:core(>=2)",
            "core 1",
            "core 2",
            "core 3",
        ];
        assert_snapshot!(refusal(&packages, "app tool"), @r"
        no choice of packages meets all requests:
          app is wanted
          └─ app 1
             └─ needs lib
                └─ lib 1
                   └─ needs core (<< 2)
                      └─ core 1
                         └─ only one version of core can be installed
          tool is wanted
          └─ tool 3, tool 2
             └─ needs core (>= 2)
                └─ core 3, core 2
                   └─ only one version of core can be installed
        hint: drop one of the requests, or ask for other versions
        ");
    }

    #[test]
    fn conflicts() {
        assert_snapshot!(refusal(&["a 1 Conflicts:b", "b 1"], "a b"), @r"
        no choice of packages meets all requests:
          a is wanted
          └─ a 1
             └─ cannot stand beside b 1 (it excludes b)
          b is wanted
          └─ b 1
             └─ cannot stand beside a 1 (which excludes b)
        hint: drop one of the requests, or ask for other versions
        ");
        let packages = ["postfix 1 Provides:mta Conflicts:mta", "exim 1 Provides:mta", "app 1 Depends:mta(=2)|exim"];
        assert_snapshot!(refusal(&packages, "app postfix"), @r"
        no choice of packages meets all requests:
          app is wanted
          └─ app 1
             └─ needs mta (= 2) | exim
                └─ exim 1
                   └─ cannot stand beside postfix 1 (which excludes mta)
          postfix is wanted
          └─ postfix 1
             └─ cannot stand beside exim 1 (it excludes mta)
        hint: drop one of the requests, or ask for other versions
        ");
    }

    #[test]
    fn a_package_that_cannot_be_installed_at_all() {
        assert_snapshot!(refusal(&["a 1 Depends:b(", "c 1 Depends:a"], "c"), @r"
        no choice of packages meets all requests:
          c is wanted
          └─ c 1
             └─ needs a, but a 1 cannot be installed: expected a dependency such as `name:any (>= 1.2) | other`, found `b (`
        hint: leave it out, or use another mirror
        ");
        assert_snapshot!(refusal(&["a 1 Depends:b("], "a"), @r"
        no choice of packages meets all requests:
          a is wanted, but a 1 cannot be installed: expected a dependency such as `name:any (>= 1.2) | other`, found `b (`
        hint: leave it out, or use another mirror
        ");
        assert_snapshot!(refusal(&["a 1 Depends:b:any", "b 1"], "a"), @r"
        no choice of packages meets all requests:
          a is wanted
          └─ a 1
             └─ needs b:any, but found only b 1
        hint: the suites do not fit together: use those of one release, and all of its components
        ");
    }

    #[test]
    fn the_same_conflict_has_always_the_same_words() {
        let packages = [
            "a 1 Depends:x Conflicts:c",
            "b 1 Depends:x(<<2),c",
            "c 1 Depends:x",
            "x 1",
            "x 2",
            "d 1 Depends:x(>>1),a",
        ];
        let words = refusal(&packages, "a b d");
        for _ in 0..50 {
            assert_eq!(refusal(&packages, "a b d"), words);
        }
    }
}
