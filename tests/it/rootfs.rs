//! The root filesystem that an image holds, judged by the real apk: the same packages, installed by it, make the same tree.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use crate::support::{
    Finished, Home,
    alpine::{self, Apk, Mirror},
    apk_file::{Entry, Node},
    fake_repo::{Package, Repo},
    is_root, run, skip_forbidden,
    tree::{Kind, Tree, decompress, layers},
};

/// The real apk and its mirror, when they can be used for real: with owners, and with scripts in a chroot.
#[track_caller]
fn judge() -> Option<(Apk, Mirror)> {
    if !is_root() {
        skip_forbidden("needs root: apk changes owners, and runs scripts with chroot");
        return None;
    }
    Some((alpine::apk()?, alpine::mirror()?))
}

/// This machine's platform.
fn here() -> String {
    microbuild::internals::plan::host_platform().to_string()
}

/// Builds an image of `packages` and an app of one empty file, as the OCI layout `image`; `mirror` is the mirror's folder
/// and that of its keys.
fn try_build(home: &Home, mirror: (&Path, &Path), base: &str, platform: &str, packages: &[&str]) -> Finished {
    let name = base.split(':').next().expect("a word");
    let recipe = format!(
        "name = \"world\"\ndescription = \"-\"\n[base.{name}]\npackages = {packages:?}\n[app]\ncmd = [\"/run/a\"]\n"
    );
    fs::write(home.path().join("world.toml"), recipe).expect("a recipe");
    fs::create_dir_all(home.path().join("app")).expect("an app");
    fs::write(home.path().join("app/main"), "").expect("an app");
    let mut command =
        home.microbuild(["./world.toml", "app", "--base", base, "--platform", platform, "-o", "oci:image"]);
    run(command.arg("--mirror").arg(mirror.0).arg("--keys").arg(mirror.1))
}

/// The layout of an image of `packages`.
#[track_caller]
fn build(home: &Home, mirror: &Mirror, base: &str, platform: &str, packages: &[&str]) -> PathBuf {
    try_build(home, (&mirror.dir, &mirror.keys_dir), base, platform, packages).succeeds();
    home.path().join("image")
}

/// Which of the two trees has what the other has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// The image.
    Ours,
    /// The root that apk installed.
    Apks,
    /// Both, with other content.
    Both,
}

/// All that may differ, and why. A path with a slash at its end stands for the folder and all below it; one with `*` in
/// front for all that ends so. The module documentation of `microbuild::rootfs` has the same list for users.
const ON_PURPOSE: [(&str, Side, &str); 18] = [
    ("app/", Side::Ours, "the app"),
    ("home/nonroot/", Side::Ours, "the user that the image runs as"),
    ("home", Side::Ours, "the folder of nonroot's, where no package brings it"),
    ("root", Side::Ours, "root's own folder, where no package brings it"),
    ("sys", Side::Ours, "what a container runtime mounts on, where no package brings it"),
    ("tmp", Side::Ours, "for the app, where no package brings it"),
    ("etc/apk/keys/", Side::Ours, "the keys that vouched for the packages; apk was given them as an option"),
    ("etc/apk/repositories", Side::Ours, "where further packages come from; apk was given them as options"),
    ("etc/alpine-release", Side::Ours, "for scanners, where no package brings it"),
    ("etc/os-release", Side::Ours, "for scanners, where no package brings it"),
    ("etc/passwd", Side::Both, "nonroot; checked line by line"),
    ("etc/group", Side::Both, "nonroot; checked line by line"),
    ("etc/shadow", Side::Both, "nonroot, and no day of the last change; checked line by line"),
    ("*-", Side::Apks, "backups that busybox's adduser makes of the three"),
    ("lib/apk/db/scripts.tar.gz", Side::Both, "another compressor; checked member by member"),
    ("var/log/apk.log", Side::Apks, "a log with the time of the installation"),
    ("var/log", Side::Apks, "the log's folder, where no package brings it"),
    ("var", Side::Apks, "the log's folder, where no package brings it"),
];

