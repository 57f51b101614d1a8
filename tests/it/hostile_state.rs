//! What one build leaves must not reach another: install scripts of strangers, and stores that others have written into. Each row says
//! what is done, and what must not come of it.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use microbuild::internals::recipe::RecipeSearch;
use serde_json::json;

use crate::support::{
    Finished, Process, is_root,
    machine::{Machine, machines},
    run, skip_forbidden, tools,
    unprivileged::Unprivileged,
    wait_for,
    workbench::{Workbench, app, json as json_of, text},
};

/// What must stay as it is.
const CANARY: &str = "canary-4f1c0ffee-alive";

/// A workbench with a mirror and an OCI runtime, or a skip.
#[track_caller]
fn workbench() -> Option<Workbench> {
    tools(["runc"])?;
    Workbench::alpine()
}

/// All folders that any recipe keeps between builds.
fn all_caches() -> BTreeSet<String> {
    let recipes = RecipeSearch::default().all().expect("built in");
    recipes.iter().flat_map(|recipe| &recipe.steps).flat_map(|step| &step.cache).cloned().collect()
}

/// A recipe called `name` for Node, whose step runs `sh install.sh` and keeps `caches`; the path of its file.
fn recipe(bench: &Workbench, name: &str, caches: &BTreeSet<String>) -> String {
    let text = format!(
        "name = '{name}'\ndescription = 'x'\n[base.alpine]\npackages = ['busybox-binsh', 'nodejs']\n[app]\nentry = ['index.js']\n\
         cmd = ['node', '{{entry}}']\n[[step]]\nname = 'install'\ninstalls = true\nwhen = ['install.sh']\nfiles = ['*.sh']\n\
         run = ['sh', 'install.sh']\nkeep = [{{ path = 'made', layer = 'dependencies' }}]\ncache = {:?}\n",
        caches.iter().collect::<Vec<_>>()
    );
    let path = bench.path(&format!("{name}.toml"));
    fs::write(&path, text).expect("a recipe");
    crate::support::workbench::text(&path)
}

/// A project whose dependencies are installed by `script`.
fn project(bench: &Workbench, name: &str, script: &str) -> PathBuf {
    app(&bench.path(name), &[("index.js", "0\n"), ("install.sh", script)])
}

/// `microbuild RECIPE APP OPTIONS…`, by a path of a recipe.
fn build(bench: &Workbench, recipe: &str, app: &Path, options: &[&str]) -> Command {
    let mut command = bench.home.microbuild([recipe, &text(app)]);
    bench.sources(&mut command).args(options);
    command
}

/// The script that writes `mark` into every cache, once it has said which have one already.
fn planting(caches: &BTreeSet<String>, mark: &str) -> String {
    let list = caches.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    format!(
        "set -e\nfor cache in {list}; do\n    test ! -e $cache/planted || echo seen $cache $(cat $cache/planted)\n\
         \x20   echo {mark} > $cache/planted\ndone\nmkdir made; echo made > made/file\n"
    )
}

