//! The simulated start of a program.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
};

use super::{Closure, Missing, Reason};
use crate::elf::{
    Elf,
    loader::{Loader, expand, is_loader},
};

/// A root filesystem, with the results of lookups in it.
pub(super) struct Search<'a> {
    closure: &'a Closure<'a>,
    /// Libraries by file name and by `DT_SONAME`.
    names: HashMap<&'a str, Vec<&'a str>>,
    resolved: RefCell<HashMap<String, Option<String>>>,
}

/// The objects that a program has loaded.
pub(super) struct Process<'a> {
    loader: Loader,
    objects: Vec<Object<'a>>,
    /// Objects under the names by which the loader knows them.
    known: BTreeMap<String, usize>,
    /// The paths under which files were found, links not followed.
    pub(super) paths: Vec<String>,
    /// The needs that were not met.
    pub(super) missing: Vec<Missing>,
}

struct Object<'a> {
    /// Links followed.
    path: String,
    /// The folder in which it was found.
    origin: String,
    elf: &'a Elf,
    /// The object that needed it first.
    parent: Option<usize>,
}

/// A library that was found: its path, and the path with links resolved.
struct Found<'a> {
    path: String,
    resolved: String,
    elf: &'a Elf,
}

impl<'a> Search<'a> {
    pub(super) fn new(closure: &'a Closure<'a>) -> Self {
        let mut names: HashMap<_, Vec<_>> = HashMap::new();
        for (path, elf) in closure.files.iter().filter(|(_, elf)| elf.dynamic) {
            names.entry(file_name(path)).or_default().push(path.as_str());
            if let Some(soname) = elf.soname.as_deref().filter(|soname| *soname != file_name(path)) {
                names.entry(soname).or_default().push(path.as_str());
            }
        }
        Self { closure, names, resolved: RefCell::default() }
    }

