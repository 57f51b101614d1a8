//! Debian packages, format 2.0 (deb(5)): an `ar` archive of three members.
//!
//! ```text
//! debian-binary    2.0
//! control.tar.xz   control, md5sums, conffiles, maintainer scripts
//! data.tar.xz      the files; also .zst, .gz, or plain
//! ```
//!
//! A [`Package`] exists only as the result of [`verify`], which compares the whole file with the hash in the index
//! before it looks into a member. The data member is kept as a blob of its own under its digest, as it is packed in the
//! package: a tar.zst or tar.gz is a layer as it stands, a tar.xz is read again when a layer is made
//! ([`visit_members`]).

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{control::paragraphs, record::Record};
use crate::{
    digest::{Digest, Hashing},
    package::{Contents, Data, Listed, Lister, Listing, PackageError, Packing, Script, Style, visit},
    store::{BlobDir, BlobWriter, Key, StoreError},
};

pub use crate::package::{Entry, EntryKind};

/// More than any real control member holds, packed or unpacked, in bytes: a kernel's has a checksum for each header
/// file.
const CONTROL_LIMIT: u64 = 32 << 20;
/// How much larger than the package a package without `Installed-Size` may unpack to.
const EXPANSION: u64 = 32;
const STYLE: Style = Style { prefix: "./", is_metadata: |_| false };
/// The maintainer scripts (deb-preinst(5) and the like, deb-conffiles(5)).
const SCRIPTS: [&str; 5] = ["preinst", "postinst", "prerm", "postrm", "config"];

/// A verified package: what its control member says, and what its data member holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `all`, or dpkg's word for an architecture.
    pub architecture: String,
    /// The file `control`: a paragraph, as it belongs into `/var/lib/dpkg/status.d`, with its line end.
    pub control: String,
    /// The file `md5sums`: a line for each file; empty when the package has none.
    pub md5sums: String,
    /// The files that are configuration, as paths below the root.
    pub conffiles: Vec<String>,
    /// The lines of the file `triggers`.
    pub triggers: Vec<String>,
    /// The maintainer scripts, by name. Nothing runs them.
    pub scripts: BTreeMap<String, Script>,
    /// The data member.
    pub data: Data,
    /// What is in it, in the order of the tar, without the root itself.
    pub entries: Vec<Entry>,
}

impl Listed for Record {
    type Package = Package;

    fn name(&self) -> &str {
        self.name()
    }

    fn version(&self) -> &str {
        self.version().as_str()
    }

    fn size(&self) -> u64 {
        self.size()
    }

