//! A package as an index describes it: one paragraph ([`super::control`]), read once, with the places of the fields
//! that matter. What they hold is read when it is needed.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    control::{Paragraph, ParseControlError},
    dependency::{Alternatives, ParseDependencyError, Provide, parse_list, parse_provides},
    version::Version,
};
use crate::digest::Digest;

/// The fields of a package that a build looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Package,
    Architecture,
    MultiArch,
    Essential,
    Important,
    Protected,
    Priority,
    Section,
    Source,
    PreDepends,
    Depends,
    Conflicts,
    Breaks,
    Recommends,
    Suggests,
    Replaces,
    Enhances,
    Provides,
    Filename,
    Version,
    Size,
    InstalledSize,
    Sha256,
}

/// Their names, in the order of [`Field`].
const FIELDS: [&str; 23] = [
    "Package",
    "Architecture",
    "Multi-Arch",
    "Essential",
    "Important",
    "Protected",
    "Priority",
    "Section",
    "Source",
    "Pre-Depends",
    "Depends",
    "Conflicts",
    "Breaks",
    "Recommends",
    "Suggests",
    "Replaces",
    "Enhances",
    "Provides",
    "Filename",
    "Version",
    "Size",
    "Installed-Size",
    "SHA256",
];

/// The field of that name. Most lines are none of them: length and first letter settle that.
fn field(name: &str) -> Option<usize> {
    FIELDS.iter().position(|field| field.len() == name.len() && field.eq_ignore_ascii_case(name))
}

/// How important a package is (Debian policy 2.5), the most important first, in apt's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// No such field: apt puts it first.
    None,
    /// `required`
    Required,
    /// `important`
    Important,
    /// `standard`
    Standard,
    /// `optional`
    Optional,
    /// `extra`, and every other value.
    Extra,
}

/// What other architectures may do with a package (deb-control(5), "Multi-Arch").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MultiArch {
    /// `no`, and nothing
    No,
    /// `same`
    Same,
    /// `foreign`
    Foreign,
    /// `allowed`: only such a package meets a dependency on `name:any`.
    Allowed,
}

/// A package as an index describes it: the paragraph, in which the fields are found at once.
#[derive(Clone)]
pub struct Record {
    paragraph: Box<str>,
    places: [(u32, u32); FIELDS.len()],
    version: Version,
    size: u64,
    installed_size: Option<u64>,
    sha256: Digest,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name(), self.version, self.architecture())
    }
}

/// Two records are the same when their paragraphs are.
impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.paragraph == other.paragraph
    }
}

impl Eq for Record {}

/// Why a paragraph does not describe a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A line is not a field.
    #[error(transparent)]
    Control(#[from] ParseControlError),
    /// The paragraph lacks a field that each needs.
    #[error("the paragraph in line {line}: expected the field {field}, found none")]
    Missing {
        /// The line in which the paragraph begins.
        line: usize,
        /// The field.
        field: &'static str,
    },
    /// A field's value is of another form.
    #[error("the paragraph in line {line}: expected {expected} in the field {field}, found `{found}`")]
    Value {
        /// The line in which the paragraph begins.
        line: usize,
        /// The field.
        field: &'static str,
        /// What belongs there.
        expected: &'static str,
        /// What stands there, shortened.
        found: String,
    },
}

impl Record {
    /// Reads the paragraph of a package in an index.
    ///
    /// # Errors
    /// When a line is not a field, or when name, version, architecture, file name, size or SHA-256 are missing or not
    /// of their form. What a package depends on is not looked at here.
    pub fn parse(paragraph: &Paragraph<'_>) -> Result<Self, RecordError> {
        let text = paragraph.text;
        let mut places = [(0, 0); FIELDS.len()];
        for item in paragraph.fields() {
            let (name, value) = item?;
            if let Some(field) = field(name)
                && places[field] == (0, 0)
            {
                let start = value.as_ptr() as usize - text.as_ptr() as usize;
                let place = |at: usize| u32::try_from(at).unwrap_or_default();
                places[field] = (place(start), place(start + value.len()));
            }
        }
        let get = |field: Field| {
            let (start, end) = places[field as usize];
            &text[start as usize..end as usize]
        };
        let bad = |field: Field, expected| RecordError::Value {
            line: paragraph.line,
            field: FIELDS[field as usize],
            expected,
            found: get(field).chars().take(60).collect(),
        };
        for field in [Field::Package, Field::Version, Field::Architecture, Field::Filename, Field::Size, Field::Sha256]
        {
            if get(field).is_empty() {
                return Err(RecordError::Missing { line: paragraph.line, field: FIELDS[field as usize] });
            }
        }
        if !is_package_name(get(Field::Package)) {
            return Err(bad(Field::Package, "a package's name"));
        }
        if !is_plain_path(get(Field::Filename)) {
            return Err(bad(Field::Filename, "a plain path below the mirror"));
        }
        let version: Version = get(Field::Version).parse().map_err(|_| bad(Field::Version, "a version"))?;
        let size = get(Field::Size).parse().map_err(|_| bad(Field::Size, "a number"))?;
        let sha256 = Digest::from_hex(get(Field::Sha256)).map_err(|_| bad(Field::Sha256, "64 hexadecimal digits"))?;
        // A kibibyte each.
        let installed_size = get(Field::InstalledSize).parse::<u64>().ok().map(|size| size.saturating_mul(1024));
        Ok(Self { version, size, installed_size, sha256, places, paragraph: text.into() })
    }

