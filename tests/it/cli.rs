//! The command line as users and scripts meet it: help, messages, exit codes, and where values come from.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::support::{
    Finished, Process,
    docker_registry::{DockerRegistry, Wishes},
    fake_registry::FakeRegistry,
    free_port, run, wait_for,
    workbench::{Workbench, app, digest, example, json, one_line, text},
};

/// Made-up packages are for this platform.
const HERE: [&str; 2] = ["--platform", "linux/amd64"];

/// What a command said, with what differs from run to run replaced.
fn told(bench: &Workbench, finished: &Finished) -> String {
    let mut said = format!("exit code {}\n", finished.code.expect("an exit code"));
    if !finished.stdout.is_empty() {
        said += &format!("stdout: {}", finished.stdout);
    }
    said += &finished.stderr;
    let mut places = [
        (text(bench.dir.path()), "DIR"),
        (text(bench.home.path()), "HOME"),
        (text(&example()), "EXAMPLE"),
        (bench.source.mirror.clone(), "MIRROR"),
    ];
    places.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
    for (path, word) in &places {
        said = said.replace(path, word);
    }
    replace_ports(&said)
}

/// Every port of 127.0.0.1 becomes `PORT`.
fn replace_ports(text: &str) -> String {
    let mut parts = text.split("127.0.0.1:");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out += "127.0.0.1:PORT";
        out += part.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out
}

/// Runs each command, and collects under its title what it said; each must exit with its code.
#[track_caller]
fn told_by<'a>(bench: &Workbench, cases: impl IntoIterator<Item = (i32, &'a str, Command)>) -> String {
    let mut all = String::new();
    for (code, title, mut command) in cases {
        let finished = run(&mut command);
        finished.exits(code);
        assert_eq!(finished.stdout, "", "{title}: a failure has no result");
        all += &format!("# {title}\n{}\n", told(bench, &finished));
    }
    all
}

#[test]
fn help_is_a_page_that_a_newcomer_can_read() {
    let bench = Workbench::fake();
    for (name, args) in [("microbuild", vec!["--help"]), ("node", vec!["node", "--help"])] {
        let help = bench.microbuild(args);
        insta::assert_snapshot!(format!("help_of_{name}"), help.succeeds());
    }
    let short = bench.microbuild(["node", "-h"]);
    assert!(short.succeeds().contains("--mirror"));
    let bare = run(&mut bench.home.microbuild::<&str>([]));
    assert_eq!(bare.exits(2), "");
    assert!(bare.stderr.contains("Usage: microbuild <COMMAND>"), "{}", bare.stderr);
    assert!(bench.microbuild(["--version"]).succeeds().starts_with("microbuild 0."));
}

#[test]
fn wrong_words_are_usage_errors() {
    let bench = Workbench::fake();
    let example = text(&example());
    let words = |args: &[&str]| bench.home.microbuild(args);
    let node = |args: &[&str]| bench.node(Path::new(&example), args);
    let cases = [
        (2, "a recipe that is none", words(&["nod", &example])),
        (2, "a recipe that resembles nothing", words(&["cobol"])),
        (2, "an unknown flag", node(&["--platfrom", "linux/amd64"])),
        (2, "a flag of no command", words(&["images", "--push"])),
        (2, "a platform that is none", node(&["--platform", "amd64"])),
        (2, "a platform that Alpine does not know", node(&["--platform", "linux/mips"])),
        (2, "a tag that is none", node(&["-t", "Registry/App:1"])),
        (2, "--push without a tag", node(&["--push"])),
        (2, "--push and --offline", node(&["--push", "--offline", "-t", "r.example/a:1"])),
        (2, "--force without --push", node(&["--force"])),
        (2, "a form that is none", node(&["--format", "v2s1"])),
        (2, "an output that is none", node(&["-o", "tar:x"])),
        (2, "a compression that is none", node(&["--compression", "brotli"])),
        (2, "a base that is none", node(&["--base", "debian"])),
        (2, "a size that is none", node(&["--max-size", "30 apples"])),
        (2, "a package that is none", node(&["-p", "=1"])),
        (2, "keys that are not there", node(&["--keys", "nowhere"])),
        (2, "a CA that is not there", node(&["--ca", "nowhere.pem"])),
        (2, "an insecure host that is none", node(&["--insecure=https://r.example"])),
        (2, "an image that is not there", words(&["push", "nothing", "r.example/a:1"])),
        (2, "a build without a recipe", words(&["build", "."])),
        (2, "a login without a name", words(&["login", "r.example"])),
        (2, "a login without --password-stdin", words(&["login", "r.example", "-u", "me"])),
    ];
    insta::assert_snapshot!(told_by(&bench, cases));
}

