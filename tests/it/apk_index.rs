//! Signed indexes: what is opened, and what is refused, with which words.

use std::{fs, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use microbuild::internals::{
    apk::{
        checksum::Checksum,
        dependency::Dependency,
        index::{self, Index, IndexError, Problem},
        key::{Key, KeyRing},
        solve::{Repository, solve},
    },
    error::{Explain as _, Kind},
};

use crate::{
    it::apk_solver::real_index,
    support::{
        alpine,
        apk_file::{End, Entry, SignatureKind, index_stream, tar_gz},
        apk_world::{Stage, index_file},
        fake_repo::{Package, Repo, key, unknown_key},
    },
};

/// A ring with the key of the tests.
fn ring() -> KeyRing {
    let mut ring = KeyRing::new();
    ring.add(Key::parse(key().file_name(), &key().public_pem()).expect("a key"));
    ring
}

/// The bytes of a repository's index.
fn bytes(repo: &Repo) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let keys = repo.publish(dir.path());
    let mut published = KeyRing::new();
    published.add_path(&keys).expect("published keys");
    assert!(published.get(key().file_name()).is_some());
    fs::read(dir.path().join("v3.23/main/x86_64/APKINDEX.tar.gz")).expect("an index")
}

fn repo() -> Repo {
    Repo::new()
        .with(Package::new("a", "1-r0").depends("so:b.so.1"))
        .with(Package::new("b", "2-r1").provides("so:b.so.1=1.2"))
}

fn open(bytes: &[u8]) -> Result<Index, IndexError> {
    index::open(bytes, &ring(), "main")
}

/// The signatures of `keys` over `signed`, all in one stream.
fn signed_by(keys: &[&crate::support::apk_file::Key], signed: &[u8]) -> Vec<u8> {
    let entry = |key: &&crate::support::apk_file::Key| {
        Entry::file(format!(".SIGN.RSA256.{}", key.file_name()), 0o644, key.sign(SignatureKind::Rsa256, signed))
    };
    let mut bytes = tar_gz(&keys.iter().map(entry).collect::<Vec<_>>(), End::Cut);
    bytes.extend_from_slice(signed);
    bytes
}

#[test]
fn opens_what_a_trusted_key_signed() {
    for repo in [repo(), repo().rsa256()] {
        let index = open(&bytes(&repo)).expect("an index");
        let names: Vec<_> = index.records.iter().map(|record| record.file_name()).collect();
        assert_eq!(names, ["a-1-r0.apk", "b-2-r1.apk"]);
        assert_eq!(index.description, "v3.23 main");
    }
}

#[test]
fn one_trusted_signature_of_several_is_enough() {
    let signed = index_stream("two keys", &[]);
    for keys in [[unknown_key(), key()], [key(), unknown_key()]] {
        assert_eq!(open(&signed_by(&keys, &signed)).expect("an index").description, "two keys");
    }
    assert!(matches!(
        open(&signed_by(&[unknown_key()], &signed)).map_err(|error| error.problem),
        Err(Problem::UnknownKey { .. })
    ));
}

#[test]
fn refuses_what_does_not_verify() {
    let whole = bytes(&repo());
    let mut flipped = whole.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let appended = [whole.as_slice(), &index_stream("more", &[])].concat();
    let bad = format!("main: expected a valid signature by {}, found one that does not match", key().file_name());
    let unknown = format!(
        "main: expected a signature by a trusted key ({}), found {}",
        key().file_name(),
        unknown_key().file_name()
    );
    let unsigned = "main: expected a signature, found none".to_owned();
    let cases = [
        ("a wrong signature", bytes(&repo().wrong_signature()), bad.clone()),
        ("a changed byte", flipped, bad.clone()),
        ("a byte less", whole[..last].to_vec(), bad.clone()),
        ("something after it", appended, bad),
        ("a stranger's key", bytes(&repo().unknown_key()), unknown),
        ("no signature", bytes(&repo().unsigned()), unsigned.clone()),
        ("an empty archive", tar_gz(&[], End::Archive), unsigned),
    ];
    for (what, bytes, expected) in cases {
        let error = open(&bytes).expect_err(what);
        assert_eq!(error.to_string(), expected, "{what}");
        assert_eq!(error.kind(), Kind::Unverified, "{what}");
        assert!(error.hint().is_some(), "{what}");
    }
    let error = index::open(&whole, &KeyRing::new(), "main").expect_err("nobody is trusted");
    assert!(error.to_string().contains("by a trusted key (none)"), "{error}");
    assert!(error.hint().expect("a hint").contains("--keys"));
}

#[test]
fn every_cut_is_refused() {
    let whole = bytes(&repo());
    for end in 0..whole.len() {
        let error = open(&whole[..end]).expect_err("a cut index");
        assert_eq!(error.kind(), Kind::Unverified, "{end} bytes: {error}");
    }
}

