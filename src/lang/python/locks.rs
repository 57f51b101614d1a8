//! Lock files of Pipenv and PDM as requirements with hashes
//! (<https://pip.pypa.io/en/stable/reference/requirements-file-format/>). Poetry's are in [`super::poetry`].

use std::{fmt::Write as _, path::Path};

use serde_json::Value as Json;
use toml::Value;

use super::choice::Choice;
use crate::lang::{LanguageError, json, toml_document};

/// The requirements that a `Pipfile.lock` has for `default`; `file` is its name in messages.
///
/// # Errors
/// When it is no such file, or has a package from a place that is not supported.
pub fn pipfile_lock(text: &str, file: &Path) -> Result<String, LanguageError> {
    let lock = json(text, file)?;
    let mut locked = Locked::new(file);
    for source in lock["_meta"]["sources"].as_array().into_iter().flatten() {
        // A variable in the address is the user's: PIP_EXTRA_INDEX_URL and the like name such an index.
        locked.index(source["url"].as_str().filter(|url| !url.contains('$')).unwrap_or_default());
    }
    for (name, package) in lock["default"].as_object().into_iter().flatten() {
        let texts = |key: &str| package[key].as_array().into_iter().flatten().filter_map(Json::as_str);
        let field = |key: &str| package[key].as_str();
        let extras: Vec<_> = texts("extras").collect();
        let marker = field("markers").unwrap_or_default();
        match (field("git"), field("path").or(field("file")), field("version")) {
            (Some(url), ..) => {
                locked.git(name, url, field("ref").unwrap_or_default(), field("subdirectory"), marker)?;
            }
            (_, Some(place), _) => locked.place(name, place, marker)?,
            (.., Some(version)) => {
                locked.add(name, &extras, version.trim_start_matches('='), marker, texts("hashes"))?;
            }
            _ => return Err(locked.unknown(name, "no version")),
        }
    }
    Ok(locked.text)
}

/// The requirements that a `pdm.lock` has for its group `default`; `file` is its name in messages.
///
/// # Errors
/// As [`pipfile_lock`]; and when it does not tell the groups of its packages.
pub fn pdm_lock(text: &str, file: &Path) -> Result<String, LanguageError> {
    pdm(text, file, &Choice::default())
}

/// As [`pdm_lock`], with the groups of a choice.
pub(super) fn pdm(text: &str, file: &Path, choice: &Choice) -> Result<String, LanguageError> {
    let lock = toml_document(text, file)?;
    let mut locked = Locked::new(file);
    for package in lock.get("package").and_then(Value::as_array).into_iter().flatten() {
        let field = |key: &str| package.get(key).and_then(Value::as_str);
        let name = field("name").unwrap_or_default();
        let list = |key: &str| package.get(key).and_then(Value::as_array);
        let Some(groups) = list("groups") else {
            return Err(LanguageError::Unusable {
                message: format!(
                    "{}: expected the groups of every package, found none for `{}`",
                    file.display(),
                    name.escape_debug()
                ),
                hint: Some("`pdm lock --strategy inherit_metadata` writes them".into()),
            });
        };
        let is_wanted = |group: &str| {
            group == "default" || choice.groups.iter().chain(&choice.extras).any(|chosen| chosen == group)
        };
        if !groups.iter().filter_map(Value::as_str).any(is_wanted) {
            continue;
        }
        let extras: Vec<_> = list("extras").into_iter().flatten().filter_map(Value::as_str).collect();
        let marker = field("marker").unwrap_or_default();
        let hashes = list("files").into_iter().flatten().filter_map(|file| file.get("hash").and_then(Value::as_str));
        match (field("git"), field("path").or(field("url"))) {
            (Some(url), _) => {
                let rev = field("revision").or(field("ref")).unwrap_or_default();
                locked.git(name, url, rev, field("subdirectory"), marker)?;
            }
            (None, Some(place)) => locked.place(name, place, marker)?,
            (None, None) => locked.add(name, &extras, field("version").unwrap_or_default(), marker, hashes)?,
        }
    }
    Ok(locked.text)
}

/// Requirements, one a line. What stands in a lock file may be a stranger's: none of it can become another line, or an option.
pub(super) struct Locked<'a> {
    file: &'a Path,
    pub(super) text: String,
}

impl<'a> Locked<'a> {
    pub(super) fn new(file: &'a Path) -> Self {
        Self { file, text: String::new() }
    }

