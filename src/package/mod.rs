//! What Alpine's and Debian's packages have in common: an index lists them ([`Listed`]), and they hold files in a tar
//! ([`Contents`]). What no package may hold is refused here: paths out of the root, devices, bombs.
//!
//! [`crate::apk::package`] and [`crate::deb::package`] know the containers around that tar, and the checksums that
//! vouch for it. [`locked`] is a package that was chosen for an image.

pub mod locked;
mod members;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::{self, Read, Write},
};

use flate2::bufread::MultiGzDecoder;
use liblzma::{read::XzDecoder, stream::Stream};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    digest::{Digest, Hashing},
    elf::{Scanned, Scanner},
    error::{Explain, Kind},
    media::{GZIP, ZSTD},
    store::{BlobDir, Key, StoreError},
};
use members::{Member, MemberKind, Members, TarError};

/// The longest path, and the longest name in it, that Linux opens (PATH_MAX, NAME_MAX).
const PATH_LIMIT: usize = 4096;
const NAME_LIMIT: usize = 255;
/// What the headers and the padding of a data tar may add to its files, in bytes: enough for 40,000 files, whose
/// installed size then allows for more of them.
const TAR_OVERHEAD: u64 = 64 << 20;
/// What may follow the end of the data tar: its padding to a record, zeros.
const TRAILER_LIMIT: u64 = 1 << 20;
/// What `xz -9` asks for is 65 MB.
const XZ_MEMORY: u64 = 256 << 20;
/// Prefixes of the attributes with which overlayfs marks files that are deleted, moved or elsewhere: engines that keep
/// layers on it take a package's for their own.
const OVERLAY: [&str; 2] = ["trusted.overlay.", "user.overlay."];

/// A package as a verified index lists it.
pub trait Listed: Clone + Send + Sync {
    /// What comes of it once it is fetched and verified.
    type Package: Contents + Clone + Serialize + DeserializeOwned + Send;

    /// Its name.
    fn name(&self) -> &str;

    /// Its version.
    fn version(&self) -> &str;

    /// The size of its file, in bytes.
    fn size(&self) -> u64;

    /// Names what [`verify`](Self::verify) makes of its file, and hence all of the record that this depends on.
    fn key(&self) -> Key;

    /// Reads the package, checks it against this record, and keeps its data in `blobs`.
    ///
    /// # Errors
    /// When it cannot be read, is not what the record says, holds what no package may hold, or cannot be stored.
    fn verify(&self, reader: impl Read, blobs: &BlobDir) -> Result<Self::Package, PackageError>;

    /// Name and version.
    fn title(&self) -> String {
        format!("{}-{}", self.name(), self.version())
    }
}

/// A verified package: files in a tar.
pub trait Contents {
    /// The tar, as it lies in the package.
    fn data(&self) -> &Data;

    /// What is in it, in its order.
    fn entries(&self) -> &[Entry];

    /// Gives each member of the tar to `each`, in the order of [`entries`](Self::entries): its place there and its
    /// content.
    ///
    /// # Errors
    /// When the blob cannot be read or is not what was once verified, or `each` fails.
    fn visit(&self, blobs: &BlobDir, each: impl FnMut(usize, &mut dyn Read) -> io::Result<()>) -> io::Result<()>;
}

/// The data of a package: a tar, packed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// Digest of the bytes as they are in the package.
    pub digest: Digest,
    /// Their length.
    pub size: u64,
    /// Digest of the tar in them.
    pub diff_id: Digest,
    /// How it is packed.
    pub packing: Packing,
    /// Whether every member of the tar is among the package's entries; apk skips those whose names begin with a dot.
    pub complete: bool,
    /// Whether the tar is written so that every reader of tars sees in it what the package's entries say.
    pub plain: bool,
}

