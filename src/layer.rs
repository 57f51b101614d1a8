//! A layer of an image: what a manifest says of it, and where its bytes are to be had.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::digest::Digest;

/// `application/vnd.oci.image.layer.v1.tar+gzip` (OCI image specification, "Image Layer Filesystem Changeset").
pub const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// `application/vnd.oci.image.layer.v1.tar+zstd`.
pub const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

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
    /// Media type: [`GZIP`] or [`ZSTD`] for layers made here.
    pub media_type: String,
    /// What a person calls it: `nodejs-24.11.1-r0`, `system`, `dependencies`, `app`.
    pub title: String,
    /// Where the bytes are to be had.
    pub content: Arc<dyn Content>,
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layer({} {} {} bytes)", self.title, self.digest, self.size)
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
