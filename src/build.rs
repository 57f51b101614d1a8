//! The straight line: from a request to an artifact.
//!
//! ```text
//! Request → Recipe + Project → Plan → Lock → Packages → Tree → Layers → Image
//! ```
//!
//! What has been made once is remembered: the layers of a root filesystem under all that they are made of, the app's layer
//! under the digest of its tar. A layer that is remembered is made again only when a sink asks for bytes that the store no
//! longer has.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    apk::{key::KeyRing, package::visit_members},
    config::Command,
    digest::Digest,
    error::{Explain, Kind},
    fetch::{FetchError, Fetcher},
    image::{Artifact, Image, ImageError, Platform},
    layer::{
        Layer, LayerError, LayerRecord, Remade,
        app::AppLayer,
        archive::Meta,
        compress::Compression,
        system::{package_layer, package_layers, system_layer},
    },
    lock::{Lock, LockError, lock},
    plan::{Plan, PlanError, architecture},
    project::{self, Project, ProjectError},
    recipe::{Recipe, RecipeError},
    request::Request,
    rootfs::{self, Installed, RootfsError, Settings, Tree},
    store::StoreError,
    ui::{self, Ui},
};

/// The bucket of remembered root filesystems. Its version is that of everything between packages and layers: whoever changes
/// what a tree holds or how a layer is written raises it.
const SYSTEMS: &str = "systems-v1";
/// The bucket of remembered layers of app folders.
const APPS: &str = "apps-v1";

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The recipe cannot be had.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The app's folder does not make an image.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// The request cannot be understood.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// No packages.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A package cannot be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The packages make no root filesystem.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// A layer cannot be written.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The documents cannot be written.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The image is too large.
    #[error("expected at most {} ({limit} bytes, --max-size), found an image of {} ({size} bytes)", ui::size(*limit), ui::size(*size))]
    TooLarge {
        /// The most that it may have, in bytes.
        limit: u64,
        /// What it has.
        size: u64,
        /// Its largest layer.
        largest: String,
    },
}

impl BuildError {
    fn inner(&self) -> Option<&dyn Explain> {
        Some(match self {
            Self::Recipe(e) => e,
            Self::Project(e) => e,
            Self::Plan(e) => e,
            Self::Lock(e) => e,
            Self::Fetch(e) => e,
            Self::Rootfs(e) => e,
            Self::Layer(e) => e,
            Self::Image(e) => e,
            Self::Store(e) => e,
            Self::TooLarge { .. } => return None,
        })
    }
}

impl Explain for BuildError {
    fn kind(&self) -> Kind {
        self.inner().map_or(Kind::TooLarge, Explain::kind)
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::TooLarge { largest, .. } => Some(format!("the largest layer is {largest}")),
            _ => self.inner().and_then(Explain::hint),
        }
    }
}

