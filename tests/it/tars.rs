//! A package's tar is read by this program and, when it becomes a layer as it stands, by container engines. Whatever may become a
//! layer is read alike by all; the other readers here are Go's archive/tar, which engines use, and Python's tarfile.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use microbuild::internals::{
    apk::{
        index,
        package::{self, EntryKind, Package, PackageError, visit_members},
    },
    digest::hex,
    error::{Explain as _, Kind},
    store::BlobDir,
};

use crate::support::{
    Home,
    alpine::cache_dir,
    apk_file::{End, Entry, Info, sha1, tar_gz},
    apk_world::Random,
    fake_repo::{self, Repo},
    raw_tar::{Header, RawTar, record},
    run, skip, tool,
    tree::Tree,
    workbench::{json, noise, temporary, text},
};

/// What becomes of a tar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It may be a layer as it stands.
    Plain,
    /// It is read, and a layer is made of what was read.
    Remade,
    /// It is not taken.
    Refused,
}
use Fate::{Plain, Refused, Remade};

/// A package whose data are the gzip stream `data`, as this program reads it.
fn verify(data: &[u8], blobs: &BlobDir) -> Result<Package, PackageError> {
    let installed = 8 << 20;
    let info = Info { name: "a".into(), version: "1-r0".into(), arch: "x86_64".into(), ..Info::default() };
    let datahash = microbuild::internals::digest::Digest::of(data).hex();
    let control = tar_gz(&[Entry::file(".PKGINFO", 0o644, info.pkginfo(installed, &datahash))], End::Cut);
    let record = info.record(&sha1(&control), (control.len() + data.len()) as u64, installed);
    let record = index::parse(&record).expect("a record").records.pop().expect("one");
    package::verify(&[&control, data].concat()[..], &record, blobs)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory")
}

/// Every member as this program sees it, in the words of the other readers.
fn listed(package: &Package, blobs: &BlobDir) -> Vec<String> {
    let mut lines = Vec::new();
    visit_members(blobs, package, |place, content| {
        let entry = &package.entries[place];
        let (mut bytes, mut xattrs) = (Vec::new(), Vec::new());
        content.read_to_end(&mut bytes)?;
        for (name, value) in &entry.xattrs {
            xattrs.push(format!("{}={}", hex(name.as_bytes()), hex(value)));
        }
        xattrs.sort();
        let (kind, link) = match &entry.kind {
            EntryKind::Directory => ("folder", ""),
            EntryKind::File { .. } => ("file", ""),
            EntryKind::Symlink(target) => ("symlink", target.as_str()),
            EntryKind::Hardlink(target) => ("hardlink", target.as_str()),
        };
        let (path, link) = (hex(entry.path.as_bytes()), hex(link.as_bytes()));
        lines.push(format!(
            "{kind} {} {:o} {} {} {path} {link} {} {}",
            bytes.len(),
            entry.mode,
            entry.uid,
            entry.gid,
            hex(&sha1(&bytes)),
            xattrs.join(",")
        ));
        Ok(())
    })
    .expect("what was verified");
    lines
}

/// Another reader: a program that lists tars.
struct Reader {
    name: &'static str,
    command: Vec<PathBuf>,
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/readers").join(name)
}

/// Those that this machine has; a skip for each that it has not.
#[track_caller]
fn readers(dir: &Path) -> Vec<Reader> {
    let mut readers = Vec::new();
    match tool("python3") {
        Some(python) => readers.push(Reader { name: "python", command: vec![python, source("members.py")] }),
        None => skip("python3 not installed"),
    }
    let default = Path::new("/usr/local/go/bin/go");
    match tool("go").or_else(|| default.exists().then(|| default.to_owned())) {
        Some(go) => {
            let program = dir.join("members");
            let mut build = Command::new(go);
            build.args(["build", "-o"]).arg(&program).arg(source("members.go")).current_dir(dir);
            build.env("GOCACHE", cache_dir().join("go")).env("GOTOOLCHAIN", "local").env("GOFLAGS", "-mod=mod");
            run(build.env("GOPATH", dir.join("gopath"))).succeeds();
            readers.push(Reader { name: "go", command: vec![program] });
        }
        None => skip("go not installed"),
    }
    readers
}

