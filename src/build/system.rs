//! The layers of a root filesystem, remembered under all that they are made of.

use std::{io, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{BuildError, MaybeCached};
use crate::{
    digest::Digest,
    fetch::Fetcher,
    layer::{
        Content, LayerRecord, Remade,
        archive::Meta,
        compress::Compression,
        system::{package_layer, package_layers, system_layer},
    },
    lock::{Lock, Locked, Packages},
    package::{Contents as _, Listed},
    plan::{Plan, PlanError},
    rootfs::{self, Installed, ReadMembers, RootfsError, Settings, Tree, alpine, debian},
};

/// The bucket of remembered root filesystems. Its version is that of everything between packages and layers: whoever changes
/// what a tree holds or how a layer is written raises it.
const SYSTEMS: &str = "systems-v4";

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

/// The layers of a root filesystem as they are remembered.
#[derive(Serialize, Deserialize)]
struct RememberedSystem {
    /// Each with the place of its package in the lock, when it is one's.
    layers: Vec<(LayerRecord, Option<usize>)>,
    /// The folders down to the one in which the app will lie, with mode and owner.
    parents: Vec<(String, (u32, u32, u32))>,
}

impl System {
    pub(super) fn new(
        plan: &Plan,
        lock: &Lock,
        compression: Compression,
        fetcher: &Fetcher,
    ) -> Result<Self, PlanError> {
        Ok(Self { lock: lock.clone(), settings: plan.rootfs(lock)?, compression, fetcher: fetcher.clone() })
    }

    /// The layers, and the folders above the app with mode and owner.
    pub(super) fn layers(&self) -> Result<(Vec<MaybeCached>, Folders), BuildError> {
        let store = self.fetcher.store();
        let key = Digest::of(format!("{}\n{:?}\n{}", self.lock.digest(), self.settings, self.compression.id()));
        let recalled: Option<RememberedSystem> = store.recall(SYSTEMS, &key);
        let cached = recalled.is_some();
        let remembered = match recalled {
            Some(remembered) => remembered,
            None => {
                let made = self.make()?;
                store.remember(SYSTEMS, &key, &made)?;
                made
            }
        };
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
        Ok((layers.collect(), parents.collect()))
    }

    /// The data of the package `at` that place, fetched again when the store no longer has it.
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
        let packages: Vec<Installed<R>> = (self.fetcher.packages(locked)?.into_iter())
            .zip(locked)
            .map(|(package, locked)| Installed { record: locked.record.clone(), package, whole: locked.whole })
            .collect();
        let read = |at: usize, places: &[usize]| {
            let mut contents = vec![Vec::new(); places.len()];
            packages[at].package.visit(blobs, |found, member| {
                let wanted = places.iter().position(|place| *place == found);
                wanted.map_or(Ok(()), |at| io::copy(member, &mut contents[at]).map(drop))
            })?;
            Ok(contents)
        };
        let tree = assemble(&packages, &self.settings, &read)?;
        if let Some(extra) = &self.settings.libraries {
            for missing in rootfs::check_libraries(&tree, &packages, &self.settings.arch, &read, extra)? {
                self.fetcher.ui().warn(&format!("{missing}; whatever would load it does without"));
            }
        }
        let apart = package_layers(&packages, &tree);
        let system = system_layer(&tree, &packages, &apart, blobs, self.compression, self.settings.epoch)?;
        let mut layers: Vec<_> =
            apart.iter().filter_map(|&at| Some((package_layer(&packages[at])?, Some(at)))).collect();
        layers.push((system, None));
        Ok(RememberedSystem { layers, parents: parents_of_app(&tree, &self.settings.workdir) })
    }
}

fn parents_of_app(tree: &Tree, workdir: &str) -> Vec<(String, (u32, u32, u32))> {
    let paths = rootfs::parents(workdir).chain(std::iter::once(workdir));
    let nodes = paths.filter_map(|path| Some((path, tree.get(path)?)));
    nodes.map(|(path, node)| (path.to_owned(), (node.mode, node.uid, node.gid))).collect()
}
