//! The same jobs by microbuild, by `docker build` and `docker push` (BuildKit), and by `buildah`, side by side: Node apps on
//! Alpine, from one mirror to one registry, both on loopback; the second one's dependencies come from where npm finds them.
//! `make bench`, or `cargo bench --bench compare -- --rounds 9 --job node-deps`.
//!
//! Each round starts every tool from the same state (no cache of its own, npm's neither; a registry that holds only the
//! Alpine base, which docker and buildah have already pulled) and times a job's steps: everything for the first time, then
//! with something changed. What is shown is the median, with the fastest and the slowest round.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "the tests' helpers have parts that only tests use")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    fs,
    io::{self, Read as _, Write as _},
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

/// The packages of the `alpine` image.
const BASE: [&str; 6] = ["alpine-baselayout", "alpine-keys", "alpine-release", "apk-tools", "busybox", "musl-utils"];

/// One app: how it is built without microbuild, and what is timed.
struct Job {
    /// Its folder among the examples.
    example: &'static str,
    dockerfile: &'static str,
    steps: &'static [Step],
}

/// A build and push that is timed.
struct Step {
    name: &'static str,
    /// A file of the app and what is added to it before.
    change: Option<(&'static str, &'static str)>,
}

const COLD: Step = Step { name: "cold build + push", change: None };
const APP: Step = Step { name: "app changed", change: Some(("server.js", "// changed\n")) };
const NOTHING: Step = Step { name: "nothing changed", change: None };
const LOCK: Step = Step { name: "lock file changed", change: Some(("package-lock.json", "\n")) };

