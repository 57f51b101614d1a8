//! OCI image layouts on disk (OCI image specification, "Image Layout"): the folder that skopeo, podman, umoci and
//! buildah call `oci:DIR`. The local images are one, and `-o oci:DIR` writes one.
//!
//! ```text
//! DIR/  oci-layout  index.json  blobs/sha256/HEX
//! ```
//!
//! A layout is never seen half-written: blobs come first, each renamed into place when it is whole; then `index.json`
//! is replaced as a whole. A process that works on it locks the file `oci-layout`, which is never replaced: writers
//! share the lock while they bring their blobs, and hold it alone while they change the index or remove blobs.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    digest::Digest,
    error::{Explain, Kind},
    image::{Artifact, Document, INDEX, Image},
    layer::Layer,
    store::{Blob, BlobDir, StoreError, replace_file, shared_file},
    ui::{self, Ui},
};

mod read;

pub use read::{Entry, Selector};

/// The annotation of an `index.json` entry that gives its name (OCI image specification, "Pre-Defined Annotation
/// Keys").
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The contents of the file `oci-layout`.
pub(crate) const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// How the blobs of an image get into a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// As files of their own, which their owner may change: for a user's layouts.
    Copy,
    /// As hard links into the store where there is one already: for the program's own layout.
    Link,
}

/// What can go wrong with a layout.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A blob could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file or folder of the layout cannot be used.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// `read`, `lock`, …
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The bytes of a layer could be neither read nor made.
    #[error("cannot read layer `{title}` ({digest}): {source}")]
    Content {
        /// The layer's title.
        title: String,
        /// Its digest.
        digest: Digest,
        /// Why.
        source: io::Error,
    },
    /// A folder that is in use for something else.
    #[error("expected an OCI image layout or an empty folder at {}, found a folder with `{found}` in it", path.display())]
    NotALayout {
        /// The folder.
        path: PathBuf,
        /// One of the names in it.
        found: String,
    },
    /// There is not a layout.
    #[error("expected an OCI image layout at {}, found no file `oci-layout` in it", .0.display())]
    Missing(PathBuf),
    /// A document of the layout does not say what it must.
    #[error("cannot understand {}: {why}", path.display())]
    Unreadable {
        /// The document.
        path: PathBuf,
        /// What was expected and what was found.
        why: String,
    },
    /// No image has that name.
    #[error("no image `{name}` in {}", path.display())]
    NoSuchName {
        /// The requested name.
        name: String,
        /// The layout.
        path: PathBuf,
        /// The name that may have been meant.
        near: Option<String>,
        /// All names.
        known: Vec<String>,
    },
    /// No name was given, and there is not exactly one image.
    #[error("expected one image in {}, found {}", path.display(), known.len())]
    NotOne {
        /// The layout.
        path: PathBuf,
        /// What is there, by name or digest.
        known: Vec<String>,
    },
    /// The index names a blob that is not here.
    #[error("{what} ({digest}, {size} bytes) is missing in {}", path.display())]
    NoBlob {
        /// What the blob is.
        what: String,
        /// Its digest.
        digest: Digest,
        /// The size that the blob should have.
        size: u64,
        /// The layout.
        path: PathBuf,
    },
}

impl LayoutError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// The names as a sentence lists them: all, or the first few.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut text = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text += &format!(" and {} more", names.len() - SHOWN);
    }
    text
}

impl Explain for LayoutError {
    fn kind(&self) -> Kind {
        match self {
            Self::Store(e) => e.kind(),
            Self::Io { .. } | Self::Content { .. } | Self::Unreadable { .. } | Self::NoBlob { .. } => Kind::Build,
            Self::NotALayout { .. } | Self::Missing(_) | Self::NoSuchName { .. } | Self::NotOne { .. } => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(StoreError::Io { source, .. }) | Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    Some("name a folder that you may write to".into())
                }
                io::ErrorKind::StorageFull => {
                    Some("the disk is full: `microbuild gc` frees what no local image needs".into())
                }
                io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                    Some("a file stands where a folder must be: name another folder".into())
                }
                // The message has what the system said.
                _ => None,
            },
            Self::Store(error @ StoreError::Alien { .. }) => error.hint(),
            Self::Store(StoreError::Digest { .. }) => {
                Some("what is stored of the image is damaged: `microbuild gc --all`, then build it again".into())
            }
            Self::NotALayout { .. } => Some("name a folder of its own, which may not exist yet".into()),
            Self::Missing(_) => Some("`-o oci:DIR` makes one".into()),
            Self::NoSuchName { near: Some(near), .. } => Some(format!("did you mean `{near}`?")),
            Self::NoSuchName { known, .. } if !known.is_empty() => Some(format!("there are {}", listed(known))),
            Self::NotOne { known, .. } if !known.is_empty() => Some(format!("name one of {}", listed(known))),
            Self::NoBlob { .. } => Some("build or copy the image again".into()),
            Self::Content { .. } | Self::Unreadable { .. } | Self::NoSuchName { .. } | Self::NotOne { .. } => None,
        }
    }
}

