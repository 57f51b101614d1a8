//! The packages of a build, as one value that is complete before any layer is made: those of every image, with the
//! libraries that its programs are linked with, and those of the dev variant.

use std::rc::Rc;

use super::{
    BuildError,
    dev::DevVariant,
    linked::Linked,
    plan as plan_of, resolve_base,
    steps::{Output, Steps},
};
use crate::{
    fetch::Fetcher,
    image::Platform,
    lock::{Lock, lock},
    plan::Plan,
    recipe::Recipe,
    request::Request,
    secret::Secrets,
    ui::Ui,
    values::Base,
};

/// The packages of a build.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// The base of the images.
    pub base: Base,
    /// The packages of each image.
    pub images: Vec<Resolved>,
    /// The packages of the dev variant, where steps run in it.
    pub dev: Option<Lock>,
}

/// The packages of one image.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// Its platform.
    pub platform: Platform,
    /// Its packages, including those that only provide libraries for its programs.
    pub lock: Lock,
    /// The steps that no build has run yet. The libraries that their results are linked with are unknown.
    pub unknown: Vec<String>,
}

/// An image's packages, and the results of steps that need some of them.
pub(super) struct Parts<'a> {
    pub(super) platform: &'a Platform,
    pub(super) lock: Lock,
    pub(super) outputs: Vec<Output<'a>>,
    pub(super) linked: Linked,
}

/// Chooses the packages for `request`. Fetches indexes, and packages where programs of the app are linked with
/// libraries. Runs no step: the libraries of a step's result are known from an earlier build, or not at all.
///
/// # Errors
/// As for the first steps of [`build`](super::build).
pub fn resolve(request: &Request, recipe: &Recipe, fetcher: &Fetcher, ui: &Ui) -> Result<Resolution, BuildError> {
    let request = &resolve_base(request, recipe, fetcher, ui)?;
    let (project, plan) = plan_of(request, recipe, ui)?;
    // Only the names of secrets count here. The build reports a secret that cannot be read.
    let secrets = Secrets::read(&request.step.secrets, &request.host).unwrap_or_default();
    let steps = Steps::new(request, recipe, &project, &secrets, fetcher, ui);
    steps.check(&plan.platforms)?;
    let images = plan.platforms.iter().map(|platform| steps.remembered_lock(platform, &plan));
    Ok(Resolution { base: plan.base.clone(), images: images.collect::<Result<_, _>>()?, dev: steps.dev_lock()? })
}

impl<'a> Steps<'a> {
    /// Chooses the packages for `platform`, and returns the results of the steps. A step runs unless its result is
    /// remembered.
    pub(super) fn parts(
        &self,
        platform: &'a Platform,
        plan: &Plan,
        lap: &mut dyn FnMut(&str),
    ) -> Result<Parts<'a>, BuildError> {
        let mut lock = self.lock(platform, plan)?;
        lap("lock");
        let mut outputs = Vec::new();
        for job in self.jobs(platform)? {
            let output = self.run(job, plan, &lock, &outputs)?;
            lap(output.name());
            outputs.push(output);
        }
        let linked = self.linked(platform, plan)?;
        outputs.iter().for_each(|output| output.link(&mut lock.packages));
        linked.link(&mut lock.packages);
        Ok(Parts { platform, lock, outputs, linked })
    }

    fn remembered_lock(&self, platform: &'a Platform, plan: &Plan) -> Result<Resolved, BuildError> {
        let asked = self.lock(platform, plan)?;
        let mut lock = asked.clone();
        let mut unknown = Vec::new();
        let mut known = Vec::new();
        for job in self.jobs(platform)? {
            match self.remembered(&job, plan, &asked, &known)? {
                Some(result) => {
                    lock.packages.add(&self.variant_of(&result)?.lock.packages, &result.needs);
                    known.push((job.name().to_owned(), result.seen));
                }
                None => unknown.push(job.name().to_owned()),
            }
        }
        self.linked(platform, plan)?.link(&mut lock.packages);
        Ok(Resolved { platform: platform.clone(), lock, unknown })
    }

    /// Chooses the packages that `plan` asks for, and checks that the project runs on their version of the language.
    fn lock(&self, platform: &Platform, plan: &Plan) -> Result<Lock, BuildError> {
        let lock = lock(plan, platform, self.fetcher)?;
        let version = |lock: &Lock| plan.version_from.as_ref().and_then(|name| lock.version_of(name));
        // A compiled language has packages in the dev variant only.
        let dev = || Ok::<_, BuildError>(self.dev()?.as_ref().and_then(|variant| version(&variant.lock)));
        if let Some(version) = version(&lock).map_or_else(dev, |version| Ok(Some(version)))? {
            self.project.check_runtime(&version)?.into_iter().for_each(|warning| self.warn(warning));
        }
        Ok(lock)
    }

    /// The packages of the dev variant, where the project has steps.
    pub(super) fn dev_lock(&self) -> Result<Option<Lock>, BuildError> {
        Ok(self.dev()?.map(|variant| variant.lock.clone()))
    }

    /// The dev variant, where the project has steps.
    fn dev(&self) -> Result<Option<Rc<DevVariant>>, BuildError> {
        if self.project.steps.is_empty() { Ok(None) } else { self.variant().map(Some) }
    }
}
