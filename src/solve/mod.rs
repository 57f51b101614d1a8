//! The engine under every package manager: finds candidates that satisfy requirements and bans, or the reasons why none
//! do. It knows nothing of names and versions; `apk::solve` and `deb::solve` put their own worlds into these words, and
//! say why there is no solution through [`explain`]:
//!
//! - A *slot* holds at most one candidate: the versions of one package.
//! - A *requirement* is met by any candidate of a list, the best first: the versions that a dependency accepts, the
//!   providers of a virtual package, alternatives (`a | b`).
//! - A *ban* is a list of candidates of which none may be chosen along: conflicts, breaks, exclusive provides.
//!
//! Below it works [resolvo](https://docs.rs/resolvo), a SAT solver that learns from conflicts. A problem always gives
//! the same answer.

pub mod explain;

use std::{collections::BTreeSet, fmt::Display};

use resolvo::{
    Candidates, Condition, ConditionId, DenseIndex as _, Dependencies, DependencyProvider, HintDependenciesAvailable,
    Interner, KnownDependencies, NameId, Requirement as AnyOf, SolvableId, Solver, SolverCache, StringId,
    UnsolvableOrCancelled, VersionSetId, VersionSetUnionId,
    conflict::{ConflictCause, ConflictEdge, ConflictNode},
};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u32);

        impl $name {
            fn new(index: usize) -> Self {
                Self(u32::try_from(index).expect("fewer than 2^32 things fit into memory"))
            }

            /// The place in the order in which they were added to the [`Problem`], counted from 0.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(
    /// Room for one candidate.
    Slot
);
id!(
    /// Something that can be chosen.
    Candidate
);
id!(
    /// A list of candidates of which one must be chosen.
    Requirement
);
id!(
    /// A list of candidates of which none may be chosen.
    Ban
);

/// What is to be solved.
#[derive(Debug, Clone)]
pub struct Problem {
    slots: Vec<Vec<Candidate>>,
    candidates: Vec<Rules>,
    requirements: Vec<Vec<Candidate>>,
    /// The parts of each ban, one per slot.
    bans: Vec<Vec<usize>>,
    /// Per part: the slot, its banned candidates, and the ban.
    parts: Vec<(Slot, Vec<Candidate>, Ban)>,
    root: Rules,
}

/// What the choice of a candidate brings with it.
#[derive(Debug, Clone)]
struct Rules {
    slot: Slot,
    requires: Vec<Requirement>,
    bans: Vec<Ban>,
}

/// A slot that stays empty stands behind the requirements that nothing meets.
const EMPTY: Slot = Slot(0);

impl Default for Problem {
    fn default() -> Self {
        Self::new()
    }
}

impl Problem {
    /// A problem that is solved by choosing nothing.
    pub fn new() -> Self {
        Self {
            slots: vec![Vec::new()],
            candidates: Vec::new(),
            requirements: Vec::new(),
            bans: Vec::new(),
            parts: Vec::new(),
            root: Rules { slot: EMPTY, requires: Vec::new(), bans: Vec::new() },
        }
    }

    /// A new slot.
    pub fn slot(&mut self) -> Slot {
        self.slots.push(Vec::new());
        Slot::new(self.slots.len() - 1)
    }

    /// A new candidate for `slot`.
    pub fn candidate(&mut self, slot: Slot) -> Candidate {
        let candidate = Candidate::new(self.candidates.len());
        self.candidates.push(Rules { slot, requires: Vec::new(), bans: Vec::new() });
        self.slots[slot.index()].push(candidate);
        candidate
    }

    /// A new requirement, which any of `candidates` meets; the first is preferred. Without candidates nothing meets it.
    pub fn requirement(&mut self, candidates: Vec<Candidate>) -> Requirement {
        self.requirements.push(candidates);
        Requirement::new(self.requirements.len() - 1)
    }

    /// A new ban on `candidates`.
    pub fn ban(&mut self, mut candidates: Vec<Candidate>) -> Ban {
        let ban = Ban::new(self.bans.len());
        let slot = |candidate: &Candidate| self.candidates[candidate.index()].slot;
        candidates.sort_by_key(|candidate| (slot(candidate), *candidate));
        let parts = candidates.chunk_by(|a, b| slot(a) == slot(b));
        let parts: Vec<_> = parts.map(|part| (slot(&part[0]), part.to_vec(), ban)).collect();
        self.bans.push((self.parts.len()..self.parts.len() + parts.len()).collect());
        self.parts.extend(parts);
        ban
    }

