//! Root filesystems as values that can be compared: what an image's layers make when they are applied in order, and what
//! lies in a folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink},
    path::Path,
};

use microbuild::internals::digest::Digest;
use serde_json::Value;

/// A root filesystem: names of inodes, as a real one is.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    names: BTreeMap<String, usize>,
    inodes: Vec<Inode>,
}

/// A file, folder or link.
#[derive(Debug, Clone)]
pub struct Inode {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Extended attributes, which a folder's scan leaves out.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// What an inode is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Directory,
    /// A symbolic link to this target.
    Symlink(String),
    /// A file with this content.
    File(Vec<u8>),
    /// Anything else.
    Special,
}

impl Tree {
    /// What the layers of the only image of the OCI layout `layout` make, applied in order.
    pub fn of_layout(layout: &Path) -> Self {
        let mut tree = Self::default();
        for (media_type, bytes) in layers(layout) {
            let tar = decompress(&media_type, &bytes);
            tree.apply(&tar);
        }
        tree
    }

    /// Applies a layer, the bytes of a tar, as container engines do. Layers that are made here delete nothing.
    pub fn apply(&mut self, tar: &[u8]) {
        for member in tar::Archive::new(tar).entries().expect("a tar") {
            let mut member = member.expect("a member");
            let path = String::from_utf8(member.path_bytes().into_owned()).expect("UTF-8");
            let path = path.trim_end_matches('/').to_owned();
            assert!(!path.is_empty() && !path.split('/').any(|part| matches!(part, "" | "." | "..")), "path {path}");
            assert!(!path.split('/').any(|part| part.starts_with(".wh.")), "a deletion: {path}");
            if let Some((parent, _)) = path.rsplit_once('/') {
                assert_eq!(
                    self.get(parent).map(|inode| &inode.kind),
                    Some(&Kind::Directory),
                    "the folder above {path}"
                );
            }
            let link = member.link_name_bytes().map(|link| String::from_utf8(link.into_owned()).expect("UTF-8"));
            let mut xattrs = BTreeMap::new();
            for record in member.pax_extensions().expect("PAX records").into_iter().flatten() {
                let record = record.expect("a PAX record");
                if let Some(name) = record.key().expect("UTF-8").strip_prefix("SCHILY.xattr.") {
                    xattrs.insert(name.to_owned(), record.value_bytes().to_owned());
                }
            }
            let header = member.header().clone();
            let id = |id: u64| u32::try_from(id).expect("a number of 32 bits");
            let kind = match header.entry_type() {
                tar::EntryType::Directory => Kind::Directory,
                tar::EntryType::Symlink => Kind::Symlink(link.expect("a target")),
                tar::EntryType::Link => {
                    let target = self.names[&link.expect("a target")];
                    self.names.insert(path, target);
                    continue;
                }
                tar::EntryType::Regular => {
                    let mut bytes = Vec::new();
                    member.read_to_end(&mut bytes).expect("content");
                    Kind::File(bytes)
                }
                other => panic!("{path}: {other:?}"),
            };
            let inode = Inode {
                kind,
                mode: header.mode().expect("a mode") & 0o7777,
                uid: id(header.uid().expect("an owner")),
                gid: id(header.gid().expect("a group")),
                xattrs,
            };
            self.put(path, inode);
        }
    }

    fn put(&mut self, path: String, inode: Inode) {
        self.names.insert(path, self.inodes.len());
        self.inodes.push(inode);
    }

    /// What lies in the folder `root`.
    pub fn of_folder(root: &Path) -> Self {
        let mut tree = Self::default();
        let mut seen = BTreeMap::new();
        let mut left = vec![root.to_owned()];
        while let Some(folder) = left.pop() {
            for entry in fs::read_dir(&folder).expect("a readable folder") {
                let path = entry.expect("an entry").path();
                let meta = path.symlink_metadata().expect("its metadata");
                let name = path.strip_prefix(root).expect("below").to_str().expect("UTF-8").to_owned();
                if let Some(&inode) = seen.get(&meta.ino()) {
                    tree.names.insert(name, inode);
                    continue;
                }
                let kind = if meta.is_symlink() {
                    Kind::Symlink(fs::read_link(&path).expect("a link").to_str().expect("UTF-8").to_owned())
                } else if meta.is_dir() {
                    left.push(path);
                    Kind::Directory
                } else if meta.is_file() {
                    Kind::File(fs::read(&path).expect("a readable file"))
                } else {
                    Kind::Special
                };
                seen.insert(meta.ino(), tree.inodes.len());
                let (mode, uid, gid) = (meta.mode() & 0o7777, meta.uid(), meta.gid());
                tree.put(name, Inode { kind, mode, uid, gid, xattrs: BTreeMap::new() });
            }
        }
        tree
    }

