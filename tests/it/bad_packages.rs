//! Packages and indexes that are not what they should be: each is refused with its exit code and a message that names it,
//! and nothing of it is trusted later.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use microbuild::internals::{
    apk::index::{self, Record},
    digest::Digest,
    error::{Explain as _, Kind},
    fetch::{FetchError, Fetcher},
    http::{Http, HttpOptions},
    location::Location,
    package::locked::{Because, Locked, Selection},
    store::Store,
    ui::Ui,
};

use crate::support::{
    Finished, Home,
    apk_file::{Entry, Node},
    fake_repo::{Package, Repo},
    leftovers::assert_nothing_left,
    mirror_server::{Failure, MirrorServer},
    run,
};

/// The folder of a mirror that holds the packages.
const FOLDER: &str = "v3.23/main/x86_64";

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// What every bad package would be if nothing were wrong with it.
fn good() -> Package {
    Package::new("a", "1-r0").file("usr/bin/a", 0o755, "#!/bin/sh\n").symlink("usr/bin/b", "a")
}

/// Builds an image of the package `a` of `mirror`.
fn build(home: &Home, mirror: &str, keys: &Path) -> Finished {
    let recipe = "name = \"a\"\ndescription = \"-\"\n[base.alpine]\npackages = [\"a\"]\n[app]\ncmd = [\"/run/a\"]\n";
    fs::write(home.path().join("a.toml"), recipe).expect("a recipe");
    fs::create_dir_all(home.path().join("app")).expect("an app");
    fs::write(home.path().join("app/main"), "").expect("an app");
    let mut command = home.microbuild(["./a.toml", "app", "--base", "alpine:3.23", "--platform", "linux/amd64"]);
    run(command.args(["-o", "oci:out", "--mirror", mirror, "--keys"]).arg(keys))
}

/// A way to be bad.
struct Case {
    title: &'static str,
    repo: Repo,
    code: i32,
    /// What is done to the folder of packages once it is published.
    after: fn(&Path),
    /// Whether `a` itself is as it should be, and only does not fit with other packages.
    verifies: bool,
}

fn case(title: &'static str, repo: Repo, code: i32) -> Case {
    Case { title, repo, code, after: |_| {}, verifies: false }
}

fn package(title: &'static str, package: Package) -> Case {
    case(title, Repo::new().with(package), 4)
}

fn raw(title: &'static str, path: impl Into<String>, node: Node) -> Case {
    package(title, good().raw(Entry::new(path, 0o644, node)))
}

fn replaced(title: &'static str, after: fn(&Path)) -> Case {
    Case { after, ..package(title, good()) }
}

fn file() -> Node {
    Node::File(b"x".to_vec())
}

