//! What `apk add` would make of a list of Alpine's packages.
//!
//! What install scripts and triggers would do is reproduced where it is known: users and groups, busybox's links, the
//! group of `/etc/shadow`. apk's own database ([`installed`]) is written as apk writes it.
//!
//! Links to folders that other packages have are followed, as apk does: with a merged `/usr`, `lib/x` lies in
//! `usr/lib`. What two packages have at one place under two names is a conflict here; apk does not see it, and keeps
//! what it wrote last.
//!
//! The integration test `rootfs` has the real apk install the same packages. What differs from its root is on purpose:
//!
//! - The user `nonroot` with its home, the app's folder, and the folders that an app or a container runtime expects (`/dev`,
//!   `/proc`, `/root`, `/sys`, `/tmp`) are there even when no package brings them; so are `/etc/passwd` and its like,
//!   `/etc/os-release` and `/etc/alpine-release`.
//! - `/usr/bin/python` leads to python3 where no package has it.
//! - `/etc/apk/keys` and `/etc/apk/repositories` are filled (not on `scratch`): apk would take them from its options.
//! - The last change of a password in `/etc/shadow` is the day of SOURCE_DATE_EPOCH, not today.
//! - busybox's backups (`/etc/passwd-` …) and apk's log (`/var/log/apk.log`) hold times, and are left out.
//! - Triggers are not run. What that leaves out are ca-certificates' hash links in `/etc/ssl/certs` (the bundle beside them
//!   holds the same certificates), and what belongs to a machine that boots: `depmod`, the initramfs.
//! - A script's `adduser` counts even where apk could not run it because no shell is installed, as on `scratch`.

mod installed;

use super::{
    Content, Installed as InstalledPackage, Node, NodeKind, ReadMembers, RootfsError, Settings, Tree, member, takes,
    users::{Accounts, Home},
};
use crate::{
    apk::{
        dependency::Dependency,
        index::Record,
        package::{EntryKind, Package},
    },
    glob::PatternSet,
};

/// A package of Alpine.
pub type Installed = InstalledPackage<Record>;

/// Lays `packages` over each other in their order, as apk would install them, and adds what their scripts, apk itself
/// and this program add.
///
/// # Errors
/// When two packages have a file at the same place and neither may replace the other; when a package writes through a
/// link; when content that must be known (`/etc/passwd`, busybox's list of links) cannot be read.
pub fn assemble(packages: &[Installed], settings: &Settings, read: &ReadMembers<'_>) -> Result<Tree, RootfsError> {
    let mut assembly = Assembly {
        packages,
        read,
        strip: &settings.strip,
        days: settings.epoch / 86_400,
        tree: Tree::default(),
        accounts: Accounts::default(),
        homes: Vec::new(),
    };
    for at in 0..packages.len() {
        assembly.install(at)?;
    }
    assembly.link_applets()?;
    assembly.tree.add_accounts(&mut assembly.accounts);
    assembly.tree.add_names();
    assembly.tree.add_folders();
    for home in std::mem::take(&mut assembly.homes) {
        assembly.tree.directory(&home.path, 0o2755, home.uid, home.gid);
    }
    assembly.tree.directory(&settings.workdir, 0o755, 0, 0);
    assembly.add_release(&settings.release);
    for (path, mode, bytes) in installed::files(packages, &assembly.tree, settings) {
        assembly.tree.write(&path, mode, bytes);
    }
    // The database keeps the group that the package was installed with.
    assembly.own_shadow();
    Ok(assembly.tree)
}

/// What apk's rules say of a file that two packages have.
enum Replaces {
    /// The new one's is taken.
    Yes,
    /// The old one's stays.
    No,
    /// Neither was told that it may.
    Conflict,
}

struct Assembly<'a> {
    packages: &'a [Installed],
    read: &'a ReadMembers<'a>,
    strip: &'a PatternSet,
    days: u64,
    tree: Tree,
    accounts: Accounts,
    homes: Vec<Home>,
}

