//! From packages to layers: applied in their order they are the tree that was assembled, whatever the packages are.

use std::{collections::BTreeMap, fs, io};

use microbuild::internals::{
    apk::{
        index,
        package::{self, visit_members},
    },
    layer::{
        compress::Compression,
        system::{package_layer, package_layers, system_layer},
    },
    package::locked::Selection,
    rootfs::{
        self, Content, NodeKind, Settings,
        alpine::{self, Installed},
    },
    store::BlobDir,
};
use proptest::prelude::*;

use crate::support::{
    fake_repo::Package,
    tree::{Tree, decompress},
};

/// What a package has at a path.
#[derive(Debug, Clone)]
enum Thing {
    File(u32, u8),
    Large(u8),
    Link,
    Again,
    Folder(u32),
}

const PATHS: [&str; 6] = ["a/x", "a/y", "a/b/x", "c/x", "c/y", "d"];

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![
        4 => (prop_oneof![Just(0o644), Just(0o755), Just(0o4755)], any::<u8>()).prop_map(|(mode, seed)| Thing::File(mode, seed)),
        2 => any::<u8>().prop_map(Thing::Large),
        2 => Just(Thing::Link),
        2 => Just(Thing::Again),
        1 => prop_oneof![Just(0o700), Just(0o1777)].prop_map(Thing::Folder),
    ]
}

fn packages() -> impl Strategy<Value = Vec<Vec<(usize, Thing)>>> {
    prop::collection::vec(prop::collection::vec((0..PATHS.len(), thing()), 0..5), 1..4)
}

/// Bytes that no compression makes smaller than the megabyte from which a package is a layer of its own.
fn large(seed: u8) -> Vec<u8> {
    let mut state = u64::from(seed);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..(1 << 20) + 5000).map(|_| next()).collect()
}

/// A package that may replace the files of those before it.
fn fake(at: usize, things: &[(usize, Thing)]) -> Package {
    let mut package = Package::new(&format!("p{at}"), "1-r0").replaces("p0 p1 p2");
    let mut file = None;
    let things: BTreeMap<usize, &Thing> = things.iter().map(|(path, thing)| (*path, thing)).collect();
    for (path, thing) in things {
        let path = PATHS[path];
        package = match (thing, file) {
            (Thing::File(mode, seed), _) => package.file(path, *mode, vec![*seed; usize::from(*seed)]),
            (Thing::Large(seed), _) => package.file(path, 0o644, large(*seed)),
            (Thing::Again, Some(file)) => package.hardlink(path, file),
            (Thing::Link, _) | (Thing::Again, None) => package.symlink(path, &format!("to/{at}")),
            (Thing::Folder(mode), _) => package.dir(&format!("{path}.d"), *mode),
        };
        if matches!(thing, Thing::File(..) | Thing::Large(_)) {
            file = Some(path);
        }
    }
    package
}

/// What `assemble` says is at each path, in the words of [`Tree::describe`].
fn describe(tree: &rootfs::Tree, content: &dyn Fn(usize, usize) -> Vec<u8>) -> BTreeMap<String, String> {
    let mut first: BTreeMap<(usize, usize), &str> = BTreeMap::new();
    let words = tree.iter().map(|(path, node)| {
        let owner = format!("{:04o} {}:{}", node.mode, node.uid, node.gid);
        let file = |bytes: &[u8]| {
            let digest = microbuild::internals::digest::Digest::of(bytes).hex();
            format!("file {owner} {} bytes {}", bytes.len(), &digest[..12])
        };
        let words = match (&node.kind, node.package) {
            (NodeKind::Directory, _) => format!("folder {owner}"),
            (NodeKind::Symlink(target), _) => format!("link {}:{} -> {target}", node.uid, node.gid),
            (NodeKind::File(Content::Bytes(bytes)), _) => file(bytes),
            (NodeKind::File(Content::Member(place)), package) => {
                let inode = (package.expect("a package's"), *place);
                let mut words = file(&content(inode.0, inode.1));
                match *first.entry(inode).or_insert(path) {
                    name if name == path => {}
                    name => words += &format!(" = {name}"),
                }
                words
            }
        };
        (path.to_owned(), words)
    });
    words.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layers_applied_in_order_are_the_tree(packages in packages()) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let blobs = BlobDir::open(dir.path()).expect("a store");
        let installed: Vec<Installed> = packages
            .iter()
            .enumerate()
            .map(|(at, things)| {
                let built = fake(at, things).build();
                let record = index::parse(&built.record).expect("a record").records.pop().expect("one");
                let package = package::verify(&built.bytes[..], &record, &blobs).expect("a good package");
                Installed { record, package, selection: Selection::Stripped }
            })
            .collect();
        let content = |at: usize, place: usize| {
            let mut bytes = Vec::new();
            visit_members(&blobs, &installed[at].package, |found, member| {
                if found == place { io::copy(member, &mut bytes).map(drop) } else { Ok(()) }
            })
            .expect("its content");
            bytes
        };
        let settings = Settings { workdir: "app".into(), ..Settings::default() };
        // Packages that do not go together are another test's.
        if let Ok(tree) = alpine::assemble(&installed, &settings, &|at, places| Ok(places.iter().map(|place| content(at, *place)).collect())) {
            let apart = package_layers(&installed, &tree);
            let mut layers: Vec<_> = apart.iter().filter_map(|&at| package_layer(&installed[at])).collect();
            layers.push(system_layer(&tree, &installed, &apart, &blobs, Compression::default(), 0).expect("a layer"));
            let mut applied = Tree::default();
            for layer in &layers {
                let bytes = fs::read(blobs.path(&layer.digest)).expect("a blob");
                prop_assert_eq!(bytes.len() as u64, layer.size);
                let tar = decompress(&layer.media_type, &bytes);
                prop_assert_eq!(microbuild::internals::digest::Digest::of(&tar), layer.diff_id);
                applied.apply(&tar);
            }
            prop_assert_eq!(applied.describe(), describe(&tree, &content));
        }
    }
}
