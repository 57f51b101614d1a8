//! Every parser of the crate as a function of bytes that must return, whatever the bytes: for the fuzz targets beside this
//! file, and for `tests/it/parsers.rs`, which feeds them random and damaged input on every run of the tests.
//!
//! Where a value can be printed and read again, it must come back as it was.

use std::{collections::BTreeMap, fmt, io, path::Path, str::FromStr};

use microbuild::internals::{
    apk::{
        checksum::Checksum,
        dependency::{Dependency, Provide},
        index,
        key::{Key, KeyRing},
        package,
        version::Version,
    },
    app_folder::AppFolder,
    config::{AppConfig, UserConfig},
    deb,
    digest::Digest,
    elf::{Elf, Scanned, Scanner, closure::Closure},
    glob::Pattern,
    image::Platform,
    lang::{self, Source},
    layer::compress::Compressor,
    listing::{FileKind, Listing},
    package::Packing,
    recipe::Recipe,
    registry::{Reference, parse_registry},
    rootfs::{Tree, users::Accounts},
    sink::Output,
    store::BlobDir,
    values::{Base, Command, Compression, Pair, Port, Size, User, Workdir},
};

/// A parser under its name, with inputs that it accepts.
pub type Parser = (&'static str, fn(&[u8]), &'static [&'static str]);

/// All of them.
pub const PARSERS: &[Parser] = &[
    ("apk_version", apk_version, &["1.2.3_rc1~abc-r4", "0", "1a_p2-r0"]),
    ("apk_dependency", apk_dependency, &["!a@edge>=1.2-r0", "so:libc.musl-x86_64.so.1", "a><Q1AAAA=", "b~1"]),
    ("apk_index", apk_index, &["C:Q1VFqm8pEgmviZMrdh2eQiwneFlsw=\nP:a\nV:1-r0\nS:1\nI:2\nD:b c>1\np:d=2\n\n"]),
    ("apk_package", apk_package, &["\x1f", "ADB."]),
    ("apk_key", apk_key, &["-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n"]),
    (
        "apk_scripts",
        apk_scripts,
        &["user=x\naddgroup -S -g 42 $user 2>/dev/null\nadduser -SDH -h /var/lib/x -G x -g 'X Y' x"],
    ),
    ("deb_version", deb_version, &["1:2.3~rc1-4", "0", "2.36-9+deb12u14\n2.36-9"]),
    (
        "deb_dependency",
        deb_dependency,
        &["a-b (>= 1:2~rc) [amd64 !i386] <!nocheck> <cross> | python3:any,\n c (<< 2)", "x, y (= 1)", "nodejs=18-1"],
    ),
    (
        "deb_index",
        deb_index,
        &["Package: a\nVersion: 1\nArchitecture: all\nDepends: b,\n c\nFilename: p/a.deb\nSize: 1\nSHA256: \
           0000000000000000000000000000000000000000000000000000000000000000\n\n"],
    ),
    (
        "deb_release",
        deb_release,
        &[
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nCodename: a\nDate: Sat, 17 May 2025 09:20:01 UTC\nSHA256:\n \
           0000000000000000000000000000000000000000000000000000000000000000 5 main/binary-amd64/Packages.xz\n-----BEGIN PGP \
           SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n",
        ],
    ),
    (
        "deb_sources",
        deb_sources,
        &[
            "deb [arch=amd64 signed-by=/a.gpg] http://m/debian bookworm main # x\n",
            "Types: deb\nURIs: http://m/debian\nSuites: a a-updates\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY \
             BLOCK-----\n .\n mQ==\n",
        ],
    ),
    (
        "deb_key",
        deb_key,
        &["-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQE=\n=AAAA\n-----END PGP PUBLIC KEY BLOCK-----\n"],
    ),
    ("deb_package", deb_package, &["!<arch>\ndebian-binary   0           0     0     100644  4         `\n2.0\n"]),
    (
        "elf",
        elf,
        &[
            "\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x03\0(\0\x01\0\0\0\0\0\0\x004\0\0\0\0\0\0\0\0\0\0\x004\0 \0\x02\0\0\0\0\0\0\0\
         \x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\x04\0\0\0\x01\0\0\0\
         \x02\0\0\0t\0\0\0t\0\0\0t\0\0\0\x18\0\0\0\x18\0\0\0\x04\0\0\0\x04\0\0\0\
         \x01\0\0\0\x0e\0\0\0\x05\0\0\0~\0\0\0\0\0\0\0\0\0\0\0liba.so\0",
        ],
    ),
    (
        "recipe",
        recipe,
        &["name = \"a\"\ndescription = \"b\"\n[base.alpine]\npackages = [\"c\"]\n[app]\ncmd = [\"d\"]\n"],
    ),
    (
        "languages",
        languages,
        &[
            r#"{"name": "a", "main": "b", "scripts": {"start": "node b"}, "engines": {"node": ">=20"}, "dependencies": {"c": "1"},
                "require": {"php": "^8.1 || ~7.4, !=8.2.1"}, "packages": {"node_modules/c": {"hasInstallScript": true}}}"#,
            "[project]\nname = 'a'\nrequires-python = '>=3.10,<4'\n[project.scripts]\nb = 'c:d.e'\n[tool.poetry.dependencies]\n\
             python = '^3.9'\n[package]\nname = 'a'\nrust-version = '1.70'\n[toolchain]\nchannel = '1.80'\n",
            "from flask import Flask as F\napp: F = F(__name__, a=[1, '#'])\ndef create_app(b=1, *c):\n    return F('')\n\
             if __name__ == '__main__':\n    app.run(host='::', port=80)\n",
            "-r main.py\n-e ./a\nb[c]==1 \\\n  --hash=sha256:00\nd @ git+https://e/f#egg=g\nWSGI_APPLICATION = 'mysite.wsgi.application'\n",
            "module a.example/b/v2\n\ngo 1.22\n",
            "package = 'a'\nversion = [[1-1]]\ndependencies = { \"lua >= 5.3, < 5.5\"; 'b ~> 1' } -- c\n",
            "ruby '~> 3.2', '>= 3.2.1'\n# stub: rack 3.1.8 ruby lib\nName: a\nVersion: 1\n",
            "<project><artifactId>a</artifactId><properties><java.version>17</java.version></properties></project>",
            "rootProject.name = 'a'\nversion = '1'\njava { toolchain { languageVersion = JavaLanguageVersion.of(17) } }\n",
        ],
    ),
    (
        "python_locks",
        python_locks,
        &[
            "[[package]]\nname = 'a'\nversion = '1'\ngroups = ['main']\nmarkers = \"b == 'c'\"\nfiles = [{hash = 'sha256:00'}]\n",
            "[[package]]\nname = 'a'\nversion = '1'\ncategory = 'main'\n[package.dependencies]\nb = {version = '*', markers = \"c == 'd'\"}\n\
             [[package]]\nname = 'b'\nversion = '1'\n[package.source]\ntype = 'git'\nurl = 'git@h:x'\nresolved_reference = '0'\n",
            r#"{"default": {"a": {"version": "==1", "extras": ["b"], "markers": "c == 'd'", "hashes": ["sha256:00"]}}}"#,
        ],
    ),
    (
        "diagnosis",
        diagnosis,
        &[
            "Package 'a', required by 'virtual:world', not found\nx.c: fatal error: a/b.h: No such file\n/ld: cannot find -la",
        ],
    ),
    ("config", config, &["recipe = \"node\"\nport = [80]\n[env]\nA = \"b\"\n"]),
    ("glob", glob, &["**/a[b-d]?*\\x", "!/x/**"]),
    ("reference", reference, &["localhost:5000/a/b:1@sha256:00", "a", "[::1]:5/x"]),
    (
        "values",
        values,
        &["linux/arm/v7", "zstd:3", "28.5MiB", "alpine:3.23", "1000:x", "53/udp", "A=b", "oci:dir:name"],
    ),
];

fn text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or_default(),
    }
}

