//! Frameworks: how an app that is written with one is built, and what the image needs of the result.
//!
//! A framework is recognized by a package that the project names. Settings are read out of its configuration file, as far
//! as they are literals there; nothing is run.

use std::collections::BTreeMap;

use super::{
    super::{LARGEST, Output, Start},
    build::{Kind, Own, Plan, own_script},
    manifest::Package,
    script::Launch,
};
use crate::app_folder::AppFolder;

/// A project, as frameworks look at it.
pub(super) struct Look<'a> {
    pub(super) folder: &'a AppFolder,
    pub(super) package: &'a Package,
    /// What the start script starts, where that is known.
    pub(super) launch: Option<&'a Launch>,
}

/// A framework: its packages, and what it makes of a project.
struct Framework {
    /// Any of them is enough.
    packages: &'static [&'static str],
    /// Its plan; `None` for a project that only uses a part of it.
    plan: fn(&Look<'_>) -> Option<Plan>,
}

/// The frameworks. One that is built upon another comes before it.
const FRAMEWORKS: &[Framework] = &[
    Framework { packages: &["next"], plan: next },
    Framework { packages: &["nuxt", "nuxt3"], plan: nuxt },
    Framework { packages: &["@tanstack/react-start", "@tanstack/solid-start", "@solidjs/start", "vinxi"], plan: nitro },
    Framework { packages: &["nitropack", "nitro"], plan: nitro },
    Framework { packages: &["@analogjs/platform"], plan: analog },
    Framework { packages: &["@sveltejs/kit"], plan: svelte_kit },
    Framework { packages: &["@react-router/dev"], plan: react_router },
    Framework { packages: &["@remix-run/dev"], plan: remix },
    Framework { packages: &["astro"], plan: astro },
    Framework { packages: &["@builder.io/qwik-city", "@qwik.dev/router"], plan: qwik },
    Framework { packages: &["@adonisjs/core"], plan: adonis },
    Framework { packages: &["@nestjs/core"], plan: nest },
    Framework { packages: &["@redwoodjs/core"], plan: |_| None },
    Framework { packages: &["gatsby"], plan: |look| look.site("gatsby build", "public") },
    Framework { packages: &["@docusaurus/core"], plan: |look| look.site("docusaurus build", "build") },
    Framework { packages: &["vitepress"], plan: vitepress },
    Framework { packages: &["vuepress"], plan: |look| look.site("vuepress build", "dist") },
    Framework { packages: &["@11ty/eleventy"], plan: |look| look.site("eleventy", "_site") },
    Framework { packages: &["hexo"], plan: |look| look.site("hexo generate", "public") },
    Framework { packages: &["@angular/core"], plan: angular },
    Framework { packages: &["react-scripts"], plan: |look| look.app("react-scripts build", "build") },
    Framework { packages: &["@vue/cli-service"], plan: |look| look.app("vue-cli-service build", "dist") },
    Framework { packages: &["ember-cli"], plan: |look| look.app("ember build --environment=production", "dist") },
    Framework { packages: &["preact-cli"], plan: |look| look.app("preact build", "build") },
    Framework { packages: &["@rsbuild/core"], plan: |look| look.app("rsbuild build", "dist") },
    Framework { packages: &["expo"], plan: |look| look.app("expo export --platform web", "dist") },
    Framework { packages: &["@ionic/react", "@ionic/vue"], plan: vite },
    Framework { packages: &["vite"], plan: vite },
    Framework { packages: &["parcel", "parcel-bundler"], plan: |look| look.app("parcel build index.html", "dist") },
];

/// Programs that only serve files, as recipe site does.
const FILE_SERVERS: [&str; 6] = ["http-server", "live-server", "local-web-server", "serve", "sirv", "vite"];

/// The plan of the framework that the project is written with.
pub(super) fn plan(look: &Look<'_>) -> Option<Plan> {
    let used = FRAMEWORKS.iter().filter(|framework| framework.packages.iter().any(|name| look.package.has(name)));
    used.into_iter().find_map(|framework| (framework.plan)(look))
}

