//! The one door to an app's files.
//!
//! An app's folder may be a stranger's, and something may write to it while a build reads it. Every file of it is opened
//! here, part by part from the folder's own handle (`openat` with `O_NOFOLLOW`), so that no link leads out of the folder,
//! however it is swapped meanwhile; only regular files are opened, which is checked on the handle; and what is read whole
//! has a limit.

use std::{
    ffi::{CString, OsString},
    fs::File,
    io::{self, Read as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags};

use crate::{
    error::{Explain, Kind},
    listing::{FileKind, Inode},
};

/// The app's own file of build options, in its folder.
pub const CONFIG_FILE: &str = "microbuild.toml";

/// As many links as Linux follows (path_resolution(7)).
const LINKS: usize = 40;

/// Why a file of an app cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AppFolderError {
    /// A link leads out of the folder.
    #[error("{} is a link that leads out of the app's folder, and is not followed", path.display())]
    LeadsOut {
        /// The path that was asked for.
        path: PathBuf,
    },
    /// It is no regular file.
    #[error("expected a file, found {found}: {}", path.display())]
    NotAFile {
        /// The path that was asked for.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// It is too large to be read whole.
    #[error("expected at most {limit} bytes in {}, found {size}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that it may have.
        limit: u64,
        /// What it has.
        size: u64,
    },
    /// It is not text.
    #[error("expected UTF-8 text in {}", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The path that was asked for.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Explain for AppFolderError {
    fn kind(&self) -> Kind {
        match self {
            Self::LeadsOut { .. }
            | Self::NotAFile { .. }
            | Self::TooLarge { .. }
            | Self::NotText { .. }
            | Self::Io { .. } => Kind::Build,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::LeadsOut { .. } => Some("put the file itself into the app, or remove the link".into()),
            Self::NotAFile { .. } => Some("remove it, or put a file in its place".into()),
            Self::TooLarge { .. } => Some("a file of this name is a short text; remove what is not".into()),
            Self::NotText { .. } => Some("save it as UTF-8".into()),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("make it readable, or leave it out: a line in .dockerignore, or --exclude".into())
            }
            Self::Io { .. } => None,
        }
    }
}

/// What lies in a folder.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: OsString,
    /// What it is; of a link, not what that leads to.
    pub kind: EntryKind,
}

/// What kind of thing lies in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A folder.
    Folder,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A socket, pipe or device.
    Special,
}

impl EntryKind {
    fn of(kind: FileType) -> Self {
        match kind {
            FileType::Directory => Self::Folder,
            FileType::RegularFile => Self::File,
            FileType::Symlink => Self::Link,
            _ => Self::Special,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Folder => "a folder",
            Self::File => "a file",
            Self::Link => "a link",
            Self::Special => "a socket, pipe or device",
        }
    }
}

/// An app's folder, opened. Cheap to clone. Paths are relative to it, their separator `/`.
#[derive(Debug, Clone)]
pub struct AppFolder {
    path: PathBuf,
    top: Folder,
    /// The folder that a file was opened in last: the next file mostly lies there too.
    last: Arc<Mutex<Option<(String, Folder)>>>,
}

/// A folder within an app's, opened.
#[derive(Debug, Clone)]
pub struct Folder(Arc<OwnedFd>);

/// What a path leads to.
enum Found {
    Folder(Folder),
    File(File),
}

impl AppFolder {
    /// Opens the folder at `path`. The path itself is the user's: its links are followed.
    ///
    /// # Errors
    /// When there is no folder, or it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, AppFolderError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // An empty path is the work folder, as for Path::join.
        let opened = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let top = sys::open(opened, flags, Mode::empty())
            .map_err(|e| AppFolderError::Io { path: path.to_owned(), source: e.into() })?;
        Ok(Self { path: path.to_owned(), top: Folder(Arc::new(top)), last: Arc::default() })
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder itself.
    pub fn top(&self) -> &Folder {
        &self.top
    }

