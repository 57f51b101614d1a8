use super::*;
use crate::{
    apk::package::{testing::Draft, visit_members},
    error::{Explain as _, Kind},
    store::BlobDir,
};

fn tree_of(drafts: Vec<Draft>, settings: &Settings) -> Result<Tree, RootfsError> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let blobs = BlobDir::open(dir.path()).expect("a store");
    let packages: Vec<_> = drafts.into_iter().map(|draft| draft.installed(&blobs)).collect();
    let read = |at: usize, places: &[usize]| {
        let mut content = Vec::new();
        visit_members(&blobs, &packages[at].package, |found, member| {
            if found == places[0] { std::io::copy(member, &mut content).map(drop) } else { Ok(()) }
        })?;
        Ok(vec![content])
    };
    assemble(&packages, settings, &read)
}

fn settings() -> Settings {
    Settings { release: "3.23.1".into(), arch: "x86_64".into(), workdir: "srv/app".into(), ..Settings::default() }
}

#[track_caller]
fn tree(drafts: Vec<Draft>) -> Tree {
    tree_of(drafts, &settings()).expect("a tree")
}

fn text<'a>(tree: &'a Tree, path: &str) -> &'a str {
    match tree.get(path).map(|node| &node.kind) {
        Some(NodeKind::File(Content::Bytes(bytes))) => std::str::from_utf8(bytes).expect("UTF-8"),
        other => panic!("{path}: {other:?}"),
    }
}

/// What the tree has at `path`: `a:2` is member 2 of package 0.
fn origin(tree: &Tree, path: &str) -> String {
    let node = tree.get(path).unwrap_or_else(|| panic!("no {path}"));
    let package =
        node.package.map_or_else(|| "-".into(), |at| char::from(b'a' + u8::try_from(at).expect("few")).to_string());
    match &node.kind {
        NodeKind::File(Content::Member(place)) => format!("{package}:{place}"),
        NodeKind::File(Content::Bytes(_)) => format!("{package}:made"),
        NodeKind::Symlink(target) => format!("{package}->{target}"),
        NodeKind::Directory => format!("{package}/{:o}", node.mode),
    }
}

#[test]
fn a_hard_link_keeps_its_content_when_its_first_name_is_replaced() {
    let a = Draft::new("a").file("x", "a").hardlink("y", "x").hardlink("z", "y");
    // A link to a link is refused: abuild's tar names the file.
    let dir = tempfile::tempdir().expect("a temporary folder");
    assert!(a.verify(&BlobDir::open(dir.path()).expect("a store")).is_err());
    let a = Draft::new("a").file("x", "a").hardlink("y", "x").hardlink("z", "x");
    let tree = tree(vec![a, Draft::new("b").info("replaces", "a").file("x", "b")]);
    assert_eq!(["x", "y", "z"].map(|path| origin(&tree, path)), ["b:0", "a:0", "a:0"]);
}

#[test]
fn packages_do_not_write_through_links_or_files() {
    for (first, path) in [
        (Draft::new("a").symlink("x", "/etc"), "x/passwd"),
        (Draft::new("a").symlink("x", "y").symlink("y", "x"), "x/y"),
        (Draft::new("a").symlink("x", "y").file("y", ""), "x/y"),
        (Draft::new("a").file("x", ""), "x/y"),
    ] {
        let error = tree_of(vec![first, Draft::new("b").file(path, "")], &settings()).expect_err("refused");
        assert_eq!(error.kind(), Kind::Unverified, "{error}");
        assert!(error.to_string().starts_with(&format!("b-1-r0: refused: {path}: ")), "{error}");
    }
}

#[test]
fn a_packages_own_link_is_no_folder_of_it() {
    let error =
        tree_of(vec![Draft::new("a").dir("y").symlink("x", "y").file("x/z", "")], &settings()).expect_err("refused");
    assert_eq!(error.to_string(), "a-1-r0: refused: x/z: it would be written through the link /x -> y");
    let error =
        tree_of(vec![Draft::new("a").dir("y").symlink("x", "y").dir("x")], &settings()).expect_err("a conflict");
    assert_eq!(error.to_string(), "a-1-r0 would overwrite /x, which belongs to a-1-r0");
}

