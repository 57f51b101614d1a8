//! A small Alpine repository that reads like a sentence, signed with a key made here:
//!
//! ```ignore
//! let keys = Repo::new()
//!     .with(Package::new("a", "1-r0").depends("so:b=1").file("usr/bin/a", 0o755, "#!/bin/sh\n"))
//!     .with(Package::new("b", "1-r0").provides("so:b=1"))
//!     .publish(dir.path());
//! ```
//!
//! Packages and repositories can also be broken on purpose, each in one way; all that is around the damage stays right,
//! signatures included, so that a test meets the very check that it names.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use microbuild::internals::digest::Digest;

use super::apk_file::{End, Entry, Info, Key, Node, SignatureKind, gz, index_stream, sha1, signature_stream, tar_gz};

/// The key that signs what the tests publish.
pub fn key() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(|| Key::generate("tests@microbuild-651a02fc"))
}

/// Another key, which nobody trusts.
pub fn unknown_key() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(|| Key::generate("stranger@microbuild-0badc0de"))
}

/// Who signs, and how well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Signature {
    #[default]
    Good,
    /// By the trusted key's name, over other bytes.
    Wrong,
    /// By a key that is not among those handed out.
    Stranger,
    /// None at all.
    Missing,
}

impl Signature {
    /// The signature stream before `signed`, by `key` or in its name.
    fn stream(self, key: &Key, kind: SignatureKind, signed: &[u8]) -> Vec<u8> {
        match self {
            Self::Good => key.signature_stream(kind, signed),
            Self::Wrong => signature_stream(kind, key.file_name(), key.sign(kind, b"something else")),
            Self::Stranger => unknown_key().signature_stream(kind, signed),
            Self::Missing => Vec::new(),
        }
    }
}

/// A package of a [`Repo`].
#[derive(Debug, Clone)]
pub struct Package {
    info: Info,
    scripts: Vec<(String, String)>,
    entries: Vec<Entry>,
    raw: Vec<Entry>,
    kind: SignatureKind,
    signature: Signature,
    wrong_checksum: bool,
    wrong_datahash: bool,
    cut: usize,
    index_size: Option<u64>,
    appended: Vec<u8>,
    data: Option<Vec<u8>>,
}

/// A package on its way into a repository.
pub struct Built {
    /// `NAME-VERSION.apk`.
    pub file_name: String,
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// Its record for the index.
    pub record: String,
}

impl Package {
    /// The empty package `name` of `version` (`1.2.3-r0`), for x86_64.
    pub fn new(name: &str, version: &str) -> Self {
        Self::of(Info {
            name: name.into(),
            version: version.into(),
            arch: "x86_64".into(),
            description: format!("the package {name}"),
            url: "https://example.org".into(),
            origin: name.into(),
            license: "MIT".into(),
            ..Info::default()
        })
    }

    /// The empty package that says `info` of itself.
    pub fn of(info: Info) -> Self {
        Self {
            info,
            scripts: Vec::new(),
            entries: Vec::new(),
            raw: Vec::new(),
            kind: SignatureKind::Rsa,
            signature: Signature::Good,
            wrong_checksum: false,
            wrong_datahash: false,
            cut: 0,
            index_size: None,
            appended: Vec::new(),
            data: None,
        }
    }

    fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// For another architecture: `aarch64`, `noarch`.
    pub fn arch(self, arch: &str) -> Self {
        self.change(|p| p.info.arch = arch.into())
    }

    /// Built from the source package `origin`.
    pub fn origin(self, origin: &str) -> Self {
        self.change(|p| p.info.origin = origin.into())
    }

    /// Needs `what` (`b`, `b>=2`, `so:libb.so.1`, `!b`); separated by spaces it is several.
    pub fn depends(self, what: &str) -> Self {
        self.change(|p| p.info.depends.extend(words(what)))
    }

    /// Provides `what` (`b`, `b=2`, `cmd:b=2`); separated by spaces it is several.
    pub fn provides(self, what: &str) -> Self {
        self.change(|p| p.info.provides.extend(words(what)))
    }