    fn key(&self) -> Key {
        let key = Key::new().text("kind", "deb").text("name", self.name()).text("version", self.version());
        key.text("sha256", self.sha256())
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

/// Reads a package, checks it against the index's `record`, and keeps its data member in `blobs`.
///
/// # Errors
/// When it cannot be read, is not what the record says, holds what no package may hold, or cannot be stored. Nothing of
/// it is in `blobs` then.
pub fn verify(reader: impl Read, record: &Record, blobs: &BlobDir) -> Result<Package, PackageError> {
    let title = format!("{} {}", record.name(), record.version());
    let installed_size = record.installed_size().unwrap_or(record.size().saturating_mul(EXPANSION));
    let lister = Lister { package: &title, format: "a Debian package, version 2.0", installed_size, style: STYLE };
    let watched = Watched { inner: reader.take(record.size().saturating_add(1)), failure: None };
    let mut input = BufReader::with_capacity(1 << 16, Hashing::new(watched));
    let members = split(&mut input, &lister, blobs);
    // A file that is cut or changed says so by its size and its hash, whatever else is wrong with it.
    let drained = io::copy(&mut input, &mut io::sink());
    let (found, size, watched) = input.into_inner().finish();
    if let Some(source) = watched.failure.or(drained.err()) {
        return Err(PackageError::Read { package: title, source });
    }
    if size != record.size() {
        let size = if size > record.size() { "more".to_owned() } else { size.to_string() };
        return Err(lister.mismatch("size in bytes (`Size` in the index)", record.size(), size));
    }
    if found != record.sha256() {
        return Err(lister.mismatch("SHA-256 (`SHA256` in the index)", record.sha256(), found));
    }
    let Members { control, writer, digest, packing } = members?;
    let control = read_control(&control.bytes, control.packing, record, &lister)?;
    let listed = writer.finish_after(&digest, &title, |file| {
        lister.list(open(file, packing).map_err(|source| StoreError::Io { what: "read", path: file.into(), source })?)
    });
    let (Listing { diff_id, complete, plain, entries }, size) = listed?;
    let data = Data { digest, size, diff_id, packing, complete, plain };
    Ok(Package {
        name: record.name().to_owned(),
        version: record.version().to_string(),
        architecture: record.architecture().to_owned(),
        control: control.control,
        md5sums: control.md5sums,
        conffiles: control.conffiles,
        triggers: control.triggers,
        scripts: control.scripts,
        data,
        entries,
    })
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
    let tar = open(&blobs.path(&package.data.digest), package.data.packing)?;
    visit(tar, STYLE, &package.entries, &package.data.diff_id, each)
}

fn open(path: &Path, packing: Packing) -> io::Result<Box<dyn Read>> {
    packing.reader(BufReader::with_capacity(1 << 17, File::open(path)?))
}

/// The members of the archive; the data member is on its way into the store.
struct Members {
    control: Packed,
    writer: BlobWriter,
    digest: Digest,
    packing: Packing,
}

struct Packed {
    bytes: Vec<u8>,
    packing: Packing,
}

type Input<R> = BufReader<Hashing<Watched<R>>>;

/// Takes the archive apart. Nothing in a member is looked at.
fn split<R: Read>(input: &mut Input<R>, lister: &Lister<'_>, blobs: &BlobDir) -> Result<Members, PackageError> {
    let bad = |found: String| lister.not_a_package(found);
    let mut magic = [0; 8];
    input.read_exact(&mut magic).map_err(|e| bad(e.to_string()))?;
    if &magic != b"!<arch>\n" {
        return Err(bad("a file that is no ar archive".into()));
    }
    let version = member(input, lister)?;
    let mut text = String::new();
    input.take(version.size.min(64)).read_to_string(&mut text).map_err(|e| bad(e.to_string()))?;
    if version.name != "debian-binary" || !text.starts_with("2.") {
        return Err(bad(format!("the member {} with `{}`", version.name, text.trim().escape_debug())));
    }
    skip(input, version.size.saturating_sub(64) + version.size % 2, lister)?;
    let control = named(input, "control.tar", lister)?;
    if control.size > CONTROL_LIMIT {
        return Err(lister.refused("control.tar", format!("the control part has more than {CONTROL_LIMIT} bytes")));
    }
    let packing = packing(&control, lister)?;
    let mut bytes = Vec::new();
    input.take(control.size).read_to_end(&mut bytes).map_err(|e| bad(e.to_string()))?;
    let control = Packed { bytes, packing };
    skip(input, control.bytes.len() as u64 % 2, lister)?;
    let data = named(input, "data.tar", lister)?;
    let packing = self::packing(&data, lister)?;
    let mut writer = blobs.writer()?;
    let mut member = Hashing::new(input.take(data.size));
    io::copy(&mut member, &mut writer).map_err(|source| StoreError::Io {
        what: "write",
        path: blobs.root().to_owned(),
        source,
    })?;
    let (digest, copied, _) = member.finish();
    if copied != data.size {
        return Err(bad("an archive that is cut".into()));
    }
    Ok(Members { control, writer, digest, packing })
}

/// What the header of a member says.
struct Header {
    name: String,
    size: u64,
}

/// The next member that counts: deb(5) skips those whose names begin with an underscore.
fn named<R: Read>(input: &mut Input<R>, stem: &str, lister: &Lister<'_>) -> Result<Header, PackageError> {
    loop {
        let header = member(input, lister)?;
        if header.name.starts_with(stem) {
            return Ok(header);
        }
        if !header.name.starts_with('_') {
            return Err(lister.not_a_package(format!("the member {} where {stem} belongs", header.name)));
        }
        skip(input, header.size.saturating_add(header.size % 2), lister)?;
    }
}

/// Reads the header of a member: name, time, owner, group, mode, size, in columns of text.
fn member<R: Read>(input: &mut Input<R>, lister: &Lister<'_>) -> Result<Header, PackageError> {
    let bad = |found: &str| lister.not_a_package(found);
    let mut header = [0; 60];
    input.read_exact(&mut header).map_err(|_| bad("an archive that is cut"))?;
    let column = |from: usize, to: usize| std::str::from_utf8(&header[from..to]).map(str::trim_end);
    let (Ok(name), Ok(size), b"`\n") = (column(0, 16), column(48, 58), &header[58..]) else {
        return Err(bad("an archive whose member has no header"));
    };
    let size = size.parse().map_err(|_| bad("an archive whose member has no size"))?;
    let name = name.strip_suffix('/').unwrap_or(name).escape_debug().to_string();
    Ok(Header { name, size })
}

fn skip<R: Read>(input: &mut Input<R>, count: u64, lister: &Lister<'_>) -> Result<(), PackageError> {
    match io::copy(&mut input.take(count), &mut io::sink()) {
        Ok(skipped) if skipped == count => Ok(()),
        _ => Err(lister.not_a_package("an archive that is cut")),
    }
}

fn packing(header: &Header, lister: &Lister<'_>) -> Result<Packing, PackageError> {
    let known = ["", ".xz", ".zst", ".gz"];
    let end = header.name.split_once(".tar").map_or("?", |(_, end)| end);
    let packing = known.contains(&end).then(|| Packing::of(&header.name)).flatten();
    packing.ok_or_else(|| lister.not_a_package(format!("the member {}, of an unknown packing", header.name)))
}

/// The files of the control member.
#[derive(Default)]
struct Control {
    control: String,
    md5sums: String,
    conffiles: Vec<String>,
    triggers: Vec<String>,
    scripts: BTreeMap<String, Script>,
}

fn read_control(
    packed: &[u8],
    packing: Packing,
    record: &Record,
    lister: &Lister<'_>,
) -> Result<Control, PackageError> {
    let bad = |e: io::Error| lister.not_a_package(e);
    let mut tar = Vec::new();
    packing.reader(packed).and_then(|tar_of| tar_of.take(CONTROL_LIMIT + 1).read_to_end(&mut tar)).map_err(bad)?;
    if tar.len() as u64 > CONTROL_LIMIT {
        let why = format!("the control part unpacks to more than {CONTROL_LIMIT} bytes");
        return Err(lister.refused("control.tar", why));
    }
    let mut control = Control::default();
    for entry in tar::Archive::new(&tar[..]).entries().map_err(bad)? {
        let mut entry = entry.map_err(bad)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mode = entry.header().mode().unwrap_or(0o755) & 0o7777;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(bad)?;
        let name = path.strip_prefix("./").unwrap_or(&path);
        let text = || String::from_utf8_lossy(&bytes).into_owned();
        match name {
            "control" => control.control = text(),
            "md5sums" => control.md5sums = text(),
            "conffiles" => control.conffiles = conffiles(&text()),
            "triggers" => control.triggers = text().lines().map(str::to_owned).collect(),
            name if SCRIPTS.contains(&name) => {
                control.scripts.insert(name.to_owned(), Script { mode, bytes });
            }
            _ => {}
        }
    }
    check_control(&control.control, record, lister)?;
    Ok(control)
}

/// Paths below the root. A line may begin with a flag (deb-conffiles(5)); what is to be removed is not a file of the
/// package.
fn conffiles(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    lines.filter_map(|line| line.strip_prefix('/')).map(str::to_owned).collect()
}

fn check_control(control: &str, record: &Record, lister: &Lister<'_>) -> Result<(), PackageError> {
    let paragraph = paragraphs(control).next().ok_or_else(|| lister.not_a_package("no file control"))?;
    for (field, what, expected) in [
        ("Package", "name in control", record.name()),
        ("Version", "version in control", record.version().as_str()),
        ("Architecture", "architecture in control", record.architecture()),
    ] {
        let found = paragraph.get(field).unwrap_or("none");
        if found != expected {
            return Err(lister.mismatch(what, expected, found));
        }
    }
    Ok(())
}

/// A reader that keeps the error it failed with: a parser would take a broken connection for a broken file.
struct Watched<R> {
    inner: R,
    failure: Option<io::Error>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(buf) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    let copy = io::Error::new(e.kind(), e.to_string());
                    self.failure = Some(e);
                    return Err(copy);
                }
                read => return read,
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
