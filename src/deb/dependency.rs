//! What packages say of other packages: the entries of `Depends`, `Conflicts`, `Provides` and the like (deb-control(5),
//! deb-src-control(5), Debian policy chapter 7).

use std::{fmt, str::FromStr};

use super::version::{Op, Version};

/// A package, or a name that packages provide, perhaps in certain versions only: `libc6 (>= 2.36)`, `python3:any`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The name.
    pub name: String,
    /// After the colon: `any`, `native`, or an architecture.
    pub qualifier: Option<String>,
    /// What is demanded of the version.
    pub constraint: Option<(Op, Version)>,
    /// `[amd64 !i386]`: the architectures for which the entry counts. Only source packages have it.
    pub architectures: Vec<String>,
    /// `<!nocheck> <cross stage1>`: the build profiles for which the entry counts. Only source packages have it.
    pub profiles: Vec<Vec<String>>,
}

impl Dependency {
    /// The dependency on any version of `name`.
    pub fn on(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            qualifier: None,
            constraint: None,
            architectures: Vec::new(),
            profiles: Vec::new(),
        }
    }

    /// Whether the constraint accepts `version`; `None` is a name that is provided without a version, which meets no
    /// constraint. Says nothing of the name.
    pub fn accepts(&self, version: Option<&Version>) -> bool {
        match (&self.constraint, version) {
            (None, _) => true,
            (Some((op, bound)), Some(version)) => op.matches(version, bound),
            (Some(_), None) => false,
        }
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(qualifier) = &self.qualifier {
            write!(f, ":{qualifier}")?;
        }
        if let Some((op, version)) = &self.constraint {
            write!(f, " ({op} {version})")?;
        }
        if !self.architectures.is_empty() {
            write!(f, " [{}]", self.architectures.join(" "))?;
        }
        self.profiles.iter().try_for_each(|profile| write!(f, " <{}>", profile.join(" ")))
    }
}

/// Not a dependency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a dependency such as `name:any (>= 1.2) | other`, found `{0}`")]
pub struct ParseDependencyError(String);

impl FromStr for Dependency {
    type Err = ParseDependencyError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        dependency(s).ok_or_else(|| ParseDependencyError(s.trim().chars().take(120).collect()))
    }
}

fn dependency(text: &str) -> Option<Dependency> {
    let text = text.trim();
    let end = text.find(|c: char| c.is_ascii_whitespace() || matches!(c, '(' | '[' | '<')).unwrap_or(text.len());
    let (target, mut rest) = text.split_at(end);
    let (name, qualifier) = match target.split_once(':') {
        Some((name, qualifier)) => (name, Some(qualifier)),
        None => (target, None),
    };
    if !is_name(name) || !qualifier.is_none_or(is_name) {
        return None;
    }
    let mut found = Dependency { qualifier: qualifier.map(str::to_owned), ..Dependency::on(name) };
    if let Some((inner, after)) = bracketed(&mut rest, '(', ')')? {
        found.constraint = Some(constraint(inner)?);
        rest = after;
    }
    if let Some((inner, after)) = bracketed(&mut rest, '[', ']')? {
        found.architectures = words(inner)?;
        rest = after;
    }
    while let Some((inner, after)) = bracketed(&mut rest, '<', '>')? {
        found.profiles.push(words(inner)?);
        rest = after;
    }
    rest.is_empty().then_some(found)
}

/// What stands between the signs at the start of `rest`, and what follows; `Some(None)` when it starts otherwise.
#[allow(clippy::option_option, reason = "a bracket that is not closed is no dependency")]
fn bracketed<'a>(rest: &mut &'a str, open: char, close: char) -> Option<Option<(&'a str, &'a str)>> {
    *rest = rest.trim_start();
    let Some(inner) = rest.strip_prefix(open) else { return Some(None) };
    inner.split_once(close).map(|(inner, after)| Some((inner, after)))
}

fn constraint(text: &str) -> Option<(Op, Version)> {
    let text = text.trim();
    let end = text.find(|c| !matches!(c, '<' | '>' | '='))?;
    let (op, version) = (Op::parse(&text[..end])?, text[end..].trim_start());
    let fits = !version.is_empty() && version.bytes().all(|c| c.is_ascii_graphic() && !b"()|,[]<>".contains(&c));
    fits.then(|| (op, Version::new(version)))
}

/// Words of an architecture list or a build profile, which may be negated.
fn words(text: &str) -> Option<Vec<String>> {
    let words: Vec<_> = text.split_ascii_whitespace().collect();
    let fits = |word: &&str| is_name(word.strip_prefix('!').unwrap_or(word));
    (!words.is_empty() && words.iter().all(fits)).then(|| words.into_iter().map(str::to_owned).collect())
}

/// What a package may be called, and more than that: some real indexes have capitals and underscores.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-._".contains(&c))
}

/// Dependencies of which one is enough, the first that is available: `a (>= 1) | b`. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternatives(Vec<Dependency>);

impl Alternatives {
    /// The dependencies, at least one.
    pub fn iter(&self) -> std::slice::Iter<'_, Dependency> {
        self.0.iter()
    }
}

impl From<Dependency> for Alternatives {
    fn from(dependency: Dependency) -> Self {
        Self(vec![dependency])
    }
}

