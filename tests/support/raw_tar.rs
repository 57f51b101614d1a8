//! Writes tars byte by byte: whatever a header or a record is to say, right or wrong.

/// A header of 512 bytes; as POSIX has it, of root, unless something else is put into it.
#[derive(Debug, Clone)]
pub struct Header([u8; 512]);

impl Header {
    /// A header of the type `kind` (`b'0'` is a file) for a member without content.
    pub fn new(kind: u8, name: &str) -> Self {
        let mode = if kind == b'5' { 0o755 } else { 0o644 };
        let header =
            Self([0; 512]).put(0, name).put(156, [kind]).put(257, b"ustar\x0000").put(265, "root").put(297, "root");
        let header = header.octal(100, 8, mode).octal(108, 8, 0).octal(116, 8, 0).octal(124, 12, 0);
        header.octal(136, 12, 1_700_000_000).octal(329, 8, 0).octal(337, 8, 0)
    }

    /// Other bytes at `place`.
    pub fn put(mut self, place: usize, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.0[place..place + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// A number in the field of `length` bytes at `place`: octal digits and a NUL.
    pub fn octal(self, place: usize, length: usize, number: u64) -> Self {
        self.put(place, format!("{number:0width$o}\0", width = length - 1))
    }

    /// The length of the content.
    pub fn size(self, size: usize) -> Self {
        self.octal(124, 12, size as u64)
    }

    /// Where a link leads.
    pub fn link(self, target: &str) -> Self {
        self.put(157, target)
    }

    /// The sum of all bytes, as the checksum has it.
    fn sum(&self) -> u64 {
        let others = self.0[..148].iter().chain(&self.0[156..]);
        others.map(|byte| u64::from(*byte)).sum::<u64>() + 256
    }

    /// The header with its checksum.
    pub fn block(self) -> [u8; 512] {
        let sum = self.sum();
        // As tar(1) writes it: the last byte stays a space.
        self.put(148, format!("{sum:06o}\0 ")).0
    }
}

/// A record of an extended header.
pub fn record(key: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// A tar in the making.
#[derive(Debug, Clone, Default)]
pub struct RawTar(Vec<u8>);

impl RawTar {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// A header and what follows it, filled up to a block.
    pub fn member(self, header: Header, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        let padding = content.len().next_multiple_of(512) - content.len();
        self.raw(header.block()).raw(content).raw(vec![0; padding])
    }

    /// A header for that content.
    pub fn sized(self, header: Header, content: impl AsRef<[u8]>) -> Self {
        let size = content.as_ref().len();
        self.member(header.size(size), content)
    }

    /// A file of root.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.sized(Header::new(b'0', name), content)
    }

    /// A folder.
    pub fn folder(self, name: &str) -> Self {
        self.member(Header::new(b'5', name), b"")
    }

    /// An extended header with these bytes for the next member.
    pub fn extended(self, bytes: impl AsRef<[u8]>) -> Self {
        self.sized(Header::new(b'x', "PaxHeaders/a"), bytes)
    }

    /// An extended header with one record for the next member.
    pub fn record(self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.extended(record(key, value))
    }

    /// Any bytes.
    pub fn raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    /// What there is so far.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, with the blocks of zeros that end a tar.
    pub fn end(self) -> Vec<u8> {
        self.raw([0; 1024]).0
    }
}
