//! Programs and libraries that no package has: those that were compiled, or that somebody brings along.

use std::path::Path;

use crate::{
    elf::Elf,
    project::{AppFile, FileKind},
    rootfs::Programs,
};

/// The ELF files and links among `files`, which lie in the folder `root` here and in `workdir` in the image. What begins as ELF
/// and is none is loaded by nobody, and left out.
pub(super) fn read(root: &Path, files: &[AppFile], workdir: &str, extra: Vec<String>) -> Programs {
    let mut programs = Programs { extra, ..Programs::default() };
    for file in files {
        let path = if workdir.is_empty() { file.path.clone() } else { format!("{workdir}/{}", file.path) };
        match &file.kind {
            FileKind::File { .. } => {
                let elf = file.open(root).ok().and_then(|file| Elf::read(file).ok().flatten());
                programs.files.extend(elf.map(|elf| (path, elf)));
            }
            FileKind::Link { target } => drop(programs.links.insert(path, target.clone())),
            FileKind::Folder => {}
        }
    }
    programs
}
