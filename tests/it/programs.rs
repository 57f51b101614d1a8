//! `microbuild static`: programs that were built elsewhere, with the libraries that they are linked with.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::deb_mirror::has_release;
use crate::support::{
    run, tools,
    workbench::{Workbench, json, text},
};

const PROGRAM: &str = "#include <math.h>\n#include <stdio.h>\n#include <unistd.h>\n\
    int main(int count, char **words) { printf(\"%.3f of %d\\n\", sqrt(count), getuid()); return 0; }\n";

/// The program, compiled for this machine by its own compiler.
fn compiled(bench: &Workbench, name: &str, options: &[&str]) -> PathBuf {
    let source = bench.path("program.c");
    fs::write(&source, PROGRAM).expect("a file");
    let program = bench.path(name);
    run(Command::new("cc").arg(&source).args(["-O1", "-o"]).arg(&program).args(options).arg("-lm")).succeeds();
    program
}

/// `microbuild RECIPE PATH` with packages from the bench's mirror. The recipe is the program's own, less time zones, which the tests'
/// mirror has not.
fn build(bench: &Workbench, path: &Path, options: &[&str]) -> Command {
    let recipe = bench.path("recipes/static.toml");
    if !recipe.exists() {
        let own = bench.microbuild(["recipes", "static"]).succeeds().replace(", \"tzdata\"", "");
        fs::create_dir_all(bench.path("recipes")).expect("a folder");
        fs::write(&recipe, own.replace("\n    \"tzdata\",", "")).expect("a file");
    }
    let mut command = bench.home.microbuild([text(&recipe), text(path)]);
    bench.sources(&mut command).args(["-t", "program:1"]).args(options);
    command
}

#[test]
fn a_programs_libraries_are_this_machines_on_scratch() {
    let (Some(bench), Some(_)) = (Workbench::alpine(), tools(["runc", "cc"])) else { return };
    for (name, options, layers) in
        [("linked", &[][..], &["system", "libraries", "app"][..]), ("static", &["-static"], &["system", "app"])]
    {
        let program = compiled(&bench, name, options);
        let built = json(&run(build(&bench, &program, &["--json"]).args(["--base", "scratch"])));
        let titles: Vec<&str> =
            built["layers"].as_array().expect("layers").iter().filter_map(|layer| layer["title"].as_str()).collect();
        assert_eq!(titles, layers, "{name}");
        assert!(built["size"].as_u64().expect("a size") < 3_000_000, "{name}: {}", built["size"]);
        let said = bench.microbuild(["run", "-q", "program:1", "--", "a", "b", "c"]);
        assert_eq!(said.succeeds(), "2.000 of 65532\n", "{name}");
    }
}

#[test]
fn or_debians() {
    if tools(["runc", "cc"]).is_none() || !has_release("bookworm", "amd64") {
        return;
    }
    let bench = Workbench::debian("bookworm");
    let program = compiled(&bench, "linked", &[]);
    let built = json(&run(&mut build(&bench, &program, &["--json"])));
    assert!(built["size"].as_u64().expect("a size") < 2_500_000, "{}", built["size"]);
    let names: Vec<&str> =
        built["packages"].as_array().expect("packages").iter().filter_map(|row| row["name"].as_str()).collect();
    assert!(names.contains(&"libc6"), "scanners see whose libraries these are: {names:?}");
    let oci = bench.path("oci");
    bench.microbuild(["export", "program:1", &format!("oci:{}", text(&oci))]).succeeds();
    assert_eq!(bench.microbuild(["run", "-q", "program:1"]).succeeds(), "1.000 of 65532\n");
}