/// A package as `alpine-baselayout` with a merged `/usr`.
fn merged() -> Draft {
    Draft::new("a")
        .dir("usr")
        .dir("usr/lib")
        .symlink("lib", "usr/lib")
        .symlink("usr/lib64", "lib")
        .symlink("lib64", "/usr/lib64")
}

#[test]
fn what_is_below_anothers_link_lies_where_that_leads() {
    let b = Draft::new("b")
        .mode(0o700)
        .dir("lib")
        .dir("lib/deep")
        .file("lib/x", "")
        .file("lib64/y", "")
        .symlink("lib/z", "x");
    let tree = tree(vec![merged(), b.hardlink("lib/deep/x", "lib/x")]);
    for (path, expected) in [
        ("lib", "a->usr/lib"),
        ("usr/lib", "a/755"),
        ("usr/lib/x", "b:2"),
        ("usr/lib/y", "b:3"),
        ("usr/lib/z", "b->x"),
        ("usr/lib/deep", "b/755"),
        ("usr/lib/deep/x", "b:2"),
        ("usr/lib/apk/db/installed", "-:made"),
    ] {
        assert_eq!(origin(&tree, path), expected, "{path}");
    }
    assert!(
        tree.iter().all(|(path, _)| !path.starts_with("lib/") && !path.starts_with("lib64/")),
        "nothing below a link"
    );
    // As apk writes it for the same packages: under the package's own names.
    let installed = text(&tree, "usr/lib/apk/db/installed");
    assert!(installed.contains("F:lib\nM:0:0:700\nR:x\n"), "{installed}");
    assert!(installed.contains("F:lib/deep\nR:x\n") && installed.contains("F:lib64\nR:y\n"), "{installed}");
    let links = tree.folder_links();
    let links: Vec<_> = links.iter().map(|(link, folder)| (link.as_str(), folder.as_str())).collect();
    assert_eq!(links, [("lib", "usr/lib"), ("lib64", "usr/lib"), ("usr/lib64", "usr/lib")]);
}

#[test]
fn one_place_under_two_names_has_one_file() {
    let b = || Draft::new("b").file("lib/x", "b");
    let c = || Draft::new("c").file("usr/lib/x", "c");
    let error = tree_of(vec![merged(), b(), c()], &settings()).expect_err("a conflict");
    assert_eq!(error.to_string(), "c-1-r0 would overwrite /usr/lib/x, which belongs to b-1-r0");
    assert_eq!(error.kind(), Kind::Build);
    let tree = tree(vec![merged(), b(), c().info("replaces", "b")]);
    assert_eq!(origin(&tree, "usr/lib/x"), "c:0");
    let patterns = PatternSet::new(vec!["/usr/lib/*.a".parse().expect("a pattern")]);
    let stripped = Settings { strip: patterns, ..settings() };
    let tree = tree_of(vec![merged(), Draft::new("b").file("lib/x.a", "")], &stripped).expect("a tree");
    assert_eq!(tree.get("usr/lib/x.a"), None, "stripped where it would lie");
}

#[test]
fn what_is_made_here_lies_where_links_lead_too() {
    let draft = merged().symlink("home", "usr/home").dir("usr/home").symlink("srv", "usr/srv");
    let tree = tree(vec![draft]);
    assert_eq!(origin(&tree, "usr/home/nonroot"), "-/700");
    // Where nothing is yet.
    assert_eq!(origin(&tree, "usr/srv/app"), "-/755");
    assert_eq!(tree.resolve("srv/app").as_deref(), Some("usr/srv/app"));
}

