//! Commands in sandboxes: as root and as anyone else, in a real Alpine image with Node.

use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use microbuild::internals::{
    error::Explain as _,
    host::Host,
    images::{GcOptions, LocalImages},
    sandbox::{Output, Runtime},
    store::Store,
};
use serde_json::{Value, json};

use crate::support::{
    Process,
    alpine::NODE_VERSION,
    is_root,
    machine::{BEGIN, JOB, Machine, layers_of, machines, merged, root_of, sandbox_of},
    run, skip_forbidden, tools,
    tree::{Tree, decompress},
    wait_for,
    workbench::{app, noise, text},
};

/// Not a test of its own: what the children of the others do.
#[test]
fn as_the_child_of_another_test() {
    let Ok(job) = std::env::var(JOB) else { return };
    let job: Value = serde_json::from_str(&job).expect("a job");
    let root = root_of(&job);
    if job["args"].is_null() {
        return;
    }
    print!("\n{BEGIN}");
    let run = || {
        let mut runtime = Runtime::find(Some(job["runtime"].as_str().unwrap_or("runc")), &Host::of_process())?;
        runtime.helper = job["helper"].as_str().expect("the program").into();
        let sandbox = sandbox_of(&job, &root)?;
        let mut print = |line: &str| println!("line: {line}");
        let output = if job["lines"] == true { Output::Lines(&mut print) } else { Output::Inherit };
        sandbox.run(&runtime, output)
    };
    let code = match run() {
        Ok(status) => {
            if let Some(signal) = status.interrupted() {
                println!("interrupted: {signal}");
            }
            i32::from(status.code())
        }
        Err(error) => {
            println!("error: {error}\nhint: {}", error.hint().unwrap_or_default());
            error.status().map_or(200 + error.kind() as i32, i32::from)
        }
    };
    drop(root);
    std::process::exit(code);
}

#[test]
fn commands_run_as_root_and_as_anyone() {
    for machine in machines() {
        let node = machine.run(&machine.job(&["node", "-v"]));
        assert_eq!(node.succeeds(), format!("v{NODE_VERSION}\n"));
        for (script, code) in [("exit 7", 7), ("sh -c 'kill -9 $$'; exit $?", 137), ("true", 0)] {
            assert_eq!(machine.run(&machine.job(&["sh", "-c", script])).exits(code), "", "{script}");
        }
        // In whichever order the runtime hands on what goes to two streams.
        let script = "pwd; hostname; echo $HOME $GREETING; echo $PATH; echo error >&2; cat; tty; true";
        let more = json!({"env": {"GREETING": "hello"}, "cwd": "/etc", "lines": true, "user": "65532:65532"});
        let said = machine.sh(script, more);
        let (errors, lines): (Vec<_>, Vec<_>) = said.lines().partition(|line| line.contains("error"));
        assert_eq!(errors, ["line: error"]);
        let path = "line: /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        assert_eq!(lines, ["line: /etc", "line: sandbox", "line: /home/nonroot hello", path, "line: not a tty"]);

        let compiled = "const { execSync } = require('child_process');\
            const worker = new (require('worker_threads').Worker)('postMessage', { eval: true });\
            worker.on('error', () => {});\
            require('fs').promises.readFile('/etc/passwd').then(text => console.log(text.length > 0, execSync('echo child') + ''))";
        assert_eq!(machine.run(&machine.job(&["node", "-e", compiled])).succeeds(), "true child\n\n");
    }
}

#[test]
fn what_cannot_run_is_explained() {
    for machine in machines() {
        let cases = [
            (json!({"args": ["no-such-command"]}), 127, "the image has no command `no-such-command`"),
            (json!({"args": ["/no/such/file"]}), 127, "the image has no command `/no/such/file`"),
            (json!({"args": ["/etc/passwd"]}), 126, "`/etc/passwd` does not run here: "),
            (json!({"args": ["true"], "cwd": "/nowhere"}), 202, "the image has no folder `/nowhere`"),
            (json!({"args": ["true"], "user": "nobod"}), 202, "the image's /etc/passwd has no user `nobod`"),
            (json!({"args": ["true"], "runtime": "no-such-runtime"}), 202, "expected --runtime to name an OCI runtime"),
            (
                json!({"args": ["true"], "runtime": "/bin/false"}),
                201,
                "false cannot run the container: it does not take",
            ),
            (json!({"args": ["true"], "work": "/no/such/source"}), 201, "runc cannot run the container: "),
        ];
        for (more, code, message) in cases {
            let finished = machine.run(&merged(machine.job(&[]), more.clone()));
            let said = finished.exits(code);
            assert!(said.contains(&format!("error: {message}")), "{more}: {said}");
        }
    }
}

