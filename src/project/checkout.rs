//! What git knows of an app's files: the commit that is checked out, its time, and whether the files are the commit's.
//!
//! `git` itself reads the objects, since a commit may lie in a pack. The app's folder may be a stranger's, and the
//! configuration of its repository can name programs that git would run (`core.fsmonitor`, filters, `gpg.program`). So
//! that git gets an empty repository of ours, which only takes its objects from the app's; of the work tree it reads
//! nothing: files are compared with the commit by their digests here.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{AppFile, FileKind, git::Repository};
use crate::{app_folder::AppFolder, digest, programs};

/// The commit that an app's files are compared with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Checkout {
    /// No commit is checked out, or it was not looked for.
    #[default]
    None,
    /// Its objects cannot be read; why.
    Unreadable(String),
    /// A commit.
    Commit {
        /// Its time, in seconds since 1970.
        time: u64,
        /// Paths of the app that are not as the commit has them: changed, not in it, or missing.
        changed: Vec<String>,
    },
}

/// Compares the `files` of the app in `root`, an absolute path without links, with the commit `revision`. `path` is the search
/// path of programs.
pub(super) fn compare(root: &Path, files: &[AppFile], revision: &str, path: &OsString) -> Checkout {
    let Some((top, repository)) = root.ancestors().find_map(|folder| Some((folder, Repository::of(folder)?))) else {
        return Checkout::None;
    };
    let Some(program) = programs::find("git", path) else {
        return Checkout::Unreadable("git is not installed".to_owned());
    };
    let read = || -> io::Result<Checkout> {
        let git = Git::new(program, &repository, revision.len())?;
        let time = git.run(&["cat-file", "commit", revision])?;
        let time =
            committed(&String::from_utf8_lossy(&time)).ok_or_else(|| io::Error::other("the commit has no time"))?;
        let folder = root.strip_prefix(top).map_err(io::Error::other)?;
        let folder = folder.to_str().ok_or_else(|| io::Error::other("its folder's name is not UTF-8"))?;
        let tree = if folder.is_empty() { revision.to_owned() } else { format!("{revision}:{folder}") };
        // A folder that the commit does not have has no files there.
        let listed = git.run(&["ls-tree", "-r", "-z", "--full-tree", &tree]).unwrap_or_default();
        let app = AppFolder::open(root).map_err(io::Error::other)?;
        Ok(Checkout::Commit { time, changed: changed(&app, files, &objects(&listed))? })
    };
    read().unwrap_or_else(|error| Checkout::Unreadable(error.to_string()))
}

/// An empty repository that has the objects of another one.
struct Git {
    program: PathBuf,
    folder: tempfile::TempDir,
    objects: PathBuf,
}

impl Git {
    fn new(program: PathBuf, repository: &Repository, digits: usize) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("objects"))?;
        std::fs::create_dir(at("refs"))?;
        std::fs::write(at("HEAD"), "ref: refs/heads/none\n")?;
        let format = if digits == 64 { "[extensions]\n\tobjectformat = sha256\n" } else { "" };
        let version = if digits == 64 { 1 } else { 0 };
        std::fs::write(
            at("config"),
            format!("[core]\n\trepositoryformatversion = {version}\n\tbare = true\n{format}"),
        )?;
        Ok(Self { program, objects: repository.common.path().join("objects"), folder })
    }

    fn run(&self, words: &[&str]) -> io::Result<Vec<u8>> {
        let output = Command::new(&self.program)
            .args(["--no-pager", "--no-replace-objects"])
            .args(words)
            .env_clear()
            .env("GIT_DIR", self.folder.path())
            .env("GIT_OBJECT_DIRECTORY", &self.objects)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("LC_ALL", "C")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said: String =
            said.lines().next().unwrap_or("git failed").chars().filter(|c| !c.is_control()).take(200).collect();
        Err(io::Error::other(said))
    }
}

/// The committer's time in a commit object: `committer NAME <ADDRESS> SECONDS ZONE`.
fn committed(commit: &str) -> Option<u64> {
    let line = commit.lines().take_while(|line| !line.is_empty()).find_map(|line| line.strip_prefix("committer "))?;
    line.rsplit_once('>')?.1.split_whitespace().next()?.parse().ok()
}

/// An object of a tree: its mode in octal digits, and its name.
type Object = (String, String);

/// The objects that `git ls-tree -r -z` lists (`MODE TYPE NAME<tab>PATH<nul>`), by path. Names that are not UTF-8 cannot be in an
/// image.
fn objects(listed: &[u8]) -> BTreeMap<String, Object> {
    let line = |line: &[u8]| {
        let (about, path) = std::str::from_utf8(line).ok()?.split_once('\t')?;
        let mut about = about.split(' ');
        let (mode, name) = (about.next()?, about.nth(1)?);
        Some((path.to_owned(), (mode.to_owned(), name.to_owned())))
    };
    listed.split(|byte| *byte == 0).filter_map(line).collect()
}

