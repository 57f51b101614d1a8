//! Files of requirements (<https://pip.pypa.io/en/stable/reference/requirements-file-format/>): what they ask for, and the
//! files that they refer to.

use std::collections::BTreeSet;

use super::packages::Wish;
use crate::lang::{GeneratedFile, LanguageError, Source};

/// The file that is installed.
pub(super) const FILE: &str = "requirements.txt";

/// Folders whose files of requirements are taken where there is none at the top: the first that exists.
const ELSEWHERE: [&str; 6] = [
    "requirements/production.txt",
    "requirements/prod.txt",
    "requirements/requirements.txt",
    "requirements/base.txt",
    "requirements/common.txt",
    "requirements/main.txt",
];

/// The content of a project's files of requirements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Requirements {
    /// The packages that have a name.
    pub(super) wishes: Vec<Wish>,
    /// Whether a folder or a file of the project is installed, or packages are looked for in one.
    pub(super) local: bool,
    /// Whether the project itself is installed.
    pub(super) project: bool,
    /// The files below the top, and those that differ from the project's: an editable requirement is installed as a plain one, because
    /// the image has another folder.
    pub(super) files: Vec<GeneratedFile>,
}

/// A line of a file of requirements.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    /// Another file, relative to this one; whether it only has constraints.
    File(&'a str, bool),
    /// A folder or page with links to packages.
    Links(&'a str),
    /// A package; whether it is editable.
    Package(&'a str, bool),
    Other,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Self {
        let line = line.trim();
        let line = if line.starts_with('#') { "" } else { line.split(" #").next().unwrap_or(line).trim_end() };
        let option = |names: &[&str]| {
            names.iter().find_map(|name| {
                let rest = line.strip_prefix(name)?;
                let is_short = !name.starts_with("--");
                (is_short || rest.starts_with(['=', ' ', '\t']))
                    .then(|| rest.trim_start_matches(['=', ' ', '\t']).trim())
            })
        };
        if let Some(file) = option(&["--requirement", "-r"]) {
            Self::File(unquoted(file), false)
        } else if let Some(file) = option(&["--constraint", "-c"]) {
            Self::File(unquoted(file), true)
        } else if let Some(place) = option(&["--find-links", "-f"]) {
            Self::Links(unquoted(place))
        } else if let Some(package) = option(&["--editable", "-e"]) {
            Self::Package(unquoted(package), true)
        } else if line.is_empty() || line.starts_with('-') {
            Self::Other
        } else {
            Self::Package(line, false)
        }
    }
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote)).unwrap_or(text)
}

impl Requirements {
    /// Reads `requirements.txt` and the files that it refers to; where there is none, and nothing else tells what is installed, the
    /// first of `requirements/*.txt` that projects usually have. `None` when there is none of these.
    ///
    /// # Errors
    /// When one of these files is missing, or lies outside of the app's folder.
    pub(super) fn read(source: &Source<'_>) -> Result<Option<Self>, LanguageError> {
        let mut read = Self::default();
        let has = |name: &&str| source.folder.is_file(name);
        let first = if has(&FILE) {
            FILE
        } else {
            let others = [
                "pyproject.toml",
                "Pipfile",
                "Pipfile.lock",
                "poetry.lock",
                "uv.lock",
                "pylock.toml",
                "pdm.lock",
                "setup.py",
            ];
            let Some(first) = ELSEWHERE.into_iter().find(has).filter(|_| !others.iter().any(has)) else {
                return Ok(None);
            };
            read.files.push(GeneratedFile { path: FILE.into(), text: format!("-r {first}\n"), executable: false });
            first
        };
        let mut todo = vec![(first.to_owned(), false)];
        let mut seen = BTreeSet::from([first.to_owned()]);
        while let Some((file, constrains)) = todo.pop() {
            // The first is known to be there; a reference to a missing file is refused where it is found.
            let text = source.read(&file)?.unwrap_or_default();
            let named = read.wishes.len();
            for (other, only_constrains) in read.file(source, &file, &text)? {
                if seen.insert(other.clone()) {
                    todo.push((other, constrains || only_constrains));
                }
            }
            if constrains {
                read.wishes.truncate(named);
            }
        }
        Ok(Some(read))
    }

