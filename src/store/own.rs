//! Folders and files of the store are this user's own: no other user may have put anything into them, and no link leads
//! out of them.
//!
//! What the store holds is trusted: a folder in it is mounted in containers, what is remembered is not made again. So
//! its top folder, and every folder that this program makes in it, belongs to the user who runs it and can be written
//! by no other; and lock files and folders are opened as what they are. A store that came with a stranger's folder
//! (`--cache-dir .cache` in a clone) may hold links to files of the user's.
//!
//! Root is no exception: a store of another user is not root's, even after `sudo`. In a user namespace, the owner is
//! whom the namespace shows.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{fs::OFlags, process::geteuid};

use super::StoreError;

/// What group and others may not have in a folder.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// The bit of a folder in which each removes and renames only what is their own: `/tmp`.
const STICKY: u32 = 0o1000;

/// What is wrong with a folder or file of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alien {
    /// It belongs to this other user.
    Owner(u32),
    /// Others may write into it.
    Writable(u32),
    /// It is a link, or has another name too.
    Link,
    /// It is of another kind.
    Kind,
}

/// The store's top folder, made where it is missing: its path without links.
///
/// It may be root's, and others may write into it when it is sticky, as `/tmp`: what the store makes in it is checked
/// by itself.
///
/// # Errors
/// When it cannot be made, or is another user's, or others may write into it.
pub(super) fn top(path: &Path) -> Result<PathBuf, StoreError> {
    let path = std::path::absolute(path).map_err(StoreError::io("find", path))?;
    make(&path)?;
    let given = path.symlink_metadata().map_err(StoreError::io("read", &path))?;
    let real = fs::canonicalize(&path).map_err(StoreError::io("find", &path))?;
    let meta = real.metadata().map_err(StoreError::io("read", &real))?;
    if given.is_symlink() && !is_trusted(&given) {
        // Its owner may let it lead elsewhere at any time.
        return Err(StoreError::Alien { path, alien: Alien::Link });
    }
    let alien = match &meta {
        meta if !meta.is_dir() => Some(Alien::Kind),
        meta if !is_trusted(meta) => Some(Alien::Owner(meta.uid())),
        meta => is_writable(meta).filter(|_| meta.mode() & STICKY == 0),
    };
    alien.map_or(Ok(real.clone()), |alien| Err(StoreError::Alien { path: real, alien }))
}

/// Makes `path` a folder of the store where it is missing.
///
/// # Errors
/// When it cannot be made, or is not a folder of this user's alone.
pub(super) fn folder(path: &Path) -> Result<(), StoreError> {
    make(path)?;
    check(path)
        .map_err(StoreError::io("read", path))?
        .map_or(Ok(()), |alien| Err(StoreError::Alien { path: path.to_owned(), alien }))
}

/// What is wrong with the folder `path` of the store.
///
/// # Errors
/// When nothing is there.
fn check(path: &Path) -> io::Result<Option<Alien>> {
    Ok(match path.symlink_metadata()? {
        meta if meta.is_symlink() => Some(Alien::Link),
        meta if !meta.is_dir() => Some(Alien::Kind),
        meta if meta.uid() != own() => Some(Alien::Owner(meta.uid())),
        meta => is_writable(&meta),
    })
}

/// The paths of what is in the folder `path` of the store, which need not exist.
///
/// # Errors
/// When it cannot be read, or is not a folder of this user's alone: what is removed there would be another user's.
pub(super) fn entries(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    match check(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Ok(Some(alien)) => return Err(StoreError::Alien { path: path.to_owned(), alien }),
        _ => {}
    }
    let paths = fs::read_dir(path).and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect());
    paths.map_err(StoreError::io("read", path))
}

/// Whether `path` is a folder of this user's alone.
pub(super) fn is_own_folder(path: &Path) -> bool {
    check(path).is_ok_and(|alien| alien.is_none())
}

/// Whether `path` is a folder itself, no link to one.
pub(super) fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_dir())
}

/// Opens the file `path` of the store as `options` say; only this user reads one that is made.
///
/// # Errors
/// When it cannot be opened, or is a link or no file.
pub(super) fn open(path: &Path, options: &mut OpenOptions) -> Result<File, StoreError> {
    // A pipe must not keep the program waiting either.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = options.mode(0o600).custom_flags(flags.bits().cast_signed()).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(e) => {
            let alien = path.symlink_metadata().ok().filter(|meta| !meta.is_file());
            let alien = alien.map(|meta| if meta.is_symlink() { Alien::Link } else { Alien::Kind });
            let error = || StoreError::io("open", path)(e);
            return Err(alien.map_or_else(error, |alien| StoreError::Alien { path: path.to_owned(), alien }));
        }
    };
    let meta = file.metadata().map_err(StoreError::io("read", path))?;
    let alien = match meta {
        meta if !meta.is_file() => Alien::Kind,
        meta if meta.nlink() > 1 => Alien::Link,
        _ => return Ok(file),
    };
    Err(StoreError::Alien { path: path.to_owned(), alien })
}

/// A file to be locked, made where it is missing.
///
/// # Errors
/// As [`open`].
pub(super) fn lock_file(path: &Path) -> Result<File, StoreError> {
    open(path, File::options().create(true).append(true))
}

fn own() -> u32 {
    geteuid().as_raw()
}

