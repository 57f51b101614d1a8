//! Alpine packages, format v2: three gzip streams in one file (apk-v2(5)).
//!
//! ```text
//! signature  .SIGN.RSA.KEY           not needed here: the signed index names the control stream's hash
//! control    .PKGINFO, scripts       its hash is `C:` in the index; it names the data stream's hash
//! data       the files, a tar.gz     its hash is `datahash` in .PKGINFO
//! ```
//!
//! A [`Package`] exists only as the result of [`verify`], which follows that chain from the index's record. The data stream
//! is kept as a blob of its own under its digest: it is a layer as it stands.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use flate2::bufread::{GzDecoder, MultiGzDecoder};
use serde::{Deserialize, Serialize};

use crate::{
    apk::index::{Checksum, Record},
    digest::{Digest, Hashing},
    error::{Explain, Kind},
    store::{BlobDir, StoreError},
};

/// More than any real signature or control stream holds once it is unpacked, in bytes.
const CONTROL_LIMIT: u64 = 8 << 20;
/// The longest path, and the longest name in it, that Linux opens (PATH_MAX, NAME_MAX).
const PATH_LIMIT: usize = 4096;
const NAME_LIMIT: usize = 255;
/// What the headers and the padding of a data tar may add to its files, in bytes: enough for 40,000 files, whose installed
/// size then allows for more of them.
const TAR_OVERHEAD: u64 = 64 << 20;
/// What may follow the end of the data tar: its padding to a record, zeros.
const TRAILER_LIMIT: u64 = 1 << 20;
/// Prefix of the PAX records that hold extended attributes, as star(1) began it and container engines read it.
pub(crate) const XATTR: &str = "SCHILY.xattr.";

/// Why a package is not taken.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The bytes could not be read; another attempt may succeed.
    #[error("{package}: cannot read it: {source}")]
    Read {
        /// Name and version.
        package: String,
        /// Why.
        source: io::Error,
    },
    /// The file is not what the index says, or not a package at all.
    #[error("{package}: {what}: expected {expected}, found {found}")]
    Mismatch {
        /// Name and version.
        package: String,
        /// What was compared.
        what: &'static str,
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
    },
    /// The package holds something that no package may hold.
    #[error("{package}: refused: {path}: {why}")]
    Refused {
        /// Name and version.
        package: String,
        /// The path in the package.
        path: String,
        /// Why it is refused.
        why: String,
    },
    /// The store cannot take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Explain for PackageError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } => Kind::Network,
            Self::Mismatch { .. } | Self::Refused { .. } => Kind::Unverified,
            Self::Store(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Mismatch { .. } => Some(
                "the mirror may be in the middle of an update, or a proxy changed the file: try again, or another --mirror"
                    .into(),
            ),
            Self::Store(e) => e.hint(),
            Self::Read { .. } | Self::Refused { .. } => None,
        }
    }
}

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
    /// The data stream.
    pub data: Data,
    /// The members of the data tar, in its order.
    pub entries: Vec<Entry>,
}

/// An install script or trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// Permission bits.
    pub mode: u32,
    /// The text. Nothing runs it; what it is known to do is reproduced (see [`crate::rootfs`]).
    #[serde(with = "base64_bytes")]
    pub bytes: Vec<u8>,
}

/// The data stream of a package: a tar.gz.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// Digest of the stream as it is in the package: `datahash`.
    pub digest: Digest,
    /// Its length.
    pub size: u64,
    /// Digest of the tar in it.
    pub diff_id: Digest,
    /// Whether every member of the tar is in [`Package::entries`]; apk passes over those whose names begin with a dot.
    pub complete: bool,
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

/// A member of the data tar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Path below the root, without a slash at either end.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner as the tar has it in numbers.
    pub uid: u64,
    /// Group as the tar has it in numbers.
    pub gid: u64,
    /// Owner's name; empty when the tar has none.
    pub user: String,
    /// Group's name; empty when the tar has none.
    pub group: String,
    /// Extended attributes, such as file capabilities, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// What a member of the data tar is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// A folder.
    Directory,
    /// A file of this many bytes, and the SHA-1 of its content, which apk's database of installed files wants.
    File {
        /// Length in bytes.
        size: u64,
        /// SHA-1 of the content.
        sha1: [u8; 20],
    },
    /// A symbolic link to this target.
    Symlink(String),
    /// Another name of the file at this path of the same package.
    Hardlink(String),
}

