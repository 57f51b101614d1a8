//! Folders of blobs: content under the name of its digest, written as a whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tempfile::NamedTempFile;

use super::{StoreError, bare, used};
use crate::digest::{Digest, Hashing};

/// Temporary files older than this belong to processes that have ended.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// A blob that lies in a [`BlobDir`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// When it was last read or written, as far as the file system notes it: Linux notes a reading once a day.
    pub used: SystemTime,
}

/// How the names of a [`BlobDir`]'s temporary files begin: hidden, and never a digest's digits.
const TEMPORARY: &str = ".blob-";

/// A folder of blobs, `blobs/sha256/HEX`, as the store and every OCI image layout have it.
#[derive(Debug, Clone)]
pub struct BlobDir {
    root: PathBuf,
    tmp: PathBuf,
}

impl BlobDir {
    /// The blobs below `root`, which is made where it is missing; temporary files lie in `root/tmp`.
    ///
    /// # Errors
    /// When a folder cannot be made.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        let dir = Self { tmp: root.join("tmp"), root };
        for folder in [&dir.root.join("blobs/sha256"), &dir.tmp] {
            fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
        }
        Ok(dir)
    }

    /// The blobs of the image layout `root`, which may not exist yet. A layout belongs to its user and holds nothing
    /// but what the specification names: temporary files are hidden among the blobs for as long as they are written.
    pub fn layout(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self { tmp: root.join("blobs/sha256"), root }
    }

    /// The folder that holds `blobs`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the blob lies, or would lie.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Whether a blob of this digest and size is here. A link does not count: it may lead to bytes of others.
    pub fn contains(&self, digest: &Digest, size: u64) -> bool {
        self.path(digest).symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() == size)
    }

    /// A new blob to be written. Dropped unfinished, it leaves nothing.
    ///
    /// # Errors
    /// When no temporary file can be made.
    pub fn writer(&self) -> Result<BlobWriter, StoreError> {
        Ok(BlobWriter { dir: self.clone(), out: Hashing::new(self.temporary()?) })
    }

    fn temporary(&self) -> Result<NamedTempFile, StoreError> {
        let made = NamedTempFile::with_prefix_in(TEMPORARY, &self.tmp).map_err(bare);
        made.map_err(StoreError::io("create a file in", &self.tmp))
    }

    /// Puts `bytes` here, when they are not here yet.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if !self.contains(&digest, bytes.len() as u64) {
            let mut writer = self.writer()?;
            writer.write_all(bytes).map_err(StoreError::io("write", &self.path(&digest)))?;
            writer.finish()?;
        }
        Ok(digest)
    }

    /// Copies a blob of a known digest and size from `open()`, checking it on the way; does nothing when it is here.
    ///
    /// # Errors
    /// When it cannot be read or written, or its bytes have another digest.
    pub fn put_checked(
        &self,
        digest: &Digest,
        size: u64,
        open: impl FnOnce() -> io::Result<Box<dyn Read + Send>>,
    ) -> Result<(), StoreError> {
        if self.contains(digest, size) {
            return Ok(());
        }
        let mut writer = self.writer()?;
        let copied = open().and_then(|mut from| io::copy(&mut from, &mut writer));
        copied.map_err(StoreError::io("write", &self.path(digest)))?;
        writer.finish_as(digest, &format!("blob {digest}"))?;
        Ok(())
    }

    /// Puts the read-only file `path`, known to hold the blob of this digest and size, here by a hard link, or by a
    /// copy where links do not reach.
    ///
    /// # Errors
    /// When it can be neither linked nor copied.
    pub fn link(&self, digest: &Digest, size: u64, path: &Path) -> Result<(), StoreError> {
        if self.contains(digest, size) {
            return Ok(());
        }
        let to = self.path(digest);
        match fs::hard_link(path, &to) {
            Ok(()) => Ok(()),
            // Another process put it there meanwhile; a file of another size was left by a disk that failed.
            Err(_) if self.contains(digest, size) => Ok(()),
            Err(_) => self.put_checked(digest, size, || Ok(Box::new(File::open(path)?))),
        }
    }

    /// Copies the file `path`, known to hold the blob of this digest and size. Where the file system can share the
    /// bytes of two files (btrfs, XFS), it does: the copy is the kernel's.
    ///
    /// # Errors
    /// When it cannot be read or written, or has another length.
    pub fn copy(&self, digest: &Digest, size: u64, path: &Path) -> Result<(), StoreError> {
        if self.contains(digest, size) {
            return Ok(());
        }
        let mut from = File::open(path).map_err(StoreError::io("read", path))?;
        let mut file = self.temporary()?;
        let to = self.path(digest);
        let copied = io::copy(&mut from, file.as_file_mut()).map_err(StoreError::io("write", &to))?;
        if copied != size {
            let short = io::Error::other(format!("expected {size} bytes, found {copied}"));
            return Err(StoreError::io("read", path)(short));
        }
        persist(file, &to)
    }

    /// All blobs that are here, by digest.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> Result<Vec<Blob>, StoreError> {
        let folder = self.root.join("blobs/sha256");
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).map_err(StoreError::io("read", &folder))? {
            let entry = entry.map_err(StoreError::io("read", &folder))?;
            let digest = entry.file_name().to_str().and_then(|name| Digest::from_hex(name).ok());
            if let (Some(digest), Ok(meta)) = (digest, entry.metadata()) {
                found.push(Blob { digest, size: meta.len(), used: used(&meta) });
            }
        }
        found.sort_unstable_by_key(|blob| blob.digest);
        Ok(found)
    }

    /// Removes the blob; one that is not here is not an error.
    ///
    /// # Errors
    /// When it is here and cannot be removed.
    pub fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", &path)(e)),
            _ => Ok(()),
        }
    }

    /// Removes the temporary files of blobs that are older than a day: the processes that wrote them have died. The
    /// bytes that this freed.
    pub fn sweep(&self) -> u64 {
        self.sweep_older_than(STALE)
    }

    /// [`sweep`](Self::sweep) with another age; zero is for callers who know, by a lock, that no other process is
    /// writing.
    pub fn sweep_older_than(&self, age: Duration) -> u64 {
        let old =
            |meta: &fs::Metadata| meta.modified().ok().is_some_and(|t| t.elapsed().unwrap_or(Duration::ZERO) >= age);
        let entries = fs::read_dir(&self.tmp).into_iter().flatten().flatten();
        let mut freed = 0;
        for entry in entries {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(TEMPORARY))
                && let Ok(meta) = entry.metadata()
                && old(&meta)
                && fs::remove_file(entry.path()).is_ok()
            {
                freed += meta.len();
            }
        }
        freed
    }
}

