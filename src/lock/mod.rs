//! The lock, from a plan to exact packages: reads and verifies the repositories' indexes, and solves the plan's
//! requests.
//!
//! A solution is remembered under the digests of the indexes and its other inputs. As long as no index changes, nothing
//! is parsed or solved again.

mod alpine;
pub mod debian;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    apk, deb,
    error::{Explain, Kind},
    fetch::{FetchError, Fetcher},
    glob::Pattern,
    image::Platform,
    package::{
        Listed,
        locked::{Because, Locked, Selection},
    },
    plan::{Plan, PlanError, Wanted},
    solve::explain::Unsolvable,
    store::{Key, StoreError},
};

/// The packages of one platform's root filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// The distribution's name for the architecture.
    pub arch: String,
    /// The distribution's release: `3.23.6` of Alpine, `12.11` of Debian; the branch's or suite's name where there is
    /// no number.
    pub release: String,
    /// The packages.
    pub packages: Packages,
}

/// Packages of one kind, in the order in which they are installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packages {
    /// Alpine's.
    Alpine(Vec<Locked<apk::index::Record>>),
    /// Debian's.
    Debian(Vec<Locked<deb::record::Record>>),
}

/// Files of packages: paths below the root, by the names of their packages.
pub type Needs = BTreeMap<String, BTreeSet<String>>;

/// The fields that every kind of package has.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The size of its file, in bytes.
    pub size: u64,
    /// The reason why it is installed.
    pub because: &'a Because,
}

impl<'a> Row<'a> {
    fn new<R: Listed>(record: &'a R, because: &'a Because) -> Self {
        Self { name: record.name(), version: record.version(), size: record.size(), because }
    }

    /// Name and version.
    pub fn title(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}

impl Packages {
    /// All packages, in order.
    pub fn rows(&self) -> Vec<Row<'_>> {
        fn rows<R: Listed>(packages: &[Locked<R>]) -> Vec<Row<'_>> {
            packages.iter().map(|locked| Row::new(&locked.record, &locked.because)).collect()
        }
        match self {
            Self::Alpine(packages) => rows(packages),
            Self::Debian(packages) => rows(packages),
        }
    }

    /// Adds the packages of `others`, of the same kind, that `needs` names, with only the files at the paths in
    /// `needs`. For a package that is already there, these files are taken, too.
    pub fn add(&mut self, others: &Self, needs: &Needs) {
        fn add<R: Listed>(packages: &mut Vec<Locked<R>>, others: &[Locked<R>], needs: &Needs) {
            for (name, paths) in needs {
                let found = others.iter().find(|other| other.record.name() == name);
                if let Some(there) = packages.iter_mut().find(|package| package.record.name() == name) {
                    there.selection.add(paths);
                    if there.because == Because::Shipped && !paths.is_empty() {
                        there.because = Because::Linked;
                    }
                } else if let Some(found) = found {
                    let selection = Selection::Only(paths.clone());
                    let because = if paths.is_empty() { Because::Shipped } else { Because::Linked };
                    packages.push(Locked { selection, because, ..found.clone() });
                }
            }
        }
        match (self, others) {
            (Self::Alpine(packages), Self::Alpine(others)) => add(packages, others, needs),
            (Self::Debian(packages), Self::Debian(others)) => add(packages, others, needs),
            _ => {}
        }
    }

    fn keys(&self) -> Vec<Key> {
        fn keys<R: Listed>(packages: &[Locked<R>]) -> Vec<Key> {
            let key = |package: &Locked<R>| package.selection.key().nested("package", &package.record.key());
            packages.iter().map(key).collect()
        }
        match self {
            Self::Alpine(packages) => keys(packages),
            Self::Debian(packages) => keys(packages),
        }
    }
}

impl Lock {
    /// Everything here that images depend on: the packages, in order, and the distribution's release.
    pub fn key(&self) -> Key {
        let key = Key::new().text("architecture", &self.arch).text("release", &self.release);
        key.nested_list("packages", self.packages.keys())
    }

