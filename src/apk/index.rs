//! A repository's index. `APKINDEX.tar.gz` (apk-v2(5)) is two gzip streams: a tar of signatures over the second
//! stream's compressed bytes, and a tar that holds `DESCRIPTION` and `APKINDEX`, one record of `LETTER:value` lines per
//! package (the letters are those of apk-package(5)). [`open`] checks the signature before it looks into the second
//! stream; [`parse`] reads the text alone.

use std::{
    fmt,
    io::{self, Read},
};

use flate2::bufread::{GzDecoder, MultiGzDecoder};

use super::{
    checksum::Checksum,
    dependency::{Dependency, Provide},
    key::{Algorithm, KeyRing},
    version::Version,
};
use crate::error::{Explain, Kind};

/// A signature stream holds a few signatures of at most 1 KiB, each padded by tar.
const MAX_SIGNATURES: u64 = 1 << 20;
/// The largest index of Alpine (edge, community) is some 12 MB of text.
const MAX_INDEX: u64 = 256 << 20;

/// What a repository offers.
#[derive(Debug, Clone, Default)]
pub struct Index {
    /// The text of `DESCRIPTION`, such as `v3.23.0-12-g0123456789a`; empty when there is none.
    pub description: String,
    /// The name of the key that signed it; empty when the signature was not checked.
    pub signed_by: String,
    /// The packages, in the order of the file.
    pub records: Vec<Record>,
}

/// A package as the index describes it (apk-package(5)); the letters are the fields' names in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// `P`
    pub name: String,
    /// `V`
    pub version: Version,
    /// `A`; empty or `noarch` for a package that fits every architecture.
    pub arch: String,
    /// `C`: of the package's control stream.
    pub checksum: Checksum,
    /// `S`: of the `.apk` file, in bytes.
    pub size: u64,
    /// `I`: of what it installs, in bytes.
    pub installed_size: u64,
    /// `T`
    pub description: String,
    /// `U`
    pub url: String,
    /// `L`
    pub license: String,
    /// `o`: the source package.
    pub origin: String,
    /// `m`
    pub maintainer: String,
    /// `t`: seconds since 1970.
    pub build_time: u64,
    /// `c`: of the repository of build recipes.
    pub commit: String,
    /// `k`: 0 means that the package is not chosen for its unversioned provides.
    pub provider_priority: u32,
    /// `D`
    pub depends: Vec<Dependency>,
    /// `p`
    pub provides: Vec<Provide>,
    /// `i`: the package is installed along as soon as all of these are.
    pub install_if: Vec<Dependency>,
    /// Why the package cannot be installed although the index can be read: a dependency or name that apk would refuse.
    pub broken: Option<String>,
}

impl Record {
    /// The name of the package's file in the repository: `NAME-VERSION.apk`.
    pub fn file_name(&self) -> String {
        format!("{}-{}.apk", self.name, self.version)
    }
}

/// The record's lines as apk itself writes them into its database of installed packages: empty fields are left out.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |key: char, value: &str| {
            if value.is_empty() { Ok(()) } else { writeln!(f, "{key}:{value}") }
        };
        let number = |value: u64| if value == 0 { String::new() } else { value.to_string() };
        line('C', &self.checksum.to_string())?;
        line('P', &self.name)?;
        line('V', self.version.as_str())?;
        line('A', &self.arch)?;
        line('S', &self.size.to_string())?;
        line('I', &self.installed_size.to_string())?;
        line('T', &self.description)?;
        line('U', &self.url)?;
        line('L', &self.license)?;
        line('o', &self.origin)?;
        line('m', &self.maintainer)?;
        line('t', &number(self.build_time))?;
        line('c', &self.commit)?;
        line('k', &number(u64::from(self.provider_priority)))?;
        line('D', &words(&self.depends))?;
        line('p', &words(&self.provides))?;
        line('i', &words(&self.install_if))
    }
}