/// A layout, which exists.
#[derive(Debug, Clone)]
pub struct Layout {
    blobs: BlobDir,
}

/// Held while a layout is in use: its blobs stay.
#[must_use = "the lock is held for as long as this value lives"]
pub struct LayoutLock {
    _file: Option<File>,
}

impl Layout {
    /// The layout that is at `dir`.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(dir: &Path) -> Result<Self, LayoutError> {
        if !dir.join("oci-layout").is_file() {
            return Err(LayoutError::Missing(dir.to_owned()));
        }
        Ok(Self { blobs: BlobDir::layout(dir) })
    }

    /// The layout at `dir`; an empty one is made where there is none.
    ///
    /// # Errors
    /// When it cannot be made, or `dir` holds something else.
    pub fn create(dir: &Path) -> Result<Self, LayoutError> {
        let layout = Self { blobs: BlobDir::layout(dir) };
        layout.furnish()?;
        Ok(layout)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.blobs.root()
    }

    fn index_path(&self) -> PathBuf {
        self.dir().join("index.json")
    }

    fn marker_path(&self) -> PathBuf {
        self.dir().join("oci-layout")
    }

    /// Makes what an empty layout has and this one lacks. Any number of processes may do so at once.
    fn furnish(&self) -> Result<(), LayoutError> {
        let exists = self.marker_path().is_file();
        if !exists && let Some(found) = stranger(self.dir()) {
            return Err(LayoutError::NotALayout { path: self.dir().to_owned(), found });
        }
        // Git, which knows no empty folders, may have lost these of an empty layout.
        let blobs = self.dir().join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(LayoutError::io("create", &blobs))?;
        if exists {
            return Ok(());
        }
        // The marker comes last: where it is, the rest is.
        for (path, bytes) in [(self.index_path(), index_json(&[])), (self.marker_path(), MARKER.to_vec())] {
            let made = shared_file(".init-", self.dir()).and_then(|mut file| {
                file.write_all(&bytes)?;
                file.as_file().sync_data()?;
                match file.persist_noclobber(&path) {
                    // Unless another process made it meanwhile, and perhaps swept what this one was about to rename.
                    Err(e) if !path.is_file() => Err(e.error),
                    _ => Ok(()),
                }
            });
            made.map_err(LayoutError::io("create", &path))?;
        }
        Ok(())
    }

    /// Says that this process reads or adds blobs: none is removed meanwhile.
    ///
    /// # Errors
    /// When the layout is gone or cannot be locked.
    pub fn lock_shared(&self) -> Result<LayoutLock, LayoutError> {
        self.lock(File::lock_shared)
    }

    fn lock(&self, how: impl Fn(&File) -> io::Result<()>) -> Result<LayoutLock, LayoutError> {
        let path = self.marker_path();
        loop {
            // Locks on NFS ask for a file that is open for writing; a layout that is only read may be read-only.
            let opened = File::options().read(true).write(true).open(&path).or_else(|_| File::open(&path));
            let file = opened.map_err(LayoutError::io("open", &path))?;
            match how(&file) {
                Ok(()) if is_still(&file, &path) => return Ok(LayoutLock { _file: Some(file) }),
                // Another process removed the layout that it had begun, while this one waited.
                Ok(()) => self.furnish()?,
                // A file system without locks: no worse than other tools, which never lock.
                Err(e) if e.kind() == io::ErrorKind::Unsupported => return Ok(LayoutLock { _file: None }),
                Err(e) => return Err(LayoutError::io("lock", &path)(e)),
            }
        }
    }

    /// Adds `artifact` under each of `names` (or as the one image without a name), in the place of what had that name.
    /// The digests of the blobs that were not here before.
    ///
    /// # Errors
    /// When a blob can be neither read nor written: then the layout is what it was.
    pub fn add(
        &self,
        artifact: &Artifact,
        names: &[String],
        how: Transfer,
        ui: &Ui,
    ) -> Result<BTreeSet<Digest>, LayoutError> {
        let mut added = BTreeSet::new();
        let result = self.add_inner(artifact, names, how, ui, &mut added);
        if result.is_err() {
            self.withdraw(&added);
        }
        result.map(|()| added)
    }

    fn add_inner(
        &self,
        artifact: &Artifact,
        names: &[String],
        how: Transfer,
        ui: &Ui,
        added: &mut BTreeSet<Digest>,
    ) -> Result<(), LayoutError> {
        let shared = loop {
            self.furnish()?;
            match self.lock_shared() {
                // As in `lock`: another process removed what it had begun.
                Err(LayoutError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                locked => break locked?,
            }
        };
        self.put_blobs(artifact, how, ui, added)?;
        drop(shared);
        let _alone = self.lock(File::lock)?;
        // Between the two locks another process may have removed blobs that no entry needed yet.
        self.put_blobs(artifact, how, ui, added)?;
        self.sweep();
        let mut index = self.index()?;
        index.name(artifact, names);
        replace_file(&self.index_path(), &index.into_json())?;
        Ok(())
    }

    fn put_blobs(
        &self,
        artifact: &Artifact,
        how: Transfer,
        ui: &Ui,
        added: &mut BTreeSet<Digest>,
    ) -> Result<(), LayoutError> {
        for image in &artifact.images {
            for layer in &image.layers {
                if self.put_layer(layer, how, ui)? {
                    added.insert(layer.digest);
                }
            }
        }
        for document in documents(artifact) {
            if !self.blobs.contains(&document.digest, document.bytes.len() as u64) {
                self.blobs.put(&document.bytes)?;
                added.insert(document.digest);
            }
        }
        Ok(())
    }

    /// Puts the layer's blob here; whether it was missing.
    fn put_layer(&self, layer: &Layer, how: Transfer, ui: &Ui) -> Result<bool, LayoutError> {
        if self.blobs.contains(&layer.digest, layer.size) {
            return Ok(false);
        }
        match (layer.content.path(), how) {
            (Some(path), Transfer::Link) => self.blobs.link(&layer.digest, layer.size, &path)?,
            (Some(path), Transfer::Copy) => self.blobs.copy(&layer.digest, layer.size, &path)?,
            (None, _) => {
                let mut writer = self.blobs.writer()?;
                let path = self.blobs.path(&layer.digest);
                let task = ui.task(&layer.title, Some(layer.size));
                copy_layer(layer, &mut writer, &task, LayoutError::io("write", &path))?;
                writer.finish_as(&layer.digest, &format!("layer `{}`", layer.title))?;
            }
        }
        Ok(true)
    }

    /// Takes back what an [`add`](Self::add) that failed had brought, unless another process is at work here: their
    /// next [`collect`](Self::collect) does it then.
    fn withdraw(&self, added: &BTreeSet<Digest>) {
        let Ok(_alone) = self.lock(|file| file.try_lock().map_err(io::Error::from)) else { return };
        let Ok(index) = self.index() else { return };
        let Ok(needed) = self.needed(&index) else { return };
        self.sweep();
        for digest in added.difference(&needed) {
            // A blob that stays is no harm: nothing names it.
            let _ = self.blobs.remove(digest);
        }
        if index.is_empty() && self.blobs.list().is_ok_and(|blobs| blobs.is_empty()) {
            self.dismantle();
        }
    }

    /// Removes an empty layout; stops where it finds something that it does not know.
    fn dismantle(&self) {
        let blobs = self.dir().join("blobs");
        let _ = fs::remove_dir(blobs.join("sha256"))
            .and_then(|()| fs::remove_dir(&blobs))
            .and_then(|()| fs::remove_file(self.index_path()))
            .and_then(|()| fs::remove_file(self.marker_path()))
            .and_then(|()| fs::remove_dir(self.dir()));
    }

    /// Removes the entry named `name`, and the blobs that no other entry needs; the bytes that this freed. `None` when
    /// there is no such entry.
    ///
    /// # Errors
    /// When the index cannot be read or replaced, or a blob cannot be removed.
    pub fn remove(&self, name: &str) -> Result<Option<u64>, LayoutError> {
        let _alone = self.lock(File::lock)?;
        let mut index = self.index()?;
        if !index.forget(name) {
            return Ok(None);
        }
        let needed = self.needed(&index)?;
        replace_file(&self.index_path(), &index.into_json())?;
        self.keep_only(&needed).map(|(_, freed)| Some(freed))
    }

    /// The digests of the blobs that are here.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn blobs(&self) -> Result<BTreeSet<Digest>, LayoutError> {
        Ok(self.blobs.list()?.into_iter().map(|blob| blob.digest).collect())
    }

    /// Removes the blobs that no entry needs, and what killed processes left; how many blobs, and the bytes that this
    /// freed.
    ///
    /// # Errors
    /// When an entry cannot be read (what it needs is unknown then, and nothing is removed), or a blob cannot be
    /// removed.
    pub fn collect(&self) -> Result<(u64, u64), LayoutError> {
        let _alone = self.lock(File::lock)?;
        let needed = self.needed(&self.index()?)?;
        let (removed, freed) = self.keep_only(&needed)?;
        Ok((removed, freed + self.sweep()))
    }

    /// Removes what killed processes left; the bytes that this freed. Only for the holder of the exclusive lock: no
    /// other process is writing.
    fn sweep(&self) -> u64 {
        for entry in fs::read_dir(self.dir()).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(is_temporary) {
                // What stays is swept the next time.
                let _ = fs::remove_file(entry.path());
            }
        }
        self.blobs.sweep_older_than(Duration::ZERO)
    }

    fn keep_only(&self, needed: &BTreeSet<Digest>) -> Result<(u64, u64), LayoutError> {
        let (mut removed, mut freed) = (0, 0);
        for Blob { digest, size, .. } in self.blobs.list()? {
            if !needed.contains(&digest) {
                freed += if is_last_link(&self.blobs.path(&digest)) { size } else { 0 };
                self.blobs.remove(&digest)?;
                removed += 1;
            }
        }
        Ok((removed, freed))
    }
}

