//! Writes Alpine's version 2 files: packages (`.apk`), indexes (`APKINDEX.tar.gz`) and their signatures; see
//! <https://wiki.alpinelinux.org/wiki/Apk_spec>. A package is three gzip streams one after another (signature, control,
//! data), an index two. The tar archives of all but the last are cut before their end-of-archive blocks, so that the
//! streams, decompressed together, are one archive.

use std::{
    fmt::Write as _,
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, GzBuilder, write::GzEncoder};
use microbuild::internals::digest::hex;
use rand::{SeedableRng as _, rngs::StdRng};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use rsa::{
    Pkcs1v15Sign, RsaPrivateKey,
    pkcs8::{EncodePublicKey as _, LineEnding},
};

/// The SHA-1 of `bytes`, as Alpine's checksums are.
pub fn sha1(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
}

/// A SHA-1 as an index and the installed database write it: `Q1` and base64.
pub fn q1(sha1: &[u8]) -> String {
    format!("Q1{}", STANDARD.encode(sha1))
}

/// How a signature is made, which its file's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureKind {
    /// `.SIGN.RSA.`: PKCS#1 v1.5 over SHA-1, which Alpine uses.
    Rsa,
    /// `.SIGN.RSA256.`: over SHA-256.
    Rsa256,
}

/// A key pair that signs packages and indexes.
#[derive(Clone)]
pub struct Key {
    name: String,
    private: RsaPrivateKey,
}

impl Key {
    /// The 2048-bit key called `name`. The same name gives the same key, so that what it signs is the same from run to
    /// run; it protects nothing.
    pub fn generate(name: &str) -> Self {
        let mut random = StdRng::from_seed(*microbuild::internals::digest::Digest::of(name).as_bytes());
        let private = RsaPrivateKey::new(&mut random, 2048).expect("2048 bits are enough for a key");
        Self { name: format!("{name}.rsa.pub"), private }
    }

    /// The public key's file name, which signatures refer to.
    pub fn file_name(&self) -> &str {
        &self.name
    }

    /// The public key as `/etc/apk/keys` has it.
    pub fn public_pem(&self) -> String {
        self.private.to_public_key().to_public_key_pem(LineEnding::LF).expect("a public key has a PEM form")
    }

    /// Puts the public key into the folder `dir`, which is made where it is missing.
    pub fn write_to(&self, dir: &Path) -> PathBuf {
        let path = dir.join(self.file_name());
        fs::create_dir_all(dir).and_then(|()| fs::write(&path, self.public_pem())).expect("a writable folder");
        path
    }

