use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use super::*;
use crate::elf::{Class, testing::Draft};

const GLIBC: &str = "/lib64/ld-linux-x86-64.so.2";
const MUSL: &str = "/lib/ld-musl-x86_64.so.1";

/// A root filesystem under construction.
#[derive(Default)]
struct Fake {
    files: BTreeMap<String, Elf>,
    links: BTreeMap<String, String>,
    extra: Vec<String>,
    configured: Vec<String>,
}

impl Fake {
    /// Debian's: `/lib64` is a link, and so is the loader in it.
    fn glibc() -> Self {
        Self::default()
            .link("lib64", "usr/lib64")
            .link("lib", "usr/lib")
            .link("usr/lib64/ld-linux-x86-64.so.2", "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
            .file("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", Draft::new().soname("ld-linux-x86-64.so.2"))
            .file("usr/lib/x86_64-linux-gnu/libc.so.6", libc().needed("ld-linux-x86-64.so.2").interpreter(GLIBC))
    }

    /// Alpine's.
    fn musl() -> Self {
        let musl = Draft::new().soname("libc.musl-x86_64.so.1");
        Self::default().file("lib/ld-musl-x86_64.so.1", musl).link("lib/libc.musl-x86_64.so.1", "ld-musl-x86_64.so.1")
    }

    fn file(mut self, path: &str, elf: impl Into<Elf>) -> Self {
        self.files.insert(path.to_owned(), elf.into());
        self
    }

    fn link(mut self, path: &str, target: &str) -> Self {
        self.links.insert(path.to_owned(), target.to_owned());
        self
    }

    fn extra(mut self, folder: &str) -> Self {
        self.extra.push(folder.to_owned());
        self
    }

    fn configured(mut self, folder: &str) -> Self {
        self.configured.push(folder.to_owned());
        self
    }

    fn closure(&self) -> Closure<'_> {
        Closure { files: &self.files, root: self, extra: &self.extra, configured: &self.configured }
    }

    /// The missing libraries, as `FILE LIBRARY`, with the place of another copy.
    fn missing(&self) -> Vec<String> {
        let missing = self.closure().missing();
        let text = |missing: &Missing| match &missing.reason {
            Reason::NoInterpreter => format!("{} interpreter {}", missing.file, missing.library),
            Reason::NotFound => format!("{} {}", missing.file, missing.library),
            Reason::NotALoader(_) => format!("{} no loader {}", missing.file, missing.library),
            Reason::Withheld => format!("{} withheld {}", missing.file, missing.library),
            Reason::OnlyElsewhere(path) => format!("{} {} at {path}", missing.file, missing.library),
        };
        missing.iter().map(text).collect()
    }

    fn needed_by(&self, program: &str) -> Vec<String> {
        self.closure().needed_by(program).expect("nothing is missing")
    }
}

impl Root for Fake {
    fn resolve(&self, path: &str) -> Option<String> {
        let mut at = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            if part == ".." {
                at.truncate(at.rfind('/').unwrap_or(0));
                continue;
            }
            let next = if at.is_empty() { part.to_owned() } else { format!("{at}/{part}") };
            at = match self.links.get(&next) {
                Some(target) if target.starts_with('/') => self.resolve(target)?,
                Some(target) => self.resolve(&format!("{at}/{target}"))?,
                None => next,
            };
        }
        let is_there = |name: &String| *name == at || name.starts_with(&format!("{at}/"));
        (at.is_empty() || self.files.keys().chain(self.links.keys()).any(is_there)).then_some(at)
    }

    fn link(&self, path: &str) -> Option<String> {
        self.links.get(path).cloned()
    }
}

fn libc() -> Draft {
    Draft::new().soname("libc.so.6")
}

/// A program for glibc.
fn program() -> Draft {
    Draft::new().interpreter(GLIBC).needed("libc.so.6")
}

const NONE: [&str; 0] = [];