/// A program that does not end when it is asked to. (busybox's shell does, or does not, as the moment has it.)
const STUBBORN: [&str; 3] = [
    "node",
    "-e",
    "['SIGINT', 'SIGTERM'].forEach(name => process.on(name, () => {})); setTimeout(() => console.log('late'), 1e6); console.log('ready')",
];

/// CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID NET_BIND_SERVICE (capabilities(7)).
const ROOTS_CAPABILITIES: u64 = 0x4fb;

#[test]
fn a_sandbox_is_closed() {
    for machine in machines() {
        for (user, capabilities) in [("", ROOTS_CAPABILITIES), ("65532:65532", 0)] {
            let status = machine.sh("cat /proc/1/status", json!({"user": user}));
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
                line.unwrap_or_else(|| panic!("{name} in {status}")).to_owned()
            };
            for (set, expected) in
                [("Eff", capabilities), ("Prm", capabilities), ("Bnd", capabilities), ("Inh", 0), ("Amb", 0)]
            {
                assert_eq!(field(&format!("Cap{set}")), format!("{expected:016x}"), "{set} of `{user}`");
            }
            assert_eq!((field("NoNewPrivs").as_str(), field("Seccomp").as_str()), ("1", "2"), "`{user}`");
        }
        for network in [false, true] {
            let more = json!({"network": network});
            let said = machine.sh(
                "for folder in / /etc /usr/bin /sys /proc/sys/kernel /sys/fs; do
                     touch $folder/x 2>/dev/null && echo $folder may be written
                 done
                 for folder in /tmp /var/tmp /dev/shm; do
                     touch $folder/x && rm $folder/x && stat -c '%a' $folder
                 done
                 touch /run/x
                 mount -t tmpfs none /tmp 2>/dev/null && echo mounts
                 unshare -U true 2>/dev/null && echo unshares
                 umount /proc/kcore 2>/dev/null && echo unmounts
                 chroot / true 2>/dev/null && echo changes its root
                 cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | head -c 1 | wc -c
                 find /sys/firmware /sys/fs/cgroup -mindepth 1 2>/dev/null
                 echo 1 2>/dev/null > /proc/sysrq-trigger && echo resets
                 for node in null zero full random urandom tty ptmx; do ls /dev/$node > /dev/null; done
                 for kind in pid ipc uts mnt; do readlink /proc/1/ns/$kind; done
                 ps -o pid= | head -n 1 | tr -d ' '",
                more,
            );
            let (closed, rest) = said.split_at(said.find("pid:").unwrap_or_else(|| panic!("{said}")));
            assert_eq!(closed, "1777\n1777\n1777\n0\n", "network: {network}");
            for (kind, line) in ["pid", "ipc", "uts", "mnt"].into_iter().zip(rest.lines()) {
                let outside = fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace");
                assert_ne!(Path::new(line), outside, "its own {kind} namespace");
            }
            assert_eq!(rest.lines().last(), Some("1"), "the first process is the command");
        }
    }
}

#[test]
fn without_a_network_there_is_none() {
    let connect = |port: u16| {
        format!(
            "const socket = require('net').connect({port}, '127.0.0.1');\
             socket.on('connect', () => {{ console.log('connected'); process.exit() }});\
             socket.on('error', error => console.log(error.code))"
        )
    };
    for machine in machines() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let script = connect(listener.local_addr().expect("an address").port());
        let job = |network: bool| merged(machine.job(&["node", "-e", &script]), json!({"network": network}));
        assert_eq!(machine.run(&job(false)).succeeds(), "ECONNREFUSED\n");
        assert_eq!(machine.run(&job(true)).succeeds(), "connected\n");
        assert_eq!(machine.sh("ls /sys/class/net; tail -n +3 /proc/net/dev | wc -l", json!({})), "lo\n1\n");
        let files = "cat /etc/resolv.conf /etc/hosts";
        let ours = run(Command::new("sh").args(["-c", files]));
        assert_eq!(machine.sh(files, json!({"network": true})), ours.stdout);
    }
}

