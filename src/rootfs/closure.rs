//! Whether every program and library of a root filesystem would be loaded.

use std::collections::{BTreeMap, BTreeSet};

use super::{Content, Installed, NodeKind, ReadMembers, RootfsError, Tree, contents};
use crate::{
    elf::{
        Elf, Scanned,
        closure::{self, Closure, ClosureError, Missing},
    },
    package::{Contents as _, EntryKind, Listed, locked::Selection},
};

/// `e_machine` of the programs for an architecture, in apk's or dpkg's words.
const MACHINES: [(&str, u16); 16] = [
    ("x86_64", 62),
    ("amd64", 62),
    ("aarch64", 183),
    ("arm64", 183),
    ("x86", 3),
    ("i386", 3),
    ("armhf", 40),
    ("armv7", 40),
    ("armel", 40),
    ("ppc64le", 21),
    ("ppc64el", 21),
    ("riscv64", 243),
    ("s390x", 22),
    ("loongarch64", 258),
    ("loong64", 258),
    ("mips64el", 8),
];

impl closure::Root for Tree {
    fn resolve(&self, path: &str) -> Option<String> {
        Tree::resolve(self, path)
    }

    fn link(&self, path: &str) -> Option<String> {
        match &self.get(path)?.kind {
            NodeKind::Symlink(target) => Some(target.clone()),
            _ => None,
        }
    }
}

/// Checks that the loader would find everything that the ELF files of `tree` need; `extra` are the folders that
/// LD_LIBRARY_PATH names. Files for other processors than `arch` (test data, firmware) do not count. What a plugin
/// lacks that no program is linked with is not an error where its package was requested ([`Selection::All`]): a package
/// may merely recommend what its plugins need. That is returned.
///
/// # Errors
/// When something else is missing, or when a file has to be read once more and cannot be.
pub fn check_libraries<R: Listed>(
    tree: &Tree,
    packages: &[Installed<R>],
    arch: &str,
    read: &ReadMembers<'_>,
    extra: &[String],
) -> Result<Vec<Missing>, RootfsError> {
    let files = elf_files(tree, packages, arch, read)?;
    let missing = Closure { files: &files, root: tree, extra, configured: &[] }.missing();
    let is_optional = |missing: &Missing| {
        let package = tree.get(&missing.file).and_then(|node| node.package);
        let is_plugin = files.get(&missing.file).is_some_and(|elf| elf.interpreter.is_none());
        is_plugin && missing.program.is_none() && package.is_some_and(|at| packages[at].selection == Selection::All)
    };
    let (optional, missing): (Vec<_>, Vec<_>) = missing.into_iter().partition(is_optional);
    if missing.is_empty() { Ok(optional) } else { Err(ClosureError { missing }.into()) }
}

/// The paths of libraries that are left out of `tree`, although a package that was requested is linked with them: by the place
/// of the package that has them. `extra` are the folders that LD_LIBRARY_PATH names.
///
/// # Errors
/// When a file has to be read once more and cannot be.
pub fn left_out_libraries<R: Listed>(
    tree: &Tree,
    packages: &[Installed<R>],
    arch: &str,
    read: &ReadMembers<'_>,
    extra: &[String],
) -> Result<BTreeMap<usize, BTreeSet<String>>, RootfsError> {
    let mut found: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    let is_whole = |at: usize| packages[at].selection == Selection::All;
    if !(0..packages.len()).any(is_whole) {
        return Ok(found);
    }
    let files = elf_files(tree, packages, arch, read)?;
    let missing = Closure { files: &files, root: tree, extra, configured: &[] }.missing();
    let of_whole =
        missing.iter().filter(|missing| tree.get(&missing.file).and_then(|node| node.package).is_some_and(is_whole));
    let names: BTreeSet<&str> = of_whole.map(|missing| missing.library.as_str()).collect();
    for (at, installed) in packages.iter().enumerate().filter(|(at, _)| !is_whole(*at)) {
        for entry in installed.package.entries() {
            let Some((folder, name)) = entry.path.rsplit_once('/').filter(|(_, name)| names.contains(name)) else {
                continue;
            };
            let folder = tree.resolve(folder).unwrap_or_else(|| folder.to_owned());
            // A link to the library by its full version, which lies beside it.
            let target = match &entry.kind {
                EntryKind::Symlink(target) if !target.contains('/') => Some(target.as_str()),
                _ => None,
            };
            let paths = [Some(name), target].into_iter().flatten().map(|name| format!("{folder}/{name}"));
            found.entry(at).or_default().extend(paths.filter(|path| tree.get(path).is_none()));
        }
    }
    found.retain(|_, paths| !paths.is_empty());
    Ok(found)
}

