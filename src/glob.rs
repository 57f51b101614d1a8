//! Patterns for paths, exactly as `.dockerignore` has them: what `--include`, `--exclude` and a recipe's `strip` speak
//! too.
//!
//! The language is Go's `filepath.Match` (`*` and `?` never match a `/`, `[a-z]`, `[^a]`, `\` takes the next character
//! as it is) and `**`, which stands for any number of folders. A leading `/` means nothing, a pattern that begins with
//! `!` takes back in, and a pattern that matches a folder matches all that lies in it. See
//! <https://docs.docker.com/build/concepts/context/#dockerignore-files>.
//!
//! A path is relative, its separator `/`, without a leading `./`.

use std::{fmt, str::FromStr};

/// Not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a pattern as .dockerignore has them, found `{pattern}`: {why}")]
pub struct PatternError {
    pattern: String,
    why: &'static str,
}

/// One pattern; see the module's documentation for its language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    negated: bool,
    matcher: Matcher,
}

/// The common patterns need no automaton: most lines of most files name one path, or one name in any folder.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Matcher {
    /// Cleaned away to nothing (`.`, `/`): matches no path.
    Nothing,
    /// This very path.
    Exactly(String),
    /// `**/` and this path.
    Anywhere(String),
    /// `*` and this end of a name; behind `**/` when `anywhere`, otherwise not in a folder.
    Ending {
        end: String,
        anywhere: bool,
    },
    Tokens(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `?`
    One,
    /// `*`
    Star,
    /// `**` at the end, or before literal text that no `/` separates from it: anything at all.
    Deep,
    /// `**/`: nothing, or any number of whole folders. It always has `Folders` after it, the state "within a folder".
    MaybeFolders,
    Folders,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let trimmed = text.trim();
        let error = |why| PatternError { pattern: text.to_owned(), why };
        let (negated, path) = match trimmed.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, trimmed),
        };
        if path.is_empty() {
            return Err(error("it is empty"));
        }
        let tokens = tokens(&clean(path)).map_err(error)?;
        Ok(Self { text: trimmed.to_owned(), negated, matcher: Matcher::of(tokens) })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern {
    /// Whether the pattern began with `!`, and so takes back in what another one left out.
    pub fn is_negated(&self) -> bool {
        self.negated
    }

    /// Whether the pattern, its `!` aside, matches this very path. Does not look at the folders above; see
    /// [`Pattern::matches_tree`].
    pub fn matches(&self, path: &str) -> bool {
        match &self.matcher {
            Matcher::Nothing => false,
            Matcher::Exactly(literal) => path == literal,
            Matcher::Anywhere(literal) => {
                path.strip_suffix(literal.as_str()).is_some_and(|before| before.is_empty() || before.ends_with('/'))
            }
            Matcher::Ending { end, anywhere } => path.ends_with(end.as_str()) && (*anywhere || !path.contains('/')),
            Matcher::Tokens(tokens) => run(tokens, path.chars()).is_some_and(|states| states[tokens.len()]),
        }
    }

    /// Whether the pattern, its `!` aside, matches the path or a folder that it lies in.
    pub fn matches_tree(&self, path: &str) -> bool {
        self.matches(path) || ancestors(path).any(|folder| self.matches(folder))
    }

    /// Whether there can be a path below `folder` that the pattern matches: `false` is certain.
    pub fn may_match_below(&self, folder: &str) -> bool {
        match &self.matcher {
            Matcher::Nothing => false,
            Matcher::Exactly(literal) => {
                literal.strip_prefix(folder).is_some_and(|rest| folder.is_empty() || rest.starts_with('/'))
            }
            Matcher::Anywhere(_) => true,
            Matcher::Ending { anywhere, .. } => *anywhere || folder.is_empty(),
            Matcher::Tokens(_) if folder.is_empty() => true,
            Matcher::Tokens(tokens) => run(tokens, folder.chars().chain(['/'])).is_some(),
        }
    }
}

/// A list of patterns of which the last that matches decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatternSet(Vec<Pattern>);

impl PatternSet {
    /// The patterns, in the order in which they are tried.
    pub fn new(patterns: Vec<Pattern>) -> Self {
        Self(patterns)
    }

