//! `microbuild dev` and `microbuild run`: commands in the dev variant, apps as they will run elsewhere; as root and as an
//! ordinary user.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::json;

use super::node::assert_greets;
use crate::support::{
    Process, free_port, is_root, run, skip_forbidden, tools,
    unprivileged::Unprivileged,
    wait_for,
    workbench::{Workbench, app, copy, example, get, text},
};

/// A workbench with a mirror and an OCI runtime, or a skip.
#[track_caller]
fn workbench() -> Option<Workbench> {
    tools(["runc"])?;
    Workbench::alpine()
}

/// `microbuild dev node APP OPTIONS… -- COMMAND…`.
fn dev(bench: &Workbench, app: &Path, options: &[&str], command: &[&str]) -> Command {
    let mut dev = bench.home.microbuild(["dev", "node"]);
    bench.sources(dev.arg(app)).args(options);
    if !command.is_empty() {
        dev.arg("--").args(command);
    }
    dev
}

/// `microbuild run TARGET OPTIONS… -- ARGS…`.
fn run_app(bench: &Workbench, target: &str, options: &[&str], args: &[&str]) -> Command {
    let mut command = bench.home.microbuild(["run", target]);
    bench.sources(&mut command).args(options);
    if !args.is_empty() {
        command.arg("--").args(args);
    }
    command
}

/// An app whose `index.js` is `script`.
fn script(bench: &Workbench, script: &str) -> String {
    text(&app(&bench.path("script"), &[("package.json", "{}"), ("index.js", script)]))
}

#[test]
fn a_command_in_the_dev_variant_is_like_one_on_the_machine() {
    let Some(bench) = workbench() else { return };
    let app = copy(&example(), &bench.path("app"));
    let dev = |options: &[&str], command: &[&str]| run(&mut dev(&bench, &app, options, command));
    assert_eq!(dev(&[], &["pwd"]).succeeds(), "/app\n");
    assert!(dev(&[], &["npm", "--version"]).succeeds().starts_with("11."));
    let tested = dev(&[], &["npm", "test"]);
    assert!(tested.succeeds().contains("pass"), "{}", tested.stdout);
    dev(&[], &["sh", "-c", "exit 42"]).exits(42);
    dev(&[], &["sh", "-c", "sh -c 'kill -TERM $$'; exit $?"]).exits(143);
    let missing = dev(&[], &["no-such-command"]);
    assert_eq!(missing.exits(127), "");
    assert!(missing.stderr.contains("no-such-command"), "{}", missing.stderr);
    let set = dev(&["-e", "A=b c", "--env", "HOME"], &["sh", "-c", "echo $A $HOME"]);
    assert_eq!(set.succeeds(), format!("b c {}\n", bench.home.path().display()));
    assert_eq!(dev(&[], &["sh", "-c", "touch /usr/bin/x 2>/dev/null || echo read-only"]).succeeds(), "read-only\n");
    dev(&[], &["sh", "-c", "touch /tmp/a /root/b made && mkdir -p more"]).succeeds();
    assert!(app.join("made").exists() && app.join("more").is_dir());
    let neither = dev(&[], &[]);
    assert_eq!(neither.exits(2), "");
    assert!(neither.stderr.contains("<CMD>"), "{}", neither.stderr);
}

#[test]
fn standard_input_reaches_a_shell() {
    let Some(bench) = workbench() else { return };
    let app = copy(&example(), &bench.path("app"));
    let mut command = dev(&bench, &app, &["--shell"], &[]);
    let mut shell =
        Process::spawn_with(command.stdout(Stdio::piped()), b"cd /; echo in $PWD; exit 3\n").expect("a shell");
    let mut said = String::new();
    shell.child().stdout.take().expect("a pipe").read_to_string(&mut said).expect("text");
    assert_eq!(said, "in /\n");
    assert_eq!(shell.child().wait().expect("an end").code(), Some(3));
}

