//! Settings of containers and times of files: what configurations and layers say, and what engines make of it.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    deb_mirror::{has_release, own_release},
    node::unpacked,
};
use crate::support::{
    Process,
    engine::Engine,
    fake_repo::Package,
    free_port, run, skip, tools, wait_for,
    workbench::{Source, Workbench, app as made, digest, node_repo, noise, text},
};

/// The time of files without another one: 1980-01-01T00:00:01Z.
const FIXED: u64 = 315_532_801;

/// A workbench with this machine's own packages, for images that run; or a skip.
#[track_caller]
fn debian() -> Option<Workbench> {
    tools(["runc"])?;
    let own = own_release()?;
    has_release(&own, "amd64").then(|| Workbench::debian(&own))
}

/// The configuration and the manifest of the only image of an OCI layout, and the layout's blobs.
fn documents(layout: &Path) -> (Value, Value) {
    let read = |path: PathBuf| serde_json::from_slice::<Value>(&fs::read(path).expect("a document")).expect("JSON");
    let blob = |digest: &Value| {
        read(layout.join("blobs/sha256").join(digest.as_str().expect("a digest").trim_start_matches("sha256:")))
    };
    let index = read(layout.join("index.json"));
    let manifest = blob(&index["manifests"][0]["digest"]);
    (blob(&manifest["config"]["digest"]), manifest)
}

/// A member of a layer: its kind (`-` a file, `d`, `h` a hard link), owner and time.
type Member = (char, u64, u64);

/// A build: its digest, the time of its `index.js`, its configuration and manifest, and its messages.
type Built = (String, u64, (Value, Value), String);

/// The members of the layer `title`, by path.
fn members(layout: &Path, title: &str) -> BTreeMap<String, Member> {
    let (_, manifest) = documents(layout);
    let layers = manifest["layers"].as_array().expect("layers");
    let layer = layers.iter().find(|layer| layer["annotations"]["dev.microbuild.title"] == title);
    let layer = layer.unwrap_or_else(|| panic!("no layer {title}: {manifest}"));
    let name = layer["digest"].as_str().expect("a digest").trim_start_matches("sha256:");
    let file = fs::File::open(layout.join("blobs/sha256").join(name)).expect("a blob");
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(file));
    let entries = archive.entries().expect("a tar").map(|entry| {
        let entry = entry.expect("a member");
        let header = entry.header();
        let kind = match header.entry_type() {
            tar::EntryType::Directory => 'd',
            tar::EntryType::Link => 'h',
            _ => '-',
        };
        let path = String::from_utf8_lossy(&entry.path_bytes()).trim_end_matches('/').to_owned();
        (path, (kind, header.uid().expect("an owner"), header.mtime().expect("a time")))
    });
    entries.collect()
}

fn git(folder: &Path, args: &[&str]) -> String {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "init.defaultBranch=main"];
    let mut command = Command::new("git");
    command.current_dir(folder).args(identity).args(args);
    command.env("GIT_COMMITTER_DATE", "1700000000 +0000").env("GIT_AUTHOR_DATE", "1600000000 +0000");
    run(&mut command).succeeds().trim().to_owned()
}

const PLAIN: [(&str, &str); 3] = [("package.json", "{}"), ("index.js", "console.log(1)"), ("uploads/kept", "x")];