    /// Reads the `text` of `file`; the files of the project that it refers to, and whether they only constrain.
    fn file(&mut self, source: &Source<'_>, file: &str, text: &str) -> Result<Vec<(String, bool)>, LanguageError> {
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut others = Vec::new();
        let mut plain = String::new();
        let mut is_changed = false;
        for line in logical(text) {
            match Line::parse(&line) {
                Line::File(other, constrains) if !is_url(other) => {
                    let path = place(source, file, folder, other)?;
                    if !source.folder.is_file(&path) {
                        return Err(unusable(source, file, &format!("`{}` is not there", other.escape_debug()), None));
                    }
                    others.push((path, constrains));
                }
                Line::Links(other) if !is_url(other) => {
                    place(source, file, folder, other)?;
                    self.local = true;
                }
                Line::Package(package, editable) => {
                    self.package(source, file, package)?;
                    if editable {
                        is_changed = true;
                        plain += &format!("{package}\n");
                        continue;
                    }
                }
                Line::File(..) | Line::Links(_) | Line::Other => {}
            }
            plain += &format!("{line}\n");
        }
        // The step sees those at the top itself.
        let is_seen = !file.contains('/')
            && (file.starts_with("requirements") || file.starts_with("constraints"))
            && file.ends_with(".txt");
        if is_changed || !is_seen {
            let text = if is_changed { plain } else { text.to_owned() };
            self.files.push(GeneratedFile { path: file.to_owned(), text, executable: false });
        }
        Ok(others)
    }

    /// Takes note of a package. Paths of packages are relative to the folder in which the installer runs.
    fn package(&mut self, source: &Source<'_>, file: &str, package: &str) -> Result<(), LanguageError> {
        let target = package.split_once('@').map_or(package, |(_, target)| target.trim());
        let named = Wish::parse(package);
        if is_url(target) {
            let egg = target.split_once("#egg=").map(|(_, egg)| egg.split('&').next().unwrap_or(egg));
            self.wishes.extend(match egg {
                Some(egg) => Wish::parse(egg),
                None => named.filter(|_| package != target),
            });
            return Ok(());
        }
        let path = target.split([';', '[']).next().unwrap_or(target).trim();
        let is_archive = [".whl", ".tar.gz", ".zip"].iter().any(|end| path.ends_with(end));
        if package == target && !path.starts_with('.') && !path.contains('/') && !is_archive {
            self.wishes.extend(named);
            return Ok(());
        }
        let path = place(source, file, "", path.trim_start_matches("file:").trim_start_matches("//"))?;
        self.project |= path.is_empty();
        self.local = true;
        Ok(())
    }
}

/// The lines of a file; one that ends with a backslash goes on.
fn logical(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut pending = String::new();
    for line in text.strip_prefix('\u{feff}').unwrap_or(text).lines() {
        match line.strip_suffix('\\') {
            Some(begin) => pending += &format!("{begin} "),
            None => lines.push(std::mem::take(&mut pending) + line),
        }
    }
    if !pending.is_empty() {
        lines.push(pending);
    }
    lines
}

fn is_url(text: &str) -> bool {
    text.contains("://") && !text.starts_with("file:")
}

/// The path in the app's folder of what `file`, in `folder`, calls `path`.
fn place(source: &Source<'_>, file: &str, folder: &str, path: &str) -> Result<String, LanguageError> {
    let whole = if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") };
    super::within(&whole).ok_or_else(|| {
        let hint = "build the folder that has both, or copy it into the app's folder";
        unusable(source, file, &format!("`{}` is outside of the app's folder", path.escape_debug()), Some(hint))
    })
}

