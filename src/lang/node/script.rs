//! Scripts of `package.json`: what a line such as `cross-env A=1 node --enable-source-maps server.js` starts.

use std::collections::BTreeMap;

use super::{super::Start, manifest::Package};
use crate::values;

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

/// Options whose value is a module that node loads first.
const LOADERS: [&str; 5] = ["-r", "--require", "--import", "--loader", "--experimental-loader"];

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

/// Package managers, whose `run` starts a script.
const MANAGERS: [&str; 5] = ["npm", "pnpm", "yarn", "bun", "node"];

/// Programs with the name of their package where the two differ: the program, its package.
const PROGRAMS: [(&str, &str); 24] = [
    ("astro", "astro"),
    ("babel-node", "@babel/node"),
    ("backstage-cli", "@backstage/cli"),
    ("fastify", "fastify-cli"),
    ("functions-framework", "@google-cloud/functions-framework"),
    ("keystone", "@keystone-6/core"),
    ("medusa", "@medusajs/cli"),
    ("nest", "@nestjs/cli"),
    ("ng", "@angular/cli"),
    ("nuxi", "nuxt"),
    ("pm2-runtime", "pm2"),
    ("prisma", "prisma"),
    ("probot", "probot"),
    ("react-router-serve", "@react-router/serve"),
    ("remix-serve", "@remix-run/serve"),
    ("sirv", "sirv-cli"),
    ("strapi", "@strapi/strapi"),
    ("swc-node", "@swc-node/register"),
    ("tsc", "typescript"),
    ("ts-node-esm", "ts-node"),
    ("vue-cli-service", "@vue/cli-service"),
    ("webpack", "webpack-cli"),
    ("webpack-dev-server", "webpack-dev-server"),
    ("wrangler", "wrangler"),
];

/// Programs that serve an app to its developer, with the first argument that says so; `""` says so always.
const FOR_DEVELOPERS: [(&str, &str); 24] = [
    ("astro", "dev"),
    ("concurrently", ""),
    ("docusaurus", "start"),
    ("eleventy", ""),
    ("ember", "serve"),
    ("expo", ""),
    ("gatsby", "develop"),
    ("nest", "start"),
    ("next", "dev"),
    ("ng", "serve"),
    ("nuxt", "dev"),
    ("parcel", ""),
    ("react-router", "dev"),
    ("react-scripts", "start"),
    ("remix", "dev"),
    ("svelte-kit", "dev"),
    ("ts-node-dev", ""),
    ("tsc", ""),
    ("vinxi", "dev"),
    ("vite", ""),
    ("vue-cli-service", "serve"),
    ("webpack", ""),
    ("webpack-dev-server", ""),
    ("wrangler", "dev"),
];

/// Programs, and scripts' names, that build something or clean up before a build.
const BUILDERS: [&str; 24] = [
    "babel",
    "copyfiles",
    "cp",
    "cpx",
    "esbuild",
    "gulp",
    "mkdir",
    "mkdirp",
    "nest",
    "next",
    "node-sass",
    "nuxt",
    "parcel",
    "prisma",
    "rimraf",
    "rm",
    "rollup",
    "sass",
    "shx",
    "swc",
    "tailwindcss",
    "tsc",
    "tsup",
    "webpack",
];

/// How a script starts the app.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Launch {
    /// Variables that are set before the command.
    pub(super) env: BTreeMap<String, String>,
    /// The command.
    pub(super) start: Start,
    /// Whether the command is a program of a package, in `node_modules/.bin`.
    pub(super) program: Option<String>,
    /// Packages of the development that the command needs.
    pub(super) development: Vec<String>,
    /// Commands that build the app, which the script runs first.
    pub(super) builds: Vec<String>,
}

/// The reason why a script does not start the app.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unclear {
    /// It starts a server for developers.
    ForDevelopers,
    /// It runs another runtime.
    OtherRuntime(String),
    /// A shell would have to run it, or it runs something unknown.
    NotPlain,
}

