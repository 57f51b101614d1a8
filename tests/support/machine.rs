//! An image of Alpine with Node, and users who run commands in sandboxes of it.
//!
//! What is run is run by a child process, the test program again: another user's, with signals and a terminal of its own, or one that
//! is killed. The child is told by [`JOB`] what to do; the test `it::sandbox::as_the_child_of_another_test` does it.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
};

use microbuild::internals::{
    images::LocalImages,
    layer::Layer,
    sandbox::{Ids, Mount, Network, Root, Sandbox, SandboxError, roots},
    store::Store,
    ui::Ui,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    Finished, is_root, run, signals, skip_forbidden, tools,
    workbench::{Workbench, app},
};

/// What a child is to do, as JSON.
pub const JOB: &str = "MICROBUILD_TEST_SANDBOX";
/// What a child writes before anything else of its own.
pub const BEGIN: &str = "<<<begin>>>\n";

/// Someone who is not root here.
const ANYONE: u32 = 23_456;

/// An image's layers, and a folder for each user who runs it.
pub struct Machine {
    layers: Vec<Value>,
    dir: TempDir,
    /// Where bundles lie, in memory.
    bundles: TempDir,
    /// Who runs it.
    pub uid: u32,
    _bench: Workbench,
}

/// The users that a test can be: root, or whoever runs the tests; and someone who is not root, where root can become one.
#[track_caller]
pub fn machines() -> Vec<Machine> {
    if tools(["runc"]).is_none() {
        return Vec::new();
    }
    let mut uids = vec![fs::metadata("/proc/self").expect("Linux").uid()];
    if !is_root() {
        skip_forbidden("needs root: to be root");
    } else if tools(["setpriv"]).is_some() {
        uids.push(ANYONE);
    }
    uids.into_iter().filter_map(Machine::new).collect()
}

impl Machine {
    #[track_caller]
    fn new(uid: u32) -> Option<Self> {
        let bench = Workbench::alpine()?;
        let app = app(&bench.path("app"), &[("index.js", "console.log(process.getuid())")]);
        bench.build(&app, ["-t", "app", "--platform", "linux/amd64", "-p", "npm"]);
        let images = LocalImages::open(&bench.home.path().join(".local/share/microbuild/images")).expect("images");
        let image = images.get("app").expect("the image").images.remove(0);
        let dir = TempDir::new().expect("a temporary folder");
        let layer = |(place, layer): (usize, &Layer)| {
            let file = dir.path().join(format!("layer-{place}"));
            fs::copy(layer.content.path().expect("a file"), &file).expect("a copy");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("its own file");
            json!({"digest": layer.digest, "diff_id": layer.diff_id, "size": layer.size, "media_type": layer.media_type,
                "title": layer.title, "path": file})
        };
        let layers = image.layers.iter().enumerate().map(layer).collect();
        let bundles = TempDir::new_in("/dev/shm").expect("a folder in memory");
        for folder in ["cache", "work"] {
            fs::create_dir(dir.path().join(folder)).expect("a folder");
            fs::set_permissions(dir.path().join(folder), fs::Permissions::from_mode(0o700)).expect("its own folder");
        }
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("its own folder");
        fs::copy(std::env::current_exe().expect("this program"), dir.path().join("tests")).expect("a copy");
        fs::copy(env!("CARGO_BIN_EXE_microbuild"), dir.path().join("microbuild")).expect("a copy");
        if is_root() {
            let folders = [dir.path(), bundles.path()];
            run(Command::new("chown").args(["-R", &format!("{uid}:{uid}")]).args(folders)).succeeds();
        }
        Some(Self { layers, dir, bundles, uid, _bench: bench })
    }

    /// A path in the user's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The folders of the containers that run, or were left.
    pub fn bundles(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.bundles.path().join("microbuild")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }

    /// Whether the user is root.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// `args` in a sandbox of the image, as its root, with no network.
    pub fn job(&self, args: &[&str]) -> Value {
        json!({"layers": self.layers, "store": self.path("cache"), "args": args, "targets": ["/shared"],
            "helper": self.path("microbuild")})
    }