#[test]
fn an_interpreter_is_a_loader() {
    let start = |interpreter: &str, root: Fake| {
        root.file("usr/bin/a", Draft::new().interpreter(interpreter).needed("libc.so.6")).missing()
    };
    let secret = || Fake::glibc().link("etc/link", "shadow").link("etc/shadow", "passwd").link("etc/passwd", "/");
    for (interpreter, expected) in [
        ("/etc/shadow", Some("usr/bin/a no loader /etc/shadow")),
        ("/usr/lib", Some("usr/bin/a no loader /usr/lib")),
        ("/nowhere", Some("usr/bin/a interpreter /nowhere")),
        ("usr/lib64/ld-linux-x86-64.so.2", Some("usr/bin/a no loader usr/lib64/ld-linux-x86-64.so.2")),
        ("/opt/plugin.so", Some("usr/bin/a no loader /opt/plugin.so")),
        ("/lib/foreign.so", Some("usr/bin/a no loader /lib/foreign.so")),
        ("/lib/fixed.so", Some("usr/bin/a no loader /lib/fixed.so")),
        ("/opt/glibc/lib/ld-linux-x86-64.so.2", None),
        ("/opt/link", None),
        ("//lib64/ld-linux-x86-64.so.2", None),
    ] {
        let root = secret()
            .file("opt/plugin.so", Draft::new())
            .file("usr/lib/foreign.so", Draft::new().machine(183))
            .file("usr/lib/fixed.so", Draft::new().kind(2))
            .file("opt/glibc/lib/ld-linux-x86-64.so.2", Draft::new())
            .link("opt/link", "/lib64/ld-linux-x86-64.so.2");
        assert_eq!(start(interpreter, root), Vec::from_iter(expected.map(str::to_owned)), "{interpreter}");
    }
}

#[test]
fn a_program_finds_what_lies_in_the_default_folders() {
    for folder in ["usr/lib/x86_64-linux-gnu", "usr/lib"] {
        let root = Fake::glibc().file("usr/bin/a", program().needed("libx.so.1"));
        let found = root.file(&format!("{folder}/libx.so.1"), Draft::new().needed("libc.so.6"));
        assert_eq!(found.missing(), NONE, "{folder}");
    }
    // Debian's loader knows libraries of 64 bits by their triplet only.
    let root = Fake::glibc().file("usr/bin/a", program().needed("libx.so.1"));
    let elsewhere = root.file("usr/lib64/libx.so.1", Draft::new());
    assert_eq!(elsewhere.missing(), ["usr/bin/a libx.so.1 at usr/lib64/libx.so.1"]);
    let root = Fake::glibc().file("usr/bin/a", program().needed("libx.so.1"));
    assert_eq!(root.missing(), ["usr/bin/a libx.so.1"]);
    let root = root.file("opt/libx.so.1", Draft::new());
    assert_eq!(root.missing(), ["usr/bin/a libx.so.1 at opt/libx.so.1"]);
    assert_eq!(root.extra("/opt/").missing(), NONE);
    let root = Fake::glibc().file("usr/bin/a", program().needed("libx.so.1").nodeflib());
    let root = root.file("usr/lib/libx.so.1", Draft::new()).file("opt/libx.so.1", Draft::new());
    let both = ["usr/bin/a libc.so.6 at usr/lib/x86_64-linux-gnu/libc.so.6", "usr/bin/a libx.so.1 at opt/libx.so.1"];
    assert_eq!(root.missing(), both);
    // Of the configured folders, those that are default folders do not count either.
    assert_eq!(root.configured("/usr/lib").configured("/opt").missing(), both[..1]);
}

#[test]
fn an_interpreter_must_be_there() {
    let root = Fake::default().file("a", Draft::new().interpreter(GLIBC));
    assert_eq!(root.missing(), ["a interpreter /lib64/ld-linux-x86-64.so.2"]);
    let dangling = root.link("lib64/ld-linux-x86-64.so.2", "../nowhere");
    assert_eq!(dangling.missing(), ["a interpreter /lib64/ld-linux-x86-64.so.2"]);
    assert_eq!(Fake::glibc().file("a", Draft::new().interpreter(GLIBC)).missing(), NONE);
    assert_eq!(Fake::default().file("a", Draft::new().statically()).missing(), NONE);
}