/// Next.js. `next build` traces what its server needs when it is told to make a standalone result; the variable says so where
/// the configuration does not.
fn next(look: &Look<'_>) -> Option<Plan> {
    let config = look.config("next.config");
    if value(&config, "output") == Some("export") {
        let folder = value(&config, "distDir").unwrap_or("out").to_owned();
        return look.pages("next build", &folder);
    }
    let run = look.run("next build");
    // A server of its own loads Next as a package.
    let is_nexts = look.launch.is_none_or(|launch| launch.program.as_deref() == Some("next"));
    let is_traced =
        look.package.versions.get("next").is_none_or(|version| major(version).is_none_or(|major| major >= 13));
    let dist = value(&config, "distDir").unwrap_or(".next").trim_start_matches("./").to_owned();
    if !is_nexts || !is_traced {
        let output = vec![Output::at(&dist), Output::at("public").optional(), Output::at("next.config.js").optional()];
        return Some(Plan { output, ..Plan::server(run) });
    }
    let output = vec![
        Output::moved(&format!("{dist}/standalone"), "."),
        Output::at(&format!("{dist}/static")),
        Output::at("public").optional(),
    ];
    let args = look.launch.map(|launch| launch.start.args.clone()).unwrap_or_default();
    // Containers have a variable HOSTNAME, which Next would take for an address.
    let mut env = BTreeMap::from([("HOSTNAME".to_owned(), "0.0.0.0".to_owned())]);
    env.extend(port_of(&args).map(|port| ("PORT".to_owned(), port.to_owned())));
    Some(Plan {
        output,
        bundled: true,
        own: Own::Nothing,
        start: Some(file("server.js")),
        env,
        build_env: BTreeMap::from([("NEXT_PRIVATE_STANDALONE".to_owned(), "true".to_owned())]),
        ..Plan::server(run)
    })
}

fn nuxt(look: &Look<'_>) -> Option<Plan> {
    let run = look.run("nuxt build");
    if look.package.script("build").is_some_and(|script| script.contains("generate")) {
        return look.pages("nuxt generate", ".output/public");
    }
    Some(bundle(&run, ".output", ".output/server/index.mjs"))
}

/// What Nitro serves: SolidStart, TanStack Start, and Nitro itself. Newer ones may be built without it.
fn nitro(look: &Look<'_>) -> Option<Plan> {
    let start = look.launch.map_or("", |launch| &launch.start.entry);
    let is_nitro = look.package.has("vinxi") || look.package.has("nitropack") || look.package.has("nitro");
    if start.contains(".output") || (is_nitro && look.launch.is_none_or(|launch| !launch.is_file())) {
        let default = if look.package.has("vinxi") { "vinxi build" } else { "nitro build" };
        let default = if look.package.has("vite") && !look.package.has("vinxi") { "vite build" } else { default };
        return Some(bundle(&look.run(default), ".output", ".output/server/index.mjs"));
    }
    None
}

fn analog(look: &Look<'_>) -> Option<Plan> {
    let folder = if look.has("angular.json") { "dist/analog" } else { "dist" };
    Some(bundle(&look.run("vite build"), folder, &format!("{folder}/server/index.mjs")))
}

/// SvelteKit. The automatic adapter knows platforms by their variables, and takes the one for Node where it believes to be
/// built by Google's.
fn svelte_kit(look: &Look<'_>) -> Option<Plan> {
    let config = look.config("svelte.config");
    let run = look.run("vite build");
    if config.contains("adapter-static")
        || look.package.has("@sveltejs/adapter-static") && !config.contains("adapter-node")
    {
        return look.pages("vite build", value(&config, "pages").unwrap_or("build"));
    }
    let folder = value(&config, "out").unwrap_or("build").to_owned();
    let mut build_env = BTreeMap::new();
    if !config.contains("adapter-node") {
        build_env.insert("GCP_BUILDPACKS".to_owned(), "true".to_owned());
    }
    Some(Plan {
        output: vec![Output::at(&folder)],
        start: Some(file(&format!("{folder}/index.js"))),
        build_env,
        ..Plan::server(run)
    })
}

