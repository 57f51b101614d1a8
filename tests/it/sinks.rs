//! Sinks: layouts, archives and Docker engines, judged by reading them back and by the tools that others use.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead as _, BufReader, Read, Write as _},
    net::TcpListener,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use microbuild::{
    digest::Digest,
    error::{Explain, Kind},
    image::Artifact,
    layer::{Content, GZIP, ZSTD},
    layout::{Layout, LayoutError, Selector, Transfer},
    sink::{
        Output, SinkError,
        docker::{self, Endpoint, Surroundings},
        docker_archive, oci, oci_archive,
    },
    ui::Ui,
};
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{
    Process,
    engine::Engine,
    free_port, is_root,
    random_image::{self, Failing, HELLO, PLAIN, TestImage, bytes_of, index_of},
    run, skip, tools, wait_for,
};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// All files below `dir` with their bytes.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dir).expect("below").display().to_string();
                found.insert(name, fs::read(&path).expect("readable"));
            }
        }
    }
    found
}

fn untar(archive: &Path, dir: &Path) {
    tar::Archive::new(fs::File::open(archive).expect("the archive")).unpack(dir).expect("a tar");
}

fn assert_same(found: &Artifact, expected: &Artifact) {
    assert_eq!(found.index, expected.index);
    assert_eq!(found.images.len(), expected.images.len());
    for (found, expected) in found.images.iter().zip(&expected.images) {
        assert_eq!((&found.manifest, &found.config), (&expected.manifest, &expected.config));
        assert_eq!(found.platform, expected.platform);
        assert_eq!(found.layers.len(), expected.layers.len());
        for (found, expected) in found.layers.iter().zip(&expected.layers) {
            assert_eq!((found.digest, found.diff_id, found.size), (expected.digest, expected.diff_id, expected.size));
            assert_eq!((&found.media_type, &found.title), (&expected.media_type, &expected.title));
            assert_eq!(bytes_of(found), bytes_of(expected));
        }
    }
}

/// An image whose last layer fails in the middle.
fn broken() -> Artifact {
    let tar = random_image::tar_of(&[("a", &[7; 300_000])]);
    let failing = Arc::new(Failing(tar[..200_000].to_vec()));
    TestImage::here()
        .layer("base", &[("base", b"base")])
        .layer_from("app", PLAIN, Digest::of(&tar), &tar, failing)
        .artifact()
}

/// An image whose layer has other bytes of the same length than it says.
fn lying() -> Artifact {
    let tar = random_image::tar_of(&[("a", b"truth")]);
    let other = random_image::tar_of(&[("a", b"false")]);
    TestImage::here().layer_from("app", PLAIN, Digest::of(&tar), &tar, Arc::new(other)).artifact()
}

fn told(error: &dyn Explain) -> String {
    format!("{error}\nhint: {}\nexit: {}\n", error.hint().unwrap_or_default(), error.kind() as u8)
}

/// Asserts on `told` without what differs from run to run.
macro_rules! assert_told {
    ($dir:expr, $told:expr) => {
        insta::with_settings!({ filters => vec![
            (regex_escape($dir).as_str(), "DIR"), (r"sha256:[0-9a-f]{64}", "DIGEST"), (r"127\.0\.0\.1:\d+", "ADDRESS"),
        ] }, { insta::assert_snapshot!($told) })
    };
}

fn regex_escape(path: &Path) -> String {
    path.display().to_string().replace('.', r"\.")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(seed in any::<u64>(), second in any::<u64>()) {
        let dir = temporary();
        let (one, two) = (random_image::random(seed), random_image::random(second));
        let out = dir.path().join("out");
        oci::write(&out, &one, &names(&["one:1", "also"]), &Ui::silent()).expect("write");
        oci::write(&out, &two, &names(&["two"]), &Ui::silent()).expect("write");
        for name in ["one:1", "also"] {
            assert_same(&oci::read(&out, Some(name)).expect("read"), &one);
        }
        assert_same(&oci::read(&out, Some("two")).expect("read"), &two);

        let archive = dir.path().join("image.tar");
        oci_archive::write(&archive, &one, &names(&["one:1"]), &Ui::silent()).expect("write");
        let unpacked = dir.path().join("unpacked");
        untar(&archive, &unpacked);
        assert_same(&oci::read(&unpacked, None).expect("read"), &one);
    }
}