mod base64_bytes {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Reads a package, checks it against the index's `record`, and keeps its data stream in `blobs`.
///
/// # Errors
/// When it cannot be read, is not what the record says, holds what no package may hold, or cannot be stored. Nothing of it
/// is in `blobs` then, or only bytes under their right digest.
pub fn verify(reader: impl Read, record: &Record, blobs: &BlobDir) -> Result<Package, PackageError> {
    let package = format!("{}-{}", record.name, record.version);
    let checker = Checker { package: &package, record };
    let mut input = Tap::new(BufReader::with_capacity(1 << 16, reader.take(record.size.saturating_add(1))));
    let verified = checker.streams(&mut input, blobs);
    // A connection that broke looks like a broken file to whoever parses it.
    match input.failure.take() {
        Some(source) => Err(PackageError::Read { package, source }),
        None => verified,
    }
}

struct Checker<'a> {
    package: &'a str,
    record: &'a Record,
}

impl Checker<'_> {
    #[allow(clippy::needless_pass_by_value, reason = "callers have numbers, texts and digests, owned and borrowed")]
    fn mismatch(&self, what: &'static str, expected: impl ToString, found: impl ToString) -> PackageError {
        PackageError::Mismatch {
            package: self.package.to_owned(),
            what,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    fn refused(&self, path: impl Into<String>, why: impl Into<String>) -> PackageError {
        PackageError::Refused { package: self.package.to_owned(), path: path.into(), why: why.into() }
    }

    fn not_a_package(&self, found: impl ToString) -> PackageError {
        self.mismatch("format", "an Alpine package, version 2", found)
    }

    fn streams(&self, input: &mut Tap<impl BufRead>, blobs: &BlobDir) -> Result<Package, PackageError> {
        if input.fill_buf().is_ok_and(|start| start.starts_with(b"ADB")) {
            return Err(self.not_a_package("a package of version 3, which this program cannot read yet"));
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
            return Err(self.mismatch("checksum of the control part (`C:` in the index)", self.record.checksum, found));
        }
        let (info, data_digest, scripts) = self.control(&control.bytes)?;
        let (Listing { diff_id, complete, entries }, size) = self.data(input, data_digest, blobs)?;
        Ok(Package {
            name: self.record.name.clone(),
            version: self.record.version.to_string(),
            info,
            scripts,
            data: Data { digest: data_digest, size, diff_id, complete },
            entries,
        })
    }

    /// Unpacks one gzip member, and hashes its packed bytes.
    fn member(&self, input: &mut Tap<impl BufRead>) -> Result<Member, PackageError> {
        input.hash = Some(Hashes::new());
        let mut bytes = Vec::new();
        let read = GzDecoder::new(&mut *input).take(CONTROL_LIMIT + 1).read_to_end(&mut bytes);
        let hashes = input.hash.take().unwrap_or_else(Hashes::new);
        read.map_err(|e| self.not_a_package(e))?;
        if bytes.len() as u64 > CONTROL_LIMIT {
            return Err(
                self.refused(".PKGINFO", format!("the control part unpacks to more than {CONTROL_LIMIT} bytes"))
            );
        }
        let (sha1, sha256) = hashes.finish();
        Ok(Member { bytes, sha1, sha256 })
    }

    fn control(&self, tar: &[u8]) -> Result<(Info, Digest, BTreeMap<String, Script>), PackageError> {
        let mut pkginfo = None;
        let mut scripts = BTreeMap::new();
        // The control tar has no end: abuild-tar cuts it, so that the three streams are one tar.
        for entry in tar::Archive::new(tar).entries().map_err(|e| self.not_a_package(e))? {
            let mut entry = entry.map_err(|e| self.not_a_package(e))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(|e| self.not_a_package(e))?;
            let header = entry.header();
            if name == ".PKGINFO" {
                pkginfo = Some(bytes);
            } else if let Some(kind) = name.strip_prefix('.') {
                let mode = header.mode().unwrap_or(0o755) & 0o7777;
                scripts.insert(kind.to_owned(), Script { mode, bytes });
            }
        }
        let pkginfo = pkginfo.ok_or_else(|| self.not_a_package("no .PKGINFO"))?;
        let text = String::from_utf8_lossy(&pkginfo);
        let fields = parse_pkginfo(&text);
        let one = |key: &str| fields.iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_str());
        for (key, what, expected) in [
            ("pkgname", "name in .PKGINFO", self.record.name.clone()),
            ("pkgver", "version in .PKGINFO", self.record.version.to_string()),
        ] {
            let found = one(key).unwrap_or("none");
            if found != expected {
                return Err(self.mismatch(what, expected, found));
            }
        }
        let datahash = one("datahash").unwrap_or("none");
        let digest = Digest::from_hex(datahash)
            .map_err(|_| self.mismatch("datahash in .PKGINFO", "64 hexadecimal digits", datahash))?;
        let all = |key: &str| fields.iter().filter(|(k, _)| *k == key).map(|(_, v)| v.clone()).collect::<Vec<_>>();
        let info = Info {
            replaces: all("replaces"),
            replaces_priority: one("replaces_priority").and_then(|v| v.parse().ok()),
            triggers: all("triggers").iter().flat_map(|v| v.split_whitespace()).map(str::to_owned).collect(),
        };
        Ok((info, digest, scripts))
    }

    /// Copies what is left of `input` into `blobs`, provided that it is the data stream that the control part promised, and
    /// holds nothing that is refused. What is in it, and its size.
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
            Some(source) => PackageError::Read { package: self.package.to_owned(), source },
            None => StoreError::Io { what: "write", path: blobs.path(&digest), source }.into(),
        })?;
        if input.consumed > self.record.size {
            return Err(self.mismatch("size in bytes (`S:` in the index)", self.record.size, "more"));
        }
        if input.consumed < self.record.size {
            return Err(self.mismatch("size in bytes (`S:` in the index)", self.record.size, input.consumed));
        }
        // Listed while the disk takes the bytes: each is about half of what a large package costs.
        writer.finish_after(&digest, self.package, |file| self.list(file)).map_err(|e| match e {
            PackageError::Store(StoreError::Digest { found, .. }) => {
                self.mismatch("SHA-256 of the data part (`datahash`)", digest, found)
            }
            e => e,
        })
    }

    /// Lists the members of the data tar, refuses what no package may hold, and hashes the tar.
    fn list(&self, data: &Path) -> Result<Listing, PackageError> {
        let opened = open_tar(data).map_err(|source| StoreError::Io { what: "read", path: data.to_owned(), source });
        // The index's figure counts disk blocks in old packages and bytes in new ones.
        let budget = self.record.installed_size.saturating_mul(2).saturating_add(1 << 20);
        // Members without content, and headers that go on and on, are bombs too.
        let mut tar = Hashing::new(opened?.take(budget.saturating_add(TAR_OVERHEAD)));
        let listed = self.members(&mut tar, budget);
        if tar.get_mut().limit() == 0 {
            return Err(self.bomb("data"));
        }
        let (entries, complete) = listed?;
        self.check_trailer(&mut tar)?;
        let (diff_id, _, _) = tar.finish();
        Ok(Listing { diff_id, complete, entries })
    }

    fn bomb(&self, path: &str) -> PackageError {
        let limit = self.record.installed_size;
        self.refused(path, format!("the package unpacks to far more than the {limit} bytes of its index"))
    }

    /// The members of the tar, and whether these are all; whatever is wrong with one is an error.
    fn members(&self, tar: &mut impl Read, mut budget: u64) -> Result<(Vec<Entry>, bool), PackageError> {
        let mut archive = tar::Archive::new(tar);
        let mut entries: Vec<Entry> = Vec::new();
        let mut complete = true;
        let mut files = BTreeMap::new();
        for member in archive.entries().map_err(|e| self.not_a_package(e))? {
            let mut member = member.map_err(|e| self.not_a_package(e))?;
            let entry = self.entry(&mut member, &mut budget, &files)?;
            if is_metadata(&entry.path) {
                complete = false;
                continue;
            }
            if let EntryKind::File { .. } = entry.kind {
                files.insert(entry.path.clone(), entry.kind.clone());
            } else if !matches!(entry.kind, EntryKind::Hardlink(_)) {
                files.remove(&entry.path);
            }
            entries.push(entry);
        }
        Ok((entries, complete))
    }

    /// Refuses what a reader that goes on behind the end of the archive would find there: no member may be seen by a
    /// container engine and not by this program.
    fn check_trailer(&self, tar: &mut impl Read) -> Result<(), PackageError> {
        let mut left = TRAILER_LIMIT;
        let mut buf = [0; 1 << 12];
        loop {
            let n = tar.read(&mut buf).map_err(|e| self.not_a_package(e))?;
            if n == 0 {
                return Ok(());
            }
            match left.checked_sub(n as u64) {
                Some(rest) if buf[..n].iter().all(|byte| *byte == 0) => left = rest,
                _ => return Err(self.refused("data", "more follows the end of the archive than its padding")),
            }
        }
    }

    fn entry<R: Read>(
        &self,
        member: &mut tar::Entry<'_, R>,
        budget: &mut u64,
        files: &BTreeMap<String, EntryKind>,
    ) -> Result<Entry, PackageError> {
        let path = self.path(&member.path_bytes())?;
        let (recorded, xattrs) = pax_records(member);
        let header = member.header();
        let field = |value: io::Result<u64>| value.map_err(|e| self.refused(&path, e.to_string()));
        let (mode, uid, gid) = (header.mode().map(u64::from), header.uid(), header.gid());
        let (mode, uid, gid) = (field(mode)?, field(uid)?, field(gid)?);
        let name = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let (user, group) = (name(header.username_bytes()), name(header.groupname_bytes()));
        let target = |member: &tar::Entry<'_, R>| {
            let bytes = member.link_name_bytes().unwrap_or_default();
            match String::from_utf8(bytes.into_owned()) {
                Ok(target) if !target.is_empty() && target.len() < PATH_LIMIT && !target.contains('\0') => Ok(target),
                _ => Err(self.refused(&path, "a link without a target that can be used")),
            }
        };
        let kind = match header.entry_type() {
            tar::EntryType::Directory => EntryKind::Directory,
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let size = member.size();
                *budget = budget.checked_sub(size).ok_or_else(|| self.bomb(&path))?;
                let sha1 = match recorded {
                    Some(sha1) => sha1,
                    None => sha1_of(member).map_err(|e| self.not_a_package(e))?,
                };
                EntryKind::File { size, sha1 }
            }
            tar::EntryType::Symlink => EntryKind::Symlink(target(member)?),
            tar::EntryType::Link => {
                let target = target(member)?;
                if !files.contains_key(target.as_str()) {
                    let target = target.escape_debug().take(200).collect::<String>();
                    return Err(self.refused(&path, format!("a hard link to `{target}`, which is no file before it")));
                }
                EntryKind::Hardlink(target)
            }
            tar::EntryType::Char | tar::EntryType::Block => return Err(self.refused(path, "a device node")),
            tar::EntryType::Fifo => return Err(self.refused(path, "a named pipe")),
            other => return Err(self.refused(path, format!("an archive member of the unknown type {other:?}"))),
        };
        #[allow(clippy::cast_possible_truncation, reason = "masked to twelve bits")]
        let mode = (mode & 0o7777) as u32;
        Ok(Entry { path, kind, mode, uid, gid, user, group, xattrs })
    }

    /// A path of the archive as one below the root, when it is one.
    fn path(&self, bytes: &[u8]) -> Result<String, PackageError> {
        let shown = || String::from_utf8_lossy(bytes).into_owned();
        let path = std::str::from_utf8(bytes).map_err(|_| self.refused(shown(), "a path that is not UTF-8"))?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let why = if path.starts_with('/') {
            "an absolute path"
        } else if path.is_empty() || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            "a path that is not plain (it has an empty part, `.` or `..`)"
        } else if path.split('/').any(|part| part.starts_with(".wh.")) {
            "a name that container engines take for a deletion"
        } else if path.chars().any(char::is_control) {
            "a path with a control character"
        } else if path.len() >= PATH_LIMIT || path.split('/').any(|part| part.len() > NAME_LIMIT) {
            "a path that is too long"
        } else {
            return Ok(path.to_owned());
        };
        Err(self.refused(shown().escape_debug().take(200).collect::<String>(), why))
    }
}