/// What the reader sees in each of `tars`, by their places.
fn read_by(reader: &Reader, dir: &Path, tars: &[Vec<u8>]) -> BTreeMap<usize, Vec<String>> {
    let mut found: BTreeMap<usize, Vec<String>> = (0..tars.len()).map(|at| (at, Vec::new())).collect();
    let files: Vec<PathBuf> = (0..tars.len()).map(|at| dir.join(at.to_string())).collect();
    for (file, tar) in files.iter().zip(tars) {
        fs::write(file, tar).expect("a file");
    }
    for part in files.chunks(500) {
        let mut command = Command::new(&reader.command[0]);
        let finished = run(command.args(&reader.command[1..]).args(part));
        for line in finished.succeeds().lines() {
            let (name, member) = line.split_once(' ').expect("NAME MEMBER");
            found.entry(name.parse().expect("a place")).or_default().push(plain_path(member));
        }
    }
    found
}

/// A folder's name ends with a slash or does not.
fn plain_path(member: &str) -> String {
    let mut fields: Vec<&str> = member.split(' ').collect();
    if let ("folder", Some(path)) = (fields[0], fields.get_mut(5)) {
        *path = path.strip_suffix("2f").unwrap_or(path);
    }
    fields.join(" ")
}

/// What the crate `tar` sees, which other programs in Rust use, in the same words.
fn read_by_crate(tar: &[u8]) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    for member in tar::Archive::new(tar).entries()? {
        let mut member = member?;
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes)?;
        let header = member.header().clone();
        let kind = match header.entry_type() {
            tar::EntryType::Regular => "file",
            tar::EntryType::Directory => "folder",
            tar::EntryType::Symlink => "symlink",
            tar::EntryType::Link => "hardlink",
            _ => "other",
        };
        let link = member.link_name_bytes().filter(|_| kind.ends_with("link")).unwrap_or_default();
        lines.push(plain_path(&format!(
            "{kind} {} {:o} {} {} {} {} {}",
            bytes.len(),
            header.mode()? & 0o7777,
            header.uid()?,
            header.gid()?,
            hex(&member.path_bytes()),
            hex(&link),
            hex(&sha1(&bytes)),
        )));
    }
    Ok(lines)
}

/// Fails unless all readers see the same in each of `tars`, which are plain, as `titles` call them.
fn assert_alike(titles: &[String], tars: &[Vec<u8>], ours: &[Vec<String>]) {
    let dir = temporary();
    for reader in readers(dir.path()) {
        for (at, theirs) in read_by(&reader, dir.path(), tars) {
            assert_eq!(ours[at], theirs, "{} by {}", titles[at], reader.name);
        }
    }
    for ((title, tar), ours) in titles.iter().zip(tars).zip(ours) {
        let theirs = read_by_crate(tar).unwrap_or_else(|error| panic!("{title}: {error}"));
        let without_xattrs = |line: &String| line.rsplit_once(' ').expect("fields").0.to_owned();
        assert_eq!(ours.iter().map(without_xattrs).collect::<Vec<_>>(), theirs, "{title}");
    }
}