    /// Adds an index, at most once. PyPI is asked anyway, and what is no address is ignored.
    pub(super) fn index(&mut self, url: &str) {
        let line = format!("--extra-index-url {url}\n");
        let is_known = url.trim_end_matches('/') == "https://pypi.org/simple" || self.text.contains(&line);
        if is_web(url) && !is_known {
            self.text = line + &self.text;
        }
    }

    /// Adds a package of an index.
    pub(super) fn add<'h>(
        &mut self,
        name: &str,
        extras: &[&str],
        version: &str,
        marker: &str,
        hashes: impl Iterator<Item = &'h str>,
    ) -> Result<(), LanguageError> {
        for extra in extras {
            self.check(name, "the name of an extra", is_name(extra), extra)?;
        }
        self.check(name, "the name of a package", is_name(name), name)?;
        self.check(name, "a version", is_version(version), version)?;
        let extras = if extras.is_empty() { String::new() } else { format!("[{}]", extras.join(",")) };
        let mut line = format!("{name}{extras}=={version}{}", self.marker(name, marker)?);
        for hash in hashes {
            self.check(name, "a hash such as sha256:0123…", is_hash(hash), hash)?;
            // Memory takes all.
            let _ = write!(line, " --hash={hash}");
        }
        self.text += &line;
        self.text.push('\n');
        Ok(())
    }

    /// Adds a package of a Git repository.
    pub(super) fn git(
        &mut self,
        name: &str,
        url: &str,
        rev: &str,
        folder: Option<&str>,
        marker: &str,
    ) -> Result<(), LanguageError> {
        // Git's short form of an address, `git@host:path`.
        let url = match url.split_once(':').filter(|(host, _)| host.contains('@') && !host.contains('/')) {
            Some((host, path)) if !url.contains("://") => format!("ssh://{host}/{path}"),
            _ => url.to_owned(),
        };
        let is_git =
            is_address(&url) && ["https://", "http://", "ssh://", "git://"].iter().any(|kind| url.starts_with(kind));
        self.check(name, "the address of a Git repository", is_git, &url)?;
        self.check(name, "a Git revision", is_address(rev) && !rev.contains('#'), rev)?;
        let folder = folder.map(|folder| format!("#subdirectory={folder}")).unwrap_or_default();
        self.check(name, "a folder", folder.is_empty() || is_address(&folder), &folder)?;
        self.direct(name, &format!("git+{url}@{rev}{folder}"), marker)
    }

    /// Adds a package at an address, or in a folder or file of the project.
    pub(super) fn place(&mut self, name: &str, place: &str, marker: &str) -> Result<(), LanguageError> {
        if place.contains("://") {
            self.check(name, "an address", is_web(place), place)?;
            return self.direct(name, place, marker);
        }
        let inside = super::within(place).filter(|path| path.is_empty() || is_address(path));
        let Some(path) = inside else {
            return Err(LanguageError::Unusable {
                message: format!(
                    "{}: expected package `{}` in the app's folder, found it at {}",
                    self.file.display(),
                    name.escape_debug(),
                    place.escape_debug()
                ),
                hint: Some("build the folder that has both, or copy it into the app's folder".into()),
            });
        };
        let line = format!("./{path}{}\n", self.marker(name, marker)?);
        self.text += &line;
        Ok(())
    }

    fn direct(&mut self, name: &str, url: &str, marker: &str) -> Result<(), LanguageError> {
        self.check(name, "the name of a package", is_name(name), name)?;
        let line = format!("{name} @ {url}{}\n", self.marker(name, marker)?);
        self.text += &line;
        Ok(())
    }

    fn marker(&self, name: &str, marker: &str) -> Result<String, LanguageError> {
        self.check(name, "a marker", is_marker(marker), marker)?;
        Ok(if marker.is_empty() { String::new() } else { format!(" ; {marker}") })
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

    /// The error of a package whose origin is not known.
    pub(super) fn unknown(&self, name: &str, found: &str) -> LanguageError {
        let (file, name, found) = (self.file.display(), name.escape_debug(), found.escape_debug());
        LanguageError::Unusable {
            message: format!(
                "{file}: expected package `{name}` to come from an index, from Git or from the app's folder, found {found}"
            ),
            hint: Some("publish it to an index; or install by yourself, and build with --deps copy".into()),
        }
    }
}

/// What an address is written with: nothing that ends a word, or begins a marker, a comment or an option.
fn is_address(text: &str) -> bool {
    !text.is_empty()
        && !text.contains("--")
        && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'\\;<>`|".contains(&b))
}

