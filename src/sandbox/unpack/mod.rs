//! Layers unpacked into a folder (OCI image specification, "Image Layer Filesystem Changeset"): a function over
//! readers, which trusts nothing that it reads.
//!
//! Nothing is written through a symbolic link, nor outside the folder. Folders get their modes when everything is in
//! them, so that those which may not be written are no obstacle. Owners and file capabilities are set by real root
//! only; any other user owns what is unpacked, without setuid bits. Devices and pipes are left out: a container gets
//! its own `/dev`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fs::{self, File, FileTimes},
    io::{self, BufReader, Read},
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, fchown, lchown, symlink},
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use flate2::read::MultiGzDecoder;
use tar::EntryType;

use crate::{
    digest::{Digest, Hashing},
    error::{Explain, Kind},
    layer::Layer,
    media::XATTR,
    store::{StoreError, folders::remove_tree},
};

/// How names of deleted files begin ("Whiteouts").
const WHITEOUT: &[u8] = b".wh.";
/// What says that nothing of the layers below is left in a folder ("Opaque Whiteout").
const OPAQUE: &[u8] = b".wh..wh..opq";
/// How names begin that engines once used for themselves.
const RESERVED: &[u8] = b".wh..wh.";
/// Modes of folders for as long as they are filled.
const OPEN: u32 = 0o700;

/// Why layers are not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The layer cannot be read.
    #[error("layer {layer}: {source}")]
    Read {
        /// The layer's title.
        layer: String,
        /// Why.
        source: io::Error,
    },
    /// A file of the layer cannot be written.
    #[error("layer {layer}: cannot write {}: {source}", path.display())]
    Write {
        /// The layer's title.
        layer: String,
        /// The file, below the root.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A member would be written where it must not.
    #[error("layer {layer}: expected a path that stays in the root, found {}, which {why}", path.display())]
    Unsafe {
        /// The layer's title.
        layer: String,
        /// The member's path as it stands there.
        path: PathBuf,
        /// `leads out of it`, `lies behind the link bin`, …
        why: String,
    },
    /// The layer is another one than the image's configuration says.
    #[error("layer {layer}: expected the diff_id {expected}, found {found}")]
    DiffId {
        /// The layer's title.
        layer: String,
        /// What the configuration says.
        expected: Digest,
        /// What the bytes have.
        found: Digest,
    },
    /// The bytes are packed in a way that is not known here.
    #[error("layer {layer}: expected a tar, alone or packed by gzip or zstd, found {media_type}")]
    MediaType {
        /// The layer's title.
        layer: String,
        /// Its media type.
        media_type: String,
    },
    /// Something cannot be removed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Explain for UnpackError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } | Self::Write { .. } | Self::MediaType { .. } => Kind::Build,
            Self::Unsafe { .. } | Self::DiffId { .. } => Kind::Unverified,
            Self::Store(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => Some(
                "the disk is full: `microbuild gc` frees what no local image needs, --cache-dir names another disk"
                    .into(),
            ),
            Self::DiffId { .. } => {
                Some("build or fetch the image again; `microbuild gc --all` empties the store".into())
            }
            Self::Store(e) => e.hint(),
            Self::Unsafe { .. } => {
                Some("the layer would write outside of its root: run only images whose origin you trust".into())
            }
            Self::MediaType { .. } => Some("layers are plain tars, or compressed by gzip or zstd".into()),
            Self::Read { .. } | Self::Write { .. } => None,
        }
    }
}

/// What a member's own error is before its layer is known.
enum Fault {
    Read(io::Error),
    Write(PathBuf, io::Error),
    Unsafe(PathBuf, String),
    Store(StoreError),
}

impl Fault {
    fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Write(path, source)
    }

    fn of(self, layer: &str) -> UnpackError {
        let layer = layer.to_owned();
        match self {
            Self::Read(source) => UnpackError::Read { layer, source },
            Self::Write(path, source) => UnpackError::Write { layer, path, source },
            Self::Unsafe(path, why) => UnpackError::Unsafe { layer, path, why },
            Self::Store(e) => UnpackError::Store(e),
        }
    }
}

