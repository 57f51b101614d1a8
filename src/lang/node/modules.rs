//! The packages in an installed `node_modules`.

use std::path::Path;

use serde_json::Value;

use super::{
    super::{Component, LARGEST, purl},
    manifest::Package,
};
use crate::{app_folder::AppFolder, listing::AppFile};

/// Programs that compile a package during installation, or download a binary for this very machine.
const COMPILERS: [&str; 5] = ["node-gyp", "node-gyp-build", "node-pre-gyp", "prebuild-install", "cmake-js"];

/// Finds the installed packages among `files`, which are sorted by path. Returns each package's folder name and the
/// path of its `package.json`. Any other `package.json` within a package is skipped.
fn packages(files: &[AppFile]) -> impl Iterator<Item = (&str, &str)> {
    files.iter().filter_map(|file| {
        let folder = file.path.strip_suffix("/package.json")?;
        let (modules, name) = folder.rsplit_once("node_modules/").unwrap_or(("", folder));
        let is_own = (modules.is_empty() || modules.ends_with('/'))
            && name.matches('/').count() == usize::from(name.starts_with('@'));
        is_own.then_some((name, file.path.as_str()))
    })
}

/// Lists the packages that are installed in `folder`, each once.
pub(super) fn components(folder: &AppFolder, files: &[AppFile]) -> Vec<Component> {
    let mut components: Vec<_> = packages(files).filter_map(|(_, path)| component(folder, path)).collect();
    components.sort();
    components.dedup();
    components
}

/// Reads the package whose `package.json` is at `path` in `folder`.
fn component(folder: &AppFolder, path: &str) -> Option<Component> {
    let text = folder.read(path, LARGEST).ok()??;
    let Package { name, version, .. } = Package::parse(&text, Path::new(path)).ok()?;
    let (name, version) = (name?, version?);
    let purl = purl("npm", &name, &version);
    Some(Component { name, version, purl })
}

/// Finds the packages installed in `root` that have to be compiled: their install script compiles, or downloads a binary for
/// this machine, and they bring no binary (`prebuilds/linux-arm64`).
pub(super) fn uncompiled(root: &AppFolder, files: &[AppFile], os: &str, cpu: &str) -> Vec<String> {
    let has = |path: &str| files.binary_search_by(|file| file.path.as_str().cmp(path)).is_ok();
    let mut found = Vec::new();
    for (name, path) in packages(files) {
        let folder = path.strip_suffix("/package.json").unwrap_or(path);
        let text = root.read(path, LARGEST).ok().flatten().unwrap_or_default();
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        let script = json["scripts"]["install"].as_str();
        let compiles = match script {
            Some(script) => script.split([' ', '|', '&', '(', ')', ';']).any(|word| COMPILERS.contains(&word)),
            // npm's default (its documentation, "scripts", "install").
            None => has(&format!("{folder}/binding.gyp")) && json["gypfile"] != false,
        };
        if compiles && !has(&format!("{folder}/prebuilds/{os}-{cpu}")) {
            found.push(name.to_owned());
        }
    }
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::{super::Node, *};
    use crate::lang::testing::Draft;

    #[test]
    fn finds_what_must_be_compiled() {
        let project = Draft::new(&[
            ("node_modules/a/package.json", r#"{"scripts": {"install": "node-gyp rebuild"}}"#),
            ("node_modules/a/test/package.json", r#"{"scripts": {"install": "node-gyp rebuild"}}"#),
            ("node_modules/b/node_modules/@s/c/binding.gyp", ""),
            ("node_modules/b/node_modules/@s/c/package.json", "{}"),
            ("node_modules/b/package.json", r#"{"scripts": {"install": "node check.js"}}"#),
            ("node_modules/d/package.json", r#"{"scripts": {"install": "node-gyp-build || true"}}"#),
            ("node_modules/d/prebuilds/linux-arm64", ""),
            ("node_modules/e/package.json", r#"{"scripts": {"install": "prebuild-install || node-gyp rebuild"}}"#),
            ("node_modules/f/package.json", "no JSON"),
        ]);
        let (app, files) = (project.folder(), project.files());
        assert_eq!(uncompiled(app, &files, "linux", "arm64"), ["a", "@s/c", "e"]);
        assert_eq!(uncompiled(app, &files, "linux", "x64"), ["a", "@s/c", "d", "e"]);
    }

    #[test]
    fn lists_what_is_installed() {
        let project = Draft::new(&[
            ("node_modules/a/package.json", r#"{"name": "a", "version": "1.0.0"}"#),
            ("node_modules/a/test/package.json", r#"{"name": "no", "version": "1.0.0"}"#),
            ("node_modules/b/node_modules/@s/c/package.json", r#"{"name": "@s/c", "version": "2.0.0-rc.1+x"}"#),
            ("node_modules/b/node_modules/a/package.json", r#"{"name": "a", "version": "1.0.0"}"#),
            ("node_modules/b/package.json", "no JSON"),
        ]);
        assert_eq!(project.purls(&Node), ["pkg:npm/%40s/c@2.0.0-rc.1%2Bx", "pkg:npm/a@1.0.0"]);
    }
}
