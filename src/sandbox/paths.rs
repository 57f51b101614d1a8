//! Paths in an unpacked root, as a process in it resolves them.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Component, Path, PathBuf},
};

/// The number of links that Linux follows before ELOOP.
const MAX_LINKS: u32 = 40;

/// Folders of a container that hide those of the root; see [`spec`](super::spec).
const OWN: [&str; 6] = ["/dev", "/proc", "/sys", "/tmp", "/var/tmp", "/run"];

/// Returns the path on this machine of `path` (below the root, with or without a slash at its beginning). Links are
/// followed as in a process in `root`. `None` when it does not exist.
pub(super) fn resolve(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut left: Vec<PathBuf> = parts(path);
    let mut at = PathBuf::new();
    let mut links = 0;
    while let Some(part) = left.pop() {
        if part.as_os_str() == ".." {
            at.pop();
            continue;
        }
        at.push(&part);
        let real = root.join(&at);
        let meta = real.symlink_metadata().ok()?;
        if meta.is_symlink() {
            links += 1;
            if links > MAX_LINKS {
                return None;
            }
            let target = real.read_link().ok()?;
            at.pop();
            if target.has_root() {
                at.clear();
            }
            left.extend(parts(&target));
        } else if !meta.is_dir() && !left.is_empty() {
            return None;
        }
    }
    Some(root.join(at))
}

/// A mount in a container.
#[derive(Debug, Clone)]
pub(super) struct Mounted {
    /// The mount point: an absolute path without links.
    pub(super) place: PathBuf,
    /// The mounted folder of this machine; `None` for a folder that is empty at first, or a file system of the kernel.
    pub(super) source: Option<PathBuf>,
}

/// The error of a path that cannot be a mount point.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Nowhere {
    /// A part of it is not a folder, or links form a loop.
    Missing,
    /// It is the root itself, is relative, or leads up.
    Invalid,
    /// A part of it is a link in a mounted folder. The folder's owner decides where the link leads in the container.
    Link,
}

/// Resolves the mount point `target`, an absolute path in a container of `root` that already has `mounts`. Links of the
/// root are followed, as container engines do. Returns the path, and whether it exists or can be made without changing
/// the root.
pub(super) fn place(root: &Path, mounts: &[Mounted], target: &str) -> Result<(PathBuf, bool), Nowhere> {
    if !target.starts_with('/') || Path::new(target).components().any(|part| part == Component::ParentDir) {
        return Err(Nowhere::Invalid);
    }
    let mut left = parts(Path::new(target));
    let mut at = PathBuf::from("/");
    let mut links = 0;
    let mut is_there = true;
    while let Some(part) = left.pop() {
        if part.as_os_str() == ".." {
            at.pop();
            continue;
        }
        at.push(&part);
        let mount = mounts.iter().rfind(|mount| at.starts_with(&mount.place));
        let (real, is_root) = match mount {
            Some(mount) if mount.place == at => continue,
            Some(Mounted { source: None, .. }) => continue,
            Some(Mounted { place, source: Some(source) }) => (source.join(below(&at, place)), false),
            None => (root.join(below(&at, Path::new("/"))), true),
        };
        match real.symlink_metadata() {
            Err(_) => is_there &= !is_root,
            Ok(meta) if meta.is_symlink() && !is_root => return Err(Nowhere::Link),
            Ok(meta) if meta.is_symlink() => {
                links += 1;
                let target = real.read_link().map_err(|_| Nowhere::Missing)?;
                if links > MAX_LINKS {
                    return Err(Nowhere::Missing);
                }
                at.pop();
                if target.has_root() {
                    at = PathBuf::from("/");
                }
                left.extend(parts(&target));
            }
            Ok(meta) if !meta.is_dir() && !left.is_empty() => return Err(Nowhere::Missing),
            Ok(_) => {}
        }
    }
    if at.parent().is_none() { Err(Nowhere::Invalid) } else { Ok((at, is_there)) }
}

/// The rest of `path` after `folder`.
fn below<'a>(path: &'a Path, folder: &Path) -> &'a Path {
    path.strip_prefix(folder).unwrap_or(path)
}

/// The mounts that every container of `root` has at places where users also mount.
pub(super) fn own_mounts(root: &Path) -> Vec<Mounted> {
    let mut mounts = Vec::new();
    for path in OWN {
        let place = place(root, &mounts, path).map_or_else(|_| path.into(), |(place, _)| place);
        mounts.push(Mounted { place, source: None });
    }
    mounts
}

