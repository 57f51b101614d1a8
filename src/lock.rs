//! From a plan to exact packages: reads the repositories' indexes, checks them, and solves what the plan asks for.
//!
//! A solution is remembered under the digests of the indexes and the keys that they were checked with: as long as no index
//! changes, nothing is parsed or solved again.

use serde::{Deserialize, Serialize};

use crate::{
    apk::{
        dependency::Dependency,
        index::{self, IndexError, Record},
        key::KeyRing,
        solve::{self, Repository, Unsolvable},
    },
    digest::Digest,
    error::{Explain, Kind},
    fetch::{FetchError, Fetcher, Location, UnverifiedIndex},
    plan::{Plan, RepositorySource},
};

/// The bucket of remembered solutions. Its version is that of the solver's behaviour and of [`Remembered`].
const SOLUTIONS: &str = "solutions-v1";

/// The packages of one platform's root filesystem, in the order in which apk installs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// apk's word for the architecture.
    pub arch: String,
    /// The release as its package says it (`3.23.6`); the branch's name where there is none.
    pub release: String,
    /// The packages.
    pub packages: Vec<LockedPackage>,
}

/// A package that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedPackage {
    /// What the verified index says of it.
    pub record: Record,
    /// The folder of the repository for the architecture.
    pub folder: Location,
    /// Why it is there.
    pub because: Because,
}

/// Why a package is part of a lock: the shortest way to it. Places are those in the list of packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Because {
    /// The plan asks for it, in these words.
    Wish(String),
    /// Another package depends on it.
    Needed {
        /// The other's place.
        by: usize,
        /// The dependency: `so:libssl.so.3`.
        through: String,
    },
    /// It comes along as soon as all of its `install_if` are there, of which the last is this.
    Along {
        /// The other's place.
        with: usize,
    },
}

impl LockedPackage {
    /// Where its file is.
    pub fn location(&self) -> Location {
        self.folder.join(&self.record.file_name())
    }
}

impl Lock {
    /// Names everything that images depend on here: the packages' checksums, in order.
    pub fn digest(&self) -> Digest {
        let lines = self.packages.iter().map(|p| format!("{} {}\n", p.record.file_name(), p.record.checksum));
        Digest::of(lines.collect::<String>() + &self.arch + "\n" + &self.release)
    }

    /// The version of the package `name`, without Alpine's revision (`24.11.1` of `24.11.1-r0`).
    pub fn version_of(&self, name: &str) -> Option<String> {
        let package = self.packages.iter().find(|package| package.record.name == name)?;
        let version = package.record.version.to_string();
        Some(version.rsplit_once("-r").map_or(version.clone(), |(upstream, _)| upstream.to_owned()))
    }
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// An index cannot be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// An index is not trusted, or is none.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// No set of packages fulfils the plan.
    #[error(transparent)]
    Unsolvable(#[from] Unsolvable),
}

impl Explain for LockError {
    fn kind(&self) -> Kind {
        match self {
            Self::Fetch(e) => e.kind(),
            Self::Index(e) => e.kind(),
            Self::Unsolvable(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Fetch(e) => e.hint(),
            Self::Index(e) => e.hint(),
            Self::Unsolvable(e) => e.hint(),
        }
    }
}

/// A remembered solution: records as an index has them.
#[derive(Serialize, Deserialize)]
struct Remembered {
    release: String,
    packages: Vec<RememberedPackage>,
}

#[derive(Serialize, Deserialize)]
struct RememberedPackage {
    repository: usize,
    record: String,
    because: Because,
}

/// Chooses the packages for `arch`, apk's word for it. Fetches indexes only.
///
/// # Errors
/// When an index cannot be had or is not signed by one of `keys`, or when the plan's wishes cannot be fulfilled together.
pub fn lock(plan: &Plan, arch: &str, keys: &KeyRing, fetcher: &Fetcher) -> Result<Lock, LockError> {
    let folders: Vec<Location> = plan.repositories.iter().map(|repository| repository.location.join(arch)).collect();
    let indexes = fetch_indexes(&folders, fetcher)?;
    let key = key(plan, arch, keys, &indexes);
    let remembered = fetcher.store().recall(SOLUTIONS, &key);
    let solution = match remembered {
        Some(solution) => solution,
        None => {
            let solution = solve(plan, arch, keys, fetcher, &indexes)?;
            fetcher.store().remember(SOLUTIONS, &key, &solution).map_err(FetchError::from)?;
            solution
        }
    };
    let packages = solution.packages.into_iter().map(|package| {
        let mut index = index::parse(&package.record)?;
        let missing = || IndexError { index: "the store".into(), problem: index::Problem::NoIndex };
        let record = index.records.pop().ok_or_else(missing)?;
        Ok(LockedPackage { record, folder: folders[package.repository].clone(), because: package.because })
    });
    let packages = packages.collect::<Result<_, LockError>>()?;
    Ok(Lock { arch: arch.to_owned(), release: solution.release, packages })
}

fn fetch_indexes(folders: &[Location], fetcher: &Fetcher) -> Result<Vec<UnverifiedIndex>, FetchError> {
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            folders.iter().map(|folder| scope.spawn(|| fetcher.index(&folder.join("APKINDEX.tar.gz")))).collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e)));
        joined.collect()
    })
}