/// The ELF files of `tree` for `arch`.
fn elf_files<R: Listed>(
    tree: &Tree,
    packages: &[Installed<R>],
    arch: &str,
    read: &ReadMembers<'_>,
) -> Result<BTreeMap<String, Elf>, RootfsError> {
    let mut files: BTreeMap<String, Elf> = BTreeMap::new();
    for (path, node) in tree.iter() {
        let (NodeKind::File(Content::Member(place)), Some(at)) = (&node.kind, node.package) else { continue };
        let elf = match &packages[at].package.entries()[*place].elf {
            Scanned::No => continue,
            Scanned::Elf(elf) => Some(Elf::clone(elf)),
            // A malformed file is never loaded, and is treated as any other file.
            Scanned::Unclear => Elf::of_bytes(&contents(packages, at, &[*place], read)?.concat()).ok().flatten(),
        };
        let ours = elf.filter(|elf| is_for(elf, arch));
        files.extend(ours.map(|elf| (path.to_owned(), elf)));
    }
    Ok(files)
}

/// Whether the file is for `arch`, in apk's or dpkg's words.
pub fn is_for(elf: &Elf, arch: &str) -> bool {
    MACHINES.iter().find(|(name, _)| *name == arch).is_none_or(|(_, machine)| elf.machine == *machine)
}

/// Files that no package has: an app's own.
#[derive(Debug, Clone, Default)]
pub struct Programs {
    /// Those that a loader takes, by their paths below the root.
    pub files: BTreeMap<String, Elf>,
    /// Links by their paths, and what they hold.
    pub links: BTreeMap<String, String>,
    /// The folders that LD_LIBRARY_PATH names.
    pub extra: Vec<String>,
}

/// What a loader takes out of packages.
#[derive(Debug)]
pub struct Libraries {
    /// The paths of interpreters and libraries, and of the links that lead to them, by the place of their package.
    pub paths: BTreeMap<usize, BTreeSet<String>>,
    /// What libraries of the app lack. Whatever loads them may do without.
    pub optional: Vec<Missing>,
}

