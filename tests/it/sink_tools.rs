//! Sinks, judged by the tools and engines that others use.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    net::{Shutdown, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use microbuild::internals::{
    error::{Explain as _, Kind},
    host::Host,
    image::Artifact,
    layout::{Layout, LayoutError, Selector},
    media::ZSTD,
    sink::{
        Output, SinkError,
        docker::{self, Endpoint, Surroundings},
        oci,
    },
    ui::Ui,
};
use serde_json::Value;

use super::sinks::{assert_same, assert_told, broken, child, lying, names, regex_escape, temporary, told};
use crate::support::{
    Process,
    engine::Engine,
    free_port, is_root,
    random_image::{self, HELLO, PLAIN, TestImage, index_of},
    run, skip, tools, wait_for,
};

#[test]
fn skopeo_reads_every_form() {
    let Some([skopeo]) = tools(["skopeo"]) else { return };
    let dir = temporary();
    let one = random_image::hello();
    let mut two = TestImage::here().layer_of("z", ZSTD, &random_image::tar_of(&[("z", b"z")])).image();
    two.platform.variant = None;
    let many = index_of(vec![one.images[0].clone(), TestImage::new("linux/s390x").layer("a", &[("a", b"a")]).image()]);
    let zstd = Artifact { index: None, images: vec![two] };
    for (label, artifact) in [("one", &one), ("many", &many), ("zstd", &zstd)] {
        for kind in ["oci", "oci-archive", "docker-archive"] {
            let at = format!("{kind}:{}:r.example/app:1", dir.path().join(format!("{label}-{kind}")).display());
            let output: Output = at.parse().expect("an output");
            let written = microbuild::internals::sink::write(
                &output,
                artifact,
                &names(&["not-this"]),
                &Host::of_process(),
                &Ui::silent(),
            );
            if (label, kind) == ("many", "docker-archive") {
                written.expect_err("several platforms");
                continue;
            }
            written.expect("write");
            let raw = run(Command::new(&skopeo).args(["inspect", "--raw", &at]));
            if kind == "docker-archive" {
                raw.succeeds(); // It makes up a manifest of its own.
            } else {
                assert_eq!(raw.succeeds().as_bytes(), artifact.root().bytes, "{at}");
            }
            let copy = dir.path().join(format!("copy-{label}-{kind}"));
            let to = format!("oci:{}:x", copy.display());
            run(Command::new(&skopeo).args(["--insecure-policy", "copy", "--all", &at, &to])).succeeds();
            let copied = oci::read(&copy, Some("x")).expect("skopeo's layout is read");
            let diff_ids = |artifact: &Artifact| -> Vec<_> {
                artifact.images.iter().flat_map(|i| &i.layers).map(|layer| layer.diff_id).collect()
            };
            assert_eq!(diff_ids(&copied), diff_ids(artifact), "{at}");
        }
    }
}

#[test]
fn we_add_to_a_layout_that_skopeo_made_and_it_to_ours() {
    let Some([skopeo]) = tools(["skopeo"]) else { return };
    let dir = temporary();
    let (one, two) = (random_image::hello(), TestImage::here().layer("b", &[("b", b"b")]).artifact());
    let at = |name: &str| dir.path().join(name);
    oci::write(&at("ours"), &one, &names(&["one"]), &Ui::silent()).expect("write");
    let copy = |from: String, to: String| {
        run(Command::new(&skopeo).args(["--insecure-policy", "copy", &from, &to])).succeeds();
    };
    copy(format!("oci:{}:one", at("ours").display()), format!("oci:{}:one", at("theirs").display()));
    oci::write(&at("theirs"), &two, &names(&["two"]), &Ui::silent()).expect("write");
    copy(format!("oci:{}:two", at("theirs").display()), format!("oci:{}:two", at("ours").display()));
    for layout in ["ours", "theirs"] {
        assert_same(&oci::read(&at(layout), Some("one")).expect("one"), &one);
        assert_same(&oci::read(&at(layout), Some("two")).expect("two"), &two);
    }
}