/// What is printed of a value is read as the same value.
fn round_trip<T: FromStr + fmt::Display + fmt::Debug + PartialEq>(text: &str)
where
    T::Err: fmt::Debug,
{
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse::<T>().expect("what was printed is read"), value);
    }
}

pub fn apk_version(bytes: &[u8]) {
    let (a, b) = text(bytes).split_once('\n').unwrap_or((text(bytes), "1-r0"));
    let (a, b) = (Version::new(a), Version::new(b));
    assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
    assert!(!a.is_valid() || a.cmp(&a).is_eq());
    let _ = a.starts_with(&b);
}

pub fn apk_dependency(bytes: &[u8]) {
    round_trip::<Dependency>(text(bytes));
    round_trip::<Provide>(text(bytes));
    round_trip::<Checksum>(text(bytes));
}

pub fn apk_index(bytes: &[u8]) {
    let _ = index::parse(text(bytes));
    let _ = index::open(bytes, &KeyRing::alpine("x86_64"), "fuzz");
}

/// The bytes as a package as they are; and as the data part of one whose other parts are right, which is where a parser has
/// the most to do.
pub fn apk_package(bytes: &[u8]) {
    let Ok(dir) = tempfile::tempdir() else { return };
    let Ok(blobs) = BlobDir::open(dir.path()) else { return };
    verify(bytes, bytes, &blobs);
    if let Ok(data) = gzip(bytes) {
        let pkginfo = format!("pkgname = a\npkgver = 1-r0\ndatahash = {}\n", Digest::of(&data).hex());
        if let Ok(control) = tar(".PKGINFO", pkginfo.as_bytes()).and_then(|tar| gzip(&tar)) {
            verify(&[control.clone(), data].concat(), &control, &blobs);
        }
    }
}

