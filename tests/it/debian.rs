//! Images made of Debian's packages, from this machine's own apt sources: they run, hold every library that they need, and are
//! what scanners read. And the first command, which falls back to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use microbuild::internals::{deb::sources::Sources, location::Location};
use serde_json::Value;

use super::{
    deb_mirror::{has_release, own_release},
    node::{assert_greets_by, pushed_and_run_with, unpacked},
};
use crate::support::{
    Process, free_port, is_root, run, skip_forbidden,
    syft::Scan,
    tools,
    workbench::{Workbench, copy, digest, example, get, json as json_of, one_line, temporary, text},
};

/// The releases that are tried, and how the versions of their Nodes begin.
const RELEASES: [(&str, &str); 2] = [("bookworm", "v18."), ("trixie", "v20.")];

/// The ELF files of a root: path below it, and `e_machine`.
fn elves(root: &Path) -> BTreeMap<PathBuf, u16> {
    let mut elves = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let (path, kind) = entry.map(|e| (e.path(), e.file_type().expect("a type"))).expect("an entry");
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let bytes = fs::read(&path).expect("a file");
                if bytes.starts_with(b"\x7fELF") {
                    let below = path.strip_prefix(root).expect("below").to_owned();
                    elves.insert(below, u16::from_le_bytes([bytes[18], bytes[19]]));
                }
            }
        }
    }
    elves
}

/// Has glibc's own loader, in the root, look for the libraries of every ELF file there.
fn assert_closed_by_the_loader(root: &Path) {
    if !is_root() {
        return skip_forbidden("needs root: chroot");
    }
    let elves = elves(root);
    assert!(elves.len() > 5, "{elves:?}");
    for file in elves.keys().filter(|file| !text(file).contains("/ld-linux")) {
        let mut command = Command::new("chroot");
        let listed =
            run(command.arg(root).args(["/lib64/ld-linux-x86-64.so.2", "--list"]).arg(Path::new("/").join(file)));
        assert!(!listed.succeeds().contains("not found"), "{}: {}", file.display(), listed.stdout);
    }
}

/// Looks up every needed name (as readelf reads it) among the files of the root.
fn assert_closed_by_names(root: &Path, machine: u16) {
    let Some([readelf]) = tools(["readelf"]) else { return };
    let elves = elves(root);
    assert!(elves.len() > 5 && elves.values().all(|found| *found == machine), "{elves:?}");
    let folders = ["usr/lib/aarch64-linux-gnu", "usr/lib"].map(|folder| root.join(folder));
    for file in elves.keys() {
        let listed = run(Command::new(&readelf).arg("-d").arg(root.join(file)));
        for line in listed.succeeds().lines().filter(|line| line.contains("(NEEDED)")) {
            let name = line.split(['[', ']']).nth(1).expect("a name");
            assert!(folders.iter().any(|folder| folder.join(name).exists()), "{} needs {name}", file.display());
        }
    }
}

#[test]
fn a_node_of_each_release_is_pushed_pulled_and_run() {
    if tools(["runc"]).is_none() || std::env::consts::ARCH != "x86_64" {
        return;
    }
    for (release, node) in RELEASES {
        if !has_release(release, "amd64") {
            continue;
        }
        let bench = Workbench::debian(release);
        let Some(root) = pushed_and_run_with(&bench, &example(), &[], node) else { return };
        assert_closed_by_the_loader(&root);
        for path in ["usr/bin/node", "etc/ssl/certs/ca-certificates.crt", "var/lib/dpkg/status.d/nodejs", "etc/passwd"]
        {
            assert!(root.join(path).is_file(), "{release}: {path}");
        }
        // No shell, no package manager, nothing to read for people.
        for path in ["bin/sh", "bin/bash", "usr/bin/dpkg", "usr/bin/apt", "usr/share/man", "usr/share/locale"] {
            assert!(root.join(path).symlink_metadata().is_err(), "{release}: {path}");
        }
        let os = fs::read_to_string(root.join("etc/os-release")).expect("os-release");
        assert!(os.contains(&format!("VERSION_CODENAME={release}\n")), "{os}");
    }
}

#[test]
fn a_node_for_another_processor_has_what_it_needs() {
    for (release, _) in RELEASES {
        if !has_release(release, "arm64") {
            continue;
        }
        let bench = Workbench::debian(release);
        let layout = bench.path("layout");
        bench.build(&example(), ["--platform", "linux/arm64", "-o", &format!("oci:{}:app", layout.display())]);
        let Some(bundle) = unpacked(&bench, &layout, "bundle") else { return };
        // ELF's e_machine: EM_AARCH64.
        assert_closed_by_names(&bundle.join("rootfs"), 183);
    }
}