#[test]
fn umoci_unpacks_it_and_runc_runs_it() {
    let Some([umoci]) = tools(["umoci"]) else { return };
    let dir = temporary();
    let layout = dir.path().join("layout");
    oci::write(&layout, &random_image::hello(), &names(&["app"]), &Ui::silent()).expect("write");
    let bundle = dir.path().join("bundle");
    let mut command = Command::new(umoci);
    command.arg("unpack").args((!is_root()).then_some("--rootless"));
    run(command.arg("--image").arg(format!("{}:app", layout.display())).arg(&bundle)).succeeds();
    assert!(bundle.join("rootfs/hello").is_file());

    let Some([runc]) = tools(["runc"]) else { return };
    if !is_root() {
        return skip("runc runs it as root here");
    }
    let config = bundle.join("config.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&config).expect("config.json")).expect("JSON");
    spec["process"]["terminal"] = false.into();
    fs::write(&config, spec.to_string()).expect("write");
    let state = dir.path().join("state");
    let id = format!("microbuild-{}", std::process::id());
    let ran = run(Command::new(runc).arg("--root").arg(state).arg("run").arg("--bundle").arg(&bundle).arg(&id));
    assert_eq!(ran.succeeds(), HELLO);
}

#[test]
fn podman_loads_archives() {
    let Some([podman]) = tools(["podman"]) else { return };
    if !is_root() {
        return skip("podman with storage of its own needs root here");
    }
    let dir = temporary();
    let podman = |args: &[&str]| {
        let mut command = Command::new(&podman);
        for (flag, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(flag).arg(dir.path().join(name));
        }
        run(command.args(["--storage-driver", "vfs"]).args(args))
    };
    let artifact = random_image::hello();
    for kind in ["oci-archive", "docker-archive"] {
        let file = dir.path().join(kind);
        let output: Output = format!("{kind}:{}", file.display()).parse().expect("an output");
        let name = format!("localhost/{kind}:1");
        microbuild::internals::sink::write(
            &output,
            &artifact,
            std::slice::from_ref(&name),
            &Host::of_process(),
            &Ui::silent(),
        )
        .expect("write");
        podman(&["load", "--input", &file.display().to_string()]).succeeds();
        let id = podman(&["image", "inspect", "--format", "{{.Id}}", &name]);
        assert_eq!(id.succeeds().trim(), artifact.images[0].config.digest.hex());
    }
}

#[test]
fn a_docker_engine_loads_and_runs_it() {
    let Some(engine) = Engine::shared() else { return };
    let endpoint = Endpoint::Unix(engine.socket());
    let artifact = random_image::hello();
    let report = docker::write(&endpoint, &artifact, &names(&["hello", "hello:1"]), &Ui::silent()).expect("load");
    assert_eq!(report.names, ["hello:1", "hello:latest"]);
    assert_eq!(report.sent.len(), 3);
    assert_eq!(engine.run(&[], "hello:1", &[]).succeeds(), HELLO);
    let id = engine.docker(["image", "inspect", "--format", "{{.Id}}", "hello"]);
    assert_eq!(id.succeeds().trim(), artifact.images[0].config.digest.to_string());

    let again =
        docker::write(&endpoint, &artifact, &names(&["r.example:5000/me/hello:2"]), &Ui::silent()).expect("tag");
    assert!(again.sent.is_empty(), "the engine has it already");
    assert_eq!(engine.run(&[], "r.example:5000/me/hello:2", &[]).succeeds(), HELLO);
}

#[test]
fn a_docker_engine_takes_its_own_platform_and_all_compressions() {
    let Some(engine) = Engine::shared() else { return };
    let endpoint = Endpoint::Unix(engine.socket());
    let tar = random_image::tar_of(&[("z", &[3; 50_000])]);
    let here =
        TestImage::here().layer_of("plain", PLAIN, &tar).layer("gzip", &[("b", b"b")]).layer_of("zstd", ZSTD, &tar);
    let there = TestImage::new("linux/s390x").layer("app", &[("a", b"a")]).image();
    let many = index_of(vec![there.clone(), here.image()]);
    docker::write(&endpoint, &many, &names(&["many"]), &Ui::silent()).expect("load");
    let found = engine.docker(["image", "inspect", "--format", "{{.Architecture}} {{len .RootFS.Layers}}", "many"]);
    assert_eq!(found.succeeds().trim(), format!("{} 3", random_image::architecture()));

    let elsewhere = index_of(vec![there, TestImage::new("linux/ppc64le").image()]);
    let refused = docker::write(&endpoint, &elsewhere, &names(&["none"]), &Ui::silent()).expect_err("no platform");
    let text = told(&refused).replace(random_image::architecture(), "ARCH");
    insta::assert_snapshot!(text);
}

#[test]
fn a_docker_engine_that_refuses_is_quoted_and_keeps_nothing_of_a_broken_image() {
    let Some(engine) = Engine::shared() else { return };
    let endpoint = Endpoint::Unix(engine.socket());
    let load = |artifact: &Artifact, name: &str| docker::write(&endpoint, artifact, &names(&[name]), &Ui::silent());
    let upper = load(&TestImage::here().layer("u", &[("u", b"u")]).artifact(), "UPPER").expect_err("a bad name");
    assert!(upper.to_string().contains("repository name must be lowercase"), "{upper}");
    assert!(matches!(load(&broken(), "broken"), Err(SinkError::Layout(LayoutError::Content { .. }))));
    assert_eq!(load(&lying(), "lying").expect_err("lies").kind(), Kind::Unverified);
    for name in ["broken", "lying"] {
        assert_ne!(engine.docker(["image", "inspect", name]).code, Some(0), "{name}");
    }
}

/// An engine of canned answers, by the beginning of the request; it ends with its last request.
fn canned(answers: &'static [(&'static str, &'static str)]) -> (Endpoint, thread::JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let server = thread::spawn(move || {
        for (begin, answer) in answers {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut reader = BufReader::new(stream.try_clone().expect("clone"));
            let mut request = String::new();
            reader.read_line(&mut request).expect("a request");
            assert!(request.starts_with(begin), "expected {begin}, found {request}");
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                line.clear();
            }
            stream.write_all(answer.as_bytes()).expect("answer");
            // Closed with bytes unread, the connection would be reset and the answer lost.
            stream.shutdown(Shutdown::Write).expect("shutdown");
            io::copy(&mut reader, &mut io::sink()).expect("the rest of the request");
        }
    });
    (Endpoint::Tcp { address, tls: None }, server)
}

