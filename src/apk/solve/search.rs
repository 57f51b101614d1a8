//! Puts apk's world into the words of [`crate::solve`], for the cases in which the greedy choice fails.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

use super::universe::{Edge, NameId, PackageId, Provider, Tags, Universe};
use crate::{
    apk::dependency::Dependency,
    solve::{Ban, Candidate, Conflict, Problem, Requirement},
};

/// What the engine's ids stand for.
pub(super) struct Map<'a> {
    /// By candidate.
    pub(super) packages: Vec<PackageId>,
    /// By requirement.
    pub(super) requirements: Vec<Edge<'a>>,
    /// By ban.
    pub(super) bans: Vec<Rule<'a>>,
    pub(super) problem: Problem,
    candidates: BTreeMap<PackageId, Candidate>,
}

impl<'a> Map<'a> {
    /// The problem of meeting the requests in `world`.
    pub(super) fn new(universe: &Universe<'a>, world: &[Edge<'a>], ranking: &Ranking<'_, 'a>) -> Self {
        let map = Self {
            packages: Vec::new(),
            requirements: Vec::new(),
            bans: Vec::new(),
            problem: Problem::new(),
            candidates: BTreeMap::new(),
        };
        let mut builder = Builder { universe, ranking, map, requirements: BTreeMap::new() };
        builder.add_candidates();
        for &edge in world {
            builder.demand(None, edge);
        }
        for (package, candidate) in builder.map.candidates.clone() {
            for &edge in &universe.packages[package].depends {
                builder.demand(Some((package, candidate)), edge);
            }
        }
        builder.exclude();
        builder.map
    }
}

/// What a ban comes from.
#[derive(Clone, Copy)]
pub(super) enum Rule<'a> {
    /// `!name`
    Conflict(&'a Dependency),
    /// A package that provides the name with a version excludes all others that provide it.
    Owned(NameId),
}

/// Which providers may serve a name, and which of them is best.
pub(super) struct Ranking<'u, 'a> {
    universe: &'u Universe<'a>,
    /// Per package: what the greedy choice took, which is mostly right.
    selected: &'u [bool],
    /// Per name: the tags that the world gives it, and those that it may inherit.
    pinned: Vec<Tags>,
    allowed: Vec<Tags>,
    /// Per name: whether the world or some package in reach asks for it.
    asked: Vec<bool>,
    /// The names in reach.
    reach: Vec<NameId>,
    /// Packages that must not stand for a name, as nothing else asks for them.
    denied: BTreeSet<(PackageId, NameId)>,
}

