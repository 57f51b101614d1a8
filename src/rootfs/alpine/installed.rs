//! apk's own database of installed packages, as apk-tools 3 writes it for packages of format v2: `/lib/apk/db`, which
//! `apk info`, `apk audit` and scanners (trivy, grype) read, and `/etc/apk`.

use std::{collections::BTreeMap, fmt::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::Installed;
use crate::{
    apk::{
        checksum::Checksum,
        package::{Entry, EntryKind},
    },
    digest::hex,
    layer::compress::{Compression, Compressor},
    rootfs::{Settings, Tree},
};

/// Where the database lies: Alpine 3.23 and older keep it below `/lib`.
const DB: &str = "lib/apk/db";

/// The files: path, permission bits, content.
pub(super) fn files(packages: &[Installed], tree: &Tree, settings: &Settings) -> Vec<(String, u32, Vec<u8>)> {
    let mut sorted: Vec<(usize, &Installed)> = packages.iter().enumerate().collect();
    sorted.sort_by(|(_, a), (_, b)| a.record.name.cmp(&b.record.name));
    let lines = |lines: &[String]| lines.iter().fold(String::new(), |text, line| text + line + "\n").into_bytes();
    let mut world = settings.apk.world.clone();
    world.sort();
    let mut files = vec![
        (format!("{DB}/installed"), 0o644, installed(&sorted, tree).into_bytes()),
        ("etc/apk/world".into(), 0o644, lines(&world)),
        ("etc/apk/arch".into(), 0o644, lines(std::slice::from_ref(&settings.arch))),
    ];
    if settings.apk.configuration {
        files.push((format!("{DB}/scripts.tar.gz"), 0o644, scripts(&sorted)));
        files.push((format!("{DB}/triggers"), 0o644, triggers(&sorted).into_bytes()));
        files.push(("etc/apk/repositories".into(), 0o644, lines(&settings.apk.repositories)));
        for (name, pem) in &settings.apk.keys {
            files.push((format!("etc/apk/keys/{name}"), 0o644, pem.clone().into_bytes()));
        }
    }
    files
}

fn installed(packages: &[(usize, &Installed)], tree: &Tree) -> String {
    let mut text = String::new();
    for (at, installed) in packages {
        let _ = write!(text, "{}", installed.record);
        let info = &installed.package.info;
        let mut field = |key: char, value: &str| {
            if !value.is_empty() {
                let _ = writeln!(text, "{key}:{value}");
            }
        };
        field('r', &info.replaces.join(" "));
        field('q', &info.replaces_priority.filter(|q| *q > 0).map(|q| q.to_string()).unwrap_or_default());
        write_files(&mut text, *at, installed, tree);
        text.push('\n');
    }
    text
}

/// Folders (`F:`), their modes (`M:`), files (`R:`), theirs (`a:`) and their checksums (`Z:`): those that the tree
/// still has from this package.
fn write_files(text: &mut String, at: usize, installed: &Installed, tree: &Tree) {
    let mut folders: BTreeMap<&str, (Option<&Entry>, BTreeMap<&str, &Entry>)> = BTreeMap::new();
    // Under the package's own names, wherever links lead.
    let is_here = |entry: &&Entry| match (&entry.kind, tree.node_of(&entry.path)) {
        (EntryKind::Directory, node) => node.is_some(),
        (_, node) => node.is_some_and(|node| node.package == Some(at)),
    };
    for entry in installed.package.entries.iter().filter(is_here) {
        let (folder, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        if entry.kind == EntryKind::Directory {
            folders.entry(&entry.path).or_default().0 = Some(entry);
        } else {
            folders.entry(folder).or_default().1.insert(name, entry);
        }
    }
    for (folder, (own, files)) in folders {
        let _ = writeln!(text, "F:{folder}");
        if let Some(entry) = own {
            write_acl(text, ('M', 0o755), entry, at, tree);
        }
        for (name, entry) in files {
            let _ = writeln!(text, "R:{name}");
            write_acl(text, ('a', 0o644), entry, at, tree);
            let _ = writeln!(text, "Z:Q1{}", STANDARD.encode(sha1(installed, entry)));
        }
    }
}

/// Owner and mode, and the checksum of the extended attributes, unless they are root's, the usual one, and none.
fn write_acl(text: &mut String, (key, usual): (char, u32), entry: &Entry, at: usize, tree: &Tree) {
    let root = |name: &str, id: u64| if name == "root" { 0 } else { id };
    let (uid, gid) = match tree.node_of(&entry.path) {
        Some(node) if node.package == Some(at) => (node.uid.into(), node.gid.into()),
        // A folder that another package decides upon.
        _ => (root(&entry.user, entry.uid), root(&entry.group, entry.gid)),
    };
    if (uid, gid, entry.mode, entry.xattrs.is_empty()) != (0, 0, usual, true) {
        let _ = write!(text, "{key}:{uid}:{gid}:{:o}", entry.mode);
        if !entry.xattrs.is_empty() {
            let _ = write!(text, ":Q1{}", STANDARD.encode(sha1_of_xattrs(&entry.xattrs)));
        }
        text.push('\n');
    }
}

/// The checksum that apk keeps of a file's extended attributes, found out from what it writes: SHA-1 over all names and
/// values, each after its length as 32 bits in network order.
fn sha1_of_xattrs(xattrs: &BTreeMap<String, Vec<u8>>) -> [u8; 20] {
    let mut bytes = Vec::new();
    for part in xattrs.iter().flat_map(|(name, value)| [name.as_bytes(), value]) {
        // A PAX record is far shorter.
        bytes.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend(part);
    }
    sha1_of(&bytes)
}

fn sha1_of(bytes: &[u8]) -> [u8; 20] {
    let mut sha1 = [0; 20];
    sha1.copy_from_slice(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref());
    sha1
}

/// The checksum that apk keeps of a file: of its content, or of a link's target.
fn sha1(installed: &Installed, entry: &Entry) -> [u8; 20] {
    match &entry.kind {
        EntryKind::File { sha1, .. } => *sha1,
        EntryKind::Hardlink(target) => {
            let target =
                installed.package.entries.iter().find(|other| other.path == *target && other.path != entry.path);
            target.map_or([0; 20], sha1_of_file)
        }
        EntryKind::Symlink(target) => sha1_of(target.as_bytes()),
        EntryKind::Directory => [0; 20],
    }
}

fn sha1_of_file(entry: &Entry) -> [u8; 20] {
    match entry.kind {
        EntryKind::File { sha1, .. } => sha1,
        _ => [0; 20],
    }
}

/// `Q1…` and the folders, for each package with a trigger.
fn triggers(packages: &[(usize, &Installed)]) -> String {
    let with_trigger = packages.iter().filter(|(_, p)| !p.package.info.triggers.is_empty());
    with_trigger.fold(String::new(), |mut text, (_, p)| {
        let _ = writeln!(text, "{} {}", p.record.checksum, p.package.info.triggers.join(" "));
        text
    })
}

/// The kinds of scripts in the order in which apk keeps them.
const SCRIPTS: [&str; 8] = [
    "generic",
    "pre-install",
    "post-install",
    "pre-deinstall",
    "post-deinstall",
    "pre-upgrade",
    "post-upgrade",
    "trigger",
];

/// The scripts of all packages, named `NAME-VERSION.X1SHA1.KIND`, for users who run `apk` in the image.
fn scripts(packages: &[(usize, &Installed)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Compressor::new(Compression::default(), Vec::new()));
    for (_, installed) in packages {
        let checksum = match installed.record.checksum {
            Checksum::Sha1(sha1) => format!("X1{}", hex(&sha1)),
            Checksum::Sha256(sha256) => format!("X2{}", hex(&sha256)),
        };
        let of_kind = |kind: &'static str| Some((kind, installed.package.scripts.get(kind)?));
        for (kind, script) in SCRIPTS.into_iter().filter_map(of_kind) {
            let mut header = tar::Header::new_gnu();
            header.set_mode(script.mode);
            header.set_mtime(installed.record.build_time);
            header.set_size(script.bytes.len() as u64);
            for named in [header.set_username("root"), header.set_groupname("root")] {
                named.expect("a short name fits a header");
            }
            let name = format!("{}.{checksum}.{kind}", installed.title());
            tar.append_data(&mut header, name, &script.bytes[..]).expect("a vector takes every write");
        }
    }
    let compressed = tar.into_inner().and_then(Compressor::finish);
    compressed.expect("a vector takes every write")
}
