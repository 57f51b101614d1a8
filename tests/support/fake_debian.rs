//! A small archive of Debian packages that reads like a sentence, signed by gpg with a key made here:
//!
//! ```ignore
//! let Some(signer) = Signer::shared() else { return };
//! let keys = Archive::new("bookworm")
//!     .with(Deb::new("a", "1-1").depends("b (>= 1)").file("usr/bin/a", 0o755, "#!/bin/sh\n"))
//!     .with(Deb::new("b", "1-1").packing(Packing::Zstd))
//!     .publish(dir.path(), &signer);
//! ```
//!
//! Packages and archives can also be broken on purpose, each in one way; all that is around the damage stays right, hashes
//! and signatures included, so that a test meets the very check that it names.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use flate2::{Compression, GzBuilder};
use microbuild::internals::{digest::Digest, package::Packing};
use tempfile::TempDir;

use super::{
    apk_file::{End, Entry, Node, write_tar},
    run, tools,
};

/// Who signs what the tests publish, and a stranger whom nobody trusts.
const OWN: &str = "archive@tests.invalid";
const STRANGER: &str = "stranger@tests.invalid";

/// gpg with a home of its own and two keys in it. It is shared by all tests that run at the same time; the agent that gpg
/// starts ends with the last of them.
pub struct Signer {
    gpg: PathBuf,
    home: TempDir,
    /// What was signed already: who signed what, and how.
    known: Mutex<HashMap<(String, Digest), Vec<u8>>>,
}

impl Signer {
    /// The one that other tests have now, or a new one; a skip where there is no gpg, or nothing that checks signatures.
    #[track_caller]
    pub fn shared() -> Option<Arc<Self>> {
        static CURRENT: Mutex<Weak<Signer>> = Mutex::new(Weak::new());
        let [gpg, _] = tools(["gpg", "gpgv"])?;
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        let signer = current.upgrade().unwrap_or_else(|| Arc::new(Self::new(gpg)));
        *current = Arc::downgrade(&signer);
        Some(signer)
    }

    fn new(gpg: PathBuf) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let signer = Self { gpg, home, known: Mutex::default() };
        for name in [OWN, STRANGER] {
            let mut command = signer.gpg();
            command.args(["--passphrase", "", "--pinentry-mode", "loopback", "--quick-generate-key", name]);
            run(command.args(["rsa2048", "sign", "never"])).succeeds();
        }
        signer
    }

    fn gpg(&self) -> Command {
        let mut command = Command::new(&self.gpg);
        command.args(["--batch", "--quiet", "--no-options", "--homedir"]).arg(self.home.path());
        command
    }

    /// The public key of those whom the tests trust, in ASCII armor.
    fn public_key(&self) -> Vec<u8> {
        self.output("", &["--armor", "--export", OWN])
    }

    /// `text`, signed by `name` in the way of `how`.
    fn sign(&self, name: &str, how: &str, text: &str) -> Vec<u8> {
        let key = (format!("{name} {how}"), Digest::of(text));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(key).or_insert_with(|| self.output(text, &["--armor", "-u", name, how])).clone()
    }

    /// What gpg says when it is given `input` in a file.
    fn output(&self, input: &str, args: &[&str]) -> Vec<u8> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (from, to) = (folder.path().join("in"), folder.path().join("out"));
        fs::write(&from, input).expect("a file");
        let mut command = self.gpg();
        command.arg("--output").arg(&to).args(args);
        run(if input.is_empty() { &mut command } else { command.arg(&from) }).succeeds();
        fs::read(to).expect("what gpg wrote")
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        let mut command = Command::new(self.gpg.with_file_name("gpgconf"));
        // Without it the agent ends by itself once it misses its folder.
        drop(command.arg("--homedir").arg(self.home.path()).args(["--kill", "gpg-agent"]).output());
    }
}

/// What is wrong with a package's file, which the index knows nothing of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Damage {
    #[default]
    None,
    /// A byte of the member whose name begins so is another one.
    Changed(&'static str),
    /// So many bytes are missing at the end.
    Cut(usize),
    /// These follow the end.
    Longer(Vec<u8>),
}

/// A package of an [`Archive`].
#[derive(Debug, Clone)]
pub struct Deb {
    name: String,
    version: String,
    arch: String,
    fields: Vec<(String, String)>,
    /// The fields that its own control file has otherwise than the index.
    differing: Vec<(String, String)>,
    control: Vec<(String, String)>,
    entries: Vec<Entry>,
    raw: Vec<Entry>,
    packing: Packing,
    damage: Damage,
}