#[test]
fn refuses_what_is_no_index() {
    let adb = open(b"ADBd\x01\x02").expect_err("another format");
    assert_eq!((adb.kind(), adb.to_string().contains("apk v3 (ADB)")), (Kind::Build, true));
    for junk in [&b""[..], b"<html>", &[0; 600], &[0x1f, 0x8b, 8, 0]] {
        let error = open(junk).expect_err("junk");
        assert!(matches!(error.problem, Problem::Corrupt(_)), "{error}");
    }
    let signed = tar_gz(&[Entry::file("README", 0o644, "hello")], End::Archive);
    let error = open(&signed_by(&[key()], &signed)).expect_err("no APKINDEX");
    assert!(matches!(error.problem, Problem::NoIndex), "{error}");
    let error = open(&bytes(&repo().record("P:half\n\n"))).expect_err("half a record");
    assert!(matches!(error.problem, Problem::Missing { line: 2, field: 'V' }), "{error}");
}

/// Zeros compress a thousandfold.
#[test]
fn a_bomb_in_place_of_signatures_is_not_unpacked() {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    let mut header = tar::Header::new_ustar();
    header.set_path(".SIGN.RSA.bomb").expect("a short name");
    header.set_size(1 << 30);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    bomb.write_all(header.as_bytes()).expect("memory");
    let zeros = vec![0; 1 << 20];
    (0..8).for_each(|_| bomb.write_all(&zeros).expect("memory"));
    let error = open(&bomb.finish().expect("memory")).expect_err("a bomb");
    assert!(matches!(error.problem, Problem::TooLarge { .. } | Problem::Corrupt(_)), "{error}");
    assert_eq!(error.kind(), Kind::Unverified);
}

#[test]
fn the_real_indexes_are_signed_by_the_built_in_keys() {
    for (path, count, description) in [
        ("v3.16/main/x86_64", 4929, "v3.16.3-13-g4d933a1fa3"),
        ("v3.17/main/aarch64", 5004, "v3.17.3-216-g54a39ace82a"),
    ] {
        let Some(index) = real_index(path) else { return };
        assert_eq!((index.records.len(), index.description.as_str()), (count, description));
        let broken: Vec<_> = index.records.iter().filter_map(|record| record.broken.as_deref()).collect();
        // OpenSMTPD 6.8.0p2 has a version outside of the grammar, on which others depend.
        assert!(broken.iter().all(|reason| reason.contains("opensmtpd=6.8.0p2-r4")), "{broken:?}");
    }
}

#[test]
fn a_damaged_record_spoils_what_it_spoils_for_the_real_apk() {
    let Some(apk) = alpine::apk() else { return };
    let stage = Stage::new(apk, "x86_64");
    let record = |name: &str, sum: u8| {
        let checksum = Checksum::Sha1([sum; 20]);
        format!("C:{checksum}\nP:{name}\nV:1\nA:x86_64\nS:1\nI:1\nT:text\nU:u\nL:l\n\n")
    };
    let checksum = format!("C:{}\n", Checksum::Sha1([1; 20]));
    for (field, damaged) in [
        ("S:1", "S:many"),
        ("S:1", "S:-1"),
        ("S:1", "S:"),
        ("I:1", "I:1 MB"),
        ("T:text", "t:yesterday"),
        ("T:text", "k:x"),
        ("T:text", "k:-1"),
        ("T:text", "k:99999999999999999999"),
        ("T:text", "g:what a later apk may add"),
        ("T:text", "X:what a later apk may add"),
        ("T:text", "1:what a later apk may add"),
        ("T:text", "Z:Q1"),
        ("T:text", "T"),
        ("T:text", "Te:xt"),
        ("T:text", ":text"),
        ("T:text", "text"),
        ("T:text", "D:b=1_foo"),
        ("T:text", "D:=1"),
        ("T:text", "i:a=1.x"),
        ("P:a\n", ""),
        ("P:a", "P:"),
        ("V:1\n", ""),
        ("V:1", "V:one"),
        ("A:x86_64\n", ""),
        ("A:x86_64", "A:x86"),
        ("A:x86_64", "A:x86_64 x86"),
        ("C:Q1", "C:Q3"),
        ("C:Q1", "C:"),
        (&checksum, ""),
        (&checksum, "C:Q1AQ==\n"),
    ] {
        let text = record("a", 1).replacen(field, damaged, 1) + &record("b", 2);
        let parsed = index::parse(&text).map_err(|error| error.to_string());
        let repositories = parsed
            .clone()
            .map(|index| vec![Repository { index, tag: None, arch: "x86_64".to_owned() }])
            .unwrap_or_default();
        for name in ["a", "b"] {
            let theirs = stage.add(&[(None, index_file(&text))], &[name.to_owned()]).is_ok();
            let ours = parsed.is_ok() && solve(&repositories, &[Dependency::on(name)], &[]).is_ok();
            assert_eq!(ours, theirs, "{name} with {damaged:?}: {:?}", parsed.as_ref().err());
        }
    }
}
