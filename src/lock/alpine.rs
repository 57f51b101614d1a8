//! Alpine's packages: a signed index for each repository.

use super::{Because, Lock, LockError, Locked, Packages, Remembered, RememberedPackage};
use crate::{
    apk::{
        index::{self, IndexError},
        key::KeyRing,
        solve::{self, Repository},
    },
    digest::Digest,
    fetch::{FetchError, Fetcher, Location, UnverifiedIndex},
    image::Platform,
    plan::alpine::{RepositorySource, Wanted, architecture},
    rootfs::Share,
};

/// The bucket of remembered solutions. Its version is that of the solver's behaviour and of [`Remembered`].
const SOLUTIONS: &str = "solutions-v2";

pub(super) fn lock(
    wanted: &Wanted,
    dropped: &[String],
    platform: &Platform,
    fetcher: &Fetcher,
) -> Result<Lock, LockError> {
    let arch = architecture(platform)?;
    let keys = wanted.keys(arch)?;
    let folders: Vec<Location> = wanted.repositories.iter().map(|repository| repository.location.join(arch)).collect();
    let indexes = fetch_indexes(&folders, fetcher)?;
    let key = key(wanted, dropped, arch, &keys, &indexes);
    let remembered = fetcher.store().recall(SOLUTIONS, &key);
    let solution = match remembered {
        Some(solution) => solution,
        None => {
            let solution = solve(wanted, dropped, arch, &keys, fetcher, &indexes)?;
            fetcher.store().remember(SOLUTIONS, &key, &solution).map_err(FetchError::from)?;
            solution
        }
    };
    let packages = solution.packages.into_iter().map(|package| {
        let mut index = index::parse(&package.record)?;
        let missing = || IndexError { index: "the store".into(), problem: index::Problem::NoIndex };
        let record = index.records.pop().ok_or_else(missing)?;
        let location = folders[package.repository].join(&record.file_name());
        Ok(Locked { record, location, because: package.because, share: Share::default() })
    });
    let packages = Packages::Alpine(packages.collect::<Result<_, LockError>>()?);
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
fn key(wanted: &Wanted, dropped: &[String], arch: &str, keys: &KeyRing, indexes: &[UnverifiedIndex]) -> Digest {
    let mut text = format!("{}\n{arch}\n", wanted.branch);
    for (RepositorySource { tag, .. }, index) in wanted.repositories.iter().zip(indexes) {
        text += &format!("{} {}\n", index.digest, tag.as_deref().unwrap_or_default());
    }
    for wish in &wanted.world {
        text += &format!("{wish}\n");
    }
    text += &format!("-{}\n", dropped.join(" "));
    for (name, pem) in keys.files() {
        text += &format!("{name} {}\n", Digest::of(pem));
    }
    Digest::of(text)
}

fn solve(
    wanted: &Wanted,
    dropped: &[String],
    arch: &str,
    keys: &KeyRing,
    fetcher: &Fetcher,
    indexes: &[UnverifiedIndex],
) -> Result<Remembered, LockError> {
    let mut repositories = Vec::new();
    for (source, unverified) in wanted.repositories.iter().zip(indexes) {
        let index = index::open(&fetcher.index_bytes(unverified)?, keys, &unverified.name)?;
        fetcher.keep_index(unverified)?;
        repositories.push(Repository { index, tag: source.tag.clone(), arch: arch.to_owned() });
    }
    let solution = solve::solve(&repositories, &wanted.world, dropped)?;
    let packages = solution.packages.iter().map(|selected| RememberedPackage {
        repository: selected.repository,
        record: selected.record.to_string(),
        whole: false,
        because: match &selected.because {
            solve::Because::Wish(wish) => Because::Wish(wish.to_string()),
            solve::Because::Needed { by, dependency } => Because::Needed { by: *by, through: dependency.to_string() },
            solve::Because::Along { with } => Because::Along { with: *with },
        },
    });
    let release = release(&repositories).unwrap_or_else(|| wanted.branch.trim_start_matches('v').to_owned());
    Ok(Remembered { release, packages: packages.collect() })
}

/// The version of `alpine-release`, or of `alpine-base`, from which it was split in 3.17.
fn release(repositories: &[Repository]) -> Option<String> {
    let records = || repositories.iter().filter(|r| r.tag.is_none()).flat_map(|r| &r.index.records);
    let version = |name: &str| records().filter(|r| r.name == name).map(|r| &r.version).max().map(ToString::to_string);
    let version = version("alpine-release").or_else(|| version("alpine-base"))?;
    Some(version.rsplit_once("-r").map_or(version.clone(), |(release, _)| release.to_owned()))
}
