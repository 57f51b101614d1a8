//! Archives as they should be: what is asked for, what is fetched, which packages are chosen, and what the image holds.

use std::fs;

use microbuild::internals::package::Packing;
use serde_json::Value;

use super::{BY_HASH, Bench, LIST, good, node, redacted};
use crate::support::{
    Finished, Home,
    fake_debian::{Archive, Deb, node_debs},
    mirror_server::{MirrorServer, Request},
    run,
    tree::{Kind, Tree},
    workbench::{digest, json, one_line, text},
};

/// Builds with `args` in `home`; the image's digest.
#[track_caller]
fn built(bench: &Bench, home: &Home, mirror: &str, args: &[&str]) -> String {
    digest(&one_line(&run(bench.command(home, mirror).args(args)))).to_owned()
}

/// The version of a package of which a build from the folder says that it is part of the image.
#[track_caller]
fn version(bench: &Bench, name: &str, args: &[&str]) -> Option<String> {
    let built = json(&run(bench.command(&Home::new(), &text(&bench.mirror())).arg("--json").args(args)));
    let packages = built["packages"].as_array().expect("packages");
    let found = packages.iter().find(|package| package["name"] == name)?;
    Some(found["version"].as_str().expect("text").to_owned())
}

/// The image that a build from the folder makes.
#[track_caller]
fn tree(bench: &Bench, args: &[&str]) -> Tree {
    let layout = bench.dir.path().join("layout");
    let _ = fs::remove_dir_all(&layout);
    run(bench.command(&Home::new(), &text(&bench.mirror())).args(args).args(["-o", &format!("oci:{}", text(&layout))]))
        .succeeds();
    Tree::of_layout(&layout)
}

fn is_there(tree: &Tree, path: &str) -> bool {
    tree.get(path).is_some()
}

#[track_caller]
fn link(tree: &Tree, path: &str) -> String {
    match tree.get(path).map(|inode| &inode.kind) {
        Some(Kind::Symlink(target)) => target.clone(),
        other => panic!("{path}: expected a link, found {other:?}"),
    }
}

/// Paths and statuses, in the order of the paths; what is asked at the same time comes in any order.
fn asked(requests: &[Request]) -> Vec<(u16, &str)> {
    let mut asked: Vec<_> = requests.iter().map(|request| (request.status, request.path.as_str())).collect();
    asked.sort_unstable_by_key(|(status, path)| (*path, *status));
    asked
}

/// The mirror over HTTP, and its address.
fn served(bench: &Bench) -> (MirrorServer, String) {
    let server = bench.serve();
    let mirror = format!("{}/debian", server.url());
    (server, mirror)
}

#[test]
fn a_second_build_asks_only_whether_something_changed() {
    let Some(bench) = Bench::of(&good()) else { return };
    bench.publish(&Archive::new("bookworm-updates"));
    let (server, mirror) = served(&bench);
    let home = Home::new();
    let first = built(&bench, &home, &mirror, &[]);
    let requests = server.take_requests();
    let fetched: Vec<_> = asked(&requests).into_iter().filter(|(status, _)| *status == 200).collect();
    // Two Releases, two lists under their hashes, six packages.
    assert_eq!(fetched.len(), 10, "{fetched:?}");
    assert!(!requests.iter().any(|request| request.path.ends_with("/Packages.xz")), "{requests:?}");

    assert_eq!(built(&bench, &home, &mirror, &[]), first);
    let requests = server.take_requests();
    let (there, missing): (Vec<_>, Vec<_>) = requests.into_iter().partition(|request| request.status != 404);
    assert_eq!(
        asked(&there),
        [(304, "/debian/dists/bookworm-updates/InRelease"), (304, "/debian/dists/bookworm/InRelease")]
    );
    assert!(missing.iter().all(|request| request.path.contains("/bookworm-security/")), "{missing:?}");
    assert_eq!(built(&bench, &home, &text(&bench.mirror()), &[]), first, "from the folder");
}

#[test]
fn a_new_release_costs_what_it_changed() {
    let Some(bench) = Bench::of(&good()) else { return };
    let (server, mirror) = served(&bench);
    let home = Home::new();
    let first = built(&bench, &home, &mirror, &[]);
    bench.publish(&good().without("netbase").with(Deb::new("netbase", "6.5").arch("all").file(
        "etc/services",
        0o644,
        "",
    )));
    server.take_requests();
    assert_ne!(built(&bench, &home, &mirror, &[]), first);
    let requests = server.take_requests();
    let fetched: Vec<_> = asked(&requests).into_iter().filter(|(status, _)| *status == 200).collect();
    let [(_, release), (_, list), (_, package)] = fetched[..] else { panic!("{fetched:?}") };
    assert!(list.starts_with(&format!("/debian/{BY_HASH}/")), "{list}");
    assert_eq!(
        [release, package],
        ["/debian/dists/bookworm/InRelease", "/debian/pool/main/n/netbase/netbase_6.5_all.deb"]
    );
}

