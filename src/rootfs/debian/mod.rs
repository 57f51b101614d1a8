//! What `dpkg` would make of a list of Debian's packages, less what a container never looks at.
//!
//! What maintainer scripts and triggers would do is reproduced where it is known:
//!
//! - `/bin`, `/lib` and `/sbin` are links to their namesakes in `/usr`, whichever of the two paths a package uses
//!   (<https://wiki.debian.org/UsrMerge>).
//! - `/etc/passwd` and `/etc/group` are base-passwd's.
//! - [`alternatives`] are linked as update-alternatives(1) would by itself.
//! - `/etc/ssl/certs/ca-certificates.crt` holds ca-certificates' files, which are left out themselves; OpenSSL's own place for
//!   them leads there.
//! - Extensions of PHP are enabled for each of its programs, as phpenmod(8) would.
//! - busybox, where it is requested, is linked under the names of its applets, the shell's among them.
//! - `/usr/bin/python` leads to python3, as python-is-python3 would have it.
//! - `/etc/nsswitch.conf` is libc-bin's, or one that says the same of hosts.
//!
//! ldconfig(8) is not needed: the folders of Debian's libraries are searched by its loader without a cache, and the
//! links for sonames are in the packages. A library in a folder that only `/etc/ld.so.conf.d` names would not be found:
//! that is what [`check_libraries`](super::check_libraries) reports.
//!
//! What other scripts do (users that they add, configuration that they write, caches of fonts, keys and the like) is
//! not done.
//!
//! dpkg itself is mostly not in the root, and neither is its database; what scanners (trivy, syft, grype) read is, in
//! the form that distroless gave it: `/var/lib/dpkg/status.d/NAME` with a package's control file, and `NAME.md5sums`
//! beside it.
//!
//! Left out are documentation but for copyright files, man and info pages, translations, and what packages have for
//! other programs (lintian, bug reports, shells' completions).

mod alternatives;
mod busybox;
mod php;

use std::collections::BTreeMap;

use super::{
    Content, DOCUMENTATION, Installed as InstalledPackage, Node, NodeKind, ReadMembers, RootfsError, Settings, Tree,
    is_copyright, member, takes, users::Accounts,
};
use crate::{
    deb::{
        control::paragraphs,
        dependency::{Dependency, parse_list},
        package::{Entry, EntryKind},
        record::Record,
    },
    glob::PatternSet,
};

/// A package of Debian.
pub type Installed = InstalledPackage<Record>;

/// Folders whose place is below `/usr`; those of the second row only where a package uses them.
const MERGED: [&str; 3] = ["bin", "lib", "sbin"];
const MERGED_IF_USED: [&str; 4] = ["lib32", "lib64", "libo32", "libx32"];
/// Where scanners look for packages.
const STATUS: &str = "var/lib/dpkg/status.d";
/// The bundle of certificates, and the folder of what it is made of.
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
const CERTIFICATES: &str = "usr/share/ca-certificates";
/// What no program in a container looks at: below these.
const LEFT_OUT: [&str; 16] = [
    "usr/share/apport",
    "usr/share/bash-completion/completions",
    "usr/share/bug",
    "usr/share/doc-base",
    "usr/share/fish/vendor_completions.d",
    "usr/share/gcc/python",
    "usr/share/gdb/auto-load",
    "usr/share/info",
    "usr/share/initramfs-tools",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/menu",
    "usr/share/pixmaps",
    "usr/share/systemtap/tapset",
    "usr/share/zsh/vendor-completions",
];
/// glibc's own idea of it would ask the name server first, for `localhost` too.
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n\
                        protocols: files\nservices: files\nethers: files\nrpc: files\n";

/// Lays `packages` over each other in their order, as dpkg would unpack them, and adds what their scripts and this
/// program add.
///
/// # Errors
/// When two packages have a file at the same place and neither may replace the other; when content that must be known
/// (base-passwd's users, certificates) cannot be read.
pub fn assemble(packages: &[Installed], settings: &Settings, read: &ReadMembers<'_>) -> Result<Tree, RootfsError> {
    let mut assembly = Assembly { packages, read, strip: &settings.strip, tree: Tree::default() };
    assembly.merge_usr();
    for at in 0..packages.len() {
        assembly.install(at)?;
    }
    let mut accounts = assembly.accounts()?;
    assembly.tree.add_accounts(&mut accounts);
    assembly.bundle_certificates()?;
    let scripts = packages.iter().filter_map(|installed| installed.package.scripts.get("postinst"));
    alternatives::link(&mut assembly.tree, scripts.map(|script| &script.bytes[..]));
    assembly.enable_php()?;
    if let Some(program) = assembly.content(busybox::PROGRAM)? {
        busybox::link(&mut assembly.tree, &program);
    }
    assembly.add_configuration(&settings.release)?;
    assembly.tree.add_names();
    assembly.tree.add_folders();
    assembly.tree.directory("run", 0o755, 0, 0);
    assembly.tree.directory(&settings.workdir, 0o755, 0, 0);
    assembly.write_status();
    Ok(assembly.tree)
}