#[test]
fn what_is_no_program_or_lacks_something_is_told() {
    let (Some(bench), Some(_)) = (Workbench::alpine(), tools(["cc"])) else { return };
    let folder = bench.path("folder");
    fs::create_dir(&folder).expect("a folder");
    let library = folder.join("libown.so.1");
    fs::write(bench.path("own.c"), "int own() { return 7; }\n").expect("a file");
    fs::write(bench.path("main.c"), "int own(); int main() { return own(); }\n").expect("a file");
    let cc = |words: &[&str]| run(Command::new("cc").args(words)).succeeds().to_owned();
    let (own, main) = (text(&bench.path("own.c")), text(&bench.path("main.c")));
    cc(&["-shared", "-fPIC", &own, "-o", &text(&library), "-Wl,-soname,libown.so.1"]);
    cc(&[&main, &text(&library), "-o", &text(&folder.join("main"))]);
    fs::write(bench.path("script"), "#!/usr/bin/python3 -u\nprint()\n").expect("a file");
    fs::write(bench.path("text"), "words\n").expect("a file");

    let fails = |path: &Path, options: &[&str]| {
        let finished = run(build(&bench, path, options).args(["--base", "scratch"]));
        finished.exits(1);
        finished.stderr
    };
    let error = fails(&bench.path("script"), &[]);
    assert!(error.contains("found a script for /usr/bin/python3 -u, which would not be in the image"), "{error}");
    let error = fails(&bench.path("text"), &[]);
    assert!(error.contains("expected a program of Linux (ELF), found something that Linux does not run"), "{error}");
    let error = fails(&folder, &[]);
    assert!(error.contains("app/main needs libown.so.1, which is app/libown.so.1, where its loader"), "{error}");
    fs::copy(folder.join("main"), bench.path("alone")).expect("a copy");
    let error = fails(&bench.path("alone"), &[]);
    assert!(error.contains("app/alone needs libown.so.1, which is in no folder"), "{error}");
    assert!(error.contains("hint: install it on this machine"), "{error}");
    let error = fails(&bench.path("alone"), &["--platform", "linux/arm64"]);
    assert!(error.contains("expected a program for linux/arm64, found app/alone for another processor"), "{error}");

    // With the folder of its library it is whole.
    run(build(&bench, &folder, &["--base", "scratch"]).args(["--env", "LD_LIBRARY_PATH=/app"])).succeeds();
    if tools(["runc"]).is_some() {
        assert_eq!(bench.microbuild(["run", "-q", "program:1"]).code, Some(7));
    }
}

#[test]
fn a_folder_of_files_is_an_image_too() {
    let Some(bench) = Workbench::alpine() else { return };
    let folder = bench.path("site");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("index.html"), "<p>hello").expect("a file");
    let finished = run(build(&bench, &folder, &[]).args(["--base", "scratch"]));
    finished.succeeds();
    assert!(finished.stderr.contains("there is no program to be started"), "{}", finished.stderr);
}

/// A recipe whose compiler is a copy of ls, and of a library of ls.
const COPIED: &str = r#"
name = "copied"
description = "what lies in the dev variant"
version_from = "base-files"

[base.debian]
packages = ["base-files", "libselinux1"]
strip = ["/usr/lib/*/libselinux*"]
dev = ["coreutils", "dash"]

[[step]]
name = "compile"
run = ["sh", "-ec", "cp /bin/ls $OUT/; mkdir $OUT/own; cp /lib/*/libselinux.so.1 $OUT/own/"]
keep = ["{out}/own", "{out}"]

[app]
made = true
cmd = ["./ls", "/app"]
"#;

#[test]
fn what_was_compiled_runs_wherever_its_libraries_come_from() {
    if tools(["runc"]).is_none() || !has_release("bookworm", "amd64") {
        return;
    }
    let bench = Workbench::debian("bookworm");
    let recipe = bench.path("copied.toml");
    fs::write(&recipe, COPIED).expect("a file");
    fs::create_dir(bench.path("app")).expect("a folder");
    fs::write(bench.path("app/source"), "a").expect("a file");
    let build = |options: &[&str]| {
        let mut command = bench.home.microbuild([text(&recipe), text(&bench.path("app"))]);
        json(&run(bench.sources(&mut command).args(["--json", "-t", "copied:1"]).args(options)))
    };
    // Its own library by LD_LIBRARY_PATH; then, of the same result, that of the package, which the recipe strips otherwise.
    for (options, own) in [(&["--env", "LD_LIBRARY_PATH=/app/own"][..], true), (&[], false)] {
        let built = build(options);
        assert_eq!(bench.microbuild(["run", "-q", "copied:1"]).succeeds(), "ls\nown\n", "own: {own}");
        let titles: Vec<_> =
            built["layers"].as_array().expect("layers").iter().filter_map(|layer| layer["title"].as_str()).collect();
        assert_eq!(titles, ["system", "own", "app"]);
        assert!(built["packages"].to_string().contains("libpcre2-8-0"), "{}", built["packages"]);
    }
}
