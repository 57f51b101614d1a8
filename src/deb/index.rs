//! A suite's list of packages: `Packages`, one paragraph each, plain or packed. Its hash stands in the signed
//! [`Release`](super::release::Release), and [`open`] looks at nothing before that has been compared.

use std::io::{self, Read};

use super::{
    control::paragraphs,
    record::{Record, RecordError},
    release::IndexFile,
};
use crate::{
    digest::Digest,
    error::{Explain, Kind},
    package::Packing,
};

/// Debian's main has 55 MB of text, Ubuntu's universe 70.
const MAX_INDEX: u64 = 512 << 20;

/// What a suite offers for an architecture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// The packages, in the order of the file.
    pub records: Vec<Record>,
}

/// An index that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{index}: {problem}")]
pub struct IndexError {
    /// The index: its URL or path.
    pub index: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with an index.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Another size than the Release says.
    #[error("expected {expected} bytes as the signed Release says, found {found}")]
    Size {
        /// As the Release has it.
        expected: u64,
        /// Of the file, of which no more is fetched than it takes to tell: a number, or `more`.
        found: String,
    },
    /// Another hash than the Release says.
    #[error("expected {expected} as the signed Release says, found {found}")]
    Digest {
        /// As the Release has it.
        expected: Digest,
        /// Of the file.
        found: Digest,
    },
    /// The file cannot be unpacked.
    #[error("expected a file packed with {packing}, found something that cannot be unpacked: {source}")]
    Corrupt {
        /// How the name says that it is packed.
        packing: Packing,
        /// Why it is not.
        source: io::Error,
    },
    /// More bytes than any index has.
    #[error("expected at most {limit} bytes unpacked, found more")]
    TooLarge {
        /// The most that is read, in bytes.
        limit: u64,
    },
    /// A paragraph does not describe a package.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Explain for IndexError {
    fn kind(&self) -> Kind {
        match self.problem {
            Problem::Size { .. } | Problem::Digest { .. } | Problem::Corrupt { .. } | Problem::TooLarge { .. } => {
                Kind::Unverified
            }
            Problem::Record(_) => Kind::Build,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match &self.problem {
            Problem::Size { .. } | Problem::Digest { .. } => {
                "the mirror may be in the middle of an update, or a proxy changed the file: try again in some minutes, or \
                 another --mirror"
                    .to_owned()
            }
            Problem::Corrupt { .. } | Problem::TooLarge { .. } => {
                "use another --mirror: the signed Release names an index that is broken".to_owned()
            }
            Problem::Record(_) => "use another --mirror, or tell the maintainers of this one".to_owned(),
        })
    }
}

/// Reads the bytes of the index `file`, called `name` in errors, provided that they are those that the Release names.
///
/// # Errors
/// When size or hash are others, or when what is packed there is no index.
pub fn open(bytes: &[u8], file: &IndexFile, name: &str) -> Result<Index, IndexError> {
    let index = verify(bytes, file).and_then(|()| unpack(bytes, file.packing)).and_then(|text| records(&text));
    index.map(|records| Index { records }).map_err(|problem| IndexError { index: name.to_owned(), problem })
}

fn verify(bytes: &[u8], file: &IndexFile) -> Result<(), Problem> {
    let found = bytes.len() as u64;
    if found != file.size {
        let found = if found > file.size { "more".to_owned() } else { found.to_string() };
        return Err(Problem::Size { expected: file.size, found });
    }
    let found = Digest::of(bytes);
    if found == file.digest { Ok(()) } else { Err(Problem::Digest { expected: file.digest, found }) }
}

