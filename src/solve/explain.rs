//! Why there is no solution, as a tree of lines: what [`apk::solve`](crate::apk::solve) and
//! [`deb::solve`](crate::deb::solve), which know the words, say it in.

use std::fmt::Write as _;

use crate::error::{Explain, Kind};

/// No choice of packages meets all requests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no choice of packages meets all requests:\n{tree}")]
pub struct Unsolvable {
    /// The requests that contradict each other, and below each what it needs, one thing per line.
    pub tree: String,
    hint: String,
}

impl Unsolvable {
    /// The error that tells `roots`, or, where there are none, that the requests `world` contradict each other. The
    /// first of `hints` counts.
    pub(crate) fn new<W: ToString>(mut roots: Vec<Node>, world: impl Iterator<Item = W>, hints: Vec<String>) -> Self {
        if roots.is_empty() {
            let requests: Vec<_> = world.map(|request| request.to_string()).collect();
            roots.push(Node::leaf(format!("{} contradict each other", requests.join(", "))));
        }
        let mut tree = String::new();
        for root in &roots {
            root.write("  ", "  ", &mut tree);
        }
        tree.truncate(tree.trim_end().len());
        let hint = match hints.into_iter().next() {
            Some(hint) => hint,
            None => "drop one of the requests, or ask for other versions".to_owned(),
        };
        Self { tree, hint }
    }
}

impl Explain for Unsolvable {
    fn kind(&self) -> Kind {
        Kind::Build
    }

    fn hint(&self) -> Option<String> {
        Some(self.hint.clone())
    }
}

/// Readers give up after so many levels, and the stack has an end too.
pub(crate) const DEEPEST: usize = 40;

/// A line, and the lines below it.
pub(crate) struct Node {
    pub(crate) text: String,
    pub(crate) below: Vec<Node>,
}

impl Node {
    pub(crate) fn leaf(text: String) -> Self {
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

/// The first few of a list.
pub(crate) fn some(mut list: Vec<String>) -> String {
    const MOST: usize = 5;
    let more = list.len().saturating_sub(MOST);
    list.truncate(MOST);
    if more > 0 { format!("{} and {more} more", list.join(", ")) } else { list.join(", ") }
}

/// Puts packages whose lines below are the same into one line.
pub(crate) fn merge(nodes: Vec<Node>) -> Vec<Node> {
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