/// The paths that are not as in the commit.
fn changed(app: &AppFolder, files: &[AppFile], objects: &BTreeMap<String, Object>) -> io::Result<Vec<String>> {
    let mut changed = Vec::new();
    for file in files.iter().filter(|file| file.kind != FileKind::Folder) {
        let same = match objects.get(&file.path) {
            Some((mode, name)) => mode == mode_of(&file.kind) && *name == object(app, file, name.len())?,
            None => false,
        };
        if !same {
            changed.push(file.path.clone());
        }
    }
    // What the image leaves out may be anything, as long as it is there.
    let mut listed: BTreeMap<&str, Vec<OsString>> = BTreeMap::new();
    let known = |path: &str| files.binary_search_by(|file| file.path.as_str().cmp(path)).is_ok();
    for path in objects.keys().filter(|path| !known(path)) {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let names = match listed.entry(folder) {
            std::collections::btree_map::Entry::Occupied(names) => names.into_mut(),
            std::collections::btree_map::Entry::Vacant(empty) => {
                let entries = app.list(folder).ok().flatten().unwrap_or_default();
                empty.insert(entries.into_iter().map(|entry| entry.name).collect())
            }
        };
        if !names.iter().any(|known| known == name) {
            changed.push(path.clone());
        }
    }
    changed.sort();
    Ok(changed)
}

fn mode_of(kind: &FileKind) -> &'static str {
    match kind {
        FileKind::Folder => "040000",
        FileKind::File { executable: true, .. } => "100755",
        FileKind::File { executable: false, .. } => "100644",
        FileKind::Link { .. } => "120000",
    }
}

/// The name of git's object for a file or link, which has `digits` hexadecimal digits: the digest of `blob SIZE<nul>` and the
/// content (gitformat-loose, "Object name").
fn object(app: &AppFolder, file: &AppFile, digits: usize) -> io::Result<String> {
    let (size, mut content): (u64, Box<dyn io::Read>) = match &file.kind {
        FileKind::Link { target } => (target.len() as u64, Box::new(target.as_bytes())),
        FileKind::File { size, .. } => (*size, Box::new(file.open(app).map_err(io::Error::other)?.take(*size))),
        FileKind::Folder => (0, Box::new(io::empty())),
    };
    let algorithm = if digits == 64 { &ring::digest::SHA256 } else { &ring::digest::SHA1_FOR_LEGACY_USE_ONLY };
    let mut hash = ring::digest::Context::new(algorithm);
    hash.update(format!("blob {size}\0").as_bytes());
    let mut buffer = vec![0; 1 << 16];
    loop {
        match content.read(&mut buffer)? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    Ok(digest::hex(hash.finish().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_git_writes() {
        let commit =
            "tree 1\nauthor A > B <a@b> 1 +0000\ncommitter C <c@d> 1700000000 +0200\n\ncommitter X <x> 2 +0000\n";
        assert_eq!(committed(commit), Some(1_700_000_000));
        for none in ["", "tree 1\n\ncommitter C <c> 1 +0", "committer C <c> now", "committer C"] {
            assert_eq!(committed(none), None, "{none}");
        }
        let listed = objects(b"100644 blob aa\ta b\x00120000 blob bb\td/e\tf\x00nonsense\x00100644 blob cc\t\xff\x00");
        let expected = [("a b", "100644", "aa"), ("d/e\tf", "120000", "bb")];
        let expected = expected.map(|(path, mode, name)| (path.to_owned(), (mode.to_owned(), name.to_owned())));
        assert_eq!(listed, BTreeMap::from(expected));
    }

    /// The names that `git hash-object` gives.
    #[test]
    fn names_objects_as_git_does() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(dir.path().join("a"), "hello\n").expect("a file");
        let app = AppFolder::open(dir.path()).expect("a folder");
        let file = AppFile { path: "a".into(), kind: FileKind::file(6, 0o644) };
        let of = |file: &AppFile, digits| object(&app, file, digits).expect("a name");
        assert_eq!(of(&file, 40), "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(of(&file, 64), "2cf8d83d9ee29543b34a87727421fdecb7e3f3a183d337639025de576db9ebb4");
        let link = AppFile { path: "l".into(), kind: FileKind::Link { target: "a".into() } };
        assert_eq!(of(&link, 40), "2e65efe2a145dda7ee51d1741299f848e5bf752e");
    }
}
