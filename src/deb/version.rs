//! Package versions as dpkg orders them, and the operators that compare them (deb-version(7)).
//!
//! A version is `[epoch:]upstream[-revision]`. Epochs compare as numbers; the other two by turns as text and as
//! numbers, where in the text `~` sorts before everything, even the end, and letters sort before all other signs. The
//! integration test `deb_version` asks `dpkg --compare-versions` about the same pairs.

use std::{cmp::Ordering, fmt, str::FromStr};

/// A package version. It keeps its text; `1.0`, `0:1.0` and `1.0-0` are equal and print as they were written.
///
/// Text that is not a version is ordered by the same rules, since dpkg does so too; see [`Version::is_valid`].
#[derive(Clone)]
pub struct Version {
    text: Box<str>,
}

impl Version {
    /// The version that `text` writes, valid or not.
    pub fn new(text: &str) -> Self {
        Self { text: text.into() }
    }

    /// The text of the version.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the text follows the grammar of deb-version(7).
    pub fn is_valid(&self) -> bool {
        let (epoch, upstream, revision) = parts(&self.text);
        let fits = |text: &str, signs: &[u8]| text.bytes().all(|c| c.is_ascii_alphanumeric() || signs.contains(&c));
        let colon = if self.text.contains(':') { &b".+-~:"[..] } else { &b".+-~"[..] };
        (epoch.is_empty() && !self.text.starts_with(':') || epoch.parse::<u32>().is_ok_and(|n| n <= i32::MAX as u32))
            && upstream.starts_with(|c: char| c.is_ascii_digit())
            && fits(upstream, colon)
            && fits(revision, b".+~")
            && !self.text.ends_with('-')
    }

    /// The version without its epoch and its revision: `22.1` of `1:22.1-3`.
    pub fn upstream(&self) -> &str {
        parts(&self.text).1
    }
}

/// Epoch, upstream version and revision; what is missing is empty.
fn parts(text: &str) -> (&str, &str, &str) {
    let (epoch, rest) = text.split_once(':').unwrap_or(("", text));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.text == other.text {
            return Ordering::Equal;
        }
        let (a, b) = (parts(&self.text), parts(&other.text));
        compare(a.0, b.0).then_with(|| compare(a.1, b.1)).then_with(|| compare(a.2, b.2))
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

/// Compares what stands between the separators: text and numbers by turns.
fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        loop {
            let (left, right) = (weight(a), weight(b));
            match left.cmp(&right) {
                Ordering::Equal if left == END => break,
                Ordering::Equal => (a, b) = (&a[1..], &b[1..]),
                different => return different,
            }
        }
        let (left, right) = (number(&mut a), number(&mut b));
        match left.len().cmp(&right.len()).then_with(|| left.cmp(right)) {
            Ordering::Equal => {}
            different => return different,
        }
    }
    Ordering::Equal
}

/// The weight of a digit, and of the end.
const END: u16 = 1;

/// Where the first byte of `text` sorts while text is compared.
fn weight(text: &[u8]) -> u16 {
    match text.first() {
        None | Some(b'0'..=b'9') => END,
        Some(b'~') => 0,
        Some(&letter) if letter.is_ascii_alphabetic() => u16::from(letter) + 1,
        Some(&sign) => u16::from(sign) + 0x100,
    }
}

/// Takes the digits from the start of `text`; those that count, without leading zeros.
fn number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|c| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    &digits[zeros..]
}

/// Not a version of dpkg's grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a version such as 1:2.3~rc1-4, found `{0}`")]
pub struct ParseVersionError(String);

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let version = Self::new(s);
        if version.is_valid() { Ok(version) } else { Err(ParseVersionError(s.to_owned())) }
    }
}

/// How a dependency compares a package's version with its own (deb-control(5), "Depends").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// `<<`
    Less,
    /// `<=`, and `<`, which once meant the same.
    LessOrEqual,
    /// `=`
    Equal,
    /// `>=`, and `>`.
    GreaterOrEqual,
    /// `>>`
    Greater,
}

