//! Root filesystems unpacked once for all who use them.

use std::path::{Path, PathBuf};

use super::{SandboxError, paths, runtime::is_privileged, spec::MOUNT_POINTS, unpack::Unpacker};
use crate::{
    layer::Layer,
    store::{Bucket, Key, Store, folders::Folder},
    ui::Ui,
};

/// An unpacked root filesystem.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    /// Keeps it from being removed.
    _folder: Option<Folder>,
}

impl Root {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of this machine that the absolute path `path` in the root leads to; `None` when there is no folder.
    pub fn folder(&self, path: &str) -> Option<PathBuf> {
        paths::resolve(&self.path, Path::new(path)).filter(|found| found.is_dir())
    }

    /// Whether nothing is at `target`, an absolute path in it: then it cannot be mounted at without writing into the
    /// root. What lies in a folder that every sandbox has of its own, such as `/run`, can.
    pub fn lacks(&self, target: &str) -> bool {
        !matches!(paths::place(&self.path, &paths::own_mounts(&self.path), target), Ok((_, true)))
    }
}

/// A place in a root at which something will be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its absolute path.
    pub path: String,
    /// Whether a file will be mounted there, and not a folder.
    pub is_file: bool,
}

/// The root filesystem that `layers` make, unpacked into `store` unless it is there already, for all who only read it.
/// Files and folders are made at `targets` and wherever else something is mounted in every sandbox, unless the layers
/// have something there. It is not removed for as long as the value lives; so there is no need for a lock of the whole
/// store.
///
/// # Errors
/// When a layer cannot be read, is not the one that it says, or would be written outside; and when the store cannot
/// hold it.
pub fn unpack(store: &Store, layers: &[Layer], targets: &[Target], ui: &Ui) -> Result<Root, SandboxError> {
    let owners = is_privileged();
    let key = Key::new()
        .text("owners", owners)
        .list("layers", layers.iter().map(|layer| layer.diff_id))
        .pairs("targets", targets.iter().map(|target| (&target.path, target.is_file)));
    let folder = store.folder(Bucket::Roots, &key, |dir| fill(dir, owners, layers, targets, ui))?;
    Ok(Root { path: folder.path().to_owned(), _folder: Some(folder) })
}

/// The same in the folder `dir`, which is there, is empty, and is the caller's to write into and to remove
/// ([`remove_tree`](crate::store::folders::remove_tree)).
///
/// # Errors
/// As [`unpack`]; what has been unpacked by then stays in the folder.
pub fn unpack_private(layers: &[Layer], targets: &[Target], dir: &Path, ui: &Ui) -> Result<Root, SandboxError> {
    fill(dir, is_privileged(), layers, targets, ui)?;
    Ok(Root { path: dir.to_owned(), _folder: None })
}

/// Unpacks `layers` into the folder `dir`, which is there, is empty, and is the caller's: results of steps, for a step that sees
/// them. Everything in it belongs to the caller.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_into(layers: &[Layer], dir: &Path, ui: &Ui) -> Result<(), SandboxError> {
    let mut unpacker = Unpacker::new(dir, false);
    for layer in layers {
        let task = ui.task(&format!("unpack {}", layer.title), Some(layer.size));
        unpacker.layer(layer, |read| task.inc(read))?;
    }
    unpacker.finish()?;
    Ok(())
}

fn fill(dir: &Path, owners: bool, layers: &[Layer], targets: &[Target], ui: &Ui) -> Result<(), SandboxError> {
    let mut unpacker = Unpacker::new(dir, owners);
    for layer in layers {
        let task = ui.task(&format!("unpack {}", layer.title), Some(layer.size));
        unpacker.layer(layer, |read| task.inc(read))?;
    }
    for (path, is_file) in MOUNT_POINTS {
        unpacker.mount_point(path, is_file)?;
    }
    for Target { path, is_file } in targets {
        unpacker.mount_point(path, *is_file)?;
    }
    unpacker.finish()?;
    Ok(())
}
