//! The testbed itself: what the other tests stand on is what it claims to be. The real apk is the judge.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt as _, path::Path, process::Command};

use crate::support::{
    Finished,
    alpine::{self, Apk, NODE_VERSION},
    apk_file::Entry,
    fake_repo::{Package, Repo},
    is_root, run, skip_forbidden, tool,
};

/// The real apk, when it can be used for real: with owners, and with scripts in a chroot.
#[track_caller]
fn apk_of_root() -> Option<Apk> {
    if !is_root() {
        skip_forbidden("needs root: apk changes owners, and runs scripts with chroot");
        return None;
    }
    alpine::apk()
}

#[test]
fn the_real_apk_installs_node_and_npm_and_they_run() {
    let (Some(apk), Some(mirror)) = (apk_of_root(), alpine::mirror()) else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    apk.add(dir.path(), &mirror, &["alpine-baselayout", "busybox", "npm"]).succeeds();
    let mut chroot = Command::new(tool("chroot").expect("coreutils"));
    chroot.arg(dir.path()).args(["/bin/sh", "-c", "node -v && npm -v && node -p '1 + 1'"]);
    let finished = run(chroot.env("PATH", "/usr/bin:/bin"));
    let lines: Vec<&str> = finished.succeeds().lines().collect();
    assert_eq!((lines[0], lines[2]), (format!("v{NODE_VERSION}").as_str(), "2"));
}

/// The records of the installed database below `root`, by package, without what a repacked package cannot share with
/// Alpine's own: its checksum and the size of its file.
fn installed(root: &Path) -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(root.join("lib/apk/db/installed"))
        .or_else(|_| fs::read_to_string(root.join("usr/lib/apk/db/installed")))
        .expect("a package database");
    let records = text.split("\n\n").filter(|record| !record.trim().is_empty());
    records
        .map(|record| {
            let name = record.lines().find_map(|line| line.strip_prefix("P:")).expect("a name").to_owned();
            let kept = record.lines().filter(|line| !line.starts_with("C:") && !line.starts_with("S:"));
            (name, kept.map(str::to_owned).collect())
        })
        .collect()
}

#[test]
fn the_packages_are_those_of_alpine() {
    let (Some(apk), Some(mirror)) = (apk_of_root(), alpine::mirror()) else { return };
    let world = fs::read_to_string(apk.root().join("etc/apk/world")).expect("the image's world");
    let names: Vec<&str> = world.lines().collect();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let arch = std::env::consts::ARCH;
    let mut add = apk.on(dir.path(), &mirror.dir, &mirror.keys_dir, arch);
    run(add.args(["add", "--initdb", "--no-scripts"]).args(names)).succeeds();
    let (ours, alpines) = (installed(dir.path()), installed(apk.root()));
    assert!(ours.len() > 50, "{} packages", ours.len());
    for (name, record) in &ours {
        assert_eq!(Some(record), alpines.get(name), "{name}");
    }
    assert_eq!(ours.len(), alpines.len());
}

#[test]
fn both_architectures_have_signed_indexes() {
    let (Some(apk), Some(mirror)) = (alpine::apk(), alpine::mirror()) else { return };
    for arch in alpine::ARCHES {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut search = apk.on(dir.path(), &mirror.dir, &mirror.keys_dir, arch);
        let found = run(search.args(["search", "--from", "none", "--exact", "nodejs", "npm", "musl", "libstdc++"]));
        assert_eq!(found.succeeds().lines().count(), 4, "{arch}: {}", found.stdout);
    }
}

/// What the real apk makes of `package`, in a repository of its own; the root that it installed into.
fn apk_adds(apk: &Apk, repo: &Repo, package: &str) -> (tempfile::TempDir, Finished) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let keys = repo.publish(dir.path());
    repo.beside("community").publish(dir.path());
    let root = dir.path().join("root");
    let finished = run(apk.on(&root, dir.path(), &keys, "x86_64").args(["add", "--initdb", "--no-scripts", package]));
    (dir, finished)
}

fn whole() -> Package {
    Package::new("a", "1-r0").file("usr/bin/a", 0o4755, "#!/bin/sh\n").hardlink("usr/bin/b", "usr/bin/a")
}