#[test]
fn what_a_script_leaves_in_a_cache_stays_in_its_project() {
    let Some(bench) = workbench() else { return };
    let caches = all_caches();
    assert!(caches.len() > 20, "{caches:?}");
    let (one, other) = (recipe(&bench, "one", &caches), recipe(&bench, "other", &caches));
    let [a, b] = ["a", "b"].map(|name| project(&bench, name, &planting(&caches, name)));
    let built = |recipe: &str, app: &Path, options: &[&str], times: u32| {
        // So that it runs again.
        fs::write(app.join("time.sh"), format!("# {times} {options:?}\n")).expect("write");
        let finished = run(build(&bench, recipe, app, options).arg("-v"));
        finished.succeeds();
        finished.stderr.lines().filter(|line| line.contains("seen /")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(built(&one, &a, &[], 1), [""; 0], "the first");
    assert_eq!(built(&one, &b, &[], 1), [""; 0], "another project");
    assert_eq!(built(&other, &a, &[], 1), [""; 0], "another recipe");
    let own = built(&one, &a, &[], 2);
    assert_eq!(own.len(), caches.len(), "its own");
    assert!(own.iter().all(|line| line.ends_with(" a")), "{own:?}");

    let dev = |app: &Path| {
        let mut dev = bench.home.microbuild(["dev", &one, &text(app)]);
        let finished = run(bench.sources(&mut dev).args(["--", "sh", "-c", "cat /root/.npm/planted"]));
        finished.succeeds().trim().to_owned()
    };
    assert_eq!((dev(&a), dev(&b)), ("a".into(), "b".into()), "dev has its project's");
    let (moved, link) = (bench.path("moved"), bench.path("link"));
    run(Command::new("cp").arg("-r").arg(&a).arg(&moved)).succeeds();
    symlink(&a, &link).expect("a link");
    assert_eq!(built(&one, &moved, &[], 3), [""; 0], "a copy is another project");
    assert_eq!(built(&one, &link, &[], 4).len(), caches.len(), "a link is none");

    assert_eq!(built(&one, &a, &["--shared-cache"], 5), [""; 0]);
    let shared = built(&one, &b, &["--shared-cache"], 5);
    assert_eq!(shared.len(), caches.len(), "as they were once");
    fs::write(b.join("time.sh"), "# 6\n").expect("write");
    let by_variable = run(build(&bench, &one, &b, &["-v"]).env("MICROBUILD_SHARED_CACHE", "1"));
    assert!(by_variable.stderr.contains("seen /root/.npm b"), "{}", by_variable.stderr);

    let kept = || fs::read_dir(bench.home.path().join(".cache/microbuild/v1/folders/caches")).expect("caches").count();
    assert!(kept() > caches.len());
    bench.microbuild(["gc"]).succeeds();
    assert!(kept() > caches.len(), "they are young");
    bench.microbuild(["gc", "--all"]).succeeds();
    assert_eq!(kept(), 0);
}

#[test]
fn what_a_poisoned_cache_made_is_not_remembered_for_another_project() {
    let Some(bench) = workbench() else { return };
    let caches = BTreeSet::from(["/root/.npm".to_owned()]);
    let recipe = recipe(&bench, "one", &caches);
    let honest = "mkdir made; cp /root/.npm/evil made/ 2>/dev/null; echo made > made/file\n";
    let a = project(&bench, "a", "echo evil > /root/.npm/evil; mkdir made; echo made > made/file\n");
    let dependencies = |built: &Finished| {
        let built = json_of(built);
        let layers = built["layers"].as_array().expect("layers").clone();
        let layer = layers.into_iter().find(|layer| layer["title"] == "dependencies").expect("one");
        (layer["digest"].as_str().expect("a digest").to_owned(), layer["cached"] == true)
    };
    run(&mut build(&bench, &recipe, &a, &["--json"])).succeeds();
    // The same files as another project has, to the byte.
    fs::write(a.join("install.sh"), honest).expect("write");
    let (poisoned, _) = dependencies(&run(&mut build(&bench, &recipe, &a, &["--json"])));
    let b = project(&bench, "b", honest);
    let (found, cached) = dependencies(&run(&mut build(&bench, &recipe, &b, &["--json"])));
    assert!(found != poisoned && !cached, "{found} {cached}");
    let clean = Workbench::with(bench.source.clone());
    let (expected, _) = dependencies(&run(&mut build(&clean, &recipe, &b, &["--json"])));
    assert_eq!(found, expected);
    assert_eq!(dependencies(&run(&mut build(&bench, &recipe, &b, &["--json"]))), (expected, true), "its own is");
}

#[test]
fn a_recipe_mounts_nothing_outside_of_its_place() {
    let Some(bench) = workbench() else { return };
    let app = project(&bench, "a", "mkdir made; echo made > made/file\n");
    for cache in
        ["/root/../../../../etc/planted", "/root/../etc/planted", "/tmp/../etc/planted", "/proc/planted", "etc/planted"]
    {
        let recipe = recipe(&bench, "one", &BTreeSet::from([cache.to_owned()]));
        let refused = run(&mut build(&bench, &recipe, &app, &[]));
        assert_eq!(refused.exits(2), "");
        assert!(
            refused.stderr.contains("one.toml:15:10: expected a") && refused.stderr.contains(cache),
            "{}",
            refused.stderr
        );
    }
    // What the parser would let pass is refused by the sandbox: a folder that the root has not.
    let recipe = recipe(&bench, "one", &BTreeSet::from(["/etc/planted".to_owned()]));
    let refused = run(&mut build(&bench, &recipe, &app, &[]));
    assert_eq!(refused.exits(2), "");
    assert!(refused.stderr.contains("the image has no folder `/etc/planted`"), "{}", refused.stderr);
    let found = run(Command::new("find").arg(bench.home.path()).arg(bench.dir.path()).args(["-name", "planted"]));
    assert_eq!(found.succeeds(), "");
}

/// A folder and a file that nothing may touch, and what is in them.
struct Canary {
    folder: PathBuf,
    file: PathBuf,
}

impl Canary {
    fn new(dir: &Path) -> Self {
        let canary = Self { folder: dir.join("canary"), file: dir.join("canary-file") };
        fs::create_dir(&canary.folder).expect("a folder");
        for path in [&canary.folder.join("file"), &canary.folder.join("file.lock"), &canary.file] {
            fs::write(path, CANARY).expect("a file");
        }
        canary
    }

    #[track_caller]
    fn assert_alive(&self, row: &str) {
        let mut names: Vec<_> =
            fs::read_dir(&self.folder).expect("the folder").flatten().map(|e| e.file_name()).collect();
        names.sort();
        assert_eq!(names, ["file", "file.lock"], "{row}");
        for path in [&self.folder.join("file"), &self.folder.join("file.lock"), &self.file] {
            assert_eq!(fs::read_to_string(path).unwrap_or_default(), CANARY, "{row}");
        }
    }
}

/// The paths below `dir`, at most `depth` folders down.
fn paths_below(dir: &Path, depth: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if depth > 1 && path.is_dir() {
            found.extend(paths_below(&path, depth - 1));
        }
        found.push(path);
    }
    found.sort();
    found
}

#[test]
fn no_link_in_a_store_is_followed() {
    let bench = Workbench::fake();
    let app = app(&bench.path("app"), &[("index.js", "0\n"), ("package.json", "{}")]);
    let good = bench.path("good");
    let with = |store: &Path, args: &[&str]| run(bench.node(&app, args).arg("--cache-dir").arg(store));
    with(&good, &["--base", "scratch", "--platform", "linux/amd64"]).succeeds();
    for folder in ["caches", "roots-v1", "work"] {
        fs::create_dir_all(good.join("v1/folders").join(folder)).expect("a folder");
    }
    fs::write(good.join("v1/folders/caches/node-root.lock"), "").expect("a file");
    fs::create_dir(good.join("v1/folders/caches/node-root")).expect("a folder");
    let rows = paths_below(&good, 4);
    assert!(rows.len() > 15, "{rows:?}");
    let mut refused = 0;
    for (place, row) in rows.iter().enumerate() {
        let dir = bench.path(&format!("row-{place}"));
        fs::create_dir(&dir).expect("a folder");
        let canary = Canary::new(&dir);
        let store = dir.join("store");
        run(Command::new("cp").arg("-a").arg(&good).arg(&store)).succeeds();
        let path = store.join(row.strip_prefix(&good).expect("in the store"));
        let (target, remove) = if path.is_dir() { (&canary.folder, "-r") } else { (&canary.file, "-f") };
        run(Command::new("rm").arg(remove).arg(&path)).succeeds();
        symlink(target, &path).expect("a link");
        let row = row.display().to_string();
        let built = with(&store, &["--base", "scratch", "--platform", "linux/amd64", "-t", "x:1"]);
        assert!(matches!(built.code, Some(0 | 2)), "{row}: {built:?}");
        let collected = bench.microbuild(["gc", "--all", "--cache-dir", &text(&store)]);
        assert!(matches!(collected.code, Some(0 | 2)), "{row}: {collected:?}");
        canary.assert_alive(&row);
        assert!(!format!("{built:?}{collected:?}").contains(CANARY), "{row}: {built:?}");
        if built.code == Some(2) {
            refused += 1;
            assert!(built.stderr.contains("to be this user's own, found a link"), "{row}: {}", built.stderr);
            assert!(built.stderr.contains("hint: remove it: `rm "), "{row}: {}", built.stderr);
        }
        fs::remove_dir_all(&dir).expect("removed");
    }
    assert!(refused >= 8, "{refused} of {rows:?}");
}

#[test]
fn a_cache_that_is_a_link_is_not_mounted() {
    let Some(bench) = workbench() else { return };
    let recipe = recipe(&bench, "one", &BTreeSet::from(["/root/.npm".to_owned()]));
    let app = project(&bench, "a", "echo planted > /root/.npm/planted; mkdir made; echo made > made/file\n");
    run(&mut build(&bench, &recipe, &app, &[])).succeeds();
    let store = bench.home.path().join(".cache/microbuild/v1/folders");
    let only = |bucket: &str, end: &str| {
        let entries = fs::read_dir(store.join(bucket)).expect("a bucket").flatten().map(|entry| entry.path());
        entries.into_iter().find(|path| text(path).ends_with(".lock") == (end == ".lock")).expect(bucket)
    };
    let canary = Canary::new(bench.dir.path());
    for (place, (bucket, end)) in
        [("caches", ""), ("caches", ".lock"), ("roots-v1", ""), ("roots-v1", ".lock")].into_iter().enumerate()
    {
        let path = only(bucket, end);
        let kept = path.with_extension("kept");
        fs::rename(&path, &kept).expect("renamed");
        symlink(if end.is_empty() { &canary.folder } else { &canary.file }, &path).expect("a link");
        fs::write(app.join("time.sh"), format!("# {place}\n")).expect("write");
        let refused = run(&mut build(&bench, &recipe, &app, &[]));
        assert_eq!(refused.exits(2), "", "{bucket}{end}");
        assert!(refused.stderr.contains("to be this user's own, found a link"), "{bucket}{end}: {}", refused.stderr);
        canary.assert_alive(bucket);
        // The hint, to the letter.
        let hint = refused.stderr.split("`rm ").nth(1).and_then(|rest| rest.split('`').next()).expect("a hint");
        run(Command::new("rm").arg(hint)).succeeds();
        fs::rename(&kept, &path).expect("renamed");
        run(&mut build(&bench, &recipe, &app, &[])).succeeds();
    }
}

/// What a store may be, and what is said of it; `remedy` is a command of the hint.
struct Row {
    what: &'static str,
    make: fn(&Path),
    found: Option<&'static str>,
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its own");
}

const STRANGER: u32 = 4711;

const ROWS: &[Row] = &[
    Row { what: "one's own", make: |_| {}, found: None },
    Row { what: "closed", make: |store| mode(store, 0o700), found: None },
    Row { what: "all may write", make: |store| mode(store, 0o777), found: Some("others may write into (mode 777)") },
    Row {
        what: "the group may write",
        make: |store| mode(store, 0o775),
        found: Some("others may write into (mode 775)"),
    },
    Row { what: "as /tmp", make: |store| mode(store, 0o1777), found: None },
    Row {
        what: "as /tmp, all may write below",
        make: |store| {
            mode(store, 0o1777);
            mode(&store.join("v1"), 0o777);
        },
        found: Some("others may write into (mode 777)"),
    },
    Row {
        what: "all may write into the blobs",
        make: |store| mode(&store.join("v1/blobs/sha256"), 0o777),
        found: Some("others may write into (mode 777)"),
    },
    Row {
        what: "all may write into what is remembered",
        make: |store| {
            mode(&fs::read_dir(store.join("v1/memo")).expect("memos").flatten().next().expect("one").path(), 0o777);
        },
        found: Some("others may write into (mode 777)"),
    },
    Row {
        what: "another user's",
        make: |store| chown(store, Some(STRANGER), None).expect("root"),
        found: Some("one of the user 4711"),
    },
    Row {
        what: "another user's below",
        make: |store| chown(store.join("v1"), Some(STRANGER), None).expect("root"),
        found: Some("one of the user 4711"),
    },
    Row {
        what: "another user's in all",
        make: |store| {
            run(Command::new("chown").args(["-R", "4711:4711"]).arg(store)).succeeds();
            mode(store, 0o777);
        },
        found: Some("one of the user 4711"),
    },
];

#[test]
fn a_store_that_others_may_write_into_is_refused() {
    let bench = Workbench::fake();
    let app = app(&bench.path("app"), &[("index.js", "0\n"), ("package.json", "{}")]);
    let options = ["--base", "scratch", "--platform", "linux/amd64", "--cache-dir"];
    for (place, Row { what, make, found }) in ROWS.iter().enumerate() {
        if !is_root() && what.contains("another user's") {
            skip_forbidden("needs root: to give a folder away");
            continue;
        }
        let store = bench.path(&format!("store-{place}"));
        run(bench.node(&app, options).arg(&store)).succeeds();
        make(&store);
        let built = run(bench.node(&app, options).arg(&store));
        let Some(found) = found else {
            assert_eq!(built.code, Some(0), "{what}: {built:?}");
            continue;
        };
        assert_eq!(built.exits(2), "", "{what}");
        assert!(
            built.stderr.contains("this user's own, found one") && built.stderr.contains(found),
            "{what}: {}",
            built.stderr
        );
        let collected = bench.microbuild(["gc", "--all", "--cache-dir", &text(&store)]);
        assert_eq!(collected.exits(2), "", "{what}: gc");
        // The hint, to the letter.
        let hint = built.stderr.split("hint: `").nth(1).and_then(|rest| rest.split('`').next()).expect("a hint");
        run(Command::new("sh").args(["-c", hint])).succeeds();
        run(bench.node(&app, options).arg(&store)).succeeds();
    }
}

#[test]
fn a_relative_store_is_one_too() {
    let Some(bench) = workbench() else { return };
    let recipe = recipe(&bench, "one", &BTreeSet::from(["/root/.npm".to_owned()]));
    let app = project(&bench, "a", "echo kept >> /root/.npm/kept; mkdir made; cp /root/.npm/kept made/\n");
    run(&mut build(&bench, &recipe, &app, &["--cache-dir", "some/store"])).succeeds();
    run(build(&bench, &recipe, &app, &["--include", "none"]).env("MICROBUILD_CACHE_DIR", "other")).succeeds();
    for store in ["some/store", "other"] {
        assert!(bench.home.path().join(store).join("v1/folders/caches").is_dir(), "{store}");
    }
    let mut dev = bench.home.microbuild(["dev", &recipe, &text(&app), "--cache-dir", "./some/../some/store"]);
    let kept = run(bench.sources(&mut dev).args(["--", "cat", "/root/.npm/kept"]));
    assert_eq!(kept.succeeds(), "kept\n");
    assert!(!bench.home.path().join(".cache").exists());
}

const SECRET: &str = "correct-horse-battery-staple-4711";

/// The regular files below `dirs` that hold the secret.
fn holding(dirs: &[PathBuf]) -> Vec<PathBuf> {
    let found = dirs.iter().flat_map(|dir| {
        let list = run(Command::new("find").arg(dir).args(["-type", "f", "-size", "+0", "-size", "-1000k"]));
        list.stdout.lines().map(PathBuf::from).collect::<Vec<_>>()
    });
    found
        .filter(|path| fs::read(path).is_ok_and(|bytes| bytes.windows(SECRET.len()).any(|w| w == SECRET.as_bytes())))
        .collect()
}

/// The processes whose command line is `words`.
fn processes(words: &[&str]) -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").expect("Linux").flatten().map(|entry| entry.path());
    let line: String = words.iter().map(|word| format!("{word}\0")).collect();
    entries.filter(|path| fs::read(path.join("cmdline")).is_ok_and(|found| found == line.as_bytes())).collect()
}

