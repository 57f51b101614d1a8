//! Chooses as apk does: one name after the other, the best provider of each, without ever going back.
//!
//! The world's own names are decided first, the others in an order in which packages that may depend on a name come
//! before it, so that most demands on a name are known when its turn comes. Names that no package bears itself (`so:…`,
//! `cmd:…`, virtual packages) wait until the others are decided, since a package that is wanted anyhow may provide
//! them. Before each choice, what follows from the demands so far is drawn: candidates whose dependencies cannot be met
//! any more are ruled out, a name with one candidate left is decided at once, and what all candidates of a name need is
//! needed.
//!
//! All this was found by experiments with apk 3.0.8 on small repositories; `tests/it/apk_solver.rs` goes on making
//! them. How far apk draws its conclusions decides which package it takes, so this module draws neither less nor more.

use std::{cmp::Ordering, collections::BTreeSet};

use super::universe::{Edge, NameId, Package, PackageId, Provider, Tags, Universe};

/// What was chosen.
pub(super) struct Choice {
    /// Per package: whether it is chosen.
    pub(super) selected: Vec<bool>,
    /// Per name: the provider that was chosen for it first.
    pub(super) chosen: Vec<Option<PackageId>>,
    /// Whether every demand is met; otherwise apk has failed here.
    pub(super) complete: bool,
}

/// Chooses packages for the requests `world`, which are sorted by name.
pub(super) fn choose(universe: &Universe<'_>, world: &[Edge<'_>]) -> Choice {
    let mut policy = Policy::new(universe, world);
    for &edge in world {
        policy.pin(edge);
        policy.demand(edge, None);
    }
    policy.settle(world);
    while let Some(name) = policy.next() {
        policy.decide(name);
    }
    Choice { selected: policy.selected, chosen: policy.chosen, complete: policy.complete }
}

/// The place of a name in the order of decisions; the smallest is next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    /// No package bears the name itself.
    is_virtual: bool,
    /// The world does not name it.
    indirect: bool,
    /// Its place in the reversed post-order of the walk through all dependencies.
    place: usize,
}

/// What is known of a name.
#[derive(Clone, Default)]
struct State {
    turn: Option<Turn>,
    /// The names of the packages that may depend on this one.
    dependents: Vec<NameId>,
    required: bool,
    /// Something changed that its providers depend on.
    stale: bool,
    /// The tags that the world gave it, and those that it inherits from the packages that depend on it.
    pinned: Tags,
    allowed: Tags,
}

struct Policy<'u, 'a> {
    universe: &'u Universe<'a>,
    names: Vec<State>,
    /// The names that are wanted and not decided yet, and those of them that are stale.
    waiting: BTreeSet<(Turn, NameId)>,
    stale: BTreeSet<(Turn, NameId)>,
    /// The names that became required since the last conclusion.
    fresh: Vec<NameId>,
    selected: Vec<bool>,
    /// Per package: some demand rules it out.
    excluded: Vec<bool>,
    chosen: Vec<Option<PackageId>>,
    complete: bool,
}

impl<'u, 'a> Policy<'u, 'a> {
    fn new(universe: &'u Universe<'a>, world: &[Edge<'_>]) -> Self {
        Self {
            universe,
            names: survey(universe, world),
            waiting: BTreeSet::new(),
            stale: BTreeSet::new(),
            fresh: Vec::new(),
            selected: vec![false; universe.packages.len()],
            excluded: universe.packages.iter().map(|package| package.broken.is_some()).collect(),
            chosen: vec![None; universe.names.len()],
            complete: true,
        }
    }

    fn providers(&self, name: NameId) -> &'u [Provider<'a>] {
        &self.universe.names[name].providers
    }

    fn package(&self, id: PackageId) -> &'u Package<'a> {
        &self.universe.packages[id]
    }

    /// Takes note of the tag of a request.
    fn pin(&mut self, edge: Edge<'_>) {
        let Some(tag) = &edge.dependency.tag else { return };
        let tag = self.universe.tag(tag);
        self.names[edge.name].pinned |= tag;
        self.names[edge.name].allowed |= tag;
    }

    /// Applies a dependency of the package `by`, or of the world.
    fn demand(&mut self, edge: Edge<'_>, by: Option<PackageId>) {
        for &provider in self.providers(edge.name) {
            // A package may conflict with a name that it provides itself: it means the others.
            let own = edge.dependency.conflict && Some(provider.package) == by;
            if !own && !self.universe.agrees(edge, provider) {
                self.exclude(provider.package);
            }
        }
        if !edge.dependency.conflict {
            self.want(edge.name);
        }
    }

