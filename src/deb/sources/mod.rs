//! Where packages come from: a machine's own apt sources (sources.list(5)), in lines or in paragraphs, or a mirror that
//! the user names. No mirror's address is written into this program.
//!
//! A distribution's release is spread over several suites, which apt treats as one: `bookworm`, `bookworm-updates`,
//! `bookworm-security`. [`Sources::family`] finds them, and makes those of another release out of them when a machine
//! has only its own: they lie on the same mirrors.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    control::{Paragraph, ParseControlError, lines, paragraphs},
    key::{KeyError, KeyRing},
};
use crate::{
    error::{Explain, Kind},
    location::Location,
};

mod conf;

/// What a suite of a release may be called after the release's own name.
const COMPANIONS: [&str; 3] = ["-updates", "-security", "/updates"];
/// Suites whose names change their release, and `sid`, the one that is always the same.
const ALIASES: [&str; 6] = ["stable", "oldstable", "oldoldstable", "testing", "unstable", "sid"];

/// A suite at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where the archive is: `dists` and `pool` lie below it.
    pub location: Place,
    /// `bookworm-updates`; with a slash at its end the path of a folder without `dists`, whose packages lie in it.
    pub suite: String,
    /// `main`, `contrib`: empty for such a folder only.
    pub components: Vec<String>,
    /// The architectures for which it counts, in dpkg's words; empty for all.
    pub architectures: Vec<String>,
    /// Whose signature counts.
    pub keys: Keys,
    /// `trusted=yes`: no signature is needed.
    pub trusted: bool,
    /// `check-valid-until`: whether an old Release is an error.
    pub check_valid_until: bool,
    /// That there is no such suite is not an error.
    pub optional: bool,
}

/// Where a source's archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// This program can fetch from there.
    Known(Location),
    /// A URI of another kind: `cdrom:`, `tor+https:`.
    Unsupported(String),
}

/// Whose signature a source's Release needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// All keys that apt trusts on this machine.
    Default,
    /// `Signed-By`
    Named {
        /// Keyrings.
        files: Vec<PathBuf>,
        /// Fingerprints, of keys in those files or among the default ones.
        fingerprints: Vec<String>,
        /// A keyring that stands in the source itself, in ASCII armor.
        armored: Option<String>,
    },
}

impl Keys {
    /// The keys, read from the machine below `root`. When apt trusts no keys by itself, the keyring that `distribution`
    /// installs counts.
    ///
    /// # Errors
    /// When a keyring cannot be read or holds no keys.
    pub fn ring(&self, root: &Path, distribution: &str) -> Result<KeyRing, KeyError> {
        let default = || match KeyRing::of_machine(root)? {
            ring if ring.is_empty() => KeyRing::of_distribution(root, distribution),
            ring => Ok(ring),
        };
        let Self::Named { files, fingerprints, armored } = self else { return default() };
        let mut ring = if files.is_empty() && armored.is_none() { default()? } else { KeyRing::new() };
        for file in files {
            ring.add_path(&root.join(file.strip_prefix("/").unwrap_or(file)))?;
        }
        if let Some(armored) = armored {
            ring.add("the keys in Signed-By", armored.as_bytes())?;
        }
        fingerprints.iter().for_each(|fingerprint| ring.restrict(fingerprint));
        Ok(ring)
    }
}

impl Source {
    /// The file `path` of the suite: `InRelease`, `main/binary-amd64/Packages.xz`. `None` when the place is not known.
    pub fn file(&self, path: &str) -> Option<Location> {
        let Place::Known(archive) = &self.location else { return None };
        Some(match self.suite.strip_suffix('/') {
            Some("" | ".") => archive.join(path),
            Some(folder) => archive.join(&format!("{}/{path}", folder.trim_matches('/'))),
            None => archive.join(&format!("dists/{}/{path}", self.suite)),
        })
    }

