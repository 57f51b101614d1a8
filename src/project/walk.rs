//! The listing of an app's folder.

use std::{collections::BTreeMap, fs, io, os::unix::fs::PermissionsExt as _, path::Path};

use super::{
    AppFile, FileKind, ProjectError,
    ignore::{Rules, Scope},
};
use crate::glob::ancestors;

/// The files of a folder by their relative paths.
#[derive(Debug, Default)]
pub(super) struct Listing(BTreeMap<String, FileKind>);

impl Listing {
    /// What lies at `path` itself.
    pub(super) fn get(&self, path: &str) -> Option<&FileKind> {
        self.0.get(path)
    }

    /// All paths, sorted.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What lies at `path` when links are followed, as far as they lead within the listing. Never a link.
    pub(super) fn follow(&self, path: &str) -> Option<&FileKind> {
        /// As many as Linux follows (path_resolution(7)).
        const LINKS: usize = 40;
        let mut links = 0;
        let mut todo: Vec<&str> = path.split('/').rev().collect();
        let mut done: Vec<&str> = Vec::new();
        while let Some(part) = todo.pop() {
            match part {
                "" | "." => continue,
                ".." => {
                    done.pop()?;
                    continue;
                }
                part => done.push(part),
            }
            if let FileKind::Link { target } = self.0.get(&done.join("/"))? {
                links += 1;
                if links > LINKS || target.starts_with('/') {
                    return None;
                }
                done.pop();
                todo.extend(target.split('/').rev());
            }
        }
        if done.is_empty() { Some(&FileKind::Folder) } else { self.0.get(&done.join("/")) }
    }

    /// The files, sorted by path: a folder's path is the beginning of its contents' and so comes before them.
    pub(super) fn into_files(self) -> Vec<AppFile> {
        self.0.into_iter().map(|(path, kind)| AppFile { path, kind }).collect()
    }

    /// Adds the folders that a file lies in where they are missing: what is taken out of a folder that itself stays out.
    fn complete(&mut self) {
        let missing: Vec<String> = self
            .0
            .keys()
            .flat_map(|path| ancestors(path).take_while(|folder| !self.0.contains_key(*folder)))
            .map(str::to_owned)
            .collect();
        self.0.extend(missing.into_iter().map(|folder| (folder, FileKind::Folder)));
    }
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) files: Listing,
    pub(super) dependencies: Listing,
    pub(super) warnings: Vec<String>,
}

impl Found {
    /// One file, and nothing else.
    pub(super) fn of(file: AppFile) -> Self {
        Self { files: Listing(BTreeMap::from([(file.path, file.kind)])), ..Self::default() }
    }
}

/// A folder that is yet to be read.
struct Folder<'a> {
    path: String,
    scope: Scope,
    rules: &'a Rules,
    /// Whether it is itself in the image; otherwise only what rules take back in.
    taken: bool,
    of_dependencies: bool,
}

/// Lists what `rules` leave of the folder `root`. Folders of the name that `dependencies` gives are listed apart, after
/// its rules.
pub(super) fn walk(root: &Path, rules: &Rules, dependencies: Option<&(&str, Rules)>) -> Result<Found, ProjectError> {
    let mut found = Found::default();
    let top = Folder { path: String::new(), scope: rules.top(), rules, taken: true, of_dependencies: false };
    let mut folders = vec![top];
    while let Some(folder) = folders.pop() {
        for entry in entries(&root.join(&folder.path))? {
            let name = entry.file_name();
            // A name that is not UTF-8 can be left out by what matches the rest of it.
            let path =
                format!("{}{}{}", folder.path, if folder.path.is_empty() { "" } else { "/" }, name.to_string_lossy());
            let file_type = entry.file_type().map_err(|source| unreadable(&entry.path(), source))?;
            let apart = dependencies
                .filter(|(apart, _)| file_type.is_dir() && folder.taken && !folder.of_dependencies && name == *apart);
            let (rules, above, of_dependencies) = match apart {
                Some((_, rules)) => (rules, &rules.top(), true),
                None => (folder.rules, &folder.scope, folder.of_dependencies),
            };
            let taken = !rules.leaves_out(above, &path);
            if taken {
                let kind = inspect(&entry, file_type, &path, &mut found.warnings)?;
                let listing = if of_dependencies { &mut found.dependencies } else { &mut found.files };
                listing.0.insert(path.clone(), kind);
            }
            if file_type.is_dir() && name.to_str().is_some() {
                let scope = rules.enter(above, &path);
                if taken || rules.may_take_below(&scope, &path) {
                    folders.push(Folder { path, scope, rules, taken, of_dependencies });
                }
            }
        }
    }
    found.files.complete();
    Ok(found)
}

