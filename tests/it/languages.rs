//! Each language's example on a base whose packages can be had here: built by the recipe that its files speak for, run, asked.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use microbuild::internals::recipe::RecipeSearch;

use super::{apk_solver::real_index, deb_mirror::has_release};
use crate::support::{
    Process, free_port,
    mirror_server::MirrorServer,
    run,
    syft::Scan,
    tools,
    workbench::{Workbench, app, get, json as json_of, text},
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
        self.check_runtime(&bench, &built);
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

/// What a step puts into the image and what runs the app there, by recipe: the kind of package, and the beginning of its name.
const RUNTIMES: &[(&str, &str, &str)] = &[
    ("bun", "npm", "@oven/bun-linux-"),
    ("clojure", "deb", "openjdk-17-jre-headless "),
    ("deno", "npm", "@deno/linux-"),
    ("elixir", "deb", "elixir "),
    ("elixir", "deb", "erlang-base "),
    ("erlang", "deb", "erlang-base "),
    ("erlang", "deb", "erlang-inets "),
    ("haskell", "deb", "ghc "),
    ("java", "deb", "openjdk-17-jre-headless "),
    ("kotlin", "deb", "openjdk-17-jre-headless "),
    ("mono", "deb", "mono-runtime-common "),
    ("scala", "deb", "openjdk-17-jre-headless "),
];

impl Language {
    /// A scanner sees the runtime, and so do `--json` and the licences.
    fn check_runtime(&self, bench: &Workbench, built: &serde_json::Value) {
        let runtimes: Vec<_> = RUNTIMES.iter().filter(|(name, ..)| *name == self.name).collect();
        if runtimes.is_empty() {
            return;
        }
        let layout = bench.path("scanned");
        bench.microbuild(["export", "example:1", &format!("oci:{}:app", layout.display())]).succeeds();
        let Some(scan) = Scan::of(&bench.home, &layout) else { return };
        for (_, kind, name) in runtimes {
            let found = scan.packages(kind);
            assert!(found.iter().any(|package| package.starts_with(name)), "{}: {name}: {found:?}", self.name);
            let packages = built["packages"].as_array().expect("packages");
            let listed = packages.iter().any(|package| package["name"] == name.trim_end());
            assert_eq!(listed, *kind == "deb", "{}: {name} in --json", self.name);
        }
    }
}

/// What recipes ask for that is not in Alpine's main repository, but in community: there is no index of that here.
const COMMUNITY: &[&str] = &[
    "aspnetcore8-runtime",
    "cabal",
    "cargo",
    "composer",
    "crystal",
    "deno",
    "dotnet8-sdk",
    "elixir",
    "erlang",
    "erlang-dev",
    "ghc",
    "go",
    "gradle",
    "leiningen",
    "luarocks5.4",
    "maven",
    "mono",
    "mono-dev",
    "npm",
    "openjdk21-jdk",
    "openjdk21-jmods",
    // Of releases after that of the index.
    "pcre2-static",
    "perl-app-cpanminus",
    "py3-pip",
    "rebar3",
    "rust",
    "shards",
];

#[test]
fn alpine_has_the_packages_that_recipes_name() {
    let Some(index) = real_index("v3.17/main/aarch64") else { return };
    let provided = index.records.iter().flat_map(|record| record.provides.iter().map(|provide| provide.name.as_str()));
    let names: BTreeSet<&str> = index.records.iter().map(|record| record.name.as_str()).chain(provided).collect();
    for recipe in RecipeSearch::default().all().expect("recipes") {
        for packages in [&recipe.base.alpine, &recipe.base.scratch].into_iter().flatten() {
            let all = packages.packages.iter().chain(&packages.dev).chain(&packages.compile);
            for name in all.map(|wish| wish.split(['~', '<', '>', '=']).next().unwrap_or(wish)) {
                // PHP's packages are called after its version, which is another one in each release.
                let known = names.contains(name) || COMMUNITY.contains(&name) || name.starts_with("php84");
                assert!(known, "{}: {name}", recipe.name);
            }
        }
    }
}

/// README's table, which `tests/sizes` prints, has a row for each language.
#[test]
fn every_language_has_an_example_and_a_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).expect("README");
    for recipe in RecipeSearch::default().all().expect("recipes") {
        let name = recipe.name.as_str();
        if ["base", "dotnet", "static"].contains(&name) {
            continue;
        }
        assert!(root.join("examples").join(name).is_dir(), "examples/{name}");
        assert!(readme.lines().any(|line| line.starts_with(&format!("| {name} | "))), "{name} in README's table");
    }
}

#[test]
fn base() {
    Language { name: "base", release: "bookworm", most: 1_550_000, version: (&["cat", "/etc/debian_version"], "12.") }
        .check();
}

/// Its npm fetches Bun.
#[test]
fn bun() {
    Language { name: "bun", release: "bookworm", most: 57_000_000, version: (&["npm", "--version"], ".") }.check();
}

/// Its npm fetches Deno.
#[test]
fn deno() {
    Language { name: "deno", release: "bookworm", most: 47_000_000, version: (&["npm", "--version"], ".") }.check();
}

#[test]
fn crystal() {
    Language {
        name: "crystal",
        release: "bookworm",
        most: 5_000_000,
        version: (&["crystal", "--version"], "Crystal 1."),
    }
    .check();
}

#[test]
fn elixir() {
    Language { name: "elixir", release: "bookworm", most: 8_500_000, version: (&["elixir", "--version"], "Elixir 1.") }
        .check();
}

