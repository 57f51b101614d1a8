//! Why there is no solution, in words.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{
    search::{Map, Rule},
    universe::{Edge, NameId, Package, PackageId, Universe},
};
use crate::{
    error::{Explain, Kind},
    near::nearest,
    solve::{Candidate, Conflict, Reason, Requirement},
};

/// No choice of packages meets all wishes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no choice of packages meets all wishes:\n{tree}")]
pub struct Unsolvable {
    /// The wishes that contradict each other, and below each what it needs, one thing per line.
    pub tree: String,
    hint: String,
}

impl Explain for Unsolvable {
    fn kind(&self) -> Kind {
        Kind::Build
    }

    fn hint(&self) -> Option<String> {
        Some(self.hint.clone())
    }
}

/// Says why the conflict leaves no solution.
pub(super) fn explain(universe: &Universe<'_>, world: &[Edge<'_>], map: &Map<'_>, conflict: &Conflict) -> Unsolvable {
    let mut teller = Teller { universe, map, conflict, told: BTreeSet::new(), hints: Vec::new() };
    let mut roots = Vec::new();
    for reason in &conflict.reasons {
        match *reason {
            Reason::Requires { by: None, requirement } => roots.push(teller.requirement("", requirement)),
            Reason::Bans { by: None, ban, banned } => roots.push(teller.ban(None, ban.index(), banned)),
            _ => {}
        }
    }
    if roots.is_empty() {
        let wishes: Vec<_> = world.iter().map(|edge| edge.dependency.to_string()).collect();
        roots.push(Node::leaf(format!("{} contradict each other", wishes.join(", "))));
    }
    let mut tree = String::new();
    for root in &roots {
        root.write("  ", "  ", &mut tree);
    }
    tree.truncate(tree.trim_end().len());
    let hint = match teller.hints.into_iter().next() {
        Some(hint) => hint,
        None => "drop one of the wishes, or ask for other versions".to_owned(),
    };
    Unsolvable { tree, hint }
}

/// A line, and the lines below it.
struct Node {
    text: String,
    below: Vec<Node>,
}

impl Node {
    fn leaf(text: String) -> Self {
        Self { text, below: Vec::new() }
    }

    fn write(&self, first: &str, rest: &str, out: &mut String) {
        let _ = writeln!(out, "{first}{}", self.text);
        for (i, node) in self.below.iter().enumerate() {
            let (branch, stem) = if i + 1 < self.below.len() { ("├─ ", "│  ") } else { ("└─ ", "   ") };
            node.write(&format!("{rest}{branch}"), &format!("{rest}{stem}"), out);
        }
    }
}

struct Teller<'t, 'a> {
    universe: &'t Universe<'a>,
    map: &'t Map<'a>,
    conflict: &'t Conflict,
    /// The packages whose reasons stand above already.
    told: BTreeSet<Candidate>,
    hints: Vec<String>,
}

impl<'t, 'a> Teller<'t, 'a> {
    fn package(&self, candidate: Candidate) -> &'t Package<'a> {
        &self.universe.packages[self.map.packages[candidate.index()]]
    }

    /// A requirement, and what became of each package that would meet it.
    fn requirement(&mut self, verb: &str, requirement: Requirement) -> Node {
        let edge = self.map.requirements[requirement.index()];
        let candidates = self.map.problem.candidates(requirement);
        let wish = if verb.is_empty() {
            format!("{} is wanted", edge.dependency)
        } else {
            format!("{verb} {}", edge.dependency)
        };
        if candidates.is_empty() {
            let why = self.nothing(edge);
            return Node::leaf(format!("{wish}, {why}"));
        }
        let below = candidates.iter().map(|&candidate| self.candidate(candidate, edge.name)).collect();
        Node { text: wish, below: merge(below) }
    }

    /// A package, and what stands against it.
    fn candidate(&mut self, candidate: Candidate, name: NameId) -> Node {
        let package = self.package(candidate);
        let mut text = label(package);
        if package.name != name {
            let _ = write!(text, " (provides {})", self.universe.names[name].text);
        }
        if !self.told.insert(candidate) {
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
                Reason::OneSlot { one, other } if one == candidate || other == candidate => {
                    let rival = if one == candidate { other } else { one };
                    below.push(Node::leaf(format!("excludes {}", label(self.package(rival)))));
                }
                _ => {}
            }
        }
        below
    }

    /// A ban, told from the side of `candidate`, or as a wish of the world.
    fn ban(&self, candidate: Option<Candidate>, ban: usize, other: Candidate) -> Node {
        let rival = label(self.package(other));
        let text = match (self.map.bans[ban], candidate) {
            (Rule::Conflict(dependency), None) => format!("{dependency} is wanted, which excludes {rival}"),
            (Rule::Conflict(dependency), Some(candidate)) if candidate == other => {
                format!("excluded by the wish {dependency}")
            }
            (Rule::Conflict(dependency), Some(_)) => format!("cannot stand beside {rival} ({dependency})"),
            (Rule::Owned(name), _) => {
                format!("cannot stand beside {rival}: both provide {}", self.universe.names[name].text)
            }
        };
        Node::leaf(text)
    }

    /// Why no package meets the dependency at all.
    fn nothing(&mut self, edge: Edge<'_>) -> String {
        let name = &self.universe.names[edge.name];
        let providers: Vec<PackageId> = name.providers.iter().map(|p| p.package).collect();
        if providers.is_empty() {
            let near = self.near(name.text);
            self.hints.push(match near {
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
            self.hints.push(format!("ask for a version of {} that there is", name.text));
            return format!("but found only {}", some(found.collect()));
        }
        if let Some(why) = accepted.iter().map(|p| p.package).find_map(|p| broken(&p)) {
            return format!("but {why}");
        }
        let packages: Vec<_> = accepted.iter().map(|p| &self.universe.packages[p.package]).collect();
        let names: BTreeSet<&str> = packages.iter().map(|package| package.record.name.as_str()).collect();
        let names: Vec<_> = names.into_iter().map(str::to_owned).collect();
        if accepted.iter().all(|p| p.version.is_none()) {
            self.hints.push(format!("add one of them to the packages (-p {})", names[0]));
            return format!("which several packages may stand for, so one has to be named: {}", some(names));
        }
        self.hints.push(format!("pin it to its repository: {}@TAG", name.text));
        format!("but {} lies in a tagged repository", some(names))
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

/// The first few of a list.
fn some(mut list: Vec<String>) -> String {
    const MOST: usize = 5;
    let more = list.len().saturating_sub(MOST);
    list.truncate(MOST);
    if more > 0 { format!("{} and {more} more", list.join(", ")) } else { list.join(", ") }
}

/// Puts packages whose lines below are the same into one line.
fn merge(nodes: Vec<Node>) -> Vec<Node> {
    let mut merged: Vec<(Vec<String>, Vec<Node>, String)> = Vec::new();
    for node in nodes {
        let mut below = String::new();
        for node in &node.below {
            node.write("", "", &mut below);
        }
        match merged.iter_mut().find(|(_, _, other)| *other == below && !below.is_empty()) {
            Some((labels, ..)) => labels.push(node.text),
            None => merged.push((vec![node.text], node.below, below)),
        }
    }
    merged.into_iter().map(|(labels, below, _)| Node { text: some(labels), below }).collect()
}
