//! Go's source files, as far as it takes to find the programs of a module: package clauses, build constraints
//! (<https://pkg.go.dev/cmd/go#hdr-Build_constraints>), the function `main` and what `go:embed` takes in.

/// The facts of one file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct GoFile {
    /// The package's name.
    pub(super) package: String,
    /// Whether it has the function `main`.
    pub(super) has_main: bool,
    /// The patterns of its `go:embed` directives, relative to its folder. Empty where a constraint may leave the file out.
    pub(super) embeds: Vec<String>,
}

/// Whether a file of this name belongs to a build for Linux: no test, and for no other system or processor alone.
pub(super) fn is_built(name: &str) -> bool {
    const OTHER_SYSTEMS: &[&str] = &[
        "aix",
        "android",
        "darwin",
        "dragonfly",
        "freebsd",
        "illumos",
        "ios",
        "js",
        "netbsd",
        "openbsd",
        "plan9",
        "solaris",
        "wasip1",
        "windows",
    ];
    let Some(stem) = name.strip_suffix(".go").filter(|stem| !stem.starts_with(['_', '.'])) else { return false };
    let mut parts = stem.rsplit('_');
    let (last, before) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let is_named = stem.contains('_');
    !(is_named && (last == "test" || OTHER_SYSTEMS.contains(&last) || OTHER_SYSTEMS.contains(&before)))
}

/// Reads the text of a file. `None` when a constraint leaves it out for Linux without cgo, or when it has no package clause.
pub(super) fn read(text: &str, tags: &[String]) -> Option<GoFile> {
    let code = without_comments(text);
    let constraint = text.lines().map(str::trim_start).take_while(|line| !line.starts_with("package "));
    let constraint = constraint.filter_map(|line| line.strip_prefix("//go:build ")).next();
    if constraint.is_some_and(|expression| !holds(expression, tags)) {
        return None;
    }
    let package = code.lines().find_map(|line| line.trim().strip_prefix("package ")).map(str::trim)?;
    let package = package.split([';', ' ', '\t']).next().unwrap_or_default().to_owned();
    let is_main = |line: &str| line.strip_prefix("func main").is_some_and(|rest| rest.trim_start().starts_with('('));
    let embeds = match constraint {
        Some(_) => Vec::new(),
        None => text.lines().filter_map(|line| line.trim().strip_prefix("//go:embed ")).flat_map(patterns).collect(),
    };
    Some(GoFile { package, has_main: code.lines().any(is_main), embeds })
}

/// The patterns of a `go:embed` directive: words, perhaps in quotes; `all:` before one takes hidden files, too.
fn patterns(words: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = words.trim();
    while let Some(first) = rest.chars().next() {
        let (word, behind) = match first {
            '"' | '`' => rest[1..].split_once(first).unwrap_or((&rest[1..], "")),
            _ => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        found.push(word.strip_prefix("all:").unwrap_or(word).to_owned());
        rest = behind.trim_start();
    }
    found
}

/// The text without comments, and without what stands in raw strings: either may hold lines that look like code.
fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['/', '"', '`', '\'']) {
        code.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = match rest.as_bytes() {
            [b'/', b'/', ..] => rest.find('\n').unwrap_or(rest.len()),
            [b'/', b'*', ..] => rest[2..].find("*/").map_or(rest.len(), |end| end + 4),
            [b'`', ..] => rest[1..].find('`').map_or(rest.len(), |end| end + 2),
            [quote @ (b'"' | b'\''), ..] => quoted(rest, *quote),
            _ => {
                code.push('/');
                1
            }
        };
        rest = &rest[end..];
    }
    code.push_str(rest);
    code
}

/// The length of the text in quotes at the beginning of `text`, quotes included; at most its line.
fn quoted(text: &str, quote: u8) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'\n' => return at,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            byte if byte == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Whether the constraint `expression` holds for Linux. What cannot be read holds.
fn holds(expression: &str, tags: &[String]) -> bool {
    let spaced = ["(", ")", "!", "&&", "||"]
        .iter()
        .fold(expression.to_owned(), |text, sign| text.replace(sign, &format!(" {sign} ")));
    let words: Vec<&str> = spaced.split_whitespace().take_while(|word| !word.starts_with("//")).collect();
    either(&mut &words[..], tags, 0)
}

