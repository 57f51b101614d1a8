//! `Procfile`: the commands of an app's processes, as Heroku and its successors read it
//! (<https://devcenter.heroku.com/articles/procfile>).

use std::{collections::BTreeMap, fmt};

use super::{
    LARGEST, ProjectError,
    line::{Line, Plain},
};
use crate::{app_folder::AppFolder, near::nearest, recipe::Recipe};

/// The file's name.
const FILE: &str = "Procfile";
/// The process that answers requests, which is started unless another one is chosen.
const WEB: &str = "web";
/// The process that runs once before each deployment.
const RELEASE: &str = "release";
/// The variable for the port, and its value where the container sets none.
const PORT: (&str, &str) = ("PORT", "8080");
/// How many scripts may call each other.
const DEEPEST: usize = 8;
/// Interpreters of files whose names the recipes choose themselves: what a Procfile names is not in the image.
const RENAMED: [&str; 3] = ["dotnet", "java", "mono"];

/// The process that an image starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Process {
    /// Its name, with the place where it stands.
    pub(super) name: String,
    /// Its command.
    pub(super) words: Vec<String>,
    /// Variables that it sets.
    pub(super) env: BTreeMap<String, String>,
    /// Whether its command is one for a shell.
    pub(super) needs_shell: bool,
}

/// What a Procfile says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// The process that the image starts. `None` leaves it to the recipe.
    pub(super) process: Option<Process>,
    /// What the user should know, each a line.
    pub(super) notes: Vec<String>,
}

/// The circumstances under which a Procfile is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The process that the user chooses.
    pub(super) process: Option<&'a str>,
    /// Variables that the image has anyway.
    pub(super) env: &'a BTreeMap<String, String>,
}

