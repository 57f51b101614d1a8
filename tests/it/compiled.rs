//! Apps in compiled languages, as people have them: data beside programs, several programs, modules, flags, C libraries.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::deb_mirror::has_release;
use crate::support::{
    Finished, Process, free_port, run, tools, wait_for,
    workbench::{Workbench, app, json, text},
};

/// A bench with the packages of `release`, where programs can be run here.
#[track_caller]
fn bench(release: &str) -> Option<Workbench> {
    tools(["runc"])?;
    has_release(release, "amd64").then(|| Workbench::debian(release))
}

/// Builds the app in `dir` as `built:1`, with these options and variables.
fn try_build(bench: &Workbench, dir: &Path, options: &[&str], variables: &[(&str, &str)]) -> Finished {
    let mut command = bench.home.microbuild(["build", &text(dir), "-t", "built:1", "--json"]);
    bench.sources(&mut command).args(options).envs(variables.iter().copied());
    run(&mut command)
}

#[track_caller]
fn build(bench: &Workbench, dir: &Path, options: &[&str], variables: &[(&str, &str)]) -> Value {
    json(&try_build(bench, dir, options, variables))
}

/// What the image prints when it is started with these arguments.
#[track_caller]
fn said(bench: &Workbench, arguments: &[&str]) -> String {
    let mut command = bench.home.microbuild(["run", "-q", "built:1"]);
    if !arguments.is_empty() {
        command.arg("--").args(arguments);
    }
    run(&mut command).succeeds().to_owned()
}

/// The titles of the image's layers.
fn layers(built: &Value) -> Vec<&str> {
    let layers = built["layers"].as_array().expect("layers");
    layers.iter().filter_map(|layer| layer["title"].as_str()).collect()
}

const MODULE: &str = "module example.org/shop\n\ngo 1.19\n";

/// Samples g01, g03 and g08.
#[test]
fn a_go_program_has_its_templates_its_flags_and_its_arguments() {
    let Some(bench) = bench("bookworm") else { return };
    let main = "package main\n\nimport (\n\t\"html/template\"\n\t\"os\"\n)\n\nvar version = \"dev\"\n\nfunc main() {\n\
                \tpage := template.Must(template.ParseFiles(\"templates/index.html\"))\n\
                \tpage.Execute(os.Stdout, append(os.Args[1:], version))\n}\n";
    let files = [
        ("go.mod", MODULE),
        ("main.go", main),
        ("templates/index.html", "{{.}}\n"),
        ("app/notes.md", ""),
        ("README.md", ""),
    ];
    let dir = app(&bench.path("app"), &files);
    let built = build(&bench, &dir, &[], &[]);
    assert_eq!(said(&bench, &["--help"]), "[--help dev]\n");
    assert!(layers(&built).contains(&"data"), "{built}");
    build(&bench, &dir, &[], &[("GOFLAGS", "'-ldflags=-X main.version=v1' -tags=x")]);
    assert_eq!(said(&bench, &[]), "[v1]\n");
    // A folder of data has the name that the program would have.
    let built = build(&bench, &dir, &["--keep", "app"], &[("GO_LDFLAGS", "-X main.version=v2")]);
    assert_eq!(said(&bench, &[]), "[v2]\n", "{built}");
    let built = build(&bench, &dir, &["--exclude", "templates"], &[]);
    assert!(!layers(&built).contains(&"data"), "{built}");
}

/// Sample g02: the driver does nothing without its C code.
#[test]
fn c_code_that_a_go_package_cannot_do_without_is_compiled() {
    let Some(bench) = bench("bookworm") else { return };
    let stub =
        "//go:build !cgo\n\npackage half\n\nfunc Answer() int { panic(\"this is a stub: half requires cgo\") }\n";
    let whole = "package half\n\n// static int answer(void) { return 42; }\nimport \"C\"\n\nfunc Answer() int { return int(C.answer()) }\n";
    let main = "package main\n\nimport \"example.org/shop/half\"\n\nfunc main() { println(half.Answer()) }\n";
    let files = [("go.mod", MODULE), ("main.go", main), ("half/stub.go", stub), ("half/whole.go", whole)];
    let dir = app(&bench.path("app"), &files);
    build(&bench, &dir, &[], &[]);
    let finished = bench.microbuild(["run", "-q", "built:1"]);
    finished.succeeds();
    assert_eq!(finished.stderr, "42\n");
}

