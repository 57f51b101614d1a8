//! Debian's archives, packages and keys that are not what they should be: each is refused with its exit code and a message
//! that names it, and nothing of it is trusted later. [`builds`] has what is as it should be.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use microbuild::internals::{
    deb::{control::paragraphs, record::Record},
    digest::Digest,
    error::{Explain as _, Kind},
    fetch::{FetchError, Fetcher},
    http::{Http, HttpOptions},
    location::Location,
    package::locked::{Because, Locked, Selection},
    store::Store,
    ui::Ui,
};
use tempfile::TempDir;

use crate::support::{
    Finished, Home,
    apk_file::{Entry, Node},
    fake_debian::{Archive, Deb, Signer, node_debs},
    leftovers::assert_nothing_left,
    mirror_server::{Failure, MirrorServer},
    run, skip, tool,
    workbench::{example, noise, temporary, text},
};

mod builds;

/// What every bad archive would be if nothing were wrong with it.
fn good() -> Archive {
    Archive::new("bookworm").with_all(node_debs())
}

/// The same with another nodejs.
fn node(change: impl FnOnce(Deb) -> Deb) -> Archive {
    good().with_changed("nodejs", change)
}

/// A folder with a mirror in it, which can be served, and a PATH with only one program that checks signatures.
struct Bench {
    dir: TempDir,
    programs: TempDir,
    signer: Arc<Signer>,
}

impl Bench {
    /// An empty mirror, and gpgv; a skip where gpg is missing.
    #[track_caller]
    fn new() -> Option<Self> {
        let signer = Signer::shared()?;
        Some(Self { dir: temporary(), programs: with_program("gpgv")?, signer })
    }

    /// The mirror that holds `archive`.
    #[track_caller]
    fn of(archive: &Archive) -> Option<Self> {
        let bench = Self::new()?;
        bench.publish(archive);
        Some(bench)
    }

    fn mirror(&self) -> PathBuf {
        self.dir.path().join("debian")
    }

    fn keys(&self) -> PathBuf {
        self.mirror().join("keys.asc")
    }

    fn publish(&self, archive: &Archive) {
        archive.publish(&self.mirror(), &self.signer);
    }

    /// The mirror, from nothing.
    fn replace(&self, archive: &Archive) {
        let _ = fs::remove_dir_all(self.mirror());
        self.publish(archive);
    }

    fn serve(&self) -> MirrorServer {
        MirrorServer::start(self.dir.path())
    }

    /// `microbuild node EXAMPLE --mirror MIRROR` of bookworm for linux/amd64, unless told otherwise, and without keys.
    fn bare(&self, home: &Home, mirror: &str) -> Command {
        let mut command = home.microbuild(["node", &text(&example()), "--mirror", mirror]);
        command.env("PATH", self.programs.path());
        command.env("MICROBUILD_BASE", "debian:bookworm").env("MICROBUILD_PLATFORM", "linux/amd64");
        command
    }

    /// The same with the mirror's keys.
    fn command(&self, home: &Home, mirror: &str) -> Command {
        let mut command = self.bare(home, mirror);
        command.arg("--keys").arg(self.keys());
        command
    }

    /// Builds from the folder in a home of its own.
    fn build(&self, args: &[&str]) -> Finished {
        run(self.command(&Home::new(), &text(&self.mirror())).args(args))
    }
}

/// A folder with nothing but the program; a skip where there is none.
#[track_caller]
fn with_program(name: &str) -> Option<TempDir> {
    let Some(program) = tool(name) else {
        skip(&format!("{name} not installed"));
        return None;
    };
    let folder = temporary();
    std::os::unix::fs::symlink(program, folder.path().join(name)).expect("a link");
    Some(folder)
}

/// What differs from run to run and from machine to machine replaced: folders, ports, keys, hashes.
fn redacted(bench: &Bench, said: &str) -> String {
    // That most of these mirrors have no security updates is said each time; `rollback` tests that.
    let is_known = |line: &&str| line.starts_with("warning: ") && line.contains("-security was not found");
    let said: String = said.split_inclusive('\n').filter(|line| !is_known(line)).collect();
    let said = said.replace(&text(&bench.mirror()), "MIRROR").replace(&text(bench.dir.path()), "DIR");
    let mut out = String::new();
    for word in said.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let (bare, end) = word.split_at(word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).len());
        let is_hex = bare.bytes().all(|c| c.is_ascii_hexdigit());
        let is_port = out.ends_with("127.0.0.1:") && bare.parse::<u16>().is_ok();
        out += match bare.len() {
            _ if is_port => "PORT",
            16 | 40 if is_hex => "KEY",
            64 if is_hex => "HASH",
            _ => bare,
        };
        out += end;
    }
    // A machine has keyrings of its own.
    let (begin, end) = ("by a trusted key (", ")");
    if let Some((before, rest)) = out.split_once(begin)
        && let Some((_, after)) = rest.split_once(end)
    {
        return format!("{before}{begin}KEYRINGS{end}{after}");
    }
    out
}

