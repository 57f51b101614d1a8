//! Same inputs, same bytes: on any machine, user, umask, time zone, locale, folder, thread count; and from release to release.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use microbuild::internals::{
    digest::Digest,
    layer::compress::{Compression, Compressor},
    package::Packing,
};
use serde_json::Value;

use crate::support::{
    fake_debian::{Archive, Deb, Signer, node_debs},
    is_root,
    mirror_server::MirrorServer,
    run, skip_forbidden, tools,
    workbench::{Source, Workbench, app, copy, digest, json, noise, one_line, temporary},
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
/// buckets of remembered layers get a new version, and CHANGELOG.md says that digests differ. A line that
/// changes for any other reason is a bug.
const GOLDEN: &[(&str, &str)] = &[
    ("bytes, gzip:1", "sha256:d2781c3323f002dc4fffe6260759ab45635454ee68c9d63170461d9f8923b82b"),
    ("bytes, gzip:6", "sha256:ef92abf678bd45754cc37ced75dc5825a77cdfbbe928abe93ba2deafacbe0a35"),
    ("bytes, gzip:9", "sha256:d86e26127dccfe6c62b91dc66dfb2c8af7d43538b3a9c05c86f7dbb48124954a"),
    ("bytes, gzip:12", "sha256:d50c82a22fca6e8a19064b028c5dd5b4ce4c8f977a48146f8ccb98177a908a9d"),
    ("bytes, zstd:1", "sha256:6b951599395ae0719ff4492c20407a63cd8036b30cdd8419e03a1ebe09c34ad4"),
    ("bytes, zstd:3", "sha256:17ad4cf9f50fe28c36cf3c38d0b26dd479700b84507a764ec63d90b20b4570c6"),
    ("bytes, zstd:19", "sha256:594628d2e393f9e944e360d4bd3cc748e21ac7fcd7b6fbcb6cfa450f1d1a546b"),
    ("alpine, nodejs-24.11.1-r0, unpacked", "sha256:3640ef2496a10230f030acb3d423f45a350f102c042c4c6f7a9c125dcd32ea90"),
    ("alpine, system", "sha256:e00aa8b756e937a8ebf9134687720d7925a7f54ff162cc7e202b357dd687969d"),
    ("alpine, system, unpacked", "sha256:7da640c4657ddf89fa071758c951e30b67a4b9ae3759b0120bf64b2eee3cae9d"),
    ("alpine, app", "sha256:043278d4a69390d0473d4f72aafe74be3a4e228548ffc154cbadd1964560f563"),
    ("alpine, app, unpacked", "sha256:e1c4a0f2a0572087b56cbd6257f2a07eae8a6efecd68c24da025032e3246d169"),
    ("alpine, image", "sha256:7d208a028bbdc48cf8fd046c0ca76d179a0385b05f7a85ca3f617ff5f4c73c22"),
    ("scratch, nodejs-24.11.1-r0, unpacked", "sha256:3640ef2496a10230f030acb3d423f45a350f102c042c4c6f7a9c125dcd32ea90"),
    ("scratch, system", "sha256:9fb6052c772ead9cd7d095fba81faf88535adfb0da81b32bb3b31fe3aeb3d55d"),
    ("scratch, system, unpacked", "sha256:ed716f618be09832b0522e5d0144dbe068261b2570bb213a23ef020879f2922d"),
    ("scratch, app", "sha256:043278d4a69390d0473d4f72aafe74be3a4e228548ffc154cbadd1964560f563"),
    ("scratch, app, unpacked", "sha256:e1c4a0f2a0572087b56cbd6257f2a07eae8a6efecd68c24da025032e3246d169"),
    ("scratch, image", "sha256:c240d8dbabf3f4098b1214678f2b73e9c113d4e0ad1c4c4613737e94642bb744"),
    ("zstd:3, nodejs-24.11.1-r0, unpacked", "sha256:3640ef2496a10230f030acb3d423f45a350f102c042c4c6f7a9c125dcd32ea90"),
    ("zstd:3, system", "sha256:40ff07654577a430e3bcf398ae650a14e7227c893aded80d011c5fb2586f667c"),
    ("zstd:3, system, unpacked", "sha256:7da640c4657ddf89fa071758c951e30b67a4b9ae3759b0120bf64b2eee3cae9d"),
    ("zstd:3, app", "sha256:9b935d496042ed7faf9f8e705b3476795849780232681d192d53d4b2ce939ea7"),
    ("zstd:3, app, unpacked", "sha256:e1c4a0f2a0572087b56cbd6257f2a07eae8a6efecd68c24da025032e3246d169"),
    ("zstd:3, image", "sha256:c741b5f234c00c2184a2f5efb148b16f6382f1bbe48eb518ed7e6d868919ebb0"),
    (
        "debian, nodejs-18.19.0+dfsg-6~deb12u2, unpacked",
        "sha256:5cc6608ac7b6c115ec18af957729ea019dfe94bb801c8401d3c39e3e97cf18ce",
    ),
    ("debian, system", "sha256:2f14225b9e2badaf971cdd3d25585824d6006b77c16ad6256d6d0f37a74ea558"),
    ("debian, system, unpacked", "sha256:ac1c5b7ac4fa803c171421e90fa64554c19406fe7b51a8d1bce5203adc50c0dc"),
    ("debian, app", "sha256:043278d4a69390d0473d4f72aafe74be3a4e228548ffc154cbadd1964560f563"),
    ("debian, app, unpacked", "sha256:e1c4a0f2a0572087b56cbd6257f2a07eae8a6efecd68c24da025032e3246d169"),
    ("debian, image", "sha256:e8325243725105623e5d62ce9cd130c7a80b69f9e5c4dc9b1e091ade36164162"),
];

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
        found.extend(digests_of(options[1], &built));
    }
    assert_golden(&found, |name| !name.starts_with("debian"));
}

