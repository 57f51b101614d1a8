use super::*;
use crate::{
    deb::package::testing::Draft,
    error::{Explain as _, Kind},
    package::Contents as _,
    store::BlobDir,
};

fn tree_of(drafts: Vec<Draft>, settings: &Settings) -> Result<Tree, RootfsError> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let blobs = BlobDir::open(dir.path()).expect("a store");
    let packages: Vec<_> = drafts.into_iter().map(|draft| draft.installed(&blobs)).collect();
    let read = |at: usize, places: &[usize]| {
        let mut contents = vec![Vec::new(); places.len()];
        packages[at].package.visit(&blobs, |found, member| {
            let wanted = places.iter().position(|place| *place == found);
            wanted.map_or(Ok(()), |at| std::io::copy(member, &mut contents[at]).map(drop))
        })?;
        Ok(contents)
    };
    assemble(&packages, settings, &read)
}

#[track_caller]
fn tree(drafts: Vec<Draft>) -> Tree {
    let settings = Settings { release: "12.11".into(), workdir: "app".into(), ..Settings::default() };
    tree_of(drafts, &settings).expect("a tree")
}

/// What the tree has at `path`: `a:2` is member 2 of package 0.
fn origin(tree: &Tree, path: &str) -> String {
    let Some(node) = tree.get(path) else { return "none".into() };
    let package = node.package.map_or("-".into(), |at| char::from(b'a' + u8::try_from(at).expect("few")).to_string());
    match &node.kind {
        NodeKind::File(Content::Member(place)) => format!("{package}:{place}"),
        NodeKind::File(Content::Bytes(_)) => format!("{package}:made"),
        NodeKind::Symlink(target) => format!("{package}->{target}"),
        NodeKind::Directory => format!("{package}/{:o}", node.mode),
    }
}

