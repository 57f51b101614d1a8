//! Each language's example on a base whose packages can be had here: built by the recipe that its files speak for, run, asked.

use std::{path::Path, process::Command};

use super::deb_mirror::has_release;
use crate::support::{
    Process, free_port, run, tools,
    workbench::{Workbench, get, json as json_of, text},
};

/// What is expected of a language.
struct Language {
    /// The recipe, and the example's folder.
    name: &'static str,
    /// The release of Debian.
    release: &'static str,
    /// The most that the example's image may weigh, in bytes.
    most: u64,
    /// What tells the version in the dev variant, and a word of its answer.
    version: (&'static [&'static str], &'static str),
}

impl Language {
    /// Builds the example, runs it as it will run elsewhere, asks it; then asks the dev variant for the language's version.
    #[track_caller]
    fn check(&self) {
        let Self { name, release, most, version: (asks, word) } = self;
        if tools(["runc"]).is_none() || !has_release(release, "amd64") {
            return;
        }
        let bench = Workbench::debian(release);
        let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
        let microbuild = |words: &[&str]| {
            let mut command = bench.home.microbuild(words);
            bench.sources(&mut command);
            command
        };
        let build = |options: &[&str]| {
            let mut command = microbuild(&["build", &text(&app), "-t", "example:1", "--json"]);
            json_of(&run(command.args(options)))
        };
        let built = build(&[]);
        assert_eq!(built["recipe"], *name);
        let size = built["size"].as_u64().expect("a size");
        assert!(size <= *most, "{name}: expected at most {most} bytes, found {size}");
        let again = build(&["--offline"]);
        assert_eq!(again["digest"], built["digest"], "{name}: offline, from what the store has");

        let port = free_port();
        let mut command =
            bench.home.microbuild(["run", "example:1", "-q", "-e", &format!("PORT={port}"), "-e", "NAME=tests"]);
        let mut server = Process::spawn(&mut command).expect("microbuild run");
        let answer = get(port).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(answer["message"], "Hello, tests!", "{name}");
        assert_eq!(answer["user"], "nonroot", "{name}");
        let pid = server.child().id().to_string();
        run(Command::new("kill").args(["-TERM", &pid])).succeeds();
        let status = server.child().wait().expect("an end");
        assert!(matches!(status.code(), Some(0 | 143)), "{name}: it ends when it is asked to: {status}");

        let mut dev = microbuild(&["dev", name, &text(&app), "-q"]);
        let said = run(dev.arg("--").args(*asks));
        let all = format!("{}{}", said.succeeds(), said.stderr);
        assert!(all.contains(word), "{name}: {all}");
    }
}

#[test]
fn go() {
    Language { name: "go", release: "bookworm", most: 3_000_000, version: (&["go", "version"], "go version go1.") }
        .check();
}

#[test]
fn perl() {
    Language { name: "perl", release: "bookworm", most: 15_000_000, version: (&["perl", "-v"], "This is perl 5") }
        .check();
}

#[test]
fn php() {
    Language { name: "php", release: "bookworm", most: 24_500_000, version: (&["php", "-v"], "PHP 8.") }.check();
}

#[test]
fn python() {
    Language { name: "python", release: "bookworm", most: 18_000_000, version: (&["python3", "-V"], "Python 3.") }
        .check();
}

#[test]
fn ruby() {
    Language { name: "ruby", release: "bookworm", most: 16_000_000, version: (&["ruby", "-v"], "ruby 3.") }.check();
}

/// bookworm's Cargo asks for an index that is not reached everywhere.
#[test]
fn rust() {
    Language { name: "rust", release: "trixie", most: 2_000_000, version: (&["cargo", "-V"], "cargo 1.") }.check();
}
