//! Apps in the shapes that people have them in, of PHP, Ruby and languages with a source file alone: recognized without being
//! told, run as they will run elsewhere, asked over HTTP, ended by SIGTERM.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use super::deb_mirror::has_release;
use crate::support::{
    Process, free_port, run, tools, wait_for,
    workbench::{Workbench, app, json as json_of, text},
};

/// An app, built.
struct Shape {
    bench: Workbench,
    built: serde_json::Value,
    said: String,
}

impl Shape {
    /// Builds the app in `folder` on Debian's `release` with further `options`. `None` where that cannot be done here.
    #[track_caller]
    fn build(release: &str, folder: impl FnOnce(&Workbench) -> PathBuf, options: &[&str]) -> Option<Self> {
        if tools(["runc"]).is_none() || !has_release(release, "amd64") {
            return None;
        }
        let bench = Workbench::debian(release);
        let folder = folder(&bench);
        let mut command = bench.home.microbuild(["build", &text(&folder), "-t", "shape:1", "--json"]);
        let done = run(bench.sources(&mut command).args(options));
        let built = json_of(&done);
        Some(Self { bench, built, said: done.stderr })
    }

    /// Builds the example `name`.
    #[track_caller]
    fn example(release: &str, name: &str) -> Option<Self> {
        Self::build(release, |_| Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name), &[])
    }

    /// What the app prints.
    #[track_caller]
    fn output(&self) -> String {
        self.bench.microbuild(["run", "-q", "shape:1"]).succeeds().to_owned()
    }

    /// Runs the app, gives its port to `ask`, and ends it.
    #[track_caller]
    fn serve(&self, ask: impl FnOnce(u16)) {
        let port = free_port();
        let mut command =
            self.bench.home.microbuild(["run", "shape:1", "-q", "-e", &format!("PORT={port}"), "-e", "NAME=tests"]);
        let mut server = Process::spawn(&mut command).expect("microbuild run");
        ask(port);
        let pid = server.child().id().to_string();
        let asked = Instant::now();
        run(Command::new("kill").args(["-TERM", &pid])).succeeds();
        let status = server.child().wait().expect("an end");
        assert!(matches!(status.code(), Some(0 | 143)), "it ends when it is asked to: {status}");
        // A second, and what a machine with other work takes to start and end a container.
        assert!(asked.elapsed() < Duration::from_secs(4), "it took {:?} to end", asked.elapsed());
    }
}

/// The answer to `GET path`: its first line, its headers and its body.
#[track_caller]
fn ask(port: u16, path: &str, cookie: &str) -> (String, String, String) {
    let answer = wait_for(Duration::from_secs(60), || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        (!answer.is_empty()).then_some(answer)
    });
    let answer = answer.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("HTTP");
    let (first, headers) = head.split_once("\r\n").expect("headers");
    (first.to_owned(), headers.to_owned(), body.to_owned())
}

#[test]
fn an_app_of_laravels_shape_is_served_by_apache() {
    let Some(shape) = Shape::example("bookworm", "laravel-like") else { return };
    assert_eq!(shape.built["recipe"], "php");
    assert!(shape.said.contains("package.json is taken for its tools and assets"), "{}", shape.said);
    let size = shape.built["size"].as_u64().expect("a size");
    assert!(size <= 29_500_000, "{size}");
    shape.serve(|port| {
        let (first, _, body) = ask(port, "/", "");
        assert!(first.ends_with("200 OK"), "{first}: {body}");
        for part in ["Hello, tests!", "\"user\":\"nonroot\"", "\"server\":\"apache2handler\""] {
            assert!(body.contains(part), "{part}: {body}");
        }
        // A session lasts, and the extension that composer.json asks for is there.
        let (_, headers, body) = ask(port, "/count", "");
        assert!(body.contains("\"count\":1") && body.contains("\"sqlite\":\"3."), "{body}");
        let cookie = headers.lines().find_map(|line| line.strip_prefix("Set-Cookie: ")).expect("a session");
        let (_, _, body) = ask(port, "/count", cookie.split(';').next().expect("a value"));
        assert!(body.contains("\"count\":2"), "{body}");
        assert!(ask(port, "/robots.txt", "").2.starts_with("User-agent"), "a file");
        assert!(ask(port, "/nowhere", "").0.contains("404"), "the app's own answer");
        for path in ["/.htaccess", "/../composer.json"] {
            assert!(!ask(port, path, "").0.contains("200"), "{path}");
        }
    });
}

