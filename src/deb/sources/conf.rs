//! As much of apt.conf(5) as it takes to find one switch: a machine whose mirror is a snapshot says there that an old
//! Release is none too old.

use std::path::Path;

use super::{SourcesError, is_no, is_yes, names, read};

/// What the machine below `root` sets the switch `name` (`Acquire::Check-Valid-Until`) to.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn of_machine(root: &Path, name: &str) -> Result<Option<bool>, SourcesError> {
    let folder = root.join("etc/apt/apt.conf.d");
    let parts = names(&folder)?.into_iter().map(|name| folder.join(name));
    let mut found = None;
    for path in parts.chain([root.join("etc/apt/apt.conf")]) {
        if let Some(value) = read(&path)?.and_then(|text| switch(&text, name)) {
            found = Some(value);
        }
    }
    Ok(found)
}

/// The last value of the switch in the text.
fn switch(text: &str, name: &str) -> Option<bool> {
    let mut found = None;
    let mut scopes: Vec<String> = Vec::new();
    let mut words: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some((token, after)) = token(rest) {
        rest = after;
        match token {
            "{" => scopes.push(std::mem::take(&mut words).join("::")),
            "}" => {
                scopes.pop();
                words.clear();
            }
            ";" => {
                if let [key, value] = words[..] {
                    let path: String = scopes.iter().flat_map(|scope| [scope.as_str(), "::"]).chain([key]).collect();
                    if path.eq_ignore_ascii_case(name) {
                        found = match (is_yes(value), is_no(value)) {
                            (true, _) => Some(true),
                            (_, true) => Some(false),
                            _ => found,
                        };
                    }
                }
                words.clear();
            }
            word => words.push(word),
        }
    }
    found
}

/// The first token of the text, without quotes, and what follows it.
fn token(mut text: &str) -> Option<(&str, &str)> {
    loop {
        text = text.trim_start();
        let comment = if text.starts_with("//") || text.starts_with('#') {
            "\n"
        } else if text.starts_with("/*") {
            "*/"
        } else {
            break;
        };
        text = text.split_once(comment)?.1;
    }
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted.split_once('"');
    }
    if text.is_empty() {
        return None;
    }
    let end = text.find(|c: char| c.is_whitespace() || matches!(c, '{' | '}' | ';' | '"')).unwrap_or(text.len());
    Some(text.split_at(end.max(1)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: &str = "Acquire::Check-Valid-Until";

    #[test]
    fn finds_the_switch() {
        for (text, expected) in [
            ("", None),
            ("Acquire::Check-Valid-Until \"false\";", Some(false)),
            ("acquire::check-valid-until yes;", Some(true)),
            ("Acquire {\n  Retries \"3\";\n  Check-Valid-Until \"0\"; // why\n};", Some(false)),
            ("A { B { C \"1\"; }; }; Acquire { Check-Valid-Until true; }", Some(true)),
            ("# Acquire::Check-Valid-Until \"false\";\n/* Acquire::Check-Valid-Until \"false\"; */", None),
            ("Acquire::Check-Valid-Until \"true\";\nAcquire::Check-Valid-Until \"false\";", Some(false)),
            ("Acquire { Check-Valid-Until", None),
            ("Acquire::Check-Valid-Until \"maybe\";", None),
            ("DPkg::Post-Invoke { \"rm -f /x || true\"; };\nAcquire::Check-Valid-Until no;", Some(false)),
        ] {
            assert_eq!(switch(text, NAME), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "([A-Za-z:]{0,4}[{};\"/#* \né]{0,3}){0,12}") {
            let _ = switch(&text, NAME);
        }
    }
}