/// The triggers that apk ran, and that no runtime needs.
const TRIGGERED: [(&str, Side, &str); 1] = [(
    "etc/ssl/certs/",
    Side::Apks,
    "ca-certificates' links for OpenSSL's other way to find a root; the bundle holds them all",
)];

/// Whether an entry of the lists is about `path`.
fn covers(pattern: &str, path: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('/')) {
        (Some(end), _) => path.ends_with(end),
        (None, Some(folder)) => path == folder || path.starts_with(pattern),
        _ => path == pattern,
    }
}

/// The differences that no entry of the lists explains: path, ours, apk's.
fn unexplained(ours: &Tree, apks: &Tree, explained: &[(&str, Side, &str)]) -> Vec<String> {
    let (here, there) = (ours.describe(), apks.describe());
    let paths: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
    let mut left = Vec::new();
    for path in paths {
        let (our, apk) = (here.get(path), there.get(path));
        let side = match (our, apk) {
            (Some(our), Some(apk)) if our == apk => continue,
            (Some(_), Some(_)) => Side::Both,
            (Some(_), None) => Side::Ours,
            _ => Side::Apks,
        };
        if !explained.iter().any(|(pattern, may, _)| *may == side && covers(pattern, path)) {
            left.push(format!("{path}: {our:?}, apk: {apk:?}"));
        }
    }
    left
}

/// The lines of passwd, group or shadow, without nonroot's and without the days of the last changes.
fn accounts(tree: &Tree, path: &str) -> Vec<String> {
    let lines = tree.text(path).lines().filter(|line| !line.starts_with("nonroot:"));
    let fields = |line: &str| -> Vec<String> { line.split(':').map(str::to_owned).collect() };
    lines
        .map(|line| {
            let mut fields = fields(line);
            if path.ends_with("shadow") {
                fields[2].clear();
            }
            fields.join(":")
        })
        .collect()
}

/// The scripts that apk's database holds: name, mode, owner's name, time, text.
fn scripts(tree: &Tree) -> Vec<(String, u32, String, u64, String)> {
    let Some(Kind::File(bytes)) = tree.get("lib/apk/db/scripts.tar.gz").map(|inode| &inode.kind) else {
        return Vec::new();
    };
    let tar = decompress("gzip", bytes);
    let mut archive = tar::Archive::new(&tar[..]);
    let members = archive.entries().expect("a tar").map(|member| {
        let mut member = member.expect("a member");
        let mut text = String::new();
        member.read_to_string(&mut text).expect("a script");
        let header = member.header();
        let name = member.path().expect("a name").display().to_string();
        let user = header.username().expect("UTF-8").unwrap_or_default().to_owned();
        (name, header.mode().expect("a mode"), user, header.mtime().expect("a time"), text)
    });
    members.collect()
}

/// Fails unless two installed databases are the same, record by record.
#[track_caller]
fn assert_same_records(ours: &str, apks: &str) {
    for (our, apk) in ours.split("\n\n").zip(apks.split("\n\n")) {
        assert_eq!(our.lines().collect::<Vec<_>>(), apk.lines().collect::<Vec<_>>());
    }
    assert_eq!(ours, apks);
}

/// Fails unless an image's tree is that of apk, but for what is on purpose.
#[track_caller]
fn assert_like_apks(ours: &Tree, apks: &Tree) {
    assert_same_records(ours.text("lib/apk/db/installed"), apks.text("lib/apk/db/installed"));
    assert_eq!(scripts(ours), scripts(apks));
    for path in ["etc/passwd", "etc/group", "etc/shadow"] {
        assert_eq!(accounts(ours, path), accounts(apks, path), "{path}");
    }
    let explained: Vec<_> = ON_PURPOSE.into_iter().chain(TRIGGERED).collect();
    assert_eq!(unexplained(ours, apks, &explained), Vec::<String>::new());
}