#[test]
fn offline_takes_what_was_fetched_once() {
    for archive in [good(), good().detached()] {
        let Some(bench) = Bench::of(&archive) else { return };
        let (server, mirror) = served(&bench);
        let home = Home::new();
        let refused = run(bench.command(&home, &mirror).arg("--offline"));
        assert_eq!(refused.exits(3), "");
        assert!(refused.stderr.contains("bookworm/InRelease is not in the store"), "{}", refused.stderr);
        assert!(refused.stderr.contains("hint: build once without --offline"), "{}", refused.stderr);
        assert_eq!(server.take_requests(), []);
        let first = built(&bench, &home, &mirror, &[]);
        server.take_requests();
        assert_eq!(built(&bench, &home, &mirror, &["--offline"]), first);
        assert_eq!(server.take_requests(), []);
    }
}

#[test]
fn offline_asks_for_no_newer_release() {
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(4);
    let until = soon.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string();
    let Some(bench) = Bench::of(&good().set("Valid-Until", &until)) else { return };
    let (_server, mirror) = served(&bench);
    let home = Home::new();
    let first = built(&bench, &home, &mirror, &[]);
    std::thread::sleep(std::time::Duration::from_secs(5));
    let refused = run(&mut bench.command(&home, &mirror));
    assert_eq!(refused.exits(4), "");
    assert!(refused.stderr.contains("it was valid until"), "{}", refused.stderr);
    assert_eq!(built(&bench, &home, &mirror, &["--offline"]), first);
}

#[test]
fn a_release_that_is_refused_does_not_replace_a_good_one() {
    let Some(bench) = Bench::of(&good()) else { return };
    let (_server, mirror) = served(&bench);
    let home = Home::new();
    let first = built(&bench, &home, &mirror, &[]);
    bench.publish(&good().set("Codename", "trixie").set("Suite", "testing"));
    run(&mut bench.command(&home, &mirror)).exits(4);
    assert_eq!(built(&bench, &home, &mirror, &["--offline"]), first);
}

#[test]
fn a_signature_in_a_file_of_its_own_is_as_good() {
    let Some(bench) = Bench::of(&good()) else { return };
    let home = Home::new();
    let mirror = text(&bench.mirror());
    let expected = built(&bench, &home, &mirror, &[]);
    bench.replace(&good().detached());
    assert_eq!(built(&bench, &Home::new(), &mirror, &[]), expected);
}

#[test]
fn a_mirror_in_the_middle_of_an_update() {
    let Some(bench) = Bench::of(&good()) else { return };
    let mirror = text(&bench.mirror());
    let first = built(&bench, &Home::new(), &mirror, &[]);
    let newer = node(|deb| deb.file("usr/share/nodejs/new", 0o644, ""));
    // The Release is older than the list, of which the old state is still there under its hash.
    newer.publish(&bench.mirror(), &bench.signer);
    let second = built(&bench, &Home::new(), &mirror, &[]);
    good().publish_release(&bench.mirror(), &bench.signer);
    let stale = bench.build(&[]);
    assert_eq!(stale.exits(4), "", "the list is there, the package that it names is not");
    assert!(stale.stderr.contains("nodejs 18.19.0+dfsg-6~deb12u2: size in bytes"), "{}", stale.stderr);
    // The Release is newer than the list.
    for by_hash in ["yes", ""] {
        let (old, new) = (good().set("Acquire-By-Hash", by_hash), newer.clone().set("Acquire-By-Hash", by_hash));
        bench.replace(&old);
        assert_eq!(built(&bench, &Home::new(), &mirror, &[]), first);
        new.publish_release(&bench.mirror(), &bench.signer);
        let refused = bench.build(&[]);
        assert_eq!(refused.exits(4), "");
        assert!(refused.stderr.contains("Packages.xz of ") && refused.stderr.contains("as the signed Release says"));
        assert!(refused.stderr.contains("hint: the mirror may be in the middle of an update"), "{}", refused.stderr);
        bench.publish(&new);
        assert_eq!(built(&bench, &Home::new(), &mirror, &[]), second);
    }
    // A mirror that does not keep what its Release promises.
    fs::remove_dir_all(bench.mirror().join(BY_HASH)).expect("a folder");
    bench.replace(&good());
    fs::remove_dir_all(bench.mirror().join(BY_HASH)).expect("a folder");
    let (server, url) = served(&bench);
    for mirror in [mirror, url] {
        assert_eq!(built(&bench, &Home::new(), &mirror, &[]), first);
    }
    assert_eq!(server.count(LIST), 1);
}