    /// The upstream version of the package that matches `names`: without an epoch and the distribution's revision
    /// (`24.11.1` of `24.11.1-r0`, `18.20.4` of `18.20.4+dfsg-1~deb12u1`). Of several, the most precise: `8.2.29` of
    /// `php8.2-cli`, and not the `8.2` of `php-cli`.
    pub fn version_of(&self, names: &Pattern) -> Option<String> {
        let rows = self.packages.rows();
        let versions = rows.iter().filter(|row| names.matches(row.name)).map(|row| self.upstream(row.version));
        versions.max_by_key(|version| version.split('.').count()).map(str::to_owned)
    }

    fn upstream<'v>(&self, version: &'v str) -> &'v str {
        match &self.packages {
            Packages::Alpine(_) => version.rsplit_once("-r").map_or(version, |(upstream, _)| upstream),
            Packages::Debian(_) => {
                let version = version.split_once(':').map_or(version, |(_, version)| version);
                let version = version.rsplit_once('-').map_or(version, |(upstream, _)| upstream);
                let version = version.split(['+', '~']).next().unwrap_or(version);
                version.split_once(".dfsg").map_or(version, |(version, _)| version)
            }
        }
    }
}

/// The error of a lock.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each is what its source says")]
pub enum LockError {
    /// The plan names keys or an architecture that cannot be used.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// An index cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// An index is not trusted, or not an index.
    #[error(transparent)]
    Index(#[from] apk::index::IndexError),
    /// No set of packages meets the plan's requests.
    #[error(transparent)]
    Unsolvable(#[from] Unsolvable),
    #[error(transparent)]
    Key(#[from] deb::key::KeyError),
    #[error(transparent)]
    Signature(#[from] deb::signature::SignatureError),
    #[error(transparent)]
    Release(#[from] deb::release::ReleaseError),
    #[error(transparent)]
    DebianIndex(#[from] deb::index::IndexError),
}

impl From<StoreError> for LockError {
    fn from(error: StoreError) -> Self {
        Self::Fetch(error.into())
    }
}

impl LockError {
    fn inner(&self) -> &dyn Explain {
        match self {
            Self::Plan(e) => e,
            Self::Fetch(e) => e,
            Self::Index(e) => e,
            Self::Unsolvable(e) => e,
            Self::Key(e) => e,
            Self::Signature(e) => e,
            Self::Release(e) => e,
            Self::DebianIndex(e) => e,
        }
    }
}

impl Explain for LockError {
    fn kind(&self) -> Kind {
        self.inner().kind()
    }

    fn hint(&self) -> Option<String> {
        self.inner().hint()
    }
}

/// A remembered solution: records in the form of an index.
#[derive(Serialize, Deserialize)]
struct Remembered {
    release: String,
    packages: Vec<RememberedPackage>,
    /// The facts about Alpine's indexes that are checked each time. Debian's Releases are read each time.
    #[serde(default)]
    states: Vec<alpine::State>,
}

#[derive(Serialize, Deserialize)]
struct RememberedPackage {
    repository: usize,
    record: String,
    because: Because,
    #[serde(default)]
    whole: bool,
}

impl RememberedPackage {
    fn selection(&self) -> Selection {
        if self.whole { Selection::All } else { Selection::Stripped }
    }
}

/// Chooses the packages for `platform`. Fetches indexes only.
///
/// # Errors
/// When an index cannot be fetched or is not signed by a trusted key, or when the plan's requests cannot be fulfilled
/// together.
pub fn lock(plan: &Plan, platform: &Platform, fetcher: &Fetcher) -> Result<Lock, LockError> {
    match &plan.wanted {
        Wanted::Alpine(wanted) => {
            alpine::lock(wanted, &[&plan.drop.own[..], &plan.drop.all].concat(), platform, fetcher)
        }
        Wanted::Debian(wanted) => debian::lock(wanted, &plan.drop, platform, fetcher),
    }
}