/// Whether it belongs to this user, or to root, who may do anything.
fn is_trusted(meta: &Metadata) -> bool {
    meta.uid() == own() || meta.uid() == 0
}

fn is_writable(meta: &Metadata) -> Option<Alien> {
    let mode = meta.mode() & 0o777;
    (mode & WRITABLE_BY_OTHERS != 0).then_some(Alien::Writable(mode))
}

fn make(path: &Path) -> Result<(), StoreError> {
    match DirBuilder::new().recursive(true).mode(0o755).create(path) {
        // The caller looks at what is there instead.
        Err(e) if !matches!(e.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory) || !exists(path) => {
            Err(StoreError::io("create", path)(e))
        }
        _ => Ok(()),
    }
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

impl Alien {
    /// What was found at a path.
    pub(super) fn found(self) -> String {
        match self {
            Self::Owner(uid) => format!("one of the user {uid}"),
            Self::Writable(mode) => format!("one that others may write into (mode {mode:o})"),
            Self::Link => "a link".to_owned(),
            Self::Kind => "something else".to_owned(),
        }
    }

    /// What helps.
    pub(super) fn remedy(self, path: &Path) -> String {
        let is_own = path.metadata().is_ok_and(|meta| meta.uid() == own());
        let remove = if is_folder(path) { "rm -r" } else { "rm" };
        let path = path.display();
        let other = "--cache-dir names another folder";
        match self {
            // Others may be able to write into it too.
            Self::Owner(_) if own() == 0 => {
                format!("`chown -R 0 {path} && chmod -R go-w {path}` makes it root's own; {other}")
            }
            Self::Owner(_) => format!("`chown -R {} {path}` by root makes it yours; {other}", own()),
            Self::Writable(_) if is_own => format!("`chmod -R go-w {path}`, if you trust what is in it; {other}"),
            // A volume that a group shares: a folder in it can be this user's.
            Self::Writable(_) => format!("--cache-dir {path}/microbuild names a folder in it that will be yours alone"),
            Self::Link | Self::Kind => {
                format!("remove it: `{remove} {path}`; {other}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    fn found(result: Result<impl Sized, StoreError>) -> Option<Alien> {
        match result {
            Ok(_) => None,
            Err(StoreError::Alien { alien, .. }) => Some(alien),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn only_folders_of_ones_own_are_taken() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| dir.path().join(name);
        folder(&at("new/inner")).expect("made");
        assert_eq!(at("new/inner").metadata().expect("there").mode() & 0o022, 0);
        symlink(at("new"), at("link")).expect("a link");
        symlink(at("nowhere"), at("dangling")).expect("a link");
        fs::write(at("file"), "").expect("a file");
        for (name, mode) in [("open", 0o777), ("group", 0o775), ("sticky", 0o1777), ("closed", 0o755)] {
            fs::create_dir(at(name)).expect("a folder");
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).expect("its own folder");
        }
        for (name, as_folder, as_top) in [
            ("new", None, None),
            ("closed", None, None),
            ("link", Some(Alien::Link), None),
            ("file", Some(Alien::Kind), Some(Alien::Kind)),
            ("open", Some(Alien::Writable(0o777)), Some(Alien::Writable(0o777))),
            ("group", Some(Alien::Writable(0o775)), Some(Alien::Writable(0o775))),
            ("sticky", Some(Alien::Writable(0o777)), None),
        ] {
            assert_eq!((found(folder(&at(name))), found(top(&at(name)))), (as_folder, as_top), "{name}");
        }
        assert_eq!(found(folder(&at("dangling"))), Some(Alien::Link));
        assert_eq!(top(&at("link")).expect("its target"), fs::canonicalize(at("new")).expect("there"));
        if own() == 0 {
            chown(at("closed"), Some(4711), None).expect("root");
            assert_eq!(found(folder(&at("closed"))), Some(Alien::Owner(4711)));
            assert_eq!(found(top(&at("closed"))), Some(Alien::Owner(4711)));
            std::os::unix::fs::lchown(at("link"), Some(4711), None).expect("root");
            assert_eq!(found(top(&at("link"))), Some(Alien::Link), "it may lead elsewhere at any time");
        }
    }

    #[test]
    fn only_files_of_ones_own_are_opened() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| dir.path().join(name);
        fs::write(at("canary"), "alive").expect("a file");
        symlink(at("canary"), at("link")).expect("a link");
        symlink(at("nowhere"), at("dangling")).expect("a link");
        fs::hard_link(at("canary"), at("hard")).expect("a hard link");
        fs::create_dir(at("folder")).expect("a folder");
        let mut pipe = std::process::Command::new("mkfifo");
        assert!(pipe.arg(at("pipe")).status().expect("mkfifo").success());
        for (name, expected) in
            [("new", None), ("link", Some(Alien::Link)), ("dangling", Some(Alien::Link)), ("hard", Some(Alien::Link))]
        {
            assert_eq!(found(lock_file(&at(name))), expected, "{name}");
        }
        assert_eq!(
            (found(lock_file(&at("folder"))), found(lock_file(&at("pipe")))),
            (Some(Alien::Kind), Some(Alien::Kind))
        );
        assert_eq!(found(open(&at("pipe"), File::options().read(true))), Some(Alien::Kind));
        assert!(!at("nowhere").exists());
        assert_eq!(fs::read(at("canary")).expect("there"), b"alive");
    }
}