/// Reads the command of the process that is wanted, or of `web`, or else of the only process.
pub(super) fn read(app: &AppFolder, recipe: &Recipe, wanted: Wanted<'_>) -> Result<Read, ProjectError> {
    let missing = |known| ProjectError::Process {
        folder: app.path().to_owned(),
        process: wanted.process.unwrap_or_default().to_owned(),
        known,
    };
    let Some(text) = app.read(FILE, LARGEST)? else {
        return if wanted.process.is_some() { Err(missing(Vec::new())) } else { Ok(Read::default()) };
    };
    let processes = parse(&text);
    let names = || processes.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
    let mut notes = Vec::new();
    let release = processes.iter().find(|(name, _)| *name == RELEASE && wanted.process != Some(RELEASE));
    notes.extend(release.map(|(_, command)| {
        format!("release in the Procfile is not run by a build: run `{command}` in the image before each deployment")
    }));
    let starts = || processes.iter().filter(|(name, _)| *name != RELEASE);
    let find = |name: &str| processes.iter().find(|(known, _)| *known == name);
    let chosen = match wanted.process {
        Some(name) => Some(find(name).ok_or_else(|| missing(names()))?),
        None => find(WEB).or_else(|| starts().next().filter(|_| starts().count() == 1)),
    };
    let Some((name, command)) = chosen else {
        let known: Vec<_> = starts().map(|(name, _)| *name).collect();
        if !known.is_empty() {
            notes.push(format!("the Procfile has no process web: choose one with --process ({})", known.join(", ")));
        }
        return Ok(Read { process: None, notes });
    };
    let place = format!("{name} in the {FILE}");
    let mistake = |found| ProjectError::Procfile { file: app.path().join(FILE), process: (*name).to_owned(), found };
    let process = Process::of(&place, command, app, recipe).map_err(mistake)?;
    let process = process.map(|process| process.with_port(command, wanted, &mut notes));
    if let Some(program) = process.as_ref().and_then(|process| process.renamed(recipe)) {
        notes.push(format!(
            "{name} in the Procfile (`{command}`) is not used: the recipe starts what it made with {program} itself; --cmd \
             sets another command"
        ));
        return Ok(Read { process: None, notes });
    }
    Ok(Read { process, notes })
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Process {
    /// The process `name` with this command. `None` where the command runs the start script of the recipe's language.
    ///
    /// # Errors
    /// What is wrong with the command.
    pub(super) fn of(name: &str, command: &str, app: &AppFolder, recipe: &Recipe) -> Result<Option<Self>, String> {
        let mut line = command.to_owned();
        let mut env = BTreeMap::new();
        for _ in 0..DEEPEST {
            let Some(plain) = Plain::read(&line) else { break };
            env.extend(plain.env);
            let first = plain.words.first().map_or("", String::as_str);
            match recipe.language.filter(|language| language.is_manager(first)) {
                Some(language) => match language.script(app, &plain.words) {
                    Some(script) if !script.is_start => line = script.line,
                    // A platform's own server of an app, in `vendor/bin`, is no script: the recipe has one in its place.
                    None if first.contains('/') => return Ok(None),
                    None if !plain.words.iter().skip(1).all(|word| matches!(word.as_str(), "run" | "start")) => {
                        return Err(format!("`{command}`, which runs no script of the project"));
                    }
                    _ => return Ok(None),
                },
                None => {
                    let needs_shell = matches!(first, "sh" | "/bin/sh");
                    return Ok(Some(Self { name: name.to_owned(), words: plain.words, env, needs_shell }));
                }
            }
        }
        let read = Line::read(&line);
        if let Some(open) = read.open() {
            return Err(format!("`{command}`: {open} is not closed"));
        }
        let words = ["/bin/sh", "-c", &read.for_shell()].map(str::to_owned).into();
        Ok(Some(Self { name: name.to_owned(), words, env, needs_shell: true }))
    }

    /// Gives the variable for the port a value, where the command reads it and nothing sets it.
    fn with_port(mut self, command: &str, wanted: Wanted<'_>, notes: &mut Vec<String>) -> Self {
        let (port, value) = PORT;
        let script = self.words.last().filter(|_| self.needs_shell);
        let needs = script.is_some_and(|script| Line::read(script).needs(port));
        if needs && !wanted.env.contains_key(port) && !self.env.contains_key(port) {
            self.env.insert(port.to_owned(), value.to_owned());
            let name = &self.name;
            notes.push(format!("{name} (`{command}`) needs {port}: it is {value} where the container sets none"));
        }
        self
    }

    /// The interpreter that the process starts, where the recipe names the interpreter's file itself.
    fn renamed(&self, recipe: &Recipe) -> Option<&'static str> {
        let own = recipe.app.entrypoint.first().or_else(|| recipe.app.cmd.first()).filter(|_| recipe.app.is_made)?;
        let own = own.rsplit('/').next().unwrap_or(own);
        let known = RENAMED.into_iter().find(|known| *known == own)?;
        let programs = match self.needs_shell {
            true => Line::read(self.words.last()?).programs().into_iter().map(|program| program.word).collect(),
            false => self.words.first().cloned().into_iter().collect::<Vec<_>>(),
        };
        programs.iter().any(|word| word.rsplit('/').next() == Some(known)).then_some(known)
    }
}

/// The hint for a process that a Procfile does not have.
pub(super) fn hint(process: &str, known: &[String]) -> String {
    let near = nearest(process, known.iter().map(String::as_str));
    match (near, known) {
        (_, []) => format!("write a Procfile with a line `{process}: COMMAND`, or set the command with --cmd"),
        (Some(near), _) => format!("--process {near}"),
        (None, _) => format!("known: {}", known.join(", ")),
    }
}

