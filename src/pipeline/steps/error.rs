//! The errors of steps.

use std::io;

use super::BuildError;
use crate::{
    error::{Explain, Kind},
    sandbox::SandboxError,
    secret::SecretError,
};

/// The errors of steps.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The command failed.
    #[error("step {step} failed: `{command}` ended with exit status {status}; its output is above")]
    Failed {
        /// The step.
        step: String,
        /// The command.
        command: String,
        /// Its exit status; 128 and the signal's number when a signal ended it.
        status: u8,
        /// The hint, from the command's output.
        hint: Option<String>,
    },
    /// The user ended the build.
    #[error("step {step} was interrupted: `{command}`")]
    Interrupted {
        /// The step.
        step: String,
        /// The command.
        command: String,
        /// The signal's number.
        signal: i32,
    },
    /// The command succeeded and left no result.
    #[error("step {step} made no {result}: `{command}` should have left it")]
    Nothing {
        /// The step.
        step: String,
        /// The command.
        command: String,
        /// The missing result.
        result: String,
    },
    /// The command cannot work for the image's processor on this machine.
    #[error("step {step} of recipe {recipe} cannot work for {platform} on a machine that is {host}")]
    ForeignProcessor {
        /// The step.
        step: String,
        /// The recipe.
        recipe: String,
        /// The image's platform.
        platform: String,
        /// This machine's platform.
        host: String,
    },
    /// Packages for another processor would have to be compiled here.
    #[error("cannot compile packages for {platform} on this machine ({host}): {}", packages.join(", "))]
    Foreign {
        /// The image's platform.
        platform: String,
        /// This machine's platform.
        host: String,
        /// The packages.
        packages: Vec<String>,
    },
    /// A file of certificates cannot be read.
    #[error("cannot read certificates: {0}")]
    Certificates(io::Error),
    /// A secret cannot be read, or is where it must not be.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The sandbox failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Files cannot be copied or read.
    #[error("cannot prepare step {step}: {source}")]
    Io {
        /// The step.
        step: String,
        /// Why.
        source: io::Error,
    },
}

impl Explain for StepError {
    fn kind(&self) -> Kind {
        match self {
            Self::Secret(e) => e.kind(),
            Self::Sandbox(e) => e.kind(),
            Self::Certificates(_) => Kind::Usage,
            Self::Failed { .. }
            | Self::Interrupted { .. }
            | Self::Nothing { .. }
            | Self::ForeignProcessor { .. }
            | Self::Foreign { .. }
            | Self::Io { .. } => Kind::Build,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Failed { hint, .. } => hint.clone(),
            Self::ForeignProcessor { platform, host, .. } => {
                Some(format!("build on a machine that is {platform}; --platform {host} builds for this one"))
            }
            Self::Foreign { platform, .. } => Some(format!(
                "build on a machine that is {platform}, use packages that come compiled, or give --ignore-scripts if they run \
                 without"
            )),
            Self::Secret(e) => e.hint(),
            Self::Sandbox(e) => e.hint(),
            Self::Certificates(_) => {
                Some("--ca, SSL_CERT_FILE and NODE_EXTRA_CA_CERTS name files of certificates".into())
            }
            Self::Interrupted { .. } | Self::Nothing { .. } | Self::Io { .. } => None,
        }
    }
}

impl From<StepError> for BuildError {
    fn from(error: StepError) -> Self {
        Self::Step(Box::new(error))
    }
}