/// What is set on a file or folder, apart from its content.
#[derive(Debug, Default)]
struct Attributes {
    mode: u32,
    owner: (u32, u32),
    modified: u64,
    xattrs: Vec<(OsString, Vec<u8>)>,
}

/// A folder that is being filled from layers, from the lowest to the uppermost.
pub struct Unpacker {
    root: PathBuf,
    /// Whether owners are set.
    owners: bool,
    /// The folders that layers name; what they are to get at the end.
    folders: BTreeMap<PathBuf, Attributes>,
    /// Paths that the present layer has brought: its whiteouts do not reach them.
    fresh: BTreeSet<PathBuf>,
    /// The folder last found to be one, with all above it.
    checked: Option<PathBuf>,
}

impl Unpacker {
    /// Fills the folder `root`, which is there and empty; `owners` sets owners, which only real root may.
    pub fn new(root: &Path, owners: bool) -> Self {
        // The root itself, which few layers name.
        let folders = BTreeMap::from([(PathBuf::new(), Attributes { mode: 0o755, ..Attributes::default() })]);
        Self { root: root.to_owned(), owners, folders, fresh: BTreeSet::new(), checked: None }
    }

    /// Applies `layer` to what is there; `read` gets the number of bytes that were read of it since its last call.
    ///
    /// # Errors
    /// When it cannot be read or written, would write outside, or is not the one that it says: then the folder is worth
    /// nothing.
    pub fn layer(&mut self, layer: &Layer, read: impl FnMut(u64)) -> Result<(), UnpackError> {
        let title = &layer.title;
        let failed = |source| UnpackError::Read { layer: title.clone(), source };
        let packed = layer.content.open().map_err(failed)?;
        let unknown = || UnpackError::MediaType { layer: title.clone(), media_type: layer.media_type.clone() };
        let tar =
            decompress(&layer.media_type, Counted { inner: packed, read }).map_err(failed)?.ok_or_else(unknown)?;
        let found = self.tar(tar).map_err(|fault| fault.of(title))?;
        if found != layer.diff_id {
            return Err(UnpackError::DiffId { layer: title.clone(), expected: layer.diff_id, found });
        }
        Ok(())
    }

    /// Applies a layer's tar; its digest.
    fn tar(&mut self, tar: impl Read) -> Result<Digest, Fault> {
        self.fresh.clear();
        let mut archive = tar::Archive::new(Hashing::new(tar));
        for member in archive.entries().map_err(Fault::Read)? {
            self.member(member.map_err(Fault::Read)?)?;
        }
        let mut rest = archive.into_inner();
        io::copy(&mut rest, &mut io::sink()).map_err(Fault::Read)?;
        Ok(rest.finish().0)
    }

