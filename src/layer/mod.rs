//! Layers: what a manifest says of one, where its bytes come from, and how those are made.
//!
//! [`system`] makes the layers of a root filesystem, [`app`] that of an app folder; both write through [`archive`] and
//! [`compress`].

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use crate::{
    digest::{Digest, Hashing},
    error::{Explain, Kind},
    store::{BlobDir, BlobWriter, StoreError},
};

pub mod app;
pub mod archive;
pub mod compress;
pub mod system;

use archive::Archive;
use compress::{Compression, Compressor};

/// Why a layer is not written.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// Its content cannot be read, or it cannot be written.
    #[error("layer {title}: {source}")]
    Io {
        /// The layer.
        title: String,
        /// Why.
        source: io::Error,
    },
    /// The store cannot take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Explain for LayerError {
    fn kind(&self) -> Kind {
        match self {
            Self::Io { .. } => Kind::Build,
            Self::Store(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("the disk is full: `microbuild gc` frees what no local image needs".into())
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::InvalidData => {
                Some("`microbuild gc --all` empties the store; the next build fills it again".into())
            }
            Self::Io { .. } => None,
            Self::Store(e) => e.hint(),
        }
    }
}

/// What a manifest and a configuration say of a layer: enough to name it without having its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Digest of the compressed bytes.
    pub digest: Digest,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    /// Length of the compressed bytes.
    pub size: u64,
    /// Media type: [`GZIP`](crate::media::GZIP) or [`ZSTD`](crate::media::ZSTD).
    pub media_type: String,
    /// What a person calls it.
    pub title: String,
}

impl LayerRecord {
    /// The layer whose bytes `content` gives.
    pub fn with(self, content: Arc<dyn Content>) -> Layer {
        let Self { digest, diff_id, size, media_type, title } = self;
        Layer { digest, diff_id, size, media_type, title, content }
    }
}

/// A layer as a manifest and a configuration name it. Cheap to clone; its bytes are made or fetched only when a sink
/// lacks them and opens it.
#[derive(Clone)]
pub struct Layer {
    /// Digest of the compressed bytes.
    pub digest: Digest,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    /// Length of the compressed bytes.
    pub size: u64,
    /// Media type: [`GZIP`](crate::media::GZIP) or [`ZSTD`](crate::media::ZSTD) for layers made here.
    pub media_type: String,
    /// What a person calls it: `nodejs-24.11.1-r0`, `system`, `dependencies`, `app`.
    pub title: String,
    /// Where the bytes come from.
    pub content: Arc<dyn Content>,
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layer({} {} {} bytes)", self.title, self.digest, self.size)
    }
}

impl Layer {
    /// The layer's tar, uncompressed as its media type says.
    ///
    /// # Errors
    /// When its bytes cannot be read or made.
    pub fn uncompressed(&self) -> io::Result<Box<dyn Read + Send>> {
        let bytes = self.content.open()?;
        Ok(match self.media_type.rsplit(['+', '.']).next() {
            Some("gzip") => Box::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 17, bytes))),
            Some("zstd") => Box::new(zstd::Decoder::new(bytes)?),
            _ => bytes,
        })
    }
}

/// The bytes of a blob, on demand.
pub trait Content: Send + Sync {
    /// The compressed bytes from their beginning. May be called again, for a retry.
    ///
    /// # Errors
    /// When they can be neither read nor made.
    fn open(&self) -> io::Result<Box<dyn Read + Send>>;

    /// The read-only file that holds exactly these bytes, when there is one already: it can be linked to.
    fn path(&self) -> Option<PathBuf> {
        None
    }
}

/// A blob that lies in a file of its own.
impl Content for PathBuf {
    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(self)?))
    }

    fn path(&self) -> Option<PathBuf> {
        Path::is_file(self).then(|| self.clone())
    }
}

/// A blob in memory: a configuration, a manifest, a test's layer.
impl Content for Vec<u8> {
    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(io::Cursor::new(self.clone())))
    }
}

/// A blob of the store that can be made again: its digest was remembered, its bytes may have been removed since.
pub struct Remade<F> {
    path: PathBuf,
    make: F,
}

impl<F: Fn() -> io::Result<()> + Send + Sync> Remade<F> {
    /// The blob at `path`; `make` puts it there when it is missing.
    pub fn new(path: PathBuf, make: F) -> Self {
        Self { path, make }
    }
}

impl<F: Fn() -> io::Result<()> + Send + Sync> Content for Remade<F> {
    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        match File::open(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                (self.make)()?;
                Ok(Box::new(File::open(&self.path)?))
            }
            opened => Ok(Box::new(opened?)),
        }
    }

    fn path(&self) -> Option<PathBuf> {
        self.path.is_file().then(|| self.path.clone())
    }
}

/// What a layer's tar is written into.
pub type LayerArchive = Archive<Hashing<Compressor<BlobWriter>>>;

/// Writes a layer into `blobs`; `fill` writes its members.
fn write(
    title: &str,
    blobs: &BlobDir,
    compression: Compression,
    epoch: u64,
    fill: impl FnOnce(&mut LayerArchive) -> io::Result<()>,
) -> Result<LayerRecord, LayerError> {
    let mut archive = Archive::new(Hashing::new(Compressor::new(compression, blobs.writer()?)), epoch);
    let failed = |source| LayerError::Io { title: title.to_owned(), source };
    fill(&mut archive).map_err(failed)?;
    let (diff_id, _, compressor) = archive.finish().map_err(failed)?.finish();
    let (digest, size) = compressor.finish().map_err(failed)?.finish()?;
    let media_type = compression.media_type().to_owned();
    Ok(LayerRecord { digest, diff_id, size, media_type, title: title.to_owned() })
}

/// Writes a layer of `folders` only into `blobs`: their paths below the root, each after those above it.
///
/// # Errors
/// When it cannot be written.
pub fn folders_layer(
    title: &str,
    blobs: &BlobDir,
    compression: Compression,
    epoch: u64,
    folders: &BTreeMap<String, archive::Meta>,
) -> Result<LayerRecord, LayerError> {
    write(title, blobs, compression, epoch, |archive| {
        folders.iter().try_for_each(|(path, meta)| archive.directory(path, *meta))
    })
}
