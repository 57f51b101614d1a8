//! The same job by microbuild, by `docker build` and `docker push` (BuildKit), and by `buildah`, side by side: a Node app
//! on Alpine, from one mirror to one registry, both on loopback. `make bench`, or `cargo bench --bench compare -- --rounds 9`.
//!
//! Each round starts every tool from the same state (no cache of its own; a registry that holds only the Alpine base, which
//! docker and buildah have already pulled) and times three jobs: everything for the first time, the app changed, nothing
//! changed. What is shown is the median, with the fastest and the slowest round.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "the tests' helpers have parts that only tests use")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use support::{
    Finished, Home, Process,
    alpine::{self, Mirror},
    engine::Engine,
    free_port,
    mirror_server::MirrorServer,
    run, tool, wait_for,
};
use tempfile::TempDir;

const JOBS: [&str; 3] = ["cold build + push", "app changed", "nothing changed"];

/// The packages of the `alpine` image.
const BASE: [&str; 6] = ["alpine-baselayout", "alpine-keys", "alpine-release", "apk-tools", "busybox", "musl-utils"];

const DOCKERFILE: &str = "\
ARG BASE
FROM $BASE
RUN apk add --no-cache nodejs
WORKDIR /app
COPY . .
CMD [\"node\", \"server.js\"]
";

/// A registry whose content can be set back.
struct Registry {
    binary: PathBuf,
    dir: TempDir,
    port: u16,
    process: Option<Process>,
}

impl Registry {
    fn start() -> Result<Self, String> {
        let binary = tool("docker-registry").ok_or("docker-registry not installed")?;
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut registry = Self { binary, dir, port: free_port(), process: None };
        fs::write(registry.dir.path().join("config.yml"), registry.config()).map_err(|e| e.to_string())?;
        registry.serve()?;
        Ok(registry)
    }

    fn config(&self) -> String {
        let (storage, port) = (self.storage(), self.port);
        format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:{port}'}}\n",
            storage.display()
        )
    }

    fn storage(&self) -> PathBuf {
        self.dir.path().join("storage")
    }

    fn serve(&mut self) -> Result<(), String> {
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg(self.dir.path().join("config.yml")).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(Process::spawn(&mut command).map_err(|e| e.to_string())?);
        wait_for(Duration::from_secs(20), || TcpStream::connect(("127.0.0.1", self.port)).ok())
            .map(drop)
            .ok_or_else(|| "docker-registry does not answer".to_owned())
    }

    /// Keeps what is in the registry now as what [`Self::reset`] goes back to.
    fn keep(&self) {
        copy_all(&self.storage(), &self.dir.path().join("kept"));
    }

    fn reset(&mut self) -> Result<(), String> {
        self.process = None;
        fs::remove_dir_all(self.storage()).map_err(|e| e.to_string())?;
        copy_all(&self.dir.path().join("kept"), &self.storage());
        self.serve()
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn reference(&self, name: &str) -> String {
        format!("{}/{name}:1", self.address())
    }

    /// The compressed size of all layers of the image `name:1`, in bytes.
    fn size(&self, name: &str) -> Option<u64> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
        write!(stream, "GET /v2/{name}/manifests/1 HTTP/1.0\r\nAccept: {accept}\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let manifest: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
        manifest["layers"].as_array()?.iter().map(|layer| layer["size"].as_u64()).sum()
    }
}

fn copy_all(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to)).succeeds();
}

/// What the tools work on.
struct Bench {
    mirror: Mirror,
    server: MirrorServer,
    registry: Registry,
    base: String,
    app: TempDir,
    engine: Engine,
}

impl Bench {
    fn prepare() -> Result<Self, String> {
        let missing = |what: &str| format!("{what} is needed, see above");
        let mirror = alpine::mirror().ok_or_else(|| missing("the Alpine mirror"))?;
        let server = MirrorServer::start(&mirror.dir);
        let registry = Registry::start()?;
        let engine = Engine::start(&[]).ok_or_else(|| missing("a Docker engine"))?;
        let app = tempfile::tempdir().map_err(|e| e.to_string())?;
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/node");
        run(Command::new("cp").arg("-R").arg(example.join(".")).arg(app.path())).succeeds();
        let bench = Self { base: registry.reference("base"), mirror, server, registry, app, engine };
        bench.make_base()?;
        Ok(bench)
    }

    /// The Alpine base as an image: in the engine and in the registry.
    fn make_base(&self) -> Result<(), String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let root = dir.path().join("root");
        alpine::apk().ok_or("the real apk is needed")?.add(&root, &self.mirror, &BASE).succeeds();
        let release = alpine::RELEASE;
        let lines = ["main", "community"].map(|name| format!("{}/{release}/{name}\n", self.server.url()));
        fs::write(root.join("etc/apk/repositories"), lines.concat()).map_err(|e| e.to_string())?;
        copy_all(&self.mirror.keys_dir.join("."), &root.join("etc/apk/keys"));
        let tar = dir.path().join("base.tar");
        run(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".")).succeeds();
        self.engine.docker(["import", tar.to_str().ok_or("a path in UTF-8")?, &self.base]).succeeds();
        self.engine.docker(["push", &self.base]).succeeds();
        self.registry.keep();
        Ok(())
    }

    fn change_app(&self, round: usize, tool: &str) {
        let path = self.app.path().join("server.js");
        let mut text = fs::read_to_string(&path).expect("the example starts with server.js");
        writeln!(text, "// changed in round {round} for {tool}").expect("a string takes everything");
        fs::write(path, text).expect("a copy of our own");
    }
}