fn words(list: &[impl ToString]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
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
    /// The container of apk v3.
    #[error("expected an APKINDEX.tar.gz of apk v2, found an index of apk v3 (ADB)")]
    Adb,
    /// Not gzip, not tar, or cut off.
    #[error("expected an APKINDEX.tar.gz, found something that cannot be unpacked: {0}")]
    Corrupt(#[from] io::Error),
    /// More bytes than any index has.
    #[error("expected at most {limit} bytes unpacked, found more")]
    TooLarge {
        /// The most that is read, in bytes.
        limit: u64,
    },
    /// No signature before the content.
    #[error("expected a signature, found none")]
    Unsigned,
    /// Only signatures by keys that are not trusted.
    #[error("expected a signature by a trusted key ({}), found {}", list(trusted), list(found))]
    UnknownKey {
        /// The names of the signatures' keys.
        found: Vec<String>,
        /// The names of the trusted keys.
        trusted: Vec<String>,
    },
    /// A signature that is not the named key's.
    #[error("expected a valid signature by {key}, found one that does not match")]
    BadSignature {
        /// The name of the key.
        key: String,
    },
    /// The index of another release.
    #[error("expected an index of {expected}, found one that calls itself {found}")]
    OtherBranch {
        /// The branch that was requested: `v3.23`, `edge`.
        expected: String,
        /// The state that the index is in, as it says.
        found: String,
    },
    /// A signed archive without an index.
    #[error("expected a file APKINDEX in the archive, found none")]
    NoIndex,
    /// A line that is not `LETTER:value`, or whose value cannot be read.
    #[error("line {line}: expected {expected}, found `{found}`")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What belongs there.
        expected: &'static str,
        /// What stands there, shortened.
        found: String,
    },
    /// A record that lacks one of the fields that each needs.
    #[error("the record that ends in line {line}: expected the field {field}, found none")]
    Missing {
        /// Counted from 1.
        line: usize,
        /// The field's letter.
        field: char,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl Explain for IndexError {
    fn kind(&self) -> Kind {
        match self.problem {
            Problem::Adb | Problem::NoIndex | Problem::Line { .. } | Problem::Missing { .. } => Kind::Build,
            Problem::Corrupt(_)
            | Problem::TooLarge { .. }
            | Problem::Unsigned
            | Problem::UnknownKey { .. }
            | Problem::OtherBranch { .. }
            | Problem::BadSignature { .. } => Kind::Unverified,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match &self.problem {
            Problem::Adb => "use a repository with v2 indexes; Alpine's are, up to 3.23 at least",
            Problem::Corrupt(_) => {
                "the download may have been cut off or replaced by a proxy's page: try again, or another --mirror"
            }
            Problem::TooLarge { .. } => "use another --mirror: this is not an index of packages",
            Problem::Unsigned => "sign the index with abuild-sign and name the public key with --keys",
            Problem::UnknownKey { .. } => "if you trust who signed it, name the public key's file with --keys",
            Problem::BadSignature { .. } => "the index was changed after it was signed: use another --mirror",
            Problem::OtherBranch { .. } => {
                "the mirror mixes up its releases, or serves an old one for a new one: use another --mirror; if it is so on \
                 purpose, --allow-rollback accepts it"
            }
            Problem::NoIndex | Problem::Line { .. } | Problem::Missing { .. } => {
                "make the index again with `apk index`"
            }
        };
        Some(hint.to_owned())
    }
}

/// Reads the bytes of an `APKINDEX.tar.gz`, called `name` in errors, once a key in `keys` vouches for them. Nothing
/// after the signatures is unpacked before that.
///
/// # Errors
/// When the bytes are not such a file, when no signature of a trusted key verifies, or when the text is not an index.
pub fn open(bytes: &[u8], keys: &KeyRing, name: &str) -> Result<Index, IndexError> {
    let index = verify(bytes, keys).and_then(|(signed_by, signed)| {
        let (description, text) = unpack(signed)?;
        let description = String::from_utf8_lossy(&description).trim().to_owned();
        Ok(Index { description, signed_by, records: records(&String::from_utf8_lossy(&text))? })
    });
    index.map_err(|problem| IndexError { index: name.to_owned(), problem })
}

/// The second gzip stream, after a signature in the first one vouched for it, and the name of that signature's key.
fn verify<'a>(bytes: &'a [u8], keys: &KeyRing) -> Result<(String, &'a [u8]), Problem> {
    if bytes.starts_with(b"ADB") {
        return Err(Problem::Adb);
    }
    let (signatures, signed) = signatures(bytes)?;
    let mut found = Vec::new();
    let mut bad = None;
    for (file, signature) in signatures {
        let Some((algorithm, name)) = Algorithm::of_signature(&file) else {
            found.push(file);
            continue;
        };
        match keys.get(name) {
            Some(key) if key.verify(algorithm, signed, &signature) => return Ok((name.to_owned(), signed)),
            Some(_) => bad = Some(name.to_owned()),
            None => found.push(name.to_owned()),
        }
    }
    Err(match bad {
        Some(key) => Problem::BadSignature { key },
        None if found.is_empty() => Problem::Unsigned,
        None => Problem::UnknownKey { found, trusted: keys.files().map(|(name, _)| name.to_owned()).collect() },
    })
}

/// A signature's file name, and its bytes.
type Signature = (String, Vec<u8>);

/// The signatures in the first gzip stream, and the bytes that follow that stream. There are none when the stream
/// begins with another file: it is then the content of an unsigned index.
fn signatures(bytes: &[u8]) -> Result<(Vec<Signature>, &[u8]), Problem> {
    let mut stream = GzDecoder::new(bytes);
    let mut limited = (&mut stream).take(MAX_SIGNATURES);
    let mut signatures = Vec::new();
    let mut archive = tar::Archive::new(&mut limited);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !name.starts_with(".SIGN.") {
            return if signatures.is_empty() { Err(Problem::Unsigned) } else { Err(Problem::NoIndex) };
        }
        let mut signature = Vec::new();
        entry.read_to_end(&mut signature)?;
        signatures.push((name, signature));
    }
    io::copy(&mut limited, &mut io::sink())?;
    if limited.limit() == 0 {
        return Err(Problem::TooLarge { limit: MAX_SIGNATURES });
    }
    Ok((signatures, stream.into_inner()))
}

/// The files `DESCRIPTION` and `APKINDEX` of the verified stream.
fn unpack(signed: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Problem> {
    let mut limited = MultiGzDecoder::new(signed).take(MAX_INDEX);
    let (mut description, mut text) = (Vec::new(), None);
    let read = (|| {
        for entry in tar::Archive::new(&mut limited).entries()? {
            let mut entry = entry?;
            match &*entry.path_bytes() {
                b"DESCRIPTION" => entry.read_to_end(&mut description)?,
                b"APKINDEX" => entry.read_to_end(text.insert(Vec::with_capacity(capacity(&entry))))?,
                _ => 0,
            };
        }
        Ok::<_, io::Error>(())
    })();
    if limited.limit() == 0 {
        return Err(Problem::TooLarge { limit: MAX_INDEX });
    }
    read?;
    Ok((description, text.ok_or(Problem::NoIndex)?))
}

/// What to reserve for an entry whose header may lie.
fn capacity(entry: &tar::Entry<'_, impl Read>) -> usize {
    usize::try_from(entry.size().min(16 << 20)).unwrap_or(0)
}

/// Reads the text of an `APKINDEX`.
///
/// # Errors
/// When a line is not `LETTER:value`, when a checksum cannot be read, or when a record lacks its version or checksum:
/// apk refuses the index then. A record that can be read but that apk would not install is not an error: see
/// [`Record::broken`]; one without a name is left out. Numbers are read as far as they are numbers.
pub fn parse(text: &str) -> Result<Index, IndexError> {
    let records = records(text).map_err(|problem| IndexError { index: "APKINDEX".to_owned(), problem })?;
    Ok(Index { records, ..Index::default() })
}

fn records(text: &str) -> Result<Vec<Record>, Problem> {
    let mut records = Vec::with_capacity(text.len() / 350);
    let mut draft = Draft::default();
    let mut last = 0;
    for (number, line) in (1..).zip(text.lines()) {
        last = number;
        // An empty line ends a record; to apk, one character is as good as none.
        if line.len() < 2 {
            records.extend(std::mem::take(&mut draft).finish(number)?);
        } else {
            draft.field(line, number)?;
        }
    }
    records.extend(draft.finish(last)?);
    Ok(records)
}

/// A record that is being read.
#[derive(Default)]
struct Draft {
    started: bool,
    name: Option<String>,
    version: Option<Version>,
    checksum: Option<Checksum>,
    arch: String,
    size: u64,
    installed_size: u64,
    description: String,
    url: String,
    license: String,
    origin: String,
    maintainer: String,
    build_time: u64,
    commit: String,
    provider_priority: u32,
    depends: Vec<Dependency>,
    provides: Vec<Provide>,
    install_if: Vec<Dependency>,
    broken: Option<String>,
}

impl Draft {
    /// Takes a line. Small letters that are not known here are skipped, as apk skips them; with others, a package says
    /// that it takes a newer apk.
    fn field(&mut self, line: &str, number: usize) -> Result<(), Problem> {
        let bad = |expected| Problem::Line { line: number, expected, found: line.chars().take(60).collect() };
        let (letter, value) = match line.split_once(':') {
            Some((letter, value)) if letter.len() == 1 => (letter.as_bytes()[0], value),
            _ => return Err(bad("LETTER:value")),
        };
        let text = || value.to_owned();
        self.started = true;
        match letter {
            b'P' => self.name = Some(text()),
            b'V' => self.version = Some(Version::new(value)),
            b'C' => self.checksum = Some(value.parse().map_err(|_| bad("a checksum (Q1… or Q2…)"))?),
            b'A' => self.arch = text(),
            b'S' => self.size = leading_number(value),
            b'I' => self.installed_size = leading_number(value),
            b'T' => self.description = text(),
            b'U' => self.url = text(),
            b'L' => self.license = text(),
            b'o' => self.origin = text(),
            b'm' => self.maintainer = text(),
            b't' => self.build_time = leading_number(value),
            b'c' => self.commit = text(),
            // apk keeps sixteen bits of it.
            b'k' => self.provider_priority = u32::try_from(leading_number(value) & 0xffff).unwrap_or_default(),
            b'D' => self.depends.extend(dependencies(value, &mut self.broken)),
            // With a condition that apk does not understand, the package never comes along; it can be requested.
            b'i' => {
                let mut unknown = None;
                self.install_if.extend(dependencies(value, &mut unknown));
                if unknown.is_some() {
                    self.install_if.clear();
                }
            }
            b'p' => self.provides.extend(value.split_ascii_whitespace().filter_map(|provide| provide.parse().ok())),
            // Those of the database of installed packages.
            b'F' | b'M' | b'R' | b'Z' | b'a'..=b'z' => {}
            letter => {
                let letter = char::from(letter).escape_debug();
                self.broken.get_or_insert_with(|| format!("its field `{letter}` is one of a newer apk"));
            }
        }
        Ok(())
    }

    /// The record, if any line of it was read; `line` is its last.
    fn finish(self, line: usize) -> Result<Option<Record>, Problem> {
        if !self.started {
            return Ok(None);
        }
        let missing = |field| Problem::Missing { line, field };
        let Some(name) = self.name else { return Ok(None) };
        let version = self.version.ok_or_else(|| missing('V'))?;
        let checksum = self.checksum.ok_or_else(|| missing('C'))?;
        let broken = self.broken.or_else(|| unsafe_name(&name, &version));
        Ok(Some(Record {
            name,
            version,
            checksum,
            broken,
            arch: self.arch,
            size: self.size,
            installed_size: self.installed_size,
            description: self.description,
            url: self.url,
            license: self.license,
            origin: self.origin,
            maintainer: self.maintainer,
            build_time: self.build_time,
            commit: self.commit,
            provider_priority: self.provider_priority,
            depends: self.depends,
            provides: self.provides,
            install_if: self.install_if,
        }))
    }
}

/// The number at the beginning of the text, as apk reads it: without digits 0, and modulo 2^64.
fn leading_number(text: &str) -> u64 {
    let digits = text.bytes().take_while(u8::is_ascii_digit);
    digits.fold(0, |number: u64, digit| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
}

/// The dependencies in `list`. One that cannot be read, or that has a tag (which only the world may), makes its package
/// impossible to install, but not the index.
fn dependencies<'a>(list: &'a str, broken: &'a mut Option<String>) -> impl Iterator<Item = Dependency> + 'a {
    list.split_ascii_whitespace().filter_map(move |text| match text.parse::<Dependency>() {
        Ok(dependency) if dependency.tag.is_none() => Some(dependency),
        _ => {
            broken.get_or_insert_with(|| format!("its dependency `{text}` is not one that apk understands"));
            None
        }
    })
}

/// Name and version become part of a file name and of a URL.
fn unsafe_name(name: &str, version: &Version) -> Option<String> {
    let word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_' || c == '+')
            && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"._+-~".contains(&c))
    };
    let fine = word(name) && word(version.as_str()) && !name.starts_with("..");
    (!fine).then(|| format!("`{name}-{version}` is not a name and version that apk allows"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIT: &str = "C:Q1ZX+on7zBgcokTctj4tLSmx7q5O4=\nP:git-zsh-completion\nV:5.8.1-r4\nA:x86_64\nS:97492\nI:405504\n\
                       T:Zsh completions for git\nU:https://www.zsh.org/\nL:custom\no:zsh\nm:A Person <a@example.org>\n\
                       t:1647977252\nc:0c813d4276d2e36ead29ca22b6c01045d86db58b\nk:10\nD:zsh !bash<5\np:cmd:x=1 y\n\
                       i:zsh=5.8.1-r4 git\nr:old\nZ:what a later apk may add\n";

    fn problem(text: &str) -> Problem {
        parse(text).expect_err("an index that cannot be read").problem
    }

    #[test]
    fn reads_every_field() {
        let index = parse(GIT).expect("an index");
        let [record] = &index.records[..] else { panic!("one record") };
        let list = |dependencies: &[Dependency]| dependencies.iter().map(Dependency::to_string).collect::<Vec<_>>();
        assert_eq!(record.file_name(), "git-zsh-completion-5.8.1-r4.apk");
        assert_eq!(record.checksum.to_string(), "Q1ZX+on7zBgcokTctj4tLSmx7q5O4=");
        assert_eq!((record.size, record.installed_size, record.build_time), (97492, 405_504, 1_647_977_252));
        assert_eq!(
            (record.arch.as_str(), record.origin.as_str(), record.license.as_str()),
            ("x86_64", "zsh", "custom")
        );
        assert_eq!(record.description, "Zsh completions for git");
        assert_eq!(record.url, "https://www.zsh.org/");
        assert_eq!(record.maintainer, "A Person <a@example.org>");
        assert_eq!(record.commit, "0c813d4276d2e36ead29ca22b6c01045d86db58b");
        assert_eq!(record.provider_priority, 10);
        assert_eq!(list(&record.depends), ["zsh", "!bash<5"]);
        assert_eq!(list(&record.install_if), ["zsh=5.8.1-r4", "git"]);
        assert_eq!(record.provides.iter().map(ToString::to_string).collect::<Vec<_>>(), ["cmd:x=1", "y"]);
        assert_eq!(record.broken, None);
    }

    #[test]
    fn separates_records_by_empty_lines() {
        let text = format!("\n\n{GIT}\n\n{}", GIT.replace("P:git", "P:svn"));
        let names: Vec<_> = parse(&text).expect("an index").records.into_iter().map(|record| record.name).collect();
        assert_eq!(names, ["git-zsh-completion", "svn-zsh-completion"]);
        assert_eq!(parse("").expect("an empty index").records, []);
    }

    #[test]
    fn a_record_that_apk_would_not_install_does_not_spoil_the_others() {
        let cases = [
            ("D:zsh !bash<5", "D:a=1_foo", "its dependency `a=1_foo`"),
            ("D:zsh !bash<5", "D:a@edge", "its dependency `a@edge`"),
            ("P:git-zsh-completion", "P:../../etc/passwd", "`../../etc/passwd-5.8.1-r4`"),
            ("P:git-zsh-completion", "P:..a", "`..a-5.8.1-r4`"),
            ("P:git-zsh-completion", "P:", "`-5.8.1-r4`"),
            ("P:git-zsh-completion", "P:-a", "`-a-5.8.1-r4`"),
            ("V:5.8.1-r4", "V:1/2", "`git-zsh-completion-1/2`"),
        ];
        for (field, broken, reason) in cases {
            let index = parse(&GIT.replace(field, broken)).expect(broken);
            let found = index.records[0].broken.clone().expect(broken);
            assert!(found.starts_with(reason), "{broken}: {found}");
        }
        let along = parse(&GIT.replace("i:zsh=5.8.1-r4 git", "i:git zsh=1.x")).expect("an index");
        assert_eq!((along.records[0].broken.as_ref(), along.records[0].install_if.len()), (None, 0));
        let odd = parse(&GIT.replace("V:5.8.1-r4", "V:6.8.0p2-r4").replace("cmd:x=1", "pc:x=v2.4")).expect("an index");
        assert_eq!(odd.records[0].broken, None, "real indexes have versions outside the grammar");
    }

    #[test]
    fn says_in_which_line_the_text_is_wrong() {
        let cases = [
            (GIT.replace("U:https", "Uhttps"), "line 8: expected LETTER:value, found `Uhttps://www.zsh.org/`"),
            (
                GIT.replace("C:Q1", "C:Q3"),
                "line 1: expected a checksum (Q1… or Q2…), found `C:Q3ZX+on7zBgcokTctj4tLSmx7q5O4=`",
            ),
            ("P:a\nV:1\n\n".to_owned(), "the record that ends in line 3: expected the field C, found none"),
            ("P:1\n".to_owned(), "the record that ends in line 1: expected the field V, found none"),
        ];
        for (text, expected) in cases {
            assert_eq!(problem(&text).to_string(), expected);
        }
    }

    #[test]
    fn numbers_are_read_as_far_as_they_are_numbers() {
        let read = |field: &str, other: &str| parse(&GIT.replace(field, other)).expect("an index").records[0].clone();
        for (text, number) in [("S:many", 0), ("S:-1", 0), ("S:", 0), ("S:12 MB", 12), ("S:18446744073709551617", 1)] {
            assert_eq!(read("S:97492", text).size, number, "{text}");
        }
        for (text, priority) in [("k:-1", 0), ("k:x", 0), ("k:2x", 2), ("k:65537", 1), ("k:1.5", 1)] {
            assert_eq!(read("k:10", text).provider_priority, priority, "{text}");
        }
    }

    #[test]
    fn a_record_of_a_newer_apk_or_without_a_name_does_not_spoil_the_others() {
        let text = format!("{GIT}\n{}", GIT.replace("r:old", "X:new").replace("P:git", "P:new"));
        let records = parse(&text).expect("an index").records;
        assert_eq!(records[0].broken, None);
        assert_eq!(records[1].broken.as_deref(), Some("its field `X` is one of a newer apk"));
        let text = format!("{}\n{GIT}", GIT.replace("P:git-zsh-completion\n", ""));
        let names: Vec<_> = parse(&text).expect("an index").records.into_iter().map(|record| record.name).collect();
        assert_eq!(names, ["git-zsh-completion"]);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "([A-Za-z]:?[ -~é]{0,20}\n|\n){0,8}") {
            let _ = parse(&text);
        }
    }
}