#[test]
fn pages_beside_each_other_are_served_and_what_is_no_page_is_not() {
    let files = [
        ("index.php", "<?php echo 'front';"),
        ("contact.php", "<?php echo 'contact ', ini_get('display_errors');"),
        ("composer.lock", "{}"),
        (".git-secret", "x"),
        ("style.css", "a {}"),
    ];
    let Some(shape) = Shape::build("bookworm", |bench| app(&bench.path("app"), &files), &["--deps", "none"]) else {
        return;
    };
    shape.serve(|port| {
        assert_eq!(ask(port, "/", "").2, "front");
        assert_eq!(ask(port, "/contact.php", "").2, "contact 0");
        assert_eq!(ask(port, "/style.css", "").2, "a {}");
        for (path, status) in [("/nowhere", "404"), ("/composer.lock", "403"), ("/.git-secret", "403")] {
            let (first, ..) = ask(port, path, "");
            assert!(first.contains(status), "{path}: {first}");
        }
    });
}

/// K13: the extensions of a package that was asked for are loaded, with the libraries that they are linked with.
#[test]
fn extensions_of_php_are_loaded_when_their_packages_are_asked_for() {
    let php = "<?php foreach (['pdo_mysql', 'intl', 'redis', 'mbstring'] as $name) { echo $name, ' ', var_export(extension_loaded($name), true), \"\\n\"; } \
               echo (new NumberFormatter('de', NumberFormatter::DECIMAL))->format(1234.5), \"\\n\";";
    let packages = ["-p", "php-mysql", "-p", "php-intl", "-p", "php-redis"];
    let Some(shape) = Shape::build("bookworm", |bench| app(&bench.path("app"), &[("hello.php", php)]), &packages)
    else {
        return;
    };
    assert_eq!(shape.output(), "pdo_mysql true\nintl true\nredis true\nmbstring true\n1.234,5\n");
}

#[test]
fn an_app_of_rails_shape_is_served_by_puma() {
    let Some(shape) = Shape::example("bookworm", "rails-like") else { return };
    assert_eq!(shape.built["recipe"], "ruby");
    shape.serve(|port| {
        let (first, _, body) = ask(port, "/", "");
        assert!(first.ends_with("200 OK"), "{first}: {body}");
        assert!(body.contains("Hello, tests!") && body.contains("\"user\":\"nonroot\""), "{body}");
    });
}

/// A15: one source file is the app, whatever its name is.
#[test]
fn the_only_source_file_is_the_app() {
    if tools(["runc"]).is_none() || !has_release("bookworm", "amd64") {
        return;
    }
    // One store for all: they share most packages.
    let bench = Workbench::debian("bookworm");
    for (file, text_of, recipe) in [
        ("hello.py", "print('hello')\n", "python"),
        ("hello.rb", "puts 'hello'\n", "ruby"),
        ("hello.php", "<?php echo \"hello\\n\";\n", "php"),
        ("hello.js", "console.log('hello')\n", "node"),
        ("hello.pl", "print \"hello\\n\";\n", "perl"),
        ("hello.lua", "print('hello')\n", "lua"),
        ("hello.sh", "echo hello\n", "shell"),
        ("bash.sh", "#!/usr/bin/env bash\n[[ a == a ]] && echo hello\n", "shell"),
    ] {
        let dir = app(&bench.path(file), &[(file, text_of)]);
        let mut command = bench.home.microbuild(["build", &text(&dir), "-t", "shape:1", "--json"]);
        assert_eq!(json_of(&run(bench.sources(&mut command)))["recipe"], recipe, "{file}");
        let said = bench.microbuild(["run", "-q", "shape:1"]);
        assert_eq!(format!("{}{}", said.succeeds(), said.stderr).trim(), "hello", "{file}");
    }
}

#[test]
fn the_hint_for_an_unknown_start_is_in_the_apps_language() {
    let bench = Workbench::fake();
    for (files, recipe, command) in [
        (&[("a.php", ""), ("b.php", "")][..], "php", "php a.php"),
        (&[("a.rb", ""), ("lib/b.rb", ""), ("c.rb", "")], "ruby", "ruby a.rb"),
        (&[("requirements.txt", ""), ("tool.py", ""), ("util.py", "")], "python", "python3 tool.py"),
    ] {
        let dir = app(&bench.path(recipe), files);
        let done = run(&mut bench.home.microbuild(["build", &text(&dir), "--offline"]));
        done.exits(1);
        assert!(done.stderr.contains(&format!("--cmd '{command}'")), "{recipe}: {}", done.stderr);
    }
}
