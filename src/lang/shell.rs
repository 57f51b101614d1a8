//! Shell scripts: their first line says which shell runs them.

use super::{Facts, Language, LanguageError, Source, Start};

/// The shell, without a tool that installs anything.
#[derive(Debug)]
pub(super) struct Shell;

/// The scripts that start an app, the likelier first.
const USUAL: [&str; 6] = ["start.sh", "run.sh", "main.sh", "app.sh", "server.sh", "entrypoint.sh"];

impl Language for Shell {
    fn name(&self) -> &'static str {
        "shell"
    }

    /// Only one script, or one with a usual name, is known to start the app; `{options}` is its shell.
    fn read(&self, source: &Source<'_>) -> Result<Facts, LanguageError> {
        let mut scripts: Vec<&str> =
            source.files.paths().filter(|path| !path.contains('/') && path.ends_with(".sh")).collect();
        let usual = USUAL.into_iter().find(|name| scripts.contains(name));
        let only = scripts.pop().filter(|_| scripts.is_empty());
        let Some(entry) = usual.or(only) else {
            return Ok(Facts::default());
        };
        let text = source.read(entry)?.unwrap_or_default();
        let shell = if is_bash(&text) { "bash" } else { "sh" };
        let roles = if shell == "bash" { vec!["bash".to_owned()] } else { Vec::new() };
        let start = Start { options: vec![shell.to_owned()], entry: entry.to_owned(), args: Vec::new() };
        Ok(Facts { start: source.starts.then_some(start), roles, ..Facts::default() })
    }
}

/// Whether the first line of the script `text` names bash.
fn is_bash(text: &str) -> bool {
    let line = text.lines().next().and_then(|line| line.strip_prefix("#!")).unwrap_or_default();
    line.split([' ', '/', '\t']).any(|word| word.trim() == "bash")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::testing::Draft;

    #[test]
    fn the_first_line_names_the_shell() {
        for (files, expected) in [
            (&[("start.sh", "echo hi\n"), ("lib.sh", "")][..], Some("sh start.sh")),
            (&[("hello.sh", "#!/bin/sh -e\n")], Some("sh hello.sh")),
            (&[("hello.sh", "#!/usr/bin/env bash\r\n")], Some("bash hello.sh")),
            (&[("hello.sh", "#!/bin/bash -eu\n")], Some("bash hello.sh")),
            (&[("a.sh", ""), ("b.sh", "")], None),
        ] {
            let facts = Draft::new(files).read(&Shell).unwrap();
            let told = facts.start.map(|start| format!("{} {}", start.options.join(" "), start.entry));
            assert_eq!(told.as_deref(), expected, "{files:?}");
            assert_eq!(facts.roles.is_empty(), expected.is_none_or(|words| words.starts_with("sh ")), "{files:?}");
        }
    }
}
