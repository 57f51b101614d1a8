//! Programs whose headers name files that are none of theirs: `microbuild static` takes libraries and loaders from the machine, and
//! nothing else, whatever a program says. A canary lies in each place that must not be reached.

use std::{
    fmt::Write as _,
    fs,
    io::Read as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{
    Finished, Home,
    elf_file::{ElfFile, loader},
    fake_repo::{Package, Repo},
    run, skip,
    workbench::{temporary, text},
};

/// What must be in no layer.
const CANARY: &str = "canary-of-the-elf-tests-7f3a9c";

/// A machine's places that are nobody else's business, beside an app's folder.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: temporary() };
        fs::create_dir(place.app()).expect("a folder");
        fs::create_dir(place.secret()).expect("a folder");
        let library = || ElfFile::library().content(CANARY);
        for (name, bytes) in [
            ("shadow", format!("root:{CANARY}:::::::\n").into_bytes()),
            ("libsecret.so", library().soname("libsecret.so").bytes()),
            ("libc.so.6", library().soname("libc.so.6").bytes()),
            ("ld-secret.so.1", library().bytes()),
        ] {
            fs::write(place.secret().join(name), bytes).expect("a file");
        }
        run(Command::new("mkfifo").arg(place.secret().join("libpipe.so"))).succeeds();
        place
    }

    fn app(&self) -> PathBuf {
        self.dir.path().join("app")
    }

    fn secret(&self) -> PathBuf {
        self.dir.path().join("secret")
    }

    /// The path of a file among the secrets; the folder itself with an empty name.
    fn at(&self, name: &str) -> String {
        text(&self.secret().join(name)).trim_end_matches('/').to_owned()
    }

    /// A path of the app.
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.app().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(&path, bytes).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    fn link(&self, name: &str, target: &str) {
        symlink(target, self.app().join(name)).expect("a link");
    }
}

/// A program, and what becomes of it.
struct Row {
    title: &'static str,
    /// Fills the app's folder; the program is called `hello`.
    make: fn(&Place),
    code: i32,
}

fn row(title: &'static str, code: i32, make: fn(&Place)) -> Row {
    Row { title, make, code }
}

/// The app is one program.
macro_rules! program {
    ($title:literal, $code:literal, $place:ident => $program:expr) => {
        row($title, $code, |$place| $place.write("hello", $program.bytes()))
    };
}