#[test]
fn a_layout_holds_what_the_specification_names_and_nothing_else() {
    let dir = temporary();
    let out = dir.path().join("out");
    let artifact = TestImage::new("linux/arm/v7").layer("app", &[("a", b"a")]).artifact();
    let report = oci::write(&out, &artifact, &names(&["app:1"]), &Ui::silent()).expect("write");
    assert_eq!(report.sent.len(), 3, "a layer, a configuration, a manifest");
    let mut found = files(&out);
    assert_eq!(found.remove("oci-layout").as_deref(), Some(&br#"{"imageLayoutVersion":"1.0.0"}"#[..]));
    let index = String::from_utf8(found.remove("index.json").expect("index.json")).expect("text");
    let root = artifact.root();
    assert_eq!(
        index,
        format!(
            r#"{{"manifests":[{{"annotations":{{"org.opencontainers.image.ref.name":"app:1"}},"digest":"{}","mediaType":"application/vnd.oci.image.manifest.v1+json","platform":{{"architecture":"arm","os":"linux","variant":"v7"}},"size":{}}}],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}}"#,
            root.digest,
            root.bytes.len()
        )
    );
    let blobs: Vec<String> = found.values().map(|bytes| format!("blobs/sha256/{}", Digest::of(bytes).hex())).collect();
    assert_eq!(blobs, found.keys().cloned().collect::<Vec<_>>(), "each blob has the name of its digest");
    assert_eq!(blobs.len(), 3);
    let again = oci::write(&out, &artifact, &names(&["app:1"]), &Ui::silent()).expect("write");
    assert!(again.sent.is_empty(), "everything is there");
}

#[test]
fn a_name_is_replaced_and_other_images_stay() {
    let dir = temporary();
    let image = |text: &[u8]| TestImage::here().layer("app", &[("a", text)]).artifact();
    let (old, new, other) = (image(b"old"), image(b"new"), image(b"other"));
    for (artifact, named) in [(&old, vec!["app"]), (&other, vec![]), (&other, vec!["b"]), (&new, vec!["app"])] {
        oci::write(dir.path(), artifact, &names(&named), &Ui::silent()).expect("write");
    }
    let layout = Layout::open(dir.path()).expect("a layout");
    let entries: Vec<_> = layout.entries().expect("entries").into_iter().map(|e| (e.name, e.digest)).collect();
    let entry = |name: Option<&str>, artifact: &Artifact| (name.map(str::to_owned), artifact.root().digest);
    assert_eq!(entries, [entry(Some("app"), &new), entry(None, &other), entry(Some("b"), &other)]);
    assert_same(&oci::read(dir.path(), Some(&other.root().digest.to_string())).expect("by digest"), &other);
}

#[test]
fn blobs_from_files_are_copied_for_users_and_linked_for_us() {
    use std::os::unix::fs::MetadataExt as _;
    let dir = temporary();
    let tar = random_image::tar_of(&[("a", b"a")]);
    let file = dir.path().join("blob");
    fs::write(&file, &tar).expect("write");
    let layer = |content: Arc<dyn Content>| {
        TestImage::here().layer_from("app", PLAIN, Digest::of(&tar), &tar, content).artifact()
    };
    let artifact = layer(Arc::new(file.clone()));
    for (how, links) in [(Transfer::Copy, 1), (Transfer::Link, 2)] {
        let out = dir.path().join(format!("{how:?}"));
        let layout = Layout::create(&out).expect("a layout");
        layout.add(&artifact, &[], how, &Ui::silent()).expect("add");
        let blob = out.join("blobs/sha256").join(Digest::of(&tar).hex());
        assert_eq!(fs::metadata(&blob).expect("the blob").nlink(), links, "{how:?}");
        assert_same(&oci::read(&out, None).expect("read"), &artifact);
    }
}

#[test]
fn archives_depend_on_the_image_only() {
    let dir = temporary();
    let artifact = random_image::hello();
    let (one, two) = (dir.path().join("one.tar"), dir.path().join("two.tar"));
    for write in [oci_archive::write, docker_archive::write] {
        write(&one, &artifact, &names(&["b:1", "a"]), &Ui::silent()).expect("write");
        thread::sleep(Duration::from_millis(1100)); // Past the next second, which a header would tell.
        write(&two, &artifact, &names(&["b:1", "a"]), &Ui::silent()).expect("write");
        assert!(fs::read(&one).expect("read") == fs::read(&two).expect("read"));
        let mut archive = tar::Archive::new(fs::File::open(&one).expect("open"));
        let mut paths = Vec::new();
        for entry in archive.entries().expect("entries") {
            let entry = entry.expect("an entry");
            let header = entry.header();
            assert_eq!((header.mtime().ok(), header.uid().ok(), header.gid().ok()), (Some(0), Some(0), Some(0)));
            paths.push(entry.path().expect("a path").display().to_string());
        }
        assert_eq!(&paths[..2], ["blobs/", "blobs/sha256/"]);
        assert!(paths.is_sorted(), "{paths:?}");
    }
    assert_eq!(fs::metadata(&one).expect("meta").permissions().mode() & 0o600, 0o600);
    assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 2, "no temporary file");
}

#[test]
fn a_docker_archive_names_plain_and_gzip_layers_and_unpacks_zstd() {
    let dir = temporary();
    let file = dir.path().join("image.tar");
    let tar = random_image::tar_of(&[("a", &[1; 200_000])]);
    let image = || TestImage::here().layer_of("plain", PLAIN, &tar).layer("gzip", &[("b", b"b")]);
    for (artifact, is_layout) in [(image().artifact(), true), (image().layer_of("zstd", ZSTD, &tar).artifact(), false)]
    {
        let _ = fs::remove_dir_all(dir.path().join("out"));
        let out = dir.path().join("out");
        docker_archive::write(&file, &artifact, &names(&["app", "app:latest", "r.io/app:1@sha256:0"]), &Ui::silent())
            .expect("write");
        untar(&file, &out);
        let manifest: Value =
            serde_json::from_slice(&fs::read(out.join("manifest.json")).expect("manifest.json")).expect("JSON");
        assert_eq!(manifest[0]["RepoTags"], serde_json::json!(["app:latest", "r.io/app:1"]));
        let at = |value: &Value| fs::read(out.join(value.as_str().expect("a path"))).expect("a file");
        assert_eq!(at(&manifest[0]["Config"]), artifact.images[0].config.bytes);
        let layers = manifest[0]["Layers"].as_array().expect("layers");
        assert_eq!(layers.len(), artifact.images[0].layers.len());
        for (path, layer) in layers.iter().zip(&artifact.images[0].layers) {
            let expected = if layer.media_type == ZSTD { layer.diff_id } else { layer.digest };
            assert_eq!(Digest::of(at(path)), expected);
        }
        assert_eq!(out.join("oci-layout").exists(), is_layout, "a layout is there as a whole or not at all");
        if is_layout {
            assert_same(&oci::read(&out, Some("app:latest")).expect("read"), &artifact);
        }
    }
}

#[test]
fn threads_that_write_to_one_layout_lose_nothing() {
    let dir = temporary();
    let out = dir.path().join("out");
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for worker in 0..8_u64 {
            let (out, done) = (&out, &done);
            scope.spawn(move || {
                for i in 0..4 {
                    // Pairs of workers bring the same image.
                    let artifact = random_image::random((worker / 2) * 10 + i);
                    let name = format!("w{worker}:{i}");
                    oci::write(out, &artifact, std::slice::from_ref(&name), &Ui::silent()).expect("write");
                    done.lock().expect("no panic").push((name, artifact));
                }
            });
        }
        // One more fails again and again, and takes back what it brought.
        scope.spawn(|| {
            for _ in 0..20 {
                oci::write(&out, &broken(), &[], &Ui::silent()).expect_err("a broken image");
            }
        });
    });
    let done = done.into_inner().expect("no panic");
    assert_eq!(done.len(), 32);
    for (name, artifact) in done {
        assert_same(&oci::read(&out, Some(&name)).expect("read"), &artifact);
    }
    assert!(files(&out).keys().all(|name| !name.contains("/.") && !name.starts_with('.')));
}

