//! Programs as an ordinary user starts them, when the tests themselves are root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    alpine, is_root,
    mirror_server::MirrorServer,
    run, tools,
    workbench::{Source, Workbench},
};

/// A user whom nothing on the machine belongs to.
const UID: &str = "54321";

/// An ordinary user with a workbench of their own.
pub struct Unprivileged {
    /// The home, the packages over HTTP, and a folder: all the user's.
    pub bench: Workbench,
    setpriv: Option<PathBuf>,
    program: PathBuf,
    _mirror: MirrorServer,
}

impl Unprivileged {
    /// Whoever runs the tests when that is not root, else another user, with the real Alpine mirror. A skip and `None` where
    /// that cannot be.
    #[track_caller]
    pub fn with_alpine() -> Option<Self> {
        let mirror = alpine::mirror()?;
        let server = MirrorServer::start(&mirror.dir);
        let bench = Workbench::with(Source { mirror: server.url(), keys: PathBuf::new() });
        let setpriv = if is_root() { Some(tools(["setpriv"])?).map(|[setpriv]| setpriv) } else { None };
        // Where the tests' own folders lie, another user may not look.
        let program = bench.path("microbuild");
        fs::copy(env!("CARGO_BIN_EXE_microbuild"), &program).expect("a copy of the program");
        let keys = bench.path("keys");
        run(Command::new("cp").arg("-r").arg(&mirror.keys_dir).arg(&keys)).succeeds();
        let bench = Workbench { source: Source { keys, ..bench.source.clone() }, ..bench };
        let user = Self { bench, setpriv, program, _mirror: server };
        user.give(user.bench.home.path());
        user.give(user.bench.dir.path());
        Some(user)
    }

    /// Makes `path`, and all that is in it, the user's.
    pub fn give(&self, path: &Path) {
        if self.setpriv.is_some() {
            run(Command::new("chown").args(["-R", &format!("{UID}:{UID}")]).arg(path)).succeeds();
        }
    }

    /// `command` as the user starts it.
    pub fn command(&self, command: &Command) -> Command {
        let own = command.get_program() == env!("CARGO_BIN_EXE_microbuild");
        let program = if own { self.program.as_os_str() } else { command.get_program() };
        let mut other = match &self.setpriv {
            None => Command::new(program),
            Some(setpriv) => {
                let mut other = Command::new(setpriv);
                other.args(["--reuid", UID, "--regid", UID, "--clear-groups"]).arg(program);
                other
            }
        };
        other.args(command.get_args()).env_clear().stdin(Stdio::null());
        other.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        other.current_dir(command.get_current_dir().unwrap_or(self.bench.home.path()));
        other
    }

    /// The user's number.
    pub fn uid(&self) -> u32 {
        use std::os::unix::fs::MetadataExt as _;
        let own = || Path::new("/proc/self").metadata().map_or(0, |meta| meta.uid());
        if self.setpriv.is_some() { UID.parse().expect("a number") } else { own() }
    }
}