    /// The package that the index has under the path `filename`. `None` when the place is not known.
    pub fn package(&self, filename: &str) -> Option<Location> {
        let Place::Known(archive) = &self.location else { return None };
        Some(archive.join(filename.strip_prefix("./").unwrap_or(filename)))
    }

    /// Whether it counts for the architecture.
    pub fn serves(&self, architecture: &str) -> bool {
        self.architectures.is_empty() || self.architectures.iter().any(|known| known == architecture)
    }

    /// The release that the suite belongs to: `bookworm` of `bookworm-updates`.
    fn release(&self) -> &str {
        COMPANIONS.iter().find_map(|companion| self.suite.strip_suffix(companion)).unwrap_or(&self.suite)
    }
}

/// The sources of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// All that are not disabled, in apt's order.
    pub list: Vec<Source>,
    /// `ID` of os-release: `debian`, `ubuntu`; empty when unknown.
    pub distribution: String,
    /// `VERSION_CODENAME` of os-release: `bookworm`; empty when unknown.
    pub codename: String,
}

/// Why a machine's sources are of no use.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not one of apt's.
    #[error("{file}, line {line}: expected {expected}, found `{found}`")]
    Line {
        /// The file.
        file: String,
        /// Counted from 1.
        line: usize,
        /// What belongs there.
        expected: &'static str,
        /// What stands there, shortened.
        found: String,
    },
    /// The machine has no sources of a distribution.
    #[error("this machine has no apt sources of a release of Debian or Ubuntu")]
    None,
    /// All sources of the release are of kinds that this program cannot fetch from.
    #[error("expected a source with http, https, file or mirror+file for {suite}, found only {found}")]
    Unsupported {
        /// The release.
        suite: String,
        /// The URIs.
        found: String,
    },
}

impl Explain for SourcesError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } | Self::Line { .. } | Self::None | Self::Unsupported { .. } => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read { .. } => {
                "--mirror URL|DIR and --keys FILE are taken instead of the machine's apt sources".into()
            }
            Self::Line { .. } => "apt refuses the file too; see sources.list(5)".into(),
            Self::None | Self::Unsupported { .. } => {
                "name a mirror with --mirror URL|DIR (or MICROBUILD_MIRROR), and its keyring with --keys".into()
            }
        })
    }
}

impl Sources {
    /// The sources of the machine whose root is `root`: `/etc/apt/sources.list`, and the `*.list` and `*.sources` of
    /// `/etc/apt/sources.list.d` in the order of their names. A machine without apt has none.
    ///
    /// # Errors
    /// When a file cannot be read, or apt would refuse it.
    pub fn of_machine(root: &Path) -> Result<Self, SourcesError> {
        let os = read(&root.join("usr/lib/os-release"))?.or(read(&root.join("etc/os-release"))?).unwrap_or_default();
        let of_os = |key: &str| {
            let value = os.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            value.map(|value| value.trim().trim_matches('"').to_owned()).unwrap_or_default()
        };
        let mut list = Vec::new();
        let single = root.join("etc/apt/sources.list");
        if let Some(text) = read(&single)? {
            list.extend(parse_list(&text, &single.display().to_string())?);
        }
        let folder = root.join("etc/apt/sources.list.d");
        for file in names(&folder)? {
            let (path, name) = (folder.join(&file), folder.join(&file).display().to_string());
            let parse = match Path::new(&file).extension().and_then(|end| end.to_str()) {
                Some("list") => parse_list,
                Some("sources") => parse_sources,
                _ => continue,
            };
            if let Some(text) = read(&path)? {
                list.extend(parse(&text, &name)?);
            }
        }
        let lax = !conf::of_machine(root, "Acquire::Check-Valid-Until")?.unwrap_or(true);
        for source in &mut list {
            source.check_valid_until &= !lax;
            resolve_mirror_list(source, root)?;
        }
        Ok(Self { list, distribution: of_os("ID"), codename: of_os("VERSION_CODENAME") })
    }

