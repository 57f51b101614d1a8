//! Layers made by hand: good ones, and those that someone wants something with.

use std::{io::Write as _, os::unix::fs::MetadataExt as _, sync::Arc};

use super::*;
use crate::media::{GZIP, TAR, ZSTD};

/// A tar that is written member by member. Paths are written as they are, however bad.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn member(mut self, kind: EntryType, path: &str, mode: u32, link: &str, content: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..path.len()].copy_from_slice(path.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(1234);
        header.set_gid(5678);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, path: &str, content: &str) -> Self {
        self.member(EntryType::Regular, path, 0o644, "", content.as_bytes())
    }

    fn folder(self, path: &str, mode: u32) -> Self {
        self.member(EntryType::Directory, path, mode, "", b"")
    }

    fn symlink(self, path: &str, target: &str) -> Self {
        self.member(EntryType::Symlink, path, 0o777, target, b"")
    }

    fn hard_link(self, path: &str, target: &str) -> Self {
        self.member(EntryType::Link, path, 0o644, target, b"")
    }

    fn pax(self, key: &str, value: &[u8]) -> Self {
        let mut record = [key.as_bytes(), b"=", value, b"\n"].concat();
        let mut len = record.len() + 2;
        while len.to_string().len() + 1 + record.len() != len {
            len += 1;
        }
        record.splice(..0, format!("{len} ").into_bytes());
        self.member(EntryType::XHeader, "pax", 0o644, "", &record)
    }

    fn bytes(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }

    fn layer(self) -> Layer {
        layer(TAR, &self.bytes())
    }
}

fn layer(media_type: &str, tar: &[u8]) -> Layer {
    let packed = match media_type {
        GZIP => {
            // Two members, as layers of this program have them.
            let half = tar.len() / 2;
            let pack = |part: &[u8]| {
                let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gzip.write_all(part).expect("memory");
                gzip.finish().expect("memory")
            };
            [pack(&tar[..half]), pack(&tar[half..])].concat()
        }
        ZSTD => zstd::encode_all(tar, 1).expect("memory"),
        _ => tar.to_vec(),
    };
    Layer {
        digest: Digest::of(&packed),
        diff_id: Digest::of(tar),
        size: packed.len() as u64,
        media_type: media_type.into(),
        title: "test".into(),
        content: Arc::new(packed),
    }
}

/// A folder with a root to unpack into, and a secret beside it.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(dir.path().join("root")).expect("a folder");
        fs::write(dir.path().join("secret"), "secret").expect("write");
        Self { dir }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn unpack(&self, layers: &[Layer]) -> Result<(), UnpackError> {
        let mut unpacker = Unpacker::new(&self.root(), false);
        layers.iter().try_for_each(|layer| unpacker.layer(layer, |_| {}))?;
        unpacker.finish()
    }

    /// What lies in the root, in words.
    fn tree(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut left = vec![self.root()];
        while let Some(folder) = left.pop() {
            for entry in fs::read_dir(folder).expect("a folder").flatten() {
                let (path, meta) = (entry.path(), entry.metadata().expect("metadata"));
                let name = path.strip_prefix(self.root()).expect("below").display().to_string();
                let mode = meta.mode() & 0o7777;
                found.push(if meta.is_dir() {
                    left.push(path);
                    format!("{name}/ {mode:o}")
                } else if meta.is_symlink() {
                    format!("{name} -> {}", fs::read_link(path).expect("a link").display())
                } else {
                    format!("{name} {mode:o} {}", String::from_utf8_lossy(&fs::read(path).expect("a file")))
                });
            }
        }
        found.sort();
        found
    }

    #[track_caller]
    fn is(&self, expected: &[&str]) {
        assert_eq!(self.tree(), expected);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        assert_eq!(fs::read(self.dir.path().join("secret")).expect("the secret"), b"secret");
        assert_eq!(fs::read_dir(self.dir.path()).expect("the folder").count(), 2, "nothing is written beside the root");
        remove_tree(&self.root()).expect("removed, whatever its modes are");
    }
}