    /// May overwrite the files of `what`; separated by spaces it is several.
    pub fn replaces(self, what: &str) -> Self {
        self.change(|p| p.info.replaces.extend(words(what)))
    }

    /// `replaces_priority`.
    pub fn replaces_priority(self, priority: u64) -> Self {
        self.change(|p| p.info.replaces_priority = Some(priority))
    }

    /// `provider_priority`: which provider of an unversioned name is taken.
    pub fn priority(self, priority: u64) -> Self {
        self.change(|p| p.info.provider_priority = Some(priority))
    }

    /// Is installed by itself once all of `what` is; separated by spaces it is several.
    pub fn install_if(self, what: &str) -> Self {
        self.change(|p| p.info.install_if.extend(words(what)))
    }

    /// Built at `seconds` since 1970.
    pub fn build_date(self, seconds: u64) -> Self {
        self.change(|p| p.info.build_date = seconds)
    }

    /// A regular file of root.
    pub fn file(self, path: &str, mode: u32, content: impl Into<Vec<u8>>) -> Self {
        self.entry(Entry::file(path, mode, content).with_checksum())
    }

    /// A symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(Entry::new(path, 0o777, Node::Symlink(target.into())).with_checksum())
    }

    /// A hard link to the package's file `target`, with its mode and owner.
    pub fn hardlink(self, path: &str, target: &str) -> Self {
        self.change(|p| {
            let mut link = p.entries.iter().find(|entry| entry.path == target).expect("the target comes first").clone();
            link.path = path.into();
            link.node = Node::Hardlink(target.into());
            p.entries.push(link);
        })
    }

    /// A directory; those above a file, of root and 0755, need not be named.
    pub fn dir(self, path: &str, mode: u32) -> Self {
        self.entry(Entry::new(path, mode, Node::Dir))
    }

    /// Any entry.
    pub fn entry(self, entry: Entry) -> Self {
        self.change(|p| p.entries.push(entry))
    }

    /// Gives the entry added last another owner and group, by number and name (`1000:app`, `1000:app`).
    pub fn owner(self, user: &str, group: &str) -> Self {
        let split = |text: &str| {
            let (id, name) = text.split_once(':').expect("NUMBER:NAME");
            (id.parse().expect("a number"), name.to_owned())
        };
        let ((uid, user), (gid, group)) = (split(user), split(group));
        self.change(|p| {
            let entry = p.entries.last_mut().expect("an entry to own");
            entry.owner = (uid, gid);
            entry.owner_names = (user, group);
        })
    }

    /// An install script by its kind: `pre-install`, `post-install`, `pre-upgrade`, `trigger`, …
    pub fn script(self, kind: &str, body: &str) -> Self {
        self.change(|p| p.scripts.push((kind.into(), body.into())))
    }

    /// The script that runs before the files are there.
    pub fn pre_install(self, body: &str) -> Self {
        self.script("pre-install", body)
    }

    /// The script that runs once the files are there.
    pub fn post_install(self, body: &str) -> Self {
        self.script("post-install", body)
    }

    /// The script that runs when something changes in `folders` (separated by spaces).
    pub fn trigger(self, folders: &str, body: &str) -> Self {
        self.script("trigger", body).change(|p| p.info.triggers.extend(words(folders)))
    }

    /// Signed over SHA-256 instead of SHA-1.
    pub fn rsa256(self) -> Self {
        self.change(|p| p.kind = SignatureKind::Rsa256)
    }

    /// Broken: the signature is not one of these bytes.
    pub fn wrong_signature(self) -> Self {
        self.change(|p| p.signature = Signature::Wrong)
    }

    /// Broken: signed by a key that is not among the published ones.
    pub fn unknown_key(self) -> Self {
        self.change(|p| p.signature = Signature::Stranger)
    }

    /// Broken: not signed.
    pub fn unsigned(self) -> Self {
        self.change(|p| p.signature = Signature::Missing)
    }

    /// Broken: the index's `C:` is another package's.
    pub fn wrong_checksum(self) -> Self {
        self.change(|p| p.wrong_checksum = true)
    }

    /// Broken: the control part's `datahash` is not the data part's, which the signature and `C:` know nothing of.
    pub fn wrong_datahash(self) -> Self {
        self.change(|p| p.wrong_datahash = true)
    }

    /// Broken: the file lacks its last `bytes`, while the index tells its whole size.
    pub fn truncated_by(self, bytes: usize) -> Self {
        self.change(|p| p.cut = bytes)
    }

    /// Broken: `bytes` more lie after the file's end, which the index's size does not count.
    pub fn followed_by(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.change(|p| p.appended = bytes.into())
    }

    /// Broken: the index says that the file has another size.
    pub fn index_size(self, bytes: u64) -> Self {
        self.change(|p| p.index_size = Some(bytes))
    }

    /// Claims another installed size, in the index and in `.PKGINFO`.
    pub fn installed_size(self, bytes: u64) -> Self {
        self.change(|p| p.info.installed_size = Some(bytes))
    }

    /// Broken: an entry that is written as it is, after the others, with no folders above it and no checksum: an absolute
    /// path, `..`, a device, a link out of the root.
    pub fn raw(self, entry: Entry) -> Self {
        self.change(|p| p.raw.push(entry))
    }

    /// Broken: the file `path` unpacks to `size` zeros, of which the claimed installed size knows one.
    pub fn bomb(self, path: &str, size: u64) -> Self {
        self.raw(Entry::new(path, 0o644, Node::Zeros(size))).installed_size(1)
    }

    /// The tar `data` takes the place of the one of the entries.
    pub fn data(self, data: &[u8]) -> Self {
        self.change(|p| p.data = Some(gz(data))).installed_size(data.len() as u64)
    }

    /// The entries in the order in which a package has them: folders before what is in them, links after their targets.
    fn ordered(&self) -> Vec<Entry> {
        let mut by_path = BTreeMap::new();
        let mut links = Vec::new();
        for entry in &self.entries {
            let mut above = Path::new(&entry.path);
            while let Some(parent) = above.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                let path = parent.to_str().expect("a path made from text").to_owned();
                by_path.entry(path.clone()).or_insert_with(|| Entry::new(path, 0o755, Node::Dir));
                above = parent;
            }
            if matches!(entry.node, Node::Hardlink(_)) {
                links.push(entry.clone());
            } else {
                by_path.insert(entry.path.clone(), entry.clone());
            }
        }
        let mut entries: Vec<Entry> = by_path.into_values().chain(links).collect();
        entries.iter_mut().for_each(|entry| entry.mtime = self.info.build_date);
        entries.extend_from_slice(&self.raw);
        entries
    }

    /// Makes the file, signed by [`key`], and its record.
    pub fn build(&self) -> Built {
        self.build_signed_by(key())
    }

    /// Makes the file, signed by `key`, and its record.
    pub fn build_signed_by(&self, key: &Key) -> Built {
        let entries = self.ordered();
        // apk installs no files of a package whose size is 0, hence at least 1.
        let size = entries.iter().map(Entry::installed_size).sum::<u64>().max(1);
        let size = self.info.installed_size.unwrap_or(size);
        let data = self.data.clone().unwrap_or_else(|| tar_gz(&entries, End::Archive));
        let datahash = if self.wrong_datahash { Digest::of(b"other data") } else { Digest::of(&data) };
        let mut control = vec![Entry::file(".PKGINFO", 0o644, self.info.pkginfo(size, &datahash.hex()))];
        control.extend(self.scripts.iter().map(|(kind, body)| Entry::file(format!(".{kind}"), 0o755, body.as_str())));
        let control = tar_gz(&control, End::Cut);
        let mut bytes = self.signature.stream(key, self.kind, &control);
        bytes.extend_from_slice(&control);
        bytes.extend_from_slice(&data);
        let checksum = if self.wrong_checksum { sha1(b"other control") } else { sha1(&control) };
        let file_size = self.index_size.unwrap_or(bytes.len() as u64);
        let record = self.info.record(&checksum, file_size, size);
        bytes.truncate(bytes.len().saturating_sub(self.cut));
        bytes.extend_from_slice(&self.appended);
        Built { file_name: format!("{}-{}.apk", self.info.name, self.info.version), bytes, record }
    }
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split_whitespace().map(str::to_owned)
}

