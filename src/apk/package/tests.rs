use super::{testing::Draft, *};
use crate::error::{Explain as _, Kind};

fn blobs() -> (tempfile::TempDir, BlobDir) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let blobs = BlobDir::open(dir.path()).expect("a store");
    (dir, blobs)
}

#[test]
fn a_package_says_what_it_holds() {
    let (_dir, blobs) = blobs();
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let (bytes, record) = Draft::new("a")
        .info("replaces", "b<2")
        .info("replaces", "c")
        .info("replaces_priority", "7")
        .info("triggers", "/usr/lib /etc/*")
        .script("pre-install", "#!/bin/sh\n")
        .dir("usr")
        .pax("SCHILY.xattr.security.capability", &capability)
        .mode(0o4755)
        .owner((5, 6), ("u", "g"))
        .file("usr/a", "abc")
        .hardlink("usr/b", "usr/a")
        .symlink("usr/c", "../../x//y/")
        .finish();
    let package = verify(&bytes[..], &record, &blobs).expect("a good package");
    assert_eq!((package.name.as_str(), package.version.as_str()), ("a", "1-r0"));
    let Info { replaces, replaces_priority, triggers } = &package.info;
    assert_eq!(
        (replaces.join("|"), *replaces_priority, triggers.join("|")),
        ("b<2|c".into(), Some(7), "/usr/lib|/etc/*".into())
    );
    assert_eq!(package.scripts["pre-install"], Script { mode: 0o755, bytes: b"#!/bin/sh\n".to_vec() });
    let entries: Vec<_> =
        package.entries.iter().map(|e| (e.path.as_str(), e.mode, e.uid, e.user.as_str(), &e.kind)).collect();
    let sha1 = [
        0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81, 0x6a, 0xba, 0x3e, 0x25, 0x71, 0x78, 0x50, 0xc2, 0x6c, 0x9c, 0xd0,
        0xd8, 0x9d,
    ];
    let expected = [
        ("usr", 0o755, 0, "root", &EntryKind::Directory),
        ("usr/a", 0o4755, 5, "u", &EntryKind::File { size: 3, sha1 }),
        ("usr/b", 0o644, 5, "u", &EntryKind::Hardlink("usr/a".into())),
        ("usr/c", 0o777, 5, "u", &EntryKind::Symlink("../../x//y/".into())),
    ];
    assert_eq!(entries, expected);
    assert_eq!(package.entries[1].xattrs["security.capability"], capability);
    assert!(package.data.complete);
    assert!(blobs.contains(&package.data.digest, package.data.size), "the data stream is a blob");
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

#[test]
fn members_that_begin_with_a_dot_are_not_installed() {
    let (_dir, blobs) = blobs();
    let package = Draft::new("a").file(".dummy", "x").file("b", "y").verify(&blobs).expect("good");
    let paths: Vec<_> = package.entries.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!((paths, package.data.complete), (vec!["b"], false));
    let mut places = Vec::new();
    visit_members(&blobs, &package, |place, _| {
        places.push(place);
        Ok(())
    })
    .expect("the same again");
    assert_eq!(places, [0]);
}

#[test]
fn hashes_are_of_the_streams_however_the_bytes_come() {
    struct Slowly<'a>(&'a [u8]);
    impl Read for Slowly<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0.read(&mut buf[..1])
        }
    }
    let (bytes, record) = Draft::new("a").file("b", "y".repeat(5000)).finish();
    let package = verify(Slowly(&bytes), &record, &blobs().1).expect("byte by byte");
    assert_eq!(package, verify(&bytes[..], &record, &blobs().1).expect("at once"));
}

/// Says that the connection broke after some bytes.
struct Broken<'a>(&'a [u8]);

impl Read for Broken<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buf)? {
            0 => Err(io::ErrorKind::ConnectionReset.into()),
            n => Ok(n),
        }
    }
}

#[test]
fn every_cut_is_found() {
    let (bytes, record) = Draft::new("a").file("b", "some content").finish();
    for length in 0..bytes.len() {
        let (_dir, blobs) = blobs();
        let short = verify(&bytes[..length], &record, &blobs).expect_err("it is cut");
        assert_eq!(short.kind(), Kind::Unverified, "{length}: {short}");
        let broken = verify(Broken(&bytes[..length]), &record, &blobs).expect_err("it broke");
        assert_eq!(broken.kind(), Kind::Network, "{length}: {broken}");
        assert_eq!(blobs.list().expect("a folder"), [], "{length}");
    }
}

#[test]
fn every_changed_byte_is_found() {
    let (bytes, record) = Draft::new("a").script("pre-install", "x").file("b", "some content").finish();
    verify(&bytes[..], &record, &blobs().1).expect("good");
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        // There is no signature stream: every byte is hashed.
        let error = verify(&changed[..], &record, &blobs().1).expect_err("it was changed");
        assert_eq!(error.kind(), Kind::Unverified, "{at}: {error}");
    }
}

#[test]
fn what_follows_the_end_of_the_archive_is_refused() {
    let padded = |padding: &[u8]| {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(1);
        tar.append_data(&mut header, "a", &b"x"[..]).expect("memory");
        let data = testing::gzip(&[&tar.into_inner().expect("memory")[..], padding].concat());
        let info = format!("pkgname = a\npkgver = 1-r0\ndatahash = {}\n", Digest::of(&data).hex());
        let mut control = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(info.len() as u64);
        control.append_data(&mut header, ".PKGINFO", info.as_bytes()).expect("memory");
        let control = testing::gzip(&control.into_inner().expect("memory"));
        let (_, mut record) = Draft::new("a").finish();
        let sha1 = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &control);
        record.checksum = Checksum::Sha1(sha1.as_ref().try_into().expect("20 bytes"));
        record.size = (control.len() + data.len()) as u64;
        verify(&[control, data].concat()[..], &record, &blobs().1)
    };
    padded(&[0; 9000]).expect("padding");
    for padding in [&[0, 1][..], &[b'x'; 512], &vec![0; 2 << 20]] {
        let error = padded(padding).expect_err("more than padding");
        assert!(matches!(error, PackageError::Refused { .. }), "{error}");
    }
}

#[test]
fn a_control_part_must_say_who_it_is() {
    let (bytes, mut record) = Draft::new("a").finish();
    record.name = "b".into();
    let error = verify(&bytes[..], &record, &blobs().1).expect_err("another name");
    assert_eq!(error.to_string(), "b-1-r0: name in .PKGINFO: expected b, found a");
    record.name = "a".into();
    record.version = "2-r0".parse().expect("a version");
    let error = verify(&bytes[..], &record, &blobs().1).expect_err("another version");
    assert_eq!(error.to_string(), "a-2-r0: version in .PKGINFO: expected 2-r0, found 1-r0");
}

#[test]
fn bytes_that_changed_in_the_store_are_found() {
    let (_dir, blobs) = blobs();
    let package = Draft::new("a").file("b", "one").verify(&blobs).expect("good");
    let other = Draft::new("a").file("b", "two").verify(&blobs).expect("good");
    let path = blobs.path(&package.data.digest);
    std::fs::remove_file(&path).expect("a blob");
    std::fs::copy(blobs.path(&other.data.digest), &path).expect("other bytes");
    let error = visit_members(&blobs, &package, |_, _| Ok(())).expect_err("other bytes");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}
