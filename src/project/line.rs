//! Lines for a shell (POSIX.1-2017, "Shell Command Language"), read just far enough to know what they start and whether
//! they need a shell. Nothing is expanded or run.

use std::{collections::BTreeMap, ops::Range};

use crate::values;

/// Words that a shell runs itself, or that begin a compound command.
const OWN: [&str; 48] = [
    "!", ".", ":", "[", "alias", "bg", "break", "case", "cd", "command", "continue", "do", "done", "echo", "elif",
    "else", "esac", "eval", "exit", "export", "false", "fg", "fi", "for", "getopts", "hash", "if", "jobs", "kill",
    "local", "printf", "pwd", "read", "readonly", "return", "set", "shift", "source", "test", "then", "times", "trap",
    "true", "type", "ulimit", "umask", "until", "while",
];

/// Programs that only start another one, with what they have installed. An image has what they installed, and not them.
const WRAPPERS: [(&str, &str); 6] =
    [("poetry", "run"), ("pipenv", "run"), ("uv", "run"), ("pdm", "run"), ("rye", "run"), ("hatch", "run")];

/// A line, taken apart into its simple commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    text: &'a str,
    commands: Vec<Simple>,
    /// Whether it has what only a shell can do with its commands: a pipe, a subshell, the background, an alternative.
    compound: bool,
    /// The quote or bracket that is not closed.
    open: Option<&'static str>,
}

/// A simple command: words, with what stands between it and the command before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Simple {
    words: Vec<Word>,
}

/// A word as it stands in the line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    /// Its place in the line.
    place: Range<usize>,
    /// Its text, without quotes.
    text: String,
    /// Whether the text is what the shell makes of it: nothing in it is expanded.
    plain: bool,
    /// Whether it redirects input or output.
    redirects: bool,
}

/// The program of a simple command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// Its name or path.
    pub(crate) word: String,
    /// Its place in the line.
    pub(crate) place: Range<usize>,
    /// Whether the line has gone to another folder before.
    pub(crate) moved: bool,
}

/// A command without a shell: variables, and words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plain {
    /// The variables that are set before the command.
    pub(crate) env: BTreeMap<String, String>,
    /// The words.
    pub(crate) words: Vec<String>,
}

impl Plain {
    /// Reads a line that needs no shell: words, quotes, and variables before them. `None` for any other.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let mut words = values::split(line).ok()?;
        let mut env = BTreeMap::new();
        loop {
            let first = words.first()?;
            let assigned = assignment(first).map(|(name, value)| (name.to_owned(), value.to_owned()));
            let sets_more = || words.get(1).is_some_and(|next| !next.starts_with('-'));
            match assigned {
                Some((name, value)) => drop(env.insert(name, value)),
                None if first == "exec" || (first == "env" && sets_more()) => {}
                None => break,
            }
            words.remove(0);
        }
        let begins = |(first, second): &(&str, &str)| words.len() > 2 && words[0] == *first && words[1] == *second;
        if WRAPPERS.iter().any(begins) && !words[2].starts_with('-') {
            words.drain(..2);
        }
        let is_own = OWN.contains(&words[0].as_str()) && words[0] != "[";
        (!is_own).then_some(Self { env, words })
    }
}

impl<'a> Line<'a> {
    /// Takes the line apart.
    pub(crate) fn read(text: &'a str) -> Self {
        Reader { line: Self { text, commands: vec![Simple::default()], compound: false, open: None }, word: None }
            .read()
    }

