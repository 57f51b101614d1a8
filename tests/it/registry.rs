//! Pushes, against a registry that fails as it is told. (Pulls: `registry_pulls`; authentication: `registry_auth`; real registries:
//! `registry_real`.)

use std::{
    io::{self, Read},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use microbuild::internals::{
    digest::Digest,
    error::{Explain as _, Kind},
    http::{Http, HttpOptions},
    image::{Artifact, DOCKER_INDEX, DOCKER_MANIFEST, Format},
    layer::{Content, Layer},
    media::{GZIP, ZSTD},
    registry::{Blob, CredentialStore, Reference, Registry, RegistryError, Uploaded},
    sink::registry::{Options, Outcome, PushReport, push, push_as},
    store::Store,
    ui::Ui,
};

use crate::support::{
    fake_registry::{Answer, Failure, FakeRegistry},
    random_image::{TestImage, image_of, index_of, random_image, random_layer},
};

/// A client that does not wait long before it tries again.
pub fn http() -> Http {
    let options = HttpOptions {
        backoff: Duration::from_millis(1),
        longest_wait: Duration::from_secs(2),
        ..HttpOptions::default()
    };
    Http::new(options).expect("a client")
}

pub fn client(registry: &FakeRegistry) -> Registry {
    Registry::new(&http(), &CredentialStore::empty(), &registry.name())
}

fn references(registry: &FakeRegistry, names: &[&str]) -> Vec<Reference> {
    names.iter().map(|name| format!("{}/{name}", registry.name()).parse().expect("a reference")).collect()
}

fn try_push(
    registry: &FakeRegistry,
    store: Option<&Store>,
    names: &[&str],
    artifact: &Artifact,
) -> Result<Vec<PushReport>, RegistryError> {
    let connect = |name: &str| Registry::new(&http(), &CredentialStore::empty(), name);
    push(&connect, store, &references(registry, names), artifact, &Ui::silent())
}

#[track_caller]
pub fn pushed(registry: &FakeRegistry, names: &[&str], artifact: &Artifact) -> PushReport {
    try_push(registry, None, names, artifact).expect("pushed").remove(0)
}

fn outcomes(report: &PushReport) -> Vec<Outcome> {
    report.layers.iter().map(|layer| layer.outcome.clone()).collect()
}

fn count(lines: &[String], start: &str) -> usize {
    lines.iter().filter(|line| line.starts_with(start)).count()
}

/// Message, hint and exit code as a user gets them, without what differs from run to run: ports and digests.
pub fn shown(error: &RegistryError) -> String {
    let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    let text = format!("{error}{hint}\nexit code {}\n", error.kind() as i32);
    let text = masked(&text, "127.0.0.1:", "REGISTRY", |c| c.is_ascii_digit());
    masked(&text, "sha256:", "DIGEST", |c| c.is_ascii_hexdigit())
}

/// `text` with `mask` in the place of `start` and the characters after it that are `masked`.
fn masked(text: &str, start: &str, mask: &str, is_masked: fn(char) -> bool) -> String {
    let mut parts = text.split(start);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |shown, part| shown + mask + part.trim_start_matches(is_masked))
}

#[test]
fn a_push_sends_everything_once_and_the_manifest_last() {
    let registry = FakeRegistry::start();
    let artifact = random_image(1, &[3000, 300_000]);
    let report = pushed(&registry, &["app:1"], &artifact);
    assert_eq!(outcomes(&report), [Outcome::Pushed, Outcome::Pushed]);
    assert!(!report.unchanged);
    assert_eq!(report.sent(), artifact.images[0].layers.iter().map(|layer| layer.size).sum::<u64>());
    let expected = format!("{}/app:1@{}", registry.name(), artifact.root().digest);
    assert_eq!(report.references[0].to_string(), expected);
    assert_eq!(registry.manifest("app", "1"), Some(artifact.root().bytes.clone()));
    let lines = registry.take_lines();
    assert_eq!(lines[0], "HEAD /v2/app/manifests/1 404");
    assert_eq!(lines.last().map(String::as_str), Some("PUT /v2/app/manifests/1 201"));
    for (start, times) in [("HEAD /v2/app/blobs/", 3), ("POST ", 3), ("PUT /v2/app/blobs/", 3)] {
        assert_eq!(count(&lines, start), times, "{start} in {lines:#?}");
    }
    assert_eq!(lines.len(), 11, "{lines:#?}");
}