/// A blob on its way into a [`BlobDir`]: write it, then [`finish`](Self::finish).
pub struct BlobWriter {
    dir: BlobDir,
    out: Hashing<NamedTempFile>,
}

impl BlobWriter {
    /// Syncs the bytes and gives them the name of their digest.
    ///
    /// # Errors
    /// When they cannot be synced or renamed.
    pub fn finish(self) -> Result<(Digest, u64), StoreError> {
        let (digest, size, file) = self.out.finish();
        let path = self.dir.path(&digest);
        persist(file, &path)?;
        Ok((digest, size))
    }

    /// [`finish_as`](Self::finish_as), with `work` on the file while the disk takes it: the blob gets its name when
    /// both have succeeded. What `work` gives, and the blob's size.
    ///
    /// # Errors
    /// As `finish_as`, and `work`'s own.
    pub fn finish_after<T, E: From<StoreError>>(
        self,
        expected: &Digest,
        name: &str,
        work: impl FnOnce(&Path) -> Result<T, E>,
    ) -> Result<(T, u64), E> {
        let (found, size, file) = self.out.finish();
        if found != *expected {
            return Err(StoreError::Digest { name: name.to_owned(), expected: *expected, found }.into());
        }
        let path = self.dir.path(expected);
        let (synced, worked) = std::thread::scope(|scope| {
            let sync = scope.spawn(|| file.as_file().sync_data());
            let worked = work(file.path());
            (sync.join().unwrap_or_else(|e| std::panic::resume_unwind(e)), worked)
        });
        let value = worked?;
        synced.map_err(StoreError::io("write", &path))?;
        name_blob(file, &path)?;
        Ok((value, size))
    }