#[test]
fn two_architectures() {
    let Some(bench) = Bench::new() else { return };
    let of_arm =
        node_debs().into_iter().filter(|deb| ["base-files", "base-passwd", "libc6", "nodejs"].contains(&deb.name()));
    bench.publish(&good().with_all(of_arm.map(|deb| deb.arch("arm64"))).architectures("amd64 arm64"));
    let mirror = text(&bench.mirror());
    let layout = bench.dir.path().join("layout");
    let both = ["--platform", "linux/amd64,linux/arm64", "-o", &format!("oci:{}", text(&layout))];
    let finished = run(bench.command(&Home::new(), &mirror).args(both));
    one_line(&finished);
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).expect("an index")).expect("JSON");
    let blob = |digest: &Value| -> Value {
        let name = digest.as_str().expect("a digest").replace(':', "/");
        serde_json::from_slice(&fs::read(layout.join("blobs").join(name)).expect("a blob")).expect("JSON")
    };
    let list = blob(&index["manifests"][0]["digest"]);
    let platforms: Vec<_> =
        list["manifests"].as_array().expect("manifests").iter().map(|m| &m["platform"]["architecture"]).collect();
    assert_eq!(platforms, ["amd64", "arm64"]);
}

#[test]
fn packings_do_not_matter() {
    let Some(bench) = Bench::new() else { return };
    let mut digests = Vec::new();
    for packing in [Packing::Xz, Packing::Zstd, Packing::Gzip, Packing::Plain] {
        bench.replace(&Archive::new("bookworm").with_all(node_debs().into_iter().map(|deb| deb.packing(packing))));
        digests.push(built(&bench, &Home::new(), &text(&bench.mirror()), &[]));
    }
    digests.dedup();
    assert_eq!(digests.len(), 1, "{digests:?}");
}

/// A small package, newer than that of [`node_debs`].
fn netbase(version: &str) -> Deb {
    Deb::new("netbase", version).arch("all").file("etc/services", 0o644, version)
}

#[test]
fn updates_and_security_updates_win_by_their_version() {
    let Some(bench) = Bench::of(&good()) else { return };
    let found = || version(&bench, "netbase", &[]).expect("it is needed");
    assert_eq!(found(), "6.4");
    bench.publish(&Archive::new("bookworm-updates").with(netbase("6.4+deb12u2")));
    assert_eq!(found(), "6.4+deb12u2");
    // Debian's own archive of security updates lies beside the mirror, Ubuntu's in it.
    Archive::new("bookworm-security")
        .with(netbase("6.4+deb12u3"))
        // As Debian calls them; the indexes lie in `main`.
        .set("Components", "updates/main updates/contrib")
        .publish(&bench.dir.path().join("debian-security"), &bench.signer);
    assert_eq!(found(), "6.4+deb12u3");
    bench.publish(&Archive::new("bookworm-security").with(netbase("6.4+deb12u1")));
    assert_eq!(found(), "6.4+deb12u3");
    bench.publish(&Archive::new("bookworm-security").with(netbase("6.4+deb12u4")));
    assert_eq!(found(), "6.4+deb12u4");
    // Backports and the like are not taken by themselves.
    let shy = Archive::new("bookworm-updates").with(netbase("6.9")).set("NotAutomatic", "yes");
    bench.publish(&shy);
    assert_eq!(found(), "6.4+deb12u4");

    // A suite that is there counts, and must be right.
    bench.publish(&shy.clone().by_stranger());
    let refused = bench.build(&[]);
    assert_eq!(refused.exits(4), "");
    assert!(refused.stderr.contains("bookworm-updates/InRelease: expected a signature by"), "{}", refused.stderr);
    let suite = bench.mirror().join("dists/bookworm-updates");
    fs::remove_dir_all(&suite).expect("a folder");
    bench.publish(&shy.detached());
    fs::remove_file(suite.join("Release.gpg")).expect("a signature");
    let refused = bench.build(&[]);
    assert_eq!(refused.exits(4), "");
    assert!(refused.stderr.contains("bookworm-updates/Release: expected a signed text"), "{}", refused.stderr);
}

