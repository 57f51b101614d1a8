//! Programs that were built elsewhere: a single file, or the one in a folder that is meant.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    path::Path,
};

use super::{AppFile, FileKind, ProjectError, walk::Listing};
use crate::{app_folder::AppFolder, elf::Elf};

/// How much of a file says what it is.
const HEAD: u64 = 256;

/// The program at `path` as the only file of an app, in a folder of its own: it can be executed, whatever its mode is here.
///
/// # Errors
/// When it is no program of Linux, or cannot be read.
pub(super) fn alone(path: &Path) -> Result<AppFile, ProjectError> {
    let unreadable = |source| ProjectError::Io { path: path.to_owned(), source };
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| ProjectError::Name { expected: "is UTF-8", path: path.to_owned() })?;
    let file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    match kind(name, file).map_err(unreadable)? {
        Kind::Program => Ok(AppFile { path: name.to_owned(), kind: FileKind::File { size, executable: true } }),
        other => Err(ProjectError::NotAProgram { path: path.to_owned(), found: other.to_string() }),
    }
}

/// The program in the folder `root` that is meant: the only one at its top, or the one that is called as the folder is; else the
/// same of its folder `bin`. `None` when it holds no program at all.
///
/// # Errors
/// When there are several, or a script instead.
pub(super) fn meant(app: &AppFolder, root: &Path, files: &Listing) -> Result<Option<String>, ProjectError> {
    let executable = |path: &&str| matches!(files.get(path), Some(FileKind::File { executable: true, .. }));
    let mut scripts = Vec::new();
    for folder in ["", "bin/"] {
        let here = |path: &&str| path.strip_prefix(folder).is_some_and(|rest| !rest.contains('/'));
        let mut programs = Vec::new();
        for path in files.paths().filter(here).filter(executable) {
            let file = app.open_listed(path)?;
            match kind(path, file).map_err(|source| ProjectError::Io { path: root.join(path), source })? {
                Kind::Program => programs.push(path.to_owned()),
                other @ Kind::Script(_) => scripts.push((path.to_owned(), other)),
                Kind::Library | Kind::Other(_) => {}
            }
        }
        let own = root.file_name().map(|name| format!("{folder}{}", name.to_string_lossy()));
        match (programs.iter().find(|path| Some(*path) == own.as_ref()), &programs[..]) {
            (Some(path), _) => return Ok(Some(path.clone())),
            (None, []) => {}
            (None, [only]) => return Ok(Some(only.clone())),
            (None, _) => return Err(ProjectError::Programs { folder: root.to_owned(), names: programs }),
        }
    }
    match scripts.pop() {
        Some((path, script)) => Err(ProjectError::NotAProgram { path: root.join(path), found: script.to_string() }),
        None => Ok(None),
    }
}

/// What a file is to the kernel.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Program,
    Library,
    /// A script, and what is to run it.
    Script(String),
    Other(&'static str),
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Program => f.write_str("a program"),
            Self::Library => f.write_str("a shared library"),
            Self::Script(interpreter) => write!(f, "a script for {interpreter}, which would not be in the image"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

/// What `file` is, which is called `name`.
fn kind(name: &str, mut file: File) -> io::Result<Kind> {
    let mut head = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut head)?;
    file.rewind()?;
    Ok(match &head[..] {
        [b'#', b'!', rest @ ..] => {
            let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
            Kind::Script(String::from_utf8_lossy(line).trim().escape_debug().to_string())
        }
        [b'M', b'Z', ..] => Kind::Other("a program for Windows"),
        [0xfe, 0xed, 0xfa, 0xce | 0xcf, ..] | [0xce | 0xcf, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, ..] => {
            Kind::Other("a program for macOS, or a class of Java")
        }
        _ => match Elf::read(file) {
            Ok(Some(elf)) if elf.interpreter.is_none() && is_library(name, &elf) => Kind::Library,
            Ok(Some(_)) => Kind::Program,
            Ok(None) => Kind::Other("something that Linux does not run"),
            Err(_) => Kind::Other("a damaged ELF file"),
        },
    })
}

fn is_library(path: &str, elf: &Elf) -> bool {
    elf.soname.is_some() || path.rsplit('/').next().is_some_and(|name| name.contains(".so"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_program_of_a_folder_is_the_only_one_or_its_namesake() {
        use std::os::unix::fs::PermissionsExt as _;
        let program = crate::elf::testing::Draft::new().interpreter("/lib/ld.so").bytes();
        let library = crate::elf::testing::Draft::new().soname("x").bytes();
        let meant_of = |files: &[(&str, &[u8])]| {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let root = dir.path().join("shop");
            for (path, bytes) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
                fs::write(&path, bytes).expect("a file");
                let mode = if path.extension().is_some() { 0o644 } else { 0o755 };
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
            }
            let app = AppFolder::open(&root).expect("a folder");
            let found = super::super::walk::walk(&app, &super::super::ignore::Rules::default(), None).expect("a walk");
            meant(&app, &root, &found.files).map_err(|e| e.to_string().replace(&root.display().to_string(), "shop"))
        };
        let some = |path: &str| Ok(Some(path.to_owned()));
        let script: &[u8] = b"#!/bin/sh\n";
        assert_eq!(meant_of(&[("a", &program), ("x", &library), ("readme.md", b"")]), some("a"));
        assert_eq!(meant_of(&[("a", &program), ("shop", &program), ("run", script)]), some("shop"));
        assert_eq!(meant_of(&[("run.sh", script), ("bin/a", &program)]), some("bin/a"));
        assert_eq!(meant_of(&[("a.txt", b""), ("lib/a", &program)]), Ok(None));
        let error = "expected one program in shop, found a, b";
        assert_eq!(meant_of(&[("a", &program), ("b", &program)]), Err(error.into()));
        let error =
            "expected a program of Linux (ELF), found a script for /bin/sh, which would not be in the image: shop/run";
        assert_eq!(meant_of(&[("run", script)]), Err(error.into()));
    }

    #[test]
    fn what_a_file_is_its_first_bytes_tell() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let told = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, bytes).expect("a file");
            kind(name, File::open(&path).expect("it is there")).expect("it can be read").to_string()
        };
        assert_eq!(told("a", b"#!/bin/sh -e\necho"), "a script for /bin/sh -e, which would not be in the image");
        assert_eq!(told("b", b"MZ\x90"), "a program for Windows");
        assert_eq!(told("c", b"\xcf\xfa\xed\xfe"), "a program for macOS, or a class of Java");
        assert_eq!(told("d", b"text"), "something that Linux does not run");
        assert_eq!(told("e", b""), "something that Linux does not run");
        assert_eq!(told("f", b"\x7fELF\x02\x01\x01"), "a damaged ELF file");
        let draft = crate::elf::testing::Draft::new;
        assert_eq!(told("g", &draft().interpreter("/lib/ld.so").bytes()), "a program");
        assert_eq!(told("libg.so.1", &draft().soname("libg.so.1").bytes()), "a shared library");
    }
}