/// The choice is told before anything is fetched: there is no runtime, and no network.
#[test]
fn several_programs_are_told_before_anything_is_fetched() {
    let bench = Workbench::fake();
    let main = "package main\n\nfunc main() {}\n";
    let dir = app(&bench.path("go"), &[("go.mod", MODULE), ("cmd/a/main.go", main), ("cmd/b/main.go", main)]);
    let tried = |dir: &PathBuf, recipe: &str| {
        let mut command = bench.home.microbuild(["build", &text(dir), "--offline"]);
        bench.sources(&mut command);
        let finished = run(&mut command);
        assert_ne!(finished.code, Some(0), "{recipe}");
        finished.stderr
    };
    let told = tried(&dir, "go");
    assert!(told.contains("found ./cmd/a, ./cmd/b") && told.contains("GO_MAIN=./cmd/a"), "{told}");
    let manifest = "[package]\nname = 'shop'\nversion = '1.0.0'\nedition = '2021'\n";
    let main = "fn main() {}\n";
    let dir = app(&bench.path("rust"), &[("Cargo.toml", manifest), ("src/bin/a.rs", main), ("src/bin/b.rs", main)]);
    let told = tried(&dir, "rust");
    assert!(told.contains("found a, b") && told.contains("CARGO_BIN=a"), "{told}");
    let pom = "<project><artifactId>a</artifactId><packaging>war</packaging></project>";
    let told = tried(&app(&bench.path("war"), &[("pom.xml", pom)]), "java");
    assert!(told.contains("found a war") && told.contains("Spring Boot's Maven plugin"), "{told}");
}

/// Corpus 15, 22 and 24.
#[test]
fn c_programs_stand_alone_have_their_data_and_are_chosen() {
    let Some(bench) = bench("bookworm") else { return };
    let reader = "#include <fstream>\n#include <iostream>\nint main(int, char **a) { std::cout << std::ifstream(\"data.txt\").rdbuf() << (a[1] ? a[1] : \"\"); }\n";
    let dir = app(&bench.path("one"), &[("hello.C", reader), ("data.txt", "text ")]);
    let built = build(&bench, &dir, &["--include", "data.txt"], &[]);
    assert_eq!(built["recipe"], "gcc");
    assert_eq!(said(&bench, &["--help"]), "text --help");

    let program = |name: &str| format!("#include <stdio.h>\nint main(void) {{ puts(\"{name}\"); return 0; }}\n");
    let (one, two) = (program("one"), program("two"));
    let make = "all: one two\none: one.c\n\t$(CC) -o one one.c\ntwo: two.c\n\t$(CC) -o two two.c\n";
    let files = [("Makefile", make), ("one.c", &one), ("two.c", &two), ("Procfile", "web: ./two\n")];
    let dir = app(&bench.path("two"), &files);
    build(&bench, &dir, &[], &[]);
    assert_eq!(said(&bench, &[]), "two\n");
    fs::remove_file(dir.join("Procfile")).expect("a file");
    build(&bench, &dir, &[], &[("BINARY", "one")]);
    assert_eq!(said(&bench, &[]), "one\n");
}

/// Corpus 16, in the shape of sample A11: the hint is followed where Go can.
#[test]
fn a_later_go_is_named() {
    let Some(bench) = bench("bookworm") else { return };
    let files =
        [("go.mod", "module x\n\ngo 1.99\n"), ("main.go", "package main\n\nimport \"nothere\"\n\nfunc main() {}\n")];
    let finished = try_build(&bench, &app(&bench.path("app"), &files), &[], &[]);
    assert!(finished.stderr.contains("--base debian:trixie has 1.24"), "{}", finished.stderr);
}

/// Sample r03: the commit that a build script asks git for. Sample K12: flags.
#[test]
fn a_build_script_knows_the_commit() {
    if tools(["git"]).is_none() {
        return;
    }
    let Some(bench) = bench("trixie") else { return };
    let manifest = "[package]\nname = 'shop'\nversion = '1.0.0'\nedition = '2021'\n[features]\nloud = []\n";
    let script = "fn main() {\n    let git = std::process::Command::new(\"git\").args([\"rev-parse\", \"--short\", \"HEAD\"]).output().unwrap();\n\
                  \x20   assert!(git.status.success(), \"{git:?}\");\n    println!(\"cargo:rustc-env=COMMIT={}\", String::from_utf8(git.stdout).unwrap().trim());\n}\n";
    let main = "fn main() { println!(\"{} {}\", env!(\"COMMIT\"), cfg!(feature = \"loud\")); }\n";
    let dir = app(&bench.path("app"), &[("Cargo.toml", manifest), ("build.rs", script), ("src/main.rs", main)]);
    let git = |words: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(&dir).args(["-c", "user.name=a", "-c", "user.email=a@example.org"]).args(words);
        run(&mut command).succeeds().to_owned()
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "a"]);
    let commit = git(&["rev-parse", "HEAD"]);
    build(&bench, &dir, &[], &[("CARGO_FEATURES", "loud")]);
    assert_eq!(said(&bench, &[]), format!("{} true\n", &commit[..7]));
}