    fn member(&mut self, mut member: tar::Entry<impl Read>) -> Result<(), Fault> {
        let path = inside(&member.path_bytes())?;
        let attributes = attributes(&mut member, self.owners).map_err(Fault::Read)?;
        let Some(name) = path.file_name().map(OsStr::as_bytes) else {
            if member.header().entry_type() == EntryType::Directory {
                self.folders.insert(path, attributes);
            }
            return Ok(());
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        if name == OPAQUE {
            return self.clear(folder);
        }
        if name.starts_with(RESERVED) {
            return Ok(());
        }
        if let Some(deleted) = name.strip_prefix(WHITEOUT) {
            if matches!(deleted, b"" | b"." | b"..") {
                return Err(Fault::Unsafe(path.clone(), "deletes no file".into()));
            }
            return self.delete(&folder.join(OsStr::from_bytes(deleted)));
        }
        match member.header().entry_type() {
            EntryType::Directory => self.folder(&path, attributes)?,
            EntryType::Symlink => self.symlink(&path, &link_name(&member)?, &attributes)?,
            EntryType::Link => self.hard_link(&path, &inside(&link_name(&member)?)?)?,
            kind if kind.is_file() || kind == EntryType::Continuous || kind == EntryType::GNUSparse => {
                self.file(&path, &mut member, &attributes)?;
            }
            _ => return Ok(()),
        }
        self.fresh.insert(path);
        Ok(())
    }

    fn real(&self, path: &Path) -> PathBuf {
        self.root.join(path)
    }

    /// Makes sure that `folder` is a folder, and so is all above it; what is missing is made.
    fn parents(&mut self, path: &Path) -> Result<(), Fault> {
        let folder = path.parent().unwrap_or(Path::new(""));
        if self.checked.as_deref() == Some(folder) {
            return Ok(());
        }
        let mut at = PathBuf::new();
        for part in folder {
            at.push(part);
            match kind_of(&self.real(&at)).map_err(Fault::write(&at))? {
                Some(kind) if kind.is_dir() => {}
                Some(kind) if kind.is_symlink() => {
                    return Err(Fault::Unsafe(path.to_owned(), format!("lies behind the link {}", at.display())));
                }
                Some(_) => {
                    return Err(Fault::Unsafe(path.to_owned(), format!("lies below {}, no folder", at.display())));
                }
                None => {
                    let attributes = Attributes { mode: 0o755, ..Attributes::default() };
                    self.make(&at, attributes)?;
                }
            }
        }
        self.checked = Some(folder.to_owned());
        Ok(())
    }

    fn make(&mut self, path: &Path, attributes: Attributes) -> Result<(), Fault> {
        fs::DirBuilder::new().mode(OPEN).create(self.real(path)).map_err(Fault::write(path))?;
        self.folders.insert(path.to_owned(), attributes);
        Ok(())
    }

    fn folder(&mut self, path: &Path, attributes: Attributes) -> Result<(), Fault> {
        self.parents(path)?;
        if kind_of(&self.real(path)).map_err(Fault::write(path))?.is_some_and(|kind| kind.is_dir()) {
            self.folders.insert(path.to_owned(), attributes);
            return Ok(());
        }
        self.remove(path)?;
        self.make(path, attributes)
    }

    fn file(&mut self, path: &Path, content: &mut impl Read, attributes: &Attributes) -> Result<(), Fault> {
        self.place(path)?;
        let failed = || Fault::write(path);
        let mut file =
            File::options().write(true).create_new(true).mode(0o600).open(self.real(path)).map_err(failed())?;
        copy(content, &mut file, path)?;
        if self.owners {
            fchown(&file, Some(attributes.owner.0), Some(attributes.owner.1)).map_err(failed())?;
        }
        set_xattrs(&file, &attributes.xattrs);
        // After the owner: a change of that takes setuid bits away.
        file.set_permissions(fs::Permissions::from_mode(attributes.mode)).map_err(failed())?;
        file.set_times(times(attributes.modified)).map_err(failed())
    }

    fn symlink(&mut self, path: &Path, target: &[u8], attributes: &Attributes) -> Result<(), Fault> {
        self.place(path)?;
        let real = self.real(path);
        symlink(OsStr::from_bytes(target), &real).map_err(Fault::write(path))?;
        if self.owners {
            lchown(&real, Some(attributes.owner.0), Some(attributes.owner.1)).map_err(Fault::write(path))?;
        }
        Ok(())
    }

    fn hard_link(&mut self, path: &Path, target: &Path) -> Result<(), Fault> {
        if path == target {
            return Ok(());
        }
        self.parents(target)?;
        match kind_of(&self.real(target)).map_err(Fault::write(path))? {
            Some(kind) if kind.is_dir() => {
                return Err(Fault::Unsafe(
                    path.to_owned(),
                    format!("is another name of the folder {}", target.display()),
                ));
            }
            Some(_) => {}
            None => {
                let why = format!("is another name of {}, which is not there", target.display());
                return Err(Fault::Unsafe(path.to_owned(), why));
            }
        }
        self.place(path)?;
        fs::hard_link(self.real(target), self.real(path)).map_err(Fault::write(path))
    }

    /// Makes room for a file at `path`.
    fn place(&mut self, path: &Path) -> Result<(), Fault> {
        self.parents(path)?;
        self.remove(path)
    }

    /// Removes what is at `path`, whose folder has been checked.
    fn remove(&mut self, path: &Path) -> Result<(), Fault> {
        let real = self.real(path);
        match kind_of(&real).map_err(Fault::write(path))? {
            None => return Ok(()),
            Some(kind) if kind.is_dir() => {
                remove_tree(&real).map_err(Fault::Store)?;
                self.folders.retain(|folder, _| !folder.starts_with(path));
                self.checked = None;
            }
            Some(_) => fs::remove_file(&real).map_err(Fault::write(path))?,
        }
        Ok(())
    }

    /// Removes what lower layers have at `path`.
    fn delete(&mut self, path: &Path) -> Result<(), Fault> {
        let brought = self.fresh.range(path.to_owned()..).next().is_some_and(|fresh| fresh.starts_with(path));
        if !self.reaches(path)? {
            return Ok(());
        }
        if !brought {
            return self.remove(path);
        }
        if kind_of(&self.real(path)).map_err(Fault::write(path))?.is_some_and(|kind| kind.is_dir()) {
            return self.clear(path);
        }
        Ok(())
    }

    /// Removes what lower layers have in the folder `path`.
    fn clear(&mut self, path: &Path) -> Result<(), Fault> {
        if !self.reaches(&path.join("x"))? {
            return Ok(());
        }
        let real = self.real(path);
        if !kind_of(&real).map_err(Fault::write(path))?.is_some_and(|kind| kind.is_dir()) {
            return Ok(());
        }
        for entry in fs::read_dir(&real).map_err(Fault::write(path))? {
            let name = entry.map_err(Fault::write(path))?.file_name();
            self.delete(&path.join(name))?;
        }
        Ok(())
    }

    /// Whether all above `path` are folders: what is to be deleted must not lie behind a link.
    fn reaches(&self, path: &Path) -> Result<bool, Fault> {
        let mut at = PathBuf::new();
        for part in path.parent().unwrap_or(Path::new("")) {
            at.push(part);
            match kind_of(&self.real(&at)).map_err(Fault::write(path))? {
                Some(kind) if kind.is_dir() => {}
                Some(kind) if kind.is_symlink() => {
                    return Err(Fault::Unsafe(path.to_owned(), format!("lies behind the link {}", at.display())));
                }
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Makes a place for something to be mounted at, where there is none: a folder, or an empty file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn mount_point(&mut self, path: &str, is_file: bool) -> Result<(), UnpackError> {
        self.try_mount_point(path, is_file).map_err(|fault| fault.of("mount points"))
    }

    fn try_mount_point(&mut self, path: &str, is_file: bool) -> Result<(), Fault> {
        let path = inside(path.trim_start_matches('/').as_bytes())?;
        let real = self.real(&path);
        let there = kind_of(&real).map_err(Fault::write(&path))?;
        match there {
            // What a link leads to may be missing, or lie on another mount; a file is covered as a whole.
            Some(kind) if is_file && kind.is_symlink() => {}
            Some(_) => return Ok(()),
            None if super::paths::resolve(&self.root, &path).is_some() => return Ok(()),
            None => {}
        }
        self.fresh.clear();
        let attributes = |mode| Attributes { mode, modified: 0, ..Attributes::default() };
        if is_file {
            self.file(&path, &mut io::empty(), &attributes(0o644))
        } else {
            self.folder(&path, attributes(0o755))
        }
    }

    /// Gives the folders their owners, modes and times: nothing can be put into them afterwards.
    ///
    /// # Errors
    /// When that is refused.
    pub fn finish(self) -> Result<(), UnpackError> {
        // From the innermost to the outermost: a folder that may not be entered is closed after what is in it.
        for (path, attributes) in self.folders.iter().rev() {
            let real = self.root.join(path);
            let set = || {
                let folder = File::open(&real)?;
                if self.owners {
                    chown(&real, Some(attributes.owner.0), Some(attributes.owner.1))?;
                }
                set_xattrs(&folder, &attributes.xattrs);
                folder.set_permissions(fs::Permissions::from_mode(attributes.mode))?;
                folder.set_times(times(attributes.modified))
            };
            set().map_err(|e| Fault::write(path)(e).of("folders"))?;
        }
        Ok(())
    }
}

/// Tells how many bytes were read.
struct Counted<R, F> {
    inner: R,
    read: F,
}

impl<R: Read, F: FnMut(u64)> Read for Counted<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        (self.read)(n as u64);
        Ok(n)
    }
}

/// The tar in `packed`; `None` when the media type is not known.
fn decompress<'a>(media_type: &str, packed: impl Read + 'a) -> io::Result<Option<Box<dyn Read + 'a>>> {
    let buffered = BufReader::with_capacity(1 << 17, packed);
    Ok(Some(match media_type {
        m if m.ends_with("+gzip") || m.ends_with(".tar.gzip") => Box::new(MultiGzDecoder::new(buffered)),
        m if m.ends_with("+zstd") => Box::new(zstd::Decoder::with_buffer(buffered)?),
        m if m.ends_with(".tar") => Box::new(buffered),
        _ => return Ok(None),
    }))
}

