//! Examples of apps that are built, and of sites: found by their files, built in the dev variant, run read-only as nonroot, asked
//! over HTTP.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::Command,
    time::Duration,
};

use super::deb_mirror::has_release;
use crate::support::{
    Process, free_port, run, tools,
    tree::Tree,
    wait_for,
    workbench::{Workbench, json as json_of, text},
};

/// What is expected of an example.
struct Example {
    /// The example's folder.
    name: &'static str,
    /// The recipe that its files speak for.
    recipe: &'static str,
    /// The most that its image may weigh, in bytes.
    most: u64,
    /// Paths, with the status of the answer and a word in it.
    answers: &'static [(&'static str, u16, &'static str)],
    /// Words of paths that the image must not have.
    without: &'static [&'static str],
}

impl Example {
    #[track_caller]
    fn check(&self) {
        let Self { name, recipe, most, answers, without } = self;
        if tools(["runc"]).is_none() || !has_release("bookworm", "amd64") {
            return;
        }
        let bench = Workbench::debian("bookworm");
        let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
        let port = free_port();
        let declared = port.to_string();
        let build = || {
            let mut command =
                bench.home.microbuild(["build", &text(&app), "-t", "example:1", "--json", "--port", &declared]);
            bench.sources(&mut command);
            json_of(&run(&mut command))
        };
        let built = build();
        assert_eq!(built["recipe"], *recipe, "{name}");
        let size = built["size"].as_u64().expect("a size");
        assert!(size <= *most, "{name}: expected at most {most} bytes, found {size}");
        assert_eq!(build()["digest"], built["digest"], "{name}: nothing changed");

        let layout = bench.path("layout");
        bench.microbuild(["export", "example:1", &format!("oci:{}:app", layout.display())]).succeeds();
        let paths = Tree::of_layout(&layout).describe();
        for word in *without {
            let found: Vec<_> = paths.keys().filter(|path| path.contains(word)).collect();
            assert!(found.is_empty(), "{name}: {word} is in the image: {found:?}");
        }

        let variable = format!("PORT={port}");
        let mut command = bench.home.microbuild(["run", "example:1", "-q", "-e", &variable, "-e", "NAME=tests"]);
        let mut server = Process::spawn(&mut command).expect("microbuild run");
        for (path, status, word) in *answers {
            let answer = ask(port, path).unwrap_or_else(|| panic!("{name}: nothing answers"));
            let first = answer.lines().next().unwrap_or_default();
            assert!(first.contains(&format!(" {status} ")), "{name}: {path}: {answer}");
            assert!(answer.contains(word), "{name}: {path}: {answer}");
        }
        let pid = server.child().id().to_string();
        run(Command::new("kill").args(["-TERM", &pid])).succeeds();
        let status = server.child().wait().expect("an end");
        assert!(matches!(status.code(), Some(0 | 143)), "{name}: it ends when it is asked to: {status}");
    }
}

/// What the server on the loopback port `port` answers to `GET path`, once it listens.
fn ask(port: u16, path: &str) -> Option<String> {
    wait_for(Duration::from_secs(60), || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer).into_owned()).filter(|answer| !answer.is_empty())
    })
}

#[test]
fn typescript() {
    Example {
        name: "node-typescript",
        recipe: "node",
        most: 36_000_000,
        answers: &[("/", 200, r#"{"message":"Hello, tests!","user":"nonroot","day":86400000}"#)],
        without: &["app/src", "app/node_modules/typescript", "tsconfig.json", "app/node_modules/@types/"],
    }
    .check();
}

#[test]
fn next() {
    Example {
        name: "next",
        recipe: "node",
        most: 60_000_000,
        answers: &[("/", 200, "Hello, tests!"), ("/nothing", 404, "")],
        without: &["app/app/", "page.jsx", "linuxmusl", ".next/cache"],
    }
    .check();
}

#[test]
fn nest() {
    Example {
        name: "nest",
        recipe: "node",
        most: 45_000_000,
        answers: &[("/", 200, r#"{"message":"Hello, tests!"}"#)],
        without: &["app/src", "app/node_modules/typescript", "@nestjs/cli"],
    }
    .check();
}

#[test]
fn vite() {
    Example {
        name: "vite",
        recipe: "site",
        most: 6_000_000,
        answers: &[
            ("/", 200, "<div id=\"app\">"),
            ("/", 200, "Cache-Control: no-cache"),
            ("/any/address", 200, "<div id=\"app\">"),
            ("/healthz", 200, "ok"),
            ("/.env", 404, ""),
        ],
        without: &["node_modules", "app/src", "bin/node", "package.json"],
    }
    .check();
}

#[test]
fn site() {
    Example {
        name: "site",
        recipe: "site",
        most: 5_500_000,
        answers: &[
            ("/", 200, "Hello, world!"),
            ("/style.css", 200, "Content-Type: text/css"),
            ("/nothing", 404, "There is no such page."),
            ("/nginx.conf", 404, ""),
        ],
        without: &["README"],
    }
    .check();
}
