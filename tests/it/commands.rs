//! Commands of images: an image that cannot start is not built, and a Procfile's lines run as a shell would run them.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::deb_mirror::has_release;
use crate::support::{
    Finished, run, tools,
    workbench::{Workbench, app, text},
};

/// A workbench with Debian's packages, or a skip.
#[track_caller]
fn workbench() -> Option<Workbench> {
    has_release("bookworm", "amd64").then(|| Workbench::debian("bookworm"))
}

fn build(bench: &Workbench, recipe: &str, dir: &Path, options: &[&str]) -> Finished {
    let mut command = bench.home.microbuild([recipe, &text(dir), "-t", "app:1", "--shared-cache"]);
    run(bench.sources(&mut command).args(options))
}

/// What `app:1` prints, run with these options.
#[track_caller]
fn said(bench: &Workbench, options: &[&str]) -> String {
    bench.microbuild([&["run", "app:1", "-q"], options].concat()).succeeds().to_owned()
}

/// The message and the hint of a build that fails.
#[track_caller]
fn refused(finished: &Finished, dir: &Path) -> String {
    finished.exits(1);
    let lines = finished.stderr.lines().skip_while(|line| !line.starts_with("error: "));
    lines.collect::<Vec<_>>().join("\n").replace(&text(dir), "APP")
}

fn executable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
}

const START: &str = r#"{"name": "a", "scripts": {"start": "node a.js"}}"#;

#[test]
fn an_image_that_cannot_start_is_not_built() {
    let Some(bench) = workbench() else { return };
    let dir = app(
        &bench.path("app"),
        &[
            ("package.json", START),
            ("a.js", "console.log('a', process.argv.slice(2).join())\n"),
            ("start.sh", "#!/bin/sh\nexec node a.js\n"),
            ("plain.sh", "#!/bin/sh\n"),
            ("dos.js", "#!/usr/bin/node\r\n"),
            ("env.js", "#!/usr/bin/env node\nconsole.log('env', process.argv.slice(2).join())\n"),
            ("text", "text\n"),
            (".dockerignore", "left.js\n"),
            ("left.js", ""),
            (".env", "A=1\n"),
        ],
    );
    for file in ["start.sh", "dos.js", "env.js", "text"] {
        executable(&dir.join(file));
    }
    let mut errors = String::new();
    for option in [
        &["--cmd", "npm start"][..],
        &["--cmd", "npm run nothing"],
        &["--cmd", "A=1 node a.js"],
        &["--cmd", "python a.py"],
        &["--cmd", "nod a.js"],
        &["--cmd", "a.js"],
        &["--cmd", "uvicorn x:y"],
        &["--entrypoint", "./start.sh"],
        &["--entrypoint", "./plain.sh"],
        &["--cmd", "./dos.js"],
        &["--cmd", "./text"],
        &["--cmd", "./nothing"],
        &["--cmd", "node b.js"],
        &["--cmd", "node left.js"],
        &["--cmd", "node --env-file=.env a.js"],
        &["--cmd", "sh -c 'node a.js'"],
        &["--user", "me"],
    ] {
        let failed = build(&bench, "node", &dir, option);
        errors += &format!("# {}\n{}\n\n", option.join(" "), refused(&failed, &dir));
    }
    insta::assert_snapshot!(errors);
    assert!(!bench.microbuild(["images"]).succeeds().contains("app"), "nothing was written");

    // Each of these hints, followed to the letter, makes an image that starts.
    let Some(()) = tools(["runc"]).map(drop) else { return };
    for (options, expected) in [
        (&["--cmd", "node a.js"][..], "a \n"),
        (&["--env", "A=1", "--cmd", "node a.js"], "a \n"),
        (&["--cmd", "npm start", "-p", "npm", "-p", "dash"], "\n> start\n> node a.js\n\na \n"),
        (&["--entrypoint", "./start.sh", "-p", "dash"], "a \n"),
        (&["--cmd", "node --env-file-if-exists=.env a.js", "--base", "debian:trixie"], "a \n"),
        (&["--cmd", "./env.js x"], "env x\n"),
        (&["--entrypoint", "./env.js", "--cmd", "x y"], "env x,y\n"),
        (&["--cmd", "sh -c 'node a.js'", "-p", "dash"], "a \n"),
    ] {
        if options.contains(&"debian:trixie") && !has_release("trixie", "amd64") {
            continue;
        }
        let mut command = bench.home.microbuild(["node", &text(&dir), "-t", "app:1"]);
        if !options.contains(&"--base") {
            bench.sources(&mut command);
        }
        run(command.args(options)).succeeds();
        assert_eq!(said(&bench, &[]), expected, "{options:?}");
    }
    // Of an entrypoint that stands for env, the arguments can be replaced.
    build(&bench, "node", &dir, &["--entrypoint", "./env.js", "--cmd", "x y"]).succeeds();
    assert_eq!(said(&bench, &["--", "z"]), "env z\n");
}