#[test]
fn nothing_changed_is_one_request() {
    let registry = FakeRegistry::start();
    let artifact = random_image(1, &[3000, 3000]);
    pushed(&registry, &["app:1"], &artifact);
    registry.take_requests();
    let report = pushed(&registry, &["app:1"], &artifact);
    assert!(report.unchanged);
    assert_eq!(outcomes(&report), [Outcome::Existed, Outcome::Existed]);
    assert_eq!(registry.take_lines(), ["HEAD /v2/app/manifests/1 200"]);
}

#[test]
fn a_new_tag_sends_the_manifest_only() {
    let registry = FakeRegistry::start();
    let artifact = random_image(1, &[3000]);
    pushed(&registry, &["app:1"], &artifact);
    registry.take_requests();
    // Beside a tag that is there, the parts are known to be there.
    let report = pushed(&registry, &["app:1", "app:2"], &artifact);
    assert!(!report.unchanged);
    let mut lines = registry.take_lines();
    lines.sort();
    assert_eq!(lines, ["HEAD /v2/app/manifests/1 200", "HEAD /v2/app/manifests/2 404", "PUT /v2/app/manifests/2 201"]);
    // Alone, its parts are asked for.
    pushed(&registry, &["app:3"], &artifact);
    let lines = registry.take_lines();
    assert_eq!((count(&lines, "HEAD /v2/app/blobs/"), count(&lines, "P")), (2, 1), "{lines:#?}");
}

#[test]
fn a_changed_layer_is_the_only_one_sent() {
    let registry = FakeRegistry::start();
    let first = random_image(1, &[3000, 4000]);
    pushed(&registry, &["app:1"], &first);
    registry.take_requests();
    let layers = vec![first.images[0].layers[0].clone(), random_layer("app", 99, 500)];
    let second = Artifact { index: None, images: vec![image_of("linux/amd64", layers)] };
    let report = pushed(&registry, &["app:1"], &second);
    assert_eq!(outcomes(&report), [Outcome::Existed, Outcome::Pushed]);
    let lines = registry.take_lines();
    assert_eq!((count(&lines, "POST "), count(&lines, "PUT /v2/app/blobs/")), (2, 2), "layer, config: {lines:#?}");
    assert_eq!(registry.manifest("app", "1"), Some(second.root().bytes.clone()));
}

#[test]
fn an_index_follows_its_manifests_and_shared_layers_go_once() {
    let registry = FakeRegistry::start();
    let shared = random_layer("shared", 1, 2000);
    let image = |platform: &str, seed| image_of(platform, vec![shared.clone(), random_layer("own", seed, 2000)]);
    let artifact = index_of(vec![image("linux/amd64", 2), image("linux/arm64", 3)]);
    let report = pushed(&registry, &["app:1"], &artifact);
    assert_eq!(report.layers.len(), 3);
    let lines = registry.take_lines();
    assert_eq!(count(&lines, "PUT /v2/app/blobs/"), 5, "three layers, two configurations: {lines:#?}");
    assert_eq!(
        lines[lines.len() - 3..],
        ["PUT /v2/app/manifests/sha256: 201", "PUT /v2/app/manifests/sha256: 201", "PUT /v2/app/manifests/1 201"]
    );
    assert!(pushed(&registry, &["app:1"], &artifact).unchanged);
}

#[test]
fn a_digest_in_the_reference_must_be_the_artifacts() {
    let registry = FakeRegistry::start();
    let artifact = random_image(1, &[100]);
    let own = format!("app@{}", artifact.root().digest);
    pushed(&registry, &[&own], &artifact);
    assert!(registry.manifest("app", &artifact.root().digest.to_string()).is_some());
    let error = try_push(&registry, None, &[&format!("app@{}", Digest::of("other"))], &artifact).expect_err("another");
    assert_eq!(error.kind(), Kind::Unverified);
}