    /// Loads `elf` and everything that it needs.
    pub(super) fn start(&self, path: &str, elf: &'a Elf) -> Process<'a> {
        let mut process = self.process(path, elf);
        self.load_interpreter(&mut process);
        let mut at = 0;
        while at < process.objects.len() {
            self.load_needs(&mut process, at);
            at += 1;
        }
        process
    }

    /// The libraries that a library needs and the image does not have.
    pub(super) fn library(&self, path: &str, elf: &'a Elf) -> Vec<Missing> {
        let process = self.process(path, elf);
        let folders = self.folders(&process, 0);
        let found = |name: &String| {
            process.loader.is_itself(name)
                || self.find(&process.objects[0], name, &folders).is_some()
                || self.elsewhere(name, elf).is_some()
        };
        let missing = elf.needed.iter().filter(|name| !found(name));
        missing.map(|name| self.report(&process, 0, name, &folders)).collect()
    }

    fn process(&self, path: &str, elf: &'a Elf) -> Process<'a> {
        let object = Object { path: path.to_owned(), origin: folder(path).to_owned(), elf, parent: None };
        let loader = self.loader(elf);
        let known = elf.soname.iter().filter(|_| loader == Loader::Glibc).map(|soname| (soname.clone(), 0)).collect();
        Process { loader, objects: vec![object], known, paths: Vec::new(), missing: Vec::new() }
    }

    fn loader(&self, elf: &Elf) -> Loader {
        let interpreter = elf.interpreter.as_deref().map(file_name);
        let has = |name: &str| self.elsewhere(name, elf).is_some();
        let musl = || self.names.keys().any(|name| Loader::is_musl(name) && has(name));
        // In a root with musl only, a loader with glibc's name (gcompat's) is really musl's.
        if interpreter.is_some_and(Loader::is_musl) || (!has("libc.so.6") && musl()) {
            Loader::Musl
        } else {
            Loader::Glibc
        }
    }

    fn load_interpreter(&self, process: &mut Process<'a>) {
        let program = process.objects[0].elf;
        let Some(name) = &program.interpreter else { return };
        match self.interpreter(name, program) {
            Ok(found) => {
                process.paths.push(found.path.clone());
                process.add(file_name(name), found, 0);
            }
            Err(reason) => process.missing.push(Missing {
                file: process.objects[0].path.clone(),
                program: None,
                library: name.clone(),
                reason,
                searched: Vec::new(),
                withheld: Vec::new(),
            }),
        }
    }

    /// The loader that the kernel starts for `program`; `name` is the interpreter in its header.
    fn interpreter(&self, name: &str, program: &Elf) -> Result<Found<'a>, Reason> {
        let Some(path) = name.strip_prefix('/') else { return Err(Reason::NotALoader("an absolute path")) };
        let path = path.trim_start_matches('/');
        let Some(resolved) = self.resolve(path) else {
            return Err(if self.closure.root.withholds(path) { Reason::Withheld } else { Reason::NoInterpreter });
        };
        match self.closure.files.get(&resolved) {
            Some(elf) if !elf.shared || !elf.fits(program) => {
                Err(Reason::NotALoader("a shared object for the program's processor"))
            }
            Some(_) if !is_loader(path) && !is_loader(&resolved) => {
                Err(Reason::NotALoader("one in /lib, /lib64, /usr/lib or the like"))
            }
            Some(elf) => Ok(Found { path: path.to_owned(), resolved, elf }),
            None => Err(Reason::NotALoader("an ELF file for the program's processor")),
        }
    }

    fn load_needs(&self, process: &mut Process<'a>, at: usize) {
        let folders = self.folders(process, at);
        let elf = process.objects[at].elf;
        let lenient = process.objects[0].elf.interpreter.is_none();
        for name in &elf.needed {
            if process.known.contains_key(name) || process.loader.is_itself(name) {
                continue;
            }
            let elsewhere = || self.elsewhere(name, elf).filter(|_| lenient).and_then(|path| self.candidate(path, elf));
            match self.find(&process.objects[at], name, &folders).or_else(elsewhere) {
                Some(found) => {
                    process.paths.push(found.path.clone());
                    process.add(name, found, at);
                }
                None => process.missing.push(self.report(process, at, name, &folders)),
            }
        }
    }

    fn report(&self, process: &Process<'_>, at: usize, name: &str, folders: &[String]) -> Missing {
        let object = &process.objects[at];
        let is_path = name.contains('/');
        let is_withheld = |path: &String| self.closure.root.withholds(path.trim_matches('/'));
        let reason = match self.elsewhere(name, object.elf) {
            _ if is_path && expand(name, &object.origin, object.elf).iter().any(is_withheld) => Reason::Withheld,
            Some(path) => Reason::OnlyElsewhere(path.to_owned()),
            None => Reason::NotFound,
        };
        let named = if is_path { Vec::new() } else { self.named_folders(process, at) };
        Missing {
            file: object.path.clone(),
            program: (at > 0).then(|| process.objects[0].path.clone()),
            library: name.to_owned(),
            reason,
            searched: if is_path { Vec::new() } else { folders.to_vec() },
            withheld: named.into_iter().filter(is_withheld).collect(),
        }
    }

    /// The folders that are searched for an object's needs: those that exist, each once.
    fn folders(&self, process: &Process<'_>, at: usize) -> Vec<String> {
        let named = self.named_folders(process, at);
        named.into_iter().filter(|folder| self.resolve(folder).is_some()).collect()
    }

    /// The folders that are searched if they exist, each once.
    fn named_folders(&self, process: &Process<'_>, at: usize) -> Vec<String> {
        let object = &process.objects[at];
        let line = || std::iter::successors(Some(object), |object| Some(&process.objects[object.parent?]));
        let defaults = process.loader.folders(object.elf);
        let mut folders = Vec::new();
        match process.loader {
            Loader::Glibc => {
                if object.elf.runpath.is_empty() {
                    let heirs = line().filter(|object| object.elf.runpath.is_empty());
                    folders.extend(heirs.flat_map(|object| object.expand(&object.elf.rpath)));
                }
                folders.extend_from_slice(self.closure.extra);
                folders.extend(object.expand(&object.elf.runpath));
                let is_left_out = |folder: &&String| {
                    object.elf.nodeflib && defaults.iter().any(|default| default == folder.trim_matches('/'))
                };
                folders.extend(self.closure.configured.iter().filter(|folder| !is_left_out(folder)).cloned());
                folders.extend(defaults.into_iter().filter(|_| !object.elf.nodeflib));
            }
            Loader::Musl => {
                folders.extend_from_slice(self.closure.extra);
                folders.extend(line().flat_map(|object| match object.elf.runpath.is_empty() {
                    true => object.expand(&object.elf.rpath),
                    false => object.expand(&object.elf.runpath),
                }));
                folders.extend_from_slice(self.closure.configured);
                folders.extend(defaults);
            }
        }
        let mut seen = Vec::new();
        for folder in folders {
            let folder = folder.trim_matches('/');
            if !seen.iter().any(|seen| seen == folder) {
                seen.push(folder.to_owned());
            }
        }
        seen
    }

    /// The library `name` that `object` needs: at its path, or the first in `folders`.
    fn find(&self, object: &Object<'_>, name: &str, folders: &[String]) -> Option<Found<'a>> {
        if name.contains('/') {
            let paths = expand(name, &object.origin, object.elf);
            return paths.iter().find_map(|path| self.candidate(path.trim_start_matches('/'), object.elf));
        }
        folders.iter().find_map(|folder| self.candidate(join(folder, name).trim_start_matches('/'), object.elf))
    }

    /// The file that `path` leads to, when it is a library for `elf`.
    fn candidate(&self, path: &str, elf: &Elf) -> Option<Found<'a>> {
        let resolved = self.resolve(path)?;
        let library = self.closure.files.get(&resolved)?;
        let fits = library.dynamic && library.shared && library.fits(elf);
        fits.then(|| Found { path: path.to_owned(), resolved, elf: library })
    }

    /// The path in the image of a library for `elf` with the name `name`.
    fn elsewhere(&self, name: &str, elf: &Elf) -> Option<&'a str> {
        let paths = self.names.get(file_name(name))?;
        paths.iter().copied().find(|path| self.closure.files.get(*path).is_some_and(|library| library.fits(elf)))
    }