/// A way to be bad.
struct Case {
    title: &'static str,
    archive: Archive,
    code: i32,
    /// What is done to the mirror once it is published.
    after: fn(&Path),
    args: &'static [&'static str],
    /// Whether nodejs itself is as it should be.
    verifies: bool,
}

fn case(title: &'static str, archive: Archive, code: i32) -> Case {
    Case { title, archive, code, after: |_| {}, args: &[], verifies: true }
}

/// The mirror is changed after it was published.
fn changed(title: &'static str, code: i32, after: fn(&Path)) -> Case {
    Case { after, ..case(title, good(), code) }
}

/// nodejs is broken.
fn package(title: &'static str, change: impl FnOnce(Deb) -> Deb) -> Case {
    Case { verifies: false, ..case(title, node(change), 4) }
}

fn raw(title: &'static str, path: &str, kind: Node) -> Case {
    package(title, |deb| deb.raw(Entry::new(path, 0o644, kind)))
}

/// nodejs' file is another one.
fn file(title: &'static str, code: i32, after: fn(&Path)) -> Case {
    Case { verifies: false, ..changed(title, code, after) }
}

const IN_RELEASE: &str = "dists/bookworm/InRelease";
const LIST: &str = "dists/bookworm/main/binary-amd64/Packages.xz";
const BY_HASH: &str = "dists/bookworm/main/binary-amd64/by-hash/SHA256";
const NODE: &str = "pool/main/n/nodejs/nodejs_18.19.0+dfsg-6~deb12u2_amd64.deb";

/// Changes the text of the file.
fn edit(path: &Path, change: impl FnOnce(String) -> String) {
    fs::write(path, change(fs::read_to_string(path).expect("a text"))).expect("a file");
}

/// Changes the list of packages, under its name and under its hash.
fn edit_list(mirror: &Path, change: fn(&mut Vec<u8>)) {
    let by_hash = fs::read_dir(mirror.join(BY_HASH)).expect("a folder").map(|entry| entry.expect("an entry").path());
    for path in by_hash.chain([mirror.join(LIST)]) {
        let mut bytes = fs::read(&path).expect("a list");
        change(&mut bytes);
        fs::write(path, bytes).expect("a list");
    }
}

fn releases() -> Vec<Case> {
    vec![
        changed("InRelease: a changed byte", 4, |mirror| {
            edit(&mirror.join(IN_RELEASE), |text| text.replace("Label: Debian", "Label: Debiam"));
        }),
        changed("InRelease: more behind the signature", 4, |mirror| {
            edit(&mirror.join(IN_RELEASE), |text| text + "Origin: Debian\n");
        }),
        changed("InRelease: cut", 4, |mirror| {
            edit(&mirror.join(IN_RELEASE), |text| text[..text.find("-----END").expect("an end")].to_owned());
        }),
        changed("InRelease: a page", 4, |mirror| {
            edit(&mirror.join(IN_RELEASE), |_| "<html>busy</html>".to_owned());
        }),
        changed("InRelease: missing", 3, |mirror| fs::remove_file(mirror.join(IN_RELEASE)).expect("a file")),
        changed("suite: missing", 3, |mirror| fs::remove_dir_all(mirror.join("dists/bookworm")).expect("a folder")),
        case("InRelease: signed by a stranger", good().by_stranger(), 4),
        case("InRelease: not signed", good().unsigned(), 4),
        case("Release.gpg: of another text", good().detached_from_another(), 4),
        Case {
            after: |mirror| {
                fs::remove_file(mirror.join("dists/bookworm/Release.gpg")).expect("a file");
            },
            ..case("Release: not signed", good().detached(), 4)
        },
        case("Valid-Until: passed", good().set("Valid-Until", "Sat, 24 May 2025 09:20:01 UTC"), 4),
        case("Release: of another suite", good().set("Codename", "trixie").set("Suite", "testing"), 4),
        case("Release: no date", good().set("Date", "yesterday"), 1),
        case("Release: no list for the architecture", good().architectures("arm64"), 2),
        Case { args: &["--platform", "linux/arm64"], ..case("the other way round", good(), 2) },
        Case { args: &["--platform", "linux/ppc64"], ..case("no architecture of Debian's", good(), 2) },
        changed("keyring: none", 2, |mirror| fs::write(mirror.join("keys.asc"), "none").expect("a file")),
        changed("keyring: an empty folder", 2, |mirror| {
            fs::remove_file(mirror.join("keys.asc")).expect("a file");
            fs::create_dir(mirror.join("keys.asc")).expect("a folder");
        }),
        changed("keyring: missing", 2, |mirror| fs::remove_file(mirror.join("keys.asc")).expect("a file")),
    ]
}