fn react_router(look: &Look<'_>) -> Option<Plan> {
    let config = look.config("react-router.config");
    if word_after(&config, "ssr") == Some("false") {
        return look.app("react-router build", "build/client");
    }
    let program = file("node_modules/.bin/react-router-serve");
    let start = Start { args: vec!["./build/server/index.js".to_owned()], ..program };
    look.served("react-router build", "@react-router/serve", start)
}

fn remix(look: &Look<'_>) -> Option<Plan> {
    let of_vite = look.package.has("vite");
    let entry = if of_vite { "./build/server/index.js" } else { "./build/index.js" };
    let start = Start { args: vec![entry.to_owned()], ..file("node_modules/.bin/remix-serve") };
    look.served(if of_vite { "remix vite:build" } else { "remix build" }, "@remix-run/serve", start)
}

fn astro(look: &Look<'_>) -> Option<Plan> {
    let config = look.config("astro.config");
    let folder = value(&config, "outDir").unwrap_or("dist").trim_start_matches("./").trim_end_matches('/').to_owned();
    if !config.contains("@astrojs/node") {
        return look.pages("astro build", &folder);
    }
    // With the mode `middleware`, a server of the project's own serves it.
    let own = look.launch.filter(|launch| launch.is_file()).is_some();
    let start = (!own).then(|| file(&format!("{folder}/server/entry.mjs")));
    Some(Plan {
        output: vec![Output::at(&folder)],
        start,
        env: BTreeMap::from([("HOST".to_owned(), "0.0.0.0".to_owned())]),
        ..Plan::server(look.run("astro build"))
    })
}

fn qwik(look: &Look<'_>) -> Option<Plan> {
    let serve = Launch::of(look.package, "serve").and_then(Result::ok).filter(Launch::is_file);
    match serve {
        Some(launch) => Some(Plan {
            output: vec![Output::at("dist"), Output::at("server")],
            start: Some(launch.start),
            env: launch.env,
            ..Plan::server(look.run("qwik build"))
        }),
        None => look.pages("qwik build", "dist"),
    }
}

fn adonis(look: &Look<'_>) -> Option<Plan> {
    if !look.has("ace.js") && !look.has("ace") {
        return None;
    }
    Some(Plan {
        output: vec![Output::moved("build", ".")],
        own: Own::Nothing,
        start: Some(file("bin/server.js")),
        env: BTreeMap::from([("HOST", "0.0.0.0"), ("PORT", "3333")].map(|(k, v)| (k.to_owned(), v.to_owned()))),
        ..Plan::server(look.run("node ace build"))
    })
}

fn nest(look: &Look<'_>) -> Option<Plan> {
    let production = ["start:prod", "start"].iter().find_map(|name| Launch::of(look.package, name)?.ok());
    let launch = production.filter(Launch::is_file);
    let start = launch.as_ref().map_or_else(|| file("dist/main.js"), |launch| launch.start.clone());
    Some(Plan {
        output: vec![Output::at(start.entry.split('/').find(|part| !matches!(*part, "" | ".")).unwrap_or("dist"))],
        env: launch.map(|launch| launch.env).unwrap_or_default(),
        start: Some(start),
        ..Plan::server(look.run("nest build"))
    })
}

fn vitepress(look: &Look<'_>) -> Option<Plan> {
    let docs = look.folder.kind("docs/.vitepress").is_some();
    let folder = if docs { "docs/.vitepress/dist" } else { ".vitepress/dist" };
    look.site(if docs { "vitepress build docs" } else { "vitepress build" }, folder)
}

