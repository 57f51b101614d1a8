//! What lies in a folder: files, folders and links by their paths, as an image gets them. [`crate::project`] lists an app's
//! folder, [`crate::lang`] reads it.

use std::{collections::BTreeMap, fmt};

use crate::glob::ancestors;

/// A file, folder or symbolic link of the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppFile {
    /// Relative to the app's folder, its separator `/`.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
}

/// What kind of thing a path names. Owner, times and all of the mode but one bit are left behind, so that an image does
/// not depend on who builds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileKind {
    /// A folder, 0755.
    Folder,
    /// A regular file, 0644, or 0755 when its owner may execute it.
    File {
        /// Its length in bytes.
        size: u64,
        /// Whether its owner may execute it.
        executable: bool,
        /// What tells its other names; `None` when it has one name only.
        inode: Option<Inode>,
    },
    /// A symbolic link.
    Link {
        /// What it holds: relative and within the app, or absolute.
        target: String,
    },
}

/// The file that several names in a folder (hard links) may mean: its device and its number there. Of use only to compare
/// names; a copy of the folder has others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inode(pub u64, pub u64);

impl FileKind {
    /// A regular file of `size` bytes whose permission bits are among `mode`. It has no other names.
    pub fn file(size: u64, mode: u32) -> Self {
        Self::File { size, executable: mode & 0o100 != 0, inode: None }
    }

    /// The permission bits in the image.
    pub fn mode(&self) -> u32 {
        match self {
            Self::Folder | Self::File { executable: true, .. } => 0o755,
            Self::File { executable: false, .. } => 0o644,
            Self::Link { .. } => 0o777,
        }
    }
}

/// The files of a folder by their relative paths.
#[derive(Debug, Clone, Default)]
pub struct Listing(BTreeMap<String, FileKind>);

impl Listing {
    /// What lies at `path` itself.
    pub fn get(&self, path: &str) -> Option<&FileKind> {
        self.0.get(path)
    }

    /// All paths, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What lies at `path` when links are followed, as far as they lead within the listing. Never a link.
    pub fn follow(&self, path: &str) -> Option<&FileKind> {
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

    /// Adds what lies at `path`.
    pub fn insert(&mut self, path: String, kind: FileKind) {
        self.0.insert(path, kind);
    }

    /// The files, sorted by path: a folder's path is the beginning of its contents' and so comes before them.
    pub fn into_files(self) -> Vec<AppFile> {
        self.0.into_iter().map(|(path, kind)| AppFile { path, kind }).collect()
    }

    /// Adds the folders that a file lies in where they are missing: what is taken out of a folder that itself stays out.
    pub(crate) fn complete(&mut self) {
        let missing: Vec<String> = self
            .0
            .keys()
            .flat_map(|path| ancestors(path).take_while(|folder| !self.0.contains_key(*folder)))
            .map(str::to_owned)
            .collect();
        self.0.extend(missing.into_iter().map(|folder| (folder, FileKind::Folder)));
    }
}

impl FromIterator<AppFile> for Listing {
    fn from_iter<I: IntoIterator<Item = AppFile>>(files: I) -> Self {
        Self(files.into_iter().map(|file| (file.path, file.kind)).collect())
    }
}
/// A file of an image that neither an app nor a package has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// A regular file with this content.
    Text(String),
    /// A link with this target.
    Link(String),
}

impl fmt::Display for Placed {
    /// All that it depends on, for keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "text {text}"),
            Self::Link(target) => write!(f, "link {target}"),
        }
    }
}
