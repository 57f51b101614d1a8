//! A package that was chosen for an image: what is fetched, why it is there, and which of its files are taken.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{location::Location, store::Key};

/// A package that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked<R> {
    /// What the verified index says of it.
    pub record: R,
    /// Where its file is.
    pub location: Location,
    /// Why it is there.
    pub because: Because,
    /// Which of its files are taken: all, when a package that is requested in addition to the recipe's needs it, or is
    /// it.
    pub selection: Selection,
}

/// Why a package is part of a lock: the shortest way to it. Places are those in the list of packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Because {
    /// The plan asks for it, in these words.
    Request(String),
    /// Another package depends on it.
    Needed {
        /// The other's place.
        by: usize,
        /// The dependency: `so:libssl.so.3`.
        through: String,
    },
    /// A program that was made here is linked with a library of it.
    Linked,
    /// A step has put parts of it into the image, such as a runtime.
    Shipped,
    /// It comes along as soon as all of its `install_if` are there, of which the last is this.
    Along {
        /// The other's place.
        with: usize,
    },
}

/// Which of a package's files a root filesystem takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Selection {
    /// All but what is stripped.
    #[default]
    Stripped,
    /// All but what is stripped, and what is at these paths of the tree.
    StrippedExcept(BTreeSet<String>),
    /// All.
    All,
    /// What is at these paths of the tree, and what says whose it is.
    Only(BTreeSet<String>),
}

impl Selection {
    /// Takes the files at `paths`, too.
    pub fn add(&mut self, paths: &BTreeSet<String>) {
        match self {
            Self::Stripped => *self = Self::StrippedExcept(paths.clone()),
            Self::StrippedExcept(taken) | Self::Only(taken) => taken.extend(paths.iter().cloned()),
            Self::All => {}
        }
    }

    /// All that it depends on.
    pub fn key(&self) -> Key {
        match self {
            Self::Stripped => Key::new().text("files", "stripped"),
            Self::StrippedExcept(paths) => Key::new().text("files", "stripped").list("except", paths),
            Self::All => Key::new().text("files", "all"),
            Self::Only(paths) => Key::new().list("only", paths),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_takes_what_each_of_several_programs_needs() {
        let set = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<BTreeSet<_>>();
        for (mut selection, expected) in [
            (Selection::Stripped, Selection::StrippedExcept(set(&["a", "b"]))),
            (Selection::Only(set(&["c"])), Selection::Only(set(&["a", "b", "c"]))),
            (Selection::All, Selection::All),
        ] {
            selection.add(&set(&["a"]));
            selection.add(&set(&["b"]));
            assert_eq!(selection, expected);
        }
    }
}
