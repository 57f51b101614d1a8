//! The store: a content-addressed folder of blobs, and small remembered results ("memos") beside them.
//!
//! Nothing here is ever trusted because it exists half: a blob is written to a temporary file, hashed on the way,
//! synced and only then renamed to the name that its digest gives it; a memo likewise. Whatever a killed process leaves
//! behind lies in `tmp` and is swept by the next [`BlobDir::sweep`].
//!
//! ```text
//! $XDG_CACHE_HOME/microbuild/v1/  lock  tmp/  blobs/sha256/HEX  memo/BUCKET/KEY  folders/BUCKET/KEY
//! $XDG_CACHE_HOME/microbuild/seen/  KEY
//! ```
//!
//! `seen` is not a cache, although it lies beside it: what mirrors said before ([`crate::fetch::seen`]), which no `gc`
//! removes and no new layout of the store forgets.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use tempfile::NamedTempFile;

use crate::{
    digest::Digest,
    error::{Explain, Kind},
};

mod blobs;
pub mod folders;
pub mod memo;
mod own;

pub use blobs::{Blob, BlobDir, BlobWriter};
pub use folders::{Folder, Workspace};
pub use memo::{Bucket, Key, KeyLock, Memo, Named};
pub use own::Alien;

/// The folder beside the store of what is known of mirrors.
const STATE: &str = "seen";

/// The version of the store's layout: a newer one never reads an older one's folders.
const VERSION: &str = "v1";

/// What can go wrong in a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder of the store cannot be used.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// `create`, `write`, …
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder or file of the store is not this user's alone.
    #[error("expected {} to be this user's own, found {}", path.display(), alien.found())]
    Alien {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with it.
        alien: Alien,
    },
    /// Bytes that were expected to have a digest have another.
    #[error("{name}: expected {expected}, found {found}")]
    Digest {
        /// What the bytes are.
        name: String,
        /// The digest that was promised.
        expected: Digest,
        /// The digest that the bytes have.
        found: Digest,
    },
}

impl StoreError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

impl Explain for StoreError {
    fn kind(&self) -> Kind {
        match self {
            Self::Io { .. } => Kind::Build,
            Self::Alien { .. } => Kind::Usage,
            Self::Digest { .. } => Kind::Unverified,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Alien { path, alien } => Some(alien.remedy(path)),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => Some(
                "the disk is full: `microbuild gc` frees what no local image needs, --cache-dir names another disk"
                    .into(),
            ),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("--cache-dir (or XDG_CACHE_HOME, XDG_DATA_HOME) names a folder that you may write to".into())
            }
            // Who knows where the bytes came from knows what to do.
            Self::Io { .. } | Self::Digest { .. } => None,
        }
    }
}

fn used(meta: &fs::Metadata) -> SystemTime {
    let written = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    meta.accessed().map_or(written, |read| read.max(written))
}

/// Replaces the file `path` by `bytes` as a whole: a reader sees the old ones or the new ones.
///
/// # Errors
/// When the folder does not exist or cannot be written.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = shared_file(".new-", folder).map_err(StoreError::io("create a file in", folder))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_data()).map_err(StoreError::io("write", path))?;
    file.persist(path).map_err(|e| StoreError::io("rename a file to", path)(e.error))?;
    Ok(())
}

/// A temporary file in `folder` that, unlike [`NamedTempFile::new_in`]'s, may be read by others as far as the umask
/// lets them: it becomes a file of the user's.
///
/// # Errors
/// When it cannot be made.
pub fn shared_file(prefix: &str, folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder).map_err(bare)
}

/// The error in plain words, without the random path that `tempfile` adds to it, where the kind alone tells all.
fn bare(e: io::Error) -> io::Error {
    use io::ErrorKind as K;
    let telling = [K::NotFound, K::PermissionDenied, K::StorageFull, K::ReadOnlyFilesystem, K::NotADirectory];
    if telling.contains(&e.kind()) { e.kind().into() } else { e }
}

/// The store of one user: blobs and memos. See the module's documentation.
#[derive(Debug, Clone)]
pub struct Store {
    blobs: BlobDir,
    root: PathBuf,
}

/// Held while a store is in use; see [`Store::lock_shared`].
#[must_use = "the lock is held for as long as this value lives"]
pub struct FileLock {
    _file: File,
}

impl Store {
    /// The store below `cache_dir`, made where it is missing; a relative path is taken from the current folder.
    ///
    /// # Errors
    /// When its folders cannot be made, or are not this user's alone.
    pub fn open(cache_dir: &Path) -> Result<Self, StoreError> {
        let root = own::top(cache_dir)?.join(VERSION);
        own::folder(&root)?;
        for folder in ["blobs", "blobs/sha256", "folders", "memo", "tmp"] {
            own::folder(&root.join(folder))?;
        }
        own::folder(&root.with_file_name(STATE))?;
        Ok(Self { blobs: BlobDir::open(&root)?, root })
    }

    /// Its blobs.
    pub fn blobs(&self) -> &BlobDir {
        &self.blobs
    }

    /// The folder of what is known of mirrors. Nothing of the store's own is there.
    pub fn state(&self) -> PathBuf {
        self.root.with_file_name(STATE)
    }

    /// The content of the file `path` in that folder; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is a link.
    pub fn read_state(&self, path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
        if path.symlink_metadata().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let mut file = own::open(path, File::options().read(true))?;
        file.read_to_end(&mut bytes).map_err(StoreError::io("read", path))?;
        Ok(Some(bytes))
    }

    /// The file by which processes that change that folder's files wait for each other.
    ///
    /// # Errors
    /// When it cannot be made, or is a link.
    pub fn state_lock(&self) -> Result<File, StoreError> {
        own::lock_file(&self.state().join("lock"))
    }

    fn lock_file(&self) -> Result<File, StoreError> {
        own::lock_file(&self.root.join("lock"))
    }

    /// Says that this process uses the store: nothing in it is removed by another process's `gc` meanwhile. Any number
    /// of processes may hold it at once.
    ///
    /// # Errors
    /// When the lock file cannot be opened or locked.
    pub fn lock_shared(&self) -> Result<FileLock, StoreError> {
        let file = self.lock_file()?;
        file.lock_shared().map_err(StoreError::io("lock", &self.root))?;
        Ok(FileLock { _file: file })
    }

    /// The only lock under which blobs and memos may be removed; waits for the builds that are under way.
    ///
    /// # Errors
    /// When the lock file cannot be opened or locked.
    pub fn lock_exclusive(&self) -> Result<FileLock, StoreError> {
        let file = self.lock_file()?;
        file.lock().map_err(StoreError::io("lock", &self.root))?;
        Ok(FileLock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(dir.path()).expect("a store");
        (dir, store)
    }

    #[test]
    fn shared_locks_do_not_exclude_each_other() {
        let (_dir, store) = store();
        let _one = store.lock_shared().expect("one");
        let _two = store.lock_shared().expect("two");
    }
}
