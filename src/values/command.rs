//! A command, which users write on one line and images hold as a list of words.

use std::{fmt, str::FromStr};

/// The error of a line that is not a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// A quotation or an escape that does not end.
    #[error("expected a command, found `{line}`: its {what} is not closed")]
    Open {
        /// The line.
        line: String,
        /// The part that is not closed.
        what: &'static str,
    },
    /// A character that only a shell understands.
    #[error(
        "expected a command and its arguments, found `{line}`: `{character}` is for a shell; with one in the image, \
         that is [\"/bin/sh\", \"-c\", \"…\"]"
    )]
    Shell {
        /// The line.
        line: String,
        /// The first character that has a meaning to a shell.
        character: char,
    },
    /// An empty line, or a list that is not one of strings.
    #[error("expected a command such as `node server.js` or [\"node\", \"server.js\"], found `{line}`")]
    Malformed {
        /// The line.
        line: String,
    },
}

/// A command and its arguments, as in `Config.Cmd` and `Config.Entrypoint`. It is written as a JSON list of strings or
/// as a plain line. In a line, quotes and `\` work as in a shell; any other syntax of a shell is refused, because the
/// image may have no shell. The empty list is a command, too: it removes the recipe's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Command(pub Vec<String>);

impl FromStr for Command {
    type Err = CommandError;

    fn from_str(line: &str) -> Result<Self, CommandError> {
        let malformed = || CommandError::Malformed { line: line.to_owned() };
        let words = if line.trim_start().starts_with('[') {
            serde_json::from_str(line).map_err(|_| malformed())?
        } else {
            let words = split(line)?;
            if words.is_empty() {
                return Err(malformed());
            }
            words
        };
        if words.iter().any(|word| word.contains('\0')) || words.first().is_some_and(String::is_empty) {
            return Err(malformed());
        }
        Ok(Self(words))
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", serde_json::Value::from(self.0.as_slice()))
    }
}

/// Splits `line` into words by the shell's rules for quoting (POSIX.1-2024, Shell Command Language, 2.2).
///
/// # Errors
/// When a shell would do more than remove quotes: a pipe, a variable, a pattern, a comment.
pub(crate) fn split(line: &str) -> Result<Vec<String>, CommandError> {
    let open = |what| CommandError::Open { line: line.to_owned(), what };
    let shell = |character| CommandError::Shell { line: line.to_owned(), character };
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or_else(|| open("`'`"))? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or_else(|| open("`\"`"))? {
                        '"' => break,
                        c @ ('$' | '`') => return Err(shell(c)),
                        '\\' => match chars.next().ok_or_else(|| open("`\"`"))? {
                            '\n' => {}
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => match chars.next().ok_or_else(|| open("last `\\`"))? {
                '\n' => {}
                c => word.get_or_insert_default().push(c),
            },
            c @ ('|' | '&' | ';' | '<' | '>' | '(' | ')' | '$' | '`' | '*' | '?' | '[') => {
                return Err(shell(c));
            }
            c @ ('#' | '~') if word.is_none() => return Err(shell(c)),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_commands() {
        for (line, words) in [
            ("node server.js", &["node", "server.js"][..]),
            ("  node\t--title='a  b' \"c d\"e ''", &["node", "--title=a  b", "c de", ""]),
            (r#"a\ b "x\"y\n" 'q\'"#, &["a b", "x\"y\\n", "q\\"]),
            ("a#b c~d", &["a#b", "c~d"]),
            (r#"["node", "x y.js", "$HOME"]"#, &["node", "x y.js", "$HOME"]),
            ("[]", &[]),
        ] {
            assert_eq!(
                line.parse::<Command>().map(|command| command.0),
                Ok(words.iter().map(|w| (*w).to_owned()).collect()),
                "{line}"
            );
        }
    }

    #[test]
    fn refuses_what_needs_a_shell_or_is_no_command() {
        for line in [
            "",
            "  ",
            "a && b",
            "a | b",
            "a > b",
            "$HOME/x",
            "echo \"$HOME\"",
            "`id`",
            "*.js",
            "a # b",
            "~/x",
            "'a",
            "\"a",
            "a\\",
            "['a']",
            "[1]",
            "[\"\"]",
            "\"\" x",
            "[\"a\\u0000\"]",
        ] {
            assert!(line.parse::<Command>().is_err(), "{line}");
        }
    }

    #[test]
    fn prints_what_it_reads() {
        let command = Command(vec!["node".into(), "a \"b\".js".into()]);
        assert_eq!(command.to_string().parse(), Ok(command));
    }
}