#[test]
fn everything_that_a_layer_may_hold() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
    let good = Tar::default()
        .folder("./", 0o755)
        .folder("etc/", 0o555)
        .file("./etc/hosts", "localhost")
        .member(EntryType::Regular, "bin/su", 0o4755, "", b"su")
        .hard_link("bin/su2", "./bin/su")
        .symlink("bin/out", "../../secret")
        .hard_link("bin/out2", "bin/out")
        .member(EntryType::Fifo, "pipe", 0o644, "", b"")
        .member(EntryType::Char, "null", 0o666, "", b"")
        .member(EntryType::GNULongName, "long", 0o644, "", format!("{long}\0").as_bytes())
        .file("short", "long")
        .pax("path", b"pax/\xc3\xa4")
        .file("short", "pax")
        .folder("tmp", 0o1777)
        .folder("closed", 0o0)
        .bytes();
    for media_type in [TAR, GZIP, ZSTD, "application/vnd.docker.image.rootfs.diff.tar.gzip"] {
        let place = Place::new();
        let packed = if media_type.contains("docker") { GZIP } else { media_type };
        let layer = Layer { media_type: media_type.into(), ..layer(packed, &good) };
        let mut read = 0;
        let mut unpacker = Unpacker::new(&place.root(), false);
        unpacker.layer(&layer, |bytes| read += bytes).expect(media_type);
        unpacker.finish().expect("finished");
        assert_eq!(read, layer.size);
        place.is(&[
            "bin/ 755",
            "bin/out -> ../../secret",
            "bin/out2 -> ../../secret",
            "bin/su 755 su",
            "bin/su2 755 su",
            "closed/ 0",
            &format!("{}/ 755", "d".repeat(120)),
            &format!("{long} 644 long"),
            "etc/ 555",
            "etc/hosts 644 localhost",
            "pax/ 755",
            "pax/ä 644 pax",
            "tmp/ 1777",
        ]);
        let meta = place.root().join("etc/hosts").metadata().expect("there");
        assert_eq!((meta.mtime(), meta.nlink()), (1_700_000_000, 1));
        assert_eq!(place.root().join("bin/su").metadata().expect("there").nlink(), 2);
        assert_eq!(place.root().join("etc").metadata().expect("there").mtime(), 1_700_000_000);
    }
}

#[test]
fn real_root_keeps_owners_and_setuid() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    let layer = Tar::default()
        .member(EntryType::Regular, "su", 0o4755, "", b"su")
        .symlink("link", "su")
        .folder("folder", 0o2755)
        .layer();
    let mut unpacker = Unpacker::new(&place.root(), true);
    unpacker.layer(&layer, |_| {}).expect("unpacked");
    unpacker.finish().expect("finished");
    for (path, mode) in [("su", 0o4755), ("folder", 0o2755), ("link", 0o777)] {
        let meta = place.root().join(path).symlink_metadata().expect("there");
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (1234, 5678, mode), "{path}");
    }
}

