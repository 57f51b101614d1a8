//! Paths in recipes: folders of a container, files of a project, and names of folders. A recipe may be untrusted, and
//! its paths become mounts and files: none may lead out of its folder.

use std::{path::Path, str::FromStr};

use serde::Deserializer;

use crate::{glob::Pattern, values};

/// Folders of a container for the kernel's file systems, devices, secrets and results.
const RESERVED: [&str; 4] = ["/dev", "/proc", "/run", "/sys"];

/// A folder of a container that is kept between builds: an absolute, normalized path.
struct CacheFolder(String);

impl FromStr for CacheFolder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('/') {
            Some(path) if !is_plain(path) => {
                Err(format!("expected an absolute path without `.`, `..` and `//`, found `{text}`"))
            }
            Some(_) => match RESERVED.into_iter().find(|folder| Path::new(text).starts_with(folder)) {
                Some(folder) => {
                    Err(format!("expected a folder that can be kept, found `{text}`: {folder} is the container's own"))
                }
                None => Ok(Self(text.to_owned())),
            },
            None => Err(format!("expected an absolute path such as /root/.cache, found `{text}`")),
        }
    }
}

/// A file of a project, by its path in the project's folder.
struct ProjectFile(String);

impl FromStr for ProjectFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if is_plain(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("expected a path in the app's folder, without `.`, `..` and `//`, found `{text}`"))
    }
}

/// A pattern for files of a project. The path of a file is a pattern, too.
struct ProjectPattern(Pattern);

impl FromStr for ProjectPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pattern = text.parse::<Pattern>().map_err(|e| e.to_string())?;
        pattern.to_string().parse::<ProjectFile>().map(|_| Self(pattern))
    }
}

/// Whether `path` is relative, and has no part that is empty, `.` or `..`.
fn is_plain(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | "..")) && !path.contains(char::is_control)
}

/// Folders of a container that are kept between builds.
pub(super) fn caches<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    values::list::<CacheFolder, D>(deserializer).map(|list| list.into_iter().map(|folder| folder.0).collect())
}

/// Files of a project.
pub(super) fn files<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    values::list::<ProjectFile, D>(deserializer).map(|list| list.into_iter().map(|file| file.0).collect())
}

/// Patterns for files of a project.
pub(super) fn patterns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Pattern>, D::Error> {
    values::list::<ProjectPattern, D>(deserializer).map(|list| list.into_iter().map(|pattern| pattern.0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;

    #[test]
    fn caches_lie_where_nothing_else_does() {
        for path in ["/root/.npm", "/root/target", "/var/cache/x", "/tmp/x", "/runner", "/root/..x"] {
            assert!(path.parse::<CacheFolder>().is_ok(), "{path}");
        }
        for path in [
            "",
            "/",
            "root/.npm",
            "~/.npm",
            "./x",
            "//root/x",
            "/root//x",
            "/root/",
            "/root/.",
            "/root/./x",
            "/root/../etc",
            "/root/../../../../etc/planted",
            "/..",
            "/proc",
            "/proc/self/cwd",
            "/sys/fs",
            "/dev/shm",
            "/run/secrets",
            "/run",
            "/root/a\nb",
            "/root/\0",
        ] {
            assert!(path.parse::<CacheFolder>().is_err(), "{path}");
        }
    }

    #[test]
    fn a_projects_files_lie_in_it() {
        for path in ["main.py", "src/main.py", "..x", "a..b/c"] {
            assert!(path.parse::<ProjectFile>().is_ok(), "{path}");
        }
        for path in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/", "a\tb"] {
            assert!(path.parse::<ProjectFile>().is_err(), "{path}");
        }
        assert!("**/*.zig".parse::<ProjectPattern>().is_ok() && "../*.zig".parse::<ProjectPattern>().is_err());
    }

    #[test]
    fn paths_that_lead_out_of_their_place_are_shown_where_they_stand() {
        let recipe = "name = 'x'\ndescription = 'x'\n[base.alpine]\npackages = ['x']\n";
        let app = |more: &str| format!("{recipe}[app]\n{more}\n");
        let way = |more: &str| {
            let way = format!("[[step]]\nname = 'install'\nrun = ['x']\nkeep = ['r']\n{more}\n");
            // A second definition of a key replaces the first.
            let key = more.split(' ').next().expect("a key");
            let lines = way.lines().filter(|line| *line == more || !line.starts_with(&format!("{key} ")));
            recipe.to_owned() + &lines.collect::<Vec<_>>().join("\n")
        };
        let mistakes = [
            way("cache = ['/root/.x', '/root/../../../../etc/planted']"),
            way("cache = 'root'"),
            way("cache = '/proc/self/cwd'"),
            way("keep = ['../../etc']"),
            way("lock = ['../x.lock']"),
            way("cache = '/root//x'"),
            app("entry = ['main.py', '/etc/passwd']"),
            app("start = [{ when = '../x', cmd = 'x' }]"),
            format!("detect = ['a/../../b']\n{recipe}"),
        ];
        let texts = mistakes.map(|text| Recipe::parse(&text, "x.toml").expect_err(&text).to_string());
        insta::assert_snapshot!(texts.join("\n\n"));
    }
}
