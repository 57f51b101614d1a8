//! What lies in the layers of an image, as far as its start depends on it.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Read, Write as _},
};

use serde::{Deserialize, Serialize};
use tar::EntryType;

use crate::{
    app_folder::AppFolder,
    elf::{Elf, Scanned, Scanner},
    layer::Layer,
    project::{AppFile, FileKind},
};

/// The first line of a script is read so far (the kernel's own limit is 256), in bytes.
const LONGEST_LINE: usize = 512;
/// The largest of the files that are kept as texts, in bytes.
const LARGEST_TEXT: u64 = 1 << 20;
/// The files that are kept as texts.
pub(super) const TEXTS: [&str; 2] = ["etc/passwd", "etc/group"];
/// As many links as Linux follows before it says ELOOP.
const LINKS: usize = 40;

/// A file, folder or link of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Node {
    /// What it is.
    #[serde(rename = "k", default, skip_serializing_if = "Kind::is_plain")]
    pub(super) kind: Kind,
    /// Permission bits.
    #[serde(rename = "m")]
    pub(super) mode: u32,
    /// Owner.
    #[serde(rename = "u", default, skip_serializing_if = "is_zero")]
    pub(super) uid: u32,
    /// Group.
    #[serde(rename = "g", default, skip_serializing_if = "is_zero")]
    pub(super) gid: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What a node is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    /// A folder.
    #[serde(rename = "d")]
    Folder,
    /// A symbolic link to this target.
    #[serde(rename = "l")]
    Link(String),
    /// A file of an executable format, or none.
    #[serde(rename = "f")]
    File(Format),
    /// A file that is not executable.
    #[default]
    #[serde(rename = "p")]
    Plain,
    /// A text that is needed as a whole.
    #[serde(rename = "t")]
    Text(String),
}

impl Kind {
    fn is_plain(&self) -> bool {
        *self == Self::Plain
    }
}

/// What the kernel makes of a file that it executes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Format {
    /// A script: its first line behind `#!`.
    #[serde(rename = "s")]
    Script(String),
    /// An ELF file.
    #[serde(rename = "e")]
    Elf(Box<Elf>),
    /// A file that begins as ELF files do, and is none that a loader takes.
    #[serde(rename = "b")]
    BadElf,
    /// Anything else: the kernel refuses it.
    #[serde(rename = "o")]
    Other,
}

impl Format {
    /// The format of a file of `size` bytes.
    fn read(mut file: impl Read, size: u64) -> io::Result<Self> {
        let mut head = Vec::new();
        (&mut file).take(LONGEST_LINE as u64).read_to_end(&mut head)?;
        if let Some(line) = head.strip_prefix(b"#!") {
            let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
            return Ok(Self::Script(String::from_utf8_lossy(line).into_owned()));
        }
        if !head.starts_with(b"\x7fELF") {
            return Ok(Self::Other);
        }
        let mut scanner = Scanner::new(size);
        scanner.write_all(&head)?;
        io::copy(&mut file, &mut scanner)?;
        Ok(match scanner.finish() {
            // Only its beginning counts here, and the paths are long.
            Scanned::Elf(elf) => {
                Self::Elf(Box::new(Elf { needed: Vec::new(), rpath: Vec::new(), runpath: Vec::new(), ..*elf }))
            }
            Scanned::No | Scanned::Unclear => Self::BadElf,
        })
    }
}

/// What lies in a layer, by paths without a slash at either end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listing(pub(super) HashMap<String, Node>);

impl Listing {
    /// Reads the layer's tar.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn of_layer(layer: &Layer) -> io::Result<Self> {
        let mut nodes: HashMap<String, Node> = HashMap::new();
        let mut archive = tar::Archive::new(layer.uncompressed()?);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path =
                String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").trim_matches('/').to_owned();
            let link = entry.link_name_bytes().map(|name| String::from_utf8_lossy(&name).into_owned());
            let header = entry.header();
            let number = |id: io::Result<u64>| id.ok().and_then(|id| u32::try_from(id).ok()).unwrap_or(u32::MAX);
            let mode = header.mode()? & 0o7777;
            let (uid, gid) = (number(header.uid()), number(header.gid()));
            let size = entry.size();
            let kind = match header.entry_type() {
                EntryType::Directory => Kind::Folder,
                EntryType::Symlink => Kind::Link(link.unwrap_or_default()),
                EntryType::Link => {
                    let target = link.unwrap_or_default();
                    let same = nodes.get(target.trim_start_matches("./").trim_matches('/')).cloned();
                    nodes.extend(same.map(|node| (path, node)));
                    continue;
                }
                EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                    if TEXTS.contains(&path.as_str()) && size <= LARGEST_TEXT {
                        let mut text = Vec::new();
                        entry.read_to_end(&mut text)?;
                        Kind::Text(String::from_utf8_lossy(&text).into_owned())
                    } else if mode & 0o111 != 0 {
                        Kind::File(Format::read(&mut entry, size)?)
                    } else {
                        Kind::Plain
                    }
                }
                _ => continue,
            };
            nodes.insert(path, Node { kind, mode, uid, gid });
        }
        Ok(Self(nodes))
    }
}

