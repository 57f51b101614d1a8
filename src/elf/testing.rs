//! ELF files in memory, for unit tests.

use super::{Class, Elf, Endian};

/// A file in the making: `Draft::new().needed("libc.so.6").bytes()`. Header, program headers, interpreter's name and
/// string table come first, the dynamic section after them in a segment of its own.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    class: Class,
    endian: Endian,
    machine: u16,
    kind: u16,
    interpreter: Option<String>,
    strings: Vec<(u64, String)>,
    flags_1: u64,
    is_static: bool,
    gap: usize,
    strings_last: bool,
    headers_last: bool,
    long_count: bool,
}

impl Draft {
    /// A library for x86-64 that needs nothing.
    pub(crate) fn new() -> Self {
        Self {
            class: Class::Elf64,
            endian: Endian::Little,
            machine: 62,
            kind: 3,
            interpreter: None,
            strings: Vec::new(),
            flags_1: 0,
            is_static: false,
            gap: 0,
            strings_last: false,
            headers_last: false,
            long_count: false,
        }
    }

    pub(crate) fn class(self, class: Class) -> Self {
        Self { class, ..self }
    }

    pub(crate) fn endian(self, endian: Endian) -> Self {
        Self { endian, ..self }
    }

    pub(crate) fn machine(self, machine: u16) -> Self {
        Self { machine, ..self }
    }

    /// `e_type`.
    pub(crate) fn kind(self, kind: u16) -> Self {
        Self { kind, ..self }
    }

    pub(crate) fn interpreter(self, interpreter: &str) -> Self {
        Self { interpreter: Some(interpreter.to_owned()), ..self }
    }

    pub(crate) fn needed(self, name: &str) -> Self {
        self.string(1, name)
    }

    pub(crate) fn soname(self, name: &str) -> Self {
        self.string(14, name)
    }

    pub(crate) fn rpath(self, path: &str) -> Self {
        self.string(15, path)
    }

    pub(crate) fn runpath(self, path: &str) -> Self {
        self.string(29, path)
    }

    fn string(mut self, tag: u64, text: &str) -> Self {
        self.strings.push((tag, text.to_owned()));
        self
    }

    pub(crate) fn nodeflib(self) -> Self {
        Self { flags_1: 0x800, ..self }
    }

    /// Without a dynamic section.
    pub(crate) fn statically(self) -> Self {
        Self { is_static: true, ..self }
    }

    /// As many bytes of something else between the beginning and the dynamic section, and as many behind it.
    pub(crate) fn gap(self, gap: usize) -> Self {
        Self { gap, ..self }
    }

    /// The string table behind the dynamic section.
    pub(crate) fn strings_last(self) -> Self {
        Self { strings_last: true, ..self }
    }

    /// The program headers at the end of the file.
    pub(crate) fn headers_last(self) -> Self {
        Self { headers_last: true, ..self }
    }

    /// The number of program headers in the first section header.
    pub(crate) fn long_count(self) -> Self {
        Self { long_count: true, ..self }
    }

    /// What is read of it.
    pub(crate) fn elf(&self) -> Elf {
        Elf::of_bytes(&self.bytes()).expect("a sound file").expect("a file that is loaded")
    }