#[test]
fn security_updates_are_found_beside_a_mirror_however_it_is_written() {
    let Some(bench) = Bench::of(&good()) else { return };
    Archive::new("bookworm-security")
        .with(netbase("6.5"))
        .publish(&bench.dir.path().join("debian-security"), &bench.signer);
    let folder = text(&bench.mirror());
    let (server, url) = served(&bench);
    let expected = built(&bench, &Home::new(), &folder, &[]);
    let file = format!("file://{folder}/");
    for mirror in [format!("{folder}/"), format!("{folder}/."), file, url.clone(), format!("{url}/")] {
        assert_eq!(built(&bench, &Home::new(), &mirror, &[]), expected, "{mirror}");
    }
    for mirror in ["../debian", ".", "dists/.."] {
        let home = Home::new();
        let mut here = bench.command(&home, mirror);
        here.current_dir(bench.mirror());
        assert_eq!(digest(&one_line(&run(&mut here))), expected, "{mirror}");
    }
    let requests = server.take_requests();
    assert!(requests.iter().any(|request| request.path == "/debian-security/dists/bookworm-security/InRelease"));
}

#[test]
fn a_mirror_that_is_a_whole_host_has_nothing_beside_it() {
    let Some(bench) = Bench::of(&good()) else { return };
    let server = MirrorServer::start(&bench.mirror());
    let expected = built(&bench, &Home::new(), &text(&bench.mirror()), &[]);
    for mirror in [server.url(), format!("{}/", server.url())] {
        assert_eq!(built(&bench, &Home::new(), &mirror, &[]), expected);
    }
}

#[test]
fn an_archive_like_that_of_ubuntu() {
    let Some(bench) = Bench::new() else { return };
    let mut archive = Archive::new("noble").set("Origin", "Ubuntu").set("Version", "24.04").set("Suite", "noble");
    for deb in node_debs() {
        let component = if deb.name() == "nodejs" { "universe" } else { "main" };
        archive = archive.with_in(component, deb.packing(Packing::Zstd));
    }
    bench.publish(&archive.with_in("restricted", Deb::new("secret", "1")));
    assert_eq!(version(&bench, "nodejs", &["--base", "debian:noble"]).as_deref(), Some("18.19.0+dfsg-6~deb12u2"));
    let refused = bench.build(&["--base", "debian:noble", "-p", "secret"]);
    assert_eq!(refused.exits(1), "", "nobody asked for its component");
}

#[test]
fn further_repositories() {
    let Some(bench) = Bench::of(&good()) else { return };
    let other = bench.dir.path().join("other");
    Archive::new("stable")
        .set("Origin", "Somebody")
        .with_in("tools", Deb::new("tool", "2-1").depends("libc6").file("usr/bin/tool", 0o755, "a tool"))
        .publish(&other, &bench.signer);
    let folder = format!("deb file:{} stable tools", text(&other));
    let server = MirrorServer::start(bench.dir.path());
    for line in [folder.clone(), folder[4..].to_owned(), format!("deb {}/other stable tools", server.url())] {
        let found = version(&bench, "tool", &["--repository", &line, "-p", "tool"]);
        assert_eq!(found.as_deref(), Some("2-1"), "{line}");
    }
    for (line, code, said) in [
        (
            format!("deb file:{} stable none", text(&other)),
            2,
            "expected an index of none for amd64, found only main, tools",
        ),
        (format!("deb file:{} oldstable tools", text(&other)), 3, "cannot read "),
        ("deb https://example.invalid".to_owned(), 2, "--repository, line 1: expected `deb [option=value] URI SUITE"),
    ] {
        let refused = bench.build(&["--repository", &line]);
        assert_eq!(refused.exits(code), "", "{line}");
        assert!(refused.stderr.contains(said) && refused.stderr.contains("hint: "), "{line}: {}", refused.stderr);
    }
}

/// [`good`] with a few packages that somebody may ask for.
fn choices() -> Archive {
    good()
        .with(Deb::new("busybox", "1:1.35.0-4").depends("libc6 (>= 2.30)").file("bin/busybox", 0o755, "busybox"))
        .with(Deb::new("mail-a", "1").field("Provides", "mailer").file("usr/bin/a", 0o755, ""))
        .with(Deb::new("mail-b", "1").field("Provides", "mailer").file("usr/bin/b", 0o755, ""))
        .with(Deb::new("needy", "1").depends("libc6 (>= 3), netbase"))
        .with(Deb::new("broken", "1").depends("needy | nothing"))
        .with(Deb::new("enemy", "1").field("Conflicts", "netbase"))
        .with(Deb::new("thief", "1").file("usr/bin/node", 0o755, "not node"))
        .with(Deb::new("heir", "2").field("Replaces", "nodejs (<< 19)").file("usr/bin/node", 0o755, "another node"))
        .with(Deb::new("late-heir", "2").field("Replaces", "nodejs (<< 1)").file("usr/bin/node", 0o755, "too late"))
}

