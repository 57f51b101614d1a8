//! Ranges of versions, as languages write them, and whether a version is among them.

use std::cmp::Ordering;

/// A set of versions: those that meet all bounds of any row. Only release numbers are compared. Suffixes for
/// pre-releases are ignored, so that a version outside the set certainly does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Releases(Vec<Vec<Bound>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Bound(Is, Vec<u64>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Equal,
    Unequal,
    Least,
    Most,
    Over,
    Under,
    /// It begins with these numbers.
    Within,
    Outside,
}

impl Releases {
    /// Versions from `text` on.
    pub(super) fn at_least(text: &str) -> Option<Self> {
        Some(Self(vec![vec![Bound(Is::Least, numbers(text)?)]]))
    }

    /// Versions that begin with the first `len` numbers of `text`.
    pub(super) fn within(text: &str, len: usize) -> Option<Self> {
        let mut numbers = numbers(text)?;
        numbers.truncate(len);
        Some(Self(vec![vec![Bound(Is::Within, numbers)]]))
    }

    /// Python's version specifiers (<https://packaging.python.org/en/latest/specifications/version-specifiers/>): `>=3.10,<4`.
    pub(super) fn python(text: &str) -> Option<Self> {
        let mut bounds = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (operator, version) = split(part);
            match operator {
                "~=" => bounds.extend(pessimistic(version)?),
                "==" | "===" | "!=" => bounds.push(equal(operator != "!=", version)?),
                _ => bounds.push(plain(operator, version)?),
            }
        }
        Some(Self(vec![bounds]))
    }

    /// RubyGems' requirements, all of which hold (<https://guides.rubygems.org/patterns/#pessimistic-version-constraint>): `~> 3.2`.
    pub(super) fn gem<'a>(requirements: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut bounds = Vec::new();
        for part in
            requirements.into_iter().flat_map(|text| text.split(',')).map(str::trim).filter(|part| !part.is_empty())
        {
            let (operator, version) = split(part);
            match operator {
                "~>" => bounds.extend(pessimistic(version)?),
                "" | "=" => bounds.push(equal(true, version)?),
                "!=" => bounds.push(equal(false, version)?),
                _ => bounds.push(plain(operator, version)?),
            }
        }
        Some(Self(vec![bounds]))
    }

    /// Composer's constraints (<https://getcomposer.org/doc/articles/versions.md>): `^8.1 || ~7.4`. Poetry's are
    /// similar.
    pub(super) fn composer(text: &str) -> Option<Self> {
        let rows = text.split('|').filter(|row| !row.trim().is_empty()).map(|row| {
            if let Some((from, to)) = row.split_once(" - ") {
                let to = numbers(to.trim())?;
                // A part of a version stands for all that begin with it.
                let end = if to.len() < 3 { Bound(Is::Under, next(&to)) } else { Bound(Is::Most, to) };
                return Some(vec![Bound(Is::Least, numbers(from.trim())?), end]);
            }
            let mut bounds = Vec::new();
            let mut pending = String::new();
            for part in row.split([',', ' ']).filter(|part| !part.is_empty()) {
                // There may be a space after an operator.
                pending += part;
                if !pending.ends_with(|c: char| "<>=!^~".contains(c)) {
                    bounds.extend(composer_bounds(&std::mem::take(&mut pending))?);
                }
            }
            pending.is_empty().then_some(bounds)
        });
        Some(Self(rows.collect::<Option<_>>()?))
    }

    /// Whether `version` is one of them. A text that is not a version counts as one.
    pub(super) fn contain(&self, version: &str) -> bool {
        let Some(version) = numbers(version) else { return true };
        self.0.is_empty() || self.0.iter().any(|row| row.iter().all(|bound| bound.fits(&version)))
    }
}

impl Bound {
    fn fits(&self, version: &[u64]) -> bool {
        let Self(is, bound) = self;
        let order = compare(version, bound);
        let begins = (0..bound.len()).all(|at| version.get(at).copied().unwrap_or(0) == bound[at]);
        match is {
            Is::Equal => order.is_eq(),
            Is::Unequal => order.is_ne(),
            Is::Least => order.is_ge(),
            Is::Most => order.is_le(),
            Is::Over => order.is_gt(),
            Is::Under => order.is_lt(),
            Is::Within => begins,
            Is::Outside => !begins,
        }
    }
}