impl<'u, 'a> Ranking<'u, 'a> {
    /// Learns from the world what is in reach, and what may come from which repository.
    pub(super) fn new(universe: &'u Universe<'a>, world: &[Edge<'a>], selected: &'u [bool]) -> Self {
        let count = universe.names.len();
        let reach = universe.reach(world);
        let (mut pinned, mut allowed, mut asked) =
            (vec![Tags::NONE; count], vec![Tags::NONE; count], vec![false; count]);
        for edge in world.iter().filter(|edge| !edge.dependency.conflict) {
            asked[edge.name] = true;
            if let Some(tag) = &edge.dependency.tag {
                pinned[edge.name] |= universe.tag(tag);
                for name in universe.reach(&[*edge]) {
                    allowed[name] |= universe.tag(tag);
                }
            }
        }
        for provider in reach.iter().flat_map(|&name| &universe.names[name].providers) {
            for edge in &universe.packages[provider.package].depends {
                asked[edge.name] = true;
            }
        }
        Self { universe, selected, pinned, allowed, asked, reach, denied: BTreeSet::new() }
    }

    /// Whether the package may be chosen for the name; see `policy` for what stands in the way.
    pub(super) fn selectable(&self, name: NameId, provider: Provider<'_>) -> bool {
        let package = &self.universe.packages[provider.package];
        let may_come_along = || package.names().any(|(name, version)| version.is_some() && self.asked[name]);
        let wanted = self.strong(provider) || may_come_along() && !self.denied.contains(&(provider.package, name));
        let tags = package.names().map(|(name, _)| self.allowed[name]);
        let allowed = tags.fold(self.allowed[name] | Tags::UNTAGGED, |all, tags| all | tags);
        package.broken.is_none() && wanted && package.tags & allowed != Tags::NONE
    }

    /// Whether a request for the name is reason enough to install the package.
    fn strong(&self, provider: Provider<'_>) -> bool {
        provider.version.is_some() || self.universe.packages[provider.package].record.provider_priority > 0
    }

    /// Looks for packages that are there only for a name that they provide without a version, and bars them from it;
    /// whether there were any.
    pub(super) fn deny_unasked(&mut self, world: &[Edge<'a>], selected: &[bool]) -> bool {
        let universe = self.universe;
        let mut asked = vec![false; universe.packages.len()];
        let mut edges: Vec<Edge<'a>> = world.to_vec();
        let mut checked = 0;
        loop {
            // A package that is required by a strong name may require others.
            while let Some(edge) = edges.get(checked).copied() {
                checked += 1;
                for provider in self.meeting(edge, selected).filter(|p| self.strong(*p)).collect::<Vec<_>>() {
                    if !std::mem::replace(&mut asked[provider.package], true) {
                        edges.extend(&universe.packages[provider.package].depends);
                    }
                }
            }
            let along =
                (0..universe.packages.len()).find(|&p| selected[p] && !asked[p] && universe.triggered(p, &asked));
            let Some(along) = along else { break };
            asked[along] = true;
            edges.extend(&universe.packages[along].depends);
        }
        let before = self.denied.len();
        for edge in edges {
            let meeting: Vec<_> = self.meeting(edge, selected).map(|provider| provider.package).collect();
            if !meeting.iter().any(|&package| asked[package]) {
                self.denied.extend(meeting.into_iter().map(|package| (package, edge.name)));
            }
        }
        self.denied.len() > before
    }

    /// The selected packages that meet a dependency.
    fn meeting<'s>(&'s self, edge: Edge<'a>, selected: &'s [bool]) -> impl Iterator<Item = Provider<'a>> + 's {
        let providers = if edge.dependency.conflict { &[][..] } else { &self.universe.names[edge.name].providers };
        providers.iter().filter(move |p| selected[p.package] && self.universe.agrees(edge, **p)).copied()
    }

    /// The packages that meet the dependency, the best first.
    fn candidates(&self, edge: Edge<'_>) -> Vec<PackageId> {
        let providers = self.universe.names[edge.name].providers.iter();
        let fits = |p: &&Provider<'_>| self.universe.agrees(edge, **p) && self.selectable(edge.name, **p);
        let mut candidates: Vec<Provider<'a>> = providers.filter(fits).copied().collect();
        candidates.sort_by(|a, b| self.order(edge.name, a, b));
        candidates.into_iter().map(|provider| provider.package).collect()
    }

    fn order(&self, name: NameId, a: &Provider<'_>, b: &Provider<'_>) -> Ordering {
        let pinned = self.pinned[name];
        let preferred = if pinned == Tags::NONE { Tags::UNTAGGED } else { pinned };
        let key = |p: &Provider<'_>| {
            let package = &self.universe.packages[p.package];
            (self.selected[p.package], package.tags & preferred != Tags::NONE)
        };
        let package = |p: &Provider<'_>| &self.universe.packages[p.package];
        let (x, y) = (package(a), package(b));
        let by_version = || if x.name == y.name { y.record.version.cmp(&x.record.version) } else { Ordering::Equal };
        (key(b).cmp(&key(a)))
            .then_with(|| b.version.cmp(&a.version))
            .then_with(by_version)
            .then_with(|| y.record.provider_priority.cmp(&x.record.provider_priority))
            .then_with(|| (x.repositories[0], Reverse(b.package)).cmp(&(y.repositories[0], Reverse(a.package))))
    }
}

