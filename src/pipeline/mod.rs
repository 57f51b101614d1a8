//! The pipeline: from a request to an artifact.
//!
//! ```text
//! Request → Recipe + Project → Plan → Lock → Packages → Tree → Layers → Image
//! ```
//!
//! Results of steps are layers that are made beside that line: in a container of the [`DevVariant`], by the language's
//! own tools.
//!
//! Results are remembered: the layers of a root filesystem under the digest of their inputs, the app's layer under the
//! digest of its tar. A remembered layer is made again only when a sink asks for bytes that the store no longer has.

mod app;
mod base;
mod caches;
mod dev;
mod folders;
mod linked;
mod programs;
mod resolve;
mod runtime;
mod start;
mod steps;
mod system;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use app::{App, MaybeCached, check_secrets};
pub use base::resolve_base;
pub use caches::{Caches, Owner};
pub use dev::{DevJob, DevVariant, HOSTNAME};
pub use linked::LinkError;
use resolve::Parts;
pub use resolve::{Resolution, Resolved, resolve};
pub use runtime::{BaseImage, base_image};
use start::Finished;
pub use start::StartError;
pub use steps::StepError;
use steps::Steps;
use system::System;

use crate::{
    error::{Explain, Kind},
    fetch::{FetchError, Fetcher},
    image::{Artifact, Image, ImageError, Platform},
    layer::LayerError,
    lock::{Lock, LockError},
    plan::{ImageTimes, Plan, PlanError},
    project::{self, Project, ProjectError},
    recipe::{Recipe, RecipeError},
    request::Request,
    rootfs::RootfsError,
    secret::{Secrets, check_steps},
    store::StoreError,
    ui::{self, Ui},
    values::{Base, Command},
};

/// The error of a build.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The recipe cannot be found or read.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The app's folder cannot become an image.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// The request cannot be understood.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// No packages were chosen.
    #[error(transparent)]
    Lock(Box<LockError>),
    /// A package cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The packages do not make a root filesystem.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// A step failed.
    #[error(transparent)]
    Step(Box<StepError>),
    /// A program's libraries cannot be found.
    #[error(transparent)]
    Link(Box<LinkError>),
    /// The image cannot start.
    #[error(transparent)]
    Start(Box<StartError>),
    /// The recipe has no base image, because each app brings its own runtime.
    #[error("recipe {0} has no base image, because each app brings its own runtime")]
    NoRuntime(String),
    /// The image has no such user, so that no folder can belong to it.
    #[error("the image has no user {0}, whom the folders of --writable and --volume would belong to")]
    NoUser(String),
    /// A layer cannot be written.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The documents cannot be written.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The image is too large.
    #[error("expected at most {} ({limit} bytes, --max-size), found an image of {} ({size} bytes)", ui::size(*limit), ui::size(*size))]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
        /// Its size, in bytes.
        size: u64,
        /// Its largest layer.
        largest: String,
    },
}

impl From<LockError> for BuildError {
    fn from(error: LockError) -> Self {
        Self::Lock(Box::new(error))
    }
}

impl From<StartError> for BuildError {
    fn from(error: StartError) -> Self {
        Self::Start(Box::new(error))
    }
}

impl From<LinkError> for BuildError {
    fn from(error: LinkError) -> Self {
        Self::Link(Box::new(error))
    }
}

