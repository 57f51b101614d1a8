use proptest::prelude::*;

use super::{
    testing::{Draft, ar, pack, record},
    *,
};
use crate::{
    error::{Explain as _, Kind},
    package::EntryKind,
};

const PACKINGS: [Packing; 4] = [Packing::Xz, Packing::Zstd, Packing::Gzip, Packing::Plain];

fn blobs() -> (tempfile::TempDir, BlobDir) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let blobs = BlobDir::open(dir.path()).expect("a store");
    (dir, blobs)
}

fn draft() -> Draft {
    Draft::new("a").fields("Maintainer: me\nDescription: b\n c").dir("usr").mode(0o4755).file("usr/a", "abc")
}

#[test]
fn a_package_says_what_it_holds() {
    for packing in PACKINGS {
        let (_dir, blobs) = blobs();
        let package = draft()
            .packing(packing)
            .control("postinst", "#!/bin/sh\n")
            .control("md5sums", "900150983cd24fb0d6963f7d28e17f72  usr/a\n")
            .control("conffiles", "/etc/a\nremove-on-upgrade /etc/b\n")
            .control("triggers", "activate-noawait ldconfig\n")
            .control("shlibs", "liba 1 a\n")
            .hardlink("usr/b", "usr/a")
            .symlink("usr/c", "../../x//y/")
            .before_data("_gpgorigin", b"odd")
            .verify(&blobs)
            .expect("a good package");
        assert_eq!((&*package.name, &*package.version, &*package.architecture), ("a", "1-1", "amd64"));
        assert!(package.control.starts_with("Package: a\n") && package.control.ends_with("Description: b\n c\n"));
        assert_eq!(package.md5sums, "900150983cd24fb0d6963f7d28e17f72  usr/a\n");
        assert_eq!(
            (package.conffiles.join("|"), package.triggers.join("|")),
            ("etc/a".into(), "activate-noawait ldconfig".into())
        );
        assert_eq!(package.scripts.keys().collect::<Vec<_>>(), ["postinst"]);
        assert_eq!(package.scripts["postinst"], Script { mode: 0o755, bytes: b"#!/bin/sh\n".to_vec() });
        let entries: Vec<_> = package.entries.iter().map(|e| (e.path.as_str(), e.mode, e.user.as_str())).collect();
        let expected = [("usr", 0o755), ("usr/a", 0o4755), ("usr/b", 0o755), ("usr/c", 0o755)];
        assert_eq!(entries, expected.map(|(path, mode)| (path, mode, "root")));
        assert!(matches!(package.entries[1].kind, EntryKind::File { size: 3, .. }));
        assert_eq!(package.entries[2].kind, EntryKind::Hardlink("usr/a".into()));
        assert_eq!(package.entries[3].kind, EntryKind::Symlink("../../x//y/".into()));
        assert_eq!(
            (package.data.packing, package.data.media_type().is_some()),
            (packing, matches!(packing, Packing::Gzip | Packing::Zstd))
        );
        assert!(blobs.contains(&package.data.digest, package.data.size), "the data member is a blob");
        assert_eq!(packing == Packing::Plain, package.data.digest == package.data.diff_id);
        let memo: Package = serde_json::from_slice(&serde_json::to_vec(&package).expect("JSON")).expect("JSON");
        assert_eq!(memo, package);
        let mut seen = Vec::new();
        visit_members(&blobs, &package, |place, content| {
            let mut text = String::new();
            content.read_to_string(&mut text)?;
            seen.push((place, text));
            Ok(())
        })
        .expect("the same again");
        assert_eq!(seen, [(0, String::new()), (1, "abc".into()), (2, String::new()), (3, String::new())]);
    }
}

#[test]
fn paths_need_no_dot_before_them() {
    let (_dir, blobs) = blobs();
    let regular = tar::EntryType::Regular;
    let package = Draft::new("a").raw(regular, "usr/a", "", b"x").raw(tar::EntryType::Link, "usr/b", "usr/a", b"");
    assert_eq!(package.verify(&blobs).expect("good").entries[1].kind, EntryKind::Hardlink("usr/a".into()));
}

