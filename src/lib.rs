//! microbuild turns an app folder into the smallest container image that runs it.

pub mod apk;
pub mod config;
pub mod digest;
pub mod error;
pub mod glob;
pub mod http;
pub mod image;
pub mod images;
pub mod layer;
pub mod layout;
pub mod near;
pub mod project;
pub mod recipe;
pub mod registry;
pub mod sink;
pub mod solve;
pub mod store;
pub mod ui;