    /// The suites of the release `suite` at a mirror: the release itself, and its updates and security updates where
    /// there are some. Debian keeps these in an archive of their own beside the mirror: `debian-security` beside
    /// `debian`.
    pub fn of_mirror(mirror: &Location, suite: &str, components: &[&str], keys: &Keys) -> Vec<Source> {
        let source = |location: &Location, suite: String, optional| Source {
            location: Place::Known(location.clone()),
            suite,
            components: components.iter().map(|&component| component.to_owned()).collect(),
            architectures: Vec::new(),
            keys: keys.clone(),
            trusted: false,
            check_valid_until: true,
            optional,
        };
        let mut sources = vec![
            source(mirror, suite.to_owned(), false),
            source(mirror, format!("{suite}-updates"), true),
            source(mirror, format!("{suite}-security"), true),
        ];
        sources.extend(security_beside(mirror).map(|beside| source(&beside, format!("{suite}-security"), true)));
        sources
    }

    /// The release that this machine runs, as its sources call it: `bookworm`, `stable`.
    ///
    /// # Errors
    /// When it has no sources of a distribution.
    pub fn own_release(&self) -> Result<&str, SourcesError> {
        let of_distribution = |source: &&Source| source.components.iter().any(|component| component == "main");
        let releases = || self.list.iter().filter(of_distribution).map(Source::release);
        let own = releases().find(|release| *release == self.codename);
        let alias = || releases().find(|release| ALIASES.contains(release));
        // A release whose companions are here as well is not the repository of one package.
        let family = || {
            let companion = |release: &&str| self.list.iter().any(|s| s.suite != *release && s.release() == *release);
            releases().find(companion)
        };
        own.or_else(alias).or_else(family).or_else(|| releases().next()).ok_or(SourcesError::None)
    }

    /// The sources of the release `suite` (`bookworm`, `stable`) for an architecture: the release itself, its updates
    /// and its security updates. Those of a release that the machine does not have are made out of its own release's;
    /// of these only the first one must exist.
    ///
    /// Other archives may have a suite of that name, too: their Release tells them apart (`Release::is_of`).
    ///
    /// # Errors
    /// When there are none, or none of them can be fetched from.
    pub fn family(&self, suite: &str, architecture: &str) -> Result<Vec<Source>, SourcesError> {
        let own = self.own_release()?;
        let is_here = self.list.iter().any(|source| source.suite == suite);
        let wanted = if is_here { suite } else { own };
        let of_release = |source: &&Source| {
            source.release() == wanted && source.serves(architecture) && !source.components.is_empty()
        };
        let mut family: Vec<Source> = self.list.iter().filter(of_release).cloned().collect();
        if !is_here {
            for source in &mut family {
                source.suite = source.suite.replacen(own, suite, 1);
                source.optional = source.suite != suite;
            }
        }
        if family.is_empty() {
            return Err(SourcesError::None);
        }
        let unsupported: Vec<_> = (family.iter())
            .filter_map(|source| match &source.location {
                Place::Unsupported(uri) => Some(uri.clone()),
                Place::Known(_) => None,
            })
            .collect();
        family.retain(|source| matches!(source.location, Place::Known(_)));
        if family.iter().any(|source| source.suite == suite) {
            return Ok(family);
        }
        Err(SourcesError::Unsupported { suite: suite.to_owned(), found: unsupported.join(", ") })
    }
}

/// The archive `NAME-security` beside the mirror `NAME`; `None` beside a whole host, or the root of the file system.
fn security_beside(mirror: &Location) -> Option<Location> {
    match mirror {
        Location::Url(url) => {
            let (_, host_and_path) = url.split_once("://")?;
            host_and_path.contains('/').then(|| Location::Url(format!("{url}-security")))
        }
        Location::Folder(folder) => {
            // `.` and `..` have no name of their own.
            let folder = if folder.file_name().is_some() { folder.clone() } else { fs::canonicalize(folder).ok()? };
            let mut name = folder.file_name()?.to_owned();
            name.push("-security");
            Some(Location::Folder(folder.with_file_name(name)))
        }
    }
}