/// Reads the processes: `name: command`, one per line.
fn parse(text: &str) -> Vec<(&str, &str)> {
    let text = text.trim_start_matches('\u{feff}');
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let process = |line| <str>::split_once(line, ':').map(|(name, command)| (name.trim(), command.trim()));
    lines.filter_map(process).filter(|(name, command)| is_name(name) && !command.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::Explain as _, recipe::RecipeSearch};

    fn folder(procfile: &str, more: &[(&str, &str)]) -> (tempfile::TempDir, AppFolder) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(dir.path().join(FILE), procfile).expect("a file");
        for (name, text) in more {
            std::fs::write(dir.path().join(name), text).expect("a file");
        }
        let folder = AppFolder::open(dir.path()).expect("a folder");
        (dir, folder)
    }

    fn read_as(recipe: &str, procfile: &str, process: Option<&str>, env: &[&str]) -> Result<Read, ProjectError> {
        let package = r#"{"scripts": {"start": "node a.js", "serve": "A=1 node b.js", "deep": "npm run serve",
                          "loop": "npm run loop", "web": "serve -l $PORT"}}"#;
        let (_dir, folder) = folder(procfile, &[("package.json", package)]);
        let recipe = RecipeSearch::default().find(recipe).expect("a recipe");
        let env = env.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect();
        read(&folder, &recipe, Wanted { process, env: &env })
    }

    /// The command with its variables; `-` where the recipe's counts.
    fn shown(read: &Read) -> String {
        let Some(process) = &read.process else { return "-".to_owned() };
        let env = process.env.iter().map(|(name, value)| format!("{name}={value}"));
        let words =
            process.words.iter().map(|word| if word.contains(' ') { format!("[{word}]") } else { word.clone() });
        env.chain(words).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn processes_are_lines() {
        let text = "# what runs\nweb: node server.js --port 80\nworker:python3 w.py\n\nno process\n: x\nrelease:\n";
        assert_eq!(parse(text), [("web", "node server.js --port 80"), ("worker", "python3 w.py")]);
        assert_eq!(parse("\u{feff}web: a\r\nb: c:d\r\n"), [("web", "a"), ("b", "c:d")]);
    }

    #[test]
    fn commands_are_read_as_a_shell_would_run_them() {
        for (recipe, procfile, expected) in [
            // Plain commands.
            ("python", "web: python app.py", "python app.py"),
            ("python", "web: python3 -m http.server", "python3 -m http.server"),
            ("python", "web:gunicorn app:app", "gunicorn app:app"),
            ("python", "web: gunicorn 'app:create_app()'", "gunicorn app:create_app()"),
            (
                "python",
                "web: gunicorn \"app:create_app()\" --bind 0.0.0.0:80",
                "gunicorn app:create_app() --bind 0.0.0.0:80",
            ),
            ("python", "web: uvicorn main:app --host 0.0.0.0", "uvicorn main:app --host 0.0.0.0"),
            ("python", "web: exec python app.py", "python app.py"),
            ("python", "web: poetry run gunicorn app:app", "gunicorn app:app"),
            ("python", "web: uv run python app.py", "python app.py"),
            ("python", "web: pipenv run flask run", "flask run"),
            ("node", "web: node server.js", "node server.js"),
            (
                "node",
                "web: node --max-old-space-size=100 server.js --port 80",
                "node --max-old-space-size=100 server.js --port 80",
            ),
            ("ruby", "web: bundle exec puma -C config/puma.rb", "bundle exec puma -C config/puma.rb"),
            ("ruby", "web: bin/rails server -b 0.0.0.0", "bin/rails server -b 0.0.0.0"),
            ("php", "web: php -S 0.0.0.0:8080 -t public", "php -S 0.0.0.0:8080 -t public"),
            ("php", "web: vendor/bin/heroku-php-apache2 public/", "-"),
            ("perl", "web: perl app.pl daemon", "perl app.pl daemon"),
            // Variables before a command.
            ("python", "web: WEB_CONCURRENCY=2 gunicorn app:app", "WEB_CONCURRENCY=2 gunicorn app:app"),
            ("python", "web: A=1 B='x y' python app.py", "A=1 B=x y python app.py"),
            ("python", "web: env A=1 python app.py", "A=1 python app.py"),
            ("node", "web: NODE_ENV=production node server.js", "NODE_ENV=production node server.js"),
            // What needs a shell.
            (
                "python",
                "web: gunicorn -b 0.0.0.0:$PORT app:app",
                "PORT=8080 /bin/sh -c [exec gunicorn -b 0.0.0.0:$PORT app:app]",
            ),
            ("python", "web: gunicorn -b :${PORT} app:app", "PORT=8080 /bin/sh -c [exec gunicorn -b :${PORT} app:app]"),
            (
                "python",
                "web: gunicorn -b :${PORT:-3000} app:app",
                "/bin/sh -c [exec gunicorn -b :${PORT:-3000} app:app]",
            ),
            (
                "python",
                "web: PORT=5000 gunicorn -b :$PORT app:app",
                "PORT=8080 /bin/sh -c [PORT=5000 exec gunicorn -b :$PORT app:app]",
            ),
            ("python", "web: gunicorn -w $WORKERS app:app", "/bin/sh -c [exec gunicorn -w $WORKERS app:app]"),
            (
                "python",
                "web: gunicorn -b \"0.0.0.0:$PORT\" x",
                "PORT=8080 /bin/sh -c [exec gunicorn -b \"0.0.0.0:$PORT\" x]",
            ),
            ("python", "web: echo '$PORT' && python x", "/bin/sh -c [echo '$PORT' && exec python x]"),
            (
                "python",
                "web: python manage.py migrate && gunicorn x.wsgi",
                "/bin/sh -c [python manage.py migrate && exec gunicorn x.wsgi]",
            ),
            ("python", "web: cd src && python app.py", "/bin/sh -c [cd src && exec python app.py]"),
            ("python", "web: python a.py; python b.py", "/bin/sh -c [python a.py; exec python b.py]"),
            ("python", "web: python a.py | cat", "/bin/sh -c [python a.py | cat]"),
            ("python", "web: python a.py & python b.py", "/bin/sh -c [python a.py & python b.py]"),
            ("python", "web: python a.py 2>&1", "/bin/sh -c [exec python a.py 2>&1]"),
            ("python", "web: gunicorn $(cat opts) x", "/bin/sh -c [exec gunicorn $(cat opts) x]"),
            ("python", "web: export A=1; python a.py", "/bin/sh -c [export A=1; exec python a.py]"),
            ("node", "web: node build/*.js", "/bin/sh -c [exec node build/*.js]"),
            (
                "ruby",
                "web: bundle exec puma -p ${PORT:-3000} -e ${RACK_ENV:-production}",
                "/bin/sh -c [exec bundle exec puma -p ${PORT:-3000} -e ${RACK_ENV:-production}]",
            ),
            ("ruby", "web: bundle exec rails s -p $PORT", "PORT=8080 /bin/sh -c [exec bundle exec rails s -p $PORT]"),
            ("static", "web: ./server -p $PORT", "PORT=8080 /bin/sh -c [exec ./server -p $PORT]"),
            ("python", "web: sh -c 'exec gunicorn -b :$PORT x'", "PORT=8080 sh -c [exec gunicorn -b :$PORT x]"),
            ("python", "web: sh start.sh", "sh start.sh"),
            // Package managers.
            ("node", "web: npm start", "-"),
            ("node", "web: npm run start", "-"),
            ("node", "web: yarn start", "-"),
            ("node", "web: yarn", "-"),
            ("node", "web: npm run serve", "A=1 node b.js"),
            ("node", "web: npm run deep", "A=1 node b.js"),
            ("node", "web: yarn serve", "A=1 node b.js"),
            ("node", "web: pnpm run serve", "A=1 node b.js"),
            ("node", "web: npm run web", "PORT=8080 /bin/sh -c [exec serve -l $PORT]"),
            ("node", "web: npx serve -l 80", "serve -l 80"),
            ("node", "web: B=2 npm run serve", "A=1 B=2 node b.js"),
            ("node", "web: npm run", "-"),
            ("python", "web: npm start", "npm start"),
            // Compiled programs.
            ("go", "web: bin/server -x", "bin/server -x"),
            ("rust", "web: ./target/release/app", "./target/release/app"),
            ("go", "web: bin/server -p $PORT", "PORT=8080 /bin/sh -c [exec bin/server -p $PORT]"),
            ("gcc", "web: ./two", "./two"),
            ("java", "web: java $JAVA_OPTS -jar target/*.jar", "-"),
            ("java", "web: java -jar target/app.jar", "-"),
            ("java", "web: ./run.sh", "./run.sh"),
            ("dotnet", "web: cd bin && dotnet App.dll --urls http://*:$PORT", "-"),
            ("deno", "web: deno run -A main.ts", "deno run -A main.ts"),
            // Which process.
            ("python", "worker: python w.py", "python w.py"),
            ("python", "worker: python w.py\nrelease: python m.py", "python w.py"),
            ("python", "a: python a.py\nb: python b.py", "-"),
            ("python", "a: python a.py\nweb: python b.py\nweb: python c.py", "python b.py"),
            ("python", "release: python m.py", "-"),
            ("python", "", "-"),
            ("python", "Web: x\nWEB: y", "-"),
        ] {
            let read = read_as(recipe, procfile, None, &[]).unwrap_or_else(|error| panic!("{procfile}: {error}"));
            assert_eq!(shown(&read), expected, "{recipe}: {procfile}");
        }
    }

    #[test]
    fn a_process_is_chosen() {
        let procfile = "web: python app.py\nworker: celery -A x worker\nrelease: python manage.py migrate\n";
        let of = |name| read_as("python", procfile, Some(name), &[]);
        assert_eq!(shown(&of("worker").expect("a process")), "celery -A x worker");
        let release = of("release").expect("a process");
        assert_eq!((shown(&release), release.notes.len()), ("python manage.py migrate".to_owned(), 0));
        for (procfile, name, message, hint) in [
            (procfile, "workers", "the Procfile of APP has no process workers", "--process worker"),
            (procfile, "clock", "the Procfile of APP has no process clock", "known: web, worker, release"),
            (
                "",
                "worker",
                "the Procfile of APP has no process worker",
                "write a Procfile with a line `worker: COMMAND`, or set the command with --cmd",
            ),
        ] {
            let error = read_as("python", procfile, Some(name), &[]).expect_err(name);
            let ProjectError::Process { folder, .. } = &error else { panic!("{error}") };
            let shown = error.to_string().replace(&folder.display().to_string(), "APP");
            assert_eq!((shown.as_str(), error.hint().as_deref()), (message, Some(hint)));
        }
    }

    #[test]
    fn what_the_user_should_know_is_told() {
        for (procfile, env, notes) in [
            ("web: python app.py", &[][..], &[][..]),
            (
                "web: gunicorn -b :$PORT x",
                &[],
                &["web in the Procfile (`gunicorn -b :$PORT x`) needs PORT: it is 8080 where the container sets none"],
            ),
            ("web: gunicorn -b :$PORT x", &["PORT"], &[]),
            (
                "web: python app.py\nrelease: python manage.py migrate",
                &[],
                &[
                    "release in the Procfile is not run by a build: run `python manage.py migrate` in the image before each deployment",
                ],
            ),
            ("a: x\nb: y", &[], &["the Procfile has no process web: choose one with --process (a, b)"]),
        ] {
            assert_eq!(read_as("python", procfile, None, env).expect("read").notes, notes, "{procfile}");
        }
        let java = read_as("java", "web: java -jar x.jar", None, &[]).expect("read");
        assert_eq!(
            java.notes,
            [
                "web in the Procfile (`java -jar x.jar`) is not used: the recipe starts what it made with java itself; --cmd sets another command"
            ]
        );
    }

    #[test]
    fn what_no_shell_could_read_is_an_error() {
        let error = read_as("node", "web: npm run nothing", None, &[]).expect_err("no such script");
        assert!(error.to_string().ends_with("found `npm run nothing`, which runs no script of the project"), "{error}");
        for (procfile, found) in [
            ("web: python 'app.py", "`python 'app.py`: `'` is not closed"),
            ("web: python \"app.py $A", "`python \"app.py $A`: `\"` is not closed"),
            ("web: a $(b", "`a $(b`: `(` is not closed"),
        ] {
            let error = read_as("python", procfile, None, &[]).expect_err(procfile);
            let shown = error.to_string();
            assert!(shown.ends_with(&format!("expected a command for web, found {found}")), "{shown}");
        }
    }
}
