//! Examples of apps that are built: found by their files, built in the dev variant, run read-only as nonroot, asked over HTTP.

use std::{collections::BTreeMap, path::Path, process::Command};

use super::deb_mirror::has_release;
use crate::support::{
    Process, free_port, run, tools,
    workbench::{Workbench, ask, json as json_of, text},
};

/// What is expected of an example.
struct Example {
    /// The example's folder.
    name: &'static str,
    /// The recipe that its files speak for.
    recipe: &'static str,
    /// The most that its image may weigh, in bytes.
    most: u64,
    /// The port that it listens on; `None` for the one in `PORT`.
    port: Option<u16>,
    /// Paths, with the status of the answer and a word in it.
    answers: &'static [(&'static str, u16, &'static str)],
    /// Words of paths that the image must not have.
    without: &'static [&'static str],
}

impl Example {
    #[track_caller]
    fn check(&self) {
        let Self { name, recipe, most, port, answers, without } = self;
        if tools(["runc"]).is_none() || !has_release("bookworm", "amd64") {
            return;
        }
        let bench = Workbench::debian("bookworm");
        let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
        let build = || {
            let mut command = bench.home.microbuild(&["build", &text(&app), "-t", "example:1", "--json"]);
            bench.sources(&mut command);
            json_of(&run(&mut command))
        };
        let built = build();
        assert_eq!(built["recipe"], *recipe, "{name}");
        let size = built["size"].as_u64().expect("a size");
        assert!(size <= *most, "{name}: expected at most {most} bytes, found {size}");
        assert_eq!(build()["digest"], built["digest"], "{name}: nothing changed");

        let paths = bench.paths_of("example:1");
        for word in *without {
            let found: Vec<_> = paths.iter().filter(|path| path.contains(word)).collect();
            assert!(found.is_empty(), "{name}: {word} is in the image: {found:?}");
        }
        let (told, port) = match port {
            Some(port) => (*port, *port),
            None => (free_port(), 0),
        };
        let port = if port == 0 { told } else { port };
        let variable = format!("PORT={port}");
        let mut command = bench.home.microbuild(&["run", "example:1", "-q", "-e", &variable, "-e", "NAME=tests"]);
        let mut server = Process::spawn(&mut command).expect("microbuild run");
        for (path, status, word) in *answers {
            let answer = ask(port, path, &BTreeMap::new()).unwrap_or_else(|why| panic!("{name}: {why}"));
            assert_eq!(answer.status, *status, "{name}: {path}");
            assert!(answer.body.contains(word), "{name}: {path}: {}", answer.body);
        }
        let pid = server.child().id().to_string();
        run(Command::new("kill").args(["-TERM", &pid])).succeeds();
        let status = server.child().wait().expect("an end");
        assert!(matches!(status.code(), Some(0 | 143)), "{name}: it ends when it is asked to: {status}");
    }
}
