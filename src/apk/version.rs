//! Package versions as apk orders them, and the operators that compare them.
//!
//! The grammar is that of apk-package(5): `number{.number}…{letter}{_suffix{number}}…{~hash}{-r#}`. Two versions are
//! compared part by part, and the first difference decides. Where one has a part and the other has none, or has a part
//! of another kind, the kinds decide; from the smallest: `_alpha _beta _pre _rc`, what the grammar does not know, the
//! end of the version, `-r#`, `~hash`, a suffix's number, `_cvs _svn _git _hg _p`, a letter, `.number`. What the manual
//! page leaves open was found by asking `apk version -t` (apk-tools 3.0.8), which `tests/it/apk_version.rs` still does;
//! how versions outside the grammar compare, by asking its solver (`apk version -t` has no answer).

use std::{cmp::Ordering, fmt, str::FromStr};

/// A package version. It keeps its text; `1.0-r1` and `1.0-r01` are equal and print as they were written.
///
/// Text outside the grammar can be a version too, because real indexes have some (`6.8.0p2-r4`, `v2.4`). It is compared
/// as far as it can be read; two that can be read no further at the same place are equal. A constraint with such text
/// matches nothing. See [`Version::is_valid`].
#[derive(Clone)]
pub struct Version {
    text: Box<str>,
    valid: bool,
}

impl Version {
    /// The version that `text` writes, valid or not.
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), valid: is_valid(text) }
    }

    /// The text of the version.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the text follows the grammar of apk-package(5).
    pub fn is_valid(&self) -> bool {
        self.valid
    }

    /// Whether the version begins with all parts of `prefix`: what `~` asks for. `1.20` does not begin with `1.2`.
    pub fn starts_with(&self, prefix: &Self) -> bool {
        prefix.valid && compare(&self.text, &prefix.text, true).is_eq()
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.text, &other.text, false)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// Not a version of apk's grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a version such as 1.2.3_rc1-r0, found `{0}`")]
pub struct ParseVersionError(String);

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if is_valid(s) { Ok(Self { text: s.into(), valid: true }) } else { Err(ParseVersionError(s.to_owned())) }
    }
}

/// How a constraint compares a package's version with its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// `=`
    Equal,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `~`: begins with all parts of the constraint's version.
    Prefix,
    /// `<~`: smaller, or begins with it.
    LessOrPrefix,
    /// `>~`: greater, or begins with it.
    GreaterOrPrefix,
    /// `<=>`: any version at all.
    Any,
}

impl Op {
    /// Whether `version` satisfies "operator `bound`". Nothing satisfies an invalid bound.
    pub fn matches(self, version: &Version, bound: &Version) -> bool {
        if !bound.valid {
            return false;
        }
        let order = || version.cmp(bound);
        match self {
            Self::Equal => order().is_eq(),
            Self::Less => order().is_lt(),
            Self::LessOrEqual => order().is_le(),
            Self::Greater => order().is_gt(),
            Self::GreaterOrEqual => order().is_ge(),
            Self::Prefix => version.starts_with(bound),
            Self::LessOrPrefix => order().is_lt() || version.starts_with(bound),
            Self::GreaterOrPrefix => order().is_gt() || version.starts_with(bound),
            Self::Any => true,
        }
    }

