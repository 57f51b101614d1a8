//! Lock files of Poetry and Pipenv as requirements with hashes
//! (<https://pip.pypa.io/en/stable/reference/requirements-file-format/>).

use std::{fmt::Write as _, path::Path};

use serde_json::Value as Json;
use toml::Value;

use crate::lang::{LanguageError, json, toml_document};

/// The requirements that a `poetry.lock` of Poetry 2 has for its group `main`; `file` is its name in messages.
///
/// # Errors
/// When it is no such file, an older one, or has a package that comes from no index.
pub fn poetry_lock(text: &str, file: &Path) -> Result<String, LanguageError> {
    let lock = toml_document(text, file)?;
    let mut requirements = Requirements { file, text: String::new() };
    for package in lock.get("package").and_then(Value::as_array).into_iter().flatten() {
        let field = |key: &str| package.get(key).and_then(Value::as_str).unwrap_or_default();
        let name = field("name");
        let Some(groups) = package.get("groups").and_then(Value::as_array) else {
            let version = lock.get("metadata").and_then(|about| about.get("lock-version")).and_then(Value::as_str);
            return Err(LanguageError::Unusable {
                message: format!(
                    "{}: expected a lock of Poetry 2, with the groups of every package, found one of an older Poetry (lock-version {})",
                    file.display(),
                    version.unwrap_or("unknown").escape_debug()
                ),
                hint: Some("`poetry lock` of Poetry 2 writes a new one".into()),
            });
        };
        if !groups.iter().any(|group| group.as_str() == Some("main")) {
            continue;
        }
        let source = package.get("source").and_then(|source| source.get("type")).and_then(Value::as_str);
        // An index that has a name of its own.
        if let Some(kind) = source.filter(|kind| *kind != "legacy" && *kind != "pypi") {
            return Err(requirements.not_of_an_index(name, kind));
        }
        let marker = match package.get("markers") {
            Some(Value::String(marker)) => marker,
            Some(by_group) => by_group.get("main").and_then(Value::as_str).unwrap_or_default(),
            None => "",
        };
        let files = package.get("files").and_then(Value::as_array).into_iter().flatten();
        let hashes = files.filter_map(|file| file.get("hash").and_then(Value::as_str));
        requirements.add(name, &[], field("version"), marker, hashes)?;
    }
    Ok(requirements.text)
}

/// The requirements that a `Pipfile.lock` has for `default`; `file` is its name in messages.
///
/// # Errors
/// When it is no such file, or has a package that comes from no index.
pub fn pipfile_lock(text: &str, file: &Path) -> Result<String, LanguageError> {
    let lock = json(text, file)?;
    let mut requirements = Requirements { file, text: String::new() };
    for (name, package) in lock["default"].as_object().into_iter().flatten() {
        let Some(version) = package["version"].as_str() else {
            let known =
                ["git", "hg", "svn", "bzr", "path", "file"].into_iter().find(|kind| package.get(*kind).is_some());
            return Err(requirements.not_of_an_index(name, known.unwrap_or("no version")));
        };
        let texts = |key: &str| package[key].as_array().into_iter().flatten().filter_map(Json::as_str);
        let extras: Vec<_> = texts("extras").collect();
        let marker = package["markers"].as_str().unwrap_or_default();
        requirements.add(name, &extras, version.trim_start_matches('='), marker, texts("hashes"))?;
    }
    Ok(requirements.text)
}

/// Requirements, one a line. What stands in a lock file may be a stranger's: none of it can become another line, or an option.
struct Requirements<'a> {
    file: &'a Path,
    text: String,
}

