//! What to do when an image cannot start.

use super::{
    files::Own,
    resolve::{Problem, Starter},
};
use crate::{
    app_folder::AppFolder,
    lang::Script,
    near::nearest,
    plan::Plan,
    project::{AppFile, FileKind, line::Plain},
    recipe::Recipe,
    values::Distribution,
};

/// Commands that are not called as the package that has them: the command, Debian's package, Alpine's.
const PACKAGES: [(&str, &str, &str); 24] = [
    ("ash", "busybox", "busybox-binsh"),
    ("bash", "bash", "bash"),
    ("celery", "python3-celery", "py3-celery"),
    ("curl", "curl", "curl"),
    ("dash", "dash", "dash"),
    ("dumb-init", "dumb-init", "dumb-init"),
    ("env", "coreutils", "coreutils-env"),
    ("envsubst", "gettext-base", "gettext-envsubst"),
    ("ffmpeg", "ffmpeg", "ffmpeg"),
    ("git", "git", "git"),
    ("java", "default-jre-headless", "openjdk21-jre-headless"),
    ("make", "make", "make"),
    ("nginx", "nginx-light", "nginx"),
    ("node", "nodejs", "nodejs"),
    ("perl", "perl-base", "perl"),
    ("php", "php-cli", "php84"),
    ("python", "python3", "python3"),
    ("python3", "python3", "python3"),
    ("redis-server", "redis-server", "redis"),
    ("ruby", "ruby", "ruby"),
    ("sh", "dash", "busybox-binsh"),
    ("supervisord", "supervisor", "supervisor"),
    ("tini", "tini", "tini"),
    ("wget", "wget", "wget"),
];

/// What a hint depends on.
pub(super) struct Context<'a> {
    pub(super) plan: &'a Plan,
    pub(super) recipe: &'a Recipe,
    pub(super) folder: &'a AppFolder,
    pub(super) starter: &'a Starter<'a>,
    /// The command.
    pub(super) words: &'a [String],
}