    /// The operator as apk writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Prefix => "~",
            Self::LessOrPrefix => "<~",
            Self::GreaterOrPrefix => ">~",
            Self::Any => "<=>",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The pre-release suffixes, then those that follow a release, each from the smallest.
const SUFFIXES: [(&str, bool); 9] = [
    ("alpha", true),
    ("beta", true),
    ("pre", true),
    ("rc", true),
    ("cvs", false),
    ("svn", false),
    ("git", false),
    ("hg", false),
    ("p", false),
];

/// A part of a version, or its end. The order of the variants is the order of the kinds; the derived order within a
/// kind is apk's as well, which is why the numbers after a point are split in two (see [`Parts::next`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part<'a> {
    /// `_alpha` and the like, by their place in [`SUFFIXES`].
    Before(usize),
    /// What the grammar does not know, and all that follows it.
    Unknown,
    End,
    Revision(u64),
    Hash(&'a [u8]),
    SuffixNumber(u64),
    /// `_p` and the like, by their place in [`SUFFIXES`].
    After(usize),
    Letter(u8),
    /// `.05`: read as decimal places are, so that `1.05` < `1.1` and `1.0` < `1.00`.
    Places(&'a [u8]),
    Number(u64),
}

/// The parts of a version, from left to right.
struct Parts<'a> {
    rest: &'a [u8],
    /// The last part that was read decides what may follow.
    last: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Start,
    Number,
    Letter,
    Suffix,
    SuffixNumber,
    Hash,
    Revision,
}

impl<'a> Parts<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text.as_bytes(), last: Stage::Start }
    }

    /// The next part; [`Part::End`] at the end and ever after, `None` where the grammar is broken.
    fn next(&mut self) -> Option<Part<'a>> {
        let Some((&first, rest)) = self.rest.split_first() else {
            return (self.last != Stage::Start).then_some(Part::End);
        };
        match first {
            b'0'..=b'9' if self.last == Stage::Start => {
                self.last = Stage::Number;
                let digits = self.take(u8::is_ascii_digit)?;
                Some(Part::Number(number(digits)))
            }
            b'0'..=b'9' if self.last == Stage::Suffix => {
                self.last = Stage::SuffixNumber;
                let digits = self.take(u8::is_ascii_digit)?;
                Some(Part::SuffixNumber(number(digits)))
            }
            b'.' if self.last == Stage::Number => {
                self.rest = rest;
                let digits = self.take(u8::is_ascii_digit)?;
                Some(if digits[0] == b'0' { Part::Places(digits) } else { Part::Number(number(digits)) })
            }
            b'a'..=b'z' if self.last == Stage::Number => {
                self.last = Stage::Letter;
                self.rest = rest;
                Some(Part::Letter(first))
            }
            b'_' if (Stage::Number..=Stage::SuffixNumber).contains(&self.last) => {
                self.last = Stage::Suffix;
                self.rest = rest;
                let name = self.take(u8::is_ascii_lowercase)?;
                let place = SUFFIXES.iter().position(|(suffix, _)| suffix.as_bytes() == name)?;
                Some(if SUFFIXES[place].1 { Part::Before(place) } else { Part::After(place) })
            }
            b'~' if (Stage::Number..=Stage::SuffixNumber).contains(&self.last) => {
                self.last = Stage::Hash;
                self.rest = rest;
                Some(Part::Hash(self.take(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))?))
            }
            b'-' if (Stage::Number..=Stage::Hash).contains(&self.last) && rest.first() == Some(&b'r') => {
                self.last = Stage::Revision;
                self.rest = &rest[1..];
                let digits = self.take(u8::is_ascii_digit)?;
                Some(Part::Revision(number(digits)))
            }
            _ => None,
        }
    }

    /// The bytes from here on that are `wanted`; `None` when there is none.
    fn take(&mut self, wanted: impl Fn(&u8) -> bool) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!taken.is_empty()).then_some(taken)
    }
}

/// The number that `digits` write, modulo 2^64 as in apk.
fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number: u64, digit| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
}

fn is_valid(text: &str) -> bool {
    let mut parts = Parts::new(text);
    loop {
        match parts.next() {
            Some(Part::End) => return true,
            Some(_) => {}
            None => return false,
        }
    }
}

