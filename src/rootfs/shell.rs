//! Just enough of a shell's language to find the simple commands of a maintainer script, which is read instead of run.
//!
//! Assignments and `for` loops over words are followed; of conditions every branch counts, so that a search for a
//! command must see for himself whether it could have any effect.

use std::collections::BTreeMap;

/// More statements than any script has or its loops come to, loops within loops, and bytes in a variable: a script with
/// more is read no further.
const MOST: usize = 20_000;
const DEEPEST: usize = 8;
const LONGEST: usize = 4096;

/// The simple commands of a script, as words, in their order. Quotes are taken off, `$name` is looked up, redirections
/// and comments are dropped; what other expansions (`$(…)`) come to is not known, and stays as it is written.
pub(super) fn commands(script: &str) -> Vec<Vec<String>> {
    let joined = script.replace("\\\n", " ");
    let statements: Vec<&str> = (joined.lines())
        .flat_map(|line| line.split(';'))
        .flat_map(|part| part.split("&&"))
        .flat_map(|part| part.split("||"))
        .map(str::trim)
        .collect();
    let mut reader = Reader { variables: BTreeMap::new(), commands: Vec::new(), left: MOST };
    reader.read(&statements, 0);
    reader.commands
}

struct Reader {
    variables: BTreeMap<String, String>,
    commands: Vec<Vec<String>>,
    /// How many statements more are read.
    left: usize,
}

impl Reader {
    fn read(&mut self, statements: &[&str], depth: usize) {
        let mut at = 0;
        while let Some(&statement) = statements.get(at) {
            at += 1;
            self.left = self.left.saturating_sub(1);
            if self.left == 0 || depth > DEEPEST {
                return;
            }
            let statement = without_keywords(statement);
            let words = words(statement, &self.variables);
            match &words[..] {
                [keyword, variable, of, values @ ..] if keyword == "for" && of == "in" => {
                    let body = &statements[at..at + length_of_loop(&statements[at..])];
                    // An expansion that is no word of its own is split, as a shell would.
                    for value in values.iter().flat_map(|value| value.split_whitespace()) {
                        self.variables.insert(variable.clone(), value.to_owned());
                        self.left = self.left.saturating_sub(1);
                        if self.left == 0 {
                            return;
                        }
                        self.read(body, depth + 1);
                    }
                    at += body.len();
                }
                [only] if is_assignment(only) => {
                    let (name, value) = only.split_once('=').unwrap_or((only, ""));
                    if value.len() <= LONGEST {
                        self.variables.insert(name.to_owned(), value.to_owned());
                    }
                }
                [] => {}
                _ => self.commands.push(words),
            }
        }
    }
}

/// How many statements lie before the `done` of a loop.
fn length_of_loop(statements: &[&str]) -> usize {
    let mut open = 1;
    for (at, statement) in statements.iter().enumerate() {
        match without_keywords(statement).split_whitespace().next() {
            Some("for" | "while" | "until") => open += 1,
            Some("done") => open -= 1,
            _ => {}
        }
        if open == 0 {
            return at;
        }
    }
    statements.len()
}

/// `then update-alternatives …` is a command behind a keyword.
fn without_keywords(statement: &str) -> &str {
    let mut rest = statement.trim();
    loop {
        let (first, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        match first {
            "if" | "then" | "else" | "elif" | "do" | "!" | "{" | "while" | "until" if !behind.is_empty() => {
                // The loop's own keyword is what its end is counted by.
                if matches!(first, "while" | "until") {
                    return rest;
                }
                rest = behind.trim();
            }
            _ => return rest,
        }
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=')
        .is_some_and(|(name, _)| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
}

/// The words of a simple shell command: quotes are taken off, `$name` is looked up, redirections and comments are
/// dropped.
fn words(statement: &str, variables: &BTreeMap<String, String>) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut open = false;
    let mut quote = None;
    let mut chars = statement.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\'' | '"', None) => (quote, open) = (Some(c), true),
            (_, Some(q)) if c == q => quote = None,
            ('$', None | Some('"')) => {
                let mut name = String::new();
                let braced = chars.next_if_eq(&'{').is_some();
                while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                }
                if braced {
                    chars.next_if_eq(&'}');
                }
                word.push_str(variables.get(&name).map_or("", String::as_str));
                open = true;
            }
            ('#', None) if !open => break,
            (c, None) if c.is_whitespace() => {
                if std::mem::take(&mut open) {
                    words.push(std::mem::take(&mut word));
                }
            }
            (c, _) => {
                word.push(c);
                open = true;
            }
        }
    }
    if open {
        words.push(word);
    }
    words.retain(|word| !word.contains('>') && !word.contains('<'));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_variables_and_loops() {
        let script = "#!/bin/sh\nset -e\nbase=/usr/lib/jvm/x\npriority=1711\ntools='java keytool'\n\
                      if [ \"$1\" = configure ]; then\n  for i in $tools; do\n    unset slave\n    \
                      if [ -e $base/$i ]; then a /usr/bin/$i \\\n $i $base/bin/${i} $priority; fi\n  done\nfi\nlast \"a b\" # c\n";
        let found: Vec<_> = commands(script).into_iter().filter(|words| matches!(&*words[0], "a" | "last")).collect();
        assert_eq!(
            found,
            [
                vec!["a", "/usr/bin/java", "java", "/usr/lib/jvm/x/bin/java", "1711"],
                vec!["a", "/usr/bin/keytool", "keytool", "/usr/lib/jvm/x/bin/keytool", "1711"],
                vec!["last", "a b"],
            ]
        );
    }

    #[test]
    fn loops_within_loops_end() {
        let script = "for a in 1 2; do for b in x y; do c $a$b; done; done; d; for";
        let joined: Vec<_> = commands(script).iter().map(|words| words.join(" ")).collect();
        assert_eq!(joined, ["c 1x", "c 1y", "done", "c 2x", "c 2y", "done", "done", "d", "for"]);
        let many = "for a in 1 2 3 4 5 6 7 8 9; do ".repeat(30);
        assert!(commands(&many).len() < 2 * MOST);
        for bomb in [
            "for a in 1\n".repeat(25_000),
            format!("{many}x=1"),
            format!("x=12345678; for i in {}; do x=$x$x; done", "1 ".repeat(40)),
            format!("{}{}", "for a in 1; do :; done; ".repeat(2), "if ".repeat(100_000)),
        ] {
            assert!(commands(&bomb).len() < 2 * MOST);
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

        #[test]
        fn never_panics(script in "(for a in [a-z$ ]{0,6}|do|done|if|[a-z]=[a-z]|\\PC{0,5}|;|\n| ){0,40}") {
            commands(&script);
        }
    }
}