const JOBS: [Job; 2] = [
    Job {
        example: "node",
        dockerfile: "\
ARG BASE
FROM $BASE
RUN apk add --no-cache nodejs
WORKDIR /app
COPY . .
CMD [\"node\", \"server.js\"]
",
        steps: &[COLD, APP, NOTHING],
    },
    // npm's settings are those of microbuild's recipe, and its cache is kept between builds, as microbuild keeps it.
    Job {
        example: "node-deps",
        dockerfile: "\
ARG BASE
FROM $BASE AS dependencies
RUN apk add --no-cache nodejs npm
WORKDIR /app
COPY package.json package-lock.json ./
ENV NODE_EXTRA_CA_CERTS=/run/secrets/ca npm_config_audit=false npm_config_fund=false npm_config_update_notifier=false
RUN --mount=type=cache,target=/root/.npm --mount=type=secret,id=ca npm ci --omit=dev

FROM $BASE
RUN apk add --no-cache nodejs
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY . .
CMD [\"node\", \"server.js\"]
",
        steps: &[COLD, APP, NOTHING, LOCK],
    },
];

impl Job {
    /// A copy of the app that may be changed, with its Dockerfile.
    fn app(&self) -> io::Result<TempDir> {
        let app = tempfile::tempdir()?;
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(self.example);
        copy_all(&example.join("."), app.path());
        // The example's own folder may have been worked in.
        let _ = fs::remove_dir_all(app.path().join("node_modules"));
        fs::write(app.path().join("Dockerfile"), self.dockerfile)?;
        append(&app.path().join(".dockerignore"), "node_modules\nDockerfile\n.dockerignore\n")?;
        Ok(app)
    }
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    fs::OpenOptions::new().append(true).create(true).open(path)?.write_all(text.as_bytes())
}

/// The certificates that this machine trusts.
fn certificates() -> PathBuf {
    std::env::var_os("SSL_CERT_FILE").map_or_else(|| "/etc/ssl/certs/ca-certificates.crt".into(), PathBuf::from)
}

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

/// What the tools work with.
struct Bench {
    mirror: Mirror,
    server: MirrorServer,
    registry: Registry,
    base: String,
    engine: Engine,
}

impl Bench {
    fn prepare() -> Result<Self, String> {
        let missing = |what: &str| format!("{what} is needed, see above");
        let mirror = alpine::mirror().ok_or_else(|| missing("the Alpine mirror"))?;
        let server = MirrorServer::start(&mirror.dir);
        let registry = Registry::start()?;
        let engine = Engine::start(&[]).ok_or_else(|| missing("a Docker engine"))?;
        let bench = Self { base: registry.reference("base"), mirror, server, registry, engine };
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

    /// What `docker build` and `buildah bud` are told alike, to make `image` of `app`.
    fn build_options(&self, image: &str, app: &Path) -> Vec<String> {
        let app = app.display();
        let (base, file) = (format!("--build-arg=BASE={}", self.base), format!("--file={app}/Dockerfile"));
        let ca = certificates();
        let secret = ca.is_file().then(|| format!("--secret=id=ca,src={}", ca.display()));
        let last = ["--network=host".to_owned(), base, file, format!("--tag={image}"), app.to_string()];
        secret.into_iter().chain(last).collect()
    }
}

/// A tool that does the jobs.
trait Contender {
    fn name(&self) -> &'static str;
    /// The state from which a cold build starts.
    fn reset(&mut self, bench: &Bench);
    /// Builds the app and pushes it to the registry under the tool's name.
    fn build_and_push(&self, bench: &Bench, app: &Path) -> Vec<Finished>;
}

struct Microbuild(Home);

impl Contender for Microbuild {
    fn name(&self) -> &'static str {
        "microbuild"
    }

    fn reset(&mut self, _: &Bench) {
        self.0 = Home::new();
    }

    fn build_and_push(&self, bench: &Bench, app: &Path) -> Vec<Finished> {
        let mut command = self.0.microbuild(["node"]);
        command.arg(app).arg("-t").arg(bench.registry.reference(self.name())).arg("--push");
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

    fn build_and_push(&self, bench: &Bench, app: &Path) -> Vec<Finished> {
        let image = bench.registry.reference(self.name());
        let options = bench.build_options(&image, app);
        let build = ["build"].into_iter().chain(options.iter().map(String::as_str));
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

    fn temporary(&self) -> PathBuf {
        self.dir.path().join("tmp")
    }

    fn buildah<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Finished {
        let mut command = Command::new(&self.binary);
        command.arg("--root").arg(self.dir.path().join("root")).arg("--runroot").arg(self.dir.path().join("run"));
        // Below TMPDIR lies what `RUN --mount=type=cache` keeps.
        run(command.args(["--storage-driver", "overlay"]).args(args).env("TMPDIR", self.temporary()))
    }
}

impl Contender for Buildah {
    fn name(&self) -> &'static str {
        "buildah"
    }

    fn reset(&mut self, bench: &Bench) {
        // In the first round there is none yet.
        let _ = fs::remove_dir_all(self.temporary());
        fs::create_dir(self.temporary()).expect("a folder of our own");
        self.buildah(["rmi", "--all", "--force"]);
        self.buildah(["pull", "--tls-verify=false", &bench.base]).succeeds();
    }

    fn build_and_push(&self, bench: &Bench, app: &Path) -> Vec<Finished> {
        let image = bench.registry.reference(self.name());
        let options = bench.build_options(&image, app);
        let build = ["bud", "--layers", "--isolation=chroot", "--tls-verify=false"].into_iter();
        let build = build.chain(options.iter().map(String::as_str));
        vec![self.buildah(build), self.buildah(["push", "--tls-verify=false", &image])]
    }
}

/// What one tool took.
struct Measured {
    name: &'static str,
    /// Seconds, by step and round.
    seconds: Vec<Vec<f64>>,
    /// Bytes of the pushed layers.
    size: u64,
    /// Why it was not measured to the end.
    failed: Option<String>,
}

impl Measured {
    fn new(name: &'static str, job: &Job) -> Self {
        Self { name, seconds: vec![Vec::new(); job.steps.len()], size: 0, failed: None }
    }
}

/// One round of one tool; the error says what went wrong.
fn round(
    bench: &mut Bench,
    app: &Path,
    tool: &mut dyn Contender,
    job: &Job,
    measured: &mut Measured,
) -> Result<(), String> {
    bench.registry.reset()?;
    tool.reset(bench);
    for (step, seconds) in job.steps.iter().zip(&mut measured.seconds) {
        if let Some((file, text)) = step.change {
            append(&app.join(file), text).map_err(|e| format!("{file}: {e}"))?;
        }
        // What an earlier step left to be written must not slow this one down.
        run(&mut Command::new("sync"));
        let begin = Instant::now();
        let finished = tool.build_and_push(bench, app);
        let elapsed = begin.elapsed().as_secs_f64();
        if let Some(failed) = finished.iter().find(|finished| finished.code != Some(0)) {
            return Err(format!("{}: {}\n{}", step.name, failed.line, failed.stderr));
        }
        seconds.push(elapsed);
    }
    measured.size = bench.registry.size(tool.name()).ok_or("the registry does not have the image")?;
    Ok(())
}

/// All rounds of one job by all tools.
fn compare(bench: &mut Bench, tools: &mut [Box<dyn Contender>], job: &Job, rounds: usize) -> io::Result<Vec<Measured>> {
    let app = job.app()?;
    let mut all: Vec<Measured> = tools.iter().map(|tool| Measured::new(tool.name(), job)).collect();
    for number in 1..=rounds {
        for (tool, measured) in tools.iter_mut().zip(&mut all).filter(|(_, measured)| measured.failed.is_none()) {
            eprintln!("{}, round {number}: {}", job.example, tool.name());
            measured.failed = round(bench, app.path(), tool.as_mut(), job, measured).err();
        }
    }
    Ok(all)
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
fn table(job: &Job, all: &[Measured]) -> String {
    let done: Vec<&Measured> = all.iter().filter(|measured| measured.failed.is_none()).collect();
    let ours = done.iter().find(|measured| measured.name == "microbuild");
    let ratio = |theirs: f64, own: Option<f64>| own.map_or(String::new(), |own| format!(" ×{:.1}", theirs / own));
    let mut text = String::from("| seconds: median (fastest–slowest) |");
    done.iter().for_each(|measured| text += &format!(" {} |", measured.name));
    text += &format!("\n|---|{}", "---|".repeat(done.len()));
    for (number, step) in job.steps.iter().enumerate() {
        text += &format!("\n| {} |", step.name);
        for measured in &done {
            let own = ours.filter(|own| own.name != measured.name).map(|own| median(&own.seconds[number]));
            let seconds = &measured.seconds[number];
            text += &format!(" {}{} |", cell(seconds), ratio(median(seconds), own));
        }
    }
    text += "\n| image |";
    #[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
    for measured in &done {
        let own = ours.filter(|own| own.name != measured.name).map(|own| own.size as f64);
        text += &format!(" {}{} |", microbuild::internals::ui::size(measured.size), ratio(measured.size as f64, own));
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

/// The value of the option `name`.
fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|arg| arg != name).nth(1)
}

fn tools() -> Vec<Box<dyn Contender>> {
    let docker = Docker::find().map(|docker| Box::new(docker) as Box<dyn Contender>);
    let buildah = Buildah::find().map(|buildah| Box::new(buildah) as Box<dyn Contender>);
    let ours: Box<dyn Contender> = Box::new(Microbuild(Home::new()));
    [Some(ours), docker, buildah].into_iter().flatten().collect()
}

fn main() -> ExitCode {
    let mut bench = match Bench::prepare() {
        Ok(bench) => bench,
        Err(why) => {
            eprintln!("no comparison: {why}");
            return ExitCode::FAILURE;
        }
    };
    let rounds = option("--rounds").and_then(|count| count.parse().ok()).filter(|count| *count > 0).unwrap_or(5);
    let wanted = option("--job");
    let mut tools = tools();
    let mut code = ExitCode::SUCCESS;
    println!("{}", machine());
    for job in JOBS.iter().filter(|job| wanted.as_ref().is_none_or(|wanted| wanted == job.example)) {
        let all = compare(&mut bench, &mut tools, job, rounds).expect("temporary folders");
        println!("\nexamples/{}\n\n{}", job.example, table(job, &all));
        for measured in &all {
            if let Some(why) = &measured.failed {
                eprintln!("{} was not measured: {why}", measured.name);
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
