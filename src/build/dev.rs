//! The dev variant: the runtime with the language's tools, in which dependencies are installed and tests are run.

use super::{BuildError, system::System};
use crate::{
    digest::Digest,
    fetch::Fetcher,
    layer::{Layer, compress::Compression},
    lock::{Lock, lock},
    plan::{Plan, architecture},
    project::Project,
    recipe::Recipe,
    request::Request,
    sandbox::{Root, SandboxError, roots},
    store::Store,
    ui::Ui,
};

/// How its layers are compressed: they are unpacked here once, and pushed nowhere.
const COMPRESSION: Compression = Compression::Gzip(1);

/// A dev variant: an image's layers, for this machine's processor.
#[derive(Debug)]
pub struct DevVariant {
    /// Its packages.
    pub lock: Lock,
    /// Its layers.
    pub layers: Vec<Layer>,
    /// The folder that the app is mounted at.
    pub workdir: String,
}

impl DevVariant {
    /// Chooses and fetches the packages for `project`, or recalls them.
    ///
    /// # Errors
    /// When they cannot be had.
    pub fn new(request: &Request, recipe: &Recipe, project: &Project, fetcher: &Fetcher) -> Result<Self, BuildError> {
        let plan = Plan::dev(request, recipe, project)?;
        let arch = architecture(&plan.platforms[0])?;
        let keys = Plan::keys(request, arch)?;
        let lock = lock(&plan, arch, &keys, fetcher)?;
        let (layers, _) = System::new(&plan, &lock, &keys, COMPRESSION, fetcher).layers()?;
        let layers = layers.into_iter().map(|(layer, _)| layer).collect();
        Ok(Self { lock, layers, workdir: plan.configuration.workdir })
    }

    /// Its root filesystem, unpacked into `store` once.
    ///
    /// # Errors
    /// When a layer cannot be had, or the store cannot hold it.
    pub fn unpack(&self, store: &Store, ui: &Ui) -> Result<Root, SandboxError> {
        let app = roots::Target { path: self.workdir.clone(), is_file: false };
        roots::unpack(store, &self.layers, &[app], ui)
    }

    /// Names the content of its root filesystem.
    pub fn digest(&self) -> Digest {
        Digest::of(self.layers.iter().map(|layer| format!("{}\n", layer.diff_id)).collect::<String>())
    }
}
