//! Whether every program and library of a root filesystem would be loaded.

use std::collections::BTreeMap;

use super::{Content, Installed, NodeKind, ReadMembers, RootfsError, Tree, contents};
use crate::{
    elf::{Elf, Scanned, closure::Closure},
    package::{Contents as _, Listed},
};

/// Checks that the loader would find everything that the ELF files of `tree` need; `extra` are the folders that
/// LD_LIBRARY_PATH names. Files for other processors than most are for (test data, firmware) do not count.
///
/// # Errors
/// When something is missing, or when a file has to be read once more and cannot be.
pub fn check_libraries<R: Listed>(
    tree: &Tree,
    packages: &[Installed<R>],
    read: &ReadMembers<'_>,
    extra: &[String],
) -> Result<(), RootfsError> {
    let mut files: BTreeMap<String, Elf> = BTreeMap::new();
    for (path, node) in tree.iter() {
        let (NodeKind::File(Content::Member(place)), Some(at)) = (&node.kind, node.package) else { continue };
        let elf = match &packages[at].package.entries()[*place].elf {
            Scanned::No => continue,
            Scanned::Elf(elf) => Some(Elf::clone(elf)),
            // What is malformed is loaded by nobody, and no worse than any other file.
            Scanned::Unclear => Elf::of_bytes(&contents(packages, at, &[*place], read)?.concat()).ok().flatten(),
        };
        files.extend(elf.map(|elf| (path.to_owned(), elf)));
    }
    let mut machines: BTreeMap<u16, usize> = BTreeMap::new();
    files.values().for_each(|elf| *machines.entry(elf.machine).or_default() += 1);
    let most = machines.iter().max_by_key(|(_, count)| **count).map(|(machine, _)| *machine);
    files.retain(|_, elf| Some(elf.machine) == most);
    Ok(Closure { files: &files, root: tree, extra, configured: &[] }.check()?)
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
        let dir = tempfile::tempdir().expect("a temporary folder");
        let blobs = BlobDir::open(dir.path()).expect("a store");
        let packages: Vec<_> = drafts.into_iter().map(|draft| draft.installed(&blobs)).collect();
        let read: &ReadMembers<'_> = &|_, _| unreachable!("nothing is unclear");
        let tree = assemble(&packages, &Settings::default(), read).expect("a tree");
        check_libraries(&tree, &packages, read, &[]).map_err(|e| e.to_string())
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
}
