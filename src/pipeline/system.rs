//! The layers of a root filesystem, remembered under the digest of their inputs.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{BuildError, MaybeCached};
use crate::{
    elf::closure::ClosureError,
    fetch::Fetcher,
    layer::{
        Content, LayerRecord, Remade,
        archive::Meta,
        compress::Compression,
        system::{package_layer, package_layers, system_layer},
    },
    lock::{Lock, Needs, Packages},
    package::{Contents as _, EntryKind, Listed, locked::Locked},
    plan::{Plan, PlanError},
    rootfs::{
        self, Content as TreeContent, Installed, NodeKind, Programs, ReadMembers, RootfsError, Settings, Tree, alpine,
        debian, users::Accounts,
    },
    store::{BlobDir, Bucket, Key, Memo},
};

/// Folders by their paths, with mode and owner.
pub(super) type Folders = Vec<(String, Meta)>;

/// The root filesystem of one image: everything that its layers depend on.
#[derive(Clone)]
pub(super) struct System {
    lock: Lock,
    settings: Settings,
    compression: Compression,
    fetcher: Fetcher,
}

/// How a distribution's package manager lays packages over each other.
type Assemble<R> = fn(&[Installed<R>], &Settings, &ReadMembers<'_>) -> Result<Tree, RootfsError>;

/// The layers of a root filesystem.
pub(super) struct SystemLayers {
    /// Each layer, and whether it was remembered.
    pub(super) layers: Vec<MaybeCached>,
    /// The app's folder, below the root, with links resolved.
    pub(super) workdir: String,
    /// The folders above the app with mode and owner.
    pub(super) parents: Folders,
    /// Links to folders, with their targets.
    pub(super) links: BTreeMap<String, String>,
    /// The folders that are not root's, or not 0755.
    pub(super) special: BTreeMap<String, Meta>,
    /// The users and groups.
    pub(super) accounts: Accounts,
    /// The size of the packages' files that are left out, in bytes.
    pub(super) left_out: u64,
}

/// The layers of a root filesystem as they are remembered.
#[derive(Serialize, Deserialize)]
struct RememberedSystem {
    /// Each layer, with its package's index in the lock when it is a package's own.
    layers: Vec<(LayerRecord, Option<usize>)>,
    /// The app's folder.
    workdir: String,
    /// Links to folders, with their targets.
    links: BTreeMap<String, String>,
    /// The folders above the app and its own, with mode and owner.
    parents: Vec<(String, (u32, u32, u32))>,
    /// The folders that are not root's, or not 0755, with mode and owner.
    special: Vec<(String, (u32, u32, u32))>,
    /// `/etc/passwd` and `/etc/group`.
    accounts: [String; 2],
    /// The size of the packages' files that are left out, in bytes.
    left_out: u64,
}

impl System {
    pub(super) fn new(
        plan: &Plan,
        lock: &Lock,
        compression: Compression,
        fetcher: &Fetcher,
    ) -> Result<Self, PlanError> {
        Ok(Self {
            lock: lock.clone(),
            settings: plan.rootfs(&lock.arch, &lock.release)?,
            compression,
            fetcher: fetcher.clone(),
        })
    }

    /// The digest of everything that the layers depend on.
    pub(super) fn key(&self) -> Key {
        let key = Key::new().nested("lock", &self.lock.key()).nested("settings", &self.settings.key());
        key.text("compression", self.compression.id())
    }

    /// Returns the layers, remembered or new.
    pub(super) fn layers(&self) -> Result<SystemLayers, BuildError> {
        let store = self.fetcher.store();
        let key = self.key();
        let Memo { value: remembered, cached } = store.memo(Bucket::Systems, &key, |_| true, || self.make())?;
        let layers = remembered.layers.into_iter().map(|(record, package)| {
            let path = store.blobs().path(&record.digest);
            let restored = package.and_then(|at| self.restored(path.clone(), at));
            let system = self.clone();
            let made = || Arc::new(Remade::new(path, move || system.make().map(drop).map_err(io::Error::other)));
            let content: Arc<dyn Content> = restored.unwrap_or_else(|| made());
            (record.with(content), cached)
        });
        let meta = |(mode, uid, gid)| Meta { mode, uid, gid };
        let parents = remembered.parents.into_iter().map(|(path, owner)| (path, meta(owner)));
        let special = remembered.special.into_iter().map(|(path, owner)| (path, meta(owner)));
        let (layers, parents, special) = (layers.collect(), parents.collect(), special.collect());
        let RememberedSystem { workdir, links, left_out, accounts: [passwd, group], .. } = remembered;
        let accounts = Accounts::parse(&passwd, &group, "");
        Ok(SystemLayers { layers, workdir, parents, links, special, accounts, left_out })
    }

    /// Returns the data of the package with the index `at`. It is fetched again when the store no longer has it.
    fn restored(&self, path: PathBuf, at: usize) -> Option<Arc<dyn Content>> {
        fn content<R: Listed + 'static>(
            path: PathBuf,
            fetcher: &Fetcher,
            packages: &[Locked<R>],
            at: usize,
        ) -> Option<Arc<dyn Content>> {
            let (fetcher, locked) = (fetcher.clone(), packages.get(at)?.clone());
            Some(Arc::new(Remade::new(path, move || fetcher.restore(&locked).map_err(io::Error::other))))
        }
        match &self.lock.packages {
            Packages::Alpine(packages) => content(path, &self.fetcher, packages, at),
            Packages::Debian(packages) => content(path, &self.fetcher, packages, at),
        }
    }

    fn make(&self) -> Result<RememberedSystem, BuildError> {
        match &self.lock.packages {
            Packages::Alpine(packages) => self.make_of(packages, alpine::assemble),
            Packages::Debian(packages) => self.make_of(packages, debian::assemble),
        }
    }

    fn make_of<R: Listed>(&self, locked: &[Locked<R>], assemble: Assemble<R>) -> Result<RememberedSystem, BuildError> {
        let blobs = self.fetcher.store().blobs();
        let (packages, tree) = self.tree(locked, assemble)?;
        if let Some(extra) = &self.settings.libraries {
            let read = reader(&packages, blobs);
            for missing in rootfs::check_libraries(&tree, &packages, &self.settings.arch, &read, extra)? {
                self.fetcher.ui().warn(&format!("{missing}; programs that load it must work without it"));
            }
        }
        let apart = package_layers(&packages, &tree);
        let system = system_layer(&tree, &packages, &apart, blobs, self.compression, self.settings.epoch)?;
        let mut layers: Vec<_> =
            apart.iter().filter_map(|&at| Some((package_layer(&packages[at])?, Some(at)))).collect();
        layers.push((system, None));
        let left_out = left_out(&packages, &tree);
        let workdir = tree.resolve(&self.settings.workdir).unwrap_or_else(|| self.settings.workdir.clone());
        let parents = parents_of_app(&tree, &workdir);
        let special = special_folders(&tree);
        let accounts = ["etc/passwd", "etc/group"].map(|path| match tree.get(path).map(|node| &node.kind) {
            Some(NodeKind::File(TreeContent::Bytes(text))) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        });
        let links = tree.folder_links();
        Ok(RememberedSystem { layers, workdir, links, parents, special, accounts, left_out })
    }

    /// Fetches and verifies the packages, and makes their tree.
    fn tree<R: Listed>(
        &self,
        locked: &[Locked<R>],
        assemble: Assemble<R>,
    ) -> Result<(Vec<Installed<R>>, Tree), BuildError> {
        let mut packages: Vec<Installed<R>> = (self.fetcher.packages(locked)?.into_iter())
            .zip(locked)
            .map(|(package, locked)| Installed {
                record: locked.record.clone(),
                package,
                selection: locked.selection.clone(),
            })
            .collect();
        let mut before = BTreeMap::new();
        loop {
            // What the recipe leaves out, although a requested package is linked with it, is taken in after all.
            let (mut tree, left_out) = {
                let read = reader(&packages, self.fetcher.store().blobs());
                let tree = assemble(&packages, &self.settings, &read)?;
                let left_out = match &self.settings.libraries {
                    Some(extra) => rootfs::left_out_libraries(&tree, &packages, &self.settings.arch, &read, extra)?,
                    None => BTreeMap::new(),
                };
                (tree, left_out)
            };
            if left_out.is_empty() || left_out == before {
                tree.add_files(&self.settings.placed);
                return Ok((packages, tree));
            }
            for (at, paths) in &left_out {
                packages[*at].selection.add(paths);
            }
            before = left_out;
        }
    }

    /// The files of the packages that `programs` are linked with. A file that lacks a library is a warning when
    /// `may_lack` accepts its path below the root, and an error otherwise.
    pub(super) fn needs(&self, programs: &Programs, may_lack: &dyn Fn(&str) -> bool) -> Result<Needs, BuildError> {
        match &self.lock.packages {
            Packages::Alpine(packages) => self.needs_of(packages, alpine::assemble, programs, may_lack),
            Packages::Debian(packages) => self.needs_of(packages, debian::assemble, programs, may_lack),
        }
    }

    fn needs_of<R: Listed>(
        &self,
        locked: &[Locked<R>],
        assemble: Assemble<R>,
        programs: &Programs,
        may_lack: &dyn Fn(&str) -> bool,
    ) -> Result<Needs, BuildError> {
        let (packages, tree) = self.tree(locked, assemble)?;
        let read = reader(&packages, self.fetcher.store().blobs());
        let found = rootfs::libraries(&tree, &packages, &self.settings.arch, &read, programs)?;
        // What loads the library decides: an extension module fails with each library that it leads to.
        let (optional, missing): (Vec<_>, Vec<_>) =
            found.optional.into_iter().partition(|missing| may_lack(missing.program.as_ref().unwrap_or(&missing.file)));
        if !missing.is_empty() {
            return Err(RootfsError::from(ClosureError { missing }).into());
        }
        for missing in optional {
            self.fetcher.ui().warn(&format!("{missing}; programs that load it must work without it"));
        }
        Ok(found.paths.into_iter().map(|(at, paths)| (packages[at].record.name().to_owned(), paths)).collect())
    }
}

