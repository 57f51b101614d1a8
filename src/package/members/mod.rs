//! The members of a tar, read so that there is one way to read them.
//!
//! A package's data are a tar that several programs read: this one, apk or dpkg, and container engines when it is a
//! layer as it stands. Where readers of tars are known to differ, a file may be seen by one and not by the other. So a
//! tar is read by two lists here. What readers take for different things is refused: numbers and records that do not
//! parse, a record twice, two headers for one member that contradict each other, content of what has none, sparse
//! files. What readers agree on, but some do not know or take amiss (long names of GNU, numbers in base 256, records
//! that only some programs write), is read, and the tar is not [`plain`](Members::is_plain). The rest is what `abuild`,
//! melange and `dpkg-deb` write.
//!
//! The formats: pax(1) of POSIX.1-2008 ("ustar Interchange Format", "pax Extended Header"), and GNU tar's manual
//! ("Basic Tar Format"). The readers that were compared: Go's archive/tar (container engines), libarchive, GNU tar,
//! Python's tarfile, apk-tools, dpkg.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    str,
};

use crate::media::XATTR;

/// A record of an extended header: its key and its value.
type Record = (String, Vec<u8>);

const BLOCK: usize = 512;
/// No reader takes longer extended headers or long names than Go's, in bytes.
const HEADER_LIMIT: u64 = 1 << 20;

/// Why a tar is not taken.
#[derive(Debug)]
pub(crate) enum TarError {
    /// It cannot be read, or is cut.
    Read(io::Error),
    /// It is not a tar.
    Malformed(String),
    /// It has a member that readers would see differently.
    Refused {
        /// Its name.
        path: Vec<u8>,
        /// Why.
        why: String,
    },
}

impl From<io::Error> for TarError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl From<TarError> for io::Error {
    fn from(error: TarError) -> Self {
        match error {
            TarError::Read(error) => error,
            TarError::Malformed(why) | TarError::Refused { why, .. } => Self::new(io::ErrorKind::InvalidData, why),
        }
    }
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberKind {
    File,
    Directory,
    Symlink,
    Hardlink,
    Device,
    Fifo,
}

/// What the headers of a member say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// As it stands there.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: MemberKind,
    /// Length of its content, in bytes.
    pub(crate) size: u64,
    /// Permission bits, with setuid, setgid and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// Empty when there is none.
    pub(crate) user: Vec<u8>,
    pub(crate) group: Vec<u8>,
    /// Where a link leads; empty for other members.
    pub(crate) target: Vec<u8>,
    /// `APK-TOOLS.checksum.SHA1`, as it stands there.
    pub(crate) sha1: Option<Vec<u8>>,
    /// Extended attributes by their names.
    pub(crate) xattrs: BTreeMap<String, Vec<u8>>,
}

/// Reads a tar member by member. The rest of a member's content that is not read is skipped.
pub(crate) struct Members<R> {
    input: R,
    /// What is left of a member's content, and the padding behind it, in bytes.
    left: u64,
    padding: u64,
    is_plain: bool,
}

/// What headers before a member's own say of it.
#[derive(Default)]
struct Before {
    records: Option<Vec<Record>>,
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
}