impl Data {
    /// The media type that the data have as a layer, as they are; `None` when container engines would not take them, or
    /// might see something else in them than this program does.
    pub fn media_type(&self) -> Option<&'static str> {
        match self.packing {
            Packing::Gzip if self.plain => Some(GZIP),
            Packing::Zstd if self.plain => Some(ZSTD),
            _ => None,
        }
    }
}

/// How a file is packed, as the end of its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// `.xz`
    Xz,
    /// `.zst`
    Zstd,
    /// `.gz`
    Gzip,
    /// Nothing.
    Plain,
}

impl Packing {
    /// The packing of a file of that name. `None` for another one, such as `.bz2`.
    pub fn of(name: &str) -> Option<Self> {
        Some(match name.rsplit('/').next()?.rsplit_once('.').map_or("", |(_, end)| end) {
            "xz" => Self::Xz,
            "zst" => Self::Zstd,
            "gz" => Self::Gzip,
            "" | "tar" => Self::Plain,
            _ => return None,
        })
    }

    /// The end of a packed file's name, with its dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Xz => ".xz",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
            Self::Plain => "",
        }
    }

    /// A reader of what is packed in `input`.
    ///
    /// # Errors
    /// When the decoder cannot be set up.
    pub fn reader<'a>(self, input: impl io::BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Xz => {
                let stream = Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
                Box::new(XzDecoder::new_stream(input, stream))
            }
            Self::Zstd => Box::new(zstd::Decoder::with_buffer(input)?),
            Self::Gzip => Box::new(MultiGzDecoder::new(input)),
            Self::Plain => Box::new(input),
        })
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Plain => "none",
        })
    }
}

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

/// An install script or trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// Permission bits.
    pub mode: u32,
    /// The text. Nothing runs it; what it is known to do is reproduced (see [`crate::rootfs`]).
    #[serde(with = "base64_bytes")]
    pub bytes: Vec<u8>,
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
    /// What a loader needs to know of a file.
    #[serde(default, skip_serializing_if = "Scanned::is_no")]
    pub elf: Scanned,
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

/// How a kind of package writes its data tar.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// What stands before every path: `./`, or nothing.
    pub(crate) prefix: &'static str,
    /// Whether a path is that of a file for the package manager, which is not installed.
    pub(crate) is_metadata: fn(&str) -> bool,
}

impl Style {
    fn strip<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        path.strip_prefix(self.prefix.as_bytes()).unwrap_or(path)
    }

    /// Whether a member is the root itself, which some tars have and no tree.
    fn is_root(&self, path: &[u8]) -> bool {
        !self.prefix.is_empty() && (self.strip(path).is_empty() || path == b".")
    }
}

/// Lists what a package's data tar holds, and refuses what no package may hold.
pub(crate) struct Lister<'a> {
    /// Name and version, for messages.
    pub(crate) package: &'a str,
    /// What the file ought to be, for messages.
    pub(crate) format: &'static str,
    /// What the package takes when it is installed, in bytes, as its index says.
    pub(crate) installed_size: u64,
    /// How the tar is written.
    pub(crate) style: Style,
}

