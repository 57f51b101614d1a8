//! Pushes and pulls with Debian's docker-registry, and skopeo as the second opinion.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use microbuild::internals::{
    digest::Digest,
    error::{Explain as _, Kind},
    http::{Http, HttpOptions, Insecure},
    image::Artifact,
    registry::{CredentialStore, Credentials, Reference, Registry, RegistryError, Stored, login},
    sink::registry::{Outcome, PushReport, push},
    store::{BlobDir, Store},
    ui::Ui,
};

use super::registry::shown;
use crate::support::{
    Home,
    docker_registry::{DockerRegistry, PASSWORD, USER, Wishes},
    random_image::{image_of, index_of, random_image, random_layer},
    run, tools,
    workbench::{Workbench, digest, example, one_line},
};

fn http(options: HttpOptions) -> Http {
    Http::new(HttpOptions { backoff: Duration::from_millis(1), ..options }).expect("a client")
}

fn trusting(registry: &DockerRegistry) -> Http {
    http(HttpOptions { ca: vec![registry.ca()], ..HttpOptions::default() })
}

fn credentials() -> Credentials {
    Credentials::password(USER, PASSWORD)
}

fn push_as(
    http: &Http,
    user: Option<&Credentials>,
    store: Option<&Store>,
    reference: &str,
    artifact: &Artifact,
) -> Result<PushReport, RegistryError> {
    let reference: Reference = reference.parse().expect("a reference");
    let connect = |name: &str| Registry::with_credentials(http, name, user.cloned());
    push(&connect, store, &[reference], artifact, &Ui::silent()).map(|mut reports| reports.remove(0))
}

/// Pulls by skopeo, and compares with what was pushed.
fn skopeo_agrees(registry: &DockerRegistry, reference: &str, artifact: &Artifact, options: &[&str]) {
    let Some([skopeo]) = tools(["skopeo"]) else { return };
    let home = Home::new();
    let ca = registry.ca();
    let mut args: Vec<&str> = ["--insecure-policy", "copy", "--all", "--src-cert-dir"].into();
    args.push(ca.parent().and_then(Path::to_str).expect("a folder"));
    args.extend(options);
    let source = format!("docker://{reference}");
    args.extend([source.as_str(), "dir:pulled"]);
    run(&mut home.command(skopeo, &args)).succeeds();
    let manifest = std::fs::read(home.path().join("pulled/manifest.json")).expect("a manifest");
    assert_eq!(manifest, artifact.root().bytes);
    for layer in artifact.images.iter().flat_map(|image| &image.layers) {
        let path = home.path().join("pulled").join(layer.digest.hex());
        assert_eq!(path.metadata().expect("pulled").len(), layer.size);
    }
}

#[test]
fn pushes_with_a_password_and_tls_under_a_private_ca() {
    let Some(registry) = DockerRegistry::start(Wishes { auth: true, tls: true }) else { return };
    let artifact = random_image(1, &[3000, 3_000_000]);
    let reference = format!("{}/me/app:1", registry.name());

    let unknown = push_as(&http(HttpOptions::default()), Some(&credentials()), None, &reference, &artifact);
    let unknown = unknown.expect_err("a CA that nobody knows");
    assert!(unknown.hint().is_some_and(|hint| hint.contains("--ca")), "{unknown}");
    let trusting = trusting(&registry);
    let nobody = push_as(&trusting, None, None, &reference, &artifact).expect_err("no credentials");
    assert!(nobody.hint().is_some_and(|hint| hint.contains("microbuild login")), "{nobody}");
    let wrong = Credentials::password(USER, "wrong");
    assert_eq!(push_as(&trusting, Some(&wrong), None, &reference, &artifact).expect_err("wrong").kind(), Kind::Network);

    let report = push_as(&trusting, Some(&credentials()), None, &reference, &artifact).expect("pushed");
    assert!(report.layers.iter().all(|layer| layer.outcome == Outcome::Pushed));
    assert!(push_as(&trusting, Some(&credentials()), None, &reference, &artifact).expect("pushed").unchanged);
    let insecure = http(HttpOptions { insecure: vec![Insecure::All], ..HttpOptions::default() });
    assert!(push_as(&insecure, Some(&credentials()), None, &reference, &artifact).expect("pushed").unchanged);
    let user = format!("{USER}:{PASSWORD}");
    skopeo_agrees(&registry, &reference, &artifact, &["--src-creds", &user]);
}

#[test]
fn a_login_is_stored_and_used() {
    let Some(registry) = DockerRegistry::start(Wishes { auth: true, tls: true }) else { return };
    let home = Home::new();
    let store = CredentialStore::from_env(|name| (name == "HOME").then(|| home.path().into()));
    let trusting = trusting(&registry);
    let error = login(&trusting, &store, &registry.name(), USER, "wrong").expect_err("refused");
    insta::assert_snapshot!(shown(&error));
    let stored = login(&trusting, &store, &registry.name(), USER, PASSWORD).expect("accepted");
    assert_eq!(stored, Stored::File(home.path().join(".docker/config.json")));
    Registry::new(&trusting, &store, &registry.name()).check().expect("accepted");
    let Some([skopeo]) = tools(["skopeo"]) else { return };
    let mut args = vec!["login", "--get-login", "--authfile", ".docker/config.json"];
    let name = registry.name();
    args.push(&name);
    assert_eq!(run(&mut home.command(skopeo, &args)).succeeds().trim(), USER, "skopeo reads it, too");
}

