//! Build options, and the two files that they stand in.
//!
//! Every build option is a flag, a variable of the environment (`MICROBUILD_…`) and a key of one of two files, all under
//! the same name and read by the same `FromStr`:
//!
//! - [`AppConfig`], the app's `microbuild.toml`, describes the **image**. The app may be a stranger's, so that nothing in it
//!   reaches the user's machine, credentials or trust.
//! - [`UserConfig`], the user's `$XDG_CONFIG_HOME/microbuild/config.toml`, speaks for the **machine**: where things are
//!   written, which runtime and secrets are used, whom to trust.
//!
//! Each key stands in one of the two; in the other it is an error that says where it may stand. The first of flag,
//! environment, file and recipe that says something counts; lists replace one another as wholes, tables (`env`, `label`,
//! `annotation`) are merged key by key.
//!
//! ```toml
//! # microbuild.toml
//! recipe = "node"
//! base = "scratch"
//! platform = "linux/amd64,linux/arm64"
//! env = { PORT = 8080 }
//! max-size = "30MB"
//! ```

mod app;
mod options;
mod user;

use std::{io, path::PathBuf};

use crate::{
    app_folder::AppFolderError,
    error::{Explain, Kind},
    values::DocumentError,
};

pub use crate::app_folder::CONFIG_FILE as FILE;
pub use app::AppConfig;
pub(crate) use options::switch;
pub use options::{
    CommonOptions, ContentsOptions, DeliveryOptions, ImageOptions, MachineOptions, Merge, NetworkOptions,
};
pub use user::{UserConfig, is_trusted};

/// What is wrong with a file of build options.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is not what it should be.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The app's file cannot be read.
    #[error(transparent)]
    App(#[from] AppFolderError),
    /// The user's file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Explain for ConfigError {
    fn kind(&self) -> Kind {
        match self {
            Self::Document(_) | Self::App(_) | Self::Io { .. } => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Document(error) => error.hint.clone(),
            Self::App(error) => error.hint(),
            Self::Io { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_a_matter_of_usage() {
        let error = ConfigError::App(AppFolderError::NotText { path: "app/microbuild.toml".into() });
        assert_eq!(error.kind(), Kind::Usage, "{error}");
    }
}