#[test]
fn apps_that_make_no_image_are_explained() {
    let bench = Workbench::fake();
    let missing = bench.path("missing");
    let empty = app(&bench.path("empty"), &[("notes.txt", "")]);
    let needy = r#"{"dependencies": {"express": "^5"}}"#;
    let needy = app(&bench.path("needy"), &[("package.json", needy), ("index.js", "")]);
    let old = app(&bench.path("old"), &[("package.json", r#"{"engines": {"node": "<20"}}"#), ("index.js", "")]);
    let good = app(&bench.path("good"), &[("index.js", "")]);
    let wrong = app(&bench.path("wrong"), &[("index.js", ""), ("microbuild.toml", "platfrom = \"linux/amd64\"\n")]);
    let build = |app: &Path, args: &[&str]| bench.node(app, HERE.iter().chain(args));
    let mut epoch = build(&good, &[]);
    epoch.env("SOURCE_DATE_EPOCH", "yesterday");
    let mut environment = build(&good, &[]);
    environment.env("MICROBUILD_COMPRESSION", "brotli");
    let mut switch = build(&good, &[]);
    switch.env("MICROBUILD_PUSH", "perhaps");
    let cases = [
        (2, "an app that is not there", build(&missing, &[])),
        (1, "no entry point", build(&empty, &[])),
        (1, "dependencies that are not installed", build(&needy, &[])),
        (1, "another Node is wanted", build(&old, &[])),
        (2, "a key of microbuild.toml that is none", build(&wrong, &[])),
        (2, "SOURCE_DATE_EPOCH that is none", epoch),
        (2, "a value in the environment that is none", environment),
        (2, "a switch in the environment that is none", switch),
        (5, "too large an image", build(&good, &["--max-size", "1MB"])),
        (1, "a cache that cannot be made", build(&good, &["--cache-dir", "/proc/nowhere"])),
    ];
    insta::assert_snapshot!(told_by(&bench, cases));
}

#[test]
fn what_cannot_be_reached_is_explained() {
    let bench = Workbench::fake();
    let nowhere = format!("127.0.0.1:{}", free_port());
    let mirror = format!("http://{nowhere}/alpine");
    let reference = format!("{nowhere}/app:1");
    let keys = text(&bench.source.keys);
    let from = |mirror: &str, args: &[&str]| {
        let example = text(&example());
        let common = ["node", &example, "--mirror", mirror, "--keys", &keys];
        bench.home.microbuild(common.iter().chain(&HERE).chain(args))
    };
    let cases = [
        (3, "a mirror that does not answer", from(&mirror, &[])),
        (3, "a mirror's folder that is not there", from("nowhere", &[])),
        (3, "a release that the mirror has not", from(&bench.source.mirror, &["--base", "alpine:3.1"])),
        (3, "nothing in the store, and no network", from(&mirror, &["--offline"])),
        (3, "a registry that does not answer", from(&bench.source.mirror, &["-t", &reference, "--push"])),
    ];
    insta::assert_snapshot!(told_by(&bench, cases));
    let kept = json(&bench.microbuild(["images", "--json"]));
    assert_eq!(kept[0]["name"], nowhere.clone() + "/app", "the image is not lost when the push fails");
}

#[test]
fn wrong_credentials_are_exit_code_3() {
    let bench = Workbench::fake();
    let Some(registry) = DockerRegistry::start(Wishes { auth: true, tls: false }) else { return };
    let mut login = bench.home.microbuild(["login", &registry.name(), "-u", "me", "--password-stdin"]);
    let mut login = Process::spawn_with(login.stdout(Stdio::null()).stderr(Stdio::null()), b"wrong").expect("start");
    let ended = wait_for(Duration::from_secs(60), || login.ended()).expect("an end");
    assert_eq!(ended.code(), Some(3));
    let reference = format!("{}/app:1", registry.name());
    let push = bench.node(&example(), HERE.into_iter().chain(["-t", &reference, "--push"]));
    let said = told_by(&bench, [(3, "a registry that wants a password", push)]);
    insta::with_settings!({ filters => vec![("sha256:[0-9a-f]{64}", "DIGEST")] }, { insta::assert_snapshot!(said) });
}

#[test]
fn an_unsolvable_wish_names_what_is_missing() {
    let bench = Workbench::fake();
    let finished = run(&mut bench.node(&example(), HERE.into_iter().chain(["-p", "nosuchthing"])));
    assert_eq!(finished.exits(1), "");
    assert!(finished.stderr.contains("nosuchthing"), "{}", finished.stderr);
}

#[test]
fn stdout_is_one_line_and_stderr_is_talk() {
    let bench = Workbench::fake();
    let loud = run(&mut bench.node(&example(), HERE));
    let line = one_line(&loud);
    assert!(line.starts_with("hello-node:latest@sha256:"), "{line}");
    let talk = told(&bench, &loud);
    let talk = talk.replace(digest(&line), "DIGEST");
    insta::assert_snapshot!(talk);

    let quiet = run(&mut bench.node(&example(), HERE.into_iter().chain(["-q"])));
    assert_eq!((one_line(&quiet), quiet.stderr.as_str()), (line.clone(), ""));
    let plain = run(&mut bench.node(&example(), HERE.into_iter().chain(["--progress", "none"])));
    assert_eq!((one_line(&plain), plain.stderr.as_str()), (line, ""));
    for args in [vec!["images"], vec!["recipes"], vec!["inspect", "hello-node"], vec!["recipes", "node"]] {
        let finished = bench.microbuild(&args);
        assert!(!finished.succeeds().is_empty() && finished.stderr.is_empty(), "{args:?}: {}", finished.stderr);
    }
}

#[test]
fn an_annotation_names_the_base_only_when_that_is_an_image() {
    let bench = Workbench::fake();
    const NAME: &str = "org.opencontainers.image.base.name";
    for (base, given, expected) in [
        ("alpine", None, None),
        ("scratch", None, None),
        ("alpine", Some("registry.example/base:1"), Some("registry.example/base:1")),
    ] {
        let given = given.map(|value| ["--annotation".to_owned(), format!("{NAME}={value}")]);
        let options = ["--base", base].map(str::to_owned).into_iter().chain(given.into_iter().flatten());
        bench.build(&example(), HERE.map(str::to_owned).into_iter().chain(options));
        let inspected: Value =
            serde_json::from_str(bench.microbuild(["inspect", "hello-node"]).succeeds()).expect("JSON");
        let annotations = &inspected["images"][0]["annotations"];
        assert_eq!(annotations["org.opencontainers.image.title"], "hello-node");
        assert_eq!(annotations[NAME].as_str(), expected, "{base}");
    }
}

/// The keys of a JSON object, sorted.
fn keys(value: &Value) -> String {
    let mut keys: Vec<_> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys.join(" ")
}

#[test]
fn json_has_the_keys_that_scripts_count_on() {
    let bench = Workbench::fake();
    let file = bench.path("metadata.json");
    let built = bench.build_json(&example(), HERE.into_iter().chain(["--metadata-file", &text(&file)]));
    assert_eq!(
        keys(&built),
        "base dev_packages digest layers left_out names packages platforms recipe reference size timings"
    );
    assert_eq!(keys(&built["layers"][0]), "cached diff_id digest media_type platform pushed size title");
    assert_eq!(keys(&built["packages"][0]), "name platform size version");
    assert_eq!(built["platforms"], serde_json::json!(["linux/amd64"]));
    assert_eq!((&built["recipe"], &built["base"]), (&"node".into(), &"alpine:3.23".into()));
    assert_eq!(built["reference"], "hello-node:latest");
    let layers = built["layers"].as_array().expect("layers");
    let sum: u64 = layers.iter().filter_map(|layer| layer["size"].as_u64()).sum();
    let size = built["size"].as_u64().expect("a size");
    assert!(size >= sum && size - sum < 20_000, "{size} bytes with manifest and configuration, {sum} in layers");
    let written: Value = serde_json::from_slice(&fs::read(&file).expect("the file")).expect("JSON");
    assert_eq!(written, built, "the file is what is printed");
    for args in [vec!["images", "--json"], vec!["gc", "--json"], vec!["inspect", "hello-node", "--json"]] {
        json(&bench.microbuild(args));
    }
}

/// The configuration of the local image `name`.
fn config(bench: &Workbench, name: &str) -> Value {
    let layout = bench.path("inspected");
    let output = format!("oci:{}:app", layout.display());
    bench.microbuild(["export", name, &output]).succeeds();
    let read = |digest: &Value| -> Value {
        let hex = digest.as_str().and_then(|digest| digest.strip_prefix("sha256:")).expect("a digest");
        serde_json::from_slice(&fs::read(layout.join("blobs/sha256").join(hex)).expect("a blob")).expect("JSON")
    };
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).expect("read")).expect("JSON");
    read(&read(&index["manifests"][0]["digest"])["config"]["digest"])
}

#[test]
fn a_flag_wins_over_the_environment_that_over_the_file_that_over_the_recipe() {
    let bench = Workbench::fake();
    let plain = app(&bench.path("plain"), &[("index.js", "")]);
    let toml = "user = \"1001\"\ntag = [\"file:1\"]\nport = [\"1001\"]\n[env]\nFROM = \"file\"\nFILE = \"1\"\n";
    let filed = app(&bench.path("filed"), &[("index.js", ""), ("microbuild.toml", toml)]);
    for (app, environment, flags, expected) in [
        (&plain, false, &[][..], "plain:latest 65532:65532"),
        (&filed, false, &[], "file:1 1001"),
        (&filed, true, &[], "environment:1 1002"),
        (&filed, true, &["-t", "flag:1", "--user", "1003"], "flag:1 1003"),
        (&plain, true, &["--user", "1003"], "environment:1 1003"),
    ] {
        let mut command = bench.node(app, HERE.iter().chain(flags));
        if environment {
            command.env("MICROBUILD_TAG", "environment:1").env("MICROBUILD_USER", "1002");
        }
        let line = one_line(&run(&mut command));
        let name = line.split('@').next().expect("a name").to_owned();
        let user = config(&bench, &name)["config"]["User"].as_str().expect("a user").to_owned();
        assert_eq!(format!("{name} {user}"), expected);
    }
    let line = bench.build(&filed, HERE.into_iter().chain(["--env", "FROM=flag"]));
    let config = config(&bench, line.split('@').next().expect("a name"));
    let env = config["config"]["Env"].to_string();
    assert!(
        env.contains("FROM=flag") && env.contains("FILE=1") && !env.contains("FROM=file"),
        "maps are merged: {env}"
    );
    assert_eq!(config["config"]["ExposedPorts"].to_string(), r#"{"1001/tcp":{}}"#);
}

#[test]
fn every_option_of_a_build_can_stand_in_the_environment() {
    let bench = Workbench::fake();
    let mut command = bench.home.microbuild(["node".to_owned(), text(&example())]);
    for (name, value) in [
        ("MIRROR", text(Path::new(&bench.source.mirror))),
        ("KEYS", text(&bench.source.keys)),
        ("PLATFORM", "linux/amd64".into()),
        ("TAG", "a:1,b:2".into()),
        ("BASE", "scratch".into()),
        ("ENV", "A=1".into()),
        ("JSON", "1".into()),
        // CI systems set to nothing what nobody has given.
        ("USER", String::new()),
        ("PUSH", String::new()),
        ("MAX_SIZE", String::new()),
        ("OUTPUT", format!("oci:{}", bench.path("layout").display())),
    ] {
        command.env(format!("MICROBUILD_{name}"), value);
    }
    let built = json(&run(&mut command));
    assert_eq!((&built["reference"], &built["base"]), (&"a:1".into(), &"scratch".into()));
    assert!(bench.path("layout/index.json").is_file());
    assert_eq!(json(&bench.microbuild(["images", "--json"])).as_array().map(Vec::len), Some(2));
    let config = config(&bench, "b:2");
    assert!(config["config"]["Env"].to_string().contains("\"A=1\""));
    assert_eq!(config["config"]["User"], "65532:65532");
}

#[test]
fn completions_know_recipes() {
    let bench = Workbench::fake();
    for shell in ["bash", "zsh", "fish"] {
        let script = bench.microbuild(["completions", shell]);
        assert!(script.succeeds().contains("node"), "{shell}");
        assert!(script.stdout.contains("--mirror") || script.stdout.contains("-l mirror"), "{shell}");
    }
    let script = bench.path("completions");
    fs::write(&script, bench.microbuild(["completions", "bash"]).succeeds()).expect("write");
    let ask = "source \"$1\"; COMP_WORDS=(microbuild no); COMP_CWORD=1; _microbuild microbuild no microbuild; echo ${COMPREPLY[@]}";
    let mut bash = Command::new("bash");
    let completed = run(bash.args(["-c", ask, "bash"]).arg(&script));
    assert_eq!(completed.succeeds().trim(), "node");
}

#[test]
fn the_recipe_is_told_by_the_files_and_they_are_named() {
    let bench = Workbench::fake();
    let dir = app(&bench.path("app"), &[("package.json", "{}"), ("index.js", "")]);
    let build = |options: &[&str]| {
        let mut command = bench.home.microbuild(["build", &text(&dir)]);
        run(bench.sources(&mut command).args(HERE).args(options))
    };
    let finished = build(&["-v"]);
    finished.succeeds();
    assert!(finished.stderr.contains("recipe node recognizes package.json"), "{}", finished.stderr);
    assert!(!build(&[]).stderr.contains("recognizes"));
    for (name, text) in [("go.mod", "module m\n"), ("pom.xml", "<project/>")] {
        fs::write(dir.join(name), text).expect("a file");
    }
    let finished = build(&[]);
    finished.exits(2);
    assert!(finished.stderr.contains(": go (go.mod), java (pom.xml)"), "{}", finished.stderr);
    assert!(finished.stderr.contains("--recipe go"), "the hint names the flag: {}", finished.stderr);
    build(&["--recipe", "node"]).succeeds();
}

#[test]
fn insecure_is_for_a_host_or_with_a_warning_for_all() {
    let bench = Workbench::fake();
    let warning = "warning: --insecure checks no certificate, and allows plain HTTP to every registry; \
                   --insecure=HOST limits that to one host\n";
    // What follows it is the app.
    let plan = |words: &[&str]| bench.home.microbuild([&["plan", "node"], words, &HERE].concat());
    let with_sources = |mut command: Command| run(bench.sources(&mut command));
    for words in [&["--insecure", &text(&example())][..], &[&text(&example()), "--insecure=true"]] {
        let finished = with_sources(plan(words));
        finished.succeeds();
        assert_eq!(finished.stderr, warning, "{words:?}");
    }
    for words in ["--insecure=r.example", "--insecure=r.example:5000,[::2]:80", "--insecure=false"] {
        let finished = with_sources(plan(&[&text(&example()), words, "--insecure=10.0.0.1"]));
        finished.succeeds();
        assert_eq!(finished.stderr, "", "{words}");
    }
    for (value, said) in [
        ("1", warning),
        ("TRUE", warning),
        ("0", ""),
        ("", ""),
        ("r.example", ""),
        ("a:1,b.example", ""),
        ("a,on", warning),
    ] {
        let mut command = plan(&[&text(&example())]);
        command.env("MICROBUILD_INSECURE", value);
        let finished = with_sources(command);
        finished.succeeds();
        assert_eq!(finished.stderr, said, "{value}");
    }
}

#[test]
fn only_a_registry_that_is_called_insecure_is_spoken_to_in_the_clear() {
    let bench = Workbench::fake();
    let app = app(&bench.path("app"), &[("index.js", "")]);
    bench.build(&app, HERE);
    // A name that is not this machine's leads to the proxy, which sees what is asked for how.
    let proxy = FakeRegistry::start();
    for (word, in_the_clear) in [("registry.invalid", true), ("registry.invalid:80", true), ("other.invalid", false)] {
        let insecure = format!("--insecure={word}");
        let mut push = bench.home.microbuild(["push", "app", "registry.invalid/app:1", &insecure]);
        let address = format!("http://{}", proxy.name());
        let refused = run(push.env("HTTP_PROXY", &address).env("HTTPS_PROXY", &address));
        assert_eq!(refused.exits(3), "", "{word}");
        let requests = proxy.take_requests();
        assert_eq!(requests[0].target, "registry.invalid:443", "TLS is tried first");
        let plain = requests.iter().any(|request| request.target.starts_with("http://registry.invalid/"));
        assert_eq!(plain, in_the_clear, "{word}: {}", refused.stderr);
    }
}

/// The commands that recipes/README.md gives, and the hint of a recipe that lacks a file.
#[test]
fn a_recipes_files_are_printed_and_copied() {
    let bench = Workbench::fake();
    assert!(bench.microbuild(["recipes", "lists"]).succeeds().contains("\nmaintainer-scripts = ["));
    let shown = bench.microbuild(["recipes", "go", "--files"]).succeeds().to_owned();
    assert!(shown.starts_with("==> /run/recipe/build.sh <==\n# "), "{shown}");
    let (recipe, folder) = (bench.path("mine.toml"), bench.path("mine"));
    fs::write(&recipe, bench.microbuild(["recipes", "go"]).succeeds()).expect("a file");
    bench.microbuild(["recipes", "go", &format!("--files={}", folder.display())]).succeeds();
    fs::write(folder.join("build.sh"), "# mine\n").expect("a file");
    let shown = bench.microbuild(["recipes", &text(&recipe), "--files"]).succeeds().to_owned();
    assert_eq!(shown, "==> /run/recipe/build.sh <==\n# mine\n\n");
    let twice = bench.microbuild(["recipes", "go", &format!("--files={}", folder.display())]);
    twice.exits(2);
    assert!(twice.stderr.contains("build.sh"), "{}", twice.stderr);
    assert_eq!(fs::read_to_string(folder.join("build.sh")).expect("a file"), "# mine\n");
}
