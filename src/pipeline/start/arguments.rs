//! The files that a command names for its interpreter: `node FILE`, `python3 FILE`, `sh -c LINE`.

/// An argument that must be right for a command to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Argument {
    /// A file that is run or read.
    File {
        /// Its path.
        file: String,
        /// The option that names it.
        option: Option<String>,
        /// What the interpreter adds to a path at which nothing is.
        endings: &'static [&'static str],
        /// Whether the file is looked for on the search path, too.
        searched: bool,
    },
    /// A line that a shell runs.
    Line(String),
}

/// What is known of an interpreter's options.
struct Interpreter {
    /// Its names, without versions.
    names: &'static [&'static str],
    /// Options whose value is the next word.
    values: &'static [&'static str],
    /// Options after which no file follows: what is run stands in them, or nothing is.
    ends: &'static [&'static str],
    /// Options whose value is a file that must be there: `--env-file=FILE` and `--env-file FILE`.
    files: &'static [&'static str],
    /// Options whose value is the file that is run.
    run: &'static [&'static str],
    /// Whether its first word that is no option is the file that is run.
    positional: bool,
    /// What it adds to a path.
    endings: &'static [&'static str],
}

const NONE: Interpreter =
    Interpreter { names: &[], values: &[], ends: &[], files: &[], run: &[], positional: true, endings: &[] };

/// node(1), python3(1), ruby(1), php(1), perl(1), java(1), lua(1), mono(1), and dotnet's command line.
const INTERPRETERS: &[Interpreter] = &[
    Interpreter {
        names: &["node", "nodejs"],
        values: &[
            "-r",
            "--require",
            "--import",
            "--loader",
            "--experimental-loader",
            "-C",
            "--conditions",
            "--env-file-if-exists",
            "--title",
            "--icu-data-dir",
            "--openssl-config",
            "--disable-warning",
            "--input-type",
            "--max-http-header-size",
            "--unhandled-rejections",
            "--dns-result-order",
            "--diagnostic-dir",
            "--stack-trace-limit",
            "--secure-heap",
            "--inspect-port",
            "--debug-port",
            "--heapsnapshot-signal",
            "--redirect-warnings",
            "--report-dir",
        ],
        ends: &[
            "-e",
            "--eval",
            "-p",
            "--print",
            "-pe",
            "-c",
            "--check",
            "-i",
            "--interactive",
            "--run",
            "--test",
            "-v",
            "--version",
            "-h",
            "--help",
            "-",
        ],
        files: &["--env-file"],
        endings: &[".js", ".json", ".node", ".mjs", ".cjs"],
        ..NONE
    },
    Interpreter {
        names: &["python", "pypy"],
        values: &["-W", "-X", "--check-hash-based-pycs"],
        ends: &["-c", "-m", "-", "-V", "--version", "-h", "--help", "-i"],
        ..NONE
    },
    Interpreter {
        names: &["ruby"],
        values: &["-I", "-r", "-C", "-E", "-F", "-K", "-T", "-W"],
        ends: &["-e", "-S", "-", "-v", "--version", "-h", "--help", "-x", "-C"],
        ..NONE
    },
    Interpreter {
        names: &["php"],
        values: &["-c", "-d", "-t", "-z", "-S"],
        ends: &["-r", "-R", "-B", "-E", "-a", "-i", "-m", "-v", "--version", "-h", "--help", "--", "--rf", "--rc"],
        run: &["-f", "--file", "-F"],
        ..NONE
    },
    Interpreter { names: &["perl"], values: &["-I"], ends: &["-e", "-E", "-S", "-", "-v", "-V", "-x"], ..NONE },
    Interpreter {
        names: &["java"],
        values: &[
            "-cp",
            "-classpath",
            "--class-path",
            "-p",
            "--module-path",
            "--add-modules",
            "--add-opens",
            "--add-exports",
            "--add-reads",
            "--enable-native-access",
            "--upgrade-module-path",
            "-D",
        ],
        ends: &["-m", "--module", "-version", "--version", "-help", "--help"],
        run: &["-jar"],
        positional: false,
        ..NONE
    },
    Interpreter { names: &["lua"], values: &["-l"], ends: &["-e", "-i", "-", "-v"], ..NONE },
    Interpreter { names: &["mono"], values: &["--config"], ends: &["--version", "-V", "--help"], ..NONE },
    Interpreter {
        names: &["dotnet"],
        values: &["--fx-version", "--roll-forward", "--additionalprobingpath", "--additional-deps"],
        ends: &["run", "exec", "test", "watch", "tool", "--info", "--version", "--list-runtimes", "-h", "--help"],
        ..NONE
    },
];

/// Shells, whose options with a value are `-o` and `+o`.
const SHELLS: [&str; 6] = ["ash", "bash", "dash", "ksh", "sh", "zsh"];