impl Launch {
    /// Reads the script `name` of `package`, with its `pre` script.
    pub(super) fn of(package: &Package, name: &str) -> Option<Result<Self, Unclear>> {
        let line = package.script(name)?;
        let before = package.script(&format!("pre{name}"));
        let read = Reader { package, depth: 0 }.line(line);
        Some(read.and_then(|launch| match before {
            Some(before) if !is_build(before, package) => Err(Unclear::NotPlain),
            Some(before) => Ok(Self { builds: [vec![before.to_owned()], launch.builds].concat(), ..launch }),
            None => Ok(launch),
        }))
    }

    /// Whether it runs a file of the app, and no program of a package.
    pub(super) fn is_file(&self) -> bool {
        self.program.is_none()
    }
}

/// Whether every command of the line `line` builds the app, or prepares that.
fn is_build(line: &str, package: &Package) -> bool {
    line.split("&&").all(|part| {
        let Ok(words) = values::split(part) else { return false };
        let words: Vec<&str> = words.iter().map(String::as_str).skip_while(|word| word.contains('=')).collect();
        match words[..] {
            [manager, "run" | "run-script", name, ..] | [manager @ ("yarn" | "pnpm"), name, ..]
                if MANAGERS.contains(&manager) =>
            {
                name.contains("build")
                    || name.contains("compile")
                    || name.contains("clean")
                    || name.contains("generate")
            }
            ["npx", program, ..] | [program, ..] if program == "vite" || program == "astro" => words.contains(&"build"),
            ["prisma", "migrate", ..] | ["npx", "prisma", "migrate", ..] => false,
            ["npx", program, ..] | [program, ..] => BUILDERS.contains(&program) || package.script(program).is_some(),
            [] => true,
        }
    })
}

/// The reader of a script, which may start another one.
#[derive(Clone, Copy)]
struct Reader<'a> {
    package: &'a Package,
    depth: usize,
}