#[test]
fn a_procfile_runs_as_a_shell_would_run_it() {
    let Some(bench) = workbench() else { return };
    let Some(()) = tools(["runc"]).map(drop) else { return };
    let code = "import os, sys\nprint(os.environ.get('A'), os.environ.get('PORT'), sys.argv[1:])\n\
                def app(environ, start_response):\n    return []\n";
    let dir = app(&bench.path("app"), &[("requirements.txt", "itsdangerous==2.2.0\n"), ("app.py", code)]);
    for (procfile, options, run, expected) in [
        ("web: python app.py", &[][..], &[][..], "None None []\n"),
        ("web: A=1 python3 app.py x", &[], &[], "1 None ['x']\n"),
        ("web: python app.py $PORT", &[], &[], "None 8080 ['8080']\n"),
        ("web: python app.py $PORT", &[], &["-e", "PORT=5000"], "None 5000 ['5000']\n"),
        ("web: python app.py $PORT", &["--env", "PORT=81"], &[], "None 81 ['81']\n"),
        ("web: python app.py ${PORT:-3000}", &[], &[], "None None ['3000']\n"),
        ("web: cd / && A='1 2' python /app/app.py \"a b\"", &[], &[], "1 2 None ['a b']\n"),
        ("web: python app.py\nworker: python app.py worker", &["--process", "worker"], &[], "None None ['worker']\n"),
    ] {
        fs::write(dir.join("Procfile"), format!("{procfile}\n")).expect("a file");
        build(&bench, "python", &dir, options).succeeds();
        assert_eq!(said(&bench, run), expected, "{procfile}");
    }
    fs::write(dir.join("Procfile"), "web: gunicorn --print-config --bind 0.0.0.0:$PORT app:app\n").expect("a file");
    let failed = build(&bench, "python", &dir, &[]);
    let message = "error: the image cannot start: it has no command `gunicorn`\n\
                   hint: add the package that has gunicorn to the app's dependencies, or a package of the base with -p";
    assert_eq!(refused(&failed, &dir), message);
    fs::write(dir.join("requirements.txt"), "gunicorn==23.0.0\n").expect("a file");
    build(&bench, "python", &dir, &[]).succeeds();
    let config = said(&bench, &[]);
    assert!(config.lines().any(|line| line.contains("bind") && line.contains("0.0.0.0:8080")), "{config}");
    let again = build(&bench, "python", &dir, &["--process", "workers"]);
    again.exits(2);
}

#[test]
fn a_procfile_chooses_a_compiled_program() {
    let Some(bench) = workbench() else { return };
    let Some(()) = tools(["runc"]).map(drop) else { return };
    let main = |name: &str| {
        format!("#include <stdio.h>\nint main(int n, char **v) {{ printf(\"{name} %s\\n\", n > 1 ? v[1] : \"\"); }}\n")
    };
    let makefile = "all: one two\none: one.c\n\tcc -o one one.c\ntwo: two.c\n\tcc -o two two.c\n";
    let files =
        [("Makefile", makefile), ("one.c", &main("one")), ("two.c", &main("two")), ("Procfile", "web: ./two x\n")];
    let dir = app(&bench.path("app"), &files);
    build(&bench, "gcc", &dir, &[]).succeeds();
    assert_eq!(said(&bench, &[]), "two x\n");
    fs::write(dir.join("Procfile"), "web: ./three x\n").expect("a file");
    let failed = build(&bench, "gcc", &dir, &[]);
    failed.exits(1);
    assert!(failed.stderr.contains("expected one program, found: "), "{}", failed.stderr);
    // The program's name is another one here, as with `bin/NAME` of Heroku's Go.
    fs::remove_file(dir.join("one.c")).expect("a file");
    fs::remove_file(dir.join("Makefile")).expect("a file");
    fs::write(dir.join("Procfile"), "web: bin/server $PORT\n").expect("a file");
    build(&bench, "gcc", &dir, &[]).succeeds();
    assert_eq!(said(&bench, &[]), "two 8080\n");
}

#[test]
fn a_dockerfile_says_how_an_app_starts_where_nothing_else_does() {
    let Some(bench) = workbench() else { return };
    let Some(()) = tools(["runc"]).map(drop) else { return };
    let dockerfile = "FROM node:22\nWORKDIR /srv\nEXPOSE 3000\nCMD [\"node\", \"/srv/src/bot.js\", \"x\"]\n";
    let files = [
        ("package.json", "{\"name\": \"a\"}"),
        ("src/bot.js", "console.log(process.argv[2])\n"),
        ("Dockerfile", dockerfile),
    ];
    let dir = app(&bench.path("app"), &files);
    let built = build(&bench, "node", &dir, &[]);
    built.succeeds();
    assert!(
        built.stderr.contains("the image starts with the command of the Dockerfile: node src/bot.js x"),
        "{}",
        built.stderr
    );
    assert_eq!(said(&bench, &[]), "x\n");
    let dir = app(
        &bench.path("snake"),
        &[("requirements.txt", ""), ("bot.py", "print('bot')\n"), ("Dockerfile", "CMD python -u bot.py\n")],
    );
    build(&bench, "python", &dir, &[]).succeeds();
    assert_eq!(said(&bench, &[]), "bot\n");
}