fn lists() -> Vec<Case> {
    vec![
        changed("Packages: other bytes", 4, |mirror| {
            edit_list(mirror, |bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            });
        }),
        changed("Packages: longer", 4, |mirror| edit_list(mirror, |bytes| bytes.extend([0; 100]))),
        changed("Packages: shorter", 4, |mirror| edit_list(mirror, |bytes| bytes.truncate(100))),
        changed("Packages: missing", 3, |mirror| {
            fs::remove_file(mirror.join(LIST)).expect("a file");
            fs::remove_dir_all(mirror.join(BY_HASH)).expect("a folder");
        }),
        case("Packages: a record that cannot be read", node(|deb| deb.field("Size", "many")), 1),
        case("Packages: a path out of the mirror", node(|deb| deb.field("Filename", "../../etc/passwd")), 1),
        case("Packages: a dependency that cannot be read", node(|deb| deb.field("Pre-Depends", "libc6 (>> ")), 1),
    ]
}

fn packages() -> Vec<Case> {
    let link = |target: &str| Node::Hardlink(target.into());
    vec![
        package("package: a changed byte in control", |deb| deb.changed_in("control")),
        package("package: a changed byte in data", |deb| deb.changed_in("data")),
        package("package: cut in data", |deb| deb.truncated_by(40)),
        package("package: cut in control", |deb| deb.truncated_by(600)),
        package("package: longer", |deb| deb.followed_by("more")),
        package("package: control says another version", |deb| deb.but_says("Version", "18.20.0-1")),
        package("package: control says another name", |deb| deb.but_says("Package", "python3")),
        package("package: control says another architecture", |deb| deb.but_says("Architecture", "arm64")),
        file("package: an error page", 4, |mirror| fs::write(mirror.join(NODE), "<html>busy</html>").expect("a file")),
        file("package: empty", 4, |mirror| fs::write(mirror.join(NODE), "").expect("a file")),
        file("package: missing", 3, |mirror| fs::remove_file(mirror.join(NODE)).expect("a file")),
        file("package: another one under its name", 4, |mirror| {
            fs::write(mirror.join(NODE), Deb::new("nodejs", "18.19.0+dfsg-6~deb12u2").build("main").bytes)
                .expect("a file");
        }),
        raw("..", "./../x", Node::File(b"x".to_vec())),
        raw("absolute path", "/etc/shadow", Node::File(b"x".to_vec())),
        raw("deletion", "./usr/bin/.wh.node", Node::File(Vec::new())),
        raw("device", "./dev/sda", Node::Device { major: 8, minor: 0 }),
        raw("pipe", "./run/pipe", Node::Fifo),
        raw("hard link out of the root", "./usr/bin/shadow", link("./../etc/shadow")),
        raw("symbolic link without a target", "./usr/bin/none", Node::Symlink(String::new())),
        raw("bomb", "./usr/zeros", Node::Zeros(32 << 20)),
        Case {
            verifies: true,
            ..raw("a file below a link of its own", "./usr/bin/nodejs/x", Node::File(b"x".to_vec()))
        },
    ]
}