fn composer_bounds(part: &str) -> Option<Vec<Bound>> {
    let part = part.split('@').next().unwrap_or(part);
    let (operator, version) = split(part);
    if matches!(version, "*" | "x") && operator.is_empty() {
        return Some(Vec::new());
    }
    let release = numbers(version.trim_end_matches(['*', '.', 'x']))?;
    match operator {
        "^" => {
            let end = release.iter().position(|number| *number != 0).unwrap_or(release.len().saturating_sub(1));
            Some(vec![Bound(Is::Under, next(&release[..=end])), Bound(Is::Least, release)])
        }
        "~" => pessimistic(version),
        "" | "=" | "==" => Some(vec![equal(true, version)?]),
        "!=" | "<>" => Some(vec![equal(false, version)?]),
        _ => Some(vec![plain(operator, version)?]),
    }
}

/// `~> 1.2.3`: from 1.2.3 on, and below 1.3; `~> 1.2`: below 2.
fn pessimistic(version: &str) -> Option<Vec<Bound>> {
    let release = numbers(version)?;
    let end = next(&release[..(release.len() - 1).max(1)]);
    Some(vec![Bound(Is::Least, release), Bound(Is::Under, end)])
}

fn equal(is: bool, version: &str) -> Option<Bound> {
    let release = numbers(version.trim_end_matches(['*', '.']))?;
    Some(Bound(
        match (is, version.ends_with('*')) {
            (true, false) => Is::Equal,
            (true, true) => Is::Within,
            (false, false) => Is::Unequal,
            (false, true) => Is::Outside,
        },
        release,
    ))
}

fn plain(operator: &str, version: &str) -> Option<Bound> {
    let is = match operator {
        ">=" => Is::Least,
        "<=" => Is::Most,
        ">" => Is::Over,
        "<" => Is::Under,
        _ => return None,
    };
    Some(Bound(is, numbers(version.trim_end_matches(['*', '.']))?))
}

/// An operator and the version after it.
fn split(text: &str) -> (&str, &str) {
    let at = text.find(|c: char| !"<>=!~^".contains(c)).unwrap_or(text.len());
    (&text[..at], text[at..].trim())
}

/// The next release that does not begin with `release`.
fn next(release: &[u64]) -> Vec<u64> {
    let mut next = release.to_vec();
    if let Some(last) = next.last_mut() {
        *last = last.saturating_add(1);
    }
    next
}