/// The text of a file; `None` when there is none.
fn read(path: &Path) -> Result<Option<String>, SourcesError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SourcesError::Read { path: path.to_owned(), source }),
    }
}

/// The names of the files in a folder, in their order; none when there is not a folder.
fn names(folder: &Path) -> Result<Vec<String>, SourcesError> {
    let failed = |source| SourcesError::Read { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(failed)?,
    };
    let mut names: Vec<_> = entries.iter().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// Reads the lines of a `sources.list`, called `file` in errors.
///
/// # Errors
/// When a line is not one of apt's.
pub fn parse_list(text: &str, file: &str) -> Result<Vec<Source>, SourcesError> {
    let mut list = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let content = line.split('#').next().unwrap_or_default().trim();
        let bad = |expected| SourcesError::Line {
            file: file.to_owned(),
            line: number,
            expected,
            found: line.chars().take(80).collect(),
        };
        if content.is_empty() {
            continue;
        }
        let (kind, rest) = content.split_once(char::is_whitespace).unwrap_or((content, ""));
        if kind == "deb-src" {
            continue;
        }
        let form = "`deb [option=value] URI SUITE COMPONENT`";
        if kind != "deb" {
            return Err(bad(form));
        }
        let rest = rest.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(inner) => inner.split_once(']').ok_or_else(|| bad("`]` after the options"))?,
            None => ("", rest),
        };
        let mut draft = Draft::default();
        for option in options.split_ascii_whitespace() {
            let (name, value) = option.split_once('=').ok_or_else(|| bad("`option=value` between `[` and `]`"))?;
            draft.option(name, &value.replace(',', " "));
        }
        let mut words = rest.split_ascii_whitespace().map(str::to_owned);
        draft.uris.extend(words.next());
        draft.suites.extend(words.next());
        draft.components.extend(words);
        list.extend(draft.finish().ok_or_else(|| bad(form))?);
    }
    Ok(list)
}

/// Reads the paragraphs of a `.sources`, called `file` in errors.
///
/// # Errors
/// When a paragraph is not one of apt's.
pub fn parse_sources(text: &str, file: &str) -> Result<Vec<Source>, SourcesError> {
    let mut list = Vec::new();
    for paragraph in paragraphs(text) {
        list.extend(paragraph_sources(&paragraph, file)?);
    }
    Ok(list)
}

fn paragraph_sources(paragraph: &Paragraph<'_>, file: &str) -> Result<Vec<Source>, SourcesError> {
    let bad = |line, expected, found: &str| SourcesError::Line {
        file: file.to_owned(),
        line,
        expected,
        found: found.chars().take(80).collect(),
    };
    let mut draft = Draft::default();
    let (mut is_source, mut is_binary, mut enabled) = (false, false, true);
    for item in paragraph.fields() {
        let (name, value) = item.map_err(|ParseControlError { line, found }| bad(line, "`Field: value`", &found))?;
        let words = || lines(value).flat_map(str::split_ascii_whitespace).map(str::to_owned).collect::<Vec<_>>();
        is_source = true;
        match name.to_ascii_lowercase().as_str() {
            "types" => is_binary = words().iter().any(|kind| kind == "deb"),
            "enabled" => enabled = !is_no(value),
            "uris" => draft.uris = words(),
            "suites" => draft.suites = words(),
            "components" => draft.components = words(),
            "architectures" => draft.option("arch", &words().join(" ")),
            "signed-by" if value.contains("-----BEGIN") => {
                draft.armored = Some(lines(value).flat_map(|line| [line, "\n"]).collect());
            }
            "signed-by" => draft.option("signed-by", &words().join(" ").replace(',', " ")),
            name @ ("trusted" | "check-valid-until") => draft.option(name, value),
            _ => {}
        }
    }
    // A paragraph may be nothing but comments.
    if !is_source || !enabled || !is_binary {
        return Ok(Vec::new());
    }
    draft.finish().ok_or_else(|| bad(paragraph.line, "Types, URIs, Suites and Components", paragraph.text))
}