/// The path of a member below the root, without `.`.
fn inside(path: &[u8]) -> Result<PathBuf, Fault> {
    let bad = |why: &str| Fault::Unsafe(OsString::from_vec(path.to_owned()).into(), why.into());
    if path.first() == Some(&b'/') {
        return Err(bad("is absolute"));
    }
    if path.contains(&0) {
        return Err(bad("holds a zero byte"));
    }
    let mut clean = PathBuf::new();
    for part in path.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(bad("leads out of it")),
            part => clean.push(OsStr::from_bytes(part)),
        }
    }
    Ok(clean)
}

fn link_name(member: &tar::Entry<impl Read>) -> Result<Vec<u8>, Fault> {
    let none = || Fault::Read(io::Error::new(io::ErrorKind::InvalidData, "a link without a target"));
    Ok(member.link_name_bytes().filter(|name| !name.is_empty()).ok_or_else(none)?.into_owned())
}

fn attributes(member: &mut tar::Entry<impl Read>, owners: bool) -> io::Result<Attributes> {
    let mut xattrs = Vec::new();
    let mut modified = None;
    for record in member.pax_extensions()?.into_iter().flatten() {
        let record = record?;
        let Ok(key) = record.key() else { continue };
        if let Some(name) = key.strip_prefix(XATTR)
            && (name.starts_with("user.") || (owners && name == "security.capability"))
        {
            xattrs.push((OsString::from(name), record.value_bytes().to_owned()));
        }
        if key == "mtime" {
            modified = record.value().ok().and_then(|value| value.split('.').next()?.parse().ok());
        }
    }
    let header = member.header();
    let id = |id: io::Result<u64>| {
        u32::try_from(id?).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "an owner beyond 32 bits"))
    };
    let owner = if owners { (id(header.uid())?, id(header.gid())?) } else { (0, 0) };
    let mode = header.mode()? & if owners { 0o7777 } else { 0o1777 };
    let modified = modified.or_else(|| header.mtime().ok()).unwrap_or_default();
    Ok(Attributes { mode, owner, modified, xattrs })
}

