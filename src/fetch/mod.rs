//! Indexes and packages from mirrors: over HTTP or from a folder, cached in the store, in parallel, with retries.

use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    error::{Explain, Kind},
    http::{Fault, Http, HttpError, Method, Request, Retry, SLOW, Transient, header, is_too_slow, parse_url},
    location::Location,
    package::{Contents, Listed, PackageError, locked::Locked},
    store::{Bucket, Key, Store, StoreError},
    ui::{Task, Ui},
};

pub mod seen;

use seen::SeenError;

/// No index is larger, in bytes: edge/community is 3 MB.
const INDEX_LIMIT: u64 = 64 << 20;
/// Downloads under way at once: enough to hide a mirror's latency, few enough to be a polite client.
const PARALLEL: usize = 8;

/// Why something could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A mirror over HTTP did not give it.
    #[error("cannot fetch {what}: {source}")]
    Http {
        /// An index, or a package.
        what: String,
        /// Why.
        source: HttpError,
    },
    /// A folder does not have it.
    #[error("cannot read {}: {source}", path.display())]
    Folder {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `--offline`, and the store does not have it.
    #[error("{0} is not in the store, and --offline forbids fetching it")]
    Offline(String),
    /// `--offline`, and it was not there at the last request.
    #[error("{0} was not there when it was asked for last, and --offline forbids asking again")]
    WasMissing(String),
    /// A repository is not as new as it was.
    #[error(transparent)]
    Seen(Box<SeenError>),
    /// A package is not what the index says.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<SeenError> for FetchError {
    fn from(error: SeenError) -> Self {
        Self::Seen(Box::new(error))
    }
}

impl FetchError {
    /// Whether the place was reached, and has no such file.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Http { source: HttpError::Status { status, .. }, .. } => *status == 404,
            Self::Folder { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// Whether the mirror could not be asked: no route, no name, no answer, a proxy that forbids it. A certificate that
    /// is not trusted is something else: a server answers.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Http { source: HttpError::Transport { fault, .. }, .. } => {
                matches!(
                    fault,
                    Fault::Dns { .. } | Fault::Refused | Fault::TimedOut | Fault::Slow | Fault::Broken | Fault::Tls
                )
            }
            Self::Http { source: HttpError::Status { status, .. }, .. } => matches!(status, 403 | 407 | 502..=504),
            _ => false,
        }
    }
}

impl Transient for FetchError {
    fn should_retry(&self) -> Retry {
        match self {
            Self::Http { source, .. } => source.should_retry(),
            Self::Package(PackageError::Read { source, .. }) if is_too_slow(source) => Retry::Never,
            Self::Package(PackageError::Read { .. }) => Retry::Soon,
            _ => Retry::Never,
        }
    }
}

impl Explain for FetchError {
    fn kind(&self) -> Kind {
        match self {
            Self::Http { source, .. } => source.kind(),
            Self::Folder { .. } | Self::Offline(_) | Self::WasMissing(_) => Kind::Network,
            Self::Seen(e) => e.kind(),
            Self::Package(e) => e.kind(),
            Self::Store(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Http { source: HttpError::Status { status: 404, .. }, .. } => {
                Some("check --base's release, the --platform and the --mirror: the mirror has no such file".into())
            }
            Self::Http { source, .. } => {
                let hint = source.hint().map_or_else(String::new, |hint| format!("{hint}; "));
                Some(format!(
                    "{hint}--mirror URL|DIR names another mirror (or MICROBUILD_MIRROR); --base debian takes the apt sources of a \
                     machine that has some"
                ))
            }
            Self::Folder { path, .. } if path.ends_with("InRelease") => {
                Some("--mirror DIR is a folder with dists/bookworm/InRelease below it".into())
            }
            Self::Folder { path, .. } if is_of_debian(path) => Some(
                "the mirror is in the middle of an update, or not whole: update it, or use another --mirror".into(),
            ),
            Self::Folder { .. } => {
                Some("--mirror DIR is a folder with v3.23/main/x86_64/APKINDEX.tar.gz below it".into())
            }
            Self::Offline(_) | Self::WasMissing(_) => Some("build once without --offline".into()),
            Self::Seen(e) => e.hint(),
            Self::Package(PackageError::Read { source, .. }) if is_too_slow(source) => Some(SLOW.into()),
            Self::Package(e) => e.hint(),
            Self::Store(e) => e.hint(),
        }
    }
}

/// Whether the file is a list of packages or a package of Debian, which is fetched only when a signed file names it.
fn is_of_debian(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name == "Packages" || name.starts_with("Packages.") || path.extension().is_some_and(|end| end == "deb")
}

/// Fetches through one HTTP client into one store.
#[derive(Clone)]
pub struct Fetcher {
    http: Http,
    store: Store,
    ui: Ui,
    offline: bool,
    /// The indexes that this process knows to be current, by their URLs: an image and its dev variant have the same
    /// ones.
    current: Arc<Mutex<HashMap<String, Digest>>>,
    /// Indexes that came with the check whether they are available.
    reached: Arc<Mutex<HashMap<String, UnverifiedIndex>>>,
    seen: seen::Known,
    allow_rollback: bool,
    /// The warnings that were shown.
    warned: Arc<Mutex<BTreeSet<String>>>,
}

/// An index as it came, not yet verified.
pub struct UnverifiedIndex {
    /// Where it is, for messages.
    pub name: String,
    /// The digest of its bytes.
    pub digest: Digest,
    bytes: Option<Vec<u8>>,
    memo: Option<IndexMemo>,
    url: String,
}

/// What is remembered of an index that was once fetched and verified.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct IndexMemo {
    digest: Digest,
    size: u64,
    etag: Option<String>,
    last_modified: Option<String>,
}