/// What a build made.
#[derive(Debug)]
pub struct Built {
    /// The images.
    pub artifact: Artifact,
    /// What each image consists of, in the artifact's order.
    pub platforms: Vec<PlatformReport>,
    /// The project, for whoever names the image after it.
    pub project: Arc<Project>,
    /// How long each step took, in their order.
    pub timings: Vec<(&'static str, Duration)>,
}

/// What an image consists of.
#[derive(Debug)]
pub struct PlatformReport {
    /// What it runs on.
    pub platform: Platform,
    /// The packages.
    pub lock: Lock,
    /// For each layer of the image, whether it was remembered.
    pub cached: Vec<bool>,
}

/// Makes what `request` asks for with `recipe`.
///
/// # Errors
/// The first failure of any step; see [`BuildError`].
pub fn build(request: &Request, recipe: &Recipe, fetcher: &Fetcher, ui: &Ui) -> Result<Built, BuildError> {
    let mut clock = Clock::start();
    let (project, plan) = plan(request, recipe, ui)?;
    let project = Arc::new(project);
    clock.lap("plan");
    let mut images = Vec::new();
    let mut platforms = Vec::new();
    for platform in &plan.platforms {
        let (image, report) = build_image(platform, request, &plan, &project, fetcher, &mut clock)?;
        check_size(&image, request)?;
        images.push(image);
        platforms.push(report);
    }
    let artifact = Artifact::new(images, &plan.configuration.annotations)?;
    Ok(Built { artifact, platforms, project, timings: clock.laps })
}

/// The packages of each image that `request` asks for. Fetches indexes only.
///
/// # Errors
/// As [`build`]'s first steps.
pub fn locks(request: &Request, recipe: &Recipe, fetcher: &Fetcher, ui: &Ui) -> Result<Vec<Lock>, BuildError> {
    let (_, plan) = plan(request, recipe, ui)?;
    let lock = |platform: &Platform| {
        let arch = architecture(platform)?;
        Ok(lock(&plan, arch, &Plan::keys(request, arch)?, fetcher)?)
    };
    plan.platforms.iter().map(lock).collect()
}

fn plan(request: &Request, recipe: &Recipe, ui: &Ui) -> Result<(Project, Plan), BuildError> {
    let words = |command: &Option<Command>| command.as_ref().map(|command| command.0.clone());
    let options = project::Options {
        deps: request.deps,
        include: request.include.clone(),
        exclude: request.exclude.clone(),
        entrypoint: words(&request.entrypoint),
        cmd: words(&request.cmd),
    };
    let project = Project::read(&request.app, recipe, &options)?;
    project.warnings.iter().for_each(|warning| ui.warn(warning));
    let plan = Plan::new(request, recipe, &project)?;
    Ok((project, plan))
}

fn build_image(
    platform: &Platform,
    request: &Request,
    plan: &Plan,
    project: &Arc<Project>,
    fetcher: &Fetcher,
    clock: &mut Clock,
) -> Result<(Image, PlatformReport), BuildError> {
    let arch = architecture(platform)?;
    let keys = Plan::keys(request, arch)?;
    let lock = lock(plan, arch, &keys, fetcher)?;
    if let Some(version) = plan.version_from.as_ref().and_then(|name| lock.version_of(name)) {
        project.check_engines(&version)?;
    }
    clock.lap("lock");
    let system = System::new(plan, &lock, &keys, request.compression, fetcher);
    let (mut layers, parents) = system.layers()?;
    clock.lap("system");
    let layer = |title, files| AppLayer {
        title,
        project: Arc::clone(project),
        files,
        workdir: plan.configuration.workdir.trim_matches('/').to_owned(),
        parents: parents.clone(),
        epoch: request.epoch,
    };
    if !project.dependencies.is_empty() {
        layers.push(app_layer(&layer("dependencies", |project| &project.dependencies), request.compression, fetcher)?);
    }
    layers.push(app_layer(&layer("app", |project| &project.files), request.compression, fetcher)?);
    clock.lap("app");
    let cached = layers.iter().map(|(_, cached)| *cached).collect();
    let layers = layers.into_iter().map(|(layer, _)| layer).collect();
    let image = Image::build(platform.clone(), &plan.configuration, layers)?;
    Ok((image, PlatformReport { platform: platform.clone(), lock, cached }))
}

fn check_size(image: &Image, request: &Request) -> Result<(), BuildError> {
    let size = image.size();
    match request.max_size {
        Some(limit) if size > limit.0 => {
            let largest = image.layers.iter().max_by_key(|layer| layer.size);
            let largest = largest.map(|layer| format!("{} ({})", layer.title, ui::size(layer.size)));
            Err(BuildError::TooLarge { limit: limit.0, size, largest: largest.unwrap_or_default() })
        }
        _ => Ok(()),
    }
}

/// A layer, and whether it was remembered.
type MaybeCached = (Layer, bool);
/// Folders by their paths, with mode and owner.
type Folders = Vec<(String, Meta)>;

/// The root filesystem of one image: everything that its layers depend on.
#[derive(Clone)]
struct System {
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
    fn new(plan: &Plan, lock: &Lock, keys: &KeyRing, compression: Compression, fetcher: &Fetcher) -> Self {
        let settings = plan.rootfs(lock, keys);
        Self { lock: lock.clone(), settings, compression, fetcher: fetcher.clone() }
    }

    /// The layers, and the folders above the app with mode and owner.
    fn layers(&self) -> Result<(Vec<MaybeCached>, Folders), BuildError> {
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

/// The layer of an app's files: remembered under the digest of its tar, which costs reading them but not compressing them.
fn app_layer(layer: &AppLayer, compression: Compression, fetcher: &Fetcher) -> Result<MaybeCached, BuildError> {
    let store = fetcher.store();
    let diff_id = layer.diff_id()?;
    let key = Digest::of(format!("{diff_id} {} {}", layer.title, compression.id()));
    let recalled: Option<LayerRecord> = store.recall(APPS, &key);
    let cached = recalled.is_some();
    let record = match recalled {
        Some(record) => record,
        None => {
            let record = layer.write(store.blobs(), compression)?;
            store.remember(
                APPS,
                &Digest::of(format!("{} {} {}", record.diff_id, layer.title, compression.id())),
                &record,
            )?;
            record
        }
    };
    let path = store.blobs().path(&record.digest);
    let (layer, blobs) = (layer.clone(), store.blobs().clone());
    let make = move || layer.write(&blobs, compression).map(drop).map_err(io::Error::other);
    Ok((record.with(Arc::new(Remade::new(path, make))), cached))
}

/// Measures the steps of a build.
struct Clock {
    last: Instant,
    laps: Vec<(&'static str, Duration)>,
}

impl Clock {
    fn start() -> Self {
        Self { last: Instant::now(), laps: Vec::new() }
    }

    /// Ends the step `name`; a step that comes again (for another platform) is added to itself.
    fn lap(&mut self, name: &'static str) {
        let now = Instant::now();
        let took = now - std::mem::replace(&mut self.last, now);
        match self.laps.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += took,
            None => self.laps.push((name, took)),
        }
    }
}