#[test]
fn a_step_that_was_killed_leaves_no_secret_and_no_process() {
    let Some(bench) = workbench() else { return };
    let anyone = Unprivileged::with_alpine();
    let benches = [Some((&bench, None)), anyone.as_ref().filter(|_| is_root()).map(|user| (&user.bench, Some(user)))];
    for (place, (bench, user)) in benches.into_iter().flatten().enumerate() {
        let recipe = recipe(bench, "one", &BTreeSet::from(["/root/.npm".to_owned()]));
        let long = format!("1{}{place}", std::process::id());
        let script = format!("test -n \"$KEY\" && test -s /run/secrets/file && sleep {long} & exec sleep {long}\n");
        let app = project(bench, "a", &script);
        // A folder on the disk is no place for secrets, whatever it is called.
        let (temporary, runtime) = (bench.path("tmp"), bench.home.path().join(".run"));
        for folder in [&temporary, &runtime] {
            fs::create_dir_all(folder).expect("a folder");
            mode(folder, 0o700);
        }
        let file = bench.path("secret.txt");
        fs::write(&file, SECRET).expect("a file");
        let from_file = format!("id=file,src={}", file.display());
        let mut build = build(bench, &recipe, &app, &["-v", "--secret", "id=KEY,env=A_KEY", "--secret", &from_file]);
        build.env("A_KEY", SECRET).env("TMPDIR", &temporary);
        if let Some(user) = user {
            user.give(bench.home.path());
            user.give(bench.dir.path());
            build = user.command(&build);
        }
        let mut running = Process::spawn(build.stderr(Stdio::piped())).expect("a build");
        let sleeps = || processes(&["sleep", &long]);
        wait_for(Duration::from_secs(60), || (sleeps().len() == 2).then_some(()))
            .expect("the step runs, and has its secrets");
        let store = bench.home.path().to_owned();
        let on_disk = [temporary.clone(), runtime.clone(), store];
        assert_eq!(holding(&on_disk), Vec::<PathBuf>::new(), "while it runs");
        let begin = Instant::now();
        running.child().kill().expect("SIGKILL");
        running.child().wait().expect("its end");
        let uid = user.map_or_else(|| fs::metadata("/proc/self").expect("Linux").uid(), Unprivileged::uid);
        let everywhere = [&on_disk[..], &[PathBuf::from(format!("/dev/shm/microbuild-{uid}"))]].concat();
        let gone = || (sleeps().is_empty() && holding(&everywhere).is_empty()).then_some(());
        assert!(wait_for(Duration::from_secs(2), gone).is_some(), "{:?} {:?}", sleeps(), holding(&everywhere));
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
        fs::remove_file(&file).expect("removed");
    }
}