impl Requirements<'_> {
    fn add<'h>(
        &mut self,
        name: &str,
        extras: &[&str],
        version: &str,
        marker: &str,
        hashes: impl Iterator<Item = &'h str>,
    ) -> Result<(), LanguageError> {
        let hashes: Vec<_> = hashes.collect();
        self.check(name, "the name of a package", is_name(name), name)?;
        for extra in extras {
            self.check(name, "the name of an extra", is_name(extra), extra)?;
        }
        self.check(name, "a version", is_version(version), version)?;
        self.check(name, "a marker", is_marker(marker), marker)?;
        self.check(name, "hashes of its files", !hashes.is_empty(), "none")?;
        for hash in &hashes {
            self.check(name, "a hash such as sha256:0123…", is_hash(hash), hash)?;
        }
        let extras = if extras.is_empty() { String::new() } else { format!("[{}]", extras.join(",")) };
        let marker = if marker.is_empty() { String::new() } else { format!(" ; {marker}") };
        let hashes: String = hashes.iter().fold(String::new(), |mut text, hash| {
            // Memory takes all.
            let _ = write!(text, " --hash={hash}");
            text
        });
        self.text += &format!("{name}{extras}=={version}{marker}{hashes}\n");
        Ok(())
    }

    fn check(&self, name: &str, expected: &str, is: bool, found: &str) -> Result<(), LanguageError> {
        if is {
            return Ok(());
        }
        let (file, name, found) = (self.file.display(), name.escape_debug(), found.escape_debug());
        Err(LanguageError::Unusable {
            message: format!("{file}: expected {expected} for `{name}`, found {found}"),
            hint: None,
        })
    }

    fn not_of_an_index(&self, name: &str, found: &str) -> LanguageError {
        let (file, name, found) = (self.file.display(), name.escape_debug(), found.escape_debug());
        LanguageError::Unusable {
            message: format!(
                "{file}: expected package `{name}` to come from an index, found a source of the kind {found}"
            ),
            hint: Some("publish it to an index; or install by yourself, and build with --deps copy".into()),
        }
    }
}

