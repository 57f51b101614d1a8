//! Lua: a rockspec (<https://github.com/luarocks/luarocks/blob/main/docs/rockspec_format.md>), and what LuaRocks installs and says.
//!
//! A rockspec is a program. Only texts, and lists of texts, that a variable of it is plainly set to are read.

use std::collections::BTreeMap;

use super::{
    Component, Dependencies, Explanation, Facts, Language, LanguageError, Source, WantedRuntime, explain,
    versions::Releases,
};
use crate::{app_folder::AppFolder, listing::AppFile};

/// Lua, with LuaRocks.
#[derive(Debug)]
pub(super) struct Lua;

impl Language for Lua {
    fn name(&self) -> &'static str {
        "lua"
    }

    fn read(&self, source: &Source<'_>) -> Result<Facts, LanguageError> {
        let names = source.folder.list("")?.unwrap_or_default();
        let names = names.iter().filter_map(|entry| entry.name.to_str()).filter(|name| name.ends_with(".rockspec"));
        // Of several versions, LuaRocks takes the latest.
        let Some(file) = names.max() else { return Ok(Facts::default()) };
        let mut variables = variables(&source.read(file)?.unwrap_or_default());
        let mut text = |name| match variables.remove(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        };
        let (name, version) = (text("package"), text("version"));
        let Some(Value::List(asked)) = variables.remove("dependencies") else {
            return Ok(Facts { name, version, ..Facts::default() });
        };
        let (lua, rocks): (Vec<_>, Vec<_>) = asked.iter().map(|text| split(text)).partition(|(name, _)| *name == "lua");
        let runtime = lua
            .first()
            .and_then(|(_, range)| WantedRuntime::advised("Lua", range, Some("dependencies"), file, releases(range)));
        let required = rocks.into_iter().map(|(name, _)| name.to_owned()).collect();
        let dependencies = Some(Dependencies { required, ..Dependencies::default() });
        Ok(Facts { name, version, runtime, dependencies, ..Facts::default() })
    }

    fn components(&self, _folder: &AppFolder, files: &[AppFile]) -> Vec<Component> {
        let mut components: Vec<_> = files.iter().filter_map(|file| component(&file.path)).collect();
        components.sort();
        components.dedup();
        components
    }

    fn explain(&self, line: &str) -> Option<Explanation> {
        explain::find(line, SAYINGS)
    }
}

const SAYINGS: &[(&str, Explanation)] = &[
    (
        "Could not find header file for",
        Explanation::lacks(
            "a rock is compiled with a library: --dev-package NAME brings it, such as --dev-package openssl-dev (Alpine) or libssl-dev \
             (Debian) for OPENSSL",
        ),
    ),
    (
        "Mandatory field build is missing",
        Explanation::hint(
            "write rockspec_format = \"3.0\" into the rockspec: older ones want to be told how the app is built",
        ),
    ),
    (
        "Please specify which rockspec file to use",
        Explanation::hint("leave one rockspec at the top of the app's folder: the others belong in another folder"),
    ),
    (
        "No results matching query were found",
        Explanation::hint(
            "LuaRocks finds no such rock for this Lua, or does not reach its servers; a server of your own is named by a file of \
             LuaRocks' settings: --secret id=luarocks,src=FILE",
        ),
    ),
    ("Failed downloading", Explanation::NotCached),
];

/// What a variable is set to.
#[derive(Debug, PartialEq, Eq)]
enum Value {
    Text(String),
    List(Vec<String>),
}

/// A word, text or sign of a Lua program; names and numbers are words.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

/// The global variables that the program `text` sets to a text or to a list of texts, each by a statement of its own.
fn variables(text: &str) -> BTreeMap<String, Value> {
    let tokens = tokens(text);
    let mut found = BTreeMap::new();
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign('{' | '(') => depth += 1,
            Token::Sign('}' | ')') => depth = depth.saturating_sub(1),
            Token::Word(name) if depth == 0 && tokens.get(at + 1) == Some(&Token::Sign('=')) => {
                let value = value(&tokens[at + 2..]);
                found.extend(value.map(|value| (name.clone(), value)));
            }
            _ => {}
        }
    }
    found
}