    fn get(&self, field: Field) -> &str {
        let (start, end) = self.places[field as usize];
        &self.paragraph[start as usize..end as usize]
    }

    /// The whole paragraph.
    pub fn paragraph(&self) -> &str {
        &self.paragraph
    }

    /// `Package`
    pub fn name(&self) -> &str {
        self.get(Field::Package)
    }

    /// `Version`
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// `Architecture`: `all`, or dpkg's word for one.
    pub fn architecture(&self) -> &str {
        self.get(Field::Architecture)
    }

    /// `Multi-Arch`
    pub fn multi_arch(&self) -> MultiArch {
        match self.get(Field::MultiArch) {
            "same" => MultiArch::Same,
            "foreign" => MultiArch::Foreign,
            "allowed" => MultiArch::Allowed,
            _ => MultiArch::No,
        }
    }

    /// `Essential`: every Debian system has it, so that others may need it without saying so.
    pub fn essential(&self) -> bool {
        is_yes(self.get(Field::Essential))
    }

    /// `Protected`, or `Important` as it was called once: needed to boot.
    pub fn protected(&self) -> bool {
        is_yes(self.get(Field::Protected)) || is_yes(self.get(Field::Important))
    }

    /// `Priority`
    pub fn priority(&self) -> Priority {
        match self.get(Field::Priority) {
            "" => Priority::None,
            "required" => Priority::Required,
            "important" => Priority::Important,
            "standard" => Priority::Standard,
            "optional" => Priority::Optional,
            _ => Priority::Extra,
        }
    }

    /// `Section`
    pub fn section(&self) -> &str {
        self.get(Field::Section)
    }

    /// Name and version of the source package: those in `Source`, or else the package's own.
    pub fn source(&self) -> (&str, &str) {
        let source = self.get(Field::Source);
        let (name, version) = source.split_once('(').unwrap_or((source, ""));
        let (name, version) = (name.trim(), version.trim_end_matches(')').trim());
        (
            if name.is_empty() { self.name() } else { name },
            if version.is_empty() { self.version.as_str() } else { version },
        )
    }

    /// `Filename`: the path of the package's file below the mirror, without `.` and `..`.
    pub fn filename(&self) -> &str {
        self.get(Field::Filename)
    }

    /// `Size` of the package's file, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// `Installed-Size`, about what the package takes when it is unpacked, in bytes.
    pub fn installed_size(&self) -> Option<u64> {
        self.installed_size
    }

    /// `SHA256` of the package's file.
    pub fn sha256(&self) -> Digest {
        self.sha256
    }

    /// `Pre-Depends`, then `Depends`.
    ///
    /// # Errors
    /// When an entry is not a dependency.
    pub fn depends(&self) -> Result<Vec<Alternatives>, ParseDependencyError> {
        let mut list = parse_list(self.get(Field::PreDepends))?;
        list.extend(parse_list(self.get(Field::Depends))?);
        Ok(list)
    }

    /// `Conflicts`, then `Breaks`: what cannot be installed along.
    ///
    /// # Errors
    /// When an entry is not a dependency.
    pub fn conflicts(&self) -> Result<Vec<Alternatives>, ParseDependencyError> {
        let mut list = parse_list(self.get(Field::Conflicts))?;
        list.extend(parse_list(self.get(Field::Breaks))?);
        Ok(list)
    }

    /// `Replaces`: the packages whose files it may overwrite.
    ///
    /// # Errors
    /// When an entry is not a dependency.
    pub fn replaces(&self) -> Result<Vec<Alternatives>, ParseDependencyError> {
        parse_list(self.get(Field::Replaces))
    }

    /// `Provides`
    pub fn provides(&self) -> Vec<Provide<'_>> {
        parse_provides(self.get(Field::Provides))
    }

    /// The values of all fields that name other packages, in the order in which apt reads them.
    pub(super) fn mentions(&self) -> [&str; 9] {
        use Field::{Breaks, Conflicts, Depends, Enhances, PreDepends, Provides, Recommends, Replaces, Suggests};
        let fields = [PreDepends, Depends, Conflicts, Breaks, Recommends, Suggests, Replaces, Enhances, Provides];
        fields.map(|field| self.get(field))
    }
}

fn is_yes(value: &str) -> bool {
    value.eq_ignore_ascii_case("yes")
}

/// A name that can stand in a file name: Debian policy 5.6.1, and the capitals and underscores that some have.
fn is_package_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-._".contains(&c))
}