#[test]
fn a_terminal_is_one_inside_too() {
    let Some(bench) = workbench() else { return };
    let Some([script]) = tools(["script"]) else { return };
    let app = copy(&example(), &bench.path("app"));
    let command = dev(&bench, &app, &["-q"], &["sh", "-c", "test -t 0 && test -t 1 && echo a terminal; exit 5"]);
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let line: Vec<_> = words.iter().map(|word| format!("'{}'", word.to_str().expect("text"))).collect();
    let mut terminal = bench.home.command(script, ["-qec", &line.join(" "), "/dev/null"]);
    let ran = run(&mut terminal);
    assert!(ran.exits(5).contains("a terminal"), "{}", ran.stdout);
}

#[test]
fn files_belong_to_who_called() {
    let Some(_) = workbench() else { return };
    let Some(user) = Unprivileged::with_alpine() else { return };
    let app = copy(&example(), &user.bench.path("app"));
    user.give(&app);
    let made = run(&mut user.command(&dev(&user.bench, &app, &[], &["sh", "-c", "id -u > made; mkdir folder"])));
    made.succeeds();
    assert_eq!(fs::read_to_string(app.join("made")).expect("made"), "0\n", "root within");
    for name in ["made", "folder"] {
        assert_eq!(app.join(name).metadata().expect(name).uid(), user.uid(), "{name}");
    }
    let port = free_port();
    let mut command = run_app(&user.bench, &text(&app), &["-e", &format!("PORT={port}"), "-e", "NAME=tests"], &[]);
    command.arg("--recipe").arg("node");
    let mut server = Process::spawn(&mut user.command(&command)).expect("a server");
    let answer = get(port).expect("an answer");
    assert_eq!(answer["message"], "Hello, tests!");
    Command::new("kill").arg(server.id().to_string()).status().expect("kill");
    let ended = wait_for(Duration::from_secs(20), || server.ended()).expect("it ends when it is asked to");
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn an_app_runs_as_it_will_elsewhere() {
    let Some(bench) = workbench() else { return };
    let app = copy(&example(), &bench.path("app"));
    let port = free_port();
    let variables = ["-e", &format!("PORT={port}"), "-e", "NAME=tests"];
    let mut command = run_app(&bench, &text(&app), &variables, &[]);
    let mut server = Process::spawn(command.stderr(Stdio::piped())).expect("a server");
    assert_greets(get(port), "microbuild run");
    Command::new("kill").arg(server.id().to_string()).status().expect("kill");
    let ended = wait_for(Duration::from_secs(20), || server.ended()).expect("it ends when it is asked to");
    assert_eq!(ended.code(), Some(0));
    let mut said = String::new();
    server.child().stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
    assert!(said.contains("network: this machine's"), "{said}");

    // The image is there now, by its name.
    let ran = run(&mut run_app(&bench, "hello-node", &[], &["node", "-p", "process.getuid() + ' ' + process.cwd()"]));
    let uid = ran.succeeds().trim().to_owned();
    assert_eq!(uid, "65532 /app");
    let unknown = run(&mut run_app(&bench, "hello-nod", &[], &[]));
    assert_eq!(unknown.exits(2), "");
    assert!(unknown.stderr.contains("did you mean `hello-node:latest`?"), "{}", unknown.stderr);
}

#[test]
fn what_an_app_may_and_may_not() {
    let Some(bench) = workbench() else { return };
    let probe = r"
        const fs = require('fs')
        const can = (f) => { try { f(); return true } catch { return false } }
        console.log(JSON.stringify({
            tmp: can(() => fs.writeFileSync('/tmp/x', 'x')),
            app: can(() => fs.writeFileSync('/app/x', 'x')),
            data: can(() => fs.writeFileSync('/data/x', 'x')),
            read: can(() => fs.readFileSync('/data/given')),
            caps: /CapEff:\s*(\w+)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1],
            privileges: /NoNewPrivs:\s*(\w+)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1],
            links: Object.keys(require('os').networkInterfaces()),
            args: process.argv.slice(2),
        }))
        process.exitCode = 9";
    let app = script(&bench, probe);
    let data = bench.path("data");
    fs::create_dir(&data).expect("a folder");
    fs::write(data.join("given"), "").expect("a file");
    let volume = format!("{}:/data:ro", data.display());
    let ran = run(&mut run_app(&bench, &app, &["-v", &volume, "--no-network"], &[]));
    let found: serde_json::Value = serde_json::from_str(ran.exits(9)).expect("JSON");
    let expected = json!({"tmp": true, "app": false, "data": false, "read": true, "caps": "0000000000000000",
        "privileges": "1", "args": []});
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&found[name], value, "{name}: {found}");
    }
    assert!(found["links"].as_array().is_some_and(|links| links.iter().all(|name| name == "lo")), "{found}");

    let args = ["node", "index.js", "--", "-v", "x y"];
    let writable = run(&mut run_app(&bench, &app, &["--writable", "--user", "0", "--rm"], &args));
    let found: serde_json::Value = serde_json::from_str(writable.exits(9)).expect("JSON");
    assert_eq!((&found["app"], &found["args"]), (&json!(true), &json!(["--", "-v", "x y"])), "{found}");
    assert!(!Path::new(&app).join("x").exists(), "a copy of the app");
    let again = run(&mut run_app(&bench, &app, &[], &["node", "-p", "require('fs').existsSync('/app/x')"]));
    assert_eq!(again.succeeds(), "false\n", "and it is thrown away");
}

