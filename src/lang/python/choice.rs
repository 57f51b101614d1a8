//! The extras and groups that a project wants in its image: `[tool.microbuild]` of `pyproject.toml`.

use toml::{Table, Value};

use super::{MANIFEST, locks::is_name};
use crate::lang::{GeneratedFile, LanguageError, Source};

/// What `install.sh` gives uv for a choice, a word a line.
pub(super) const FILE: &str = "uv-options";

/// The chosen extras and groups, in addition to the project's plain dependencies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// Of `[project.optional-dependencies]`, or of Poetry's `extras`.
    pub(super) extras: Vec<String>,
    /// Of `[dependency-groups]`, or of Poetry's groups.
    pub(super) groups: Vec<String>,
    /// Whether `collectstatic` runs for an app of Django that has a folder for its result.
    pub(super) collects: bool,
}

impl Choice {
    /// Reads `[tool.microbuild]` of `project`.
    ///
    /// # Errors
    /// When it has another key, or a value of another kind.
    pub(super) fn read(source: &Source<'_>, project: &Table) -> Result<Self, LanguageError> {
        let mut choice = Self { collects: true, ..Self::default() };
        let table = project.get("tool").and_then(|tool| tool.get("microbuild"));
        for (key, value) in table.and_then(Value::as_table).into_iter().flatten() {
            match (key.as_str(), value) {
                ("extras", Value::Array(list)) => choice.extras = names(source, key, list)?,
                ("groups", Value::Array(list)) => choice.groups = names(source, key, list)?,
                ("collectstatic", Value::Boolean(collects)) => choice.collects = *collects,
                _ => {
                    let found = format!("{} = {}", key.escape_debug(), value.to_string().escape_debug());
                    return Err(unusable(source, &found));
                }
            }
        }
        Ok(choice)
    }

    /// The file that tells `install.sh`.
    pub(super) fn file(&self) -> Option<GeneratedFile> {
        let extras = self.extras.iter().map(|name| format!("--extra={name}\n"));
        let text: String = extras.chain(self.groups.iter().map(|name| format!("--group={name}\n"))).collect();
        (!text.is_empty()).then(|| GeneratedFile { path: FILE.to_owned(), text, executable: false })
    }
}

fn names(source: &Source<'_>, key: &str, list: &[Value]) -> Result<Vec<String>, LanguageError> {
    let name = |value: &Value| match value.as_str().filter(|name| is_name(name)) {
        Some(name) => Ok(name.to_owned()),
        None => Err(unusable(source, &format!("{} in {key}", value.to_string().escape_debug()))),
    };
    list.iter().map(name).collect()
}

fn unusable(source: &Source<'_>, found: &str) -> LanguageError {
    LanguageError::Unusable {
        message: format!(
            "{}: expected `extras` and `groups` (lists of names) or `collectstatic` (true or false) in [tool.microbuild], found {found}",
            source.place(MANIFEST).display()
        ),
        hint: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::{read_toml, testing::Draft};

    #[test]
    fn reads_what_is_chosen() {
        let read = |text: &str| {
            let project = Draft::new(&[("pyproject.toml", text)]);
            let table = read_toml(&project.source(), MANIFEST).expect("TOML").expect("a file");
            Choice::read(&project.source(), &table).map_err(|error| project.told(&error))
        };
        let chosen =
            read("[tool.microbuild]\nextras = ['web', 'x']\ngroups = ['prod']\ncollectstatic = false\n").unwrap();
        assert!(!chosen.collects);
        assert_eq!(chosen.file().expect("a file").text, "--extra=web\n--extra=x\n--group=prod\n");
        assert_eq!(read("[tool.x]\na = 1\n").unwrap().file(), None);
        for (mistake, found) in [
            ("extras = 'web'", "found extras = "),
            ("groups = ['--x']", "found \\\"--x\\\" in groups"),
            ("extra = ['a']", "found extra = "),
        ] {
            let error = read(&format!("[tool.microbuild]\n{mistake}\n")).unwrap_err();
            assert!(
                error.starts_with("shop/pyproject.toml: expected `extras` and `groups`") && error.contains(found),
                "{error}"
            );
        }
    }
}
