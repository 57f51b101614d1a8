//! Every parser of the crate as a function of bytes that must return, whatever the bytes: for the fuzz targets beside this
//! file, and for `tests/it/parsers.rs`, which feeds them random and damaged input on every run of the tests.
//!
//! Where a value can be printed and read again, it must come back as it was.

use std::{fmt, io, str::FromStr};

use microbuild::{
    apk::{
        dependency::{Dependency, Provide},
        index::{self, Checksum},
        key::{Key, KeyRing},
        package,
        version::Version,
    },
    config::{Base, Command, Compression, FileConfig, Pair, Port, Size, User, Workdir},
    digest::Digest,
    glob::Pattern,
    image::Platform,
    layer::compress::Compressor,
    recipe::Recipe,
    registry::{Reference, parse_registry},
    rootfs::users::Accounts,
    sink::Output,
    store::BlobDir,
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
    (
        "recipe",
        recipe,
        &["name = \"a\"\ndescription = \"b\"\n[base.alpine]\npackages = [\"c\"]\n[app]\ncmd = [\"d\"]\n"],
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

pub fn recipe(bytes: &[u8]) {
    let _ = Recipe::parse(text(bytes), "fuzz");
}

pub fn config(bytes: &[u8]) {
    let _ = FileConfig::parse(text(bytes), "fuzz");
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