#[test]
fn what_is_written_into_a_mount_belongs_to_the_caller() {
    for machine in machines() {
        let work = machine.path("work");
        for (user, owner) in [("", machine.uid), ("65532:65532", if machine.is_root() { 65532 } else { machine.uid })] {
            fs::set_permissions(&work, fs::Permissions::from_mode(0o777)).expect("root's or its own");
            let more = json!({"user": user, "work": work, "cwd": "/shared"});
            machine.sh("mkdir folder && echo hello > folder/file && ln -s x folder/link && ls -l folder", more);
            for path in ["folder", "folder/file", "folder/link"] {
                let meta = work.join(path).symlink_metadata().expect("it was made");
                assert_eq!((meta.uid(), meta.gid()), (owner, owner), "{path} of `{user}`");
            }
            fs::remove_dir_all(work.join("folder")).expect("removed");
        }
        let more = json!({"work": work, "writable": false, "cwd": "/shared"});
        let said = machine.sh("touch file 2>&1 || true", more);
        assert!(said.contains("Read-only file system"), "{said}");
    }
}

#[test]
fn npm_installs_into_a_mounted_app() {
    let script = "require('fs').writeFileSync('built', process.env.npm_package_name)";
    let files = [
        ("package.json", r#"{"name": "app", "version": "1.0.0", "dependencies": {"dep": "file:dep.tgz"}}"#.to_owned()),
        (
            "package/package.json",
            json!({"name": "dep", "version": "1.0.0", "scripts": {"install": format!("node -e \"{script}\"")}})
                .to_string(),
        ),
    ];
    for machine in machines() {
        let work = machine.path("work");
        app(&work, &files.each_ref().map(|(path, text)| (*path, text.as_str())));
        run(Command::new("tar").args(["-czf", "dep.tgz", "package"]).current_dir(&work)).succeeds();
        run(Command::new("chown").args(["-R", &format!("{0}:{0}", machine.uid)]).arg(&work)).succeeds();
        let env = json!({"npm_config_cache": "/tmp/npm", "npm_config_update_notifier": "false"});
        let more = json!({"work": work, "cwd": "/shared", "lines": true, "env": env});
        let said =
            machine.sh("npm install --offline --no-audit --no-fund --foreground-scripts && npm ci --offline", more);
        assert!(said.contains("added 1 package"), "{said}");
        let built = work.join("node_modules/dep/built");
        assert_eq!(fs::read_to_string(&built).expect("the script has run"), "dep");
        assert_eq!(built.metadata().expect("there").uid(), machine.uid);
    }
}

#[test]
fn signals_are_passed_on() {
    let script = "for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR2'])\
                      process.on(name, () => { console.log('got', name); if (name == 'SIGTERM') process.exit(5) });\
                  setTimeout(() => {}, 1e6); console.log('ready')";
    for machine in machines() {
        let started = machine.start(&machine.job(&["node", "-e", script]));
        for name in ["USR2", "INT", "TERM"] {
            started.signal(name);
            thread::sleep(Duration::from_millis(300));
        }
        let (code, said) = started.end();
        assert_eq!((code, said.as_str()), (Some(5), "got SIGUSR2\ngot SIGINT\ngot SIGTERM\ninterrupted: 15\n"));

        // The third time it is not asked.
        let started = machine.start(&machine.job(&STUBBORN));
        for _ in 0..3 {
            started.signal("INT");
            thread::sleep(Duration::from_millis(300));
        }
        assert_eq!(started.end(), (Some(137), "interrupted: 2\n".into()));
    }
}

#[test]
fn a_step_ends_when_it_is_asked_to() {
    for machine in machines() {
        for times in [1, 2] {
            let job = merged(machine.job(&STUBBORN), json!({"lines": true}));
            let started = machine.start(&job);
            let begin = Instant::now();
            for _ in 0..times {
                started.signal("INT");
                thread::sleep(Duration::from_millis(300));
            }
            assert_eq!(started.end(), (Some(137), "interrupted: 2\n".into()));
            let expected = if times == 1 { 2.0..6.0 } else { 0.3..2.0 };
            assert!(expected.contains(&begin.elapsed().as_secs_f32()), "{times}: {:?}", begin.elapsed());
        }
    }
}

/// The processes whose command line holds `words`, by their ids.
fn processes(words: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("Linux").flatten().map(|entry| entry.path());
    let is_wanted = |path: &PathBuf| {
        fs::read(path.join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).replace('\0', " ") == words)
    };
    entries.filter(is_wanted).map(|path| text(&path)).collect()
}

