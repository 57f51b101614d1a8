//! The format itself: header, program headers, dynamic section, strings. Each step reads what the step before found, so
//! that a [`super::Scanner`] can take them one by one.

use std::io;

use super::{Class, Elf, ElfError, Endian, Source};

/// Length of the longest header, in bytes.
pub(super) const HEADER: u64 = 64;
/// As many program headers as are read.
const PROGRAM_HEADERS: u64 = 65_536;
/// As many entries of a dynamic section as are read.
const DYNAMIC_ENTRIES: u64 = 100_000;
/// The longest string, in bytes: PATH_MAX.
pub(super) const STRING: u64 = 4096;
/// All strings of a file together, in bytes.
const STRINGS: usize = 1 << 20;

const ET_EXEC: u64 = 2;
const ET_DYN: u64 = 3;
const PN_XNUM: u64 = 0xffff;
const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const DF_1_NODEFLIB: u64 = 0x800;

/// Reads all of it.
pub(super) fn elf(source: &mut dyn Source) -> Result<Option<Elf>, ElfError> {
    if !has_magic(source)? {
        return Ok(None);
    }
    let Some(header) = header(source)? else { return Ok(None) };
    let program = program(source, &header)?;
    let dynamic = program.dynamic.map(|extent| dynamic(source, &header, extent)).transpose()?;
    let mut strings = Strings { source, left: STRINGS };
    let mut elf = Elf {
        class: header.class,
        endian: header.endian,
        machine: header.machine,
        dynamic: dynamic.is_some(),
        shared: header.shared,
        interpreter: None,
        needed: Vec::new(),
        soname: None,
        rpath: Vec::new(),
        runpath: Vec::new(),
        nodeflib: false,
    };
    elf.interpreter = program.interpreter.map(|extent| strings.interpreter(extent)).transpose()?;
    if let Some(dynamic) = dynamic {
        let mut string = |what, offset: u64| strings.read(what, dynamic.string(&program, what, offset)?);
        for offset in &dynamic.needed {
            elf.needed.push(string("DT_NEEDED", *offset)?);
        }
        elf.soname = dynamic.soname.map(|offset| string("DT_SONAME", offset)).transpose()?;
        let mut path = |what, offset: Option<u64>| match offset {
            Some(offset) => Ok(string(what, offset)?.split(':').map(str::to_owned).collect()),
            None => Ok::<_, ElfError>(Vec::new()),
        };
        elf.rpath = path("DT_RPATH", dynamic.rpath)?;
        elf.runpath = path("DT_RUNPATH", dynamic.runpath)?;
        elf.nodeflib = dynamic.flags_1 & DF_1_NODEFLIB != 0;
    }
    Ok(Some(elf))
}

fn has_magic(source: &mut dyn Source) -> io::Result<bool> {
    let mut magic = [0; 4];
    Ok(source.read_at(0, &mut magic)? == 4 && is_magic(&magic))
}

/// Whether these are the first four bytes of an ELF file.
pub(super) fn is_magic(bytes: &[u8]) -> bool {
    bytes == b"\x7fELF"
}

/// A part of the file, by offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) start: u64,
    pub(super) size: u64,
}

impl Extent {
    pub(super) fn end(self) -> u64 {
        self.start.saturating_add(self.size)
    }

    fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end() <= self.end()
    }
}

/// What the header says.
#[derive(Debug)]
pub(super) struct Header {
    class: Class,
    endian: Endian,
    machine: u16,
    shared: bool,
    table: u64,
    entry: u64,
    count: u64,
    sections: u64,
}

impl Header {
    /// Where the program headers are; `None` when only the first section knows how many there are.
    pub(super) fn table(&self) -> Option<Extent> {
        (self.count != PN_XNUM).then(|| Extent { start: self.table, size: self.count.saturating_mul(self.entry) })
    }

    fn number(&self, bytes: &[u8]) -> u64 {
        number(self.endian, bytes)
    }
}

/// A whole number of at most eight bytes.
fn number(endian: Endian, bytes: &[u8]) -> u64 {
    let shift = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    match endian {
        Endian::Little => bytes.iter().rev().fold(0, shift),
        Endian::Big => bytes.iter().fold(0, shift),
    }
}