#[test]
fn what_goes_wrong_with_an_engine_is_told() {
    const OK: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nOK";
    const NONE: &str = "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let dir = temporary();
    let artifact = random_image::hello();
    let mut text = String::new();
    let stories: [&'static [(&'static str, &'static str)]; 4] = [
        &[(
            "GET /_ping",
            "HTTP/1.1 500 Oh\r\nConnection: close\r\nContent-Length: 24\r\n\r\n{\"message\":\"not today\"}\r\n",
        )],
        &[("GET /_ping", "SSH-2.0-OpenSSH_9\r\n")],
        &[
            ("GET /_ping", OK),
            ("GET /images/sha256:", "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"),
        ],
        &[
            ("GET /_ping", OK),
            ("GET /images/sha256:", NONE),
            ("GET /images/sha256:", NONE),
            (
                "POST /images/load?quiet=1",
                "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"stream\":\"Loading\"}\n{\"errorDetail\":{\"message\":\"no space left on device\"},\"error\":\"no space left on device\"}\n",
            ),
        ],
    ];
    for story in stories {
        let (endpoint, server) = canned(story);
        text += &told(&docker::write(&endpoint, &artifact, &[], &Ui::silent()).expect_err("refused"));
        server.join().expect("the canned engine");
    }
    let gone = Endpoint::Unix(dir.path().join("gone.sock"));
    text += &told(&docker::write(&gone, &artifact, &[], &Ui::silent()).expect_err("gone"));
    let sockets = vec![dir.path().join("a.sock"), dir.path().join("b.sock")];
    let find = |host: Option<&str>, sockets: &[PathBuf]| {
        let surroundings =
            Surroundings { host: host.map(str::to_owned), sockets: sockets.to_vec(), ..Surroundings::default() };
        told(&Endpoint::find(&surroundings).expect_err("none"))
    };
    text += &find(None, &sockets);
    text += &find(Some("ssh://me@far"), &sockets);
    text += &find(Some("/var/run/docker.sock"), &sockets);
    assert_told!(dir.path(), text);
    assert!(matches!(Layout::open(dir.path()).map(|l| l.find(Selector::Only).map(drop)), Err(LayoutError::Missing(_))));
}

