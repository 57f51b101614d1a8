//! Libraries of a machine: what the programs of an app are linked with, taken from where the machine's own loader finds it.
//!
//! The rules are those of [`super::closure`], over the folders of a whole machine, of which only those are read that a loader
//! searches. A machine's loader knows the folders of `/etc/ld.so.conf` by a cache that an image has not: what is found there lies
//! in a default folder in the image.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
};

use super::{
    Elf,
    closure::{Closure, ClosureError, Root, walk},
    loader::{Loader, expand},
};

/// A machine, by the folder that is its root.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
    /// What `/etc/ld.so.conf` names, below the root.
    configured: Vec<String>,
}

/// The names of a machine and of an app's own files, which lie in folders of an image that the machine need not have.
struct Names<'a> {
    root: &'a Path,
    own: &'a BTreeMap<String, Elf>,
    links: &'a BTreeMap<String, String>,
}

impl Root for Names<'_> {
    fn resolve(&self, path: &str) -> Option<String> {
        let path = walk(self, path).pop().unwrap_or_default();
        let is_folder = |own: &String| own.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('/'));
        if self.own.contains_key(&path) || self.own.keys().any(is_folder) {
            return Some(path);
        }
        let real = fs::canonicalize(self.root.join(&path)).ok()?;
        real.strip_prefix(self.root).ok()?.to_str().map(str::to_owned)
    }

    fn link(&self, path: &str) -> Option<String> {
        self.links.get(path).cloned()
    }
}

impl Machine {
    /// The machine whose root is `root`, an absolute path without links.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), configured: configured(root, "etc/ld.so.conf") }
    }

    /// What the loader takes of this machine for `own` programs and libraries, by their paths in the image, of which `links` lead to
    /// some: for each path in the image the file here. `extra` are the folders that LD_LIBRARY_PATH names.
    ///
    /// # Errors
    /// When a program needs what this machine has not.
    pub fn libraries(
        &self,
        own: &BTreeMap<String, Elf>,
        links: &BTreeMap<String, String>,
        extra: &[String],
    ) -> Result<BTreeMap<String, PathBuf>, ClosureError> {
        let root = Names { root: &self.root, own, links };
        let files = self.files(own, extra);
        let closure = Closure { files: &files, root: &root, extra, configured: &self.configured };
        let mut found = BTreeMap::new();
        for (path, elf) in own {
            let loaded = match closure.loaded_by(path) {
                // Whatever would load a plugin does without, or knows where else to look.
                Err(_) if elf.interpreter.is_none() => continue,
                loaded => loaded?,
            };
            for path in loaded {
                if let Some(real) = root.resolve(&path).filter(|real| !own.contains_key(real)) {
                    found.insert(self.place(&plain(&path), elf), self.root.join(real));
                }
            }
        }
        Ok(found)
    }

    /// Where in the image lies what the loader finds here at `path`.
    fn place(&self, path: &str, elf: &Elf) -> String {
        let defaults = Loader::Glibc.folders(elf);
        match path.rsplit_once('/') {
            Some((folder, name))
                if self.configured.iter().any(|one| one == folder) && !defaults.iter().any(|one| one == folder) =>
            {
                format!("{}/{name}", defaults[0])
            }
            _ => path.to_owned(),
        }
    }

    /// The programs, and the libraries of all folders that a loader may search for them.
    fn files(&self, own: &BTreeMap<String, Elf>, extra: &[String]) -> BTreeMap<String, Elf> {
        let mut files = own.clone();
        let mut folders: BTreeSet<String> = extra.iter().chain(&self.configured).cloned().collect();
        for (path, elf) in own {
            folders.extend(Loader::Glibc.folders(elf));
            folders.extend(searched(path, elf));
            // The loader itself.
            folders.extend(elf.interpreter.iter().filter_map(|path| Some(path.rsplit_once('/')?.0.to_owned())));
        }
        let mut read = BTreeSet::new();
        while let Some(folder) = folders.pop_first() {
            let Ok(real) = fs::canonicalize(self.root.join(folder.trim_matches('/'))) else { continue };
            if !read.insert(real.clone()) {
                continue;
            }
            for path in fs::read_dir(&real).into_iter().flatten().flatten().map(|entry| entry.path()) {
                let is_library = path.file_name().is_some_and(|name| name.to_string_lossy().contains(".so"));
                let Some(real) = is_library.then(|| fs::canonicalize(&path).ok()).flatten() else { continue };
                let Some(path) = real.strip_prefix(&self.root).ok().and_then(Path::to_str) else { continue };
                if files.contains_key(path) || !real.is_file() {
                    continue;
                }
                // What cannot be read, or is none, is nothing that could be loaded.
                if let Some(elf) = File::open(&real).ok().and_then(|file| Elf::read(file).ok().flatten()) {
                    folders.extend(searched(path, &elf));
                    files.insert(path.to_owned(), elf);
                }
            }
        }
        files
    }
}

