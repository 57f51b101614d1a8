//! From an app's folder to a layer.

use std::{collections::BTreeMap, io, sync::Arc};

use super::{
    LayerArchive, LayerError, LayerRecord,
    archive::{Archive, Meta},
    compress::Compression,
    write,
};
use crate::{
    app_folder::AppFolder,
    digest::{Digest, Hashing},
    project::{AppFile, FileKind},
    rootfs::parents,
    secret::{Needles, Watch},
    store::BlobDir,
};

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
    /// Time of every member.
    pub epoch: u64,
}

impl AppLayer {
    /// The digest of the layer's tar. Reads the files and writes nothing.
    ///
    /// # Errors
    /// When a file cannot be read, or changed since the project was.
    pub fn diff_id(&self) -> Result<Digest, LayerError> {
        let mut archive = Archive::new(Hashing::new(io::sink()), self.epoch);
        let filled = self.fill(&mut archive).and_then(|()| archive.finish());
        let (diff_id, _, _) = filled.map_err(|source| LayerError::Io { title: self.title.clone(), source })?.finish();
        Ok(diff_id)
    }

    /// Writes the layer into `blobs`.
    ///
    /// # Errors
    /// As [`diff_id`](Self::diff_id), and when it cannot be written.
    pub fn write(&self, blobs: &BlobDir, compression: Compression) -> Result<LayerRecord, LayerError> {
        write(&self.title, blobs, compression, self.epoch, |archive: &mut LayerArchive| self.fill(archive))
    }

    /// The secret whose bytes are in the layer's tar. Reads the files and writes nothing.
    ///
    /// # Errors
    /// As [`diff_id`](Self::diff_id).
    pub fn leak(&self, needles: &Needles) -> Result<Option<String>, LayerError> {
        let mut watch = Watch::new(needles);
        let filled = self.fill(&mut Archive::new(&mut watch, self.epoch));
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
            archive.directory(path, *meta)?;
        }
        for file in self.files.iter() {
            let path =
                if self.workdir.is_empty() { file.path.clone() } else { format!("{}/{}", self.workdir, file.path) };
            let path = self.place(path);
            let meta = Meta::root(file.kind.mode());
            match &file.kind {
                FileKind::Folder if self.links.contains_key(&path) => {}
                FileKind::Folder => archive.directory(&path, meta)?,
                FileKind::Link { target } => archive.symlink(&path, target, meta)?,
                FileKind::File { size, .. } => {
                    let mut content = file.open(&self.root).map_err(io::Error::other)?;
                    let written = archive.file(&path, meta, &BTreeMap::new(), *size, &mut content);
                    written.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", file.path)))?;
                }
            }
        }
        Ok(())
    }
}
