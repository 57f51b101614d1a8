//! Where images go.

pub mod registry;
