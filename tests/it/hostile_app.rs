//! Folders that a stranger wrote: what each of them must not reach. `SECURITY.md` says what is promised.
//!
//! Every row builds a folder in a home of its own. Beside the folder lie a canary and a victim's files; afterwards these
//! are unchanged, and no byte of the canary is in anything that the build left or said.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use flate2::read::MultiGzDecoder;

use crate::support::{
    Finished, Process, run, wait_for,
    workbench::{Workbench, one_line, text},
};

/// What no build may take along.
const CANARY: &str = "CANARY-4b1d0c6e97";
/// No build here takes nearly as long; one that waits for ever is a failure, not a test that hangs.
const LIMIT: Duration = Duration::from_secs(60);
/// What an app that is in order has.
const HERE: [&str; 4] = ["--platform", "linux/amd64", "--progress", "plain"];

/// A user's home with a stranger's folder in it.
struct Stage {
    bench: Workbench,
}

impl Stage {
    fn new() -> Self {
        let bench = Workbench::fake();
        let stage = Self { bench };
        fs::create_dir_all(stage.app()).expect("the app's folder");
        fs::create_dir_all(stage.victim()).expect("the victim's folder");
        fs::write(stage.victim().join("secret"), CANARY).expect("a canary");
        fs::write(
            stage.victim().join("repo.git-config"),
            format!("[remote \"origin\"]\nurl = https://h.example/{CANARY}\n"),
        )
        .expect("a canary");
        stage.write("index.js", "");
        stage.write("package.json", "{}");
        stage
    }

    /// The place of `path` in the app, empty and with its folder.
    fn place(&self, path: &str) -> PathBuf {
        let path = self.app().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        let _ = fs::remove_file(&path);
        path
    }

    fn app(&self) -> PathBuf {
        self.bench.path("app")
    }

    /// What lies beside the app, and is none of its business.
    fn victim(&self) -> PathBuf {
        self.bench.path("victim")
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::write(self.place(path), content).expect("a file of the app");
    }

    fn link(&self, target: &str, path: &str) {
        symlink(target, self.place(path)).expect("a link of the app");
    }

    fn pipe(&self, path: &str) {
        assert!(Command::new("mkfifo").arg(self.place(path)).status().expect("mkfifo").success());
    }

    /// Builds the app; what came of it, once nothing of the victim's was touched or taken.
    #[track_caller]
    fn build(&self, row: &str, words: &[&str]) -> Finished {
        let (out, err) = (self.bench.path("stdout"), self.bench.path("stderr"));
        let mut command = self.bench.home.microbuild(["build".to_owned(), text(&self.app())]);
        self.bench.sources(&mut command).args(HERE).args(words);
        command.env("AWS_SECRET_ACCESS_KEY", CANARY);
        command.stdout(fs::File::create(&out).expect("a file")).stderr(fs::File::create(&err).expect("a file"));
        let before = self.listing();
        let mut process = Process::spawn(&mut command).expect("it starts");
        let status = wait_for(LIMIT, || process.ended()).unwrap_or_else(|| panic!("{row}: the build does not end"));
        let read = |path| String::from_utf8_lossy(&fs::read(path).expect("output")).into_owned();
        let finished = Finished {
            line: format!("{row}: {command:?}"),
            code: status.code(),
            stdout: read(&out),
            stderr: read(&err),
        };
        assert!(matches!(finished.code, Some(0..=5)), "{row}: {finished:?}");
        assert_eq!(before, self.listing(), "{row}: something beside the app has changed\n{}", finished.stderr);
        assert!(!finished.stdout.contains(CANARY) && !finished.stderr.contains(CANARY), "{row}: {finished:?}");
        let taken = self.files_with_the_canary();
        assert!(taken.is_empty(), "{row}: the canary is in {taken:?}\n{}", finished.stderr);
        let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
        assert!(!finished.stderr.contains(steers) && !finished.stdout.contains(steers), "{row}: {finished:?}");
        finished
    }