impl Op {
    /// The operator that dpkg writes so.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "<<" => Self::Less,
            "<=" | "<" => Self::LessOrEqual,
            "=" => Self::Equal,
            ">=" | ">" => Self::GreaterOrEqual,
            ">>" => Self::Greater,
            _ => return None,
        })
    }

    /// The operator as dpkg writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<<",
            Self::LessOrEqual => "<=",
            Self::Equal => "=",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">>",
        }
    }

    /// Whether `version` satisfies "operator `bound`".
    pub fn matches(self, version: &Version, bound: &Version) -> bool {
        let order = version.cmp(bound);
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Greater => order.is_gt(),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn knows_what_is_valid() {
        for text in ["1", "0:1", "1.0-1", "1:2:3-4", "1.2-3-4", "2.36-9+deb12u14", "1.0~rc1+dfsg-0.1~bpo1", "0~~a"] {
            assert!(text.parse::<Version>().is_ok(), "{text}");
        }
        for text in ["", "a1", ":1", "a:1", "1:", "1-", "1_2", "1-a_b", "1 ", "é", "4294967296:1", "-1", "1.0-", "1é"]
        {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    /// Every line is an ascending chain, as `dpkg --compare-versions` says.
    #[test]
    fn orders_as_dpkg_does() {
        let chains = [
            "0~~ 0~~a 0~ 0 0a 0+ 1~rc1 1 1a 1b 1+dfsg 1.0~beta1~svn1245 1.0~beta1 1.0 1.0.1 1.2 1.10 9 10 0:11 1:0 2:0",
            "1-1~bpo1 1-1 1-1+b1 1-1.1 1-2 1-10 1-a",
            "2.36-9 2.36-9+deb12u9 2.36-9+deb12u10 2.37-1",
            "1-1-1 1-2-1",
        ];
        for chain in chains {
            let chain: Vec<_> = chain.split_whitespace().map(Version::new).collect();
            for (i, a) in chain.iter().enumerate() {
                for (j, b) in chain.iter().enumerate() {
                    assert_eq!(a.cmp(b), i.cmp(&j), "{a} {b}");
                }
            }
        }
        for (a, b) in [("1.0", "0:1.0"), ("1.0-0", "1.0"), ("1.01", "1.1"), ("1.0", "1.00"), ("00:1", "1")] {
            assert_eq!(Version::new(a), Version::new(b));
        }
    }

    #[test]
    fn operators_match() {
        use Op::*;
        let all = [Less, LessOrEqual, Equal, GreaterOrEqual, Greater];
        let cases: [(&str, &str, &[Op]); 3] = [
            ("1-1", "1-1", &[LessOrEqual, Equal, GreaterOrEqual]),
            ("1~rc", "1", &[Less, LessOrEqual]),
            ("1:0", "9", &[GreaterOrEqual, Greater]),
        ];
        for (version, bound, expected) in cases {
            let found: Vec<_> =
                all.into_iter().filter(|op| op.matches(&Version::new(version), &Version::new(bound))).collect();
            assert_eq!(found, expected, "{version} {bound}");
        }
        for op in all {
            assert_eq!(Op::parse(op.as_str()), Some(op));
        }
        assert_eq!((Op::parse("<"), Op::parse(">")), (Some(LessOrEqual), Some(GreaterOrEqual)));
        assert_eq!(Op::parse("=="), None);
    }

    #[test]
    fn gives_the_upstream_version() {
        for (version, upstream) in [("1:22.1-3", "22.1"), ("22", "22"), ("1.2-3-4", "1.2-3")] {
            assert_eq!(Version::new(version).upstream(), upstream);
        }
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in "[0-2a~+.:-]{0,8}", b in "[0-2a~+.:-]{0,8}", c in "[0-2a~+.:-]{0,8}") {
            let [a, b, c] = [a, b, c].map(|text| Version::new(&text));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
        }

        #[test]
        fn no_text_panics(a in any::<String>(), b in any::<String>()) {
            let (a, b) = (Version::new(&a), Version::new(&b));
            let _ = (a.cmp(&b), a.is_valid(), a.upstream().len());
        }
    }
}
