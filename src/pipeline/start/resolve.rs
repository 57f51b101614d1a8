//! Whether a command can start in a root filesystem: what execve(2) and the programs themselves look up.

use super::{
    arguments::{self, Argument},
    files::{Format, Kind, Place, Root},
};
use crate::{
    project::line::{Line, assignment},
    rootfs::is_for,
    sandbox::Ids,
};

/// How many interpreters may need each other (the kernel's own limit).
const DEEPEST: usize = 4;
/// Folders that a container fills: what lies there is not known.
const FILLED: [&str; 6] = ["/dev/", "/proc/", "/run/", "/sys/", "/tmp/", "/var/tmp/"];
/// Programs that start the command behind their options.
const WRAPPERS: [&str; 7] = ["catatonit", "dumb-init", "env", "nice", "nohup", "setsid", "tini"];

/// Why a command cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No folder of the search path has the command.
    #[error("it has no command `{0}`")]
    NotFound(String),
    /// The command is a path, and nothing is there.
    #[error("it has no file {0}")]
    Missing(String),
    /// The command is a variable.
    #[error("`{0}` sets a variable and is no command")]
    Assignment(String),
    /// The command is a folder.
    #[error("{0} is a folder")]
    Folder(String),
    /// The file is not executable.
    #[error("{0} is not executable")]
    Mode(String),
    /// The user may not execute the file.
    #[error("the user {user} may not execute {path}")]
    Forbidden {
        /// The file.
        path: String,
        /// The user's number.
        user: u32,
    },
    /// A script's interpreter is missing.
    #[error("{script} begins with `#!{line}`, and the image has no {interpreter}")]
    Interpreter {
        /// The script.
        script: String,
        /// Its first line.
        line: String,
        /// What is missing.
        interpreter: String,
    },
    /// A script's first line ends as on Windows.
    #[error("the first line of {script} ends in CR LF, so that its interpreter would be `{interpreter}\\r`")]
    Crlf {
        /// The script.
        script: String,
        /// The interpreter that is meant.
        interpreter: String,
    },
    /// The kernel does not know the file's format.
    #[error("{0} is neither a program nor a script that begins with `#!`")]
    Format(String),
    /// The program is for another processor.
    #[error("{path} is a program for another processor than {arch}")]
    Processor {
        /// The program.
        path: String,
        /// The distribution's name for the image's processor.
        arch: String,
    },
    /// The loader of a program is missing.
    #[error("{path} needs the loader {loader}, which is not there")]
    Loader {
        /// The program.
        path: String,
        /// The loader.
        loader: String,
    },
    /// A file that a program is to run or read is missing.
    #[error("`{program}` would not find {file}")]
    Argument {
        /// The program.
        program: String,
        /// The file, as the command names it.
        file: String,
        /// The option that names it.
        option: Option<String>,
    },
}

/// A process that is to start.
pub(super) struct Starter<'a> {
    /// The root filesystem.
    pub(super) root: &'a Root<'a>,
    /// Its user.
    pub(super) user: &'a Ids,
    /// The search path.
    pub(super) path: &'a str,
    /// The folder that it starts in.
    pub(super) workdir: &'a str,
    /// The distribution's name for the processor.
    pub(super) arch: &'a str,
}

/// A program that was found.
struct Found {
    /// Its path, links not followed, as the kernel gets it.
    path: String,
    /// Where that leads.
    place: Place,
}