/// Builds from each bad mirror, as a folder and over HTTP, and then from the mended one at the same place and in the same
/// home; what was said.
fn told(bench: &Bench, cases: Vec<Case>) -> String {
    let server = bench.serve();
    bench.publish(&good());
    let expected = bench.build(&[]).succeeds().to_owned();
    let mut told = String::new();
    for case in cases {
        let title = case.title;
        let mut before = String::new();
        for mirror in [text(&bench.mirror()), format!("{}/debian", server.url())] {
            bench.replace(&case.archive);
            (case.after)(&bench.mirror());
            let home = Home::new();
            let finished = run(bench.command(&home, &mirror).args(["-o", "oci:out"]).args(case.args));
            assert!(!finished.stderr.contains("panicked"), "{title}: {}", finished.stderr);
            assert_eq!(finished.code, Some(case.code), "{title}: {}", finished.stderr);
            assert_eq!(finished.stdout, "", "{title}");
            let said = redacted(bench, finished.stderr.trim_end());
            let alike = said.replace("http://127.0.0.1:PORT/debian", "MIRROR");
            if alike != before {
                let how = if before.is_empty() { "" } else { " (over HTTP)" };
                writeln!(told, "# {title}{how}: {}\n{said}", case.code).expect("memory");
                before = alike;
            }
            assert_nothing_left(&home, case.title, (!case.verifies).then_some("nodejs"));
            bench.replace(&good());
            assert_eq!(run(&mut bench.command(&home, &mirror)).succeeds(), expected, "{title}");
        }
    }
    told
}

#[test]
fn bad_releases_are_refused() {
    let Some(bench) = Bench::new() else { return };
    insta::assert_snapshot!(told(&bench, releases()));
}

#[test]
fn bad_lists_are_refused() {
    let Some(bench) = Bench::new() else { return };
    insta::assert_snapshot!(told(&bench, lists()));
}

#[test]
fn bad_packages_are_refused() {
    let Some(bench) = Bench::new() else { return };
    insta::assert_snapshot!(told(&bench, packages()));
}

#[test]
fn both_programs_that_check_signatures_come_to_the_same() {
    for program in ["gpgv", "sqv"] {
        let Some(mut bench) = Bench::of(&good()) else { return };
        let Some(programs) = with_program(program) else { continue };
        bench.programs = programs;
        bench.build(&[]).succeeds();
        for (bad, what) in [
            (good().by_stranger(), "expected a signature by a trusted key ("),
            (good().detached_from_another(), "expected a valid signature, found one that does not count"),
        ] {
            bench.replace(&bad);
            let refused = bench.build(&[]);
            assert_eq!(refused.exits(4), "");
            assert!(refused.stderr.contains(what), "{program}: {}", refused.stderr);
        }
    }
}

#[test]
fn without_keys_or_a_program_to_check_with_nothing_is_trusted() {
    let Some(mut bench) = Bench::of(&good()) else { return };
    let mirror = text(&bench.mirror());
    // The machine's own keys, if it has any, are none of this archive's.
    let refused = run(&mut bench.bare(&Home::new(), &mirror));
    assert_eq!(refused.exits(4), "");
    assert!(refused.stderr.contains("InRelease: expected ") && refused.stderr.contains("--keys"), "{}", refused.stderr);
    bench.programs = temporary();
    let refused = bench.build(&[]);
    assert_eq!(refused.exits(4), "");
    let said = "error: cannot check the signature: neither sqv nor gpgv is on PATH\nhint: install one of them: ";
    assert!(refused.stderr.starts_with(said), "{}", refused.stderr);
}

#[test]
fn keys_of_a_request_are_named_in_its_error() {
    let Some(bench) = Bench::of(&good().by_stranger()) else { return };
    let refused = bench.build(&[]);
    assert!(refused.stderr.contains(&text(&bench.keys())), "{}", refused.stderr);
}

/// A mirror over HTTP, a fetcher with an empty store, and nodejs as it is locked.
struct Network {
    server: MirrorServer,
    store: Store,
    fetcher: Fetcher,
    list: (Digest, u64),
    locked: Locked<Record>,
    _bench: Bench,
}

impl Network {
    #[track_caller]
    fn new() -> Option<Self> {
        let deb = Deb::new("nodejs", "18.19.0+dfsg-6~deb12u2").file("usr/bin/node", 0o755, noise(1, 5000));
        let record = deb.build("main").record;
        let bench = Bench::of(&good().without("nodejs").with(deb))?;
        let server = bench.serve();
        let store = Store::open(&bench.dir.path().join("cache")).expect("a store");
        let options = HttpOptions {
            retries: 3,
            backoff: Duration::from_millis(1),
            idle_timeout: Duration::from_millis(700),
            ..HttpOptions::default()
        };
        let fetcher = Fetcher::new(Http::new(options).expect("a client"), store.clone(), Ui::silent(), false);
        let list = fs::read(bench.mirror().join(LIST)).expect("a list");
        let record = Record::parse(&paragraphs(&record).next().expect("one")).expect("a record");
        let location = Location::new(&server.url()).join("debian").join(NODE);
        let locked =
            Locked { record, location, because: Because::Request("nodejs".into()), selection: Selection::Stripped };
        Some(Self { server, store, fetcher, list: (Digest::of(&list), list.len() as u64), locked, _bench: bench })
    }