fn cases() -> Vec<Case> {
    let link = |target: &str| Node::Hardlink(target.into());
    let linked = Package::new("l", "1-r0").symlink("usr/share", "/etc");
    vec![
        case("index: wrong signature", Repo::new().with(good()).wrong_signature(), 4),
        case("index: unknown key", Repo::new().with(good()).unknown_key(), 4),
        case("index: unsigned", Repo::new().with(good()).unsigned(), 4),
        case("index: truncated", Repo::new().with(good()).truncated_by(50), 4),
        package("wrong C:", good().wrong_checksum()),
        package("wrong datahash", good().wrong_datahash()),
        package("file is shorter than S: says", good().truncated_by(40)),
        package("file is cut in its control part", good().truncated_by(500)),
        package("file is longer than S: says", good().followed_by("more")),
        package("index names a smaller size", good().index_size(900)),
        package("index names a larger size", good().index_size(1 << 20)),
        replaced("another package under its name", |folder| {
            fs::write(folder.join("a-1-r0.apk"), Package::new("a", "1-r0").file("x", 0o644, "").build().bytes)
                .expect("a file");
        }),
        Case {
            after: |folder| {
                fs::write(folder.join("a-1-r0.apk"), Package::new("b", "2-r0").build().bytes).expect("a file");
            },
            ..case(
                "index gives another package's checksum",
                Repo::new()
                    .record(&Package::new("b", "2-r0").build().record.replace("P:b", "P:a").replace("V:2", "V:1")),
                4,
            )
        },
        replaced("an error page", |folder| fs::write(folder.join("a-1-r0.apk"), "<html>busy</html>").expect("a file")),
        replaced("an empty file", |folder| fs::write(folder.join("a-1-r0.apk"), "").expect("a file")),
        replaced("format 3", |folder| fs::write(folder.join("a-1-r0.apk"), "ADBd1234").expect("a file")),
        Case { code: 3, ..replaced("no file", |folder| fs::remove_file(folder.join("a-1-r0.apk")).expect("a file")) },
        raw("..", "usr/../../out", file()),
        raw("absolute path", "/etc/shadow", file()),
        raw("empty part", "usr//a", file()),
        raw("dot part", "usr/./a", file()),
        raw("deletion", "usr/.wh.bin", file()),
        raw("control character", "usr/a\x1b[31m", file()),
        raw("new line", "usr/a\nF:etc", file()),
        raw("long name", "n".repeat(256), file()),
        raw("long path", "d/".repeat(2100) + "f", file()),
        raw("hard link to an absolute path", "usr/link", link("/etc/shadow")),
        raw("hard link out of the root", "usr/link", link("../../etc/shadow")),
        raw("hard link to what is not there", "usr/link", link("usr/bin/none")),
        raw("hard link to a symbolic link", "usr/link", link("usr/bin/b")),
        raw("hard link without a target", "usr/link", link("")),
        raw("symbolic link without a target", "usr/link", Node::Symlink(String::new())),
        raw("device", "dev/sda", Node::Device { major: 8, minor: 0 }),
        raw("pipe", "run/pipe", Node::Fifo),
        Case { verifies: true, ..raw("a file below a link of its own", "usr/bin/b/c", file()) },
        Case {
            verifies: true,
            ..case(
                "a file below another package's link",
                Repo::new().with(good().depends("l").raw(Entry::file("usr/share/passwd", 0o644, "x"))).with(linked),
                4,
            )
        },
        Case {
            verifies: true,
            ..case(
                "a file of two packages",
                Repo::new().with(good().depends("l")).with(Package::new("l", "1-r0").file("usr/bin/a", 0o755, "l")),
                1,
            )
        },
        package("bomb", good().bomb("usr/zeros", 32 << 20)),
        raw("bomb of headers", "n".repeat(70 << 20), file()),
        package("bomb in the control part", good().post_install(&"#".repeat(9 << 20))),
    ]
}

#[test]
fn bad_packages_are_refused_and_nothing_of_them_is_trusted() {
    let fixed = temporary();
    let fixed_keys = Repo::new().with(good()).publish(fixed.path());
    Repo::new().beside("community").publish(fixed.path());
    let fixed_mirror = fixed.path().to_str().expect("UTF-8");
    let expected = build(&Home::new(), fixed_mirror, &fixed_keys);
    let mut told = String::new();
    for case in cases() {
        let dir = temporary();
        let keys = case.repo.publish(dir.path());
        Repo::new().beside("community").publish(dir.path());
        (case.after)(&dir.path().join(FOLDER));
        let home = Home::new();
        let finished = build(&home, dir.path().to_str().expect("UTF-8"), &keys);
        assert!(!finished.stderr.contains("panicked"), "{}: {}", case.title, finished.stderr);
        assert_eq!(finished.code, Some(case.code), "{}: {}", case.title, finished.stderr);
        assert_eq!(finished.stdout, "", "{}", case.title);
        let said = finished.stderr.replace(dir.path().to_str().expect("UTF-8"), "MIRROR");
        writeln!(told, "# {}\n{}", case.title, said.trim_end()).expect("memory");
        assert_nothing_left(&home, case.title, (!case.verifies).then_some("a"));
        let mended = build(&home, fixed_mirror, &fixed_keys);
        assert_eq!(mended.succeeds(), expected.succeeds(), "{}", case.title);
    }
    insta::assert_snapshot!(told);
}

/// A mirror over HTTP with the package `a`, a fetcher with an empty store, and the package as it is locked.
struct Network {
    server: MirrorServer,
    store: Store,
    fetcher: Fetcher,
    folder: Location,
    locked: Locked<Record>,
    _dir: tempfile::TempDir,
}

impl Network {
    fn new() -> Self {
        let dir = temporary();
        let package = good().file("usr/share/a", 0o644, "words ".repeat(20_000));
        let record = package.build().record;
        Repo::new().with(package).publish(dir.path());
        let server = MirrorServer::start(dir.path());
        let store = Store::open(&dir.path().join("cache")).expect("a store");
        let options = HttpOptions {
            retries: 3,
            backoff: Duration::from_millis(1),
            idle_timeout: Duration::from_millis(700),
            ..HttpOptions::default()
        };
        let fetcher = Fetcher::new(Http::new(options).expect("a client"), store.clone(), Ui::silent(), false);
        let record = index::parse(&record).expect("a record").records.pop().expect("one");
        let folder = Location::new(&server.url()).join(FOLDER);
        Self {
            server,
            store,
            fetcher,
            folder: folder.clone(),
            locked: Locked {
                location: folder.join(&record.file_name()),
                record,
                because: Because::Request("a".into()),
                selection: Selection::Stripped,
            },
            _dir: dir,
        }
    }