/// Compares two versions; with `prefix`, `a` equals `b` as soon as `b` has no more parts.
fn compare(a: &str, b: &str, prefix: bool) -> Ordering {
    let (mut a, mut b) = (Parts::new(a), Parts::new(b));
    loop {
        let (left, right) = (a.next().unwrap_or(Part::Unknown), b.next().unwrap_or(Part::Unknown));
        let both_end = left == right && matches!(left, Part::End | Part::Unknown);
        if both_end || (prefix && right == Part::End) {
            return Ordering::Equal;
        }
        match left.cmp(&right) {
            Ordering::Equal => {}
            different => return different,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn knows_what_is_valid() {
        let valid = "1 1.0 1a 1_p 1_p1 1_p1_p2 1~a 1-r1 01 1.01 1_p~ab-r2 99999999999999999999999 1.1b_rc3_p~00aa-r12 \
                     1_p-r0 1_pre1 2.10.4_git20230107-r3";
        for text in valid.split_whitespace() {
            assert!(Version::new(text).is_valid(), "{text}");
            assert_eq!(text.parse::<Version>().map(|v| v.to_string()).as_deref(), Ok(text));
        }
        let invalid = "1.a 1a1 1ab 1_foo 1~ 1~abc~d 1~xyz 1-r 1-r1-r2 1-1 a 1.0. 1..2 1a.2 1_p1a 1_alpha.1 1A 1-r1a 1~ABC \
                       1-r1_p1 1-R1 .1 1_ 1_prex 1~12-r 1.1~a_p1 1-r1~a 1_alphabeta -1 ١ 6.8.0p2-r4 v2.4 5.3.0_";
        for text in invalid.split_whitespace().chain(["", "1 2"]) {
            assert!(!Version::new(text).is_valid(), "{text}");
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    /// Every line is an ascending chain, as `apk version -t` says.
    #[test]
    fn orders_as_apk_does() {
        let chains = [
            "1_alpha_alpha 1_alpha 1_alpha~a 1_alpha0 1_alpha1 1_alpha1_p1 1_beta 1_pre 1_rc 1 1-r0 1-r1 1~a 1~a-r0 1~ab \
             1_cvs 1_svn 1_git 1_git~ab 1_git20 1_hg 1_p_alpha 1_p 1_p-r1 1_p~a 1_p0 1_p1 1_p_p 1a 1b 1.0 1.00 1.001 1.01 1.010 \
             1.012 1.02 1.1 1.9 1.10 2",
            "1.1_alpha1_alpha 1.1_alpha1 1.1_alpha1_p1 1.1 1.1_p 1.1_p0 1.1a_alpha 1.1a 1.1.0 1.1.1",
            "1~10 1~9 1~a 1~a1",
            "1-r9 1-r010 1-r11",
            "1_p9 1_p010 1_p11",
            "not-a-version 0",
            "2.3 2.4_alpha1 2.4_rc1 2.4-beta 2.4 2.5",
            "6.8.0-r1 6.8.0p2-r4 6.8.0p 6.8.0q 6.8.1",
            "3.6.9_alpha 3.6.9_post1 3.6.9 3.6.9-r0 3.6.9_p1",
        ];
        for chain in chains {
            let chain: Vec<_> = chain.split_whitespace().map(Version::new).collect();
            for (i, a) in chain.iter().enumerate() {
                for (j, b) in chain.iter().enumerate() {
                    assert_eq!(a.cmp(b), i.cmp(&j), "{a} {b}");
                }
            }
        }
        for (a, b) in [
            ("1.1_p1", "1.1_p01"),
            ("1-r1", "1-r01"),
            ("01", "1"),
            ("18446744073709551617", "1"),
            ("v2.4", "foo"),
            ("6.8.0p2-r4", "6.8.0p3"),
            ("1.0_foo1", "1.0-bar"),
        ] {
            assert_eq!(Version::new(a), Version::new(b));
        }
    }

    #[test]
    fn operators_match() {
        use Op::*;
        let all = [Equal, Less, LessOrEqual, Greater, GreaterOrEqual, Prefix, LessOrPrefix, GreaterOrPrefix, Any];
        let cases: [(&str, &str, &[Op]); 11] = [
            ("1.2", "1.2", &[Equal, LessOrEqual, GreaterOrEqual, Prefix, LessOrPrefix, GreaterOrPrefix, Any]),
            ("1.2.3-r1", "1.2", &[Greater, GreaterOrEqual, Prefix, LessOrPrefix, GreaterOrPrefix, Any]),
            ("1.2_rc1", "1.2", &[Less, LessOrEqual, Prefix, LessOrPrefix, GreaterOrPrefix, Any]),
            ("1.20", "1.2", &[Greater, GreaterOrEqual, GreaterOrPrefix, Any]),
            ("1.1", "1.2", &[Less, LessOrEqual, LessOrPrefix, Any]),
            ("1.2~abcd", "1.2~ab", &[Greater, GreaterOrEqual, GreaterOrPrefix, Any]),
            ("1.2.3-r1", "1.2.3-r0", &[Greater, GreaterOrEqual, GreaterOrPrefix, Any]),
            ("1.2_p1", "1.2_p", &[Greater, GreaterOrEqual, Prefix, LessOrPrefix, GreaterOrPrefix, Any]),
            ("v2.4", "2.4", &[Less, LessOrEqual, LessOrPrefix, Any]),
            ("2.4-beta", "2.4", &[Less, LessOrEqual, Prefix, LessOrPrefix, GreaterOrPrefix, Any]),
            ("2.4", "v2.4", &[]),
        ];
        for (version, bound, matching) in cases {
            for op in all {
                let found = op.matches(&Version::new(version), &Version::new(bound));
                assert_eq!(found, matching.contains(&op), "{version} {op} {bound}");
            }
        }
    }

    /// Versions that often share their first parts, some of them invalid.
    fn version() -> impl Strategy<Value = Version> {
        let pattern = "(0|1|9|01)(\\.(0|1|10|00|01|010)){0,3}[ab]?(_(alpha|rc|cvs|p)(0|1|10|01)?){0,2}(~(a|ab|0))?\
                       (-r(0|1|10|01))?|[0-9a-z.~_-]{0,6}";
        pattern.prop_map(|text| Version::new(&text))
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in version(), b in version(), c in version()) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a == b, a.cmp(&b).is_eq());
            let mut sorted = [&a, &b, &c];
            sorted.sort();
            prop_assert!(sorted[0] <= sorted[2]);
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
            if a == b {
                prop_assert_eq!(a.cmp(&c), b.cmp(&c));
            }
        }

        #[test]
        fn no_text_panics(a in ".{0,12}", b in ".{0,12}") {
            let _ = Version::new(&a).cmp(&Version::new(&b));
        }
    }
}
