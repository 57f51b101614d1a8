//! Programs of this machine, found on its search path.
//!
//! Only absolute folders of the search path are searched. An empty entry and `.` mean the current folder, which may be the app's: an app
//! may come from a stranger, and no program in its folder may run on this machine.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

/// The program `name` in the first folder of `path` that has it; `path` is written as the environment's PATH.
pub fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    find_in(name, folders(path))
}

/// The program `name` in the first of the `folders` that has it.
pub fn find_in(name: &str, folders: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    // A name with a folder in it is a path, which is not searched for.
    if name.is_empty() || Path::new(name).file_name() != Some(OsStr::new(name)) {
        return None;
    }
    let file = format!("{name}{}", env::consts::EXE_SUFFIX);
    folders.filter(|folder| folder.is_absolute()).map(|folder| folder.join(&file)).find(|file| is_program(file))
}

/// The absolute folders of `path`.
pub fn folders(path: &OsStr) -> impl Iterator<Item = PathBuf> {
    env::split_paths(path).filter(|folder| folder.is_absolute())
}

/// `path` with its absolute folders only: for the environment of a program that searches for other programs.
pub fn safe_path(path: &OsStr) -> OsString {
    // No entry that came out of `split_paths` holds a separator.
    env::join_paths(folders(path)).unwrap_or_default()
}

/// Whether `file` is a file that may be executed.
#[cfg(unix)]
pub fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether `file` is a file that may be executed.
#[cfg(not(unix))]
pub fn is_program(file: &Path) -> bool {
    file.is_file()
}

#[cfg(all(test, unix))]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn program(folder: &Path, name: &str) -> PathBuf {
        fs::create_dir_all(folder).expect("a folder");
        let path = folder.join(name);
        fs::write(&path, "#!/bin/sh\n").expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its own file");
        path
    }

    #[test]
    fn only_absolute_folders_are_searched() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        let helper = program(&second, "helper");
        fs::create_dir_all(first.join("helper")).expect("a folder of that name");
        fs::write(first.join("text"), "").expect("a file that is no program");
        program(&second, "text");
        // A folder as it is called from the current one.
        let planted = dir.path().join("planted");
        program(&planted, "planted");
        let here = env::current_dir().expect("a current folder");
        let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
        let relative = up.join(planted.strip_prefix("/").expect("an absolute path"));
        assert!(relative.join("planted").is_file(), "{}", relative.display());
        let search = |entries: &str| {
            let entries = entries.replace("FIRST", &first.to_string_lossy());
            OsString::from(entries.replace("SECOND", &second.to_string_lossy()))
        };
        for entries in ["FIRST:SECOND", ":SECOND", "SECOND:", ".:SECOND", "FIRST::SECOND:relative"] {
            assert_eq!(find("helper", &search(entries)), Some(helper.clone()), "{entries}");
        }
        assert_eq!(find("text", &search("FIRST:SECOND")), Some(second.join("text")));
        for entries in ["", ":", ".", "./", "..", "FIRST"] {
            assert_eq!(find("helper", &search(entries)), None, "{entries}");
        }
        assert_eq!(find("planted", relative.as_os_str()), None, "{}", relative.display());
        for name in ["", ".", "..", "/", "../second/helper", "second/helper", &helper.to_string_lossy()] {
            assert_eq!(find(name, &search("FIRST:SECOND")), None, "{name}");
        }
        assert_eq!(safe_path(&search(":FIRST:.:SECOND:x")), search("FIRST:SECOND"));
        assert_eq!(safe_path(OsStr::new("")), OsString::new());
    }
}