/// The arguments of the program `name` that must be right.
pub(super) fn of(name: &str, words: &[String]) -> Vec<Argument> {
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    if SHELLS.contains(&plain) {
        return of_shell(words).into_iter().collect();
    }
    let known = INTERPRETERS.iter().find(|interpreter| interpreter.names.contains(&plain));
    known.map(|known| known.files(words)).unwrap_or_default()
}

fn of_shell(words: &[String]) -> Option<Argument> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--" => return words.next().map(|file| searched(file)),
            "-o" | "+o" => drop(words.next()),
            option if option.starts_with("--") => {}
            option if option.starts_with(['-', '+']) && option.len() > 1 => {
                if option.contains('c') {
                    return words.find(|word| !word.starts_with('-')).map(|line| Argument::Line(line.clone()));
                }
                if option.contains('s') {
                    return None;
                }
            }
            "-" => return None,
            _ => return Some(searched(word)),
        }
    }
    None
}

fn searched(file: &str) -> Argument {
    Argument::File { file: file.to_owned(), option: None, endings: &[], searched: true }
}

impl Interpreter {
    fn files(&self, words: &[String]) -> Vec<Argument> {
        let mut files = Vec::new();
        let file = |file: &str, option: Option<&str>, endings| Argument::File {
            file: file.to_owned(),
            option: option.map(str::to_owned),
            endings,
            searched: false,
        };
        let mut words = words.iter();
        // With a server, a file is a router, which php looks up in its folder.
        let mut serves = false;
        while let Some(word) = words.next() {
            let (name, value) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
            if word == "--" && !self.ends.contains(&"--") {
                files.extend(words.next().filter(|_| self.positional).map(|word| file(word, None, self.endings)));
                break;
            }
            // What Java reads from a file of its own may name anything.
            if self.ends.contains(&word.as_str()) || word.starts_with('@') {
                break;
            }
            if self.files.contains(&name) {
                let value = value.or_else(|| words.next().map(String::as_str));
                files.extend(value.map(|value| file(value, Some(name), &[])));
            } else if self.run.contains(&word.as_str()) {
                files.extend(words.next().map(|value| file(value, Some(name), &[])));
                break;
            } else if self.values.contains(&word.as_str()) {
                serves |= word == "-S" && self.names.contains(&"php");
                words.next();
            } else if !word.starts_with('-') || word == "-" {
                if self.positional && !serves {
                    files.push(file(word, None, self.endings));
                }
                break;
            }
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_commands_are_known() {
        for (command, expected) in [
            ("node server.js --port x", "server.js"),
            ("node --max-old-space-size=100 -r ./x server.js", "server.js"),
            ("node --env-file=.env server.js", "--env-file:.env server.js"),
            ("node --env-file .env server.js", "--env-file:.env server.js"),
            ("node --env-file-if-exists=.env server.js", "server.js"),
            ("node -e x", ""),
            ("node --run start", ""),
            ("node -- a.js", "a.js"),
            ("node", ""),
            ("nodejs bin/www", "bin/www"),
            ("python app.py x", "app.py"),
            ("python3.11 -u -W ignore app.py", "app.py"),
            ("python3 -m flask run", ""),
            ("python3 -c x", ""),
            ("python3 -", ""),
            ("ruby -Ilib -r ./x app.rb", "app.rb"),
            ("ruby3.1 app.rb", "app.rb"),
            ("ruby -e x", ""),
            ("ruby -S puma", ""),
            ("php server.php", "server.php"),
            ("php -f server.php", "-f:server.php"),
            ("php8.2 -d a=b server.php", "server.php"),
            ("php -S 0.0.0.0:80 -t public index.php", ""),
            ("php artisan serve", "artisan"),
            ("perl -Ilib app.pl daemon", "app.pl"),
            ("java -jar app.jar", "-jar:app.jar"),
            ("java -Xmx1g -cp x -jar app.jar", "-jar:app.jar"),
            ("java Main", ""),
            ("java @java.args", ""),
            ("lua5.4 main.lua", "main.lua"),
            ("mono app.exe", "app.exe"),
            ("dotnet app.dll", "app.dll"),
            ("dotnet run", ""),
            ("sh start.sh", "start.sh?"),
            ("sh -e start.sh", "start.sh?"),
            ("bash -o pipefail start.sh", "start.sh?"),
            ("sh -c x", "`x`"),
            ("sh -ec x", "`x`"),
            ("bash -lc x", "`x`"),
            ("sh -s x", ""),
            ("sh", ""),
            ("gunicorn app:app", ""),
        ] {
            let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
            let shown: Vec<_> = of(&words[0], &words[1..])
                .into_iter()
                .map(|argument| match argument {
                    Argument::File { file, option: Some(option), .. } => format!("{option}:{file}"),
                    Argument::File { file, searched: true, .. } => format!("{file}?"),
                    Argument::File { file, .. } => file,
                    Argument::Line(line) => format!("`{line}`"),
                })
                .collect();
            assert_eq!(shown.join(" "), expected, "{command}");
        }
    }
}