/// The names and digests of a build's layers and image. How a package is packed is not for this program to say.
fn digests_of(label: &str, built: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for layer in built["layers"].as_array().expect("layers") {
        let field = |key: &str| layer[key].as_str().expect("text").to_owned();
        if !field("title").starts_with("nodejs-") {
            found.push((format!("{label}, {}", field("title")), field("digest")));
        }
        found.push((format!("{label}, {}, unpacked", field("title")), field("diff_id")));
    }
    found.push((format!("{label}, image"), built["digest"].as_str().expect("text").to_owned()));
    found
}

/// Compares with the rows of the table whose names are meant.
#[track_caller]
fn assert_golden(found: &[(String, String)], is_meant: impl Fn(&str) -> bool) {
    let rows = GOLDEN.iter().filter(|(name, _)| is_meant(name));
    let expected: Vec<_> = rows.map(|(name, digest)| ((*name).to_owned(), (*digest).to_owned())).collect();
    let table: String = found.iter().map(|(name, digest)| format!("    (\"{name}\", \"{digest}\"),\n")).collect();
    assert!(found == expected, "found other digests; the table would be:\n{table}");
}

#[test]
fn golden_digests_of_debian() {
    let Some(signer) = Signer::shared() else { return };
    let bench = Workbench::fake();
    let (app, mirror) = (an_app(&bench.path("app")), bench.path("debian"));
    // Large enough for a layer, and packed so that it can be one.
    let large = |deb: Deb| deb.file("usr/bin/node", 0o755, noise(1, 2 << 20)).packing(Packing::Zstd);
    let keys = Archive::new("bookworm").with_all(node_debs()).with_changed("nodejs", large).publish(&mirror, &signer);
    let mut command = bench.home.microbuild(["node", "--base", "debian:bookworm", "--json"]);
    command.args(HERE).arg(app).arg("--mirror").arg(mirror).arg("--keys").arg(keys);
    assert_golden(&digests_of("debian", &json(&run(&mut command))), |name| name.starts_with("debian"));
}
