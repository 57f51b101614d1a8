//! `[tools]` of a recipe: what its steps download in addition to packages of a distribution, with version and checksum.

use std::{collections::BTreeMap, str::FromStr};

use serde::Deserialize;

use crate::values;

/// The name of the table's file below [`RUN`](super::RUN), where steps read it. It has a line for each tool: its name,
/// its version and the checksum of its file, as in `pnpm 10.34.8 sha512:…`.
pub(super) const FILE: &str = "tools";

/// A version of a tool, and the checksum of its file in a registry.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Its version.
    #[serde(deserialize_with = "values::value")]
    version: Word,
    /// The SHA-256 of the file, in hexadecimal digits.
    #[serde(default, deserialize_with = "values::optional")]
    sha256: Option<Hex<32>>,
    /// The SHA-512 of the file, in hexadecimal digits.
    #[serde(default, deserialize_with = "values::optional")]
    sha512: Option<Hex<64>>,
}

/// A word without spaces.
#[derive(Debug, Clone, PartialEq)]
struct Word(String);

impl FromStr for Word {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(format!("expected a word without spaces, found `{text}`"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// `N` bytes in hexadecimal digits.
#[derive(Debug, Clone, PartialEq)]
struct Hex<const N: usize>(String);

impl<const N: usize> FromStr for Hex<N> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() == 2 * N && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("expected {} lower-case hexadecimal digits, found `{text}`", 2 * N))
    }
}

/// The tools, by their names in their registry, such as `@yarnpkg/cli-dist`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Tools(BTreeMap<String, Tool>);

impl Tools {
    /// The text of the table's file; `None` when there are no tools.
    pub(super) fn text(&self) -> Option<String> {
        let sum = |tool: &Tool| match (&tool.sha512, &tool.sha256) {
            (Some(hex), _) => format!(" sha512:{}", hex.0),
            (None, Some(hex)) => format!(" sha256:{}", hex.0),
            (None, None) => String::new(),
        };
        let lines = self.0.iter().map(|(name, tool)| format!("{name} {}{}\n", tool.version.0, sum(tool)));
        (!self.0.is_empty()).then(|| lines.collect())
    }

    /// The first name with spaces, which steps could not read.
    pub(super) fn unreadable(&self) -> Option<&str> {
        self.0.keys().find(|name| name.parse::<Word>().is_err()).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use crate::recipe::Recipe;

    const SMALL: &str = "name = 'x'\ndescription = 'x'\n[base.alpine]\npackages = ['x']\n";

    #[test]
    fn steps_read_a_line_for_each_tool() {
        let (short, long) = ("0123456789abcdef".repeat(4), "0123456789abcdef".repeat(8));
        let text = format!(
            "{SMALL}[tools]\n'@a/b' = {{ version = '1', sha512 = '{long}' }}\nc = {{ version = '2', sha256 = '{short}' }}\n\
             d = {{ version = '3' }}\n[[step]]\nname = 'x'\nkeep = ['x']\nrun = 'cat /run/recipe/tools'\n"
        );
        let recipe = Recipe::parse(&text, "x").unwrap();
        assert_eq!(recipe.programs["tools"], format!("@a/b 1 sha512:{long}\nc 2 sha256:{short}\nd 3\n"));
        let unused = Recipe::parse(&text.replace("/run/recipe/tools", "x"), "x").unwrap();
        assert!(unused.programs.is_empty());
    }

    #[test]
    fn mistakes_are_shown_at_their_place() {
        let mistake = |tools: &str| Recipe::parse(&format!("{SMALL}[tools]\n{tools}\n"), "x").unwrap_err().to_string();
        let all = [
            mistake("a = { version = '1', sha512 = 'abc' }"),
            mistake("a = { version = '1 2' }"),
            mistake("a = { sha512 = '' }"),
            mistake("a = { version = '1', md5 = '' }"),
            mistake("'a b' = { version = '1' }"),
        ];
        insta::assert_snapshot!(all.join("\n"));
    }
}