fn text<'a>(tree: &'a Tree, path: &str) -> &'a str {
    match tree.get(path).map(|node| &node.kind) {
        Some(NodeKind::File(Content::Bytes(bytes))) => std::str::from_utf8(bytes).expect("UTF-8"),
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn usr_is_merged_whatever_a_package_thinks() {
    let a = Draft::new("a").dir("lib").file("lib/x.so.1", "").dir("lib64").symlink("lib64/ld.so", "/lib/ld.so");
    let b = Draft::new("b").symlink("bin", "usr/bin").file("usr/lib/y.so.1", "").file("bin/sh", "").dir("usr/bin");
    let tree = tree(vec![a, b]);
    for (path, expected) in [
        ("bin", "-->usr/bin"),
        ("lib", "-->usr/lib"),
        ("sbin", "-->usr/sbin"),
        ("lib64", "-->usr/lib64"),
        ("lib32", "none"),
        ("usr/lib/x.so.1", "a:1"),
        ("usr/lib64/ld.so", "a->/lib/ld.so"),
        ("usr/lib/y.so.1", "b:1"),
        ("usr/bin/sh", "b:2"),
    ] {
        assert_eq!(origin(&tree, path), expected, "{path}");
    }
    assert_eq!(tree.resolve("bin/sh").as_deref(), Some("usr/bin/sh"));
}

#[test]
fn links_to_folders_are_followed_and_kept() {
    let a = Draft::new("a")
        .dir("run")
        .dir("var")
        .symlink("var/run", "/run")
        .dir("usr/share/doc/y")
        .symlink("usr/share/doc/x", "y");
    let b = Draft::new("b").dir("var/run").dir("var/run/b").file("var/run/b/c", "").dir("usr/share/doc/x");
    let tree = tree(vec![a, b]);
    assert_eq!(origin(&tree, "var/run"), "a->/run");
    assert_eq!(origin(&tree, "run/b/c"), "b:2");
    let escape = Draft::new("a").symlink("x", "/nowhere").file("x/y", "");
    let error = tree_of(vec![escape], &Settings::default()).expect_err("refused");
    assert_eq!(error.to_string(), "a-1-1: refused: x/y: it would be written through the link /x -> /nowhere");
    assert_eq!(error.kind(), Kind::Unverified);
}

#[test]
fn replaces_says_whose_file_it_is() {
    let a = || Draft::new("a").file("x", "a");
    let b = |fields: &str| Draft::new("b").fields(fields).file("x", "b");
    let error = tree_of(vec![a(), b("Replaces: other")], &Settings::default()).expect_err("a conflict");
    assert_eq!(error.to_string(), "b-1-1 would overwrite /x, which belongs to a-1-1");
    assert_eq!(origin(&tree(vec![a(), b("Replaces: a")]), "x"), "b:0");
    assert_eq!(origin(&tree(vec![a(), b("Replaces: a (<< 2)")]), "x"), "b:0");
    assert!(tree_of(vec![a(), b("Replaces: a (<< 1)")], &Settings::default()).is_err());
    assert_eq!(origin(&tree(vec![b("Replaces: a"), a()]), "x"), "a:0");
    let folder = tree_of(vec![a(), Draft::new("b").fields("Replaces: a").dir("x")], &Settings::default());
    assert!(folder.is_err());
}

#[test]
fn documentation_and_translations_stay_out_but_copyrights() {
    let a = Draft::new("a")
        .dir("usr/share/doc/a")
        .file("usr/share/doc/a/copyright", "")
        .file("usr/share/doc/a/changelog.gz", "")
        .file("usr/share/man/man1/a.1.gz", "")
        .file("usr/share/locale/de/LC_MESSAGES/a.mo", "")
        .file("usr/share/lintian/overrides/a", "")
        .file("usr/share/locales", "");
    let tree = tree(vec![a]);
    let kept: Vec<_> = tree.iter().filter(|(_, node)| node.package.is_some()).map(|(path, _)| path).collect();
    assert_eq!(kept, ["usr/share/doc/a", "usr/share/doc/a/copyright", "usr/share/locales"]);
}

#[test]
fn users_are_those_of_base_passwd() {
    let a = Draft::new("base-passwd")
        .file(
            "usr/share/base-passwd/passwd.master",
            "root:*:0:0:root:/root:/bin/bash\nwww-data:*:33:33:w:/var/www:/x\n",
        )
        .file("usr/share/base-passwd/group.master", "root:*:0:\nshadow:*:42:\n");
    let tree = tree(vec![a]);
    let passwd = "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33:w:/var/www:/x\n\
                  nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n";
    assert_eq!(text(&tree, "etc/passwd"), passwd);
    assert_eq!(text(&tree, "etc/group"), "root:x:0:\nshadow:x:42:\nnonroot:x:65532:\n");
    assert!(text(&super::tests::tree(vec![]), "etc/passwd").starts_with("root:x:0:0:root:/root:/sbin/nologin\n"));
}

#[test]
fn certificates_become_one_bundle() {
    let a = Draft::new("ca-certificates")
        .file("usr/share/ca-certificates/mozilla/B.crt", "b\n")
        .file("usr/share/ca-certificates/mozilla/A.crt", "a")
        .file("usr/share/ca-certificates/README", "");
    let tree = tree(vec![a]);
    assert_eq!(text(&tree, "etc/ssl/certs/ca-certificates.crt"), "a\nb\n");
    assert_eq!(origin(&tree, "usr/share/ca-certificates"), "none");
    for path in ["usr/lib/ssl/cert.pem", "usr/lib/ssl/certs/ca-certificates.crt"] {
        assert_eq!(tree.resolve(path).as_deref(), Some("etc/ssl/certs/ca-certificates.crt"), "{path}");
    }
}

#[test]
fn alternatives_are_linked_by_priority() {
    let script = "if [ \"$1\" = configure ]; then\nupdate-alternatives --install /usr/bin/js js /usr/bin/nodejs 50 \\\n  \
                  --slave /usr/share/man/man1/js.1.gz js.1.gz /usr/share/man/man1/nodejs.1.gz \\\n \
                  --slave /usr/bin/jsx jsx /usr/bin/nodex\nfi\n";
    let a = Draft::new("a").control("postinst", script).file("usr/bin/nodejs", "").file("usr/bin/nodex", "");
    let b = "update-alternatives --quiet --install /usr/bin/js js /usr/bin/other 60\n\
             update-alternatives --install /usr/bin/taken taken /usr/bin/other 1\n\
             update-alternatives --install /usr/bin/gone gone /usr/bin/missing 1\n\
             update-alternatives --install /bin/short short /bin/other 1\n\
             update-alternatives --install \"/usr/../x\" x /usr/bin/other 1\nupdate-alternatives --remove js /usr/bin/other\n";
    let b = Draft::new("b").control("postinst", b).file("usr/bin/taken", "");
    let one = tree(vec![a, b]);
    assert_eq!(origin(&one, "usr/bin/js"), "-->/etc/alternatives/js");
    assert_eq!(one.resolve("usr/bin/js").as_deref(), Some("usr/bin/nodejs"));
    assert_eq!(one.resolve("usr/bin/jsx").as_deref(), Some("usr/bin/nodex"));
    assert_eq!(origin(&one, "usr/share/man/man1/js.1.gz"), "none");

    let a = Draft::new("a").control("postinst", script).file("usr/bin/nodejs", "").file("usr/bin/nodex", "");
    let b = Draft::new("b")
        .control("postinst", "update-alternatives --install /usr/bin/js js /usr/bin/other 60; update-alternatives --install /bin/short short /bin/other 1")
        .file("bin/other", "");
    let two = tree(vec![a, b]);
    assert_eq!(two.resolve("usr/bin/js").as_deref(), Some("usr/bin/other"));
    assert_eq!(origin(&two, "usr/bin/jsx"), "none", "a slave of what was not chosen");
    assert_eq!(origin(&two, "usr/bin/short"), "-->/etc/alternatives/short");
}

#[test]
fn scanners_find_each_package_and_the_sums_of_what_is_here() {
    let sums = "00000000000000000000000000000001  bin/a\n00000000000000000000000000000002  usr/share/man/a.1.gz\n\
                00000000000000000000000000000003  usr/share/a\n";
    let a = Draft::new("a")
        .control("md5sums", sums)
        .file("bin/a", "")
        .file("usr/share/man/a.1.gz", "")
        .file("usr/share/a", "");
    let settings =
        Settings { strip: PatternSet::new(vec!["usr/share/a".parse().expect("a pattern")]), ..Settings::default() };
    let tree = tree_of(vec![a, Draft::new("b")], &settings).expect("a tree");
    assert_eq!(text(&tree, "var/lib/dpkg/status.d/a"), "Package: a\nVersion: 1-1\nArchitecture: amd64\n");
    assert_eq!(text(&tree, "var/lib/dpkg/status.d/a.md5sums"), "00000000000000000000000000000001  bin/a\n");
    assert_eq!(origin(&tree, "var/lib/dpkg/status.d/b"), "-:made");
    assert_eq!(origin(&tree, "var/lib/dpkg/status.d/b.md5sums"), "none");
}

#[test]
fn what_scripts_would_configure_is_there() {
    let bare = tree(vec![]);
    assert!(text(&bare, "etc/nsswitch.conf").contains("hosts: files dns\n"));
    assert!(text(&bare, "etc/os-release").contains("VERSION_ID=\"12.11\"\n"));
    let a = Draft::new("a")
        .file("usr/share/libc-bin/nsswitch.conf", "own\n")
        .file("usr/lib/os-release", "ID=ubuntu\n")
        .symlink("etc/os-release", "../usr/lib/os-release");
    let tree = tree(vec![a]);
    assert_eq!(text(&tree, "etc/nsswitch.conf"), "own\n");
    assert_eq!(origin(&tree, "etc/os-release"), "a->../usr/lib/os-release");
    for (path, expected) in [("tmp", "-/1777"), ("run", "-/755"), ("home/nonroot", "-/700"), ("app", "-/755")] {
        assert_eq!(origin(&tree, path), expected);
    }
}