/// A source in the making.
#[derive(Default)]
struct Draft {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    architectures: Vec<String>,
    files: Vec<PathBuf>,
    fingerprints: Vec<String>,
    armored: Option<String>,
    trusted: bool,
    any_age: bool,
}

impl Draft {
    /// An option as lines have it; lists are separated by spaces.
    fn option(&mut self, name: &str, value: &str) {
        let words = value.split_ascii_whitespace();
        match name {
            "arch" => self.architectures = words.map(str::to_owned).collect(),
            "arch+" => self.architectures.extend(words.map(str::to_owned)),
            "arch-" => self.architectures.retain(|known| !value.split_ascii_whitespace().any(|word| word == known)),
            "signed-by" => {
                for word in words {
                    match word.starts_with('/') {
                        true => self.files.push(word.into()),
                        false => self.fingerprints.push(word.to_owned()),
                    }
                }
            }
            "trusted" => self.trusted = is_yes(value),
            "check-valid-until" => self.any_age = is_no(value),
            _ => {}
        }
    }

    /// A source for each URI and suite; `None` when something is missing or too much.
    fn finish(self) -> Option<Vec<Source>> {
        if self.uris.is_empty() || self.suites.is_empty() {
            return None;
        }
        let keys = if self.files.is_empty() && self.fingerprints.is_empty() && self.armored.is_none() {
            Keys::Default
        } else {
            Keys::Named { files: self.files, fingerprints: self.fingerprints, armored: self.armored }
        };
        let mut list = Vec::new();
        for uri in &self.uris {
            for suite in &self.suites {
                if suite.ends_with('/') != self.components.is_empty() {
                    return None;
                }
                list.push(Source {
                    location: place(uri),
                    suite: suite.clone(),
                    components: self.components.clone(),
                    architectures: self.architectures.clone(),
                    keys: keys.clone(),
                    trusted: self.trusted,
                    check_valid_until: !self.any_age,
                    optional: false,
                });
            }
        }
        Some(list)
    }
}

fn is_yes(value: &str) -> bool {
    ["yes", "true", "with", "on", "enable", "1"].iter().any(|yes| value.trim().eq_ignore_ascii_case(yes))
}

fn is_no(value: &str) -> bool {
    ["no", "false", "without", "off", "disable", "0"].iter().any(|no| value.trim().eq_ignore_ascii_case(no))
}

fn place(uri: &str) -> Place {
    let folder = ["file:", "copy:"].iter().find_map(|scheme| uri.strip_prefix(scheme));
    match (uri, folder) {
        (_, Some(path)) => {
            let path = path.strip_prefix("//").unwrap_or(path);
            Place::Known(Location::Folder(path.trim_end_matches('/').into()))
        }
        (uri, _) if uri.starts_with("http://") || uri.starts_with("https://") => Place::Known(Location::new(uri)),
        (uri, _) => Place::Unsupported(uri.to_owned()),
    }
}

/// `mirror+file:LIST` names a file of mirrors (apt-transport-mirror(1)): the first that can be fetched from is taken.
fn resolve_mirror_list(source: &mut Source, root: &Path) -> Result<(), SourcesError> {
    let Place::Unsupported(uri) = &source.location else { return Ok(()) };
    let Some(path) = uri.strip_prefix("mirror+file:") else { return Ok(()) };
    let path = root.join(path.trim_start_matches('/'));
    let text = fs::read_to_string(&path).map_err(|source| SourcesError::Read { path, source })?;
    let first =
        text.lines().filter_map(|line| line.split_ascii_whitespace().next()).filter(|uri| !uri.starts_with('#'));
    if let Some(found) = first.map(place).find(|place| matches!(place, Place::Known(_))) {
        source.location = found;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