/// The worlds that are compared. `linux-virt` is left out of them all: its trigger builds an initramfs.
const WORLDS: [&[&str]; 4] = [
    &["alpine-baselayout", "busybox"],
    &["alpine-baselayout", "alpine-release", "alpine-keys", "busybox", "apk-tools", "ca-certificates-bundle", "curl"],
    &["alpine-baselayout-data", "busybox", "nodejs", "npm"],
    &[
        "alpine-baselayout",
        "busybox",
        "ca-certificates",
        "cryptsetup-libs",
        "curl",
        "dhcpcd",
        "dhcpcd-openrc",
        "e2fsprogs",
        "e2fsprogs-extra",
        "ifupdown-ng",
        "kmod",
        "lddtree",
        "mdev-conf",
        "musl-utils",
        "ncurses-terminfo-base",
        "openrc",
        "openrc-user",
        "partx",
        "sfdisk",
        "ssl_client",
        "sudo",
    ],
];

#[test]
fn the_tree_is_that_of_the_real_apk() {
    let Some((apk, mirror)) = judge() else { return };
    for packages in WORLDS {
        let home = Home::new();
        let ours = Tree::of_layout(&build(&home, &mirror, "alpine:3.23", &here(), packages));
        let dir = tempfile::tempdir().expect("a temporary folder");
        apk.add(dir.path(), &mirror, packages).succeeds();
        assert_like_apks(&ours, &Tree::of_folder(dir.path()));
    }
}

#[test]
fn the_example_is_what_the_real_apk_would_make_of_its_world() {
    let Some((apk, mirror)) = judge() else { return };
    let home = Home::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/node");
    let mut command = home.microbuild(["node", "--base", "alpine:3.23", "-o", "oci:image"]);
    command.arg(example).arg("--mirror").arg(&mirror.dir).arg("--keys").arg(&mirror.keys_dir);
    run(&mut command).succeeds();
    let layout = home.path().join("image");
    let ours = Tree::of_layout(&layout);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let world: Vec<&str> = ours.text("etc/apk/world").lines().collect();
    apk.add(dir.path(), &mirror, &world).succeeds();
    assert_like_apks(&ours, &Tree::of_folder(dir.path()));
    assert!(layers(&layout).len() > 3, "large packages are layers of their own");
}

#[test]
fn the_tree_for_another_machine_is_that_of_the_real_apk() {
    let Some((apk, mirror)) = judge() else { return };
    let other =
        if std::env::consts::ARCH == "aarch64" { ("linux/amd64", "x86_64") } else { ("linux/arm64", "aarch64") };
    let packages = ["alpine-baselayout", "busybox", "curl", "dhcpcd", "nodejs", "sudo"];
    let home = Home::new();
    let ours = Tree::of_layout(&build(&home, &mirror, "alpine:3.23", other.0, &packages));
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut add = apk.on(dir.path(), &mirror.dir, &mirror.keys_dir, other.1);
    run(add.args(["add", "--initdb", "--no-scripts"]).args(packages)).succeeds();
    let apks = Tree::of_folder(dir.path());
    let is_link = |line: &str| line.contains("-> /bin/busybox") && line.ends_with("apk: None");
    let mut left = unexplained(&ours, &apks, &ON_PURPOSE);
    assert!(left.iter().any(|line| is_link(line)), "busybox's links, which a script makes");
    left.retain(|line| !is_link(line));
    assert_eq!(left, Vec::<String>::new());
    assert_same_records(ours.text("lib/apk/db/installed"), apks.text("lib/apk/db/installed"));
}