    /// The quote or bracket that is not closed: no shell can read the line.
    pub(crate) fn open(&self) -> Option<&'static str> {
        self.open
    }

    /// The line for `sh -c`, with which the last program takes the shell's place: so it gets the container's signals.
    pub(crate) fn for_shell(&self) -> String {
        let last = self.commands.iter().rev().find(|command| !command.words.is_empty());
        let last = last.filter(|command| !self.compound && !command.is_exec());
        match last.and_then(Simple::program).filter(|word| !OWN.contains(&word.text.as_str())) {
            Some(word) => {
                let (before, after) = self.text.split_at(word.place.start);
                format!("{before}exec {after}")
            }
            None => self.text.to_owned(),
        }
    }

    /// Whether it has a pipe, a subshell, the background or an alternative, so that not every command must be run.
    pub(crate) fn is_compound(&self) -> bool {
        self.compound
    }

    /// The programs that it names, in their order; without what a shell runs itself, and without words that it expands.
    pub(crate) fn programs(&self) -> Vec<Program> {
        let mut moved = false;
        let mut programs = Vec::new();
        for command in &self.commands {
            let Some(word) = command.program() else { continue };
            moved |= word.text == "cd";
            if word.plain && !OWN.contains(&word.text.as_str()) && !word.text.contains(['{', '}']) {
                programs.push(Program { word: word.text.clone(), place: word.place.clone(), moved });
            }
        }
        programs
    }

    /// Whether it reads the variable `name` without a value of its own for the case that there is none.
    pub(crate) fn needs(&self, name: &str) -> bool {
        let mut rest = self.text;
        let mut single = false;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '\'' => single = !single,
                '\\' if !single => rest = rest.get(1..).unwrap_or_default(),
                '$' if !single => {
                    let (braced, inner) = rest.strip_prefix('{').map_or((false, rest), |inner| (true, inner));
                    let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
                    let bare = !braced || inner[end..].starts_with('}');
                    if &inner[..end] == name && bare {
                        return true;
                    }
                }
                _ => {}
            }
        }
        false
    }
}

impl Simple {
    /// The first word that is neither an assignment, nor a redirection, nor `exec`.
    fn program(&self) -> Option<&Word> {
        self.words.iter().find(|word| !word.redirects && assignment(&word.text).is_none() && word.text != "exec")
    }

    /// Whether it begins with `exec`.
    fn is_exec(&self) -> bool {
        let first = self.words.iter().find(|word| !word.redirects && assignment(&word.text).is_none());
        first.is_some_and(|word| word.text == "exec")
    }
}

/// `NAME=VALUE`.
pub(crate) fn assignment(word: &str) -> Option<(&str, &str)> {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    word.split_once('=').filter(|(name, _)| is_name(name))
}

struct Reader<'a> {
    line: Line<'a>,
    word: Option<Word>,
}

