//! How a Node app starts: from `package.json`, and from the files that Node would look for.

use std::{collections::BTreeMap, path::Path};

use super::{
    super::{LARGEST, LanguageError, Source, Start},
    manifest::Package,
};
use crate::{listing::FileKind, values};

/// The files that are looked for when `package.json` names none.
pub(super) const DEFAULTS: [&str; 9] =
    ["index.js", "index.mjs", "index.cjs", "server.js", "server.mjs", "server.cjs", "app.js", "app.mjs", "app.cjs"];

/// Options of node whose value is the next word (node(1)). Others have no value, or have it after a `=`.
const WITH_VALUE: [&str; 17] = [
    "-r",
    "--require",
    "--import",
    "--loader",
    "--experimental-loader",
    "-C",
    "--conditions",
    "--env-file",
    "--env-file-if-exists",
    "--title",
    "--icu-data-dir",
    "--openssl-config",
    "--disable-warning",
    "--input-type",
    "--max-http-header-size",
    "--unhandled-rejections",
    "--dns-result-order",
];

/// Options with which node does not run a file as in production.
const NOT_PLAIN: [&str; 14] = [
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
];

/// The words for a file that exists and is left out of the image.
const LEFT_OUT: &str = "left out of the image";

/// A command `node [OPTION…] FILE [ARG…]`, with the variables that are set before it.
#[derive(Debug, Default, PartialEq, Eq)]
struct NodeCommand {
    env: BTreeMap<String, String>,
    start: Start,
}