/// Gives each member of a package's data to `visit`, in the order of [`Package::entries`]: its place there and its content.
///
/// # Errors
/// When the blob cannot be read or is not what [`verify`] once saw, or `visit` fails.
pub fn visit_members(
    blobs: &BlobDir,
    package: &Package,
    mut visit: impl FnMut(usize, &mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    let mut archive = tar::Archive::new(Hashing::new(open_tar(&blobs.path(&package.data.digest))?));
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "its bytes in the store have changed");
    let mut place = 0;
    for member in archive.entries()? {
        let mut member = member?;
        let path = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        if is_metadata(&path) {
            continue;
        }
        let expected = package.entries.get(place).ok_or_else(damaged)?;
        if path.trim_end_matches('/') != expected.path {
            return Err(damaged());
        }
        visit(place, &mut member)?;
        place += 1;
    }
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink())?;
    let (diff_id, _, _) = rest.finish();
    if diff_id == package.data.diff_id { Ok(()) } else { Err(damaged()) }
}

fn open_tar(path: &Path) -> io::Result<MultiGzDecoder<BufReader<File>>> {
    Ok(MultiGzDecoder::new(BufReader::with_capacity(1 << 17, File::open(path)?)))
}

/// apk takes a name that begins with a dot for metadata of the package, never for a file to install.
fn is_metadata(path: &str) -> bool {
    path.starts_with('.')
}

