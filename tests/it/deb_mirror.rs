//! The machine's own Debian mirror, with nothing of apt but its sources: releases are verified, indexes opened, packages
//! fetched. What was fetched is kept in the cache of the tests; the mirror's address is read where apt has it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
};

use jiff::Timestamp;
use microbuild::internals::{
    deb::{
        index::{self, Index},
        key::KeyRing,
        package,
        release::{Release, Unverified},
        signature::Verifier,
        sources::{Source, Sources},
    },
    error::{Explain as _, Kind},
    http::{Http, HttpError, HttpOptions},
    location::Location,
    package::EntryKind,
    store::{BlobDir, replace_file},
};

use crate::support::{run, skip, tools};

/// A suite of the mirror with what it offers.
pub struct Suite {
    pub source: Source,
    pub release: Release,
    pub index: Index,
}

fn cache() -> PathBuf {
    let folder = std::env::var_os("MICROBUILD_TEST_CACHE")
        .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-cache"), PathBuf::from)
        .join("deb");
    fs::create_dir_all(&folder).expect("a cache");
    folder
}

fn http() -> Http {
    Http::new(HttpOptions { retries: 1, ..HttpOptions::default() }).expect("a client")
}

/// The bytes at a location. `None` when there are none.
fn get(location: &Location) -> Result<Option<Vec<u8>>, HttpError> {
    match location {
        Location::Folder(path) => Ok(fs::read(path).ok()),
        Location::Url(url) => http().retrying(|_| match http().get(url) {
            Err(HttpError::Status { status: 404, .. }) => Ok(None),
            response => response?.bytes(256 << 20).map(Some),
        }),
    }
}

fn verifier() -> Option<Verifier> {
    Verifier::find(&std::env::var_os("PATH").unwrap_or_default()).ok()
}

/// Whether this machine's apt sources have the release, for the architecture; a skip where they do not.
#[track_caller]
pub fn has_release(release: &str, architecture: &str) -> bool {
    let asked = family(release, architecture).and_then(|(sources, family)| {
        verifier().ok_or("neither sqv nor gpgv installed")?;
        in_release(&sources, &family[0])?.map(drop).ok_or(format!("the machine's Debian mirror has no {release}"))
    });
    asked.map_err(|why| skip(&why)).is_ok()
}

/// The machine's sources of the release, or the reason why there are none to test with.
fn family(release: &str, architecture: &str) -> Result<(Sources, Vec<Source>), String> {
    let sources = Sources::of_machine(Path::new("/")).map_err(|e| e.to_string())?;
    if sources.distribution != "debian" {
        return Err("this machine is no Debian".to_owned());
    }
    let family = sources.family(release, architecture).map_err(|e| e.to_string())?;
    Ok((sources, family))
}

/// The InRelease of a source and its keys.
fn in_release(sources: &Sources, source: &Source) -> Result<Option<(Vec<u8>, KeyRing)>, String> {
    let keys = source.keys.ring(Path::new("/"), &sources.distribution).map_err(|e| e.to_string())?;
    let location = source.file("InRelease").ok_or("the source cannot be fetched from")?;
    let bytes = get(&location).map_err(|e| format!("the machine's Debian mirror does not answer: {e}"))?;
    Ok(bytes.map(|bytes| (bytes, keys)))
}

/// The suites of a release, fetched and verified once in a run of the tests; a skip where there are none.
#[track_caller]
pub fn suites(release: &str, architecture: &str) -> Option<&'static [Suite]> {
    type Known = Vec<((String, String), Result<&'static [Suite], String>)>;
    static KNOWN: OnceLock<Mutex<Known>> = OnceLock::new();
    let mut known = KNOWN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let key = (release.to_owned(), architecture.to_owned());
    let made = match known.iter().find(|(of, _)| *of == key) {
        Some((_, made)) => made.clone(),
        None => {
            let made = fetch_suites(release, architecture).map(|suites| &*suites.leak());
            known.push((key, made.clone()));
            made
        }
    };
    made.map_err(|why| skip(&why)).ok()
}

