//! Paths in an unpacked root, as a process in it sees them.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Component, Path, PathBuf},
};

/// As many links as Linux follows before it says ELOOP.
const MAX_LINKS: u32 = 40;

/// Where `path` (below the root, with or without a slash at its beginning) lies on this machine, links followed as a process in
/// `root` would; `None` when nothing is there.
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

/// The parts of a path, the last one first; `.` and the root are none.
fn parts(path: &Path) -> Vec<PathBuf> {
    let parts = path.components().rev().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    parts.map(|part| PathBuf::from(part.as_os_str())).collect()
}

/// The text of the file `path` in `root`, at most `limit` bytes of it; a missing file is empty.
///
/// # Errors
/// When it is there and cannot be read.
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
}