/// Angular. `angular.json` says where the result is.
fn angular(look: &Look<'_>) -> Option<Plan> {
    let json: serde_json::Value = serde_json::from_str(&look.text("angular.json")).ok()?;
    let projects = json["projects"].as_object()?;
    let default = json["defaultProject"].as_str().and_then(|name| projects.get_key_value(name));
    let is_app = |project: &serde_json::Value| project["projectType"] != "library";
    let (name, project) = default.or_else(|| projects.iter().find(|(_, project)| is_app(project)))?;
    let targets = if project["architect"].is_object() { &project["architect"] } else { &project["targets"] };
    let options = &targets["build"]["options"];
    let (base, browser) = match &options["outputPath"] {
        serde_json::Value::String(path) => (path.clone(), "browser"),
        table => {
            let text = |key: &str| table[key].as_str();
            (text("base").map_or_else(|| format!("dist/{name}"), str::to_owned), text("browser").unwrap_or("browser"))
        }
    };
    let base = base.trim_end_matches('/');
    if let Some(launch) = look.launch.filter(|launch| launch.is_file()) {
        return Some(Plan {
            output: vec![Output::at(base)],
            start: Some(launch.start.clone()),
            ..Plan::server(look.run("ng build"))
        });
    }
    if !options["ssr"].is_null() && options["ssr"] != false && options["outputMode"] != "static" {
        let start = file(&format!("{base}/server/server.mjs"));
        return Some(Plan { output: vec![Output::at(base)], start: Some(start), ..Plan::server(look.run("ng build")) });
    }
    // The builder `application` of Angular 17 and later puts what browsers get into a folder of its own.
    let builder = targets["build"]["builder"].as_str().unwrap_or_default();
    let is_new = builder.ends_with(":application");
    look.app("ng build", &if is_new && !browser.is_empty() { format!("{base}/{browser}") } else { base.to_owned() })
}

/// Vite without a framework that has a server: a single page, unless the app starts a server of its own.
fn vite(look: &Look<'_>) -> Option<Plan> {
    let serves = |program: &str| look.package.ships(program) && !FILE_SERVERS.contains(&program);
    if look.launch.is_some_and(|launch| launch.program.as_deref().is_none_or(serves)) {
        return None;
    }
    let config = look.config("vite.config");
    let root = value(&config, "root").map(|root| root.trim_start_matches("./").trim_matches('/')).unwrap_or_default();
    let folder = value(&config, "outDir").unwrap_or("dist").trim_start_matches("./");
    let folder = match folder.strip_prefix("../") {
        Some(above) => above.to_owned(),
        None if root.is_empty() || root.contains("__dirname") => folder.to_owned(),
        None => format!("{root}/{folder}"),
    };
    let is_page = look.has("index.html") || look.has(&format!("{root}/index.html"));
    // A library has no page.
    if is_page { look.app("vite build", &folder) } else { None }
}

impl Look<'_> {
    /// Whether the file `path` is among the app's files.
    fn has(&self, path: &str) -> bool {
        self.folder.is_file(path)
    }

    /// The text of the file `path`; empty when there is none.
    fn text(&self, path: &str) -> String {
        self.folder.read(path, LARGEST).ok().flatten().unwrap_or_default()
    }

    /// The text of the configuration file `name`, in any of the usual forms.
    fn config(&self, name: &str) -> String {
        let forms = ["js", "mjs", "cjs", "ts", "mts", "cts"];
        let texts = forms.iter().map(|form| self.text(&format!("{name}.{form}")));
        texts.map(|text| without_comments(&text)).find(|text| !text.is_empty()).unwrap_or_default()
    }

    /// The command that builds the app: its own script, else `default`, which is found in `node_modules/.bin`.
    fn run(&self, default: &str) -> String {
        own_script(self.package).unwrap_or_else(|| default.to_owned())
    }

    /// A site of pages, each with an address of its own, in `folder`.
    #[allow(clippy::unnecessary_wraps, reason = "plans are optional")]
    fn pages(&self, default: &str, folder: &str) -> Option<Plan> {
        Some(Plan {
            kind: Kind::Site { folder: folder.to_owned(), single_page: false },
            ..Plan::server(self.run(default))
        })
    }

    /// As [`Look::pages`], unless the app starts a server of its own.
    fn site(&self, default: &str, folder: &str) -> Option<Plan> {
        if self.launch.is_some_and(Launch::is_file) { None } else { self.pages(default, folder) }
    }

    /// An app of a single page in `folder`, unless it starts a server of its own.
    fn app(&self, default: &str, folder: &str) -> Option<Plan> {
        let kind = Kind::Site { folder: folder.to_owned(), single_page: true };
        self.site(default, folder).map(|plan| Plan { kind, ..plan })
    }

    /// An app in `build` that the program of `server` serves, or a server of the app's own.
    fn served(&self, default: &str, server: &str, start: Start) -> Option<Plan> {
        let output = vec![Output::at("build"), Output::at("public").optional()];
        let plan = Plan { output, ..Plan::server(self.run(default)) };
        match self.launch {
            Some(launch) if launch.is_file() => {
                Some(Plan { start: Some(launch.start.clone()), env: launch.env.clone(), ..plan })
            }
            Some(launch) if !launch.start.args.is_empty() => {
                Some(Plan { start: Some(launch.start.clone()), env: launch.env.clone(), ..plan })
            }
            _ => self.package.has(server).then_some(Plan { start: Some(start), ..plan }),
        }
    }
}