    /// `requirement` must be met: when `by` is chosen, or always.
    pub fn require(&mut self, by: Option<Candidate>, requirement: Requirement) {
        self.rules(by).requires.push(requirement);
    }

    /// `ban` must be kept: when `by` is chosen, or always. It must not name `by` itself.
    pub fn forbid(&mut self, by: Option<Candidate>, ban: Ban) {
        self.rules(by).bans.push(ban);
    }

    fn rules(&mut self, by: Option<Candidate>) -> &mut Rules {
        match by {
            Some(candidate) => &mut self.candidates[candidate.index()],
            None => &mut self.root,
        }
    }

    /// The candidates that meet `requirement`.
    pub fn candidates(&self, requirement: Requirement) -> &[Candidate] {
        &self.requirements[requirement.index()]
    }

    /// Candidates that meet every requirement and keep every ban, in the order in which they were added; nothing is
    /// chosen that no requirement asks for, except for those of `requests` that are possible in addition, the first
    /// ones first.
    ///
    /// # Errors
    /// The reasons that exclude each other, when there is no solution.
    pub fn solve(&self, requests: &[Candidate]) -> Result<Vec<Candidate>, Conflict> {
        let mut chosen = self.attempt(&[])?;
        for &request in requests {
            if !chosen.contains(&request)
                && let Ok(more) = self.attempt(&[chosen.as_slice(), &[request]].concat())
            {
                chosen = more;
            }
        }
        Ok(chosen)
    }

    /// A solution in which all of `fixed` are chosen.
    fn attempt(&self, fixed: &[Candidate]) -> Result<Vec<Candidate>, Conflict> {
        let mut solver = Solver::new(Provider(self));
        let fixed = fixed.iter().map(|candidate| AnyOf::Single(VersionSetId::from_index(candidate.index())).into());
        let problem = resolvo::Problem::new()
            .requirements(self.root.requires.iter().map(|r| any_of(*r).into()).chain(fixed).collect())
            .constraints(self.constrains(&self.root));
        match solver.solve(problem) {
            Ok(chosen) => {
                let mut chosen: Vec<_> = chosen.iter().map(|id| Candidate::new(id.to_index())).collect();
                chosen.sort();
                Ok(chosen)
            }
            Err(UnsolvableOrCancelled::Unsolvable(conflict)) => {
                let graph = conflict.graph(&solver).graph;
                let reasons = graph.edge_indices().filter_map(|edge| {
                    let (from, to) = graph.edge_endpoints(edge)?;
                    self.reason(*graph.node_weight(from)?, *graph.node_weight(to)?, *graph.edge_weight(edge)?)
                });
                Err(Conflict { reasons: reasons.collect() })
            }
            Err(UnsolvableOrCancelled::Cancelled(_)) => unreachable!("nothing cancels the search"),
        }
    }

    fn constrains(&self, rules: &Rules) -> Vec<VersionSetId> {
        let parts = rules.bans.iter().flat_map(|ban| &self.bans[ban.index()]);
        parts.map(|part| VersionSetId::from_index(self.candidates.len() + 1 + part)).collect()
    }

    /// What an edge of resolvo's graph says.
    fn reason(&self, from: ConflictNode, to: ConflictNode, edge: ConflictEdge) -> Option<Reason> {
        let candidate = |node: ConflictNode| match node {
            ConflictNode::Solvable(id) => Some(Candidate::new(id.to_index())),
            _ => None,
        };
        let by = candidate(from);
        match edge {
            ConflictEdge::Requires(AnyOf::Union(union)) => {
                Some(Reason::Requires { by, requirement: Requirement::new(union.to_index()) })
            }
            ConflictEdge::Conflict(ConflictCause::Constrains(set)) => {
                let part = set.to_index().checked_sub(self.candidates.len() + 1)?;
                Some(Reason::Bans { by, ban: self.parts[part].2, banned: candidate(to)? })
            }
            ConflictEdge::Conflict(ConflictCause::ForbidMultipleInstances) => {
                let (a, b) = (by?, candidate(to)?);
                Some(Reason::OneSlot { one: a.min(b), other: a.max(b) })
            }
            _ => None,
        }
    }
}

