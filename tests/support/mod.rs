//! What the integration tests share: the program under test in a home of its own, tools, processes and ports.

pub mod alpine;
pub mod apk_file;
pub mod apk_world;
pub mod docker_registry;
pub mod elf_file;
pub mod engine;
pub mod fake_debian;
pub mod fake_registry;
pub mod fake_repo;
pub mod leftovers;
pub mod machine;
pub mod mirror_server;
pub mod npm_registry;
pub mod random_image;
pub mod raw_tar;
pub mod skip;
pub mod tree;
pub mod unprivileged;
pub mod workbench;

use std::{
    ffi::OsStr,
    io::{self, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

pub use skip::{skip, skip_forbidden};
use tempfile::TempDir;

/// A user's home below a temporary folder: nothing of the machine's own configuration, cache or images is seen.
pub struct Home {
    dir: TempDir,
}

impl Home {
    /// An empty home.
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary folder") }
    }

    /// The home's folder; it vanishes with this value.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The program under test as this home's user would start it: an empty environment but for `PATH`, `HOME` and the
    /// XDG folders below it, no terminal, the home as the current folder.
    pub fn microbuild<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        self.command(env!("CARGO_BIN_EXE_microbuild"), args)
    }

    /// Any program in the same surroundings.
    pub fn command<S: AsRef<OsStr>>(&self, program: impl AsRef<OsStr>, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("XDG_CACHE_HOME", self.path().join(".cache"))
            .env("XDG_CONFIG_HOME", self.path().join(".config"))
            .env("XDG_DATA_HOME", self.path().join(".local/share"))
            .env("XDG_RUNTIME_DIR", self.path().join(".run"))
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }
}

/// What a finished command left: its exit code and what it wrote.
#[derive(Debug)]
pub struct Finished {
    /// The command line, for messages.
    pub line: String,
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Finished {
    /// The standard output, once the exit code is found to be `code`.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{}\n--- stdout\n{}--- stderr\n{}", self.line, self.stdout, self.stderr);
        &self.stdout
    }

    /// The standard output of a command that must have succeeded.
    #[track_caller]
    pub fn succeeds(&self) -> &str {
        self.exits(0)
    }
}

/// Runs `command` to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Finished {
    let line = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("cannot start {line}: {e}"));
    Finished {
        line,
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Where the program `name` lies: in `PATH`, or where system programs lie that a user's `PATH` leaves out.
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The programs `names`, or, when some are missing, a skip that names them and `None`.
#[track_caller]
pub fn tools<const N: usize>(names: [&str; N]) -> Option<[PathBuf; N]> {
    let found = names.map(tool);
    let missing: Vec<&str> = names.iter().zip(&found).filter(|(_, f)| f.is_none()).map(|(name, _)| *name).collect();
    if !missing.is_empty() {
        skip(&format!("{} not installed", missing.join(", ")));
        return None;
    }
    Some(found.map(|path| path.expect("none is missing")))
}

/// Whether this process is root: some of what a system tool does (owners, chroot, namespaces) needs it.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    Path::new("/proc/self").metadata().is_ok_and(|meta| meta.uid() == 0)
}

/// A loopback port on which nothing listens now. Another process may take it before it is used: prefer servers that
/// bind port 0 themselves, and try again with those that cannot.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
    listener.local_addr().expect("an address").port()
}

/// Calls `ready` until it gives a value or `limit` has passed.
pub fn wait_for<T>(limit: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    loop {
        if let Some(value) = ready() {
            return Some(value);
        }
        if begin.elapsed() > limit {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A child process that is stopped, by its id, when this value goes.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `command` in the background.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        Ok(Self { child: command.stdin(Stdio::null()).spawn()? })
    }

    /// Starts `command` in the background, with `input` as all of its standard input.
    ///
    /// # Errors
    /// When it cannot be started, or does not take its input.
    pub fn spawn_with(command: &mut Command, input: &[u8]) -> io::Result<Self> {
        let mut process = Self { child: command.stdin(Stdio::piped()).spawn()? };
        if let Some(mut stdin) = process.child.stdin.take() {
            stdin.write_all(input)?;
        }
        Ok(process)
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child itself: its pipes, its end.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How it ended, when it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to end (SIGTERM), and waits for that; one that takes more than ten seconds is killed.
    pub fn terminate(mut self) {
        let asked = Command::new("kill").arg("-TERM").arg(self.id().to_string()).status();
        if asked.is_ok_and(|status| status.success()) {
            wait_for(Duration::from_secs(10), || self.ended());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // A failure means that it ended meanwhile, which is what is wanted.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
