//! Writes small ELF files (64-bit, little-endian, for this machine): programs and libraries that say of themselves whatever a
//! test wants, and hold nothing that runs.

use std::ops::Range;

/// Length of the header, and of a program header.
const HEADER: usize = 64;
const ROW: usize = 56;

const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;

/// A file in the making: `ElfFile::program().needed("libc.so.6").bytes()`.
#[derive(Debug, Clone)]
pub struct ElfFile {
    kind: u8,
    machine: u8,
    interpreters: Vec<Interpreter>,
    strings: Vec<(u64, String)>,
    content: Vec<u8>,
}

/// A `PT_INTERP`: its bytes, and how long it says that they are.
#[derive(Debug, Clone)]
struct Interpreter {
    bytes: Vec<u8>,
    size: u64,
}

impl ElfFile {
    /// A shared library that needs nothing.
    pub fn library() -> Self {
        let machine = if std::env::consts::ARCH == "aarch64" { 183 } else { 62 };
        Self { kind: 3, machine, interpreters: Vec::new(), strings: Vec::new(), content: Vec::new() }
    }

    /// A program that is started by this machine's loader, and needs nothing else.
    pub fn program() -> Self {
        Self::library().interpreter(loader())
    }

    /// Not position-independent (`ET_EXEC`).
    pub fn fixed(self) -> Self {
        Self { kind: 2, ..self }
    }

    /// Started by `path`, which takes the place of the machine's loader.
    pub fn interpreter(self, path: &str) -> Self {
        Self { interpreters: Vec::new(), ..self }.another_interpreter(path)
    }

    /// A further `PT_INTERP`, behind the first.
    pub fn another_interpreter(mut self, path: &str) -> Self {
        let bytes = [path.as_bytes(), b"\0"].concat();
        self.interpreters.push(Interpreter { size: bytes.len() as u64, bytes });
        self
    }

    /// Lets the first `PT_INTERP` say that it has so many bytes.
    pub fn interpreter_size(mut self, size: u64) -> Self {
        self.interpreters[0].size = size;
        self
    }

    /// Needs the library `name`.
    pub fn needed(self, name: &str) -> Self {
        self.string(1, name)
    }

    /// Is called `name` as a library.
    pub fn soname(self, name: &str) -> Self {
        self.string(14, name)
    }

    /// `DT_RPATH`.
    pub fn rpath(self, folders: &str) -> Self {
        self.string(15, folders)
    }

    /// `DT_RUNPATH`.
    pub fn runpath(self, folders: &str) -> Self {
        self.string(29, folders)
    }

    /// Bytes at its end that nothing refers to.
    pub fn content(self, content: impl Into<Vec<u8>>) -> Self {
        Self { content: content.into(), ..self }
    }

    fn string(mut self, tag: u64, text: &str) -> Self {
        self.strings.push((tag, text.to_owned()));
        self
    }

    /// The file. One segment holds all of it, at address 0.
    pub fn bytes(&self) -> Vec<u8> {
        let rows = self.interpreters.len() + 2;
        let mut file = vec![0; HEADER + rows * ROW];
        let mut headers = Vec::new();
        for Interpreter { bytes, size } in &self.interpreters {
            headers.push((PT_INTERP, file.len() as u64, *size));
            file.extend_from_slice(bytes);
        }
        let table = file.len() as u64;
        file.push(0);
        let mut entries = Vec::new();
        for (tag, text) in &self.strings {
            entries.push((*tag, file.len() as u64 - table));
            file.extend_from_slice(text.as_bytes());
            file.push(0);
        }
        entries.extend([(5, table), (10, file.len() as u64 - table), (0, 0)]);
        let dynamic = file.len() as u64;
        for (tag, value) in entries {
            file.extend([tag, value].map(u64::to_le_bytes).concat());
        }
        headers.push((PT_DYNAMIC, dynamic, file.len() as u64 - dynamic));
        file.extend_from_slice(&self.content);
        headers.push((PT_LOAD, 0, file.len() as u64));
        for (at, (kind, start, size)) in headers.into_iter().enumerate() {
            let row = &mut file[HEADER + at * ROW..][..ROW];
            put(row, 0..4, kind);
            for (place, value) in [(8, start), (16, start), (24, start), (32, size), (40, size), (48, 1)] {
                put(row, place..place + 8, value);
            }
        }
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        for (place, value) in [
            (16..18, u64::from(self.kind)),
            (18..20, u64::from(self.machine)),
            (20..24, 1),
            (32..40, HEADER as u64),
            (52..54, HEADER as u64),
            (54..56, ROW as u64),
            (56..58, rows as u64),
        ] {
            put(&mut file, place, value);
        }
        file
    }
}

fn put(bytes: &mut [u8], place: Range<usize>, value: u64) {
    let length = place.len();
    bytes[place].copy_from_slice(&value.to_le_bytes()[..length]);
}

/// Where this machine's loader for programs that are linked with glibc lies.
pub fn loader() -> &'static str {
    if std::env::consts::ARCH == "aarch64" { "/lib/ld-linux-aarch64.so.1" } else { "/lib64/ld-linux-x86-64.so.2" }
}