/// Why there is no solution: a set of reasons of which each is needed for the contradiction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The reasons.
    pub reasons: BTreeSet<Reason>,
}

/// A part of a [`Conflict`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The requirement has to be met, if the candidate is chosen.
    Requires {
        /// Whose requirement it is; `None`: the problem's own.
        by: Option<Candidate>,
        /// The requirement.
        requirement: Requirement,
    },
    /// The ban has to be kept, if the candidate is chosen.
    Bans {
        /// Whose ban it is; `None`: the problem's own.
        by: Option<Candidate>,
        /// The ban.
        ban: Ban,
        /// The candidate that it excludes.
        banned: Candidate,
    },
    /// Two candidates want the same slot.
    OneSlot {
        /// The one that was added first.
        one: Candidate,
        /// The other.
        other: Candidate,
    },
}

fn any_of(requirement: Requirement) -> AnyOf {
    AnyOf::Union(VersionSetUnionId::from_index(requirement.index()))
}

/// The problem in resolvo's words. A solvable is a candidate, a name is a slot, a union is a requirement. The version
/// sets are: one per candidate that holds it alone, so that a requirement keeps its own order of preference; then an
/// empty one; then one per part of a ban, which holds what the ban leaves.
struct Provider<'p>(&'p Problem);

impl Provider<'_> {
    fn matches(&self, set: VersionSetId, solvable: SolvableId) -> bool {
        let candidates = self.0.candidates.len();
        match set.to_index().checked_sub(candidates + 1) {
            None => set.to_index() == solvable.to_index() && solvable.to_index() < candidates,
            Some(part) => !self.0.parts[part].1.contains(&Candidate::new(solvable.to_index())),
        }
    }
}

impl Interner for Provider<'_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, solvable: SolvableId) -> impl Display + '_ {
        format!("candidate {}", solvable.to_index())
    }

    fn display_name(&self, name: NameId) -> impl Display + '_ {
        format!("slot {}", name.to_index())
    }

    fn display_version_set(&self, set: VersionSetId) -> impl Display + '_ {
        format!("set {}", set.to_index())
    }

    fn display_string(&self, string: StringId) -> impl Display + '_ {
        format!("string {}", string.to_index())
    }

    fn version_set_name(&self, set: VersionSetId) -> NameId {
        let candidates = self.0.candidates.len();
        let slot = match set.to_index().checked_sub(candidates) {
            None => self.0.candidates[set.to_index()].slot,
            Some(0) => EMPTY,
            Some(part) => self.0.parts[part - 1].0,
        };
        NameId::from_index(slot.index())
    }

    fn solvable_name(&self, solvable: SolvableId) -> NameId {
        NameId::from_index(self.0.candidates[solvable.to_index()].slot.index())
    }

    fn version_sets_in_union(&self, union: VersionSetUnionId) -> impl Iterator<Item = VersionSetId> {
        let candidates = &self.0.requirements[union.to_index()];
        let empty = candidates.is_empty().then(|| VersionSetId::from_index(self.0.candidates.len()));
        candidates.iter().map(|candidate| VersionSetId::from_index(candidate.index())).chain(empty)
    }

    fn resolve_condition(&self, condition: ConditionId) -> Condition {
        unreachable!("no requirement has a condition, not even {condition:?}")
    }
}

