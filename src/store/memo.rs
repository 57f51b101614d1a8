//! Memos: small results of long work, each remembered under a digest of all that it depends on.
//!
//! ```text
//! v1/memo/BUCKET/  KEY  KEY.lock
//! ```
//!
//! A [`Bucket`] says what is remembered, a [`Key`] under what. [`Store::memo`] is the one way to work with both: it
//! recalls, and where there is nothing usable it makes and remembers.
//!
//! **This is the seam at which a registry will be asked.** Keys hold digests, names and versions, and neither paths nor the order of a
//! hash table (but for what one machine saw of a mirror, a registry or its own folders, and for steps whose project has caches). So a
//! registry can hold memos under `BUCKET` and `KEY`, and [`Store::memo`] can ask for one after the store had none and before `make`
//! works. Nothing else in this program needs to know.
//!
//! Memos are trusted: a program that can write one decides what a build contains. The store takes them from no folder
//! or file that is not the user's own; what a registry gives will need a signature.

use std::{
    fmt::Display,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    time::SystemTime,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{Store, StoreError, own, shared_file, used};
use crate::digest::Digest;

/// What is remembered. The [`name`](Self::name) of a bucket ends in a version: raise it when another value would be
/// made for the same key, or when the value is written in another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket {
    /// The `APKINDEX.tar.gz` or `InRelease` that a URL last gave, with the validators for the next request. Its version
    /// is that of the value. Key: the URL.
    Indexes,
    /// That a URL had no index when it was last asked. Key: the URL.
    MissingIndexes,
    /// The verified content list of a package, Alpine's or Debian's. Its version is that of what verifying refuses and
    /// lists. Key: what the signed index says of the package ([`Listed::key`](crate::package::Listed::key)).
    Packages,
    /// That a signature of Debian's was checked. Key: the digests of the signed files and of the trusted keys.
    Signatures,
    /// The packages that Alpine's solver chose. Its version is that of the solver's behaviour and of the value. Key:
    /// the branch, the architecture, the digests of the indexes, the requested packages, what is left out, and the
    /// trusted keys.
    AlpineSolutions,
    /// The packages that Debian's solver chose. Its version is that of the solver's behaviour and of the value. Key:
    /// the suite, the architecture, the digests of the indexes, the requested packages, and what is left out.
    DebianSolutions,
    /// The layers of a root filesystem. Its version is that of everything between packages and layers: what a tree
    /// holds, how a layer is written. Key: the packages in order, the settings of the root filesystem, the compression.
    Systems,
    /// The layer of an app's files. Its version is that of how a layer is written. Key: the layer's `diff_id`, its
    /// title, the compression.
    Apps,
    /// What the result of a step needs of packages, and what later steps see of it. Its version is that of how a step is run and what
    /// of its result is kept. Key: the dev variant, the command with its variables and programs, its input files, the earlier
    /// results that it sees, what is kept, where the app lies, the names of secrets, whose caches it has.
    Steps,
    /// The layers of a step's result. Its version is that of how a layer is written. Key: that of [`Steps`](Self::Steps), the titles
    /// of the layers, where the app lies, the compression.
    StepLayers,
    /// What lies in a layer, as far as the start of an image depends on it. Its version is that of the list. Key: the layer's
    /// `diff_id`.
    LayerFiles,
    /// That an image can start, and with which command. Its version is that of what is checked. Key: the layers' `diff_id`s, the
    /// command, what it may be called otherwise, the search path, the user, the folder, the architecture.
    Starts,
    /// The repositories of a registry in which a blob was found or put. Key: the registry's name and the blob's digest.
    PushedBlobs,
    /// The folder of the app that a local image's name means. Key: the name.
    ImageNames,
    /// Unpacked root filesystems, which are folders ([`Store::folder`]) and not memos. Its version is that of
    /// everything between layers and files. Key: the layers' `diff_id`s, the places for mounts, whether owners are set.
    Roots,
}

impl Bucket {
    /// What its folder is called: the name and the version.
    pub fn name(self) -> &'static str {
        match self {
            Self::Indexes => "indexes-v1",
            Self::MissingIndexes => "missing-v1",
            Self::Packages => "packages-v4",
            Self::Signatures => "signatures-v2",
            Self::AlpineSolutions => "solutions-v2",
            Self::DebianSolutions => "debian-solutions-v3",
            Self::Systems => "systems-v7",
            Self::Apps => "apps-v1",
            Self::Steps => "steps-v2",
            Self::StepLayers => "step-layers-v2",
            Self::LayerFiles => "layer-files-v1",
            Self::Starts => "starts-v1",
            Self::PushedBlobs => "registry-blobs-v1",
            Self::ImageNames => "names-v1",
            Self::Roots => "roots-v1",
        }
    }
}

