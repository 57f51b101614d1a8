//! Build options, and the two configuration files.
//!
//! Every build option is a flag, an environment variable (`MICROBUILD_…`) and a key of one of two files. All have the
//! same name and are read by the same `FromStr`:
//!
//! - [`AppConfig`], the app's `microbuild.toml`, describes the **image**. The app may be untrusted, so that nothing in it
//!   reaches the user's machine, credentials or trust.
//! - [`UserConfig`], the user's `$XDG_CONFIG_HOME/microbuild/config.toml`, decides about the **machine**: output paths,
//!   the runtime, secrets and trust.
//!
//! Each key belongs to one of the two. In the other it is an error that names the right file. The first of flag,
//! environment, file and recipe that has a value counts. A list replaces another one as a whole; tables (`env`,
//! `label`, `annotation`) are merged key by key.
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
    BuildStepOptions, CommonOptions, ContentsOptions, DeliveryOptions, ImageOptions, MachineOptions, Merge,
    NetworkOptions,
};
pub use user::{UserConfig, is_trusted};

/// The error of a file of build options.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file's content is not valid.
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