impl NodeCommand {
    /// Reads the start script, when it is a plain `node FILE`: without shell syntax, and with nothing that runs before
    /// or after.
    fn parse(script: &str) -> Option<Self> {
        let mut words = values::split(script).ok()?.into_iter().peekable();
        let mut command = Self::default();
        loop {
            let word = words.next()?;
            match word.as_str() {
                "node" => break,
                // `cross-env A=1 node …` is `A=1 node …` for Windows. It is a development dependency.
                "exec" | "cross-env" => {}
                _ => {
                    let (name, value) = word.split_once('=').filter(|(name, _)| is_variable(name))?;
                    command.env.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        while let Some(option) = words.next_if(|word| word.starts_with('-')) {
            let name = option.split('=').next().unwrap_or(&option);
            if option == "--" {
                break;
            }
            if option == "-"
                || NOT_PLAIN.contains(&name)
                || name.starts_with("--watch")
                || name.starts_with("--inspect")
            {
                return None;
            }
            let value = if WITH_VALUE.contains(&option.as_str()) { Some(words.next()?) } else { None };
            command.start.options.push(option);
            command.start.options.extend(value);
        }
        command.start.entry = words.next().filter(|file| !file.is_empty())?;
        command.start.args = words.collect();
        Some(command)
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// How the app starts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) start: Start,
    pub(super) env: BTreeMap<String, String>,
    pub(super) warnings: Vec<String>,
}

/// The app, as Node reads it.
pub(super) struct App<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) package: &'a Package,
}

impl App<'_> {
    /// Finds how the app starts: with `main` of `package.json`; else with its start script, when that is a plain `node
    /// FILE`; else with the first of the usual files that exists.
    ///
    /// When `main` and the start script run the same file, the script's options, arguments and variables count. When
    /// they run different files, `main` wins, as documented, and a warning names the other file, which `npm start`
    /// would run. So a user who meant that file learns it at the build, and not from an image that ends at once.
    pub(super) fn entry(&self) -> Result<Entry, LanguageError> {
        let main = self.package.main.as_ref().map(|named| {
            self.main(self.package, "")
                .ok_or_else(|| format!("main in package.json ({named}: {})", self.absence(named)))
        });
        let command = self.package.start.as_ref().map(|script| self.start_script(script));
        match (main, command) {
            (Some(Ok(main)), Some(Ok(NodeCommand { start, .. }))) if main != start.entry => {
                let other = start.entry;
                let warning = format!(
                    "package.json names {main} as main, but its start script runs {other}: the image runs {main}; \
                     --cmd \"node {other}\" makes it run the other"
                );
                Ok(Entry { warnings: vec![warning], ..Entry::of(main) })
            }
            (_, Some(Ok(NodeCommand { env, start }))) => Ok(Entry { start, env, warnings: Vec::new() }),
            (Some(Ok(main)), _) => Ok(Entry::of(main)),
            (main, command) => self.default_entry(
                [main.and_then(Result::err), command.and_then(Result::err)].into_iter().flatten().collect(),
            ),
        }
    }

    /// The start script's command, with its file resolved; or the reason why it does not start the app.
    fn start_script(&self, script: &str) -> Result<NodeCommand, String> {
        let mut command = NodeCommand::parse(script)
            .ok_or_else(|| format!("its start script (`{script}` is not a plain `node FILE`)"))?;
        let named = &command.start.entry;
        command.start.entry = self
            .script_file(named)
            .ok_or_else(|| format!("its start script (node {named}: {})", self.absence(named)))?;
        Ok(command)
    }

    fn default_entry(&self, mut looked: Vec<String>) -> Result<Entry, LanguageError> {
        if let Some(file) = DEFAULTS.into_iter().find(|file| self.is_file(file)) {
            let warnings = looked.iter().map(|why| format!("the image runs {file}, not {why}")).collect();
            return Ok(Entry { warnings, ..Entry::of(file.to_owned()) });
        }
        let left_out = |file: &&str| self.is_left_out(file);
        looked.extend(DEFAULTS.into_iter().filter(left_out).map(|file| format!("{file} ({LEFT_OUT})")));
        looked.push("index.js, server.js, app.js (or .mjs, .cjs)".to_owned());
        let script = self.package.start.as_deref().and_then(NodeCommand::parse).map(|command| command.start.entry);
        let named = [self.package.main.clone(), script].into_iter().flatten().filter_map(|file| normal(&file));
        let left_out = named.chain(DEFAULTS.map(str::to_owned)).find(|file| self.is_left_out(file));
        let hint = match left_out {
            Some(file) => format!("--include {file} wins over .dockerignore"),
            None if self.package.builds => "`npm run build` first, if that makes it; or --cmd \"node FILE\"".to_owned(),
            None => "name it as main in package.json, or give --cmd \"node FILE\"".to_owned(),
        };
        Err(LanguageError::NoEntry { looked, hint })
    }

    /// Whether `path`, relative to the app's folder, is a file there that is left out of the image.
    fn is_left_out(&self, path: &str) -> bool {
        self.kind(path).is_none() && self.source.folder.is_file(path)
    }

    /// The reason why `path` is not among the app's files.
    fn absence(&self, path: &str) -> &'static str {
        match normal(path) {
            None => "outside the app's folder",
            Some(path) if self.is_left_out(&path) => LEFT_OUT,
            Some(_) => "no such file",
        }
    }

    /// The file that `main` of the package in `folder` leads to: Node's `LOAD_AS_DIRECTORY`
    /// (<https://nodejs.org/api/modules.html#all-together>).
    fn main(&self, package: &Package, folder: &str) -> Option<String> {
        let main = package.main.as_ref().filter(|main| !main.starts_with('/'))?;
        let path = normal(&if folder.is_empty() { main.clone() } else { format!("{folder}/{main}") })?;
        self.as_file(&path).or_else(|| self.index(&path))
    }

    /// The file that `node FILE` runs.
    fn script_file(&self, file: &str) -> Option<String> {
        let path = normal(file)?;
        if !file.ends_with('/')
            && let Some(found) = self.as_file(&path)
        {
            return Some(found);
        }
        let package = if path.is_empty() { None } else { self.package_of(&path) };
        self.main(package.as_ref().unwrap_or(self.package), &path).or_else(|| self.index(&path))
    }