pub fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path()).expect("a store");
    (dir, store)
}

#[test]
fn blobs_are_mounted_from_where_they_were_pushed_before() {
    let registry = FakeRegistry::start();
    let (_dir, store) = store();
    let artifact = random_image(1, &[3000]);
    try_push(&registry, Some(&store), &["first:1"], &artifact).expect("pushed");
    registry.take_requests();
    let report = try_push(&registry, Some(&store), &["second:1"], &artifact).expect("pushed").remove(0);
    assert_eq!(outcomes(&report), [Outcome::Mounted("first".into())]);
    let lines = registry.take_lines();
    assert_eq!(count(&lines, "POST /v2/second/blobs/uploads/ mount 201"), 1, "{lines:#?}");
    assert_eq!(count(&lines, "PUT /v2/second/blobs/"), 1, "the configuration: {lines:#?}");
}

#[test]
fn a_mount_that_is_refused_becomes_an_upload() {
    let artifact = random_image(1, &[3000]);
    for (refusal, posts) in [(None, 2), (Some(403), 3), (Some(405), 3)] {
        let registry = FakeRegistry::start();
        let (_dir, store) = store();
        try_push(&registry, Some(&store), &["first:1"], &artifact).expect("pushed");
        registry.take_requests();
        match refusal {
            None => registry.mounts_nothing(),
            Some(status) => registry.fail("POST", "mount=", 1, Failure::Status(status, "DENIED")),
        }
        let report = try_push(&registry, Some(&store), &["second:1"], &artifact).expect("pushed").remove(0);
        assert_eq!(outcomes(&report), [Outcome::Pushed], "{refusal:?}");
        assert_eq!(count(&registry.take_lines(), "POST "), posts, "{refusal:?}");
        assert!(registry.manifest("second", "1").is_some());
    }
}

#[test]
fn a_mount_that_fails_is_not_tried_again() {
    let artifact = random_image(1, &[3000]);
    for refusal in [500, 404, 202] {
        let registry = FakeRegistry::start();
        let (_dir, store) = store();
        try_push(&registry, Some(&store), &["first:1"], &artifact).expect("pushed");
        match refusal {
            202 => registry.mounts_nothing(),
            status => registry.fail("POST", "mount=", 1, Failure::Status(status, "UNKNOWN")),
        }
        try_push(&registry, Some(&store), &["second:1"], &artifact).expect("pushed");
        let mounted = registry.take_requests().into_iter().filter_map(|request| request.query("from"));
        assert_eq!(mounted.collect::<Vec<_>>(), ["first"], "{refusal}");
        try_push(&registry, Some(&store), &["third:1"], &artifact).expect("pushed");
        let mounted = registry.take_requests().into_iter().filter_map(|request| request.query("from"));
        assert_eq!(mounted.collect::<Vec<_>>(), ["second"], "{refusal}: first is forgotten");
    }
}