/// A repository: `RELEASE/NAME/ARCH/APKINDEX.tar.gz` and the packages beside it.
#[derive(Debug, Clone)]
pub struct Repo {
    release: String,
    name: String,
    arch: String,
    packages: Vec<Package>,
    kind: SignatureKind,
    signature: Signature,
    cut: usize,
    records: Vec<String>,
    description: String,
}

impl Repo {
    /// `v3.23/main` for x86_64.
    pub fn new() -> Self {
        Self::named("v3.23", "main", "x86_64")
    }

    /// Another one.
    pub fn named(release: &str, name: &str, arch: &str) -> Self {
        Self {
            release: release.into(),
            name: name.into(),
            arch: arch.into(),
            packages: Vec::new(),
            kind: SignatureKind::Rsa,
            signature: Signature::Good,
            cut: 0,
            records: Vec::new(),
            description: format!("{release} {name}"),
        }
    }

    fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// An empty repository `name` of the same release and architecture.
    pub fn beside(&self, name: &str) -> Self {
        Self::named(&self.release, name, &self.arch)
    }

    /// The same packages in the folder of another release.
    pub fn release(self, release: &str) -> Self {
        self.change(|r| r.release = release.into())
    }

    /// The text of `DESCRIPTION`: `v3.23.0-45-g0123456789a`.
    pub fn described(self, text: &str) -> Self {
        self.change(|r| r.description = text.into())
    }