    /// All that lies beside the app, with its content: the victim's folder, the home's top.
    fn listing(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut listing: Vec<_> = files(&self.victim())
            .into_iter()
            .map(|path| (path.clone(), fs::read(&path).unwrap_or_default()))
            .chain(
                fs::read_dir(self.bench.home.path())
                    .expect("the home")
                    .map(|entry| (entry.expect("an entry").path(), Vec::new()))
                    // What a build is there to write to.
                    .filter(|(path, _)| {
                        !path.ends_with(".cache") && !path.ends_with(".local") && !path.ends_with(".run")
                    }),
            )
            .collect();
        listing.sort();
        listing
    }

    /// The files that the build left with the canary in them, compressed or not.
    fn files_with_the_canary(&self) -> Vec<PathBuf> {
        let left = files(self.bench.home.path());
        left.into_iter()
            .filter(|path| {
                let bytes = fs::read(path).unwrap_or_default();
                let mut unpacked = Vec::new();
                // What is no gzip stream ends in an error at once.
                let _ = MultiGzDecoder::new(&bytes[..]).read_to_end(&mut unpacked);
                let has = |bytes: &[u8]| memchr::memmem::find(bytes, CANARY.as_bytes()).is_some();
                has(&bytes) || has(&unpacked)
            })
            .collect()
    }
}

/// The regular files below `folder`, links not followed.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files
}

/// Keys of `microbuild.toml` that speak for the user's machine, each with what it would do.
const USERS_KEYS: &[&str] = &[
    "runtime = './r'",
    "output = ['docker-archive:../victim/.bashrc']",
    "output = 'oci:../victim/layout'",
    "metadata-file = '../victim/.bashrc'",
    "secret = ['id=k,src=../victim/secret']",
    "secret = ['id=AWS,env=AWS_SECRET_ACCESS_KEY']",
    "push = true",
    "cache-dir = '../victim/cache'",
    "cache-dir = 'cache'",
    "mirror = './mirror'",
    "repository = ['deb [trusted=yes] https://m.example/debian x main']",
    "repository = ['./packages']",
    "keys = ['./keys']",
    "ca = './ca.pem'",
    "insecure = true",
    "offline = true",
    "json = true",
    "progress = 'none'",
    "trust = ['.']",
    "tag = ['registry.example/victim/app:1']",
    "tag = ['localhost:5000/victim/app:1']",
    "recipe = './recipes/own.toml'",
    "recipe = '../victim/secret.toml'",
];

#[test]
fn an_apps_configuration_says_nothing_of_the_machine() {
    let stage = Stage::new();
    stage.write("r", format!("#!/bin/sh\necho ran > {}/ran\n", stage.victim().display()));
    fs::set_permissions(stage.app().join("r"), fs::Permissions::from_mode(0o755)).expect("a mode");
    stage.write("recipes/own.toml", OWN);
    for key in USERS_KEYS {
        stage.write("microbuild.toml", format!("{key}\n"));
        let finished = stage.build(key, &[]);
        finished.exits(2);
        let name = key.split(' ').next().expect("a key");
        let told = &finished.stderr;
        let expected = match name {
            "recipe" => "the app has its own recipe",
            "tag" => "expected a name without a registry",
            _ => "is not allowed in an app's microbuild.toml",
        };
        assert!(told.contains(expected), "{key}: {told}");
        assert!(told.contains("microbuild.toml:1:") || name == "recipe", "{key}: {told}");
        // The same file is no better for the other commands.
        for command in ["run", "plan", "dev"] {
            let mut words = vec![command.to_owned()];
            words.extend((command != "run").then(|| "node".to_owned()));
            words.push(text(&stage.app()));
            words.extend((command == "dev").then(|| ["--", "true"].map(str::to_owned)).into_iter().flatten());
            if name != "recipe" || command == "run" {
                let told = run(&mut stage.bench.home.microbuild(words));
                assert!(told.code == Some(2) && told.stderr.contains(expected), "{key}: {told:?}");
            }
        }
    }
    assert!(!stage.victim().join("ran").exists());
}

#[test]
fn only_the_user_says_where_an_image_is_pushed() {
    let stage = Stage::new();
    stage.write("microbuild.toml", "tag = ['victim/app:1']\n");
    let finished = stage.build("push to the app's tag", &["--push"]);
    finished.exits(2);
    assert!(finished.stderr.contains("no name to push the image to: the app's own"), "{}", finished.stderr);
}