/// A tool that does the job.
trait Contender {
    fn name(&self) -> &'static str;
    /// The state from which a cold build starts.
    fn reset(&mut self, bench: &Bench);
    /// Builds the app and pushes it to the registry under the tool's name.
    fn build_and_push(&self, bench: &Bench) -> Vec<Finished>;
}

struct Microbuild(Home);

impl Contender for Microbuild {
    fn name(&self) -> &'static str {
        "microbuild"
    }

    fn reset(&mut self, _: &Bench) {
        self.0 = Home::new();
    }

    fn build_and_push(&self, bench: &Bench) -> Vec<Finished> {
        let mut command = self.0.microbuild(["node"]);
        command.arg(bench.app.path()).arg("-t").arg(bench.registry.reference(self.name())).arg("--push");
        command.arg("--mirror").arg(bench.server.url()).arg("--keys").arg(&bench.mirror.keys_dir);
        vec![run(&mut command)]
    }
}

/// `docker build` with BuildKit.
struct Docker {
    binary: PathBuf,
}

impl Docker {
    /// The `docker` that can use the BuildKit that is part of the engine; newer ones need a plugin for it.
    fn find() -> Option<Self> {
        let binaries = tool("docker").into_iter().chain([PathBuf::from("/usr/bin/docker")]);
        let with_buildkit = |binary: &PathBuf| {
            let help = run(Command::new(binary).args(["build", "--help"]).env("DOCKER_BUILDKIT", "1"));
            help.code == Some(0) && help.stdout.contains("--secret")
        };
        binaries.filter(|path| path.exists()).find(with_buildkit).map(|binary| Self { binary })
    }

    fn docker<'a>(&self, bench: &Bench, args: impl IntoIterator<Item = &'a str>) -> Finished {
        run(Command::new(&self.binary).args(args).env("DOCKER_HOST", bench.engine.host()).env("DOCKER_BUILDKIT", "1"))
    }
}

impl Contender for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn reset(&mut self, bench: &Bench) {
        // There is nothing to remove in the first round.
        self.docker(bench, ["image", "rm", "-f", &bench.registry.reference(self.name())]);
        self.docker(bench, ["builder", "prune", "-af"]).succeeds();
    }

    fn build_and_push(&self, bench: &Bench) -> Vec<Finished> {
        let (image, app) = (bench.registry.reference(self.name()), bench.app.path().display().to_string());
        let file = format!("{app}/Dockerfile");
        let base = format!("BASE={}", bench.base);
        let build = ["build", "--network", "host", "--build-arg", &base, "-f", &file, "-t", &image, &app];
        vec![self.docker(bench, build), self.docker(bench, ["push", &image])]
    }
}

struct Buildah {
    binary: PathBuf,
    dir: TempDir,
}

impl Buildah {
    fn find() -> Option<Self> {
        Some(Self { binary: tool("buildah")?, dir: tempfile::tempdir().ok()? })
    }

    fn buildah<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Finished {
        let mut command = Command::new(&self.binary);
        command.arg("--root").arg(self.dir.path().join("root")).arg("--runroot").arg(self.dir.path().join("run"));
        run(command.args(["--storage-driver", "overlay"]).args(args))
    }
}

impl Contender for Buildah {
    fn name(&self) -> &'static str {
        "buildah"
    }

    fn reset(&mut self, bench: &Bench) {
        self.buildah(["rmi", "--all", "--force"]);
        self.buildah(["pull", "--tls-verify=false", &bench.base]).succeeds();
    }

    fn build_and_push(&self, bench: &Bench) -> Vec<Finished> {
        let (image, app) = (bench.registry.reference(self.name()), bench.app.path().display().to_string());
        let file = format!("{app}/Dockerfile");
        let base = format!("BASE={}", bench.base);
        let mut build = vec!["bud", "--layers", "--isolation", "chroot", "--network", "host", "--tls-verify=false"];
        build.extend(["--build-arg", &base, "-f", &file, "-t", &image, &app]);
        vec![self.buildah(build), self.buildah(["push", "--tls-verify=false", &image])]
    }
}

/// What one tool took.
struct Measured {
    name: &'static str,
    /// Seconds, by job and round.
    seconds: [Vec<f64>; JOBS.len()],
    /// Bytes of the pushed layers.
    size: u64,
    /// Why it was not measured to the end.
    failed: Option<String>,
}

impl Measured {
    fn new(name: &'static str) -> Self {
        Self { name, seconds: Default::default(), size: 0, failed: None }
    }
}