/// What the loader takes out of `tree` for `programs`.
///
/// # Errors
/// When a program lacks something, or when a file has to be read once more and cannot be.
pub fn libraries<R: Listed>(
    tree: &Tree,
    packages: &[Installed<R>],
    arch: &str,
    read: &ReadMembers<'_>,
    programs: &Programs,
) -> Result<Libraries, RootfsError> {
    let mut files = elf_files(tree, packages, arch, read)?;
    // Where links of the tree lead.
    let place = |path: &String| match path.rsplit_once('/') {
        Some((folder, name)) => tree.resolve(folder).map_or_else(|| path.clone(), |folder| format!("{folder}/{name}")),
        None => path.clone(),
    };
    let own: BTreeMap<String, &Elf> = programs.files.iter().map(|(path, elf)| (place(path), elf)).collect();
    let links: Vec<(String, &String)> = programs.links.iter().map(|(path, target)| (place(path), target)).collect();
    let mut tree = tree.clone();
    for (path, elf) in own.iter().filter(|(_, elf)| is_for(elf, arch)) {
        tree.write(path, 0o755, Vec::new());
        files.insert(path.clone(), Elf::clone(elf));
    }
    links.iter().for_each(|(path, target)| tree.link(path, target));
    let closure = Closure { files: &files, root: &tree, extra: &programs.extra, configured: &[] };
    let mut libraries = Libraries { paths: BTreeMap::new(), optional: Vec::new() };
    for (path, elf) in own.iter().filter(|(_, elf)| is_for(elf, arch)) {
        let found = match closure.needed_by(path) {
            Err(error) if elf.interpreter.is_none() => {
                libraries.optional.extend(error.missing);
                continue;
            }
            found => found?,
        };
        for path in found {
            if let Some(at) = tree.get(&path).and_then(|node| node.package) {
                libraries.paths.entry(at).or_default().insert(path);
            }
        }
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        deb::package::testing::Draft,
        elf::testing::Draft as ElfDraft,
        glob::PatternSet,
        rootfs::{Settings, debian::assemble},
        store::BlobDir,
    };

    #[test]
    fn what_a_requested_package_is_linked_with_is_not_left_out() {
        let library = "usr/lib/x86_64-linux-gnu/liba.so.1";
        let found = |selection: Selection| {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let blobs = BlobDir::open(dir.path()).expect("a store");
            let a = Draft::new("liba1").file(&format!("{library}.2"), ElfDraft::new().soname("liba.so.1").bytes());
            let tool = ElfDraft::new().needed("liba.so.1").bytes();
            let tool = Draft::new("tool").file("usr/lib/x86_64-linux-gnu/tool.so", tool).installed(&blobs);
            let packages = [a.symlink(library, "liba.so.1.2").installed(&blobs), Installed { selection, ..tool }];
            let strip = PatternSet::new(vec!["/usr/lib/*/liba.so.*".parse().expect("a pattern")]);
            let read: &ReadMembers<'_> = &|_, _| unreachable!("nothing is unclear");
            let tree = assemble(&packages, &Settings { strip, ..Settings::default() }, read).expect("a tree");
            left_out_libraries(&tree, &packages, "amd64", read, &[]).expect("files that can be read")
        };
        assert_eq!(found(Selection::Stripped), BTreeMap::new());
        let paths = BTreeSet::from([library.to_owned(), format!("{library}.2")]);
        assert_eq!(found(Selection::All), BTreeMap::from([(0, paths)]));
    }

    fn check(drafts: Vec<Draft>) -> Result<(), String> {
        check_of(drafts, false).map(drop)
    }

    /// With `whole`, all of these packages were requested.
    fn check_of(drafts: Vec<Draft>, whole: bool) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let blobs = BlobDir::open(dir.path()).expect("a store");
        let share = if whole { Selection::All } else { Selection::Stripped };
        let of = |draft: Draft| Installed { selection: share.clone(), ..draft.installed(&blobs) };
        let packages: Vec<_> = drafts.into_iter().map(of).collect();
        let read: &ReadMembers<'_> = &|_, _| unreachable!("nothing is unclear");
        let tree = assemble(&packages, &Settings::default(), read).expect("a tree");
        let checked = check_libraries(&tree, &packages, "amd64", read, &[]);
        checked.map(|missing| missing.iter().map(ToString::to_string).collect()).map_err(|e| e.to_string())
    }

    #[test]
    fn programs_find_libraries_of_other_packages_and_links_count() {
        let program = ElfDraft::new().interpreter("/lib64/ld-linux-x86-64.so.2").needed("libx.so.1").bytes();
        let library = ElfDraft::new().soname("libx.so.1").bytes();
        let foreign = ElfDraft::new().machine(183).needed("libnowhere.so").bytes();
        let libc = || Draft::new("libc").file("lib64/ld-linux-x86-64.so.2", ElfDraft::new().bytes());
        let x = |name: &str| {
            let draft = Draft::new("x").file("usr/lib/x86_64-linux-gnu/libx.so.1.2", &library);
            draft.symlink(&format!("usr/lib/x86_64-linux-gnu/{name}"), "libx.so.1.2")
        };
        let a = || Draft::new("a").file("bin/a", &program).file("usr/share/a/test-data", &foreign);
        assert_eq!(check(vec![libc(), x("libx.so.1"), a()]), Ok(()));

        let error = check(vec![libc(), x("libx.so.2"), a()]).expect_err("nobody has that name");
        assert!(error.starts_with("usr/bin/a needs libx.so.1, "), "{error}");
        let error = check(vec![x("libx.so.1"), a()]).expect_err("no loader");
        assert!(error.contains("usr/bin/a needs") && error.contains("/lib64/ld-linux-x86-64.so.2"), "{error}");
    }

    /// What `programs` are linked with, of packages of these drafts: package, and its paths.
    fn linked(drafts: Vec<Draft>, programs: &Programs) -> Result<Vec<(String, Vec<String>)>, String> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let blobs = BlobDir::open(dir.path()).expect("a store");
        let packages: Vec<_> = drafts.into_iter().map(|draft| draft.installed(&blobs)).collect();
        let read: &ReadMembers<'_> = &|_, _| unreachable!("nothing is unclear");
        let tree = assemble(&packages, &Settings::default(), read).expect("a tree");
        let needed = libraries(&tree, &packages, "amd64", read, programs).map_err(|e| e.to_string())?.paths;
        let named = |(at, paths): (usize, BTreeSet<String>)| {
            (packages[at].record.name().to_owned(), paths.into_iter().collect())
        };
        Ok(needed.into_iter().map(named).collect())
    }

    #[test]
    fn of_packages_exactly_what_the_loader_takes() {
        let elf = |draft: &ElfDraft| Elf::of_bytes(&draft.bytes()).expect("ELF").expect("a program");
        let program =
            ElfDraft::new().interpreter("/lib64/ld-linux-x86-64.so.2").needed("libx.so.1").needed("libown.so");
        let program = program.runpath("$ORIGIN");
        let own = ElfDraft::new().soname("libown.so").needed("libc.so.6");
        let files = BTreeMap::from([
            ("app/hello".to_owned(), elf(&program)),
            ("app/libown.so.3".to_owned(), elf(&own)),
            ("app/plugin.so".to_owned(), elf(&ElfDraft::new().needed("libnowhere.so"))),
            ("app/other".to_owned(), elf(&ElfDraft::new().machine(183).needed("libnowhere.so"))),
        ]);
        let links = BTreeMap::from([("app/libown.so".to_owned(), "libown.so.3".to_owned())]);
        let programs = Programs { files, links, extra: Vec::new() };
        let triplet = "usr/lib/x86_64-linux-gnu";
        let drafts = |x: &str| {
            let libc = Draft::new("libc6").file("lib64/ld-linux-x86-64.so.2", ElfDraft::new().bytes());
            let libc = libc.file(&format!("{triplet}/libc.so.6"), ElfDraft::new().soname("libc.so.6").bytes());
            let libc = libc.file(&format!("{triplet}/libm.so.6"), ElfDraft::new().soname("libm.so.6").bytes());
            let library = ElfDraft::new().soname("libx.so.1").needed("libc.so.6").bytes();
            let x = Draft::new("libx1").file(&format!("{triplet}/libx.so.1.2"), library).symlink(x, "libx.so.1.2");
            vec![libc, x, Draft::new("hello-dev").file("usr/bin/cc", ElfDraft::new().bytes())]
        };
        let paths = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            linked(drafts(&format!("{triplet}/libx.so.1")), &programs),
            Ok(vec![
                ("libc6".into(), paths(&["usr/lib/x86_64-linux-gnu/libc.so.6", "usr/lib64/ld-linux-x86-64.so.2"])),
                (
                    "libx1".into(),
                    paths(&["usr/lib/x86_64-linux-gnu/libx.so.1", "usr/lib/x86_64-linux-gnu/libx.so.1.2"])
                ),
            ])
        );
        let error = linked(drafts(&format!("{triplet}/libx.so.2")), &programs).expect_err("libx.so.1 is not there");
        assert!(error.starts_with("app/hello needs libx.so.1, "), "{error}");
    }

    #[test]
    fn plugins_of_packages_that_somebody_asked_for_may_lack_something() {
        let plugin = ElfDraft::new().needed("libnowhere.so.1").bytes();
        let a = || Draft::new("a").file("usr/lib/a/plugin.so", &plugin);
        let found = check_of(vec![a()], true).expect("only a plugin");
        assert!(found.len() == 1 && found[0].starts_with("usr/lib/a/plugin.so needs libnowhere.so.1"), "{found:?}");
        assert!(check(vec![a()]).is_err(), "the recipe's own are to be whole");
        let program = ElfDraft::new().interpreter("/lib64/ld-linux-x86-64.so.2").needed("libnowhere.so.1").bytes();
        assert!(check_of(vec![Draft::new("a").file("usr/bin/a", &program)], true).is_err());
        let linked = ElfDraft::new().interpreter("/lib/ld.so").needed("plugin.so").runpath("/usr/lib/a").bytes();
        let loader = Draft::new("b").file("lib/ld.so", ElfDraft::new().bytes()).file("usr/bin/b", &linked);
        assert!(check_of(vec![a(), loader], true).is_err(), "a program is linked with it");
    }
}