#[test]
fn folders_give_way_to_nothing() {
    for drafts in [
        vec![Draft::new("a").dir("x"), Draft::new("b").info("replaces", "a").symlink("x", "y")],
        vec![Draft::new("a").symlink("x", "y"), Draft::new("b").info("replaces", "a").dir("x")],
        vec![Draft::new("a").dir("x"), Draft::new("b").info("replaces", "a").file("x", "")],
    ] {
        let error = tree_of(drafts, &settings()).expect_err("a conflict");
        assert_eq!(error.to_string(), "b-1-r0 would overwrite /x, which belongs to a-1-r0");
        assert_eq!(error.kind(), Kind::Build);
    }
}

#[test]
fn what_is_stripped_is_in_neither_tree_nor_database() {
    let patterns = ["usr/share/doc", "**/*.h"];
    let strip = PatternSet::new(patterns.map(|text| text.parse().expect("a pattern")).into());
    let draft = Draft::new("a")
        .dir("usr")
        .dir("usr/share")
        .dir("usr/share/doc")
        .file("usr/share/doc/a", "")
        .file("usr/a.h", "");
    let tree = tree_of(vec![draft.file("usr/b", "")], &Settings { strip, ..settings() }).expect("a tree");
    assert_eq!(["usr/share/doc", "usr/share/doc/a", "usr/a.h"].map(|path| tree.get(path)), [None, None, None]);
    let installed = text(&tree, "lib/apk/db/installed");
    assert!(
        installed.contains("F:usr\nR:b\n") && !installed.contains("doc") && !installed.contains("a.h"),
        "{installed}"
    );
}

#[test]
fn owners_go_by_name_where_the_root_knows_the_name() {
    let users = Draft::new("a")
        .dir("etc")
        .file("etc/passwd", "root:x:0:0:::\nweb:x:33:34:::\n")
        .file("etc/group", "root:x:0:\nweb:x:34:\n");
    let owned = Draft::new("b")
        .owner((1000, 1001), ("web", "web"))
        .file("known", "")
        .owner((7, 8), ("?", ""))
        .file("unknown", "");
    let scripted = Draft::new("c")
        .script("pre-install", "addgroup -S c\nadduser -S -D -H -G c c\n")
        .owner((5, 5), ("c", "c"))
        .file("own", "");
    let huge = Draft::new("d").owner((1 << 40, 3_000_000_000), ("", "")).file("huge", "");
    let tree = tree(vec![users, owned, scripted, huge]);
    let owner = |path: &str| tree.get(path).map(|node| (node.uid, node.gid)).expect(path);
    assert_eq!(["known", "unknown", "own", "huge"].map(owner), [(33, 34), (7, 8), (100, 100), (65534, 3_000_000_000)]);
    let passwd = text(&tree, "etc/passwd");
    let names: Vec<_> = passwd.lines().map(|line| line.split(':').next().expect("a name")).collect();
    assert_eq!(names, ["root", "web", "c", "nonroot"]);
    assert_eq!(tree.get("etc/passwd").expect("it").package, Some(0), "it stays its package's");
}

#[test]
fn applets_become_links_where_nothing_is() {
    let list = "/bin/ls\n/usr/bin/ [\n/usr/bin/awk\n/../evil\n\n/a//x\n/lnk/no\n/bin/taken\n";
    let draft = |program: bool| {
        let draft =
            Draft::new("busybox").dir("etc").dir("etc/busybox-paths.d").file("etc/busybox-paths.d/busybox", list);
        let draft = draft.dir("bin").file("bin/taken", "").symlink("lnk", "/bin");
        if program { draft.file("bin/busybox", "elf") } else { draft }
    };
    let links = |tree: &Tree| -> Vec<String> {
        let all = tree.iter().filter(|(_, node)| node.kind == NodeKind::Symlink("/bin/busybox".into()));
        all.map(|(path, _)| path.to_owned()).collect()
    };
    assert_eq!(links(&tree(vec![draft(true)])), ["bin/ls", "bin/no", "usr/bin/ [", "usr/bin/awk"]);
    assert_eq!(links(&tree(vec![draft(false)])), Vec::<String>::new());
}