fn verify(apk: &[u8], control: &[u8], blobs: &BlobDir) {
    let sha1 = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, control);
    let checksum = Checksum::Sha1(sha1.as_ref().try_into().expect("a SHA-1 has twenty bytes"));
    let text = format!("C:{checksum}\nP:a\nV:1-r0\nS:{}\nI:100000\n\n", apk.len());
    let index = index::parse(&text).expect("a record");
    let _ = package::verify(apk, &index.records[0], blobs);
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut writer = Compressor::new(Compression::Gzip(1), Vec::new());
    io::Write::write_all(&mut writer, bytes)?;
    writer.finish()
}

fn tar(path: &str, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, path, bytes)?;
    tar.into_inner()
}

pub fn apk_key(bytes: &[u8]) {
    let _ = Key::parse("fuzz.rsa.pub", text(bytes));
}

pub fn apk_scripts(bytes: &[u8]) {
    let mut accounts = Accounts::parse(text(bytes), text(bytes), text(bytes));
    accounts.apply_script(text(bytes), 1);
    let _ = accounts.files();
    let _ = package::parse_pkginfo(text(bytes));
}

pub fn deb_version(bytes: &[u8]) {
    let (a, b) = text(bytes).split_once('\n').unwrap_or((text(bytes), "1-1"));
    round_trip::<deb::version::Version>(a);
    let (a, b) = (deb::version::Version::new(a), deb::version::Version::new(b));
    assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
    assert!(a.cmp(&a).is_eq() && (!a.is_valid() || !a.upstream().is_empty()));
}

pub fn deb_dependency(bytes: &[u8]) {
    let text = text(bytes);
    round_trip::<deb::dependency::Alternatives>(text);
    round_trip::<deb::solve::PackageRequest>(text);
    let _ = deb::dependency::parse_list(text);
    let _ = deb::dependency::parse_provides(text);
}

pub fn deb_index(bytes: &[u8]) {
    if let Ok(index) = deb::index::parse(text(bytes)) {
        for record in &index.records {
            let _ = (record.depends(), record.conflicts(), record.replaces(), record.provides(), record.source());
        }
    }
    let packings = ["a.xz", "a.zst", "a.gz", "a"].map(|name| Packing::of(name).expect("a packing"));
    for packing in packings {
        let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
        let _ =
            deb::index::open(bytes, &deb::release::IndexFile { path: String::new(), digest, size, packing }, "fuzz");
    }
}

