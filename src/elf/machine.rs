//! Libraries of a machine: what the programs of an app are linked with, taken from where the machine's own loader finds
//! it.
//!
//! The rules are those of [`super::closure`], over the folders of a whole machine, of which only those are read that a
//! loader searches. A machine's loader knows the folders of `/etc/ld.so.conf` by a cache that an image has not: what is
//! found there lies in a default folder in the image.
//!
//! A program is data, perhaps a stranger's, and its header may name any file of the machine as its interpreter, its
//! library or a folder of libraries. So only what the machine's administrator put where libraries lie is taken: files
//! in `/lib`, `/usr/lib` and the like and below them, and in the folders that `/etc/ld.so.conf` names. Another folder
//! in `RPATH`, `RUNPATH` or `LD_LIBRARY_PATH` is searched among the app's own files only.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::{self, Seek as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use super::{
    Elf,
    closure::{Closure, ClosureError, Root, walk},
    loader::{Loader, expand, is_system},
};

/// More than any library has, in bytes: those for graphics processors have more than one gigabyte.
const LIMIT: u64 = 4 << 30;

/// A machine, by the folder that is its root.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
    /// What `/etc/ld.so.conf` names, below the root.
    configured: Vec<String>,
    /// Where that really is.
    places: BTreeSet<String>,
}

/// What programs need of a machine.
#[derive(Debug, Default)]
pub struct Taken {
    /// For each path in the image the file of the machine.
    pub files: BTreeMap<String, PathBuf>,
    /// The folders of the machine that programs name, and that are not searched: the program, and the folder with its
    /// slash.
    pub withheld: BTreeSet<(String, String)>,
}

/// The names of a machine and of an app's own files, which lie in folders of an image that the machine need not have.
struct Names<'a> {
    machine: &'a Machine,
    own: &'a BTreeMap<String, Elf>,
    links: &'a BTreeMap<String, String>,
}

impl Names<'_> {
    /// Where `path` leads along the app's own links, and whether something of the app is there.
    fn own(&self, path: &str) -> (String, bool) {
        let path = walk(self, path).pop().unwrap_or_default();
        let is_folder = |own: &String| own.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('/'));
        let is_own = self.own.contains_key(&path) || self.own.keys().any(is_folder);
        (path, is_own)
    }
}

impl Root for Names<'_> {
    fn resolve(&self, path: &str) -> Option<String> {
        match self.own(path) {
            (path, true) => Some(path),
            (path, false) => self.machine.find(&path),
        }
    }

    fn link(&self, path: &str) -> Option<String> {
        self.links.get(path).cloned()
    }

    fn withholds(&self, path: &str) -> bool {
        let (path, is_own) = self.own(path);
        !is_own && self.machine.find(&path).is_none() && self.machine.root.join(path).exists()
    }
}

impl Machine {
    /// The machine whose root is `root`, an absolute path without links.
    pub fn new(root: &Path) -> Self {
        let configured = configured(root, "etc/ld.so.conf", &mut BTreeSet::new());
        let mut machine = Self { root: root.to_owned(), configured, places: BTreeSet::new() };
        machine.places = machine.configured.iter().filter_map(|folder| machine.real(folder)).collect();
        machine
    }

    /// What the loader takes of this machine for `own` programs and libraries, by their paths in the image, of which
    /// `links` lead to some. `extra` are the folders that LD_LIBRARY_PATH names.
    ///
    /// # Errors
    /// When a program needs what this machine has not, or what is not to be taken of it.
    pub fn libraries(
        &self,
        own: &BTreeMap<String, Elf>,
        links: &BTreeMap<String, String>,
        extra: &[String],
    ) -> Result<Taken, ClosureError> {
        let root = Names { machine: self, own, links };
        let files = self.files(own, extra);
        let closure = Closure { files: &files, root: &root, extra, configured: &self.configured };
        let mut taken = Taken::default();
        for (path, elf) in own {
            let loaded = match closure.loaded_by(path) {
                // Whatever would load a plugin does without, or knows where else to look.
                Err(_) if elf.interpreter.is_none() => continue,
                loaded => loaded?,
            };
            for path in loaded {
                if let Some(real) = root.resolve(&path).filter(|real| !own.contains_key(real)) {
                    taken.files.insert(self.place(&plain(&path), elf), self.root.join(real));
                }
            }
            let folders = searched(path, elf).into_iter().chain(extra.iter().cloned());
            let folders = folders.filter(|folder| folder.starts_with('/'));
            let withheld = folders.filter(|folder| root.withholds(folder.trim_matches('/')));
            taken.withheld.extend(withheld.map(|folder| (path.clone(), folder)));
        }
        Ok(taken)
    }

    /// Where the file or folder `path`, below the root and without `..`, really is, when it may be taken.
    fn find(&self, path: &str) -> Option<String> {
        let real = self.real(path)?;
        let folder = if self.root.join(&real).is_dir() { path } else { path.rsplit_once('/')?.0 };
        self.is_searched(folder).then_some(real)
    }