fn is_plain_path(path: &str) -> bool {
    // `./NAME` is how flat repositories write it.
    let path = path.strip_prefix("./").unwrap_or(path);
    !path.split('/').any(|part| matches!(part, "" | "." | ".."))
        && path.bytes().all(|c| c.is_ascii_graphic() && !b"?#%\\".contains(&c))
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.paragraph)
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&Paragraph { text: &text, line: 1 }).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::deb::control::paragraphs;

    const HELLO: &str = "Package: hello\nSource: hello-src (2.9-1)\nVersion: 2.10-3\nArchitecture: amd64\n\
                         Multi-Arch: foreign\nEssential: yes\nPriority: optional\nSection: devel\nInstalled-Size: 277\n\
                         Pre-Depends: dpkg (>= 1.15)\nDepends: libc6 (>= 2.34),\n perl | perl6\nConflicts: hi\n\
                         Breaks: ho (<< 2)\nReplaces: ho\nProvides: greeter (= 2)\nDescription: says hello\n long\n\
                         Filename: pool/main/h/hello/hello_2.10-3_amd64.deb\nSize: 53096\n\
                         SHA256: 83af0e6a4bac2b9c1cd5bdab4a1e9eb5ae8fcab4b6d5ff1b2a8e8e7c2ed4a1f7\n";

    fn record(text: &str) -> Result<Record, RecordError> {
        Record::parse(&paragraphs(text).next().expect("a paragraph"))
    }

    fn printed(list: &[Alternatives]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn reads_a_record() {
        let record = record(HELLO).expect("a record");
        assert_eq!((record.name(), record.version().as_str(), record.architecture()), ("hello", "2.10-3", "amd64"));
        assert_eq!((record.size(), record.installed_size()), (53096, Some(277 * 1024)));
        assert_eq!(record.source(), ("hello-src", "2.9-1"));
        assert_eq!((record.priority(), record.section()), (Priority::Optional, "devel"));
        assert_eq!(record.multi_arch(), MultiArch::Foreign);
        assert!(record.essential() && !record.protected());
        assert_eq!(printed(&record.depends().expect("a list")), ["dpkg (>= 1.15)", "libc6 (>= 2.34)", "perl | perl6"]);
        assert_eq!(printed(&record.conflicts().expect("a list")), ["hi", "ho (<< 2)"]);
        assert_eq!(printed(&record.replaces().expect("a list")), ["ho"]);
        assert_eq!(record.provides()[0].name, "greeter");
        assert_eq!(record.filename(), "pool/main/h/hello/hello_2.10-3_amd64.deb");
        assert_eq!(record.paragraph(), HELLO.trim_end());
        let json = serde_json::to_string(&record).expect("JSON");
        assert_eq!(serde_json::from_str::<Record>(&json).expect("the same"), record);
    }

    #[test]
    fn the_source_is_the_package_unless_it_is_said() {
        let record = record(&HELLO.replace("Source: hello-src (2.9-1)\n", "")).expect("a record");
        assert_eq!(record.source(), ("hello", "2.10-3"));
    }

    #[test]
    fn says_what_is_wrong_with_a_record() {
        for (from, to, message) in [
            ("Size: 53096", "Size: many", "the paragraph in line 1: expected a number in the field Size, found `many`"),
            ("Version: 2.10-3\n", "", "the paragraph in line 1: expected the field Version, found none"),
            (
                "Version: 2.10-3",
                "Version: a",
                "the paragraph in line 1: expected a version in the field Version, found `a`",
            ),
            (
                "Filename: pool/main",
                "Filename: ../main",
                "the paragraph in line 1: expected a plain path below the mirror in the field Filename, found \
                 `../main/h/hello/hello_2.10-3_amd64.deb`",
            ),
            (
                "Package: hello",
                "Package: ../hello",
                "the paragraph in line 1: expected a package's name in the field Package, found `../hello`",
            ),
            ("Section: devel", "Section devel", "line 8: expected `Field: value`, found `Section devel`"),
            (
                "SHA256: 83",
                "SHA256: ",
                "the paragraph in line 1: expected 64 hexadecimal digits in the field SHA256, found \
                 `af0e6a4bac2b9c1cd5bdab4a1e9eb5ae8fcab4b6d5ff1b2a8e8e7c2ed4a1`",
            ),
        ] {
            assert_eq!(record(&HELLO.replace(from, to)).expect_err(to).to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "([A-Za-z#]{0,3}:?[ -~é]{0,9}\r?\n|\n){0,9}") {
            paragraphs(&text).for_each(|paragraph| drop(Record::parse(&paragraph)));
        }

        #[test]
        fn no_damaged_record_panics(at in 0..HELLO.len(), with in "[ -~\n]{0,3}") {
            let _ = record(&format!("A: b\n{}{with}{}", &HELLO[..at], &HELLO[at + 1..]));
        }
    }
}