    fn want(&mut self, name: NameId) {
        self.wait(name);
        if !std::mem::replace(&mut self.names[name].required, true) {
            self.fresh.push(name);
        }
    }

    fn wait(&mut self, name: NameId) {
        if self.chosen[name].is_none() {
            self.waiting.insert(self.turn(name));
            if self.names[name].stale {
                self.stale.insert(self.turn(name));
            }
        }
    }

    fn turn(&self, name: NameId) -> (Turn, NameId) {
        let last = Turn { is_virtual: true, indirect: true, place: usize::MAX };
        (self.names[name].turn.unwrap_or(last), name)
    }

    fn mark_stale(&mut self, name: NameId) {
        self.names[name].stale = true;
        if self.waiting.contains(&self.turn(name)) {
            self.stale.insert(self.turn(name));
        }
    }

    fn exclude(&mut self, package: PackageId) {
        if std::mem::replace(&mut self.excluded[package], true) {
            return;
        }
        self.complete &= !self.selected[package];
        for (name, _) in self.package(package).names() {
            self.touch(name);
        }
    }

    /// Notes that the packages that depend on `name` have to be looked at again.
    fn touch(&mut self, name: NameId) {
        for i in 0..self.names[name].dependents.len() {
            self.mark_stale(self.names[name].dependents[i]);
        }
    }