/// All that a result depends on, as named fields. Equal fields make an equal key on every machine, and no two lists of
/// fields make the same key: each name and value is written with its length.
///
/// ```
/// use microbuild::internals::store::Key;
///
/// let key = Key::new().text("command", "npm ci").list("files", ["package.json", "package-lock.json"]);
/// assert_ne!(key.digest(), Key::new().text("command", "npm ci").digest());
/// ```
///
/// What a value prints as must be stable: text, numbers, digests and paths below a root are, `Debug` output is not. A
/// value that is made of several is a key of its own ([`nested`](Self::nested)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Key {
    written: Vec<u8>,
}

impl Key {
    /// A key without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// A field with one value.
    #[must_use]
    pub fn text(self, name: &str, value: impl Display) -> Self {
        self.field(name, b't', value.to_string().as_bytes())
    }

    /// A field that may have no value. No value is not the empty text.
    #[must_use]
    pub fn option(self, name: &str, value: Option<impl Display>) -> Self {
        self.list(name, value)
    }

    /// A field with several values, whose order counts. Sort them first where it should not.
    #[must_use]
    pub fn list(self, name: &str, values: impl IntoIterator<Item: Display>) -> Self {
        let mut list = Vec::new();
        for value in values {
            sized(&mut list, value.to_string().as_bytes());
        }
        self.field(name, b'l', &list)
    }

    /// A field with pairs, such as variables and their values; their order counts, and a `BTreeMap` has one.
    #[must_use]
    pub fn pairs<A: Display, B: Display>(self, name: &str, pairs: impl IntoIterator<Item = (A, B)>) -> Self {
        let mut list = Vec::new();
        for (first, second) in pairs {
            sized(&mut list, first.to_string().as_bytes());
            sized(&mut list, second.to_string().as_bytes());
        }
        self.field(name, b'p', &list)
    }

    /// A field whose value has fields of its own.
    #[must_use]
    pub fn nested(self, name: &str, value: &Self) -> Self {
        self.field(name, b'k', &value.written)
    }

    /// A field with several values that have fields of their own, whose order counts.
    #[must_use]
    pub fn nested_list(self, name: &str, values: impl IntoIterator<Item = Self>) -> Self {
        let mut list = Vec::new();
        for value in values {
            sized(&mut list, &value.written);
        }
        self.field(name, b'n', &list)
    }

    /// The digest of all fields: what the memo is called.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.written)
    }

    fn field(mut self, name: &str, kind: u8, value: &[u8]) -> Self {
        sized(&mut self.written, name.as_bytes());
        self.written.push(kind);
        sized(&mut self.written, value);
        self
    }
}

/// Writes `bytes` after their length.
fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_be_bytes());
    out.extend(bytes);
}

/// What names a memo in its bucket: a [`Key`], or the digest of one.
pub trait Named {
    /// The digest.
    fn name(&self) -> Digest;
}

impl Named for Key {
    fn name(&self) -> Digest {
        self.digest()
    }
}

impl Named for Digest {
    fn name(&self) -> Digest {
        *self
    }
}

/// What [`Store::memo`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memo<T> {
    /// The result.
    pub value: T,
    /// Whether it was remembered, and not made now.
    pub cached: bool,
}

/// The right to make what one key stands for. While a process holds it, others that want the same wait.
#[derive(Debug)]
#[must_use = "the lock is held for as long as this value lives"]
pub struct KeyLock {
    path: PathBuf,
    _file: File,
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        // Those who wait have it open, and see that its name leads to it no longer. What cannot be removed now is
        // forgotten later.
        let _ = fs::remove_file(&self.path);
    }
}