impl Assembly<'_> {
    fn install(&mut self, at: usize) -> Result<(), RootfsError> {
        let Installed { package, selection, .. } = &self.packages[at];
        self.run("pre-install", package);
        for (place, entry) in package.entries.iter().enumerate() {
            let path = match self.place(at, &entry.path) {
                Ok(path) if takes(selection, &path, self.strip) => path,
                Err(error) if takes(selection, &entry.path, self.strip) => return Err(error),
                _ => continue,
            };
            let (content, inode) = match &entry.kind {
                EntryKind::Hardlink(target) => member(&package.entries, target, place),
                _ => (place, entry),
            };
            let kind = match &entry.kind {
                EntryKind::Directory => NodeKind::Directory,
                EntryKind::Symlink(target) => NodeKind::Symlink(target.clone()),
                EntryKind::File { .. } | EntryKind::Hardlink(_) => NodeKind::File(Content::Member(content)),
            };
            let uid = self.owner(&inode.user, inode.uid, Accounts::uid);
            let gid = self.owner(&inode.group, inode.gid, Accounts::gid);
            let node = Node { kind, mode: inode.mode, uid, gid, package: Some(at) };
            if self.takes(at, &path, &node)? {
                self.tree.insert(&path, node);
                self.note_accounts(at, &path, place)?;
            }
        }
        self.run("post-install", package);
        Ok(())
    }

    fn owner(&self, name: &str, number: u64, lookup: impl Fn(&Accounts, &str) -> Option<u32>) -> u32 {
        // apk goes by the names where the root knows them: the numbers are those of the machine that built the package.
        // It knows one name without any file.
        let known = if name == "root" { Some(0) } else { lookup(&self.accounts, name) };
        known.unwrap_or(u32::try_from(number).unwrap_or(65534))
    }

    /// Where a member of the package lies. What the package has as a link it cannot have as a folder, too: apk fails
    /// then.
    fn place(&self, at: usize, path: &str) -> Result<String, RootfsError> {
        let refused = |why| RootfsError::Refused { package: self.packages[at].title(), path: path.to_owned(), why };
        self.tree.place(path, |link| link.package != Some(at)).map_err(refused)
    }

    /// Whether the package's `node` is what `path` becomes.
    fn takes(&self, at: usize, path: &str, node: &Node) -> Result<bool, RootfsError> {
        let Some(old) = self.tree.get(path) else { return Ok(true) };
        let new = &self.packages[at];
        let conflict = |old: Option<usize>| RootfsError::Conflict {
            path: path.to_owned(),
            old: old.map_or_else(|| "microbuild".into(), |old| self.packages[old].title()),
            new: new.title(),
        };
        match (&old.kind, &node.kind) {
            (NodeKind::Directory, NodeKind::Directory) => Ok(match old.package {
                Some(old) if old != at => replaces_directory(&self.packages[old], new),
                _ => true,
            }),
            // A link to a folder stays.
            (NodeKind::Symlink(_), NodeKind::Directory)
                if old.package != Some(at) && self.tree.leads_to_folder(path) =>
            {
                Ok(false)
            }
            (NodeKind::Directory, _) | (_, NodeKind::Directory) => Err(conflict(old.package)),
            _ => match old.package.map_or(Replaces::Yes, |old| replaces_file(&self.packages[old], new)) {
                Replaces::Yes => Ok(true),
                Replaces::No => Ok(false),
                Replaces::Conflict => Err(conflict(old.package)),
            },
        }
    }

    /// Learns the accounts that a package brings as files; those that scripts added before stay.
    fn note_accounts(&mut self, at: usize, path: &str, place: usize) -> Result<(), RootfsError> {
        if matches!(path, "etc/passwd" | "etc/group" | "etc/shadow") {
            let bytes = self.content(at, place)?;
            self.accounts.merge(path, &String::from_utf8_lossy(&bytes));
        }
        Ok(())
    }

    fn content(&self, at: usize, place: usize) -> Result<Vec<u8>, RootfsError> {
        super::contents(self.packages, at, &[place], self.read).map(|contents| contents.concat())
    }

    fn run(&mut self, kind: &str, package: &Package) {
        if let Some(script) = package.scripts.get(kind) {
            let homes = self.accounts.apply_script(&String::from_utf8_lossy(&script.bytes), self.days);
            self.homes.extend(homes);
        }
    }

    /// `busybox --install -s`, and its like: the packages list the links' paths in `/etc/busybox-paths.d/NAME`.
    fn link_applets(&mut self) -> Result<(), RootfsError> {
        let lists: Vec<_> = (self.tree.iter())
            .filter_map(|(path, node)| match (path.strip_prefix("etc/busybox-paths.d/"), &node.kind, node.package) {
                (Some(name), NodeKind::File(Content::Member(place)), Some(at)) => Some((name.to_owned(), at, *place)),
                _ => None,
            })
            .collect();
        for (name, at, place) in lists {
            let program = format!("bin/{name}");
            if self.tree.resolve(&program).is_none() {
                continue;
            }
            let list = self.content(at, place)?;
            for path in String::from_utf8_lossy(&list).lines() {
                let path = path.trim().trim_start_matches('/');
                let plain = !path.is_empty() && !path.split('/').any(|part| matches!(part, "" | "." | ".."));
                let place = self.tree.place(path, |_| true).ok().filter(|_| plain);
                if let Some(place) = place.filter(|place| self.tree.get(place).is_none()) {
                    self.tree.link(&place, &format!("/{program}"));
                }
            }
        }
        Ok(())
    }

    /// What the post-install script of alpine-baselayout does, since shadow's group exists only after shadow itself.
    fn own_shadow(&mut self) {
        let scripts = self.packages.iter().filter_map(|installed| installed.package.scripts.get("post-install"));
        let mut lines = scripts.flat_map(|script| script.bytes.split(|byte| *byte == b'\n'));
        if lines.any(|line| line.trim_ascii() == b"chown root:shadow etc/shadow")
            && let Some(gid) = self.accounts.gid("shadow")
            && let Some(node) = self.tree.nodes.get_mut("etc/shadow")
        {
            node.gid = gid;
        }
    }

    /// What tells scanners which distribution this is, where no package does.
    fn add_release(&mut self, release: &str) {
        if self.tree.resolve("etc/os-release").is_none() {
            let text = format!(
                "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID={release}\nPRETTY_NAME=\"Alpine Linux v{release}\"\n\
                 HOME_URL=\"https://alpinelinux.org/\"\n"
            );
            self.tree.write("etc/os-release", 0o644, text);
        }
        if self.tree.resolve("etc/alpine-release").is_none() {
            self.tree.write("etc/alpine-release", 0o644, format!("{release}\n"));
        }
    }
}