/// This test again, in a process of its own, which does what `CHILD` says.
fn child(job: &str, out: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["it::sinks::as_a_child", "--exact", "--nocapture"]).env("MICROBUILD_TEST_CHILD", job).env("OUT", out);
    command
}

/// A layer that never ends.
struct Endless;

impl Content for Endless {
    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        struct Slow(u32);
        impl Read for Slow {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                if self.0 > 16 {
                    thread::sleep(Duration::from_secs(600));
                }
                buf.fill(1);
                Ok(buf.len())
            }
        }
        Ok(Box::new(Slow(0)))
    }
}

/// What the other tests do in processes of their own; nothing when it is run as a test.
#[test]
fn as_a_child() {
    let Ok(job) = std::env::var("MICROBUILD_TEST_CHILD") else { return };
    let out = PathBuf::from(std::env::var_os("OUT").expect("OUT"));
    match job.split_once(' ') {
        Some(("write", seed)) => {
            for i in 0..5 {
                let seed: u64 = seed.parse().expect("a number");
                let artifact = random_image::random(seed + i);
                oci::write(&out, &artifact, &[format!("s{seed}:{i}")], &Ui::silent()).expect("write");
            }
        }
        Some(("hang", _)) => {
            let endless = TestImage::here()
                .layer("base", &[("base", b"base")])
                .layer_from("app", PLAIN, Digest::of("never"), &[0; 1 << 24], Arc::new(Endless))
                .artifact();
            let _ = oci::write(&out, &endless, &names(&["app"]), &Ui::silent());
        }
        _ => {
            let refused = |result: Result<_, SinkError>| print!("{}", told(&result.map(drop).expect_err("refused")));
            refused(oci::write(&out.join("layout"), &random_image::hello(), &names(&["new"]), &Ui::silent()));
            refused(oci::write(&out.join("new"), &random_image::hello(), &names(&["new"]), &Ui::silent()));
            refused(oci_archive::write(&out.join("a.tar"), &random_image::hello(), &[], &Ui::silent()));
        }
    }
}

