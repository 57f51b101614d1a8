//! The root filesystem as a value: what a package manager would make of a list of packages, made without running
//! anything.
//!
//! [`alpine::assemble`] and [`debian::assemble`] take verified packages in the order in which apk or dpkg would install
//! them and give a [`Tree`]: path → [`Node`]. A node's content stays where it is, in its package's data, until a layer
//! is written ([`crate::layer`]).

use std::collections::BTreeMap;

use crate::{
    elf::closure::{ClosureError, walk},
    error::{Explain, Kind},
    glob::PatternSet,
    listing::Placed,
    package::{Entry, EntryKind, Listed, locked::Selection},
    store::Key,
};

pub mod alpine;
mod closure;
pub mod debian;
mod shell;
pub mod users;

pub use closure::{Libraries, Programs, check_libraries, is_for, left_out_libraries, libraries};
use users::Accounts;

/// The root filesystem: nodes by path, without a slash at either end, in the order of their bytes. The root itself has
/// no node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
}

/// A file, folder or link of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The package that it comes from, as a place in the list, even when its content was made here; `None`: all made
    /// here.
    pub package: Option<usize>,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// A folder.
    Directory,
    /// A symbolic link to this target.
    Symlink(String),
    /// A file. Two nodes with the same member of the same package are two names of one file.
    File(Content),
}

/// Where the content of a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// In the node's package: the member of its data tar at this place of its list.
    Member(usize),
    /// Here.
    Bytes(Vec<u8>),
}

impl Tree {
    /// The node at `path`.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// All nodes in the order of their paths: a folder before what is in it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// Puts a node at `path`; folders above it that are missing become `root`'s, 0755.
    fn insert(&mut self, path: &str, node: Node) {
        for parent in parents(path) {
            self.nodes.entry(parent.to_owned()).or_insert_with(|| Node::directory(0o755, 0, 0));
        }
        self.nodes.insert(path.to_owned(), node);
    }

    /// Puts a file made here at `path`; one that is there keeps its mode and owner, and stays its package's for apk's
    /// database.
    fn write(&mut self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) {
        let path = self.along_links(path);
        let kind = NodeKind::File(Content::Bytes(bytes.into()));
        match self.nodes.get_mut(&path) {
            Some(node @ Node { kind: NodeKind::File(_), .. }) => node.kind = kind,
            _ => self.insert(&path, Node { kind, mode, uid: 0, gid: 0, package: None }),
        }
    }

    /// Puts a link made here at `path`.
    fn link(&mut self, path: &str, target: &str) {
        let kind = NodeKind::Symlink(target.to_owned());
        self.insert(&self.along_links(path), Node { kind, mode: 0o777, uid: 0, gid: 0, package: None });
    }

    /// Where what is made here at `path` lies: where links to folders above it lead, be there something or not.
    fn along_links(&self, path: &str) -> String {
        match path.rsplit_once('/') {
            Some((folder, name)) => below(&walk(self, folder).pop().unwrap_or_default(), name),
            None => path.to_owned(),
        }
    }

    /// Takes `path` out, and what is below it.
    fn remove(&mut self, path: &str) {
        let is_below =
            |other: &str| other.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.nodes.retain(|other, _| !is_below(other));
    }

    /// Makes the folder `path`, unless something is there, or it is the root.
    fn directory(&mut self, path: &str, mode: u32, uid: u32, gid: u32) {
        let path = self.along_links(path);
        if !path.is_empty() && !self.nodes.contains_key(&path) {
            self.insert(&path, Node::directory(mode, uid, gid));
        }
    }

    /// Adds the users that every image has, and writes the files of all of them.
    fn add_accounts(&mut self, accounts: &mut Accounts) {
        accounts.add_fixed("root", 0, "root", "/root", "/sbin/nologin");
        accounts.add_fixed(NONROOT.0, NONROOT.1, NONROOT.0, "/home/nonroot", "/sbin/nologin");
        for (path, text) in accounts.files() {
            let mode = if path == "etc/shadow" { 0o640 } else { 0o644 };
            self.write(path, mode, text);
        }
    }

    /// Adds the folders that an app or a container runtime expects.
    fn add_folders(&mut self) {
        for (path, mode) in [("dev", 0o755), ("proc", 0o755), ("root", 0o700), ("sys", 0o755), ("tmp", 0o1777)] {
            self.directory(path, mode, 0, 0);
        }
        self.directory("home/nonroot", 0o700, NONROOT.1, NONROOT.1);
    }

    /// Adds `files`, which all may read, by their paths below the root. What is there stays.
    pub fn add_files(&mut self, files: &[(String, Placed)]) {
        for (path, placed) in files {
            match placed {
                _ if self.get(&self.along_links(path)).is_some() => {}
                Placed::Text(text) => self.write(path, 0o644, text.as_bytes()),
                Placed::Link(target) => self.link(path, target),
            }
        }
    }

    /// Adds the names by which apps call programs that are there: `python`, which every other image of Python has.
    fn add_names(&mut self) {
        for (name, program) in NAMES {
            let path = format!("usr/bin/{name}");
            if self.get(&path).is_none() && self.resolve(&format!("usr/bin/{program}")).is_some() {
                self.link(&path, program);
            }
        }
    }