    fn package(&self) -> Result<(), FetchError> {
        self.fetcher.packages(std::slice::from_ref(&self.locked)).map(|packages| assert_eq!(packages.len(), 1))
    }

    fn index(&self) -> Result<(), FetchError> {
        self.fetcher.index(&self.folder.join("APKINDEX.tar.gz")).map(drop)
    }

    /// The blobs of the store; fails when one is not what its name says.
    fn blobs(&self) -> usize {
        let blobs = self.store.blobs().list().expect("a store");
        for blob in &blobs {
            let bytes = fs::read(self.store.blobs().path(&blob.digest)).expect("a blob");
            assert_eq!(Digest::of(bytes), blob.digest);
        }
        blobs.len()
    }
}

#[test]
fn what_passes_is_tried_again() {
    for (failure, times) in [
        (Failure::Status(500, None), 2),
        (Failure::Status(503, Some(0)), 3),
        (Failure::Status(429, Some(1)), 1),
        (Failure::CloseAfter(0), 1),
        (Failure::CloseAfter(100), 2),
        (Failure::CloseAfter(1000), 3),
        (Failure::StallAfter(300), 1),
    ] {
        let network = Network::new();
        network.server.fail("a-1-r0.apk", times, failure);
        network.server.fail("APKINDEX.tar.gz", times, failure);
        network.index().unwrap_or_else(|e| panic!("{failure:?}: {e}"));
        network.package().unwrap_or_else(|e| panic!("{failure:?}: {e}"));
        assert_eq!(network.server.count("a-1-r0.apk"), times + 1, "{failure:?}");
        assert_eq!(network.blobs(), 1);
        network.package().expect("from the store");
        assert_eq!(network.server.count("a-1-r0.apk"), times + 1, "it is not fetched twice");
    }
}

#[test]
fn what_does_not_pass_is_an_error_of_the_network() {
    for (failure, attempts) in [
        (Failure::Status(404, None), 1),
        (Failure::Status(403, None), 1),
        (Failure::Status(500, None), 4),
        (Failure::Status(429, Some(3600)), 1),
        (Failure::CloseAfter(0), 4),
        (Failure::CloseAfter(1000), 4),
        (Failure::StallAfter(1000), 4),
    ] {
        let network = Network::new();
        network.server.fail("a-1-r0.apk", usize::MAX, failure);
        let error = network.package().expect_err("it never succeeds");
        assert_eq!(error.kind(), Kind::Network, "{failure:?}: {error}");
        assert!(error.to_string().contains("a-1-r0"), "{failure:?}: {error}");
        assert_eq!(network.server.count("a-1-r0.apk"), attempts, "{failure:?}: {error}");
        assert_eq!(network.blobs(), 0, "{failure:?}");
    }
}

#[test]
fn a_file_that_ends_early_is_not_trusted() {
    let network = Network::new();
    let size = network.locked.record.size;
    for bytes in [0, 1, 300, 700, size - 1] {
        network.server.fail("a-1-r0.apk", 1, Failure::TruncateTo(bytes));
        let error = network.package().expect_err("it is cut");
        assert_eq!(error.kind(), Kind::Unverified, "{bytes}: {error}");
        assert_eq!(network.blobs(), 0, "{bytes}");
    }
    network.package().expect("whole now");
}

#[test]
fn a_mirror_that_fails_is_told() {
    let dir = temporary();
    let keys: PathBuf = Repo::new().with(good()).publish(dir.path());
    Repo::new().beside("community").publish(dir.path());
    let server = MirrorServer::start(dir.path());
    let mut told = String::new();
    for (path, failure) in [
        ("/main/x86_64/APKINDEX.tar.gz", Failure::Status(404, None)),
        ("/main/x86_64/APKINDEX.tar.gz", Failure::TruncateTo(200)),
        ("a-1-r0.apk", Failure::Status(404, None)),
        ("a-1-r0.apk", Failure::Status(429, Some(3600))),
        ("a-1-r0.apk", Failure::TruncateTo(700)),
    ] {
        server.fail(path, 1, failure);
        let home = Home::new();
        let finished = build(&home, &server.url(), &keys);
        let said = finished.stderr.replace(&server.url(), "MIRROR");
        writeln!(told, "# {path} {failure:?}: exit code {:?}\n{}", finished.code, said.trim_end()).expect("memory");
        build(&home, &server.url(), &keys).succeeds();
    }
    insta::assert_snapshot!(told);
}