/// A package on its way into an archive.
pub struct Built {
    /// Where it lies, below the archive's root.
    pub path: String,
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// Its paragraph for the index, without the empty line after it.
    pub record: String,
}

impl Deb {
    /// The empty package `name` of `version` (`1.2-3`), for amd64, packed with xz.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            arch: "amd64".into(),
            fields: Vec::new(),
            differing: Vec::new(),
            control: Vec::new(),
            entries: Vec::new(),
            raw: Vec::new(),
            packing: Packing::Xz,
            damage: Damage::None,
        }
    }

    fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// For another architecture: `arm64`, `all`.
    pub fn arch(self, arch: &str) -> Self {
        self.change(|d| d.arch = arch.into())
    }

    /// Any field, in the index and in the package's own control file.
    pub fn field(self, name: &str, value: &str) -> Self {
        self.change(|d| d.fields.push((name.into(), value.into())))
    }

    /// `Depends: libc6 (>= 2.36), a | b`
    pub fn depends(self, what: &str) -> Self {
        self.field("Depends", what)
    }

    /// A regular file of root.
    pub fn file(self, path: &str, mode: u32, content: impl Into<Vec<u8>>) -> Self {
        self.entry(Entry::file(path, mode, content))
    }

    /// A symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(Entry::new(path, 0o777, Node::Symlink(target.into())))
    }

    /// A directory; those above a file, of root and 0755, need not be named.
    pub fn dir(self, path: &str, mode: u32) -> Self {
        self.entry(Entry::new(path, mode, Node::Dir))
    }

    fn entry(self, entry: Entry) -> Self {
        self.change(|d| d.entries.push(entry))
    }

    /// A file of the control member: `postinst`, `conffiles`, `triggers`.
    pub fn control(self, name: &str, body: &str) -> Self {
        self.change(|d| d.control.push((name.into(), body.into())))
    }

    /// How the data member is packed.
    pub fn packing(self, packing: Packing) -> Self {
        self.change(|d| d.packing = packing)
    }

    /// Broken: an entry of the data that is written as it is, after the others, with no folders above it: an absolute path,
    /// `..`, a device.
    pub fn raw(self, entry: Entry) -> Self {
        self.change(|d| d.raw.push(entry))
    }

    /// Broken: the package's own control file has another value in a field than the index.
    pub fn but_says(self, field: &str, value: &str) -> Self {
        self.change(|d| d.differing.push((field.into(), value.into())))
    }

    /// Broken: a byte of the member `control` or `data` is another one.
    pub fn changed_in(self, member: &'static str) -> Self {
        self.change(|d| d.damage = Damage::Changed(member))
    }

    /// Broken: the file lacks its last `bytes`.
    pub fn truncated_by(self, bytes: usize) -> Self {
        self.change(|d| d.damage = Damage::Cut(bytes))
    }

    /// Broken: `bytes` more lie after the file's end.
    pub fn followed_by(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.change(|d| d.damage = Damage::Longer(bytes.into()))
    }

    /// The entries as a package has them: `./` before each path, folders before what is in them.
    fn members(&self) -> Vec<Entry> {
        let mut by_path = BTreeMap::from([(String::new(), Entry::new("", 0o755, Node::Dir))]);
        for entry in &self.entries {
            for (end, _) in entry.path.match_indices('/') {
                let path = &entry.path[..end];
                by_path.entry(path.to_owned()).or_insert_with(|| Entry::new(path, 0o755, Node::Dir));
            }
            by_path.insert(entry.path.clone(), entry.clone());
        }
        let named = |(path, entry): (String, Entry)| Entry {
            path: if path.is_empty() { ".".into() } else { format!("./{path}") },
            ..entry
        };
        by_path.into_iter().map(named).chain(self.raw.iter().cloned()).collect()
    }

    /// What the package says of itself; `differing` are the fields that have other values.
    fn paragraph(&self, differing: &[(String, String)]) -> String {
        let size: u64 = self.entries.iter().map(Entry::installed_size).sum();
        let first = [
            ("Package", self.name.clone()),
            ("Version", self.version.clone()),
            ("Installed-Size", size.div_ceil(1024).max(1).to_string()),
            ("Maintainer", "Tests <tests@tests.invalid>".into()),
            ("Architecture", self.arch.clone()),
        ];
        let own = self.fields.iter().cloned();
        let last = [("Description".to_owned(), format!("the package {}\n It is made up.", self.name))];
        let fields = first.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(own).chain(last);
        fields.fold(String::new(), |text, (name, value)| {
            let value = differing.iter().find(|(other, _)| *other == name).map_or(&value, |(_, value)| value);
            text + &format!("{name}: {value}\n")
        })
    }

    /// Makes the file, and the paragraph that an index has of it, which lies in the pool of `component`.
    pub fn build(&self, component: &str) -> Built {
        let members = self.members();
        let sums = members.iter().filter_map(|entry| match &entry.node {
            // Not MD5, but as long: nobody compares it.
            Node::File(content) => {
                Some(format!("{}  {}\n", &Digest::of(content).hex()[..32], entry.path.trim_start_matches("./")))
            }
            _ => None,
        });
        let of_control = [("control".to_owned(), self.paragraph(&self.differing)), ("md5sums".into(), sums.collect())];
        let mut control = vec![Entry::new(".", 0o755, Node::Dir)];
        control.extend(of_control.into_iter().chain(self.control.clone()).map(|(name, body)| {
            let mode = if ["control", "md5sums", "conffiles"].contains(&name.as_str()) { 0o644 } else { 0o755 };
            Entry::file(format!("./{name}"), mode, body)
        }));
        let parts = [
            ("debian-binary".to_owned(), b"2.0\n".to_vec()),
            ("control.tar.xz".into(), pack(Packing::Xz, &tar(&control))),
            (format!("data.tar{}", self.packing.extension()), pack(self.packing, &tar(&members))),
        ];
        let bytes = ar(&parts);
        let file = self.version.split_once(':').map_or(self.version.as_str(), |(_, version)| version);
        let path = format!("pool/{component}/{}/{}/{}_{file}_{}.deb", &self.name[..1], self.name, self.name, self.arch);
        let mut record = self.paragraph(&[]);
        let (size, hash) = (bytes.len(), Digest::of(&bytes).hex());
        writeln!(record, "Filename: {path}\nSize: {size}\nSHA256: {hash}").expect("a string takes everything");
        Built { path, bytes: self.damaged(bytes, &parts), record }
    }

    fn damaged(&self, mut bytes: Vec<u8>, parts: &[(String, Vec<u8>)]) -> Vec<u8> {
        match &self.damage {
            Damage::None => {}
            Damage::Changed(member) => {
                let (_, content) = parts.iter().find(|(name, _)| name.starts_with(member)).expect("a member");
                let start = bytes.windows(content.len()).position(|window| window == content).expect("it is there");
                bytes[start + content.len() / 2] ^= 1;
            }
            Damage::Cut(count) => bytes.truncate(bytes.len().saturating_sub(*count)),
            Damage::Longer(more) => bytes.extend_from_slice(more),
        }
        bytes
    }
}

fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    write_tar(&mut out, entries, End::Archive).expect("memory takes everything");
    out
}

/// The bytes, packed.
pub fn pack(packing: Packing, bytes: &[u8]) -> Vec<u8> {
    match packing {
        Packing::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
            encoder.write_all(bytes).and_then(|()| encoder.finish())
        }
        Packing::Zstd => zstd::encode_all(bytes, 3),
        Packing::Gzip => {
            let mut encoder = GzBuilder::new().write(Vec::new(), Compression::new(6));
            encoder.write_all(bytes).and_then(|()| encoder.finish())
        }
        Packing::Plain => Ok(bytes.to_vec()),
    }
    .expect("memory takes everything")
}

/// An archive as ar(1) writes it, of no time and nobody.
fn ar(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let (zero, mode, size) = (0, 100_644, content.len());
        out.extend(format!("{name:<16}{zero:<12}{zero:<6}{zero:<6}{mode:<8}{size:<10}`\n").bytes());
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(2), b'\n');
    }
    out
}

/// Who signs, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signature {
    /// In `InRelease`.
    Inline,
    /// In `Release.gpg`, beside `Release`; there is no `InRelease`.
    Detached,
    /// Likewise, but over another text.
    DetachedFromAnother,
    /// By a key that is not among those handed out.
    Stranger,
    /// Nobody: `InRelease` is the bare text.
    Missing,
}