impl Store {
    /// What is remembered in `bucket` under `key`, when it is usable; else what `make` gives, which is then remembered.
    ///
    /// `is_usable` looks at what was remembered: for a layer, whether the store still has its bytes. It looks at what
    /// was made, too: a result that is not usable is returned but not remembered.
    ///
    /// Of several builds that want the same, one makes it and the others wait for it. When making it fails, the next
    /// one tries. `make` may ask for other memos, but not for this one.
    ///
    /// # Errors
    /// `make`'s own, after which nothing is remembered; and when the store cannot be locked or written.
    pub fn memo<T, E>(
        &self,
        bucket: Bucket,
        key: &Key,
        is_usable: impl Fn(&T) -> bool,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Memo<T>, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<StoreError>,
    {
        let key = &key.digest();
        let recall = || self.recall(bucket, key).filter(&is_usable);
        if let Some(value) = recall() {
            return Ok(Memo { value, cached: true });
        }
        let _turn = self.lock_key(bucket, key)?;
        // Another process may have made it while this one waited.
        if let Some(value) = recall() {
            return Ok(Memo { value, cached: true });
        }
        let value = make()?;
        if is_usable(&value) {
            self.remember(bucket, key, &value)?;
        }
        Ok(Memo { value, cached: false })
    }

    /// What was remembered in `bucket` under `key`; `None` too when it cannot be read as a `T` (another version wrote
    /// it), or others may have written it.
    pub fn recall<T: DeserializeOwned>(&self, bucket: Bucket, key: &impl Named) -> Option<T> {
        own::is_own_folder(&self.bucket(bucket)).then_some(())?;
        let path = self.bucket(bucket).join(key.name().hex());
        let mut file = own::open(&path, File::options().read(true)).ok()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Remembers `value` in `bucket` under `key`, for what is not made but observed, such as what a mirror answered.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn remember<T: Serialize>(&self, bucket: Bucket, key: &impl Named, value: &T) -> Result<(), StoreError> {
        let folder = self.bucket(bucket);
        let path = folder.join(key.name().hex());
        own::folder(&folder)?;
        let bytes = serde_json::to_vec(value).map_err(|e| StoreError::io("write", &path)(e.into()))?;
        // Not synced: what a power cut leaves of a memo is not JSON, hence forgotten. A sync costs more than most memos
        // save.
        let mut file = shared_file(".new-", &folder).map_err(StoreError::io("create a file in", &folder))?;
        file.write_all(&bytes).map_err(StoreError::io("write", &path))?;
        file.persist(&path).map_err(|e| StoreError::io("rename a file to", &path)(e.error))?;
        Ok(())
    }

    /// Lets one process at a time work on what will be remembered in `bucket` under `key`; waits for its turn.
    /// [`Self::memo`] does this itself.
    ///
    /// # Errors
    /// When the lock file cannot be opened or locked.
    pub fn lock_key(&self, bucket: Bucket, key: &impl Named) -> Result<KeyLock, StoreError> {
        let folder = self.bucket(bucket);
        own::folder(&folder)?;
        let path = folder.join(format!("{}.lock", key.name().hex()));
        loop {
            let file = own::lock_file(&path)?;
            file.lock().map_err(StoreError::io("lock", &path))?;
            // The one before removes the file when it is done.
            let id = |meta: fs::Metadata| (meta.dev(), meta.ino());
            let opened = file.metadata().map(id).map_err(StoreError::io("read", &path))?;
            if path.symlink_metadata().is_ok_and(|named| id(named) == opened) {
                return Ok(KeyLock { path, _file: file });
            }
        }
    }

    /// Removes the memos whose last use satisfies `unused`; how many, and the bytes that this freed.
    ///
    /// # Errors
    /// When they cannot be read or removed.
    pub fn forget(&self, unused: impl Fn(SystemTime) -> bool) -> Result<(u64, u64), StoreError> {
        let (mut count, mut freed) = (0, 0);
        for bucket in own::entries(&self.root.join("memo"))? {
            for path in own::entries(&bucket)? {
                let meta = match path.symlink_metadata() {
                    // A lock that its holder has removed meanwhile.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    meta => meta.map_err(StoreError::io("read", &path))?,
                };
                if unused(used(&meta)) {
                    fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
                    count += u64::from(path.extension().is_none());
                    freed += meta.len();
                }
            }
        }
        Ok((count, freed))
    }

    fn bucket(&self, bucket: Bucket) -> PathBuf {
        self.root.join("memo").join(bucket.name())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        sync::atomic::{AtomicU32, Ordering},
    };

    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(dir.path()).expect("a store");
        (dir, store)
    }

    fn made(value: u32) -> impl FnOnce() -> Result<u32, StoreError> {
        move || Ok(value)
    }

    #[test]
    fn a_memo_is_made_once_and_again_when_it_is_of_no_use() {
        let (_dir, store) = store();
        let key = Key::new().text("what", "a");
        let memo = |usable: bool, value| store.memo(Bucket::Apps, &key, move |_| usable, made(value)).expect("a memo");
        assert_eq!(memo(false, 1), Memo { value: 1, cached: false });
        assert_eq!(memo(true, 2), Memo { value: 2, cached: false }, "what is of no use is not remembered");
        assert_eq!(memo(true, 3), Memo { value: 2, cached: true });
        assert_eq!(memo(false, 4), Memo { value: 4, cached: false });
        assert_eq!(store.recall::<u32>(Bucket::Apps, &key), Some(2));
        assert_eq!(store.recall::<u32>(Bucket::Systems, &key), None, "each bucket is its own");
        assert_eq!(store.recall::<String>(Bucket::Apps, &key), None, "another type");
        let names: Vec<_> = fs::read_dir(store.bucket(Bucket::Apps)).expect("the bucket").flatten().collect();
        assert_eq!(names.len(), 1, "no lock is left");
        assert_eq!(store.forget(|_| false).expect("forget"), (0, 0));
        assert_eq!(store.forget(|_| true).expect("forget"), (1, 1));
        assert_eq!(store.recall::<u32>(Bucket::Apps, &key), None);
    }

    #[test]
    fn a_failure_is_not_remembered() {
        let (_dir, store) = store();
        let key = Key::new();
        let fail = || Err(StoreError::io("make", "it".as_ref())(io::Error::other("no")));
        store.memo::<u32, StoreError>(Bucket::Apps, &key, |_| true, fail).expect_err("it fails");
        assert_eq!(store.memo(Bucket::Apps, &key, |_| true, made(1)).expect("a memo").value, 1);
    }

    #[test]
    fn of_several_that_want_the_same_one_works() {
        let (_dir, store) = store();
        let (key, works) = (Key::new().text("what", "a"), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let make = || {
                        std::thread::sleep(std::time::Duration::from_millis(20));
                        Ok::<_, StoreError>(works.fetch_add(1, Ordering::SeqCst) + 7)
                    };
                    assert_eq!(store.memo(Bucket::Apps, &key, |_| true, make).expect("a memo").value, 7);
                });
            }
        });
        assert_eq!(works.into_inner(), 1);
    }

    #[test]
    fn keys_differ_when_any_field_does() {
        let none: [&str; 0] = [];
        let keys = [
            Key::new(),
            Key::new().text("a", ""),
            Key::new().text("a", "b"),
            Key::new().text("ab", ""),
            Key::new().text("a", "").text("b", ""),
            Key::new().text("b", "").text("a", ""),
            Key::new().option("a", None::<&str>),
            Key::new().option("a", Some("")),
            Key::new().list("a", none).list("b", ["c"]),
            Key::new().list("a", ["c"]).list("b", none),
            Key::new().list("a", ["b", "c"]),
            Key::new().list("a", ["bc"]),
            Key::new().list("a", ["b c"]),
            Key::new().pairs("a", [("b", "c")]),
            Key::new().pairs("a", [("c", "b")]),
            Key::new().nested("a", &Key::new()),
            Key::new().nested("a", &Key::new().text("b", "c")),
            Key::new().nested_list("a", [Key::new()]),
            Key::new().nested_list("a", [Key::new(), Key::new()]),
        ];
        let digests: BTreeSet<_> = keys.iter().map(Key::digest).collect();
        assert_eq!(digests.len(), keys.len());
        let key = Key::new().text("command", "npm ci").list("files", ["a", "b"]).pairs("env", [("A", 1)]);
        let expected = "sha256:8cbd057de417525d0f3e253c9d4bb0ea3196cbbf52148b90f0d6a7f9bcaaa36b";
        assert_eq!(key.digest().to_string(), expected, "the same on every machine");
    }

    #[test]
    fn buckets_have_names_of_their_own() {
        use Bucket as B;
        let all = [
            B::Indexes,
            B::MissingIndexes,
            B::Packages,
            B::Signatures,
            B::AlpineSolutions,
            B::DebianSolutions,
            B::Systems,
            B::Apps,
            B::Steps,
            B::StepLayers,
            B::LayerFiles,
            B::Starts,
            B::PushedBlobs,
            B::ImageNames,
            B::Roots,
        ];
        let names: BTreeSet<_> = all.iter().map(|bucket| bucket.name()).collect();
        assert_eq!(names.len(), all.len());
        assert!(names.iter().all(|name| name.rsplit_once("-v").is_some_and(|(_, v)| v.parse::<u32>().is_ok())));
    }
}