#[test]
fn processes_that_write_to_one_layout_lose_nothing() {
    let dir = temporary();
    let out = dir.path().join("out");
    let start = |i: u64| {
        let mut command = child(&format!("write {}", i * 3), &out);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a child")
    };
    let children: Vec<_> = (0..4).map(start).collect();
    for child in children {
        let output = child.wait_with_output().expect("a child");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for seed in (0..4).map(|i| i * 3) {
        for i in 0..5 {
            let found = oci::read(&out, Some(&format!("s{seed}:{i}"))).expect("read");
            assert_same(&found, &random_image::random(seed + i));
        }
    }
}

#[test]
fn a_writer_that_is_killed_leaves_a_layout_that_the_next_one_repairs() {
    let dir = temporary();
    let out = dir.path().join("out");
    let before = random_image::hello();
    oci::write(&out, &before, &names(&["app"]), &Ui::silent()).expect("write");
    let temporary_file = || {
        let names = files(&out.join("blobs")).into_keys();
        names.into_iter().find(|name| name.contains("/.")).map(drop)
    };
    let hanging = Process::spawn(&mut child("hang now", &out)).expect("a child");
    wait_for(Duration::from_secs(60), temporary_file).expect("it is in the middle of a blob");
    drop(hanging); // SIGKILL
    assert!(temporary_file().is_some(), "it could not clean up");
    assert_same(&oci::read(&out, Some("app")).expect("readable all the same"), &before);
    let after = random_image::random(1);
    oci::write(&out, &after, &names(&["app"]), &Ui::silent()).expect("write");
    assert_same(&oci::read(&out, None).expect("read"), &after);
    assert!(temporary_file().is_none(), "the next writer cleans up");
}

#[test]
fn a_layer_that_fails_leaves_everything_as_it_was() {
    let dir = temporary();
    let at = |name: &str| dir.path().join(name);
    for (artifact, kind) in [(broken(), Kind::Build), (lying(), Kind::Unverified)] {
        // Where there was nothing, there is nothing.
        let kinds = [
            oci::write(&at("out"), &artifact, &[], &Ui::silent()),
            oci_archive::write(&at("a.tar"), &artifact, &[], &Ui::silent()),
            docker_archive::write(&at("a.tar"), &artifact, &[], &Ui::silent()),
        ]
        .map(|result| result.expect_err("a broken image").kind());
        assert_eq!(kinds, [kind; 3]);
        assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 0, "{:?}", files(dir.path()).keys());
    }
    oci::write(&at("out"), &random_image::hello(), &names(&["app"]), &Ui::silent()).expect("write");
    fs::write(at("a.tar"), "old").expect("write");
    let before = files(dir.path());
    for artifact in [broken(), lying()] {
        oci::write(&at("out"), &artifact, &names(&["app"]), &Ui::silent()).expect_err("a broken image");
        oci_archive::write(&at("a.tar"), &artifact, &[], &Ui::silent()).expect_err("a broken image");
        assert!(files(dir.path()) == before, "{:?}", files(dir.path()).keys());
    }
}