/// PyPA, "Names and normalization".
fn is_name(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    ends(text.chars().next())
        && ends(text.chars().next_back())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

fn is_version(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+' | b'!'))
}

/// What a marker is written with (PyPA, "Dependency specifiers"); `--` would begin an option.
fn is_marker(text: &str) -> bool {
    let is_of_markers = |b: u8| b.is_ascii_alphanumeric() || b" _.'\"<>=!~(),*+-/".contains(&b);
    text.bytes().all(is_of_markers) && !text.contains("--")
}

fn is_hash(text: &str) -> bool {
    let is_hex = |hex: &str| !hex.is_empty() && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_algorithm = |name: &str| matches!(name, "sha256" | "sha384" | "sha512");
    text.split_once(':').is_some_and(|(algorithm, hex)| is_algorithm(algorithm) && is_hex(hex))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Explain as _;

    fn told(result: Result<String, LanguageError>) -> String {
        result.unwrap_or_else(|error| format!("{error}\nhint: {}", error.hint().unwrap_or_default()))
    }

    fn poetry(text: &str) -> String {
        told(poetry_lock(text, Path::new("poetry.lock")))
    }

    fn pipenv(text: &str) -> String {
        told(pipfile_lock(text, Path::new("Pipfile.lock")))
    }

    #[test]
    fn a_lock_of_poetry() {
        let text = r#"
# This file is automatically @generated by Poetry 2.1.3 and should not be changed by hand.

[[package]]
name = "certifi"
version = "2024.8.30"
description = "Python package for providing Mozilla's CA Bundle."
optional = false
python-versions = ">=3.6"
groups = ["main", "dev"]
files = [
    {file = "certifi-2024.8.30-py3-none-any.whl", hash = "sha256:aa"},
    {file = "certifi-2024.8.30.tar.gz", hash = "sha256:bb"},
]

[[package]]
name = "colorama"
version = "0.4.6"
optional = false
python-versions = ">=2.7"
groups = ["main", "dev"]
markers = {main = "platform_system == \"Windows\"", dev = "sys_platform == \"win32\""}
files = [{file = "colorama-0.4.6-py2.py3-none-any.whl", hash = "sha256:cc"}]

[[package]]
name = "pysocks"
version = "1.7.1"
optional = true
python-versions = "*"
groups = ["main"]
markers = "extra == \"socks\""
files = [{file = "PySocks-1.7.1-py3-none-any.whl", hash = "sha256:dd"}]

[[package]]
name = "pytest"
version = "8.3.3"
optional = false
python-versions = ">=3.8"
groups = ["dev"]
files = [{file = "pytest-8.3.3-py3-none-any.whl", hash = "sha256:ee"}]

[package.dependencies]
colorama = {version = "*", markers = "sys_platform == \"win32\""}

[[package]]
name = "internal.tool"
version = "2!1.0+local"
optional = false
python-versions = "*"
groups = ["main"]
files = [{file = "x.whl", hash = "sha256:ff"}]

[package.source]
type = "legacy"
url = "https://packages.example/simple"
reference = "ours"

[extras]
socks = ["pysocks"]

[metadata]
lock-version = "2.1"
python-versions = ">=3.10"
content-hash = "00"
"#;
        assert_eq!(
            poetry(text),
            "certifi==2024.8.30 --hash=sha256:aa --hash=sha256:bb\n\
             colorama==0.4.6 ; platform_system == \"Windows\" --hash=sha256:cc\n\
             pysocks==1.7.1 ; extra == \"socks\" --hash=sha256:dd\n\
             internal.tool==2!1.0+local --hash=sha256:ff\n"
        );
        assert_eq!(poetry("package = []\n[metadata]\nlock-version = '2.1'\n"), "");
    }

    #[test]
    fn locks_of_poetry_that_cannot_be_used() {
        let package = |more: &str| {
            poetry(&format!(
                "[[package]]\nname = 'a'\nversion = '1'\ngroups = ['main']\nfiles = [{{hash = 'sha256:0'}}]\n{more}\n"
            ))
        };
        assert_eq!(package(""), "a==1 --hash=sha256:0\n");
        assert_eq!(
            package("[package.source]\ntype = 'git'\nurl = 'x'"),
            "poetry.lock: expected package `a` to come from an index, found a source of the kind git\nhint: publish it to an index; \
             or install by yourself, and build with --deps copy"
        );
        assert_eq!(
            poetry("[[package]]\nname = 'a'\nversion = '1'\ncategory = 'main'\n[metadata]\nlock-version = '2.0'\n"),
            "poetry.lock: expected a lock of Poetry 2, with the groups of every package, found one of an older Poetry \
             (lock-version 2.0)\nhint: `poetry lock` of Poetry 2 writes a new one"
        );
        assert!(poetry("[[package]\n").starts_with("poetry.lock:1:"), "{}", poetry("[[package]\n"));
        for marker in ["x\\n--index-url=http://evil", "a == 'b' --index-url", "a # b", "a \\\\"] {
            let found = package(&format!("markers = \"{marker}\""));
            assert!(found.starts_with("poetry.lock: expected a marker for `a`, found "), "{found}");
        }
        for (name, version) in [("a b", "1"), ("-r x", "1"), ("", "1"), ("a", ""), ("a", "1 --pre"), ("a", "1\\n")] {
            let text = format!(
                "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\ngroups = ['main']\nfiles = [{{hash = 'sha256:0'}}]\n"
            );
            assert!(poetry(&text).starts_with("poetry.lock: expected "), "{}", poetry(&text));
        }
        let text = "[[package]]\nname = 'a'\nversion = '1'\ngroups = ['main']\nfiles = []\n";
        assert_eq!(poetry(text), "poetry.lock: expected hashes of its files for `a`, found none\nhint: ");
    }

    #[test]
    fn a_lock_of_pipenv() {
        let text = r#"{
            "_meta": {"hash": {"sha256": "00"}, "pipfile-spec": 6, "requires": {"python_version": "3.11"},
                "sources": [{"name": "pypi", "url": "https://packages.example/simple", "verify_ssl": true}]},
            "default": {
                "requests": {"extras": ["socks", "use-chardet"], "hashes": ["sha256:aa", "sha256:bb"], "index": "pypi",
                    "markers": "python_version >= '3.8'", "version": "==2.32.3"},
                "six": {"hashes": ["sha256:cc"], "version": "==1.16.0"}
            },
            "develop": {"pytest": {"hashes": ["sha256:dd"], "version": "==8.3.3"}}
        }"#;
        assert_eq!(
            pipenv(text),
            "requests[socks,use-chardet]==2.32.3 ; python_version >= '3.8' --hash=sha256:aa --hash=sha256:bb\n\
             six==1.16.0 --hash=sha256:cc\n"
        );
        assert_eq!(pipenv("{}"), "");
        assert_eq!(
            pipenv(r#"{"default": {"a": {"git": "https://x", "ref": "0"}}}"#),
            "Pipfile.lock: expected package `a` to come from an index, found a source of the kind git\nhint: publish it to an \
             index; or install by yourself, and build with --deps copy"
        );
        assert!(pipenv("{").starts_with("Pipfile.lock:1:1: "));
    }
}