    /// And this package.
    pub fn with(self, package: Package) -> Self {
        self.change(|r| r.packages.push(package))
    }

    /// The index is signed over SHA-256 instead of SHA-1.
    pub fn rsa256(self) -> Self {
        self.change(|r| r.kind = SignatureKind::Rsa256)
    }

    /// Broken: the index's signature is not one of these bytes.
    pub fn wrong_signature(self) -> Self {
        self.change(|r| r.signature = Signature::Wrong)
    }

    /// Broken: the index is signed by a key that is not among the published ones.
    pub fn unknown_key(self) -> Self {
        self.change(|r| r.signature = Signature::Stranger)
    }

    /// Broken: the index is not signed.
    pub fn unsigned(self) -> Self {
        self.change(|r| r.signature = Signature::Missing)
    }

    /// Broken: the index lacks its last `bytes`.
    pub fn truncated_by(self, bytes: usize) -> Self {
        self.change(|r| r.cut = bytes)
    }

    /// A record, or what is none, written to the index as it is, before the packages' own.
    pub fn record(self, text: &str) -> Self {
        self.change(|r| r.records.push(text.into()))
    }

    /// Writes the repository below `dir`, which then serves as a mirror, and the public key below `dir/keys`, whose path
    /// is returned. Further repositories may be published to the same folder.
    pub fn publish(&self, dir: &Path) -> PathBuf {
        let folder = dir.join(&self.release).join(&self.name).join(&self.arch);
        fs::create_dir_all(&folder).expect("a folder for the repository");
        let mut records = self.records.clone();
        for package in &self.packages {
            let built = package.build();
            fs::write(folder.join(&built.file_name), &built.bytes).expect("a package file");
            records.push(built.record);
        }
        let signed = index_stream(&self.description, &records);
        let mut index = self.signature.stream(key(), self.kind, &signed);
        index.extend_from_slice(&signed);
        index.truncate(index.len().saturating_sub(self.cut));
        fs::write(folder.join("APKINDEX.tar.gz"), index).expect("an index file");
        let keys = dir.join("keys");
        key().write_to(&keys);
        keys
    }
}