#[test]
fn an_engine_behind_tls_wants_and_shows_certificates() {
    let dir = temporary();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).expect("write");
        path.display().to_string()
    };
    let ca_key = rcgen::KeyPair::generate().expect("a key");
    let mut ca = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    write("ca.pem", &ca.self_signed(&ca_key).expect("a certificate").pem());
    let issuer = rcgen::Issuer::new(ca, ca_key);
    for (name, usage) in
        [("server", rcgen::ExtendedKeyUsagePurpose::ServerAuth), ("client", rcgen::ExtendedKeyUsagePurpose::ClientAuth)]
    {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".into()]).expect("parameters");
        params.extended_key_usages = vec![usage];
        write(&format!("{name}.pem"), &params.signed_by(&key, &issuer).expect("a certificate").pem());
        write(&format!("{name}.key"), &key.serialize_pem());
    }
    let at = |name: &str| dir.path().join(name).display().to_string();
    let address = format!("127.0.0.1:{}", free_port());
    let options = [
        format!("--host=tcp://{address}"),
        "--tlsverify".into(),
        format!("--tlscacert={}", at("ca.pem")),
        format!("--tlscert={}", at("server.pem")),
        format!("--tlskey={}", at("server.key")),
    ];
    let Some(engine) = Engine::start(&options) else { return };
    let find = |tls_verify: bool| {
        Endpoint::find(&Surroundings {
            host: Some(format!("tcp://{address}")),
            tls_verify,
            tls: true,
            cert_path: Some(dir.path().to_owned()),
            ..Surroundings::default()
        })
    };
    let load = |tls_verify| {
        docker::write(
            &find(tls_verify).expect("an endpoint"),
            &random_image::hello(),
            &names(&["hello"]),
            &Ui::silent(),
        )
    };
    let refused = load(true).expect_err("without a certificate of ours");
    assert_eq!(refused.kind(), Kind::Network, "{refused}");
    fs::rename(at("client.pem"), at("cert.pem")).expect("rename");
    fs::rename(at("client.key"), at("key.pem")).expect("rename");
    assert_eq!(load(true).expect("load").sent.len(), 3);
    fs::copy(at("cert.pem"), at("ca.pem")).expect("copy");
    let unknown = load(true).expect_err("another CA");
    assert_eq!(unknown.kind(), Kind::Network, "{unknown}");
    assert!(load(false).expect("DOCKER_TLS alone checks nothing").sent.is_empty());
    assert_eq!(engine.run(&[], "hello", &[]).succeeds(), HELLO);
}

#[test]
fn containerd_keeps_the_digest_of_both_archives() {
    let Some([containerd, ctr]) = tools(["containerd", "ctr"]) else { return };
    if !is_root() {
        return skip("a containerd of our own needs root");
    }
    let dir = temporary();
    let at = |name: &str| dir.path().join(name);
    let mut server = Command::new(containerd);
    for (flag, name) in [("--root", "root"), ("--state", "state"), ("--address", "socket")] {
        server.arg(flag).arg(at(name));
    }
    let server = Process::spawn(server.stdout(Stdio::null()).stderr(Stdio::null())).expect("containerd");
    let ctr = |args: &[&str]| run(Command::new(&ctr).arg("--address").arg(at("socket")).args(args));
    if wait_for(Duration::from_secs(30), || (ctr(&["version"]).code == Some(0)).then_some(())).is_none() {
        return skip("no containerd of our own runs here");
    }
    let artifact = random_image::hello();
    for kind in ["oci-archive", "docker-archive"] {
        let file = at(kind);
        let output: Output = format!("{kind}:{}", file.display()).parse().expect("an output");
        microbuild::internals::sink::write(
            &output,
            &artifact,
            &[format!("me/{kind}:1")],
            &Host::of_process(),
            &Ui::silent(),
        )
        .expect("write");
        ctr(&["images", "import", "--no-unpack", &file.display().to_string()]).succeeds();
        let listed = ctr(&["images", "ls", &format!("name==docker.io/me/{kind}:1")]);
        assert!(listed.succeeds().contains(&artifact.root().digest.to_string()), "{}", listed.stdout);
    }
    server.terminate();
}

#[test]
fn an_engine_of_the_tests_dies_with_its_process() {
    let Some([_dockerd, _docker]) = tools(["dockerd", "docker"]) else { return };
    if !is_root() {
        return skip("a Docker engine of our own needs root");
    }
    let dir = temporary();
    let pid = || fs::read_to_string(dir.path().join("engine.pid")).ok();
    let holder = Process::spawn(&mut child("engine now", dir.path())).expect("a child");
    let Some(pid) = wait_for(Duration::from_secs(90), pid) else { return skip("no Docker engine runs here") };
    let alive = || Path::new("/proc").join(pid.trim()).exists();
    assert!(alive());
    drop(holder); // SIGKILL
    wait_for(Duration::from_secs(60), || (!alive()).then_some(())).expect("the engine is stopped");
}
