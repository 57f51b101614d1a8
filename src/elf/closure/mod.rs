//! The closure of programs: the libraries that programs of a root filesystem lack, and the files that a program loads.
//!
//! [`Closure`] simulates the loaders of glibc (ld.so(8)) and musl at the start of a program: breadth first, each
//! object's needs in their order, with the list of loaded objects. A need is looked up
//!
//! 1. among the loaded objects: by the name of the request, in glibc also by `DT_SONAME`. The loader counts as loaded;
//!    musl's is also `libc.so`, `libm.so`, `libpthread.so.0` and the like;
//! 2. when it has a slash: at that path only;
//! 3. in the folders of `DT_RPATH`: those of the object, of the object that caused it to be loaded, and so on up to the
//!    program. An object's `DT_RPATH` does not count when it has a `DT_RUNPATH`; all of them do not when the object that needs
//!    the library has one;
//! 4. in [`Closure::extra`], the folders of `LD_LIBRARY_PATH`;
//! 5. in the folders of `DT_RUNPATH`, of the object alone;
//! 6. in [`Closure::configured`], the folders of `/etc/ld.so.conf` and the like;
//! 7. in the default folders, Debian's folder of the machine first. `DF_1_NODEFLIB` leaves these out, and those of them
//!    that are configured.
//!
//! musl takes 4 before 3, and does not distinguish `DT_RPATH` from `DT_RUNPATH`: both are inherited, and where there
//! are both, the second counts. Its rules hold for a program whose interpreter is `ld-musl-…`, and for every program of
//! a root that has such a loader and no `libc.so.6`.
//!
//! A candidate counts only when it is a library of the same class, byte order and machine; ld.so skips others.
//! `$ORIGIN` is the folder in which the object was found: the folder of a link, not of its target, except for the
//! program itself. Relative folders are left out: they depend on the current folder of the program. `glibc-hwcaps`
//! below a folder is not searched: its files are faster copies of those in the folder.
//!
//! A file counts as an interpreter only under these conditions: it has an absolute path, is a shared ELF file for the
//! same processor, and is in a folder of loaders or has a loader's name. A program's header is not trusted: it may name
//! any file.
//!
//! A file with an interpreter is a program: if its needs, or those of its libraries, are not found, it certainly does
//! not start. A file without one is a library. It may be loaded only by the runtime of a language, with a search of its
//! own: a `.node` addon, a Python extension, the JVM's `libjava.so`, which needs a `libjvm.so` that only its launcher
//! can find. So a library's need that its own search does not find is missing only when no library in the image has
//! that file name or `DT_SONAME`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::Elf;
use crate::error::{Explain, Kind};

mod process;

use process::Search;

/// The names in a root filesystem. All paths are below the root, without a slash at either end.
pub trait Root {
    /// The path that `path` leads to, with links followed as a process in this root follows them; `None` when there is
    /// no file.
    fn resolve(&self, path: &str) -> Option<String>;

    /// The target of the link at `path` itself; `None` when it is not a link. Only the last part of `path` may be a
    /// link.
    fn link(&self, path: &str) -> Option<String>;

    /// Whether there is a file at `path` that [`resolve`](Self::resolve) withholds because it must not be used.
    fn withholds(&self, _path: &str) -> bool {
        false
    }
}

/// A root filesystem as a loader sees it.
#[derive(Clone, Copy)]
pub struct Closure<'a> {
    /// Its ELF files, by path below the root (without a leading slash, and without links on the way). The caller leaves
    /// out files for other machines (test data, prebuilt addons) that it does not want to check.
    pub files: &'a BTreeMap<String, Elf>,
    /// All its names.
    pub root: &'a dyn Root,
    /// Folders that `LD_LIBRARY_PATH` names.
    pub extra: &'a [String],
    /// Folders that `/etc/ld.so.conf`, `/etc/ld.so.conf.d` or `/etc/ld-musl-ARCH.path` name.
    pub configured: &'a [String],
}

/// A need that is not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The program or library that has the need, below the root.
    pub file: String,
    /// The program that loads it, when that is another file.
    pub program: Option<String>,
    /// The need: a name from `DT_NEEDED`, or an interpreter's path.
    pub library: String,
    /// The way in which it is missing.
    pub reason: Reason,
    /// The folders of the root in which the loader looks for it.
    pub searched: Vec<String>,
    /// The folders in which it would also look, and which the root withholds.
    pub withheld: Vec<String>,
}

/// The way in which a need is not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The interpreter is not there.
    NoInterpreter,
    /// The file there is not an interpreter that the kernel would start or that a distribution has. The text names the
    /// expected ones.
    NotALoader(&'static str),
    /// It exists, and must not be used.
    Withheld,
    /// No library of that name is in the image.
    NotFound,
    /// There is one at this path, but the loader does not look there.
    OnlyElsewhere(String),
}