impl Reader<'_> {
    /// The number of scripts that start each other, at most.
    const DEPTH: usize = 8;

    fn line(self, line: &str) -> Result<Launch, Unclear> {
        let mut parts: Vec<&str> = line.split("&&").map(str::trim).collect();
        let last = parts.pop().unwrap_or_default();
        if !parts.iter().all(|part| is_build(part, self.package)) {
            return Err(Unclear::NotPlain);
        }
        let launch = self.command(last)?;
        let builds = parts.into_iter().map(str::to_owned).chain(launch.builds).collect();
        Ok(Launch { builds, ..launch })
    }

    /// Reads a command without `&&`.
    fn command(self, line: &str) -> Result<Launch, Unclear> {
        let words = values::split(line).map_err(|_| Unclear::NotPlain)?;
        let mut env = BTreeMap::new();
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.peek() {
            match word.split_once('=').filter(|(name, _)| is_variable(name)) {
                Some((name, value)) => drop(env.insert(name.to_owned(), value.to_owned())),
                // `cross-env A=1 node …` is `A=1 node …` for Windows.
                None if ["exec", "cross-env", "cross-env-shell", "env"].contains(&word.as_str()) => {}
                None => break,
            }
            words.next();
        }
        let words: Vec<String> = words.collect();
        let launch = self.program(&words)?;
        env.extend(launch.env);
        Ok(Launch { env, ..launch })
    }

    /// Reads a command without variables before it.
    fn program(self, words: &[String]) -> Result<Launch, Unclear> {
        let plain: Vec<&str> = words.iter().map(String::as_str).collect();
        match plain[..] {
            ["node" | "nodejs", ..] if plain.get(1) != Some(&"--run") => self.node(&words[1..]),
            ["node", "--run", name, ..] => self.script(name, &words[3..]),
            ["npm" | "pnpm" | "yarn" | "bun", "run" | "run-script", ..] => self.run(&words[2..]),
            ["npm" | "pnpm" | "yarn" | "bun", "start", ..] => self.script("start", &words[2..]),
            ["npx", "--yes" | "-y", ..] => self.program(&words[2..]),
            ["npx", _, ..] => self.program(&words[1..]),
            ["pnpm" | "yarn" | "npm", "exec", ..] => {
                let rest = &words[2..];
                self.program(if rest.first().is_some_and(|word| word == "--") { &rest[1..] } else { rest })
            }
            ["yarn" | "pnpm", name, ..] if self.package.script(name).is_some() => self.script(name, &words[2..]),
            ["yarn" | "pnpm", _, ..] => self.program(&words[1..]),
            ["bun" | "bunx", ..] => Err(Unclear::OtherRuntime("Bun".to_owned())),
            ["deno", ..] => Err(Unclear::OtherRuntime("Deno".to_owned())),
            // It runs the file again when it changes, which it does not in an image.
            ["nodemon" | "node-dev" | "supervisor" | "forever", ref rest @ ..] => {
                let file = watched(rest).ok_or(Unclear::ForDevelopers)?;
                let is_script = rest[file].ends_with("js") || !rest[file].contains('.');
                if is_script { self.node(&words[file + 1..]) } else { Err(Unclear::ForDevelopers) }
            }
            [program, ref rest @ ..] => {
                let for_developers = FOR_DEVELOPERS.iter().any(|(known, first)| {
                    *known == program && (first.is_empty() || rest.first() == Some(first) || rest.is_empty())
                });
                if for_developers && rest.first() != Some(&"preview") {
                    return Err(Unclear::ForDevelopers);
                }
                if program.contains('/') {
                    return Ok(Launch { start: start(&[], program, &words[1..]), ..Launch::default() });
                }
                self.of_package(program, &words[1..])
            }
            [] => Err(Unclear::NotPlain),
        }
    }

    /// Reads the words after `npm run`: options, the script, its arguments.
    fn run(self, words: &[String]) -> Result<Launch, Unclear> {
        let at = words.iter().position(|word| !word.starts_with('-')).ok_or(Unclear::NotPlain)?;
        self.script(&words[at], &words[at + 1..])
    }

    /// The script `name` with additional arguments.
    fn script(self, name: &str, args: &[String]) -> Result<Launch, Unclear> {
        if self.depth == Self::DEPTH {
            return Err(Unclear::NotPlain);
        }
        let line = self.package.script(name).ok_or(Unclear::NotPlain)?;
        let mut launch = Reader { depth: self.depth + 1, ..self }.line(line)?;
        launch.start.args.extend(args.iter().filter(|word| *word != "--").cloned());
        Ok(launch)
    }

    /// Reads the words after `node`.
    fn node(self, words: &[String]) -> Result<Launch, Unclear> {
        let mut words = words.iter().cloned().peekable();
        let mut launch = Launch::default();
        while let Some(option) = words.next_if(|word| word.starts_with('-')) {
            let name = option.split('=').next().unwrap_or(&option);
            if option == "--" {
                break;
            }
            if option == "-" || NOT_PLAIN.contains(&name) {
                return Err(Unclear::NotPlain);
            }
            if name.starts_with("--watch") || name.starts_with("--inspect") {
                return Err(Unclear::ForDevelopers);
            }
            let value =
                if WITH_VALUE.contains(&option.as_str()) { Some(words.next().ok_or(Unclear::NotPlain)?) } else { None };
            if LOADERS.contains(&name) {
                let module = value.as_deref().or_else(|| option.split_once('=').map(|(_, module)| module));
                launch.development.extend(module.and_then(|module| self.developed(&package_of(module))));
            }
            launch.start.options.push(option);
            launch.start.options.extend(value);
        }
        launch.start.entry = words.next().filter(|file| !file.is_empty()).ok_or(Unclear::NotPlain)?;
        launch.start.args = words.collect();
        Ok(launch)
    }

    /// A program of an installed package. `node_modules/.bin` has a link to its file, which node runs.
    fn of_package(self, program: &str, args: &[String]) -> Result<Launch, Unclear> {
        let called = PROGRAMS.iter().find(|(known, _)| *known == program).map_or(program, |(_, package)| package);
        if !self.package.has(called) {
            return Err(Unclear::NotPlain);
        }
        Ok(Launch {
            start: start(&[], &format!("node_modules/.bin/{program}"), args),
            program: Some(program.to_owned()),
            development: self.developed(called).into_iter().collect(),
            ..Launch::default()
        })
    }

    /// The package `name`, when only the development has it.
    fn developed(self, name: &str) -> Option<String> {
        (self.package.has(name) && !self.package.ships(name)).then(|| name.to_owned())
    }
}