#[test]
fn settings_come_from_flags_variables_and_the_file() {
    let bench = Workbench::fake();
    let file = "writable = ['uploads', '/var/lib/shop']\nstop-signal = 'quit'\nhealth-retries = 2\n[label]\na = 'b'\n";
    let app = made(&bench.path("app"), &[&PLAIN[..], &[("microbuild.toml", file)]].concat());
    let out = bench.path("out");
    let mut command = bench.node(&app, ["--health-cmd", ":8080/health", "--health-interval", "1m30s", "-o"]);
    command.arg(format!("oci:{}:a", out.display())).env("MICROBUILD_VOLUME", "data,/cache");
    let told = run(&mut command);
    told.succeeds();
    let (config, manifest) = documents(&out);
    let config = &config["config"];
    assert_eq!(config["Volumes"], json!({ "/app/data": {}, "/cache": {} }));
    assert_eq!(config["StopSignal"], "SIGQUIT");
    let test = ["CMD", "wget", "-q", "-T", "10", "-O", "/dev/null", "http://127.0.0.1:8080/health"];
    assert_eq!(config["Healthcheck"], json!({ "Test": test, "Interval": 90_000_000_000_u64, "Retries": 2 }));
    assert_eq!(manifest["annotations"]["dev.microbuild.writable"], r#"["/app/uploads","/var/lib/shop"]"#);

    let folders = members(&out, "writable");
    let expected = [
        ("app", 0),
        ("app/data", 65532),
        ("app/uploads", 65532),
        ("cache", 65532),
        ("var", 0),
        ("var/lib", 0),
        ("var/lib/shop", 65532),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(path, uid)| (path.to_owned(), ('d', uid, FIXED))).into();
    assert_eq!(folders, expected);
    let own = members(&out, "app");
    let owner = |path: &str| own.get(path).map(|(_, uid, _)| *uid);
    assert_eq!(owner("app/uploads"), Some(65532));
    assert_eq!((owner("app/uploads/kept"), owner("app/index.js"), owner("app")), (Some(65532), Some(0), Some(0)));

    // The layers of packages are those of every other app.
    let plain = bench.path("plain");
    bench.build(&made(&bench.path("other"), &PLAIN), ["-o", &format!("oci:{}:a", plain.display())]);
    assert_eq!(documents(&plain).1["layers"][1], manifest["layers"][1], "system");
    assert!(documents(&plain).1["annotations"].get("dev.microbuild.writable").is_none());
}

#[test]
fn a_base_image_has_settings_too_and_mistakes_are_explained() {
    let bench = Workbench::fake();
    let out = bench.path("out");
    let base = |options: &[&str]| {
        let mut command = bench.home.microbuild(["base", "node"]);
        bench.sources(&mut command).args(options);
        run(&mut command)
    };
    let to = format!("oci:{}:a", out.display());
    base(&["--volume", "/data", "--stop-signal", "SIGINT", "--health-cmd", "./check", "-o", &to]).succeeds();
    let (config, _) = documents(&out);
    assert_eq!(config["config"]["Volumes"], json!({ "/data": {} }));
    assert_eq!(config["config"]["StopSignal"], "SIGINT");
    assert_eq!(config["config"]["Healthcheck"], json!({ "Test": ["CMD", "./check"] }));
    assert_eq!(config["created"], "1980-01-01T00:00:01Z");
    assert_eq!(members(&out, "writable")["data"], ('d', 65532, FIXED));
    for (options, message, hint) in [
        (&["--writable", "data", "--user", "shop"][..], "the image has no user shop", "--user 65532:65532"),
        (&["--health-retries", "3"], "a health check has times, but no command", "--health-cmd"),
        (&["--stop-signal", "HALT"], "expected a signal", ""),
        (&["--writable", "../x"], "expected a folder", ""),
        (&["--timestamps", "commit"], "the time of the commit is unknown", "--timestamps content"),
    ] {
        let told = base(options);
        assert_eq!(told.exits(2), "");
        assert!(told.stderr.contains(message) && told.stderr.contains(hint), "{}", told.stderr);
    }
}

#[test]
fn tini_starts_the_app_where_it_is_asked_for() {
    let bench = Workbench::fake();
    let mirror = bench.path("mirror");
    let tini = Package::new("tini", "0.19.0-r3").file("sbin/tini", 0o755, "tini");
    let keys = node_repo().with(tini).publish(&mirror);
    node_repo().beside("community").publish(&mirror);
    let bench = Workbench::with(Source { mirror: text(&mirror), keys });
    let app = made(&bench.path("app"), &PLAIN);
    let out = bench.path("out");
    bench.build(&app, ["--init", "-o", &format!("oci:{}:a", out.display())]);
    let (config, _) = documents(&out);
    assert_eq!(config["config"]["Entrypoint"], json!(["/sbin/tini", "--"]));
    assert_eq!(config["config"]["Cmd"], json!(["node", "index.js"]));
    assert!(members(&out, "system").contains_key("sbin/tini"));
    let out = bench.path("without");
    bench.build(&app, ["-o", &format!("oci:{}:a", out.display())]);
    assert!(documents(&out).0["config"].get("Entrypoint").is_none());
}

/// f06: and skopeo, umoci and microbuild itself read what is written.
#[test]
fn a_file_with_two_names_is_in_the_layer_once() {
    let bench = Workbench::fake();
    let app = made(&bench.path("app"), &PLAIN);
    let noise = noise(5, 10 << 20);
    fs::write(app.join("z.bin"), &noise).expect("a file");
    fs::hard_link(app.join("z.bin"), app.join("a.bin")).expect("a link");
    fs::hard_link(app.join("z.bin"), app.join("uploads/m.bin")).expect("a link");
    let out = bench.path("out");
    let built = bench.build_json(&app, ["-o", &format!("oci:{}:app", out.display())]);
    let layers = built["layers"].as_array().expect("layers");
    let layer = layers.iter().find(|layer| layer["title"] == "app").expect("the app's layer");
    assert!(layer["size"].as_u64().is_some_and(|size| size < 11 << 20), "{layer}");
    let own = members(&out, "app");
    assert_eq!(["a.bin", "uploads/m.bin", "z.bin"].map(|name| own[&format!("app/{name}")].0), ['-', 'h', 'h']);
    // A copy whose files are made in another order makes the same.
    let copy = bench.path("copy");
    run(Command::new("cp").args(["-a", &text(&app), &text(&copy)])).succeeds();
    let again = bench.build_json(&copy, ["-t", "app"]);
    assert_eq!(again["digest"], built["digest"]);

    let check = |root: &Path| {
        let inodes = ["a.bin", "uploads/m.bin", "z.bin"].map(|name| {
            let path = root.join("app").join(name);
            assert!(fs::read(&path).expect("a file") == noise, "{}", path.display());
            path.metadata().expect("a file").ino()
        });
        assert!(inodes.iter().all(|inode| *inode == inodes[0]), "{}", root.display());
    };
    if let Some(bundle) = unpacked(&bench, &out, "bundle") {
        check(&bundle.join("rootfs"));
    }
    if let Some([skopeo]) = tools(["skopeo"]) {
        let archive = bench.path("image.tar");
        let mut command = Command::new(skopeo);
        command.args(["--insecure-policy", "copy", &format!("oci:{}:app", out.display())]);
        run(command.arg(format!("docker-archive:{}:app:1", archive.display()))).succeeds();
        assert!(archive.metadata().expect("an archive").len() < 16 << 20);
    }
}

#[test]
fn files_have_the_time_that_is_asked_for() {
    let Some(_) = tools(["git"]) else { return };
    let bench = Workbench::fake();
    let repository = bench.path("repository");
    let app = made(&repository.join("shop"), &PLAIN);
    fs::write(repository.join("other"), "1").expect("a file");
    git(&repository, &["init"]);
    git(&repository, &["remote", "add", "origin", "https://git.example.org/team/shops.git"]);
    git(&repository, &["add", "."]);
    git(&repository, &["commit", "-m", "one"]);
    let mut number = 0;
    let mut build = |options: &[&str]| {
        number += 1;
        let out = bench.path(&format!("out{number}"));
        let to = format!("oci:{}:a", out.display());
        let told = run(bench.node(&app, options).args(["-o", &to]));
        let reference = told.succeeds().trim().to_owned();
        let time = members(&out, "app")["app/index.js"].2;
        (digest(&reference).to_owned(), time, documents(&out), told.stderr)
    };
    let (plain, time, (config, manifest), _) = build(&[]);
    assert_eq!((time, &config["created"]), (FIXED, &json!("1980-01-01T00:00:01Z")));
    assert!(!manifest.to_string().contains("image.revision") && !manifest.to_string().contains("git.example.org"));

    let (_, time, (config, _), _) = build(&["--timestamps", "commit"]);
    assert_eq!((time, &config["created"]), (1_700_000_000, &json!("2023-11-14T22:13:20Z")));
    let (_, time, (config, _), _) = build(&["--timestamps", "1234567890"]);
    assert_eq!((time, &config["created"]), (1_234_567_890, &json!("2009-02-13T23:31:30Z")));
    let (_, content, _, _) = build(&["--timestamps", "content"]);
    assert_ne!(content, FIXED);
    let head = git(&repository, &["rev-parse", "HEAD"]);
    let (_, _, (_, manifest), _) = build(&["--source"]);
    let of = |manifest: &Value, name: &str| manifest["annotations"][format!("org.opencontainers.image.{name}")].clone();
    assert_eq!(
        (of(&manifest, "revision"), of(&manifest, "source")),
        (json!(head), json!("https://git.example.org/team/shops"))
    );

    // Another commit elsewhere makes the same image, unless the commit is asked for.
    fs::write(repository.join("other"), "2").expect("a file");
    git(&repository, &["commit", "-am", "two"]);
    run(Command::new("git").current_dir(&repository).args(["gc", "-q"])).succeeds();
    assert_eq!(build(&[]).0, plain);
    let (_, _, (_, manifest), _) = build(&["--source"]);
    assert_eq!(of(&manifest, "revision"), json!(git(&repository, &["rev-parse", "HEAD"])), "packed, and clean");

    // What differs from the commit never claims to be it: a changed file, a new one, a missing one.
    let head = git(&repository, &["rev-parse", "HEAD"]);
    let dirty = |change: &dyn Fn(), undo: &dyn Fn(), name: &str, build: &mut dyn FnMut(&[&str]) -> Built| {
        change();
        let (_, time, (_, manifest), told) = build(&["--source", "--timestamps", "commit"]);
        assert_eq!(of(&manifest, "revision"), json!(format!("{head}-dirty")), "{name}");
        assert_ne!(time, 1_700_000_000, "{name}");
        assert!(told.contains(&format!("differ from the commit: {name}")), "{told}");
        undo();
    };
    let write = |name: &str, content: &str| fs::write(app.join(name), content).expect("a file");
    dirty(&|| write("index.js", "console.log(2)"), &|| write("index.js", PLAIN[1].1), "index.js", &mut build);
    dirty(&|| write("new.js", ""), &|| fs::remove_file(app.join("new.js")).expect("a file"), "new.js", &mut build);
    dirty(
        &|| fs::remove_file(app.join("uploads/kept")).expect("a file"),
        &|| write("uploads/kept", "x"),
        "uploads/kept",
        &mut build,
    );
    // What stays out of the image is nobody's matter; and the file's time here is not either.
    write("npm-debug.log", "x");
    write(".dockerignore", "npm-debug.log\n.dockerignore\n");
    assert_eq!(build(&["--timestamps", "commit"]).1, 1_700_000_000);

    let mut command = bench.node(&app, ["--timestamps", "fixed"]);
    assert_eq!(digest(run(command.env("SOURCE_DATE_EPOCH", "99")).succeeds().trim()), plain, "the flag counts first");
}

/// The repository of a stranger's app can name programs, which git would run.
#[test]
fn a_strangers_repository_runs_nothing() {
    let Some(_) = tools(["git"]) else { return };
    let bench = Workbench::fake();
    let app = made(&bench.path("app"), &[&PLAIN[..], &[(".gitattributes", "* filter=evil diff=evil\n")]].concat());
    git(&app, &["init"]);
    git(&app, &["add", "."]);
    git(&app, &["commit", "-m", "one"]);
    let trap = bench.path("trap");
    let program = format!("touch {}", trap.display());
    let hook = app.join(".git/evil");
    fs::write(&hook, format!("#!/bin/sh\n{program}\n")).expect("a file");
    run(Command::new("chmod").arg("+x").arg(&hook)).succeeds();
    for (key, value) in [
        ("core.fsmonitor", text(&hook)),
        ("core.pager", program.clone()),
        ("core.sshCommand", program.clone()),
        ("gpg.program", text(&hook)),
        ("log.showSignature", "true".into()),
        ("filter.evil.clean", program.clone()),
        ("filter.evil.smudge", program.clone()),
        ("diff.external", text(&hook)),
        ("diff.evil.textconv", text(&hook)),
        ("alias.cat-file", format!("!{program}")),
    ] {
        git(&app, &["config", key, &value]);
    }
    let _ = fs::remove_file(&trap);
    let told = run(&mut bench.node(&app, ["--timestamps", "commit", "--source"]));
    told.succeeds();
    assert!(!trap.exists(), "{}", told.stderr);
}

/// What the server on `port` answers to `GET path` with these headers.
fn ask(port: u16, path: &str, headers: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n{headers}\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}

/// `microbuild run IMAGE` in the background, on `port`.
fn running(bench: &Workbench, image: &str, port: u16, options: &[&str]) -> Process {
    let mut command = bench.home.microbuild(["run", image, "-e", &format!("PORT={port}")]);
    Process::spawn(command.args(options).stdout(Stdio::null()).stderr(Stdio::null())).expect("microbuild")
}

/// How long the process takes to end once it is asked to.
fn stopped(mut process: Process) -> Duration {
    let begin = Instant::now();
    run(Command::new("kill").args(["-TERM", &process.id().to_string()])).succeeds();
    wait_for(Duration::from_secs(30), || process.ended()).expect("an end");
    begin.elapsed()
}

/// n17: the app writes into its folder under `microbuild run`, whose root is read-only, and into a named volume of Docker.
#[test]
fn an_app_writes_into_its_writable_folder() {
    let Some(bench) = debian() else { return };
    let script = "const fs = require('fs');
        fs.mkdirSync('uploads', { recursive: true });
        fs.writeFileSync('uploads/a', 'written');
        try { fs.writeFileSync('b', ''); } catch (e) { console.log(e.code); }
        console.log(fs.readFileSync('uploads/a', 'utf8'));";
    let app = made(&bench.path("app"), &[("package.json", "{}"), ("index.js", script)]);
    bench.build(&app, ["-t", "plain:1"]);
    let refused = run(&mut bench.home.microbuild(["run", "plain:1"]));
    assert!(refused.code != Some(0) && (refused.stderr + &refused.stdout).contains("mkdir 'uploads'"));
    bench.build(&app, ["-t", "app:1", "--writable", "uploads", "--volume", "/data"]);
    assert_eq!(run(&mut bench.home.microbuild(["run", "app:1"])).succeeds(), "EROFS\nwritten\n");
    let Some(engine) = Engine::shared() else { return };
    run(bench.home.microbuild(["export", "app:1", "docker"]).env("DOCKER_HOST", engine.host())).succeeds();
    let plain = engine.run(&[], "app:1", &[]);
    assert_eq!(plain.succeeds(), "EACCES\nwritten\n");
    for options in [&["-v", "shop:/app/uploads"][..], &["--read-only", "-v", "other:/app/uploads"]] {
        let told = engine.run(options, "app:1", &[]);
        assert!(told.succeeds().ends_with("written\n"), "{}", told.stdout);
    }
}

/// n21: a server without a handler for SIGTERM, as process 1.
#[test]
fn an_app_without_a_handler_ends_at_once_with_init() {
    let Some(bench) = debian() else { return };
    let script = "require('http').createServer((q, s) => s.end('ok')).listen(process.env.PORT)";
    let app = made(&bench.path("app"), &[("package.json", "{}"), ("index.js", script)]);
    bench.build(&app, ["-t", "app:1", "--init", "--health-cmd", ":8080/"]);
    let port = free_port();
    let process = running(&bench, "app:1", port, &[]);
    wait_for(Duration::from_secs(60), || ask(port, "/", "")).expect("an answer");
    assert!(stopped(process) < Duration::from_secs(2));

    let Some(engine) = Engine::shared() else { return };
    run(bench.home.microbuild(["export", "app:1", "docker"]).env("DOCKER_HOST", engine.host())).succeeds();
    let options = ["--network", "host", "-e", "PORT=8080", "--health-interval", "1s", "--name", "shop", "-d"];
    engine.docker(["run"].into_iter().chain(options).chain(["app:1"])).succeeds();
    let health = || engine.docker(["inspect", "-f", "{{.State.Health.Status}}", "shop"]).stdout.trim().to_owned();
    let healthy = wait_for(Duration::from_secs(60), || (health() == "healthy").then_some(()));
    assert!(healthy.is_some(), "{}", engine.docker(["inspect", "-f", "{{json .State.Health}}", "shop"]).stdout);
    let begin = Instant::now();
    engine.docker(["stop", "shop"]).succeeds();
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    engine.docker(["rm", "shop"]).succeeds();
}

#[test]
fn an_app_gets_its_own_stop_signal() {
    let Some(bench) = debian() else { return };
    let script = "process.on('SIGUSR2', () => { console.log('bye'); process.exit(0); });
        require('http').createServer((q, s) => s.end('ok')).listen(process.env.PORT)";
    let app = made(&bench.path("app"), &[("package.json", "{}"), ("index.js", script)]);
    bench.build(&app, ["-t", "app:1", "--stop-signal", "SIGUSR2"]);
    let port = free_port();
    let process = running(&bench, "app:1", port, &[]);
    wait_for(Duration::from_secs(60), || ask(port, "/", "")).expect("an answer");
    assert!(stopped(process) < Duration::from_secs(2));
}

/// n20: another content of the same length is never taken for the one that the browser has.
#[test]
fn express_tells_versions_of_a_file_apart() {
    let Some(bench) = debian() else { return };
    let script = "const express = require('express'); const app = express();
        app.use(express.static('public')); app.listen(process.env.PORT)";
    let manifest = r#"{ "name": "shop", "dependencies": { "express": "4.21.2" } }"#;
    let app = made(&bench.path("app"), &[("package.json", manifest), ("index.js", script), ("public/app.js", "v=1")]);
    let etag = |options: &[&str], headers: &str| {
        let told = run(bench.node(&app, ["-t", "app:1"]).args(options));
        told.succeeds();
        let port = free_port();
        let _process = running(&bench, "app:1", port, &[]);
        let answer = wait_for(Duration::from_secs(60), || ask(port, "/app.js", headers)).expect("an answer");
        let etag = answer.lines().find_map(|line| line.strip_prefix("ETag: ")).expect("an ETag").to_owned();
        (etag, answer.lines().next().unwrap_or_default().to_owned(), told.stderr)
    };
    let tried = run(&mut bench.node(&app, ["-t", "app:1"]));
    if tried.code != Some(0)
        && ["ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT"].iter().any(|e| tried.stderr.contains(e))
    {
        return skip("npm's registry is not reached");
    }
    let (same, _, told) = etag(&[], "");
    assert!(told.contains("index.js serves files with express.static") && told.contains("--timestamps"), "{told}");
    let (first, _, told) = etag(&["--timestamps", "content"], "");
    assert!(!told.contains("express.static"), "{told}");
    fs::write(app.join("public/app.js"), "v=2").expect("a file");
    let (_, status, _) = etag(&[], &format!("If-None-Match: {same}\r\n"));
    assert!(status.contains(" 304 "), "that is what the warning says: {status}");
    let (second, status, _) = etag(&["--timestamps", "content"], &format!("If-None-Match: {first}\r\n"));
    assert!(status.contains(" 200 ") && first != second, "{status} {first} {second}");
}
