//! What repositories said before: the newest state of each that was ever verified here, so that an older one is
//! noticed.
//!
//! A signature says who made an index, not when. An attacker between here and a mirror, or the mirror itself, can serve
//! last year's index with last year's holes, and every signature in it is good. Therefore the newest [`Mark`] of each
//! repository is remembered, and an older one is refused, as is a suite that is gone; `--allow-rollback` accepts it,
//! once, and remembers it then. A mirror that has never shown a newer state is not found out here: Debian's
//! `Valid-Until` is what ends that, and Alpine's indexes have nothing like it.
//!
//! - A repository is what the user configured: the address or path of its index, without a password. Another mirror is
//!   another repository, since mirrors lag behind each other. A folder counts by its path. Keys do not matter: an old index
//!   by an old key is as old.
//! - Only what was verified is remembered. A source that needs no signature (`trusted=yes`) has no memory.
//! - What is compared is what was remembered before the mirror was asked. A build that another one overtakes, with a newer
//!   index, is not refused for that.
//! - With `--offline` an index that was fetched once is not compared again.
//!
//! The memory is not a cache. It lies beside it, in `CACHE_DIR/seen` (`$XDG_CACHE_HOME/microbuild/seen`), outside of
//! what `gc` looks at, with `--all` too: one small file for each repository, called as the digest of its address. It
//! stays with the cache that the indexes for `--offline` are in, so that a CI system that keeps the one keeps the
//! other. Without it a mirror is believed once more, as on a new machine.
//!
//! A file that cannot be understood is answered by a warning and a new start. Files are replaced as wholes, so that
//! neither a power cut nor a mirror can leave half of one; a program that can write to this folder could write an older
//! state as well. To refuse would protect from nothing, and stop every build.

use std::{
    cmp::Ordering,
    collections::HashMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{FetchError, Fetcher};
use crate::{
    apk::revision::Revision,
    digest::Digest,
    error::{Explain, Kind},
    location::Location,
    store::{StoreError, replace_file},
};

/// What tells a state of a repository from an older one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Mark {
    /// The `Date` of Debian's Release.
    Date(Timestamp),
    /// The `DESCRIPTION` of Alpine's index.
    Revision(Revision),
}

impl Mark {
    /// `None` when nothing orders the two.
    fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Date(date), Self::Date(other)) => Some(date.cmp(other)),
            (Self::Revision(revision), Self::Revision(other)) => revision.compare(other),
            _ => None,
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Date(date) => date.fmt(f),
            Self::Revision(revision) => revision.fmt(f),
        }
    }
}

/// Neither a date nor a state of a repository.
#[derive(Debug, thiserror::Error)]
#[error("expected a date, or a state such as v3.23.0-45-g0123456789a, found `{0}`")]
pub struct ParseMarkError(String);

impl FromStr for Mark {
    type Err = ParseMarkError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let revision = || Revision::parse(s).map(Self::Revision);
        s.parse().map(Self::Date).ok().or_else(revision).ok_or_else(|| ParseMarkError(s.to_owned()))
    }
}

impl TryFrom<String> for Mark {
    type Error = ParseMarkError;

    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

impl From<Mark> for String {
    fn from(mark: Mark) -> Self {
        mark.to_string()
    }
}

/// A repository that is not as new as it was.
#[derive(Debug, thiserror::Error)]
pub enum SeenError {
    /// An older state.
    #[error("{index}: it is older than before: now of {found}, before of {remembered}")]
    Older {
        /// The index: its URL or path.
        index: String,
        /// The newest state that it had.
        remembered: Mark,
        /// The state that it has now.
        found: Mark,
    },
    /// A state that says nothing of its age.
    #[error("{index}: it does not say how old it is, and was of {remembered} before")]
    Ageless {
        /// The index: its URL or path.
        index: String,
        /// The newest state that it had.
        remembered: Mark,
    },
    /// Nothing.
    #[error("{index}: the suite that was there before{} is gone", of(remembered.as_ref()))]
    Vanished {
        /// The index: its URL or path.
        index: String,
        /// The newest state that it had.
        remembered: Option<Mark>,
    },
}

fn of(mark: Option<&Mark>) -> String {
    mark.map_or_else(String::new, |mark| format!(", of {mark},"))
}

impl Explain for SeenError {
    fn kind(&self) -> Kind {
        match self {
            Self::Older { .. } | Self::Ageless { .. } | Self::Vanished { .. } => Kind::Unverified,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Older { .. } | Self::Ageless { .. } => {
                "older packages have holes that are closed since: try again later, or another --mirror; if it was set back on \
                 purpose, --allow-rollback accepts it"
                    .into()
            }
            Self::Vanished { .. } => {
                "without it packages are installed whose holes it closes: try again later, or another --mirror; if it is gone \
                 for good, --allow-rollback accepts that"
                    .into()
            }
        })
    }
}

/// A file of the memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Page {
    /// The index, for people who look.
    index: String,
    /// The newest state; several where nothing orders them, and none where no state says how old it is.
    newest: Vec<Mark>,
}

impl Page {
    /// Takes the place of the marks that can be compared with it.
    fn set(&mut self, mark: &Mark) {
        self.newest.retain(|old| mark.compare(old).is_none());
        self.newest.push(mark.clone());
    }

    /// The same, unless one of them is newer.
    fn raise(&mut self, mark: &Mark) {
        if !self.newest.iter().any(|old| mark.compare(old) == Some(Ordering::Less)) {
            self.set(mark);
        }
    }
}