/// The value that `tokens` begin with.
fn value(tokens: &[Token]) -> Option<Value> {
    match tokens {
        // What is joined to it is not read.
        [Token::Text(_), Token::Sign('.'), ..] => None,
        [Token::Text(text), ..] => Some(Value::Text(text.clone())),
        [Token::Sign('{'), rest @ ..] => {
            let end = rest.iter().position(|token| *token == Token::Sign('}'))?;
            let items = rest[..end].split(|token| matches!(token, Token::Sign(',' | ';')));
            let items = items.filter(|item| !item.is_empty()).map(|item| match item {
                [Token::Text(text)] => Some(text.clone()),
                _ => None,
            });
            items.collect::<Option<_>>().map(Value::List)
        }
        _ => None,
    }
}

/// The tokens of a Lua program (<https://www.lua.org/manual/5.4/manual.html#3.1>), as far as it is one.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_comment = rest.starts_with("--");
        let begin = if is_comment { &rest[2..] } else { rest };
        if let Some((long, behind)) = long_bracket(begin) {
            tokens.extend((!is_comment).then(|| Token::Text(long.to_owned())));
            rest = behind;
        } else if is_comment {
            rest = rest.split_once('\n').map_or("", |(_, behind)| behind);
        } else if matches!(first, '"' | '\'') {
            let (text, behind) = quoted(&rest[1..], first);
            tokens.push(Token::Text(text));
            rest = behind;
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        } else {
            tokens.extend((!first.is_whitespace()).then_some(Token::Sign(first)));
            rest = &rest[first.len_utf8()..];
        }
    }
    tokens
}

/// The text in the long brackets that `text` begins with, `[[…]]` or `[=[…]=]`, and what is behind them. Without an end, all is inside.
fn long_bracket(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix('[')?;
    let level = rest.len() - rest.trim_start_matches('=').len();
    let inside = rest[level..].strip_prefix('[')?;
    let inside = inside.strip_prefix('\n').unwrap_or(inside);
    Some(inside.split_once(&format!("]{}]", "=".repeat(level))).unwrap_or((inside, "")))
}

/// The text up to the closing `quote`, and what is behind it. Of escapes only those that stand for the character itself are read.
fn quoted(text: &str, quote: char) -> (String, &str) {
    let mut found = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => found.extend(chars.next().map(|(_, escaped)| escaped)),
            c if c == quote => return (found, &text[at + 1..]),
            c => found.push(c),
        }
    }
    (found, "")
}

/// The name of the rock in a dependency, `luasocket >= 3.0, < 4`, and its versions.
fn split(dependency: &str) -> (&str, &str) {
    let dependency = dependency.trim();
    let end = dependency.find(|c: char| c.is_whitespace() || "<>=~".contains(c)).unwrap_or(dependency.len());
    (&dependency[..end], dependency[end..].trim())
}

/// The releases of Lua that fit LuaRocks' constraints (<https://github.com/luarocks/luarocks/blob/main/docs/dependencies.md>).
/// LuaRocks calls all releases of Lua 5.4 by that number.
fn releases(range: &str) -> Option<Releases> {
    let constraint = |text: &str| {
        let version = text.trim_start_matches(['<', '>', '=', '~', ' ']);
        match text[..text.len() - version.len()].trim() {
            "" | "==" | "~>" => format!("~> {version}.0"),
            "<=" => format!("<= {version}.99"),
            "~=" => format!("!= {version}"),
            operator => format!("{operator} {version}"),
        }
    };
    let constraints = range.split(',').map(str::trim).filter(|text| !text.is_empty()).map(constraint);
    Releases::gem(constraints.collect::<Vec<_>>().iter().map(String::as_str))
}