#[test]
fn a_release_is_told_where_no_package_tells_it() {
    let tree = tree(vec![]);
    assert!(text(&tree, "etc/os-release").contains("VERSION_ID=3.23.1\n"));
    assert_eq!(text(&tree, "etc/alpine-release"), "3.23.1\n");
    let linked = Draft::new("a").symlink("etc/os-release", "../usr/lib/os-release").file("usr/lib/os-release", "x");
    assert_eq!(origin(&super::tests::tree(vec![linked]), "etc/os-release"), "a->../usr/lib/os-release");
    let dangling = Draft::new("a").symlink("etc/os-release", "../usr/lib/os-release");
    assert!(text(&super::tests::tree(vec![dangling]), "etc/os-release").contains("ID=alpine\n"));
}

#[test]
fn an_empty_root_has_what_an_app_needs() {
    let tree = tree(vec![]);
    for (path, expected) in [
        ("dev", "-/755"),
        ("home/nonroot", "-/700"),
        ("proc", "-/755"),
        ("root", "-/700"),
        ("srv/app", "-/755"),
        ("sys", "-/755"),
        ("tmp", "-/1777"),
    ] {
        assert_eq!(origin(&tree, path), expected, "{path}");
    }
    let nonroot = tree.get("home/nonroot").map(|node| (node.uid, node.gid));
    assert_eq!(nonroot, Some((65532, 65532)));
    assert_eq!(
        text(&tree, "etc/passwd"),
        "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
    );
    assert_eq!(text(&tree, "etc/apk/arch"), "x86_64\n");
    assert_eq!(tree.get("lib/apk/db/scripts.tar.gz"), None, "no apk in the image");
}

#[test]
fn paths_are_resolved_as_the_kernel_does() {
    let draft = Draft::new("a")
        .dir("etc")
        .file("etc/x", "")
        .symlink("abs", "/etc")
        .symlink("rel", "./etc/../etc")
        .symlink("up", "../../../etc/x")
        .symlink("chain", "abs/x")
        .symlink("loop", "loop")
        .symlink("lost", "nowhere");
    let tree = tree(vec![draft]);
    for (path, expected) in [
        ("etc/x", Some("etc/x")),
        ("/etc//x", Some("etc/x")),
        ("abs/x", Some("etc/x")),
        ("rel/x", Some("etc/x")),
        ("up", Some("etc/x")),
        ("chain", Some("etc/x")),
        ("", Some("")),
        ("../..", Some("")),
        ("loop", None),
        ("lost", None),
        ("etc/none", None),
    ] {
        assert_eq!(tree.resolve(path).as_deref(), expected, "{path}");
    }
}

#[test]
fn shadow_is_of_its_group_only_when_a_script_says_so() {
    let draft = |script: &str| {
        let files =
            Draft::new("a").script("post-install", script).dir("etc").file("etc/group", "root:x:0:\nshadow:x:42:\n");
        files.mode(0o640).file("etc/shadow", "root:*::0:::::\n")
    };
    let gid = |tree: &Tree| tree.get("etc/shadow").map(|node| (node.mode, node.gid));
    let scripted = tree(vec![draft("#!/bin/sh\nchown root:shadow etc/shadow\n")]);
    assert_eq!(gid(&scripted), Some((0o640, 42)));
    assert!(text(&scripted, "lib/apk/db/installed").contains("R:shadow\na:0:0:640\n"), "as it was installed");
    assert_eq!(gid(&tree(vec![draft("exit 0\n")])), Some((0o640, 0)));
}

#[test]
fn the_database_has_the_checksum_of_extended_attributes() {
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let draft = Draft::new("a").pax("SCHILY.xattr.security.capability", &capability).mode(0o755).file("ping", "elf");
    let tree = tree(vec![draft]);
    let installed = text(&tree, "lib/apk/db/installed");
    // As apk 3.0.8 writes it for the same file.
    assert!(installed.contains("R:ping\na:0:0:755:Q1nvX3keRgpj6s1AX3OBxbTFjJTh4=\n"), "{installed}");
}
