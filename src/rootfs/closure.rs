//! Whether every program and library of a root filesystem would be loaded.

use std::collections::BTreeMap;

use super::{Content, Installed, NodeKind, ReadMembers, RootfsError, Tree, contents};
use crate::{
    elf::{
        Elf, Scanned,
        closure::{Closure, ClosureError, Missing},
    },
    package::{Contents as _, Listed},
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

/// Checks that the loader would find everything that the ELF files of `tree` need; `extra` are the folders that
/// LD_LIBRARY_PATH names. Files for other processors than `arch` (test data, firmware) do not count. What a plugin lacks that no
/// program is linked with is no error where somebody asked for its package ([`Installed::whole`]): a package may merely recommend
/// what its plugins need. That is returned.
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
    let machine = MACHINES.iter().find(|(name, _)| *name == arch).map(|(_, machine)| *machine);
    let mut files: BTreeMap<String, Elf> = BTreeMap::new();
    for (path, node) in tree.iter() {
        let (NodeKind::File(Content::Member(place)), Some(at)) = (&node.kind, node.package) else { continue };
        let elf = match &packages[at].package.entries()[*place].elf {
            Scanned::No => continue,
            Scanned::Elf(elf) => Some(Elf::clone(elf)),
            // What is malformed is loaded by nobody, and no worse than any other file.
            Scanned::Unclear => Elf::of_bytes(&contents(packages, at, &[*place], read)?.concat()).ok().flatten(),
        };
        let ours = elf.filter(|elf| machine.is_none_or(|machine| elf.machine == machine));
        files.extend(ours.map(|elf| (path.to_owned(), elf)));
    }
    let missing = Closure { files: &files, root: tree, extra, configured: &[] }.missing();
    let is_optional = |missing: &Missing| {
        let package = tree.get(&missing.file).and_then(|node| node.package);
        let is_plugin = files.get(&missing.file).is_some_and(|elf| elf.interpreter.is_none());
        is_plugin && missing.program.is_none() && package.is_some_and(|at| packages[at].whole)
    };
    let (optional, missing): (Vec<_>, Vec<_>) = missing.into_iter().partition(is_optional);
    if missing.is_empty() { Ok(optional) } else { Err(ClosureError { missing }.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        deb::package::testing::Draft,
        elf::testing::Draft as ElfDraft,
        rootfs::{Settings, debian::assemble},
        store::BlobDir,
    };

    fn check(drafts: Vec<Draft>) -> Result<(), String> {
        check_of(drafts, false).map(drop)
    }

    /// With `whole`, somebody asked for all of these packages.
    fn check_of(drafts: Vec<Draft>, whole: bool) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let blobs = BlobDir::open(dir.path()).expect("a store");
        let of = |draft: Draft| Installed { whole, ..draft.installed(&blobs) };
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