    fn resolve(&self, path: &str) -> Option<String> {
        if let Some(resolved) = self.resolved.borrow().get(path) {
            return resolved.clone();
        }
        let resolved = self.closure.root.resolve(path);
        self.resolved.borrow_mut().insert(path.to_owned(), resolved.clone());
        resolved
    }
}

impl<'a> Process<'a> {
    /// Adds the library that was found for `name`, unless it is loaded under another name.
    fn add(&mut self, name: &str, found: Found<'a>, parent: usize) {
        let place = self.objects.iter().position(|object| object.path == found.resolved);
        let place = place.unwrap_or(self.objects.len());
        self.known.insert(name.to_owned(), place);
        if place == self.objects.len() {
            if let (Loader::Glibc, Some(soname)) = (self.loader, &found.elf.soname) {
                self.known.entry(soname.clone()).or_insert(place);
            }
            let origin = folder(&found.path).to_owned();
            self.objects.push(Object { path: found.resolved, origin, elf: found.elf, parent: Some(parent) });
        }
    }
}

impl Object<'_> {
    /// Absolute folders.
    fn expand(&self, folders: &[String]) -> Vec<String> {
        let expanded = folders.iter().flat_map(|folder| expand(folder, &self.origin, self.elf));
        expanded.filter(|folder| folder.starts_with('/')).collect()
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn join(folder: &str, name: &str) -> String {
    format!("{folder}/{name}")
}