#[test]
fn the_same_bytes_from_anywhere_and_nothing_is_made_twice() {
    let Some(own) = own_release().filter(|own| has_release(own, "amd64")) else { return };
    let bench = Workbench::debian(&own);
    let first = bench.build_json(&example(), ["-t", "app:1"]);
    let again = bench.build_json(&example(), ["-t", "app:1"]);
    assert_eq!((&again["digest"], &again["base"]), (&first["digest"], &Value::from(format!("debian:{own}"))));
    assert!(again["layers"].as_array().expect("layers").iter().all(|layer| layer["cached"] == true), "{again:#}");
    let offline = one_line(&run(bench.node(&example(), ["-t", "app:1"]).arg("--offline")));
    assert_eq!(digest(&offline), first["digest"]);
    // `debian` alone is what this machine runs.
    let mut other = Workbench::debian(&own);
    other.base = Some("debian".into());
    assert_eq!(other.build_json(&example(), ["-t", "app:1"])["digest"], first["digest"]);

    let plan = run(bench.sources(&mut bench.home.microbuild(["plan", "node", &text(&example())])));
    assert!(plan.succeeds().starts_with(&format!("debian:{own} of Debian ")), "{}", plan.stdout);
    let why = run(bench.sources(&mut bench.home.microbuild(["why", "zlib1g", "node", &text(&example())])));
    assert!(why.succeeds().contains("is requested, as nodejs, by recipe node"), "{}", why.stdout);
}

#[test]
fn dependencies_are_installed_on_debian_too() {
    // The example wants a Node that bookworm has not.
    let (release, node) = RELEASES[1];
    if tools(["runc"]).is_none() || !has_release(release, "amd64") {
        return;
    }
    let bench = Workbench::debian(release);
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/node-deps");
    let app = copy(&from, &bench.path("app"));
    let _ = fs::remove_dir_all(app.join("node_modules"));
    let Some(root) = pushed_and_run_with(&bench, &app, &[], node) else { return };
    // The native part that is linked with glibc, and not musl's.
    let cpu = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    assert!(root.join(format!("app/node_modules/@node-rs/crc32-linux-{cpu}-gnu")).exists());
    assert!(!root.join("usr/bin/npm").exists() && !root.join("bin/sh").exists());

    let other = if cpu == "x64" { "arm64" } else { "amd64" };
    let layout = bench.path("layout");
    let output = format!("oci:{}:app", layout.display());
    bench.build(&app, ["--platform", &format!("linux/{other}"), "-o", &output]);
    let Some(bundle) = unpacked(&bench, &layout, "foreign") else { return };
    let native: Vec<_> = (fs::read_dir(bundle.join("rootfs/app/node_modules/@node-rs")).expect("packages"))
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    let expected = format!("crc32-linux-{}-gnu", if other == "arm64" { "arm64" } else { "x64" });
    assert!(native.contains(&expected) && native.len() == 2, "{native:?}");

    let dev = |command: &[&str]| {
        let mut dev = bench.home.microbuild(["dev", "node"]);
        run(bench.sources(dev.arg(&app)).arg("--").args(command))
    };
    assert!(dev(&["npm", "--version"]).succeeds().starts_with(|c: char| c.is_ascii_digit()));
    assert_eq!(dev(&["sh", "-c", "echo $PWD | sed s/a/b/"]).succeeds(), "/bpp\n");
}

#[test]
fn busybox_brings_a_shell() {
    let Some(own) = own_release().filter(|own| has_release(own, "amd64")) else { return };
    if tools(["runc"]).is_none() {
        return;
    }
    let bench = Workbench::debian(&own);
    bench.build(&example(), ["-p", "busybox", "-t", "shell:1"]);
    let ran = bench.microbuild(["run", "shell:1", "-q", "--", "sh", "-c", "ls /app | sort | head -1; id -un"]);
    assert_eq!(ran.succeeds(), "package.json\nnonroot\n");
}

#[test]
fn further_packages_lack_nothing_that_the_recipe_leaves_out() {
    let Some(own) = own_release().filter(|own| has_release(own, "amd64")) else { return };
    if tools(["runc"]).is_none() {
        return;
    }
    let bench = Workbench::debian(&own);
    // These need libraries, converters and programs that Node's recipe drops or strips.
    bench.build(&example(), ["-p", "git,perl,python3,ffmpeg", "-t", "more:1"]);
    let ran = |words: &[&str]| {
        let mut command = bench.home.microbuild(["run", "more:1", "-q", "--"]);
        run(command.args(words)).succeeds().to_owned()
    };
    assert!(ran(&["git", "--version"]).starts_with("git version "));
    assert!(ran(&["ffmpeg", "-version"]).starts_with("ffmpeg version "));
    assert_eq!(ran(&["perl", "-MEncode", "-e", "print length crypt('a', 'bc')"]), "13");
    assert_eq!(ran(&["python3", "-c", "import ssl, sqlite3, ctypes; print(1)"]), "1\n");
}

/// Name and version of each package that a build says it is made of.
fn packages_of(built: &Value) -> BTreeSet<String> {
    let packages = built["packages"].as_array().expect("packages").iter();
    packages
        .map(|p| format!("{} {}", p["name"].as_str().expect("a name"), p["version"].as_str().expect("one")))
        .collect()
}