fn rows() -> Vec<Row> {
    vec![
        // Interpreters.
        program!("interpreter: a secret", 1, place => ElfFile::library().interpreter(&place.at("shadow"))),
        program!("interpreter: /etc/shadow", 1, _place => ElfFile::library().interpreter("/etc/shadow")),
        program!("interpreter: the environment", 1, _place => ElfFile::library().interpreter("/proc/self/environ")),
        program!("interpreter: a secret, by /proc", 1, place => {
            ElfFile::library().interpreter(&format!("/proc/self/root{}", place.at("shadow")))
        }),
        program!("interpreter: a pipe", 1, place => ElfFile::library().interpreter(&place.at("libpipe.so"))),
        program!("interpreter: without end", 1, _place => ElfFile::library().interpreter("/dev/zero")),
        program!("interpreter: a folder", 1, place => ElfFile::library().interpreter(&place.at(""))),
        program!("interpreter: a system's folder", 1, _place => ElfFile::library().interpreter("/usr/lib")),
        program!("interpreter: a library of somebody's own", 1, place => {
            ElfFile::library().interpreter(&place.at("ld-secret.so.1"))
        }),
        program!("interpreter: a program of the system", 1, _place => ElfFile::library().interpreter("/usr/bin/env")),
        program!("interpreter: text in a folder of libraries", 1, _place => {
            ElfFile::library().interpreter("/usr/lib/os-release")
        }),
        program!("interpreter: relative", 1, _place => ElfFile::library().interpreter("../secret/shadow")),
        program!("interpreter: relative, and the loader", 1, _place => {
            ElfFile::library().interpreter(loader().trim_start_matches('/'))
        }),
        program!("interpreter: out of the system's folder", 1, place => {
            ElfFile::library().interpreter(&format!("/usr/lib/../..{}", place.at("shadow")))
        }),
        row("interpreter: a link of the app", 1, |place| {
            place.link("ld.so", &place.at("shadow"));
            place.write("hello", ElfFile::library().interpreter("/app/ld.so").bytes());
        }),
        row("interpreter: below a link of the app", 1, |place| {
            place.link("lib", &place.at(""));
            place.write("hello", ElfFile::library().interpreter("/app/lib/ld-secret.so.1").bytes());
        }),
        // What the kernel would not start is a file like any other.
        program!("interpreter: huge", 0, place => {
            ElfFile::library().interpreter(&place.at("shadow")).interpreter_size(1 << 40)
        }),
        program!("interpreter: without a NUL", 0, place => {
            let path = place.at("shadow");
            ElfFile::library().interpreter(&path).interpreter_size(path.len() as u64)
        }),
        program!("interpreter: empty", 0, _place => ElfFile::library().interpreter("")),
        program!("interpreter: two, the first counts", 0, place => {
            ElfFile::program().another_interpreter(&place.at("shadow"))
        }),
        program!("interpreter: control characters", 1, _place => {
            ElfFile::library().interpreter("/etc/\x1b[2Jshadow\nerror: done")
        }),
        // Libraries.
        program!("RUNPATH", 1, place => {
            ElfFile::program().needed("libsecret.so").runpath(&place.at(""))
        }),
        program!("RPATH", 1, place => ElfFile::program().needed("libsecret.so").rpath(&place.at(""))),
        program!("RUNPATH out of the app", 1, place => {
            ElfFile::program().needed("libsecret.so").runpath(&format!("$ORIGIN/../../..{}", place.at("")))
        }),
        program!("RUNPATH out of the system's folder", 1, place => {
            ElfFile::program().needed("libsecret.so").runpath(&format!("/usr/$LIB/../../..{}", place.at("")))
        }),
        program!("RUNPATH by /proc", 1, place => {
            ElfFile::program().needed("libsecret.so").runpath(&format!("/proc/self/root{}", place.at("")))
        }),
        program!("RUNPATH with a pipe", 1, place => {
            ElfFile::program().needed("libpipe.so").runpath(&place.at(""))
        }),
        program!("RUNPATH: the folder of the build", 1, _place => {
            ElfFile::program().needed("libsecret.so").runpath(".:../secret:")
        }),
        row("RUNPATH: a link of the app", 1, |place| {
            place.link("lib", &place.at(""));
            place.write("hello", ElfFile::program().needed("libsecret.so").runpath("$ORIGIN/lib").bytes());
        }),
        row("a link of the app as a library", 1, |place| {
            place.link("libsecret.so", &place.at("libsecret.so"));
            place.write("hello", ElfFile::program().needed("libsecret.so").runpath("$ORIGIN").bytes());
        }),
        program!("a library by its path", 1, place => ElfFile::program().needed(&place.at("libsecret.so"))),
        program!("a file by its path", 1, place => ElfFile::program().needed(&place.at("shadow"))),
        program!("a library by a path out of the app", 1, place => {
            ElfFile::program().needed(&format!("$ORIGIN/../..{}", place.at("libsecret.so")))
        }),
        program!("a library by a relative path", 1, _place => ElfFile::program().needed("../secret/libsecret.so")),
        program!("a library called as a folder", 1, _place => ElfFile::program().needed("..").runpath("/usr/lib/x")),
        program!("a library with control characters", 1, _place => {
            ElfFile::program().needed("lib\x1b[2J.so\nerror: done")
        }),
        row("LD_LIBRARY_PATH of the app's file", 1, |place| {
            let toml = format!("env = {{ LD_LIBRARY_PATH = {:?} }}\n", place.at(""));
            fs::write(place.app().join("microbuild.toml"), toml).expect("a file");
            place.write("hello", ElfFile::program().needed("libsecret.so").bytes());
        }),
        row("RUNPATH of a library of the app", 1, |place| {
            place.write("libown.so", ElfFile::library().needed("libsecret.so").runpath(&place.at("")).bytes());
            place.write("hello", ElfFile::program().needed("libown.so").runpath("$ORIGIN").bytes());
        }),
        row("RPATH that a library of the app inherits", 1, |place| {
            place.write("libown.so", ElfFile::library().needed("libsecret.so").bytes());
            let folders = format!("$ORIGIN:{}", place.at(""));
            place.write("hello", ElfFile::program().needed("libown.so").rpath(&folders).bytes());
        }),
        // What starts all the same.
        program!("RUNPATH that is not needed", 0, place => {
            ElfFile::program().needed("libc.so.6").runpath(&place.at(""))
        }),
        row("a plugin that nothing loads", 0, |place| {
            place.write("plugin.so", ElfFile::library().needed("libsecret.so").runpath(&place.at("")).bytes());
            place.write("hello", ElfFile::program().bytes());
        }),
        row("a library of the app's own", 0, |place| {
            place.write("lib/libown.so", ElfFile::library().needed("libc.so.6").bytes());
            place.write("hello", ElfFile::program().needed("libown.so").runpath("$ORIGIN/lib").bytes());
        }),
    ]
}

