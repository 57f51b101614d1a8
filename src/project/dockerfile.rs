//! `Dockerfile`: the command and ports of its last stage, where nothing else tells how the app starts
//! (<https://docs.docker.com/reference/dockerfile/>). Nothing of it is run.

use super::{
    LARGEST, ProjectError,
    line::{Line, Plain},
    procfile::Process,
};
use crate::{app_folder::AppFolder, listing::Listing, recipe::Recipe, values::Port};

/// The file's name.
const FILE: &str = "Dockerfile";

/// What an app is started with, according to its Dockerfile.
#[derive(Debug)]
pub(super) struct Found {
    /// The command.
    pub(super) process: Process,
    /// The ports of the last stage.
    pub(super) ports: Vec<Port>,
    /// A line for the user.
    pub(super) note: String,
}

/// The start that the app's Dockerfile describes, where it makes sense for an image of `recipe`: an interpreter of the
/// recipe, a file of the app, or a program that its steps may install.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn start(app: &AppFolder, recipe: &Recipe, files: &Listing) -> Result<Option<Found>, ProjectError> {
    let Some(text) = app.read(FILE, LARGEST)? else { return Ok(None) };
    let stage = Stage::parse(&text);
    let Some(plain) = stage.command() else { return Ok(None) };
    let name = format!("the command of the {FILE}");
    let first = plain.words[0].as_str();
    let process = match recipe.language.filter(|language| language.is_manager(first)) {
        // The language has looked at its start script before.
        Some(language) => match language.script(app, &plain.words).filter(|script| !script.is_start) {
            Some(script) => Process::of(&name, &script.line, app, recipe).ok().flatten(),
            None => None,
        },
        None => {
            let needs_shell = first == "/bin/sh";
            Some(Process { name, words: plain.words, env: plain.env, needs_shell })
        }
    };
    Ok(process.filter(|process| fits(process, recipe, files)).map(|process| {
        let note = format!("the image starts with the command of the {FILE}: {}", process.words.join(" "));
        Found { process, ports: stage.ports, note }
    }))
}

/// Whether an image of `recipe` may have the program.
fn fits(process: &Process, recipe: &Recipe, files: &Listing) -> bool {
    let in_line = |line: &String| Line::read(line).programs().into_iter().next_back().map(|program| program.word);
    let program =
        if process.needs_shell { process.words.last().and_then(in_line) } else { process.words.first().cloned() };
    let Some(program) = program else { return false };
    let own = recipe.app.cmd.fixed();
    let interpreter = own.first().map_or("", |word| word.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.'));
    let name = program.rsplit('/').next().unwrap_or(&program);
    let is_interpreter =
        !interpreter.is_empty() && name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.') == interpreter;
    let is_file = files.follow(program.trim_start_matches("./")).is_some();
    let installed = !program.contains('/') && recipe.steps.iter().any(|step| step.installs);
    is_interpreter || is_file || installed
}

/// What the last stage of a Dockerfile says of the container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stage {
    /// `ENTRYPOINT`.
    entrypoint: Option<Words>,
    /// `CMD`.
    cmd: Option<Words>,
    /// `WORKDIR`.
    workdir: String,
    /// `EXPOSE`.
    pub(super) ports: Vec<Port>,
}

/// A command in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Words {
    /// A JSON list of words.
    Exec(Vec<String>),
    /// A line for `/bin/sh -c`.
    Shell(String),
}

impl Stage {
    /// Reads the text of a Dockerfile: its last stage.
    pub(super) fn parse(text: &str) -> Self {
        let mut stage = Self::default();
        for line in instructions(text) {
            let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
            let rest = rest.trim();
            match name.to_ascii_uppercase().as_str() {
                "FROM" => stage = Self::default(),
                // Docker drops an inherited CMD where ENTRYPOINT is set; within one stage both count.
                "ENTRYPOINT" => stage.entrypoint = Words::parse(rest),
                "CMD" => stage.cmd = Words::parse(rest),
                "WORKDIR" => stage.workdir = join(&stage.workdir, rest),
                "EXPOSE" => stage.ports.extend(rest.split_whitespace().filter_map(|port| port.parse::<Port>().ok())),
                _ => {}
            }
        }
        stage
    }

    /// The command, with paths in its work folder made relative to that; for a shell, a word behind `/bin/sh -c`. `None`
    /// where it has none.
    pub(super) fn command(&self) -> Option<Plain> {
        let words = match (&self.entrypoint, &self.cmd) {
            // A line for a shell takes no further words.
            (Some(line @ Words::Shell(_)), _) | (None, Some(line)) => line.clone(),
            (Some(Words::Exec(first)), Some(Words::Exec(more))) => Words::Exec([first.clone(), more.clone()].concat()),
            (Some(Words::Exec(first)), _) => Words::Exec(first.clone()),
            (None, None) => return None,
        };
        let mut plain = match words {
            Words::Exec(words) => Plain { words, ..Plain::default() },
            Words::Shell(line) => Plain::read(&line).unwrap_or_else(|| Plain {
                words: ["/bin/sh", "-c", &Line::read(&line).for_shell()].map(str::to_owned).into(),
                ..Plain::default()
            }),
        };
        let folder = format!("{}/", self.workdir.trim_end_matches('/'));
        let inside = |word: &String| word.strip_prefix(&folder).map(str::to_owned).unwrap_or_else(|| word.clone());
        if folder.len() > 1 {
            plain.words = plain.words.iter().map(inside).collect();
        }
        Some(plain).filter(|plain| plain.words.first().is_some_and(|word| !word.is_empty()))
    }
}