/// Reads the header of a file that has the magic; `None` when it is of a type that is not loaded.
pub(super) fn header(source: &mut dyn Source) -> Result<Option<Header>, ElfError> {
    let mut raw = [0; HEADER as usize];
    exact(source, 0, &mut raw[..20], "header")?;
    let class = match raw[4] {
        1 => Class::Elf32,
        2 => Class::Elf64,
        other => return Err(ElfError::malformed("class 1 or 2", format!("class {other}"))),
    };
    let endian = match raw[5] {
        1 => Endian::Little,
        2 => Endian::Big,
        other => return Err(ElfError::malformed("byte order 1 or 2", format!("byte order {other}"))),
    };
    if raw[6] != 1 {
        return Err(ElfError::malformed("ELF version 1", format!("version {}", raw[6])));
    }
    let number = |at: std::ops::Range<usize>, raw: &[u8]| number(endian, &raw[at]);
    let shared = match number(16..18, &raw) {
        ET_EXEC => false,
        ET_DYN => true,
        _ => return Ok(None),
    };
    let machine = u16::try_from(number(18..20, &raw)).expect("two bytes");
    let (table, sections, entry, count) = match class {
        Class::Elf32 => {
            exact(source, 0, &mut raw[..52], "header")?;
            (number(28..32, &raw), number(32..36, &raw), number(42..44, &raw), number(44..46, &raw))
        }
        Class::Elf64 => {
            exact(source, 0, &mut raw, "header")?;
            (number(32..40, &raw), number(40..48, &raw), number(54..56, &raw), number(56..58, &raw))
        }
    };
    let size = match class {
        Class::Elf32 => 32,
        Class::Elf64 => 56,
    };
    if count > 0 && entry != size {
        return Err(ElfError::malformed(format!("program headers of {size} bytes"), format!("{entry} bytes")));
    }
    Ok(Some(Header { class, endian, machine, shared, table, entry: size, count, sections }))
}

/// What the program headers say.
#[derive(Debug, Default)]
pub(super) struct Program {
    /// The interpreter's name.
    pub(super) interpreter: Option<Extent>,
    /// The dynamic section.
    pub(super) dynamic: Option<Extent>,
    loads: Vec<Load>,
}

/// A part of the file that is put into memory.
#[derive(Debug)]
struct Load {
    address: u64,
    extent: Extent,
}

impl Program {
    /// The part of the file that has what lies at `address` in memory, from there to the end of its segment.
    pub(super) fn at(&self, address: u64) -> Option<Extent> {
        self.loads.iter().find_map(|load| {
            let into = address.checked_sub(load.address).filter(|into| *into < load.extent.size)?;
            Some(Extent { start: load.extent.start.checked_add(into)?, size: load.extent.size - into })
        })
    }

    /// The segment that has the dynamic section.
    pub(super) fn load_of_dynamic(&self) -> Option<Extent> {
        let dynamic = self.dynamic?;
        self.loads.iter().map(|load| load.extent).find(|extent| extent.contains(dynamic))
    }
}

/// Reads the program headers.
pub(super) fn program(source: &mut dyn Source, header: &Header) -> Result<Program, ElfError> {
    let count = match header.table() {
        Some(_) => header.count,
        None => long_count(source, header)?,
    };
    if count > PROGRAM_HEADERS {
        return Err(ElfError::malformed(format!("at most {PROGRAM_HEADERS} program headers"), count.to_string()));
    }
    let mut program = Program::default();
    rows(source, header.table, count, header.entry, "program headers", |row| {
        let n = |at: std::ops::Range<usize>| header.number(&row[at]);
        let (kind, start, address, size) = match header.class {
            Class::Elf32 => (n(0..4), n(4..8), n(8..12), n(16..20)),
            Class::Elf64 => (n(0..4), n(8..16), n(16..24), n(32..40)),
        };
        let extent = Extent { start, size };
        // What was stripped of its content, and left for a debugger, has segments of no size.
        match kind {
            PT_LOAD if size > 0 => program.loads.push(Load { address, extent }),
            PT_DYNAMIC if size > 0 => program.dynamic = Some(extent),
            PT_INTERP if size > 0 => program.interpreter = program.interpreter.or(Some(extent)),
            _ => {}
        }
        true
    })?;
    Ok(program)
}

/// The number of program headers when the header has no room for it: `sh_info` of the first section header.
fn long_count(source: &mut dyn Source, header: &Header) -> Result<u64, ElfError> {
    let mut raw = [0; 64];
    let (length, at) = match header.class {
        Class::Elf32 => (40, 28..32),
        Class::Elf64 => (64, 44..48),
    };
    exact(source, header.sections, &mut raw[..length], "the first section header")?;
    Ok(header.number(&raw[at]))
}

/// What the dynamic section says; strings are offsets into the string table.
#[derive(Debug, Default)]
pub(super) struct Dynamic {
    table: Option<u64>,
    table_size: u64,
    needed: Vec<u64>,
    soname: Option<u64>,
    rpath: Option<u64>,
    runpath: Option<u64>,
    flags_1: u64,
}

impl Dynamic {
    /// The string table, as long as it says it is.
    pub(super) fn strings(&self, program: &Program) -> Option<Extent> {
        let rest = program.at(self.table?)?;
        Some(Extent { size: rest.size.min(self.table_size), ..rest })
    }