impl Fetcher {
    /// A fetcher; with `offline` it takes what the store has, without asking whether it is still current.
    pub fn new(http: Http, store: Store, ui: Ui, offline: bool) -> Self {
        Self {
            http,
            store,
            ui,
            offline,
            current: Arc::default(),
            reached: Arc::default(),
            seen: Arc::default(),
            allow_rollback: false,
            warned: Arc::default(),
        }
    }

    /// The same; with `allow` it accepts repositories that are older than they were (see [`seen`]).
    #[must_use]
    pub fn allowing_rollback(self, allow: bool) -> Self {
        Self { allow_rollback: allow, ..self }
    }

    /// Shows a warning once that would otherwise come for each platform and variant.
    pub fn warn_once(&self, line: &str) {
        if self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(line.to_owned()) {
            self.ui.warn(line);
        }
    }

    /// Shows the user what is fetched.
    pub fn ui(&self) -> &Ui {
        &self.ui
    }

    /// Whether it takes only what the store has.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// The store that it fetches into.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Checks that the index at `location` is available. Gives up earlier than [`index`](Self::index), which uses what
    /// came.
    ///
    /// # Errors
    /// When it is not.
    pub fn reach(&self, location: &Location) -> Result<(), FetchError> {
        let (Location::Url(url), false) = (location, self.offline) else { return self.index(location).map(drop) };
        let known: Option<IndexMemo> = self.known(url);
        let index =
            self.http.retrying(|attempt| match self.request_index(&location.to_string(), url, known.as_ref()) {
                Err(e) if attempt > 0 => Ok(Err(e)),
                answer => answer.map(Ok),
            });
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).insert(url.clone(), index??);
        Ok(())
    }

    /// What the store knows of the index at `url`, provided that it has it.
    fn known(&self, url: &str) -> Option<IndexMemo> {
        let known: Option<IndexMemo> = self.store.recall(Bucket::Indexes, &url_key(url));
        known.filter(|memo| self.store.blobs().contains(&memo.digest, memo.size))
    }

    /// The signed file at `location`, an `APKINDEX.tar.gz` or an `InRelease`; from the store when the mirror says that
    /// it has not changed.
    ///
    /// # Errors
    /// When it cannot be fetched.
    pub fn index(&self, location: &Location) -> Result<UnverifiedIndex, FetchError> {
        let name = location.to_string();
        match location {
            Location::Folder(path) => {
                let bytes = fs::read(path).map_err(|source| FetchError::Folder { path: path.clone(), source })?;
                let digest = Digest::of(&bytes);
                Ok(UnverifiedIndex { name, digest, bytes: Some(bytes), memo: None, url: String::new() })
            }
            Location::Url(url) => {
                if let Some(index) = self.reached.lock().unwrap_or_else(PoisonError::into_inner).remove(url) {
                    return Ok(index);
                }
                let known = self.known(url);
                let current = || self.current.lock().unwrap_or_else(PoisonError::into_inner).get(url).copied();
                match known {
                    Some(memo) if self.offline || current() == Some(memo.digest) => Ok(UnverifiedIndex {
                        name,
                        digest: memo.digest,
                        bytes: None,
                        memo: Some(memo),
                        url: url.clone(),
                    }),
                    None if self.offline => {
                        let was_missing: Option<bool> = self.store.recall(Bucket::MissingIndexes, &url_key(url));
                        Err(if was_missing == Some(true) {
                            FetchError::WasMissing(name)
                        } else {
                            FetchError::Offline(name)
                        })
                    }
                    known => {
                        let answer = self.http.retrying(|_| self.request_index(&name, url, known.as_ref()));
                        if answer.as_ref().is_err_and(FetchError::is_missing) {
                            self.store.remember(Bucket::MissingIndexes, &url_key(url), &true)?;
                        }
                        answer
                    }
                }
            }
        }
    }

    fn request_index(&self, name: &str, url: &str, known: Option<&IndexMemo>) -> Result<UnverifiedIndex, FetchError> {
        let failed = |source| FetchError::Http { what: "the index of packages".into(), source };
        let mut request = Request::new(Method::GET, parse_url(url).map_err(failed)?);
        let validators = known.map(|memo| (memo.etag.as_deref(), memo.last_modified.as_deref()));
        if let Some((etag, modified)) = validators {
            for (header, value) in [(header::IF_NONE_MATCH, etag), (header::IF_MODIFIED_SINCE, modified)] {
                if let Some(value) = value.and_then(|value| value.parse().ok()) {
                    request = request.header(header, value);
                }
            }
        }
        let response = self.http.send(request).map_err(failed)?;
        let is_current = |digest| {
            self.current.lock().unwrap_or_else(PoisonError::into_inner).insert(url.to_owned(), digest);
        };
        if let (304, Some(memo)) = (response.status(), known) {
            is_current(memo.digest);
            let (name, url) = (name.to_owned(), url.to_owned());
            return Ok(UnverifiedIndex { name, digest: memo.digest, bytes: None, memo: Some(memo.clone()), url });
        }
        let response = response.success().map_err(failed)?;
        let header = |name| response.header(name).map(str::to_owned);
        let (etag, last_modified) = (header(header::ETAG), header(header::LAST_MODIFIED));
        let bytes = response.bytes(INDEX_LIMIT).map_err(failed)?;
        let digest = Digest::of(&bytes);
        is_current(digest);
        let memo = Some(IndexMemo { digest, size: bytes.len() as u64, etag, last_modified });
        Ok(UnverifiedIndex { name: name.to_owned(), digest, bytes: Some(bytes), memo, url: url.to_owned() })
    }

    /// The bytes of an index.
    ///
    /// # Errors
    /// When the store cannot give them.
    pub fn index_bytes(&self, index: &UnverifiedIndex) -> Result<Vec<u8>, FetchError> {
        if let Some(bytes) = &index.bytes {
            return Ok(bytes.clone());
        }
        let path = self.store.blobs().path(&index.digest);
        fs::read(&path).map_err(|source| StoreError::Io { what: "read", path, source }.into())
    }

    /// Remembers an index that came over HTTP, once it has been verified.
    ///
    /// # Errors
    /// When the store cannot take it.
    pub fn keep_index(&self, index: &UnverifiedIndex) -> Result<(), FetchError> {
        if let (Some(bytes), Some(memo)) = (&index.bytes, &index.memo) {
            self.store.blobs().put(bytes)?;
            self.store.remember(Bucket::Indexes, &url_key(&index.url), memo)?;
        }
        Ok(())
    }

    /// A list of packages that a signed file names by its digest: from the store, or else from the first of `locations`
    /// that has it. What comes from there is not compared with the digest.
    ///
    /// # Errors
    /// When it cannot be fetched.
    pub fn listed(
        &self,
        locations: &[Location],
        digest: &Digest,
        size: u64,
        what: &str,
    ) -> Result<Vec<u8>, FetchError> {
        if self.store.blobs().contains(digest, size) {
            let path = self.store.blobs().path(digest);
            return fs::read(&path).map_err(|source| StoreError::Io { what: "read", path, source }.into());
        }
        let mut missing = None;
        for location in locations {
            match self.whole(location, size, what) {
                Err(e) if e.is_missing() => missing = Some(e),
                fetched => return fetched,
            }
        }
        Err(missing.unwrap_or_else(|| FetchError::Offline(what.to_owned())))
    }

    fn whole(&self, location: &Location, size: u64, what: &str) -> Result<Vec<u8>, FetchError> {
        match location {
            Location::Folder(path) => {
                fs::read(path).map_err(|source| FetchError::Folder { path: path.clone(), source })
            }
            Location::Url(_) if self.offline => Err(FetchError::Offline(what.to_owned())),
            Location::Url(url) => {
                let task = self.ui.task(&format!("fetching the list of {what}"), Some(size));
                self.http.retrying(|_| {
                    let failed = |source| FetchError::Http { what: format!("the list of {what}"), source };
                    let response = self.http.get(url).map_err(failed)?;
                    let mut bytes = Vec::new();
                    // One byte more shows that it is too long; its length is compared with the signed one later.
                    let read = Counted { inner: response.take(size.saturating_add(1)), task: Some(&task) }
                        .read_to_end(&mut bytes);
                    read.map_err(|source| PackageError::Read { package: what.to_owned(), source })?;
                    Ok(bytes)
                })
            }
        }
    }

    /// Keeps bytes that were verified in the store, under their digest.
    ///
    /// # Errors
    /// When the store cannot take them.
    pub fn keep(&self, bytes: &[u8]) -> Result<(), FetchError> {
        self.store.blobs().put(bytes)?;
        Ok(())
    }

    /// Fetches and verifies packages, several at once; those that the store has are not fetched again. In the order of
    /// `packages`.
    ///
    /// # Errors
    /// That of the first package, in that order, which cannot be fetched or does not verify.
    pub fn packages<R: Listed>(&self, packages: &[Locked<R>]) -> Result<Vec<R::Package>, FetchError> {
        let mut known: Vec<Option<R::Package>> = packages.iter().map(|package| self.recall(&package.record)).collect();
        let mut missing: Vec<usize> = (0..packages.len()).filter(|&at| known[at].is_none()).collect();
        let total = missing.iter().map(|&at| packages[at].record.size()).sum();
        // The largest first: it decides when the last one ends.
        missing.sort_by_key(|&at| (std::cmp::Reverse(packages[at].record.size()), at));
        let task =
            (!missing.is_empty()).then(|| self.ui.task(&format!("fetching {} packages", missing.len()), Some(total)));
        let next = AtomicUsize::new(0);
        let fetched = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..PARALLEL.min(missing.len()) {
                scope.spawn(|| {
                    while let Some(&at) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let result = self.package(&packages[at], task.as_ref());
                        if result.is_err() {
                            next.store(missing.len(), Ordering::Relaxed);
                        }
                        fetched.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
                    }
                });
            }
        });
        let mut fetched = fetched.into_inner().unwrap_or_else(PoisonError::into_inner);
        fetched.sort_by_key(|(at, _)| *at);
        for (at, result) in fetched {
            known[at] = Some(result?);
        }
        Ok(known.into_iter().flatten().collect())
    }

    fn recall<R: Listed>(&self, record: &R) -> Option<R::Package> {
        self.store.recall(Bucket::Packages, &record.key()).filter(|package| self.has_data_of(package))
    }

    /// Whether the store has the data stream of the package.
    fn has_data_of(&self, package: &impl Contents) -> bool {
        let data = package.data();
        self.store.blobs().contains(&data.digest, data.size)
    }

    /// The package, fetched and verified unless the store has it by now.
    fn package<R: Listed>(&self, locked: &Locked<R>, task: Option<&Task>) -> Result<R::Package, FetchError> {
        let has_data = |package: &R::Package| self.has_data_of(package);
        let fetch = || self.fetch_package(locked, task);
        Ok(self.store.memo(Bucket::Packages, &locked.record.key(), has_data, fetch)?.value)
    }

    fn fetch_package<R: Listed>(&self, locked: &Locked<R>, task: Option<&Task>) -> Result<R::Package, FetchError> {
        let record = &locked.record;
        match &locked.location {
            Location::Folder(path) => {
                let file = File::open(path).map_err(|source| FetchError::Folder { path: path.clone(), source })?;
                Ok(record.verify(Counted { inner: file, task }, self.store.blobs())?)
            }
            Location::Url(_) if self.offline => Err(FetchError::Offline(record.title())),
            Location::Url(url) => self.http.retrying(|_| {
                let failed = |source| FetchError::Http { what: record.title(), source };
                let response = self.http.get(url).map_err(failed)?;
                Ok(record.verify(Counted { inner: response, task }, self.store.blobs())?)
            }),
        }
    }

    /// Puts the data stream of a package that was verified before back into the store.
    ///
    /// # Errors
    /// As [`packages`](Self::packages).
    pub fn restore<R: Listed>(&self, locked: &Locked<R>) -> Result<(), FetchError> {
        self.package(locked, None).map(drop)
    }
}

/// The key of what is known of an index.
fn url_key(url: &str) -> Key {
    Key::new().text("url", url)
}

/// A reader that moves a progress bar.
struct Counted<'a, R> {
    inner: R,
    task: Option<&'a Task>,
}

impl<R: io::Read> io::Read for Counted<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        if let Some(task) = self.task {
            task.inc(n as u64);
        }
        Ok(n)
    }
}