/// The app's own files: read when they are asked for.
pub(super) struct Own<'a> {
    /// The folder.
    pub(super) folder: &'a AppFolder,
    /// Its files, by their paths in the image.
    pub(super) files: BTreeMap<String, &'a AppFile>,
}

impl Own<'_> {
    fn get(&self, path: &str) -> Option<Node> {
        let file = self.files.get(path)?;
        let mode = file.kind.mode();
        let kind = match &file.kind {
            FileKind::Folder => Kind::Folder,
            FileKind::Link { target } => Kind::Link(target.clone()),
            FileKind::File { executable: false, .. } => Kind::Plain,
            FileKind::File { size, .. } => {
                // A file that has changed is reported where its layer is written.
                let format =
                    file.open(self.folder).ok().and_then(|opened| Format::read(opened.take(*size), *size).ok());
                Kind::File(format.unwrap_or(Format::Other))
            }
        };
        Some(Node { kind, mode, uid: 0, gid: 0 })
    }
}

/// The root filesystem that layers make.
#[derive(Default)]
pub(super) struct Root<'a> {
    /// What packages have, the lowest layer first.
    pub(super) packages: Vec<Listing>,
    /// What steps have made, likewise.
    pub(super) made: Vec<Listing>,
    /// The app's own files, above all others.
    pub(super) own: Option<Own<'a>>,
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The path without links, without a slash at either end.
    pub(super) path: String,
    /// What is there.
    pub(super) node: Node,
    /// Whether it comes from a package.
    pub(super) packaged: bool,
    /// The folders that were passed.
    pub(super) folders: Vec<Node>,
}

impl Root<'_> {
    /// What is at `path`, links not followed; and whether it comes from a package.
    fn get(&self, path: &str) -> Option<(Node, bool)> {
        if let Some(node) = self.own.as_ref().and_then(|own| own.get(path)) {
            return Some((node, false));
        }
        let made = self.made.iter().rev().find_map(|listing| listing.0.get(path)).map(|node| (node, false));
        let found = made
            .or_else(|| self.packages.iter().rev().find_map(|listing| listing.0.get(path)).map(|node| (node, true)));
        found.map(|(node, packaged)| (node.clone(), packaged))
    }

    /// Where the absolute `path` leads, links followed as a process in this root would. `None` when it leads nowhere.
    pub(super) fn find(&self, path: &str) -> Option<Place> {
        let mut left: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut at: Vec<String> = Vec::new();
        let (mut links, mut folders) = (LINKS, Vec::new());
        let mut last = Some((Node { kind: Kind::Folder, mode: 0o755, uid: 0, gid: 0 }, true));
        while let Some(part) = left.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => drop(at.pop()),
                _ => at.push(part),
            }
            last = self.get(&at.join("/"));
            match last.as_ref().map(|(node, _)| (&node.kind, node)) {
                Some((Kind::Link(target), _)) => {
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
                Some((Kind::Folder, node)) => folders.push(node.clone()),
                // A folder above a file may be in no layer of its own.
                None => {}
                Some(_) if left.iter().all(|part| part.is_empty() || part == ".") => {}
                Some(_) => return None,
            }
        }
        let (node, packaged) = last.or_else(|| at.is_empty().then(|| (folder(), true)))?;
        (!matches!(node.kind, Kind::Link(_))).then(|| Place { path: at.join("/"), node, packaged, folders })
    }

    /// A text that is kept as a whole.
    pub(super) fn text(&self, path: &str) -> String {
        match self.find(path).map(|place| place.node.kind) {
            Some(Kind::Text(text)) => text,
            _ => String::new(),
        }
    }

    /// The names of the executable files in the folder `path`.
    pub(super) fn programs(&self, path: &str) -> Vec<String> {
        let Some(folder) = self.find(path) else { return Vec::new() };
        let prefix = format!("{}/", folder.path);
        let all = self.packages.iter().chain(&self.made).flat_map(|listing| &listing.0);
        let is_program = |node: &Node| matches!(node.kind, Kind::File(_) | Kind::Link(_));
        let names = all.filter(|(_, node)| is_program(node)).filter_map(|(path, _)| path.strip_prefix(&prefix));
        let mut names: Vec<String> = names.filter(|name| !name.contains('/')).map(str::to_owned).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn folder() -> Node {
    Node { kind: Kind::Folder, mode: 0o755, uid: 0, gid: 0 }
}