const SHA1: &str = "APK-TOOLS.checksum.SHA1";
const CAPABILITY: &[u8] = b"\x01\0\0\x02\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Forms of tars, and what becomes of them. Each begins with the folder `usr` and the file `usr/a`.
fn forms() -> Vec<(&'static str, Fate, Vec<u8>)> {
    let base = || RawTar::new().folder("usr/").file("usr/a", "a");
    let file = || Header::new(b'0', "usr/b");
    let one = |header: Header| base().member(header, b"").end();
    let pax = |key: &str, value: &[u8]| base().record(key, value).file("usr/b", "b").end();
    let before = |bytes: &[u8]| base().extended(bytes).file("usr/b", "b").end();
    let long = "d/".repeat(70) + "end";
    let gnu = |header: Header| header.put(257, b"ustar  \0");
    let old = |kind: u8, name: &str| Header::new(kind, name).put(257, [0; 255]);
    let name_of =
        |kind: u8, name: &[u8]| base().sized(gnu(Header::new(kind, "././@LongLink")), name).file("usr/b", "b").end();
    let typed = |kind: u8| one(Header::new(kind, "usr/b"));
    vec![
        // What is written by the programs that make packages.
        ("as it is", Plain, base().end()),
        ("as abuild writes it", Plain, {
            let records = [record("atime", "0"), record("ctime", "0"), record(SHA1, hex(&sha1(b"b")))].concat();
            // An older checksum stands where a link's target would.
            let legacy = file().put(160, b"APK2\x40\0\x14\0").put(168, sha1(b"b"));
            base().extended(records).sized(legacy, "b").end()
        }),
        ("as Go writes it", Plain, {
            let header = Header::new(b'x', "PaxHeaders.0/b").octal(100, 8, 0).put(265, [0; 64]).put(329, [0; 16]);
            base().sized(header, record(SHA1, hex(&sha1(b"b")))).file("usr/b", "b").end()
        }),
        ("as dpkg-deb writes it", Plain, base().sized(gnu(file()).put(329, [0; 16]), "b").end()),
        ("a link", Plain, one(Header::new(b'2', "usr/b").link("../x"))),
        ("a hard link", Plain, one(Header::new(b'1', "usr/b").link("usr/a"))),
        ("a folder without its slash", Plain, base().folder("usr/b").end()),
        ("a name of 100 bytes", Plain, base().file(&"n".repeat(100), "b").end()),
        ("a prefix", Plain, one(Header::new(b'0', "b").put(345, "usr/c"))),
        ("a prefix of 155 bytes", Plain, one(Header::new(b'0', "b").put(345, "p".repeat(155)))),
        ("a long path", Plain, base().record("path", &long).file("usr/b", "b").end()),
        ("a long target", Plain, {
            base().record("linkpath", &long).member(Header::new(b'2', "usr/b").link("x"), b"").end()
        }),
        ("a time with a fraction", Plain, pax("mtime", b"1700000000.123456789")),
        ("an attribute", Plain, pax("SCHILY.xattr.security.capability", b"\x01\0\0\x02\0\x20\0\0")),
        (
            "what follows a NUL",
            Plain,
            base().sized(file().put(6, b"evil").put(157, b"\0evil").put(270, b"x"), "b").end(),
        ),
        ("a number that ends with a space", Plain, one(file().put(100, "000644 \0"))),
        ("a set-user-ID bit", Plain, one(file().octal(100, 8, 0o4755))),
        ("owners", Plain, one(file().octal(108, 8, 1000).octal(116, 8, 0o7_777_777))),
        ("more zeros at the end", Plain, base().raw([0; 9216]).end()),
        // What readers agree on, but for some.
        ("a long name of GNU", Remade, name_of(b'L', b"usr/c\0")),
        ("a long name of GNU, without its NUL", Remade, name_of(b'L', b"usr/c")),
        ("a long target of GNU", Remade, {
            let name = gnu(Header::new(b'K', "././@LongLink"));
            base().sized(name, "usr/c\0").member(Header::new(b'2', "usr/b"), b"").end()
        }),
        ("an owner in base 256", Remade, one(file().put(108, b"\x80\0\0\0\0\0\0\x01"))),
        ("a size in base 256", Remade, { base().member(file().put(124, b"\x80\0\0\0\0\0\0\0\0\0\0\x01"), b"b").end() }),
        ("a time before 1970", Remade, one(file().put(136, [0xff; 12]))),
        ("a time that is none", Remade, one(file().put(136, "yesterday"))),
        ("a number after spaces", Remade, one(file().put(100, "    644\0"))),
        ("a number that fills its field", Remade, one(file().put(100, "00000644"))),
        ("a mode with the file's type", Remade, one(file().octal(100, 8, 0o100_644))),
        ("a mode with the type of a folder", Remade, one(file().octal(100, 8, 0o040_755))),
        ("numbers of a device that are none", Remade, one(file().put(329, "x"))),
        ("a header of 1979", Remade, base().member(old(0, "usr/b").octal(124, 12, 1), "b").end()),
        ("a file of the old type", Remade, typed(0)),
        ("a contiguous file", Remade, typed(b'7')),
        ("a header of another version", Remade, one(file().put(263, [0, 0]))),
        ("a header of star", Remade, one(file().put(508, "tar"))),
        ("a comment for all", Remade, {
            base().sized(Header::new(b'g', "pax_global_header"), record("comment", "x")).file("usr/b", "b").end()
        }),
        ("a record of another program", Remade, pax("LIBARCHIVE.creationtime", b"0")),
        ("a record of the owner", Remade, pax("uid", b"0")),
        ("a record of the size", Remade, pax("size", b"1")),
        ("a record of the owner's name", Remade, pax("uname", b"root")),
        ("a record of the character set", Remade, pax("hdrcharset", b"ISO-IR 10646 2000 UTF-8")),
        ("a record of a time that is none", Remade, pax("mtime", b"yesterday")),
        ("a record of a time before 1970", Remade, pax("atime", b"-1")),
        ("a target of what is no link", Remade, pax("linkpath", b"/etc")),
        ("a target of what is no link, in the header", Remade, base().sized(file().link("/etc"), "b").end()),
        ("an attribute with a new line", Remade, pax("SCHILY.xattr.security.capability", CAPABILITY)),
        ("an attribute of a folder", Remade, { base().record("SCHILY.xattr.user.x", "x").folder("usr/c/").end() }),
        ("a link whose name ends with a slash", Remade, one(Header::new(b'2', "usr/b/").link("x"))),
        ("a path twice", Remade, base().file("usr/b", "b").file("usr/b", "c").end()),
        ("a folder twice", Remade, base().folder("usr/").end()),
        ("one block of zeros", Remade, base().raw([0; 512]).bytes().to_vec()),
        ("no end", Remade, base().bytes().to_vec()),
        ("an odd end", Remade, base().raw([0; 1100]).bytes().to_vec()),
        // What they do not agree on.
        ("a sparse file of GNU", Refused, typed(b'S')),
        ("a sparse file of PAX 0.0", Refused, pax("GNU.sparse.numblocks", b"1")),
        ("a sparse file of PAX 0.1", Refused, pax("GNU.sparse.map", b"0,1")),
        ("a sparse file of PAX 1.0", Refused, {
            let records = [
                record("GNU.sparse.major", "1"),
                record("GNU.sparse.minor", "0"),
                record("GNU.sparse.name", "usr/bin/su"),
                record("GNU.sparse.realsize", "1"),
            ];
            before(&records.concat())
        }),
        ("a record twice", Refused, before(&[record("path", "usr/b"), record("path", "usr/c")].concat())),
        ("an attribute twice", Refused, {
            let records = [record("SCHILY.xattr.user.x", "1"), record("SCHILY.xattr.user.x", "2")];
            before(&records.concat())
        }),
        ("a record within another", Refused, {
            pax("SCHILY.xattr.user.x", &[b"x\n", &record("path", "etc/passwd")[..]].concat())
        }),
        ("a record at the end of another", Refused, pax("SCHILY.xattr.user.x", b"x\n9 path=x")),
        ("two extended headers", Refused, base().record("atime", "0").record("path", "usr/c").file("usr/b", "b").end()),
        ("an extended header at the end", Refused, base().record("path", "usr/c").end()),
        ("a path for all", Refused, {
            base().sized(Header::new(b'g', "g"), record("path", "usr/c")).file("usr/b", "b").end()
        }),
        ("a record that is too long", Refused, before(b"12 path=x\n")),
        ("a record that is too short", Refused, before(b"11 path=xyz\n")),
        ("a record without a length", Refused, before(b"path=usr/c\n")),
        ("a record with a sign", Refused, before(b"+10 path=x\n")),
        ("a record with a leading zero", Refused, before(b"010 path=x\n")),
        ("a record without its end", Refused, before(b"10 path=xy")),
        ("records, and something behind", Refused, before(&[record("atime", "0"), b"\0\0".to_vec()].concat())),
        ("a path with a new line", Refused, pax("path", b"usr/c\nusr/d")),
        ("a path with a NUL", Refused, pax("path", b"usr/c\0d")),
        ("an empty path", Refused, pax("path", b"")),
        (
            "an empty target",
            Refused,
            base().record("linkpath", "").member(Header::new(b'2', "usr/b").link("x"), b"").end(),
        ),
        (
            "a target with a NUL",
            Refused,
            base().record("linkpath", "x\0y").member(Header::new(b'2', "usr/b"), b"").end(),
        ),
        ("another size in a record", Refused, pax("size", b"0")),
        ("another owner in a record", Refused, pax("uid", b"1000")),
        ("a size that is no number", Refused, pax("size", b"0x1")),
        ("a binary character set", Refused, pax("hdrcharset", b"BINARY")),
        ("a long path of both kinds", Refused, {
            let name = gnu(Header::new(b'L', "././@LongLink"));
            base().sized(name, "usr/c\0").record("path", "usr/d").file("usr/b", "b").end()
        }),
        ("two long names of GNU", Refused, {
            let name = || gnu(Header::new(b'L', "././@LongLink"));
            base().sized(name(), "usr/c\0").sized(name(), "usr/d\0").file("usr/b", "b").end()
        }),
        ("a long name with something behind", Refused, name_of(b'L', b"usr/c\0usr/d")),
        ("a long name that is empty", Refused, name_of(b'L', b"\0")),
        ("content of a link", Refused, base().sized(Header::new(b'2', "usr/b").link("x"), [b'x'; 512]).end()),
        ("content of a hard link", Refused, base().sized(Header::new(b'1', "usr/b").link("usr/a"), [b'x'; 512]).end()),
        ("content of a folder", Refused, base().sized(Header::new(b'5', "usr/b"), [b'x'; 512]).end()),
        ("a large extended header", Refused, pax("comment", &vec![b'x'; 1 << 20])),
        ("a negative size", Refused, one(file().put(124, [0xff; 12]))),
        ("a size beyond all files", Refused, one(file().put(124, b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"))),
        ("a size with a gap", Refused, one(file().put(124, "0 1\0"))),
        ("a size with a sign", Refused, one(file().put(124, "-0000000001\0"))),
        ("an empty size", Refused, one(file().put(124, [0; 12]))),
        ("an owner that is no number", Refused, one(file().put(108, "root\0\0\0\0"))),
        ("a wrong checksum", Refused, {
            let mut block = file().block();
            block[0] = b'x';
            base().raw(block).end()
        }),
        ("a prefix in a header of GNU", Refused, one(gnu(file()).put(345, "etc"))),
        ("a prefix in a header of another version", Refused, one(file().put(263, " \0").put(345, "etc"))),
        ("a prefix in a header of 1979", Refused, one(old(b'0', "usr/b").put(345, "etc"))),
        ("a prefix in a header of star", Refused, one(file().put(345, "etc").put(508, "tar\0"))),
        ("a file that is called as a folder is", Refused, base().file("usr/b/", "").end()),
        ("a record of Solaris", Refused, typed(b'X')),
        ("a folder's list", Refused, typed(b'D')),
        ("a continuation", Refused, typed(b'M')),
        ("a volume", Refused, typed(b'V')),
        ("a list of attributes", Refused, typed(b'A')),
        ("no type at all", Refused, typed(0xff)),
        ("a member behind the end", Refused, base().raw([0; 1024]).file("usr/b", "b").end()),
        ("a member behind one block of zeros", Refused, base().raw([0; 512]).file("usr/b", "b").end()),
        ("half a header", Refused, base().raw([b'x'; 100]).bytes().to_vec()),
        ("half a file", Refused, base().raw(file().size(600).block()).raw([b'x'; 512]).bytes().to_vec()),
        ("a file without its padding", Refused, base().raw(file().size(1).block()).raw("x").bytes().to_vec()),
        ("a hard link before its file", Refused, {
            base().member(Header::new(b'1', "usr/c").link("usr/b"), b"").file("usr/b", "b").end()
        }),
        ("a hard link to what was a file", Refused, {
            let link = Header::new(b'2', "usr/a").link("/etc/shadow");
            base().member(link, b"").member(Header::new(b'1', "usr/b").link("usr/a"), b"").end()
        }),
        ("an attribute of overlayfs", Refused, pax("SCHILY.xattr.trusted.overlay.redirect", b"/etc")),
        ("an attribute without a name", Refused, pax("SCHILY.xattr.", b"x")),
    ]
}

#[test]
fn what_readers_do_not_see_alike_is_no_layer() {
    let dir = temporary();
    let blobs = BlobDir::open(dir.path()).expect("a store");
    let (mut titles, mut tars, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    let mut told = String::new();
    for (title, fate, tar) in forms() {
        let found = match verify(&gzip(&tar), &blobs) {
            Ok(package) => {
                if package.data.plain {
                    titles.push(title.to_owned());
                    ours.push(listed(&package, &blobs));
                    tars.push(tar);
                }
                if package.data.plain { Plain } else { Remade }
            }
            Err(error) => {
                assert_eq!(error.kind(), Kind::Unverified, "{title}: {error}");
                writeln!(told, "{title}: {error}").expect("memory");
                Refused
            }
        };
        assert_eq!(found, fate, "{title}");
    }
    assert_alike(&titles, &tars, &ours);
    insta::assert_snapshot!(told);
}

#[test]
fn one_stream_after_another_and_nothing_else() {
    let dir = temporary();
    let blobs = BlobDir::open(dir.path()).expect("a store");
    let tar = |name: &str| RawTar::new().folder("usr/").file(name, "x").end();
    let (a, b) = (tar("usr/a"), tar("usr/b"));
    // As programs with several threads pack: one tar in several streams.
    let (begin, end) = a.split_at(700);
    assert!(verify(&[gzip(begin), gzip(end)].concat(), &blobs).expect("one tar").data.plain);
    for (title, data) in [
        ("a second tar", [gzip(&a), gzip(&b)].concat()),
        ("something behind the stream", [gzip(&a), b"more".to_vec()].concat()),
        ("zeros behind the stream", [gzip(&a), vec![0; 512]].concat()),
        ("half a stream", gzip(&a)[..60].to_vec()),
    ] {
        let error = verify(&data, &blobs).expect_err(title);
        assert_eq!(error.kind(), Kind::Unverified, "{title}: {error}");
    }
}

/// A header with what follows it.
type Part = (Header, Vec<u8>);

/// A tar of a few members in random forms, then damaged.
fn random_tar(random: &mut Random) -> Vec<u8> {
    let mut parts: Vec<Part> = Vec::new();
    for _ in 0..1 + random.below(4) {
        random_member(random, &mut parts);
    }
    let mut tar = RawTar::new();
    let damaged = if random.chance(60) { random.below(parts.len()) } else { usize::MAX };
    for (at, (mut header, mut content)) in parts.into_iter().enumerate() {
        if at == damaged {
            let byte =
                [random.of(&["\0", " ", "0", "1", "7", "/", "x", "L", "g", "=", "\n", "-", "9", "."]).as_bytes()[0]];
            if !content.is_empty() && random.chance(40) {
                let place = random.below(content.len());
                content[place] = byte[0];
            } else {
                // Mostly where something stands.
                let fields =
                    [0, 4, 100, 107, 108, 116, 124, 134, 136, 156, 157, 257, 262, 263, 265, 329, 345, 499, 500, 508];
                let place = if random.chance(70) { fields[random.below(fields.len())] } else { random.below(512) };
                header = header.put(place, if random.chance(20) { [0x80 + random.below(128) as u8] } else { byte });
            }
        }
        tar = tar.member(header, content);
    }
    let mut bytes = match random.below(20) {
        0 => tar.raw([0; 512]).bytes().to_vec(),
        1 => tar.bytes().to_vec(),
        2 => tar.raw([0; 10_240]).end(),
        _ => tar.end(),
    };
    if random.chance(3) {
        bytes.truncate(random.below(bytes.len()));
    }
    bytes
}

fn random_member(random: &mut Random, parts: &mut Vec<Part>) {
    let names = ["usr/a", "usr/b", "usr/c", "usr/d/e", "x", "y", "usr/d"];
    let name = random.of(&names).to_owned();
    let kind = random.of(&["0", "0", "0", "5", "2", "1"]).as_bytes()[0];
    if random.chance(40) {
        let mut records = Vec::new();
        for _ in 0..1 + random.below(3) {
            let (key, value) = match random.below(12) {
                0 => ("path", "usr/long/".repeat(1 + random.below(30)) + "x"),
                1 => ("linkpath", random.of(&names).to_owned()),
                2 => ("mtime", random.of(&["0", "1.5", "-1", "x"]).to_owned()),
                3 => ("SCHILY.xattr.user.x", random.of(&["", "1", "a\nb", "a=b"]).to_owned()),
                4 => ("SCHILY.xattr.security.capability", random.of(&["\x01\n\x02", "\0\0"]).to_owned()),
                5 => ("size", random.of(&["0", "1", "512"]).to_owned()),
                6 => ("uid", random.of(&["0", "7"]).to_owned()),
                7 => ("GNU.sparse.major", "1".to_owned()),
                8 => (random.of(&["comment", "uname", "charset"]), "x".to_owned()),
                _ => ("atime", "0".to_owned()),
            };
            records.extend(record(key, value));
        }
        parts.push((Header::new(b'x', "PaxHeaders/x").size(records.len()), records));
    }
    if random.chance(5) {
        let name = format!("{}\0", random.of(&names)).into_bytes();
        let kind = random.of(&["L", "K"]).as_bytes()[0];
        parts.push((Header::new(kind, "././@LongLink").put(257, b"ustar  \0").size(name.len()), name));
    }
    let mut header = Header::new(kind, &name);
    if matches!(kind, b'1' | b'2') {
        header = header.link(random.of(&names));
    }
    header = match random.below(12) {
        0 => header.put(257, b"ustar  \0"),
        1 => header.put(345, random.of(&["etc", "usr/lib"])),
        2 => header.octal(100, 8, 0o4755),
        3 => header.octal(108, 8, 1000).octal(116, 8, 100),
        4 => header.put(329, [0; 16]),
        5 => header.put(157 + 50, "junk"),
        _ => header,
    };
    let content = if kind == b'0' || random.chance(4) { vec![b'x'; random.below(3) * 300] } else { Vec::new() };
    parts.push((header.size(content.len()), content));
}

#[test]
fn random_tars_that_may_be_layers_are_read_alike() {
    let dir = temporary();
    let blobs = BlobDir::open(dir.path()).expect("a store");
    let mut random = Random::new(26);
    let (mut titles, mut tars, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    let (mut remade, mut refused) = (0, 0);
    for number in 0..4000 {
        let tar = random_tar(&mut random);
        match verify(&gzip(&tar), &blobs) {
            Ok(package) if package.data.plain && package.data.complete => {
                titles.push(format!("tar {number}"));
                ours.push(listed(&package, &blobs));
                tars.push(tar);
            }
            Ok(_) => remade += 1,
            Err(_) => refused += 1,
        }
    }
    println!("{} plain, {remade} remade, {refused} refused", tars.len());
    assert!(tars.len() > 400 && remade > 200 && refused > 400, "{} plain, {remade} remade", tars.len());
    assert_alike(&titles, &tars, &ours);
}

/// Builds an image of the package `a` whose data are that tar; the titles of its layers and its tree, or what was said.
fn built(home: &Home, tar: &[u8]) -> Result<(Vec<String>, Tree), String> {
    let dir = temporary();
    let keys = Repo::new().with(fake_repo::Package::new("a", "1-r0").data(tar)).publish(dir.path());
    Repo::new().beside("community").publish(dir.path());
    let recipe = "name = \"a\"\ndescription = \"-\"\n[base.alpine]\npackages = [\"a\"]\n[app]\ncmd = [\"/run/a\"]\n";
    fs::write(home.path().join("a.toml"), recipe).expect("a recipe");
    fs::create_dir_all(home.path().join("app")).expect("an app");
    fs::write(home.path().join("app/main"), "").expect("an app");
    let mut command =
        home.microbuild(["./a.toml", "app", "--base", "alpine:3.23", "--platform", "linux/amd64", "--json"]);
    command.args(["-o", "oci:out", "--cmd", "/run/main", "--mirror", &text(dir.path()), "--keys"]).arg(keys);
    let finished = run(&mut command);
    if finished.code != Some(0) {
        assert_eq!(finished.code, Some(4), "{}", finished.stderr);
        return Err(finished.stderr);
    }
    let layers = json(&finished)["layers"].as_array().expect("layers").clone();
    let titles = layers.iter().map(|layer| layer["title"].as_str().expect("a title").to_owned());
    Ok((titles.collect(), Tree::of_layout(&home.path().join("out"))))
}

#[test]
fn a_large_package_is_a_layer_when_all_read_it_alike() {
    let large = noise(9, 2 << 20);
    let with = |tar: RawTar| built(&Home::new(), &tar.end());
    let base = || RawTar::new().folder("usr/").folder("usr/lib/").file("usr/lib/large", &large);
    let (titles, expected) = with(base().file("usr/lib/b", "b")).expect("a package");
    assert_eq!(titles, ["a-1-r0", "system", "app"]);
    for (title, tar) in [
        ("a record of another program", base().record("comment", "x").file("usr/lib/b", "b")),
        ("a file of the old type", base().sized(Header::new(0, "usr/lib/b"), "b")),
        ("a path twice", base().file("usr/lib/b", "x").file("usr/lib/b", "b")),
    ] {
        let (titles, tree) = with(tar).unwrap_or_else(|said| panic!("{title}: {said}"));
        assert_eq!(titles, ["system", "app"], "{title}");
        // apk's database tells the package's own checksum.
        let mut differences = expected.differences(&tree);
        differences.retain(|line| !line.starts_with("lib/apk/db/installed: "));
        assert_eq!(differences, Vec::<String>::new(), "{title}");
    }
    // As it was once done: what this program took for a link's content, an engine took for a file.
    let hidden = RawTar::new().sized(Header::new(b'0', "usr/bin/su").octal(100, 8, 0o4755), "x");
    let said = with(base().sized(Header::new(b'1', "usr/lib/b").link("usr/lib/large"), hidden.bytes()));
    let Err(said) = said else { panic!("it is to be refused") };
    assert!(said.contains("a-1-r0: refused: usr/lib/b: content, which nothing but a file has"), "{said}");
}
