//! Projects in temporary folders, for the tests of languages.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{Component, Facts, Language, LanguageError, Source};
use crate::{
    app_folder::AppFolder,
    listing::{AppFile, FileKind, Listing},
    values::BuildWish,
};

/// A project, called `shop`.
pub(super) struct Draft {
    _dir: tempfile::TempDir,
    root: PathBuf,
    folder: AppFolder,
    files: Listing,
    build: BuildWish,
    variables: BTreeMap<String, String>,
}

impl Draft {
    /// Makes a project with `files`, by path. Those without an extension are executable.
    pub(super) fn new<T: AsRef<[u8]>>(files: &[(&str, T)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let root = dir.path().join("shop");
        fs::create_dir(&root).expect("a folder");
        let mut listing = Listing::default();
        for (name, content) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
            fs::write(&path, content).expect("a file");
            let mode = if Path::new(name).extension().is_some() { 0o644 } else { 0o755 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
            listing.insert((*name).to_owned(), FileKind::file(content.as_ref().len() as u64, mode));
        }
        listing.complete();
        let folder = AppFolder::open(&root).expect("a folder");
        Self { _dir: dir, root, folder, files: listing, build: BuildWish::default(), variables: BTreeMap::new() }
    }

    /// The same project, built with the variable `name`.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(super) fn source(&self) -> Source<'_> {
        Source {
            folder: &self.folder,
            root: &self.root,
            files: &self.files,
            starts: true,
            installs: true,
            builds: true,
            build: &self.build,
            port: None,
            variables: &self.variables,
        }
    }

    /// The facts that `language` reads; or its message and hint, with the folder's own path as `shop`.
    pub(super) fn read(&self, language: &dyn Language) -> Result<Facts, String> {
        language.read(&self.source()).map_err(|error| self.told(&error))
    }

    /// The message of `error`, and its hint.
    pub(super) fn told(&self, error: &LanguageError) -> String {
        use crate::error::Explain as _;
        let hint = error.hint().map_or_else(String::new, |hint| format!("\nhint: {hint}"));
        format!("{error}{hint}").replace(&self.root.display().to_string(), "shop")
    }

    pub(super) fn folder(&self) -> &AppFolder {
        &self.folder
    }

    pub(super) fn files(&self) -> Vec<AppFile> {
        self.files.clone().into_files()
    }

    /// The installed packages that `language` finds, as package URLs.
    pub(super) fn purls(&self, language: &dyn Language) -> Vec<String> {
        language.components(&self.folder, &self.files()).into_iter().map(|Component { purl, .. }| purl).collect()
    }
}