impl BuildError {
    /// The exit code of a build that a signal ended, as a shell's `$?`: 130 for Ctrl-C. `None` without a signal.
    pub fn status(&self) -> Option<u8> {
        match self {
            Self::Step(error) => match **error {
                StepError::Interrupted { signal, .. } => u8::try_from(128 + signal).ok(),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Explain for BuildError {
    fn kind(&self) -> Kind {
        match self {
            Self::Recipe(e) => e.kind(),
            Self::Project(e) => e.kind(),
            Self::Plan(e) => e.kind(),
            Self::Lock(e) => e.kind(),
            Self::Fetch(e) => e.kind(),
            Self::Rootfs(e) => e.kind(),
            Self::Step(e) => e.kind(),
            Self::Link(e) => e.kind(),
            Self::Start(e) => e.kind(),
            Self::Layer(e) => e.kind(),
            Self::Image(e) => e.kind(),
            Self::Store(e) => e.kind(),
            Self::NoRuntime(_) | Self::NoUser(_) => Kind::Usage,
            Self::TooLarge { .. } => Kind::TooLarge,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Recipe(e) => e.hint(),
            Self::Project(e) => e.hint(),
            Self::Plan(e) => e.hint(),
            Self::Lock(e) => e.hint(),
            Self::Fetch(e) => e.hint(),
            Self::Rootfs(e) => e.hint(),
            Self::Step(e) => e.hint(),
            Self::Link(e) => e.hint(),
            Self::Start(e) => e.hint(),
            Self::Layer(e) => e.hint(),
            Self::Image(e) => e.hint(),
            Self::Store(e) => e.hint(),
            Self::NoRuntime(recipe) => Some(format!(
                "use `microbuild base {recipe} --dev` for the language's tools, or `microbuild base base` for a base without a language"
            )),
            Self::NoUser(_) => Some("give the user by number, such as --user 65532:65532".into()),
            Self::TooLarge { largest, .. } => Some(format!("the largest layer is {largest}")),
        }
    }
}

/// The result of a build.
#[derive(Debug)]
pub struct Built {
    /// The images.
    pub artifact: Artifact,
    /// The base of their root filesystems.
    pub base: Base,
    /// The contents of each image, in the artifact's order.
    pub platforms: Vec<PlatformReport>,
    /// The packages of the dev variant, where steps ran in it.
    pub dev: Option<Lock>,
    /// The project, after which the image may be named.
    pub project: Arc<Project>,
    /// The duration of each step, in their order.
    pub timings: Vec<(String, Duration)>,
}

/// The contents of an image.
#[derive(Debug)]
pub struct PlatformReport {
    /// What it runs on.
    pub platform: Platform,
    /// The packages.
    pub lock: Lock,
    /// For each layer of the image, whether it was remembered.
    pub cached: Vec<bool>,
    /// The size of the packages' files that are left out, by the recipe or because no container uses them, in bytes.
    pub left_out: u64,
}

/// Builds the images of `request` with `recipe`.
///
/// # Errors
/// The first failure of any step; see [`BuildError`].
pub fn build(request: &Request, recipe: &Recipe, fetcher: &Fetcher, ui: &Ui) -> Result<Built, BuildError> {
    let mut clock = Clock::start();
    let unused = check_steps(&request.step.secrets, recipe).map_err(StepError::from)?;
    unused.iter().for_each(|warning| ui.warn(warning));
    let request = &base::resolve_base(request, recipe, fetcher, ui)?;
    let (project, plan) = plan(request, recipe, ui)?;
    let project = Arc::new(project);
    clock.lap("plan");
    let secrets = Secrets::read(&request.step.secrets, &request.host).map_err(StepError::from)?;
    let secrets = secrets.watching(&recipe.passed(&request.host));
    let steps = Steps::new(request, recipe, &project, &secrets, fetcher, ui);
    steps.check(&plan.platforms)?;
    let mut parts = Vec::new();
    for platform in &plan.platforms {
        parts.push(steps.parts(platform, &plan, &mut |name| clock.lap(name))?);
    }
    let dev = steps.dev_lock()?;
    let (mut images, mut platforms) = (Vec::new(), Vec::new());
    for parts in parts {
        let (image, report) = image(parts, &plan, &steps, &mut clock)?;
        check_size(&image, request)?;
        images.push(image);
        platforms.push(report);
    }
    let artifact = Artifact::new(images, &plan.configuration.annotations)?;
    Ok(Built { artifact, base: plan.base, platforms, dev, project: Arc::clone(&project), timings: clock.laps })
}

fn plan(request: &Request, recipe: &Recipe, ui: &Ui) -> Result<(Project, Plan), BuildError> {
    let words = |command: &Option<Command>| command.as_ref().map(|command| command.0.clone());
    let options = project::Options {
        deps: request.deps,
        include: request.include.clone(),
        exclude: request.exclude.clone(),
        keep: request.keep.clone(),
        workdir: request.workdir.clone(),
        variables: recipe.passed(&request.host).into_iter().chain(request.build.env.clone()).collect(),
        entrypoint: words(&request.entrypoint),
        cmd: words(&request.cmd),
        build: request.build.clone(),
        port: request.ports.first().map(|port| port.number),
        same_times: !ImageTimes::differ(request, recipe),
        process: request.process.clone(),
        env: request.env.clone(),
    };
    let mut project = Project::read(&request.app, recipe, &options)?;
    if request.source || ImageTimes::need_commit(request, recipe) {
        project.compare(&request.host.path());
    }
    let plan = Plan::new(request, recipe, &project)?;
    project.warnings.iter().chain(&plan.warnings).for_each(|warning| ui.warn(warning));
    plan.check_command(recipe)?;
    project.notes.iter().for_each(|note| ui.say(note));
    if let (Some(process), Some(package)) = (&project.shell, plan.shell) {
        ui.say(&format!("{process} needs a shell: the image gets {package}; --cmd sets a command without one"));
    }
    Ok((project, plan))
}

/// Makes the image of `parts`. Its first layer is the one that changes least.
fn image(
    parts: Parts<'_>,
    plan: &Plan,
    steps: &Steps<'_>,
    clock: &mut Clock,
) -> Result<(Image, PlatformReport), BuildError> {
    let Parts { platform, lock, outputs, linked } = parts;
    let Steps { request, fetcher, .. } = steps;
    let system = System::new(plan, &lock, request.compression, fetcher)?.layers()?;
    clock.lap("system");
    let owned = folders::owned(plan, &system)?;
    let folders = folders::layer(plan, &system, &owned, steps.project, request.compression, fetcher)?;
    let app = App {
        workdir: system.workdir,
        parents: system.parents,
        links: system.links,
        times: plan.times.app,
        dependencies: plan.times.dependencies,
        owned,
    };
    let mut layers = system.layers;
    let packages = layers.len();
    layers.extend(folders);
    layers.extend(steps.linked_layer(&linked, &app)?);
    // What a step makes lies over the app's data of the same name.
    layers.extend(steps.data_layer(&app)?);
    for output in outputs {
        layers.extend(steps.layers(output, &app)?);
    }
    let before = layers.len();
    layers.extend(steps.own_layers(&app)?);
    let own = layers.len() - before;
    let finished = Finished { layers: &layers, packages, own, app: &app, lock: &lock };
    let configuration = steps.checked_start(plan, &finished)?;
    clock.lap("app");
    let (layers, cached) = layers.into_iter().unzip();
    let image = Image::build(platform.clone(), &configuration, layers)?;
    Ok((image, PlatformReport { platform: platform.clone(), lock, cached, left_out: system.left_out }))
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

/// Measures the steps of a build.
struct Clock {
    last: Instant,
    laps: Vec<(String, Duration)>,
}

impl Clock {
    fn start() -> Self {
        Self { last: Instant::now(), laps: Vec::new() }
    }

    /// Ends the step `name`. The times of a step that runs several times (for several platforms) are added up.
    fn lap(&mut self, name: &str) {
        let now = Instant::now();
        let took = now - std::mem::replace(&mut self.last, now);
        match self.laps.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum += took,
            None => self.laps.push((name.to_owned(), took)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_ends_as_what_it_failed_with() {
        let too_large = BuildError::TooLarge { limit: 1, size: 2, largest: "app".into() };
        let elsewhere = ProjectError::NotAFolder { path: "app".into(), found: "a file" };
        for (error, expected) in [
            (too_large, Kind::TooLarge),
            (BuildError::NoRuntime("go".into()), Kind::Usage),
            (elsewhere.into(), Kind::Usage),
            (ProjectError::Special { path: "app/socket".into() }.into(), Kind::Build),
            (FetchError::Offline("the index".into()).into(), Kind::Network),
        ] {
            assert_eq!(error.kind(), expected, "{error}");
        }
    }
}