impl Starter<'_> {
    /// Checks that the command can start. Returns the words that do what `/usr/bin/env` would do, where the command is a
    /// script for it and the image has none.
    pub(super) fn command(&self, words: &[String]) -> Result<Option<Vec<String>>, Problem> {
        let Some((first, rest)) = words.split_first() else { return Ok(None) };
        // What is mounted when the container starts is not known.
        if is_filled(first) {
            return Ok(None);
        }
        if assignment(first).is_some() && self.program(first).is_err() {
            return Err(Problem::Assignment(first.clone()));
        }
        let found = self.program(first)?;
        let instead = self.executes(&found, DEEPEST)?;
        let name = first.rsplit('/').next().unwrap_or(first);
        if WRAPPERS.contains(&name) {
            let is_own = |word: &&String| word.starts_with('-') || assignment(word).is_some();
            let begin = rest.iter().take_while(is_own).count();
            self.command(&rest[begin..])?;
        }
        for argument in arguments::of(name, rest) {
            self.argument(first, &argument)?;
        }
        Ok(instead.map(|before| before.into_iter().chain([found.path]).chain(rest.iter().cloned()).collect()))
    }

    /// The program that `word` names, as execvp(3) finds it.
    fn program(&self, word: &str) -> Result<Found, Problem> {
        if word.contains('/') {
            let path = self.absolute(word);
            let place = self.root.find(&path).ok_or_else(|| Problem::Missing(path.clone()))?;
            return Ok(Found { path: word.to_owned(), place });
        }
        let mut other = None;
        for folder in self.path.split(':').filter(|folder| folder.starts_with('/')) {
            let path = format!("{}/{word}", folder.trim_end_matches('/'));
            let Some(place) = self.root.find(&path) else { continue };
            match place.node.kind {
                Kind::File(_) => return Ok(Found { path, place }),
                Kind::Plain | Kind::Text(_) => drop(other.get_or_insert(Problem::Mode(path))),
                Kind::Folder | Kind::Link(_) => {}
            }
        }
        Err(other.filter(|_| !word.is_empty()).unwrap_or_else(|| Problem::NotFound(word.to_owned())))
    }

    /// Checks what the kernel does with a program, and with its interpreters. Returns the words that stand for its first
    /// line, where that names `env` and there is none.
    fn executes(&self, found: &Found, depth: usize) -> Result<Option<Vec<String>>, Problem> {
        let Place { node, packaged, folders, .. } = &found.place;
        let path = self.absolute(&found.path);
        let forbidden = || Problem::Forbidden { path: path.clone(), user: self.user.uid };
        if !folders.iter().all(|folder| self.may_execute(folder.mode, folder.uid, folder.gid)) {
            return Err(forbidden());
        }
        let format = match &node.kind {
            Kind::Folder | Kind::Link(_) => return Err(Problem::Folder(path)),
            Kind::Plain | Kind::Text(_) => return Err(Problem::Mode(path)),
            Kind::File(_) if !self.may_execute(node.mode, node.uid, node.gid) => return Err(forbidden()),
            Kind::File(format) => format,
        };
        match format {
            Format::Script(line) if depth > 0 => self.interpreted(&path, line, depth),
            Format::Elf(elf) if !is_for(elf, self.arch) => Err(Problem::Processor { path, arch: self.arch.to_owned() }),
            Format::Elf(elf) => match &elf.interpreter {
                Some(loader) if self.root.find(loader).is_none() => {
                    Err(Problem::Loader { path, loader: loader.clone() })
                }
                _ => Ok(None),
            },
            // What a distribution's package has as a program is one.
            Format::Other | Format::BadElf if *packaged => Ok(None),
            Format::Other | Format::BadElf | Format::Script(_) => Err(Problem::Format(path)),
        }
    }

    /// Checks the interpreter of a script whose first line is `line`.
    fn interpreted(&self, script: &str, line: &str, depth: usize) -> Result<Option<Vec<String>>, Problem> {
        let text = line.trim_start_matches([' ', '\t']);
        let (name, argument) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        if text.ends_with('\r') {
            let interpreter = name.trim_end_matches('\r').to_owned();
            return Err(Problem::Crlf { script: script.to_owned(), interpreter });
        }
        let missing = |interpreter: &str| Problem::Interpreter {
            script: script.to_owned(),
            line: line.to_owned(),
            interpreter: interpreter.to_owned(),
        };
        let path = self.absolute(name);
        let interpreter = self.root.find(&path).map(|place| Found { path: path.clone(), place });
        let is_there = interpreter.is_some();
        if let Some(interpreter) = interpreter {
            // Of the interpreter's own interpreter a script cannot be relieved.
            if self.executes(&interpreter, depth - 1)?.is_some() {
                return Err(missing("/usr/bin/env"));
            }
        }
        if name.rsplit('/').next() != Some("env") {
            return if is_there { Ok(None) } else { Err(missing(name)) };
        }
        let argument = argument.trim();
        let words: Vec<&str> = match argument.strip_prefix("-S").or_else(|| argument.strip_prefix("--split-string=")) {
            Some(split) => split.split_whitespace().collect(),
            // The kernel gives everything behind the interpreter as one word.
            None => vec![argument],
        };
        let plain: Vec<&str> = words.iter().copied().skip_while(|word| assignment(word).is_some()).collect();
        let Some(program) = plain.first().filter(|word| !word.is_empty() && !word.starts_with('-')) else {
            return if is_there { Ok(None) } else { Err(missing(name)) };
        };
        let found = self.program(program).map_err(|_| missing(program))?;
        let env = self.executes(&found, depth - 1)?;
        // Variables would be lost.
        if env.is_some() || (!is_there && plain.len() != words.len()) {
            return Err(missing(name));
        }
        Ok((!is_there).then(|| plain.into_iter().map(str::to_owned).collect()))
    }

    /// Checks a file that is an argument of `program`.
    fn argument(&self, program: &str, argument: &Argument) -> Result<(), Problem> {
        let missing = |file: &str, option: &Option<String>| Problem::Argument {
            program: program.to_owned(),
            file: file.to_owned(),
            option: option.clone(),
        };
        match argument {
            Argument::File { file, option, endings, searched } => {
                let there = |file: &str| self.is_there(file);
                let found = there(file)
                    || endings.iter().any(|ending| there(&format!("{file}{ending}")))
                    || (*searched && !file.contains('/') && self.program(file).is_ok());
                if found { Ok(()) } else { Err(missing(file, option)) }
            }
            Argument::Line(line) => {
                let line = Line::read(line);
                if line.is_compound() {
                    return Ok(());
                }
                for program in line.programs().iter().filter(|program| !program.moved || !program.word.contains('/')) {
                    let found = self.program(&program.word)?;
                    self.executes(&found, DEEPEST)?;
                }
                Ok(())
            }
        }
    }

    /// Whether there is a file or folder, or may be one when the container runs.
    fn is_there(&self, file: &str) -> bool {
        let path = self.absolute(file);
        is_filled(&path) || self.root.find(&path).is_some()
    }

    /// The path from the root.
    pub(super) fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') {
            return path.to_owned();
        }
        let path = path.trim_start_matches("./");
        format!("{}/{path}", self.workdir.trim_end_matches('/'))
    }

    /// Whether the user may execute, or enter, what has this mode and owner.
    fn may_execute(&self, mode: u32, uid: u32, gid: u32) -> bool {
        let user = self.user;
        match user.uid {
            0 => mode & 0o111 != 0,
            own if own == uid => mode & 0o100 != 0,
            _ if user.gid == gid || user.groups.contains(&gid) => mode & 0o010 != 0,
            _ => mode & 0o001 != 0,
        }
    }
}

/// Whether the path is in a folder that a container fills.
fn is_filled(path: &str) -> bool {
    FILLED.iter().any(|folder| path.starts_with(folder))
}