/// One round of one tool; the error says what went wrong.
fn round(bench: &mut Bench, tool: &mut dyn Contender, number: usize, measured: &mut Measured) -> Result<(), String> {
    bench.registry.reset()?;
    tool.reset(bench);
    for (job, seconds) in measured.seconds.iter_mut().enumerate() {
        if job == 1 {
            bench.change_app(number, tool.name());
        }
        // What an earlier job left to be written must not slow this one down.
        run(&mut Command::new("sync"));
        let begin = Instant::now();
        let finished = tool.build_and_push(bench);
        let elapsed = begin.elapsed().as_secs_f64();
        if let Some(failed) = finished.iter().find(|finished| finished.code != Some(0)) {
            return Err(format!("{}: {}\n{}", JOBS[job], failed.line, failed.stderr));
        }
        seconds.push(elapsed);
    }
    measured.size = bench.registry.size(tool.name()).ok_or("the registry does not have the image")?;
    Ok(())
}

fn median(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { f64::midpoint(sorted[middle - 1], sorted[middle]) } else { sorted[middle] }
}

fn cell(seconds: &[f64]) -> String {
    let least = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let most = seconds.iter().copied().fold(0.0, f64::max);
    format!("{:.3} ({least:.3}–{most:.3})", median(seconds))
}

/// The results as a Markdown table: a column for each tool, and how many times as long as microbuild it takes.
fn table(all: &[Measured]) -> String {
    let done: Vec<&Measured> = all.iter().filter(|measured| measured.failed.is_none()).collect();
    let ours = done.iter().find(|measured| measured.name == "microbuild");
    let ratio = |theirs: f64, own: Option<f64>| own.map_or(String::new(), |own| format!(" ×{:.1}", theirs / own));
    let mut text = String::from("| seconds: median (fastest–slowest) |");
    done.iter().for_each(|measured| text += &format!(" {} |", measured.name));
    text += &format!("\n|---|{}", "---|".repeat(done.len()));
    for (job, name) in JOBS.iter().enumerate() {
        text += &format!("\n| {name} |");
        for measured in &done {
            let own = ours.filter(|own| own.name != measured.name).map(|own| median(&own.seconds[job]));
            let seconds = &measured.seconds[job];
            text += &format!(" {}{} |", cell(seconds), ratio(median(seconds), own));
        }
    }
    text += "\n| image |";
    #[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
    for measured in &done {
        let own = ours.filter(|own| own.name != measured.name).map(|own| own.size as f64);
        text += &format!(" {}{} |", microbuild::ui::size(measured.size), ratio(measured.size as f64, own));
    }
    text
}

/// The machine and the tools in a line.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key).and_then(|rest| rest.split_once(':')));
        line.map_or("?".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let version = |name: &str, arg: &str| {
        let first = |path| run(Command::new(path).arg(arg)).stdout.lines().next().unwrap_or_default().to_owned();
        tool(name).map_or(format!("no {name}"), first)
    };
    format!(
        "{cores} × {}, {} memory, Linux {}; {}; {}",
        field(&read("/proc/cpuinfo"), "model name"),
        field(&read("/proc/meminfo"), "MemTotal"),
        read("/proc/sys/kernel/osrelease").trim(),
        version("dockerd", "--version"),
        version("buildah", "--version"),
    )
}

fn rounds() -> usize {
    let mut args = std::env::args().skip_while(|arg| arg != "--rounds");
    args.nth(1).and_then(|count| count.parse().ok()).filter(|count| *count > 0).unwrap_or(5)
}

fn main() -> ExitCode {
    let mut bench = match Bench::prepare() {
        Ok(bench) => bench,
        Err(why) => {
            eprintln!("no comparison: {why}");
            return ExitCode::FAILURE;
        }
    };
    fs::write(bench.app.path().join("Dockerfile"), DOCKERFILE).expect("a folder of our own");
    fs::write(bench.app.path().join(".dockerignore"), "Dockerfile\n.dockerignore\n").expect("a folder of our own");
    let docker = Docker::find().map(|docker| Box::new(docker) as Box<dyn Contender>);
    let buildah = Buildah::find().map(|buildah| Box::new(buildah) as Box<dyn Contender>);
    let ours: Box<dyn Contender> = Box::new(Microbuild(Home::new()));
    let mut tools: Vec<Box<dyn Contender>> = [Some(ours), docker, buildah].into_iter().flatten().collect();
    let mut all: Vec<Measured> = tools.iter().map(|tool| Measured::new(tool.name())).collect();
    for number in 0..rounds() {
        for (tool, measured) in tools.iter_mut().zip(&mut all).filter(|(_, measured)| measured.failed.is_none()) {
            eprintln!("round {}: {}", number + 1, tool.name());
            measured.failed = round(&mut bench, tool.as_mut(), number, measured).err();
        }
    }
    println!("{}\n\n{}", machine(), table(&all));
    let mut code = ExitCode::SUCCESS;
    for measured in &all {
        if let Some(why) = &measured.failed {
            eprintln!("{} was not measured: {why}", measured.name);
            code = ExitCode::FAILURE;
        }
    }
    code
}