fn fetch_suites(release: &str, architecture: &str) -> Result<Vec<Suite>, String> {
    let (sources, family) = family(release, architecture)?;
    let verifier = verifier().ok_or("neither sqv nor gpgv installed")?;
    let mut suites = Vec::new();
    for source in family {
        let Some((bytes, keys)) = in_release(&sources, &source)? else {
            assert!(source.optional, "{} must exist", source.suite);
            continue;
        };
        let name = source.suite.clone();
        let unverified = Unverified::in_release(&bytes, &name).expect("a signed text");
        let release = unverified.verify(&keys, &verifier, &name).expect("a signature that counts");
        release.check(&name, None, &name).expect("the right suite");
        for component in &source.components {
            for list in release.indexes(component, architecture, &name).expect("indexes") {
                let file = &list[0];
                let path = cache().join(file.digest.hex());
                let bytes = fs::read(&path).ok().filter(|bytes| bytes.len() as u64 == file.size);
                let bytes = match bytes {
                    Some(bytes) => bytes,
                    None => {
                        let location = source.file(&file.by_hash()).ok_or("no location")?;
                        let bytes = get(&location).map_err(|e| e.to_string())?.ok_or("no index by its hash")?;
                        replace_file(&path, &bytes).map_err(|e| e.to_string())?;
                        bytes
                    }
                };
                let index = index::open(&bytes, file, &file.path).expect("an index");
                suites.push(Suite { source: source.clone(), release: release.clone(), index });
            }
        }
    }
    Ok(suites)
}

/// The release that this machine runs.
#[track_caller]
pub fn own_release() -> Option<String> {
    let sources = Sources::of_machine(Path::new("/")).map_err(|e| e.to_string());
    let own = sources.and_then(|sources| sources.own_release().map(str::to_owned).map_err(|e| e.to_string()));
    own.map_err(|why| skip(&why)).ok()
}

#[test]
fn a_release_is_believed_only_with_its_signature() {
    let Some(own) = own_release() else { return };
    let (Some(verifier), Some([gpg])) = (verifier(), tools(["gpg"])) else { return };
    let fetched = family(&own, "amd64").and_then(|(sources, family)| {
        let source = family.into_iter().find(|source| source.suite == own).ok_or("no source")?;
        Ok((in_release(&sources, &source)?.ok_or("no InRelease")?, sources))
    });
    let ((bytes, keys), _) = match fetched {
        Ok(fetched) => fetched,
        Err(why) => return skip(&why),
    };
    let verify = |bytes: &[u8], keys: &KeyRing| {
        Unverified::in_release(bytes, "InRelease")
            .and_then(|unverified| unverified.verify(keys, &verifier, "InRelease"))
    };
    let release = verify(&bytes, &keys).expect("a good signature");
    assert!(!release.signed_by.is_empty() && release.is_called(&own));

    let at = bytes.windows(9).position(|window| window == b"Codename:").expect("a codename") + 12;
    let mut changed = bytes.clone();
    changed[at] ^= 1;
    let error = verify(&changed, &keys).expect_err("one byte is another");
    assert_eq!(error.kind(), Kind::Unverified);
    assert!(
        error.to_string().starts_with("InRelease: expected a valid signature, found one that does not count"),
        "{error}"
    );

    let home = tempfile::tempdir().expect("a folder");
    let export = home.path().join("other.asc");
    let mut command = std::process::Command::new(&gpg);
    command.arg("--homedir").arg(home.path()).args(["--batch", "--pinentry-mode", "loopback", "--passphrase", ""]);
    run(command.args(["--quick-generate-key", "nobody <nobody@example.org>", "rsa2048", "sign", "never"])).succeeds();
    let mut command = std::process::Command::new(&gpg);
    run(command.arg("--homedir").arg(home.path()).args(["--armor", "--output"]).arg(&export).arg("--export"))
        .succeeds();
    let mut other = KeyRing::new();
    other.add_path(&export).expect("a key");
    let error = verify(&bytes, &other).expect_err("nobody's key");
    assert_eq!(error.kind(), Kind::Unverified);
    assert!(error.to_string().starts_with("InRelease: expected a signature by a trusted key ("), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("--keys")));
    assert_eq!(verify(&bytes, &KeyRing::new()).expect_err("nobody is trusted").kind(), Kind::Unverified);
}