#[test]
fn every_cut_and_every_change_is_found() {
    let (bytes, record) = draft().packing(Packing::Gzip).finish();
    for at in 0..bytes.len() {
        let (_dir, blobs) = blobs();
        let short = verify(&bytes[..at], &record, &blobs).expect_err("it is cut");
        let expected = format!("a 1-1: size in bytes (`Size` in the index): expected {}, found {at}", bytes.len());
        assert_eq!((short.to_string(), short.kind()), (expected, Kind::Unverified));
        let mut changed = bytes.clone();
        changed[at] ^= 0x40;
        let wrong = verify(&changed[..], &record, &blobs).expect_err("it is changed");
        assert!(wrong.to_string().starts_with("a 1-1: SHA-256 (`SHA256` in the index): expected sha256:"), "{wrong}");
        assert_eq!(wrong.kind(), Kind::Unverified);
        assert!(blobs.list().expect("a list").is_empty(), "nothing is left behind");
    }
    let long = verify(&[&bytes[..], b"x"].concat()[..], &record, &blobs().1).expect_err("it is longer");
    assert!(long.to_string().ends_with("found more"), "{long}");
}

#[test]
fn a_broken_connection_is_no_broken_package() {
    struct Broken<'a>(&'a [u8]);
    impl Read for Broken<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buf)? {
                0 => Err(io::ErrorKind::ConnectionReset.into()),
                n => Ok(n),
            }
        }
    }
    let (bytes, record) = draft().finish();
    for at in [0, 5, 100, bytes.len() - 1] {
        let error = verify(Broken(&bytes[..at]), &record, &blobs().1).expect_err("broken");
        assert!(matches!(error, PackageError::Read { .. }), "{error}");
        assert_eq!(error.kind(), Kind::Network);
    }
}

/// The refusal of a file that the index vouches for.
fn refusal(bytes: &[u8]) -> String {
    let error = verify(bytes, &record("a", bytes, 1024), &blobs().1).expect_err("refused");
    assert_eq!(error.kind(), Kind::Unverified);
    error.to_string()
}

#[test]
fn says_what_is_no_package() {
    let version = ar("debian-binary", b"2.0\n");
    let control = ar("control.tar.gz", b"x");
    let cases = [
        (b"".to_vec(), "failed to fill whole buffer"),
        (b"PK\x03\x04....".to_vec(), "a file that is no ar archive"),
        (b"!<arch>\n".to_vec(), "an archive that is cut"),
        ([b"!<arch>\n", &ar("debian-binary", b"1.0\n")[..]].concat(), "the member debian-binary with `1.0`"),
        ([b"!<arch>\n", &ar("x", b"2.0\n")[..]].concat(), "the member x with `2.0`"),
        ([b"!<arch>\n", &version[..], &ar("data.tar", b"")].concat(), "the member data.tar where control.tar belongs"),
        (
            [b"!<arch>\n", &version[..], &ar("control.tar.bz2", b"")].concat(),
            "the member control.tar.bz2, of an unknown packing",
        ),
        ([b"!<arch>\n", &version[..], &control].concat(), "an archive that is cut"),
        ([b"!<arch>\n", &version[..], &control, &ar("data.tar.xz", b"xyz")[..61]].concat(), "an archive that is cut"),
        ([b"!<arch>\n", &version[..], &[b' '; 60]].concat(), "an archive whose member has no header"),
        (
            [b"!<arch>\n", &version[..], &ar("control.tar", b"")].concat().replace_size(),
            "an archive whose member has no size",
        ),
    ];
    for (bytes, found) in cases {
        assert_eq!(refusal(&bytes), format!("a 1-1: format: expected a Debian package, version 2.0, found {found}"));
    }
    let unpackable = [b"!<arch>\n", &version[..], &control, &ar("data.tar.xz", b"xyz")].concat();
    assert!(refusal(&unpackable).starts_with("a 1-1: format: expected a Debian package, version 2.0, found "));
    let empty = pack(Packing::Gzip, &[0; 1024]);
    let empty = [b"!<arch>\n", &version[..], &ar("control.tar.gz", &empty), &ar("data.tar.gz", &empty)].concat();
    assert!(refusal(&empty).ends_with("found no file control"));
}