#[test]
fn an_app_that_ignores_signals_is_ended_by_the_second() {
    let Some(bench) = workbench() else { return };
    // The first process of a container ignores signals that it does not handle.
    let app = script(&bench, "require('fs').writeFileSync('/data/ready', ''); setInterval(() => {}, 1000)");
    let data = bench.path("data");
    fs::create_dir(&data).expect("a folder");
    let volume = format!("{}:/data", data.display());
    let mut server = Process::spawn(&mut run_app(&bench, &app, &["-v", &volume, "--user", "0"], &[])).expect("an app");
    wait_for(Duration::from_secs(60), || data.join("ready").exists().then_some(())).expect("it runs");
    for _ in 0..2 {
        Command::new("kill").args(["-TERM", &server.id().to_string()]).status().expect("kill");
        std::thread::sleep(Duration::from_millis(300));
    }
    let ended = wait_for(Duration::from_secs(8), || server.ended()).expect("an end");
    assert_eq!(ended.code(), Some(137));
}

#[test]
fn another_port_leads_to_the_apps() {
    let Some(bench) = workbench() else { return };
    let app = text(&copy(&example(), &bench.path("app")));
    let (port, published) = (free_port(), free_port());
    let (variable, publish) = (format!("PORT={port}"), format!("127.0.0.1:{published}:{port}"));
    let options = ["-e", &variable, "-e", "NAME=tests", "-p", &publish];
    let server = Process::spawn(&mut run_app(&bench, &app, &options, &[])).expect("a server");
    get(port).expect("it listens");
    assert_greets(get(published), "another port");
    let taken = run(&mut run_app(&bench, &app, &options, &[]));
    assert_eq!(taken.exits(1), "");
    assert!(taken.stderr.contains("cannot listen on 127.0.0.1:"), "{}", taken.stderr);
    server.terminate();
}

#[test]
fn a_port_at_one_address_is_no_limit() {
    let Some(bench) = workbench() else { return };
    let app = script(&bench, "0");
    let (port, published) = (free_port(), free_port());
    let warned = |publish: &str| {
        let ran = run(&mut run_app(&bench, &app, &["-p", publish], &[]));
        ran.succeeds();
        ran.stderr.lines().find(|line| line.contains("does not restrict the app")).map(str::to_owned)
    };
    let other = warned(&format!("127.0.0.1:{published}:{port}")).expect("a warning");
    assert!(other.contains(&format!("127.0.0.1:{published} leads to the app's port {port}")), "{other}");
    assert!(other.contains(&format!("listens on port {port} of every address")), "{other}");
    let same = warned(&format!("127.0.0.1:{port}:{port}")).expect("a warning");
    assert!(same.contains(&format!("listens on port {port} of every address")), "{same}");
    assert_eq!(warned(&format!("{published}:{port}")), None);
}