/// The parts of a path, the last one first, without `.` and the root.
fn parts(path: &Path) -> Vec<PathBuf> {
    let parts = path.components().rev().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    parts.map(|part| PathBuf::from(part.as_os_str())).collect()
}

/// Reads at most `limit` bytes of the file `path` in `root`. A missing file is empty.
///
/// # Errors
/// When it exists and cannot be read.
pub(super) fn read(root: &Path, path: &str, limit: u64) -> io::Result<String> {
    let Some(real) = resolve(root, Path::new(path)) else { return Ok(String::new()) };
    if !real.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    File::open(real)?.take(limit).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn links_stay_in_the_root() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("usr/bin")).expect("folders");
        fs::write(root.join("usr/bin/tool"), "tool").expect("write");
        fs::write(dir.path().join("secret"), "secret").expect("write");
        for (target, link) in [
            ("/usr/bin", "bin"),
            ("usr/../bin/tool", "tool"),
            ("../../../secret", "out"),
            ("../secret", "usr/out"),
            ("loop", "loop"),
            ("/", "usr/root"),
        ] {
            symlink(target, root.join(link)).expect("a link");
        }
        let found =
            |path: &str| resolve(&root, Path::new(path)).map(|real| real.strip_prefix(&root).map(PathBuf::from));
        for path in ["/usr/bin/tool", "bin/tool", "tool", "usr/root/usr/./bin//tool", "../tool"] {
            assert_eq!(found(path), Some(Ok("usr/bin/tool".into())), "{path}");
        }
        for path in ["out", "usr/out", "loop", "usr/bin/tool/x", "missing/x", "../secret"] {
            assert_eq!(found(path), None, "{path}");
        }
        assert_eq!(found("/"), Some(Ok("".into())));
        assert_eq!(read(&root, "tool", 3).expect("read"), "too");
        assert_eq!(read(&root, "out", 100).expect("read"), "");
        assert_eq!(read(&root, "usr", 100).expect("a folder is no text"), "");
    }
    #[test]
    fn mounts_come_to_lie_where_links_of_the_root_lead() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (root, own) = (dir.path().join("root"), dir.path().join("own"));
        for folder in ["root/var", "root/srv/data", "root/etc", "own/inner"] {
            fs::create_dir_all(dir.path().join(folder)).expect("folders");
        }
        fs::write(root.join("etc/file"), "").expect("write");
        for (target, link) in [
            ("/run", "root/var/run"),
            ("../srv", "root/var/www"),
            ("/", "root/all"),
            ("loop", "root/loop"),
            ("../../../etc", "root/up"),
            ("/run/../etc", "root/var/round"),
            ("/etc", "own/link"),
        ] {
            symlink(target, dir.path().join(link)).expect("a link");
        }
        let mut mounts = own_mounts(&root);
        mounts.push(Mounted { place: "/srv/data".into(), source: Some(own) });
        for (target, expected) in [
            ("/var/run/docker.sock", Ok(("/run/docker.sock", true))),
            ("/var/www/data/inner", Ok(("/srv/data/inner", true))),
            ("/srv/data/new/folder", Ok(("/srv/data/new/folder", true))),
            ("/var/www", Ok(("/srv", true))),
            ("/srv/new", Ok(("/srv/new", false))),
            ("/var/www/new/more", Ok(("/srv/new/more", false))),
            ("/up/file", Ok(("/etc/file", true))),
            ("/var/round/new", Ok(("/etc/new", false))),
            ("/tmp/x/y", Ok(("/tmp/x/y", true))),
            ("/etc/file/x", Err(Nowhere::Missing)),
            ("/loop", Err(Nowhere::Missing)),
            ("/srv/data/link/x", Err(Nowhere::Link)),
            ("/srv/data/link", Err(Nowhere::Link)),
            ("/", Err(Nowhere::Invalid)),
            ("/all", Err(Nowhere::Invalid)),
            ("/root/../etc", Err(Nowhere::Invalid)),
            ("/tmp/../../etc/planted", Err(Nowhere::Invalid)),
            ("relative", Err(Nowhere::Invalid)),
        ] {
            let expected = expected.map(|(path, is_there)| (PathBuf::from(path), is_there));
            assert_eq!(place(&root, &mounts, target), expected, "{target}");
        }
    }
}
