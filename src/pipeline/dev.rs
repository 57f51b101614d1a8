//! The dev variant: the runtime with the language's tools. Dependencies are installed in it, and tests run in it.

use std::{collections::BTreeMap, path::PathBuf};

use super::{BuildError, Caches, StepError, system::System};
use crate::{
    fetch::Fetcher,
    host::Host,
    image::PATH,
    layer::{Layer, compress::Compression},
    lock::{Lock, lock},
    plan::Plan,
    project::Project,
    recipe::{RUN, Recipe, Step},
    request::{Request, StepOptions},
    sandbox::{FileContent, Ids, Mount, Network, Root, Sandbox, roots},
    secret::Secret,
    store::{Key, Store},
    surroundings::Surroundings,
    ui::Ui,
};

/// The compression of its layers, which are unpacked here once and never pushed.
const COMPRESSION: Compression = Compression::Gzip(1);

/// The host name in a container.
pub const HOSTNAME: &str = "microbuild";

/// A command for a dev variant.
#[derive(Debug)]
pub struct DevJob<'a> {
    /// The command.
    pub args: Vec<String>,
    /// The folder that is mounted at the work directory.
    pub folder: PathBuf,
    /// Variables, which win over all others.
    pub env: BTreeMap<String, String>,
    /// Additional mounts.
    pub mounts: Vec<Mount>,
    /// Variables for the path of a secret's file, by the secret's id.
    pub secret_files: BTreeMap<String, String>,
    /// The secrets that it gets.
    pub secrets: Vec<Secret>,
    /// The user's environment.
    pub host: &'a Host,
    /// Its network, and the certificates that it trusts.
    pub step: &'a StepOptions,
}

/// A dev variant, for this machine's processor. Its layers are made when it is unpacked.
pub struct DevVariant {
    /// Its packages.
    pub lock: Lock,
    /// The inputs of its layers.
    pub(super) system: System,
    /// The folder that the app is mounted at.
    pub workdir: String,
    /// Whether it has the recipe's compilers.
    pub(super) compiles: bool,
}

impl DevVariant {
    /// Chooses the packages for `project`. Fetches indexes only.
    ///
    /// # Errors
    /// When they cannot be chosen.
    pub fn new(request: &Request, recipe: &Recipe, project: &Project, fetcher: &Fetcher) -> Result<Self, BuildError> {
        let scripts = project.steps.iter().any(|step| !step.scripts.is_empty());
        Self::with(request, recipe, project, scripts && !request.step.ignore_scripts, fetcher)
    }

    /// Chooses the packages for `project`, with the recipe's compilers.
    ///
    /// # Errors
    /// As [`DevVariant::new`].
    pub fn with_compilers(
        request: &Request,
        recipe: &Recipe,
        project: &Project,
        fetcher: &Fetcher,
    ) -> Result<Self, BuildError> {
        Self::with(request, recipe, project, true, fetcher)
    }

    fn with(
        request: &Request,
        recipe: &Recipe,
        project: &Project,
        compiles: bool,
        fetcher: &Fetcher,
    ) -> Result<Self, BuildError> {
        let plan = Plan::dev(request, recipe, project, compiles)?;
        let lock = lock(&plan, &plan.platforms[0], fetcher)?;
        let system = System::new(&plan, &lock, COMPRESSION, fetcher)?;
        Ok(Self { lock, system, compiles, workdir: plan.configuration.workdir })
    }

    /// Returns its root filesystem, which is unpacked into `store` once.
    ///
    /// # Errors
    /// When a package cannot be fetched, or the store cannot be written.
    pub fn unpack(&self, store: &Store, ui: &Ui) -> Result<Root, BuildError> {
        let layers: Vec<Layer> = self.system.layers()?.layers.into_iter().map(|(layer, _)| layer).collect();
        let app = roots::Target { path: self.workdir.clone(), is_file: false };
        Ok(roots::unpack(store, &layers, &[app], ui).map_err(StepError::from)?)
    }

    /// Returns the sandbox that runs `job` for an app of `recipe`, in this variant unpacked at `root`.
    ///
    /// # Errors
    /// When a file of certificates cannot be read.
    pub fn sandbox(
        &self,
        recipe: &Recipe,
        root: &Root,
        caches: &Caches,
        job: DevJob<'_>,
    ) -> Result<Sandbox, StepError> {
        let surroundings = Surroundings::of_machine(|name| job.host.variable(name), &job.step.ca);
        let surroundings = surroundings.map_err(StepError::Certificates)?;
        let secrets = SecretMounts::new(&job.secrets, &job.secret_files);
        let mut mounts = caches.mounts.clone();
        mounts.push(Mount::Bind { source: job.folder, target: self.workdir.clone(), writable: true });
        mounts.extend(programs(recipe));
        mounts.extend(surroundings.mounts);
        mounts.extend(secrets.mounts);
        mounts.extend(job.mounts);
        let mut env = home();
        [surroundings.env, job.env, secrets.env].into_iter().for_each(|more| env.extend(more));
        Ok(Sandbox {
            root: root.path().to_owned(),
            writable: false,
            args: job.args,
            env,
            cwd: self.workdir.clone(),
            user: Ids::default(),
            mounts,
            network: if job.step.offline { Network::None } else { Network::Host },
            hostname: HOSTNAME.into(),
            confidential: !job.secrets.is_empty(),
            stop_signal: None,
        })
    }

    /// The variables of all steps of `project` but those that build it for production, and those for secrets' files. The
    /// command of `microbuild dev` has them.
    pub fn variables(
        recipe: &Recipe,
        project: &Project,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
        let steps = || project.steps.iter().filter_map(|step| recipe.steps.get(step.at)).filter(is_of_tools);
        let env = steps().flat_map(|step: &Step| step.variables(environment)).collect();
        (env, steps().flat_map(|step| step.secret.clone()).collect())
    }

    /// The digest of everything that its root filesystem depends on.
    pub fn key(&self) -> Key {
        self.system.key()
    }
}

/// Whether the variables of `step` are those of tools, and not of a build for production.
fn is_of_tools(step: &&Step) -> bool {
    step.installs || !step.builds
}

/// Mounts the recipe's own files.
fn programs(recipe: &Recipe) -> impl Iterator<Item = Mount> {
    recipe.programs.iter().map(|(name, content)| Mount::File {
        content: FileContent(content.clone().into_bytes()),
        target: format!("{RUN}/{name}"),
    })
}

/// Variables that every command in a dev variant has.
fn home() -> BTreeMap<String, String> {
    [("PATH", PATH), ("HOME", "/root"), ("LANG", "C.UTF-8")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// The mounts and variables for a step's secrets.
#[derive(Default)]
struct SecretMounts {
    /// The files.
    mounts: Vec<Mount>,
    /// The variables.
    env: BTreeMap<String, String>,
}

impl SecretMounts {
    /// Makes mounts and variables of `secrets`. `named` are variables for the path of a secret's file, by the secret's
    /// id.
    fn new(secrets: &[Secret], named: &BTreeMap<String, String>) -> Self {
        let mut all = Self::default();
        for secret in secrets {
            let target = format!("/run/secrets/{}", secret.id);
            if let Some(variable) = named.get(&secret.id) {
                all.env.insert(variable.clone(), target.clone());
            }
            if let (true, Ok(value)) = (secret.variable, std::str::from_utf8(&secret.bytes)) {
                all.env.insert(secret.id.clone(), value.to_owned());
            }
            all.mounts.push(Mount::File { content: FileContent(secret.bytes.clone()), target });
        }
        all
    }
}
