//! From an app's folder to a container that answers: the whole program against a real Alpine mirror, judged by the registries,
//! engines and tools that others use.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{
    Process,
    alpine::NODE_VERSION,
    docker_registry::{DockerRegistry, PASSWORD, USER, Wishes},
    engine::Engine,
    fake_registry::FakeRegistry,
    free_port, is_root, run, skip_forbidden, tools, wait_for,
    workbench::{Workbench, digest, example, get, json as json_of, one_line, text},
};

/// What the example says to whoever asks it.
#[track_caller]
pub(super) fn assert_greets(answer: Result<Value, String>, place: &str) {
    assert_greets_by(answer, place, &format!("v{NODE_VERSION}"));
}

/// The same of a Node whose version begins so.
#[track_caller]
pub(super) fn assert_greets_by(answer: Result<Value, String>, place: &str, node: &str) {
    let answer = answer.unwrap_or_else(|why| panic!("{place}: {why}"));
    assert_eq!(answer["message"], "Hello, tests!", "{place}");
    assert!(answer["node"].as_str().is_some_and(|version| version.starts_with(node)), "{place}: {answer}");
    assert_eq!(answer["user"], "nonroot", "{place}");
}

#[track_caller]
pub(super) fn login(bench: &Workbench, registry: &DockerRegistry, options: &[&str]) {
    let mut command = bench.home.microbuild(["login", &registry.name(), "-u", USER, "--password-stdin"]);
    let mut login =
        Process::spawn_with(command.args(options).stderr(Stdio::null()), PASSWORD.as_bytes()).expect("microbuild");
    let ended = wait_for(Duration::from_secs(60), || login.ended()).expect("an end");
    assert!(ended.success(), "login: {ended}");
}

/// Copies an image out of a registry into an image layout, by skopeo; the layout's folder.
#[track_caller]
pub(super) fn pulled(bench: &Workbench, reference: &str, options: &[&str]) -> Option<PathBuf> {
    let [skopeo] = tools(["skopeo"])?;
    let layout = bench.path("pulled");
    let mut command = Command::new(skopeo);
    command.args(["--insecure-policy", "copy", "--src-creds", &format!("{USER}:{PASSWORD}")]).args(options);
    run(command.arg(format!("docker://{reference}")).arg(format!("oci:{}:app", layout.display()))).succeeds();
    Some(layout)
}

/// Unpacks `app` of the layout by umoci; the bundle's folder.
#[track_caller]
pub(super) fn unpacked(bench: &Workbench, layout: &Path, name: &str) -> Option<PathBuf> {
    let [umoci] = tools(["umoci"])?;
    let bundle = bench.path(name);
    let mut command = Command::new(umoci);
    command.arg("unpack").args((!is_root()).then_some("--rootless"));
    run(command.arg("--image").arg(format!("{}:app", layout.display())).arg(&bundle)).succeeds();
    Some(bundle)
}

/// A container of runc; it is killed with this value.
struct Container {
    runc: PathBuf,
    state: PathBuf,
    id: String,
    process: Process,
}