    /// The patterns, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter()
    }

    /// Whether the last pattern that matches `path`, or a folder that it lies in, is one without a `!`.
    pub fn matches(&self, path: &str) -> bool {
        self.0.iter().rev().find(|pattern| pattern.matches_tree(path)).is_some_and(|pattern| !pattern.negated)
    }
}

/// The folders that `path` lies in, the nearest first, without the root.
pub(crate) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(path.rsplit_once('/').map(|(folder, _)| folder), |folder| {
        folder.rsplit_once('/').map(|(above, _)| above)
    })
}

/// Go's `path.Clean`, and then the leading `/` taken away.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

fn tokens(pattern: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                let slash = chars.next_if_eq(&'/').is_some();
                let at_start = tokens.is_empty();
                if chars.peek().is_none() || (at_start && !slash && is_literal(chars.clone())) {
                    tokens.push(Token::Deep);
                } else {
                    tokens.extend([Token::MaybeFolders, Token::Folders]);
                }
            }
            '*' => tokens.push(Token::Star),
            '?' => tokens.push(Token::One),
            '[' => tokens.push(class(&mut chars)?),
            '\\' => tokens.push(Token::Char(chars.next().ok_or("nothing follows its last `\\`")?)),
            c => tokens.push(Token::Char(c)),
        }
    }
    Ok(tokens)
}

fn is_literal(mut rest: impl Iterator<Item = char>) -> bool {
    rest.all(|c| !matches!(c, '*' | '?' | '[' | '\\'))
}

/// The rest of `[…]`, after its bracket.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Token, &'static str> {
    const OPEN: &str = "its `[` has no `]`";
    fn one(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, &'static str> {
        match chars.next().ok_or(OPEN)? {
            '\\' => chars.next().ok_or(OPEN),
            '-' | ']' => Err("a `-` or `]` within `[…]` needs a `\\` before it"),
            c => Ok(c),
        }
    }
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let low = one(chars)?;
        let high = if chars.next_if_eq(&'-').is_some() { one(chars)? } else { low };
        ranges.push((low, high));
        if chars.next_if_eq(&']').is_some() {
            return Ok(Token::Class { negated, ranges });
        }
    }
}

impl Matcher {
    fn of(tokens: Vec<Token>) -> Self {
        let literal = |tokens: &[Token]| {
            tokens
                .iter()
                .map(|token| if let Token::Char(c) = token { Some(*c) } else { None })
                .collect::<Option<String>>()
        };
        if tokens.is_empty() {
            return Self::Nothing;
        }
        if let Some(text) = literal(&tokens) {
            return Self::Exactly(text);
        }
        if let [Token::MaybeFolders, Token::Folders, rest @ ..] = tokens.as_slice()
            && let Some(text) = literal(rest)
        {
            return Self::Anywhere(text);
        }
        let (anywhere, name) = match tokens.as_slice() {
            [Token::MaybeFolders, Token::Folders, name @ ..] => (true, name),
            name => (false, name),
        };
        if let [Token::Star, rest @ ..] = name
            && let Some(end) = literal(rest).filter(|end| !end.contains('/'))
        {
            return Self::Ending { end, anywhere };
        }
        Self::Tokens(tokens)
    }
}

/// Runs the automaton over `text`: which states are alive at its end, the last one being "matched", or `None` when none
/// is. All states at once, so that no pattern takes more than its length times the path's.
fn run(tokens: &[Token], text: impl Iterator<Item = char>) -> Option<Vec<bool>> {
    let mut now = vec![false; tokens.len() + 1];
    now[0] = true;
    skip(tokens, &mut now);
    let mut next = vec![false; now.len()];
    for c in text {
        next.fill(false);
        for (at, token) in tokens.iter().enumerate().filter(|(at, _)| now[*at]) {
            match token {
                Token::Char(expected) => next[at + 1] |= c == *expected,
                Token::One => next[at + 1] |= c != '/',
                Token::Star => next[at] |= c != '/',
                Token::Deep => next[at] = true,
                Token::MaybeFolders => {}
                Token::Folders => {
                    next[at] = true;
                    next[at + 1] |= c == '/';
                }
                Token::Class { negated, ranges } => {
                    let within = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                    next[at + 1] |= c != '/' && within != *negated;
                }
            }
        }
        skip(tokens, &mut next);
        std::mem::swap(&mut now, &mut next);
        if !now.contains(&true) {
            return None;
        }
    }
    Some(now)
}

