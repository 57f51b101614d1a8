//! Debian's packages: a signed Release for each suite, with the checksums of its lists of packages.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Lock, LockError, Packages, Remembered, RememberedPackage};
use crate::{
    deb::{
        control,
        index::{self, Index, IndexError, Problem},
        key::KeyRing,
        record::Record,
        release::{self, IndexFile, Release, ReleaseError, Unverified},
        signature::Verifier,
        solve::{self, PackageRequest, Repository},
        sources::Source,
    },
    fetch::{
        FetchError, Fetcher, UnverifiedIndex,
        seen::{Mark, Seen},
    },
    host::Host,
    image::Platform,
    location::Location,
    package::locked::{Because, Locked},
    plan::{
        Drop,
        debian::{DebianWanted, architecture},
    },
    store::{Bucket, Key},
};

/// Suites that have no suite of security updates.
const UNRELEASED: [&str; 4] = ["sid", "unstable", "experimental", "rc-buggy"];

/// A suite at one source.
struct Suite {
    source: Source,
    release: Release,
    /// The lists of packages: each is one file, in several compressions.
    indexes: Vec<Vec<IndexFile>>,
    /// The address of the Release, for messages.
    name: String,
}

pub(super) fn lock(
    wanted: &DebianWanted,
    dropped: &Drop,
    platform: &Platform,
    fetcher: &Fetcher,
) -> Result<Lock, LockError> {
    let arch = architecture(platform)?;
    let suites = suites(wanted, arch, fetcher)?;
    let key = key(wanted, dropped, arch, &suites);
    let make = || solve(wanted, dropped, arch, &suites, fetcher);
    let solution: Remembered = fetcher.store().memo(Bucket::DebianSolutions, &key, |_| true, make)?.value;
    let packages = solution.packages.into_iter().map(|package| {
        let unreadable = |e| IndexError { index: "the store".into(), problem: Problem::Record(e) };
        let paragraph = control::paragraphs(&package.record).next().unwrap_or_default();
        let record = Record::parse(&paragraph).map_err(unreadable)?;
        let source = &suites[package.repository].source;
        let location = source.package(record.filename()).unwrap_or_else(|| Location::new(record.filename()));
        Ok(Locked { record, location, selection: package.selection(), because: package.because })
    });
    let packages = Packages::Debian(packages.collect::<Result<_, LockError>>()?);
    Ok(Lock { arch: arch.to_owned(), release: solution.release, packages })
}

/// Returns those of the `names` that are packages in the lists for `platform`.
///
/// # Errors
/// As [`lock`](super::lock).
pub fn known(
    wanted: &DebianWanted,
    platform: &Platform,
    names: &[String],
    fetcher: &Fetcher,
) -> Result<Vec<String>, LockError> {
    let suites = suites(wanted, architecture(platform)?, fetcher)?;
    let mut known = BTreeSet::new();
    for suite in &suites {
        for packings in &suite.indexes {
            let index = open(packings, suite, fetcher)?;
            let here: BTreeSet<&str> = index.records.iter().map(Record::name).collect();
            known.extend(names.iter().filter(|name| here.contains(name.as_str())).cloned());
        }
    }
    Ok(known.into_iter().collect())
}

/// Fetches and verifies the suites of the release. All sources are fetched at the same time.
fn suites(wanted: &DebianWanted, arch: &str, fetcher: &Fetcher) -> Result<Vec<Suite>, LockError> {
    let (sources, own) = wanted.sources(arch).map_err(crate::plan::PlanError::from)?;
    // Other archives may have suites of that name; Debian's and Ubuntu's own have the component main.
    let is_foreign = |at: usize, source: &Source| {
        at > 0 && at < own && !source.components.iter().any(|component| component == "main")
    };
    let ask = |at: usize, source: &Source| {
        // Some of a mirror's components may belong to another distribution.
        let some = wanted.distribution().is_none() && at < own;
        suite(source, some, is_foreign(at, source), wanted, arch, fetcher)
    };
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            sources.iter().enumerate().map(|(at, source)| scope.spawn(move || ask(at, source))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
    });
    let mut suites = Vec::new();
    for (at, answer) in answers.into_iter().enumerate() {
        let ours = |suite: &Suite| wanted.distribution().is_none_or(|name| at >= own || suite.release.is_of(name));
        let found = match answer {
            // An index that is older than before, or that is gone, is still an error of this archive.
            Err(e @ LockError::Fetch(FetchError::Seen(_))) => return Err(e),
            Err(e) if is_foreign(at, &sources[at]) => {
                fetcher.ui().warn(&format!("passed over: {e}"));
                None
            }
            answer => answer?,
        };
        suites.extend(found.filter(ours));
    }
    warn_without_security(&wanted.suite.0, &sources, &suites, fetcher);
    Ok(suites)
}

