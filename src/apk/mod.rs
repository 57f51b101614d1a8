//! Alpine: the only place that knows apk.
//!
//! [`index`] reads a repository's signed `APKINDEX.tar.gz`, [`key`] says whose signature counts, [`version`] and
//! [`dependency`] are the words that packages use of each other, and [`solve`] chooses the packages that a list of wishes
//! (apk calls it the world) needs.

pub mod checksum;
pub mod dependency;
pub mod index;
pub mod key;
pub mod package;
pub mod revision;
pub mod solve;
pub mod version;