/// Signs `text` with a key of its own; the key ring, the clear-signed file and the detached signature.
fn sign(gpg: &Path, text: &str) -> (KeyRing, Vec<u8>, Vec<u8>) {
    let home = tempfile::tempdir().expect("a folder");
    let gpg = |args: &[&str]| {
        let mut command = std::process::Command::new(gpg);
        command.arg("--homedir").arg(home.path()).current_dir(home.path());
        run(command.args(["--batch", "--pinentry-mode", "loopback", "--passphrase", ""]).args(args)).succeeds();
    };
    fs::write(home.path().join("Release"), text).expect("written");
    gpg(&["--quick-generate-key", "me <me@example.org>", "rsa2048", "sign", "never"]);
    gpg(&["--output", "InRelease", "--clearsign", "Release"]);
    gpg(&["--output", "Release.gpg", "--armor", "--detach-sign", "Release"]);
    gpg(&["--output", "keys.gpg", "--export"]);
    let mut keys = KeyRing::new();
    keys.add_path(&home.path().join("keys.gpg")).expect("a key");
    let read = |name: &str| fs::read(home.path().join(name)).expect("signed");
    (keys, read("InRelease"), read("Release.gpg"))
}

#[test]
fn every_verifier_takes_both_kinds_of_signatures() {
    let Some([gpg]) = tools(["gpg"]) else { return };
    // Lines with dashes and with white space at their ends are where two ideas of the signed text would differ.
    let text = format!(
        "Suite: stable\nCodename: test \t\nDate: Sat, 17 May 2025 09:20:01 UTC\nValid-Until: Sat, 24 May 2025 09:20:01 UTC\n\
         Description: a\n -----BEGIN\nX-Y: - z\nArchitectures: amd64\nComponents: main\nSHA256:\n {:064} 0 \
         main/binary-amd64/Packages\n",
        0
    );
    let (keys, in_release, detached) = sign(&gpg, &text);
    let verifiers =
        [tools(["gpgv"]).map(|[path]| Verifier::Gpgv(path)), tools(["sqv"]).map(|[path]| Verifier::Sqv(path))];
    for verifier in verifiers.into_iter().flatten() {
        let release = Unverified::in_release(&in_release, "InRelease").expect("signed");
        let release = release.verify(&keys, &verifier, "InRelease").unwrap_or_else(|e| panic!("{verifier:?}: {e}"));
        assert_eq!(release.codename, "test");
        let apart = Unverified::detached(text.clone().into_bytes(), detached.clone(), "Release").expect("text");
        let apart = apart.verify(&keys, &verifier, "Release").unwrap_or_else(|e| panic!("{verifier:?}: {e}"));
        assert_eq!(apart, release);
        let now: Timestamp = "2025-06-01T00:00:00Z".parse().expect("a time");
        let old = release.check("stable", Some(now), "InRelease").expect_err("it has expired");
        assert_eq!(old.kind(), Kind::Unverified);
        let mut changed = in_release.clone();
        let at = changed.windows(4).position(|window| window == b"test").expect("the name");
        changed[at] = b'r';
        let changed = Unverified::in_release(&changed, "InRelease").expect("signed");
        let error = changed.verify(&keys, &verifier, "InRelease").expect_err("changed");
        assert!(error.to_string().contains("found one that does not count"), "{verifier:?}: {error}");
        let (others, ..) = sign(&gpg, "x");
        let unknown = Unverified::in_release(&in_release, "InRelease").expect("signed");
        let error = unknown.verify(&others, &verifier, "InRelease").expect_err("an unknown key");
        assert!(error.to_string().contains("expected a signature by a trusted key"), "{verifier:?}: {error}");
    }
}

#[test]
fn the_indexes_of_the_mirror_are_read() {
    let Some(own) = own_release() else { return };
    for architecture in ["amd64", "arm64"] {
        let Some(suites) = suites(&own, architecture) else { return };
        assert!(suites.len() >= 2, "a release has updates or security updates");
        assert!(suites[0].index.records.len() > 50_000, "{}", suites[0].index.records.len());
        for record in suites.iter().flat_map(|suite| &suite.index.records) {
            let why = |e| panic!("{}: {e}", record.name());
            let _ = record.depends().unwrap_or_else(why).len() + record.conflicts().unwrap_or_else(why).len();
            assert!(record.replaces().is_ok() && record.version().is_valid(), "{}", record.name());
        }
    }
}

/// Fetches the package into the cache. The file's path.
fn fetch(suite: &Suite, name: &str) -> PathBuf {
    let record = suite.index.records.iter().find(|record| record.name() == name).expect("a package");
    let path = cache().join(record.sha256().hex()).with_extension("deb");
    if fs::metadata(&path).map_or(0, |meta| meta.len()) != record.size() {
        let location = suite.source.package(record.filename()).expect("a location");
        let bytes = get(&location).expect("an answer").expect("a package");
        replace_file(&path, &bytes).expect("written");
    }
    path
}

