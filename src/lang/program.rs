//! Programs that were built elsewhere: a single file, or the main program of a folder.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    path::Path,
};

use super::{Facts, Language, LanguageError, Source, Start};
use crate::{
    app_folder::{AppFolder, EntryKind},
    elf::Elf,
    listing::{AppFile, FileKind},
};

/// Programs for Linux, in any language.
#[derive(Debug)]
pub(super) struct Program;

impl Language for Program {
    fn name(&self) -> &'static str {
        "static"
    }

    /// Programs for Linux at its top and in its folder `bin`.
    fn recognizes(&self, folder: &AppFolder) -> Vec<String> {
        let mut programs = Vec::new();
        for above in ["", "bin/"] {
            let entries = folder.list(above.trim_end_matches('/')).ok().flatten().unwrap_or_default();
            let names = entries.into_iter().filter(|entry| entry.kind == EntryKind::File);
            let paths = names.filter_map(|entry| Some(format!("{above}{}", entry.name.into_string().ok()?)));
            programs.extend(paths.filter(|path| {
                let kind = folder.open_listed(path).ok().and_then(|file| kind(path, file).ok());
                kind == Some(Kind::Program)
            }));
        }
        programs
    }

    fn read(&self, source: &Source<'_>) -> Result<Facts, LanguageError> {
        if !source.starts {
            return Ok(Facts::default());
        }
        let start = meant(source)?.map(|entry| Start { entry, ..Start::default() });
        let nothing = "there is no program to be started: the image holds files only";
        let warnings = start.is_none().then(|| nothing.to_owned()).into_iter().collect();
        Ok(Facts { start, warnings, ..Facts::default() })
    }

    /// Reads a program as an app of one file. It is executable, whatever its mode is here.
    fn single_file(&self, path: &Path) -> Result<Option<AppFile>, LanguageError> {
        alone(path).map(Some)
    }

    fn is_finished(&self) -> bool {
        true
    }
}

/// The number of bytes that determine a file's kind.
const HEAD: u64 = 256;

/// Reads the program at `path` as the only file of an app. It is executable, whatever its mode is here.
///
/// # Errors
/// When it is not a program for Linux, or cannot be read.
fn alone(path: &Path) -> Result<AppFile, LanguageError> {
    let unreadable = |source| LanguageError::Io { path: path.to_owned(), source };
    let name = path.file_name().and_then(|name| name.to_str());
    let unnamed = || format!("expected a name that is UTF-8, found {}", path.display());
    let name = name.ok_or_else(|| LanguageError::Unusable { message: unnamed(), hint: None })?;
    let file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    match kind(name, file).map_err(unreadable)? {
        Kind::Program => Ok(AppFile { path: name.to_owned(), kind: FileKind::file(size, 0o755) }),
        other => Err(no_program(path, &other)),
    }
}

/// Finds the main program in the folder `root`: the only one at its top, or the one with the folder's name; else the
/// same in its folder `bin`. `None` when there is no program.
///
/// # Errors
/// When there are several programs, or a script instead.
fn meant(source: &Source<'_>) -> Result<Option<String>, LanguageError> {
    let Source { folder: app, root, files, .. } = source;
    let executable = |path: &&str| matches!(files.get(path), Some(FileKind::File { executable: true, .. }));
    let mut scripts = Vec::new();
    for folder in ["", "bin/"] {
        let here = |path: &&str| path.strip_prefix(folder).is_some_and(|rest| !rest.contains('/'));
        let mut programs = Vec::new();
        for path in files.paths().filter(here).filter(executable) {
            let file = app.open_listed(path)?;
            match kind(path, file).map_err(|source| LanguageError::Io { path: root.join(path), source })? {
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
            (None, [first, ..]) => {
                let found = super::some(&programs);
                let message = format!("expected one program in {}, found {found}", root.display());
                let hint = Some(format!("choose one: --entrypoint './{first}'"));
                return Err(LanguageError::Unusable { message, hint });
            }
        }
    }
    match scripts.pop() {
        Some((path, script)) => Err(no_program(&root.join(path), &script)),
        None => Ok(None),
    }
}

/// The error for a file at `path` that is not a program.
fn no_program(path: &Path, found: &Kind) -> LanguageError {
    let hint = match found {
        Kind::Script(_) => {
            let name = path.file_name().unwrap_or_default().display();
            format!(
                "use the recipe for the script's language (`microbuild recipes`), or for a shell script `microbuild build --recipe base \
                 --base alpine --cmd 'sh {name}' FOLDER`"
            )
        }
        _ => "use a recipe that builds the program from its source: `microbuild recipes`".to_owned(),
    };
    let message = format!("expected a program of Linux (ELF), found {found}: {}", path.display());
    LanguageError::Unusable { message, hint: Some(hint) }
}

/// A file's kind for the kernel.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Program,
    Library,
    /// A script, and its interpreter.
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

/// Determines the kind of `file`, which has the name `name`.
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
    use crate::lang::testing::Draft;

    #[test]
    fn the_program_of_a_folder_is_the_only_one_or_its_namesake() {
        let program = crate::elf::testing::Draft::new().interpreter("/lib/ld.so").bytes();
        let library = crate::elf::testing::Draft::new().soname("x").bytes();
        let meant_of = |files: &[(&str, &[u8])]| {
            let project = Draft::new(files);
            meant(&project.source()).map_err(|error| project.told(&error))
        };
        let some = |path: &str| Ok(Some(path.to_owned()));
        let script: &[u8] = b"#!/bin/sh\n";
        assert_eq!(meant_of(&[("a", &program), ("x", &library), ("readme.md", b"")]), some("a"));
        assert_eq!(meant_of(&[("a", &program), ("shop", &program), ("run", script)]), some("shop"));
        assert_eq!(meant_of(&[("run.sh", script), ("bin/a", &program)]), some("bin/a"));
        assert_eq!(meant_of(&[("a.txt", b""), ("lib/a", &program)]), Ok(None));
        let error = "expected one program in shop, found a, b\nhint: choose one: --entrypoint './a'";
        assert_eq!(meant_of(&[("a", &program), ("b", &program)]), Err(error.into()));
        let error = meant_of(&[("run", script)]).unwrap_err();
        assert!(
            error.starts_with(
                "expected a program of Linux (ELF), found a script for /bin/sh, which would not be in the image: shop/run\nhint: "
            ),
            "{error}"
        );
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