    /// Whether libraries are taken from the folder: by its name, and by the place to which that leads.
    fn is_searched(&self, folder: &str) -> bool {
        (is_system(folder) || self.configured.iter().any(|configured| configured == folder))
            && self.real(folder).is_some_and(|real| is_system(&real) || self.places.contains(&real))
    }

    /// Where `path` is without links, below the root.
    fn real(&self, path: &str) -> Option<String> {
        let real = fs::canonicalize(self.root.join(path.trim_matches('/'))).ok()?;
        real.strip_prefix(&self.root).ok()?.to_str().map(str::to_owned)
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
            let folder = plain(&folder);
            let Some(real) = self.is_searched(&folder).then(|| self.real(&folder)).flatten() else { continue };
            if !read.insert(real.clone()) {
                continue;
            }
            for path in fs::read_dir(self.root.join(real)).into_iter().flatten().flatten().map(|entry| entry.path()) {
                let is_library = path.file_name().is_some_and(|name| name.to_string_lossy().contains(".so"));
                let Some(real) = is_library.then(|| fs::canonicalize(&path).ok()).flatten() else { continue };
                let Some(path) = real.strip_prefix(&self.root).ok().and_then(Path::to_str) else { continue };
                if files.contains_key(path) {
                    continue;
                }
                // A file that cannot be read, or is not ELF, could not be loaded.
                if let Ok((_, elf)) = open(&real) {
                    folders.extend(searched(path, &elf));
                    files.insert(path.to_owned(), elf);
                }
            }
        }
        files
    }
}

