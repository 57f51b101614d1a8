//! Folders of the store: made whole under a key, or kept between builds under a name.
//!
//! ```text
//! v1/folders/BUCKET/  KEY  KEY.lock  KEY.new
//! ```
//!
//! A folder is made as `KEY.new` and renamed when all of it is written; before it is removed it is renamed back, so
//! that what is called `KEY` is always whole. It is not synced, because making it again costs less than waiting for the
//! disk: `KEY.lock` says since which start of the system the folder is whole, and after another start, before which the
//! power may have failed, it is made anew.
//!
//! A process that makes or removes a folder holds `KEY.lock` alone; processes that use it hold the lock together. The
//! lock's time of change is the folder's last use. A process that is killed leaves a `KEY.new` whose lock is free: the
//! next one that makes a folder of the bucket, and every `gc`, removes it.

use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{Bucket, Key, Store, StoreError, own};

/// The bucket of [`Store::cache_folder`]s.
const CACHES: &str = "caches";
/// The bucket of [`Workspace`]s.
const WORK: &str = "work";

/// A folder of the store, which is not removed for as long as this value lives.
#[derive(Debug)]
#[must_use = "the folder may be removed when this value is gone"]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The names of one folder.
#[derive(Debug)]
struct Place {
    whole: PathBuf,
    half: PathBuf,
    lock: PathBuf,
}

impl Place {
    fn new(bucket: &Path, key: &str) -> Self {
        let named = |end: &str| bucket.join(format!("{key}{end}"));
        Self { whole: named(""), half: named(".new"), lock: named(".lock") }
    }

    fn of_lock(lock: &Path) -> Option<Self> {
        let key = lock.file_name()?.to_str()?.strip_suffix(".lock")?;
        Some(Self::new(lock.parent()?, key))
    }

    fn lock_file(&self) -> Result<File, StoreError> {
        own::lock_file(&self.lock)
    }

    /// Whether `file` is still what the lock's name leads to. A process that removes a folder removes its lock too.
    fn is_current(&self, file: &File) -> bool {
        let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        file.metadata().is_ok_and(|opened| self.lock.symlink_metadata().is_ok_and(|named| same(opened, named)))
    }

    /// The folder, when it is there, locked together with others; not one made before the system's start `since`.
    fn get(&self, since: Option<&str>) -> Result<Option<Folder>, StoreError> {
        if !self.is_there()? {
            return Ok(None);
        }
        let file = self.lock_file()?;
        file.lock_shared().map_err(StoreError::io("lock", &self.lock))?;
        if !self.is_current(&file) || !self.is_whole(since)? {
            return Ok(None);
        }
        file.set_modified(SystemTime::now()).map_err(StoreError::io("change", &self.lock))?;
        Ok(Some(Folder { path: self.whole.clone(), _lock: file }))
    }

    /// Whether the folder is there.
    ///
    /// # Errors
    /// When something else is, or it is not this user's alone.
    fn is_there(&self) -> Result<bool, StoreError> {
        match self.whole.symlink_metadata() {
            Ok(meta) if !meta.is_dir() => own::folder(&self.whole).map(|()| false),
            found => Ok(found.is_ok()),
        }
    }

    /// Whether the folder is there, and was made since that start of the system.
    fn is_whole(&self, since: Option<&str>) -> Result<bool, StoreError> {
        let mut made = String::new();
        if since.is_some() {
            let mut lock = own::open(&self.lock, File::options().read(true))?;
            lock.read_to_string(&mut made).map_err(StoreError::io("read", &self.lock))?;
        }
        Ok(self.is_there()? && since.is_none_or(|since| made == since))
    }

    /// The lock, held alone; `None` when the name leads to another one meanwhile.
    fn alone(&self) -> Result<Option<File>, StoreError> {
        let file = self.lock_file()?;
        file.lock().map_err(StoreError::io("lock", &self.lock))?;
        Ok(self.is_current(&file).then_some(file))
    }