#[test]
fn a_volume_lies_where_links_of_the_image_lead() {
    let Some(bench) = workbench() else { return };
    let app = script(&bench, "console.log(require('fs').readFileSync('/run/given/file') + '')");
    let data = bench.path("data");
    fs::create_dir(&data).expect("a folder");
    fs::write(data.join("file"), "hello").expect("a file");
    // Alpine's /var/run is a link to /run, which every container has of its own.
    let ran = run(&mut run_app(&bench, &app, &["-v", &format!("{}:/var/run/given", data.display())], &[]));
    assert_eq!(ran.succeeds(), "hello\n");
    let file = format!("{}:/var/run/given/file:ro", data.join("file").display());
    assert_eq!(run(&mut run_app(&bench, &app, &["-v", &file], &[])).succeeds(), "hello\n");
    let roots = fs::read_dir(bench.home.path().join(".cache/microbuild/v1/folders/roots-v1")).expect("roots");
    assert_eq!(roots.flatten().filter(|entry| entry.path().is_dir()).count(), 1, "the root that all share will do");

    // In what is mounted, a link is a stranger's.
    std::os::unix::fs::symlink("/etc", data.join("link")).expect("a link");
    let (outer, inner) = (format!("{}:/data", data.display()), format!("{}:/data/link/planted", data.display()));
    let refused = run(&mut run_app(&bench, &app, &["-v", &outer, "-v", &inner], &[]));
    assert_eq!(refused.exits(2), "");
    assert!(refused.stderr.contains("`/data/link/planted`") && refused.stderr.contains("a link"), "{}", refused.stderr);
    let found = run(Command::new("find").arg(bench.home.path()).args(["-name", "planted"]));
    assert_eq!(found.succeeds(), "");
}

#[test]
fn a_volume_is_read_only_with_all_that_is_mounted_in_it() {
    let Some(bench) = workbench() else { return };
    if !is_root() {
        return skip_forbidden("needs root: to mount something");
    }
    let Some([unshare]) = tools(["unshare"]) else { return };
    let probe = "const can = (file) => { try { require('fs').writeFileSync(file, 'x'); return 1 } catch { return 0 } };
        console.log(can('/data/file'), can('/data/inner/file'), require('fs').existsSync('/data/inner/given'))";
    let app = script(&bench, probe);
    let data = bench.path("data");
    fs::create_dir_all(data.join("inner")).expect("folders");
    let inner = data.join("inner").display().to_string();
    let mounting = format!("mount -t tmpfs none {inner} && touch {inner}/given && chmod 777 {inner} && exec \"$@\"");
    let ran = |option: &str| {
        let volume = format!("{}:/data{option}", data.display());
        let command = run_app(&bench, &app, &["-v", &volume, "--user", "0"], &[]);
        let mut outer = bench.home.command(&unshare, ["-m", "sh", "-c", &mounting, "sh"]);
        run(outer.arg(command.get_program()).args(command.get_args()))
    };
    assert_eq!(ran("").succeeds(), "1 1 true\n");
    assert_eq!(ran(":ro").succeeds(), "0 0 true\n");
}

