//! What packages say of other packages: the entries of an index's `D:`, `p:` and `i:` fields and of `/etc/apk/world`
//! (apk-package(5), apk-world(5)). In a list the entries are separated by whitespace.

use std::{fmt, str::FromStr};

use super::{
    checksum::Checksum,
    version::{Op, Version},
};

/// What a dependency demands of the version of what it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Constraint {
    /// An operator and the version that it compares with.
    Version(Op, Version),
    /// `><` and the checksum of one certain package, as it stands in the index (`Q1…`): apk writes it for packages that
    /// were added from a file.
    Checksum(String),
}

/// A requirement of, or with [`conflict`](Self::conflict) a conflict with, packages of a name:
/// `so:libc.musl-x86_64.so.1`, `nodejs~22`, `!uclibc`, `busybox@edge>=1.37`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// `!`: what matches must not be installed.
    pub conflict: bool,
    /// A package's name, or one that packages provide.
    pub name: String,
    /// What is demanded of the version; `None` when every one will do.
    pub constraint: Option<Constraint>,
    /// `@tag`: the tagged repositories that may serve this name (apk-repositories(5)). Only the world has tags.
    pub tag: Option<String>,
}

impl Dependency {
    /// The requirement of any version of `name`.
    pub fn on(name: &str) -> Self {
        Self { conflict: false, name: name.to_owned(), constraint: None, tag: None }
    }

    /// Whether the constraint accepts a package with the index's checksum `checksum` that provides the name in
    /// `version` (`None`: without one). Says nothing of the name and does not turn the answer round for a conflict.
    pub fn accepts(&self, version: Option<&Version>, checksum: &Checksum) -> bool {
        match (&self.constraint, version) {
            (None, _) => true,
            (Some(Constraint::Checksum(wanted)), _) => *wanted == checksum.to_string(),
            (Some(Constraint::Version(op, bound)), Some(version)) => op.matches(version, bound),
            // To apk a name without a version is older than every version.
            (Some(Constraint::Version(op, bound)), None) => op.matches(&Version::new(""), bound),
        }
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.conflict {
            f.write_str("!")?;
        }
        f.write_str(&self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, "@{tag}")?;
        }
        match &self.constraint {
            None => Ok(()),
            Some(Constraint::Version(op, version)) => write!(f, "{op}{version}"),
            Some(Constraint::Checksum(checksum)) => write!(f, "><{checksum}"),
        }
    }
}

/// Not a dependency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDependencyError {
    /// The text has not the form of a dependency.
    #[error("expected [!]name[@tag][operator version], found `{0}`")]
    Form(String),
    /// The operator is followed by something that is not a version.
    #[error("expected a version such as 1.2.3-r0 after the operator, found `{0}`")]
    Version(String),
}

impl FromStr for Dependency {
    type Err = ParseDependencyError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || ParseDependencyError::Form(s.to_owned());
        let (conflict, rest) = match s.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, s),
        };
        let (target, comparison) = rest.split_at(rest.find(is_operator).unwrap_or(rest.len()));
        let (name, tag) = match target.split_once('@') {
            Some((name, tag)) => (name, Some(tag)),
            None => (target, None),
        };
        let word = |word: &str| !word.is_empty() && !word.contains(|c: char| c == '@' || !c.is_ascii_graphic());
        if !word(name) || !tag.is_none_or(word) {
            return Err(bad());
        }
        let constraint = if comparison.is_empty() { None } else { Some(constraint(comparison).ok_or_else(bad)?) };
        if let Some(Constraint::Version(_, version)) = &constraint
            && !version.is_valid()
        {
            return Err(ParseDependencyError::Version(s.to_owned()));
        }
        Ok(Self { conflict, name: name.to_owned(), constraint, tag: tag.map(str::to_owned) })
    }
}

fn is_operator(c: char) -> bool {
    matches!(c, '<' | '>' | '=' | '~')
}

/// Reads operator and version. apk takes the operator's characters in any order and number: `=<` is `<=`, `~=` is `~`.
fn constraint(text: &str) -> Option<Constraint> {
    let (operator, version) = text.split_at(text.find(|c| !is_operator(c))?);
    let has = |c| operator.contains(c);
    let op = match (has('<'), has('>'), has('='), has('~')) {
        (true, true, false, false) => {
            return version.bytes().all(|c| c.is_ascii_graphic()).then(|| Constraint::Checksum(version.to_owned()));
        }
        (true, true, _, _) => Op::Any,
        (true, false, _, true) => Op::LessOrPrefix,
        (false, true, _, true) => Op::GreaterOrPrefix,
        (false, false, _, true) => Op::Prefix,
        (true, false, true, false) => Op::LessOrEqual,
        (true, false, false, false) => Op::Less,
        (false, true, true, false) => Op::GreaterOrEqual,
        (false, true, false, false) => Op::Greater,
        (false, false, _, false) => Op::Equal,
    };
    Some(Constraint::Version(op, Version::new(version)))
}

/// A further name that a package provides.
///
/// With a version the package stands for a real package of that name: nothing else that provides the name can be
/// installed beside it. Without one it does not; but it is chosen for the name only when it has a provider priority or
/// when something else asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provide {
    /// The provided name.
    pub name: String,
    /// The provided version; it may be an invalid one.
    pub version: Option<Version>,
}

impl fmt::Display for Provide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            None => f.write_str(&self.name),
            Some(version) => write!(f, "{}={version}", self.name),
        }
    }
}

impl FromStr for Provide {
    type Err = ParseDependencyError;

