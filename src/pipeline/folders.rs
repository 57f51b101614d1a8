//! The folders of an image that belong to the app's user: those that it may write to, and volumes. They lie in a small layer
//! of their own, so that the layers of packages stay those that other apps have.

use std::{collections::BTreeMap, io, sync::Arc};

use super::{BuildError, MaybeCached, system::SystemLayers};
use crate::{
    fetch::Fetcher,
    layer::{LayerRecord, Remade, app::Owned, archive::Meta, compress::Compression, folders_layer},
    listing::FileKind,
    plan::Plan,
    project::Project,
    rootfs::parents,
    store::Store,
};

/// The folders, and what else belongs to the app's user below them.
pub(super) fn owned(plan: &Plan, system: &SystemLayers) -> Result<Owned, BuildError> {
    let configuration = &plan.configuration;
    let asked: Vec<&String> = configuration.writable.iter().chain(&configuration.volumes).collect();
    if asked.is_empty() {
        return Ok(Owned::default());
    }
    let owner = system.accounts.owner(&plan.user);
    let (uid, gid) = owner.ok_or_else(|| BuildError::NoUser(configuration.user.clone()))?;
    let place = |path: &String| resolved(path.trim_matches('/'), &system.links);
    let mut paths: Vec<String> = asked.into_iter().map(place).collect();
    paths.sort();
    paths.dedup();
    Ok(Owned { paths, uid, gid })
}

/// `path` without links to folders above it, or in its place.
fn resolved(path: &str, links: &BTreeMap<String, String>) -> String {
    let found = parents(path).chain([path]).find_map(|above| Some((above.len(), links.get(above)?)));
    match found {
        Some((length, target)) => format!("{target}{}", &path[length..]).trim_start_matches('/').to_owned(),
        None => path.to_owned(),
    }
}

/// The layer of the folders; `None` without any. A file of the `project` at such a path is no folder: it only belongs to the user.
pub(super) fn layer(
    plan: &Plan,
    system: &SystemLayers,
    owned: &Owned,
    project: &Project,
    compression: Compression,
    fetcher: &Fetcher,
) -> Result<Option<MaybeCached>, BuildError> {
    let workdir = &system.workdir;
    let is_file = |path: &str| {
        let own = path.strip_prefix(&**workdir).map(|path| path.trim_start_matches('/'));
        let is = |own| project.files.iter().any(|file| file.path == own && file.kind != FileKind::Folder);
        own.is_some_and(is)
    };
    let mut folders = BTreeMap::new();
    for path in owned.paths.iter().filter(|path| !is_file(path)) {
        for above in parents(path) {
            let meta = system.special.get(above).copied().unwrap_or(Meta::root(0o755));
            folders.insert(above.to_owned(), owned.meta(above, meta));
        }
        folders.insert(path.clone(), Meta { mode: 0o755, uid: owned.uid, gid: owned.gid });
    }
    if folders.is_empty() {
        return Ok(None);
    }
    let (store, epoch) = (fetcher.store().clone(), plan.times.packages);
    let make = move |store: &Store| folders_layer("writable", store.blobs(), compression, epoch, &folders);
    let record: LayerRecord = make(&store)?;
    let path = store.blobs().path(&record.digest);
    let again = move || make(&store).map(drop).map_err(io::Error::other);
    Ok(Some((record.with(Arc::new(Remade::new(path, again))), false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_lie_where_links_lead() {
        let links = BTreeMap::from([("var/run".to_owned(), "run".to_owned()), ("srv".to_owned(), String::new())]);
        for (path, expected) in [
            ("var/run/app", "run/app"),
            ("var/run", "run"),
            ("var/lib", "var/lib"),
            ("srv/a", "a"),
            ("srv2/a", "srv2/a"),
        ] {
            assert_eq!(resolved(path, &links), expected);
        }
    }
}