/// Warns when the release should have security updates and they are not found.
fn warn_without_security(release: &str, sources: &[Source], suites: &[Suite], fetcher: &Fetcher) {
    let is_security = |source: &&Source| {
        let companion = source.suite.strip_prefix(release);
        companion.is_some_and(|companion| ["-security", "/updates"].contains(&companion))
    };
    // A suite that is never released gets its fixes directly.
    if UNRELEASED.contains(&release) || suites.iter().any(|suite| is_security(&&suite.source)) {
        return;
    }
    let asked = sources.iter().filter(is_security).filter_map(|source| source.file("InRelease"));
    let asked: Vec<String> = asked.map(|location| location.to_string()).collect();
    let asked = if asked.is_empty() { "no source names it".to_owned() } else { format!("not at {}", asked.join(", ")) };
    fetcher.warn_once(&format!(
        "{release}-security was not found ({asked}): packages with known holes may be installed; --mirror names another \
         mirror, --repository \"deb URL {release}-security main\" the suite"
    ));
}

/// Fetches the suite at a source; `None` when it is optional and does not exist. With `some`, components that it does
/// not have are skipped. With `foreign`, a suite that cannot be fetched is skipped.
fn suite(
    source: &Source,
    some: bool,
    foreign: bool,
    wanted: &DebianWanted,
    arch: &str,
    fetcher: &Fetcher,
) -> Result<Option<Suite>, LockError> {
    let keys = wanted.keys(source)?;
    let Some(location) = source.file("InRelease") else { return Ok(None) };
    // Only a signed Release is remembered.
    let seen = if source.trusted { None } else { Some(fetcher.seen(&location)?) };
    let (files, release) = match fetcher.index(&location) {
        Ok(file) => {
            let text = Unverified::in_release(&fetcher.index_bytes(&file)?, &file.name)?;
            verified(text, vec![file], source, &keys, &wanted.host, fetcher)?
        }
        Err(e) if is_absent(&e) => match detached(source, &keys, &wanted.host, fetcher) {
            Ok(found) => found,
            Err(LockError::Fetch(other)) if is_absent(&other) => {
                // Without any other suite the build fails, and reports that this one is gone.
                if source.optional || foreign {
                    seen.as_ref().map_or(Ok(()), Seen::is_missing)?;
                }
                // Nearly every archive has an InRelease, so the message names that.
                return if source.optional { Ok(None) } else { Err(e.into()) };
            }
            Err(other) => return Err(other),
        },
        Err(e) => return Err(e.into()),
    };
    let name = files[0].name.clone();
    let now = (!fetcher.is_offline()).then(Timestamp::now);
    release.check(&source.suite, now.filter(|_| source.check_valid_until), &name)?;
    release.check_future(now, &name)?;
    if let Some(seen) = seen {
        seen.accept(release.date.map(Mark::Date).as_ref())?;
    }
    files.iter().try_for_each(|file| fetcher.keep_index(file))?;
    // The components of Debian's security updates are called `updates/main`, but their indexes are in `main`.
    let bare = |component: &str| component.rsplit('/').next().unwrap_or_default().to_owned();
    let there: Vec<String> = release.components.iter().map(|component| bare(component)).collect();
    let here = |component: &&String| there.is_empty() || there.contains(&bare(component));
    let components = source.components.iter().filter(|component| !some || here(component));
    let mut indexes = Vec::new();
    for component in components {
        indexes.extend(release.indexes(component, arch, &name)?);
    }
    Ok(Some(Suite { source: source.clone(), release, indexes, name }))
}

/// Whether the file does not exist: now, or, with `--offline`, when it was last requested.
fn is_absent(error: &FetchError) -> bool {
    error.is_missing() || matches!(error, FetchError::WasMissing(_))
}

/// Fetches the Release of a source whose signature is in a file of its own. Returns the Release and the files that it
/// came in.
fn detached(source: &Source, keys: &KeyRing, host: &Host, fetcher: &Fetcher) -> Result<Signed, LockError> {
    let missing = || FetchError::Offline(source.suite.clone());
    let file = |name| fetcher.index(&source.file(name).ok_or_else(missing)?);
    let release = file("Release")?;
    let bytes = fetcher.index_bytes(&release)?;
    let name = release.name.clone();
    if source.trusted {
        let text = Unverified::detached(bytes, Vec::new(), &name)?;
        return verified(text, vec![release], source, keys, host, fetcher);
    }
    let signature = match file("Release.gpg") {
        Err(e) if e.is_missing() => {
            let problem = release::Problem::NotSigned("there is no InRelease, and no Release.gpg beside it");
            return Err(ReleaseError { release: name, problem }.into());
        }
        signature => signature?,
    };
    let text = Unverified::detached(bytes, fetcher.index_bytes(&signature)?, &name)?;
    verified(text, vec![release, signature], source, keys, host, fetcher)
}

/// A Release with a valid signature, and the files that it came in.
type Signed = (Vec<UnverifiedIndex>, Release);

