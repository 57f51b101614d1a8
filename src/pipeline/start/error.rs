//! Why an image cannot start.

use super::resolve::Problem;
use crate::{
    error::{Explain, Kind},
    sandbox::IdsError,
};

/// An image that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its command does not run in it.
    #[error("the image cannot start: {problem}")]
    Command {
        /// Why not.
        problem: Problem,
        /// What to do.
        hint: Option<String>,
    },
    /// Its user is not known in it.
    #[error("the image cannot start: {0}")]
    User(IdsError),
}

impl Explain for StartError {
    fn kind(&self) -> Kind {
        match self {
            Self::Command { .. } | Self::User(_) => Kind::Build,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Command { hint, .. } => hint.clone(),
            Self::User(error) => error.hint(),
        }
    }
}
