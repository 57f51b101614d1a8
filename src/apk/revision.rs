//! The state of a repository, as the `DESCRIPTION` of its index tells it.
//!
//! Alpine's builders write there what `git describe` says of the repository of build recipes: the last tag, the number
//! of commits since then, and the hash of the last one (`v3.23.0-45-g0123456789a`; abuild(1) puts the repository's name
//! before it). Stable branches have the tags of their releases. `edge` has those of its snapshots
//! (`v20250108-2345-g0123456789a`), and has had those of the releases that were split off from it
//! (`v3.13.0-1030-gbabf0a1684`). Unofficial repositories have any text, or none.

use std::{cmp::Ordering, fmt};

use super::version::Version;

/// A state of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    tag: Tag,
    /// The commits since the tag.
    commits: u64,
    text: String,
}

/// What was tagged last.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tag {
    /// `3.23.0`, `3.24.0_rc1`.
    Release { major: u64, minor: u64, patch: u64, version: Version },
    /// `20250108`.
    Snapshot(u64),
}

impl Revision {
    /// Reads a `DESCRIPTION`; `None` when it is not one of Alpine's.
    pub fn parse(description: &str) -> Option<Self> {
        let text = description.split_whitespace().next_back()?;
        let rest = text.strip_prefix('v')?;
        let (tag, commits) = match rest.split_once('-') {
            None => (rest, 0),
            Some((tag, since)) => {
                let (commits, hash) = since.split_once("-g")?;
                let is_hash = hash.len() >= 4 && hash.bytes().all(|c| c.is_ascii_hexdigit());
                (tag, is_hash.then(|| number(commits))??)
            }
        };
        Some(Self { tag: Tag::parse(tag)?, commits, text: text.to_owned() })
    }

    /// Whether an index in this state can be that of `branch`, the folder of a mirror that holds a release: `v3.23`,
    /// `latest-stable`, `edge`.
    pub fn fits(&self, branch: &str) -> bool {
        match (&self.tag, branch) {
            // Fixes of a release are tagged on its own branch only.
            (Tag::Release { patch, .. }, "edge") => *patch == 0,
            (Tag::Snapshot(_), "edge") | (Tag::Release { .. }, "latest-stable") => true,
            (Tag::Release { major, minor, .. }, _) => branch == format!("v{major}.{minor}"),
            (Tag::Snapshot(_), _) => false,
        }
    }

    /// Whether this state is older or newer than the other. `None` when their tags are of different kinds: nothing
    /// orders releases and snapshots.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        let tags = match (&self.tag, &other.tag) {
            (Tag::Release { version, .. }, Tag::Release { version: other, .. }) => version.cmp(other),
            (Tag::Snapshot(day), Tag::Snapshot(other)) => day.cmp(other),
            _ => return None,
        };
        Some(tags.then(self.commits.cmp(&other.commits)))
    }
}

impl Tag {
    fn parse(text: &str) -> Option<Self> {
        if text.len() == 8 && !text.contains('.') {
            return Some(Self::Snapshot(number(text)?));
        }
        let numbers = text.split('_').next()?;
        let version = Version::new(text);
        let mut parts = numbers.split('.').map(number);
        match (parts.next()??, parts.next()??, parts.next()??, parts.next()) {
            (major, minor, patch, None) if version.is_valid() => Some(Self::Release { major, minor, patch, version }),
            _ => None,
        }
    }
}

/// Digits and nothing else.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse().ok())?
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether `name` is that of a folder which holds a branch of Alpine on a mirror.
pub fn is_branch(name: &str) -> bool {
    let of_release = || {
        let (major, minor) = name.strip_prefix('v')?.split_once('.')?;
        number(major).zip(number(minor))
    };
    matches!(name, "edge" | "latest-stable") || of_release().is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn revision(text: &str) -> Revision {
        Revision::parse(text).unwrap_or_else(|| panic!("{text} is a state"))
    }

    #[test]
    fn reads_what_alpines_builders_write() {
        for text in [
            "v3.16.3-13-g4d933a1fa3",
            "v3.17.3-216-g54a39ace82a",
            "v3.23.0",
            "v3.24.0_rc1-5-gabcdef",
            "v20250108-2345-gabcd",
            "v20250108",
        ] {
            assert_eq!(revision(text).to_string(), text);
            assert_eq!(revision(&format!("main {text}\n")).to_string(), text);
        }
        for text in [
            "",
            "v3.23 main",
            "v3.23",
            "3.23.0",
            "v3.23.0.1",
            "v3.23.x",
            "v3.23.0-5",
            "v3.23.0-5-gxyz",
            "v3.23.0--gabcd",
            "v3.23.0_wrong",
            "v2025010x",
            "my packages",
            "v",
        ] {
            assert_eq!(Revision::parse(text), None, "{text}");
        }
    }

    #[test]
    fn states_are_ordered_by_tag_and_commits() {
        let order = [
            "v3.9.9-1000-gaaaa",
            "v3.23.0_rc1",
            "v3.23.0_rc1-7-gaaaa",
            "v3.23.0_rc2",
            "v3.23.0",
            "v3.23.0-1-gffff",
            "v3.23.0-45-gaaaa",
            "v3.23.0-123-gaaaa",
            "v3.23.1-2-gaaaa",
            "v3.23.10",
        ];
        for (at, older) in order.iter().enumerate() {
            assert_eq!(revision(older).compare(&revision(older)), Some(Ordering::Equal));
            for newer in &order[at + 1..] {
                assert_eq!(revision(older).compare(&revision(newer)), Some(Ordering::Less), "{older} {newer}");
                assert_eq!(revision(newer).compare(&revision(older)), Some(Ordering::Greater), "{older} {newer}");
            }
        }
        let snapshot = revision("v20250108-2345-gaaaa");
        assert_eq!(snapshot.compare(&revision("v20251224")), Some(Ordering::Less));
        assert_eq!(snapshot.compare(&revision("v3.23.0")), None);
    }

    #[test]
    fn branches() {
        for (text, branch, fits) in [
            ("v3.23.0-45-gaaaa", "v3.23", true),
            ("v3.23.0_rc1-45-gaaaa", "v3.23", true),
            ("v3.15.4-45-gaaaa", "v3.23", false),
            ("v3.2.3", "v3.23", false),
            ("v20250108-2345-gaaaa", "v3.23", false),
            ("v20250108-2345-gaaaa", "edge", true),
            ("v3.13.0-1030-gaaaa", "edge", true),
            ("v3.24.0_alpha1-3-gaaaa", "edge", true),
            ("v3.15.4-45-gaaaa", "edge", false),
            ("v3.23.0", "latest-stable", true),
            ("v20250108", "latest-stable", false),
        ] {
            assert_eq!(revision(text).fits(branch), fits, "{text} {branch}");
        }
        for (name, expected) in [
            ("v3.23", true),
            ("edge", true),
            ("latest-stable", true),
            ("v3", false),
            ("3.23", false),
            ("v3.x", false),
            ("", false),
        ] {
            assert_eq!(is_branch(name), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(v?[0-9._rcg-]{0,20} ?){0,3}|\\PC{0,20}") {
            let _ = Revision::parse(&text).is_some_and(|state| state.fits("edge"));
            let _ = is_branch(&text);
        }
    }
}