#[test]
fn a_lost_blob_is_found_by_verify_and_sent_by_force() {
    let registry = FakeRegistry::start();
    let image = |platform: &str, seed| image_of(platform, vec![random_layer("own", seed, 2000)]);
    let artifact = index_of(vec![image("linux/amd64", 2), image("linux/arm64", 3)]);
    let layer = artifact.images[1].layers[0].digest;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let push = |options: Options| {
        let connect = |name: &str| Registry::new(&http(), &CredentialStore::empty(), name);
        let sink = Arc::clone(&heard);
        let ui = Ui::to(move |line| sink.lock().expect("no panic").push(line.to_owned()), false);
        let pushed = push_as(&connect, None, &references(&registry, &["app:1"]), &artifact, options, &ui);
        let said = std::mem::take(&mut *heard.lock().expect("no panic")).join("\n");
        let lines = registry.take_lines();
        (pushed.expect("pushed").remove(0), said.replace(&registry.name(), "REGISTRY"), lines)
    };
    let verify = Options { verify: true, ..Options::default() };
    let force = Options { force: true, ..Options::default() };
    let (report, said, _) = push(Options::default());
    assert_eq!((report.unchanged, said.as_str()), (false, ""));

    assert!(registry.lose_blob("app", &layer));
    let (report, said, lines) = push(Options::default());
    assert_eq!((report.unchanged, lines.len()), (true, 1), "{lines:#?}");
    insta::assert_snapshot!(said);
    let (report, said, lines) = push(verify);
    assert_eq!((report.unchanged, outcomes(&report)), (false, vec![Outcome::Existed, Outcome::Pushed]));
    assert_eq!(said, "REGISTRY/app had lost a part of the image, which was sent again");
    assert_eq!((count(&lines, "PUT /v2/app/blobs/"), count(&lines, "PUT /v2/app/manifests/")), (1, 3), "{lines:#?}");
    let (report, said, lines) = push(verify);
    assert!(report.unchanged && count(&lines, "P") == 0, "{lines:#?}");
    assert_eq!(said, "REGISTRY/app is up to date, and has all parts of the image");

    assert!(registry.lose_manifest("app", &artifact.images[0].manifest.digest.to_string()));
    let (report, _, lines) = push(verify);
    assert!(!report.unchanged && count(&lines, "PUT /v2/app/manifests/") == 3, "{lines:#?}");

    assert!(registry.lose_blob("app", &layer));
    let (report, _, lines) = push(force);
    assert_eq!(outcomes(&report), [Outcome::Pushed, Outcome::Pushed]);
    assert_eq!((count(&lines, "HEAD "), count(&lines, "PUT ")), (0, 4 + 3), "{lines:#?}");
    assert!(registry.blob("app", &layer).is_some());
}

#[test]
fn dockers_form_is_chosen_where_a_registry_takes_nothing_else() {
    let image = |platform: &str, seed| image_of(platform, vec![random_layer("own", seed, 2000)]);
    let artifact = index_of(vec![image("linux/amd64", 2), image("linux/arm64", 3)]);
    let docker = artifact.in_docker_format().expect("gzip");
    let oci_only = Options { format: Some(Format::Oci), ..Options::default() };
    let docker_only = Options { format: Some(Format::Docker), ..Options::default() };
    let connect = |name: &str| Registry::new(&http(), &CredentialStore::empty(), name);
    let push = |registry: &FakeRegistry, names: &[&str], options| {
        push_as(&connect, None, &references(registry, names), &artifact, options, &Ui::silent())
    };

    let registry = FakeRegistry::start();
    registry.takes_no_oci(Answer::new(415));
    let report = push(&registry, &["app:1", "app:2"], Options::default()).expect("pushed").remove(0);
    assert_eq!((report.format, report.digest), (Format::Docker, docker.root().digest));
    let expected = format!("{}/app:1@{}", registry.name(), docker.root().digest);
    assert_eq!(report.references[0].to_string(), expected, "the reference has the digest that is there");
    assert_eq!(registry.manifest("app", "1"), Some(docker.root().bytes.clone()));
    assert_eq!(registry.manifest("app", "2"), Some(docker.root().bytes.clone()));
    assert_eq!(registry.media_type("app", "1").as_deref(), Some(DOCKER_INDEX));
    for image in &docker.images {
        let digest = image.manifest.digest.to_string();
        assert_eq!(registry.media_type("app", &digest).as_deref(), Some(DOCKER_MANIFEST));
    }
    // It is there in that form, and needs no further request.
    registry.take_requests();
    let report = push(&registry, &["app:1"], Options::default()).expect("pushed").remove(0);
    assert!(report.unchanged && report.digest == docker.root().digest);
    assert_eq!(registry.take_requests().len(), 1);
    // A digest is one of the two forms.
    let by_digest = |digest| format!("app@{digest}");
    push(&registry, &[&by_digest(docker.root().digest)], Options::default()).expect("pushed");
    let error = push(&registry, &[&by_digest(artifact.root().digest)], Options::default()).expect_err("not as OCI");
    assert!(error.to_string().contains("415"), "{error}");
    assert!(push(&registry, &["other:1"], oci_only).expect_err("insisted on").to_string().contains("415"));
    for (digest, options) in [(artifact.root().digest, docker_only), (docker.root().digest, oci_only)] {
        let error = push(&registry, &[&by_digest(digest)], options).expect_err("another digest");
        assert_eq!(error.kind(), Kind::Unverified, "{error}");
    }

    // A layer for which Docker has no word.
    let zstd = TestImage::new("linux/amd64").layer_of("app", ZSTD, b"layer").artifact();
    for options in [Options::default(), docker_only] {
        let error = push_as(&connect, None, &references(&registry, &["app:1"]), &zstd, options, &Ui::silent());
        let error = error.expect_err("no such form");
        assert_eq!(error.kind(), Kind::Usage, "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("--compression gzip")), "{error}");
    }
}

#[test]
fn a_user_hears_of_a_registry_that_is_silent() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&heard);
    let options = HttpOptions {
        backoff: Duration::from_millis(1),
        idle_timeout: Duration::from_millis(200),
        ui: Ui::to(move |line| told.lock().expect("no panic").push(line.to_owned()), false),
        ..HttpOptions::default()
    };
    let http = Http::new(options).expect("a client");
    let connect = |name: &str| Registry::new(&http, &CredentialStore::empty(), name);
    for (method, part, expected) in [
        ("HEAD", "manifests", "no answer within the time limit"),
        ("PUT", "uploads", "seconds after all was sent; waiting for"),
    ] {
        let registry = FakeRegistry::start();
        registry.fail(method, part, 1, Failure::Stall(usize::MAX));
        push(&connect, None, &references(&registry, &["app:1"]), &random_image(1, &[3000]), &Ui::silent())
            .expect("pushed at the second attempt");
        let heard = std::mem::take(&mut *heard.lock().expect("no panic"));
        assert!(heard.iter().any(|line| line.contains(expected)), "{method}: {heard:?}");
        assert!(heard.iter().any(|line| line.contains("attempt 2 of 5")), "{method}: {heard:?}");
    }
}