/// What is at `path`, links not followed.
fn kind_of(path: &Path) -> io::Result<Option<fs::FileType>> {
    match path.symlink_metadata() {
        Ok(meta) => Ok(Some(meta.file_type())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Copies a member's content, telling what cannot be read from what cannot be written.
fn copy(from: &mut impl Read, to: &mut File, path: &Path) -> Result<(), Fault> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = from.read(&mut buffer).map_err(Fault::Read)?;
        if n == 0 {
            return Ok(());
        }
        io::Write::write_all(to, &buffer[..n]).map_err(Fault::write(path))?;
    }
}

fn times(modified: u64) -> FileTimes {
    // A time that the system cannot hold is as good as none.
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(modified)).unwrap_or(SystemTime::UNIX_EPOCH);
    FileTimes::new().set_modified(time).set_accessed(time)
}

/// Sets extended attributes as far as the file system takes them.
#[cfg(target_os = "linux")]
fn set_xattrs(file: &File, xattrs: &[(OsString, Vec<u8>)]) {
    for (name, value) in xattrs {
        let _ = rustix::fs::fsetxattr(file, name.as_os_str(), value, rustix::fs::XattrFlags::empty());
    }
}

#[cfg(not(target_os = "linux"))]
fn set_xattrs(_: &File, _: &[(OsString, Vec<u8>)]) {}

#[cfg(test)]
mod tests;