impl Context<'_> {
    /// The next thing to do about `problem`.
    pub(super) fn of(&self, problem: &Problem) -> Option<String> {
        Some(match problem {
            Problem::NotFound(word) => return self.of_command(word),
            Problem::Assignment(word) => {
                let rest: Vec<&str> =
                    self.words.iter().skip_while(|word| word.contains('=')).map(String::as_str).collect();
                let set = self.words.iter().take_while(|word| word.contains('='));
                let set: Vec<_> = set.map(|word| format!("--env {}", quoted(word))).collect();
                if rest.is_empty() {
                    return Some(format!("{} sets a variable; add the command with --cmd", set.join(" ")));
                }
                let _ = word;
                format!("{} --cmd {}", set.join(" "), quoted(&rest.join(" ")))
            }
            Problem::Missing(path) => match self.left_out(path) {
                Some(file) => format!("the app has it, and it is left out of the image: --include {file}"),
                None if self.recipe.app.is_made => {
                    "the image holds only what the build made: name a program of that with --cmd".to_owned()
                }
                None => return self.near_file(path),
            },
            Problem::Folder(_) => "name a program in it with --cmd".to_owned(),
            Problem::Mode(path) => match self.in_app(path).filter(|file| self.folder.is_file(file)) {
                Some(file) => format!("chmod +x {}", quoted(&self.folder.path().join(file).display().to_string())),
                None => "--cmd names a program, or an interpreter with the file".to_owned(),
            },
            Problem::Forbidden { .. } => "--user root, or a file that every user may execute".to_owned(),
            Problem::Interpreter { interpreter, .. } => {
                let name = interpreter.rsplit('/').next().unwrap_or(interpreter);
                match self.package(name) {
                    Some(package) => format!("-p {package}"),
                    None => {
                        format!("add the package that brings {interpreter} with -p, or correct the script's first line")
                    }
                }
            }
            Problem::Crlf { script, .. } => match self.in_app(script) {
                Some(file) => {
                    format!(r"sed -i 's/\r$//' {}", quoted(&self.folder.path().join(file).display().to_string()))
                }
                None => "give the script the line ends of Unix (dos2unix)".to_owned(),
            },
            Problem::Format(path) => match self.in_app(path) {
                Some(file) => format!("begin {file} with the line `#!/bin/sh`, or with that of another interpreter"),
                None => return None,
            },
            Problem::Processor { .. } => {
                "build it for the image's platform, or name the platform with --platform".to_owned()
            }
            Problem::Loader { loader, .. } if loader.contains("ld-musl-") => "--base alpine has that loader".to_owned(),
            Problem::Loader { .. } => {
                "--base debian has that loader with -p libc6, or link the program statically".to_owned()
            }
            Problem::Argument { file, option, .. } => return Some(self.of_argument(file, option.as_deref())),
        })
    }

    fn of_command(&self, word: &str) -> Option<String> {
        let plain = |script: Script| {
            let Plain { env, words } = Plain::read(&script.line)?;
            let env: String =
                env.iter().map(|(name, value)| format!("--env {} ", quoted(&format!("{name}={value}")))).collect();
            Some(format!("{env}--cmd {}", quoted(&words.join(" "))))
        };
        let own = self.words.iter().position(|other| other == word).map_or(&[][..], |at| &self.words[at..]);
        if let Some(language) = self.recipe.language.filter(|language| language.is_manager(word)) {
            let script = language.script(self.folder, own).and_then(plain);
            // A package manager starts scripts through a shell.
            let shell = if self.plan.base.name() == "debian" { " -p dash" } else { "" };
            let runs = own.iter().skip(1).any(|word| !matches!(word.as_str(), "run" | "start"));
            return Some(match script {
                Some(command) => format!("{command} starts what {word} would"),
                None if runs => "name a program, or an interpreter with a file of the app, with --cmd".to_owned(),
                None => format!("-p {word}{shell}"),
            });
        }
        if let Some(Plain { words, .. }) = Plain::read(&own.join(" ")).filter(|read| read.words.len() < own.len()) {
            return Some(format!("--cmd {}", quoted(&words.join(" "))));
        }
        if let Some(file) = self.starter.root.own.as_ref().and_then(|own| self.own_file(own, word)) {
            let interpreter = self.recipe.app.cmd.fixed().into_iter().next();
            let command = match interpreter.filter(|_| file.kind.mode() & 0o111 == 0) {
                Some(interpreter) => format!("{interpreter} {}", own.join(" ")),
                None => format!("./{}", own.join(" ")),
            };
            return Some(format!("--cmd {}", quoted(&command)));
        }
        if let Some(package) = self.package(word).filter(|_| word != "celery") {
            return Some(format!("-p {package}"));
        }
        let programs: Vec<String> =
            self.starter.path.split(':').flat_map(|folder| self.starter.root.programs(folder)).collect();
        let is_near = |near: &&str| strsim::levenshtein(word, near) <= word.chars().count().div_ceil(4);
        if let Some(near) = nearest(word, programs.iter().map(String::as_str)).filter(is_near) {
            return Some(format!("did you mean {near}?"));
        }
        Some(if self.recipe.steps.iter().any(|step| step.installs) {
            format!("add the package that has {word} to the app's dependencies, or a package of the base with -p")
        } else {
            format!("add the package that has {word} with -p, or set another command with --cmd")
        })
    }

    fn of_argument(&self, file: &str, option: Option<&str>) -> String {
        let path = self.starter.absolute(file);
        match (self.left_out(&path), option) {
            (Some(file), Some("--env-file")) => format!(
                "--include {file} takes it into the image, secrets with it; or --env-file-if-exists in the command, and the \
                 variables when the container starts"
            ),
            (None, Some("--env-file")) => "--env-file-if-exists in the command goes on without it".to_owned(),
            (Some(file), _) => format!("the app has it, and it is left out of the image: --include {file}"),
            (None, _) => self.near_file(&path).unwrap_or_else(|| "name a file of the app with --cmd".to_owned()),
        }
    }

    /// The app's file of this name in the image.
    fn own_file<'o>(&self, own: &'o Own<'_>, name: &str) -> Option<&'o AppFile> {
        let path = self.starter.absolute(name);
        let file = own.files.get(path.trim_start_matches('/')).copied()?;
        matches!(file.kind, FileKind::File { .. }).then_some(file)
    }

    /// The base's package that has the command.
    fn package(&self, command: &str) -> Option<&'static str> {
        let (_, debian, alpine) = PACKAGES.into_iter().find(|(known, _, _)| *known == command)?;
        let has_debian = matches!(self.plan.base.distribution, Distribution::Debian(_));
        Some(if has_debian { debian } else { alpine })
    }

    /// The path in the app's folder, which may not be in the image.
    fn in_app(&self, path: &str) -> Option<String> {
        let inside = path.strip_prefix(self.starter.workdir.trim_end_matches('/'))?.strip_prefix('/')?;
        let inside = inside.trim_start_matches("./");
        (!inside.is_empty()).then(|| inside.to_owned())
    }

    /// The file of the app at `path`, which its image does not have.
    fn left_out(&self, path: &str) -> Option<String> {
        self.in_app(path).filter(|file| !self.recipe.app.is_made && self.folder.is_file(file))
    }

    /// The file of the image that has nearly this path.
    fn near_file(&self, path: &str) -> Option<String> {
        let file = self.in_app(path)?;
        let own = self.starter.root.own.as_ref()?;
        let prefix = format!("{}/", self.starter.workdir.trim_matches('/'));
        let files = own.files.keys().filter_map(|path| path.strip_prefix(&prefix));
        nearest(&file, files).map(|near| format!("did you mean {near}?"))
    }
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