#[test]
fn the_users_own_configuration_says_it() {
    let stage = Stage::new();
    let config = stage.bench.home.path().join(".config/microbuild/config.toml");
    fs::create_dir_all(config.parent().expect("a folder")).expect("folders");
    let output = stage.bench.path("image.tar");
    fs::write(&config, format!("output = 'oci-archive:{}'\nruntime = 'none'\n", output.display())).expect("a file");
    stage.build("an output of the user's", &[]).succeeds();
    assert!(output.is_file());
    // A relative path there is meant from its own folder, and a flag wins.
    fs::write(&config, "cache-dir = 'store'\n").expect("a file");
    let mut command = stage.bench.node(&stage.app(), HERE);
    one_line(&run(&mut command));
    assert!(config.with_file_name("store").is_dir());
    fs::write(&config, "base = 'scratch'\n").expect("a file");
    let told = run(&mut stage.bench.home.microbuild(["images"]));
    assert!(
        told.code == Some(2) && told.stderr.contains("`base` is not allowed in your own configuration"),
        "{told:?}"
    );
}

/// A recipe of one's own that would put a variable of the builder's into the image.
const OWN: &str = "name = 'own'\nlike = 'node'\ndescription = 'x'\ndetect = ['index.js']\nover = ['node']\n";

#[test]
fn an_apps_own_recipe_is_taken_when_it_is_named_or_trusted_only() {
    let node = OWN.replace("'own'", "'node'").replace("over = ['node']\n", "");
    let grabbing = format!(
        "{node}[[step]]\nname = 'install'\ninstalls = true\nfiles = ['package.json']\nrun = 'x'\nkeep = ['y']\npass = ['AWS_SECRET_ACCESS_KEY']\n"
    );
    let not_taken = "the app has its own recipe";
    type Prepare = fn(&Stage, &str);
    /// What it is, the recipe, how it gets there, further words, the exit code, a part of what is told.
    type Row<'a> = (&'a str, &'a str, Prepare, &'a [&'a str], i32, &'a str);
    let rows: [Row<'_>; 9] = [
        (
            "of a built-in one's name",
            &node,
            |s, t| s.write("recipes/node.toml", t),
            &["--recipe", "node"],
            2,
            not_taken,
        ),
        ("found by its files", OWN, |s, t| s.write("recipes/own.toml", t), &[], 2, not_taken),
        ("no recipe at all", "?", |s, t| s.write("recipes/node.toml", t), &["--recipe", "node"], 2, not_taken),
        ("a pipe", "", |s, _| s.pipe("recipes/node.toml"), &["--recipe", "node"], 2, not_taken),
        ("a link", "", |s, _| s.link("../../victim/secret", "recipes/node.toml"), &["--recipe", "node"], 2, not_taken),
        (
            "a link, trusted",
            "",
            |s, _| s.link("../../victim/secret", "recipes/node.toml"),
            &["--recipe", "node", "--trust"],
            2,
            "leads out",
        ),
        ("left alone", &node, |s, t| s.write("recipes/node.toml", t), &["--trust=no"], 0, "total"),
        ("trusted", OWN, |s, t| s.write("recipes/own.toml", t), &["--trust"], 0, "recipe own from"),
        (
            "passes nothing",
            &grabbing,
            |s, t| s.write("recipes/node.toml", t),
            &["--trust", "--deps", "none"],
            0,
            "its steps do not get AWS_SECRET_ACCESS_KEY",
        ),
    ];
    for (row, recipe, prepare, words, code, told) in rows {
        let stage = Stage::new();
        prepare(&stage, recipe);
        let finished = stage.build(row, words);
        finished.exits(code);
        assert!(finished.stderr.contains(told), "{row}: {}", finished.stderr);
    }
    // The hints work.
    let stage = Stage::new();
    stage.write("recipes/own.toml", OWN);
    let recipe = text(&stage.app().join("recipes/own.toml"));
    stage.build("named", &["--recipe", &recipe]).succeeds();
    let config = stage.bench.home.path().join(".config/microbuild/config.toml");
    fs::create_dir_all(config.parent().expect("a folder")).expect("folders");
    fs::write(&config, format!("trust = ['{}']\n", stage.app().display())).expect("a file");
    stage.build("trusted by the user's file", &[]).succeeds();
}

