//! Where an app's source is kept, read from the files of its git repository without running git.
//!
//! See gitrepository-layout(5) and git-config(1). None of this may fail a build: what cannot be read is not known. A
//! repository that keeps its refs in another way than as files (reftable) has no known revision.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// How many symbolic refs lead on to another before they are taken for a circle, as in git itself.
const SYMBOLIC_DEPTH: usize = 5;

/// The largest file of a repository that is read: `packed-refs` holds a line for each ref.
const LARGEST: u64 = 64 << 20;

/// What a repository says of the work tree in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Commit {
    /// The commit that is checked out, 40 or 64 hexadecimal digits.
    pub(super) revision: Option<String>,
    /// The web address of the remote `origin`, without credentials.
    pub(super) source: Option<String>,
}

/// What the repository says in whose work tree `folder`, an absolute path, lies.
pub(super) fn commit(folder: &Path) -> Commit {
    let Some(git) = folder.ancestors().find_map(repository) else { return Commit::default() };
    let common = match read(&git.join("commondir")) {
        Some(path) => git.join(path.trim_end()),
        None => git.clone(),
    };
    let origin = read(&common.join("config")).and_then(|config| remote_url(&config, "origin"));
    Commit { revision: resolve(&git, &common), source: origin.and_then(|url| web_address(&url)) }
}

/// The git folder of the work tree whose top is `folder`. In a further work tree and in a submodule `.git` is a file
/// that names it.
fn repository(folder: &Path) -> Option<PathBuf> {
    let git = folder.join(".git");
    let git = match read(&git) {
        Some(file) => folder.join(file.strip_prefix("gitdir:")?.trim()),
        None => git,
    };
    git.join("HEAD").is_file().then_some(git)
}

fn read(path: &Path) -> Option<String> {
    let about = fs::metadata(path).ok()?;
    (about.is_file() && about.len() <= LARGEST).then(|| fs::read_to_string(path).ok())?
}

/// The commit that HEAD leads to. A work tree's own refs lie in its own folder, all others in the common one.
fn resolve(git: &Path, common: &Path) -> Option<String> {
    let mut content = read(&git.join("HEAD"))?;
    for _ in 0..SYMBOLIC_DEPTH {
        let Some(name) = content.strip_prefix("ref:").map(str::trim) else {
            let digits = content.trim();
            let good = matches!(digits.len(), 40 | 64) && digits.bytes().all(|b| b.is_ascii_hexdigit());
            return good.then(|| digits.to_ascii_lowercase());
        };
        // What is read never lies outside the repository.
        if !name.starts_with("refs/") || name.split('/').any(|part| part == ".." || part.is_empty()) {
            return None;
        }
        content = read(&git.join(name)).or_else(|| read(&common.join(name))).or_else(|| {
            let packed = read(&common.join("packed-refs"))?;
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

/// The URL of a remote in a git configuration file; the first, which is where git fetches from.
fn remote_url(config: &str, remote: &str) -> Option<String> {
    let header = format!("\"{remote}\"");
    let mut within = false;
    for line in config.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let (section, _) = section.split_once(']')?;
            let (name, subsection) = section.split_once(char::is_whitespace).unwrap_or((section, ""));
            within = name.eq_ignore_ascii_case("remote") && subsection.trim() == header;
        } else if within
            && let Some((key, value)) = line.split_once('=')
            && key.trim().eq_ignore_ascii_case("url")
        {
            return Some(config_value(value));
        }
    }
    None
}

/// The value behind a `=`: quotes and a comment at its end taken away.
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

/// The address under which a person, or a scanner, finds the repository of `url`: `https`, without user, password,
/// port of ssh, query and `.git`, so that it is the same for whoever cloned over ssh and whoever over https. A path of
/// this machine is nobody's business and has none.
fn web_address(url: &str) -> Option<String> {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None => {
            // scp's form, `[user@]host:path`; a `/` before the colon, or one letter (a drive), make it a path.
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
    // A `@` in the path may stand behind a password that itself holds a `/`.
    let clean_path = !path.is_empty() && !path.contains('@') && !path.contains(char::is_control);
    let fine = !host.is_empty() && host.chars().all(good) && clean_path;
    fine.then(|| format!("{web}://{}/{path}", host.to_ascii_lowercase()))
}