#[test]
fn a_container_ends_with_its_process() {
    for (place, machine) in machines().iter().enumerate() {
        let sleep = format!("sleep 1{}{place} ", std::process::id());
        let script = format!("sleep 1000 & echo ready; exec {sleep}");
        for lines in [false, true] {
            let started = machine.start(&merged(machine.job(&["sh", "-c", &script]), json!({"lines": lines})));
            let other = machine.start(&machine.job(&STUBBORN));
            assert_eq!((processes(&sleep).len(), machine.bundles().len()), (1, 2));
            started.signal("KILL");
            let begin = Instant::now();
            let mut child = started.child;
            child.wait().expect("an end");
            let gone = || (processes(&sleep).is_empty() && machine.bundles().len() == 1).then_some(());
            assert!(wait_for(Duration::from_secs(2), gone).is_some(), "it runs on, or {:?}", machine.bundles());
            assert!(begin.elapsed() < Duration::from_secs(2));
            for _ in 0..3 {
                other.signal("TERM");
                thread::sleep(Duration::from_millis(300));
            }
            assert_eq!(other.end().0, Some(137), "the other one is not touched");
            assert_eq!(machine.bundles().len(), 0);
        }
    }
}

#[test]
fn what_a_killed_process_left_running_is_removed_by_the_next() {
    for (place, machine) in machines().iter().enumerate() {
        let sleep = format!("sleep 1{}{place}9 ", std::process::id());
        let script = format!("echo ready; exec {sleep}");
        let started = machine.start(&machine.job(&["sh", "-c", &script]));
        let other = machine.start(&machine.job(&STUBBORN));
        // As when all of a user's processes are killed: first the one that would have watched.
        let tasks = fs::read_dir(format!("/proc/{}/task", started.child.id())).expect("its threads").flatten();
        let children = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
        let children = children.collect::<String>();
        let guard = children.split_whitespace().find(|child| {
            fs::read(format!("/proc/{child}/cmdline")).is_ok_and(|line| line.starts_with(b"microbuild-guard\0"))
        });
        run(Command::new("kill").args(["-KILL", guard.expect("a guard")])).succeeds();
        started.signal("KILL");
        let mut child = started.child;
        child.wait().expect("an end");
        assert_eq!((processes(&sleep).len(), machine.bundles().len()), (1, 2), "the container runs on");

        let mut next = machine.command(&machine.job(&["true"]));
        run(&mut next).succeeds();
        assert_eq!((processes(&sleep).len(), machine.bundles().len()), (0, 1), "it is gone, and the other one stays");
        for _ in 0..3 {
            other.signal("TERM");
            thread::sleep(Duration::from_millis(300));
        }
        assert_eq!(other.end().0, Some(137));
        assert_eq!(machine.bundles().len(), 0);
    }
}

#[test]
fn a_terminal_is_one_inside() {
    if tools(["script"]).is_none() {
        return;
    }
    for machine in machines() {
        let script =
            "const { stdin, stdout, env } = process; stdout.write(`${stdin.isTTY} ${stdout.columns} ${env.TERM}\\n`)";
        let job = machine.job(&["node", "-e", script]);
        let finished = run(&mut machine.in_terminal(&job));
        assert!(finished.stdout.contains("true 123 vt100\r\n"), "{finished:?}");
        finished.succeeds();

        // Not one when only the output is.
        let job = merged(job, json!({"args": ["node", "-p", "process.stdout.isTTY"]}));
        let plain = machine.run(&job);
        assert_eq!(plain.succeeds(), "undefined\n");
    }
}

