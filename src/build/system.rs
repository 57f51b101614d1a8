//! The layers of a root filesystem, remembered under all that they are made of.

use std::{io, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{BuildError, MaybeCached};
use crate::{
    apk::{key::KeyRing, package::visit_members},
    digest::Digest,
    fetch::Fetcher,
    layer::{
        LayerRecord, Remade,
        archive::Meta,
        compress::Compression,
        system::{package_layer, package_layers, system_layer},
    },
    lock::Lock,
    plan::Plan,
    rootfs::{self, Installed, Settings, Tree},
};

/// The bucket of remembered root filesystems. Its version is that of everything between packages and layers: whoever changes
/// what a tree holds or how a layer is written raises it.
const SYSTEMS: &str = "systems-v1";

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

/// The layers of a root filesystem as they are remembered.
#[derive(Serialize, Deserialize)]
struct RememberedSystem {
    /// Each with the place of its package in the lock, when it is one's.
    layers: Vec<(LayerRecord, Option<usize>)>,
    /// The folders down to the one in which the app will lie, with mode and owner.
    parents: Vec<(String, (u32, u32, u32))>,
}

impl System {
    pub(super) fn new(plan: &Plan, lock: &Lock, keys: &KeyRing, compression: Compression, fetcher: &Fetcher) -> Self {
        let settings = plan.rootfs(lock, keys);
        Self { lock: lock.clone(), settings, compression, fetcher: fetcher.clone() }
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
            let layer = match package.and_then(|at| self.lock.packages.get(at)) {
                Some(locked) => {
                    let (fetcher, locked) = (self.fetcher.clone(), locked.clone());
                    record.with(Arc::new(Remade::new(path, move || fetcher.restore(&locked).map_err(io::Error::other))))
                }
                None => {
                    let system = self.clone();
                    record.with(Arc::new(Remade::new(path, move || system.make().map(drop).map_err(io::Error::other))))
                }
            };
            (layer, cached)
        });
        let meta = |(mode, uid, gid)| Meta { mode, uid, gid };
        let parents = remembered.parents.into_iter().map(|(path, owner)| (path, meta(owner)));
        Ok((layers.collect(), parents.collect()))
    }

    fn make(&self) -> Result<RememberedSystem, BuildError> {
        let blobs = self.fetcher.store().blobs();
        let packages: Vec<Installed> = (self.fetcher.packages(&self.lock.packages)?.into_iter())
            .zip(&self.lock.packages)
            .map(|(package, locked)| Installed { record: locked.record.clone(), package })
            .collect();
        let read = |at: usize, place: usize| {
            let mut content = Vec::new();
            visit_members(blobs, &packages[at].package, |found, member| {
                if found == place { io::copy(member, &mut content).map(drop) } else { Ok(()) }
            })?;
            Ok(content)
        };
        let tree = rootfs::assemble(&packages, &self.settings, &read)?;
        let apart = package_layers(&packages, &tree);
        let system = system_layer(&tree, &packages, &apart, blobs, self.compression, self.settings.epoch)?;
        let mut layers: Vec<_> = apart.iter().map(|&at| (package_layer(&packages[at]), Some(at))).collect();
        layers.push((system, None));
        Ok(RememberedSystem { layers, parents: parents_of_app(&tree, &self.settings.workdir) })
    }
}

fn parents_of_app(tree: &Tree, workdir: &str) -> Vec<(String, (u32, u32, u32))> {
    let paths = rootfs::parents(workdir).chain(std::iter::once(workdir));
    let nodes = paths.filter_map(|path| Some((path, tree.get(path)?)));
    nodes.map(|(path, node)| (path.to_owned(), (node.mode, node.uid, node.gid))).collect()
}