    /// The file, folder or link at `path`.
    pub fn get(&self, path: &str) -> Option<&Inode> {
        self.names.get(path).map(|&inode| &self.inodes[inode])
    }

    /// The text of the file `path`.
    #[track_caller]
    pub fn text(&self, path: &str) -> &str {
        match self.get(path).map(|inode| &inode.kind) {
            Some(Kind::File(bytes)) => std::str::from_utf8(bytes).expect("UTF-8"),
            other => panic!("{path}: expected a file, found {other:?}"),
        }
    }

    /// Every path and what is there, in words that can be compared. A file with several names is told by its first.
    pub fn describe(&self) -> BTreeMap<String, String> {
        let mut first: BTreeMap<usize, &str> = BTreeMap::new();
        for (name, inode) in &self.names {
            first.entry(*inode).or_insert(name);
        }
        let words = |(name, at): (&String, &usize)| {
            let Inode { kind, mode, uid, gid, xattrs } = &self.inodes[*at];
            let mut words = match kind {
                Kind::Directory => format!("folder {mode:04o} {uid}:{gid}"),
                // Linux gives every link all permissions.
                Kind::Symlink(target) => format!("link {uid}:{gid} -> {target}"),
                Kind::File(bytes) => {
                    let digest = Digest::of(bytes).hex();
                    format!("file {mode:04o} {uid}:{gid} {} bytes {}", bytes.len(), &digest[..12])
                }
                Kind::Special => format!("special {mode:04o} {uid}:{gid}"),
            };
            if first[at] != name {
                words += &format!(" = {}", first[at]);
            }
            for (name, value) in xattrs {
                words += &format!(" {name}={value:?}");
            }
            (name.clone(), words)
        };
        self.names.iter().map(words).collect()
    }

    /// The paths at which two trees differ, and how: `PATH: here | there`.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let (here, there) = (self.describe(), other.describe());
        let paths: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
        let none = "-".to_owned();
        let pairs =
            paths.into_iter().map(|path| (path, here.get(path).unwrap_or(&none), there.get(path).unwrap_or(&none)));
        pairs.filter(|(_, a, b)| a != b).map(|(path, a, b)| format!("{path}: {a} | {b}")).collect()
    }

    /// Writes the tree into the folder `root`, with owners, which takes root.
    pub fn write_to(&self, root: &Path) {
        let mut written: BTreeMap<usize, &str> = BTreeMap::new();
        fs::create_dir_all(root).expect("a folder");
        for (name, at) in &self.names {
            let path = root.join(name);
            if let Some(first) = written.insert(*at, name) {
                fs::hard_link(root.join(first), &path).expect("a hard link");
                continue;
            }
            let inode = &self.inodes[*at];
            match &inode.kind {
                Kind::Directory => fs::create_dir(&path),
                Kind::Symlink(target) => symlink(target, &path),
                Kind::File(bytes) => fs::write(&path, bytes),
                Kind::Special => panic!("{name} is special"),
            }
            .expect("a writable folder");
            lchown(&path, Some(inode.uid), Some(inode.gid)).expect("root may");
            if !matches!(inode.kind, Kind::Symlink(_)) {
                fs::set_permissions(&path, fs::Permissions::from_mode(inode.mode)).expect("its own file");
            }
        }
    }
}

/// The layers of the only image of an OCI layout: media type and bytes.
pub fn layers(layout: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |path: &Path| fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON");
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().expect("a digest");
        read(&layout.join("blobs").join(digest.replace(':', "/")))
    };
    let mut document = json(&read(&layout.join("index.json")));
    while let Some(manifests) = document["manifests"].as_array() {
        assert_eq!(manifests.len(), 1, "one image");
        document = json(&blob(&manifests[0]));
    }
    let layers = document["layers"].as_array().expect("layers").clone();
    layers.iter().map(|layer| (layer["mediaType"].as_str().expect("a type").to_owned(), blob(layer))).collect()
}

/// The tar of a layer.
pub fn decompress(media_type: &str, bytes: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    if media_type.ends_with("+zstd") {
        tar = zstd::decode_all(bytes).expect("zstd");
    } else {
        flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut tar).expect("gzip");
    }
    tar
}
