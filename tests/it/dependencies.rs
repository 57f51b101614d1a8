//! What a project depends on, installed in the dev variant while the image is built: by npm itself, in a container, judged by
//! whether the app runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;

use super::{
    deb_mirror::has_release,
    node::{pushed_and_run, unpacked},
};
use crate::support::{
    Finished, Process,
    npm_registry::{NpmRegistry, TOKEN},
    run, tools,
    unprivileged::Unprivileged,
    wait_for,
    workbench::{Workbench, app, copy, json as json_of, one_line, text},
};

/// Said when the step begins to run.
const STEP: &str = "install for linux/";

/// The example with real packages.
fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/node-deps")
}

/// A workbench with a mirror and an OCI runtime, or a skip.
#[track_caller]
fn workbench() -> Option<Workbench> {
    tools(["runc"])?;
    Workbench::alpine()
}

/// A project that depends on a folder of its own, which any machine can install; `script` is run when it is installed.
fn local(dir: &Path, script: &str) -> PathBuf {
    let package = format!(
        r#"{{"name": "app", "main": "index.js", "dependencies": {{"lib": "file:lib"}}, "scripts": {{"postinstall": {script:?}}}}}"#
    );
    app(
        dir,
        &[
            ("package.json", &package),
            ("index.js", "console.log(require('lib'))\n"),
            ("lib/package.json", r#"{"name": "lib", "version": "1.0.0"}"#),
            ("lib/index.js", "module.exports = 'from lib'\n"),
        ],
    )
}

/// Titles and whether they were remembered.
fn layers(built: &Value) -> Vec<(String, bool)> {
    let layers = built["layers"].as_array().expect("layers").iter();
    layers.map(|layer| (layer["title"].as_str().expect("a title").to_owned(), layer["cached"] == true)).collect()
}

fn cached(layers: &[(String, bool)], title: &str) -> bool {
    layers.iter().find(|(found, _)| found == title).expect(title).1
}

#[test]
fn real_packages_are_installed_and_run_everywhere() {
    let Some(bench) = workbench() else { return };
    let app = copy(&example(), &bench.path("app"));
    // The example's own folder may have been worked in.
    let _ = fs::remove_dir_all(app.join("node_modules"));
    let Some(root) = pushed_and_run(&bench, &app, "scratch") else { return };
    assert!(!app.join("node_modules").exists(), "the app's folder is not touched");
    for path in ["app/node_modules/express/package.json", "app/node_modules/@node-rs/crc32-linux-x64-musl"] {
        let path = path.replace("x64", if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" });
        assert!(root.join(&path).exists(), "{path}");
    }
    for path in ["app/node_modules/is-number", "app/node_modules/.package-lock.json", "root/.npm", "usr/bin/npm"] {
        assert!(root.join(path).symlink_metadata().is_err(), "{path}");
    }
}

#[test]
fn nothing_changed_nothing_run() {
    let Some(bench) = workbench() else { return };
    let app = copy(&example(), &bench.path("app"));
    let build = || {
        let built = run(bench.node(&app, ["--json"]).arg("-v"));
        (json_of(&built), built.stderr.contains(STEP))
    };
    let (first, ran) = build();
    assert!(ran && !cached(&layers(&first), "dependencies"));
    let titles: Vec<_> = layers(&first).into_iter().map(|(title, _)| title).collect();
    assert_eq!(titles[titles.len() - 3..], ["system", "dependencies", "app"]);

    let (second, ran) = build();
    assert!(!ran && layers(&second).iter().all(|(_, cached)| *cached));
    assert_eq!(second["digest"], first["digest"]);

    fs::write(app.join("server.js"), fs::read_to_string(app.join("server.js")).expect("text") + "\n").expect("write");
    let (source, ran) = build();
    assert!(!ran && cached(&layers(&source), "dependencies") && !cached(&layers(&source), "app"));

    let lock = fs::read_to_string(app.join("package-lock.json")).expect("text");
    fs::write(app.join("package-lock.json"), lock + "\n").expect("write");
    let (locked, ran) = build();
    assert!(ran && !cached(&layers(&locked), "dependencies"), "another lock file");
    let of =
        |built: &Value| built["layers"].as_array().expect("layers").iter().rev().nth(1).expect("one")["digest"].clone();
    assert_eq!(of(&locked), of(&first), "the same packages make the same layer");
}

#[test]
fn an_ordinary_user_makes_the_same_image() {
    let Some(bench) = workbench() else { return };
    let Some(user) = Unprivileged::with_alpine() else { return };
    let app = copy(&example(), &user.bench.path("app"));
    user.give(&app);
    let same = copy(&example(), &bench.path("app"));
    let theirs = one_line(&run(&mut user.command(&user.bench.node(&app, ["-t", "app:1"]))));
    assert_eq!(theirs, bench.build(&same, ["-t", "app:1"]));
}

#[test]
fn two_builds_at_once_run_the_step_once() {
    let Some(bench) = workbench() else { return };
    let app = local(&bench.path("app"), "echo stepping");
    let builds = [0, 1].map(|_| {
        let mut command = bench.node(&app, ["-v"]);
        std::thread::spawn(move || run(&mut command))
    });
    let [one, other] = builds.map(|build| build.join().expect("no panic"));
    assert_eq!(one_line(&one), one_line(&other));
    let steps = [&one, &other].into_iter().filter(|build| build.stderr.contains(STEP)).count();
    assert_eq!(steps, 1, "{}\n{}", one.stderr, other.stderr);
}

#[test]
fn a_step_that_is_killed_leaves_nothing_that_is_trusted() {
    let Some(bench) = workbench() else { return };
    let app = local(&bench.path("app"), "touch node_modules/half && sleep 3 && rm node_modules/half");
    let expected = bench.build(&app, ["-t", "app:1"]);
    let other = Workbench::with(bench.source.clone());
    for delay in [200, 1_000] {
        let mut build = Process::spawn(&mut other.node(&app, ["-t", "app:1"])).expect("a build");
        let half = || fs::read_dir(other.home.path().join(".cache/microbuild/v1")).is_ok().then_some(());
        wait_for(Duration::from_secs(20), half).expect("it begins");
        std::thread::sleep(Duration::from_millis(delay));
        build.child().kill().expect("SIGKILL");
        build.child().wait().expect("its end");
    }
    assert_eq!(other.build(&app, ["-t", "app:1"]), expected);
    other.microbuild(["gc", "--all"]).succeeds();
    let left = files_below(&other.home.path().join(".cache/microbuild/v1/folders"));
    assert_eq!(left, Vec::<PathBuf>::new());
}

/// All files below `dir`.
fn files_below(dir: &Path) -> Vec<PathBuf> {
    let found = run(Command::new("find").arg(dir).args(["-type", "f", "-size", "+0"]));
    found.stdout.lines().map(PathBuf::from).collect()
}

/// Asserts that no file below the home and the bench's folder holds `secret`, but those that end with one of `but`.
#[track_caller]
fn assert_nowhere(bench: &Workbench, secret: &str, but: &[&str]) {
    for dir in [bench.home.path(), bench.dir.path()] {
        for file in files_below(dir) {
            if but.iter().any(|end| file.ends_with(end)) {
                continue;
            }
            let mut bytes = fs::read(&file).unwrap_or_default();
            if bytes.starts_with(&[0x1f, 0x8b]) {
                let unpacked = Command::new("gzip").arg("-dc").stdin(fs::File::open(&file).expect("a file")).output();
                bytes.extend(unpacked.expect("gzip").stdout);
            }
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{} holds the secret", file.display());
        }
    }
}

const SECRET: &str = "correct-horse-battery-staple-0815";

#[test]
fn a_secret_reaches_the_step_and_nothing_else() {
    let Some(bench) = workbench() else { return };
    let script = "test \"$(cat /run/secrets/KEY)\" = \"$KEY\" && echo got $KEY && test -s /run/secrets/file";
    let app = local(&bench.path("app"), script);
    fs::write(bench.path("secret.txt"), format!("{SECRET}\n")).expect("write");
    let file = format!("id=file,src={}", bench.path("secret.txt").display());
    let mut build = bench.node(&app, ["--json", "-v", "--secret", "id=KEY,env=A_KEY", "--secret", &file]);
    let built = run(build.env("A_KEY", SECRET));
    built.succeeds();
    assert!(built.stderr.contains("got ***"), "{}", built.stderr);
    assert!(!built.stderr.contains(SECRET) && !built.stdout.contains(SECRET), "{}", built.stderr);
    assert_nowhere(&bench, SECRET, &["secret.txt"]);

    let missing = run(&mut bench.node(&app, ["--secret", "id=KEY,env=NO_SUCH_KEY"]));
    assert_eq!(missing.exits(2), "");
    assert!(missing.stderr.contains("NO_SUCH_KEY"), "{}", missing.stderr);
}

#[test]
fn a_secret_in_a_layer_fails_the_build() {
    let Some(bench) = workbench() else { return };
    let secret = ["--secret", "id=KEY,env=A_KEY"];
    let leaky = local(&bench.path("leaky"), "cp /run/secrets/KEY node_modules/oops");
    let told = |app: &Path| {
        let failed = run(bench.node(app, secret).env("A_KEY", SECRET));
        assert_eq!(failed.exits(1), "");
        assert!(failed.stderr.contains("the secret KEY is in"), "{}", failed.stderr);
        assert!(!failed.stderr.contains(SECRET), "{}", failed.stderr);
    };
    told(&leaky);
    assert_nowhere(&bench, SECRET, &[]);
    let own = app(&bench.path("own"), &[("index.js", &format!("const key = '{SECRET}'\n"))]);
    told(&own);
    assert_nowhere(&bench, SECRET, &["own/index.js"]);
}

/// A project that needs `treasure` of a registry, by this `.npmrc`.
fn treasure(dir: &Path, npmrc: &str) -> PathBuf {
    let package = r#"{"name": "app", "main": "index.js", "dependencies": {"treasure": "1.0.0"}}"#;
    app(dir, &[("package.json", package), (".npmrc", npmrc), ("index.js", "console.log(require('treasure'))\n")])
}

#[test]
fn a_private_registry_is_asked_with_a_secret_token() {
    let Some(bench) = workbench() else { return };
    let registry = NpmRegistry::start();
    let host = format!("127.0.0.1:{}", registry.port());
    let token = "${NPM_TOKEN}";
    let app = treasure(&bench.path("app"), &format!("registry=http://{host}/\n//{host}/:_authToken={token}\n"));
    let refused = run(&mut bench.node(&app, [""; 0]));
    assert_eq!(refused.exits(1), "");
    assert!(
        refused.stderr.contains("npm ")
            && refused.stderr.contains("error: step install failed: `sh /run/recipe/npm.sh install"),
        "{}",
        refused.stderr
    );

    let mut build = bench.node(&app, ["--secret", "id=NPM_TOKEN,env=CI_TOKEN"]);
    one_line(&run(build.env("CI_TOKEN", TOKEN)));
    assert_runs(&bench, &app, "42");
    assert_nowhere(&bench, TOKEN, &[]);

    // The whole file as a secret, under the name that the recipe knows.
    let other = treasure(&bench.path("other"), "");
    fs::write(bench.path("npmrc"), format!("registry=http://{host}/\n//{host}/:_authToken={TOKEN}\n")).expect("write");
    let secret = format!("id=npmrc,src={}", bench.path("npmrc").display());
    one_line(&run(&mut bench.node(&other, ["--secret", &secret])));
    assert_nowhere(&bench, TOKEN, &["npmrc"]);
}

/// Builds `app` again and runs it; asserts what it prints.
#[track_caller]
fn assert_runs(bench: &Workbench, app: &Path, expected: &str) {
    let layout = bench.path("layout");
    let _ = fs::remove_dir_all(&layout);
    let ran = run(bench.sources(&mut bench.home.microbuild(["run", "--recipe", "node", "--offline", &text(app)])));
    if ran.stderr.contains("--secret") || ran.code != Some(0) {
        panic!("{}\n{}", ran.stdout, ran.stderr);
    }
    assert_eq!(ran.stdout.trim(), expected);
}

#[test]
fn proxies_and_the_machines_certificates_work_inside() {
    let Some(bench) = workbench() else { return };
    let proxy = NpmRegistry::start();
    let app = treasure(
        &bench.path("app"),
        "registry=http://npm.invalid/\n//npm.invalid/:_authToken=npm_0123456789abcdefTOKEN\n",
    );
    let address = format!("http://127.0.0.1:{}", proxy.port());
    // The mirror is a folder: only npm asks the proxy.
    one_line(&run(bench.node(&app, [""; 0]).env("HTTP_PROXY", &address).env("http_proxy", &address)));
    assert!(
        proxy.requests().iter().any(|target| target.starts_with("http://npm.invalid/treasure")),
        "{:?}",
        proxy.requests()
    );

    fs::write(bench.path("ca.pem"), "a private authority\n").expect("write");
    let script = "grep 'a private authority' $NODE_EXTRA_CA_CERTS && test $SSL_CERT_FILE = $NODE_EXTRA_CA_CERTS";
    let app = local(&bench.path("trusting"), script);
    let command = &mut bench.node(&app, ["-v"]);
    let built = run(command.env("NODE_EXTRA_CA_CERTS", bench.path("ca.pem")));
    built.succeeds();
}

#[test]
fn without_a_network_only_caches_are_used() {
    let Some(bench) = workbench() else { return };
    let app = copy(&example(), &bench.path("app"));
    let blank = run(&mut bench.node(&local(&bench.path("blank"), "true"), ["--offline"]));
    // Packages from a folder are no network's.
    blank.succeeds();
    let failed = run(&mut bench.node(&app, ["--offline"]));
    assert_eq!(failed.exits(1), "");
    assert!(failed.stderr.contains("hint: build once without --offline"), "{}", failed.stderr);

    let expected = bench.build(&app, ["-t", "app:1"]);
    let memos = fs::read_dir(bench.home.path().join(".cache/microbuild/v1/memo")).expect("memos").flatten();
    let is_ours = |memo: &fs::DirEntry| memo.file_name().to_string_lossy().starts_with("step");
    let removed = memos.filter(is_ours).map(|memo| fs::remove_dir_all(memo.path()).expect("what was remembered"));
    assert_eq!(removed.count(), 2, "results of steps, and their layers");
    assert_eq!(bench.build(&app, ["-t", "app:1", "--offline"]), expected, "npm's own cache has it all");
}

#[test]
fn scripts_of_packages_can_be_left_alone() {
    let Some(bench) = workbench() else { return };
    let app = local(&bench.path("app"), "echo broken >&2; exit 7");
    let failed = run(&mut bench.node(&app, [""; 0]));
    assert_eq!(failed.exits(1), "");
    assert!(failed.stderr.contains("broken") && failed.stderr.contains("--ignore-scripts"), "{}", failed.stderr);
    bench.build(&app, ["--ignore-scripts"]);
}

#[test]
fn another_processors_packages_are_installed_without_it() {
    let Some(bench) = workbench() else { return };
    let other = if cfg!(target_arch = "aarch64") { ("linux/amd64", "x64") } else { ("linux/arm64", "arm64") };
    let app = copy(&example(), &bench.path("app"));
    let layout = bench.path("layout");
    bench.build(&app, ["--platform", other.0, "-o", &format!("oci:{}:app", layout.display())]);
    let Some(bundle) = unpacked(&bench, &layout, "bundle") else { return };
    let native = bundle.join("rootfs/app/node_modules/@node-rs");
    let names: Vec<_> = fs::read_dir(native).expect("packages").flatten().map(|e| e.file_name()).collect();
    assert!(names.contains(&format!("crc32-linux-{}-musl", other.1).into()), "{names:?}");
    assert_eq!(names.len(), 2, "{names:?}");

    let compiled = local(&bench.path("compiled"), "true");
    let package = r#"{"name": "lib", "version": "1.0.0", "scripts": {"install": "node-gyp rebuild"}}"#;
    // As a folder's packages are links, one that is copied in.
    fs::write(compiled.join(".npmrc"), "install-links=true\n").expect("write");
    fs::write(compiled.join("lib/package.json"), package).expect("write");
    let failed = run(&mut bench.node(&compiled, ["--platform", other.0]));
    assert_eq!(failed.exits(1), "");
    assert!(
        failed.stderr.contains("cannot compile packages for") && failed.stderr.contains("): lib"),
        "{}",
        failed.stderr
    );
}

#[test]
fn a_failing_step_says_all_that_was_said() {
    let Some(bench) = workbench() else { return };
    let app = local(&bench.path("app"), "for i in $(seq 30); do echo line $i; done; exit 3");
    let failed: Finished = run(&mut bench.node(&app, [""; 0]));
    assert_eq!(failed.exits(1), "");
    for expected in [
        "line 1\n",
        "line 30",
        "error: step install failed: `sh /run/recipe/npm.sh install --no-package-lock` ended with exit status 3",
    ] {
        assert!(failed.stderr.contains(expected), "{expected}: {}", failed.stderr);
    }
}

#[test]
fn without_an_oci_runtime_the_error_names_what_to_install() {
    let Some(bench) = workbench() else { return };
    let app = local(&bench.path("app"), "true");
    let failed = run(&mut bench.node(&app, ["--runtime", "/nowhere/runc"]));
    assert_eq!(failed.exits(2), "");
    assert!(failed.stderr.contains("/nowhere/runc"), "{}", failed.stderr);
}

/// A recipe whose dependencies are installed by a script, and one that needs make.
const COMPILING: &str = r#"
name = "maker"
description = "what is made by make"

[base.debian]
packages = ["base-files", "libc6"]
dev = ["coreutils", "dash"]
compile = ["make"]

[[step]]
name = "install"
installs = true
when = ["wishes.txt"]
files = ["wishes.txt"]
run = ["sh", "-ec", "mkdir made; make --version > made/version"]
keep = [{ path = "made", layer = "dependencies" }]

[app]
cmd = ["/run/hello"]
"#;

#[test]
fn what_fails_for_want_of_a_compiler_is_tried_again_with_it() {
    if tools(["runc"]).is_none() || !has_release("bookworm", "amd64") {
        return;
    }
    let bench = Workbench::debian("bookworm");
    let dir = app(&bench.path("app"), &[("wishes.txt", "a\n"), ("recipes/maker.toml", COMPILING)]);
    let build = |options: &[&str]| {
        let mut command = bench.home.microbuild(["maker", &text(&dir), "--json", "--trust"]);
        run(bench.sources(&mut command).args(options))
    };
    let finished = build(&[]);
    let built = json_of(&finished);
    assert!(finished.stderr.contains(" needs a compiler: it runs again with make"), "{}", finished.stderr);
    let packages = built["packages"].to_string();
    assert!(!packages.contains("\"make\""), "the image has no compiler: {packages}");
    let again = build(&[]);
    assert_eq!(json_of(&again)["digest"], built["digest"]);
    assert!(!again.stderr.contains(" needs a compiler"), "it is remembered: {}", again.stderr);

    // What fails for another reason does so once.
    let other = COMPILING.replace("make --version > made/version", "echo no such host; exit 7");
    fs::write(dir.join("recipes/maker.toml"), other).expect("a file");
    let finished = build(&[]);
    finished.exits(1);
    assert!(finished.stderr.contains("ended with exit status 7"), "{}", finished.stderr);
    assert!(!finished.stderr.contains("run again"), "{}", finished.stderr);
}

/// A recipe whose steps lack a compiler at first: what they make is linked with libraries that only come with it, and two of them with
/// different files of one package.
const LINKING: &str = r#"
name = "linker"
description = "programs of C++"

[base.debian]
packages = ["base-files"]
dev = ["coreutils", "dash", "libc6"]
compile = ["g++", "libc6-dev"]

[[step]]
name = "plain"
files = ["plain.cc"]
run = ["sh", "-ec", "g++ -o {out}/plain plain.cc"]
keep = ["{out}"]

[[step]]
name = "more"
files = ["more.cc"]
run = ["sh", "-ec", "g++ -o {out}/more more.cc -latomic"]
keep = ["{out}"]

[app]
made = true
own-runtime = true
cmd = ["./plain"]
"#;

#[test]
fn what_compilers_bring_along_is_in_the_image() {
    if tools(["runc"]).is_none() || !has_release("bookworm", "amd64") {
        return;
    }
    let bench = Workbench::debian("bookworm");
    let plain = "#include <iostream>\nint main() { std::cout << \"plain\\n\"; }\n";
    let more = "#include <cmath>\n#include <iostream>\nint main(int n, char **) { std::cout << std::lgamma(n + 0.5) << \"\\n\"; }\n";
    let dir = app(&bench.path("app"), &[("plain.cc", plain), ("more.cc", more), ("recipes/linker.toml", LINKING)]);
    let build = || {
        let mut command = bench.home.microbuild(["linker", &text(&dir), "--json", "--trust", "-t", "linked:1"]);
        json_of(&run(&mut *bench.sources(&mut command)))
    };
    let built = build();
    assert_eq!(build()["digest"], built["digest"], "remembered");
    assert_eq!(bench.microbuild(["run", "-q", "linked:1"]).succeeds(), "plain\n");
    bench.microbuild(["run", "-q", "linked:1", "--", "./more"]).succeeds();
}

/// What pnpm, Yarn and Yarn's Berry write, and what installs with them.
#[test]
fn pnpm_and_yarn_install_what_their_locks_say() {
    if tools(["runc"]).is_none() || !has_release("bookworm", "amd64") {
        return;
    }
    let bench = Workbench::debian("bookworm");
    let package = r#"{"name": "hello-managers", "main": "index.js", "dependencies": {"is-number": "7.0.0"}, "devDependencies": {"is-odd": "3.0.1"}}"#;
    for (lock, install) in [
        ("pnpm-lock.yaml", ["npm", "exec", "--yes", "--", "pnpm@10.13.1", "install", "--lockfile-only"]),
        ("yarn.lock", ["npm", "exec", "--yes", "--", "yarn@1.22.22", "install", "--non-interactive"]),
    ] {
        let dir = app(
            &bench.path(lock),
            &[("package.json", package), ("index.js", "console.log(require('is-number')(7))\n")],
        );
        let mut dev = bench.home.microbuild(["dev", "node", &text(&dir), "-q"]);
        run(bench.sources(&mut dev).arg("--").args(install)).succeeds();
        let _ = fs::remove_dir_all(dir.join("node_modules"));
        assert!(dir.join(lock).is_file(), "{lock}");
        let build = |options: &[&str]| json_of(&run(bench.node(&dir, ["--json", "-t", "managers:1"]).args(options)));
        let built = build(&[]);
        assert_eq!(layers(&built).iter().filter(|(title, _)| title == "dependencies").count(), 1, "{lock}");
        assert_eq!(bench.microbuild(["run", "-q", "managers:1"]).succeeds(), "true\n", "{lock}");
        let found = bench.microbuild(["run", "-q", "managers:1", "--", "node", "-e", "require('is-odd')"]);
        assert_ne!(found.code, Some(0), "{lock}: without what only development needs");
        assert_eq!(build(&["--offline"])["digest"], built["digest"], "{lock}");
    }
}