    /// The `package.json` of a folder below the app's own.
    fn package_of(&self, folder: &str) -> Option<Package> {
        let path = format!("{folder}/package.json");
        self.is_file(&path)
            .then(|| self.source.folder.read(&path, LARGEST).ok().flatten())?
            .map(|text| Package::parse(&text, Path::new(&path)).unwrap_or_default())
    }

    fn as_file(&self, path: &str) -> Option<String> {
        [path.to_owned(), format!("{path}.js")].into_iter().find(|path| self.is_file(path))
    }

    fn index(&self, folder: &str) -> Option<String> {
        Some(format!("{folder}/index.js").trim_start_matches('/').to_owned()).filter(|path| self.is_file(path))
    }

    fn is_file(&self, path: &str) -> bool {
        matches!(self.kind(path), Some(FileKind::File { .. }))
    }

    fn kind(&self, path: &str) -> Option<&FileKind> {
        self.source.files.follow(path)
    }
}

impl Entry {
    fn of(file: String) -> Self {
        Self { start: Start { entry: file, ..Start::default() }, ..Self::default() }
    }
}

/// `path` without `.` and `..`, relative to the app's folder. The empty path is the folder itself; `None` is a path out
/// of it.
fn normal(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    if path.starts_with('/') {
        return None;
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_a_plain_start_script() {
        let command = |env: &[(&str, &str)], options: &[&str], entry: &str, args: &[&str]| {
            let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
            Some(NodeCommand {
                env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
                start: Start { options: words(options), entry: entry.to_owned(), args: words(args) },
            })
        };
        for (script, expected) in [
            ("node server.js", command(&[], &[], "server.js", &[])),
            ("  node   ./bin/www  ", command(&[], &[], "./bin/www", &[])),
            ("node .", command(&[], &[], ".", &[])),
            ("exec node a.js", command(&[], &[], "a.js", &[])),
            ("node a.js --port 80 -v", command(&[], &[], "a.js", &["--port", "80", "-v"])),
            ("node --enable-source-maps a.js", command(&[], &["--enable-source-maps"], "a.js", &[])),
            ("node -r dotenv/config a.js", command(&[], &["-r", "dotenv/config"], "a.js", &[])),
            ("node --import=x --import y a.js", command(&[], &["--import=x", "--import", "y"], "a.js", &[])),
            ("node --max-old-space-size=99 -- a.js b", command(&[], &["--max-old-space-size=99"], "a.js", &["b"])),
            (
                "NODE_ENV=production PORT= node a.js",
                command(&[("NODE_ENV", "production"), ("PORT", "")], &[], "a.js", &[]),
            ),
            ("cross-env A='b c' node a.js", command(&[("A", "b c")], &[], "a.js", &[])),
            ("node 'my app.js'", command(&[], &[], "my app.js", &[])),
            ("", None),
            ("node", None),
            ("node -", None),
            ("node --", None),
            ("node ''", None),
            ("node -e '1'", None),
            ("node -r", None),
            ("node --watch a.js", None),
            ("node --watch-path=src a.js", None),
            ("node --inspect=0.0.0.0 a.js", None),
            ("node --test", None),
            ("node a.js && echo", None),
            ("PORT=$PORT node a.js", None),
            ("1A=b node a.js", None),
            ("npm run serve", None),
            ("nodemon a.js", None),
            ("next start", None),
            ("node 'a.js", None),
        ] {
            assert_eq!(NodeCommand::parse(script), expected, "{script}");
        }
    }

    #[test]
    fn cleans_paths() {
        for (path, clean) in [
            ("a", Some("a")),
            ("./a//b/", Some("a/b")),
            ("a/../b", Some("b")),
            (".", Some("")),
            ("", Some("")),
            ("..", None),
            ("a/../../b", None),
            ("/a", None),
        ] {
            assert_eq!(normal(path).as_deref(), clean, "{path}");
        }
    }
}