impl<R: Read> Members<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, left: 0, padding: 0, is_plain: true }
    }

    /// Whether all that was read so far is written as every reader of tars expects it.
    pub(crate) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// The next member; `None` at the end of the archive.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, TarError> {
        let mut before = Before::default();
        loop {
            let Some(header) = self.header()? else {
                return match before {
                    Before { records: None, name: None, target: None } => Ok(None),
                    _ => Err(TarError::Malformed("an extended header without a member".into())),
                };
            };
            let refused = |why: &str| TarError::Refused { path: header.name(), why: why.into() };
            match header.kind() {
                b'x' => {
                    let records = parse_records(&self.body(&header)?).map_err(|why| refused(&why))?;
                    if before.records.replace(records).is_some() {
                        return Err(refused("two extended headers for one member"));
                    }
                }
                b'g' => {
                    self.is_plain = false;
                    let records = parse_records(&self.body(&header)?).map_err(|why| refused(&why))?;
                    if records.iter().any(|(key, _)| key != "comment") {
                        return Err(refused("an extended header for all members"));
                    }
                }
                kind @ (b'L' | b'K') => {
                    self.is_plain = false;
                    let name = string(&self.body(&header)?).map(<[u8]>::to_vec);
                    let name =
                        name.filter(|name| !name.is_empty()).ok_or_else(|| refused("a long name without end"))?;
                    let place = if kind == b'L' { &mut before.name } else { &mut before.target };
                    if place.replace(name).is_some() {
                        return Err(refused("two long names for one member"));
                    }
                }
                _ => return self.member(&header, before).map(Some),
            }
        }
    }

    /// Reads of the content of the member that was given last.
    fn read_content(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let count = self.input.read(&mut buf[..most])?;
        if count == 0 && most > 0 {
            return Err(cut());
        }
        self.left -= count as u64;
        Ok(count)
    }

    /// The next header, behind what is left of the last member; `None` at the end.
    fn header(&mut self) -> Result<Option<Header>, TarError> {
        let rest = self.left + self.padding;
        if io::copy(&mut (&mut self.input).take(rest), &mut io::sink())? != rest {
            return Err(cut().into());
        }
        (self.left, self.padding) = (0, 0);
        let mut block = [0; BLOCK];
        let mut there = 0;
        while there < BLOCK {
            match self.input.read(&mut block[there..]) {
                Ok(0) => break,
                Ok(count) => there += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        match there {
            BLOCK if block.iter().all(|byte| *byte == 0) => return Ok(None),
            BLOCK => {}
            // Some readers want the blocks of zeros at the end.
            0 => {
                self.is_plain = false;
                return Ok(None);
            }
            _ => return Err(cut().into()),
        }
        let header = Header(block);
        let refused = |why: &str| TarError::Refused { path: header.name(), why: why.into() };
        let (sum, is_plain) = number(header.field(148..156)).map_err(&refused)?;
        if sum != header.sum() {
            return Err(TarError::Malformed("a header whose checksum does not match".into()));
        }
        self.is_plain &= is_plain && header.format().map_err(&refused)?;
        let (size, is_plain) = number(header.field(124..136)).map_err(&refused)?;
        self.is_plain &= is_plain;
        let padding = size.checked_next_multiple_of(BLOCK as u64).ok_or_else(|| refused("a size that is too large"))?;
        (self.left, self.padding) = (size, padding - size);
        Ok(Some(header))
    }

    /// The content of a header that says something of the member behind it.
    fn body(&mut self, header: &Header) -> Result<Vec<u8>, TarError> {
        // What it says of itself counts for nothing, but it has to be numbers.
        for field in [100..108, 108..116, 116..124, 136..148] {
            self.is_plain &= is_empty(header.field(field.clone())) || number(header.field(field)).is_ok_and(|n| n.1);
        }
        if self.left > HEADER_LIMIT {
            let why = format!("an extended header of more than {HEADER_LIMIT} bytes");
            return Err(TarError::Refused { path: header.name(), why });
        }
        let mut body = Vec::new();
        while self.left > 0 {
            let mut part = [0; 4096];
            let count = self.read_content(&mut part)?;
            body.extend_from_slice(&part[..count]);
        }
        Ok(body)
    }

    /// The member whose own header this is.
    fn member(&mut self, header: &Header, before: Before) -> Result<Member, TarError> {
        let mut draft = Draft { is_plain: true, ..Draft::default() };
        let member = draft.member(header, before, self.left);
        self.is_plain &= draft.is_plain;
        member.map_err(|why| TarError::Refused { path: draft.path.unwrap_or_else(|| header.name()), why })
    }
}

/// The content of the member that was given last.
impl<R: Read> Read for Members<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_content(buf)
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the end of the archive is missing")
}

/// What records say of a member, and whether all of it is as usual.
#[derive(Default)]
struct Draft {
    is_plain: bool,
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    sha1: Option<Vec<u8>>,
    xattrs: BTreeMap<String, Vec<u8>>,
}