    /// Opens the regular file at `path`, which [`Entry`]s have led to: no link is followed at all.
    ///
    /// # Errors
    /// When there is none, or a part of the path has become a link meanwhile.
    pub fn open_listed(&self, path: &str) -> Result<File, AppFolderError> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.listed_folder(folder).and_then(|folder| folder.open_file(name)).map_err(|error| self.explain(path, error))
    }

    fn listed_folder(&self, path: &str) -> Result<Folder, OpenError> {
        if path.is_empty() {
            return Ok(self.top.clone());
        }
        // A poisoned lock has nothing that could be half done.
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((known, folder)) = &*last
            && known == path
        {
            return Ok(folder.clone());
        }
        let mut folder = self.top.clone();
        for part in path.split('/') {
            folder = folder.open_folder(part)?;
        }
        *last = Some((path.to_owned(), folder.clone()));
        Ok(folder)
    }

    /// Opens the regular file at `path`. Links are followed as far as they stay within the folder. `None` when there is
    /// nothing.
    ///
    /// # Errors
    /// When a link leads out of the folder, or what is there is no regular file.
    pub fn file(&self, path: &str) -> Result<Option<File>, AppFolderError> {
        match self.find(path) {
            Ok(Found::File(file)) => Ok(Some(file)),
            Ok(Found::Folder(_)) => Err(self.explain(path, OpenError::NotAFile(EntryKind::Folder))),
            Err(error) if error.is_absence() => Ok(None),
            Err(error) => Err(self.explain(path, error)),
        }
    }

    /// The text of the file at `path`, which may have at most `limit` bytes; links as with [`AppFolder::file`]. `None` when
    /// there is nothing.
    ///
    /// # Errors
    /// As [`AppFolder::file`]; when it is larger, or no text.
    pub fn read(&self, path: &str, limit: u64) -> Result<Option<String>, AppFolderError> {
        let Some(file) = self.file(path)? else { return Ok(None) };
        let place = || self.path.join(path);
        let io = |source| AppFolderError::Io { path: place(), source };
        let size = file.metadata().map_err(io)?.len();
        if size > limit {
            return Err(AppFolderError::TooLarge { path: place(), limit, size });
        }
        let mut bytes = Vec::new();
        // It may grow at any time.
        file.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
        let size = bytes.len() as u64;
        if size > limit {
            return Err(AppFolderError::TooLarge { path: place(), limit, size });
        }
        String::from_utf8(bytes).map(Some).map_err(|_| AppFolderError::NotText { path: place() })
    }

    /// What `path` leads to, a folder or a file; links as with [`AppFolder::file`]. `None` when there is nothing that can be
    /// opened.
    pub fn kind(&self, path: &str) -> Option<EntryKind> {
        match self.find(path).ok()? {
            Found::Folder(_) => Some(EntryKind::Folder),
            Found::File(_) => Some(EntryKind::File),
        }
    }

    /// Whether `path` leads to a regular file.
    pub fn is_file(&self, path: &str) -> bool {
        self.kind(path) == Some(EntryKind::File)
    }

    /// What lies in the folder at `path`, sorted by name; links as with [`AppFolder::file`]. `None` when there is no such folder.
    ///
    /// # Errors
    /// When a link leads out of the folder, or the folder cannot be read.
    pub fn list(&self, path: &str) -> Result<Option<Vec<Entry>>, AppFolderError> {
        let folder = match self.find(path) {
            Ok(Found::Folder(folder)) => folder,
            Ok(Found::File(_)) => return Ok(None),
            Err(error) if error.is_absence() => return Ok(None),
            Err(error) => return Err(self.explain(path, error)),
        };
        folder.entries().map(Some).map_err(|source| self.explain(path, OpenError::Io(source)))
    }

    /// Follows `path` from the top: each part is opened without following a link; a link's own path is then walked in its
    /// place, from the folder that it lies in.
    fn find(&self, path: &str) -> Result<Found, OpenError> {
        let mut links = 0;
        let mut folders = vec![self.top.clone()];
        let mut todo: Vec<Vec<u8>> = path.split('/').rev().map(|part| part.as_bytes().to_vec()).collect();
        while let Some(part) = todo.pop() {
            match &part[..] {
                b"" | b"." => continue,
                b".." => {
                    folders.pop();
                    if folders.is_empty() {
                        return Err(OpenError::LeadsOut);
                    }
                    continue;
                }
                _ => {}
            }
            // `folders` has the top at least: it is checked where it is popped.
            let here = folders.last().unwrap_or(&self.top);
            match here.kind(&part)? {
                EntryKind::Folder => folders.push(here.open_folder(&part)?),
                EntryKind::File if todo.iter().all(|rest| matches!(&rest[..], b"" | b".")) => {
                    return here.open_file(&part).map(Found::File);
                }
                EntryKind::File => return Err(OpenError::Io(io::ErrorKind::NotADirectory.into())),
                EntryKind::Link => {
                    links += 1;
                    let target = here.read_link(&part)?;
                    if links > LINKS {
                        return Err(OpenError::Io(io::Error::other("too many links lead on from one to another")));
                    }
                    if target.starts_with(b"/") {
                        return Err(OpenError::LeadsOut);
                    }
                    todo.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
                }
                EntryKind::Special => return Err(OpenError::NotAFile(EntryKind::Special)),
            }
        }
        Ok(Found::Folder(folders.pop().unwrap_or_else(|| self.top.clone())))
    }

    /// `error`, which opening `path` ended with, for the user.
    fn explain(&self, path: &str, error: OpenError) -> AppFolderError {
        let path = self.path.join(path);
        match error {
            OpenError::LeadsOut => AppFolderError::LeadsOut { path },
            OpenError::NotAFile(found) => AppFolderError::NotAFile { path, found: found.name() },
            OpenError::Io(source) => AppFolderError::Io { path, source },
        }
    }
}