/// Files that a build reads, of which a stranger may have made anything.
const READ: [&str; 8] = [
    "package.json",
    "package-lock.json",
    ".npmrc",
    "Procfile",
    ".dockerignore",
    ".microbuildignore",
    "microbuild.toml",
    "recipes",
];

#[test]
fn files_that_are_read_are_never_read_elsewhere() {
    type Make = fn(&Stage, &str);
    let kinds: [(&str, Make); 6] = [
        ("a link out of the app", |s, name| s.link("../victim/secret", name)),
        ("an absolute link", |s, name| s.link(&text(&s.victim().join("secret")), name)),
        ("a link to what never ends", |s, name| s.link("/dev/zero", name)),
        ("a pipe", |s, name| s.pipe(name)),
        ("a link to itself", |s, name| s.link(name, name)),
        ("a folder", |s, name| fs::create_dir(s.place(name)).expect("a folder")),
    ];
    for (kind, make) in kinds {
        for name in READ {
            let row = format!("{name} is {kind}");
            let stage = Stage::new();
            make(&stage, name);
            let deps = if name == "package-lock.json" || name == ".npmrc" { "auto" } else { "none" };
            if deps == "auto" {
                stage.write("package.json", r#"{"dependencies": {"ms": "2.1.3"}}"#);
            }
            // No runtime: what is wrong with the files is told before one is looked for.
            let finished = stage.build(&row, &["--recipe", "node", "--deps", deps, "--runtime", "/nonexistent"]);
            let is_folder = kind == "a folder" && name == "recipes";
            assert!(is_folder || finished.code != Some(0), "{row}: {finished:?}");
            assert!(!finished.stderr.contains("/nonexistent"), "{row}: found out too late: {finished:?}");
        }
    }
}

#[test]
fn what_is_read_whole_has_a_limit() {
    for name in ["package.json", "Procfile", ".dockerignore", "microbuild.toml"] {
        let stage = Stage::new();
        stage.write(name, "");
        fs::File::options()
            .write(true)
            .open(stage.app().join(name))
            .expect("a file")
            .set_len(65 << 30)
            .expect("a hole");
        let finished = stage.build(name, &["--recipe", "node"]);
        assert!(finished.stderr.contains("expected at most"), "{name}: {finished:?}");
    }
}

#[test]
fn another_repositorys_address_is_not_told() {
    type Make = fn(&Stage);
    let rows: [(&str, Make); 5] = [
        ("a .git that names another repository", |s| s.write(".git", "gitdir: ../victim/repo\n")),
        ("a .git that is a link", |s| s.link("../victim/repo", ".git")),
        ("a configuration that is a link", |s| {
            s.write(".git/HEAD", "0123456789abcdef0123456789abcdef01234567");
            s.link("../../victim/repo/config", ".git/config");
        }),
        ("a work tree's folder that leads on", |s| {
            s.write(".git", "gitdir: tree\n");
            s.write("tree/HEAD", "0123456789abcdef0123456789abcdef01234567");
            s.write("tree/gitdir", "../.git\n");
            s.write("tree/commondir", "../../victim/repo\n");
        }),
        ("a ref that leads out", |s| {
            s.write(".git/HEAD", "ref: refs/../../../victim/secret\n");
        }),
    ];
    for (row, make) in rows {
        let stage = Stage::new();
        let repo = stage.victim().join("repo");
        fs::create_dir(&repo).expect("a folder");
        fs::write(repo.join("HEAD"), "0123456789abcdef0123456789abcdef01234567").expect("a file");
        fs::copy(stage.victim().join("repo.git-config"), repo.join("config")).expect("a file");
        make(&stage);
        stage.build(row, &["--exclude", "tree"]).succeeds();
    }
}

#[test]
fn a_file_that_becomes_a_link_meanwhile_is_not_followed() {
    let stage = Stage::new();
    // Large enough that the build has something to do between listing and reading it.
    stage.write("a.bin", vec![7; 4 << 20]);
    let (file, folder) = (stage.app().join("data.txt"), stage.app().join("sub"));
    let secret = stage.victim().join("secret");
    stage.write("data.txt", "x".repeat(CANARY.len()));
    stage.write("sub/secret", "x".repeat(CANARY.len()));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let aside = stage.app().with_file_name("aside");
            while !done.load(Ordering::Relaxed) {
                let _ = fs::remove_file(&file);
                let _ = symlink(&secret, &file);
                let _ = fs::rename(&folder, &aside);
                let _ = symlink(stage.victim(), &folder);
                std::thread::sleep(Duration::from_millis(1));
                let _ = fs::remove_file(&file);
                let _ = fs::write(&file, "x".repeat(CANARY.len()));
                let _ = fs::remove_file(&folder);
                let _ = fs::rename(&aside, &folder);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        for at in 0..30 {
            // Each build reads everything anew: another file each time.
            stage.write("a.bin", vec![at; 4 << 20]);
            stage.build("swapped", &["--compression", "gzip:1"]);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn names_neither_steer_the_terminal_nor_fake_a_line() {
    const ESCAPES: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m";
    type Make = fn(&Stage);
    let rows: [(&str, Make, &[&str]); 9] = [
        ("a file's name", |s| s.link("/srv/x", &format!("{ESCAPES}.txt")), &[]),
        ("a name with a line in it", |s| s.link("/srv/x", "a\nerror: all is lost"), &[]),
        ("a link's target", |s| s.link(&format!("/srv/{ESCAPES}"), "link"), &[]),
        ("a pipe's name", |s| s.pipe(&format!("p{ESCAPES}\nerror: lost")), &[]),
        (
            "package.json",
            |s| {
                s.write(
                    "package.json",
                    format!(r#"{{"main": "a{ESCAPES}.js", "version": "x"}}"#)
                        .replace('\u{1b}', "\\u001b")
                        .replace('\u{7}', "\\u0007"),
                );
            },
            &[],
        ),
        ("a broken package.json", |s| s.write("package.json", format!("{{{ESCAPES}")), &[]),
        (".dockerignore", |s| s.write(".dockerignore", format!("[{ESCAPES}")), &[]),
        ("Procfile", |s| s.write("Procfile", format!("web: node {ESCAPES} && x")), &[]),
        ("microbuild.toml", |s| s.write("microbuild.toml", format!("base = \"\\u001b[2J\" # {ESCAPES}")), &[]),
    ];
    for (row, make, words) in rows {
        let stage = Stage::new();
        make(&stage);
        // `build` looks for control characters itself.
        let finished = stage.build(row, words);
        let lines = finished.stderr.lines();
        assert_eq!(
            lines.filter(|line| *line == "error: all is lost" || *line == "error: lost").count(),
            0,
            "{finished:?}"
        );
    }
}

#[test]
fn a_name_that_means_another_project_from_now_on_is_told() {
    let stage = Stage::new();
    stage.write("package.json", r#"{"name": "hello"}"#);
    let other = stage.bench.path("other");
    fs::create_dir(&other).expect("a folder");
    fs::write(other.join("index.js"), "other").expect("a file");
    fs::write(other.join("package.json"), r#"{"name": "hello"}"#).expect("a file");
    let told =
        |finished: &Finished| finished.stderr.lines().filter(|line| line.contains("now names another image")).count();
    let first = stage.build("first", &[]);
    assert_eq!(told(&first), 0);
    stage.write("index.js", "changed");
    assert_eq!(told(&stage.build("its own change", &[])), 0);
    let theirs = run(&mut stage.bench.node(&other, HERE));
    theirs.succeeds();
    assert_eq!(told(&theirs), 1, "{}", theirs.stderr);
    assert!(theirs.stderr.contains(&format!("of {}", fs::canonicalize(stage.app()).expect("a path").display())));
    assert_eq!(told(&run(&mut stage.bench.node(&other, HERE))), 0);
    assert_eq!(told(&stage.build("back again", &[])), 1);
}
