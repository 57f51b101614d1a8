//! A real Docker engine of the tests' own: private data, state and socket below a temporary folder.
//!
//! It is stopped when its last user drops it, and also when the test process dies in any way: a shell waits for the end of
//! its standard input, whose other end only the test process holds, and then stops the engine by its process id.

use std::{
    io::{Read as _, Write as _},
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tempfile::TempDir;

use super::{Finished, is_root, run, skip, tools, wait_for};

/// Starts the engine, waits for the end of its input, stops the engine and removes its folder.
const WATCHDOG: &str = r#"
dir=$1; shift
"$@" >"$dir/log" 2>&1 &
pid=$!
cat >/dev/null
kill -TERM $pid 2>/dev/null
n=0
while kill -0 $pid 2>/dev/null && [ $n -lt 200 ]; do sleep 0.1; n=$((n + 1)); done
kill -KILL $pid 2>/dev/null
wait $pid 2>/dev/null
while read -r _ point _; do
    case $point in "$dir"/*) umount -l "$point";; esac
done </proc/mounts
rm -rf --one-file-system "$dir"
"#;

static SHARED: Mutex<Weak<Engine>> = Mutex::new(Weak::new());

/// A running engine.
pub struct Engine {
    watchdog: Child,
    docker: PathBuf,
    dir: TempDir,
}

impl Engine {
    /// The engine that the tests of this process share; `None`, after saying why, where none can run.
    #[track_caller]
    pub fn shared() -> Option<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = shared.upgrade() {
            return Some(engine);
        }
        let engine = Arc::new(Self::start(&[])?);
        *shared = Arc::downgrade(&engine);
        Some(engine)
    }

    /// A new engine with further options of `dockerd`; `None`, after saying why, where none can run.
    #[track_caller]
    pub fn start(options: &[String]) -> Option<Self> {
        let [dockerd, docker, _containerd, _runc] = tools(["dockerd", "docker", "containerd", "runc"])?;
        if !is_root() {
            skip("a Docker engine of our own needs root");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("engine-").tempdir().expect("a temporary folder");
        match Self::launch(&dockerd, docker, dir, options) {
            Ok(engine) => Some(engine),
            Err(why) => {
                skip(&format!("no Docker engine runs here: {why}"));
                None
            }
        }
    }

    fn launch(dockerd: &Path, docker: PathBuf, dir: TempDir, options: &[String]) -> Result<Self, String> {
        let root = dir.path();
        // Without a file of its own it would read /etc/docker/daemon.json.
        std::fs::write(root.join("daemon.json"), "{}").expect("write");
        let at = |flag: &str, name: &str| format!("--{flag}={}", root.join(name).display());
        let namespace = format!("microbuild-{}", root.file_name().expect("a name").to_string_lossy());
        let mut watchdog = Command::new("sh");
        watchdog
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(root)
            .arg(dockerd)
            .args(["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--bridge=none"])
            .args([at("data-root", "data"), at("exec-root", "exec"), at("pidfile", "pid")])
            .args([at("config-file", "daemon.json"), format!("--host={}", host(root))])
            .args([
                format!("--containerd-namespace={namespace}"),
                format!("--containerd-plugins-namespace={namespace}-p"),
            ])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of the terminal's reach: its Ctrl-C must not stop the one that cleans up.
            .process_group(0);
        let watchdog = watchdog.spawn().map_err(|e| e.to_string())?;
        let engine = Self { watchdog, docker, dir };
        match wait_for(Duration::from_secs(60), || engine.answers().or_else(|| engine.has_ended())) {
            Some(true) => Ok(engine),
            _ => Err(engine.last_words()),
        }
    }

    fn answers(&self) -> Option<bool> {
        let mut socket = UnixStream::connect(self.socket()).ok()?;
        socket.write_all(b"GET /_ping HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        answer.contains(" 200 ").then_some(true)
    }

    fn has_ended(&self) -> Option<bool> {
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        log.contains("failed to start daemon").then_some(false)
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        log.lines().last().unwrap_or("it says nothing").to_owned()
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    /// The engine's process id, in digits.
    pub fn pid(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("pid")).expect("the engine's pid file").trim().to_owned()
    }

    /// What DOCKER_HOST must be to reach it.
    pub fn host(&self) -> String {
        host(self.dir.path())
    }

    /// Runs the `docker` command line against it.
    pub fn docker<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Finished {
        let mut command = Command::new(&self.docker);
        command.args(args).env("DOCKER_HOST", self.host()).env("DOCKER_CONFIG", self.dir.path().join("config"));
        for name in ["DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
            command.env_remove(name);
        }
        run(&mut command)
    }

    /// Runs a container of `image` to its end, without a network unless `options` name one, and removes it.
    pub fn run(&self, options: &[&str], image: &str, args: &[&str]) -> Finished {
        let network: &[&str] =
            if options.iter().any(|option| option.starts_with("--net")) { &[] } else { &["--network", "none"] };
        self.docker(["run", "--rm"].iter().chain(network).chain(options).chain(&[image]).chain(args).copied())
    }
}

fn host(dir: &Path) -> String {
    format!("unix://{}", dir.join("docker.sock").display())
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        // It stops the engine, then ends.
        let _ = self.watchdog.wait();
    }
}