/// How deep parentheses and negations are read.
const DEPTH: usize = 50;

fn either(words: &mut &[&str], tags: &[String], depth: usize) -> bool {
    let mut value = both(words, tags, depth);
    while let ["||", rest @ ..] = words {
        *words = rest;
        value |= both(words, tags, depth);
    }
    value
}

fn both(words: &mut &[&str], tags: &[String], depth: usize) -> bool {
    let mut value = one(words, tags, depth);
    while let ["&&", rest @ ..] = words {
        *words = rest;
        value &= one(words, tags, depth);
    }
    value
}

fn one(words: &mut &[&str], tags: &[String], depth: usize) -> bool {
    let [word, rest @ ..] = *words else { return true };
    *words = rest;
    match *word {
        _ if depth > DEPTH => true,
        "!" => !one(words, tags, depth + 1),
        "(" => {
            let value = either(words, tags, depth + 1);
            if let [")", rest @ ..] = words {
                *words = rest;
            }
            value
        }
        tag => is_set(tag, tags),
    }
}

/// Whether `tag` is set. All processors are, because the image's is not known here; all releases of Go are, too.
fn is_set(tag: &str, tags: &[String]) -> bool {
    const SET: &[&str] = &[
        "386", "amd64", "arm", "arm64", "gc", "linux", "loong64", "netgo", "osusergo", "ppc64le", "riscv64", "s390x",
        "unix",
    ];
    let is_release = tag.strip_prefix("go1.").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    is_release || SET.contains(&tag) || tags.iter().any(|known| known == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_for_which_system_a_file_is() {
        for (name, built) in [
            ("main.go", true),
            ("main_test.go", false),
            ("main_windows.go", false),
            ("main_windows_amd64.go", false),
            ("main_linux_arm64.go", true),
            ("windows.go", true),
            ("test.go", true),
            ("_main.go", false),
            (".main.go", false),
            ("main.c", false),
            ("user_service.go", true),
        ] {
            assert_eq!(is_built(name), built, "{name}");
        }
    }

    #[test]
    fn reads_what_a_file_is() {
        for (text, package, has_main) in [
            ("package main\n\nfunc main() {\n}\n", "main", true),
            (
                "// Package main is\n// package no\n/*\npackage none\n*/\npackage main // x\nfunc main () {}",
                "main",
                true,
            ),
            ("package shop; import \"fmt\"\nvar x = `\nfunc main() {\n`\n", "shop", false),
            ("package main\n// func main() {}\nfunc mainly() {}\nfunc (s S) main() {}\n", "main", false),
            ("//go:build linux && !cgo\n\npackage main\nfunc main() {}\n", "main", true),
            ("package main\nvar a = \"/*\"\nvar b = '\"'\nfunc main() {}\n", "main", true),
        ] {
            let file = read(text, &[]).unwrap();
            assert_eq!((file.package.as_str(), file.has_main), (package, has_main), "{text}");
        }
        for text in ["", "func main() {}", "//go:build ignore\n\npackage main\nfunc main() {}\n", "/*", "\"", "/"] {
            assert_eq!(read(text, &[]), None, "{text}");
        }
    }

    #[test]
    fn constraints_are_expressions() {
        let tags = ["prod".to_owned()];
        for (expression, value) in [
            ("linux", true),
            ("windows", false),
            ("!windows", true),
            ("ignore", false),
            ("linux || darwin", true),
            ("(linux && amd64) || windows", true),
            ("linux && (windows || !prod)", false),
            ("prod && !dev // why", true),
            ("go1.18 && !go1.9999x", true),
            ("cgo", false),
            ("", true),
            ("((((", true),
        ] {
            assert_eq!(holds(expression, &tags), value, "{expression}");
        }
        // However deep, it is read to an end.
        holds(&"!".repeat(100_000), &tags);
        holds(&"(".repeat(100_000), &tags);
    }

    #[test]
    fn embedded_files_are_patterns() {
        let text = "package web\n//go:embed static templates/*.html\n//go:embed \"a b\" all:x `y`\nvar f embed.FS\n";
        assert_eq!(read(text, &[]).unwrap().embeds, ["static", "templates/*.html", "a b", "x", "y"]);
        let text = format!("//go:build linux\n\n{text}");
        assert_eq!(read(&text, &[]).unwrap().embeds, Vec::<String>::new());
    }
}