impl Container {
    /// Runs the bundle on this machine's network, its root read-only, with `PORT` and `NAME` for the example.
    fn start(bundle: &Path, port: u16) -> Option<Self> {
        let [runc] = tools(["runc"])?;
        if !is_root() {
            skip_forbidden("needs root: runc makes namespaces and devices");
            return None;
        }
        let file = bundle.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&file).expect("config.json")).expect("JSON");
        let user = &config["process"]["user"];
        assert_eq!((&user["uid"], &user["gid"]), (&json!(65532), &json!(65532)), "who the image runs as");
        config["process"]["terminal"] = json!(false);
        config["root"]["readonly"] = json!(true);
        let env = config["process"]["env"].as_array_mut().expect("variables");
        env.extend([json!(format!("PORT={port}")), json!("NAME=tests")]);
        config["linux"]["namespaces"].as_array_mut().expect("namespaces").retain(|n| n["type"] != "network");
        fs::write(&file, config.to_string()).expect("write");
        let (state, id) = (bundle.join("state"), format!("microbuild-{}-{port}", std::process::id()));
        let mut command = Command::new(&runc);
        command.arg("--root").arg(&state).arg("run").arg("--bundle").arg(bundle).arg(&id).stdout(Stdio::null());
        let process = Process::spawn(&mut command).expect("runc");
        Some(Self { runc, state, id, process })
    }

    fn runc(&self, args: &[&str]) {
        run(Command::new(&self.runc).arg("--root").arg(&self.state).args(args));
    }

    /// Asks it to end; its exit code.
    fn stop(mut self) -> Option<i32> {
        self.runc(&["kill", &self.id, "TERM"]);
        wait_for(Duration::from_secs(30), || self.process.ended()).and_then(|status| status.code())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.runc(&["delete", "--force", &self.id]);
    }
}

#[track_caller]
pub(super) fn runs_with_runc(bundle: &Path, node: &str) {
    let port = free_port();
    let Some(container) = Container::start(bundle, port) else { return };
    assert_greets_by(get(port), "runc", node);
    assert_eq!(container.stop(), Some(0), "it ends when it is asked to");
}

#[track_caller]
pub(super) fn runs_with_docker(registry: &DockerRegistry, reference: &str, node: &str) {
    let Some(engine) = Engine::shared() else { return };
    engine.docker(["login", "-u", USER, "-p", PASSWORD, &registry.name()]).succeeds();
    engine.docker(["pull", "-q", reference]).succeeds();
    let port = free_port();
    let environment = format!("PORT={port}");
    let options = ["-d", "--read-only", "--network", "host", "-e", &environment, "-e", "NAME=tests"];
    let id = engine.docker(["run"].into_iter().chain(options).chain([reference])).succeeds().trim().to_owned();
    let answer = get(port);
    let log = engine.docker(["logs", &id]);
    let stopped = engine.docker(["stop", "--time", "30", &id]);
    let code = engine.docker(["wait", &id]);
    engine.docker(["rm", "--force", &id]);
    assert_greets_by(answer, &format!("docker, which says {}{}", log.stdout, log.stderr), node);
    stopped.succeeds();
    assert_eq!(code.succeeds().trim(), "0", "it ends when it is asked to");
}

/// Builds `app` on `base`, pushes it to a registry that wants a password, pulls and runs it; the unpacked tree.
pub(super) fn pushed_and_run(bench: &Workbench, app: &Path, base: &str) -> Option<PathBuf> {
    pushed_and_run_with(bench, app, &["--base", base], &format!("v{NODE_VERSION}"))
}

/// The same with these options, and a Node whose version begins so.
pub(super) fn pushed_and_run_with(bench: &Workbench, app: &Path, options: &[&str], node: &str) -> Option<PathBuf> {
    let registry = DockerRegistry::start(Wishes { auth: true, tls: false })?;
    let reference = format!("{}/app:1", registry.name());
    let options: Vec<_> = options.iter().copied().chain(["-t", &reference, "--push"]).collect();
    let refused = run(&mut bench.node(app, &options));
    assert_eq!(refused.exits(3), "", "nobody is logged in");
    assert!(refused.stderr.contains("microbuild login"), "{}", refused.stderr);

    login(bench, &registry, &[]);
    let line = bench.build(app, &options);
    assert!(line.starts_with(&format!("{reference}@sha256:")), "{line}");
    let layout = pulled(bench, &line.replace(":1@", "@"), &["--src-tls-verify=false"])?;
    let bundle = unpacked(bench, &layout, "bundle")?;
    runs_with_runc(&bundle, node);
    runs_with_docker(&registry, &reference, node);
    Some(bundle.join("rootfs"))
}