/// A member as `dpkg-deb --contents` shows it: kind and permissions, owners, size, path and target.
fn shown(entry: &microbuild::internals::package::Entry) -> String {
    let (kind, size, target) = match &entry.kind {
        EntryKind::Directory => ('d', 0, String::new()),
        EntryKind::File { size, .. } => ('-', *size, String::new()),
        EntryKind::Symlink(target) => ('l', 0, format!(" -> {target}")),
        EntryKind::Hardlink(target) => ('h', 0, format!(" link to ./{target}")),
    };
    let bit = |bit: u32, sign: char| if entry.mode & bit != 0 { sign } else { '-' };
    let mut bits: Vec<char> = (0..9).map(|at| bit(0o400 >> at, ['r', 'w', 'x'][at % 3])).collect();
    for (special, at, with, without) in [(0o4000, 2, 's', 'S'), (0o2000, 5, 's', 'S'), (0o1000, 8, 't', 'T')] {
        if entry.mode & special != 0 {
            bits[at] = if bits[at] == 'x' { with } else { without };
        }
    }
    let slash = if kind == 'd' { "/" } else { "" };
    format!("{kind}{} {}/{} {size} ./{}{slash}{target}", String::from_iter(bits), entry.user, entry.group, entry.path)
}

#[test]
fn packages_of_the_mirror_are_what_dpkg_sees() {
    let (Some(own), Some([dpkg])) = (own_release(), tools(["dpkg-deb"])) else { return };
    let Some(suites) = suites(&own, "arm64") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let blobs = BlobDir::open(folder.path().join("store")).expect("a store");
    // Hard links and many links; a setuid program; paths that are not ASCII; conffiles; a large library.
    for name in ["tzdata", "mount", "ca-certificates", "base-passwd", "libc6", "perl-base"] {
        let file = fetch(&suites[0], name);
        let record = suites[0].index.records.iter().find(|record| record.name() == name).expect("a package");
        let bytes = fs::read(&file).expect("a package");
        let package = package::verify(&bytes[..], record, &blobs).unwrap_or_else(|e| panic!("{e}"));
        let deb = |action: &str, args: &[&Path]| {
            let mut command = std::process::Command::new(&dpkg);
            run(command.env("TZ", "UTC").arg(action).arg(&file).args(args)).succeeds().to_owned()
        };
        let contents = deb("--contents", &[]);
        let theirs: Vec<String> = (contents.lines())
            .filter(|line| !line.ends_with(" ./"))
            .map(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                [&words[..3], &words[5..]].concat().join(" ")
            })
            .collect();
        let ours: Vec<String> = package.entries.iter().map(shown).collect();
        assert_eq!(ours, theirs, "{name}");

        let root = folder.path().join(name);
        deb("--extract", &[&root]);
        let mut files = 0;
        package::visit_members(&blobs, &package, |place, content| {
            let entry = &package.entries[place];
            if let EntryKind::File { .. } = entry.kind {
                let mut bytes = Vec::new();
                content.read_to_end(&mut bytes)?;
                assert!(fs::read(root.join(&entry.path))? == bytes, "{name}: {}", entry.path);
                files += 1;
            }
            Ok(())
        })
        .expect("the members");
        assert!(files > 0);
        assert_eq!(package.control, deb("--info", &[Path::new("control")]), "{name}");
        for (script, found) in &package.scripts {
            assert_eq!(String::from_utf8_lossy(&found.bytes), deb("--info", &[Path::new(script)]), "{name}");
        }

        let cut = package::verify(&bytes[..bytes.len() - 1000], record, &blobs).expect_err("it is cut");
        assert_eq!(cut.kind(), Kind::Unverified);
        let mut changed = bytes.clone();
        changed[bytes.len() / 2] ^= 1;
        let changed = package::verify(&changed[..], record, &blobs).expect_err("it is changed");
        assert!(changed.kind() == Kind::Unverified && changed.to_string().contains("SHA-256"), "{changed}");
    }
}

#[test]
fn the_mirror_has_other_releases_too() {
    let Some(own) = own_release() else { return };
    let other = if own == "trixie" { "bookworm" } else { "trixie" };
    let Some(suites) = suites(other, "amd64") else { return };
    assert!(suites[0].release.is_called(other));
    assert!(suites[0].index.records.len() > 50_000);
}