#[test]
fn images_for_several_platforms_are_pulled_by_skopeo() {
    let Some(registry) = DockerRegistry::start(Wishes::default()) else { return };
    let shared = random_layer("shared", 1, 2000);
    let image = |platform: &str, seed| image_of(platform, vec![shared.clone(), random_layer("own", seed, 400_000)]);
    let artifact = index_of(vec![image("linux/amd64", 2), image("linux/arm64", 3)]);
    let reference = format!("{}/app:1", registry.name());
    let http = http(HttpOptions::default());
    push_as(&http, None, None, &reference, &artifact).expect("pushed");
    assert!(push_as(&http, None, None, &reference, &artifact).expect("pushed").unchanged);
    skopeo_agrees(&registry, &reference, &artifact, &["--src-tls-verify=false"]);
}

#[test]
fn what_was_pushed_is_mounted_elsewhere_and_pulled_back() {
    let Some(registry) = DockerRegistry::start(Wishes::default()) else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path()).expect("a store");
    let http = http(HttpOptions::default());
    let artifact = random_image(7, &[50_000, 600_000]);
    push_as(&http, None, Some(&store), &format!("{}/one:1", registry.name()), &artifact).expect("pushed");
    let second = format!("{}/two:1", registry.name());
    let report = push_as(&http, None, Some(&store), &second, &artifact).expect("pushed");
    assert!(report.layers.iter().all(|layer| layer.outcome == Outcome::Mounted("one".into())), "{report:?}");

    let client = Registry::new(&http, &CredentialStore::empty(), &registry.name());
    assert_eq!(&client.manifest("two", "1").expect("pulled"), artifact.root());
    let blobs = BlobDir::open(dir.path().join("pulled")).expect("a folder");
    for layer in &artifact.images[0].layers {
        assert_eq!(client.fetch_blob("two", &layer.digest, layer.size, &blobs).expect("pulled"), layer.size);
    }
    let missing = client.manifest("none", "1").expect_err("missing");
    insta::assert_snapshot!(shown(&missing));
}

#[test]
fn a_blob_that_the_registry_has_lost_is_sent_again() {
    let Some(registry) = DockerRegistry::start(Wishes::default()) else { return };
    let bench = Workbench::fake();
    let reference = format!("{}/team/app:1", registry.name());
    let build = |options: &[&str]| {
        let mut command = bench.node(&example(), ["--platform", "linux/amd64", "--push", "-t", &reference]);
        run(command.args(options))
    };
    let line = one_line(&build(&[]));
    let app = bench.microbuild(["inspect", &reference]);
    let app: serde_json::Value = serde_json::from_str(app.succeeds()).expect("JSON");
    let layers = app["images"][0]["layers"].as_array().expect("layers");
    let layer: Digest = layers.last().expect("a layer")["digest"].as_str().expect("text").parse().expect("a digest");
    let lose = || std::fs::remove_file(registry.blob(&layer)).expect("the layer was there");

    lose();
    let again = build(&[]);
    assert_eq!(one_line(&again), line);
    assert!(again.stderr.contains("up to date") && again.stderr.contains("--force"), "{}", again.stderr);
    assert!(!registry.blob(&layer).exists());
    let verified = build(&["--verify"]);
    assert_eq!(one_line(&verified), line);
    assert!(verified.stderr.contains("had lost a part of the image"), "{}", verified.stderr);
    assert!(registry.blob(&layer).exists());

    lose();
    let pushed = bench.microbuild(["push", &reference, &reference, "--force"]);
    assert_eq!(one_line(&pushed), line);
    assert!(registry.blob(&layer).exists());
    let whole = bench.microbuild(["push", &reference, &reference, "--verify"]);
    assert_eq!(one_line(&whole), line);
    assert!(whole.stderr.contains("has all parts of the image"), "{}", whole.stderr);
    let Some([skopeo]) = tools(["skopeo"]) else { return };
    let source = format!("docker://{reference}");
    run(&mut bench
        .home
        .command(skopeo, ["--insecure-policy", "copy", "--src-tls-verify=false", &source, "dir:pulled"]))
    .succeeds();
}