/// A suite of an archive: `dists/SUITE/InRelease`, the lists that it names, and the packages in `pool`.
#[derive(Debug, Clone)]
pub struct Archive {
    suite: String,
    architectures: Vec<String>,
    components: Vec<String>,
    packages: Vec<(String, Deb)>,
    fields: Vec<(String, String)>,
    signature: Signature,
}

impl Archive {
    /// The suite `suite` with the component `main` for amd64.
    pub fn new(suite: &str) -> Self {
        let codename = suite.split('-').next().unwrap_or(suite);
        let companion = &suite[codename.len()..];
        let fields = [
            ("Origin", "Debian".to_owned()),
            ("Label", "Debian".into()),
            ("Suite", format!("stable{companion}")),
            ("Version", "12.11".into()),
            ("Codename", suite.to_owned()),
            ("Date", "Sat, 17 May 2025 09:20:01 UTC".into()),
            ("Acquire-By-Hash", "yes".into()),
            ("No-Support-for-Architecture-all", "Packages".into()),
        ];
        Self {
            suite: suite.into(),
            architectures: vec!["amd64".into()],
            components: vec!["main".into()],
            packages: Vec::new(),
            fields: fields.map(|(name, value)| (name.to_owned(), value)).into(),
            signature: Signature::Inline,
        }
    }

    fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// And this package, in `main`.
    pub fn with(self, deb: Deb) -> Self {
        self.with_in("main", deb)
    }

    /// And these, in `main`.
    pub fn with_all(self, debs: impl IntoIterator<Item = Deb>) -> Self {
        debs.into_iter().fold(self, Self::with)
    }

    /// And this package, in `component`.
    pub fn with_in(self, component: &str, deb: Deb) -> Self {
        self.change(|a| {
            if !a.components.iter().any(|known| known == component) {
                a.components.push(component.into());
            }
            a.packages.push((component.into(), deb));
        })
    }

    /// With this package instead of that of the same name.
    pub fn with_changed(self, name: &str, change: impl FnOnce(Deb) -> Deb) -> Self {
        self.change(|a| {
            let (_, deb) = a.packages.iter_mut().find(|(_, deb)| deb.name == name).expect("a package to change");
            *deb = change(deb.clone());
        })
    }

    /// Without the package.
    pub fn without(self, name: &str) -> Self {
        self.change(|a| a.packages.retain(|(_, deb)| deb.name != name))
    }

    /// For these architectures, separated by spaces.
    pub fn architectures(self, words: &str) -> Self {
        self.change(|a| a.architectures = words.split_whitespace().map(str::to_owned).collect())
    }

    /// A field of the Release: `Valid-Until`, `Suite`, `Origin`, …; an empty value leaves it out.
    pub fn set(self, field: &str, value: &str) -> Self {
        self.change(|a| {
            a.fields.retain(|(name, _)| name != field);
            a.fields.extend((!value.is_empty()).then(|| (field.to_owned(), value.to_owned())));
        })
    }

    /// `Release` and `Release.gpg` instead of `InRelease`.
    pub fn detached(self) -> Self {
        self.change(|a| a.signature = Signature::Detached)
    }

    /// Broken: the same, with a signature of another text.
    pub fn detached_from_another(self) -> Self {
        self.change(|a| a.signature = Signature::DetachedFromAnother)
    }

    /// Broken: signed by a key that is not the published one.
    pub fn by_stranger(self) -> Self {
        self.change(|a| a.signature = Signature::Stranger)
    }

    /// Broken: not signed.
    pub fn unsigned(self) -> Self {
        self.change(|a| a.signature = Signature::Missing)
    }

    /// The lists by their paths below the suite, packed and not.
    fn lists(&self) -> Vec<(String, Vec<u8>)> {
        let mut lists = Vec::new();
        for component in &self.components {
            for arch in &self.architectures {
                let here =
                    |(place, deb): &&(String, Deb)| place == component && (&deb.arch == arch || deb.arch == "all");
                let text: String =
                    self.packages.iter().filter(here).map(|(_, deb)| deb.build(component).record + "\n").collect();
                let path = format!("{component}/binary-{arch}/Packages");
                lists.push((format!("{path}.xz"), pack(Packing::Xz, text.as_bytes())));
                lists.push((path, text.into_bytes()));
            }
        }
        lists
    }

    fn release(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.fields {
            writeln!(text, "{name}: {value}").expect("a string takes everything");
        }
        writeln!(text, "Architectures: {}", self.architectures.join(" ")).expect("a string takes everything");
        writeln!(text, "Components: {}\nSHA256:", self.components.join(" ")).expect("a string takes everything");
        for (path, bytes) in self.lists() {
            writeln!(text, " {} {:>8} {path}", Digest::of(&bytes).hex(), bytes.len())
                .expect("a string takes everything");
        }
        text
    }