/// The documents of `artifact`, what is referred to before what refers to it.
pub(crate) fn documents(artifact: &Artifact) -> impl Iterator<Item = &Document> {
    let images = artifact.images.iter();
    images.flat_map(|image: &Image| [&image.config, &image.manifest]).chain(&artifact.index)
}

/// Copies the bytes of `layer` to `to`. They are as many as it says; whether they have its digest is for the caller to
/// check.
///
/// # Errors
/// [`LayoutError::Content`] when they cannot be read or are more or fewer; what `unwritable` makes of it when `to`
/// fails.
pub(crate) fn copy_layer<E: From<LayoutError>>(
    layer: &Layer,
    to: &mut dyn Write,
    task: &ui::Task,
    unwritable: impl FnOnce(io::Error) -> E,
) -> Result<(), E> {
    let unreadable = |source| LayoutError::Content { title: layer.title.clone(), digest: layer.digest, source };
    let mut from = layer.content.open().map_err(unreadable)?;
    let mut buffer = vec![0; 128 * 1024];
    let mut copied = 0;
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) if copied == layer.size => return Ok(()),
            Ok(n) if n > 0 && copied + n as u64 <= layer.size => n,
            Ok(n) => {
                let found = copied + n as u64;
                let word = if n == 0 { "" } else { " or more" };
                let why = format!("expected {} bytes, found {found}{word}", layer.size);
                return Err(unreadable(io::Error::other(why)).into());
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(unreadable(e).into()),
        };
        if let Err(e) = to.write_all(&buffer[..n]) {
            return Err(unwritable(e));
        }
        copied += n as u64;
        task.inc(n as u64);
    }
}