fn unusable(source: &Source<'_>, file: &str, what: &str, hint: Option<&str>) -> LanguageError {
    LanguageError::Unusable {
        message: format!("{}: expected files of the app, {what}", source.place(file).display()),
        hint: hint.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::lang::testing::Draft;

    #[test]
    fn lines_are_read() {
        for (line, expected) in [
            ("-r base.txt", Line::File("base.txt", false)),
            ("-rbase.txt  # common", Line::File("base.txt", false)),
            ("--requirement=\"a b.txt\"", Line::File("a b.txt", false)),
            ("-c c.txt", Line::File("c.txt", true)),
            ("--constraint c.txt", Line::File("c.txt", true)),
            ("-f wheels", Line::Links("wheels")),
            ("--find-links=./w", Line::Links("./w")),
            ("-e .[web]", Line::Package(".[web]", true)),
            ("--editable ./lib", Line::Package("./lib", true)),
            ("six==1 ; python_version > '3'", Line::Package("six==1 ; python_version > '3'", false)),
            ("--index-url https://x", Line::Other),
            ("--require-hashes", Line::Other),
            ("# -r x", Line::Other),
            ("", Line::Other),
        ] {
            assert_eq!(Line::parse(line), expected, "{line}");
        }
    }

    /// The text of each generated file, by its path.
    fn texts(files: &[GeneratedFile]) -> BTreeMap<&str, &str> {
        files.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect()
    }

    #[test]
    fn references_are_followed() {
        let read = |files: &[(&str, &str)]| {
            let project = Draft::new(files);
            Requirements::read(&project.source()).map_err(|error| project.told(&error)).map(Option::unwrap_or_default)
        };
        let names =
            |read: &Requirements| read.wishes.iter().map(|wish| wish.name.clone()).collect::<Vec<_>>().join(" ");

        let found = read(&[
            ("requirements.txt", "-r requirements/prod.txt\nsix\n"),
            ("requirements/prod.txt", "-r base.txt\n-c ../limits.txt\nclick==8.1.7\n"),
            ("requirements/base.txt", "idna \\\n  --hash=sha256:00\n"),
            ("limits.txt", "click<9\n"),
        ]);
        let found = found.unwrap();
        assert_eq!(names(&found), "six click idna", "constraints add nothing");
        assert_eq!(
            texts(&found.files).into_keys().collect::<Vec<_>>(),
            ["limits.txt", "requirements/base.txt", "requirements/prod.txt"]
        );
        assert!(!found.local && !found.project);

        let found = read(&[(
            "requirements.txt",
            "-e .\n./wheels/a.whl\nx @ git+https://h/x\ngit+https://h/y#egg=Y_z&subdirectory=a\n",
        )])
        .unwrap();
        assert_eq!((names(&found).as_str(), found.local, found.project), ("x y-z", true, true));
        assert_eq!(
            found.files[0].text,
            ".\n./wheels/a.whl\nx @ git+https://h/x\ngit+https://h/y#egg=Y_z&subdirectory=a\n"
        );

        let found = read(&[("requirements.txt", "-f https://h/x\n--find-links wheels\n")]).unwrap();
        assert!(found.local && found.files.is_empty());
        let found = read(&[("requirements.txt", "-r requirements.txt\n-e git+https://h/x#egg=x\n")]).unwrap();
        assert_eq!((names(&found).as_str(), found.local), ("x", false));
        assert_eq!(found.files[0].text, "-r requirements.txt\ngit+https://h/x#egg=x\n");

        let found =
            read(&[("requirements/base.txt", "six\n"), ("requirements/production.txt", "-r base.txt\n")]).unwrap();
        assert_eq!(texts(&found.files)["requirements.txt"], "-r requirements/production.txt\n");
        assert_eq!(read(&[("requirements/base.txt", "six\n"), ("setup.py", "")]), Ok(Requirements::default()));

        for (files, message) in [
            (
                &[("requirements.txt", "-r ../base.txt\n")][..],
                "shop/requirements.txt: expected files of the app, `../base.txt` is outside of the app's folder\nhint: build the folder that has both, or copy it into the app's folder",
            ),
            (
                &[("requirements.txt", "-e ../lib\n")],
                "shop/requirements.txt: expected files of the app, `../lib` is outside of the app's folder\nhint: build the folder that has both, or copy it into the app's folder",
            ),
            (
                &[("requirements.txt", "-r a/b.txt\n")],
                "shop/requirements.txt: expected files of the app, `a/b.txt` is not there",
            ),
        ] {
            assert_eq!(read(files).unwrap_err(), message);
        }
    }
}
