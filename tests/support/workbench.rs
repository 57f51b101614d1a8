//! A user who builds Node apps with the program under test: a home, a mirror of packages, and a few words for what is done
//! again and again.

use std::{
    ffi::OsStr,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    Finished, Home, alpine,
    fake_repo::{Package, Repo},
    run, wait_for,
};

/// The project's own example, which the tests build as it is.
pub fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/node")
}

/// Where packages come from, as the command line takes it.
#[derive(Debug, Clone)]
pub struct Source {
    /// A folder or a URL.
    pub mirror: String,
    /// The folder of keys.
    pub keys: PathBuf,
}

/// A user's home and packages to build with.
pub struct Workbench {
    /// The home, in which every command runs.
    pub home: Home,
    /// Where packages come from.
    pub source: Source,
    /// The base of every build, when it is not Alpine: its packages come from this machine's apt sources.
    pub base: Option<String>,
    /// A folder for whatever a test needs.
    pub dir: TempDir,
}

impl Workbench {
    /// With the real Alpine mirror of the tests, or a skip and `None`.
    #[track_caller]
    pub fn alpine() -> Option<Self> {
        let mirror = alpine::mirror()?;
        Some(Self::with(Source { mirror: text(&mirror.dir), keys: mirror.keys_dir }))
    }

    /// With a mirror of small made-up packages for `linux/amd64`: the image that they make does not run.
    pub fn fake() -> Self {
        let dir = temporary();
        let keys = node_repo().publish(dir.path());
        node_repo().beside("community").publish(dir.path());
        let source = Source { mirror: text(dir.path()), keys };
        Self { home: Home::new(), source, base: None, dir }
    }

    /// With Debian's packages, from this machine's own apt sources; whoever asks for it has seen that there are some.
    pub fn debian(suite: &str) -> Self {
        let source = Source { mirror: String::new(), keys: PathBuf::new() };
        Self { home: Home::new(), source, base: Some(format!("debian:{suite}")), dir: temporary() }
    }

    /// With packages from `source`.
    pub fn with(source: Source) -> Self {
        Self { home: Home::new(), source, base: None, dir: temporary() }
    }

    /// A path in the test's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A copy of the example in the test's folder, to be changed.
    pub fn copy_of_example(&self, name: &str) -> PathBuf {
        copy(&example(), &self.path(name))
    }

    /// `microbuild node APP ARGS…` with this mirror and its keys.
    pub fn node<S: AsRef<OsStr>>(&self, app: &Path, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.home.microbuild(["node"]);
        self.sources(command.arg(app)).args(args);
        command
    }

    /// `--mirror` and `--keys` for `command`, or `--base`.
    pub fn sources<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if let Some(base) = &self.base {
            return command.args(["--base", base]);
        }
        command.arg("--mirror").arg(&self.source.mirror).arg("--keys").arg(&self.source.keys)
    }

    /// Builds `app`; the reference with its digest.
    #[track_caller]
    pub fn build<S: AsRef<OsStr>>(&self, app: &Path, args: impl IntoIterator<Item = S>) -> String {
        one_line(&run(&mut self.node(app, args)))
    }

    /// Builds `app` with `--json`; what it printed.
    #[track_caller]
    pub fn build_json<S: AsRef<OsStr>>(&self, app: &Path, args: impl IntoIterator<Item = S>) -> Value {
        json(&run(self.node(app, args).arg("--json")))
    }

    /// Runs `microbuild ARGS…`.
    #[track_caller]
    pub fn microbuild<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Finished {
        run(&mut self.home.microbuild(args))
    }
}

/// A new temporary folder.
pub fn temporary() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A path as text; those of the tests are UTF-8.
pub fn text(path: &Path) -> String {
    path.to_str().expect("a path of the tests").to_owned()
}

/// The only line that a command which must have succeeded wrote to its standard output.
#[track_caller]
pub fn one_line(finished: &Finished) -> String {
    let line = finished.succeeds().strip_suffix('\n').expect("a line that ends");
    assert!(!line.contains('\n') && !line.is_empty(), "expected one line, found {line:?}");
    line.to_owned()
}

/// The digest at the end of a reference.
#[track_caller]
pub fn digest(reference: &str) -> &str {
    reference.rsplit_once('@').expect("a digest").1
}

/// The JSON that a command which must have succeeded wrote to its standard output.
#[track_caller]
pub fn json(finished: &Finished) -> Value {
    serde_json::from_str(finished.succeeds()).expect("JSON on stdout")
}

/// Copies the folder `from`.
pub fn copy(from: &Path, to: &Path) -> PathBuf {
    run(Command::new("cp").arg("-r").arg(from).arg(to)).succeeds();
    to.to_owned()
}

/// What the server on the loopback port `port` answers to `GET /`, once it listens; an error says what is in its way.
pub fn get(port: u16) -> Result<Value, String> {
    let answer = wait_for(Duration::from_secs(60), || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    });
    let answer = answer.ok_or("nothing answers")?;
    let body = answer.split_once("\r\n\r\n").ok_or(format!("no HTTP: {answer}"))?.1;
    serde_json::from_str(body).map_err(|e| format!("{e}: {answer}"))
}

/// The packages that the recipe `node` asks for, small and made up, for `linux/amd64`. Node's own is large enough for a layer.
pub fn node_repo() -> Repo {
    let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n";
    Repo::new()
        .with(Package::new("alpine-baselayout", "3.7-r0").depends("alpine-baselayout-data").dir("tmp", 0o1777))
        .with(Package::new("alpine-baselayout-data", "3.7-r0").file("etc/passwd", 0o644, passwd).file(
            "etc/group",
            0o644,
            "root:x:0:root\nnobody:x:65534:\n",
        ))
        .with(Package::new("alpine-release", "3.23.0-r0").file("etc/alpine-release", 0o644, "3.23.0\n"))
        .with(Package::new("busybox", "1.37-r0").file("bin/busybox", 0o755, "busybox").file(
            "etc/busybox-paths.d/busybox",
            0o644,
            "/bin/ls\n/bin/sh\n",
        ))
        .with(
            Package::new("busybox-binsh", "1.37-r0")
                .depends("busybox")
                .provides("/bin/sh cmd:sh=1.37-r0")
                .priority(60)
                .symlink("bin/sh", "/bin/busybox"),
        )
        .with(Package::new("ca-certificates-bundle", "2025-r0").file("etc/ssl/cert.pem", 0o644, "certificates"))
        .with(Package::new("libgcc", "15-r0").provides("so:libgcc_s.so.1=1").file(
            "usr/lib/libgcc_s.so.1",
            0o755,
            "elf",
        ))
        .with(nodejs())
}

/// A made-up Node of 2 MB.
pub fn nodejs() -> Package {
    Package::new("nodejs", "24.11.1-r0").depends("so:libgcc_s.so.1").file("usr/bin/node", 0o755, noise(1, 2 << 20))
}

/// `len` bytes that no codec makes smaller, the same for the same `seed`, which is not 0.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Writes a small app below `dir`: `files` by their paths.
pub fn app(dir: &Path, files: &[(&str, &str)]) -> PathBuf {
    for (path, content) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    }
    dir.to_owned()
}
