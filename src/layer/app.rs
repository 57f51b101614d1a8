//! From an app's folder to a layer.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, Read as _, Seek as _},
    sync::Arc,
};

use super::{
    LayerArchive, LayerError, LayerRecord,
    archive::{Archive, Meta},
    compress::Compression,
    write,
};
use crate::{
    app_folder::AppFolder,
    digest::{Digest, Hashing},
    listing::Inode,
    project::{AppFile, FileKind},
    rootfs::parents,
    secret::{Needles, Watch},
    store::BlobDir,
    values::FIXED,
};

/// The times of a layer's members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// These seconds since 1970.
    At(u64),
    /// Of a file, a time that is derived from its content, so that servers that tell versions of a file apart by size and
    /// time see another version; of anything else, [`FIXED`].
    Content,
}

/// How many times there are to derive from a content, in seconds: 34 years from 1980 on. All of them are in the past, as
/// HTTP wants it of Last-Modified (RFC 9110, 8.8.2.1), and are the times of a ZIP archive, too.
const SPAN: u64 = 1 << 30;

/// A file's content up to this size is read once, into memory, to learn its digest before its header is written. A larger one
/// is read twice.
const SMALL: u64 = 1 << 20;

impl Times {
    /// The time of everything that is no file.
    fn of_others(self) -> u64 {
        match self {
            Self::At(seconds) => seconds,
            Self::Content => FIXED,
        }
    }

    /// The time of a file with this content.
    fn of(digest: &Digest) -> u64 {
        let first = digest.as_bytes().iter().take(8).fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        FIXED + first % SPAN
    }
}

/// Paths that belong to the app's user, with all below them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owned {
    /// The paths in the image, without a slash at either end, links resolved.
    pub paths: Vec<String>,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Owned {
    /// Mode and owner of what is at `path`, where `meta` are those of another owner's.
    pub(crate) fn meta(&self, path: &str, meta: Meta) -> Meta {
        let is_below =
            |owned: &String| path.strip_prefix(&**owned).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if self.paths.iter().any(is_below) { Meta { uid: self.uid, gid: self.gid, ..meta } } else { meta }
    }
}

/// Files of a project as a layer to be: everything that its bytes depend on.
#[derive(Clone)]
pub struct AppLayer {
    /// What a person calls it.
    pub title: String,
    /// The folder that the files are read from.
    pub root: AppFolder,
    /// The files.
    pub files: Arc<Vec<AppFile>>,
    /// The folder in the image, below the root; empty for the root.
    pub workdir: String,
    /// The folders above and including `workdir` as the system layers have them.
    pub parents: Vec<(String, Meta)>,
    /// Links to folders in the system layers, and where they lead. What would lie below one lies there: a folder in its
    /// place would take the link away.
    pub links: BTreeMap<String, String>,
    /// The times of members.
    pub times: Times,
    /// What belongs to the app's user.
    pub owned: Owned,
}

/// The names under which files with several names are in the layer: inode, size and owner, with the first name and its
/// time. Two names with different owners in the image are two files.
type Written = HashMap<(Inode, u64, u32, u32), (String, u64)>;

impl AppLayer {
    /// The digest of the layer's tar. Reads the files and writes nothing.
    ///
    /// # Errors
    /// When a file cannot be read, or changed since the project was.
    pub fn diff_id(&self) -> Result<Digest, LayerError> {
        let mut archive = Archive::new(Hashing::new(io::sink()), self.times.of_others());
        let filled = self.fill(&mut archive).and_then(|()| archive.finish());
        let (diff_id, _, _) = filled.map_err(|source| LayerError::Io { title: self.title.clone(), source })?.finish();
        Ok(diff_id)
    }

    /// Writes the layer into `blobs`.
    ///
    /// # Errors
    /// As [`diff_id`](Self::diff_id), and when it cannot be written.
    pub fn write(&self, blobs: &BlobDir, compression: Compression) -> Result<LayerRecord, LayerError> {
        write(&self.title, blobs, compression, self.times.of_others(), |archive: &mut LayerArchive| self.fill(archive))
    }

