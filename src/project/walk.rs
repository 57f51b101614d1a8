//! The listing of an app's folder.

use std::{collections::BTreeSet, ffi::OsStr, io, os::unix::fs::PermissionsExt as _, path::PathBuf};

use super::{
    ProjectError,
    ignore::{Rules, Scope},
};
use crate::{
    app_folder::{self, AppFolder, Entry, EntryKind},
    glob::{Pattern, PatternSet, ancestors},
    listing::{AppFile, FileKind, Listing},
};

/// The result of a walk.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) files: Listing,
    pub(super) dependencies: Listing,
    pub(super) warnings: Vec<String>,
}

impl Found {
    /// A result of a single file.
    pub(super) fn of(file: AppFile) -> Self {
        Self { files: [file].into_iter().collect(), ..Self::default() }
    }
}

/// A folder that is not read yet.
struct Folder<'a> {
    path: String,
    /// The folder above it, and its name there; `None` for the app's own. It is opened only when it is read, so that at
    /// most one folder of each depth is open.
    place: Option<(app_folder::Folder, std::ffi::OsString)>,
    scope: Scope,
    rules: &'a Rules,
    /// Whether the folder itself is in the image. If not, only files that rules take back in are.
    taken: bool,
    of_dependencies: bool,
}

/// Lists the files of the folder `app` that `rules` do not exclude. Folders that match a pattern of `dependencies` are
/// listed separately, by the rules there.
pub(super) fn walk(
    app: &AppFolder,
    rules: &Rules,
    dependencies: Option<&(Vec<Pattern>, Rules)>,
) -> Result<Found, ProjectError> {
    let mut found = Found::default();
    let scope = rules.top();
    let mut folders =
        vec![Folder { path: String::new(), place: None, scope, rules, taken: true, of_dependencies: false }];
    while let Some(folder) = folders.pop() {
        let unreadable = |source| ProjectError::Io { path: app.path().join(&folder.path), source };
        let opened = match &folder.place {
            None => app.top().clone(),
            Some((above, name)) => above.folder(name).map_err(unreadable)?,
        };
        for Entry { name, kind } in opened.entries().map_err(unreadable)? {
            // A name that is not UTF-8 is left out by a pattern that matches its readable rest.
            let path =
                format!("{}{}{}", folder.path, if folder.path.is_empty() { "" } else { "/" }, name.to_string_lossy());
            let is_folder = kind == EntryKind::Folder;
            let is_apart = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(&path));
            let apart = dependencies
                .filter(|(patterns, _)| is_folder && folder.taken && !folder.of_dependencies && is_apart(patterns));
            let (rules, above, of_dependencies) = match apart {
                Some((_, rules)) => (rules, &rules.top(), true),
                None => (folder.rules, &folder.scope, folder.of_dependencies),
            };
            let taken = !rules.leaves_out(above, &path);
            if taken {
                let place = Place { app, folder: &opened, name: &name, path: &path };
                let kind = place.inspect(kind, &mut found.warnings)?;
                let listing = if of_dependencies { &mut found.dependencies } else { &mut found.files };
                listing.insert(path.clone(), kind);
            }
            if is_folder && name.to_str().is_some() {
                let scope = rules.enter(above, &path);
                if taken || rules.may_take_below(&scope, &path) {
                    let place = Some((opened.clone(), name));
                    folders.push(Folder { path, place, scope, rules, taken, of_dependencies });
                }
            }
        }
    }
    found.files.complete();
    Ok(found)
}

/// The `files` that none of the patterns `sources` matches, each folder only where something of it is left or where it was
/// empty before. A later pattern with `!` takes files back.
pub(super) fn without(files: Vec<AppFile>, sources: &[Pattern]) -> Vec<AppFile> {
    if sources.is_empty() {
        return files;
    }
    let left_out = PatternSet::new(sources.to_vec());
    let is_folder = |file: &AppFile| matches!(file.kind, FileKind::Folder);
    let taken: BTreeSet<&str> =
        files.iter().filter(|file| !is_folder(file) && !left_out.matches(&file.path)).map(|file| &*file.path).collect();
    let needed: BTreeSet<String> = taken.iter().flat_map(|path| ancestors(path)).map(str::to_owned).collect();
    let had: BTreeSet<&str> = files.iter().flat_map(|file| ancestors(&file.path)).collect();
    let stays = |file: &AppFile| {
        if !is_folder(file) {
            return taken.contains(&*file.path);
        }
        needed.contains(&file.path) || (!had.contains(&*file.path) && !left_out.matches(&file.path))
    };
    let stays: Vec<bool> = files.iter().map(stays).collect();
    files.into_iter().zip(stays).filter_map(|(file, stays)| stays.then_some(file)).collect()
}