/// Verifies the Release, unless an earlier build did. `files` are those that it came in.
fn verified(
    text: Unverified,
    files: Vec<UnverifiedIndex>,
    source: &Source,
    keys: &KeyRing,
    host: &Host,
    fetcher: &Fetcher,
) -> Result<Signed, LockError> {
    let name = &files[0].name;
    if source.trusted {
        let release = text.trust(name)?;
        return Ok((files, release));
    }
    let key = Key::new().list("files", files.iter().map(|file| file.digest)).text("keys", keys.digest());
    let mut release = None;
    let check = || {
        let verifier = Verifier::find(&host.path())?;
        release = Some(text.clone().verify(keys, &verifier, name)?);
        Ok::<_, LockError>(true)
    };
    fetcher.store().memo(Bucket::Signatures, &key, |is_good| *is_good, check)?;
    let release = match release {
        Some(release) => release,
        None => text.trust(name)?,
    };
    Ok((files, release))
}

/// Everything that a solution depends on.
fn key(wanted: &DebianWanted, dropped: &Drop, arch: &str, suites: &[Suite]) -> Key {
    let suite = |suite: &Suite| {
        Key::new()
            .text("priority", suite.release.priority())
            .text("version", &suite.release.version)
            .list("indexes", suite.indexes.iter().flatten().map(|file| file.digest))
    };
    Key::new()
        .text("suite", &wanted.suite)
        .text("architecture", arch)
        .nested_list("suites", suites.iter().map(suite))
        .list("world", &wanted.world)
        .text("own", wanted.own)
        .list("dropped", &dropped.own)
        .list("dropped of all", &dropped.all)
}

fn solve(
    wanted: &DebianWanted,
    dropped: &Drop,
    arch: &str,
    suites: &[Suite],
    fetcher: &Fetcher,
) -> Result<Remembered, LockError> {
    let mut repositories = Vec::new();
    let mut owners = Vec::new();
    for (at, suite) in suites.iter().enumerate() {
        for packings in &suite.indexes {
            repositories
                .push(Repository { index: open(packings, suite, fetcher)?, priority: suite.release.priority() });
            owners.push(at);
        }
    }
    // A package that is requested in addition to the recipe's must not lack what the recipe drops from its own. The
    // recipe decides about what its own packages need, also below another package. The solution of all requests
    // explains better why they cannot be met.
    let (own, besides) = wanted.world.split_at(wanted.own);
    let all = &dropped.all[..];
    let own = if besides.is_empty() {
        BTreeSet::new()
    } else {
        closure(&repositories, arch, own, &[&dropped.own, all].concat())
    };
    let there: Vec<String> = own.iter().chain(all).cloned().collect();
    let needed = closure(&repositories, arch, besides, &there);
    let is_whole = |name: &str| besides.iter().any(|request| request.name == name) || !own.contains(name);
    let mut dropped: Vec<String> = dropped.own.iter().filter(|name| !needed.contains(*name)).cloned().collect();
    dropped.extend_from_slice(all);
    let solution = solve::solve(&repositories, arch, &wanted.world, &dropped)?;
    let packages = solution.packages.iter().map(|selected| RememberedPackage {
        repository: owners[selected.repository],
        record: selected.record.paragraph().to_owned(),
        whole: !besides.is_empty() && is_whole(selected.record.name()),
        because: match &selected.because {
            solve::Because::Request(request) => Because::Request(request.to_string()),
            solve::Because::Needed { by, dependency } => Because::Needed { by: *by, through: dependency.to_string() },
        },
    });
    let version = suites.first().map(|suite| suite.release.version.clone()).filter(|version| !version.is_empty());
    Ok(Remembered {
        release: version.unwrap_or_else(|| wanted.suite.to_string()),
        packages: packages.collect(),
        states: Vec::new(),
    })
}

/// The names of the packages that the requests need; empty when the requests cannot be met.
fn closure(
    repositories: &[Repository],
    arch: &str,
    requests: &[PackageRequest],
    dropped: &[String],
) -> BTreeSet<String> {
    if requests.is_empty() {
        return BTreeSet::new();
    }
    let solution = solve::solve(repositories, arch, requests, dropped);
    let packages = solution.into_iter().flat_map(|solution| solution.packages);
    packages.map(|package| package.record.name().to_owned()).collect()
}

/// Fetches a list of packages in its best compression, or takes it from the store. Where the mirror has files under
/// their hashes, the list is fetched by its hash: that path stays valid while the mirror is updated.
fn open(packings: &[IndexFile], suite: &Suite, fetcher: &Fetcher) -> Result<Index, LockError> {
    let Some(file) = packings.first() else { return Ok(Index::default()) };
    let by_hash = suite.release.by_hash.then(|| file.by_hash());
    let paths = by_hash.iter().chain([&file.path]).filter_map(|path| suite.source.file(path));
    let locations: Vec<Location> = paths.collect();
    let bytes = fetcher.listed(&locations, &file.digest, file.size, &format!("packages of {}", suite.source.suite))?;
    let index = index::open(&bytes, file, &format!("{} of {}", file.path, suite.name))?;
    fetcher.keep(&bytes)?;
    Ok(index)
}