/// apk's rule for a file of two packages: `replaces` with its priority, then a common origin (apk-package(5)).
fn replaces_file(old: &Installed, new: &Installed) -> Replaces {
    if old.record.name == new.record.name {
        return Replaces::Yes;
    }
    let priority = |of: &Installed, over: &Installed| {
        let names = |replaces: &String| {
            replaces.parse::<Dependency>().is_ok_and(|d| {
                d.name == over.record.name && d.accepts(Some(&over.record.version), &over.record.checksum)
            })
        };
        of.package.info.replaces.iter().any(names).then(|| i64::from(of.package.info.replaces_priority.unwrap_or(0)))
    };
    let (kept, taken) = (priority(old, new), priority(new, old));
    if kept > taken {
        Replaces::No
    } else if taken.is_some() || same_origin(old, new) {
        Replaces::Yes
    } else {
        Replaces::Conflict
    }
}

fn same_origin(a: &Installed, b: &Installed) -> bool {
    !a.record.origin.is_empty() && a.record.origin == b.record.origin
}

/// apk's rule for the mode and owner of a folder of two packages: the higher `replaces_priority`; of one origin, the
/// package that bears its name; else the name that sorts first.
fn replaces_directory(old: &Installed, new: &Installed) -> bool {
    let priority = |of: &Installed| of.package.info.replaces_priority.unwrap_or(0);
    if priority(old) != priority(new) {
        return priority(new) > priority(old);
    }
    if same_origin(old, new) {
        let is_main = |of: &Installed| of.record.origin == of.record.name;
        if is_main(old) || is_main(new) {
            return !is_main(old);
        }
    }
    new.record.name < old.record.name
}

#[cfg(test)]
mod tests;