/// Lists the files at the top of the folder `app` that `rules` do not exclude and `wanted` accepts, links followed.
/// Folders are not entered.
pub(super) fn top(app: &AppFolder, rules: &Rules, wanted: &dyn Fn(&str) -> bool) -> Result<Listing, ProjectError> {
    let mut listing = Listing::default();
    for name in names(app)? {
        if rules.leaves_out(&rules.top(), &name) || !wanted(&name) || app.kind(&name) == Some(EntryKind::Folder) {
            continue;
        }
        if let Some(file) = app.file(&name)? {
            let unreadable = |source| ProjectError::Io { path: app.path().join(&name), source };
            let about = file.metadata().map_err(unreadable)?;
            listing.insert(name, FileKind::file(about.len(), about.permissions().mode()));
        }
    }
    Ok(listing)
}

/// The names at the top of the folder `app`.
pub(super) fn names(app: &AppFolder) -> Result<Vec<String>, ProjectError> {
    let entries = app.top().entries().map_err(|source| ProjectError::Io { path: app.path().to_owned(), source })?;
    Ok(entries.iter().map(|entry| entry.name.to_string_lossy().into_owned()).collect())
}

/// An entry of a folder of the app.
struct Place<'a> {
    app: &'a AppFolder,
    folder: &'a app_folder::Folder,
    name: &'a OsStr,
    /// Relative to the app's folder.
    path: &'a str,
}

impl Place<'_> {
    fn full(&self) -> PathBuf {
        self.app.path().join(self.path)
    }

    /// Determines the kind of an entry for the image.
    fn inspect(&self, kind: EntryKind, warnings: &mut Vec<String>) -> Result<FileKind, ProjectError> {
        let unfit = |expected| ProjectError::Name { expected, path: self.full() };
        let unreadable = |source: io::Error| ProjectError::Io { path: self.full(), source };
        let name = self.name.to_str().ok_or_else(|| unfit("is UTF-8"))?;
        // In a layer, such a name deletes a file of the layers below (OCI image specification, "Whiteouts").
        if name.starts_with(".wh.") {
            return Err(unfit("does not begin with .wh., which images delete files with"));
        }
        match kind {
            EntryKind::Folder => Ok(FileKind::Folder),
            EntryKind::Link => {
                let target = self.folder.link(self.name).map_err(unreadable)?;
                let target = target.into_string().map_err(|_| unfit("is UTF-8, and what it links to as well"))?;
                self.link(target, warnings)
            }
            EntryKind::File => self.folder.listed(self.name).map_err(unreadable),
            EntryKind::Special => Err(ProjectError::Special { path: self.full() }),
        }
    }

    /// Links within the app are kept, and so are absolute ones: they name a path in the image (`/tmp`,
    /// `/run/secrets/…`, a volume). A relative link out of the app can only mean a path on this machine.
    fn link(&self, target: String, warnings: &mut Vec<String>) -> Result<FileKind, ProjectError> {
        /// Folders that every container has. A link to one gets no warning.
        const EVERYWHERE: [&str; 5] = ["/dev/", "/proc/", "/run/", "/sys/", "/tmp/"];
        if target.starts_with('/') {
            if !EVERYWHERE.iter().any(|place| format!("{target}/").starts_with(place)) {
                warnings
                    .push(format!("{} links to {target}, which is kept and means that path in the image", self.path));
            }
            return Ok(FileKind::Link { target });
        }
        let mut depth = ancestors(self.path).count();
        for part in target.split('/') {
            match part {
                "" | "." => {}
                ".." if depth == 0 => return Err(ProjectError::Link { path: self.full(), target }),
                ".." => depth -= 1,
                _ => depth += 1,
            }
        }
        Ok(FileKind::Link { target })
    }
}