    /// The path that `path` leads to, links followed as a process in this root would; `None` when it leads nowhere.
    pub fn resolve(&self, path: &str) -> Option<String> {
        let mut left: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut at: Vec<String> = Vec::new();
        // As many links as Linux follows before it says ELOOP.
        let mut links = 40;
        while let Some(part) = left.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => drop(at.pop()),
                _ => at.push(part),
            }
            match self.nodes.get(&at.join("/")).map(|node| &node.kind) {
                Some(NodeKind::Symlink(target)) => {
                    links -= 1;
                    if links == 0 {
                        return None;
                    }
                    at.pop();
                    if target.starts_with('/') {
                        at.clear();
                    }
                    left.extend(target.split('/').rev().map(str::to_owned));
                }
                Some(_) => {}
                None if at.is_empty() => {}
                None => return None,
            }
        }
        Some(at.join("/"))
    }

    /// Whether `path` leads to a folder.
    fn leads_to_folder(&self, path: &str) -> bool {
        let real = self.resolve(path);
        real.is_some_and(|real| real.is_empty() || self.nodes.get(&real).is_some_and(Node::is_folder))
    }

    /// Where a package's `path` lies: links to folders above it are followed, as a process in this root would, when
    /// `follows` says so of each.
    ///
    /// # Errors
    /// Why nothing can lie there: above it is a file, or a link that leads to no folder or is not followed.
    fn place(&self, path: &str, follows: impl Fn(&Node) -> bool) -> Result<String, String> {
        let Some((folders, name)) = path.rsplit_once('/') else { return Ok(path.to_owned()) };
        let mut folder = String::new();
        for part in folders.split('/') {
            let here = below(&folder, part);
            let node = self.nodes.get(&here);
            folder = match node.map(|node| &node.kind) {
                None | Some(NodeKind::Directory) => here,
                Some(NodeKind::File(_)) => return Err(format!("/{here} is a file, no folder")),
                Some(NodeKind::Symlink(target)) => {
                    let real =
                        self.resolve(&here).filter(|_| node.is_some_and(&follows) && self.leads_to_folder(&here));
                    real.ok_or_else(|| format!("it would be written through the link /{here} -> {target}"))?
                }
            };
        }
        Ok(below(&folder, name))
    }

    /// What a package's `path` has become.
    fn node_of(&self, path: &str) -> Option<&Node> {
        self.nodes.get(&self.place(path, |_| true).ok()?)
    }

    /// The links to folders at the top and below it, such as `lib` of a merged `/usr`, and where they lead.
    pub fn folder_links(&self) -> BTreeMap<String, String> {
        let links = self.nodes.iter().filter(|(path, node)| {
            matches!(node.kind, NodeKind::Symlink(_)) && path.matches('/').count() < 2 && self.leads_to_folder(path)
        });
        links.filter_map(|(path, _)| Some((path.clone(), self.resolve(path)?))).collect()
    }
}

/// What is called `name` in a folder, which may be the root.
fn below(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

impl Node {
    fn is_folder(&self) -> bool {
        self.kind == NodeKind::Directory
    }

    fn directory(mode: u32, uid: u32, gid: u32) -> Self {
        Self { kind: NodeKind::Directory, mode, uid, gid, package: None }
    }
}

/// The folders above `path`, the uppermost first.
pub fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// What a tree is made of in addition to packages.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The settings of apk in an Alpine root.
    pub apk: ApkSettings,
    /// The distribution's word for the architecture.
    pub arch: String,
    /// The distribution's release (`3.23`), for an image without a package that says it.
    pub release: String,
    /// The folder in which the app will lie, below the root; empty for none.
    pub workdir: String,
    /// Paths of packages that stay out.
    pub strip: PatternSet,
    /// Seconds since 1970, for all that has a time.
    pub epoch: u64,
    /// Further files, by their paths below the root, where no package has something.
    pub placed: Vec<(String, Placed)>,
    /// The folders that LD_LIBRARY_PATH names, when it is to be checked that every program finds its libraries.
    pub libraries: Option<Vec<String>>,
}

/// The settings of apk in an Alpine root; empty in another.
#[derive(Debug, Clone, Default)]
pub struct ApkSettings {
    /// What the user requested, as `/etc/apk/world` has it.
    pub world: Vec<String>,
    /// Lines of `/etc/apk/repositories`.
    pub repositories: Vec<String>,
    /// Keys for `/etc/apk/keys`: file name and PEM.
    pub keys: Vec<(String, String)>,
    /// Whether `apk` is to find its way in the image: its configuration and scripts, in addition to the database that
    /// scanners read.
    pub configuration: bool,
}