    /// The secret whose bytes are in the layer's tar. Reads the files and writes nothing.
    ///
    /// # Errors
    /// As [`diff_id`](Self::diff_id).
    pub fn leak(&self, needles: &Needles) -> Result<Option<String>, LayerError> {
        let mut watch = Watch::new(needles);
        let filled = self.fill(&mut Archive::new(&mut watch, self.times.of_others()));
        match (watch.found, filled) {
            (Some(id), _) => Ok(Some(id)),
            (None, Err(source)) => Err(LayerError::Io { title: self.title.clone(), source }),
            (None, Ok(())) => Ok(None),
        }
    }

    /// The path without links to folders above it.
    pub fn place(&self, path: String) -> String {
        let link = |path: &str| parents(path).find_map(|parent| Some((parent.len(), self.links.get(parent)?)));
        // Where a link leads is free of links.
        match link(&path) {
            Some((length, folder)) if folder.is_empty() => path[length + 1..].to_owned(),
            Some((length, folder)) => format!("{folder}{}", &path[length..]),
            None => path,
        }
    }

    fn fill<W: io::Write>(&self, archive: &mut Archive<W>) -> io::Result<()> {
        for (path, meta) in &self.parents {
            archive.directory(path, self.owned.meta(path, *meta))?;
        }
        let mut written = Written::new();
        for file in self.files.iter() {
            let path =
                if self.workdir.is_empty() { file.path.clone() } else { format!("{}/{}", self.workdir, file.path) };
            let path = self.place(path);
            let meta = self.owned.meta(&path, Meta::root(file.kind.mode()));
            match &file.kind {
                FileKind::Folder if self.links.contains_key(&path) => {}
                FileKind::Folder => archive.directory(&path, meta)?,
                FileKind::Link { target } => archive.symlink(&path, target, meta)?,
                FileKind::File { size, inode, .. } => {
                    let key = inode.map(|inode| (inode, *size, meta.uid, meta.gid));
                    let first = key.and_then(|key| written.get(&key));
                    let time = if let Some((first, time)) = first {
                        let others = archive.set_time(*time);
                        archive.hard_link(&path, first, meta)?;
                        archive.set_time(others)
                    } else {
                        let of = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", file.path));
                        let content = file.open(&self.root).map_err(io::Error::other)?;
                        self.file(archive, &path, meta, *size, content).map_err(of)?
                    };
                    if let Some(key) = key {
                        written.entry(key).or_insert((path, time));
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes a file of `size` bytes; its time.
    fn file<W: io::Write>(
        &self,
        archive: &mut Archive<W>,
        path: &str,
        meta: Meta,
        size: u64,
        mut content: File,
    ) -> io::Result<u64> {
        let none = BTreeMap::new();
        if let Times::At(time) = self.times {
            return archive.file(path, meta, &none, size, &mut content).map(|()| time);
        }
        let mut small = Vec::new();
        let digest = if size <= SMALL {
            (&content).take(size + 1).read_to_end(&mut small)?;
            Digest::of(&small)
        } else {
            let mut hashing = Hashing::new((&content).take(size + 1));
            io::copy(&mut hashing, &mut io::sink())?;
            let (digest, _, _) = hashing.finish();
            content.rewind()?;
            digest
        };
        let time = Times::of(&digest);
        let others = archive.set_time(time);
        let written = if size <= SMALL {
            archive.file(path, meta, &none, size, &mut &small[..])
        } else {
            archive.file(path, meta, &none, size, &mut content)
        };
        archive.set_time(others);
        written.map(|()| time)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::project::Project;

    /// Kind, path, link, owner and time of each member.
    fn members(layer: &AppLayer) -> Vec<(char, String, Option<String>, u64, u64)> {
        let mut archive = Archive::new(Vec::new(), layer.times.of_others());
        layer.fill(&mut archive).expect("files");
        let bytes = archive.finish().expect("memory");
        let mut archive = tar::Archive::new(&bytes[..]);
        let entries = archive.entries().expect("an archive").map(|entry| {
            let entry = entry.expect("a member");
            let header = entry.header();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let kind = match header.entry_type() {
                tar::EntryType::Link => 'h',
                tar::EntryType::Directory => 'd',
                tar::EntryType::Symlink => 'l',
                _ => 'f',
            };
            let (uid, time) = (header.uid().expect("an owner"), header.mtime().expect("a time"));
            (kind, text(&entry.path_bytes()), entry.link_name_bytes().map(|name| text(&name)), uid, time)
        });
        entries.collect()
    }

    fn layer(folder: &std::path::Path, times: Times, owned: Owned) -> AppLayer {
        AppLayer {
            title: "app".into(),
            root: AppFolder::open(folder).expect("a folder"),
            files: Arc::new(Project::made(folder, &[]).expect("files")),
            workdir: "app".into(),
            parents: vec![("app".into(), Meta::root(0o755))],
            links: BTreeMap::new(),
            times,
            owned,
        }
    }

    #[test]
    fn a_file_with_several_names_is_there_once() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| dir.path().join(name);
        for folder in ["b", "own"] {
            fs::create_dir(at(folder)).expect("a folder");
        }
        fs::write(at("b/one"), "once").expect("a file");
        fs::write(at("c"), "once").expect("a file that is as long, and another one");
        for name in ["a", "own/one", "own/two"] {
            fs::hard_link(at("b/one"), at(name)).expect("a link");
        }
        let owned = Owned { paths: vec!["app/own".into()], uid: 5, gid: 6 };
        let told: Vec<_> = members(&layer(dir.path(), Times::At(7), owned)).into_iter().skip(1).collect();
        let to = |name: &str| Some(format!("app/{name}"));
        let expected = [
            ('f', "app/a".to_owned(), None, 0, 7),
            ('d', "app/b/".to_owned(), None, 0, 7),
            ('h', "app/b/one".to_owned(), to("a"), 0, 7),
            ('f', "app/c".to_owned(), None, 0, 7),
            ('d', "app/own/".to_owned(), None, 5, 7),
            // Another owner, hence another file.
            ('f', "app/own/one".to_owned(), None, 5, 7),
            ('h', "app/own/two".to_owned(), to("own/one"), 5, 7),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_content_has_its_own_time() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| dir.path().join(name);
        let large = vec![b'x'; 3 << 20];
        fs::write(at("large"), &large).expect("a file");
        fs::write(at("v1"), "v=1").expect("a file");
        fs::write(at("v2"), "v=2").expect("a file");
        fs::write(at("w1"), "v=1").expect("a file");
        fs::hard_link(at("v2"), at("w2")).expect("a link");
        let times: BTreeMap<_, _> = members(&layer(dir.path(), Times::Content, Owned::default()))
            .into_iter()
            .map(|(_, path, _, _, time)| (path, time))
            .collect();
        assert_eq!(times["app/"], FIXED);
        assert_eq!(times["app/v1"], times["app/w1"]);
        assert_eq!(times["app/v2"], times["app/w2"]);
        assert_ne!(times["app/v1"], times["app/v2"]);
        assert_eq!(times["app/large"], Times::of(&Digest::of(&large)));
        // Never another one: digests of images depend on it.
        assert_eq!(times["app/v1"], 975_802_710);
        assert!(times.values().all(|time| (FIXED..FIXED + SPAN).contains(time)), "{times:?}");
    }

    #[test]
    fn what_is_beside_an_owned_folder_is_not_owned() {
        let owned = Owned { paths: vec!["app/data".into()], uid: 1, gid: 2 };
        for (path, uid) in [("app/data", 1), ("app/data/x", 1), ("app/data2", 0), ("app", 0)] {
            assert_eq!(owned.meta(path, Meta::root(0o644)).uid, uid, "{path}");
        }
    }
}