#[test]
fn an_app_on_alpine_is_pushed_with_a_password_pulled_and_run() {
    let Some(bench) = Workbench::alpine() else { return };
    let Some(root) = pushed_and_run(&bench, &example(), "alpine") else { return };
    for path in ["bin/busybox", "bin/sh", "usr/bin/node", "app/server.js", "etc/apk/world"] {
        assert!(root.join(path).symlink_metadata().is_ok(), "{path}");
    }
    for path in ["app/README.md", "app/server.test.js", "app/.dockerignore", "sbin/apk"] {
        assert!(root.join(path).symlink_metadata().is_err(), "{path}");
    }
}

#[test]
fn an_app_on_scratch_has_no_shell_and_runs() {
    let Some(bench) = Workbench::alpine() else { return };
    let Some(root) = pushed_and_run(&bench, &example(), "scratch") else { return };
    for path in ["bin/sh", "bin/busybox", "usr/bin/sh", "usr/bin/busybox", "sbin/apk"] {
        assert!(root.join(path).symlink_metadata().is_err(), "{path}");
    }
    for path in ["usr/bin/node", "app/server.js", "etc/passwd"] {
        assert!(root.join(path).symlink_metadata().is_ok(), "{path}");
    }
}

#[test]
fn a_registry_with_tls_under_a_private_ca() {
    let Some(bench) = Workbench::alpine() else { return };
    let Some(registry) = DockerRegistry::start(Wishes { auth: true, tls: true }) else { return };
    let reference = format!("{}/team/app:1", registry.name());
    let ca = text(&registry.ca());
    let unknown = run(&mut bench.node(&example(), ["-t", &reference, "--push"]));
    unknown.exits(3);
    assert!(unknown.stderr.contains("--ca"), "{}", unknown.stderr);

    login(&bench, &registry, &["--ca", &ca]);
    let line = bench.build(&example(), ["-t", &reference, "--push", "--ca", &ca]);
    let certificates = registry.ca().parent().expect("a folder").to_owned();
    let Some(layout) = pulled(&bench, &reference, &["--src-cert-dir", &text(&certificates)]) else { return };
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).expect("read")).expect("JSON");
    assert_eq!(index["manifests"][0]["digest"], digest(&line), "skopeo pulls what was pushed");

    let Some([podman]) = tools(["podman"]) else { return };
    if !is_root() {
        return skip_forbidden("needs root: podman with storage of its own");
    }
    let mut pull = podman_in(&bench, &podman);
    pull.args(["pull", "--quiet", "--creds", &format!("{USER}:{PASSWORD}"), "--cert-dir"]).arg(certificates);
    run(pull.arg(&reference)).succeeds();
    let found = run(podman_in(&bench, &podman).args(["image", "inspect", "--format", "{{.Digest}}", &reference]));
    assert_eq!(found.succeeds().trim(), digest(&line));
}

/// podman with storage of the test's own.
fn podman_in(bench: &Workbench, podman: &Path) -> Command {
    let mut command = Command::new(podman);
    for (flag, name) in [("--root", "podman"), ("--runroot", "podman-run"), ("--tmpdir", "podman-tmp")] {
        command.arg(flag).arg(bench.path(name));
    }
    command.args(["--storage-driver", "vfs"]);
    command
}

/// The titles of the layers of which `key` says `true` in what `--json` printed.
fn titles(built: &Value, key: &str) -> Vec<String> {
    let layers = built["layers"].as_array().expect("layers").iter();
    layers.filter(|layer| layer[key] == true).map(|layer| layer["title"].as_str().expect("a title").into()).collect()
}

