//! Alpine packages, format v2: three gzip streams in one file (apk-v2(5)).
//!
//! ```text
//! signature  .SIGN.RSA.KEY           not needed here: the signed index names the control stream's hash
//! control    .PKGINFO, scripts       its hash is `C:` in the index; it names the data stream's hash
//! data       the files, a tar.gz     its hash is `datahash` in .PKGINFO
//! ```
//!
//! A [`Package`] exists only as the result of [`verify`], which follows that chain from the index's record. The data
//! stream is kept as a blob of its own under its digest: it is a layer as it stands.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use flate2::bufread::{GzDecoder, MultiGzDecoder};
use serde::{Deserialize, Serialize};

use crate::{
    apk::{checksum::Checksum, index::Record},
    digest::Digest,
    package::{Contents, Data, Listed, Lister, Listing, Packing, Style, fixed, visit},
    store::{BlobDir, Key, StoreError},
};

pub use crate::package::{Entry, EntryKind, PackageError, Script};

/// More than any real signature or control stream holds once it is unpacked, in bytes.
const CONTROL_LIMIT: u64 = 8 << 20;

/// apk takes a name that begins with a dot for metadata of the package, never for a file to install.
const STYLE: Style = Style { prefix: "", is_metadata: |path| path.starts_with('.') };

/// A verified package: what the index and its control part say, and what its data part holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `.PKGINFO`.
    pub info: Info,
    /// The install scripts and the trigger, by kind (`pre-install`, `trigger`, …), as they stand in the control part.
    pub scripts: BTreeMap<String, Script>,
    /// The data stream, whose digest is `datahash`.
    pub data: Data,
    /// The members of the data tar, in its order.
    pub entries: Vec<Entry>,
}

/// What `.PKGINFO` says and the index does not (abuild's key-value format, apk-package(5)).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Packages whose files it may replace, as dependencies are written.
    pub replaces: Vec<String>,
    /// Which of two packages that replace each other wins.
    pub replaces_priority: Option<u32>,
    /// Directories whose changes its trigger waits for.
    pub triggers: Vec<String>,
}

impl Listed for Record {
    type Package = Package;

    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> &str {
        self.version.as_str()
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn key(&self) -> Key {
        let key = Key::new().text("kind", "apk").text("name", &self.name).text("version", &self.version);
        key.text("checksum", self.checksum).text("size", self.size)
    }

    fn verify(&self, reader: impl Read, blobs: &BlobDir) -> Result<Package, PackageError> {
        verify(reader, self, blobs)
    }
}

impl Contents for Package {
    fn data(&self) -> &Data {
        &self.data
    }

    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn visit(&self, blobs: &BlobDir, each: impl FnMut(usize, &mut dyn Read) -> io::Result<()>) -> io::Result<()> {
        visit_members(blobs, self, each)
    }
}

/// Reads a package, checks it against the index's `record`, and keeps its data stream in `blobs`.
///
/// # Errors
/// When it cannot be read, is not what the record says, holds what no package may hold, or cannot be stored. Nothing of
/// it is in `blobs` then, or only bytes under their right digest.
pub fn verify(reader: impl Read, record: &Record, blobs: &BlobDir) -> Result<Package, PackageError> {
    let package = format!("{}-{}", record.name, record.version);
    let format = "an Alpine package, version 2";
    let lister = Lister { package: &package, format, installed_size: record.installed_size, style: STYLE };
    let checker = Checker { lister, record };
    let mut input = Tap::new(BufReader::with_capacity(1 << 16, reader.take(record.size.saturating_add(1))));
    let verified = checker.streams(&mut input, blobs);
    // To a parser, a connection that broke looks like a broken file.
    match input.failure.take() {
        Some(source) => Err(PackageError::Read { package, source }),
        None => verified,
    }
}

struct Checker<'a> {
    lister: Lister<'a>,
    record: &'a Record,
}