impl<'a> Reader<'a> {
    fn read(mut self) -> Line<'a> {
        let text = self.line.text;
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            let next = at + c.len_utf8();
            let rest = &text[next..];
            at = match c {
                '\'' | '"' | '`' => {
                    let length = quoted(rest, c);
                    if length == rest.len() {
                        self.line.open = Some(match c {
                            '\'' => "`'`",
                            '"' => "`\"`",
                            _ => "a backquote",
                        });
                    }
                    let inner = &rest[..length];
                    self.add(at, (next + length + 1).min(text.len()), inner, c == '\'' || (c == '"' && is_plain(inner)))
                }
                '\\' => {
                    let length = rest.chars().next().map_or(0, char::len_utf8);
                    self.add(at, next + length, &rest[..length], true)
                }
                '$' => {
                    let length = match rest.chars().next() {
                        Some('(') => balanced(rest, '(', ')').ok_or("`(`"),
                        Some('{') => balanced(rest, '{', '}').ok_or("`{`"),
                        _ => Ok(0),
                    };
                    let length = length.unwrap_or_else(|open| {
                        self.line.open = Some(open);
                        rest.len()
                    });
                    self.add(at, next + length, "$", false)
                }
                '#' if self.word.is_none() => break,
                // `2>&1` and `&>x` are no commands in the background.
                '>' | '<' => self.redirect(at, next, rest),
                '&' if rest.starts_with('>') => self.redirect(at, next, rest),
                '&' if rest.starts_with('&') => self.end(next + 1),
                ';' | '\n' => self.end(next),
                '&' | '|' | '(' | ')' => {
                    self.line.compound = true;
                    self.end(next + usize::from(c == '|' && rest.starts_with('|')))
                }
                c if c.is_whitespace() => {
                    self.end_word();
                    next
                }
                c => {
                    let special =
                        matches!(c, '*' | '?' | '[' | '~') && self.word.as_ref().is_none_or(|word| word.plain);
                    self.add(at, next, &text[at..next], !special)
                }
            };
        }
        self.end(text.len());
        self.line
    }

    /// Adds a piece to the word, or begins one.
    fn add(&mut self, from: usize, to: usize, piece: &str, plain: bool) -> usize {
        let word =
            self.word.get_or_insert(Word { place: from..to, text: String::new(), plain: true, redirects: false });
        word.place.end = to;
        word.text.push_str(piece);
        word.plain &= plain;
        to
    }

    /// Begins a redirection, whose target may stand apart from it. A number before it belongs to it.
    fn redirect(&mut self, from: usize, next: usize, rest: &str) -> usize {
        let is_number = |word: &Word| word.text.bytes().all(|b| b.is_ascii_digit());
        if !self.word.as_ref().is_some_and(is_number) {
            self.end_word();
        }
        let length = rest.len() - rest.trim_start_matches(['>', '&', '<', ' ', '\t']).len();
        let to = self.add(from, next + length, "", false);
        self.word.iter_mut().for_each(|word| word.redirects = true);
        to
    }

    fn end_word(&mut self) {
        if let (Some(word), Some(command)) = (self.word.take(), self.line.commands.last_mut()) {
            command.words.push(word);
        }
    }

    fn end(&mut self, next: usize) -> usize {
        self.end_word();
        self.line.commands.push(Simple::default());
        next
    }
}

/// Whether nothing in double quotes is expanded.
fn is_plain(inner: &str) -> bool {
    !inner.contains(['$', '`', '\\'])
}

/// The length of what is in quotes, up to the closing one.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '\'' => escaped = true,
            c if c == quote => return at,
            _ => {}
        }
    }
    rest.len()
}