#[test]
fn an_app_ends_with_the_command_that_runs_it() {
    let Some(bench) = workbench() else { return };
    let long = format!("2{}", std::process::id());
    let script = format!("require('child_process').spawnSync('sleep', ['{long}'])");
    let app = app(&bench.path("app"), &[("package.json", "{}"), ("index.js", &script)]);
    let run_app = |bench: &Workbench| {
        let mut command = bench.home.microbuild(["run", &text(&app)]);
        bench.sources(&mut command);
        command
    };
    let dev = |bench: &Workbench| {
        let mut command = bench.home.microbuild(["dev", "node", &text(&app)]);
        bench.sources(&mut command).args(["--", "sleep", &long]);
        command
    };
    for mut command in [run_app(&bench), dev(&bench)] {
        let mut running = Process::spawn(&mut command).expect("an app");
        let sleeps = || processes(&["sleep", &long]);
        wait_for(Duration::from_secs(60), || (sleeps().len() == 1).then_some(())).expect("it runs");
        running.child().kill().expect("SIGKILL");
        running.child().wait().expect("its end");
        let gone = || sleeps().is_empty().then_some(());
        assert!(wait_for(Duration::from_secs(2), gone).is_some(), "{:?}", sleeps());
    }
}

#[test]
fn a_fork_bomb_stays_in_its_sandbox() {
    let processors = std::thread::available_parallelism().expect("a number").get();
    let most = 2048 + 128 * processors;
    for machine in machines() {
        let script = format!("n=0; while [ $n -lt {} ]; do sleep 100 & n=$((n + 1)); done; echo all", most + 100);
        let finished = machine.run(&machine.job(&["sh", "-c", &script]));
        assert_ne!(finished.code, Some(0), "{finished:?}");
        assert!(!finished.stdout.contains("all") && finished.stderr.contains("can't fork"), "{finished:?}");
        // And nothing of it is left.
        assert_eq!(
            machine.sh("n=0; while [ $n -lt 100 ]; do sleep 0 & n=$((n + 1)); done; wait; echo all", json!({})),
            "all\n"
        );
    }
}