/// Spreads the states over the tokens that may match nothing. From left to right once is enough: all skips go forward.
fn skip(tokens: &[Token], states: &mut [bool]) {
    for (at, token) in tokens.iter().enumerate() {
        if states[at] {
            match token {
                Token::Star | Token::Deep => states[at + 1] = true,
                Token::MaybeFolders => {
                    states[at + 1] = true;
                    states[at + 2] = true;
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    /// The examples of Docker's documentation first, then the corners.
    #[test]
    fn matches_as_docker_does() {
        for (text, yes, no) in [
            ("*/temp*", &["somedir/temporary.txt", "somedir/temp"][..], &["temp", "a/b/temp"][..]),
            ("*/*/temp*", &["somedir/subdir/temporary.txt"], &["somedir/temp"]),
            ("temp?", &["tempa", "tempb"], &["temp", "tempab", "temp/"]),
            ("**/*.go", &["a.go", "a/b.go", "a/b/c.go"], &["go", "a.gox", "a.go/b"]),
            ("/foo/bar", &["foo/bar"], &["foo", "foo/bar/x", "x/foo/bar"]),
            ("foo/bar/", &["foo/bar"], &["foo"]),
            ("./foo//bar/../baz", &["foo/baz"], &["foo/bar"]),
            ("/../foo", &["foo"], &["../foo"]),
            ("../foo", &[], &["foo", "a/foo"]),
            (".", &[], &["a", ".a"]),
            ("/", &[], &["a"]),
            ("*", &["a", ".a"], &["a/b"]),
            ("**", &["a", "a/b"], &[]),
            ("a/**", &["a/b", "a/b/c"], &["a", "ab"]),
            ("**/a", &["a", "b/a", "c/b/a"], &["ba", "a/b"]),
            ("**/a/b", &["a/b", "c/a/b"], &["a/c/b", "ca/b"]),
            ("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb"]),
            ("a**b", &["ab", "a/b", "ax/b", "a/x/b"], &["axb"]),
            ("**/a**/b", &["a/b", "x/a/b", "ax/b", "a/x/b"], &["a"]),
            ("**ab", &["ab", "xab", "x/yab"], &["abx"]),
            ("**a*", &["ab", "x/ab"], &["xab"]),
            ("ab**", &["ab", "abc", "ab/c"], &["a"]),
            ("a***b", &["ab", "axb", "a/b", "a/xb"], &["axb/c"]),
            ("[a-cx]", &["a", "b", "c", "x"], &["d", "-", "ab"]),
            ("[^a-c]", &["d", "-"], &["a", "/"]),
            ("[!a]", &["!", "a"], &["b"]),
            (r"a[\]\-]", &["a]", "a-"], &["a\\"]),
            (r"\*\?\[", &["*?["], &["a?["]),
            (r"a\!b", &["a!b"], &[]),
            ("a.b+c(d)|$", &["a.b+c(d)|$"], &["axb+c(d)|$"]),
            ("*.é", &["ü.é"], &["ü.e"]),
            (" a b ", &["a b"], &[" a b "]),
            ("!a", &["a"], &["!a"]),
            ("! a", &["a"], &[]),
        ] {
            let pattern = pattern(text);
            for path in yes {
                assert!(pattern.matches(path), "{text} matches {path}");
            }
            for path in no {
                assert!(!pattern.matches(path), "{text} does not match {path}");
            }
        }
    }

    #[test]
    fn refuses_what_is_no_pattern() {
        for text in ["", " ", "!", "! ", "[", "[a", "[]", "[]a]", "[-a]", "[a-]", "[a-", "[^", r"a\", r"[\"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_last_match_decides_and_folders_take_all_below() {
        for (patterns, left_out, kept) in [
            (&["*.md", "!README.md"][..], &["a.md"][..], &["README.md", "a/b.md"][..]),
            (
                &["*.md", "!README*.md", "README-secret.md"],
                &["a.md", "README-secret.md"],
                &["README.md", "README-x.md"],
            ),
            (&["*.md", "README-secret.md", "!README*.md"], &["a.md"], &["README.md", "README-secret.md"]),
            (&["a"], &["a", "a/b", "a/b/c"], &["b", "ab"]),
            (&["*", "!a"], &["b", "b/a"], &["a", "a/b", "a/b/c"]),
            (&["*", "!a", "a/b"], &["c", "a/b", "a/b/c"], &["a", "a/c"]),
            (&["!a"], &[], &["a", "b"]),
            (&[], &[], &["a"]),
        ] {
            let set = PatternSet::new(patterns.iter().map(|text| pattern(text)).collect());
            for path in left_out {
                assert!(set.matches(path), "{patterns:?} leaves out {path}");
            }
            for path in kept {
                assert!(!set.matches(path), "{patterns:?} keeps {path}");
            }
        }
    }

    #[test]
    fn knows_below_which_folders_it_cannot_match() {
        for (text, folder, may) in [
            ("a/b/c", "a", true),
            ("a/b/c", "a/b", true),
            ("a/b/c", "a/b/c", false),
            ("a/b/c", "ab", false),
            ("a/b/c", "", true),
            ("*/b", "x", true),
            ("*/b", "x/y", false),
            ("**/b", "x/y", true),
            ("a/**/*.js", "a/x", true),
            ("a/**/*.js", "b", false),
            (".", "a", false),
        ] {
            assert_eq!(pattern(text).may_match_below(folder), may, "{text} below {folder}");
        }
    }

    /// Backtracks over the pattern's characters, as the documentation reads.
    fn naive(pattern: &[char], path: &[char], at_start: bool) -> bool {
        match pattern {
            [] => path.is_empty(),
            ['*', '*', rest @ ..] => {
                let (rest, slash) = rest.strip_prefix(&['/']).map_or((rest, false), |rest| (rest, true));
                let anywhere = at_start && !slash && !rest.iter().any(|c| "*?[\\".contains(*c));
                rest.is_empty()
                    || naive(rest, path, false)
                    || (0..path.len()).any(|at| (anywhere || path[at] == '/') && naive(rest, &path[at + 1..], false))
            }
            ['*', rest @ ..] => {
                let end = path.iter().position(|c| *c == '/').unwrap_or(path.len());
                (0..=end).any(|at| naive(rest, &path[at..], false))
            }
            ['?', rest @ ..] => path.first().is_some_and(|c| *c != '/') && naive(rest, &path[1..], false),
            ['[', rest @ ..] => {
                let (negated, mut rest) = rest.strip_prefix(&['^']).map_or((false, rest), |rest| (true, rest));
                let mut within = false;
                let one = |rest: &mut &[char]| {
                    let (escape, plain) = (rest[0] == '\\', usize::from(rest[0] == '\\'));
                    let c = rest[plain];
                    *rest = &rest[1 + usize::from(escape)..];
                    c
                };
                while rest[0] != ']' {
                    let low = one(&mut rest);
                    let high = if rest[0] == '-' {
                        rest = &rest[1..];
                        one(&mut rest)
                    } else {
                        low
                    };
                    within |= path.first().is_some_and(|c| low <= *c && *c <= high);
                }
                path.first().is_some_and(|c| *c != '/') && within != negated && naive(&rest[1..], &path[1..], false)
            }
            ['\\', c, rest @ ..] | [c, rest @ ..] => path.first() == Some(c) && naive(rest, &path[1..], false),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn never_panics(text in any::<String>(), path in any::<String>()) {
            if let Ok(pattern) = text.parse::<Pattern>() {
                pattern.matches_tree(&path);
                pattern.may_match_below(&path);
            }
        }

        #[test]
        fn agrees_with_a_naive_matcher(text in r"[ab*?/\[\]^\-\\.]{1,10}|(\*\*/?|\*|a|b|/|\[a-b\]|\?){1,6}", path in "[ab]{1,3}(/[ab-]{1,3}){0,3}") {
            if let Ok(pattern) = text.parse::<Pattern>() {
                let chars = |text: &str| text.chars().collect::<Vec<_>>();
                let cleaned = clean(text.trim());
                prop_assert_eq!(
                    pattern.matches(&path),
                    !cleaned.is_empty() && naive(&chars(&cleaned), &chars(&path), true)
                );
            }
        }

        #[test]
        fn what_matches_below_a_folder_may_match_below_it(text in r"(\*\*/?|\*|a|b|/|\[a-b\]|\?){1,6}", path in "[ab]{1,2}(/[ab]{1,2}){1,3}") {
            if let Ok(pattern) = text.parse::<Pattern>()
                && pattern.matches(&path)
            {
                for folder in ancestors(&path) {
                    prop_assert!(pattern.may_match_below(folder), "{folder}");
                }
            }
        }
    }
}