impl Draft {
    fn member(&mut self, header: &Header, before: Before, size: u64) -> Result<Member, String> {
        for (key, value) in before.records.unwrap_or_default() {
            self.record(&key, value)?;
        }
        for (name, record) in [(before.name, &mut self.path), (before.target, &mut self.target)] {
            if name.is_some() && std::mem::replace(record, name).is_some() {
                return Err("two long names for one member".into());
            }
        }
        let path = self.path.clone().unwrap_or_else(|| header.name());
        let kind = self.kind(header, &path)?;
        if kind != MemberKind::File && size > 0 {
            return Err("content, which nothing but a file has".into());
        }
        let mut field = |range| {
            let (value, is_plain) = number(header.field(range))?;
            self.is_plain &= is_plain;
            Ok::<_, &str>(value)
        };
        let (mode, uid, gid) = (field(100..108)?, field(108..116)?, field(116..124)?);
        for (what, record, header) in [("size", self.size, size), ("uid", self.uid, uid), ("gid", self.gid, gid)] {
            if record.is_some_and(|record| record != header) {
                return Err(format!("two values of {what}"));
            }
        }
        let is_link = matches!(kind, MemberKind::Symlink | MemberKind::Hardlink);
        let link = header.string(157..257);
        self.is_plain &= is_link || (link.is_empty() && self.target.is_none());
        self.is_plain &= kind == MemberKind::File || self.xattrs.is_empty();
        self.is_plain &= number(header.field(136..148)).is_ok_and(|(_, is_plain)| is_plain);
        for device in [329..337, 337..345] {
            let device = header.field(device);
            self.is_plain &= is_empty(device) || number(device).is_ok_and(|(_, is_plain)| is_plain);
        }
        self.is_plain &= mode <= 0o7777;
        let names = if header.has_names() { [265..297, 297..329] } else { [0..0, 0..0] };
        let [user, group] = names.map(|name| header.string(name));
        let target = if is_link { self.target.take().unwrap_or(link) } else { Vec::new() };
        #[allow(clippy::cast_possible_truncation, reason = "masked to twelve bits")]
        let mode = (mode & 0o7777) as u32;
        let (sha1, xattrs) = (self.sha1.take(), std::mem::take(&mut self.xattrs));
        Ok(Member { path, kind, size, mode, uid, gid, user, group, target, sha1, xattrs })
    }

    fn kind(&mut self, header: &Header, path: &[u8]) -> Result<MemberKind, String> {
        let ends_as_folder = path.ends_with(b"/");
        let kind = match header.kind() {
            // Some take it for a folder.
            0 | b'0' | b'7' if ends_as_folder => return Err("a file whose name ends with a slash".into()),
            kind @ (0 | b'0' | b'7') => {
                self.is_plain &= kind == b'0';
                return Ok(MemberKind::File);
            }
            b'5' => return Ok(MemberKind::Directory),
            b'1' => MemberKind::Hardlink,
            b'2' => MemberKind::Symlink,
            b'3' | b'4' => MemberKind::Device,
            b'6' => MemberKind::Fifo,
            other => return Err(format!("an archive member of the unknown type `{}`", other.escape_ascii())),
        };
        self.is_plain &= !ends_as_folder;
        Ok(kind)
    }

    /// Takes note of a record of a member's extended header.
    fn record(&mut self, key: &str, value: Vec<u8>) -> Result<(), String> {
        // Some readers take every line for a record.
        if value.contains(&b'\n') {
            self.is_plain = false;
            let lines = [&value[..], b"\n"].concat();
            if lines.split_inclusive(|byte| *byte == b'\n').skip(1).any(|line| record(line).is_some()) {
                return Err(format!("a record {} that holds another", key.escape_debug()));
            }
        }
        match key {
            "path" | "linkpath" if value.is_empty() || value.contains(&0) => {
                return Err(format!("a record {key} that is no path"));
            }
            "path" => self.path = Some(value),
            "linkpath" => self.target = Some(value),
            "size" | "uid" | "gid" => {
                self.is_plain = false;
                let number = decimal(&value).ok_or_else(|| format!("a record {key} that is no number"))?;
                *(match key {
                    "size" => &mut self.size,
                    "uid" => &mut self.uid,
                    _ => &mut self.gid,
                }) = Some(number);
            }
            "mtime" | "atime" | "ctime" => self.is_plain &= is_time(&value),
            "APK-TOOLS.checksum.SHA1" => self.sha1 = Some(value),
            "hdrcharset" if value != b"ISO-IR 10646 2000 UTF-8" => {
                return Err("names in another character set than UTF-8".into());
            }
            key if key.starts_with("GNU.sparse.") => return Err("a sparse file".into()),
            key => match key.strip_prefix(XATTR) {
                Some("") => return Err("an extended attribute without a name".into()),
                Some(name) => drop(self.xattrs.insert(name.to_owned(), value)),
                None => self.is_plain = false,
            },
        }
        Ok(())
    }
}

/// A block that says what follows it.
struct Header([u8; BLOCK]);

impl Header {
    fn field(&self, range: std::ops::Range<usize>) -> &[u8] {
        &self.0[range]
    }

    fn kind(&self) -> u8 {
        self.0[156]
    }

    /// The text at the beginning of a field.
    fn string(&self, range: std::ops::Range<usize>) -> Vec<u8> {
        self.field(range).split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
    }