    /// The part of the file in which the string at `offset` of the table ends. As to the loader, that is the whole
    /// segment: it does not look at `DT_STRSZ`.
    fn string(&self, program: &Program, what: &str, offset: u64) -> Result<Extent, ElfError> {
        let table = self.table.ok_or_else(|| ElfError::malformed("DT_STRTAB", format!("{what} without it")))?;
        let found = table.checked_add(offset).and_then(|address| program.at(address));
        found.ok_or_else(|| {
            let found = format!("offset {offset} of a table at address {table:#x}, which no PT_LOAD has");
            ElfError::malformed(format!("{what} in a segment"), found)
        })
    }
}

/// Reads the dynamic section.
pub(super) fn dynamic(source: &mut dyn Source, header: &Header, extent: Extent) -> Result<Dynamic, ElfError> {
    let width = match header.class {
        Class::Elf32 => 4,
        Class::Elf64 => 8,
    };
    let mut dynamic = Dynamic::default();
    let mut ended = false;
    let count = extent.size / (2 * width as u64);
    rows(source, extent.start, count.min(DYNAMIC_ENTRIES), 2 * width as u64, "the dynamic section", |row| {
        let value = header.number(&row[width..]);
        match header.number(&row[..width]) {
            0 => ended = true,
            1 => dynamic.needed.push(value),
            5 => dynamic.table = Some(value),
            10 => dynamic.table_size = value,
            14 => dynamic.soname = Some(value),
            15 => dynamic.rpath = Some(value),
            29 => dynamic.runpath = Some(value),
            0x6fff_fffb => dynamic.flags_1 = value,
            _ => {}
        }
        !ended
    })?;
    if !ended && count > DYNAMIC_ENTRIES {
        return Err(ElfError::malformed(format!("at most {DYNAMIC_ENTRIES} dynamic entries"), count.to_string()));
    }
    Ok(dynamic)
}

struct Strings<'a> {
    source: &'a mut dyn Source,
    left: usize,
}

impl Strings<'_> {
    /// The interpreter's path. As to the kernel, its segment has no more than a path, and a NUL as its last byte.
    fn interpreter(&mut self, extent: Extent) -> Result<String, ElfError> {
        let mut last = [0xff];
        let read = match extent.size {
            2..=STRING => self.source.read_at(extent.end() - 1, &mut last)?,
            size => {
                let expected = format!("PT_INTERP of 2 to {STRING} bytes");
                return Err(ElfError::malformed(expected, format!("{size} bytes")));
            }
        };
        if (read, last) != (1, [0]) {
            return Err(ElfError::malformed("PT_INTERP that ends with a NUL", "no NUL"));
        }
        self.read("PT_INTERP", extent)
    }

    /// The string at the beginning of `extent`, up to its NUL.
    fn read(&mut self, what: &str, extent: Extent) -> Result<String, ElfError> {
        let mut raw = [0; STRING as usize + 1];
        let room = usize::try_from(extent.size).unwrap_or(usize::MAX).min(raw.len());
        let count = self.source.read_at(extent.start, &mut raw[..room])?;
        let Some(length) = raw[..count].iter().position(|byte| *byte == 0) else {
            return Err(ElfError::malformed(format!("{what} of at most {STRING} bytes, ended by a NUL"), "no NUL"));
        };
        if length > self.left {
            return Err(ElfError::malformed(format!("at most {STRINGS} bytes of names"), "more"));
        }
        self.left -= length;
        match std::str::from_utf8(&raw[..length]) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => {
                Err(ElfError::malformed(format!("{what} in UTF-8"), format!("`{}`", raw[..length].escape_ascii())))
            }
        }
    }
}

/// Gives `count` rows of `size` bytes to `each` until it says that it has enough.
fn rows(
    source: &mut dyn Source,
    start: u64,
    count: u64,
    size: u64,
    what: &str,
    mut each: impl FnMut(&[u8]) -> bool,
) -> Result<(), ElfError> {
    let mut block = [0; 4096];
    let size = size as usize;
    let (mut left, mut at) = (usize::try_from(count).unwrap_or(usize::MAX), start);
    while left > 0 {
        let part = &mut block[..left.min(4096 / size) * size];
        let there = source.read_at(at, part)?;
        for row in part[..there].chunks_exact(size) {
            if !each(row) {
                return Ok(());
            }
        }
        if there < part.len() {
            return Err(cut(what, at.saturating_add(there as u64)));
        }
        left -= part.len() / size;
        at = at.saturating_add(part.len() as u64);
    }
    Ok(())
}

fn exact(source: &mut dyn Source, at: u64, buf: &mut [u8], what: &str) -> Result<(), ElfError> {
    match source.read_at(at, buf)? {
        count if count == buf.len() => Ok(()),
        count => Err(cut(what, at.saturating_add(count as u64))),
    }
}

fn cut(what: &str, at: u64) -> ElfError {
    ElfError::malformed(what, format!("the end of the file, before byte {at}"))
}