#[test]
fn errors_say_what_was_expected_and_what_to_do() {
    let dir = temporary();
    let at = |name: &str| dir.path().join(name);
    let silent = Ui::silent();
    let hello = random_image::hello();
    fs::create_dir(at("source")).expect("folder");
    fs::write(at("source/main.js"), "").expect("write");
    fs::write(at("file"), "").expect("write");
    oci::write(&at("out"), &hello, &names(&["app:1.0"]), &silent).expect("write");
    oci::write(&at("out"), &random_image::random(7), &names(&["base"]), &silent).expect("write");
    let many = index_of(["linux/amd64", "linux/arm64"].map(|p| TestImage::new(p).image()).into());
    let odd =
        TestImage::here().layer_from("app", "text/html", Digest::of("a"), b"a", Arc::new(b"a".to_vec())).artifact();
    let cut = TestImage::here().layer_from("app", GZIP, Digest::of("a"), b"abc", Arc::new(b"ab".to_vec())).artifact();
    let long = TestImage::here().layer_from("app", GZIP, Digest::of("a"), b"ab", Arc::new(b"abc".to_vec())).artifact();
    let errors = [
        oci::write(&at("source"), &hello, &[], &silent).expect_err("no layout"),
        oci::write(&at("file/out"), &hello, &[], &silent).expect_err("no folder"),
        oci::read(&at("source"), None).map(drop).expect_err("no layout"),
        oci::read(&at("out"), Some("app:1.1")).map(drop).expect_err("no name"),
        oci::read(&at("out"), Some("zzz")).map(drop).expect_err("no name"),
        oci::read(&at("out"), None).map(drop).expect_err("two"),
        oci::write(&at("new"), &broken(), &[], &silent).expect_err("fails"),
        oci::write(&at("new"), &lying(), &[], &silent).expect_err("lies"),
        oci::write(&at("new"), &cut, &[], &silent).expect_err("too short"),
        oci::write(&at("new"), &long, &[], &silent).expect_err("too long"),
        oci_archive::write(&at("none/a.tar"), &hello, &[], &silent).expect_err("no folder"),
        oci_archive::write(&at("source"), &hello, &[], &silent).expect_err("a folder"),
        oci_archive::write(Path::new("/dev/full"), &hello, &[], &silent).expect_err("a full disk"),
        docker_archive::write(&at("a.tar"), &lying(), &[], &silent).expect_err("lies"),
        docker_archive::write(&at("a.tar"), &many, &[], &silent).expect_err("two platforms"),
        docker_archive::write(&at("a.tar"), &odd, &[], &silent).expect_err("another media type"),
    ];
    let text: Vec<String> = errors.iter().map(|e: &SinkError| told(e)).collect();
    assert_told!(dir.path(), text.join("\n"));
}