#[test]
fn erlang() {
    Language {
        name: "erlang",
        release: "bookworm",
        most: 7_100_000,
        version: (&["rebar3", "version"], "on Erlang/OTP"),
    }
    .check();
}

#[test]
fn gcc() {
    Language { name: "gcc", release: "bookworm", most: 1_800_000, version: (&["gcc", "--version"], "gcc (") }.check();
}

#[test]
fn clojure() {
    Language {
        name: "clojure",
        release: "bookworm",
        most: 37_000_000,
        version: (&["lein", "version"], "Leiningen 2."),
    }
    .check();
}

#[test]
fn go() {
    Language { name: "go", release: "bookworm", most: 3_000_000, version: (&["go", "version"], "go version go1.") }
        .check();
}

#[test]
fn haskell() {
    Language {
        name: "haskell",
        release: "bookworm",
        most: 2_850_000,
        version: (&["cabal", "--version"], "cabal-install version"),
    }
    .check();
}

#[test]
fn java() {
    Language { name: "java", release: "bookworm", most: 23_000_000, version: (&["java", "--version"], "openjdk 17.") }
        .check();
}

#[test]
fn kotlin() {
    Language { name: "kotlin", release: "bookworm", most: 22_300_000, version: (&["mvn", "--version"], "Maven 3.") }
        .check();
}

#[test]
fn lua() {
    Language {
        name: "lua",
        release: "bookworm",
        most: 3_200_000,
        version: (&["luarocks-5.4", "--version"], "LuaRocks"),
    }
    .check();
}

#[test]
fn mono() {
    Language {
        name: "mono",
        release: "bookworm",
        most: 14_900_000,
        version: (&["mcs", "--version"], "Mono C# compiler"),
    }
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

#[test]
fn scala() {
    Language { name: "scala", release: "bookworm", most: 28_200_000, version: (&["java", "--version"], "openjdk 17.") }
        .check();
}

#[test]
fn shell() {
    Language { name: "shell", release: "bookworm", most: 9_500_000, version: (&["sh", "-c", "echo $0"], "sh") }.check();
}

/// Its pip fetches Zig.
#[test]
fn zig() {
    Language { name: "zig", release: "bookworm", most: 1_500_000, version: (&["python3", "-V"], "Python 3.") }.check();
}

/// A server of rocks: `greet` in two versions, a part of which is written in C.
fn rocks(dir: &Path) -> MirrorServer {
    const MODULE: &str =
        "#include <lua.h>\nint luaopen_greet_core(lua_State *L) { lua_pushliteral(L, \"hello\"); return 1; }\n";
    let server = MirrorServer::start(dir);
    let versions = ["1.0-1", "1.1-1"];
    for version in versions {
        let lua = format!("return require('greet.core') .. ' from {version}'\n");
        let name = format!("greet-{version}");
        app(&dir.join(&name), &[("greet.lua", &lua), ("core.c", MODULE)]);
        let archive = dir.join(format!("{name}.tar.gz"));
        run(Command::new("tar").arg("-C").arg(dir).arg("-czf").arg(archive).arg(name)).succeeds();
        let rockspec = format!(
            "package = 'greet'\nversion = '{version}'\nsource = {{ url = '{}/greet-{version}.tar.gz' }}\ndependencies = {{ 'lua >= 5.1' }}\n\
             build = {{ type = 'builtin', modules = {{ greet = 'greet.lua', ['greet.core'] = 'core.c' }} }}\n",
            server.url()
        );
        fs::write(dir.join(format!("greet-{version}.rockspec")), rockspec).expect("a file");
    }
    let listed = versions.map(|version| format!("['{version}'] = {{ {{ arch = 'rockspec' }} }}")).join(", ");
    let manifest = format!("commands = {{}}\nmodules = {{}}\nrepository = {{ greet = {{ {listed} }} }}\n");
    fs::write(dir.join("manifest-5.4"), manifest).expect("a file");
    server
}

#[test]
fn rocks_are_installed_as_the_rockspec_or_its_lock_says() {
    if tools(["runc", "tar"]).is_none() || !has_release("bookworm", "amd64") {
        return;
    }
    let bench = Workbench::debian("bookworm");
    let server = rocks(&bench.path("rocks"));
    let settings = bench.path("settings.lua");
    fs::write(&settings, format!("rocks_servers = {{ '{}' }}\n", server.url())).expect("a file");
    let rockspec = "rockspec_format = '3.0'\npackage = 'shop'\nversion = '2.0-1'\nsource = { url = 'git://example.com/shop' }\ndependencies = { 'lua >= 5.3', 'greet >= 1.0' }\n";
    let dir = app(&bench.path("app"), &[("shop-2.0-1.rockspec", rockspec), ("main.lua", "print((require 'greet'))\n")]);
    let build = || {
        let secret = format!("id=luarocks,src={}", settings.display());
        let mut command = bench.home.microbuild(["build", &text(&dir), "-t", "rocks:1", "--json", "--secret", &secret]);
        json_of(&run(bench.sources(&mut command)))
    };
    let built = build();
    assert_eq!(built["recipe"], "lua");
    assert_eq!(bench.microbuild(["run", "-q", "rocks:1"]).succeeds(), "hello from 1.1-1\n");
    assert_eq!(build()["digest"], built["digest"]);
    fs::write(dir.join("luarocks.lock"), "return { dependencies = { greet = '1.0-1' } }\n").expect("a file");
    build();
    assert_eq!(bench.microbuild(["run", "-q", "rocks:1"]).succeeds(), "hello from 1.0-1\n");
    assert!(!dir.join("lua_modules").exists(), "the app's folder is not touched");
}