/// Uploads `size` bytes while the registry does what `prepare` tells it; what it was asked.
fn uploaded(size: usize, prepare: impl Fn(&FakeRegistry)) -> (FakeRegistry, Result<Uploaded, RegistryError>) {
    let registry = FakeRegistry::start();
    prepare(&registry);
    let bytes: Vec<u8> = (0..size).map(|i| u8::try_from(i % 251).expect("below 251")).collect();
    let blob = Blob { digest: Digest::of(&bytes), size: size as u64, content: Arc::new(bytes.clone()) };
    let task = Arc::new(Ui::silent().task("", None));
    let result = client(&registry).upload("app", &blob, None, &task);
    if result.is_ok() {
        assert_eq!(registry.blob("app", &blob.digest), Some(bytes));
    }
    (registry, result)
}

#[test]
fn uploads_of_every_length_arrive() {
    for size in [0, 1, 1000, 256 << 10, (256 << 10) + 1, 2_000_000] {
        let (registry, result) = uploaded(size, |_| {});
        assert_eq!(result.expect("sent"), Uploaded::Sent);
        assert_eq!(registry.take_lines().len(), 2, "POST and PUT for {size} bytes");
    }
}

#[test]
fn a_broken_upload_goes_on_where_it_broke() {
    const SIZE: usize = 3_000_000;
    const ARRIVED: usize = 1_200_000;
    let (registry, result) = uploaded(SIZE, |r| r.fail("PUT", "uploads/", 1, Failure::CloseAfterTaking(ARRIVED)));
    result.expect("sent");
    let requests = registry.take_requests();
    let patch = requests.iter().find(|request| request.method == "PATCH").expect("a PATCH");
    assert_eq!(patch.header("content-range"), Some(&*format!("{ARRIVED}-{}", SIZE - 1)));
    assert_eq!(requests.iter().map(|request| request.sent).sum::<usize>(), SIZE, "no byte twice");
    let methods: Vec<&str> = requests.iter().map(|request| request.method.as_str()).collect();
    assert_eq!(methods, ["POST", "PUT", "GET", "PATCH", "PUT"]);
}