#[test]
fn secrets_go_to_their_steps() {
    let Some(bench) = workbench() else { return };
    let recipe = |name: &str, steps: &str| {
        let path = bench.path(&format!("{name}.toml"));
        let head = format!("name = '{name}'\ndescription = 'x'\n[base.alpine]\npackages = ['busybox-binsh']\n");
        fs::write(&path, format!("{head}[app]\ncmd = ['true']\n{steps}")).expect("a recipe");
        text(&path)
    };
    let say = |step: &str| format!("echo at {step}: $KEY $(ls /run/secrets 2>/dev/null) $KEY_FILE");
    let install = format!(
        "[[step]]\nname = 'install'\ninstalls = true\nwhen = ['app']\nfiles = ['app']\nkeep = ['made']\nsecret = {{ KEY = 'KEY_FILE' }}\n\
         run = ['sh', '-c', 'mkdir made; touch made/x; {}']\n",
        say("install")
    );
    let compile = format!(
        "[[step]]\nname = 'compile'\nkeep = ['{{out}}']\nsecret = {{ KEY = 'KEY_FILE' }}\nrun = ['sh', '-c', 'touch $OUT/x; {}']\n",
        say("compile")
    );
    let (installs, compiles) = (recipe("installs", &install), recipe("compiles", &compile));
    let both = recipe("both", &(install + &compile));
    let app = app(&bench.path("app"), &[("app", "")]);
    let said = |command: &mut Command| {
        let ran = run(bench.sources(command).env("KEY", "sesame-open"));
        ran.succeeds();
        // The command itself is told too.
        let lines = ran.stderr.lines().filter(|line| !line.contains("$KEY"));
        let told = lines.filter_map(|line| line.split_once("at ")?.1.split_once(":"));
        let told = told.filter(|(step, _)| ["install", "compile", "dev"].contains(step));
        let told: Vec<_> = told.map(|(step, rest)| format!("{step}:{}", rest.trim_end())).collect();
        (told.join(", "), ran.stderr.contains("no step gets the secret KEY"))
    };
    let (got, none) = (" *** KEY /run/secrets/KEY", "");
    for (place, (recipe, steps, expected, warned)) in [
        (&installs, "", format!("install:{got}"), false),
        (&installs, ",step=install", format!("install:{got}"), false),
        (&installs, ",step=compile", format!("install:{none}"), true),
        (&compiles, "", format!("compile:{got}"), false),
        (&compiles, ",step=install", format!("compile:{none}"), true),
        (&both, "", format!("install:{got}, compile:{none}"), false),
        (&both, ",step=compile", format!("install:{none}, compile:{got}"), false),
        (&both, ",step=install,step=compile", format!("install:{got}, compile:{got}"), false),
        (&both, ",step=dev", format!("install:{none}, compile:{none}"), false),
    ]
    .into_iter()
    .enumerate()
    {
        // So that nothing of it is remembered.
        fs::write(app.join("app"), place.to_string()).expect("write");
        let secret = format!("id=KEY{steps}");
        let found = said(bench.home.microbuild([recipe, &text(&app), "-v", "--secret", &secret]).args(["-t", "x:1"]));
        assert_eq!(found, (expected, warned), "{recipe} {secret}");
    }
    for (steps, expected) in [
        ("", " sesame-open KEY /run/secrets/KEY"),
        (",step=dev", " sesame-open KEY /run/secrets/KEY"),
        (",step=install", none),
    ] {
        let secret = format!("id=KEY{steps}");
        let mut dev = bench.home.microbuild(["dev", &both, &text(&app), "--secret", &secret]);
        bench.sources(&mut dev).args(["--", "sh", "-c", &say("dev")]);
        let ran = run(dev.env("KEY", "sesame-open"));
        assert_eq!(ran.succeeds().trim_end(), format!("at dev:{expected}"), "{secret}");
    }
    let mistaken = run(&mut bench.home.microbuild([&both, &text(&app), "--secret", "id=KEY,step=instal"]));
    assert_eq!(mistaken.exits(2), "");
    assert!(mistaken.stderr.contains("did you mean step=install?"), "{}", mistaken.stderr);
}

#[test]
fn an_image_for_another_processor_does_not_run() {
    let Some(bench) = workbench() else { return };
    let other = if cfg!(target_arch = "aarch64") { "linux/amd64" } else { "linux/arm64" };
    bench.build(&example(), ["--platform", other, "-t", "other:1"]);
    let refused = run(&mut run_app(&bench, "other:1", &[], &[]));
    assert_eq!(refused.exits(2), "");
    assert!(refused.stderr.contains(other) && refused.stderr.contains("--platform"), "{}", refused.stderr);
}

#[test]
fn a_root_in_use_outlives_gc() {
    let Some(bench) = workbench() else { return };
    let app = copy(&example(), &bench.path("app"));
    let mut command =
        dev(&bench, &app, &[], &["sh", "-c", "touch ready; while test -e ready; do sleep 0.1; done; ls /usr/bin/node"]);
    let mut running = Process::spawn(command.stdout(Stdio::piped())).expect("a command");
    wait_for(Duration::from_secs(60), || app.join("ready").exists().then_some(())).expect("it runs");
    bench.microbuild(["gc", "--all"]).succeeds();
    fs::remove_file(app.join("ready")).expect("the sign to end");
    let ended = wait_for(Duration::from_secs(20), || running.ended()).expect("an end");
    assert_eq!(ended.code(), Some(0));
    bench.microbuild(["gc", "--all"]).succeeds();
    let roots = bench.home.path().join(".cache/microbuild/v1/folders/roots-v1");
    let left: Vec<PathBuf> = fs::read_dir(roots).expect("the bucket").flatten().map(|entry| entry.path()).collect();
    assert_eq!(left, Vec::<PathBuf>::new());
}
