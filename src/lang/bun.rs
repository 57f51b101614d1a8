//! Bun: whether it runs an app of `package.json`, or only installs its packages.

use serde_json::Value;

use super::{Explanation, Facts, LARGEST, Language, LanguageError, Source, json};
use crate::app_folder::AppFolder;

/// Bun, which runs and bundles.
#[derive(Debug)]
pub(super) struct Bun;

impl Language for Bun {
    fn name(&self) -> &'static str {
        "bun"
    }

    /// Bun is also a package manager, of apps that Node runs and of sites that a bundler builds: its lock file alone says
    /// nothing about how the app starts.
    fn is_app(&self, folder: &AppFolder) -> bool {
        let text = folder.read(MANIFEST, LARGEST).ok().flatten();
        let package = text.and_then(|text| json(&text, MANIFEST.as_ref()).ok()).unwrap_or_default();
        match script(&package, "start") {
            Some(start) => runs_bun(&package, start),
            None => is_for_bun(folder, &package) && !is_bundled(&package) && entry(folder, &package),
        }
    }

    fn read(&self, source: &Source<'_>) -> Result<Facts, LanguageError> {
        let Some(text) = source.read(MANIFEST)? else { return Ok(Facts::default()) };
        let package = json(&text, &source.place(MANIFEST))?;
        let text = |key: &str| package[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        Ok(Facts { name: text("name"), version: text("version"), ..Facts::default() })
    }

    fn explain(&self, line: &str) -> Option<Explanation> {
        let frozen = line.contains("lockfile had changes, but lockfile is frozen");
        frozen.then(|| Explanation::lock("bring bun.lock up to date with package.json: `bun install`"))
    }
}

/// The file that describes the app.
const MANIFEST: &str = "package.json";

fn script<'p>(package: &'p Value, name: &str) -> Option<&'p str> {
    package["scripts"][name].as_str().filter(|script| !script.trim().is_empty())
}

/// Whether the script `text` lets Bun run a file, itself or through another script.
fn runs_bun(package: &Value, text: &str) -> bool {
    let mut words = text.split_whitespace().skip_while(|word| word.contains('=')).filter(|word| !word.starts_with('-'));
    match (words.next(), words.next()) {
        (Some("bun"), Some("run")) => words.next().is_some_and(|name| match script(package, name) {
            // A script may name itself.
            Some(other) => other != text && !other.contains(" run ") && runs_bun(package, other),
            None => is_file(name),
        }),
        (Some("bun"), Some(name)) => is_file(name),
        _ => false,
    }
}

fn is_file(name: &str) -> bool {
    [".js", ".mjs", ".ts", ".mts", ".tsx", ".jsx"].iter().any(|ending| name.ends_with(ending))
}

/// Whether something asks for Bun.
fn is_for_bun(folder: &AppFolder, package: &Value) -> bool {
    let manager = package["packageManager"].as_str().is_some_and(|manager| manager.starts_with("bun@"));
    let files = ["bun.lock", "bun.lockb", "bunfig.toml"];
    package["engines"]["bun"].is_string() || manager || files.iter().any(|name| folder.is_file(name))
}

/// Whether a bundler or a framework for Node makes the app.
fn is_bundled(package: &Value) -> bool {
    const TOOLS: [&str; 10] =
        ["astro", "expo", "next", "nuxt", "react-scripts", "remix", "svelte-kit", "vinxi", "vite", "webpack"];
    let scripts = ["build", "dev"].into_iter().filter_map(|name| script(package, name));
    scripts.flat_map(str::split_whitespace).any(|word| TOOLS.contains(&word))
}

/// Whether there is a file that starts the app, as the recipe's step finds it.
fn entry(folder: &AppFolder, package: &Value) -> bool {
    let stated = ["module", "main"].into_iter().filter_map(|key| package[key].as_str());
    stated.chain(["index.ts", "index.js"]).any(|file| folder.is_file(file.trim_start_matches("./")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::testing::Draft;

    #[test]
    fn bun_runs_what_it_is_asked_to_run() {
        for (package, files, is_app) in [
            (r#"{"main":"app.js","scripts":{"start":"bun app.js"},"engines":{"bun":">=1"}}"#, &["app.js"][..], true),
            (r#"{"scripts":{"start":"bun run src/index.ts"}}"#, &["src/index.ts"], true),
            (r#"{"scripts":{"start":"bun run serve","serve":"NODE_ENV=x bun --smol a.ts"}}"#, &["a.ts"], true),
            (r#"{"scripts":{"start":"bun run start"}}"#, &["bun.lock"], false),
            (r#"{"scripts":{"start":"node a.js"}}"#, &["bun.lock", "a.js"], false),
            (r#"{"scripts":{"start":"next start"}}"#, &["bun.lock"], false),
            (r#"{"scripts":{"dev":"vite","build":"vite build"}}"#, &["bun.lock", "index.ts"], false),
            (r#"{"scripts":{"dev":"bun --hot index.ts"}}"#, &["bun.lock", "index.ts"], true),
            (r#"{"module":"src/app.ts"}"#, &["bun.lock", "src/app.ts"], true),
            (r#"{"packageManager":"bun@1.2.3"}"#, &["index.ts"], true),
            (r#"{"packageManager":"bun@1.2.3"}"#, &["lib.ts"], false),
            (r#"{"main":"index.js"}"#, &["index.js"], false),
            ("not JSON", &["bun.lock", "index.ts"], true),
        ] {
            let mut all = vec![("package.json", package)];
            all.extend(files.iter().map(|name| (*name, "")));
            assert_eq!(Bun.is_app(Draft::new(&all).folder()), is_app, "{package} {files:?}");
        }
    }
}