#[test]
fn rpath_is_inherited_and_runpath_is_not() {
    let root = |program: Draft, library: Draft| {
        let root = Fake::glibc().file("usr/bin/a", program.needed("libx.so"));
        root.file("opt/libx.so", library.needed("liby.so")).file("opt/liby.so", Draft::new())
    };
    assert_eq!(root(program().rpath("/opt"), Draft::new()).missing(), NONE);
    let lost = ["opt/libx.so liby.so at opt/liby.so"];
    assert_eq!(root(program().runpath("/opt"), Draft::new()).missing(), lost);
    // A program's RUNPATH puts its RPATH out of force; so does a library's own, for what the library needs.
    assert_eq!(
        root(program().rpath("/opt").runpath("/"), Draft::new()).missing(),
        ["usr/bin/a libx.so at opt/libx.so"]
    );
    assert_eq!(root(program().rpath("/opt"), Draft::new().runpath("/none")).missing(), lost);
    assert_eq!(root(program().runpath("/opt"), Draft::new().runpath("/opt")).missing(), NONE);
    let message = root(program().runpath("/opt"), Draft::new()).closure().missing()[0].to_string();
    assert_eq!(
        message,
        "opt/libx.so, which usr/bin/a loads, needs liby.so, which is opt/liby.so, where its loader does not search \
         (lib/x86_64-linux-gnu, usr/lib/x86_64-linux-gnu, lib, usr/lib)"
    );
}

#[test]
fn origin_is_the_folder_of_the_object_as_it_was_found() {
    let root = Fake::glibc()
        .file("opt/a/bin/a", program().needed("libx.so").runpath("$ORIGIN/../lib"))
        .link("usr/bin/a", "/opt/a/bin/a")
        .file("opt/a/lib/libx.so", Draft::new().needed("liby.so").runpath("${ORIGIN}"))
        .file("opt/a/lib/liby.so", Draft::new());
    assert_eq!(root.missing(), NONE);
    assert_eq!(
        root.needed_by("usr/bin/a"),
        [
            "lib",
            "lib64",
            "opt/a/bin/a",
            "opt/a/lib/libx.so",
            "opt/a/lib/liby.so",
            "usr/bin/a",
            "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
            "usr/lib/x86_64-linux-gnu/libc.so.6",
            "usr/lib64/ld-linux-x86-64.so.2",
        ]
    );
    // Through a link, the library looks beside the link.
    let mut linked = root;
    linked.files.insert("opt/b/libx.so".into(), Draft::new().needed("libz.so").runpath("$ORIGIN").elf());
    linked.files.insert("opt/b/libz.so".into(), Draft::new().elf());
    linked.files.remove("opt/a/lib/libx.so");
    let linked = linked.link("opt/a/lib/libx.so", "../../b/libx.so");
    assert_eq!(linked.missing(), ["opt/b/libx.so libz.so at opt/b/libz.so"]);
}

#[test]
fn what_is_loaded_is_found_by_its_soname() {
    // liby.so needs libx.so.1, which no folder has under that name, but which the program has loaded by its path.
    let root = Fake::glibc()
        .file("usr/bin/a", program().needed("/opt/libx-fast.so").needed("liby.so"))
        .file("opt/libx-fast.so", Draft::new().soname("libx.so.1"))
        .file("usr/lib/liby.so", Draft::new().needed("libx.so.1"));
    assert_eq!(root.missing(), NONE);
    let root = root.file("usr/bin/b", program().needed("liby.so").needed("/opt/libx-fast.so"));
    assert_eq!(root.missing(), NONE, "breadth first: it is loaded before liby's needs are looked at");
    let root = root.file("usr/bin/c", program().needed("liby.so"));
    assert_eq!(root.missing(), ["usr/lib/liby.so libx.so.1 at opt/libx-fast.so"]);
    assert_eq!(Fake::glibc().file("a", program().needed("/opt/none.so")).missing(), ["a /opt/none.so"]);
}

#[test]
fn libraries_of_another_machine_are_passed_over() {
    let root = |x: Draft| {
        let root = Fake::glibc().file("usr/bin/a", program().needed("libx.so").runpath("/opt"));
        root.file("opt/libx.so", x)
    };
    for wrong in [
        Draft::new().machine(183),
        Draft::new().class(Class::Elf32),
        Draft::new().endian(crate::elf::Endian::Big),
        Draft::new().statically(),
    ] {
        assert_eq!(root(wrong.clone()).missing(), ["usr/bin/a libx.so"], "{wrong:?}");
        let right = root(wrong).file("usr/lib/libx.so", Draft::new());
        assert_eq!(right.missing(), NONE);
        assert!(right.needed_by("usr/bin/a").contains(&"usr/lib/libx.so".to_owned()));
    }
}