pub fn deb_release(bytes: &[u8]) {
    let clear = deb::release::Unverified::in_release(bytes, "fuzz");
    let detached = deb::release::Unverified::detached(bytes.to_vec(), Vec::new(), "fuzz");
    for unverified in [clear, detached].into_iter().flatten() {
        if let Ok(release) = unverified.trust("fuzz") {
            let _ = release.check("a", None, "fuzz");
            let _ = release.indexes("main", "amd64", "fuzz");
        }
    }
}

pub fn deb_sources(bytes: &[u8]) {
    let lists = [deb::sources::parse_list, deb::sources::parse_sources].map(|parse| parse(text(bytes), "fuzz"));
    for list in lists.into_iter().flatten() {
        let (distribution, codename) = ("debian".to_owned(), "bookworm".to_owned());
        let sources = deb::sources::Sources { list, distribution, codename };
        let _ = sources.family("trixie", "amd64");
    }
}

pub fn deb_key(bytes: &[u8]) {
    let _ = deb::key::KeyRing::new().add("fuzz", bytes);
}

/// The bytes as a package as they are; and as the data member of one whose other members are right.
pub fn deb_package(bytes: &[u8]) {
    let Ok(dir) = tempfile::tempdir() else { return };
    let Ok(blobs) = BlobDir::open(dir.path()) else { return };
    verify_deb(bytes, &blobs);
    let member = |name: &str, content: &[u8]| {
        let header = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len());
        [header.as_bytes(), content, &b"\n"[..content.len() % 2]].concat()
    };
    if let Ok(control) = tar("./control", b"Package: a\nVersion: 1\nArchitecture: all\n") {
        let start = [&b"!<arch>\n"[..], &member("debian-binary", b"2.0\n"), &member("control.tar", &control)].concat();
        for end in ["", ".xz", ".zst", ".gz"] {
            verify_deb(&[&start[..], &member(&format!("data.tar{end}"), bytes)].concat(), &blobs);
        }
    }
}

fn verify_deb(bytes: &[u8], blobs: &BlobDir) {
    let text = format!(
        "Package: a\nVersion: 1\nArchitecture: all\nFilename: a\nSize: {}\nSHA256: {}\nInstalled-Size: 100\n",
        bytes.len(),
        Digest::of(bytes).hex()
    );
    let index = deb::index::parse(&text).expect("a record");
    let _ = deb::package::verify(bytes, &index.records[0], blobs);
}

/// A file this small is all in what a scanner keeps: it reads the same as from the whole file.
pub fn elf(bytes: &[u8]) {
    let elf = Elf::of_bytes(bytes).map_or(Scanned::Unclear, Scanned::from);
    let mut scanner = Scanner::new(bytes.len() as u64);
    for chunk in bytes.chunks(61) {
        io::Write::write_all(&mut scanner, chunk).expect("a scanner takes all");
    }
    assert_eq!(scanner.finish(), elf);
    if let Scanned::Elf(elf) = elf {
        let files = BTreeMap::from([("a".to_owned(), *elf)]);
        let _ = Closure { files: &files, root: &Tree::default(), extra: &[], configured: &[] }.missing();
    }
}

pub fn recipe(bytes: &[u8]) {
    let _ = Recipe::parse(text(bytes), "fuzz");
}