#[test]
fn a_broken_upload_begins_again_where_the_registry_forgot_it() {
    let (registry, result) = uploaded(3_000_000, |registry| {
        registry.fail("PUT", "uploads/", 1, Failure::CloseAfterTaking(1_000_000));
        registry.fail("GET", "uploads/", 1, Failure::Status(404, "BLOB_UPLOAD_UNKNOWN"));
    });
    result.expect("sent");
    let requests = registry.take_requests();
    let methods: Vec<&str> = requests.iter().map(|request| request.method.as_str()).collect();
    assert_eq!(methods, ["POST", "PUT", "GET", "POST", "PUT"]);
}

#[test]
fn a_registry_that_wants_chunks_gets_chunks() {
    const SIZE: usize = 1_000_000;
    const LARGEST: usize = 300_000;
    let (registry, result) = uploaded(SIZE, |registry| registry.takes_chunks_only(100_000, LARGEST));
    result.expect("sent");
    let requests = registry.take_requests();
    let taken: Vec<usize> =
        requests.iter().filter(|r| r.method == "PATCH" && r.status == 202).map(|request| request.sent).collect();
    assert_eq!(taken.iter().sum::<usize>(), SIZE);
    assert!(taken.iter().all(|length| *length <= LARGEST), "{taken:?}");
    assert!(taken[..taken.len() - 1].iter().all(|length| *length >= 100_000), "{taken:?}");
}

#[test]
fn passing_failures_are_tried_again() {
    for failure in [
        Failure::Status(500, "UNKNOWN"),
        Failure::Status(502, "UNKNOWN"),
        Failure::Status(429, "TOOMANYREQUESTS"),
        Failure::RetryAfter(429, "0"),
        Failure::RetryAfter(503, "Sun, 06 Nov 1994 08:49:37 GMT"),
        Failure::CloseAfterTaking(0),
    ] {
        let registry = FakeRegistry::start();
        for (method, part) in [
            ("HEAD", "/manifests/"),
            ("HEAD", "/blobs/"),
            ("POST", "/uploads/"),
            ("PUT", "/uploads/"),
            ("PUT", "/manifests/"),
        ] {
            registry.fail(method, part, 2, failure.clone());
        }
        pushed(&registry, &["app:1"], &random_image(1, &[3000]));
        let failed =
            registry.take_requests().iter().filter(|r| !(200..300).contains(&r.status) && r.status != 404).count();
        assert_eq!(failed, 10, "{failure:?}");
    }
}

#[test]
fn what_cannot_be_helped_is_explained() {
    let other = format!("sha256:{}", "0".repeat(64));
    let mut told = String::new();
    for (method, part, failure) in [
        ("POST", "uploads", Failure::Status(401, "UNAUTHORIZED")),
        ("PUT", "manifests", Failure::Status(403, "DENIED")),
        ("PUT", "manifests", Failure::Status(404, "NAME_UNKNOWN")),
        ("PUT", "manifests", Failure::Status(413, "SIZE_INVALID")),
        ("PUT", "manifests", Failure::Status(500, "UNKNOWN")),
        ("PUT", "manifests", Failure::RetryAfter(429, "3600")),
        ("PUT", "manifests", Failure::NameDigest(other.clone())),
        ("PUT", "uploads", Failure::NameDigest(other)),
        ("POST", "uploads", Failure::NoLocation),
    ] {
        let registry = FakeRegistry::start();
        registry.fail(method, part, 100, failure);
        let error = try_push(&registry, None, &["me/app:1"], &random_image(1, &[300])).expect_err("refused");
        told += &shown(&error);
        told += "\n";
    }
    insta::assert_snapshot!(told);
}