#[test]
fn musl_is_its_own_libc_and_knows_one_path_only() {
    let program = || Draft::new().interpreter(MUSL).needed("libc.musl-x86_64.so.1");
    let root = Fake::musl()
        .file("usr/bin/a", program().needed("libx.so").needed("libpthread.so.0").runpath("/opt"))
        .file("opt/libx.so", Draft::new().needed("liby.so").needed("libc.musl-x86_64.so.1"))
        .file("opt/liby.so", Draft::new().needed("libm.so.6"));
    assert_eq!(root.missing(), NONE, "musl's RUNPATH is inherited");
    assert_eq!(root.needed_by("usr/bin/a"), ["lib/ld-musl-x86_64.so.1", "opt/libx.so", "opt/liby.so", "usr/bin/a"]);
    let root = Fake::musl().file("usr/bin/a", program().needed("libx.so"));
    let elsewhere = root.file("usr/lib/x86_64-linux-gnu/libx.so", Draft::new());
    assert_eq!(elsewhere.missing(), ["usr/bin/a libx.so at usr/lib/x86_64-linux-gnu/libx.so"]);
    assert_eq!(elsewhere.file("usr/local/lib/libx.so", Draft::new()).missing(), NONE);
    // gcompat: the loader has glibc's name and is musl's.
    let gcompat = Fake::musl()
        .file("lib/ld-linux-x86-64.so.2", Draft::new())
        .link("lib64/ld-linux-x86-64.so.2", "../lib/ld-linux-x86-64.so.2")
        .file("usr/bin/a", super::tests::program().needed("libm.so.6"));
    assert_eq!(gcompat.missing(), NONE);
    assert_eq!(Fake::default().file("a", program()).missing(), ["a interpreter /lib/ld-musl-x86_64.so.1"]);
}

#[test]
fn a_library_that_is_loaded_by_a_plan_of_its_own_finds_what_the_image_has() {
    let java = "usr/lib/jvm/lib/libjava.so";
    let root = Fake::glibc().file(java, Draft::new().needed("libjvm.so").needed("libc.so.6"));
    assert_eq!(root.missing(), [format!("{java} libjvm.so")]);
    let other = root.file("opt/libjvm.so", Draft::new().machine(183));
    assert_eq!(other.missing(), [format!("{java} libjvm.so")]);
    let root = other.file("usr/lib/jvm/lib/server/libjvm.so", Draft::new().needed("libc.so.6"));
    assert_eq!(root.missing(), NONE);
    assert!(root.needed_by(java).contains(&"usr/lib/jvm/lib/server/libjvm.so".to_owned()));
    // A program has no such plan.
    let root = root.file("usr/bin/a", program().needed("libjvm.so"));
    assert_eq!(root.missing(), ["usr/bin/a libjvm.so at usr/lib/jvm/lib/server/libjvm.so"]);
}

#[test]
fn every_link_on_the_way_is_needed() {
    let root = Fake::glibc()
        .file("usr/bin/a", program().needed("libx.so.1"))
        .link("usr/lib/x86_64-linux-gnu/libx.so.1", "libx.so.1.2")
        .link("usr/lib/x86_64-linux-gnu/libx.so.1.2", "/etc/alternatives/x")
        .link("etc/alternatives/x", "/usr/lib/x/libx.so.1.2.3")
        .file("usr/lib/x/libx.so.1.2.3", Draft::new());
    let needed = root.needed_by("usr/bin/a");
    for path in [
        "usr/lib/x86_64-linux-gnu/libx.so.1",
        "usr/lib/x86_64-linux-gnu/libx.so.1.2",
        "etc/alternatives/x",
        "usr/lib/x/libx.so.1.2.3",
        "lib",
    ] {
        assert!(needed.contains(&path.to_owned()), "{path}: {needed:?}");
    }
    assert_eq!(root.needed_by("usr/bin/none"), NONE);
    let broken = root.file("usr/bin/b", program().needed("liby.so"));
    let error = broken.closure().needed_by("usr/bin/b").expect_err("liby.so is missing");
    assert_eq!(error.missing.len(), 1);
}