#[test]
fn what_a_registry_has_is_neither_made_nor_sent_again() {
    let Some(bench) = Workbench::alpine() else { return };
    let Some(registry) = DockerRegistry::start(Wishes::default()) else { return };
    let app = bench.copy_of_example("app");
    let reference = format!("{}/app:1", registry.name());
    let push = |bench: &Workbench| bench.build_json(&app, ["-t", &reference, "--push"]);

    let first = push(&bench);
    let all = titles(&first, "pushed");
    assert_eq!(all.len(), first["layers"].as_array().expect("layers").len());
    assert!(all.len() <= 10 && all.iter().any(|title| title.starts_with("nodejs-")), "{all:?}");
    assert_eq!(titles(&first, "cached"), Vec::<String>::new());

    let second = push(&bench);
    assert_eq!((&second["digest"], titles(&second, "pushed")), (&first["digest"], vec![]));
    assert_eq!(titles(&second, "cached"), all);

    fs::write(app.join("more.js"), "// more\n").expect("write");
    let changed = push(&bench);
    assert_ne!(changed["digest"], first["digest"]);
    assert_eq!(titles(&changed, "pushed"), ["app"]);
    assert_eq!(titles(&changed, "cached"), all[..all.len() - 1], "all but the app");

    // A blank machine makes the same, and finds it there.
    let blank = Workbench::with(bench.source.clone());
    let there = push(&blank);
    assert_eq!((&there["digest"], titles(&there, "pushed")), (&changed["digest"], vec![]));
}

/// Lines of requests that begin with `start`.
fn count(lines: &[String], start: &str) -> usize {
    lines.iter().filter(|line| line.starts_with(start)).count()
}

#[test]
fn a_push_asks_for_no_more_than_it_must() {
    let bench = Workbench::fake();
    let registry = FakeRegistry::start();
    let app = bench.copy_of_example("app");
    let reference = format!("{}/app:1", registry.name());
    let push = || bench.build(&app, ["--platform", "linux/amd64", "-t", &reference, "--push"]);
    let first = push();
    // Node's package, the system, the app, the configuration.
    assert_eq!(count(&registry.take_lines(), "PUT /v2/app/blobs/"), 4);
    assert_eq!(push(), first);
    assert_eq!(registry.take_lines(), ["HEAD /v2/app/manifests/1 200"], "nothing has changed");

    fs::write(app.join("more.js"), "// more\n").expect("write");
    assert_ne!(push(), first);
    let lines = registry.take_lines();
    assert_eq!(count(&lines, "PUT /v2/app/blobs/"), 2, "the app and the configuration: {lines:#?}");
    assert_eq!(count(&lines, "PUT /v2/app/manifests/1 "), 1);
    assert!(lines.len() <= 11, "{lines:#?}");
}

#[test]
fn an_arm64_image_is_built_on_any_machine() {
    let Some(bench) = Workbench::alpine() else { return };
    let layout = bench.path("layout");
    let output = format!("oci:{}:app", layout.display());
    bench.build(&example(), ["--platform", "linux/arm64", "-o", &output]);
    let Some(bundle) = unpacked(&bench, &layout, "bundle") else { return };
    for path in ["usr/bin/node", "bin/busybox"] {
        let program = fs::read(bundle.join("rootfs").join(path)).expect(path);
        // ELF's e_machine: EM_AARCH64.
        assert_eq!((&program[..4], &program[18..20]), (&b"\x7fELF"[..], &[183, 0][..]), "{path}");
    }
    let Some([skopeo]) = tools(["skopeo"]) else { return };
    let mut inspect = Command::new(skopeo);
    let config = json_of(&run(inspect.args(["inspect", "--override-arch", "arm64", "--config", &output])));
    assert_eq!((&config["os"], &config["architecture"]), (&json!("linux"), &json!("arm64")));
}