/// All that a solution depends on.
fn key(plan: &Plan, arch: &str, keys: &KeyRing, indexes: &[UnverifiedIndex]) -> Digest {
    let mut text = format!("{}\n{arch}\n", plan.branch);
    for (RepositorySource { tag, .. }, index) in plan.repositories.iter().zip(indexes) {
        text += &format!("{} {}\n", index.digest, tag.as_deref().unwrap_or_default());
    }
    for wish in &plan.world {
        text += &format!("{wish}\n");
    }
    text += &format!("-{}\n", plan.drop.join(" "));
    for (name, pem) in keys.files() {
        text += &format!("{name} {}\n", Digest::of(pem));
    }
    Digest::of(text)
}

fn solve(
    plan: &Plan,
    arch: &str,
    keys: &KeyRing,
    fetcher: &Fetcher,
    indexes: &[UnverifiedIndex],
) -> Result<Remembered, LockError> {
    let mut repositories = Vec::new();
    for (source, unverified) in plan.repositories.iter().zip(indexes) {
        let index = index::open(&fetcher.index_bytes(unverified)?, keys, &unverified.name)?;
        fetcher.keep_index(unverified)?;
        repositories.push(Repository { index, tag: source.tag.clone(), arch: arch.to_owned() });
    }
    let solution = solve::solve(&repositories, &plan.world, &plan.drop)?;
    let packages = solution.packages.iter().map(|selected| RememberedPackage {
        repository: selected.repository,
        record: selected.record.to_string(),
        because: match &selected.because {
            solve::Because::Wish(wish) => Because::Wish(wish.to_string()),
            solve::Because::Needed { by, dependency } => Because::Needed { by: *by, through: dependency.to_string() },
            solve::Because::Along { with } => Because::Along { with: *with },
        },
    });
    let release = release(&repositories).unwrap_or_else(|| plan.branch.trim_start_matches('v').to_owned());
    Ok(Remembered { release, packages: packages.collect() })
}

/// The version of `alpine-release`, or of `alpine-base`, from which it was split in 3.17.
fn release(repositories: &[Repository]) -> Option<String> {
    let records = || repositories.iter().filter(|r| r.tag.is_none()).flat_map(|r| &r.index.records);
    let version = |name: &str| records().filter(|r| r.name == name).map(|r| &r.version).max().map(ToString::to_string);
    let version = version("alpine-release").or_else(|| version("alpine-base"))?;
    Some(version.rsplit_once("-r").map_or(version.clone(), |(release, _)| release.to_owned()))
}

/// The wishes of a recipe and of the user as the solver takes them.
///
/// # Errors
/// The first that is not a dependency.
pub fn wishes(packages: &[String]) -> Result<Vec<Dependency>, crate::apk::dependency::ParseDependencyError> {
    packages.iter().map(|package| package.parse()).collect()
}