/// Reads the contents of members of `packages` from the store.
fn reader<R: Listed>(
    packages: &[Installed<R>],
    blobs: &BlobDir,
) -> impl Fn(usize, &[usize]) -> io::Result<Vec<Vec<u8>>> {
    |at, places| {
        let mut contents = vec![Vec::new(); places.len()];
        packages[at].package.visit(blobs, |found, member| {
            let wanted = places.iter().position(|place| *place == found);
            wanted.map_or(Ok(()), |at| io::copy(member, &mut contents[at]).map(drop))
        })?;
        Ok(contents)
    }
}

/// How many bytes the files of the packages have that are not in the tree.
fn left_out<R: Listed>(packages: &[Installed<R>], tree: &Tree) -> u64 {
    let size = |at: usize, place: usize| match packages[at].package.entries()[place].kind {
        EntryKind::File { size, .. } => size,
        _ => 0,
    };
    let taken: BTreeSet<(usize, usize)> = (tree.iter())
        .filter_map(|(_, node)| match (&node.kind, node.package) {
            (NodeKind::File(TreeContent::Member(place)), Some(at)) => Some((at, *place)),
            _ => None,
        })
        .collect();
    let all =
        (0..packages.len()).flat_map(|at| (0..packages[at].package.entries().len()).map(move |place| (at, place)));
    all.filter(|member| !taken.contains(member)).map(|(at, place)| size(at, place)).sum()
}

fn special_folders(tree: &Tree) -> Vec<(String, (u32, u32, u32))> {
    let folders = tree.iter().filter(|(_, node)| node.kind == NodeKind::Directory);
    let owned = folders.map(|(path, node)| (path.to_owned(), (node.mode, node.uid, node.gid)));
    owned.filter(|(_, owner)| *owner != (0o755, 0, 0)).collect()
}

fn parents_of_app(tree: &Tree, workdir: &str) -> Vec<(String, (u32, u32, u32))> {
    let paths = rootfs::parents(workdir).chain(std::iter::once(workdir));
    let nodes = paths.filter_map(|path| Some((path, tree.get(path)?)));
    nodes.map(|(path, node)| (path.to_owned(), (node.mode, node.uid, node.gid))).collect()
}