struct Assembly<'a> {
    packages: &'a [Installed],
    read: &'a ReadMembers<'a>,
    strip: &'a PatternSet,
    tree: Tree,
}

impl Assembly<'_> {
    fn merge_usr(&mut self) {
        let used = |folder: &&str| {
            let below = |entry: &Entry| {
                let path = entry.path.strip_prefix("usr/").unwrap_or(&entry.path);
                path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            self.packages.iter().any(|installed| installed.package.entries.iter().any(below))
        };
        for folder in MERGED.into_iter().chain(MERGED_IF_USED.into_iter().filter(used).collect::<Vec<_>>()) {
            self.tree.directory(&format!("usr/{folder}"), 0o755, 0, 0);
            self.tree.link(folder, &format!("usr/{folder}"));
        }
    }

    fn install(&mut self, at: usize) -> Result<(), RootfsError> {
        let Installed { package, selection, .. } = &self.packages[at];
        for (place, entry) in package.entries.iter().enumerate() {
            let Some(path) = self.place(at, &entry.path)? else { continue };
            if is_left_out(&path) || !takes(selection, &path, self.strip) {
                continue;
            }
            let (content, inode) = match &entry.kind {
                EntryKind::Hardlink(target) => member(&package.entries, target, place),
                _ => (place, entry),
            };
            let kind = match &entry.kind {
                EntryKind::Directory => NodeKind::Directory,
                EntryKind::Symlink(target) => NodeKind::Symlink(target.clone()),
                EntryKind::File { .. } | EntryKind::Hardlink(_) => NodeKind::File(Content::Member(content)),
            };
            // Debian's packages have only the users of base-passwd, whose numbers are the same everywhere.
            let number = |id: u64| u32::try_from(id).unwrap_or(65534);
            let (uid, gid) = (number(inode.uid), number(inode.gid));
            let node = Node { kind, mode: inode.mode, uid, gid, package: Some(at) };
            if self.takes(at, &path, &node)? {
                self.tree.insert(&path, node);
            }
        }
        Ok(())
    }

    /// The path at which a member of the package lies: links to folders above it are followed, as dpkg would. `None`
    /// for a folder or link that merging `/usr` has already made.
    fn place(&self, at: usize, path: &str) -> Result<Option<String>, RootfsError> {
        let merged = |path: &str| MERGED.contains(&path) || MERGED_IF_USED.contains(&path);
        if merged(path) && self.tree.get(path).is_some() {
            return Ok(None);
        }
        let refused = |why| RootfsError::Refused { package: self.packages[at].title(), path: path.to_owned(), why };
        self.tree.place(path, |_| true).map(Some).map_err(refused)
    }

    /// Whether the package's `node` is what `path` becomes.
    fn takes(&self, at: usize, path: &str, node: &Node) -> Result<bool, RootfsError> {
        let Some(old) = self.tree.get(path) else { return Ok(true) };
        let new = &self.packages[at];
        let conflict = || RootfsError::Conflict {
            path: path.to_owned(),
            old: old.package.map_or_else(|| "microbuild".into(), |old| self.packages[old].title()),
            new: new.title(),
        };
        match (&old.kind, &node.kind) {
            (NodeKind::Directory, NodeKind::Directory) => Ok(old.package.is_none()),
            // dpkg keeps a folder that a newer package has as a link, and a link to a folder where a package has the
            // folder.
            (NodeKind::Directory, NodeKind::Symlink(_)) => Ok(false),
            (NodeKind::Symlink(_), NodeKind::Directory) if self.tree.leads_to_folder(path) => Ok(false),
            (NodeKind::Directory, _) | (_, NodeKind::Directory) => Err(conflict()),
            (_, _) => match old.package.map(|old| &self.packages[old]) {
                None => Ok(true),
                Some(old) if replaces(new, old) => Ok(true),
                Some(old) if replaces(old, new) => Ok(false),
                // Two links to the same place are no conflict.
                Some(_) if old.kind == node.kind && matches!(old.kind, NodeKind::Symlink(_)) => Ok(false),
                Some(_) => Err(conflict()),
            },
        }
    }

    /// The content of a file of the tree, wherever it is; `None` when there is no such file.
    fn content(&self, path: &str) -> Result<Option<Vec<u8>>, RootfsError> {
        match self.tree.get(path) {
            Some(Node { kind: NodeKind::File(Content::Bytes(bytes)), .. }) => Ok(Some(bytes.clone())),
            Some(Node { kind: NodeKind::File(Content::Member(place)), package: Some(at), .. }) => {
                super::contents(self.packages, *at, &[*place], self.read).map(|contents| Some(contents.concat()))
            }
            _ => Ok(None),
        }
    }

    fn text(&self, path: &str) -> Result<Option<String>, RootfsError> {
        Ok(self.content(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// base-passwd's users, all without a password.
    fn accounts(&self) -> Result<Accounts, RootfsError> {
        let master = |name: &str| self.text(&format!("usr/share/base-passwd/{name}.master"));
        let column = |text: Option<String>| -> String {
            // `*` says that no password is accepted; `x` that /etc/shadow would know more.
            let line = |line: &str| line.replacen(":*:", ":x:", 1) + "\n";
            text.unwrap_or_default().lines().map(line).collect()
        };
        Ok(Accounts::parse(&column(master("passwd")?), &column(master("group")?), ""))
    }

    /// update-ca-certificates(8): all certificates in one file, in the order of their names.
    fn bundle_certificates(&mut self) -> Result<(), RootfsError> {
        let mut places: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (path, node) in self.tree.iter() {
            if let (true, NodeKind::File(Content::Member(place)), Some(at)) =
                (is_below(path, CERTIFICATES) && path.ends_with(".crt"), &node.kind, node.package)
            {
                places.entry(at).or_default().push(*place);
            }
        }
        let mut bundle = Vec::new();
        for (at, places) in &places {
            for certificate in super::contents(self.packages, *at, places, self.read)? {
                bundle.extend(certificate);
                if !bundle.ends_with(b"\n") {
                    bundle.push(b'\n');
                }
            }
        }
        if bundle.is_empty() {
            return Ok(());
        }
        self.tree.remove(CERTIFICATES);
        self.tree.write(BUNDLE, 0o644, bundle);
        // Where Debian's OpenSSL looks by itself; the links by hash that it would find there are
        // update-ca-certificates' work.
        for (path, target) in
            [("usr/lib/ssl/cert.pem", format!("/{BUNDLE}")), ("usr/lib/ssl/certs", "/etc/ssl/certs".into())]
        {
            if self.tree.get(path).is_none() {
                self.tree.link(path, &target);
            }
        }
        Ok(())
    }

    /// phpenmod(8) for every extension of PHP that is here.
    fn enable_php(&mut self) -> Result<(), RootfsError> {
        let places: Vec<String> = self.tree.iter().map(|(path, _)| path).filter_map(php::settings).collect();
        for place in places {
            let Some(text) = self.text(&place)? else { continue };
            php::enable(&mut self.tree, &place, &text);
        }
        Ok(())
    }

    /// Configuration that scripts write, and what tells scanners which distribution this is, where no package does.
    fn add_configuration(&mut self, release: &str) -> Result<(), RootfsError> {
        if self.tree.get("etc/nsswitch.conf").is_none() {
            let own = self.text("usr/share/libc-bin/nsswitch.conf")?;
            self.tree.write("etc/nsswitch.conf", 0o644, own.unwrap_or_else(|| NSSWITCH.to_owned()));
        }
        if self.tree.resolve("etc/os-release").is_none() {
            let text =
                format!("PRETTY_NAME=\"Debian {release}\"\nNAME=\"Debian\"\nVERSION_ID=\"{release}\"\nID=debian\n");
            self.tree.write("etc/os-release", 0o644, text);
        }
        // Where people and programs of a machine's own put what no package has: base-files' script makes them.
        if self.tree.get("usr/share/base-files").is_some() {
            for folder in ["bin", "etc", "include", "lib", "sbin", "share", "src"] {
                self.tree.directory(&format!("usr/local/{folder}"), 0o755, 0, 0);
            }
        }
        Ok(())
    }

    /// What dpkg would say of the packages, of the files that are here.
    fn write_status(&mut self) {
        let mut files = Vec::new();
        for (at, installed) in self.packages.iter().enumerate() {
            let package = &installed.package;
            let is_here = |line: &&str| {
                let path = line.split_once("  ").map_or("", |(_, path)| path);
                let place = self.place(at, path).ok().flatten();
                let node = place.and_then(|place| self.tree.get(&place));
                node.is_some_and(|node| node.package == Some(at) && !matches!(node.kind, NodeKind::Directory))
            };
            let sums: String = package.md5sums.lines().filter(is_here).map(|line| format!("{line}\n")).collect();
            let path = format!("{STATUS}/{}", package.name);
            files.push((path.clone(), package.control.clone()));
            files.extend((!sums.is_empty()).then(|| (path + ".md5sums", sums)));
        }
        for (path, text) in files {
            self.tree.write(&path, 0o644, text);
        }
    }
}

/// Whether nothing in a container looks at the path.
fn is_left_out(path: &str) -> bool {
    if let Some(rest) = path.strip_prefix(DOCUMENTATION) {
        // A folder comes with what is in it, a link stands for the copyright of another package.
        return rest.contains('/') && !is_copyright(path);
    }
    LEFT_OUT.iter().any(|folder| is_below(path, folder))
}

/// Whether the path is the folder, or in it.
fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the package may take over files of the other (deb-control(5), `Replaces`), or is another version of it.
fn replaces(package: &Installed, other: &Installed) -> bool {
    // As the package itself says it: that is what the rest of its content goes by, too.
    let names = paragraphs(&package.package.control).next().and_then(|paragraph| paragraph.get("Replaces"));
    let names = names.and_then(|names| parse_list(names).ok()).unwrap_or_default();
    let over = &other.record;
    let is_meant = |dependency: &Dependency| dependency.name == over.name() && dependency.accepts(Some(over.version()));
    package.record.name() == over.name() || names.iter().any(|alternatives| alternatives.iter().any(is_meant))
}

#[cfg(test)]
mod tests;