#[test]
fn the_terminals_keys_reach_the_command() {
    if tools(["script"]).is_none() {
        return;
    }
    for machine in machines() {
        let trap = "trap 'echo trapped; exit 3' INT; echo ready; sleep 1000 & wait";
        let cases = [(["sh", "-c", trap], false, "trapped", 3), (STUBBORN, true, "interrupted: 2", 137)];
        for (command, lines, says, code) in cases {
            let job = merged(machine.job(&command), json!({"lines": lines}));
            let mut started = Machine::started(machine.in_terminal(&job).stdin(Stdio::piped()));
            started.child.stdin.as_mut().expect("a pipe").write_all(b"\x03").expect("Ctrl-C");
            let (ended, said) = started.end();
            assert!(said.contains(says), "{said}");
            assert_eq!(ended, Some(code), "{said}");
        }
    }
}

/// Runs its arguments in a user namespace in which there are no more.
const NO_NAMESPACES: &str = r#"
    unshare -U sh -c 'until grep -q . /proc/self/uid_map /proc/self/gid_map; do sleep 0.1; done
        exec sh -c "echo 0 > /proc/sys/user/max_user_namespaces && exec \"\$@\"" sh "$@"' sh "$@" &
    until echo 0 0 100000 > /proc/$!/gid_map; do sleep 0.1; done 2> /dev/null
    until echo 0 0 100000 > /proc/$!/uid_map; do sleep 0.1; done 2> /dev/null
    wait $!"#;