    /// Writes the suite below `dir`, which then serves as a mirror, and the public key beside it, whose path is returned.
    /// Further suites may be published to the same folder; what an older state of the suite had and this one has not stays.
    pub fn publish(&self, dir: &Path, signer: &Signer) -> PathBuf {
        for (component, deb) in &self.packages {
            let built = deb.build(component);
            write(&dir.join(built.path), &built.bytes);
        }
        let suite = dir.join("dists").join(&self.suite);
        for (path, bytes) in self.lists().iter().filter(|(path, _)| path.ends_with(".xz")) {
            let path = suite.join(path);
            write(&path, bytes);
            write(&path.with_file_name("by-hash/SHA256").join(Digest::of(bytes).hex()), bytes);
        }
        self.publish_release(dir, signer)
    }

    /// Writes only what is signed: the lists and packages are still those of an older state.
    pub fn publish_release(&self, dir: &Path, signer: &Signer) -> PathBuf {
        let suite = dir.join("dists").join(&self.suite);
        let text = self.release();
        let clear = |name| signer.sign(name, "--clear-sign", &text);
        let apart = |text: &str| signer.sign(OWN, "--detach-sign", text);
        let files = match self.signature {
            Signature::Inline => vec![("InRelease", clear(OWN))],
            Signature::Stranger => vec![("InRelease", clear(STRANGER))],
            Signature::Missing => vec![("InRelease", text.into_bytes())],
            Signature::Detached => vec![("Release.gpg", apart(&text)), ("Release", text.into_bytes())],
            Signature::DetachedFromAnother => {
                vec![("Release.gpg", apart("another text\n")), ("Release", text.into_bytes())]
            }
        };
        for (name, bytes) in files {
            write(&suite.join(name), &bytes);
        }
        let keys = dir.join("keys.asc");
        write(&keys, &signer.public_key());
        keys
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a folder above")).expect("a folder");
    fs::write(path, bytes).expect("a file");
}

/// The packages that the recipe `node` asks for, small and made up, for amd64.
pub fn node_debs() -> Vec<Deb> {
    let passwd = "root:*:0:0:root:/root:/bin/bash\nnobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
    let os =
        "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n";
    let alternative = "#!/bin/sh\nset -e\nupdate-alternatives --install /usr/bin/js js /usr/bin/node 50\n";
    vec![
        Deb::new("base-files", "12.4+deb12u11")
            .file("etc/debian_version", 0o644, "12.11\n")
            .file("usr/lib/os-release", 0o644, os)
            .symlink("etc/os-release", "../usr/lib/os-release")
            .dir("tmp", 0o1777)
            .dir("bin", 0o755),
        Deb::new("base-passwd", "3.6.1")
            .file("usr/share/base-passwd/passwd.master", 0o644, passwd)
            .file("usr/share/base-passwd/group.master", 0o644, "root:*:0:\nnogroup:*:65534:\n")
            .file("usr/share/man/man8/update-passwd.8.gz", 0o644, "a page"),
        Deb::new("ca-certificates", "20230311")
            .arch("all")
            .depends("openssl (>= 1.1.1), debconf (>= 0.5) | debconf-2.0")
            .file("usr/share/ca-certificates/mozilla/A.crt", 0o644, "certificate A\n")
            .file("usr/share/ca-certificates/mozilla/B.crt", 0o644, "certificate B\n"),
        Deb::new("netbase", "6.4").arch("all").file("etc/services", 0o644, "http 80/tcp\n"),
        Deb::new("libc6", "2.36-9+deb12u10")
            .field("Multi-Arch", "same")
            .file("lib/x86_64-linux-gnu/libc.so.6", 0o755, "the library")
            .file("lib64/ld-linux-x86-64.so.2", 0o755, "the loader")
            .file("usr/share/doc/libc6/copyright", 0o644, "free\n")
            .file("usr/share/doc/libc6/changelog.gz", 0o644, "changes"),
        Deb::new("nodejs", "18.19.0+dfsg-6~deb12u2")
            .depends("libc6 (>= 2.36)")
            .file("usr/bin/node", 0o755, "node itself")
            .symlink("usr/bin/nodejs", "node")
            .control("postinst", alternative),
    ]
}
