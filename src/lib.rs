//! microbuild turns an app folder into the smallest container image that runs it.

pub mod apk;
pub mod digest;
pub mod error;
pub mod image;
pub mod layer;
pub mod solve;
pub mod store;
pub mod ui;