    /// Reads `name` or `name=version`. Any operator is taken for `=`, and any text for a version, as apk does.
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let (name, comparison) = s.split_at(s.find(is_operator).unwrap_or(s.len()));
        let version = comparison.trim_start_matches(is_operator);
        if name.is_empty() || version.is_empty() != comparison.is_empty() || !s.bytes().all(|c| c.is_ascii_graphic()) {
            return Err(ParseDependencyError::Form(s.to_owned()));
        }
        Ok(Self { name: name.to_owned(), version: (!version.is_empty()).then(|| Version::new(version)) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_dependencies() {
        let dependency = |conflict, name: &str, tag: Option<&str>, constraint| {
            Ok(Dependency { conflict, name: name.to_owned(), constraint, tag: tag.map(str::to_owned) })
        };
        let version = |op, text| Some(Constraint::Version(op, Version::new(text)));
        let checksum = "Q1ZX+on7zBgcokTctj4tLSmx7q5O4=";
        let cases = [
            ("musl", dependency(false, "musl", None, None)),
            ("!uclibc", dependency(true, "uclibc", None, None)),
            ("so:libc.musl-x86_64.so.1", dependency(false, "so:libc.musl-x86_64.so.1", None, None)),
            ("/bin/sh", dependency(false, "/bin/sh", None, None)),
            ("a=1", dependency(false, "a", None, version(Op::Equal, "1"))),
            ("a==1", dependency(false, "a", None, version(Op::Equal, "1"))),
            ("a<1", dependency(false, "a", None, version(Op::Less, "1"))),
            ("a=<1", dependency(false, "a", None, version(Op::LessOrEqual, "1"))),
            ("a>>1", dependency(false, "a", None, version(Op::Greater, "1"))),
            ("a=>1", dependency(false, "a", None, version(Op::GreaterOrEqual, "1"))),
            ("a~1", dependency(false, "a", None, version(Op::Prefix, "1"))),
            ("a~=1", dependency(false, "a", None, version(Op::Prefix, "1"))),
            ("a~<1", dependency(false, "a", None, version(Op::LessOrPrefix, "1"))),
            ("a>=~1", dependency(false, "a", None, version(Op::GreaterOrPrefix, "1"))),
            ("a<>~1", dependency(false, "a", None, version(Op::Any, "1"))),
            ("!a<=2_p1-r3", dependency(true, "a", None, version(Op::LessOrEqual, "2_p1-r3"))),
            ("a@edge", dependency(false, "a", Some("edge"), None)),
            ("a@edge>=1.2", dependency(false, "a", Some("edge"), version(Op::GreaterOrEqual, "1.2"))),
            (
                "a><Q1ZX+on7zBgcokTctj4tLSmx7q5O4=",
                dependency(false, "a", None, Some(Constraint::Checksum(checksum.to_owned()))),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse(), expected, "{text}");
        }
        for text in ["", "!", "=1", "a=", "a~", "a>", "a=1_foo", "a=1@edge", "a@", "@edge", "a b", "a@b@c", "é", "a><"]
        {
            assert!(text.parse::<Dependency>().is_err(), "{text}");
        }
    }

    #[test]
    fn accepts_versions_and_checksums() {
        let cases = [
            ("a", Some("1"), true),
            ("a", None, true),
            ("a=1", Some("1"), true),
            ("a=1", Some("2"), false),
            ("a=1", None, false),
            ("a>1", None, false),
            ("a<1", None, true),
            ("a><Q1ZX+on7zBgcokTctj4tLSmx7q5O4=", Some("1"), true),
            ("a><Q1ZX+on7zBgcokTctj4tLSmx7q5O4=", None, true),
            ("a><Q1VUBxlP54+nXCR+xuJZq3y37aJ8A=", Some("1"), false),
        ];
        let checksum: Checksum = "Q1ZX+on7zBgcokTctj4tLSmx7q5O4=".parse().expect("a checksum");
        for (text, version, accepted) in cases {
            let dependency: Dependency = text.parse().expect("a dependency");
            let version = version.map(Version::new);
            assert_eq!(dependency.accepts(version.as_ref(), &checksum), accepted, "{text} {version:?}");
        }
    }

    #[test]
    fn reads_provides() {
        let cases = [
            ("cmd:node", "cmd:node", None),
            ("cmd:node=22.1-r0", "cmd:node", Some("22.1-r0")),
            ("pc:librtmp=v2.4", "pc:librtmp", Some("v2.4")),
        ];
        for (text, name, version) in cases {
            let provide: Provide = text.parse().expect("a provide");
            assert_eq!((provide.name.as_str(), provide.version.as_ref().map(Version::as_str)), (name, version));
            assert_eq!(provide.to_string(), text);
        }
        for text in ["", "=1", "a=", "a b"] {
            assert!(text.parse::<Provide>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn dependencies_round_trip(
            conflict: bool,
            name in "(so:|cmd:|pc:|/)?[a-z0-9][a-z0-9.+_,\\[\\]-]{0,8}",
            tag in proptest::option::of("[a-z]{1,4}"),
            constraint in proptest::option::of(("=|<|<=|>|>=|~|<~|>~|<=>", "[0-9](\\.[0-9]{1,2}){0,2}(-r[0-9])?")),
        ) {
            let tag = tag.map(|tag| format!("@{tag}")).unwrap_or_default();
            let constraint = constraint.map(|(op, version)| format!("{op}{version}")).unwrap_or_default();
            let text = format!("{}{name}{tag}{constraint}", if conflict { "!" } else { "" });
            let parsed = text.parse::<Dependency>().expect("a dependency");
            prop_assert_eq!(parsed.to_string(), text);
        }

        #[test]
        fn what_parses_prints_what_parses_the_same(text in "[!a-c@<>=~0-9._r-]{0,10}") {
            if let Ok(dependency) = text.parse::<Dependency>() {
                prop_assert_eq!(dependency.to_string().parse(), Ok(dependency));
            }
        }
    }
}