    /// The signature of `signed`.
    pub fn sign(&self, kind: SignatureKind, signed: &[u8]) -> Vec<u8> {
        // The DigestInfo prefixes of RFC 8017, section 9.2, note 1.
        let (algorithm, prefix): (_, &[u8]) = match kind {
            SignatureKind::Rsa => {
                (&SHA1_FOR_LEGACY_USE_ONLY, b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\0\x04\x14")
            }
            SignatureKind::Rsa256 => {
                (&SHA256, b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\0\x04\x20")
            }
        };
        let scheme = Pkcs1v15Sign { hash_len: Some(algorithm.output_len()), prefix: prefix.into() };
        self.private.sign(scheme, digest(algorithm, signed).as_ref()).expect("the hash fits the key")
    }

    /// The first gzip stream of a file whose signed rest is `signed`.
    pub fn signature_stream(&self, kind: SignatureKind, signed: &[u8]) -> Vec<u8> {
        signature_stream(kind, &self.name, self.sign(kind, signed))
    }
}

/// The gzip stream that says: `signature` is by the key `key`.
pub fn signature_stream(kind: SignatureKind, key: &str, signature: Vec<u8>) -> Vec<u8> {
    let kind = match kind {
        SignatureKind::Rsa => "RSA",
        SignatureKind::Rsa256 => "RSA256",
    };
    tar_gz(&[Entry::file(format!(".SIGN.{kind}.{key}"), 0o644, signature)], End::Cut)
}

/// What a tar entry is.
#[derive(Debug, Clone)]
pub enum Node {
    /// A regular file.
    File(Vec<u8>),
    /// A regular file of so many zero bytes.
    Zeros(u64),
    /// A directory.
    Dir,
    /// A symbolic link and its target.
    Symlink(String),
    /// A hard link to another path of the archive.
    Hardlink(String),
    /// A character device.
    Device {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// A tar entry, written as it is: nothing about it is checked.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The path, without a leading `/` in a proper package.
    pub path: String,
    /// What it is.
    pub node: Node,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner and group by number.
    pub owner: (u64, u64),
    /// Owner and group by name.
    pub owner_names: (String, String),
    /// Seconds since 1970.
    pub mtime: u64,
    /// The value of `APK-TOOLS.checksum.SHA1`, when the entry has that PAX record.
    pub checksum: Option<String>,
}

impl Entry {
    /// An entry of root.
    pub fn new(path: impl Into<String>, mode: u32, node: Node) -> Self {
        let root = || "root".to_owned();
        Self { path: path.into(), node, mode, owner: (0, 0), owner_names: (root(), root()), mtime: 0, checksum: None }
    }

    /// A regular file.
    pub fn file(path: impl Into<String>, mode: u32, content: impl Into<Vec<u8>>) -> Self {
        Self::new(path, mode, Node::File(content.into()))
    }

    /// The same with the checksum that `abuild` records: of a file's content, of a symbolic link's target.
    pub fn with_checksum(mut self) -> Self {
        self.checksum = match &self.node {
            Node::File(content) => Some(hex(&sha1(content))),
            Node::Symlink(target) => Some(hex(&sha1(target.as_bytes()))),
            _ => None,
        };
        self
    }

    fn size(&self) -> u64 {
        match &self.node {
            Node::File(content) => content.len() as u64,
            Node::Zeros(size) => *size,
            _ => 0,
        }
    }

    /// The bytes that the entry adds to a package's installed size.
    pub fn installed_size(&self) -> u64 {
        self.size()
    }
}

/// Whether a tar archive ends as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Cut after the last entry: more follows in the next gzip stream.
    Cut,
    /// With the two blocks of zeros that end an archive.
    Archive,
}

/// The header of a tar entry. Names that do not fit are cut: a PAX record gives them in full.
fn header(name: &str, kind: tar::EntryType, link: &str, size: u64, entry: &Entry) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    let cut = |text: &str| text.as_bytes()[..text.len().min(100)].to_vec();
    let (name, link) = (cut(name), cut(link));
    let old = header.as_old_mut();
    old.name[..name.len()].copy_from_slice(&name);
    old.linkname[..link.len()].copy_from_slice(&link);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(entry.mode);
    header.set_uid(entry.owner.0);
    header.set_gid(entry.owner.1);
    header.set_mtime(entry.mtime);
    header.set_username(&entry.owner_names.0).expect("a short name");
    header.set_groupname(&entry.owner_names.1).expect("a short name");
    if let Node::Device { major, minor } = entry.node {
        header.set_device_major(major).expect("a ustar header");
        header.set_device_minor(minor).expect("a ustar header");
    }
    header.set_cksum();
    header
}

/// A PAX record: its own length in decimal digits, the key, the value.
fn pax_record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n")
}

/// Writes `entries` in their order.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_tar(mut out: impl Write, entries: &[Entry], end: End) -> io::Result<()> {
    for entry in entries {
        let (kind, link) = match &entry.node {
            Node::File(_) | Node::Zeros(_) => (tar::EntryType::Regular, ""),
            Node::Dir => (tar::EntryType::Directory, ""),
            Node::Symlink(target) => (tar::EntryType::Symlink, target.as_str()),
            Node::Hardlink(target) => (tar::EntryType::Link, target.as_str()),
            Node::Device { .. } => (tar::EntryType::Char, ""),
            Node::Fifo => (tar::EntryType::Fifo, ""),
        };
        let name = if kind.is_dir() { format!("{}/", entry.path) } else { entry.path.clone() };
        let mut records = String::new();
        if name.len() > 100 {
            records += &pax_record("path", &name);
        }
        if link.len() > 100 {
            records += &pax_record("linkpath", link);
        }
        if let Some(checksum) = &entry.checksum {
            records += &pax_record("APK-TOOLS.checksum.SHA1", checksum);
        }
        if !records.is_empty() {
            let size = records.len() as u64;
            out.write_all(header(&format!("PaxHeaders/{name}"), tar::EntryType::XHeader, "", size, entry).as_bytes())?;
            out.write_all(records.as_bytes())?;
            pad(&mut out, size)?;
        }
        out.write_all(header(&name, kind, link, entry.size(), entry).as_bytes())?;
        match &entry.node {
            Node::File(content) => out.write_all(content)?,
            Node::Zeros(size) => drop(io::copy(&mut io::Read::take(io::repeat(0), *size), &mut out)?),
            _ => {}
        }
        pad(&mut out, entry.size())?;
    }
    if end == End::Archive {
        out.write_all(&[0; 1024])?;
    }
    Ok(())
}

