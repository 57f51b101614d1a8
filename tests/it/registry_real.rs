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

use microbuild::{
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
