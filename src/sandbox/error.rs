//! Why nothing runs.

use std::{io, path::PathBuf};

use super::{ids::IdsError, unpack::UnpackError};
use crate::{
    error::{Explain, Kind},
    store::StoreError,
};

/// Why a command does not run in a sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Not here.
    #[error("containers run on Linux only")]
    NotLinux,
    /// There is nothing to run containers with.
    #[error("no container runtime is on PATH: runc, crun or youki is needed")]
    NoRuntime,
    /// What `--runtime` names cannot be executed.
    #[error(
        "expected --runtime to name an OCI runtime (a program on PATH, or its path), found `{0}`, which is no program"
    )]
    BadRuntime(String),
    /// The runtime was refused what it needs to run a container without root.
    #[error("{runtime} was refused a user namespace, without which only root runs containers: {message}")]
    UserNamespace {
        /// The runtime.
        runtime: String,
        /// What it says.
        message: String,
        /// What the administrator can do.
        remedy: String,
    },
    /// The runtime failed.
    #[error("{runtime} cannot run the container: {message}")]
    Runtime {
        /// The runtime.
        runtime: String,
        /// What it says.
        message: String,
    },
    /// The command is not in the root.
    #[error("the image has no command `{command}`")]
    NotFound {
        /// The command.
        command: String,
    },
    /// The command is in the root and is not a program that runs here.
    #[error("`{command}` does not run here: {message}")]
    NotExecutable {
        /// The command.
        command: String,
        /// What the runtime says.
        message: String,
    },
    /// Something is to be mounted, or the command to start, where nothing is.
    #[error("the image has no folder `{path}`")]
    NoTarget {
        /// The path.
        path: String,
    },
    /// Nothing can be mounted at a path.
    #[error("expected an absolute path without `..` to mount something at, found `{path}`")]
    BadTarget {
        /// The path.
        path: String,
    },
    /// Something is to be mounted where a link of a mounted folder leads.
    #[error("cannot mount anything at `{path}`: there is a link in what is mounted above it")]
    LinkedTarget {
        /// The path.
        path: String,
    },
    /// Secrets would reach a disk.
    #[error(
        "expected a folder in memory for secrets, found none: neither /dev/shm nor XDG_RUNTIME_DIR is a tmpfs that this user may write to"
    )]
    NoMemory,
    /// The user cannot be found in the root.
    #[error(transparent)]
    Ids(#[from] IdsError),
    /// The root cannot be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The store cannot hold it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bundle cannot be described.
    #[error("cannot describe the container: {0}")]
    Spec(#[from] oci_spec::OciSpecError),
    /// The folder for running containers belongs to another user, or is not a folder.
    #[error("expected {} to be a folder that only this user may use, found {found}", path.display())]
    RunFolder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },
    /// A port of this machine is in use or not allowed.
    #[error("cannot listen on {address}: {source}")]
    Port {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A file or folder of the run cannot be used.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// `create`, `start`, …
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl SandboxError {
    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }

    /// What a shell's `$?` would be: 127 for a command that is not there, 126 for one that is not a program. `None`
    /// when the failure is not the command's.
    pub fn status(&self) -> Option<u8> {
        match self {
            Self::NotFound { .. } => Some(127),
            Self::NotExecutable { .. } => Some(126),
            _ => None,
        }
    }
}

impl Explain for SandboxError {
    fn kind(&self) -> Kind {
        match self {
            Self::BadRuntime(_) | Self::NoTarget { .. } | Self::BadTarget { .. } | Self::LinkedTarget { .. } => {
                Kind::Usage
            }
            Self::Ids(e) => e.kind(),
            Self::Unpack(e) => e.kind(),
            Self::Store(e) => e.kind(),
            Self::NotLinux
            | Self::NoRuntime
            | Self::UserNamespace { .. }
            | Self::Runtime { .. }
            | Self::NotFound { .. }
            | Self::NotExecutable { .. }
            | Self::NoMemory
            | Self::Spec(_)
            | Self::RunFolder { .. }
            | Self::Port { .. }
            | Self::Io { .. } => Kind::Build,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotLinux => Some("build the image here, and run it on Linux or in a Docker engine (`-o docker`)".into()),
            Self::NoRuntime => Some(
                "install one: `apt install runc` (Debian, Ubuntu), `dnf install crun` (Fedora), `apk add runc` (Alpine)"
                    .into(),
            ),
            Self::BadRuntime(_) => Some("without --runtime, the first of runc, crun and youki is taken".into()),
            Self::UserNamespace { remedy, .. } => Some(remedy.clone()),
            Self::NotFound { .. } => Some(
                "name a program that the image holds; the bases `scratch` and `debian` have no shell and no tools (`-p busybox` brings them), the dev variant (`microbuild dev`) has both"
                    .into(),
            ),
            Self::NotExecutable { .. } => {
                Some("the image may be for another platform, or the file a script whose first line names no program".into())
            }
            Self::NoTarget { .. } => Some("with --writable what is missing is made, in a copy of the root".into()),
            Self::BadTarget { .. } => Some("a path such as /data/cache; links of the image are followed".into()),
            Self::LinkedTarget { .. } => Some("mount it where the link leads, or remove the link".into()),
            Self::NoMemory => {
                Some("`mount -t tmpfs tmpfs /dev/shm` as root, or XDG_RUNTIME_DIR names a tmpfs of yours".into())
            }
            Self::Port { .. } => Some("-p HOST-PORT:PORT names another port of this machine".into()),
            Self::RunFolder { .. } => Some("set XDG_RUNTIME_DIR or TMPDIR to a folder of yours".into()),
            Self::Ids(e) => e.hint(),
            Self::Unpack(e) => e.hint(),
            Self::Store(e) => e.hint(),
            Self::Runtime { .. } | Self::Spec(_) | Self::Io { .. } => None,
        }
    }
}