/// A mirror with the packages of the recipe `static`, and the folder of its keys.
fn mirror(dir: &Path) -> PathBuf {
    let arch = std::env::consts::ARCH;
    let file = |name: &str, path: &str| Package::new(name, "1-r0").arch(arch).file(path, 0o644, "x");
    Repo::named("v3.23", "community", arch).publish(dir);
    Repo::named("v3.23", "main", arch)
        .with(file("alpine-baselayout-data", "etc/hosts"))
        .with(file("ca-certificates-bundle", "etc/ssl/cert.pem"))
        .with(file("tzdata", "usr/share/zoneinfo/UTC"))
        .publish(dir)
}

fn build(home: &Home, app: &Path, mirror: (&Path, &Path), options: &[&str]) -> Finished {
    let mut command = home.microbuild(["static"]);
    command.arg(app).args(["--base", "scratch", "-o", "oci:out", "--cmd", "./hello"]).args(options);
    command.arg("--mirror").arg(mirror.0).arg("--keys").arg(mirror.1).env("SECRET", CANARY);
    run(&mut command)
}

/// The files below the home whose bytes, packed or not, hold the canary.
fn with_canary(home: &Path) -> Vec<PathBuf> {
    let holds = |bytes: &[u8]| bytes.windows(CANARY.len()).any(|part| part == CANARY.as_bytes());
    let mut found = Vec::new();
    let mut folders = vec![home.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = fs::read(&path).expect("a readable file");
            let mut unpacked = Vec::new();
            let _ = flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut unpacked);
            unpacked.extend(zstd::decode_all(&bytes[..]).unwrap_or_default());
            if holds(&bytes) || holds(&unpacked) {
                found.push(path);
            }
        }
    }
    found
}

/// Whether this machine has glibc where the drafts of the tests look for it.
#[track_caller]
fn has_glibc() -> bool {
    let there = Path::new(loader()).exists() && Path::new("/usr/lib/os-release").exists();
    if !there {
        skip("no glibc on this machine, or no /usr/lib/os-release");
    }
    there
}

#[test]
fn what_a_header_names_is_in_no_layer() {
    if !has_glibc() {
        return;
    }
    let packages = temporary();
    let keys = mirror(packages.path());
    let mut told = String::new();
    for Row { title, make, code } in rows() {
        let (home, place) = (Home::new(), Place::new());
        make(&place);
        let finished = build(&home, &place.app(), (packages.path(), &keys), &[]);
        assert!(!finished.stderr.contains("panicked"), "{title}: {}", finished.stderr);
        // What no loader takes for a program cannot start, which is told, too.
        let cannot_start = code == 0 && finished.stderr.contains("error: the image cannot start: ");
        let code = if cannot_start { 1 } else { code };
        assert_eq!(finished.code, Some(code), "{title}: {}", finished.stderr);
        assert_eq!(with_canary(home.path()), Vec::<PathBuf>::new(), "{title}");
        assert_eq!(home.path().join("out").exists(), code == 0, "{title}");
        assert!(!finished.stderr.contains('\x1b'), "{title}: {}", finished.stderr);
        assert!(!finished.stderr.contains("\nerror: done"), "{title}: {}", finished.stderr);
        if code != 0 {
            let said = finished.stderr.replace(&text(place.dir.path()), "DIR");
            let said: Vec<&str> = said.lines().filter(|line| !line.starts_with("hint: ")).collect();
            writeln!(told, "# {title}\n{}", said.join("\n")).expect("memory");
        }
    }
    insta::with_settings!({filters => [
        // Where this machine's loader looks, and where it lies.
        (r"searches \([^)]*\)", "searches (FOLDERS)"),
        (r"lib(64/ld-linux-x86-64|/ld-linux-aarch64)\.so\.\d", "LOADER"),
        (r"(x86_64|aarch64)-linux-gnu", "TRIPLET"),
    ]}, { insta::assert_snapshot!(told) });
}

#[test]
fn what_is_taken_from_the_machine_is_always_told() {
    if !has_glibc() {
        return;
    }
    let packages = temporary();
    let keys = mirror(packages.path());
    let place = Place::new();
    place.write("hello", ElfFile::program().needed("libc.so.6").runpath(&place.at("")).bytes());
    for options in [&[][..], &["-q"], &["--progress", "none"], &["--json"]] {
        let home = Home::new();
        let finished = build(&home, &place.app(), (packages.path(), &keys), options);
        finished.succeeds();
        let line = finished.stderr.lines().find(|line| line.starts_with("taken from this machine: "));
        let line = line.unwrap_or_else(|| panic!("{options:?}: {}", finished.stderr));
        let real = |path: &str| text(&fs::canonicalize(path).expect("the machine's"));
        assert!(line.contains(&real(loader())) && line.contains("/libc.so.6"), "{line}");
        let warning = format!("hello looks for libraries in {}, a folder of this machine that is not", place.at(""));
        assert!(finished.stderr.contains(&warning), "{options:?}: {}", finished.stderr);
    }
}
