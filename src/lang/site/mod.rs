//! Sites: files for browsers, as they lie in a folder, or as npm's tools build them. nginx serves them.

mod nginx;
mod rules;

use nginx::Server;
use rules::Rules;

use super::{
    Component, Dependencies, Explanation, Facts, GeneratedFile, Language, LanguageError, Source,
    node::{self, SiteBuild},
};
use crate::{app_folder::AppFolder, glob::Pattern, listing::AppFile};

/// Sites.
#[derive(Debug)]
pub(super) struct Site;

/// The file that says how nginx serves the site.
const NGINX: &str = "nginx.conf";

/// The folders in which a site's first page is looked for.
const FOLDERS: [&str; 10] = ["", "public", "dist", "build", "_site", "site", "www", "html", "out", "docs"];

/// Files of apps that are more than a site, whose pages may lie beside them.
const PROGRAMS: [&str; 18] = [
    "Cargo.toml",
    "Gemfile",
    "Pipfile",
    "build.gradle",
    "build.gradle.kts",
    "composer.json",
    "config.ru",
    "deno.json",
    "go.mod",
    "index.php",
    "main.go",
    "main.py",
    "app.py",
    "manage.py",
    "mix.exs",
    "pom.xml",
    "pyproject.toml",
    "requirements.txt",
];

/// Files of a plain folder that no browser asks for.
const FOR_DEVELOPERS: [&str; 12] = [
    "Makefile",
    "README*",
    "Staticfile",
    "_headers",
    "_redirects",
    ".github",
    ".gitignore",
    ".vscode",
    "package.json",
    "package-lock.json",
    "pnpm-lock.yaml",
    "yarn.lock",
];

impl Language for Site {
    fn name(&self) -> &'static str {
        "site"
    }

    /// A project of npm's is a site when its framework builds one, or when it has no program and a page. Beside files of
    /// another language, pages are a part of that app.
    fn is_app(&self, folder: &AppFolder) -> bool {
        if PROGRAMS.iter().any(|name| folder.is_file(name)) {
            return false;
        }
        node::site(folder, &crate::values::BuildWish::default()).is_some()
            || (!node::starts(folder) && root(folder, &Rules::default()).is_some())
    }

    fn read(&self, source: &Source<'_>) -> Result<Facts, LanguageError> {
        let rules = Rules::read(source)?;
        let built = if source.builds { node::site(source.folder, source.build) } else { None };
        let (root, single_page, build, without) = match built {
            Some(SiteBuild { folder, single_page, build }) => (folder, single_page, Some(build), patterns(&["**"])),
            None => {
                let Some(root) = root(source.folder, &rules) else { return Err(no_page(source)) };
                let without = without(&root);
                (root, false, None, without)
            }
        };
        let single_page = source.build.single_page.unwrap_or(single_page || rules.single_page);
        let port = source.port.unwrap_or(nginx::PORT);
        let server = Server { root: &root, port, single_page, rules: &rules };
        let text = match source.read(NGINX)? {
            Some(own) => server.with_own(&own),
            None => server.configuration(),
        };
        let (name, version) = node::named(source)?;
        Ok(Facts {
            name,
            version,
            build,
            without,
            files: vec![GeneratedFile { path: NGINX.to_owned(), text, executable: false }],
            dependencies: Some(Dependencies::default()),
            warnings: rules.warnings,
            ..Facts::default()
        })
    }

    fn components(&self, folder: &AppFolder, files: &[AppFile]) -> Vec<Component> {
        node::Node.components(folder, files)
    }

    fn explain(&self, line: &str) -> Option<Explanation> {
        node::Node.explain(line)
    }
}

/// The folder with the site's first page: the one that the rules name, else the first that has one.
fn root(folder: &AppFolder, rules: &Rules) -> Option<String> {
    if let Some(root) = &rules.root {
        return Some(root.clone());
    }
    let page = |root: &str| if root.is_empty() { "index.html".to_owned() } else { format!("{root}/index.html") };
    FOLDERS.iter().find(|root| folder.is_file(&page(root))).map(|root| (*root).to_owned())
}

/// The files beside the site in `root` that it does not need.
fn without(root: &str) -> Vec<Pattern> {
    if root.is_empty() { patterns(&FOR_DEVELOPERS) } else { patterns(&["**", &format!("!{root}")]) }
}

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

fn no_page(source: &Source<'_>) -> LanguageError {
    let looked =
        FOLDERS.map(|folder| if folder.is_empty() { "index.html".to_owned() } else { format!("{folder}/index.html") });
    LanguageError::Unusable {
        message: format!("expected a page in {}, found none of {}", source.folder.path().display(), looked.join(", ")),
        hint: Some("a file Staticfile with `root: FOLDER` names the folder of the site; --build builds it".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::testing::Draft;

    /// What is served of a project with `files`: the folder, how it is built, whether one page answers for all.
    fn served(files: &[(&str, &str)]) -> String {
        let facts = match Draft::new(files).read(&Site) {
            Ok(facts) => facts,
            Err(error) => return error.lines().next().unwrap_or_default().to_owned(),
        };
        let text = &facts.files[0].text;
        let root = text.lines().find_map(|line| line.trim().strip_prefix("root ")).unwrap_or_default();
        let tried = text.lines().find_map(|line| line.trim().strip_prefix("try_files ")).unwrap_or_default();
        let page = if tried.contains("/index.html;") { " single" } else { "" };
        let run = facts.build.map_or_else(String::new, |build| format!(" by {}", build.run));
        format!("{}{page}{run}", root.trim_end_matches(';'))
    }

    #[test]
    fn a_site_is_where_its_page_is() {
        for (files, expected) in [
            (&[("index.html", "")][..], "."),
            (&[("public/index.html", ""), ("README.md", "")], "public"),
            (&[("Staticfile", "root: web\n"), ("web/a.html", "")], "web"),
            (&[("Staticfile", "pushstate: enabled\n"), ("index.html", "")], ". single"),
            (&[("_redirects", "/*  /index.html  200\n"), ("index.html", "")], ". single"),
            (
                &[
                    ("package.json", r#"{"scripts": {"build": "vite build"}, "devDependencies": {"vite": "6"}}"#),
                    ("index.html", ""),
                ],
                "dist single by npm run build",
            ),
            (
                &[(
                    "package.json",
                    r#"{"dependencies": {"react-scripts": "5"}, "scripts": {"start": "react-scripts start"}}"#,
                )],
                "build single by react-scripts build",
            ),
            (
                &[("package.json", r#"{"scripts": {"build": "astro build"}, "dependencies": {"astro": "5"}}"#)],
                "dist by npm run build",
            ),
            (
                &[("readme", "")],
                "expected a page in shop, found none of index.html, public/index.html, dist/index.html, \
                build/index.html, _site/index.html, site/index.html, www/index.html, html/index.html, out/index.html, docs/index.html",
            ),
        ] {
            assert_eq!(served(files), expected, "{files:?}");
        }
    }
}
