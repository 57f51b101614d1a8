//! What the tars of packages and layers have in common: the media types that they have as layers, and the name of the
//! records that hold extended attributes.

/// A layer that is a plain tar (OCI image specification, "Image Layer Filesystem Changeset").
pub const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
/// A layer that is a tar packed with gzip.
pub const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A layer that is a tar packed with Zstandard.
pub const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// The prefix of PAX records that hold extended attributes, as star(1) introduced it and container engines read it.
pub const XATTR: &str = "SCHILY.xattr.";