#[test]
fn several_platforms_make_an_index() {
    let Some(bench) = Workbench::alpine() else { return };
    let Some(registry) = DockerRegistry::start(Wishes::default()) else { return };
    let reference = format!("{}/app:1", registry.name());
    let platforms = "linux/amd64,linux/arm64";
    let built = bench.build_json(&example(), ["--platform", platforms, "-t", &reference, "--push"]);
    assert_eq!(built["platforms"], json!(["linux/amd64", "linux/arm64"]));

    let Some([skopeo]) = tools(["skopeo"]) else { return };
    let skopeo = |args: &[&str]| {
        let mut command = Command::new(&skopeo);
        run(command.arg("--insecure-policy").args(args).arg(format!("docker://{reference}")))
    };
    let raw = json_of(&skopeo(&["inspect", "--tls-verify=false", "--raw"]));
    assert_eq!(raw["mediaType"], "application/vnd.oci.image.index.v1+json");
    let found: Vec<_> = (raw["manifests"].as_array().expect("manifests").iter())
        .map(|m| format!("{}/{}", m["platform"]["os"], m["platform"]["architecture"]).replace('"', ""))
        .collect();
    assert_eq!(found.join(","), platforms);
    for arch in ["amd64", "arm64"] {
        let config = json_of(&skopeo(&["--override-arch", arch, "inspect", "--tls-verify=false", "--config"]));
        assert_eq!(config["architecture"], arch);
    }
}

#[test]
fn one_build_writes_every_kind_of_output() {
    let Some(bench) = Workbench::alpine() else { return };
    let [layout, archive, docker] = ["layout", "archive.tar", "docker.tar"].map(|name| text(&bench.path(name)));
    let outputs = [format!("oci:{layout}:app"), format!("oci-archive:{archive}"), format!("docker-archive:{docker}")];
    let mut build = bench.node(&example(), ["-t", "example:1"]);
    build.args(outputs.iter().flat_map(|output| ["-o", output]));
    let engine = Engine::shared();
    if let Some(engine) = &engine {
        build.args(["-o", "docker"]).env("DOCKER_HOST", engine.host());
    }
    let line = one_line(&run(&mut build));
    assert!(line.starts_with("example:1@sha256:"), "{line}");

    if let Some(engine) = &engine {
        let ran = engine.run(&[], "example:1", &["node", "-p", "process.version"]);
        assert_eq!(ran.succeeds().trim(), format!("v{NODE_VERSION}"));
    }
    if let Some([skopeo]) = tools(["skopeo"]) {
        for output in [&outputs[0], &format!("oci-archive:{archive}"), &format!("docker-archive:{docker}")] {
            let config = json_of(&run(Command::new(&skopeo).args(["inspect", "--config", output])));
            assert_eq!(config["config"]["User"], "65532:65532", "{output}");
            assert_eq!(config["config"]["WorkingDir"], "/app", "{output}");
        }
    }
    let Some([podman]) = tools(["podman"]) else { return };
    if !is_root() {
        return skip_forbidden("needs root: podman with storage of its own");
    }
    for archive in [&archive, &docker] {
        run(podman_in(&bench, &podman).args(["load", "--quiet", "--input", archive])).succeeds();
    }
}

#[test]
fn zstd_layers_are_unpacked_by_podman_and_run_by_docker() {
    let Some(bench) = Workbench::alpine() else { return };
    let archive = text(&bench.path("archive.tar"));
    let output = format!("oci-archive:{archive}");
    let mut build = bench.node(&example(), ["--compression", "zstd:3", "-t", "small:1", "-o", &output, "--json"]);
    let engine = Engine::shared();
    if let Some(engine) = &engine {
        build.args(["-o", "docker"]).env("DOCKER_HOST", engine.host());
    }
    let built = json_of(&run(&mut build));
    let own = |title: &str| title == "app" || title == "system";
    for layer in built["layers"].as_array().expect("layers") {
        let kind = if own(layer["title"].as_str().expect("a title")) { "tar+zstd" } else { "tar+gzip" };
        assert!(layer["media_type"].as_str().expect("text").ends_with(kind), "{layer}");
    }
    if let Some(engine) = &engine {
        engine.run(&[], "small:1", &["node", "-p", "1"]).succeeds();
    }
    let Some([podman]) = tools(["podman"]) else { return };
    if !is_root() {
        return skip_forbidden("needs root: podman with storage of its own");
    }
    run(podman_in(&bench, &podman).args(["load", "--quiet", "--input", &archive])).succeeds();
}