/// The shorter one is padded with zeros.
fn compare(a: &[u64], b: &[u64]) -> Ordering {
    let at = |numbers: &[u64], at: usize| numbers.get(at).copied().unwrap_or(0);
    (0..a.len().max(b.len())).map(|i| at(a, i).cmp(&at(b, i))).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// The numbers at the beginning of a version; `None` when there are none.
fn numbers(text: &str) -> Option<Vec<u64>> {
    let text = text.trim();
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut numbers = Vec::new();
    for part in text.split('.') {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        if digits > 0 {
            numbers.push(part[..digits].parse().ok()?);
        }
        if digits < part.len() || digits == 0 {
            break;
        }
    }
    (!numbers.is_empty()).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(range: Option<Releases>, text: &str, fit: &[&str], misfit: &[&str]) {
        let range = range.unwrap_or_else(|| panic!("{text} is a range"));
        for version in fit {
            assert!(range.contain(version), "{text} has {version}");
        }
        for version in misfit {
            assert!(!range.contain(version), "{text} has not {version}");
        }
    }

    #[test]
    fn pythons_specifiers() {
        for (text, fit, misfit) in [
            (">=3.10", &["3.10", "3.12.1", "4"][..], &["3.9.20", "2.7"][..]),
            (">=3.10,<3.13", &["3.10.0", "3.12.12"], &["3.13", "3.13.1"]),
            ("~=3.10", &["3.10", "3.14"], &["3.9", "4.0"]),
            ("~=3.10.2", &["3.10.2", "3.10.9"], &["3.10.1", "3.11"]),
            ("==3.11.*", &["3.11", "3.11.7"], &["3.12"]),
            ("==3.11", &["3.11", "3.11.0"], &["3.11.7"]),
            (">= 3.8, != 3.9.*, !=3.10.1", &["3.8", "3.10.0"], &["3.9.1", "3.10.1"]),
            (">3.8.1", &["3.8.2"], &["3.8.1", "3.8"]),
            ("<=3.12", &["3.12.0", "3.11.9"], &["3.12.1"]),
            (">=3.13.0rc1", &["3.13.0"], &["3.12"]),
            ("", &["3"], &[]),
        ] {
            check(Releases::python(text), text, fit, misfit);
        }
        for text in ["3.10", ">=", "^3.8", ">=x", "=>3"] {
            assert_eq!(Releases::python(text), None, "{text}");
        }
    }

    #[test]
    fn gems_requirements() {
        for (text, fit, misfit) in [
            ("~> 3.2", &["3.2.0", "3.4.7"][..], &["3.1.9", "4.0"][..]),
            ("~> 3.2.1", &["3.2.1", "3.2.9"], &["3.2.0", "3.3.0"]),
            ("~> 3", &["3.0", "3.9"], &["2.7", "4.0"]),
            ("3.3.1", &["3.3.1"], &["3.3.2"]),
            (">= 3.0, < 3.4", &["3.3.8"], &["3.4.0", "2.7"]),
            ("!= 3.1.2", &["3.1.3"], &["3.1.2"]),
        ] {
            check(Releases::gem([text]), text, fit, misfit);
        }
        assert_eq!(Releases::gem(["^3"]), None);
    }

    #[test]
    fn composers_constraints() {
        for (text, fit, misfit) in [
            ("^8.1", &["8.1", "8.4.2"][..], &["8.0.30", "9.0"][..]),
            ("^0.3", &["0.3.9"], &["0.4", "1.0"]),
            ("~8.1", &["8.1.0", "8.4"], &["9.0", "8.0"]),
            ("~8.1.2", &["8.1.9"], &["8.2", "8.1.1"]),
            ("~8", &["8.4"], &["9.0"]),
            (">=7.4 <8.3", &["8.2.29"], &["8.3.0", "7.3"]),
            (">= 7.4, < 8.3", &["8.2.29"], &["8.3.0"]),
            ("^7.4 || ^8.0", &["7.4.1", "8.4"], &["7.3", "9.0"]),
            ("^7.4|^8.0", &["8.4"], &["9.0"]),
            ("8.2.*", &["8.2.1"], &["8.3"]),
            ("8.2 - 8.3", &["8.2.0", "8.3.7"], &["8.4", "8.1"]),
            ("8.2 - 8.3.1", &["8.3.1"], &["8.3.2"]),
            ("8.4.1", &["8.4.1"], &["8.4.2"]),
            ("*", &["1"], &[]),
            (">=8.1@dev", &["8.1"], &["8.0"]),
        ] {
            check(Releases::composer(text), text, fit, misfit);
        }
        for text in [">=", "dev-master", "^x"] {
            assert_eq!(Releases::composer(text), None, "{text}");
        }
    }

    #[test]
    fn nonsense_fits() {
        let range = Releases::at_least("3.10").expect("a version");
        assert!(range.contain("unknown") && range.contain("") && !range.contain("3.9"));
        assert!(Releases::within("3.12.4", 2).expect("a version").contain("3.12.12"));
        assert_eq!(Releases::at_least("stable"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_range_makes_it_panic(text in "[0-9.*x<>=!~^|, @v-]{0,20}", version in "[0-9.a]{0,12}") {
            let ranges = [Releases::python(&text), Releases::gem([text.as_str()]), Releases::composer(&text), Releases::within(&text, 2)];
            for range in ranges.into_iter().flatten() {
                let _ = range.contain(&version);
            }
        }
    }
}
