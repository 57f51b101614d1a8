//! The integration tests, as one binary: `tests/it/` holds a file for each subject, `tests/support/` what they share.
//!
//! They write below temporary folders only, stop what they start by its process id, and never need the internet or a
//! tool: a test whose tool is missing says so through [`support::skip`], and `tests/run` names it at the end.

#![allow(dead_code, unreachable_pub, reason = "one binary: the helpers' public parts are for tests yet to be written")]

mod it {
    mod apk_index;
    mod apk_solver;
    mod apk_version;
    mod bad_debian;
    mod bad_packages;
    mod base_images;
    mod cli;
    mod commands;
    mod compiled;
    mod containers;
    mod deb_mirror;
    mod deb_solver;
    mod deb_version;
    mod debian;
    mod dependencies;
    mod frameworks;
    mod hostile_app;
    mod hostile_elf;
    mod hostile_state;
    mod http;
    mod languages;
    mod local_images;
    mod merged_usr;
    mod mirror;
    mod node;
    mod node_apps;
    mod parsers;
    mod programs;
    mod project;
    mod python;
    mod python_apps;
    mod recipe_files;
    mod registry;
    mod registry_auth;
    mod registry_pulls;
    mod registry_quirks;
    mod registry_real;
    mod reproducible;
    mod robust;
    mod rollback;
    mod rootfs;
    mod sandbox;
    mod settings;
    mod shapes;
    mod sink_tools;
    mod sinks;
    mod starts;
    mod steps;
    mod system_layers;
    mod tars;
}
mod support;