#[test]
fn packages_that_are_asked_for() {
    let Some(bench) = Bench::of(&choices()) else { return };
    for (wish, name, found) in [
        ("busybox", "busybox", "1:1.35.0-4"),
        ("busybox=1:1.35.0-4", "busybox", "1:1.35.0-4"),
        ("nodejs=18.19.0+dfsg-6~deb12u2", "nodejs", "18.19.0+dfsg-6~deb12u2"),
    ] {
        assert_eq!(version(&bench, name, &["-p", wish]).as_deref(), Some(found), "{wish}");
    }
    let mut told = String::new();
    for (code, wish) in [
        (1, "busibox"),
        (1, "qqqqqqqq"),
        (1, "busybox=1.36"),
        (1, "mailer"),
        (1, "needy"),
        (1, "broken"),
        (1, "enemy"),
        (1, "thief"),
        (1, "late-heir"),
        (2, "busybox>1"),
        (2, "Busy Box"),
    ] {
        let refused: Finished = bench.build(&["-p", wish]);
        assert_eq!(refused.exits(code), "", "{wish}");
        told += &redacted(&bench, &format!("# -p {wish}: {code}\n{}", refused.stderr));
    }
    insta::assert_snapshot!(told);
}

#[test]
fn what_an_image_holds() {
    let Some(bench) = Bench::of(&choices()) else { return };
    let tree = tree(&bench, &["-p", "busybox", "-p", "heir"]);
    // Merged /usr: packages that still say /bin and /lib are at home below /usr.
    for (path, target) in [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")] {
        assert_eq!(link(&tree, path), target);
    }
    for path in ["usr/bin/busybox", "usr/lib/x86_64-linux-gnu/libc.so.6", "usr/lib64/ld-linux-x86-64.so.2"] {
        assert!(is_there(&tree, path), "{path}");
    }
    // Alternatives and Replaces.
    assert_eq!(link(&tree, "usr/bin/js"), "/etc/alternatives/js");
    assert_eq!(link(&tree, "etc/alternatives/js"), "/usr/bin/node");
    assert_eq!(tree.text("usr/bin/node"), "another node");
    // Users, certificates, name lookup, the distribution.
    assert_eq!(tree.text("etc/passwd").lines().next(), Some("root:x:0:0:root:/root:/bin/bash"));
    assert_eq!(tree.text("etc/group").lines().next(), Some("root:x:0:"));
    assert_eq!(tree.text("etc/ssl/certs/ca-certificates.crt"), "certificate A\ncertificate B\n");
    assert!(!is_there(&tree, "usr/share/ca-certificates"));
    assert!(tree.text("etc/nsswitch.conf").contains("hosts: files dns\n"));
    assert_eq!(link(&tree, "etc/os-release"), "../usr/lib/os-release");
    assert_eq!(tree.get("tmp").expect("a folder").mode & 0o7777, 0o1777);
    assert!(is_there(&tree, "app/server.js"));
    // What nobody looks at.
    assert!(is_there(&tree, "usr/share/doc/libc6/copyright"));
    for path in ["usr/share/doc/libc6/changelog.gz", "usr/share/man", "var/lib/dpkg/status", "usr/share/doc/nodejs"] {
        assert!(!is_there(&tree, path), "{path}");
    }
    // What scanners read: a paragraph for each package, and the sums of the files that it really has here.
    let status = tree.text("var/lib/dpkg/status.d/busybox");
    assert!(status.starts_with("Package: busybox\nVersion: 1:1.35.0-4\n") && !status.contains("SHA256"), "{status}");
    let sums = |name: &str| tree.text(&format!("var/lib/dpkg/status.d/{name}.md5sums"));
    assert!(sums("busybox").ends_with("  bin/busybox\n"), "{}", sums("busybox"));
    assert!(sums("heir").ends_with("  usr/bin/node\n"));
    assert_eq!(sums("libc6").lines().count(), 3, "{}", sums("libc6"));
    for (name, gone) in [("nodejs", true), ("base-files", false)] {
        assert!(is_there(&tree, &format!("var/lib/dpkg/status.d/{name}")));
        assert_eq!(is_there(&tree, &format!("var/lib/dpkg/status.d/{name}.md5sums")), !gone, "{name}");
    }
}