/// The bytes as every file that a language reads, in a project and as what was installed.
pub fn languages(bytes: &[u8]) {
    const PROJECTS: [&[&str]; 3] = [
        &[
            "package.json",
            "package-lock.json",
            "pyproject.toml",
            ".python-version",
            "Pipfile",
            "go.mod",
            "go.work",
            "Cargo.toml",
            "rust-toolchain",
            "composer.json",
            "Gemfile",
            ".ruby-version",
            "settings.gradle",
            "build.gradle.kts",
            "node_modules/a/package.json",
            "site-packages/a.dist-info/METADATA",
            "vendor/composer/installed.json",
            "bundle/specifications/a.gemspec",
            "a-1-1.rockspec",
            "lua_modules/lib/luarocks/rocks-5.4/a/1-1/rock_manifest",
        ],
        &["pom.xml", "rust-toolchain.toml"],
        &["main.py", "manage.py", "requirements.txt", "mysite/settings.py", "mysite/wsgi.py", "uv.lock"],
    ];
    for paths in PROJECTS {
        let Ok(dir) = tempfile::tempdir() else { return };
        let mut files = Listing::default();
        for path in paths {
            let at = dir.path().join(path);
            if at.parent().map(std::fs::create_dir_all).is_none_or(|made| made.is_err())
                || std::fs::write(at, bytes).is_err()
            {
                return;
            }
            files.insert((*path).to_owned(), FileKind::file(bytes.len() as u64, 0o755));
        }
        let Ok(folder) = AppFolder::open(dir.path()) else { return };
        let build = microbuild::internals::values::BuildWish::default();
        let variables = std::collections::BTreeMap::new();
        let (starts, installs) = (true, true);
        let source = Source {
            folder: &folder,
            root: dir.path(),
            files: &files,
            starts,
            installs,
            builds: installs,
            build: &build,
            port: None,
            variables: &variables,
        };
        let listed = files.clone().into_files();
        for language in lang::ALL {
            if let Ok(facts) = language.read(&source) {
                let _ = facts.runtime.map(|wanted| (wanted.fits("3.12.1-r0"), wanted.place()));
            }
            for file in language.prepare(&source).unwrap_or_default() {
                assert!(!file.path.contains("..") && !file.path.starts_with('/'), "{}", file.path);
            }
            assert!(language.components(&folder, &listed).is_sorted());
            let _ = language.uncompiled(&folder, &listed, "linux", "x64");
        }
    }
}

/// Whatever a lock file says, a line of requirements is one package with its hashes, or an index, and no other option of the installer.
pub fn python_locks(bytes: &[u8]) {
    for read in [lang::python::poetry_lock, lang::python::pipfile_lock, lang::python::pdm_lock] {
        for line in read(text(bytes), Path::new("fuzz")).unwrap_or_default().lines() {
            if let Some(url) = line.strip_prefix("--extra-index-url ") {
                assert!(url.starts_with("http") && !url.contains(char::is_whitespace), "{line}");
                continue;
            }
            assert!(line.starts_with(|c: char| c.is_ascii_alphanumeric()) || line.starts_with("./"), "{line}");
            assert!(["==", " @ ", "./"].iter().any(|kind| line.contains(kind)), "{line}");
            assert!(line.split(" --").skip(1).all(|option| option.starts_with("hash=sha")), "{line}");
        }
    }
}

pub fn diagnosis(bytes: &[u8]) {
    for language in lang::ALL.iter().copied().map(Some).chain([None]) {
        let mut diagnosis = lang::Diagnosis::new(language);
        text(bytes).lines().for_each(|line| diagnosis.note(line));
        let _ = (diagnosis.needs_compiler(), diagnosis.hint(true, true));
    }
}

pub fn config(bytes: &[u8]) {
    let _ = AppConfig::parse(text(bytes), "fuzz");
    let _ = UserConfig::parse(text(bytes), "fuzz");
}

pub fn glob(bytes: &[u8]) {
    let (pattern, path) = text(bytes).split_once('\n').unwrap_or((text(bytes), "a/b"));
    if let Ok(pattern) = pattern.parse::<Pattern>() {
        let _ = pattern.matches(path);
    }
}

pub fn reference(bytes: &[u8]) {
    round_trip::<Reference>(text(bytes));
    let _ = parse_registry(text(bytes));
}

pub fn values(bytes: &[u8]) {
    let text = text(bytes);
    round_trip::<Digest>(text);
    round_trip::<Platform>(text);
    round_trip::<Compression>(text);
    round_trip::<Size>(text);
    round_trip::<Base>(text);
    round_trip::<User>(text);
    round_trip::<Port>(text);
    round_trip::<Pair>(text);
    let _ = text.parse::<Workdir>();
    let _ = text.parse::<Command>();
    let _ = text.parse::<Output>();
}
