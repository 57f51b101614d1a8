//! PHP: `composer.json` (<https://getcomposer.org/doc/04-schema.md>), and the results and messages of Composer.

mod site;

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Component, Explanation, Facts, Language, LanguageError, Source, WantedRuntime, explain, json, versions::Releases,
};
use crate::{app_folder::AppFolder, listing::AppFile};

/// PHP, with Composer.
#[derive(Debug)]
pub(super) struct Php;

impl Language for Php {
    fn name(&self) -> &'static str {
        "php"
    }

    fn read(&self, source: &Source<'_>) -> Result<Facts, LanguageError> {
        let manifest = source.read(MANIFEST)?.map(|text| json(&text, &source.place(MANIFEST))).transpose()?;
        let manifest = manifest.unwrap_or_default();
        let text = |value: &Value| value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned);
        let range = text(&manifest["require"]["php"]);
        let runtime = range.and_then(|range| {
            WantedRuntime::advised("PHP", &range, Some("require.php"), MANIFEST, Releases::composer(&range))
        });
        let mut facts = Facts {
            name: text(&manifest["name"]),
            version: text(&manifest["version"]),
            runtime,
            extensions: extensions(source, &manifest)?,
            ..Facts::default()
        };
        site::tell_framework(source, &mut facts);
        if source.starts {
            site::serve(source, &manifest, &mut facts);
        }
        Ok(facts)
    }

    /// A project of Composer alone may be for its tools, such as those of a WordPress theme's build.
    fn is_app(&self, folder: &AppFolder) -> bool {
        let names = folder.list("").ok().flatten().unwrap_or_default();
        let is_source = |name: &str| name.ends_with(".php") || name == "artisan";
        names.iter().filter_map(|entry| entry.name.to_str()).any(is_source)
            || folder.is_file("bin/console")
            || site::ROOTS.iter().any(|root| folder.is_file(&format!("{root}/index.php")))
    }

    fn components(&self, folder: &AppFolder, files: &[AppFile]) -> Vec<Component> {
        super::components(
            folder,
            files,
            |path| path.ends_with("vendor/composer/installed.json"),
            |text| {
                let installed: Value = serde_json::from_str(text).ok()?;
                // In Composer 1 the file is the list.
                let packages = installed["packages"].as_array().or_else(|| installed.as_array())?;
                let component = |package: &Value| {
                    let (name, version) =
                        (package["name"].as_str()?.to_owned(), package["version"].as_str()?.to_owned());
                    let purl = super::purl("composer", &name.to_ascii_lowercase(), &version);
                    Some(Component { name, version, purl })
                };
                Some(packages.iter().filter_map(component).collect())
            },
        )
    }

    /// Heroku's programs, which start a web server as this recipe does.
    fn is_manager(&self, command: &str) -> bool {
        matches!(command.rsplit('/').next(), Some("heroku-php-apache2" | "heroku-php-nginx"))
    }

    fn explain(&self, line: &str) -> Option<Explanation> {
        explain::find(line, SAYINGS)
    }
}

/// The extensions that the project and the packages of its lock ask for, without `ext-`; sorted.
fn extensions(source: &Source<'_>, manifest: &Value) -> Result<Vec<String>, LanguageError> {
    let lock =
        source.read(LOCK_FILE)?.map(|text| json(&text, &source.place(LOCK_FILE))).transpose()?.unwrap_or_default();
    let packages = lock["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let asked = packages.iter().chain([manifest]).filter_map(|package| package["require"].as_object());
    let names = asked.flat_map(|asked| asked.keys()).filter_map(|name| name.strip_prefix("ext-"));
    Ok(names.map(str::to_ascii_lowercase).collect::<BTreeSet<_>>().into_iter().collect())
}

/// Composer's lock file.
const LOCK_FILE: &str = "composer.lock";

/// The file that describes a project.
const MANIFEST: &str = "composer.json";

const SAYINGS: &[(&str, Explanation)] = &[
    (
        "does not satisfy that requirement",
        Explanation::hint(
            "the base has another PHP than the project, or a package of its lock file, asks for: another release has another one \
             (--base alpine:edge, alpine:3.22, debian:trixie, …)",
        ),
    ),
    (
        "is missing from your system",
        Explanation::hint(
            "an extension of PHP is missing: -p brings it, such as -p php84-intl (Alpine) or -p php-intl (Debian)",
        ),
    ),
    ("lock file is not up to date", Explanation::lock(LOCK)),
    ("is not present in the lock file", Explanation::lock(LOCK)),
    ("Network disabled, request canceled", Explanation::NotCached),
];

const LOCK: &str =
    "bring composer.lock up to date with composer.json: `microbuild dev php APP -- composer update --lock`";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::testing::Draft;

    #[test]
    fn reads_composer_json() {
        let text = r#"{"name": "team/shop", "version": "1.0.0", "require": {"php": "^8.3", "ext-intl": "*"}}"#;
        let facts = Draft::new(&[("composer.json", text)]).read(&Php).unwrap();
        assert_eq!((facts.name.as_deref(), facts.version.as_deref()), (Some("team/shop"), Some("1.0.0")));
        let wanted = facts.runtime.unwrap();
        assert_eq!(wanted.place(), "require.php in composer.json");
        assert!(wanted.fits("8.4.14-r0") && !wanted.fits("2:8.2.29-1~deb12u1"));
        assert_eq!(facts.extensions, ["intl"]);
        assert_eq!(Draft::new(&[("worker.php", "")]).read(&Php), Ok(Facts::default()));
        assert_eq!(Draft::new(&[("composer.json", r#"{"name": 1, "require": []}"#)]).read(&Php), Ok(Facts::default()));
        assert_eq!(
            Draft::new(&[("composer.json", "{")]).read(&Php).unwrap_err(),
            "shop/composer.json:1:1: EOF while parsing an object"
        );
    }

    #[test]
    fn extensions_are_those_of_the_project_and_of_its_lock() {
        let lock = r#"{"packages": [{"require": {"php": "*", "ext-GD": "*"}}, {"name": "a/b"}], "packages-dev": [{"require": {"ext-xdebug": "*"}}]}"#;
        let project =
            [("composer.json", r#"{"require": {"ext-pdo_mysql": "*", "ext-gd": "*"}}"#), ("composer.lock", lock)];
        assert_eq!(Draft::new(&project).read(&Php).unwrap().extensions, ["gd", "pdo_mysql"]);
    }

    #[test]
    fn lists_what_is_installed() {
        let packages = r#"[{"name": "Monolog/monolog", "version": "3.7.0"}, {"name": "a/b"}, {"name": "psr/log", "version": "dev-main"}]"#;
        for text in [format!(r#"{{"packages": {packages}, "dev": false}}"#), packages.to_owned()] {
            let project = Draft::new(&[("vendor/composer/installed.json", text)]);
            assert_eq!(project.purls(&Php), ["pkg:composer/monolog/monolog@3.7.0", "pkg:composer/psr/log@dev-main"]);
        }
        assert_eq!(Draft::new(&[("vendor/composer/installed.json", "?")]).purls(&Php), [""; 0]);
    }

    #[test]
    fn explains_composer() {
        let line = "    - Root composer.json requires php ^9.0 but your php version (8.4.14) does not satisfy that requirement.";
        assert!(matches!(Php.explain(line), Some(Explanation::Hint(hint)) if hint.contains("another PHP")));
    }
}