/// The index of the file among the words after `nodemon`; `None` where another program than node runs it.
fn watched(words: &[&str]) -> Option<usize> {
    /// Its options with a value (nodemon's `--help options`).
    const WITH_VALUE: [&str; 12] =
        ["-w", "--watch", "-e", "--ext", "-i", "--ignore", "-d", "--delay", "--config", "--cwd", "-s", "--signal"];
    let mut at = 0;
    while let Some(word) = words.get(at) {
        match *word {
            "-x" | "--exec" => return None,
            option if WITH_VALUE.contains(&option) => at += 2,
            option if option.starts_with('-') => at += 1,
            _ => return Some(at),
        }
    }
    None
}

fn start(options: &[String], entry: &str, args: &[String]) -> Start {
    Start { options: options.to_vec(), entry: entry.to_owned(), args: args.to_vec() }
}

/// The name of the package that the module `module` is in: `@scope/name` or `name`.
fn package_of(module: &str) -> String {
    let parts = if module.starts_with('@') { 2 } else { 1 };
    module.split('/').take(parts).collect::<Vec<_>>().join("/")
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What the script `start` starts, as a line: variables, `node`, options, file, arguments; then what it needs.
    fn started(package: &str) -> String {
        let package = Package::parse(package, Path::new("package.json")).expect("JSON");
        match Launch::of(&package, "start").expect("a start script") {
            Err(unclear) => format!("{unclear:?}"),
            Ok(Launch { env, start, development, builds, .. }) => {
                let env = env.iter().map(|(name, value)| format!("{name}={value}"));
                let words = env.chain(start.options).chain([start.entry]).chain(start.args);
                let mut line = words.collect::<Vec<_>>().join(" ");
                if !development.is_empty() {
                    line += &format!(" | needs {}", development.join(", "));
                }
                if !builds.is_empty() {
                    line += &format!(" | builds {}", builds.join("; "));
                }
                line
            }
        }
    }

    fn script(line: &str) -> String {
        started(&serde_json::json!({"scripts": {"start": line}}).to_string())
    }

    #[test]
    fn knows_a_plain_start_script() {
        for (line, expected) in [
            ("node server.js", "server.js"),
            ("  node   ./bin/www  ", "./bin/www"),
            ("node .", "."),
            ("exec node a.js", "a.js"),
            ("node a.js --port 80 -v", "a.js --port 80 -v"),
            ("node --enable-source-maps a.js", "--enable-source-maps a.js"),
            ("node -r dotenv/config a.js", "-r dotenv/config a.js"),
            ("node --import=x --import y a.js", "--import=x --import y a.js"),
            ("node --max-old-space-size=99 -- a.js b", "--max-old-space-size=99 a.js b"),
            ("NODE_ENV=production PORT= node a.js", "NODE_ENV=production PORT= a.js"),
            ("cross-env A='b c' node a.js", "A=b c a.js"),
            ("env A=1 node a.js", "A=1 a.js"),
            ("node 'my app.js'", "my app.js"),
            ("./bin/www --port 80", "./bin/www --port 80"),
            ("nodemon server.js", "server.js"),
            ("nodemon --watch src -L server", "server"),
            ("nodemon --exec ts-node src/index.ts", "ForDevelopers"),
            ("nodemon src/index.ts", "ForDevelopers"),
            ("node", "NotPlain"),
            ("node -", "NotPlain"),
            ("node --", "NotPlain"),
            ("node ''", "NotPlain"),
            ("node -e '1'", "NotPlain"),
            ("node -r", "NotPlain"),
            ("node --watch a.js", "ForDevelopers"),
            ("node --watch-path=src a.js", "ForDevelopers"),
            ("node --inspect=0.0.0.0 a.js", "ForDevelopers"),
            ("node --test", "NotPlain"),
            ("node a.js && echo", "NotPlain"),
            ("PORT=$PORT node a.js", "NotPlain"),
            ("1A=b node a.js", "NotPlain"),
            ("npm run serve", "NotPlain"),
            ("serve -l 3000", "NotPlain"),
            ("node 'a.js", "NotPlain"),
            ("bun app.js", "OtherRuntime(\"Bun\")"),
            ("deno run -A main.ts", "OtherRuntime(\"Deno\")"),
            ("vite", "ForDevelopers"),
            ("tsc && node dist/a.js", "dist/a.js | builds tsc"),
            ("prisma migrate deploy && node a.js", "NotPlain"),
            ("node seed.js && node a.js", "NotPlain"),
        ] {
            assert_eq!(script(line), expected, "{line}");
        }
    }

    #[test]
    fn follows_scripts_and_programs_of_packages() {
        for (package, expected) in [
            (
                r#"{"scripts": {"start": "npm run serve", "serve": "A=1 node --max-old-space-size=100 app2.js --port 8080"}}"#,
                "A=1 --max-old-space-size=100 app2.js --port 8080",
            ),
            (r#"{"scripts": {"start": "yarn serve -- --x", "serve": "node a.js"}}"#, "a.js --x"),
            (r#"{"scripts": {"start": "pnpm run -s serve", "serve": "node a.js"}}"#, "a.js"),
            (r#"{"scripts": {"start": "node --run serve", "serve": "node a.js"}}"#, "a.js"),
            (r#"{"scripts": {"start": "npm start"}}"#, "NotPlain"),
            (
                r#"{"scripts": {"start": "npm run build && node dist/a.js", "build": "tsc"}}"#,
                "dist/a.js | builds npm run build",
            ),
            (
                r#"{"scripts": {"prestart": "npm run build", "start": "node dist/a.js", "build": "tsc"}}"#,
                "dist/a.js | builds npm run build",
            ),
            (r#"{"scripts": {"prestart": "node migrate.js", "start": "node dist/a.js"}}"#, "NotPlain"),
            (
                r#"{"scripts": {"start": "serve -l 3000 public"}, "dependencies": {"serve": "14"}}"#,
                "node_modules/.bin/serve -l 3000 public",
            ),
            (r#"{"scripts": {"start": "npx serve"}, "dependencies": {"serve": "14"}}"#, "node_modules/.bin/serve"),
            (
                r#"{"scripts": {"start": "remix-serve ./build"}, "dependencies": {"@remix-run/serve": "2"}}"#,
                "node_modules/.bin/remix-serve ./build",
            ),
            (
                r#"{"scripts": {"start": "functions-framework --target=f"}, "dependencies": {"@google-cloud/functions-framework": "3"}}"#,
                "node_modules/.bin/functions-framework --target=f",
            ),
            (
                r#"{"scripts": {"start": "tsx src/index.ts"}, "devDependencies": {"tsx": "4"}}"#,
                "node_modules/.bin/tsx src/index.ts | needs tsx",
            ),
            (
                r#"{"scripts": {"start": "node --import tsx src/index.ts"}, "devDependencies": {"tsx": "4"}}"#,
                "--import tsx src/index.ts | needs tsx",
            ),
            (
                r#"{"scripts": {"start": "node -r ts-node/register a.ts"}, "dependencies": {"ts-node": "4"}}"#,
                "-r ts-node/register a.ts",
            ),
            (r#"{"scripts": {"start": "next start"}, "dependencies": {"next": "15"}}"#, "node_modules/.bin/next start"),
            (r#"{"scripts": {"start": "next dev"}, "dependencies": {"next": "15"}}"#, "ForDevelopers"),
            (r#"{"scripts": {"start": "nest start"}, "devDependencies": {"@nestjs/cli": "11"}}"#, "ForDevelopers"),
            (
                r#"{"scripts": {"start": "react-scripts start"}, "dependencies": {"react-scripts": "5"}}"#,
                "ForDevelopers",
            ),
        ] {
            assert_eq!(started(package), expected, "{package}");
        }
    }
}
