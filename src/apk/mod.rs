//! Alpine: the only place that knows apk.
//!
//! [`index`] reads a repository's signed `APKINDEX.tar.gz`, [`key`] says whose signature counts, [`version`] and
//! [`dependency`] are what packages say of each other, and [`solve`] chooses the packages that are requested (apk calls
//! these the world) and those that they need.

pub mod checksum;
pub mod dependency;
pub mod index;
pub mod key;
pub mod package;
pub mod revision;
pub mod solve;
pub mod version;
