//! Reads an ELF file that streams by, as the member of a tar does.

use std::{
    io::{self, Write},
    mem,
};

use serde::{Deserialize, Serialize};

use super::{
    Elf, Source,
    parse::{self, Extent, HEADER, Header, Program, STRING},
};

/// As much of a file's beginning as is kept, in bytes.
const PREFIX: u64 = 8 << 20;
/// As much of any other part as is kept, in bytes.
const PIECE: u64 = 4 << 20;

/// What a [`Scanner`] saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scanned {
    /// A file that no loader takes; [`Elf::of_bytes`] gives `None`.
    #[default]
    No,
    /// What the loader needs to know.
    Elf(Box<Elf>),
    /// The parts that were kept do not tell, or the file is malformed: [`Elf::read`] knows which.
    Unclear,
}

/// Reads an ELF file that is written to it in order, keeping only parts of it.
///
/// These are its first 8 MiB, and of what lies further on, as soon as something before has told where: the program
/// headers, the dynamic section and the segment around it, the interpreter's name and the strings, 4 MiB of each. The
/// first four bytes decide whether anything is kept, and nothing is any more once all is known. Writing never fails.
#[derive(Debug)]
pub struct Scanner {
    size: u64,
    at: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Keeping(Box<Keeping>),
    Done(Scanned),
}

#[derive(Debug)]
struct Keeping {
    kept: Kept,
    step: Phase,
    /// The offset at which the next step is taken.
    due: u64,
    /// The end of the last part that is to be kept.
    last: u64,
}

/// What is read next.
#[derive(Debug)]
enum Phase {
    Magic,
    Header,
    Program(Header),
    Dynamic(Header, Program),
    Strings,
    /// Once more all of it, at the end of the file: it is small, or it will not become clear.
    All,
}

impl Scanned {
    pub(crate) fn is_no(&self) -> bool {
        *self == Self::No
    }
}

impl Scanner {
    /// For a file of `size` bytes. Nothing is allocated by that number.
    pub fn new(size: u64) -> Self {
        let keeping = || Box::new(Keeping { kept: Kept::default(), step: Phase::Magic, due: 4, last: 0 });
        let state = if size < 4 { State::Done(Scanned::No) } else { State::Keeping(keeping()) };
        Self { size, at: 0, state }
    }

    /// What was seen. [`Scanned::Unclear`], too, when another number of bytes was written than was announced.
    pub fn finish(self) -> Scanned {
        match self.state {
            State::Done(Scanned::No) => Scanned::No,
            State::Done(scanned) if self.at == self.size => scanned,
            _ => Scanned::Unclear,
        }
    }
}

