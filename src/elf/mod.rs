//! What the dynamic loader needs to know of an ELF file: its interpreter, the libraries that it needs, where it says
//! that they lie.
//!
//! A file on disk is read with [`Elf::read`], which reads only the parts that count; a member of a tar as it streams by
//! with a [`Scanner`]. [`closure`] then says which libraries a root filesystem lacks.
//!
//! Both byte orders and both classes are read. Files that no loader ever takes (objects, kernel modules, core dumps)
//! are no [`Elf`]; a program that is linked statically is one without needs. The format: System V ABI, "Object Files"
//! and "Program Loading and Dynamic Linking".

use std::io::{self, Read, Seek, SeekFrom};

use serde::{Deserialize, Serialize};

use crate::error::{Explain, Kind};

pub mod closure;
mod loader;
pub mod machine;
mod parse;
mod scan;

pub use scan::{Scanned, Scanner};

/// What the dynamic loader needs to know of a program or a library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elf {
    /// The width of its addresses.
    pub class: Class,
    /// Its byte order.
    pub endian: Endian,
    /// The processor, as `e_machine` has it: 62 is x86-64, 183 is AArch64.
    pub machine: u16,
    /// Whether it has a dynamic section: only then a loader has something to do, and only then it can be a library.
    pub dynamic: bool,
    /// Whether it is a shared object (`ET_DYN`): a library or a loader is one, and a program may be.
    pub shared: bool,
    /// The loader that the kernel starts for it (`PT_INTERP`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    /// The libraries that it needs (`DT_NEEDED`), in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needed: Vec<String>,
    /// Its own name as a library (`DT_SONAME`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soname: Option<String>,
    /// `DT_RPATH`, split at the colons, nothing expanded. Empty only when it has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rpath: Vec<String>,
    /// `DT_RUNPATH`, likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runpath: Vec<String>,
    /// Whether the default folders are not searched for what it needs (`DF_1_NODEFLIB`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nodeflib: bool,
}

/// The width of addresses in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// 32 bits.
    Elf32,
    /// 64 bits.
    Elf64,
}

/// The byte order of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Endian {
    /// The lowest byte first.
    Little,
    /// The highest byte first.
    Big,
}

/// Why a loader would refuse a file that begins as ELF files do.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// It is not what the format says.
    #[error("expected {expected}, found {found}")]
    Malformed {
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// It cannot be read.
    #[error("cannot read the file: {0}")]
    Read(#[from] io::Error),
}

impl ElfError {
    fn malformed(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Malformed { expected: expected.into(), found: found.into() }
    }
}

impl Explain for ElfError {
    fn kind(&self) -> Kind {
        match self {
            Self::Malformed { .. } | Self::Read(_) => Kind::Build,
        }
    }
}

impl Elf {
    /// Reads a file that is in memory. `None`: not ELF, or of a type that no loader takes (`ET_REL`, `ET_CORE`).
    ///
    /// # Errors
    /// [`ElfError::Malformed`] when it begins as ELF does, and then what the loader needs is wrong.
    pub fn of_bytes(bytes: &[u8]) -> Result<Option<Self>, ElfError> {
        parse::elf(&mut Bytes(bytes))
    }

    /// Reads a file, without what the loader does not need of it. `None` as in [`Elf::of_bytes`].
    ///
    /// # Errors
    /// As [`Elf::of_bytes`], and when the file cannot be read.
    pub fn read(file: impl Read + Seek) -> Result<Option<Self>, ElfError> {
        parse::elf(&mut Seeking(file))
    }

    /// Whether a loader takes the two into one process, as far as their headers say.
    pub fn fits(&self, other: &Self) -> bool {
        (self.class, self.endian, self.machine) == (other.class, other.endian, other.machine)
    }
}

/// Bytes that can be read at any place.
trait Source {
    /// Fills `buf` with what is at `at` and after, and gives how much that is: fewer than requested only where the
    /// bytes end.
    fn read_at(&mut self, at: u64, buf: &mut [u8]) -> io::Result<usize>;
}

struct Bytes<'a>(&'a [u8]);

impl Source for Bytes<'_> {
    fn read_at(&mut self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(at).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

struct Seeking<R>(R);

impl<R: Read + Seek> Source for Seeking<R> {
    fn read_at(&mut self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        // Past what the operating system takes for an offset, no file has bytes.
        if i64::try_from(at).is_err() {
            return Ok(0);
        }
        self.0.seek(SeekFrom::Start(at))?;
        let mut count = 0;
        while count < buf.len() {
            match self.0.read(&mut buf[count..]) {
                Ok(0) => break,
                Ok(read) => count += read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
