//! phpenmod(8), which the scripts of PHP's packages call: an extension's settings become
//! `/etc/php/VERSION/mods-available/NAME.ini`, and each of PHP's programs (SAPIs) reads them by a link
//! `/etc/php/VERSION/SAPI/conf.d/PRIORITY-NAME.ini`.
//!
//! Packages of PHP itself have the settings as `/usr/share/phpVERSION-PACKAGE/EXTENSION/NAME.ini`, those of PECL have them in
//! place.

use super::super::Tree;

/// The priority of an extension whose settings do not say one.
const PRIORITY: &str = "20";

/// The path, when it is one of an extension's settings.
pub(super) fn settings(path: &str) -> Option<String> {
    version(path).is_some().then(|| path.to_owned())
}

/// The version of PHP that the settings at `path` are for.
fn version(path: &str) -> Option<&str> {
    let parts: Vec<&str> = path.split('/').collect();
    if !path.ends_with(".ini") {
        return None;
    }
    match parts[..] {
        ["usr", "share", package, _, _] => package.strip_prefix("php")?.split_once('-').map(|(version, _)| version),
        ["etc", "php", version, "mods-available", _] => Some(version),
        _ => None,
    }
    .filter(|version| version.starts_with(|c: char| c.is_ascii_digit()))
}

/// Enables the extension with the settings `text` at `path`, unless its library is not in the `tree`.
pub(super) fn enable(tree: &mut Tree, path: &str, text: &str) {
    let Some(version) = version(path) else { return };
    let name = path.rsplit('/').next().unwrap_or(path);
    if let Some(library) = library(text)
        && !tree.iter().any(|(path, _)| path.starts_with("usr/lib/php/") && path.ends_with(&format!("/{library}")))
    {
        return;
    }
    let place = format!("etc/php/{version}/mods-available/{name}");
    if place != path {
        tree.write(&place, 0o644, text.as_bytes());
    }
    let programs = format!("usr/lib/php/{version}/sapi/");
    let programs: Vec<String> =
        tree.iter().filter_map(|(path, _)| path.strip_prefix(&programs).map(str::to_owned)).collect();
    for program in programs {
        let link = format!("etc/php/{version}/{program}/conf.d/{}-{name}", priority(text));
        if tree.get(&link).is_none() {
            tree.link(&link, &format!("/{place}"));
        }
    }
}

/// The file of the extension, when it is loaded from one: `extension=NAME.so`.
fn library(text: &str) -> Option<&str> {
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        matches!(key.trim(), "extension" | "zend_extension").then(|| value.trim().trim_matches('"'))
    })?;
    value.ends_with(".so").then_some(value)
}

/// The priority in the line `; priority=20`.
fn priority(text: &str) -> &str {
    let said = text.lines().find_map(|line| {
        line.trim_start_matches([';', ' ']).strip_prefix("priority=").filter(|_| line.starts_with(';')).map(str::trim)
    });
    said.filter(|said| !said.is_empty() && said.bytes().all(|b| b.is_ascii_digit())).unwrap_or(PRIORITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_tell_the_version_of_php() {
        for (path, expected) in [
            ("usr/share/php8.2-mysql/mysql/pdo_mysql.ini", Some("8.2")),
            ("etc/php/8.4/mods-available/redis.ini", Some("8.4")),
            ("etc/php/8.4/cli/php.ini", None),
            ("usr/share/php/x/y.ini", None),
            ("usr/share/php-common/x/y.ini", None),
            ("usr/share/php8.2-mysql/mysql/readme", None),
        ] {
            assert_eq!(version(path), expected, "{path}");
        }
    }

    #[test]
    fn an_extension_is_enabled_for_each_program_where_its_library_is() {
        let mut tree = Tree::default();
        for path in ["usr/lib/php/8.2/sapi/cli", "usr/lib/php/8.2/sapi/apache2", "usr/lib/php/20220829/pdo_mysql.so"] {
            tree.write(path, 0o644, "");
        }
        enable(&mut tree, "usr/share/php8.2-mysql/mysql/pdo_mysql.ini", "; priority=25\nextension=pdo_mysql.so\n");
        enable(&mut tree, "usr/share/php8.2-mysql/mysql/mysqli.ini", "extension=mysqli.so\n");
        enable(&mut tree, "etc/php/8.2/mods-available/own.ini", "a=1\n");
        enable(&mut tree, "etc/php/8.4/mods-available/own.ini", "a=1\n");
        let links: Vec<&str> = tree.iter().map(|(path, _)| path).filter(|path| path.contains("conf.d/")).collect();
        assert_eq!(
            links,
            [
                "etc/php/8.2/apache2/conf.d/20-own.ini",
                "etc/php/8.2/apache2/conf.d/25-pdo_mysql.ini",
                "etc/php/8.2/cli/conf.d/20-own.ini",
                "etc/php/8.2/cli/conf.d/25-pdo_mysql.ini",
            ]
        );
        assert_eq!(tree.resolve(links[1]).as_deref(), Some("etc/php/8.2/mods-available/pdo_mysql.ini"));
        assert!(tree.get("etc/php/8.2/mods-available/mysqli.ini").is_none());
    }
}