fn pad(out: &mut impl Write, size: u64) -> io::Result<()> {
    let rest = size.next_multiple_of(512) - size;
    io::copy(&mut io::Read::take(io::repeat(0), rest), out).map(drop)
}

/// `entries` as a tar archive in one gzip stream.
pub fn tar_gz(entries: &[Entry], end: End) -> Vec<u8> {
    let mut out: GzEncoder<Vec<u8>> = GzBuilder::new().write(Vec::new(), Compression::new(6));
    write_tar(&mut out, entries, end).and_then(|()| out.finish()).expect("memory takes everything")
}

/// A tar in one gzip stream.
pub fn gz(tar: &[u8]) -> Vec<u8> {
    let mut out = GzBuilder::new().write(Vec::new(), Compression::new(6));
    out.write_all(tar).and_then(|()| out.finish()).expect("memory takes everything")
}

/// What a package says of itself, in `.PKGINFO` and in an index.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the fields are those of .PKGINFO")]
pub struct Info {
    pub name: String,
    pub version: String,
    pub arch: String,
    pub description: String,
    pub url: String,
    pub build_date: u64,
    pub packager: String,
    pub maintainer: String,
    pub origin: String,
    pub commit: String,
    pub license: String,
    pub depends: Vec<String>,
    pub provides: Vec<String>,
    pub replaces: Vec<String>,
    pub install_if: Vec<String>,
    pub triggers: Vec<String>,
    pub replaces_priority: Option<u64>,
    pub provider_priority: Option<u64>,
    /// The size that is claimed; else the entries' sizes together.
    pub installed_size: Option<u64>,
}

impl Info {
    /// `.PKGINFO`, in the order in which `abuild` writes it.
    pub fn pkginfo(&self, installed_size: u64, datahash: &str) -> String {
        let mut text = String::from("# Generated by microbuild's tests\n");
        let mut line = |key: &str, value: &str| {
            if !value.is_empty() {
                writeln!(text, "{key} = {value}").expect("a string takes everything");
            }
        };
        line("pkgname", &self.name);
        line("pkgver", &self.version);
        line("pkgdesc", &self.description);
        line("url", &self.url);
        line("builddate", &self.build_date.to_string());
        line("packager", &self.packager);
        line("size", &installed_size.to_string());
        line("arch", &self.arch);
        line("origin", &self.origin);
        line("commit", &self.commit);
        line("maintainer", &self.maintainer);
        line("replaces_priority", &self.replaces_priority.map_or(String::new(), |p| p.to_string()));
        line("provider_priority", &self.provider_priority.map_or(String::new(), |p| p.to_string()));
        line("license", &self.license);
        let mut lines = |key, values: &[String]| values.iter().for_each(|value| line(key, value));
        lines("depend", &self.depends);
        lines("replaces", &self.replaces);
        lines("provides", &self.provides);
        line("install_if", &self.install_if.join(" "));
        line("triggers", &self.triggers.join(" "));
        line("datahash", datahash);
        text
    }

    /// The package's record in an index, with the empty line that ends it.
    pub fn record(&self, control_sha1: &[u8], file_size: u64, installed_size: u64) -> String {
        let mut text = String::new();
        let mut line = |key: char, value: &str| {
            if !value.is_empty() {
                writeln!(text, "{key}:{value}").expect("a string takes everything");
            }
        };
        line('C', &q1(control_sha1));
        line('P', &self.name);
        line('V', &self.version);
        line('A', &self.arch);
        line('S', &file_size.to_string());
        line('I', &installed_size.to_string());
        line('T', &self.description);
        line('U', &self.url);
        line('L', &self.license);
        line('o', &self.origin);
        line('m', &self.maintainer);
        line('t', &self.build_date.to_string());
        line('c', &self.commit);
        line('k', &self.provider_priority.map_or(String::new(), |p| p.to_string()));
        line('D', &self.depends.join(" "));
        line('p', &self.provides.join(" "));
        line('i', &self.install_if.join(" "));
        text.push('\n');
        text
    }
}

/// The second stream of an index over `records`, which is what its signature signs.
pub fn index_stream(description: &str, records: &[String]) -> Vec<u8> {
    let entries = [Entry::file("DESCRIPTION", 0o644, description), Entry::file("APKINDEX", 0o644, records.concat())];
    tar_gz(&entries, End::Archive)
}