#[test]
fn local_images_are_listed_inspected_exported_pushed_and_removed() {
    let Some(bench) = Workbench::alpine() else { return };
    let line = bench.build(&example(), ["-t", "one:1", "-t", "two:2"]);
    assert!(line.starts_with("one:1@"), "{line}");
    let images = bench.microbuild(["images"]);
    assert_eq!(images.succeeds().lines().count(), 3, "{}", images.stdout);
    let listed = json_of(&bench.microbuild(["images", "--json"]));
    assert_eq!(listed[0]["digest"], digest(&line));
    let inspected = json_of(&bench.microbuild(["inspect", "one:1"]));
    assert!(inspected.to_string().contains("\"nodejs-"), "{inspected:#}");

    let layout = bench.path("layout");
    let exported = bench.microbuild(["export", "one:1", &format!("oci:{}:app", layout.display())]);
    assert_eq!(one_line(&exported), line);
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).expect("read")).expect("JSON");
    assert_eq!(index["manifests"][0]["digest"], digest(&line));

    if let Some(registry) = DockerRegistry::start(Wishes::default()) {
        let to = format!("{}/me/app:1", registry.name());
        assert_eq!(one_line(&bench.microbuild(["push", "two:2", &to])), format!("{to}@{}", digest(&line)));
    }

    // What an image needs outlives the emptying of the store.
    bench.microbuild(["gc", "--all"]).succeeds();
    let again = bench.microbuild(["export", "one:1", &format!("oci-archive:{}", bench.path("a.tar").display())]);
    assert_eq!(one_line(&again), line);
    assert_eq!(one_line(&bench.microbuild(["rm", "one:1"])), digest(&line));
    assert_eq!(one_line(&bench.microbuild(["rm", "two:2"])), digest(&line));
    assert_eq!(json_of(&bench.microbuild(["images", "--json"])), json!([]));
    let gone = bench.microbuild(["inspect", "one:1"]);
    assert_eq!(gone.exits(2), "");
    assert_eq!(bench.build(&example(), ["-t", "one:1"]), line, "it is made again from nothing");
}

#[test]
fn a_plan_is_printed_without_a_package_being_fetched() {
    let Some(bench) = Workbench::alpine() else { return };
    let app = text(&example());
    let plan = run(bench.sources(&mut bench.home.microbuild(["plan", "node", &app, "--platform", "linux/amd64"])));
    let printed = plan.succeeds();
    for expected in ["alpine:3.23 of Alpine 3.23", &format!("nodejs-{NODE_VERSION}-r"), "musl-", "busybox-", "total"] {
        assert!(printed.contains(expected), "{expected} in {printed}");
    }
    let listed =
        json_of(&run(bench.sources(&mut bench.home.microbuild(["plan", "node", &app, "--json", "--base", "scratch"]))));
    let names: Vec<_> =
        listed["images"][0]["packages"].as_array().expect("packages").iter().map(|p| &p["name"]).collect();
    assert!(names.contains(&&json!("nodejs")) && !names.contains(&&json!("busybox")), "{names:?}");
    let stored: u64 = (fs::read_dir(bench.home.path().join(".cache/microbuild/v1/blobs/sha256")).expect("the store"))
        .map(|entry| entry.expect("an entry").metadata().expect("metadata").len())
        .sum();
    assert!(stored < 2 << 20, "indexes only, found {stored} bytes");

    let why = run(bench.sources(&mut bench.home.microbuild(["why", "libstdc++", "node", &app])));
    let printed = why.succeeds();
    assert!(printed.starts_with("libstdc++-") && printed.contains("nodejs-"), "{printed}");
}
