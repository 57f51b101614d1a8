//! Sinks: layouts and archives, judged by reading them back; what is left when a writer fails or is killed.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use microbuild::internals::{
    digest::Digest,
    error::{Explain, Kind},
    image::Artifact,
    layer::Content,
    layout::{Layout, Transfer},
    media::{GZIP, ZSTD},
    sink::{SinkError, docker_archive, oci, oci_archive},
    ui::Ui,
};
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{
    Process,
    engine::Engine,
    is_root,
    random_image::{self, Failing, PLAIN, TestImage, bytes_of, index_of},
    skip, wait_for,
};

pub(super) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

pub(super) fn temporary() -> tempfile::TempDir {
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

pub(super) fn assert_same(found: &Artifact, expected: &Artifact) {
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
pub(super) fn broken() -> Artifact {
    let tar = random_image::tar_of(&[("a", &[7; 300_000])]);
    let failing = Arc::new(Failing(tar[..200_000].to_vec()));
    TestImage::here()
        .layer("base", &[("base", b"base")])
        .layer_from("app", PLAIN, Digest::of(&tar), &tar, failing)
        .artifact()
}

/// An image whose layer has other bytes of the same length than it says.
pub(super) fn lying() -> Artifact {
    let tar = random_image::tar_of(&[("a", b"truth")]);
    let other = random_image::tar_of(&[("a", b"false")]);
    TestImage::here().layer_from("app", PLAIN, Digest::of(&tar), &tar, Arc::new(other)).artifact()
}

pub(super) fn told(error: &dyn Explain) -> String {
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

pub(super) use assert_told;

pub(super) fn regex_escape(path: &Path) -> String {
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
pub(super) fn child(job: &str, out: &Path) -> Command {
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
        Some(("engine", _)) => {
            let Some(engine) = Engine::start(&[]) else { return };
            // Renamed, so that whoever waits for it reads all of it.
            fs::write(out.join("new"), engine.pid())
                .and_then(|()| fs::rename(out.join("new"), out.join("engine.pid")))
                .expect("write");
            thread::sleep(Duration::from_secs(600));
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
