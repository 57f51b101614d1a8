//! Which libraries the programs of a root filesystem lack, and which files a program loads.
//!
//! [`Closure`] does on paper what the loaders of glibc (ld.so(8)) and musl do when a program starts: breadth first,
//! each object's needs in their order, with the list of what is loaded already. A need is looked up
//!
//! 1. among what is loaded: by the name that it was asked for under, in glibc also by `DT_SONAME`. The loader counts as loaded;
//!    musl's is also `libc.so`, `libm.so`, `libpthread.so.0` and their like;
//! 2. when it has a slash: at that path, and nowhere else;
//! 3. in the folders of `DT_RPATH`: those of the object, of the object that caused it to be loaded, and so on up to the
//!    program. An object's `DT_RPATH` does not count when it has a `DT_RUNPATH`; all of them do not when the object that needs
//!    the library has one;
//! 4. in [`Closure::extra`], which is what `LD_LIBRARY_PATH` says;
//! 5. in the folders of `DT_RUNPATH`, of the object alone;
//! 6. in [`Closure::configured`], which is what `/etc/ld.so.conf` and its like say;
//! 7. in the default folders, Debian's of the machine first. With `DF_1_NODEFLIB` these, and those of them that are
//!    configured, are left out.
//!
//! musl takes 4 before 3, and knows no difference between `DT_RPATH` and `DT_RUNPATH`: both are inherited, and where
//! there are both, the second counts. Its rules hold for a program whose interpreter is `ld-musl-…`, and for all of a
//! root that has such a loader and no `libc.so.6`.
//!
//! A candidate counts only when it is a library of the same class, byte order and machine, as ld.so skips others.
//! `$ORIGIN` is the folder in which the object was found: of a link, not of what it leads to, except for the program
//! itself. Folders that are not absolute are left out: they depend on where a program is started. Below the folders,
//! `glibc-hwcaps` is not searched: what is there is a faster copy of what is beside it.
//!
//! An interpreter is taken for one only when it can be: at an absolute path, a shared ELF file for the same processor,
//! in a folder where loaders lie or under a loader's name. What a file's header says is not to be trusted; it may name
//! any file.
//!
//! What has an interpreter is a program: if its needs, or those of what it loads, are not found, it does not start, and
//! that is certain. What has none is a library that nothing may load but an interpreter of a language, at a path of its
//! own: a `.node` addon, a Python extension, the JVM's `libjava.so`, which needs a `libjvm.so` that only its launcher
//! knows where to find. So a library's need that its own search does not find is missing only when the image has no
//! library of that file name or `DT_SONAME` anywhere.

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
    /// The path that `path` leads to, links followed as a process in this root would; `None` when it leads nowhere.
    fn resolve(&self, path: &str) -> Option<String>;

    /// The target of the link that is at `path` itself; `None` when no link is there. No part of `path` but the last is
    /// a link.
    fn link(&self, path: &str) -> Option<String>;

    /// Whether something is at `path` that [`resolve`](Self::resolve) does not give because it is not to be taken.
    fn withholds(&self, _path: &str) -> bool {
        false
    }
}

/// A root filesystem as a loader sees it.
#[derive(Clone, Copy)]
pub struct Closure<'a> {
    /// Its ELF files, by path below the root (without a leading slash, and without links on the way). Whoever does not
    /// want to hear of files for other machines (test data, prebuilt addons) leaves them out.
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
    /// What it needs: a name as `DT_NEEDED` has it, or an interpreter's path.
    pub library: String,
    /// In what way it is missing.
    pub reason: Reason,
    /// The folders of the root in which the loader looks for it.
    pub searched: Vec<String>,
    /// The folders in which it would look, too, and which the root withholds.
    pub withheld: Vec<String>,
}

/// In what way something is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The interpreter is not there.
    NoInterpreter,
    /// The file there is not an interpreter that the kernel would start or that a distribution has; this was expected.
    NotALoader(&'static str),
    /// It is there, and not to be taken.
    Withheld,
    /// No library of that name is in the image.
    NotFound,
    /// One is, at this path, but the loader does not look there.
    OnlyElsewhere(String),
}

/// How many folders a message names.
const FOLDERS: usize = 4;
/// What a root that withholds something does not.
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

/// Files do not find what they need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosureError {
    /// What is missing; at least one.
    pub missing: Vec<Missing>,
}

/// How many of what is missing a message tells in full.
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
                // What one program does not find for a library, the next one may not either: told once.
                all.entry((missing.file.clone(), missing.library.clone())).or_insert(missing);
            }
        }
        all.into_values().collect()
    }

    /// [`Closure::missing`] as an error.
    ///
    /// # Errors
    /// When anything is missing.
    pub fn check(&self) -> Result<(), ClosureError> {
        match self.missing() {
            missing if missing.is_empty() => Ok(()),
            missing => Err(ClosureError { missing }),
        }
    }

    /// All that must be there for `program` (a path below the root) to be loaded: itself, its interpreter, its
    /// libraries and theirs, and every link on the way to one of them. Paths below the root, sorted. It may be a
    /// library, too, which then is loaded as by a program that has loaded nothing else.
    ///
    /// What is not ELF needs only itself; what is not there gives an empty list.
    ///
    /// # Errors
    /// When anything that it needs is missing.
    pub fn needed_by(&self, program: &str) -> Result<Vec<String>, ClosureError> {
        if self.root.resolve(program).is_none() {
            return Ok(Vec::new());
        }
        let mut paths: BTreeSet<String> = walk(self.root, program).into_iter().collect();
        paths.extend(self.loaded_by(program)?.iter().flat_map(|path| walk(self.root, path)));
        Ok(paths.into_iter().collect())
    }

    /// Where the loader finds the interpreter and the libraries of `program`, below the root, links not followed; in
    /// the order in which it loads them. Otherwise as [`Closure::needed_by`].
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

/// The links on the way along `path`, and where it ends: below the root, whatever it says.
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
        // As many links as Linux follows.
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
