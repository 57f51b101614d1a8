//! Programs and libraries that are not from packages: results of steps, and files of the app.

use crate::{
    app_folder::AppFolder,
    elf::Elf,
    project::{AppFile, FileKind},
    rootfs::{Programs, is_for},
};

/// The ELF files and links among `files`, which are in the folder `root` here and in `workdir` in the image. A file
/// that begins like ELF and is not valid is left out: no loader accepts it.
pub(super) fn read(root: &AppFolder, files: &[AppFile], workdir: &str, extra: Vec<String>) -> Programs {
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

/// Keeps the programs for `arch`, a distribution's name of a processor.
///
/// # Errors
/// The path of a program for another processor, when it is the `entry` or when no program is for `arch`.
pub(super) fn keep(programs: &mut Programs, arch: &str, entry: Option<&str>) -> Result<(), String> {
    let is_program = |elf: &Elf| elf.interpreter.is_some() || !elf.dynamic;
    let mut foreign = programs.files.iter().filter(|(_, elf)| !is_for(elf, arch));
    let of_entry = foreign.clone().find(|(path, _)| Some(path.as_str()) == entry);
    let any = programs.files.values().any(|elf| is_program(elf) && is_for(elf, arch));
    if let Some((path, _)) = of_entry.or_else(|| foreign.find(|(_, elf)| is_program(elf) && !any)) {
        return Err(path.clone());
    }
    programs.files.retain(|_, elf| is_for(elf, arch));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::testing::Draft;

    #[test]
    fn programs_are_for_the_images_processor() {
        let elf = |draft: Draft| Elf::of_bytes(&draft.bytes()).expect("ELF").expect("a program");
        let program = |machine| elf(Draft::new().machine(machine).interpreter("/lib/ld.so"));
        let of = |files: &[(&str, Elf)]| Programs {
            files: files.iter().map(|(path, elf)| ((*path).to_owned(), elf.clone())).collect(),
            ..Programs::default()
        };
        let kept = |files: &[(&str, Elf)], entry| {
            let mut programs = of(files);
            keep(&mut programs, "amd64", entry).map(|()| programs.files.into_keys().collect::<Vec<_>>())
        };
        let (ours, other) = (program(62), program(183));
        let library = elf(Draft::new().machine(183).soname("x"));
        assert_eq!(kept(&[("app/a", ours.clone()), ("app/b", other.clone())], None), Ok(vec!["app/a".into()]));
        assert_eq!(kept(&[("app/a", ours.clone()), ("app/b", other.clone())], Some("app/b")), Err("app/b".into()));
        assert_eq!(kept(&[("app/b", other)], None), Err("app/b".into()), "none would run");
        assert_eq!(kept(&[("app/x.node", library)], None), Ok(Vec::new()), "what a package brings for others, too");
        assert_eq!(kept(&[("app/a", ours)], Some("app/a")), Ok(vec!["app/a".into()]));
    }
}
