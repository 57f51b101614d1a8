//! microbuild turns an app folder into the smallest container image that runs it.
//!
//! One straight line leads from what the user wants to a pushed image; each arrow is a function that takes a value and
//! returns the next ([`pipeline::build`] draws it):
//!
//! ```text
//! Request → Recipe + Project → Plan → Lock → Packages → Tree → Layers → Image → Sinks
//! ```
//!
//! | value | module | made from |
//! |---|---|---|
//! | [`request::Request`] | [`cli`], [`config`] | flags, environment, the app's `microbuild.toml`, the user's `config.toml` |
//! | [`recipe::Recipe`] | [`recipe`] | `recipes/NAME.toml`, built in or the user's |
//! | [`project::Project`] | [`project`] | the app's folder |
//! | [`plan::Plan`] | [`plan`] | the three above |
//! | [`lock::Lock`] | [`lock`], [`apk`], [`deb`] | signed indexes, solved |
//! | packages: [`package::Listed`], [`package::Contents`] | [`fetch`], [`apk::package`], [`deb::package`] | a mirror; usable only once verified |
//! | [`rootfs::Tree`] | [`rootfs`] | the packages, laid over each other as apk or dpkg does |
//! | [`layer::Layer`] | [`layer`] | a package as it is, the rest of the tree, the app |
//! | [`image::Artifact`] | [`image`] | layers and what the image is started with |
//!
//! Every file of an app is opened through [`app_folder`], which never leaves the folder.
//!
//! Between system and app lies a layer of what the app depends on, which is installed in the recipe's dev variant
//! ([`pipeline::DevVariant`]): an image like any other, whose layers are unpacked and run in by [`sandbox`], as `microbuild dev`
//! and `microbuild run` do too. [`secret`] is what that step may know and no layer may hold, [`surroundings`] what of this
//! machine's network it gets.
//!
//! [`elf`] reads what the dynamic loader needs to know of programs and libraries, and says which libraries a root filesystem
//! lacks, and which files of packages, or of this machine, a program that was compiled takes along.
//!
//! [`sink`] takes an artifact to an OCI layout, an archive, a Docker engine or a [`registry`]; [`images`] keeps it locally
//! in a [`layout`]. Underneath lie [`store`] (content-addressed bytes and memos), [`http`], [`location`], [`media`],
//! [`digest`], [`glob`] and [`near`]; [`programs`] finds this machine's programs; [`solve`] is the search under [`apk::solve`] and [`deb::solve`]; beside
//! everything [`error`] (exit codes, hints) and [`ui`] (what is shown meanwhile).

pub mod apk;
pub mod app_folder;
pub mod cli;
pub mod config;
pub mod deb;
pub mod digest;
pub mod elf;
pub mod error;
pub mod fetch;
pub mod glob;
pub mod host;
pub mod http;
pub mod image;
pub mod images;
pub mod lang;
pub mod layer;
pub mod layout;
pub mod listing;
pub mod location;
pub mod lock;
pub mod media;
pub mod near;
pub mod package;
pub mod pipeline;
pub mod plan;
pub mod programs;
pub mod project;
pub mod recipe;
pub mod registry;
pub mod request;
pub mod rootfs;
pub mod sandbox;
pub mod secret;
pub mod sink;
pub mod solve;
pub mod store;
pub mod surroundings;
pub mod ui;
pub mod values;
