use std::io::Read as _;

use super::*;
use crate::{
    apk::package::testing::Draft,
    rootfs::{
        Settings,
        alpine::{Installed, assemble},
    },
};

struct Made {
    _dir: tempfile::TempDir,
    packages: Vec<Installed>,
    tree: Tree,
    blobs: BlobDir,
}

fn made(drafts: Vec<Draft>) -> Made {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let blobs = BlobDir::open(dir.path()).expect("a store");
    let packages: Vec<_> = drafts.into_iter().map(|draft| draft.installed(&blobs)).collect();
    let tree = assemble(&packages, &Settings::default(), &|_, _| Ok(vec![Vec::new()])).expect("a tree");
    Made { _dir: dir, packages, tree, blobs }
}

/// A megabyte and a half that no compression makes smaller.
fn large() -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    (0..3 << 19).map(|_| next()).collect()
}

/// The members of the system layer: path, type, mode, link, extended attributes.
fn members(made: &Made, apart: &[usize]) -> Vec<(String, tar::EntryType, u32, String, usize)> {
    let record = system_layer(&made.tree, &made.packages, apart, &made.blobs, Compression::default(), 7);
    let record = record.expect("a layer");
    let mut tar = Vec::new();
    let bytes = std::fs::read(made.blobs.path(&record.digest)).expect("a blob");
    flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut tar).expect("gzip");
    assert_eq!(crate::digest::Digest::of(&tar), record.diff_id);
    let mut archive = tar::Archive::new(&tar[..]);
    let members = archive.entries().expect("a tar").map(|member| {
        let mut member = member.expect("a member");
        let xattrs = member.pax_extensions().expect("PAX").into_iter().flatten().flatten();
        let xattrs = xattrs.filter(|record| record.key_bytes().starts_with(b"SCHILY.xattr.")).count();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let link = member.link_name_bytes().map_or_else(String::new, |link| text(&link));
        let header = member.header();
        assert_eq!(header.mtime().expect("a time"), 7);
        (text(&member.path_bytes()), header.entry_type(), header.mode().expect("a mode"), link, xattrs)
    });
    members.collect()
}

fn paths(made: &Made, apart: &[usize]) -> Vec<String> {
    members(made, apart).into_iter().map(|(path, ..)| path).collect()
}

#[test]
fn whole_large_packages_are_layers() {
    let whole = || {
        Draft::new("a").dir("usr").file("usr/large", large()).hardlink("usr/again", "usr/large").symlink("usr/l", "x")
    };
    for (title, drafts, expected) in [
        ("whole", vec![whole()], vec![0]),
        ("small", vec![Draft::new("a").file("x", "small")], vec![]),
        ("a member of no file", vec![whole().file(".dummy", "")], vec![]),
        ("a file was replaced", vec![whole(), Draft::new("b").info("replaces", "a").file("usr/l", "")], vec![]),
        ("a folder has another mode", vec![whole(), Draft::new("0").mode(0o700).dir("usr")], vec![0]),
        ("another owner", vec![Draft::new("a").owner((9, 0), ("root", "")).file("large", large())], vec![]),
        ("a path twice", vec![whole().file("usr/large", "second")], vec![]),
        ("the second", vec![Draft::new("0").file("x", "small"), whole()], vec![1]),
    ] {
        let made = made(drafts);
        assert_eq!(package_layers(&made.packages, &made.tree), expected, "{title}");
    }
}

#[test]
fn no_more_than_seven_packages_are_layers_the_largest() {
    let draft = |at: u8| {
        let mut content = large();
        content.extend(&content.clone()[..usize::from(at % 4) << 16]);
        content[0] = at;
        Draft::new(&format!("p{at}")).file(&format!("f{at}"), content)
    };
    let made = made((0..10).map(draft).collect());
    // Sizes rise within each four: the smallest are the first of each.
    assert_eq!(package_layers(&made.packages, &made.tree), [1, 2, 3, 5, 6, 7, 9]);
}

#[test]
fn the_system_layer_brings_the_folders_above_its_files_and_those_that_differ() {
    let apart = || Draft::new("a").dir("usr").dir("usr/lib").dir("usr/own").file("usr/lib/large", large());
    let plain = made(vec![apart()]);
    let folders = paths(&plain, &[0]);
    assert!(folders.contains(&"etc/".to_owned()) && folders.contains(&"tmp/".to_owned()), "{folders:?}");
    assert!(!folders.iter().any(|path| path.starts_with("usr")), "the package brings them: {folders:?}");
    let beside = made(vec![apart(), Draft::new("b").file("usr/lib/small", "")]);
    let found = paths(&beside, &[0]);
    let found: Vec<_> = found.iter().filter(|path| path.starts_with("usr")).collect();
    assert_eq!(found, ["usr/", "usr/lib/", "usr/lib/small"]);
    let changed = made(vec![apart(), Draft::new("0").info("replaces_priority", "9").mode(0o700).dir("usr/own")]);
    let found = members(&changed, &[0]);
    let found: Vec<_> =
        found.iter().filter(|(path, ..)| path.starts_with("usr")).map(|m| (m.0.as_str(), m.2)).collect();
    assert_eq!(found, [("usr/", 0o755), ("usr/own/", 0o700)]);
    assert!(paths(&plain, &[]).contains(&"usr/lib/large".to_owned()), "nothing apart: all is here");
}

#[test]
fn hard_links_and_attributes_survive() {
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let made = made(vec![
        Draft::new("a")
            .pax("SCHILY.xattr.security.capability", &capability)
            .mode(0o4755)
            .file("b/ping", "elf")
            .hardlink("a/ping6", "b/ping")
            .symlink("c", "b/ping"),
    ]);
    let members = members(&made, &[]);
    let of = |name: &str| members.iter().find(|(path, ..)| path == name).expect(name).clone();
    // The name that sorts first is the file; mode and owner are the file's, whatever the link said.
    assert_eq!(of("a/ping6"), ("a/ping6".into(), tar::EntryType::Regular, 0o4755, String::new(), 1));
    assert_eq!(of("b/ping"), ("b/ping".into(), tar::EntryType::Link, 0o4755, "a/ping6".into(), 0));
    assert_eq!(of("c"), ("c".into(), tar::EntryType::Symlink, 0o777, "b/ping".into(), 0));
    let at = |name: &str| members.iter().position(|(path, ..)| path == name).expect(name);
    assert!(at("a/ping6") < at("b/ping"), "a link's target comes first");
}

#[test]
fn the_same_tree_is_the_same_layer() {
    let digest = || {
        let made = made(vec![Draft::new("a").file("x", "y"), Draft::new("b").symlink("z", "x")]);
        let layer = system_layer(&made.tree, &made.packages, &[], &made.blobs, Compression::default(), 0);
        layer.expect("a layer").digest
    };
    assert_eq!(digest(), digest());
}