    /// The lock, held alone, when no other process holds it.
    fn alone_at_once(&self) -> Result<Option<File>, StoreError> {
        let file = self.lock_file()?;
        match file.try_lock() {
            Ok(()) => Ok(self.is_current(&file).then_some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(StoreError::io("lock", &self.lock)(e)),
        }
    }

    /// Makes the folder by `make`, for the holder of the exclusive lock; one that is there already is made anew.
    fn make<E: From<StoreError>>(&self, since: &str, mut make: impl FnMut(&Path) -> Result<(), E>) -> Result<(), E> {
        remove_tree(&self.half)?;
        if own::is_folder(&self.whole) {
            fs::rename(&self.whole, &self.half).map_err(StoreError::io("rename", &self.whole))?;
            remove_tree(&self.half)?;
        }
        let made = fs::create_dir(&self.half).map_err(|e| StoreError::io("create", &self.half)(e).into());
        let made = made.and_then(|()| make(&self.half));
        // The lock's file keeps its place, by which others know it.
        let made = made.and_then(|()| Ok(self.note(since)?));
        if let Err(e) = made {
            // What is left is removed by the next one that tries.
            let _ = remove_tree(&self.half);
            return Err(e);
        }
        fs::rename(&self.half, &self.whole).map_err(StoreError::io("rename", &self.half))?;
        Ok(())
    }

    /// Notes in the lock that the folder is whole since that start of the system.
    fn note(&self, since: &str) -> Result<(), StoreError> {
        let mut lock = own::open(&self.lock, File::options().write(true).truncate(true))?;
        lock.write_all(since.as_bytes()).map_err(StoreError::io("write", &self.lock))
    }

    /// Removes the folder and its lock, for the holder of the exclusive lock; the bytes that this freed.
    fn remove(&self) -> Result<u64, StoreError> {
        let mut freed = remove_counted(&self.half)?;
        match fs::rename(&self.whole, &self.half) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            renamed => {
                renamed.map_err(StoreError::io("rename", &self.whole))?;
                freed += remove_counted(&self.half)?;
            }
        }
        fs::remove_file(&self.lock).map_err(StoreError::io("remove", &self.lock))?;
        Ok(freed)
    }
}

/// An empty folder of the store that is removed with this value, and swept when its process is killed.
#[derive(Debug)]
pub struct Workspace {
    place: Place,
    _lock: File,
}

impl Workspace {
    /// A new one in `store`; those of killed processes are removed.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(store: &Store) -> Result<Self, StoreError> {
        let name = |n: u32| format!("{}-{n}", std::process::id());
        let mut number = 0;
        loop {
            let place = store.place(WORK, &name(number))?;
            sweep(&store.root.join("folders").join(WORK))?;
            if let Some(lock) = place.alone_at_once()? {
                remove_tree(&place.half)?;
                fs::create_dir(&place.half).map_err(StoreError::io("create", &place.half))?;
                return Ok(Self { place, _lock: lock });
            }
            number += 1;
        }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.place.half
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // What cannot be removed is left to the next sweep.
        let _ = self.place.remove();
    }
}

impl Store {
    /// The folder of `bucket` under `key`; where it is missing, `make` fills an empty one, which then is renamed as a
    /// whole. Of several processes that want the same, one makes it and the others wait.
    ///
    /// # Errors
    /// `make`'s own, after which nothing is left; and when the folder can be neither written nor locked.
    pub fn folder<E: From<StoreError>>(
        &self,
        bucket: Bucket,
        key: &Key,
        mut make: impl FnMut(&Path) -> Result<(), E>,
    ) -> Result<Folder, E> {
        let place = self.place(bucket.name(), &key.digest().hex())?;
        let since = start_of_system();
        loop {
            if let Some(folder) = place.get(Some(&since))? {
                return Ok(folder);
            }
            // The next turn finds what was made, unless another process removes it in that moment.
            if let Some(_lock) = place.alone()?
                && !place.is_whole(Some(&since))?
            {
                sweep(&self.root.join("folders").join(bucket.name()))?;
                place.make(&since, &mut make)?;
            }
        }
    }

    /// The folder called `name` that builds keep from one to the next, such as a package manager's cache; empty when it
    /// is new. What is in it is what its users left.
    ///
    /// # Errors
    /// When it can be neither made nor locked.
    pub fn cache_folder(&self, name: &str) -> Result<Folder, StoreError> {
        let place = self.place(CACHES, name)?;
        loop {
            if let Some(folder) = place.get(None)? {
                return Ok(folder);
            }
            if let Some(_lock) = place.alone()?
                && !place.is_there()?
            {
                place.make("", |_| Ok::<_, StoreError>(()))?;
            }
        }
    }

    /// Removes the folders that are not in use and whose last use satisfies `unused`, and what killed processes left;
    /// how many, and the bytes that this freed.
    ///
    /// # Errors
    /// When they cannot be read or removed.
    pub fn forget_folders(&self, unused: impl Fn(SystemTime) -> bool) -> Result<(u64, u64), StoreError> {
        let (mut count, mut freed) = (0, 0);
        for bucket in own::entries(&self.root.join("folders"))? {
            freed += sweep(&bucket)?;
            for place in places(&bucket)? {
                let used = place.lock.symlink_metadata().and_then(|meta| meta.modified());
                if used.is_ok_and(&unused)
                    && let Some(_lock) = place.alone_at_once()?
                {
                    count += u64::from(own::is_folder(&place.whole));
                    freed += place.remove()?;
                }
            }
        }
        Ok((count, freed))
    }