/// `index.json` with these entries: canonical, sorted keys.
pub(crate) fn index_json(entries: &[Value]) -> Vec<u8> {
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }).to_string().into_bytes()
}

/// The entry of `index.json` that names `artifact` with these annotations.
pub(crate) fn descriptor(artifact: &Artifact, annotations: &[(&str, &str)]) -> Value {
    let root = artifact.root();
    let mut entry =
        json!({ "mediaType": root.media_type, "digest": root.digest.to_string(), "size": root.bytes.len() });
    if let (None, [image]) = (&artifact.index, &artifact.images[..]) {
        entry["platform"] = json!({ "os": image.platform.os, "architecture": image.platform.architecture });
        if let Some(variant) = &image.platform.variant {
            entry["platform"]["variant"] = json!(variant);
        }
    }
    if !annotations.is_empty() {
        entry["annotations"] = annotations.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    }
    entry
}

/// Whether a file of this name is one that [`Layout::furnish`] or [`replace_file`] was about to rename.
fn is_temporary(name: &str) -> bool {
    name.starts_with(".init-") || name.starts_with(".new-")
}

/// A name in the folder `dir` that no layout has and no process making one leaves behind.
fn stranger(dir: &Path) -> Option<String> {
    let known = |name: &str| ["blobs", "index.json", "oci-layout", "lost+found"].contains(&name) || is_temporary(name);
    let names = fs::read_dir(dir).ok()?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| !known(name)).min()
}

/// Whether `path` still leads to the open `file`.
#[cfg(unix)]
fn is_still(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let id = |meta: fs::Metadata| (meta.dev(), meta.ino());
    matches!((file.metadata().map(id), fs::metadata(path).map(id)), (Ok(a), Ok(b)) if a == b)
}

#[cfg(not(unix))]
fn is_still(_: &File, path: &Path) -> bool {
    path.exists()
}

/// Whether removing the file `path` frees its bytes.
#[cfg(unix)]
pub(crate) fn is_last_link(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::symlink_metadata(path).is_ok_and(|meta| meta.nlink() == 1)
}

#[cfg(not(unix))]
pub(crate) fn is_last_link(_: &Path) -> bool {
    true
}
