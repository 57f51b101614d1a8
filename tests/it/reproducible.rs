//! Same inputs, same bytes: on any machine, user, umask, time zone, locale, folder, thread count; and from release to release.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use microbuild::{
    digest::Digest,
    layer::compress::{Compression, Compressor},
};

use crate::support::{
    is_root,
    mirror_server::MirrorServer,
    run, skip_forbidden, tools,
    workbench::{Source, Workbench, app, copy, digest, noise, one_line, temporary},
};

const HERE: [&str; 2] = ["--platform", "linux/amd64"];

/// An app with all that a folder can hold, and more than one block of the compressors in it.
fn an_app(dir: &Path) -> PathBuf {
    let app = app(
        dir,
        &[
            ("package.json", r#"{"name": "an-app", "version": "1.2.3", "main": "main.js"}"#),
            ("main.js", "console.log('hello')\n"),
            ("lib/Ünïcödé.js", "'use strict'\n"),
            ("lib/z.js", ""),
            ("bin/tool", "#!/bin/sh\n"),
            (".dockerignore", "*.md\n"),
            ("notes.md", "left out"),
        ],
    );
    fs::write(app.join("data"), noise(7, 3 << 20)).expect("a file");
    fs::write(app.join("text"), "All work and no play makes Jack a dull boy.\n".repeat(50_000)).expect("a file");
    fs::set_permissions(app.join("bin/tool"), fs::Permissions::from_mode(0o755)).expect("permissions");
    std::os::unix::fs::symlink("../main.js", app.join("lib/main.js")).expect("a link");
    app
}

/// The digest of a build by `command`.
#[track_caller]
fn built(command: &mut Command) -> String {
    digest(&one_line(&run(command))).to_owned()
}

#[test]
fn surroundings_do_not_matter() {
    let bench = Workbench::fake();
    let app = an_app(&bench.path("app"));
    for base in ["alpine", "scratch"] {
        let options = ["--base", base, HERE[0], HERE[1]];
        let expected = built(&mut bench.node(&app, options));
        // A fresh cache each: nothing is remembered.
        let other = || Workbench::with(bench.source.clone());

        for threads in ["1", "4"] {
            let bench = other();
            assert_eq!(
                built(bench.node(&app, options).env("RAYON_NUM_THREADS", threads)),
                expected,
                "{threads} threads"
            );
        }
        let bench = other();
        let mut command = bench.node(&app, options);
        command.env("TZ", "Asia/Kathmandu").env("LANG", "tr_TR.UTF-8").env("LC_ALL", "tr_TR.UTF-8").env("USER", "x");
        assert_eq!(built(&mut command), expected, "time zone and locale");

        // Copied by a user whose files nobody else may read, and changed at another time.
        let copied = bench.path("another folder");
        let script = r#"umask 077; mkdir "$2" && cp -r "$1/." "$2" && find "$2" -exec touch -h -d 2001-02-03 {} +"#;
        run(Command::new("sh").args(["-c", script, "sh"]).arg(&app).arg(&copied)).succeeds();
        let mut command = bench.home.command("sh", ["-c", r#"umask 077; exec "$@""#, "sh"]);
        command.arg(env!("CARGO_BIN_EXE_microbuild")).arg("node").arg(".").args(options).current_dir(&copied);
        let name = ["-t", "an-app"];
        let fresh = bench.path("fresh");
        bench.sources(&mut command).args(name).arg("--cache-dir").arg(&fresh);
        assert_eq!(built(&mut command), expected, "folder, times and umask");
        let mode = fs::metadata(copied.join("main.js")).expect("copied").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "the copy differs as it should");
    }
}

#[test]
fn another_user_makes_the_same() {
    if !is_root() {
        return skip_forbidden("needs root: to become another user");
    }
    let Some([setpriv]) = tools(["setpriv"]) else { return };
    let bench = Workbench::fake();
    let app = an_app(&bench.path("app"));
    let expected = built(&mut bench.node(&app, HERE));

    let dir = temporary();
    let at = |name: &str| dir.path().join(name);
    copy(&app, &at("app"));
    copy(Path::new(&bench.source.mirror), &at("mirror"));
    copy(Path::new(env!("CARGO_BIN_EXE_microbuild")), &at("microbuild"));
    run(Command::new("chown").args(["-R", "65534:65534"]).arg(dir.path())).succeeds();
    let mut command = Command::new(setpriv);
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(at("microbuild"));
    command.arg("node").arg(at("app")).args(HERE).env_clear().env("HOME", dir.path()).current_dir(dir.path());
    command.arg("--mirror").arg(at("mirror")).arg("--keys").arg(at("mirror/keys"));
    assert_eq!(built(&mut command), expected);
}

#[test]
fn where_packages_come_from_does_not_matter() {
    let bench = Workbench::fake();
    let app = an_app(&bench.path("app"));
    let server = MirrorServer::start(Path::new(&bench.source.mirror));
    let over_http = Workbench::with(Source { mirror: server.url(), keys: bench.source.keys.clone() });
    for base in ["alpine", "scratch"] {
        let options = ["--base", base, HERE[0], HERE[1]];
        let expected = built(&mut bench.node(&app, options));
        assert_eq!(built(&mut over_http.node(&app, options)), expected, "{base}");
    }
    assert!(server.count("APKINDEX.tar.gz") > 0 && server.count(".apk") > 0);
}

/// What fixed inputs become. A line may change when what is written of images changes on purpose: other files in a tree, other
/// annotations, another version of a codec (whose pin in Cargo.toml and name in the memo's key then change too). Then the
/// buckets of remembered layers in `src/build.rs` get a new version, and CHANGELOG.md says that digests differ. A line that
/// changes for any other reason is a bug.
const GOLDEN: &[(&str, &str)] = &[];

/// `len` bytes that leave a codec many choices.
fn text_of_words(seed: u64, len: usize) -> Vec<u8> {
    let words =
        "all work and no play makes jack a dull boy function return const let require module exports".split(' ');
    let words: Vec<_> = words.collect();
    let picks = noise(seed, len).into_iter().map(|pick| words[usize::from(pick) % words.len()]);
    picks.flat_map(|word| word.bytes().chain([b' '])).take(len).collect()
}

#[test]
fn golden_digests() {
    let bench = Workbench::fake();
    let app = an_app(&bench.path("app"));
    let mut found = Vec::new();
    let mut input = noise(3, 1 << 20);
    input.extend(text_of_words(4, 5 << 20));
    for codec in ["gzip:1", "gzip:6", "gzip:9", "gzip:12", "zstd:1", "zstd:3", "zstd:19"] {
        let compression: Compression = codec.parse().expect("a codec");
        let mut compressor = Compressor::new(compression, Vec::new());
        compressor.write_all(&input).expect("memory");
        found.push((format!("bytes, {codec}"), Digest::of(compressor.finish().expect("memory")).to_string()));
    }
    for options in [["--base", "alpine"], ["--base", "scratch"], ["--compression", "zstd:3"]] {
        let built = bench.build_json(&app, HERE.into_iter().chain(options));
        let label = options[1];
        for layer in built["layers"].as_array().expect("layers") {
            let field = |key: &str| layer[key].as_str().expect("text").to_owned();
            if !field("title").starts_with("nodejs-") {
                found.push((format!("{label}, {}", field("title")), field("digest")));
            }
            found.push((format!("{label}, {}, unpacked", field("title")), field("diff_id")));
        }
        found.push((format!("{label}, image"), built["digest"].as_str().expect("text").to_owned()));
    }
    let expected: Vec<_> = GOLDEN.iter().map(|(name, digest)| ((*name).to_owned(), (*digest).to_owned())).collect();
    let table: String = found.iter().map(|(name, digest)| format!("    (\"{name}\", \"{digest}\"),\n")).collect();
    assert!(found == expected, "found other digests; the table would be:\n{table}");
}