    fn place(&self, bucket: &str, key: &str) -> Result<Place, StoreError> {
        let bucket = self.root.join("folders").join(bucket);
        // A root filesystem that real root has unpacked holds programs that give their users root.
        match fs::DirBuilder::new().mode(0o700).create(&bucket) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(StoreError::io("create", &bucket)(e)),
            _ => own::folder(&bucket)?,
        }
        Ok(Place::new(&bucket, key))
    }
}

fn places(bucket: &Path) -> Result<Vec<Place>, StoreError> {
    Ok(own::entries(bucket)?.iter().filter_map(|path| Place::of_lock(path)).collect())
}

/// Removes what killed processes left half made or half removed; the bytes that this freed.
fn sweep(bucket: &Path) -> Result<u64, StoreError> {
    let mut freed = 0;
    for place in places(bucket)? {
        // Of a workspace that is gone, its lock is all that is left.
        let is_work = bucket.ends_with(WORK);
        if (is_work || place.half.symlink_metadata().is_ok())
            && let Some(_lock) = place.alone_at_once()?
        {
            freed += if is_work { place.remove()? } else { remove_counted(&place.half)? };
        }
    }
    Ok(freed)
}

/// What tells this start of the system from all others: Linux's own name for it (random(4)), elsewhere when it was.
fn start_of_system() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_else(|_| {
        let started = fs::metadata("/dev").and_then(|dev| dev.created()).ok();
        let since = started.and_then(|started| started.duration_since(SystemTime::UNIX_EPOCH).ok());
        format!("{}\n", since.unwrap_or_default().as_secs())
    })
}

fn remove_counted(folder: &Path) -> Result<u64, StoreError> {
    let bytes = bytes_in(folder);
    remove_tree(folder)?;
    Ok(bytes)
}

/// The bytes of the files in `folder`, each counted once; what cannot be read counts nothing.
fn bytes_in(folder: &Path) -> u64 {
    let (mut bytes, mut linked, mut left) = (0, BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                left.push(entry.path());
            } else if meta.is_file() && (meta.nlink() == 1 || linked.insert((meta.dev(), meta.ino()))) {
                bytes += meta.len();
            }
        }
    }
    bytes
}