#[test]
fn layers_cover_each_other() {
    let below = || {
        Tar::default()
            .folder("a", 0o500)
            .file("a/one", "1")
            .file("a/two", "2")
            .file("a/deep/three", "3")
            .file("file", "f")
            .folder("folder", 0o755)
            .file("folder/x", "x")
            .symlink("link", "a")
            .layer()
    };
    let all =
        ["a/ 500", "a/deep/ 755", "a/deep/three 644 3", "a/one 644 1", "a/two 644 2", "file 644 f", "folder/ 755"];
    let all = [&all[..], &["folder/x 644 x", "link -> a"]].concat();
    let without = |gone: &[&str], more: &[&str]| {
        let mut left: Vec<_> = all.iter().copied().filter(|line| !gone.iter().any(|g| line.starts_with(g))).collect();
        left.extend(more);
        left.sort_unstable();
        left.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let t = Tar::default;
    for (what, above, expected) in [
        ("nothing", t(), without(&[], &[])),
        ("a deletion", t().file("a/.wh.one", ""), without(&["a/one"], &[])),
        ("of a folder", t().file(".wh.a", ""), without(&["a"], &[])),
        ("of a link, not its target", t().file(".wh.link", ""), without(&["link"], &[])),
        ("of nothing", t().file("b/c/.wh.none", ""), without(&[], &[])),
        ("of what lies in no folder", t().file("file/.wh.x", ""), without(&[], &[])),
        ("an opaque folder", t().file("a/.wh..wh..opq", ""), without(&["a/deep", "a/one", "a/two"], &[])),
        (
            "opaque, after what it brings",
            t().file("a/deep/new", "n").file("a/one", "new").file("a/.wh..wh..opq", ""),
            without(&["a/deep/three", "a/one", "a/two"], &["a/deep/new 644 n", "a/one 644 new"]),
        ),
        (
            "deleted and brought again",
            t().file("a/new", "n").file(".wh.a", ""),
            without(&["a/deep", "a/one", "a/two"], &["a/new 644 n"]),
        ),
        ("a file over a folder", t().file("folder", "now"), without(&["folder"], &["folder 644 now"])),
        ("a folder over a file", t().folder("file", 0o711), without(&["file"], &["file/ 711"])),
        ("a folder over a link", t().folder("link", 0o711), without(&["link"], &["link/ 711"])),
        ("a file over a link", t().file("link", "now"), without(&["link"], &["link 644 now"])),
        ("another mode", t().folder("a", 0o711), without(&["a/ 500"], &["a/ 711"])),
        ("engines' own", t().file(".wh..wh.plnk", ""), without(&[], &[])),
    ] {
        let place = Place::new();
        place.unpack(&[below(), above.layer()]).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(place.tree(), expected, "{what}");
    }
}

#[test]
fn nothing_leaves_the_root() {
    let t = Tar::default;
    let cases = [
        ("parent", t().file("../evil", "")),
        ("parent within", t().file("a/../../evil", "")),
        ("absolute", t().file("/evil", "")),
        ("folder above", t().folder("..", 0o777)),
        ("through a link", t().symlink("out", "..").file("out/evil", "")),
        ("through an absolute link", t().symlink("out", "/tmp").file("out/microbuild-evil", "")),
        ("through a link within", t().folder("a", 0o755).symlink("in", "a").file("in/evil", "")),
        ("folder through a link", t().symlink("out", "..").folder("out/evil", 0o755)),
        ("link through a link", t().symlink("out", "..").symlink("out/evil", "x")),
        ("hard link to outside", t().hard_link("evil", "../secret")),
        ("hard link to an absolute path", t().hard_link("evil", "/etc/passwd")),
        ("hard link through a link", t().symlink("out", "..").hard_link("evil", "out/secret")),
        ("hard link to a folder", t().folder("a", 0o755).hard_link("evil", "a")),
        ("hard link to nothing", t().hard_link("evil", "nothing")),
        ("deletion through a link", t().symlink("out", "..").file("out/.wh.secret", "")),
        ("opaque through a link", t().symlink("out", "..").file("out/.wh..wh..opq", "")),
        ("deletion of the parent", t().file(".wh...", "")),
        ("deletion of the folder", t().folder("a", 0o755).file("a/.wh..", "")),
        ("deletion of nothing", t().file(".wh.", "")),
        ("below a file", t().file("file", "").file("file/evil", "")),
        ("by a PAX record", t().pax("path", b"../evil").file("good", "")),
        ("by a PAX link", t().pax("linkpath", b"../secret").hard_link("evil", "good")),
    ];
    let mut told = String::new();
    for (what, tar) in cases {
        let place = Place::new();
        let error = place.unpack(&[tar.layer()]).expect_err(what);
        assert_eq!(error.kind(), Kind::Unverified, "{what}: {error}");
        told += &format!("{what}: {error}\n");
    }
    insta::assert_snapshot!(told);
}

#[test]
fn a_file_written_over_a_link_does_not_follow_it() {
    let place = Place::new();
    let links = Tar::default().symlink("secret", "../secret").symlink("other", "../secret").layer();
    let files = Tar::default().file("secret", "mine").hard_link("other", "secret").layer();
    place.unpack(&[links, files]).expect("unpacked");
    place.is(&["other 644 mine", "secret 644 mine"]);
}

#[test]
fn what_is_not_the_layer_is_refused() {
    let good = Tar::default().file("file", "content").bytes();
    let other = Layer { diff_id: Digest::of("other"), ..layer(GZIP, &good) };
    let error = Place::new().unpack(&[other]).expect_err("another diff_id");
    assert_eq!((error.kind(), error.kind() as u8), (Kind::Unverified, 4));
    assert!(error.to_string().starts_with("layer test: expected the diff_id sha256:"), "{error}");
    // What follows the end of the archive counts.
    let longer = [&good[..], &[1; 512]].concat();
    let padded = Layer { diff_id: Digest::of(&good), ..layer(ZSTD, &longer) };
    assert!(matches!(Place::new().unpack(&[padded]), Err(UnpackError::DiffId { .. })));
    Place::new().unpack(&[layer(ZSTD, &longer)]).expect("it is what it says");
    let short = layer(TAR, &good[..600]);
    Place::new().unpack(&[short]).expect_err("cut in a file");
    let unpacked = Layer { media_type: GZIP.into(), ..layer(TAR, &good) };
    assert!(matches!(Place::new().unpack(&[unpacked]), Err(UnpackError::Read { .. })));
    let unknown = Layer { media_type: "text/plain".into(), ..layer(TAR, &good) };
    assert!(matches!(Place::new().unpack(&[unknown]), Err(UnpackError::MediaType { .. })));
    let noise = layer(TAR, &[7; 2048]);
    Place::new().unpack(&[noise]).expect_err("no tar");
}

#[test]
fn places_to_mount_at_are_made_where_there_are_none() {
    let place = Place::new();
    let layer = Tar::default()
        .folder("etc", 0o555)
        .symlink("etc/resolv.conf", "/run/resolv.conf")
        .file("etc/hosts", "mine")
        .symlink("tmp", "var/tmp")
        .folder("var/tmp", 0o1777)
        .symlink("dangling", "nowhere")
        .layer();
    let mut unpacker = Unpacker::new(&place.root(), false);
    unpacker.layer(&layer, |_| {}).expect("unpacked");
    for (path, is_file) in
        [("etc/resolv.conf", true), ("etc/hosts", true), ("tmp", false), ("/app/src", false), ("tmp/x", false)]
    {
        unpacker.mount_point(path, is_file).map_err(|e| assert_eq!(path, "tmp/x", "{e}")).ok();
    }
    unpacker.mount_point("../out", false).expect_err("it leaves the root");
    unpacker.finish().expect("finished");
    place.is(&[
        "app/ 755",
        "app/src/ 755",
        "dangling -> nowhere",
        "etc/ 555",
        "etc/hosts 644 mine",
        "etc/resolv.conf 644 ",
        "tmp -> var/tmp",
        "var/ 755",
        "var/tmp/ 1777",
    ]);
}
