//! Puts Debian's world into the words of [`crate::solve`], for the cases in which the greedy choice fails.

use super::universe::{Universe, VersionId, Want};
use crate::{
    deb::dependency::{Alternatives, Dependency},
    solve::{Candidate, Conflict, Problem},
};

/// What the engine's ids stand for.
pub(super) struct Map<'u, 'a> {
    /// By candidate.
    pub(super) versions: Vec<VersionId>,
    /// By requirement.
    pub(super) requirements: Vec<Demand<'u, 'a>>,
    /// By ban.
    pub(super) bans: Vec<&'u Dependency>,
    pub(super) problem: Problem,
    /// By version; `None` for what no request leads to.
    candidates: Vec<Option<Candidate>>,
}

/// What a requirement comes from.
#[derive(Clone, Copy)]
pub(super) enum Demand<'u, 'a> {
    /// The place of a request.
    Request(&'u Want<'a>),
    /// A dependency.
    Depends(&'u Alternatives),
}

/// Per name: the version that meets the requests, or why there is none. `liked` are versions that are taken before
/// others.
///
/// # Errors
/// The conflict, with what its parts stand for.
#[allow(clippy::result_large_err, reason = "made once, and at once turned into words")]
pub(super) fn search<'u, 'a>(
    universe: &'u Universe<'a>,
    wants: &'u [Want<'a>],
    liked: &[Option<VersionId>],
) -> Result<Vec<Option<VersionId>>, (Map<'u, 'a>, Conflict)> {
    let map = Map::new(universe, wants, liked);
    match map.problem.solve(&[]) {
        Ok(chosen) => {
            let mut selected = vec![None; universe.names.len()];
            for candidate in chosen {
                let version = map.versions[candidate.index()];
                selected[universe.versions[version].name] = Some(version);
            }
            Ok(selected)
        }
        Err(conflict) => Err((map, conflict)),
    }
}

impl<'u, 'a> Map<'u, 'a> {
    fn new(universe: &'u Universe<'a>, wants: &'u [Want<'a>], liked: &[Option<VersionId>]) -> Self {
        let mut map = Self {
            versions: Vec::new(),
            requirements: Vec::new(),
            bans: Vec::new(),
            problem: Problem::new(),
            candidates: vec![None; universe.versions.len()],
        };
        map.add_candidates(universe, wants);
        for want in wants {
            map.demand(None, Demand::Request(want), &want.versions);
        }
        for at in 0..map.versions.len() {
            let (version, rules) = (map.versions[at], universe.rules(map.versions[at]));
            let candidate = map.candidates[version];
            for group in &rules.depends {
                let ways = map.ways(universe, group, liked);
                map.demand(candidate, Demand::Depends(group), &ways);
            }
            for dependency in &rules.excludes {
                let rivals = universe.excluded(version, dependency).filter_map(|rival| map.candidates[rival]);
                let rivals: Vec<_> = rivals.collect();
                if !rivals.is_empty() {
                    let ban = map.problem.ban(rivals);
                    map.problem.forbid(candidate, ban);
                    map.bans.push(dependency);
                }
            }
        }
        map
    }

    /// A candidate for each version that a request leads to, and for the others of the same packages.
    fn add_candidates(&mut self, universe: &'u Universe<'a>, wants: &[Want<'a>]) {
        let mut slots = vec![None; universe.names.len()];
        let mut left: Vec<VersionId> = wants.iter().flat_map(|want| want.versions.iter().rev().copied()).collect();
        while let Some(version) = left.pop() {
            if self.candidates[version].is_some() || universe.rules(version).broken.is_some() {
                continue;
            }
            let slot = *slots[universe.versions[version].name].get_or_insert_with(|| self.problem.slot());
            self.candidates[version] = Some(self.problem.candidate(slot));
            self.versions.push(version);
            let depends = universe.rules(version).depends.iter().flat_map(Alternatives::iter);
            left.extend(depends.flat_map(|dependency| universe.matching(dependency)));
        }
    }

    /// The versions that meet the alternatives, the best first.
    fn ways(&self, universe: &Universe<'a>, group: &Alternatives, liked: &[Option<VersionId>]) -> Vec<VersionId> {
        let mut ways: Vec<VersionId> = Vec::new();
        for dependency in group.iter() {
            // What a name means is up to the candidates, as for apt: a newer version that provides it no longer has its
            // reasons. The versions that are requested are preferred.
            let counts = |&v: &VersionId| {
                let found = &universe.versions[v];
                found.record.name() == dependency.name || universe.is_candidate(v) || liked[found.name] == Some(v)
            };
            let mut found: Vec<_> =
                universe.matching(dependency).filter(counts).filter(|version| !ways.contains(version)).collect();
            universe.sort(dependency, &mut found, |_| false);
            found.dedup();
            ways.append(&mut found);
        }
        // apt knows candidates only: other versions, the newest first, are for when none of these will do.
        ways.sort_by_key(|&v| {
            let versions = &universe.names[universe.versions[v].name].versions;
            versions.iter().position(|&other| other == v)
        });
        ways.sort_by_key(|&v| liked[universe.versions[v].name] != Some(v));
        ways
    }

    fn demand(&mut self, by: Option<Candidate>, demand: Demand<'u, 'a>, versions: &[VersionId]) {
        let candidates = versions.iter().filter_map(|&version| self.candidates[version]).collect();
        let requirement = self.problem.requirement(candidates);
        self.problem.require(by, requirement);
        self.requirements.push(demand);
    }
}
