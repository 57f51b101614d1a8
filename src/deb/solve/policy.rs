//! apt's choice: package by package, the first of the alternatives that is available, never going back further than one
//! dependency.
//!
//! First every request is taken as it stands, so that a package that is asked for by name meets the alternatives of
//! others; then, request by request, each package's dependencies are met in their order, depth first. Where one cannot
//! be met, the package that needs it is given up and its next rival tried. What is requested, and every package that is
//! the only way to it, is *protected*: it is never given up, and what it excludes is never chosen.

use super::universe::{NameId, Universe, VersionId, Want};
use crate::deb::dependency::{Alternatives, Dependency};

/// apt stops here too.
const DEEPEST: usize = 1000;

/// What the greedy choice came to.
pub(super) struct Choice {
    /// Per name: the version to install. May hold more than the requests need.
    pub(super) selected: Vec<Option<VersionId>>,
    /// Whether that is a solution.
    pub(super) complete: bool,
}

/// Chooses as apt does.
pub(super) fn choose(universe: &Universe<'_>, wants: &[Want<'_>]) -> Choice {
    let names = universe.names.len();
    let candidates = universe.names.iter().map(|name| name.versions.first().copied()).collect();
    let mut state = State { universe, candidates, selected: vec![None; names], protected: vec![false; names] };
    let mut complete = true;
    let mut requested = Vec::new();
    for want in wants {
        let Some(&version) = want.versions.first() else {
            complete = false;
            continue;
        };
        let name = universe.versions[version].name;
        // Two requests for different versions of one package.
        complete &= state.selected[name].is_none_or(|other| other == version);
        state.candidates[name] = Some(version);
        state.selected[name] = Some(version);
        state.protected[name] = true;
        requested.push(name);
    }
    for name in requested {
        state.install(name, 0, true);
    }
    let complete = complete && state.holds(wants);
    Choice { selected: state.selected, complete }
}

struct State<'u, 'a> {
    universe: &'u Universe<'a>,
    /// Per name: the version that may be chosen.
    candidates: Vec<Option<VersionId>>,
    selected: Vec<Option<VersionId>>,
    protected: Vec<bool>,
}

