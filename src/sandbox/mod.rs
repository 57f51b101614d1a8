//! Runs a command in an unpacked root filesystem, through an OCI runtime found on this machine.
//!
//! A [`Sandbox`] is the value that says what is run: [`Root`]s are unpacked from an image's layers ([`roots`],
//! [`unpack`]), users are looked up in them ([`Ids`]), the sandbox becomes the `config.json` of a bundle ([`spec`]) in
//! a folder that lives as long as the run ([`bundle`]), and a [`Runtime`] runs that ([`process`]). When this process is
//! killed, so is the container ([`guard`]).
//!
//! Real root gets the container that Docker would make. Any other caller gets one in a user namespace with a single
//! mapping: the container's user is the caller, so that the files that it writes belong to the caller, and no helper is
//! needed that root would have to install.
//!
//! runc and youki become the namespace's root before they start anything. For a user other than root they need further
//! numbers that belong to the caller ([`subordinate`]). Where the caller has none, the only user in the container is 0,
//! and has no capabilities unless root was requested. crun does not need this. See [`Runtime::shows`].

use std::{collections::BTreeMap, fmt, path::PathBuf};

pub mod bundle;
mod error;
mod forward;
#[cfg(target_os = "linux")]
mod guard;
mod ids;
mod limits;
#[cfg(target_os = "linux")]
mod lines;
mod paths;
#[cfg(target_os = "linux")]
mod process;
pub mod roots;
mod runtime;
mod seccomp;
pub mod spec;
pub mod subordinate;
mod syscalls;
pub mod unpack;

pub use error::SandboxError;
pub use forward::Forward;
#[cfg(target_os = "linux")]
pub use guard::serve;
pub use ids::{Ids, IdsError};
pub use roots::Root;
pub use runtime::{Flavor, Runtime};

/// A command and its surroundings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// The root filesystem: a [`Root`]'s path, which the caller holds while the sandbox runs.
    pub root: PathBuf,
    /// Whether the root may be written. A root that others use must not be.
    pub writable: bool,
    /// The command and its arguments; the command is looked up in the `PATH` of `env`.
    pub args: Vec<String>,
    /// The environment. `PATH` and `HOME` are added where they are missing, `TERM` for a terminal.
    pub env: BTreeMap<String, String>,
    /// Where the command starts, an absolute path in the root; it must be there.
    pub cwd: String,
    /// Whom the command runs as.
    pub user: Ids,
    /// What is mounted in addition to the usual, in this order.
    pub mounts: Vec<Mount>,
    /// What it reaches.
    pub network: Network,
    /// What the machine is called in it.
    pub hostname: String,
    /// Whether its variables or files are secret: they are written into memory only then, or nothing runs.
    pub confidential: bool,
    /// The signal that the command gets instead of SIGTERM.
    pub stop_signal: Option<i32>,
}

/// Something mounted in a sandbox. Its target must be there in a root that may not be written; see [`Root::lacks`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// A file or folder of this machine.
    Bind {
        /// The file or folder, absolute.
        source: PathBuf,
        /// Where it appears, an absolute path in the root.
        target: String,
        /// Whether it may be written.
        writable: bool,
    },
    /// A file with this content, which is written for the run, where only this user can read it, in memory, and
    /// vanishes with it.
    File {
        /// What is in it.
        content: FileContent,
        /// Where it appears, an absolute path in the root.
        target: String,
    },
    /// An empty folder in memory.
    Tmpfs {
        /// Where it appears, an absolute path in the root.
        target: String,
        /// Its permission bits.
        mode: u32,
    },
}

/// The content of a [`Mount::File`]. It may be secret: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct FileContent(pub Vec<u8>);

impl fmt::Debug for FileContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Mount {
    /// Where it appears.
    pub fn target(&self) -> &str {
        match self {
            Self::Bind { target, .. } | Self::File { target, .. } | Self::Tmpfs { target, .. } => target,
        }
    }

    /// The same at another place.
    fn at(&self, place: String) -> Self {
        let mut mount = self.clone();
        match &mut mount {
            Self::Bind { target, .. } | Self::File { target, .. } | Self::Tmpfs { target, .. } => *target = place,
        }
        mount
    }
}

/// What a sandbox reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// All that this machine reaches, by the same addresses: there is no network of its own.
    Host,
    /// Itself.
    None,
}

/// Where a sandbox's input and output go.
pub enum Output<'a> {
    /// Its standard streams are ours. It gets a terminal when our input and output are terminals.
    Inherit,
    /// Its standard streams are ours, and the terminal stays ours too: Ctrl-C there asks it to end.
    Streams,
    /// Its input is empty. Its output and errors, merged, are handed over line by line, at most 8 KiB at once; of a
    /// line that a progress bar overwrites by carriage returns the last state is handed over. What is not UTF-8 is
    /// replaced. runc copies the two streams apart from each other: a line of the one may come after a later one of the
    /// other.
    Lines(&'a mut dyn FnMut(&str)),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Status {
    code: u8,
    signal: Option<i32>,
}

impl Status {
    /// Its exit code as a shell has it: 128 + n when signal n ended it.
    pub fn code(self) -> u8 {
        self.code
    }

    /// Whether it did what it was to do.
    pub fn success(self) -> bool {
        self.code == 0
    }

    /// The signal that asked this process to end while the command ran: the caller must end too.
    pub fn interrupted(self) -> Option<i32> {
        self.signal
    }
}

impl Sandbox {
    /// Runs the command to its end. Signals that another process sends to this one meanwhile are passed on to it. With
    /// [`Output::Lines`], one that asks to end (SIGINT from the terminal too) ends it two seconds later, if it still
    /// runs, with [`Output::Streams`] ten; a second one does at once. With [`Output::Inherit`] the third one does.
    ///
    /// The caller may hold no lock of the store that `gc` waits for: the [`Root`] is enough.
    ///
    /// # Errors
    /// When there is no running it: then the command has done nothing. A command that ran and failed is not an error.
    #[cfg(target_os = "linux")]
    pub fn run(&self, runtime: &Runtime, output: Output) -> Result<Status, SandboxError> {
        process::run(self, runtime, output)
    }

    /// Containers run on Linux only.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(target_os = "linux"))]
    pub fn run(&self, _: &Runtime, _: Output) -> Result<Status, SandboxError> {
        Err(SandboxError::NotLinux)
    }
}