#[test]
fn dockers_form_is_what_docker_and_skopeo_know() {
    let Some(registry) = DockerRegistry::start(Wishes::default()) else { return };
    let bench = Workbench::fake();
    let at = |tag: &str| format!("{}/app:{tag}", registry.name());
    let platforms = ["--platform", "linux/amd64"];
    let mut build = bench.node(&example(), platforms);
    let docker = run(build.args(["--push", "--format", "docker", "-o", "oci:layout:app", "-t", &at("docker")]));
    let docker = one_line(&docker);
    let mut build = bench.node(&example(), platforms);
    let oci = one_line(&run(build.args(["--push", "-t", &at("oci")])));
    assert_ne!(digest(&docker), digest(&oci));
    // The local image and a layout are OCI's, whatever was pushed.
    let local: serde_json::Value =
        serde_json::from_str(bench.microbuild(["inspect", &at("docker")]).succeeds()).expect("JSON");
    assert_eq!(local["digest"], digest(&oci));
    let pushed = bench.microbuild(["push", &at("oci"), &at("again"), "--format", "docker", "--json"]);
    let json: serde_json::Value = serde_json::from_str(pushed.succeeds()).expect("JSON");
    assert_eq!(json["digest"], digest(&docker));
    let zstd = bench.node(&example(), platforms.into_iter().chain(["--compression", "zstd", "-t", "zstd:1"]));
    run(&mut { zstd }).succeeds();
    let refused = bench.microbuild(["push", "zstd:1", &at("zstd"), "--format", "docker"]);
    refused.exits(2);
    assert!(refused.stderr.contains("--compression gzip"), "{}", refused.stderr);

    let Some([skopeo]) = tools(["skopeo"]) else { return };
    let skopeo = |args: &[&str]| run(&mut bench.home.command(&skopeo, args)).succeeds().to_owned();
    let inspect = |reference: &str| -> serde_json::Value {
        let text = skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{reference}")]);
        assert_eq!(Digest::of(&text).to_string(), digest(if reference == at("docker") { &docker } else { &oci }));
        serde_json::from_str(&text).expect("JSON")
    };
    let types = |manifest: &serde_json::Value| {
        let all = [manifest, &manifest["config"]].into_iter().chain(manifest["layers"].as_array().expect("layers"));
        all.map(|part| part["mediaType"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    assert!(types(&inspect(&at("docker"))).iter().all(|kind| kind.starts_with("application/vnd.docker.")));
    assert!(types(&inspect(&at("oci"))).iter().all(|kind| kind.starts_with("application/vnd.oci.")));
    // Both are the same image: its configuration and layers are the same bytes, and skopeo makes one out of the other.
    let (first, second) = (inspect(&at("docker")), inspect(&at("oci")));
    assert_eq!(first["config"]["digest"], second["config"]["digest"]);
    for tag in ["docker", "oci"] {
        let source = format!("docker://{}", at(tag));
        let options = ["--insecure-policy", "copy", "--src-tls-verify=false", "--format", "v2s2"];
        skopeo(&[&options[..], &[&source, &format!("dir:{tag}")]].concat());
        let manifest = std::fs::read(bench.home.path().join(tag).join("manifest.json")).expect("a manifest");
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
        assert_eq!((&manifest["config"], &manifest["layers"]), (&first["config"], &first["layers"]), "{tag}");
    }
    assert_eq!(digest_of_layout(&skopeo, "oci:layout:app"), digest(&oci));
}

/// The digest of an image in a layout, by skopeo.
fn digest_of_layout(skopeo: &dyn Fn(&[&str]) -> String, layout: &str) -> String {
    Digest::of(skopeo(&["inspect", "--raw", layout])).to_string()
}

/// Forwards to `port`, and cuts the first connection on which `cut` bytes have gone to it.
fn cutting_proxy(port: u16, cut: u64) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let own = listener.local_addr().expect("an address").port();
    let limit = Arc::new(AtomicU64::new(cut));
    // The thread ends with the process: nothing wakes it, and it holds nothing but a port.
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(("127.0.0.1", port)).expect("the registry");
            let back = (server.try_clone().expect("a handle"), client.try_clone().expect("a handle"));
            thread::spawn(move || io::copy(&mut &back.0, &mut &back.1));
            let limit = Arc::clone(&limit);
            thread::spawn(move || drop(forward(&client, &server, &limit)));
        }
    });
    own
}

fn forward(mut client: &TcpStream, mut server: &TcpStream, limit: &AtomicU64) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    let mut forwarded = 0;
    loop {
        let n = client.read(&mut buffer)?;
        if n == 0 {
            return server.shutdown(Shutdown::Write);
        }
        server.write_all(&buffer[..n])?;
        forwarded += n as u64;
        if forwarded > limit.load(Ordering::Relaxed) {
            limit.store(u64::MAX, Ordering::Relaxed);
            client.shutdown(Shutdown::Both)?;
            return server.shutdown(Shutdown::Both);
        }
    }
}

/// docker-registry 2.8 refuses to resume in the middle of a request (its `_state` holds the offset at which the request began), so
/// this one begins again.
#[test]
fn a_real_registry_has_the_whole_of_an_upload_that_broke() {
    let Some(registry) = DockerRegistry::start(Wishes::default()) else { return };
    let port = cutting_proxy(registry.port(), 5_000_000);
    let artifact = random_image(3, &[8_000_000]);
    let http = http(HttpOptions::default());
    push_as(&http, None, None, &format!("127.0.0.1:{port}/app:1"), &artifact).expect("pushed");
    let reference = format!("{}/app:1", registry.name());
    assert!(push_as(&http, None, None, &reference, &artifact).expect("pushed").unchanged);
    skopeo_agrees(&registry, &reference, &artifact, &["--src-tls-verify=false"]);
}