fn unpack(bytes: &[u8], packing: Packing) -> Result<String, Problem> {
    let corrupt = |source| Problem::Corrupt { packing, source };
    let mut text = Vec::with_capacity(bytes.len().saturating_mul(6).min(64 << 20));
    let mut limited = packing.reader(bytes).map_err(corrupt)?.take(MAX_INDEX + 1);
    limited.read_to_end(&mut text).map_err(corrupt)?;
    if text.len() as u64 > MAX_INDEX {
        return Err(Problem::TooLarge { limit: MAX_INDEX });
    }
    // Bytes that are not UTF-8 may stand in a description, which is not used here.
    Ok(String::from_utf8(text).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

/// Reads the text of a `Packages`.
///
/// # Errors
/// When a paragraph does not describe a package; see [`Record::parse`].
pub fn parse(text: &str) -> Result<Index, IndexError> {
    let records = records(text).map_err(|problem| IndexError { index: "Packages".to_owned(), problem })?;
    Ok(Index { records })
}

fn records(text: &str) -> Result<Vec<Record>, Problem> {
    let mut records = Vec::with_capacity(text.len() / 800);
    for paragraph in paragraphs(text) {
        records.push(Record::parse(&paragraph)?);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "Package: a\nVersion: 1\nArchitecture: all\nFilename: pool/a.deb\nSize: 1\n\
                        SHA256: 0000000000000000000000000000000000000000000000000000000000000000\n\n\
                        Package: b\nVersion: 2\nArchitecture: amd64\nFilename: pool/b.deb\nSize: 2\n\
                        SHA256: 0000000000000000000000000000000000000000000000000000000000000000\n";

    fn file(bytes: &[u8], packing: Packing) -> IndexFile {
        IndexFile {
            path: format!("main/binary-amd64/Packages{}", packing.extension()),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            packing,
        }
    }

    fn pack(packing: Packing) -> Vec<u8> {
        match packing {
            Packing::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
                encoder.write_all(TEXT.as_bytes()).and_then(|()| encoder.finish()).expect("memory")
            }
            Packing::Zstd => zstd::encode_all(TEXT.as_bytes(), 1).expect("memory"),
            Packing::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(TEXT.as_bytes()).and_then(|()| encoder.finish()).expect("memory")
            }
            Packing::Plain => TEXT.as_bytes().to_vec(),
        }
    }

    #[test]
    fn opens_what_the_release_vouches_for() {
        for packing in [Packing::Xz, Packing::Zstd, Packing::Gzip, Packing::Plain] {
            let bytes = pack(packing);
            let index = open(&bytes, &file(&bytes, packing), "x").expect("an index");
            assert_eq!(index.records.iter().map(Record::name).collect::<Vec<_>>(), ["a", "b"], "{packing}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        let bytes = pack(Packing::Xz);
        let mut changed = bytes.clone();
        changed[30] ^= 1;
        let refusal = |bytes: &[u8], file: &IndexFile| open(bytes, file, "http://m/Packages.xz").expect_err("refused");
        let error = refusal(&changed, &file(&bytes, Packing::Xz));
        assert!(matches!(error.problem, Problem::Digest { .. }), "{error}");
        assert_eq!(error.kind(), Kind::Unverified);
        assert!(error.hint().is_some_and(|hint| hint.contains("in the middle of an update")));
        let error = refusal(&bytes[1..], &file(&bytes, Packing::Xz));
        let sizes = format!("expected {} bytes as the signed Release says, found {}", bytes.len(), bytes.len() - 1);
        assert_eq!(error.to_string(), format!("http://m/Packages.xz: {sizes}"));
        for packing in [Packing::Gzip, Packing::Zstd] {
            let error = refusal(&bytes, &file(&bytes, packing));
            assert!(matches!(error.problem, Problem::Corrupt { .. }), "{error}");
            assert_eq!(error.kind(), Kind::Unverified);
        }
        let cut = &bytes[..bytes.len() - 9];
        assert!(matches!(refusal(cut, &file(cut, Packing::Xz)).problem, Problem::Corrupt { .. }));
        let error = refusal(b"A\n", &file(b"A\n", Packing::Plain));
        assert!(matches!(error.problem, Problem::Record(_)), "{error}");
        assert_eq!(error.kind(), Kind::Build);
    }

    #[test]
    fn knows_packings_by_name() {
        for (name, packing) in [
            ("main/binary-amd64/Packages", Some(Packing::Plain)),
            ("a.b/Packages.gz", Some(Packing::Gzip)),
            ("Packages.xz", Some(Packing::Xz)),
            ("data.tar.zst", Some(Packing::Zstd)),
            ("data.tar", Some(Packing::Plain)),
            ("Packages.bz2", None),
            ("data.tar.lzma", None),
        ] {
            assert_eq!(Packing::of(name), packing, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for packing in [Packing::Xz, Packing::Zstd, Packing::Gzip, Packing::Plain] {
                let _ = open(&bytes, &file(&bytes, packing), "x");
            }
            let _ = parse(&String::from_utf8_lossy(&bytes));
        }
    }
}