/// The length of what is in brackets, with them. `None` where they are not closed.
fn balanced(rest: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0usize;
    for (at, c) in rest.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return Some(at + c.len_utf8());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_need_no_shell_are_words_and_variables() {
        for (line, env, words) in [
            ("node server.js", "", "node server.js"),
            ("  python  app.py ", "", "python app.py"),
            ("A=1 B='x y' node 'a b.js'", "A=1 B=x y", "node|a b.js"),
            ("exec gunicorn app:app", "", "gunicorn app:app"),
            ("env A=1 gunicorn app:app", "A=1", "gunicorn app:app"),
            ("env gunicorn app:app", "", "gunicorn app:app"),
            ("env -i gunicorn", "", "env -i gunicorn"),
            ("WEB_CONCURRENCY=2 gunicorn app:app", "WEB_CONCURRENCY=2", "gunicorn app:app"),
            ("poetry run gunicorn app:app", "", "gunicorn app:app"),
            ("uv run --frozen app.py", "", "uv run --frozen app.py"),
            ("pipenv run python x.py", "", "python x.py"),
            ("bundle exec puma -C config/puma.rb", "", "bundle exec puma -C config/puma.rb"),
            ("1A=2 x", "", "1A=2 x"),
            (r#"java -Dx="a b" -jar app.jar"#, "", "java|-Dx=a b|-jar|app.jar"),
        ] {
            let plain = Plain::read(line).unwrap_or_else(|| panic!("{line}"));
            let set: Vec<_> = plain.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let separator = if words.contains('|') { "|" } else { " " };
            assert_eq!((set.join(" "), plain.words.join(separator)), (env.to_owned(), words.to_owned()), "{line}");
        }
        for line in [
            "node $X",
            "a && b",
            "a | b",
            "a; b",
            "a > b",
            "`a`",
            "$(a)",
            "a *.js",
            "cd x",
            "export A=1",
            "",
            "A=1",
            "'open",
            "a &",
            "(a)",
            "~/x b",
            "echo x",
            "exec",
            "A=1 exec",
        ] {
            assert_eq!(Plain::read(line), None, "{line}");
        }
    }

    #[test]
    fn the_last_program_takes_the_shells_place() {
        for (line, expected) in [
            ("gunicorn -b :$PORT app:app", "exec gunicorn -b :$PORT app:app"),
            ("A=1 gunicorn -b :$PORT app:app", "A=1 exec gunicorn -b :$PORT app:app"),
            ("cd x && gunicorn app:app", "cd x && exec gunicorn app:app"),
            ("python manage.py migrate; gunicorn x", "python manage.py migrate; exec gunicorn x"),
            ("a && b && c", "a && b && exec c"),
            ("exec node $X", "exec node $X"),
            ("a && exec b $X", "a && exec b $X"),
            ("node x | tee log", "node x | tee log"),
            ("node x || exit 1", "node x || exit 1"),
            ("node x &", "node x &"),
            ("(cd x; node y)", "(cd x; node y)"),
            ("cd x && (a; b)", "cd x && (a; b)"),
            ("node x > log 2>&1", "exec node x > log 2>&1"),
            ("node x &> log", "exec node x &> log"),
            ("cd x", "cd x"),
            ("if true; then a; fi", "if true; then a; fi"),
            ("\"$JAVA_HOME/bin/java\" -jar x", "exec \"$JAVA_HOME/bin/java\" -jar x"),
            ("echo 'a && b' && c", "echo 'a && b' && exec c"),
            ("a $(b && c) d", "exec a $(b && c) d"),
            ("a ${B:-x y} # c && d", "exec a ${B:-x y} # c && d"),
            ("> log a $B", "> log exec a $B"),
            ("a>log 2>&1 && b <in", "a>log 2>&1 && exec b <in"),
        ] {
            let found = Line::read(line).for_shell();
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn programs_of_a_line_are_known() {
        for (line, expected) in [
            ("exec gunicorn -b :$PORT app:app", "gunicorn"),
            ("cd x && ./run $A", "./run*"),
            ("export A=1; node x.js", "node"),
            ("a | b | c", "a b c"),
            ("A=$B python x", "python"),
            ("$A b", ""),
            ("\"a b\" c", "a b"),
            ("test -f x && echo y || z", "z"),
            ("for i in 1 2; do x; done", ""),
            ("a 2>&1 | b", "a b"),
            ("a;b;;c", "a b c"),
        ] {
            let programs = Line::read(line).programs();
            let shown: Vec<_> =
                programs.iter().map(|p| format!("{}{}", p.word, if p.moved { "*" } else { "" })).collect();
            assert_eq!(shown.join(" "), expected, "{line}");
            for program in programs.iter().filter(|program| !program.word.contains(' ')) {
                assert_eq!(line[program.place.clone()], program.word, "{line}");
            }
        }
    }

    #[test]
    fn variables_without_a_value_of_their_own_are_needed() {
        for (line, expected) in [
            ("a -p $PORT", true),
            ("a -p ${PORT}", true),
            ("a -p ${PORT:-3000}", false),
            ("a -p ${PORT-3000}", false),
            ("a -p \"$PORT\"", true),
            ("a -p '$PORT'", false),
            ("a -p \\$PORT", false),
            ("a -p $PORTS", false),
            ("a :$PORT/x", true),
            ("a", false),
            ("a $", false),
            ("a \\", false),
        ] {
            assert_eq!(Line::read(line).needs("PORT"), expected, "{line}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

        #[test]
        fn never_panics(line in "([a-z$ ]{0,6}|[a-zA-Z]=|&&|[|;&<>(){}'\"`\\\\#$]|\\PC{0,5}){0,20}") {
            let read = Line::read(&line);
            let _ = (read.for_shell(), read.programs(), read.needs("PORT"), Plain::read(&line));
        }
    }
}
