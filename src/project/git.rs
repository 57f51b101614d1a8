//! The commit and the address of an app's source, read from the files of its git repository without running git.
//!
//! See gitrepository-layout(5) and git-config(1). None of this may fail a build: what cannot be read is unknown. A
//! repository that does not keep its refs as files (reftable) has no known revision.

use std::{fs, path::Path};

use crate::app_folder::{AppFolder, EntryKind};

/// How many symbolic refs are followed before they count as a loop, as in git itself.
const SYMBOLIC_DEPTH: usize = 5;

/// The largest file of a repository that is read: `packed-refs` holds a line for each ref.
const LARGEST: u64 = 64 << 20;

/// The commit and the address of a work tree.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Commit {
    /// The commit that is checked out, 40 or 64 hexadecimal digits.
    pub(super) revision: Option<String>,
    /// The web address of the remote `origin`, without credentials.
    pub(super) source: Option<String>,
}

/// Reads the repository whose work tree contains `folder`, an absolute path.
pub(super) fn commit(folder: &Path) -> Commit {
    let Some(Repository { own, common }) = folder.ancestors().find_map(Repository::of) else {
        return Commit::default();
    };
    let origin = read(&common, "config").and_then(|config| remote_url(&config, "origin"));
    Commit { revision: resolve(&own, &common), source: origin.and_then(|url| web_address(&url)) }
}

/// A repository. Only files within its folders are read.
pub(super) struct Repository {
    /// The git folder of a work tree.
    own: AppFolder,
    /// The git folder of the whole repository: another one only for an additional work tree.
    pub(super) common: AppFolder,
}

impl Repository {
    /// Opens the repository of the work tree whose top is `folder`.
    ///
    /// In an additional work tree (git-worktree(1)) and in a submodule, `.git` is a file that names a git folder
    /// elsewhere. The app may be untrusted, and so is this file: the git folder counts only when it names this work
    /// tree in turn, as git keeps it.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        let door = AppFolder::open(folder).ok()?;
        match door.top().entries().ok()?.iter().find(|entry| entry.name == ".git")?.kind {
            EntryKind::Folder => {
                let own = AppFolder::open(&folder.join(".git")).ok()?;
                Some(Self { common: own.clone(), own })
            }
            EntryKind::File => Self::elsewhere(folder, read(&door, ".git")?.strip_prefix("gitdir:")?.trim()),
            EntryKind::Link | EntryKind::Special => None,
        }
        .filter(|found| found.own.is_file("HEAD"))
    }

    fn elsewhere(folder: &Path, named: &str) -> Option<Self> {
        let own = AppFolder::open(&folder.join(named)).ok()?;
        let same = |path: &Path, other: &Path| {
            fs::canonicalize(own.path().join(path)).ok().zip(fs::canonicalize(other).ok()).is_some_and(|(a, b)| a == b)
        };
        if let Some(back) = read(&own, "gitdir") {
            if !same(Path::new(back.trim_end()), &folder.join(".git")) {
                return None;
            }
            // The repository's folder is the one that contains it as `worktrees/NAME`; `commondir` could name any
            // folder.
            let own_path = fs::canonicalize(own.path()).ok()?;
            let worktrees = own_path.parent().filter(|folder| folder.ends_with("worktrees"))?;
            return Some(Self { common: AppFolder::open(worktrees.parent()?).ok()?, own });
        }
        let worktree = config_of(&read(&own, "config")?, "core", "", "worktree")?;
        same(Path::new(&worktree), folder).then(|| Self { common: own.clone(), own })
    }
}

fn read(git: &AppFolder, path: &str) -> Option<String> {
    git.read(path, LARGEST).ok().flatten()
}

/// The commit that HEAD leads to. A work tree's own refs are in its own folder, all others in the common one.
fn resolve(git: &AppFolder, common: &AppFolder) -> Option<String> {
    let mut content = read(git, "HEAD")?;
    for _ in 0..SYMBOLIC_DEPTH {
        let Some(name) = content.strip_prefix("ref:").map(str::trim) else {
            let digits = content.trim();
            let good = matches!(digits.len(), 40 | 64) && digits.bytes().all(|b| b.is_ascii_hexdigit());
            return good.then(|| digits.to_ascii_lowercase());
        };
        // No file outside the repository is read.
        if !name.starts_with("refs/") || name.split('/').any(|part| part == ".." || part.is_empty()) {
            return None;
        }
        content = read(git, name).or_else(|| read(common, name)).or_else(|| {
            let packed = read(common, "packed-refs")?;
            packed_ref(&packed, name).map(str::to_owned)
        })?;
    }
    None
}

/// The commit of the ref `name` in a `packed-refs` file.
fn packed_ref<'a>(packed: &'a str, name: &str) -> Option<&'a str> {
    let refs = packed.lines().filter(|line| !line.starts_with(['#', '^'])).filter_map(|line| line.split_once(' '));
    refs.into_iter().find(|(_, this)| this.trim_end() == name).map(|(digits, _)| digits)
}

