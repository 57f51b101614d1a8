//! As much of ELF (64-bit, little-endian) as it takes to read and to rename the libraries that a file needs.

use std::ops::Range;

const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_STRSZ: u64 = 10;
const DT_SONAME: u64 = 14;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

/// The dynamic section of an ELF file.
pub(super) struct Dynamic {
    /// The libraries that it needs, in their order.
    pub(super) needed: Vec<String>,
    /// Its own name as a library.
    pub(super) soname: Option<String>,
    /// Where it looks for libraries.
    pub(super) rpath: Option<String>,
    /// Where the file's dynamic strings lie.
    strings: Range<usize>,
}

fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    let mut number = [0; 8];
    number[..length].copy_from_slice(&bytes[at..at + length]);
    u64::from_le_bytes(number)
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).expect("an offset within a file in memory")
}

impl Dynamic {
    /// Reads it from the file's bytes.
    pub(super) fn of(file: &[u8]) -> Self {
        assert_eq!(&file[..6], b"\x7fELF\x02\x01", "a 64-bit little-endian ELF file");
        let (table, size, count) = (number(file, 32, 8), number(file, 54, 2), number(file, 56, 2));
        // Type, offset in the file, address in memory, size in the file.
        let segments: Vec<[u64; 4]> = (0..count)
            .map(|i| at(table + i * size))
            .map(|p| [number(file, p, 4), number(file, p + 8, 8), number(file, p + 16, 8), number(file, p + 32, 8)])
            .collect();
        let [_, offset, _, size] = segments.iter().find(|s| s[0] == PT_DYNAMIC).expect("a dynamic section");
        let entries: Vec<(u64, u64)> = (0..size / 16)
            .map(|i| at(offset + i * 16))
            .map(|p| (number(file, p, 8), number(file, p + 8, 8)))
            .take_while(|(tag, _)| *tag != 0)
            .collect();
        let all = |wanted: u64| entries.iter().filter(move |(tag, _)| *tag == wanted).map(|(_, value)| *value);
        let one = |wanted: u64| all(wanted).next();
        let address = one(DT_STRTAB).expect("a string table");
        let [_, in_file, in_memory, _] = segments
            .iter()
            .find(|s| s[0] == PT_LOAD && (s[2]..s[2] + s[3]).contains(&address))
            .expect("the string table is loaded");
        let start = at(address - in_memory + in_file);
        let strings = start..start + at(one(DT_STRSZ).expect("the string table's size"));
        let text = |offset: u64| {
            let bytes = &file[start + at(offset)..strings.end];
            let end = bytes.iter().position(|byte| *byte == 0).expect("a string ends");
            String::from_utf8_lossy(&bytes[..end]).into_owned()
        };
        Self {
            needed: all(DT_NEEDED).map(text).collect(),
            soname: one(DT_SONAME).map(text),
            rpath: one(DT_RPATH).or(one(DT_RUNPATH)).map(text),
            strings,
        }
    }

    /// Replaces the dynamic string `old` of `file` by `new`, which is not longer.
    pub(super) fn rename(&self, file: &mut [u8], old: &str, new: &str) {
        assert!(new.len() <= old.len(), "{new} does not fit into the place of {old}");
        let mut wanted = old.as_bytes().to_vec();
        wanted.push(0);
        let mut padded = new.as_bytes().to_vec();
        padded.resize(wanted.len(), 0);
        let strings = &mut file[self.strings.clone()];
        let mut from = 0;
        while let Some(place) = strings[from..].windows(wanted.len()).position(|window| window == wanted) {
            strings[from + place..from + place + wanted.len()].copy_from_slice(&padded);
            from += place + wanted.len();
        }
        assert!(from > 0, "{old} is one of the file's dynamic strings");
    }
}