    /// The sum of all bytes, the checksum's own taken for spaces.
    fn sum(&self) -> u64 {
        let others = self.0[..148].iter().chain(&self.0[156..]);
        others.map(|byte| u64::from(*byte)).sum::<u64>() + 8 * u64::from(b' ')
    }

    fn is_posix(&self) -> bool {
        self.field(257..265) == b"ustar\x0000"
    }

    fn has_names(&self) -> bool {
        self.field(257..262) == b"ustar"
    }

    /// Whether it is as POSIX or GNU tar has it, with nothing in the places that only some readers look at.
    fn format(&self) -> Result<bool, &'static str> {
        let has_prefix = self.0[345] != 0;
        let is_empty = |range| self.field(range).iter().all(|byte| *byte == 0);
        match self.field(257..265) {
            b"ustar\x0000" if is_empty(500..512) => Ok(true),
            b"ustar  \0" if is_empty(345..512) => Ok(true),
            // A format of star has times at the end of the prefix, one of GNU tar has them in its place.
            magic if magic.starts_with(b"ustar") && !has_prefix => Ok(false),
            magic if !magic.starts_with(b"ustar") && is_empty(257..512) => Ok(false),
            _ => Err("a header of no known format"),
        }
    }

    /// The name, without what other headers say.
    fn name(&self) -> Vec<u8> {
        let (prefix, name) = (self.string(345..500), self.string(0..100));
        if prefix.is_empty() || !self.is_posix() { name } else { [&prefix[..], b"/", &name].concat() }
    }
}

/// A number of a header, and whether it is written as usual: octal digits, then spaces or NULs to the end of the field.
fn number(field: &[u8]) -> Result<(u64, bool), &'static str> {
    let is_padding = |byte: &u8| matches!(byte, b' ' | 0);
    if field[0] >= 0x80 {
        // In base 256, as GNU tar began it; the second bit is the sign.
        let (high, low) = field.split_at(field.len().saturating_sub(8).max(1));
        let fits = high[0] == 0x80 && high[1..].iter().all(|byte| *byte == 0);
        let number = low.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        return if fits && i64::try_from(number).is_ok() { Ok((number, false)) } else { Err("a number out of range") };
    }
    let start = field.iter().position(|byte| !is_padding(byte)).ok_or("an empty number")?;
    let end = field.iter().rposition(|byte| !is_padding(byte)).map_or(start, |last| last + 1);
    let digits = &field[start..end];
    if !digits.iter().all(|byte| matches!(byte, b'0'..=b'7')) {
        return Err("a number that is not octal");
    }
    let number = digits.iter().fold(0, |number: u64, digit| number << 3 | u64::from(digit - b'0'));
    Ok((number, start == 0 && end < field.len()))
}

fn is_empty(field: &[u8]) -> bool {
    field.iter().all(|byte| *byte == 0)
}

/// The text before the NULs at the end; `None` when something follows a NUL.
fn string(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    is_empty(&bytes[end..]).then_some(&bytes[..end])
}

fn decimal(text: &[u8]) -> Option<u64> {
    let plain = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    plain.then(|| str::from_utf8(text).ok()?.parse().ok()).flatten()
}

/// Seconds since 1970, perhaps with a fraction.
fn is_time(text: &[u8]) -> bool {
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = parts.next().and_then(decimal).is_some_and(|seconds| seconds < 1 << 40);
    seconds && parts.next().is_none_or(|fraction| fraction.iter().all(u8::is_ascii_digit))
}

/// The records of an extended header: `LENGTH KEY=VALUE\n`, the length that of all of it.
fn parse_records(bytes: &[u8]) -> Result<Vec<Record>, String> {
    let mut records: Vec<Record> = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (record, after) = record(rest).ok_or("an extended header that cannot be read")?;
        if records.iter().any(|(key, _)| *key == record.0) {
            return Err(format!("two records {} for one member", record.0.escape_debug()));
        }
        records.push(record);
        rest = after;
    }
    Ok(records)
}

fn record(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let space = bytes.iter().take(8).position(|byte| *byte == b' ')?;
    let length = decimal(&bytes[..space]).filter(|_| bytes[0] != b'0')?;
    let (record, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let key = str::from_utf8(&record[..equals]).ok()?;
    let is_key = !key.is_empty() && !key.contains(char::is_control);
    is_key.then(|| ((key.to_owned(), record[equals + 1..].to_vec()), rest))
}

#[cfg(test)]
mod tests;
