//! microbuild turns an app folder into the smallest container image that runs it.

pub mod config;
pub mod digest;
pub mod error;
pub mod glob;
pub mod image;
pub mod layer;
pub mod project;
pub mod recipe;
pub mod store;
pub mod ui;