#[test]
fn a_scanner_lists_the_packages_of_both_bases() {
    let debian = own_release().filter(|own| has_release(own, "amd64")).map(|own| (Workbench::debian(&own), "deb"));
    let alpine = Workbench::alpine().map(|bench| (bench, "apk"));
    for (bench, kind) in [debian, alpine].into_iter().flatten() {
        let layout = bench.path("layout");
        let built = bench.build_json(&example(), ["-o", &format!("oci:{}:app", layout.display())]);
        let Some(scan) = Scan::of(&bench.home, &layout) else { return };
        assert_eq!(scan.packages(kind), packages_of(&built), "{kind}");
        assert_eq!(scan.answer["distro"]["id"], if kind == "deb" { "debian" } else { "alpine" });
    }
}

/// A command whose surroundings have no way to Alpine's mirror, and one to this machine's Debian mirror.
fn cut_off(command: &mut Command) -> Option<&mut Command> {
    let sources = Sources::of_machine(Path::new("/")).ok()?;
    let urls = sources.list.iter().filter_map(|source| match source.file("x") {
        Some(Location::Url(url)) => Some(url),
        _ => None,
    });
    let hosts: Vec<String> =
        urls.filter_map(|url| Some(url.split("://").nth(1)?.split(['/', ':']).next()?.to_owned())).collect();
    // Nobody listens there; what apt is told of proxies is its own affair.
    let proxy = format!("http://127.0.0.1:{}", free_port());
    Some(command.env("HTTPS_PROXY", &proxy).env("HTTP_PROXY", &proxy).env("NO_PROXY", hosts.join(",")))
}

#[test]
fn the_first_command_works_where_alpine_is_out_of_reach() {
    let Some(own) = own_release().filter(|own| has_release(own, "amd64")) else { return };
    let bench = Workbench::debian(&own);
    let app = text(&example());
    let first = |options: &[&str], variables: &[(&str, &str)]| {
        let mut command = bench.home.microbuild(["node", &app]);
        command.args(options).envs(variables.iter().copied());
        run(cut_off(&mut command).expect("sources"))
    };
    let built = first(&["--json"], &[]);
    assert_eq!(json_of(&built)["base"], format!("debian:{own}"));
    let warning = built.stderr.lines().find(|line| line.starts_with("warning: ")).expect("a warning");
    let choose = format!("this image is made from debian:{own} instead");
    assert!(warning.contains(&choose) && warning.contains("--base alpine:3.23"), "{warning}");
    assert!(warning.contains(&format!("--base debian:{own}")), "{warning}");
    // What was chosen is not warned of.
    let pinned = first(&["--base", &format!("debian:{own}"), "--json"], &[]);
    assert_eq!(json_of(&pinned)["digest"], json_of(&built)["digest"]);
    assert!(!pinned.stderr.contains("warning"), "{}", pinned.stderr);

    for (options, variables) in [
        (&["--base", "alpine"][..], &[][..]),
        (&[], &[("CI", "true")]),
        (&[], &[("MICROBUILD_BASE", "alpine:3.23")]),
        (&["--mirror", "https://mirror.invalid/alpine"], &[]),
    ] {
        let refused = first(options, variables);
        assert_eq!(refused.exits(3), "", "{options:?} {variables:?}");
        assert!(refused.stderr.contains("cannot fetch the index of packages"), "{}", refused.stderr);
        assert!(refused.stderr.contains("hint: ") && refused.stderr.contains("--base debian"), "{}", refused.stderr);
    }
    let folder = temporary();
    let own_file = copy(&example(), &folder.path().join("app"));
    fs::write(own_file.join("microbuild.toml"), "base = 'alpine'\n").expect("write");
    let mut command = bench.home.microbuild(["node", &text(&own_file)]);
    assert_eq!(run(cut_off(&mut command).expect("sources")).exits(3), "");

    if tools(["runc"]).is_some() {
        let port = free_port();
        let mut command = bench.home.microbuild(["run", "hello-node"]);
        command.args(["-e", &format!("PORT={port}"), "-e", "NAME=tests"]);
        let mut server = Process::spawn(&mut command).expect("microbuild run");
        assert_greets_by(get(port), "microbuild run", "v");
        server.child().kill().expect("a signal");
    }
}

#[test]
fn a_library_that_is_missing_is_named() {
    let Some(own) = own_release().filter(|own| has_release(own, "amd64")) else { return };
    let bench = Workbench::debian(&own);
    let app = copy(&example(), &bench.path("app"));
    let recipe = run(&mut bench.home.microbuild(["recipes", "node"]));
    let stripped = recipe.succeeds().replace("    \"/usr/sbin/update-passwd\",", "    \"/usr/lib/*/libuv.so.*\",");
    fs::create_dir(app.join("recipes")).expect("a folder");
    fs::write(app.join("recipes/node.toml"), &stripped).expect("write");
    let refused = run(&mut bench.node(&app, ["-q", "--trust"]));
    assert_eq!(refused.exits(1), "");
    // update-passwd is there again, without the libraries that only it needs.
    for expected in [" needs libuv.so.1", "update-passwd needs libselinux.so.1", "hint: add the package that brings it"]
    {
        assert!(refused.stderr.contains(expected), "{expected} in {}", refused.stderr);
    }
}