impl Checker<'_> {
    fn streams(&self, input: &mut Tap<impl BufRead>, blobs: &BlobDir) -> Result<Package, PackageError> {
        if input.fill_buf().is_ok_and(|start| start.starts_with(b"ADB")) {
            return Err(self.lister.not_a_package("a package of version 3, which this program cannot read yet"));
        }
        let mut control = self.member(input)?;
        if is_signature(&control.bytes) {
            control = self.member(input)?;
        }
        let found = match self.record.checksum {
            Checksum::Sha1(_) => Checksum::Sha1(control.sha1),
            Checksum::Sha256(_) => Checksum::Sha256(control.sha256),
        };
        if found != self.record.checksum {
            return Err(self.lister.mismatch(
                "checksum of the control part (`C:` in the index)",
                self.record.checksum,
                found,
            ));
        }
        let (info, data_digest, scripts) = self.control(&control.bytes)?;
        let (Listing { diff_id, complete, plain, entries }, size) = self.data(input, data_digest, blobs)?;
        Ok(Package {
            name: self.record.name.clone(),
            version: self.record.version.to_string(),
            info,
            scripts,
            data: Data { digest: data_digest, size, diff_id, packing: Packing::Gzip, complete, plain },
            entries,
        })
    }

    /// Unpacks one gzip member, and hashes its packed bytes.
    fn member(&self, input: &mut Tap<impl BufRead>) -> Result<Member, PackageError> {
        input.hash = Some(Hashes::new());
        let mut bytes = Vec::new();
        let read = GzDecoder::new(&mut *input).take(CONTROL_LIMIT + 1).read_to_end(&mut bytes);
        let hashes = input.hash.take().unwrap_or_else(Hashes::new);
        read.map_err(|e| self.lister.not_a_package(e))?;
        if bytes.len() as u64 > CONTROL_LIMIT {
            return Err(self
                .lister
                .refused(".PKGINFO", format!("the control part unpacks to more than {CONTROL_LIMIT} bytes")));
        }
        let (sha1, sha256) = hashes.finish();
        Ok(Member { bytes, sha1, sha256 })
    }

    fn control(&self, tar: &[u8]) -> Result<(Info, Digest, BTreeMap<String, Script>), PackageError> {
        let mut pkginfo = None;
        let mut scripts = BTreeMap::new();
        // The control tar has no end: abuild-tar cuts it, so that the three streams are one tar.
        for entry in tar::Archive::new(tar).entries().map_err(|e| self.lister.not_a_package(e))? {
            let mut entry = entry.map_err(|e| self.lister.not_a_package(e))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(|e| self.lister.not_a_package(e))?;
            let header = entry.header();
            // What is there twice, another reader may take from the other place.
            let twice = if name == ".PKGINFO" {
                pkginfo.replace(bytes).is_some()
            } else if let Some(kind) = name.strip_prefix('.') {
                let mode = header.mode().unwrap_or(0o755) & 0o7777;
                scripts.insert(kind.to_owned(), Script { mode, bytes }).is_some()
            } else {
                false
            };
            if twice {
                return Err(self.lister.refused(name, "twice in the control part"));
            }
        }
        let pkginfo = pkginfo.ok_or_else(|| self.lister.not_a_package("no .PKGINFO"))?;
        let text = String::from_utf8_lossy(&pkginfo);
        let fields = parse_pkginfo(&text);
        let one = |key: &str| fields.iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_str());
        for (key, what, expected) in [
            ("pkgname", "name in .PKGINFO", self.record.name.clone()),
            ("pkgver", "version in .PKGINFO", self.record.version.to_string()),
        ] {
            let found = one(key).unwrap_or("none");
            if found != expected {
                return Err(self.lister.mismatch(what, expected, found));
            }
        }
        let datahash = one("datahash").unwrap_or("none");
        let digest = Digest::from_hex(datahash)
            .map_err(|_| self.lister.mismatch("datahash in .PKGINFO", "64 hexadecimal digits", datahash))?;
        let all = |key: &str| fields.iter().filter(|(k, _)| *k == key).map(|(_, v)| v.clone()).collect::<Vec<_>>();
        let info = Info {
            replaces: all("replaces"),
            replaces_priority: one("replaces_priority").and_then(|v| v.parse().ok()),
            triggers: all("triggers").iter().flat_map(|v| v.split_whitespace()).map(str::to_owned).collect(),
        };
        Ok((info, digest, scripts))
    }

    /// Copies what is left of `input` into `blobs`, provided that it is the data stream that the control part promised,
    /// and holds nothing that is refused. What is in it, and its size.
    fn data(
        &self,
        input: &mut Tap<impl BufRead>,
        digest: Digest,
        blobs: &BlobDir,
    ) -> Result<(Listing, u64), PackageError> {
        let expected = self.record.size.saturating_sub(input.consumed);
        if blobs.contains(&digest, expected) {
            return Ok((self.list(&blobs.path(&digest))?, expected));
        }
        let mut writer = blobs.writer()?;
        io::copy(input, &mut writer).map_err(|source| match input.failure.take() {
            Some(source) => PackageError::Read { package: self.lister.package.to_owned(), source },
            None => StoreError::Io { what: "write", path: blobs.path(&digest), source }.into(),
        })?;
        if input.consumed > self.record.size {
            return Err(self.lister.mismatch("size in bytes (`S:` in the index)", self.record.size, "more"));
        }
        if input.consumed < self.record.size {
            return Err(self.lister.mismatch("size in bytes (`S:` in the index)", self.record.size, input.consumed));
        }
        // Listed while the disk takes the bytes: each is about half of what a large package costs.
        writer.finish_after(&digest, self.lister.package, |file| self.list(file)).map_err(|e| match e {
            PackageError::Store(StoreError::Digest { found, .. }) => {
                self.lister.mismatch("SHA-256 of the data part (`datahash`)", digest, found)
            }
            e => e,
        })
    }

    /// What the data stream in the file `data` holds.
    fn list(&self, data: &Path) -> Result<Listing, PackageError> {
        let opened = open_tar(data).map_err(|source| StoreError::Io { what: "read", path: data.to_owned(), source });
        self.lister.list(opened?)
    }
}