/// What a data tar holds: its digest, its members, and whether these are all that it has.
struct Listing {
    diff_id: Digest,
    complete: bool,
    entries: Vec<Entry>,
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

/// The SHA-1 that abuild-tar wrote into the member's PAX record `APK-TOOLS.checksum.SHA1`, and the member's extended
/// attributes (`SCHILY.xattr.NAME`).
fn pax_records<R: Read>(member: &mut tar::Entry<'_, R>) -> (Option<[u8; 20]>, BTreeMap<String, Vec<u8>>) {
    let mut sha1 = None;
    let mut xattrs = BTreeMap::new();
    for record in member.pax_extensions().ok().flatten().into_iter().flatten().flatten() {
        match record.key() {
            Ok("APK-TOOLS.checksum.SHA1") => sha1 = parse_sha1(record.value_bytes()),
            Ok(key) => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    xattrs.insert(name.to_owned(), record.value_bytes().to_owned());
                }
            }
            Err(_) => {}
        }
    }
    (sha1, xattrs)
}

fn parse_sha1(hex: &[u8]) -> Option<[u8; 20]> {
    let mut sha1 = [0; 20];
    if hex.len() != 40 || !hex.is_ascii() {
        return None;
    }
    for (byte, pair) in sha1.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(sha1)
}

fn sha1_of(mut reader: impl Read) -> io::Result<[u8; 20]> {
    let mut hash = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    let mut buf = [0; 1 << 14];
    loop {
        match reader.read(&mut buf)? {
            0 => return Ok(fixed(hash)),
            n => hash.update(&buf[..n]),
        }
    }
}

fn fixed<const N: usize>(hash: ring::digest::Context) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(hash.finish().as_ref());
    bytes
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

/// A buffered reader that counts and, when told to, hashes exactly the bytes that its user consumes; a gzip decoder above it
/// takes no byte past the end of its member. It keeps a read error, which decoders hide in errors of their own.
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
            // Asked twice, since the borrow of an answer that is returned would last through the arm that notes the error.
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