/// What this process goes by: what was remembered when it first asked, and what it accepted since.
pub(super) type Known = Arc<Mutex<HashMap<PathBuf, Option<Page>>>>;

/// What is remembered of one repository.
#[must_use = "an index is to be compared with it"]
pub struct Seen<'f> {
    fetcher: &'f Fetcher,
    /// The index as messages call it, and as it is remembered.
    index: String,
    name: String,
    path: PathBuf,
    before: Option<Page>,
    /// Whether the index may be another one than that which was remembered.
    asks: bool,
}

impl Fetcher {
    /// What is remembered of the repository whose index lies at `location`. To be asked before the mirror is.
    ///
    /// # Errors
    /// When the memory cannot be read.
    pub fn seen(&self, location: &Location) -> Result<Seen<'_>, FetchError> {
        let name = match location {
            Location::Url(_) => location.to_string(),
            // As the user named it: a link that is turned to another folder names the same repository.
            Location::Folder(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string(),
        };
        let path = self.store.state().join(Digest::of(&name).hex());
        let known = self.known_pages().get(&path).cloned();
        let before = match known {
            Some(page) => page,
            None => {
                let page = self.read_page(&path)?;
                // What another thread has found meanwhile is as good.
                self.known_pages().entry(path.clone()).or_insert(page).clone()
            }
        };
        let asks = !self.offline || matches!(location, Location::Folder(_));
        Ok(Seen { fetcher: self, index: location.to_string(), name, path, before, asks })
    }

    /// Refuses what is older than it was, or another release's, unless `--allow-rollback` is given: then a warning says
    /// it.
    ///
    /// # Errors
    /// `error`, unless it is allowed.
    pub fn allowed<E: fmt::Display>(&self, error: E) -> Result<(), E> {
        if !self.allow_rollback {
            return Err(error);
        }
        self.warn_once(&format!("{error}; accepted because of --allow-rollback"));
        Ok(())
    }

    fn known_pages(&self) -> MutexGuard<'_, HashMap<PathBuf, Option<Page>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_page(&self, path: &Path) -> Result<Option<Page>, FetchError> {
        let Some(bytes) = self.store.read_state(path)? else { return Ok(None) };
        match serde_json::from_slice(&bytes) {
            Ok(page) => Ok(Some(page)),
            Err(e) => {
                self.warn_once(&format!(
                    "{} cannot be understood ({e}): what a mirror said before is forgotten, and is not compared this time",
                    path.display()
                ));
                Ok(None)
            }
        }
    }
}

impl Seen<'_> {
    /// Compares the mark of a verified index with what is remembered, and remembers it.
    ///
    /// # Errors
    /// When it is older, unless the user allows that; and when the memory cannot be written.
    pub fn accept(&self, found: Option<&Mark>) -> Result<(), FetchError> {
        if !self.asks {
            return Ok(());
        }
        let Some(error) = self.refusal(found) else {
            // Nothing is written as long as nothing changes, which is nearly always.
            let is_known = |page: &Page| found.is_none_or(|mark| page.newest.contains(mark));
            if self.before.as_ref().is_some_and(is_known) {
                return Ok(());
            }
            return self.change(|page| {
                let page = page.get_or_insert_default();
                found.into_iter().for_each(|mark| page.raise(mark));
            });
        };
        self.fetcher.allowed(error)?;
        self.change(|page| {
            let page = page.get_or_insert_default();
            match found {
                Some(mark) => page.set(mark),
                None => page.newest.clear(),
            }
        })
    }

    fn refusal(&self, found: Option<&Mark>) -> Option<SeenError> {
        let newest = self.before.as_ref().map_or(&[][..], |page| &page.newest);
        let index = || self.index.clone();
        let Some(found) = found else {
            let remembered = newest.first()?.clone();
            return Some(SeenError::Ageless { index: index(), remembered });
        };
        let newer = newest.iter().find(|old| found.compare(old) == Some(Ordering::Less))?;
        Some(SeenError::Older { index: index(), remembered: newer.clone(), found: found.clone() })
    }

    /// Says that the mirror has no such index.
    ///
    /// # Errors
    /// When it had one, unless the user allows that; and when the memory cannot be written.
    pub fn is_missing(&self) -> Result<(), FetchError> {
        let Some(before) = &self.before else { return Ok(()) };
        if !self.asks {
            return Err(FetchError::Offline(self.index.clone()));
        }
        let remembered = before.newest.first().cloned();
        self.fetcher.allowed(SeenError::Vanished { index: self.index.clone(), remembered })?;
        self.change(|page| *page = None)
    }

    /// Changes the file, which other processes may be changing too, and what this process goes by.
    fn change(&self, change: impl Fn(&mut Option<Page>)) -> Result<(), FetchError> {
        let lock = self.fetcher.store.state_lock()?;
        lock.lock().map_err(io_error("lock", &self.path))?;
        let old = self.fetcher.read_page(&self.path)?;
        let mut page = old.clone();
        change(&mut page);
        if page != old {
            match &mut page {
                Some(page) => {
                    page.index.clone_from(&self.name);
                    let bytes = serde_json::to_vec(page).map_err(|e| io_error("write", &self.path)(e.into()))?;
                    replace_file(&self.path, &bytes)?;
                }
                None => fs::remove_file(&self.path).map_err(io_error("remove", &self.path))?,
            }
        }
        change(self.fetcher.known_pages().entry(self.path.clone()).or_default());
        Ok(())
    }
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FetchError {
    let path = path.to_owned();
    move |source| StoreError::Io { what, path, source }.into()
}