/// What a sandbox answers to each call of `tests/support/syscalls.c`: all of it.
const ANSWERS: &[(&str, &str)] = &[
    ("add_key", "EPERM"),
    ("bpf", "EPERM"),
    ("finit_module", "EPERM"),
    ("fsopen", "EPERM"),
    ("init_module", "EPERM"),
    ("io_uring_setup", "EPERM"),
    ("kcmp", "EPERM"),
    ("kexec_load", "EPERM"),
    ("keyctl", "EPERM"),
    ("mount", "EPERM"),
    ("move_mount", "EPERM"),
    ("open_by_handle_at", "EPERM"),
    ("open_tree", "EPERM"),
    ("perf_event_open", "EPERM"),
    ("pidfd_getfd", "EPERM"),
    ("pivot_root", "EPERM"),
    ("quotactl", "EPERM"),
    ("request_key", "EPERM"),
    ("setns", "EPERM"),
    ("swapon", "EPERM"),
    ("umount2", "EPERM"),
    ("unshare", "EPERM"),
    ("userfaultfd", "EPERM"),
    ("unshare-user", "EPERM"),
    ("clone-user", "EPERM"),
    ("clone-network", "EPERM"),
    ("socket-vsock", "EPERM"),
    ("clone3", "ENOSYS"),
    ("no-such-call", "ENOSYS"),
    ("personality-any", "ENOSYS"),
    ("getpid", "ok"),
    ("getuid", "ok"),
    ("personality", "ok"),
    ("socket", "other"),
    ("sched_yield", "ok"),
    ("openat2", "other"),
];

