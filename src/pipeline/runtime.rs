//! The base image of a language: a recipe's runtime, or its dev variant, without an app.

use super::{BuildError, Built, Clock, PlatformReport, System, base, check_size, folders};
use crate::{
    fetch::Fetcher,
    image::{Artifact, Image},
    lock::lock,
    plan::Plan,
    project::Project,
    recipe::Recipe,
    request::Request,
    ui::Ui,
};

/// The annotation for the version of an image's content (OCI image specification, "Annotations").
const VERSION: &str = "org.opencontainers.image.version";

/// A base image, and the version of the language in it.
#[derive(Debug)]
pub struct BaseImage {
    /// The image.
    pub built: Built,
    /// The version; `None` where the image has none of the language's packages, because its programs need none.
    pub version: Option<String>,
}

/// Builds the root filesystem of apps of `recipe`, without an app: the runtime, or with `dev` the dev variant.
///
/// # Errors
/// As [`build`](super::build).
pub fn base_image(
    request: &Request,
    recipe: &Recipe,
    dev: bool,
    fetcher: &Fetcher,
    ui: &Ui,
) -> Result<BaseImage, BuildError> {
    if !dev && recipe.app.own_runtime {
        return Err(BuildError::NoRuntime(recipe.name.clone()));
    }
    let mut clock = Clock::start();
    let request = &base::resolve_base(request, recipe, fetcher, ui)?;
    let project = Project::without_app(recipe);
    let mut plan =
        if dev { Plan::dev(request, recipe, &project, true)? } else { Plan::new(request, recipe, &project)? };
    plan.platforms.clone_from(&request.platforms);
    if dev {
        plan.for_tools(request);
    }
    clock.lap("plan");
    let (mut images, mut platforms, mut version) = (Vec::new(), Vec::new(), None);
    for platform in &plan.platforms {
        let lock = lock(&plan, platform, fetcher)?;
        clock.lap("lock");
        let found = plan.version_from.as_ref().and_then(|name| lock.version_of(name));
        if let Some(found) = &found {
            plan.configuration.annotations.entry(VERSION.to_owned()).or_insert_with(|| found.clone());
        }
        version = version.or(found);
        let system = System::new(&plan, &lock, request.compression, fetcher)?.layers()?;
        clock.lap("system");
        let owned = folders::owned(&plan, &system)?;
        let folders = folders::layer(&plan, &system, &owned, &project, request.compression, fetcher)?;
        let (layers, cached): (Vec<_>, Vec<_>) = system.layers.into_iter().chain(folders).unzip();
        let image = Image::build(platform.clone(), &plan.configuration, layers)?;
        check_size(&image, request)?;
        images.push(image);
        platforms.push(PlatformReport { platform: platform.clone(), lock, cached, left_out: system.left_out });
    }
    let artifact = Artifact::new(images, &plan.configuration.annotations)?;
    let built = Built { artifact, base: plan.base, platforms, dev: None, project: project.into(), timings: clock.laps };
    Ok(BaseImage { built, version })
}