/// Why a part of a path cannot be opened.
#[derive(Debug)]
enum OpenError {
    LeadsOut,
    NotAFile(EntryKind),
    Io(io::Error),
}

impl OpenError {
    /// Whether there simply is nothing.
    fn is_absence(&self) -> bool {
        matches!(self, Self::Io(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
    }
}

impl From<rustix::io::Errno> for OpenError {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}

impl Folder {
    /// What lies here, sorted by name, so that messages too are the same on every machine.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in sys::Dir::read_from(self.0.as_fd())? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems do not say.
                FileType::Unknown => match self.kind(name) {
                    Ok(kind) => kind,
                    Err(OpenError::Io(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    Err(_) => continue,
                },
                known => EntryKind::of(known),
            };
            entries.push(Entry { name: OsString::from_vec(name.to_vec()), kind });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// The regular file `name`, for a listing; of a link in its place, the link.
    ///
    /// # Errors
    /// When there is none.
    pub fn listed(&self, name: &std::ffi::OsStr) -> io::Result<FileKind> {
        let about = sys::statat(&*self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        #[allow(
            clippy::useless_conversion,
            clippy::unnecessary_fallible_conversions,
            reason = "the types differ between systems"
        )]
        let (mode, inode, links) =
            (u32::from(about.st_mode), Inode(about.st_dev, about.st_ino), u64::from(about.st_nlink));
        Ok(FileKind::File {
            size: u64::try_from(about.st_size).unwrap_or(0),
            executable: mode & 0o100 != 0,
            inode: (links > 1).then_some(inode),
        })
    }

    /// What the link `name` holds.
    ///
    /// # Errors
    /// When there is none.
    pub fn link(&self, name: &std::ffi::OsStr) -> io::Result<OsString> {
        Ok(OsString::from_vec(sys::readlinkat(&*self.0, name, Vec::new())?.into_bytes()))
    }

    /// The folder `name`, which is no link.
    ///
    /// # Errors
    /// When there is none.
    pub fn folder(&self, name: &std::ffi::OsStr) -> io::Result<Self> {
        self.open_folder(name.as_bytes()).map_err(|error| match error {
            OpenError::Io(error) => error,
            OpenError::NotAFile(kind) => io::Error::other(format!("expected a folder, found {}", kind.name())),
            OpenError::LeadsOut => io::Error::other("it leads out of the app's folder"),
        })
    }

    fn kind(&self, name: &[u8]) -> Result<EntryKind, OpenError> {
        let about = sys::statat(&*self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(EntryKind::of(FileType::from_raw_mode(about.st_mode)))
    }

    fn read_link(&self, name: &[u8]) -> Result<Vec<u8>, OpenError> {
        Ok(sys::readlinkat(&*self.0, name, Vec::new()).map(CString::into_bytes)?)
    }

    fn open_folder(&self, name: impl rustix::path::Arg) -> Result<Self, OpenError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(Arc::new(sys::openat(&*self.0, name, flags, Mode::empty())?)))
    }

    /// Without waiting: a pipe has no writer yet.
    fn open_file(&self, name: impl rustix::path::Arg) -> Result<File, OpenError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = match sys::openat(&*self.0, name, flags, Mode::empty()) {
            // What O_NOFOLLOW says of a link, and open(2) of a socket.
            Err(rustix::io::Errno::LOOP) => return Err(OpenError::NotAFile(EntryKind::Link)),
            Err(rustix::io::Errno::NXIO) => return Err(OpenError::NotAFile(EntryKind::Special)),
            opened => opened?,
        };
        match EntryKind::of(FileType::from_raw_mode(sys::fstat(&opened)?.st_mode)) {
            EntryKind::File => Ok(File::from(opened)),
            other => Err(OpenError::NotAFile(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    struct Tree {
        dir: tempfile::TempDir,
        app: AppFolder,
    }

    /// A folder `app` with files, links and a pipe in it, and a secret beside it.
    fn tree() -> Tree {
        let dir = tempfile::tempdir().unwrap();
        let app = dir.path().join("app");
        fs::create_dir_all(app.join("src/deep")).unwrap();
        fs::write(dir.path().join("secret"), "canary").unwrap();
        fs::write(app.join("package.json"), "{}").unwrap();
        fs::write(app.join("src/deep/a.js"), "a").unwrap();
        for (target, link) in [
            ("../secret", "out"),
            ("src/deep/a.js", "in"),
            ("../../package.json", "src/deep/up"),
            ("src/../../app/package.json", "round"),
            ("/etc/passwd", "absolute"),
            ("/dev/zero", "zero"),
            ("src", "folder"),
            ("loop", "loop"),
            ("none", "dangling"),
            ("..", "parent"),
        ] {
            symlink(target, app.join(link)).unwrap();
        }
        assert!(std::process::Command::new("mkfifo").arg(app.join("pipe")).status().unwrap().success());
        let app = AppFolder::open(&app).unwrap();
        Tree { dir, app }
    }

    #[test]
    fn links_are_followed_within_the_folder_and_never_out_of_it() {
        let tree = tree();
        for (path, expected) in [
            ("package.json", "{}"),
            ("src/deep/a.js", "a"),
            ("./src//deep/../deep/a.js", "a"),
            ("in", "a"),
            ("folder/deep/a.js", "a"),
            ("src/deep/up", "{}"),
            ("none", "nothing"),
            ("dangling", "nothing"),
            ("package.json/x", "nothing"),
            ("out", "is a link that leads out of the app's folder, and is not followed"),
            ("round", "is a link that leads out of the app's folder, and is not followed"),
            ("absolute", "is a link that leads out of the app's folder, and is not followed"),
            ("zero", "is a link that leads out of the app's folder, and is not followed"),
            ("parent/secret", "is a link that leads out of the app's folder, and is not followed"),
            ("../secret", "is a link that leads out of the app's folder, and is not followed"),
            ("loop", "too many links"),
            ("pipe", "expected a file, found a socket, pipe or device"),
            ("src", "expected a file, found a folder"),
        ] {
            let found = match tree.app.read(path, 10) {
                Ok(Some(text)) => text,
                Ok(None) => "nothing".to_owned(),
                Err(error) => error.to_string(),
            };
            assert!(found.contains(expected), "{path}: {found}");
        }
    }

    #[test]
    fn listed_files_are_opened_without_any_link() {
        let tree = tree();
        let read = |path| tree.app.open_listed(path).map(|file| io::read_to_string(file).unwrap());
        assert_eq!(read("src/deep/a.js").unwrap(), "a");
        for path in ["in", "out", "folder/deep/a.js", "pipe", "src", "none", "src/none/a"] {
            assert!(read(path).is_err(), "{path}");
        }
        // Swapped for a link after its folder was opened.
        let app = tree.dir.path().join("app");
        fs::remove_file(app.join("src/deep/a.js")).unwrap();
        symlink("../../../secret", app.join("src/deep/a.js")).unwrap();
        assert!(matches!(read("src/deep/a.js"), Err(AppFolderError::NotAFile { found: "a link", .. })));
    }

    #[test]
    fn what_is_read_whole_has_a_limit_and_is_text() {
        let tree = tree();
        fs::write(tree.dir.path().join("app/large"), [b'x'; 11]).unwrap();
        fs::write(tree.dir.path().join("app/bytes"), [0xff]).unwrap();
        assert!(matches!(tree.app.read("large", 10), Err(AppFolderError::TooLarge { limit: 10, size: 11, .. })));
        assert!(matches!(tree.app.read("bytes", 10), Err(AppFolderError::NotText { .. })));
    }

    #[test]
    fn a_listing_says_what_things_are() {
        let tree = tree();
        let entries = tree.app.list("").unwrap().unwrap();
        let listed: Vec<_> = entries.iter().map(|e| (e.name.to_str().unwrap(), e.kind)).collect();
        assert!(listed.iter().map(|(name, _)| name).is_sorted());
        for expected in [
            ("src", EntryKind::Folder),
            ("package.json", EntryKind::File),
            ("out", EntryKind::Link),
            ("pipe", EntryKind::Special),
        ] {
            assert!(listed.contains(&expected), "{expected:?}");
        }
        assert!(tree.app.list("none").unwrap().is_none() && tree.app.list("in").unwrap().is_none());
        assert!(tree.app.list("parent").is_err());
        assert_eq!(tree.app.kind("folder/deep"), Some(EntryKind::Folder));
        assert!(tree.app.is_file("in") && !tree.app.is_file("out") && !tree.app.is_file("pipe"));
    }
}