/// The URL of a remote in a git configuration file. The first one counts: git fetches from it.
fn remote_url(config: &str, remote: &str) -> Option<String> {
    config_of(config, "remote", &format!("\"{remote}\""), "url")
}

/// The first value of `wanted` in `[section]`, or `[section subsection]`, of a git configuration file.
fn config_of(config: &str, section: &str, subsection: &str, wanted: &str) -> Option<String> {
    let mut within = false;
    for line in config.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            let (header, _) = header.split_once(']')?;
            let (name, rest) = header.split_once(char::is_whitespace).unwrap_or((header, ""));
            within = name.eq_ignore_ascii_case(section) && rest.trim() == subsection;
        } else if within
            && let Some((key, value)) = line.split_once('=')
            && key.trim().eq_ignore_ascii_case(wanted)
        {
            return Some(config_value(value));
        }
    }
    None
}

/// The value after a `=`, without quotes and without a comment at its end.
fn config_value(text: &str) -> String {
    let mut value = String::new();
    let mut quoted = false;
    let mut chars = text.trim_start().chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' => value.extend(chars.next()),
            '#' | ';' if !quoted => break,
            c => value.push(c),
        }
    }
    value.trim_end().to_owned()
}

/// The web address of the repository of `url`: `https`, without user, password, port of ssh, query and `.git`, so that
/// clones over ssh and over https have the same one. A path of this machine is private and has none.
fn web_address(url: &str) -> Option<String> {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None => {
            // scp's form, `[user@]host:path`. A `/` before the colon, or a single letter (a drive), makes it a path.
            let (host, path) = url.split_once(':').filter(|(host, _)| host.len() > 1 && !host.contains('/'))?;
            return web_address(&format!("ssh://{host}/{}", path.trim_start_matches('/')));
        }
    };
    let (web, keep_port) = match scheme.as_str() {
        "https" => ("https", true),
        "http" => ("http", true),
        "ssh" | "git" | "git+ssh" | "ssh+git" => ("https", false),
        _ => return None,
    };
    let (authority, path) = rest.split_once('/')?;
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let host = if keep_port { host } else { host.split_once(':').map_or(host, |(host, _)| host) };
    let path = path.split(['?', '#']).next().unwrap_or(path).trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path).trim_end_matches('/');
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
    // A `@` in the path may end a password that contains a `/`.
    let clean_path = !path.is_empty() && !path.contains('@') && !path.contains(char::is_control);
    let fine = !host.is_empty() && host.chars().all(good) && clean_path;
    fine.then(|| format!("{web}://{}/{path}", host.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0123456789abcdef0123456789abcdef01234567";
    const B: &str = "89abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn turns_remotes_into_web_addresses_without_secrets() {
        for (url, address) in [
            ("https://github.com/o/r", Some("https://github.com/o/r")),
            ("https://GitHub.com/o/r.git", Some("https://github.com/o/r")),
            ("https://user:secret@github.com/o/r.git/", Some("https://github.com/o/r")),
            ("https://oauth2:a@b@gitlab.example:8443/g/s/r.git", Some("https://gitlab.example:8443/g/s/r")),
            ("https://host/o/r?private_token=secret#x", Some("https://host/o/r")),
            ("http://host/r.git", Some("http://host/r")),
            ("git@github.com:o/r.git", Some("https://github.com/o/r")),
            ("github.com:o/r", Some("https://github.com/o/r")),
            ("ssh://git@host:2222/o/r.git", Some("https://host/o/r")),
            ("git+ssh://git@host/o/r", Some("https://host/o/r")),
            ("git://host/r.git", Some("https://host/r")),
            ("https://user:se/cret@host/r", None),
            ("https://host", None),
            ("https://host/", None),
            ("https:///r", None),
            ("https://ho st/r", None),
            ("file:///srv/r.git", None),
            ("/srv/r.git", None),
            ("../r.git", None),
            ("./a:b", None),
            ("C:/apps/r", None),
            ("", None),
        ] {
            assert_eq!(web_address(url).as_deref(), address, "{url}");
        }
    }

    #[test]
    fn reads_the_remote_of_a_configuration() {
        for (config, url) in [
            ("[remote \"origin\"]\n\turl = https://h/r\n", Some("https://h/r")),
            ("[core]\n\turl = no\n[Remote \"origin\"]\n  URL=\"https://h/r#1\" ; why\n", Some("https://h/r#1")),
            ("[remote \"fork\"]\n\turl = a\n[remote \"origin\"]\n\tfetch = +x\n\turl = b # c\n\turl = d\n", Some("b")),
            ("[remote \"Origin\"]\n\turl = a\n", None),
            ("[remote \"origin\"]\n[branch \"x\"]\n\turl = a\n", None),
            ("[remote", None),
            ("", None),
        ] {
            assert_eq!(remote_url(config, "origin").as_deref(), url, "{config}");
        }
    }

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn follows_head_to_its_commit() {
        let packed = format!("# pack-refs with: peeled\n{B} refs/heads/other\n^{A}\n{A} refs/heads/main\n");
        for (files, revision) in [
            (&[("HEAD", A)][..], Some(A)),
            (&[("HEAD", "ref: refs/heads/main\n"), ("refs/heads/main", A)], Some(A)),
            (&[("HEAD", "ref: refs/heads/main\n"), ("packed-refs", &packed)], Some(A)),
            (&[("HEAD", "ref: refs/heads/main"), ("refs/heads/main", B), ("packed-refs", &packed)], Some(B)),
            (&[("HEAD", "ref: refs/heads/a"), ("refs/heads/a", "ref: refs/heads/b"), ("refs/heads/b", A)], Some(A)),
            (&[("HEAD", "ref: refs/heads/a"), ("refs/heads/a", "ref: refs/heads/a")], None),
            (&[("HEAD", "ref: refs/heads/.invalid")], None),
            (&[("HEAD", "ref: ../../secret"), ("../secret", A)], None),
            (&[("HEAD", "ref: refs/../../secret"), ("../secret", A)], None),
            (&[("HEAD", "nonsense")], None),
            (&[("HEAD", "")], None),
        ] {
            let dir = tempfile::tempdir().unwrap();
            for (name, text) in files {
                write(&dir.path().join("r/.git").join(name), text);
            }
            let app = dir.path().join("r/packages/app");
            fs::create_dir_all(&app).unwrap();
            assert_eq!(commit(&app).revision.as_deref(), revision, "{files:?}");
        }
    }

    #[test]
    fn reads_further_work_trees_and_submodules() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        write(&at("main/.git/HEAD"), "ref: refs/heads/main");
        write(&at("main/.git/refs/heads/main"), A);
        write(&at("main/.git/refs/heads/topic"), B);
        write(&at("main/.git/config"), "[remote \"origin\"]\nurl = git@h.example:o/r.git\n");
        write(&at("main/.git/worktrees/wt/HEAD"), "ref: refs/heads/topic\n");
        write(&at("main/.git/worktrees/wt/commondir"), "../..\n");
        write(&at("main/.git/worktrees/wt/gitdir"), &format!("{}\n", at("wt/.git").display()));
        write(&at("wt/.git"), &format!("gitdir: {}\n", at("main/.git/worktrees/wt").display()));
        let source = Some("https://h.example/o/r".to_owned());
        assert_eq!(commit(&at("wt")), Commit { revision: Some(B.into()), source: source.clone() });
        assert_eq!(commit(&at("main")), Commit { revision: Some(A.into()), source });

        write(&at("main/.git/modules/sub/HEAD"), B);
        write(&at("main/.git/modules/sub/config"), "[core]\n\tworktree = ../../../sub\n");
        write(&at("main/sub/.git"), "gitdir: ../.git/modules/sub\n");
        assert_eq!(commit(&at("main/sub")), Commit { revision: Some(B.into()), source: None });
    }

    /// An app's folder may be untrusted: its `.git` must not bring in another repository's address.
    #[test]
    fn another_repository_is_never_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let git = |folder: &str| {
            write(&at(folder).join("HEAD"), A);
            write(&at(folder).join("config"), "[remote \"origin\"]\nurl = https://h.example/private\n");
        };
        git("victim/.git");
        git("victim/.git/worktrees/wt");
        write(&at("victim/.git/worktrees/wt/gitdir"), &format!("{}\n", at("victims-tree/.git").display()));
        let of = |app: &str| commit(&at(app));
        write(&at("names/.git"), "gitdir: ../victim/.git\n");
        write(&at("worktree/.git"), "gitdir: ../victim/.git/worktrees/wt\n");
        // One that names the work tree, and leads on.
        write(&at("common/.git"), "gitdir: fake\n");
        write(&at("common/fake/HEAD"), A);
        write(&at("common/fake/gitdir"), "../.git\n");
        write(&at("common/fake/commondir"), "../../victim/.git\n");
        for app in ["names", "worktree", "common"] {
            assert_eq!(of(app), Commit::default(), "{app}");
        }
        let link = |target: &str, path: &str| {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(target, at(path)).unwrap();
        };
        link("../victim/.git", "link/.git");
        assert_eq!(of("link"), Commit::default());
        write(&at("inside/.git/HEAD"), "ref: refs/heads/main");
        link("../../victim/.git/config", "inside/.git/config");
        link("../../../../victim/.git/HEAD", "inside/.git/refs/heads/main");
        assert_eq!(of("inside"), Commit::default());
    }

    #[test]
    fn a_broken_repository_is_none() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["nonsense", "gitdir: nowhere", "gitdir:", ""] {
            write(&dir.path().join(".git"), file);
            assert_eq!(commit(dir.path()), Commit::default(), "{file}");
        }
    }
}