#[test]
fn who_may_have_no_user_namespace_is_told_what_to_do() {
    let Some(machine) = machines().into_iter().find(|machine| !machine.is_root()) else { return };
    if !is_root() || tools(["unshare"]).is_none() {
        return skip_forbidden("needs root: to forbid namespaces");
    }
    let inner = machine.command(&machine.job(&["true"]));
    let mut command = Command::new("sh");
    command.args(["-c", NO_NAMESPACES, "sh"]).arg(inner.get_program()).args(inner.get_args()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir("/");
    let finished = run(&mut command);
    let said = finished.exits(201);
    assert!(
        said.contains("error: runc was refused a user namespace, without which only root runs containers: "),
        "{said}"
    );
    assert!(
        said.contains("hint: let root run `sysctl user.max_user_namespaces=10000`, or run microbuild as root"),
        "{said}"
    );
}

#[test]
fn crun_runs_it_too_and_shows_users_by_their_numbers() {
    let Some([crun, unshare]) = tools(["crun", "unshare"]) else { return };
    if !is_root() {
        return skip_forbidden("needs root: to show crun one kind of cgroups only");
    }
    for machine in machines() {
        let id = |user: &str| {
            let script = "echo $(id -u):$(id -g); touch /shared/file; grep CapEff /proc/1/status";
            let more = json!({"runtime": crun, "user": user, "work": machine.path("work")});
            let inner = machine.command(&merged(machine.job(&["sh", "-c", script]), more));
            let mut command = Command::new(&unshare);
            let view = "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";
            command.args(["-m", "sh", "-c", view, "sh"]).arg(inner.get_program()).args(inner.get_args()).env_clear();
            command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir("/");
            fs::set_permissions(machine.path("work"), fs::Permissions::from_mode(0o777)).expect("root");
            let finished = run(&mut command);
            let said = finished.succeeds().split_once(BEGIN).expect("it began").1.to_owned();
            let owner = machine.path("work/file").metadata().expect("made").uid();
            fs::remove_file(machine.path("work/file")).expect("removed");
            (said, owner)
        };
        let said = |ids: &str, capabilities: u64| format!("{ids}\nCapEff:\t{capabilities:016x}\n");
        assert_eq!(id(""), (said("0:0", ROOTS_CAPABILITIES), machine.uid));
        let owner = if machine.is_root() { 65532 } else { machine.uid };
        assert_eq!(id("65532:65532"), (said("65532:65532", 0), owner));
    }
}

#[test]
fn a_root_is_what_the_layers_say() {
    if !is_root() {
        return skip_forbidden("needs root: to set owners");
    }
    let Some(machine) = machines().into_iter().next() else { return };
    let mut expected = Tree::default();
    for layer in layers_of(&machine.job(&[])) {
        let bytes = fs::read(layer.content.path().expect("a file")).expect("a layer");
        expected.apply(&decompress(&layer.media_type, &bytes));
    }
    let root = root_of(&machine.job(&[]));
    let differences = expected.differences(&Tree::of_folder(root.path()));
    let made = |line: &String| line.contains(": - | ");
    assert!(differences.iter().all(made), "{differences:#?}");
    let paths: Vec<_> = differences.iter().filter_map(|line| line.split(':').next()).collect();
    let mut places = vec!["etc/hosts", "etc/resolv.conf", "run", "shared", "var", "var/tmp"];
    places.retain(|place| expected.get(place).is_none());
    assert_eq!(paths, places);
    assert!(root.lacks("/no/such/folder") && !root.lacks("/shared") && !root.lacks("/bin/sh"));
}

#[test]
fn several_unpack_at_once_and_some_are_killed() {
    for machine in machines() {
        let mut job = machine.job(&[]);
        job["args"] = Value::Null;
        let begin = Instant::now();
        run(&mut machine.command(&job)).succeeds();
        let whole = begin.elapsed();
        let roots = machine.path("cache/v1/folders/roots-v1");
        let kept = |end: &str| {
            let names = fs::read_dir(&roots).into_iter().flatten().flatten().map(|e| e.file_name().into_string());
            names
                .filter(|name| name.as_ref().is_ok_and(|name| name.len() == 64 + end.len() && name.ends_with(end)))
                .count()
        };
        assert_eq!((kept(""), kept(".new")), (1, 0));
        let expected = Tree::of_folder(
            &fs::read_dir(&roots).expect("roots").flatten().map(|e| e.path()).find(|p| p.is_dir()).expect("one"),
        );

        let mut killed = 0;
        for moment in noise(u64::from(std::process::id()), 4) {
            let other = machine.path("cache/v1/folders").with_file_name(format!("gone-{moment}"));
            let _ = fs::rename(&roots, &other);
            let _ = fs::remove_dir_all(&other);
            let mut one = Process::spawn(machine.command(&job).stdout(Stdio::null())).expect("a child");
            thread::sleep(whole * u32::from(moment) / 255);
            if one.ended().is_none() {
                one.child().kill().expect("a signal");
                killed += usize::from(kept(".new") > 0);
            }
            one.child().wait().expect("an end");
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| run(&mut machine.command(&job)).succeeds().len());
                }
            });
            assert_eq!((kept(""), kept(".new"), kept(".lock")), (1, 0, 1));
        }
        assert!(killed > 0, "{killed} of 4 were killed while they unpacked");
        let root = fs::read_dir(&roots).expect("roots").flatten().map(|e| e.path()).find(|path| path.is_dir());
        let differences = expected.differences(&Tree::of_folder(&root.expect("one")));
        assert!(differences.is_empty(), "{differences:#?}");
    }
}

#[test]
fn gc_spares_what_runs() {
    let Some(machine) = machines().into_iter().next() else { return };
    let store = Store::open(&machine.path("cache")).expect("a store");
    let images = LocalImages::open(&machine.path("images")).expect("images");
    let gc =
        || images.gc(&store, GcOptions { now: SystemTime::now(), unused_for: Duration::ZERO, all: true }).expect("gc");
    let started =
        machine.start(&machine.job(&["sh", "-c", "echo ready; sleep 1; cat /etc/alpine-release; exec sleep 1000"]));
    assert_eq!(gc().removed, 0);
    thread::sleep(Duration::from_secs(1));
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(300));
        started.signal("TERM");
    }
    let (code, said) = started.end();
    assert!(code == Some(137) && said.starts_with("3."), "{said}");
    let report = gc();
    assert_eq!(report.removed, 1);
    assert!(report.freed > 50_000_000, "{report:?}");
    let left = wait_for(Duration::from_secs(1), || {
        let count = fs::read_dir(machine.path("cache/v1/folders/roots-v1")).expect("the bucket").count();
        (count == 0).then_some(())
    });
    assert!(left.is_some(), "nothing is left of it");
}