fn is_web(text: &str) -> bool {
    is_address(text) && (text.starts_with("https://") || text.starts_with("http://"))
}

/// PyPA, "Names and normalization".
pub(super) fn is_name(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    ends(text.chars().next())
        && ends(text.chars().next_back())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

pub(super) fn is_version(text: &str) -> bool {
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

    fn pipenv(text: &str) -> String {
        told(pipfile_lock(text, Path::new("Pipfile.lock")))
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
            "--extra-index-url https://packages.example/simple\n\
             requests[socks,use-chardet]==2.32.3 ; python_version >= '3.8' --hash=sha256:aa --hash=sha256:bb\n\
             six==1.16.0 --hash=sha256:cc\n"
        );
        assert_eq!(pipenv("{}"), "");
        assert_eq!(pipenv(r#"{"default": {"a": {"version": "==1"}}}"#), "a==1\n", "without hashes");
        for (package, line) in [
            (r#"{"git": "https://h/x.git", "ref": "0a1"}"#, "a @ git+https://h/x.git@0a1\n"),
            (
                r#"{"git": "git@h:o/x.git", "ref": "0a1", "subdirectory": "y"}"#,
                "a @ git+ssh://git@h/o/x.git@0a1#subdirectory=y\n",
            ),
            (r#"{"path": "./lib", "editable": true}"#, "./lib\n"),
            (
                r#"{"file": "https://h/x.whl", "markers": "os_name == 'posix'"}"#,
                "a @ https://h/x.whl ; os_name == 'posix'\n",
            ),
        ] {
            assert_eq!(pipenv(&format!(r#"{{"default": {{"a": {package}}}}}"#)), line);
        }
        for (package, message) in [
            (
                r#"{"hg": "https://h/x"}"#,
                "expected package `a` to come from an index, from Git or from the app's folder, found no version",
            ),
            (
                r#"{"git": "ext::sh -c x", "ref": "0"}"#,
                "expected the address of a Git repository for `a`, found ext::sh -c x",
            ),
            (r#"{"git": "https://h/x --y", "ref": "0"}"#, "expected the address of a Git repository for `a`"),
            (r#"{"git": "https://h/x", "ref": "0 -r y"}"#, "expected a Git revision for `a`"),
            (r#"{"path": "../lib"}"#, "expected package `a` in the app's folder, found it at ../lib"),
            (r#"{"path": "lib -r x"}"#, "expected package `a` in the app's folder, found it at lib -r x"),
        ] {
            let found = pipenv(&format!(r#"{{"default": {{"a": {package}}}}}"#));
            assert!(found.starts_with(&format!("Pipfile.lock: {message}")), "{found}");
        }
        assert!(pipenv("{").starts_with("Pipfile.lock:1:1: "));
    }

    #[test]
    fn a_lock_of_pdm() {
        let pdm = |text: &str, groups: &[&str]| {
            let groups = groups.iter().map(|group| (*group).to_owned()).collect();
            told(super::pdm(text, Path::new("pdm.lock"), &Choice { groups, ..Choice::default() }))
        };
        let text = "[metadata]\ngroups = ['default', 'dev', 'web']\n\
                    [[package]]\nname = 'six'\nversion = '1.16.0'\ngroups = ['default', 'dev']\nmarker = \"python_version >= '3'\"\n\
                    files = [{file = 'six.whl', hash = 'sha256:aa'}]\n\
                    [[package]]\nname = 'pytest'\nversion = '8'\ngroups = ['dev']\n\
                    [[package]]\nname = 'gunicorn'\nversion = '23'\ngroups = ['web']\nfiles = [{url = 'x', hash = 'sha256:bb'}]\n\
                    [[package]]\nname = 'x'\nversion = '1'\ngroups = ['default']\ngit = 'https://h/x'\nrevision = '0a'\n";
        assert_eq!(pdm(text, &[]), "six==1.16.0 ; python_version >= '3' --hash=sha256:aa\nx @ git+https://h/x@0a\n");
        assert!(pdm(text, &["web"]).contains("gunicorn==23 --hash=sha256:bb\n"));
        assert_eq!(
            pdm("[[package]]\nname = 'a'\nversion = '1'\n", &[]),
            "pdm.lock: expected the groups of every package, found none for `a`\nhint: `pdm lock --strategy inherit_metadata` writes them"
        );
    }
}