impl Lister<'_> {
    #[allow(clippy::needless_pass_by_value, reason = "callers have numbers, texts and digests, owned and borrowed")]
    pub(crate) fn mismatch(&self, what: &'static str, expected: impl ToString, found: impl ToString) -> PackageError {
        PackageError::Mismatch {
            package: self.package.to_owned(),
            what,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    pub(crate) fn refused(&self, path: impl Into<String>, why: impl Into<String>) -> PackageError {
        PackageError::Refused { package: self.package.to_owned(), path: path.into(), why: why.into() }
    }

    pub(crate) fn not_a_package(&self, found: impl ToString) -> PackageError {
        self.mismatch("format", self.format, found)
    }

    /// Lists the members of the data tar, refuses what no package may hold, and hashes the tar.
    pub(crate) fn list(&self, tar: impl Read) -> Result<Listing, PackageError> {
        // The index's figure counts disk blocks in old packages and bytes in new ones.
        let budget = self.installed_size.saturating_mul(2).saturating_add(1 << 20);
        // Members without content, and headers that go on and on, are bombs too.
        let mut tar = Hashing::new(tar.take(budget.saturating_add(TAR_OVERHEAD)));
        let mut members = Members::new(&mut tar);
        let listed = self.members(&mut members, budget);
        let is_plain = members.is_plain();
        if tar.get_mut().limit() == 0 {
            return Err(self.bomb("data"));
        }
        let (entries, complete, is_plain) =
            listed.map(|(entries, complete, twice)| (entries, complete, is_plain && !twice))?;
        let padding = self.check_trailer(&mut tar)?;
        let plain = is_plain && padding >= 512 && padding.is_multiple_of(512);
        let (diff_id, _, _) = tar.finish();
        Ok(Listing { diff_id, complete, plain, entries })
    }

    fn bomb(&self, path: &str) -> PackageError {
        let limit = self.installed_size;
        self.refused(path, format!("the package unpacks to far more than the {limit} bytes of its index"))
    }

    fn bad_tar(&self, error: TarError) -> PackageError {
        match error {
            TarError::Read(error) => self.not_a_package(error),
            TarError::Malformed(found) => self.not_a_package(found),
            TarError::Refused { path, why } => self.refused(shown(&path), why),
        }
    }

    /// The members of the tar, whether these are all, and whether a path is there twice; every fault in one is an
    /// error.
    fn members(
        &self,
        members: &mut Members<impl Read>,
        mut budget: u64,
    ) -> Result<(Vec<Entry>, bool, bool), PackageError> {
        let mut entries: Vec<Entry> = Vec::new();
        let (mut complete, mut twice) = (true, false);
        let mut files = BTreeMap::new();
        let mut paths = BTreeSet::new();
        while let Some(member) = members.next().map_err(|error| self.bad_tar(error))? {
            if member.kind == MemberKind::Directory && self.style.is_root(&member.path) {
                continue;
            }
            let entry = self.entry(member, members, &mut budget, &files)?;
            twice |= !paths.insert(entry.path.clone());
            if (self.style.is_metadata)(&entry.path) {
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
        Ok((entries, complete, twice))
    }

    /// Refuses what a reader that goes on behind the end of the archive would find there: no member may be seen by a
    /// container engine and not by this program. How many zeros are there.
    fn check_trailer(&self, tar: &mut impl Read) -> Result<u64, PackageError> {
        let mut length = 0;
        let mut buf = [0; 1 << 12];
        loop {
            let n = tar.read(&mut buf).map_err(|e| self.not_a_package(e))?;
            if n == 0 {
                return Ok(length);
            }
            length += n as u64;
            if length > TRAILER_LIMIT || buf[..n].iter().any(|byte| *byte != 0) {
                return Err(self.refused("data", "more follows the end of the archive than its padding"));
            }
        }
    }

    fn entry(
        &self,
        member: Member,
        content: &mut impl Read,
        budget: &mut u64,
        files: &BTreeMap<String, EntryKind>,
    ) -> Result<Entry, PackageError> {
        let path = self.path(self.style.strip(&member.path))?;
        let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let target = || match str::from_utf8(&member.target) {
            Ok(target) if !target.is_empty() && target.len() < PATH_LIMIT && !target.contains('\0') => Ok(target),
            _ => Err(self.refused(&path, "a link without a target that can be used")),
        };
        let mut elf = Scanned::No;
        let kind = match member.kind {
            MemberKind::Directory => EntryKind::Directory,
            MemberKind::File => {
                let size = member.size;
                *budget = budget.checked_sub(size).ok_or_else(|| self.bomb(&path))?;
                let mut scanner = Scanner::new(size);
                let sha1 = match member.sha1.as_deref().and_then(parse_sha1) {
                    Some(sha1) => io::copy(content, &mut scanner).map(|_| sha1),
                    None => sha1_of(content, &mut scanner),
                };
                elf = scanner.finish();
                EntryKind::File { size, sha1: sha1.map_err(|e| self.not_a_package(e))? }
            }
            MemberKind::Symlink => EntryKind::Symlink(target()?.to_owned()),
            MemberKind::Hardlink => {
                let target = target()?;
                let target = target.strip_prefix(self.style.prefix).unwrap_or(target).to_owned();
                if !files.contains_key(target.as_str()) {
                    let target = target.escape_debug().take(200).collect::<String>();
                    return Err(self.refused(&path, format!("a hard link to `{target}`, which is no file before it")));
                }
                EntryKind::Hardlink(target)
            }
            MemberKind::Device => return Err(self.refused(path, "a device node")),
            MemberKind::Fifo => return Err(self.refused(path, "a named pipe")),
        };
        if let Some(name) = member.xattrs.keys().find(|name| OVERLAY.iter().any(|own| name.starts_with(own))) {
            let name = name.escape_debug();
            return Err(self.refused(path, format!("the attribute {name}, by which container engines layer files")));
        }
        let (mode, uid, gid) = (member.mode, member.uid, member.gid);
        let (user, group) = (name(&member.user), name(&member.group));
        Ok(Entry { path, kind, mode, uid, gid, user, group, xattrs: member.xattrs, elf })
    }

    /// A path of the archive as a path below the root, when it is one.
    fn path(&self, bytes: &[u8]) -> Result<String, PackageError> {
        let path = str::from_utf8(bytes).map_err(|_| self.refused(shown(bytes), "a path that is not UTF-8"))?;
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
        Err(self.refused(shown(bytes), why))
    }
}

/// A path of an archive in a message.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_debug().take(200).collect()
}

/// What a data tar holds: its digest, its members, whether these are all that it has, and whether it is plain
/// ([`Data::plain`]).
pub(crate) struct Listing {
    pub(crate) diff_id: Digest,
    pub(crate) complete: bool,
    pub(crate) plain: bool,
    pub(crate) entries: Vec<Entry>,
}

/// Gives each member of a package's data tar to `visit`, in the order of `entries`: its place there and its content.
///
/// # Errors
/// When the tar is not the one that was once listed, cannot be read, or `visit` fails.
pub(crate) fn visit(
    tar: impl Read,
    style: Style,
    entries: &[Entry],
    diff_id: &Digest,
    mut visit: impl FnMut(usize, &mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    let mut tar = Hashing::new(tar);
    let mut members = Members::new(&mut tar);
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "its bytes in the store have changed");
    let mut place = 0;
    while let Some(member) = members.next()? {
        if member.kind == MemberKind::Directory && style.is_root(&member.path) {
            continue;
        }
        let path = String::from_utf8_lossy(style.strip(&member.path)).into_owned();
        if (style.is_metadata)(&path) {
            continue;
        }
        let expected = entries.get(place).ok_or_else(damaged)?;
        if path.trim_end_matches('/') != expected.path {
            return Err(damaged());
        }
        visit(place, &mut members)?;
        place += 1;
    }
    io::copy(&mut tar, &mut io::sink())?;
    let (found, _, _) = tar.finish();
    if found == *diff_id { Ok(()) } else { Err(damaged()) }
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

fn sha1_of(mut reader: impl Read, mut also: impl Write) -> io::Result<[u8; 20]> {
    let mut hash = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    let mut buf = [0; 1 << 14];
    loop {
        match reader.read(&mut buf)? {
            0 => return Ok(fixed(hash)),
            n => {
                hash.update(&buf[..n]);
                also.write_all(&buf[..n])?;
            }
        }
    }
}

/// The digest as an array.
pub(crate) fn fixed<const N: usize>(hash: ring::digest::Context) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(hash.finish().as_ref());
    bytes
}