/// Corpus 13 (A13), samples j03 and j07, and the data of an app without sources.
#[test]
fn an_ignore_file_for_the_image_is_not_for_the_compiler() {
    let Some(bench) = bench("bookworm") else { return };
    let main = "import java.text.NumberFormat;\nimport java.util.Locale;\n\npublic class Main {\n    public static void main(String[] a) {\n\
                \x20       System.out.println(NumberFormat.getInstance(Locale.GERMANY).format(1234.5) + a.length);\n    }\n}\n";
    let pom = |release: &str| {
        format!(
            "<project>\n<modelVersion>4.0.0</modelVersion><groupId>a</groupId><artifactId>a</artifactId><version>1</version>\n<properties>\
             <maven.compiler.source>{release}</maven.compiler.source><maven.compiler.target>{release}</maven.compiler.target></properties>\n</project>\n"
        )
    };
    let ignored = (".dockerignore", "*\n!target/*.jar\n");
    let dir = app(&bench.path("app"), &[("pom.xml", &pom("17")), ("src/main/java/Main.java", main), ignored]);
    let finished = try_build(&bench, &dir, &[], &[]);
    assert!(finished.stderr.contains("the ignore file leaves out pom.xml"), "{}", finished.stderr);
    assert_eq!(json(&finished)["recipe"], "java");
    assert_eq!(said(&bench, &["--help"]), "1.234,51\n");
    fs::write(dir.join("pom.xml"), pom("21")).expect("a file");
    let finished = try_build(&bench, &dir, &[], &[]);
    assert!(finished.stderr.contains("--base debian:trixie has 21"), "{}", finished.stderr);
}

/// The example `name`, which listens, in a root filesystem that cannot be written to: its answer to `GET PATH`. It ends when it is asked to.
#[track_caller]
fn answer(bench: &Workbench, name: &str, path: &str, layer: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let built = build(bench, &dir, &[], &[]);
    assert!(layers(&built).contains(&layer), "{name}: {built}");
    let port = free_port();
    let variables = [format!("PORT={port}"), "NAME=tests".to_owned()];
    let mut command = bench.home.microbuild(["run", "built:1", "-q", "-e", &variables[0], "-e", &variables[1]]);
    let mut server = Process::spawn(&mut command).expect("microbuild run");
    let found = wait_for(Duration::from_secs(120), || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    });
    let asked = Instant::now();
    let pid = server.child().id().to_string();
    run(Command::new("kill").args(["-TERM", &pid])).succeeds();
    let status = server.child().wait().expect("an end");
    assert!(matches!(status.code(), Some(0 | 143)), "{name}: it ends when it is asked to: {status}");
    assert!(asked.elapsed() < Duration::from_secs(10), "{name}: it ends soon");
    found.unwrap_or_else(|| panic!("{name}: nothing answers"))
}

#[test]
fn the_example_of_go_with_templates_answers() {
    let Some(bench) = bench("bookworm") else { return };
    assert!(answer(&bench, "go-templates", "/", "data").contains("Hello, tests!"));
    assert!(answer(&bench, "go-templates", "/static/style.css", "data").contains("sans-serif"));
}

/// Sample j04: the module that has a main class.
#[test]
fn the_example_of_two_maven_modules_answers() {
    let Some(bench) = bench("bookworm") else { return };
    let found = answer(&bench, "maven-multi", "/", "lib");
    assert!(found.contains("Hello, tests!") && found.contains("nonroot"), "{found}");
}

/// Sample j01: no tools for development are in the image.
#[test]
fn the_example_of_spring_boot_answers() {
    let Some(bench) = bench("bookworm") else { return };
    let found = answer(&bench, "spring-boot", "/", "lib");
    assert!(found.contains("Hello, tests!") && found.contains("nonroot"), "{found}");
    let layout = bench.path("layout");
    bench.microbuild(["export", "built:1", &format!("oci:{}:app", layout.display())]).succeeds();
    let mut names = String::new();
    for blob in fs::read_dir(layout.join("blobs/sha256")).expect("blobs") {
        let listed = run(Command::new("tar").arg("-tzf").arg(blob.expect("a blob").path()));
        names.push_str(&listed.stdout);
    }
    assert!(names.contains("app/lib/spring-web-"), "{names}");
    assert!(!names.contains("devtools"), "{names}");
}

/// Sample r01: a library of C that has no other way than to be shared.
#[test]
fn a_rust_program_with_shared_libraries_has_them() {
    let Some(bench) = bench("trixie") else { return };
    let manifest =
        "[package]\nname = 'shop'\nversion = '1.0.0'\nedition = '2021'\n[dependencies]\nopenssl = '0.10.68'\n";
    let main = "fn main() { println!(\"{}\", openssl::version::version()); }\n";
    let dir = app(&bench.path("app"), &[("Cargo.toml", manifest), ("src/main.rs", main)]);
    build(&bench, &dir, &["--dev-package", "libssl-dev"], &[]);
    assert!(said(&bench, &[]).starts_with("OpenSSL 3"));
}

/// Sample r04: bookworm's Cargo does not read what a later one wrote.
#[test]
fn a_lock_file_of_a_later_cargo_is_explained() {
    let Some(bench) = bench("bookworm") else { return };
    let manifest = "[package]\nname = 'shop'\nversion = '1.0.0'\nedition = '2021'\n";
    let lock = "version = 4\n\n[[package]]\nname = \"shop\"\nversion = \"1.0.0\"\n";
    let files = [("Cargo.toml", manifest), ("Cargo.lock", lock), ("src/main.rs", "fn main() {}\n")];
    let finished = try_build(&bench, &app(&bench.path("app"), &files), &[], &[]);
    assert!(finished.stderr.contains("a later Cargo wrote Cargo.lock"), "{}", finished.stderr);
}
