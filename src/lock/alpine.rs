//! Alpine's packages: a signed index for each repository.

use serde::{Deserialize, Serialize};

use super::{Lock, LockError, Packages, Remembered, RememberedPackage};
use crate::{
    apk::{
        index::{self, Index, IndexError},
        key::{self, KeyRing},
        revision::Revision,
        solve::{self, Repository},
    },
    digest::Digest,
    fetch::{
        FetchError, Fetcher, UnverifiedIndex,
        seen::{Mark, Seen},
    },
    image::Platform,
    location::Location,
    package::locked::{Because, Locked, Selection},
    plan::alpine::{AlpineWanted, RepositorySource, architecture},
    store::{Bucket, Key},
};

/// The description in a verified index.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    description: String,
    signed_by: String,
}

impl State {
    fn of(index: &Index) -> Self {
        Self { description: index.description.clone(), signed_by: index.signed_by.clone() }
    }
}

pub(super) fn lock(
    wanted: &AlpineWanted,
    dropped: &[String],
    platform: &Platform,
    fetcher: &Fetcher,
) -> Result<Lock, LockError> {
    let arch = architecture(platform)?;
    let keys = wanted.keys(arch)?;
    let folders: Vec<Location> = wanted.repositories.iter().map(|repository| repository.location.join(arch)).collect();
    let files: Vec<Location> = folders.iter().map(|folder| folder.join("APKINDEX.tar.gz")).collect();
    let seen = files.iter().map(|file| fetcher.seen(file)).collect::<Result<Vec<_>, _>>()?;
    let indexes = fetch_indexes(&files, fetcher)?;
    let key = key(wanted, dropped, arch, &keys, &indexes);
    let check = |at: usize, state: &State| {
        let (source, index): (&RepositorySource, &UnverifiedIndex) = (&wanted.repositories[at], &indexes[at]);
        check(source, state, &index.name, &seen[at], fetcher)
    };
    let has_states = |solution: &Remembered| solution.states.len() == indexes.len();
    let make = || solve(wanted, dropped, arch, open(&indexes, &keys, fetcher, check)?);
    let solution = fetcher.store().memo::<_, LockError>(Bucket::AlpineSolutions, &key, has_states, make)?;
    if solution.cached {
        solution.value.states.iter().enumerate().try_for_each(|(at, state)| check(at, state))?;
    }
    let solution = solution.value;
    let packages = solution.packages.into_iter().map(|package| {
        let mut index = index::parse(&package.record)?;
        let missing = || IndexError { index: "the store".into(), problem: index::Problem::NoIndex };
        let record = index.records.pop().ok_or_else(missing)?;
        let location = folders[package.repository].join(&record.file_name());
        Ok(Locked { record, location, because: package.because, selection: Selection::default() })
    });
    let packages = Packages::Alpine(packages.collect::<Result<_, LockError>>()?);
    Ok(Lock { arch: arch.to_owned(), release: solution.release, packages })
}

fn fetch_indexes(files: &[Location], fetcher: &Fetcher) -> Result<Vec<UnverifiedIndex>, FetchError> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = files.iter().map(|file| scope.spawn(|| fetcher.index(file))).collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e)));
        joined.collect()
    })
}

/// Everything that a solution depends on.
fn key(wanted: &AlpineWanted, dropped: &[String], arch: &str, keys: &KeyRing, indexes: &[UnverifiedIndex]) -> Key {
    let repositories = wanted.repositories.iter().zip(indexes);
    let repository = |(source, index): (&RepositorySource, &UnverifiedIndex)| {
        Key::new().text("index", index.digest).option("tag", source.tag.as_ref())
    };
    Key::new()
        .text("branch", &wanted.branch)
        .text("architecture", arch)
        .nested_list("repositories", repositories.map(repository))
        .list("world", &wanted.world)
        .list("dropped", dropped)
        .pairs("keys", keys.files().map(|(name, pem)| (name, Digest::of(pem))))
}

/// Fetches and verifies the indexes. `check` gets the description of each and may refuse it.
fn open(
    indexes: &[UnverifiedIndex],
    keys: &KeyRing,
    fetcher: &Fetcher,
    check: impl Fn(usize, &State) -> Result<(), LockError>,
) -> Result<Vec<Index>, LockError> {
    let open = |(at, unverified): (usize, &UnverifiedIndex)| {
        let index = index::open(&fetcher.index_bytes(unverified)?, keys, &unverified.name)?;
        check(at, &State::of(&index))?;
        fetcher.keep_index(unverified)?;
        Ok(index)
    };
    indexes.iter().enumerate().map(open).collect()
}

/// Checks that a verified index belongs to the requested release, and is no older than before.
fn check(
    source: &RepositorySource,
    state: &State,
    name: &str,
    seen: &Seen<'_>,
    fetcher: &Fetcher,
) -> Result<(), LockError> {
    let revision = Revision::parse(&state.description);
    let branch = source.branch.as_deref().zip(revision.as_ref()).filter(|(branch, revision)| !revision.fits(branch));
    if let Some((branch, revision)) = branch
        // In other repositories the tags may come from other build recipes than Alpine's.
        && (source.is_own || key::is_alpines(&state.signed_by))
    {
        let problem = index::Problem::OtherBranch { expected: branch.to_owned(), found: revision.to_string() };
        fetcher.allowed(IndexError { index: name.to_owned(), problem })?;
    }
    Ok(seen.accept(revision.map(Mark::Revision).as_ref())?)
}

fn solve(wanted: &AlpineWanted, dropped: &[String], arch: &str, indexes: Vec<Index>) -> Result<Remembered, LockError> {
    let repository = |(source, index): (&RepositorySource, Index)| Repository {
        index,
        tag: source.tag.clone(),
        arch: arch.to_owned(),
    };
    let repositories: Vec<_> = wanted.repositories.iter().zip(indexes).map(repository).collect();
    let solution = solve::solve(&repositories, &wanted.world, dropped)?;
    let packages = solution.packages.iter().map(|selected| RememberedPackage {
        repository: selected.repository,
        record: selected.record.to_string(),
        whole: false,
        because: match &selected.because {
            solve::Because::Request(request) => Because::Request(request.to_string()),
            solve::Because::Needed { by, dependency } => Because::Needed { by: *by, through: dependency.to_string() },
            solve::Because::Along { with } => Because::Along { with: *with },
        },
    });
    let release = release(&repositories).unwrap_or_else(|| wanted.branch.trim_start_matches('v').to_owned());
    let states = repositories.iter().map(|repository| State::of(&repository.index)).collect();
    Ok(Remembered { release, packages: packages.collect(), states })
}

/// The version of `alpine-release`, or of `alpine-base`, from which it was split in 3.17.
fn release(repositories: &[Repository]) -> Option<String> {
    let records = || repositories.iter().filter(|r| r.tag.is_none()).flat_map(|r| &r.index.records);
    let version = |name: &str| records().filter(|r| r.name == name).map(|r| &r.version).max().map(ToString::to_string);
    let version = version("alpine-release").or_else(|| version("alpine-base"))?;
    Some(version.rsplit_once("-r").map_or(version.clone(), |(release, _)| release.to_owned()))
}