impl DependencyProvider for Provider<'_> {
    async fn filter_candidates(
        &self,
        candidates: &[SolvableId],
        version_set: VersionSetId,
        inverse: bool,
    ) -> Vec<SolvableId> {
        candidates.iter().copied().filter(|id| self.matches(version_set, *id) != inverse).collect()
    }

    async fn get_candidates(&self, name: NameId) -> Option<Candidates> {
        let slot = &self.0.slots[name.to_index()];
        Some(Candidates {
            candidates: slot.iter().map(|candidate| SolvableId::from_index(candidate.index())).collect(),
            hint_dependencies_available: HintDependenciesAvailable::All,
            ..Candidates::default()
        })
    }

    async fn sort_candidates(&self, _: &SolverCache<Self>, _: &mut [SolvableId]) {}

    async fn get_dependencies(&self, solvable: SolvableId) -> Dependencies {
        let rules = &self.0.candidates[solvable.to_index()];
        let requirements = rules.requires.iter().map(|requirement| any_of(*requirement).into()).collect();
        Dependencies::Known(KnownDependencies { requirements, constrains: self.0.constrains(rules) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A problem whose slots hold as many candidates as the list says.
    fn problem<const N: usize>(slots: [usize; N]) -> (Problem, [Vec<Candidate>; N]) {
        let mut problem = Problem::new();
        let candidates = slots.map(|count| {
            let slot = problem.slot();
            (0..count).map(|_| problem.candidate(slot)).collect()
        });
        (problem, candidates)
    }

    fn require(problem: &mut Problem, by: Option<Candidate>, candidates: &[Candidate]) -> Requirement {
        let requirement = problem.requirement(candidates.to_vec());
        problem.require(by, requirement);
        requirement
    }

    fn forbid(problem: &mut Problem, by: Option<Candidate>, candidates: &[Candidate]) -> Ban {
        let ban = problem.ban(candidates.to_vec());
        problem.forbid(by, ban);
        ban
    }

    #[test]
    fn chooses_nothing_that_nobody_asks_for() {
        let (problem, [..]) = problem([2, 2]);
        assert_eq!(problem.solve(&[]), Ok(vec![]));
    }

    #[test]
    fn prefers_what_comes_first_in_the_requirement() {
        let (mut problem, [a, b]) = problem([2, 1]);
        require(&mut problem, None, &[a[1], b[0], a[0]]);
        assert_eq!(problem.solve(&[]), Ok(vec![a[1]]));
    }

    #[test]
    fn goes_back_when_the_first_choice_fails() {
        // a[0] needs b[0], which c[0] bans; c[0] is required.
        let (mut problem, [a, b, c]) = problem([2, 2, 1]);
        require(&mut problem, None, &a);
        require(&mut problem, None, &c);
        require(&mut problem, Some(a[0]), &b[..1]);
        require(&mut problem, Some(a[1]), &b);
        forbid(&mut problem, Some(c[0]), &b[..1]);
        assert_eq!(problem.solve(&[]), Ok(vec![a[1], b[1], c[0]]));
    }

    #[test]
    fn grants_the_requests_that_are_possible() {
        let (mut problem, [a, b, c]) = problem([1, 1, 1]);
        require(&mut problem, None, &a);
        forbid(&mut problem, Some(b[0]), &a);
        assert_eq!(problem.solve(&[b[0], c[0]]), Ok(vec![a[0], c[0]]));
    }

    #[test]
    fn a_request_keeps_to_its_slot() {
        let (problem, [a]) = problem([2]);
        assert_eq!(problem.solve(&[a[1], a[0]]), Ok(vec![a[1]]));
    }

    #[test]
    fn gives_the_reasons() {
        let (mut problem, [a, b, c]) = problem([1, 1, 2]);
        let wants_a = require(&mut problem, None, &a);
        let wants_b = require(&mut problem, None, &b);
        let one = require(&mut problem, Some(a[0]), &c[..1]);
        let other = require(&mut problem, Some(b[0]), &c[1..]);
        let conflict = problem.solve(&[]).expect_err("two candidates for one slot");
        let requires = |by, requirement| Reason::Requires { by, requirement };
        let expected = [
            requires(None, wants_a),
            requires(None, wants_b),
            requires(Some(a[0]), one),
            requires(Some(b[0]), other),
            Reason::OneSlot { one: c[0], other: c[1] },
        ];
        assert_eq!(conflict.reasons, BTreeSet::from(expected));
    }

    #[test]
    fn names_bans_and_what_nothing_meets() {
        let (mut banned, [a, b]) = problem([1, 1]);
        require(&mut banned, None, &a);
        require(&mut banned, None, &b);
        let ban = forbid(&mut banned, Some(a[0]), &b);
        let conflict = banned.solve(&[]).expect_err("a bans b");
        assert!(conflict.reasons.contains(&Reason::Bans { by: Some(a[0]), ban, banned: b[0] }), "{conflict:?}");

        let (mut empty, [a]) = problem([1]);
        require(&mut empty, None, &a);
        let nothing = require(&mut empty, Some(a[0]), &[]);
        let conflict = empty.solve(&[]).expect_err("nothing meets it");
        assert!(conflict.reasons.contains(&Reason::Requires { by: Some(a[0]), requirement: nothing }));
    }
}
