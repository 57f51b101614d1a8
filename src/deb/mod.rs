//! Debian: the only place that knows apt and dpkg.
//!
//! [`sources`] says where a machine gets its packages and whom it trusts, [`release`] is what an archive signs ([`key`] says
//! whose signature counts), [`index`] the list of packages that a release vouches for, in paragraphs ([`control`]),
//! [`version`] and [`dependency`] are the words that packages use of each other, [`solve`] chooses the packages that a list
//! of wishes needs, and [`package`] opens them.

pub mod control;
pub mod dependency;
pub mod index;
pub mod key;
pub mod package;
pub mod release;
pub mod solve;
pub mod sources;
pub mod version;