/// What `apk` says of the root filesystem below `root`; `info` and `audit` read its database.
fn asks(apk: &Apk, root: &Path, words: &str) -> Vec<String> {
    let mut command = apk.command();
    command.arg("--root").arg(root).args(["--no-network", "--repositories-file", "/dev/null"]).args(words.split(' '));
    let mut lines: Vec<String> = run(&mut command).succeeds().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn the_real_apk_finds_its_way_in_the_image() {
    let Some((apk, mirror)) = judge() else { return };
    let packages = WORLDS[3];
    let home = Home::new();
    let ours = home.path().join("root");
    Tree::of_layout(&build(&home, &mirror, "alpine:3.23", &here(), packages)).write_to(&ours);
    let apks = tempfile::tempdir().expect("a temporary folder");
    apk.add(apks.path(), &mirror, packages).succeeds();
    for words in [
        "info -vv",
        "info -L busybox sudo",
        "info -a dhcpcd",
        "info -W /usr/bin/sudo /etc/passwd",
        "audit --system",
        "version -v",
    ] {
        assert_eq!(asks(&apk, &ours, words), asks(&apk, apks.path(), words), "{words}");
    }
    // `A PATH` is in no package, `U PATH` is changed, `D PATH` a folder of none, `M`, `m`, `X` worse.
    for words in ["audit --full", "audit --check-permissions --full"] {
        let about = |root| -> BTreeMap<String, String> {
            let lines = asks(&apk, root, words).into_iter();
            lines
                .map(|line| line.split_once(' ').map(|(k, p)| (p.to_owned(), k.to_owned())).expect("KIND PATH"))
                .collect()
        };
        let (here, there) = (about(&ours), about(apks.path()));
        let differs = |path: &&String| here.get(*path) != there.get(*path);
        let allowed = |path: &&String| {
            let path = path.trim_end_matches('/');
            ON_PURPOSE.iter().chain(&TRIGGERED).any(|(pattern, _, _)| covers(pattern, path))
        };
        let left: Vec<_> = here.keys().chain(there.keys()).filter(differs).filter(|path| !allowed(path)).collect();
        assert_eq!(left, Vec::<&String>::new(), "{words}");
    }
}

#[test]
fn the_real_apk_goes_on_from_the_image() {
    let Some((apk, mirror)) = judge() else { return };
    let home = Home::new();
    let root = home.path().join("root");
    Tree::of_layout(&build(&home, &mirror, "alpine:3.23", &here(), WORLDS[0])).write_to(&root);
    let arch = std::env::consts::ARCH;
    let mut fix = apk.on(&root, &mirror.dir, &root.join("etc/apk/keys"), arch);
    assert!(!run(fix.arg("fix")).succeeds().contains("nstalling"), "nothing is missing");
    let mut add = apk.on(&root, &mirror.dir, &root.join("etc/apk/keys"), arch);
    let added = run(add.args(["add", "curl"]));
    assert!(added.succeeds().contains("Installing curl"), "{added:?}");
    let mut del = apk.on(&root, &mirror.dir, &root.join("etc/apk/keys"), arch);
    assert!(run(del.args(["del", "curl"])).succeeds().contains("Purging curl"));
    assert_eq!(asks(&apk, &root, "audit --system"), Vec::<String>::new());
}

#[test]
fn an_image_from_scratch_has_a_database_too() {
    let Some((apk, mirror)) = judge() else { return };
    let home = Home::new();
    let layout = build(&home, &mirror, "scratch", &here(), &["alpine-baselayout-data", "musl", "zlib"]);
    let tree = Tree::of_layout(&layout);
    let root = home.path().join("root");
    tree.write_to(&root);
    let apks = tempfile::tempdir().expect("a temporary folder");
    apk.add(apks.path(), &mirror, &["alpine-baselayout-data", "musl", "zlib"]).succeeds();
    for words in ["info -vv", "info -L musl", "info -W /lib/ld-musl-x86_64.so.1", "audit --system"] {
        assert_eq!(asks(&apk, &root, words), asks(&apk, apks.path(), words), "{words}");
    }
    for path in ["etc/apk/keys", "etc/apk/repositories", "lib/apk/db/scripts.tar.gz", "lib/apk/db/triggers", "bin/sh"] {
        assert!(tree.get(path).is_none(), "{path} in an image without apk");
    }
    let apks = Tree::of_folder(apks.path());
    assert_same_records(tree.text("lib/apk/db/installed"), apks.text("lib/apk/db/installed"));
}

/// Packages that have the same paths, and what decides between them.
fn overlapping() -> Vec<(&'static str, Vec<Package>)> {
    let file = |name: &str| Package::new(name, "1-r0").file("usr/share/x", 0o644, name);
    let link = |name: &str| Package::new(name, "1-r0").symlink("usr/share/x", name);
    let dir = |name: &str, mode: u32| Package::new(name, "1-r0").dir("srv/x", mode);
    let linked = |name: &str| file(name).hardlink("usr/share/y", "usr/share/x");
    vec![
        ("nothing", vec![file("a"), file("b")]),
        ("the second replaces", vec![file("a"), file("b").replaces("a")]),
        ("the first replaces", vec![file("a").replaces("b"), file("b")]),
        ("a version that is not there", vec![file("a"), file("b").replaces("a<1")]),
        ("a version that is there", vec![file("a"), file("b").replaces("a<2")]),
        ("both, equal", vec![file("a").replaces("b"), file("b").replaces("a")]),
        (
            "both, the first stronger",
            vec![file("a").replaces("b").replaces_priority(2), file("b").replaces("a").replaces_priority(1)],
        ),
        (
            "both, the second stronger",
            vec![file("a").replaces("b").replaces_priority(1), file("b").replaces("a").replaces_priority(2)],
        ),
        ("the first, with a priority", vec![file("a").replaces("b").replaces_priority(5), file("b")]),
        ("a priority alone", vec![file("a").replaces_priority(5), file("b")]),
        ("one origin", vec![file("a").origin("o"), file("b").origin("o")]),
        ("one origin, the first replaces", vec![file("a").origin("o").replaces("b"), file("b").origin("o")]),
        ("a link over a file", vec![file("a"), link("b").replaces("a")]),
        ("a file over a link", vec![link("a"), file("b").replaces("a")]),
        ("a link and a file", vec![link("a").replaces("b"), file("b")]),
        ("two names, the first replaced", vec![linked("a"), file("b").replaces("a")]),
        ("two names over one", vec![file("a"), linked("b").replaces("a")]),
        ("two names over two", vec![linked("a"), linked("b").replaces("a")]),
        (
            "a name with another mode",
            vec![
                file("a").raw(Entry::new("usr/share/z", 0o600, Node::Hardlink("usr/share/x".into()))),
                file("b").replaces("a"),
            ],
        ),
        ("three packages", vec![file("a"), file("b").replaces("a"), file("c").replaces("a b")]),
        ("folders", vec![dir("a", 0o700), dir("b", 0o755)]),
        ("folders, the second stronger", vec![dir("a", 0o700), dir("b", 0o755).replaces_priority(1)]),
        (
            "folders, the first stronger",
            vec![dir("a", 0o700).replaces_priority(2), dir("b", 0o755).replaces_priority(1)],
        ),
        ("folders, the second replaces", vec![dir("a", 0o700), dir("b", 0o755).replaces("a")]),
        ("folders of one origin, the second main", vec![dir("a", 0o700).origin("b"), dir("b", 0o755).origin("b")]),
        ("folders of one origin, the first main", vec![dir("a", 0o700).origin("a"), dir("b", 0o755).origin("a")]),
        ("folders of one origin, neither main", vec![dir("a", 0o700).origin("o"), dir("b", 0o755).origin("o")]),
        (
            "three folders",
            vec![dir("a", 0o700), dir("b", 0o750).replaces_priority(3), dir("c", 0o755).replaces_priority(3)],
        ),
        ("a merged /usr", vec![merged(), below("lib/x"), below("lib64/y")]),
        ("a merged /usr, and a folder below it", vec![merged(), below("lib/deep/x"), below("usr/lib/deep/y")]),
        (
            "a merged /usr, and links",
            vec![merged(), Package::new("b", "1-r0").symlink("lib/x", "y").file("lib/y", 0o755, "y")],
        ),
        ("a merged /usr, and two names", vec![merged(), below("lib/x").hardlink("lib/y", "lib/x")]),
        ("a merged /usr, and only a folder", vec![merged(), Package::new("b", "1-r0").dir("lib", 0o700)]),
        ("a merged /usr, last", vec![Package::new("a", "1-r0").file("lib/x", 0o644, "a"), merged_as("b")]),
        ("a link that leads nowhere", vec![Package::new("a", "1-r0").symlink("lib", "none/lib"), below("lib/x")]),
        ("a link to a file", vec![file("a").symlink("lib", "usr/share/x"), below("lib/x")]),
        ("a link of its own", vec![merged().file("lib/x", 0o644, "a")]),
        ("owners", vec![dir("a", 0o2775).owner("12:twelve", "13:thirteen"), file("b").owner("99:root", "98:root")]),
    ]
}

/// `/lib` in `/usr`, as a package of that name has it.
fn merged_as(name: &str) -> Package {
    let package = Package::new(name, "1-r0").dir("usr/lib", 0o755).symlink("lib", "usr/lib");
    package.symlink("usr/lib64", "lib").symlink("lib64", "usr/lib64")
}

fn merged() -> Package {
    merged_as("a")
}

/// The package `b`, or `c` for a path with a y at its end, with one file.
fn below(path: &str) -> Package {
    Package::new(if path.ends_with('y') { "c" } else { "b" }, "1-r0").file(path, 0o644, path)
}

/// The text of apk's database, which lies where links lead.
fn database(tree: &Tree) -> &str {
    let path = "usr/lib/apk/db/installed";
    tree.text(if tree.get(path).is_some() { path } else { "lib/apk/db/installed" })
}

#[test]
fn paths_of_two_packages_go_to_whom_the_real_apk_gives_them() {
    let Some((apk, _)) = judge() else { return };
    let explained: Vec<_> = ON_PURPOSE
        .into_iter()
        .chain([("etc/", Side::Ours, "-"), ("dev", Side::Ours, "-"), ("proc", Side::Ours, "-")])
        .chain([("usr/lib/apk/db/scripts.tar.gz", Side::Both, "another compressor")])
        .collect();
    let mut wrong = Vec::new();
    for (title, packages) in overlapping() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let names: Vec<&str> = ["a", "b", "c"][..packages.len()].to_vec();
        let keys_dir = packages.into_iter().fold(Repo::new(), Repo::with).publish(dir.path());
        Repo::new().beside("community").publish(dir.path());
        let root = dir.path().join("root");
        let mut add = apk.on(&root, dir.path(), &keys_dir, "x86_64");
        let added = run(add.args(["add", "--initdb"]).args(&names));
        let home = Home::new();
        let built = try_build(&home, (dir.path(), &keys_dir), "alpine:3.23", "linux/amd64", &names);
        if added.code != Some(0) || built.code != Some(0) {
            if (added.code == Some(0)) != (built.code == Some(0)) {
                wrong.push(format!("{title}: ours {}, apk's {}", built.stderr, added.stderr));
            }
            continue;
        }
        let (ours, apks) = (Tree::of_layout(&home.path().join("image")), Tree::of_folder(&root));
        wrong.extend(unexplained(&ours, &apks, &explained).into_iter().map(|line| format!("{title}: {line}")));
        let (our, apk) = (database(&ours), database(&apks));
        if our != apk {
            wrong.push(format!("{title}: database\n{our}---\n{apk}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