impl Settings {
    /// All that a tree depends on, except its packages.
    pub fn key(&self) -> Key {
        let ApkSettings { world, repositories, keys, configuration } = &self.apk;
        let apk = Key::new()
            .list("world", world)
            .list("repositories", repositories)
            .pairs("keys", keys.iter().map(|(name, pem)| (name, pem)))
            .text("configuration", configuration);
        let key = Key::new()
            .nested("apk", &apk)
            .text("architecture", &self.arch)
            .text("release", &self.release)
            .text("workdir", &self.workdir)
            .list("strip", self.strip.iter())
            .text("epoch", self.epoch)
            .pairs("placed", self.placed.iter().map(|(path, text)| (path, text)));
        match &self.libraries {
            Some(folders) => key.list("libraries", folders),
            None => key,
        }
    }
}

/// Why packages make no root filesystem.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// Two packages have a file at the same place.
    #[error("{new} would overwrite /{path}, which belongs to {old}")]
    Conflict {
        /// The path, without its slash.
        path: String,
        /// The package that was there first.
        old: String,
        /// The package that came second.
        new: String,
    },
    /// A package writes through a link, or a folder is in the way of a file.
    #[error("{package}: refused: {path}: {why}")]
    Refused {
        /// The package.
        package: String,
        /// The path.
        path: String,
        /// Why.
        why: String,
    },
    /// A program or library would not be loaded.
    #[error(transparent)]
    Closure(#[from] ClosureError),
    /// A package's content cannot be read from the store.
    #[error("{package}: cannot read its content from the store: {source}")]
    Content {
        /// The package.
        package: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Explain for RootfsError {
    fn kind(&self) -> Kind {
        match self {
            Self::Conflict { .. } | Self::Content { .. } => Kind::Build,
            Self::Refused { .. } => Kind::Unverified,
            Self::Closure(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Conflict { .. } => Some("leave one of the two packages out".into()),
            Self::Content { .. } => {
                Some("`microbuild gc --all` empties the store; the next build fills it again".into())
            }
            Self::Refused { .. } => None,
            Self::Closure(e) => e.hint(),
        }
    }
}

/// A verified package and the index's record of it.
#[derive(Debug, Clone)]
pub struct Installed<R: Listed> {
    /// What the index says.
    pub record: R,
    /// What the package holds.
    pub package: R::Package,
    /// Which of its files are taken.
    pub selection: Selection,
}

/// Whether `selection` takes what would be at `path`, when the recipe leaves out what `strip` matches.
fn takes(selection: &Selection, path: &str, strip: &PatternSet) -> bool {
    match selection {
        Selection::Stripped => !strip.matches(path),
        Selection::StrippedExcept(paths) => paths.contains(path) || !strip.matches(path),
        Selection::All => true,
        Selection::Only(paths) => paths.contains(path) || is_copyright(path),
    }
}

/// Below this, each package of Debian has a folder.
const DOCUMENTATION: &str = "usr/share/doc/";

/// Whether Debian keeps a package's copyright and license there.
fn is_copyright(path: &str) -> bool {
    let name = path.strip_prefix(DOCUMENTATION).and_then(|rest| rest.split_once('/'));
    name.is_some_and(|(_, name)| name == "copyright")
}

impl<R: Listed> Installed<R> {
    /// Name and version.
    pub fn title(&self) -> String {
        self.record.title()
    }
}

/// Gives the contents of files of a package: the package's place, the files' places in its list.
pub type ReadMembers<'a> = dyn Fn(usize, &[usize]) -> std::io::Result<Vec<Vec<u8>>> + 'a;

fn contents<R: Listed>(
    packages: &[Installed<R>],
    at: usize,
    places: &[usize],
    read: &ReadMembers<'_>,
) -> Result<Vec<Vec<u8>>, RootfsError> {
    read(at, places).map_err(|source| RootfsError::Content { package: packages[at].title(), source })
}

/// Names of programs in `/usr/bin` that no package has, and the programs.
const NAMES: [(&str, &str); 1] = [("python", "python3")];

/// The user that an image runs as by default, with the number that distroless gave it.
pub const NONROOT: (&str, u32) = ("nonroot", 65532);

/// The file that a hard link is another name of, and its place: mode and owner are the file's, whatever the link says.
/// Verifying the package has shown that it is there.
fn member<'a>(entries: &'a [Entry], target: &str, link: usize) -> (usize, &'a Entry) {
    let is_target = |entry: &Entry| entry.path == target && matches!(entry.kind, EntryKind::File { .. });
    let place = entries[..link].iter().rposition(is_target).unwrap_or(link);
    (place, &entries[place])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn selections_take_what_the_recipe_leaves_all_or_a_list() {
        let strip = PatternSet::new(vec!["usr/lib/*.so".parse().expect("a pattern")]);
        let and = Selection::StrippedExcept(BTreeSet::from(["usr/lib/a.so".to_owned()]));
        let only = Selection::Only(BTreeSet::from(["usr/lib/a.so".to_owned()]));
        for (selection, expected) in [
            (Selection::Stripped, [false, true, true]),
            (Selection::All, [true; 3]),
            (and, [true; 3]),
            (only, [true, false, true]),
        ] {
            let taken =
                ["usr/lib/a.so", "usr/bin/a", "usr/share/doc/a/copyright"].map(|path| takes(&selection, path, &strip));
            assert_eq!(taken, expected, "{selection:?}");
        }
    }
}