    /// Draws the conclusions from the demands that were just applied.
    fn settle(&mut self, demands: &[Edge<'_>]) {
        self.spread();
        for edge in demands {
            for i in 0..self.names[edge.name].dependents.len() {
                let dependent = self.names[edge.name].dependents[i];
                // A name that is required already is looked at again when a candidate drops out, not before.
                if !self.names[dependent].required {
                    self.mark_stale(dependent);
                }
            }
        }
        while let Some((_, name)) = self.stale.pop_first() {
            self.names[name].stale = false;
            if self.chosen[name].is_some() {
                continue;
            }
            for provider in self.providers(name) {
                let hopeless = |edge: &Edge<'_>| self.hopeless(*edge);
                if !self.excluded[provider.package] && self.package(provider.package).depends.iter().any(hopeless) {
                    self.exclude(provider.package);
                }
            }
            self.common(name);
            self.spread();
        }
    }

    fn spread(&mut self) {
        while let Some(name) = self.fresh.pop() {
            self.common(name);
        }
    }

    /// Whether nothing can meet the dependency any more.
    fn hopeless(&self, edge: Edge<'_>) -> bool {
        let mut providers = self.providers(edge.name).iter();
        if edge.dependency.conflict {
            providers.any(|p| self.selected[p.package] && !self.universe.agrees(edge, *p))
        } else {
            !providers.any(|p| !self.excluded[p.package] && self.universe.agrees(edge, *p))
        }
    }

    /// Acts on what all candidates of a name have in common, as it is certain already: the names that they depend on
    /// are wanted, and whatever cannot stand beside a name that they all provide is ruled out.
    fn common(&mut self, name: NameId) {
        if self.chosen[name].is_some() || !self.names[name].required {
            return;
        }
        let left = self.providers(name).iter().map(|p| p.package).filter(|&p| !self.excluded[p]);
        let candidates: Vec<PackageId> = left.collect();
        let Some((&first, rest)) = candidates.split_first() else { return };
        let depends = |package: PackageId, name: NameId| {
            self.package(package).depends.iter().any(|edge| edge.name == name && !edge.dependency.conflict)
        };
        let needs = self.package(first).depends.iter().filter(|edge| !edge.dependency.conflict).map(|edge| edge.name);
        let shared: Vec<NameId> = needs.filter(|&need| rest.iter().all(|&p| depends(p, need))).collect();
        for need in shared {
            self.want(need);
        }
        for (provided, version) in self.package(first).names() {
            let version_in = |p: &PackageId| self.package(*p).names().find(|n| n.0 == provided).map(|n| n.1);
            let Some(versions) = rest.iter().map(version_in).collect::<Option<Vec<_>>>() else { continue };
            let owned = version.is_some() && versions.iter().all(Option::is_some);
            for other in self.providers(provided) {
                if (owned || other.version.is_some()) && !candidates.contains(&other.package) {
                    self.exclude(other.package);
                }
            }
        }
    }

    /// The name to decide next: the first that leaves no choice, else the first of all.
    fn next(&mut self) -> Option<NameId> {
        let forced = self.waiting.iter().copied().find(|&(_, name)| {
            let mut left = self.providers(name).iter().filter(|p| !self.excluded[p.package]);
            left.next().is_some_and(|only| self.selectable(name, *only)) && left.next().is_none()
        });
        let next = forced.or_else(|| self.waiting.first().copied())?;
        self.waiting.remove(&next);
        self.stale.remove(&next);
        Some(next.1)
    }

    fn decide(&mut self, name: NameId) {
        if self.chosen[name].is_some() {
            return;
        }
        let providers = self.providers(name).iter();
        // A package that no other depends on is here for its `install_if`.
        let due = |package| self.names[name].required || self.universe.triggered(package, &self.selected);
        let candidates =
            providers.filter(|p| !self.excluded[p.package] && self.selectable(name, **p) && due(p.package));
        let best = candidates.reduce(|best, next| if self.prefer(name, next, best).is_gt() { next } else { best });
        match best {
            Some(best) => self.select(best.package, name),
            None => self.complete &= !self.names[name].required,
        }
    }

    /// Whether a provider may be chosen for the name: a name without a version is not enough, unless the package has a
    /// priority, or may be wanted by a name of its own; and its repository must be allowed for the name.
    fn selectable(&self, name: NameId, provider: Provider<'_>) -> bool {
        let package = self.package(provider.package);
        let own = &self.names[package.name];
        let wanted = provider.version.is_some()
            || self.selected[provider.package]
            || package.record.provider_priority > 0
            || own.required;
        let allowed = self.names[name].allowed | own.allowed;
        wanted && (self.selected[provider.package] || package.tags & (allowed | Tags::UNTAGGED) != Tags::NONE)
    }

    /// Which of two providers of a name apk would rather have; the greater one.
    fn prefer(&self, name: NameId, a: &Provider<'_>, b: &Provider<'_>) -> Ordering {
        let (x, y) = (self.package(a.package), self.package(b.package));
        let pinned = self.names[name].pinned;
        let preferred = if pinned == Tags::NONE { Tags::UNTAGGED } else { pinned };
        let by_tag = |package: &Package<'_>| package.tags & preferred != Tags::NONE;
        let by_version = || if x.name == y.name { x.record.version.cmp(&y.record.version) } else { Ordering::Equal };
        (self.selected[a.package].cmp(&self.selected[b.package]))
            .then_with(|| by_tag(x).cmp(&by_tag(y)))
            .then_with(|| a.version.cmp(&b.version))
            .then_with(by_version)
            .then_with(|| x.record.provider_priority.cmp(&y.record.provider_priority))
            .then_with(|| y.repositories[0].cmp(&x.repositories[0]))
    }

    fn select(&mut self, package: PackageId, name: NameId) {
        if std::mem::replace(&mut self.selected[package], true) {
            return;
        }
        let this = self.package(package);
        for (name, version) in this.names() {
            self.chosen[name].get_or_insert(package);
            self.touch(name);
            for other in self.providers(name) {
                if other.package != package && (version.is_some() || other.version.is_some()) {
                    self.exclude(other.package);
                }
            }
        }
        let inherited = self.names[name].allowed | self.names[this.name].allowed;
        for &edge in &this.depends {
            self.names[edge.name].allowed |= inherited;
            self.demand(edge, Some(package));
        }
        self.settle(&this.depends);
        for (name, _) in this.names() {
            for &triggered in &self.universe.names[name].triggers {
                self.trigger(triggered);
            }
        }
        self.settle(&[]);
    }

    /// Requests for a package if all of its `install_if` are met.
    fn trigger(&mut self, package: PackageId) {
        if !self.excluded[package] && self.universe.triggered(package, &self.selected) {
            self.wait(self.package(package).name);
        }
    }
}

/// Walks through everything that the world may need, and finds each name's turn and dependents.
fn survey(universe: &Universe<'_>, world: &[Edge<'_>]) -> Vec<State> {
    let mut names = vec![State::default(); universe.names.len()];
    let roots: BTreeSet<NameId> = world.iter().filter(|e| !e.dependency.conflict).map(|edge| edge.name).collect();
    for (place, name) in universe.reach(world).into_iter().rev().enumerate() {
        let providers = &universe.names[name].providers;
        let is_virtual = !providers.iter().any(|p| universe.packages[p.package].name == name);
        names[name].turn = Some(Turn { is_virtual, indirect: !roots.contains(&name), place });
        for provider in providers {
            for edge in &universe.packages[provider.package].depends {
                names[edge.name].dependents.push(name);
            }
        }
    }
    names
}