/// The plan of a result in `folder` that needs no other packages.
fn bundle(run: &str, folder: &str, entry: &str) -> Plan {
    Plan {
        output: vec![Output::at(folder)],
        bundled: true,
        own: Own::Nothing,
        start: Some(file(entry)),
        ..Plan::server(run.to_owned())
    }
}

fn file(entry: &str) -> Start {
    Start { entry: entry.to_owned(), ..Start::default() }
}

/// The port in the arguments `-p 4000` or `--port=4000`.
fn port_of(args: &[String]) -> Option<&str> {
    let at = args.iter().position(|word| word == "-p" || word == "--port");
    let joined = || args.iter().find_map(|word| word.strip_prefix("--port="));
    at.and_then(|at| args.get(at + 1)).map(String::as_str).or_else(joined)
}

/// The first number in a range of versions: 15 of `^15.1.0`.
fn major(range: &str) -> Option<u32> {
    let digits = range.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The literal text that the setting `key` has in a configuration file: `key: 'text'`.
fn value<'t>(config: &'t str, key: &str) -> Option<&'t str> {
    settings(config, key).find_map(|rest| {
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'))?;
        rest[1..].split_once(quote).map(|(text, _)| text).filter(|text| !text.is_empty() && !text.contains('$'))
    })
}

/// The word that the setting `key` has in a configuration file: `key: false`.
fn word_after<'t>(config: &'t str, key: &str) -> Option<&'t str> {
    settings(config, key).find_map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric()).next())
}

/// The texts that follow `key:` in `config`.
fn settings<'t>(config: &'t str, key: &str) -> impl Iterator<Item = &'t str> {
    config.match_indices(key).filter_map(move |(at, _)| {
        let before = config[..at].chars().next_back();
        let after = config[at + key.len()..].trim_start_matches(['"', '\'']);
        let is_word = before.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.' | '-'));
        after.trim_start().strip_prefix(':').filter(|_| !is_word).map(str::trim_start)
    })
}

/// The text of a program without its comments.
fn without_comments(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("/*") {
        plain += &rest[..at];
        rest = rest[at..].split_once("*/").map_or("", |(_, rest)| rest);
    }
    plain += rest;
    let lines = plain.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_literals() {
        for (config, expected) in [
            ("module.exports = { output: 'standalone' }", Some("standalone")),
            ("export default {\n  output : \"export\",\n}", Some("export")),
            ("const config: NextConfig = {\n  \"output\": `export`\n}", Some("export")),
            ("{ myoutput: 'x' }", None),
            ("{ output: process.env.OUTPUT }", None),
            ("{ output: `${x}` }", None),
            ("/* output: 'export' */ {}", None),
            ("// output: 'export'\n{}", None),
        ] {
            assert_eq!(value(&without_comments(config), "output"), expected, "{config}");
        }
        assert_eq!(word_after("export default { ssr: false }", "ssr"), Some("false"));
        assert_eq!((major("^15.1.0"), major(">=13"), major("latest")), (Some(15), Some(13), None));
    }
}