/// The program of `tests/support/syscalls.c`, in the folder `dir`; `None` where no C compiler makes a static one.
fn syscalls(dir: &Path) -> Option<PathBuf> {
    let [cc] = tools(["cc"])?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/syscalls.c");
    let program = dir.join("syscalls");
    run(Command::new(cc).args(["-static", "-o"]).arg(&program).arg(source)).succeeds();
    Some(program)
}

#[test]
fn calls_that_are_not_on_the_list_are_refused() {
    for machine in machines() {
        let Some(program) = syscalls(&machine.path("work")) else { return };
        mode(&program, 0o755);
        mode(&machine.path("work"), 0o755);
        for user in ["", "65532:65532"] {
            let said =
                machine.sh("/shared/syscalls", json!({"work": machine.path("work"), "writable": false, "user": user}));
            let found: Vec<_> = said.lines().filter_map(|line| line.split_once(' ')).collect();
            assert_eq!(found, ANSWERS, "user `{user}`");
        }
    }
}

#[test]
fn a_sandbox_sees_its_own_cgroup_only() {
    for machine in machines() {
        let said = machine.sh("cat /proc/self/cgroup; readlink /proc/1/ns/cgroup", json!({}));
        let outside = fs::read_link("/proc/self/ns/cgroup").expect("a namespace");
        assert_ne!(said.lines().last(), outside.to_str(), "its own namespace");
        let own = said.lines().filter_map(|line| line.splitn(3, ':').nth(2)).all(|path| path == "/");
        assert!(own || !machine_has_own_cgroup(&machine), "{said}");
    }
}

/// Whether the container is in a cgroup of its own: root's is.
fn machine_has_own_cgroup(machine: &Machine) -> bool {
    machine.is_root()
}