impl<'u> State<'u, '_> {
    /// Installs the candidate of the name, and all that it needs; whether that worked.
    fn install(&mut self, name: NameId, depth: usize, requested: bool) -> bool {
        if depth > DEEPEST || (!requested && self.selected[name].is_none() && self.protected[name]) {
            return false;
        }
        let Some(version) = self.candidates[name] else { return false };
        let was_protected = self.protected[name];
        if !was_protected && self.selected[name] == Some(version) && self.is_whole(version) {
            return true;
        }
        if !self.is_possible(version) {
            if !was_protected {
                self.candidates[name] = None;
                self.selected[name] = None;
            }
            return false;
        }
        let firm = was_protected || requested;
        let mut whole = self.make_room(version, was_protected, firm);
        if !whole && !firm {
            return false;
        }
        self.selected[name] = Some(version);
        self.protected[name] = true;
        whole &= self.meet(version, depth, was_protected, firm);
        self.protected[name] = was_protected;
        if !whole && !firm {
            self.selected[name] = None;
            self.candidates[name] = None;
        }
        whole
    }

    /// Whether every dependency of the version has a candidate, or is met already.
    fn is_possible(&self, version: VersionId) -> bool {
        let rules = self.universe.rules(version);
        let possible = |group: &Alternatives| group.iter().any(|dependency| self.possible(dependency).next().is_some());
        rules.broken.is_none() && rules.depends.iter().all(|group| self.is_met(group) || possible(group))
    }

    /// The candidates that meet the dependency.
    fn possible<'s>(&'s self, dependency: &'s Dependency) -> impl Iterator<Item = VersionId> + 's {
        let is_candidate = |&v: &VersionId| self.candidates[self.universe.versions[v].name] == Some(v);
        self.universe.matching(dependency).filter(is_candidate)
    }

    fn is_selected(&self, version: VersionId) -> bool {
        self.selected[self.universe.versions[version].name] == Some(version)
    }

    fn is_met(&self, group: &Alternatives) -> bool {
        group.iter().any(|dependency| self.universe.matching(dependency).any(|v| self.is_selected(v)))
    }

    /// Whether everything that the version demands holds among what is selected.
    fn is_whole(&self, version: VersionId) -> bool {
        let rules = self.universe.rules(version);
        let clashes = |dependency| self.universe.excluded(version, dependency).any(|v| self.is_selected(v));
        rules.broken.is_none()
            && rules.depends.iter().all(|group| self.is_met(group))
            && !rules.excludes.iter().any(clashes)
    }

    /// Gives up what the version excludes. What a protected one excludes is never chosen after that.
    fn make_room(&mut self, version: VersionId, protected: bool, firm: bool) -> bool {
        let universe = self.universe;
        let mut room = true;
        for dependency in &universe.rules(version).excludes {
            let rivals: Vec<_> = universe.excluded(version, dependency).collect();
            for rival in rivals {
                let name = universe.versions[rival].name;
                if self.candidates[name] != Some(rival) {
                    continue;
                }
                if self.selected[name] == Some(rival) {
                    if self.protected[name] {
                        room = false;
                        if !firm {
                            return false;
                        }
                        continue;
                    }
                    self.selected[name] = None;
                }
                if protected {
                    self.candidates[name] = None;
                    self.protected[name] = true;
                }
            }
        }
        room
    }

    /// Meets the dependencies of the version.
    fn meet(&mut self, version: VersionId, depth: usize, protected: bool, firm: bool) -> bool {
        let universe = self.universe;
        let mut whole = true;
        // Alternatives that are met when the walk begins stay as they are, unless protection is to be passed on.
        let groups = &universe.rules(version).depends;
        let open: Vec<_> = groups.iter().filter(|group| protected || !self.is_met(group)).collect();
        for group in open {
            if self.is_met(group) {
                if protected && !self.protect(group, depth) {
                    whole = false;
                }
            } else if !self.meet_one(group, depth, protected) {
                whole = false;
                if !firm {
                    return false;
                }
            }
        }
        whole
    }

    /// Passes protection on to the only package that can meet the alternatives.
    fn protect(&mut self, group: &Alternatives, depth: usize) -> bool {
        let [only] = self.solutions(group)[..] else { return true };
        let name = self.universe.versions[only].name;
        if self.protected[name] {
            return true;
        }
        self.protected[name] = true;
        self.install(name, depth + 1, false)
    }

    /// Installs the first of the alternatives that can be installed.
    fn meet_one(&mut self, group: &Alternatives, depth: usize, protected: bool) -> bool {
        let solutions = self.solutions(group);
        for &version in &solutions {
            let name = self.universe.versions[version].name;
            if self.candidates[name] != Some(version) {
                continue;
            }
            if protected && solutions.len() == 1 {
                self.selected[name] = Some(version);
                self.protected[name] = true;
            }
            if self.install(name, depth + 1, false) {
                return true;
            }
        }
        false
    }

    /// The candidates that meet one of the alternatives, the best first.
    fn solutions(&self, group: &Alternatives) -> Vec<VersionId> {
        let mut solutions: Vec<VersionId> = Vec::new();
        for dependency in group.iter() {
            let mut found: Vec<_> = self.possible(dependency).collect();
            found.retain(|&v| {
                let name = self.universe.versions[v].name;
                !(self.protected[name] && self.selected[name].is_none())
            });
            self.universe.sort(dependency, &mut found, |name| self.protected[name]);
            found.retain(|version| !solutions.contains(version));
            found.dedup();
            solutions.append(&mut found);
        }
        solutions
    }

    /// Whether the selected packages that the requests need stand together.
    fn holds(&self, wants: &[Want<'_>]) -> bool {
        let mut seen = vec![false; self.universe.versions.len()];
        let mut left: Vec<VersionId> = Vec::new();
        for want in wants {
            match want.versions.first() {
                Some(&version) if self.is_selected(version) => left.push(version),
                _ => return false,
            }
        }
        let mut needed = Vec::new();
        while let Some(version) = left.pop() {
            if !std::mem::replace(&mut seen[version], true) {
                needed.push(version);
                if self.universe.rules(version).broken.is_some() {
                    return false;
                }
                for group in &self.universe.rules(version).depends {
                    let meeting = self.universe.meeting(group, &self.selected);
                    if meeting.is_empty() {
                        return false;
                    }
                    left.extend(meeting);
                }
            }
        }
        let clashes = |version: VersionId| {
            let excludes = self.universe.rules(version).excludes.iter();
            excludes
                .flat_map(move |dependency| self.universe.excluded(version, dependency))
                .any(|v| seen[v] && self.is_selected(v))
        };
        !needed.iter().any(|&version| clashes(version))
    }
}