/// Removes `path` with all that is in it, folders that may not be written too; one that is not there is not an error.
/// Links are removed, never followed.
///
/// # Errors
/// When something in it belongs to another user, or the disk fails.
pub fn remove_tree(path: &Path) -> Result<(), StoreError> {
    let removed = match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            open_folders(path);
            fs::remove_dir_all(path)
        }
        removed => removed,
    };
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Lets the owner write into `folder` and all folders in it, as far as that is allowed: what is not shows when they are
/// removed.
fn open_folders(folder: &Path) {
    let mut left = vec![folder.to_owned()];
    while let Some(folder) = left.pop() {
        let Ok(meta) = folder.symlink_metadata() else { continue };
        if !meta.is_dir() {
            continue;
        }
        if meta.mode() & 0o700 != 0o700 {
            let _ = fs::set_permissions(&folder, fs::Permissions::from_mode(0o700));
        }
        left.extend(fs::read_dir(&folder).into_iter().flatten().flatten().filter_map(|entry| {
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            is_dir.then(|| entry.path())
        }));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        thread,
    };

    use super::*;

    const BUCKET: Bucket = Bucket::Roots;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(dir.path()).expect("a store");
        (dir, store)
    }

    fn write(text: &str) -> impl Fn(&Path) -> Result<(), StoreError> {
        move |folder| {
            fs::write(folder.join("file"), text).expect("write");
            fs::set_permissions(folder, fs::Permissions::from_mode(0o555)).expect("its own folder");
            Ok(())
        }
    }

    fn never(_: &Path) -> Result<(), StoreError> {
        panic!("it is there")
    }

    fn names(store: &Store) -> Vec<String> {
        let entries = fs::read_dir(store.root.join("folders").join(BUCKET.name())).expect("a bucket").flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy()[64..].to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_is_made_once_and_stays_while_it_is_used() {
        let (_dir, store) = store();
        let key = Key::new().text("name", "key");
        let folder = store.folder(BUCKET, &key, write("hello")).expect("a folder");
        let again = store.folder(BUCKET, &key, never).expect("the same");
        assert_eq!(fs::read(again.path().join("file")).expect("read"), b"hello");
        drop(again);
        assert_eq!(store.forget_folders(|_| true).expect("gc"), (0, 0), "it is used");
        drop(folder);
        assert_eq!(store.forget_folders(|_| false).expect("gc"), (0, 0), "it was used just now");
        assert_eq!(store.forget_folders(|_| true).expect("gc"), (1, 5));
        assert_eq!(names(&store), [""; 0]);
        let _again = store.folder(BUCKET, &key, write("again")).expect("made again");
    }

    #[test]
    fn what_fails_or_is_killed_leaves_nothing_that_counts() {
        let (_dir, store) = store();
        let (key, other) = (Key::new().text("name", "key"), Key::new().text("name", "other"));
        let fail = |folder: &Path| {
            fs::write(folder.join("half"), "half").expect("write");
            Err(StoreError::io("fill", folder)(io::Error::other("it fails")))
        };
        assert!(store.folder(BUCKET, &key, fail).is_err());
        assert_eq!(names(&store), [".lock"]);
        // What a killed process leaves.
        let place = store.place(BUCKET.name(), &key.digest().hex()).expect("a place");
        fs::create_dir_all(place.half.join("closed")).expect("a folder");
        fs::write(place.half.join("closed/file"), "half").expect("write");
        fs::set_permissions(place.half.join("closed"), fs::Permissions::from_mode(0o0)).expect("its own folder");
        let _other = store.folder(BUCKET, &other, write("")).expect("another folder");
        assert_eq!(names(&store), ["", ".lock", ".lock"], "the next one sweeps");
        let folder = store.folder(BUCKET, &key, write("whole")).expect("the folder");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn what_was_made_before_the_system_started_is_made_anew() {
        let (_dir, store) = store();
        let key = Key::new().text("name", "key");
        let folder = store.folder(BUCKET, &key, write("old")).expect("made");
        let path = folder.path().to_owned();
        drop(folder);
        fs::write(path.with_extension("lock"), "another start\n").expect("written");
        let folder = store.folder(BUCKET, &key, write("new")).expect("made again");
        assert!(fs::read_dir(folder.path()).expect("a folder").count() == 1);
        drop(store.folder(BUCKET, &key, never).expect("there now"));
    }

    #[test]
    fn several_at_once_make_it_once() {
        let (_dir, store) = store();
        let (key, made) = (Key::new().text("name", "key"), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let make = |folder: &Path| {
                        made.fetch_add(1, Ordering::SeqCst);
                        write("hello")(folder)
                    };
                    let folder = store.folder(BUCKET, &key, make).expect("a folder");
                    assert_eq!(fs::read(folder.path().join("file")).expect("read"), b"hello");
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }

    #[test]
    fn makers_and_removers_do_not_disturb_each_other() {
        let (_dir, store) = store();
        let key = Key::new().text("name", "key");
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let folder = store.folder(BUCKET, &key, write("hello")).expect("a folder");
                        assert_eq!(fs::read(folder.path().join("file")).expect("read"), b"hello");
                        drop(folder);
                        store.forget_folders(|_| true).expect("gc");
                    }
                });
            }
        });
    }

    #[test]
    fn caches_keep_what_is_put_there() {
        let (_dir, store) = store();
        let cache = store.cache_folder("npm").expect("a cache");
        fs::write(cache.path().join("file"), "kept").expect("write");
        drop(cache);
        assert_eq!(store.forget_folders(|_| false).expect("gc"), (0, 0));
        let cache = store.cache_folder("npm").expect("the same");
        assert_eq!(fs::read(cache.path().join("file")).expect("read"), b"kept");
        drop(cache);
        assert_eq!(store.forget_folders(|_| true).expect("gc"), (1, 4));
    }

    #[test]
    fn removal_follows_no_link() {
        let (dir, _store) = store();
        let (kept, gone) = (dir.path().join("kept"), dir.path().join("gone"));
        fs::create_dir_all(&gone).expect("a folder");
        fs::create_dir_all(&kept).expect("a folder");
        fs::write(kept.join("file"), "").expect("write");
        std::os::unix::fs::symlink(&kept, gone.join("link")).expect("a link");
        remove_tree(&gone).expect("removed");
        assert!(kept.join("file").exists() && !gone.exists());
        remove_tree(&gone).expect("nothing to do");
    }
}