    /// The file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let (header, row, section) = match self.class {
            Class::Elf32 => (52, 32, 40),
            Class::Elf64 => (64, 56, 64),
        };
        // Addresses are not offsets.
        let (first, second) = (0x40_0000, 0x80_0000);
        let mut strings = vec![0];
        let mut entries = Vec::new();
        for (tag, text) in &self.strings {
            entries.push((*tag, strings.len() as u64));
            strings.extend_from_slice(text.as_bytes());
            strings.push(0);
        }
        let mut file = vec![0; header + if self.headers_last { 0 } else { row * 4 }];
        let interpreter = self.interpreter.as_ref().map(|name| {
            let start = file.len() as u64;
            file.extend_from_slice(name.as_bytes());
            file.push(0);
            (3, start, 0, name.len() as u64 + 1)
        });
        let mut table = first + file.len() as u64;
        if !self.strings_last {
            file.extend_from_slice(&strings);
        }
        let first_size = file.len() as u64;
        file.extend(std::iter::repeat_n(b'x', self.gap));
        let start = file.len() as u64;
        let count = entries.len() as u64 + 4;
        let size = count * if self.class == Class::Elf64 { 16 } else { 8 };
        if self.strings_last {
            table = second + size;
        }
        entries.extend([(5, table), (10, strings.len() as u64), (0x6fff_fffb, self.flags_1), (0, 0)]);
        for (tag, value) in entries {
            self.word(&mut file, tag);
            self.word(&mut file, value);
        }
        if self.strings_last {
            file.extend_from_slice(&strings);
        }
        let second_size = file.len() as u64 - start;
        file.extend(std::iter::repeat_n(b'x', self.gap));
        let dynamic = (!self.is_static).then_some((2, start, second, size));
        let rows = [Some((1, 0, first, first_size)), interpreter, dynamic, Some((1, start, second, second_size))];
        let rows: Vec<_> = rows.into_iter().flatten().collect();
        let place = if self.headers_last { file.len() } else { header };
        file.resize(file.len().max(place + rows.len() * row), 0);
        for (at, (kind, offset, address, size)) in rows.iter().enumerate() {
            let raw = self.program_header(*kind, *offset, *address, *size);
            file[place + at * row..][..row].copy_from_slice(&raw);
        }
        let sections = file.len();
        if self.long_count {
            file.resize(sections + section, 0);
            let at = if self.class == Class::Elf64 { 44 } else { 28 };
            file[sections + at..][..4].copy_from_slice(&self.number(rows.len() as u64, 4));
        }
        let count = if self.long_count { 0xffff } else { rows.len() };
        let raw = self.header(place, sections, count, row);
        file[..header].copy_from_slice(&raw);
        file
    }

    fn header(&self, table: usize, sections: usize, count: usize, row: usize) -> Vec<u8> {
        let class = if self.class == Class::Elf64 { 2 } else { 1 };
        let order = if self.endian == Endian::Big { 2 } else { 1 };
        let mut raw = vec![0x7f, b'E', b'L', b'F', class, order, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let header = if self.class == Class::Elf64 { 64 } else { 52 };
        for (value, width) in [(u64::from(self.kind), 2), (u64::from(self.machine), 2), (1, 4)] {
            raw.extend(self.number(value, width));
        }
        for value in [0, table as u64, sections as u64] {
            self.word(&mut raw, value);
        }
        raw.extend(self.number(0, 4));
        for value in [header, row, count, 0, 0, 0] {
            raw.extend(self.number(value as u64, 2));
        }
        raw
    }

    fn program_header(&self, kind: u64, offset: u64, address: u64, size: u64) -> Vec<u8> {
        let mut raw = self.number(kind, 4);
        if self.class == Class::Elf64 {
            raw.extend(self.number(4, 4));
        }
        for value in [offset, address, address, size, size] {
            self.word(&mut raw, value);
        }
        if self.class == Class::Elf32 {
            raw.extend(self.number(4, 4));
        }
        self.word(&mut raw, 1);
        raw
    }

    /// As wide as an address.
    fn word(&self, file: &mut Vec<u8>, value: u64) {
        file.extend(self.number(value, if self.class == Class::Elf64 { 8 } else { 4 }));
    }

    fn number(&self, value: u64, width: usize) -> Vec<u8> {
        match self.endian {
            Endian::Little => value.to_le_bytes()[..width].to_vec(),
            Endian::Big => value.to_be_bytes()[8 - width..].to_vec(),
        }
    }
}

impl From<Draft> for Elf {
    fn from(draft: Draft) -> Self {
        draft.elf()
    }
}