/// Opens a library or a loader at a path without links. It must be a regular ELF file.
///
/// # Errors
/// When it cannot be read, or is anything else.
pub fn open(path: &Path) -> io::Result<(File, Elf)> {
    let unfit =
        |found: String| io::Error::new(io::ErrorKind::InvalidData, format!("expected a library, found {found}"));
    // Without waiting for what a pipe has to say.
    #[allow(clippy::cast_possible_wrap, reason = "flags of open(2) are an int there")]
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(unfit("something that is no regular file".into()));
    }
    if about.len() > LIMIT {
        return Err(unfit(format!("{} bytes; at most {LIMIT} are taken", about.len())));
    }
    match Elf::read(&file) {
        Ok(Some(elf)) if elf.shared => {
            file.rewind()?;
            Ok((file, elf))
        }
        Ok(_) => Err(unfit("a file that is no shared object".into())),
        Err(error) => Err(unfit(error.to_string())),
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

/// The folders of a file as ldconfig(8) reads it, and of those that it includes; `read` are those that were read
/// before.
fn configured(root: &Path, file: &str, read: &mut BTreeSet<String>) -> Vec<String> {
    if !read.insert(file.to_owned()) {
        return Vec::new();
    }
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
                folders.extend(names.iter().flat_map(|name| configured(root, &format!("{folder}/{name}"), read)));
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
        let found = machine.libraries(&program(&["libown.so"]), &BTreeMap::new(), &[]).expect("all is there").files;
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
        let found = machine.libraries(&own, &links, &[]).expect("all is there").files;
        assert!(found.keys().all(|path| !path.contains("..")), "{found:?}");
        assert!(found.values().any(|path| path.ends_with("opt/own/libown.so")), "{found:?}");
        let error = machine.libraries(&program(&["libno.so.3"]), &BTreeMap::new(), &[]).expect_err("not there");
        assert!(error.to_string().starts_with("app/hello needs libno.so.3, "), "{error}");
    }

    /// A machine with a loader and glibc, and libraries that belong to one user below `home/u`.
    fn machine(dir: &Path) -> Machine {
        let write = |path: &str, bytes: &[u8]| {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
            fs::write(path, bytes).expect("a file");
        };
        write("lib64/ld-linux-x86-64.so.2", &Draft::new().bytes());
        write("usr/lib/x86_64-linux-gnu/libc.so.6", &Draft::new().bytes());
        write("usr/lib/x86_64-linux-gnu/own/libdeep.so", &Draft::new().bytes());
        write("usr/lib/x86_64-linux-gnu/libfixed.so", &Draft::new().kind(2).bytes());
        write("usr/lib/x86_64-linux-gnu/libtext.so", b"INPUT(-lc)");
        write("home/u/libsecret.so", &Draft::new().bytes());
        write("home/u/shadow", b"root:");
        write("opt/vendor/libvendor.so", &Draft::new().bytes());
        write("opt/vendor/private/libsecret.so", &Draft::new().bytes());
        write("etc/ld.so.conf", b"include /etc/ld.so.conf\n/opt/vendor\n/opt/linked\n");
        std::os::unix::fs::symlink("../../home/u", dir.join("usr/lib/u")).expect("a link");
        std::os::unix::fs::symlink("vendor", dir.join("opt/linked")).expect("a link");
        Machine::new(&fs::canonicalize(dir).expect("a path"))
    }

    #[test]
    fn only_libraries_in_folders_of_libraries_are_taken() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let machine = machine(dir.path());
        let draft = |name: &str| Draft::new().interpreter("/lib64/ld-linux-x86-64.so.2").needed(name);
        let of = |draft: Draft, extra: &[&str]| {
            let own = BTreeMap::from([("app/hello".to_owned(), draft.elf())]);
            let extra: Vec<String> = extra.iter().map(|folder| (*folder).to_owned()).collect();
            let taken = machine.libraries(&own, &BTreeMap::new(), &extra).map_err(|error| error.to_string())?;
            let withheld: Vec<String> = taken.withheld.into_iter().map(|(_, folder)| folder).collect();
            let files = taken.files.into_keys().filter(|path| !path.contains("ld-linux"));
            Ok::<_, String>((files.collect::<Vec<_>>(), withheld))
        };
        let only = |path: &str| Ok((vec![path.to_owned()], Vec::new()));
        assert_eq!(of(draft("libc.so.6"), &[]), only("usr/lib/x86_64-linux-gnu/libc.so.6"));
        let deep = "/usr/lib/x86_64-linux-gnu/own";
        assert_eq!(of(draft("libdeep.so").runpath(deep), &[]), only("usr/lib/x86_64-linux-gnu/own/libdeep.so"));
        assert_eq!(of(draft("libdeep.so"), &[deep]), only("usr/lib/x86_64-linux-gnu/own/libdeep.so"));
        assert_eq!(of(draft("libvendor.so"), &[]), only("lib/x86_64-linux-gnu/libvendor.so"));
        assert_eq!(of(draft("/opt/vendor/libvendor.so"), &[]), only("lib/x86_64-linux-gnu/libvendor.so"));
        let (files, withheld) = of(draft("libc.so.6").runpath("/home/u:/nowhere"), &["/home"]).expect("all is there");
        assert_eq!((files.len(), withheld), (1, vec!["/home".to_owned(), "/home/u".to_owned()]));

        for (draft, extra) in [
            (draft("libsecret.so").runpath("/home/u"), &[][..]),
            (draft("libsecret.so").rpath("/home/u"), &[]),
            (draft("libsecret.so"), &["/home/u"]),
            (draft("libsecret.so").runpath("$ORIGIN/../home/u"), &[]),
            (draft("libsecret.so").runpath("/usr/lib/u"), &[]),
            (draft("libsecret.so").runpath("/opt/vendor/private"), &[]),
        ] {
            let error = of(draft, extra).expect_err("withheld");
            assert!(error.contains("app/hello needs libsecret.so, which is in no folder"), "{error}");
            assert!(error.contains("too, which is not searched: libraries are the app's own, or"), "{error}");
        }
        for (name, expected) in [
            ("/home/u/libsecret.so", "which is not taken: "),
            ("$ORIGIN/../home/u/libsecret.so", "which is not taken: "),
            ("libtext.so", "which is in no folder"),
            ("libfixed.so", "which is"),
        ] {
            let error = of(draft(name), &[]).expect_err("nothing to take");
            assert!(error.contains(expected), "{name}: {error}");
        }
    }

    #[test]
    fn only_loaders_are_interpreters() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let machine = machine(dir.path());
        for (interpreter, expected) in [
            ("/home/u/shadow", "needs /home/u/shadow, which is not taken: "),
            ("/home/u/libsecret.so", "which is not taken: "),
            ("/usr/lib/../../home/u/shadow", "which is not taken: "),
            ("/home/u", "which is not taken: "),
            ("/nowhere", "needs the interpreter /nowhere, which is not there"),
            ("lib64/ld-linux-x86-64.so.2", "which is no loader: expected an absolute path"),
            ("/usr/lib/x86_64-linux-gnu/libtext.so", "which is no loader: expected an ELF file"),
            ("/usr/lib/x86_64-linux-gnu/libfixed.so", "which is no loader: expected an ELF file"),
            ("/usr/lib/x86_64-linux-gnu/own/libdeep.so", "which is no loader: expected one in /lib"),
        ] {
            let own = BTreeMap::from([("app/hello".to_owned(), Draft::new().interpreter(interpreter).elf())]);
            let error = machine.libraries(&own, &BTreeMap::new(), &[]).expect_err(interpreter).to_string();
            assert!(error.contains(expected), "{interpreter}: {error}");
        }
    }

    #[test]
    fn what_is_opened_is_a_library() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| dir.path().join(name);
        fs::write(path("library"), Draft::new().bytes()).expect("a file");
        fs::write(path("fixed"), Draft::new().kind(2).bytes()).expect("a file");
        fs::write(path("damaged"), b"\x7fELF").expect("a file");
        fs::write(path("text"), b"text").expect("a file");
        fs::create_dir(path("folder")).expect("a folder");
        std::os::unix::fs::symlink("library", path("link")).expect("a link");
        let large = File::create(path("large")).expect("a file");
        large.set_len(LIMIT + 1).expect("a sparse file");
        let pipe = std::process::Command::new("mkfifo").arg(path("pipe")).status().expect("mkfifo");
        assert!(pipe.success());
        assert!(open(&path("library")).is_ok());
        for name in ["fixed", "damaged", "text", "folder", "link", "large", "pipe", "nowhere"] {
            assert!(open(&path(name)).is_err(), "{name}");
        }
    }
}