impl Words {
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        let list = text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten();
        match list {
            Some(words) => Some(Self::Exec(words)).filter(|words| *words != Self::Exec(Vec::new())),
            None => Some(Self::Shell(text.to_owned())),
        }
    }
}

/// The instructions, each a line: without comments, continued lines joined.
fn instructions(text: &str) -> Vec<String> {
    let escape = text.lines().take_while(|line| line.trim_start().starts_with('#'));
    let escape = escape.filter_map(|line| line.trim_start_matches(['#', ' ']).strip_prefix("escape=")).next();
    let escape = if escape.is_some_and(|escape| escape.trim() == "`") { '`' } else { '\\' };
    let mut instructions = Vec::new();
    let mut open = String::new();
    // The end of a here-document.
    let mut until: Option<String> = None;
    for line in text.trim_start_matches('\u{feff}').lines() {
        if let Some(end) = &until {
            if line.trim_start_matches('\t') == end {
                until = None;
            }
            continue;
        }
        let line = line.trim();
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        if let Some(continued) = line.strip_suffix(escape) {
            open.push_str(continued);
            continue;
        }
        open.push_str(line);
        until = heredoc(&open);
        instructions.push(std::mem::take(&mut open));
    }
    instructions.extend(Some(open).filter(|open| !open.trim().is_empty()));
    instructions
}

/// The word that ends the here-document of `RUN` or `COPY`, where one begins.
fn heredoc(instruction: &str) -> Option<String> {
    let name = instruction.split_whitespace().next()?.to_ascii_uppercase();
    let (_, rest) = instruction.split_once("<<").filter(|_| matches!(name.as_str(), "RUN" | "COPY" | "ADD"))?;
    let word = rest.trim_start_matches('-').split_whitespace().next()?.trim_matches(['"', '\'']);
    let is_word = word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !word.is_empty();
    is_word.then(|| word.to_owned())
}

fn join(folder: &str, path: &str) -> String {
    let path = path.trim_matches(['"', '\'']);
    if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", folder.trim_end_matches('/')) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stage_counts() {
        for (text, expected) in [
            ("FROM node\nCMD [\"node\", \"server.js\"]", "node server.js"),
            ("from node\ncmd node server.js", "node server.js"),
            ("FROM a AS build\nCMD x\nFROM b\nCMD [\"y\"]", "y"),
            ("FROM a\nCMD x\nFROM b\n", "-"),
            ("FROM a\nENTRYPOINT [\"python\"]\nCMD [\"app.py\"]", "python app.py"),
            ("FROM a\nENTRYPOINT python app.py\nCMD [\"x\"]", "python app.py"),
            ("FROM a\nENTRYPOINT [\"python\", \"a.py\"]\nCMD x y", "python a.py"),
            ("FROM a\nCMD a\nCMD b", "b"),
            ("FROM a\nWORKDIR /usr/src/app\nCMD [\"node\", \"/usr/src/app/bin/www\"]", "node bin/www"),
            ("FROM a\nWORKDIR /usr\nWORKDIR src\nCMD [\"node\", \"/usr/src/x.js\"]", "node x.js"),
            ("FROM a\nCMD [\"node\", \\\n  # which file\n  \"a.js\"]", "node a.js"),
            ("# escape=`\nFROM a\nCMD node `\n a.js", "node a.js"),
            ("FROM a\nCMD gunicorn -b :$PORT app:app", "/bin/sh -c [exec gunicorn -b :$PORT app:app]"),
            ("FROM a\nCMD A=1 node a.js", "A=1 node a.js"),
            ("FROM a\nCMD ['node', 'a.js']", "/bin/sh -c [exec ['node', 'a.js']]"),
            ("FROM a\nCMD []", "-"),
            ("FROM a\nCMD", "-"),
            ("FROM a\nRUN <<EOF\nCMD x\nEOF\nCMD y", "y"),
            ("FROM a\nHEALTHCHECK CMD curl x\nCMD y", "y"),
            ("FROM a\nONBUILD CMD x", "-"),
            ("", "-"),
        ] {
            let plain = Stage::parse(text).command();
            let shown = plain.map(|plain| {
                let env = plain.env.iter().map(|(name, value)| format!("{name}={value}"));
                let words = plain.words.iter().map(|w| if w.contains(' ') { format!("[{w}]") } else { w.clone() });
                env.chain(words).collect::<Vec<_>>().join(" ")
            });
            assert_eq!(shown.as_deref().unwrap_or("-"), expected, "{text}");
        }
    }

    #[test]
    fn ports_are_read() {
        let ports = Stage::parse("FROM a\nEXPOSE 80 443/tcp\nEXPOSE 53/udp $PORT 1-3").ports;
        assert_eq!(ports.iter().map(ToString::to_string).collect::<Vec<_>>(), ["80/tcp", "443/tcp", "53/udp"]);
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

        #[test]
        fn never_panics(text in "(FROM |CMD |ENTRYPOINT |WORKDIR |RUN <<|[\\[\\]\"a-z/$&]|\\\\\n|\n|\\PC{0,5}){0,30}") {
            Stage::parse(&text).command();
        }
    }
}