    /// The child that does `job` as this machine's user.
    pub fn command(&self, job: &Value) -> Command {
        signals::reset_for_children();
        let mut command = if is_root() && !self.is_root() {
            let mut command = Command::new("setpriv");
            let id = self.uid.to_string();
            command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]).arg(self.path("tests"));
            command
        } else {
            Command::new(self.path("tests"))
        };
        command.args(["--exact", "it::sandbox::as_the_child_of_another_test", "--nocapture"]);
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).env(JOB, job.to_string()).env("XDG_RUNTIME_DIR", self.bundles.path());
        command.current_dir(self.path("work")).stdin(Stdio::null());
        command
    }

    /// The same in a terminal of 123 columns.
    pub fn in_terminal(&self, job: &Value) -> Command {
        let child = self.command(job);
        let words = [child.get_program()].into_iter().chain(child.get_args()).map(|word| word.to_str().expect("UTF-8"));
        let line = format!("stty cols 123; exec {}", words.collect::<Vec<_>>().join(" "));
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env_clear().env("TERM", "vt100").current_dir(self.path("work"));
        command.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    /// Does `job`; what the sandbox wrote and its exit code.
    #[track_caller]
    pub fn run(&self, job: &Value) -> Finished {
        let mut finished = run(&mut self.command(job));
        if let Some((_, output)) = finished.stdout.split_once(BEGIN) {
            finished.stdout = output.to_owned();
        }
        let left = self.bundles();
        assert!(left.is_empty(), "{left:?} is left: {finished:?}");
        finished
    }

    /// The output of `sh -c SCRIPT` with the network `network`.
    #[track_caller]
    pub fn sh(&self, script: &str, more: Value) -> String {
        let finished = self.run(&merged(self.job(&["sh", "-c", script]), more));
        finished.succeeds().to_owned()
    }

    /// Starts `job`, and waits until the sandbox says `ready`.
    #[track_caller]
    pub fn start(&self, job: &Value) -> Started {
        Self::started(&mut self.command(job))
    }

    /// Starts `command`, and waits until the sandbox says `ready`.
    #[track_caller]
    pub fn started(command: &mut Command) -> Started {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a child");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut seen = String::new();
        while !seen.trim_end().ends_with("ready") {
            assert!(stdout.read_line(&mut seen).expect("output") > 0, "it ended after {seen}");
        }
        Started { child, stdout }
    }
}

/// A child that runs a sandbox.
pub struct Started {
    /// The child itself.
    pub child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Started {
    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        run(Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string())).succeeds();
    }

    /// Its exit code, and what else it wrote.
    pub fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("output");
        (self.child.wait().expect("an end").code(), rest)
    }
}

/// A job with some of its fields replaced.
pub fn merged(mut job: Value, more: Value) -> Value {
    if let Value::Object(more) = more {
        job.as_object_mut().expect("a job").extend(more);
    }
    job
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|item| item.as_str().expect("text").to_owned()).collect()
}

/// The layers that a job names.
pub fn layers_of(job: &Value) -> Vec<Layer> {
    let layer = |value: &Value| {
        let text = |key: &str| value[key].as_str().expect("text").to_owned();
        Layer {
            digest: text("digest").parse().expect("a digest"),
            diff_id: text("diff_id").parse().expect("a digest"),
            size: value["size"].as_u64().expect("a size"),
            media_type: text("media_type"),
            title: text("title"),
            content: Arc::new(PathBuf::from(text("path"))),
        }
    };
    job["layers"].as_array().expect("layers").iter().map(layer).collect()
}

/// A job's root, unpacked.
pub fn root_of(job: &Value) -> Root {
    let store = Store::open(Path::new(job["store"].as_str().expect("a store"))).expect("a store");
    let targets = strings(&job["targets"]).into_iter().map(|path| roots::Target { path, is_file: false });
    roots::unpack(&store, &layers_of(job), &targets.collect::<Vec<_>>(), &Ui::silent()).expect("a root")
}

/// A job's sandbox.
///
/// # Errors
/// When its user is not in the image.
pub fn sandbox_of(job: &Value, root: &Root) -> Result<Sandbox, SandboxError> {
    let mount = |path: &str, writable| Mount::Bind { source: path.into(), target: "/shared".into(), writable };
    let env = job["env"].as_object().into_iter().flatten();
    Ok(Sandbox {
        root: root.path().to_owned(),
        writable: false,
        args: strings(&job["args"]),
        env: env
            .map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned()))
            .collect::<BTreeMap<_, _>>(),
        cwd: job["cwd"].as_str().unwrap_or("/").to_owned(),
        user: Ids::of(job["user"].as_str().unwrap_or_default(), root.path())?,
        mounts: job["work"].as_str().map(|path| mount(path, job["writable"] != false)).into_iter().collect(),
        network: if job["network"] == true { Network::Host } else { Network::None },
        hostname: "sandbox".into(),
        confidential: job["confidential"] == true,
        stop_signal: None,
    })
}