/// What `rules` leave of the top of the folder `root`, links followed: what lies in its folders is not looked at.
pub(super) fn top(root: &Path, rules: &Rules) -> Result<Listing, ProjectError> {
    let mut listing = Listing::default();
    for entry in entries(root)? {
        let file_type = entry.file_type().map_err(|source| unreadable(&entry.path(), source))?;
        let path = entry.file_name().to_string_lossy().into_owned();
        if file_type.is_dir() || rules.leaves_out(&rules.top(), &path) {
            continue;
        }
        let about = fs::metadata(entry.path());
        if let Ok(about) = about.as_ref().map_err(drop)
            && about.is_file()
        {
            let executable = about.permissions().mode() & 0o100 != 0;
            listing.0.insert(path, FileKind::File { size: about.len(), executable });
        }
    }
    Ok(listing)
}

/// The names of what lies at the top of the folder `root`.
pub(super) fn names(root: &Path) -> Result<Vec<String>, ProjectError> {
    Ok(entries(root)?.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

/// What lies in a folder, sorted by name, so that messages too are the same on every machine.
fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>, ProjectError> {
    let mut entries = fs::read_dir(folder)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| unreadable(folder, source))?;
    entries.sort_by_cached_key(fs::DirEntry::file_name);
    Ok(entries)
}

fn unreadable(path: &Path, source: io::Error) -> ProjectError {
    ProjectError::Io { path: path.to_owned(), source }
}

/// What a thing that is to go into the image is, when it can.
fn inspect(
    entry: &fs::DirEntry,
    file_type: fs::FileType,
    path: &str,
    warnings: &mut Vec<String>,
) -> Result<FileKind, ProjectError> {
    let name = entry.file_name();
    let unfit = |expected| ProjectError::Name { expected, path: entry.path() };
    let name = name.to_str().ok_or_else(|| unfit("is UTF-8"))?;
    // In a layer that says: delete this name from the layers below (OCI image specification, "Whiteouts").
    if name.starts_with(".wh.") {
        return Err(unfit("does not begin with .wh., which images delete files with"));
    }
    if file_type.is_dir() {
        return Ok(FileKind::Folder);
    }
    if file_type.is_symlink() {
        let target = fs::read_link(entry.path()).map_err(|source| unreadable(&entry.path(), source))?;
        let target =
            target.into_os_string().into_string().map_err(|_| unfit("is UTF-8, and what it links to as well"))?;
        return link(entry, path, target, warnings);
    }
    if !file_type.is_file() {
        return Err(ProjectError::Special { path: entry.path() });
    }
    let about = entry.metadata().map_err(|source| unreadable(&entry.path(), source))?;
    Ok(FileKind::File { size: about.len(), executable: about.permissions().mode() & 0o100 != 0 })
}

/// A link within the app is kept, and so is an absolute one: it names a place in the image (`/tmp`, `/run/secrets/…`, a
/// volume). One that climbs out of the app can only mean a place on this machine.
fn link(
    entry: &fs::DirEntry,
    path: &str,
    target: String,
    warnings: &mut Vec<String>,
) -> Result<FileKind, ProjectError> {
    /// What every container has, so that a link to it deserves no warning.
    const EVERYWHERE: [&str; 5] = ["/dev/", "/proc/", "/run/", "/sys/", "/tmp/"];
    if target.starts_with('/') {
        if !EVERYWHERE.iter().any(|place| format!("{target}/").starts_with(place)) {
            warnings.push(format!("{path} links to {target}, which is kept and means that path in the image"));
        }
        return Ok(FileKind::Link { target });
    }
    let mut depth = ancestors(path).count();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return Err(ProjectError::Link { path: entry.path(), target }),
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    Ok(FileKind::Link { target })
}