#[test]
fn circles_end() {
    let root = Fake::glibc()
        .file("usr/bin/a", program().needed("libx.so").rpath("/opt"))
        .file("opt/libx.so", Draft::new().needed("liby.so").needed("libx.so").rpath("/opt"))
        .file("opt/liby.so", Draft::new().needed("libx.so").rpath("/opt"));
    assert_eq!(root.missing(), NONE);
    let links = Fake::default().link("a", "b").link("b", "a");
    assert_eq!(walk(&links, "a").len(), 41);
}

#[test]
fn an_error_tells_of_three() {
    let root = (0..5).fold(Fake::glibc(), |root, n| {
        root.file(&format!("usr/bin/{n}"), program().needed(&format!("lib{n}\u{1b}.so")))
    });
    let error = root.closure().check().expect_err("five are missing");
    let one = |n| {
        format!(
            "usr/bin/{n} needs lib{n}\\u{{1b}}.so, which is in no folder that its loader searches (lib/x86_64-linux-gnu, \
             usr/lib/x86_64-linux-gnu, lib, usr/lib)"
        )
    };
    assert_eq!(error.to_string(), format!("{}; {}; {}; and 2 more", one(0), one(1), one(2)));
    assert_eq!(error.kind(), Kind::Build);
    assert!(error.hint().is_some_and(|hint| hint.contains("-p NAME")));
    assert_eq!(Fake::glibc().closure().check(), Ok(()));
    let none = Fake::default().file("a", program()).closure().missing();
    assert_eq!(none[0].to_string(), "a needs the interpreter /lib64/ld-linux-x86-64.so.2, which is not there");
    assert_eq!(none[1].to_string(), "a needs libc.so.6, which is in no folder that its loader searches");
}

/// The machine that the tests run on.
struct Machine;

impl Root for Machine {
    fn resolve(&self, path: &str) -> Option<String> {
        let path = fs::canonicalize(Path::new("/").join(path)).ok()?;
        Some(path.to_str()?.trim_start_matches('/').to_owned())
    }

    fn link(&self, path: &str) -> Option<String> {
        Some(fs::read_link(Path::new("/").join(path)).ok()?.to_str()?.to_owned())
    }
}

/// The files that ldd(1) says a program loads, links followed; `None` when it is not here or cannot say.
fn ldd(program: &str) -> Option<BTreeSet<String>> {
    let output = Command::new("ldd").env("LC_ALL", "C").env_remove("LD_LIBRARY_PATH").arg(program).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let paths = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    (output.status.success()).then(|| paths.filter_map(|path| Machine.resolve(&path[1..])).collect())
}

#[test]
fn ldd_says_the_same() {
    let mut files = BTreeMap::new();
    let mut read = |path: PathBuf| {
        if let Ok(file) = File::open(&path)
            && path.is_file()
            && let Ok(Some(elf)) = Elf::read(file)
            && let Some(path) = Machine.resolve(&path.to_string_lossy()[1..])
        {
            files.insert(path, elf);
        }
    };
    let folders = ["/lib", "/lib64", "/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/local/lib"];
    for folder in folders {
        fs::read_dir(folder).into_iter().flatten().flatten().for_each(|entry| read(entry.path()));
    }
    let programs = ["ls", "bash", "git", "gcc", "readelf", "python3", "perl", "curl", "tar", "openssl", "ssh"];
    let programs = programs.map(|name| format!("/usr/bin/{name}"));
    programs.iter().for_each(|program| read(program.into()));
    let configured = ["/usr/local/lib".to_owned()];
    let closure = Closure { files: &files, root: &Machine, extra: &[], configured: &configured };
    let mut compared = 0;
    for program in &programs {
        let is_here = Path::new(program).is_file();
        let Some(mut expected) = is_here.then(|| ldd(program)).flatten() else { continue };
        let needed = closure.needed_by(&program[1..]).unwrap_or_else(|e| panic!("{program}: {e}"));
        let is_link = |path: &&String| Machine.link(path).is_some();
        expected.extend(Machine.resolve(&program[1..]));
        let ours: BTreeSet<_> = needed.iter().filter(|path| !is_link(path)).cloned().collect();
        assert_eq!(ours, expected, "{program}");
        compared += 1;
    }
    match compared {
        0 => eprintln!("skipped: no ldd, or no program that it knows"),
        n => eprintln!("compared {n} programs"),
    }
}