/// Finds packages that meet every request, by package.
///
/// # Errors
/// When there are none: the conflict, in the words of `map`.
pub(super) fn search(universe: &Universe<'_>, map: &Map<'_>) -> Result<Vec<bool>, Conflict> {
    let mut requests: Vec<Candidate> = Vec::new();
    // What `install_if` brings along may bring along more.
    loop {
        let mut selected = vec![false; universe.packages.len()];
        for candidate in map.problem.solve(&requests)? {
            selected[map.packages[candidate.index()]] = true;
        }
        let along = map.candidates.iter().filter(|&(&package, _)| universe.triggered(package, &selected));
        let new: Vec<Candidate> = along.map(|(_, &candidate)| candidate).filter(|c| !requests.contains(c)).collect();
        if new.is_empty() {
            return Ok(selected);
        }
        requests.extend(new);
    }
}

struct Builder<'b, 'u, 'a> {
    universe: &'b Universe<'a>,
    ranking: &'b Ranking<'u, 'a>,
    map: Map<'a>,
    /// The requirement that an equal dependency made before.
    requirements: BTreeMap<String, Requirement>,
}

impl<'a> Builder<'_, '_, 'a> {
    /// Every package in reach that can be installed at all.
    fn add_candidates(&mut self) {
        let mut slots = BTreeMap::new();
        let reach = self.ranking.reach.iter();
        for provider in reach.flat_map(|&name| &self.universe.names[name].providers) {
            let package = &self.universe.packages[provider.package];
            if package.broken.is_none() && !self.map.candidates.contains_key(&provider.package) {
                let slot = *slots.entry(package.name).or_insert_with(|| self.map.problem.slot());
                self.map.candidates.insert(provider.package, self.map.problem.candidate(slot));
                self.map.packages.push(provider.package);
            }
        }
    }

    fn demand(&mut self, by: Option<(PackageId, Candidate)>, edge: Edge<'a>) {
        let candidate = by.map(|(_, candidate)| candidate);
        if edge.dependency.conflict {
            let ban = self.ban_conflict(by.map(|(package, _)| package), edge);
            self.map.problem.forbid(candidate, ban);
        } else {
            let key = edge.dependency.to_string();
            let requirement = match self.requirements.get(&key) {
                Some(requirement) => *requirement,
                None => {
                    let candidates = self.ranking.candidates(edge).into_iter();
                    let candidates = candidates.filter_map(|p| self.map.candidates.get(&p).copied()).collect();
                    self.map.requirements.push(edge);
                    let requirement = self.map.problem.requirement(candidates);
                    self.requirements.insert(key, requirement);
                    requirement
                }
            };
            self.map.problem.require(candidate, requirement);
        }
    }

    fn ban_conflict(&mut self, by: Option<PackageId>, edge: Edge<'a>) -> Ban {
        let name = |package: PackageId| self.universe.packages[package].name;
        let providers = self.universe.names[edge.name].providers.iter();
        let banned = providers
            .filter(|p| by.is_none_or(|by| name(by) != name(p.package)) && !self.universe.agrees(edge, **p))
            .filter_map(|p| self.map.candidates.get(&p.package).copied());
        let banned = banned.collect();
        self.map.bans.push(Rule::Conflict(edge.dependency));
        self.map.problem.ban(banned)
    }

    /// A package that provides a name with a version excludes all others that provide it.
    fn exclude(&mut self) {
        for &name in &self.ranking.reach {
            let providers = &self.universe.names[name].providers;
            let own = |p: &Provider<'_>| self.universe.packages[p.package].name;
            let mut bans: BTreeMap<NameId, Ban> = BTreeMap::new();
            for owner in providers.iter().filter(|p| p.version.is_some()) {
                let Some(&candidate) = self.map.candidates.get(&owner.package) else { continue };
                let others = providers.iter().filter(|p| own(p) != own(owner));
                let others: Vec<_> = others.filter_map(|p| self.map.candidates.get(&p.package).copied()).collect();
                if others.is_empty() {
                    continue;
                }
                let ban = *bans.entry(own(owner)).or_insert_with(|| {
                    self.map.bans.push(Rule::Owned(name));
                    self.map.problem.ban(others)
                });
                self.map.problem.forbid(Some(candidate), ban);
            }
        }
    }
}