    fn at(&self, path: &str) -> Location {
        Location::new(&self.server.url()).join("debian").join(path)
    }

    fn release(&self) -> Result<(), FetchError> {
        self.fetcher.index(&self.at(IN_RELEASE)).map(drop)
    }

    fn list(&self) -> Result<(), FetchError> {
        let (digest, size) = &self.list;
        let bytes = self.fetcher.listed(&[self.at(LIST)], digest, *size, "packages of bookworm")?;
        assert_eq!(Digest::of(bytes), *digest);
        Ok(())
    }

    fn package(&self) -> Result<(), FetchError> {
        self.fetcher.packages(std::slice::from_ref(&self.locked)).map(|packages| assert_eq!(packages.len(), 1))
    }
}

#[test]
fn what_passes_is_tried_again() {
    for (failure, times) in [
        (Failure::Status(503, Some(0)), 2),
        (Failure::CloseAfter(0), 1),
        (Failure::CloseAfter(200), 3),
        (Failure::StallAfter(100), 1),
    ] {
        let Some(network) = Network::new() else { return };
        for file in [IN_RELEASE, LIST, NODE] {
            network.server.fail(file, times, failure);
        }
        network.release().unwrap_or_else(|e| panic!("{failure:?}: {e}"));
        network.list().unwrap_or_else(|e| panic!("{failure:?}: {e}"));
        network.package().unwrap_or_else(|e| panic!("{failure:?}: {e}"));
        for file in [IN_RELEASE, LIST, NODE] {
            assert_eq!(network.server.count(file), times + 1, "{failure:?}: {file}");
        }
    }
}

#[test]
fn what_does_not_pass_is_an_error_of_the_network() {
    for (failure, attempts) in [
        (Failure::Status(404, None), 1),
        (Failure::Status(500, None), 4),
        (Failure::CloseAfter(100), 4),
        (Failure::StallAfter(100), 4),
    ] {
        let Some(network) = Network::new() else { return };
        for file in [IN_RELEASE, LIST, NODE] {
            network.server.fail(file, usize::MAX, failure);
        }
        for (file, error) in [(IN_RELEASE, network.release()), (LIST, network.list()), (NODE, network.package())] {
            let error = error.expect_err("it never succeeds");
            assert_eq!(error.kind(), Kind::Network, "{failure:?}: {error}");
            assert_eq!(network.server.count(file), attempts, "{failure:?}: {error}");
        }
        assert!(network.store.blobs().list().expect("a store").is_empty(), "{failure:?}");
    }
}

#[test]
fn a_mirror_that_fails_is_told() {
    let Some(bench) = Bench::of(&good()) else { return };
    let server = bench.serve();
    let mirror = format!("{}/debian", server.url());
    let list = fs::read_dir(bench.mirror().join(BY_HASH)).expect("a folder").next().expect("a list").expect("it");
    let list = list.file_name().into_string().expect("a hash");
    let mut told = String::new();
    for (path, failure) in [
        ("bookworm/InRelease", Failure::Status(403, None)),
        ("bookworm/InRelease", Failure::Status(429, Some(3600))),
        ("bookworm/InRelease", Failure::TruncateTo(300)),
        (&list, Failure::Status(403, None)),
        (&list, Failure::TruncateTo(100)),
        (NODE, Failure::Status(404, None)),
        (NODE, Failure::Status(429, Some(3600))),
        (NODE, Failure::TruncateTo(700)),
    ] {
        server.fail(path, 1, failure);
        let home = Home::new();
        let finished = run(&mut bench.command(&home, &mirror));
        let said = redacted(&bench, &format!("# {path} {failure:?}: {:?}\n{}", finished.code, finished.stderr));
        told += &said;
        run(&mut bench.command(&home, &mirror)).succeeds();
    }
    insta::assert_snapshot!(told);
}
