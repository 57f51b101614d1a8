//! microbuild turns an app folder into the smallest container image that runs it.
//!
//! As a library it offers a small face: [`Build`] an [`Image`] of an app for a [`Host`], look at it, keep it, push it;
//! [`command_line`] is the whole program. An [`Error`] says what happened; through [`Explain`] it tells its [`Kind`], which is the
//! exit code, and a hint. Everything below is the map of the inside, which only the crate itself and its tests may use, and which
//! changes from version to version.
//!
//! # The inside
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
//! | [`request::Request`] | [`cli`], [`config`], [`values`] | flags, environment, the app's `microbuild.toml`, the user's `config.toml` |
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
//! in a [`layout`]. Underneath lie [`store`] (content-addressed bytes and memos), [`http`], [`location`],
//! [`media`], [`digest`], [`glob`] and [`near`]; [`host`] is the environment of the process, which is read once; [`programs`] finds this machine's programs; [`solve`] is the search under [`apk::solve`] and [`deb::solve`]; beside
//! everything [`error`] (exit codes, hints) and [`ui`] (what is shown meanwhile).

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the map of the inside; cargo doc --document-private-items follows it"
)]

mod apk;
mod app_folder;
mod cli;
mod config;
mod deb;
mod digest;
mod elf;
mod error;
mod facade;
mod fetch;
mod glob;
mod host;
mod http;
mod image;
mod images;
mod lang;
mod layer;
mod layout;
mod listing;
mod location;
mod lock;
mod media;
mod near;
mod package;
mod pipeline;
mod plan;
mod programs;
mod project;
mod recipe;
mod registry;
mod request;
mod rootfs;
mod sandbox;
mod secret;
mod sink;
mod solve;
mod store;
mod surroundings;
mod ui;
mod values;

pub use error::{Explain, Kind};
pub use facade::{Build, Error, Image, LayerSummary, command_line};
pub use host::Host;

/// The door of this crate's own tests, benchmarks and fuzz targets to its inside. No part of the library: anything in it may change or
/// go with any version.
#[doc(hidden)]
pub mod internals {
    macro_rules! rooms {
        ($($room:ident)*) => {$(
            pub mod $room {
                pub use crate::$room::*;
            }
        )*};
    }

    rooms! {
        apk app_folder cli config deb digest elf error fetch glob host http image images lang layer layout listing
        location lock media near package pipeline plan programs project recipe registry request rootfs sandbox secret sink solve
        store surroundings ui values
    }
}