/// The path without `.` and `..`: below the root, whatever it says.
fn plain(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The folders that a file itself says its libraries lie in.
fn searched(path: &str, elf: &Elf) -> Vec<String> {
    let origin = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    elf.rpath.iter().chain(&elf.runpath).flat_map(|folder| expand(folder, origin, elf)).collect()
}

/// The folders of a file as ldconfig(8) reads it.
fn configured(root: &Path, file: &str) -> Vec<String> {
    let text = fs::read_to_string(root.join(file)).unwrap_or_default();
    let mut folders = Vec::new();
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        match line.strip_prefix("include ").map(str::trim) {
            // What distributions have there: all of a folder.
            Some(files) => {
                let folder = files.rsplit_once('/').map_or("etc", |(folder, _)| folder).trim_matches('/');
                let entries = fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
                let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
                names.retain(|name| name.ends_with(".conf"));
                names.sort();
                folders.extend(names.iter().flat_map(|name| configured(root, &format!("{folder}/{name}"))));
            }
            None if line.starts_with('/') => folders.push(line.trim_matches('/').to_owned()),
            None => {}
        }
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::testing::Draft;

    #[test]
    fn libraries_lie_where_the_images_loader_looks() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let root = fs::canonicalize(dir.path()).expect("a path");
        let write = |path: &str, bytes: &[u8]| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
            fs::write(path, bytes).expect("a file");
        };
        let needing = |names: &[&str]| names.iter().fold(Draft::new(), |draft, name| draft.needed(name));
        write("lib64/ld-linux-x86-64.so.2", &Draft::new().bytes());
        write("usr/lib/x86_64-linux-gnu/libc.so.6", &needing(&["ld-linux-x86-64.so.2"]).bytes());
        write("usr/lib/x86_64-linux-gnu/libz.so.1.2", &needing(&["libc.so.6"]).bytes());
        write("opt/own/libown.so", &needing(&["libz.so.1"]).bytes());
        write("etc/ld.so.conf", b"include /etc/ld.so.conf.d/*.conf\n");
        write("etc/ld.so.conf.d/own.conf", b"# ours\n/opt/own\n");
        std::os::unix::fs::symlink("libz.so.1.2", root.join("usr/lib/x86_64-linux-gnu/libz.so.1")).expect("a link");

        let program = |names: &[&str]| {
            let bytes = needing(names).interpreter("/lib64/ld-linux-x86-64.so.2").bytes();
            let elf = Elf::of_bytes(&bytes).expect("ELF").expect("a program");
            BTreeMap::from([("app/hello".to_owned(), elf)])
        };
        let machine = Machine::new(&root);
        let found = machine.libraries(&program(&["libown.so"]), &BTreeMap::new(), &[]).expect("all is there");
        let paths: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(
            paths,
            [
                "lib/x86_64-linux-gnu/libown.so",
                "lib64/ld-linux-x86-64.so.2",
                "usr/lib/x86_64-linux-gnu/libc.so.6",
                "usr/lib/x86_64-linux-gnu/libz.so.1",
            ]
        );
        assert!(found["usr/lib/x86_64-linux-gnu/libz.so.1"].ends_with("libz.so.1.2"), "what the link leads to");

        // An app's own library, by the usual way to it, and a folder that leads out of the root.
        let elf = |draft: Draft| Elf::of_bytes(&draft.bytes()).expect("ELF").expect("a program");
        let mut own = program(&[]);
        let bin = needing(&["libmine.so"]).interpreter("/lib64/ld-linux-x86-64.so.2");
        own.insert("app/bin/hello".into(), elf(bin.runpath("$ORIGIN/../lib:/../../../opt/own")));
        own.insert("app/lib64/libmine.so".into(), elf(needing(&["libown.so"]).runpath("/../../../opt/own")));
        let links = BTreeMap::from([("app/lib".to_owned(), "lib64".to_owned())]);
        let found = machine.libraries(&own, &links, &[]).expect("all is there");
        assert!(found.keys().all(|path| !path.contains("..")), "{found:?}");
        assert!(found.values().any(|path| path.ends_with("opt/own/libown.so")), "{found:?}");
        let error = machine.libraries(&program(&["libno.so.3"]), &BTreeMap::new(), &[]).expect_err("not there");
        assert!(error.to_string().starts_with("app/hello needs libno.so.3, "), "{error}");
    }
}