impl fmt::Display for Alternatives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, dependency) in self.0.iter().enumerate() {
            write!(f, "{}{dependency}", if place > 0 { " | " } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for Alternatives {
    type Err = ParseDependencyError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.split('|').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// Reads the value of a field such as `Depends`: entries separated by commas, which may stand on several lines. A comma
/// too many is ignored, as dpkg ignores it.
///
/// # Errors
/// When an entry is not a dependency.
pub fn parse_list(text: &str) -> Result<Vec<Alternatives>, ParseDependencyError> {
    text.split(',').filter(|entry| !entry.trim().is_empty()).map(str::parse).collect()
}

/// A further name that a package provides (Debian policy 7.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provide<'a> {
    /// The name.
    pub name: &'a str,
    /// The version; a name without one meets only dependencies without a constraint.
    pub version: Option<Version>,
}

/// Reads the value of a field `Provides`. Entries that say something else than a name or `name (= version)` do not
/// count, as for dpkg.
pub fn parse_provides(text: &str) -> Vec<Provide<'_>> {
    let provides = mentions(text).filter_map(|(name, entry)| match dependency(entry)? {
        Dependency { constraint: None, qualifier: None, .. } => Some(Provide { name, version: None }),
        Dependency { constraint: Some((Op::Equal, version)), qualifier: None, .. } => {
            Some(Provide { name, version: Some(version) })
        }
        _ => None,
    });
    provides.collect()
}

/// The names in the value of a field such as `Depends`, each with its entry, in order and read as cheaply as can be:
/// what stands after a name is not looked at, but for a qualifier, which is taken for a part of it.
pub(super) fn mentions(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split([',', '|']).filter_map(|entry| {
        let entry = entry.trim_start();
        let end = entry.find(|c: char| c.is_ascii_whitespace() || matches!(c, '(' | '[' | '<'));
        let name = &entry[..end.unwrap_or(entry.len())];
        (!name.is_empty()).then_some((name, entry))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_every_part() {
        let text = "a-b+1.2 (>= 1:2.3~rc1-4) [amd64 !i386] <!nocheck> <cross stage1> | python3:any";
        let Alternatives(all) = text.parse().expect("alternatives");
        assert_eq!(all[0].name, "a-b+1.2");
        assert_eq!(all[0].constraint, Some((Op::GreaterOrEqual, Version::new("1:2.3~rc1-4"))));
        assert_eq!(all[0].architectures, ["amd64", "!i386"]);
        assert_eq!(all[0].profiles, [vec!["!nocheck"], vec!["cross", "stage1"]]);
        assert_eq!((all[1].name.as_str(), all[1].qualifier.as_deref()), ("python3", Some("any")));
        assert_eq!(Alternatives(all).to_string(), text);
    }

    #[test]
    fn reads_loose_writing() {
        for (text, printed) in [
            ("a(>=1)|b ( <<2 )", "a (>= 1) | b (<< 2)"),
            ("  a  ", "a"),
            ("a (< 1)", "a (<= 1)"),
            ("a[amd64]<x>", "a [amd64] <x>"),
            ("a\n (= 1)", "a (= 1)"),
        ] {
            assert_eq!(text.parse::<Alternatives>().expect(text).to_string(), printed);
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for text in
            ["", "|", "a |", "a (", "a (1)", "a (>=)", "a (== 1)", "a b", "-a", "a:", ":any", "a (= 1) b", "a []"]
        {
            let error = text.parse::<Alternatives>().expect_err(text);
            assert!(error.to_string().starts_with("expected a dependency such as"), "{error}");
        }
    }

    #[test]
    fn lists_and_provides() {
        let list = parse_list("a (>= 1),\n b | c, , d,").expect("a list");
        assert_eq!(list.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a (>= 1)", "b | c", "d"]);
        assert!(parse_list("a, b (").is_err());
        let provides = parse_provides("mail-transport-agent, x (= 1-2), y (>= 3), z:any, (");
        let provides: Vec<_> = provides.iter().map(|p| (p.name, p.version.as_ref())).collect();
        assert_eq!(provides, [("mail-transport-agent", None), ("x", Some(&Version::new("1-2")))]);
        let names = mentions("a (>= 1),\n b:any | c<x>,, d").map(|(name, _)| name);
        assert_eq!(names.collect::<Vec<_>>(), ["a", "b:any", "c", "d"]);
    }

    #[test]
    fn accepts_versions() {
        let dependency: Dependency = "a (>> 1)".parse().expect("a dependency");
        assert!(dependency.accepts(Some(&Version::new("1.1"))));
        assert!(!dependency.accepts(Some(&Version::new("1"))));
        assert!(!dependency.accepts(None));
        assert!(Dependency::on("a").accepts(None));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read(text in "[a-c][a-c.+-]{0,4}(:any)?( ?\\((<<|<=|=|>=|>>|<|>) ?[0-9a~.:-]{1,5}\\))?( \\[!?[a-z]{1,5}\\])?( <!?[a-z]{1,5}>){0,2}") {
            let dependency: Dependency = text.parse().expect("a dependency");
            prop_assert_eq!(dependency.to_string().parse(), Ok(dependency));
        }

        #[test]
        fn no_text_panics(text in any::<String>(), near in "[ab:()<>=|,!\\[\\] \n1~é]{0,30}") {
            for text in [text, near] {
                let _ = (parse_list(&text), parse_provides(&text), mentions(&text).count());
            }
        }
    }
}