/// Gives each member of a package's data to `each`, in the order of [`Package::entries`]: its place there and its
/// content.
///
/// # Errors
/// When the blob cannot be read or is not what [`verify`] once saw, or `each` fails.
pub fn visit_members(
    blobs: &BlobDir,
    package: &Package,
    each: impl FnMut(usize, &mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    visit(open_tar(&blobs.path(&package.data.digest))?, STYLE, &package.entries, &package.data.diff_id, each)
}

fn open_tar(path: &Path) -> io::Result<MultiGzDecoder<BufReader<File>>> {
    Ok(MultiGzDecoder::new(BufReader::with_capacity(1 << 17, File::open(path)?)))
}

struct Member {
    bytes: Vec<u8>,
    sha1: [u8; 20],
    sha256: [u8; 32],
}

/// Whether a first stream is the signature: its first member's name says so.
fn is_signature(tar: &[u8]) -> bool {
    tar.starts_with(b".SIGN.")
}

/// The fields of a `.PKGINFO` in their order; a key may stand there several times.
pub fn parse_pkginfo(text: &str) -> Vec<(&str, String)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(key, value)| (key.trim(), value.trim().to_owned())).collect()
}

struct Hashes {
    sha1: ring::digest::Context,
    sha256: ring::digest::Context,
}

impl Hashes {
    fn new() -> Self {
        use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
        Self { sha1: Context::new(&SHA1_FOR_LEGACY_USE_ONLY), sha256: Context::new(&SHA256) }
    }

    fn finish(self) -> ([u8; 20], [u8; 32]) {
        (fixed(self.sha1), fixed(self.sha256))
    }
}

/// A buffered reader that counts and, when told to, hashes exactly the bytes that its user consumes; a gzip decoder
/// above it takes no byte past the end of its member. It keeps a read error, which decoders hide in errors of their
/// own.
struct Tap<R> {
    inner: R,
    consumed: u64,
    hash: Option<Hashes>,
    failure: Option<io::Error>,
}

impl<R: BufRead> Tap<R> {
    fn new(inner: R) -> Self {
        Self { inner, consumed: 0, hash: None, failure: None }
    }
}

impl<R: BufRead> BufRead for Tap<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        loop {
            // Asked twice, since the borrow of an answer that is returned would last through the arm that notes the
            // error.
            match self.inner.fill_buf() {
                Ok(_) => return self.inner.fill_buf(),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    let copy = io::Error::new(e.kind(), e.to_string());
                    self.failure = Some(e);
                    return Err(copy);
                }
            }
        }
    }

    fn consume(&mut self, n: usize) {
        if let Some(hash) = &mut self.hash
            && let Ok(buffer) = self.inner.fill_buf()
        {
            hash.sha1.update(&buffer[..n]);
            hash.sha256.update(&buffer[..n]);
        }
        self.consumed += n as u64;
        self.inner.consume(n);
    }
}

impl<R: BufRead> Read for Tap<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let n = available.len().min(buf.len());
        buf[..n].copy_from_slice(&available[..n]);
        self.consume(n);
        Ok(n)
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