#[test]
fn a_registry_that_is_not_there_is_explained() {
    let port = crate::support::free_port();
    let registry = Registry::new(&http(), &CredentialStore::empty(), &format!("127.0.0.1:{port}"));
    insta::assert_snapshot!(shown(&registry.check().expect_err("refused")));
    let registry = Registry::new(&http(), &CredentialStore::empty(), "registry.invalid");
    assert_eq!(registry.check().expect_err("no such host").kind(), Kind::Network);
}

#[test]
fn a_layer_that_is_not_what_it_says_is_refused_by_the_registry() {
    let registry = FakeRegistry::start();
    let mut artifact = random_image(1, &[3000]);
    let layer = &mut artifact.images[0].layers[0];
    layer.content = Arc::new(vec![0; usize::try_from(layer.size).expect("small")]);
    let error = try_push(&registry, None, &["app:1"], &artifact).expect_err("refused");
    assert_eq!(error.kind(), Kind::Unverified);
    assert!(error.to_string().contains("DIGEST_INVALID"), "{error}");
    assert_eq!(registry.manifest("app", "1"), None);
}

#[test]
fn a_layer_that_cannot_be_read_is_not_the_networks_fault() {
    struct Broken(u64);
    impl Content for Broken {
        fn open(&self) -> io::Result<Box<dyn Read + Send>> {
            let end = io::Error::other("the disk went away");
            struct Ends(Option<io::Error>);
            impl Read for Ends {
                fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                    Err(self.0.take().unwrap_or_else(|| io::Error::other("again")))
                }
            }
            Ok(Box::new(io::repeat(7).take(self.0).chain(Ends(Some(end)))))
        }
    }
    for good in [0, 2_000_000] {
        let registry = FakeRegistry::start();
        let mut artifact = random_image(1, &[3_000_000]);
        artifact.images[0].layers[0].content = Arc::new(Broken(good));
        let error = try_push(&registry, None, &["app:1"], &artifact).expect_err("unreadable");
        assert_eq!(error.kind(), Kind::Build, "{error:?}");
        assert!(error.to_string().contains("the disk went away"), "{error}");
    }
}

#[test]
fn memory_does_not_grow_with_a_layer() {
    const SIZE: u64 = 64 << 20;
    /// What TCP on loopback and the client's own buffers may hold.
    const AHEAD: u64 = 16 << 20;
    struct Counted {
        registry: Arc<FakeRegistry>,
        furthest: Arc<AtomicU64>,
    }
    struct Counting {
        registry: Arc<FakeRegistry>,
        furthest: Arc<AtomicU64>,
        read: u64,
    }
    impl Read for Counting {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            buf.fill(7);
            self.read += buf.len() as u64;
            self.furthest.fetch_max(self.read.saturating_sub(self.registry.received()), Ordering::Relaxed);
            Ok(buf.len())
        }
    }
    impl Content for Counted {
        fn open(&self) -> io::Result<Box<dyn Read + Send>> {
            let (registry, furthest) = (Arc::clone(&self.registry), Arc::clone(&self.furthest));
            Ok(Box::new(Counting { registry, furthest, read: 0 }.take(SIZE)))
        }
    }
    let registry = Arc::new(FakeRegistry::start());
    let furthest = Arc::new(AtomicU64::new(0));
    let content = Arc::new(Counted { registry: Arc::clone(&registry), furthest: Arc::clone(&furthest) });
    let (digest, ..) = {
        let mut hashing = microbuild::internals::digest::Hashing::new(content.open().expect("open"));
        io::copy(&mut hashing, &mut io::sink()).expect("memory");
        hashing.finish()
    };
    furthest.store(0, Ordering::Relaxed);
    let layer = Layer { digest, diff_id: digest, size: SIZE, media_type: GZIP.into(), title: "large".into(), content };
    let artifact = Artifact { index: None, images: vec![image_of("linux/amd64", vec![layer])] };
    pushed(&registry, &["app:1"], &artifact);
    let furthest = furthest.load(Ordering::Relaxed);
    assert!(furthest < AHEAD, "read {furthest} bytes ahead of what had arrived");
}
