//! Debian: the only place that knows apt and dpkg.
//!
//! [`sources`] says where a machine gets its packages and whom it trusts. An archive signs a [`release`]; [`signature`]
//! checks that with the keyrings of [`key`]. A release vouches for an [`index`], the list of packages, whose paragraphs
//! ([`control`]) are [`record`]s. [`version`] and [`dependency`] are what packages say of each other, [`solve`] chooses
//! the packages that are asked for and those that these need, and [`package`] opens them.

pub mod control;
pub mod dependency;
pub mod index;
pub mod key;
pub mod package;
pub mod record;
pub mod release;
pub mod signature;
pub mod solve;
pub mod sources;
pub mod version;