impl Write for Scanner {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut left = buf;
        while let State::Keeping(keeping) = &mut self.state
            && !left.is_empty()
        {
            let wanted = usize::try_from(keeping.due - self.at).unwrap_or(usize::MAX);
            let (now, later) = left.split_at(wanted.min(left.len()));
            keeping.kept.take(self.at, now);
            self.at += now.len() as u64;
            left = later;
            if let Some(scanned) = keeping.advance(self.at, self.size) {
                self.state = State::Done(scanned);
            }
        }
        self.at += left.len() as u64;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Keeping {
    /// Takes the steps for which enough is there, `at` bytes into the file.
    fn advance(&mut self, at: u64, size: u64) -> Option<Scanned> {
        while self.due <= at {
            let (step, due) = match mem::replace(&mut self.step, Phase::All) {
                Phase::Magic if !parse::is_magic(&self.kept.prefix) => return Some(Scanned::No),
                Phase::Magic => (Phase::Header, HEADER),
                Phase::Header => match parse::header(&mut self.kept) {
                    Ok(None) => return Some(Scanned::No),
                    Ok(Some(header)) => self.after_header(header, at, size),
                    Err(_) => (Phase::All, size),
                },
                Phase::Program(header) => match parse::program(&mut self.kept, &header) {
                    Ok(program) => self.after_program(header, program, at, size),
                    Err(_) => (Phase::All, size),
                },
                Phase::Dynamic(header, program) => {
                    let extent = program.dynamic.unwrap_or(Extent { start: 0, size: 0 });
                    match parse::dynamic(&mut self.kept, &header, extent) {
                        Ok(dynamic) => {
                            self.want(dynamic.strings(&program), PIECE, at, size);
                            (Phase::Strings, self.last)
                        }
                        Err(_) => (Phase::All, size),
                    }
                }
                Phase::Strings => match parse::elf(&mut self.kept) {
                    Ok(Some(elf)) => return Some(Scanned::Elf(Box::new(elf))),
                    _ => (Phase::All, size),
                },
                Phase::All if at < size => (Phase::All, size),
                Phase::All => return Some(parse::elf(&mut self.kept).map_or(Scanned::Unclear, Scanned::from)),
            };
            (self.step, self.due) = (step, due.min(size));
        }
        None
    }

    fn after_header(&mut self, header: Header, at: u64, size: u64) -> (Phase, u64) {
        match header.table() {
            Some(table) => {
                self.want(Some(table), PIECE, at, size);
                (Phase::Program(header), table.end())
            }
            None => (Phase::All, size),
        }
    }

    fn after_program(&mut self, header: Header, program: Program, at: u64, size: u64) -> (Phase, u64) {
        self.want(program.interpreter, STRING + 1, at, size);
        self.want(program.load_of_dynamic(), PIECE, at, size);
        self.want(program.dynamic, PIECE, at, size);
        match program.dynamic {
            Some(dynamic) => (Phase::Dynamic(header, program), dynamic.end()),
            None => (Phase::Strings, self.last),
        }
    }

    fn want(&mut self, extent: Option<Extent>, most: u64, at: u64, size: u64) {
        let Some(extent) = extent else { return };
        let end = extent.end().min(extent.start.saturating_add(most)).min(size);
        self.last = self.last.max(end);
        let start = extent.start.max(at).max(PREFIX);
        if start < end {
            self.kept.pieces.push(Piece { start, end, bytes: Vec::new() });
        }
    }
}

impl From<Option<Elf>> for Scanned {
    fn from(elf: Option<Elf>) -> Self {
        elf.map_or(Self::No, |elf| Self::Elf(Box::new(elf)))
    }
}

/// The parts of the file that are kept.
#[derive(Debug, Default)]
struct Kept {
    prefix: Vec<u8>,
    pieces: Vec<Piece>,
}

/// A part behind the prefix, as much as has come of it.
#[derive(Debug)]
struct Piece {
    start: u64,
    end: u64,
    bytes: Vec<u8>,
}

impl Kept {
    /// Keeps what is to be kept of `bytes`, which lie at `at`.
    fn take(&mut self, at: u64, bytes: &[u8]) {
        self.prefix.extend_from_slice(part(bytes, at, at, PREFIX));
        for piece in &mut self.pieces {
            piece.bytes.extend_from_slice(part(bytes, at, piece.start, piece.end));
        }
    }
}

/// Of `bytes`, which lie at `at`, those between two offsets.
fn part(bytes: &[u8], at: u64, start: u64, end: u64) -> &[u8] {
    let place = |offset: u64| usize::try_from(offset.saturating_sub(at)).unwrap_or(usize::MAX).min(bytes.len());
    bytes.get(place(start)..place(end)).unwrap_or_default()
}

impl Source for Kept {
    fn read_at(&mut self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while count < buf.len() {
            let Some(at) = at.checked_add(count as u64) else { break };
            let mut parts = self.pieces.iter().map(|piece| (piece.start, &piece.bytes)).chain([(0, &self.prefix)]);
            let rest = parts.find_map(|(start, bytes)| {
                bytes.get(usize::try_from(at.checked_sub(start)?).ok()?..).filter(|rest| !rest.is_empty())
            });
            let Some(rest) = rest else { break };
            let more = rest.len().min(buf.len() - count);
            buf[count..count + more].copy_from_slice(&rest[..more]);
            count += more;
        }
        Ok(count)
    }
}