#[test]
fn layouts_that_are_damaged_are_not_trusted() {
    let dir = temporary();
    let artifact = random_image::hello();
    let image = &artifact.images[0];
    let damage: [(&str, Digest, Option<&[u8]>); 5] = [
        ("manifest", image.manifest.digest, Some(b"{}")),
        ("manifest gone", image.manifest.digest, None),
        ("config", image.config.digest, Some(b"{}")),
        ("layer gone", image.layers[0].digest, None),
        ("layer cut", image.layers[0].digest, Some(b"cut")),
    ];
    let mut text = String::new();
    for (what, digest, bytes) in damage {
        let out = dir.path().join("out");
        let _ = fs::remove_dir_all(&out);
        oci::write(&out, &artifact, &[], &Ui::silent()).expect("write");
        let blob = out.join("blobs/sha256").join(digest.hex());
        fs::remove_file(&blob).expect("remove");
        if let Some(bytes) = bytes {
            fs::write(&blob, bytes).expect("write");
        }
        let error = oci::read(&out, None).expect_err(what);
        text += &format!("{what}: {}\n", told(&error));
        // Writing it again repairs what has another length or is gone.
        oci::write(&out, &artifact, &[], &Ui::silent()).expect("write");
        assert_same(&oci::read(&out, None).expect("repaired"), &artifact);
    }
    fs::write(dir.path().join("out/index.json"), "[").expect("write");
    text += &told(&oci::read(&dir.path().join("out"), None).expect_err("no index"));
    let here = regex_escape(dir.path());
    let filters = vec![(here.as_str(), "DIR"), (r"[0-9a-f]{64}", "HEX"), (r"\d+ bytes", "N bytes")];
    insta::with_settings!({ filters => filters }, { insta::assert_snapshot!(text) });
}

#[test]
fn folders_that_may_not_be_written_are_explained() {
    let dir = temporary();
    let layout = dir.path().join("layout");
    oci::write(&layout, &random_image::random(3), &names(&["old"]), &Ui::silent()).expect("write");
    let modes = |mode: u32| {
        for folder in [dir.path(), &layout, &layout.join("blobs"), &layout.join("blobs/sha256")] {
            fs::set_permissions(folder, fs::Permissions::from_mode(mode)).expect("chmod");
        }
    };
    modes(0o555);
    let mut command = child("refused", dir.path());
    if is_root() {
        // Root may write everywhere.
        command.uid(65534).gid(65534);
    }
    let output = command.output();
    modes(0o755);
    let Ok(output) = output else { return skip("the tests' program may not be run by another user") };
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> =
        stdout.lines().filter(|l| ["cannot", "hint:", "exit:"].iter().any(|w| l.starts_with(w))).collect();
    assert_told!(dir.path(), lines.join("\n"));
    assert_same(&oci::read(&layout, Some("old")).expect("as it was"), &random_image::random(3));
}

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
            let written = microbuild::sink::write(&output, artifact, &names(&["not-this"]), &Ui::silent());
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
        microbuild::sink::write(&output, &artifact, std::slice::from_ref(&name), &Ui::silent()).expect("write");
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