/// The number of folders in a message.
const FOLDERS: usize = 4;
/// The limits of a root that withholds files, for messages.
const TAKEN: &str = "libraries are the app's own, or come from the machine's folders for them (/lib, /usr/lib and the like, and \
                     those of /etc/ld.so.conf)";

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let library = self.library.escape_debug();
        write!(f, "{}", self.file.escape_debug())?;
        if let Some(program) = &self.program {
            write!(f, ", which {} loads,", program.escape_debug())?;
        }
        let folders = self.searched.iter().take(FOLDERS).map(|folder| folder.escape_debug().to_string());
        let mut folders: Vec<_> = folders.collect();
        if self.searched.len() > FOLDERS {
            folders.push("…".into());
        }
        let folders = if folders.is_empty() { String::new() } else { format!(" ({})", folders.join(", ")) };
        match &self.reason {
            Reason::NoInterpreter => write!(f, " needs the interpreter {library}, which is not there"),
            Reason::NotALoader(expected) => {
                write!(f, " needs the interpreter {library}, which is no loader: expected {expected}")
            }
            Reason::Withheld => write!(f, " needs {library}, which is not taken: {TAKEN}"),
            Reason::NotFound if library.to_string().contains('/') => write!(f, " needs {library}, which is not there"),
            Reason::NotFound => write!(f, " needs {library}, which is in no folder that its loader searches{folders}"),
            Reason::OnlyElsewhere(path) => {
                let path = path.escape_debug();
                write!(f, " needs {library}, which is {path}, where its loader does not search{folders}")
            }
        }?;
        match &self.withheld[..] {
            [] => Ok(()),
            [first, ..] => write!(f, "; it names /{} too, which is not searched: {TAKEN}", first.escape_debug()),
        }
    }
}

/// The error of files whose needs are not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosureError {
    /// The needs that are not met; at least one.
    pub missing: Vec<Missing>,
}

/// The number of missing needs that a message names in full.
const TOLD: usize = 3;

impl fmt::Display for ClosureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, missing) in self.missing.iter().take(TOLD).enumerate() {
            write!(f, "{}{missing}", if at > 0 { "; " } else { "" })?;
        }
        match self.missing.len().saturating_sub(TOLD) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl std::error::Error for ClosureError {}

impl Explain for ClosureError {
    fn kind(&self) -> Kind {
        Kind::Build
    }

    fn hint(&self) -> Option<String> {
        let elsewhere = |missing: &Missing| matches!(missing.reason, Reason::OnlyElsewhere(_));
        Some(if self.missing.iter().all(elsewhere) {
            "add the library's folder to LD_LIBRARY_PATH (`--env LD_LIBRARY_PATH=/FOLDER`)".into()
        } else {
            "add the package that brings it (`-p NAME`), unless the recipe's strip or drop has left it out".into()
        })
    }
}

impl Closure<'_> {
    /// All needs that are not met, in the order of the files' paths. See the module for the rules.
    pub fn missing(&self) -> Vec<Missing> {
        let search = Search::new(self);
        let mut all = BTreeMap::new();
        for (path, elf) in self.files {
            let missing = match elf.interpreter {
                Some(_) => search.start(path, elf).missing,
                None => search.library(path, elf),
            };
            for missing in missing {
                // Several programs may lack the same need of a library: it is reported once.
                all.entry((missing.file.clone(), missing.library.clone())).or_insert(missing);
            }
        }
        all.into_values().collect()
    }

    /// Returns [`Closure::missing`] as an error.
    ///
    /// # Errors
    /// When anything is missing.
    pub fn check(&self) -> Result<(), ClosureError> {
        match self.missing() {
            missing if missing.is_empty() => Ok(()),
            missing => Err(ClosureError { missing }),
        }
    }

    /// Lists the files that `program` (a path below the root) needs to be loaded: itself, its interpreter, its
    /// libraries and theirs, and every link on the way to one of them. The paths are below the root, sorted. `program`
    /// may be a library; it is then loaded as by a program that has loaded nothing else.
    ///
    /// A file that is not ELF needs only itself. A missing file gives an empty list.
    ///
    /// # Errors
    /// When a need is not met.
    pub fn needed_by(&self, program: &str) -> Result<Vec<String>, ClosureError> {
        if self.root.resolve(program).is_none() {
            return Ok(Vec::new());
        }
        let mut paths: BTreeSet<String> = walk(self.root, program).into_iter().collect();
        paths.extend(self.loaded_by(program)?.iter().flat_map(|path| walk(self.root, path)));
        Ok(paths.into_iter().collect())
    }

    /// Lists the paths where the loader finds the interpreter and the libraries of `program`, below the root, links not
    /// followed, in loading order. Otherwise like [`Closure::needed_by`].
    ///
    /// # Errors
    /// As [`Closure::needed_by`].
    pub fn loaded_by(&self, program: &str) -> Result<Vec<String>, ClosureError> {
        let path = self.root.resolve(program).unwrap_or_default();
        let Some(elf) = self.files.get(&path) else { return Ok(Vec::new()) };
        let process = Search::new(self).start(&path, elf);
        if process.missing.is_empty() { Ok(process.paths) } else { Err(ClosureError { missing: process.missing }) }
    }
}

/// The links along `path`, and its final target. Both are always below the root.
pub(crate) fn walk(root: &dyn Root, path: &str) -> Vec<String> {
    let mut left: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let mut at: Vec<String> = Vec::new();
    let mut links = Vec::new();
    while let Some(part) = left.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => drop(at.pop()),
            _ => at.push(part),
        }
        let here = at.join("/");
        // The limit of links in Linux.
        if links.len() < 40
            && let Some(target) = root.link(&here)
        {
            at.pop();
            if target.starts_with('/') {
                at.clear();
            }
            left.extend(target.split('/').rev().map(str::to_owned));
            links.push(here);
        }
    }
    links.push(at.join("/"));
    links
}

#[cfg(test)]
mod tests;