trait ReplaceSize {
    fn replace_size(self) -> Self;
}

impl ReplaceSize for Vec<u8> {
    /// Writes no number where the last member's size stands.
    fn replace_size(mut self) -> Self {
        let end = self.len();
        self[end - 12..end - 2].copy_from_slice(b"many      ");
        self
    }
}

#[test]
fn the_package_is_the_one_of_the_index() {
    let (bytes, _) = draft().finish();
    let error = verify(&bytes[..], &record("b", &bytes, 1024), &blobs().1).expect_err("another");
    assert_eq!(error.to_string(), "b 1-1: name in control: expected b, found a");
}

#[test]
fn what_no_package_may_hold_is_refused() {
    use tar::EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};
    let cases: [(tar::EntryType, &str, &str, &str); 11] = [
        (Regular, "./../x", "", "../x: a path that is not plain (it has an empty part, `.` or `..`)"),
        (Regular, "/etc/x", "", "/etc/x: an absolute path"),
        (Regular, ".//etc/x", "", "/etc/x: an absolute path"),
        (Directory, "./a/./b/", "", "a/./b/: a path that is not plain (it has an empty part, `.` or `..`)"),
        (Regular, "./a/.wh.b", "", "a/.wh.b: a name that container engines take for a deletion"),
        (Regular, "./a\nb", "", "a\\nb: a path with a control character"),
        (Char, "./dev/null", "", "dev/null: a device node"),
        (Block, "./dev/sda", "", "dev/sda: a device node"),
        (Fifo, "./pipe", "", "pipe: a named pipe"),
        (Link, "./a", "./none", "a: a hard link to `none`, which is no file before it"),
        (Symlink, "./a", "", "a: a link without a target that can be used"),
    ];
    for (kind, path, target, why) in cases {
        let (_dir, blobs) = blobs();
        let error = Draft::new("a").raw(kind, path, target, b"").verify(&blobs).expect_err(why);
        assert_eq!(error.to_string(), format!("a 1-1: refused: {why}"));
        assert!(blobs.list().expect("a list").is_empty(), "nothing is left behind");
    }
    let bomb =
        Draft::new("a").installed_size(1).file("zeros", vec![0; 2 << 20]).verify(&blobs().1).expect_err("a bomb");
    assert_eq!(
        bomb.to_string(),
        "a 1-1: refused: zeros: the package unpacks to far more than the 1024 bytes of its index"
    );
}

#[test]
fn a_blob_that_changed_is_found() {
    let (_dir, blobs) = blobs();
    let package = draft().packing(Packing::Plain).verify(&blobs).expect("good");
    let path = blobs.path(&package.data.digest);
    let mut bytes = std::fs::read(&path).expect("the blob");
    let at = bytes.windows(3).position(|window| window == b"abc").expect("the content");
    bytes[at] = b'x';
    std::fs::remove_file(&path).and_then(|()| std::fs::write(&path, bytes)).expect("written");
    let error = visit_members(&blobs, &package, |_, _| Ok(())).expect_err("changed");
    assert_eq!(error.to_string(), "its bytes in the store have changed");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), packing in 0..4_usize) {
        let (_dir, blobs) = blobs();
        let end = PACKINGS[packing].extension();
        let parts = [
            b"!<arch>\n".to_vec(),
            ar("debian-binary", b"2.0\n"),
            ar(&format!("control.tar{end}"), &pack(PACKINGS[packing], &bytes)),
            ar(&format!("data.tar{end}"), &bytes),
        ];
        for count in 0..=parts.len() {
            let file = [parts[..count].concat(), bytes.clone()].concat();
            let _ = verify(&file[..], &record("a", &file, 1), &blobs);
        }
    }
}