    /// [`finish`](Self::finish), provided that the bytes have the digest `expected`; `name` is for the message.
    ///
    /// # Errors
    /// As `finish`, and when the digest is another: then nothing is kept.
    pub fn finish_as(self, expected: &Digest, name: &str) -> Result<u64, StoreError> {
        let (found, size, file) = self.out.finish();
        if found != *expected {
            return Err(StoreError::Digest { name: name.to_owned(), expected: *expected, found });
        }
        persist(file, &self.dir.path(expected))?;
        Ok(size)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.out.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Syncs `file`, makes it read-only, and renames it to `path`.
fn persist(file: NamedTempFile, path: &Path) -> Result<(), StoreError> {
    file.as_file().sync_data().map_err(StoreError::io("write", path))?;
    name_blob(file, path)
}

/// Makes `file`, whose bytes are on the disk, read-only, and renames it to `path`.
fn name_blob(file: NamedTempFile, path: &Path) -> Result<(), StoreError> {
    let mut permissions = file.as_file().metadata().map_err(StoreError::io("read", path))?.permissions();
    readable_by_all(&mut permissions);
    file.as_file().set_permissions(permissions).map_err(StoreError::io("change", path))?;
    file.persist(path).map_err(|e| StoreError::io("rename a file to", path)(e.error))?;
    Ok(())
}

#[cfg(unix)]
fn readable_by_all(permissions: &mut fs::Permissions) {
    use std::os::unix::fs::PermissionsExt as _;
    permissions.set_mode(0o444);
}

#[cfg(not(unix))]
fn readable_by_all(permissions: &mut fs::Permissions) {
    permissions.set_readonly(true);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::{Explain as _, Kind},
        store::Store,
    };

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(dir.path()).expect("a store");
        (dir, store)
    }

    #[test]
    fn a_blob_is_found_under_its_digest_and_an_unfinished_one_is_not() {
        let (_dir, store) = store();
        let digest = store.blobs().put(b"hello").expect("put");
        assert!(store.blobs().contains(&digest, 5));
        assert!(!store.blobs().contains(&digest, 4), "another size is another file");
        let mut writer = store.blobs().writer().expect("writer");
        writer.write_all(b"half").expect("write");
        drop(writer);
        assert_eq!(store.blobs().list().expect("list").len(), 1);
        assert_eq!(fs::read_dir(&store.blobs().tmp).expect("tmp").count(), 0);
    }

    #[test]
    fn bytes_of_another_digest_are_refused_and_not_kept() {
        let (_dir, store) = store();
        let promised = Digest::of("promised");
        let error = store.blobs().put_checked(&promised, 5, || Ok(Box::new(&b"other"[..]))).expect_err("refused");
        assert_eq!(error.kind(), Kind::Unverified);
        assert!(error.to_string().contains(&promised.to_string()), "{error}");
        assert!(store.blobs().list().expect("list").is_empty());
    }

    #[test]
    fn links_share_the_bytes() {
        let (dir, store) = store();
        let other = BlobDir::open(dir.path().join("layout")).expect("layout");
        let digest = store.blobs().put(b"hello").expect("put");
        other.link(&digest, 5, &store.blobs().path(&digest)).expect("link");
        assert_eq!(fs::read(other.path(&digest)).expect("read"), b"hello");
    }

    #[test]
    fn a_copy_is_another_file_and_is_refused_when_its_length_is_wrong() {
        let (dir, store) = store();
        let digest = store.blobs().put(b"hello").expect("put");
        let path = store.blobs().path(&digest);
        let layout = BlobDir::layout(dir.path().join("layout"));
        fs::create_dir_all(layout.root().join("blobs/sha256")).expect("folder");
        layout.copy(&digest, 4, &path).expect_err("another size");
        layout.copy(&digest, 5, &path).expect("copy");
        let names: Vec<_> = fs::read_dir(layout.root()).expect("list").flatten().map(|e| e.file_name()).collect();
        assert_eq!(names, ["blobs"], "nothing but what a layout may hold");
        assert_eq!(layout.list().expect("list").len(), 1);
        assert_eq!(fs::read_dir(layout.root().join("blobs/sha256")).expect("list").count(), 1, "no temporary file");
    }

    #[test]
    fn only_temporary_files_are_swept() {
        let (dir, _store) = store();
        let layout = BlobDir::layout(dir.path().join("layout"));
        let folder = layout.root().join("blobs/sha256");
        fs::create_dir_all(&folder).expect("folder");
        layout.put(b"kept").expect("put");
        fs::write(folder.join(".blob-dead"), "dead").expect("write");
        fs::write(folder.join("notes"), "the user's").expect("write");
        assert_eq!(layout.sweep(), 0, "it may still be written");
        assert_eq!(layout.sweep_older_than(Duration::ZERO), 4);
        assert_eq!(fs::read_dir(&folder).expect("list").count(), 2);
    }
}