#[test]
fn the_real_apk_takes_what_the_fake_repository_makes() {
    let Some(apk) = apk_of_root() else { return };
    let lib = Package::new("lib", "2-r0").provides("so:liba.so.1=1.2").file("usr/lib/liba.so.1.2", 0o755, "elf");
    for repo in [Repo::new(), Repo::new().rsa256()] {
        let package = whole()
            .rsa256()
            .depends("so:liba.so.1>=1")
            .symlink("usr/bin/c", "a")
            .dir("var/lib/a", 0o1770)
            .owner("1000:app", "1001:app");
        let (dir, finished) = apk_adds(&apk, &repo.with(package).with(lib.clone()), "a");
        finished.succeeds();
        let at = |path: &str| dir.path().join("root").join(path).symlink_metadata().expect("installed");
        assert_eq!(at("usr/bin/a").mode(), 0o104_755);
        assert_eq!(at("usr/bin/a").ino(), at("usr/bin/b").ino());
        assert!(at("usr/bin/c").is_symlink() && at("usr/lib/liba.so.1.2").is_file());
        assert_eq!(at("var/lib/a").mode(), 0o041_770);
        let audit = run(apk.command().arg("--root").arg(dir.path().join("root")).args(["audit", "--system"]));
        assert_eq!(audit.succeeds(), "", "nothing differs from what the packages said");
    }
}

#[test]
fn the_real_apk_refuses_what_is_broken_on_purpose() {
    let Some(apk) = apk_of_root() else { return };
    let repo = |package: Package| Repo::new().with(package);
    let outside = Entry::file("../../out", 0o644, "out");
    for (repo, complaint) in [
        (repo(whole()).wrong_signature(), "BAD signature"),
        (repo(whole()).unknown_key(), "UNTRUSTED signature"),
        (repo(whole()).unsigned(), "UNTRUSTED signature"),
        (repo(whole()).truncated_by(100), "unexpected end of file"),
        (repo(whole().wrong_checksum()), "a-1-r0: v2 package integrity error"),
        (repo(whole().wrong_datahash()), "a-1-r0: v2 package integrity error"),
        (repo(whole().truncated_by(100)), "a-1-r0: unexpected end of file"),
        (repo(whole().raw(outside)), "a-1-r0: file format is invalid or inconsistent"),
    ] {
        let (dir, finished) = apk_adds(&apk, &repo, "a");
        assert_ne!(finished.code, Some(0), "{complaint}");
        assert!(finished.stderr.contains(complaint), "expected {complaint}, found {}", finished.stderr);
        assert!(!dir.path().join("root/usr/bin/a").exists(), "{complaint}");
    }
}

#[test]
fn the_real_apk_verifies_package_signatures() {
    let Some(apk) = alpine::apk() else { return };
    for (package, verdict) in [
        (whole(), "OK"),
        (whole().rsa256(), "OK"),
        (whole().wrong_signature(), "BAD signature"),
        (whole().unknown_key(), "UNTRUSTED signature"),
        (whole().unsigned(), "UNTRUSTED signature"),
    ] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let keys = Repo::new().with(package).publish(dir.path());
        let file = dir.path().join("v3.23/main/x86_64/a-1-r0.apk");
        let finished = run(apk.command().arg("--keys-dir").arg(keys).arg("verify").arg(file));
        let said = finished.stdout + &finished.stderr;
        assert!(said.contains(verdict), "expected {verdict}, found {said}");
    }
}

#[test]
fn the_same_repository_is_the_same_bytes() {
    let repo = Repo::new().with(whole()).with(Package::new("b", "1-r0").depends("a"));
    let read = || {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let keys = repo.publish(dir.path());
        let folder = dir.path().join("v3.23/main/x86_64");
        let mut files: Vec<_> = [folder, keys]
            .iter()
            .flat_map(|folder| fs::read_dir(folder).expect("published"))
            .map(|entry| entry.expect("readable"))
            .map(|entry| (entry.file_name(), fs::read(entry.path()).expect("a file")))
            .collect();
        files.sort();
        files
    };
    assert_eq!(read(), read());
}
