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
    ("alpine, system", "sha256:0d352f7a80ab32fe7ed1d8b2c6b6aaaed8eb2f8861819627491c38119320176b"),
    ("alpine, system, unpacked", "sha256:dfac5705141180245179a587f6aa32bb524f1825e2358f4299ed5ea67f1a58ca"),
    ("alpine, app", "sha256:d0ace766baa02ec6a3c01ca5aa9ce1e151231b8f562b82e07e136977113b13b5"),
    ("alpine, app, unpacked", "sha256:75379856135196667433de59d164085dcf77351d0e903f69e0787606777ce14a"),
    ("alpine, image", "sha256:2f0760ea527d8dfea2473857450cddc92e264adaa4110f1a3144173e9c12fe07"),
    ("scratch, nodejs-24.11.1-r0, unpacked", "sha256:3640ef2496a10230f030acb3d423f45a350f102c042c4c6f7a9c125dcd32ea90"),
    ("scratch, system", "sha256:402bcb7293cda0fe6916cae58c081e33d93e9100e71089e3a284933dc25fd6ae"),
    ("scratch, system, unpacked", "sha256:3b039bb5938823117db6fb9df08264935dffac784a42faeb0898c74b58025db9"),
    ("scratch, app", "sha256:d0ace766baa02ec6a3c01ca5aa9ce1e151231b8f562b82e07e136977113b13b5"),
    ("scratch, app, unpacked", "sha256:75379856135196667433de59d164085dcf77351d0e903f69e0787606777ce14a"),
    ("scratch, image", "sha256:0fda63eacda2112cd6f2fc4c7d691e05c476c16e829f6f5ea21365f49124cb7e"),
    ("zstd:3, nodejs-24.11.1-r0, unpacked", "sha256:3640ef2496a10230f030acb3d423f45a350f102c042c4c6f7a9c125dcd32ea90"),
    ("zstd:3, system", "sha256:19da774df4d1e61524a6f1c7ab9bde8d4f1fbc40c8c64c444ac31714b64712f7"),
    ("zstd:3, system, unpacked", "sha256:dfac5705141180245179a587f6aa32bb524f1825e2358f4299ed5ea67f1a58ca"),
    ("zstd:3, app", "sha256:6ff9b93cf5365129fd289c42c9e03ffdf63c8fc3b761303ed72501674d1db734"),
    ("zstd:3, app, unpacked", "sha256:75379856135196667433de59d164085dcf77351d0e903f69e0787606777ce14a"),
    ("zstd:3, image", "sha256:c9da2eb09f80712abe33ab395b865a9f52860786312dd90558b8fdff9d5667f9"),
    (
        "debian, nodejs-18.19.0+dfsg-6~deb12u2, unpacked",
        "sha256:5cc6608ac7b6c115ec18af957729ea019dfe94bb801c8401d3c39e3e97cf18ce",
    ),
    ("debian, system", "sha256:ac5f6ca8c7684b01cc96b276eb111569146b6fd5aa0266bd39e687aa083f800d"),
    ("debian, system, unpacked", "sha256:857b1f8b6b8ae5a46ea89d910dfed2c06f92900e4cbc800fc74f4e178195bdd8"),
    ("debian, app", "sha256:d0ace766baa02ec6a3c01ca5aa9ce1e151231b8f562b82e07e136977113b13b5"),
    ("debian, app, unpacked", "sha256:75379856135196667433de59d164085dcf77351d0e903f69e0787606777ce14a"),
    ("debian, image", "sha256:da6efa8e420bd0c502b83e3415f955d107d80ac111747fafe8094d12084a52a4"),
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