/// The rock that is installed where a file of it lies at `path`, `…/lib/luarocks/rocks-5.4/NAME/VERSION/rock_manifest`.
fn component(path: &str) -> Option<Component> {
    let rock = path.strip_suffix("/rock_manifest")?;
    let (_, rock) = rock.split_once("lib/luarocks/rocks-")?;
    let (_, rock) = rock.split_once('/')?;
    let (name, version) = rock.split_once('/').filter(|(_, version)| !version.contains('/'))?;
    let purl = super::purl("luarocks", &name.to_ascii_lowercase(), version);
    Some(Component { name: name.to_owned(), version: version.to_owned(), purl })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::testing::Draft;

    const ROCKSPEC: &str = r#"
        rockspec_format = "3.0" -- package = "commented"
        package = 'shop'
        version = [[1.2-1]]
        source = { url = "git+https://x.example/shop.git", version = "9" }
        --[==[ dependencies = { "no" } ]==]
        dependencies = {
            "lua >= 5.3, < 5.5"; -- any of the two
            "luasocket ~> 3.1", 'team/json>=1',
        }
    "#;

    #[test]
    fn reads_a_rockspec() {
        let facts = Draft::new(&[("shop-1.2-1.rockspec", ROCKSPEC), ("shop-1.1-1.rockspec", "package = 'old'")]);
        let facts = facts.read(&Lua).unwrap();
        assert_eq!((facts.name.as_deref(), facts.version.as_deref()), (Some("shop"), Some("1.2-1")));
        let wanted = facts.runtime.unwrap();
        assert_eq!(wanted.place(), "dependencies in shop-1.2-1.rockspec");
        assert!(wanted.fits("5.4.4-3+deb12u1") && wanted.fits("5.3.6-r2") && !wanted.fits("5.1.5-9"));
        assert_eq!(facts.dependencies.unwrap().required, ["luasocket", "team/json"]);
        assert_eq!(Draft::new(&[("main.lua", "")]).read(&Lua), Ok(Facts::default()));
    }

    #[test]
    fn what_a_rockspec_computes_is_not_read() {
        let text = "local v = '1.0'\npackage = 'a' .. 'b'\nversion = v .. '-1'\ndependencies = { 'x', list() }\nbuild = 'unclosed";
        assert_eq!(Draft::new(&[("a-1.0-1.rockspec", text)]).read(&Lua), Ok(Facts::default()));
        let none = Draft::new(&[("a-1.0-1.rockspec", "dependencies = {}")]).read(&Lua).unwrap();
        assert!(none.dependencies.is_some_and(|needs| needs.is_empty()));
    }

    #[test]
    fn releases_of_lua_are_called_by_two_numbers() {
        for (range, version, fits) in [
            ("5.4", "5.4.6-r0", true),
            ("== 5.3", "5.4.6-r0", false),
            ("~> 5.4", "5.4.0", true),
            ("<= 5.4", "5.4.6", true),
            ("<= 5.3", "5.4.6", false),
            (">= 5.1", "5.4.6", true),
            ("> 5.4, ~= 5.2", "5.5.0", true),
            ("", "5.1", true),
        ] {
            assert_eq!(releases(range).unwrap().contain(version), fits, "{range} {version}");
        }
        assert_eq!(releases(">= five"), None);
    }

    #[test]
    fn lists_what_is_installed() {
        let rocks = "lua_modules/lib/luarocks/rocks-5.4";
        let path = |rest: &str| format!("{rocks}/{rest}");
        let files = [path("LuaSocket/3.1.0-1/rock_manifest"), path("manifest"), path("say/1.4-1/tests/rock_manifest")];
        let project = Draft::new(&files.each_ref().map(|path| (path.as_str(), "")));
        assert_eq!(project.purls(&Lua), ["pkg:luarocks/luasocket@3.1.0-1"]);
    }

    #[test]
    fn explains_luarocks() {
        let line = "Error: Could not satisfy dependency x: No results matching query were found for Lua 5.4.";
        assert!(matches!(Lua.explain(line), Some(Explanation::Hint(hint)) if hint.contains("no such rock")));
        assert_eq!(Lua.explain("Installing x"), None);
    }
}
