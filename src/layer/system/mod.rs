//! From a root filesystem to layers: large packages as they are, everything else in one system layer.
//!
//! The data stream of an Alpine package is a tar.gz, hence a layer. Used as such it needs no compression, its digest is
//! signed by Alpine, and every image anywhere that holds the package holds the same blob. A package becomes a layer of
//! its own when it is large and the tree holds exactly its members. Debian's packages never do: they are packed with
//! xz, or bring man pages and the like.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use super::{
    LayerError, LayerRecord,
    archive::{Archive, Meta},
    compress::Compression,
    write,
};
use crate::{
    package::{Contents, EntryKind, Listed},
    rootfs::{Content, Installed, Node, NodeKind, Tree, parents},
    store::BlobDir,
};

/// A package whose data stream is smaller than this, in bytes, is not worth a layer: a registry's round trip costs more
/// than sending it again inside the system layer.
const LARGE: u64 = 1 << 20;
/// How many packages may be layers. Ten layers in all, with those of system, dependencies and app.
const MOST: usize = 7;

/// Which packages become layers of their own: their places, in the list's order.
pub fn package_layers<R: Listed>(packages: &[Installed<R>], tree: &Tree) -> Vec<usize> {
    let mut large: Vec<usize> = (0..packages.len())
        .filter(|&at| packages[at].package.data().size >= LARGE && is_whole(at, &packages[at].package, tree))
        .collect();
    large.sort_by_key(|&at| (std::cmp::Reverse(packages[at].package.data().size), at));
    large.truncate(MOST);
    large.sort_unstable();
    large
}

/// Whether the tree holds all members of the package, and as the package has them. A folder's mode may differ: the
/// system layer, which lies above, sets it.
fn is_whole(at: usize, package: &impl Contents, tree: &Tree) -> bool {
    package.data().complete
        && package.data().media_type().is_some()
        && package.entries().iter().enumerate().all(|(place, entry)| {
            let Some(node) = tree.get(&entry.path) else { return false };
            let same = |node: &Node| {
                node.package == Some(at)
                    && node.mode == entry.mode
                    && u64::from(node.uid) == entry.uid
                    && u64::from(node.gid) == entry.gid
            };
            match (&entry.kind, &node.kind) {
                (EntryKind::Directory, NodeKind::Directory) => true,
                (EntryKind::File { .. }, NodeKind::File(Content::Member(member))) => *member == place && same(node),
                (EntryKind::Hardlink(_), NodeKind::File(Content::Member(_)))
                | (EntryKind::Symlink(_), NodeKind::Symlink(_)) => same(node),
                _ => false,
            }
        })
}

/// The record of a package's data stream as a layer; `None` when it is packed in a way that container engines do not
/// know.
pub fn package_layer<R: Listed>(installed: &Installed<R>) -> Option<LayerRecord> {
    let data = installed.package.data();
    Some(LayerRecord {
        digest: data.digest,
        diff_id: data.diff_id,
        size: data.size,
        media_type: data.media_type()?.into(),
        title: installed.title(),
    })
}

/// Writes the system layer into `blobs`: what of `tree` is not in the layers of the packages `apart`.
///
/// # Errors
/// When content cannot be read, or the layer cannot be written.
pub fn system_layer<R: Listed>(
    tree: &Tree,
    packages: &[Installed<R>],
    apart: &[usize],
    blobs: &BlobDir,
    compression: Compression,
    epoch: u64,
) -> Result<LayerRecord, LayerError> {
    let here = |node: &Node| !node.package.is_some_and(|at| apart.contains(&at));
    write("system", blobs, compression, epoch, |archive| {
        for path in folders(tree, packages, apart, &here) {
            if let Some(node) = tree.get(path) {
                archive.directory(path, meta(node))?;
            }
        }
        for (at, installed) in packages.iter().enumerate().filter(|(at, _)| !apart.contains(at)) {
            let names = names_of_members(tree, at);
            if !names.is_empty() {
                write_members(archive, &installed.package, &names, tree, blobs)?;
            }
        }
        for (path, node) in tree.iter().filter(|(_, node)| here(node)) {
            match &node.kind {
                NodeKind::Symlink(target) => archive.symlink(path, target, meta(node))?,
                NodeKind::File(Content::Bytes(bytes)) => {
                    archive.file(path, meta(node), &BTreeMap::new(), bytes.len() as u64, &mut &bytes[..])?;
                }
                NodeKind::File(Content::Member(_)) | NodeKind::Directory => {}
            }
        }
        Ok(())
    })
}

fn meta(node: &Node) -> Meta {
    Meta { mode: node.mode, uid: node.uid, gid: node.gid }
}

/// The folders that the system layer must hold: those above its own files (some runtimes, AWS Lambda's among them, want
/// every layer to bring its parents), and those that no package's layer brings as the tree has them.
fn folders<'a, R: Listed>(
    tree: &'a Tree,
    packages: &[Installed<R>],
    apart: &[usize],
    here: &impl Fn(&Node) -> bool,
) -> BTreeSet<&'a str> {
    let mut brought: BTreeMap<&str, bool> = BTreeMap::new();
    for entry in apart.iter().flat_map(|&at| packages[at].package.entries()) {
        if let (EntryKind::Directory, Some(node)) = (&entry.kind, tree.get(&entry.path)) {
            let same = entry.mode == node.mode && entry.uid == u64::from(node.uid) && entry.gid == u64::from(node.gid);
            *brought.entry(&entry.path).or_insert(true) &= same;
        }
    }
    let mut folders = BTreeSet::new();
    for (path, node) in tree.iter() {
        let is_folder = node.kind == NodeKind::Directory;
        if (is_folder && !brought.get(path).copied().unwrap_or(false)) || (!is_folder && here(node)) {
            folders.extend(parents(path));
            if is_folder {
                folders.insert(path);
            }
        }
    }
    folders
}

/// The names in the tree of each member of the package's data: several for a file with hard links.
fn names_of_members(tree: &Tree, at: usize) -> BTreeMap<usize, Vec<&str>> {
    let mut names: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (path, node) in tree.iter().filter(|(_, node)| node.package == Some(at)) {
        if let NodeKind::File(Content::Member(place)) = node.kind {
            names.entry(place).or_default().push(path);
        }
    }
    names
}

fn write_members<W: io::Write>(
    archive: &mut Archive<W>,
    package: &impl Contents,
    names: &BTreeMap<usize, Vec<&str>>,
    tree: &Tree,
    blobs: &BlobDir,
) -> io::Result<()> {
    package.visit(blobs, |place, content| {
        let Some([first, others @ ..]) = names.get(&place).map(Vec::as_slice) else { return Ok(()) };
        let entry = &package.entries()[place];
        let (EntryKind::File { size, .. }, Some(node)) = (&entry.kind, tree.get(first)) else { return Ok(()) };
        archive.file(first, meta(node), &entry.xattrs, *size, content)?;
        others.iter().try_for_each(|other| archive.hard_link(other, first, meta(node)))
    })
}

#[cfg(test)]
mod tests;
